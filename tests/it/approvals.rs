//! What reaches many computers waits until others have agreed: who is asked, who may say what, and what comes of it.

use std::fmt::Write as _;
use std::sync::Barrier;

use dripfeed::clock::Clock;
use dripfeed::model::access::{Right, Rights, Scope};
use dripfeed::model::gates::Gates;
use dripfeed::model::{DeploymentId, JobOptions, PackageId, UnixTime};
use dripfeed::service::approvals::About;
use dripfeed::service::assign::{Bundle, Target};
use dripfeed::service::desk::deployments::Chosen;
use dripfeed::service::desk::{Actor, Desk, Kind, Refusal, Via};
use dripfeed::service::series::{Outcome, Repeat, Wish, start_due};
use dripfeed::service::settings::Whose;
use dripfeed::service::why::{Stage, why};
use dripfeed::service::{App, accounts, groups};
use dripfeed::store::audit;
use dripfeed::store::deployments as rows;
use dripfeed::store::series::SeriesId;
use serde_json::json;

use crate::console_deployments::Served;
use crate::jobs::{WS, active_package, offers, say_inventory, say_prolog, say_result, states};
use crate::util::process::Site;
use crate::util::{NOW, TestApp};

const OTHER: &str = "other-2024-03-05-09-10-11";
const THIRD: &str = "third-2024-03-05-09-10-11";

/// Somebody in the console who may do everything.
fn desk(test: &TestApp, name: &str) -> Desk {
    desk_of(&test.app, name, None, Rights::all(), Scope::ALL)
}

fn desk_of(app: &App, name: &str, token: Option<&str>, rights: Rights, scope: Scope) -> Desk {
    let via = if token.is_some() { Via::Api } else { Via::Console };
    let actor = Actor {
        name: name.to_owned(),
        token: token.map(str::to_owned),
        via,
        peer_address: String::new(),
        rights,
        scope,
    };
    Desk::new(app.clone(), actor)
}

fn set(test: &TestApp, key: &str, value: &str) {
    let key = key.parse().expect("a key");
    desk(test, "root").change_setting(key, Some(value), Whose::Everyone).expect("set");
}

/// A server on which whatever reaches two computers waits, and computers.
fn strict(computers: &[&str]) -> (TestApp, PackageId) {
    let test = TestApp::new();
    let id = active_package(&test);
    for computer in computers {
        say_inventory(&test, computer, "Debian", &[]);
    }
    for name in ["anna", "bea", "carl"] {
        accounts::add(&test.app, name, "correct horse battery", false, "administrator", Scope::ALL).expect("a user");
    }
    set(&test, "APPROVAL_FROM", "2");
    (test, id)
}

fn these(names: &[&str]) -> Target {
    Target::Computers(names.iter().map(|&name| name.to_owned()).collect())
}

fn deploy(desk: &Desk, package: PackageId, target: Target) -> DeploymentId {
    desk.deploy(&package.into(), target, &JobOptions::default()).expect("made")[0].deployment
}

fn refused<T: std::fmt::Debug>(said: Result<T, Refusal>) -> (Kind, String) {
    let refusal = said.expect_err("refused");
    (refusal.kind, refusal.to_string())
}

/// Does the deployment wait?
fn waits(test: &TestApp, id: DeploymentId) -> bool {
    let line = test.app.store.read_now(move |conn| rows::find(conn, id)).expect("read").expect("there");
    line.awaits_approval
}

const NOTHING: [&str; 0] = [];

