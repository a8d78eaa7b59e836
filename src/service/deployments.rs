//! Deployments after they were made: how far they are, and what can be done to them.

mod change;

use std::collections::BTreeSet;

use super::App;
use crate::model::query::Query;
use crate::model::{ComputerId, DeploymentId, JobId, JobState, PackageId, UnixTime};
use crate::store::deployments::{DeploymentLine, Wanted};
use crate::store::jobs::JobLine;
use crate::store::progress::{self, Brief, CodeCount, Of, OnComputer, Slice};
use crate::store::{Conn, StoreError, deployments, jobs, search};

pub use crate::store::undo::Among;
pub use change::{
    Act, Cancelled, Changed, Only, Retried, TakenOff, Undone, cancel, cancel_bundle, cancel_some, on_computer,
    on_package, retry, retry_some, take_off, undo_cancel, undo_retry,
};
pub(super) use change::{cancel_together, give_way};

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
    /// None of the computers that are meant is under way, failed or expired.
    #[error("deployment {0} has nothing to take off on these computers: what succeeded stays")]
    NothingToTakeOff(DeploymentId),
    /// It was undone, or something newer is there.
    #[error("there is nothing to undo any more: something else was done since")]
    NothingToUndo,
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

/// The newest attempts of a deployment, or of all of a package, for a list; for a scope, those there.
pub fn computers(
    app: &App,
    of: Of,
    wanted: progress::Wanted,
    scope: Option<Query>,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<OnComputer>, StoreError> {
    const PAGE: usize = 1000;
    let now = app.clock.now();
    app.store.read_now(move |conn| {
        let Some(allowed) = allowed(conn, scope.as_ref(), now)? else {
            return progress::list(conn, of, &wanted, after, limit);
        };
        let (mut found, mut after) = (Vec::new(), after);
        loop {
            let page = progress::list(conn, of, &wanted, after, PAGE)?;
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

/// How many computers ended badly with a package and which code, the most frequent first; for a scope, those there.
pub fn codes_of_package(
    app: &App,
    package: PackageId,
    scope: Option<Query>,
) -> Result<Vec<(JobState, String, u64)>, StoreError> {
    if scope.is_none() {
        return app.store.read_now(move |conn| progress::codes_of_package(conn, package, LINES));
    }
    let wanted = progress::Wanted { states: vec![JobState::Failed, JobState::Expired], ..progress::Wanted::default() };
    let lost = computers(app, Of::Package(package), wanted, scope, None, usize::MAX)?;
    let code = |line: OnComputer| (line.job.state, line.job.result.map(|code| code.to_string()).unwrap_or_default());
    let mut codes: Vec<_> =
        count(lost.into_iter().map(code)).into_iter().map(|((state, code), n)| (state, code, n)).collect();
    codes.sort_by_key(|(_, _, computers)| std::cmp::Reverse(*computers));
    codes.truncate(LINES);
    Ok(codes)
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

/// The deployments that were made in one act with this one, which is among them; none for one that was made alone.
pub fn bundle(app: &App, id: DeploymentId) -> Result<Vec<DeploymentLine>, StoreError> {
    app.store.read_now(move |conn| match deployments::find(conn, id)?.and_then(|line| line.deployment.bundle) {
        Some(bundle) => deployments::of_bundle(conn, bundle),
        None => Ok(Vec::new()),
    })
}
