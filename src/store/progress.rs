//! How deployments go on: by state, by code, by gate, over time, and computer by computer.
//!
//! Everything here is about the newest attempt on each computer: an older one is marked when it is tried again.

use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::connection::q;
use super::jobs::JobRow;
use super::row::{At, limit as rows, rows_of, text};
use super::schema::{computers, installations, jobs};
use super::{Conn, StoreError};
use crate::model::{ComputerId, DeploymentId, Job, JobId, JobState, PackageId, UnixTime};

/// The job is the newest attempt on its computer within its deployment.
pub(super) const NEWEST: &str = "NOT jobs.retried";
/// States that nobody asked for.
const LOST: [&str; 2] = ["failed", "expired"];

/// Which jobs of a deployment are wanted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// In one of these states; empty for any.
    pub states: Vec<JobState>,
    /// With this result.
    pub code: Option<String>,
    /// Withheld by this gate; empty text for any gate.
    pub withheld: Option<String>,
}

impl Wanted {
    /// Does it show a job that stands like this?
    pub fn shows(&self, state: JobState, code: Option<&str>, withheld: Option<&str>) -> bool {
        (self.states.is_empty() || self.states.contains(&state))
            && self.code.as_deref().is_none_or(|wanted| code.unwrap_or_default() == wanted)
            && match self.withheld.as_deref() {
                None => true,
                Some("") => withheld.is_some(),
                Some(gate) => withheld == Some(gate),
            }
    }
}

/// A job with its computer, for a list.
#[derive(Clone, Debug)]
pub struct OnComputer {
    /// The newest attempt.
    pub job: Job,
    /// The computer's name.
    pub name: String,
    /// Its wire name.
    pub device_id: String,
    /// Its address.
    pub ip_address: String,
    /// Where it was last heard from.
    pub peer_address: String,
    /// When it was last heard of.
    pub last_contact: UnixTime,
}

type Found = (JobRow, (String, String, String, String, i64));

fn on_computer((job, of): Found) -> Result<OnComputer, StoreError> {
    let (name, device_id, ip_address, peer_address, last_contact) = of;
    let last_contact = UnixTime::from_millis(last_contact);
    Ok(OnComputer { job: job.try_into()?, name, device_id, ip_address, peer_address, last_contact })
}

/// Of which deployments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Of {
    /// Of this one.
    Deployment(DeploymentId),
    /// Of all of a package.
    Package(PackageId),
}

/// The newest attempts of deployments in order of their number, after `after`, at most `limit`.
pub fn list(
    conn: &mut Conn,
    of: Of,
    wanted: &Wanted,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<OnComputer>, StoreError> {
    let states: Vec<&str> = wanted.states.iter().map(|state| state.as_str()).collect();
    let found: Vec<Found> = q!(conn => {
        let mut query = jobs::table
            .inner_join(computers::table.on(computers::id.eq(jobs::computer_id)))
            .filter(jobs::id.gt(after.map_or(i64::MIN, |id| id.0)))
            .filter(sql::<Bool>(NEWEST))
            .order(jobs::id)
            .limit(rows(limit))
            .select((
                JobRow::as_select(),
                (
                    computers::name,
                    computers::device_id,
                    computers::ip_address,
                    computers::peer_address,
                    computers::last_contact,
                ),
            ))
            .into_boxed();
        query = match of {
            Of::Deployment(id) => query.filter(jobs::deployment_id.eq(id.0)),
            Of::Package(id) => query.filter(jobs::package_id.eq(i64::from(id))),
        };
        query = match states.as_slice() {
            [] => query,
            [state] => query.filter(jobs::state.eq((*state).to_owned())),
            _ => query.filter(jobs::state.eq_any(states.clone())),
        };
        // What the states say already, in the words of the partial indexes.
        query = match super::jobs::all_open(&wanted.states) {
            Some(true) => query.filter(jobs::finished_at.is_null()),
            Some(false) => query.filter(jobs::finished_at.is_not_null()),
            None => query,
        };
        if let Some(code) = &wanted.code {
            query = query.filter(jobs::result.eq(text(code).into_owned()));
        }
        match wanted.withheld.as_deref() {
            Some("") => query = query.filter(jobs::withheld.is_not_null()),
            Some(reason) => query = query.filter(jobs::withheld.eq(text(reason).into_owned())),
            None => {}
        }
        query.load(conn)
    })?;
    found.into_iter().map(on_computer).collect()
}

/// One attempt of a deployment.
pub fn find(conn: &mut Conn, deployment: DeploymentId, job: JobId) -> Result<Option<OnComputer>, StoreError> {
    let found: Option<Found> = q!(conn => jobs::table
        .inner_join(computers::table.on(computers::id.eq(jobs::computer_id)))
        .filter(jobs::id.eq(job.0))
        .filter(jobs::deployment_id.eq(deployment.0))
        .select((
            JobRow::as_select(),
            (
                computers::name,
                computers::device_id,
                computers::ip_address,
                computers::peer_address,
                computers::last_contact,
            ),
        ))
        .first(conn)
        .optional())?;
    found.map(on_computer).transpose()
}

/// What became of one computer, as briefly as it can be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Brief {
    /// The computer.
    pub computer: ComputerId,
    /// The newest attempt's state.
    pub state: JobState,
    /// Its result.
    pub result: Option<String>,
    /// The gate that withholds it.
    pub withheld: Option<String>,
}

