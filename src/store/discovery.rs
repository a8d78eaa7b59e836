//! Who looks round in which network, and who was seen there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, rows_of, text};
use super::schema::{computers, discovered, elections, networks};
use super::{Conn, StoreError};
use crate::model::{ComputerId, UnixTime};
use crate::protocol::Discovered;

/// What an election weighs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Who.
    pub computer: ComputerId,
    /// How often it has checked in: the stock server's FIDELITY.
    pub contacts: i64,
    /// Milliseconds between two of these, on average: the stock server's QUALITY.
    pub gap: i64,
    /// When it was last heard from.
    pub last_contact: UnixTime,
    /// Is it put away?
    pub archived: bool,
}

/// A host that was seen in a network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Where.
    pub network: String,
    /// Who.
    pub host: Discovered,
    /// Who saw it last.
    pub reporter: ComputerId,
    /// When it was first seen there.
    pub first_seen: UnixTime,
    /// When it was last seen there.
    pub last_seen: UnixTime,
}

#[derive(Insertable)]
#[diesel(table_name = discovered, treat_none_as_default_value = false)]
struct SeenRow {
    network: String,
    mac: String,
    ip_address: String,
    name: String,
    reporter: i64,
    first_seen: i64,
    last_seen: i64,
}

type CandidateColumns = (i64, i64, i64, i64, Option<i64>);

const CANDIDATE: (
    computers::id,
    computers::contacts,
    computers::contact_gap,
    computers::last_contact,
    computers::archived_at,
) = (computers::id, computers::contacts, computers::contact_gap, computers::last_contact, computers::archived_at);

fn candidate_of((computer, contacts, gap, last_contact, archived_at): CandidateColumns) -> Candidate {
    Candidate {
        computer: ComputerId(computer),
        contacts,
        gap,
        last_contact: UnixTime::from_millis(last_contact),
        archived: archived_at.is_some(),
    }
}

/// One computer as an election weighs it.
pub fn candidate(conn: &mut Conn, computer: ComputerId) -> Result<Option<Candidate>, StoreError> {
    let query = computers::table.find(computer.0).select(CANDIDATE);
    let found: Option<CandidateColumns> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(candidate_of))
}

/// Where a computer was elected.
pub fn elected_in(conn: &mut Conn, computer: ComputerId) -> Result<Option<Ipv4Addr>, StoreError> {
    let query = elections::table.find(computer.0).select(elections::network);
    let found: Option<String> = q!(conn => query.first(conn).optional())?;
    found.map(|network| At("elections", computer.0).check(network.parse())).transpose()
}

/// Who is elected in a network, in order of their numbers.
pub fn elected_of(conn: &mut Conn, network: Ipv4Addr) -> Result<Vec<Candidate>, StoreError> {
    let query = elections::table
        .inner_join(computers::table.on(computers::id.eq(elections::computer_id)))
        .filter(elections::network.eq(network.to_string()))
        .order(elections::computer_id)
        .select(CANDIDATE);
    let found: Vec<CandidateColumns> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(candidate_of).collect())
}

/// Elects a computer; it was not elected anywhere.
pub fn elect(conn: &mut Conn, computer: ComputerId, network: Ipv4Addr, now: UnixTime) -> Result<(), StoreError> {
    q!(conn => diesel::insert_into(elections::table)
        .values((
            elections::computer_id.eq(computer.0),
            elections::network.eq(network.to_string()),
            elections::since.eq(now.millis()),
        ))
        .execute(conn))?;
    Ok(())
}

/// Ends an election.
pub fn dismiss(conn: &mut Conn, computer: ComputerId) -> Result<(), StoreError> {
    q!(conn => diesel::delete(elections::table.find(computer.0)).execute(conn))?;
    Ok(())
}

/// Everybody who is elected, with the network.
pub fn elected(conn: &mut Conn) -> Result<Vec<(String, ComputerId)>, StoreError> {
    let query = elections::table
        .order((elections::network, elections::computer_id))
        .select((elections::network, elections::computer_id));
    let found: Vec<(String, i64)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(network, computer)| (network, ComputerId(computer))).collect())
}

