//! Looking round in networks, and the registry of Windows computers: who is asked what, and what becomes of the answers.

use std::fmt::Write as _;
use std::time::Duration;

use dripfeed::clock::Clock;
use dripfeed::model::limits::RequestLimits;
use dripfeed::model::settings::SettingKey;
use dripfeed::model::{RegistryQuery, RegistryTree};
use dripfeed::protocol::{Decision, PrologReply, PrologRequest, Request};
use dripfeed::service::discovery::{add_registry_query, hosts, networks, remove_registry_query};
use dripfeed::service::settings::{Whose, set};
use dripfeed::service::{App, duplicates, inventory, prolog};
use dripfeed::store::computers;
use proptest::prelude::*;

use crate::util::{NOW, TestApp, block_on, peer};

/// The application so many hours later.
fn at(test: &TestApp, hours: u64) -> App {
    App { clock: Clock::Fixed(NOW.plus(Duration::from_hours(hours))), ..test.app.clone() }
}

fn device(name: &str) -> String {
    format!("{name}-2024-03-05-09-10-11")
}

/// An inventory of a computer with an adapter in 10.1.`net`.0/24.
fn say_inventory(app: &App, name: &str, net: u8, host: u8, more: &str) {
    let document = format!(
        "<REQUEST><QUERY>INVENTORY</QUERY><DEVICEID>{}</DEVICEID><CONTENT><HARDWARE><NAME>{name}</NAME></HARDWARE>
         <NETWORKS><IPADDRESS>127.0.0.1</IPADDRESS><IPMASK>255.0.0.0</IPMASK><IPSUBNET>127.0.0.0</IPSUBNET></NETWORKS>
         <NETWORKS><IPADDRESS>10.1.{net}.{host}</IPADDRESS><IPMASK>255.255.255.0</IPMASK>
         <IPSUBNET>10.1.{net}.0</IPSUBNET><MACADDR>02:00:00:00:{net:02x}:{host:02x}</MACADDR></NETWORKS>{more}</CONTENT></REQUEST>",
        device(name)
    );
    let document = document.into_bytes();
    let Ok(Request::Inventory(request)) = Request::parse(&document, &RequestLimits::DEFAULT) else {
        panic!("an inventory")
    };
    block_on(inventory::take(app, *request, document, peer())).expect("taken");
}

fn say_prolog(app: &App, name: &str) -> PrologReply {
    let request = PrologRequest { device_id: device(name).parse().expect("a device id") };
    block_on(prolog::answer(app, request, peer())).expect("answered").reply
}

/// Where it is told to look round.
fn told(app: &App, name: &str) -> String {
    let reply = say_prolog(app, name);
    assert!(reply.ip_discover.is_none() || reply.decision == Decision::Send, "what is seen comes with an inventory");
    reply.ip_discover.map_or("-".to_owned(), |option| option.network.to_string())
}

fn give(app: &App, key: SettingKey, value: &str, whose: Whose) {
    set(app, key, value, whose).expect("set");
}

/// Checks in that often, every `hours`, the last time at `until`, and then sends an inventory.
fn live(test: &TestApp, name: &str, host: u8, hours: u64, until: u64) {
    for back in (0..4).rev() {
        say_prolog(&at(test, until - back * hours), name);
    }
    say_inventory(&at(test, until), name, 2, host, "");
}

