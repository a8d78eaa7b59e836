//! `/jobs/stuck`: what needs a person, one by one.

use http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use super::operation::{Asked, Nothing, Operation, Page, Paging, limit, operation};
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::store::attention::{InvalidPlace, Stuck};

pub(super) fn operations() -> Vec<Operation> {
    vec![operation(
        Method::GET,
        "/jobs/stuck",
        "list_stuck_jobs",
        "Jobs of which their computers were told, which come, and nothing followed for `STUCK_AFTER` days",
        Right::SeeDeployments,
        list,
    )]
}

/// A job to which nothing happens.
#[derive(JsonSchema, Serialize)]
struct StuckView {
    /// The job's number.
    job: i64,
    /// Its deployment's.
    deployment: i64,
    /// Its package's.
    package: u32,
    /// The package's name and version.
    package_name: String,
    /// The computer's device id.
    device_id: String,
    /// The computer's name.
    name: String,
    /// When something last happened to the job.
    moved_at: String,
    /// When the computer was last heard of.
    last_contact: String,
}

impl From<Stuck> for StuckView {
    fn from(stuck: Stuck) -> Self {
        Self {
            job: stuck.job.0,
            deployment: stuck.deployment.0,
            package: stuck.package.number(),
            package_name: format!("{} {}", stuck.package_name, stuck.package_version),
            device_id: stuck.device_id,
            name: stuck.name,
            moved_at: utc_text(stuck.moved_at),
            last_contact: utc_text(stuck.last_contact),
        }
    }
}

fn list(asked: Asked<Nothing, Paging, Nothing>) -> Result<Page<StuckView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let after = asked.query.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|error: InvalidPlace| Refusal::invalid(error.to_string()).about("after"))?;
    let stuck = asked.desk().stuck(after, limit + 1)?;
    Ok(Page::cut(stuck, limit, |last| last.place().to_string(), StuckView::from))
}
