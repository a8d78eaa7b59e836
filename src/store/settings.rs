//! Settings as they are set, layer by layer.

use super::{Conn, StoreError};
use crate::model::ComputerId;
use crate::model::settings::{SettingKey, SettingsLayer};

/// Whose layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The server's.
    Global,
    /// A computer's own.
    Computer(ComputerId),
}

/// What a layer sets.
pub fn layer(conn: &mut Conn, scope: Scope) -> Result<SettingsLayer, StoreError> {
    let _ = (conn, scope);
    todo!()
}

/// Sets a value.
pub fn set(conn: &mut Conn, scope: Scope, key: SettingKey, value: i64) -> Result<(), StoreError> {
    let _ = (conn, scope, key, value);
    todo!()
}

/// Takes a value back. True if it was set.
pub fn unset(conn: &mut Conn, scope: Scope, key: SettingKey) -> Result<bool, StoreError> {
    let _ = (conn, scope, key);
    todo!()
}
