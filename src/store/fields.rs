//! The administrators' own fields of a computer. On the wire a field is `fields_<number>` (ocs-protocol 3.4).
//!
//! A field that was deleted keeps its values for some days, so that it can be taken back; until then nothing reads them.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, rows_of, text};
use super::schema::{computer_fields, computers, fields};
use super::{Conn, StoreError};
use crate::model::own_field::FieldKind;
use crate::model::{ComputerId, UnixTime};

/// A field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Field {
    /// Its number, never used twice.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// What may stand in it.
    pub kind: FieldKind,
    /// What a new computer has in it; empty for nothing.
    pub initial: String,
}

impl Field {
    /// What agents call it.
    pub fn wire_name(&self) -> String {
        format!("fields_{}", self.id)
    }
}

type Columns = (i64, String, String, String, String);

const COLUMNS: (fields::id, fields::name, fields::kind, fields::choices, fields::initial) =
    (fields::id, fields::name, fields::kind, fields::choices, fields::initial);

fn field((id, name, kind, choices, initial): Columns) -> Result<Field, StoreError> {
    let kind = At("fields", id).check(FieldKind::new(&kind, choices.lines()))?;
    Ok(Field { id, name, kind, initial })
}

/// The choices of a list, one a line.
fn choices(kind: &FieldKind) -> String {
    match kind {
        FieldKind::List(choices) => text(&choices.join("\n")).into_owned(),
        _ => String::new(),
    }
}

fn key(name: &str) -> String {
    text(name).to_lowercase()
}

/// Every field, in the administrators' order.
pub fn list(conn: &mut Conn) -> Result<Vec<Field>, StoreError> {
    let query = fields::table.filter(fields::deleted_at.is_null()).order((fields::position, fields::id));
    let found: Vec<Columns> = q!(conn => query.select(COLUMNS).load(conn))?;
    found.into_iter().map(field).collect()
}

/// The field of that name, letters compared without case.
pub fn named(conn: &mut Conn, name: &str) -> Result<Option<Field>, StoreError> {
    let query = fields::table.filter(fields::name_key.eq(key(name))).filter(fields::deleted_at.is_null());
    let found: Option<Columns> = q!(conn => query.select(COLUMNS).first(conn).optional())?;
    found.map(field).transpose()
}

/// The field of that number.
pub fn find(conn: &mut Conn, id: i64) -> Result<Option<Field>, StoreError> {
    let query = fields::table.filter(fields::id.eq(id)).filter(fields::deleted_at.is_null());
    let found: Option<Columns> = q!(conn => query.select(COLUMNS).first(conn).optional())?;
    found.map(field).transpose()
}

/// A new field, behind all others; there is none of that name.
pub fn create(conn: &mut Conn, name: &str, kind: &FieldKind, initial: &str) -> Result<Field, StoreError> {
    let last: Option<i64> = q!(conn => fields::table.select(diesel::dsl::max(fields::position)).first(conn))?;
    let id = q!(conn => diesel::insert_into(fields::table)
        .values((
            fields::name.eq(text(name)),
            fields::name_key.eq(key(name)),
            fields::kind.eq(kind.word()),
            fields::choices.eq(choices(kind)),
            fields::initial.eq(text(initial)),
            fields::position.eq(last.unwrap_or(0) + 1),
        ))
        .returning(fields::id)
        .get_result(conn))?;
    Ok(Field { id, name: text(name).into_owned(), kind: kind.clone(), initial: text(initial).into_owned() })
}

/// Writes what a field is. Its values stay as they are.
pub fn change(conn: &mut Conn, field: &Field) -> Result<(), StoreError> {
    q!(conn => diesel::update(fields::table.find(field.id))
        .set((
            fields::name.eq(text(&field.name)),
            fields::name_key.eq(key(&field.name)),
            fields::kind.eq(field.kind.word()),
            fields::choices.eq(choices(&field.kind)),
            fields::initial.eq(text(&field.initial)),
        ))
        .execute(conn))?;
    Ok(())
}

