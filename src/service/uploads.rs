//! Files on their way to the server, piece by piece.
//!
//! The database says how many bytes of an upload count; they were durable before it said so. A cut connection, a restart or
//! a kill costs what was not told yet, and the client goes on behind what was.

mod several;

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use super::App;
use crate::disk::uploads::{UploadFile, Uploads};
use crate::disk::{PositionedReader, TreeError};
use crate::model::{ByteSize, Digest, DigestAlgorithm, Hasher, UnixTime, Upload, UploadFile as Announced, UploadId};
use crate::store::{StoreError, uploads};

/// How long an upload may rest until it is removed.
pub const KEPT: Duration = Duration::from_hours(24);
/// Unfinished and finished uploads of one person.
const MOST: usize = 50;
/// Bytes that are left free on the disk for everything else.
const RESERVE: u64 = 64 << 20;
/// After so many bytes a long piece is made durable in between.
const STEP: u64 = 64 << 20;

/// Why an upload was refused.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// No such upload, or somebody else's, or an abandoned one.
    #[error("there is no such upload any more: begin it again")]
    Unknown,
    /// The name is none.
    #[error("\"{0}\" is no name of a file: 1 to 200 bytes, without / and \\ and control characters")]
    Name(String),
    /// Nothing in it.
    #[error("the file is empty: there is nothing to build from")]
    Empty,
    /// Several files that cannot be one archive.
    #[error("{0}")]
    Files(String),
    /// The disk is too small.
    #[error("the server has {free} left for uploads, and this file needs {needed}: free some space there first")]
    NoSpace {
        /// What is left.
        free: ByteSize,
        /// What is needed.
        needed: ByteSize,
    },
    /// Too many at once.
    #[error("you have {MOST} uploads already: build from them or cancel some first")]
    TooMany,
    /// The piece does not follow what is there.
    #[error("the server has {received} bytes of it: go on from there")]
    Offset {
        /// What is there.
        received: u64,
    },
    /// More than was announced.
    #[error("the file was announced with {size} bytes, and this piece goes beyond them")]
    TooLong {
        /// As announced.
        size: u64,
    },
    /// It is not the file that was meant.
    #[error(
        "the file that came has the SHA-256 {actual} and should have {expected}: it was damaged on its way, send it again"
    )]
    Digest {
        /// As the client said.
        expected: Digest,
        /// As it came.
        actual: Digest,
    },
    /// Not complete yet.
    #[error("\"{0}\" is not complete yet: wait until all of it has come")]
    Incomplete(String),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] TreeError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

fn disk(app: &App, source: io::Error) -> UploadError {
    TreeError::of(app.tree.staging(), source).into()
}

/// Begins an upload of a file, or of several that come one behind the other. Nothing is changed unless there is room for all
/// of it.
pub fn begin(app: &App, owner: &str, name: &str, size: u64, files: Vec<Announced>) -> Result<Upload, UploadError> {
    let bare = name.rsplit(['/', '\\']).next().unwrap_or_default();
    if bare.is_empty() || bare.len() > 200 || matches!(bare, "." | "..") || bare.contains(char::is_control) {
        return Err(UploadError::Name(name.chars().filter(|c| !c.is_control()).take(80).collect()));
    }
    if size == 0 {
        return Err(UploadError::Empty);
    }
    several::check(&files, size).map_err(UploadError::Files)?;
    let of = owner.to_owned();
    let (count, outstanding) = app.store.read_now(move |conn| -> Result<_, StoreError> {
        Ok((uploads::of_owner(conn, &of, MOST)?.len(), uploads::outstanding(conn)?))
    })?;
    if count >= MOST {
        return Err(UploadError::TooMany);
    }
    // Where the system does not say how much is left, writing will.
    if let Ok(free) = app.tree.free() {
        let left = free.saturating_sub(outstanding).saturating_sub(RESERVE);
        if size > left {
            return Err(UploadError::NoSpace { free: ByteSize(left), needed: ByteSize(size) });
        }
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| UploadError::Random(error.to_string()))?;
    let now = app.clock.now();
    let upload = Upload {
        id: UploadId::from_bytes(random),
        owner: owner.to_owned(),
        name: bare.to_owned(),
        size,
        received: 0,
        sha256: None,
        created_at: now,
        changed_at: now,
        files,
    };
    let files = Uploads::of(&app.tree);
    files.create(&upload.id).map_err(|source| disk(app, source))?;
    let row = upload.clone();
    if let Err(error) = app.store.write_now(move |conn| uploads::create(conn, &row)) {
        // Without a row nobody knows the file; if this fails too, the next clean-up removes it.
        let _ = files.remove(&upload.id);
        return Err(error.into());
    }
    Ok(upload)
}

/// Somebody's upload.
pub fn find(app: &App, owner: &str, id: &UploadId) -> Result<Upload, UploadError> {
    let id = id.clone();
    let found = app.store.read_now(move |conn| uploads::find(conn, &id))?;
    found.filter(|upload| upload.owner == owner).ok_or(UploadError::Unknown)
}

