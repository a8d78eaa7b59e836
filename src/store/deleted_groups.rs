//! Groups that were deleted, with what an undo needs.

use std::collections::BTreeMap;

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::connection::q;
use super::row::{At, rows_of, text};
use super::schema::{deleted_groups, deployments};
use super::{Conn, StoreError};
use crate::model::query::fold;
use crate::model::{DeploymentId, GroupId, UnixTime};

/// A group as it was. Its numbers are kept as they stood: who is gone meanwhile is for the undo to find out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Whom it was made of.
    pub query: Option<String>,
    /// What it was for.
    pub description: String,
    /// Who had made it.
    pub created_by: String,
    /// When, in milliseconds.
    pub created_at: i64,
    /// Computers that were in by hand. Those of the query are found again by it.
    pub included: Vec<i64>,
    /// Computers that were kept out by hand.
    pub excluded: Vec<i64>,
    /// What it set, by key.
    pub settings: BTreeMap<String, i64>,
    /// Its deployments, those that had ended before included.
    pub deployments: Vec<i64>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// Its number here.
    pub id: i64,
    /// When it was deleted.
    pub at: UnixTime,
    /// What it was.
    pub kept: Kept,
}

/// Keeps a group that goes; forgets those that went before `forgotten`.
pub fn add(conn: &mut Conn, kept: &Kept, now: UnixTime, forgotten: UnixTime) -> Result<(), StoreError> {
    let old = deleted_groups::table.filter(deleted_groups::at.lt(forgotten.millis()));
    q!(conn => diesel::delete(old).execute(conn))?;
    let document = At("deleted_groups", kept.name.as_str()).check(serde_json::to_string(kept))?;
    q!(conn => diesel::insert_into(deleted_groups::table)
        .values((
            deleted_groups::name_key.eq(text(&fold(&kept.name)).into_owned()),
            deleted_groups::at.eq(now.millis()),
            deleted_groups::document.eq(text(&document)),
        ))
        .execute(conn))?;
    Ok(())
}

/// The one of that name that went last, letters compared without case, unless that was before `since`.
pub fn newest(conn: &mut Conn, name: &str, since: UnixTime) -> Result<Option<Deleted>, StoreError> {
    let query = deleted_groups::table
        .filter(deleted_groups::name_key.eq(text(&fold(name)).into_owned()))
        .filter(deleted_groups::at.ge(since.millis()))
        .order(deleted_groups::id.desc())
        .select((deleted_groups::id, deleted_groups::at, deleted_groups::document));
    let found: Option<(i64, i64, String)> = q!(conn => query.first(conn).optional())?;
    let parse = |(id, at, document): (i64, i64, String)| {
        let kept = At("deleted_groups", id).check(serde_json::from_str(&document))?;
        Ok(Deleted { id, at: UnixTime::from_millis(at), kept })
    };
    found.map(parse).transpose()
}

/// Forgets one: it is back.
pub fn remove(conn: &mut Conn, id: i64) -> Result<(), StoreError> {
    q!(conn => diesel::delete(deleted_groups::table.find(id)).execute(conn))?;
    Ok(())
}

/// Every deployment of a group, those that have ended included.
pub fn deployments_of(conn: &mut Conn, group: GroupId) -> Result<Vec<i64>, StoreError> {
    let query = deployments::table.filter(deployments::group_id.eq(group.0)).select(deployments::id);
    Ok(q!(conn => query.load(conn))?)
}

/// Gives a group its deployments back; those that ended at that very moment stand again. Gives their numbers.
pub fn give_back(
    conn: &mut Conn,
    group: GroupId,
    kept: &[i64],
    ended_at: UnixTime,
) -> Result<Vec<DeploymentId>, StoreError> {
    let mut standing = Vec::new();
    for chunk in kept.chunks(rows_of(1) - 16) {
        let of = || deployments::table.filter(deployments::id.eq_any(chunk)).filter(deployments::group_id.is_null());
        let ended = of().filter(deployments::cancelled_at.eq(ended_at.millis()));
        let some: Vec<i64> = q!(conn => diesel::update(ended)
            .set((deployments::group_id.eq(group.0), deployments::cancelled_at.eq(None::<i64>)))
            .returning(deployments::id)
            .get_results(conn))?;
        q!(conn => diesel::update(of()).set(deployments::group_id.eq(group.0)).execute(conn))?;
        standing.extend(some.into_iter().map(DeploymentId));
    }
    standing.sort_unstable();
    Ok(standing)
}