/// Puts the fields into this order.
pub fn arrange(conn: &mut Conn, ids: &[i64]) -> Result<(), StoreError> {
    for (position, id) in (1_i64..).zip(ids) {
        q!(conn => diesel::update(fields::table.find(id)).set(fields::position.eq(position)).execute(conn))?;
    }
    Ok(())
}

/// Deletes a field, or takes it back. True if it was there.
pub fn set_deleted(conn: &mut Conn, id: i64, at: Option<UnixTime>) -> Result<bool, StoreError> {
    let row = fields::table.find(id);
    let changed = q!(conn => diesel::update(row)
        .set(fields::deleted_at.eq(at.map(UnixTime::millis)))
        .execute(conn))?;
    Ok(changed > 0)
}

/// The field of that name that was deleted last.
pub fn deleted_named(conn: &mut Conn, name: &str) -> Result<Option<Field>, StoreError> {
    let query = fields::table
        .filter(fields::name_key.eq(key(name)))
        .filter(fields::deleted_at.is_not_null())
        .order((fields::deleted_at.desc(), fields::id.desc()));
    let found: Option<Columns> = q!(conn => query.select(COLUMNS).first(conn).optional())?;
    found.map(field).transpose()
}

/// A field that was deleted and can be taken back.
pub fn deleted(conn: &mut Conn, id: i64) -> Result<Option<Field>, StoreError> {
    let query = fields::table.filter(fields::id.eq(id)).filter(fields::deleted_at.is_not_null());
    let found: Option<Columns> = q!(conn => query.select(COLUMNS).first(conn).optional())?;
    found.map(field).transpose()
}

/// Is there one that was deleted before a moment?
pub fn any_deleted(conn: &mut Conn, before: UnixTime) -> Result<bool, StoreError> {
    let old = fields::table.filter(fields::deleted_at.lt(before.millis())).select(fields::id);
    let found: Option<i64> = q!(conn => old.first(conn).optional())?;
    Ok(found.is_some())
}

/// Erases the fields that were deleted before a moment, with what they said.
pub fn forget_deleted(conn: &mut Conn, before: UnixTime) -> Result<usize, StoreError> {
    let old = fields::table.filter(fields::deleted_at.lt(before.millis()));
    Ok(q!(conn => diesel::delete(old).execute(conn))?)
}

/// How many computers say something in each field.
pub fn counts(conn: &mut Conn) -> Result<BTreeMap<i64, u64>, StoreError> {
    let query = computer_fields::table
        .group_by(computer_fields::field_id)
        .select((computer_fields::field_id, diesel::dsl::count_star()));
    let found: Vec<(i64, i64)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(id, count)| (id, count.unsigned_abs())).collect())
}

/// The different values of a field, with how many computers say each, the most frequent first.
pub fn values(conn: &mut Conn, id: i64) -> Result<Vec<(String, u64)>, StoreError> {
    let query = computer_fields::table
        .filter(computer_fields::field_id.eq(id))
        .group_by(computer_fields::value)
        .order((diesel::dsl::count_star().desc(), computer_fields::value))
        .select((computer_fields::value, diesel::dsl::count_star()));
    let found: Vec<(String, i64)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(value, count)| (value, count.unsigned_abs())).collect())
}

/// Writes another value wherever a field has this one.
pub fn replace(conn: &mut Conn, id: i64, value: &str, with: &str) -> Result<(), StoreError> {
    let rows =
        computer_fields::table.filter(computer_fields::field_id.eq(id)).filter(computer_fields::value.eq(text(value)));
    q!(conn => diesel::update(rows).set(computer_fields::value.eq(text(with))).execute(conn))?;
    Ok(())
}

/// What the fields say of a computer, those that say something.
pub fn of_computer(conn: &mut Conn, computer: ComputerId) -> Result<Vec<(Field, String)>, StoreError> {
    let query = computer_fields::table
        .inner_join(fields::table.on(fields::id.eq(computer_fields::field_id)))
        .filter(computer_fields::computer_id.eq(computer.0))
        .filter(fields::deleted_at.is_null())
        .order((fields::position, fields::id))
        .select((COLUMNS, computer_fields::value));
    let found: Vec<(Columns, String)> = q!(conn => query.load(conn))?;
    found.into_iter().map(|(columns, value)| Ok((field(columns)?, value))).collect()
}

