//! Looking inside: one walk over both formats that refuses what DESIGN.md promise 7 refuses.
//!
//! The server inspects an upload with it and the agent unpacks with it, so they cannot disagree. Both formats are read
//! here record by record: where an archive says one thing in two places (a ZIP in its directory and before each member,
//! a tar in its header and in extended records), both must say the same, for no two readers agree on which one counts.

use std::io::{self, Read, Seek, SeekFrom};

use super::path::{Names, Node, Rules, printable};
use super::{ArchiveError, ArchiveFormat, EntryPath, tar, zip};
use crate::model::limits::ArchiveLimits;
use crate::model::{ByteSize, OsFamily};

/// What an entry is. Modes have no set-uid, set-gid and sticky bits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EntryKind {
    /// A regular file; its owner may always read it.
    File {
        /// Permission bits.
        mode: u32,
        /// Its bytes.
        size: u64,
    },
    /// A directory; its owner may always look and write into it, so that it can be filled and removed.
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
///
/// Check sums stand at the end, of a ZIP's member or of the whole tar.gz: what was shown is proven only when the walk
/// has returned without an error, and is to be thrown away otherwise. Directories that no entry names are not shown;
/// a directory may be shown twice.
pub trait Visitor {
    /// Takes one entry. What is left of `content` is read and checked afterwards. Errors of `content` may be handed on
    /// with `?`; the walk ends with what was wrong.
    fn entry(&mut self, path: &EntryPath, kind: &EntryKind, content: &mut dyn Read) -> Result<(), ArchiveError>;
}

/// What was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Files and further names of files, with their sizes.
    pub files: Vec<(EntryPath, u64)>,
    /// Bytes of all files.
    pub unpacked: u64,
    /// How many entries there are. A ZIP of one entry fails on stock Unix agents (they try it as a gzip first).
    pub entries: u64,
    /// Links, and where they lead.
    links: Vec<(EntryPath, EntryPath)>,
    /// Are names the same in either case?
    folds_case: bool,
}

impl Summary {
    /// Is there a file of that name, perhaps by way of links? `path` is as a command spells it: `./setup.sh`,
    /// `bin/setup`; for Windows also `bin\SETUP.EXE`.
    pub fn contains_file(&self, path: &str) -> bool {
        let separators: &[char] = if self.folds_case { &['/', '\\'] } else { &['/'] };
        let mut wanted: Vec<String> =
            path.split(separators).filter(|component| !matches!(*component, "" | ".")).map(str::to_owned).collect();
        let is = |found: &EntryPath, wanted: &[String]| {
            found.components().len() == wanted.len()
                && found
                    .components()
                    .iter()
                    .zip(wanted)
                    .all(|(a, b)| a == b || self.folds_case && a.to_lowercase() == b.to_lowercase())
        };
        // Links may lead in a circle.
        for _ in 0..=self.links.len().min(40) {
            if self.files.iter().any(|(file, _)| is(file, &wanted)) {
                return true;
            }
            let step = self.links.iter().find_map(|(link, target)| {
                let length = link.components().len();
                let (front, rest) = wanted.split_at_checked(length)?;
                is(link, front).then(|| [target.components(), rest].concat())
            });
            match step {
                Some(next) => wanted = next,
                None => return false,
            }
        }
        false
    }
}

/// Shows every entry to `visitor`, in the archive's order, each checked before it is shown.
///
/// `size` is the archive's length, which bounds what it may unpack to.
pub fn walk<R: Read + Seek>(
    mut archive: R,
    size: u64,
    os: OsFamily,
    limits: &ArchiveLimits,
    visitor: &mut dyn Visitor,
) -> Result<(ArchiveFormat, Summary), ArchiveError> {
    let mut head = Vec::with_capacity(4);
    archive.seek(SeekFrom::Start(0))?;
    (&mut archive).take(4).read_to_end(&mut head)?;
    archive.seek(SeekFrom::Start(0))?;
    let format = ArchiveFormat::detect(&head).ok_or(ArchiveError::UnknownFormat)?;
    let mut walk = Walk {
        rules: Rules { os, limits, backslash: format == ArchiveFormat::TarGz && os != OsFamily::Windows },
        most: limits.unpacked(size),
        visitor,
        names: Names::new(os),
        cost: 0,
        summary: Summary { folds_case: os == OsFamily::Windows, ..Summary::default() },
    };
    match format {
        ArchiveFormat::TarGz => tar::walk(archive, &mut walk)?,
        ArchiveFormat::Zip => zip::walk(archive, &mut walk)?,
    }
    Ok((format, walk.summary))
}

/// Walks without unpacking: reads every byte, so that damage is found at upload.
pub fn inspect<R: Read + Seek>(
    archive: R,
    size: u64,
    os: OsFamily,
    limits: &ArchiveLimits,
) -> Result<(ArchiveFormat, Summary), ArchiveError> {
    struct Look;
    impl Visitor for Look {
        fn entry(&mut self, _: &EntryPath, _: &EntryKind, _: &mut dyn Read) -> Result<(), ArchiveError> {
            Ok(())
        }
    }
    walk(archive, size, os, limits, &mut Look)
}

/// An entry as a format's reader found it.
pub(super) enum Found<'a> {
    File { mode: u32, size: u64 },
    Directory { mode: u32 },
    Link { target: &'a [u8] },
    HardLink { target: &'a [u8] },
}

/// Memory that an archive's names may take.
const NAMES: u64 = 256 << 20;

/// A walk on its way.
pub(super) struct Walk<'a> {
    pub(super) rules: Rules<'a>,
    /// Bytes that the archive may unpack to.
    pub(super) most: u64,
    visitor: &'a mut dyn Visitor,
    names: Names,
    cost: u64,
    summary: Summary,
}

