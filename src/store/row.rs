//! What rows and values have in common. Rows are private to their file; a row that does not parse is corrupt.

use std::borrow::Cow;
use std::fmt::Display;

use super::StoreError;
use super::error::corrupt;
use crate::model::{JobOptions, PackageId, UnixTime};

/// Values in one statement: SQLite takes 32,766 of them, PostgreSQL 65,535.
const VALUES: usize = 30_000;

/// How many rows of that many columns fit into one statement.
pub(super) const fn rows_of(columns: usize) -> usize {
    VALUES / columns
}

/// Text as both back ends take it: PostgreSQL has no NUL.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// A size or a number for a BIGINT column. None of ours is larger; one that were would be refused by no CHECK.
pub(super) fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A limit for a query.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

pub(super) fn time(millis: Option<i64>) -> Option<UnixTime> {
    millis.map(UnixTime::from_millis)
}

pub(super) fn millis(time: Option<UnixTime>) -> Option<i64> {
    time.map(UnixTime::millis)
}

/// Which row of which table is being read.
#[derive(Clone, Copy)]
pub(super) struct At<K>(pub(super) &'static str, pub(super) K);

impl<K: Display + Copy> At<K> {
    pub(super) fn corrupt(self, problem: impl Display) -> StoreError {
        corrupt(self.0, self.1, problem)
    }

    /// What a column holds, or the row's name.
    pub(super) fn check<T, E: Display>(self, value: Result<T, E>) -> Result<T, StoreError> {
        value.map_err(|problem| self.corrupt(problem))
    }

    pub(super) fn number<T: TryFrom<i64>>(self, column: &'static str, number: i64) -> Result<T, StoreError> {
        T::try_from(number).map_err(|_| self.corrupt(format_args!("{column} is {number}")))
    }

    pub(super) fn package(self, number: i64) -> Result<PackageId, StoreError> {
        self.check(PackageId::try_from(number))
    }

    pub(super) fn options(
        self,
        force: bool,
        schedule: Option<&str>,
        post_command: Option<&str>,
        follows: Option<i64>,
    ) -> Result<JobOptions, StoreError> {
        Ok(JobOptions {
            force,
            schedule: self.check(schedule.map(str::parse).transpose())?,
            post_command: self.check(post_command.map(str::parse).transpose())?,
            follows: follows.map(|package| self.package(package)).transpose()?,
        })
    }
}
