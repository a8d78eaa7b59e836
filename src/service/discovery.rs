//! What computers are asked to look for: values of their registry, and who else is in their network (ocs-protocol 2.1).
//!
//! A computer of each network is *elected* to look round, or as many as `IPDISCOVER` says. An election is held whenever a
//! computer's inventory comes: a free place goes to it, or one of somebody who checks in clearly more rarely. Whoever is
//! silent for `IPDISCOVER_MAX_ALIVE` days, or has left the network, loses its place. `IPDISCOVER_SWITCH` keeps a computer
//! out, or has it look round without an election.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::App;
use crate::model::settings::{SettingKey, Settings, SettingsLayer};
use crate::model::{ComputerId, RegistryQuery, UnixTime};
use crate::protocol::{Discovered, InventoryRequest, Network};
use crate::store::discovery::{self, Adapter, Candidate, Seen};
use crate::store::labels::{self, Label};
use crate::store::registry::{self, RegistryValue};
use crate::store::settings::Scope;
use crate::store::{Conn, StoreError, computers, settings};

/// Check-ins before a computer can be elected: one that came twice may never come again (ocs-protocol 3.2).
const CONTACTS: i64 = 3;
/// By so much a newcomer's check-ins must lie closer together than those of whom it displaces, or places would change
/// hands at every inventory.
const CLEARLY: i64 = DAY;
const DAY: i64 = 24 * 3600 * 1000;
/// `IPDISCOVER_SWITCH`.
const IF_ELECTED: i64 = 1;
const ALWAYS: i64 = 2;

/// What Windows agents are to look up.
pub(super) fn registry_queries(conn: &mut Conn, settings: &Settings) -> Result<Vec<RegistryQuery>, StoreError> {
    if settings.value(SettingKey::Registry) == 0 { Ok(Vec::new()) } else { registry::queries(conn) }
}

/// What an agent found there.
pub(super) fn registry_values(request: &InventoryRequest) -> Vec<RegistryValue> {
    let entries = request.sections.iter().filter(|section| section.name == "REGISTRY").flat_map(|it| &it.entries);
    let value = |entry: &Vec<(String, String)>| {
        let fact = |name| entry.iter().find(|(key, _)| key == name).map(|(_, text)| text.clone());
        Some(RegistryValue { name: fact("NAME")?, value: fact("REGVALUE").unwrap_or_default() })
    };
    entries.filter_map(value).collect()
}

/// The network that a computer is to look round in now.
pub(super) fn surroundings(
    conn: &mut Conn,
    computer: ComputerId,
    settings: &Settings,
) -> Result<Option<Ipv4Addr>, StoreError> {
    if settings.scanners_of_a_network() == 0 {
        return Ok(None);
    }
    match settings.value(SettingKey::IpDiscoverSwitch) {
        IF_ELECTED => discovery::elected_in(conn, computer),
        ALWAYS => {
            let networks = networks_of(&computers::networks(conn, computer)?);
            let excluded = labels::excluded(conn)?;
            Ok(networks.into_iter().find(|network| !excluded.contains(network)))
        }
        _ => Ok(None),
    }
}

/// The networks of these adapters, each once, in their order.
fn networks_of(adapters: &[Network]) -> Vec<Ipv4Addr> {
    let mut known = BTreeSet::new();
    let networks = adapters.iter().filter_map(Network::surroundings).map(|(network, _)| network);
    networks.filter(|network| known.insert(*network)).collect()
}

/// Keeps whom an inventory says it saw, and holds the election. True if that may concern other computers, too.
pub(super) fn take(
    conn: &mut Conn,
    computer: ComputerId,
    request: &InventoryRequest,
    configured: &SettingsLayer,
    now: UnixTime,
) -> Result<bool, StoreError> {
    if !request.discovered.is_empty() {
        record(conn, computer, request, now)?;
    }
    // Most servers stop here: nobody looks round.
    let mut global = configured.clone();
    global.0.extend(settings::layer(conn, Scope::Global)?.0);
    if global.value(SettingKey::IpDiscover).unwrap_or(SettingKey::IpDiscover.info().default) == 0 {
        return Ok(false);
    }
    let settings = super::settings::Layers::load(conn, configured, Some(computer))?.resolve();
    let excluded = labels::excluded(conn)?;
    let mut networks = networks_of(&request.networks);
    networks.retain(|network| !excluded.contains(network));
    let mut place = discovery::elected_in(conn, computer)?;
    let may = settings.value(SettingKey::IpDiscoverSwitch) == IF_ELECTED;
    if let Some(network) = place
        && !(may && networks.contains(&network))
    {
        discovery::dismiss(conn, computer)?;
        place = None;
    }
    let Some(me) = discovery::candidate(conn, computer)?.filter(|me| may && me.contacts >= CONTACTS) else {
        return Ok(true);
    };
    let silence = settings.value(SettingKey::IpDiscoverMaxAlive).saturating_mul(DAY);
    let places = settings.scanners_of_a_network();
    for network in place.map_or(networks, |network| vec![network]) {
        let (alive, gone): (Vec<Candidate>, Vec<Candidate>) = discovery::elected_of(conn, network)?
            .into_iter()
            .filter(|other| other.computer != computer)
            .partition(|other| !other.archived && now.millis().saturating_sub(other.last_contact.millis()) <= silence);
        for other in gone {
            discovery::dismiss(conn, other.computer)?;
        }
        match elect(&me, place.is_some(), &alive, places) {
            Outcome::Stays => return Ok(true),
            Outcome::Resigns => {
                discovery::dismiss(conn, computer)?;
                return Ok(true);
            }
            Outcome::Wins(displaced) => {
                for other in displaced {
                    discovery::dismiss(conn, other)?;
                }
                discovery::elect(conn, computer, network, now)?;
                return Ok(true);
            }
            Outcome::Loses => {}
        }
    }
    Ok(true)
}