/// What some fields say of some computers.
pub fn of_computers(
    conn: &mut Conn,
    computers: &[ComputerId],
    of: &[i64],
) -> Result<BTreeMap<(ComputerId, i64), String>, StoreError> {
    let numbers: Vec<i64> = computers.iter().map(|id| id.0).collect();
    let mut said = BTreeMap::new();
    for chunk in numbers.chunks(rows_of(1) - of.len().min(200)) {
        let query = computer_fields::table
            .filter(computer_fields::computer_id.eq_any(chunk))
            .filter(computer_fields::field_id.eq_any(of))
            .select((computer_fields::computer_id, computer_fields::field_id, computer_fields::value));
        let found: Vec<(i64, i64, String)> = q!(conn => query.load(conn))?;
        said.extend(found.into_iter().map(|(computer, field, value)| ((ComputerId(computer), field), value)));
    }
    Ok(said)
}

/// Says something of a computer; empty says nothing any more.
pub fn set(conn: &mut Conn, computer: ComputerId, field: i64, value: &str) -> Result<(), StoreError> {
    set_many(conn, field, &[(computer, value.to_owned())])
}

/// The same of many, each named once.
pub fn set_many(conn: &mut Conn, field: i64, values: &[(ComputerId, String)]) -> Result<(), StoreError> {
    let (said, gone): (Vec<_>, Vec<_>) = values.iter().partition(|(_, value)| !value.is_empty());
    let gone: Vec<i64> = gone.into_iter().map(|(computer, _)| computer.0).collect();
    for chunk in gone.chunks(rows_of(1) - 1) {
        let rows = computer_fields::table
            .filter(computer_fields::field_id.eq(field))
            .filter(computer_fields::computer_id.eq_any(chunk));
        q!(conn => diesel::delete(rows).execute(conn))?;
    }
    for chunk in said.chunks(rows_of(3)) {
        let rows: Vec<_> = chunk
            .iter()
            .map(|(computer, value)| {
                (
                    computer_fields::computer_id.eq(computer.0),
                    computer_fields::field_id.eq(field),
                    computer_fields::value.eq(text(value)),
                )
            })
            .collect();
        q!(conn => diesel::insert_into(computer_fields::table)
            .values(&rows)
            .on_conflict((computer_fields::computer_id, computer_fields::field_id))
            .do_update()
            .set(computer_fields::value.eq(diesel::upsert::excluded(computer_fields::value)))
            .execute(conn))?;
    }
    Ok(())
}

/// Writes the tag.
pub fn set_tag(conn: &mut Conn, computer: ComputerId, tag: &str) -> Result<(), StoreError> {
    set_tags(conn, &[computer], tag)
}

/// The same for many.
pub fn set_tags(conn: &mut Conn, of: &[ComputerId], tag: &str) -> Result<(), StoreError> {
    let numbers: Vec<i64> = of.iter().map(|id| id.0).collect();
    for chunk in numbers.chunks(rows_of(1) - 1) {
        let rows = computers::table.filter(computers::id.eq_any(chunk));
        q!(conn => diesel::update(rows).set(computers::tag.eq(text(tag))).execute(conn))?;
    }
    Ok(())
}

/// The tags of some computers.
pub fn tags(conn: &mut Conn, of: &[ComputerId]) -> Result<BTreeMap<ComputerId, String>, StoreError> {
    let numbers: Vec<i64> = of.iter().map(|id| id.0).collect();
    let mut tags = BTreeMap::new();
    for chunk in numbers.chunks(rows_of(1)) {
        let query = computers::table.filter(computers::id.eq_any(chunk)).select((computers::id, computers::tag));
        let found: Vec<(i64, String)> = q!(conn => query.load(conn))?;
        tags.extend(found.into_iter().map(|(id, tag)| (ComputerId(id), tag)));
    }
    Ok(tags)
}
