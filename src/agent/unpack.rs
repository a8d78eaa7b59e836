//! From a proved archive to a directory (DESIGN.md, promise 6 and 7).
//!
//! [`walk`](crate::archive::walk) reads and refuses, this file only writes: through directories that are held open
//! ([`super::beneath`]), files first, links last, modes after the content. What was begun and not finished is removed,
//! so a directory that is there after an [`Ok`] is whole. Nothing is flushed: the archive is still there, so a crash
//! costs work only.
//!
//! ```text
//! Verified<File>  ─ walk ─►  setup.sh 0755, lib/, lib/a.so, lib/b.so → a.so   ─ here ─►  <id>/tmp/…
//! ```

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::beneath::{self, Directory, is_out_of_space};
use crate::archive::{self, ArchiveError, EntryKind, EntryPath, Verified, Visitor};
use crate::disk;
use crate::model::limits::ArchiveLimits;
use crate::model::{OsFamily, ResultCode};

/// Bytes copied at a time.
const BUFFER: usize = 128 << 10;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// The archive is damaged, hostile, or too large.
    #[error("the package's archive is refused")]
    Archive(#[from] ArchiveError),
    /// The directory could not be made or emptied.
    #[error("failed to prepare the directory {}", directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An entry could not be written.
    #[error("failed to write \"{entry}\"")]
    Write {
        /// Its path in the archive.
        entry: String,
        /// Why.
        source: io::Error,
    },
}

impl UnpackError {
    /// What the server is told: `ERR_BUILD` if the package is at fault, `ERR_OUT_OF_SPACE` or `ERR_UNZIP` if this
    /// computer is.
    pub(crate) fn result_code(&self) -> ResultCode {
        match self {
            Self::Archive(_) => ResultCode::error("BUILD"),
            Self::Directory { source, .. } | Self::Write { source, .. } if is_out_of_space(source) => {
                ResultCode::error("OUT_OF_SPACE")
            }
            Self::Directory { .. } | Self::Write { .. } => ResultCode::error("UNZIP"),
        }
    }
}

/// Unpacks `archive`, which is `size` bytes long, into the directory `into`.
///
/// `into` belongs to this function: it is made (0700) if it is not there, emptied if it is, and removed on failure. Its
/// parent must be there. `into` must not be a link.
pub(crate) fn unpack(
    archive: Verified<File>,
    size: u64,
    into: &Path,
    os: OsFamily,
    limits: &ArchiveLimits,
) -> Result<(), UnpackError> {
    unpack_reader(archive.into_inner(), size, into, os, limits)
}

fn unpack_reader(
    archive: impl Read + Seek,
    size: u64,
    into: &Path,
    os: OsFamily,
    limits: &ArchiveLimits,
) -> Result<(), UnpackError> {
    let prepare = |source| UnpackError::Directory { directory: into.to_owned(), source };
    let root = open_empty(into).map_err(prepare)?;
    let mut writer = TreeWriter::new(root);
    let walked = archive::walk(archive, size, os, limits, &mut writer);
    let result = match (writer.failed.take(), walked) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(_)) => writer.finish(),
    };
    if result.is_err() {
        // What cannot be removed now is removed by the next try, which empties the directory first.
        let _ = writer.root.clear();
        let _ = std::fs::remove_dir(into);
    }
    result
}

fn open_empty(into: &Path) -> io::Result<Directory> {
    match beneath::builder(0o700).create(into) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let root = Directory::open(into)?;
    // Others must not be able to plant anything while files are written.
    root.set_mode(0o700)?;
    root.clear()?;
    Ok(root)
}

/// A symbolic link that is made when everything else is there.
struct PendingLink {
    path: EntryPath,
    target: String,
}

/// Writes entries below `root`.
struct TreeWriter {
    root: Directory,
    /// The directories on the way to the last entry, held open: archives list neighbours together.
    open: Vec<(String, Directory)>,
    links: Vec<PendingLink>,
    /// Modes of directories, given when nothing is written into them any more.
    modes: Vec<(EntryPath, u32)>,
    buffer: Vec<u8>,
    /// The failure that ended the walk, if it was ours: [`ArchiveError`] cannot carry it.
    failed: Option<UnpackError>,
}

