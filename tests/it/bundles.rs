//! Several packages in one act, and what is done to single rows of a deployment or of a computer; each with its undo.

use std::collections::BTreeSet;

use dripfeed::model::{DeploymentId, JobId, JobOptions, JobState, OsFamily, PackageId, PostCommand};
use dripfeed::service::assign::{Assigned, Bundle, Fate, Target, assign_bundle, preview};
use dripfeed::service::deployments::{
    self, Act, Among, Only, cancel, cancel_bundle, on_computer, retry, retry_some, take_off, undo_cancel, undo_retry,
};
use dripfeed::service::why::why;
use dripfeed::service::{activate, groups};
use dripfeed::store::{computers, jobs, progress};

use crate::jobs::{WS, active_package, offers, say_inventory, say_prolog, say_result, states};
use crate::util::{NOW, TestApp};

const OTHER: &str = "other-2024-03-05-09-10-11";

fn packages(test: &TestApp, count: usize) -> Vec<PackageId> {
    (0..count).map(|_| active_package(test)).collect()
}

fn give(test: &TestApp, packages: &[PackageId], in_order: bool, target: Target) -> Vec<Assigned> {
    let bundle = Bundle::new(packages.to_vec(), in_order).expect("a bundle");
    assign_bundle(&test.app, &bundle, target, &JobOptions::default(), "alice", None).expect("assigned")
}

fn counts(test: &TestApp, id: DeploymentId) -> String {
    let summary = deployments::find(&test.app, id).expect("found");
    let words: Vec<String> = summary.counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    words.join(", ")
}

fn told(packages: &[PackageId]) -> Vec<String> {
    packages.iter().map(ToString::to_string).collect()
}

/// A sentence without the packages' numbers.
fn sentence(test: &TestApp, package: PackageId, packages: &[PackageId]) -> String {
    let said = why(&test.app, WS, package).expect("an answer");
    let answer = format!("{}: {}", said.stage.as_str(), said.sentence);
    packages.iter().enumerate().fold(answer, |text, (at, id)| text.replace(&id.to_string(), &format!("P{at}")))
}

