//! `assign --windows --ranges`, `deployment gates`: when and where a deployment may run.

use serde_json::{Value, json};

use super::context::refused;
use super::output::{Output, warn};
use super::{Done, Failure, args};
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

/// What is said of gates; the rest stays.
pub(super) struct Said<'a> {
    pub(super) windows: &'a Option<String>,
    pub(super) zone: &'a Option<String>,
    pub(super) ranges: &'a Option<String>,
    pub(super) any_time: bool,
    pub(super) anywhere: bool,
    pub(super) bundle: bool,
}

impl Said<'_> {
    fn over(&self, known: Gates) -> Result<Gates, Failure> {
        let said =
            gates::read(self.windows.as_deref(), self.zone.as_deref(), self.ranges.as_deref()).map_err(refuse)?;
        Ok(Gates {
            timetable: said.timetable.or(known.timetable.filter(|_| !self.any_time)),
            ranges: said.ranges.or(known.ranges.filter(|_| !self.anywhere)),
        })
    }
}

/// `deployment gates`
pub(super) fn change(desk: &Desk, id: DeploymentId, said: &Said<'_>, json: bool, output: &mut Output) -> Done {
    let (_, known) = desk.gates_to_change(id).map_err(refused)?;
    let wanted = said.over(known)?;
    desk.change_gates(id, &wanted, said.bundle).map_err(refused)?;
    wanted.warnings().into_iter().for_each(warn);
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
