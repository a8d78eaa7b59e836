//! Waking computers: who is sent what, how many a second, who came, and for deployments once.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use dripfeed::clock::Clock;
use dripfeed::config::server::Waking;
use dripfeed::fetch::broadcast::Broadcaster;
use dripfeed::model::access::{Right, Rights, Scope};
use dripfeed::model::gates::Gates;
use dripfeed::model::query::{Expr, Query};
use dripfeed::model::wake::WakeState;
use dripfeed::model::{ComputerId, DeploymentId, JobOptions, PackageId, UnixTime};
use dripfeed::protocol::Network;
use dripfeed::service::assign::{Bundle, Target, Terms, assign_bundle, preview};
use dripfeed::service::desk::computers::{Asked, Bulk, Chosen};
use dripfeed::service::desk::{Actor, Desk, Kind, Via};
use dripfeed::service::gates::read;
use dripfeed::service::series::{Repeat, Wish};
use dripfeed::service::{App, deployments, groups, wake};
use dripfeed::store::{audit, computers, wakes};

use crate::jobs::{active_package, say_inventory, say_prolog};
use crate::util::process::Site;
use crate::util::{NOW, TestApp};

fn how(per_second: usize) -> Waking {
    Waking { per_second, ports: vec![9, 7], repeats: 2, any_network: false }
}

fn later(app: &App, seconds: i64) -> App {
    App { clock: Clock::Fixed(UnixTime::from_seconds(NOW.seconds() + seconds)), ..app.clone() }
}

fn device(n: usize) -> String {
    format!("ws{n:03}-2024-03-05-09-10-11")
}

/// Computers that sent an inventory at the tests' present; those of an odd number have no card.
fn computers(test: &TestApp, count: usize) {
    for n in 0..count {
        say_inventory(test, &device(n), "Debian", &[]);
        let adapters = adapters(n);
        let device = device(n).parse().expect("a device id");
        let written = test.app.store.write_now(move |conn| {
            let found = computers::find_by_device_id(conn, &device)?.expect("it is there");
            computers::set_networks(conn, found.id, &adapters)
        });
        written.expect("written");
    }
}

fn adapters(n: usize) -> Vec<Network> {
    let mac = if n.is_multiple_of(2) { format!("52:54:00:00:00:{n:02X}") } else { "00:00:00:00:00:00".to_owned() };
    let (ip_address, mask) = ("10.1.2.3".to_owned(), "255.255.255.0".to_owned());
    vec![Network { mac, ip_address, mask, subnet: "10.1.2.0".to_owned() }]
}

fn actor(name: &str, rights: Rights, scope: Scope) -> Actor {
    Actor { name: name.to_owned(), token: None, via: Via::Console, peer_address: String::new(), rights, scope }
}

fn desk(app: &App, name: &str, rights: Rights, scope: Scope) -> Desk {
    Desk::new(app.clone(), actor(name, rights, scope))
}

fn ann(app: &App) -> Desk {
    desk(app, "ann", Rights::deployer(), Scope::ALL)
}

/// Takes a turn; gives each packet's card and where it went.
fn turn(app: &App, per_second: usize) -> Vec<(u8, String)> {
    let mut packets = Vec::new();
    let mut post = |packet: &[u8], to: SocketAddr| -> io::Result<()> {
        assert_eq!((packet.len(), &packet[..6]), (102, &[0xff; 6][..]));
        packets.push((packet[11], to.to_string()));
        Ok(())
    };
    wake::take_turns(app, &how(per_second), &mut post).expect("a turn");
    packets
}

/// The last bytes of the cards that a turn woke.
fn woken(app: &App, per_second: usize) -> BTreeSet<u8> {
    turn(app, per_second).into_iter().map(|(card, _)| card).collect()
}

fn state(app: &App, n: usize) -> Option<WakeState> {
    let desk = ann(app);
    let computer = desk.computer(&device(n)).expect("a computer");
    desk.last_wake(&computer).expect("read").map(|wake| wake.state)
}

fn deploy(app: &App, package: PackageId, target: Target, options: &JobOptions) -> DeploymentId {
    let bundle = Bundle::from(package).waking(true);
    assign_bundle(app, &bundle, target, options, "ann", None).expect("assigned")[0].deployment
}

fn counts(app: &App, id: DeploymentId) -> Vec<(WakeState, u64)> {
    wake::of_deployment(app, id).expect("read").expect("it wakes").counts
}

