//! `GET /readyz`: can this server do its work? It tries, and says in a sentence what it cannot.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::Response;
use http::StatusCode;
use tokio::time::Instant;

use super::{Remote, Site, pages, reply};
use crate::model::ByteSize;
use crate::store::{StoreError, figures};

/// A write that held proves this long that the database can be written: whoever asks every second costs no sync a second.
const HELD: Duration = Duration::from_secs(5);

/// What is known from the last time.
#[derive(Clone, Debug)]
pub(super) struct Readiness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free_space: ByteSize,
    wrote: Mutex<Option<Instant>>,
}

impl Readiness {
    pub(super) fn new(free_space: ByteSize) -> Self {
        Self(Arc::new(Inner { free_space, wrote: Mutex::default() }))
    }

    fn wrote_lately(&self) -> bool {
        let wrote = self.0.wrote.lock().unwrap_or_else(PoisonError::into_inner);
        wrote.is_some_and(|at| at.elapsed() < HELD)
    }

    fn has_written(&self) {
        *self.0.wrote.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Answers "ready", or 503 with the first thing that is wrong.
pub(super) async fn ready(State(site): State<Site>, Extension(remote): Extension<Remote>) -> Response {
    if let Some(refusal) = pages::from_elsewhere(&remote) {
        return refusal;
    }
    match look(&site).await {
        Ok(()) => reply::text(StatusCode::OK, "ready"),
        Err(problem) => {
            tracing::warn!("/readyz: not ready: {problem}");
            reply::later(&format!("not ready: {problem}"))
        }
    }
}

async fn look(site: &Site) -> Result<(), String> {
    let read = site.app.store.read(|conn| -> Result<(), StoreError> { figures::can_read(conn) }).await;
    read.map_err(|error| format!("the database cannot be read: {error}"))?;
    let files = site.clone();
    let looked = tokio::task::spawn_blocking(move || look_at_files(&files));
    // A panic goes on where the request's own net catches it. The task is never cancelled.
    looked.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    if !site.readiness.wrote_lately() {
        let now = site.app.clock.now();
        let wrote = site.app.store.write(move |conn| -> Result<(), StoreError> { figures::can_write(conn, now) }).await;
        wrote.map_err(|error| format!("the database cannot be written: {error}"))?;
        site.readiness.has_written();
    }
    Ok(())
}

fn look_at_files(site: &Site) -> Result<(), String> {
    let shown = Path::display;
    let tree = &site.app.tree;
    std::fs::read_dir(tree.download())
        .map_err(|error| format!("the tree {} cannot be read: {error}", shown(tree.download())))?;
    // A file without a name: nothing is left of it, whatever happens.
    tree.spool().map_err(|error| format!("packages cannot be built in {}: {error}", shown(tree.staging())))?;
    let wanted = site.readiness.0.free_space;
    for directory in [tree.download(), &*site.data_dir] {
        // Where a system does not tell how much is left, nothing is known to be wrong.
        if let Ok(free) = crate::disk::space::free(directory)
            && free < wanted.0
        {
            return Err(format!(
                "only {} are left on the disk of {}, and limits.free_space asks for {wanted}: make room, or withdraw packages",
                ByteSize(free),
                shown(directory)
            ));
        }
    }
    Ok(())
}