/// Writes down who was seen in a network.
pub fn record(
    conn: &mut Conn,
    network: Ipv4Addr,
    hosts: &[&Discovered],
    reporter: ComputerId,
    now: UnixTime,
) -> Result<(), StoreError> {
    // One network has a MAC once: the last of two addresses counts.
    let by_mac: BTreeMap<&str, &Discovered> = hosts.iter().map(|host| (host.mac.as_str(), *host)).collect();
    let seen: Vec<SeenRow> = by_mac
        .into_values()
        .map(|host| SeenRow {
            network: network.to_string(),
            mac: text(&host.mac).into_owned(),
            ip_address: text(&host.ip_address).into_owned(),
            name: text(&host.name).into_owned(),
            reporter: reporter.0,
            first_seen: now.millis(),
            last_seen: now.millis(),
        })
        .collect();
    for chunk in seen.chunks(rows_of(7)) {
        q!(conn => diesel::insert_into(discovered::table)
            .values(chunk)
            .on_conflict((discovered::network, discovered::mac))
            .do_update()
            .set((
                discovered::ip_address.eq(diesel::upsert::excluded(discovered::ip_address)),
                discovered::name.eq(diesel::upsert::excluded(discovered::name)),
                discovered::reporter.eq(diesel::upsert::excluded(discovered::reporter)),
                discovered::last_seen.eq(diesel::upsert::excluded(discovered::last_seen)),
            ))
            .execute(conn))?;
    }
    Ok(())
}

/// Everybody who was seen, or those of one network.
pub fn seen(conn: &mut Conn, network: Option<&str>) -> Result<Vec<Seen>, StoreError> {
    let query = discovered::table.order((discovered::network, discovered::mac)).select((
        discovered::network,
        discovered::ip_address,
        discovered::mac,
        discovered::name,
        discovered::reporter,
        discovered::first_seen,
        discovered::last_seen,
    ));
    let found: Vec<(String, String, String, String, i64, i64, i64)> = match network {
        Some(network) => {
            let query = query.filter(discovered::network.eq(network.to_owned()));
            q!(conn => query.load(conn))?
        }
        None => q!(conn => query.load(conn))?,
    };
    let host = |(network, ip_address, mac, name, reporter, first_seen, last_seen)| Seen {
        network,
        host: Discovered { ip_address, mac, name },
        reporter: ComputerId(reporter),
        first_seen: UnixTime::from_millis(first_seen),
        last_seen: UnixTime::from_millis(last_seen),
    };
    Ok(found.into_iter().map(host).collect())
}

/// One adapter of a computer that is not archived, with its network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Adapter {
    /// Whose.
    pub computer: ComputerId,
    /// The computer's host name.
    pub computer_name: String,
    /// Its wire name.
    pub device_id: String,
    /// The network's address, as the agent writes it.
    pub subnet: String,
    /// Its address.
    pub ip_address: String,
    /// Its MAC, as the agent writes it.
    pub mac: String,
}

type AdapterColumns = (i64, String, String, String, String, String);

const ADAPTER: (
    networks::computer_id,
    computers::name,
    computers::device_id,
    networks::subnet,
    networks::ip_address,
    networks::mac,
) = (
    networks::computer_id,
    computers::name,
    computers::device_id,
    networks::subnet,
    networks::ip_address,
    networks::mac,
);

fn adapter_of((computer, computer_name, device_id, subnet, ip_address, mac): AdapterColumns) -> Adapter {
    Adapter { computer: ComputerId(computer), computer_name, device_id, subnet, ip_address, mac }
}

/// The adapters that are in a network, or in any.
pub fn adapters(conn: &mut Conn, network: Option<&str>) -> Result<Vec<Adapter>, StoreError> {
    let query = networks::table
        .inner_join(computers::table.on(computers::id.eq(networks::computer_id)))
        .filter(computers::archived_at.is_null())
        .order((networks::subnet, networks::computer_id, networks::position))
        .select(ADAPTER);
    let found: Vec<AdapterColumns> = if let Some(network) = network {
        let query = query.filter(networks::subnet.eq(network.to_owned()));
        q!(conn => query.load(conn))?
    } else {
        let query = query.filter(networks::subnet.ne(""));
        q!(conn => query.load(conn))?
    };
    Ok(found.into_iter().map(adapter_of).collect())
}

/// The adapters with one of these MACs (in upper case), wherever they are.
pub fn adapters_with(conn: &mut Conn, macs: &[&str]) -> Result<Vec<Adapter>, StoreError> {
    let mut found = Vec::new();
    for chunk in macs.chunks(rows_of(2)) {
        // As Windows agents write them, and as others do.
        let both: Vec<String> = chunk.iter().flat_map(|mac| [mac.to_uppercase(), mac.to_lowercase()]).collect();
        let query = networks::table
            .inner_join(computers::table.on(computers::id.eq(networks::computer_id)))
            .filter(computers::archived_at.is_null())
            .filter(networks::mac.eq_any(both))
            .order((networks::computer_id, networks::position))
            .select(ADAPTER);
        let adapters: Vec<AdapterColumns> = q!(conn => query.load(conn))?;
        found.extend(adapters.into_iter().map(adapter_of));
    }
    Ok(found)
}
