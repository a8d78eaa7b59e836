//! Deployments after they were made: taken back, tried again, and the answer to "why does it not have it?".

use std::fmt::Write as _;
use std::time::Duration;

use dripfeed::clock::{Clock, local_text};
use dripfeed::model::settings::SettingKey;
use dripfeed::model::{DeploymentId, JobOptions, JobState, Location, Nobody, Notify, PackageId, PromptPolicy, TreeKey};
use dripfeed::service::assign::{Target, assign};
use dripfeed::service::deployments::{self, cancel, retry};
use dripfeed::service::publish::Source;
use dripfeed::service::settings::{self, Whose};
use dripfeed::service::stopped::{Fetch, Stopped, is_stopped};
use dripfeed::service::why::why;
use dripfeed::service::{Peer, activate, withdraw};
use dripfeed::store::{activations, computers, events};

use crate::jobs::{WS, active_package, assign_to, offers, say_inventory, say_result, states};
use crate::util::{NOW, TestApp, peer, request};

const OTHER: &str = "other-2024-03-05-09-10-11";

fn computers(names: &[&str]) -> Target {
    Target::Computers(names.iter().map(|&name| name.to_owned()).collect())
}

fn counts(test: &TestApp, id: DeploymentId) -> String {
    let summary = deployments::find(&test.app, id).expect("found");
    let words: Vec<String> = summary.counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    words.join(", ")
}

#[test]
fn a_cancelled_deployment_is_not_offered_and_takes_nobody_more() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    say_inventory(&test, OTHER, "Debian", &[]);
    let deployment = assign_to(&test, id, Target::All).deployment;
    assert_eq!(offers(&test, WS), [id.to_string()]);
    let cancelled = cancel(&test.app, deployment, false, "bob").expect("cancelled");
    assert_eq!((cancelled.jobs, cancelled.go_on, cancelled.was_standing), (2, 0, true));
    assert_eq!(offers(&test, WS), [""; 0]);
    say_inventory(&test, "late-2024-03-05-09-10-11", "Debian", &[]);
    assert_eq!(states(&test, id), ["ws042 cancelled -", "other cancelled -"]);
    let happened = test.app.store.read_now(move |conn| events::list(conn, None, Some(id), 10)).expect("read");
    let texts: Vec<String> =
        happened.iter().rev().map(|event| format!("{:?} {} {}", event.kind, event.device_id, event.text)).collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    Offered ws042-2024-03-05-09-10-11 NOTIFIED
    Cancelled  deployment 1 cancelled by bob
    Cancelled ws042-2024-03-05-09-10-11 deployment 1 cancelled by bob
    Cancelled other-2024-03-05-09-10-11 deployment 1 cancelled by bob
    ");
    let again = cancel(&test.app, deployment, false, "bob").expect_err("twice");
    insta::assert_snapshot!(again, @"deployment 1 is cancelled already and has no open jobs");
}

#[test]
fn who_was_told_goes_on_when_only_the_waiting_are_cancelled() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    say_inventory(&test, OTHER, "Debian", &[]);
    let deployment = assign_to(&test, id, Target::All).deployment;
    offers(&test, WS);
    let cancelled = cancel(&test.app, deployment, true, "bob").expect("cancelled");
    assert_eq!((cancelled.jobs, cancelled.go_on), (1, 1));
    assert_eq!(counts(&test, deployment), "1 offered, 1 cancelled");
    assert_eq!(offers(&test, WS), [id.to_string()], "told again until there is a result");
    let again = cancel(&test.app, deployment, true, "bob").expect_err("nobody waits");
    insta::assert_snapshot!(again, @"deployment 1 is cancelled already and has no waiting jobs");
    assert_eq!(cancel(&test.app, deployment, false, "bob").expect("the rest").jobs, 1);
    assert_eq!(counts(&test, deployment), "2 cancelled");
}

#[test]
fn a_retry_plans_anew_what_failed_and_keeps_what_was() {
    let test = TestApp::new();
    let id = active_package(&test);
    let names = ["a-2024-03-05-09-10-11", "b-2024-03-05-09-10-11", "c-2024-03-05-09-10-11", "d-2024-03-05-09-10-11"];
    for name in names {
        say_inventory(&test, name, "Debian", &[]);
        offers(&test, name);
    }
    let deployment = assign_to(&test, id, computers(&names)).deployment;
    for (name, code) in names.iter().zip(["SUCCESS", "ERR_EXECUTE", "ERR_TIMEOUT"]) {
        offers(&test, name);
        say_result(&test, name, id, code);
    }
    assert_eq!(counts(&test, deployment), "1 pending, 1 succeeded, 1 failed, 1 expired");
    assert_eq!(retry(&test.app, deployment, true).expect("retried").planned, 1);
    assert_eq!(counts(&test, deployment), "2 pending, 1 succeeded, 1 expired");
    assert_eq!(retry(&test.app, deployment, false).expect("retried").planned, 1);
    let refusal = retry(&test.app, deployment, false).expect_err("nothing is left");
    insta::assert_snapshot!(refusal, @"deployment 1 has no failed or expired jobs to try again: 3 pending, 1 succeeded");
    assert_eq!(offers(&test, names[1]), [id.to_string()], "without FORCE: what failed is in no history");
    say_result(&test, names[1], id, "SUCCESS");
    assert_eq!(counts(&test, deployment), "2 pending, 2 succeeded");
    assert_eq!(
        states(&test, id),
        [
            "a succeeded SUCCESS",
            "b failed ERR_EXECUTE",
            "c expired ERR_TIMEOUT",
            "d pending -",
            "b succeeded SUCCESS",
            "c pending -"
        ]
    );
}

