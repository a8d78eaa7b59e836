//! `/packages`.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, Page, Paging, limit, operation};
use crate::clock::utc_text;
use crate::model::PackageId;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::service::desk::packages::PackageLine;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(Method::GET, "/packages", "list_packages", "Packages, newest first", Right::SeePackages, list),
        operation(Method::GET, "/packages/{id}", "get_package", "One package", Right::SeePackages, get),
        operation(
            Method::DELETE,
            "/packages/{id}",
            "withdraw_package",
            "Takes a package back: nothing is offered any more and open jobs are cancelled",
            Right::WithdrawPackages,
            withdraw,
        ),
    ]
}

/// A package's number.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ById {
    /// The package's number.
    id: u32,
}

impl ById {
    pub(super) fn id(&self) -> Result<PackageId, Refusal> {
        PackageId::new(self.id).ok_or_else(|| Refusal::not_found(format!("there is no package {}", self.id)))
    }
}

/// A package.
#[derive(JsonSchema, Serialize)]
pub(super) struct PackageView {
    /// Its number, never used again.
    id: u32,
    /// The family: packages of one family are versions of each other.
    name: String,
    /// The version.
    version: String,
    /// Free text.
    description: String,
    /// `linux`, `windows` or `macos`.
    os: &'static str,
    /// `launch`, `execute` or `store`.
    action: &'static str,
    /// The pace: 0 is at once, 10 the slowest.
    priority: u32,
    /// How many fragments the archive has.
    fragments: u32,
    /// Bytes of the archive.
    size: u64,
    /// `building`, `available` or `withdrawn`.
    state: &'static str,
    /// When it was built.
    created_at: String,
    /// Where agents fetch it; absent until it is activated.
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<ActivationView>,
    /// How many jobs are in which state.
    jobs: std::collections::BTreeMap<&'static str, u64>,
}

/// Where agents fetch a package.
#[derive(JsonSchema, Serialize)]
struct ActivationView {
    /// The info file, over HTTPS.
    info_location: String,
    /// The fragments.
    fragment_location: String,
    /// When it was activated.
    activated_at: String,
    /// Was every file fetched and compared?
    checked: bool,
}

impl From<PackageLine> for PackageView {
    fn from(line: PackageLine) -> Self {
        let package = line.package;
        Self {
            id: package.id.number(),
            name: package.name,
            version: package.version,
            description: package.description,
            os: package.os.as_str(),
            action: package.action.as_str(),
            priority: package.priority.number(),
            fragments: package.fragments.0,
            size: package.size,
            state: package.state.as_str(),
            created_at: utc_text(package.created_at),
            activation: line.activation.map(|activation| ActivationView {
                info_location: activation.info_location.to_string(),
                fragment_location: activation.fragment_location.to_string(),
                activated_at: utc_text(activation.activated_at),
                checked: activation.checked_at.is_some(),
            }),
            jobs: line.counts.into_iter().map(|(state, count)| (state.as_str(), count)).collect(),
        }
    }
}

fn list(asked: Asked<Nothing, Paging, Nothing>) -> Result<Page<PackageView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let before = asked.query.after.as_deref().map(str::parse::<PackageId>).transpose();
    let before = before.map_err(|error| Refusal::invalid(error.to_string()).about("after"))?;
    let lines = asked.desk().packages(before, limit + 1)?;
    Ok(Page::cut(lines, limit, |line| line.package.id.to_string(), PackageView::from))
}

fn get(asked: Asked<ById, Nothing, Nothing>) -> Result<PackageView, Refusal> {
    Ok(asked.desk().package(asked.path.id()?)?.into())
}

fn withdraw(asked: Asked<ById, Nothing, Nothing>) -> Result<WithdrawnView, Refusal> {
    let withdrawn = asked.desk().withdraw(asked.path.id()?)?;
    Ok(WithdrawnView {
        cancelled_jobs: withdrawn.cancelled_jobs,
        cancelled_deployments: withdrawn.cancelled_deployments,
    })
}

/// What a withdrawal ended.
#[derive(JsonSchema, Serialize)]
struct WithdrawnView {
    /// Open jobs that were cancelled.
    cancelled_jobs: usize,
    /// Deployments that were cancelled.
    cancelled_deployments: usize,
}
