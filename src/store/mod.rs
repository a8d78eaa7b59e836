//! The database: intent, results, computers. Floor 2; the only place that names diesel.
//!
//! A store function takes the connection first, is one query or one small transaction step, and knows no policy.
//! [`Store::read`] and [`Store::write`] are the only bridges from async code; [`Store::read_now`] and
//! [`Store::write_now`] are the same for the command line. A write returns after its commit, never before.
//!
//! On both back ends writes happen one after the other, in one thread that commits many at once, and other programs
//! wait their turn: a check and the write that depends on it belong into one closure and are never torn apart. Reads go
//! on beside them, each on one consistent view. Nothing is remembered from one transaction to the next, because other
//! programs write too; but for what [`memo`] keeps and a write finds still true.
//!
//! ```
//! # use dripfeed::store::{Store, StoreError, users};
//! # let directory = tempfile::tempdir().unwrap();
//! # let url = dripfeed::store::DatabaseUrl::Sqlite(directory.path().join("dripfeed.db"));
//! let store = Store::open(&url)?;
//! let names = store.read_now(|conn| Ok::<_, StoreError>(users::list(conn)?.len()))?;
//! assert_eq!(names, 0);
//! # Ok::<(), StoreError>(())
//! ```

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use self::checkpoint::Checkpoints;
use self::sqlite::Sqlite;
use self::writer::Workers;
use crate::model::DeviceId;

mod checkpoint;
mod connection;
mod error;
mod migrate;
#[cfg(test)]
pub(crate) mod plans;
mod postgres;
mod row;
mod schema;
mod sqlite;
mod writer;

pub mod activations;
pub mod approvals;
pub mod attention;
pub mod audit;
pub mod computers;
pub mod contents;
pub mod deleted_groups;
pub mod deployments;
pub mod details;
pub mod discovery;
pub mod entered;
pub mod events;
pub mod expected;
pub mod fields;
pub mod figures;
pub mod gates;
pub mod groups;
pub mod installations;
pub mod jobs;
pub mod known;
pub mod labels;
pub mod likenesses;
pub mod listing;
pub mod mass;
pub mod memo;
pub mod merges;
pub mod mirrors;
pub mod notes;
pub mod packages;
pub mod progress;
pub mod recipes;
pub mod recovery;
pub mod registration;
pub mod registry;
pub mod search;
pub mod sections;
pub mod seen;
pub mod series;
pub mod sessions;
pub mod settings;
pub mod software;
pub mod tally;
pub mod templates;
pub mod terms;
pub mod undo;
pub mod uploads;
pub mod users;
pub mod values;
pub mod views;
pub mod wakes;
pub mod webhooks;
pub mod withdrawals;

pub use connection::{Conn, DatabaseUrl, InvalidDatabaseUrl};
pub use error::StoreError;

/// A handle to the database; cheap to clone. When the last one is dropped, what is queued is written and all is closed.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// Written before the first change, in its transaction.
    first: Option<Arc<First>>,
}

/// Something that is to be written with the first change that is made through a handle.
struct First {
    /// That of the handle which this one was made from: it goes before.
    outer: Option<Arc<Self>>,
    written: AtomicBool,
    write: FirstChange,
}

type FirstChange = Box<dyn Fn(&mut Conn) -> Result<(), StoreError> + Send + Sync>;

impl First {
    fn run(&self, conn: &mut Conn) -> Result<(), StoreError> {
        self.outer.as_ref().map_or(Ok(()), |outer| outer.run(conn))?;
        if self.written.load(Ordering::Acquire) { Ok(()) } else { (self.write)(conn) }
    }

    fn has_run(&self) {
        self.written.store(true, Ordering::Release);
        if let Some(outer) = &self.outer {
            outer.has_run();
        }
    }
}

struct Inner {
    url: DatabaseUrl,
    writer: Workers,
    readers: Readers,
    commits: Arc<figures::Commits>,
    memo: Arc<memo::Memo>,
}

enum Readers {
    /// SQLite reads in microseconds: a hop to another thread would cost more.
    Inline(Arc<Sqlite>),
    Threads(Workers),
}

