//! `/approvals`, and approving, rejecting and releasing what waits: deployments and series that reach many computers.

#![expect(clippy::needless_pass_by_value, reason = "an operation is given what was asked")]

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, operation};
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::model::{Consent, DeploymentId, Verdict, Vote};
use crate::service::approvals::{About, Decided, Record};
use crate::service::desk::approvals::Awaiting;
use crate::service::desk::{Desk, Refusal};
use crate::store::series::SeriesId;

/// What is listed of what waits.
const MOST: usize = 100;

pub(super) fn operations() -> Vec<Operation> {
    let (post, get) = (Method::POST, Method::GET);
    vec![
        operation(
            get,
            "/approvals",
            "list_approvals",
            "Deployments and series that wait until others have approved them, newest first, at most 100",
            Right::SeeDeployments,
            waiting,
        ),
        operation(
            post.clone(),
            "/deployments/{id}/approve",
            "approve_deployment",
            "Approves what somebody else wants to deploy, with what was made in one act with it",
            Right::Approve,
            approve,
        ),
        operation(
            post.clone(),
            "/deployments/{id}/reject",
            "reject_deployment",
            "Rejects what waits for approval: it is cancelled, and that can be undone",
            Right::Approve,
            reject,
        ),
        operation(
            post.clone(),
            "/deployments/{id}/release",
            "release_deployment",
            "Lets go what still waits when nobody is asked any more (`APPROVAL_FROM` is 0)",
            Right::EditSettings,
            release,
        ),
        operation(
            post.clone(),
            "/series/{id}/approve",
            "approve_series",
            "Approves a series, and with it all of its runs",
            Right::Approve,
            approve_series,
        ),
        operation(
            post.clone(),
            "/series/{id}/reject",
            "reject_series",
            "Rejects a series: it ends",
            Right::Approve,
            reject_series,
        ),
        operation(
            post,
            "/series/{id}/release",
            "release_series",
            "Lets a series go that still waits when nobody is asked any more (`APPROVAL_FROM` is 0)",
            Right::EditSettings,
            release_series,
        ),
    ]
}

/// What somebody said.
#[derive(JsonSchema, Serialize)]
struct VoteView {
    /// Who.
    account: String,
    /// `approved`, `rejected` or `released`.
    verdict: &'static str,
    /// Why; empty if nothing was said.
    reason: String,
    /// When.
    at: String,
    /// Through which door: `console`, `api` or `command line`.
    via: String,
    /// When the account was locked out or deleted: from then on it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    voided_at: Option<String>,
}

impl From<Vote> for VoteView {
    fn from(vote: Vote) -> Self {
        Self {
            account: vote.account,
            verdict: vote.verdict.as_str(),
            reason: vote.reason,
            at: utc_text(vote.at),
            via: vote.via,
            voided_at: vote.voided_at.map(utc_text),
        }
    }
}

/// Whether others have to approve it, and who has.
#[derive(JsonSchema, Serialize)]
pub(super) struct ApprovalView {
    /// Does it still wait?
    waits: bool,
    /// How many others have approved it.
    given: u32,
    /// How many have to.
    needed: u32,
    /// Who asked for it.
    asked_by: String,
    /// When.
    asked_at: String,
    /// How many computers it reached then.
    computers: u64,
    /// Since when nothing waits for it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    let_go_at: Option<String>,
    /// What was said, oldest first.
    votes: Vec<VoteView>,
}

impl From<Record> for ApprovalView {
    fn from(record: Record) -> Self {
        let approval = record.approval;
        Self {
            waits: approval.waits(),
            given: approval.awaited.given,
            needed: approval.awaited.needed,
            asked_by: approval.awaited.asked_by,
            asked_at: utc_text(approval.asked_at),
            computers: approval.reach,
            let_go_at: match approval.consent {
                Consent::LetGo(at) => Some(utc_text(at)),
                Consent::Waits | Consent::NotAsked => None,
            },
            votes: record.votes.into_iter().map(VoteView::from).collect(),
        }
    }
}

