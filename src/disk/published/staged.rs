//! A package on its way into the tree.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::super::atomic::{remove_tree, sync_dir};
use super::super::checkpoint;
use super::{PublishedTree, TreeError, rename_new, set_mode};
use crate::model::{FragmentCount, FragmentNumber, PackageId, TreeKey};

/// A package on its way. Dropped before it is published, it is removed.
#[derive(Debug)]
pub struct Staged {
    tree: PublishedTree,
    id: PackageId,
    directory: PathBuf,
    written: Mutex<BTreeSet<FragmentNumber>>,
    published: bool,
    /// It stays when it is dropped, for the next one to go on with.
    kept: bool,
}

impl Staged {
    pub(super) fn new(tree: PublishedTree, id: PackageId, directory: PathBuf, kept: bool) -> Self {
        Self { tree, id, directory, written: Mutex::default(), published: false, kept }
    }

    /// Begins a fragment's file. Each may be begun once.
    pub fn create_fragment(&self, number: FragmentNumber) -> io::Result<FragmentWriter> {
        let file = self.create(TreeKey::Fragment { package: self.id, number })?;
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        Ok(FragmentWriter(file))
    }

    /// Begins a fragment's file, again if it was begun before: for what comes from several sources in turn.
    pub fn replace_fragment(&self, number: FragmentNumber) -> io::Result<FragmentWriter> {
        match self.create_fragment(number) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let key = TreeKey::Fragment { package: self.id, number };
                fs::remove_file(self.directory.join(key.file_name()))?;
                self.create_fragment(number)
            }
            begun => begun,
        }
    }

    /// Opens what is there of a fragment.
    pub fn open_fragment(&self, number: FragmentNumber) -> io::Result<File> {
        let file = File::open(self.directory.join(TreeKey::Fragment { package: self.id, number }.file_name()))?;
        // What is no file is nobody's beginning of one.
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
    }

    /// The fragment is there and whole: the caller has proved it.
    pub fn have(&self, number: FragmentNumber) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
    }

    /// Goes on with a fragment's file behind its first `offset` bytes; nothing else of it stays.
    pub fn continue_fragment(&self, number: FragmentNumber, offset: u64) -> io::Result<FragmentWriter> {
        if offset == 0 {
            return self.replace_fragment(number);
        }
        let path = self.directory.join(TreeKey::Fragment { package: self.id, number }.file_name());
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.set_len(offset)?;
        file.seek(SeekFrom::Start(offset))?;
        self.have(number);
        Ok(FragmentWriter(file))
    }

    /// Writes the info file, over one of an earlier try.
    pub fn write_info(&self, xml: &str) -> Result<(), TreeError> {
        let key = TreeKey::Info { package: self.id };
        if self.kept {
            super::super::atomic::remove_file(&self.directory.join(key.file_name()))
                .map_err(|source| self.failed(source))?;
        }
        let written = self.create(key).and_then(|mut file| file.write_all(xml.as_bytes()));
        written.map_err(|source| self.failed(source))?;
        checkpoint("publish:info-written");
        Ok(())
    }

    /// Makes everything durable, then puts the package into the tree in one step. An error leaves nothing there, but for
    /// one: when the last sync of the directories fails, the package is there and may be gone after a power failure.
    pub fn publish(mut self) -> Result<(), TreeError> {
        let numbers = std::mem::take(self.written.get_mut().unwrap_or_else(PoisonError::into_inner));
        let count = FragmentCount(u32::try_from(numbers.len()).unwrap_or(u32::MAX));
        let incomplete = |problem| Err(TreeError::Incomplete { package: self.id, problem });
        if !numbers.iter().copied().eq(count.numbers()) {
            return incomplete("a fragment is missing between 1 and the last one");
        }
        if !self.directory.join("info").is_file() {
            return incomplete("its info file is missing");
        }
        let keys = numbers.iter().map(|&number| TreeKey::Fragment { package: self.id, number });
        for key in keys.chain([TreeKey::Info { package: self.id }]) {
            // Windows syncs only what may be written.
            let file = OpenOptions::new().write(true).open(self.directory.join(key.file_name()));
            file.and_then(|file| file.sync_all()).map_err(|source| self.failed(source))?;
        }
        checkpoint("publish:files-synced");
        sync_dir(&self.directory).map_err(|source| self.failed(source))?;
        checkpoint("publish:directory-synced");
        match rename_new(&self.directory, &self.tree.0.download.join(self.id.to_string())) {
            Ok(()) => self.published = true,
            Err(error) => return Err(self.refused(error)),
        }
        checkpoint("publish:renamed");
        self.tree.sync_both()?;
        checkpoint("publish:done");
        Ok(())
    }

    fn refused(&self, error: io::Error) -> TreeError {
        match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                TreeError::Exists { package: self.id }
            }
            io::ErrorKind::CrossesDevices => self.tree.two_file_systems(),
            _ => TreeError::of(&self.tree.0.download, error),
        }
    }

    fn create(&self, key: TreeKey) -> io::Result<File> {
        let path = self.directory.join(key.file_name());
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        // Other web servers and mirrors read it too, whatever this process was told to hide.
        set_mode(&path, 0o644)?;
        Ok(file)
    }

    fn failed(&self, source: io::Error) -> TreeError {
        TreeError::of(&self.tree.0.staging, source)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published && !self.kept {
            // What stays is removed at the next start.
            let _ = remove_tree(&self.directory);
        }
    }
}

/// Writes one fragment. When it is dropped, the system begins to write it to the disk, so that little is left to wait
/// for when the package is published.
#[derive(Debug)]
pub struct FragmentWriter(File);

impl Write for FragmentWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for FragmentWriter {
    fn drop(&mut self) {
        // Linux answers this by starting to write what is not on the disk yet, without waiting for it. It is advice:
        // publishing syncs whatever came of it.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed);
    }
}
