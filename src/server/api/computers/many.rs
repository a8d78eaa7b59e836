//! The same for many computers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::operation::{Asked, Nothing};
use crate::service::desk::Refusal;
use crate::service::desk::computers::{self as desk, Bulk, Chosen};

/// What to do to which computers. Either `computers` or `where`.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ManyBody {
    /// By device id or name.
    #[serde(default)]
    computers: Vec<String>,
    /// Every one that this query asks for; empty is all of them.
    #[serde(rename = "where")]
    query: Option<String>,
    /// With `where`: those that are archived.
    #[serde(default)]
    archived: bool,
    /// What.
    action: ActionWord,
    /// The tag, the group's name, or the value of the field or the setting; empty takes one back.
    #[serde(default)]
    value: String,
    /// For `field`: its name or number.
    #[serde(default)]
    field: String,
    /// For `setting`: its stock name, `PROLOG_FREQ`.
    #[serde(default)]
    setting: String,
}

/// What is done.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ActionWord {
    /// `value` becomes the tag; empty takes it back.
    Tag,
    /// Put away.
    Archive,
    /// Taken back.
    Restore,
    /// Erased, those that are archived.
    Delete,
    /// Made members of the group `value`.
    AddToGroup,
    /// `value` is written into `field`; empty takes it back.
    Field,
    /// `value` becomes their own value of `setting`; empty takes it back.
    Setting,
    /// Woken over the network, one after the other.
    Wake,
}

/// What was done.
#[derive(JsonSchema, Serialize)]
pub(super) struct ManyView {
    /// Computers that were changed.
    changed: usize,
    /// Computers that were so already, or may not be changed so.
    left: usize,
    /// The number to take it back by (`/changes/{change}/undo`), where that can be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<i64>,
    /// Computers with which it could not be done: for `wake`, those whose inventory has no MAC address of a card.
    unable: usize,
    /// The first of them, by their device ids.
    unable_first: Vec<String>,
}

pub(super) fn change_many(asked: Asked<Nothing, Nothing, ManyBody>) -> Result<ManyView, Refusal> {
    let body = &asked.body;
    let chosen = match (&body.query, body.computers.is_empty()) {
        (Some(query), true) => {
            Chosen::All(desk::Asked { query: query.clone(), archived: body.archived, ..desk::Asked::default() })
        }
        (None, false) => Chosen::Named(body.computers.clone()),
        _ => return Err(Refusal::invalid("name computers or give a query (where), not both and not neither")),
    };
    let bulk = match body.action {
        ActionWord::Tag => Bulk::Tag(body.value.clone()),
        ActionWord::Archive => Bulk::Archive,
        ActionWord::Restore => Bulk::Restore,
        ActionWord::Delete => Bulk::Delete,
        ActionWord::Wake => Bulk::Wake,
        ActionWord::AddToGroup => Bulk::Include(body.value.clone()),
        ActionWord::Field => Bulk::Field { field: body.field.clone(), value: body.value.clone() },
        ActionWord::Setting => {
            let key = body.setting.parse();
            let key = key.map_err(|error: crate::model::settings::InvalidSetting| {
                Refusal::invalid(error.to_string()).about("setting")
            })?;
            Bulk::Setting { key, value: Some(body.value.clone()).filter(|value| !value.trim().is_empty()) }
        }
    };
    let done = asked.desk().change_many(&chosen, &bulk)?;
    Ok(ManyView {
        changed: done.changed,
        left: done.left,
        undo: done.undo,
        unable: done.unable,
        unable_first: done.named.iter().map(ToString::to_string).collect(),
    })
}
