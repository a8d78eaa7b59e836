//! Deployments after they were made: how far they are, taking them back, trying again.

use std::collections::BTreeSet;

use super::App;
use crate::model::query::Query;
use crate::model::{ComputerId, DeploymentId, JobId, JobState, PackageId, PackageState, UnixTime};
use crate::store::deployments::{DeploymentLine, Wanted};
use crate::store::events::{Event, EventKind};
use crate::store::jobs::{JobLine, JobOn};
use crate::store::progress::{self, Brief, CodeCount, OnComputer, Slice};
use crate::store::{Conn, StoreError, deployments, events, jobs, packages, search};

/// Why a deployment was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// No such deployment.
    #[error("there is no deployment {0}: `dripfeed deployment list` shows them")]
    Unknown(DeploymentId),
    /// Cancelled, and nothing is open.
    #[error("deployment {0} is cancelled already and has no {1} jobs")]
    AlreadyCancelled(DeploymentId, &'static str),
    /// None of the computers that are meant has an open job.
    #[error("deployment {0} has no open jobs on these computers")]
    NothingOpen(DeploymentId),
    /// It was taken back.
    #[error(
        "deployment {0} was cancelled, so it is not tried again: assign the package anew (dripfeed assign {1} --computer …)"
    )]
    Cancelled(DeploymentId, PackageId),
    /// It was put away before.
    #[error("deployment {0} is closed: reopen it first")]
    Closed(DeploymentId),
    /// It was not put away.
    #[error("deployment {0} is not closed")]
    NotClosed(DeploymentId),
    /// Its package is gone.
    #[error("package {0} was withdrawn: there is nothing left to try again with; build it anew")]
    Withdrawn(PackageId),
    /// All is well, or under way.
    #[error("deployment {id} has no {what} jobs to try again: {have}")]
    NothingToRetry {
        /// Which.
        id: DeploymentId,
        /// What was looked for.
        what: &'static str,
        /// What there is instead.
        have: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A deployment and how far it is.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The deployment.
    pub line: DeploymentLine,
    /// Computers by the state of their newest attempt.
    pub counts: Vec<(JobState, u64)>,
}

/// A deployment to all computers, or to a group, that still takes those that come.
pub fn is_standing(line: &DeploymentLine) -> bool {
    let deployment = &line.deployment;
    let ended = deployment.cancelled_at.is_some() || deployment.closed_at.is_some();
    (deployment.all_computers || deployment.group.is_some()) && !ended
}

/// Is something open, or still to come?
pub fn is_running(summary: &Summary) -> bool {
    let open = summary.counts.iter().any(|(state, count)| state.is_open() && *count > 0);
    summary.line.deployment.closed_at.is_none() && (open || is_standing(&summary.line))
}

/// Which of a deployment's computers are meant; all of them by default.
#[derive(Clone, Debug, Default)]
pub struct Only {
    /// Those that this query asks for: the actor's scope.
    pub scope: Option<Query>,
    /// Those whose newest attempt ended with this code.
    pub code: Option<String>,
    /// The one with this attempt.
    pub job: Option<JobId>,
}

impl Only {
    fn narrow(&self, conn: &mut Conn, jobs: &mut Vec<JobOn>, now: UnixTime) -> Result<(), StoreError> {
        let allowed = allowed(conn, self.scope.as_ref(), now)?;
        jobs.retain(|job| {
            allowed.as_ref().is_none_or(|allowed| allowed.contains(&job.computer))
                && self.code.as_ref().is_none_or(|code| job.result.as_deref().unwrap_or_default() == code)
                && self.job.is_none_or(|one| one == job.job)
        });
        Ok(())
    }
}

/// The computers of a scope; `None`: all.
fn allowed(conn: &mut Conn, scope: Option<&Query>, now: UnixTime) -> Result<Option<BTreeSet<ComputerId>>, StoreError> {
    scope.map(|query| search::ids(conn, query, now)).transpose()
}

