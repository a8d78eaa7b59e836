//! Groups: who is in them, why, and what follows from it.
//!
//! A dynamic group's query is asked again for a computer whenever the server learns something of it, in the transaction
//! that writes it ([`evaluate`]), and for all computers when it is made, edited, refreshed or deployed to. A computer that
//! becomes a member gets the jobs of the group's standing deployments in that same transaction. One that leaves keeps what
//! it has.

mod deleted;

use std::collections::{BTreeMap, BTreeSet};

use super::App;
use super::approvals;
use super::assign::{AssignError, named};
use super::prolog::fits;
use super::query::{AskError, read};
use crate::model::access::Scope;
use crate::model::query::{Query, fold};
use crate::model::{ComputerId, DeploymentId, GroupId, UnixTime, is_name, number_of};
use crate::store::groups::{Group, Member, Reason};
use crate::store::{Conn, StoreError, computers, deployments, groups, jobs, packages, search, sessions, users};

pub use deleted::{Restored, delete, restore};

/// Characters of a group's name.
const NAME_LENGTH: usize = 100;
/// Characters of what a group is for.
const DESCRIPTION_LENGTH: usize = 500;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// Not a name.
    #[error(
        "a group cannot be named \"{0}\": a name has 1 to {NAME_LENGTH} characters, no control characters, no space at its ends, and is not \".\" or \"..\""
    )]
    Name(String),
    /// No such group.
    #[error("there is no group \"{0}\": `dripfeed group list` shows them")]
    Unknown(String),
    /// There is one of that name.
    #[error("there is a group \"{0}\" already: `dripfeed group edit` changes its query")]
    Exists(String),
    /// It would ask for itself.
    #[error("group \"{0}\" would ask for itself: {path}", path = .1.join(" → "))]
    Cycle(String, Vec<String>),
    /// It has no query.
    #[error("group \"{0}\" has no query: its members are added by hand")]
    Static(String),
    /// Another group asks for it.
    #[error("group \"{name}\" cannot be deleted: group \"{by}\" asks for it")]
    Used {
        /// The group.
        name: String,
        /// The other one.
        by: String,
    },
    /// Something names it.
    #[error("group \"{name}\" cannot be renamed: {by} names it")]
    Named {
        /// The group.
        name: String,
        /// What names it.
        by: String,
    },
    /// Too long.
    #[error("a description has at most {DESCRIPTION_LENGTH} characters, and this one has {0}")]
    Description(usize),
    /// Deployments stand for it.
    #[error(
        "group \"{name}\" has {}, which would end: {}; --force deletes it all the same",
        number_of(.deployments.len(), "standing deployment"),
        .deployments.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Standing {
        /// The group.
        name: String,
        /// What would end.
        deployments: Vec<DeploymentId>,
    },
    /// None of that name was deleted lately.
    #[error("no group \"{0}\" was deleted within a week: there is nothing to restore")]
    NotDeleted(String),
    /// The query cannot be used.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A computer was not found.
    #[error(transparent)]
    Computer(AssignError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a refresh changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refreshed {
    /// The group's name.
    pub name: String,
    /// Members now.
    pub members: usize,
    /// Computers that became members.
    pub joined: usize,
    /// Computers that are none any more.
    pub left: usize,
    /// Jobs that were planned for the new ones.
    pub planned: usize,
}

/// What another query would change.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Who would become a member, in order of their numbers.
    pub joins: Vec<ComputerId>,
    /// Who would be none any more.
    pub leaves: Vec<ComputerId>,
}

/// What is done to a computer's place by hand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    /// It is a member, whatever the query says.
    Include,
    /// It is none, whatever the query says.
    Exclude,
    /// The query alone says it.
    Remove,
}

/// A group with the number of its members.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The group.
    pub group: Group,
    /// Its members.
    pub members: u64,
    /// Computers that are kept out by hand.
    pub excluded: u64,
    /// Deployments that stand for it.
    pub deployments: Vec<DeploymentId>,
}

