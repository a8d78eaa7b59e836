//! Mirrors and sites.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::mirrors::{self, MirrorError};
use super::super::sites::{Map, Overlap};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::{AddressRange, Location, PackageId, PackageState};
use crate::protocol::PackageFilter;
use crate::store::mirrors::{Mirror, Site};
use crate::store::{StoreError, computers, mirrors as stored, packages};

/// A mirror with how it is.
#[derive(Clone, Debug)]
pub struct MirrorLine {
    /// The mirror.
    pub mirror: Mirror,
    /// `never reported`, `silent`, `unreachable`, `trouble`, `behind` or `fine`.
    pub health: &'static str,
    /// The generation of the tree that it should be at.
    pub generation: u64,
    /// Packages that it holds, those included that it is to take away.
    pub held: u64,
    /// Packages that it should hold.
    pub wanted: u64,
}

/// A package as a mirror has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MirrorPackage {
    /// Its number.
    pub id: PackageId,
    /// Its family's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it is there.
    pub holding: Holding,
}

/// How a package is on a mirror.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Holding {
    /// It should be there and is not yet.
    Missing,
    /// It is there.
    Held,
    /// It is there and goes with the next sync: it was withdrawn, or is not for this mirror any more.
    Leftover,
}

/// A mirror with what it holds.
#[derive(Clone, Debug)]
pub struct MirrorPage {
    /// The mirror.
    pub line: MirrorLine,
    /// Sites that it is near.
    pub sites: Vec<String>,
    /// Packages that it holds or should hold, those of the actor's scope, the oldest first.
    pub packages: Vec<MirrorPackage>,
}

/// A site with who is there.
#[derive(Clone, Debug)]
pub struct SiteLine {
    /// The site.
    pub site: Site,
    /// Computers that were last heard from there; `None` for an actor who does not see all of them.
    pub computers: Option<u64>,
    /// The query that finds them, if one can.
    pub query: Option<String>,
    /// Where it meets other sites.
    pub overlaps: Vec<Overlap>,
}

impl Desk {
    /// Every mirror, by name.
    pub fn mirrors(&self) -> Result<Vec<MirrorLine>, Refusal> {
        let app = self.reading(Right::SeeMirrors)?;
        let now = app.clock.now();
        Ok(app.store.read_now(move |conn| -> Result<_, StoreError> {
            let generation = packages::generation(conn)?;
            let available = packages::names_in_state(conn, PackageState::Available)?;
            let held = stored::held_counts(conn)?;
            let line = |mirror: Mirror| MirrorLine {
                health: mirrors::health(&mirror, generation, now),
                generation,
                held: held.get(&mirror.name).copied().unwrap_or(0),
                wanted: available.iter().filter(|(id, name, _)| mirror.packages.chooses(*id, name)).count() as u64,
                mirror,
            };
            Ok(stored::list(conn)?.into_iter().map(line).collect())
        })?)
    }

    /// One mirror.
    pub fn mirror(&self, name: &str) -> Result<MirrorPage, Refusal> {
        let app = self.reading(Right::SeeMirrors)?;
        let (now, wanted, scope) = (app.clock.now(), name.to_owned(), self.actor.scope.clone());
        let found = app.store.read_now(move |conn| -> Result<_, StoreError> {
            let Some(mirror) = stored::find(conn, &wanted)? else { return Ok(None) };
            let generation = packages::generation(conn)?;
            let held: BTreeSet<PackageId> = stored::held(conn, &wanted)?.into_iter().collect();
            let available = packages::names_in_state(conn, PackageState::Available)?;
            let mut all: BTreeMap<PackageId, MirrorPackage> = available
                .into_iter()
                .filter(|(id, name, _)| mirror.packages.chooses(*id, name))
                .map(|(id, name, version)| {
                    let holding = if held.contains(&id) { Holding::Held } else { Holding::Missing };
                    (id, MirrorPackage { id, name, version, holding })
                })
                .collect();
            let line = MirrorLine {
                health: mirrors::health(&mirror, generation, now),
                generation,
                held: held.len() as u64,
                wanted: all.len() as u64,
                mirror,
            };
            for id in held.into_iter().filter(|id| !all.contains_key(id)).collect::<Vec<_>>() {
                let (name, version) =
                    packages::find(conn, id)?.map(|known| (known.name, known.version)).unwrap_or_default();
                all.insert(id, MirrorPackage { id, name, version, holding: Holding::Leftover });
            }
            all.retain(|_, package| scope.has_family(&package.name));
            let near = |site: Site| site.mirrors.contains(&wanted).then_some(site.name);
            let sites = stored::list_sites(conn)?.into_iter().filter_map(near).collect();
            Ok(Some(MirrorPage { line, sites, packages: all.into_values().collect() }))
        })?;
        Ok(found.ok_or_else(|| MirrorError::Unknown(name.to_owned()))?)
    }

