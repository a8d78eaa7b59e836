//! Computers that a deployment wakes.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::computers::WakeView;
use super::super::operation::{Asked, Nothing, Operation, Page, limit};
use super::ById;
use crate::model::access::Right;
use crate::model::wake::WakeState;
use crate::model::{DeploymentId, DeviceId};
use crate::service::desk::Refusal;
use crate::store::wakes::Wake;

pub(super) fn operation() -> Operation {
    super::operation(
        Method::GET,
        "/deployments/{id}/wakes",
        "list_deployment_wakes",
        "Computers that a deployment wakes, and what became of it",
        Right::SeeDeployments,
        list,
    )
}

/// Which ones.
#[derive(Deserialize, JsonSchema)]
struct Which {
    /// Those in this state only: `no-address` names those that cannot be woken.
    state: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Entries of a page, from 1 to 1000; 100 if it is not said.
    limit: Option<u32>,
}

/// A computer that a deployment wakes.
#[derive(JsonSchema, Serialize)]
struct WokenView {
    /// Its device id.
    computer: String,
    #[serde(flatten)]
    wake: WakeView,
}

fn list(asked: Asked<ById, Which, Nothing>) -> Result<Page<WokenView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let state = asked.query.state.as_deref().map(str::parse::<WakeState>).transpose();
    let state = state.map_err(|error| Refusal::invalid(error.to_string()).about("state"))?;
    let after = asked.query.after.as_deref().map(place).transpose()?;
    let found = asked.desk().deployment_wake_list(DeploymentId(asked.path.id), state, after, limit + 1)?;
    let view = |(wake, computer): (Wake, DeviceId)| WokenView { computer: computer.to_string(), wake: wake.into() };
    Ok(Page::cut(found, limit, |(wake, _)| format!("{}.{}", wake.state.as_str(), wake.id), view))
}

/// Where a page ended: a state, and the last wake in it.
fn place(text: &str) -> Result<(WakeState, i64), Refusal> {
    let place = text.split_once('.').and_then(|(state, id)| Some((state.parse().ok()?, id.parse().ok()?)));
    place.ok_or_else(|| Refusal::invalid("this is not the \"next\" of a page").about("after"))
}
