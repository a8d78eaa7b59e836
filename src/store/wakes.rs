//! Computers that are to be woken and that were, and deployments that wake theirs.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::connection::q;
use super::gates::GatesRow;
use super::row::{At, limit as rows, rows_of, text, time};
use super::schema::{activations, approvals, computers, deployment_gates, deployment_wakes, deployments, jobs, wakes};
use super::{Conn, StoreError};
use crate::model::gates::Gates;
use crate::model::wake::WakeState;
use crate::model::{ComputerId, DeploymentId, DeviceId, UnixTime};

/// A wish to wake a computer, and what became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wake {
    /// Its number.
    pub id: i64,
    /// Whom.
    pub computer: ComputerId,
    /// For which deployment; none if somebody asked for it.
    pub deployment: Option<DeploymentId>,
    /// Who asked.
    pub by: String,
    /// When.
    pub asked_at: UnixTime,
    /// Where it is.
    pub state: WakeState,
    /// When the packets went out.
    pub sent_at: Option<UnixTime>,
    /// When the computer was heard of after that.
    pub came_at: Option<UnixTime>,
    /// Why no packet went out.
    pub problem: Option<String>,
}

/// A wake whose turn it is, with all that decides what is done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Turn {
    /// Its number.
    pub id: i64,
    /// Whom.
    pub computer: ComputerId,
    /// When it was asked for.
    pub asked_at: UnixTime,
    /// When the computer was last heard of.
    pub last_contact: UnixTime,
    /// Where it came from then.
    pub peer_address: String,
    /// When and where what it is woken for may run.
    pub gates: Gates,
    /// Is there still something to wake it for?
    pub is_wanted: bool,
}

/// A deployment whose time to wake has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Due {
    /// Which.
    pub deployment: DeploymentId,
    /// Since when.
    pub at: UnixTime,
    /// Who made it.
    pub by: String,
    /// When and where it may run.
    pub gates: Gates,
}

/// When a deployment wakes its computers, and when it did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// Not before that.
    pub due_at: UnixTime,
    /// When it was done.
    pub begun_at: Option<UnixTime>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = wakes)]
struct WakeRow {
    id: i64,
    computer_id: i64,
    deployment_id: Option<i64>,
    asked_by: String,
    asked_at: i64,
    state: String,
    sent_at: Option<i64>,
    came_at: Option<i64>,
    problem: Option<String>,
}

impl TryFrom<WakeRow> for Wake {
    type Error = StoreError;

    fn try_from(row: WakeRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            computer: ComputerId(row.computer_id),
            deployment: row.deployment_id.map(DeploymentId),
            by: row.asked_by,
            asked_at: UnixTime::from_millis(row.asked_at),
            state: At("wakes", row.id).check(row.state.parse())?,
            sent_at: time(row.sent_at),
            came_at: time(row.came_at),
            problem: row.problem,
        })
    }
}

/// No packet for the computer waits already.
const NOT_WAITING: &str = "NOT EXISTS (SELECT 1 FROM wakes AS other WHERE other.computer_id = computers.id \
    AND other.state = 'waiting')";
/// Nobody asks for more than the packet, or the computer still has the deployment's job to do. The plus keeps SQLite from going
/// through the whole deployment for each of its computers.
const WANTED: &str = "(wakes.deployment_id IS NULL OR EXISTS (SELECT 1 FROM jobs WHERE jobs.computer_id = \
    wakes.computer_id AND +jobs.deployment_id = wakes.deployment_id AND jobs.finished_at IS NULL))";

/// Wants these computers woken, in that state from the beginning; those that wait already are left as they are, and so are
/// computers that are gone. Gives how many are new.
pub fn ask(
    conn: &mut Conn,
    whom: &[ComputerId],
    state: WakeState,
    by: &str,
    now: UnixTime,
) -> Result<usize, StoreError> {
    let numbers: Vec<i64> = whom.iter().map(|id| id.0).collect();
    let (by, mut asked) = (text(by), 0);
    for chunk in numbers.chunks(rows_of(1) - 8) {
        let chosen = computers::table
            .filter(computers::id.eq_any(chunk))
            .filter(sql::<Bool>(NOT_WAITING))
            .order(computers::id)
            .select((
                computers::id,
                (&*by).into_sql::<Text>(),
                now.millis().into_sql::<BigInt>(),
                state.as_str().into_sql::<Text>(),
            ));
        asked += q!(conn => diesel::insert_into(wakes::table)
            .values(chosen)
            .into_columns((wakes::computer_id, wakes::asked_by, wakes::asked_at, wakes::state))
            .execute(conn))?;
    }
    Ok(asked)
}

