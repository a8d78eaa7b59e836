//! Administrators.

use super::{Conn, StoreError};
use crate::model::UnixTime;

/// A local user.
#[derive(Clone, Debug)]
pub struct User {
    /// The name to sign in with.
    pub name: String,
    /// Argon2id, in PHC form.
    pub password_hash: String,
    /// Must the password be changed at the first sign-in?
    pub must_change_password: bool,
    /// When it was made.
    pub created_at: UnixTime,
}

/// Inserts a user. False if the name is taken.
pub fn create(conn: &mut Conn, user: &User) -> Result<bool, StoreError> {
    let _ = (conn, user);
    todo!()
}

/// Changes a password. False if there is no such user.
pub fn set_password(conn: &mut Conn, name: &str, password_hash: &str, must_change: bool) -> Result<bool, StoreError> {
    let _ = (conn, name, password_hash, must_change);
    todo!()
}

/// One user.
pub fn find(conn: &mut Conn, name: &str) -> Result<Option<User>, StoreError> {
    let _ = (conn, name);
    todo!()
}

/// Every user, by name.
pub fn list(conn: &mut Conn) -> Result<Vec<User>, StoreError> {
    let _ = conn;
    todo!()
}
