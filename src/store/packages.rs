//! Packages and their fragments.

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, big, limit as rows, rows_of, text};
use super::schema::{counters, fragments, packages};
use super::{Conn, StoreError};
use crate::archive::SplitFragment;
use crate::model::{
    Action, Digest, DigestAlgorithm, Done, ExitCodes, FragmentCount, FragmentNumber, Notify, OsFamily, Package,
    PackageId, PackageState, Priority, PromptPolicy, UnixTime,
};

/// What is known before the archive is cut.
#[derive(Clone, Debug)]
pub struct NewPackage {
    /// As [`Package`].
    pub name: String,
    /// As [`Package`].
    pub version: String,
    /// As [`Package`].
    pub description: String,
    /// As [`Package`].
    pub os: OsFamily,
    /// As [`Package`].
    pub action: Action,
    /// As [`Package`].
    pub priority: Priority,
    /// As [`Package`].
    pub notify: Option<Notify>,
    /// As [`Package`].
    pub done: Option<Done>,
    /// As [`Package`].
    pub exit_codes: ExitCodes,
}

/// What is known after it was cut.
#[derive(Clone, Debug)]
pub struct BuiltContent {
    /// Bytes of the archive.
    pub size: u64,
    /// MD5 of the archive.
    pub md5: Option<Digest>,
    /// SHA-256 of the archive.
    pub sha256: Option<Digest>,
    /// Every fragment.
    pub fragments: Vec<SplitFragment>,
}

diesel::define_sql_function! {
    /// Both back ends have it; SQLite knows the letters of ASCII only.
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = packages)]
struct PackageRow {
    id: i64,
    name: String,
    version: String,
    description: String,
    os: String,
    action: String,
    action_text: String,
    priority: i64,
    notify_text: Option<String>,
    notify_countdown: Option<i64>,
    notify_can_abort: bool,
    notify_can_delay: bool,
    notify_max_delays: Option<i64>,
    notify_deadline_hours: Option<i64>,
    notify_nobody: String,
    done_text: Option<String>,
    exit_codes: String,
    fragment_count: i64,
    size: i64,
    md5: Option<Vec<u8>>,
    sha256: Option<Vec<u8>>,
    state: String,
    created_at: i64,
}

impl TryFrom<PackageRow> for Package {
    type Error = StoreError;

