//! Deployments that come again: each run for whoever is meant then, with results of its own, and none twice.

use std::fmt::Write as _;

use dripfeed::clock::Clock;
use dripfeed::model::access::{Rights, Scope};
use dripfeed::model::gates::Gates;
use dripfeed::model::{DeploymentId, PackageId, PostCommand, UnixTime};
use dripfeed::service::assign::{Bundle, Target};
use dripfeed::service::desk::series::Edit;
use dripfeed::service::desk::{Actor, Desk, Kind, Via};
use dripfeed::service::series::{Begun, Need, Outcome, Repeat, Wish, start_due};
use dripfeed::service::{App, accounts, deployments, groups, withdraw};
use dripfeed::store::audit;
use dripfeed::store::series::SeriesId;

use crate::jobs::{WS, active_package, offers, say_inventory, say_prolog, say_result, states};
use crate::util::process::{Site, until};
use crate::util::{NOW, TestApp};

const OTHER: &str = "other-2024-03-05-09-10-11";
const DAY: i64 = 24 * 3600;

/// The same application, so many seconds after the tests' present.
fn later(test: &TestApp, seconds: i64) -> App {
    at(&test.app, UnixTime::from_seconds(NOW.seconds() + seconds))
}

fn at(app: &App, moment: UnixTime) -> App {
    App { clock: Clock::Fixed(moment), ..app.clone() }
}

fn wish(package: PackageId, target: Target, rule: &str) -> Wish {
    let repeat = Repeat::read(rule, Some("UTC"), None).expect("a rule");
    Wish { bundle: package.into(), target, post_command: None, gates: Gates::default(), repeat }
}

/// Somebody in the console.
fn desk_of(app: &App, name: &str, rights: Rights, scope: Scope) -> Desk {
    let actor =
        Actor { name: name.to_owned(), token: None, via: Via::Console, peer_address: String::new(), rights, scope };
    Desk::new(app.clone(), actor)
}

/// Whoever sits at the server's own machine.
fn root(test: &TestApp) -> Desk {
    Desk::new(test.app.clone(), Actor::command_line("root".to_owned()))
}

fn repeat(test: &TestApp, target: Target) -> (PackageId, SeriesId) {
    let id = active_package(test);
    let line = root(test).repeat(&wish(id, target, "every day at 22:00")).expect("a series");
    (id, line.series.id)
}

/// What began at a look; nothing may have gone wrong.
fn look(app: &App) -> Vec<Outcome> {
    let looked = start_due(app).expect("a look");
    looked.into_iter().filter_map(|(_, outcome)| outcome.expect("begun or not")).collect()
}

/// The one run that began at a look.
fn begun(app: &App) -> Begun {
    match look(app).as_slice() {
        [Outcome::Begun(begun)] => begun.clone(),
        other => panic!("not one run: {other:?}"),
    }
}

fn counts(app: &App, id: DeploymentId) -> String {
    let summary = deployments::find(app, id).expect("found");
    let words: Vec<String> = summary.counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    words.join(", ")
}

fn computers(names: &[&str]) -> Target {
    Target::Computers(names.iter().map(|&name| name.to_owned()).collect())
}

