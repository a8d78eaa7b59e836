//! The one writer and its group commit, and the readers of PostgreSQL: threads that take units of work from a queue.
//!
//! ```text
//! write(a) ─┐                        ┌ BEGIN IMMEDIATE
//! write(b) ─┼─► queue ─► the writer ─┤ a · SAVEPOINT b RELEASE · SAVEPOINT c ROLLBACK TO c     (c said Err)
//! write(c) ─┘                        └ COMMIT, one sync ─► answers to a, b and c
//! ```

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Checkpoints;
use super::figures::Commits;
use super::memo::{self, Concern, Memo};
use super::{Conn, StoreError};

/// Units that may wait; whoever comes then waits to get in.
const QUEUE: usize = 1024;
/// A transaction takes no more units after so many, or after so long: who came first should not wait for the rest. But
/// where a commit takes long, there is little sense in making many: the units may take as long as the last one did.
const BATCH_UNITS: usize = 512;
const BATCH_TIME: Duration = Duration::from_millis(20);
const LONGEST_BATCH: Duration = Duration::from_millis(250);
/// Under load, a pause before a transaction lets more units share its sync; a lone client is never made to wait.
const WINDOW: Duration = Duration::from_millis(1);
const LOAD: usize = 8;
/// Connections to PostgreSQL that read.
const READERS: usize = 8;

/// How a unit ended: its value or its error, or the panic that it ended in.
type Outcome<T, E> = Result<Result<T, E>, Box<dyn Any + Send>>;

/// Opens the connection that a worker uses, again when it broke.
pub(super) type Opener = Box<dyn Fn() -> Result<Conn, StoreError> + Send>;

/// Something to be run in a transaction. Given an error instead of a connection, it hands that on and was not run.
type Unit = Box<dyn FnOnce(Result<&mut Conn, StoreError>) -> Option<Ran> + Send>;

/// A unit that was run.
struct Ran {
    /// Is its change to be kept?
    keep: bool,
    /// What it altered, if it is.
    concern: Concern,
    /// Tells the caller, once it is known whether the transaction holds.
    answer: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Is this thread running a unit? A second transaction would wait for the first, which waits for it.
pub(super) fn is_inside() -> bool {
    INSIDE.get()
}

/// Marks the thread as running a unit until it returns or panics.
pub(super) fn inside<T>(unit: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            INSIDE.set(false);
        }
    }
    INSIDE.set(true);
    let _leave = Leave;
    unit()
}

fn unit<T, E>(
    query: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    reply: oneshot::Sender<Outcome<T, E>>,
) -> Unit
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    // Nobody may be listening any more: then there is nobody to tell.
    Box::new(move |conn| {
        let conn = match conn {
            Ok(conn) => conn,
            Err(error) => {
                let _ = reply.send(Ok(Err(error.into())));
                return None;
            }
        };
        let ended = catch_unwind(AssertUnwindSafe(|| inside(|| query(conn))));
        let concern = memo::take_concern();
        let ran = match ended {
            Ok(Ok(value)) => Ran {
                keep: true,
                concern,
                answer: Box::new(move |held| {
                    let _ = reply.send(Ok(held.map(|()| value).map_err(E::from)));
                }),
            },
            // Undone in any case, so the fate of the transaction changes nothing.
            Ok(Err(error)) => Ran {
                keep: false,
                concern,
                answer: Box::new(move |_| {
                    let _ = reply.send(Ok(Err(error)));
                }),
            },
            Err(panic) => Ran {
                keep: false,
                concern,
                answer: Box::new(move |_| {
                    let _ = reply.send(Err(panic));
                }),
            },
        };
        Some(ran)
    })
}

