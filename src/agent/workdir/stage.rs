//! How far a package is, as far as its directory can tell: what the engine starts with.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{PackageDir, WorkDirError};
use crate::engine::{Stage, TaskInfo, TaskSeed};
use crate::model::{FragmentCount, FragmentPlan, PackageId, Priority, ResultCode, Schedule, UnixTime};
use crate::protocol::{Info, InfoError};

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

impl PackageDir<'_> {
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
            (None, Known::Info(info)) => self.fetching(&info, zone),
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
            Known::Info(info) => Ok(self.fetching(&info, zone)),
        }
    }

    fn fetching(&self, info: &Info, zone: &TimeZone) -> Stage {
        Stage::Fetching {
            info: self.task_info(info, zone),
            missing: self.missing(info.fragments),
            in_vain: self.last_failure().is_some(),
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
pub(super) fn moment(schedule: &Schedule, zone: &TimeZone) -> Option<UnixTime> {
    let (year, month, day, hour, minute) = schedule.parts();
    let local = DateTime::new(year, month, day, hour, minute, 0, 0).ok()?;
    let moment = zone.to_ambiguous_timestamp(local).compatible().ok()?;
    Some(UnixTime::from_millis(moment.as_millisecond()))
}
