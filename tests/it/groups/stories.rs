//! Groups as administrators and computers see them.

use std::time::Duration;

use dripfeed::clock::Clock;
use dripfeed::model::settings::SettingKey;
use dripfeed::model::{JobOptions, Location, PackageId, ResultCode};
use dripfeed::protocol::{
    ComputerFacts, DownloadReport, InventoryRequest, Network, PrologReply, PrologRequest, SoftwareTitle,
};
use dripfeed::service::assign::{AssignError, Assigned, Target, assign};
use dripfeed::service::groups::{self, Mark, Refreshed};
use dripfeed::service::{App, activate, inventory, notify, prolog, query, report};
use dripfeed::store::settings::{self, Scope};
use dripfeed::store::{StoreError, deployments, jobs};

use crate::util::{NOW, TestApp, block_on, peer};

/// An inventory of a computer, `name`, on a system and with a TAG (which only the first inventory sets).
fn inventory_of(app: &App, name: &str, os: &str, tag: &str) {
    inventory_with(app, name, os, tag, &[]);
}

/// The same with software: names and versions.
fn inventory_with(app: &App, name: &str, os: &str, tag: &str, software: &[(&str, &str)]) {
    let titles = software.iter().map(|(name, version)| SoftwareTitle {
        name: (*name).to_owned(),
        version: (*version).to_owned(),
        ..SoftwareTitle::default()
    });
    let request = InventoryRequest {
        device_id: device_id(name),
        facts: ComputerFacts {
            name: name.to_owned(),
            os_name: os.to_owned(),
            tag: tag.to_owned(),
            ..ComputerFacts::default()
        },
        networks: vec![Network {
            ip_address: "10.1.2.3".to_owned(),
            mac: "00:11:22:33:44:55".to_owned(),
            ..Network::default()
        }],
        history: Some(Vec::new()),
        account: Vec::new(),
        old_device_id: None,
        software: titles.collect(),
        discovered: Vec::new(),
        sections: Vec::new(),
    };
    let document = format!("<REQUEST>{name}{os}{software:?}</REQUEST>").into_bytes();
    block_on(inventory::take(app, request, document, peer())).expect("taken");
}

fn device_id(name: &str) -> dripfeed::model::DeviceId {
    format!("{name}-2024-03-05-09-10-11").parse().expect("a device id")
}

fn contact(app: &App, name: &str) -> PrologReply {
    block_on(prolog::answer(app, PrologRequest { device_id: device_id(name) }, peer())).expect("answered").reply
}

fn offers(app: &App, name: &str) -> Vec<String> {
    let option = contact(app, name).download.expect("an option");
    option.offers.iter().map(|offer| offer.package.to_string()).collect()
}

fn active_package(test: &TestApp) -> PackageId {
    let id = test.package(b"content", 1000).id;
    let here: Location = "localhost:8443/download".parse().expect("a location");
    activate::activate(&test.app, id, here.clone(), here, None, &mut |_, _| {}).expect("activated");
    id
}

fn assign_to(app: &App, id: PackageId, target: Target) -> Assigned {
    assign(app, id, target, JobOptions::default(), "alice").expect("assigned")
}

fn create(app: &App, name: &str, query: &str) -> Refreshed {
    groups::create(app, name, (!query.is_empty()).then_some(query), "alice").expect("a group")
}

fn mark(app: &App, group: &str, computer: &str, mark: Mark) -> usize {
    groups::mark(app, group, &[computer.to_owned()], mark).expect("marked")
}

/// `name reason` of every computer that has a place in the group.
fn places(app: &App, group: &str) -> Vec<String> {
    let (summary, members) = groups::show(app, group).expect("a group");
    let places: Vec<String> =
        members.iter().map(|(computer, reason, _)| format!("{} {}", computer.name, reason.as_str())).collect();
    let members = places.iter().filter(|place| !place.ends_with("excluded")).count();
    assert_eq!(summary.members, members as u64);
    places
}

const NOBODY: [&str; 0] = [];

#[test]
fn a_computer_joins_with_its_inventory_and_leaves_with_the_next() {
    let test = TestApp::new();
    inventory_of(&test.app, "ws1", "Debian GNU/Linux 12", "");
    assert_eq!(create(&test.app, "Debian", "os contains debian").members, 1);
    inventory_of(&test.app, "ws2", "Ubuntu 24.04", "");
    inventory_of(&test.app, "ws3", "Debian GNU/Linux 13", "");
    assert_eq!(places(&test.app, "debian"), ["ws1 query", "ws3 query"]);
    inventory_of(&test.app, "ws1", "Ubuntu 24.04", "");
    inventory_of(&test.app, "ws2", "Debian GNU/Linux 13", "");
    assert_eq!(places(&test.app, "DEBIAN"), ["ws2 query", "ws3 query"]);
}

