//! The console: what administrators see in a browser. HTTPS only.
//!
//! Pages are rows of a table ([`pages`]): method, address, right, and a function from a [`Call`](call::Call) to a
//! [`View`](call::View). The functions ask the visitor's desk and nothing else; templates in `templates/` write what it
//! answered.
//! `docs/console-style.md` is the contract of the look.
//!
//! ```text
//! call.rs    what a page is given: fields, visitor, desk    shell.rs   the frame around a page
//! serve.rs   who asks, CSRF, headers, refusals              show.rs    times, sizes, states, bars for templates
//! toast.rs   what was just done, and its inverse
//! assets.rs  style, script, icons                           <room>.rs  the pages of a room, templates/<room>*.html
//! ```

#![expect(clippy::unnecessary_wraps, reason = "every page is one function of a call, whether it can refuse or not")]

mod account;
mod approvals;
mod assets;
mod audit;
mod build;
mod call;
mod certificates;
mod charts;
mod computer;
pub(in crate::server) mod computers;
mod deployments;
mod fields;
mod groups;
mod home;
mod likenesses;
mod mirrors;
mod networks;
mod packages;
mod registration;
mod registry;
mod search;
mod series;
mod serve;
mod settings;
mod shell;
mod show;
mod signin;
mod sites;
mod software;
mod stuck;
mod templates;
mod toast;
mod users;
mod webhooks;
mod work;

use axum::Router;

use self::call::Page;
use super::Site;

/// Every page, by room.
pub(super) fn pages() -> Vec<Page> {
    [
        account::pages(),
        approvals::pages(),
        audit::pages(),
        build::pages(),
        certificates::pages(),
        computer::pages(),
        computers::pages(),
        deployments::pages(),
        fields::pages(),
        groups::pages(),
        home::pages(),
        likenesses::pages(),
        mirrors::pages(),
        networks::pages(),
        packages::pages(),
        registration::pages(),
        registry::pages(),
        search::pages(),
        series::pages(),
        settings::pages(),
        sites::pages(),
        software::pages(),
        templates::pages(),
        stuck::pages(),
        users::pages(),
        webhooks::pages(),
        work::pages(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The routes.
pub(super) fn router(site: &Site) -> Router<Site> {
    serve::router(pages(), site).merge(assets::router()).merge(signin::router())
}