/// The newest attempts of a deployment on all of its computers: for whoever sees only some of them.
pub fn briefs(conn: &mut Conn, deployment: DeploymentId) -> Result<Vec<Brief>, StoreError> {
    type Found = (i64, String, Option<String>, Option<String>);
    let found: Vec<Found> = q!(conn => jobs::table
        .filter(jobs::deployment_id.eq(deployment.0))
        .filter(sql::<Bool>(NEWEST))
        .select((jobs::computer_id, jobs::state, jobs::result, jobs::withheld))
        .load(conn))?;
    let parse = |(computer, state, result, withheld): Found| {
        let state = At("jobs", deployment.0).check(state.parse())?;
        Ok(Brief { computer: ComputerId(computer), state, result, withheld })
    };
    found.into_iter().map(parse).collect()
}

/// How many computers ended badly with which code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CodeCount {
    /// In which deployment.
    pub deployment: DeploymentId,
    /// Failed or expired.
    pub state: JobState,
    /// The code.
    pub code: String,
    /// How many.
    pub computers: u64,
}

/// Codes of what failed or expired in these deployments, the most frequent first, at most `limit`.
pub fn codes(conn: &mut Conn, deployments: &[DeploymentId], limit: usize) -> Result<Vec<CodeCount>, StoreError> {
    let numbers: Vec<i64> = deployments.iter().map(|id| id.0).collect();
    let found: Vec<(i64, String, Option<String>, i64)> = q!(conn => jobs::table
        .filter(jobs::deployment_id.eq_any(&numbers))
        .filter(jobs::finished_at.is_not_null())
        .filter(jobs::state.eq_any(&LOST))
        .filter(sql::<Bool>(NEWEST))
        .group_by((jobs::deployment_id, jobs::state, jobs::result))
        .select((jobs::deployment_id, jobs::state, jobs::result, count_star()))
        .order((count_star().desc(), jobs::deployment_id.desc()))
        .limit(rows(limit))
        .load(conn))?;
    let parse = |(deployment, state, code, count): (i64, String, Option<String>, i64)| {
        let at = At("jobs", deployment);
        Ok(CodeCount {
            deployment: DeploymentId(deployment),
            state: at.check(state.parse())?,
            code: code.unwrap_or_default(),
            computers: at.number("count", count)?,
        })
    };
    found.into_iter().map(parse).collect()
}

/// An attempt that was lost: deployment, state, result and computer.
pub(super) type Lost = (i64, String, Option<String>, i64);

/// The newest attempts that failed or expired in these deployments; those on some computers only, if they are named.
pub(super) fn lost(
    conn: &mut Conn,
    deployments: &[DeploymentId],
    computers: Option<&[i64]>,
) -> Result<Vec<Lost>, StoreError> {
    let numbers: Vec<i64> = deployments.iter().map(|id| id.0).collect();
    Ok(q!(conn => {
        let mut query = jobs::table
            .filter(jobs::deployment_id.eq_any(&numbers))
            .filter(jobs::finished_at.is_not_null())
            .filter(jobs::state.eq_any(&LOST))
            .filter(sql::<Bool>(NEWEST))
            .select((jobs::deployment_id, jobs::state, jobs::result, jobs::computer_id))
            .into_boxed();
        if let Some(computers) = computers {
            query = query.filter(jobs::computer_id.eq_any(computers));
        }
        query.load(conn)
    })?)
}

/// Codes of what failed or expired in all deployments of a package, the most frequent first, at most `limit`.
pub fn codes_of_package(
    conn: &mut Conn,
    package: PackageId,
    limit: usize,
) -> Result<Vec<(JobState, String, u64)>, StoreError> {
    let found: Vec<(String, Option<String>, i64)> = q!(conn => jobs::table
        .filter(jobs::package_id.eq(i64::from(package)))
        .filter(jobs::state.eq_any(&LOST))
        .filter(sql::<Bool>(NEWEST))
        .group_by((jobs::state, jobs::result))
        .select((jobs::state, jobs::result, count_star()))
        .order((count_star().desc(), jobs::result))
        .limit(rows(limit))
        .load(conn))?;
    let parse = |(state, code, count): (String, Option<String>, i64)| {
        let at = At("jobs", package);
        Ok((at.check(state.parse())?, code.unwrap_or_default(), at.number("count", count)?))
    };
    found.into_iter().map(parse).collect()
}