/// Gives a group another name or description. Nothing that asks for it by its name may be left asking for nobody.
pub fn describe(app: &App, name: &str, new_name: &str, description: &str) -> Result<Group, GroupError> {
    let new_name = checked_name(new_name)?;
    if description.chars().count() > DESCRIPTION_LENGTH {
        return Err(GroupError::Description(description.chars().count()));
    }
    let (name, description) = (name.to_owned(), description.to_owned());
    app.store.write_now(move |conn| {
        let mut group = find(conn, &name)?;
        if fold(&group.name) != fold(&new_name)
            && let Some(by) = asked_by(conn, &group.name)?
        {
            return Err(GroupError::Named { name: group.name, by });
        }
        if !groups::describe(conn, group.id, &new_name, &description)? {
            return Err(GroupError::Exists(new_name));
        }
        (group.name, group.description) = (new_name, description);
        Ok(group)
    })
}

/// What asks for a group by its name: another group, or the scope of a user or of a token.
fn asked_by(conn: &mut Conn, name: &str) -> Result<Option<String>, StoreError> {
    let key = fold(name);
    if let Some(by) = Dynamic::load(conn)?.0.into_iter().find(|other| other.asks_for.contains(&key)) {
        return Ok(Some(format!("the query of group \"{}\"", by.group.name)));
    }
    let asks =
        |scope: &Scope| scope.computers.as_ref().is_some_and(|query| query.groups().iter().any(|one| fold(one) == key));
    if let Some(user) = users::list(conn)?.into_iter().find(|user| asks(&user.scope)) {
        return Ok(Some(format!("the scope of user {}", user.name)));
    }
    let token = sessions::list_tokens(conn, None)?.into_iter().find(|token| asks(&token.scope));
    Ok(token.map(|token| format!("the scope of token {} of {}", token.name, token.user)))
}

/// Makes a group, with its members if it has a query.
pub fn create(app: &App, name: &str, query: Option<&str>, by: &str) -> Result<Refreshed, GroupError> {
    let name = checked_name(name)?;
    let (query, by, now) = (query.map(str::to_owned), by.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let query = query.map(|text| read(conn, &text)).transpose()?;
        let text = query.as_ref().map(Query::to_string);
        let Some(id) = groups::create(conn, &name, text.as_deref(), &by, now)? else {
            return Err(GroupError::Exists(name));
        };
        match query {
            Some(query) => Ok(sync(conn, id, &name, &query, now)?),
            None => Ok(Refreshed { name, members: 0, joined: 0, left: 0, planned: 0 }),
        }
    })
}

/// Makes a group by hand, of these computers.
pub fn create_of(app: &App, name: &str, computers: Vec<ComputerId>, by: &str) -> Result<Refreshed, GroupError> {
    let name = checked_name(name)?;
    let (by, now) = (by.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let Some(id) = groups::create(conn, &name, None, &by, now)? else {
            return Err(GroupError::Exists(name));
        };
        // It is new, so nothing stands for it and no query asks for it.
        groups::set(conn, id, &computers, Reason::Included, now)?;
        Ok(Refreshed { name, members: computers.len(), joined: computers.len(), left: 0, planned: 0 })
    })
}

fn checked_name(name: &str) -> Result<String, GroupError> {
    if is_name(name, NAME_LENGTH) {
        return Ok(name.to_owned());
    }
    Err(GroupError::Name(name.chars().filter(|c| !c.is_control()).take(NAME_LENGTH + 20).collect()))
}

/// Gives a group another query.
pub fn edit(app: &App, name: &str, query: &str) -> Result<Vec<Refreshed>, GroupError> {
    let (name, text, now) = (name.to_owned(), query.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let (group, query) = editable(conn, &name, &text)?;
        groups::set_query(conn, group.id, Some(&query.to_string()))?;
        Ok(refresh_around(conn, &group.name, now)?)
    })
}