#[test]
fn a_computer_is_sent_its_packet_to_its_own_network_and_to_this_one() {
    let test = TestApp::new();
    computers(&test, 1);
    ann(&test.app).wake_computer("ws000").expect("woken");
    assert_eq!(state(&test.app, 0), Some(WakeState::Waiting));
    let once = ["10.1.2.255:9", "10.1.2.255:7", "255.255.255.255:9", "255.255.255.255:7"];
    let twice: Vec<(u8, String)> = once.iter().chain(&once).map(|to| (0, (*to).to_owned())).collect();
    assert_eq!(turn(&later(&test.app, 1), 10), twice);
    assert_eq!(turn(&later(&test.app, 2), 10), [], "it was its turn");
    assert_eq!(state(&test.app, 0), Some(WakeState::Sent));
}

#[test]
fn the_bytes_go_through_a_socket_as_they_are() {
    let test = TestApp::new();
    computers(&test, 1);
    ann(&test.app).wake_computer("ws000").expect("woken");
    let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let here = listener.local_addr().expect("an address");
    let socket = Broadcaster::open().expect("a socket");
    let sent = wake::take_turns(&test.app, &how(1), &mut |packet, _| socket.send(packet, here));
    assert_eq!(sent.expect("a turn"), 1);
    let expected = [[0xff; 6].as_slice(), &[0x52, 0x54, 0, 0, 0, 0].repeat(16)].concat();
    let mut buffer = [0; 200];
    for _ in 0..8 {
        let length = listener.recv(&mut buffer).expect("a packet");
        assert_eq!(buffer[..length], expected);
    }
}

#[test]
fn so_many_a_second_are_woken_and_no_more() {
    let test = TestApp::new();
    computers(&test, 50);
    let asked = ann(&test.app).change_many(&Chosen::All(Asked::default()), &Bulk::Wake).expect("woken");
    assert_eq!((asked.changed, asked.left, asked.unable, asked.undo), (25, 0, 25, None));
    assert_eq!(asked.named.len(), 25, "who cannot be woken is named");
    assert_eq!(asked.named[0].host(), "ws001");
    let turns: Vec<usize> = (1..5).map(|second| woken(&later(&test.app, second), 10).len()).collect();
    assert_eq!(turns, [10, 10, 5, 0]);
    let again = ann(&test.app).change_many(&Chosen::All(Asked::default()), &Bulk::Wake).expect("woken");
    assert_eq!((again.changed, again.left), (25, 0), "their turn is over, so they can be woken anew");
    let third = ann(&test.app).change_many(&Chosen::All(Asked::default()), &Bulk::Wake).expect("nothing new");
    assert_eq!((third.changed, third.left), (0, 25), "they wait already");
    assert_eq!(state(&test.app, 1), Some(WakeState::NoAddress));
}

#[test]
fn the_audit_log_says_who_woke_whom() {
    let test = TestApp::new();
    computers(&test, 2);
    ann(&test.app).wake_computer("ws000").expect("woken");
    ann(&test.app).change_many(&Chosen::Named(vec![device(0), device(1)]), &Bulk::Wake).expect("looked at");
    let lines = test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 10)).expect("lines");
    let told: Vec<String> =
        lines.iter().map(|line| format!("{} {} {}", line.actor, line.action, line.subject)).collect();
    assert_eq!(told, ["ann computer wake 2 computers".to_owned(), format!("ann computer wake computer {}", device(0))]);
    let refused = ann(&test.app).wake_computer("ws001").expect_err("it has no card");
    assert_eq!(refused.kind, Kind::Conflict);
    assert!(refused.to_string().contains("no network card of its inventory has a MAC address"), "{refused}");
    let twice = ann(&test.app).wake_computer("ws000").expect_err("it waits");
    assert!(twice.to_string().ends_with("is about to be woken already"), "{twice}");
    let after = test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 10)).expect("lines");
    assert_eq!(after.len(), 2, "what was refused changed nothing");
}