/// Somebody's uploads, the one that changed last first.
pub fn list(app: &App, owner: &str) -> Result<Vec<Upload>, UploadError> {
    let owner = owner.to_owned();
    Ok(app.store.read_now(move |conn| uploads::of_owner(conn, &owner, MOST))?)
}

/// Removes an upload with its bytes.
pub fn remove(app: &App, id: &UploadId) -> Result<(), UploadError> {
    let row = id.clone();
    app.store.write_now(move |conn| uploads::remove(conn, &row))?;
    Uploads::of(&app.tree).remove(id).map_err(|source| disk(app, source))
}

/// Removes what rested for [`KEPT`], and files that no upload knows. Says how many that were.
pub fn expire(app: &App) -> Result<usize, UploadError> {
    let now = app.clock.now();
    let span = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
    let since = UnixTime::from_millis(now.millis().saturating_sub(span));
    let idle = app.store.read_now(move |conn| uploads::idle(conn, since, 1000))?;
    for upload in &idle {
        remove(app, &upload.id)?;
    }
    let files = Uploads::of(&app.tree);
    let mut strangers = 0;
    for id in files.list().map_err(|source| disk(app, source))? {
        let known = id.clone();
        if app.store.read_now(move |conn| uploads::find(conn, &known))?.is_none() && rests(&files, &id, now) {
            files.remove(&id).map_err(|source| disk(app, source))?;
            strangers += 1;
        }
    }
    Ok(idle.len() + strangers)
}

/// A file is made before its row: only one that has been there for a while is nobody's.
fn rests(files: &Uploads, id: &UploadId, now: UnixTime) -> bool {
    let changed = std::fs::metadata(files.path(id)).and_then(|metadata| metadata.modified()).ok();
    let changed = changed.and_then(|changed| changed.duration_since(std::time::UNIX_EPOCH).ok());
    changed.is_none_or(|changed| now.since(UnixTime::from_millis(0)).saturating_sub(changed) > Duration::from_mins(10))
}

/// What was read of an upload so far, for its SHA-256. Kept between pieces; without it the file is read again.
#[derive(Debug)]
pub struct Running {
    hasher: Hasher,
    at: u64,
}

/// An upload that grows.
#[derive(Debug)]
pub struct Writing {
    app: App,
    upload: Upload,
    file: UploadFile,
    hasher: Hasher,
    at: u64,
}

impl Writing {
    /// Opens an upload for the piece at `offset`.
    pub fn open(app: &App, upload: Upload, offset: u64, running: Option<Running>) -> Result<Self, UploadError> {
        if offset != upload.received {
            return Err(UploadError::Offset { received: upload.received });
        }
        let file = match Uploads::of(&app.tree).open(&upload.id, offset) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(UploadError::Unknown),
            Err(error) => return Err(disk(app, error)),
        };
        let hasher = match running.filter(|running| running.at == offset) {
            Some(running) => running.hasher,
            None => hashed(&file, offset).map_err(|source| disk(app, source))?,
        };
        Ok(Self { app: app.clone(), at: offset, upload, file, hasher })
    }

    /// How many bytes are still to come.
    pub fn room(&self) -> u64 {
        self.upload.size - self.at
    }

    /// Adds bytes. They are told after [`Writing::save`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        if bytes.len() as u64 > self.room() {
            return Err(UploadError::TooLong { size: self.upload.size });
        }
        self.file.write_all(bytes).map_err(|source| disk(&self.app, source))?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        if self.at - self.upload.received >= STEP { self.save(None) } else { Ok(()) }
    }

    /// Makes durable what came and says so; the last piece ends the upload, with the digest that the client expects or
    /// without.
    pub fn save(&mut self, expected: Option<Digest>) -> Result<(), UploadError> {
        self.file.sync().map_err(|source| disk(&self.app, source))?;
        let complete = self.at == self.upload.size;
        let actual =
            complete.then(|| std::mem::replace(&mut self.hasher, Hasher::new(DigestAlgorithm::Sha256)).finish());
        let wrong = expected.zip(actual).filter(|(expected, actual)| expected != actual);
        let (received, sha256) = if wrong.is_some() { (0, None) } else { (self.at, actual) };
        let (id, now) = (self.upload.id.clone(), self.app.clock.now());
        let known = self.app.store.write_now(move |conn| {
            conn.alters_no_answer();
            uploads::received(conn, &id, received, sha256.as_ref(), now)
        })?;
        (self.upload.received, self.upload.sha256) = (received, sha256);
        match wrong {
            _ if !known => Err(UploadError::Unknown),
            Some((expected, actual)) => Err(UploadError::Digest { expected, actual }),
            None => Ok(()),
        }
    }

    /// The upload as it is now, and what the next piece begins with.
    pub fn end(self) -> (Upload, Option<Running>) {
        let running = (!self.upload.is_complete() && self.upload.received == self.at)
            .then_some(Running { hasher: self.hasher, at: self.at });
        (self.upload, running)
    }
}

fn hashed(file: &UploadFile, bytes: u64) -> io::Result<Hasher> {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    let mut reader = PositionedReader::new(file.file()).take(bytes);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher),
            n => hasher.update(&buffer[..n]),
        }
    }
}