/// Some deployments, newest first, at most `limit`; with a scope, only those that have a computer of it, counted there.
pub fn page(
    app: &App,
    wanted: Wanted,
    scope: Option<Query>,
    shows: impl Fn(&DeploymentLine) -> bool + Send + 'static,
    limit: usize,
) -> Result<Vec<Summary>, StoreError> {
    let now = app.clock.now();
    app.store.read_now(move |conn| {
        let allowed = allowed(conn, scope.as_ref(), now)?;
        let (mut found, mut wanted) = (Vec::new(), wanted);
        loop {
            let page = deployments::some(conn, &wanted, limit.max(50))?;
            let last = page.len() < limit.max(50);
            wanted.before = page.last().map(|line| line.deployment.id);
            for line in page.into_iter().filter(|line| shows(line)) {
                let counts = counts_within(conn, line.deployment.id, allowed.as_ref())?;
                if allowed.is_some() && counts.is_empty() {
                    continue;
                }
                found.push(Summary { line, counts });
                if found.len() == limit {
                    return Ok(found);
                }
            }
            if last {
                return Ok(found);
            }
        }
    })
}

fn counts_within(
    conn: &mut Conn,
    id: DeploymentId,
    allowed: Option<&BTreeSet<ComputerId>>,
) -> Result<Vec<(JobState, u64)>, StoreError> {
    let Some(allowed) = allowed else {
        let counts = jobs::counts_of_deployments(conn, Some(id))?;
        return Ok(counts.into_iter().map(|(_, state, count)| (state, count)).collect());
    };
    let briefs = progress::briefs(conn, id)?;
    Ok(count(briefs.iter().filter(|brief| allowed.contains(&brief.computer)).map(|brief| brief.state)))
}

fn count<T: Ord>(all: impl Iterator<Item = T>) -> Vec<(T, u64)> {
    let mut counts = std::collections::BTreeMap::new();
    all.for_each(|one| *counts.entry(one).or_insert(0) += 1);
    counts.into_iter().collect()
}

/// Lines of a table of codes or gates.
const LINES: usize = 50;

/// How a deployment goes on, as a whole.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The deployment and its counters.
    pub summary: Summary,
    /// What failed or expired, by code, the most frequent first.
    pub codes: Vec<CodeCount>,
    /// Open jobs that are withheld, by gate, the most frequent first.
    pub gates: Vec<(String, u64)>,
}

/// How a deployment goes on; for a scope, there. [`DeploymentError::Unknown`] if none of its computers is in it.
pub fn progress(app: &App, id: DeploymentId, scope: Option<Query>) -> Result<Progress, DeploymentError> {
    let now = app.clock.now();
    app.store.read_now(move |conn| {
        let line = deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
        let Some(allowed) = allowed(conn, scope.as_ref(), now)? else {
            let counts = counts_within(conn, id, None)?;
            let (codes, gates) = (progress::codes(conn, &[id], LINES)?, progress::gates(conn, id, LINES)?);
            return Ok(Progress { summary: Summary { line, counts }, codes, gates });
        };
        let mut briefs = progress::briefs(conn, id)?;
        briefs.retain(|brief| allowed.contains(&brief.computer));
        if briefs.is_empty() {
            return Err(DeploymentError::Unknown(id));
        }
        let counts = count(briefs.iter().map(|brief| brief.state));
        let lost = |brief: &&Brief| matches!(brief.state, JobState::Failed | JobState::Expired);
        let codes = count(briefs.iter().filter(lost).map(|brief| (brief.state, brief.result.clone())));
        let mut codes: Vec<CodeCount> = codes
            .into_iter()
            .map(|((state, code), computers)| CodeCount {
                deployment: id,
                state,
                code: code.unwrap_or_default(),
                computers,
            })
            .collect();
        codes.sort_by_key(|code| std::cmp::Reverse(code.computers));
        codes.truncate(LINES);
        let open = briefs.iter().filter(|brief| brief.state.is_open());
        let mut gates = count(open.filter_map(|brief| brief.withheld.clone()));
        gates.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        gates.truncate(LINES);
        Ok(Progress { summary: Summary { line, counts }, codes, gates })
    })
}

