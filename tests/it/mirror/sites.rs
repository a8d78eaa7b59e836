//! The server knows its mirrors: who holds what, who is near whom, and what agents are told because of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use dripfeed::clock::Clock;
use dripfeed::model::{Location, PackageId};
use dripfeed::protocol::{MirrorReport, PackageFilter, PrologRequest};
use dripfeed::service::assign::Target;
use dripfeed::service::mirrors::{self, MirrorError};
use dripfeed::service::{Peer, activate, prolog, why};
use dripfeed::store::mirrors as stored;

use super::Server;
use crate::jobs::{WS, active_package, assign_to, say_inventory};
use crate::util::{NOW, TestApp, block_on, peer};

pub(super) const HERE: &str = "10.1.2.3";

fn location(text: &str) -> Location {
    text.parse().expect(text)
}

/// What a computer at that address is told.
pub(super) fn told(test: &TestApp, address: &str) -> Vec<String> {
    let request = PrologRequest { device_id: WS.parse().expect("a device id") };
    let peer = Peer { address: address.parse().expect("an address"), ..peer() };
    let reply = block_on(prolog::answer(&test.app, request, peer)).expect("answered").reply;
    reply.download.expect("an option").offers.iter().map(|offer| offer.fragment_location.to_string()).collect()
}

pub(super) fn add(test: &TestApp, name: &str, at: &str) {
    let added = mirrors::add(&test.app, name, location(at), PackageFilter::default(), mirrors::SILENT_AFTER);
    assert_eq!(added.expect("added").len(), 32);
}

pub(super) fn report(test: &TestApp, name: &str, packages: &[PackageId], from: &str) {
    let name = name.to_owned();
    let wanted = name.clone();
    let mirror = test.app.store.read_now(move |conn| stored::find(conn, &wanted)).expect("read").expect("it is there");
    let said = MirrorReport { generation: 1, bytes: 10, problem: String::new(), packages: packages.to_vec() };
    block_on(mirrors::report(&test.app, mirror, said, from.parse().expect("an address"))).expect("taken");
}

pub(super) fn site(test: &TestApp, name: &str, ranges: &[&str], near: &[&str]) -> Result<(), MirrorError> {
    let ranges = ranges.iter().map(|range| range.parse().expect("a range")).collect();
    mirrors::add_site(&test.app, name, ranges, near.iter().map(ToString::to_string).collect())
}

#[test]
fn a_computer_is_sent_to_the_nearest_mirror_that_holds_the_package() {
    let test = TestApp::new();
    say_inventory(&test, WS, "Debian", &[]);
    let id = active_package(&test);
    assign_to(&test, id, Target::All);
    let server = "localhost:8443/download";
    assert_eq!(told(&test, HERE), [server], "without sites");
    add(&test, "near", "$IP$:8080/$NAME$");
    add(&test, "far", "far.example/download");
    site(&test, "paris", &["10.1.0.0/16", "fd00:1::/64"], &["near", "far"]).expect("made");
    assert_eq!(told(&test, HERE), [server], "nobody has reported");
    report(&test, "far", &[id], "10.9.0.1");
    assert_eq!(told(&test, HERE), ["far.example/download"]);
    report(&test, "near", &[], "10.1.0.5");
    assert_eq!(told(&test, HERE), ["far.example/download"], "the nearest one does not hold it yet");
    report(&test, "near", &[id], "10.1.0.5");
    assert_eq!(told(&test, HERE), ["10.1.0.5:8080/near"]);
    assert_eq!(told(&test, "fd00:1::7"), ["10.1.0.5:8080/near"]);
    assert_eq!(told(&test, "10.2.0.1"), [server], "of no site");
    // A narrower range within it is another site.
    site(&test, "lab", &["10.1.2.0/24"], &["far"]).expect("made");
    assert_eq!(told(&test, HERE), ["far.example/download"]);
    mirrors::remove_site(&test.app, "lab").expect("removed");
    report(&test, "near", &[], "10.1.0.5");
    assert_eq!(told(&test, HERE), ["far.example/download"], "it was withdrawn there");
    assert_eq!(mirrors::remove(&test.app, "far").expect("removed"), ["paris"]);
    assert_eq!(told(&test, HERE), [server]);
}

#[test]
fn a_mirror_that_is_not_heard_of_is_not_offered_and_why_says_so() {
    let mut test = TestApp::new();
    say_inventory(&test, WS, "Debian", &[]);
    let id = active_package(&test);
    assign_to(&test, id, Target::All);
    add(&test, "near", "near.example/download");
    site(&test, "home", &["127.0.0.0/8", HERE], &["near"]).expect("made");
    report(&test, "near", &[id], HERE);
    assert_eq!(told(&test, HERE), ["near.example/download"]);
    let facts = |test: &TestApp| {
        let why = why::why(&test.app, WS, id).expect("an answer");
        let all: Vec<String> = why.evidence.into_iter().map(|fact| fact.text).collect();
        all.into_iter().find(|text| text.starts_with("mirror near")).expect("the mirror is a fact")
    };
    assert_eq!(facts(&test), "mirror near of site home is offered: fragments come from near.example/download");
    test.app.clock = Clock::Fixed(NOW.plus(mirrors::SILENT_AFTER).plus(Duration::from_secs(1)));
    assert_eq!(told(&test, HERE), ["localhost:8443/download"]);
    assert_eq!(facts(&test), "mirror near of site home is not offered: it has not reported for too long");
}

