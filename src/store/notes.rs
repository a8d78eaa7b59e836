//! Notes that administrators leave on a computer.

use diesel::prelude::*;

use super::connection::q;
use super::row::{limit as rows, text};
use super::schema::notes;
use super::{Conn, StoreError};
use crate::model::{ComputerId, UnixTime};

/// A note.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// When it was written.
    pub at: UnixTime,
    /// By whom.
    pub author: String,
    /// What it says.
    pub text: String,
}

/// Adds a note; gives its number.
pub fn add(conn: &mut Conn, computer: ComputerId, at: UnixTime, author: &str, note: &str) -> Result<i64, StoreError> {
    Ok(q!(conn => diesel::insert_into(notes::table)
        .values((
            notes::computer_id.eq(computer.0),
            notes::at.eq(at.millis()),
            notes::author.eq(text(author)),
            notes::text.eq(text(note)),
        ))
        .returning(notes::id)
        .get_result(conn))?)
}

/// The notes of a computer, newest first, at most `limit`.
pub fn of_computer(conn: &mut Conn, computer: ComputerId, limit: usize) -> Result<Vec<Note>, StoreError> {
    let query = notes::table
        .filter(notes::computer_id.eq(computer.0))
        .order(notes::id.desc())
        .limit(rows(limit))
        .select((notes::id, notes::at, notes::author, notes::text));
    let found: Vec<(i64, i64, String, String)> = q!(conn => query.load(conn))?;
    let note = |(id, at, author, text)| Note { id, at: UnixTime::from_millis(at), author, text };
    Ok(found.into_iter().map(note).collect())
}

/// Removes a note of a computer. True if it was there.
pub fn delete(conn: &mut Conn, computer: ComputerId, note: i64) -> Result<bool, StoreError> {
    let row = notes::table.filter(notes::id.eq(note)).filter(notes::computer_id.eq(computer.0));
    Ok(q!(conn => diesel::delete(row).execute(conn))? > 0)
}
