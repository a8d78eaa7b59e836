//! What needs a person: jobs that stand still, computers that look like one, computers that are written down before they
//! come; and for whom a list is cut.

use std::collections::BTreeMap;
use std::time::Duration;

use dripfeed::clock::Clock;
use dripfeed::model::access::{Rights, Scope};
use dripfeed::model::query::Query;
use dripfeed::model::{DeploymentId, DeviceId, JobId, JobOptions, JobState, Package, PackageId, ResultCode, UnixTime};
use dripfeed::protocol::{ComputerFacts, InventoryRequest, Network};
use dripfeed::service::assign::{Target, assign};
use dripfeed::service::deployments;
use dripfeed::service::desk::{Actor, Desk, Kind, Via};
use dripfeed::service::entry::Pattern;
use dripfeed::service::settings::Whose;
use dripfeed::service::{App, inventory};
use dripfeed::store::attention::Sight;
use dripfeed::store::terms::KnownTerms;
use dripfeed::store::{StoreError, jobs, merges, progress, search, seen};

use crate::util::process::Site;
use crate::util::{NOW, TestApp, block_on, peer};

const DAY: Duration = Duration::from_hours(24);

fn before(days: u32) -> UnixTime {
    UnixTime::from_millis(NOW.millis() - i64::from(days) * 24 * 60 * 60 * 1000)
}

fn at(app: &App, moment: UnixTime) -> App {
    App { clock: Clock::Fixed(moment), ..app.clone() }
}

fn desk(app: &App, scope: &str) -> Desk {
    let actor = Actor {
        name: "ann".to_owned(),
        token: None,
        via: Via::Console,
        peer_address: String::new(),
        rights: Rights::all(),
        scope: Scope::parse(Some(scope), None).expect("a scope"),
    };
    Desk::new(app.clone(), actor)
}

/// An inventory of a computer with this name, serial number and MAC address.
fn comes(app: &App, name: &str, serial: &str, mac: &str, tag: &str) -> String {
    let device_id: DeviceId = format!("{name}-2026-03-05-09-10-11").parse().expect("a device id");
    let request = InventoryRequest {
        device_id: device_id.clone(),
        facts: ComputerFacts {
            name: name.to_owned(),
            os_name: "Debian GNU/Linux 13".to_owned(),
            serial: serial.to_owned(),
            model: "Model 7".to_owned(),
            tag: tag.to_owned(),
            ..ComputerFacts::default()
        },
        networks: vec![Network { mac: mac.to_owned(), ..Network::default() }],
        history: None,
        account: Vec::new(),
        old_device_id: None,
        software: Vec::new(),
        discovered: Vec::new(),
        sections: Vec::new(),
    };
    let document = format!("{name} {serial} {mac} {}", app.clock.now().millis());
    block_on(inventory::take(app, request, document.into_bytes(), peer())).expect("taken");
    device_id.to_string()
}

/// Gives a package to computers and says that they were told of it then.
fn told(app: &App, package: &Package, computers: &[String], moment: UnixTime) -> (DeploymentId, Vec<JobId>) {
    let target = Target::Computers(computers.to_vec());
    let deployment = assign(app, package.id, target, JobOptions::default(), "ann").expect("assigned").deployment;
    let planned = app.store.read_now(move |conn| jobs::of_deployment(conn, deployment, None, 1000)).expect("jobs");
    let ids: Vec<JobId> = planned.iter().map(|line| line.job.id).collect();
    let marked = ids.clone();
    app.store.write_now(move |conn| jobs::mark_offered(conn, &marked, moment)).expect("told");
    (deployment, ids)
}

