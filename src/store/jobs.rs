//! Jobs: one package on one computer within a deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diesel::dsl::{Eq, IsNull, sql};
use diesel::expression::ValidGrouping;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::approvals::awaited;
use super::connection::{Steady, q};
use super::installations::HISTORY;
use super::row::{At, limit as rows, rows_of, text, time};
use super::schema::{approvals, computers, deployments, installations, job_counts, jobs, packages};
use super::terms::{KnownTerms, Terms};
use super::{Conn, StoreError};
use crate::model::{
    Awaited, ComputerId, Deployment, DeploymentId, FragmentCount, Job, JobId, JobState, PackageId, PackageState,
    PostCommand, Priority, ResultCode, Schedule, UnixTime,
};

/// An open job with all that decides whether it is offered. Many are kept, so it is small: what it shares with others of its
/// deployment is there once.
#[derive(Clone, Debug)]
pub struct OpenJob {
    /// The job.
    pub id: JobId,
    /// Where it is.
    pub state: JobState,
    /// Does the agent's own history, as its inventory last told it, have the package?
    pub in_history: bool,
    /// How the newest job of the package that comes first stands on the computer, if one does and there is a job of it.
    pub earlier: Option<JobState>,
    /// The gate that withheld it at the last contact.
    pub withheld: Option<Box<str>>,
    /// The approval that its deployment waits for.
    pub awaited: Option<Box<Awaited>>,
    /// What, how, where from and when.
    pub terms: Arc<Terms>,
}

impl OpenJob {
    /// Bytes that it takes beside the terms.
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + self.withheld.as_ref().map_or(0, |text| text.len())
            + self.awaited.as_ref().map_or(0, |awaited| size_of::<Awaited>() + awaited.asked_by.len())
    }
}

/// A job for a list, with the names that people read.
#[derive(Clone, Debug)]
pub struct JobLine {
    /// The job.
    pub job: Job,
    /// Name of the computer.
    pub computer_name: String,
    /// Its wire name.
    pub device_id: String,
    /// Name of the package.
    pub package_name: String,
    /// Its version.
    pub package_version: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = jobs)]
pub(super) struct JobRow {
    id: i64,
    deployment_id: i64,
    computer_id: i64,
    package_id: i64,
    force: bool,
    schedule: Option<String>,
    post_command: Option<String>,
    state: String,
    result: Option<String>,
    withheld: Option<String>,
    created_at: i64,
    offered_at: Option<i64>,
    finished_at: Option<i64>,
    updated_at: i64,
    follows: Option<i64>,
}

impl TryFrom<JobRow> for Job {
    type Error = StoreError;

    fn try_from(row: JobRow) -> Result<Self, StoreError> {
        let at = At("jobs", row.id);
        Ok(Self {
            id: JobId(row.id),
            deployment: DeploymentId(row.deployment_id),
            computer: ComputerId(row.computer_id),
            package: at.package(row.package_id)?,
            options: at.options(row.force, row.schedule.as_deref(), row.post_command.as_deref(), row.follows)?,
            state: at.check(row.state.parse())?,
            result: row.result.as_deref().map(ResultCode::from_wire),
            withheld: row.withheld,
            created_at: UnixTime::from_millis(row.created_at),
            offered_at: time(row.offered_at),
            finished_at: time(row.finished_at),
            updated_at: UnixTime::from_millis(row.updated_at),
        })
    }
}

/// The job is open: its end has no time. The words of the partial indexes, and nothing that changes when a job is offered.
fn is_open() -> IsNull<jobs::finished_at> {
    jobs::finished_at.is_null()
}

/// Are these states all open, or all of them ends? `None` for a mixture and for none. Whoever asks for states says this, too,
/// in the words of the partial indexes.
pub(super) fn all_open(states: &[JobState]) -> Option<bool> {
    let first = states.first()?.is_open();
    states.iter().all(|state| state.is_open() == first).then_some(first)
}

/// "How the newest job of the package that comes first stands on the same computer"; null if nothing comes first. A text
/// without parameters that says that it never changes, so that the statement stays prepared, and one look into an index for each job of the prolog's one query.
#[derive(Clone, Copy, Debug, QueryId, ValidGrouping)]
struct Earlier;

