//! How many computers say what.

use std::collections::BTreeMap;

use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::connection::q;
use super::listing::{Wanted, limited_to};
use super::schema::{computer_fields, computers};
use super::search::column;
use super::{Conn, StoreError};
use crate::model::UnixTime;
use crate::model::query::Field;

/// By what computers are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// A fact that stands once with each.
    Fact(Field),
    /// A field of the administrators' own, by its number.
    Own(i64),
}

/// The computers of a list, counted by what they say; an empty text is nothing.
pub fn tally(conn: &mut Conn, wanted: &Wanted, by: By, now: UnixTime) -> Result<BTreeMap<String, u64>, StoreError> {
    match by {
        By::Fact(field) => by_fact(conn, wanted, field, now),
        By::Own(field) => by_own(conn, wanted, field, now),
    }
}

fn by_fact(conn: &mut Conn, wanted: &Wanted, field: Field, now: UnixTime) -> Result<BTreeMap<String, u64>, StoreError> {
    // Of several addresses nobody can say which one counts.
    let Some(name) = column(field) else { return Ok(BTreeMap::new()) };
    let Some(set) = limited_to(conn, wanted, now)? else {
        let query = computers::table
            .filter(computers::archived_at.is_null())
            .group_by(sql::<Text>(name))
            .select((sql::<Text>(name), count_star()));
        let found: Vec<(String, i64)> = q!(conn => query.load(conn))?;
        return Ok(found.into_iter().map(|(value, count)| (value, count.unsigned_abs())).collect());
    };
    let each = computers::table.select((computers::id, sql::<Text>(name)));
    let each: Vec<(i64, String)> = q!(conn => each.load(conn))?;
    Ok(counted(each.into_iter().filter(|(id, _)| set.contains(*id))))
}

fn by_own(conn: &mut Conn, wanted: &Wanted, field: i64, now: UnixTime) -> Result<BTreeMap<String, u64>, StoreError> {
    let all = super::listing::ids(conn, wanted, now)?;
    let said = computer_fields::table
        .filter(computer_fields::field_id.eq(field))
        .order(computer_fields::computer_id)
        .select((computer_fields::computer_id, computer_fields::value));
    let said: Vec<(i64, String)> = q!(conn => said.load(conn))?;
    let inside = said.into_iter().filter(|(id, _)| all.binary_search_by_key(id, |one| one.0).is_ok());
    let mut counts = counted(inside);
    let nothing = all.len() as u64 - counts.values().sum::<u64>();
    if nothing > 0 {
        counts.insert(String::new(), nothing);
    }
    Ok(counts)
}

fn counted(each: impl Iterator<Item = (i64, String)>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (_, value) in each {
        *counts.entry(value).or_default() += 1;
    }
    counts
}
