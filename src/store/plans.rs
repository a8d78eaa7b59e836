//! How SQLite answers our queries, asked of SQLite: what happens at each contact of an agent never reads a whole table.

use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, channel};

use diesel::connection::{Connection, InstrumentationEvent};
use diesel::sql_types::Text;
use diesel::{QueryableByName, RunQueryDsl};

use super::connection::Backend;
use super::sqlite::Sqlite;
use super::terms::KnownTerms;
use super::{Conn, StoreError};
use super::{
    activations, attention, computers, deployments, details, discovery, events, expected, fields, groups,
    installations, jobs, known, likenesses, listing, mass, merges, mirrors, packages, progress, registry, search,
    sections, seen, settings, software, users, values, wakes,
};
use crate::model::settings::SettingKey;
use crate::model::wake::WakeState;
use crate::model::{ComputerId, DeploymentId, GroupId, JobId, JobState, PackageId, PackageState, ResultCode, UnixTime};
use crate::protocol::{ComputerFacts, Network, SoftwareTitle};

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// An empty database that tells which queries it was sent.
pub(crate) struct Plans {
    conn: Conn,
    queries: Receiver<String>,
    kept: Receiver<String>,
    text: String,
    _directory: tempfile::TempDir,
}

impl Plans {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut conn = Sqlite::open(&directory.path().join("plans.db")).expect("opens").writer().expect("connects");
        let (sender, queries) = channel();
        let (keeper, kept) = channel();
        let Backend::Sqlite(sqlite) = &mut conn.0 else { unreachable!("it is SQLite") };
        sqlite.set_instrumentation(move |event: InstrumentationEvent<'_>| match event {
            InstrumentationEvent::StartQuery { query, .. } => drop(sender.send(query.to_string())),
            InstrumentationEvent::CacheQuery { sql, .. } => drop(keeper.send(sql.to_owned())),
            _ => {}
        });
        Self { conn, queries, kept, text: String::new(), _directory: directory }
    }

    /// Runs something of which nothing is written down.
    pub(crate) fn unheard<T>(&mut self, work: impl FnOnce(&mut Conn) -> T) -> T {
        self.heard(work).0
    }

    /// Runs something; gives the queries that it sent, too.
    pub(crate) fn heard<T>(&mut self, work: impl FnOnce(&mut Conn) -> T) -> (T, Vec<String>) {
        let done = work(&mut self.conn);
        (done, self.queries.try_iter().collect())
    }

    /// Runs a function of the store and writes down the plan of each of its queries, a line a step.
    fn of<T>(&mut self, name: &str, query: impl FnOnce(&mut Conn) -> Result<T, StoreError>) {
        let (_, queries) = self.heard(query);
        assert!(!queries.is_empty(), "{name} asked nothing");
        writeln!(self.text, "{name}").expect("text");
        for query in queries {
            let sql = without_binds(&query);
            let Backend::Sqlite(sqlite) = &mut self.conn.0 else { unreachable!("it is SQLite") };
            let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(sqlite).expect("a plan");
            self.queries.try_iter().for_each(drop);
            for step in steps {
                writeln!(self.text, "  {}", step.detail).expect("text");
            }
        }
    }
}

/// diesel prints "SELECT … -- binds: […]".
fn without_binds(query: &str) -> &str {
    query.rsplit_once(" -- binds: ").map_or(query, |(sql, _)| sql)
}

const COMPUTER: ComputerId = ComputerId(1);
const GROUP: GroupId = GroupId(1);
const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

fn contact() -> computers::Contact {
    computers::Contact { peer_address: String::new(), user_agent: String::new(), at: NOW }
}

fn package() -> PackageId {
    PackageId::new(1).expect("1 is an id")
}

#[test]
fn packages_and_uploads_are_listed_by_indexes() {
    let mut plans = Plans::new();
    for order in [packages::Order::Newest, packages::Order::Oldest, packages::Order::Name] {
        let wanted = packages::Wanted { order, ..packages::Wanted::default() };
        plans.of(&format!("{order:?}"), |conn| packages::wanted(conn, &wanted, 50));
    }
    let family = packages::Wanted { name: Some("tool".to_owned()), ..packages::Wanted::default() };
    plans.of("family", |conn| packages::wanted(conn, &family, 50));
    plans.of("uploads of", |conn| super::uploads::of_owner(conn, "anna", 50));
    plans.of("idle uploads", |conn| super::uploads::idle(conn, NOW, 50));
    plans.of("audit of", |conn| super::audit::of_subject(conn, "package 1", None, 50));
    let sorts: Vec<&str> = plans.text.lines().filter(|line| line.contains("TEMP B-TREE")).collect();
    // The versions of one family are few.
    assert!(sorts.len() <= 1, "{}", plans.text);
    let whole = plans.text.lines().any(|line| line.trim() == "SCAN packages" || line.trim() == "SCAN uploads");
    assert!(!whole, "{}", plans.text);
}

