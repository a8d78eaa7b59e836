//! `dripfeed-agent plan`: what would be done when, by the engine itself over what the work directory holds.
//!
//! Pauses only: transfers and commands take no time, nothing fails, and nothing new is offered. What waits for a contact
//! (an info file that is not there yet) is told as waiting. Nothing is written, and nobody is asked.

use std::collections::BTreeMap;
use std::fmt;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::AgentError;
use super::progress;
use super::status::spelled;
use super::workdir::WorkDir;
use crate::config::agent::AgentConfig;
use crate::engine::{Action, Engine, Event, Failure, Stage, TaskSeed};
use crate::model::settings::DownloadSettings;
use crate::model::{PackageId, ResultCode, UnixTime};

/// Steps that are gone through at most: a hundred packages of a hundred thousand fragments would take minutes.
const MAX_STEPS: u64 = 1_000_000;

/// What would be done.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Plan {
    /// As if the agent started then.
    pub from: String,
    /// Is deployment on? If not, nothing happens but reports.
    pub download: bool,
    /// The steps of the first cycles.
    pub steps: Vec<Step>,
    /// How many more there are after those.
    pub more_steps: u64,
    /// Every package that is known here.
    pub packages: Vec<PackagePlan>,
}

/// One step of one package.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Step {
    /// Local time.
    pub at: String,
    /// Seconds from the beginning.
    pub after_seconds: u64,
    /// The cycle, from 1; empty ones are counted.
    pub cycle: u64,
    /// The package's number.
    pub package: u32,
    /// `fetch`, `execute`, `report`.
    pub what: &'static str,
    /// Which fragment, if it is one.
    pub fragment: Option<u32>,
}

/// When a package is through.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PackagePlan {
    /// Its number.
    pub id: u32,
    /// Fragments that are to be fetched.
    pub missing: usize,
    /// When it would be executed, local time.
    pub executed: Option<String>,
    /// Seconds until then.
    pub executed_after_seconds: Option<u64>,
    /// Why not, if it would not.
    pub waits: Option<String>,
}

impl Plan {
    /// Looks ahead from `now`: every step of the first `cycles` cycles, and each package's end.
    pub fn read(config: &AgentConfig, now: UnixTime, cycles: u64) -> Result<Self, AgentError> {
        let work = WorkDir::at(&config.state_dir);
        let zone = TimeZone::system();
        let packages = work.packages()?;
        let seeds = packages.into_iter().map(|package| work.package(package).peek(now, &zone)).collect();
        Ok(look_ahead(work.settings(), seeds, now, cycles, &zone))
    }
}

fn look_ahead(settings: DownloadSettings, seeds: Vec<TaskSeed>, now: UnixTime, cycles: u64, zone: &TimeZone) -> Plan {
    let mut packages: BTreeMap<PackageId, PackagePlan> = seeds.iter().map(|seed| (seed.package, known(seed))).collect();
    let start = now;
    let mut engine = Engine::new(settings, seeds, start);
    let (mut now, mut steps, mut more_steps, mut gone) = (start, Vec::new(), 0, 0);
    while gone < MAX_STEPS {
        let Some(action) = engine.poll_action() else {
            match engine.poll_timeout() {
                Some(next) => {
                    now = next;
                    engine.handle_timeout(now);
                    continue;
                }
                None => break,
            }
        };
        gone += 1;
        let (package, step, event) = answer(&action);
        if let Some((what, fragment)) = step {
            // A report before the first period is of the first cycle as well.
            let cycle = engine.cycles().max(1);
            let after_seconds = now.since(start).as_secs();
            let at = spelled(now.seconds(), zone);
            if what == "execute"
                && let Some(plan) = packages.get_mut(&package)
            {
                (plan.executed, plan.executed_after_seconds) = (Some(at.clone()), Some(after_seconds));
            }
            if cycle <= cycles {
                steps.push(Step { at, after_seconds, cycle, package: package.number(), what, fragment });
            } else {
                more_steps += 1;
            }
        }
        if let Action::Keep { package, code } = &action
            && let Some(plan) = packages.get_mut(package)
        {
            let why = plan.waits.take().unwrap_or_else(|| "is not through in time".to_owned());
            plan.waits = Some(format!("{why}; given up at {} with {code}", spelled(now.seconds(), zone)));
        }
        engine.handle_event(now, event);
    }
    for plan in packages.values_mut() {
        if plan.executed.is_none() && plan.waits.is_none() {
            plan.waits = Some(if gone >= MAX_STEPS {
                "is farther away than can be told".to_owned()
            } else if settings.on {
                "never has a turn: its priority is larger than the period is long".to_owned()
            } else {
                "waits: deployment is switched off by the server".to_owned()
            });
        }
    }
    Plan {
        from: spelled(start.seconds(), zone),
        download: settings.on,
        steps,
        more_steps,
        packages: packages.into_values().collect(),
    }
}

fn known(seed: &TaskSeed) -> PackagePlan {
    let (missing, waits) = match &seed.stage {
        Stage::NeedsInfo { .. } => (0, Some("waits for its info file".to_owned())),
        Stage::Fetching { missing, .. } => (missing.len(), None),
        Stage::Done { code, .. } => (0, Some(format!("{code}, to be reported"))),
    };
    PackagePlan { id: seed.package.number(), missing, executed: None, executed_after_seconds: None, waits }
}

