//! What a package is built from, opened: whatever was named becomes one archive that can be read from several places.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::super::App;
use super::{BuildRequest, Progress, PublishError};
use crate::archive::{ArchiveFormat, PackEntry, pack};
use crate::disk::{PositionedReader, Spool, TreeError};
use crate::model::{Digest, Hasher, OsFamily};

mod several;

pub use several::{Part, PartBytes};

/// Where the content comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// A command without files.
    Nothing,
    /// An archive that is taken as it is, a bare file, or a directory.
    Path(PathBuf),
    /// An archive on standard input.
    Stdin,
    /// A file that stands for one of another name: an upload.
    Named {
        /// Where its bytes are.
        path: PathBuf,
        /// What it is called; the end decides whether it is an archive.
        name: String,
    },
    /// An archive that was cut before: a stock server's fragments, in their order.
    Fragments {
        /// Where they are.
        paths: Vec<PathBuf>,
        /// What all of them together have to be.
        digest: Digest,
        /// What the archive is called in a sentence.
        name: String,
    },
    /// One file with this text: a script that was typed.
    Text {
        /// What it is called.
        name: String,
        /// What is in it.
        text: String,
    },
    /// Several files that become one archive.
    Several {
        /// What they are called together.
        name: String,
        /// The files.
        parts: Vec<Part>,
    },
}

/// An archive to be cut: a file that can be read from several places at once.
pub(super) struct Content {
    bytes: Bytes,
    pub(super) size: u64,
    pub(super) name: String,
}

enum Bytes {
    Named(File),
    Spooled(Spool),
}

impl Content {
    fn new(bytes: Bytes, name: String) -> Result<Self, PublishError> {
        let file = bytes.file();
        let size = file.metadata().map_err(|source| PublishError::Input { path: name.clone(), source })?.len();
        if size == 0 {
            return Err(PublishError::Refused(format!("{name} is empty: nothing to build from")));
        }
        Ok(Self { bytes, size, name })
    }

    pub(super) fn reader(&self) -> PositionedReader<'_> {
        PositionedReader::new(self.bytes.file())
    }
}

impl Bytes {
    fn file(&self) -> &File {
        match self {
            Self::Named(file) => file,
            Self::Spooled(spool) => spool.file(),
        }
    }
}

/// Opens what was named, packed into an archive if it is none. `None`: nothing was named.
pub(super) fn open(
    app: &App,
    request: &BuildRequest,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Content>, PublishError> {
    let os = request.package.os;
    match &request.source {
        Source::Nothing => Ok(None),
        Source::Stdin => {
            let mut spool = spool(app)?;
            let mut input =
                Counting { inner: io::stdin().lock(), done: 0, told: &mut |done| progress(Progress::Packing(done)) };
            io::copy(&mut input, &mut spool).map_err(|source| TreeError::of(app.tree.staging(), source))?;
            Content::new(Bytes::Spooled(spool), "standard input".to_owned()).map(Some)
        }
        Source::Named { path, name } => {
            let input = |source| PublishError::Input { path: name.clone(), source };
            let file = File::open(path).map_err(input)?;
            if is_archive_name(name) {
                return Content::new(Bytes::Named(file), name.clone()).map(Some);
            }
            let size = file.metadata().map_err(input)?.len();
            pack_one(app, os, name, size, file, progress).map(Some)
        }
        Source::Fragments { paths, digest, name } => join(app, paths, digest, name, progress).map(Some),
        Source::Text { name, text } => {
            let bytes = script_bytes(os, text);
            pack_one(app, os, name, bytes.len() as u64, bytes.as_slice(), progress).map(Some)
        }
        Source::Several { name, parts } => {
            let entries = several::steps(parts)?.into_iter().map(|step| step.open(os));
            let output = Counting { inner: spool(app)?, done: 0, told: &mut |done| progress(Progress::Packing(done)) };
            let spool = pack(ArchiveFormat::for_os(os), entries, output)?.inner;
            Content::new(Bytes::Spooled(spool), name.clone()).map(Some)
        }
        Source::Path(path) => {
            let input = |source| PublishError::Input { path: path.display().to_string(), source };
            let metadata = std::fs::metadata(path).map_err(input)?;
            if metadata.is_file() && has_archive_name(path) {
                let file = File::open(path).map_err(input)?;
                return Content::new(Bytes::Named(file), path.display().to_string()).map(Some);
            }
            if !metadata.is_file() && !metadata.is_dir() {
                return Err(PublishError::Refused(format!(
                    "{} is neither a file nor a directory: nothing to build from",
                    path.display()
                )));
            }
            let spool = pack_path(path, os, spool(app)?, &mut |done| progress(Progress::Packing(done)))?;
            Content::new(Bytes::Spooled(spool), path.display().to_string()).map(Some)
        }
    }
}

/// A directory or a bare file as an archive for a system, with the bytes that were written told as they come.
pub fn pack_path<W: Write>(path: &Path, os: OsFamily, output: W, told: &mut dyn FnMut(u64)) -> Result<W, PublishError> {
    let entries = list(path)?.into_iter().map(|entry| entry.open());
    // What was written is counted: a large file is listed at once, and packed for a minute.
    Ok(pack(ArchiveFormat::for_os(os), entries, Counting { inner: output, done: 0, told })?.inner)
}

fn spool(app: &App) -> Result<Spool, TreeError> {
    app.tree.spool().map_err(|source| TreeError::of(app.tree.staging(), source))
}

/// Fragments put together again, if they are what their digest says.
fn join(
    app: &App,
    paths: &[PathBuf],
    digest: &Digest,
    name: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<Content, PublishError> {
    let mut hasher = Hasher::new(digest.algorithm());
    let mut output = Counting { inner: spool(app)?, done: 0, told: &mut |done| progress(Progress::Packing(done)) };
    let mut buffer = vec![0; 256 << 10];
    for path in paths {
        let input = |source| PublishError::Input { path: path.display().to_string(), source };
        let mut file = File::open(path).map_err(input)?;
        loop {
            let n = file.read(&mut buffer).map_err(input)?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            output.write_all(&buffer[..n]).map_err(|source| TreeError::of(app.tree.staging(), source))?;
        }
    }
    if hasher.finish() != *digest {
        return Err(PublishError::Refused(format!(
            "{name} is damaged: its fragments are not what the {} in its info file says",
            digest.algorithm()
        )));
    }
    Content::new(Bytes::Spooled(output.inner), name.to_owned())
}

/// One file as an archive.
fn pack_one(
    app: &App,
    os: OsFamily,
    name: &str,
    size: u64,
    content: impl Read,
    progress: &mut dyn FnMut(Progress),
) -> Result<Content, PublishError> {
    if size == 0 {
        return Err(PublishError::Refused(format!("{name} is empty: nothing to build from")));
    }
    let entry = PackEntry::File { path: name.to_owned(), executable: true, size, content };
    let output = Counting { inner: spool(app)?, done: 0, told: &mut |done| progress(Progress::Packing(done)) };
    let spool = pack(ArchiveFormat::for_os(os), [Ok(entry)], output)?.inner;
    Content::new(Bytes::Spooled(spool), name.to_owned())
}

/// A script as its system's interpreters read it: browsers send CR LF whatever was typed.
fn script_bytes(os: OsFamily, text: &str) -> Vec<u8> {
    let text = text.replace("\r\n", "\n");
    let text = if text.is_empty() || text.ends_with('\n') { text } else { format!("{text}\n") };
    if os == OsFamily::Windows { text.replace('\n', "\r\n").into_bytes() } else { text.into_bytes() }
}

/// Archives are told by their name: a `.jar` is a ZIP inside, but somebody who deploys one wants the file.
fn has_archive_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| is_archive_name(&name.to_string_lossy()))
}