    fn try_from(row: PackageRow) -> Result<Self, StoreError> {
        let at = At("packages", row.id);
        let digest = |algorithm: DigestAlgorithm, bytes: Option<Vec<u8>>| {
            let parse = |bytes: Vec<u8>| {
                Digest::from_bytes(algorithm, &bytes)
                    .ok_or_else(|| at.corrupt(format_args!("{algorithm} has {} bytes", bytes.len())))
            };
            bytes.map(parse).transpose()
        };
        let countdown = row.notify_countdown.map(|seconds| at.number("notify_countdown", seconds)).transpose()?;
        let policy = PromptPolicy {
            max_delays: row.notify_max_delays.map(|number| at.number("notify_max_delays", number)).transpose()?,
            deadline_hours: row
                .notify_deadline_hours
                .map(|hours| at.number("notify_deadline_hours", hours))
                .transpose()?,
            nobody: at.check(row.notify_nobody.parse())?,
        };
        Ok(Self {
            id: at.package(row.id)?,
            name: row.name,
            version: row.version,
            description: row.description,
            os: at.check(row.os.parse())?,
            action: at.check(Action::from_parts(&row.action, &row.action_text))?,
            priority: Priority::from_number(at.number("priority", row.priority)?),
            notify: row.notify_text.map(|text| Notify {
                text,
                countdown_seconds: countdown,
                can_abort: row.notify_can_abort,
                can_delay: row.notify_can_delay,
                policy,
            }),
            done: row.done_text.map(|text| Done { text }),
            exit_codes: at.check(row.exit_codes.parse())?,
            fragments: FragmentCount(at.number("fragment_count", row.fragment_count)?),
            size: at.number("size", row.size)?,
            md5: digest(DigestAlgorithm::Md5, row.md5)?,
            sha256: digest(DigestAlgorithm::Sha256, row.sha256)?,
            state: at.check(row.state.parse())?,
            created_at: UnixTime::from_millis(row.created_at),
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = fragments, treat_none_as_default_value = false)]
struct FragmentRow<'a> {
    package_id: i64,
    number: i64,
    size: i64,
    sha256: &'a [u8],
}

/// Takes the id of the present second, or the next that was never given out, and inserts a row in state `building`.
/// An id is never given out twice, whatever became of the row.
pub fn reserve(conn: &mut Conn, new: &NewPackage, now: UnixTime) -> Result<PackageId, StoreError> {
    reserve_number(conn, new, None, now)
}

/// The same with this number, if no package ever had it.
pub fn reserve_number(
    conn: &mut Conn,
    new: &NewPackage,
    wanted: Option<PackageId>,
    now: UnixTime,
) -> Result<PackageId, StoreError> {
    let id = match wanted {
        Some(id) if find(conn, id)?.is_none() => {
            let passed = counters::table.find("package").filter(counters::value.lt(i64::from(id)));
            q!(conn => diesel::update(passed).set(counters::value.eq(i64::from(id))).execute(conn))?;
            id
        }
        _ => next_number(conn, now)?,
    };
    insert(conn, id, new, now)?;
    Ok(id)
}

fn next_number(conn: &mut Conn, now: UnixTime) -> Result<PackageId, StoreError> {
    // After 2038 there is no id of the present second any more; the next one still is one.
    let second = Some(now.seconds()).filter(|second| (1..=i64::from(PackageId::MAX)).contains(second)).unwrap_or(1);
    let next = diesel::dsl::case_when(counters::value.ge(second), counters::value + 1_i64).otherwise(second);
    let number: i64 = q!(conn => diesel::update(counters::table.find("package"))
        .set(counters::value.eq(next))
        .returning(counters::value)
        .get_result(conn))?;
    At("counters", "package").package(number)
}

fn insert(conn: &mut Conn, id: PackageId, new: &NewPackage, now: UnixTime) -> Result<(), StoreError> {
    let notify = new.notify.as_ref();
    let policy = notify.map(|notify| notify.policy).unwrap_or_default();
    q!(conn => diesel::insert_into(packages::table)
        .values((
            packages::id.eq(i64::from(id)),
            packages::name.eq(text(&new.name)),
            packages::version.eq(text(&new.version)),
            packages::description.eq(text(&new.description)),
            packages::os.eq(new.os.as_str()),
            packages::action.eq(new.action.as_str()),
            packages::action_text.eq(new.action.text()),
            packages::priority.eq(i64::from(new.priority.number())),
            packages::notify_text.eq(notify.map(|notify| text(&notify.text))),
            packages::notify_countdown.eq(notify.and_then(|notify| notify.countdown_seconds).map(i64::from)),
            packages::notify_can_abort.eq(notify.is_some_and(|notify| notify.can_abort)),
            packages::notify_can_delay.eq(notify.is_some_and(|notify| notify.can_delay)),
            packages::notify_max_delays.eq(policy.max_delays.map(i64::from)),
            packages::notify_deadline_hours.eq(policy.deadline_hours.map(i64::from)),
            packages::notify_nobody.eq(policy.nobody.as_str()),
            packages::done_text.eq(new.done.as_ref().map(|done| text(&done.text))),
            packages::exit_codes.eq(new.exit_codes.to_string()),
            packages::fragment_count.eq(0),
            packages::size.eq(0),
            packages::state.eq(PackageState::Building.as_str()),
            packages::created_at.eq(now.millis()),
        ))
        .execute(conn))?;
    Ok(())
}

/// Writes size, digests and fragments of a package in state `building`; of any other it changes nothing.
pub fn set_content(conn: &mut Conn, id: PackageId, content: &BuiltContent) -> Result<(), StoreError> {
    let package_id = i64::from(id);
    let building = packages::table.find(package_id).filter(packages::state.eq(PackageState::Building.as_str()));
    let count = i64::try_from(content.fragments.len()).unwrap_or(i64::MAX);
    let changed = q!(conn => diesel::update(building)
        .set((
            packages::size.eq(big(content.size)),
            packages::md5.eq(content.md5.as_ref().map(Digest::as_bytes)),
            packages::sha256.eq(content.sha256.as_ref().map(Digest::as_bytes)),
            packages::fragment_count.eq(count),
        ))
        .execute(conn))?;
    if changed == 0 {
        return Err(diesel::result::Error::NotFound.into());
    }
    let old = fragments::table.filter(fragments::package_id.eq(package_id));
    q!(conn => diesel::delete(old).execute(conn))?;
    let new: Vec<FragmentRow<'_>> = content
        .fragments
        .iter()
        .map(|fragment| FragmentRow {
            package_id,
            number: i64::from(fragment.number.number()),
            size: big(fragment.size),
            sha256: fragment.sha256.as_bytes(),
        })
        .collect();
    for chunk in new.chunks(rows_of(4)) {
        q!(conn => diesel::insert_into(fragments::table).values(chunk).execute(conn))?;
    }
    Ok(())
}

/// Changes the state, and with it the tree's generation. True if there is such a package.
pub fn set_state(conn: &mut Conn, id: PackageId, state: PackageState) -> Result<bool, StoreError> {
    let row = packages::table.find(i64::from(id));
    let changed = q!(conn => diesel::update(row).set(packages::state.eq(state.as_str())).execute(conn))? > 0;
    if changed {
        q!(conn => diesel::update(counters::table.find("tree"))
            .set(counters::value.eq(counters::value + 1_i64))
            .execute(conn))?;
    }
    Ok(changed)
}

/// How often the published tree has changed: a mirror's validator.
pub fn generation(conn: &mut Conn) -> Result<u64, StoreError> {
    let value: i64 = q!(conn => counters::table.find("tree").select(counters::value).first(conn))?;
    At("counters", "tree").number("value", value)
}

/// Removes a package in state `building`; its id stays used.
pub fn discard(conn: &mut Conn, id: PackageId) -> Result<(), StoreError> {
    let building = packages::table.find(i64::from(id)).filter(packages::state.eq(PackageState::Building.as_str()));
    q!(conn => diesel::delete(building).execute(conn))?;
    Ok(())
}

/// One package.
pub fn find(conn: &mut Conn, id: PackageId) -> Result<Option<Package>, StoreError> {
    let query = packages::table.find(i64::from(id));
    q!(conn => query.select(PackageRow::as_select()).first(conn).optional())?.map(Package::try_from).transpose()
}

/// Packages newest first, below `before`, at most `limit`.
pub fn list(conn: &mut Conn, before: Option<PackageId>, limit: usize) -> Result<Vec<Package>, StoreError> {
    let query = packages::table
        .filter(packages::id.lt(before.map_or(i64::MAX, i64::from)))
        .order(packages::id.desc())
        .limit(rows(limit));
    q!(conn => query.select(PackageRow::as_select()).load(conn))?.into_iter().map(Package::try_from).collect()
}

/// In which order packages are listed. Each is an index.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
    /// By name, versions oldest first.
    Name,
}

