//! placeholder
#![allow(clippy::all, clippy::pedantic, clippy::allow_attributes, missing_docs)]
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

#[derive(Debug)]
pub struct LockFile(#[allow(dead_code)] File);
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("held by process {0:?}")]
    Held(Option<u32>),
    #[error("io")]
    Io(#[from] std::io::Error),
}
impl LockFile {
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            return Err(LockError::Held(text.trim().parse().ok()));
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Self(file))
    }
}
