//! Packages: look, activate, take back.

use serde_json::json;

use super::super::activate::activate;
use super::super::publish::{self, Withdrawn};
use super::{Change, Desk, Refusal};
use crate::fetch::Client;
use crate::model::access::Right;
use crate::model::{Activation, JobState, Location, Package, PackageId};
use crate::store::{StoreError, activations, jobs, packages};

/// A package with what became of it.
#[derive(Clone, Debug)]
pub struct PackageLine {
    /// The package.
    pub package: Package,
    /// Where agents fetch it.
    pub activation: Option<Activation>,
    /// How many jobs are in which state.
    pub counts: Vec<(JobState, u64)>,
}

impl Desk {
    /// Packages of the actor's scope, newest first, before `before`.
    pub fn packages(&self, before: Option<PackageId>, limit: usize) -> Result<Vec<PackageLine>, Refusal> {
        let app = self.reading(Right::SeePackages)?;
        let scope = self.actor.scope.clone();
        let lines = app.store.read_now(move |conn| {
            let (mut found, mut before) = (Vec::new(), before);
            loop {
                let page = packages::list(conn, before, limit.max(100))?;
                let last = page.len() < limit.max(100);
                before = page.last().map(|package| package.id);
                found.extend(page.into_iter().filter(|package| scope.has_family(&package.name)));
                if last || found.len() >= limit {
                    break;
                }
            }
            found.truncate(limit);
            found.into_iter().map(|package| line(conn, package)).collect::<Result<Vec<_>, StoreError>>()
        })?;
        Ok(lines)
    }

    /// One package.
    pub fn package(&self, id: PackageId) -> Result<PackageLine, Refusal> {
        let app = self.reading(Right::SeePackages)?;
        let found =
            app.store.read_now(move |conn| packages::find(conn, id)?.map(|package| line(conn, package)).transpose())?;
        let found = found.ok_or_else(|| Refusal::not_found(format!("there is no package {id}")))?;
        self.allow_package(&found.package)?;
        Ok(found)
    }

    /// Tells agents where to fetch a package; with a client, only after having fetched it from there.
    pub fn activate(
        &self,
        id: PackageId,
        info_location: Location,
        fragment_location: Location,
        check_with: Option<&Client>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Activation, Refusal> {
        let before = self.package(id)?;
        let change = Change::new("activate", format!("package {id}"))
            .before(before.activation.map_or(json!(null), |activation| locations(&activation)))
            .after(json!({
                "info_location": info_location.to_string(),
                "fragment_location": fragment_location.to_string(),
                "checked": check_with.is_some(),
            }));
        let app = self.changing(Right::ActivatePackages, change)?;
        Ok(activate(&app, id, info_location, fragment_location, check_with, progress)?)
    }

    /// Takes a package back.
    pub fn withdraw(&self, id: PackageId) -> Result<Withdrawn, Refusal> {
        let before = self.package(id)?;
        let change = Change::new("package withdraw", format!("package {id}"))
            .before(json!({ "state": before.package.state.as_str() }))
            .after(json!({ "state": "withdrawn" }));
        let app = self.changing(Right::WithdrawPackages, change)?;
        Ok(publish::withdraw(&app, id)?)
    }
}

fn line(conn: &mut crate::store::Conn, package: Package) -> Result<PackageLine, StoreError> {
    let counts = jobs::counts(conn, Some(package.id))?.into_iter().map(|(_, state, count)| (state, count)).collect();
    Ok(PackageLine { activation: activations::find(conn, package.id)?, counts, package })
}

fn locations(activation: &Activation) -> serde_json::Value {
    json!({
        "info_location": activation.info_location.to_string(),
        "fragment_location": activation.fragment_location.to_string(),
        "checked": activation.checked_at.is_some(),
    })
}
