//! Assigning, offering, reporting: what a computer is told and what becomes of it.

use dripfeed::model::{JobOptions, JobState, Location, PackageId, ResultCode};
use dripfeed::protocol::{ComputerFacts, DownloadReport, InventoryReply, InventoryRequest, PrologReply, PrologRequest};
use dripfeed::service::assign::{Assigned, Target, assign};
use dripfeed::service::{activate, inventory, prolog, publish, report, withdraw};
use dripfeed::store::{events, jobs};

use crate::util::{TestApp, block_on, peer};

pub(crate) const WS: &str = "ws042-2024-03-05-09-10-11";

pub(crate) fn say_inventory(test: &TestApp, device_id: &str, os: &str, history: &[PackageId]) -> InventoryReply {
    let device_id = device_id.parse().expect("a device id");
    let name = format!("{device_id}").split('-').next().expect("a name").to_owned();
    let request = InventoryRequest {
        device_id,
        facts: ComputerFacts { name, os_name: os.to_owned(), ..ComputerFacts::default() },
        networks: Vec::new(),
        history: Some(history.to_vec()),
        account: Vec::new(),
        old_device_id: None,
        software: Vec::new(),
        discovered: Vec::new(),
        sections: Vec::new(),
    };
    let document = format!("<REQUEST>{history:?}{os}</REQUEST>").into_bytes();
    block_on(inventory::take(&test.app, request, document, peer())).expect("taken").reply
}

pub(crate) fn say_prolog(test: &TestApp, device_id: &str) -> PrologReply {
    let request = PrologRequest { device_id: device_id.parse().expect("a device id") };
    block_on(prolog::answer(&test.app, request, peer())).expect("answered").reply
}

pub(crate) fn say_result(test: &TestApp, device_id: &str, package: PackageId, code: &str) {
    let report = DownloadReport {
        device_id: device_id.parse().expect("a device id"),
        package: Some(package),
        code: ResultCode::from_wire(code),
    };
    block_on(report::take(&test.app, report, peer())).expect("taken");
}

pub(crate) fn offers(test: &TestApp, device_id: &str) -> Vec<String> {
    let option = say_prolog(test, device_id).download.expect("an option");
    option.offers.iter().map(|offer| offer.package.to_string()).collect()
}

pub(crate) fn active_package(test: &TestApp) -> PackageId {
    let id = test.package(b"content", 1000).id;
    let here: Location = "localhost:8443/download".parse().expect("a location");
    activate::activate(&test.app, id, here.clone(), here, None, &mut |_, _| {}).expect("activated");
    id
}

pub(crate) fn assign_to(test: &TestApp, id: PackageId, target: Target) -> Assigned {
    assign(&test.app, id, target, JobOptions::default(), "alice").expect("assigned")
}

pub(crate) fn states(test: &TestApp, id: PackageId) -> Vec<String> {
    let lines = test.app.store.read_now(move |conn| jobs::list(conn, Some(id), None, None, 100)).expect("read");
    lines
        .iter()
        .map(|line| {
            let code = line.job.result.as_ref().map_or("-", ResultCode::as_str);
            format!("{} {} {code}", line.computer_name, line.job.state)
        })
        .collect()
}

#[test]
fn a_job_goes_from_pending_over_offered_to_its_result() {
    let test = TestApp::new();
    let id = active_package(&test);
    assert_eq!(offers(&test, WS), [""; 0], "an unknown computer is offered nothing");
    say_inventory(&test, WS, "Debian GNU/Linux 12", &[]);
    assign_to(&test, id, Target::Computers(vec!["WS042".to_owned()]));
    assert_eq!(states(&test, id), ["ws042 pending -"]);
    assert_eq!(offers(&test, WS), [id.to_string()]);
    assert_eq!(states(&test, id), ["ws042 offered -"]);
    assert_eq!(offers(&test, WS), [id.to_string()], "offered again until there is a result");
    say_result(&test, WS, id, "SUCCESS_3");
    assert_eq!(states(&test, id), ["ws042 succeeded SUCCESS_3"]);
    assert_eq!(offers(&test, WS), [""; 0]);
    let happened = test.app.store.read_now(move |conn| events::list(conn, None, Some(id), 10)).expect("read");
    let texts: Vec<&str> = happened.iter().rev().map(|event| event.text.as_str()).collect();
    assert_eq!(texts, ["NOTIFIED", "SUCCESS_3"]);
}

#[test]
fn a_repeated_report_changes_nothing_and_a_second_result_is_a_note() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    assign_to(&test, id, Target::Computers(vec![WS.to_owned()]));
    offers(&test, WS);
    say_result(&test, WS, id, "SUCCESS");
    say_result(&test, WS, id, "SUCCESS");
    say_result(&test, WS, id, "ERR_EXECUTE");
    assert_eq!(states(&test, id), ["ws042 succeeded SUCCESS"]);
    let happened = test.app.store.read_now(move |conn| events::list(conn, None, Some(id), 10)).expect("read");
    let texts: Vec<&str> = happened.iter().rev().map(|event| event.text.as_str()).collect();
    assert_eq!(texts, ["NOTIFIED", "SUCCESS", "ERR_EXECUTE"]);
}

