//! `/settings`: what agents are told, where each value comes from, and who changed it.

use askama::Template;

use super::audit::Change;
use super::call::{Call, Page, View, get, post};
use super::shell::Shell;
use super::toast::Undo;
use crate::model::access::Right;
use crate::model::settings::SettingKey;
use crate::service::desk::settings::{EveryonesLayers, OwnValues};
use crate::service::desk::{Kind, Refusal};
use crate::service::settings::{Changed, Layer, Overview, Whose};

/// Lines of a key's change log.
const HISTORY: usize = 50;

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/settings", Right::SeeSettings, list),
        get("/settings/{key}", Right::SeeSettings, one),
        post("/settings/{key}", Right::EditSettings, set),
        post("/settings/{key}/unset", Right::EditSettings, unset),
    ]
}

/// A setting as a row of the list.
struct Line {
    overview: Overview,
    layers: EveryonesLayers,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct List {
    shell: Shell,
    lines: Vec<Line>,
    q: String,
}

fn list(call: &Call) -> Result<View, Refusal> {
    let q = call.query.get("q");
    let line = |overview: Overview| Line { layers: EveryonesLayers::from(&overview), overview };
    let wanted = |overview: &Overview| speaks_of(overview.explanation.key, q);
    let lines = call.desk().settings()?.into_iter().filter(wanted).map(line).collect();
    call.page(&List { shell: call.shell("Settings", "/settings"), lines, q: q.to_owned() })
}

/// Is every word part of the key, of what it means, or of its unit?
fn speaks_of(key: SettingKey, words: &str) -> bool {
    let info = key.info();
    let text = format!("{} {} {}", info.name, info.meaning, info.unit).to_lowercase();
    words.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

#[derive(Template)]
#[template(path = "setting.html")]
struct One {
    shell: Shell,
    overview: Overview,
    layers: EveryonesLayers,
    own: OwnValues,
    history: Vec<Change>,
    typed: String,
    may_edit: bool,
    error: Option<Refusal>,
    changed: Option<Changed>,
}

impl One {
    fn of(call: &Call, key: SettingKey, error: Option<Refusal>) -> Result<Self, Refusal> {
        let desk = call.desk();
        let overview = desk.setting(key)?;
        let typed =
            if error.is_some() { call.form.get("value").to_owned() } else { overview.explanation.value.to_string() };
        Ok(Self {
            shell: call.shell(key.to_string(), "/settings"),
            layers: EveryonesLayers::from(&overview),
            own: desk.own_values(key)?,
            history: desk.setting_history(key, HISTORY)?.into_iter().map(Change::from).collect(),
            may_edit: desk.may(Right::EditSettings) && desk.actor().scope.computers.is_none(),
            overview,
            typed,
            error,
            changed: None,
        })
    }
}

fn key(call: &Call) -> Result<SettingKey, Refusal> {
    call.path.get("key").parse().map_err(|_| Refusal::not_found("there is no such setting"))
}

fn one(call: &Call) -> Result<View, Refusal> {
    call.page(&One::of(call, key(call)?, None)?)
}

fn set(call: &Call) -> Result<View, Refusal> {
    change(call, Some(call.form.get("value")))
}

fn unset(call: &Call) -> Result<View, Refusal> {
    change(call, None)
}

fn change(call: &Call, value: Option<&str>) -> Result<View, Refusal> {
    let key = key(call)?;
    let undo = match EveryonesLayers::from(&call.desk().setting(key)?).set {
        Some(before) => Undo::new(format!("/settings/{key}")).with("value", before.to_string()),
        None => Undo::new(format!("/settings/{key}/unset")),
    };
    match call.desk().change_setting(key, value, Whose::Everyone) {
        Ok(changed) if changed.warnings.is_empty() => {
            let now = changed.explanation.value;
            let text = format!("{key} is {now} from every agent's next contact on.");
            View::undoable(format!("/settings/{key}"), text, undo)
        }
        // What suffers is said on the page, not in a toast that goes.
        Ok(changed) => call.page(&One { changed: Some(changed), ..One::of(call, key, None)? }),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict) => {
            call.again(&One::of(call, key, Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_by_key_meaning_and_unit() {
        for (words, key, found) in [
            ("", SettingKey::Timeout, true),
            ("frag LATENCY", SettingKey::FragmentLatency, true),
            ("frag hours", SettingKey::FragmentLatency, false),
            ("hours", SettingKey::PrologFrequency, true),
            ("duplicate", SettingKey::Duplicates, true),
            ("gives a package up", SettingKey::Timeout, true),
            ("fragments", SettingKey::Registry, false),
        ] {
            assert_eq!(speaks_of(key, words), found, "{words:?} {key}");
        }
    }
}