impl Expression for Earlier {
    type SqlType = Nullable<Text>;
}
impl<Source> AppearsOnTable<Source> for Earlier {}
impl<Source> SelectableExpression<Source> for Earlier {}

impl<DB: diesel::backend::Backend> QueryFragment<DB> for Earlier {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(
            "(SELECT earlier.state FROM jobs AS earlier WHERE earlier.computer_id = jobs.computer_id \
             AND earlier.package_id = jobs.follows ORDER BY earlier.id DESC LIMIT 1)",
        );
        Ok(())
    }
}

/// Plans a job of this deployment on each computer, but not where the same package has an open job already; those are
/// left as they are, and so are computers that are gone. Gives how many were planned.
pub fn plan(
    conn: &mut Conn,
    deployment: &Deployment,
    computers: &[ComputerId],
    now: UnixTime,
) -> Result<usize, StoreError> {
    let numbers: Vec<i64> = computers.iter().map(|id| id.0).collect();
    let options = &deployment.options;
    let before = jobs::table.filter(jobs::deployment_id.eq(deployment.id.0)).select(jobs::id);
    let is_first = q!(conn => before.first::<i64>(conn).optional())?.is_none();
    let mut planned = 0;
    for chunk in numbers.chunks(rows_of(1) - 16) {
        let snapshot = computers::table.filter(computers::id.eq_any(chunk)).order(computers::id).select((
            deployment.id.0.into_sql::<BigInt>(),
            computers::id,
            i64::from(deployment.package).into_sql::<BigInt>(),
            options.force.into_sql::<Bool>(),
            options.schedule.as_ref().map(Schedule::as_str).into_sql::<Nullable<Text>>(),
            options.post_command.as_ref().map(PostCommand::as_str).into_sql::<Nullable<Text>>(),
            JobState::Pending.as_str().into_sql::<Text>(),
            now.millis().into_sql::<BigInt>(),
            now.millis().into_sql::<BigInt>(),
            options.follows.map(i64::from).into_sql::<Nullable<BigInt>>(),
            deployment.approval.map(|id| id.0).into_sql::<Nullable<BigInt>>(),
        ));
        planned += q!(conn => diesel::insert_into(jobs::table)
            .values(snapshot)
            .into_columns((
                jobs::deployment_id,
                jobs::computer_id,
                jobs::package_id,
                jobs::force,
                jobs::schedule,
                jobs::post_command,
                jobs::state,
                jobs::created_at,
                jobs::updated_at,
                jobs::follows,
                jobs::approval_id,
            ))
            // The index on open jobs conflicts.
            .on_conflict_do_nothing()
            .execute(conn))?;
        if !is_first {
            mark_retried(conn, chunk)?;
        }
    }
    Ok(planned)
}

/// Says anew of these computers' jobs which is the newest attempt of its deployment.
pub(super) fn mark_retried(conn: &mut Conn, computers: &[i64]) -> Result<(), StoreError> {
    // The plus keeps SQLite from going through the whole deployment for each of its jobs.
    const NEWER: &str = "EXISTS (SELECT 1 FROM jobs AS newer WHERE newer.computer_id = jobs.computer_id \
         AND newer.package_id = jobs.package_id AND newer.id > jobs.id AND +newer.deployment_id = jobs.deployment_id)";
    let of = || jobs::table.filter(jobs::computer_id.eq_any(computers));
    let older = of().filter(jobs::retried.eq(false)).filter(sql::<Bool>(NEWER));
    q!(conn => diesel::update(older).set(jobs::retried.eq(true)).execute(conn))?;
    // A job that was given to another computer may be the newest there.
    let newest = of().filter(jobs::retried.eq(true)).filter(diesel::dsl::not(sql::<Bool>(NEWER)));
    q!(conn => diesel::update(newest).set(jobs::retried.eq(false)).execute(conn))?;
    Ok(())
}

