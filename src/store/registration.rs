//! The registration key that was made here: one for a fleet, or none.

use diesel::prelude::*;

use super::connection::q;
use super::row::text;
use super::schema::registration_key;
use super::{Conn, StoreError};
use crate::model::UnixTime;

/// The only row.
const ROW: i64 = 1;

/// A registration key. Its text is what agents are given, so it is kept as it is.
#[derive(Clone, Eq, PartialEq)]
pub struct Made {
    /// The key.
    pub key: String,
    /// When it was made.
    pub at: UnixTime,
    /// Who made it.
    pub by: String,
}

/// The key in force, if one was made.
pub fn find(conn: &mut Conn) -> Result<Option<Made>, StoreError> {
    let query = registration_key::table.find(ROW).select((
        registration_key::key,
        registration_key::created_at,
        registration_key::created_by,
    ));
    let found: Option<(String, i64, String)> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(|(key, at, by)| Made { key, at: UnixTime::from_millis(at), by }))
}

/// Puts a key in the place of the one that was there.
pub fn set(conn: &mut Conn, made: &Made) -> Result<(), StoreError> {
    remove(conn)?;
    q!(conn => diesel::insert_into(registration_key::table)
        .values((
            registration_key::id.eq(ROW),
            registration_key::key.eq(text(&made.key)),
            registration_key::created_at.eq(made.at.millis()),
            registration_key::created_by.eq(text(&made.by)),
        ))
        .execute(conn))?;
    Ok(())
}

/// Takes the key away. True if there was one.
pub fn remove(conn: &mut Conn) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::delete(registration_key::table.find(ROW)).execute(conn))? > 0)
}
