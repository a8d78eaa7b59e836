//! A world for the engine: a virtual clock, a tree, a server, their faults and the agent's disk. Scenario text in,
//! time line out; a month takes milliseconds.
//!
//! ```text
//! settings frag=10 cycle=60 period=0 length=10 timeout=30 on=1     DOWNLOAD_*; what is not said has its default
//! package 100 pri=5 frags=3                                        offered at t+0
//! package 200 at=120 not-before=3600 code=ERR_EXIT_CODE_3          offered at t+120, scheduled, ends badly
//! package 300 bad=ERR_BAD_ID                                       its info file cannot be used
//! takes info=0 fetch=0 execute=0 report=0                          seconds that each kind of action takes
//! at 500 settings frag=1                                           a contact brings other settings
//! at 900 contact                                                   a contact offers what is not reported yet
//! at 950 restart                                                   the agent starts again over its disk
//! contact every=86400                                              and one at regular times
//! fail 100 info times=2                                            so many requests fail (transient) …
//! fail 100 2 missing                                               … or all of them; missing, transient or wrong
//! refuse 100 times=2                                               the server does not take the report
//! delay 100 times=1                                                the person puts the execution off
//! absent 100 times=1                                               nobody is there to be asked; looked again 15 minutes later
//! lose 100 2 times=1                                               the execution finds fragment 2 bad
//! down 100 900                                                     nothing can be reached from t+100 until t+900
//! ```
//!
//! Times are seconds from the start. A line of the trace holds what began at that moment.

mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

pub use self::scenario::{Happening, InvalidScenario, Offer, Scenario};
use super::{Action, Engine, Event, Failure, Stage, TaskInfo, TaskSeed};
use crate::model::settings::DownloadSettings;
use crate::model::{FragmentNumber, PackageId, Priority, ResultCode, UnixTime};

/// Where the virtual clock starts.
const START: UnixTime = UnixTime::from_seconds(1_800_000_000);
/// When it is looked again whether somebody is there.
const LOOK_AGAIN: Duration = Duration::from_mins(15);

/// Where the agent is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Crash {
    /// In the n-th action, from 0.
    pub action: usize,
    /// When in it.
    pub moment: Moment,
}

/// When in an action.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// It had not begun.
    Before,
    /// It was under way: a command had run for a while, the server had the report, nothing was written.
    During,
    /// It was done and on the disk, and the engine was not told.
    After,
}

/// One line's worth of what happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// When it began.
    pub begin: UnixTime,
    /// When it ended.
    pub end: UnixTime,
    /// What it was.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// The engine asked for this, and was told that; `None` if the agent was killed.
    Action(Action, Option<Event>),
    /// Something came from outside.
    Happening(Happening),
}

/// What the work directory holds of a package.
#[derive(Clone, Debug)]
struct Stored {
    since: UnixTime,
    failed_contacts: u32,
    info: Option<TaskInfo>,
    missing: BTreeSet<FragmentNumber>,
    in_vain: bool,
    done: Option<(ResultCode, Priority)>,
}

/// Engine, clock, tree, server and disk.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    settings: DownloadSettings,
    engine: Engine,
    now: UnixTime,
    disk: BTreeMap<PackageId, Stored>,
    taken: BTreeMap<PackageId, Vec<ResultCode>>,
    executions: BTreeMap<PackageId, u32>,
    /// Ascending in time; those before `happened` are over.
    happenings: Vec<(u32, Happening)>,
    happened: usize,
    next_contact: Option<UnixTime>,
    actions: usize,
    log: Vec<Step>,
}

/// The time line of a scenario.
///
/// ```
/// use std::time::Duration;
/// let trace = dripfeed::engine::sim::trace("package 7 pri=1 frags=1", Duration::from_secs(600)).unwrap();
/// assert_eq!(trace, "t+0   info 7, fetch 7-1\nt+70  execute 7, report 7 SUCCESS, forget 7\nend   nothing left\n");
/// ```
pub fn trace(scenario: &str, span: Duration) -> Result<String, InvalidScenario> {
    let mut world = World::new(scenario.parse()?);
    world.run(span);
    Ok(world.trace())
}