#[test]
fn waking_is_a_right_of_its_own_within_the_scope() {
    let test = TestApp::new();
    computers(&test, 4);
    let viewer = desk(&test.app, "vic", Rights::viewer(), Scope::ALL);
    assert_eq!(viewer.wake_computer("ws000").expect_err("refused").kind, Kind::Forbidden);
    let all = Chosen::All(Asked::default());
    assert_eq!(viewer.change_many(&all, &Bulk::Wake).expect_err("refused").kind, Kind::Forbidden);
    let scope = Scope::parse(Some("name = ws000 or name = ws001"), None).expect("a scope");
    let some = desk(&test.app, "sue", Rights::deployer(), scope);
    assert_eq!(some.wake_computer("ws002").expect_err("not hers").kind, Kind::NotFound);
    let done = some.change_many(&all, &Bulk::Wake).expect("woken");
    assert_eq!((done.changed, done.unable), (1, 1), "of her scope alone");
    let deploys: Rights = Rights::deployer().iter().filter(|right| *right != Right::WakeComputers).collect();
    let dan = desk(&test.app, "dan", deploys, Scope::ALL);
    let bundle = Bundle::from(active_package(&test)).waking(true);
    let refused = dan.deploy(&bundle, Target::All, &JobOptions::default()).expect_err("he may not wake");
    assert!(refused.to_string().contains("computers.wake"), "{refused}");
    let repeat = Repeat::read("every day at 22:00", Some("UTC"), None).expect("a rule");
    let target = Target::All;
    let wish = Wish { bundle: bundle.clone(), target, post_command: None, gates: Gates::default(), repeat };
    let local = Actor { via: Via::CommandLine, ..actor("root", Rights::all(), Scope::ALL) };
    let series = Desk::new(test.app.clone(), local).repeat(&wish).expect("made").series.id;
    for refused in [dan.set_series_time(series, &wish.repeat).err(), dan.resume_series(series).err()] {
        assert_eq!(refused.map(|refusal| refusal.kind), Some(Kind::Forbidden), "it would act with his rights");
    }
    let plain = bundle.waking(false);
    assert!(dan.deploy(&plain, Target::All, &JobOptions::default()).is_ok());
}

#[test]
fn whoever_came_is_told_from_whoever_did_not() {
    let test = TestApp::new();
    computers(&test, 5);
    let all = Chosen::Named(vec![device(0), device(2), device(4)]);
    ann(&test.app).change_many(&all, &Bulk::Wake).expect("woken");
    // Before its turn the first comes by itself: nothing is sent to it.
    contact(&later(&test.app, 1), 0);
    assert_eq!(woken(&later(&test.app, 2), 10), BTreeSet::from([2, 4]));
    assert_eq!(state(&test.app, 0), Some(WakeState::NotNeeded));
    contact(&later(&test.app, 60), 2);
    assert_eq!(wake::look_back(&later(&test.app, 60)).expect("a look"), (1, 0));
    assert_eq!((state(&test.app, 2), state(&test.app, 4)), (Some(WakeState::Came), Some(WakeState::Sent)));
    assert_eq!(wake::look_back(&later(&test.app, 1802)).expect("a look"), (0, 0), "half an hour is not over");
    assert_eq!(wake::look_back(&later(&test.app, 1803)).expect("a look"), (0, 1));
    assert_eq!(state(&test.app, 4), Some(WakeState::Silent));
    let said = |n: usize| {
        let computer = ann(&test.app).computer(&device(n)).expect("a computer");
        let wake = ann(&test.app).last_wake(&computer).expect("read").expect("a wish");
        wake::in_words(&wake).split_once(" by ").expect("who").1.to_owned()
    };
    insta::assert_snapshot!(said(0), @"ann: not woken: it came by itself");
    insta::assert_snapshot!(said(2), @"ann: it came 58 s after the packets went out");
    insta::assert_snapshot!(said(4), @"ann: it was not heard of for half an hour after the packets went out");
}

/// Something that a computer says at the application's present.
fn contact(app: &App, n: usize) {
    let (device, at) = (device(n).parse().expect("a device id"), app.clock.now());
    let done = app.store.write_now(move |conn| {
        let found = computers::find_by_device_id(conn, &device)?.expect("it is there");
        let contact = computers::Contact { peer_address: "10.1.2.3".to_owned(), user_agent: String::new(), at };
        computers::touch(conn, found.id, &contact)
    });
    done.expect("written");
}

#[test]
fn packets_that_cannot_be_sent_are_told_with_the_reason() {
    let test = TestApp::new();
    computers(&test, 3);
    let two = Chosen::Named(vec![device(0), device(2)]);
    ann(&test.app).change_many(&two, &Bulk::Wake).expect("woken");
    let mut post = |packet: &[u8], to: SocketAddr| match (packet[11], to.ip().to_string().as_str()) {
        // One way that leads somewhere is enough.
        (2, "10.1.2.255") => Ok(()),
        _ => Err(io::Error::from(io::ErrorKind::NetworkUnreachable)),
    };
    assert_eq!(wake::take_turns(&test.app, &how(10), &mut post).expect("a turn"), 1);
    assert_eq!((state(&test.app, 0), state(&test.app, 2)), (Some(WakeState::Failed), Some(WakeState::Sent)));
    let computer = ann(&test.app).computer("ws000").expect("a computer");
    let wake = ann(&test.app).last_wake(&computer).expect("read").expect("a wish");
    assert!(wake.problem.expect("a reason").contains("255.255.255.255:7: network unreachable"));
}