#[test]
fn what_the_inventory_lists_is_not_offered() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[id]);
    assign_to(&test, id, Target::Computers(vec![WS.to_owned()]));
    assert_eq!(offers(&test, WS), [""; 0]);
    assert_eq!(states(&test, id), ["ws042 already installed SUCCESS_ALREADY_IN_HISTORY"]);
    let forced = JobOptions { force: true, ..JobOptions::default() };
    assign(&test.app, id, Target::Computers(vec![WS.to_owned()]), forced, "alice").expect("assigned");
    assert_eq!(offers(&test, WS), [id.to_string()]);
}

#[test]
fn a_withdrawal_cancels_and_a_late_result_is_still_a_fact() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    assign_to(&test, id, Target::Computers(vec![WS.to_owned()]));
    offers(&test, WS);
    let withdrawn = withdraw::withdraw(&test.app, id).expect("withdrawn");
    assert_eq!((withdrawn.cancelled_jobs, withdrawn.cancelled_deployments), (1, 1));
    assert_eq!(offers(&test, WS), [""; 0]);
    say_result(&test, WS, id, "SUCCESS");
    assert_eq!(states(&test, id), ["ws042 succeeded SUCCESS"]);
}

#[test]
fn all_computers_means_those_of_the_packages_system_and_those_to_come() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    say_inventory(&test, "win1-2024-03-05-09-10-11", "Microsoft Windows 11 Pro", &[]);
    let assigned = assign_to(&test, id, Target::All);
    assert_eq!((assigned.planned, assigned.other_system), (1, 1));
    say_inventory(&test, "late-2024-03-05-09-10-11", "Ubuntu 24.04", &[]);
    say_inventory(&test, "win2-2024-03-05-09-10-11", "Microsoft Windows 11 Pro", &[]);
    assert_eq!(states(&test, id), ["ws042 pending -", "late pending -"]);
}

#[test]
fn assigning_twice_plans_once() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    assert_eq!(assign_to(&test, id, Target::All).planned, 1);
    let again = assign_to(&test, id, Target::Computers(vec![WS.to_owned()]));
    assert_eq!((again.planned, again.already), (0, 1));
    assert_eq!(states(&test, id).len(), 1);
}

#[test]
fn what_cannot_be_assigned_is_told_why() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    say_inventory(&test, "ws042-2025-03-05-09-10-11", "Debian", &[]);
    say_inventory(&test, "win1-2024-03-05-09-10-11", "Microsoft Windows 11 Pro", &[]);
    let withdrawn = active_package(&test);
    withdraw::withdraw(&test.app, withdrawn).expect("withdrawn");
    let refusal = |id: PackageId, name: &str| {
        let target = Target::Computers(vec![name.to_owned()]);
        assign(&test.app, id, target, JobOptions::default(), "alice").expect_err("refused").to_string()
    };
    let sentences = [
        refusal(id, "nobody"),
        refusal(id, "ws042"),
        refusal(id, "win1"),
        refusal("12".parse().expect("an id"), WS),
        refusal(withdrawn, WS),
    ];
    insta::assert_snapshot!(sentences.join("\n"), @r#"
    there is no computer "nobody": it must have sent an inventory first (`dripfeed computer list`)
    there are 2 computers named "ws042": name one by its device id (ws042-2024-03-05-09-10-11, ws042-2025-03-05-09-10-11)
    package 1795168800 is for linux, but win1 runs Microsoft Windows 11 Pro
    there is no package 12: `dripfeed package list` shows them
    package 1795168801 is withdrawn: only an available package can be assigned
    "#);
}

#[test]
fn a_pace_that_never_ends_is_refused_with_the_arithmetic() {
    let mut test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, WS, "Debian", &[]);
    test.app.configured.0.insert("DOWNLOAD_PERIOD_LENGTH".parse().expect("a key"), 1);
    let mut slow = crate::util::request(publish::Source::Nothing, "execute", "true");
    slow.package.priority = dripfeed::model::Priority::from_number(8);
    let slow = test.build(&slow);
    let slow = slow.expect("built").package.id;
    let refused = assign(&test.app, slow, Target::All, JobOptions::default(), "alice").expect_err("refused");
    assert!(refused.to_string().contains("period"), "{refused}");
    assert!(assign(&test.app, id, Target::All, JobOptions::default(), "alice").is_ok());
}

#[test]
fn jobs_wait_until_the_package_is_activated_and_say_so() {
    let test = TestApp::new();
    let id = test.package(b"content", 1000).id;
    say_inventory(&test, WS, "Debian", &[]);
    assert!(assign_to(&test, id, Target::All).not_activated);
    assert_eq!(offers(&test, WS), [""; 0]);
    let line = test.app.store.read_now(move |conn| jobs::list(conn, Some(id), None, None, 1)).expect("read");
    assert_eq!(line[0].job.state, JobState::Pending);
    assert_eq!(line[0].job.withheld.as_deref(), Some("the package is not activated: dripfeed activate <id>"));
}

#[test]
fn the_tag_is_the_servers_once_the_computer_is_known() {
    let test = TestApp::new();
    assert_eq!(say_inventory(&test, WS, "Debian", &[]), InventoryReply::NoAccountUpdate);
    let InventoryReply::AccountUpdate(fields) = say_inventory(&test, WS, "Debian 13", &[]) else {
        panic!("the agent said nothing of a tag, so it must be told");
    };
    assert_eq!((fields[0].key.as_str(), fields[0].value.as_str()), ("TAG", "NA"));
}
