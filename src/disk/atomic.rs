//! Placeholder.
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let beside = path.with_extension("new");
    let _ = std::fs::remove_file(&beside);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}
/// Placeholder.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, 0o644)
}
/// Placeholder.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, 0o600)
}
/// Placeholder.
pub fn create_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}
