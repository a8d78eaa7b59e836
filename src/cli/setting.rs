//! `dripfeed setting …`

use serde::Serialize;

use super::args::{Place, SettingVerb};
use super::context::{Missing, configure, desk, open_typed, refused};
use super::output::{Output, printable, warn};
use super::{Done, Failure};
use crate::config::server::{Origin, ServerOpts};
use crate::model::settings::SettingKey;
use crate::service::App;
use crate::service::assign::AssignError;
use crate::service::settings::{self, Changed, Explanation, Layer, Overview, SettingError, Whose};

pub(super) fn run(place: &Place, verb: SettingVerb, output: &mut Output) -> Done {
    let (opts, config) = configure(place, &[])?;
    let here = Here { app: open_typed(place, config, Missing::Refuse)?.app, opts };
    match verb {
        SettingVerb::List { json } => here.list(json, output),
        SettingVerb::Get { key, json } => here.get(parse(&key)?, json, output),
        SettingVerb::Set { key, value, computer, group, json } => {
            let key = parse(&key)?;
            let whose = whose(computer.as_deref(), group.as_deref());
            let changed = desk(place, here.app.clone()).change_setting(key, Some(&value), whose).map_err(refused)?;
            here.changed(computer.as_deref(), group.as_deref(), &changed, json, output)
        }
        SettingVerb::Unset { key, computer, group, json } => {
            let key = parse(&key)?;
            let whose = whose(computer.as_deref(), group.as_deref());
            let changed = desk(place, here.app.clone()).change_setting(key, None, whose).map_err(refused)?;
            here.changed(computer.as_deref(), group.as_deref(), &changed, json, output)
        }
        SettingVerb::Explain { key, computer, json } => here.explain(parse(&key)?, &computer, json, output),
    }
}

fn parse(text: &str) -> Result<SettingKey, Failure> {
    text.parse().map_err(|error| Failure::refused(format!("{error}: `dripfeed setting list` shows all there are")))
}

fn whose(computer: Option<&str>, group: Option<&str>) -> Whose {
    match (computer, group) {
        (Some(name), _) => Whose::Computer(name.to_owned()),
        (None, Some(name)) => Whose::Group(name.to_owned()),
        (None, None) => Whose::Everyone,
    }
}

fn refuse(error: SettingError) -> Failure {
    match error {
        SettingError::Store(_) | SettingError::Computer(AssignError::Store(_)) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    }
}

/// The application, and the configuration as it was written.
struct Here {
    app: App,
    opts: ServerOpts,
}

/// A setting as JSON.
#[derive(Serialize)]
struct SettingView {
    key: &'static str,
    value: i64,
    origin: &'static str,
    place: String,
    unit: &'static str,
    min: i64,
    max: i64,
    default: i64,
    meaning: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    computers_with_their_own: Option<usize>,
}

/// A layer as JSON.
#[derive(Serialize)]
struct PartView {
    layer: &'static str,
    place: String,
    value: Option<i64>,
    wins: bool,
    why: &'static str,
}

impl Here {
    /// Where a value stands, as exactly as it is known.
    fn place(&self, key: SettingKey, layer: &Layer) -> String {
        if *layer != Layer::Configured {
            return printable(&layer.to_string());
        }
        let name = format!("settings.{key}");
        let found = self.opts.settings().into_iter().find(|setting| setting.key == name);
        match found.map(|setting| setting.origin) {
            Some(Origin::Default) | None => layer.to_string(),
            Some(origin) => origin.to_string(),
        }
    }

    fn view(&self, explanation: &Explanation, own: Option<usize>) -> SettingView {
        let info = explanation.key.info();
        SettingView {
            key: info.name,
            value: explanation.value,
            origin: explanation.origin().word(),
            place: self.place(explanation.key, explanation.origin()),
            unit: info.unit,
            min: info.min,
            max: info.max,
            default: info.default,
            meaning: info.meaning,
            computers_with_their_own: own,
        }
    }

