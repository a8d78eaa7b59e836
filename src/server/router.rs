//! Every route, grouped by caller: the table of contents.

use axum::Router;
use axum::routing::{any, get};

use super::{Site, api, console, manifest, meters, ocs, pages, ready, tree};

/// Both listeners have all of these; what differs by listener is decided in the handler, which answers with a sentence.
pub(super) fn router(site: Site) -> Router {
    let people = api::guarded(api::router(), &site).merge(console::router(&site));
    Router::new()
        // Agents. The path below the door means nothing; QUERY decides.
        .route("/ocsinventory", any(ocs::receive))
        .route("/ocsinventory/", any(ocs::receive))
        .route("/ocsinventory/{*below}", any(ocs::receive))
        // Agents and mirrors: the published tree. `info` over HTTPS only.
        .route("/download/manifest", get(manifest::manifest).post(manifest::report))
        .route("/download/manifest/{package}", get(manifest::listing))
        .route("/download/{*key}", any(tree::serve))
        // People and their programs: HTTPS only.
        .merge(people)
        .route("/ca.pem", get(pages::authority))
        // Operators, on this machine.
        .route("/healthz", get(pages::alive))
        .route("/readyz", get(ready::ready))
        .route("/metrics", get(meters::metrics))
        .fallback(pages::nothing)
        .method_not_allowed_fallback(pages::wrong_method)
        .with_state(site)
}
