//! `/series`: deployments that come again, their times and their runs.

use std::collections::BTreeMap;

use askama::Template;

use super::approvals;
use super::call::{Call, Page, View, get, post};
use super::deployments::{Row, capital};
use super::shell::Shell;
use super::show::{self, Html, count};
use super::toast::Undo;
use crate::clock::{NamedZone, local_text};
use crate::model::access::Right;
use crate::model::{PostCommand, UnixTime};
use crate::service::approvals::About;
use crate::service::desk::Refusal;
use crate::service::desk::series::{RunLine, SeriesLine};
use crate::store::series::{Run, RunTarget, SeriesId};

/// Rows of a page.
const ROWS: usize = 50;
/// Runs of a page.
const RUNS: usize = 25;

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/series", Right::SeeDeployments, list),
        get("/series/{id}", Right::SeeDeployments, one),
        post("/series/{id}/pause", Right::StopDeployments, pause),
        post("/series/{id}/resume", Right::Deploy, resume),
        post("/series/{id}/run", Right::Deploy, run),
        post("/series/{id}/end", Right::StopDeployments, end),
    ]
}

/// Where one is.
pub(super) fn address(id: SeriesId) -> String {
    format!("/series/{id}")
}

/// A moment as the zone of a rule calls it.
pub(super) fn called(zone: &str, at: UnixTime) -> String {
    NamedZone::named(zone).map_or_else(|| local_text(at), |zone| zone.day_text(at))
}

/// Where it is, as a badge.
fn stage(line: &SeriesLine) -> Html {
    let series = &line.series;
    let (word, tone, icon) = match (series.ended_at, series.paused_at, &series.problem) {
        (Some(_), ..) => ("ended", "closed", "check"),
        _ if line.awaited.is_some() => ("waits for approval", "withheld", "lock"),
        (None, Some(_), Some(_)) => ("paused by itself", "bad", "warning"),
        (None, Some(_), None) => ("paused", "neutral", "pause"),
        (None, None, _) => ("active", "scheduled", "calendar"),
    };
    show::toned(word, tone, icon)
}

#[derive(Template)]
#[template(path = "series-list.html")]
struct List {
    shell: Shell,
    rows: Vec<SeriesLine>,
    next: Option<String>,
    may_deploy: bool,
}

impl List {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn badge(&self, line: &SeriesLine) -> Html {
        stage(line)
    }

    /// What has to happen before it comes again.
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn not_before(&self, line: &SeriesLine) -> &'static str {
        match (line.series.ended_at, &line.awaited) {
            (Some(_), _) => "it has ended",
            (None, Some(_)) => "when it is approved",
            (None, None) => "when it is resumed",
        }
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn comes(&self, line: &SeriesLine) -> String {
        capital(&line.rule())
    }
}

fn list(call: &Call) -> Result<View, Refusal> {
    let before = call.query.parse_some::<i64>("after")?.map(SeriesId);
    let mut rows = call.desk().all_series(before, ROWS + 1)?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    call.page(&List {
        shell: call.shell("Again and again", "/deployments"),
        next: rows.last().filter(|_| more).map(|last| format!("/series?after={}", last.series.id)),
        rows,
        may_deploy: call.desk().may(Right::Deploy),
    })
}

/// A run with its deployments as a list shows them.
struct RunRow {
    run: Run,
    rows: Vec<Row>,
}

impl From<RunLine> for RunRow {
    fn from(line: RunLine) -> Self {
        // A run is for computers, whoever they were chosen by: no group has to be named.
        let groups = BTreeMap::new();
        Self { run: line.run, rows: line.deployments.into_iter().map(|one| Row::of(one, &groups)).collect() }
    }
}

#[derive(Template)]
#[template(path = "series.html")]
struct One {
    shell: Shell,
    line: SeriesLine,
    base: String,
    badge: Html,
    /// The next times, as the rule's zone calls them.
    times: Vec<(String, UnixTime)>,
    facts: Vec<(&'static str, String)>,
    runs: Vec<RunRow>,
    next: Option<String>,
    /// Who was asked to approve it, and what they said.
    approval: String,
    may_deploy: bool,
    may_stop: bool,
}

impl One {
    /// The group that it is for.
    fn group(&self) -> Option<&str> {
        match &self.line.series.what.target {
            RunTarget::Group(name) => Some(name),
            _ => None,
        }
    }

    /// When it comes.
    fn comes(&self) -> String {
        capital(&self.line.rule())
    }

