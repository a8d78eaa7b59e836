//! Computers: look for them, look at one, say something about it, put it away.

pub mod details;
mod many;

use std::io::Read as _;

use flate2::read::ZlibDecoder;
use serde_json::json;

use super::super::account;
use super::super::assign::named;
use super::super::duplicates;
use super::super::query;
use super::super::settings::{self as setting_service, Changed, Explanation, Layers, Whose};
use super::super::why::{self, Why};
use super::notes as removed;
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::limits::RequestLimits;
use crate::model::query::Query;
use crate::model::settings::SettingKey;
use crate::model::{Computer, ComputerId, Job, JobId, PackageId, UnixTime};
use crate::protocol::SoftwareTitle;
use crate::protocol::xml::{self, Element};
use crate::store::events::{Event, EventKind};
use crate::store::fields::Field;
use crate::store::groups::Reason;
use crate::store::installations::Via;
use crate::store::jobs::JobLine;
use crate::store::listing::{self, Place, Sort};
use crate::store::merges::Merge;
use crate::store::notes::{self, Note};
use crate::store::search;
use crate::store::sections::{self, Change as Difference};
use crate::store::{
    Conn, StoreError, computers, events, fields, groups, installations, jobs, merges, packages, software,
};

pub use many::{Bulk, BulkDone, Chosen, ManyPreview};

/// Characters of a note.
const LONGEST_NOTE: usize = 4000;
/// Notes that are shown.
const MOST_NOTES: usize = 200;

/// Which computers a list shows.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// In the query language; blank for all.
    pub query: String,
    /// Those that were put away.
    pub archived: bool,
    /// The order.
    pub sort: Sort,
    /// The other way round.
    pub descending: bool,
    /// After which place.
    pub after: Option<Place>,
}

/// A page of the list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The computers.
    pub rows: Vec<Computer>,
    /// Are there more after these?
    pub more: bool,
    /// How many there are on all pages.
    pub total: u64,
    /// How many are put away; known to those who see all.
    pub archived: Option<u64>,
}

/// Everything that an overview says of a computer.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The computer.
    pub computer: Computer,
    /// Every field that there is, with what it says here.
    pub fields: Vec<(Field, String)>,
    /// Groups, why, by name.
    pub groups: Vec<(String, Reason)>,
    /// Notes, newest first.
    pub notes: Vec<Note>,
    /// Its adapters' addresses: IP and MAC.
    pub adapters: Vec<(String, String)>,
    /// Merges that it had a part in, with the other computer.
    pub merges: Vec<(Merge, Option<Computer>)>,
    /// When a message in its name was last refused, as far as that was told.
    pub refused: Option<UnixTime>,
}

/// A section of the inventory as a table.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Section {
    /// Its name on the wire.
    pub name: String,
    /// The columns.
    pub columns: Vec<String>,
    /// As many texts a row as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// A package that a computer had to do with.
#[derive(Clone, Debug)]
pub struct PackageOn {
    /// The package.
    pub package: PackageId,
    /// Name and version, if this server has it.
    pub name: Option<String>,
    /// Its newest job.
    pub job: Option<Job>,
    /// What the ledger says: from where, since when.
    pub ledger: Vec<(Via, UnixTime)>,
    /// Why it is where it is, if this server has the package.
    pub why: Option<Why>,
}

impl Desk {
    /// The queries that limit a list: what was asked, and the actor's scope.
    pub(super) fn wanted(&self, asked: &Asked) -> Result<listing::Wanted, Refusal> {
        let mut queries: Vec<Query> = self.actor.scope.computers.iter().cloned().collect();
        let text = asked.query.trim().to_owned();
        if !text.is_empty() {
            let query = self.app.store.read_now(move |conn| query::read(conn, &text));
            queries.push(query.map_err(|error| Refusal::from(error).about("q"))?);
        }
        Ok(listing::Wanted {
            queries,
            archived: asked.archived,
            sort: asked.sort,
            descending: asked.descending,
            after: asked.after.clone(),
        })
    }

