//! Mirrors, what they hold, and the sites that they are near.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, big, millis, rows_of, text, time};
use super::schema::{fragments, mirror_packages, mirrors, packages, site_mirrors, site_ranges, sites};
use super::{Conn, StoreError};
use crate::model::{AddressRange, Digest, FragmentNumber, Location, PackageId, PackageState, TreeKey, UnixTime};
use crate::protocol::{MirrorReport, PackageFilter};

/// A server that keeps a copy of the tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mirror {
    /// Its name: lower-case letters, digits, dots and dashes.
    pub name: String,
    /// Where agents fetch fragments from it; `$IP$` and `$NAME$` are its last address and its name.
    pub location: Location,
    /// What it may have.
    pub packages: PackageFilter,
    /// So long after its last report it is not offered any more.
    pub silent_after: Duration,
    /// SHA-256 of its token; `None` before it has one.
    pub token_hash: Option<Digest>,
    /// When it was registered.
    pub created_at: UnixTime,
    /// When it reported last.
    pub reported_at: Option<UnixTime>,
    /// From where.
    pub reported_from: Option<IpAddr>,
    /// The generation of its copy.
    pub generation: u64,
    /// Bytes that it holds.
    pub bytes: u64,
    /// What was wrong with its last sync; empty if nothing was.
    pub problem: String,
    /// What came of asking it for a file.
    pub reach: Reach,
}

/// What came of asking a mirror for a file, as the server sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reach {
    /// When it began to answer.
    pub reached_at: Option<UnixTime>,
    /// It does not any more, or never did.
    pub lost: Option<Lost>,
}

/// Since when a mirror does not answer, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lost {
    /// Since when.
    pub at: UnixTime,
    /// A sentence.
    pub why: String,
}

impl Mirror {
    /// Has it reported recently enough to be offered?
    pub fn is_heard(&self, now: UnixTime) -> bool {
        self.reported_at.is_some_and(|at| now.since(at) <= self.silent_after)
    }

    /// Since when it does not answer, if it once did. One that the server could never ask may well be near its computers: that
    /// says nothing against it.
    pub fn lost(&self) -> Option<&Lost> {
        self.reach.lost.as_ref().filter(|_| self.reach.reached_at.is_some())
    }

    /// Are computers sent to it, as far as its packages allow?
    pub fn is_offered(&self, now: UnixTime) -> bool {
        self.is_heard(now) && self.lost().is_none()
    }
}

/// Addresses, and the mirrors that are near them, the nearest first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub ranges: Vec<AddressRange>,
    /// Names of mirrors, in their order.
    pub mirrors: Vec<String>,
    /// When it was made.
    pub created_at: UnixTime,
}

/// What is near an address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Nearby {
    /// The site of the address, if it is in any.
    pub site: Option<String>,
    /// Its mirrors in their order, each with those of the packages asked for that it holds.
    pub mirrors: Vec<(Mirror, BTreeSet<PackageId>)>,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = mirrors)]
struct MirrorRow {
    name: String,
    location: String,
    packages: String,
    silent_after: i64,
    token_hash: Option<String>,
    created_at: i64,
    reported_at: Option<i64>,
    reported_from: String,
    generation: i64,
    bytes: i64,
    problem: String,
    reached_at: Option<i64>,
    lost_at: Option<i64>,
    lost_why: String,
}

impl TryFrom<MirrorRow> for Mirror {
    type Error = StoreError;

