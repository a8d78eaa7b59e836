//! The work directory: the stock agent's layout, every change atomic (ocs-protocol 7.1).
//!
//! ```text
//! <state>/ocsinv.conf  ocsinv.adm  contact.json           identity, account, contacts (ours)
//! <state>/download/lock                                   one agent at a time; holds its process id
//!                  config                                 the settings that the server last sent
//!                  history                                packages that were executed with success, one id a line
//!                  <id>/since                             when it was first offered, seconds
//!                       offer                             where to fetch it, schedule, post-command, force (ours)
//!                       info                              as it was fetched
//!                       task, task_done                   names of missing fragments; "the list is complete"
//!                       <id>-<n>, <id>-<n>.part           fragments, and one that is under way (ours)
//!                       build/, tmp/                      the archive; what it unpacks to
//!                       started                           a command was started (ours): never start it again
//!                       done                              the result; stock: a flag
//!                       output, post, info_tries          captured output; "the post-command ran"; failed contacts (ours)
//!                       asked                             since when it could be executed, how often people put it off (ours)
//!                       fetch_failed                      why the last try to fetch a fragment failed (ours)
//!                       told                              the server has the result, and the directory would not go (ours)
//!                  .gone-<id>                             being removed
//! ```
//!
//! Reading believes nothing: whatever is torn, foreign or missing costs a download, never a wrong result.

mod fragments;
mod package;
mod stage;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

pub(crate) use self::stage::{Known, judge_info};
use crate::disk;
use crate::disk::lock::LockFile;
use crate::engine::TaskSeed;
use crate::model::limits::RequestLimits;
use crate::model::settings::DownloadSettings;
use crate::model::{Days, Minutes, PackageId, UnixTime};
use crate::protocol::xml::{self, Element};

/// The largest of our own small files: a task list of 100,000 names of 17 bytes.
const MAX_FILE: u64 = 4 << 20;