/// Those of these computers that have had a job of this deployment, whatever became of it.
pub fn computers_of_deployment(
    conn: &mut Conn,
    deployment: &Deployment,
    computers: &[ComputerId],
) -> Result<BTreeSet<ComputerId>, StoreError> {
    let numbers: Vec<i64> = computers.iter().map(|id| id.0).collect();
    let mut found = BTreeSet::new();
    for chunk in numbers.chunks(rows_of(1) - 16) {
        let query = jobs::table
            .filter(jobs::computer_id.eq_any(chunk))
            .filter(jobs::package_id.eq(i64::from(deployment.package)))
            .filter(jobs::deployment_id.eq(deployment.id.0))
            .select(jobs::computer_id);
        let some: Vec<i64> = q!(conn => query.load(conn))?;
        found.extend(some.into_iter().map(ComputerId));
    }
    Ok(found)
}

/// The open jobs of a computer, in the order of their creation: one query, whatever their number, and another one for terms
/// that are not known yet.
pub fn open_of_computer(conn: &mut Conn, computer: ComputerId, known: &KnownTerms) -> Result<Vec<OpenJob>, StoreError> {
    type Snapshot = (bool, Option<String>, Option<String>, Option<i64>);
    type Waits = (i64, i64, String);
    type Found = ((i64, i64, i64), Snapshot, (String, Option<String>), Option<i64>, Option<String>, Option<Waits>);
    let told = installations::computer_id
        .eq(jobs::computer_id)
        .and(installations::package_id.eq(jobs::package_id))
        .and(installations::via.eq(HISTORY));
    let query = jobs::table
        .left_join(installations::table.on(told))
        // Most jobs name none, and then nothing is looked up.
        .left_join(
            approvals::table.on(jobs::approval_id.eq(approvals::id.nullable()).and(approvals::let_go_at.is_null())),
        )
        .filter(jobs::computer_id.eq(computer.0))
        .filter(is_open())
        .order(jobs::id);
    let found: Vec<Found> = q!(conn => query
        .select((
            (jobs::id, jobs::deployment_id, jobs::package_id),
            (jobs::force, jobs::schedule, jobs::post_command, jobs::follows),
            (jobs::state, jobs::withheld),
            installations::package_id.nullable(),
            Earlier,
            (approvals::given, approvals::needed, approvals::asked_by).nullable(),
        ))
        .load(conn))?;
    let deployments: Vec<i64> = found.iter().map(|((_, deployment, _), ..)| *deployment).collect();
    let terms = known.of(conn, &deployments)?;
    let parse = |(row, mut terms): (Found, Arc<Terms>)| {
        let ((id, _, package), (force, schedule, post_command, follows), (state, withheld), told, earlier, waits) = row;
        let at = At("jobs", id);
        if i64::from(terms.package) != package {
            return Err(at.corrupt(format_args!("package_id is {package}, its deployment's is {}", terms.package)));
        }
        let options = at.options(force, schedule.as_deref(), post_command.as_deref(), follows)?;
        if terms.options != options {
            // It keeps those of the day on which it was planned.
            terms = Arc::new(Terms { options, ..Terms::clone(&terms) });
        }
        Ok(OpenJob {
            id: JobId(id),
            state: at.check(state.parse())?,
            in_history: told.is_some(),
            earlier: earlier.map(|state| at.check(state.parse())).transpose()?,
            withheld: withheld.map(String::into_boxed_str),
            awaited: waits.map(|waits| awaited(waits, id)).transpose()?.map(Box::new),
            terms,
        })
    };
    found.into_iter().zip(terms).map(parse).collect()
}

/// The open jobs of a computer, each with its package.
pub fn open_numbers(conn: &mut Conn, computer: ComputerId) -> Result<Vec<(JobId, PackageId)>, StoreError> {
    let query = jobs::table.filter(jobs::computer_id.eq(computer.0)).filter(is_open()).order(jobs::id);
    let found: Vec<(i64, i64)> = q!(conn => query.select((jobs::id, jobs::package_id)).load(conn))?;
    found.into_iter().map(|(id, package)| Ok((JobId(id), At("jobs", id).package(package)?))).collect()
}

