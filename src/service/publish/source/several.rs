//! Several files as entries of one archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _, SeekFrom, Take};
use std::path::PathBuf;

use super::super::PublishError;
use super::script_bytes;
use crate::archive::PackEntry;
use crate::model::OsFamily;

/// What programs of macOS begin with.
const MACH: [[u8; 4]; 3] = [[0xcf, 0xfa, 0xed, 0xfe], [0xce, 0xfa, 0xed, 0xfe], [0xca, 0xfe, 0xba, 0xbe]];

/// One of several files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// Where it lies in the archive: relative, `/` between components.
    pub path: String,
    /// What is in it.
    pub bytes: PartBytes,
}

/// The bytes of one of several files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PartBytes {
    /// A piece of a file: an upload holds several, one behind the other.
    Piece {
        /// The file.
        file: PathBuf,
        /// Where the piece begins.
        from: u64,
        /// Its bytes.
        size: u64,
    },
    /// A script that was typed, or filled in.
    Text(String),
}

/// What an entry is read from.
pub(super) enum Bytes {
    Piece(Take<File>),
    Text(Cursor<Vec<u8>>),
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Piece(file) => file.read(buffer),
            Self::Text(text) => text.read(buffer),
        }
    }
}

/// What is packed, in its order.
pub(super) enum Step<'a> {
    /// A directory, before what is in it.
    Directory(&'a str),
    /// A file.
    File(&'a Part),
}

/// The steps to pack several files; two of one name are refused.
pub(super) fn steps(parts: &[Part]) -> Result<Vec<Step<'_>>, PublishError> {
    let (mut steps, mut directories, mut files) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for part in parts {
        if !files.insert(part.path.as_str()) {
            return Err(PublishError::Refused(format!("there are two files \"{}\": rename one of them", part.path)));
        }
        for (at, _) in part.path.match_indices('/') {
            let directory = &part.path[..at];
            if directories.insert(directory) {
                steps.push(Step::Directory(directory));
            }
        }
        steps.push(Step::File(part));
    }
    Ok(steps)
}

impl Step<'_> {
    /// Opened one after the other, when it is their turn: there may be thousands.
    pub(super) fn open(self, os: OsFamily) -> io::Result<PackEntry<Bytes>> {
        let part = match self {
            Self::Directory(path) => return Ok(PackEntry::Directory { path: path.to_owned() }),
            Self::File(part) => part,
        };
        let path = part.path.clone();
        match &part.bytes {
            PartBytes::Piece { file, from, size } => {
                let mut file = File::open(file)?;
                file.seek(SeekFrom::Start(*from))?;
                let executable = is_program(&mut file, *size)?;
                file.seek(SeekFrom::Start(*from))?;
                Ok(PackEntry::File { path, executable, size: *size, content: Bytes::Piece(file.take(*size)) })
            }
            PartBytes::Text(text) => {
                let bytes = script_bytes(os, text);
                let size = bytes.len() as u64;
                Ok(PackEntry::File { path, executable: true, size, content: Bytes::Text(Cursor::new(bytes)) })
            }
        }
    }
}

/// A browser does not say what may be executed; what begins like a program may.
fn is_program(file: &mut File, size: u64) -> io::Result<bool> {
    let mut head = [0; 4];
    if size < head.len() as u64 {
        return Ok(false);
    }
    file.read_exact(&mut head)?;
    Ok(head.starts_with(b"#!") || head == *b"\x7fELF" || MACH.contains(&head))
}
