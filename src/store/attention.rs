//! What needs a person: computers that are silent, jobs that stand still, and what failed.
//!
//! Somebody may see a part of the computers only. That part is asked for first, so that a list which is cut somewhere is
//! cut after what is not theirs was left out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};

use super::connection::q;
use super::progress::{self, CodeCount};
use super::row::{At, limit as rows};
use super::schema::{computers, deployments, jobs, packages};
use super::search::{Set, set_of};
use super::{Conn, StoreError};
use crate::model::query::Query;
use crate::model::{ComputerId, DeploymentId, JobId, PackageId, UnixTime};

/// Rows that are read together where some of them may not be shown.
const WINDOW: usize = 2000;

/// The computers that somebody may see.
#[derive(Clone, Debug)]
pub struct Sight(Option<Set>);

impl Sight {
    /// Those of a scope, all of them without one.
    pub fn of(conn: &mut Conn, scope: Option<&Query>, now: UnixTime) -> Result<Self, StoreError> {
        Ok(Self(scope.map(|query| set_of(conn, std::slice::from_ref(query), now)).transpose()?))
    }

    pub(super) fn has(&self, computer: i64) -> bool {
        self.0.as_ref().is_none_or(|set| set.contains(computer))
    }

    pub(super) fn set(&self) -> Option<&Set> {
        self.0.as_ref()
    }

    /// Their numbers, if they are few enough to be named one by one.
    pub(super) fn few(&self) -> Option<&[i64]> {
        match &self.0 {
            Some(Set::Only(numbers)) if numbers.len() <= WINDOW => Some(numbers),
            _ => None,
        }
    }
}

/// The first `limit` rows that pass of those that `window` reads, some at a time, each time after the last row before.
pub(super) fn first<T: Clone>(
    limit: usize,
    after: Option<T>,
    passes: impl Fn(&T) -> bool,
    mut window: impl FnMut(Option<&T>, usize) -> Result<Vec<T>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let (mut found, mut last, mut size) = (Vec::new(), after, limit);
    while found.len() < limit {
        let some = window(last.as_ref(), size)?;
        let ended = some.len() < size;
        last = some.last().cloned();
        let room = limit - found.len();
        found.extend(some.into_iter().filter(|row| passes(row)).take(room));
        if ended {
            break;
        }
        // Whoever sees everything has enough by now; of a part, more has to be looked at.
        size = limit.max(WINDOW);
    }
    Ok(found)
}

/// A computer that says nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Silent {
    /// Which.
    pub computer: ComputerId,
    /// Its name.
    pub name: String,
    /// When it was last heard of.
    pub last_contact: UnixTime,
    /// Does it have an open job?
    pub waits: bool,
}

/// Computers that were not heard of since, those with open jobs first, at most `limit`.
pub fn silent(conn: &mut Conn, sight: &Sight, since: UnixTime, limit: usize) -> Result<Vec<Silent>, StoreError> {
    let mut all = Vec::new();
    // One after the other: sorted together, all that are silent would be looked at.
    for waits in [true, false] {
        let window = |after: Option<&Silent>, size: usize| silent_after(conn, sight, since, waits, after, size);
        all.extend(first(limit - all.len(), None, |one: &Silent| sight.has(one.computer.0), window)?);
    }
    Ok(all)
}

fn silent_after(
    conn: &mut Conn,
    sight: &Sight,
    since: UnixTime,
    waits: bool,
    after: Option<&Silent>,
    limit: usize,
) -> Result<Vec<Silent>, StoreError> {
    const WAITS: &str = "EXISTS (SELECT 1 FROM jobs WHERE jobs.computer_id = computers.id \
         AND jobs.finished_at IS NULL)";
    // Nobody expects to hear of one that a person wrote down before it came.
    const CAME: &str =
        "NOT EXISTS (SELECT 1 FROM entered_computers WHERE entered_computers.computer_id = computers.id)";
    let (at, id) = after.map_or((i64::MIN, i64::MIN), |last| (last.last_contact.millis(), last.computer.0));
    let found: Vec<(i64, String, i64)> = q!(conn => {
        let mut query = computers::table
            .filter(computers::archived_at.is_null())
            .filter(computers::last_contact.lt(since.millis()))
            .filter(computers::last_contact.ge(at).and(computers::last_contact.gt(at).or(computers::id.gt(id))))
            .filter(sql::<Bool>(CAME))
            .filter(sql::<Bool>(WAITS).eq(waits))
            .order((computers::last_contact, computers::id))
            .limit(rows(limit))
            .select((computers::id, computers::name, computers::last_contact))
            .into_boxed();
        if let Some(few) = sight.few() {
            query = query.filter(computers::id.eq_any(few));
        }
        query.load(conn)
    })?;
    let row =
        |(id, name, at)| Silent { computer: ComputerId(id), name, last_contact: UnixTime::from_millis(at), waits };
    Ok(found.into_iter().map(row).collect())
}

