//! Withdrawing a package, and what can still be done about it: restoring it, or forgetting its files.

use std::time::Duration;

use super::App;
use crate::disk::{LockError, TreeError, checkpoint, lock};
use crate::model::{Package, PackageId, PackageState, UnixTime};
use crate::store::withdrawals::{self, Withdrawal};
use crate::store::{StoreError, activations, deployments, jobs, packages};

/// What a withdrawal ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Withdrawn {
    /// Jobs that were still open.
    pub cancelled_jobs: usize,
    /// Deployments that were in force.
    pub cancelled_deployments: usize,
}

/// Why a withdrawal failed.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// No such package.
    #[error("there is no package {0}: `dripfeed package list` shows them")]
    Unknown(PackageId),
    /// It was withdrawn before.
    #[error("package {0} is withdrawn already")]
    Already(PackageId),
    /// The tree could not be changed; `reconcile` does it at the next start.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How long the files of a withdrawn package are kept.
pub const KEPT: Duration = Duration::from_hours(7 * 24);

/// Takes a package back: nothing is offered any more, open jobs are cancelled, its tree is taken away. The row, its
/// results and its id stay; its files stay for [`KEPT`], so that [`restore`] can undo it.
pub fn withdraw(app: &App, id: PackageId) -> Result<Withdrawn, WithdrawError> {
    let now = app.clock.now();
    let withdrawn = app.store.write_now(move |conn| -> Result<Withdrawn, WithdrawError> {
        let package = packages::find(conn, id)?.ok_or(WithdrawError::Unknown(id))?;
        if package.state == PackageState::Withdrawn {
            return Err(WithdrawError::Already(id));
        }
        packages::set_state(conn, id, PackageState::Withdrawn)?;
        let activation = activations::find(conn, id)?;
        withdrawals::add(conn, &Withdrawal { package: id, at: now, activation })?;
        activations::remove(conn, id)?;
        let cancelled_deployments = deployments::cancel_of_package(conn, id, now)?;
        let cancelled_jobs = jobs::cancel_of_package(conn, id, now)?;
        Ok(Withdrawn { cancelled_jobs, cancelled_deployments })
    })?;
    checkpoint("withdraw:noted");
    // After the commit: a crash in between leaves a tree that nobody is sent to, and `reconcile` removes it.
    app.tree.set_aside(id)?;
    Ok(withdrawn)
}

/// Why a withdrawal could not be undone.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// No such package.
    #[error("there is no package {0}: `dripfeed package list` shows them")]
    Unknown(PackageId),
    /// It was not withdrawn.
    #[error("package {0} is {1}: only a withdrawn package can be restored")]
    NotWithdrawn(PackageId, &'static str),
    /// Its files are gone.
    #[error("the files of package {0} are not kept any more: build it anew")]
    Gone(PackageId),
    /// The tree could not be changed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The lock that keeps builds and clean-up apart.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Undoes a withdrawal: the same files under the same id, with the activation that they had. Jobs and deployments that it
/// cancelled stay cancelled: computers were told so.
pub fn restore(app: &App, id: PackageId) -> Result<Package, RestoreError> {
    // A start in between would take the tree away again.
    let _building = lock::shared(&app.tree.build_lock())?;
    let found = app.store.read_now(move |conn| -> Result<_, StoreError> {
        Ok((packages::find(conn, id)?, withdrawals::find(conn, id)?))
    })?;
    let (package, withdrawal) = match found {
        (None, _) => return Err(RestoreError::Unknown(id)),
        (Some(package), _) if package.state != PackageState::Withdrawn => {
            return Err(RestoreError::NotWithdrawn(id, package.state.as_str()));
        }
        (Some(_), None) => return Err(RestoreError::Gone(id)),
        (Some(package), Some(withdrawal)) => (package, withdrawal),
    };
    // The files first: the database never says "available" of what is not there.
    if !app.tree.restore(id)? {
        return Err(RestoreError::Gone(id));
    }
    app.store.write_now(move |conn| -> Result<(), StoreError> {
        packages::set_state(conn, id, PackageState::Available)?;
        withdrawals::remove(conn, id)?;
        withdrawal.activation.map_or(Ok(()), |activation| activations::set(conn, &activation))
    })?;
    Ok(Package { state: PackageState::Available, ..package })
}

/// Removes the files of a withdrawn package: it cannot be restored any more. `false` if there were none.
pub fn forget(app: &App, id: PackageId) -> Result<bool, RestoreError> {
    let state = app.store.read_now(move |conn| packages::find(conn, id))?.map(|package| package.state);
    match state {
        None => return Err(RestoreError::Unknown(id)),
        Some(PackageState::Withdrawn) => {}
        Some(state) => return Err(RestoreError::NotWithdrawn(id, state.as_str())),
    }
    app.store.write_now(move |conn| withdrawals::remove(conn, id))?;
    Ok(app.tree.forget_aside(id)?)
}

/// Forgets what was withdrawn long enough ago; says how many that were.
pub fn forget_old(app: &App) -> Result<usize, RestoreError> {
    let old = UnixTime::from_millis(
        app.clock.now().millis().saturating_sub(i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX)),
    );
    let gone = app.store.read_now(move |conn| withdrawals::before(conn, old, 100))?;
    for id in &gone {
        forget(app, *id)?;
    }
    Ok(gone.len())
}
