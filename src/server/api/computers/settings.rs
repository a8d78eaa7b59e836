//! What a computer is told: each setting with the layers that it comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::operation::{Asked, Nothing};
use super::ByName;
use crate::model::settings::SettingKey;
use crate::service::desk::Refusal;
use crate::service::settings::Explanation;

/// A setting as it holds for a computer.
#[derive(JsonSchema, Serialize)]
struct SettingView {
    /// Its stock name.
    key: &'static str,
    /// What holds.
    value: i64,
    /// What it counts.
    unit: &'static str,
    /// What it does.
    meaning: &'static str,
    /// The layer that it comes from.
    origin: String,
    /// What every layer says, the nearest first.
    layers: Vec<LayerView>,
}

/// A layer's part.
#[derive(JsonSchema, Serialize)]
struct LayerView {
    /// `computer`, `group NAME`, `global`, `configuration` or `default`.
    layer: String,
    /// What it says; absent if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<i64>,
    /// Why it holds, or does not.
    why: &'static str,
}

impl From<Explanation> for SettingView {
    fn from(explained: Explanation) -> Self {
        let info = explained.key.info();
        Self {
            key: info.name,
            value: explained.value,
            unit: info.unit,
            meaning: info.meaning,
            origin: explained.origin().to_string(),
            layers: explained
                .parts
                .into_iter()
                .map(|part| LayerView { layer: part.layer.to_string(), value: part.value, why: part.why })
                .collect(),
        }
    }
}

/// Settings.
#[derive(JsonSchema, Serialize)]
pub(super) struct SettingsView {
    /// Every one.
    items: Vec<SettingView>,
}

pub(super) fn of_computer(asked: Asked<ByName, Nothing, Nothing>) -> Result<SettingsView, Refusal> {
    let (_, all) = asked.desk().computer_settings(&asked.path.computer)?;
    Ok(SettingsView { items: all.into_iter().map(SettingView::from).collect() })
}

/// A setting of a computer.
#[derive(Deserialize, JsonSchema)]
pub(super) struct BySetting {
    /// The device id, or the host name if it is one computer's alone.
    computer: String,
    /// The setting's stock name: `PROLOG_FREQ`.
    key: String,
}

impl BySetting {
    fn key(&self) -> Result<SettingKey, Refusal> {
        self.key.parse().map_err(|error: crate::model::settings::InvalidSetting| Refusal::not_found(error.to_string()))
    }
}

/// A number.
#[derive(Deserialize, JsonSchema)]
pub(super) struct NumberBody {
    /// Within the setting's bounds.
    value: i64,
}

/// What a change of a setting did.
#[derive(JsonSchema, Serialize)]
pub(super) struct ChangedView {
    /// How it holds now.
    setting: SettingView,
    /// Sentences about open jobs that suffer.
    warnings: Vec<String>,
}

pub(super) fn set(asked: Asked<BySetting, Nothing, NumberBody>) -> Result<ChangedView, Refusal> {
    let (key, value) = (asked.path.key()?, asked.body.value.to_string());
    let changed = asked.desk().set_computer_setting(&asked.path.computer, key, Some(&value))?;
    Ok(ChangedView { setting: changed.explanation.into(), warnings: changed.warnings })
}

pub(super) fn unset(asked: Asked<BySetting, Nothing, Nothing>) -> Result<ChangedView, Refusal> {
    let changed = asked.desk().set_computer_setting(&asked.path.computer, asked.path.key()?, None)?;
    Ok(ChangedView { setting: changed.explanation.into(), warnings: changed.warnings })
}
