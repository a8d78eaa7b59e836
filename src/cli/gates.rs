//! `assign --windows --ranges`, `deployment gates`: when and where a deployment may run.

use serde_json::{Value, json};

use super::args::{self, GatesChange};
use super::context::refused;
use super::output::{Output, warn};
use super::{Done, Failure};
use crate::clock::utc_text;
use crate::model::DeploymentId;
use crate::model::gates::Gates;
use crate::service::desk::Desk;
use crate::service::gates::{self, GateError, GatesNow};

/// Gates as they were typed.
pub(super) fn read(typed: &args::Gates) -> Result<Gates, Failure> {
    gates::read(typed.windows.as_deref(), typed.window_zone.as_deref(), typed.ranges.as_deref()).map_err(refuse)
}

fn refuse(error: GateError) -> Failure {
    Failure::Refused(error.into())
}

/// Known gates with what is changed of them, if anything is; the rest stays.
pub(super) fn over(change: &GatesChange, known: Gates) -> Result<Option<Gates>, Failure> {
    let GatesChange { windows, window_zone, any_time, ranges, anywhere } = change;
    if windows.is_none() && ranges.is_none() && !any_time && !anywhere {
        return Ok(None);
    }
    let said = gates::read(windows.as_deref(), window_zone.as_deref(), ranges.as_deref()).map_err(refuse)?;
    let wanted = Gates {
        timetable: said.timetable.or(known.timetable.filter(|_| !any_time)),
        ranges: said.ranges.or(known.ranges.filter(|_| !anywhere)),
    };
    wanted.warnings().into_iter().for_each(warn);
    Ok(Some(wanted))
}

/// `deployment gates`
pub(super) fn change(
    desk: &Desk,
    id: DeploymentId,
    change: &GatesChange,
    bundle: bool,
    json: bool,
    output: &mut Output,
) -> Done {
    let (_, known) = desk.gates_to_change(id).map_err(refused)?;
    let nothing = || Failure::refused("say what is changed: --windows, --any-time, --ranges or --anywhere");
    let wanted = over(change, known)?.ok_or_else(nothing)?;
    desk.change_gates(id, &wanted, bundle).map_err(refused)?;
    let now = desk.gates_now(wanted);
    if json {
        return output.json(&json!({ "deployment": id.0, "gates": view(&now) }));
    }
    output.line(format_args!("deployment {id} runs {}", in_words(&now)))
}

/// After an assignment: when and where it runs, if that is not at any time and anywhere.
pub(super) fn say(now: &GatesNow, output: &mut Output) -> Done {
    if now.gates.is_open_to_all() { Ok(()) } else { output.line(format_args!("it runs {}", in_words(now))) }
}

/// In a line.
pub(super) fn in_words(now: &GatesNow) -> String {
    let opening = now.opening.as_ref().map(ToString::to_string).unwrap_or_default();
    let when = now.gates.windows_text().map(|windows| format!("in the windows {windows} ({opening})"));
    let place = now.gates.ranges_text().map(|ranges| format!("on computers that come from {ranges}"));
    match (when, place) {
        (None, None) => "at any time, anywhere".to_owned(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(when), Some(place)) => format!("{when}, {place}"),
    }
}

/// As JSON; null if they are open to all.
pub(super) fn view(now: &GatesNow) -> Value {
    if now.gates.is_open_to_all() {
        return Value::Null;
    }
    json!({
        "windows": now.gates.windows_text(),
        "window_zone": now.gates.zone(),
        "ranges": now.gates.ranges_text(),
        "open": now.is_open(),
        "opens_at": now.opens_at().map(utc_text),
        "closes_at": now.closes_at().map(utc_text),
    })
}