/// Which packages are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Part of name, version or description; empty for any.
    pub text: String,
    /// Of exactly this name: the versions of a family.
    pub name: Option<String>,
    /// For this system.
    pub os: Option<OsFamily>,
    /// In one of these states; empty for any.
    pub states: Vec<PackageState>,
    /// In which order.
    pub order: Order,
    /// The package that the page before ended with.
    pub after: Option<PackageId>,
}

/// Packages in order, at most `limit`.
pub fn wanted(conn: &mut Conn, wanted: &Wanted, limit: usize) -> Result<Vec<Package>, StoreError> {
    let last = match wanted.after {
        Some(id) => find(conn, id)?,
        None => None,
    };
    let part = text(&wanted.text).replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let part = format!("%{}%", part.to_lowercase());
    let found: Vec<PackageRow> = q!(conn => {
        let mut query = packages::table.select(PackageRow::as_select()).limit(rows(limit)).into_boxed();
        if !wanted.text.is_empty() {
            query = query.filter(
                lower(packages::name).like(&part).escape('\\')
                    .or(lower(packages::version).like(&part).escape('\\'))
                    .or(lower(packages::description).like(&part).escape('\\')),
            );
        }
        if let Some(name) = &wanted.name {
            query = query.filter(packages::name.eq(text(name)));
        }
        if let Some(os) = wanted.os {
            query = query.filter(packages::os.eq(os.as_str()));
        }
        if !wanted.states.is_empty() {
            query = query.filter(packages::state.eq_any(wanted.states.iter().map(|state| state.as_str())));
        }
        let id = last.as_ref().map(|package| i64::from(package.id));
        query = match wanted.order {
            Order::Newest => query.filter(packages::id.lt(id.unwrap_or(i64::MAX))).order(packages::id.desc()),
            Order::Oldest => query.filter(packages::id.gt(id.unwrap_or(0))).order(packages::id),
            Order::Name => {
                if let (Some(last), Some(id)) = (&last, id) {
                    let name = text(&last.name);
                    query = query.filter(
                        packages::name.gt(name.clone()).or(packages::name.eq(name).and(packages::id.gt(id))),
                    );
                }
                query.order((packages::name, packages::id))
            }
        };
        query.load(conn)
    })?;
    found.into_iter().map(Package::try_from).collect()
}