#[test]
fn who_checks_in_most_often_looks_round_and_a_silent_one_is_replaced() {
    let test = TestApp::new();
    for (name, host) in [("often", 1), ("daily", 2), ("rare", 3)] {
        say_inventory(&test.app, name, 2, host, "");
    }
    // Off until somebody wants it.
    live(&test, "often", 1, 1, 100);
    assert_eq!(told(&at(&test, 100), "often"), "-");
    give(&test.app, SettingKey::IpDiscover, "1", Whose::Everyone);
    // One that has not checked in three times is not elected.
    say_inventory(&at(&test, 100), "daily", 2, 2, "");
    assert_eq!(told(&at(&test, 100), "daily"), "-");
    live(&test, "rare", 3, 33, 100);
    assert_eq!(told(&at(&test, 100), "rare"), "10.1.2.0", "the place was free");
    live(&test, "daily", 2, 24, 101);
    assert_eq!(told(&at(&test, 101), "daily"), "-", "not clearly better");
    live(&test, "often", 1, 1, 101);
    let later = at(&test, 101);
    assert_eq!((told(&later, "often"), told(&later, "rare")), ("-".to_owned(), "10.1.2.0".to_owned()));
    // Silent for longer than IPDISCOVER_MAX_ALIVE days.
    let much_later = 101 + 8 * 24;
    live(&test, "daily", 2, 24, much_later);
    assert_eq!(told(&at(&test, much_later), "daily"), "10.1.2.0");
    say_inventory(&at(&test, much_later), "rare", 2, 3, "");
    assert_eq!(told(&at(&test, much_later), "rare"), "-");
    // One that moves gives its place up, and takes one where it goes.
    say_inventory(&at(&test, much_later), "daily", 9, 2, "");
    assert_eq!(told(&at(&test, much_later), "daily"), "10.1.9.0");
    give(&test.app, SettingKey::IpDiscover, "0", Whose::Everyone);
    assert_eq!(told(&at(&test, much_later), "daily"), "-");
}

#[test]
fn a_computer_is_kept_out_or_always_asked() {
    let test = TestApp::new();
    let app = &test.app;
    give(app, SettingKey::IpDiscover, "2", Whose::Everyone);
    give(app, SettingKey::IpDiscoverLatency, "250", Whose::Everyone);
    say_inventory(app, "a", 2, 1, "");
    live(&test, "a", 1, 1, 10);
    assert_eq!(told(app, "a"), "10.1.2.0");
    let mine = || Whose::Computer("a".to_owned());
    give(app, SettingKey::IpDiscover, "0", mine());
    assert_eq!(told(app, "a"), "-");
    say_inventory(app, "b", 2, 2, "");
    assert_eq!(told(app, "b"), "-", "it has come once");
    give(app, SettingKey::IpDiscover, "2", Whose::Computer("b".to_owned()));
    assert_eq!(told(app, "b"), "10.1.2.0", "without an election");
    assert_eq!(say_prolog(app, "b").ip_discover.map(|option| option.latency), Some(250));
    // A computer that is put away is asked nothing, and its place is free.
    give(app, SettingKey::IpDiscover, "1", mine());
    say_inventory(app, "a", 2, 1, "");
    assert_eq!(networks(app).expect("read")[0].elected, ["a"]);
    duplicates::archive(app, "a").expect("put away");
    assert_eq!(told(app, "a"), "-");
}

