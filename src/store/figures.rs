//! What the store tells of itself and of what it holds, for whoever watches the server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::dsl::count_star;
use diesel::prelude::*;

use super::connection::q;
use super::row::At;
use super::schema::{computers, counters};
use super::{Conn, StoreError};
use crate::model::UnixTime;
use crate::telemetry::measure::{Histogram, Unit};

/// Transactions of the one writer.
#[derive(Debug)]
pub struct Commits {
    /// Changes in each that held.
    pub changes: Histogram,
    /// From its beginning, which may have waited for another program, to its commit, in microseconds.
    pub time: Histogram,
    failed: AtomicU64,
}

impl Commits {
    pub(super) fn new() -> Self {
        Self {
            changes: Histogram::new(Unit::Count, &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512]),
            time: Histogram::new(
                Unit::Microseconds,
                &[250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000],
            ),
            failed: AtomicU64::new(0),
        }
    }

    /// Transactions that could not begin or did not hold.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn held(&self, changes: usize, time: Duration) {
        self.changes.observe(u64::try_from(changes).unwrap_or(u64::MAX));
        self.time.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many computers there are, those that were put away left out.
pub fn computers(conn: &mut Conn) -> Result<u64, StoreError> {
    let count: i64 = q!(conn => computers::table
        .filter(computers::archived_at.is_null())
        .select(count_star())
        .first(conn))?;
    At("computers", "*").number("count", count)
}

/// Reads a row, to see whether it can be done.
pub fn can_read(conn: &mut Conn) -> Result<(), StoreError> {
    let _: Vec<i64> = q!(conn => counters::table.select(counters::value).limit(1).load(conn))?;
    Ok(())
}

/// Writes a row, to see whether it can be done: always the same one, so the database does not grow.
pub fn can_write(conn: &mut Conn, now: UnixTime) -> Result<(), StoreError> {
    q!(conn => diesel::insert_into(counters::table)
        .values((counters::name.eq("ready"), counters::value.eq(now.millis())))
        .on_conflict(counters::name)
        .do_update()
        .set(counters::value.eq(now.millis()))
        .execute(conn))?;
    Ok(())
}
