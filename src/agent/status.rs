//! `dripfeed-agent status`: what the work directory says, without touching it.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::contact::Contacts;
use super::identity::{Identity, IdentityError};
use super::proof::{Heard, Regard};
use super::sources::Sources;
use super::workdir::{Known, PackageDir, WorkDir};
use super::{AgentError, WorkDirError};
use crate::config::agent::AgentConfig;
use crate::model::{PackageId, number_of};

/// What the agent knows of itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Status {
    /// Its name on the wire; `None` before the first run.
    pub device_id: Option<String>,
    /// What the server thinks of that name.
    pub identity: IdentityStatus,
    /// The server.
    pub server: String,
    /// Where its state lies.
    pub state_dir: String,
    /// Is deployment on?
    pub download: bool,
    /// The last contact that worked.
    pub last_contact: Option<String>,
    /// Why the last contact did not work.
    pub last_error: Option<String>,
    /// The next contact.
    pub next_contact: Option<String>,
    /// Contacts in a row that did not work.
    pub failed_contacts: u32,
    /// Every package under way.
    pub packages: Vec<PackageStatus>,
    /// How many of them have a result that the server has not taken yet.
    pub unsent_results: usize,
    /// Every source of fragments that ever failed, and how.
    pub sources: Vec<SourceStatus>,
    /// Packages that were executed here with success.
    pub history: Vec<u32>,
}

/// What the server said last of this computer's name, and the key that shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct IdentityStatus {
    /// `None` before the first answer.
    pub standing: Option<Regard>,
    /// Since when it says that.
    pub since: Option<String>,
    /// The public half of this computer's key.
    pub key: Option<String>,
}

/// A place that fragments come from, and that failed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct SourceStatus {
    /// The place; with a package's number behind it, if only that was missing or wrong there.
    pub source: String,
    /// Why it failed last.
    pub last_error: String,
    /// When.
    pub failed_at: String,
    /// In a row; 0 since it worked again.
    pub failures: u32,
    /// Another one is asked until then, if there is one.
    pub rests_until: Option<String>,
}

/// One package under way.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PackageStatus {
    /// Its number.
    pub id: u32,
    /// `waiting for info`, `downloading`, `to be executed`, `executing`, `to be reported`, `refused`.
    pub stage: &'static str,
    /// Launch, execute or store.
    pub action: Option<&'static str>,
    /// The pace.
    pub priority: Option<u32>,
    /// Fragments that are there.
    pub present: u32,
    /// Fragments in all.
    pub fragments: u32,
    /// Not before that local time.
    pub schedule: Option<String>,
    /// Since when it could be executed, if its question has a limit or waits for somebody; local time.
    pub ready_since: Option<String>,
    /// How often people put it off since then.
    pub put_off: u32,
    /// Why the last try to fetch a fragment failed, if it did.
    pub last_failure: Option<String>,
    /// The result that the server has not taken yet.
    pub result: Option<String>,
}

impl Status {
    /// Reads it. Needs no lock: every file appears whole.
    pub fn read(config: &AgentConfig) -> Result<Self, AgentError> {
        let work = WorkDir::at(&config.state_dir);
        let contacts = Contacts::read(&config.state_dir);
        let zone = TimeZone::system();
        let local = |seconds: Option<i64>| seconds.map(|seconds| spelled(seconds, &zone));
        let packages: Vec<PackageStatus> = work
            .packages()?
            .into_iter()
            .map(|package| PackageStatus::read(package.number(), &work.package(package), &zone))
            .collect();
        let sources = Sources::read(&config.state_dir);
        let sources = sources.iter().map(|(source, health)| SourceStatus {
            source: source.to_owned(),
            last_error: health.last_error.clone(),
            failed_at: spelled(health.failed_at, &zone),
            failures: health.failures,
            rests_until: local(Some(health.rests_until).filter(|until| *until > 0)),
        });
        Ok(Self {
            identity: identity_status(&config.state_dir, &zone),
            device_id: identity(&config.state_dir)?.map(|identity| identity.device_id.to_string()),
            server: config.server.clone(),
            state_dir: config.state_dir.display().to_string(),
            download: work.settings().on,
            last_contact: local(contacts.last_contact),
            last_error: contacts.last_error,
            next_contact: local(contacts.next_contact),
            failed_contacts: contacts.failures,
            unsent_results: packages.iter().filter(|package| package.result.is_some()).count(),
            packages,
            sources: sources.collect(),
            history: work.history()?.into_iter().map(PackageId::number).collect(),
        })
    }
}