impl World {
    /// A world at t+0, just after the first contact.
    pub fn new(scenario: Scenario) -> Self {
        let mut happenings = scenario.happenings.clone();
        happenings.extend(scenario.packages.values().filter(|offer| offer.at > 0).map(|o| (o.at, Happening::Contact)));
        happenings.sort_by_key(|(at, _)| *at);
        happenings.dedup();
        let mut world = Self {
            settings: scenario.settings,
            engine: Engine::new(scenario.settings, Vec::new(), START),
            now: START,
            disk: BTreeMap::new(),
            taken: BTreeMap::new(),
            executions: BTreeMap::new(),
            happenings,
            happened: 0,
            next_contact: scenario.contact_every.map(|every| START.plus(Duration::from_secs(every.into()))),
            actions: 0,
            log: Vec::new(),
            scenario,
        };
        for package in world.offered() {
            world.disk.insert(package, Stored::new(START));
        }
        world.start_engine();
        world
    }

    /// Lets time go by: until the span is over, or until nothing can happen any more.
    pub fn run(&mut self, span: Duration) {
        let end = START.plus(span);
        loop {
            while let Some(action) = self.engine.poll_action() {
                self.perform(action);
            }
            let outside = self.next_happening();
            // Regular contacts alone do not keep a world going in which there is nothing left to do.
            let outside = outside.filter(|_| self.happened < self.happenings.len() || !self.is_over());
            let Some(next) = self.engine.poll_timeout().into_iter().chain(outside).min() else { return };
            if next > end {
                return;
            }
            self.now = self.now.max(next);
            if !self.happen() {
                self.engine.handle_timeout(self.now);
            }
        }
    }

    /// Has the server a result of every package?
    pub fn is_over(&self) -> bool {
        self.disk.is_empty() && self.scenario.packages.keys().all(|package| self.taken.contains_key(package))
    }

    /// Everything that happened, in order.
    pub fn log(&self) -> &[Step] {
        &self.log
    }

    /// The results that the server has taken.
    pub fn taken(&self) -> &BTreeMap<PackageId, Vec<ResultCode>> {
        &self.taken
    }