    fn try_from(row: MirrorRow) -> Result<Self, StoreError> {
        let name = row.name;
        let at = At("mirrors", name.as_str());
        let token_hash = row
            .token_hash
            .as_deref()
            .map(parse_hash)
            .map(|hash| hash.ok_or_else(|| at.corrupt("token_hash is no SHA-256")));
        let filter = if row.packages.is_empty() { Ok(PackageFilter::default()) } else { row.packages.parse() };
        Ok(Self {
            location: at.check(row.location.parse())?,
            packages: at.check(filter)?,
            silent_after: Duration::from_millis(at.number("silent_after", row.silent_after)?),
            token_hash: token_hash.transpose()?,
            created_at: UnixTime::from_millis(row.created_at),
            reported_at: time(row.reported_at),
            reported_from: row.reported_from.parse().ok(),
            generation: at.number("generation", row.generation)?,
            bytes: at.number("bytes", row.bytes)?,
            problem: row.problem,
            reach: Reach {
                reached_at: time(row.reached_at),
                lost: time(row.lost_at).map(|at| Lost { at, why: row.lost_why }),
            },
            name,
        })
    }
}

fn parse_hash(text: &str) -> Option<Digest> {
    Digest::parse(crate::model::DigestAlgorithm::Sha256, crate::model::DigestEncoding::Hexa, text).ok()
}

/// Registers a mirror that has not reported yet. False if the name is taken.
pub fn create(conn: &mut Conn, mirror: &Mirror) -> Result<bool, StoreError> {
    let row = MirrorRow {
        name: mirror.name.clone(),
        location: mirror.location.to_string(),
        packages: mirror.packages.to_string(),
        silent_after: millis_of(mirror.silent_after),
        token_hash: mirror.token_hash.map(|hash| hash.to_string()),
        created_at: mirror.created_at.millis(),
        reported_at: None,
        reported_from: String::new(),
        generation: 0,
        bytes: 0,
        problem: String::new(),
        reached_at: None,
        lost_at: None,
        lost_why: String::new(),
    };
    Ok(q!(conn => diesel::insert_into(mirrors::table).values(&row).on_conflict_do_nothing().execute(conn))? > 0)
}

/// Forgets a mirror, what it holds and its places in sites. False if there is none.
pub fn remove(conn: &mut Conn, name: &str) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::delete(mirrors::table.find(text(name))).execute(conn))? > 0)
}

/// Gives it another token. False if there is no such mirror.
pub fn set_token(conn: &mut Conn, name: &str, hash: &Digest) -> Result<bool, StoreError> {
    let row = mirrors::table.find(text(name));
    Ok(q!(conn => diesel::update(row).set(mirrors::token_hash.eq(hash.to_string())).execute(conn))? > 0)
}

/// Changes where it is, what it may have and how long its silence is borne. False if there is no such mirror.
pub fn edit(
    conn: &mut Conn,
    name: &str,
    location: &Location,
    filter: &PackageFilter,
    silent_after: Duration,
) -> Result<bool, StoreError> {
    let changed = q!(conn => diesel::update(mirrors::table.find(text(name)))
        .set((
            mirrors::location.eq(location.to_string()),
            mirrors::packages.eq(filter.to_string()),
            mirrors::silent_after.eq(millis_of(silent_after)),
        ))
        .execute(conn))?;
    Ok(changed > 0)
}

/// One mirror.
pub fn find(conn: &mut Conn, name: &str) -> Result<Option<Mirror>, StoreError> {
    let query = mirrors::table.find(text(name));
    q!(conn => query.select(MirrorRow::as_select()).first(conn).optional())?.map(Mirror::try_from).transpose()
}

/// Whose token that is.
pub fn find_by_token(conn: &mut Conn, hash: &Digest) -> Result<Option<Mirror>, StoreError> {
    let query = mirrors::table.filter(mirrors::token_hash.eq(hash.to_string()));
    q!(conn => query.select(MirrorRow::as_select()).first(conn).optional())?.map(Mirror::try_from).transpose()
}