/// Something that waits.
#[derive(JsonSchema, Serialize)]
pub(super) struct AwaitingView {
    /// The deployment, or the first of those that were made in one act.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<i64>,
    /// The series.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<i64>,
    /// What it deploys, in words: names and versions.
    name: String,
    /// May you approve it? Not what you asked for, and not twice.
    may_approve: bool,
    /// Who was asked, and what they said.
    approval: ApprovalView,
}

pub(super) fn awaiting(desk: &Desk, one: Awaiting) -> AwaitingView {
    let (deployment, series) = match one.about {
        About::Deployment(id) => (Some(id.0), None),
        About::Series(id) => (None, Some(id.0)),
    };
    let may_approve = desk.may_approve(&one.record);
    AwaitingView { deployment, series, name: one.name, may_approve, approval: one.record.into() }
}

/// What waits.
#[derive(JsonSchema, Serialize)]
struct AwaitingList {
    /// Series first, newest first.
    items: Vec<AwaitingView>,
}

fn waiting(asked: Asked<Nothing, Nothing, Nothing>) -> Result<AwaitingList, Refusal> {
    let desk = asked.desk();
    Ok(AwaitingList { items: desk.awaiting(MOST)?.into_iter().map(|one| awaiting(desk, one)).collect() })
}

/// What is decided.
#[derive(Deserialize, JsonSchema)]
struct ById {
    /// The number of the deployment, or of the series.
    id: i64,
}

/// A word about it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReasonBody {
    /// Why, at most 1000 characters; a rejection needs it.
    #[serde(default)]
    reason: String,
}

/// What came of it.
#[derive(JsonSchema, Serialize)]
struct DecidedView {
    /// Does it still wait for others?
    waits: bool,
    /// How many others have approved it.
    given: u32,
    /// How many have to.
    needed: u32,
    /// Jobs that a rejection took back.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled: Option<usize>,
    /// When that was, in milliseconds since 1970: an undo (with `bundle`) names this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
}

impl From<Decided> for DecidedView {
    fn from(decided: Decided) -> Self {
        let awaited = &decided.approval.awaited;
        Self {
            waits: decided.approval.waits() && decided.cancelled.is_none(),
            given: awaited.given,
            needed: awaited.needed,
            cancelled: decided.cancelled.map(|cancelled| cancelled.jobs),
            at: decided.cancelled.map(|cancelled| cancelled.at.millis()),
        }
    }
}

type Saying = Asked<ById, Nothing, ReasonBody>;

fn say(asked: &Saying, about: About, verdict: Verdict) -> Result<DecidedView, Refusal> {
    let (desk, reason) = (asked.desk(), asked.body.reason.as_str());
    let decided = match verdict {
        Verdict::Approved => desk.approve(about, reason),
        Verdict::Rejected => desk.reject(about, reason),
        Verdict::Released => desk.release(about, reason),
    };
    Ok(decided?.into())
}

fn deployment(asked: &Saying) -> About {
    About::Deployment(DeploymentId(asked.path.id))
}

fn series(asked: &Saying) -> About {
    About::Series(SeriesId(asked.path.id))
}

fn approve(asked: Saying) -> Result<DecidedView, Refusal> {
    say(&asked, deployment(&asked), Verdict::Approved)
}

fn reject(asked: Saying) -> Result<DecidedView, Refusal> {
    say(&asked, deployment(&asked), Verdict::Rejected)
}

fn release(asked: Saying) -> Result<DecidedView, Refusal> {
    say(&asked, deployment(&asked), Verdict::Released)
}

fn approve_series(asked: Saying) -> Result<DecidedView, Refusal> {
    say(&asked, series(&asked), Verdict::Approved)
}

fn reject_series(asked: Saying) -> Result<DecidedView, Refusal> {
    say(&asked, series(&asked), Verdict::Rejected)
}

fn release_series(asked: Saying) -> Result<DecidedView, Refusal> {
    say(&asked, series(&asked), Verdict::Released)
}
