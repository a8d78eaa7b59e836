//! What is inside an archive: every file with its size and its SHA-256.
//!
//! The list is made by the same walk that refuses bad archives, so it costs no pass of its own, and it is kept with the
//! package: two versions can be compared years later, also when the files of one are gone.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use super::App;
use crate::archive::{ArchiveError, ArchiveFormat, EntryKind, EntryPath, Summary, Visitor, walk};
use crate::model::limits::ArchiveLimits;
use crate::model::{DigestAlgorithm, Hasher, OsFamily, PackageId};
use crate::store::{StoreError, contents};

/// Files that are listed; of more only the number is known.
const MOST: usize = 50_000;
/// Bytes that a kept list may inflate to.
const DOCUMENT: u64 = 64 << 20;

/// A file of an archive.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Member {
    /// Its path, `/` between components.
    #[serde(rename = "p")]
    pub path: String,
    /// Its bytes.
    #[serde(rename = "s")]
    pub size: u64,
    /// SHA-256 in hexadecimal; empty for a link.
    #[serde(rename = "h")]
    pub sha256: String,
    /// Where a symbolic link leads.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// The files of an archive.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Contents {
    /// Is it a ZIP?
    pub zip: bool,
    /// Files and links, in the archive's order.
    pub members: Vec<Member>,
    /// How many more there are that are not listed.
    pub omitted: u64,
}

/// What a look at an archive gives: what the rules of the build ask for, and the list.
pub type Looked = ((ArchiveFormat, Summary), Contents);

impl Contents {
    /// Walks through an archive. `read` is told how many bytes of it were read so far.
    pub fn look<R: Read + Seek>(
        archive: R,
        size: u64,
        os: OsFamily,
        limits: &ArchiveLimits,
        read: &(dyn Fn(u64) + Sync),
    ) -> Result<Looked, ArchiveError> {
        let mut listing = Listing { contents: Self::default(), digests: BTreeMap::new() };
        let counted = Counted { inner: archive, count: AtomicU64::new(0), told: read };
        let found = walk(counted, size, os, limits, &mut listing)?;
        listing.contents.zip = found.0 == ArchiveFormat::Zip;
        Ok((found, listing.contents))
    }

    /// As the store keeps it.
    pub fn to_document(&self) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        // Neither a list of texts and numbers nor a vector can fail.
        let text = serde_json::to_vec(self).unwrap_or_default();
        let _ = encoder.write_all(&text);
        encoder.finish().unwrap_or_default()
    }

    /// What the store kept; `None` if it cannot be read.
    pub fn from_document(document: &[u8]) -> Option<Self> {
        let mut text = Vec::new();
        ZlibDecoder::new(document).take(DOCUMENT).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Bytes of all listed files.
    pub fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.size).sum()
    }
}

/// The list of a package, if one was made.
pub fn of_package(app: &App, package: PackageId) -> Result<Option<Contents>, StoreError> {
    let document = app.store.read_now(move |conn| contents::find(conn, package))?;
    Ok(document.as_deref().and_then(Contents::from_document))
}

struct Listing {
    contents: Contents,
    /// Of files that hard links may name.
    digests: BTreeMap<String, (u64, String)>,
}

impl Visitor for Listing {
    fn entry(&mut self, path: &EntryPath, kind: &EntryKind, content: &mut dyn Read) -> Result<(), ArchiveError> {
        if matches!(kind, EntryKind::Directory { .. }) {
            return Ok(());
        }
        if self.contents.members.len() >= MOST {
            self.contents.omitted += 1;
            return Ok(());
        }
        let path = path.to_string();
        let member = match kind {
            EntryKind::Directory { .. } => return Ok(()),
            EntryKind::File { size, .. } => {
                let sha256 = digest(content)?;
                self.digests.insert(path.clone(), (*size, sha256.clone()));
                Member { path, size: *size, sha256, link: None }
            }
            EntryKind::HardLink { target } => {
                let (size, sha256) = self.digests.get(&target.to_string()).cloned().unwrap_or_default();
                self.digests.insert(path.clone(), (size, sha256.clone()));
                Member { path, size, sha256, link: None }
            }
            EntryKind::Link { target } => Member { path, size: 0, sha256: String::new(), link: Some(target.clone()) },
        };
        self.contents.members.push(member);
        Ok(())
    }
}

