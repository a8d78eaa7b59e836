//! The audit log: who changed what. Lines are only ever added.

use diesel::prelude::*;

use super::connection::q;
use super::row::{limit as rows, text};
use super::schema::{audit, idempotency_keys};
use super::{Conn, StoreError};
use crate::model::UnixTime;

/// A line of the log, before it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// When.
    pub at: UnixTime,
    /// Who: a user's name, or `name (token what-for)`.
    pub actor: String,
    /// Through which door: `console`, `api`, `command line` or `server`.
    pub via: &'static str,
    /// From where; empty on the machine itself.
    pub peer_address: String,
    /// What was done, in words of the command line: `package withdraw`.
    pub action: String,
    /// To what: `package 1795170000`.
    pub subject: String,
    /// What was there before, as JSON.
    pub before: Option<String>,
    /// What was asked for, as JSON. Never a password or a secret.
    pub after: Option<String>,
}

/// A line as it stands in the log.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = audit)]
pub struct Line {
    /// Its number: later lines have larger ones.
    pub id: i64,
    at: i64,
    /// Who.
    pub actor: String,
    /// Through which door.
    pub via: String,
    /// From where.
    pub peer_address: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// What was there before, as JSON.
    pub before: Option<String>,
    /// What was asked for, as JSON.
    pub after: Option<String>,
}

impl Line {
    /// When.
    pub fn at(&self) -> UnixTime {
        UnixTime::from_millis(self.at)
    }
}

/// Which lines are wanted; empty texts are not asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// Part of the name of who did it.
    pub actor: String,
    /// Part of what was done.
    pub action: String,
    /// Part of what it was done to.
    pub subject: String,
    /// Not before.
    pub from: Option<UnixTime>,
    /// Before.
    pub to: Option<UnixTime>,
    /// Only lines before this number: the next page.
    pub before: Option<i64>,
}

/// Writes a line.
pub fn add(conn: &mut Conn, entry: &Entry) -> Result<(), StoreError> {
    q!(conn => diesel::insert_into(audit::table)
        .values((
            audit::at.eq(entry.at.millis()),
            audit::actor.eq(text(&entry.actor)),
            audit::via.eq(entry.via),
            audit::peer_address.eq(text(&entry.peer_address)),
            audit::action.eq(text(&entry.action)),
            audit::subject.eq(text(&entry.subject)),
            audit::before.eq(entry.before.as_deref().map(text)),
            audit::after.eq(entry.after.as_deref().map(text)),
        ))
        .execute(conn))?;
    Ok(())
}

/// Lines, newest first.
pub fn list(conn: &mut Conn, wanted: &Wanted, limit: usize) -> Result<Vec<Line>, StoreError> {
    let like = |part: &str| {
        let part = text(part).replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        format!("%{part}%")
    };
    let query = audit::table
        .filter(audit::id.lt(wanted.before.unwrap_or(i64::MAX)))
        .filter(audit::at.ge(wanted.from.map_or(i64::MIN, UnixTime::millis)))
        .filter(audit::at.lt(wanted.to.map_or(i64::MAX, UnixTime::millis)))
        .filter(audit::actor.like(like(&wanted.actor)).escape('\\'))
        .filter(audit::action.like(like(&wanted.action)).escape('\\'))
        .filter(audit::subject.like(like(&wanted.subject)).escape('\\'))
        .order(audit::id.desc())
        .limit(rows(limit));
    Ok(q!(conn => query.select(Line::as_select()).load(conn))?)
}

/// What was done to one thing, newest first.
pub fn of_subject(conn: &mut Conn, subject: &str, before: Option<i64>, limit: usize) -> Result<Vec<Line>, StoreError> {
    let query = audit::table
        .filter(audit::subject.eq(text(subject)))
        .filter(audit::id.lt(before.unwrap_or(i64::MAX)))
        .order(audit::id.desc())
        .limit(rows(limit));
    Ok(q!(conn => query.select(Line::as_select()).load(conn))?)
}

/// A creation that was asked for under a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claimed {
    /// Digest of what was asked for.
    pub request: Vec<u8>,
    /// What was answered, if the server got that far.
    pub answer: Option<(u16, String)>,
}

/// Claims a key for a creation. False if it is taken.
pub fn claim(conn: &mut Conn, actor: &str, key: &str, request: &[u8; 32], at: UnixTime) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::insert_into(idempotency_keys::table)
        .values((
            idempotency_keys::actor.eq(text(actor)),
            idempotency_keys::key.eq(text(key)),
            idempotency_keys::request.eq(request.as_slice()),
            idempotency_keys::at.eq(at.millis()),
        ))
        .on_conflict_do_nothing()
        .execute(conn))?
        > 0)
}

/// Keeps what was answered under a key.
pub fn answer(conn: &mut Conn, actor: &str, key: &str, status: u16, answer: &str) -> Result<(), StoreError> {
    q!(conn => diesel::update(idempotency_keys::table.find((text(actor), text(key))))
        .set((idempotency_keys::status.eq(i64::from(status)), idempotency_keys::answer.eq(text(answer))))
        .execute(conn))?;
    Ok(())
}

/// What became of a key.
pub fn claimed(conn: &mut Conn, actor: &str, key: &str) -> Result<Option<Claimed>, StoreError> {
    let query = idempotency_keys::table.find((text(actor), text(key))).select((
        idempotency_keys::request,
        idempotency_keys::status,
        idempotency_keys::answer,
    ));
    let found: Option<(Vec<u8>, Option<i64>, Option<String>)> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(|(request, status, answer)| Claimed {
        request,
        answer: status.and_then(|status| u16::try_from(status).ok()).zip(answer),
    }))
}

/// Forgets keys that were claimed before a moment.
pub fn forget_keys(conn: &mut Conn, before: UnixTime) -> Result<usize, StoreError> {
    let old = idempotency_keys::table.filter(idempotency_keys::at.lt(before.millis()));
    Ok(q!(conn => diesel::delete(old).execute(conn))?)
}
