//! Inventories as agents send them: what is written, what is not, what is told back, and one computer under two names.

use std::io::Write as _;

use bytes::Bytes;
use dripfeed::clock::Clock;
use dripfeed::model::limits::RequestLimits;
use dripfeed::model::settings::SettingKey;
use dripfeed::model::{Computer, JobOptions, PackageId, UnixTime};
use dripfeed::protocol::{AccountField, InventoryReply, PrologRequest, Request};
use dripfeed::service::assign::{Target, assign, named};
use dripfeed::service::{account, activate, duplicates, inventory, prolog, report};
use dripfeed::store::{StoreError, computers, fields, installations, jobs, merges, sections, software};
use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::util::{NOW, TestApp, block_on, peer};

const WS: &str = "ws042-2024-03-05-09-10-11";
const LATER: &str = "ws042-2025-01-01-00-00-00";

/// Sends a document with this content.
fn say(test: &TestApp, device_id: &str, content: &str) -> InventoryReply {
    let document = format!(
        "<REQUEST><QUERY>INVENTORY</QUERY><DEVICEID>{device_id}</DEVICEID><CONTENT>{content}</CONTENT></REQUEST>"
    );
    let Ok(Request::Inventory(request)) = Request::parse(document.as_bytes(), &RequestLimits::DEFAULT) else {
        panic!("no inventory: {document}")
    };
    block_on(inventory::take(&test.app, *request, document.into_bytes(), peer())).expect("taken").reply
}

fn find(test: &TestApp, device_id: &str) -> Computer {
    let device_id = device_id.parse().expect("a device id");
    let found = test.app.store.read_now(move |conn| computers::find_by_device_id(conn, &device_id)).expect("read");
    found.expect("it is there")
}

/// A machine: host name, serial number, MAC address, model, free space, titles.
fn machine(serial: &str, mac: &str, free: &str, titles: &[(&str, &str)]) -> String {
    let software: Vec<String> = titles
        .iter()
        .map(|(name, version)| format!("<SOFTWARES><NAME>{name}</NAME><VERSION>{version}</VERSION></SOFTWARES>"))
        .collect();
    format!(
        "<HARDWARE><NAME>ws042</NAME><OSNAME>Debian GNU/Linux 12</OSNAME><DESCRIPTION>up {free}</DESCRIPTION></HARDWARE>
         <BIOS><SSN>{serial}</SSN><SMANUFACTURER>Maker</SMANUFACTURER><SMODEL>Model 7</SMODEL></BIOS>
         <NETWORKS><IPADDRESS>10.0.0.7</IPADDRESS><MACADDR>{mac}</MACADDR></NETWORKS>
         <DRIVES><TYPE>/</TYPE><TOTAL>100</TOTAL><FREE>{free}</FREE></DRIVES>{}",
        software.concat()
    )
}

const MAC: &str = "52:54:00:12:34:56";

fn document(test: &TestApp, computer: &Computer) -> String {
    use std::io::Read as _;
    let id = computer.id;
    let deflated =
        test.app.store.read_now(move |conn| computers::document(conn, id)).expect("read").expect("a document");
    let mut inflated = String::new();
    flate2::read::ZlibDecoder::new(&deflated[..]).read_to_string(&mut inflated).expect("inflated");
    inflated
}

fn titles(test: &TestApp, computer: &Computer) -> Vec<String> {
    let id = computer.id;
    let found = test.app.store.read_now(move |conn| software::of_computer(conn, id)).expect("read");
    found.into_iter().map(|title| format!("{} {}", title.name, title.version)).collect()
}

fn changes(test: &TestApp, computer: &Computer) -> Vec<String> {
    let id = computer.id;
    let found = test.app.store.read_now(move |conn| sections::changes(conn, id, 1000)).expect("read");
    let line = |change: &sections::Change| {
        format!("{} {} {} {}->{}", change.section, change.kind.as_str(), change.item, change.old, change.new)
    };
    found.iter().rev().map(line).collect()
}

fn active_package(test: &TestApp) -> PackageId {
    let id = test.package(b"content", 1000).id;
    let here: dripfeed::model::Location = "localhost:8443/download".parse().expect("a location");
    activate::activate(&test.app, id, here.clone(), here, None, &mut |_, _| {}).expect("activated");
    id
}

