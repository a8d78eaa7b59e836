//! When and where a deployment may run: asked at each contact, changed on its way, through every door.

use dripfeed::clock::Clock;
use dripfeed::model::access::{Rights, Scope};
use dripfeed::model::{DeploymentId, JobOptions, PackageId, UnixTime};
use dripfeed::protocol::PrologRequest;
use dripfeed::service::assign::{Bundle, Target, Terms, assign_bundle};
use dripfeed::service::desk::{Actor, Desk, Kind, Via};
use dripfeed::service::gates::{GatesNow, read};
use dripfeed::service::why::why;
use dripfeed::service::{App, Peer, deployments, prolog};
use dripfeed::store::audit;

use crate::console_deployments::{A, Served, story};
use crate::jobs::{WS, active_package, offers, say_inventory, say_result};
use crate::util::process::Site;
use crate::util::{NOW, TestApp, block_on, peer};

const HOUR: i64 = 3600;

/// The application so many hours after the tests' present, which is Friday, 20 November 2026, 10:00 UTC.
fn later(test: &TestApp, hours: i64) -> App {
    App { clock: Clock::Fixed(UnixTime::from_seconds(NOW.seconds() + hours * HOUR)), ..test.app.clone() }
}

fn give(test: &TestApp, windows: Option<&str>, ranges: Option<&str>) -> (PackageId, DeploymentId) {
    let id = active_package(test);
    say_inventory(test, WS, "Debian", &[]);
    let terms = Terms { options: JobOptions::default(), gates: read(windows, Some("+01:00"), ranges).expect("gates") };
    let target = Target::Computers(vec![WS.to_owned()]);
    let made = assign_bundle(&test.app, &Bundle::from(id), target, &terms, "alice", None).expect("assigned");
    (id, made[0].deployment)
}

/// What the computer is told when it comes from there.
fn told(app: &App, address: &str) -> Vec<String> {
    let request = PrologRequest { device_id: WS.parse().expect("a device id") };
    let from = Peer { address: address.parse().expect("an address"), ..peer() };
    let option = block_on(prolog::answer(app, request, from)).expect("answered").reply.download.expect("an option");
    option.offers.iter().map(|offer| offer.package.to_string()).collect()
}

fn said(app: &App, id: PackageId) -> String {
    let answer = why(app, WS, id).expect("an answer");
    format!("{}: {}", answer.stage.as_str(), answer.sentence)
}

fn withheld(app: &App, id: DeploymentId) -> Vec<(String, u64)> {
    deployments::progress(app, id, None).expect("there").gates
}

#[test]
fn a_job_waits_for_its_window_and_is_offered_in_it() {
    let test = TestApp::new();
    // There it is 11:00.
    let (id, deployment) = give(&test, Some("mon-fri 20:00-06:00"), None);
    assert_eq!(offers(&test, WS), [""; 0]);
    let sentence = "waits for its window: next opens Fri 2026-11-20 20:00 +01:00";
    assert_eq!(withheld(&test.app, deployment), [(sentence.to_owned(), 1)]);
    assert_eq!(said(&test.app, id), format!("outside window: {sentence}"));
    let evidence = why(&test.app, WS, id).expect("an answer").evidence;
    let windows = "the deployment runs in the windows mon-fri 20:00-06:00 (+01:00)";
    assert!(evidence.iter().any(|fact| fact.text == windows), "{evidence:?}");
    assert_eq!(told(&later(&test, 8), "127.0.0.1"), [""; 0]);
    assert_eq!(told(&later(&test, 9), "127.0.0.1"), [id.to_string()], "20:00");
    assert_eq!(withheld(&test.app, deployment), []);
    assert_eq!(told(&later(&test, 20), "127.0.0.1"), [id.to_string()], "whoever was told goes on");
    say_result(&test, WS, id, "ERR_EXECUTE");
    deployments::retry(&test.app, deployment, false).expect("planned anew");
    let weekend = later(&test, 24);
    assert_eq!(told(&weekend, "127.0.0.1"), [""; 0], "a new attempt waits again");
    insta::assert_snapshot!(said(&weekend, id), @"outside window: waits for its window: next opens Mon 2026-11-23 20:00 +01:00");
}

