//! Activations: one in force per package at most.

use super::{Conn, StoreError};
use crate::model::{Activation, PackageId};

/// Puts an activation in force; it replaces the package's earlier one.
pub fn set(conn: &mut Conn, activation: &Activation) -> Result<(), StoreError> {
    let _ = (conn, activation);
    todo!()
}

/// The activation in force.
pub fn find(conn: &mut Conn, package: PackageId) -> Result<Option<Activation>, StoreError> {
    let _ = (conn, package);
    todo!()
}

/// Ends it. True if there was one.
pub fn remove(conn: &mut Conn, package: PackageId) -> Result<bool, StoreError> {
    let _ = (conn, package);
    todo!()
}