/// Pending jobs become offered; jobs already offered stay as they are.
pub fn mark_offered(conn: &mut Conn, jobs: &[JobId], now: UnixTime) -> Result<(), StoreError> {
    let offered = (
        jobs::state.eq(JobState::Offered.as_str()),
        jobs::offered_at.eq(now.millis()),
        jobs::withheld.eq(None::<&str>),
        jobs::updated_at.eq(now.millis()),
    );
    let pending = jobs::state.eq(JobState::Pending.as_str());
    // Four at a time: always the same statement, so it stays prepared. `eq_any` is a new one each time.
    for four in jobs.chunks(4) {
        let at = |n: usize| four[n.min(four.len() - 1)].0;
        let few = jobs::id.eq(at(0)).or(jobs::id.eq(at(1))).or(jobs::id.eq(at(2))).or(jobs::id.eq(at(3)));
        let told = diesel::update(jobs::table.filter(few).filter(pending)).set(offered);
        q!(conn => Steady(told).run(conn))?;
    }
    Ok(())
}

/// Writes why a job was withheld, or that it is not any more. Writes nothing if that is what the row says.
pub fn set_withheld(conn: &mut Conn, job: JobId, reason: Option<&str>, now: UnixTime) -> Result<(), StoreError> {
    let changed = (jobs::withheld.eq(reason.map(text)), jobs::updated_at.eq(now.millis()));
    let row = jobs::table.find(job.0);
    if let Some(reason) = reason {
        let other = row.filter(jobs::withheld.is_null().or(jobs::withheld.ne(text(reason))));
        q!(conn => Steady(diesel::update(other).set(changed)).run(conn))?;
    } else {
        let said = row.filter(jobs::withheld.is_not_null());
        q!(conn => Steady(diesel::update(said).set(changed)).run(conn))?;
    }
    Ok(())
}

/// Ends a job with a result.
pub fn finish(
    conn: &mut Conn,
    job: JobId,
    state: JobState,
    code: &ResultCode,
    now: UnixTime,
) -> Result<(), StoreError> {
    let ended = diesel::update(jobs::table.find(job.0)).set((
        jobs::state.eq(state.as_str()),
        jobs::result.eq(code.as_str()),
        jobs::withheld.eq(None::<&str>),
        jobs::finished_at.eq(now.millis()),
        jobs::updated_at.eq(now.millis()),
    ));
    q!(conn => Steady(ended).run(conn))?;
    Ok(())
}

/// The job that a report is about: the newest open one of that package, else the newest of any state.
pub fn for_report(conn: &mut Conn, computer: ComputerId, package: PackageId) -> Result<Option<Job>, StoreError> {
    let query = jobs::table
        .filter(jobs::computer_id.eq(computer.0))
        .filter(jobs::package_id.eq(i64::from(package)))
        .order((is_open().desc(), jobs::id.desc()));
    q!(conn => query.select(JobRow::as_select()).first(conn).optional())?.map(Job::try_from).transpose()
}

/// Takes one job back. True if it was open.
pub fn cancel(conn: &mut Conn, job: JobId, now: UnixTime) -> Result<bool, StoreError> {
    let open = jobs::table.find(job.0).filter(is_open());
    Ok(q!(conn => diesel::update(open).set(cancelled(now)).execute(conn))? > 0)
}

/// Open jobs of a package become cancelled. Gives how many.
pub fn cancel_of_package(conn: &mut Conn, package: PackageId, now: UnixTime) -> Result<usize, StoreError> {
    let of_package = deployments::table.filter(deployments::package_id.eq(i64::from(package)));
    let open = jobs::table.filter(jobs::deployment_id.eq_any(of_package.select(deployments::id))).filter(is_open());
    Ok(q!(conn => diesel::update(open).set(cancelled(now)).execute(conn))?)
}

type Cancelled = (
    Eq<jobs::state, &'static str>,
    Eq<jobs::withheld, Option<&'static str>>,
    Eq<jobs::finished_at, i64>,
    Eq<jobs::updated_at, i64>,
);

fn cancelled(now: UnixTime) -> Cancelled {
    (
        jobs::state.eq(JobState::Cancelled.as_str()),
        jobs::withheld.eq(None::<&str>),
        jobs::finished_at.eq(now.millis()),
        jobs::updated_at.eq(now.millis()),
    )
}

