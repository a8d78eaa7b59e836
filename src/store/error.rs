//! What can go wrong with the database.

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
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
    Query(#[source] std::sync::Arc<diesel::result::Error>),
    /// The transaction could not be committed: nothing of it holds.
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
    /// The writer has stopped.
    #[error("the database is closed")]
    Closed,
}

impl From<diesel::result::Error> for StoreError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Query(std::sync::Arc::new(error))
    }
}
