//! [`Directory`] over paths, for systems without `openat`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::{Kind, Status};

/// A directory by its path.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Opens a directory of the caller's own; a link or junction is refused.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path)?.is_dir() {
            Ok(Self(path.to_owned()))
        } else {
            Err(io::Error::from(io::ErrorKind::NotADirectory))
        }
    }

    /// Opens a directory that an administrator named.
    pub(crate) fn open_following(path: &Path) -> io::Result<Self> {
        Self::open(&fs::canonicalize(path)?)
    }

    /// The same directory.
    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
    pub(crate) fn reopen(&self) -> io::Result<Self> {
        Ok(Self(self.0.clone()))
    }

    /// A directory in it; a link is an error.
    pub(crate) fn child(&self, name: &OsStr) -> io::Result<Self> {
        Self::open(&self.path(name)?)
    }

    /// Makes a directory in it; says whether it was not there before.
    pub(crate) fn make_child(&self, name: &OsStr) -> io::Result<(Self, bool)> {
        let made = match fs::create_dir(self.path(name)?) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        Ok((self.child(name)?, made))
    }

    /// Makes a file that was not there.
    pub(crate) fn create_file(&self, name: &OsStr) -> io::Result<File> {
        File::create_new(self.path(name)?)
    }

    /// Opens a regular file for reading.
    pub(crate) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        File::open(self.path(name)?)
    }

    /// There are none.
    #[expect(clippy::unused_self, reason = "the same signature as on Unix")]
    pub(crate) fn symlink(&self, _target: &OsStr, _name: &OsStr) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Where a link points.
    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        Ok(fs::read_link(self.path(name)?)?.into_os_string())
    }

    /// Gives a file a further name.
    pub(crate) fn hard_link(&self, from: &Self, from_name: &OsStr, name: &OsStr) -> io::Result<()> {
        fs::hard_link(from.path(from_name)?, self.path(name)?)
    }

    /// Renames within the directory, over a file that stands there.
    #[expect(clippy::disallowed_methods, reason = "foreign files in a foreign place, not the agent's own state")]
    pub(crate) fn replace(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    /// Removes anything but a directory.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        let path = self.path(name)?;
        let mut permissions = fs::symlink_metadata(&path)?.permissions();
        if permissions.readonly() {
            #[expect(clippy::permissions_set_readonly_false, reason = "this is not Unix, and the file goes away")]
            permissions.set_readonly(false);
            fs::set_permissions(&path, permissions)?;
        }
        fs::remove_file(path)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_dir(self.path(name)?)
    }

    /// What a name is, without following it.
    pub(crate) fn status(&self, name: &OsStr) -> io::Result<Status> {
        let kind = fs::symlink_metadata(self.path(name)?)?.file_type();
        let kind = if kind.is_symlink() {
            Kind::Link
        } else if kind.is_dir() {
            Kind::Directory
        } else if kind.is_file() {
            Kind::File
        } else {
            Kind::Other
        };
        Ok(Status { kind, mode: 0o644, shared: None })
    }

    /// Every name in it, in no order.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// There are no permission bits.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
    pub(crate) fn set_mode(&self, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    /// There are no permission bits.
    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
    pub(crate) fn set_file_mode(_file: &File, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    /// Windows flushes no directories; each file is flushed when it is written.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// A name is exactly one ordinary component: `C:`, `..` and `a\b` are not.
    fn path(&self, name: &OsStr) -> io::Result<PathBuf> {
        let mut components = Path::new(name).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(only)), None) if only == name => Ok(self.0.join(name)),
            _ => Err(io::Error::from(io::ErrorKind::InvalidFilename)),
        }
    }
}

/// Makes directories by path; there are no modes.
pub(crate) fn builder(_mode: u32) -> DirBuilder {
    DirBuilder::new()
}