#[test]
fn the_list_of_locations_ends_with_the_server() {
    let test = TestApp::new();
    let id = active_package(&test);
    for name in ["a", "b", "c"] {
        add(&test, name, &format!("{name}.example/d"));
        report(&test, name, if name == "b" { &[] } else { std::slice::from_ref(&id) }, HERE);
    }
    site(&test, "s", &["10.0.0.0/8"], &["c", "b", "a"]).expect("made");
    let address: IpAddr = HERE.parse().expect("an address");
    let nearby = test.app.store.read_now(move |conn| stored::nearby(conn, address, &[id])).expect("read");
    let list = |activated: &str| -> Vec<String> {
        let found = mirrors::locations(&nearby, id, &location(activated), NOW);
        found.into_iter().map(|(location, mirror)| format!("{location} {}", mirror.unwrap_or_default())).collect()
    };
    assert_eq!(list("server/download"), ["c.example/d c", "a.example/d a", "server/download "]);
    assert_eq!(list("$IP$:81/$NAME$"), ["10.1.2.3:81/c c", "10.1.2.3:81/a a"]);
}

#[test]
fn a_location_of_mirrors_alone_is_withheld_where_there_is_none() {
    let test = TestApp::new();
    say_inventory(&test, WS, "Debian", &[]);
    let id = test.package(b"content", 1000).id;
    let info = location("localhost:8443/download");
    activate::activate(&test.app, id, info, location("$IP$/local"), None, &mut |_, _| {}).expect("activated");
    assign_to(&test, id, Target::All);
    assert!(told(&test, HERE).is_empty());
    let why = why::why(&test.app, WS, id).expect("an answer");
    assert_eq!(why.stage.as_str(), "no mirror");
    assert!(why.sentence.contains("only on mirrors"), "{}", why.sentence);
}

#[test]
fn names_are_checked_and_tokens_are_kept_as_digests() {
    let test = TestApp::new();
    add(&test, "near", "near.example/download");
    let again = |name: &str| {
        mirrors::add(&test.app, name, location("x/y"), PackageFilter::default(), mirrors::SILENT_AFTER)
            .expect_err(name)
            .to_string()
    };
    assert!(again("near").contains("already"));
    for wrong in ["", "Near", "a b", "-a", "é", &"a".repeat(65)] {
        assert!(again(wrong).contains("is no name"), "{wrong}");
    }
    assert!(matches!(site(&test, "s", &["10.0.0.0/8"], &["far"]), Err(MirrorError::Unknown(name)) if name == "far"));
    assert!(matches!(site(&test, "s", &["10.0.0.0/8"], &["near", "near"]), Err(MirrorError::Twice(_))));
    site(&test, "s", &["10.0.0.0/8"], &["near"]).expect("made");
    assert!(matches!(site(&test, "s", &["10.0.0.0/8"], &["near"]), Err(MirrorError::SiteExists(_))));
    assert!(matches!(mirrors::remove(&test.app, "far"), Err(MirrorError::Unknown(_))));
    assert!(matches!(mirrors::remove_site(&test.app, "t"), Err(MirrorError::SiteUnknown(_))));
    let first = mirrors::renew_token(&test.app, "near").expect("a token");
    let second = mirrors::renew_token(&test.app, "near").expect("a token");
    let whose =
        |token: &str| block_on(mirrors::authenticate(&test.app, token)).expect("read").map(|mirror| mirror.name);
    assert_eq!((whose(&first), whose(&second).as_deref(), whose("")), (None, Some("near"), None));
}

#[test]
fn what_a_mirror_says_it_holds_replaces_what_it_said() {
    let test = TestApp::new();
    add(&test, "m", "m.example/d");
    let id = |number| PackageId::new(number).expect("an id");
    let held = || test.app.store.read_now(|conn| stored::held(conn, "m")).expect("read");
    let many: Vec<PackageId> = (1..=20_000).map(id).collect();
    report(&test, "m", &many, HERE);
    assert_eq!(held(), many, "more than one statement takes");
    report(&test, "m", &[id(5), id(30_000)], HERE);
    assert_eq!(held().into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([id(5), id(30_000)]));
}

#[test]
fn a_mirror_reports_with_its_token_and_gets_what_it_may_have() {
    let server = Server::start();
    let id = server.build(1500);
    server.dripfeed(&["mirror", "add", "paris", "paris.example/download", "--packages", "x,nothing*"]);
    let text = server.dripfeed(&["mirror", "token", "paris", "--json"]);
    let token =
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["token"].as_str().expect("it").to_owned();
    let shown = || -> serde_json::Value {
        serde_json::from_str(&server.dripfeed(&["mirror", "show", "paris", "--json"])).expect("JSON")
    };
    assert_eq!(shown()["health"], "never reported");
    let key = server.dripfeed(&["mirror", "key"]);
    server.said("sync", &["--token", &token, "--key", &key]);
    let after = shown();
    assert_eq!((&after["health"], &after["generation"]), (&"fine".into(), &1.into()));
    assert_eq!(after["packages"][0].to_string(), id);
    // An unchanged tree is a report all the same.
    assert_eq!(server.said("sync", &["--token", &token]), "nothing changed since generation 1");
    let refused = server.mirror("sync", &["--token", "wrong"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("401"), "{refused:?}");
    // Registered for something else it gets nothing, though the tree is the same.
    server.dripfeed(&["mirror", "remove", "paris"]);
    let text = server.dripfeed(&["mirror", "add", "paris", "p.example/d", "--packages", "other", "--json"]);
    let token =
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["token"].as_str().expect("it").to_owned();
    assert!(server.said("sync", &["--token", &token]).ends_with("1 withdrawn"));
    assert!(!server.copy().join("download").join(&id).exists());
    // What it chooses itself cuts, too.
    assert!(server.said("sync", &["--packages", "X*"]).contains("1 package came"));
    assert!(server.said("sync", &["--packages", "y*"]).ends_with("1 withdrawn"), "another choice is another sync");
    assert_eq!(server.said("sync", &["--packages", "y*"]), "nothing changed since generation 1");
}
