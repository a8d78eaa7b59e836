//! Events: everything that was said, verbatim, never removed.

use std::borrow::Cow;

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, limit as rows, rows_of, text};
use super::schema::{events, jobs};
use super::{Conn, StoreError};
use crate::model::{ComputerId, DeploymentId, JobId, PackageId, UnixTime};

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
    /// An administrator undid that.
    Restored,
    /// The key of a computer was taken or forgotten.
    Key,
    /// A message in a computer's name was refused, because nothing proved that it was its own.
    Refused,
    /// Two computers that look like one were left two.
    Apart,
}

impl EventKind {
    const ALL: [Self; 8] = [
        Self::Offered,
        Self::Reported,
        Self::Decided,
        Self::Cancelled,
        Self::Restored,
        Self::Key,
        Self::Refused,
        Self::Apart,
    ];

    /// The word used in the store and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Reported => "reported",
            Self::Decided => "decided",
            Self::Cancelled => "cancelled",
            Self::Restored => "restored",
            Self::Key => "key",
            Self::Refused => "refused",
            Self::Apart => "apart",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
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

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
struct EventRow<'a> {
    at: i64,
    kind: Cow<'a, str>,
    computer_id: Option<i64>,
    device_id: Cow<'a, str>,
    package_id: Option<i64>,
    job_id: Option<i64>,
    text: Cow<'a, str>,
}

/// Appends events.
pub fn append(conn: &mut Conn, events: &[Event]) -> Result<(), StoreError> {
    let rows: Vec<EventRow<'_>> = events
        .iter()
        .map(|event| EventRow {
            at: event.at.millis(),
            kind: Cow::Borrowed(event.kind.as_str()),
            computer_id: event.computer.map(|id| id.0),
            device_id: text(&event.device_id),
            package_id: event.package.map(i64::from),
            job_id: event.job.map(|id| id.0),
            text: text(&event.text),
        })
        .collect();
    match rows.as_slice() {
        // The usual one: always the same statement, so it stays prepared.
        [row] => {
            q!(conn => diesel::insert_into(events::table).values(row).execute(conn))?;
        }
        rows => {
            for chunk in rows.chunks(rows_of(7)) {
                q!(conn => diesel::insert_into(events::table).values(chunk).execute(conn))?;
            }
        }
    }
    Ok(())
}

/// The events of a computer or a package or both, newest first, at most `limit`.
pub fn list(
    conn: &mut Conn,
    computer: Option<ComputerId>,
    package: Option<PackageId>,
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    let found: Vec<(i64, EventRow<'static>)> = q!(conn => {
        let mut query = events::table
            .order(events::id.desc())
            .limit(rows(limit))
            .select((events::id, EventRow::as_select()))
            .into_boxed();
        if let Some(computer) = computer {
            query = query.filter(events::computer_id.eq(computer.0));
        }
        if let Some(package) = package {
            query = query.filter(events::package_id.eq(i64::from(package)));
        }
        query.load(conn)
    })?;
    let event = |(id, row): (i64, EventRow<'static>)| {
        let at = At("events", id);
        Ok(Event {
            at: UnixTime::from_millis(row.at),
            kind: EventKind::from_word(&row.kind).ok_or_else(|| at.corrupt(format_args!("kind is {:?}", row.kind)))?,
            computer: row.computer_id.map(ComputerId),
            device_id: row.device_id.into_owned(),
            package: row.package_id.map(|package| at.package(package)).transpose()?,
            job: row.job_id.map(JobId),
            text: row.text.into_owned(),
        })
    };
    found.into_iter().map(event).collect()
}

/// When something of that kind last happened to a computer. Reads only the computer's events.
pub fn last_of(conn: &mut Conn, computer: ComputerId, kind: EventKind) -> Result<Option<UnixTime>, StoreError> {
    let query = events::table
        .filter(events::computer_id.eq(computer.0))
        .filter(events::kind.eq(kind.as_str()))
        .order(events::id.desc())
        .select(events::at);
    let last: Option<i64> = q!(conn => query.first(conn).optional())?;
    Ok(last.map(UnixTime::from_millis))
}

/// The number of the last event, 0 if there is none.
pub fn last(conn: &mut Conn) -> Result<i64, StoreError> {
    let last: Option<i64> = q!(conn => events::table.select(diesel::dsl::max(events::id)).first(conn))?;
    Ok(last.unwrap_or(0))
}

/// The deployments that events after `after`, up to and with `upto`, are about. Reads only these events.
pub fn deployments_between(conn: &mut Conn, after: i64, upto: i64) -> Result<Vec<DeploymentId>, StoreError> {
    let found: Vec<i64> = q!(conn => events::table
        .inner_join(jobs::table.on(events::job_id.eq(jobs::id.nullable())))
        .filter(events::id.gt(after))
        .filter(events::id.le(upto))
        .select(jobs::deployment_id)
        .distinct()
        .load(conn))?;
    Ok(found.into_iter().map(DeploymentId).collect())
}

/// Was a job taken back after that event? Reads only the events since.
pub fn cancelled_after(conn: &mut Conn, event: i64) -> Result<bool, StoreError> {
    let since = events::table.filter(events::id.gt(event)).filter(events::kind.eq(EventKind::Cancelled.as_str()));
    Ok(q!(conn => diesel::select(diesel::dsl::exists(since)).get_result(conn))?)
}