fn digest(content: &mut dyn Read) -> Result<String, ArchiveError> {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(hasher.finish().to_string()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

struct Counted<'a, R> {
    inner: R,
    count: AtomicU64,
    told: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        (self.told)(self.count.fetch_add(n as u64, Ordering::Relaxed) + n as u64);
        Ok(n)
    }
}

impl<R: Seek> Seek for Counted<'_, R> {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(to)
    }
}

/// What became of a file from one version to the next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileChange {
    /// It is new.
    Added(Member),
    /// It is gone.
    Removed(Member),
    /// Its bytes are others.
    Changed(Member, Member),
}

impl FileChange {
    /// The file's path.
    pub fn path(&self) -> &str {
        match self {
            Self::Added(member) | Self::Removed(member) | Self::Changed(member, _) => &member.path,
        }
    }
}

/// How two archives differ, by path.
pub fn compare(old: &Contents, new: &Contents) -> Vec<FileChange> {
    let by_path = |contents: &'_ Contents| -> BTreeMap<String, Member> {
        contents.members.iter().map(|member| (member.path.clone(), member.clone())).collect()
    };
    let (before, mut after) = (by_path(old), by_path(new));
    let mut changes = Vec::new();
    for (path, member) in before {
        match after.remove(&path) {
            None => changes.push(FileChange::Removed(member)),
            Some(now) if (&now.sha256, &now.link) != (&member.sha256, &member.link) => {
                changes.push(FileChange::Changed(member, now));
            }
            Some(_) => {}
        }
    }
    changes.extend(after.into_values().map(FileChange::Added));
    changes.sort_by(|a, b| a.path().cmp(b.path()));
    changes
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::archive::{PackEntry, pack};

    fn contents(files: &[(&str, &[u8])]) -> Contents {
        let entries = files.iter().map(|(path, bytes)| {
            Ok(PackEntry::File {
                path: (*path).to_owned(),
                executable: false,
                size: bytes.len() as u64,
                content: *bytes,
            })
        });
        let archive = pack(ArchiveFormat::TarGz, entries, Vec::new()).expect("packed");
        let size = archive.len() as u64;
        let (_, contents) =
            Contents::look(Cursor::new(archive), size, OsFamily::Linux, &ArchiveLimits::DEFAULT, &|_| {})
                .expect("an archive");
        contents
    }

    #[test]
    fn every_file_is_listed_with_its_digest_and_the_list_survives_the_store() {
        let found = contents(&[("bin/tool", b"abc"), ("readme", b"")]);
        insta::assert_snapshot!(serde_json::to_string(&found).expect("JSON"), @r#"{"zip":false,"members":[{"p":"bin/tool","s":3,"h":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},{"p":"readme","s":0,"h":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}],"omitted":0}"#);
        assert_eq!(Contents::from_document(&found.to_document()), Some(found));
        assert_eq!(Contents::from_document(b"nonsense"), None);
    }

    #[test]
    fn versions_are_compared_by_the_bytes_of_their_files() {
        let old = contents(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
        let new = contents(&[("a", b"1"), ("c", b"4"), ("d", b"5")]);
        let told: Vec<String> = compare(&old, &new)
            .iter()
            .map(|change| match change {
                FileChange::Added(member) => format!("+{}", member.path),
                FileChange::Removed(member) => format!("-{}", member.path),
                FileChange::Changed(member, _) => format!("~{}", member.path),
            })
            .collect();
        assert_eq!(told, ["-b", "~c", "+d"]);
        assert_eq!(compare(&old, &old), []);
    }
}