fn offers(test: &TestApp, device_id: &str) -> Vec<PackageId> {
    let request = PrologRequest { device_id: device_id.parse().expect("a device id") };
    let reply = block_on(prolog::answer(&test.app, request, peer())).expect("answered").reply;
    reply.download.expect("an option").offers.iter().map(|offer| offer.package).collect()
}

fn later(test: &mut TestApp, days: i64) {
    test.app.clock = Clock::Fixed(UnixTime::from_seconds(NOW.seconds() + days * 86_400));
}

#[test]
fn an_inventory_in_which_only_free_space_is_another_leaves_the_document_until_it_is_a_week_old() {
    let mut test = TestApp::new();
    let first = machine("A1", MAC, "60", &[("vim", "9")]);
    say(&test, WS, &first);
    later(&mut test, 6);
    say(&test, WS, &machine("A1", MAC, "59", &[("vim", "9")]));
    let computer = find(&test, WS);
    assert_eq!(computer.last_inventory, Some(UnixTime::from_seconds(NOW.seconds() + 6 * 86_400)), "it counts");
    assert!(document(&test, &computer).contains("<FREE>60<"));
    later(&mut test, 7);
    say(&test, WS, &machine("A1", MAC, "58", &[("vim", "9")]));
    assert!(document(&test, &computer).contains("<FREE>58<"));
    assert_eq!(changes(&test, &computer), [""; 0]);
}

#[test]
fn differences_of_inventories_are_kept_and_software_follows() {
    let test = TestApp::new();
    say(&test, WS, &machine("A1", MAC, "60", &[("firefox", "119"), ("vim", "9")]));
    let computer = find(&test, WS);
    assert_eq!(changes(&test, &computer), [""; 0], "the first inventory is no change");
    assert_eq!(titles(&test, &computer), ["firefox 119", "vim 9"]);
    say(&test, WS, &machine("A2", MAC, "59", &[("firefox", "120"), ("vim", "9"), ("zsh", "5")]));
    assert_eq!(titles(&test, &computer), ["firefox 120", "vim 9", "zsh 5"]);
    assert_eq!(
        changes(&test, &computer),
        ["BIOS changed  A1->A2", "SOFTWARES changed firefox 119->120", "SOFTWARES added zsh ->5"]
    );
    assert_eq!(find(&test, WS).serial, "A2");
}

#[test]
fn an_inventory_without_software_leaves_what_was_there() {
    let test = TestApp::new();
    say(&test, WS, &machine("A1", MAC, "60", &[("vim", "9")]));
    let computer = find(&test, WS);
    say(&test, WS, &machine("A2", MAC, "60", &[]));
    assert_eq!(titles(&test, &computer), ["vim 9"]);
    say(&test, WS, &machine("A2", MAC, "60", &[("vim", "9")]));
    assert_eq!(changes(&test, &computer), ["BIOS changed  A1->A2"]);
}

#[test]
fn a_stored_document_that_cannot_be_read_is_replaced() {
    let test = TestApp::new();
    say(&test, WS, &machine("A1", MAC, "60", &[("vim", "9")]));
    let id = find(&test, WS).id;
    test.app.store.write_now(move |conn| computers::set_document(conn, id, &[1; 32], b"no zlib")).expect("written");
    say(&test, WS, &machine("A3", MAC, "60", &[("vim", "10")]));
    let computer = find(&test, WS);
    assert_eq!(computer.serial, "A3");
    assert!(document(&test, &computer).contains("A3"));
    assert_eq!(changes(&test, &computer), ["SOFTWARES changed vim 9->10"], "of software the rows tell");
}

