//! Administrators' own templates, version by version; one without a document is deleted.

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, limit as rows, text};
use super::schema::templates;
use super::{Conn, StoreError};
use crate::model::UnixTime;

/// A version of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Saved {
    /// The template's word.
    pub id: String,
    /// From 1 on.
    pub version: u32,
    /// The document; empty if it was deleted.
    pub document: String,
    /// When it was saved.
    pub made_at: UnixTime,
    /// Who saved it.
    pub made_by: String,
}

type Row = (String, i64, String, i64, String);

const COLUMNS: (templates::id, templates::version, templates::document, templates::made_at, templates::made_by) =
    (templates::id, templates::version, templates::document, templates::made_at, templates::made_by);

fn saved((id, version, document, made_at, made_by): Row) -> Result<Saved, StoreError> {
    let version = At("templates", id.as_str()).number("version", version)?;
    Ok(Saved { id, version, document, made_at: UnixTime::from_millis(made_at), made_by })
}

/// Adds a version: it takes the place of the one before in the choice, or ends it if it has no document.
pub fn add(conn: &mut Conn, new: &Saved) -> Result<(), StoreError> {
    let before = templates::table.filter(templates::id.eq(text(&new.id))).filter(templates::current.eq(true));
    q!(conn => diesel::update(before).set(templates::current.eq(false)).execute(conn))?;
    q!(conn => diesel::insert_into(templates::table)
        .values((
            templates::id.eq(text(&new.id)),
            templates::version.eq(i64::from(new.version)),
            templates::document.eq(text(&new.document)),
            templates::made_at.eq(new.made_at.millis()),
            templates::made_by.eq(text(&new.made_by)),
            templates::current.eq(!new.document.is_empty()),
        ))
        .execute(conn))?;
    Ok(())
}

/// The newest version of each that is not deleted, in order of their words.
pub fn current(conn: &mut Conn, limit: usize) -> Result<Vec<Saved>, StoreError> {
    let query = templates::table.filter(templates::current.eq(true)).order(templates::id).limit(rows(limit));
    let found: Vec<Row> = q!(conn => query.select(COLUMNS).load(conn))?;
    found.into_iter().map(saved).collect()
}

/// The newest version of one, deleted or not.
pub fn last(conn: &mut Conn, id: &str) -> Result<Option<Saved>, StoreError> {
    Ok(versions(conn, id, 1)?.pop())
}

/// The versions of one, the newest first.
pub fn versions(conn: &mut Conn, id: &str, limit: usize) -> Result<Vec<Saved>, StoreError> {
    let query = templates::table.filter(templates::id.eq(text(id))).order(templates::version.desc()).limit(rows(limit));
    let found: Vec<Row> = q!(conn => query.select(COLUMNS).load(conn))?;
    found.into_iter().map(saved).collect()
}
