//! What Windows agents look up in their registry, and what they found.

use diesel::prelude::*;

use super::connection::q;
use super::error::corrupt;
use super::row::{At, limit as rows, rows_of, text};
use super::schema::{computers, registry_queries, registry_values};
use super::{Conn, StoreError};
use crate::model::query::fold;
use crate::model::{ComputerId, RegistryQuery, RegistryTree};

/// One value that a computer found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistryValue {
    /// The question's name.
    pub name: String,
    /// What was found, at most 255 characters.
    pub value: String,
}

/// A value and who found it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The computer's host name.
    pub computer_name: String,
    /// Its wire name.
    pub device_id: String,
    /// What it found.
    pub found: RegistryValue,
}

#[derive(Insertable)]
#[diesel(table_name = registry_values, treat_none_as_default_value = false)]
struct ValueRow {
    computer_id: i64,
    position: i64,
    name: String,
    name_key: String,
    value: String,
}

/// Every question, in order of their names.
pub fn queries(conn: &mut Conn) -> Result<Vec<RegistryQuery>, StoreError> {
    let query = registry_queries::table.order(registry_queries::name_key).select((
        registry_queries::name,
        registry_queries::tree,
        registry_queries::key,
        registry_queries::value,
    ));
    let found: Vec<(String, i64, String, String)> = q!(conn => query.load(conn))?;
    let parse = |(name, tree, key, value): (String, i64, String, String)| {
        let at = At("registry_queries", name.as_str());
        let tree: RegistryTree = at.check(tree.to_string().parse())?;
        RegistryQuery::new(&name, tree, &key, &value).map_err(|problem| corrupt("registry_queries", &name, problem))
    };
    found.into_iter().map(parse).collect()
}

/// Adds a question. False if there is one of that name, letters compared without case.
pub fn add_query(conn: &mut Conn, query: &RegistryQuery) -> Result<bool, StoreError> {
    let added = q!(conn => diesel::insert_into(registry_queries::table)
        .values((
            registry_queries::name_key.eq(fold(query.name())),
            registry_queries::name.eq(query.name()),
            registry_queries::tree.eq(i64::from(query.tree().number())),
            registry_queries::key.eq(query.key()),
            registry_queries::value.eq(query.value()),
        ))
        .on_conflict_do_nothing()
        .execute(conn))?;
    Ok(added > 0)
}

/// Takes a question back. True if it was there. What was found stays until the next inventories.
pub fn remove_query(conn: &mut Conn, name: &str) -> Result<bool, StoreError> {
    let row = registry_queries::table.find(text(&fold(name)).into_owned());
    Ok(q!(conn => diesel::delete(row).execute(conn))? > 0)
}

/// Replaces what a computer found.
pub fn set_values(conn: &mut Conn, computer: ComputerId, values: &[RegistryValue]) -> Result<(), StoreError> {
    let old = registry_values::table.filter(registry_values::computer_id.eq(computer.0));
    q!(conn => diesel::delete(old).execute(conn))?;
    let new: Vec<ValueRow> = (0..)
        .zip(values)
        .map(|(position, found)| ValueRow {
            computer_id: computer.0,
            position,
            name: text(&found.name).into_owned(),
            name_key: text(&fold(&found.name)).into_owned(),
            value: text(&found.value).into_owned(),
        })
        .collect();
    for chunk in new.chunks(rows_of(5)) {
        q!(conn => diesel::insert_into(registry_values::table).values(chunk).execute(conn))?;
    }
    Ok(())
}

/// What a computer found, as it told it.
pub fn values_of(conn: &mut Conn, computer: ComputerId) -> Result<Vec<RegistryValue>, StoreError> {
    let query = registry_values::table
        .filter(registry_values::computer_id.eq(computer.0))
        .order(registry_values::position)
        .select((registry_values::name, registry_values::value));
    let found: Vec<(String, String)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(name, value)| RegistryValue { name, value }).collect())
}

/// What computers that are not archived found by that question, at most `limit`.
pub fn findings(conn: &mut Conn, name: &str, limit: usize) -> Result<Vec<Finding>, StoreError> {
    let query = registry_values::table
        .inner_join(computers::table.on(computers::id.eq(registry_values::computer_id)))
        .filter(registry_values::name_key.eq(text(&fold(name)).into_owned()))
        .filter(computers::archived_at.is_null())
        .order((registry_values::computer_id, registry_values::position))
        .limit(rows(limit))
        .select((computers::name, computers::device_id, registry_values::name, registry_values::value));
    let found: Vec<(String, String, String, String)> = q!(conn => query.load(conn))?;
    let finding = |(computer_name, device_id, name, value)| Finding {
        computer_name,
        device_id,
        found: RegistryValue { name, value },
    };
    Ok(found.into_iter().map(finding).collect())
}