#[test]
fn each_run_reaches_the_computer_again_and_has_results_of_its_own() {
    let test = TestApp::new();
    say_inventory(&test, WS, "Debian", &[]);
    let (id, series) = repeat(&test, Target::All);
    assert_eq!(look(&test.app), [], "10:00 is not 22:00");
    assert_eq!(look(&later(&test, 12 * 3600 - 1)), [], "nor is a second before");
    let first = begun(&later(&test, 12 * 3600));
    assert_eq!((first.run, first.made[0].planned, first.gave_way), (1, 1, 0));
    assert_eq!(offers(&test, WS), [id.to_string()]);
    say_result(&test, WS, id, "SUCCESS");
    // Its history has the package from now on, as a stock agent's has.
    say_inventory(&test, WS, "Debian", &[id]);
    say_inventory(&test, OTHER, "Debian", &[]);
    assert_eq!(offers(&test, OTHER), [""; 0], "a run is for those who were there when it began");
    let second = begun(&later(&test, 12 * 3600 + DAY));
    assert_eq!((second.run, second.made[0].planned, second.gave_way), (2, 2, 0), "who is there now");
    let option = say_prolog(&test, WS).download.expect("an option");
    assert!(option.offers.len() == 1 && option.offers[0].force, "{option:?}");
    say_result(&test, WS, id, "ERR_EXECUTE");
    assert_eq!(root(&test).home().expect("a page").failures.len(), 1);
    assert_eq!(counts(&test.app, first.made[0].deployment), "1 succeeded");
    assert_eq!(counts(&test.app, second.made[0].deployment), "1 pending, 1 failed");
    begun(&later(&test, 12 * 3600 + 2 * DAY));
    assert!(root(&test).home().expect("a page").failures.is_empty(), "what failed is tried anew");
    let mut runs = root(&test).series_runs(series, None, 10).expect("runs");
    assert_eq!(runs.remove(0).run.number, 3);
    let told: Vec<_> = runs.iter().map(|line| (line.run.number, line.deployments[0].line.deployment.id)).collect();
    assert_eq!(told, [(2, second.made[0].deployment), (1, first.made[0].deployment)]);
    let run = root(&test).run_of(first.made[0].deployment, None).expect("read").expect("a run");
    assert_eq!((run.series, run.number), (series, 1));
    assert_eq!(runs[0].deployments[0].line.created_by, format!("root (series {series})"));
}

#[test]
fn what_is_open_of_the_run_before_gives_way_to_the_new_one() {
    let test = TestApp::new();
    say_inventory(&test, WS, "Debian", &[]);
    say_inventory(&test, OTHER, "Debian", &[]);
    let (id, _) = repeat(&test, Target::All);
    let first = begun(&later(&test, 12 * 3600)).made[0].deployment;
    offers(&test, WS);
    offers(&test, OTHER);
    say_result(&test, OTHER, id, "SUCCESS");
    let second = begun(&later(&test, 12 * 3600 + DAY));
    assert_eq!((second.gave_way, second.made[0].planned, second.made[0].already), (1, 2, 0));
    assert_eq!(
        states(&test, id),
        ["ws042 cancelled -", "other succeeded SUCCESS", "ws042 pending -", "other pending -"]
    );
    // The agent was at it already, and says how it ended: that is the result of the run under way.
    say_result(&test, WS, id, "SUCCESS");
    assert_eq!(counts(&test.app, first), "1 succeeded, 1 cancelled");
    assert_eq!(counts(&test.app, second.made[0].deployment), "1 pending, 1 succeeded");
    let known = deployments::find(&test.app, first).expect("found").line.deployment;
    assert!(known.cancelled_at.is_none() && known.closed_at.is_some(), "nobody took it back; it is put away");
}

#[test]
fn what_was_missed_is_one_run_and_the_next_lies_ahead() {
    let test = TestApp::new();
    say_inventory(&test, WS, "Debian", &[]);
    let (_, series) = repeat(&test, Target::All);
    let after = later(&test, 10 * DAY);
    assert_eq!(begun(&after).run, 1);
    assert_eq!(look(&after), []);
    let known = root(&test).series(series).expect("there").series;
    assert_eq!(known.next_at, Some(UnixTime::from_seconds(NOW.seconds() + 10 * DAY + 12 * 3600)));
    let runs = root(&test).series_runs(series, None, 10).expect("runs");
    assert_eq!(runs[0].run.due_at, Some(UnixTime::from_seconds(NOW.seconds() + 12 * 3600)), "it says how late it is");
}

#[test]
fn however_many_look_a_run_begins_once() {
    let test = TestApp::new();
    say_inventory(&test, WS, "Debian", &[]);
    let (id, _) = repeat(&test, Target::All);
    let others: Vec<App> = (0..3).map(|_| at(&test.reopen(), later(&test, DAY).clock.now())).collect();
    let began: usize = std::thread::scope(|scope| {
        let looks: Vec<_> = others.iter().map(|app| scope.spawn(|| look(app).len())).collect();
        looks.into_iter().map(|look| look.join().expect("a look")).sum()
    });
    assert_eq!(began, 1);
    assert_eq!(states(&test, id), ["ws042 pending -"]);
}

