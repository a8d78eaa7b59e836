//! Saved views of lists, and which columns somebody wants to see. They are preferences: every actor has their own.

use serde_json::json;

use super::{Change, Desk, Refusal};
use crate::store::views::{self, View};

/// Views that somebody is shown.
const MOST: usize = 200;
/// Characters of a name.
const NAME: usize = 60;
/// Bytes of what is kept of a list's address.
const QUERY: usize = 10_000;

impl Desk {
    /// The views of a list that the actor sees: their own, and those that others share.
    pub fn views(&self, list: &'static str) -> Result<Vec<View>, Refusal> {
        let owner = self.actor().name.clone();
        let mut found = self.app.store.read_now(move |conn| views::seen_by(conn, &owner, list, MOST))?;
        found.retain(|view| !view.name.is_empty());
        Ok(found)
    }

    /// Keeps a view of a list under a name; one's own of that name is replaced. Gives its number.
    pub fn save_view(&self, list: &'static str, name: &str, query: &str, shared: bool) -> Result<i64, Refusal> {
        let name = name.trim().to_owned();
        if name.is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
            return Err(Refusal::invalid(format!("a view's name has 1 to {NAME} characters on one line")).about("name"));
        }
        if query.len() > QUERY {
            return Err(Refusal::invalid("this view is too long to be kept").about("query"));
        }
        let seen = self.views(list)?;
        if seen.len() >= MOST && seen.iter().all(|view| view.name != name) {
            return Err(Refusal::conflict(format!("there are {MOST} views of this list: delete one first")));
        }
        let change = Change::new("view save", format!("view {name}"))
            .after(json!({ "list": list, "query": query, "shared": shared }));
        let (app, owner, query) = (self.recorded(change), self.actor().name.clone(), query.to_owned());
        let now = app.clock.now();
        Ok(app.store.write_now(move |conn| views::save(conn, (&owner, list, &name), &query, shared, now))?)
    }

    /// Forgets one of the actor's own views.
    pub fn delete_view(&self, id: i64) -> Result<View, Refusal> {
        let found = self.app.store.read_now(move |conn| views::find(conn, id))?;
        let found = found.filter(|view| view.owner == self.actor().name && !view.name.is_empty());
        let found = found.ok_or_else(|| Refusal::not_found("there is no such view of yours"))?;
        let change = Change::new("view delete", format!("view {}", found.name))
            .before(json!({ "list": found.list, "query": found.query, "shared": found.shared }));
        self.recorded(change).store.write_now(move |conn| views::delete(conn, id))?;
        Ok(found)
    }

    /// Which columns of a list the actor wants, as they were kept.
    pub fn columns(&self, list: &'static str) -> Result<Option<String>, Refusal> {
        let owner = self.actor().name.clone();
        let found = self.app.store.read_now({
            let owner = owner.clone();
            move |conn| views::seen_by(conn, &owner, list, MOST)
        })?;
        Ok(found.into_iter().find(|view| view.name.is_empty() && view.owner == owner).map(|view| view.query))
    }

    /// Keeps them. Nothing of the system changes, so the audit log has no line of it.
    pub fn set_columns(&self, list: &'static str, columns: &str) -> Result<(), Refusal> {
        let (owner, columns, now) = (self.actor().name.clone(), columns.to_owned(), self.app.clock.now());
        self.app.store.write_now(move |conn| views::save(conn, (&owner, list, ""), &columns, false, now))?;
        Ok(())
    }
}
