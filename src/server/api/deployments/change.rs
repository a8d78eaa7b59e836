//! What is done to a deployment: try again, take back, take computers off, put away, and undo.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::operation::{Asked, Nothing, Operation, operation};
use super::ById;
use crate::model::access::Right;
use crate::model::{DeploymentId, JobId, JobState, UnixTime};
use crate::service::deployments::Undone;
use crate::service::desk::Refusal;
use crate::service::desk::deployments::Chosen;
use crate::store::progress;

pub(super) fn operations() -> Vec<Operation> {
    let post = Method::POST;
    vec![
        operation(
            post.clone(),
            "/deployments/{id}/retry",
            "retry_deployment",
            "Plans anew what failed or expired",
            Right::Deploy,
            retry,
        ),
        operation(
            post.clone(),
            "/deployments/{id}/retry/undo",
            "undo_retry",
            "Undoes a retry: attempts that no agent was told of are gone",
            Right::Deploy,
            undo_retry,
        ),
        operation(
            post.clone(),
            "/deployments/{id}/cancel",
            "cancel_deployment",
            "Takes back what is open",
            Right::StopDeployments,
            cancel,
        ),
        operation(
            post.clone(),
            "/deployments/{id}/cancel/undo",
            "undo_cancel",
            "Undoes what was taken back or taken off at one moment",
            Right::StopDeployments,
            undo_cancel,
        ),
        operation(
            post.clone(),
            "/deployments/{id}/take-off",
            "take_off_deployment",
            "Takes computers off: what is open is taken back, what failed is left out of retries; results stay",
            Right::StopDeployments,
            take_off,
        ),
        operation(
            post.clone(),
            "/deployments/{id}/close",
            "close_deployment",
            "Puts a deployment away; its results stay",
            Right::StopDeployments,
            close,
        ),
        operation(
            post,
            "/deployments/{id}/reopen",
            "reopen_deployment",
            "Takes a deployment out again",
            Right::StopDeployments,
            reopen,
        ),
    ]
}

/// What a filter shows and what was named, as a body says it.
fn chosen(
    state: Option<&str>,
    code: Option<&str>,
    withheld: Option<&str>,
    jobs: &[i64],
    job: Option<i64>,
) -> Result<Chosen, Refusal> {
    let state = state.map(str::parse::<JobState>).transpose();
    let state = state.map_err(|error| Refusal::invalid(error.to_string()).about("state"))?;
    let wanted = progress::Wanted {
        states: state.into_iter().collect(),
        code: code.map(str::to_owned),
        withheld: withheld.map(str::to_owned),
    };
    Ok(Chosen { wanted, jobs: jobs.iter().copied().chain(job).map(JobId).collect() })
}

/// What to try again; all that failed or expired if nothing is said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetryBody {
    /// Not what expired.
    #[serde(default)]
    failed_only: bool,
    /// What ended with this code.
    code: Option<String>,
    /// This one attempt.
    job: Option<i64>,
    /// These attempts, at most 1000.
    #[serde(default)]
    jobs: Vec<i64>,
}

/// What was planned anew.
#[derive(JsonSchema, Serialize)]
struct RetriedView {
    /// Jobs that are new.
    planned: usize,
    /// Computers that have an open job of the package from elsewhere already.
    already: usize,
    /// When, in milliseconds since 1970: an undo names this moment.
    at: i64,
}

fn retry(asked: Asked<ById, Nothing, RetryBody>) -> Result<RetriedView, Refusal> {
    let body = &asked.body;
    let chosen = chosen(None, body.code.as_deref(), None, &body.jobs, body.job)?;
    let retried = asked.desk().retry_deployment(DeploymentId(asked.path.id), body.failed_only, chosen)?;
    Ok(RetriedView { planned: retried.planned, already: retried.already, at: retried.at.millis() })
}

/// What to take back; all that is open if nothing is said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    /// Only what no agent was told of.
    #[serde(default)]
    waiting_only: bool,
    /// The deployments that were made in one act with it, too; with nothing else.
    #[serde(default)]
    bundle: bool,
    /// What is in this state.
    state: Option<String>,
    /// What this gate withholds; empty for any.
    withheld: Option<String>,
    /// This one attempt.
    job: Option<i64>,
    /// These attempts, at most 1000.
    #[serde(default)]
    jobs: Vec<i64>,
}

