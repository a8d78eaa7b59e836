//! Waking computers over the network, at somebody's wish or for a deployment (docs/decisions/0790).
//!
//! ```text
//! somebody asks ─┐
//!                ├─► waiting ─► its turn: packets out ─► sent ─► heard of: came
//! a deployment ──┘      │                                  └──► nothing for half an hour: silent
//!  (once, when due)     └─► came by itself, nothing to do, no address of a card, no network
//! ```
//!
//! Turns are taken a second's worth at a time. A turn is written down after its packets went out: a server that is killed in
//! between sends them again, and to nobody who came meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::App;
use super::duplicates::telling_mac;
use super::gates::{self, GatesNow};
use crate::clock::{self, NamedZone};
use crate::config::server::Waking;
use crate::model::query::Query;
use crate::model::wake::{MOST_CARDS, MacAddress, WakeState, broadcast_of};
use crate::model::{ComputerId, DeploymentId, DeviceId, JobOptions, UnixTime};
use crate::protocol::Network;
use crate::store::wakes::{self, Due, Order, Turn, Wake};
use crate::store::{Conn, StoreError, computers, search};

/// A computer that was heard of since is on: a deployment does not wake it.
pub const QUIET: Duration = Duration::from_mins(10);
/// So long a woken computer has to be heard of.
pub const PATIENCE: Duration = Duration::from_mins(30);
/// What is remembered of who was woken.
const KEPT: Duration = Duration::from_hours(366 * 24);
/// Deployments that are begun, and computers that are looked at, at one look.
const AT_ONCE: usize = 1000;
/// Computers whose cards are read together.
const CARDS_AT_ONCE: usize = 500;
/// Computers that are named.
const NAMED: usize = 20;
/// What a computer without a card says.
const NO_ADDRESS: &str = "no network card of its inventory has a MAC address of its own";

/// Why a computer is not woken.
#[derive(Debug, thiserror::Error)]
pub enum WakeError {
    /// Nothing to send a packet to.
    #[error("{0} cannot be woken: no network card of its inventory has a MAC address of its own")]
    NoAddress(String),
    /// Twice.
    #[error("{0} is about to be woken already")]
    Waiting(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a wish to wake many.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// Computers whose turn comes.
    pub asked: usize,
    /// Computers that wait for their turn already.
    pub waiting: usize,
    /// Computers that cannot be woken.
    pub no_address: Vec<ComputerId>,
}

/// A card that can be woken, and where its packets go besides everybody's address of this server's own network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Card {
    mac: MacAddress,
    network: Option<Ipv4Addr>,
}

impl Card {
    /// An adapter's card, if it is one that only this computer has.
    fn of(adapter: &Network) -> Option<Self> {
        let mac: MacAddress = adapter.mac.parse().ok()?;
        let is_own = mac.is_of_one() && telling_mac(&mac.to_string()).is_some();
        is_own.then(|| Self { mac, network: broadcast_of(&adapter.ip_address, &adapter.mask) })
    }

    /// Inventories are what agents say: a packet goes to no other network than such as companies have for themselves, unless
    /// the configuration says that theirs are others.
    fn targets(self, how: &Waking) -> impl Iterator<Item = SocketAddr> + '_ {
        let network = self.network.filter(|network| how.any_network || network.is_private());
        let addresses = network.into_iter().chain([Ipv4Addr::BROADCAST]);
        addresses.flat_map(|address| how.ports.iter().map(move |port| (address, *port).into()))
    }
}

fn cards(adapters: &[Network]) -> Vec<Card> {
    let mut cards: Vec<Card> = Vec::new();
    for card in adapters.iter().filter_map(Card::of) {
        // One card with several addresses may be in several networks.
        if cards.len() < MOST_CARDS && !cards.contains(&card) {
            cards.push(card);
        }
    }
    cards
}

/// Those of these computers that can be woken, and those that cannot.
pub(super) fn split(conn: &mut Conn, ids: &[ComputerId]) -> Result<(Vec<ComputerId>, Vec<ComputerId>), StoreError> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for chunk in ids.chunks(CARDS_AT_ONCE) {
        let mut adapters = computers::networks_of(conn, chunk)?;
        for id in chunk {
            let found = cards(&adapters.remove(id).unwrap_or_default());
            if found.is_empty() { &mut without } else { &mut with }.push(*id);
        }
    }
    Ok((with, without))
}

