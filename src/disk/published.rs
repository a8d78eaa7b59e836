//! The tree that agents and mirrors fetch from: `<id>/info` and `<id>/<id>-<n>`, and never anything else.
//!
//! A package is written to `staging/` first. When every byte of it is durable, one rename puts it into `download/`;
//! withdrawing is one rename the other way. So a reader sees a package whole or not at all, and what a crash leaves lies in
//! `staging/`, where [`PublishedTree::clear_staging`] removes it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::atomic::{parent, remove_tree, rename_only, sync_dir};
use super::checkpoint;
use crate::model::{FragmentCount, FragmentNumber, PackageId, TreeKey};

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
        Ok(Staged { tree: self.clone(), id, directory, written: Mutex::default(), published: false, kept: false })
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
        Ok(Staged { tree: self.clone(), id, directory, written: Mutex::default(), published: false, kept: true })
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
        self.0.download.join(key.package().to_string()).join(key.file_name())
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
            super::atomic::remove_file(&self.directory.join(key.file_name())).map_err(|source| self.failed(source))?;
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

/// A file that is gone when it is dropped, also by a crash.
#[derive(Debug)]
pub struct Spool {
    file: File,
    /// Where names cannot be removed while the file is open.
    named: Option<PathBuf>,
}

impl Spool {
    fn create(staging: &Path) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = staging.join(format!("spool-{}-{count}", std::process::id()));
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            match options.open(&path) {
                Ok(file) if cfg!(unix) => {
                    fs::remove_file(&path)?;
                    return Ok(Self { file, named: None });
                }
                Ok(file) => return Ok(Self { file, named: Some(path) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Its bytes so far.
    pub fn size(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// The file, which shares its position with this one.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Read for Spool {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Spool {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(path) = &self.named {
            let _ = fs::remove_file(path);
        }
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

#[cfg(test)]
mod tests {
    #[cfg(debug_assertions)]
    use std::fmt::Write as _;
    #[cfg(debug_assertions)]
    use std::process::{Command, Stdio};

    use super::*;

    fn package(number: u32) -> PackageId {
        PackageId::new(number).expect("an id")
    }

    fn fragment(number: u32) -> FragmentNumber {
        FragmentNumber::new(number).expect("a number")
    }

    fn open(root: &Path) -> PublishedTree {
        PublishedTree::open(&root.join("download"), &root.join("staging")).expect("a tree")
    }

    fn publish(tree: &PublishedTree, id: PackageId) -> Result<(), TreeError> {
        let staged = tree.stage(id)?;
        for number in 1..=3 {
            let mut writer = staged.create_fragment(fragment(number)).expect("a file");
            writer.write_all(format!("fragment {number}").as_bytes()).expect("written");
        }
        staged.write_info("<DOWNLOAD/>")?;
        staged.publish()
    }

    /// Every file below a directory, with its size.
    fn listing(directory: &Path) -> String {
        fn add(directory: &Path, prefix: &str, lines: &mut Vec<String>) {
            for entry in fs::read_dir(directory).expect("a directory") {
                let entry = entry.expect("an entry");
                let name = format!("{prefix}{}", entry.file_name().to_str().expect("text"));
                if entry.file_type().expect("a type").is_dir() {
                    lines.push(format!("{name}/"));
                    add(&entry.path(), &format!("{name}/"), lines);
                } else {
                    lines.push(format!("{name} {}", entry.metadata().expect("known").len()));
                }
            }
        }
        let mut lines = Vec::new();
        add(directory, "", &mut lines);
        lines.sort();
        lines.join("\n")
    }

    const WHOLE: &str = "download/\ndownload/7/\ndownload/7/7-1 10\ndownload/7/7-2 10\ndownload/7/7-3 10\n\
                         download/7/info 11\nstaging/";
    const NOTHING: &str = "download/\nstaging/";

    #[test]
    fn a_package_appears_whole_and_goes_whole() {
        let root = tempfile::tempdir().expect("a directory");
        let tree = open(root.path());
        publish(&tree, package(7)).expect("published");
        assert_eq!(listing(root.path()), WHOLE);
        assert!(tree.contains(package(7)) && !tree.contains(package(8)));
        let mut text = String::new();
        let key = "7/7-2".parse().expect("a key");
        tree.open_file(key).and_then(|mut file| file.read_to_string(&mut text)).expect("there");
        assert_eq!(text, "fragment 2");
        assert!(tree.withdraw(package(7)).expect("withdrawn"));
        assert!(!tree.withdraw(package(7)).expect("gone"));
        assert_eq!(listing(root.path()), NOTHING);
    }

    #[test]
    fn a_package_that_is_set_aside_comes_back_whole_until_it_is_forgotten() {
        let root = tempfile::tempdir().expect("a directory");
        let tree = open(root.path());
        publish(&tree, package(7)).expect("published");
        assert!(tree.set_aside(package(7)).expect("set aside"));
        assert!(!tree.set_aside(package(7)).expect("gone"));
        assert!(!tree.contains(package(7)) && tree.is_aside(package(7)));
        // A start in between keeps it.
        assert_eq!(tree.clear_staging().expect("cleared"), 0);
        assert!(tree.restore(package(7)).expect("restored"));
        assert!(tree.contains(package(7)) && !tree.restore(package(7)).expect("not aside"));
        assert!(tree.set_aside(package(7)).expect("again"));
        assert!(tree.forget_aside(package(7)).expect("forgotten"));
        assert!(!tree.forget_aside(package(7)).expect("nothing left"));
        assert!(!tree.restore(package(7)).expect("nothing left"));
        assert_eq!(listing(root.path()), format!("{NOTHING}\nstaging/withdrawn/"));
    }

    #[test]
    fn what_is_abandoned_at_any_step_leaves_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        let tree = open(root.path());
        for steps in 0..4 {
            let staged = tree.stage(package(7)).expect("staged");
            for number in 1..=steps.min(2) {
                staged.create_fragment(fragment(number)).expect("a file").write_all(b"x").expect("written");
            }
            if steps == 3 {
                staged.write_info("<DOWNLOAD/>").expect("written");
            }
            assert_ne!(listing(root.path()), NOTHING);
            drop(staged);
            assert_eq!(listing(root.path()), NOTHING, "after {steps} steps");
        }
    }

    #[test]
    fn a_published_package_cannot_be_published_again() {
        let root = tempfile::tempdir().expect("a directory");
        let tree = open(root.path());
        // Both begin before either ends.
        let second = tree.stage(package(7)).expect("staged");
        second.write_info("<ANOTHER/>").expect("written");
        publish(&tree, package(7)).expect("published");
        for error in [second.publish(), publish(&tree, package(7))] {
            let error = error.expect_err("it is there");
            assert_eq!(
                error.to_string(),
                "package 7 is published already: published packages never change, build a new one"
            );
        }
        assert_eq!(listing(root.path()), WHOLE);
    }

    #[test]
    fn a_package_with_a_hole_is_not_published() {
        let root = tempfile::tempdir().expect("a directory");
        let tree = open(root.path());
        let staged = tree.stage(package(7)).expect("staged");
        staged.create_fragment(fragment(1)).expect("a file");
        staged.create_fragment(fragment(3)).expect("a file");
        staged.create_fragment(fragment(3)).expect_err("begun already");
        staged.write_info("<DOWNLOAD/>").expect("written");
        let hole = staged.publish().expect_err("no second one");
        let staged = tree.stage(package(7)).expect("staged");
        let no_info = staged.publish().expect_err("no info");
        assert_eq!(listing(root.path()), NOTHING);
        insta::assert_snapshot!(format!("{hole}\n{no_info}"), @r"
        package 7 is not complete: a fragment is missing between 1 and the last one
        package 7 is not complete: its info file is missing
        ");
        // A command without files has an info file alone.
        let staged = tree.stage(package(7)).expect("staged");
        staged.write_info("<DOWNLOAD/>").expect("written");
        staged.publish().expect("published");
        assert_eq!(tree.list().expect("listed"), [package(7)]);
    }

    #[test]
    fn strangers_are_named_and_not_listed() {
        let root = tempfile::tempdir().expect("a directory");
        let tree = open(root.path());
        for id in [70, 7] {
            publish(&tree, package(id)).expect("published");
        }
        for name in ["lost+found", "8", "007"] {
            fs::create_dir(root.path().join("download").join(name)).expect("made");
        }
        File::create(root.path().join("download/9")).expect("made");
        assert_eq!(tree.list().expect("listed"), [package(7), package(70)]);
        assert_eq!(tree.strangers().expect("listed"), ["007", "8", "9", "lost+found"]);
    }

    #[test]
    fn staging_is_cleared_but_for_the_lock() {
        let root = tempfile::tempdir().expect("a directory");
        let tree = open(root.path());
        for name in ["7.build-1-1", "upload"] {
            fs::create_dir_all(root.path().join("staging").join(name).join("below")).expect("made");
        }
        File::create(tree.build_lock()).expect("made");
        assert_eq!(tree.clear_staging().expect("cleared"), 2);
        assert_eq!(listing(root.path()), "download/\nstaging/\nstaging/build.lock 0");
    }

    #[test]
    fn a_spool_has_no_name_and_can_be_read_again() {
        let root = tempfile::tempdir().expect("a directory");
        let tree = open(root.path());
        let mut spool = tree.spool().expect("a spool");
        spool.write_all(b"upload").expect("written");
        assert_eq!(spool.size().expect("known"), 6);
        spool.rewind().expect("rewound");
        let mut text = String::new();
        spool.read_to_string(&mut text).expect("read");
        assert_eq!(text, "upload");
        #[cfg(unix)]
        assert_eq!(listing(root.path()), NOTHING);
        drop(spool);
        assert_eq!(listing(root.path()), NOTHING);
    }

    #[test]
    fn a_full_disk_gets_a_sentence() {
        let error = TreeError::of(Path::new("staging"), io::Error::from(io::ErrorKind::StorageFull));
        insta::assert_snapshot!(error, @"no space left in staging: free some, or move the data to a larger disk");
        let root = tempfile::tempdir().expect("a directory");
        File::create(root.path().join("download")).expect("made");
        let error = PublishedTree::open(&root.path().join("download"), &root.path().join("staging"));
        assert!(matches!(error, Err(TreeError::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn other_users_may_read_what_is_published() {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::tempdir().expect("a directory");
        publish(&open(root.path()), package(7)).expect("published");
        for (path, mode) in [("download/7", 0o755), ("download/7/info", 0o644), ("download/7/7-1", 0o644)] {
            let metadata = fs::metadata(root.path().join(path)).expect("there");
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
        }
    }

    #[cfg(debug_assertions)]
    /// Runs this test again in a process of its own that publishes and withdraws, and ends at a checkpoint.
    fn child(root: &Path, end_at: Option<&str>) -> std::process::ExitStatus {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["--exact", "disk::published::tests::a_crash_anywhere_leaves_a_whole_package_or_none"])
            .env("DRIPFEED_TEST_ROOT", root)
            .env("DRIPFEED_CHECKPOINT_LOG", root.join("log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(end_at) = end_at {
            command.env("DRIPFEED_CHECKPOINT", end_at);
        }
        command.status().expect("it runs")
    }

    #[cfg(debug_assertions)]
    fn passed(root: &Path) -> Vec<String> {
        let log = fs::read_to_string(root.join("log")).expect("the child wrote it");
        fs::remove_file(root.join("log")).expect("the log");
        log.lines().map(str::to_owned).collect()
    }

    #[cfg(debug_assertions)]
    #[test]
    fn a_crash_anywhere_leaves_a_whole_package_or_none() {
        if let Some(root) = std::env::var_os("DRIPFEED_TEST_ROOT") {
            let tree = open(Path::new(&root));
            publish(&tree, package(7)).expect("published");
            tree.withdraw(package(7)).expect("withdrawn");
            publish(&tree, package(7)).expect("published again");
            return;
        }
        let root = tempfile::tempdir().expect("a directory");
        assert!(child(root.path(), None).success());
        let all = passed(root.path());
        assert_eq!(all.len(), 5 + 3 + 5, "{all:?}");
        let mut outcomes = String::new();
        for (at, name) in all.iter().enumerate() {
            let hit = all[..=at].iter().filter(|earlier| *earlier == name).count();
            let root = tempfile::tempdir().expect("a directory");
            assert!(!child(root.path(), Some(&format!("{name}:{hit}"))).success(), "{name} did not end it");
            assert_eq!(passed(root.path()), all[..=at]);

            // What a reader sees is whole or nothing, before anything is repaired.
            let tree = open(root.path());
            let there = tree.list().expect("listed");
            assert_eq!(tree.strangers().expect("listed"), Vec::<String>::new());
            tree.clear_staging().expect("cleared");
            let after = listing(root.path());
            assert_eq!(after, if there.is_empty() { NOTHING } else { WHOLE }, "after {name}");
            let outcome = if there.is_empty() { "nothing" } else { "whole" };
            writeln!(outcomes, "{name} {hit}: {outcome}").expect("a string");

            // The same work again ends in the same place.
            if there.is_empty() {
                publish(&tree, package(7)).expect("published");
            }
            assert_eq!(listing(root.path()), WHOLE);
        }
        insta::assert_snapshot!(outcomes, @r"
        publish:info-written 1: nothing
        publish:files-synced 1: nothing
        publish:directory-synced 1: nothing
        publish:renamed 1: whole
        publish:done 1: whole
        withdraw:renamed 1: nothing
        withdraw:synced 1: nothing
        withdraw:done 1: nothing
        publish:info-written 2: nothing
        publish:files-synced 2: nothing
        publish:directory-synced 2: nothing
        publish:renamed 2: whole
        publish:done 2: whole
        ");
    }
}