/// A job that a computer was told of, and nothing followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stuck {
    /// The job.
    pub job: JobId,
    /// Its deployment.
    pub deployment: DeploymentId,
    /// Its package.
    pub package: PackageId,
    /// The package's name.
    pub package_name: String,
    /// Its version.
    pub package_version: String,
    /// The computer.
    pub computer: ComputerId,
    /// Its name.
    pub name: String,
    /// Its wire name.
    pub device_id: String,
    /// When something last happened to the job.
    pub moved_at: UnixTime,
    /// When the computer was last heard of.
    pub last_contact: UnixTime,
}

/// The place of a stuck job in the list of all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StuckPlace {
    /// When something last happened to it.
    pub moved_at: UnixTime,
    /// Its number.
    pub job: JobId,
}

impl fmt::Display for StuckPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.moved_at.millis(), self.job.0)
    }
}

/// No place of that list.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is no place of this list: expected `next` of the page before")]
pub struct InvalidPlace(String);

impl FromStr for StuckPlace {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('-').and_then(|(at, job)| Some((at.parse().ok()?, job.parse().ok()?)));
        let (at, job) = parts.ok_or_else(|| InvalidPlace(text.chars().take(60).collect()))?;
        Ok(Self { moved_at: UnixTime::from_millis(at), job: JobId(job) })
    }
}

impl Stuck {
    /// Where it stands.
    pub fn place(&self) -> StuckPlace {
        StuckPlace { moved_at: self.moved_at, job: self.job }
    }
}

/// Jobs to which nothing happened since, though their computers were told of them and have come since; the oldest first,
/// after `after`, at most `limit`. `shows` says which packages are meant, by their names.
pub fn stuck(
    conn: &mut Conn,
    sight: &Sight,
    shows: impl Fn(&str) -> bool,
    since: UnixTime,
    after: Option<StuckPlace>,
    limit: usize,
) -> Result<Vec<Stuck>, StoreError> {
    let passes = |one: &Stuck| sight.has(one.computer.0) && shows(&one.package_name);
    first(limit, None, passes, |last, size| stuck_after(conn, sight, since, last.map(Stuck::place).or(after), size))
}

type FoundStuck = (i64, i64, i64, i64, (String, String), (i64, String, String, i64));

fn stuck_after(
    conn: &mut Conn,
    sight: &Sight,
    since: UnixTime,
    after: Option<StuckPlace>,
    limit: usize,
) -> Result<Vec<Stuck>, StoreError> {
    // As the partial index says it.
    const TOLD: &str = "jobs.state IN ('offered', 'downloading')";
    let (at, id) = after.map_or((i64::MIN, i64::MIN), |place| (place.moved_at.millis(), place.job.0));
    let found: Vec<FoundStuck> = q!(conn => {
        let mut query = jobs::table
            .inner_join(computers::table.on(computers::id.eq(jobs::computer_id)))
            .inner_join(deployments::table.on(deployments::id.eq(jobs::deployment_id)))
            .inner_join(packages::table.on(packages::id.eq(jobs::package_id)))
            .filter(sql::<Bool>(TOLD))
            // What is withheld says why by itself.
            .filter(jobs::withheld.is_null())
            .filter(jobs::updated_at.lt(since.millis()))
            .filter(jobs::updated_at.ge(at).and(jobs::updated_at.gt(at).or(jobs::id.gt(id))))
            .filter(computers::archived_at.is_null())
            .filter(deployments::closed_at.is_null())
            // Not by the index of contacts: most computers have come since.
            .filter(sql::<BigInt>("+computers.last_contact").ge(since.millis()))
            .order((jobs::updated_at, jobs::id))
            .limit(rows(limit))
            .select((
                jobs::id,
                jobs::deployment_id,
                jobs::package_id,
                jobs::updated_at,
                (packages::name, packages::version),
                (computers::id, computers::name, computers::device_id, computers::last_contact),
            ))
            .into_boxed();
        if let Some(few) = sight.few() {
            query = query.filter(jobs::computer_id.eq_any(few));
        }
        query.load(conn)
    })?;
    found.into_iter().map(stuck_row).collect()
}

