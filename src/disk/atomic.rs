//! Write beside, fsync, rename, fsync the directory: a name has its old content or its new one, never a part.
//!
//! What is written beside has a name of its own (`.<name>.<pid>-<n>.new`), so two writers of one file cannot mix; a crash
//! leaves it behind for [`remove_leftovers`].

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{checkpoint, fault};

/// Makes or replaces a file. Durable when it returns.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, false)
}

/// Makes or replaces a file that only its owner may read (0600), from its first byte on. Durable when it returns.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, true)
}

/// Adds a line to a small file, which is written anew for it; a file that is not there is empty.
pub fn append_line(path: &Path, line: &str) -> io::Result<()> {
    let mut bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    write(path, &bytes)
}

/// Renames within one file system; both directories are durable when it returns. Replaces a file that is in the way.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::claim_room()?;
    rename_only(from, to)?;
    checkpoint("rename:renamed");
    sync_dir(parent(to))?;
    if parent(from) != parent(to) {
        sync_dir(parent(from))?;
    }
    checkpoint("rename:done");
    Ok(())
}

/// Makes the names in a directory durable.
#[cfg(unix)]
pub fn sync_dir(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Nothing: Windows flushes no directories. A rename returns when the disk has it; NTFS keeps other changes of names in
/// its journal, in their order.
#[cfg(not(unix))]
pub fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes a directory that everybody may look into (0755), and those above it; one that is there stays as it is.
pub fn create_dir(directory: &Path) -> io::Result<()> {
    create_dir_with_mode(directory, 0o755)
}

/// Makes a directory that only its owner may look into (0700), and those above it; one that is there stays as it is.
pub fn create_dir_private(directory: &Path) -> io::Result<()> {
    #[cfg(windows)]
    return super::windows::create_private(directory);
    #[cfg(not(windows))]
    create_dir_with_mode(directory, 0o700)
}

fn create_dir_with_mode(directory: &Path, mode: u32) -> io::Result<()> {
    fault::claim_room()?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    builder.create(directory)?;
    sync_dir(parent(directory))
}

/// Removes a file; one that is not there is fine. Durable when it returns.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a directory and all below it, or a file; nothing there is fine. A link is removed, never followed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let removed = fs::symlink_metadata(path).and_then(|metadata| {
        fault::let_go(path)?;
        // The standard library opens every directory relative to its parent and without following links.
        if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    });
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what a crash left beside the files of a directory; says how many there were. For a start, before anything
/// else writes there.
pub fn remove_leftovers(directory: &Path) -> io::Result<u32> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if is_leftover(&entry.file_name()) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
            count += 1;
        }
    }
    Ok(count)
}

/// Is it the name of something written beside?
pub fn is_leftover(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with('.') && name.strip_suffix(".new").is_some())
}

#[cfg_attr(not(windows), expect(clippy::disallowed_methods, reason = "this is the room that renames"))]
pub(super) fn rename_only(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(windows)]
    return super::windows::rename(from, to);
    #[cfg(not(windows))]
    fs::rename(from, to)
}

/// The directory of a file; that of a bare name is the present one.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn replace(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    fault::claim_room()?;
    let (beside, mut file) = create_beside(parent(path), name, private)?;
    let replaced = (|| {
        file.write_all(bytes)?;
        checkpoint("atomic:written");
        file.sync_all()?;
        drop(file);
        checkpoint("atomic:synced");
        rename_only(&beside, path)
    })();
    if let Err(error) = replaced {
        // The first failure is the one to tell.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    checkpoint("atomic:renamed");
    sync_dir(parent(path))?;
    checkpoint("atomic:done");
    Ok(())
}

fn create_beside(directory: &Path, name: &OsStr, private: bool) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if private { 0o600 } else { 0o644 });
    #[cfg(not(unix))]
    let _ = private;
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut beside = OsStr::new(".").to_owned();
        beside.push(name);
        beside.push(format!(".{}-{count}.new", std::process::id()));
        let beside = directory.join(beside);
        match options.open(&beside) {
            // A process of the same number died here before.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (beside, file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_stays_beside_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config");
        write(&path, b"old").expect("written");
        write(&path, b"new").expect("written again");
        append_line(&path, "line").expect("appended");
        append_line(&path, "next").expect("appended");
        assert_eq!(fs::read_to_string(&path).expect("there"), "new\nline\nnext\n");
        assert_eq!(names(directory.path()), ["config"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("taken");
        fs::create_dir_all(path.join("by a directory")).expect("a directory");
        write(&path, b"text").expect_err("a directory is there");
        assert_eq!(names(directory.path()), ["taken"]);
        write(&directory.path().join("absent/file"), b"").expect_err("no directory");
        write(Path::new("/"), b"").expect_err("no name");
    }

    #[cfg(debug_assertions)]
    #[test]
    fn a_crash_anywhere_leaves_the_old_content_or_the_new() {
        if let Some(path) = std::env::var_os("DRIPFEED_TEST_FILE") {
            write(Path::new(&path), b"new").expect("written");
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state");
        for (name, content, leftovers) in [
            ("atomic:written", "old", 1),
            ("atomic:synced", "old", 1),
            ("atomic:renamed", "new", 0),
            ("atomic:done", "new", 0),
        ] {
            write(&path, b"old").expect("written");
            let status = std::process::Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", "disk::atomic::tests::a_crash_anywhere_leaves_the_old_content_or_the_new"])
                .env("DRIPFEED_TEST_FILE", &path)
                .env("DRIPFEED_CHECKPOINT", name)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status()
                .expect("it runs");
            assert!(!status.success(), "{name} did not end it");
            assert_eq!(fs::read_to_string(&path).expect("there"), content, "{name}");
            assert_eq!(remove_leftovers(directory.path()).expect("removed"), leftovers, "{name}");
            assert_eq!(names(directory.path()), ["state"]);
        }
    }

    #[test]
    fn leftovers_are_removed_and_only_they() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in [".config.12-0.new", "config", ".hidden", "a.new"] {
            File::create(directory.path().join(name)).expect("a file");
        }
        assert_eq!(remove_leftovers(directory.path()).expect("removed"), 1);
        assert_eq!(names(directory.path()), [".hidden", "a.new", "config"]);
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let directory = tempfile::tempdir().expect("a directory");
        remove_file(&directory.path().join("absent")).expect("fine");
        remove_tree(&directory.path().join("absent")).expect("fine");
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_private_and_links_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).expect("there").permissions().mode() & 0o777;
        write_private(&at("key"), b"secret").expect("written");
        create_dir_private(&at("private/inner")).expect("made");
        create_dir_private(&at("private")).expect("already there");
        assert_eq!((mode("key"), mode("private"), mode("private/inner")), (0o600, 0o700, 0o700));

        fs::create_dir(at("kept")).expect("made");
        write(&at("kept/file"), b"x").expect("written");
        fs::create_dir(at("tree")).expect("made");
        symlink(at("kept"), at("tree/link")).expect("linked");
        symlink(at("kept"), at("link")).expect("linked");
        remove_tree(&at("tree")).expect("removed");
        remove_tree(&at("link")).expect("removed");
        assert_eq!(names(directory.path()), ["kept", "key", "private"]);
        assert!(at("kept/file").exists());
    }
}