#[test]
fn a_query_is_asked_anew_and_those_who_were_picked_stay() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    groups::create(&test.app, "letters", Some("name starts with o"), "root").expect("a group");
    let desk = root(&test);
    let targets = [
        Target::Where("name starts with o".to_owned()),
        Target::Group("letters".to_owned()),
        computers(&[WS]),
        Target::All,
    ];
    for target in targets {
        desk.repeat(&wish(id, target, "every hour")).expect("a series, for nobody yet in two cases");
    }
    let planned = |seconds: i64| -> Vec<usize> {
        // Each of the four gets its turn alone: a computer has one open job of a package.
        let app = later(&test, seconds);
        let all = look(&app).into_iter().map(|outcome| match outcome {
            Outcome::Begun(begun) => begun.made.iter().map(|one| one.planned + one.already).sum(),
            Outcome::Paused(problem) => panic!("{problem}"),
        });
        all.collect()
    };
    assert_eq!(planned(3600), [0, 0, 1, 1]);
    say_inventory(&test, OTHER, "Debian", &[]);
    assert_eq!(planned(7200), [1, 1, 1, 2]);
    let runs = desk.series_runs(SeriesId(1), None, 10).expect("runs");
    assert!(runs[1].deployments.is_empty() && !runs[0].deployments.is_empty(), "a run for nobody is noted, too");
}

#[test]
fn a_bundle_comes_again_in_its_order() {
    let test = TestApp::new();
    let (one, two) = (active_package(&test), active_package(&test));
    say_inventory(&test, WS, "Debian", &[]);
    let bundle = Bundle::new(vec![one, two], true).expect("a bundle");
    let made = Wish { bundle, ..wish(one, Target::All, "every day at 22:00") };
    let series = root(&test).repeat(&made).expect("a series").series.id;
    for run in 1..=2 {
        let begun = begun(&later(&test, 12 * 3600 + (run - 1) * DAY));
        assert_eq!((begun.run, begun.made.len()), (run, 2));
        for package in [one, two] {
            assert_eq!(offers(&test, WS), [package.to_string()], "run {run}");
            say_result(&test, WS, package, "SUCCESS");
        }
        let second = begun.made[1].deployment;
        let of = root(&test).run_of(second, Some(begun.made[0].deployment)).expect("read").expect("a run");
        assert_eq!((of.series, of.number), (series, run));
    }
}

/// What takes a right, a package or a group away.
type Cause = fn(&TestApp, PackageId);

