//! SQLite's write-ahead log goes into the database beside the writer, and not at its expense.
//!
//! Left alone, SQLite moves the log whenever it has a thousand pages, inside a commit: whoever waits for that commit
//! waits for the whole database to be synced as well, and a large fleet writes a thousand pages several times a second.
//! Here a thread of its own moves it while others write. What it cannot do is begin the log anew, because meanwhile more
//! was written; when the log is long, the writer itself moves the little that is left, between two transactions, and its
//! next one begins at the front. Until then each commit is in the log, and synced there, as before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::sql_types::Integer;
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection};

use super::connection::Backend;
use super::sqlite::Sqlite;
use super::writer::spawn;
use super::{Conn, StoreError};

/// Commits that are moved together.
const PAUSE: Duration = Duration::from_millis(250);
/// Pages of the log, 32 MiB, from which on the writer begins it anew.
const LONG: i32 = 8192;
/// Pages of the log at which SQLite moves it by itself after all: when the thread does not keep up.
pub(super) const TOO_LONG: i32 = 32_768;

#[derive(QueryableByName)]
struct Moved {
    #[diesel(sql_type = Integer)]
    log: i32,
}

/// The writer's side.
pub(super) struct Checkpoints {
    committed: Option<SyncSender<()>>,
    is_long: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub(super) fn start(sqlite: Arc<Sqlite>) -> Result<Self, StoreError> {
        Self::with(sqlite, LONG)
    }

    /// With that many pages for a long log.
    fn with(sqlite: Arc<Sqlite>, long: i32) -> Result<Self, StoreError> {
        let (committed, commits) = sync_channel(1);
        let is_long = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_long);
        let thread = spawn("store-checkpoint".to_owned(), move || run(&sqlite, &commits, &told, long))?;
        Ok(Self { committed: Some(committed), is_long, thread: Some(thread) })
    }

    /// After each commit, outside of a transaction.
    pub(super) fn committed(&self, conn: &mut Conn) {
        if self.is_long.swap(false, Ordering::Relaxed)
            && let Backend::Sqlite(conn) = &mut conn.0
        {
            // What fails here is tried again by whoever comes next; nothing is lost by waiting.
            let _ = move_log(conn);
        }
        if let Some(committed) = &self.committed {
            // It may know already.
            let (Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(()))) = committed.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.committed = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(sqlite: &Sqlite, commits: &Receiver<()>, is_long: &AtomicBool, long: i32) {
    let mut conn = None;
    while commits.recv().is_ok() {
        if !goes_on_after_pause(commits) {
            return;
        }
        let held = match conn.take() {
            Some(held) => Ok(held),
            None => sqlite.connect(),
        };
        let Ok(mut held) = held else { continue };
        if let Ok(pages) = move_log(&mut held) {
            is_long.store(pages >= long, Ordering::Relaxed);
            conn = Some(held);
        }
    }
}

/// Lets more commits come; false when there will be none.
fn goes_on_after_pause(commits: &Receiver<()>) -> bool {
    let end = Instant::now() + PAUSE;
    loop {
        match commits.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// Moves what can be moved without waiting for anybody; gives the pages of the log, moved or not.
fn move_log(conn: &mut SqliteConnection) -> Result<i32, StoreError> {
    let moved: Moved = diesel::sql_query("PRAGMA wal_checkpoint(PASSIVE)").get_result(conn)?;
    Ok(moved.log)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::users;
    use super::*;

    /// How often the log was begun, as its header says.
    fn begun(directory: &tempfile::TempDir) -> u32 {
        let mut header = [0; 16];
        let log = std::fs::File::open(directory.path().join("log.db-wal"));
        log.expect("a log").read_exact(&mut header).expect("a header");
        u32::from_be_bytes(header[12..].try_into().expect("four bytes"))
    }

    #[test]
    fn a_long_log_is_begun_anew_while_writes_go_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let sqlite = Arc::new(Sqlite::open(&directory.path().join("log.db")).expect("opens"));
        let mut conn = sqlite.writer().expect("connects");
        let checkpoints = Checkpoints::with(Arc::clone(&sqlite), 8).expect("a thread");
        let write = |conn: &mut Conn| {
            conn.begin_write().expect("begins");
            conn.execute_batch("UPDATE counters SET value = value + 1").expect("written");
            conn.commit().expect("committed");
            checkpoints.committed(conn);
        };
        write(&mut conn);
        let (first, end) = (begun(&directory), Instant::now() + Duration::from_mins(2));
        while begun(&directory) == first {
            assert!(Instant::now() < end, "the log only grows");
            write(&mut conn);
        }
        drop(checkpoints);
        assert!(users::list(&mut conn).expect("readable").is_empty());
    }
}
