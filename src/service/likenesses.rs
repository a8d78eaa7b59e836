//! Computers that look like one, and are left two: a person is asked.
//!
//! The rule `AUTO_DUPLICATE_LVL` merges where everything that it asks for is the same. Where less is the same, though still
//! something that is one machine's own, the pair is written down with the inventory that shows it, and is gone again with
//! the one that does not. Who says that they are two is not asked again.

use std::collections::BTreeMap;

use super::App;
use super::assign::{AssignError, named};
use super::duplicates::{Gift, Mask, gift, telling, telling_mac, telling_uuid};
use crate::model::query::Query;
use crate::model::{Computer, ComputerId, DeviceId, UnixTime};
use crate::store::attention::Sight;
use crate::store::likenesses::{self, Likeness};
use crate::store::merges::{self, KnownBy};
use crate::store::{Conn, StoreError, computers};

/// What more computers than these have in common tells nothing of any of them: the number of an image, a docking station.
const MOST_ALIKE: usize = 8;

/// Writes down which others a computer looks like now.
pub(super) fn refresh(conn: &mut Conn, computer: &Computer, now: UnixTime) -> Result<(), StoreError> {
    let mut alike: BTreeMap<ComputerId, i64> = BTreeMap::new();
    let mut note = |ids: Vec<ComputerId>, criterion: i64| {
        let others: Vec<ComputerId> = ids.into_iter().filter(|id| *id != computer.id).collect();
        if others.len() <= MOST_ALIKE {
            for id in others {
                *alike.entry(id).or_default() |= criterion;
            }
        }
    };
    if telling(&computer.serial) {
        note(merges::candidates(conn, KnownBy::Serial(&computer.serial))?, Mask::SERIAL);
    }
    if telling_uuid(&computer.uuid) {
        note(merges::candidates(conn, KnownBy::Uuid(&computer.uuid))?, Mask::UUID);
    }
    for adapter in computers::networks(conn, computer.id)? {
        if telling_mac(&adapter.mac).is_some() {
            note(merges::candidates(conn, KnownBy::Mac(&adapter.mac))?, Mask::MAC);
        }
    }
    // Two that were merged and both speak are two, and so are two that were taken apart.
    for merge in merges::of_computer(conn, computer.id)? {
        alike.remove(&merge.old);
        alike.remove(&merge.new);
    }
    for (id, same) in &mut alike {
        if let Some(other) = computers::find(conn, *id)? {
            let of = |is_same: bool, criterion: i64| if is_same { criterion } else { 0 };
            *same |= of(telling(&other.name) && other.name.eq_ignore_ascii_case(&computer.name), Mask::NAME);
            *same |= of(telling(&other.model) && other.model == computer.model, Mask::MODEL);
        }
    }
    likenesses::refresh(conn, computer.id, &alike, now)
}

/// One of two that look like one.
#[derive(Clone, Debug)]
pub struct Side {
    /// The computer.
    pub computer: Computer,
    /// The addresses of its adapters.
    pub macs: Vec<String>,
    /// What it would give to the other one.
    pub gift: Gift,
}

/// Two that look like one.
#[derive(Clone, Debug)]
pub struct Pair {
    /// As it is written down.
    pub likeness: Likeness,
    /// The one that came first.
    pub older: Side,
    /// The other one.
    pub newer: Side,
}