/// How often the lock is tried for, and what lies between: 200 ms in all.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why the work directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkDirError {
    /// A file or directory of it.
    #[error("failed to use {}: {source}; is the directory there, writable, and is room left?", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent.
    #[error("another agent works on {}: {problem}", path.display())]
    Locked {
        /// Which.
        path: PathBuf,
        /// Who.
        problem: String,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> WorkDirError {
    let path = path.to_owned();
    |source| WorkDirError::Io { path, source }
}

/// See the module's page.
#[derive(Clone, Debug)]
pub(crate) struct WorkDir {
    state: PathBuf,
    download: PathBuf,
}

impl WorkDir {
    /// Names it; looks at nothing.
    pub(crate) fn at(state: &Path) -> Self {
        Self { state: state.to_owned(), download: state.join("download") }
    }

    /// Makes what is missing. Nobody but us (and root) looks inside: commands and their output are in it.
    pub(crate) fn create(&self) -> Result<(), WorkDirError> {
        // The state directory may belong to a stock agent, with its own mode.
        for directory in [&self.state, &self.download] {
            if !directory.is_dir() {
                disk::atomic::create_dir_private(directory).map_err(at(directory))?;
            }
        }
        Ok(())
    }

    /// One agent at a time. A little patience, for one that is just ending.
    pub(crate) fn lock(&self) -> Result<LockFile, WorkDirError> {
        let path = self.download.join("lock");
        for _ in 0..LOCK_TRIES {
            if let Ok(lock) = LockFile::acquire(&path) {
                return Ok(lock);
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        LockFile::acquire(&path).map_err(|error| {
            let mut problem = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                let _ = write!(problem, ": {inner}");
                source = inner.source();
            }
            WorkDirError::Locked { path, problem }
        })
    }

    /// Ends the removals and the writing that a crash cut. Only with the lock. What cannot be removed stays, and is in
    /// nobody's way but that of its own package.
    pub(crate) fn sweep(&self) -> Result<(), WorkDirError> {
        let stays = |path: &Path, error: &dyn std::fmt::Display| {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        };
        for name in self.names()?.into_iter().filter(|name| name.starts_with(".gone-")) {
            let path = self.download.join(name);
            disk::atomic::remove_tree(&path).unwrap_or_else(|error| stays(&path, &error));
        }
        let directories = self.directories()?.into_iter().map(|package| self.package(package));
        for directory in directories.filter(PackageDir::was_told) {
            directory.remove().unwrap_or_else(|error| stays(directory.path(), &error));
        }
        let packages = self.packages()?.into_iter().map(|package| self.package(package).path);
        for directory in [self.state.clone(), self.download.clone()].into_iter().chain(packages) {
            if let Err(error) = disk::atomic::remove_leftovers(&directory) {
                stays(&directory, &error);
            }
        }
        Ok(())
    }

    /// Where identity and account lie.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// What the server last said of the pace; the defaults if it never did.
    pub(crate) fn settings(&self) -> DownloadSettings {
        read_small(&self.download.join("config"))
            .and_then(|document| xml::parse(&document, &RequestLimits::DEFAULT).ok())
            .map(|conf| settings_of(&conf))
            .unwrap_or_default()
    }

    /// Keeps what the server said of the pace.
    pub(crate) fn keep_settings(&self, settings: &DownloadSettings) -> Result<(), WorkDirError> {
        let path = self.download.join("config");
        let text = format!(
            "<CONF CYCLE_LATENCY=\"{}\" EXECUTION_TIMEOUT=\"{}\" FRAG_LATENCY=\"{}\" ON=\"{}\" PERIOD_LATENCY=\"{}\" \
             PERIOD_LENGTH=\"{}\" TIMEOUT=\"{}\" TYPE=\"CONF\" />\n",
            settings.cycle_latency,
            settings.execution_timeout,
            settings.fragment_latency,
            u8::from(settings.on),
            settings.period_latency,
            settings.period_length,
            settings.timeout,
        );
        disk::atomic::write_private(&path, text.as_bytes()).map_err(at(&path))?;
        disk::checkpoint("agent.settings.stored");
        Ok(())
    }

    /// The packages that were executed here with success, in the order in which they were.
    pub(crate) fn history(&self) -> Result<Vec<PackageId>, WorkDirError> {
        let path = self.download.join("history");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(WorkDirError::Io { path, source }),
        };
        let mut seen = BTreeSet::new();
        // A stock agent appends without care: a torn last line is no id.
        let ids = String::from_utf8_lossy(&bytes);
        Ok(ids.lines().filter_map(|line| line.trim().parse().ok()).filter(|id| seen.insert(*id)).collect())
    }

    /// Adds a package, once.
    pub(crate) fn add_to_history(&self, package: PackageId) -> Result<(), WorkDirError> {
        let mut history = self.history()?;
        if !history.contains(&package) {
            history.push(package);
            let text = history.iter().fold(String::new(), |mut text, id| {
                let _ = writeln!(text, "{id}");
                text
            });
            let path = self.download.join("history");
            disk::atomic::write_private(&path, text.as_bytes()).map_err(at(&path))?;
        }
        disk::checkpoint("agent.history.stored");
        Ok(())
    }

    /// Every package that is under way, ascending.
    pub(crate) fn packages(&self) -> Result<Vec<PackageId>, WorkDirError> {
        let mut packages = self.directories()?;
        packages.retain(|package| !self.package(*package).was_told());
        Ok(packages)
    }

    /// Every package that has a directory, ascending.
    fn directories(&self) -> Result<Vec<PackageId>, WorkDirError> {
        let mut packages: Vec<PackageId> = Vec::new();
        for name in self.names()? {
            // A link could lead anywhere, and a stock agent makes none.
            if let Ok(package) = name.parse::<PackageId>()
                && fs::symlink_metadata(self.download.join(&name)).is_ok_and(|metadata| metadata.is_dir())
            {
                packages.push(package);
            }
        }
        packages.sort_unstable();
        Ok(packages)
    }

    /// One package's directory, whether it is there or not.
    pub(crate) fn package(&self, package: PackageId) -> PackageDir<'_> {
        PackageDir { work: self, package, path: self.download.join(package.to_string()) }
    }

    /// What the engine starts with, rebuilt from any state. Decides what a crash left undecided: an execution that was
    /// cut gets its result here, and a success that was not written to the history is. Only of the packages that are
    /// wanted.
    pub(crate) fn seeds(
        &self,
        now: UnixTime,
        zone: &TimeZone,
        wanted: impl Fn(PackageId) -> bool,
    ) -> Result<Vec<TaskSeed>, WorkDirError> {
        let packages = self.packages()?.into_iter().filter(|package| wanted(*package));
        packages.map(|package| self.package(package).seed(now, zone)).collect()
    }

    fn names(&self) -> Result<Vec<String>, WorkDirError> {
        let entries = match fs::read_dir(&self.download) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(WorkDirError::Io { path: self.download.clone(), source }),
        };
        // A name that is not UTF-8 is no name of ours.
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }
}

/// One package's directory: what is written down about it (`package`), which fragments are there (`fragments`), and how
/// far that is (`stage`).
#[derive(Clone, Debug)]
pub(crate) struct PackageDir<'a> {
    work: &'a WorkDir,
    package: PackageId,
    path: PathBuf,
}

/// `CONF`, from a file of ours or of a stock agent's: what is missing is the stock agent's fallback, and no `TIMEOUT`
/// is not "at once" (ocs-protocol 4.1).
fn settings_of(conf: &Element) -> DownloadSettings {
    let number = |name, fallback| conf.value(name).and_then(|text| text.trim().parse().ok()).unwrap_or(fallback);
    let default = DownloadSettings::default();
    DownloadSettings {
        on: number("ON", 1) != 0,
        fragment_latency: number("FRAG_LATENCY", default.fragment_latency),
        cycle_latency: number("CYCLE_LATENCY", default.cycle_latency),
        period_latency: number("PERIOD_LATENCY", default.period_latency),
        period_length: number("PERIOD_LENGTH", default.period_length).max(1),
        timeout: Days(number("TIMEOUT", default.timeout.0).max(1)),
        execution_timeout: Minutes(number("EXECUTION_TIMEOUT", default.execution_timeout.0).max(1)),
    }
}

fn read_small(path: &Path) -> Option<Vec<u8>> {
    read_bounded(path, MAX_FILE)
}

/// `None` for what is not there, is no file, is larger, or cannot be read.
fn read_bounded(path: &Path, limit: u64) -> Option<Vec<u8>> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    u64::try_from(bytes.len()).is_ok_and(|length| length <= limit).then_some(bytes)
}
