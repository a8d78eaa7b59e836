//! Jobs of packages, counted on the computers that somebody sees.
//!
//! All of them are counted already, by triggers. For a part of the computers, either the jobs of the packages are looked at
//! or those of the computers, whichever are fewer; of a part that leaves a few out, it is those few.

use std::collections::BTreeMap;

use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};

use super::attention::Sight;
use super::connection::q;
use super::progress::NEWEST;
use super::row::{At, rows_of};
use super::schema::{job_counts, jobs};
use super::search::Set;
use super::{Conn, StoreError};
use crate::model::{JobState, PackageId};

/// How many jobs, by package and state.
type Counts = BTreeMap<(i64, String), i64>;

/// The newest attempts of these packages on the computers that are seen, by package and state; packages of which there are
/// none are left out.
pub fn of_packages(
    conn: &mut Conn,
    sight: &Sight,
    packages: &[PackageId],
) -> Result<BTreeMap<PackageId, Vec<(JobState, u64)>>, StoreError> {
    let numbers: Vec<i64> = packages.iter().map(|id| i64::from(*id)).collect();
    let mut counts = totals(conn, &numbers)?;
    let all = usize::try_from(counts.values().sum::<i64>()).unwrap_or(usize::MAX);
    let fewer = |computers: &[i64]| computers.len().saturating_mul(numbers.len()) < all;
    match sight.set() {
        None => {}
        Some(Set::Only(computers)) if fewer(computers) => counts = on(conn, &numbers, computers)?,
        Some(Set::Except(computers)) if fewer(computers) => {
            for (key, jobs) in on(conn, &numbers, computers)? {
                *counts.entry(key).or_default() -= jobs;
            }
        }
        Some(set) => counts = in_set(conn, &numbers, set)?,
    }
    let mut by_package: BTreeMap<PackageId, Vec<(JobState, u64)>> = BTreeMap::new();
    for ((package, state), jobs) in counts.into_iter().filter(|(_, jobs)| *jobs > 0) {
        let at = At("job_counts", package);
        let count = (at.check(state.parse())?, at.number("jobs", jobs)?);
        by_package.entry(at.package(package)?).or_default().push(count);
    }
    for counts in by_package.values_mut() {
        counts.sort_unstable_by_key(|(state, _)| *state);
    }
    Ok(by_package)
}

/// On all computers.
fn totals(conn: &mut Conn, packages: &[i64]) -> Result<Counts, StoreError> {
    let query = job_counts::table
        .filter(job_counts::package_id.eq_any(packages))
        .filter(job_counts::retried.eq(false))
        .select((job_counts::package_id, job_counts::state, job_counts::jobs));
    let found: Vec<(i64, String, i64)> = q!(conn => query.load(conn))?;
    let mut counts = Counts::new();
    for (package, state, jobs) in found {
        *counts.entry((package, state)).or_default() += jobs;
    }
    Ok(counts)
}

/// On these computers, by the index of computers.
fn on(conn: &mut Conn, packages: &[i64], computers: &[i64]) -> Result<Counts, StoreError> {
    let mut counts = Counts::new();
    for chunk in computers.chunks(rows_of(1) / 2) {
        let query = jobs::table
            .filter(jobs::computer_id.eq_any(chunk))
            // Not by the index of packages.
            .filter(sql::<BigInt>("+jobs.package_id").eq_any(packages))
            .filter(sql::<Bool>(NEWEST))
            .group_by((jobs::package_id, jobs::state))
            .select((jobs::package_id, jobs::state, count_star()));
        let found: Vec<(i64, String, i64)> = q!(conn => query.load(conn))?;
        for (package, state, jobs) in found {
            *counts.entry((package, state)).or_default() += jobs;
        }
    }
    Ok(counts)
}

/// On the computers of a set, by the index of packages.
fn in_set(conn: &mut Conn, packages: &[i64], set: &Set) -> Result<Counts, StoreError> {
    let query = jobs::table.filter(jobs::package_id.eq_any(packages)).filter(sql::<Bool>(NEWEST)).select((
        jobs::package_id,
        jobs::state,
        jobs::computer_id,
    ));
    let found: Vec<(i64, String, i64)> = q!(conn => query.load(conn))?;
    let mut counts = Counts::new();
    for (package, state, computer) in found {
        if set.contains(computer) {
            *counts.entry((package, state)).or_default() += 1;
        }
    }
    Ok(counts)
}