/// Wants one computer woken.
pub fn ask(app: &App, computer: ComputerId, name: &str, by: &str) -> Result<(), WakeError> {
    let (name, by, now) = (name.to_owned(), by.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        if split(conn, &[computer])?.0.is_empty() {
            return Err(WakeError::NoAddress(name));
        }
        match wakes::ask(conn, &[computer], WakeState::Waiting, &by, now)? {
            0 => Err(WakeError::Waiting(name)),
            _ => Ok(()),
        }
    })
}

/// Wants these computers woken; some hundred in each transaction, so that agents come through in between.
pub fn ask_many(app: &App, ids: &[ComputerId], by: &str) -> Result<Asked, StoreError> {
    let mut all = Asked::default();
    for chunk in ids.chunks(CARDS_AT_ONCE) {
        let (chunk, by, now) = (chunk.to_vec(), by.to_owned(), app.clock.now());
        let (with, asked, without) = app.store.write_now(move |conn| -> Result<_, StoreError> {
            let (with, without) = split(conn, &chunk)?;
            let asked = wakes::ask(conn, &with, WakeState::Waiting, &by, now)?;
            wakes::ask(conn, &without, WakeState::NoAddress, &by, now)?;
            Ok((with.len(), asked, without))
        })?;
        all.asked += asked;
        all.waiting += with - asked;
        all.no_address.extend(without);
    }
    Ok(all)
}

/// A deployment wakes its computers: now, or at the moment of its schedule by this server's clock. It is done once somebody
/// looks, when something would be offered.
pub(super) fn order(
    conn: &mut Conn,
    deployment: DeploymentId,
    options: &JobOptions,
    now: UnixTime,
) -> Result<(), StoreError> {
    wakes::order(conn, deployment, due(options, &NamedZone::of_machine(), now))
}

fn due(options: &JobOptions, zone: &NamedZone, now: UnixTime) -> UnixTime {
    let scheduled = options.schedule.as_ref().and_then(|schedule| zone.parse(&schedule.as_str().replace('/', "-")));
    scheduled.map_or(now, |at| at.max(now))
}

/// Those of these computers that would be woken, and those that were not heard of for as long, but cannot be.
pub(super) fn sleepers(
    conn: &mut Conn,
    ids: &[ComputerId],
    now: UnixTime,
) -> Result<(Vec<ComputerId>, Vec<ComputerId>), StoreError> {
    let quiet = wakes::quiet(conn, ids, earlier(now, QUIET))?;
    split(conn, &quiet)
}

/// Begins to wake for every deployment whose time has come and of whose windows one is open, each in a write of its own. Gives
/// how many computers each wakes.
pub fn begin_due(app: &App) -> Result<Vec<(DeploymentId, usize)>, StoreError> {
    let now = app.clock.now();
    let (mut begun, mut after) = (Vec::new(), None);
    loop {
        let due = app.store.read_now(move |conn| wakes::due(conn, now, after, AT_ONCE))?;
        let Some(last) = due.last() else { return Ok(begun) };
        after = Some((last.at, last.deployment));
        for Due { deployment, by, gates, .. } in due {
            if !GatesNow::at(gates, now).is_open() {
                continue;
            }
            let write = move |conn: &mut Conn| wakes::begin(conn, deployment, &by, earlier(now, QUIET), now);
            begun.extend(app.store.write_now(write)?.map(|count| (deployment, count)));
        }
    }
}

