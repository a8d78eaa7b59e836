//! Events: everything that was said, verbatim, never removed.

use super::{Conn, StoreError};
use crate::model::{ComputerId, JobId, PackageId, UnixTime};

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventKind {
    /// The server named the package to the agent.
    Offered,
    /// An agent reported a result.
    Reported,
    /// A gate decided without the agent (already in history).
    Decided,
    /// An administrator took the job back.
    Cancelled,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: UnixTime,
    /// What.
    pub kind: EventKind,
    /// On which computer; `None` for one that the server does not know.
    pub computer: Option<ComputerId>,
    /// The wire name, kept even when the computer is unknown or deleted.
    pub device_id: String,
    /// About which package.
    pub package: Option<PackageId>,
    /// About which job.
    pub job: Option<JobId>,
    /// The wire's text, verbatim.
    pub text: String,
}

/// Appends events.
pub fn append(conn: &mut Conn, events: &[Event]) -> Result<(), StoreError> {
    let _ = (conn, events);
    todo!()
}

/// The events of a computer or a package or both, newest first, at most `limit`.
pub fn list(
    conn: &mut Conn,
    computer: Option<ComputerId>,
    package: Option<PackageId>,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let _ = (conn, computer, package, limit);
    todo!()
}
