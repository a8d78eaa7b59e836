//! Directories that are opened once, so that nothing below them is reached through a link.
//!
//! Packages are unpacked and stored as root, into places where other people may write too. A path that is looked up
//! again for each file can be turned aside between two look-ups: a directory becomes a link and the file lands in
//! `/etc`. Here every name is one component, looked up in a directory that is held open, and a link is never followed
//! (decision 0151). Only the directory that the caller names is looked up as a path.
//!
//! Deliberately absent: anything that takes a path with a slash in it. (Windows has no `openat` in the standard library
//! and unprivileged users make no links there; its directories are paths, with the same functions.)

#[cfg(not(unix))]
mod portable;
#[cfg(unix)]
mod unix;

use std::ffi::OsString;
use std::io;

#[cfg(not(unix))]
pub(crate) use portable::{Directory, builder};
#[cfg(unix)]
pub(crate) use unix::{Directory, builder};

/// What a name in a directory is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, a fifo, a socket.
    Other,
}

/// What is known of a name without following it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Status {
    /// What it is.
    pub(crate) kind: Kind,
    /// Permission bits, without set-uid, set-gid and sticky.
    pub(crate) mode: u32,
    /// Device and inode, if the file has more names than one.
    pub(crate) shared: Option<(i128, i128)>,
}

impl Directory {
    /// Removes everything in the directory; links are removed, never followed.
    pub(crate) fn clear(&self) -> io::Result<()> {
        // Depth is bounded by what the kernel lets anybody build through paths; a stack of open directories instead of
        // recursion keeps a planted, absurdly deep tree from ending the agent.
        let mut stack: Vec<(Self, Vec<OsString>, Option<OsString>)> = vec![(self.reopen()?, self.names()?, None)];
        while let Some((directory, names, _)) = stack.last_mut() {
            let Some(name) = names.pop() else {
                let done = stack.pop().and_then(|(_, _, name)| name);
                if let (Some(name), Some((parent, _, _))) = (done, stack.last()) {
                    parent.remove_directory(&name)?;
                }
                continue;
            };
            match directory.status(&name) {
                Ok(status) if status.kind == Kind::Directory => {
                    let child = directory.child(&name)?;
                    // What an archive made read-only must still go.
                    child.set_mode(0o700)?;
                    let names = child.names()?;
                    stack.push((child, names, Some(name)));
                }
                Ok(_) => directory.remove_file(&name)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Is there no room left, in one of the ways in which a system says so?
pub(crate) fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
