//! Taking computers off deployments, and undoing what was done at one moment.

use std::collections::BTreeSet;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable};

use super::connection::q;
use super::jobs::mark_retried;
use super::row::{At, rows_of};
use super::schema::{computers, deployments, jobs};
use super::{Conn, StoreError};
use crate::model::{ComputerId, DeploymentId, JobId, JobState, PackageId, ResultCode, UnixTime};

/// Whose jobs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Among {
    /// Those of these deployments.
    Deployments(Vec<DeploymentId>),
    /// Those of a computer.
    Computer(ComputerId),
    /// Those of a package.
    Package(PackageId),
}

/// A job that was cancelled, with what says how it stood before.
#[derive(Clone, Debug)]
pub struct Was {
    /// The job.
    pub job: JobId,
    /// On which computer.
    pub computer: ComputerId,
    /// The computer's wire name.
    pub device_id: String,
    /// Of which package.
    pub package: PackageId,
    offered: bool,
    result: Option<ResultCode>,
}

impl Was {
    /// How it stood.
    pub fn before(&self) -> JobState {
        match &self.result {
            Some(code) => JobState::of_result(code),
            None if self.offered => JobState::Offered,
            None => JobState::Pending,
        }
    }
}

/// A job that is open, failed or expired becomes cancelled; what its agent said stays.
pub fn take_off(conn: &mut Conn, job: JobId, now: UnixTime) -> Result<(), StoreError> {
    const ENDED_WELL: [&str; 3] = ["succeeded", "already installed", "cancelled"];
    // When its agent told of a failure stays as well.
    let ended = sql::<Nullable<BigInt>>("coalesce(finished_at, ").bind::<BigInt, _>(now.millis()).sql(")");
    let row = jobs::table.find(job.0).filter(jobs::state.ne_all(&ENDED_WELL));
    let changed = (
        jobs::state.eq(JobState::Cancelled.as_str()),
        jobs::withheld.eq(None::<&str>),
        jobs::finished_at.eq(ended),
        jobs::updated_at.eq(now.millis()),
    );
    q!(conn => diesel::update(row).set(changed).execute(conn))?;
    Ok(())
}

/// What jobs have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Common {
    /// They are on this computer.
    Computer(ComputerId),
    /// They are of this package.
    Package(PackageId),
}

/// The deployments of those of these jobs that have it in common; others are left out.
pub fn deployments_of(
    conn: &mut Conn,
    common: Common,
    chosen: &BTreeSet<JobId>,
) -> Result<Vec<(JobId, DeploymentId)>, StoreError> {
    let numbers: Vec<i64> = chosen.iter().map(|job| job.0).collect();
    let found: Vec<(i64, i64)> = q!(conn => {
        let query =
            jobs::table.filter(jobs::id.eq_any(&numbers)).select((jobs::id, jobs::deployment_id)).into_boxed();
        match common {
            Common::Computer(computer) => query.filter(jobs::computer_id.eq(computer.0)).load(conn),
            Common::Package(package) => query.filter(jobs::package_id.eq(i64::from(package))).load(conn),
        }
    })?;
    Ok(found.into_iter().map(|(job, deployment)| (JobId(job), DeploymentId(deployment))).collect())
}

fn numbers_of(ids: &[DeploymentId]) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}

/// The newest attempts that were cancelled at that very moment.
pub fn cancelled_at(conn: &mut Conn, among: &Among, at: UnixTime) -> Result<Vec<Was>, StoreError> {
    type Found = (i64, i64, String, i64, Option<i64>, Option<String>);
    let found: Vec<Found> = q!(conn => {
        let query = jobs::table
            .inner_join(computers::table.on(computers::id.eq(jobs::computer_id)))
            .filter(jobs::finished_at.is_not_null())
            .filter(jobs::state.eq(JobState::Cancelled.as_str()))
            .filter(jobs::updated_at.eq(at.millis()))
            .filter(jobs::retried.eq(false))
            .order(jobs::id)
            .select((
                jobs::id,
                jobs::computer_id,
                computers::device_id,
                jobs::package_id,
                jobs::offered_at,
                jobs::result,
            ))
            .into_boxed();
        let query = match among {
            Among::Deployments(ids) => query.filter(jobs::deployment_id.eq_any(numbers_of(ids))),
            Among::Computer(computer) => query.filter(jobs::computer_id.eq(computer.0)),
            Among::Package(package) => query.filter(jobs::package_id.eq(i64::from(*package))),
        };
        query.load(conn)
    })?;
    let parse = |(job, computer, device_id, package, offered_at, result): Found| {
        Ok(Was {
            job: JobId(job),
            computer: ComputerId(computer),
            device_id,
            package: At("jobs", job).package(package)?,
            offered: offered_at.is_some(),
            result: result.as_deref().map(ResultCode::from_wire),
        })
    };
    found.into_iter().map(parse).collect()
}

