//! Deployments: what an administrator asked for.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::connection::q;
use super::row::{At, limit as rows, text, time};
use super::schema::{approvals, deployments, packages};
use super::{Conn, StoreError};
use crate::model::{
    ApprovalId, Deployment, DeploymentId, FragmentCount, GroupId, JobOptions, PackageId, PackageState, PostCommand,
    Schedule, UnixTime,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = deployments)]
struct DeploymentRow {
    id: i64,
    package_id: i64,
    all_computers: bool,
    force: bool,
    schedule: Option<String>,
    post_command: Option<String>,
    created_at: i64,
    cancelled_at: Option<i64>,
    closed_at: Option<i64>,
    group_id: Option<i64>,
    follows: Option<i64>,
    bundle: Option<i64>,
    approval_id: Option<i64>,
}

impl TryFrom<DeploymentRow> for Deployment {
    type Error = StoreError;

    fn try_from(row: DeploymentRow) -> Result<Self, StoreError> {
        let at = At("deployments", row.id);
        Ok(Self {
            id: DeploymentId(row.id),
            package: at.package(row.package_id)?,
            all_computers: row.all_computers,
            group: row.group_id.map(GroupId),
            options: at.options(row.force, row.schedule.as_deref(), row.post_command.as_deref(), row.follows)?,
            created_at: UnixTime::from_millis(row.created_at),
            cancelled_at: time(row.cancelled_at),
            closed_at: time(row.closed_at),
            bundle: row.bundle.map(DeploymentId),
            approval: row.approval_id.map(ApprovalId),
        })
    }
}

/// A deployment for a list, with the names that people read.
#[derive(Clone, Debug)]
pub struct DeploymentLine {
    /// The deployment.
    pub deployment: Deployment,
    /// Who made it.
    pub created_by: String,
    /// Name of the package.
    pub package_name: String,
    /// Its version.
    pub package_version: String,
    /// Its fragments.
    pub fragments: FragmentCount,
    /// Have others not agreed to it yet?
    pub awaits_approval: bool,
}

type Found = (DeploymentRow, String, (String, String, i64), Option<i64>);

/// Deployments beside what a line says of them.
macro_rules! lines {
    () => {
        deployments::table.inner_join(packages::table.on(packages::id.eq(deployments::package_id))).left_join(
            approvals::table
                .on(deployments::approval_id.eq(approvals::id.nullable()).and(approvals::let_go_at.is_null())),
        )
    };
}

macro_rules! line_columns {
    () => {
        (
            DeploymentRow::as_select(),
            deployments::created_by,
            (packages::name, packages::version, packages::fragment_count),
            approvals::id.nullable(),
        )
    };
}

fn line((row, created_by, package, awaited): Found) -> Result<DeploymentLine, StoreError> {
    let (package_name, package_version, fragments) = package;
    let fragments = FragmentCount(At("packages", row.package_id).number("fragment_count", fragments)?);
    Ok(DeploymentLine {
        deployment: row.try_into()?,
        created_by,
        package_name,
        package_version,
        fragments,
        awaits_approval: awaited.is_some(),
    })
}

/// One deployment.
pub fn find(conn: &mut Conn, id: DeploymentId) -> Result<Option<DeploymentLine>, StoreError> {
    let found: Option<Found> = q!(conn => lines!()
        .filter(deployments::id.eq(id.0))
        .select(line_columns!())
        .first(conn)
        .optional())?;
    found.map(line).transpose()
}

/// Deployments, newest first, those before `before`, at most `limit`.
pub fn list(conn: &mut Conn, before: Option<DeploymentId>, limit: usize) -> Result<Vec<DeploymentLine>, StoreError> {
    let found: Vec<Found> = q!(conn => lines!()
        .filter(deployments::id.lt(before.map_or(i64::MAX, |id| id.0)))
        .order(deployments::id.desc())
        .limit(rows(limit))
        .select(line_columns!())
        .load(conn))?;
    found.into_iter().map(line).collect()
}

/// Deployments of one package, newest first, at most `limit`.
pub fn of_package(conn: &mut Conn, package: PackageId, limit: usize) -> Result<Vec<DeploymentLine>, StoreError> {
    let found: Vec<Found> = q!(conn => lines!()
        .filter(deployments::package_id.eq(i64::from(package)))
        .order(deployments::id.desc())
        .limit(rows(limit))
        .select(line_columns!())
        .load(conn))?;
    found.into_iter().map(line).collect()
}