#[test]
fn a_job_waits_until_its_computer_comes_from_a_range_of_the_deployment() {
    let test = TestApp::new();
    let (id, deployment) = give(&test, None, Some("!192.168.2.3, 192.168.2.0/24, fd00::/8"));
    for outside in ["10.3.0.1", "192.168.2.3", "::1"] {
        assert_eq!(told(&test.app, outside), [""; 0], "{outside}");
        assert_eq!(
            said(&test.app, id),
            format!("outside ranges: ws042 came from {outside}, which the deployment's ranges leave out")
        );
        let sentence = "the computer came from an address that the deployment's ranges leave out";
        assert_eq!(withheld(&test.app, deployment), [(sentence.to_owned(), 1)], "the same for all of them");
    }
    assert_eq!(told(&test.app, "::ffff:192.168.2.4"), [id.to_string()], "an IPv4 address as IPv6 writes it");
    assert_eq!(told(&test.app, "10.3.0.1"), [id.to_string()], "it was told");
}

fn desk(app: &App, scope: Scope) -> Desk {
    let (name, peer_address) = ("mia".to_owned(), "192.0.2.7".to_owned());
    Desk::new(app.clone(), Actor { name, token: None, via: Via::Console, peer_address, rights: Rights::all(), scope })
}

#[test]
fn gates_are_changed_on_the_way_and_the_log_says_so() {
    let test = TestApp::new();
    let (id, deployment) = give(&test, Some("!daily"), Some("10.0.0.0/8"));
    assert_eq!(offers(&test, WS), [""; 0]);
    let whole = desk(&test.app, Scope::ALL);
    let scope = Scope::parse(Some("name = ws042"), None).expect("a scope");
    let refused = desk(&test.app, scope).change_gates(deployment, &read(None, None, None).expect("none"), false);
    assert_eq!(refused.expect_err("it concerns all").kind, Kind::Forbidden);
    let wanted = read(Some("daily"), Some("UTC"), None).expect("gates");
    let before = whole.change_gates(deployment, &wanted, false).expect("done").remove(0);
    assert_eq!(before.windows_text().as_deref(), Some("!daily 00:00-24:00"));
    assert_eq!(before.warnings().len(), 1);
    let now = whole.gates(deployment).expect("seen");
    assert_eq!((now.is_open(), now.closes_at(), now.gates.ranges), (true, None, None));
    assert_eq!(offers(&test, WS), [id.to_string()], "what was kept in memory of it is forgotten");
    let lines = test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 1)).expect("read");
    let entry = &lines[0];
    assert_eq!((entry.action.as_str(), entry.subject.as_str()), ("deployment gates", "deployment 1"));
    assert!(entry.before.as_deref().is_some_and(|before| before.contains("10.0.0.0/8")), "{entry:?}");
    deployments::close(&test.app, deployment).expect("closed");
    let closed = whole.change_gates(deployment, &before, false).expect_err("it is put away");
    assert_eq!((closed.kind, closed.to_string().as_str()), (Kind::Conflict, "deployment 1 is closed: reopen it first"));
    assert_eq!(whole.gates(DeploymentId(9)).expect_err("unknown").kind, Kind::NotFound);
}

#[test]
fn the_deployments_of_one_act_are_changed_together() {
    let test = TestApp::new();
    let packages = vec![active_package(&test), active_package(&test)];
    say_inventory(&test, WS, "Debian", &[]);
    let terms =
        Terms { options: JobOptions::default(), gates: read(Some("!daily"), Some("UTC"), None).expect("gates") };
    let bundle = Bundle::new(packages.clone(), false).expect("a bundle");
    let made = assign_bundle(&test.app, &bundle, Target::All, &terms, "alice", None).expect("assigned");
    assert_eq!(offers(&test, WS), [""; 0], "both have it");
    let whole = desk(&test.app, Scope::ALL);
    let wanted = read(None, None, Some("127.0.0.1")).expect("gates");
    whole.change_gates(made[1].deployment, &wanted, false).expect("one");
    assert_eq!(offers(&test, WS), [packages[1].to_string()]);
    let before = whole.change_gates(made[0].deployment, &wanted, true).expect("both");
    assert_eq!(before, [terms.gates, wanted]);
    assert_eq!(offers(&test, WS).len(), 2);
}

