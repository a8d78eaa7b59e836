//! A page of the list of computers: in an order that an index has, from a place on, never all of them.
//!
//! A list of everything is read from the index until the page is full. Where queries limit it, the set of those that they
//! ask for comes first: a few are read and sorted, of many the index says who is next.

use diesel::prelude::*;

use super::computers::ComputerRow;
use super::connection::{Backend, q};
use super::row::{limit as rows, text};
use super::schema::computers;
use super::search::{Set, set_of};
use super::{Conn, StoreError};
use crate::model::query::Query;
use crate::model::{Computer, ComputerId, UnixTime};

/// In which order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sort {
    /// By host name.
    #[default]
    Name,
    /// By when they last said anything.
    LastContact,
}

/// A place in a list: the last computer before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// By name.
    Name(String, ComputerId),
    /// By contact.
    LastContact(UnixTime, ComputerId),
}

impl Place {
    /// Where a computer stands.
    pub fn of(computer: &Computer, sort: Sort) -> Self {
        match sort {
            Sort::Name => Self::Name(computer.name.to_lowercase(), computer.id),
            Sort::LastContact => Self::LastContact(computer.last_contact, computer.id),
        }
    }

    fn id(&self) -> ComputerId {
        match self {
            Self::Name(_, id) | Self::LastContact(_, id) => *id,
        }
    }
}

/// Which computers, in which order.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// All of these ask for them.
    pub queries: Vec<Query>,
    /// Those that are put away, or those that are not.
    pub archived: bool,
    /// The order.
    pub sort: Sort,
    /// The other way round.
    pub descending: bool,
    /// After which place.
    pub after: Option<Place>,
}

/// Computers, or places in an index, that are read together at most.
const MOST: usize = 2000;

/// The rows of `computers` from a place on, in the order that is wanted.
macro_rules! in_order {
    ($query:expr, $wanted:expr, $after:expr) => {{
        let mut query = $query;
        // The first comparison is what the index is entered by, the second is for those that have the same.
        match ($after, $wanted.descending) {
            (None, _) => {}
            (Some(Place::Name(name, id)), false) => {
                let name = text(name).into_owned();
                let beyond = computers::name_key.gt(name.clone()).or(computers::id.gt(id.0));
                query = query.filter(computers::name_key.ge(name).and(beyond));
            }
            (Some(Place::Name(name, id)), true) => {
                let name = text(name).into_owned();
                let beyond = computers::name_key.lt(name.clone()).or(computers::id.lt(id.0));
                query = query.filter(computers::name_key.le(name).and(beyond));
            }
            (Some(Place::LastContact(at, id)), false) => {
                let beyond = computers::last_contact.gt(at.millis()).or(computers::id.gt(id.0));
                query = query.filter(computers::last_contact.ge(at.millis()).and(beyond));
            }
            (Some(Place::LastContact(at, id)), true) => {
                let beyond = computers::last_contact.lt(at.millis()).or(computers::id.lt(id.0));
                query = query.filter(computers::last_contact.le(at.millis()).and(beyond));
            }
        }
        match ($wanted.sort, $wanted.descending) {
            (Sort::Name, false) => query.order((computers::name_key.asc(), computers::id.asc())),
            (Sort::Name, true) => query.order((computers::name_key.desc(), computers::id.desc())),
            (Sort::LastContact, false) => query.order((computers::last_contact.asc(), computers::id.asc())),
            (Sort::LastContact, true) => query.order((computers::last_contact.desc(), computers::id.desc())),
        }
    }};
}

/// The computers from that place on, at most `limit`.
pub fn page(conn: &mut Conn, wanted: &Wanted, now: UnixTime, limit: usize) -> Result<Vec<Computer>, StoreError> {
    match limited_to(conn, wanted, now)? {
        Some(set) => page_of(conn, wanted, &set, limit),
        None => first_rows(conn, wanted, limit),
    }
}

/// The same, and how many there are on all pages.
pub fn page_and_count(
    conn: &mut Conn,
    wanted: &Wanted,
    now: UnixTime,
    limit: usize,
) -> Result<(Vec<Computer>, u64), StoreError> {
    let Some(set) = limited_to(conn, wanted, now)? else {
        return Ok((first_rows(conn, wanted, limit)?, totals(conn)?.0));
    };
    let all = usize::try_from(super::computers::count(conn)?).unwrap_or(usize::MAX);
    Ok((page_of(conn, wanted, &set, limit)?, set.count(all) as u64))
}

/// The numbers of all of them, on all pages.
pub fn ids(conn: &mut Conn, wanted: &Wanted, now: UnixTime) -> Result<Vec<ComputerId>, StoreError> {
    let set = limited_to(conn, wanted, now)?;
    let numbers = match set {
        Some(Set::Only(numbers)) => numbers,
        set => {
            let present = computers::table.filter(computers::archived_at.is_null()).order(computers::id);
            let present: Vec<i64> = q!(conn => present.select(computers::id).load(conn))?;
            present.into_iter().filter(|number| set.as_ref().is_none_or(|set| set.contains(*number))).collect()
        }
    };
    Ok(numbers.into_iter().map(ComputerId).collect())
}

/// Which computers a list is limited to; `None` for all that are not put away.
pub(super) fn limited_to(conn: &mut Conn, wanted: &Wanted, now: UnixTime) -> Result<Option<Set>, StoreError> {
    if wanted.queries.is_empty() && !wanted.archived {
        return Ok(None);
    }
    let archived = computers::table.filter(computers::archived_at.is_not_null()).order(computers::id);
    let archived = Set::Only(q!(conn => archived.select(computers::id).load(conn))?);
    let shown = if wanted.archived { archived } else { archived.not() };
    Ok(Some(if wanted.queries.is_empty() { shown } else { set_of(conn, &wanted.queries, now)?.and(shown) }))
}

