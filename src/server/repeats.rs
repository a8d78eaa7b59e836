//! Runs of series whose time has come.

use crate::service::App;
use crate::service::series::{self, Outcome};

/// Begins what is due, and says so. What could not be begun is tried again at the next look.
pub(super) fn begin(app: &App) {
    let begun = match series::start_due(app) {
        Ok(begun) => begun,
        Err(error) => {
            tracing::error!("failed to look for runs that are due: {:#}", anyhow::Error::from(error));
            return;
        }
    };
    for (id, outcome) in begun {
        match outcome {
            Ok(None) => {}
            Ok(Some(Outcome::Begun(begun))) => {
                let planned: usize = begun.made.iter().map(|one| one.planned).sum();
                tracing::info!("run {} of series {id} began: {planned} jobs planned", begun.run);
            }
            Ok(Some(Outcome::Paused(problem))) => tracing::warn!("series {id} pauses: {problem}"),
            Err(error) => {
                tracing::error!("failed to begin a run of series {id}: {:#}", anyhow::Error::from(error));
            }
        }
    }
}