#[test]
fn a_deployment_wakes_those_that_were_not_heard_of_and_no_one_twice() {
    let test = TestApp::new();
    computers(&test, 6);
    let package = active_package(&test);
    contact(&later(&test.app, 2999), 0);
    let now = later(&test.app, 3600);
    let bundle = Bundle::from(package).waking(true);
    let look = preview(&now, &bundle, Target::All, &JobOptions::default(), None);
    let sleepers = look.expect("a preview").sleepers.expect("asked for");
    assert_eq!((sleepers.woken, sleepers.no_address.count), (3, 3), "10 minutes ago is long ago");
    contact(&later(&test.app, 3590), 0);
    let id = deploy(&now, package, Target::All, &JobOptions::default());
    assert_eq!(wake::begin_due(&now).expect("a look"), [(id, 5)]);
    assert_eq!(wake::begin_due(&now).expect("a look"), [], "once");
    // The server is started anew in the middle; the first of the two whose turn it was has no card.
    assert_eq!(woken(&now, 2), BTreeSet::from([2]));
    let again = later(&TestApp::open(test.path()), 3700);
    assert_eq!(wake::begin_due(&again).expect("a look"), []);
    assert_eq!(woken(&again, 10), BTreeSet::from([4]));
    assert_eq!(turn(&again, 10), []);
    assert_eq!(counts(&again, id), [(WakeState::Sent, 2), (WakeState::NoAddress, 3)]);
    let words = wake::of_deployment(&again, id).expect("read").expect("it wakes").in_words();
    insta::assert_snapshot!(words, @"2 are sent packets and not heard of yet, 3 have no MAC address of a card (ws001, ws003, ws005)");
    let named = ann(&again).deployment_wake_list(id, Some(WakeState::NoAddress), None, 2).expect("a list");
    assert_eq!(named.iter().map(|(_, name)| name.host()).collect::<Vec<_>>(), ["ws001", "ws003"]);
    let scope = Scope::parse(Some("name = ws004 or name = ws005"), None).expect("a scope");
    let hers = desk(&again, "sue", Rights::deployer(), scope).deployment_wake_list(id, None, None, 1);
    assert_eq!(hers.expect("a list").iter().map(|(_, name)| name.host()).collect::<Vec<_>>(), ["ws005"]);
}

#[test]
fn what_is_cancelled_wakes_nobody_any_more() {
    let test = TestApp::new();
    computers(&test, 5);
    let package = active_package(&test);
    let now = later(&test.app, 3600);
    let before = deploy(&now, package, Target::Computers(vec![device(0)]), &JobOptions::default());
    deployments::cancel(&now, before, false, "ann").expect("cancelled");
    assert_eq!(wake::begin_due(&now).expect("a look"), [], "cancelled before anybody looked");
    let between = deploy(&now, package, Target::Computers(vec![device(2), device(4)]), &JobOptions::default());
    assert_eq!(wake::begin_due(&now).expect("a look"), [(between, 2)]);
    assert_eq!(woken(&now, 1), BTreeSet::from([2]));
    deployments::cancel(&now, between, false, "ann").expect("cancelled");
    assert_eq!(turn(&now, 10), [], "cancelled while its computers were being woken");
    assert_eq!(counts(&now, between), [(WakeState::Sent, 1), (WakeState::NotNeeded, 1)]);
}

#[test]
fn a_deployment_with_a_schedule_wakes_when_that_begins() {
    let test = TestApp::new();
    computers(&test, 1);
    let package = active_package(&test);
    let at = dripfeed::clock::local_minute(UnixTime::from_seconds(NOW.seconds() + 7200));
    let options = JobOptions { schedule: Some(at.parse().expect("a schedule")), ..JobOptions::default() };
    let id = deploy(&test.app, package, Target::All, &options);
    assert_eq!(wake::begin_due(&later(&test.app, 7199)).expect("a look"), []);
    let words = wake::of_deployment(&test.app, id).expect("read").expect("it wakes").in_words();
    assert!(words.starts_with("from 20") && words.ends_with("as soon as it would be offered"), "{words}");
    assert_eq!(wake::begin_due(&later(&test.app, 7200)).expect("a look"), [(id, 1)]);
}