fn earlier(now: UnixTime, by: Duration) -> UnixTime {
    UnixTime::from_millis(now.millis().saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

/// What sends a packet.
pub type Post<'a> = &'a mut dyn FnMut(&[u8], SocketAddr) -> io::Result<()>;

/// Takes the turns of one second. Gives how many computers were sent packets.
pub fn take_turns(app: &App, how: &Waking, post: Post<'_>) -> Result<usize, StoreError> {
    let most = how.per_second;
    let turns = app.store.read_now(move |conn| -> Result<_, StoreError> {
        let turns = wakes::turns(conn, most)?;
        let ids: Vec<ComputerId> = turns.iter().map(|turn| turn.computer).collect();
        let mut adapters = if ids.is_empty() { BTreeMap::new() } else { computers::networks_of(conn, &ids)? };
        let with_cards = |turn: Turn| {
            let cards = cards(&adapters.remove(&turn.computer).unwrap_or_default());
            (turn, cards)
        };
        Ok(turns.into_iter().map(with_cards).collect::<Vec<_>>())
    })?;
    if turns.is_empty() {
        return Ok(0);
    }
    let now = app.clock.now();
    let ends = send(&turns, now, how, post);
    let sent = ends.iter().filter(|((state, _), _)| *state == WakeState::Sent).map(|(_, ids)| ids.len()).sum();
    app.store.write_now(move |conn| {
        ends.iter().try_for_each(|((state, problem), ids)| wakes::set_state(conn, ids, *state, problem.as_deref(), now))
    })?;
    Ok(sent)
}

/// Wakes by what became of them, and why.
type Ends = BTreeMap<(WakeState, Option<String>), Vec<i64>>;

/// Sends the packets of these turns: all of them once, and then all of them again, so that a moment in which a switch loses
/// packets does not lose all of one computer's.
fn send(turns: &[(Turn, Vec<Card>)], now: UnixTime, how: &Waking, post: Post<'_>) -> Ends {
    let mut ends: Ends = BTreeMap::new();
    let mut due = Vec::new();
    for (turn, cards) in turns {
        let in_vain = match not_needed(turn, now) {
            Some(reason) => (WakeState::NotNeeded, Some(reason)),
            None if cards.is_empty() => (WakeState::NoAddress, Some(NO_ADDRESS.to_owned())),
            None => {
                due.push((turn.id, cards, Err(String::new())));
                continue;
            }
        };
        ends.entry(in_vain).or_default().push(turn.id);
    }
    for _ in 0..how.repeats {
        for (_, cards, end) in &mut due {
            send_once(cards, how, post, end);
        }
    }
    for (id, _, end) in due {
        let end = match end {
            Ok(()) => (WakeState::Sent, None),
            Err(problem) => (WakeState::Failed, Some(problem)),
        };
        ends.entry(end).or_default().push(id);
    }
    ends
}

/// Why a packet would be in vain, if it would.
fn not_needed(turn: &Turn, now: UnixTime) -> Option<String> {
    if turn.last_contact > turn.asked_at {
        return Some("it came by itself".to_owned());
    }
    if !turn.is_wanted {
        return Some("nothing is left to do for the deployment".to_owned());
    }
    // Where it will come from nobody knows; most come from where they were.
    gates::pass(&turn.gates, turn.peer_address.parse().ok(), now).err().map(|withheld| withheld.to_string())
}

/// One packet to each address of each card. One that went out is enough: not every network can be reached from here.
fn send_once(cards: &[Card], how: &Waking, post: Post<'_>, end: &mut Result<(), String>) {
    for card in cards {
        let packet = card.mac.magic_packet();
        for to in card.targets(how) {
            match post(&packet, to) {
                Ok(()) => *end = Ok(()),
                Err(error) if end.is_err() => *end = Err(format!("{to}: {error}")),
                Err(_) => {}
            }
        }
    }
}

/// Writes down who came, and for whom nobody waits any more. Gives how many of each.
pub fn look_back(app: &App) -> Result<(usize, usize), StoreError> {
    let long_ago = earlier(app.clock.now(), PATIENCE);
    // Most looks find nothing, and then nothing is written.
    let (back, silent) = app.store.read_now(move |conn| -> Result<_, StoreError> {
        Ok((wakes::back(conn, AT_ONCE)?, wakes::silent(conn, long_ago, AT_ONCE)?))
    })?;
    let came: BTreeSet<i64> = back.iter().map(|(id, _)| *id).collect();
    let silent: Vec<i64> = silent.into_iter().filter(|id| !came.contains(id)).collect();
    let counts = (back.len(), silent.len());
    if counts != (0, 0) {
        app.store.write_now(move |conn| -> Result<(), StoreError> {
            back.into_iter().try_for_each(|(id, at)| wakes::set_came(conn, id, at))?;
            wakes::set_silent(conn, &silent)
        })?;
    }
    Ok(counts)
}

/// How a deployment wakes its computers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Woken {
    /// When.
    pub order: Order,
    /// How many computers are in which state.
    pub counts: Vec<(WakeState, u64)>,
    /// The first of those that cannot be woken.
    pub no_address: Vec<DeviceId>,
}

impl Woken {
    /// For people.
    pub fn in_words(&self) -> String {
        if self.order.begun_at.is_none() {
            let due = clock::local_text(self.order.due_at);
            return format!("from {due} on by this server's clock, as soon as it would be offered");
        }
        if self.counts.is_empty() {
            return "nobody: all were heard of within ten minutes before, or are woken for something else".to_owned();
        }
        let counts = self.counts.iter().map(|(state, count)| format!("{count} {}", many(*state)));
        let mut text = counts.collect::<Vec<_>>().join(", ");
        if !self.no_address.is_empty() {
            let names: Vec<&str> = self.no_address.iter().map(DeviceId::host).collect();
            let more = if self.names_all() { "" } else { ", …" };
            text = format!("{text} ({}{more})", names.join(", "));
        }
        text
    }

    fn names_all(&self) -> bool {
        let without = self.counts.iter().find(|(state, _)| *state == WakeState::NoAddress);
        without.is_none_or(|(_, count)| *count <= self.no_address.len() as u64)
    }
}

/// What is said of several; what is named stands last.
fn many(state: WakeState) -> &'static str {
    match state {
        WakeState::Waiting => "wait for their turn",
        WakeState::Sent => "are sent packets and not heard of yet",
        WakeState::Came => "came",
        WakeState::Silent => "were not heard of for half an hour",
        WakeState::NotNeeded => "came by themselves or have nothing left to do",
        WakeState::NoAddress => "have no MAC address of a card",
        WakeState::Failed => "could not be sent packets",
    }
}

