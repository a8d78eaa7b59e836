//! Packages that were taken back, with what an undo needs.

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, limit as rows, millis, time};
use super::schema::withdrawals;
use super::{Conn, StoreError};
use crate::model::{Activation, PackageId, UnixTime};

/// A withdrawal.
#[derive(Clone, Debug)]
pub struct Withdrawal {
    /// Which package.
    pub package: PackageId,
    /// When.
    pub at: UnixTime,
    /// The activation that it had.
    pub activation: Option<Activation>,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = withdrawals, treat_none_as_default_value = false)]
struct WithdrawalRow {
    package_id: i64,
    at: i64,
    info_location: Option<String>,
    fragment_location: Option<String>,
    activated_at: Option<i64>,
    checked_at: Option<i64>,
}

impl TryFrom<WithdrawalRow> for Withdrawal {
    type Error = StoreError;

    fn try_from(row: WithdrawalRow) -> Result<Self, StoreError> {
        let at = At("withdrawals", row.package_id);
        let package = at.package(row.package_id)?;
        let activation = match (row.info_location, row.fragment_location, row.activated_at) {
            (Some(info), Some(fragments), Some(activated_at)) => Some(Activation {
                package,
                info_location: at.check(info.parse())?,
                fragment_location: at.check(fragments.parse())?,
                activated_at: UnixTime::from_millis(activated_at),
                checked_at: time(row.checked_at),
            }),
            _ => None,
        };
        Ok(Self { package, at: UnixTime::from_millis(row.at), activation })
    }
}

/// Notes one.
pub fn add(conn: &mut Conn, withdrawal: &Withdrawal) -> Result<(), StoreError> {
    let activation = withdrawal.activation.as_ref();
    let row = WithdrawalRow {
        package_id: withdrawal.package.into(),
        at: withdrawal.at.millis(),
        info_location: activation.map(|activation| activation.info_location.to_string()),
        fragment_location: activation.map(|activation| activation.fragment_location.to_string()),
        activated_at: activation.map(|activation| activation.activated_at.millis()),
        checked_at: millis(activation.and_then(|activation| activation.checked_at)),
    };
    // One may be left of an earlier withdrawal that was undone half way.
    remove(conn, withdrawal.package)?;
    q!(conn => diesel::insert_into(withdrawals::table).values(&row).execute(conn))?;
    Ok(())
}

/// That of a package.
pub fn find(conn: &mut Conn, package: PackageId) -> Result<Option<Withdrawal>, StoreError> {
    let query = withdrawals::table.find(i64::from(package));
    q!(conn => query.select(WithdrawalRow::as_select()).first(conn).optional())?.map(Withdrawal::try_from).transpose()
}

/// Those before a moment. There are as many as packages were withdrawn and can still be restored.
pub fn before(conn: &mut Conn, moment: UnixTime, limit: usize) -> Result<Vec<PackageId>, StoreError> {
    let query = withdrawals::table
        .filter(withdrawals::at.lt(moment.millis()))
        .order(withdrawals::package_id)
        .limit(rows(limit))
        .select(withdrawals::package_id);
    let found: Vec<i64> = q!(conn => query.load(conn))?;
    found.into_iter().map(|id| At("withdrawals", id).package(id)).collect()
}

/// Forgets it: there is nothing left to restore, or it was restored.
pub fn remove(conn: &mut Conn, package: PackageId) -> Result<bool, StoreError> {
    let row = withdrawals::table.find(i64::from(package));
    Ok(q!(conn => diesel::delete(row).execute(conn))? > 0)
}
