//! The administrators' own fields: what may stand in them, their order, their end (docs/decisions/0730).
//!
//! What is written into a field is checked by its kind wherever it comes from: [`Field::kind`]'s `read` is the one gate. A
//! field that is renamed is renamed in the queries that ask for it; one that is asked for cannot be deleted.

use std::time::Duration;

use super::App;
use super::account::MOST_FIELDS;
use crate::model::own_field::{FieldKind, InvalidKind, LONGEST_NAME, WrongValue};
use crate::model::query::{Query, fold};
use crate::model::{UnixTime, number_of};
use crate::store::fields::{self, Field};
use crate::store::{Conn, StoreError, groups, users};

/// How long a field that was deleted can be taken back.
pub const KEPT: Duration = Duration::from_hours(7 * 24);
/// Values that a refusal names.
const NAMED: usize = 5;

/// Why a field is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OwnFieldError {
    /// A name that is none.
    #[error(
        "\"{0}\" is no name of a field: expected 1 to {LONGEST_NAME} characters on one line, and not fields_NUMBER"
    )]
    Name(String),
    /// It has a meaning of its own.
    #[error("a field cannot be called \"{0}\": lists and files have a column of that name")]
    Reserved(String),
    /// There is one of that name.
    #[error("there is a field \"{0}\" already")]
    Exists(String),
    /// There is none.
    #[error("there is no field \"{0}\": `dripfeed field list` shows them")]
    Unknown(String),
    /// There are enough.
    #[error("there are {MOST_FIELDS} fields already, and all are told to agents at once: use one of those")]
    TooMany,
    /// Not a kind.
    #[error(transparent)]
    Kind(#[from] InvalidKind),
    /// What new computers would have may not stand in it.
    #[error("what new computers have: {0}")]
    Initial(WrongValue),
    /// What computers have already may not stand in it.
    #[error(
        "{} {} what a field of the kind {kind} may not: {examples}; change those values first, or keep the kind",
        number_of(*computers, "computer"),
        if *computers == 1 { "holds" } else { "hold" }
    )]
    Values {
        /// The kind that was wanted.
        kind: &'static str,
        /// How many.
        computers: u64,
        /// Some of the values.
        examples: String,
    },
    /// The order leaves one out, or names one twice.
    #[error("an order names every field once: there are {0}")]
    Order(String),
    /// A query asks for it.
    #[error("the field \"{name}\" cannot be deleted: {by} asks for it")]
    Used {
        /// Its name.
        name: String,
        /// Who.
        by: String,
    },
    /// It cannot be taken back.
    #[error("this field was not deleted, or longer ago than a week: what it said is gone")]
    NotDeleted,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A field with how many computers say something in it.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The field.
    pub field: Field,
    /// Computers with a value.
    pub computers: u64,
}

/// What is to become of a field; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Another name.
    pub name: Option<String>,
    /// Another kind.
    pub kind: Option<FieldKind>,
    /// What new computers have.
    pub initial: Option<String>,
}

/// Columns of lists and files, which a field's name may not be.
const RESERVED: [&str; 7] = ["tag", "name", "device_id", "number", "serial", "computer", "id"];

fn checked_name(name: &str) -> Result<String, OwnFieldError> {
    let name = name.trim();
    let wire = name.strip_prefix("fields_").is_some_and(|rest| rest.parse::<i64>().is_ok());
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) || wire {
        return Err(OwnFieldError::Name(name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()));
    }
    if RESERVED.contains(&fold(name).as_str()) {
        return Err(OwnFieldError::Reserved(name.to_owned()));
    }
    Ok(name.to_owned())
}

/// The field that is meant: by its name, its name on the wire, or its number.
pub(super) fn meant(conn: &mut Conn, text: &str) -> Result<Option<Field>, StoreError> {
    if let Some(known) = fields::named(conn, text.trim())? {
        return Ok(Some(known));
    }
    let number = text.trim().strip_prefix("fields_").unwrap_or(text.trim());
    number.parse().map_or(Ok(None), |number| fields::find(conn, number))
}

