//! The tree that agents and mirrors fetch from: `<id>/info` and `<id>/<id>-<n>`, and never anything else.
//!
//! A package is written to `staging/` first. When every byte of it is durable, one rename puts it into `download/`;
//! withdrawing is one rename the other way. So a reader sees a package whole or not at all, and what a crash leaves lies in
//! `staging/`, where [`PublishedTree::clear_staging`] removes it.

mod scratch;
mod spool;
mod staged;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::atomic::{parent, remove_tree, rename_only, sync_dir};
use super::checkpoint;
use crate::model::{PackageId, TreeKey};

pub use scratch::Scratch;
pub use spool::Spool;
pub use staged::{FragmentWriter, Staged};

/// Why the tree could not be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A rename between the two would not be one step.
    #[error(
        "{} and {} are on two file systems: put both on one, so that a package appears there in one step",
        download.display(), staging.display()
    )]
    TwoFileSystems {
        /// The published tree.
        download: PathBuf,
        /// Where packages are built.
        staging: PathBuf,
    },
    /// Packages never change and ids are never used again.
    #[error("package {package} is published already: published packages never change, build a new one")]
    Exists {
        /// Which.
        package: PackageId,
    },
    /// Not all of it was written.
    #[error("package {package} is not complete: {problem}")]
    Incomplete {
        /// Which.
        package: PackageId,
        /// What is missing.
        problem: &'static str,
    },
    /// The disk, or the user's share of it, is full.
    #[error("no space left in {}: free some, or move the data to a larger disk", directory.display())]
    Full {
        /// Where.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system failed in another way.
    #[error("failed to write to {}", directory.display())]
    Io {
        /// Where.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl TreeError {
    /// The sentence for a failure in a directory.
    pub fn of(directory: &Path, source: io::Error) -> Self {
        let directory = directory.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { directory, source },
            _ => Self::Io { directory, source },
        }
    }
}

const BUILD_LOCK: &str = "build.lock";
/// What the names of packages end in that are gone on with after a crash.
const PARTIAL: &str = ".partial";
/// Below staging: packages that were taken back and may come back.
const ASIDE: &str = "withdrawn";
/// Below staging: files on their way to the server.
pub(super) const UPLOADS: &str = "uploads";

/// Both directories of the tree. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PublishedTree(Arc<Directories>);

#[derive(Debug)]
struct Directories {
    download: PathBuf,
    staging: PathBuf,
}

impl PublishedTree {
    /// Makes both directories where they are absent; they must be on one file system.
    pub fn open(download: &Path, staging: &Path) -> Result<Self, TreeError> {
        for (directory, mode) in [(download, 0o755), (staging, 0o700)] {
            create_directories(directory, mode).map_err(|source| TreeError::of(directory, source))?;
        }
        let tree = Self(Arc::new(Directories { download: download.to_owned(), staging: staging.to_owned() }));
        tree.check_one_file_system()?;
        Ok(tree)
    }

    /// Begins a package.
    pub fn stage(&self, id: PackageId) -> Result<Staged, TreeError> {
        if self.is_taken(id) {
            return Err(TreeError::Exists { package: id });
        }
        let directory = self.free_name(&id.to_string(), "build", |path| {
            fs::create_dir(path)?;
            set_mode(path, 0o755)
        })?;
        Ok(Staged::new(self.clone(), id, directory, false))
    }