impl Store {
    /// Opens (and for SQLite creates) the database and brings its tables up to date.
    ///
    /// A file is made for its owner alone; a directory is never made. May block for a while, so it belongs to the start
    /// of a program.
    pub fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let commits = Arc::new(figures::Commits::new());
        let memo = Arc::new(memo::Memo::new(matches!(url, DatabaseUrl::Sqlite(_))));
        let shared =
            |checkpoints| writer::Shared { commits: Arc::clone(&commits), memo: Arc::clone(&memo), checkpoints };
        let (writer, readers) = match url {
            DatabaseUrl::Sqlite(path) => {
                let sqlite = Arc::new(Sqlite::open(path)?);
                let opener = Arc::clone(&sqlite);
                let shared = shared(Some(Checkpoints::start(Arc::clone(&sqlite))?));
                (Workers::writer(Box::new(move || opener.writer()), shared)?, Readers::Inline(sqlite))
            }
            DatabaseUrl::Postgres(address) => {
                let target = postgres::Target::open(address, url.to_string())?;
                let opener = || -> writer::Opener {
                    let target = target.clone();
                    Box::new(move || target.connect())
                };
                (Workers::writer(opener(), shared(None))?, Readers::Threads(Workers::readers(opener)?))
            }
        };
        Ok(Self { inner: Arc::new(Inner { url: url.clone(), writer, readers, commits, memo }), first: None })
    }

    /// Where it is. Prints without its password.
    pub fn url(&self) -> &DatabaseUrl {
        &self.inner.url
    }

    /// What this program's writer has committed since it opened the database.
    pub fn commits(&self) -> &figures::Commits {
        &self.inner.commits
    }

    /// What was read about computers and is kept.
    pub fn memo(&self) -> &Arc<memo::Memo> {
        &self.inner.memo
    }

    /// Reads, on the calling worker for SQLite: for queries of microseconds. One consistent view per call.
    pub async fn read<T, E>(&self, query: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        if writer::is_inside() {
            return Err(StoreError::Nested.into());
        }
        match &self.inner.readers {
            Readers::Inline(sqlite) => sqlite.read(|conn| writer::inside(|| query(conn))),
            Readers::Threads(workers) => workers.run(query).await,
        }
    }

    /// Writes in a transaction of its own or together with others; an `Err` from the closure, or a panic, undoes just
    /// this one. `Ok` means committed and synced. If the caller stops waiting the change is made all the same.
    pub async fn write<T, E>(&self, change: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        if writer::is_inside() {
            return Err(StoreError::Nested.into());
        }
        let Some(first) = self.first.clone().filter(|first| !first.written.load(Ordering::Acquire)) else {
            return self.inner.writer.run(change).await;
        };
        let told = Arc::clone(&first);
        let result = self.inner.writer.run(move |conn| {
            first.run(conn)?;
            change(conn)
        });
        let result = result.await;
        if result.is_ok() {
            told.has_run();
        }
        result
    }

    /// The same database through another handle. The first change that is made through it is made together with this
    /// one: both hold or neither does. Nothing is written if nothing is changed.
    #[must_use]
    pub fn with_first(&self, write: impl Fn(&mut Conn) -> Result<(), StoreError> + Send + Sync + 'static) -> Self {
        let first = First { outer: self.first.clone(), written: AtomicBool::new(false), write: Box::new(write) };
        Self { inner: Arc::clone(&self.inner), first: Some(Arc::new(first)) }
    }

    /// The same database through a handle that writes nothing but what it is told.
    #[must_use]
    pub fn without_first(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), first: None }
    }

    /// Has that first change been written?
    pub fn has_written_first(&self) -> bool {
        self.first.as_ref().is_some_and(|first| first.written.load(Ordering::Acquire))
    }

    /// [`Store::read`] for code that may block.
    pub fn read_now<T, E>(&self, query: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        wait(self.read(query))
    }

    /// [`Store::write`] for code that may block.
    pub fn write_now<T, E>(&self, change: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        wait(self.write(change))
    }

    /// Writes a compact, consistent copy of a SQLite database to a new file, while others go on reading and writing.
    pub fn backup(&self, path: &Path) -> Result<(), StoreError> {
        match &self.inner.readers {
            Readers::Inline(sqlite) => sqlite.backup(path),
            Readers::Threads(_) => Err(StoreError::Backup {
                path: path.display().to_string(),
                problem: "PostgreSQL makes its own copies: pg_dump --format=custom".to_owned(),
            }),
        }
    }
}

/// What the running write alters. A write that says nothing alters all there is.
impl Conn {
    /// Nothing that is read about any other computer before it is answered.
    pub fn alters_only(&mut self, store: &memo::Memo, device: &DeviceId) {
        store.about(device);
    }

    /// Nothing that anybody is answered by.
    pub fn alters_no_answer(&mut self) {
        memo::Memo::about_nothing();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.inner.url).finish()
    }
}

/// Waits for a future that only waits for the store's own threads. Unlike a runtime's `block_on` it may be called
/// anywhere: in a plain thread, in a runtime's blocking thread, and (holding it up) even in async code.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    // Inside a task, its budget might be used up and would not be filled again while we wait here.
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