#[test]
fn who_was_seen_is_kept_with_whose_it_is() {
    let test = TestApp::new();
    let app = &test.app;
    let seen = "<IPDISCOVER><H><I>10.1.2.1</I><M>02:00:00:00:02:01</M><N>-</N></H>
        <H I=\"10.1.2.77\" M=\"aa-bb-cc-00-00-01\" N=\"printer\"/>
        <H><I>10.1.2.78</I><M>AA:BB:CC:00:00:02</M></H>
        <H><I>not an address</I><M>AA:BB:CC:00:00:03</M></H><H><I>10.1.2.79</I><M>00:00:00:00:00:00</M></H>
        <H><I>192.0.2.1</I><M>AA:BB:CC:00:00:04</M><N>elsewhere</N></H></IPDISCOVER>";
    say_inventory(app, "known", 2, 1, "");
    say_inventory(app, "scout", 2, 2, seen);
    say_inventory(app, "alone", 3, 1, "");
    // The same again a day later, by an inventory in which nothing else is new; one host has moved.
    let later = at(&test, 24);
    say_inventory(&later, "scout", 2, 2, &seen.replace("10.1.2.78", "10.1.2.80"));
    let mut story = String::new();
    for network in networks(app).expect("read") {
        let _ = writeln!(
            story,
            "{}: {} computers, {} seen, {} unknown",
            network.network, network.computers, network.seen, network.strangers
        );
    }
    for host in hosts(app, "10.1.2.0").expect("known") {
        let hours = host.seen.map(|(first, last)| last.since(first).as_secs() / 3600);
        let _ = writeln!(story, "  {} {} {:?} {:?} {hours:?}", host.ip_address, host.mac, host.name, host.computer);
    }
    insta::assert_snapshot!(story, @r#"
    10.1.2.0: 2 computers, 3 seen, 2 unknown
    10.1.3.0: 1 computers, 0 seen, 0 unknown
      10.1.2.1 02:00:00:00:02:01 "" Some("known") Some(24)
      10.1.2.2 02:00:00:00:02:02 "" Some("scout") None
      10.1.2.77 AA:BB:CC:00:00:01 "printer" None Some(24)
      10.1.2.80 AA:BB:CC:00:00:02 "" None Some(24)
    "#);
    let error = hosts(app, "10.9.9.0").expect_err("nobody");
    insta::assert_snapshot!(error, @"no network 10.9.9.0 is known: `dripfeed network list` shows those that are");
}

#[test]
fn windows_computers_are_asked_what_is_listed_in_its_order() {
    let test = TestApp::new();
    let app = &test.app;
    say_inventory(app, "win", 2, 1, "");
    let query = |name: &str, value: &str| {
        RegistryQuery::new(name, RegistryTree::LocalMachine, r"SOFTWARE\Example", value).expect("a question")
    };
    for name in ["Zeta", "alpha", "Mid"] {
        add_registry_query(app, query(name, "*")).expect("added");
    }
    let error = add_registry_query(app, query("ALPHA", "Version")).expect_err("there");
    insta::assert_snapshot!(error, @r#"there is a question "ALPHA" already: `dripfeed registry remove` takes it back"#);
    let asked = |app: &App, name: &str| -> Vec<String> {
        say_prolog(app, name).registry.iter().map(|query| query.name().to_owned()).collect()
    };
    assert_eq!(asked(app, "win"), ["alpha", "Mid", "Zeta"]);
    assert_eq!(asked(app, "stranger"), ["alpha", "Mid", "Zeta"], "its first inventory has the answers");
    remove_registry_query(app, "zeta").expect("removed");
    let error = remove_registry_query(app, "zeta").expect_err("gone");
    insta::assert_snapshot!(error, @r#"there is no question "zeta": `dripfeed registry list` shows them"#);
    give(app, SettingKey::Registry, "0", Whose::Everyone);
    assert_eq!(asked(app, "win"), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_inventory_says_is_kept_unchanged(texts in prop::collection::vec("[^\\x00-\\x08\\x0b-\\x1f\u{7f}-\u{9f}\u{fffe}\u{ffff}]{0,300}", 4..5)) {
        let escaped: Vec<String> =
            texts.iter().map(|text| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")).collect();
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><REQUEST><QUERY>INVENTORY</QUERY><DEVICEID>{}</DEVICEID><CONTENT>\
             <HARDWARE><NAME>{}</NAME><OSNAME>{}</OSNAME></HARDWARE><BIOS><SSN>{}</SSN></BIOS>\
             <REGISTRY><NAME>n</NAME><REGVALUE>{}</REGVALUE></REGISTRY></CONTENT></REQUEST>",
            device("ws"), escaped[0], escaped[1], escaped[2], escaped[3]
        ).into_bytes();
        let test = TestApp::new();
        let request = Request::parse(&document, &RequestLimits::DEFAULT);
        let Ok(Request::Inventory(request)) = request else { panic!("{request:?}") };
        block_on(inventory::take(&test.app, *request, document.clone(), peer())).expect("taken");
        let id = device("ws").parse().expect("a device id");
        let (computer, stored, found) = test.app.store.read_now(move |conn| {
            let computer = computers::find_by_device_id(conn, &id)?.expect("it is there");
            let stored = computers::document(conn, computer.id)?.expect("it is kept");
            let found = dripfeed::store::registry::values_of(conn, computer.id)?;
            Ok::<_, dripfeed::store::StoreError>((computer, stored, found))
        }).expect("read");
        let column = |text: &str| -> String {
            text.replace("\r\n", "\n").trim().chars().take(255).collect()
        };
        prop_assert_eq!(&computer.name, &column(&texts[0]));
        prop_assert_eq!(&computer.os_name, &column(&texts[1]));
        prop_assert_eq!(&computer.serial, &column(&texts[2]));
        prop_assert_eq!(found.first().map(|found| found.value.clone()).unwrap_or_default(), column(&texts[3]));
        let mut kept = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::ZlibDecoder::new(&stored[..]), &mut kept).expect("deflated");
        prop_assert_eq!(kept, document, "to the byte");
    }
}
