//! Deployments: what an administrator asked for.

use super::{Conn, StoreError};
use crate::model::{Deployment, DeploymentId, JobOptions, PackageId, UnixTime};

/// Inserts a deployment. `created_by` is the administrator's name.
pub fn create(
    conn: &mut Conn,
    package: PackageId,
    all_computers: bool,
    options: &JobOptions,
    created_by: &str,
    now: UnixTime,
) -> Result<DeploymentId, StoreError> {
    let _ = (conn, package, all_computers, options, created_by, now);
    todo!()
}

/// Standing deployments that are in force: not cancelled, package not withdrawn.
pub fn standing(conn: &mut Conn) -> Result<Vec<Deployment>, StoreError> {
    let _ = conn;
    todo!()
}

/// Cancels every deployment of a package that is in force, and says how many there were.
pub fn cancel_of_package(conn: &mut Conn, package: PackageId, now: UnixTime) -> Result<usize, StoreError> {
    let _ = (conn, package, now);
    todo!()
}
