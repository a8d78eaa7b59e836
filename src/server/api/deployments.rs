//! `/deployments`, and the first page's `/overview`.

#![expect(clippy::needless_pass_by_value, reason = "an operation is given what was asked")]

use std::collections::BTreeMap;

use axum::extract::{Extension, RawPathParams, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::visit::{Visit, blocking};
use super::super::{Site, events};
use super::operation::{Asked, Nothing, Operation, Page, limit, operation};
use super::problem::refused;
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::model::{
    ComputerId, DeploymentId, JobId, JobOptions, JobState, PackageId, PostCommand, ResultCode, Schedule,
};
use crate::service::assign::{Part, Target};
use crate::service::deployments::{Progress, Summary, is_running, is_standing};
use crate::service::desk::Refusal;
use crate::store::deployments::{Wanted, Which};
use crate::store::progress::{self, OnComputer};

pub(super) fn operations() -> Vec<Operation> {
    looking().into_iter().chain(changing()).collect()
}

fn looking() -> Vec<Operation> {
    vec![
        operation(Method::GET, "/overview", "get_overview", "What needs a person, what is rolling out", None, overview),
        operation(
            Method::GET,
            "/deployments",
            "list_deployments",
            "Deployments, newest first",
            Right::SeeDeployments,
            list,
        ),
        operation(
            Method::POST,
            "/deployments",
            "create_deployment",
            "Deploys a package to computers",
            Right::Deploy,
            create,
        )
        .creates(),
        operation(
            Method::POST,
            "/deployments/preview",
            "preview_deployment",
            "Who would get a package and who would not, and why; changes nothing",
            Right::Deploy,
            preview,
        ),
        operation(
            Method::GET,
            "/deployments/{id}",
            "get_deployment",
            "One deployment with its errors by code and its gates",
            Right::SeeDeployments,
            get,
        ),
        operation(
            Method::GET,
            "/deployments/{id}/computers",
            "list_deployment_computers",
            "What became of it on each computer: the newest attempts",
            Right::SeeDeployments,
            computers,
        ),
        operation(
            Method::GET,
            "/deployments/{id}/computers/{job}",
            "explain_deployment_computer",
            "Why a package is where it is on one computer",
            Right::SeeDeployments,
            explain,
        ),
        Operation::stream(
            Method::GET,
            "/deployments/{id}/events",
            "watch_deployment",
            "How it goes on, as it happens: an event named progress with the deployment whenever it is another",
            Right::SeeDeployments,
            "text/event-stream",
            on(MethodFilter::GET, watch),
        )
        .path_of::<ById>(),
    ]
}

fn changing() -> Vec<Operation> {
    vec![
        operation(
            Method::POST,
            "/deployments/{id}/retry",
            "retry_deployment",
            "Plans anew what failed or expired",
            Right::Deploy,
            retry,
        ),
        operation(
            Method::POST,
            "/deployments/{id}/cancel",
            "cancel_deployment",
            "Takes back what is open",
            Right::StopDeployments,
            cancel,
        ),
        operation(
            Method::POST,
            "/deployments/{id}/close",
            "close_deployment",
            "Puts a deployment away; its results stay",
            Right::StopDeployments,
            close,
        ),
        operation(
            Method::POST,
            "/deployments/{id}/reopen",
            "reopen_deployment",
            "Takes a deployment out again",
            Right::StopDeployments,
            reopen,
        ),
    ]
}

/// A deployment's number.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ById {
    /// The deployment's number.
    id: i64,
}

/// One attempt of a deployment.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ByJob {
    /// The deployment's number.
    id: i64,
    /// The attempt's number.
    job: i64,
}

/// A deployment.
#[derive(JsonSchema, Serialize)]
pub(super) struct DeploymentView {
    /// Its number.
    id: i64,
    /// The package's number.
    package: u32,
    /// The package's family.
    package_name: String,
    /// The package's version.
    package_version: String,
    /// `all`, `group` or `computers`.
    target: &'static str,
    /// Do computers that come later get it, too?
    standing: bool,
    /// Is something open or still to come?
    running: bool,
    /// Is it run also where it was run before?
    force: bool,
    /// Not before that time of each computer: `YYYY/MM/DD HH:MM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    /// What is done afterwards: `REBOOT`, `SHUTDOWN` or a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    post_command: Option<String>,
    /// Who made it.
    created_by: String,
    /// When.
    created_at: String,
    /// When it was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled_at: Option<String>,
    /// When it was put away.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<String>,
    /// How many computers are in which state, by their newest attempts.
    computers: BTreeMap<&'static str, u64>,
}

