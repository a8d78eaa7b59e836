//! Computers that look like one, for a person to say whether they are.

use std::collections::BTreeMap;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::attention::{Sight, first};
use super::connection::q;
use super::row::{limit as rows, text};
use super::schema::likenesses;
use super::{Conn, StoreError};
use crate::model::{ComputerId, UnixTime};

/// Two computers that look like one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Likeness {
    /// The one that came first.
    pub older: ComputerId,
    /// The other one.
    pub newer: ComputerId,
    /// What they have in common: the sum of the criteria of `AUTO_DUPLICATE_LVL`.
    pub same: i64,
    /// Since when that is known.
    pub seen_at: UnixTime,
}

/// Two computers in the order of their numbers, as rows have them.
fn pair(one: ComputerId, other: ComputerId) -> (i64, i64) {
    (one.0.min(other.0), one.0.max(other.0))
}

/// Writes which others a computer looks like, in place of what was known; what is settled stays settled.
pub fn refresh(
    conn: &mut Conn,
    computer: ComputerId,
    alike: &BTreeMap<ComputerId, i64>,
    now: UnixTime,
) -> Result<(), StoreError> {
    let own = likenesses::table
        .filter(likenesses::older_id.eq(computer.0).or(likenesses::newer_id.eq(computer.0)))
        .select((likenesses::older_id, likenesses::newer_id, likenesses::settled_at));
    let known: Vec<(i64, i64, Option<i64>)> = q!(conn => own.load(conn))?;
    let wanted: BTreeMap<(i64, i64), i64> = alike.iter().map(|(other, same)| (pair(computer, *other), *same)).collect();
    for (older, newer, settled) in &known {
        let row = likenesses::table.find((*older, *newer));
        match wanted.get(&(*older, *newer)) {
            Some(same) => q!(conn => diesel::update(row).set(likenesses::same.eq(*same)).execute(conn))?,
            None if settled.is_none() => q!(conn => diesel::delete(row).execute(conn))?,
            None => 0,
        };
    }
    for ((older, newer), same) in wanted {
        if known.iter().any(|(a, b, _)| (*a, *b) == (older, newer)) {
            continue;
        }
        let row = (
            likenesses::older_id.eq(older),
            likenesses::newer_id.eq(newer),
            likenesses::same.eq(same),
            likenesses::seen_at.eq(now.millis()),
        );
        q!(conn => diesel::insert_into(likenesses::table).values(row).execute(conn))?;
    }
    Ok(())
}

/// Says that two are two, or that nobody has said so. True if that is news.
pub fn settle(
    conn: &mut Conn,
    one: ComputerId,
    other: ComputerId,
    settled: Option<(UnixTime, &str)>,
) -> Result<bool, StoreError> {
    let row = likenesses::table.find(pair(one, other));
    let values = (
        likenesses::settled_at.eq(settled.map(|(at, _)| at.millis())),
        likenesses::settled_by.eq(settled.map(|(_, by)| text(by))),
    );
    let changed = if settled.is_some() {
        q!(conn => diesel::update(row.filter(likenesses::settled_at.is_null())).set(values).execute(conn))?
    } else {
        q!(conn => diesel::update(row.filter(likenesses::settled_at.is_not_null())).set(values).execute(conn))?
    };
    Ok(changed > 0)
}

/// Pairs about which nobody has said anything, neither of them put away: the newest first, after `after`, at most `limit`.
pub fn open(
    conn: &mut Conn,
    sight: &Sight,
    after: Option<Likeness>,
    limit: usize,
) -> Result<Vec<Likeness>, StoreError> {
    let passes = |one: &Likeness| sight.has(one.older.0) && sight.has(one.newer.0);
    first(limit, after, passes, |last, size| open_after(conn, last, size))
}

fn open_after(conn: &mut Conn, after: Option<&Likeness>, limit: usize) -> Result<Vec<Likeness>, StoreError> {
    const PRESENT: &str = "NOT EXISTS (SELECT 1 FROM computers \
         WHERE computers.id IN (likenesses.older_id, likenesses.newer_id) AND computers.archived_at IS NOT NULL)";
    let (newer, older) = after.map_or((i64::MAX, i64::MAX), |last| (last.newer.0, last.older.0));
    let query = likenesses::table
        .filter(likenesses::settled_at.is_null())
        .filter(likenesses::newer_id.le(newer).and(likenesses::newer_id.lt(newer).or(likenesses::older_id.lt(older))))
        .filter(sql::<Bool>(PRESENT))
        .order((likenesses::newer_id.desc(), likenesses::older_id.desc()))
        .limit(rows(limit))
        .select((likenesses::older_id, likenesses::newer_id, likenesses::same, likenesses::seen_at));
    let found: Vec<(i64, i64, i64, i64)> = q!(conn => query.load(conn))?;
    let row = |(older, newer, same, at)| Likeness {
        older: ComputerId(older),
        newer: ComputerId(newer),
        same,
        seen_at: UnixTime::from_millis(at),
    };
    Ok(found.into_iter().map(row).collect())
}