/// A job with the computer that it is for, by its wire name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobOn {
    /// The job.
    pub job: JobId,
    /// Its state.
    pub state: JobState,
    /// The computer.
    pub computer: ComputerId,
    /// The computer's wire name.
    pub device_id: String,
    /// The result's code, if it has one.
    pub result: Option<String>,
    /// The gate that withholds it.
    pub withheld: Option<String>,
}

/// The newest attempt on each computer within a deployment, those in one of these states, in order of their number; of
/// all, or of some jobs.
pub fn newest_of_deployment(
    conn: &mut Conn,
    deployment: DeploymentId,
    states: &[JobState],
    among: Option<&BTreeSet<JobId>>,
) -> Result<Vec<JobOn>, StoreError> {
    type Found = (i64, String, i64, String, Option<String>, Option<String>);
    let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let among: Option<Vec<i64>> = among.map(|among| among.iter().map(|job| job.0).collect());
    let found: Vec<Found> = q!(conn => {
        let query = jobs::table
            .inner_join(computers::table.on(computers::id.eq(jobs::computer_id)))
            .filter(jobs::deployment_id.eq(deployment.0))
            .filter(jobs::state.eq_any(words.clone()))
            .filter(jobs::retried.eq(false))
            .order(jobs::id)
            .select((
                jobs::id,
                jobs::state,
                jobs::computer_id,
                computers::device_id,
                jobs::result,
                jobs::withheld,
            ))
            .into_boxed();
        let query = match all_open(states) {
            Some(true) => query.filter(jobs::finished_at.is_null()),
            Some(false) => query.filter(jobs::finished_at.is_not_null()),
            None => query,
        };
        match among.clone() {
            Some(among) => query.filter(jobs::id.eq_any(among)).load(conn),
            None => query.load(conn),
        }
    })?;
    let parse = |(job, state, computer, device_id, result, withheld): Found| {
        let state = At("jobs", job).check(state.parse())?;
        Ok(JobOn { job: JobId(job), state, computer: ComputerId(computer), device_id, result, withheld })
    };
    found.into_iter().map(parse).collect()
}

/// How many computers of each deployment are in each state, by their newest attempt; of one deployment, or of all. By
/// deployment, then in the order of [`JobState::ALL`].
pub fn counts_of_deployments(
    conn: &mut Conn,
    deployment: Option<DeploymentId>,
) -> Result<Vec<(DeploymentId, JobState, u64)>, StoreError> {
    let (from, to) = deployment.map_or((i64::MIN, i64::MAX), |id| (id.0, id.0));
    let found: Vec<(i64, String, i64)> = q!(conn => job_counts::table
        .filter(job_counts::deployment_id.ge(from))
        .filter(job_counts::deployment_id.le(to))
        .filter(job_counts::retried.eq(false))
        .filter(job_counts::jobs.gt(0_i64))
        .select((job_counts::deployment_id, job_counts::state, job_counts::jobs))
        .load(conn))?;
    let parse = |(deployment, state, count): (i64, String, i64)| {
        let at = At("job_counts", deployment);
        Ok((DeploymentId(deployment), at.check(state.parse())?, at.number("jobs", count)?))
    };
    let mut counts = found.into_iter().map(parse).collect::<Result<Vec<_>, StoreError>>()?;
    counts.sort_unstable();
    Ok(counts)
}

/// When a job of a deployment last changed.
pub fn last_change(conn: &mut Conn, deployment: DeploymentId) -> Result<Option<UnixTime>, StoreError> {
    let query = jobs::table.filter(jobs::deployment_id.eq(deployment.0)).select(diesel::dsl::max(jobs::updated_at));
    let last: Option<i64> = q!(conn => query.first(conn))?;
    Ok(time(last))
}

