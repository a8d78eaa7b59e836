//! One search over everything that has a name or a number, bounded in what it reads.

use super::super::query;
use super::computers::Asked;
use super::{Desk, Refusal};
use crate::model::access::Right;
use crate::model::query::{Query, fold};
use crate::model::{Computer, DeploymentId, Package, PackageId, UnixTime};
use crate::store::groups::{self, Group};
use crate::store::{deployments, packages};

/// What was found; at most [`Found::MOST`] of a kind.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Computers, archived ones, too.
    pub computers: Vec<Computer>,
    /// Packages of the actor's families.
    pub packages: Vec<Package>,
    /// Groups.
    pub groups: Vec<Group>,
    /// Deployments with package and moment.
    pub deployments: Vec<(DeploymentId, PackageId, UnixTime)>,
    /// What was typed is a query: so many computers match.
    pub matching: Option<u64>,
}

impl Found {
    /// Of a kind.
    pub const MOST: usize = 10;
    /// Packages whose names are looked at, the newest.
    const PACKAGES: usize = 2000;
}

impl Desk {
    /// Looks everywhere where the actor may look.
    pub fn search(&self, typed: &str) -> Result<Found, Refusal> {
        let typed = typed.trim();
        let mut found = Found::default();
        if typed.is_empty() {
            return Ok(found);
        }
        let key = fold(typed);
        if self.may(Right::SeeComputers) {
            found.computers = self.find_computers(typed, Found::MOST)?;
            if typed.parse::<Query>().is_ok() {
                found.matching = self.matching(typed)?;
            }
        }
        if self.may(Right::SeePackages) {
            let (scope, key) = (self.actor.scope.clone(), key.clone());
            let number = typed.parse::<PackageId>().ok();
            found.packages = self.app.store.read_now(move |conn| {
                let mut found = packages::list(conn, None, Found::PACKAGES)?;
                found.retain(|package| {
                    let named = fold(&format!("{} {}", package.name, package.version)).contains(&key);
                    (named || Some(package.id) == number) && scope.has_family(&package.name)
                });
                found.truncate(Found::MOST);
                Ok::<_, crate::store::StoreError>(found)
            })?;
        }
        if self.may(Right::SeeGroups) {
            let mut all = self.app.store.read_now(groups::list)?;
            all.retain(|group| fold(&group.name).contains(&key));
            all.truncate(Found::MOST);
            found.groups = all;
        }
        if self.may(Right::SeeDeployments)
            && let Ok(number) = typed.trim_start_matches('#').parse::<i64>()
        {
            let scope = self.actor.scope.clone();
            let line = self.app.store.read_now(move |conn| -> Result<_, crate::store::StoreError> {
                let Some(line) = deployments::find(conn, DeploymentId(number))? else { return Ok(None) };
                let package = packages::find(conn, line.deployment.package)?;
                Ok(package.filter(|package| scope.has_family(&package.name)).map(|_| line.deployment))
            })?;
            found.deployments.extend(line.map(|line| (line.id, line.package, line.created_at)));
        }
        Ok(found)
    }

    /// How many computers a query asks for; `None` if it names a group that is not there.
    fn matching(&self, typed: &str) -> Result<Option<u64>, Refusal> {
        let text = typed.to_owned();
        if self.app.store.read_now(move |conn| query::read(conn, &text)).is_err() {
            return Ok(None);
        }
        let asked = Asked { query: typed.to_owned(), ..Asked::default() };
        Ok(Some(self.computers(&asked, 1)?.total))
    }
}