    /// How often each package's command was started.
    pub fn executions(&self) -> &BTreeMap<PackageId, u32> {
        &self.executions
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The time line: what began at the same moment is on one line.
    pub fn trace(&self) -> String {
        let mut lines: Vec<(String, Vec<String>)> = Vec::new();
        for step in &self.log {
            let at = moment(step.begin);
            match lines.last_mut() {
                Some((last, texts)) if *last == at => texts.push(step.what.to_text()),
                _ => lines.push((at, vec![step.what.to_text()])),
            }
        }
        let last = match self.engine.poll_timeout() {
            _ if self.is_over() => "nothing left".to_owned(),
            None => "waits for a contact".to_owned(),
            Some(next) if self.engine.is_idle() => format!("waits for a contact, or {}", moment(next)),
            Some(next) => format!("goes on at {}", moment(next)),
        };
        lines.push(("end".to_owned(), vec![last]));
        let width = lines.iter().map(|(at, _)| at.len()).max().unwrap_or(0);
        lines.iter().fold(String::new(), |mut text, (at, texts)| {
            let _ = writeln!(text, "{at:width$}  {}", texts.join(", "));
            text
        })
    }

    /// What the server still offers: everything that it has no result of.
    fn offered(&self) -> Vec<PackageId> {
        let arrived = self.scenario.packages.iter().filter(|(_, offer)| START.plus(seconds(offer.at)) <= self.now);
        arrived.map(|(package, _)| *package).filter(|package| !self.taken.contains_key(package)).collect()
    }

    fn start_engine(&mut self) {
        let seeds = self.disk.iter().map(|(package, stored)| stored.seed(*package)).collect();
        self.engine = Engine::new(self.settings, seeds, self.now);
    }

    fn next_happening(&self) -> Option<UnixTime> {
        let single = self.happenings.get(self.happened).map(|(at, _)| START.plus(seconds(*at)));
        single.into_iter().chain(self.next_contact).min()
    }

    /// Lets happen what is due; answers whether anything was.
    fn happen(&mut self) -> bool {
        let mut any = false;
        while let Some((_, happening)) =
            self.happenings.get(self.happened).filter(|(at, _)| START.plus(seconds(*at)) <= self.now).copied()
        {
            self.happened += 1;
            any = true;
            self.note(happening);
            match happening {
                Happening::Contact => self.contact(),
                Happening::Settings(settings) => {
                    self.settings = settings;
                    self.contact();
                }
                Happening::Restart => self.start_engine(),
            }
        }
        if let (Some(next), Some(every)) = (self.next_contact, self.scenario.contact_every)
            && next <= self.now
        {
            self.next_contact = Some(next.plus(seconds(every.max(1))).max(self.now));
            any = true;
            self.contact();
        }
        any
    }

    fn note(&mut self, happening: Happening) {
        self.log.push(Step { begin: self.now, end: self.now, what: What::Happening(happening) });
    }

    fn contact(&mut self) {
        if self.is_down() {
            return;
        }
        self.engine.handle_event(self.now, Event::Settings(self.settings));
        for package in self.offered() {
            let seed = self.disk.entry(package).or_insert_with(|| Stored::new(self.now)).seed(package);
            self.engine.handle_event(self.now, Event::Offered(seed));
        }
    }

    fn is_down(&self) -> bool {
        self.scenario
            .down
            .iter()
            .any(|(from, to)| (START.plus(seconds(*from))..START.plus(seconds(*to))).contains(&self.now))
    }

    fn perform(&mut self, action: Action) {
        let begin = self.now;
        let crash = self.scenario.crash.filter(|crash| crash.action == self.actions).map(|crash| crash.moment);
        self.actions += 1;
        let takes = match &action {
            Action::FetchInfo(_) => self.scenario.info_takes,
            Action::FetchFragment { .. } => self.scenario.fetch_takes,
            Action::Execute(_) => self.scenario.execute_takes,
            Action::Report { .. } => self.scenario.report_takes,
            Action::Keep { .. } | Action::Forget(_) => 0,
        };
        let answer = match crash {
            None | Some(Moment::After) => Some(self.carry_out(&action)),
            Some(Moment::During) => {
                self.carry_out_half(&action);
                None
            }
            Some(Moment::Before) => None,
        };
        let end = begin.plus(seconds(takes));
        let answer = answer.filter(|_| crash.is_none());
        self.log.push(Step { begin, end, what: What::Action(action, answer.clone()) });
        let Some(answer) = answer else {
            self.note(Happening::Restart);
            self.start_engine();
            return;
        };
        // The agent is one thread: contacts wait until the action is over.
        self.now = end;
        self.engine.handle_event(self.now, answer);
        self.happen();
    }

    /// Does what a driver would do, and writes what it would write.
    fn carry_out(&mut self, action: &Action) -> Event {
        let package = super::package_of(action);
        let down = self.is_down();
        let (Some(offer), Some(stored)) = (self.scenario.packages.get_mut(&package), self.disk.get_mut(&package))
        else {
            // The engine names no package that it was not told of.
            return Event::Forgotten(package);
        };
        match action {
            Action::FetchInfo(_) if down || offer.info_fails > 0 => {
                if !down {
                    offer.info_fails -= 1;
                }
                stored.failed_contacts += 1;
                Event::InfoFailed { package, failure: Failure::Transient }
            }
            Action::FetchInfo(_) => {
                let info = TaskInfo { not_before: offer.not_before.map(|at| START.plus(seconds(at))), ..offer.info };
                if let Some(code) = offer.bad.clone() {
                    stored.done = Some((code.clone(), info.priority));
                    return Event::GaveUp { package, code, priority: info.priority };
                }
                stored.info = Some(info);
                stored.missing = info.fragments.numbers().collect();
                Event::InfoStored { package, info }
            }
            Action::FetchFragment { number, .. } => {
                let number = *number;
                stored.in_vain = true;
                if down {
                    return Event::FragmentFailed { package, number, failure: Failure::Transient };
                }
                if let Some((times, failure)) = offer.fragment_fails.get_mut(&number).filter(|(times, _)| *times > 0) {
                    if *times < u32::MAX {
                        *times -= 1;
                    }
                    return Event::FragmentFailed { package, number, failure: *failure };
                }
                stored.missing.remove(&number);
                stored.in_vain = false;
                Event::FragmentStored { package, number }
            }
            Action::Execute(_) => {
                if let Some((number, times)) = offer.losses.as_mut().filter(|(_, times)| *times > 0) {
                    if *times < u32::MAX {
                        *times -= 1;
                    }
                    stored.missing.insert(*number);
                    return Event::FragmentsLost { package, missing: vec![*number] };
                }
                if offer.absences > 0 {
                    offer.absences -= 1;
                    return Event::Unattended { package, until: self.now.plus(LOOK_AGAIN) };
                }
                if offer.delays > 0 {
                    offer.delays -= 1;
                    return Event::Delayed(package);
                }
                *self.executions.entry(package).or_default() += 1;
                stored.done = Some((offer.code.clone(), offer.info.priority));
                Event::Executed { package, code: offer.code.clone() }
            }
            Action::Keep { code, .. } => {
                stored.done = Some((code.clone(), stored.info.map_or(Priority::DEFAULT, |info| info.priority)));
                Event::ResultKept(package)
            }
            Action::Report { code, .. } => {
                if down || offer.refusals > 0 {
                    if !down {
                        offer.refusals -= 1;
                    }
                    return Event::ReportRefused(package);
                }
                self.taken.entry(package).or_default().push(code.clone());
                Event::ReportTaken(package)
            }
            Action::Forget(_) => {
                self.disk.remove(&package);
                Event::Forgotten(package)
            }
        }
    }

    /// What is left of an action that was cut off.
    fn carry_out_half(&mut self, action: &Action) {
        match action {
            // The driver writes down that it begins; the next start finds that and does not repeat it.
            Action::Execute(package) => {
                if let (Some(stored), Some(offer)) = (self.disk.get_mut(package), self.scenario.packages.get(package)) {
                    *self.executions.entry(*package).or_default() += 1;
                    stored.done = Some((ResultCode::error("EXECUTE_INTERRUPTED"), offer.info.priority));
                }
            }
            Action::Report { package, code } if !self.is_down() => {
                self.taken.entry(*package).or_default().push(code.clone());
            }
            _ => {}
        }
    }
}

impl Stored {
    fn new(since: UnixTime) -> Self {
        Self { since, failed_contacts: 0, info: None, missing: BTreeSet::new(), in_vain: false, done: None }
    }

