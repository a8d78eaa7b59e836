//! Computers that a person wrote down before their agents came.

use diesel::prelude::*;

use super::connection::q;
use super::row::{rows_of, text};
use super::schema::{computers, entered_computers};
use super::{Conn, StoreError};
use crate::model::{ComputerId, DeviceId, UnixTime};

/// What is known of a computer that nobody has heard of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entry {
    /// Its host name.
    pub name: String,
    /// Its serial number; empty if nobody knows it.
    pub serial: String,
    /// Its tag.
    pub tag: String,
}

/// Writes a computer down. `None` if its device id is taken.
pub fn add(
    conn: &mut Conn,
    device_id: &DeviceId,
    entry: &Entry,
    at: UnixTime,
    by: &str,
) -> Result<Option<ComputerId>, StoreError> {
    let id: Option<i64> = q!(conn => diesel::insert_into(computers::table)
        .values((
            (
                computers::device_id.eq(device_id.as_str()),
                computers::name.eq(text(&entry.name)),
                computers::name_key.eq(text(&entry.name.to_lowercase()).into_owned()),
                computers::serial.eq(text(&entry.serial)),
                computers::tag.eq(text(&entry.tag)),
                computers::first_contact.eq(at.millis()),
                computers::last_contact.eq(at.millis()),
            ),
            (
                computers::os_name.eq(""),
                computers::os_version.eq(""),
                computers::architecture.eq(""),
                computers::ip_address.eq(""),
                computers::peer_address.eq(""),
                computers::user_name.eq(""),
                computers::model.eq(""),
                computers::uuid.eq(""),
                computers::workgroup.eq(""),
                computers::user_agent.eq(""),
            ),
        ))
        .on_conflict_do_nothing()
        .returning(computers::id)
        .get_result(conn)
        .optional())?;
    let Some(id) = id else { return Ok(None) };
    q!(conn => diesel::insert_into(entered_computers::table)
        .values((
            entered_computers::computer_id.eq(id),
            entered_computers::entered_at.eq(at.millis()),
            entered_computers::entered_by.eq(text(by)),
        ))
        .execute(conn))?;
    Ok(Some(ComputerId(id)))
}

/// Who wrote a computer down, and when; `None` for one that came by itself.
pub fn find(conn: &mut Conn, computer: ComputerId) -> Result<Option<(UnixTime, String)>, StoreError> {
    let query = entered_computers::table
        .find(computer.0)
        .select((entered_computers::entered_at, entered_computers::entered_by));
    let found: Option<(i64, String)> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(|(at, by)| (UnixTime::from_millis(at), by)))
}

/// Is any computer written down that has not come?
pub fn any(conn: &mut Conn) -> Result<bool, StoreError> {
    let query = entered_computers::table.select(entered_computers::computer_id).limit(1);
    Ok(q!(conn => query.first::<i64>(conn).optional())?.is_some())
}

/// Those of these computers that were written down.
pub fn among(conn: &mut Conn, ids: &[ComputerId]) -> Result<Vec<ComputerId>, StoreError> {
    let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut found = Vec::new();
    for chunk in numbers.chunks(rows_of(1)) {
        let query = entered_computers::table
            .filter(entered_computers::computer_id.eq_any(chunk))
            .select(entered_computers::computer_id);
        let some: Vec<i64> = q!(conn => query.load(conn))?;
        found.extend(some.into_iter().map(ComputerId));
    }
    Ok(found)
}

/// It came by itself after all.
pub fn came(conn: &mut Conn, computer: ComputerId) -> Result<(), StoreError> {
    q!(conn => diesel::delete(entered_computers::table.find(computer.0)).execute(conn))?;
    Ok(())
}
