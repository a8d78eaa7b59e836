//! Groups of computers, who is in them and why.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::computers::ComputerRow;
use super::connection::q;
use super::error::corrupt;
use super::row::{At, limit as rows, rows_of, text};
use super::schema::{computers, deployments, group_members, groups, settings};
use super::settings::GROUP;
use super::{Conn, StoreError};
use crate::model::query::fold;
use crate::model::settings::SettingsLayer;
use crate::model::{Computer, ComputerId, GroupId, UnixTime};

pub(super) const EXCLUDED: &str = "excluded";

/// A group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// Its number.
    pub id: GroupId,
    /// Its name, as it was given.
    pub name: String,
    /// Whom it is made of; `None` for one that is made by hand alone.
    pub query: Option<String>,
    /// What it is for, for people; may be empty.
    pub description: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: UnixTime,
}

/// A computer that has a place in a group, why, and since when.
pub type Member = (Computer, Reason, UnixTime);

/// Why a computer is, or is not, a member.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// The group's query asks for it.
    Query,
    /// It was put in by hand.
    Included,
    /// It was kept out by hand, whatever the query says: it is no member.
    Excluded,
}

impl Reason {
    /// As rows and JSON spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Included => "included",
            Self::Excluded => EXCLUDED,
        }
    }

    /// Is it a member for that reason?
    pub fn is_member(self) -> bool {
        self != Self::Excluded
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        [Self::Query, Self::Included, Self::Excluded]
            .into_iter()
            .find(|reason| reason.as_str() == word)
            .ok_or_else(|| corrupt("group_members", word, "there is no such reason"))
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = groups)]
struct GroupRow {
    id: i64,
    name: String,
    query: Option<String>,
    description: String,
    created_by: String,
    created_at: i64,
}

impl From<GroupRow> for Group {
    fn from(row: GroupRow) -> Self {
        Self {
            id: GroupId(row.id),
            name: row.name,
            query: row.query,
            description: row.description,
            created_by: row.created_by,
            created_at: UnixTime::from_millis(row.created_at),
        }
    }
}

#[derive(Insertable)]
#[diesel(table_name = group_members, treat_none_as_default_value = false)]
struct MemberRow {
    group_id: i64,
    computer_id: i64,
    reason: &'static str,
    since: i64,
}

/// Inserts a group; `None` if there is one of that name, letters compared without case.
pub fn create(
    conn: &mut Conn,
    name: &str,
    query: Option<&str>,
    created_by: &str,
    now: UnixTime,
) -> Result<Option<GroupId>, StoreError> {
    let id: Option<i64> = q!(conn => diesel::insert_into(groups::table)
        .values((
            groups::name.eq(text(name)),
            groups::name_key.eq(text(&fold(name)).into_owned()),
            groups::query.eq(query.map(text)),
            groups::created_by.eq(text(created_by)),
            groups::created_at.eq(now.millis()),
        ))
        .on_conflict_do_nothing()
        .returning(groups::id)
        .get_result(conn)
        .optional())?;
    Ok(id.map(GroupId))
}

/// One group by its name, letters compared without case.
pub fn find_by_name(conn: &mut Conn, name: &str) -> Result<Option<Group>, StoreError> {
    let query = groups::table.filter(groups::name_key.eq(text(&fold(name)).into_owned()));
    Ok(q!(conn => query.select(GroupRow::as_select()).first(conn).optional())?.map(Group::from))
}

/// All groups in order of their names.
pub fn list(conn: &mut Conn) -> Result<Vec<Group>, StoreError> {
    let mut found: Vec<Group> =
        q!(conn => groups::table.select(GroupRow::as_select()).load(conn))?.into_iter().map(Group::from).collect();
    // Here, because the two back ends sort letters differently.
    found.sort_by_cached_key(|group| fold(&group.name));
    Ok(found)
}

/// The names of these groups.
pub fn names(conn: &mut Conn, ids: &[GroupId]) -> Result<BTreeMap<GroupId, String>, StoreError> {
    let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let query = groups::table.filter(groups::id.eq_any(&numbers)).select((groups::id, groups::name));
    let found: Vec<(i64, String)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(id, name)| (GroupId(id), name)).collect())
}

