//! One connection to either back end, and the address that chooses it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use diesel::connection::SimpleConnection;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::methods::{ExecuteDsl, LoadQuery};
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;
use diesel::{QueryResult, RunQueryDsl, SqliteConnection};

use super::StoreError;
use super::postgres::PgConnection;

/// A connection. Every query is written once and checked for both.
#[expect(missing_debug_implementations, reason = "connections have nothing to print")]
pub struct Conn(pub(super) Backend);

/// The concrete connections, so that each arm of [`q!`] has all of diesel's language.
#[expect(clippy::large_enum_variant, reason = "a handful of them exist, each for as long as the program runs")]
pub(super) enum Backend {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Runs one expression on either back end: written once, checked for both. The name is that of a `&mut Conn`; inside
/// the expression it is the concrete connection.
macro_rules! q {
    ($conn:ident => $query:expr) => {
        match &mut $conn.0 {
            $crate::store::connection::Backend::Sqlite($conn) => $query,
            $crate::store::connection::Backend::Postgres($conn) => $query,
        }
    };
}
pub(super) use q;

/// Statements that stand round every read and every write. SQLite keeps them prepared, as it keeps queries; PostgreSQL is told
/// several in one message instead.
macro_rules! steering {
    ($($name:ident = $sql:literal;)+) => {$(
        #[derive(QueryId)]
        struct $name;

        impl QueryFragment<Sqlite> for $name {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                out.push_sql($sql);
                Ok(())
            }
        }

        impl RunQueryDsl<SqliteConnection> for $name {}
    )+};
}

/// A change whose text is one of a few, so that it stays prepared. Diesel takes every UPDATE for one of its kind, and SQLite parsed
/// that of each contact and of each report anew. Kept statements are found by their
/// text, so different ones are never mistaken for each other. Not for what has a list of any length in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steady<Q>(pub(super) Q);

impl<Q> Steady<Q> {
    /// Does it. Diesel's `execute` asks by reference whether a statement may be kept, and that answers for what is inside.
    pub(super) fn run<'a, C>(self, conn: &mut C) -> QueryResult<()>
    where
        Self: LoadQuery<'a, C, i64>,
    {
        self.load::<i64>(conn).map(drop)
    }
}

impl<DB: diesel::backend::Backend, Q: QueryFragment<DB>> QueryFragment<DB> for Steady<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &DB) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<Q> QueryId for Steady<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// What it returns, if it returns anything, are numbers of rows.
impl<Q> Query for Steady<Q> {
    type SqlType = BigInt;
}

impl<Q, C> RunQueryDsl<C> for Steady<Q> {}

/// Asked at the beginning of every write, so it is kept prepared, too.
#[derive(QueryId)]
struct DataVersion;

impl QueryFragment<Sqlite> for DataVersion {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("PRAGMA data_version");
        Ok(())
    }
}

impl Query for DataVersion {
    type SqlType = BigInt;
}

impl RunQueryDsl<SqliteConnection> for DataVersion {}

steering! {
    Begin = "BEGIN";
    BeginImmediate = "BEGIN IMMEDIATE";
    Commit = "COMMIT";
    Savepoint = "SAVEPOINT change";
    Release = "RELEASE SAVEPOINT change";
}

/// Transactions are steered by hand: diesel's own would not let many closures share one.
impl Conn {
    pub(super) fn execute_batch(&mut self, sql: &str) -> Result<(), StoreError> {
        let conn = self;
        Ok(q!(conn => conn.batch_execute(sql))?)
    }

    fn steer(&mut self, kept: impl ExecuteDsl<SqliteConnection>, postgres: &str) -> Result<(), StoreError> {
        match &mut self.0 {
            Backend::Sqlite(conn) => ExecuteDsl::execute(kept, conn).map(drop)?,
            Backend::Postgres(conn) => conn.batch_execute(postgres)?,
        }
        Ok(())
    }

    /// One consistent view until [`Conn::end_read`].
    pub(super) fn begin_read(&mut self) -> Result<(), StoreError> {
        self.steer(Begin, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    pub(super) fn end_read(&mut self) -> Result<(), StoreError> {
        self.steer(Commit, "COMMIT")
    }

    /// Begins to write, alone: SQLite has one write lock, and on PostgreSQL all programs of one schema agree on this one.
    /// So a check and the write that depends on it are never torn apart, and two writers cannot block each other for
    /// ever.
    pub(super) fn begin_write(&mut self) -> Result<(), StoreError> {
        let alone = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('dripfeed/' || current_schema(), 0))";
        self.steer(BeginImmediate, alone)
    }

    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        // PostgreSQL answers COMMIT of a failed transaction with a friendly ROLLBACK; a query before it does not pass.
        self.steer(Commit, "SELECT 1; COMMIT")
    }