/// What was taken back.
#[derive(JsonSchema, Serialize)]
struct CancelledView {
    /// Jobs that were taken back.
    cancelled: usize,
    /// Jobs that agents were told of and that go on.
    go_on: usize,
    /// Would computers that come later have got it until now?
    was_standing: bool,
    /// When, in milliseconds since 1970: an undo names this moment.
    at: i64,
}

fn cancel(asked: Asked<ById, Nothing, CancelBody>) -> Result<CancelledView, Refusal> {
    let (body, id) = (&asked.body, DeploymentId(asked.path.id));
    let chosen = chosen(body.state.as_deref(), None, body.withheld.as_deref(), &body.jobs, body.job)?;
    let is_part = body.waiting_only || !chosen.jobs.is_empty() || chosen.wanted != progress::Wanted::default();
    let cancelled = match body.bundle {
        true if is_part => {
            return Err(Refusal::invalid("a bundle is taken back whole: leave the rest away").about("bundle"));
        }
        true => asked.desk().cancel_bundle(id)?,
        false => asked.desk().cancel_deployment(id, body.waiting_only, chosen)?,
    };
    Ok(CancelledView {
        cancelled: cancelled.jobs,
        go_on: cancelled.go_on,
        was_standing: cancelled.was_standing,
        at: cancelled.at.millis(),
    })
}

/// Whom to take off.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TakeOffBody {
    /// What is in this state: `failed`, `expired`, or an open one.
    state: Option<String>,
    /// What ended with this code.
    code: Option<String>,
    /// What this gate withholds; empty for any.
    withheld: Option<String>,
    /// These attempts, at most 1000.
    #[serde(default)]
    jobs: Vec<i64>,
}

/// Who was taken off.
#[derive(JsonSchema, Serialize)]
struct TakenOffView {
    /// Open jobs that were taken back.
    open: usize,
    /// Jobs that had failed or expired.
    ended: usize,
    /// When, in milliseconds since 1970: an undo names this moment.
    at: i64,
}

fn take_off(asked: Asked<ById, Nothing, TakeOffBody>) -> Result<TakenOffView, Refusal> {
    let body = &asked.body;
    let chosen = chosen(body.state.as_deref(), body.code.as_deref(), body.withheld.as_deref(), &body.jobs, None)?;
    let taken = asked.desk().take_off_deployment(DeploymentId(asked.path.id), chosen)?;
    Ok(TakenOffView { open: taken.open, ended: taken.ended, at: taken.at.millis() })
}

/// What to undo.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UndoBody {
    /// The moment that the change told: its `at`.
    #[serde(default)]
    at: i64,
    /// In the whole bundle.
    #[serde(default)]
    bundle: bool,
}

/// What is as it was.
#[derive(JsonSchema, Serialize)]
struct UndoneView {
    /// Jobs that are as they were.
    jobs: usize,
    /// Jobs that are not: something newer is there, or an agent was told meanwhile.
    left: usize,
}

impl From<Undone> for UndoneView {
    fn from(undone: Undone) -> Self {
        Self { jobs: undone.jobs, left: undone.left }
    }
}

fn undo_retry(asked: Asked<ById, Nothing, UndoBody>) -> Result<UndoneView, Refusal> {
    Ok(asked.desk().undo_retry(DeploymentId(asked.path.id), UnixTime::from_millis(asked.body.at))?.into())
}

fn undo_cancel(asked: Asked<ById, Nothing, UndoBody>) -> Result<UndoneView, Refusal> {
    let id = DeploymentId(asked.path.id);
    Ok(asked.desk().undo_cancel(id, UnixTime::from_millis(asked.body.at), asked.body.bundle)?.into())
}

/// What a closed deployment leaves.
#[derive(JsonSchema, Serialize)]
struct ClosedView {
    /// Open jobs that go on to their end.
    go_on: u64,
}

fn close(asked: Asked<ById, Nothing, Nothing>) -> Result<ClosedView, Refusal> {
    Ok(ClosedView { go_on: asked.desk().close_deployment(DeploymentId(asked.path.id))? })
}

fn reopen(asked: Asked<ById, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().reopen_deployment(DeploymentId(asked.path.id))?;
    Ok(Nothing {})
}