/// How a deployment wakes its computers; `None` if it does not.
pub fn of_deployment(app: &App, id: DeploymentId) -> Result<Option<Woken>, StoreError> {
    app.store.read_now(move |conn| {
        let Some(order) = wakes::order_of(conn, id)? else { return Ok(None) };
        let mut counts = wakes::counts(conn, id)?;
        // In the order of the states; those who are named come last.
        counts.sort_by_key(|(state, _)| (*state == WakeState::NoAddress, *state));
        let without = wakes::of_deployment(conn, id, Some(WakeState::NoAddress), None, NAMED)?;
        Ok(Some(Woken { order, counts, no_address: without.into_iter().map(|(_, device_id)| device_id).collect() }))
    })
}

/// Computers of a scope that a deployment wakes, state by state; those after `after`, at most `limit`.
pub fn list(
    app: &App,
    id: DeploymentId,
    state: Option<WakeState>,
    scope: Option<Query>,
    after: Option<(WakeState, i64)>,
    limit: usize,
) -> Result<Vec<(Wake, DeviceId)>, StoreError> {
    let now = app.clock.now();
    app.store.read_now(move |conn| {
        let allowed = scope.map(|scope| search::ids(conn, &scope, now)).transpose()?;
        let (mut found, mut after) = (Vec::new(), after);
        while found.len() < limit {
            let page = wakes::of_deployment(conn, id, state, after, limit)?;
            let is_last = page.len() < limit;
            after = page.last().map(|(wake, _)| (wake.state, wake.id));
            let shows = |(wake, _): &(Wake, DeviceId)| allowed.as_ref().is_none_or(|ids| ids.contains(&wake.computer));
            found.extend(page.into_iter().filter(shows));
            if is_last {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    })
}

/// Forgets who was woken long ago; says how many.
pub fn forget_old(app: &App) -> Result<usize, StoreError> {
    let long_ago = earlier(app.clock.now(), KEPT);
    let old = app.store.read_now(move |conn| wakes::before(conn, long_ago, AT_ONCE))?;
    // Nothing is written, most of the time.
    if old.is_empty() { Ok(0) } else { app.store.write_now(move |conn| wakes::forget(conn, &old)) }
}

/// The newest wish to wake a computer, in words.
pub fn in_words(wake: &Wake) -> String {
    let asked = format!("{} by {}", clock::local_text(wake.asked_at), wake.by);
    let problem = || wake.problem.as_deref().unwrap_or_default();
    let became = match (wake.state, wake.sent_at, wake.came_at) {
        (WakeState::Waiting, ..) => "waits for its turn".to_owned(),
        (WakeState::Came, Some(sent), Some(came)) => {
            let seconds = came.seconds().saturating_sub(sent.seconds());
            format!("it came {seconds} s after the packets went out")
        }
        (WakeState::Came, ..) => "it came".to_owned(),
        (WakeState::Sent, ..) => "the packets are out; it has not come yet".to_owned(),
        (WakeState::Silent, ..) => "it was not heard of for half an hour after the packets went out".to_owned(),
        (WakeState::NotNeeded, ..) => format!("not woken: {}", problem()),
        (WakeState::NoAddress, ..) => format!("not woken: {NO_ADDRESS}"),
        (WakeState::Failed, ..) => format!("the packets could not be sent: {}", problem()),
    };
    format!("{asked}: {became}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(mac: &str, ip_address: &str, mask: &str) -> Network {
        let (ip_address, mask) = (ip_address.to_owned(), mask.to_owned());
        Network { mac: mac.to_owned(), ip_address, mask, ..Network::default() }
    }

    fn how(any_network: bool) -> Waking {
        Waking { ports: vec![9, 7], repeats: 2, per_second: 10, any_network }
    }

    fn targets(adapter: &Network, how: &Waking) -> Vec<String> {
        let card = Card::of(adapter).expect("a card");
        card.targets(how).map(|to| to.to_string()).collect()
    }

    #[test]
    fn packets_go_to_the_cards_own_network_and_to_that_of_this_server() {
        let office = adapter("52-54-00-12-34-56", "10.1.2.3", "255.255.255.0");
        let expected = ["10.1.2.255:9", "10.1.2.255:7", "255.255.255.255:9", "255.255.255.255:7"];
        assert_eq!(targets(&office, &how(false)), expected);
        let without = adapter("52:54:00:12:34:56", "", "");
        assert_eq!(targets(&without, &how(false)), ["255.255.255.255:9", "255.255.255.255:7"]);
    }

    #[test]
    fn what_an_inventory_says_leads_to_no_public_network_unless_that_is_configured() {
        let elsewhere = adapter("52:54:00:12:34:56", "198.51.100.7", "255.255.255.0");
        assert_eq!(targets(&elsewhere, &how(false)), ["255.255.255.255:9", "255.255.255.255:7"]);
        assert_eq!(targets(&elsewhere, &how(true))[..2], ["198.51.100.255:9", "198.51.100.255:7"]);
    }

    #[test]
    fn adapters_that_every_computer_has_alike_are_no_cards() {
        for mac in ["", "?", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "02:42:ac:11:00:02", "50:50:54:50:30:30"] {
            assert_eq!(Card::of(&adapter(mac, "10.1.2.3", "255.255.255.0")), None, "{mac:?}");
        }
        let twice = adapter("52:54:00:12:34:56", "10.1.2.3", "255.255.255.0");
        let elsewhere = adapter("52:54:00:12:34:56", "10.9.9.3", "255.255.255.0");
        assert_eq!(cards(&[twice.clone(), twice, elsewhere]).len(), 2, "one card in two networks");
    }

    #[test]
    fn an_inventory_with_a_thousand_cards_is_no_flood() {
        let card =
            |n: u32| adapter(&format!("52:54:00:00:{:02x}:{:02x}", n / 256, n % 256), "10.1.2.3", "255.255.255.0");
        assert_eq!(cards(&(1..1000).map(card).collect::<Vec<_>>()).len(), MOST_CARDS);
    }

    #[test]
    fn a_deployment_wakes_when_its_schedule_begins_by_this_servers_clock() {
        let zone = NamedZone::named("+02:00").expect("a zone");
        let now = UnixTime::from_seconds(1_795_168_800);
        let at = |text: Option<&str>| {
            let schedule = text.map(|text| text.parse().expect("a schedule"));
            due(&JobOptions { schedule, ..JobOptions::default() }, &zone, now)
        };
        assert_eq!(at(None), now);
        assert_eq!(at(Some("2026/11/20 11:59")), now, "it is noon there");
        assert_eq!(at(Some("2026/11/20 13:00")), UnixTime::from_seconds(now.seconds() + 3600));
    }
}
