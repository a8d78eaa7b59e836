//! Locks between processes: held by the kernel, so they end with the process, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is held by {}", path.display(), holder(*pid))]
    Held {
        /// Which lock.
        path: PathBuf,
        /// By whom, if the file says so.
        pid: Option<u32>,
    },
    /// The file could not be opened.
    #[error("the lock {} could not be opened", path.display())]
    Open {
        /// Which lock.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or("another process".to_owned(), |pid| format!("process {pid}"))
}

/// An exclusive lock, with this process's id in the file.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock now, or says who has it.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let mut file = open(path)?;
        let failed = |source| LockError::Open { path: path.to_owned(), source };
        if file.try_lock().map_err(io::Error::from).is_ok() {
            file.set_len(0).map_err(failed)?;
            write!(file, "{}", std::process::id()).map_err(failed)?;
            return Ok(Self { _file: file });
        }
        let mut text = String::new();
        let _ = file.rewind().and_then(|()| file.take(32).read_to_string(&mut text));
        Err(LockError::Held { path: path.to_owned(), pid: text.trim().parse().ok() })
    }
}

/// A lock that several hold together, or one alone.
#[derive(Debug)]
pub struct Shared {
    _file: File,
}

/// Waits until nobody holds the lock alone, then holds it together with others.
pub fn shared(path: &Path) -> Result<Shared, LockError> {
    let file = open(path)?;
    file.lock_shared().map_err(|source| LockError::Open { path: path.to_owned(), source })?;
    Ok(Shared { _file: file })
}

/// Holds the lock alone, or gives `None` if anybody holds it.
pub fn try_exclusive(path: &Path) -> Result<Option<Shared>, LockError> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Shared { _file: file })),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(source)) => Err(LockError::Open { path: path.to_owned(), source }),
    }
}

fn open(path: &Path) -> Result<File, LockError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| LockError::Open { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_the_lock() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let first = LockFile::acquire(&path).expect("free");
        let error = LockFile::acquire(&path).expect_err("held").to_string();
        assert!(error.ends_with(&format!("is held by process {}", std::process::id())), "{error}");
        drop(first);
        LockFile::acquire(&path).expect("free again");
    }

    #[test]
    fn several_share_or_one_is_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let one = shared(&path).expect("shared");
        let two = shared(&path).expect("shared");
        assert!(try_exclusive(&path).expect("asked").is_none());
        drop((one, two));
        assert!(try_exclusive(&path).expect("asked").is_some());
    }
}