/// The newest attempts of a deployment, for a list; for a scope, those there.
pub fn computers(
    app: &App,
    id: DeploymentId,
    wanted: progress::Wanted,
    scope: Option<Query>,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<OnComputer>, StoreError> {
    const PAGE: usize = 1000;
    let now = app.clock.now();
    app.store.read_now(move |conn| {
        let Some(allowed) = allowed(conn, scope.as_ref(), now)? else {
            return progress::list(conn, id, &wanted, after, limit);
        };
        let (mut found, mut after) = (Vec::new(), after);
        loop {
            let page = progress::list(conn, id, &wanted, after, PAGE)?;
            let last = page.len() < PAGE;
            after = page.last().map(|line| line.job.id);
            found.extend(page.into_iter().filter(|line| allowed.contains(&line.job.computer)));
            if last || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    })
}

/// Slices of a chart.
pub const SLICES: i64 = 48;

/// A deployment over time.
#[derive(Clone, Debug)]
pub struct OverTime {
    /// When it was made.
    pub from: UnixTime,
    /// Milliseconds of a slice.
    pub width: i64,
    /// What happened in each of the [`SLICES`] slices.
    pub slices: Vec<Slice>,
}

/// What happened when, in equal slices from its beginning until now, or until the last change of a deployment that ended.
pub fn over_time(app: &App, summary: &Summary) -> Result<OverTime, StoreError> {
    let deployment = &summary.line.deployment;
    let (id, from, now) = (deployment.id, deployment.created_at, app.clock.now());
    let running = is_running(summary);
    app.store.read_now(move |conn| {
        let until = if running { now } else { jobs::last_change(conn, id)?.unwrap_or(now) };
        let width = ((until.millis() - from.millis()) / SLICES + 1).max(1000);
        Ok(OverTime { from, width, slices: progress::slices(conn, id, from, width)? })
    })
}

/// Puts a deployment away: it leaves what needs a look, nobody else gets it, and everything that came of it stays. Gives
/// how many jobs go on to their end.
pub fn close(app: &App, id: DeploymentId) -> Result<u64, DeploymentError> {
    let now = app.clock.now();
    app.store.write_now(move |conn| {
        deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
        if !deployments::set_closed(conn, id, Some(now))? {
            return Err(DeploymentError::Closed(id));
        }
        let counts = counts_within(conn, id, None)?;
        Ok(counts.iter().filter(|(state, _)| state.is_open()).map(|(_, count)| count).sum())
    })
}

/// Takes a deployment out again.
pub fn reopen(app: &App, id: DeploymentId) -> Result<(), DeploymentError> {
    app.store.write_now(move |conn| {
        deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
        if deployments::set_closed(conn, id, None)? { Ok(()) } else { Err(DeploymentError::NotClosed(id)) }
    })
}

/// Every deployment, newest first.
pub fn list(app: &App) -> Result<Vec<Summary>, StoreError> {
    const PAGE: usize = 1000;
    app.store.read_now(move |conn| {
        let mut counts = jobs::counts_of_deployments(conn, None)?;
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let page = deployments::list(conn, before, PAGE)?;
            before = page.last().map(|line| line.deployment.id);
            let more = page.len() == PAGE;
            for line in page {
                let id = line.deployment.id;
                // Both are in the order of their numbers, one upwards, one downwards.
                let from = counts.partition_point(|(deployment, ..)| *deployment < id);
                let own = counts.split_off(from);
                all.push(Summary { line, counts: own.into_iter().map(|(_, state, count)| (state, count)).collect() });
            }
            if !more {
                return Ok(all);
            }
        }
    })
}

/// One deployment.
pub fn find(app: &App, id: DeploymentId) -> Result<Summary, DeploymentError> {
    app.store.read_now(move |conn| {
        let line = deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
        let counts = jobs::counts_of_deployments(conn, Some(id))?;
        Ok(Summary { line, counts: counts.into_iter().map(|(_, state, count)| (state, count)).collect() })
    })
}

/// Hands out a deployment's jobs, earlier attempts included, in order of their number.
pub fn each_job<E: From<StoreError>>(
    app: &App,
    id: DeploymentId,
    mut show: impl FnMut(&JobLine) -> Result<(), E>,
) -> Result<(), E> {
    const PAGE: usize = 1000;
    let mut after: Option<JobId> = None;
    loop {
        let page = app.store.read_now(move |conn| jobs::of_deployment(conn, id, after, PAGE))?;
        page.iter().try_for_each(&mut show)?;
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.job.id),
            _ => return Ok(()),
        }
    }
}

/// What a cancellation did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cancelled {
    /// The package.
    pub package: PackageId,
    /// Jobs that were taken back.
    pub jobs: usize,
    /// Jobs that were offered before and go on.
    pub go_on: usize,
    /// True if computers that come later would have got it until now.
    pub was_standing: bool,
}

/// Takes a deployment back: its open jobs become cancelled, and no computer gets it any more. With `waiting_only`, jobs
/// that an agent was told of go on to their end.
pub fn cancel(app: &App, id: DeploymentId, waiting_only: bool, by: &str) -> Result<Cancelled, DeploymentError> {
    cancel_some(app, id, waiting_only, by, Only::default())
}

