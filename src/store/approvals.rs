//! What waits until others have agreed, and what they said.

use diesel::dsl::min;
use diesel::prelude::*;

use super::connection::q;
use super::row::{At, big, limit as rows, text, time};
use super::schema::{approval_votes, approvals, deployments, series};
use super::series::SeriesId;
use super::{Conn, StoreError};
use crate::model::{Approval, ApprovalId, Awaited, Consent, DeploymentId, UnixTime, Vote};

#[derive(Queryable, Selectable)]
#[diesel(table_name = approvals)]
struct ApprovalRow {
    id: i64,
    asked_by: String,
    asked_at: i64,
    reach: i64,
    upto: Option<i64>,
    needed: i64,
    given: i64,
    let_go_at: Option<i64>,
}

impl TryFrom<ApprovalRow> for Approval {
    type Error = StoreError;

    fn try_from(row: ApprovalRow) -> Result<Self, StoreError> {
        let at = At("approvals", row.id);
        let awaited = awaited((row.given, row.needed, row.asked_by), row.id)?;
        Ok(Self {
            id: ApprovalId(row.id),
            awaited,
            asked_at: UnixTime::from_millis(row.asked_at),
            reach: at.number("reach", row.reach)?,
            consent: match (row.upto, time(row.let_go_at)) {
                (Some(_), _) => Consent::NotAsked,
                (None, None) => Consent::Waits,
                (None, Some(since)) => Consent::LetGo(since),
            },
        })
    }
}

/// What a row says of how many have agreed.
pub(super) fn awaited((given, needed, asked_by): (i64, i64, String), id: i64) -> Result<Awaited, StoreError> {
    let at = At("approvals", id);
    Ok(Awaited { given: at.number("given", given)?, needed: at.number("needed", needed)?, asked_by })
}

/// Asks others; with `upto`, not before so many computers are reached.
pub fn ask(
    conn: &mut Conn,
    asked_by: &str,
    reach: u64,
    needed: u32,
    upto: Option<u64>,
    now: UnixTime,
) -> Result<ApprovalId, StoreError> {
    let id = q!(conn => diesel::insert_into(approvals::table)
        .values((
            approvals::asked_by.eq(text(asked_by)),
            approvals::asked_at.eq(now.millis()),
            approvals::reach.eq(big(reach)),
            approvals::upto.eq(upto.map(big)),
            approvals::needed.eq(i64::from(needed)),
            approvals::given.eq(0_i64),
            approvals::let_go_at.eq(upto.map(|_| now.millis())),
        ))
        .returning(approvals::id)
        .get_result(conn))?;
    Ok(ApprovalId(id))
}

/// One approval.
pub fn find(conn: &mut Conn, id: ApprovalId) -> Result<Option<Approval>, StoreError> {
    let query = approvals::table.find(id.0);
    q!(conn => query.select(ApprovalRow::as_select()).first(conn).optional())?.map(Approval::try_from).transpose()
}

/// It reaches so many computers now: others are asked, if they were not and that is from where they are. True if they are
/// asked by this.
pub fn outgrown(conn: &mut Conn, id: ApprovalId, reach: u64, now: UnixTime) -> Result<bool, StoreError> {
    let small = approvals::table.find(id.0).filter(approvals::upto.le(big(reach)));
    let asked = (
        approvals::upto.eq(None::<i64>),
        approvals::reach.eq(big(reach)),
        approvals::asked_at.eq(now.millis()),
        approvals::let_go_at.eq(None::<i64>),
    );
    Ok(q!(conn => diesel::update(small).set(asked).execute(conn))? > 0)
}

/// Adds what somebody said.
pub fn add_vote(conn: &mut Conn, id: ApprovalId, vote: &Vote) -> Result<(), StoreError> {
    q!(conn => diesel::insert_into(approval_votes::table)
        .values((
            approval_votes::approval_id.eq(id.0),
            approval_votes::at.eq(vote.at.millis()),
            approval_votes::account.eq(text(&vote.account)),
            approval_votes::via.eq(text(&vote.via)),
            approval_votes::verdict.eq(vote.verdict.as_str()),
            approval_votes::reason.eq(text(&vote.reason)),
        ))
        .execute(conn))?;
    Ok(())
}

type VoteRow = (i64, String, String, String, String, Option<i64>);