/// Is a file of this name taken as an archive?
pub fn is_archive_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".zip", ".tar.gz", ".tgz"].iter().any(|suffix| name.ends_with(suffix))
}

/// What a directory or a bare file is made of, in the order in which it is packed.
struct Found {
    path: PathBuf,
    name: String,
    metadata: std::fs::Metadata,
}

impl Found {
    fn open(&self) -> io::Result<PackEntry<File>> {
        let kind = self.metadata.file_type();
        let path = self.name.clone();
        if kind.is_dir() {
            return Ok(PackEntry::Directory { path });
        }
        if kind.is_symlink() {
            let target = std::fs::read_link(&self.path)?.to_string_lossy().into_owned();
            return Ok(PackEntry::Link { path, target });
        }
        let content = File::open(&self.path)?;
        let size = content.metadata()?.len();
        Ok(PackEntry::File { path, executable: is_executable(&self.metadata), size, content })
    }
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    true
}

fn list(root: &Path) -> Result<Vec<Found>, PublishError> {
    let input = |path: &Path, source| PublishError::Input { path: path.display().to_string(), source };
    let metadata = std::fs::metadata(root).map_err(|source| input(root, source))?;
    if metadata.is_file() {
        let name = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(vec![Found { path: root.to_owned(), name, metadata }]);
    }
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_owned(), String::new())];
    while let Some((directory, prefix)) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).map_err(|source| input(&directory, source))? {
            let entry = entry.map_err(|source| input(&directory, source))?;
            let path = entry.path();
            let file_name = entry.file_name().into_string().map_err(|name| {
                PublishError::Refused(format!(
                    "the name {} in {} is not UTF-8: rename it",
                    name.to_string_lossy(),
                    directory.display()
                ))
            })?;
            let name = format!("{prefix}{file_name}");
            let metadata = entry.metadata().map_err(|source| input(&path, source))?;
            let kind = metadata.file_type();
            if kind.is_dir() {
                waiting.push((path.clone(), format!("{name}/")));
            } else if !kind.is_file() && !kind.is_symlink() {
                return Err(PublishError::Refused(format!(
                    "{} is a device, a fifo or a socket: a package holds files, directories and links",
                    path.display()
                )));
            }
            found.push(Found { path, name, metadata });
        }
    }
    if found.is_empty() {
        return Err(PublishError::Refused(format!("{} is empty: nothing to build from", root.display())));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

struct Counting<'a, R> {
    inner: R,
    done: u64,
    told: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.done += n as u64;
        (self.told)(self.done);
        Ok(n)
    }
}

impl<W: Write> Write for Counting<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.done += n as u64;
        (self.told)(self.done);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
