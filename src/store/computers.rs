//! Computers, their addresses and their inventory documents.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::connection::{Steady, q};
use super::row::{At, limit as rows, rows_of, text, time};
use super::schema::{computers, inventory_documents, networks, settings};
use super::settings::COMPUTER;
use super::{Conn, StoreError};
use crate::model::{AgentKey, Computer, ComputerId, DeviceId, UnixTime};
use crate::protocol::{ComputerFacts, Network};

/// What a contact says of a computer.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Address of the peer.
    pub peer_address: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// When.
    pub at: UnixTime,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = computers)]
pub(super) struct ComputerRow {
    id: i64,
    device_id: String,
    name: String,
    os_name: String,
    os_version: String,
    architecture: String,
    ip_address: String,
    peer_address: String,
    user_name: String,
    serial: String,
    model: String,
    uuid: String,
    workgroup: String,
    tag: String,
    user_agent: String,
    first_contact: i64,
    last_contact: i64,
    last_inventory: Option<i64>,
    archived_at: Option<i64>,
    agent_key: Option<String>,
    agent_key_at: Option<i64>,
}

impl TryFrom<ComputerRow> for Computer {
    type Error = StoreError;

    fn try_from(row: ComputerRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: ComputerId(row.id),
            device_id: At("computers", row.id).check(row.device_id.parse())?,
            name: row.name,
            os_name: row.os_name,
            os_version: row.os_version,
            architecture: row.architecture,
            ip_address: row.ip_address,
            peer_address: row.peer_address,
            user_name: row.user_name,
            serial: row.serial,
            model: row.model,
            uuid: row.uuid,
            workgroup: row.workgroup,
            tag: row.tag,
            user_agent: row.user_agent,
            first_contact: UnixTime::from_millis(row.first_contact),
            last_contact: UnixTime::from_millis(row.last_contact),
            last_inventory: time(row.last_inventory),
            archived_at: time(row.archived_at),
            agent_key: agent_key((row.agent_key, row.agent_key_at)),
        })
    }
}

fn agent_key((key, since): (Option<String>, Option<i64>)) -> Option<AgentKey> {
    Some(AgentKey { key: key?, since: UnixTime::from_millis(since?) })
}

/// What an inventory writes; `None` leaves what is there.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = computers)]
struct FactsRow<'a> {
    name: Cow<'a, str>,
    name_key: String,
    os_name: Cow<'a, str>,
    os_version: Cow<'a, str>,
    architecture: Cow<'a, str>,
    ip_address: Cow<'a, str>,
    peer_address: Cow<'a, str>,
    user_name: Option<Cow<'a, str>>,
    serial: Cow<'a, str>,
    model: Cow<'a, str>,
    uuid: Cow<'a, str>,
    workgroup: Cow<'a, str>,
    user_agent: Cow<'a, str>,
    last_contact: i64,
    last_inventory: i64,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = networks, treat_none_as_default_value = false)]
struct NetworkRow<'a> {
    computer_id: i64,
    position: i64,
    ip_address: Cow<'a, str>,
    mac: Cow<'a, str>,
    subnet: Cow<'a, str>,
    mask: Cow<'a, str>,
}

#[derive(AsChangeset, Insertable)]
#[diesel(table_name = inventory_documents)]
struct DocumentRow<'a> {
    computer_id: i64,
    sha256: &'a [u8],
    document: &'a [u8],
}

/// One computer by its wire name.
pub fn find_by_device_id(conn: &mut Conn, device_id: &DeviceId) -> Result<Option<Computer>, StoreError> {
    let query = computers::table.filter(computers::device_id.eq(device_id.as_str()));
    q!(conn => query.select(ComputerRow::as_select()).first(conn).optional())?.map(Computer::try_from).transpose()
}

/// One computer.
pub fn find(conn: &mut Conn, id: ComputerId) -> Result<Option<Computer>, StoreError> {
    let query = computers::table.find(id.0);
    q!(conn => query.select(ComputerRow::as_select()).first(conn).optional())?.map(Computer::try_from).transpose()
}

/// Every computer of that host name, letters compared without case.
pub fn find_by_name(conn: &mut Conn, name: &str) -> Result<Vec<Computer>, StoreError> {
    let query =
        computers::table.filter(computers::name_key.eq(text(&name.to_lowercase()).into_owned())).order(computers::id);
    q!(conn => query.select(ComputerRow::as_select()).load(conn))?.into_iter().map(Computer::try_from).collect()
}