#[test]
fn what_it_may_not_do_any_more_pauses_it_with_a_sentence() {
    let mut told = String::new();
    let causes: [(&str, Cause); 6] = [
        ("withdrawn", |test, id| assert_eq!(withdraw::withdraw(&test.app, id).expect("withdrawn").cancelled_jobs, 0)),
        ("locked out", |test, _| root(test).set_disabled("bob", true).expect("locked out")),
        ("less", |test, _| root(test).set_access("bob", "viewer", Scope::ALL).expect("a viewer")),
        ("gone", |test, _| root(test).delete_user("bob").expect("deleted")),
        ("other families", |test, _| {
            let scope = Scope::parse(None, Some("office*")).expect("a scope");
            root(test).set_access("bob", "deployer", scope).expect("less");
        }),
        ("group", |test, _| drop(groups::delete(&test.app, "letters", true).expect("deleted"))),
    ];
    for (name, cause) in causes {
        let test = TestApp::new();
        let id = active_package(&test);
        say_inventory(&test, WS, "Debian", &[]);
        groups::create(&test.app, "letters", Some("name starts with w"), "root").expect("a group");
        for user in ["bob", "amy"] {
            accounts::add(&test.app, user, "correct horse battery", false, "administrator", Scope::ALL)
                .expect("a user");
        }
        let bob = desk_of(&test.app, "bob", Rights::deployer(), Scope::ALL);
        let target = Target::Group("letters".to_owned());
        let series = bob.repeat(&wish(id, target, "every day at 22:00")).expect("a series").series.id;
        cause(&test, id);
        let when = later(&test, DAY);
        let [Outcome::Paused(problem)] = &look(&when)[..] else { panic!("{name}: it began") };
        writeln!(told, "{name}: {}", problem.replace(&id.to_string(), "PKG")).expect("written");
        assert_eq!(look(&later(&test, 2 * DAY)), [], "{name}: a series that is paused begins nothing");
        assert_eq!(states(&test, id), [""; 0], "{name}");
        let amy = desk_of(&test.app, "amy", Rights::all(), Scope::ALL);
        let home = amy.home().expect("a page");
        assert_eq!(home.paused_series[0].series.problem.as_ref(), Some(problem), "{name}: a person has to look");
        match name {
            "withdrawn" | "group" => {
                let refused = amy.resume_series(series).expect_err("nothing is right yet");
                assert_eq!((refused.kind, refused.to_string()), (Kind::Conflict, problem.clone()), "{name}");
            }
            _ => {
                amy.resume_series(series).expect("with the rights of somebody else");
                assert_eq!(amy.series(series).expect("there").owner(), "amy");
                assert_eq!(begun(&later(&test, 3 * DAY)).made[0].planned, 1, "{name}");
                assert!(amy.home().expect("a page").paused_series.is_empty());
            }
        }
    }
    insta::assert_snapshot!(told, @r#"
    withdrawn: package PKG is withdrawn: only an available package can be assigned
    locked out: bob, with whose rights it acts, is locked out
    less: bob, with whose rights it acts, may not deploy packages any more
    gone: bob, with whose rights it acts, is not a user any more
    other families: bob may not deploy packages of the family "tool" any more
    group: there is no group "letters"
    "#);
}

#[test]
fn a_series_reaches_no_further_than_whoever_made_it() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    say_inventory(&test, OTHER, "Debian", &[]);
    for (name, scope) in [("bob", Some("name = ws042")), ("amy", None)] {
        let scope = Scope::parse(scope, None).expect("a scope");
        accounts::add(&test.app, name, "correct horse battery", false, "deployer", scope).expect("a user");
    }
    let scope = |text: &str| Scope::parse(Some(text), None).expect("a scope");
    let bob = desk_of(&test.app, "bob", Rights::deployer(), scope("name = ws042"));
    let amy = desk_of(&test.app, "amy", Rights::deployer(), Scope::ALL);
    // A token of hers that holds for one computer.
    let token = desk_of(&test.app, "amy", Rights::deployer(), scope("name = other"));
    let of_bob = bob.repeat(&wish(id, Target::All, "every hour")).expect("a series").series.id;
    let of_token = token.repeat(&wish(id, Target::All, "every hour")).expect("a series").series.id;
    let of_amy = amy.repeat(&wish(id, Target::All, "every 2 hours")).expect("a series").series.id;
    assert_eq!(look(&later(&test, 3600)).len(), 2);
    assert_eq!(states(&test, id), ["ws042 pending -", "other pending -"]);
    let seen = |desk: &Desk| -> Vec<i64> {
        desk.all_series(None, 10).expect("a list").iter().map(|line| line.series.id.0).collect()
    };
    assert_eq!(seen(&amy), [of_amy.0, of_token.0, of_bob.0]);
    assert_eq!(seen(&bob), [of_bob.0], "what somebody else's is for is not told");
    assert_eq!(bob.series(of_amy).expect_err("not theirs").kind, Kind::NotFound);
    assert_eq!(bob.run_series(of_amy).expect_err("not theirs").kind, Kind::NotFound);
    assert_eq!(bob.series_runs(of_bob, None, 10).expect("runs")[0].deployments.len(), 1);
    let family = desk_of(&test.app, "eve", Rights::all(), Scope::parse(None, Some("office*")).expect("a scope"));
    assert!(seen(&family).is_empty() && family.series(of_amy).is_err());
    let viewer = desk_of(&test.app, "vic", Rights::viewer(), Scope::ALL);
    let refusals = [
        viewer.repeat(&wish(id, Target::All, "every hour")).err(),
        viewer.change_series(of_amy, &wish(id, Target::All, "every hour")).err(),
        viewer.pause_series(of_amy).err(),
        viewer.resume_series(of_amy).err(),
        viewer.run_series(of_amy).err(),
        viewer.end_series(of_amy).err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.expect("refused").kind, Kind::Forbidden);
    }
}