/// Which deployments a list shows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Which {
    /// Every one.
    #[default]
    All,
    /// Not put away, and something is open or still to come.
    Running,
    /// The others.
    Ended,
}

/// What a list shows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// In which stage.
    pub which: Which,
    /// Of this package.
    pub package: Option<PackageId>,
    /// That were made for this group.
    pub group: Option<GroupId>,
    /// Older than this one.
    pub before: Option<DeploymentId>,
}

const RUNNING: &str = "(deployments.closed_at IS NULL AND ((deployments.cancelled_at IS NULL \
    AND (deployments.all_computers OR deployments.group_id IS NOT NULL)) OR EXISTS (SELECT 1 FROM jobs \
    WHERE jobs.deployment_id = deployments.id AND jobs.finished_at IS NULL)))";
const ENDED: &str = "NOT (deployments.closed_at IS NULL AND ((deployments.cancelled_at IS NULL \
    AND (deployments.all_computers OR deployments.group_id IS NOT NULL)) OR EXISTS (SELECT 1 FROM jobs \
    WHERE jobs.deployment_id = deployments.id AND jobs.finished_at IS NULL)))";

/// Deployments, newest first, at most `limit`.
pub fn some(conn: &mut Conn, wanted: &Wanted, limit: usize) -> Result<Vec<DeploymentLine>, StoreError> {
    let found: Vec<Found> = q!(conn => {
        let mut query = lines!()
            .filter(deployments::id.lt(wanted.before.map_or(i64::MAX, |id| id.0)))
            .order(deployments::id.desc())
            .limit(rows(limit))
            .select(line_columns!())
            .into_boxed();
        if let Some(package) = wanted.package {
            query = query.filter(deployments::package_id.eq(i64::from(package)));
        }
        if let Some(group) = wanted.group {
            query = query.filter(deployments::group_id.eq(group.0));
        }
        query = match wanted.which {
            Which::All => query,
            Which::Running => query.filter(sql::<Bool>(RUNNING)),
            Which::Ended => query.filter(sql::<Bool>(ENDED)),
        };
        query.load(conn)
    })?;
    found.into_iter().map(line).collect()
}

/// Puts a deployment away, or takes it out again. True if that changed something.
pub fn set_closed(conn: &mut Conn, id: DeploymentId, at: Option<UnixTime>) -> Result<bool, StoreError> {
    let row = deployments::table.find(id.0);
    let changed = match at {
        Some(at) => q!(conn => diesel::update(row.filter(deployments::closed_at.is_null()))
            .set(deployments::closed_at.eq(at.millis()))
            .execute(conn))?,
        None => q!(conn => diesel::update(row.filter(deployments::closed_at.is_not_null()))
            .set(deployments::closed_at.eq(None::<i64>))
            .execute(conn))?,
    };
    Ok(changed > 0)
}

/// Inserts a deployment. `created_by` is the administrator's name.
pub fn create(
    conn: &mut Conn,
    package: PackageId,
    all_computers: bool,
    options: &JobOptions,
    created_by: &str,
    now: UnixTime,
) -> Result<DeploymentId, StoreError> {
    insert(conn, package, all_computers, None, options, created_by, now)
}

/// Inserts a deployment that stands for a group: whoever becomes a member gets it.
pub fn create_for_group(
    conn: &mut Conn,
    package: PackageId,
    group: GroupId,
    options: &JobOptions,
    created_by: &str,
    now: UnixTime,
) -> Result<DeploymentId, StoreError> {
    insert(conn, package, false, Some(group), options, created_by, now)
}

fn insert(
    conn: &mut Conn,
    package: PackageId,
    all_computers: bool,
    group: Option<GroupId>,
    options: &JobOptions,
    created_by: &str,
    now: UnixTime,
) -> Result<DeploymentId, StoreError> {
    let id = q!(conn => diesel::insert_into(deployments::table)
        .values((
            deployments::package_id.eq(i64::from(package)),
            deployments::all_computers.eq(all_computers),
            deployments::group_id.eq(group.map(|group| group.0)),
            deployments::force.eq(options.force),
            deployments::schedule.eq(options.schedule.as_ref().map(Schedule::as_str)),
            deployments::post_command.eq(options.post_command.as_ref().map(PostCommand::as_str)),
            deployments::follows.eq(options.follows.map(i64::from)),
            deployments::created_by.eq(text(created_by)),
            deployments::created_at.eq(now.millis()),
        ))
        .returning(deployments::id)
        .get_result(conn))?;
    Ok(DeploymentId(id))
}

