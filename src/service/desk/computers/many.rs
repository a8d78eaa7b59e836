//! The same for many computers: those that are named, or every one of a list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::super::App;
use super::super::super::account;
use super::super::super::fields as own_fields;
use super::super::super::groups::{self as group_service, Mark, Refreshed};
use super::super::super::mass;
use super::super::super::settings as setting_service;
use super::super::super::wake;
use super::super::{Change, Desk, Refusal};
use super::Asked;
use crate::model::access::Right;
use crate::model::settings::SettingKey;
use crate::model::{Computer, ComputerId, DeviceId, UnixTime};
use crate::store::mass::{MassChange, What};
use crate::store::{Conn, StoreError, computers, listing, merges, search};

/// Computers that one transaction of a bulk change holds.
const AT_ONCE: usize = 200;
/// Computers that the audit log names one by one.
const NAMED: usize = 500;

/// Computers for a change of many.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// These, by device id or name.
    Named(Vec<String>),
    /// Every one that a list shows, on all its pages.
    All(Asked),
}

/// What is done to many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Bulk {
    /// Another tag; blank takes it back.
    Tag(String),
    /// A value for a field of the administrators' own, by its name or number; blank takes it back.
    Field {
        /// Which field.
        field: String,
        /// What it says.
        value: String,
    },
    /// A setting of their own; `None` takes it back.
    Setting {
        /// Which setting.
        key: SettingKey,
        /// Its value.
        value: Option<String>,
    },
    /// Put away.
    Archive,
    /// Taken back.
    Restore,
    /// Erased; only what was put away.
    Delete,
    /// Made members of a group.
    Include(String),
    /// Woken over the network.
    Wake,
}

impl Bulk {
    fn right(&self) -> Right {
        match self {
            Self::Tag(_) | Self::Field { .. } => Right::EditComputers,
            Self::Setting { .. } => Right::EditSettings,
            Self::Archive | Self::Restore | Self::Delete => Right::RemoveComputers,
            Self::Include(_) => Right::EditGroups,
            Self::Wake => Right::WakeComputers,
        }
    }

    /// Its words in the audit log, and what is asked for.
    fn words(&self) -> (&'static str, Value) {
        match self {
            Self::Tag(tag) => ("computer tag", json!({ "tag": tag.trim() })),
            Self::Field { field, value } => ("computer field", json!({ "field": field, "value": value.trim() })),
            Self::Setting { key, value } => ("setting", json!({ key.info().name: value })),
            Self::Archive => ("computer archive", json!(null)),
            Self::Restore => ("computer restore", json!(null)),
            Self::Delete => ("computer delete", json!(null)),
            Self::Include(group) => ("group include", json!({ "group": group })),
            Self::Wake => ("computer wake", json!(null)),
        }
    }
}

/// What became of a change of many.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BulkDone {
    /// Changed.
    pub changed: usize,
    /// Left alone: they were so already, or may not be changed so.
    pub left: usize,
    /// The number to take it back by, where that can be done.
    pub undo: Option<i64>,
    /// Computers with which it could not be done: of these to be woken, those without an address of a card.
    pub unable: usize,
    /// The first of them.
    pub named: Vec<DeviceId>,
}

impl From<mass::Written> for BulkDone {
    fn from(written: mass::Written) -> Self {
        Self { changed: written.changed, left: written.left, undo: written.undo, ..Self::default() }
    }
}

/// What a change of many would find.
#[derive(Clone, Debug, Default)]
pub struct ManyPreview {
    /// How many computers are meant.
    pub computers: usize,
    /// What they have now, with how many have it, the most frequent first; an empty text is nothing.
    pub present: Vec<(String, usize)>,
}

