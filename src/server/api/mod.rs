//! The JSON API: `/api/v1/…`, HTTPS only.
//!
//! [`operations`] is the table of everything that programs can ask for. The router, the rights and the document at
//! `/api/v1/openapi.json` are made of it, so none of them can lack a row that another has.
//!
//! ```text
//! operation.rs  an operation: its types are its document     problem.rs  refusals (RFC 9457)
//! serve.rs      who asks, If-Match, Idempotency-Key          openapi.rs  the document (OpenAPI 3.1)
//! ```

#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "every operation is one function of what was asked, whether it keeps it and can refuse or not"
)]

mod approvals;
mod attention;
mod audit;
mod builds;
mod computers;
mod deployments;
mod fields;
mod groups;
mod identity;
mod imports;
mod likenesses;
mod mirrors;
mod networks;
mod openapi;
mod operation;
pub(super) mod packages;
mod people;
mod problem;
mod series;
mod serve;
mod settings;
mod software;
mod status;
mod templates;
mod uploads;
mod verbs;
mod views;
mod webhooks;

use axum::Router;

use self::operation::Operation;
pub(super) use self::problem::status;
pub(super) use self::serve::guarded;
pub(super) use self::uploads::Growing;
use super::Site;

/// Every operation, in the order of the document.
pub(super) fn operations() -> Vec<Operation> {
    [
        attention::operations(),
        audit::operations(),
        computers::operations(),
        identity::operations(),
        likenesses::operations(),
        approvals::operations(),
        deployments::operations(),
        fields::operations(),
        groups::operations(),
        mirrors::operations(),
        networks::operations(),
        packages::operations(),
        builds::operations(),
        imports::operations(),
        people::operations(),
        series::operations(),
        settings::operations(),
        software::operations(),
        status::operations(),
        templates::operations(),
        uploads::operations(),
        verbs::operations(),
        views::operations(),
        webhooks::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The routes.
pub(super) fn router() -> Router<Site> {
    serve::router(operations())
}
