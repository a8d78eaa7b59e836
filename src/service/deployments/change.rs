//! What is done to deployments after they were made: taking back, trying again, taking computers off; for all computers,
//! for those that a filter shows, or for some that were ticked. Each can be undone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::App;
use super::{DeploymentError, allowed, is_standing};
use crate::model::query::Query;
use crate::model::{ComputerId, DeploymentId, JobId, JobState, PackageId, PackageState, UnixTime};
use crate::store::deployments::DeploymentLine;
use crate::store::events::{Event, EventKind};
use crate::store::jobs::JobOn;
use crate::store::progress::Wanted;
use crate::store::undo::{self, Among, Common};
use crate::store::{Conn, StoreError, deployments, events, jobs, packages};

const OPEN: [JobState; 3] = [JobState::Pending, JobState::Offered, JobState::Downloading];
const LOST: [JobState; 2] = [JobState::Failed, JobState::Expired];

/// Which of a deployment's computers are meant; all of them by default.
#[derive(Clone, Debug, Default)]
pub struct Only {
    /// Those that this query asks for: the actor's scope.
    pub scope: Option<Query>,
    /// Those that a filter shows.
    pub wanted: Wanted,
    /// Those with these attempts.
    pub jobs: Option<BTreeSet<JobId>>,
    /// These.
    pub computers: Option<BTreeSet<ComputerId>>,
}

impl Only {
    fn is_whole(&self) -> bool {
        self.scope.is_none() && self.wanted == Wanted::default() && self.jobs.is_none() && self.computers.is_none()
    }
}

/// Who does it, when, to whom.
struct Order<'a> {
    by: &'a str,
    now: UnixTime,
    only: &'a Only,
    allowed: Option<Arc<BTreeSet<ComputerId>>>,
}

impl<'a> Order<'a> {
    fn new(conn: &mut Conn, by: &'a str, now: UnixTime, only: &'a Only) -> Result<Self, StoreError> {
        Ok(Self { by, now, only, allowed: allowed(conn, only.scope.as_ref(), now)?.map(Arc::new) })
    }

