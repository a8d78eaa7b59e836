//! When and where deployments may run, of those that say so.

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, text};
use super::schema::deployment_gates;
use super::{Conn, StoreError};
use crate::model::DeploymentId;
use crate::model::gates::{Gates, Timetable};

#[derive(Queryable, Selectable)]
#[diesel(table_name = deployment_gates)]
pub(super) struct GatesRow {
    deployment_id: i64,
    windows: Option<String>,
    zone: Option<String>,
    ranges: Option<String>,
}

impl TryFrom<GatesRow> for Gates {
    type Error = StoreError;

    fn try_from(row: GatesRow) -> Result<Self, StoreError> {
        let at = At("deployment_gates", row.deployment_id);
        let windows = at.check(row.windows.as_deref().map(str::parse).transpose())?;
        Ok(Self {
            timetable: windows.zip(row.zone).map(|(windows, zone)| Timetable { windows, zone }),
            ranges: at.check(row.ranges.as_deref().map(str::parse).transpose())?,
        })
    }
}

/// When and where a deployment may run.
pub fn find(conn: &mut Conn, id: DeploymentId) -> Result<Gates, StoreError> {
    let row = deployment_gates::table.find(id.0);
    let found: Option<GatesRow> = q!(conn => row.select(GatesRow::as_select()).first(conn).optional())?;
    found.map_or_else(|| Ok(Gates::default()), Gates::try_from)
}

/// Says when and where a deployment may run.
pub fn set(conn: &mut Conn, id: DeploymentId, gates: &Gates) -> Result<(), StoreError> {
    q!(conn => diesel::delete(deployment_gates::table.find(id.0)).execute(conn))?;
    if gates.is_open_to_all() {
        return Ok(());
    }
    q!(conn => diesel::insert_into(deployment_gates::table)
        .values((
            deployment_gates::deployment_id.eq(id.0),
            deployment_gates::windows.eq(gates.windows_text()),
            deployment_gates::zone.eq(gates.zone().map(text)),
            deployment_gates::ranges.eq(gates.ranges_text()),
        ))
        .execute(conn))?;
    Ok(())
}