/// These computers, in order of their numbers; those that are gone are left out.
pub fn some(conn: &mut Conn, ids: &[ComputerId]) -> Result<Vec<Computer>, StoreError> {
    const AT_ONCE: usize = 1000;
    let numbers: BTreeSet<i64> = ids.iter().map(|id| id.0).collect();
    let numbers: Vec<i64> = numbers.into_iter().collect();
    let mut found = Vec::with_capacity(numbers.len());
    for chunk in numbers.chunks(AT_ONCE) {
        let query = computers::table.filter(computers::id.eq_any(chunk)).order(computers::id);
        let page: Vec<ComputerRow> = q!(conn => query.select(ComputerRow::as_select()).load(conn))?;
        for row in page {
            found.push(row.try_into()?);
        }
    }
    Ok(found)
}

/// Computers that are not archived in order of their number, after `after`, at most `limit`.
pub fn list(conn: &mut Conn, after: Option<ComputerId>, limit: usize) -> Result<Vec<Computer>, StoreError> {
    let query = computers::table
        .filter(computers::id.gt(after.map_or(i64::MIN, |id| id.0)))
        .filter(computers::archived_at.is_null())
        .order(computers::id)
        .limit(rows(limit));
    q!(conn => query.select(ComputerRow::as_select()).load(conn))?.into_iter().map(Computer::try_from).collect()
}

/// The same of those that are.
pub fn list_archived(conn: &mut Conn, after: Option<ComputerId>, limit: usize) -> Result<Vec<Computer>, StoreError> {
    let query = computers::table
        .filter(computers::id.gt(after.map_or(i64::MIN, |id| id.0)))
        .filter(computers::archived_at.is_not_null())
        .order(computers::id)
        .limit(rows(limit));
    q!(conn => query.select(ComputerRow::as_select()).load(conn))?.into_iter().map(Computer::try_from).collect()
}

/// Numbers of all computers that are not archived.
pub fn all_ids(conn: &mut Conn) -> Result<Vec<ComputerId>, StoreError> {
    let query = computers::table.filter(computers::archived_at.is_null()).select(computers::id).order(computers::id);
    Ok(q!(conn => query.load(conn))?.into_iter().map(ComputerId).collect())
}

/// How many computers there are.
pub fn count(conn: &mut Conn) -> Result<u64, StoreError> {
    let count: i64 = q!(conn => computers::table.count().get_result(conn))?;
    Ok(count.unsigned_abs())
}

/// Inserts the computer, or updates its facts, contact and last inventory. True if it is new.
/// An empty `user_name` or one that contains "system" does not overwrite what is there (ocs-protocol 3.3); `tag` is
/// written only for a new computer (ocs-protocol 3.4).
pub fn take_facts(
    conn: &mut Conn,
    device_id: &DeviceId,
    facts: &ComputerFacts,
    contact: &Contact,
) -> Result<(ComputerId, bool), StoreError> {
    let names_a_person = !facts.user_name.is_empty() && !facts.user_name.to_lowercase().contains("system");
    let mut row = FactsRow {
        name: text(&facts.name),
        name_key: text(&facts.name.to_lowercase()).into_owned(),
        os_name: text(&facts.os_name),
        os_version: text(&facts.os_version),
        architecture: text(&facts.architecture),
        ip_address: text(&facts.ip_address),
        peer_address: text(&contact.peer_address),
        user_name: names_a_person.then(|| text(&facts.user_name)),
        serial: text(&facts.serial),
        model: text(&facts.model),
        uuid: text(&facts.uuid),
        workgroup: text(&facts.workgroup),
        user_agent: text(&contact.user_agent),
        last_contact: contact.at.millis(),
        last_inventory: contact.at.millis(),
    };
    // Most inventories are of computers that are known. Nobody else writes between the two (one writer at a time).
    let known = computers::table.filter(computers::device_id.eq(device_id.as_str()));
    let updated: Option<i64> = q!(conn =>
        Steady(diesel::update(known).set(&row).returning(computers::id)).get_result(conn).optional())?;
    if let Some(id) = updated {
        return Ok((ComputerId(id), false));
    }
    // Nothing is there that it could overwrite.
    row.user_name = Some(text(&facts.user_name));
    let id: i64 = q!(conn => diesel::insert_into(computers::table)
        .values((
            &row,
            computers::device_id.eq(device_id.as_str()),
            computers::tag.eq(text(&facts.tag)),
            computers::first_contact.eq(contact.at.millis()),
        ))
        .returning(computers::id)
        .get_result(conn))?;
    Ok((ComputerId(id), true))
}

