//! Software as a dictionary: every title once, computers refer to it by its number.
//!
//! A title goes when the last computer that had it lets go of it, so the dictionary is never larger than what there is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::connection::q;
use super::row::{limit as rows, rows_of, text};
use super::schema::{computer_software, computers, software};
use super::{Conn, StoreError};
use crate::model::{ComputerId, DigestAlgorithm, Hasher};
use crate::protocol::SoftwareTitle;

/// A title with how many computers have it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TitleCount {
    /// The title.
    pub title: SoftwareTitle,
    /// Computers that are not archived.
    pub computers: u64,
}

/// A computer that has a title.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TitleOn {
    /// The title.
    pub title: SoftwareTitle,
    /// Which computer.
    pub computer: ComputerId,
    /// Its name.
    pub computer_name: String,
    /// Its wire name.
    pub device_id: String,
}

#[derive(Insertable)]
#[diesel(table_name = software, treat_none_as_default_value = false)]
struct TitleRow<'a> {
    digest: Vec<u8>,
    name: Cow<'a, str>,
    name_key: String,
    publisher: Cow<'a, str>,
    version: Cow<'a, str>,
}

/// Name, publisher and version, as many columns as the select of a title has.
type Columns = (String, String, String);

fn title((name, publisher, version): Columns) -> SoftwareTitle {
    SoftwareTitle { name, publisher, version }
}

/// What tells a title from all others, however long its texts are.
fn digest(title: &SoftwareTitle) -> Vec<u8> {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    for part in [&title.name, &title.publisher, &title.version] {
        hasher.update(text(part).as_bytes());
        // No text of ours holds it.
        hasher.update(&[0]);
    }
    hasher.finish().as_bytes()[..16].to_vec()
}

/// What has to be written so that a computer's software is another.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    new: Vec<(Vec<u8>, SoftwareTitle)>,
    gone: Vec<(i64, SoftwareTitle)>,
}

/// A title that a computer has: what tells it from all others, its number, itself.
type Present = (Vec<u8>, i64, SoftwareTitle);

impl Difference {
    /// From nothing to these.
    pub fn all(titles: &[SoftwareTitle]) -> Self {
        Self::between(Vec::new(), titles)
    }

    /// Titles that come.
    pub fn come(&self) -> impl Iterator<Item = &SoftwareTitle> {
        self.new.iter().map(|(_, title)| title)
    }

    /// Titles that go.
    pub fn gone(&self) -> impl Iterator<Item = &SoftwareTitle> {
        self.gone.iter().map(|(_, title)| title)
    }

    fn between(mut present: Vec<Present>, titles: &[SoftwareTitle]) -> Self {
        let mut wanted: Vec<(Vec<u8>, &SoftwareTitle)> = titles.iter().map(|title| (digest(title), title)).collect();
        wanted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        wanted.dedup_by(|a, b| a.0 == b.0);
        present.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let has = |digest: &[u8]| present.binary_search_by(|(known, ..)| known.as_slice().cmp(digest)).is_ok();
        let wants = |digest: &[u8]| wanted.binary_search_by(|(known, _)| known.as_slice().cmp(digest)).is_ok();
        let new = wanted.iter().filter(|(digest, _)| !has(digest));
        let new = new.map(|(digest, title)| (digest.clone(), (*title).clone())).collect();
        let gone = present.into_iter().filter(|(digest, ..)| !wants(digest)).map(|(_, id, title)| (id, title));
        Self { new, gone: gone.collect() }
    }
}

/// What keeps the computer's software from being these titles. A read: the one writer has better things to do.
pub fn difference(conn: &mut Conn, computer: ComputerId, titles: &[SoftwareTitle]) -> Result<Difference, StoreError> {
    let query = computer_software::table
        .inner_join(software::table.on(software::id.eq(computer_software::software_id)))
        .filter(computer_software::computer_id.eq(computer.0))
        .select((software::digest, software::id, (software::name, software::publisher, software::version)));
    let present: Vec<(Vec<u8>, i64, Columns)> = q!(conn => query.load(conn))?;
    let present = present.into_iter().map(|(digest, id, columns)| (digest, id, title(columns)));
    Ok(Difference::between(present.collect(), titles))
}

