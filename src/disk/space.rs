//! How much is left.

use std::io;
use std::path::Path;

/// Bytes that an ordinary user can still write to the file system of `path`.
#[cfg(unix)]
pub fn free(path: &Path) -> io::Result<u64> {
    let state = rustix::fs::statvfs(path)?;
    Ok(state.f_bavail.saturating_mul(state.f_frsize))
}

/// Bytes that this user can still write to the volume of `path`.
#[cfg(windows)]
pub fn free(path: &Path) -> io::Result<u64> {
    super::windows::free(path)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_directory_has_some_space_and_a_missing_one_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(super::free(directory.path()).expect("known") > 0);
        assert!(super::free(&directory.path().join("absent")).is_err());
    }
}
