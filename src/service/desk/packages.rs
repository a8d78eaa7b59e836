//! Packages: look, compare, activate, take back, bring back.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use serde_json::json;

use super::super::activate::{self, Checking, activate, activate_step_by_step};
use super::super::contents::{self, Contents};
use super::super::deployments as rollouts;
use super::super::withdraw::{self, Withdrawn};
use super::super::works::{Activated, Kind as WorkKind, Outcome, Teller, Works};
use super::builds::Comparison;
use super::{Change, Desk, Refusal};
use crate::archive::SplitFragment;
use crate::fetch::{Client, ClientOptions};
use crate::model::access::Right;
use crate::model::query::Query;
use crate::model::{Activation, JobState, Location, Package, PackageId, PackageState, TreeKey, UnixTime};
use crate::store::attention::Sight;
use crate::store::audit;
use crate::store::deployments::{DeploymentLine, Wanted as WantedDeployments};
use crate::store::packages::{Order, Wanted};
use crate::store::withdrawals::Withdrawal;
use crate::store::{Conn, StoreError, activations, jobs, packages, seen, withdrawals};

/// The steps of an activation, as they are watched.
pub(super) const STEPS: [&str; 3] =
    ["Fetch the info file as an agent does", "Fetch and compare every fragment", "Put it in force"];
/// Rows of the lists beside a package.
const BESIDE: usize = 100;

/// Where a package shall be fetched from.
#[derive(Clone, Debug)]
pub struct Activating {
    /// The info file, over HTTPS.
    pub info_location: Location,
    /// The fragments.
    pub fragment_location: Location,
    /// How everything is fetched and compared first, if it is.
    pub check_with: Option<ClientOptions>,
}

/// A package with what became of it.
#[derive(Clone, Debug)]
pub struct PackageLine {
    /// The package.
    pub package: Package,
    /// Where agents fetch it.
    pub activation: Option<Activation>,
    /// How many computers are in which state, by the newest attempts of each deployment.
    pub counts: Vec<(JobState, u64)>,
}

impl PackageLine {
    /// Computers that still wait for it: a withdrawal takes it from them.
    pub fn open_jobs(&self) -> u64 {
        self.counts.iter().filter(|(state, _)| state.is_open()).map(|(_, count)| count).sum()
    }
}

impl Desk {
    fn view(&self) -> View {
        View { scope: self.actor.scope.computers.clone(), now: self.app.clock.now() }
    }