#[test]
fn what_is_done_by_hand_wins_over_the_query() {
    let test = TestApp::new();
    let app = &test.app;
    inventory_of(app, "ws1", "Debian", "");
    inventory_of(app, "ws2", "Ubuntu", "");
    create(app, "g", "os = Debian");
    mark(app, "g", "ws1", Mark::Exclude);
    mark(app, "g", "ws2", Mark::Include);
    let by_hand = ["ws1 excluded", "ws2 included"];
    assert_eq!(places(app, "g"), by_hand);
    inventory_of(app, "ws1", "Debian", "");
    inventory_of(app, "ws2", "Ubuntu 24", "");
    groups::refresh(app, Some("g")).expect("refreshed");
    assert_eq!(places(app, "g"), by_hand);
    mark(app, "g", "ws1", Mark::Remove);
    mark(app, "g", "ws2", Mark::Remove);
    assert_eq!(places(app, "g"), ["ws1 query"]);
    // It is there by the query: nothing by hand is left to take back.
    mark(app, "g", "ws1", Mark::Remove);
    assert_eq!(places(app, "g"), ["ws1 query"]);
}

#[test]
fn a_standing_deployment_reaches_a_late_member_at_its_next_contact() {
    let test = TestApp::new();
    let app = &test.app;
    let id = active_package(&test);
    inventory_of(app, "ws1", "Debian", "");
    create(app, "g", "os contains debian");
    let assigned = assign_to(app, id, Target::Group("G".to_owned()));
    assert_eq!((assigned.planned, assigned.already), (1, 0));
    assert_eq!(offers(app, "ws1"), [id.to_string()]);

    inventory_of(app, "ws2", "Debian", "");
    assert_eq!(offers(app, "ws2"), [id.to_string()]);
    // A member of another system gets nothing.
    inventory_of(app, "win", "Microsoft Windows 11", "");
    mark(app, "g", "win", Mark::Include);
    assert_eq!(offers(app, "win"), NOBODY);
    // Who leaves keeps what it has.
    inventory_of(app, "ws2", "Ubuntu", "");
    assert_eq!(places(app, "g"), ["ws1 query", "win included"]);
    assert_eq!(offers(app, "ws2"), [id.to_string()]);
    // Who has had it and comes back does not get it twice.
    let result = DownloadReport { device_id: device_id("ws2"), package: Some(id), code: ResultCode::success() };
    block_on(report::take(app, result, peer())).expect("taken");
    inventory_of(app, "ws2", "Debian 13", "");
    assert_eq!(places(app, "g").len(), 3);
    assert_eq!(offers(app, "ws2"), NOBODY);

    // Taken back, it reaches nobody else.
    let deployment = assigned.deployment;
    let cancel = move |conn: &mut _| deployments::cancel(conn, deployment, NOW);
    assert!(app.store.write_now(cancel).expect("cancelled"));
    assert!(!app.store.write_now(cancel).expect("cancelled before"));
    inventory_of(app, "ws4", "Debian", "");
    assert_eq!(offers(app, "ws4"), NOBODY);
    assert_eq!(offers(app, "ws1"), [id.to_string()]);
}

