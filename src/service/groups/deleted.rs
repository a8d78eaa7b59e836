//! Groups that go, and come back: a deletion can be undone for a week.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Dynamic, GroupError, Refreshed, find, join, standing, sync};
use crate::model::query::fold;
use crate::model::{ComputerId, DeploymentId, GroupId, UnixTime};
use crate::service::App;
use crate::service::query::read;
use crate::store::deleted_groups::{self, Kept};
use crate::store::groups::{self, Group, Reason};
use crate::store::settings::{self, Scope};
use crate::store::{Conn, StoreError, computers};

/// How long a deletion can be undone.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// A group that is back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restored {
    /// The group with its members; those who would be members since are among those that joined.
    pub group: Refreshed,
    /// Deployments that ended with it and stand for it again.
    pub deployments: Vec<DeploymentId>,
}

/// Deletes a group. Deployments that stand for it end, which has to be wanted; gives their numbers.
pub fn delete(app: &App, name: &str, force: bool) -> Result<Vec<DeploymentId>, GroupError> {
    let (name, now) = (name.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let group = find(conn, &name)?;
        let key = fold(&group.name);
        if let Some(by) = Dynamic::load(conn)?.0.into_iter().find(|other| other.asks_for.contains(&key)) {
            return Err(GroupError::Used { name: group.name, by: by.group.name });
        }
        let standing: Vec<DeploymentId> = standing(conn, group.id)?;
        if !standing.is_empty() && !force {
            return Err(GroupError::Standing { name: group.name, deployments: standing });
        }
        let id = group.id;
        let kept = kept(conn, group)?;
        deleted_groups::add(conn, &kept, now, week_before(now))?;
        groups::delete(conn, id, now)?;
        Ok(standing)
    })
}

fn week_before(now: UnixTime) -> UnixTime {
    let span = i64::try_from(KEPT.as_millis()).expect("a week has few milliseconds");
    UnixTime::from_millis(now.millis().saturating_sub(span))
}

/// A group as it stands.
fn kept(conn: &mut Conn, group: Group) -> Result<Kept, StoreError> {
    let reasons = groups::reasons(conn, group.id)?;
    let of = |wanted: Reason| reasons.iter().filter(|(_, reason)| **reason == wanted).map(|(id, _)| id.0).collect();
    let set = settings::layer(conn, Scope::Group(group.id))?;
    Ok(Kept {
        included: of(Reason::Included),
        excluded: of(Reason::Excluded),
        settings: set.0.into_iter().map(|(key, value)| (key.info().name.to_owned(), value)).collect(),
        deployments: deleted_groups::deployments_of(conn, group.id)?,
        name: group.name,
        query: group.query,
        description: group.description,
        created_by: group.created_by,
        created_at: group.created_at.millis(),
    })
}

/// Brings the group of that name back that was deleted last: with what it set, who was in or out by hand, and the
/// deployments that stood for it. Whoever its query asks for now is a member, and gets what he has missed.
pub fn restore(app: &App, name: &str) -> Result<Restored, GroupError> {
    let (name, now) = (name.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let found = deleted_groups::newest(conn, &name, week_before(now))?;
        let Some(deleted) = found else { return Err(GroupError::NotDeleted(name)) };
        let kept = deleted.kept;
        // What it asks for may be gone, too.
        let query = kept.query.as_deref().map(|text| read(conn, text)).transpose()?;
        let made_at = UnixTime::from_millis(kept.created_at);
        let Some(id) = groups::create(conn, &kept.name, kept.query.as_deref(), &kept.created_by, made_at)? else {
            return Err(GroupError::Exists(kept.name));
        };
        groups::describe(conn, id, &kept.name, &kept.description)?;
        set_all(conn, id, &kept.settings)?;
        let included = mark_again(conn, id, &kept.included, Reason::Included, now)?;
        mark_again(conn, id, &kept.excluded, Reason::Excluded, now)?;
        let deployments = deleted_groups::give_back(conn, id, &kept.deployments, deleted.at)?;
        deleted_groups::remove(conn, deleted.id)?;
        let planned = join(conn, id, &included, now)?;
        let mut group = match query {
            Some(query) => sync(conn, id, &kept.name, &query, now)?,
            None => Refreshed { name: kept.name, members: included.len(), joined: 0, left: 0, planned: 0 },
        };
        group.planned += planned;
        Ok(Restored { group, deployments })
    })
}

fn set_all(conn: &mut Conn, group: GroupId, set: &BTreeMap<String, i64>) -> Result<(), StoreError> {
    for (key, value) in set {
        // A key that this version does not know any more sets nothing.
        if let Ok(key) = key.parse() {
            settings::set(conn, Scope::Group(group), key, *value)?;
        }
    }
    Ok(())
}

/// Marks those computers again that are still there; gives them.
fn mark_again(
    conn: &mut Conn,
    group: GroupId,
    numbers: &[i64],
    reason: Reason,
    now: UnixTime,
) -> Result<Vec<ComputerId>, StoreError> {
    let ids: Vec<ComputerId> = numbers.iter().copied().map(ComputerId).collect();
    let known: BTreeSet<ComputerId> = computers::some(conn, &ids)?.into_iter().map(|computer| computer.id).collect();
    let known: Vec<ComputerId> = known.into_iter().collect();
    groups::set(conn, group, &known, reason, now)?;
    Ok(known)
}
