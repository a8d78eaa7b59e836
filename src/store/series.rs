//! What is deployed again and again, and its runs.

use std::fmt;

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::connection::q;
use super::row::{At, limit as rows, millis, text, time};
use super::schema::{series, series_runs};
use super::{Conn, StoreError};
use crate::model::access::Scope;
use crate::model::gates::{Gates, Timetable};
use crate::model::recurrence::Recurrence;
use crate::model::{ApprovalId, ComputerId, DeploymentId, PackageId, PostCommand, UnixTime};

/// A series' number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SeriesId(pub i64);

impl fmt::Display for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// For whom each run is: who that is, is found out when it begins.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunTarget {
    /// Every computer.
    All,
    /// The members of a group, by its name.
    Group(String),
    /// Those that a query asks for.
    Where(String),
    /// Always these.
    Computers(Vec<i64>),
}

impl RunTarget {
    /// Always these.
    pub fn these(computers: impl IntoIterator<Item = ComputerId>) -> Self {
        Self::Computers(computers.into_iter().map(|id| id.0).collect())
    }
}

/// What each run deploys, for whom, how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct What {
    /// The packages in their order.
    pub packages: Vec<PackageId>,
    /// Is each offered only where the one before it succeeded?
    pub in_order: bool,
    /// For whom.
    pub target: RunTarget,
    /// What is done afterwards.
    pub post_command: Option<PostCommand>,
    /// When and where the deployments of a run may run.
    pub gates: Gates,
    /// Are computers woken for it?
    pub wake: bool,
}

/// [`What`] as the column has it.
#[derive(Deserialize, Serialize)]
struct Asked {
    packages: Vec<u32>,
    in_order: bool,
    target: RunTarget,
    post_command: Option<String>,
    windows: Option<String>,
    window_zone: Option<String>,
    ranges: Option<String>,
    #[serde(default)]
    wake: bool,
}

impl What {
    fn written(&self) -> String {
        let asked = Asked {
            packages: self.packages.iter().map(|package| package.number()).collect(),
            in_order: self.in_order,
            target: self.target.clone(),
            post_command: self.post_command.as_ref().map(|command| command.as_str().to_owned()),
            windows: self.gates.windows_text(),
            window_zone: self.gates.zone().map(str::to_owned),
            ranges: self.gates.ranges_text(),
            wake: self.wake,
        };
        serde_json::to_string(&asked).expect("numbers and texts are JSON")
    }

    fn read(at: At<i64>, column: &str) -> Result<Self, StoreError> {
        let asked: Asked = at.check(serde_json::from_str(column))?;
        let windows = at.check(asked.windows.as_deref().map(str::parse).transpose())?;
        Ok(Self {
            packages: asked.packages.iter().map(|id| at.package(i64::from(*id))).collect::<Result<_, _>>()?,
            in_order: asked.in_order,
            target: asked.target,
            post_command: at.check(asked.post_command.as_deref().map(str::parse).transpose())?,
            gates: Gates {
                timetable: windows.zip(asked.window_zone).map(|(windows, zone)| Timetable { windows, zone }),
                ranges: at.check(asked.ranges.as_deref().map(str::parse).transpose())?,
            },
            wake: asked.wake,
        })
    }
}

/// When it comes again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct When {
    /// The rule.
    pub rule: Recurrence,
    /// The time zone that its times of day are in, by name.
    pub zone: String,
    /// Not before that.
    pub starts_at: UnixTime,
}

/// Whose rights a series acts with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// The user; `None` for the command line on the server's own machine, which may do everything.
    pub user: Option<String>,
    /// What the rights held for when it was made: the user's scope, and that of the token or the lock that was used.
    pub scope: Scope,
}

/// What is deployed again and again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Series {
    /// Its number.
    pub id: SeriesId,
    /// What, for whom, how.
    pub what: What,
    /// When.
    pub when: When,
    /// The next run; none while it is paused, and when it has ended.
    pub next_at: Option<UnixTime>,
    /// Since when it is paused.
    pub paused_at: Option<UnixTime>,
    /// Why it paused by itself; none if somebody paused it.
    pub problem: Option<String>,
    /// When it ended.
    pub ended_at: Option<UnixTime>,
    /// How many runs there were.
    pub runs: i64,
    /// Whose rights it acts with.
    pub owner: Owner,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: UnixTime,
    /// Whether others have to agree, or had to, before a run begins.
    pub approval: Option<ApprovalId>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = series)]
struct SeriesRow {
    id: i64,
    asked: String,
    rule: String,
    zone: String,
    starts_at: i64,
    next_at: Option<i64>,
    paused_at: Option<i64>,
    problem: Option<String>,
    ended_at: Option<i64>,
    runs: i64,
    owner: Option<String>,
    computers: Option<String>,
    families: Option<String>,
    created_by: String,
    created_at: i64,
    approval_id: Option<i64>,
}

