//! Deployments after they were made: how far they are, taking them back, trying again.

use super::App;
use crate::model::{ComputerId, DeploymentId, JobId, JobState, PackageId, PackageState, UnixTime};
use crate::store::deployments::DeploymentLine;
use crate::store::events::{Event, EventKind};
use crate::store::jobs::JobLine;
use crate::store::{Conn, StoreError, deployments, events, jobs, packages};

/// Why a deployment was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// No such deployment.
    #[error("there is no deployment {0}: `dripfeed deployment list` shows them")]
    Unknown(DeploymentId),
    /// Cancelled, and nothing is open.
    #[error("deployment {0} is cancelled already and has no {1} jobs")]
    AlreadyCancelled(DeploymentId, &'static str),
    /// It was taken back.
    #[error(
        "deployment {0} was cancelled, so it is not tried again: assign the package anew (dripfeed assign {1} --computer …)"
    )]
    Cancelled(DeploymentId, PackageId),
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
    (deployment.all_computers || deployment.group.is_some()) && deployment.cancelled_at.is_none()
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
    const OPEN: [JobState; 3] = [JobState::Pending, JobState::Offered, JobState::Downloading];
    let (now, by) = (app.clock.now(), by.to_owned());
    app.store.write_now(move |conn| {
        let line = deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
        let package = line.deployment.package;
        let open = jobs::newest_of_deployment(conn, id, &OPEN)?;
        let (chosen, rest): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|job| !waiting_only || job.state == JobState::Pending);
        let was_standing = is_standing(&line);
        if !deployments::cancel(conn, id, now)? && chosen.is_empty() {
            return Err(DeploymentError::AlreadyCancelled(id, if waiting_only { "waiting" } else { "open" }));
        }
        let text = format!("deployment {id} cancelled by {by}");
        let mut happened = vec![event(now, package, None, String::new(), &text)];
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
        let states: &[JobState] =
            if failed_only { &[JobState::Failed] } else { &[JobState::Failed, JobState::Expired] };
        let ended = jobs::newest_of_deployment(conn, id, states)?;
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