/// How an election ends for the computer that it is held for.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Outcome {
    /// It was elected and is.
    Stays,
    /// It was elected, and there are enough better ones.
    Resigns,
    /// It is elected, and these are not any more.
    Wins(Vec<ComputerId>),
    /// It is not.
    Loses,
}

/// Who checks in more often is better; of two that are equal, who is known longer.
fn elect(me: &Candidate, incumbent: bool, others: &[Candidate], places: usize) -> Outcome {
    let rank = |candidate: &Candidate| (candidate.gap, candidate.computer);
    let mut others: Vec<&Candidate> = others.iter().collect();
    others.sort_by_key(|other| rank(other));
    if incumbent {
        let better = others.iter().filter(|other| rank(other) < rank(me)).count();
        return if better < places { Outcome::Stays } else { Outcome::Resigns };
    }
    if others.len() < places {
        return Outcome::Wins(Vec::new());
    }
    let last = places.checked_sub(1).and_then(|at| others.get(at));
    if last.is_some_and(|last| last.gap > me.gap.saturating_add(CLEARLY)) {
        return Outcome::Wins(others.split_off(places - 1).into_iter().map(|other| other.computer).collect());
    }
    Outcome::Loses
}

/// Each host goes to the network of the reporter that its address lies in, else to the one that the reporter was to look
/// round in; what belongs nowhere was not asked for.
fn record(conn: &mut Conn, computer: ComputerId, request: &InventoryRequest, now: UnixTime) -> Result<(), StoreError> {
    let own: Vec<(Ipv4Addr, Ipv4Addr)> = request.networks.iter().filter_map(Network::surroundings).collect();
    let fallback = discovery::elected_in(conn, computer)?;
    let mut by_network: BTreeMap<Ipv4Addr, Vec<&Discovered>> = BTreeMap::new();
    for host in &request.discovered {
        let Ok(address) = host.ip_address.parse::<Ipv4Addr>() else { continue };
        let inside = own.iter().find(|(network, mask)| address.to_bits() & mask.to_bits() == network.to_bits());
        if let Some(network) = inside.map(|(network, _)| *network).or(fallback) {
            by_network.entry(network).or_default().push(host);
        }
    }
    by_network.into_iter().try_for_each(|(network, hosts)| discovery::record(conn, network, &hosts, computer, now))
}

/// Why nothing was shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// No computer is in such a network, and nobody was seen there.
    #[error("no network {0} is known: `dripfeed network list` shows those that are")]
    UnknownNetwork(String),
    /// A name or a tag that is none.
    #[error(
        "\"{0}\" cannot be the name or tag of a network: they have at most 60 characters and no control characters"
    )]
    Label(String),
    /// There is a question of that name.
    #[error("there is a question \"{0}\" already: `dripfeed registry remove` takes it back")]
    Exists(String),
    /// There is none.
    #[error("there is no question \"{0}\": `dripfeed registry list` shows them")]
    UnknownQuery(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A network as a list shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkSummary {
    /// Its address.
    pub network: String,
    /// What administrators say of it.
    pub label: Label,
    /// Computers with an adapter in it.
    pub computers: usize,
    /// Names of those that are elected to look round.
    pub elected: Vec<String>,
    /// Hosts that were seen there.
    pub seen: usize,
    /// Those of them that no known computer has.
    pub strangers: usize,
    /// When anybody was seen there last.
    pub last_seen: Option<UnixTime>,
}

/// A host of a network: an adapter of a known computer, or who was seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    /// Its address.
    pub ip_address: String,
    /// Its MAC, in upper case.
    pub mac: String,
    /// What it was called by who saw it.
    pub name: String,
    /// The known computer that has the MAC.
    pub computer: Option<String>,
    /// That computer's wire name.
    pub device_id: Option<String>,
    /// When it was seen first and last; `None` for an adapter that only its own computer told of.
    pub seen: Option<(UnixTime, UnixTime)>,
}

