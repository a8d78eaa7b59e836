//! `/deployments`, and the first page's `/overview`.

#![expect(clippy::needless_pass_by_value, reason = "an operation is given what was asked")]

use std::collections::BTreeMap;

use axum::extract::{Extension, RawPathParams, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::fetches::Fetches;
use super::super::visit::{Visit, blocking};
use super::super::{Site, events};
use super::approvals::{ApprovalView, AwaitingView, awaiting};
use super::operation::{Asked, Nothing, Operation, Page, limit, operation};
use super::problem::refused;
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::model::{DeploymentId, DeviceId, FragmentCount, JobId, JobState, PackageId, ResultCode, Schedule};
use crate::service::deployments::{Progress, Summary, is_running, is_standing};
use crate::service::desk::{Desk, Refusal};
use crate::store::deployments::{Wanted, Which};
use crate::store::progress::{self, OnComputer};

mod change;
mod create;
mod gates;
mod wakes;

pub(super) use create::NewDeployment;
pub(super) use gates::GatesView;

pub(super) fn operations() -> Vec<Operation> {
    let about_it = gates::operations().into_iter().chain([wakes::operation()]);
    looking().into_iter().chain(about_it).chain(change::operations()).collect()
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
            "Deploys a package, or several in one act, to computers",
            Right::Deploy,
            create::create,
        )
        .creates(),
        operation(
            Method::POST,
            "/deployments/preview",
            "preview_deployment",
            "Who would get a package and who would not, and why; changes nothing",
            Right::Deploy,
            create::preview,
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

/// A deployment's number.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ById {
    /// The deployment's number.
    pub(super) id: i64,
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
#[expect(clippy::struct_excessive_bools, reason = "what a program may ask of it")]
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
    /// The package that has to succeed on a computer first.
    #[serde(skip_serializing_if = "Option::is_none")]
    follows: Option<u32>,
    /// The first of the deployments that were made in one act with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<i64>,
    /// Is nobody told before others have approved it?
    waits_for_approval: bool,
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
            follows: deployment.options.follows.map(PackageId::number),
            bundle: deployment.bundle.map(|first| first.0),
            waits_for_approval: line.awaits_approval,
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
    /// When and where it may run, and whether it may now; absent for at any time and anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    gates: Option<GatesView>,
    /// The run that made it, if it is one of a series.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunOfView>,
    /// Who was asked to approve it and what they said; absent for one that reaches too few computers.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalView>,
}

/// A run of a series.
#[derive(JsonSchema, Serialize)]
struct RunOfView {
    /// The series' number.
    series: i64,
    /// The run's number in it.
    run: i64,
}

/// A deployment as it goes on now.
fn progress_of(desk: &Desk, id: DeploymentId) -> Result<ProgressView, Refusal> {
    let progress = desk.deployment(id)?;
    let run = desk.run_of(id, progress.summary.line.deployment.bundle)?;
    let run = run.map(|run| RunOfView { series: run.series.0, run: run.number });
    let approval = desk.approval_of(progress.summary.line.deployment.approval)?.map(ApprovalView::from);
    let gates = desk.gates(id)?.if_any().map(GatesView::from);
    Ok(ProgressView { gates, run, approval, ..progress.into() })
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
        Self {
            errors: errors.collect(),
            withheld: withheld.collect(),
            deployment: progress.summary.into(),
            gates: None,
            run: None,
            approval: None,
        }
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
    progress_of(asked.desk(), DeploymentId(asked.path.id))
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
    /// What this server saw it fetch.
    #[serde(skip_serializing_if = "Option::is_none")]
    fetched: Option<FetchedView>,
}

/// What this server saw a computer fetch since it was told of the package. What comes from mirrors and caches is not seen,
/// nor is what was fetched before the server was started.
#[derive(JsonSchema, Serialize)]
struct FetchedView {
    /// When it fetched the info file.
    #[serde(skip_serializing_if = "Option::is_none")]
    info_at: Option<String>,
    /// When it fetched anything last.
    last_at: String,
    /// Different fragments since it fetched the info file.
    fragments: u32,
    /// How many there are.
    of: u32,
    /// There may be more than that.
    at_least: bool,
    /// Several computers check in from its address, so it may have been another of them.
    shared: bool,
}

impl OnComputerView {
    fn of(line: OnComputer, noted: &Fetches, of: FragmentCount) -> Self {
        let (device, told) = (line.device_id.parse::<DeviceId>(), line.job.offered_at);
        let seen = device
            .ok()
            .zip(told)
            .and_then(|(device, told)| noted.of_device(&device, &line.peer_address, line.job.package, told));
        let fetched = seen.map(|seen| FetchedView {
            info_at: seen.info_at.map(utc_text),
            last_at: utc_text(seen.last_at),
            fragments: seen.fragments,
            of: of.0,
            at_least: seen.is_at_least,
            shared: seen.is_shared,
        });
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
            fetched,
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
    let id = DeploymentId(asked.path.id);
    let fragments = asked.desk().deployment_line(id)?.fragments;
    let found = asked.desk().deployment_computers(id, wanted, after, limit + 1)?;
    let view = |line| OnComputerView::of(line, &asked.site.fetches, fragments);
    Ok(Page::cut(found, limit, |line| line.job.id.to_string(), view))
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
        let view = progress_of(desk, id)?;
        Ok(vec![("progress", serde_json::to_string(&view).map_err(Refusal::failed)?)])
    });
    answer.unwrap_or_else(|refusal| refused(&refusal))
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

/// A series that paused by itself.
#[derive(JsonSchema, Serialize)]
struct PausedSeriesView {
    /// Its number.
    series: i64,
    /// What it deploys, in words.
    name: String,
    /// Why it paused.
    problem: String,
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
    /// What waits for your approval.
    awaiting: Vec<AwaitingView>,
    /// Series that paused by themselves, newest first.
    paused_series: Vec<PausedSeriesView>,
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
    let paused = home.paused_series.into_iter().map(|line| PausedSeriesView {
        series: line.series.id.0,
        name: line.name(),
        problem: line.series.problem.unwrap_or_default(),
    });
    let waiting = home.awaiting.into_iter().map(|one| awaiting(asked.desk(), one));
    Ok(OverviewView {
        computers: home.computers,
        rolling_out: home.rolling.into_iter().map(DeploymentView::from).collect(),
        failures: failures.collect(),
        silent: silent.collect(),
        stuck: stuck.collect(),
        awaiting: waiting.collect(),
        paused_series: paused.collect(),
        free_bytes: home.free,
        certificate_ends_at: asked.site.tls.ends_at().ok().map(utc_text),
    })
}