/// Who would come and go if the group had that query.
pub fn preview(app: &App, name: &str, query: &str) -> Result<Preview, GroupError> {
    let (name, text, now) = (name.to_owned(), query.to_owned(), app.clock.now());
    app.store.read_now(move |conn| {
        let (group, query) = editable(conn, &name, &text)?;
        let reasons = groups::reasons(conn, group.id)?;
        let matched = search::ids(conn, &query, now)?;
        let joins = matched.iter().filter(|id| !reasons.contains_key(id)).copied().collect();
        let leaves = reasons.into_iter().filter(|(id, reason)| *reason == Reason::Query && !matched.contains(id));
        Ok(Preview { joins, leaves: leaves.map(|(id, _)| id).collect() })
    })
}

/// Who would be a member of a group that is not there yet.
pub fn preview_new(app: &App, query: &str) -> Result<Preview, GroupError> {
    let (text, now) = (query.to_owned(), app.clock.now());
    app.store.read_now(move |conn| {
        let query = read(conn, &text)?;
        Ok(Preview { joins: search::ids(conn, &query, now)?.into_iter().collect(), leaves: Vec::new() })
    })
}

/// One group with the number of its members.
pub fn summary(app: &App, name: &str) -> Result<Summary, GroupError> {
    let name = name.to_owned();
    app.store.read_now(move |conn| {
        let group = find(conn, &name)?;
        let reasons = groups::reasons(conn, group.id)?;
        let excluded = reasons.values().filter(|reason| !reason.is_member()).count();
        Ok(Summary {
            members: (reasons.len() - excluded) as u64,
            excluded: excluded as u64,
            deployments: standing(conn, group.id)?,
            group,
        })
    })
}

