//! One package's life. The only place where a state changes.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::event::{Action, Stage, TaskInfo, TaskSeed};
use crate::model::settings::DownloadSettings;
use crate::model::{FragmentNumber, PackageId, Priority, ResultCode, UnixTime};

/// So many contacts may fail to bring the info file before the package is given up (`ERR_DOWNLOAD_INFO`).
///
/// The stock Unix agent gives up at the first, the stock Windows agent never: ocs-protocol 7.5.
pub const INFO_CONTACTS: u32 = 3;

/// A package under way.
#[derive(Clone, Debug)]
pub(super) struct Task {
    since: UnixTime,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    NeedsInfo {
        failed_contacts: u32,
        /// Tried since the last contact, in vain.
        tried: bool,
    },
    Fetching {
        info: TaskInfo,
        missing: BTreeSet<FragmentNumber>,
        /// The last try to fetch one of them failed.
        in_vain: bool,
        /// The person put it off; the next contact brings it back.
        delayed: bool,
        /// Nobody was there to be asked; the moment to look again.
        unattended: Option<UnixTime>,
        /// Turns in a row that brought nothing.
        failed_turns: u32,
        /// How often fragments that were there had to be fetched again.
        lost: u32,
    },
    /// Decided by the engine, not on the disk yet.
    Keeping { code: ResultCode, priority: Priority },
    /// On the disk, not with the server yet.
    Done {
        code: ResultCode,
        priority: Priority,
        /// Sent in vain: from now on in the package's own turns.
        refused: bool,
    },
    /// With the server: only the directory is left.
    Taken,
}

/// What a package would do with a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Work {
    Fetch(FragmentNumber),
    Execute,
    Report,
}

/// A package's claim to turns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) priority: Priority,
    /// Not before that moment.
    pub(super) ready: Option<UnixTime>,
    pub(super) work: Work,
}

impl Claim {
    pub(super) fn is_ready(&self, at: UnixTime) -> bool {
        self.ready.is_none_or(|ready| ready <= at)
    }
}

impl Task {
    pub(super) fn new(seed: TaskSeed, now: UnixTime) -> Self {
        let state = match seed.stage {
            Stage::NeedsInfo { failed_contacts } => State::NeedsInfo { failed_contacts, tried: false },
            Stage::Fetching { info, missing, in_vain } => State::fetching(info, missing, in_vain),
            Stage::Done { code, priority } => State::Done { code, priority, refused: false },
        };
        // A clock that was ahead when the package was offered must not put its time-out off for years.
        Self { since: seed.since.min(now), state }
    }

    /// What is to be done at once, outside the cycles.
    pub(super) fn urgent(&self, package: PackageId) -> Option<Action> {
        match &self.state {
            State::Keeping { code, .. } => Some(Action::Keep { package, code: code.clone() }),
            State::Done { code, refused: false, .. } => Some(Action::Report { package, code: code.clone() }),
            State::Taken => Some(Action::Forget(package)),
            _ => None,
        }
    }

    /// The action of a turn.
    pub(super) fn action(&self, package: PackageId, work: Work) -> Option<Action> {
        match (work, &self.state) {
            (Work::Fetch(number), _) => Some(Action::FetchFragment { package, number }),
            (Work::Execute, _) => Some(Action::Execute(package)),
            (Work::Report, State::Done { code, .. }) => Some(Action::Report { package, code: code.clone() }),
            (Work::Report, _) => None,
        }
    }

    /// Is the info file to be fetched now?
    pub(super) fn wants_info(&self) -> bool {
        matches!(self.state, State::NeedsInfo { tried: false, .. })
    }

    /// What it would do with a turn, if it can have one at all.
    pub(super) fn claim(&self, settings: &DownloadSettings) -> Option<Claim> {
        let length = settings.period_length.max(1);
        match &self.state {
            State::Fetching { info, missing, delayed: false, unattended, .. } if settings.on => {
                (info.priority.turns_in(length) > 0).then(|| match missing.first() {
                    Some(number) => Claim { priority: info.priority, ready: None, work: Work::Fetch(*number) },
                    None => {
                        Claim { priority: info.priority, ready: info.not_before.max(*unattended), work: Work::Execute }
                    }
                })
            }
            State::Done { priority, refused: true, .. } => {
                // A result must get through even where its package would never have a turn.
                let priority = match priority {
                    Priority::Every(n) => Priority::Every((*n).min(NonZeroU32::new(length).unwrap_or(NonZeroU32::MIN))),
                    Priority::Absolute => Priority::Absolute,
                };
                Some(Claim { priority, ready: None, work: Work::Report })
            }
            _ => None,
        }
    }

    /// Must the others wait for it at that moment? docs/decisions/0101.
    pub(super) fn blocks_others(&self, settings: &DownloadSettings, at: UnixTime) -> bool {
        let State::Fetching { failed_turns, .. } = &self.state else { return false };
        *failed_turns < settings.period_length.max(1)
            && self.claim(settings).is_some_and(|claim| claim.priority == Priority::Absolute && claim.is_ready(at))
    }

