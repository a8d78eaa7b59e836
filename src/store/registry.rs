//! What Windows agents look up in their registry, and what they found.

use diesel::prelude::*;

use super::connection::q;
use super::error::corrupt;
use super::listing::escaped;
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
    /// Where the list goes on after it.
    pub place: Place,
    /// What it found.
    pub found: RegistryValue,
}

/// A place in a list of findings, which is in order of the values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The value, [`fold`]ed.
    pub value_key: String,
    /// Who found it.
    pub computer: ComputerId,
    /// Which of the values that it found.
    pub position: i64,
}

/// Which findings are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The question's name, letters compared without case.
    pub name: String,
    /// Part of the value, likewise; empty for any.
    pub part: String,
    /// Behind this place.
    pub after: Option<Place>,
}

#[derive(Insertable)]
#[diesel(table_name = registry_values, treat_none_as_default_value = false)]
struct ValueRow {
    computer_id: i64,
    position: i64,
    name: String,
    name_key: String,
    value: String,
    value_key: String,
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

/// Asks something else under the same name. False if there is no such question.
pub fn edit_query(conn: &mut Conn, query: &RegistryQuery) -> Result<bool, StoreError> {
    let changed = q!(conn => diesel::update(registry_queries::table.find(fold(query.name())))
        .set((
            registry_queries::tree.eq(i64::from(query.tree().number())),
            registry_queries::key.eq(query.key()),
            registry_queries::value.eq(query.value()),
        ))
        .execute(conn))?;
    Ok(changed > 0)
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
            value_key: text(&fold(&found.value)).into_owned(),
        })
        .collect();
    for chunk in new.chunks(rows_of(6)) {
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

/// What computers that are not archived found by a question, in order of the values, at most `limit`.
pub fn findings(conn: &mut Conn, wanted: &Wanted, limit: usize) -> Result<Vec<Finding>, StoreError> {
    type Found = (String, String, String, String, String, i64, i64);
    const PLACE: (registry_values::value_key, registry_values::computer_id, registry_values::position) =
        (registry_values::value_key, registry_values::computer_id, registry_values::position);
    let part = format!("%{}%", escaped(&text(&fold(&wanted.part))));
    let found: Vec<Found> = q!(conn => {
        let mut query = registry_values::table
            .inner_join(computers::table.on(computers::id.eq(registry_values::computer_id)))
            .filter(registry_values::name_key.eq(text(&fold(&wanted.name)).into_owned()))
            .filter(computers::archived_at.is_null())
            .order(PLACE)
            .limit(rows(limit))
            .select((
                computers::name,
                computers::device_id,
                registry_values::name,
                registry_values::value,
                registry_values::value_key,
                registry_values::computer_id,
                registry_values::position,
            ))
            .into_boxed();
        if !wanted.part.is_empty() {
            query = query.filter(registry_values::value_key.like(&part).escape('\\'));
        }
        if let Some(Place { value_key, computer, position }) = &wanted.after {
            let later = registry_values::position.gt(*position);
            let same = registry_values::computer_id.eq(computer.0).and(later);
            let behind = registry_values::computer_id.gt(computer.0).or(same);
            let value = registry_values::value_key;
            query = query.filter(value.gt(value_key).or(value.eq(value_key).and(behind)));
        }
        query.load(conn)
    })?;
    let finding = |(computer_name, device_id, name, value, value_key, computer, position)| Finding {
        computer_name,
        device_id,
        place: Place { value_key, computer: ComputerId(computer), position },
        found: RegistryValue { name, value },
    };
    Ok(found.into_iter().map(finding).collect())
}

/// The values that were found most often by a question, with how often, at most `limit`; upper and lower case are one.
pub fn values(conn: &mut Conn, name: &str, limit: usize) -> Result<Vec<(String, u64)>, StoreError> {
    let query = registry_values::table
        .inner_join(computers::table.on(computers::id.eq(registry_values::computer_id)))
        .filter(registry_values::name_key.eq(text(&fold(name)).into_owned()))
        .filter(computers::archived_at.is_null())
        .group_by(registry_values::value_key)
        .order((diesel::dsl::count_star().desc(), registry_values::value_key))
        .limit(rows(limit))
        .select((diesel::dsl::min(registry_values::value), diesel::dsl::count_star()));
    let found: Vec<(Option<String>, i64)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(value, count)| (value.unwrap_or_default(), count.unsigned_abs())).collect())
}