#[test]
fn what_reaches_many_waits_until_somebody_else_has_approved_it() {
    let (test, package) = strict(&[WS, OTHER]);
    let anna = desk(&test, "anna");
    let id = deploy(&anna, package, these(&[WS, OTHER]));
    let about = About::Deployment(id);
    assert_eq!(offers(&test, WS), NOTHING);
    assert_eq!(offers(&test, WS), NOTHING, "nor from what was kept of the contact before");
    let told = why(&test.app, WS, package).expect("told");
    assert_eq!(told.stage, Stage::NotApproved);
    let sentence =
        format!("deployment {id} waits for approval: 0 of 1, asked for by anna: dripfeed deployment approve {id}");
    assert_eq!(told.sentence, sentence);
    let gates = anna.deployment(id).expect("seen").gates;
    assert_eq!(gates, [("waits for approval: 0 of 1, asked for by anna".to_owned(), 1)]);

    let own = format!("anna asked for deployment {id}, so somebody else has to decide: whoever asked can cancel it");
    let token = desk_of(&test.app, "anna", Some("laptop"), Rights::all(), Scope::ALL);
    for mine in [&anna, &token] {
        for said in [mine.approve(about, ""), mine.reject(about, "no")] {
            assert_eq!(refused(said), (Kind::Forbidden, own.clone()));
        }
    }
    let viewer = desk_of(&test.app, "vic", None, Rights::viewer(), Scope::ALL);
    assert_eq!(refused(viewer.approve(about, "")).0, Kind::Forbidden);

    let decided = desk(&test, "bea").approve(about, " tested in the lab ").expect("approved");
    assert!(!decided.approval.waits() && decided.cancelled.is_none());
    assert_eq!(offers(&test, WS), [package.to_string()]);
    assert_eq!(offers(&test, OTHER), [package.to_string()]);
    let record = anna.approval_of(anna.deployment(id).expect("seen").summary.line.deployment.approval);
    let record = record.expect("read").expect("asked");
    let votes: Vec<_> = record.votes.iter().map(|vote| (vote.account.as_str(), vote.reason.as_str())).collect();
    assert_eq!(votes, [("bea", "tested in the lab")]);
    assert_eq!(refused(desk(&test, "carl").approve(about, "")).0, Kind::Conflict, "nothing waits any more");

    let lines = test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 3)).expect("the log");
    let line = &lines[0];
    assert_eq!((line.actor.as_str(), line.action.as_str()), ("bea", "deployment approve"));
    assert!(line.after.as_deref().unwrap_or_default().contains("tested in the lab"), "{:?}", line.after);
}

#[test]
fn few_computers_are_not_asked_about_and_all_of_them_always() {
    let (test, package) = strict(&[WS]);
    let anna = desk(&test, "anna");
    let look = |target| {
        let look = anna.preview_deployment(&package.into(), target, &JobOptions::default()).expect("a look");
        (look.reach, look.approvers)
    };
    assert_eq!(look(these(&[WS])), (1, None));
    assert_eq!(look(Target::All), (1, Some(1)), "however few there are today");
    let id = deploy(&anna, package, these(&[WS]));
    assert!(!waits(&test, id));
    assert_eq!(offers(&test, WS), [package.to_string()]);
    assert_eq!(refused(desk(&test, "bea").approve(About::Deployment(id), "")).0, Kind::Conflict);
    let all = deploy(&anna, active_package(&test), Target::All);
    assert!(waits(&test, all));
    // Whoever comes later waits with the others.
    say_inventory(&test, OTHER, "Debian", &[]);
    assert_eq!(offers(&test, OTHER), NOTHING);
    desk(&test, "bea").approve(About::Deployment(all), "").expect("approved");
    assert_eq!(offers(&test, OTHER).len(), 1);
    say_inventory(&test, THIRD, "Debian", &[]);
    assert_eq!(offers(&test, THIRD).len(), 1, "approved for those to come, too");
}

#[test]
fn two_have_to_agree_and_nobody_counts_twice() {
    let (test, package) = strict(&[WS, OTHER]);
    set(&test, "APPROVAL_COUNT", "2");
    let id = deploy(&desk(&test, "anna"), package, these(&[WS, OTHER]));
    let about = About::Deployment(id);
    let (bea, carl) = (desk(&test, "bea"), desk(&test, "carl"));
    assert!(bea.approve(about, "").expect("noted").approval.waits());
    let (kind, sentence) = refused(bea.approve(about, ""));
    assert_eq!(kind, Kind::Conflict);
    assert!(sentence.starts_with("bea has approved deployment ") && sentence.contains("(1 of 2)"), "{sentence}");
    assert_eq!(offers(&test, WS), NOTHING);
    let told = why(&test.app, WS, package).expect("told");
    assert!(told.sentence.contains("waits for approval: 1 of 2, asked for by anna"), "{}", told.sentence);
    assert!(bea.home().expect("a page").awaiting.is_empty(), "bea has done what she can");
    assert_eq!(carl.home().expect("a page").awaiting.len(), 1);
    assert!(!carl.approve(about, "").expect("approved").approval.waits());
    assert_eq!(offers(&test, WS), [package.to_string()]);
}