fn stuck_row((job, deployment, package, moved_at, package_names, computer): FoundStuck) -> Result<Stuck, StoreError> {
    let (package_name, package_version) = package_names;
    let (computer, name, device_id, last_contact) = computer;
    Ok(Stuck {
        job: JobId(job),
        deployment: DeploymentId(deployment),
        package: At("jobs", job).package(package)?,
        package_name,
        package_version,
        computer: ComputerId(computer),
        name,
        device_id,
        moved_at: UnixTime::from_millis(moved_at),
        last_contact: UnixTime::from_millis(last_contact),
    })
}

/// What failed or expired with one code in a deployment that nobody put away, and its package's name and version.
pub type Failed = (CodeCount, String);

/// A deployment in which something failed: its number, its package's name and version.
type WithFailures = (i64, String, String);

/// What failed or expired in the newest deployments that nobody put away and in which something did, at most so many.
/// `shows` says which packages are meant, by their names.
pub fn failed(
    conn: &mut Conn,
    sight: &Sight,
    shows: impl Fn(&str) -> bool,
    deployments: usize,
) -> Result<Vec<Failed>, StoreError> {
    let (mut all, mut seen, mut before) = (Vec::new(), 0, i64::MAX);
    while seen < deployments {
        let some = with_failures(conn, before, deployments)?;
        let ended = some.len() < deployments;
        before = some.last().map_or(before, |(id, ..)| *id);
        let mine: BTreeMap<i64, String> = some
            .into_iter()
            .filter(|(_, name, _)| shows(name))
            .map(|(id, name, version)| (id, format!("{name} {version}")))
            .collect();
        let ids: Vec<DeploymentId> = mine.keys().copied().map(DeploymentId).collect();
        let codes = codes_in_sight(conn, sight, &ids)?;
        let mut found: Vec<i64> = codes.iter().map(|code| code.deployment.0).collect();
        found.sort_unstable();
        found.dedup();
        seen += found.len();
        all.extend(codes.into_iter().map(|code| (mine.get(&code.deployment.0).cloned().unwrap_or_default(), code)));
        if ended {
            break;
        }
    }
    Ok(all.into_iter().map(|(package, code)| (code, package)).collect())
}

fn with_failures(conn: &mut Conn, before: i64, limit: usize) -> Result<Vec<WithFailures>, StoreError> {
    const FAILED: &str = "EXISTS (SELECT 1 FROM job_counts WHERE job_counts.deployment_id = deployments.id \
         AND job_counts.state IN ('failed', 'expired') AND NOT job_counts.retried AND job_counts.jobs > 0)";
    let query = deployments::table
        .inner_join(packages::table.on(packages::id.eq(deployments::package_id)))
        .filter(deployments::id.lt(before))
        .filter(deployments::closed_at.is_null())
        .filter(deployments::cancelled_at.is_null())
        .filter(sql::<Bool>(FAILED))
        .order(deployments::id.desc())
        .limit(rows(limit))
        .select((deployments::id, packages::name, packages::version));
    Ok(q!(conn => query.load(conn))?)
}

/// Codes of these deployments on the computers that are seen.
fn codes_in_sight(conn: &mut Conn, sight: &Sight, ids: &[DeploymentId]) -> Result<Vec<CodeCount>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    if sight.0.is_none() {
        return progress::codes(conn, ids, WINDOW);
    }
    let mut counts: BTreeMap<(i64, String, Option<String>), u64> = BTreeMap::new();
    for (deployment, state, result, computer) in progress::lost(conn, ids, sight.few())? {
        if sight.has(computer) {
            *counts.entry((deployment, state, result)).or_default() += 1;
        }
    }
    let code = |((deployment, state, code), computers): ((i64, String, Option<String>), u64)| {
        Ok(CodeCount {
            deployment: DeploymentId(deployment),
            state: At("jobs", deployment).check(state.parse())?,
            code: code.unwrap_or_default(),
            computers,
        })
    };
    counts.into_iter().map(code).collect()
}
