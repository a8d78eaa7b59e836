//! Administrators.

use diesel::prelude::*;

use super::connection::q;
use super::row::text;
use super::schema::users;
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

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = users)]
struct UserRow {
    name: String,
    password_hash: String,
    must_change_password: bool,
    created_at: i64,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            name: row.name,
            password_hash: row.password_hash,
            must_change_password: row.must_change_password,
            created_at: UnixTime::from_millis(row.created_at),
        }
    }
}

/// Inserts a user. False if the name is taken.
pub fn create(conn: &mut Conn, user: &User) -> Result<bool, StoreError> {
    let row = UserRow {
        name: text(&user.name).into_owned(),
        password_hash: user.password_hash.clone(),
        must_change_password: user.must_change_password,
        created_at: user.created_at.millis(),
    };
    Ok(q!(conn => diesel::insert_into(users::table).values(&row).on_conflict_do_nothing().execute(conn))? > 0)
}

/// Changes a password. False if there is no such user.
pub fn set_password(conn: &mut Conn, name: &str, password_hash: &str, must_change: bool) -> Result<bool, StoreError> {
    let changed = q!(conn => diesel::update(users::table.find(text(name)))
        .set((users::password_hash.eq(password_hash), users::must_change_password.eq(must_change)))
        .execute(conn))?;
    Ok(changed > 0)
}

/// One user.
pub fn find(conn: &mut Conn, name: &str) -> Result<Option<User>, StoreError> {
    let query = users::table.find(text(name));
    Ok(q!(conn => query.select(UserRow::as_select()).first(conn).optional())?.map(User::from))
}

/// Every user, by name.
pub fn list(conn: &mut Conn) -> Result<Vec<User>, StoreError> {
    let query = users::table;
    let mut found: Vec<User> =
        q!(conn => query.select(UserRow::as_select()).load(conn))?.into_iter().map(User::from).collect();
    // Here, because the two databases do not agree on an order of letters.
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}