#[test]
fn packages_in_order_are_offered_one_after_the_other() {
    let test = TestApp::new();
    let three = packages(&test, 3);
    say_inventory(&test, WS, "Debian", &[]);
    let made = give(&test, &three, true, Target::Computers(vec![WS.to_owned()]));
    assert_eq!(made.iter().map(|one| one.planned).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(offers(&test, WS), told(&three[..1]));
    insta::assert_snapshot!(sentence(&test, three[1], &three), @"after another: tool 1.0 (package P0) comes first, and it is not done on ws042 yet (offered)");
    say_result(&test, WS, three[0], "SUCCESS");
    assert_eq!(offers(&test, WS), told(&three[1..2]));
    say_result(&test, WS, three[1], "ERR_EXIT_CODE_7");
    assert_eq!(offers(&test, WS), [""; 0]);
    insta::assert_snapshot!(sentence(&test, three[2], &three), @"after another: tool 1.0 (package P1) comes first, and it failed on ws042 with ERR_EXIT_CODE_7: dripfeed deployment retry 2 tries it again, and what follows goes on when that succeeds");
    let gates = deployments::progress(&test.app, made[2].deployment, None).expect("there").gates;
    assert_eq!(gates, [(format!("package {} comes first, and it failed there: a retry of it goes on", three[1]), 1)]);
    retry(&test.app, made[1].deployment, false).expect("planned anew");
    assert_eq!(offers(&test, WS), told(&three[1..2]), "the retry; the third still waits");
    say_result(&test, WS, three[1], "SUCCESS");
    assert_eq!(offers(&test, WS), told(&three[2..]));
    say_result(&test, WS, three[2], "SUCCESS");
    assert!(made.iter().all(|one| counts(&test, one.deployment) == "1 succeeded"));
}

#[test]
fn without_an_order_all_are_offered_at_once() {
    let test = TestApp::new();
    let two = packages(&test, 2);
    say_inventory(&test, WS, "Debian", &[]);
    give(&test, &two, false, Target::All);
    assert_eq!(offers(&test, WS), told(&two));
}

#[test]
fn a_computer_that_comes_later_gets_them_in_their_order_too() {
    let test = TestApp::new();
    let two = packages(&test, 2);
    groups::create(&test.app, "crew", Some("name = ws042"), "alice").expect("a group");
    give(&test, &two, true, Target::Group("crew".to_owned()));
    say_inventory(&test, WS, "Debian", &[]);
    assert_eq!(offers(&test, WS), told(&two[..1]));
    say_result(&test, WS, two[0], "SUCCESS");
    assert_eq!(offers(&test, WS), told(&two[1..]));
}

#[test]
fn what_the_agent_had_before_counts_as_done_at_the_same_contact() {
    let test = TestApp::new();
    let two = packages(&test, 2);
    say_inventory(&test, WS, "Debian", &two[..1]);
    give(&test, &two, true, Target::Computers(vec![WS.to_owned()]));
    assert_eq!(offers(&test, WS), told(&two[1..]));
    assert_eq!(states(&test, two[0]), ["ws042 already installed SUCCESS_ALREADY_IN_HISTORY"]);
}

#[test]
fn what_is_done_afterwards_is_done_after_the_last() {
    let test = TestApp::new();
    let two = packages(&test, 2);
    say_inventory(&test, WS, "Debian", &[]);
    let options = JobOptions { post_command: Some(PostCommand::Reboot), ..JobOptions::default() };
    let bundle = Bundle::new(two.clone(), true).expect("a bundle");
    let target = Target::Computers(vec![WS.to_owned()]);
    assign_bundle(&test.app, &bundle, target, &options, "alice", None).expect("assigned");
    let after = || {
        let option = say_prolog(&test, WS).download.expect("an option");
        option.offers.into_iter().map(|offer| offer.post_command).collect::<Vec<_>>()
    };
    assert_eq!(after(), [None]);
    say_result(&test, WS, two[0], "SUCCESS");
    assert_eq!(after(), [Some(PostCommand::Reboot)]);
}

#[test]
fn what_makes_no_bundle_is_refused_and_nothing_is_planned() {
    let test = TestApp::new();
    let one = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    let refused = |packages: Vec<PackageId>| Bundle::new(packages, true).expect_err("refused").to_string();
    insta::assert_snapshot!(refused(Vec::new()), @"name a package: `dripfeed package list` shows them");
    assert_eq!(refused(vec![one, one]), format!("package {one} is named twice"));
    let number = |n: u32| PackageId::new(n).expect("a number");
    insta::assert_snapshot!(refused((1..=21).map(number).collect()), @"21 packages are too many for one act: at most 20 are deployed at once");
    let mut request = crate::util::request(
        dripfeed::service::publish::Source::Path(test.input("input/w", b"w")),
        "store",
        "C:\\tool",
    );
    request.package.os = OsFamily::Windows;
    let other = test.build(&request).expect("a package").package.id;
    let bundle = Bundle::new(vec![one, other], true).expect("a bundle");
    let mixed = assign_bundle(&test.app, &bundle, Target::All, &JobOptions::default(), "alice", None);
    assert_eq!(
        mixed.expect_err("refused").to_string(),
        format!(
            "packages that follow one another have to be for one system: {one} is for linux, {other} is for windows"
        )
    );
    let missing = Bundle::new(vec![one, number(17)], false).expect("a bundle");
    assert!(assign_bundle(&test.app, &missing, Target::All, &JobOptions::default(), "alice", None).is_err());
    assert!(deployments::list(&test.app).expect("read").is_empty(), "all or nothing");
    let mixed = Bundle::new(vec![one, other], false).expect("a bundle");
    let look = preview(&test.app, &mixed, Target::All, &JobOptions::default(), None).expect("a look");
    assert_eq!(look.computers[0].1, [Fate::Gets, Fate::OtherSystem]);
    assert!(deployments::list(&test.app).expect("read").is_empty(), "a look plans nothing");
}

#[test]
fn one_act_takes_a_bundle_back_and_one_undo_restores_it() {
    let test = TestApp::new();
    let two = packages(&test, 2);
    say_inventory(&test, WS, "Debian", &[]);
    say_inventory(&test, OTHER, "Debian", &[]);
    let made = give(&test, &two, false, Target::All);
    offers(&test, WS);
    let cancelled = cancel_bundle(&test.app, made[1].deployment, "bob", None, |_| true).expect("cancelled");
    assert_eq!((cancelled.jobs, cancelled.was_standing), (4, true));
    assert!(made.iter().all(|one| counts(&test, one.deployment) == "2 cancelled"));
    assert_eq!(offers(&test, WS), [""; 0]);
    let all = Among::Deployments(made.iter().map(|one| one.deployment).collect());
    let undone = undo_cancel(&test.app, all.clone(), cancelled.at, "bob", None).expect("undone");
    assert_eq!((undone.jobs, undone.left), (4, 0));
    assert!(made.iter().all(|one| counts(&test, one.deployment) == "1 pending, 1 offered"), "as they were");
    assert_eq!(offers(&test, WS), told(&two));
    say_inventory(&test, "late-2024-03-05-09-10-11", "Debian", &[]);
    assert_eq!(counts(&test, made[0].deployment), "2 pending, 1 offered", "it stands for those to come again");
    let again = undo_cancel(&test.app, all, cancelled.at, "bob", None).expect_err("twice");
    insta::assert_snapshot!(again, @"there is nothing to undo any more: something else was done since");
    let alone = cancel_bundle(&test.app, made[0].deployment, "bob", None, |line| line.deployment.id.0 == 1);
    assert_eq!(alone.expect("cancelled").jobs, 3, "what somebody may not see goes on");
    assert_eq!(counts(&test, made[1].deployment), "2 pending, 1 offered");
}

/// The attempts of a deployment by the names of their computers.
fn attempts(test: &TestApp, id: DeploymentId) -> Vec<(String, JobId)> {
    let found = test
        .app
        .store
        .read_now(move |conn| {
            progress::list(conn, progress::Of::Deployment(id), &progress::Wanted::default(), None, 100)
        })
        .expect("read");
    found.into_iter().map(|line| (line.name, line.job.id)).collect()
}

fn these(jobs: impl IntoIterator<Item = JobId>) -> Only {
    Only { jobs: Some(jobs.into_iter().collect()), ..Only::default() }
}

#[test]
fn ticked_computers_are_taken_off_and_put_back() {
    let test = TestApp::new();
    let id = active_package(&test);
    let names = ["a", "b", "c", "d"].map(|name| format!("{name}-2024-03-05-09-10-11"));
    for name in &names {
        say_inventory(&test, name, "Debian", &[]);
    }
    let deployment = give(&test, &[id], false, Target::All)[0].deployment;
    for name in &names[..3] {
        offers(&test, name);
    }
    say_result(&test, &names[0], id, "SUCCESS");
    say_result(&test, &names[1], id, "ERR_EXIT_CODE_1");
    assert_eq!(counts(&test, deployment), "1 pending, 1 offered, 1 succeeded, 1 failed");
    let all: Vec<JobId> = attempts(&test, deployment).into_iter().map(|(_, job)| job).collect();
    let taken = take_off(&test.app, deployment, "bob", these(all.clone())).expect("taken off");
    assert_eq!((taken.open, taken.ended), (2, 1), "what succeeded stays");
    assert_eq!(counts(&test, deployment), "1 succeeded, 3 cancelled");
    let nothing = retry(&test.app, deployment, false).expect_err("nothing failed any more");
    insta::assert_snapshot!(nothing, @"deployment 1 has no failed or expired jobs to try again: 1 succeeded, 3 cancelled");
    assert_eq!(states(&test, id)[1], "b cancelled ERR_EXIT_CODE_1", "what the agent said stays");
    let again = take_off(&test.app, deployment, "bob", these(all)).expect_err("nobody is left");
    insta::assert_snapshot!(again, @"deployment 1 has nothing to take off on these computers: what succeeded stays");
    let among = Among::Deployments(vec![deployment]);
    undo_cancel(&test.app, among, taken.at, "bob", None).expect("undone");
    assert_eq!(counts(&test, deployment), "1 pending, 1 offered, 1 succeeded, 1 failed");
    assert_eq!(offers(&test, &names[2]), [id.to_string()]);
}

#[test]
fn a_filter_and_ticks_limit_what_is_taken_back() {
    let test = TestApp::new();
    let id = active_package(&test);
    let names = ["a", "b", "c"].map(|name| format!("{name}-2024-03-05-09-10-11"));
    for name in &names {
        say_inventory(&test, name, "Debian", &[]);
    }
    let deployment = give(&test, &[id], false, Target::All)[0].deployment;
    offers(&test, &names[0]);
    let wanted = progress::Wanted { states: vec![JobState::Offered], ..progress::Wanted::default() };
    let only = Only { wanted, ..Only::default() };
    let some = deployments::cancel_some(&test.app, deployment, false, "bob", only).expect("cancelled");
    assert_eq!((some.jobs, some.was_standing), (1, false));
    assert_eq!(counts(&test, deployment), "2 pending, 1 cancelled");
    let job = attempts(&test, deployment)[1].1;
    deployments::cancel_some(&test.app, deployment, false, "bob", these([job])).expect("cancelled");
    assert_eq!(counts(&test, deployment), "1 pending, 2 cancelled");
    let foreign = deployments::cancel_some(&test.app, deployment, false, "bob", these([JobId(99)]));
    insta::assert_snapshot!(foreign.expect_err("no such job"), @"deployment 1 has no open jobs on these computers");
}

#[test]
fn an_undone_retry_leaves_the_failure_and_what_an_agent_was_told_of() {
    let test = TestApp::new();
    let id = active_package(&test);
    for device in [WS, OTHER] {
        say_inventory(&test, device, "Debian", &[]);
    }
    let deployment = give(&test, &[id], false, Target::All)[0].deployment;
    for device in [WS, OTHER] {
        offers(&test, device);
        say_result(&test, device, id, "ERR_EXIT_CODE_1");
    }
    let retried = retry_some(&test.app, deployment, false, Only::default()).expect("planned anew");
    assert_eq!((retried.planned, counts(&test, deployment).as_str()), (2, "2 pending"));
    offers(&test, WS);
    let undone = undo_retry(&test.app, Among::Deployments(vec![deployment]), retried.at, None).expect("undone");
    assert_eq!((undone.jobs, undone.left), (1, 1));
    assert_eq!(counts(&test, deployment), "1 offered, 1 failed");
    assert_eq!(states(&test, id).len(), 3, "the first attempts stay on record");
}

#[test]
fn an_undo_leaves_a_computer_on_which_something_newer_is() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    let first = give(&test, &[id], false, Target::All)[0].deployment;
    let cancelled = cancel(&test.app, first, false, "bob").expect("cancelled");
    give(&test, &[id], false, Target::Computers(vec![WS.to_owned()]));
    let among = Among::Deployments(vec![first]);
    let undone = undo_cancel(&test.app, among, cancelled.at, "bob", None).expect("the deployment stands again");
    assert_eq!((undone.jobs, undone.left), (0, 1));
    assert_eq!(counts(&test, first), "1 cancelled");
    assert_eq!(offers(&test, WS), [id.to_string()]);
}

