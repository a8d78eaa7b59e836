//! What a start does first: ends what a crash left half done (DESIGN.md, promise 2).
//!
//! The tree is the truth for bytes, the database for intent. A package in state `building` whose tree is there was
//! published: its row was complete before the rename. One without a tree never happened. A withdrawn package whose tree
//! is still there is removed from it.

use super::App;
use crate::disk::{LockError, TreeError, lock};
use crate::model::{PackageId, PackageState};
use crate::store::{StoreError, packages};

/// What was found and done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Healed {
    /// Published, but not marked so.
    pub completed: Vec<PackageId>,
    /// Never published.
    pub discarded: Vec<PackageId>,
    /// Withdrawn, but still in the tree.
    pub removed: Vec<PackageId>,
    /// Available, but not in the tree: somebody removed it by hand. Nothing can be done here but say so.
    pub lost: Vec<PackageId>,
    /// True if a build was running, so that nothing was touched.
    pub skipped: bool,
}

/// Why a start cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The lock that keeps builds and clean-up apart.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Heals tree and database. Safe beside running builds: while one holds the build lock, nothing is touched.
pub fn run(app: &App) -> Result<Healed, ReconcileError> {
    let Some(_alone) = lock::try_alone(&app.tree.build_lock())? else {
        return Ok(Healed { skipped: true, ..Healed::default() });
    };
    let mut healed = Healed::default();
    let in_state = |state| app.store.read_now(move |conn| packages::in_state(conn, state));
    for id in in_state(PackageState::Building)? {
        if app.tree.contains(id) {
            app.store.write_now(move |conn| packages::set_state(conn, id, PackageState::Available))?;
            healed.completed.push(id);
        } else {
            app.store.write_now(move |conn| packages::discard(conn, id))?;
            healed.discarded.push(id);
        }
    }
    for id in in_state(PackageState::Withdrawn)? {
        if app.tree.set_aside(id)? {
            healed.removed.push(id);
        }
    }
    healed.lost = in_state(PackageState::Available)?.into_iter().filter(|id| !app.tree.contains(*id)).collect();
    app.tree.clear_staging()?;
    Ok(healed)
}
