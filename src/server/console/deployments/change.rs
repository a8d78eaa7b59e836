//! What is done to a deployment: for all of its computers, for those that the filter shows, for those that are ticked, for
//! one; each with the button that undoes it.

use std::fmt::Write as _;

use super::super::call::{Call, View};
use super::super::show::{count, number};
use super::super::toast::Undo;
use super::{id, wanted};
use crate::model::{DeploymentId, JobId, JobState, UnixTime};
use crate::service::deployments::Undone;
use crate::service::desk::Refusal;
use crate::service::desk::deployments::Chosen;

/// Where a form came from, if it is a page of this deployment.
fn back(call: &Call, id: DeploymentId) -> String {
    let base = format!("/deployments/{id}");
    match call.form.some("back") {
        Some(back) if back.starts_with(&format!("{base}/")) => back.to_owned(),
        _ => base,
    }
}

/// Whom a form means: the one whose button was pressed, those that are ticked, all that the filter shows, or, where there
/// are neither rows nor boxes, everybody.
pub(in crate::server::console) fn chosen(call: &Call) -> Result<Chosen, Refusal> {
    let form = &call.form;
    let numbers = |name: &'static str| {
        let wrong = |_| Refusal::invalid("this is no attempt of this deployment").about("job");
        form.all(name).map(|job| job.parse::<i64>().map(JobId).map_err(wrong)).collect::<Result<Vec<_>, _>>()
    };
    let one = numbers("only")?;
    if !one.is_empty() {
        return Ok(Chosen { jobs: one, ..Chosen::default() });
    }
    let is_list = form.is_on("list");
    if is_list && !form.is_on("all") {
        let jobs = numbers("job")?;
        if jobs.is_empty() {
            return Err(Refusal::invalid("no computer is ticked: tick some in the list first"));
        }
        return Ok(Chosen { jobs, ..Chosen::default() });
    }
    let mut wanted = wanted(form)?;
    if is_list && wanted.states.is_empty() {
        // All that are there: whether those to come get it is not decided in a list.
        wanted.states = JobState::ALL.to_vec();
    }
    Ok(Chosen { wanted, jobs: if is_list { Vec::new() } else { numbers("job")? } })
}

pub(super) fn retry(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let retried = call.desk().retry_deployment(id, false, chosen(call)?)?;
    let mut text = format!("{} planned anew.", count(retried.planned as u64, "job"));
    if retried.already > 0 {
        let _ = write!(text, " {} left out: an open job of the package is there.", number(retried.already as u64));
    }
    if retried.planned == 0 {
        return View::done(back(call, id), text);
    }
    View::undoable(back(call, id), text, undo(call, id, "retry", retried.at))
}

/// A form that undoes what was done at a moment, and comes back to where it was done.
fn undo(call: &Call, id: DeploymentId, what: &str, at: UnixTime) -> Undo {
    Undo::new(format!("/deployments/{id}/{what}/undo")).with("at", at.millis().to_string()).with("back", back(call, id))
}

pub(super) fn cancel(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let is_bundle = call.form.is_on("bundle");
    let cancelled = if is_bundle {
        call.desk().cancel_bundle(id)?
    } else {
        call.desk().cancel_deployment(id, call.form.is_on("waiting"), chosen(call)?)?
    };
    let mut text = format!("{} taken back.", count(cancelled.jobs as u64, "job"));
    if cancelled.go_on > 0 {
        let _ = write!(text, " {} that agents were told of go on.", number(cancelled.go_on as u64));
    }
    if cancelled.was_standing {
        text.push_str(" Computers that come later do not get it.");
    }
    let mut undo = undo(call, id, "cancel", cancelled.at);
    if is_bundle {
        undo = undo.with("bundle", "1");
    }
    View::undoable(back(call, id), text, undo)
}

pub(super) fn take_off(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let taken = call.desk().take_off_deployment(id, chosen(call)?)?;
    let text = format!(
        "{} taken off. What the agents said stays on record.",
        count((taken.open + taken.ended) as u64, "computer")
    );
    View::undoable(back(call, id), text, undo(call, id, "cancel", taken.at))
}

fn moment(call: &Call) -> Result<UnixTime, Refusal> {
    Ok(UnixTime::from_millis(call.form.parse_some::<i64>("at")?.unwrap_or_default()))
}

pub(super) fn undo_retry(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let undone = call.desk().undo_retry(id, moment(call)?)?;
    View::done(back(call, id), undone_text(undone, "was told of it meanwhile"))
}

pub(super) fn undo_cancel(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let undone = call.desk().undo_cancel(id, moment(call)?, call.form.is_on("bundle"))?;
    View::done(back(call, id), undone_text(undone, "has a newer job of the package"))
}

/// What an undo did, in a sentence.
pub(in crate::server::console) fn undone_text(undone: Undone, why: &str) -> String {
    let mut text = format!("Undone: {} as before.", count(undone.jobs as u64, "job"));
    if undone.left > 0 {
        let _ = write!(text, " {} not: each of those computers {why}.", number(undone.left as u64));
    }
    text
}

pub(super) fn close(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let text = match call.desk().close_deployment(id)? {
        0 => "Closed. Every result stays.".to_owned(),
        1 => "Closed. 1 job goes on to its end, and every result stays.".to_owned(),
        open => format!("Closed. {} jobs go on to their end, and every result stays.", number(open)),
    };
    View::undoable(format!("/deployments/{id}"), text, Undo::new(format!("/deployments/{id}/reopen")))
}

pub(super) fn reopen(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    call.desk().reopen_deployment(id)?;
    View::undoable(format!("/deployments/{id}"), "Open again.", Undo::new(format!("/deployments/{id}/close")))
}