/// Threads with a queue. Dropping it lets them finish what is queued and waits for them.
pub(super) struct Workers {
    queue: Option<mpsc::Sender<Unit>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// The writer: one thread, many units in a transaction.
    pub(super) fn writer(open: Opener, shared: Shared) -> Result<Self, StoreError> {
        let (queue, units) = mpsc::channel(QUEUE);
        let reopened = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&reopened);
        let open: Opener = Box::new(move || {
            told.store(true, Ordering::SeqCst);
            open()
        });
        let mut writer =
            Writer { open, conn: None, units, shared, reopened, version: None, last_commit: Duration::ZERO };
        let thread = spawn("store-writer".to_owned(), move || writer.run())?;
        Ok(Self { queue: Some(queue), threads: vec![thread] })
    }

    /// Readers: a few threads, each with a connection, a transaction for each unit.
    pub(super) fn readers(open: impl Fn() -> Opener) -> Result<Self, StoreError> {
        let (queue, units) = mpsc::channel(QUEUE);
        let units = Arc::new(Mutex::new(units));
        let threads = (1..=READERS).map(|n| {
            let (open, units) = (open(), Arc::clone(&units));
            spawn(format!("store-reader-{n}"), move || read_units(&open, &units))
        });
        Ok(Self { queue: Some(queue), threads: threads.collect::<Result<_, _>>()? })
    }

    /// Queues a unit and waits for its end. A panic in it goes on in the caller.
    pub(super) async fn run<T, E>(&self, query: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(unit(query, reply)).await.map_err(|_| StoreError::Closed)?;
        match outcome.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(StoreError::Closed.into()),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // The last handle may have lived in a unit: a worker cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

pub(super) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new().name(name).spawn(work).map_err(|error| StoreError::Open {
        url: "(a thread for it)".to_owned(),
        problem: format!("{error}; raise the limit of threads"),
    })
}

struct Writer {
    open: Opener,
    conn: Option<Conn>,
    units: mpsc::Receiver<Unit>,
    shared: Shared,
    /// The connection is another one than at the last transaction.
    reopened: Arc<AtomicBool>,
    /// Of the database, at our last transaction: another program's commit changes it, our own do not.
    version: Option<i64>,
    /// How long the last commit took.
    last_commit: Duration,
}

/// What the writer tells the rest of the store.
pub(super) struct Shared {
    pub(super) commits: Arc<Commits>,
    pub(super) memo: Arc<Memo>,
    /// On SQLite.
    pub(super) checkpoints: Option<Checkpoints>,
}

impl Writer {
    fn run(&mut self) {
        let mut last = 0;
        while let Some(first) = self.units.blocking_recv() {
            if last >= LOAD {
                std::thread::sleep(WINDOW);
            }
            last = self.run_batch(first);
        }
    }

