//! The cycle engine: which package has its turn when. Floor 1: no clock, no disk, no network.
//!
//! It is told facts with a time that never goes back, and asked for at most one action at a time:
//!
//! ```text
//! while let Some(action) = engine.poll_action() { let event = perform(action); engine.handle_event(now, event); }
//! sleep until engine.poll_timeout(); engine.handle_timeout(now);
//! ```
//!
//! A *period* has `PERIOD_LENGTH` *cycles*, numbered from 1. In cycle c every package whose priority divides c has one
//! turn, in ascending order of their numbers, those of priority 0 first. A turn is one step: fetch the next missing
//! fragment, or execute if none is missing, or report a result that the server did not take (ocs-protocol 7.3 to 7.5).
//!
//! Here with five cycles' worth of priority, three fragments and the default pauses:
//!
//! ```
//! let trace = dripfeed::engine::sim::trace("package 100 pri=5 frags=3", std::time::Duration::from_secs(3600)).unwrap();
//! assert!(trace.contains("t+240   fetch 100-1"));
//! assert!(trace.contains("t+1170  execute 100, report 100 SUCCESS, forget 100"));
//! ```
//!
//! Where the stock agents differ from one another, `docs/decisions/0101` and the following say what was chosen.

mod estimate;
mod event;
mod period;
#[cfg(test)]
mod properties;
pub mod sim;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use estimate::{PaceError, check_pace, estimate};
pub use event::{Action, Event, Failure, Stage, TaskInfo, TaskSeed};
use period::{Effort, Pace, Rank};
pub use period::{LONGEST_BACK_OFF, LONGEST_RECESS};
pub use task::INFO_CONTACTS;
use task::{Task, Work};

use crate::model::settings::DownloadSettings;
use crate::model::{PackageId, UnixTime};

/// Decides what the agent does next.
///
/// - Told facts with a time that never goes back (an earlier time counts as the latest one heard of); asked for at most
///   one action at a time; the next wake-up is always known, or there is nothing to do.
/// - Same seeds, settings and events → same actions: no randomness, no hidden clock, packages in ascending order.
/// - Never two fragment requests closer than the fragment latency, counted from the end of the former; while an
///   absolute package is pending no other is fetched or executed; each fragment is stored once.
/// - Rebuilt from the work directory at any moment, it ends like one that never stopped.
/// - Every task ends in exactly one taken report. (A crash between the server's answer and [`Event::Forgotten`] repeats
///   the same report.)
/// - Any event in any order is survived: what answers no action in flight, or names an unknown package, is ignored.
#[derive(Debug)]
pub struct Engine {
    settings: DownloadSettings,
    tasks: BTreeMap<PackageId, Task>,
    now: UnixTime,
    pace: Pace,
    /// Is there a period? Without anybody to serve there is none, and the next one begins with cycle 1.
    running: bool,
    /// Whose turn it is or was: the report that follows an execution is part of it.
    turn: Option<PackageId>,
    in_flight: Option<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    action: Action,
    is_retry: bool,
}

/// Who is next, and in which cycle.
#[derive(Clone, Copy, Debug)]
struct Turn {
    pace: Pace,
    package: PackageId,
    rank: Rank,
    work: Work,
    is_retry: bool,
}

impl Engine {
    /// An engine over what the work directory holds. Same seeds, settings and events → same actions.
    ///
    /// Of two seeds for one package the first counts.
    pub fn new(settings: DownloadSettings, seeds: Vec<TaskSeed>, now: UnixTime) -> Self {
        let mut tasks = BTreeMap::new();
        for seed in seeds {
            tasks.entry(seed.package).or_insert_with(|| Task::new(seed, now));
        }
        Self { settings, tasks, now, pace: Pace::new(now), running: false, turn: None, in_flight: None }
    }

