//! What inventories say in their sections, as a dictionary: every text once, computers refer to it by its number.
//!
//! The document is what came; this is what can be searched of it. A text goes when the last computer that said it lets go
//! of it, as with software.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::connection::q;
use super::row::{rows_of, text};
use super::schema::{computer_values, inventory_values};
use super::{Conn, StoreError};
use crate::model::query::fold;
use crate::model::{ComputerId, DigestAlgorithm, Hasher};

/// What one computer says of a field, once however many elements say it. A section as such has an empty field and value.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct InventoryValue {
    /// The section, in upper case.
    pub section: String,
    /// The field, in upper case.
    pub field: String,
    /// What is said.
    pub value: String,
}

#[derive(Insertable)]
#[diesel(table_name = inventory_values, treat_none_as_default_value = false)]
struct ValueRow<'a> {
    digest: &'a [u8],
    section: Cow<'a, str>,
    field: Cow<'a, str>,
    value: Cow<'a, str>,
    value_key: String,
}

/// What tells a value from all others, however long it is.
fn digest(value: &InventoryValue) -> Vec<u8> {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    for part in [&value.section, &value.field, &value.value] {
        hasher.update(text(part).as_bytes());
        // No text of ours holds it.
        hasher.update(&[0]);
    }
    hasher.finish().as_bytes()[..16].to_vec()
}

/// What has to be written so that a computer's values are others.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    new: BTreeMap<Vec<u8>, InventoryValue>,
    gone: Vec<i64>,
}

impl Difference {
    /// From nothing to these.
    pub fn all(values: &[InventoryValue]) -> Self {
        Self::between(&BTreeMap::new(), values)
    }

    fn between(present: &BTreeMap<Vec<u8>, i64>, values: &[InventoryValue]) -> Self {
        let mut new: BTreeMap<Vec<u8>, InventoryValue> =
            values.iter().map(|value| (digest(value), value.clone())).collect();
        let gone = present.iter().filter(|(digest, _)| new.remove(*digest).is_none()).map(|(_, id)| *id).collect();
        Self { new, gone }
    }
}

/// What keeps the computer's values from being these. A read: the one writer has better things to do.
pub fn difference(conn: &mut Conn, computer: ComputerId, values: &[InventoryValue]) -> Result<Difference, StoreError> {
    let query = computer_values::table
        .inner_join(inventory_values::table.on(inventory_values::id.eq(computer_values::value_id)))
        .filter(computer_values::computer_id.eq(computer.0))
        .select((inventory_values::digest, inventory_values::id));
    let present: Vec<(Vec<u8>, i64)> = q!(conn => query.load(conn))?;
    Ok(Difference::between(&present.into_iter().collect(), values))
}

/// Writes a difference from what is there; gives how many values were added and how many removed.
pub fn apply(conn: &mut Conn, computer: ComputerId, difference: &Difference) -> Result<(usize, usize), StoreError> {
    add(conn, computer, &difference.new)?;
    remove(conn, computer, &difference.gone)?;
    Ok((difference.new.len(), difference.gone.len()))
}

fn add(conn: &mut Conn, computer: ComputerId, new: &BTreeMap<Vec<u8>, InventoryValue>) -> Result<(), StoreError> {
    // Far below what a statement takes, so that a computer's first inventory is a few statements of one form.
    const AT_ONCE: usize = 500;
    let new: Vec<(&Vec<u8>, &InventoryValue)> = new.iter().collect();
    let mut ids: Vec<i64> = Vec::with_capacity(new.len());
    for chunk in new.chunks(AT_ONCE) {
        let digests: Vec<&[u8]> = chunk.iter().map(|(digest, _)| digest.as_slice()).collect();
        let query = inventory_values::table
            .filter(inventory_values::digest.eq_any(digests))
            .select((inventory_values::digest, inventory_values::id));
        let known: Vec<(Vec<u8>, i64)> = q!(conn => query.load(conn))?;
        let has: BTreeSet<&[u8]> = known.iter().map(|(digest, _)| digest.as_slice()).collect();
        let unknown: Vec<ValueRow<'_>> = chunk
            .iter()
            .filter(|(digest, _)| !has.contains(digest.as_slice()))
            .map(|(digest, value)| ValueRow {
                digest: digest.as_slice(),
                section: text(&value.section),
                field: text(&value.field),
                value: text(&value.value),
                value_key: fold(&text(&value.value)),
            })
            .collect();
        ids.extend(known.iter().map(|(_, id)| *id));
        if !unknown.is_empty() {
            let made: Vec<i64> = q!(conn => diesel::insert_into(inventory_values::table)
                .values(&unknown)
                .returning(inventory_values::id)
                .get_results(conn))?;
            ids.extend(made);
        }
    }
    // In the order of the key, so that the pages of the tree are written one after the other.
    ids.sort_unstable();
    for chunk in ids.chunks(rows_of(2)) {
        let pairs: Vec<_> = chunk
            .iter()
            .map(|id| (computer_values::computer_id.eq(computer.0), computer_values::value_id.eq(*id)))
            .collect();
        q!(conn => diesel::insert_into(computer_values::table).values(&pairs).execute(conn))?;
    }
    Ok(())
}

fn remove(conn: &mut Conn, computer: ComputerId, gone: &[i64]) -> Result<(), StoreError> {
    for chunk in gone.chunks(rows_of(2)) {
        let pairs = computer_values::table
            .filter(computer_values::computer_id.eq(computer.0))
            .filter(computer_values::value_id.eq_any(chunk));
        q!(conn => diesel::delete(pairs).execute(conn))?;
        let kept = computer_values::table.filter(computer_values::value_id.eq(inventory_values::id));
        let orphans = inventory_values::table
            .filter(inventory_values::id.eq_any(chunk))
            .filter(diesel::dsl::not(diesel::dsl::exists(kept)));
        q!(conn => diesel::delete(orphans).execute(conn))?;
    }
    Ok(())
}

/// What a computer says, sorted.
pub fn of_computer(conn: &mut Conn, computer: ComputerId) -> Result<Vec<InventoryValue>, StoreError> {
    let query = computer_values::table
        .inner_join(inventory_values::table.on(inventory_values::id.eq(computer_values::value_id)))
        .filter(computer_values::computer_id.eq(computer.0))
        .select((inventory_values::section, inventory_values::field, inventory_values::value));
    let found: Vec<(String, String, String)> = q!(conn => query.load(conn))?;
    let mut found: Vec<InventoryValue> =
        found.into_iter().map(|(section, field, value)| InventoryValue { section, field, value }).collect();
    found.sort_unstable();
    Ok(found)
}

/// Lets go of everything that a computer has said.
pub(super) fn forget(conn: &mut Conn, computer: ComputerId) -> Result<(), StoreError> {
    let query =
        computer_values::table.filter(computer_values::computer_id.eq(computer.0)).select(computer_values::value_id);
    let all: Vec<i64> = q!(conn => query.load(conn))?;
    remove(conn, computer, &all)
}

/// How many different values there are.
pub fn count(conn: &mut Conn) -> Result<u64, StoreError> {
    let count: i64 = q!(conn => inventory_values::table.count().get_result(conn))?;
    Ok(count.unsigned_abs())
}