#[test]
fn a_document_is_kept_as_it_came_when_its_agent_compressed_it_well() {
    let test = TestApp::new();
    for (serial, level, as_it_came) in [("A1", Compression::best(), true), ("A2", Compression::none(), false)] {
        let xml = format!(
            "<REQUEST><QUERY>INVENTORY</QUERY><DEVICEID>{WS}</DEVICEID><CONTENT>{}</CONTENT></REQUEST>",
            machine(serial, MAC, "60", &[("openssl", "3.0"); 50])
        );
        let mut encoder = ZlibEncoder::new(Vec::new(), level);
        encoder.write_all(xml.as_bytes()).expect("in memory");
        let stream = Bytes::from(encoder.finish().expect("in memory"));
        let Ok(Request::Inventory(request)) = Request::parse(xml.as_bytes(), &RequestLimits::DEFAULT) else {
            panic!("no inventory: {xml}")
        };
        let came = inventory::Document::deflated(xml.clone().into_bytes(), stream.clone());
        block_on(inventory::take(&test.app, *request, came, peer())).expect("taken");
        let computer = find(&test, WS);
        let id = computer.id;
        let stored = test.app.store.read_now(move |conn| computers::document(conn, id)).expect("read");
        assert_eq!(stored.expect("a document") == stream, as_it_came);
        assert_eq!(document(&test, &computer), xml);
    }
}

#[test]
fn many_inventories_of_one_computer_at_once_end_in_one_of_them() {
    let test = TestApp::new();
    say(&test, WS, &machine("A1", MAC, "60", &[("vim", "0")]));
    std::thread::scope(|scope| {
        for n in 0..8 {
            let test = &test;
            scope.spawn(move || say(test, WS, &machine(&format!("B{n}"), MAC, "60", &[("vim", &n.to_string())])));
        }
    });
    let computer = find(&test, WS);
    let version = computer.serial.trim_start_matches('B').to_owned();
    assert_eq!(titles(&test, &computer), [format!("vim {version}")], "all parts are of the same inventory");
    assert!(document(&test, &computer).contains(&format!("<SSN>{}<", computer.serial)));
}

/// The stock Unix agent: forgets all it has and keeps what it is told, but what comes empty.
fn unix_agent(kept: &mut Vec<AccountField>, reply: &InventoryReply) {
    if let InventoryReply::AccountUpdate(told) = reply {
        kept.clone_from(told);
        kept.retain(|field| !field.value.is_empty());
    }
}

/// The stock Windows agent: adds what it is told to what it has.
fn windows_agent(kept: &mut Vec<AccountField>, reply: &InventoryReply) {
    let InventoryReply::AccountUpdate(told) = reply else { return };
    for field in told {
        kept.retain(|own| own.key != field.key);
        kept.push(field.clone());
    }
}

#[test]
fn agents_are_told_tag_and_fields_once() {
    for keep in [unix_agent, windows_agent] {
        let test = TestApp::new();
        let mut kept = vec![AccountField { key: "TAG".to_owned(), value: "FIRST".to_owned() }];
        let send = |kept: &mut Vec<AccountField>| {
            let account: Vec<String> = kept
                .iter()
                .map(|AccountField { key, value }| {
                    format!("<ACCOUNTINFO><KEYNAME>{key}</KEYNAME><KEYVALUE>{value}</KEYVALUE></ACCOUNTINFO>")
                })
                .collect();
            let reply = say(&test, WS, &(machine("A1", MAC, "60", &[]) + &account.concat()));
            keep(kept, &reply);
            matches!(reply, InventoryReply::AccountUpdate(_))
        };
        assert!(!send(&mut kept), "a new computer is believed");
        assert_eq!(find(&test, WS).tag, "FIRST");
        assert!(!send(&mut kept));
        account::set_tag(&test.app, WS, Some("Paris")).expect("set");
        account::set_field(&test.app, WS, "Room", Some("4.12")).expect("set");
        account::set_field(&test.app, WS, "Owner", Some("Ann")).expect("set");
        assert!(send(&mut kept), "it is told");
        assert!(kept.iter().any(|field| field.key == "fields_2" && field.value == "Ann"), "{kept:?}");
        assert!(!send(&mut kept), "and then agrees");
        account::set_field(&test.app, WS, "owner", None).expect("unset");
        assert!(send(&mut kept), "it is told that there is no owner");
        assert!(!send(&mut kept), "and then agrees");
        kept.retain(|field| field.key != "TAG");
        assert!(send(&mut kept), "who forgets is told again");
        assert!(!send(&mut kept));
        assert_eq!(find(&test, WS).tag, "Paris", "no agent changes it");
    }
}