#[test]
fn what_cannot_be_tried_again_is_told_why() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    let deployment = assign_to(&test, id, computers(&[WS])).deployment;
    let refusal = |id| retry(&test.app, id, false).expect_err("refused").to_string();
    let unknown = refusal(DeploymentId(99));
    offers(&test, WS);
    say_result(&test, WS, id, "ERR_EXECUTE");
    cancel(&test.app, deployment, false, "bob").expect("nothing is open, but it is in force");
    let cancelled = refusal(deployment);
    withdraw::withdraw(&test.app, id).expect("withdrawn");
    let told = [unknown, cancelled, refusal(deployment)].join("\n");
    insta::assert_snapshot!(told, @r"
    there is no deployment 99: `dripfeed deployment list` shows them
    deployment 1 was cancelled, so it is not tried again: assign the package anew (dripfeed assign 1795168800 --computer …)
    package 1795168800 was withdrawn: there is nothing left to try again with; build it anew
    ");
    assert_eq!(states(&test, id), ["ws042 failed ERR_EXECUTE"]);
}

/// The answer, its stage, and what it rests on.
fn answer(test: &TestApp, name: &str, package: PackageId) -> String {
    let why = why(&test.app, name, package).expect("an answer");
    let mut told = format!("[{}] {}\n", why.stage.as_str(), why.sentence);
    for fact in &why.evidence {
        writeln!(told, "  {}  {}", local_text(fact.at), fact.text).expect("written");
    }
    told
}

fn sentence(test: &TestApp, name: &str, package: PackageId) -> String {
    let why = why(&test.app, name, package).expect("an answer");
    format!("[{}] {}", why.stage.as_str(), why.sentence)
}