#[test]
fn a_query_as_target_is_a_snapshot() {
    let test = TestApp::new();
    let app = &test.app;
    let id = active_package(&test);
    for (name, os) in [("ws1", "Debian"), ("ws2", "Ubuntu"), ("win", "Microsoft Windows 11")] {
        inventory_of(app, name, os, "Paris");
    }
    let target = || Target::Where("tag = paris and name != ws2".to_owned());
    let assigned = assign_to(app, id, target());
    assert_eq!((assigned.planned, assigned.other_system), (1, 1));
    inventory_of(app, "ws4", "Debian", "Paris");
    assert_eq!(offers(app, "ws4"), NOBODY);
    assert_eq!(assign_to(app, id, target()).already, 1);

    let refused = |target| assign(app, id, target, JobOptions::default(), "alice").expect_err("refused").to_string();
    insta::assert_snapshot!(refused(Target::Where("tag = rome".to_owned())), @"no computer matches: `dripfeed computer list --where` tries a query; a group also reaches those to come");
    insta::assert_snapshot!(refused(Target::Group("rome".to_owned())), @r#"there is no group "rome": `dripfeed group list` shows them"#);
    insta::assert_snapshot!(refused(Target::Where("in group rome".to_owned())), @r#"there is no group "rome": `dripfeed group list` shows them"#);
    assert!(matches!(
        assign(app, id, Target::Where("tag =".to_owned()), JobOptions::default(), "alice"),
        Err(AssignError::Ask(query::AskError::Unreadable(_)))
    ));
}

#[test]
fn groups_may_ask_for_groups_but_not_for_themselves() {
    let test = TestApp::new();
    let app = &test.app;
    // Named so that neither order of names nor order of making is the order of asking.
    create(app, "m", "");
    create(app, "z", "in group m and os = Debian");
    create(app, "a", "not in group z");
    create(app, "b", "in group a or in group z");
    inventory_of(app, "ws1", "Debian", "");
    assert_eq!((places(app, "z").len(), places(app, "a").len(), places(app, "b").len()), (0, 1, 1));
    mark(app, "m", "ws1", Mark::Include);
    assert_eq!((places(app, "z").len(), places(app, "a").len(), places(app, "b").len()), (1, 0, 1));
    let changed = groups::edit(app, "z", "in group m and os = Ubuntu").expect("edited");
    let told: Vec<String> = changed.iter().map(|one| format!("{} {}", one.name, one.members)).collect();
    assert_eq!(told, ["z 0", "a 1", "b 1"]);

    let error = groups::edit(app, "Z", "os = x or in group B").expect_err("a circle");
    insta::assert_snapshot!(error, @r#"group "z" would ask for itself: z → b → z"#);
    let error = groups::edit(app, "z", "in group z").expect_err("a circle");
    insta::assert_snapshot!(error, @r#"group "z" would ask for itself: z → z"#);
    let error = groups::edit(app, "m", "in group z").expect_err("a circle through a group without a query");
    insta::assert_snapshot!(error, @r#"group "m" would ask for itself: m → z → m"#);
    let error = groups::delete(app, "z", true).expect_err("it is used");
    insta::assert_snapshot!(error, @r#"group "z" cannot be deleted: group "a" asks for it"#);
}

#[test]
fn a_refresh_finds_what_only_time_changed() {
    let test = TestApp::new();
    inventory_of(&test.app, "ws1", "Debian", "");
    inventory_of(&test.app, "ws2", "Debian", "");
    create(&test.app, "lost", "last_contact older than 30 days");
    create(&test.app, "hand", "");
    assert_eq!(places(&test.app, "lost"), NOBODY);
    let later = NOW.plus(Duration::from_hours(40 * 24));
    let app = App { clock: Clock::Fixed(later), ..test.app.clone() };
    // Even an inventory that changes nothing is news.
    inventory_of(&app, "ws2", "Debian", "");
    let refreshed = groups::refresh(&app, None).expect("refreshed");
    assert_eq!(refreshed, [Refreshed { name: "lost".to_owned(), members: 1, joined: 1, left: 0, planned: 0 }]);
    assert_eq!(places(&app, "lost"), ["ws1 query"]);
    inventory_of(&app, "ws1", "Debian", "");
    assert_eq!(places(&app, "lost"), NOBODY);
    let error = groups::refresh(&app, Some("hand")).expect_err("no query");
    insta::assert_snapshot!(error, @r#"group "hand" has no query: its members are added by hand"#);
}

#[test]
fn only_groups_that_depend_on_the_time_are_asked_by_it() {
    let test = TestApp::new();
    inventory_of(&test.app, "ws1", "Debian", "");
    create(&test.app, "lost", "last_contact older than 30 days");
    create(&test.app, "missing", "in group lost and os = Debian");
    create(&test.app, "still", "os = Debian");
    create(&test.app, "hand", "");
    let id = active_package(&test);
    assign_to(&test.app, id, Target::Group("missing".to_owned()));
    let hours = |hours: u64| App { clock: Clock::Fixed(NOW.plus(Duration::from_hours(hours))), ..test.app.clone() };
    let said = |app: &App| -> Vec<String> {
        let refreshed = groups::refresh_timed(app).expect("refreshed");
        refreshed.iter().map(|one| format!("{} +{} -{} {} jobs", one.name, one.joined, one.left, one.planned)).collect()
    };
    // In their order: what asks for another group comes after it.
    assert_eq!(said(&hours(29 * 24)), ["lost +0 -0 0 jobs", "missing +0 -0 0 jobs"]);
    let later = hours(31 * 24);
    assert_eq!(said(&later), ["lost +1 -0 0 jobs", "missing +1 -0 1 jobs"]);
    assert_eq!(said(&later), ["lost +0 -0 0 jobs", "missing +0 -0 0 jobs"], "a second look finds nothing");
    assert_eq!(places(&later, "missing"), ["ws1 query"]);
}

#[test]
fn a_result_and_a_new_address_are_news_too() {
    let test = TestApp::new();
    let app = &test.app;
    let id = active_package(&test);
    inventory_of(app, "ws1", "Debian", "");
    create(app, "without", &format!("has no package {id}"));
    create(app, "moved", "ip in 192.0.2.0/24");
    assign_to(app, id, Target::Computers(vec!["ws1".to_owned()]));
    assert_eq!(offers(app, "ws1"), [id.to_string()]);
    assert_eq!(places(app, "without"), ["ws1 query"]);
    let result = DownloadReport { device_id: device_id("ws1"), package: Some(id), code: ResultCode::success() };
    block_on(report::take(app, result, peer())).expect("taken");
    assert_eq!(places(app, "without"), NOBODY);

    assert_eq!(places(app, "moved"), NOBODY);
    let request = dripfeed::protocol::NotifyRequest {
        device_id: device_id("ws1"),
        ip_address: Some("192.0.2.9".to_owned()),
        networks: vec![Network {
            ip_address: "192.0.2.9".to_owned(),
            mac: "00:11:22:33:44:55".to_owned(),
            ..Network::default()
        }],
    };
    block_on(notify::take(app, request, peer())).expect("taken");
    assert_eq!(places(app, "moved"), ["ws1 query"]);
}

#[test]
fn a_preview_shows_who_comes_and_goes_and_changes_nothing() {
    let test = TestApp::new();
    let app = &test.app;
    for (name, os) in [("ws1", "Debian"), ("ws2", "Ubuntu"), ("ws3", "Ubuntu"), ("ws4", "Ubuntu")] {
        inventory_of(app, name, os, "");
    }
    create(app, "g", "os = Debian");
    mark(app, "g", "ws3", Mark::Exclude);
    mark(app, "g", "ws4", Mark::Include);
    let preview = groups::preview(app, "g", "os = Ubuntu").expect("a preview");
    let names = |ids: &[dripfeed::model::ComputerId]| -> Vec<String> {
        let ids = ids.to_vec();
        let found = app.store.read_now(move |conn| dripfeed::store::computers::some(conn, &ids)).expect("read");
        found.into_iter().map(|computer| computer.name).collect()
    };
    assert_eq!((names(&preview.joins), names(&preview.leaves)), (vec!["ws2".to_owned()], vec!["ws1".to_owned()]));
    assert_eq!(places(app, "g"), ["ws1 query", "ws3 excluded", "ws4 included"]);
    groups::edit(app, "g", "os = Ubuntu").expect("edited");
    assert_eq!(places(app, "g"), ["ws2 query", "ws3 excluded", "ws4 included"]);
}

#[test]
fn a_group_with_a_standing_deployment_is_deleted_only_when_that_is_wanted() {
    let test = TestApp::new();
    let app = &test.app;
    let id = active_package(&test);
    inventory_of(app, "ws1", "Debian", "");
    create(app, "g", "os = Debian");
    let deployment = assign_to(app, id, Target::Group("g".to_owned())).deployment;
    let error = groups::delete(app, "g", false).expect_err("it stands");
    insta::assert_snapshot!(error, @r#"group "g" has 1 standing deployment, which would end: 1; --force deletes it all the same"#);
    assert_eq!(groups::delete(app, "g", true).expect("deleted"), [deployment]);
    inventory_of(app, "ws2", "Debian", "");
    assert_eq!(offers(app, "ws2"), NOBODY);
    assert_eq!(offers(app, "ws1"), [id.to_string()]);
    // The name is free, and nothing of the old group comes back with it.
    create(app, "g", "os = Debian");
    inventory_of(app, "ws3", "Debian", "");
    assert_eq!(offers(app, "ws3"), NOBODY);
    let planned = app.store.read_now(move |conn| jobs::list(conn, Some(id), None, None, 10)).expect("read");
    assert_eq!(planned.len(), 1);
}

#[test]
fn a_computer_is_told_the_settings_of_its_groups() {
    let test = TestApp::new();
    let app = &test.app;
    inventory_of(app, "ws1", "Debian", "");
    create(app, "slow", "os = Debian");
    create(app, "slower", "");
    create(app, "out", "os = Debian");
    mark(app, "out", "ws1", Mark::Exclude);
    app.store
        .write_now(|conn| -> Result<(), StoreError> {
            for (name, value) in [("slow", 20), ("slower", 30), ("out", 40)] {
                let id = dripfeed::store::groups::find_by_name(conn, name)?.expect("a group").id;
                settings::set(conn, Scope::Group(id), SettingKey::FragmentLatency, value)?;
            }
            Ok(())
        })
        .expect("set");
    let latency = || contact(app, "ws1").download.expect("an option").settings.fragment_latency;
    assert_eq!(latency(), 20);
    mark(app, "slower", "ws1", Mark::Include);
    assert_eq!(latency(), 30);
    groups::delete(app, "slower", false).expect("deleted");
    assert_eq!(latency(), 20);
}

#[test]
fn names_and_queries_that_cannot_be_are_refused_with_a_sentence() {
    let test = TestApp::new();
    let app = &test.app;
    create(app, "Paris", "");
    let refused =
        |name: &str, query: Option<&str>| groups::create(app, name, query, "alice").expect_err("refused").to_string();
    let told = [
        refused("pARIS", None),
        refused(" x", None),
        refused("", None),
        refused("..", None),
        refused("a\u{1b}[2J", None),
        refused("x", Some("in group y")),
        refused("x", Some("nmae = y")).lines().last().expect("a line").to_owned(),
        groups::mark(app, "nowhere", &["ws1".to_owned()], Mark::Include).expect_err("refused").to_string(),
        groups::mark(app, "Paris", &["ws1".to_owned()], Mark::Include).expect_err("refused").to_string(),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    there is a group "pARIS" already: `dripfeed group edit` changes its query
    a group cannot be named " x": a name has 1 to 100 characters, no control characters, no space at its ends, and is not "." or ".."
    a group cannot be named "": a name has 1 to 100 characters, no control characters, no space at its ends, and is not "." or ".."
    a group cannot be named "..": a name has 1 to 100 characters, no control characters, no space at its ends, and is not "." or ".."
    a group cannot be named "a[2J": a name has 1 to 100 characters, no control characters, no space at its ends, and is not "." or ".."
    there is no group "y": `dripfeed group list` shows them
      ^
    there is no group "nowhere": `dripfeed group list` shows them
    there is no computer "ws1": it must have sent an inventory first (`dripfeed computer list`)
    "#);
    assert_eq!(groups::list(app).expect("groups").len(), 1);
}

#[test]
fn computers_are_found_by_their_software_and_by_what_they_lack() {
    let test = TestApp::new();
    let app = &test.app;
    inventory_with(app, "old", "Debian", "Paris", &[("OpenSSL", "3.0.9"), ("vim", "9.0")]);
    inventory_with(app, "new", "Debian", "Paris", &[("openssl", "3.0.15")]);
    inventory_with(app, "none", "Debian", "Paris", &[("vim", "9.1")]);
    let names = |text: &str| -> Vec<String> {
        query::ask(app, text).expect("an answer").into_iter().map(|computer| computer.name).collect()
    };
    assert_eq!(names("has software openssl"), ["old", "new"]);
    assert_eq!(names("has software 'OPENSSL' < 3.0.10"), ["old"], "versions are compared as versions");
    assert_eq!(names("has no software openssl"), ["none"]);
    assert_eq!(names("has software vim and not has software openssl"), ["none"]);
    groups::create(app, "patched", Some("has software openssl >= 3.0.15"), "alice").expect("created");
    let members = |app: &App| -> Vec<String> {
        groups::show(app, "patched").expect("a group").1.into_iter().map(|(computer, ..)| computer.name).collect()
    };
    assert_eq!(members(app), ["new"]);
    inventory_with(app, "old", "Debian", "Paris", &[("OpenSSL", "3.0.15"), ("vim", "9.0")]);
    assert_eq!(members(app), ["old", "new"], "the inventory that brings the version brings the membership");
}