fn known(conn: &mut Conn, text: &str) -> Result<Field, OwnFieldError> {
    meant(conn, text)?.ok_or_else(|| OwnFieldError::Unknown(text.chars().take(LONGEST_NAME).collect()))
}

/// Every field in its order.
pub fn list(app: &App) -> Result<Vec<Summary>, StoreError> {
    app.store.read_now(|conn| {
        let counts = fields::counts(conn)?;
        let summary = |field: Field| Summary { computers: counts.get(&field.id).copied().unwrap_or(0), field };
        Ok(fields::list(conn)?.into_iter().map(summary).collect())
    })
}

/// One field.
pub fn find(app: &App, field: &str) -> Result<Summary, OwnFieldError> {
    let field = field.to_owned();
    app.store.read_now(move |conn| summary(conn, &field))
}

fn summary(conn: &mut Conn, field: &str) -> Result<Summary, OwnFieldError> {
    let field = known(conn, field)?;
    Ok(Summary { computers: fields::counts(conn)?.get(&field.id).copied().unwrap_or(0), field })
}

/// Makes a field, behind the others.
pub fn create(app: &App, name: &str, kind: FieldKind, initial: &str) -> Result<Field, OwnFieldError> {
    let (name, initial) = (name.to_owned(), initial.to_owned());
    app.store.write_now(move |conn| make(conn, &name, &kind, &initial))
}

/// The same within a write.
pub(super) fn make(conn: &mut Conn, name: &str, kind: &FieldKind, initial: &str) -> Result<Field, OwnFieldError> {
    let name = checked_name(name)?;
    let initial = kind.read(initial).map_err(OwnFieldError::Initial)?;
    if fields::named(conn, &name)?.is_some() {
        return Err(OwnFieldError::Exists(name));
    }
    if fields::list(conn)?.len() >= MOST_FIELDS {
        return Err(OwnFieldError::TooMany);
    }
    Ok(fields::create(conn, &name, kind, &initial)?)
}

/// Changes what a field is; gives it as it was and as it is. Values of another kind stand against one, values that only
/// are written otherwise are written anew.
pub fn edit(app: &App, field: &str, edit: Edit) -> Result<(Field, Field), OwnFieldError> {
    let field = field.to_owned();
    app.store.write_now(move |conn| {
        let before = known(conn, &field)?;
        let name = edit.name.as_deref().map(checked_name).transpose()?.unwrap_or_else(|| before.name.clone());
        if fold(&name) != fold(&before.name) && fields::named(conn, &name)?.is_some() {
            return Err(OwnFieldError::Exists(name));
        }
        let kind = edit.kind.unwrap_or_else(|| before.kind.clone());
        let initial = edit.initial.unwrap_or_else(|| before.initial.clone());
        let initial = kind.read(&initial).map_err(OwnFieldError::Initial)?;
        if kind != before.kind {
            refit(conn, before.id, &kind)?;
        }
        let after = Field { id: before.id, name, kind, initial };
        fields::change(conn, &after)?;
        if fold(&after.name) != fold(&before.name) {
            rename_in_queries(conn, &before.name, &after.name)?;
        }
        Ok((before, after))
    })
}

/// Writes every value as the kind has it, or refuses all.
fn refit(conn: &mut Conn, id: i64, kind: &FieldKind) -> Result<(), OwnFieldError> {
    let (mut wrong, mut examples, mut others) = (0, Vec::new(), Vec::new());
    for (value, computers) in fields::values(conn, id)? {
        match kind.read(&value) {
            Ok(read) if read == value => {}
            Ok(read) => others.push((value, read)),
            Err(_) => {
                wrong += computers;
                examples.push(format!("\"{}\"", value.chars().take(40).collect::<String>()));
            }
        }
    }
    if wrong > 0 {
        examples.truncate(NAMED);
        return Err(OwnFieldError::Values { kind: kind.word(), computers: wrong, examples: examples.join(", ") });
    }
    for (value, read) in others {
        fields::replace(conn, id, &value, &read)?;
    }
    Ok(())
}

