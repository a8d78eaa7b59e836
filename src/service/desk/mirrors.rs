//! Mirrors and sites.

use std::time::Duration;

use serde_json::json;

use super::super::mirrors::{self, MirrorError};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::{AddressRange, Location, PackageId};
use crate::protocol::PackageFilter;
use crate::store::mirrors::{Mirror, Site};
use crate::store::{StoreError, mirrors as stored, packages};

/// A mirror with how it is.
#[derive(Clone, Debug)]
pub struct MirrorLine {
    /// The mirror.
    pub mirror: Mirror,
    /// `never reported`, `silent`, `unreachable`, `trouble`, `behind` or `fine`.
    pub health: &'static str,
    /// The generation of the tree that it should be at.
    pub generation: u64,
}

/// A mirror with what it holds.
#[derive(Clone, Debug)]
pub struct MirrorPage {
    /// The mirror.
    pub line: MirrorLine,
    /// Sites that it is near.
    pub sites: Vec<String>,
    /// Packages that it holds, those of the actor's scope.
    pub packages: Vec<PackageId>,
}

impl Desk {
    /// Every mirror, by name.
    pub fn mirrors(&self) -> Result<Vec<MirrorLine>, Refusal> {
        let app = self.reading(Right::SeeMirrors)?;
        let now = app.clock.now();
        let (all, generation) =
            app.store.read_now(|conn| Ok::<_, StoreError>((stored::list(conn)?, packages::generation(conn)?)))?;
        let line =
            |mirror: Mirror| MirrorLine { health: mirrors::health(&mirror, generation, now), generation, mirror };
        Ok(all.into_iter().map(line).collect())
    }

    /// One mirror.
    pub fn mirror(&self, name: &str) -> Result<MirrorPage, Refusal> {
        let app = self.reading(Right::SeeMirrors)?;
        let (now, wanted, scope) = (app.clock.now(), name.to_owned(), self.actor.scope.clone());
        let found = app.store.read_now(move |conn| {
            let Some(mirror) = stored::find(conn, &wanted)? else { return Ok(None) };
            let mut held = stored::held(conn, &wanted)?;
            if !scope.families.is_empty() {
                let mut seen = Vec::new();
                for id in held {
                    if packages::find(conn, id)?.is_some_and(|package| scope.has_family(&package.name)) {
                        seen.push(id);
                    }
                }
                held = seen;
            }
            Ok::<_, StoreError>(Some((mirror, held, stored::list_sites(conn)?, packages::generation(conn)?)))
        })?;
        let (mirror, packages, sites, generation) = found.ok_or_else(|| MirrorError::Unknown(name.to_owned()))?;
        let near = |site: Site| site.mirrors.contains(&mirror.name).then_some(site.name);
        Ok(MirrorPage {
            sites: sites.into_iter().filter_map(near).collect(),
            packages,
            line: MirrorLine { health: mirrors::health(&mirror, generation, now), generation, mirror },
        })
    }

    /// Registers a mirror; gives the token that it reports with, which is shown once.
    pub fn add_mirror(
        &self,
        name: &str,
        location: Location,
        may_have: PackageFilter,
        silent_after: Duration,
    ) -> Result<String, Refusal> {
        self.allow_whole_fleet()?;
        let change = Change::new("mirror add", format!("mirror {name}")).after(json!({
            "location": location.to_string(),
            "packages": may_have.to_string(),
            "silent_after_seconds": silent_after.as_secs(),
        }));
        let app = self.changing(Right::EditMirrors, change)?;
        Ok(mirrors::add(&app, name, location, may_have, silent_after)?)
    }

    /// Gives a mirror another token; the old one is worth nothing from then on.
    pub fn renew_mirror_token(&self, name: &str) -> Result<String, Refusal> {
        self.allow_whole_fleet()?;
        let app = self.changing(Right::EditMirrors, Change::new("mirror token", format!("mirror {name}")))?;
        Ok(mirrors::renew_token(&app, name)?)
    }

    /// Forgets a mirror; gives the sites that had it.
    pub fn remove_mirror(&self, name: &str) -> Result<Vec<String>, Refusal> {
        self.allow_whole_fleet()?;
        self.allow(Right::EditMirrors)?;
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

    /// Makes a site.
    pub fn add_site(&self, name: &str, ranges: Vec<AddressRange>, near: Vec<String>) -> Result<(), Refusal> {
        self.allow_whole_fleet()?;
        let texts: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        let change =
            Change::new("site add", format!("site {name}")).after(json!({ "ranges": texts, "mirrors": &near }));
        let app = self.changing(Right::EditMirrors, change)?;
        Ok(mirrors::add_site(&app, name, ranges, near)?)
    }

    /// Forgets a site.
    pub fn remove_site(&self, name: &str) -> Result<(), Refusal> {
        self.allow_whole_fleet()?;
        self.allow(Right::EditMirrors)?;
        let site = self.site(name)?;
        let texts: Vec<String> = site.ranges.iter().map(ToString::to_string).collect();
        let change = Change::new("site remove", format!("site {name}"))
            .before(json!({ "ranges": texts, "mirrors": site.mirrors }));
        let app = self.changing(Right::EditMirrors, change)?;
        Ok(mirrors::remove_site(&app, name)?)
    }

    /// Mirrors serve whoever is near, whatever package it is.
    fn allow_whole_fleet(&self) -> Result<(), Refusal> {
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