/// A deployment wakes its computers, not before that. What was ordered before stays.
pub fn order(conn: &mut Conn, deployment: DeploymentId, due_at: UnixTime) -> Result<(), StoreError> {
    q!(conn => diesel::insert_into(deployment_wakes::table)
        .values((deployment_wakes::deployment_id.eq(deployment.0), deployment_wakes::due_at.eq(due_at.millis())))
        .on_conflict_do_nothing()
        .execute(conn))?;
    Ok(())
}

/// Whether and when a deployment wakes its computers.
pub fn order_of(conn: &mut Conn, deployment: DeploymentId) -> Result<Option<Order>, StoreError> {
    let row = deployment_wakes::table.find(deployment.0);
    let query = row.select((deployment_wakes::due_at, deployment_wakes::begun_at));
    let found: Option<(i64, Option<i64>)> = q!(conn => query.first(conn).optional())?;
    Ok(found.map(|(due_at, begun_at)| Order { due_at: UnixTime::from_millis(due_at), begun_at: time(begun_at) }))
}

/// Deployments whose time to wake has come, those after `after`: neither cancelled nor closed, and something would be offered but
/// for their gates. At most `limit`.
pub fn due(
    conn: &mut Conn,
    now: UnixTime,
    after: Option<(UnixTime, DeploymentId)>,
    limit: usize,
) -> Result<Vec<Due>, StoreError> {
    let (at, id) = after.map_or((i64::MIN, 0), |(at, id)| (at.millis(), id.0));
    let later =
        deployment_wakes::due_at.gt(at).or(deployment_wakes::due_at.eq(at).and(deployment_wakes::deployment_id.gt(id)));
    let waits = deployments::approval_id.eq(approvals::id.nullable()).and(approvals::let_go_at.is_null());
    let query = deployment_wakes::table
        .inner_join(deployments::table.on(deployments::id.eq(deployment_wakes::deployment_id)))
        .inner_join(activations::table.on(activations::package_id.eq(deployments::package_id)))
        .left_join(approvals::table.on(waits))
        .left_join(deployment_gates::table.on(deployment_gates::deployment_id.eq(deployment_wakes::deployment_id)))
        .filter(deployment_wakes::begun_at.is_null())
        .filter(deployment_wakes::due_at.ge(at).and(later))
        .filter(deployment_wakes::due_at.le(now.millis()))
        .filter(deployments::cancelled_at.is_null())
        .filter(deployments::closed_at.is_null())
        .filter(approvals::id.is_null())
        .order((deployment_wakes::due_at, deployment_wakes::deployment_id))
        .limit(rows(limit));
    let found: Vec<(i64, i64, String, Option<GatesRow>)> = q!(conn => query
        .select((
            deployment_wakes::deployment_id,
            deployment_wakes::due_at,
            deployments::created_by,
            Option::<GatesRow>::as_select(),
        ))
        .load(conn))?;
    let due = |(id, at, by, gates): (i64, i64, String, Option<GatesRow>)| {
        let gates = gates.map(Gates::try_from).transpose()?.unwrap_or_default();
        Ok(Due { deployment: DeploymentId(id), at: UnixTime::from_millis(at), by, gates })
    };
    found.into_iter().map(due).collect()
}

/// One that was written down before its agent came: its last contact is when that was.
#[diesel::dsl::auto_type]
fn never_came() -> _ {
    computers::peer_address.eq("")
}