/// Deployments that were cancelled at that very moment take those who come again. Gives how many.
pub fn revive_deployments(conn: &mut Conn, among: &Among, at: UnixTime) -> Result<usize, StoreError> {
    let Among::Deployments(ids) = among else { return Ok(0) };
    let numbers = numbers_of(ids);
    let of =
        deployments::table.filter(deployments::id.eq_any(&numbers)).filter(deployments::cancelled_at.eq(at.millis()));
    Ok(q!(conn => diesel::update(of).set(deployments::cancelled_at.eq(None::<i64>)).execute(conn))?)
}

/// Puts jobs into a state that they were in; into an open one not where a newer open job of the package is on the computer.
/// Gives those that were put.
pub fn set_state(conn: &mut Conn, chosen: &[JobId], state: JobState, now: UnixTime) -> Result<Vec<JobId>, StoreError> {
    const ALONE: &str = "NOT EXISTS (SELECT 1 FROM jobs AS other WHERE other.computer_id = jobs.computer_id \
         AND other.package_id = jobs.package_id AND other.finished_at IS NULL)";
    let condition = if state.is_open() { ALONE } else { "TRUE" };
    let numbers: Vec<i64> = chosen.iter().map(|job| job.0).collect();
    let mut put = Vec::new();
    for chunk in numbers.chunks(rows_of(1) - 16) {
        let of = jobs::table.filter(jobs::id.eq_any(chunk)).filter(sql::<Bool>(condition));
        let reopened = state.is_open().then(|| jobs::finished_at.eq(None::<i64>));
        let changed = (jobs::state.eq(state.as_str()), reopened, jobs::updated_at.eq(now.millis()));
        let some: Vec<i64> = q!(conn => diesel::update(of).set(changed).returning(jobs::id).get_results(conn))?;
        put.extend(some.into_iter().map(JobId));
    }
    Ok(put)
}

/// An attempt that was planned after another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Again {
    /// The job.
    pub job: JobId,
    /// On which computer.
    pub computer: ComputerId,
    /// How it stands now.
    pub state: JobState,
}

/// Attempts that were planned at that very moment, after others of their deployment.
pub fn retried_at(conn: &mut Conn, among: &Among, at: UnixTime) -> Result<Vec<Again>, StoreError> {
    // The plus keeps SQLite from going through the whole deployment for each of its jobs.
    const AFTER: &str = "EXISTS (SELECT 1 FROM jobs AS older WHERE older.computer_id = jobs.computer_id \
         AND older.package_id = jobs.package_id AND older.id < jobs.id AND +older.deployment_id = jobs.deployment_id)";
    let found: Vec<(i64, i64, String)> = q!(conn => {
        let query = jobs::table
            .filter(jobs::created_at.eq(at.millis()))
            .filter(sql::<Bool>(AFTER))
            .select((jobs::id, jobs::computer_id, jobs::state))
            .into_boxed();
        let query = match among {
            Among::Deployments(ids) => query.filter(jobs::deployment_id.eq_any(numbers_of(ids))),
            Among::Computer(computer) => query.filter(jobs::computer_id.eq(computer.0)),
            Among::Package(package) => query.filter(jobs::package_id.eq(i64::from(*package))),
        };
        query.load(conn)
    })?;
    let parse = |(job, computer, state): (i64, i64, String)| {
        let state = At("jobs", job).check(state.parse())?;
        Ok(Again { job: JobId(job), computer: ComputerId(computer), state })
    };
    found.into_iter().map(parse).collect()
}

/// Removes attempts that no agent was told of: nothing ever came of them, and the ones before them count again.
pub fn unplan(conn: &mut Conn, untold: &[Again]) -> Result<(), StoreError> {
    for chunk in untold.chunks(rows_of(1) - 16) {
        let (gone, computers): (Vec<i64>, Vec<i64>) = chunk.iter().map(|job| (job.job.0, job.computer.0)).unzip();
        q!(conn => diesel::delete(jobs::table.filter(jobs::id.eq_any(&gone))).execute(conn))?;
        mark_retried(conn, &computers)?;
    }
    Ok(())
}