impl From<Summary> for DeploymentView {
    fn from(summary: Summary) -> Self {
        let (standing, running) = (is_standing(&summary.line), is_running(&summary));
        let line = summary.line;
        let deployment = line.deployment;
        let computers = summary.counts.iter().map(|(state, count)| (state.as_str(), *count)).collect();
        Self {
            id: deployment.id.0,
            package: deployment.package.number(),
            package_name: line.package_name,
            package_version: line.package_version,
            target: match deployment.group {
                _ if deployment.all_computers => "all",
                Some(_) => "group",
                None => "computers",
            },
            standing,
            running,
            force: deployment.options.force,
            schedule: deployment.options.schedule.as_ref().map(Schedule::to_string),
            post_command: deployment.options.post_command.as_ref().map(|command| command.as_str().to_owned()),
            created_by: line.created_by,
            created_at: utc_text(deployment.created_at),
            cancelled_at: deployment.cancelled_at.map(utc_text),
            closed_at: deployment.closed_at.map(utc_text),
            computers,
        }
    }
}

/// Computers that ended badly with one code.
#[derive(JsonSchema, Serialize)]
struct CodeView {
    /// The code, as the agents said it.
    code: String,
    /// `failed` or `expired`.
    state: &'static str,
    /// How many computers.
    computers: u64,
    /// What it means; absent for a code that nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

/// Computers that wait at one gate.
#[derive(JsonSchema, Serialize)]
struct GateView {
    /// Why they are not told of it.
    gate: String,
    /// How many computers.
    computers: u64,
}

/// A deployment as it goes on.
#[derive(JsonSchema, Serialize)]
struct ProgressView {
    /// The deployment.
    #[serde(flatten)]
    deployment: DeploymentView,
    /// What failed or expired, the most frequent first.
    errors: Vec<CodeView>,
    /// What is withheld, the most frequent first.
    withheld: Vec<GateView>,
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        let errors = progress.codes.into_iter().map(|one| {
            let code = ResultCode::from_wire(&one.code);
            CodeView {
                meaning: code.explanation(),
                advice: code.advice(),
                code: one.code,
                state: one.state.as_str(),
                computers: one.computers,
            }
        });
        let withheld = progress.gates.into_iter().map(|(gate, computers)| GateView { gate, computers });
        Self { errors: errors.collect(), withheld: withheld.collect(), deployment: progress.summary.into() }
    }
}

/// Which deployments a list shows.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WhichView {
    /// Every one.
    #[default]
    All,
    /// Something is open or still to come.
    Running,
    /// The others.
    Ended,
}

/// What decides about a page of deployments.
#[derive(Deserialize, JsonSchema)]
struct ListQuery {
    /// In which stage; `all` if it is not said.
    #[serde(default)]
    which: WhichView,
    /// Of this package.
    package: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
    /// Entries of a page, from 1 to 1000; 100 if it is not said.
    limit: Option<u32>,
}

/// The number that a page begins after.
fn after(text: Option<&str>) -> Result<Option<i64>, Refusal> {
    let wrong = |_| Refusal::invalid("this is not the \"next\" of a page").about("after");
    text.map(str::parse::<i64>).transpose().map_err(wrong)
}

fn package(number: u32) -> Result<PackageId, Refusal> {
    PackageId::new(number).ok_or_else(|| Refusal::invalid("there is no package 0").about("package"))
}

fn list(asked: Asked<Nothing, ListQuery, Nothing>) -> Result<Page<DeploymentView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let wanted = Wanted {
        which: match asked.query.which {
            WhichView::All => Which::All,
            WhichView::Running => Which::Running,
            WhichView::Ended => Which::Ended,
        },
        package: asked.query.package.map(package).transpose()?,
        group: None,
        before: after(asked.query.after.as_deref())?.map(DeploymentId),
    };
    let found = asked.desk().deployments(wanted, limit + 1)?;
    Ok(Page::cut(found, limit, |summary| summary.line.deployment.id.to_string(), DeploymentView::from))
}

fn get(asked: Asked<ById, Nothing, Nothing>) -> Result<ProgressView, Refusal> {
    Ok(asked.desk().deployment(DeploymentId(asked.path.id))?.into())
}

