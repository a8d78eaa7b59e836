//! Activations: one in force per package at most.

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, millis, time};
use super::schema::activations;
use super::{Conn, StoreError};
use crate::model::{Activation, PackageId, UnixTime};

#[derive(AsChangeset, Insertable, Queryable, Selectable)]
#[diesel(table_name = activations, treat_none_as_null = true, treat_none_as_default_value = false)]
pub(super) struct ActivationRow {
    package_id: i64,
    info_location: String,
    fragment_location: String,
    activated_at: i64,
    checked_at: Option<i64>,
}

impl TryFrom<ActivationRow> for Activation {
    type Error = StoreError;

    fn try_from(row: ActivationRow) -> Result<Self, StoreError> {
        let at = At("activations", row.package_id);
        Ok(Self {
            package: at.package(row.package_id)?,
            info_location: at.check(row.info_location.parse())?,
            fragment_location: at.check(row.fragment_location.parse())?,
            activated_at: UnixTime::from_millis(row.activated_at),
            checked_at: time(row.checked_at),
        })
    }
}

/// Puts an activation in force; it replaces the package's earlier one.
pub fn set(conn: &mut Conn, activation: &Activation) -> Result<(), StoreError> {
    let row = ActivationRow {
        package_id: activation.package.into(),
        info_location: activation.info_location.as_str().to_owned(),
        fragment_location: activation.fragment_location.as_str().to_owned(),
        activated_at: activation.activated_at.millis(),
        checked_at: millis(activation.checked_at),
    };
    q!(conn => diesel::insert_into(activations::table)
        .values(&row)
        .on_conflict(activations::package_id)
        .do_update()
        .set(&row)
        .execute(conn))?;
    Ok(())
}

/// The activation in force.
pub fn find(conn: &mut Conn, package: PackageId) -> Result<Option<Activation>, StoreError> {
    let query = activations::table.find(i64::from(package));
    q!(conn => query.select(ActivationRow::as_select()).first(conn).optional())?.map(Activation::try_from).transpose()
}

/// Ends it. True if there was one.
pub fn remove(conn: &mut Conn, package: PackageId) -> Result<bool, StoreError> {
    let row = activations::table.find(i64::from(package));
    Ok(q!(conn => diesel::delete(row).execute(conn))? > 0)
}