    /// The newest attempts that are meant, of those in one of these states.
    fn find(&self, conn: &mut Conn, id: DeploymentId, states: &[JobState]) -> Result<Vec<JobOn>, StoreError> {
        let mut found = jobs::newest_of_deployment(conn, id, states, self.only.jobs.as_ref())?;
        found.retain(|job| {
            self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&job.computer))
                && self.only.computers.as_ref().is_none_or(|named| named.contains(&job.computer))
                && self.only.wanted.shows(job.state, job.result.as_deref(), job.withheld.as_deref())
        });
        Ok(found)
    }

    fn event(&self, kind: EventKind, package: PackageId, on: Option<&JobOn>, text: &str) -> Event {
        Event {
            at: self.now,
            kind,
            computer: on.map(|job| job.computer),
            device_id: on.map(|job| job.device_id.clone()).unwrap_or_default(),
            package: Some(package),
            job: on.map(|job| job.job),
            text: text.to_owned(),
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
    /// When: by this it can be undone.
    pub at: UnixTime,
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
    let (now, by) = (app.clock.now(), by.to_owned());
    app.store.write_now(move |conn| {
        let order = Order::new(conn, &by, now, &only)?;
        cancel_in(conn, id, waiting_only, &order)
    })
}

/// Takes back every deployment of the bundle that one is of, or that one alone; those that `shows` leaves out go on.
pub fn cancel_bundle(
    app: &App,
    id: DeploymentId,
    by: &str,
    scope: Option<Query>,
    shows: impl Fn(&DeploymentLine) -> bool + Send + 'static,
) -> Result<Cancelled, DeploymentError> {
    let (now, by) = (app.clock.now(), by.to_owned());
    app.store.write_now(move |conn| {
        let only = Only { scope, ..Only::default() };
        let order = Order::new(conn, &by, now, &only)?;
        cancel_all(conn, id, &order, shows)
    })
}

/// Takes back a deployment and all that were made in one act with it.
pub(in crate::service) fn cancel_together(
    conn: &mut Conn,
    id: DeploymentId,
    by: &str,
    now: UnixTime,
) -> Result<Cancelled, DeploymentError> {
    let only = Only::default();
    cancel_all(conn, id, &Order { by, now, only: &only, allowed: None }, |_| true)
}

fn cancel_all(
    conn: &mut Conn,
    id: DeploymentId,
    order: &Order<'_>,
    shows: impl Fn(&DeploymentLine) -> bool,
) -> Result<Cancelled, DeploymentError> {
    let line = deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
    let package = line.deployment.package;
    let mut all = Cancelled { package, jobs: 0, go_on: 0, was_standing: false, at: order.now };
    let mut is_any = false;
    for one in together(conn, line)?.into_iter().filter(|line| shows(line)) {
        match cancel_in(conn, one.deployment.id, false, order) {
            Ok(cancelled) => {
                is_any = true;
                all.jobs += cancelled.jobs;
                all.was_standing |= cancelled.was_standing;
            }
            Err(DeploymentError::AlreadyCancelled(..) | DeploymentError::NothingOpen(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if is_any { Ok(all) } else { Err(DeploymentError::AlreadyCancelled(id, "open")) }
}

/// The deployments that were made in one act with this one, which is among them.
pub(super) fn together(conn: &mut Conn, line: DeploymentLine) -> Result<Vec<DeploymentLine>, StoreError> {
    match line.deployment.bundle {
        Some(bundle) => deployments::of_bundle(conn, bundle),
        None => Ok(vec![line]),
    }
}

fn cancel_in(
    conn: &mut Conn,
    id: DeploymentId,
    waiting_only: bool,
    order: &Order<'_>,
) -> Result<Cancelled, DeploymentError> {
    let line = deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
    let (package, whole) = (line.deployment.package, order.only.is_whole());
    let open = order.find(conn, id, &OPEN)?;
    let (chosen, rest): (Vec<_>, Vec<_>) =
        open.into_iter().partition(|job| !waiting_only || job.state == JobState::Pending);
    let was_standing = whole && is_standing(&line);
    if !(whole && deployments::cancel(conn, id, order.now)?) && chosen.is_empty() {
        if !whole {
            return Err(DeploymentError::NothingOpen(id));
        }
        return Err(DeploymentError::AlreadyCancelled(id, if waiting_only { "waiting" } else { "open" }));
    }
    let text = format!("deployment {id} cancelled by {}", order.by);
    if whole {
        events::append(conn, &[order.event(EventKind::Cancelled, package, None, &text)])?;
    }
    take_back(conn, package, &chosen, &text, order)?;
    Ok(Cancelled { package, jobs: chosen.len(), go_on: rest.len(), was_standing, at: order.now })
}

fn take_back(
    conn: &mut Conn,
    package: PackageId,
    open: &[JobOn],
    text: &str,
    order: &Order<'_>,
) -> Result<(), StoreError> {
    let mut happened = Vec::with_capacity(open.len());
    for job in open {
        jobs::cancel(conn, job.job, order.now)?;
        happened.push(order.event(EventKind::Cancelled, package, Some(job), text));
    }
    events::append(conn, &happened)
}

/// A deployment, and those that were made in one act with it, gives way to something newer: what is open is taken back, and
/// it is put away with its results, so that nobody has to look at failures that were tried anew. Gives how many jobs were
/// taken back.
pub(in crate::service) fn give_way(
    conn: &mut Conn,
    id: DeploymentId,
    to: &str,
    now: UnixTime,
) -> Result<usize, StoreError> {
    let Some(line) = deployments::find(conn, id)? else { return Ok(0) };
    let only = Only::default();
    let order = Order { by: to, now, only: &only, allowed: None };
    let mut jobs = 0;
    for one in together(conn, line)? {
        let deployment = one.deployment;
        let open = order.find(conn, deployment.id, &OPEN)?;
        take_back(conn, deployment.package, &open, &format!("given over to {to}"), &order)?;
        deployments::set_closed(conn, deployment.id, Some(now))?;
        jobs += open.len();
    }
    Ok(jobs)
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
    /// When: by this it can be undone.
    pub at: UnixTime,
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
        let order = Order::new(conn, "", now, &only)?;
        retry_in(conn, id, failed_only, &order)
    })
}

fn retry_in(
    conn: &mut Conn,
    id: DeploymentId,
    failed_only: bool,
    order: &Order<'_>,
) -> Result<Retried, DeploymentError> {
    let line = deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
    let package = line.deployment.package;
    is_there(conn, package)?;
    if line.deployment.cancelled_at.is_some() {
        return Err(DeploymentError::Cancelled(id, package));
    }
    if line.deployment.closed_at.is_some() {
        return Err(DeploymentError::Closed(id));
    }
    let ended = order.find(conn, id, if failed_only { &LOST[..1] } else { &LOST })?;
    if ended.is_empty() {
        let what = if failed_only { "failed" } else { "failed or expired" };
        return Err(DeploymentError::NothingToRetry { id, what, have: spell(conn, id)? });
    }
    let computers: Vec<ComputerId> = ended.iter().map(|job| job.computer).collect();
    let planned = jobs::plan(conn, &line.deployment, &computers, order.now)?;
    Ok(Retried { package, planned, already: computers.len() - planned, at: order.now })
}

fn is_there(conn: &mut Conn, package: PackageId) -> Result<(), DeploymentError> {
    match packages::find(conn, package)? {
        Some(found) if found.state == PackageState::Available => Ok(()),
        _ => Err(DeploymentError::Withdrawn(package)),
    }
}

fn spell(conn: &mut Conn, id: DeploymentId) -> Result<String, StoreError> {
    let counts = jobs::counts_of_deployments(conn, Some(id))?;
    let words: Vec<String> = counts.iter().map(|(_, state, count)| format!("{count} {state}")).collect();
    Ok(if words.is_empty() { "it has no computers".to_owned() } else { words.join(", ") })
}

/// What taking computers off a deployment did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TakenOff {
    /// The package.
    pub package: PackageId,
    /// Open jobs that were taken back.
    pub open: usize,
    /// Jobs that had failed or expired, and are not tried again with the others any more.
    pub ended: usize,
    /// When: by this it can be undone.
    pub at: UnixTime,
}

/// Takes computers off a deployment: what is open there is taken back, and what failed needs nobody's look and is not tried
/// again with the others. What the agents said stays on record.
pub fn take_off(app: &App, id: DeploymentId, by: &str, only: Only) -> Result<TakenOff, DeploymentError> {
    let (now, by) = (app.clock.now(), by.to_owned());
    app.store.write_now(move |conn| {
        let order = Order::new(conn, &by, now, &only)?;
        take_off_in(conn, id, &order)
    })
}

fn take_off_in(conn: &mut Conn, id: DeploymentId, order: &Order<'_>) -> Result<TakenOff, DeploymentError> {
    let line = deployments::find(conn, id)?.ok_or(DeploymentError::Unknown(id))?;
    let package = line.deployment.package;
    let found = order.find(conn, id, &[OPEN.as_slice(), LOST.as_slice()].concat())?;
    if found.is_empty() {
        return Err(DeploymentError::NothingToTakeOff(id));
    }
    let text = format!("taken off deployment {id} by {}", order.by);
    let mut happened = Vec::new();
    for job in &found {
        undo::take_off(conn, job.job, order.now)?;
        happened.push(order.event(EventKind::Cancelled, package, Some(job), &text));
    }
    events::append(conn, &happened)?;
    let open = found.iter().filter(|job| job.state.is_open()).count();
    Ok(TakenOff { package, open, ended: found.len() - open, at: order.now })
}

/// What can be done to jobs of whatever deployments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// Take back what is open.
    Cancel,
    /// Try again what failed or expired.
    Retry,
    /// Take the computers off.
    TakeOff,
}

/// What was done to jobs of several deployments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Changed {
    /// Jobs that were taken back, taken off, or planned anew.
    pub changed: usize,
    /// When: by this it can be undone.
    pub at: UnixTime,
}