/// Every network that a computer is in or that somebody was seen in, in order of the addresses.
pub fn networks(app: &App) -> Result<Vec<NetworkSummary>, DiscoveryError> {
    app.store.read_now(|conn| {
        let mut all: BTreeMap<String, NetworkSummary> = BTreeMap::new();
        let mut members: BTreeMap<String, BTreeSet<ComputerId>> = BTreeMap::new();
        let mut names: BTreeMap<ComputerId, String> = BTreeMap::new();
        for adapter in discovery::adapters(conn, None)? {
            // Loopback and IPv6 are nobody's neighbourhood.
            if adapter.subnet.parse::<Ipv4Addr>().is_ok_and(|network| !network.is_loopback()) {
                members.entry(adapter.subnet).or_default().insert(adapter.computer);
                names.insert(adapter.computer, adapter.computer_name);
            }
        }
        let seen = discovery::seen(conn, None)?;
        for network in members.keys().chain(seen.iter().map(|one| &one.network)) {
            let empty = || NetworkSummary { network: network.clone(), ..NetworkSummary::default() };
            all.entry(network.clone()).or_insert_with(empty);
        }
        let macs: Vec<&str> = seen.iter().map(|one| one.host.mac.as_str()).collect();
        let known: BTreeSet<String> =
            discovery::adapters_with(conn, &macs)?.into_iter().map(|adapter| adapter.mac.to_uppercase()).collect();
        for one in &seen {
            let Some(summary) = all.get_mut(&one.network) else { continue };
            summary.seen += 1;
            summary.strangers += usize::from(!known.contains(&one.host.mac));
            summary.last_seen = summary.last_seen.max(Some(one.last_seen));
        }
        for (network, computers) in members {
            if let Some(summary) = all.get_mut(&network) {
                summary.computers = computers.len();
            }
        }
        for (network, computer) in discovery::elected(conn)? {
            if let (Some(summary), Some(name)) = (all.get_mut(&network), names.get(&computer)) {
                summary.elected.push(name.clone());
            }
        }
        for (network, label) in labels::list(conn)? {
            // A network that everybody left keeps its name, and is not listed.
            if let Some(summary) = all.get_mut(&network) {
                summary.label = label;
            }
        }
        let mut all: Vec<NetworkSummary> = all.into_values().collect();
        all.sort_by_key(|summary| summary.network.parse::<Ipv4Addr>().ok());
        Ok(all)
    })
}

/// Who is in a network, in order of the addresses.
pub fn hosts(app: &App, network: &str) -> Result<Vec<Host>, DiscoveryError> {
    let network = network.trim().to_owned();
    app.store.read_now(move |conn| {
        let own = discovery::adapters(conn, Some(&network))?;
        let seen = discovery::seen(conn, Some(&network))?;
        if own.is_empty() && seen.is_empty() {
            return Err(DiscoveryError::UnknownNetwork(network.chars().take(60).collect()));
        }
        let macs: Vec<&str> = seen.iter().map(|one| one.host.mac.as_str()).collect();
        let owners: BTreeMap<String, (String, String)> = discovery::adapters_with(conn, &macs)?
            .into_iter()
            .map(|adapter| (adapter.mac.to_uppercase(), (adapter.computer_name, adapter.device_id)))
            .collect();
        let was_seen = |Seen { host, first_seen, last_seen, .. }: Seen| Host {
            computer: owners.get(&host.mac).map(|(name, _)| name.clone()),
            device_id: owners.get(&host.mac).map(|(_, device_id)| device_id.clone()),
            ip_address: host.ip_address,
            mac: host.mac,
            name: host.name,
            seen: Some((first_seen, last_seen)),
        };
        let told = |adapter: Adapter| Host {
            ip_address: adapter.ip_address,
            mac: adapter.mac.to_uppercase(),
            name: String::new(),
            computer: Some(adapter.computer_name),
            device_id: Some(adapter.device_id),
            seen: None,
        };
        let mut hosts: Vec<Host> = seen.into_iter().map(was_seen).collect();
        let macs: BTreeSet<String> = hosts.iter().map(|host| host.mac.clone()).collect();
        hosts.extend(own.into_iter().map(told).filter(|host| !macs.contains(&host.mac)));
        hosts.sort_by_cached_key(|host| (host.ip_address.parse::<Ipv4Addr>().ok(), host.mac.clone()));
        Ok(hosts)
    })
}