/// Writes last contact, peer address and agent.
pub fn touch(conn: &mut Conn, id: ComputerId, contact: &Contact) -> Result<(), StoreError> {
    let seen = diesel::update(computers::table.find(id.0)).set((
        computers::last_contact.eq(contact.at.millis()),
        computers::peer_address.eq(text(&contact.peer_address)),
        computers::user_agent.eq(text(&contact.user_agent)),
    ));
    q!(conn => Steady(seen).run(conn))?;
    Ok(())
}

/// [`touch`] for a check-in: counts it, and keeps how much time lies between two of them on average.
pub fn check_in(conn: &mut Conn, id: ComputerId, contact: &Contact) -> Result<(), StoreError> {
    let gaps = computers::contact_gap * computers::contacts - computers::last_contact + contact.at.millis();
    let counted = diesel::update(computers::table.find(id.0)).set((
        computers::contact_gap.eq(gaps / (computers::contacts + 1_i64)),
        computers::contacts.eq(computers::contacts + 1_i64),
        computers::last_contact.eq(contact.at.millis()),
        computers::peer_address.eq(text(&contact.peer_address)),
        computers::user_agent.eq(text(&contact.user_agent)),
    ));
    q!(conn => Steady(counted).run(conn))?;
    Ok(())
}

/// How many computers were last heard from at that address. Reads the whole table.
pub fn heard_from(conn: &mut Conn, peer_address: &str) -> Result<u64, StoreError> {
    let query = computers::table.filter(computers::peer_address.eq(peer_address)).count();
    let count: i64 = q!(conn => query.get_result(conn))?;
    At("computers", peer_address).number("count", count)
}

/// Where computers that are not archived were last heard from, and how many at each address. Reads the whole table.
pub fn peers(conn: &mut Conn) -> Result<Vec<(String, u64)>, StoreError> {
    let query = computers::table
        .filter(computers::archived_at.is_null())
        .group_by(computers::peer_address)
        .select((computers::peer_address, diesel::dsl::count_star()));
    let found: Vec<(String, i64)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(address, count)| (address, count.unsigned_abs())).collect())
}

/// Writes the moment of an inventory that changed nothing.
pub fn touch_inventory(conn: &mut Conn, id: ComputerId, contact: &Contact) -> Result<(), StoreError> {
    q!(conn => diesel::update(computers::table.find(id.0))
        .set((
            computers::last_contact.eq(contact.at.millis()),
            computers::last_inventory.eq(contact.at.millis()),
            computers::peer_address.eq(text(&contact.peer_address)),
            computers::user_agent.eq(text(&contact.user_agent)),
        ))
        .execute(conn))?;
    Ok(())
}

/// Changes only the address (NOTIFY).
pub fn set_ip_address(conn: &mut Conn, id: ComputerId, ip_address: &str) -> Result<(), StoreError> {
    q!(conn => diesel::update(computers::table.find(id.0))
        .set(computers::ip_address.eq(text(ip_address)))
        .execute(conn))?;
    Ok(())
}

/// Replaces the computer's adapters. Writes nothing if these are they.
pub fn set_networks(conn: &mut Conn, id: ComputerId, networks: &[Network]) -> Result<(), StoreError> {
    if self::networks(conn, id)? == networks {
        return Ok(());
    }
    let old = networks::table.filter(networks::computer_id.eq(id.0));
    q!(conn => diesel::delete(old).execute(conn))?;
    let new: Vec<NetworkRow<'_>> = (0..)
        .zip(networks)
        .map(|(position, network)| NetworkRow {
            computer_id: id.0,
            position,
            ip_address: text(&network.ip_address),
            mac: text(&network.mac),
            subnet: text(&network.subnet),
            mask: text(&network.mask),
        })
        .collect();
    for chunk in new.chunks(rows_of(6)) {
        q!(conn => diesel::insert_into(networks::table).values(chunk).execute(conn))?;
    }
    Ok(())
}

