//! The published tree: `download/<id>/info` and `download/<id>/<id>-<n>`, and nothing else, ever.
//!
//! A package is put together in the staging directory and appears with one rename; it disappears with one rename too.
//! Whoever reads the tree, over HTTP or by copying it, sees a package whole or not at all (DESIGN.md, promise 2).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lock::LockError;
use super::{atomic, checkpoint};
use crate::model::{FragmentNumber, PackageId, TreeKey};

/// Why the tree could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The disk is full.
    #[error("no space left for {what}: make room and try again, nothing was changed")]
    Full {
        /// What was being written.
        what: String,
    },
    /// Tree and staging area lie on two file systems.
    #[error(
        "{} and {} are on two file systems: a package could not appear at once; put both on one",
        download.display(),
        staging.display()
    )]
    TwoFileSystems {
        /// The tree.
        download: PathBuf,
        /// The staging area.
        staging: PathBuf,
    },
    /// There is a package of that id already.
    #[error("package {0} is in the tree already")]
    Exists(PackageId),
    /// The lock that keeps builds and clean-up apart.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Anything else.
    #[error("failed to write {what}")]
    Io {
        /// What was being written or read.
        what: String,
        /// Why.
        source: io::Error,
    },
}

impl TreeError {
    /// What a failed write means.
    pub fn write(what: impl Into<String>, source: io::Error) -> Self {
        let what = what.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { what }
            }
            _ => Self::Io { what, source },
        }
    }
}

/// The tree and the area beside it where packages are put together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PublishedTree(Arc<Roots>);

#[derive(Debug)]
struct Roots {
    download: PathBuf,
    staging: PathBuf,
}

impl PublishedTree {
    /// Makes both directories if they are not there. They must be on one file system.
    pub fn open(download: &Path, staging: &Path) -> Result<Self, TreeError> {
        for path in [download, staging] {
            let made = if path == download { atomic::create_dir(path) } else { atomic::create_dir_private(path) };
            made.map_err(|source| TreeError::write(path.display().to_string(), source))?;
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let device = |path: &Path| -> Result<u64, TreeError> {
                let metadata = std::fs::metadata(path);
                Ok(metadata.map_err(|source| TreeError::write(path.display().to_string(), source))?.dev())
            };
            if device(download)? != device(staging)? {
                return Err(TreeError::TwoFileSystems { download: download.to_owned(), staging: staging.to_owned() });
            }
        }
        Ok(Self(Arc::new(Roots { download: download.to_owned(), staging: staging.to_owned() })))
    }

    /// The lock that builds share and that clean-up takes alone.
    pub fn build_lock(&self) -> PathBuf {
        self.0.staging.join("build.lock")
    }

    /// Where a file of the tree is.
    pub fn path(&self, key: TreeKey) -> PathBuf {
        self.directory(key.package()).join(key.file_name())
    }

    fn directory(&self, id: PackageId) -> PathBuf {
        self.0.download.join(id.to_string())
    }

    /// Opens a file of the tree.
    pub fn open_file(&self, key: TreeKey) -> io::Result<File> {
        File::open(self.path(key))
    }

    /// Is the package in the tree?
    pub fn contains(&self, id: PackageId) -> bool {
        self.path(TreeKey::Info { package: id }).is_file()
    }