/// Every mirror, by name.
pub fn list(conn: &mut Conn) -> Result<Vec<Mirror>, StoreError> {
    let query = mirrors::table;
    let rows: Vec<MirrorRow> = q!(conn => query.select(MirrorRow::as_select()).load(conn))?;
    let mut found = rows.into_iter().map(Mirror::try_from).collect::<Result<Vec<_>, _>>()?;
    // Here, because the two databases do not agree on an order of letters.
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// What a mirror said that it holds, ascending.
pub fn held(conn: &mut Conn, name: &str) -> Result<Vec<PackageId>, StoreError> {
    let query = mirror_packages::table
        .filter(mirror_packages::mirror.eq(text(name)))
        .select(mirror_packages::package_id)
        .order(mirror_packages::package_id);
    let numbers: Vec<i64> = q!(conn => query.load(conn))?;
    numbers.into_iter().map(|number| At("mirror_packages", name).package(number)).collect()
}

/// How many packages each mirror said that it holds; one that holds nothing is missing.
pub fn held_counts(conn: &mut Conn) -> Result<BTreeMap<String, u64>, StoreError> {
    let query = mirror_packages::table
        .group_by(mirror_packages::mirror)
        .select((mirror_packages::mirror, diesel::dsl::count_star()));
    let counts: Vec<(String, i64)> = q!(conn => query.load(conn))?;
    Ok(counts.into_iter().map(|(mirror, count)| (mirror, count.unsigned_abs())).collect())
}

/// Keeps what a mirror said. Only what is another package than before costs a row.
pub fn report(conn: &mut Conn, name: &str, said: &MirrorReport, from: IpAddr, at: UnixTime) -> Result<(), StoreError> {
    let row = mirrors::table.find(text(name));
    let changed = q!(conn => diesel::update(row)
        .set((
            mirrors::reported_at.eq(at.millis()),
            mirrors::reported_from.eq(from.to_canonical().to_string()),
            mirrors::generation.eq(big(said.generation)),
            mirrors::bytes.eq(big(said.bytes)),
            mirrors::problem.eq(text(&said.problem)),
        ))
        .execute(conn))?;
    if changed == 0 {
        return Ok(());
    }
    let before: BTreeSet<PackageId> = held(conn, name)?.into_iter().collect();
    let after: BTreeSet<PackageId> = said.packages.iter().copied().collect();
    let gone: Vec<i64> = before.difference(&after).map(|package| i64::from(*package)).collect();
    for chunk in gone.chunks(rows_of(2)) {
        let rows = mirror_packages::table
            .filter(mirror_packages::mirror.eq(text(name)))
            .filter(mirror_packages::package_id.eq_any(chunk));
        q!(conn => diesel::delete(rows).execute(conn))?;
    }
    let new: Vec<i64> = after.difference(&before).map(|package| i64::from(*package)).collect();
    for chunk in new.chunks(rows_of(2)) {
        let rows: Vec<_> = chunk
            .iter()
            .map(|package| (mirror_packages::mirror.eq(text(name)), mirror_packages::package_id.eq(*package)))
            .collect();
        q!(conn => diesel::insert_into(mirror_packages::table).values(&rows).execute(conn))?;
    }
    Ok(())
}

/// Keeps what came of asking a mirror for a file.
pub fn set_reach(conn: &mut Conn, name: &str, reach: &Reach) -> Result<(), StoreError> {
    let row = mirrors::table.find(text(name));
    q!(conn => diesel::update(row)
        .set((
            mirrors::reached_at.eq(millis(reach.reached_at)),
            mirrors::lost_at.eq(millis(reach.lost.as_ref().map(|lost| lost.at))),
            mirrors::lost_why.eq(text(reach.lost.as_ref().map_or("", |lost| &lost.why))),
        ))
        .execute(conn))?;
    Ok(())
}

/// Was any mirror asked whether it answers?
pub fn any_reach(conn: &mut Conn) -> Result<bool, StoreError> {
    let asked = mirrors::table.filter(mirrors::reached_at.is_not_null().or(mirrors::lost_at.is_not_null()));
    Ok(q!(conn => diesel::select(diesel::dsl::exists(asked)).get_result(conn))?)
}

/// Forgets what came of asking mirrors: nobody asks them any more. Gives how many were lost.
pub fn forget_reach(conn: &mut Conn) -> Result<usize, StoreError> {
    let rows = mirrors::table.filter(mirrors::reached_at.is_not_null().or(mirrors::lost_at.is_not_null()));
    let nothing = (mirrors::reached_at.eq(None::<i64>), mirrors::lost_at.eq(None::<i64>), mirrors::lost_why.eq(""));
    Ok(q!(conn => diesel::update(rows).set(nothing).execute(conn))?)
}

/// A file that a mirror has by its own account, and its bytes: the last fragment of the newest package that it holds, which is
/// seldom a large one. `None` if it holds nothing that is still available.
pub fn sample(conn: &mut Conn, name: &str) -> Result<Option<(TreeKey, u64)>, StoreError> {
    let query = mirror_packages::table
        .inner_join(packages::table.on(packages::id.eq(mirror_packages::package_id)))
        .filter(mirror_packages::mirror.eq(text(name)))
        .filter(packages::state.eq(PackageState::Available.as_str()))
        .order(mirror_packages::package_id.desc())
        .select(mirror_packages::package_id);
    let Some(package) = q!(conn => query.first::<i64>(conn).optional())? else { return Ok(None) };
    let query = fragments::table
        .filter(fragments::package_id.eq(package))
        .order(fragments::number.desc())
        .select((fragments::number, fragments::size));
    let Some((number, size)) = q!(conn => query.first::<(i64, i64)>(conn).optional())? else { return Ok(None) };
    let at = At("fragments", package);
    let number = FragmentNumber::new(at.number("number", number)?)
        .ok_or_else(|| at.corrupt(format_args!("number is {number}")))?;
    Ok(Some((TreeKey::Fragment { package: at.package(package)?, number }, at.number("size", size)?)))
}

/// Makes a site. False if the name is taken; its mirrors must exist.
pub fn create_site(conn: &mut Conn, site: &Site) -> Result<bool, StoreError> {
    let row = (sites::name.eq(text(&site.name)), sites::created_at.eq(site.created_at.millis()));
    if q!(conn => diesel::insert_into(sites::table).values(row).on_conflict_do_nothing().execute(conn))? == 0 {
        return Ok(false);
    }
    fill_site(conn, site)?;
    Ok(true)
}

/// Gives a site other ranges and mirrors. False if there is no such site; its mirrors must exist.
pub fn edit_site(conn: &mut Conn, site: &Site) -> Result<bool, StoreError> {
    let name = || text(&site.name);
    let known: i64 = q!(conn => sites::table.find(name()).count().get_result(conn))?;
    if known == 0 {
        return Ok(false);
    }
    q!(conn => diesel::delete(site_ranges::table.filter(site_ranges::site.eq(name()))).execute(conn))?;
    q!(conn => diesel::delete(site_mirrors::table.filter(site_mirrors::site.eq(name()))).execute(conn))?;
    fill_site(conn, site)?;
    Ok(true)
}

fn fill_site(conn: &mut Conn, site: &Site) -> Result<(), StoreError> {
    for range in &site.ranges {
        let row = (
            site_ranges::first.eq(digits(range.first())),
            site_ranges::last.eq(digits(range.last())),
            site_ranges::site.eq(text(&site.name)),
            site_ranges::range.eq(range.to_string()),
        );
        q!(conn => diesel::insert_into(site_ranges::table).values(row).on_conflict_do_nothing().execute(conn))?;
    }
    for (position, mirror) in (0_i64..).zip(&site.mirrors) {
        let row = (
            site_mirrors::site.eq(text(&site.name)),
            site_mirrors::position.eq(position),
            site_mirrors::mirror.eq(text(mirror)),
        );
        q!(conn => diesel::insert_into(site_mirrors::table).values(row).execute(conn))?;
    }
    Ok(())
}

/// Forgets a site. False if there is none.
pub fn remove_site(conn: &mut Conn, name: &str) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::delete(sites::table.find(text(name))).execute(conn))? > 0)
}

