//! The log of a service of Windows: a file of bounded size, because nobody reads a service's standard error there.
//!
//! `agent.log` is written; when it is full it becomes `agent.log.1`, over the one before.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::disk;

/// Bytes of one file: some weeks at the usual level.
const FULL: u64 = 4 << 20;

/// Lines at the end of a file that begins anew when it is full.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// `None` if it could not be opened again: the lines are lost then, the agent goes on.
    file: Option<File>,
    length: u64,
    full: u64,
}

impl LogFile {
    /// Goes on where the last run ended.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, FULL)
    }

    fn with_limit(path: &Path, full: u64) -> io::Result<Self> {
        let (file, length) = append_to(path)?;
        Ok(Self { path: path.to_owned(), file: Some(file), length, full })
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        // Windows renames no file that is open.
        self.file = None;
        let mut before = self.path.clone().into_os_string();
        before.push(".1");
        disk::atomic::rename(&self.path, Path::new(&before))?;
        let (file, length) = append_to(&self.path)?;
        (self.file, self.length) = (Some(file), length);
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.length >= self.full && self.begin_anew().is_err() && self.file.is_none() {
            // Somebody holds the old file: go on in it.
            (self.file, self.length) = append_to(&self.path).map_or((None, self.full), |(file, _)| (Some(file), 0));
        }
        let Some(file) = &mut self.file else { return Ok(bytes.len()) };
        let written = file.write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), File::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_begins_anew_and_keeps_the_one_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("agent.log");
        let read = |path: &Path| std::fs::read_to_string(path).expect("a file");
        for line in ["one\n", "two\n", "three\n", "four\n", "five\n"] {
            // Each time anew, as after a restart.
            let mut log = LogFile::with_limit(&path, 8).expect("opened");
            log.write_all(line.as_bytes()).expect("written");
        }
        assert_eq!(read(&path), "five\n");
        assert_eq!(read(&directory.path().join("agent.log.1")), "three\nfour\n");
    }

    #[test]
    fn a_log_without_a_directory_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(LogFile::open(&directory.path().join("absent/agent.log")).is_err());
    }
}
