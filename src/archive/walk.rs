//! Looking inside: one walk over both formats that refuses what DESIGN.md promise 7 refuses.
//!
//! The server inspects an upload with it and the agent unpacks with it, so they cannot disagree.

use std::io::{Read, Seek};

use super::{ArchiveError, ArchiveFormat};
use crate::model::OsFamily;
use crate::model::limits::ArchiveLimits;

/// A relative path inside a package: no `..`, no root, no drive, no component that a system reads in its own way.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EntryPath(Vec<String>);

impl EntryPath {
    /// Its components.
    pub fn components(&self) -> &[String] {
        &self.0
    }
}

/// What an entry is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EntryKind {
    /// A regular file; `mode` is the permission bits without set-uid, set-gid and sticky.
    File {
        /// Permission bits.
        mode: u32,
        /// Its bytes.
        size: u64,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link whose target stays inside.
    Link {
        /// As the link spells it: relative.
        target: String,
    },
    /// A further name for a file that came before.
    HardLink {
        /// The file.
        target: EntryPath,
    },
}

/// Who is shown each entry. `content` is empty for anything but a file.
pub trait Visitor {
    /// Takes one entry.
    fn entry(&mut self, path: &EntryPath, kind: &EntryKind, content: &mut dyn Read) -> Result<(), ArchiveError>;
}

/// What was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Files, with their sizes.
    pub files: Vec<(EntryPath, u64)>,
    /// Bytes of all files.
    pub unpacked: u64,
    /// How many entries there are.
    pub entries: u64,
}

/// Shows every entry to `visitor`, in the archive's order, each checked before it is shown.
///
/// `size` is the archive's length, which bounds what it may unpack to.
pub fn walk<R: Read + Seek>(
    archive: R,
    size: u64,
    os: OsFamily,
    limits: &ArchiveLimits,
    visitor: &mut dyn Visitor,
) -> Result<(ArchiveFormat, Summary), ArchiveError> {
    let _ = (archive, size, os, limits, visitor);
    todo!()
}

/// Walks without unpacking: reads every byte, so that damage is found at upload.
pub fn inspect<R: Read + Seek>(
    archive: R,
    size: u64,
    os: OsFamily,
    limits: &ArchiveLimits,
) -> Result<(ArchiveFormat, Summary), ArchiveError> {
    let _ = (archive, size, os, limits);
    todo!()
}