impl TryFrom<SeriesRow> for Series {
    type Error = StoreError;

    fn try_from(row: SeriesRow) -> Result<Self, StoreError> {
        let at = At("series", row.id);
        let scope = Scope::parse(row.computers.as_deref(), row.families.as_deref());
        Ok(Self {
            id: SeriesId(row.id),
            what: What::read(at, &row.asked)?,
            when: When {
                rule: at.check(row.rule.parse())?,
                zone: row.zone,
                starts_at: UnixTime::from_millis(row.starts_at),
            },
            next_at: time(row.next_at),
            paused_at: time(row.paused_at),
            problem: row.problem,
            ended_at: time(row.ended_at),
            runs: row.runs,
            owner: Owner { user: row.owner, scope: at.check(scope)? },
            created_by: row.created_by,
            created_at: UnixTime::from_millis(row.created_at),
            approval: row.approval_id.map(ApprovalId),
        })
    }
}

/// Makes a series.
pub fn create(
    conn: &mut Conn,
    what: &What,
    when: &When,
    next_at: UnixTime,
    owner: &Owner,
    created_by: &str,
    now: UnixTime,
) -> Result<SeriesId, StoreError> {
    let computers = owner.scope.computers.as_ref().map(ToString::to_string);
    let id = q!(conn => diesel::insert_into(series::table)
        .values((
            series::asked.eq(text(&what.written())),
            series::rule.eq(when.rule.to_string()),
            series::zone.eq(&when.zone),
            series::starts_at.eq(when.starts_at.millis()),
            series::next_at.eq(next_at.millis()),
            series::runs.eq(0_i64),
            series::owner.eq(owner.user.as_deref()),
            series::computers.eq(computers.as_deref()),
            series::families.eq(owner.scope.families_text()),
            series::created_by.eq(text(created_by)),
            series::created_at.eq(now.millis()),
        ))
        .returning(series::id)
        .get_result(conn))?;
    Ok(SeriesId(id))
}

/// Changes what it deploys and when.
pub fn set_order(conn: &mut Conn, id: SeriesId, what: &What, when: &When) -> Result<(), StoreError> {
    q!(conn => diesel::update(series::table.find(id.0))
        .set((
            series::asked.eq(text(&what.written())),
            series::rule.eq(when.rule.to_string()),
            series::zone.eq(&when.zone),
            series::starts_at.eq(when.starts_at.millis()),
        ))
        .execute(conn))?;
    Ok(())
}

/// From now on it acts with somebody else's rights.
pub fn set_owner(conn: &mut Conn, id: SeriesId, owner: &Owner) -> Result<(), StoreError> {
    let computers = owner.scope.computers.as_ref().map(ToString::to_string);
    q!(conn => diesel::update(series::table.find(id.0))
        .set((
            series::owner.eq(owner.user.as_deref()),
            series::computers.eq(computers.as_deref()),
            series::families.eq(owner.scope.families_text()),
        ))
        .execute(conn))?;
    Ok(())
}

/// Where it is: what comes next, or since when nothing does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stage {
    /// It comes again.
    Next(UnixTime),
    /// It pauses; with a problem, by itself.
    Paused(UnixTime, Option<String>),
    /// It has ended.
    Ended(UnixTime),
}

/// Says where it is.
pub fn set_stage(conn: &mut Conn, id: SeriesId, stage: &Stage) -> Result<(), StoreError> {
    let (next, paused, problem, ended) = match stage {
        Stage::Next(at) => (Some(*at), None, None, None),
        Stage::Paused(at, problem) => (None, Some(*at), problem.as_deref(), None),
        Stage::Ended(at) => (None, None, None, Some(*at)),
    };
    q!(conn => diesel::update(series::table.find(id.0))
        .set((
            series::next_at.eq(millis(next)),
            series::paused_at.eq(millis(paused)),
            series::problem.eq(problem.map(text)),
            series::ended_at.eq(millis(ended)),
        ))
        .execute(conn))?;
    Ok(())
}

/// Takes a run that is due, so that nobody else begins it: the next one is `next`. False if somebody did.
pub fn claim(conn: &mut Conn, id: SeriesId, due: UnixTime, next: UnixTime) -> Result<bool, StoreError> {
    let this = series::table.find(id.0).filter(series::next_at.eq(due.millis()));
    Ok(q!(conn => diesel::update(this).set(series::next_at.eq(next.millis())).execute(conn))? > 0)
}

/// One series.
pub fn find(conn: &mut Conn, id: SeriesId) -> Result<Option<Series>, StoreError> {
    let query = series::table.find(id.0);
    q!(conn => query.select(SeriesRow::as_select()).first(conn).optional())?.map(Series::try_from).transpose()
}