    /// Is it over, for the time being or for good?
    fn is_still(&self) -> bool {
        self.line.series.next_at.is_none()
    }

    fn has_ended(&self) -> bool {
        self.line.series.ended_at.is_some()
    }
}

fn id(call: &Call) -> Result<SeriesId, Refusal> {
    let id = call.path.parse::<i64>("id").map_err(|_| Refusal::not_found("there is no such series"))?;
    Ok(SeriesId(id))
}

fn one(call: &Call) -> Result<View, Refusal> {
    let (id, desk) = (id(call)?, call.desk());
    let line = desk.series(id)?;
    let before = call.query.parse_some::<i64>("after")?;
    let mut runs = desk.series_runs(id, before, RUNS + 1)?;
    let more = runs.len() > RUNS;
    runs.truncate(RUNS);
    let base = address(id);
    let (approval, has_ended) = (line.series.approval, line.series.ended_at.is_some());
    call.page(&One {
        approval: approvals::part(desk, About::Series(id), approval, has_ended, &call.visit.csrf)?,
        shell: call.shell(format!("Series {id}"), "/deployments"),
        next: runs.last().filter(|_| more).map(|last| format!("{base}?after={}", last.run.number)),
        badge: stage(&line),
        times: desk.upcoming(&line.series).into_iter().map(|at| (called(&line.series.when.zone, at), at)).collect(),
        facts: facts(&line),
        runs: runs.into_iter().map(RunRow::from).collect(),
        base,
        line,
        may_deploy: desk.may(Right::Deploy),
        may_stop: desk.may(Right::StopDeployments),
    })
}

fn facts(line: &SeriesLine) -> Vec<(&'static str, String)> {
    let what = &line.series.what;
    let afterwards = match &what.post_command {
        None => "nothing".to_owned(),
        Some(PostCommand::Reboot) => "restart the computer".to_owned(),
        Some(PostCommand::Shutdown) => "turn the computer off".to_owned(),
        Some(PostCommand::Run(command)) => command.clone(),
    };
    let order = if what.in_order { "each where the one before it succeeded" } else { "each for itself" };
    let whose = match what.target {
        RunTarget::Computers(_) => "always the same, as they were picked",
        _ => "asked anew when a run begins",
    };
    let mut facts = vec![("Computers", whose.to_owned()), ("Afterwards", afterwards)];
    if what.packages.len() > 1 {
        facts.push(("Packages", order.to_owned()));
    }
    let gates = &what.gates;
    if let Some(timetable) = &gates.timetable {
        facts.push(("Only in the windows", format!("{} ({})", timetable.windows, timetable.zone)));
    }
    facts.extend(gates.ranges_text().map(|ranges| ("Only from", ranges)));
    if what.wake {
        facts.push(("Wakes computers", "those that were not heard of for ten minutes when a run begins".to_owned()));
    }
    facts.push(("Acts with the rights of", line.owner().to_owned()));
    facts
}

fn pause(call: &Call) -> Result<View, Refusal> {
    let base = address(id(call)?);
    call.desk().pause_series(id(call)?)?;
    View::undoable(base.clone(), "Paused: no run begins.", Undo::new(format!("{base}/resume")))
}

fn resume(call: &Call) -> Result<View, Refusal> {
    let base = address(id(call)?);
    let text = match call.desk().resume_series(id(call)?)? {
        Some(awaited) => {
            format!("It goes on, with your rights, when {} approved it.", approvals::others(awaited.needed))
        }
        None => "It goes on, with your rights.".to_owned(),
    };
    View::undoable(base.clone(), text, Undo::new(format!("{base}/pause")))
}

fn end(call: &Call) -> Result<View, Refusal> {
    let base = address(id(call)?);
    call.desk().end_series(id(call)?)?;
    View::undoable(base.clone(), "Ended. Its runs stay.", Undo::new(format!("{base}/resume")))
}

fn run(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let begun = call.desk().run_series(id)?;
    let Some(first) = begun.made.first() else {
        return View::done(address(id), format!("Run {} is noted: nobody is meant now.", begun.run));
    };
    let planned: usize = begun.made.iter().map(|one| one.planned).sum();
    let mut text = format!("Run {} began: {} planned.", begun.run, count(planned as u64, "job"));
    if begun.gave_way > 0 {
        text = format!("{text} {} of the run before gave way.", count(begun.gave_way as u64, "open job"));
    }
    let page = format!("/deployments/{}", first.deployment);
    View::undoable(address(id), text, Undo::new(format!("{page}/cancel")).with("bundle", "1"))
}
