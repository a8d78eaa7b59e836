//! The ledger: what a computer has had installed, and how we know.

use std::borrow::Cow;
use std::collections::BTreeSet;

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, rows_of};
use super::schema::installations;
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

/// The word for [`Via::AgentHistory`].
pub(super) const HISTORY: &str = "history";
/// The word for [`Via::Job`].
const JOB: &str = "job";

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = installations, treat_none_as_default_value = false)]
struct InstallationRow<'a> {
    computer_id: i64,
    package_id: i64,
    via: Cow<'a, str>,
    known_since: i64,
}

/// Replaces what the agent's history said by what it says now; rows known from jobs stay. What it still says keeps the
/// moment at which it first said so.
pub fn set_reported(
    conn: &mut Conn,
    computer: ComputerId,
    packages: &[PackageId],
    now: UnixTime,
) -> Result<(), StoreError> {
    let of_history = || {
        installations::table.filter(installations::computer_id.eq(computer.0)).filter(installations::via.eq(HISTORY))
    };
    let known: Vec<i64> = q!(conn => of_history().select(installations::package_id).load(conn))?;
    let known: BTreeSet<i64> = known.into_iter().collect();
    let said: BTreeSet<i64> = packages.iter().copied().map(i64::from).collect();
    let gone: Vec<i64> = known.difference(&said).copied().collect();
    let new: Vec<InstallationRow<'_>> = said
        .difference(&known)
        .map(|&package_id| InstallationRow {
            computer_id: computer.0,
            package_id,
            via: Cow::Borrowed(HISTORY),
            known_since: now.millis(),
        })
        .collect();
    for chunk in gone.chunks(rows_of(1)) {
        q!(conn => diesel::delete(of_history().filter(installations::package_id.eq_any(chunk))).execute(conn))?;
    }
    for chunk in new.chunks(rows_of(4)) {
        q!(conn => diesel::insert_into(installations::table).values(chunk).execute(conn))?;
    }
    Ok(())
}

/// Records a successful job. One of earlier keeps its moment.
pub fn record_job(conn: &mut Conn, computer: ComputerId, package: PackageId, now: UnixTime) -> Result<(), StoreError> {
    let row = InstallationRow {
        computer_id: computer.0,
        package_id: package.into(),
        via: Cow::Borrowed(JOB),
        known_since: now.millis(),
    };
    q!(conn => diesel::insert_into(installations::table).values(&row).on_conflict_do_nothing().execute(conn))?;
    Ok(())
}

/// Everything known of a computer, oldest first.
pub fn of_computer(conn: &mut Conn, computer: ComputerId) -> Result<Vec<(PackageId, Via, UnixTime)>, StoreError> {
    let query = installations::table.filter(installations::computer_id.eq(computer.0)).order((
        installations::known_since,
        installations::package_id,
        installations::via,
    ));
    let found: Vec<InstallationRow<'static>> = q!(conn => query.select(InstallationRow::as_select()).load(conn))?;
    let parse = |row: InstallationRow<'static>| {
        let at = At("installations", computer);
        let via = match row.via.as_ref() {
            HISTORY => Via::AgentHistory,
            JOB => Via::Job,
            other => return Err(at.corrupt(format_args!("via is {other:?}"))),
        };
        Ok((at.package(row.package_id)?, via, UnixTime::from_millis(row.known_since)))
    };
    found.into_iter().map(parse).collect()
}
