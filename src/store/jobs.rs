//! Jobs: one package on one computer within a deployment.

use super::{Conn, StoreError};
use crate::model::{
    Activation, ComputerId, Deployment, Job, JobId, JobState, OsFamily, PackageId, PackageState, ResultCode, UnixTime,
};

/// An open job with all that decides whether it is offered: one query per prolog, whatever the number of jobs.
#[derive(Clone, Debug)]
pub struct OpenJob {
    /// The job.
    pub job: Job,
    /// The package's state.
    pub package_state: PackageState,
    /// The package's system.
    pub package_os: OsFamily,
    /// The activation in force.
    pub activation: Option<Activation>,
    /// Does the agent's own history, as its inventory last told it, have the package?
    pub in_history: bool,
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

/// Plans a job of this deployment on each computer, but not where the same package has an open job already; those are
/// left as they are. Gives how many were planned.
pub fn plan(
    conn: &mut Conn,
    deployment: &Deployment,
    computers: &[ComputerId],
    now: UnixTime,
) -> Result<usize, StoreError> {
    let _ = (conn, deployment, computers, now);
    todo!()
}

/// The open jobs of a computer, in the order of their creation.
pub fn open_of_computer(conn: &mut Conn, computer: ComputerId) -> Result<Vec<OpenJob>, StoreError> {
    let _ = (conn, computer);
    todo!()
}

/// Pending jobs become offered; jobs already offered stay as they are.
pub fn mark_offered(conn: &mut Conn, jobs: &[JobId], now: UnixTime) -> Result<(), StoreError> {
    let _ = (conn, jobs, now);
    todo!()
}

/// Writes why a job was withheld, or that it is not any more. Writes nothing if that is what the row says.
pub fn set_withheld(conn: &mut Conn, job: JobId, reason: Option<&str>, now: UnixTime) -> Result<(), StoreError> {
    let _ = (conn, job, reason, now);
    todo!()
}

/// Ends a job with a result.
pub fn finish(
    conn: &mut Conn,
    job: JobId,
    state: JobState,
    code: &ResultCode,
    now: UnixTime,
) -> Result<(), StoreError> {
    let _ = (conn, job, state, code, now);
    todo!()
}

/// The job that a report is about: the newest open one of that package, else the newest of any state.
pub fn for_report(conn: &mut Conn, computer: ComputerId, package: PackageId) -> Result<Option<Job>, StoreError> {
    let _ = (conn, computer, package);
    todo!()
}

/// Open jobs of a package become cancelled. Gives how many.
pub fn cancel_of_package(conn: &mut Conn, package: PackageId, now: UnixTime) -> Result<usize, StoreError> {
    let _ = (conn, package, now);
    todo!()
}

/// How many jobs of each package are in each state; of one package, or of all.
pub fn counts(conn: &mut Conn, package: Option<PackageId>) -> Result<Vec<(PackageId, JobState, u64)>, StoreError> {
    let _ = (conn, package);
    todo!()
}

/// Jobs of a package or of a computer or of both, in order of their number, after `after`, at most `limit`.
pub fn list(
    conn: &mut Conn,
    package: Option<PackageId>,
    computer: Option<ComputerId>,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobLine>, StoreError> {
    let _ = (conn, package, computer, after, limit);
    todo!()
}