#[test]
fn a_series_is_paused_resumed_changed_run_and_ended_and_each_leaves_a_line() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    let desk = desk_of(&test.app, "mia", Rights::all(), Scope::ALL);
    accounts::add(&test.app, "mia", "correct horse battery", false, "administrator", Scope::ALL).expect("a user");
    let series = desk.repeat(&wish(id, computers(&[WS]), "every day at 22:00")).expect("a series").series.id;
    let next = |desk: &Desk| desk.series(series).expect("there").series.next_at;
    desk.pause_series(series).expect("paused");
    assert_eq!((next(&desk), look(&later(&test, DAY)).len()), (None, 0));
    let sentence = |refused: dripfeed::service::desk::Refusal| refused.to_string();
    let mut said = vec![desk.pause_series(series).map_err(sentence).expect_err("twice")];
    assert_eq!(desk.run_series(series).expect("by hand, also while it pauses").made[0].planned, 1);
    desk.resume_series(series).expect("it goes on");
    said.push(desk.resume_series(series).map_err(sentence).expect_err("twice"));
    assert_eq!(next(&desk), Some(UnixTime::from_seconds(NOW.seconds() + 12 * 3600)));
    let changed = desk.change_series(series, &wish(id, Target::All, "every hour")).expect("changed");
    assert_eq!((changed.target(), changed.rule()), ("all computers".to_owned(), "every hour".to_owned()));
    assert_eq!(next(&desk), Some(UnixTime::from_seconds(NOW.seconds() + 3600)));
    desk.end_series(series).expect("ended");
    said.push(desk.run_series(series).map_err(sentence).expect_err("it has ended"));
    assert_eq!((next(&desk), look(&later(&test, DAY)).len()), (None, 0));
    desk.resume_series(series).expect("an end is undone");
    assert_eq!(begun(&later(&test, DAY)).run, 2);
    insta::assert_snapshot!(said.join("\n"), @r"
    series 1 is paused already
    series 1 is not paused: it goes on by itself
    series 1 has ended: `dripfeed series resume 1` takes it up again
    ");
    let lines = test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 20)).expect("read");
    let said: Vec<String> = lines
        .iter()
        .rev()
        .map(|line| format!("{} via {}: {} {}", line.actor, line.via, line.action, line.subject))
        .collect();
    insta::assert_snapshot!(said.join("\n").replace(&id.to_string(), "PKG"), @r"
    mia via console: series create package PKG
    mia via console: series pause series 1
    mia via console: series run series 1
    mia via console: series resume series 1
    mia via console: series change series 1
    mia via console: series end series 1
    mia via console: series resume series 1
    series 1 via server: series run series 1
    ");
    assert_eq!(lines[0].after.as_deref(), Some(r#"{"deployments":[2],"gave_way":1,"planned":1,"run":2}"#));
}

#[test]
fn what_could_not_be_deployed_once_is_no_series() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    let desk = root(&test);
    for (target, kind) in [
        (computers(&["nobody"]), Kind::NotFound),
        (Target::Group("nobody".to_owned()), Kind::NotFound),
        (Target::Where("name =".to_owned()), Kind::Invalid),
    ] {
        assert_eq!(desk.repeat(&wish(id, target, "every hour")).expect_err("refused").kind, kind);
    }
    withdraw::withdraw(&test.app, id).expect("withdrawn");
    assert_eq!(desk.repeat(&wish(id, Target::All, "every hour")).expect_err("refused").kind, Kind::Conflict);
    assert!(desk.all_series(None, 10).expect("a list").is_empty());
    for (rule, zone, starts, wanted) in [
        ("daily", None, None, "does not say when"),
        ("every hour", Some("Nowhere/Land"), None, "no time zone \"Nowhere/Land\""),
        ("every hour", None, Some("soon"), "\"soon\" is not a time"),
    ] {
        let refused = Repeat::read(rule, zone, starts).expect_err("refused").to_string();
        assert!(refused.contains(wanted), "{refused}");
    }
}

#[test]
fn the_command_line_makes_series_and_steers_them() {
    let site = Site::new();
    let id = site.package();
    let rule = "every monday, thursday at 06:30";
    let said = site.run(&["assign", &id, "--all", "--repeat", rule, "--time-zone", "+02:00"]).ok();
    assert!(said.starts_with("series 1 comes every monday, thursday at 06:30 (+02:00); next "), "{said}");
    let refused = site.run(&["assign", &id, "--all", "--repeat", "daily"]).refused();
    assert!(refused.contains("does not say when"), "{refused}");
    let look = site.run(&["assign", &id, "--all", "--repeat", rule, "--dry-run"]).ok();
    assert!(look.contains("GET IT") && !look.contains("come later"), "{look}");
    let view = site.json("series show 1");
    assert_eq!((&view["stage"], &view["repeat"]), (&"active".into(), &rule.into()));
    assert_eq!((view["target"]["kind"].as_str(), view["next"].as_array().map(Vec::len)), (Some("all"), Some(5)));
    insta::assert_snapshot!(site.say("series run 1").ok(), @"run 1 of series 1: 0 jobs planned");
    insta::assert_snapshot!(site.say("series pause 1").ok(), @"series 1 is paused");
    let changed = site.run(&["series", "change", "1", "--repeat", "every 6 hours"]).ok();
    insta::assert_snapshot!(changed, @"series 1 comes again every 6 hours; it is paused");
    let shown = site.say("series show 1").ok();
    for wanted in ["every 6 hours", "paused", "nobody was meant", "the server's command line"] {
        assert!(shown.contains(wanted), "{shown}");
    }
    insta::assert_snapshot!(site.say("series resume 1").ok(), @"series 1 goes on");
    insta::assert_snapshot!(site.say("series end 1").ok(), @"series 1 has ended; its runs stay");
    assert!(site.say("series list").ok().contains("ended"));
    assert!(site.say("series show 9").refused().contains("there is no series 9"));
}

/// A clock of long ago: what is made then is due now, whatever the time is.
const LONG_AGO: UnixTime = UnixTime::from_seconds(1_000_000_000);

#[test]
fn a_server_that_is_killed_begins_each_run_once() {
    let site = Site::new();
    let id: PackageId = site.package().parse().expect("a number");
    let desk = Desk::new(at(&TestApp::open(&site.data()), LONG_AGO), Actor::command_line("root".to_owned()));
    // Once in a year: not again while the test runs.
    let make = || desk.repeat(&wish(id, Target::All, "every 366 days at 12:00")).expect("a series").series.id;
    let runs = |series: SeriesId| desk.series_runs(series, None, 10).expect("runs").len();
    let mut known = Vec::new();
    for _ in 0..3 {
        known.push(make());
        let newest = *known.last().expect("just made");
        let mut served = site.serve();
        until("its run begins", || runs(newest) > 0);
        served.kill();
        // The newest one was begun at a look that came after every other run.
        assert!(known.iter().all(|series| runs(*series) == 1), "{known:?}");
    }
}

/// The newest line of the audit log: what was there, and what was asked for.
fn last_line(test: &TestApp) -> (String, String, String) {
    let lines = test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 1)).expect("the log");
    let line = lines.into_iter().next().expect("a line");
    (line.action, line.before.unwrap_or_default(), line.after.unwrap_or_default())
}

