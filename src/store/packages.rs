//! Packages and their fragments.

use super::{Conn, StoreError};
use crate::archive::SplitFragment;
use crate::model::{Digest, Package, PackageId, PackageState, UnixTime};

/// What is known before the archive is cut.
#[derive(Clone, Debug)]
pub struct NewPackage {
    /// As [`Package`].
    pub name: String,
    /// As [`Package`].
    pub version: String,
    /// As [`Package`].
    pub description: String,
    /// As [`Package`].
    pub os: crate::model::OsFamily,
    /// As [`Package`].
    pub action: crate::model::Action,
    /// As [`Package`].
    pub priority: crate::model::Priority,
    /// As [`Package`].
    pub notify: Option<crate::model::Notify>,
    /// As [`Package`].
    pub done: Option<crate::model::Done>,
}

/// What is known after it was cut.
#[derive(Clone, Debug)]
pub struct BuiltContent {
    /// Bytes of the archive.
    pub size: u64,
    /// MD5 of the archive.
    pub md5: Option<Digest>,
    /// SHA-256 of the archive.
    pub sha256: Option<Digest>,
    /// Every fragment.
    pub fragments: Vec<SplitFragment>,
}

/// Takes the id of the present second, or the next that was never given out, and inserts a row in state `building`.
/// An id is never given out twice, whatever became of the row.
pub fn reserve(conn: &mut Conn, new: &NewPackage, now: UnixTime) -> Result<PackageId, StoreError> {
    let _ = (conn, new, now);
    todo!()
}

/// Writes size, digests and fragments of a package in state `building`.
pub fn set_content(conn: &mut Conn, id: PackageId, content: &BuiltContent) -> Result<(), StoreError> {
    let _ = (conn, id, content);
    todo!()
}

/// Changes the state. True if there is such a package.
pub fn set_state(conn: &mut Conn, id: PackageId, state: PackageState) -> Result<bool, StoreError> {
    let _ = (conn, id, state);
    todo!()
}

/// Removes a package in state `building`; its id stays used.
pub fn discard(conn: &mut Conn, id: PackageId) -> Result<(), StoreError> {
    let _ = (conn, id);
    todo!()
}

/// One package.
pub fn find(conn: &mut Conn, id: PackageId) -> Result<Option<Package>, StoreError> {
    let _ = (conn, id);
    todo!()
}

/// Packages newest first, below `before`, at most `limit`.
pub fn list(conn: &mut Conn, before: Option<PackageId>, limit: usize) -> Result<Vec<Package>, StoreError> {
    let _ = (conn, before, limit);
    todo!()
}

/// Every package of a state, oldest first.
pub fn in_state(conn: &mut Conn, state: PackageState) -> Result<Vec<PackageId>, StoreError> {
    let _ = (conn, state);
    todo!()
}

/// The fragments of a package, in order.
pub fn fragments(conn: &mut Conn, id: PackageId) -> Result<Vec<SplitFragment>, StoreError> {
    let _ = (conn, id);
    todo!()
}
