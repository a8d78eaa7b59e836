//! What is done to a computer's jobs in its list of packages, whatever deployments they are of.

use super::super::call::{Call, View};
use super::super::deployments::change::undone_text;
use super::super::show::count;
use super::super::toast::Undo;
use super::device_id;
use crate::model::{JobId, UnixTime};
use crate::server::visit::escaped;
use crate::service::deployments::Act;
use crate::service::desk::Refusal;

/// The list that a form stands in.
fn list(call: &Call) -> String {
    format!("/computers/{}/packages", escaped(device_id(call)))
}

/// The one whose button was pressed, else those that are ticked.
fn chosen(call: &Call) -> Result<Vec<JobId>, Refusal> {
    let wrong = |_| Refusal::invalid("this is no job of this computer").about("job");
    let name = if call.form.is_on("only") { "only" } else { "job" };
    call.form.all(name).map(|job| job.parse::<i64>().map(JobId).map_err(wrong)).collect()
}

fn change(call: &Call, act: Act, done: &str, undo: &str) -> Result<View, Refusal> {
    let changed = call.desk().change_jobs(device_id(call), &chosen(call)?, act)?;
    let text = format!("{} {done}.", count(changed.changed as u64, "job"));
    let address = format!("/computers/{}/jobs/{undo}/undo", escaped(device_id(call)));
    View::undoable(list(call), text, Undo::new(address).with("at", changed.at.millis().to_string()))
}

pub(super) fn retry(call: &Call) -> Result<View, Refusal> {
    change(call, Act::Retry, "planned anew", "retry")
}

pub(super) fn cancel(call: &Call) -> Result<View, Refusal> {
    change(call, Act::Cancel, "taken back", "cancel")
}

pub(super) fn take_off(call: &Call) -> Result<View, Refusal> {
    change(call, Act::TakeOff, "taken off; what the agent said stays on record", "cancel")
}

fn undo(call: &Call, act: Act, why: &str) -> Result<View, Refusal> {
    let at = UnixTime::from_millis(call.form.parse_some::<i64>("at")?.unwrap_or_default());
    let undone = call.desk().undo_jobs(device_id(call), at, act)?;
    View::done(list(call), undone_text(undone, why))
}

pub(super) fn undo_retry(call: &Call) -> Result<View, Refusal> {
    undo(call, Act::Retry, "was told of it meanwhile")
}

pub(super) fn undo_cancel(call: &Call) -> Result<View, Refusal> {
    undo(call, Act::Cancel, "has a newer job of the package")
}