    /// Every package of the tree, in order. What is no package directory is left out.
    pub fn list(&self) -> Result<Vec<PackageId>, TreeError> {
        let failed = |source| TreeError::Io { what: self.0.download.display().to_string(), source };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.0.download).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if let Some(id) = name.to_str().and_then(|name| name.parse::<PackageId>().ok()) {
                found.push(id);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Starts to put a package together.
    pub fn stage(&self, id: PackageId) -> Result<Staged, TreeError> {
        let directory = self.0.staging.join(format!("build-{id}"));
        let what = || directory.display().to_string();
        // Left by a crash of a build of the same id: the id was never published.
        atomic::remove_tree(&directory).map_err(|source| TreeError::write(what(), source))?;
        atomic::create_dir(&directory).map_err(|source| TreeError::write(what(), source))?;
        checkpoint("publish.staged");
        Ok(Staged { tree: self.clone(), id, directory, published: false })
    }

    /// A file in the staging area that has no name and ends with its handle: for uploads and for packing.
    pub fn spool(&self) -> Result<File, TreeError> {
        spool(&self.0.staging).map_err(|source| TreeError::write("the spool", source))
    }

    /// Takes a package out of the tree with one rename, then removes it. False if it was not there.
    pub fn withdraw(&self, id: PackageId) -> Result<bool, TreeError> {
        let away = self.0.staging.join(format!("withdrawn-{id}"));
        let what = || format!("package {id}");
        atomic::remove_tree(&away).map_err(|source| TreeError::write(what(), source))?;
        checkpoint("withdraw.begun");
        match atomic::rename(&self.directory(id), &away) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(TreeError::write(what(), source)),
            Ok(()) => {}
        }
        checkpoint("withdraw.renamed");
        atomic::remove_tree(&away).map_err(|source| TreeError::write(what(), source))?;
        checkpoint("withdraw.removed");
        Ok(true)
    }

    /// Removes everything that a crash left in the staging area. The caller holds the build lock alone.
    pub fn clear_staging(&self) -> Result<(), TreeError> {
        let failed = |source| TreeError::Io { what: self.0.staging.display().to_string(), source };
        for entry in std::fs::read_dir(&self.0.staging).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.path() == self.build_lock() {
                continue;
            }
            let removed = if entry.file_type().map_err(failed)?.is_dir() {
                atomic::remove_tree(&entry.path())
            } else {
                atomic::remove_file(&entry.path())
            };
            removed.map_err(failed)?;
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn spool(directory: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(File::from(file)),
        // Some network file systems have no nameless files.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => named_spool(directory),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn spool(directory: &Path) -> io::Result<File> {
    named_spool(directory)
}

fn named_spool(directory: &Path) -> io::Result<File> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("spool-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = directory.join(name);
    let file = atomic::create_new(&path, 0o600)?;
    // Where open files cannot be removed, clean-up does it later.
    let _ = std::fs::remove_file(&path);
    Ok(file)
}

/// A package that is being put together. Dropped unpublished, it leaves nothing.
#[derive(Debug)]
pub struct Staged {
    tree: PublishedTree,
    id: PackageId,
    directory: PathBuf,
    published: bool,
}

impl Staged {
    /// The writer of one fragment.
    pub fn create_fragment(&self, number: FragmentNumber) -> io::Result<FragmentWriter> {
        let key = TreeKey::Fragment { package: self.id, number };
        let file = atomic::create_new(&self.directory.join(key.file_name()), 0o644)?;
        checkpoint("publish.fragment");
        Ok(FragmentWriter(file))
    }

    /// Writes the info file.
    pub fn write_info(&self, xml: &str) -> Result<(), TreeError> {
        let what = || format!("{}/info", self.id);
        let path = self.directory.join(TreeKey::Info { package: self.id }.file_name());
        let mut file = atomic::create_new(&path, 0o644).map_err(|source| TreeError::write(what(), source))?;
        file.write_all(xml.as_bytes()).map_err(|source| TreeError::write(what(), source))?;
        checkpoint("publish.info");
        Ok(())
    }

    /// Makes every byte durable, then publishes with one rename.
    pub fn publish(mut self) -> Result<(), TreeError> {
        let what = || format!("package {}", self.id);
        let failed = |source| TreeError::write(what(), source);
        for entry in std::fs::read_dir(&self.directory).map_err(failed)? {
            File::open(entry.map_err(failed)?.path()).and_then(|file| file.sync_all()).map_err(failed)?;
        }
        atomic::sync_dir(&self.directory).map_err(failed)?;
        checkpoint("publish.synced");
        let place = self.tree.directory(self.id);
        if place.exists() {
            return Err(TreeError::Exists(self.id));
        }
        atomic::rename(&self.directory, &place).map_err(failed)?;
        self.published = true;
        checkpoint("publish.renamed");
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // If this fails, the next start clears the staging area.
            let _ = atomic::remove_tree(&self.directory);
        }
    }
}

/// Writes one fragment.
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