impl Desk {
    /// Every computer that is meant, asked now.
    pub fn chosen(&self, chosen: &Chosen) -> Result<Vec<DeviceId>, Refusal> {
        let ids = self.chosen_ids(chosen)?;
        let found = self.app.store.read_now(move |conn| computers::some(conn, &ids))?;
        let mut ids: Vec<DeviceId> = found.into_iter().map(|computer| computer.device_id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The first of them.
    pub fn first_chosen(&self, chosen: &Chosen, limit: usize) -> Result<Vec<DeviceId>, Refusal> {
        let mut ids = self.chosen_ids(chosen)?;
        ids.truncate(limit);
        let found = self.app.store.read_now(move |conn| computers::some(conn, &ids))?;
        Ok(found.into_iter().map(|computer| computer.device_id).collect())
    }

    /// Makes a group: of those whom a list's query asks for from now on, or of those who are meant now.
    pub fn group_of(&self, name: &str, chosen: &Chosen, dynamic: bool) -> Result<Refreshed, Refusal> {
        self.allow(Right::EditGroups)?;
        self.allow_all_computers()?;
        if dynamic {
            let Chosen::All(asked) = chosen else {
                return Err(Refusal::invalid(
                    "ticked computers are no query: make a group of those that are found now",
                ));
            };
            return self.create_group(name, Some(asked.query.trim()));
        }
        let ids = self.chosen_ids(chosen)?;
        let change = Change::new("group create", format!("group {name}")).after(json!({ "computers": ids.len() }));
        let app = self.changing(Right::EditGroups, change)?;
        Ok(group_service::create_of(&app, name, ids, &self.actor.name)?)
    }

    /// Their numbers.
    fn chosen_ids(&self, chosen: &Chosen) -> Result<Vec<ComputerId>, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        match chosen {
            Chosen::Named(names) => {
                let ids = names.iter().map(|name| self.computer(name).map(|computer| computer.id));
                let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
                ids.sort_unstable();
                ids.dedup();
                Ok(ids)
            }
            Chosen::All(asked) => {
                let (wanted, now) = (self.wanted(&Asked { after: None, ..asked.clone() })?, app.clock.now());
                Ok(app.store.read_now(move |conn| listing::ids(conn, &wanted, now))?)
            }
        }
    }

    /// What the computers have now of what a change would give them.
    pub fn preview_many(&self, chosen: &Chosen, bulk: &Bulk) -> Result<ManyPreview, Refusal> {
        let ids = self.chosen_ids(chosen)?;
        let mut preview = ManyPreview { computers: ids.len(), ..ManyPreview::default() };
        if matches!(bulk, Bulk::Wake) {
            preview.present = self.cards_of(ids)?;
            return Ok(preview);
        }
        let Some((what, _)) = self.given(bulk)? else { return Ok(preview) };
        let present = self.app.store.read_now(move |conn| mass::present(conn, what, &ids))?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let nothing = preview.computers - present.len();
        for value in present.into_values() {
            *counts.entry(value).or_default() += 1;
        }
        if nothing > 0 {
            *counts.entry(String::new()).or_default() += nothing;
        }
        preview.present = counts.into_iter().collect();
        preview.present.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(preview)
    }

    /// Does the same to many computers. The audit log has one line for all.
    pub fn change_many(&self, chosen: &Chosen, bulk: &Bulk) -> Result<BulkDone, Refusal> {
        self.allow(bulk.right())?;
        if let Bulk::Include(_) = bulk {
            // A group is not of some computers: who is in it decides what others get.
            self.allow(Right::SeeGroups)?;
        }
        let ids = self.chosen_ids(chosen)?;
        if ids.is_empty() {
            return Err(Refusal::invalid("no computer is chosen: tick some, or all of a list that is not empty"));
        }
        let given = self.given(bulk)?;
        let app = self.changing(bulk.right(), self.change_of(chosen, &ids, bulk)?)?;
        match (bulk, given) {
            (_, Some((what, value))) => {
                let (by, words, now) = (self.actor.label(), bulk.words().0, app.clock.now());
                Ok(app.store.write_now(move |conn| give(conn, what, &value, &ids, (by.as_str(), words), now))?)
            }
            (Bulk::Include(group), None) => include(&app, group, &ids),
            (Bulk::Wake, None) => self.wake(&app, &ids),
            (bulk, None) => apply_to(&app, bulk, &ids),
        }
    }

    /// What a change gives computers, checked; `None` for one that gives nothing.
    fn given(&self, bulk: &Bulk) -> Result<Option<(What, String)>, Refusal> {
        Ok(Some(match bulk {
            Bulk::Tag(tag) => {
                (What::Tag, account::checked_tag(tag).map_err(|error| Refusal::from(error).about("value"))?)
            }
            Bulk::Field { field, value } => {
                let known = own_fields::find(&self.app, field).map_err(|error| Refusal::from(error).about("field"))?;
                let value = known.field.kind.read(value);
                let value = value.map_err(|error| Refusal::invalid(error.to_string()).about("value"))?;
                (What::Field(known.field.id), value)
            }
            Bulk::Setting { key, value } => {
                let (key, value) = setting_service::for_computers(*key, value.as_deref())
                    .map_err(|error| Refusal::from(error).about("value"))?;
                (What::Setting(key), value.map(|value| value.to_string()).unwrap_or_default())
            }
            Bulk::Archive | Bulk::Restore | Bulk::Delete | Bulk::Include(_) | Bulk::Wake => return Ok(None),
        }))
    }

    /// How many of these can be woken, and how many cannot, in words.
    fn cards_of(&self, ids: Vec<ComputerId>) -> Result<Vec<(String, usize)>, Refusal> {
        let (with, without) = self.app.store.read_now(move |conn| wake::split(conn, &ids))?;
        let mut found = vec![("a network card that can be woken".to_owned(), with.len())];
        found.push(("no MAC address of a card: they are not woken".to_owned(), without.len()));
        found.retain(|(_, count)| *count > 0);
        Ok(found)
    }

    fn wake(&self, app: &App, ids: &[ComputerId]) -> Result<BulkDone, Refusal> {
        let asked = wake::ask_many(app, ids, &self.actor.label())?;
        let unable = asked.no_address.len();
        let first: Vec<ComputerId> = asked.no_address.into_iter().take(NAMED).collect();
        let named = app.store.read_now(move |conn| computers::some(conn, &first))?;
        let named = named.into_iter().map(|computer| computer.device_id).collect();
        Ok(BulkDone { changed: asked.asked, left: asked.waiting, undo: None, unable, named })
    }

    /// The line of the audit log.
    fn change_of(&self, chosen: &Chosen, ids: &[ComputerId], bulk: &Bulk) -> Result<Change, Refusal> {
        let whom = match chosen {
            Chosen::Named(_) => {
                let some = ids[..ids.len().min(NAMED)].to_vec();
                let some = self.app.store.read_now(move |conn| computers::some(conn, &some))?;
                json!(some.iter().map(|computer| computer.device_id.as_str()).collect::<Vec<_>>())
            }
            Chosen::All(asked) => json!({ "where": asked.query.trim(), "archived": asked.archived }),
        };
        let (words, value) = bulk.words();
        Ok(Change::new(words, format!("{} computers", ids.len())).after(json!({ "computers": whom, "change": value })))
    }

    /// A change of many that can be taken back, or was.
    pub fn mass_change(&self, id: i64) -> Result<MassChange, Refusal> {
        Ok(mass::find(self.reading(Right::SeeComputers)?, id)?)
    }

    /// Takes a change of many back, as far as nobody has changed the same since and as the scope goes.
    pub fn undo_many(&self, id: i64) -> Result<BulkDone, Refusal> {
        self.allow(Right::SeeComputers)?;
        let change = self.mass_change(id)?;
        let about_settings = |what: &What| matches!(what, What::Setting(_));
        let kinds = mass::kinds(&self.app, id)?;
        let right = if kinds.iter().any(about_settings) { Right::EditSettings } else { Right::EditComputers };
        let line = Change::new("computer undo", format!("change {id}"))
            .before(json!({ "did": change.words, "by": change.actor }));
        let app = self.changing(right, line)?;
        let (scope, now) = (self.actor.scope.computers.clone(), app.clock.now());
        let allowed: Option<BTreeSet<ComputerId>> = match scope {
            Some(scope) => Some(self.app.store.read_now(move |conn| search::ids(conn, &scope, now))?),
            None => None,
        };
        Ok(mass::undo(&app, id, allowed)?.into())
    }
}

/// One value for all of them, in one write: it can be taken back as one.
fn give(
    conn: &mut Conn,
    what: What,
    value: &str,
    ids: &[ComputerId],
    (by, words): (&str, &str),
    now: UnixTime,
) -> Result<BulkDone, StoreError> {
    let wanted: Vec<(ComputerId, String)> = ids.iter().map(|id| (*id, value.to_owned())).collect();
    let steps = mass::steps(conn, what, &wanted)?;
    let undo = mass::carry_out(conn, by, words, &steps, now)?;
    Ok(BulkDone { changed: steps.len(), left: ids.len() - steps.len(), undo, ..BulkDone::default() })
}

/// Some hundred in each transaction: what is asked first counts, and agents come through in between.
fn include(app: &App, group: &str, ids: &[ComputerId]) -> Result<BulkDone, Refusal> {
    let mut done = BulkDone::default();
    for chunk in ids.chunks(AT_ONCE) {
        let chunk = chunk.to_vec();
        let names = app.store.read_now(move |conn| computers::some(conn, &chunk))?;
        let names: Vec<String> = names.into_iter().map(|computer| computer.device_id.to_string()).collect();
        group_service::mark(app, group, &names, Mark::Include).map_err(|error| Refusal::from(error).about("value"))?;
        done.changed += names.len();
    }
    Ok(done)
}

fn apply_to(app: &App, bulk: &Bulk, ids: &[ComputerId]) -> Result<BulkDone, Refusal> {
    let mut done = BulkDone::default();
    let bulk = Arc::new(bulk.clone());
    for chunk in ids.chunks(AT_ONCE) {
        let (bulk, now, chunk) = (Arc::clone(&bulk), app.clock.now(), chunk.to_vec());
        let count = chunk.len();
        let changed = app.store.write_now(move |conn| -> Result<usize, StoreError> {
            let mut changed = 0;
            for computer in computers::some(conn, &chunk)? {
                changed += usize::from(apply(conn, &bulk, &computer, now)?);
            }
            Ok(changed)
        })?;
        done.changed += changed;
        done.left += count - changed;
    }
    Ok(done)
}

fn apply(conn: &mut Conn, bulk: &Bulk, computer: &Computer, now: UnixTime) -> Result<bool, StoreError> {
    match bulk {
        Bulk::Archive => merges::set_archived(conn, computer.id, Some(now)),
        Bulk::Restore => merges::set_archived(conn, computer.id, None),
        // What came back in the meantime is somebody's computer.
        Bulk::Delete if computer.archived_at.is_none() => Ok(false),
        Bulk::Delete => computers::delete(conn, computer.id),
        Bulk::Tag(_) | Bulk::Field { .. } | Bulk::Setting { .. } | Bulk::Include(_) | Bulk::Wake => Ok(false),
    }
}