/// Says what a network is called, and whether nobody is to look round there. Whoever was elected there is not any more.
pub fn label(app: &App, network: &str, label: Label) -> Result<(), DiscoveryError> {
    let network = network.trim().to_owned();
    for text in [&label.name, &label.tag] {
        if text.chars().count() > 60 || text.chars().any(char::is_control) {
            return Err(DiscoveryError::Label(text.chars().filter(|c| !c.is_control()).take(60).collect()));
        }
    }
    app.store.write_now(move |conn| {
        if discovery::adapters(conn, Some(&network))?.is_empty() && discovery::seen(conn, Some(&network))?.is_empty() {
            return Err(DiscoveryError::UnknownNetwork(network.chars().take(60).collect()));
        }
        Ok(labels::set(conn, &network, &label)?)
    })
}

/// Adds a question to the registry of Windows computers. Agents are told at their next contact.
pub fn add_registry_query(app: &App, query: RegistryQuery) -> Result<(), DiscoveryError> {
    app.store.write_now(move |conn| {
        if registry::add_query(conn, &query)? { Ok(()) } else { Err(DiscoveryError::Exists(query.name().to_owned())) }
    })
}

/// Asks something else under the same name; what was found stays until the next inventories.
pub fn edit_registry_query(app: &App, query: RegistryQuery) -> Result<(), DiscoveryError> {
    app.store.write_now(move |conn| {
        if registry::edit_query(conn, &query)? {
            Ok(())
        } else {
            Err(DiscoveryError::UnknownQuery(query.name().to_owned()))
        }
    })
}

/// Takes one back.
pub fn remove_registry_query(app: &App, name: &str) -> Result<(), DiscoveryError> {
    let name = name.to_owned();
    app.store.write_now(move |conn| {
        if registry::remove_query(conn, &name)? { Ok(()) } else { Err(DiscoveryError::UnknownQuery(name)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: i64, gap_hours: i64) -> Candidate {
        Candidate {
            computer: ComputerId(number),
            contacts: 9,
            gap: gap_hours * 3_600_000,
            last_contact: UnixTime::from_seconds(0),
            archived: false,
        }
    }

    #[test]
    fn a_place_goes_to_who_is_there_and_changes_hands_only_for_a_clearly_better_one() {
        let hours = |all: &[(i64, i64)]| all.iter().map(|(id, gap)| candidate(*id, *gap)).collect::<Vec<_>>();
        let others = hours(&[(1, 24), (2, 96)]);
        let me = |gap| candidate(7, gap);
        let newcomer = |gap, places| elect(&me(gap), false, &others, places);
        assert_eq!(newcomer(500, 3), Outcome::Wins(vec![]), "a place is free");
        assert_eq!(newcomer(72, 2), Outcome::Loses, "a day better is not clearly better");
        assert_eq!(newcomer(71, 2), Outcome::Wins(vec![ComputerId(2)]));
        assert_eq!(newcomer(1, 1), Outcome::Loses, "the best of the others is within a day");
        assert_eq!(
            elect(&me(1), false, &hours(&[(1, 50), (2, 96)]), 1),
            Outcome::Wins(vec![ComputerId(1), ComputerId(2)])
        );
        let incumbent = |gap, places| elect(&me(gap), true, &others, places);
        assert_eq!(incumbent(500, 3), Outcome::Stays);
        assert_eq!(incumbent(500, 2), Outcome::Resigns, "there were more places when it was elected");
        assert_eq!(incumbent(24, 1), Outcome::Resigns, "of two equal ones the older stays");
        assert_eq!(incumbent(23, 1), Outcome::Stays);
    }

    #[test]
    fn every_election_fills_the_places_and_no_more() {
        // Whoever comes in whatever order: in the end as many are elected as there are places, and the best is one of them.
        for places in 1..4_usize {
            let all: Vec<Candidate> = (0..8).map(|n| candidate(n, (n * 37) % 11 * 20)).collect();
            let mut elected: Vec<Candidate> = Vec::new();
            for _ in 0..3 {
                for me in &all {
                    let others: Vec<Candidate> =
                        elected.iter().filter(|it| it.computer != me.computer).copied().collect();
                    match elect(me, elected.contains(me), &others, places) {
                        Outcome::Wins(displaced) => {
                            elected.retain(|it| !displaced.contains(&it.computer));
                            elected.push(*me);
                        }
                        Outcome::Resigns => elected.retain(|it| it != me),
                        Outcome::Stays | Outcome::Loses => {}
                    }
                }
            }
            assert_eq!(elected.len(), places);
            let worst = elected.iter().map(|it| it.gap).max().expect("somebody");
            let outside = all.iter().filter(|it| !elected.contains(it)).map(|it| it.gap).min().expect("others");
            assert!(worst <= outside + CLEARLY, "{worst} against {outside}");
        }
    }
}
