//! `/server` and `/status`.

use std::collections::BTreeMap;

use http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use super::operation::{Asked, Nothing, Operation, operation};
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::service::desk::Refusal;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Method::GET,
            "/server",
            "get_server",
            "Which server this is: version, time, and who asks with which rights",
            None,
            server,
        ),
        operation(
            Method::GET,
            "/status",
            "get_status",
            "How many jobs of each package are in which state",
            Right::SeeDeployments,
            status,
        ),
    ]
}

/// A server, and who asks it.
#[derive(JsonSchema, Serialize)]
struct ServerView {
    /// Its version.
    version: &'static str,
    /// Its time.
    now: String,
    /// Who asks: the user's name, and the token's.
    actor: String,
    /// What they may do.
    rights: Vec<&'static str>,
    /// The query of the computers that their rights hold for; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    computers: Option<String>,
    /// The families that they hold for; empty for all.
    families: Vec<String>,
}

fn server(asked: Asked<Nothing, Nothing, Nothing>) -> Result<ServerView, Refusal> {
    let actor = asked.desk().actor();
    Ok(ServerView {
        version: env!("CARGO_PKG_VERSION"),
        now: utc_text(asked.site.app.clock.now()),
        actor: actor.label(),
        rights: actor.rights.iter().map(Right::as_str).collect(),
        computers: actor.scope.computers.as_ref().map(ToString::to_string),
        families: actor.scope.families.iter().map(ToString::to_string).collect(),
    })
}

/// How far everything is.
#[derive(JsonSchema, Serialize)]
struct StatusView {
    /// Packages that have been assigned, the oldest first.
    packages: Vec<PackageStatus>,
}

/// How far a package is.
#[derive(JsonSchema, Serialize)]
struct PackageStatus {
    /// Its number.
    package: u32,
    /// The family.
    name: String,
    /// The version.
    version: String,
    /// How many jobs are in which state.
    jobs: BTreeMap<&'static str, u64>,
}

fn status(asked: Asked<Nothing, Nothing, Nothing>) -> Result<StatusView, Refusal> {
    let packages = asked.desk().status()?.into_iter().map(|(package, counts)| PackageStatus {
        package: package.id.number(),
        name: package.name,
        version: package.version,
        jobs: counts.into_iter().map(|(state, count)| (state.as_str(), count)).collect(),
    });
    Ok(StatusView { packages: packages.collect() })
}