    /// The next thing to do. After an action is handed out there is none until its event came.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.in_flight.is_some() {
            return None;
        }
        for task in self.tasks.values_mut() {
            task.give_up_if_due(&self.settings, self.now);
        }
        if let Some(action) = self.urgent() {
            return Some(self.hand_out(action, false));
        }
        if !self.running && self.tasks.values().any(|task| task.claim(&self.settings).is_some()) {
            self.pace.restart(self.now);
            self.running = true;
        }
        self.settle();
        let turn = self.next_turn().filter(|turn| turn.pace.opens() <= self.now)?;
        let action = self.tasks.get(&turn.package)?.action(turn.package, turn.work)?;
        self.pace = turn.pace;
        self.pace.take_turn(turn.rank);
        self.turn = Some(turn.package);
        Some(self.hand_out(action, turn.is_retry))
    }

    /// How many cycles there were since the engine was made, empty ones included; the one of the last turn is the last.
    pub fn cycles(&self) -> u64 {
        self.pace.ordinal()
    }

    /// When to call [`Engine::handle_timeout`] next, if there is nothing to do now.
    pub fn poll_timeout(&self) -> Option<UnixTime> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.urgent().is_some() {
            return Some(self.now);
        }
        let turn = match self.next_turn() {
            Some(turn) if self.running => Some(turn.pace.opens()),
            Some(_) => Some(self.now),
            None => None,
        };
        // A package may still be executed at the very end of its time.
        let deadline = self.deadlines().map(|deadline| deadline.plus(Duration::from_millis(1))).min();
        turn.into_iter().chain(deadline).min().map(|time| time.max(self.now))
    }

    /// Tells what became of an action, or what happened outside.
    pub fn handle_event(&mut self, now: UnixTime, event: Event) {
        self.handle_timeout(now);
        match event {
            Event::Offered(seed) => self.offered(seed),
            Event::Settings(settings) => self.settings = settings,
            answer => {
                if let Some(in_flight) = self.in_flight.take_if(|in_flight| answers(&answer, &in_flight.action)) {
                    self.answered(&in_flight, answer);
                }
            }
        }
    }

    /// Tells that time went by.
    pub fn handle_timeout(&mut self, now: UnixTime) {
        self.now = self.now.max(now);
        // Before anything else changes: a turn that was due while nobody asked is not missed.
        self.settle();
    }

    /// Is there nothing left that time or an action could bring further? (`once` ends here.)
    ///
    /// Also true if all that is left waits for the next contact: info files that did not come, packages that the person
    /// put off, packages that wait for somebody to be there, packages whose priority is larger than the period is long, everything but results while deployment is
    /// off. An unsent result is never idle.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.tasks.values().all(|task| !self.can_move(task))
    }

    /// Is all that could still happen the sending of results that the server has not taken?
    ///
    /// Then nothing is lost by stopping: they are on the disk and will be sent at the next start.
    pub fn only_reports_left(&self) -> bool {
        !self.is_idle() && self.tasks.values().all(|task| task.is_over() || !self.can_move(task))
    }

    fn can_move(&self, task: &Task) -> bool {
        task.is_over()
            || (task.claim(&self.settings).is_some() && !task.waits_for_somebody())
            || (self.settings.on
                && (task.wants_info() || task.deadline(&self.settings).is_some_and(|deadline| deadline < self.now)))
    }

    fn deadlines(&self) -> impl Iterator<Item = UnixTime> {
        self.tasks.values().filter(|_| self.settings.on).filter_map(|task| task.deadline(&self.settings))
    }

    /// What no cycle paces: results, and then info files.
    fn urgent(&self) -> Option<Action> {
        let result = self.tasks.iter().find_map(|(package, task)| task.urgent(*package));
        result.or_else(|| {
            let (package, _) = self.tasks.iter().find(|(_, task)| self.settings.on && task.wants_info())?;
            Some(Action::FetchInfo(*package))
        })
    }

    fn hand_out(&mut self, action: Action, is_retry: bool) -> Action {
        self.in_flight = Some(InFlight { action: action.clone(), is_retry });
        action
    }

    /// Lets the cycles that went by without anybody's turn go by.
    fn settle(&mut self) {
        if !self.running || self.is_turn_open() {
            return;
        }
        self.turn = None;
        match self.next_turn() {
            Some(turn) if turn.pace.opens() <= self.now => self.pace = turn.pace,
            None if self.tasks.values().all(|task| !task.is_over()) => {
                self.pace.stop(&self.settings);
                self.running = false;
            }
            _ => self.pace.skip_past(self.now, &self.settings),
        }
    }

    /// Is a turn going on? Then the period stands still until it is over.
    fn is_turn_open(&self) -> bool {
        let Some(package) = self.turn else { return false };
        if let Some(in_flight) = &self.in_flight {
            return package_of(&in_flight.action) == package;
        }
        let urgent = self.tasks.get(&package).and_then(|task| task.urgent(package));
        matches!(urgent, Some(Action::Report { .. }))
    }

    fn next_turn(&self) -> Option<Turn> {
        let settings = &self.settings;
        let at = self.pace.opens().max(self.now);
        let blocked = self.tasks.values().any(|task| task.blocks_others(settings, at));
        let turns = self.tasks.iter().filter_map(|(package, task)| {
            let claim = task.claim(settings)?;
            let rank = Rank::new(claim.priority, *package);
            let turn = Turn { pace: self.pace, package: *package, rank, work: claim.work, is_retry: false };
            (!blocked || rank.is_absolute() || claim.work == Work::Report).then_some((claim, turn))
        });
        let mut later = self.pace;
        later.close(settings);
        let mut first: Option<Turn> = None;
        for (claim, mut turn) in turns {
            if self.pace.retry() == Some(turn.package) && matches!(claim.work, Work::Fetch(_)) {
                return Some(Turn { is_retry: true, ..turn });
            }
            if !(claim.is_ready(at) && self.pace.has_turn(claim.priority, turn.rank, settings)) {
                let Some(pace) = later.seek(claim.priority, claim.ready, settings) else { continue };
                turn.pace = pace;
            }
            let order = |turn: &Turn| (turn.pace.order(), turn.rank);
            if first.as_ref().is_none_or(|first| order(&turn) < order(first)) {
                first = Some(turn);
            }
        }
        first
    }

    fn offered(&mut self, seed: TaskSeed) {
        let in_flight = self.in_flight.as_ref().map(|in_flight| &in_flight.action);
        let asked = in_flight == Some(&Action::FetchInfo(seed.package));
        match self.tasks.get_mut(&seed.package) {
            // The answer that is under way says more than this.
            Some(_) if asked => {}
            Some(task) => task.offered_again(&seed.stage),
            None => {
                self.tasks.insert(seed.package, Task::new(seed, self.now));
            }
        }
    }

    fn answered(&mut self, in_flight: &InFlight, answer: Event) {
        let package = package_of(&in_flight.action);
        let Some(task) = self.tasks.get_mut(&package) else { return };
        let mut effort = None;
        match answer {
            Event::InfoStored { info, .. } => task.info_stored(info),
            Event::InfoFailed { .. } => task.info_failed(),
            Event::GaveUp { code, priority, .. } => {
                task.gave_up(code, priority);
                effort = Some(Effort::Other(true));
            }
            Event::FragmentStored { number, .. } => {
                task.fragment_stored(number);
                effort = Some(Effort::Fragment(true));
            }
            Event::FragmentFailed { failure, .. } => {
                effort = Some(Effort::Fragment(false));
                let is_tried_again = failure == Failure::Transient && !in_flight.is_retry;
                if is_tried_again {
                    self.pace.grant_retry(package);
                }
                task.fragment_failed(!is_tried_again);
            }
            Event::Executed { code, .. } => {
                task.executed(code);
                effort = Some(Effort::Other(true));
            }
            Event::Delayed(_) => {
                task.delayed();
                effort = Some(Effort::Other(true));
            }
            Event::Unattended { until, .. } => {
                task.unattended(until);
                effort = Some(Effort::Other(true));
            }
            Event::FragmentsLost { missing, .. } => effort = Some(Effort::Lost(task.fragments_lost(missing))),
            Event::ResultKept(_) => task.result_kept(),
            Event::ReportTaken(_) => {
                task.report_taken();
                effort = Some(Effort::Other(true));
            }
            Event::ReportRefused(_) => {
                task.report_refused();
                effort = Some(Effort::Other(false));
            }
            Event::Forgotten(_) => {
                self.tasks.remove(&package);
            }
            Event::Offered(_) | Event::Settings(_) => {}
        }
        if let Some(effort) = effort
            && !matches!(in_flight.action, Action::FetchInfo(_) | Action::Keep { .. })
        {
            self.pace.count(effort);
            self.pace.rest(self.now, &self.settings);
        }
    }
}