    /// Begins a package, or goes on with what an earlier [`PublishedTree::resume`] of it left, also one that a crash ended.
    /// What is there is only what was written: the caller proves it, names it with [`Staged::have`] or writes it anew.
    /// It stays when it is dropped.
    pub fn resume(&self, id: PackageId) -> Result<Staged, TreeError> {
        if self.is_taken(id) {
            return Err(TreeError::Exists { package: id });
        }
        let directory = self.0.staging.join(format!("{id}{PARTIAL}"));
        let made = match fs::create_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => set_mode(&directory, 0o755),
        };
        made.map_err(|source| TreeError::of(&self.0.staging, source))?;
        Ok(Staged::new(self.clone(), id, directory, true))
    }

    /// [`PublishedTree::clear_staging`], but for what [`PublishedTree::resume`] can go on with.
    pub fn clear_staging_but_partial(&self, keep: impl Fn(PackageId) -> bool) -> Result<u32, TreeError> {
        self.clear_but(|name| name.strip_suffix(PARTIAL).and_then(|id| id.parse().ok()).is_some_and(&keep))
    }

    /// Takes a package out of the tree; `false` if it was not there. Its files are gone when this returns; after a
    /// crash they are gone from the tree and lie in staging, or nothing has happened.
    pub fn withdraw(&self, id: PackageId) -> Result<bool, TreeError> {
        let to = self.free_name(&id.to_string(), "withdrawn", is_free)?;
        if !self.take_out(id, &to)? {
            return Ok(false);
        }
        remove_tree(&to).map_err(|source| TreeError::of(&to, source))?;
        checkpoint("withdraw:done");
        Ok(true)
    }

    /// Takes a package out of the tree and keeps its files, so that [`PublishedTree::restore`] can bring it back; `false`
    /// if it was not there. One rename, as with [`PublishedTree::withdraw`].
    pub fn set_aside(&self, id: PackageId) -> Result<bool, TreeError> {
        let aside = self.0.staging.join(ASIDE);
        super::atomic::create_dir_private(&aside).map_err(|source| TreeError::of(&aside, source))?;
        let to = aside.join(id.to_string());
        if self.contains(id) {
            // Something of that number is in the way only if a restoration was torn: the tree has the whole.
            remove_tree(&to).map_err(|source| TreeError::of(&to, source))?;
        }
        let taken = self.take_out(id, &to)?;
        if taken {
            sync_dir(&aside).map_err(|source| TreeError::of(&aside, source))?;
            checkpoint("withdraw:done");
        }
        Ok(taken)
    }

    /// Are the files of a withdrawn package still there?
    pub fn is_aside(&self, id: PackageId) -> bool {
        self.aside(id).join("info").is_file()
    }

    /// Opens a file of a package that was set aside.
    pub fn open_aside(&self, key: TreeKey) -> io::Result<File> {
        File::open(self.aside(key.package()).join(key.file_name()))
    }

    /// Brings a package back that was set aside, with one rename; `false` if its files are gone.
    pub fn restore(&self, id: PackageId) -> Result<bool, TreeError> {
        let from = self.aside(id);
        if !self.is_aside(id) {
            return Ok(false);
        }
        if self.is_taken(id) {
            return Err(TreeError::Exists { package: id });
        }
        let failed = |source| TreeError::of(&self.0.download, source);
        rename_new(&from, &self.0.download.join(id.to_string())).map_err(failed)?;
        checkpoint("restore:renamed");
        sync_dir(parent(&from)).map_err(failed)?;
        self.sync_both()?;
        checkpoint("restore:done");
        Ok(true)
    }

    /// Removes the files of a package that was set aside; `false` if there were none.
    pub fn forget_aside(&self, id: PackageId) -> Result<bool, TreeError> {
        let from = self.aside(id);
        if is_free(&from).is_ok() {
            return Ok(false);
        }
        // Under another name first: what is half removed must not come back.
        let to = self.free_name(&id.to_string(), "withdrawn", is_free)?;
        rename_only(&from, &to).map_err(|source| TreeError::of(&self.0.staging, source))?;
        sync_dir(parent(&from)).map_err(|source| TreeError::of(&self.0.staging, source))?;
        remove_tree(&to).map_err(|source| TreeError::of(&to, source))?;
        Ok(true)
    }

    fn aside(&self, id: PackageId) -> PathBuf {
        self.0.staging.join(ASIDE).join(id.to_string())
    }

    /// One rename out of the tree; `false` if the package is not there.
    fn take_out(&self, id: PackageId, to: &Path) -> Result<bool, TreeError> {
        let from = self.0.download.join(id.to_string());
        if fs::symlink_metadata(&from).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(false);
        }
        match rename_only(&from, to) {
            Ok(()) => {}
            // Another one was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(TreeError::of(&self.0.download, error)),
        }
        checkpoint("withdraw:renamed");
        self.sync_both()?;
        checkpoint("withdraw:synced");
        Ok(true)
    }

    /// Removes what a crash left in staging; says how many things there were. Uploads and packages that may come back
    /// stay. The caller holds the build lock alone.
    pub fn clear_staging(&self) -> Result<u32, TreeError> {
        self.clear_but(|_| false)
    }

    fn clear_but(&self, keep: impl Fn(&str) -> bool) -> Result<u32, TreeError> {
        let keep = |name: &str| matches!(name, BUILD_LOCK | ASIDE | UPLOADS) || keep(name);
        let staging = &self.0.staging;
        let clear = || {
            let mut count = 0;
            for entry in fs::read_dir(staging)? {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(&keep) {
                    remove_tree(&entry.path())?;
                    count += 1;
                }
            }
            Ok(count)
        };
        clear().map_err(|source| TreeError::of(staging, source))
    }

    /// A file without a name in staging, for what comes from a network or a pipe and must be read twice.
    pub fn spool(&self) -> io::Result<Spool> {
        Spool::create(&self.0.staging)
    }

    /// A directory of its own in staging. The caller holds the build lock, shared, as long as it is used.
    pub fn scratch(&self) -> Result<Scratch, TreeError> {
        let directory = self.free_name("import", "unpacked", |path| {
            fs::create_dir(path)?;
            set_mode(path, 0o700)
        })?;
        Ok(Scratch::new(directory))
    }

    /// The published packages, by number.
    pub fn list(&self) -> Result<Vec<PackageId>, TreeError> {
        Ok(self.look()?.0)
    }

    /// Names in the tree that are no package's: nothing that we put there.
    pub fn strangers(&self) -> Result<Vec<String>, TreeError> {
        Ok(self.look()?.1)
    }

    /// Is the package published?
    pub fn contains(&self, id: PackageId) -> bool {
        self.path(TreeKey::Info { package: id }).is_file()
    }

    /// Opens a published file.
    pub fn open_file(&self, key: TreeKey) -> io::Result<File> {
        File::open(self.path(key))
    }

    /// Where a published file lies, or would lie.
    pub fn path(&self, key: TreeKey) -> PathBuf {
        self.0.download.join(key.to_string())
    }

    /// The directory of published packages.
    pub fn download(&self) -> &Path {
        &self.0.download
    }

    /// The directory of what is being built.
    pub fn staging(&self) -> &Path {
        &self.0.staging
    }

    /// The lock that builds share and that clean-up takes alone, so that it never takes a running build for a dead one.
    pub fn build_lock(&self) -> PathBuf {
        self.0.staging.join(BUILD_LOCK)
    }

    /// Bytes that are left where packages are built and published.
    pub fn free(&self) -> io::Result<u64> {
        super::space::free(&self.0.staging)
    }

    /// Packages, and names that are none.
    fn look(&self) -> Result<(Vec<PackageId>, Vec<String>), TreeError> {
        let look = || {
            let (mut packages, mut strangers) = (Vec::new(), Vec::new());
            for entry in fs::read_dir(&self.0.download)? {
                let entry = entry?;
                let name = entry.file_name();
                match name.to_str().and_then(|name| name.parse().ok()) {
                    Some(id) if entry.file_type()?.is_dir() && self.contains(id) => packages.push(id),
                    _ => strangers.push(name.to_string_lossy().into_owned()),
                }
            }
            packages.sort_unstable();
            strangers.sort_unstable();
            Ok((packages, strangers))
        };
        look().map_err(|source| TreeError::of(&self.0.download, source))
    }

    fn is_taken(&self, id: PackageId) -> bool {
        fs::symlink_metadata(self.0.download.join(id.to_string())).is_ok()
    }

    /// A name in staging that nothing has.
    fn free_name(&self, stem: &str, kind: &str, take: impl Fn(&Path) -> io::Result<()>) -> Result<PathBuf, TreeError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = self.0.staging.join(format!("{stem}.{kind}-{}-{count}", std::process::id()));
            match take(&path) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(TreeError::of(&self.0.staging, error)),
            }
        }
    }

    fn sync_both(&self) -> Result<(), TreeError> {
        for directory in [&self.0.download, &self.0.staging] {
            sync_dir(directory).map_err(|source| TreeError::of(directory, source))?;
        }
        Ok(())
    }

    #[cfg(unix)]
    fn check_one_file_system(&self) -> Result<(), TreeError> {
        use std::os::unix::fs::MetadataExt;

        let Directories { download, staging } = &*self.0;
        let device = |directory: &Path| {
            fs::metadata(directory).map(|metadata| metadata.dev()).map_err(|source| TreeError::of(directory, source))
        };
        if device(download)? == device(staging)? { Ok(()) } else { Err(self.two_file_systems()) }
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
    fn check_one_file_system(&self) -> Result<(), TreeError> {
        Ok(())
    }

    fn two_file_systems(&self) -> TreeError {
        TreeError::TwoFileSystems { download: self.0.download.clone(), staging: self.0.staging.clone() }
    }
}

/// Refuses a name that something has.
fn is_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Renames a directory to a name that nothing may have.
#[cfg(target_os = "linux")]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network file systems do not know the flag.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => rename_if_free(from, to),
        renamed => Ok(renamed?),
    }
}

#[cfg(not(target_os = "linux"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_if_free(from, to)
}

/// Looks first. Between looking and renaming only another process that publishes the same id could come, and its
/// directory is not empty, so the rename fails all the same.
fn rename_if_free(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => rename_only(from, to),
        Err(error) => Err(error),
    }
}

/// Makes a directory and those above it; only a new one gets the mode.
fn create_directories(directory: &Path, mode: u32) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    set_mode(directory, mode)?;
    sync_dir(parent(directory))
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}
