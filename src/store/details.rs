//! What lists show of computers beside their own rows: a part of their inventories, for a page of them.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::connection::q;
use super::row::rows_of;
use super::schema::{computer_values, inventory_values, networks};
use super::{Conn, StoreError};
use crate::model::ComputerId;

/// What inventories say, by computer, section and field.
pub type Said = BTreeMap<(ComputerId, String, String), Vec<String>>;

/// What inventories say in some fields of sections; both names in upper case.
pub fn said(conn: &mut Conn, computers: &[ComputerId], of: &[(&str, &str)]) -> Result<Said, StoreError> {
    let (sections, names): (Vec<&str>, Vec<&str>) = of.iter().copied().unzip();
    let numbers: Vec<i64> = computers.iter().map(|id| id.0).collect();
    let mut said = Said::new();
    for chunk in numbers.chunks(rows_of(1) - 2 * of.len().min(1000)) {
        let query = computer_values::table
            .inner_join(inventory_values::table.on(inventory_values::id.eq(computer_values::value_id)))
            .filter(computer_values::computer_id.eq_any(chunk))
            .filter(inventory_values::section.eq_any(&sections))
            .filter(inventory_values::field.eq_any(&names))
            .select((
                computer_values::computer_id,
                inventory_values::section,
                inventory_values::field,
                inventory_values::value,
            ));
        let found: Vec<(i64, String, String, String)> = q!(conn => query.load(conn))?;
        for (computer, section, field, value) in found {
            if of.contains(&(section.as_str(), field.as_str())) {
                said.entry((ComputerId(computer), section, field)).or_default().push(value);
            }
        }
    }
    for values in said.values_mut() {
        values.sort_unstable();
    }
    Ok(said)
}

/// The hardware addresses of computers, each once.
pub fn macs(conn: &mut Conn, computers: &[ComputerId]) -> Result<BTreeMap<ComputerId, Vec<String>>, StoreError> {
    let numbers: Vec<i64> = computers.iter().map(|id| id.0).collect();
    let mut macs: BTreeMap<ComputerId, Vec<String>> = BTreeMap::new();
    for chunk in numbers.chunks(rows_of(1)) {
        let query = networks::table
            .filter(networks::computer_id.eq_any(chunk))
            .filter(networks::mac.ne(""))
            .distinct()
            .order((networks::computer_id, networks::mac))
            .select((networks::computer_id, networks::mac));
        let found: Vec<(i64, String)> = q!(conn => query.load(conn))?;
        for (computer, mac) in found {
            macs.entry(ComputerId(computer)).or_default().push(mac);
        }
    }
    Ok(macs)
}
