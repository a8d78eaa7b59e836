//! STORE: everything in the package is copied to a directory, files with a leading dot too (the stock Unix agent's
//! `cp -pr *` forgets those at the top and breaks at a blank in the path, ocs-protocol 13.2).
//!
//! Each file appears whole: it is written beside its name and renamed over what stands there, so that a program which is
//! running keeps its old file and a link is replaced, not written through. Directories that are there keep their mode; a
//! link that stands where the package has a directory is refused (decision 0153).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use super::ExecuteError;
use crate::agent::beneath::{self, Directory, Kind, Status};
use crate::disk;
use crate::model::PackageId;

/// Copies what is in `from` to `to`, making `to` and what is missing above it (0755).
pub(super) fn store(from: &Path, to: &Path, package: PackageId, stop: &dyn Fn() -> bool) -> Result<(), ExecuteError> {
    let failed = |source| ExecuteError::Store { path: to.to_owned(), source };
    let source = Directory::open(from).map_err(failed)?;
    beneath::builder(0o755).recursive(true).create(to).map_err(failed)?;
    let target = Directory::open_following(to).map_err(failed)?;
    let mut copy =
        Copy { root: target.reopen().map_err(failed)?, temporary: temporary(package), shared: HashMap::new(), stop };
    let mut path = Vec::new();
    copy.directory(&source, &target, &mut path).map_err(|source| {
        if copy.is_stopped(&source) {
            return ExecuteError::Stopped { command: format!("store to {}", to.display()) };
        }
        ExecuteError::Store { path: path.iter().fold(to.to_owned(), |path, name| path.join(name)), source }
    })?;
    // A result that the server takes must outlive a power cut (DESIGN.md, promise 3).
    target.sync().map_err(failed)
}

fn temporary(package: PackageId) -> OsString {
    OsString::from(format!(".dripfeed-{package}.part"))
}

struct Copy<'a> {
    root: Directory,
    /// The name under which a file is written before it gets its own.
    temporary: OsString,
    /// Where files with several names went: the further names become names of the copy.
    shared: HashMap<(i128, i128), Vec<OsString>>,
    stop: &'a dyn Fn() -> bool,
}

