//! Saved views of lists: what was asked for, in which order, with which columns.

use diesel::prelude::*;

use super::connection::q;
use super::row::{limit as rows, text};
use super::schema::saved_views;
use super::{Conn, StoreError};
use crate::model::UnixTime;

/// A saved view.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View {
    /// Its number.
    pub id: i64,
    /// Whose.
    pub owner: String,
    /// Of which list: `computers`.
    pub list: String,
    /// Its name; empty for the owner's own columns.
    pub name: String,
    /// The list's address after the question mark.
    pub query: String,
    /// Do others see it?
    pub shared: bool,
}

type Columns = (i64, String, String, String, String, bool);

fn view((id, owner, list, name, query, shared): Columns) -> View {
    View { id, owner, list, name, query, shared }
}

const COLUMNS: (
    saved_views::id,
    saved_views::owner,
    saved_views::list,
    saved_views::name,
    saved_views::query,
    saved_views::shared,
) = (
    saved_views::id,
    saved_views::owner,
    saved_views::list,
    saved_views::name,
    saved_views::query,
    saved_views::shared,
);

/// The views of a list that somebody sees: their own and those that others share, by name, at most `limit`.
pub fn seen_by(conn: &mut Conn, owner: &str, list: &str, limit: usize) -> Result<Vec<View>, StoreError> {
    let query = saved_views::table
        .filter(saved_views::list.eq(list))
        .filter(saved_views::owner.eq(owner).or(saved_views::shared.eq(true)))
        .order((saved_views::name, saved_views::id))
        .limit(rows(limit))
        .select(COLUMNS);
    let found: Vec<Columns> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(view).collect())
}

/// One view.
pub fn find(conn: &mut Conn, id: i64) -> Result<Option<View>, StoreError> {
    let query = saved_views::table.find(id).select(COLUMNS);
    let found: Option<Columns> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(view))
}

/// Keeps a view; one of the same owner, list and name is replaced. Gives its number.
pub fn save(
    conn: &mut Conn,
    (owner, list, name): (&str, &str, &str),
    query: &str,
    shared: bool,
    now: UnixTime,
) -> Result<i64, StoreError> {
    Ok(q!(conn => diesel::insert_into(saved_views::table)
        .values((
            saved_views::owner.eq(text(owner)),
            saved_views::list.eq(text(list)),
            saved_views::name.eq(text(name)),
            saved_views::query.eq(text(query)),
            saved_views::shared.eq(shared),
            saved_views::created_at.eq(now.millis()),
        ))
        .on_conflict((saved_views::owner, saved_views::list, saved_views::name))
        .do_update()
        .set((saved_views::query.eq(text(query)), saved_views::shared.eq(shared)))
        .returning(saved_views::id)
        .get_result(conn))?)
}

/// Forgets a view. True if it was there.
pub fn delete(conn: &mut Conn, id: i64) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::delete(saved_views::table.find(id)).execute(conn))? > 0)
}