#[test]
fn a_job_is_stuck_if_its_computer_comes_and_nothing_follows() {
    let test = TestApp::new();
    let app = &test.app;
    let package = test.package(b"one", 100);
    let (old, coming) = (at(app, before(20)), at(app, before(1)));
    let ids: Vec<String> = ["a", "b", "c", "d"].map(|n| comes(&old, &format!("pc-{n}"), n, "", "lab")).into();
    let (_, planned) = told(app, &package, &ids[..3], before(10));
    // pc-a and pc-c were heard of since; pc-b was not, and pc-d was told just now.
    comes(&coming, "pc-a", "a2", "", "lab");
    comes(&coming, "pc-c", "c2", "", "lab");
    comes(&coming, "pc-d", "d2", "", "lab");
    told(app, &package, &ids[3..], before(1));

    let names = |desk: &Desk| -> Vec<String> {
        desk.stuck(None, 100).expect("a list").into_iter().map(|stuck| stuck.name).collect()
    };
    assert_eq!(names(&desk(app, "")), ["pc-a", "pc-c"]);
    let home = desk(app, "").home().expect("home");
    assert_eq!((home.stuck.jobs, home.stuck.days), (2, 3));
    assert_eq!((home.stuck.by_deployment[0].computers, &*home.stuck.by_deployment[0].names[1]), (2, "pc-c"));
    // A page after the other.
    let first = desk(app, "").stuck(None, 1).expect("a page").remove(0);
    let place = first.place().to_string().parse().expect("a place");
    assert_eq!(desk(app, "").stuck(Some(place), 10).expect("a page")[0].name, "pc-c");

    // How long it takes is a setting.
    desk(app, "").change_setting("STUCK_AFTER".parse().expect("a key"), Some("12"), Whose::Everyone).expect("set");
    assert_eq!(names(&desk(app, "")), [""; 0]);
    desk(app, "").change_setting("STUCK_AFTER".parse().expect("a key"), None, Whose::Everyone).expect("unset");
    let job = planned[0];
    app.store.write_now(move |conn| jobs::cancel(conn, job, NOW)).expect("cancelled");
    assert_eq!(names(&desk(app, "")), ["pc-c"]);
}

#[test]
fn the_command_line_names_what_is_stuck() {
    let site = Site::new();
    let package: PackageId = site.package().parse().expect("a number");
    // The program asks the machine's clock, so the story is told back from there.
    let app = App { clock: Clock::System, ..TestApp::open(&site.data()) };
    let days_ago = |days: i64| UnixTime::from_millis(app.clock.now().millis() - days * 24 * 60 * 60 * 1000);
    assert!(site.say("stuck").err.contains("within 3 days"));
    assert_eq!(site.json("stuck"), serde_json::json!([]));
    let ids: Vec<String> = ["a", "b"].map(|n| comes(&at(&app, days_ago(9)), &format!("pc-{n}"), n, "", "lab")).into();
    let target = Target::Computers(ids);
    let deployment = assign(&app, package, target, JobOptions::default(), "ann").expect("assigned").deployment;
    let planned = app.store.read_now(move |conn| jobs::of_deployment(conn, deployment, None, 10)).expect("jobs");
    let (jobs, moment): (Vec<JobId>, _) = (planned.iter().map(|line| line.job.id).collect(), days_ago(5));
    app.store.write_now(move |conn| jobs::mark_offered(conn, &jobs, moment)).expect("told");
    comes(&app, "pc-b", "b2", "", "lab");
    let listed = site.json("stuck");
    let one = &listed.as_array().expect("a list")[..];
    assert_eq!(one.len(), 1, "pc-a is silent: {listed}");
    assert_eq!((&one[0]["name"], &one[0]["package"]), (&"pc-b".into(), &package.number().into()));
    let ran = site.say("stuck --limit 7");
    assert!(ran.err.contains("dripfeed why"), "{}", ran.err);
    assert!(ran.ok().contains("pc-b"));
}

#[test]
fn what_a_scope_leaves_out_takes_no_place_in_a_list() {
    let test = TestApp::new();
    let app = &test.app;
    let package = test.package(b"one", 100);
    let old = at(app, before(30));
    let others: Vec<String> =
        (0..40).map(|n| comes(&old, &format!("ot-{n}"), &format!("o{n}"), "", "office")).collect();
    let mine = comes(&at(app, before(20)), "mine", "m1", "", "lab");
    told(app, &package, &others, before(10));
    told(app, &package, std::slice::from_ref(&mine), before(9));
    let lab = desk(app, "tag = lab");
    let silent = lab.home().expect("home").silent;
    assert_eq!(silent.iter().map(|one| (one.name.as_str(), one.waits)).collect::<Vec<_>>(), [("mine", true)]);
    for n in 0..40 {
        comes(app, &format!("ot-{n}"), &format!("p{n}"), "", "office");
    }
    comes(app, "mine", "m2", "", "lab");
    let stuck = lab.stuck(None, 1).expect("a page");
    assert_eq!(stuck[0].name, "mine");
    assert_eq!(desk(app, "").stuck(None, 100).expect("all").len(), 41);
}