#[test]
fn a_computers_jobs_of_several_deployments_are_changed_together() {
    let test = TestApp::new();
    let two = packages(&test, 2);
    say_inventory(&test, WS, "Debian", &[]);
    for package in &two {
        give(&test, &[*package], false, Target::All);
    }
    offers(&test, WS);
    say_result(&test, WS, two[1], "ERR_EXIT_CODE_1");
    let (computer, chosen) = test
        .app
        .store
        .read_now(|conn| -> Result<_, dripfeed::store::StoreError> {
            let computer = computers::find_by_device_id(conn, &WS.parse().expect("a device id"))?.expect("there").id;
            let lines = jobs::list(conn, None, Some(computer), None, 10)?;
            Ok((computer, lines.into_iter().map(|line| line.job.id).collect::<BTreeSet<_>>()))
        })
        .expect("read");
    let state = || two.iter().map(|id| states(&test, *id).pop().expect("a job")).collect::<Vec<_>>();
    let act = |act: Act| on_computer(&test.app, computer, chosen.clone(), act, "bob");
    let taken = act(Act::TakeOff).expect("taken off");
    assert_eq!(taken.changed, 2);
    assert_eq!(state(), ["ws042 cancelled -", "ws042 cancelled ERR_EXIT_CODE_1"]);
    assert!(act(Act::Cancel).is_err(), "nothing is open");
    undo_cancel(&test.app, Among::Computer(computer), taken.at, "bob", None).expect("undone");
    assert_eq!(state(), ["ws042 offered -", "ws042 failed ERR_EXIT_CODE_1"]);
    let retried = act(Act::Retry).expect("planned anew");
    assert_eq!(retried.changed, 1, "the other one is under way");
    undo_retry(&test.app, Among::Computer(computer), retried.at, None).expect("undone");
    assert_eq!(state(), ["ws042 offered -", "ws042 failed ERR_EXIT_CODE_1"]);
    let foreign = on_computer(&test.app, computer, [JobId(99)].into(), Act::Cancel, "bob").expect("nothing to do");
    assert_eq!((foreign.changed, foreign.at), (0, NOW));
}

#[test]
fn a_bundle_waits_for_the_activation_of_its_first() {
    let test = TestApp::new();
    let two = packages(&test, 2);
    say_inventory(&test, WS, "Debian", &[]);
    activate::deactivate(&test.app, two[0]).expect("taken back");
    let made = give(&test, &two, true, Target::All);
    assert_eq!(made.iter().map(|one| one.not_activated).collect::<Vec<_>>(), [true, false]);
    assert_eq!(offers(&test, WS), [""; 0], "the second waits for the first, though it could be had");
}