/// Writes a difference from what is there; gives how many titles were added and how many removed.
pub fn apply(conn: &mut Conn, computer: ComputerId, difference: &Difference) -> Result<(usize, usize), StoreError> {
    add(conn, computer, &difference.new)?;
    let gone: Vec<i64> = difference.gone.iter().map(|(id, _)| *id).collect();
    remove(conn, computer, &gone)?;
    Ok((difference.new.len(), difference.gone.len()))
}

/// Makes the computer's software these titles: [`difference`] and [`apply`] in one.
pub fn set(conn: &mut Conn, computer: ComputerId, titles: &[SoftwareTitle]) -> Result<(usize, usize), StoreError> {
    let difference = difference(conn, computer, titles)?;
    apply(conn, computer, &difference)
}

fn add(conn: &mut Conn, computer: ComputerId, new: &[(Vec<u8>, SoftwareTitle)]) -> Result<(), StoreError> {
    // Far below what a statement takes, so that a computer's first inventory is a few statements of one form.
    const AT_ONCE: usize = 500;
    let mut ids: Vec<i64> = Vec::with_capacity(new.len());
    for chunk in new.chunks(AT_ONCE) {
        let digests: Vec<&[u8]> = chunk.iter().map(|(digest, _)| digest.as_slice()).collect();
        let query = software::table.filter(software::digest.eq_any(digests)).select((software::digest, software::id));
        let mut known: Vec<(Vec<u8>, i64)> = q!(conn => query.load(conn))?;
        known.sort_unstable();
        let unknown: Vec<TitleRow<'_>> = chunk
            .iter()
            .filter(|(digest, _)| known.binary_search_by(|(other, _)| other.cmp(digest)).is_err())
            .map(|(digest, title)| TitleRow {
                digest: digest.clone(),
                name: text(&title.name),
                name_key: text(&title.name).to_lowercase(),
                publisher: text(&title.publisher),
                version: text(&title.version),
            })
            .collect();
        ids.extend(known.iter().map(|(_, id)| *id));
        if !unknown.is_empty() {
            let made: Vec<i64> = q!(conn => diesel::insert_into(software::table)
                .values(&unknown)
                .returning(software::id)
                .get_results(conn))?;
            ids.extend(made);
        }
    }
    // In the order of the key, so that the pages of the tree are written one after the other.
    ids.sort_unstable();
    for chunk in ids.chunks(rows_of(2)) {
        let pairs: Vec<_> = chunk
            .iter()
            .map(|id| (computer_software::computer_id.eq(computer.0), computer_software::software_id.eq(*id)))
            .collect();
        q!(conn => diesel::insert_into(computer_software::table).values(&pairs).execute(conn))?;
    }
    Ok(())
}

fn remove(conn: &mut Conn, computer: ComputerId, gone: &[i64]) -> Result<(), StoreError> {
    for chunk in gone.chunks(rows_of(2)) {
        let pairs = computer_software::table
            .filter(computer_software::computer_id.eq(computer.0))
            .filter(computer_software::software_id.eq_any(chunk));
        q!(conn => diesel::delete(pairs).execute(conn))?;
        let kept = computer_software::table.filter(computer_software::software_id.eq(software::id));
        let orphans =
            software::table.filter(software::id.eq_any(chunk)).filter(diesel::dsl::not(diesel::dsl::exists(kept)));
        q!(conn => diesel::delete(orphans).execute(conn))?;
    }
    Ok(())
}

/// What a computer has, by name and version.
pub fn of_computer(conn: &mut Conn, computer: ComputerId) -> Result<Vec<SoftwareTitle>, StoreError> {
    let query = computer_software::table
        .inner_join(software::table.on(software::id.eq(computer_software::software_id)))
        .filter(computer_software::computer_id.eq(computer.0))
        .order((software::name_key, software::name, software::version, software::publisher))
        .select((software::name, software::publisher, software::version));
    let found: Vec<Columns> = q!(conn => query.load(conn))?;
    Ok(found.into_iter().map(title).collect())
}

