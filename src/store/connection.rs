//! One connection to either back end, and the address that chooses it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A connection. Every query is written once and checked for both.
#[expect(missing_debug_implementations, reason = "connections have nothing to print")]
pub enum Conn {}

/// Where the database is.
#[derive(Clone, Eq, PartialEq)]
pub enum DatabaseUrl {
    /// A file; made when absent.
    Sqlite(PathBuf),
    /// `postgres://user:password@host/database`.
    Postgres(String),
}

/// Why an address was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a database: expected a path, sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE")]
pub struct InvalidDatabaseUrl(String);

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let _ = text;
        todo!()
    }
}

/// Without the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!()
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
