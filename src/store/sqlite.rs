//! SQLite: one file, one writer, readers beside it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};

use super::checkpoint::TOO_LONG;
use super::connection::Backend;
use super::error::BUSY_SECONDS;
use super::{Conn, StoreError, migrate};

/// "drip", in the header of our files: another program's database is not mistaken for an empty one.
const APPLICATION_ID: i32 = 0x6472_6970;

/// Readers kept open while nobody reads: as many as threads that read at once, within reason.
const IDLE_READERS: usize = 16;

#[derive(QueryableByName)]
struct Header {
    #[diesel(sql_type = Integer)]
    application_id: i32,
    #[diesel(sql_type = BigInt)]
    tables: i64,
}

#[derive(QueryableByName)]
struct JournalMode {
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

/// A database file that has been opened, checked and brought up to date.
pub(super) struct Sqlite {
    path: PathBuf,
    /// The last one used is the first one taken: its page cache is warm.
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        prepare_file(path)?;
        let sqlite = Self { path: path.to_owned(), idle: Mutex::default() };
        let mut conn = sqlite.connect()?;
        let header = read_header(&mut conn, path)?;
        let is_new = header.tables == 0;
        if header.application_id != APPLICATION_ID && !is_new {
            return refuse(path, "it is a SQLite database of another program; choose another path");
        }
        let modes: Vec<JournalMode> = diesel::sql_query("PRAGMA journal_mode = WAL").load(&mut conn)?;
        if modes.first().is_none_or(|mode| mode.journal_mode != "wal") {
            return refuse(path, "its file system has no write-ahead log; put it on a local disk");
        }
        if is_new || migrate::is_behind(&mut conn)? {
            // Two programs that start together: the second one waits here, then finds nothing to do.
            conn.immediate_transaction(|conn| {
                conn.batch_execute(&format!("PRAGMA application_id = {APPLICATION_ID}"))?;
                migrate::run(conn)
            })?;
        }
        Ok(sqlite)
    }

    /// A connection that may write. There is one a process.
    pub(super) fn writer(&self) -> Result<Conn, StoreError> {
        let mut conn = self.connect()?;
        // FULL: what was answered with "saved" survives a loss of power. The log is cut down again after a flood. In
        // memory: what a change of many would undo, which is written into a file otherwise.
        conn.batch_execute(&format!(
            "PRAGMA synchronous = FULL; PRAGMA cache_size = -32768; PRAGMA journal_size_limit = 67108864; \
             PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = {TOO_LONG}",
        ))?;
        Ok(Conn(Backend::Sqlite(conn)))
    }

    /// Runs a query on the calling thread, in one read transaction.
    pub(super) fn read<T, E: From<StoreError>>(&self, query: impl FnOnce(&mut Conn) -> Result<T, E>) -> Result<T, E> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.reader()?,
        };
        // A query that panics takes its connection with it.
        let mut conn = Conn(Backend::Sqlite(conn));
        conn.begin_read()?;
        let result = query(&mut conn);
        if conn.end_read().is_ok()
            && let Backend::Sqlite(conn) = conn.0
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_READERS {
                idle.push(conn);
            }
        }
        result
    }

    /// Writes a compact copy to a new file, beside all other work.
    pub(super) fn backup(&self, path: &Path) -> Result<(), StoreError> {
        let refuse = |problem: String| StoreError::Backup { path: path.display().to_string(), problem };
        let Some(text) = path.to_str() else { return Err(refuse("its name is not UTF-8".to_owned())) };
        new_file(path, true).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => refuse("there is a file of that name; choose a new one".to_owned()),
            _ => refuse(format!("{error}; choose a place that can be written to")),
        })?;
        let mut conn = self.connect()?;
        let copied = diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(text).execute(&mut conn);
        copied.map_err(|error| refuse(format!("{error}; what is there is no backup, remove it")))?;
        File::open(path).and_then(|file| file.sync_all()).map_err(|error| refuse(error.to_string()))
    }

    fn reader(&self) -> Result<SqliteConnection, StoreError> {
        let mut conn = self.connect()?;
        conn.batch_execute("PRAGMA query_only = ON; PRAGMA cache_size = -8192")?;
        Ok(conn)
    }

    pub(super) fn connect(&self) -> Result<SqliteConnection, StoreError> {
        let Some(text) = self.path.to_str() else { return refuse(&self.path, "its name is not UTF-8") };
        // SQLite would take "file:" and "sqlite:" at the front for the beginning of an address.
        let name = if self.path.is_absolute() { text.to_owned() } else { format!("./{text}") };
        let mut conn = SqliteConnection::establish(&name)
            .map_err(|error| StoreError::Open { url: text.to_owned(), problem: error.to_string() })?;
        conn.batch_execute(&format!("PRAGMA busy_timeout = {}; PRAGMA foreign_keys = ON", BUSY_SECONDS * 1000))?;
        Ok(conn)
    }
}

fn refuse<T>(path: &Path, problem: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Open { url: path.display().to_string(), problem: problem.into() })
}

/// Makes the file for the owner alone (SQLite gives its other files the same rights), or says why it cannot be used.
fn prepare_file(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return refuse(path, "it is a directory; name a file in it");
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return refuse(path, format!("the directory {} does not exist; make it first", parent.display()));
    }
    let is_new = !path.exists();
    let made = new_file(path, false);
    match made {
        Ok(_) => {
            // SQLite syncs the names of its logs, but takes ours for an old one.
            #[cfg(unix)]
            if is_new {
                File::open(parent).and_then(|directory| directory.sync_all()).or_else(|error| {
                    refuse(path, format!("its directory {} cannot be synced: {error}", parent.display()))
                })?;
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            refuse(path, "this user may not read and write it; change its owner or run as its owner")
        }
        Err(error) => refuse(path, error.to_string()),
    }
}

fn new_file(path: &Path, must_be_new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).create_new(must_be_new);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

fn read_header(conn: &mut SqliteConnection, path: &Path) -> Result<Header, StoreError> {
    let header = diesel::sql_query(
        "SELECT application_id, (SELECT count(*) FROM sqlite_schema) AS tables FROM pragma_application_id",
    )
    .get_result(conn);
    header.or_else(|error: diesel::result::Error| match error.to_string() {
        text if text.contains("not a database") => refuse(path, "it is not a SQLite database; choose another path"),
        text if text.contains("malformed") => refuse(path, "it is damaged; put a backup in its place"),
        _ => Err(error.into()),
    })
}