/// Titles whose name has `part` in it, letters compared without case; every title if it is empty. Those that most
/// computers have first, at most `limit`.
pub fn list(conn: &mut Conn, part: &str, limit: usize) -> Result<Vec<TitleCount>, StoreError> {
    let pattern = format!("%{}%", escape(&text(part).to_lowercase()));
    let count = diesel::dsl::count(computer_software::computer_id);
    let query = software::table
        .inner_join(computer_software::table.on(computer_software::software_id.eq(software::id)))
        .inner_join(computers::table.on(computers::id.eq(computer_software::computer_id)))
        .filter(computers::archived_at.is_null())
        .filter(software::name_key.like(pattern).escape('\\'))
        .group_by((software::id, software::name, software::name_key, software::publisher, software::version))
        .order((count.desc(), software::name_key, software::version, software::id))
        .limit(rows(limit))
        .select(((software::name, software::publisher, software::version), count));
    let found: Vec<(Columns, i64)> = q!(conn => query.load(conn))?;
    let line = |(columns, count): (Columns, i64)| TitleCount { title: title(columns), computers: count.unsigned_abs() };
    Ok(found.into_iter().map(line).collect())
}

/// Which computers that are not archived have a title of that name, letters compared without case; at most `limit`.
pub fn named(conn: &mut Conn, name: &str, limit: usize) -> Result<Vec<TitleOn>, StoreError> {
    let query = software::table
        .inner_join(computer_software::table.on(computer_software::software_id.eq(software::id)))
        .inner_join(computers::table.on(computers::id.eq(computer_software::computer_id)))
        .filter(computers::archived_at.is_null())
        .filter(software::name_key.eq(text(name).to_lowercase()))
        .order((software::version, software::publisher, software::id, computers::name_key, computers::id))
        .limit(rows(limit))
        .select((
            (software::name, software::publisher, software::version),
            (computers::id, computers::name, computers::device_id),
        ));
    let found: Vec<(Columns, (i64, String, String))> = q!(conn => query.load(conn))?;
    let line = |(columns, (id, computer_name, device_id)): (Columns, (i64, String, String))| TitleOn {
        title: title(columns),
        computer: ComputerId(id),
        computer_name,
        device_id,
    };
    Ok(found.into_iter().map(line).collect())
}

/// A program: titles of one name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    /// Its name as one of its titles writes it.
    pub name: String,
    /// By which the list goes on.
    pub key: String,
    /// The publisher that one of its titles names.
    pub publisher: String,
    /// How many versions and publishers there are.
    pub titles: u64,
    /// Installations on computers that are not archived: one that has two versions counts twice.
    pub installations: u64,
    /// Are there more? A title is counted up to a thousand.
    pub more: bool,
}

/// Computers of a title that a list counts.
const COUNTED: i64 = 1000;

/// Programs whose name has `part` in it, letters compared without case, in order of their names after `after`, at most
/// `limit`. Reads the titles of those programs and no others from the index.
pub fn programs(conn: &mut Conn, part: &str, after: Option<&str>, limit: usize) -> Result<Vec<Program>, StoreError> {
    type Found = (String, Option<String>, Option<String>, i64);
    let pattern = format!("%{}%", escape(&text(part).to_lowercase()));
    let after = after.unwrap_or_default();
    let query = software::table
        .filter(software::name_key.like(pattern).escape('\\'))
        .filter(software::name_key.gt(after))
        .group_by(software::name_key)
        .order(software::name_key)
        .limit(rows(limit))
        .select((
            software::name_key,
            diesel::dsl::min(software::name),
            diesel::dsl::max(software::publisher),
            diesel::dsl::count_star(),
        ));
    let found: Vec<Found> = q!(conn => query.load(conn))?;
    let keys: Vec<&str> = found.iter().map(|(key, ..)| key.as_str()).collect();
    let titles: Vec<(i64, String)> = q!(conn => software::table
        .filter(software::name_key.eq_any(&keys))
        .select((software::id, software::name_key))
        .load(conn))?;
    let ids: Vec<i64> = titles.iter().map(|(id, _)| *id).collect();
    let mut few = Vec::new();
    let mut many = BTreeSet::new();
    for id in ids {
        let beyond = computer_software::table
            .filter(computer_software::software_id.eq(id))
            .order(computer_software::computer_id)
            .offset(COUNTED)
            .limit(1)
            .select(computer_software::computer_id);
        let beyond: Option<i64> = q!(conn => beyond.first(conn).optional())?;
        if beyond.is_some() {
            many.insert(id);
        } else {
            few.push(id);
        }
    }
    let counts = counts(conn, &few)?;
    let count =
        |id: &i64| if many.contains(id) { COUNTED.unsigned_abs() } else { counts.get(id).copied().unwrap_or(0) };
    Ok(found
        .into_iter()
        .map(|(key, name, publisher, versions)| {
            let own = || titles.iter().filter(|(_, other)| *other == key).map(|(id, _)| id);
            Program {
                installations: own().map(count).sum(),
                more: own().any(|id| many.contains(id)),
                name: name.unwrap_or_default(),
                publisher: publisher.unwrap_or_default(),
                titles: versions.unsigned_abs(),
                key,
            }
        })
        .collect())
}

