//! What was compared of an inventory, and what the comparisons found.

use std::borrow::Cow;

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, limit as rows, rows_of, text};
use super::schema::{inventory_changes, inventory_sections};
use super::{Conn, StoreError};
use crate::model::{ComputerId, UnixTime};

/// The digests of a stored inventory, and when its document was stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredSections {
    /// A line a section: its name, a blank, its digest.
    pub digests: String,
    /// When.
    pub stored_at: UnixTime,
}

/// What happened to an item.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is there no more.
    Removed,
    /// One of its values is another.
    Changed,
}

impl ChangeKind {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// One difference between two inventories of a computer. Texts are at most 255 characters; empty is "nothing to say".
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// When the later inventory came.
    pub at: UnixTime,
    /// The section, `SOFTWARES` …
    pub section: String,
    /// What happened.
    pub kind: ChangeKind,
    /// To what.
    pub item: String,
    /// Which of its values.
    pub field: String,
    /// What it was.
    pub old: String,
    /// What it is.
    pub new: String,
}

#[derive(AsChangeset, Insertable)]
#[diesel(table_name = inventory_sections)]
struct StoredRow<'a> {
    computer_id: i64,
    digests: Cow<'a, str>,
    stored_at: i64,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = inventory_changes, treat_none_as_default_value = false)]
struct ChangeRow<'a> {
    computer_id: i64,
    at: i64,
    section: Cow<'a, str>,
    kind: Cow<'a, str>,
    item: Cow<'a, str>,
    field: Cow<'a, str>,
    old_value: Cow<'a, str>,
    new_value: Cow<'a, str>,
}

/// What the stored inventory consists of.
pub fn stored(conn: &mut Conn, computer: ComputerId) -> Result<Option<StoredSections>, StoreError> {
    let query =
        inventory_sections::table.find(computer.0).select((inventory_sections::digests, inventory_sections::stored_at));
    let found: Option<(String, i64)> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(|(digests, at)| StoredSections { digests, stored_at: UnixTime::from_millis(at) }))
}

/// Writes what the stored inventory consists of.
pub fn set_stored(conn: &mut Conn, computer: ComputerId, stored: &StoredSections) -> Result<(), StoreError> {
    let row =
        StoredRow { computer_id: computer.0, digests: text(&stored.digests), stored_at: stored.stored_at.millis() };
    q!(conn => diesel::insert_into(inventory_sections::table)
        .values(&row)
        .on_conflict(inventory_sections::computer_id)
        .do_update()
        .set(&row)
        .execute(conn))?;
    Ok(())
}

/// Adds differences, and forgets those of this computer that are older than `oldest` or beyond its newest `keep`.
pub fn add_changes(
    conn: &mut Conn,
    computer: ComputerId,
    changes: &[Change],
    keep: usize,
    oldest: UnixTime,
) -> Result<(), StoreError> {
    let new: Vec<ChangeRow<'_>> = changes
        .iter()
        .map(|change| ChangeRow {
            computer_id: computer.0,
            at: change.at.millis(),
            section: text(&change.section),
            kind: Cow::Borrowed(change.kind.as_str()),
            item: text(&change.item),
            field: text(&change.field),
            old_value: text(&change.old),
            new_value: text(&change.new),
        })
        .collect();
    for chunk in new.chunks(rows_of(8)) {
        q!(conn => diesel::insert_into(inventory_changes::table).values(chunk).execute(conn))?;
    }
    let own = || inventory_changes::table.filter(inventory_changes::computer_id.eq(computer.0));
    let beyond = own().order(inventory_changes::id.desc()).offset(rows(keep)).limit(1).select(inventory_changes::id);
    let beyond: Option<i64> = q!(conn => beyond.first(conn).optional())?;
    let old = own().filter(inventory_changes::at.lt(oldest.millis()).or(inventory_changes::id.le(beyond.unwrap_or(0))));
    q!(conn => diesel::delete(old).execute(conn))?;
    Ok(())
}

/// What changed on a computer, newest first, at most `limit`.
pub fn changes(conn: &mut Conn, computer: ComputerId, limit: usize) -> Result<Vec<Change>, StoreError> {
    let query = inventory_changes::table
        .filter(inventory_changes::computer_id.eq(computer.0))
        .order(inventory_changes::id.desc())
        .limit(rows(limit));
    let found: Vec<ChangeRow<'static>> = q!(conn => query.select(ChangeRow::as_select()).load(conn))?;
    let parse = |row: ChangeRow<'static>| {
        let kind = match row.kind.as_ref() {
            "added" => ChangeKind::Added,
            "removed" => ChangeKind::Removed,
            "changed" => ChangeKind::Changed,
            other => return Err(At("inventory_changes", computer).corrupt(format_args!("kind is {other:?}"))),
        };
        Ok(Change {
            at: UnixTime::from_millis(row.at),
            section: row.section.into_owned(),
            kind,
            item: row.item.into_owned(),
            field: row.field.into_owned(),
            old: row.old_value.into_owned(),
            new: row.new_value.into_owned(),
        })
    };
    found.into_iter().map(parse).collect()
}
