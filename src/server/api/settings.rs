//! `/settings`.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, operation};
use crate::model::access::Right;
use crate::model::settings::SettingKey;
use crate::service::desk::Refusal;
use crate::service::desk::settings::EveryonesLayers;
use crate::service::settings::{Overview, Whose};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(Method::GET, "/settings", "list_settings", "What agents are told", Right::SeeSettings, list),
        operation(Method::GET, "/settings/{key}", "get_setting", "One setting", Right::SeeSettings, get),
        operation(
            Method::PUT,
            "/settings/{key}",
            "set_setting",
            "Sets a value for every computer, a group or a computer",
            Right::EditSettings,
            set,
        ),
        operation(
            Method::DELETE,
            "/settings/{key}",
            "unset_setting",
            "Takes back what was set by hand",
            Right::EditSettings,
            unset,
        ),
    ]
}

/// A setting's stock name.
#[derive(Deserialize, JsonSchema)]
struct ByKey {
    /// Such as `PROLOG_FREQ`.
    key: String,
}

impl ByKey {
    fn key(&self) -> Result<SettingKey, Refusal> {
        self.key.parse().map_err(|_| Refusal::not_found("there is no such setting"))
    }
}

/// A setting as it holds for every computer that says nothing itself.
#[derive(JsonSchema, Serialize)]
struct SettingView {
    /// The stock name.
    key: &'static str,
    /// What holds.
    value: i64,
    /// Where it comes from: `default`, `configuration` or `global`.
    origin: &'static str,
    /// What was set by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<i64>,
    /// What the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    configured: Option<i64>,
    /// What holds when nothing is set.
    default: i64,
    /// The smallest value.
    min: i64,
    /// The largest value.
    max: i64,
    /// What it counts.
    unit: &'static str,
    /// What it does.
    meaning: &'static str,
    /// Computers with a value of their own.
    computers_with_their_own: usize,
}

impl From<Overview> for SettingView {
    fn from(overview: Overview) -> Self {
        let (layers, info) = (EveryonesLayers::from(&overview), overview.explanation.key.info());
        Self {
            key: info.name,
            value: overview.explanation.value,
            origin: overview.explanation.origin().word(),
            set: layers.set,
            configured: layers.configured,
            default: info.default,
            min: info.min,
            max: info.max,
            unit: info.unit,
            meaning: info.meaning,
            computers_with_their_own: overview.own_values,
        }
    }
}

/// All settings.
#[derive(JsonSchema, Serialize)]
struct Settings {
    /// In the order of the command line.
    items: Vec<SettingView>,
}

fn list(asked: Asked<Nothing, Nothing, Nothing>) -> Result<Settings, Refusal> {
    Ok(Settings { items: asked.desk().settings()?.into_iter().map(SettingView::from).collect() })
}

fn get(asked: Asked<ByKey, Nothing, Nothing>) -> Result<SettingView, Refusal> {
    Ok(asked.desk().setting(asked.path.key()?)?.into())
}

/// For whom; nobody named is every computer.
#[derive(Default, Deserialize, JsonSchema)]
struct For {
    /// A computer, by host name or device id.
    computer: Option<String>,
    /// A group, by name.
    group: Option<String>,
}

impl For {
    fn whose(self) -> Result<Whose, Refusal> {
        match (self.computer, self.group) {
            (None, None) => Ok(Whose::Everyone),
            (Some(computer), None) => Ok(Whose::Computer(computer)),
            (None, Some(group)) => Ok(Whose::Group(group)),
            (Some(_), Some(_)) => Err(Refusal::invalid("name a computer or a group, not both").about("computer")),
        }
    }
}

/// A value.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Value {
    /// Within the setting's bounds.
    value: i64,
}

/// What a change did.
#[derive(JsonSchema, Serialize)]
struct ChangedView {
    /// What that layer said before.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<i64>,
    /// What holds now.
    value: i64,
    /// Open jobs that suffer, as sentences.
    warnings: Vec<String>,
}

fn changed(asked: Asked<ByKey, For, Nothing>, value: Option<i64>) -> Result<ChangedView, Refusal> {
    let key = asked.path.key()?;
    let desk = asked.desk().clone();
    let text = value.map(|value| value.to_string());
    let changed = desk.change_setting(key, text.as_deref(), asked.query.whose()?)?;
    Ok(ChangedView { before: changed.before, value: changed.explanation.value, warnings: changed.warnings })
}

fn set(asked: Asked<ByKey, For, Value>) -> Result<ChangedView, Refusal> {
    let value = asked.body.value;
    let Asked { path, query, visit, site, .. } = asked;
    changed(Asked { path, query, body: Nothing {}, visit, site }, Some(value))
}

fn unset(asked: Asked<ByKey, For, Nothing>) -> Result<ChangedView, Refusal> {
    changed(asked, None)
}