/// The jobs of a deployment, earlier attempts included, in order of their number, after `after`, at most `limit`.
pub fn of_deployment(
    conn: &mut Conn,
    deployment: DeploymentId,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobLine>, StoreError> {
    type Found = (JobRow, (String, String), (String, String));
    let found: Vec<Found> = q!(conn => jobs::table
        .inner_join(computers::table.on(computers::id.eq(jobs::computer_id)))
        .inner_join(packages::table.on(packages::id.eq(jobs::package_id)))
        .filter(jobs::deployment_id.eq(deployment.0))
        .filter(jobs::id.gt(after.map_or(i64::MIN, |id| id.0)))
        .order(jobs::id)
        .limit(rows(limit))
        .select((
            JobRow::as_select(),
            (computers::name, computers::device_id),
            (packages::name, packages::version),
        ))
        .load(conn))?;
    let parse = |(job, (computer_name, device_id), (package_name, package_version)): Found| {
        Ok(JobLine { job: job.try_into()?, computer_name, device_id, package_name, package_version })
    };
    found.into_iter().map(parse).collect()
}

/// A package that has open jobs, and what its pace depends on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpenPackage {
    /// The package.
    pub package: PackageId,
    /// Its priority.
    pub priority: Priority,
    /// Its fragments.
    pub fragments: FragmentCount,
    /// How many open jobs it has.
    pub jobs: u64,
}

/// Packages with open jobs, of one computer or of all, by number.
pub fn open_packages(conn: &mut Conn, computer: Option<ComputerId>) -> Result<Vec<OpenPackage>, StoreError> {
    match computer {
        Some(computer) => open_packages_of(conn, computer),
        None => all_open_packages(conn),
    }
}

fn open_packages_of(conn: &mut Conn, computer: ComputerId) -> Result<Vec<OpenPackage>, StoreError> {
    let query = jobs::table
        .inner_join(packages::table.on(packages::id.eq(jobs::package_id)))
        .filter(jobs::computer_id.eq(computer.0))
        .filter(is_open())
        .group_by((packages::id, packages::priority, packages::fragment_count))
        .order(packages::id)
        .select((packages::id, packages::priority, packages::fragment_count, diesel::dsl::count_star()));
    let found: Vec<(i64, i64, i64, i64)> = q!(conn => query.load(conn))?;
    found.into_iter().map(open_package).collect()
}

/// From the counts, not from the jobs: there are millions.
fn all_open_packages(conn: &mut Conn) -> Result<Vec<OpenPackage>, StoreError> {
    let open = JobState::ALL.into_iter().filter(|state| state.is_open()).map(JobState::as_str);
    let query = job_counts::table
        .inner_join(packages::table.on(packages::id.eq(job_counts::package_id)))
        .filter(job_counts::state.eq_any(open.collect::<Vec<_>>()))
        .filter(job_counts::jobs.gt(0_i64))
        .order(packages::id)
        .select((packages::id, packages::priority, packages::fragment_count, job_counts::jobs));
    let found: Vec<(i64, i64, i64, i64)> = q!(conn => query.load(conn))?;
    let mut open: Vec<OpenPackage> = Vec::new();
    for row in found {
        let some = open_package(row)?;
        match open.last_mut() {
            Some(last) if last.package == some.package => last.jobs += some.jobs,
            _ => open.push(some),
        }
    }
    Ok(open)
}

fn open_package((package, priority, fragments, count): (i64, i64, i64, i64)) -> Result<OpenPackage, StoreError> {
    let at = At("packages", package);
    Ok(OpenPackage {
        package: at.package(package)?,
        priority: Priority::from_number(at.number("priority", priority)?),
        fragments: FragmentCount(at.number("fragment_count", fragments)?),
        jobs: at.number("jobs", count)?,
    })
}

/// Every open job: whose it is, and of which package.
pub fn open_pairs(conn: &mut Conn) -> Result<Vec<(ComputerId, PackageId)>, StoreError> {
    let found: Vec<(i64, i64)> =
        q!(conn => jobs::table.filter(is_open()).select((jobs::computer_id, jobs::package_id)).load(conn))?;
    let parse = |(computer, package)| Ok((ComputerId(computer), At("jobs", computer).package(package)?));
    found.into_iter().map(parse).collect()
}