    /// A page of the list of computers, at most `limit`.
    pub fn computers(&self, asked: &Asked, limit: usize) -> Result<Listed, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        let wanted = self.wanted(asked)?;
        let now = app.clock.now();
        Ok(app.store.read_now(move |conn| -> Result<_, StoreError> {
            let (mut rows, total) = listing::page_and_count(conn, &wanted, now, limit + 1)?;
            let more = rows.len() > limit;
            rows.truncate(limit);
            // Counted without a look at anybody; a query would have to say of each whether it fits.
            let archived = if wanted.queries.is_empty() { Some(listing::totals(conn)?.1) } else { None };
            Ok(Listed { rows, more, total, archived })
        })?)
    }

    /// A page without its total: for exports, which read page after page.
    pub fn computers_after(&self, asked: &Asked, limit: usize) -> Result<Vec<Computer>, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        let (wanted, now) = (self.wanted(asked)?, app.clock.now());
        Ok(app.store.read_now(move |conn| listing::page(conn, &wanted, now, limit))?)
    }

    /// One computer by device id, or by its name if that is one computer's alone.
    pub fn computer(&self, name: &str) -> Result<Computer, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        let owned = name.to_owned();
        let found = app.store.read_now(move |conn| named(conn, &owned))?;
        self.allow_computer(&found)?;
        Ok(found)
    }

    /// What there is to say of one.
    pub fn computer_overview(&self, name: &str) -> Result<Overview, Refusal> {
        let computer = self.computer(name)?;
        Ok(self.app.store.read_now(move |conn| overview(conn, computer))?)
    }

    /// The inventory document as it came; `None` if there is none.
    pub fn inventory_document(&self, name: &str) -> Result<(Computer, Option<Vec<u8>>), Refusal> {
        let computer = self.computer(name)?;
        let id = computer.id;
        let stored = self.app.store.read_now(move |conn| computers::document(conn, id))?;
        let document = stored
            .map(|stored| {
                let mut document = Vec::new();
                // What was taken was smaller: this only bounds what a damaged row could become.
                let most = self.app.request_limits.inflated as u64;
                ZlibDecoder::new(&stored[..]).take(most).read_to_end(&mut document).map(|_| document)
            })
            .transpose()
            .map_err(Refusal::failed)?;
        Ok((computer, document))
    }

    /// Every section of the inventory as a table, software apart; the largest document takes some milliseconds.
    pub fn inventory_sections(&self, name: &str) -> Result<(Computer, Vec<Section>), Refusal> {
        let (computer, document) = self.inventory_document(name)?;
        let sections = document.map(|document| tables(&document, &self.app.request_limits)).unwrap_or_default();
        Ok((computer, sections))
    }

    /// What is installed there.
    pub fn computer_software(&self, name: &str) -> Result<(Computer, Vec<SoftwareTitle>), Refusal> {
        let computer = self.computer(name)?;
        let id = computer.id;
        let titles = self.app.store.read_now(move |conn| software::of_computer(conn, id))?;
        Ok((computer, titles))
    }

    /// What changed between its inventories, newest first.
    pub fn computer_changes(&self, name: &str, limit: usize) -> Result<(Computer, Vec<Difference>), Refusal> {
        let computer = self.computer(name)?;
        let id = computer.id;
        let changes = self.app.store.read_now(move |conn| sections::changes(conn, id, limit))?;
        Ok((computer, changes))
    }

    /// Packages that it has a job of, or has had, newest first; those of the actor's families.
    pub fn computer_packages(&self, name: &str) -> Result<(Computer, Vec<PackageOn>), Refusal> {
        const MOST: usize = 200;
        const EXPLAINED: usize = 50;
        let computer = self.computer(name)?;
        let (id, scope) = (computer.id, self.actor.scope.clone());
        let mut lines = self.app.store.read_now(move |conn| -> Result<_, StoreError> {
            let mut lines: Vec<PackageOn> = Vec::new();
            for line in newest_jobs(conn, id)? {
                if scope.has_family(&line.package_name) && lines.len() < MOST {
                    let name = Some(format!("{} {}", line.package_name, line.package_version));
                    let package = line.job.package;
                    lines.push(PackageOn { package, name, job: Some(line.job), ledger: Vec::new(), why: None });
                }
            }
            for (package, via, since) in installations::of_computer(conn, id)? {
                if let Some(line) = lines.iter_mut().find(|line| line.package == package) {
                    line.ledger.push((via, since));
                    continue;
                }
                let known = packages::find(conn, package)?;
                // A package of another server is of no family of ours.
                let seen = known.as_ref().map_or(scope.families.is_empty(), |known| scope.has_family(&known.name));
                if seen && lines.len() < MOST {
                    let name = known.map(|known| format!("{} {}", known.name, known.version));
                    lines.push(PackageOn { package, name, job: None, ledger: vec![(via, since)], why: None });
                }
            }
            Ok(lines)
        })?;
        for line in lines.iter_mut().filter(|line| line.job.is_some()).take(EXPLAINED) {
            line.why = why::why(&self.app, computer.device_id.as_str(), line.package).ok();
        }
        Ok((computer, lines))
    }

    /// Why a package is where it is on a computer, and what was said about it there, oldest first.
    pub fn computer_why(&self, name: &str, package: PackageId) -> Result<(Why, Vec<Event>), Refusal> {
        self.allow(Right::SeePackages)?;
        let computer = self.computer(name)?;
        let why = why::why(&self.app, computer.device_id.as_str(), package)?;
        self.allow_package(&why.package)?;
        let id = computer.id;
        let mut said = self.app.store.read_now(move |conn| events::list(conn, Some(id), Some(package), 200))?;
        said.reverse();
        Ok((why, said))
    }

    /// Every setting with its origin.
    pub fn computer_settings(&self, name: &str) -> Result<(Computer, Vec<Explanation>), Refusal> {
        self.allow(Right::SeeSettings)?;
        let computer = self.computer(name)?;
        let (id, configured) = (computer.id, self.app.configured.clone());
        let layers = self.app.store.read_now(move |conn| Layers::load(conn, &configured, Some(id)))?;
        Ok((computer, SettingKey::ALL.into_iter().map(|key| layers.explain(key)).collect()))
    }

    /// Sets a setting for one computer, or takes it back.
    pub fn set_computer_setting(&self, name: &str, key: SettingKey, value: Option<&str>) -> Result<Changed, Refusal> {
        let computer = self.computer(name)?;
        let whose = Whose::Computer(computer.device_id.to_string());
        let before = self.app.store.read_now({
            let id = computer.id;
            move |conn| crate::store::settings::layer(conn, crate::store::settings::Scope::Computer(id))
        })?;
        let change = Change::new("setting", subject(&computer))
            .before(json!({ key.info().name: before.value(key) }))
            .after(json!({ key.info().name: value }));
        let app = self.changing(Right::EditSettings, change)?;
        Ok(match value {
            Some(value) => {
                setting_service::set(&app, key, value, whose).map_err(|error| Refusal::from(error).about("value"))?
            }
            None => setting_service::unset(&app, key, whose)?,
        })
    }

    /// Gives a computer another tag; blank takes it back.
    pub fn set_tag(&self, name: &str, tag: &str) -> Result<(), Refusal> {
        let computer = self.computer(name)?;
        let change = Change::new("computer tag", subject(&computer))
            .before(json!({ "tag": computer.tag }))
            .after(json!({ "tag": tag.trim() }));
        let app = self.changing(Right::EditComputers, change)?;
        account::set_tag(&app, computer.device_id.as_str(), Some(tag))
            .map_err(|error| Refusal::from(error).about("tag"))?;
        Ok(())
    }

    /// Writes a field of a computer; blank takes it back.
    pub fn set_field(&self, name: &str, field: &str, value: &str) -> Result<(), Refusal> {
        let computer = self.computer(name)?;
        let id = computer.id;
        let before = self.app.store.read_now(move |conn| fields::of_computer(conn, id))?;
        let before = before.into_iter().find(|(known, _)| known.name.eq_ignore_ascii_case(field.trim()));
        let change = Change::new("computer field", subject(&computer))
            .before(json!({ "field": field.trim(), "value": before.map(|(_, value)| value) }))
            .after(json!({ "field": field.trim(), "value": value.trim() }));
        let app = self.changing(Right::EditComputers, change)?;
        let value = Some(value).filter(|value| !value.trim().is_empty());
        account::set_field(&app, computer.device_id.as_str(), field, value)
            .map_err(|error| Refusal::from(error).about("value"))?;
        Ok(())
    }

    /// Leaves a note; gives its number.
    pub fn add_note(&self, name: &str, text: &str) -> Result<i64, Refusal> {
        let computer = self.computer(name)?;
        let text = text.trim().to_owned();
        if text.is_empty() || text.chars().count() > LONGEST_NOTE {
            return Err(Refusal::invalid(format!("a note has 1 to {LONGEST_NOTE} characters")).about("note"));
        }
        let change = Change::new("computer note", subject(&computer)).after(json!({ "note": text }));
        let app = self.changing(Right::EditComputers, change)?;
        let (now, author) = (app.clock.now(), self.actor.label());
        Ok(app.store.write_now(move |conn| notes::add(conn, computer.id, now, &author, &text))?)
    }

    /// Removes a note.
    pub fn remove_note(&self, name: &str, note: i64) -> Result<(), Refusal> {
        let computer = self.computer(name)?;
        let id = computer.id;
        let known = self.app.store.read_now(move |conn| notes::of_computer(conn, id, usize::MAX))?;
        let known = known.into_iter().find(|one| one.id == note);
        let known = known.ok_or_else(|| Refusal::not_found("there is no such note on this computer"))?;
        let change = Change::new(removed::REMOVE, subject(&computer)).before(removed::written(&known));
        let app = self.changing(Right::EditComputers, change)?;
        app.store.write_now(move |conn| notes::delete(conn, id, note))?;
        Ok(())
    }

    /// Puts a computer away.
    pub fn archive_computer(&self, name: &str) -> Result<Computer, Refusal> {
        let computer = self.computer(name)?;
        let app = self.changing(Right::RemoveComputers, Change::new("computer archive", subject(&computer)))?;
        Ok(duplicates::archive(&app, computer.device_id.as_str())?)
    }

    /// Takes a computer back that was put away.
    pub fn restore_computer(&self, name: &str) -> Result<Computer, Refusal> {
        let computer = self.computer(name)?;
        let app = self.changing(Right::RemoveComputers, Change::new("computer restore", subject(&computer)))?;
        Ok(duplicates::restore(&app, computer.device_id.as_str())?)
    }

    /// Erases a computer that was put away. Its events and lines of the audit log stay.
    pub fn delete_computer(&self, name: &str) -> Result<Computer, Refusal> {
        let computer = self.computer(name)?;
        if computer.archived_at.is_none() {
            return Err(Refusal::conflict(format!(
                "{} is not archived: archive it first, so that a slip can be undone",
                computer.device_id
            )));
        }
        let change = Change::new("computer delete", subject(&computer))
            .before(json!({ "name": computer.name, "tag": computer.tag, "serial": computer.serial }));
        let app = self.changing(Right::RemoveComputers, change)?;
        let id = computer.id;
        app.store.write_now(move |conn| computers::delete(conn, id))?;
        Ok(computer)
    }

    /// Makes one computer of two: `into` takes what was `old`'s, and `old` is put away.
    pub fn merge_computers(&self, old: &str, into: &str) -> Result<(Computer, Computer), Refusal> {
        let old = self.computer(old)?;
        let into = self.computer(into).map_err(|refusal| refusal.about("into"))?;
        let change = Change::new("computer merge", subject(&old)).after(json!({ "into": into.device_id.as_str() }));
        let app = self.changing(Right::RemoveComputers, change)?;
        let by = self.actor.label();
        duplicates::merge(&app, old.device_id.as_str(), into.device_id.as_str(), &by)
            .map_err(|error| Refusal::from(error).about("into"))
    }

    /// Takes the newest merge of a computer back.
    pub fn unmerge_computer(&self, name: &str) -> Result<(Computer, Computer), Refusal> {
        let computer = self.computer(name)?;
        let app = self.changing(Right::RemoveComputers, Change::new("computer unmerge", subject(&computer)))?;
        Ok(duplicates::unmerge(&app, computer.device_id.as_str())?)
    }

    /// Names of all groups, for a form.
    pub fn names_of_groups(&self) -> Result<Vec<String>, Refusal> {
        let app = self.reading(Right::SeeGroups)?;
        Ok(app.store.read_now(groups::list)?.into_iter().map(|group| group.name).collect())
    }

    /// Computers by what people type: the beginning of a name, or a whole address, serial number, user or MAC.
    pub fn find_computers(&self, typed: &str, limit: usize) -> Result<Vec<Computer>, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        let typed = typed.trim().to_owned();
        if typed.is_empty() {
            return Ok(Vec::new());
        }
        let (scope, now) = (self.actor.scope.computers.clone(), app.clock.now());
        Ok(app.store.read_now(move |conn| -> Result<_, StoreError> {
            let mut found = listing::find(conn, &typed, limit.saturating_mul(if scope.is_some() { 20 } else { 1 }))?;
            if let Some(scope) = scope {
                let mut seen = Vec::new();
                for computer in found {
                    let facts = search::facts(conn, computer.id, [&scope])?;
                    if facts.is_some_and(|facts| scope.matches(&facts, now).unwrap_or(false)) {
                        seen.push(computer);
                    }
                }
                found = seen;
            }
            found.truncate(limit);
            Ok(found)
        })?)
    }
}