impl Walk<'_> {
    /// Checks an entry, shows it, and reads what the visitor left of it. `content` gives a file's bytes.
    pub(super) fn entry(&mut self, raw: &[u8], found: &Found<'_>, content: impl Read) -> Result<(), ArchiveError> {
        self.summary.entries += 1;
        self.bound_entries(self.summary.entries)?;
        let Some(path) = EntryPath::parse(raw, self.rules)? else {
            return match found {
                // "./", the package's own directory.
                Found::Directory { .. } => Ok(()),
                _ => Err(ArchiveError::Path { entry: printable(raw), problem: "it names nothing" }),
            };
        };
        self.cost += 2 * path.cost();
        if self.cost > NAMES {
            let what = format!("has names that need {} of memory", ByteSize(self.cost));
            return Err(ArchiveError::TooLarge { what, limit: ByteSize(NAMES).to_string() });
        }
        let mut size = 0;
        let kind = match *found {
            Found::File { mode, size: bytes } => {
                size = bytes;
                self.summary.unpacked = self.summary.unpacked.saturating_add(bytes);
                if self.summary.unpacked > self.most {
                    return Err(self.rules.too_large(self.most, self.summary.unpacked));
                }
                self.names.enter(&path, Node::File(bytes))?;
                self.summary.files.push((path.clone(), bytes));
                EntryKind::File { mode: mode & 0o777 | 0o400, size }
            }
            Found::Directory { mode } => {
                let mode = mode & 0o777 | 0o700;
                self.names.enter(&path, Node::Directory(Some(mode)))?;
                EntryKind::Directory { mode }
            }
            Found::Link { target } => {
                let (target, place) = path.resolve(target, self.rules)?;
                self.names.enter(&path, Node::Link)?;
                self.summary.links.push((path.clone(), place));
                EntryKind::Link { target }
            }
            Found::HardLink { target } => self.hard_link(&path, target)?,
        };
        self.bound_entries(self.names.count())?;

        let mut content = Content { inner: content, left: size, entry: raw, fault: None };
        let taken = self.visitor.entry(&path, &kind, &mut content);
        if let Some(fault) = content.fault.take() {
            return Err(fault);
        }
        taken.map_err(|error| match error {
            ArchiveError::Io(error) => unwrap(error),
            other => other,
        })?;
        let rest = io::copy(&mut content, &mut io::sink());
        match content.fault {
            Some(fault) => Err(fault),
            None => rest.map(drop).map_err(unwrap),
        }
    }

    fn hard_link(&mut self, path: &EntryPath, target: &[u8]) -> Result<EntryKind, ArchiveError> {
        if self.rules.os == OsFamily::Windows {
            let (entry, target) = (printable(path.to_string().as_bytes()), printable(target));
            return Err(ArchiveError::Link { entry, target, problem: "a package for Windows holds no links" });
        }
        let file = EntryPath::parse(target, self.rules)?;
        match file.and_then(|file| Some((self.names.find(&file)?, file))) {
            Some((Node::File(size), target)) => {
                self.names.enter(path, Node::File(size))?;
                self.summary.files.push((path.clone(), size));
                Ok(EntryKind::HardLink { target })
            }
            _ => Err(ArchiveError::Link {
                entry: printable(path.to_string().as_bytes()),
                target: printable(target),
                problem: "a hard link leads to a file that came before it in the archive, and this one does not",
            }),
        }
    }

    pub(super) fn bound_entries(&self, entries: u64) -> Result<(), ArchiveError> {
        let limit = self.rules.limits.entries;
        if entries <= limit {
            return Ok(());
        }
        let what = format!("has at least {entries} files and directories");
        Err(ArchiveError::TooLarge { what, limit: format!("{limit} (limit \"entries\")") })
    }

    /// How many entries there were so far.
    pub(super) fn shown(&self) -> u64 {
        self.summary.entries
    }
}

/// A file's bytes, as many as the archive said. Keeps what went wrong, because a visitor may make another error of it.
struct Content<'a, R> {
    inner: R,
    left: u64,
    entry: &'a [u8],
    fault: Option<ArchiveError>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fault.is_some() {
            return Err(io::Error::other("the archive could not be read any further"));
        }
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let error = match self.inner.read(&mut buffer[..wanted]) {
            Ok(0) => io::Error::from(io::ErrorKind::UnexpectedEof),
            Ok(count) => {
                self.left -= count as u64;
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => error,
        };
        let told = io::Error::new(error.kind(), error.to_string());
        self.fault = Some(explain(error, &format!("inside \"{}\"", printable(self.entry))));
        Err(told)
    }
}

/// An archive's fault that travelled through `io::Error`.
fn unwrap(error: io::Error) -> ArchiveError {
    error.downcast::<ArchiveError>().unwrap_or_else(ArchiveError::Io)
}

/// What a failed read says about the archive.
pub(super) fn explain(error: io::Error, place: &str) -> ArchiveError {
    match unwrap(error) {
        ArchiveError::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Truncated(format!("it ends {place}")),
            // What the decompressor says of bad data.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                ArchiveError::Damaged(format!("{error}, {place}"))
            }
            _ => ArchiveError::Io(error),
        },
        fault => fault,
    }
}
