//! The administrators' own fields of a computer. On the wire a field is `fields_<number>` (ocs-protocol 3.4).

use diesel::prelude::*;

use super::connection::q;
use super::row::text;
use super::schema::{computer_fields, computers, fields};
use super::{Conn, StoreError};
use crate::model::ComputerId;

/// A field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Field {
    /// Its number, never used twice.
    pub id: i64,
    /// What people call it.
    pub name: String,
}

impl Field {
    /// What agents call it.
    pub fn wire_name(&self) -> String {
        format!("fields_{}", self.id)
    }
}

/// Every field, oldest first.
pub fn list(conn: &mut Conn) -> Result<Vec<Field>, StoreError> {
    let query = fields::table.order(fields::id).select((fields::id, fields::name));
    let found: Vec<(i64, String)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(id, name)| Field { id, name }).collect())
}

/// The field of that name, letters compared without case.
pub fn named(conn: &mut Conn, name: &str) -> Result<Option<Field>, StoreError> {
    let query = fields::table.filter(fields::name_key.eq(text(name).to_lowercase())).select((fields::id, fields::name));
    let found: Option<(i64, String)> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(|(id, name)| Field { id, name }))
}

/// A new field; there is none of that name.
pub fn create(conn: &mut Conn, name: &str) -> Result<Field, StoreError> {
    let id = q!(conn => diesel::insert_into(fields::table)
        .values((fields::name.eq(text(name)), fields::name_key.eq(text(name).to_lowercase())))
        .returning(fields::id)
        .get_result(conn))?;
    Ok(Field { id, name: text(name).into_owned() })
}

/// What the fields say of a computer, those that say something.
pub fn of_computer(conn: &mut Conn, computer: ComputerId) -> Result<Vec<(Field, String)>, StoreError> {
    let query = computer_fields::table
        .inner_join(fields::table.on(fields::id.eq(computer_fields::field_id)))
        .filter(computer_fields::computer_id.eq(computer.0))
        .order(fields::id)
        .select((fields::id, fields::name, computer_fields::value));
    let found: Vec<(i64, String, String)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(id, name, value)| (Field { id, name }, value)).collect())
}

/// Says something of a computer; empty says nothing any more.
pub fn set(conn: &mut Conn, computer: ComputerId, field: i64, value: &str) -> Result<(), StoreError> {
    if value.is_empty() {
        q!(conn => diesel::delete(computer_fields::table.find((computer.0, field))).execute(conn))?;
        return Ok(());
    }
    let value = text(value);
    q!(conn => diesel::insert_into(computer_fields::table)
        .values((
            computer_fields::computer_id.eq(computer.0),
            computer_fields::field_id.eq(field),
            computer_fields::value.eq(&*value),
        ))
        .on_conflict((computer_fields::computer_id, computer_fields::field_id))
        .do_update()
        .set(computer_fields::value.eq(&*value))
        .execute(conn))?;
    Ok(())
}

/// Writes the tag.
pub fn set_tag(conn: &mut Conn, computer: ComputerId, tag: &str) -> Result<(), StoreError> {
    q!(conn => diesel::update(computers::table.find(computer.0)).set(computers::tag.eq(text(tag))).execute(conn))?;
    Ok(())
}