/// Of all that are not put away.
fn first_rows(conn: &mut Conn, wanted: &Wanted, limit: usize) -> Result<Vec<Computer>, StoreError> {
    let found: Vec<ComputerRow> = q!(conn => {
        let query = computers::table
            .filter(computers::archived_at.is_null())
            .limit(rows(limit))
            .select(ComputerRow::as_select())
            .into_boxed();
        in_order!(query, wanted, wanted.after.as_ref()).load(conn)
    })?;
    found.into_iter().map(Computer::try_from).collect()
}

/// Of a set.
fn page_of(conn: &mut Conn, wanted: &Wanted, set: &Set, limit: usize) -> Result<Vec<Computer>, StoreError> {
    if let Set::Only(few) = set
        && few.len() <= MOST
    {
        return these(conn, wanted, wanted.after.as_ref(), few, limit);
    }
    let (mut next, mut found) = (wanted.after.clone(), Vec::new());
    while found.len() < limit {
        let window = window(conn, wanted, next.as_ref())?;
        let last = window.len() < MOST;
        let room = limit - found.len();
        let inside = window.iter().map(|place| place.id().0).filter(|id| set.contains(*id));
        found.extend(these(conn, wanted, None, &inside.take(room).collect::<Vec<_>>(), room)?);
        next = window.into_iter().next_back();
        if last {
            break;
        }
    }
    Ok(found)
}

/// What the index says who is next.
fn window(conn: &mut Conn, wanted: &Wanted, after: Option<&Place>) -> Result<Vec<Place>, StoreError> {
    macro_rules! of {
        ($column:ident, $place:expr) => {{
            let found: Vec<(_, i64)> = q!(conn => {
                let query =
                    computers::table.limit(rows(MOST)).select((computers::$column, computers::id)).into_boxed();
                in_order!(query, wanted, after).load(conn)
            })?;
            found.into_iter().map($place).collect()
        }};
    }
    Ok(match wanted.sort {
        Sort::Name => of!(name_key, |(name, id): (String, i64)| Place::Name(name, ComputerId(id))),
        Sort::LastContact => {
            of!(last_contact, |(at, id): (i64, i64)| Place::LastContact(UnixTime::from_millis(at), ComputerId(id)))
        }
    })
}

/// A few computers, named one by one.
fn these(
    conn: &mut Conn,
    wanted: &Wanted,
    after: Option<&Place>,
    numbers: &[i64],
    limit: usize,
) -> Result<Vec<Computer>, StoreError> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<ComputerRow> = q!(conn => {
        let query = computers::table
            .filter(computers::id.eq_any(numbers))
            .limit(rows(limit))
            .select(ComputerRow::as_select())
            .into_boxed();
        in_order!(query, wanted, after).load(conn)
    })?;
    found.into_iter().map(Computer::try_from).collect()
}

/// How many computers there are that are not put away, and how many that are: from indexes alone.
pub fn totals(conn: &mut Conn) -> Result<(u64, u64), StoreError> {
    let all = super::computers::count(conn)?;
    let query = computers::table.filter(computers::archived_at.is_not_null()).count();
    let archived: i64 = q!(conn => query.get_result(conn))?;
    let archived = archived.unsigned_abs();
    Ok((all.saturating_sub(archived), archived))
}

/// Computers whose name, or wire name, begins so, and those whose address, serial number, user or MAC is that, as it is
/// typed; at most `limit`. Archived ones, too.
pub fn find(conn: &mut Conn, typed: &str, limit: usize) -> Result<Vec<Computer>, StoreError> {
    let key = text(&typed.to_lowercase()).into_owned();
    let pattern = format!("{}%", escaped(&key));
    // PostgreSQL sorts as its collation does, where no text is the last one that begins so.
    let bounded = matches!(conn.0, Backend::Sqlite(_));
    let beyond = format!("{key}\u{10ffff}");
    let mut found: Vec<ComputerRow> = q!(conn => {
        let mut query = computers::table
            .filter(computers::name_key.ge(&key))
            .filter(computers::name_key.like(&pattern).escape('\\'))
            .order((computers::name_key, computers::id))
            .limit(rows(limit))
            .select(ComputerRow::as_select())
            .into_boxed();
        if bounded {
            query = query.filter(computers::name_key.lt(&beyond));
        }
        query.load(conn)
    })?;
    let exact = text(typed).into_owned();
    let upper = text(&typed.to_uppercase()).into_owned();
    let any = [exact, key, upper];
    macro_rules! whole {
        ($column:ident) => {
            let query = computers::table.filter(computers::$column.eq_any(&any)).order(computers::id).limit(rows(limit));
            let more: Vec<ComputerRow> = q!(conn => query.select(ComputerRow::as_select()).load(conn))?;
            found.extend(more);
        };
    }
    whole!(device_id);
    whole!(ip_address);
    whole!(serial);
    whole!(user_name);
    let mut unique: Vec<Computer> = Vec::new();
    for row in found {
        let computer = Computer::try_from(row)?;
        if unique.iter().all(|known| known.id != computer.id) {
            unique.push(computer);
        }
    }
    let by_mac = super::merges::candidates(conn, super::merges::KnownBy::Mac(typed))?;
    for id in by_mac {
        if unique.iter().all(|known| known.id != id) {
            unique.extend(super::computers::find(conn, id)?);
        }
    }
    unique.truncate(limit);
    Ok(unique)
}

/// Text as it stands for itself in a pattern of LIKE.
pub(super) fn escaped(part: &str) -> String {
    part.chars().flat_map(|c| matches!(c, '%' | '_' | '\\').then_some('\\').into_iter().chain([c])).collect()
}