/// Changes a group's query.
pub fn set_query(conn: &mut Conn, id: GroupId, query: Option<&str>) -> Result<(), StoreError> {
    q!(conn => diesel::update(groups::table.find(id.0)).set(groups::query.eq(query.map(text))).execute(conn))?;
    Ok(())
}

/// Gives a group a name and a description. False if another one has that name.
pub fn describe(conn: &mut Conn, id: GroupId, name: &str, description: &str) -> Result<bool, StoreError> {
    if find_by_name(conn, name)?.is_some_and(|other| other.id != id) {
        return Ok(false);
    }
    q!(conn => diesel::update(groups::table.find(id.0))
        .set((
            groups::name.eq(text(name)),
            groups::name_key.eq(text(&fold(name)).into_owned()),
            groups::description.eq(text(description)),
        ))
        .execute(conn))?;
    Ok(true)
}

/// Removes a group with its members and settings; its deployments end. True if it was there.
pub fn delete(conn: &mut Conn, id: GroupId, now: UnixTime) -> Result<bool, StoreError> {
    let own_settings = settings::table.filter(settings::scope.eq(GROUP)).filter(settings::scope_id.eq(id.0));
    q!(conn => diesel::delete(own_settings).execute(conn))?;
    let standing =
        deployments::table.filter(deployments::group_id.eq(id.0)).filter(deployments::cancelled_at.is_null());
    q!(conn => diesel::update(standing).set(deployments::cancelled_at.eq(now.millis())).execute(conn))?;
    Ok(q!(conn => diesel::delete(groups::table.find(id.0)).execute(conn))? > 0)
}

/// How many computers each group has, by reason.
pub fn counts(conn: &mut Conn) -> Result<BTreeMap<(GroupId, Reason), u64>, StoreError> {
    let query = group_members::table.group_by((group_members::group_id, group_members::reason)).select((
        group_members::group_id,
        group_members::reason,
        diesel::dsl::count_star(),
    ));
    let found: Vec<(i64, String, i64)> = q!(conn => query.load(conn))?;
    let parse = |(id, reason, count): (i64, String, i64)| {
        Ok(((GroupId(id), Reason::parse(&reason)?), At("group_members", id).number("count", count)?))
    };
    found.into_iter().map(parse).collect()
}

/// Who is in a group or kept out of it, and why.
pub fn reasons(conn: &mut Conn, group: GroupId) -> Result<BTreeMap<ComputerId, Reason>, StoreError> {
    let query = group_members::table
        .filter(group_members::group_id.eq(group.0))
        .select((group_members::computer_id, group_members::reason));
    let found: Vec<(i64, String)> = q!(conn => query.load(conn))?;
    found.into_iter().map(|(id, reason)| Ok((ComputerId(id), Reason::parse(&reason)?))).collect()
}

/// The same, with the computers and since when: in order of their numbers, after `after`, at most `limit`.
pub fn members(
    conn: &mut Conn,
    group: GroupId,
    after: Option<ComputerId>,
    limit: usize,
) -> Result<Vec<Member>, StoreError> {
    let query = group_members::table
        .inner_join(computers::table.on(computers::id.eq(group_members::computer_id)))
        .filter(group_members::group_id.eq(group.0))
        .filter(group_members::computer_id.gt(after.map_or(i64::MIN, |id| id.0)))
        .order(group_members::computer_id)
        .limit(rows(limit));
    let found: Vec<(ComputerRow, String, i64)> = q!(conn => query
        .select((ComputerRow::as_select(), group_members::reason, group_members::since))
        .load(conn))?;
    let parse = |(computer, reason, since): (ComputerRow, String, i64)| {
        Ok((computer.try_into()?, Reason::parse(&reason)?, UnixTime::from_millis(since)))
    };
    found.into_iter().map(parse).collect()
}

