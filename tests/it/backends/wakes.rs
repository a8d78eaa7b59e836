//! Computers that are woken, on both back ends, and a server that is killed while it wakes some.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use dripfeed::clock::Clock;
use dripfeed::config::server::Waking;
use dripfeed::model::wake::WakeState;
use dripfeed::model::{Activation, ComputerId, Deployment, DeploymentId, JobOptions, UnixTime};
use dripfeed::protocol::Network;
use dripfeed::service::{App, wake};
use dripfeed::store::computers::Contact;
use dripfeed::store::{Conn, Store, StoreError, activations, approvals, computers, deployments, jobs, merges, wakes};

use super::database::{Database, read, write};
use super::for_each_backend;
use super::functions::{NOW, add_computer, add_package, contact, device_id, facts, later};
use crate::util::TestApp;

for_each_backend!(
    a_wish_is_read_back_with_what_became_of_it,
    a_deployment_wakes_its_quiet_computers_once,
    a_deployment_that_offers_nothing_wakes_nobody,
    wishes_of_long_ago_are_forgotten,
    a_server_that_is_killed_while_it_wakes_forgets_nobody_and_wakes_for_a_deployment_once,
);

/// A deployment of an active package with a job on each of these computers.
fn deploy(conn: &mut Conn, computers: &[ComputerId]) -> Result<DeploymentId, StoreError> {
    let package = add_package(conn, "tool")?;
    let here: dripfeed::model::Location = "localhost:8443/download".parse().expect("a location");
    let activation = Activation {
        package,
        info_location: here.clone(),
        fragment_location: here,
        activated_at: NOW,
        checked_at: None,
    };
    activations::set(conn, &activation)?;
    let options = JobOptions::default();
    let id = deployments::create(conn, package, false, &options, "ann", NOW)?;
    let deployment = Deployment {
        id,
        package,
        all_computers: false,
        group: None,
        options,
        created_at: NOW,
        cancelled_at: None,
        closed_at: None,
        bundle: None,
        approval: None,
    };
    assert_eq!(jobs::plan(conn, &deployment, computers, NOW)?, computers.len());
    Ok(id)
}

fn with_card(conn: &mut Conn, n: u16) -> Result<ComputerId, StoreError> {
    let id = add_computer(conn, &format!("ws{n:04}"))?;
    let [high, low] = n.to_be_bytes();
    let card = Network { mac: format!("52:54:00:00:{high:02x}:{low:02x}"), ..Network::default() };
    computers::set_networks(conn, id, &[card])?;
    Ok(id)
}

fn a_wish_is_read_back_with_what_became_of_it(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let (one, other) = (with_card(conn, 1)?, with_card(conn, 2)?);
        assert_eq!(wakes::last_of(conn, one)?, None);
        assert_eq!(wakes::ask(conn, &[one, other, ComputerId(99)], WakeState::Waiting, "änn\0", later(1))?, 2);
        assert_eq!(wakes::ask(conn, &[one, other], WakeState::Waiting, "bob", later(2))?, 0, "they wait already");
        let turns = wakes::turns(conn, 10)?;
        assert_eq!(turns.iter().map(|turn| turn.computer).collect::<Vec<_>>(), [one, other]);
        assert!(turns[0].is_wanted && turns[0].asked_at == later(1) && turns[0].last_contact == NOW);
        assert_eq!(wakes::turns(conn, 1)?, turns[..1]);
        let (first, second) = (turns[0].id, turns[1].id);
        wakes::set_state(conn, &[first], WakeState::Sent, None, later(3))?;
        wakes::set_state(conn, &[second], WakeState::Failed, Some("no network"), later(3))?;
        assert_eq!(wakes::turns(conn, 10)?, []);
        let failed = wakes::last_of(conn, other)?.expect("a wish");
        assert_eq!(
            (failed.state, failed.sent_at, failed.problem.as_deref()),
            (WakeState::Failed, None, Some("no network"))
        );
        assert_eq!(wakes::back(conn, 10)?, [], "its last contact lies before");
        computers::touch(conn, one, &contact(later(9)))?;
        assert_eq!(wakes::back(conn, 10)?, [(first, later(9))]);
        assert_eq!(wakes::silent(conn, later(3), 10)?, [0_i64; 0]);
        assert_eq!(wakes::silent(conn, later(4), 10)?, [first]);
        wakes::set_came(conn, first, later(9))?;
        let came = wakes::last_of(conn, one)?.expect("a wish");
        assert_eq!((came.state, came.sent_at, came.came_at), (WakeState::Came, Some(later(3)), Some(later(9))));
        assert_eq!((came.by.as_str(), came.deployment, came.asked_at), ("änn\u{fffd}", None, later(1)));
        assert_eq!(wakes::ask(conn, &[one], WakeState::Waiting, "bob", later(10))?, 1, "and again");
        let third = wakes::turns(conn, 10)?[0].id;
        wakes::set_state(conn, &[third], WakeState::Sent, None, later(10))?;
        wakes::set_silent(conn, &[third])?;
        assert_eq!(wakes::last_of(conn, one)?.expect("a wish").state, WakeState::Silent);
        assert_eq!(wakes::back(conn, 10)?, []);
        Ok(())
    });
}