/// Does something to these jobs of a computer. Where it makes no sense they stay as they are; if that is all of them, the
/// first says why.
pub fn on_computer(
    app: &App,
    computer: ComputerId,
    chosen: BTreeSet<JobId>,
    act: Act,
    by: &str,
) -> Result<Changed, DeploymentError> {
    let only = Only { jobs: Some(chosen), ..Only::default() };
    on_common(app, Common::Computer(computer), only, act, by)
}

/// The same to jobs of a package: to some that were named, or to all that a filter shows, in all of its deployments.
pub fn on_package(app: &App, package: PackageId, only: Only, act: Act, by: &str) -> Result<Changed, DeploymentError> {
    on_common(app, Common::Package(package), only, act, by)
}

fn on_common(app: &App, common: Common, only: Only, act: Act, by: &str) -> Result<Changed, DeploymentError> {
    let (now, by) = (app.clock.now(), by.to_owned());
    app.store.write_now(move |conn| {
        let all = Order::new(conn, &by, now, &only)?;
        let (mut changed, mut refused) = (0, None);
        for (deployment, only) in by_deployment(conn, common, &only)? {
            let order = Order { only: &only, allowed: all.allowed.clone(), ..all };
            let done = match act {
                Act::Cancel => cancel_in(conn, deployment, false, &order).map(|done| done.jobs),
                Act::Retry => retry_in(conn, deployment, false, &order).map(|done| done.planned),
                Act::TakeOff => take_off_in(conn, deployment, &order).map(|done| done.open + done.ended),
            };
            match done {
                Ok(done) => changed += done,
                Err(DeploymentError::Store(error)) => return Err(error.into()),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(error) if changed == 0 => Err(error),
            _ => Ok(Changed { changed, at: now }),
        }
    })
}

/// Deployments of one package that are looked at, the newest.
const DEPLOYMENTS: usize = 1000;

/// What is meant, deployment by deployment.
fn by_deployment(conn: &mut Conn, common: Common, only: &Only) -> Result<BTreeMap<DeploymentId, Only>, StoreError> {
    let mut parts: BTreeMap<DeploymentId, Only> = BTreeMap::new();
    if let Some(chosen) = &only.jobs {
        for (job, deployment) in undo::deployments_of(conn, common, chosen)? {
            let part = parts.entry(deployment).or_insert_with(|| Only { jobs: Some(BTreeSet::new()), ..only.clone() });
            part.jobs.get_or_insert_default().insert(job);
        }
    } else if let Common::Package(package) = common {
        let lines = deployments::of_package(conn, package, DEPLOYMENTS)?;
        parts.extend(lines.into_iter().map(|line| (line.deployment.id, only.clone())));
    }
    Ok(parts)
}

/// What an undo did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Undone {
    /// Jobs that are as they were.
    pub jobs: usize,
    /// Jobs that are not: something newer is there, or an agent was told meanwhile.
    pub left: usize,
}