/// Every site, by name.
pub fn list_sites(conn: &mut Conn) -> Result<Vec<Site>, StoreError> {
    let query = sites::table.select((sites::name, sites::created_at));
    let rows: Vec<(String, i64)> = q!(conn => query.load(conn))?;
    let mut found: BTreeMap<String, Site> = rows
        .into_iter()
        .map(|(name, at)| {
            let created_at = UnixTime::from_millis(at);
            (name.clone(), Site { name, ranges: Vec::new(), mirrors: Vec::new(), created_at })
        })
        .collect();
    let query = site_ranges::table.select((site_ranges::site, site_ranges::range)).order(site_ranges::first);
    let ranges: Vec<(String, String)> = q!(conn => query.load(conn))?;
    for (name, range) in ranges {
        let range = At("site_ranges", name.as_str()).check(range.parse())?;
        if let Some(site) = found.get_mut(&name) {
            site.ranges.push(range);
        }
    }
    let query = site_mirrors::table.select((site_mirrors::site, site_mirrors::mirror)).order(site_mirrors::position);
    let near: Vec<(String, String)> = q!(conn => query.load(conn))?;
    for (name, mirror) in near {
        if let Some(site) = found.get_mut(&name) {
            site.mirrors.push(mirror);
        }
    }
    Ok(found.into_values().collect())
}