    /// Packages of the actor's scope, newest first, before `before`.
    pub fn packages(&self, before: Option<PackageId>, limit: usize) -> Result<Vec<PackageLine>, Refusal> {
        let app = self.reading(Right::SeePackages)?;
        let (scope, view) = (self.actor.scope.clone(), self.view());
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
            view.lines(conn, found)
        })?;
        Ok(lines)
    }

    /// One package.
    pub fn package(&self, id: PackageId) -> Result<PackageLine, Refusal> {
        let (app, view) = (self.reading(Right::SeePackages)?, self.view());
        let found = app.store.read_now(move |conn| {
            let found = packages::find(conn, id)?;
            view.lines(conn, found.into_iter().collect()).map(|mut lines| lines.pop())
        })?;
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
        let app = self.activating(&before, &info_location, &fragment_location, check_with.is_some())?;
        Ok(activate(&app, id, info_location, fragment_location, check_with, progress)?)
    }

    /// The same in the background, every step told; gives the number of the work.
    pub fn start_activation(&self, works: &Works, id: PackageId, wanted: Activating) -> Result<u64, Refusal> {
        self.allow(Right::ActivatePackages)?;
        let before = self.package(id)?;
        if before.package.state != PackageState::Available {
            let state = before.package.state.as_str();
            return Err(Refusal::conflict(format!(
                "package {id} is {state}: only an available package can be activated"
            )));
        }
        let desk = self.clone();
        let title = format!("{} {}", before.package.name, before.package.version);
        let begun =
            works.start(&self.actor.name, WorkKind::Activation, title, self.app.clock.now(), &STEPS, move |teller| {
                match desk.activation_work(teller, 0, &before, &wanted) {
                    Ok(()) => Outcome::Done { package: id, warnings: Vec::new(), activated: Activated::Yes },
                    Err(refusal) => Outcome::Failed(refusal.for_people().to_owned()),
                }
            });
        begun.ok_or_else(|| {
            Refusal::new(super::Kind::Later, "too many works wait already: try again when some are done")
        })
    }

    /// Activates, and tells every step; `first` is the number of the first one.
    pub(super) fn activation_work(
        &self,
        teller: &Teller,
        first: usize,
        before: &PackageLine,
        wanted: &Activating,
    ) -> Result<(), Refusal> {
        let id = before.package.id;
        let client = wanted.check_with.as_ref().map(Client::new).transpose();
        let client = client.map_err(|error| Refusal::conflict(error.to_string()))?;
        let (info_location, fragment_location) = (wanted.info_location.clone(), wanted.fragment_location.clone());
        let app = self.activating(before, &info_location, &fragment_location, client.is_some())?;
        if client.is_none() {
            teller.note(first, "not asked for");
            teller.note(first + 1, "not asked for");
            teller.step(first + 2, 0, 0);
        }
        activate_step_by_step(&app, id, info_location, fragment_location, client.as_ref(), &mut |step| match step {
            Checking::Info(url) => {
                teller.step(first, 0, 0);
                teller.note(first, url);
            }
            Checking::InfoFits => teller.step(first + 1, 0, before.package.size),
            Checking::Fragment { url, number, done, total } => {
                teller.step(first + 1, done, total);
                teller.note(first + 1, format!("{number} of {}: {url}", before.package.fragments));
            }
            Checking::Fits => teller.step(first + 2, 0, 0),
        })?;
        Ok(())
    }

    fn activating(
        &self,
        before: &PackageLine,
        info_location: &Location,
        fragment_location: &Location,
        checked: bool,
    ) -> Result<super::App, Refusal> {
        let change = Change::new("activate", format!("package {}", before.package.id))
            .before(before.activation.as_ref().map_or(json!(null), locations))
            .after(json!({
                "info_location": info_location.to_string(),
                "fragment_location": fragment_location.to_string(),
                "checked": checked,
            }));
        self.changing(Right::ActivatePackages, change)
    }

    /// Ends an activation: nothing more is offered, open jobs wait.
    pub fn deactivate(&self, id: PackageId) -> Result<(), Refusal> {
        let before = self.package(id)?;
        let change = Change::new("deactivate", format!("package {id}"))
            .before(before.activation.as_ref().map_or(json!(null), locations))
            .after(json!(null));
        let app = self.changing(Right::ActivatePackages, change)?;
        Ok(activate::deactivate(&app, id)?)
    }

    /// Packages of the actor's scope, as they are wanted.
    pub fn wanted_packages(&self, wanted: &Wanted, limit: usize) -> Result<Vec<PackageLine>, Refusal> {
        let app = self.reading(Right::SeePackages)?;
        let (scope, view, mut wanted) = (self.actor.scope.clone(), self.view(), wanted.clone());
        Ok(app.store.read_now(move |conn| {
            let (mut found, step) = (Vec::new(), limit.max(100));
            loop {
                let page = packages::wanted(conn, &wanted, step)?;
                let last = page.len() < step;
                wanted.after = page.last().map(|package| package.id);
                found.extend(page.into_iter().filter(|package| scope.has_family(&package.name)));
                if last || found.len() >= limit {
                    break;
                }
            }
            found.truncate(limit);
            view.lines(conn, found)
        })?)
    }

    /// Packages of the actor's scope, as they are wanted but for their order: those with the most newest attempts in these
    /// states first. An actor who sees only some computers gets them newest first.
    pub fn packages_by_count(
        &self,
        wanted: &Wanted,
        states: &'static [JobState],
        limit: usize,
    ) -> Result<Vec<PackageLine>, Refusal> {
        let wanted = Wanted { order: Order::Newest, ..wanted.clone() };
        if self.actor.scope.computers.is_some() {
            return self.wanted_packages(&wanted, limit);
        }
        let app = self.reading(Right::SeePackages)?;
        let (scope, view, after) = (self.actor.scope.clone(), self.view(), wanted.after);
        Ok(app.store.read_now(move |conn| {
            let mut all = packages::wanted(conn, &Wanted { after: None, ..wanted }, usize::MAX)?;
            all.retain(|package| scope.has_family(&package.name));
            let mut counts: BTreeMap<PackageId, u64> = BTreeMap::new();
            for (package, state, count) in jobs::newest_counts(conn, None)? {
                if states.contains(&state) {
                    *counts.entry(package).or_default() += count;
                }
            }
            // Stable: those of one number stay newest first.
            all.sort_by_key(|package| Reverse(counts.get(&package.id).copied().unwrap_or_default()));
            let from = after.and_then(|after| all.iter().position(|package| package.id == after));
            let page = all.into_iter().skip(from.map_or(0, |at| at + 1)).take(limit);
            view.lines(conn, page.collect())
        })?)
    }

    /// The fragments of a package.
    pub fn fragments(&self, id: PackageId) -> Result<Vec<SplitFragment>, Refusal> {
        self.package(id)?;
        Ok(self.app.store.read_now(move |conn| packages::fragments(conn, id))?)
    }

    /// What is inside a package's archive, if it was listed.
    pub fn contents(&self, id: PackageId) -> Result<Option<Contents>, Refusal> {
        self.package(id)?;
        Ok(contents::of_package(&self.app, id)?)
    }

    /// The info file as it is published, or was.
    pub fn info(&self, id: PackageId) -> Result<String, Refusal> {
        use std::io::Read as _;
        let mut text = String::new();
        let file = self.file(TreeKey::Info { package: id })?;
        file.take(1 << 20).read_to_string(&mut text).map_err(Refusal::failed)?;
        Ok(text)
    }

    /// A file of a package: of the tree, or of one that was withdrawn and is kept.
    pub fn file(&self, key: TreeKey) -> Result<File, Refusal> {
        self.package(key.package())?;
        let opened = self.app.tree.open_file(key).or_else(|_| self.app.tree.open_aside(key));
        opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Refusal::not_found(format!("the files of package {} are not there any more", key.package()))
            }
            _ => Refusal::failed(error),
        })
    }

    /// The versions of a package's family, newest first, and its deployments.
    pub fn beside(&self, package: &Package) -> Result<(Vec<Package>, Vec<DeploymentLine>), Refusal> {
        self.allow_package(package)?;
        let app = self.reading(Right::SeePackages)?;
        let of_package = WantedDeployments { package: Some(package.id), ..<_>::default() };
        let deployments = if self.may(Right::SeeDeployments) {
            rollouts::page(app, of_package, self.actor.scope.computers.clone(), |_| true, BESIDE)?
        } else {
            Vec::new()
        };
        let family = Wanted { name: Some(package.name.clone()), ..Wanted::default() };
        let versions = app.store.read_now(move |conn| packages::wanted(conn, &family, BESIDE))?;
        Ok((versions, deployments.into_iter().map(|summary| summary.line).collect()))
    }

    /// What was done to a package, newest first.
    pub fn audit_of_package(&self, id: PackageId) -> Result<Vec<audit::Line>, Refusal> {
        self.package(id)?;
        let app = self.reading(Right::SeeAudit)?;
        let subject = format!("package {id}");
        Ok(app.store.read_now(move |conn| audit::of_subject(conn, &subject, None, BESIDE))?)
    }

    /// Two packages, side by side; the older one first.
    pub fn compare(&self, one: PackageId, other: PackageId) -> Result<Comparison, Refusal> {
        let (old, new) = (one.min(other), one.max(other));
        if old == new {
            return Err(Refusal::invalid("a package is the same as itself: choose two"));
        }
        Ok(Comparison {
            old: self.package(old)?.package,
            new: self.package(new)?.package,
            contents: (self.contents(old)?, self.contents(new)?),
        })
    }

    /// When a withdrawn package was withdrawn, and until when it can be restored.
    pub fn withdrawal(&self, id: PackageId) -> Result<Option<(UnixTime, UnixTime)>, Refusal> {
        self.package(id)?;
        let found: Option<Withdrawal> = self.app.store.read_now(move |conn| withdrawals::find(conn, id))?;
        let kept = found.filter(|_| self.app.tree.is_aside(id));
        Ok(kept.map(|withdrawal| (withdrawal.at, withdrawal.at.plus(withdraw::KEPT))))
    }

    /// Undoes a withdrawal.
    pub fn restore(&self, id: PackageId) -> Result<Package, Refusal> {
        let before = self.package(id)?;
        let change = Change::new("package restore", format!("package {id}"))
            .before(json!({ "state": before.package.state.as_str() }))
            .after(json!({ "state": "available" }));
        let app = self.changing(Right::WithdrawPackages, change)?;
        Ok(withdraw::restore(&app, id)?)
    }

    /// Removes the files of a withdrawn package for good.
    pub fn forget(&self, id: PackageId) -> Result<(), Refusal> {
        self.package(id)?;
        let change = Change::new("package forget", format!("package {id}"))
            .before(json!({ "files": "kept" }))
            .after(json!({ "files": "removed" }));
        let app = self.changing(Right::WithdrawPackages, change)?;
        withdraw::forget(&app, id)?;
        Ok(())
    }

    /// Takes a package back.
    pub fn withdraw(&self, id: PackageId) -> Result<Withdrawn, Refusal> {
        let before = self.package(id)?;
        let change = Change::new("package withdraw", format!("package {id}"))
            .before(json!({ "state": before.package.state.as_str() }))
            .after(json!({ "state": "withdrawn" }));
        let app = self.changing(Right::WithdrawPackages, change)?;
        Ok(withdraw::withdraw(&app, id)?)
    }
}

/// What of a package's jobs is seen.
struct View {
    scope: Option<Query>,
    now: UnixTime,
}

impl View {
    fn lines(&self, conn: &mut Conn, found: Vec<Package>) -> Result<Vec<PackageLine>, StoreError> {
        let mut within = match &self.scope {
            None => None,
            Some(scope) => {
                let sight = Sight::of(conn, Some(scope), self.now)?;
                let ids: Vec<PackageId> = found.iter().map(|package| package.id).collect();
                Some(seen::of_packages(conn, &sight, &ids)?)
            }
        };
        let line = |package: Package| {
            let counts = if let Some(counts) = &mut within {
                counts.remove(&package.id).unwrap_or_default()
            } else {
                let counts = jobs::newest_counts(conn, Some(package.id))?;
                counts.into_iter().map(|(_, state, count)| (state, count)).collect()
            };
            Ok(PackageLine { activation: activations::find(conn, package.id)?, counts, package })
        };
        found.into_iter().map(line).collect()
    }
}

fn locations(activation: &Activation) -> serde_json::Value {
    json!({
        "info_location": activation.info_location.to_string(),
        "fragment_location": activation.fragment_location.to_string(),
        "checked": activation.checked_at.is_some(),
    })
}
