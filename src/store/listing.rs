//! A page of the list of computers: in an order that an index has, from a place on, never all of them.

use diesel::prelude::*;

use super::computers::ComputerRow;
use super::connection::{Backend, q};
use super::row::{limit as rows, text};
use super::schema::computers;
use super::search::{Condition, Needs, Piece, with_facts};
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

/// Computers read together at most; a first page needs few.
const MOST: usize = 2000;

/// The computers from that place on, at most `limit`.
pub fn page(conn: &mut Conn, wanted: &Wanted, now: UnixTime, limit: usize) -> Result<Vec<Computer>, StoreError> {
    let mut found = Vec::new();
    each(conn, wanted, now, limit.saturating_add(1), |computer| {
        found.push(computer);
        found.len() < limit
    })?;
    Ok(found)
}

/// How many there are, counted up to `most`.
pub fn count(conn: &mut Conn, wanted: &Wanted, now: UnixTime, most: usize) -> Result<usize, StoreError> {
    let (mut count, wanted) = (0, Wanted { after: None, ..wanted.clone() });
    each(conn, &wanted, now, most, |_| {
        count += 1;
        count < most
    })?;
    Ok(count)
}

/// How many computers there are that are not put away, and how many that are: from indexes alone.
pub fn totals(conn: &mut Conn) -> Result<(u64, u64), StoreError> {
    let all = super::computers::count(conn)?;
    let query = computers::table.filter(computers::archived_at.is_not_null()).count();
    let archived: i64 = q!(conn => query.get_result(conn))?;
    let archived = archived.unsigned_abs();
    Ok((all.saturating_sub(archived), archived))
}

fn each(
    conn: &mut Conn,
    wanted: &Wanted,
    now: UnixTime,
    first: usize,
    mut go_on: impl FnMut(Computer) -> bool,
) -> Result<(), StoreError> {
    let needs = Needs::of_all(&wanted.queries);
    let (mut after, mut size) = (wanted.after.clone(), first.clamp(1, MOST));
    loop {
        let mut condition = Condition::of_all(conn, &wanted.queries, now)?;
        condition.also([Piece::Sql(if wanted.archived {
            " AND computers.archived_at IS NOT NULL"
        } else {
            " AND computers.archived_at IS NULL"
        })]);
        let than = |column: &'static str, value: Piece, id: ComputerId| {
            let sign = if wanted.descending { ", computers.id) < (" } else { ", computers.id) > (" };
            [
                Piece::Sql(" AND ("),
                Piece::Sql(column),
                Piece::Sql(sign),
                value,
                Piece::Sql(", "),
                Piece::Number(id.0),
                Piece::Sql(")"),
            ]
        };
        match &after {
            None => {}
            Some(Place::Name(name, id)) => {
                condition.also(than("computers.name_key", Piece::Text(text(name).into_owned()), *id));
            }
            Some(Place::LastContact(at, id)) => {
                condition.also(than("computers.last_contact", Piece::Number(at.millis()), *id));
            }
        }
        let all = computers::table.filter(&condition).limit(rows(size));
        macro_rules! sorted {
            ($($order:expr),*) => {
                q!(conn => all.order(($($order,)*)).select(ComputerRow::as_select()).load(conn))?
            };
        }
        let found: Vec<ComputerRow> = match (wanted.sort, wanted.descending) {
            (Sort::Name, false) => sorted!(computers::name_key, computers::id),
            (Sort::Name, true) => sorted!(computers::name_key.desc(), computers::id.desc()),
            (Sort::LastContact, false) => sorted!(computers::last_contact, computers::id),
            (Sort::LastContact, true) => sorted!(computers::last_contact.desc(), computers::id.desc()),
        };
        let last = found.len() < size;
        let found = found.into_iter().map(Computer::try_from).collect::<Result<Vec<_>, _>>()?;
        after = found.last().map(|computer| Place::of(computer, wanted.sort)).or(after);
        if wanted.queries.is_empty() {
            if !found.into_iter().all(&mut go_on) {
                return Ok(());
            }
        } else {
            for facts in with_facts(conn, found, &needs)? {
                let mut fits = true;
                for query in &wanted.queries {
                    fits = fits && query.matches(&facts, now)?;
                }
                if fits && !go_on(facts.computer) {
                    return Ok(());
                }
            }
        }
        if last {
            return Ok(());
        }
        size = (size * 4).min(MOST);
    }
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