/// The computer's adapters.
pub fn networks(conn: &mut Conn, id: ComputerId) -> Result<Vec<Network>, StoreError> {
    let query = networks::table.filter(networks::computer_id.eq(id.0)).order(networks::position).select((
        networks::ip_address,
        networks::mac,
        networks::subnet,
        networks::mask,
    ));
    let found: Vec<(String, String, String, String)> = q!(conn => query.load(conn))?;
    let network = |(ip_address, mac, subnet, mask)| Network { ip_address, mac, subnet, mask };
    Ok(found.into_iter().map(network).collect())
}

/// The adapters of these computers; those without one are not in it.
pub fn networks_of(conn: &mut Conn, ids: &[ComputerId]) -> Result<BTreeMap<ComputerId, Vec<Network>>, StoreError> {
    let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut found: BTreeMap<ComputerId, Vec<Network>> = BTreeMap::new();
    for chunk in numbers.chunks(rows_of(1)) {
        let query = networks::table
            .filter(networks::computer_id.eq_any(chunk))
            .order((networks::computer_id, networks::position))
            .select((networks::computer_id, networks::ip_address, networks::mac, networks::subnet, networks::mask));
        let rows: Vec<(i64, String, String, String, String)> = q!(conn => query.load(conn))?;
        for (id, ip_address, mac, subnet, mask) in rows {
            found.entry(ComputerId(id)).or_default().push(Network { ip_address, mac, subnet, mask });
        }
    }
    Ok(found)
}

/// SHA-256 of the stored inventory document.
pub fn document_sha256(conn: &mut Conn, id: ComputerId) -> Result<Option<Vec<u8>>, StoreError> {
    let query = inventory_documents::table.find(id.0).select(inventory_documents::sha256);
    Ok(q!(conn => query.first(conn).optional())?)
}

/// Keeps the document (compressed by the caller) with the digest of what came.
pub fn set_document(conn: &mut Conn, id: ComputerId, sha256: &[u8], deflated: &[u8]) -> Result<(), StoreError> {
    let row = DocumentRow { computer_id: id.0, sha256, document: deflated };
    q!(conn => diesel::insert_into(inventory_documents::table)
        .values(&row)
        .on_conflict(inventory_documents::computer_id)
        .do_update()
        .set(&row)
        .execute(conn))?;
    Ok(())
}

/// The document as it was kept.
pub fn document(conn: &mut Conn, id: ComputerId) -> Result<Option<Vec<u8>>, StoreError> {
    let query = inventory_documents::table.find(id.0).select(inventory_documents::document);
    Ok(q!(conn => query.first(conn).optional())?)
}

/// A computer's number and its key.
pub fn key_by_device_id(
    conn: &mut Conn,
    device_id: &DeviceId,
) -> Result<Option<(ComputerId, Option<AgentKey>)>, StoreError> {
    let query = computers::table.filter(computers::device_id.eq(device_id.as_str())).select((
        computers::id,
        computers::agent_key,
        computers::agent_key_at,
    ));
    let found: Option<(i64, Option<String>, Option<i64>)> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(|(id, key, since)| (ComputerId(id), agent_key((key, since)))))
}

/// Gives a computer a key, or takes it away.
pub fn set_agent_key(conn: &mut Conn, id: ComputerId, key: Option<&AgentKey>) -> Result<(), StoreError> {
    q!(conn => diesel::update(computers::table.find(id.0))
        .set((
            computers::agent_key.eq(key.map(|key| &key.key)),
            computers::agent_key_at.eq(key.map(|key| key.since.millis())),
        ))
        .execute(conn))?;
    Ok(())
}

/// Removes a computer with its jobs, history, adapters, document and settings; its events stay. True if it was there.
pub fn delete(conn: &mut Conn, id: ComputerId) -> Result<bool, StoreError> {
    let own_settings = settings::table.filter(settings::scope.eq(COMPUTER)).filter(settings::scope_id.eq(id.0));
    q!(conn => diesel::delete(own_settings).execute(conn))?;
    // What it alone had leaves the dictionary.
    super::software::forget(conn, id)?;
    super::values::forget(conn, id)?;
    Ok(q!(conn => diesel::delete(computers::table.find(id.0)).execute(conn))? > 0)
}