#[test]
fn nobody_is_woken_outside_the_windows_and_ranges_of_a_deployment() {
    let test = TestApp::new();
    computers(&test, 5);
    let package = active_package(&test);
    let day = NOW.seconds().rem_euclid(86_400);
    let gates = read(Some("daily 02:00-03:00"), Some("UTC"), Some("!127.0.0.9, 127.0.0.0/8")).expect("gates");
    let terms = Terms { options: JobOptions::default(), gates };
    let bundle = Bundle::from(package).waking(true);
    let made = assign_bundle(&test.app, &bundle, Target::All, &terms, "ann", None).expect("assigned");
    let id = made[0].deployment;
    let at = |hour: i64, minute: i64| later(&test.app, 2 * 86_400 - day + hour * 3600 + minute * 60);
    assert_eq!(wake::begin_due(&at(1, 59)).expect("a look"), []);
    // One of them was elsewhere when it was last heard of.
    let away = device(2).parse().expect("a device id");
    let moved = test.app.store.write_now(move |conn| {
        let found = computers::find_by_device_id(conn, &away)?.expect("it is there");
        let contact = computers::Contact { at: NOW, peer_address: "127.0.0.9".to_owned(), user_agent: String::new() };
        computers::touch(conn, found.id, &contact)
    });
    moved.expect("written");
    assert_eq!(wake::begin_due(&at(2, 0)).expect("a look"), [(id, 5)]);
    assert_eq!(woken(&at(2, 0), 2), BTreeSet::from([0]));
    assert_eq!(turn(&at(2, 1), 1), []);
    assert_eq!(turn(&at(3, 0), 10), [], "the window closed before the others had their turn");
    assert_eq!(counts(&test.app, id), [(WakeState::Sent, 1), (WakeState::NotNeeded, 3), (WakeState::NoAddress, 1)]);
    let computer = ann(&test.app).computer("ws002").expect("a computer");
    let reason = ann(&test.app).last_wake(&computer).expect("read").expect("a wish").problem.expect("a reason");
    insta::assert_snapshot!(reason, @"the computer came from an address that the deployment's ranges leave out");
}

#[test]
fn a_bundle_wakes_a_computer_once() {
    let test = TestApp::new();
    computers(&test, 1);
    let bundle = Bundle::new(vec![active_package(&test), active_package(&test)], true).expect("a bundle").waking(true);
    let now = later(&test.app, 3600);
    let made = assign_bundle(&now, &bundle, Target::All, &JobOptions::default(), "ann", None).expect("assigned");
    let begun = wake::begin_due(&now).expect("a look");
    assert_eq!(begun, [(made[0].deployment, 1), (made[1].deployment, 0)]);
    assert_eq!(turn(&now, 10).len(), 8, "one packet to two networks and two ports, twice");
    let second = wake::of_deployment(&now, made[1].deployment).expect("read").expect("it wakes");
    insta::assert_snapshot!(second.in_words(), @"nobody: all were heard of within ten minutes before, or are woken for something else");
}

#[test]
fn the_members_of_a_group_are_woken_by_a_search() {
    let test = TestApp::new();
    computers(&test, 4);
    groups::create(&test.app, "O'Hara's", Some("name = ws000 or name = ws002"), "ann").expect("a group");
    let query = Query::try_from(Expr::InGroup("O'Hara's".to_owned())).expect("a query").to_string();
    let done = ann(&test.app).change_many(&Chosen::All(Asked { query, ..Asked::default() }), &Bulk::Wake);
    assert_eq!(done.expect("woken").changed, 2);
    assert_eq!(woken(&later(&test.app, 1), 10), BTreeSet::from([0, 2]));
}

#[test]
fn what_agents_are_told_is_the_same_whoever_woke_them() {
    let test = TestApp::new();
    computers(&test, 1);
    let id = active_package(&test);
    deploy(&later(&test.app, 3600), id, Target::All, &JobOptions::default());
    let option = say_prolog(&test, &device(0)).download.expect("an option");
    assert_eq!(option.offers.len(), 1);
    let last = test.app.store.read_now(|conn| wakes::last_of(conn, ComputerId(1))).expect("read");
    assert_eq!(last, None, "nobody looked yet, and the contact did not either");
}

#[test]
fn the_command_line_wakes_and_says_what_became_of_it() {
    let site = Site::new();
    site.package();
    site.say("computer add sleeper").ok();
    assert!(site.json("computer show sleeper").get("woken").is_none());
    let woken = site.say("computer wake sleeper").ok();
    let named = "1 computer cannot be woken, because no MAC address of a card is known:\n  sleeper-";
    assert!(woken.starts_with(named) && woken.lines().count() == 2, "{woken}");
    let woken = &site.json("computer show sleeper")["woken"];
    assert_eq!((&woken["state"], &woken["sent_at"]), (&"no-address".into(), &serde_json::Value::Null), "{woken}");
    let shown = site.say("computer show sleeper").ok();
    assert!(shown.contains("not woken: no network card"), "{shown}");
}