    /// One transaction: this unit and those that come while it is open. Gives how many.
    fn run_batch(&mut self, first: Unit) -> usize {
        let started = Instant::now();
        let conn = match begin(&self.open, &mut self.conn, Conn::begin_write) {
            Ok(conn) => conn,
            Err(error) => {
                self.shared.commits.fail();
                // Whoever waits here has waited as long; one by one they would wait for minutes. They are taken out
                // before the first is told, because who comes after that is to be tried anew.
                let waiting: Vec<Unit> = std::iter::from_fn(|| self.units.try_recv().ok()).collect();
                for unit in std::iter::once(first).chain(waiting) {
                    unit(Err(error.clone()));
                }
                return 0;
            }
        };
        let began = Instant::now();
        let memo = &self.shared.memo;
        if memo.is_on() {
            // Nobody else can commit from here on until we have.
            let version = conn.data_version().ok();
            if self.reopened.swap(false, Ordering::SeqCst) || version.is_none() || version != self.version {
                memo.forget_all();
            }
            self.version = version;
        }
        let mut ran = Vec::new();
        // Alone, the first needs no savepoint: undoing it is undoing the transaction.
        let Some(Ran { keep, concern, answer }) = first(Ok(conn)) else { return 0 };
        if !keep {
            if conn.rollback().is_err() {
                self.conn = None;
            }
            answer(Ok(()));
            return 1;
        }
        memo.changed(concern);
        ran.push(Ran { keep, concern, answer });
        let mut alive = Ok(());
        let time = self.last_commit.clamp(BATCH_TIME, LONGEST_BATCH);
        while alive.is_ok() && ran.len() < BATCH_UNITS && began.elapsed() < time {
            let Ok(unit) = self.units.try_recv() else { break };
            if let Err(error) = conn.savepoint() {
                unit(Err(commit_error(&error)));
                alive = Err(error);
                break;
            }
            let Some(one) = unit(Ok(conn)) else { break };
            let kept = if one.keep { conn.release() } else { Ok(()) };
            if one.keep && kept.is_ok() {
                memo.changed(one.concern);
                ran.push(one);
                continue;
            }
            if kept.is_err() {
                // What it left behind in the memo is undone.
                memo.forget_all();
            }
            // If even this fails the database has given the whole transaction up (disk full, connection lost).
            alive = conn.undo();
            (one.answer)(kept.map_err(|error| commit_error(&error)));
        }
        let committing = Instant::now();
        let held = alive.and_then(|()| conn.commit()).map_err(|error| commit_error(&error));
        self.last_commit = committing.elapsed();
        if held.is_err() && conn.rollback().is_err() {
            self.conn = None;
        }
        for one in &ran {
            memo.settled(one.concern);
        }
        if held.is_err() {
            memo.forget_all();
        }
        let count = ran.len();
        match &held {
            Ok(()) => self.shared.commits.held(count, started.elapsed()),
            Err(_) => self.shared.commits.fail(),
        }
        for Ran { answer, .. } in ran {
            answer(held.clone());
        }
        if let (Ok(()), Some(checkpoints), Some(conn)) = (held, &self.shared.checkpoints, &mut self.conn) {
            checkpoints.committed(conn);
        }
        count
    }
}

fn commit_error(error: &StoreError) -> StoreError {
    StoreError::Commit(match error {
        StoreError::Query(source) => source.to_string(),
        other => other.to_string(),
    })
}

fn read_units(open: &Opener, units: &Mutex<mpsc::Receiver<Unit>>) {
    let mut held = None;
    loop {
        // The others wait for the lock meanwhile: one reader at a time waits for the queue.
        let next = units.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(unit) = next else { return };
        match begin(open, &mut held, Conn::begin_read) {
            Ok(conn) => {
                let ran = unit(Ok(conn));
                if conn.end_read().is_err() {
                    held = None;
                }
                if let Some(Ran { answer, .. }) = ran {
                    answer(Ok(()));
                }
            }
            Err(error) => {
                unit(Err(error));
            }
        }
    }
}