fn package_of(action: &Action) -> PackageId {
    match action {
        Action::FetchInfo(package) | Action::Execute(package) | Action::Forget(package) => *package,
        Action::FetchFragment { package, .. } | Action::Keep { package, .. } | Action::Report { package, .. } => {
            *package
        }
    }
}

/// Is this event one of those that the action may end in?
fn answers(event: &Event, action: &Action) -> bool {
    match (event, action) {
        (Event::InfoStored { package, .. } | Event::InfoFailed { package, .. }, Action::FetchInfo(asked))
        | (
            Event::Executed { package, .. }
            | Event::Delayed(package)
            | Event::Unattended { package, .. }
            | Event::FragmentsLost { package, .. },
            Action::Execute(asked),
        )
        | (Event::ResultKept(package), Action::Keep { package: asked, .. })
        | (Event::ReportTaken(package) | Event::ReportRefused(package), Action::Report { package: asked, .. })
        | (Event::Forgotten(package), Action::Forget(asked))
        | (
            Event::GaveUp { package, .. },
            Action::FetchInfo(asked)
            | Action::FetchFragment { package: asked, .. }
            | Action::Execute(asked)
            | Action::Keep { package: asked, .. },
        ) => package == asked,
        (
            Event::FragmentStored { package, number } | Event::FragmentFailed { package, number, .. },
            Action::FetchFragment { package: asked, number: asked_number },
        ) => package == asked && number == asked_number,
        _ => false,
    }
}