#[test]
fn what_a_prolog_and_a_report_ask_and_write_stays_prepared() {
    let mut plans = Plans::new();
    let device_id = "ws-2024-03-05-09-10-11".parse().expect("a device id");
    let asked = plans.heard(|conn| -> Result<(), StoreError> {
        computers::find_by_device_id(conn, &device_id)?;
        settings::layer(conn, settings::Scope::Computer(COMPUTER))?;
        groups::layers(conn, COMPUTER)?;
        jobs::open_of_computer(conn, COMPUTER, &KnownTerms::default())?;
        computers::check_in(conn, COMPUTER, &contact())?;
        jobs::mark_offered(conn, &[1, 2, 3, 4, 5].map(JobId), NOW)?;
        jobs::set_withheld(conn, JobId(1), Some("why"), NOW)?;
        jobs::set_withheld(conn, JobId(1), None, NOW)?;
        jobs::for_report(conn, COMPUTER, package())?;
        jobs::finish(conn, JobId(1), JobState::Succeeded, &ResultCode::success(), NOW)?;
        computers::touch(conn, COMPUTER, &contact())?;
        computers::take_facts(conn, &device_id, &ComputerFacts::default(), &contact())?;
        Ok(())
    });
    asked.0.expect("asked");
    let kept: Vec<String> = plans.kept.try_iter().collect();
    let parsed: Vec<&str> = asked.1.iter().map(|query| without_binds(query)).collect();
    let anew: Vec<&&str> = parsed.iter().filter(|sql| !kept.iter().any(|kept| kept == *sql)).collect();
    assert!(anew.is_empty() && parsed.len() > 12, "parsed at each contact: {anew:#?} of {}", parsed.len());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of queries, and their plans")]
fn a_contact_of_an_agent_reads_no_whole_table() {
    let mut plans = Plans::new();
    let device_id = "ws-2024-03-05-09-10-11".parse().expect("a device id");
    plans.of("computers::find_by_device_id", |conn| computers::find_by_device_id(conn, &device_id));
    plans.of("computers::touch", |conn| computers::touch(conn, COMPUTER, &contact()));
    plans.of("computers::take_facts", |conn| {
        computers::take_facts(conn, &device_id, &ComputerFacts::default(), &contact())
    });
    plans.of("computers::set_networks", |conn| computers::set_networks(conn, COMPUTER, &[Network::default()]));
    plans.of("computers::document_sha256", |conn| computers::document_sha256(conn, COMPUTER));
    plans.of("settings::layer", |conn| settings::layer(conn, settings::Scope::Computer(COMPUTER)));
    plans.of("jobs::open_of_computer", |conn| jobs::open_of_computer(conn, COMPUTER, &KnownTerms::default()));
    plans.of("KnownTerms::of", |conn| KnownTerms::default().of(conn, &[1]));
    plans.of("jobs::mark_offered", |conn| jobs::mark_offered(conn, &[1, 2, 3, 4, 5].map(JobId), NOW));
    plans.of("jobs::set_withheld", |conn| jobs::set_withheld(conn, JobId(1), Some("why"), NOW));
    plans.of("jobs::for_report", |conn| jobs::for_report(conn, COMPUTER, package()));
    plans.of("jobs::finish", |conn| jobs::finish(conn, JobId(1), JobState::Succeeded, &ResultCode::success(), NOW));
    plans.of("installations::set_reported", |conn| installations::set_reported(conn, COMPUTER, &[package()], NOW));
    plans.of("deployments::standing", deployments::standing);
    plans.of("groups::layers", |conn| groups::layers(conn, COMPUTER));
    plans.of("groups::of_computer", |conn| groups::of_computer(conn, COMPUTER));
    plans.of("groups::list", groups::list);
    plans.of("groups::set", |conn| groups::set(conn, GROUP, &[COMPUTER], groups::Reason::Query, NOW));
    plans.of("deployments::standing_of_group", |conn| deployments::standing_of_group(conn, GROUP));
    plans.of("search::facts", |conn| {
        computers::take_facts(conn, &device_id, &ComputerFacts::default(), &contact())?;
        search::facts(conn, COMPUTER, [])
    });
    assert!(!plans.text.lines().any(|step| step.trim_start() == "SCAN jobs" || step.contains("SCAN computers")));
    insta::assert_snapshot!(plans.text, @"
    computers::find_by_device_id
      SEARCH computers USING INDEX sqlite_autoindex_computers_1 (device_id=?)
    computers::touch
      SEARCH computers USING INTEGER PRIMARY KEY (rowid=?)
    computers::take_facts
      SEARCH computers USING INDEX sqlite_autoindex_computers_1 (device_id=?)
      SEARCH wakes USING COVERING INDEX wakes_of_computer (computer_id=?)
      SEARCH entered_computers USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH likenesses USING INDEX likenesses_by_newer (newer_id=?)
      SEARCH likenesses USING PRIMARY KEY (older_id=?)
      SEARCH computer_values USING PRIMARY KEY (computer_id=?)
      SEARCH elections USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH registry_values USING PRIMARY KEY (computer_id=?)
      SEARCH notes USING COVERING INDEX notes_by_computer (computer_id=?)
      SEARCH group_members USING INDEX group_members_by_computer (computer_id=?)
      SEARCH jobs USING COVERING INDEX jobs_by_computer (computer_id=?)
      SEARCH installations USING PRIMARY KEY (computer_id=?)
      SEARCH merges USING COVERING INDEX merges_by_new (new_id=?)
      SEARCH merges USING COVERING INDEX merges_by_old (old_id=?)
      SEARCH mass_values USING INDEX mass_values_by_computer (computer_id=?)
      SEARCH computer_fields USING PRIMARY KEY (computer_id=?)
      SEARCH inventory_changes USING COVERING INDEX inventory_changes_by_computer (computer_id=?)
      SEARCH computer_software USING PRIMARY KEY (computer_id=?)
      SEARCH inventory_sections USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH inventory_documents USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH networks USING PRIMARY KEY (computer_id=?)
    computers::set_networks
      SEARCH networks USING PRIMARY KEY (computer_id=?)
      SEARCH networks USING PRIMARY KEY (computer_id=?)
    computers::document_sha256
      SEARCH inventory_documents USING INTEGER PRIMARY KEY (rowid=?)
    settings::layer
      SEARCH settings USING PRIMARY KEY (scope=? AND scope_id=?)
    jobs::open_of_computer
      SEARCH jobs USING INDEX jobs_open (computer_id=?)
      SEARCH installations USING COVERING INDEX installations_by_package (package_id=? AND computer_id=? AND via=?) LEFT-JOIN
      SEARCH approvals USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
      CORRELATED SCALAR SUBQUERY 1
      SEARCH earlier USING INDEX jobs_by_computer (computer_id=? AND package_id=?)
      USE TEMP B-TREE FOR ORDER BY
    KnownTerms::of
      SEARCH deployments USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH packages USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH activations USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
      SEARCH deployment_gates USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    jobs::mark_offered
      SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)
    jobs::set_withheld
      SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)
    jobs::for_report
      SEARCH jobs USING INDEX jobs_by_computer (computer_id=? AND package_id=?)
      USE TEMP B-TREE FOR ORDER BY
    jobs::finish
      SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)
    installations::set_reported
      SEARCH installations USING PRIMARY KEY (computer_id=?)
    deployments::standing
      SCAN deployments USING INDEX deployments_standing
      SEARCH packages USING INTEGER PRIMARY KEY (rowid=?)
    groups::layers
      SEARCH group_members USING INDEX group_members_by_computer (computer_id=?)
      SEARCH groups USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH settings USING PRIMARY KEY (scope=? AND scope_id=?) LEFT-JOIN
    groups::of_computer
      SEARCH group_members USING INDEX group_members_by_computer (computer_id=?)
    groups::list
      SCAN groups
    groups::set
      SEARCH group_members USING PRIMARY KEY (group_id=? AND computer_id=?)
    deployments::standing_of_group
      SEARCH deployments USING INDEX deployments_by_group (group_id=?)
      SEARCH packages USING INTEGER PRIMARY KEY (rowid=?)
    search::facts
      SEARCH computers USING INDEX sqlite_autoindex_computers_1 (device_id=?)
      SEARCH computers USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH networks USING PRIMARY KEY (computer_id=?)
      SEARCH installations USING PRIMARY KEY (computer_id=?)
      SEARCH group_members USING INDEX group_members_by_computer (computer_id=?)
      SEARCH groups USING INTEGER PRIMARY KEY (rowid=?)
    ");
}

