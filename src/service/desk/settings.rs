//! What agents are told: look and change.

use serde_json::json;

use super::super::groups;
use super::super::settings::{self, Changed, Overview, Whose};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::settings::SettingKey;
use crate::store::settings::Scope as StoredScope;
use crate::store::{StoreError, audit, computers, groups as group_rows, settings as stored};

/// Computers with values of their own that are named.
const NAMED: usize = 200;

/// Who has a value of their own.
#[derive(Clone, Debug, Default)]
pub struct OwnValues {
    /// Groups by name.
    pub groups: Vec<(String, i64)>,
    /// Computers by name and device id, at most some hundred.
    pub computers: Vec<(String, String, i64)>,
    /// Computers that are not named here.
    pub more: usize,
}

impl Desk {
    /// Every setting as it holds for everyone.
    pub fn settings(&self) -> Result<Vec<Overview>, Refusal> {
        Ok(settings::list(self.reading(Right::SeeSettings)?)?)
    }

    /// One setting.
    pub fn setting(&self, key: SettingKey) -> Result<Overview, Refusal> {
        let found = self.settings()?.into_iter().find(|overview| overview.explanation.key == key);
        found.ok_or_else(|| Refusal::not_found(format!("there is no setting \"{key}\"")))
    }

    /// Groups and computers that have a value of their own. Computers outside the actor's scope are counted only.
    pub fn own_values(&self, key: SettingKey) -> Result<OwnValues, Refusal> {
        let app = self.reading(Right::SeeSettings)?;
        let (groups, candidates, all) = app.store.read_now(move |conn| -> Result<_, StoreError> {
            let mut groups = Vec::new();
            for group in group_rows::list(conn)? {
                if let Some(value) = stored::layer(conn, StoredScope::Group(group.id))?.value(key) {
                    groups.push((group.name, value));
                }
            }
            let all = stored::computer_counts(conn)?.get(&key).copied().unwrap_or(0);
            let mut named = Vec::new();
            for (id, value) in stored::computer_values(conn, key, NAMED)? {
                if let Some(computer) = computers::find(conn, id)? {
                    named.push((computer, value));
                }
            }
            Ok((groups, named, all))
        })?;
        let mut own = OwnValues { groups, ..OwnValues::default() };
        for (computer, value) in candidates {
            if self.sees_computer(computer.id)? {
                own.computers.push((computer.name, computer.device_id.to_string(), value));
            }
        }
        own.more = all.saturating_sub(own.computers.len());
        Ok(own)
    }

    /// Who changed a setting, the newest first.
    pub fn setting_history(&self, key: SettingKey, limit: usize) -> Result<Vec<audit::Line>, Refusal> {
        let app = self.reading(Right::SeeSettings)?;
        let wanted = audit::Wanted { subject: format!("setting {key}"), ..audit::Wanted::default() };
        let mut lines = app.store.read_now(move |conn| audit::list(conn, &wanted, limit))?;
        // The names of others are for whoever may read the log; that something changed is for everybody who sees values.
        if !self.may(Right::SeeAudit) {
            for line in &mut lines {
                line.peer_address.clear();
            }
        }
        Ok(lines)
    }

    /// Sets a value by hand; blank takes it back.
    pub fn change_setting(&self, key: SettingKey, value: Option<&str>, whose: Whose) -> Result<Changed, Refusal> {
        self.allow(Right::EditSettings)?;
        let (place, layer) = match &whose {
            Whose::Computer(name) => {
                let (computer, _) = settings::explain(&self.app, key, name)?;
                self.allow_computer(&computer)?;
                (format!(" of computer {}", computer.device_id), StoredScope::Computer(computer.id))
            }
            Whose::Group(name) => {
                self.allow_all_computers()?;
                let (summary, _) = groups::show(&self.app, name)?;
                (format!(" of group {name}"), StoredScope::Group(summary.group.id))
            }
            Whose::Everyone => {
                self.allow_all_computers()?;
                (String::new(), StoredScope::Global)
            }
        };
        let before = self.app.store.read_now(move |conn| stored::layer(conn, layer))?.value(key);
        let after = value.map(|value| key.parse_value(value)).transpose().map_err(settings::SettingError::from);
        let after = after.map_err(|error| Refusal::from(error).about("value"))?;
        let words = if value.is_some() { "setting set" } else { "setting unset" };
        let change = Change::new(words, format!("setting {key}{place}"))
            .before(json!({ "value": before }))
            .after(json!({ "value": after }));
        let app = self.changing(Right::EditSettings, change)?;
        let changed = match value {
            Some(value) => settings::set(&app, key, value, whose),
            None => settings::unset(&app, key, whose),
        };
        changed.map_err(|error| Refusal::from(error).about("value"))
    }
}

/// The layers that everyone has, as a table shows them.
#[derive(Clone, Copy, Debug, Default)]
pub struct EveryonesLayers {
    /// What the configuration says.
    pub configured: Option<i64>,
    /// What was set by hand.
    pub set: Option<i64>,
}

impl From<&Overview> for EveryonesLayers {
    fn from(overview: &Overview) -> Self {
        let of = |wanted: &settings::Layer| {
            let parts = &overview.explanation.parts;
            parts.iter().find(|part| part.layer == *wanted).and_then(|part| part.value)
        };
        Self { configured: of(&settings::Layer::Configured), set: of(&settings::Layer::Global) }
    }
}
