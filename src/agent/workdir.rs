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
//!                  .gone-<id>                             being removed
//! ```
//!
//! Reading believes nothing: whatever is torn, foreign or missing costs a download, never a wrong result.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::identity::escaped;
use crate::disk;
use crate::disk::lock::LockFile;
use crate::engine::{Stage, TaskInfo, TaskSeed};
use crate::model::limits::{ReplyLimits, RequestLimits};
use crate::model::settings::DownloadSettings;
use crate::model::{
    Days, FragmentCount, FragmentNumber, FragmentPlan, Location, Minutes, Outcome, PackageId, PostCommand, Priority,
    ResultCode, Schedule, TreeKey, UnixTime,
};
use crate::protocol::xml::{self, Element};
use crate::protocol::{Info, InfoError, Offer};

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

    /// Ends the removals and the writing that a crash cut. Only with the lock.
    pub(crate) fn sweep(&self) -> Result<(), WorkDirError> {
        let packages = self.packages()?.into_iter().map(|package| self.package(package).path);
        for directory in [self.state.clone(), self.download.clone()].into_iter().chain(packages) {
            disk::atomic::remove_leftovers(&directory).map_err(at(&directory))?;
        }
        for name in self.names()? {
            if name.starts_with(".gone-") {
                let path = self.download.join(name);
                disk::atomic::remove_tree(&path).map_err(at(&path))?;
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

    /// Every package that has a directory, ascending.
    pub(crate) fn packages(&self) -> Result<Vec<PackageId>, WorkDirError> {
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
    /// cut gets its result here, and a success that was not written to the history is.
    pub(crate) fn seeds(&self, now: UnixTime, zone: &TimeZone) -> Result<Vec<TaskSeed>, WorkDirError> {
        self.packages()?.into_iter().map(|package| self.package(package).seed(now, zone)).collect()
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

/// What is known of a package beside the engine's words.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// No info file yet, or one that is not XML.
    Nothing,
    /// The info file.
    Info(Box<Info>),
    /// An info file that can never be carried out.
    Refused(ResultCode),
}

/// One package's directory.
#[derive(Clone, Debug)]
pub(crate) struct PackageDir<'a> {
    work: &'a WorkDir,
    package: PackageId,
    path: PathBuf,
}

impl PackageDir<'_> {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub(crate) fn id(&self) -> PackageId {
        self.package
    }

    /// Is there such a directory?
    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the directory for a package that is new here, or takes the newest word about one that is known.
    pub(crate) fn offer(&self, offer: &Offer, now: UnixTime) -> Result<(), WorkDirError> {
        self.create(now)?;
        let path = self.path.join("offer");
        let text = format!(
            "<PARAM TYPE=\"PACK\" ID=\"{}\" INFO_LOC=\"{}\" PACK_LOC=\"{}\" MORE_LOCS=\"{}\" SCHEDULE=\"{}\" POSTCMD=\"{}\" FORCE=\"{}\" />\n",
            offer.package,
            escaped(offer.info_location.as_str()),
            escaped(offer.fragment_location.as_str()),
            escaped(&offer.more_locations.iter().map(Location::as_str).collect::<Vec<_>>().join(" ")),
            offer.schedule.as_ref().map_or("", Schedule::as_str),
            escaped(offer.post_command.as_ref().map_or("", PostCommand::as_str)),
            u8::from(offer.force),
        );
        if read_small(&path).as_deref() != Some(text.as_bytes()) {
            disk::atomic::write_private(&path, text.as_bytes()).map_err(at(&path))?;
        }
        disk::checkpoint("agent.offer.stored");
        Ok(())
    }

    /// What the server last said about it; `None` in a directory that a stock agent left.
    pub(crate) fn offered(&self) -> Option<Offer> {
        let document = read_small(&self.path.join("offer"))?;
        let param = xml::parse(&document, &RequestLimits::DEFAULT).ok()?;
        Some(Offer {
            package: self.package,
            info_location: param.value("INFO_LOC")?.parse::<Location>().ok()?,
            fragment_location: param.value("PACK_LOC")?.parse::<Location>().ok()?,
            more_locations: param
                .value("MORE_LOCS")
                .unwrap_or_default()
                .split_ascii_whitespace()
                .filter_map(|text| text.parse().ok())
                .take(Offer::MAX_MORE_LOCATIONS)
                .collect(),
            schedule: param.value("SCHEDULE").and_then(|text| text.parse().ok()),
            post_command: param.value("POSTCMD").and_then(|text| text.parse().ok()),
            force: param.value("FORCE") == Some("1"),
        })
    }

    /// When it was first offered.
    fn since(&self) -> Option<UnixTime> {
        let text = read_small(&self.path.join("since"))?;
        let seconds = std::str::from_utf8(&text).ok()?.trim().parse::<i64>().ok()?;
        Some(UnixTime::from_seconds(seconds))
    }

    fn create(&self, now: UnixTime) -> Result<(), WorkDirError> {
        if !self.exists() {
            disk::atomic::create_dir_private(&self.path).map_err(at(&self.path))?;
            disk::checkpoint("agent.offer.created");
        }
        if self.since().is_none() {
            let path = self.path.join("since");
            disk::atomic::write_private(&path, now.seconds().to_string().as_bytes()).map_err(at(&path))?;
        }
        Ok(())
    }

    /// Takes the info file, and the list of all fragments as what is missing.
    pub(crate) fn store_info(&self, document: &[u8], fragments: FragmentCount) -> Result<(), WorkDirError> {
        let path = self.path.join("info");
        disk::atomic::write_private(&path, document).map_err(at(&path))?;
        disk::checkpoint("agent.info.stored");
        self.write_task(&fragments.numbers().collect::<Vec<_>>())
    }

    /// What the info file says.
    pub(crate) fn known(&self) -> Known {
        let path = self.path.join("info");
        let limit = u64::try_from(ReplyLimits::DEFAULT.info).unwrap_or(u64::MAX);
        match read_bounded(&path, limit) {
            None => Known::Nothing,
            Some(document) => judge_info(self.package, &document),
        }
    }

    /// How many contacts tried in vain to fetch the info file.
    fn info_tries(&self) -> u32 {
        let text = read_small(&self.path.join("info_tries"));
        text.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok()).unwrap_or(0)
    }

    /// One more contact tried in vain.
    pub(crate) fn count_info_try(&self) -> Result<(), WorkDirError> {
        let path = self.path.join("info_tries");
        let tries = self.info_tries().saturating_add(1);
        disk::atomic::write_private(&path, tries.to_string().as_bytes()).map_err(at(&path))
    }

    /// Where a fragment lies.
    pub(crate) fn fragment(&self, number: FragmentNumber) -> PathBuf {
        self.path.join(TreeKey::Fragment { package: self.package, number }.file_name())
    }

    /// Where a fragment is collected.
    pub(crate) fn part(&self, number: FragmentNumber) -> PathBuf {
        self.path.join(format!("{}.part", TreeKey::Fragment { package: self.package, number }.file_name()))
    }

    /// The collected fragment gets its name, and then the list forgets it: a crash between fetches it again.
    pub(crate) fn fragment_came(&self, number: FragmentNumber, file: File) -> Result<(), WorkDirError> {
        let (part, path) = (self.part(number), self.fragment(number));
        file.sync_all().map_err(at(&part))?;
        disk::checkpoint("agent.fragment.synced");
        // Not every system renames a file that is open.
        drop(file);
        disk::atomic::rename(&part, &path).map_err(at(&path))?;
        disk::checkpoint("agent.fragment.stored");
        let left: Vec<FragmentNumber> =
            self.listed().into_iter().flatten().filter(|listed| *listed != number).collect();
        self.write_task(&left)?;
        disk::checkpoint("agent.fragment.listed");
        Ok(())
    }

    /// Fragments that turned out not to be there go back on the list.
    pub(crate) fn fragments_lost(&self, missing: &[FragmentNumber]) -> Result<(), WorkDirError> {
        self.write_task(missing)
    }

    /// The fragments that are to be fetched, ascending: those on the list, and those whose file is not there or empty.
    pub(crate) fn missing(&self, fragments: FragmentCount) -> Vec<FragmentNumber> {
        let Some(listed) = self.listed() else { return fragments.numbers().collect() };
        let present = self.present();
        fragments.numbers().filter(|number| listed.contains(number) || !present.contains(number)).collect()
    }

    /// The task list; `None` if it is not there or not complete, so that nothing is believed.
    fn listed(&self) -> Option<BTreeSet<FragmentNumber>> {
        if !self.path.join("task_done").is_file() {
            return None;
        }
        let text = read_small(&self.path.join("task"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let prefix = format!("{}-", self.package);
        Some(text.lines().filter_map(|line| line.trim().strip_prefix(&prefix)?.parse().ok()).collect())
    }

    /// The fragments that have a file with something in it: one look at the directory, not one for each.
    fn present(&self) -> BTreeSet<FragmentNumber> {
        let prefix = format!("{}-", self.package);
        let Ok(entries) = fs::read_dir(&self.path) else { return BTreeSet::new() };
        entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let number = entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok()?;
                let metadata = entry.metadata().ok()?;
                (metadata.is_file() && metadata.len() > 0).then_some(number)
            })
            .collect()
    }

    /// Bytes of all fragments.
    pub(crate) fn archive_size(&self, fragments: FragmentCount) -> io::Result<u64> {
        fragments
            .numbers()
            .try_fold(0_u64, |sum, number| Ok(sum.saturating_add(fs::metadata(self.fragment(number))?.len())))
    }

    fn write_task(&self, missing: &[FragmentNumber]) -> Result<(), WorkDirError> {
        let text = missing.iter().fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "{}-{number}", self.package);
            text
        });
        let path = self.path.join("task");
        disk::atomic::write_private(&path, text.as_bytes()).map_err(at(&path))?;
        let flag = self.path.join("task_done");
        if !flag.is_file() {
            disk::atomic::write_private(&flag, b"").map_err(at(&flag))?;
        }
        disk::checkpoint("agent.task.stored");
        Ok(())
    }

    /// Removes what an attempt to execute left, for the room that it takes.
    pub(crate) fn clear(&self) -> Result<(), WorkDirError> {
        for path in [self.path.join("build"), self.unpacked()] {
            disk::atomic::remove_tree(&path).map_err(at(&path))?;
        }
        Ok(())
    }

    /// An empty directory for the archive.
    pub(crate) fn fresh_build(&self) -> Result<PathBuf, WorkDirError> {
        let path = self.path.join("build");
        disk::atomic::remove_tree(&path).map_err(at(&path))?;
        disk::atomic::create_dir_private(&path).map_err(at(&path))?;
        Ok(path)
    }

    /// The archive is not needed any more.
    pub(crate) fn drop_build(&self) {
        // It goes with the package's directory at the latest.
        let _ = disk::atomic::remove_tree(&self.path.join("build"));
    }

    /// The fragments are not needed any more, for the room that they take.
    pub(crate) fn drop_fragments(&self) {
        for number in self.present() {
            // What stays goes with the package's directory.
            let _ = disk::atomic::remove_file(&self.fragment(number));
        }
    }

    /// Where the archive is unpacked to.
    pub(crate) fn unpacked(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Where the command's output is kept.
    pub(crate) fn output(&self) -> PathBuf {
        self.path.join("output")
    }

    /// Writes down that the command is about to be started.
    pub(crate) fn journal_start(&self, now: UnixTime) -> Result<(), WorkDirError> {
        let path = self.path.join("started");
        disk::atomic::write_private(&path, now.seconds().to_string().as_bytes()).map_err(at(&path))?;
        disk::checkpoint("agent.execute.journalled");
        Ok(())
    }

    /// Was the command ever started?
    pub(crate) fn was_started(&self) -> bool {
        self.path.join("started").exists()
    }

    /// Writes down that the post-command is about to be started; `false` if that was written down before.
    pub(crate) fn journal_post(&self, now: UnixTime) -> Result<bool, WorkDirError> {
        let path = self.path.join("post");
        if path.exists() {
            return Ok(false);
        }
        disk::atomic::write_private(&path, now.seconds().to_string().as_bytes()).map_err(at(&path))?;
        disk::checkpoint("agent.post.journalled");
        Ok(true)
    }

    /// The result, if there is one: the first line of `done`. A stock Unix agent's `done` is empty, and says only that
    /// it was a success whose exit code is lost.
    pub(crate) fn result(&self) -> Option<ResultCode> {
        let path = self.path.join("done");
        if fs::symlink_metadata(&path).is_err() {
            return None;
        }
        let Some(bytes) = read_small(&path) else { return Some(ResultCode::error("DONE_FAILED")) };
        let text = String::from_utf8_lossy(&bytes);
        Some(match text.lines().next().map(str::trim) {
            None | Some("") => ResultCode::from_wire("SUCCESS_"),
            Some(code) => ResultCode::from_wire(code),
        })
    }

    /// Keeps a result, and the success in the history. The first result stands: what was decided is not decided again.
    pub(crate) fn keep(&self, code: &ResultCode, now: UnixTime) -> Result<ResultCode, WorkDirError> {
        if let Some(kept) = self.result() {
            self.remember(&kept)?;
            return Ok(kept);
        }
        self.create(now)?;
        let path = self.path.join("done");
        disk::atomic::write_private(&path, format!("{code}\n").as_bytes()).map_err(at(&path))?;
        disk::checkpoint("agent.result.stored");
        self.remember(code)?;
        Ok(code.clone())
    }

    fn remember(&self, code: &ResultCode) -> Result<(), WorkDirError> {
        match code.outcome() {
            Outcome::Success => self.work.add_to_history(self.package),
            Outcome::AlreadyInstalled | Outcome::TimedOut | Outcome::Failure => Ok(()),
        }
    }

    /// Removes the directory: out of sight with one rename, then file by file.
    pub(crate) fn remove(&self) -> Result<(), WorkDirError> {
        let gone = self.work.download.join(format!(".gone-{}", self.package));
        disk::atomic::remove_tree(&gone).map_err(at(&gone))?;
        if self.exists() {
            disk::atomic::rename(&self.path, &gone).map_err(at(&self.path))?;
            disk::checkpoint("agent.forget.renamed");
            disk::atomic::remove_tree(&gone).map_err(at(&gone))?;
        }
        disk::checkpoint("agent.forget.removed");
        Ok(())
    }

    /// What the engine needs of info file and offer.
    pub(crate) fn task_info(&self, info: &Info, zone: &TimeZone) -> TaskInfo {
        let schedule = self.offered().and_then(|offer| offer.schedule);
        TaskInfo {
            priority: info.priority,
            fragments: info.fragments,
            not_before: schedule.and_then(|schedule| moment(&schedule, zone)),
        }
    }

    /// What the engine starts with.
    pub(crate) fn seed(&self, now: UnixTime, zone: &TimeZone) -> Result<TaskSeed, WorkDirError> {
        self.create(now)?;
        let stage = self.decide(now, zone)?;
        Ok(TaskSeed { package: self.package, since: self.since().unwrap_or(now), stage })
    }

    /// What the engine would start with, without deciding or writing anything: for looking ahead.
    pub(crate) fn peek(&self, now: UnixTime, zone: &TimeZone) -> TaskSeed {
        let known = self.known();
        let priority = match &known {
            Known::Info(info) => info.priority,
            Known::Nothing | Known::Refused(_) => Priority::DEFAULT,
        };
        let done = |code| Stage::Done { code, priority };
        let stage = match (self.result(), known) {
            (Some(code), _) | (None, Known::Refused(code)) => done(code),
            (None, _) if self.was_started() => done(ResultCode::error("EXECUTE_INTERRUPTED")),
            (None, Known::Nothing) => Stage::NeedsInfo { failed_contacts: self.info_tries() },
            (None, Known::Info(info)) => {
                Stage::Fetching { info: self.task_info(&info, zone), missing: self.missing(info.fragments) }
            }
        };
        TaskSeed { package: self.package, since: self.since().unwrap_or(now), stage }
    }

    fn decide(&self, now: UnixTime, zone: &TimeZone) -> Result<Stage, WorkDirError> {
        let known = self.known();
        let priority = match &known {
            Known::Info(info) => info.priority,
            Known::Nothing | Known::Refused(_) => Priority::DEFAULT,
        };
        if let Some(code) = self.result() {
            self.remember(&code)?;
            return Ok(Stage::Done { code, priority });
        }
        if self.was_started() {
            let code = self.keep(&ResultCode::error("EXECUTE_INTERRUPTED"), now)?;
            return Ok(Stage::Done { code, priority });
        }
        match known {
            Known::Nothing => Ok(Stage::NeedsInfo { failed_contacts: self.info_tries() }),
            Known::Refused(code) => Ok(Stage::Done { code: self.keep(&code, now)?, priority }),
            Known::Info(info) => {
                Ok(Stage::Fetching { info: self.task_info(&info, zone), missing: self.missing(info.fragments) })
            }
        }
    }
}