/// How many open jobs of a deployment are withheld by which gate, the most frequent first, at most `limit`.
pub fn gates(conn: &mut Conn, deployment: DeploymentId, limit: usize) -> Result<Vec<(String, u64)>, StoreError> {
    let found: Vec<(Option<String>, i64)> = q!(conn => jobs::table
        .filter(jobs::deployment_id.eq(deployment.0))
        .filter(jobs::finished_at.is_null())
        .filter(jobs::withheld.is_not_null())
        .group_by(jobs::withheld)
        .select((jobs::withheld, count_star()))
        .order((count_star().desc(), jobs::withheld))
        .limit(rows(limit))
        .load(conn))?;
    let parse = |(reason, count): (Option<String>, i64)| {
        Ok((reason.unwrap_or_default(), At("jobs", deployment.0).number("count", count)?))
    };
    found.into_iter().map(parse).collect()
}

/// What happened to how many jobs in one slice of time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slice {
    /// The slice's number, from the beginning that was asked for.
    pub number: i64,
    /// `None` for jobs that were planned, offered for those that were told, else the state in which they ended.
    pub state: Option<JobState>,
    /// Of those that ended: had they been offered before?
    pub was_offered: bool,
    /// How many.
    pub jobs: u64,
}

#[derive(QueryableByName)]
struct SliceRow {
    #[diesel(sql_type = Nullable<Text>)]
    state: Option<String>,
    #[diesel(sql_type = BigInt)]
    offered: i64,
    #[diesel(sql_type = BigInt)]
    slice: i64,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// When the newest attempts of a deployment were planned, told and ended, counted in slices of `width` milliseconds.
pub fn slices(conn: &mut Conn, deployment: DeploymentId, from: UnixTime, width: i64) -> Result<Vec<Slice>, StoreError> {
    // Numbers alone are written into the text: as parameters, PostgreSQL would not know the same expression again.
    let (id, from, width) = (deployment.0, from.millis(), width.max(1));
    let parts = [
        ("NULL", "0", "created_at", ""),
        ("'offered'", "1", "offered_at", "AND offered_at IS NOT NULL"),
        ("state", "CASE WHEN offered_at IS NULL THEN 0 ELSE 1 END", "finished_at", "AND finished_at IS NOT NULL"),
    ];
    let mut slices = Vec::new();
    for (state, offered, moment, filter) in parts {
        let query = format!(
            "SELECT CAST({state} AS TEXT) AS state, CAST({offered} AS BIGINT) AS offered, \
             CAST(({moment} - {from}) / {width} AS BIGINT) AS slice, count(*) AS count FROM jobs \
             WHERE deployment_id = {id} {filter} AND {NEWEST} GROUP BY 1, 2, 3"
        );
        let found: Vec<SliceRow> = q!(conn => diesel::sql_query(query.as_str()).load(conn))?;
        for row in found {
            let at = At("jobs", id);
            slices.push(Slice {
                number: row.slice,
                state: row.state.map(|state| at.check(state.parse())).transpose()?,
                was_offered: row.offered != 0,
                jobs: at.number("count", row.count)?,
            });
        }
    }
    Ok(slices)
}

/// Those of these computers that have an open job of the package.
pub fn with_open_job(
    conn: &mut Conn,
    package: PackageId,
    computers: &[ComputerId],
) -> Result<Vec<ComputerId>, StoreError> {
    let numbers: Vec<i64> = computers.iter().map(|id| id.0).collect();
    let mut found = Vec::new();
    for chunk in numbers.chunks(rows_of(1) - 16) {
        let query = jobs::table
            .filter(jobs::computer_id.eq_any(chunk))
            .filter(jobs::package_id.eq(i64::from(package)))
            .filter(jobs::finished_at.is_null())
            .select(jobs::computer_id);
        let some: Vec<i64> = q!(conn => query.load(conn))?;
        found.extend(some.into_iter().map(ComputerId));
    }
    Ok(found)
}

/// Those of these computers whose agent says that it has run the package.
pub fn with_history(
    conn: &mut Conn,
    package: PackageId,
    computers: &[ComputerId],
) -> Result<Vec<ComputerId>, StoreError> {
    let numbers: Vec<i64> = computers.iter().map(|id| id.0).collect();
    let mut found = Vec::new();
    for chunk in numbers.chunks(rows_of(1) - 16) {
        let query = installations::table
            .filter(installations::computer_id.eq_any(chunk))
            .filter(installations::package_id.eq(i64::from(package)))
            .filter(installations::via.eq(super::installations::HISTORY))
            .select(installations::computer_id);
        let some: Vec<i64> = q!(conn => query.load(conn))?;
        found.extend(some.into_iter().map(ComputerId));
    }
    Ok(found)
}

/// Number and system of every computer that is not archived.
pub fn systems(conn: &mut Conn) -> Result<Vec<(ComputerId, String)>, StoreError> {
    let query = computers::table
        .filter(computers::archived_at.is_null())
        .order(computers::id)
        .select((computers::id, computers::os_name));
    let found: Vec<(i64, String)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(id, system)| (ComputerId(id), system)).collect())
}