#[test]
fn two_that_look_like_one_are_asked_about_until_somebody_says() {
    let test = TestApp::new();
    let app = &test.app;
    let mac = "52:54:00:00:00:01";
    let one = comes(&at(app, before(2)), "pc-one", "SERIAL1", mac, "lab");
    comes(app, "pc-third", "SERIAL9", "52:54:00:00:00:09", "lab");
    assert_eq!(desk(app, "").likenesses_count(10).expect("a count"), 0);
    let other = comes(app, "pc-two", "SERIAL1", mac, "office");
    let pairs = desk(app, "").likenesses(None, 10).expect("pairs");
    let pair = &pairs[0];
    assert_eq!((pairs.len(), pair.same()), (1, vec!["serial number", "MAC address", "model"]));
    let differ: Vec<&str> = pair.differences().into_iter().map(|(what, ..)| what).collect();
    assert_eq!(differ, ["Name", "Tag"]);
    assert_eq!(pair.away_and_kept().1.computer.device_id.as_str(), other);
    assert_eq!(desk(app, "").home().expect("home").duplicates, 1);
    // Both have to be in a scope.
    assert_eq!(desk(app, "tag = lab").likenesses_count(10).expect("a count"), 0);
    let refusal = desk(app, "tag = lab").keep_apart(&one, &other).expect_err("out of scope");
    assert_eq!(refusal.kind, Kind::NotFound);

    desk(app, "").keep_apart(&one, &other).expect("two");
    // Nobody is asked again, whatever they say from now on.
    comes(app, "pc-two", "SERIAL1", mac, "office");
    comes(&at(app, UnixTime::from_millis(NOW.millis() + 1)), "pc-renamed", "SERIAL5", "", "office");
    assert_eq!(desk(app, "").likenesses_count(10).expect("a count"), 0);
    assert_eq!(desk(app, "").keep_apart(&one, &other).expect_err("said").kind, Kind::Conflict);
    desk(app, "").ask_again(&other, &one).expect("asked again");
    assert_eq!(desk(app, "").likenesses_count(10).expect("a count"), 1);
    desk(app, "").merge_computers(&one, &other).expect("merged");
    assert_eq!(desk(app, "").likenesses_count(10).expect("a count"), 0);
}

#[test]
fn a_list_of_duplicates_ends_with_the_last_pair_and_not_with_a_page() {
    let test = TestApp::new();
    for n in 0..4 {
        comes(&test.app, &format!("twin-{n}"), "SERIAL1", "", "lab");
    }
    for page in [2, 4, 6, 7] {
        let pairs = desk(&test.app, "").every_likeness(page).expect("pairs");
        let different: std::collections::BTreeSet<(i64, i64)> =
            pairs.iter().map(|pair| (pair.likeness.older.0, pair.likeness.newer.0)).collect();
        assert_eq!((pairs.len(), different.len()), (6, 6), "by {page}");
    }
}

#[test]
fn what_many_have_in_common_is_nobodys() {
    let test = TestApp::new();
    for n in 0..12 {
        comes(&test.app, &format!("clone-{n}"), "IMAGE-4711", "", "lab");
    }
    // The first few were few; with the last one it is seen that it is the image's.
    let last = comes(&test.app, "clone-12", "IMAGE-4711", "", "lab");
    let pairs = desk(&test.app, "").likenesses(None, 200).expect("pairs");
    assert!(pairs.iter().all(|pair| pair.newer.computer.device_id.as_str() != last), "{}", pairs.len());
}