/// The groups of a computer, those that it is kept out of included, and why.
pub fn of_computer(conn: &mut Conn, computer: ComputerId) -> Result<BTreeMap<GroupId, Reason>, StoreError> {
    let query = group_members::table
        .filter(group_members::computer_id.eq(computer.0))
        .select((group_members::group_id, group_members::reason));
    let found: Vec<(i64, String)> = q!(conn => query.load(conn))?;
    found.into_iter().map(|(id, reason)| Ok((GroupId(id), Reason::parse(&reason)?))).collect()
}

/// Writes why these computers are in the group or kept out of it, in place of what was there.
pub fn set(
    conn: &mut Conn,
    group: GroupId,
    computers: &[ComputerId],
    reason: Reason,
    now: UnixTime,
) -> Result<(), StoreError> {
    for chunk in computers.chunks(rows_of(5)) {
        let new: Vec<MemberRow> = chunk
            .iter()
            .map(|id| MemberRow { group_id: group.0, computer_id: id.0, reason: reason.as_str(), since: now.millis() })
            .collect();
        unset(conn, group, chunk)?;
        q!(conn => diesel::insert_into(group_members::table).values(&new).execute(conn))?;
    }
    Ok(())
}

/// Takes away what is written of these computers. Gives how many there were.
pub fn unset(conn: &mut Conn, group: GroupId, computers: &[ComputerId]) -> Result<usize, StoreError> {
    let numbers: Vec<i64> = computers.iter().map(|id| id.0).collect();
    let mut removed = 0;
    for chunk in numbers.chunks(rows_of(1) - 16) {
        let some = group_members::table
            .filter(group_members::group_id.eq(group.0))
            .filter(group_members::computer_id.eq_any(chunk));
        removed += q!(conn => diesel::delete(some).execute(conn))?;
    }
    Ok(removed)
}

/// Names of the groups that a computer is a member of, with what they set, in order of their names; those that set
/// nothing are left out. One query per prolog.
pub fn layers(conn: &mut Conn, computer: ComputerId) -> Result<Vec<(String, SettingsLayer)>, StoreError> {
    type Found = (String, String, Option<(String, i64)>);
    let query = group_members::table
        .inner_join(groups::table.on(groups::id.eq(group_members::group_id)))
        // On the left side, so that SQLite begins with the computer and not with all that groups set.
        .left_join(settings::table.on(settings::scope.eq(GROUP).and(settings::scope_id.eq(group_members::group_id))))
        .filter(group_members::computer_id.eq(computer.0))
        .filter(group_members::reason.ne(EXCLUDED))
        .select((groups::name_key, groups::name, (settings::key, settings::value).nullable()));
    let found: Vec<Found> = q!(conn => query.load(conn))?;
    let mut layers: BTreeMap<String, (String, SettingsLayer)> = BTreeMap::new();
    for (name_key, name, set) in found {
        let Some((key, value)) = set else { continue };
        let parsed = key.parse().map_err(|problem| corrupt("settings", format_args!("group {name}/{key}"), problem))?;
        let (_, layer) = layers.entry(name_key).or_insert_with(|| (name, SettingsLayer::default()));
        layer.0.insert(parsed, value);
    }
    Ok(layers.into_values().collect())
}

/// The computers that are members of groups that set something, each with the numbers of these groups, ascending.
pub fn with_layers(conn: &mut Conn) -> Result<BTreeMap<ComputerId, Vec<GroupId>>, StoreError> {
    let query = group_members::table
        .inner_join(settings::table.on(settings::scope.eq(GROUP).and(settings::scope_id.eq(group_members::group_id))))
        .filter(group_members::reason.ne(EXCLUDED))
        .order((group_members::computer_id, group_members::group_id))
        .select((group_members::computer_id, group_members::group_id))
        .distinct();
    let found: Vec<(i64, i64)> = q!(conn => query.load(conn))?;
    let mut members: BTreeMap<ComputerId, Vec<GroupId>> = BTreeMap::new();
    for (computer, group) in found {
        members.entry(ComputerId(computer)).or_default().push(GroupId(group));
    }
    Ok(members)
}