/// What to deploy, for whom, how. One of `all`, `group`, `where`, `computers` and `selected` says for whom.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewDeployment {
    /// The package's number.
    package: u32,
    /// Every computer for whose system the package is; those to come, too.
    #[serde(default)]
    all: bool,
    /// The members of this group; those to come, too.
    group: Option<String>,
    /// Those that this query asks for now.
    r#where: Option<String>,
    /// These, by host name or device id; one that cannot get it refuses the whole.
    computers: Option<Vec<String>>,
    /// These, by number; those that cannot get it are left out.
    selected: Option<Vec<i64>>,
    /// Run it also where it was run before.
    #[serde(default)]
    force: bool,
    /// Not before that time of each computer: `YYYY/MM/DD HH:MM`.
    schedule: Option<String>,
    /// `REBOOT`, `SHUTDOWN` or a command.
    post_command: Option<String>,
}

impl NewDeployment {
    fn read(&self) -> Result<(PackageId, Target, JobOptions), Refusal> {
        let mut targets = Vec::new();
        if self.all {
            targets.push(Target::All);
        }
        targets.extend(self.group.clone().map(Target::Group));
        targets.extend(self.r#where.clone().map(Target::Where));
        targets.extend(self.computers.clone().map(Target::Computers));
        let numbers = self.selected.clone();
        targets.extend(numbers.map(|numbers| Target::Selected(numbers.into_iter().map(ComputerId).collect())));
        let (Some(target), true) = (targets.pop(), targets.is_empty()) else {
            return Err(Refusal::invalid("say for whom in one way: all, group, where, computers or selected"));
        };
        let schedule = self.schedule.as_deref().map(str::parse::<Schedule>).transpose();
        let post_command = self.post_command.as_deref().map(str::parse::<PostCommand>).transpose();
        let options = JobOptions {
            force: self.force,
            schedule: schedule.map_err(|error| Refusal::invalid(error.to_string()).about("schedule"))?,
            post_command: post_command.map_err(|error| Refusal::invalid(error.to_string()).about("post_command"))?,
        };
        Ok((package(self.package)?, target, options))
    }
}

/// What was planned.
#[derive(JsonSchema, Serialize)]
struct CreatedView {
    /// The deployment's number.
    deployment: i64,
    /// Jobs that are new.
    planned: usize,
    /// Computers that have an open job of the package already.
    already: usize,
    /// Computers that were left out because they run another system.
    other_system: usize,
    /// Seconds from a contact to the execution, by the engine's own arithmetic.
    pace_seconds: u64,
    /// Is the package activated? Nothing is offered before it is.
    activated: bool,
}

fn create(asked: Asked<Nothing, Nothing, NewDeployment>) -> Result<CreatedView, Refusal> {
    let (package, target, options) = asked.body.read()?;
    let assigned = asked.desk().deploy(package, target, options)?;
    Ok(CreatedView {
        deployment: assigned.deployment.0,
        planned: assigned.planned,
        already: assigned.already,
        other_system: assigned.other_system,
        pace_seconds: assigned.pace.as_secs(),
        activated: !assigned.not_activated,
    })
}

/// Some computers.
#[derive(JsonSchema, Serialize)]
struct PartView {
    /// How many.
    count: usize,
    /// The first of them, by their device ids.
    first: Vec<String>,
}

impl From<Part> for PartView {
    fn from(part: Part) -> Self {
        Self { count: part.count, first: part.first.iter().map(|computer| computer.device_id.to_string()).collect() }
    }
}

/// What a deployment would do.
#[derive(JsonSchema, Serialize)]
struct PreviewView {
    /// Who gets it.
    gets: PartView,
    /// Whose agents say that they have run it: their jobs end as already installed, unless forced.
    has_it: PartView,
    /// Who has an open job of it already.
    already: PartView,
    /// Who runs another system.
    other_system: PartView,
    /// Who was put away.
    archived: PartView,
    /// How many are outside the actor's scope.
    out_of_scope: usize,
    /// Will computers that come later get it, too?
    standing: bool,
    /// Seconds from a contact to the execution, by the engine's own arithmetic.
    pace_seconds: u64,
    /// How often agents check in, in hours.
    contact_hours: u32,
    /// Is deployment switched on?
    download: bool,
    /// Is the package activated?
    activated: bool,
}

fn preview(asked: Asked<Nothing, Nothing, NewDeployment>) -> Result<PreviewView, Refusal> {
    let (package, target, options) = asked.body.read()?;
    let preview = asked.desk().preview_deployment(package, target, &options)?;
    Ok(PreviewView {
        gets: preview.gets.into(),
        has_it: preview.has_it.into(),
        already: preview.already.into(),
        other_system: preview.other_system.into(),
        archived: preview.archived.into(),
        out_of_scope: preview.out_of_scope,
        standing: preview.standing,
        pace_seconds: preview.pace.as_secs(),
        contact_hours: preview.contact_hours,
        download: !preview.is_off,
        activated: !preview.not_activated,
    })
}

/// A computer within a deployment.
#[derive(JsonSchema, Serialize)]
struct OnComputerView {
    /// The attempt's number.
    job: i64,
    /// The computer's number.
    computer: i64,
    /// Its name.
    name: String,
    /// Its device id.
    device_id: String,
    /// Its address.
    ip_address: String,
    /// Where the attempt is.
    state: &'static str,
    /// The result's code, as the agent said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
    /// The gate that withholds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<String>,
    /// When it was planned.
    planned_at: String,
    /// When the agent was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    offered_at: Option<String>,
    /// When the result came.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    /// When the computer was last heard of.
    last_contact: String,
}

impl From<OnComputer> for OnComputerView {
    fn from(line: OnComputer) -> Self {
        let job = line.job;
        Self {
            job: job.id.0,
            computer: job.computer.0,
            name: line.name,
            device_id: line.device_id,
            ip_address: line.ip_address,
            state: job.state.as_str(),
            meaning: job.result.as_ref().and_then(ResultCode::explanation),
            code: job.result.map(|code| code.to_string()),
            withheld: job.withheld,
            planned_at: utc_text(job.created_at),
            offered_at: job.offered_at.map(utc_text),
            finished_at: job.finished_at.map(utc_text),
            last_contact: utc_text(line.last_contact),
        }
    }
}

/// Which computers of a deployment are wanted.
#[derive(Deserialize, JsonSchema)]
struct ComputersQuery {
    /// In this state.
    state: Option<String>,
    /// With this result.
    code: Option<String>,
    /// Withheld by this gate; empty for any.
    withheld: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Entries of a page, from 1 to 1000; 100 if it is not said.
    limit: Option<u32>,
}

fn computers(asked: Asked<ById, ComputersQuery, Nothing>) -> Result<Page<OnComputerView>, Refusal> {
    let (limit, query) = (limit(asked.query.limit)?, &asked.query);
    let state = query.state.as_deref().map(str::parse::<JobState>).transpose();
    let state = state.map_err(|error| Refusal::invalid(error.to_string()).about("state"))?;
    let wanted = progress::Wanted {
        states: state.into_iter().collect(),
        code: query.code.clone(),
        withheld: query.withheld.clone(),
    };
    let after = after(query.after.as_deref())?.map(JobId);
    let found = asked.desk().deployment_computers(DeploymentId(asked.path.id), wanted, after, limit + 1)?;
    Ok(Page::cut(found, limit, |line| line.job.id.to_string(), OnComputerView::from))
}

/// A fact and its time.
#[derive(JsonSchema, Serialize)]
struct FactView {
    /// When it happened, or will.
    at: String,
    /// What.
    text: String,
}

/// Why a package is where it is.
#[derive(JsonSchema, Serialize)]
struct WhyView {
    /// The stage: what a program would branch on.
    stage: &'static str,
    /// The answer in a sentence.
    sentence: String,
    /// When the agent should check in next.
    next_contact: String,
    /// What it rests on, in the order of time.
    evidence: Vec<FactView>,
}

fn explain(asked: Asked<ByJob, Nothing, Nothing>) -> Result<WhyView, Refusal> {
    let (_, why) = asked.desk().deployment_why(DeploymentId(asked.path.id), JobId(asked.path.job))?;
    let evidence = why.evidence.into_iter().map(|fact| FactView { at: utc_text(fact.at), text: fact.text });
    Ok(WhyView {
        stage: why.stage.as_str(),
        sentence: why.sentence,
        next_contact: utc_text(why.next_contact),
        evidence: evidence.collect(),
    })
}

async fn watch(State(site): State<Site>, Extension(visit): Extension<Visit>, path: RawPathParams) -> Response {
    let id = path.iter().find(|(name, _)| *name == "id").and_then(|(_, id)| id.parse().ok());
    let Some(id) = id.map(DeploymentId) else { return refused(&Refusal::not_found("there is no such deployment")) };
    let desk = visit.desk.clone();
    if let Err(refusal) = blocking(move || desk.deployment(id)).await {
        return refused(&refusal);
    }
    let answer = events::answer(&site, &visit, false, move |desk| {
        let view = ProgressView::from(desk.deployment(id)?);
        Ok(vec![("progress", serde_json::to_string(&view).map_err(Refusal::failed)?)])
    });
    answer.unwrap_or_else(|refusal| refused(&refusal))
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
}

/// What was planned anew.
#[derive(JsonSchema, Serialize)]
struct RetriedView {
    /// Jobs that are new.
    planned: usize,
    /// Computers that have an open job of the package from elsewhere already.
    already: usize,
}

fn retry(asked: Asked<ById, Nothing, RetryBody>) -> Result<RetriedView, Refusal> {
    let RetryBody { failed_only, ref code, job } = asked.body;
    let id = DeploymentId(asked.path.id);
    let retried = asked.desk().retry_deployment(id, failed_only, code.clone(), job.map(JobId))?;
    Ok(RetriedView { planned: retried.planned, already: retried.already })
}

/// What to take back; all that is open if nothing is said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    /// Only what no agent was told of.
    #[serde(default)]
    waiting_only: bool,
    /// This one attempt.
    job: Option<i64>,
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
}