impl Visitor for TreeWriter {
    fn entry(&mut self, path: &EntryPath, kind: &EntryKind, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let written = match kind {
            EntryKind::File { mode, .. } => self.file(path, *mode, content),
            EntryKind::Directory { mode } => {
                self.modes.push((path.clone(), *mode));
                self.directory(path.components()).map(|_| ()).map_err(Stop::Write)
            }
            EntryKind::Link { target } => {
                self.links.push(PendingLink { path: path.clone(), target: target.clone() });
                Ok(())
            }
            EntryKind::HardLink { target } => self.hard_link(path, target).map_err(Stop::Write),
        };
        match written {
            Ok(()) => Ok(()),
            Err(Stop::Read(error)) => Err(ArchiveError::Io(error)),
            Err(Stop::Write(source)) => {
                self.failed = Some(UnpackError::Write { entry: spell(path), source });
                Err(ArchiveError::Io(io::Error::other("the entry could not be written")))
            }
        }
    }
}

/// Which side of a copy failed.
enum Stop {
    /// The archive.
    Read(io::Error),
    /// The disk.
    Write(io::Error),
}

impl TreeWriter {
    fn new(root: Directory) -> Self {
        Self { root, open: Vec::new(), links: Vec::new(), modes: Vec::new(), buffer: vec![0; BUFFER], failed: None }
    }

    /// Makes links and gives directories their modes.
    fn finish(&mut self) -> Result<(), UnpackError> {
        for PendingLink { path, target } in std::mem::take(&mut self.links) {
            let made =
                split(&path).and_then(|(parent, name)| self.directory(parent)?.symlink(OsStr::new(&target), name));
            made.map_err(|source| UnpackError::Write { entry: spell(&path), source })?;
        }
        for (path, mode) in std::mem::take(&mut self.modes).into_iter().rev() {
            // Whoever runs the agent must be able to remove the directory again, root or not.
            let set = self.directory(path.components()).and_then(|directory| directory.set_mode(mode | 0o700));
            set.map_err(|source| UnpackError::Write { entry: spell(&path), source })?;
        }
        self.open.clear();
        Ok(())
    }

    fn file(&mut self, path: &EntryPath, mode: u32, content: &mut dyn Read) -> Result<(), Stop> {
        let (parent, name) = split(path).map_err(Stop::Write)?;
        let mut file = self.directory(parent).and_then(|parent| parent.create_file(name)).map_err(Stop::Write)?;
        copy(content, &mut file, &mut self.buffer)?;
        Directory::set_file_mode(&file, mode).map_err(Stop::Write)
    }

    /// A further name, not a copy: a bomb of links to one large file costs nothing.
    fn hard_link(&mut self, path: &EntryPath, target: &EntryPath) -> io::Result<()> {
        let (target_parent, target_name) = split(target)?;
        let target_directory = self.directory(target_parent)?.reopen()?;
        let (parent, name) = split(path)?;
        self.directory(parent)?.hard_link(&target_directory, target_name, name)
    }

    /// Opens a directory below the root, making what is missing (0755 until told otherwise).
    fn directory(&mut self, components: &[String]) -> io::Result<&Directory> {
        let common = self.open.iter().zip(components).take_while(|((open, _), wanted)| open == *wanted).count();
        self.open.truncate(common);
        for name in &components[common..] {
            let parent = self.open.last().map_or(&self.root, |(_, directory)| directory);
            let (child, made) = parent.make_child(OsStr::new(name))?;
            if made {
                child.set_mode(0o755)?;
            }
            self.open.push((name.clone(), child));
        }
        Ok(self.open.last().map_or(&self.root, |(_, directory)| directory))
    }
}

fn copy(content: &mut dyn Read, output: &mut dyn Write, buffer: &mut [u8]) -> Result<(), Stop> {
    loop {
        match content.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                disk::claim_room().and_then(|()| output.write_all(&buffer[..count])).map_err(Stop::Write)?;
                disk::checkpoint("agent.unpack.written");
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stop::Read(error)),
        }
    }
}

fn split(path: &EntryPath) -> io::Result<(&[String], &OsStr)> {
    let (name, parent) = path.components().split_last().ok_or(io::ErrorKind::InvalidFilename)?;
    Ok((parent, OsStr::new(name)))
}

fn spell(path: &EntryPath) -> String {
    path.components().join("/")
}

#[cfg(all(test, unix))]
mod tests;