    fn list(&self, json: bool, output: &mut Output) -> Done {
        let all = settings::list(&self.app)?;
        let view = |overview: &Overview| self.view(&overview.explanation, Some(overview.own_values));
        let views: Vec<SettingView> = all.iter().map(view).collect();
        if json {
            return output.json(&views);
        }
        let rows: Vec<[String; 7]> = views
            .into_iter()
            .map(|view| {
                [
                    view.key.to_owned(),
                    view.value.to_string(),
                    view.unit.to_owned(),
                    format!("{}..{}", view.min, view.max),
                    view.place,
                    view.computers_with_their_own.unwrap_or_default().to_string(),
                    view.meaning.to_owned(),
                ]
            })
            .collect();
        output.table(["KEY", "VALUE", "UNIT", "BOUNDS", "FROM", "OWN", "MEANING"], &rows)
    }

    fn get(&self, key: SettingKey, json: bool, output: &mut Output) -> Done {
        let all = settings::list(&self.app)?;
        let Some(overview) = all.iter().find(|overview| overview.explanation.key == key) else {
            return Ok(());
        };
        let view = self.view(&overview.explanation, Some(overview.own_values));
        if json {
            return output.json(&view);
        }
        let own = match overview.own_values {
            0 => "no computer has a value of its own".to_owned(),
            1 => "1 computer has a value of its own".to_owned(),
            n => format!("{n} computers have values of their own"),
        };
        output.line(format_args!("{} is {} ({}), from {}", view.key, view.value, view.unit, view.place))?;
        output.line(view.meaning)?;
        output.line(format_args!("from {} to {}, default {}; {own}", view.min, view.max, view.default))
    }

    fn explain(&self, key: SettingKey, computer: &str, json: bool, output: &mut Output) -> Done {
        let (computer, explanation) = settings::explain(&self.app, key, computer).map_err(refuse)?;
        if json {
            #[derive(Serialize)]
            struct View {
                computer: String,
                device_id: String,
                #[serde(flatten)]
                setting: SettingView,
                layers: Vec<PartView>,
            }
            let parts = explanation.parts.iter().map(|part| PartView {
                layer: part.layer.word(),
                place: self.place(key, &part.layer),
                value: part.value,
                wins: part.wins,
                why: part.why,
            });
            return output.json(&View {
                computer: computer.name.clone(),
                device_id: computer.device_id.to_string(),
                setting: self.view(&explanation, None),
                layers: parts.collect(),
            });
        }
        let unit = key.info().unit;
        output.line(format_args!("{key} is {} ({unit}) on {}", explanation.value, printable(&computer.name)))?;
        output.line("")?;
        let rows: Vec<[String; 4]> = explanation
            .parts
            .iter()
            .map(|part| {
                [
                    if part.wins { "*" } else { "" }.to_owned(),
                    self.place(key, &part.layer),
                    part.value.map_or("-".to_owned(), |value| value.to_string()),
                    part.why.to_owned(),
                ]
            })
            .collect();
        output.table(["", "LAYER", "VALUE", "WHY"], &rows)
    }

    fn changed(
        &self,
        computer: Option<&str>,
        group: Option<&str>,
        changed: &Changed,
        json: bool,
        output: &mut Output,
    ) -> Done {
        let view = self.view(&changed.explanation, None);
        for warning in &changed.warnings {
            warn(warning);
        }
        if json {
            #[derive(Serialize)]
            struct View<'a> {
                #[serde(flatten)]
                setting: SettingView,
                before: Option<i64>,
                warnings: &'a [String],
            }
            return output.json(&View { setting: view, before: changed.before, warnings: &changed.warnings });
        }
        if let Some(group) = group {
            return output.line(format_args!(
                "{} is changed for the members of {} (`dripfeed setting explain {0} --computer C` shows what holds); \
                 agents are told at their next contact",
                view.key,
                printable(group)
            ));
        }
        let whom = computer.map_or("every computer".to_owned(), printable);
        output.line(format_args!(
            "{} is {} ({}) for {whom} (from: {}); agents are told at their next contact",
            view.key, view.value, view.unit, view.place
        ))
    }
}
