//! Computers, their addresses and their inventory documents.

use super::{Conn, StoreError};
use crate::model::{Computer, ComputerId, DeviceId, UnixTime};
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

/// One computer by its wire name.
pub fn find_by_device_id(conn: &mut Conn, device_id: &DeviceId) -> Result<Option<Computer>, StoreError> {
    let _ = (conn, device_id);
    todo!()
}

/// One computer.
pub fn find(conn: &mut Conn, id: ComputerId) -> Result<Option<Computer>, StoreError> {
    let _ = (conn, id);
    todo!()
}

/// Every computer of that host name, letters compared without case.
pub fn find_by_name(conn: &mut Conn, name: &str) -> Result<Vec<Computer>, StoreError> {
    let _ = (conn, name);
    todo!()
}

/// Computers in order of their number, after `after`, at most `limit`.
pub fn list(conn: &mut Conn, after: Option<ComputerId>, limit: usize) -> Result<Vec<Computer>, StoreError> {
    let _ = (conn, after, limit);
    todo!()
}

/// Numbers of all computers.
pub fn all_ids(conn: &mut Conn) -> Result<Vec<ComputerId>, StoreError> {
    let _ = conn;
    todo!()
}

/// How many computers there are.
pub fn count(conn: &mut Conn) -> Result<u64, StoreError> {
    let _ = conn;
    todo!()
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
    let _ = (conn, device_id, facts, contact);
    todo!()
}

/// Writes last contact, peer address and agent.
pub fn touch(conn: &mut Conn, id: ComputerId, contact: &Contact) -> Result<(), StoreError> {
    let _ = (conn, id, contact);
    todo!()
}

/// Writes the moment of an inventory that changed nothing.
pub fn touch_inventory(conn: &mut Conn, id: ComputerId, contact: &Contact) -> Result<(), StoreError> {
    let _ = (conn, id, contact);
    todo!()
}

/// Changes only the address (NOTIFY).
pub fn set_ip_address(conn: &mut Conn, id: ComputerId, ip_address: &str) -> Result<(), StoreError> {
    let _ = (conn, id, ip_address);
    todo!()
}

/// Replaces the computer's adapters.
pub fn set_networks(conn: &mut Conn, id: ComputerId, networks: &[Network]) -> Result<(), StoreError> {
    let _ = (conn, id, networks);
    todo!()
}

/// The computer's adapters.
pub fn networks(conn: &mut Conn, id: ComputerId) -> Result<Vec<Network>, StoreError> {
    let _ = (conn, id);
    todo!()
}

/// SHA-256 of the stored inventory document.
pub fn document_sha256(conn: &mut Conn, id: ComputerId) -> Result<Option<Vec<u8>>, StoreError> {
    let _ = (conn, id);
    todo!()
}

/// Keeps the document (compressed by the caller) with the digest of what came.
pub fn set_document(conn: &mut Conn, id: ComputerId, sha256: &[u8], deflated: &[u8]) -> Result<(), StoreError> {
    let _ = (conn, id, sha256, deflated);
    todo!()
}

/// The document as it was kept.
pub fn document(conn: &mut Conn, id: ComputerId) -> Result<Option<Vec<u8>>, StoreError> {
    let _ = (conn, id);
    todo!()
}

/// Removes a computer with its jobs, history, adapters and document; its events stay. True if it was there.
pub fn delete(conn: &mut Conn, id: ComputerId) -> Result<bool, StoreError> {
    let _ = (conn, id);
    todo!()
}