/// Deployments whose time has come and who made them, a page of one at a time.
fn due(conn: &mut Conn, now: UnixTime) -> Result<Vec<(DeploymentId, String)>, StoreError> {
    let (mut all, mut after) = (Vec::new(), None);
    while let Some(found) = wakes::due(conn, now, after, 1)?.pop() {
        after = Some((found.at, found.deployment));
        all.push((found.deployment, found.by));
    }
    Ok(all)
}

fn a_deployment_wakes_its_quiet_computers_once(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let ids = (0..4).map(|n| with_card(conn, n)).collect::<Result<Vec<_>, _>>()?;
        let id = deploy(conn, &ids)?;
        wakes::order(conn, id, later(100))?;
        wakes::order(conn, id, later(50))?;
        let order = wakes::order_of(conn, id)?.expect("an order");
        assert_eq!((order.due_at, order.begun_at), (later(100), None), "the first order holds");
        assert_eq!(due(conn, later(99))?, []);
        assert_eq!(due(conn, later(100))?, [(id, "ann".to_owned())]);
        computers::touch(conn, ids[0], &contact(later(60)))?;
        merges::set_archived(conn, ids[1], Some(later(60)))?;
        assert_eq!(wakes::quiet(conn, &ids, later(60))?, ids[1..]);
        let written = Contact { peer_address: String::new(), ..contact(later(90)) };
        let (never_came, _) = computers::take_facts(conn, &device_id("desk"), &facts("desk"), &written)?;
        assert_eq!(wakes::quiet(conn, &[never_came], later(60))?, [never_came], "it was written down a moment ago");
        assert_eq!(wakes::begin(conn, id, "ann", later(60), later(100))?, Some(2));
        assert_eq!(wakes::begin(conn, id, "ann", later(60), later(101))?, None, "somebody was faster");
        assert_eq!(due(conn, later(200))?, []);
        assert_eq!(wakes::order_of(conn, id)?.expect("an order").begun_at, Some(later(100)));
        assert_eq!(wakes::counts(conn, id)?, [(WakeState::Waiting, 2)]);
        // Another deployment finds them waiting.
        let other = deploy(conn, &ids[2..])?;
        wakes::order(conn, other, later(100))?;
        assert_eq!(wakes::begin(conn, other, "ann", later(60), later(100))?, Some(0));
        let turns = wakes::turns(conn, 10)?;
        assert_eq!(turns.iter().map(|turn| turn.computer).collect::<Vec<_>>(), ids[2..]);
        let job = jobs::newest_of_deployment(conn, id, &[dripfeed::model::JobState::Pending], None)?;
        let job = job.iter().find(|job| job.computer == ids[2]).expect("its job");
        jobs::cancel(conn, job.job, later(101))?;
        let wanted: Vec<bool> = wakes::turns(conn, 10)?.iter().map(|turn| turn.is_wanted).collect();
        assert_eq!(wanted, [false, true]);
        wakes::set_state(conn, &[turns[0].id], WakeState::NoAddress, None, later(102))?;
        let named = wakes::of_deployment(conn, id, Some(WakeState::NoAddress), None, 10)?;
        assert_eq!(named.iter().map(|(_, name)| name.host()).collect::<Vec<_>>(), ["ws0002"]);
        let all = wakes::of_deployment(conn, id, None, None, 10)?;
        let places: Vec<_> = all.iter().map(|(wake, _)| (wake.state, wake.id)).collect();
        assert_eq!(places, [(WakeState::NoAddress, turns[0].id), (WakeState::Waiting, turns[1].id)]);
        assert_eq!(wakes::of_deployment(conn, id, None, Some(places[0]), 10)?, all[1..]);
        assert_eq!(wakes::of_deployment(conn, id, None, Some(places[1]), 10)?, []);
        Ok(())
    });
}

fn a_deployment_that_offers_nothing_wakes_nobody(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let ids = [with_card(conn, 1)?];
        let [cancelled, closed, inactive] = [deploy(conn, &ids)?, deploy_more(conn)?, deploy_more(conn)?];
        for id in [cancelled, closed, inactive] {
            wakes::order(conn, id, NOW)?;
        }
        assert_eq!(due(conn, NOW)?.len(), 3);
        assert!(deployments::cancel(conn, cancelled, NOW)? && deployments::set_closed(conn, closed, Some(NOW))?);
        let package = deployments::find(conn, inactive)?.expect("it is there").deployment.package;
        assert!(activations::remove(conn, package)?);
        assert_eq!(due(conn, later(9))?, []);
        assert!(deployments::set_closed(conn, closed, None)?);
        assert_eq!(due(conn, later(9))?, [(closed, "ann".to_owned())], "opened again, it is not forgotten");
        let approval = approvals::ask(conn, "ann", 1, 1, None, NOW)?;
        approvals::set_of_deployment(conn, closed, approval)?;
        assert_eq!(due(conn, later(9))?, [], "others are asked");
        approvals::let_go(conn, approval, later(9))?;
        assert_eq!(due(conn, later(9))?.len(), 1);
        Ok(())
    });
}