fn subject(computer: &Computer) -> String {
    format!("computer {}", computer.device_id)
}

fn overview(conn: &mut Conn, computer: Computer) -> Result<Overview, StoreError> {
    let id = computer.id;
    let said = fields::of_computer(conn, id)?;
    let all = fields::list(conn)?.into_iter().map(|field| {
        let value = said.iter().find(|(known, _)| known.id == field.id).map(|(_, value)| value.clone());
        (field, value.unwrap_or_default())
    });
    let places = groups::of_computer(conn, id)?;
    let named = groups::list(conn)?.into_iter();
    let of = named.filter_map(|group| places.get(&group.id).map(|reason| (group.name, *reason))).collect();
    let mut with = Vec::new();
    for merge in merges::of_computer(conn, id)? {
        let other = if merge.old == id { merge.new } else { merge.old };
        with.push((merge, computers::find(conn, other)?));
    }
    let adapters = computers::networks(conn, id)?;
    Ok(Overview {
        fields: all.collect(),
        groups: of,
        notes: notes::of_computer(conn, id, MOST_NOTES)?,
        adapters: adapters.into_iter().map(|adapter| (adapter.ip_address, adapter.mac)).collect(),
        merges: with,
        refused: events::last_of(conn, id, EventKind::Refused)?,
        computer,
    })
}