    /// Has it a result, or is it about to have one?
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Keeping { .. } | State::Done { .. } | State::Taken)
    }

    /// The last moment to execute it; `None` once it has a result.
    pub(super) fn deadline(&self, settings: &DownloadSettings) -> Option<UnixTime> {
        let from = match &self.state {
            State::NeedsInfo { .. } => self.since,
            // Who schedules a package for next month does not want it to expire this month.
            State::Fetching { info, .. } => info.not_before.map_or(self.since, |time| time.max(self.since)),
            _ => return None,
        };
        Some(from.plus(settings.timeout.span()))
    }

    /// Gives the package up, if it is time to.
    pub(super) fn give_up_if_due(&mut self, settings: &DownloadSettings, now: UnixTime) {
        let expired = settings.on && self.deadline(settings).is_some_and(|deadline| deadline < now);
        let (code, priority) = match &self.state {
            State::NeedsInfo { failed_contacts, .. } if *failed_contacts >= INFO_CONTACTS => {
                ("DOWNLOAD_INFO", Priority::DEFAULT)
            }
            State::NeedsInfo { .. } if expired => ("TIMEOUT", Priority::DEFAULT),
            // Time was not what it lacked.
            State::Fetching { info, missing, in_vain: true, .. } if expired && !missing.is_empty() => {
                ("DOWNLOAD_PACK", info.priority)
            }
            State::Fetching { info, .. } if expired => ("TIMEOUT", info.priority),
            _ => return,
        };
        self.state = State::Keeping { code: ResultCode::error(code), priority };
    }

    /// The package was offered again.
    pub(super) fn offered_again(&mut self, stage: &Stage) {
        match &mut self.state {
            State::NeedsInfo { failed_contacts, tried } => {
                *tried = false;
                if let Stage::NeedsInfo { failed_contacts: told } = stage {
                    *failed_contacts = (*failed_contacts).max(*told);
                }
            }
            State::Fetching { delayed, .. } => *delayed = false,
            _ => {}
        }
    }

    pub(super) fn info_stored(&mut self, info: TaskInfo) {
        self.state = State::fetching(info, info.fragments.numbers(), false);
    }

    pub(super) fn info_failed(&mut self) {
        if let State::NeedsInfo { failed_contacts, tried } = &mut self.state {
            *failed_contacts = failed_contacts.saturating_add(1);
            *tried = true;
        }
    }

    pub(super) fn fragment_stored(&mut self, number: FragmentNumber) {
        if let State::Fetching { missing, in_vain, failed_turns, .. } = &mut self.state {
            missing.remove(&number);
            *in_vain = false;
            *failed_turns = 0;
        }
    }

    /// A fragment did not come; with that the turn may be over, too.
    pub(super) fn fragment_failed(&mut self, ends_turn: bool) {
        if let State::Fetching { in_vain, failed_turns, .. } = &mut self.state {
            *in_vain = true;
            *failed_turns = failed_turns.saturating_add(u32::from(ends_turn));
        }
    }

    /// Takes fragments back into the task list; answers how often that has happened.
    pub(super) fn fragments_lost(&mut self, numbers: Vec<FragmentNumber>) -> u32 {
        let State::Fetching { info, missing, failed_turns, lost, .. } = &mut self.state else { return 0 };
        missing.extend(numbers.into_iter().filter(|number| info.fragments.contains(*number)));
        *failed_turns = failed_turns.saturating_add(1);
        *lost = lost.saturating_add(1);
        *lost
    }

    pub(super) fn delayed(&mut self) {
        if let State::Fetching { delayed, .. } = &mut self.state {
            *delayed = true;
        }
    }

    pub(super) fn unattended(&mut self, until: UnixTime) {
        if let State::Fetching { unattended, .. } = &mut self.state {
            *unattended = Some(until);
        }
    }

    /// Is it a person that it lacks, and not time?
    pub(super) fn waits_for_somebody(&self) -> bool {
        matches!(&self.state, State::Fetching { missing, unattended: Some(_), .. } if missing.is_empty())
    }

    /// Executed, or failed for good: the result is on the disk.
    pub(super) fn executed(&mut self, code: ResultCode) {
        if let State::Fetching { info, .. } = &self.state {
            self.state = State::Done { code, priority: info.priority, refused: false };
        }
    }

    pub(super) fn gave_up(&mut self, code: ResultCode, priority: Priority) {
        self.state = State::Done { code, priority, refused: false };
    }

    pub(super) fn result_kept(&mut self) {
        if let State::Keeping { code, priority } = &self.state {
            self.state = State::Done { code: code.clone(), priority: *priority, refused: false };
        }
    }

    pub(super) fn report_refused(&mut self) {
        if let State::Done { refused, .. } = &mut self.state {
            *refused = true;
        }
    }

    pub(super) fn report_taken(&mut self) {
        self.state = State::Taken;
    }
}

impl State {
    fn fetching(info: TaskInfo, missing: impl IntoIterator<Item = FragmentNumber>, in_vain: bool) -> Self {
        let missing = missing.into_iter().filter(|number| info.fragments.contains(*number)).collect();
        Self::Fetching { info, missing, in_vain, delayed: false, unattended: None, failed_turns: 0, lost: 0 }
    }
}