/// Who has a place in a group, those of a query only if there is one, in order of their numbers.
pub fn members(
    app: &App,
    name: &str,
    scope: Option<Query>,
    after: Option<ComputerId>,
    limit: usize,
) -> Result<Vec<Member>, GroupError> {
    const PAGE: usize = 1000;
    let (name, now) = (name.to_owned(), app.clock.now());
    app.store.read_now(move |conn| {
        let group = find(conn, &name)?;
        let Some(scope) = scope else { return Ok(groups::members(conn, group.id, after, limit)?) };
        let allowed = search::ids(conn, &scope, now)?;
        let (mut found, mut after) = (Vec::new(), after);
        loop {
            let page = groups::members(conn, group.id, after, PAGE)?;
            let last = page.len() < PAGE;
            after = page.last().map(|(computer, ..)| computer.id);
            found.extend(page.into_iter().filter(|(computer, ..)| allowed.contains(&computer.id)));
            if last || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    })
}

/// The group, and a query that it may have.
fn editable(conn: &mut Conn, name: &str, text: &str) -> Result<(Group, Query), GroupError> {
    let group = find(conn, name)?;
    let query = read(conn, text)?;
    let all = Dynamic::load(conn)?;
    if let Some(path) = all.path_to(&query, &fold(&group.name)) {
        let mut path: Vec<String> = path.into_iter().map(str::to_owned).collect();
        path.insert(0, group.name.clone());
        path.push(group.name.clone());
        return Err(GroupError::Cycle(group.name, path));
    }
    Ok((group, query))
}

/// Includes computers, excludes them, or leaves them to the query. Gives how many jobs were planned.
pub fn mark(app: &App, name: &str, computers: &[String], mark: Mark) -> Result<usize, GroupError> {
    let (name, named_computers, now) = (name.to_owned(), computers.to_vec(), app.clock.now());
    app.store.write_now(move |conn| {
        let group = find(conn, &name)?;
        let mut ids = BTreeSet::new();
        for text in &named_computers {
            ids.insert(
                named(conn, text)
                    .map_err(|error| match error {
                        AssignError::Store(error) => GroupError::Store(error),
                        other => GroupError::Computer(other),
                    })?
                    .id,
            );
        }
        let mut planned = 0;
        for id in ids {
            let before = groups::of_computer(conn, id)?.get(&group.id).copied();
            match mark {
                Mark::Include => groups::set(conn, group.id, &[id], Reason::Included, now)?,
                Mark::Exclude => groups::set(conn, group.id, &[id], Reason::Excluded, now)?,
                Mark::Remove => {
                    if before == Some(Reason::Included) || before == Some(Reason::Excluded) {
                        groups::unset(conn, group.id, &[id])?;
                    }
                }
            }
            if mark == Mark::Include && !before.is_some_and(Reason::is_member) {
                planned += join(conn, group.id, &[id], now)?;
            }
            // What the query says of it, and groups that ask for this one.
            planned += settle(conn, id, now)?;
        }
        Ok(planned)
    })
}

/// Asks the query of one group again, or of all, with the groups that it asks for and those that ask for it.
pub fn refresh(app: &App, name: Option<&str>) -> Result<Vec<Refreshed>, GroupError> {
    let (name, now) = (name.map(str::to_owned), app.clock.now());
    app.store.write_now(move |conn| {
        let Some(name) = name else {
            let all = Dynamic::load(conn)?.0.into_iter();
            return Ok(all
                .map(|one| sync(conn, one.group.id, &one.group.name, &one.query, now))
                .collect::<Result<_, _>>()?);
        };
        let group = find(conn, &name)?;
        if group.query.is_none() {
            return Err(GroupError::Static(group.name));
        }
        Ok(refresh_around(conn, &group.name, now)?)
    })
}

/// Asks those groups again whose members change with the time alone: their query names an age, or a group whose query
/// does. One write for each, so that agents that report in between need not wait for all of them.
pub fn refresh_timed(app: &App) -> Result<Vec<Refreshed>, GroupError> {
    let now = app.clock.now();
    let mut refreshed = Vec::new();
    for (id, name) in app.store.read_now(|conn| Ok::<_, StoreError>(Dynamic::load(conn)?.timed()))? {
        let one = app.store.write_now(move |conn| {
            // It may have been edited or deleted since.
            let group = Dynamic::load(conn)?.0.into_iter().find(|one| one.group.id == id);
            group.map(|one| sync(conn, id, &name, &one.query, now)).transpose()
        });
        refreshed.extend(one?);
    }
    Ok(refreshed)
}

/// Every group with the number of its members.
pub fn list(app: &App) -> Result<Vec<Summary>, GroupError> {
    app.store.read_now(|conn| {
        let counts = groups::counts(conn)?;
        let count = |id, reason| counts.get(&(id, reason)).copied().unwrap_or(0);
        let mut summaries = Vec::new();
        for group in groups::list(conn)? {
            let id = group.id;
            summaries.push(Summary {
                group,
                members: count(id, Reason::Query) + count(id, Reason::Included),
                excluded: count(id, Reason::Excluded),
                deployments: standing(conn, id)?,
            });
        }
        Ok(summaries)
    })
}

/// A group with every computer that has a place in it.
pub fn show(app: &App, name: &str) -> Result<(Summary, Vec<Member>), GroupError> {
    let name = name.to_owned();
    app.store.read_now(move |conn| {
        let group = find(conn, &name)?;
        let members = groups::members(conn, group.id, None, usize::MAX)?;
        let excluded = members.iter().filter(|(_, reason, _)| !reason.is_member()).count();
        let summary = Summary {
            members: (members.len() - excluded) as u64,
            excluded: excluded as u64,
            deployments: standing(conn, group.id)?,
            group,
        };
        Ok((summary, members))
    })
}

fn standing(conn: &mut Conn, group: GroupId) -> Result<Vec<DeploymentId>, StoreError> {
    Ok(deployments::standing_of_group(conn, group)?.into_iter().map(|deployment| deployment.id).collect())
}

/// One group by its name.
pub fn find(conn: &mut Conn, name: &str) -> Result<Group, GroupError> {
    groups::find_by_name(conn, name)?.ok_or_else(|| GroupError::Unknown(name.to_owned()))
}

/// Asks every dynamic group whether the computer is a member, and plans what follows.
pub fn evaluate(conn: &mut Conn, computer: ComputerId, now: UnixTime) -> Result<(), StoreError> {
    settle(conn, computer, now).map(|_| ())
}

/// The same of many computers: of more than some it is quicker to ask each group for all of its members.
pub(super) fn evaluate_many(
    conn: &mut Conn,
    computers: &BTreeSet<ComputerId>,
    now: UnixTime,
) -> Result<(), StoreError> {
    const SOME: usize = 20;
    if computers.len() <= SOME {
        return computers.iter().try_for_each(|computer| evaluate(conn, *computer, now));
    }
    for one in Dynamic::load(conn)?.0 {
        sync(conn, one.group.id, &one.group.name, &one.query, now)?;
    }
    Ok(())
}

fn settle(conn: &mut Conn, computer: ComputerId, now: UnixTime) -> Result<usize, StoreError> {
    let all = Dynamic::load(conn)?;
    if all.0.is_empty() {
        return Ok(0);
    }
    let Some(mut facts) = search::facts(conn, computer, all.0.iter().map(|one| &one.query))? else { return Ok(0) };
    let reasons = groups::of_computer(conn, computer)?;
    let mut planned = 0;
    // A group comes after those that it asks for, so what they say is settled.
    for one in all.0 {
        let (id, key) = (one.group.id, fold(&one.group.name));
        let matches = one.query.matches(&facts, now)?;
        match (reasons.get(&id), matches) {
            (None, true) => {
                groups::set(conn, id, &[computer], Reason::Query, now)?;
                facts.groups.insert(key);
                planned += join(conn, id, &[computer], now)?;
            }
            (Some(Reason::Query), false) => {
                groups::unset(conn, id, &[computer])?;
                facts.groups.remove(&key);
            }
            _ => {}
        }
    }
    Ok(planned)
}

/// Members that are new get a job of each deployment that stands for the group, if the package is for their system and
/// they have not had one.
fn join(conn: &mut Conn, group: GroupId, new: &[ComputerId], now: UnixTime) -> Result<usize, StoreError> {
    let mut planned = 0;
    for deployment in deployments::standing_of_group(conn, group)? {
        let Some(package) = packages::find(conn, deployment.package)? else { continue };
        let had = jobs::computers_of_deployment(conn, &deployment, new)?;
        let mut fitting = Vec::new();
        for id in new.iter().filter(|id| !had.contains(id)) {
            if computers::find(conn, *id)?.is_some_and(|computer| fits(package.os, &computer.os_name)) {
                fitting.push(*id);
            }
        }
        let joined = jobs::plan(conn, &deployment, &fitting, now)?;
        if joined > 0 {
            approvals::widened(conn, &deployment, now)?;
        }
        planned += joined;
    }
    Ok(planned)
}

/// Makes the members those that the query asks for; who is in or out by hand stays so.
fn sync(conn: &mut Conn, id: GroupId, name: &str, query: &Query, now: UnixTime) -> Result<Refreshed, StoreError> {
    let matched = search::ids(conn, query, now)?;
    let reasons = groups::reasons(conn, id)?;
    let joined: Vec<ComputerId> = matched.iter().filter(|id| !reasons.contains_key(id)).copied().collect();
    let gone = |(id, reason): &(&ComputerId, &Reason)| **reason == Reason::Query && !matched.contains(id);
    let left: Vec<ComputerId> = reasons.iter().filter(gone).map(|(id, _)| *id).collect();
    groups::unset(conn, id, &left)?;
    groups::set(conn, id, &joined, Reason::Query, now)?;
    let planned = join(conn, id, &joined, now)?;
    let before = reasons.values().filter(|reason| reason.is_member()).count();
    Ok(Refreshed {
        name: name.to_owned(),
        members: before + joined.len() - left.len(),
        joined: joined.len(),
        left: left.len(),
        planned,
    })
}

/// Syncs a group with all that it asks for and all that ask for it.
pub(super) fn refresh_around(conn: &mut Conn, name: &str, now: UnixTime) -> Result<Vec<Refreshed>, StoreError> {
    let all = Dynamic::load(conn)?;
    let mut around = BTreeSet::from([fold(name)]);
    // What it asks for stands before it …
    for one in all.0.iter().rev() {
        if around.contains(&fold(&one.group.name)) {
            around.extend(one.asks_for.iter().cloned());
        }
    }
    // … and what asks for any of these stands behind them.
    for one in &all.0 {
        if one.asks_for.iter().any(|name| around.contains(name)) {
            around.insert(fold(&one.group.name));
        }
    }
    let chosen = all.0.into_iter().filter(|one| around.contains(&fold(&one.group.name)));
    chosen.map(|one| sync(conn, one.group.id, &one.group.name, &one.query, now)).collect()
}

/// A group with a query.
struct DynamicGroup {
    group: Group,
    query: Query,
    /// Names of the groups it asks for, folded.
    asks_for: BTreeSet<String>,
}

/// All of them, each after those that it asks for.
struct Dynamic(Vec<DynamicGroup>);

impl Dynamic {
    fn load(conn: &mut Conn) -> Result<Self, StoreError> {
        let mut waiting: BTreeMap<String, DynamicGroup> = BTreeMap::new();
        for group in groups::list(conn)? {
            let Some(text) = &group.query else { continue };
            match text.parse::<Query>() {
                Ok(query) => {
                    let asks_for = query.groups().into_iter().map(fold).collect();
                    waiting.insert(fold(&group.name), DynamicGroup { group, query, asks_for });
                }
                // A group that nobody can read must not keep computers from being heard.
                Err(error) => {
                    tracing::warn!(group = group.name, %error, "the group's query cannot be read; it is left as it is");
                }
            }
        }
        let mut ordered = Vec::with_capacity(waiting.len());
        while let Some(name) = waiting
            .iter()
            .find(|(_, one)| one.asks_for.iter().all(|name| !waiting.contains_key(name)))
            // There are no circles: edits that would make one are refused.
            .or_else(|| waiting.first_key_value())
            .map(|(name, _)| name.clone())
        {
            ordered.extend(waiting.remove(&name));
        }
        Ok(Self(ordered))
    }

    /// Number and name of those that depend on the time, each after those that it asks for.
    fn timed(&self) -> Vec<(GroupId, String)> {
        let mut timed = BTreeSet::new();
        let mut found = Vec::new();
        for one in &self.0 {
            if one.query.depends_on_time() || one.asks_for.iter().any(|name| timed.contains(name)) {
                timed.insert(fold(&one.group.name));
                found.push((one.group.id, one.group.name.clone()));
            }
        }
        found
    }

    /// The way from a query to a group, by the names of the groups between them.
    fn path_to(&self, query: &Query, goal: &str) -> Option<Vec<&str>> {
        let mut seen = BTreeSet::new();
        let mut ways: Vec<(String, Vec<&str>)> =
            query.groups().into_iter().map(|name| (fold(name), Vec::new())).collect();
        while let Some((name, mut way)) = ways.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            if name == goal {
                return Some(way);
            }
            let one = self.0.iter().find(|one| fold(&one.group.name) == name);
            if let Some(one) = one {
                way.push(&one.group.name);
                ways.extend(one.asks_for.iter().map(|next| (next.clone(), way.clone())));
            }
        }
        None
    }
}
