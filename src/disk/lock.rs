//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is held by another process ({}): stop it first, or use another directory", path.display(), whom(*pid))]
    Held {
        /// The lock.
        path: PathBuf,
        /// Its process, if the file says so.
        pid: Option<u32>,
    },
    /// The file could not be opened, locked or written.
    #[error("failed to lock {}", path.display())]
    Io {
        /// The lock.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn whom(pid: Option<u32>) -> String {
    pid.map_or_else(|| "of unknown number".to_owned(), |pid| format!("process {pid}"))
}

/// A lock on a file that holds the number of its process. The system gives it back when the process ends, however it
/// ends; the file stays, because removing it would let two processes lock two files of one name.
#[derive(Debug)]
pub struct LockFile {
    _file: Locked,
}

/// A file that is locked until it is dropped. Closing it would not do: a child that is just being started has it open, too,
/// until it becomes another program, and would keep the lock that long.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // What stays locked is unlocked when the process ends.
        let _ = self.0.unlock();
    }
}

impl LockFile {
    /// Takes the lock at once or not at all.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Whoever has it may be about to write its number.
                let pid = file.take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::Held { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let pid = format!("{}\n", std::process::id());
        // On a full disk it is locked all the same; only nobody is told by whom.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(pid.as_bytes()));
        Ok(Self { _file: Locked(file) })
    }
}

/// A lock that several hold together, or one alone; given back when it is dropped or the process ends.
#[derive(Debug)]
pub struct Held {
    _file: Locked,
}

/// Waits until nobody holds the lock alone, then holds it together with others.
pub fn shared(path: &Path) -> Result<Held, LockError> {
    let file = open(path)?;
    file.lock_shared().map_err(|source| LockError::Io { path: path.to_owned(), source })?;
    Ok(Held { _file: Locked(file) })
}

/// Holds the lock alone; `None` if anybody has it.
pub fn try_alone(path: &Path) -> Result<Option<Held>, LockError> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Held { _file: Locked(file) })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(LockError::Io { path: path.to_owned(), source }),
    }
}

fn open(path: &Path) -> Result<File, LockError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|source| LockError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_had_once_and_tells_by_whom() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let first = LockFile::acquire(&path).expect("free");
        let error = LockFile::acquire(&path).expect_err("held");
        let text = error.to_string().replace(&path.display().to_string(), "LOCK");
        let text = text.replace(&std::process::id().to_string(), "PID");
        insta::assert_snapshot!(text, @"LOCK is held by another process (process PID): stop it first, or use another directory");
        drop(first);
        LockFile::acquire(&path).expect("free again");
    }

    #[test]
    fn several_share_or_one_is_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let one = shared(&path).expect("shared");
        let two = shared(&path).expect("shared");
        assert!(try_alone(&path).expect("asked").is_none());
        drop((one, two));
        assert!(try_alone(&path).expect("asked").is_some());
    }

    #[test]
    fn what_a_dead_process_left_is_no_lock() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        File::create(&path).and_then(|mut file| file.write_all(b"4194304000\nrubbish")).expect("a file");
        let lock = LockFile::acquire(&path).expect("nobody holds it");
        drop(lock);
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), format!("{}\n", std::process::id()));
        let error = LockFile::acquire(&directory.path().join("absent/lock")).expect_err("no directory");
        assert!(matches!(error, LockError::Io { .. }));
    }
}