#[test]
fn what_is_not_named_of_a_series_stays_and_the_log_has_both() {
    let test = TestApp::new();
    let (one, two) = (active_package(&test), active_package(&test));
    say_inventory(&test, WS, "Debian", &[]);
    say_inventory(&test, OTHER, "Debian", &[]);
    let desk = root(&test);
    let series = desk.repeat(&wish(one, computers(&[WS]), "every day at 22:00")).expect("a series").series.id;
    let packages = Some(vec![two, one]);
    let line = desk.edit_series(series, Edit { packages, in_order: Some(true), ..Edit::default() }).expect("changed");
    assert_eq!((line.series.what.packages, line.series.what.in_order), (vec![two, one], true));
    assert_eq!(
        (line.series.when.rule.to_string(), line.series.when.zone),
        ("every day at 22:00".to_owned(), "UTC".to_owned())
    );
    let (action, before, after) = last_line(&test);
    assert_eq!(action, "series change");
    assert!(before.contains(&format!(r#""packages":[{one}]"#)) && before.contains(r#""in_order":false"#), "{before}");
    assert!(after.contains(&format!(r#""packages":[{two},{one}]"#)) && after.contains(r#""in_order":true"#), "{after}");
    let restart = Some(Some(PostCommand::Reboot));
    let target = Some(computers(&[OTHER]));
    desk.edit_series(series, Edit { target, post_command: restart, ..Edit::default() }).expect("changed");
    let begun = begun(&later(&test, 12 * 3600));
    assert_eq!(begun.made.len(), 2, "the packages are those of before");
    assert_eq!((offers(&test, WS), offers(&test, OTHER)), (Vec::new(), vec![two.to_string()]));
    let line = desk.edit_series(series, Edit { post_command: Some(None), ..Edit::default() }).expect("changed");
    assert!(line.series.what.post_command.is_none());
    assert!(last_line(&test).1.contains(r#""post_command":"REBOOT""#), "{:?}", last_line(&test));
    let weekly = Repeat::read("every monday at 06:00", Some("UTC"), None).expect("a rule");
    let line = desk.edit_series(series, Edit { repeat: Some(weekly), ..Edit::default() }).expect("changed");
    assert_eq!((line.series.what.packages.len(), line.rule().as_str()), (2, "every monday at 06:00 (UTC)"));
    let nothing = Edit { packages: Some(Vec::new()), ..Edit::default() };
    assert!(desk.edit_series(series, nothing).is_err(), "a series deploys something");
    assert_eq!(desk.edit_series(SeriesId(77), Edit::default()).expect_err("unknown").kind, Kind::NotFound);
}

#[test]
fn which_series_pause_without_a_package_or_a_group_is_known_before_it_goes() {
    let test = TestApp::new();
    let (one, two) = (active_package(&test), active_package(&test));
    say_inventory(&test, WS, "Debian", &[]);
    groups::create(&test.app, "Letters", Some("name starts with w"), "root").expect("a group");
    let desk = root(&test);
    let make = |package, target| desk.repeat(&wish(package, target, "every hour")).expect("a series").series.id;
    let all = make(one, Target::All);
    let of_group = make(two, Target::Group("letters".to_owned()));
    let paused = make(one, computers(&[WS]));
    desk.pause_series(paused).expect("paused");
    let named = |desk: &Desk, need| -> Vec<i64> {
        desk.series_that_need(need).expect("a list").iter().map(|line| line.series.id.0).collect()
    };
    assert_eq!(named(&desk, Need::Package(one)), [all.0], "what is paused has paused");
    assert_eq!(named(&desk, Need::Package(two)), [of_group.0]);
    assert_eq!(named(&desk, Need::Group("LETTERS".to_owned())), [of_group.0], "as groups are found");
    assert_eq!(named(&desk, Need::Group("others".to_owned())), [0; 0]);
    let family = desk_of(&test.app, "eve", Rights::all(), Scope::parse(None, Some("office*")).expect("a scope"));
    assert_eq!(named(&family, Need::Package(one)), [0; 0], "what one may not see is not told");
    groups::delete(&test.app, "letters", true).expect("deleted");
    withdraw::withdraw(&test.app, one).expect("withdrawn");
    let paused: Vec<bool> = look(&later(&test, 3600)).iter().map(|it| matches!(it, Outcome::Paused(_))).collect();
    assert_eq!(paused, [true, true], "and so they do");
}