impl Pair {
    /// What is the same, in words.
    pub fn same(&self) -> Vec<&'static str> {
        Mask(self.likeness.same).words()
    }

    /// What is not: what it is, and what each of them says.
    pub fn differences(&self) -> Vec<(&'static str, String, String)> {
        let (a, b) = (&self.older, &self.newer);
        let macs = |side: &Side| side.macs.join(", ");
        let facts = [
            ("Name", a.computer.name.clone(), b.computer.name.clone()),
            ("Serial number", a.computer.serial.clone(), b.computer.serial.clone()),
            ("MAC addresses", macs(a), macs(b)),
            ("Model", a.computer.model.clone(), b.computer.model.clone()),
            ("UUID", a.computer.uuid.clone(), b.computer.uuid.clone()),
            ("System", a.computer.os_name.clone(), b.computer.os_name.clone()),
            ("Address", a.computer.ip_address.clone(), b.computer.ip_address.clone()),
            ("Tag", a.computer.tag.clone(), b.computer.tag.clone()),
            ("Proven by", a.computer.proven_by().to_owned(), b.computer.proven_by().to_owned()),
        ];
        facts.into_iter().filter(|(_, one, other)| one != other).collect()
    }

    /// Whether the newer one was heard of last: the one to be kept, unless somebody knows better.
    pub fn keeps_newer(&self) -> bool {
        self.newer.computer.last_contact >= self.older.computer.last_contact
    }

    /// The one to be put away and the one to be kept.
    pub fn away_and_kept(&self) -> (&Side, &Side) {
        if self.keeps_newer() { (&self.older, &self.newer) } else { (&self.newer, &self.older) }
    }
}

/// Pairs that nobody has decided about, within a scope: the newest first, after `after`, at most `limit`.
pub fn open(app: &App, scope: Option<Query>, after: Option<Likeness>, limit: usize) -> Result<Vec<Pair>, StoreError> {
    let now = app.clock.now();
    app.store.read_now(move |conn| {
        let sight = Sight::of(conn, scope.as_ref(), now)?;
        let mut pairs = Vec::new();
        for likeness in likenesses::open(conn, &sight, after, limit)? {
            let (older, newer) = (computers::find(conn, likeness.older)?, computers::find(conn, likeness.newer)?);
            if let (Some(older), Some(newer)) = (older, newer) {
                let (older, newer) = (side(conn, &older, &newer)?, side(conn, &newer, &older)?);
                pairs.push(Pair { likeness, older, newer });
            }
        }
        Ok(pairs)
    })
}

fn side(conn: &mut Conn, one: &Computer, other: &Computer) -> Result<Side, StoreError> {
    let adapters = computers::networks(conn, one.id)?;
    let mut macs: Vec<String> = adapters.into_iter().map(|adapter| adapter.mac).collect();
    macs.sort();
    macs.dedup();
    Ok(Side { macs, gift: gift(conn, one, other)?, computer: one.clone() })
}

/// How many pairs nobody has decided about, within a scope, counted up to `most`.
pub fn count(app: &App, scope: Option<Query>, most: usize) -> Result<usize, StoreError> {
    let now = app.clock.now();
    app.store.read_now(move |conn| {
        let sight = Sight::of(conn, scope.as_ref(), now)?;
        Ok(likenesses::open(conn, &sight, None, most)?.len())
    })
}

/// Why nothing was decided about a pair.
#[derive(Debug, thiserror::Error)]
pub enum LikenessError {
    /// Not one computer of that name.
    #[error(transparent)]
    Named(#[from] AssignError),
    /// They do not look like one, or somebody said so before.
    #[error("nobody is asked about {0} and {1}: `dripfeed computer duplicates` lists the pairs that are open")]
    NotAsked(DeviceId, DeviceId),
    /// Nobody said that they are two.
    #[error("nobody said that {0} and {1} are two")]
    NotSettled(DeviceId, DeviceId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Says that two are two, which is remembered; without `two`, that somebody is to be asked again.
pub fn settle(app: &App, one: &str, other: &str, two: bool, by: &str) -> Result<(Computer, Computer), LikenessError> {
    let (one, other, by, now) = (one.to_owned(), other.to_owned(), by.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let (one, other) = (named(conn, &one)?, named(conn, &other)?);
        if likenesses::settle(conn, one.id, other.id, two.then_some((now, &by)))? {
            return Ok((one, other));
        }
        let names = (one.device_id, other.device_id);
        Err(if two { LikenessError::NotAsked(names.0, names.1) } else { LikenessError::NotSettled(names.0, names.1) })
    })
}