#[test]
fn gates_are_read_with_the_zone_that_they_name() {
    let in_words = |windows: &str, zone: &str| {
        let gates = read(Some(windows), Some(zone), None).expect("gates");
        GatesNow::at(gates, NOW).opening.expect("windows").to_string()
    };
    assert_eq!(in_words("fri 11:00-13:00", "+01:00"), "open now, closes Fri 2026-11-20 13:00 +01:00");
    assert_eq!(in_words("fri 11:00-12:00", "+02:00"), "closed now, opens Fri 2026-11-27 11:00 +02:00");
    assert_eq!(in_words("daily", "UTC"), "always open");
    assert_eq!(in_words("!daily", "UTC"), "never open");
    let refused = |windows, zone, ranges| read(windows, zone, ranges).expect_err("wrong");
    assert_eq!(refused(Some("soon"), None, None).field(), "windows");
    let zone = refused(Some("daily"), Some("Nowhere/Land"), None);
    assert!(zone.field() == "window_zone" && zone.to_string().contains("Nowhere/Land"), "{zone}");
    assert_eq!(refused(None, None, Some("10.0.0.1/8")).field(), "ranges");
    assert!(read(Some(" "), Some("UTC"), Some("")).expect("none").is_open_to_all());
}

#[test]
fn a_run_of_a_series_has_the_gates_of_the_series() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    let gates = read(Some("sat"), Some("UTC"), Some("127.0.0.1")).expect("gates");
    let repeat = dripfeed::service::series::Repeat::read("every day at 22:00", Some("UTC"), None).expect("a rule");
    let wish = dripfeed::service::series::Wish {
        bundle: id.into(),
        target: Target::All,
        post_command: None,
        gates: gates.clone(),
        repeat,
    };
    let whole = Desk::new(test.app.clone(), Actor::command_line("root".to_owned()));
    let line = whole.repeat(&wish).expect("a series");
    let begun = whole.run_series(line.series.id).expect("a run");
    assert_eq!(whole.gates(begun.made[0].deployment).expect("seen").gates, gates);
    assert_eq!(offers(&test, WS), [""; 0]);
    assert_eq!(told(&later(&test, 14), "127.0.0.1"), [id.to_string()], "Saturday");
}

#[test]
fn the_forms_show_make_and_change_gates() {
    let test = TestApp::new();
    let (package, _) = story(&test);
    let served = Served::start(test);
    let form = format!("package={package}&who=all&force=1&window_zone=UTC&windows=%21daily&ranges=10.0.0.0%2F8");
    let part = served.post("/deployments/preview", &form).text();
    for wanted in ["Never open", "10.0.0.0/8", "Every window has an exclamation mark"] {
        assert!(part.contains(wanted), "lacks {wanted:?}:\n{part}");
    }
    for (wrong, wanted) in [("windows=soon", "is no window"), ("ranges=here", "is no range of addresses")] {
        let answer = served.post("/deployments", &format!("package={package}&who=all&{wrong}"));
        assert!(answer.status == 422 && answer.text().contains(wanted), "{wrong}: {}", answer.text());
    }
    let started = served.post("/deployments", &form);
    assert!(started.status == 303 && started.head.contains("/deployments/2"), "{}", started.head);
    let page = served.page("/deployments/2").text();
    for wanted in ["When and where", "Never open", "/deployments/2/gates"] {
        assert!(page.contains(wanted), "lacks {wanted:?}:\n{page}");
    }
    let page = served.page("/deployments/2/gates").text();
    assert!(page.contains("value=\"!daily 00:00-24:00\"") && page.contains(">10.0.0.0/8</textarea>"), "{page}");
    let looked = served.post("/deployments/2/gates/preview", "windows=daily&window_zone=UTC").text();
    assert!(looked.contains("Always open"), "{looked}");
    let refused = served.post("/deployments/2/gates", "windows=soon");
    assert!(refused.status == 422 && refused.text().contains("value=\"soon\""), "{}", refused.text());
    let changed = served.post("/deployments/2/gates", "windows=&ranges=");
    assert!(changed.status == 303 && changed.head.contains("deployments%2F2%2Fgates"), "with undo: {}", changed.head);
    assert!(served.page("/deployments/2").text().contains("At any time, and from anywhere"));
    assert_eq!(served.page("/deployments/9/gates").status, 404);
}