impl Copy<'_> {
    /// On failure `path` says where.
    fn directory(&mut self, from: &Directory, to: &Directory, path: &mut Vec<OsString>) -> io::Result<()> {
        let mut names = from.names()?;
        names.sort_unstable();
        for name in names {
            if (self.stop)() {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            path.push(name.clone());
            let status = from.status(&name)?;
            match status.kind {
                Kind::Directory => {
                    let (child, made) = to.make_child(&name)?;
                    self.directory(&from.child(&name)?, &child, path)?;
                    if made {
                        child.set_mode(status.mode)?;
                    }
                }
                Kind::File => self.file(from, to, &name, status, path)?,
                Kind::Link => self.place(to, &name, |to, temporary| to.symlink(&from.read_link(&name)?, temporary))?,
                Kind::Other => return Err(io::Error::from(io::ErrorKind::Unsupported)),
            }
            disk::checkpoint("agent.store.placed");
            path.pop();
        }
        Ok(())
    }

    fn file(
        &mut self,
        from: &Directory,
        to: &Directory,
        name: &OsStr,
        status: Status,
        path: &[OsString],
    ) -> io::Result<()> {
        let first = status.shared.and_then(|shared| self.shared.get(&shared));
        if let Some((first_name, parents)) = first.and_then(|first| first.split_last()) {
            let mut directory = self.root.reopen()?;
            for parent in parents {
                directory = directory.child(parent)?;
            }
            return self.place(to, name, |to, temporary| to.hard_link(&directory, first_name, temporary));
        }
        self.place(to, name, |to, temporary| {
            let mut output = to.create_file(temporary)?;
            io::copy(&mut from.open_file(name)?, &mut output)?;
            Directory::set_file_mode(&output, status.mode)
        })?;
        if let Some(shared) = status.shared {
            self.shared.insert(shared, path.to_vec());
        }
        Ok(())
    }

    /// Makes something beside its name, then gives it the name.
    fn place(
        &self,
        to: &Directory,
        name: &OsStr,
        make: impl Fn(&Directory, &OsStr) -> io::Result<()>,
    ) -> io::Result<()> {
        disk::claim_room()?;
        let temporary = self.temporary.as_os_str();
        let written = match make(to, temporary) {
            // Left by a run that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                to.remove_file(temporary)?;
                make(to, temporary)
            }
            other => other,
        };
        disk::checkpoint("agent.store.written");
        let placed = written.and_then(|()| to.replace(temporary, name));
        // Also after a success: renaming a file over another name of itself does nothing.
        match to.remove_file(temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => placed.and(Err(error)),
            _ => placed,
        }
    }

    fn is_stopped(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::Interrupted && (self.stop)()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    struct Case {
        root: tempfile::TempDir,
    }

    impl Case {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("directory");
            fs::create_dir(root.path().join("from")).expect("directory");
            Self { root }
        }

        fn from(&self, name: &str) -> PathBuf {
            self.root.path().join("from").join(name)
        }

        fn to(&self, name: &str) -> PathBuf {
            self.root.path().join("to").join(name)
        }

        fn write(&self, name: &str, content: &str, mode: u32) {
            let path = self.from(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::File::create(&path)
                .and_then(|mut file| io::Write::write_all(&mut file, content.as_bytes()))
                .expect("file");
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("mode");
        }

        fn run(&self) -> Result<(), ExecuteError> {
            store(&self.from(""), &self.to(""), PackageId::new(7).expect("id"), &|| false)
        }

        /// Every name below `to`, with its mode and content.
        fn stored(&self) -> String {
            let mut lines = Vec::new();
            let mut todo = vec![self.to("")];
            while let Some(directory) = todo.pop() {
                for entry in fs::read_dir(&directory).expect("directory") {
                    let path = entry.expect("entry").path();
                    let metadata = fs::symlink_metadata(&path).expect("metadata");
                    let name = path.strip_prefix(self.to("")).expect("below").display().to_string();
                    let what = if metadata.is_symlink() {
                        format!("-> {}", fs::read_link(&path).expect("link").display())
                    } else if metadata.is_dir() {
                        todo.push(path);
                        format!("{:o} directory", metadata.mode() & 0o7777)
                    } else {
                        format!("{:o} {}", metadata.mode() & 0o7777, fs::read_to_string(&path).expect("text"))
                    };
                    lines.push((name, what));
                }
            }
            lines.sort();
            lines.iter().map(|(name, what)| format!("{name}: {what}")).collect::<Vec<_>>().join("\n")
        }
    }

    #[test]
    fn everything_is_copied_with_its_mode_dot_files_too() {
        let case = Case::new();
        case.write("setup.sh", "#!", 0o755);
        case.write(".hidden", "dot", 0o600);
        case.write("deep/er/file with blank", "x", 0o644);
        fs::create_dir(case.from("empty")).expect("directory");
        fs::set_permissions(case.from("deep"), PermissionsExt::from_mode(0o750)).expect("mode");
        symlink("deep/er", case.from("link")).expect("link");
        symlink("nowhere", case.from("dangling")).expect("link");
        case.run().expect("stored");
        insta::assert_snapshot!(case.stored(), @r"
        .hidden: 600 dot
        dangling: -> nowhere
        deep: 750 directory
        deep/er: 755 directory
        deep/er/file with blank: 644 x
        empty: 755 directory
        link: -> deep/er
        setup.sh: 755 #!
        ");
    }

    #[test]
    fn missing_directories_and_blanks_in_the_path_are_no_obstacle() {
        let case = Case::new();
        case.write("a", "1", 0o644);
        let to = case.to("not there/yet it is");
        store(&case.from(""), &to, PackageId::new(7).expect("id"), &|| false).expect("stored");
        assert_eq!(fs::read_to_string(to.join("a")).expect("file"), "1");
    }

    #[test]
    fn an_empty_package_stores_nothing_and_succeeds() {
        let case = Case::new();
        case.run().expect("stored");
        assert_eq!(case.stored(), "");
        assert!(case.to("").is_dir());
    }

    #[test]
    fn links_at_the_target_are_replaced_not_written_through() {
        let case = Case::new();
        case.write("config", "new", 0o644);
        fs::create_dir(case.to("")).expect("directory");
        let outside = case.root.path().join("outside");
        fs::File::create(&outside).expect("file");
        symlink(&outside, case.to("config")).expect("link");
        case.run().expect("stored");
        assert_eq!(case.stored(), "config: 644 new");
        assert_eq!(fs::read_to_string(outside).expect("file"), "", "written through the link");
    }

    #[test]
    fn a_link_where_a_directory_is_needed_is_refused() {
        let case = Case::new();
        case.write("etc/passwd", "evil", 0o644);
        fs::create_dir(case.to("")).expect("directory");
        let outside = case.root.path().join("outside");
        fs::create_dir(&outside).expect("directory");
        symlink(&outside, case.to("etc")).expect("link");
        let error = case.run().expect_err("a link stands there");
        assert_eq!(error.result_code().as_str(), "ERR_EXECUTE");
        assert!(error.to_string().ends_with("/to/etc"), "{error}");
        assert_eq!(fs::read_dir(outside).expect("directory").count(), 0, "written through the link");
    }

    #[test]
    fn a_directory_that_is_there_keeps_its_mode() {
        let case = Case::new();
        case.write("private/a", "1", 0o644);
        fs::create_dir_all(case.to("private")).expect("directory");
        fs::set_permissions(case.to("private"), PermissionsExt::from_mode(0o700)).expect("mode");
        case.run().expect("stored");
        assert_eq!(case.stored(), "private: 700 directory\nprivate/a: 644 1");
    }

    #[test]
    fn a_file_that_is_open_keeps_its_old_content() {
        let case = Case::new();
        case.write("tool", "new", 0o755);
        fs::create_dir(case.to("")).expect("directory");
        fs::File::create(case.to("tool")).and_then(|mut file| io::Write::write_all(&mut file, b"old")).expect("file");
        let mut open = fs::File::open(case.to("tool")).expect("file");
        case.run().expect("stored");
        let mut text = String::new();
        io::Read::read_to_string(&mut open, &mut text).expect("read");
        assert_eq!((text.as_str(), case.stored().as_str()), ("old", "tool: 755 new"));
    }

    #[test]
    fn names_of_one_file_stay_names_of_one_file() {
        let case = Case::new();
        case.write("lib/a", "same", 0o644);
        fs::hard_link(case.from("lib/a"), case.from("b")).expect("link");
        // Twice: the second run renames a file over another name of itself.
        for _ in 0..2 {
            case.run().expect("stored");
            let inode = |name: &str| fs::metadata(case.to(name)).expect("metadata").ino();
            assert_eq!(inode("lib/a"), inode("b"));
            assert_eq!(case.stored(), "b: 644 same\nlib: 755 directory\nlib/a: 644 same");
        }
    }

    #[test]
    fn what_a_killed_run_left_is_no_obstacle() {
        let case = Case::new();
        case.write("a", "1", 0o644);
        fs::create_dir(case.to("")).expect("directory");
        fs::File::create(case.to(".dripfeed-7.part")).expect("file");
        case.run().expect("stored");
        assert_eq!(case.stored(), "a: 644 1");
    }

    #[test]
    fn a_directory_where_a_file_is_needed_is_refused_and_nothing_is_left_beside_it() {
        let case = Case::new();
        case.write("a", "1", 0o644);
        fs::create_dir_all(case.to("a")).expect("directory");
        assert_eq!(case.run().expect_err("refused").result_code().as_str(), "ERR_EXECUTE");
        assert_eq!(case.stored(), "a: 755 directory");
    }

    #[test]
    fn a_stop_ends_the_copying() {
        let case = Case::new();
        case.write("a", "1", 0o644);
        let error = store(&case.from(""), &case.to(""), PackageId::new(7).expect("id"), &|| true);
        assert_eq!(error.expect_err("stopped").result_code().as_str(), "ERR_EXECUTE_INTERRUPTED");
    }
}