/// Wants those computers of a deployment woken that have its job to do and were not heard of since `quiet`, each once. Gives
/// how many; `None` if that was done before.
pub fn begin(
    conn: &mut Conn,
    deployment: DeploymentId,
    by: &str,
    quiet: UnixTime,
    now: UnixTime,
) -> Result<Option<usize>, StoreError> {
    let open = deployment_wakes::table.find(deployment.0).filter(deployment_wakes::begun_at.is_null());
    let claim = diesel::update(open).set(deployment_wakes::begun_at.eq(now.millis()));
    if q!(conn => claim.execute(conn))? == 0 {
        return Ok(None);
    }
    let by = text(by);
    let chosen = jobs::table
        .inner_join(computers::table.on(computers::id.eq(jobs::computer_id)))
        .filter(jobs::deployment_id.eq(deployment.0))
        .filter(jobs::finished_at.is_null())
        .filter(computers::archived_at.is_null())
        .filter(computers::last_contact.lt(quiet.millis()).or(never_came()))
        .filter(sql::<Bool>(NOT_WAITING))
        .order(computers::id)
        .select((
            computers::id,
            Some(deployment.0).into_sql::<Nullable<BigInt>>(),
            (&*by).into_sql::<Text>(),
            now.millis().into_sql::<BigInt>(),
            WakeState::Waiting.as_str().into_sql::<Text>(),
        ));
    let begun = q!(conn => diesel::insert_into(wakes::table)
        .values(chosen)
        .into_columns((wakes::computer_id, wakes::deployment_id, wakes::asked_by, wakes::asked_at, wakes::state))
        .on_conflict_do_nothing()
        .execute(conn))?;
    Ok(Some(begun))
}

/// Those of these computers that were not heard of since a moment, in the order of their numbers.
pub fn quiet(conn: &mut Conn, ids: &[ComputerId], since: UnixTime) -> Result<Vec<ComputerId>, StoreError> {
    let numbers: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut found: Vec<i64> = Vec::new();
    for chunk in numbers.chunks(rows_of(1) - 8) {
        let query = computers::table
            .filter(computers::id.eq_any(chunk))
            .filter(computers::last_contact.lt(since.millis()).or(never_came()))
            .order(computers::id)
            .select(computers::id);
        found.extend::<Vec<i64>>(q!(conn => query.load(conn))?);
    }
    Ok(found.into_iter().map(ComputerId).collect())
}

/// Those whose turn it is, the oldest wish first, at most `limit`.
pub fn turns(conn: &mut Conn, limit: usize) -> Result<Vec<Turn>, StoreError> {
    type Found = (i64, i64, i64, i64, String, Option<GatesRow>, bool);
    let query = wakes::table
        .inner_join(computers::table.on(computers::id.eq(wakes::computer_id)))
        .left_join(deployment_gates::table.on(wakes::deployment_id.eq(deployment_gates::deployment_id.nullable())))
        // As the partial index says it.
        .filter(sql::<Bool>("wakes.state = 'waiting'"))
        .order(wakes::id)
        .limit(rows(limit));
    let found: Vec<Found> = q!(conn => query
        .select((
            wakes::id,
            wakes::computer_id,
            wakes::asked_at,
            computers::last_contact,
            computers::peer_address,
            Option::<GatesRow>::as_select(),
            sql::<Bool>(WANTED),
        ))
        .load(conn))?;
    let turn = |(id, computer, asked_at, last_contact, peer_address, gates, is_wanted): Found| {
        Ok(Turn {
            id,
            computer: ComputerId(computer),
            asked_at: UnixTime::from_millis(asked_at),
            last_contact: UnixTime::from_millis(last_contact),
            peer_address,
            gates: gates.map(Gates::try_from).transpose()?.unwrap_or_default(),
            is_wanted,
        })
    };
    found.into_iter().map(turn).collect()
}

/// What became of those whose turn it was.
pub fn set_state(
    conn: &mut Conn,
    ids: &[i64],
    state: WakeState,
    problem: Option<&str>,
    now: UnixTime,
) -> Result<(), StoreError> {
    let sent_at = (state == WakeState::Sent).then_some(now.millis());
    let problem = problem.map(text);
    for chunk in ids.chunks(rows_of(1) - 8) {
        let of = wakes::table.filter(wakes::id.eq_any(chunk));
        q!(conn => diesel::update(of)
            .set((wakes::state.eq(state.as_str()), wakes::sent_at.eq(sent_at), wakes::problem.eq(problem.as_deref())))
            .execute(conn))?;
    }
    Ok(())
}

/// Computers that were heard of after their packets went out: the wakes' numbers with when. At most `limit`.
pub fn back(conn: &mut Conn, limit: usize) -> Result<Vec<(i64, UnixTime)>, StoreError> {
    let query = wakes::table
        .inner_join(computers::table.on(computers::id.eq(wakes::computer_id)))
        .filter(sql::<Bool>("wakes.state = 'sent'"))
        .filter(computers::last_contact.nullable().gt(wakes::sent_at))
        .limit(rows(limit))
        .select((wakes::id, computers::last_contact));
    let found: Vec<(i64, i64)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(|(id, at)| (id, UnixTime::from_millis(at))).collect())
}

