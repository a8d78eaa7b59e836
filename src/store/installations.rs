//! The ledger: what a computer has had installed, and how we know.

use super::{Conn, StoreError};
use crate::model::{ComputerId, PackageId, UnixTime};

/// How we know of an installation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    /// The agent's history, in its inventory (stock `download_history`).
    AgentHistory,
    /// A job's result. Not used for "already in history": only the agent's word keeps a package from being offered.
    Job,
}

/// Replaces what the agent's history said by what it says now; rows known from jobs stay.
pub fn set_reported(
    conn: &mut Conn,
    computer: ComputerId,
    packages: &[PackageId],
    now: UnixTime,
) -> Result<(), StoreError> {
    let _ = (conn, computer, packages, now);
    todo!()
}

/// Records a successful job.
pub fn record_job(conn: &mut Conn, computer: ComputerId, package: PackageId, now: UnixTime) -> Result<(), StoreError> {
    let _ = (conn, computer, package, now);
    todo!()
}

/// Everything known of a computer, oldest first.
pub fn of_computer(conn: &mut Conn, computer: ComputerId) -> Result<Vec<(PackageId, Via, UnixTime)>, StoreError> {
    let _ = (conn, computer);
    todo!()
}