#[test]
fn what_is_near_a_computer_is_found_by_indexes_of_tables_that_are_small_or_its_own() {
    let mut plans = Plans::new();
    let address = "10.1.2.3".parse().expect("an address");
    plans.of("mirrors::nearby without sites", |conn| mirrors::nearby(conn, address, &[package()]));
    let site = |name: &str, range: &str, near: &[&str]| mirrors::Site {
        name: name.to_owned(),
        ranges: vec![range.parse().expect("a range")],
        mirrors: near.iter().map(ToString::to_string).collect(),
        created_at: NOW,
    };
    let mirror = mirrors::Mirror {
        name: "m".to_owned(),
        location: "m.example/download".parse().expect("a location"),
        packages: crate::protocol::PackageFilter::default(),
        silent_after: std::time::Duration::from_hours(1),
        token_hash: None,
        created_at: NOW,
        reported_at: None,
        reported_from: None,
        generation: 0,
        bytes: 0,
        problem: String::new(),
        reach: mirrors::Reach::default(),
    };
    assert!(plans.unheard(|conn| mirrors::create_site(conn, &site("none", "10.0.0.0/8", &[]))).expect("made"));
    plans.of("mirrors::nearby of a site without mirrors", |conn| mirrors::nearby(conn, address, &[package()]));
    let made = plans.unheard(|conn| {
        Ok::<_, StoreError>(
            mirrors::create(conn, &mirror)? && mirrors::create_site(conn, &site("one", "10.1.0.0/16", &["m"]))?,
        )
    });
    assert!(made.expect("made"));
    plans.of("mirrors::nearby", |conn| mirrors::nearby(conn, address, &[package()]));
    plans.of("mirrors::sample", |conn| mirrors::sample(conn, "m"));
    insta::assert_snapshot!(plans.text, @r"
    mirrors::nearby without sites
      SEARCH site_ranges USING PRIMARY KEY (first<?)
    mirrors::nearby of a site without mirrors
      SEARCH site_ranges USING PRIMARY KEY (first<?)
      SEARCH site_mirrors USING PRIMARY KEY (site=?)
      SEARCH mirrors USING PRIMARY KEY (name=?)
    mirrors::nearby
      SEARCH site_ranges USING PRIMARY KEY (first<?)
      SEARCH site_mirrors USING PRIMARY KEY (site=?)
      SEARCH mirrors USING PRIMARY KEY (name=?)
      SEARCH mirror_packages USING PRIMARY KEY (mirror=? AND package_id=?)
    mirrors::sample
      SEARCH mirror_packages USING PRIMARY KEY (mirror=?)
      SEARCH packages USING COVERING INDEX packages_by_state (state=? AND id=? AND rowid=?)
    ");
}

#[test]
fn lists_of_administrators_are_answered_by_an_index() {
    let mut plans = Plans::new();
    plans.of("packages::list", |conn| packages::list(conn, Some(package()), 10));
    plans.of("packages::in_state", |conn| packages::in_state(conn, PackageState::Building));
    plans.of("packages::fragments", |conn| packages::fragments(conn, package()));
    plans.of("activations::find", |conn| activations::find(conn, package()));
    plans.of("computers::find_by_name", |conn| computers::find_by_name(conn, "ws"));
    plans.of("computers::list", |conn| computers::list(conn, Some(COMPUTER), 10));
    plans.of("computers::delete", |conn| computers::delete(conn, COMPUTER));
    plans.of("installations::of_computer", |conn| installations::of_computer(conn, COMPUTER));
    plans.of("deployments::cancel_of_package", |conn| deployments::cancel_of_package(conn, package(), NOW));
    plans.of("jobs::cancel_of_package", |conn| jobs::cancel_of_package(conn, package(), NOW));
    plans.of("jobs::cancel", |conn| jobs::cancel(conn, JobId(1), NOW));
    plans.of("jobs::counts of one", |conn| jobs::counts(conn, Some(package())));
    plans.of("jobs::counts of all", |conn| jobs::counts(conn, None));
    plans.of("jobs::list of all", |conn| jobs::list(conn, None, None, None, 10));
    plans.of("jobs::list of a package", |conn| jobs::list(conn, Some(package()), None, None, 10));
    plans.of("jobs::list of a computer", |conn| jobs::list(conn, None, Some(COMPUTER), None, 10));
    plans.of("events::list of all", |conn| events::list(conn, None, None, 10));
    plans.of("events::list of a computer", |conn| events::list(conn, Some(COMPUTER), None, 10));
    plans.of("events::list of a package", |conn| events::list(conn, None, Some(package()), 10));
    plans.of("settings::unset", |conn| settings::unset(conn, settings::Scope::Global, SettingKey::Timeout));
    plans.of("users::find", |conn| users::find(conn, "admin"));
    insta::assert_snapshot!(plans.text, @r"
    packages::list
      SEARCH packages USING INTEGER PRIMARY KEY (rowid<?)
    packages::in_state
      SEARCH packages USING COVERING INDEX packages_by_state (state=?)
    packages::fragments
      SEARCH fragments USING PRIMARY KEY (package_id=?)
    activations::find
      SEARCH activations USING INTEGER PRIMARY KEY (rowid=?)
    computers::find_by_name
      SEARCH computers USING INDEX computers_by_name (name_key=?)
    computers::list
      SEARCH computers USING INTEGER PRIMARY KEY (rowid>?)
    computers::delete
      SEARCH settings USING PRIMARY KEY (scope=? AND scope_id=?)
      SEARCH computer_software USING PRIMARY KEY (computer_id=?)
      SEARCH computer_values USING PRIMARY KEY (computer_id=?)
      SEARCH computers USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH wakes USING COVERING INDEX wakes_of_computer (computer_id=?)
      SEARCH entered_computers USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH likenesses USING INDEX likenesses_by_newer (newer_id=?)
      SEARCH likenesses USING PRIMARY KEY (older_id=?)
      SEARCH computer_values USING PRIMARY KEY (computer_id=?)
      SEARCH elections USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH registry_values USING PRIMARY KEY (computer_id=?)
      SEARCH notes USING COVERING INDEX notes_by_computer (computer_id=?)
      SEARCH group_members USING INDEX group_members_by_computer (computer_id=?)
      SEARCH jobs USING COVERING INDEX jobs_by_computer (computer_id=?)
      SEARCH installations USING PRIMARY KEY (computer_id=?)
      SEARCH merges USING COVERING INDEX merges_by_new (new_id=?)
      SEARCH merges USING COVERING INDEX merges_by_old (old_id=?)
      SEARCH mass_values USING INDEX mass_values_by_computer (computer_id=?)
      SEARCH computer_fields USING PRIMARY KEY (computer_id=?)
      SEARCH inventory_changes USING COVERING INDEX inventory_changes_by_computer (computer_id=?)
      SEARCH computer_software USING PRIMARY KEY (computer_id=?)
      SEARCH inventory_sections USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH inventory_documents USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH networks USING PRIMARY KEY (computer_id=?)
    installations::of_computer
      SEARCH installations USING PRIMARY KEY (computer_id=?)
      USE TEMP B-TREE FOR ORDER BY
    deployments::cancel_of_package
      SEARCH deployments USING INDEX deployments_by_package (package_id=?)
    jobs::cancel_of_package
      SEARCH jobs USING INDEX jobs_unfinished (deployment_id=?)
      LIST SUBQUERY 1
      SEARCH deployments USING COVERING INDEX deployments_by_package (package_id=?)
    jobs::cancel
      SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)
    jobs::counts of one
      SEARCH job_counts USING INDEX job_counts_by_package (package_id>? AND package_id<?)
    jobs::counts of all
      SEARCH job_counts USING INDEX job_counts_by_package (package_id>? AND package_id<?)
    jobs::list of all
      SEARCH jobs USING INTEGER PRIMARY KEY (rowid>?)
      SEARCH computers USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH packages USING INTEGER PRIMARY KEY (rowid=?)
    jobs::list of a package
      SEARCH packages USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH jobs USING INDEX jobs_by_package (package_id=? AND id>?)
      SEARCH computers USING INTEGER PRIMARY KEY (rowid=?)
    jobs::list of a computer
      SEARCH computers USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH jobs USING INDEX jobs_by_computer (computer_id=?)
      SEARCH packages USING INTEGER PRIMARY KEY (rowid=?)
      USE TEMP B-TREE FOR ORDER BY
    events::list of all
      SCAN events
    events::list of a computer
      SEARCH events USING INDEX events_by_computer (computer_id=?)
    events::list of a package
      SEARCH events USING INDEX events_by_package (package_id=?)
    settings::unset
      SEARCH settings USING PRIMARY KEY (scope=? AND scope_id=? AND key=?)
    users::find
      SEARCH users USING PRIMARY KEY (name=?)
    ");
}

#[test]
fn what_is_asked_about_deployments_reads_what_belongs_to_them() {
    let mut plans = Plans::new();
    let deployment = DeploymentId(1);
    plans.of("deployments::find", |conn| deployments::find(conn, deployment));
    plans.of("deployments::list", |conn| deployments::list(conn, Some(deployment), 10));
    plans.of("deployments::cancel", |conn| deployments::cancel(conn, deployment, NOW));
    plans.of("jobs::of_deployment", |conn| jobs::of_deployment(conn, deployment, Some(JobId(1)), 10));
    plans.of("jobs::counts_of_deployments of one", |conn| jobs::counts_of_deployments(conn, Some(deployment)));
    plans.of("jobs::open_packages of one", |conn| jobs::open_packages(conn, Some(COMPUTER)));
    insta::assert_snapshot!(plans.text, @r"
    deployments::find
      SEARCH deployments USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH packages USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH approvals USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    deployments::list
      SEARCH deployments USING INTEGER PRIMARY KEY (rowid<?)
      SEARCH packages USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH approvals USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    deployments::cancel
      SEARCH deployments USING INTEGER PRIMARY KEY (rowid=?)
    jobs::of_deployment
      SEARCH jobs USING INDEX jobs_by_deployment (deployment_id=? AND id>?)
      SEARCH computers USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH packages USING INTEGER PRIMARY KEY (rowid=?)
    jobs::counts_of_deployments of one
      SEARCH job_counts USING PRIMARY KEY (deployment_id>? AND deployment_id<?)
    jobs::open_packages of one
      SEARCH jobs USING INDEX jobs_by_computer (computer_id=?)
      SEARCH packages USING INTEGER PRIMARY KEY (rowid=?)
      USE TEMP B-TREE FOR GROUP BY
      USE TEMP B-TREE FOR ORDER BY
    ");
}

#[test]
fn the_newest_attempts_are_marked_and_not_looked_for() {
    let mut plans = Plans::new();
    let deployment = DeploymentId(1);
    let any = progress::Wanted::default();
    let failed = progress::Wanted { states: vec![JobState::Failed], ..progress::Wanted::default() };
    let lost = progress::Wanted { states: vec![JobState::Failed, JobState::Expired], ..progress::Wanted::default() };
    plans.of("progress::list", |conn| {
        progress::list(conn, progress::Of::Deployment(deployment), &any, Some(JobId(1)), 10)
    });
    plans.of("progress::list of a state", |conn| {
        progress::list(conn, progress::Of::Deployment(deployment), &failed, Some(JobId(1)), 10)
    });
    plans.of("progress::list of two", |conn| {
        progress::list(conn, progress::Of::Deployment(deployment), &lost, Some(JobId(1)), 10)
    });
    plans.of("progress::briefs", |conn| progress::briefs(conn, deployment));
    plans.of("progress::codes", |conn| progress::codes(conn, &[deployment, deployment], 10));
    plans.of("progress::slices", |conn| progress::slices(conn, deployment, NOW, 1000));
    plans.of("progress::gates", |conn| progress::gates(conn, deployment, 10));
    plans.of("jobs::newest_of_deployment", |conn| {
        jobs::newest_of_deployment(conn, deployment, &[JobState::Failed], None)
    });
    plans.of("deployments::some", |conn| {
        let which = deployments::Which::Running;
        deployments::some(conn, &deployments::Wanted { which, ..deployments::Wanted::default() }, 10)
    });
    assert!(!plans.text.contains("SCAN jobs") && !plans.text.contains("newer"), "{}", plans.text);
    plans.of("jobs::mark_retried", |conn| jobs::mark_retried(conn, &[1, 2]));
    let asked = |text: &str| plans.text.lines().filter(|step| step.contains(text)).count();
    let by_computer = "SEARCH newer USING INDEX jobs_by_computer (computer_id=? AND package_id=? AND id>?)";
    assert_eq!((asked("newer"), asked(by_computer)), (2, 2), "{}", plans.text);
}

#[test]
fn a_look_for_cancelled_jobs_reads_only_what_is_new() {
    let mut plans = Plans::new();
    plans.of("events::last", events::last);
    plans.of("events::cancelled_after", |conn| events::cancelled_after(conn, 1));
    plans.of("jobs::cancelled_on_available", jobs::cancelled_on_available);
    insta::assert_snapshot!(plans.text, @r"
    events::last
      SEARCH events
    events::cancelled_after
      SCAN CONSTANT ROW
      SCALAR SUBQUERY 1
      SEARCH events USING INTEGER PRIMARY KEY (rowid>?)
    jobs::cancelled_on_available
      SEARCH jobs USING INDEX jobs_finished (deployment_id=? AND state=?)
      LIST SUBQUERY 1
      SEARCH packages USING COVERING INDEX packages_by_state (state=?)
      SEARCH deployments USING COVERING INDEX deployments_by_package (package_id=?)
      SEARCH computers USING INTEGER PRIMARY KEY (rowid=?)
      USE TEMP B-TREE FOR DISTINCT
    ");
}

#[test]
fn what_an_inventory_compares_is_found_by_an_index() {
    let mut plans = Plans::new();
    let title = SoftwareTitle { name: "vim".to_owned(), ..SoftwareTitle::default() };
    plans.of("software::set", |conn| software::set(conn, COMPUTER, std::slice::from_ref(&title)));
    plans.of("software::of_computer", |conn| software::of_computer(conn, COMPUTER));
    plans.of("software::named", |conn| software::named(conn, "vim", 10));
    plans.of("sections::stored", |conn| sections::stored(conn, COMPUTER));
    plans.of("sections::add_changes", |conn| sections::add_changes(conn, COMPUTER, &[], 10, NOW));
    plans.of("sections::changes", |conn| sections::changes(conn, COMPUTER, 10));
    plans.of("fields::named", |conn| fields::named(conn, "room"));
    plans.of("fields::of_computer", |conn| fields::of_computer(conn, COMPUTER));
    plans.of("merges::of_computer", |conn| merges::of_computer(conn, COMPUTER));
    for by in [
        merges::KnownBy::Name("ws"),
        merges::KnownBy::Serial("A1"),
        merges::KnownBy::Mac("52:54:00:12:34:56"),
        merges::KnownBy::Uuid("u"),
    ] {
        plans.of("merges::candidates", |conn| merges::candidates(conn, by));
    }
    assert!(plans.text.lines().count() > 20, "{}", plans.text);
    assert!(!plans.text.contains("SCAN"), "{}", plans.text);
}

#[test]
fn what_lists_show_beside_and_what_tables_name_is_found_by_an_index() {
    let mut plans = Plans::new();
    let (some, key) = ([COMPUTER, ComputerId(2)], SettingKey::PrologFrequency);
    plans.of("fields::of_computers", |conn| fields::of_computers(conn, &some, &[1, 2]));
    plans.of("fields::values", |conn| fields::values(conn, 1));
    plans.of("fields::set_many", |conn| fields::set_many(conn, 1, &[(COMPUTER, String::new())]));
    plans.of("fields::tags", |conn| fields::tags(conn, &some));
    plans.of("details::said", |conn| details::said(conn, &some, &[("BIOS", "BVERSION")]));
    plans.of("details::macs", |conn| details::macs(conn, &some));
    for known_as in [known::KnownAs::DeviceId, known::KnownAs::Number, known::KnownAs::Name, known::KnownAs::Serial] {
        plans.of("known::find", |conn| known::find(conn, known_as, &["1".to_owned()]));
    }
    plans.of("settings::of_computers", |conn| settings::of_computers(conn, key, &some));
    plans.of("settings::set_many", |conn| settings::set_many(conn, key, &[(COMPUTER, None)]));
    plans.of("mass::steps", |conn| mass::steps(conn, 1));
    assert!(plans.text.lines().count() > 20, "{}", plans.text);
    assert!(!plans.text.contains("SCAN"), "{}", plans.text);
}

#[test]
fn what_looking_round_and_registries_ask_at_a_contact_is_found_by_an_index() {
    let mut plans = Plans::new();
    let contact = computers::Contact { peer_address: String::new(), user_agent: String::new(), at: NOW };
    let network = std::net::Ipv4Addr::new(10, 1, 2, 0);
    let host = crate::protocol::Discovered { mac: "02:00:00:00:00:2A".to_owned(), ..Default::default() };
    plans.of("computers::check_in", |conn| computers::check_in(conn, COMPUTER, &contact));
    plans.of("computers::networks", |conn| computers::networks(conn, COMPUTER));
    plans.of("discovery::candidate", |conn| discovery::candidate(conn, COMPUTER));
    plans.of("discovery::elected_in", |conn| discovery::elected_in(conn, COMPUTER));
    plans.of("discovery::elected_of", |conn| discovery::elected_of(conn, network));
    plans.of("discovery::dismiss", |conn| discovery::dismiss(conn, COMPUTER));
    plans.of("discovery::record", |conn| discovery::record(conn, network, &[&host], COMPUTER, NOW));
    plans.of("discovery::seen", |conn| discovery::seen(conn, Some("10.1.2.0")));
    plans.of("discovery::adapters", |conn| discovery::adapters(conn, Some("10.1.2.0")));
    plans.of("discovery::adapters_with", |conn| discovery::adapters_with(conn, &["02:00:00:00:00:2A"]));
    let proxies = registry::Wanted { name: "Proxy".to_owned(), ..registry::Wanted::default() };
    plans.of("registry::set_values", |conn| registry::set_values(conn, COMPUTER, &[]));
    plans.of("registry::values", |conn| registry::values(conn, "Proxy", 10));
    plans.of("registry::values_of", |conn| registry::values_of(conn, COMPUTER));
    plans.of("registry::findings", |conn| registry::findings(conn, &proxies, 10));
    assert!(!plans.text.contains("SCAN"), "{}", plans.text);
    // A handful of rows that are the same for everybody, in their order.
    plans.of("registry::queries", registry::queries);
    assert!(plans.text.trim_end().ends_with("SCAN registry_queries"), "{}", plans.text);
}

#[test]
fn what_a_query_asks_for_is_found_by_indexes() {
    let mut plans = Plans::new();
    let query = "name = ws and tag contains a and os_version > 12 and serial starts with 1 and in group g \
        and field 'cost centre' = 4711 and has package 7 and has software 'x' > 1 and section cpus.type = xeon \
        and has no section printers and last_contact newer than 2 days and mac contains 00 and model != x";
    // One after the other: nobody left ends a search.
    for part in query.split(" and ") {
        let query = part.parse().expect("a query");
        plans.of(part.trim(), |conn| search::ids(conn, &query, NOW));
    }
    let whole = |line: &&str| line.trim_start().starts_with("SCAN") && !line.contains("COVERING INDEX");
    let whole: Vec<&str> = plans.text.lines().filter(whole).collect();
    assert!(whole.is_empty(), "{whole:?}\n{}", plans.text);
    let sorted = |table: &str| plans.text.contains(&format!("SCAN {table}"));
    assert!(!sorted("inventory_values") && !sorted("computer_values") && !sorted("computer_fields"), "{}", plans.text);
    assert!(!sorted("installations") && !sorted("computer_software") && !sorted("group_members"), "{}", plans.text);
}

#[test]
fn what_inventories_say_is_read_by_indexes() {
    let mut plans = Plans::new();
    plans.of("values::of_computer", |conn| values::of_computer(conn, COMPUTER));
    plans.of("values::difference", |conn| values::difference(conn, COMPUTER, &[]));
    insta::assert_snapshot!(plans.text, @r"
    values::of_computer
      SEARCH computer_values USING PRIMARY KEY (computer_id=?)
      SEARCH inventory_values USING INTEGER PRIMARY KEY (rowid=?)
    values::difference
      SEARCH computer_values USING PRIMARY KEY (computer_id=?)
      SEARCH inventory_values USING INTEGER PRIMARY KEY (rowid=?)
    ");
}

#[test]
fn the_list_of_computers_is_read_in_the_order_of_an_index() {
    let places = [
        (listing::Sort::Name, listing::Place::Name("pc".to_owned(), COMPUTER), "computers_by_name"),
        (listing::Sort::LastContact, listing::Place::LastContact(NOW, COMPUTER), "computers_by_contact"),
    ];
    for (sort, place, index) in places {
        for after in [None, Some(place)] {
            for descending in [false, true] {
                let mut plans = Plans::new();
                let wanted = listing::Wanted { sort, descending, after: after.clone(), ..listing::Wanted::default() };
                plans.of("listing::page", |conn| listing::page(conn, &wanted, NOW, 50));
                assert!(plans.text.contains(index) && !plans.text.contains("TEMP B-TREE"), "{}", plans.text);
            }
        }
    }
    let mut plans = Plans::new();
    plans.of("listing::find", |conn| listing::find(conn, "pc", 10));
    plans.of("listing::page by name", |conn| {
        let device_id = "ws-2024-03-05-09-10-11".parse().expect("a device id");
        computers::take_facts(
            conn,
            &device_id,
            &ComputerFacts { name: "pc".to_owned(), ..Default::default() },
            &contact(),
        )?;
        let queries = vec!["name = 'pc'".parse().expect("a query")];
        listing::page(conn, &listing::Wanted { queries, ..listing::Wanted::default() }, NOW, 50)
    });
    // Those that are put away are few.
    let whole = plans.text.lines().find(|step| step.contains("SCAN") && !step.contains("computers_archived"));
    assert_eq!(whole, None, "{}", plans.text);
}

#[test]
fn who_has_settings_of_their_own_is_told_by_an_index() {
    let mut plans = Plans::new();
    plans.of("settings::computer_counts", settings::computer_counts);
    plans.of("settings::computer_values", |conn| settings::computer_values(conn, SettingKey::Timeout, 200));
    insta::assert_snapshot!(plans.text, @r"
    settings::computer_counts
      SEARCH settings USING COVERING INDEX settings_by_key (scope=?)
    settings::computer_values
      SEARCH settings USING COVERING INDEX settings_by_key (scope=? AND key=?)
    ");
}

#[test]
fn what_needs_a_person_is_found_by_indexes() {
    let mut plans = Plans::new();
    let scope = "tag = lab".parse().expect("a query");
    let sights =
        [attention::Sight::of(&mut plans.conn, None, NOW), attention::Sight::of(&mut plans.conn, Some(&scope), NOW)];
    for sight in sights {
        let sight = sight.expect("a sight");
        plans.unheard(|_| ());
        plans.of("attention::silent", |conn| attention::silent(conn, &sight, NOW, 10));
        plans.of("attention::stuck", |conn| attention::stuck(conn, &sight, |_| true, NOW, None, 10));
        plans.of("attention::failed", |conn| attention::failed(conn, &sight, |_| true, 10));
        plans.of("seen::of_packages", |conn| seen::of_packages(conn, &sight, &[package()]));
        plans.of("likenesses::open", |conn| likenesses::open(conn, &sight, None, 10));
    }
    plans
        .of("likenesses::refresh", |conn| likenesses::refresh(conn, COMPUTER, &std::collections::BTreeMap::new(), NOW));
    plans.of("expected::page", |conn| expected::page(conn, "ws", Some("ws-1"), 10));
    assert!(!plans.text.contains("SCAN") && plans.text.contains("jobs_by_move"), "{}", plans.text);
}

#[test]
fn who_is_woken_is_found_by_indexes_that_hold_only_those() {
    const SENT: WakeState = WakeState::Sent;
    let mut plans = Plans::new();
    let deployment = DeploymentId(1);
    plans.of("wakes::due", |conn| wakes::due(conn, NOW, Some((NOW, DeploymentId(1))), 10));
    plans.of("wakes::turns", |conn| wakes::turns(conn, 10));
    plans.of("wakes::back", |conn| wakes::back(conn, 10));
    plans.of("wakes::silent", |conn| wakes::silent(conn, NOW, 10));
    plans.of("wakes::quiet", |conn| wakes::quiet(conn, &[COMPUTER], NOW));
    plans.of("wakes::last_of", |conn| wakes::last_of(conn, COMPUTER));
    plans.of("wakes::counts", |conn| wakes::counts(conn, deployment));
    plans.of("wakes::of_deployment", |conn| wakes::of_deployment(conn, deployment, None, Some((SENT, 7)), 10));
    plans.of("wakes::ask", |conn| wakes::ask(conn, &[COMPUTER], WakeState::Waiting, "ann", NOW));
    plans.of("computers::networks_of", |conn| computers::networks_of(conn, &[COMPUTER]));
    let whole: Vec<&str> = plans.text.lines().filter(|line| line.contains("SCAN")).collect();
    assert!(
        whole.iter().all(|line| line.contains("INDEX wakes_") || line.contains("INDEX deployment_wakes_due")),
        "{}",
        plans.text
    );
    assert!(!plans.text.contains("TEMP B-TREE FOR ORDER BY"), "{}", plans.text);
    assert!(
        !plans.text.contains("jobs USING INDEX jobs_unfinished"),
        "a turn reads the whole deployment: {}",
        plans.text
    );
}