/// Series, newest first, those before `before`, at most `limit`.
pub fn list(conn: &mut Conn, before: Option<SeriesId>, limit: usize) -> Result<Vec<Series>, StoreError> {
    let query = series::table
        .filter(series::id.lt(before.map_or(i64::MAX, |id| id.0)))
        .order(series::id.desc())
        .limit(rows(limit));
    q!(conn => query.select(SeriesRow::as_select()).load(conn))?.into_iter().map(Series::try_from).collect()
}

/// Series that go on, in the order of their next times.
pub fn going_on(conn: &mut Conn) -> Result<Vec<Series>, StoreError> {
    let query = series::table.filter(series::next_at.is_not_null()).order(series::next_at);
    q!(conn => query.select(SeriesRow::as_select()).load(conn))?.into_iter().map(Series::try_from).collect()
}

/// Series that paused by themselves, newest first, at most `limit`.
pub fn ailing(conn: &mut Conn, limit: usize) -> Result<Vec<Series>, StoreError> {
    // As the partial index says it.
    let query = series::table
        .filter(series::problem.is_not_null())
        .filter(series::ended_at.is_null())
        .order(series::id.desc())
        .limit(rows(limit));
    q!(conn => query.select(SeriesRow::as_select()).load(conn))?.into_iter().map(Series::try_from).collect()
}

/// Runs that are due: whose, and when they were to begin; the longest due first.
pub fn due(conn: &mut Conn, now: UnixTime, limit: usize) -> Result<Vec<(SeriesId, UnixTime)>, StoreError> {
    let query = series::table
        .filter(series::next_at.le(now.millis()))
        .order(series::next_at)
        .limit(rows(limit))
        .select((series::id, series::next_at));
    let found: Vec<(i64, Option<i64>)> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().filter_map(|(id, at)| Some((SeriesId(id), time(at)?))).collect())
}

/// One run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    /// Of which series.
    pub series: SeriesId,
    /// The first has 1.
    pub number: i64,
    /// When it was to begin; none if somebody began it by hand.
    pub due_at: Option<UnixTime>,
    /// When it began.
    pub started_at: UnixTime,
    /// Who or what began it.
    pub started_by: String,
    /// Its deployment, or the first of a bundle; none if nobody was meant.
    pub deployment: Option<DeploymentId>,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = series_runs, treat_none_as_default_value = false)]
struct RunRow {
    series_id: i64,
    run: i64,
    due_at: Option<i64>,
    started_at: i64,
    started_by: String,
    deployment_id: Option<i64>,
}

impl From<RunRow> for Run {
    fn from(row: RunRow) -> Self {
        Self {
            series: SeriesId(row.series_id),
            number: row.run,
            due_at: time(row.due_at),
            started_at: UnixTime::from_millis(row.started_at),
            started_by: row.started_by,
            deployment: row.deployment_id.map(DeploymentId),
        }
    }
}

/// Writes a run down, and that there is one more.
pub fn add_run(conn: &mut Conn, run: &Run) -> Result<(), StoreError> {
    let row = RunRow {
        series_id: run.series.0,
        run: run.number,
        due_at: millis(run.due_at),
        started_at: run.started_at.millis(),
        started_by: text(&run.started_by).into_owned(),
        deployment_id: run.deployment.map(|id| id.0),
    };
    q!(conn => diesel::insert_into(series_runs::table).values(&row).execute(conn))?;
    let this = series::table.find(run.series.0);
    q!(conn => diesel::update(this).set(series::runs.eq(run.number)).execute(conn))?;
    Ok(())
}

/// Runs of a series, newest first, those before `before`, at most `limit`.
pub fn runs(conn: &mut Conn, id: SeriesId, before: Option<i64>, limit: usize) -> Result<Vec<Run>, StoreError> {
    let query = series_runs::table
        .filter(series_runs::series_id.eq(id.0))
        .filter(series_runs::run.lt(before.unwrap_or(i64::MAX)))
        .order(series_runs::run.desc())
        .limit(rows(limit));
    let found: Vec<RunRow> = q!(conn => query.select(RunRow::as_select()).load(conn))?;
    Ok(found.into_iter().map(Run::from).collect())
}

/// The newest run of a series that deployed something.
pub fn last_deployed(conn: &mut Conn, id: SeriesId) -> Result<Option<Run>, StoreError> {
    let query = series_runs::table
        .filter(series_runs::series_id.eq(id.0))
        .filter(series_runs::deployment_id.is_not_null())
        .order(series_runs::run.desc());
    let found: Option<RunRow> = q!(conn => query.select(RunRow::as_select()).first(conn).optional())?;
    Ok(found.map(Run::from))
}

/// The run that made a deployment, by it or by the first of its bundle.
pub fn run_of(conn: &mut Conn, deployment: DeploymentId) -> Result<Option<Run>, StoreError> {
    let query = series_runs::table.filter(series_runs::deployment_id.eq(deployment.0));
    let found: Option<RunRow> = q!(conn => query.select(RunRow::as_select()).first(conn).optional())?;
    Ok(found.map(Run::from))
}