/// Says of deployments that they were made in one act.
pub fn bind(conn: &mut Conn, together: &[DeploymentId]) -> Result<(), StoreError> {
    let numbers: Vec<i64> = together.iter().map(|id| id.0).collect();
    let of = deployments::table.filter(deployments::id.eq_any(&numbers));
    q!(conn => diesel::update(of).set(deployments::bundle.eq(numbers.first())).execute(conn))?;
    Ok(())
}

/// The deployments of a bundle, in their order.
pub fn of_bundle(conn: &mut Conn, bundle: DeploymentId) -> Result<Vec<DeploymentLine>, StoreError> {
    let found: Vec<Found> = q!(conn => lines!()
        .filter(deployments::bundle.eq(bundle.0))
        .order(deployments::id)
        .select(line_columns!())
        .load(conn))?;
    found.into_iter().map(line).collect()
}

/// Standing deployments that are in force: not cancelled, package not withdrawn.
pub fn standing(conn: &mut Conn) -> Result<Vec<Deployment>, StoreError> {
    let query = deployments::table
        .inner_join(packages::table.on(packages::id.eq(deployments::package_id)))
        // As the partial index says it.
        .filter(deployments::all_computers)
        .filter(deployments::cancelled_at.is_null())
        .filter(deployments::closed_at.is_null())
        .filter(packages::state.ne(PackageState::Withdrawn.as_str()))
        .order(deployments::id);
    q!(conn => query.select(DeploymentRow::as_select()).load(conn))?.into_iter().map(Deployment::try_from).collect()
}

/// Standing deployments to a group that are in force: not cancelled, package not withdrawn.
pub fn standing_of_group(conn: &mut Conn, group: GroupId) -> Result<Vec<Deployment>, StoreError> {
    let query = deployments::table
        .inner_join(packages::table.on(packages::id.eq(deployments::package_id)))
        .filter(deployments::group_id.eq(group.0))
        .filter(deployments::cancelled_at.is_null())
        .filter(deployments::closed_at.is_null())
        .filter(packages::state.ne(PackageState::Withdrawn.as_str()))
        .order(deployments::id);
    q!(conn => query.select(DeploymentRow::as_select()).load(conn))?.into_iter().map(Deployment::try_from).collect()
}

/// Ends a deployment: nobody else gets it. Jobs that are planned stay. True if it was in force.
pub fn cancel(conn: &mut Conn, id: DeploymentId, now: UnixTime) -> Result<bool, StoreError> {
    let in_force = deployments::table.find(id.0).filter(deployments::cancelled_at.is_null());
    Ok(q!(conn => diesel::update(in_force).set(deployments::cancelled_at.eq(now.millis())).execute(conn))? > 0)
}

/// Does any deployment of the package still take computers that come?
pub fn stands_for_more(conn: &mut Conn, package: PackageId) -> Result<bool, StoreError> {
    let standing = deployments::table
        .filter(deployments::package_id.eq(i64::from(package)))
        .filter(deployments::cancelled_at.is_null())
        .filter(deployments::closed_at.is_null())
        .filter(deployments::all_computers.eq(true).or(deployments::group_id.is_not_null()))
        .select(deployments::id)
        .limit(1);
    Ok(q!(conn => standing.first::<i64>(conn).optional())?.is_some())
}

/// Cancels every deployment of a package that is in force, and says how many there were.
pub fn cancel_of_package(conn: &mut Conn, package: PackageId, now: UnixTime) -> Result<usize, StoreError> {
    let in_force = deployments::table
        .filter(deployments::package_id.eq(i64::from(package)))
        .filter(deployments::cancelled_at.is_null());
    Ok(q!(conn => diesel::update(in_force).set(deployments::cancelled_at.eq(now.millis())).execute(conn))?)
}
