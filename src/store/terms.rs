//! What the open jobs of a deployment have in common: read once for all its computers, and shared by what is kept of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::prelude::*;

use super::activations::ActivationRow;
use super::connection::q;
use super::gates::GatesRow;
use super::row::{At, rows_of};
use super::schema::{activations, deployment_gates, deployments, packages};
use super::{Conn, StoreError};
use crate::model::gates::Gates;
use crate::model::{Activation, DeploymentId, JobOptions, OsFamily, PackageId, PackageState};

/// What, how, where from and when: of every open job of a deployment.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The package.
    pub package: PackageId,
    /// The package's state.
    pub package_state: PackageState,
    /// The package's system.
    pub package_os: OsFamily,
    /// The activation in force.
    pub activation: Option<Activation>,
    /// Force, schedule, post-command.
    pub options: JobOptions,
    /// When and where it may run, if the deployment says so.
    pub gates: Option<Gates>,
}

/// Terms that were read. They are true as long as nothing has changed but single computers; then another one of these is begun.
#[derive(Debug, Default)]
pub struct KnownTerms(Mutex<BTreeMap<i64, Arc<Terms>>>);

impl KnownTerms {
    /// The terms of each of these deployments, in their order. Those that are not known yet are read in one query.
    pub(super) fn of(&self, conn: &mut Conn, deployments: &[i64]) -> Result<Vec<Arc<Terms>>, StoreError> {
        let unknown: BTreeSet<i64> = {
            let known = self.lock();
            deployments.iter().filter(|id| !known.contains_key(id)).copied().collect()
        };
        if !unknown.is_empty() {
            let read = read(conn, &unknown.into_iter().collect::<Vec<_>>())?;
            self.lock().extend(read);
        }
        let known = self.lock();
        let find = |id: &i64| {
            known
                .get(id)
                .map(Arc::clone)
                .ok_or_else(|| At("jobs", *id).corrupt("there is no such deployment, or package"))
        };
        deployments.iter().map(find).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Arc<Terms>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(conn: &mut Conn, numbers: &[i64]) -> Result<Vec<(i64, Arc<Terms>)>, StoreError> {
    type Asked = (i64, i64, bool, Option<String>, Option<String>, Option<i64>);
    type Found = (Asked, (String, String), Option<ActivationRow>, Option<GatesRow>);
    let mut terms = Vec::with_capacity(numbers.len());
    for chunk in numbers.chunks(rows_of(1)) {
        let query = deployments::table
            .inner_join(packages::table.on(packages::id.eq(deployments::package_id)))
            .left_join(activations::table.on(activations::package_id.eq(deployments::package_id)))
            .left_join(deployment_gates::table.on(deployment_gates::deployment_id.eq(deployments::id)))
            .filter(deployments::id.eq_any(chunk));
        let asked = (
            deployments::id,
            deployments::package_id,
            deployments::force,
            deployments::schedule,
            deployments::post_command,
            deployments::follows,
        );
        let found: Vec<Found> = q!(conn => query
            .select((
                asked,
                (packages::state, packages::os),
                Option::<ActivationRow>::as_select(),
                Option::<GatesRow>::as_select(),
            ))
            .load(conn))?;
        for ((id, package, force, schedule, post_command, follows), (state, os), activation, gates) in found {
            let (deployment, of_package) = (At("deployments", DeploymentId(id)), At("packages", package));
            let one = Terms {
                package: deployment.package(package)?,
                package_state: of_package.check(state.parse())?,
                package_os: of_package.check(os.parse())?,
                activation: activation.map(Activation::try_from).transpose()?,
                options: deployment.options(force, schedule.as_deref(), post_command.as_deref(), follows)?,
                gates: gates.map(Gates::try_from).transpose()?,
            };
            terms.push((id, Arc::new(one)));
        }
    }
    Ok(terms)
}