/// Is there any site with addresses?
pub fn has_sites(conn: &mut Conn) -> Result<bool, StoreError> {
    let any = site_ranges::table.select(site_ranges::site).limit(1);
    Ok(q!(conn => any.first::<String>(conn).optional())?.is_some())
}

/// What is near an address, for these packages. The narrowest range says which site it is in. Where there are no sites this
/// is one look at an empty table.
pub fn nearby(conn: &mut Conn, address: IpAddr, packages: &[PackageId]) -> Result<Nearby, StoreError> {
    let number = AddressRange::number(address);
    let query = site_ranges::table
        .filter(site_ranges::first.le(digits(number)))
        .filter(site_ranges::last.ge(digits(number)))
        .select((site_ranges::first, site_ranges::last, site_ranges::site));
    let ranges: Vec<(String, String, String)> = q!(conn => query.load(conn))?;
    let width = |first: &str, last: &str| {
        let number = |digits: &str| u128::from_str_radix(digits, 16).unwrap_or_default();
        number(last).saturating_sub(number(first))
    };
    let narrowest = ranges.into_iter().min_by_key(|(first, last, site)| (width(first, last), site.clone()));
    let Some((_, _, site)) = narrowest else { return Ok(Nearby::default()) };
    let query = site_mirrors::table
        .inner_join(mirrors::table.on(mirrors::name.eq(site_mirrors::mirror)))
        .filter(site_mirrors::site.eq(text(&site)))
        .order(site_mirrors::position);
    let rows: Vec<MirrorRow> = q!(conn => query.select(MirrorRow::as_select()).load(conn))?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push((Mirror::try_from(row)?, BTreeSet::new()));
    }
    if found.is_empty() {
        // In SQL, "in none of these" would be a look at all that mirrors hold.
        return Ok(Nearby { site: Some(site), mirrors: found });
    }
    let names: Vec<String> = found.iter().map(|(mirror, _): &(Mirror, _)| mirror.name.clone()).collect();
    let numbers: Vec<i64> = packages.iter().map(|package| i64::from(*package)).collect();
    for chunk in numbers.chunks(rows_of(2)) {
        let query = mirror_packages::table
            .filter(mirror_packages::mirror.eq_any(&names))
            .filter(mirror_packages::package_id.eq_any(chunk))
            .select((mirror_packages::mirror, mirror_packages::package_id));
        let held: Vec<(String, i64)> = q!(conn => query.load(conn))?;
        for (name, package) in held {
            let package = At("mirror_packages", name.as_str()).package(package)?;
            for (_, holds) in found.iter_mut().filter(|(mirror, _)| mirror.name == name) {
                holds.insert(package);
            }
        }
    }
    Ok(Nearby { site: Some(site), mirrors: found })
}

fn millis_of(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn digits(number: u128) -> String {
    format!("{number:032x}")
}