type Told = Option<(&'static str, Option<u32>)>;

/// As if all went well; only an info file cannot be made up.
fn answer(action: &Action) -> (PackageId, Told, Event) {
    match action.clone() {
        Action::FetchInfo(package) => (package, None, Event::InfoFailed { package, failure: Failure::Transient }),
        Action::FetchFragment { package, number } => {
            (package, Some(("fetch", Some(number.number()))), Event::FragmentStored { package, number })
        }
        Action::Execute(package) => {
            (package, Some(("execute", None)), Event::Executed { package, code: ResultCode::success() })
        }
        Action::Keep { package, .. } => (package, None, Event::ResultKept(package)),
        Action::Report { package, .. } => (package, Some(("report", None)), Event::ReportTaken(package)),
        Action::Forget(package) => (package, None, Event::Forgotten(package)),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.packages.is_empty() {
            return writeln!(f, "nothing to do: no package is under way here; the next contact may bring one");
        }
        writeln!(f, "as if the agent started at {}; pauses only, transfers take their time beside them", self.from)?;
        if !self.download {
            writeln!(f, "deployment is switched off by the server: nothing is fetched until a contact switches it on")?;
        }
        if !self.steps.is_empty() {
            writeln!(f, "\ncycle  at                          after         package     step")?;
        }
        for step in &self.steps {
            let fragment = step.fragment.map_or_else(String::new, |number| format!(" fragment {number}"));
            let after = progress::spelled(std::time::Duration::from_secs(step.after_seconds));
            writeln!(
                f,
                "{:>5}  {:<26}  {after:<12}  {:<10}  {}{fragment}",
                step.cycle, step.at, step.package, step.what
            )?;
        }
        if self.more_steps > 0 {
            writeln!(f, "… and {} more steps: --cycles shows them", self.more_steps)?;
        }
        writeln!(f, "\npackage     to fetch  executed")?;
        for package in &self.packages {
            let end = match (&package.executed, package.executed_after_seconds, &package.waits) {
                (Some(at), Some(after), _) => {
                    format!("{at} (in {})", progress::spelled(std::time::Duration::from_secs(after)))
                }
                (_, _, Some(why)) => why.clone(),
                _ => "-".to_owned(),
            };
            writeln!(f, "{:<10}  {:>8}  {end}", package.id, package.missing)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::TaskInfo;
    use crate::model::{FragmentCount, Priority};

    const NOW: UnixTime = UnixTime::from_seconds(1_795_164_551);

    fn seed(number: u32, stage: Stage) -> TaskSeed {
        TaskSeed { package: PackageId::new(number).expect("an id"), since: NOW, stage }
    }

    fn fetching(priority: u32, fragments: u32) -> Stage {
        let fragments = FragmentCount(fragments);
        let info = TaskInfo { priority: Priority::from_number(priority), fragments, not_before: None };
        Stage::Fetching { info, missing: fragments.numbers().collect(), in_vain: false }
    }

    #[test]
    fn the_worked_example_is_foretold() {
        let seeds = vec![
            seed(100, fetching(5, 3)),
            seed(200, Stage::NeedsInfo { failed_contacts: 0 }),
            seed(300, Stage::Done { code: ResultCode::error("BAD_DIGEST"), priority: Priority::DEFAULT }),
            seed(400, fetching(11, 1)),
        ];
        let plan = look_ahead(DownloadSettings::default(), seeds, NOW, 10, &TimeZone::UTC);
        insta::assert_snapshot!(plan, @r"
        as if the agent started at 2026-11-20 08:49:11 +00:00; pauses only, transfers take their time beside them

        cycle  at                          after         package     step
            1  2026-11-20 08:49:11 +00:00  0 s           300         report
            5  2026-11-20 08:53:21 +00:00  4 min 10 s    100         fetch fragment 1
           10  2026-11-20 08:58:31 +00:00  9 min 20 s    100         fetch fragment 2
        … and 5 more steps: --cycles shows them

        package     to fetch  executed
        100                3  2026-11-20 09:08:51 +00:00 (in 19 min 40 s)
        200                0  waits for its info file; given up at 2026-12-20 08:49:11 +00:00 with ERR_TIMEOUT
        300                0  ERR_BAD_DIGEST, to be reported
        400                1  is not through in time; given up at 2026-12-20 08:49:11 +00:00 with ERR_TIMEOUT
        ");
        let json = serde_json::to_value(&plan).expect("JSON");
        assert_eq!(json["packages"][0]["executed_after_seconds"], 1180);
        assert_eq!(json["steps"][1]["fragment"], 1);
    }

    #[test]
    fn the_end_is_the_one_that_the_server_foretells() {
        let settings = DownloadSettings::default();
        for (priority, fragments) in [(0, 0), (0, 7), (1, 5), (3, 4), (10, 2), (5, 300)] {
            let stage = fetching(priority, fragments);
            let Stage::Fetching { info, .. } = &stage else { unreachable!("it is one") };
            let foretold = crate::engine::estimate(&settings, *info).expect("it has turns").as_secs();
            let plan = look_ahead(settings, vec![seed(7, stage)], NOW, 5, &TimeZone::UTC);
            assert_eq!(plan.packages[0].executed_after_seconds, Some(foretold), "{priority} {fragments}");
        }
    }

    #[test]
    fn switched_off_and_empty_are_said() {
        let off = DownloadSettings { on: false, ..DownloadSettings::default() };
        let plan = look_ahead(off, vec![seed(7, fetching(1, 2))], NOW, 5, &TimeZone::UTC);
        assert!(plan.steps.is_empty());
        assert!(plan.to_string().contains("waits: deployment is switched off"), "{plan}");
        let nothing = look_ahead(off, Vec::new(), NOW, 5, &TimeZone::UTC).to_string();
        assert!(nothing.starts_with("nothing to do"), "{nothing}");
    }
}