#[test]
fn of_many_who_approve_at_once_as_many_as_are_needed_count() {
    let (test, package) = strict(&[WS, OTHER]);
    set(&test, "APPROVAL_COUNT", "2");
    let id = deploy(&desk(&test, "anna"), package, these(&[WS, OTHER]));
    let names = ["bea", "carl", "dora", "emil", "bea"];
    let start = Barrier::new(names.len());
    // Each with a connection of its own, as several programs would.
    let desks: Vec<Desk> =
        names.iter().map(|name| desk_of(&test.reopen(), name, None, Rights::all(), Scope::ALL)).collect();
    let said: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = desks
            .iter()
            .map(|desk| {
                scope.spawn(|| {
                    start.wait();
                    desk.approve(About::Deployment(id), "").is_ok()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(said.iter().filter(|said| **said).count(), 2, "the others come too late, or twice");
    assert!(!waits(&test, id));
    assert_eq!(offers(&test, WS), [package.to_string()]);
}

#[test]
fn an_account_that_is_gone_or_locked_out_counts_no_more() {
    let (test, package) = strict(&[WS, OTHER]);
    set(&test, "APPROVAL_COUNT", "2");
    let id = deploy(&desk(&test, "anna"), package, these(&[WS, OTHER]));
    let about = About::Deployment(id);
    desk(&test, "bea").approve(about, "").expect("noted");
    desk(&test, "root").delete_user("bea").expect("deleted");
    let decided = desk(&test, "carl").approve(about, "").expect("noted");
    assert_eq!((decided.approval.awaited.given, decided.approval.waits()), (1, true), "bea's is gone with her");
    desk(&test, "root").set_disabled("carl", true).expect("locked out");
    let told = why(&test.app, WS, package).expect("told");
    assert!(told.sentence.contains("0 of 2"), "{}", told.sentence);
    desk(&test, "root").set_disabled("carl", false).expect("let in");
    assert!(waits(&test, id), "to let somebody in approves nothing");
    desk(&test, "carl").approve(about, "").expect("once more");
    let decided = desk(&test, "dora").approve(about, "").expect("approved");
    assert!(!decided.approval.waits());
    // The account of whoever asked may be gone, too.
    let next = deploy(&desk(&test, "anna"), active_package(&test), Target::All);
    desk(&test, "root").delete_user("anna").expect("deleted");
    desk(&test, "carl").approve(About::Deployment(next), "").expect("noted");
    desk(&test, "dora").approve(About::Deployment(next), "").expect("approved");
    assert!(!waits(&test, next));
}

#[test]
fn what_is_rejected_is_cancelled_and_waits_again_when_that_is_undone() {
    let (test, package) = strict(&[WS, OTHER]);
    let anna = desk(&test, "anna");
    let id = deploy(&anna, package, these(&[WS, OTHER]));
    let (about, bea) = (About::Deployment(id), desk(&test, "bea"));
    let (kind, sentence) = refused(bea.reject(about, "  "));
    assert_eq!(kind, Kind::Invalid, "{sentence}");
    assert_eq!(refused(bea.reject(about, &"x".repeat(1001))).0, Kind::Invalid);
    assert_eq!(states(&test, package), ["ws042 pending -", "other pending -"], "a refusal changes nothing");
    let cancelled = bea.reject(about, "not on a Friday").expect("rejected").cancelled.expect("taken back");
    assert_eq!(cancelled.jobs, 2);
    assert_eq!(states(&test, package), ["ws042 cancelled -", "other cancelled -"]);
    let told = why(&test.app, WS, package).expect("told");
    assert!(told.sentence.ends_with("cancelled by bea, who rejected it: not on a Friday"), "{}", told.sentence);
    for late in [desk(&test, "carl").approve(about, ""), bea.reject(about, "again")] {
        let (kind, sentence) = refused(late);
        assert_eq!(kind, Kind::Conflict);
        assert!(sentence.contains("taken back meanwhile"), "{sentence}");
    }
    assert!(desk(&test, "carl").home().expect("a page").awaiting.is_empty());
    anna.undo_cancel(id, cancelled.at, true).expect("undone");
    assert_eq!(offers(&test, WS), NOTHING, "it waits as before");
    bea.approve(about, "on Monday").expect("a second thought");
    assert_eq!(offers(&test, WS), [package.to_string()]);
}

#[test]
fn what_was_cancelled_or_closed_meanwhile_is_not_decided() {
    let (test, package) = strict(&[WS, OTHER]);
    let anna = desk(&test, "anna");
    for close in [false, true] {
        let id = deploy(&anna, package, these(&[WS, OTHER]));
        if close {
            anna.close_deployment(id).expect("closed");
        } else {
            anna.cancel_deployment(id, false, Chosen::default()).expect("cancelled");
        }
        let (kind, sentence) = refused(desk(&test, "bea").approve(About::Deployment(id), ""));
        assert_eq!(kind, Kind::Conflict);
        assert!(sentence.contains("taken back meanwhile"), "{sentence}");
        assert!(desk(&test, "bea").awaiting(10).expect("a list").is_empty());
        assert_eq!(offers(&test, WS), NOTHING);
    }
    let unknown = refused(desk(&test, "bea").approve(About::Deployment(DeploymentId(77)), ""));
    assert_eq!(unknown.0, Kind::NotFound);
}

#[test]
fn another_threshold_concerns_what_is_made_after_it() {
    let (test, package) = strict(&[WS, OTHER]);
    let (anna, bea) = (desk(&test, "anna"), desk(&test, "bea"));
    let second = active_package(&test);
    let (approved, waiting) = (deploy(&anna, package, these(&[WS, OTHER])), deploy(&anna, second, these(&[WS, OTHER])));
    bea.approve(About::Deployment(approved), "").expect("approved");
    set(&test, "APPROVAL_FROM", "1");
    set(&test, "APPROVAL_COUNT", "3");
    assert_eq!(offers(&test, WS), [package.to_string()], "what is approved stays so");
    let (kind, sentence) = refused(bea.release(About::Deployment(waiting), ""));
    assert_eq!(kind, Kind::Conflict);
    assert!(sentence.contains("others are still asked, from 1 computers on"), "{sentence}");
    set(&test, "APPROVAL_FROM", "0");
    assert_eq!(offers(&test, OTHER), [package.to_string()], "switching it off lets nothing go");
    let deployer = desk_of(&test.app, "dan", None, Rights::deployer(), Scope::ALL);
    assert_eq!(refused(deployer.release(About::Deployment(waiting), "")).0, Kind::Forbidden);
    anna.release(About::Deployment(waiting), "nobody is asked any more").expect("let go by whoever may switch it off");
    assert_eq!(offers(&test, OTHER), [package.to_string(), second.to_string()]);
    let free = deploy(&anna, active_package(&test), Target::All);
    assert!(!waits(&test, free));
    set(&test, "APPROVAL_FROM", "1");
    assert!(!waits(&test, free), "what was made while nobody was asked goes on");
}

#[test]
fn a_group_that_grows_is_asked_about_from_where_it_is_wide() {
    let (test, package) = strict(&[WS]);
    let anna = desk(&test, "anna");
    groups::create(&test.app, "crew", Some("name starts with w"), "anna").expect("a group");
    let id = deploy(&anna, package, Target::Group("crew".to_owned()));
    assert!(!waits(&test, id), "one member is few");
    assert_eq!(offers(&test, WS), [package.to_string()]);
    // Later settings do not concern it: it was made under these.
    set(&test, "APPROVAL_FROM", "100");
    say_inventory(&test, OTHER, "Debian", &[]);
    groups::edit(&test.app, "crew", "name starts with w or name starts with o").expect("wider");
    assert!(waits(&test, id));
    assert_eq!(offers(&test, OTHER), NOTHING);
    assert_eq!(offers(&test, WS), [package.to_string()], "whoever was told goes on");
    let awaiting = desk(&test, "bea").awaiting(10).expect("a list");
    assert_eq!((awaiting.len(), awaiting[0].record.approval.reach), (1, 2));
    assert!(anna.home().expect("a page").awaiting.is_empty());
    desk(&test, "bea").approve(About::Deployment(id), "").expect("approved");
    assert_eq!(offers(&test, OTHER), [package.to_string()]);
    say_inventory(&test, "owl-2024-03-05-09-10-11", "Debian", &[]);
    assert_eq!(offers(&test, "owl-2024-03-05-09-10-11"), [package.to_string()], "approved once for all");
}

#[test]
fn a_retry_does_not_escape_and_needs_no_second_approval() {
    let (test, package) = strict(&[WS, OTHER]);
    let anna = desk(&test, "anna");
    let id = deploy(&anna, package, these(&[WS, OTHER]));
    desk(&test, "bea").approve(About::Deployment(id), "").expect("approved");
    offers(&test, WS);
    say_result(&test, WS, package, "ERR_EXECUTE");
    anna.retry_deployment(id, false, Chosen::default()).expect("planned anew");
    assert_eq!(offers(&test, WS), [package.to_string()]);
}

#[test]
fn a_bundle_is_approved_and_rejected_as_one() {
    let (test, one) = strict(&[WS, OTHER]);
    let (two, anna) = (active_package(&test), desk(&test, "anna"));
    let bundle = Bundle::new(vec![one, two], true).expect("a bundle");
    let deploy = || anna.deploy(&bundle, these(&[WS, OTHER]), &JobOptions::default()).expect("made");
    let made = deploy();
    assert_eq!(desk(&test, "bea").awaiting(10).expect("a list").len(), 1, "one act, one question");
    let cancelled = desk(&test, "bea").reject(About::Deployment(made[1].deployment), "no").expect("rejected");
    assert_eq!(cancelled.cancelled.expect("taken back").jobs, 4);
    let made = deploy();
    desk(&test, "bea").approve(About::Deployment(made[1].deployment), "").expect("approved");
    assert!(!waits(&test, made[0].deployment) && !waits(&test, made[1].deployment));
    assert_eq!(offers(&test, WS), [one.to_string()]);
}

#[test]
fn whoever_has_a_scope_decides_within_their_families_and_not_for_many_computers() {
    let (test, package) = strict(&[WS, OTHER]);
    let id = deploy(&desk(&test, "anna"), package, these(&[WS, OTHER]));
    let about = About::Deployment(id);
    let of = |computers, families| {
        let scope = Scope::parse(computers, families).expect("a scope");
        desk_of(&test.app, "sue", None, Rights::all(), scope)
    };
    assert_eq!(refused(of(None, Some("office*")).approve(about, "")).0, Kind::NotFound);
    assert_eq!(refused(of(Some("name = ws042"), None).approve(about, "")).0, Kind::Forbidden);
    for limited in [of(None, Some("office*")), of(Some("name = ws042"), None)] {
        assert!(limited.awaiting(10).expect("a list").is_empty());
        assert!(limited.home().expect("a page").awaiting.is_empty());
    }
    let only: Rights = [Right::Approve, Right::SeeDeployments].into_iter().collect();
    desk_of(&test.app, "bea", None, only, Scope::ALL).approve(about, "").expect("the right is all that is needed");
}

fn wish(package: PackageId, target: Target, rule: &str) -> Wish {
    let repeat = Repeat::read(rule, Some("UTC"), None).expect("a rule");
    Wish { bundle: package.into(), target, post_command: None, gates: Gates::default(), repeat }
}

/// The same application, so many hours after the tests' present.
fn later(test: &TestApp, hours: i64) -> App {
    App { clock: Clock::Fixed(UnixTime::from_seconds(NOW.seconds() + hours * 3600)), ..test.app.clone() }
}

/// What became of each series that was due, in words.
fn look(app: &App) -> String {
    let mut told = String::new();
    for (_, outcome) in start_due(app).expect("a look") {
        match outcome.expect("begun or not") {
            Some(Outcome::Begun(begun)) => write!(told, "run {};", begun.run),
            Some(Outcome::Paused(problem)) => write!(told, "{problem};"),
            None => Ok(()),
        }
        .expect("written");
    }
    told
}

fn stage(test: &TestApp, id: SeriesId) -> String {
    let line = desk(test, "anna").series(id).expect("there");
    match (&line.awaited, line.series.next_at, line.series.ended_at) {
        (Some(awaited), ..) => awaited.to_string(),
        (_, Some(_), _) => "goes on".to_owned(),
        (_, _, Some(_)) => "ended".to_owned(),
        _ => "paused".to_owned(),
    }
}

const WAITS: &str = "waits for approval: 0 of 1, asked for by anna";

#[test]
fn a_series_is_approved_once_and_its_runs_with_it() {
    let (test, package) = strict(&[WS, OTHER]);
    let (anna, bea) = (desk(&test, "anna"), desk(&test, "bea"));
    let id = anna.repeat(&wish(package, Target::All, "every hour")).expect("a series").series.id;
    let about = About::Series(id);
    assert_eq!(stage(&test, id), WAITS);
    assert_eq!(look(&later(&test, 2)), "", "no run begins");
    for said in [anna.run_series(id).err(), anna.resume_series(id).err()] {
        assert!(said.expect("refused").to_string().contains(WAITS));
    }
    assert_eq!(refused(anna.approve(about, "")).0, Kind::Forbidden);
    assert_eq!(anna.home().expect("a page").paused_series.len(), 0, "nothing is wrong with it");
    assert_eq!(bea.home().expect("a page").awaiting[0].about, about);
    bea.approve(about, "every hour is fine").expect("approved");
    assert_eq!(stage(&test, id), "goes on");
    assert_eq!(look(&later(&test, 3)), "run 1;");
    assert_eq!(offers(&test, WS), [package.to_string()]);
    assert_eq!(look(&later(&test, 4)), "run 2;");
    let offered = say_prolog(&test, OTHER).download.expect("an option").offers.len();
    assert_eq!(offered, 1, "the runs are approved with it");
}

#[test]
fn a_series_that_is_changed_is_asked_about_anew_and_other_times_are_no_change_of_it() {
    let (test, package) = strict(&[WS, OTHER]);
    let (anna, bea) = (desk(&test, "anna"), desk(&test, "bea"));
    let id = anna.repeat(&wish(package, these(&[WS]), "every hour")).expect("a series").series.id;
    assert_eq!(stage(&test, id), "goes on", "one computer is few");
    anna.change_series(id, &wish(package, these(&[WS, OTHER]), "every hour")).expect("wider");
    assert_eq!(stage(&test, id), WAITS);
    bea.approve(About::Series(id), "").expect("approved");
    let daily = Repeat::read("every day at 22:00", Some("UTC"), None).expect("a rule");
    anna.set_series_time(id, &daily).expect("other times");
    anna.pause_series(id).expect("paused");
    assert_eq!(anna.resume_series(id).expect("resumed"), None);
    assert_eq!(stage(&test, id), "goes on");
    let other = active_package(&test);
    anna.change_series(id, &wish(other, these(&[WS, OTHER]), "every hour")).expect("another package");
    assert_eq!(stage(&test, id), WAITS);
    // Who takes over what waits has asked for it, and cannot approve it.
    bea.set_series_time(id, &daily).expect("hers now");
    assert_eq!(stage(&test, id), WAITS.replace("anna", "bea"));
    assert_eq!(refused(bea.approve(About::Series(id), "")).0, Kind::Forbidden);
    anna.approve(About::Series(id), "").expect("approved");
    assert_eq!(stage(&test, id), "goes on");
    anna.change_series(id, &wish(other, these(&[WS, OTHER]), "every 2 hours")).expect("other times again");
    assert_eq!(stage(&test, id), "goes on");
    anna.change_series(id, &wish(other, Target::All, "every 2 hours")).expect("wider");
    anna.change_series(id, &wish(other, these(&[WS]), "every 2 hours")).expect("narrow again");
    assert_eq!(stage(&test, id), "goes on", "nobody has to agree to one computer");
}

#[test]
fn a_series_that_has_grown_or_is_older_than_the_rule_waits_at_its_next_run() {
    let (test, package) = strict(&[WS]);
    let anna = desk(&test, "anna");
    let query = Target::Where("os contains debian".to_owned());
    let id = anna.repeat(&wish(package, query, "every hour")).expect("a series").series.id;
    assert_eq!(look(&later(&test, 1)), "run 1;");
    say_inventory(&test, OTHER, "Debian", &[]);
    assert_eq!(look(&later(&test, 2)), format!("{WAITS};"));
    assert_eq!(stage(&test, id), WAITS);
    assert_eq!(offers(&test, OTHER), NOTHING);
    desk(&test, "bea").approve(About::Series(id), "").expect("approved");
    assert_eq!(look(&later(&test, 3)), "run 2;");
    // Begun by hand it asks, too.
    set(&test, "APPROVAL_FROM", "0");
    let second = anna.repeat(&wish(active_package(&test), Target::All, "every hour")).expect("a series").series.id;
    assert_eq!(stage(&test, second), "goes on");
    set(&test, "APPROVAL_FROM", "2");
    assert!(anna.run_series(second).expect_err("asked").to_string().contains(WAITS));
    assert_eq!(stage(&test, second), WAITS, "and that is written");
}

#[test]
fn a_series_that_is_rejected_ends_and_asks_again_when_it_is_taken_up() {
    let (test, package) = strict(&[WS, OTHER]);
    let (anna, bea) = (desk(&test, "anna"), desk(&test, "bea"));
    let id = anna.repeat(&wish(package, Target::All, "every hour")).expect("a series").series.id;
    bea.reject(About::Series(id), "too often").expect("rejected");
    assert_eq!(stage(&test, id), "ended");
    assert_eq!(refused(bea.approve(About::Series(id), "")).0, Kind::Conflict);
    let awaited = anna.resume_series(id).expect("taken up").expect("asked again");
    assert_eq!(awaited.to_string(), WAITS);
    assert_eq!(look(&later(&test, 2)), "");
    set(&test, "APPROVAL_FROM", "0");
    anna.release(About::Series(id), "").expect("let go");
    assert_eq!(stage(&test, id), "goes on");
}

#[test]
fn programs_see_what_waits_and_decide_about_what_others_asked_for() {
    let (test, package) = strict(&[WS, OTHER]);
    let id = deploy(&desk(&test, "anna"), package, these(&[WS, OTHER]));
    let second = active_package(&test).number();
    // Its token is mia's.
    let served = Served::start(test);
    let (status, waiting) = served.api("GET", "/approvals", "");
    let item = &waiting["items"][0];
    assert_eq!((status, &item["deployment"], &item["may_approve"]), (200, &id.0.into(), &true.into()), "{waiting}");
    assert_eq!((&item["approval"]["asked_by"], &item["approval"]["computers"]), (&"anna".into(), &2.into()));
    assert_eq!(item["approval"]["votes"], json!([]));
    assert_eq!(served.api("GET", "/overview", "").1["awaiting"][0]["deployment"], id.0);
    let (_, one) = served.api("GET", &format!("/deployments/{id}"), "");
    assert_eq!((&one["waits_for_approval"], &one["approval"]["waits"]), (&true.into(), &true.into()), "{one}");
    let say = |id: i64, word: &str, body: &str| served.api("POST", &format!("/deployments/{id}/{word}"), body);
    assert_eq!(say(id.0, "reject", "{}").0, 422, "without a reason");
    assert_eq!(say(id.0, "approve", r#"{"why":"?"}"#).0, 422);
    let (status, decided) = say(id.0, "approve", r#"{"reason":"fine"}"#);
    assert_eq!((status, decided), (200, json!({ "waits": false, "given": 1, "needed": 1 })));
    assert_eq!(say(id.0, "approve", "{}").0, 409);
    let (_, one) = served.api("GET", &format!("/deployments/{id}"), "");
    assert_eq!((&one["waits_for_approval"], &one["approval"]["waits"]), (&false.into(), &false.into()), "{one}");
    let vote = &one["approval"]["votes"][0];
    assert_eq!((&vote["account"], &vote["reason"], &vote["via"]), (&"mia".into(), &"fine".into(), &"api".into()));
    // What mia asks for herself, her token does not decide.
    let body = format!(r#"{{"package":{second},"all":true}}"#);
    let (_, look) = served.api("POST", "/deployments/preview", &body);
    assert_eq!((&look["reach"], &look["approvers"]), (&2.into(), &1.into()), "{look}");
    let (status, own) = served.api("POST", "/deployments", &body);
    assert_eq!((status, &own["approvers"]), (201, &1.into()), "{own}");
    let own = own["deployment"].as_i64().expect("a number");
    assert_eq!(say(own, "approve", "{}").0, 403);
    assert_eq!(served.api("GET", "/approvals", "").1["items"][0]["may_approve"], false);
    let series = format!(r#"{{"deployment":{body},"repeat":"every hour"}}"#);
    let (_, made) = served.api("POST", "/series", &series);
    assert_eq!((&made["stage"], &made["approval"]["waits"]), (&"paused".into(), &true.into()), "{made}");
    assert_eq!(served.api("POST", "/series/1/approve", "{}").0, 403);
    assert_eq!(served.api("POST", "/series/1/release", "{}").0, 409, "others are still asked");
    assert_eq!(served.api("POST", "/series/9/approve", "{}").0, 404);
}

#[test]
fn verbs_say_what_waits_and_what_they_did_about_it() {
    let site = Site::new();
    let (one, two) = (site.package(), site.package());
    site.say("setting set APPROVAL_FROM 50").ok();
    let look = site.json(&format!("assign {one} --all --dry-run"));
    assert_eq!(look["approvers"], 1);
    let made = site.say(&format!("assign {one} --all"));
    assert!(made.err.contains("deployment 1 waits for approval: 0 of 1, asked for by "), "{made:?}");
    assert!(made.err.contains("`dripfeed deployment approve 1`"), "{made:?}");
    made.ok();
    assert!(site.say("deployment list").ok().contains("waits for approval"));
    assert_eq!(site.json("deployment list")[0]["waits_for_approval"], true);
    for (line, words) in [
        ("deployment approve 1", "so somebody else has to decide"),
        ("deployment reject 1 --reason late", "so somebody else has to decide"),
        ("deployment reject 1", "say why it is rejected"),
        ("deployment release 1", "others are still asked, from 50 computers on"),
        ("deployment approve 7", "there is no deployment 7"),
        ("series approve 7", "there is no series 7"),
    ] {
        let told = site.say(line).refused();
        assert!(told.contains(words), "{line}: {told}");
    }
    site.say("setting set APPROVAL_FROM 0").ok();
    let released = site.say("deployment release 1 --reason alone").ok();
    assert_eq!(released, "deployment 1 is released: each computer is told at its next contact\n");
    let shown = site.say("deployment show 1").ok();
    assert!(shown.contains("; released by ") && shown.contains("(alone)"), "{shown}");

    // What a series is can be changed bit by bit.
    site.run(&["assign", &one, "--all", "--repeat", "every day at 22:00", "--time-zone", "UTC"]).ok();
    assert!(site.say("series change 1").refused().contains("say what is changed"));
    site.say(&format!("series change 1 --package {two} {one} --in-order --post-command reboot")).ok();
    let shown = site.json("series show 1");
    let numbers = |ids: [&str; 2]| ids.map(|id| id.parse::<u32>().expect("a number"));
    assert_eq!((&shown["packages"], &shown["in_order"]), (&json!(numbers([&two, &one])), &true.into()));
    assert_eq!((&shown["repeat"], &shown["target"]["kind"]), (&"every day at 22:00".into(), &"all".into()));
    site.say("group create crew").ok();
    site.say("series change 1 --group crew --in-any-order").ok();
    let shown = site.json("series show 1");
    assert_eq!((&shown["target"]["group"], &shown["in_order"]), (&"crew".into(), &false.into()));
    site.say("series change 1 --windows daily --window-zone UTC --wake").ok();
    site.say("series change 1 --post-command shutdown --ranges ::/0").ok();
    let shown = site.json("series show 1");
    assert_eq!((&shown["gates"]["windows"], &shown["gates"]["ranges"]), (&"daily 00:00-24:00".into(), &"::/0".into()));
    assert_eq!(shown["wake"], true, "what is not named stays");
    site.say("series change 1 --any-time --no-wake").ok();
    let shown = site.json("series show 1");
    assert_eq!((&shown["gates"]["windows"], &shown["wake"]), (&json!(null), &false.into()));
    let deleted = site.say("group delete crew").ok();
    assert!(deleted.contains("series 1 (every day at 22:00 (UTC)) pauses at its next run"), "{deleted}");
    assert_eq!(site.json(&format!("package withdraw {two}"))["pausing_series"], json!([1]));
}
