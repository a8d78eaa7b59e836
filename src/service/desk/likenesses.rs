//! Computers that look like one, and computers that are written down before they come.

use serde_json::json;

use super::super::entry::{self, Pattern};
use super::super::likenesses::{self, Pair};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::{Computer, DeviceId, UnixTime};
use crate::store::entered;
use crate::store::likenesses::Likeness;

impl Desk {
    /// Pairs that look like one computer and about which nobody has decided, both of the actor's scope: the newest first.
    pub fn likenesses(&self, after: Option<Likeness>, limit: usize) -> Result<Vec<Pair>, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        Ok(likenesses::open(app, self.actor.scope.computers.clone(), after, limit)?)
    }

    /// All of them, read so many at a time.
    pub fn every_likeness(&self, page: usize) -> Result<Vec<Pair>, Refusal> {
        let mut all: Vec<Pair> = Vec::new();
        loop {
            let found = self.likenesses(all.last().map(|pair| pair.likeness), page)?;
            let is_last = found.len() < page;
            all.extend(found);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// How many there are, counted up to `most`.
    pub fn likenesses_count(&self, most: usize) -> Result<usize, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        Ok(likenesses::count(app, self.actor.scope.computers.clone(), most)?)
    }

    /// Says that two computers that look like one are two. Nobody is asked about them again.
    pub fn keep_apart(&self, one: &str, other: &str) -> Result<(Computer, Computer), Refusal> {
        self.settle_likeness(one, other, true)
    }

    /// Has somebody asked again about two computers that were said to be two.
    pub fn ask_again(&self, one: &str, other: &str) -> Result<(Computer, Computer), Refusal> {
        self.settle_likeness(one, other, false)
    }

    fn settle_likeness(&self, one: &str, other: &str, two: bool) -> Result<(Computer, Computer), Refusal> {
        self.allow(Right::RemoveComputers)?;
        let (one, other) = (self.computer(one)?, self.computer(other).map_err(|refusal| refusal.about("other"))?);
        let action = if two { "computer keep-apart" } else { "computer keep-apart --undo" };
        let change = Change::new(action, format!("computer {}", one.device_id))
            .after(json!({ "other": other.device_id.as_str() }));
        let app = self.changing(Right::RemoveComputers, change)?;
        let by = self.actor.label();
        Ok(likenesses::settle(&app, one.device_id.as_str(), other.device_id.as_str(), two, &by)?)
    }

    /// Writes computers down that nobody has heard of yet. They are of no scope before they are there.
    pub fn enter_computers(&self, pattern: &Pattern) -> Result<Vec<DeviceId>, Refusal> {
        self.allow(Right::EditComputers)?;
        self.allow_all_computers()?;
        let change = Change::new("computer add", format!("computer {}", pattern.name)).after(json!({
            "count": pattern.count,
            "first": pattern.first,
            "serial": pattern.serial,
            "mac": pattern.mac,
            "tag": pattern.tag,
        }));
        let app = self.changing(Right::EditComputers, change)?;
        Ok(entry::add(&app, pattern, &self.actor.label())?)
    }

    /// Who wrote a computer down, and when, if it has not come by itself.
    pub fn entered(&self, computer: &Computer) -> Result<Option<(UnixTime, String)>, Refusal> {
        self.allow(Right::SeeComputers)?;
        self.allow_computer(computer)?;
        let id = computer.id;
        Ok(self.app.store.read_now(move |conn| entered::find(conn, id))?)
    }
}