impl PackageStatus {
    fn read(id: u32, directory: &PackageDir<'_>, zone: &TimeZone) -> Self {
        let asked = directory.asked_before();
        let known = directory.known();
        let info = match &known {
            Known::Info(info) => Some(info),
            Known::Nothing | Known::Refused(_) => None,
        };
        let fragments = info.map_or(0, |info| info.fragments.0);
        let missing = info.map_or(0, |info| u32::try_from(directory.missing(info.fragments).len()).unwrap_or(u32::MAX));
        let result = directory.result();
        let stage = match &known {
            _ if result.is_some() => "to be reported",
            _ if directory.was_started() => "executing",
            Known::Nothing => "waiting for info",
            Known::Refused(_) => "refused",
            Known::Info(_) if missing > 0 => "downloading",
            Known::Info(_) => "to be executed",
        };
        Self {
            id,
            stage,
            action: info.map(|info| info.action.as_str()),
            priority: info.map(|info| info.priority.number()),
            present: fragments.saturating_sub(missing),
            fragments,
            schedule: directory.offered().and_then(|offer| Some(offer.schedule?.to_string())),
            ready_since: asked.map(|asked| spelled(asked.since.seconds(), zone)),
            put_off: asked.map_or(0, |asked| asked.delays),
            last_failure: directory.last_failure(),
            result: result.map(|code| code.to_string()),
        }
    }

    /// What there is to say of it in a line.
    fn note(&self) -> String {
        if let Some(result) = &self.result {
            return result.clone();
        }
        if let Some(why) = &self.last_failure {
            return format!("the last try failed: {why}");
        }
        match (&self.ready_since, &self.schedule) {
            (Some(since), _) if self.put_off > 0 => {
                format!("ready since {since}, put off {}", number_of(self.put_off, "time"))
            }
            (Some(since), _) => format!("ready since {since}, waits for people"),
            (None, Some(schedule)) => format!("not before {schedule}"),
            (None, None) => "-".to_owned(),
        }
    }
}

fn identity(state_dir: &Path) -> Result<Option<Identity>, AgentError> {
    match Identity::read(state_dir) {
        // Another user's: say so, but as the work directory's fault.
        Err(IdentityError::Read { path, source }) => Err(WorkDirError::Io { path, source }.into()),
        other => Ok(other?),
    }
}

fn identity_status(state_dir: &Path, zone: &TimeZone) -> IdentityStatus {
    let Some(heard) = Heard::read(state_dir) else { return IdentityStatus::default() };
    IdentityStatus { standing: Some(heard.standing), since: Some(spelled(heard.since, zone)), key: Some(heard.key) }
}

impl fmt::Display for IdentityStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.standing, &self.since) {
            (Some(standing), Some(since)) => write!(f, "{standing} (since {since})"),
            (Some(standing), None) => write!(f, "{standing}"),
            (None, _) => f.write_str("not known before the first contact"),
        }
    }
}

pub(super) fn spelled(seconds: i64, zone: &TimeZone) -> String {
    let moment = Timestamp::from_second(seconds).unwrap_or_default().to_zoned(zone.clone());
    moment.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &Option<String>, none: &str| text.clone().unwrap_or_else(|| none.to_owned());
        writeln!(f, "device id     {}", or(&self.device_id, "none yet: it is made at the first run"))?;
        writeln!(f, "identity      {}", self.identity)?;
        writeln!(f, "server        {}", self.server)?;
        writeln!(f, "state         {}", self.state_dir)?;
        if !self.download {
            writeln!(f, "deployment    switched off by the server")?;
        }
        writeln!(f, "last contact  {}", or(&self.last_contact, "never"))?;
        if let Some(error) = &self.last_error {
            writeln!(f, "last failure  {error}")?;
        }
        writeln!(f, "next contact  {}", or(&self.next_contact, "at the next start"))?;
        match self.history.len() {
            1 => writeln!(f, "history       1 package executed here")?,
            n => writeln!(f, "history       {n} packages executed here")?,
        }
        if self.unsent_results > 0 {
            writeln!(f, "unsent        {} results wait for the server to take them", self.unsent_results)?;
        }
        for source in self.sources.iter().filter(|source| source.failures > 0) {
            let rests = source.rests_until.as_ref().map_or_else(String::new, |until| format!("; rests until {until}"));
            writeln!(
                f,
                "source        {} failed at {}: {}{rests}",
                source.source, source.failed_at, source.last_error
            )?;
        }
        if self.packages.is_empty() {
            return writeln!(f, "packages      none under way");
        }
        writeln!(f)?;
        writeln!(f, "package     stage             action   priority    fragments  result")?;
        for package in &self.packages {
            let fragments = match package.fragments {
                0 => "-".to_owned(),
                all => format!("{}/{all}", package.present),
            };
            writeln!(
                f,
                "{:<10}  {:<16}  {:<7}  {:>8}  {:>11}  {}",
                package.id,
                package.stage,
                package.action.unwrap_or("-"),
                package.priority.map_or_else(|| "-".to_owned(), |priority| priority.to_string()),
                fragments,
                package.note()
            )?;
        }
        Ok(())
    }
}