/// What was said, oldest first.
pub fn votes(conn: &mut Conn, id: ApprovalId) -> Result<Vec<Vote>, StoreError> {
    let query = approval_votes::table.filter(approval_votes::approval_id.eq(id.0)).order(approval_votes::id).select((
        approval_votes::at,
        approval_votes::account,
        approval_votes::via,
        approval_votes::verdict,
        approval_votes::reason,
        approval_votes::voided_at,
    ));
    let found: Vec<VoteRow> = q!(conn => query.load(conn))?;
    let parse = |(at, account, via, verdict, reason, voided): VoteRow| {
        let verdict = At("approval_votes", id.0).check(verdict.parse())?;
        Ok(Vote { at: UnixTime::from_millis(at), account, via, verdict, reason, voided_at: time(voided) })
    };
    found.into_iter().map(parse).collect()
}

/// Writes how many have agreed.
pub fn set_given(conn: &mut Conn, id: ApprovalId, given: usize) -> Result<(), StoreError> {
    let row = approvals::table.find(id.0);
    q!(conn => diesel::update(row).set(approvals::given.eq(rows(given))).execute(conn))?;
    Ok(())
}

/// Nothing waits for it any more.
pub fn let_go(conn: &mut Conn, id: ApprovalId, now: UnixTime) -> Result<(), StoreError> {
    let waiting = approvals::table.find(id.0).filter(approvals::let_go_at.is_null());
    q!(conn => diesel::update(waiting).set(approvals::let_go_at.eq(now.millis())).execute(conn))?;
    Ok(())
}

/// What an account has said of what still waits counts no more. Gives what it is about.
pub fn void(conn: &mut Conn, account: &str, now: UnixTime) -> Result<Vec<ApprovalId>, StoreError> {
    let waiting = approvals::table.filter(approvals::let_go_at.is_null()).select(approvals::id);
    let of = approval_votes::table
        .filter(approval_votes::account.eq(account))
        .filter(approval_votes::voided_at.is_null())
        .filter(approval_votes::approval_id.eq_any(waiting));
    let mut found: Vec<i64> = q!(conn => of.select(approval_votes::approval_id).load(conn))?;
    found.sort_unstable();
    found.dedup();
    for id in &found {
        let votes = approval_votes::table
            .filter(approval_votes::approval_id.eq(id))
            .filter(approval_votes::account.eq(account))
            .filter(approval_votes::voided_at.is_null());
        q!(conn => diesel::update(votes).set(approval_votes::voided_at.eq(now.millis())).execute(conn))?;
    }
    Ok(found.into_iter().map(ApprovalId).collect())
}

/// Says of a deployment that it waits for an approval, or did.
pub fn set_of_deployment(conn: &mut Conn, id: DeploymentId, approval: ApprovalId) -> Result<(), StoreError> {
    let row = deployments::table.find(id.0);
    q!(conn => diesel::update(row).set(deployments::approval_id.eq(approval.0)).execute(conn))?;
    Ok(())
}

/// Says of a series that it waits for an approval, or did; or that nobody has to agree.
pub fn set_of_series(conn: &mut Conn, id: SeriesId, approval: Option<ApprovalId>) -> Result<(), StoreError> {
    let row = series::table.find(id.0);
    q!(conn => diesel::update(row).set(series::approval_id.eq(approval.map(|id| id.0))).execute(conn))?;
    Ok(())
}

/// Deployments in force that wait, newest first, of each act the first; at most `limit` acts.
pub fn waiting_deployments(conn: &mut Conn, limit: usize) -> Result<Vec<DeploymentId>, StoreError> {
    let query = approvals::table
        .inner_join(deployments::table.on(deployments::approval_id.eq(approvals::id.nullable())))
        .filter(approvals::let_go_at.is_null())
        .filter(deployments::cancelled_at.is_null())
        .filter(deployments::closed_at.is_null())
        .group_by(approvals::id)
        .order(approvals::id.desc())
        .limit(rows(limit))
        .select(min(deployments::id));
    let found: Vec<Option<i64>> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().flatten().map(DeploymentId).collect())
}

/// Series that wait, newest first, at most `limit`.
pub fn waiting_series(conn: &mut Conn, limit: usize) -> Result<Vec<SeriesId>, StoreError> {
    let query = approvals::table
        .inner_join(series::table.on(series::approval_id.eq(approvals::id.nullable())))
        .filter(approvals::let_go_at.is_null())
        .filter(series::ended_at.is_null())
        .order(series::id.desc())
        .limit(rows(limit))
        .select(series::id);
    let found: Vec<i64> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(SeriesId).collect())
}

/// The series that an approval is about, if it is about one.
pub fn series_of(conn: &mut Conn, id: ApprovalId) -> Result<Option<SeriesId>, StoreError> {
    let query = series::table.filter(series::approval_id.eq(id.0)).select(series::id);
    let found: Option<i64> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(SeriesId))
}
