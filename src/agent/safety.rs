//! Who could make this program do something else? Before it does anything as root.
//!
//! Whoever may write to the program, to its configuration, to its state, or to a directory above one of them, may run
//! commands as whoever runs the agent. So none of these may be writable by others; nor by a group or owned by a user other
//! than the one who runs it (or root), when that is root. A directory with the sticky bit (`/tmp`) lets nobody replace what
//! is not theirs.
//!
//! On Windows everybody may make directories in `%ProgramData%`: a data directory that somebody else put there first is a
//! trap. Its owner must be the system, an administrator or who runs the agent; who else may write there was settled when it
//! was made (decision 232).

use std::io;
use std::path::{Path, PathBuf};

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum SafetyError {
    /// Somebody else may write there.
    #[error("{} {problem}: whoever that is could run commands as this user; {remedy}", path.display())]
    Open {
        /// What is open.
        path: PathBuf,
        /// To whom.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// It cannot be looked at.
    #[error("failed to find out who may write to {}: {source}", path.display())]
    Look {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Refuses a path that somebody else may write to, or whose parents somebody else may; what is not there yet is judged by
/// its parents.
#[cfg(unix)]
pub(crate) fn check(path: &Path) -> Result<(), SafetyError> {
    let user = rustix::process::geteuid().as_raw();
    let look = |path: &Path, source| SafetyError::Look { path: path.to_owned(), source };
    let mut present = path;
    let real = loop {
        match present.canonicalize() {
            Ok(real) => break real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => match present.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => present = parent,
                _ => break Path::new(".").canonicalize().map_err(|source| look(path, source))?,
            },
            Err(source) => return Err(look(present, source)),
        }
    };
    for ancestor in real.ancestors() {
        let metadata = std::fs::metadata(ancestor).map_err(|source| look(ancestor, source))?;
        let file = Modes::of(&metadata);
        if let Some((problem, remedy)) = file.problem(user) {
            return Err(SafetyError::Open { path: ancestor.to_owned(), problem, remedy });
        }
    }
    Ok(())
}

/// Refuses a directory that belongs to somebody else. Files are not looked at: who may write to them is inherited from
/// where they lie.
#[cfg(windows)]
pub(crate) fn check(path: &Path) -> Result<(), SafetyError> {
    if !path.is_dir() {
        return Ok(());
    }
    match crate::disk::is_trusted(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SafetyError::Open {
            path: path.to_owned(),
            problem: "belongs to somebody else".to_owned(),
            remedy: "remove it, or give it to Administrators".to_owned(),
        }),
        Err(source) => Err(SafetyError::Look { path: path.to_owned(), source }),
    }
}

#[cfg(unix)]
#[derive(Clone, Copy)]
struct Modes {
    mode: u32,
    owner: u32,
    group: u32,
    is_directory: bool,
}

#[cfg(unix)]
impl Modes {
    fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { mode: metadata.mode(), owner: metadata.uid(), group: metadata.gid(), is_directory: metadata.is_dir() }
    }

    /// What is wrong for a program of that user, and what helps.
    fn problem(self, user: u32) -> Option<(String, String)> {
        let is_sticky = self.is_directory && self.mode & 0o1000 != 0;
        if self.mode & 0o002 != 0 && !is_sticky {
            return Some(("may be written to by everybody".to_owned(), "chmod o-w it, or use another".to_owned()));
        }
        // Somebody who runs the agent for themselves decides about their own groups.
        if user == 0 && self.mode & 0o020 != 0 && self.group != 0 && !is_sticky {
            return Some((
                format!("may be written to by group {}", self.group),
                "chmod g-w it, or use another".to_owned(),
            ));
        }
        (self.owner != 0 && self.owner != user).then(|| {
            (format!("belongs to user {}", self.owner), "chown it to whoever runs the agent, or use another".to_owned())
        })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn who_else_may_write_is_found_out() {
        let judge = |mode: u32, owner: u32, group: u32, user: u32| {
            let modes = Modes { mode, owner, group, is_directory: true };
            modes.problem(user).map_or_else(|| "fine".to_owned(), |(problem, _)| problem)
        };
        let told = [
            judge(0o755, 0, 0, 0),
            judge(0o1777, 0, 0, 0),
            judge(0o777, 0, 0, 0),
            judge(0o775, 0, 0, 0),
            judge(0o775, 0, 100, 0),
            judge(0o775, 1000, 100, 1000),
            judge(0o755, 1000, 100, 0),
            judge(0o755, 1001, 100, 1000),
            judge(0o755, 0, 0, 1000),
        ];
        insta::assert_snapshot!(told.join("\n"), @r"
        fine
        fine
        may be written to by everybody
        fine
        may be written to by group 100
        fine
        belongs to user 1000
        belongs to user 1001
        fine
        ");
    }

    #[test]
    fn a_directory_above_counts_and_what_is_not_there_yet_is_judged_by_it() {
        let home = tempfile::tempdir().expect("a directory");
        let inner = home.path().join("open/inner");
        std::fs::create_dir_all(&inner).expect("made");
        check(&inner.join("not/there/yet")).expect("closed");
        std::fs::set_permissions(home.path().join("open"), std::fs::Permissions::from_mode(0o777)).expect("opened");
        for path in [inner.clone(), inner.join("not/there/yet")] {
            let error = check(&path).expect_err("open").to_string();
            assert!(error.contains("open may be written to by everybody: whoever"), "{error}");
        }
    }
}
