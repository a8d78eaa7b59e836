//! What can go wrong with the database.

use std::sync::Arc;

use diesel::result::{DatabaseErrorKind, Error as QueryError};

/// Seconds that a write waits for another program's lock.
pub(super) const BUSY_SECONDS: u64 = 10;

/// Why a query failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened.
    #[error("failed to open the database {url}: {problem}")]
    Open {
        /// Which, without its password.
        url: String,
        /// What to do about it.
        problem: String,
    },
    /// The tables could not be brought up to date.
    #[error("failed to migrate the database: {0}")]
    Migrate(String),
    /// A query failed.
    #[error("the database refused a query")]
    Query(#[source] Arc<QueryError>),
    /// The transaction could not be committed: nothing of it holds, or (only when the connection to PostgreSQL broke at
    /// that very moment) nobody can tell.
    #[error("the database could not commit: {0}")]
    Commit(String),
    /// A row that our own types cannot hold.
    #[error("row {key} of table {table} is corrupt: {problem}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Which row.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another program keeps the database locked.
    #[error("the database is busy: another program has kept it locked for {0} seconds")]
    Busy(u64),
    /// A transaction was asked for inside a transaction; it would wait for itself. A fault of the program.
    #[error("a transaction was asked for inside another one")]
    Nested,
    /// The copy could not be made.
    #[error("failed to copy the database to {path}: {problem}")]
    Backup {
        /// Where to.
        path: String,
        /// What to do about it.
        problem: String,
    },
    /// A query asked for what nobody keeps.
    #[error(transparent)]
    NotSearchable(#[from] crate::model::query::NotSearchable),
    /// Somebody else did the same at the same moment, and was first.
    #[error("the same was asked for at the same moment: ask again for what became of it")]
    Taken,
    /// The writer has stopped.
    #[error("the database is closed")]
    Closed,
}

impl From<QueryError> for StoreError {
    fn from(error: QueryError) -> Self {
        if is_busy(&error) { Self::Busy(BUSY_SECONDS) } else { Self::Query(Arc::new(error)) }
    }
}

/// Did the query wait for a lock in vain? diesel hands on neither back end's number, only its text.
fn is_busy(error: &QueryError) -> bool {
    let QueryError::DatabaseError(DatabaseErrorKind::Unknown, information) = error else { return false };
    let message = information.message();
    message.contains("database is locked")
        || message.contains("database table is locked")
        || message.contains("lock timeout")
}

/// A row that our own types cannot hold.
pub(super) fn corrupt(table: &'static str, key: impl std::fmt::Display, problem: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { table, key: key.to_string(), problem: problem.to_string() }
}