#[test]
fn a_computer_that_is_written_down_is_the_one_that_comes() {
    let test = TestApp::new();
    let app = &test.app;
    let all = desk(app, "");
    let pattern = Pattern {
        count: 2,
        first: 1,
        name: "front-##".to_owned(),
        mac: "52:54:00:00:0A:0A".to_owned(),
        tag: "Paris".to_owned(),
        ..Pattern::default()
    };
    let written = all.enter_computers(&pattern).expect("written down");
    assert_eq!(written[1].host(), "front-02");
    assert_eq!(all.enter_computers(&pattern).expect_err("there").kind, Kind::Conflict);
    assert_eq!(desk(app, "tag = lab").enter_computers(&pattern).expect_err("a scope").kind, Kind::Forbidden);
    let later = at(app, NOW.plus(DAY * 30));
    assert!(desk(&later, "").home().expect("home").silent.is_empty(), "nobody expects to hear of them");

    let package = test.package(b"one", 100);
    let target = Target::Computers(written.iter().map(ToString::to_string).collect());
    assign(app, package.id, target, JobOptions::default(), "ann").expect("assigned");
    // Another machine of that name has another address: it is not the one that was meant.
    comes(app, "front-02", "X1", "52:54:00:00:0A:FF", "");
    let came = comes(app, "front-01", "X2", "52:54:00:00:0a:0a", "");
    let computer = all.computer(&came).expect("there");
    assert_eq!(computer.tag, "Paris");
    let id = computer.id;
    let open = app.store.read_now(move |conn| jobs::open_of_computer(conn, id, &KnownTerms::default())).expect("jobs");
    assert_eq!(open.len(), 1, "it takes over what was assigned");
    let known = app.store.read_now(move |conn| merges::of_computer(conn, id)).expect("merges");
    assert_eq!(known[0].reason, "it was written down before it came");
    assert!(all.entered(&computer).expect("a look").is_none());
    let waiting = all.computer(written[1].as_str()).expect("still there");
    assert!(waiting.archived_at.is_none() && all.entered(&waiting).expect("a look").is_some());
}

#[test]
fn jobs_of_packages_are_counted_where_somebody_looks() {
    let test = TestApp::new();
    let app = &test.app;
    let ids: Vec<String> = (0..24)
        .map(|n| comes(app, &format!("pc-{n}"), &format!("s{n}"), "", if n % 8 == 0 { "lab" } else { "office" }))
        .collect();
    let packages = [test.package(b"one", 100), test.package(b"two", 100)];
    let mut planned_deployments = Vec::new();
    for (at, package) in packages.iter().enumerate() {
        let (deployment, planned) = told(app, package, &ids[at..], NOW);
        let failed: Vec<JobId> = planned.into_iter().step_by(3).collect();
        app.store
            .write_now(move |conn| {
                let code = ResultCode::from_wire("ERR_EXIT_1");
                failed.iter().try_for_each(|job| jobs::finish(conn, *job, JobState::Failed, &code, NOW))
            })
            .expect("failed");
        planned_deployments.push((package.id, deployment));
    }
    // A newer attempt takes the place of the one before.
    deployments::retry(app, planned_deployments[0].1, true).expect("tried again");

    let wanted: Vec<PackageId> = packages.iter().map(|package| package.id).collect();
    for scope in ["", "tag = lab", "tag != lab", "tag = office", "device_id contains '-'", "tag = nowhere"] {
        let query: Option<Query> = (!scope.is_empty()).then(|| scope.parse().expect("a query"));
        let (wanted, deployments) = (wanted.clone(), planned_deployments.clone());
        let (counted, expected) = app
            .store
            .read_now(move |conn| -> Result<_, StoreError> {
                let sight = Sight::of(conn, query.as_ref(), NOW)?;
                let allowed = query.map(|query| search::ids(conn, &query, NOW)).transpose()?;
                let mut expected: BTreeMap<PackageId, BTreeMap<JobState, u64>> = BTreeMap::new();
                for (package, deployment) in deployments {
                    for brief in progress::briefs(conn, deployment)? {
                        if allowed.as_ref().is_none_or(|allowed| allowed.contains(&brief.computer)) {
                            *expected.entry(package).or_default().entry(brief.state).or_default() += 1;
                        }
                    }
                }
                Ok((seen::of_packages(conn, &sight, &wanted)?, expected))
            })
            .expect("counted");
        let counted: BTreeMap<PackageId, BTreeMap<JobState, u64>> =
            counted.into_iter().map(|(package, counts)| (package, counts.into_iter().collect())).collect();
        assert_eq!(counted, expected, "{scope}");
        assert_eq!(counted.is_empty(), scope == "tag = nowhere", "{scope}");
    }
}