    fn seed(&self, package: PackageId) -> TaskSeed {
        let stage = match (&self.done, self.info) {
            (Some((code, priority)), _) => Stage::Done { code: code.clone(), priority: *priority },
            (None, Some(info)) => {
                Stage::Fetching { info, missing: self.missing.iter().copied().collect(), in_vain: self.in_vain }
            }
            (None, None) => Stage::NeedsInfo { failed_contacts: self.failed_contacts },
        };
        TaskSeed { package, since: self.since, stage }
    }
}

impl What {
    fn to_text(&self) -> String {
        let (action, answer) = match self {
            Self::Action(action, answer) => (action, answer),
            Self::Happening(Happening::Contact) => return "contact".to_owned(),
            Self::Happening(Happening::Settings(_)) => return "settings".to_owned(),
            Self::Happening(Happening::Restart) => return "restart".to_owned(),
        };
        let text = match action {
            Action::FetchInfo(package) => format!("info {package}"),
            Action::FetchFragment { package, number } => format!("fetch {package}-{number}"),
            Action::Execute(package) => format!("execute {package}"),
            Action::Keep { package, code } => format!("keep {package} {code}"),
            Action::Report { package, code } => format!("report {package} {code}"),
            Action::Forget(package) => format!("forget {package}"),
        };
        match answer {
            None => text + " (killed)",
            Some(Event::InfoFailed { failure, .. } | Event::FragmentFailed { failure, .. }) => {
                let word = match failure {
                    Failure::Missing => "missing",
                    Failure::Transient => "failed",
                    Failure::Wrong => "wrong",
                };
                format!("{text} ({word})")
            }
            Some(Event::GaveUp { code, .. }) => format!("{text} ({code})"),
            Some(Event::Delayed(_)) => text + " (delayed)",
            Some(Event::Unattended { .. }) => text + " (nobody there)",
            Some(Event::FragmentsLost { .. }) => text + " (lost)",
            Some(Event::ReportRefused(_)) => text + " (refused)",
            Some(_) => text,
        }
    }
}

/// `t+1170`, `t+0.001`.
fn moment(time: UnixTime) -> String {
    let millis = time.since(START).as_millis();
    match millis % 1000 {
        0 => format!("t+{}", millis / 1000),
        part => format!("t+{}.{part:03}", millis / 1000),
    }
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}