/// Every package of a state, oldest first.
pub fn in_state(conn: &mut Conn, state: PackageState) -> Result<Vec<PackageId>, StoreError> {
    let query = packages::table.filter(packages::state.eq(state.as_str())).order(packages::id).select(packages::id);
    let found: Vec<i64> = q!(conn => query.load(conn))?;
    found.into_iter().map(|id| At("packages", id).package(id)).collect()
}

/// Numbers, names and versions of the packages of a state, oldest first.
pub fn names_in_state(conn: &mut Conn, state: PackageState) -> Result<Vec<(PackageId, String, String)>, StoreError> {
    let query = packages::table.filter(packages::state.eq(state.as_str())).order(packages::id);
    let found: Vec<(i64, String, String)> =
        q!(conn => query.select((packages::id, packages::name, packages::version)).load(conn))?;
    found.into_iter().map(|(id, name, version)| Ok((At("packages", id).package(id)?, name, version))).collect()
}

/// The fragments of a package, in order.
pub fn fragments(conn: &mut Conn, id: PackageId) -> Result<Vec<SplitFragment>, StoreError> {
    let query = fragments::table.filter(fragments::package_id.eq(i64::from(id))).order(fragments::number).select((
        fragments::number,
        fragments::size,
        fragments::sha256,
    ));
    let found: Vec<(i64, i64, Vec<u8>)> = q!(conn => query.load(conn))?;
    let parse = |(number, size, sha256): (i64, i64, Vec<u8>)| {
        let at = At("fragments", id);
        Ok(SplitFragment {
            number: FragmentNumber::new(at.number("number", number)?)
                .ok_or_else(|| at.corrupt(format_args!("number is {number}")))?,
            size: at.number("size", size)?,
            sha256: Digest::from_bytes(DigestAlgorithm::Sha256, &sha256)
                .ok_or_else(|| at.corrupt(format_args!("SHA256 of fragment {number} has {} bytes", sha256.len())))?,
        })
    };
    found.into_iter().map(parse).collect()
}