fn deploy_more(conn: &mut Conn) -> Result<DeploymentId, StoreError> {
    deploy(conn, &[])
}

fn wishes_of_long_ago_are_forgotten(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let (old, new) = (with_card(conn, 1)?, with_card(conn, 2)?);
        assert!(wakes::before(conn, later(9), 10)?.is_empty());
        wakes::ask(conn, &[old], WakeState::Waiting, "ann", later(1))?;
        wakes::ask(conn, &[new], WakeState::Waiting, "ann", later(5))?;
        let long_ago = wakes::before(conn, later(5), 10)?;
        assert_eq!(long_ago.len(), 1);
        assert_eq!(wakes::forget(conn, &long_ago)?, 1);
        assert_eq!((wakes::last_of(conn, old)?, wakes::last_of(conn, new)?.is_some()), (None, true));
        assert!(computers::delete(conn, new)?);
        assert_eq!(wakes::turns(conn, 10)?, [], "who is erased is not woken");
        Ok(())
    });
}

// --------------------------------------------------------------------------------------------------------- killed

const ADDRESS: &str = "DRIPFEED_TEST_WAKING_DATABASE";
const COMPUTERS: u16 = 40;
const PER_SECOND: usize = 5;

fn how() -> Waking {
    Waking { per_second: PER_SECOND, ports: vec![9], repeats: 1, any_network: false }
}

/// The application over that database, at the moment at which the deployment is due.
fn app(test: &TestApp, store: Store) -> App {
    App { store, clock: Clock::Fixed(later(3600)), ..test.app.clone() }
}

/// The card that a packet is for.
fn card(packet: &[u8]) -> String {
    packet[6..12].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Not a test: what the other test starts as a program of its own and kills. Wakes as a server does, and says each packet.
#[test]
#[expect(clippy::disallowed_methods, reason = "that is how the parent says what to do")]
fn child_process_entry() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let test = TestApp::new();
    let app = app(&test, Store::open(&address.parse().expect("an address")).expect("opens"));
    let mut say = |packet: &[u8], _: SocketAddr| -> io::Result<()> {
        io::stdout().write_all(format!("\npacket {}\n", card(packet)).as_bytes())
    };
    wake::begin_due(&app).expect("begun");
    while wake::take_turns(&app, &how(), &mut say).expect("a turn") > 0 {}
}

fn a_server_that_is_killed_while_it_wakes_forgets_nobody_and_wakes_for_a_deployment_once(database: &Database) {
    let store = database.open();
    let id = write(&store, |conn| {
        let ids = (0..COMPUTERS).map(|n| with_card(conn, n)).collect::<Result<Vec<_>, _>>()?;
        let id = deploy(conn, &ids)?;
        wakes::order(conn, id, NOW)?;
        Ok(id)
    });
    let mut packets: BTreeMap<String, usize> = BTreeMap::new();
    for after in [1, 7, 13] {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["backends::wakes::child_process_entry", "--exact", "--nocapture"])
            .env(ADDRESS, database.argument())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut heard = lines.by_ref().filter_map(|line| line.strip_prefix("packet ").map(str::to_owned));
        let mut all: Vec<String> = heard.by_ref().take(after).collect();
        child.kill().expect("it was started");
        all.extend(heard);
        child.wait().expect("it ends");
        for card in all {
            *packets.entry(card).or_default() += 1;
        }
    }
    let test = TestApp::new();
    let app = app(&test, store.clone());
    wake::begin_due(&app).expect("begun");
    let mut post = |packet: &[u8], _: SocketAddr| {
        *packets.entry(card(packet)).or_default() += 1;
        Ok(())
    };
    while wake::take_turns(&app, &how(), &mut post).expect("a turn") > 0 {}
    assert_eq!(packets.len(), usize::from(COMPUTERS), "nobody is forgotten");
    // Only what was on its way when the server was killed goes out again: a second's worth for each time.
    let again: usize = packets.values().map(|count| count - 1).sum();
    assert!(again <= 3 * PER_SECOND, "{again} packets went out again: {packets:?}");
    let states = read(&store, move |conn| wakes::counts(conn, id));
    assert_eq!(states, [(WakeState::Sent, u64::from(COMPUTERS))], "each computer was wanted once");
    let at = read(&store, move |conn| wakes::order_of(conn, id)).expect("an order").begun_at;
    assert_eq!(at, Some(UnixTime::from_seconds(NOW.seconds() + 3600)));
}