#[test]
fn programs_make_see_and_change_gates() {
    let test = TestApp::new();
    let (package, _) = story(&test);
    let served = Served::start(test);
    let asked = |gates: &str| format!(r#"{{"package":{package},"computers":["{A}"],"force":true,"gates":{gates}}}"#);
    let body = asked(r#"{"windows":"!daily","window_zone":"UTC","ranges":"10.0.0.0/8"}"#);
    let (status, looked) = served.api("POST", "/deployments/preview", &body);
    assert_eq!((status, &looked["gates"]["open"]), (200, &false.into()), "{looked}");
    let (status, made) = served.api("POST", "/deployments", &body);
    assert_eq!((status, &made["deployment"]), (201, &2.into()), "{made}");
    let (_, one) = served.api("GET", "/deployments/2", "");
    assert_eq!(one["gates"]["windows"], "!daily 00:00-24:00", "{one}");
    assert_eq!(one["gates"]["warnings"].as_array().map(Vec::len), Some(1), "{one}");
    let (status, refused) = served.api("POST", "/deployments", &asked(r#"{"windows":"soon"}"#));
    assert_eq!((status, &refused["field"]), (422, &"windows".into()), "{refused}");
    assert_eq!(served.api("POST", "/deployments", &asked(r#"{"window":"daily"}"#)).0, 422, "no such field");
    let (status, changed) =
        served.api("PUT", "/deployments/2/gates", r#"{"gates":{"windows":"daily","window_zone":"UTC"}}"#);
    assert_eq!((status, &changed["open"], &changed["warnings"]), (200, &true.into(), &serde_json::json!([])));
    assert!(changed.get("ranges").is_none(), "what is left out is taken away: {changed}");
    let (_, none) = served.api("PUT", "/deployments/2/gates", "{}");
    assert_eq!(none["open"], true, "{none}");
    assert!(served.api("GET", "/deployments/2", "").1.get("gates").is_none());
    assert_eq!(served.api("PUT", "/deployments/9/gates", "{}").0, 404);
    let series = format!(
        r#"{{"deployment":{{"package":{package},"all":true,"gates":{{"ranges":"::/0"}}}},"repeat":"every hour"}}"#
    );
    let (status, made) = served.api("POST", "/series", &series);
    assert_eq!((status, &made["gates"]["ranges"]), (201, &"::/0".into()), "{made}");
}

#[test]
fn the_command_line_makes_shows_and_changes_gates() {
    let site = Site::new();
    let id = site.package();
    let assign = |gates: &str| site.run(&["assign", &id, "--all", "--windows", gates, "--window-zone", "UTC"]);
    let refused = assign("soon").refused();
    assert!(refused.contains("\"soon\" is no window"), "{refused}");
    let made = assign("!daily");
    assert!(made.err.contains("warning: every window has an exclamation mark"), "{made:?}");
    assert!(made.ok().contains("it runs in the windows !daily 00:00-24:00 (never open)"));
    let shown = || site.json("deployment show 1");
    assert_eq!(
        (&shown()["gates"]["windows"], &shown()["gates"]["open"]),
        (&"!daily 00:00-24:00".into(), &false.into())
    );
    assert!(site.say("deployment show 1").ok().contains("in the windows !daily"));
    let changed = site.say("deployment gates 1 --any-time --ranges 10.2.0.0/16").ok();
    assert_eq!(changed, "deployment 1 runs on computers that come from 10.2.0.0/16\n");
    let changed = site.say("deployment gates 1 --windows daily --window-zone UTC").ok();
    let both = "in the windows daily 00:00-24:00 (always open), on computers that come from 10.2.0.0/16";
    assert_eq!(changed, format!("deployment 1 runs {both}\n"), "what is not said stays");
    assert!(site.json("deployment gates 1 --any-time --anywhere")["gates"].is_null());
    for (wrong, sentence) in [
        ("deployment gates 1", "say what is changed"),
        ("deployment gates 1 --any-time --windows daily", "cannot be used with"),
        ("deployment gates 9 --any-time", "there is no deployment 9"),
        ("deployment gates 1 --ranges here", "is no range of addresses"),
    ] {
        let ran = site.say(wrong);
        assert!(ran.code() == Some(2) && ran.err.contains(sentence), "{wrong}: {ran:?}");
    }
}