/// Every title of that name, letters compared without case, with its computers; those that most have first.
pub fn versions(conn: &mut Conn, name: &str) -> Result<Vec<TitleCount>, StoreError> {
    let found: Vec<(i64, Columns)> = q!(conn => software::table
        .filter(software::name_key.eq(text(name).to_lowercase()))
        .order(software::id)
        .limit(2000)
        .select((software::id, (software::name, software::publisher, software::version)))
        .load(conn))?;
    let ids: Vec<i64> = found.iter().map(|(id, _)| *id).collect();
    let counts = counts(conn, &ids)?;
    let line = |(id, columns)| TitleCount { title: title(columns), computers: counts.get(&id).copied().unwrap_or(0) };
    let mut lines: Vec<TitleCount> = found.into_iter().map(line).collect();
    lines.sort_by(|a, b| b.computers.cmp(&a.computers).then_with(|| a.title.cmp(&b.title)));
    Ok(lines)
}

/// How many computers that are not archived have each of these titles: all of them, less the few that are archived, so
/// that both are read from indexes alone.
fn counts(conn: &mut Conn, ids: &[i64]) -> Result<BTreeMap<i64, u64>, StoreError> {
    let mut counts = BTreeMap::new();
    for chunk in ids.chunks(rows_of(2)) {
        let all: Vec<(i64, i64)> = q!(conn => computer_software::table
            .filter(computer_software::software_id.eq_any(chunk))
            .group_by(computer_software::software_id)
            .select((computer_software::software_id, diesel::dsl::count_star()))
            .load(conn))?;
        counts.extend(all.into_iter().map(|(id, count)| (id, count.unsigned_abs())));
        let archived: Vec<(i64, i64)> = q!(conn => computers::table
            .inner_join(computer_software::table.on(computer_software::computer_id.eq(computers::id)))
            .filter(computers::archived_at.is_not_null())
            .filter(computer_software::software_id.eq_any(chunk))
            .group_by(computer_software::software_id)
            .select((computer_software::software_id, diesel::dsl::count_star()))
            .load(conn))?;
        for (id, count) in archived {
            counts.entry(id).and_modify(|all: &mut u64| *all = all.saturating_sub(count.unsigned_abs()));
        }
    }
    Ok(counts)
}

/// Lets go of everything that a computer has.
pub(super) fn forget(conn: &mut Conn, computer: ComputerId) -> Result<(), StoreError> {
    let query = computer_software::table
        .filter(computer_software::computer_id.eq(computer.0))
        .select(computer_software::software_id);
    let all: Vec<i64> = q!(conn => query.load(conn))?;
    remove(conn, computer, &all)
}

/// How many titles there are.
pub fn count(conn: &mut Conn) -> Result<u64, StoreError> {
    let count: i64 = q!(conn => software::table.count().get_result(conn))?;
    Ok(count.unsigned_abs())
}

/// What LIKE takes as it is.
fn escape(part: &str) -> String {
    let mut escaped = String::with_capacity(part.len());
    for character in part.chars() {
        if matches!(character, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
