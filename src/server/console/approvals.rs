//! Approving, rejecting and releasing what reaches many computers: the part of a deployment's or a series' page, and what its
//! buttons do.

use std::borrow::Borrow;

use askama::Template;

use super::call::{Call, Page, View, post};
use super::deployments::csrf_field;
use super::show::{self, Html, count, number, sentence};
use super::toast::Undo;
use crate::model::access::Right;
use crate::model::{ApprovalId, Consent, DeploymentId, Verdict, Vote};
use crate::service::approvals::{About, Decided, Record};
use crate::service::desk::approvals::Awaiting;
use crate::service::desk::{Desk, Refusal};
use crate::store::series::SeriesId;

pub(super) fn pages() -> Vec<Page> {
    vec![
        post("/deployments/{id}/approve", Right::Approve, approve_deployment),
        post("/deployments/{id}/reject", Right::Approve, reject_deployment),
        post("/deployments/{id}/release", Right::EditSettings, release_deployment),
        post("/series/{id}/approve", Right::Approve, approve_series),
        post("/series/{id}/reject", Right::Approve, reject_series),
        post("/series/{id}/release", Right::EditSettings, release_series),
    ]
}

/// So many others, as the subject of a sentence.
pub(super) fn others(needed: impl Borrow<u32>) -> String {
    match *needed.borrow() {
        1 => "one other person has".to_owned(),
        several => format!("{} other people have", number(u64::from(several))),
    }
}

/// Where it is.
pub(super) fn address(about: About) -> String {
    match about {
        About::Deployment(id) => format!("/deployments/{id}"),
        About::Series(id) => super::series::address(id),
    }
}

/// What waits for whoever looks, on the first page: a title and a text.
pub(super) fn asked(one: &Awaiting) -> (String, String) {
    let approval = &one.record.approval;
    let awaited = &approval.awaited;
    let again = if matches!(one.about, About::Series(_)) { " again and again" } else { "" };
    let text = format!(
        "{} asked for it{again}, on {}: approved by {} of {}.",
        awaited.asked_by,
        count(approval.reach, "computer"),
        awaited.given,
        awaited.needed
    );
    (format!("{} waits for approval", one.name), text)
}

/// The part of a page that says who was asked and what they said.
#[derive(Template)]
#[template(path = "approval.html")]
#[expect(clippy::struct_excessive_bools, reason = "what a page shows")]
struct Part {
    csrf: Html,
    base: String,
    record: Option<Record>,
    is_series: bool,
    /// Was it taken back before others had agreed?
    is_over: bool,
    is_own: bool,
    has_approved: bool,
    may_decide: bool,
    may_approve: bool,
    may_release: bool,
}

impl Part {
    fn waits(record: &Record) -> bool {
        record.approval.waits()
    }

    fn needed(record: &Record) -> String {
        others(record.approval.awaited.needed)
    }

    /// What is still missing, for somebody who has agreed.
    fn missing(record: &Record) -> String {
        let awaited = &record.approval.awaited;
        others(awaited.needed.saturating_sub(awaited.given))
    }

    fn reach(record: &Record) -> String {
        count(record.approval.reach, "computer")
    }

    fn was_let_go(record: &Record) -> bool {
        matches!(record.approval.consent, Consent::LetGo(_))
    }

    fn said(vote: &Vote) -> Html {
        let (word, tone, icon) = match (vote.voided_at, vote.verdict) {
            (Some(_), _) => ("counts no more", "neutral", "cancelled"),
            (None, Verdict::Approved) => ("approved", "ok", "succeeded"),
            (None, Verdict::Rejected) => ("rejected", "bad", "failed"),
            (None, Verdict::Released) => ("released", "neutral", "play"),
        };
        show::toned(word, tone, icon)
    }
}

/// Who was asked, and what they said; empty for what reaches too few computers.
pub(super) fn part(
    desk: &Desk,
    about: About,
    approval: Option<ApprovalId>,
    is_over: bool,
    csrf: &str,
) -> Result<String, Refusal> {
    let record = desk.approval_of(approval)?;
    let own = |record: &Record| record.approval.awaited.asked_by == desk.actor().name;
    let part = Part {
        csrf: csrf_field(csrf),
        base: address(about),
        is_series: matches!(about, About::Series(_)),
        is_over,
        is_own: record.as_ref().is_some_and(own),
        has_approved: record.as_ref().is_some_and(|record| record.has_approved(&desk.actor().name)),
        may_decide: !is_over && record.as_ref().is_some_and(|record| desk.may_decide(record)),
        may_approve: !is_over && record.as_ref().is_some_and(|record| desk.may_approve(record)),
        may_release: match &record {
            Some(record) if !is_over => desk.may_release(record)?,
            _ => false,
        },
        record,
    };
    part.render().map_err(Refusal::failed)
}

fn deployment(call: &Call) -> Result<About, Refusal> {
    let id = call.path.parse::<i64>("id").map_err(|_| Refusal::not_found("there is no such deployment"))?;
    Ok(About::Deployment(DeploymentId(id)))
}

fn series(call: &Call) -> Result<About, Refusal> {
    let id = call.path.parse::<i64>("id").map_err(|_| Refusal::not_found("there is no such series"))?;
    Ok(About::Series(SeriesId(id)))
}

fn approve_deployment(call: &Call) -> Result<View, Refusal> {
    approve(call, deployment(call)?)
}

fn approve_series(call: &Call) -> Result<View, Refusal> {
    approve(call, series(call)?)
}

fn reject_deployment(call: &Call) -> Result<View, Refusal> {
    reject(call, deployment(call)?)
}

fn reject_series(call: &Call) -> Result<View, Refusal> {
    reject(call, series(call)?)
}

fn release_deployment(call: &Call) -> Result<View, Refusal> {
    release(call, deployment(call)?)
}

fn release_series(call: &Call) -> Result<View, Refusal> {
    release(call, series(call)?)
}

fn approve(call: &Call, about: About) -> Result<View, Refusal> {
    let decided = call.desk().approve(about, call.form.get("reason"))?;
    let awaited = &decided.approval.awaited;
    let text = if decided.approval.waits() {
        sentence(format!("approved; {} to approve it, too", others(awaited.needed - awaited.given)))
    } else {
        gone(about, "Approved")
    };
    View::done(address(about), text)
}

fn gone(about: About, word: &str) -> String {
    match about {
        About::Deployment(_) => format!("{word}: each computer is told at its next contact."),
        About::Series(_) => format!("{word}: it begins with its next time."),
    }
}

fn release(call: &Call, about: About) -> Result<View, Refusal> {
    call.desk().release(about, call.form.get("reason"))?;
    View::done(address(about), gone(about, "Released"))
}

fn reject(call: &Call, about: About) -> Result<View, Refusal> {
    let Decided { cancelled, .. } = call.desk().reject(about, call.form.get("reason"))?;
    let page = address(about);
    let Some(cancelled) = cancelled else {
        return View::undoable(page.clone(), "Rejected: the series has ended.", Undo::new(format!("{page}/resume")));
    };
    let text = format!("Rejected: {} taken back.", count(cancelled.jobs as u64, "job"));
    let undo = Undo::new(format!("{page}/cancel/undo"))
        .with("at", cancelled.at.millis().to_string())
        .with("back", page.clone())
        .with("bundle", "1");
    View::undoable(page, text, undo)
}
