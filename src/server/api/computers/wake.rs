//! Waking a computer, and what became of it.

use http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::operation::{Asked, Nothing, Operation};
use super::ByName;
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::store::wakes::Wake;

pub(super) fn operation() -> Operation {
    super::operation(
        Method::POST,
        "/computers/{computer}/wake",
        "wake_computer",
        "Wakes a computer over the network; many with `/computers/selected`",
        Right::WakeComputers,
        wake,
    )
}

/// A wish to wake a computer, and what became of it.
#[derive(JsonSchema, Serialize)]
pub(in super::super) struct WakeView {
    /// When it was asked for.
    asked_at: String,
    /// By whom.
    by: String,
    /// The deployment that it was for; absent if somebody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<i64>,
    /// `waiting` for its turn; `sent`: the packets are out; `came`: it was heard of after that; `silent`: it was not, for half
    /// an hour; `not-needed`: it came before, or nothing was left to do; `no-address`: its inventory has no MAC address of a
    /// card; `failed`: the packets could not be sent.
    state: &'static str,
    /// When the packets went out.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<String>,
    /// When it was heard of after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    came_at: Option<String>,
    /// Why no packet went out.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl From<Wake> for WakeView {
    fn from(wake: Wake) -> Self {
        Self {
            asked_at: utc_text(wake.asked_at),
            by: wake.by,
            deployment: wake.deployment.map(|id| id.0),
            state: wake.state.as_str(),
            sent_at: wake.sent_at.map(utc_text),
            came_at: wake.came_at.map(utc_text),
            problem: wake.problem,
        }
    }
}

fn wake(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().wake_computer(&asked.path.computer)?;
    Ok(Nothing {})
}