/// Undoes a cancellation, or taking off, that was done at that very moment: what was open, had failed or had expired is so
/// again, and a deployment that stood for those to come does. For a scope, on its computers.
pub fn undo_cancel(
    app: &App,
    among: Among,
    at: UnixTime,
    by: &str,
    scope: Option<Query>,
) -> Result<Undone, DeploymentError> {
    let (now, by) = (app.clock.now(), by.to_owned());
    app.store.write_now(move |conn| {
        let allowed = allowed(conn, scope.as_ref(), now)?;
        let mut was = undo::cancelled_at(conn, &among, at)?;
        was.retain(|job| allowed.as_ref().is_none_or(|allowed| allowed.contains(&job.computer)));
        let stands = if allowed.is_none() { undo::revive_deployments(conn, &among, at)? } else { 0 };
        if was.is_empty() && stands == 0 {
            return Err(DeploymentError::NothingToUndo);
        }
        for package in was.iter().map(|job| job.package).collect::<BTreeSet<_>>() {
            is_there(conn, package)?;
        }
        let mut by_state: BTreeMap<JobState, Vec<JobId>> = BTreeMap::new();
        for job in &was {
            by_state.entry(job.before()).or_default().push(job.job);
        }
        let mut back = BTreeSet::new();
        for (state, jobs) in &by_state {
            back.extend(undo::set_state(conn, jobs, *state, now)?);
        }
        let text = format!("the cancellation was undone by {by}");
        let restored = was.iter().filter(|job| back.contains(&job.job)).map(|job| Event {
            at: now,
            kind: EventKind::Restored,
            computer: Some(job.computer),
            device_id: job.device_id.clone(),
            package: Some(job.package),
            job: Some(job.job),
            text: text.clone(),
        });
        events::append(conn, &restored.collect::<Vec<_>>())?;
        Ok(Undone { jobs: back.len(), left: was.len() - back.len() })
    })
}

/// Undoes a retry that was made at that very moment: attempts that no agent was told of are gone, and the ones before them
/// count again. For a scope, on its computers.
pub fn undo_retry(app: &App, among: Among, at: UnixTime, scope: Option<Query>) -> Result<Undone, DeploymentError> {
    let now = app.clock.now();
    app.store.write_now(move |conn| {
        let allowed = allowed(conn, scope.as_ref(), now)?;
        let mut planned = undo::retried_at(conn, &among, at)?;
        planned.retain(|job| allowed.as_ref().is_none_or(|allowed| allowed.contains(&job.computer)));
        let (untold, told): (Vec<_>, Vec<_>) = planned.into_iter().partition(|job| job.state == JobState::Pending);
        if untold.is_empty() && told.is_empty() {
            return Err(DeploymentError::NothingToUndo);
        }
        undo::unplan(conn, &untold)?;
        Ok(Undone { jobs: untold.len(), left: told.len() })
    })
}