#[test]
fn every_stage_has_its_sentence() {
    let mut test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    say_inventory(&test, "win1-2024-03-05-09-10-11", "Microsoft Windows 11 Pro", &[]);
    let mut told = Vec::new();
    told.push(sentence(&test, WS, id));
    told.push(sentence(&test, "win1", id));

    let deployment = assign_to(&test, id, computers(&[WS])).deployment;
    told.push(sentence(&test, WS, id));
    settings::set(&test.app, SettingKey::Download, "0", Whose::Computer(WS.to_owned())).expect("set");
    told.push(sentence(&test, WS, id));
    settings::unset(&test.app, SettingKey::Download, Whose::Computer(WS.to_owned())).expect("unset");
    test.app.store.write_now(move |conn| activations::remove(conn, id)).expect("removed");
    told.push(sentence(&test, WS, id));
    let here: Location = "localhost:8443/download".parse().expect("a location");
    activate::activate(&test.app, id, here.clone(), here, None, &mut |_, _| {}).expect("activated");
    test.app.clock = Clock::Fixed(NOW.plus(Duration::from_hours(50)));
    told.push(sentence(&test, WS, id));
    offers(&test, WS);
    test.app.clock = Clock::Fixed(NOW.plus(Duration::from_secs(50 * 3600 + 65)));
    told.push(sentence(&test, WS, id));
    test.app.clock = Clock::Fixed(NOW.plus(Duration::from_hours(60)));
    told.push(sentence(&test, WS, id));
    test.app.clock = Clock::Fixed(NOW.plus(Duration::from_hours(80)));
    told.push(sentence(&test, WS, id));
    say_result(&test, WS, id, "ERR_BAD_DIGEST");
    told.push(sentence(&test, WS, id));
    retry(&test.app, deployment, false).expect("retried");
    offers(&test, WS);
    say_result(&test, WS, id, "ERR_TIMEOUT");
    told.push(sentence(&test, WS, id));
    retry(&test.app, deployment, false).expect("retried");
    cancel(&test.app, deployment, false, "bob").expect("cancelled");
    told.push(sentence(&test, WS, id));
    let scheduled = JobOptions { schedule: Some("2031/06/30 02:15".parse().expect("a time")), ..JobOptions::default() };
    let later = assign(&test.app, id, computers(&[WS]), scheduled, "alice").expect("assigned").deployment;
    told.push(sentence(&test, WS, id));
    cancel(&test.app, later, false, "bob").expect("cancelled");
    assign_to(&test, id, computers(&[WS]));
    say_inventory(&test, WS, "Debian", &[id]);
    told.push(sentence(&test, WS, id));
    offers(&test, WS);
    told.push(sentence(&test, WS, id));
    let forced = JobOptions { force: true, ..JobOptions::default() };
    assign(&test.app, id, computers(&[WS]), forced, "alice").expect("assigned");
    offers(&test, WS);
    say_result(&test, WS, id, "SUCCESS_3");
    told.push(sentence(&test, WS, id));

    let other = active_package(&test);
    assign_to(&test, other, computers(&[WS]));
    withdraw::withdraw(&test.app, other).expect("withdrawn");
    told.push(sentence(&test, WS, other));
    told.push(sentence(&test, "win1", other));
    insta::assert_snapshot!(told.join("\n"), @r"
    [not assigned] nobody assigned package 1795168800 to ws042: dripfeed assign 1795168800 --computer ws042-2024-03-05-09-10-11
    [other system] package 1795168800 is for linux, but win1 runs Microsoft Windows 11 Pro
    [waiting] nothing is in its way: ws042 is told at its next contact
    [download off] deployment is switched off for ws042: DOWNLOAD is 0, set for this computer (dripfeed setting explain DOWNLOAD --computer ws042-2024-03-05-09-10-11)
    [not activated] package 1795168800 is not activated: dripfeed activate 1795168800
    [silent] ws042 cannot be told of it: it has not been heard of for 2 d 2 h, though it should check in every 24 hours
    [offered] ws042 was told of it 1 min ago and has not reported yet; at its pace it takes at least 1 min
    [offered] ws042 was told of it 10 h 0 min ago and has not reported yet; at its pace it takes at least 1 min; other packages, failed fetches or a computer that is switched off make it longer
    [silent] ws042 has not told what became of it: it has not been heard of for 1 d 6 h, though it should check in every 24 hours
    [failed] ws042 reported ERR_BAD_DIGEST: what was downloaded is not what was built: a fragment is damaged or was replaced; to try again: dripfeed deployment retry 1
    [expired] ws042 reported ERR_TIMEOUT: the package was not complete within TIMEOUT days; to try again: dripfeed deployment retry 1
    [cancelled] the job was cancelled: deployment 1 cancelled by bob
    [scheduled] scheduled for 2031/06/30 02:15, and this agent does not wait by itself
    [in history] ws042 says that it has run package 1795168800 already, so it is not offered; its next contact ends the job (assign it with --force to run it again)
    [already installed] ws042 had it before it was offered: the computer's inventory lists this package already, so it was not offered
    [succeeded] ws042 reported SUCCESS_3: the command ended with exit code 3, which stock Unix agents call a success
    [withdrawn] package 1795456800 was withdrawn, which cancelled the job
    [withdrawn] package 1795456800 was withdrawn, and win1 never had a job of it
    ");

    let unknown = [
        why(&test.app, "nobody", id).expect_err("unknown").to_string(),
        why(&test.app, WS, "12".parse().expect("an id")).expect_err("unknown").to_string(),
    ];
    insta::assert_snapshot!(unknown.join("\n"), @r#"
    there is no computer "nobody": it must have sent an inventory first (`dripfeed computer list`)
    there is no package 12: `dripfeed package list` shows them
    "#);
}

#[test]
fn an_answer_rests_on_recorded_facts_in_the_order_of_time() {
    let mut test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    assign_to(&test, id, computers(&[WS]));
    test.app.clock = Clock::Fixed(NOW.plus(Duration::from_mins(5)));
    offers(&test, WS);
    test.app.clock = Clock::Fixed(NOW.plus(Duration::from_mins(7)));
    let told = answer(&test, WS, id);
    let expected_first = local_text(NOW);
    // In whatever zone the test runs, times are those of the zone.
    let told = told.replace(&expected_first, "T+0").replace(&local_text(NOW.plus(Duration::from_mins(5))), "T+5");
    let told = told.replace(&local_text(NOW.plus(Duration::from_mins(24 * 60 + 5))), "T+24h5");
    insta::assert_snapshot!(told, @r"
    [offered] ws042 was told of it 2 min ago and has not reported yet; at its pace it takes at least 1 min; other packages, failed fetches or a computer that is switched off make it longer
      T+0  package 1795168800 was built
      T+0  job 1 of deployment 1 was planned; alice made the deployment
      T+0  activated at localhost:8443/download, not checked
      T+0  last inventory
      T+5  offered to the agent
      T+5  last contact, from 127.0.0.1 by OCS-NG_unified_unix_agent_v2.10.0
      T+24h5  next contact expected (PROLOG_FREQ is 24 hours, default)
    ");
}

#[test]
fn a_question_that_people_are_asked_is_one_of_the_facts_while_it_is_open() {
    let test = TestApp::new();
    let mut asking = request(Source::Nothing, "execute", "true");
    let policy = PromptPolicy { max_delays: Some(1), deadline_hours: None, nobody: Nobody::Wait };
    asking.package.notify = Some(Notify { text: "now?".to_owned(), can_delay: true, policy, ..Notify::default() });
    let id = test.build(&asking).expect("a package").package.id;
    let here: Location = "localhost:8443/download".parse().expect("a location");
    activate::activate(&test.app, id, here.clone(), here, None, &mut |_, _| {}).expect("activated");
    say_inventory(&test, WS, "Debian", &[]);
    assign_to(&test, id, computers(&[WS]));
    let asks = "the package asks whoever is at the computer before it runs; it may be put off 1 time; it waits for \
                somebody to be logged in\n";
    assert!(!answer(&test, WS, id).contains("asks"), "nobody was told of it yet");
    offers(&test, WS);
    let told = answer(&test, WS, id);
    assert!(told.contains(asks), "{told}");
    say_result(&test, WS, id, "SUCCESS");
    assert!(!answer(&test, WS, id).contains("asks"));
}

#[test]
fn only_the_very_agent_whose_job_was_cancelled_is_refused() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    let deployment = assign_to(&test, id, computers(&[WS])).deployment;
    offers(&test, WS);
    let key: TreeKey = format!("{id}/{id}-1").parse().expect("a key");
    let agent = peer().user_agent;
    let own = Fetch { address: peer().address, key, user_agent: &agent, host: "localhost:8443" };
    let stopped = Stopped::default();
    stopped.refresh(&test.app).expect("read");
    assert_eq!(stopped.candidate(own.address, key), None, "it is at work");

    cancel(&test.app, deployment, false, "bob").expect("cancelled");
    stopped.refresh(&test.app).expect("read");
    let computer = stopped.candidate(own.address, key).expect("it was cancelled");
    let refused = |fetch: Fetch<'_>| is_stopped(&test.app, computer, fetch).expect("read");
    assert!(refused(own));
    let elsewhere = [192, 0, 2, 7].into();
    assert_eq!(stopped.candidate(elsewhere, key), None);
    let other_key: TreeKey = "12/12-1".parse().expect("a key");
    assert_eq!(stopped.candidate(own.address, other_key), None);
    for served in [
        Fetch { address: elsewhere, ..own },
        Fetch { user_agent: "nginx", ..own },
        Fetch { host: "mirror.example.net", ..own },
    ] {
        assert!(!refused(served), "{served:?} was refused");
    }

    // A new job: the list in memory may be old, the answer is not.
    assign_to(&test, id, computers(&[WS]));
    assert!(!refused(own), "it has an open job");
    say_result(&test, WS, id, "ERR_EXECUTE");
    assert!(!refused(own), "its newest job was not cancelled");
    let again = assign_to(&test, id, computers(&[WS])).deployment;
    cancel(&test.app, again, false, "bob").expect("cancelled");
    assert!(refused(own));
    // Behind the same router now.
    say_inventory(&test, OTHER, "Debian", &[]);
    assert!(!refused(own), "it may be the other one");
}

#[test]
fn an_address_that_changed_is_known_after_a_while() {
    let mut test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    let deployment = assign_to(&test, id, computers(&[WS])).deployment;
    cancel(&test.app, deployment, false, "bob").expect("cancelled");
    let stopped = Stopped::default();
    stopped.refresh(&test.app).expect("read");
    let key = TreeKey::Info { package: id };
    let moved = Peer { address: [192, 0, 2, 7].into(), ..peer() };
    let contact =
        computers::Contact { peer_address: moved.address.to_string(), user_agent: moved.user_agent.clone(), at: NOW };
    test.app
        .store
        .write_now(move |conn| {
            let computer = computers::find_by_name(conn, "ws042")?.remove(0);
            computers::touch(conn, computer.id, &contact)
        })
        .expect("written");
    stopped.refresh(&test.app).expect("read");
    assert!(stopped.candidate(moved.address, key).is_none(), "nothing was cancelled since");
    test.app.clock = Clock::Fixed(NOW.plus(Duration::from_mins(11)));
    stopped.refresh(&test.app).expect("read");
    assert!(stopped.candidate(moved.address, key).is_some());
    assert!(stopped.candidate(peer().address, key).is_none());
    assert_eq!(states(&test, id), [format!("ws042 {} -", JobState::Cancelled)]);
}