/// Queries that ask for the field by its name: those of groups, and those of users' scopes.
fn rename_in_queries(conn: &mut Conn, from: &str, to: &str) -> Result<(), StoreError> {
    let renamed =
        |query: &Query| query.fields().iter().any(|name| fold(name) == fold(from)).then(|| query.with_field(from, to));
    for group in groups::list(conn)? {
        let query = group.query.as_deref().and_then(|text| text.parse::<Query>().ok());
        if let Some(query) = query.as_ref().and_then(renamed) {
            groups::set_query(conn, group.id, Some(&query.to_string()))?;
        }
    }
    for user in users::list(conn)? {
        if let Some(query) = user.scope.computers.as_ref().and_then(renamed) {
            let scope = crate::model::access::Scope { computers: Some(query), ..user.scope };
            users::set_access(conn, &user.name, &user.role, &scope)?;
        }
    }
    Ok(())
}

/// Who asks for the field in a query.
fn asked_by(conn: &mut Conn, name: &str) -> Result<Option<String>, StoreError> {
    let asks = |query: &Query| query.fields().iter().any(|asked| fold(asked) == fold(name));
    for group in groups::list(conn)? {
        if group.query.as_deref().and_then(|text| text.parse().ok()).as_ref().is_some_and(asks) {
            return Ok(Some(format!("the group \"{}\"", group.name)));
        }
    }
    let users = users::list(conn)?;
    let user = users.into_iter().find(|user| user.scope.computers.as_ref().is_some_and(asks));
    Ok(user.map(|user| format!("the scope of {}", user.name)))
}

/// Puts the fields into an order, by their names or numbers.
pub fn arrange(app: &App, order: &[String]) -> Result<(), OwnFieldError> {
    let order = order.to_vec();
    app.store.write_now(move |conn| {
        let all = fields::list(conn)?;
        let mut ids = Vec::with_capacity(order.len());
        for text in &order {
            ids.push(known(conn, text)?.id);
        }
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != all.len() || ids.len() != all.len() {
            return Err(OwnFieldError::Order(all.into_iter().map(|field| field.name).collect::<Vec<_>>().join(", ")));
        }
        Ok(fields::arrange(conn, &ids)?)
    })
}

/// Deletes a field; gives what it was. Its values are kept for a week.
pub fn delete(app: &App, field: &str) -> Result<Summary, OwnFieldError> {
    let (field, now) = (field.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let summary = summary(conn, &field)?;
        if let Some(by) = asked_by(conn, &summary.field.name)? {
            return Err(OwnFieldError::Used { name: summary.field.name, by });
        }
        fields::set_deleted(conn, summary.field.id, Some(now))?;
        Ok(summary)
    })
}

/// Takes a field back, with everything it said: by its name on the wire, or the one of that name that was deleted last.
pub fn restore(app: &App, field: &str) -> Result<Field, OwnFieldError> {
    let text = field.trim().to_owned();
    app.store.write_now(move |conn| {
        let number = text.strip_prefix("fields_").and_then(|number| number.parse().ok());
        let deleted = match number {
            Some(number) => fields::deleted(conn, number)?,
            None => fields::deleted_named(conn, &text)?,
        };
        let field = deleted.ok_or(OwnFieldError::NotDeleted)?;
        if fields::named(conn, &field.name)?.is_some() {
            return Err(OwnFieldError::Exists(field.name));
        }
        if fields::list(conn)?.len() >= MOST_FIELDS {
            return Err(OwnFieldError::TooMany);
        }
        fields::set_deleted(conn, field.id, None)?;
        Ok(field)
    })
}

/// Erases what was deleted long enough ago; says how many fields that were.
pub fn forget_old(app: &App) -> Result<usize, StoreError> {
    let old = app.clock.now().millis().saturating_sub(i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX));
    let old = UnixTime::from_millis(old);
    // Nothing is written, most of the time.
    if !app.store.read_now(move |conn| fields::any_deleted(conn, old))? {
        return Ok(0);
    }
    app.store.write_now(move |conn| fields::forget_deleted(conn, old))
}