    /// A number that another connection's commit changes, and our own does not.
    pub(super) fn data_version(&mut self) -> Result<i64, StoreError> {
        match &mut self.0 {
            Backend::Sqlite(conn) => Ok(DataVersion.get_result(conn)?),
            Backend::Postgres(_) => Err(StoreError::Closed),
        }
    }

    pub(super) fn rollback(&mut self) -> Result<(), StoreError> {
        self.execute_batch("ROLLBACK")
    }

    pub(super) fn savepoint(&mut self) -> Result<(), StoreError> {
        self.steer(Savepoint, "SAVEPOINT change")
    }

    pub(super) fn release(&mut self) -> Result<(), StoreError> {
        self.steer(Release, "RELEASE SAVEPOINT change")
    }

    pub(super) fn undo(&mut self) -> Result<(), StoreError> {
        self.execute_batch("ROLLBACK TO SAVEPOINT change; RELEASE SAVEPOINT change")
    }
}

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

    /// ```
    /// # use dripfeed::store::DatabaseUrl;
    /// assert_eq!("sqlite:/var/lib/dripfeed.db".parse(), Ok(DatabaseUrl::Sqlite("/var/lib/dripfeed.db".into())));
    /// assert_eq!("postgres://df:secret@db/df".parse::<DatabaseUrl>()?.to_string(), "postgres://df@db/df");
    /// assert!("mysql://db/df".parse::<DatabaseUrl>().is_err());
    /// # Ok::<(), dripfeed::store::InvalidDatabaseUrl>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDatabaseUrl(without_password(text).chars().take(120).collect());
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            super::postgres::Target::parse(text).map_err(|_| invalid())?;
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = match text.strip_prefix("sqlite:") {
            Some(path) => path.strip_prefix("//").unwrap_or(path),
            None => text,
        };
        // Each connection would have a memory of its own.
        if path.trim().is_empty() || path.contains("://") || path.contains('\0') || path.contains(":memory:") {
            return Err(invalid());
        }
        Ok(Self::Sqlite(PathBuf::from(path)))
    }
}

/// Without the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.pad(&path.to_string_lossy()),
            Self::Postgres(url) => f.pad(&without_password(url)),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Leaves out both places where an address may carry one: `user:password@` and `?password=`. Liberal, because it also
/// cleans text that is no address.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (before_query, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    // The last @: a password that was not percent-encoded may contain one, or a slash.
    let place = match before_query.rsplit_once('@') {
        Some((login, host)) => format!("{}@{host}", login.split(':').next().unwrap_or_default()),
        None => before_query.to_owned(),
    };
    let query: Vec<&str> = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|pair| !pair.to_ascii_lowercase().starts_with("password"))
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{scheme}://{place}{mark}{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_never_shows_its_password() {
        let shown: Vec<String> = [
            "postgres://df:s3cret@db:5432/df?sslmode=require",
            "postgres://db/df?user=df&password=s3cret&sslmode=disable",
            "postgresql://df@db/df",
            "postgres://df:s3%40cret@db/df",
            "data/dripfeed.db",
        ]
        .iter()
        .map(|text| format!("{:?}", text.parse::<DatabaseUrl>().expect(text)))
        .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        postgres://df@db:5432/df?sslmode=require
        postgres://db/df?user=df&sslmode=disable
        postgresql://df@db/df
        postgres://df@db/df
        data/dripfeed.db
        ");
    }

    #[test]
    fn what_is_no_database_is_refused_without_its_password() {
        let refusals: Vec<String> = [
            "",
            "sqlite:",
            ":memory:",
            "mysql://root:s3cret@db/x",
            "postgres://df:s3/cret@x@db:port/df",
            "postgres://df:s3cret@db/df?sslmode=maybe",
            "postgres://df:s3cret@db/df?sslrootcert=",
        ]
        .iter()
        .map(|text| text.parse::<DatabaseUrl>().expect_err(text).0)
        .collect();
        insta::assert_snapshot!(refusals.join("\n"), @r"

        sqlite:
        :memory:
        mysql://root@db/x
        postgres://df@db:port/df
        postgres://df@db/df?sslmode=maybe
        postgres://df@db/df?sslrootcert=
        ");
    }

    #[test]
    fn a_path_may_stand_alone() {
        for (text, path) in [
            ("dripfeed.db", "dripfeed.db"),
            ("sqlite:a b.db", "a b.db"),
            ("sqlite:///x/y", "/x/y"),
            ("file:x", "file:x"),
        ] {
            assert_eq!(text.parse(), Ok(DatabaseUrl::Sqlite(path.into())), "{text}");
        }
    }
}
