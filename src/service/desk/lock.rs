//! A session that is locked to some computers: the console shows these and no others, until that is ended (decision 0733).
//!
//! The lock is a part of the session's scope, so what a scope leaves out is left out by the same checks.

use super::super::query;
use super::{Desk, Refusal};
use crate::model::access::Right;
use crate::model::query::{Expr, Query};
use crate::store::sessions::{self, Session};

impl Desk {
    /// Locks a session of the actor's to what a query asks for, within what it is locked to already.
    pub fn lock_session(&self, session: &Session, text: &str) -> Result<(), Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        if text.trim().is_empty() {
            return Err(
                Refusal::invalid("a list of all computers is no lock: search for some, or tick some").about("q")
            );
        }
        let owned = text.to_owned();
        let query = app.store.read_now(move |conn| query::read(conn, &owned));
        let query = query.map_err(|error| Refusal::from(error).about("q"))?;
        let query = match session.locked_to.as_deref().and_then(|locked| locked.parse::<Query>().ok()) {
            Some(locked) => both(locked, query)?,
            None => query,
        };
        if let Some(scope) = &self.actor.scope.computers {
            both(scope.clone(), query.clone())?;
        }
        let digest = session.digest;
        Ok(app.store.write_now(move |conn| sessions::set_lock(conn, &digest, Some(&query.to_string())))?)
    }

    /// Ends the lock of a session.
    pub fn unlock_session(&self, session: &Session) -> Result<(), Refusal> {
        let digest = session.digest;
        Ok(self.app.store.write_now(move |conn| sessions::set_lock(conn, &digest, None))?)
    }
}

fn both(one: Query, other: Query) -> Result<Query, Refusal> {
    let both = Query::try_from(Expr::All(vec![one.into(), other.into()]));
    both.map_err(|_| {
        Refusal::invalid("this is too long for a lock: search for them instead of ticking them").about("q")
    })
}