/// It came.
pub fn set_came(conn: &mut Conn, id: i64, at: UnixTime) -> Result<(), StoreError> {
    q!(conn => diesel::update(wakes::table.find(id))
        .set((wakes::state.eq(WakeState::Came.as_str()), wakes::came_at.eq(at.millis())))
        .execute(conn))?;
    Ok(())
}

/// Wakes whose packets went out before a moment, and whose computers were not heard of; at most `limit`.
pub fn silent(conn: &mut Conn, before: UnixTime, limit: usize) -> Result<Vec<i64>, StoreError> {
    let query = wakes::table
        .filter(sql::<Bool>("wakes.state = 'sent'"))
        .filter(wakes::sent_at.lt(before.millis()))
        .order((wakes::sent_at, wakes::id))
        .limit(rows(limit))
        .select(wakes::id);
    Ok(q!(conn => query.load(conn))?)
}

/// Nobody waits for these any more.
pub fn set_silent(conn: &mut Conn, ids: &[i64]) -> Result<(), StoreError> {
    let of = wakes::table.filter(wakes::id.eq_any(ids));
    q!(conn => diesel::update(of).set(wakes::state.eq(WakeState::Silent.as_str())).execute(conn))?;
    Ok(())
}

/// The newest wish to wake a computer.
pub fn last_of(conn: &mut Conn, computer: ComputerId) -> Result<Option<Wake>, StoreError> {
    let query = wakes::table.filter(wakes::computer_id.eq(computer.0)).order(wakes::id.desc());
    let found: Option<WakeRow> = q!(conn => query.select(WakeRow::as_select()).first(conn).optional())?;
    found.map(Wake::try_from).transpose()
}

/// How many computers of a deployment are in which state, read from an index alone.
pub fn counts(conn: &mut Conn, deployment: DeploymentId) -> Result<Vec<(WakeState, u64)>, StoreError> {
    let query = wakes::table
        .filter(wakes::deployment_id.eq(deployment.0))
        .group_by(wakes::state)
        .select((wakes::state, diesel::dsl::count_star()));
    let found: Vec<(String, i64)> = q!(conn => query.load(conn))?;
    let at = At("wakes", deployment.0);
    found.into_iter().map(|(state, count)| Ok((at.check(state.parse())?, at.number("count", count)?))).collect()
}

/// Computers that a deployment wakes or woke, with their names, state by state in the order of their wakes, those after `after`; at
/// most `limit`.
pub fn of_deployment(
    conn: &mut Conn,
    deployment: DeploymentId,
    state: Option<WakeState>,
    after: Option<(WakeState, i64)>,
    limit: usize,
) -> Result<Vec<(Wake, DeviceId)>, StoreError> {
    let found: Vec<(WakeRow, String)> = q!(conn => {
        let mut query = wakes::table
            .inner_join(computers::table.on(computers::id.eq(wakes::computer_id)))
            .filter(wakes::deployment_id.eq(deployment.0))
            .order((wakes::state, wakes::id))
            .limit(rows(limit))
            .select((WakeRow::as_select(), computers::device_id))
            .into_boxed();
        if let Some(state) = state {
            query = query.filter(wakes::state.eq(state.as_str()));
        }
        if let Some((state, id)) = after {
            let later = wakes::state.gt(state.as_str()).or(wakes::id.gt(id));
            query = query.filter(wakes::state.ge(state.as_str()).and(later));
        }
        query.load(conn)
    })?;
    let line = |(row, device_id): (WakeRow, String)| {
        let device_id = At("wakes", row.id).check(device_id.parse())?;
        Ok((Wake::try_from(row)?, device_id))
    };
    found.into_iter().map(line).collect()
}

/// The oldest ones, as far as they were asked for before a moment; at most `limit`.
pub fn before(conn: &mut Conn, moment: UnixTime, limit: usize) -> Result<Vec<i64>, StoreError> {
    let oldest = wakes::table.order(wakes::id).limit(rows(limit)).select((wakes::id, wakes::asked_at));
    let found: Vec<(i64, i64)> = q!(conn => oldest.load(conn))?;
    Ok(found.into_iter().filter(|(_, at)| *at < moment.millis()).map(|(id, _)| id).collect())
}

/// Forgets these. Gives how many there were.
pub fn forget(conn: &mut Conn, ids: &[i64]) -> Result<usize, StoreError> {
    Ok(q!(conn => diesel::delete(wakes::table.filter(wakes::id.eq_any(ids))).execute(conn))?)
}
