//! Room for files that are needed by name for a while.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::super::atomic::remove_tree;

/// A directory in staging that is gone when it is dropped; what a crash leaves of it is cleared with staging.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a file that is not there yet, in a directory of this name.
    pub fn create(&self, directory: &str, name: &str) -> io::Result<File> {
        let directory = self.0.join(directory);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).open(directory.join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_tree(&self.0);
    }
}
