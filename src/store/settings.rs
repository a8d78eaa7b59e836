//! Settings as they are set, layer by layer.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::connection::q;
use super::error::corrupt;
use super::row::{limit as rows, rows_of};
use super::schema::settings;
use super::{Conn, StoreError};
use crate::model::settings::{SettingKey, SettingsLayer};
use crate::model::{ComputerId, GroupId};

/// Whose layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The server's.
    Global,
    /// A group's.
    Group(GroupId),
    /// A computer's own.
    Computer(ComputerId),
}

/// The words of the layers that end with what they belong to.
pub(super) const COMPUTER: &str = "computer";
pub(super) const GROUP: &str = "group";

impl Scope {
    fn columns(self) -> (&'static str, i64) {
        match self {
            Self::Global => ("global", 0),
            Self::Group(id) => (GROUP, id.0),
            Self::Computer(id) => (COMPUTER, id.0),
        }
    }
}

/// What a layer sets.
pub fn layer(conn: &mut Conn, scope: Scope) -> Result<SettingsLayer, StoreError> {
    let (word, id) = scope.columns();
    let query = settings::table
        .filter(settings::scope.eq(word))
        .filter(settings::scope_id.eq(id))
        .select((settings::key, settings::value));
    let found: Vec<(String, i64)> = q!(conn => query.load(conn))?;
    let parse = |(key, value): (String, i64)| {
        let parsed = key.parse().map_err(|problem| corrupt("settings", format_args!("{word}/{id}/{key}"), problem))?;
        Ok((parsed, value))
    };
    Ok(SettingsLayer(found.into_iter().map(parse).collect::<Result<_, StoreError>>()?))
}

/// The layers of all computers that have one of their own.
pub fn computer_layers(conn: &mut Conn) -> Result<BTreeMap<ComputerId, SettingsLayer>, StoreError> {
    let query = settings::table.filter(settings::scope.eq(COMPUTER)).select((
        settings::scope_id,
        settings::key,
        settings::value,
    ));
    let found: Vec<(i64, String, i64)> = q!(conn => query.load(conn))?;
    let mut layers: BTreeMap<ComputerId, SettingsLayer> = BTreeMap::new();
    for (id, key, value) in found {
        let key = key.parse().map_err(|problem| corrupt("settings", format_args!("{COMPUTER}/{id}/{key}"), problem))?;
        layers.entry(ComputerId(id)).or_default().0.insert(key, value);
    }
    Ok(layers)
}

/// How many computers have a value of their own, by key.
pub fn computer_counts(conn: &mut Conn) -> Result<BTreeMap<SettingKey, usize>, StoreError> {
    let query = settings::table
        .filter(settings::scope.eq(COMPUTER))
        .group_by(settings::key)
        .select((settings::key, diesel::dsl::count_star()));
    let found: Vec<(String, i64)> = q!(conn => query.load(conn))?;
    let parse = |(key, count): (String, i64)| {
        let parsed = key.parse().map_err(|problem| corrupt("settings", format_args!("{COMPUTER}/{key}"), problem))?;
        Ok((parsed, usize::try_from(count).unwrap_or(0)))
    };
    found.into_iter().map(parse).collect()
}

/// The first computers that have a value of their own, with it.
pub fn computer_values(conn: &mut Conn, key: SettingKey, limit: usize) -> Result<Vec<(ComputerId, i64)>, StoreError> {
    let query = settings::table
        .filter(settings::scope.eq(COMPUTER))
        .filter(settings::key.eq(key.info().name))
        .order(settings::scope_id)
        .limit(rows(limit))
        .select((settings::scope_id, settings::value));
    let found: Vec<(i64, i64)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(id, value)| (ComputerId(id), value)).collect())
}

/// What some computers have of their own.
pub fn of_computers(
    conn: &mut Conn,
    key: SettingKey,
    of: &[ComputerId],
) -> Result<BTreeMap<ComputerId, i64>, StoreError> {
    let numbers: Vec<i64> = of.iter().map(|id| id.0).collect();
    let mut own = BTreeMap::new();
    for chunk in numbers.chunks(rows_of(1) - 2) {
        let query = settings::table
            .filter(settings::scope.eq(COMPUTER))
            .filter(settings::scope_id.eq_any(chunk))
            .filter(settings::key.eq(key.info().name))
            .select((settings::scope_id, settings::value));
        let found: Vec<(i64, i64)> = q!(conn => query.load(conn))?;
        own.extend(found.into_iter().map(|(id, value)| (ComputerId(id), value)));
    }
    Ok(own)
}

/// Sets a value of many computers, each named once; `None` takes theirs back.
pub fn set_many(conn: &mut Conn, key: SettingKey, values: &[(ComputerId, Option<i64>)]) -> Result<(), StoreError> {
    let ids: Vec<i64> = values.iter().map(|(id, _)| id.0).collect();
    for chunk in ids.chunks(rows_of(1) - 2) {
        let own = settings::table
            .filter(settings::scope.eq(COMPUTER))
            .filter(settings::scope_id.eq_any(chunk))
            .filter(settings::key.eq(key.info().name));
        q!(conn => diesel::delete(own).execute(conn))?;
    }
    let set: Vec<(i64, i64)> = values.iter().filter_map(|(id, value)| Some((id.0, (*value)?))).collect();
    for chunk in set.chunks(rows_of(4)) {
        let rows: Vec<_> = chunk
            .iter()
            .map(|(id, value)| {
                (
                    settings::scope.eq(COMPUTER),
                    settings::scope_id.eq(*id),
                    settings::key.eq(key.info().name),
                    settings::value.eq(*value),
                )
            })
            .collect();
        q!(conn => diesel::insert_into(settings::table).values(&rows).execute(conn))?;
    }
    Ok(())
}

/// Sets a value.
pub fn set(conn: &mut Conn, scope: Scope, key: SettingKey, value: i64) -> Result<(), StoreError> {
    let (word, id) = scope.columns();
    q!(conn => diesel::insert_into(settings::table)
        .values((
            settings::scope.eq(word),
            settings::scope_id.eq(id),
            settings::key.eq(key.info().name),
            settings::value.eq(value),
        ))
        .on_conflict((settings::scope, settings::scope_id, settings::key))
        .do_update()
        .set(settings::value.eq(value))
        .execute(conn))?;
    Ok(())
}

/// Takes a value back. True if it was set.
pub fn unset(conn: &mut Conn, scope: Scope, key: SettingKey) -> Result<bool, StoreError> {
    let (word, id) = scope.columns();
    let row = settings::table.find((word, id, key.info().name));
    Ok(q!(conn => diesel::delete(row).execute(conn))? > 0)
}
