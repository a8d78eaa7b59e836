//! A database for one test.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use dripfeed::store::{Conn, DatabaseUrl, Store, StoreError};

/// An empty database that goes away with this value.
pub(crate) struct Database {
    pub(crate) url: DatabaseUrl,
    /// Gone with its files when this is dropped.
    _directory: Option<tempfile::TempDir>,
    /// Dropped by hand.
    schema: Option<String>,
}

/// The address of the PostgreSQL to test with.
#[expect(clippy::disallowed_methods, reason = "the gate says it in the environment")]
pub(crate) fn postgres_address() -> Option<String> {
    std::env::var("DRIPFEED_TEST_POSTGRES").ok().filter(|address| !address.is_empty())
}

/// Says, past the test harness, that something was not tested.
pub(crate) fn say(sentence: &str) {
    // `eprintln!` would be kept from view as long as the test passes.
    writeln!(std::io::stderr(), "\n  *** {sentence} ***").expect("stderr");
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let url = DatabaseUrl::Sqlite(directory.path().join("dripfeed.db"));
        Self { url, _directory: Some(directory), schema: None }
    }

    /// `None` when there is no PostgreSQL to test with; `postgres_was_tested_or_said_so` says it aloud, once.
    pub(crate) fn postgres() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let address = postgres_address()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let schema = format!("test_{}_{count}", std::process::id());
        query_postgres(&address, &format!("CREATE SCHEMA {schema}")).expect("a schema");
        let mark = if address.contains('?') { '&' } else { '?' };
        let url = format!("{address}{mark}options=-csearch_path%3D{schema}");
        Some(Self { url: url.parse().expect("an address"), _directory: None, schema: Some(schema) })
    }

    pub(crate) fn open(&self) -> Store {
        Store::open(&self.url).expect("the database opens")
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.schema.is_none()
    }

    pub(crate) fn path(&self) -> PathBuf {
        match &self.url {
            DatabaseUrl::Sqlite(path) => path.clone(),
            DatabaseUrl::Postgres(_) => panic!("PostgreSQL has no path"),
        }
    }

    /// What goes to a child process, which has no use for `Display`: that leaves the password out.
    pub(crate) fn argument(&self) -> String {
        match &self.url {
            DatabaseUrl::Sqlite(path) => path.to_str().expect("UTF-8").to_owned(),
            DatabaseUrl::Postgres(url) => url.clone(),
        }
    }

    /// Sends SQL past the store, as another program would. Gives the first column of each row of PostgreSQL.
    pub(crate) fn sql(&self, sql: &str) -> Vec<String> {
        match &self.url {
            DatabaseUrl::Sqlite(_) => {
                self.raw_sqlite().batch_execute(sql).expect(sql);
                Vec::new()
            }
            DatabaseUrl::Postgres(url) => query_postgres(url, sql).expect(sql),
        }
    }

    pub(crate) fn raw_sqlite(&self) -> SqliteConnection {
        let mut conn = SqliteConnection::establish(self.path().to_str().expect("UTF-8")).expect("SQLite opens");
        conn.batch_execute("PRAGMA busy_timeout = 10000").expect("a pragma");
        conn
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let (Some(schema), Some(address)) = (&self.schema, postgres_address()) {
            query_postgres(&address, &format!("DROP SCHEMA {schema} CASCADE")).ok();
        }
    }
}

fn query_postgres(address: &str, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(address, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        let messages = client.simple_query(sql).await?;
        let rows = messages.into_iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(rows.collect())
    })
}

/// Writes, and expects that to work.
pub(crate) fn write<T: Send + 'static>(
    store: &Store,
    change: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
) -> T {
    store.write_now(change).expect("the change is made")
}

/// Reads, and expects that to work.
pub(crate) fn read<T: Send + 'static>(
    store: &Store,
    query: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
) -> T {
    store.read_now(query).expect("the query is answered")
}

#[test]
fn postgres_was_tested_or_said_so() {
    match postgres_address() {
        Some(_) => {
            let database = Database::postgres().expect("there is an address");
            assert_eq!(database.sql("SELECT 6 * 7"), ["42"]);
        }
        None => say(
            "PostgreSQL was NOT tested: DRIPFEED_TEST_POSTGRES is not set; run `tests/postgres.sh cargo test` to test it",
        ),
    }
}
