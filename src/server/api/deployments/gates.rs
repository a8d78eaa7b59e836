//! When and where a deployment may run.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::operation::{Asked, Nothing, Operation, operation};
use super::ById;
use crate::clock::utc_text;
use crate::model::DeploymentId;
use crate::model::access::Right;
use crate::model::gates::Gates;
use crate::service::desk::Refusal;
use crate::service::gates::{GatesNow, read};

pub(super) fn operations() -> Vec<Operation> {
    vec![operation(
        Method::PUT,
        "/deployments/{id}/gates",
        "change_deployment_gates",
        "Changes when and where a deployment may run, for what was not offered yet; what is left out is taken away",
        Right::Deploy,
        change,
    )]
}

/// When and where a deployment may run; at any time and anywhere if nothing is said. It holds back what was not offered yet:
/// what an agent was told of cannot be recalled.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct GatesBody {
    /// Windows of a week, the first that holds the present decides, an exclamation mark closes:
    /// `!sat, mon-fri 20:00-06:00, daily 22:00-24:00`. What none holds is closed.
    windows: Option<String>,
    /// The time zone of the windows: a name such as `Europe/Berlin`, an offset such as `+02:00`, or `UTC`; this server's if it
    /// is not said.
    window_zone: Option<String>,
    /// Ranges of addresses from which computers come, the first that holds the address decides, an exclamation mark keeps away:
    /// `!10.2.3.4, 10.2.0.0/16, fd00::/8`. What none holds is kept away.
    ranges: Option<String>,
}

impl GatesBody {
    pub(in super::super) fn gates(&self) -> Result<Gates, Refusal> {
        Ok(read(self.windows.as_deref(), self.window_zone.as_deref(), self.ranges.as_deref())?)
    }
}

/// When and where something may run, and whether it may now.
#[derive(JsonSchema, Serialize)]
pub(in super::super) struct GatesView {
    /// Windows of a week; absent for any time.
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<String>,
    /// Their time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    window_zone: Option<String>,
    /// Ranges of addresses; absent for anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<String>,
    /// Is a window open now, or is there none?
    open: bool,
    /// When a closed window opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    opens_at: Option<String>,
    /// When an open window closes.
    #[serde(skip_serializing_if = "Option::is_none")]
    closes_at: Option<String>,
    /// What hardly anybody means: sentences.
    warnings: Vec<&'static str>,
}

impl From<GatesNow> for GatesView {
    fn from(now: GatesNow) -> Self {
        Self {
            windows: now.gates.windows_text(),
            window_zone: now.gates.zone().map(str::to_owned),
            ranges: now.gates.ranges_text(),
            open: now.is_open(),
            opens_at: now.opens_at().map(utc_text),
            closes_at: now.closes_at().map(utc_text),
            warnings: now.gates.warnings(),
        }
    }
}

/// When and where a deployment may run from now on; at any time and anywhere if nothing is said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    /// When and where.
    gates: Option<GatesBody>,
    /// The deployments that were made in one act with it, too.
    #[serde(default)]
    bundle: bool,
}

fn change(asked: Asked<ById, Nothing, ChangeBody>) -> Result<GatesView, Refusal> {
    let (desk, body) = (asked.desk(), &asked.body);
    let wanted = body.gates.as_ref().map_or_else(|| Ok(Gates::default()), GatesBody::gates)?;
    desk.change_gates(DeploymentId(asked.path.id), &wanted, body.bundle)?;
    Ok(desk.gates_now(wanted).into())
}
