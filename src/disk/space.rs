//! How full a disk is.

use std::io;
use std::path::Path;

/// Bytes that this process may still write to the file system of `path`.
#[cfg(unix)]
pub fn free(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes that this process may still write to the file system of `path`: not known here, so never too few.
#[cfg(not(unix))]
pub fn free(_path: &Path) -> io::Result<u64> {
    Ok(u64::MAX)
}