/// Begins a transaction. Nothing was asked of it yet, so a connection that broke while it was idle is opened again.
fn begin<'a>(
    open: &Opener,
    held: &'a mut Option<Conn>,
    begin: fn(&mut Conn) -> Result<(), StoreError>,
) -> Result<&'a mut Conn, StoreError> {
    if let Some(conn) = held {
        match begin(conn) {
            Ok(()) => {}
            Err(StoreError::Busy(seconds)) => {
                // SQLite has begun nothing; PostgreSQL has, and waits for the end of it.
                let _ = conn.rollback();
                return Err(StoreError::Busy(seconds));
            }
            Err(_) => *held = None,
        }
    }
    if held.is_none() {
        let mut conn = open()?;
        begin(&mut conn)?;
        *held = Some(conn);
    }
    held.as_mut().ok_or(StoreError::Closed)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use diesel::connection::SimpleConnection as _;

    use super::super::connection::Backend;
    use super::super::sqlite::Sqlite;
    use super::super::{users, wait};
    use super::*;

    fn open(directory: &tempfile::TempDir) -> Arc<Sqlite> {
        Arc::new(Sqlite::open(&directory.path().join("writer.db")).expect("opens"))
    }

    /// Ten seconds are too long for a test, so this writer is an impatient one.
    fn impatient(sqlite: &Arc<Sqlite>) -> Opener {
        let sqlite = Arc::clone(sqlite);
        Box::new(move || {
            let mut conn = sqlite.writer()?;
            conn.execute_batch("PRAGMA busy_timeout = 1")?;
            Ok(conn)
        })
    }

    fn lock(sqlite: &Sqlite) -> diesel::SqliteConnection {
        let Backend::Sqlite(mut other) = sqlite.writer().expect("opens").0 else { unreachable!("it is SQLite") };
        other.batch_execute("BEGIN IMMEDIATE").expect("a lock");
        other
    }

    type Waiting<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), StoreError>> + 'a>>;

    fn shared() -> Shared {
        Shared { commits: Arc::new(Commits::new()), memo: Arc::new(Memo::new(true)), checkpoints: None }
    }

    fn list(conn: &mut Conn) -> Result<usize, StoreError> {
        Ok(users::list(conn)?.len())
    }

    #[test]
    fn a_lock_that_is_not_let_go_is_told_and_the_writer_goes_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let sqlite = open(&directory);
        let writer = Workers::writer(impatient(&sqlite), shared()).expect("a thread");
        let mut other = lock(&sqlite);
        for _ in 0..2 {
            let error = wait(writer.run(list)).expect_err("it is locked");
            insta::allow_duplicates! {
                insta::assert_snapshot!(error, @"the database is busy: another program has kept it locked for 10 seconds");
            }
        }
        other.batch_execute("COMMIT").expect("it was ours");
        assert_eq!(wait(writer.run(list)).expect("free again"), 0);
    }

    #[test]
    fn a_database_that_cannot_be_opened_is_told_and_tried_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let sqlite = open(&directory);
        let tries = Mutex::new(0);
        let opener: Opener = Box::new(move || {
            let mut tries = tries.lock().expect("no panic");
            *tries += 1;
            if *tries == 1 {
                Err(StoreError::Open { url: "x".to_owned(), problem: "y".to_owned() })
            } else {
                sqlite.writer()
            }
        });
        let writer = Workers::writer(opener, shared()).expect("a thread");
        assert!(matches!(wait(writer.run(list)), Err(StoreError::Open { .. })));
        assert_eq!(wait(writer.run(list)).expect("the second time"), 0);
    }

    #[test]
    fn who_waits_at_the_same_time_shares_a_commit() {
        let directory = tempfile::tempdir().expect("a directory");
        let sqlite = open(&directory);
        let writer = Workers::writer(impatient(&sqlite), shared()).expect("a thread");
        let (let_go, gate) = std::sync::mpsc::channel::<()>();
        let first = writer.run(move |_| gate.recv().map_err(|_| StoreError::Closed));
        let others = (0..50).map(|n: i64| {
            writer
                .run(move |conn| conn.execute_batch(&format!("INSERT INTO counters (name, value) VALUES ('{n}', {n})")))
        });
        // All are queued while the first holds the writer up.
        let mut waiting: Vec<_> = std::iter::once(Box::pin(first) as Waiting<'_>)
            .chain(others.map(|other| Box::pin(other) as Waiting<'_>))
            .collect();
        let mut context = Context::from_waker(Waker::noop());
        for unit in &mut waiting {
            assert!(matches!(unit.as_mut().poll(&mut context), Poll::Pending));
        }
        let frames = || std::fs::metadata(directory.path().join("writer.db-wal")).map_or(0, |file| file.len()) / 4096;
        let before = frames();
        let_go.send(()).expect("it waits");
        for unit in waiting {
            wait(unit).expect("made");
        }
        // Fifty commits of their own would have written the same page fifty times.
        let written = frames() - before;
        assert!((1..=15).contains(&written), "{written} pages were written");
    }
}
