//! Questions about computers, as administrators ask them.

use super::App;
use crate::model::Computer;
use crate::model::query::{NotSearchable, Query, QueryError};
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
    Ok(query)
}

/// Every computer that the query asks for now, in order of their numbers.
pub fn ask(app: &App, text: &str) -> Result<Vec<Computer>, AskError> {
    let (text, now) = (text.to_owned(), app.clock.now());
    app.store.read_now(move |conn| {
        let query = read(conn, &text)?;
        Ok(search::computers(conn, &query, now, None, usize::MAX)?)
    })
}
