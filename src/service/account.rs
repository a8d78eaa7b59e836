//! The administrators' data about computers: the tag, and fields of their own (ocs-protocol 2.2, 3.4).
//!
//! What an agent says of itself counts in its first inventory only. Afterwards the server's values are told to the agent
//! until it says the same.

use super::App;
use super::assign::{AssignError, named};
use super::inventory::NO_TAG;
use crate::model::{Computer, ComputerId, DeviceId};
use crate::protocol::{AccountField, InventoryReply};
use crate::store::fields::{self, Field};
use crate::store::{Conn, StoreError};

/// Fields that a server may have: all of them are told to agents at once.
pub const MOST_FIELDS: usize = 200;
/// Characters of a value; what the stock server's columns hold.
const LONGEST: usize = 255;

/// What the server says of a computer.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    tag: String,
    values: Vec<(Field, String)>,
}

impl Account {
    pub(super) fn load(conn: &mut Conn, computer: ComputerId, tag: &str) -> Result<Self, StoreError> {
        let tag = if tag.is_empty() { NO_TAG } else { tag }.to_owned();
        Ok(Self { tag, values: fields::of_computer(conn, computer)? })
    }

    /// What the agent has to be told.
    ///
    /// The stock server counts keys, so that one that an agent does not send back (an empty one) or has beside them
    /// makes an update of every inventory. Here an empty value is none, and what is not ours does not count. A field that
    /// the agent has and the server has not is told as an empty one: agents on Windows add what they are told to what they
    /// have.
    pub(super) fn reply(&self, sent: &[AccountField]) -> InventoryReply {
        let mut ours: Vec<AccountField> = vec![AccountField { key: "TAG".to_owned(), value: self.tag.clone() }];
        ours.extend(
            self.values.iter().map(|(field, value)| AccountField { key: field.wire_name(), value: value.clone() }),
        );
        let foreign = sent.iter().filter(|field| {
            field_number(&field.key).is_some()
                && !field.value.trim().is_empty()
                && ours.iter().all(|own| own.key != field.key)
        });
        let mut cleared: Vec<AccountField> =
            foreign.map(|field| AccountField { key: field.key.clone(), value: String::new() }).collect();
        cleared.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        cleared.dedup();
        cleared.truncate(MOST_FIELDS);
        let agrees = |own: &AccountField| {
            // XML carries white space at the ends, stock agents do not.
            let said = sent.iter().rev().find(|field| field.key == own.key).map_or("", |field| field.value.trim());
            said == own.value.trim()
        };
        if cleared.is_empty() && ours.iter().all(agrees) {
            return InventoryReply::NoAccountUpdate;
        }
        ours.extend(cleared);
        InventoryReply::AccountUpdate(ours)
    }
}

/// Takes what an agent says in its first inventory; only fields that there are.
pub(super) fn take_first(conn: &mut Conn, computer: ComputerId, sent: &[AccountField]) -> Result<(), StoreError> {
    if sent.iter().all(|field| field_number(&field.key).is_none()) {
        return Ok(());
    }
    for field in fields::list(conn)? {
        if let Some(said) = sent.iter().rev().find(|said| said.key == field.wire_name()) {
            fields::set(conn, computer, field.id, said.value.trim())?;
        }
    }
    Ok(())
}

/// The number in `fields_<number>`.
fn field_number(key: &str) -> Option<i64> {
    key.strip_prefix("fields_")?.parse().ok()
}

/// Why nothing was written down.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Not one computer of that name.
    #[error(transparent)]
    Named(#[from] AssignError),
    /// A value that agents cannot carry.
    #[error("the value is wrong: expected at most 255 characters on one line, not \"{0}\"")]
    Value(String),
    /// A name that is none.
    #[error("\"{0}\" is no name of a field: expected 1 to 60 characters on one line")]
    Name(String),
    /// TAG has a verb of its own.
    #[error("TAG is no field: `dripfeed computer tag COMPUTER TAG` sets it")]
    Tag,
    /// It cannot be unset: there is none.
    #[error("{0} has no field \"{1}\"")]
    NotSet(DeviceId, String),
    /// There are enough.
    #[error("there are {MOST_FIELDS} fields already, and all are told to agents at once: use one of those")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn check(value: &str) -> Result<String, AccountError> {
    let value = value.trim();
    if value.chars().count() > LONGEST || value.chars().any(char::is_control) {
        return Err(AccountError::Value(value.chars().filter(|c| !c.is_control()).take(60).collect()));
    }
    Ok(value.to_owned())
}

/// A tag as it is written down; blank is that of a computer without one.
pub(super) fn checked_tag(tag: &str) -> Result<String, AccountError> {
    let tag = check(tag)?;
    Ok(if tag.is_empty() { NO_TAG.to_owned() } else { tag })
}

/// Sets a computer's tag; `None` takes it back. Gives the computer as it was.
pub fn set_tag(app: &App, computer: &str, tag: Option<&str>) -> Result<Computer, AccountError> {
    let tag = checked_tag(tag.unwrap_or(NO_TAG))?;
    let (name, now) = (computer.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let computer = named(conn, &name)?;
        fields::set_tag(conn, computer.id, &tag)?;
        super::groups::evaluate(conn, computer.id, now)?;
        Ok(computer)
    })
}

/// Writes a value into a field of a computer; the first value of a name makes the field. `None` takes the value back.
/// Gives the computer and the field.
pub fn set_field(
    app: &App,
    computer: &str,
    field: &str,
    value: Option<&str>,
) -> Result<(Computer, Field), AccountError> {
    let field = field.trim().to_owned();
    if field.is_empty() || field.chars().count() > 60 || field.chars().any(char::is_control) {
        return Err(AccountError::Name(field.chars().filter(|c| !c.is_control()).take(60).collect()));
    }
    if field.eq_ignore_ascii_case("TAG") {
        return Err(AccountError::Tag);
    }
    let value = value.map(check).transpose()?.unwrap_or_default();
    let name = computer.to_owned();
    app.store.write_now(move |conn| {
        let computer = named(conn, &name)?;
        let known = match field_number(&field) {
            Some(number) => fields::list(conn)?.into_iter().find(|known| known.id == number),
            None => fields::named(conn, &field)?,
        };
        let known = match known {
            Some(known) => known,
            None if value.is_empty() => return Err(AccountError::NotSet(computer.device_id, field)),
            None if field_number(&field).is_some() => return Err(AccountError::Name(field)),
            None if fields::list(conn)?.len() >= MOST_FIELDS => return Err(AccountError::TooMany),
            None => fields::create(conn, &field)?,
        };
        fields::set(conn, computer.id, known.id, &value)?;
        Ok((computer, known))
    })
}