    /// Registers a mirror; gives the token that it reports with, which is shown once.
    pub fn add_mirror(
        &self,
        name: &str,
        location: Location,
        may_have: PackageFilter,
        silent_after: Duration,
    ) -> Result<String, Refusal> {
        self.allow_editing_mirrors()?;
        let change =
            Change::new("mirror add", format!("mirror {name}")).after(terms(&location, &may_have, silent_after));
        let app = self.changing(Right::EditMirrors, change)?;
        Ok(mirrors::add(&app, name, location, may_have, silent_after)?)
    }

    /// Changes where a mirror is, what it may have and how long its silence is borne.
    pub fn edit_mirror(
        &self,
        name: &str,
        location: Location,
        may_have: PackageFilter,
        silent_after: Duration,
    ) -> Result<(), Refusal> {
        self.allow_editing_mirrors()?;
        let wanted = name.to_owned();
        let before = self.app.store.read_now(move |conn| stored::find(conn, &wanted))?;
        let before = before.ok_or_else(|| MirrorError::Unknown(name.to_owned()))?;
        let change = Change::new("mirror edit", format!("mirror {name}"))
            .before(terms(&before.location, &before.packages, before.silent_after))
            .after(terms(&location, &may_have, silent_after));
        let app = self.changing(Right::EditMirrors, change)?;
        Ok(mirrors::edit(&app, name, location, may_have, silent_after)?)
    }

    /// Gives a mirror another token; the old one is worth nothing from then on.
    pub fn renew_mirror_token(&self, name: &str) -> Result<String, Refusal> {
        self.allow_editing_mirrors()?;
        let app = self.changing(Right::EditMirrors, Change::new("mirror token", format!("mirror {name}")))?;
        Ok(mirrors::renew_token(&app, name)?)
    }

    /// Forgets a mirror; gives the sites that had it.
    pub fn remove_mirror(&self, name: &str) -> Result<Vec<String>, Refusal> {
        self.allow_editing_mirrors()?;
        let wanted = name.to_owned();
        let before = self.app.store.read_now(move |conn| stored::find(conn, &wanted))?;
        let before = before.map(|mirror| json!({ "location": mirror.location.to_string() }));
        let change = Change::new("mirror remove", format!("mirror {name}")).before(before.unwrap_or_default());
        let app = self.changing(Right::EditMirrors, change)?;
        Ok(mirrors::remove(&app, name)?)
    }

    /// Every site, by name.
    pub fn sites(&self) -> Result<Vec<Site>, Refusal> {
        Ok(self.reading(Right::SeeMirrors)?.store.read_now(stored::list_sites)?)
    }

    /// One site.
    pub fn site(&self, name: &str) -> Result<Site, Refusal> {
        let found = self.sites()?.into_iter().find(|site| site.name == name);
        Ok(found.ok_or_else(|| MirrorError::SiteUnknown(name.to_owned()))?)
    }

