//! The administrators' data about computers: the tag, and fields of their own (ocs-protocol 2.2, 3.4).
//!
//! What an agent says of itself counts in its first inventory only. Afterwards the server's values are told to the agent
//! until it says the same.

use super::App;
use super::assign::{AssignError, named};
use super::fields as own;
use super::inventory::NO_TAG;
use crate::model::own_field::{FieldKind, WrongValue};
use crate::model::{Computer, ComputerId, DeviceId};
use crate::protocol::{AccountField, InventoryReply};
use crate::store::fields::{self, Field};
use crate::store::{Conn, StoreError};

/// Fields that a server may have: all of them are told to agents at once.
pub const MOST_FIELDS: usize = 200;

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

/// Takes what an agent says in its first inventory; only fields that there are, and what may stand in them. A field of
/// which it says nothing has what new computers have in it.
pub(super) fn take_first(conn: &mut Conn, computer: ComputerId, sent: &[AccountField]) -> Result<(), StoreError> {
    for field in fields::list(conn)? {
        let said = sent.iter().rev().find(|said| said.key == field.wire_name());
        let said = said.and_then(|said| field.kind.read(&said.value).ok()).filter(|said| !said.is_empty());
        let value = said.unwrap_or(field.initial);
        if !value.is_empty() {
            fields::set(conn, computer, field.id, &value)?;
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
    /// A value that may not stand there.
    #[error(transparent)]
    Value(#[from] WrongValue),
    /// A field that cannot be made.
    #[error(transparent)]
    Field(#[from] own::OwnFieldError),
    /// TAG has a verb of its own.
    #[error("TAG is no field: `dripfeed computer tag COMPUTER TAG` sets it")]
    Tag,
    /// It cannot be unset: there is none.
    #[error("{0} has no field \"{1}\"")]
    NotSet(DeviceId, String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A tag as it is written down; blank is that of a computer without one.
pub(super) fn checked_tag(tag: &str) -> Result<String, AccountError> {
    let tag = FieldKind::Text.read(tag)?;
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
    let (name, field) = (computer.to_owned(), field.trim().to_owned());
    if field.eq_ignore_ascii_case("TAG") {
        return Err(AccountError::Tag);
    }
    let (value, now) = (value.unwrap_or_default().to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let computer = named(conn, &name)?;
        let known = match own::meant(conn, &field)? {
            Some(known) => known,
            None if value.trim().is_empty() => return Err(AccountError::NotSet(computer.device_id, field)),
            None => own::make(conn, &field, &FieldKind::Text, "")?,
        };
        fields::set(conn, computer.id, known.id, &known.kind.read(&value)?)?;
        super::groups::evaluate(conn, computer.id, now)?;
        Ok((computer, known))
    })
}