/// The newest job of each package, newest first.
fn newest_jobs(conn: &mut Conn, computer: ComputerId) -> Result<Vec<JobLine>, StoreError> {
    const PAGE: usize = 1000;
    let (mut newest, mut after): (Vec<JobLine>, Option<JobId>) = (Vec::new(), None);
    loop {
        let page = jobs::list(conn, None, Some(computer), after, PAGE)?;
        let last = page.len() < PAGE;
        after = page.last().map(|line| line.job.id);
        for line in page {
            newest.retain(|known| known.job.package != line.job.package);
            newest.push(line);
        }
        if last {
            newest.reverse();
            return Ok(newest);
        }
    }
}

/// The sections of a document: elements of one name are the rows of one table.
fn tables(document: &[u8], limits: &RequestLimits) -> Vec<Section> {
    const MOST_ROWS: usize = 2000;
    const MOST_COLUMNS: usize = 40;
    let Ok(root) = xml::parse(document, limits) else { return Vec::new() };
    let Some(content) = root.child("CONTENT") else { return Vec::new() };
    let mut sections: Vec<Section> = Vec::new();
    for element in content.children.iter().filter(|element| !element.children.is_empty()) {
        if matches!(element.name.as_str(), "SOFTWARES" | "DOWNLOAD") {
            continue;
        }
        let at = sections.iter().position(|section| section.name == element.name).unwrap_or_else(|| {
            sections.push(Section { name: element.name.clone(), ..Section::default() });
            sections.len() - 1
        });
        let section = &mut sections[at];
        if section.rows.len() >= MOST_ROWS {
            continue;
        }
        let mut row = vec![String::new(); section.columns.len()];
        for (name, text) in leaves(element) {
            let column = section.columns.iter().position(|known| *known == name);
            match column {
                Some(column) if column < row.len() => row[column] = text,
                None if section.columns.len() < MOST_COLUMNS => {
                    section.columns.push(name);
                    row.push(text);
                }
                _ => {}
            }
        }
        section.rows.push(row);
    }
    for section in &mut sections {
        let wide = section.columns.len();
        section.rows.iter_mut().for_each(|row| row.resize(wide, String::new()));
        // A column in which nothing stands says nothing.
        let empty: Vec<usize> =
            (0..wide).filter(|column| section.rows.iter().all(|row| row[*column].is_empty())).collect();
        for column in empty.into_iter().rev() {
            section.columns.remove(column);
            section.rows.iter_mut().for_each(|row| drop(row.remove(column)));
        }
    }
    sections.retain(|section| !section.columns.is_empty());
    sections.sort_by(|a, b| a.name.cmp(&b.name));
    sections
}

fn leaves(element: &Element) -> impl Iterator<Item = (String, String)> {
    element.children.iter().map(|leaf| {
        let inner: Vec<&str> = leaf.children.iter().map(|child| child.text.trim()).collect();
        let text = if inner.is_empty() { leaf.text.trim().to_owned() } else { inner.join(", ") };
        (leaf.name.clone(), text)
    })
}

#[cfg(test)]
mod tests;
