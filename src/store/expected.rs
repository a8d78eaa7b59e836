//! Names whose first agent with a key may register by its name alone.

use diesel::prelude::*;

use super::connection::q;
use super::row::{limit as rows, text};
use super::schema::expected_computers;
use super::{Conn, StoreError};
use crate::model::UnixTime;

/// A name that is expected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expected {
    /// As it was written.
    pub name: String,
    /// Since when.
    pub at: UnixTime,
    /// Who said so.
    pub by: String,
}

impl From<(String, i64, String)> for Expected {
    fn from((name, at, by): (String, i64, String)) -> Self {
        Self { name, at: UnixTime::from_millis(at), by }
    }
}

/// Expects a name, letters compared without case. False if it was expected already; then nothing changes.
pub fn add(conn: &mut Conn, expected: &Expected) -> Result<bool, StoreError> {
    let row = (
        expected_computers::name_key.eq(key(&expected.name)),
        expected_computers::name.eq(text(&expected.name)),
        expected_computers::created_at.eq(expected.at.millis()),
        expected_computers::created_by.eq(text(&expected.by)),
    );
    let added = q!(conn => diesel::insert_into(expected_computers::table)
        .values(&row)
        .on_conflict(expected_computers::name_key)
        .do_nothing()
        .execute(conn))?;
    Ok(added > 0)
}

/// Is the name expected?
pub fn has(conn: &mut Conn, name: &str) -> Result<bool, StoreError> {
    let query = expected_computers::table.find(key(name));
    Ok(q!(conn => diesel::select(diesel::dsl::exists(query)).get_result(conn))?)
}

/// Takes a name off the list. True if it was there.
pub fn remove(conn: &mut Conn, name: &str) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::delete(expected_computers::table.find(key(name))).execute(conn))? > 0)
}

/// Names that are expected and begin so, by name, after a name, at most `limit`.
pub fn page(conn: &mut Conn, beginning: &str, after: Option<&str>, limit: usize) -> Result<Vec<Expected>, StoreError> {
    let beginning = key(beginning);
    let pattern = format!("{}%", super::listing::escaped(&beginning));
    let query = expected_computers::table
        .filter(expected_computers::name_key.gt(after.map(key).unwrap_or_default()))
        .filter(expected_computers::name_key.ge(&beginning))
        .filter(expected_computers::name_key.like(&pattern).escape('\\'))
        .order(expected_computers::name_key)
        .limit(rows(limit))
        .select((expected_computers::name, expected_computers::created_at, expected_computers::created_by));
    let found: Vec<(String, i64, String)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(Expected::from).collect())
}

/// How many names are expected.
pub fn count(conn: &mut Conn) -> Result<u64, StoreError> {
    let count: i64 = q!(conn => expected_computers::table.count().get_result(conn))?;
    Ok(count.unsigned_abs())
}

/// Every name that is expected, by name.
pub fn list(conn: &mut Conn) -> Result<Vec<Expected>, StoreError> {
    let query = expected_computers::table.order(expected_computers::name_key).select((
        expected_computers::name,
        expected_computers::created_at,
        expected_computers::created_by,
    ));
    let found: Vec<(String, i64, String)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(Expected::from).collect())
}

fn key(name: &str) -> String {
    text(&name.to_lowercase()).into_owned()
}