    /// Every site with who is there, by name; and the computers that are at none, for an actor who sees all of them.
    pub fn site_lines(&self) -> Result<(Vec<SiteLine>, Option<u64>), Refusal> {
        let app = self.reading(Right::SeeMirrors)?;
        let sees_all = self.may(Right::SeeComputers) && self.actor.scope.computers.is_none();
        let (sites, peers) = app.store.read_now(move |conn| -> Result<_, StoreError> {
            // Without a site there is nobody to count.
            let sites = stored::list_sites(conn)?;
            let peers = if sees_all && !sites.is_empty() { computers::peers(conn)? } else { Vec::new() };
            Ok((sites, peers))
        })?;
        let map = Map::of(&sites);
        let mut counts: BTreeMap<Option<&str>, u64> = BTreeMap::new();
        for (address, count) in peers {
            let site = address.parse().ok().and_then(|address| map.site_of(address));
            *counts.entry(site).or_default() += count;
        }
        let count = |site: Option<&str>| sees_all.then(|| counts.get(&site).copied().unwrap_or(0));
        let lines = sites.iter().map(|site| SiteLine {
            computers: count(Some(&site.name)),
            query: map.query(&site.name),
            overlaps: map.overlaps(&site.name),
            site: site.clone(),
        });
        Ok((lines.collect(), count(None)))
    }

    /// Makes a site.
    pub fn add_site(&self, name: &str, ranges: Vec<AddressRange>, near: Vec<String>) -> Result<(), Refusal> {
        self.allow_editing_mirrors()?;
        check_extent(&ranges, &near)?;
        let change = Change::new("site add", format!("site {name}")).after(extent(&ranges, &near));
        let app = self.changing(Right::EditMirrors, change)?;
        Ok(mirrors::add_site(&app, name, ranges, near)?)
    }

    /// Gives a site other addresses and other mirrors.
    pub fn edit_site(&self, name: &str, ranges: Vec<AddressRange>, near: Vec<String>) -> Result<(), Refusal> {
        self.change_site(name, |site| {
            (site.ranges, site.mirrors) = (ranges, near);
            Ok(())
        })
    }

    /// Changes a site's addresses or mirrors, starting from what they are.
    pub fn change_site(
        &self,
        name: &str,
        change: impl FnOnce(&mut Site) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.allow_editing_mirrors()?;
        let before = self.site(name)?;
        let mut after = before.clone();
        change(&mut after)?;
        check_extent(&after.ranges, &after.mirrors)?;
        let line = Change::new("site edit", format!("site {name}"))
            .before(extent(&before.ranges, &before.mirrors))
            .after(extent(&after.ranges, &after.mirrors));
        let app = self.changing(Right::EditMirrors, line)?;
        Ok(mirrors::edit_site(&app, after)?)
    }

    /// Forgets a site.
    pub fn remove_site(&self, name: &str) -> Result<(), Refusal> {
        self.allow_editing_mirrors()?;
        let site = self.site(name)?;
        let change = Change::new("site remove", format!("site {name}")).before(extent(&site.ranges, &site.mirrors));
        let app = self.changing(Right::EditMirrors, change)?;
        Ok(mirrors::remove_site(&app, name)?)
    }

    /// Refuses whoever may not change mirrors and sites. Mirrors serve whoever is near, whatever package it is, so a
    /// part of the fleet is not enough.
    pub fn allow_editing_mirrors(&self) -> Result<(), Refusal> {
        self.allow(Right::EditMirrors)?;
        self.allow_all_computers()?;
        if self.actor.scope.families.is_empty() {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "{} may do this only for packages of some families, and a mirror may have all of them",
            self.actor.label()
        )))
    }
}

/// A site without the one or the other would do nothing.
fn check_extent(ranges: &[AddressRange], near: &[String]) -> Result<(), Refusal> {
    if !(1..=1000).contains(&ranges.len()) {
        return Err(Refusal::invalid("a site has 1 to 1000 ranges of addresses").about("ranges"));
    }
    if !(1..=100).contains(&near.len()) {
        return Err(Refusal::invalid("a site has 1 to 100 mirrors").about("mirrors"));
    }
    Ok(())
}

/// What of a mirror the audit log tells.
fn terms(location: &Location, may_have: &PackageFilter, silent_after: Duration) -> Value {
    json!({
        "location": location.to_string(),
        "packages": may_have.to_string(),
        "silent_after_seconds": silent_after.as_secs(),
    })
}

/// What of a site it tells.
fn extent(ranges: &[AddressRange], near: &[String]) -> Value {
    let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    json!({ "ranges": ranges, "mirrors": near })
}
