//! Questions about computers, as administrators ask them.

use super::App;
use crate::model::Computer;
use crate::model::query::{NotSearchable, Query, QueryError};
use crate::protocol::{NOT_COMPARED, changes_by_itself};
use crate::store::{Conn, StoreError, fields, groups, search};

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] QueryError),
    /// It asks for what nobody keeps.
    #[error(transparent)]
    NotSearchable(#[from] NotSearchable),
    /// It names a group that is not there.
    #[error("there is no group \"{0}\": `dripfeed group list` shows them")]
    UnknownGroup(String),
    /// It names a field that is not there.
    #[error("there is no field \"{0}\": `dripfeed computer field COMPUTER NAME VALUE` makes one")]
    UnknownField(String),
    /// It asks for a section or a field that is not kept for searching.
    #[error("{asked} cannot be searched: {instead}")]
    NotKept {
        /// The section, or section and field.
        asked: String,
        /// Why, and what to do.
        instead: &'static str,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads a query and checks that it can be answered here.
pub fn read(conn: &mut Conn, text: &str) -> Result<Query, AskError> {
    let query: Query = text.parse()?;
    for name in query.groups() {
        if groups::find_by_name(conn, name)?.is_none() {
            return Err(AskError::UnknownGroup(name.to_owned()));
        }
    }
    for name in query.fields() {
        if fields::named(conn, name)?.is_none() {
            return Err(AskError::UnknownField(name.to_owned()));
        }
    }
    for (section, field) in query.sections() {
        not_kept(&section, &field)?;
    }
    Ok(query)
}

/// Refuses what no inventory could ever answer: a misspelt name finds nothing, but this one is right and finds nothing.
fn not_kept(section: &str, field: &str) -> Result<(), AskError> {
    let instead = match section {
        "SOFTWARES" => "ask with `has software 'NAME'`; `dripfeed software list` shows the names",
        "ACCOUNTINFO" => "ask with `tag` and `field NAME`",
        "DOWNLOAD" => "ask with `has package ID`",
        other if NOT_COMPARED.contains(&other) => "it is another at every inventory; the document has it",
        _ if changes_by_itself(section, field) => "it changes by itself; the document has it",
        _ => return Ok(()),
    };
    let asked = if field.is_empty() { section.to_owned() } else { format!("{section}.{field}") };
    Err(AskError::NotKept { asked, instead })
}

/// Every computer that the query asks for now, in order of their numbers.
pub fn ask(app: &App, text: &str) -> Result<Vec<Computer>, AskError> {
    let (text, now) = (text.to_owned(), app.clock.now());
    app.store.read_now(move |conn| {
        let query = read(conn, &text)?;
        Ok(search::computers(conn, &query, now, None, usize::MAX)?)
    })
}
