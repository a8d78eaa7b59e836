//! How a package goes on, in all of its deployments: the ring of states, what failed and why, and the computers in a state
//! with what can be done to them there.

use askama::Template;

use super::super::call::{Call, View};
use super::super::charts;
use super::super::deployments::change::{chosen, undone_text};
use super::super::deployments::{at, done, is_fresh, jobs, said_of, wanted};
use super::super::shell::Shell;
use super::super::show::{self, Counts, Html, count};
use super::super::toast::Undo;
use super::{ROWS, id};
use crate::model::access::Right;
use crate::model::{JobId, JobState, PackageId, ResultCode, UnixTime};
use crate::server::events;
use crate::server::visit::escaped;
use crate::service::deployments::Act;
use crate::service::desk::packages::PackageLine;
use crate::service::desk::{Desk, Refusal};
use crate::store::progress::Wanted;

/// Computers on which it ended badly with one code.
struct Lost {
    code: ResultCode,
    state: JobState,
    computers: u64,
    meaning: String,
    advice: &'static str,
    address: String,
}

#[derive(Template)]
#[template(path = "package-progress.html")]
struct Part {
    base: String,
    counts: Counts,
    done: u64,
    ring: Html,
    states: Vec<(JobState, u64)>,
    codes: Vec<Lost>,
    sees_deployments: bool,
    is_available: bool,
    is_active: bool,
}

/// The part of a package's page that changes.
pub(super) fn part(desk: &Desk, line: &PackageLine) -> Result<String, Refusal> {
    let base = format!("/packages/{}", line.package.id);
    let counts = Counts(line.counts.clone());
    let sees_deployments = desk.may(Right::SeeDeployments);
    let lost = counts.of(JobState::Failed) + counts.of(JobState::Expired);
    let codes = if sees_deployments && lost > 0 { desk.package_codes(line.package.id)? } else { Vec::new() };
    let codes = codes.into_iter().map(|(state, code, computers)| {
        let code = ResultCode::from_wire(&code);
        Lost {
            meaning: code
                .explanation()
                .unwrap_or_else(|| "nobody knows this code: the agent's log there says more".into()),
            advice: code.advice().unwrap_or_default(),
            address: format!("{base}/computers?code={}", escaped(code.as_str())),
            state,
            computers,
            code,
        }
    });
    let part = Part {
        codes: codes.collect(),
        done: done(&counts),
        ring: charts::donut(&counts, done(&counts)),
        states: show::ORDER.iter().map(|state| (*state, counts.of(*state))).filter(|(_, n)| *n > 0).collect(),
        sees_deployments,
        is_available: line.package.state == crate::model::PackageState::Available,
        is_active: line.activation.is_some(),
        counts,
        base,
    };
    part.render().map_err(Refusal::failed)
}

pub(super) fn live_address(call: &Call, id: PackageId) -> String {
    format!("/packages/{id}/live?at={}", at(call))
}

pub(super) fn live(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    call.desk().package(id)?;
    let response = events::answer(&call.site, &call.visit, is_fresh(call), move |desk| {
        Ok(vec![("progress", part(desk, &desk.package(id)?)?)])
    })?;
    Ok(View::Other(Box::new(response)))
}

#[derive(Template)]
#[template(path = "package-computers.html")]
struct Computers {
    shell: Shell,
    line: PackageLine,
    base: String,
    jobs: String,
}

pub(super) fn computers(call: &Call) -> Result<View, Refusal> {
    let (id, desk) = (id(call)?, call.desk());
    let line = desk.package(id)?;
    let wanted = wanted(&call.query)?;
    let after = call.query.parse_some::<i64>("after")?.map(JobId);
    let found = desk.package_computers(id, wanted.clone(), after, ROWS + 1)?;
    let base = format!("/packages/{id}");
    let of = jobs::Of {
        list: format!("{base}/computers"),
        acts: format!("{base}/jobs"),
        total: shown(desk, &line, &wanted)?,
        may_retry: desk.may(Right::Deploy),
        may_take: desk.may(Right::StopDeployments),
        by_deployment: true,
        nobody: "No computer has an attempt of this package that is like this.",
    };
    call.page(&Computers {
        shell: call.shell(format!("{} {}: computers", line.package.name, line.package.version), "/packages"),
        jobs: jobs::list(call, of, wanted, found, ROWS, said_of)?,
        line,
        base,
    })
}

/// How many attempts a filter shows.
fn shown(desk: &Desk, line: &PackageLine, wanted: &Wanted) -> Result<u64, Refusal> {
    let has = |state: JobState| wanted.states.is_empty() || wanted.states.contains(&state);
    Ok(match &wanted.code {
        Some(code) => {
            let codes = desk.package_codes(line.package.id)?;
            codes.iter().filter(|(state, one, _)| one == code && has(*state)).map(|(_, _, n)| n).sum()
        }
        None => line.counts.iter().filter(|(state, _)| has(*state)).map(|(_, n)| n).sum(),
    })
}

/// Where a form came from, if it is a page of this package.
fn back(call: &Call, id: PackageId) -> String {
    let base = format!("/packages/{id}");
    match call.form.some("back") {
        Some(back) if back.starts_with(&format!("{base}/")) => back.to_owned(),
        _ => base,
    }
}

fn change(call: &Call, act: Act, said: &str, undo: &str) -> Result<View, Refusal> {
    let id = id(call)?;
    let changed = call.desk().change_package_jobs(id, chosen(call)?, act)?;
    let undo = Undo::new(format!("/packages/{id}/jobs/{undo}/undo"))
        .with("at", changed.at.millis().to_string())
        .with("back", back(call, id));
    View::undoable(back(call, id), format!("{} {said}.", count(changed.changed as u64, "job")), undo)
}

pub(super) fn retry(call: &Call) -> Result<View, Refusal> {
    change(call, Act::Retry, "planned anew", "retry")
}

pub(super) fn cancel(call: &Call) -> Result<View, Refusal> {
    change(call, Act::Cancel, "taken back", "cancel")
}

pub(super) fn take_off(call: &Call) -> Result<View, Refusal> {
    change(call, Act::TakeOff, "taken off; what the agents said stays on record", "cancel")
}

fn undo(call: &Call, act: Act, why: &str) -> Result<View, Refusal> {
    let id = id(call)?;
    let at = UnixTime::from_millis(call.form.parse_some::<i64>("at")?.unwrap_or_default());
    let undone = call.desk().undo_package_jobs(id, at, act)?;
    View::done(back(call, id), undone_text(undone, why))
}

pub(super) fn undo_retry(call: &Call) -> Result<View, Refusal> {
    undo(call, Act::Retry, "was told of it meanwhile")
}

pub(super) fn undo_cancel(call: &Call) -> Result<View, Refusal> {
    undo(call, Act::Cancel, "has a newer job of the package")
}