#[test]
fn the_first_inventory_may_bring_fields_that_there_are() {
    let test = TestApp::new();
    say(&test, WS, &machine("A1", MAC, "60", &[]));
    account::set_field(&test.app, WS, "Room", Some("1")).expect("set");
    let account = "<ACCOUNTINFO><KEYNAME>fields_1</KEYNAME><KEYVALUE>2</KEYVALUE></ACCOUNTINFO>
        <ACCOUNTINFO><KEYNAME>fields_9</KEYNAME><KEYVALUE>x</KEYVALUE></ACCOUNTINFO>";
    let other = "ws043-2024-03-05-09-10-11";
    say(&test, other, &format!("<HARDWARE><NAME>ws043</NAME></HARDWARE>{account}"));
    let id = find(&test, other).id;
    let values = test.app.store.read_now(move |conn| fields::of_computer(conn, id)).expect("read");
    let values: Vec<String> = values.into_iter().map(|(field, value)| format!("{} {value}", field.name)).collect();
    assert_eq!(values, ["Room 2"]);
}

#[test]
fn what_is_no_tag_or_field_is_refused_with_a_sentence() {
    let test = TestApp::new();
    say(&test, WS, &machine("A1", MAC, "60", &[]));
    let long = "x".repeat(256);
    let refusals = [
        account::set_tag(&test.app, "nobody", Some("x")).expect_err("unknown").to_string(),
        account::set_tag(&test.app, WS, Some("a\nb")).expect_err("two lines").to_string(),
        account::set_field(&test.app, WS, " ", Some("x")).expect_err("no name").to_string(),
        account::set_field(&test.app, WS, "tag", Some("x")).expect_err("the tag").to_string(),
        account::set_field(&test.app, WS, "fields_7", Some("x")).expect_err("no such number").to_string(),
        account::set_field(&test.app, WS, "Room", None).expect_err("no such field").to_string(),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    there is no computer "nobody": it must have sent an inventory first (`dripfeed computer list`)
    the value is wrong: expected at most 255 characters on one line, not "ab"
    "" is no name of a field: expected 1 to 60 characters on one line, and not fields_NUMBER
    TAG is no field: `dripfeed computer tag COMPUTER TAG` sets it
    "fields_7" is no name of a field: expected 1 to 60 characters on one line, and not fields_NUMBER
    ws042-2024-03-05-09-10-11 has no field "Room"
    "#);
    assert!(account::set_field(&test.app, WS, "Room", Some(&long)).is_err());
    account::set_tag(&test.app, WS, Some("x")).expect("set");
    account::set_tag(&test.app, WS, None).expect("unset");
    assert_eq!(find(&test, WS).tag, "NA");
}

#[test]
fn a_computer_that_was_installed_anew_takes_over_from_itself() {
    let test = TestApp::new();
    let (open, done) = (active_package(&test), active_package(&test));
    say(&test, WS, &machine("A1", MAC, "60", &[("vim", "9")]));
    account::set_tag(&test.app, WS, Some("Paris")).expect("set");
    account::set_field(&test.app, WS, "Room", Some("4.12")).expect("set");
    for id in [open, done] {
        assign(&test.app, id, Target::All, JobOptions::default(), "alice").expect("assigned");
    }
    assert_eq!(offers(&test, WS), [open, done]);
    let result = dripfeed::protocol::DownloadReport {
        device_id: WS.parse().expect("a device id"),
        package: Some(done),
        code: dripfeed::model::ResultCode::from_wire("SUCCESS"),
    };
    block_on(report::take(&test.app, result, peer())).expect("taken");

    let reply = say(&test, LATER, &machine("A1", MAC, "90", &[("vim", "9")]));
    let InventoryReply::AccountUpdate(told) = reply else { panic!("the new agent is told tag and fields") };
    let told: Vec<String> = told.iter().map(|field| format!("{}={}", field.key, field.value)).collect();
    assert_eq!(told, ["TAG=Paris", "fields_1=4.12"]);
    assert_eq!(offers(&test, LATER), [open], "what is done is not done again");
    assert_eq!(offers(&test, WS), []);
    let (old, new) = (find(&test, WS), find(&test, LATER));
    assert!(old.archived_at.is_some() && new.archived_at.is_none());
    let (moved, had, listed) = test
        .app
        .store
        .read_now(move |conn| -> Result<_, StoreError> {
            Ok((
                jobs::list(conn, None, Some(new.id), None, 10)?.len(),
                installations::of_computer(conn, new.id)?.len(),
                computers::list(conn, None, 10)?.len(),
            ))
        })
        .expect("read");
    assert_eq!((moved, had, listed), (2, 1, 1));
    let by_name = test.app.store.read_now(|conn| named(conn, "ws042")).expect("the one that is there");
    assert_eq!(by_name.device_id.as_str(), LATER);

    duplicates::unmerge(&test.app, LATER).expect("taken apart");
    assert_eq!(offers(&test, WS), [open]);
    assert_eq!(offers(&test, LATER), []);
    assert_eq!((find(&test, WS).tag, find(&test, LATER).tag), ("Paris".to_owned(), "NA".to_owned()));
    say(&test, LATER, &machine("A1", "52:54:00:12:34:57", "90", &[]));
    say(&test, LATER, &machine("A1", MAC, "91", &[]));
    assert!(find(&test, WS).archived_at.is_none(), "what was taken apart stays so");
    assert!(matches!(duplicates::unmerge(&test.app, LATER), Err(duplicates::DuplicateError::NoMerge(_))));
}

#[test]
fn all_that_is_asked_for_must_be_the_same_and_mean_something() {
    let merged = |mask: i64, first: (&str, &str), second: (&str, &str)| {
        let mut test = TestApp::new();
        test.app.configured.0.insert(SettingKey::Duplicates, mask);
        say(&test, WS, &machine(first.0, first.1, "60", &[]));
        say(&test, LATER, &machine(second.0, second.1, "60", &[]));
        find(&test, WS).archived_at.is_some()
    };
    let other = "52:54:00:00:00:01";
    assert!(merged(15, ("A1", MAC), ("A1", MAC)));
    assert!(!merged(0, ("A1", MAC), ("A1", MAC)), "off");
    assert!(!merged(8, ("A1", MAC), ("A1", MAC)), "the model alone is no sign");
    assert!(!merged(15, ("A1", MAC), ("A2", MAC)));
    assert!(!merged(15, ("A1", MAC), ("A1", other)));
    assert!(merged(3, ("A1", MAC), ("A1", other)));
    assert!(merged(4, ("A1", MAC), ("A2", &MAC.to_uppercase())));
    assert!(merged(1, ("A1", MAC), ("A2", other)));
    assert!(!merged(16, ("A1", MAC), ("A1", MAC)), "there is no UUID");
    for nothing in ["", "0", "To be filled by O.E.M.", "None"] {
        assert!(!merged(2, (nothing, MAC), (nothing, MAC)), "{nothing:?}");
    }
    for nothing in ["", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "02:42:ac:11:00:02"] {
        assert!(!merged(4, ("A1", nothing), ("A1", nothing)), "{nothing:?}");
    }
}

#[test]
fn an_agent_may_say_who_it_was_in_both_places() {
    for content in [
        format!("<OLD_DEVICEID>{WS}</OLD_DEVICEID>"),
        format!("<DOWNLOAD><HISTORY><OLD_DEVICEID>{WS}</OLD_DEVICEID></HISTORY></DOWNLOAD>"),
    ] {
        let test = TestApp::new();
        say(&test, WS, "<HARDWARE><NAME>ws042</NAME></HARDWARE>");
        let new = "renamed-2024-03-05-09-10-11";
        say(&test, new, &format!("<HARDWARE><NAME>renamed</NAME></HARDWARE>{content}"));
        assert!(find(&test, WS).archived_at.is_some(), "{content}");
        let id = find(&test, new).id;
        let record = test.app.store.read_now(move |conn| merges::of_computer(conn, id)).expect("read");
        assert_eq!(record[0].reason, format!("the agent said that it was {WS}"));
    }
}

#[test]
fn two_agents_on_one_machine_are_merged_once_and_then_left_alone() {
    let test = TestApp::new();
    let report = |device_id, free| say(&test, device_id, &machine("A1", MAC, free, &[]));
    report(WS, "1");
    report(LATER, "1");
    assert!(find(&test, WS).archived_at.is_some());
    report(WS, "2");
    assert!(find(&test, WS).archived_at.is_none() && find(&test, LATER).archived_at.is_none());
    let id = find(&test, WS).id;
    let record = test.app.store.read_now(move |conn| merges::of_computer(conn, id)).expect("read");
    assert_eq!(record.len(), 1);
}

#[test]
fn another_rule_for_duplicates_is_applied_to_inventories_that_stay_the_same() {
    let mut test = TestApp::new();
    // A virtual machine without a serial number, with two agents: the default rule cannot know that they are one.
    let report = |test: &TestApp, device_id| say(test, device_id, &machine("", MAC, "1", &[]));
    for device_id in [WS, LATER, WS] {
        report(&test, device_id);
    }
    assert!(find(&test, WS).archived_at.is_none() && find(&test, LATER).archived_at.is_none());
    test.app.configured.0.insert(SettingKey::Duplicates, 5);
    report(&test, LATER);
    assert!(find(&test, WS).archived_at.is_some(), "name and MAC address are the same");
    let (id, before) = (find(&test, LATER).id, changes(&test, &find(&test, LATER)));
    let record = test.app.store.read_now(move |conn| merges::of_computer(conn, id)).expect("read");
    assert_eq!(record[0].reason, "the same name, MAC address");
    assert_eq!(before, [""; 0], "nothing of the computer is another");
}

#[test]
fn an_archived_computer_is_offered_nothing_until_its_next_inventory() {
    let test = TestApp::new();
    let id = active_package(&test);
    say(&test, WS, &machine("A1", MAC, "60", &[]));
    assign(&test.app, id, Target::All, JobOptions::default(), "alice").expect("assigned");
    duplicates::archive(&test.app, "ws042").expect("archived");
    assert_eq!(offers(&test, WS), []);
    let refusals = [
        duplicates::archive(&test.app, "ws042").expect_err("twice").to_string(),
        assign(&test.app, id, Target::Computers(vec![WS.to_owned()]), JobOptions::default(), "alice")
            .expect_err("archived")
            .to_string(),
        duplicates::merge(&test.app, WS, WS, "alice").expect_err("itself").to_string(),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r"
    ws042-2024-03-05-09-10-11 is archived: `dripfeed computer restore ws042-2024-03-05-09-10-11` takes it back first
    ws042-2024-03-05-09-10-11 is archived and is offered nothing: `dripfeed computer restore ws042-2024-03-05-09-10-11` takes it back
    both names are those of ws042-2024-03-05-09-10-11: a merge needs two computers
    ");
    say(&test, WS, &machine("A1", MAC, "60", &[]));
    assert_eq!(offers(&test, WS), [id], "the very same inventory brings it back");
    duplicates::archive(&test.app, WS).expect("archived");
    duplicates::restore(&test.app, WS).expect("restored");
    assert_eq!(offers(&test, WS), [id]);
    assert_eq!(
        duplicates::restore(&test.app, WS).expect_err("it is there").to_string(),
        "ws042-2024-03-05-09-10-11 is not archived, so there is nothing to restore"
    );
}

#[test]
fn a_merge_by_hand_leaves_an_open_job_of_the_same_package_where_it_is() {
    let test = TestApp::new();
    let id = active_package(&test);
    let other = "other-2024-03-05-09-10-11";
    say(&test, WS, &machine("A1", MAC, "60", &[]));
    say(&test, other, "<HARDWARE><NAME>other</NAME><OSNAME>Debian</OSNAME></HARDWARE>");
    assign(&test.app, id, Target::All, JobOptions::default(), "alice").expect("assigned");
    duplicates::merge(&test.app, "other", "ws042", "alice").expect("merged");
    assert_eq!(offers(&test, WS), [id]);
    assert_eq!(offers(&test, other), []);
    duplicates::unmerge(&test.app, "other").expect("taken apart");
    assert_eq!((offers(&test, WS), offers(&test, other)), (vec![id], vec![id]));
}
