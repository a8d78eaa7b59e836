//! How far everything is.

use std::collections::BTreeMap;

use super::{Desk, Refusal};
use crate::model::access::Right;
use crate::model::{JobState, Package, PackageId};
use crate::store::{StoreError, jobs, packages};

/// How many jobs are in which state.
pub type JobCounts = BTreeMap<JobState, u64>;

impl Desk {
    /// How many jobs of each package are in which state, the oldest package first; packages of the actor's scope. The
    /// numbers are of all computers.
    pub fn status(&self) -> Result<Vec<(Package, JobCounts)>, Refusal> {
        self.allow(Right::SeeDeployments)?;
        self.allow_all_computers()?;
        let scope = self.actor.scope.clone();
        Ok(self.app.store.read_now(move |conn| {
            let mut counted: BTreeMap<PackageId, JobCounts> = BTreeMap::new();
            for (package, state, count) in jobs::counts(conn, None)? {
                counted.entry(package).or_default().insert(state, count);
            }
            let mut lines = Vec::new();
            for (id, counts) in counted {
                if let Some(package) = packages::find(conn, id)?.filter(|package| scope.has_family(&package.name)) {
                    lines.push((package, counts));
                }
            }
            Ok::<_, StoreError>(lines)
        })?)
    }
}