/// The same for some of its computers. The deployment itself goes on for the others if not all are meant.
pub fn cancel_some(
    app: &App,
    id: DeploymentId,
    waiting_only: bool,
    by: &str,
    only: Only,
) -> Result<Cancelled, DeploymentError> {
    const OPEN: [JobState; 3] = [JobState::Pending, JobState::Offered, JobState::Downloading];
    let (now, by) = (app.clock.now(), by.to_owned());
    app.store.write_now(move |conn| {
        let line = deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
        let package = line.deployment.package;
        let mut open = jobs::newest_of_deployment(conn, id, &OPEN)?;
        let whole = only.scope.is_none() && only.code.is_none() && only.job.is_none();
        only.narrow(conn, &mut open, now)?;
        let (chosen, rest): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|job| !waiting_only || job.state == JobState::Pending);
        let was_standing = whole && is_standing(&line);
        if !(whole && deployments::cancel(conn, id, now)?) && chosen.is_empty() {
            if !whole {
                return Err(DeploymentError::NothingOpen(id));
            }
            return Err(DeploymentError::AlreadyCancelled(id, if waiting_only { "waiting" } else { "open" }));
        }
        let text = format!("deployment {id} cancelled by {by}");
        let mut happened = Vec::new();
        if whole {
            happened.push(event(now, package, None, String::new(), &text));
        }
        for job in &chosen {
            jobs::cancel(conn, job.job, now)?;
            happened.push(event(now, package, Some((job.computer, job.job)), job.device_id.clone(), &text));
        }
        events::append(conn, &happened)?;
        Ok(Cancelled { package, jobs: chosen.len(), go_on: rest.len(), was_standing })
    })
}

fn event(now: UnixTime, package: PackageId, on: Option<(ComputerId, JobId)>, device_id: String, text: &str) -> Event {
    Event {
        at: now,
        kind: EventKind::Cancelled,
        computer: on.map(|(computer, _)| computer),
        device_id,
        package: Some(package),
        job: on.map(|(_, job)| job),
        text: text.to_owned(),
    }
}

/// What was tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retried {
    /// The package.
    pub package: PackageId,
    /// Jobs that are new.
    pub planned: usize,
    /// Computers that have an open job of the package from elsewhere already.
    pub already: usize,
}

/// Plans a new job on every computer whose newest attempt failed or expired; with `failed_only`, not on those that
/// expired. Earlier attempts stay as they ended (docs/decisions/0165).
pub fn retry(app: &App, id: DeploymentId, failed_only: bool) -> Result<Retried, DeploymentError> {
    retry_some(app, id, failed_only, Only::default())
}

/// The same for some of its computers.
pub fn retry_some(app: &App, id: DeploymentId, failed_only: bool, only: Only) -> Result<Retried, DeploymentError> {
    let now = app.clock.now();
    app.store.write_now(move |conn| {
        let line = deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
        let package = line.deployment.package;
        if packages::find(conn, package)?.is_none_or(|package| package.state != PackageState::Available) {
            return Err(DeploymentError::Withdrawn(package));
        }
        if line.deployment.cancelled_at.is_some() {
            return Err(DeploymentError::Cancelled(id, package));
        }
        if line.deployment.closed_at.is_some() {
            return Err(DeploymentError::Closed(id));
        }
        let states: &[JobState] =
            if failed_only { &[JobState::Failed] } else { &[JobState::Failed, JobState::Expired] };
        let mut ended = jobs::newest_of_deployment(conn, id, states)?;
        only.narrow(conn, &mut ended, now)?;
        if ended.is_empty() {
            let what = if failed_only { "failed" } else { "failed or expired" };
            return Err(DeploymentError::NothingToRetry { id, what, have: spell(conn, id)? });
        }
        let computers: Vec<ComputerId> = ended.iter().map(|job| job.computer).collect();
        let planned = jobs::plan(conn, &line.deployment, &computers, now)?;
        Ok(Retried { package, planned, already: computers.len() - planned })
    })
}

fn spell(conn: &mut Conn, id: DeploymentId) -> Result<String, StoreError> {
    let counts = jobs::counts_of_deployments(conn, Some(id))?;
    let words: Vec<String> = counts.iter().map(|(_, state, count)| format!("{count} {state}")).collect();
    Ok(if words.is_empty() { "it has no computers".to_owned() } else { words.join(", ") })
}