fn cancel(asked: Asked<ById, Nothing, CancelBody>) -> Result<CancelledView, Refusal> {
    let body = &asked.body;
    let cancelled =
        asked.desk().cancel_deployment(DeploymentId(asked.path.id), body.waiting_only, body.job.map(JobId))?;
    Ok(CancelledView { cancelled: cancelled.jobs, go_on: cancelled.go_on, was_standing: cancelled.was_standing })
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

/// Computers on which one deployment failed with one code.
#[derive(JsonSchema, Serialize)]
struct FailuresView {
    /// The deployment's number.
    deployment: i64,
    /// Its package's name and version.
    package: String,
    /// The code.
    code: String,
    /// How many computers.
    computers: u64,
}

/// A computer that says nothing.
#[derive(JsonSchema, Serialize)]
struct SilentView {
    /// The computer's number.
    computer: i64,
    /// Its name.
    name: String,
    /// When it was last heard of.
    last_contact: String,
    /// Does it have an open job?
    waits: bool,
}

/// Computers that were told of a package, and nothing followed.
#[derive(JsonSchema, Serialize)]
struct StuckInView {
    /// The deployment's number.
    deployment: i64,
    /// Its package's name and version.
    package: String,
    /// How many computers.
    computers: u64,
}

/// What needs a person, what is rolling out.
#[derive(JsonSchema, Serialize)]
struct OverviewView {
    /// Computers in all, for an actor who sees all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    computers: Option<u64>,
    /// What is rolling out, newest first; at most 8.
    rolling_out: Vec<DeploymentView>,
    /// What failed in deployments that are not closed, the most frequent first.
    failures: Vec<FailuresView>,
    /// Computers that were not heard of for 7 days, those with open jobs first; at most 1000.
    silent: Vec<SilentView>,
    /// Where packages stand still, by deployment, the most computers first; `/jobs/stuck` names them all.
    stuck: Vec<StuckInView>,
    /// Bytes that are free for packages, if the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
    /// When the server's certificate ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_ends_at: Option<String>,
}

fn overview(asked: Asked<Nothing, Nothing, Nothing>) -> Result<OverviewView, Refusal> {
    let home = asked.desk().home()?;
    let failures = home.failures.into_iter().map(|one| FailuresView {
        deployment: one.deployment.0,
        package: one.package,
        code: one.code.to_string(),
        computers: one.computers,
    });
    let silent = home.silent.into_iter().map(|one| SilentView {
        computer: one.computer.0,
        name: one.name,
        last_contact: utc_text(one.last_contact),
        waits: one.waits,
    });
    let stuck = home.stuck.by_deployment.into_iter().map(|one| StuckInView {
        deployment: one.deployment.0,
        package: one.package,
        computers: one.computers,
    });
    Ok(OverviewView {
        computers: home.computers,
        rolling_out: home.rolling.into_iter().map(DeploymentView::from).collect(),
        failures: failures.collect(),
        silent: silent.collect(),
        stuck: stuck.collect(),
        free_bytes: home.free,
        certificate_ends_at: asked.site.tls.ends_at().ok().map(utc_text),
    })
}