/// Reads an info file for a package; what is not XML is like none, for another fetch may bring better.
pub(crate) fn judge_info(package: PackageId, document: &[u8]) -> Known {
    match Info::parse(document) {
        Ok(info) if info.package != package => Known::Refused(ResultCode::error("BAD_ID")),
        Ok(info) if info.fragments.0 > FragmentPlan::MAX_FRAGMENTS => Known::Refused(ResultCode::error("BAD_PARAM")),
        // Without a digest there is nothing to prove the archive by.
        Ok(info) if info.fragments != FragmentCount::NONE && info.digest.is_none() && info.sha256.is_none() => {
            Known::Refused(ResultCode::error("BAD_DIGEST"))
        }
        Ok(info) => Known::Info(Box::new(info)),
        Err(InfoError::Xml(_) | InfoError::Root(_)) => Known::Nothing,
        Err(InfoError::Attribute { attribute: "ID", .. }) => Known::Refused(ResultCode::error("BAD_ID")),
        Err(InfoError::Digest(_)) => Known::Refused(ResultCode::error("BAD_DIGEST")),
        Err(InfoError::Action(_) | InfoError::Attribute { .. }) => Known::Refused(ResultCode::error("BAD_PARAM")),
    }
}

/// A minute of local time; one that a change of the clocks leaves out is the one after it.
pub(crate) fn moment(schedule: &Schedule, zone: &TimeZone) -> Option<UnixTime> {
    let (year, month, day, hour, minute) = schedule.parts();
    let local = DateTime::new(year, month, day, hour, minute, 0, 0).ok()?;
    let moment = zone.to_ambiguous_timestamp(local).compatible().ok()?;
    Some(UnixTime::from_millis(moment.as_millisecond()))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_795_164_551);
    const INFO: &str = r#"<DOWNLOAD ID="7" PRI="3" ACT="STORE" DIGEST="ddcae32db755f15ba869d671841b4abb" PROTO="HTTP" FRAGS="4" DIGEST_ALGO="MD5" DIGEST_ENCODE="Hexa" PATH="/srv" />"#;

    fn id(number: u32) -> PackageId {
        PackageId::new(number).expect("an id")
    }

    fn empty() -> (tempfile::TempDir, WorkDir) {
        let directory = tempfile::tempdir().expect("a directory");
        let work = WorkDir::at(&directory.path().join("state"));
        work.create().expect("made");
        (directory, work)
    }

    fn offer() -> Offer {
        Offer {
            package: id(7),
            info_location: "secure:8443/download".parse().expect("a location"),
            fragment_location: "clear/download".parse().expect("a location"),
            more_locations: vec!["near:8080/download".parse().expect("a location")],
            schedule: Some("2031/06/30 02:15".parse().expect("a schedule")),
            post_command: Some("echo \"a\" && b <c>".parse().expect("a command")),
            force: true,
        }
    }

    fn put(directory: &PackageDir<'_>, name: &str, bytes: &[u8]) {
        disk::atomic::write(&directory.path().join(name), bytes).expect("written");
    }

    fn stage(directory: &PackageDir<'_>) -> Stage {
        directory.seed(NOW, &TimeZone::UTC).expect("a seed").stage
    }

    #[test]
    fn what_was_written_is_read_again() {
        let (_keep, work) = empty();
        let directory = work.package(id(7));
        directory.offer(&offer(), NOW).expect("kept");
        assert_eq!(directory.offered(), Some(offer()));
        let plain = Offer { schedule: None, post_command: None, force: false, ..offer() };
        directory.offer(&plain, NOW.plus(Duration::from_hours(1))).expect("kept");
        assert_eq!(directory.offered(), Some(plain));
        assert_eq!(directory.since(), Some(NOW), "the first offer counts");

        let settings =
            DownloadSettings { on: false, cycle_latency: 7, timeout: Days(3), ..DownloadSettings::default() };
        assert_eq!(work.settings(), DownloadSettings::default());
        work.keep_settings(&settings).expect("kept");
        assert_eq!(work.settings(), settings);
    }

    #[test]
    fn what_is_missing_is_what_is_listed_and_what_has_no_bytes() {
        let (_keep, work) = empty();
        let directory = work.package(id(7));
        directory.offer(&offer(), NOW).expect("kept");
        let count = FragmentCount(4);
        let missing = || directory.missing(count).into_iter().map(FragmentNumber::number).collect::<Vec<_>>();
        assert_eq!(missing(), [1, 2, 3, 4], "no list");
        directory.store_info(INFO.as_bytes(), count).expect("kept");
        for number in 1..=4 {
            put(&directory, &format!("7-{number}"), b"x");
        }
        assert_eq!(missing(), [1, 2, 3, 4], "the list counts, not the files");
        put(&directory, "task", b"7-3\n8-1\n7-99\nhello\n");
        assert_eq!(missing(), [3], "what is foreign is passed over");
        put(&directory, "7-2", b"");
        assert_eq!(missing(), [2, 3], "an empty file is no fragment");
        disk::atomic::remove_file(&directory.path().join("task_done")).expect("removed");
        assert_eq!(missing(), [1, 2, 3, 4], "an unfinished list is none");
    }

    #[test]
    fn a_fragment_leaves_the_list_when_it_is_there() {
        let (_keep, work) = empty();
        let directory = work.package(id(7));
        directory.offer(&offer(), NOW).expect("kept");
        directory.store_info(INFO.as_bytes(), FragmentCount(2)).expect("kept");
        put(&directory, "7-1.part", b"bytes");
        // Windows flushes no file that is open for reading only.
        let file = File::options().append(true).open(directory.part(FragmentNumber::FIRST)).expect("a file");
        directory.fragment_came(FragmentNumber::FIRST, file).expect("named");
        assert_eq!(fs::read_to_string(directory.path().join("task")).expect("a list"), "7-2\n");
        assert_eq!(directory.missing(FragmentCount(2)), [FragmentNumber::FIRST.next()]);
    }

    #[test]
    fn the_first_result_stands_and_a_success_is_in_the_history_once() {
        let (_keep, work) = empty();
        let directory = work.package(id(7));
        let error = ResultCode::error("TIMEOUT");
        assert_eq!(directory.keep(&ResultCode::success(), NOW).expect("kept"), ResultCode::success());
        assert_eq!(directory.keep(&error, NOW).expect("kept"), ResultCode::success());
        assert_eq!(work.history().expect("a history"), [id(7)]);
        work.package(id(8)).keep(&error, NOW).expect("kept");
        work.package(id(9)).keep(&ResultCode::already_setup(), NOW).expect("kept");
        assert_eq!(work.history().expect("a history"), [id(7)]);
        // Ended between the result and the history.
        disk::atomic::remove_file(&work.download.join("history")).expect("removed");
        assert!(matches!(stage(&directory), Stage::Done { code, .. } if code == ResultCode::success()));
        assert_eq!(work.history().expect("a history"), [id(7)]);
    }

    #[test]
    fn results_of_stock_agents_are_read() {
        let (_keep, work) = empty();
        let directory = work.package(id(7));
        directory.offer(&offer(), NOW).expect("kept");
        assert_eq!(directory.result(), None);
        for (content, code) in [("", "SUCCESS_"), ("EXIT_CODE_3\r\noutput\r\n", "EXIT_CODE_3"), ("\n", "SUCCESS_")] {
            put(&directory, "done", content.as_bytes());
            assert_eq!(directory.result().expect("a result").as_str(), code);
        }
        disk::atomic::remove_file(&directory.path().join("done")).expect("removed");
        disk::atomic::create_dir_private(&directory.path().join("done")).expect("made");
        assert_eq!(directory.result().expect("a result").as_str(), "ERR_DONE_FAILED");
    }

    #[test]
    fn a_removal_that_was_cut_is_ended_at_the_next_start() {
        let (_keep, work) = empty();
        work.package(id(7)).offer(&offer(), NOW).expect("kept");
        disk::atomic::rename(&work.download.join("7"), &work.download.join(".gone-7")).expect("renamed");
        work.package(id(8)).offer(&offer(), NOW).expect("kept");
        put(&work.package(id(8)), ".task.new", b"half");
        work.sweep().expect("swept");
        assert!(!work.download.join(".gone-7").exists());
        assert!(!work.download.join("8/.task.new").exists());
        work.package(id(8)).remove().expect("removed");
        work.package(id(8)).remove().expect("twice is fine");
        assert_eq!(work.packages().expect("a directory"), []);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_foreign_in_the_directory_is_passed_over() {
        let (keep, work) = empty();
        for name in ["007", "abc", "4294967296", "7 ", "-1"] {
            disk::atomic::create_dir_private(&work.download.join(name)).expect("made");
        }
        disk::atomic::write(&work.download.join("12"), b"a file").expect("written");
        std::os::unix::fs::symlink(keep.path(), work.download.join("13")).expect("a link");
        assert_eq!(work.seeds(NOW, &TimeZone::UTC).expect("seeds"), []);
    }

    #[test]
    fn a_schedule_is_a_minute_of_local_time() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let at = |text: &str| moment(&text.parse().expect("a schedule"), &zone).expect("a moment").seconds();
        assert_eq!(at("2026/11/20 09:49"), 1_795_164_540);
        // On that day 02:30 does not exist: half past the hour after.
        assert_eq!(at("2026/03/29 02:30"), at("2026/03/29 03:30"));
        // On that day it exists twice: the first one.
        assert_eq!(at("2026/10/25 02:30"), at("2026/10/25 01:30") + 3600);
    }

    /// Files as a crash, a disk or a stranger may leave them.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(Vec::new()),
            Just(INFO.as_bytes().to_vec()),
            (0..INFO.len()).prop_map(|end| INFO.as_bytes()[..end].to_vec()),
            Just(b"7-1\n7-2\n".to_vec()),
            Just(b"99999999999999999999".to_vec()),
            Just(b"-1".to_vec()),
            Just(b"<CONF ON=\"1\" PERIOD_LENGTH=\"0\" TIMEOUT=\"x\" />".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..60),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_state_of_the_directory_is_loaded(
            files in proptest::collection::vec((0..11_usize, content()), 0..8)
        ) {
            const NAMES: [&str; 11] = [
                "since", "offer", "info", "task", "task_done", "started", "done", "info_tries", "7-1", "7-4", "7-2.part",
            ];
            let (_keep, work) = empty();
            let directory = work.package(id(7));
            disk::atomic::create_dir_private(directory.path()).expect("made");
            for (name, content) in &files {
                put(&directory, NAMES[*name], content);
                disk::atomic::write(&work.download.join("history"), content).expect("written");
                disk::atomic::write(&work.download.join("config"), content).expect("written");
            }
            prop_assert!(work.settings().period_length >= 1 && work.settings().timeout.0 >= 1);
            let ahead = directory.peek(NOW, &TimeZone::UTC);
            let seeds = work.seeds(NOW, &TimeZone::UTC).expect("seeds");
            prop_assert_eq!(&ahead.stage, &seeds[0].stage, "looking ahead sees what the start decides");
            prop_assert_eq!(seeds.len(), 1);
            let has = |name: &str| files.iter().any(|(at, _)| NAMES[*at] == name);
            match &seeds[0].stage {
                Stage::Fetching { info, missing } => {
                    prop_assert!(!has("started") && !has("done"));
                    prop_assert!(missing.iter().all(|number| info.fragments.contains(*number)));
                }
                Stage::Done { code, .. } if has("started") && !has("done") => {
                    prop_assert_eq!(code.as_str(), "ERR_EXECUTE_INTERRUPTED");
                }
                Stage::Done { .. } | Stage::NeedsInfo { .. } => {}
            }
            // What was decided once is decided.
            prop_assert_eq!(work.seeds(NOW, &TimeZone::UTC).expect("seeds"), seeds);
        }
    }
}