/// Computers with a cancelled job of a package that is available, and where they were last heard from. Not all of them
/// are stopped: there may be a newer job.
pub fn cancelled_on_available(conn: &mut Conn) -> Result<Vec<(ComputerId, PackageId, String)>, StoreError> {
    let of_available = deployments::table
        .inner_join(packages::table.on(packages::id.eq(deployments::package_id)))
        .filter(packages::state.eq(PackageState::Available.as_str()))
        .select(deployments::id);
    let found: Vec<(i64, i64, String)> = q!(conn => jobs::table
        .inner_join(computers::table.on(computers::id.eq(jobs::computer_id)))
        .filter(jobs::deployment_id.eq_any(of_available))
        .filter(jobs::finished_at.is_not_null())
        .filter(jobs::state.eq(JobState::Cancelled.as_str()))
        .distinct()
        .select((jobs::computer_id, jobs::package_id, computers::peer_address))
        .load(conn))?;
    let parse = |(computer, package, address): (i64, i64, String)| {
        Ok((ComputerId(computer), At("jobs", package).package(package)?, address))
    };
    found.into_iter().map(parse).collect()
}

/// How many jobs of each package are in each state; of one package, or of all. By package, then in the order of
/// [`JobState::ALL`].
pub fn counts(conn: &mut Conn, package: Option<PackageId>) -> Result<Vec<(PackageId, JobState, u64)>, StoreError> {
    counts_with(conn, package, true)
}

/// The same of the newest attempts alone: how many computers, once for each deployment.
pub fn newest_counts(
    conn: &mut Conn,
    package: Option<PackageId>,
) -> Result<Vec<(PackageId, JobState, u64)>, StoreError> {
    counts_with(conn, package, false)
}

fn counts_with(
    conn: &mut Conn,
    package: Option<PackageId>,
    with_older: bool,
) -> Result<Vec<(PackageId, JobState, u64)>, StoreError> {
    let (from, to) = package.map_or((i64::MIN, i64::MAX), |id| (i64::from(id), i64::from(id)));
    let query = job_counts::table
        .filter(job_counts::package_id.ge(from))
        .filter(job_counts::package_id.le(to))
        .filter(job_counts::jobs.gt(0_i64))
        .select((job_counts::package_id, job_counts::state, job_counts::jobs));
    let found: Vec<(i64, String, i64)> = q!(conn => if with_older {
        query.load(conn)
    } else {
        query.filter(job_counts::retried.eq(false)).load(conn)
    })?;
    // A package may have several deployments.
    let mut counts: BTreeMap<(PackageId, JobState), u64> = BTreeMap::new();
    for (package, state, count) in found {
        let at = At("job_counts", package);
        let count: u64 = at.number("jobs", count)?;
        *counts.entry((at.package(package)?, at.check(state.parse())?)).or_default() += count;
    }
    Ok(counts.into_iter().map(|((package, state), count)| (package, state, count)).collect())
}

/// Jobs of a package or of a computer or of both, in order of their number, after `after`, at most `limit`.
pub fn list(
    conn: &mut Conn,
    package: Option<PackageId>,
    computer: Option<ComputerId>,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobLine>, StoreError> {
    type Found = (JobRow, (String, String), (String, String));
    let found: Vec<Found> = q!(conn => {
        let mut query = jobs::table
            .inner_join(computers::table.on(computers::id.eq(jobs::computer_id)))
            .inner_join(packages::table.on(packages::id.eq(jobs::package_id)))
            .filter(jobs::id.gt(after.map_or(i64::MIN, |id| id.0)))
            .order(jobs::id)
            .limit(rows(limit))
            .select((
                JobRow::as_select(),
                (computers::name, computers::device_id),
                (packages::name, packages::version),
            ))
            .into_boxed();
        if let Some(package) = package {
            query = query.filter(jobs::package_id.eq(i64::from(package)));
        }
        if let Some(computer) = computer {
            query = query.filter(jobs::computer_id.eq(computer.0));
        }
        query.load(conn)
    })?;
    let parse = |(job, (computer_name, device_id), (package_name, package_version)): Found| {
        Ok(JobLine { job: job.try_into()?, computer_name, device_id, package_name, package_version })
    };
    found.into_iter().map(parse).collect()
}
