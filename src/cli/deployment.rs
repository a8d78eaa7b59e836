//! `dripfeed deployment …`

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::approval;
use super::args::{Decision, DeploymentVerb, Place};
use super::context::{administrator, desk, open};
use super::output::{Output, printable, say};
use super::status::JobView;
use super::{Done, Failure, gates};
use crate::clock;
use crate::model::{ComputerId, Deployment, DeploymentId, JobState, PostCommand, Schedule, Verdict};
use crate::service::App;
use crate::service::approvals::{self, About};
use crate::service::assign::{AssignError, named};
use crate::service::deployments::{self, DeploymentError, Only, Summary};
use crate::service::gates::{GatesNow, of};
use crate::service::{series, wake};

pub(super) fn run(place: &Place, verb: &DeploymentVerb, output: &mut Output) -> Done {
    let app = open(place)?.app;
    let decide = |verdict, said: &Decision, output: &mut Output| {
        let about = About::Deployment(DeploymentId(said.number));
        approval::say(&desk(place, app.clone()), about, verdict, said, output)
    };
    match *verb {
        DeploymentVerb::Gates { deployment, ref change, bundle, json } => {
            gates::change(&desk(place, app), DeploymentId(deployment), change, bundle, json, output)
        }
        DeploymentVerb::List { json } => list(&app, json, output),
        DeploymentVerb::Show { deployment, json } => show(&app, DeploymentId(deployment), json, output),
        DeploymentVerb::Cancel { deployment, waiting_only, ref computer, bundle, json } => {
            cancel(&app, DeploymentId(deployment), &Take { waiting_only, computers: computer, bundle }, json, output)
        }
        DeploymentVerb::Retry { deployment, failed, ref computer, json } => {
            retry(&app, DeploymentId(deployment), failed, computer, json, output)
        }
        DeploymentVerb::TakeOff { deployment, ref computer, json } => {
            take_off(&app, DeploymentId(deployment), computer, json, output)
        }
        DeploymentVerb::Approve(ref said) => decide(Verdict::Approved, said, output),
        DeploymentVerb::Reject(ref said) => decide(Verdict::Rejected, said, output),
        DeploymentVerb::Release(ref said) => decide(Verdict::Released, said, output),
    }
}

fn refuse(error: DeploymentError) -> Failure {
    match error {
        DeploymentError::Store(_) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    }
}

/// A deployment as JSON.
#[derive(Serialize)]
struct DeploymentView {
    deployment: i64,
    package: u32,
    package_name: String,
    package_version: String,
    target: &'static str,
    standing: bool,
    force: bool,
    schedule: Option<String>,
    post_command: Option<String>,
    created_by: String,
    created_at: String,
    cancelled_at: Option<String>,
    waits_for_approval: bool,
    computers: BTreeMap<&'static str, u64>,
}

impl From<&Summary> for DeploymentView {
    fn from(summary: &Summary) -> Self {
        let line = &summary.line;
        let (deployment, options) = (&line.deployment, &line.deployment.options);
        Self {
            deployment: deployment.id.0,
            package: deployment.package.number(),
            package_name: line.package_name.clone(),
            package_version: line.package_version.clone(),
            target: target(summary),
            standing: deployments::is_standing(line),
            force: options.force,
            schedule: options.schedule.as_ref().map(Schedule::to_string),
            post_command: options.post_command.as_ref().map(|command| command.as_str().to_owned()),
            created_by: line.created_by.clone(),
            created_at: clock::utc_text(deployment.created_at),
            cancelled_at: deployment.cancelled_at.map(clock::utc_text),
            waits_for_approval: line.awaits_approval,
            computers: summary.counts.iter().map(|(state, count)| (state.as_str(), *count)).collect(),
        }
    }
}

fn target(summary: &Summary) -> &'static str {
    match &summary.line.deployment {
        deployment if deployment.all_computers => "all",
        deployment if deployment.group.is_some() => "group",
        _ => "computers",
    }
}

fn counts(summary: &Summary) -> String {
    let words: Vec<String> = summary.counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    if words.is_empty() { "no computers yet".to_owned() } else { words.join(", ") }
}

/// Is it in force?
fn force(summary: &Summary) -> &'static str {
    match (summary.line.deployment.cancelled_at, deployments::is_standing(&summary.line)) {
        (Some(_), _) => "cancelled",
        _ if summary.line.awaits_approval => "waits for approval",
        (None, true) => "standing",
        (None, false) => "in force",
    }
}

fn list(app: &App, json: bool, output: &mut Output) -> Done {
    let all = deployments::list(app)?;
    if json {
        return output.json(&all.iter().map(DeploymentView::from).collect::<Vec<_>>());
    }
    if all.is_empty() {
        say("nothing is deployed yet: dripfeed assign ID --computer NAME");
        return Ok(());
    }
    let rows: Vec<[String; 8]> = all
        .iter()
        .map(|summary| {
            let line = &summary.line;
            [
                line.deployment.id.to_string(),
                line.deployment.package.to_string(),
                printable(&format!("{} {}", line.package_name, line.package_version)),
                target(summary).to_owned(),
                force(summary).to_owned(),
                printable(&line.created_by),
                clock::local_text(line.deployment.created_at),
                counts(summary),
            ]
        })
        .collect();
    output.table(["DEPLOYMENT", "PACKAGE", "NAME", "FOR", "IS", "BY", "SINCE", "COMPUTERS"], &rows)
}

fn show(app: &App, id: DeploymentId, json: bool, output: &mut Output) -> Done {
    let summary = deployments::find(app, id).map_err(refuse)?;
    let now = GatesNow::at(of(app, id)?, app.clock.now());
    if json {
        #[derive(Serialize)]
        struct View {
            #[serde(flatten)]
            deployment: DeploymentView,
            gates: Value,
            jobs: Vec<JobView>,
            #[serde(skip_serializing_if = "Option::is_none")]
            wakes: Option<BTreeMap<&'static str, u64>>,
        }
        let woken = wake::of_deployment(app, id)?;
        let wakes = woken.map(|woken| woken.counts.iter().map(|(state, count)| (state.as_str(), *count)).collect());
        let mut jobs = Vec::new();
        deployments::each_job::<Failure>(app, id, |line| {
            jobs.push(JobView::from(line));
            Ok(())
        })?;
        let gates = gates::view(&now);
        return output.json(&View { deployment: DeploymentView::from(&summary), gates, jobs, wakes });
    }
    let line = &summary.line;
    let (deployment, options) = (&line.deployment, &line.deployment.options);
    let mut wishes = Vec::new();
    wishes.extend(options.follows.map(|package| format!("after package {package}")));
    if options.force {
        wishes.push("also where it was run before".to_owned());
    }
    wishes.extend(options.schedule.as_ref().map(|schedule| format!("not before {schedule}")));
    wishes.extend(options.post_command.as_ref().map(|command| match command {
        PostCommand::Reboot => "then restart".to_owned(),
        PostCommand::Shutdown => "then shut down".to_owned(),
        PostCommand::Run(command) => format!("then {}", printable(command)),
    }));
    let target = match (deployment.all_computers, deployments::is_standing(line)) {
        (true, true) => "all computers, those to come included",
        (true, false) => "all computers until it was cancelled",
        (false, _) => "computers that were named",
    };
    let fields = [
        ("deployment", deployment.id.to_string()),
        ("package", printable(&format!("{} {} {}", deployment.package, line.package_name, line.package_version))),
        ("for", target.to_owned()),
        ("made with", together(app, id)?),
        ("series", series_of(app, deployment)?),
        ("options", if wishes.is_empty() { "-".to_owned() } else { wishes.join(", ") }),
        ("runs", gates::in_words(&now)),
        ("made", format!("{} by {}", clock::local_text(deployment.created_at), printable(&line.created_by))),
        ("approval", printable(&approval::spelled(approvals::record(app, deployment.approval)?.as_ref()))),
        ("cancelled", deployment.cancelled_at.map_or("no".to_owned(), clock::local_text)),
        ("computers", counts(&summary)),
    ];
    fields.iter().try_for_each(|(name, value)| output.line(format_args!("{name:>10}  {value}")))?;
    if let Some(woken) = wake::of_deployment(app, id)? {
        output.line(format_args!("{:>10}  {}", "woken", printable(&woken.in_words())))?;
    }
    let mut rows = Vec::new();
    deployments::each_job::<Failure>(app, id, |line| {
        let job = &line.job;
        let detail = match (&job.result, &job.withheld) {
            (Some(code), _) => code.explanation().unwrap_or_default(),
            (None, reason) => reason.clone().unwrap_or_default(),
        };
        let since = match job.state {
            JobState::Cancelled => job.updated_at,
            _ => job.finished_at.or(job.offered_at).unwrap_or(job.created_at),
        };
        rows.push([
            printable(&line.computer_name),
            job.state.to_string(),
            job.result.as_ref().map_or("-".to_owned(), |code| printable(code.as_str())),
            clock::local_text(since),
            printable(&detail),
        ]);
        Ok(())
    })?;
    if rows.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.table(["COMPUTER", "STATE", "CODE", "SINCE", "WHY"], &rows)
}

/// The run of a series that made it.
fn series_of(app: &App, deployment: &Deployment) -> Result<String, Failure> {
    let run = series::run_of(app, deployment.id, deployment.bundle)?;
    Ok(run.map_or("-".to_owned(), |run| format!("run {} of series {}", run.number, run.series)))
}

/// The other deployments of its bundle.
fn together(app: &App, id: DeploymentId) -> Result<String, Failure> {
    let lines = deployments::bundle(app, id)?;
    let others = lines.iter().map(|line| line.deployment.id).filter(|other| *other != id);
    let others: Vec<String> = others.map(|other| other.to_string()).collect();
    Ok(if others.is_empty() { "-".to_owned() } else { format!("deployments {}", others.join(", ")) })
}

/// Those that were named; all of them if none was.
fn only(app: &App, names: &[String]) -> Result<Only, Failure> {
    if names.is_empty() {
        return Ok(Only::default());
    }
    let names = names.to_vec();
    let found = app.store.read_now(move |conn| -> Result<BTreeSet<ComputerId>, AssignError> {
        names.iter().map(|name| named(conn, name).map(|computer| computer.id)).collect()
    });
    let computers = found.map_err(|error| match error {
        AssignError::Store(_) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    })?;
    Ok(Only { computers: Some(computers), ..Only::default() })
}

fn jobs(count: usize) -> String {
    if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
}

/// What is taken back.
struct Take<'a> {
    waiting_only: bool,
    computers: &'a [String],
    bundle: bool,
}

fn cancel(app: &App, id: DeploymentId, take: &Take<'_>, json: bool, output: &mut Output) -> Done {
    let by = administrator();
    let cancelled = if take.bundle {
        deployments::cancel_bundle(app, id, &by, None, |_| true)
    } else {
        deployments::cancel_some(app, id, take.waiting_only, &by, only(app, take.computers)?)
    };
    let cancelled = cancelled.map_err(refuse)?;
    if json {
        #[derive(Serialize)]
        struct View {
            deployment: i64,
            cancelled: usize,
            go_on: usize,
            was_standing: bool,
        }
        return output.json(&View {
            deployment: id.0,
            cancelled: cancelled.jobs,
            go_on: cancelled.go_on,
            was_standing: cancelled.was_standing,
        });
    }
    let what = match take {
        Take { bundle: true, .. } => "and what was assigned with it are cancelled",
        Take { computers: [], .. } => "is cancelled",
        Take { .. } => "goes on elsewhere",
    };
    output.line(format_args!("deployment {id} {what}: {} taken back", jobs(cancelled.jobs)))?;
    if cancelled.go_on > 0 {
        output.line(format_args!("{} that agents were told of go on", jobs(cancelled.go_on)))?;
    }
    if cancelled.was_standing {
        output.line("computers that come later do not get it")?;
    }
    Ok(())
}

fn take_off(app: &App, id: DeploymentId, names: &[String], json: bool, output: &mut Output) -> Done {
    let taken = deployments::take_off(app, id, &administrator(), only(app, names)?).map_err(refuse)?;
    if json {
        #[derive(Serialize)]
        struct View {
            deployment: i64,
            open: usize,
            ended: usize,
        }
        return output.json(&View { deployment: id.0, open: taken.open, ended: taken.ended });
    }
    output.line(format_args!(
        "deployment {id}: {} taken off, {} of them open; what the agents said stays on record",
        jobs(taken.open + taken.ended),
        taken.open
    ))
}

fn retry(app: &App, id: DeploymentId, failed_only: bool, names: &[String], json: bool, output: &mut Output) -> Done {
    let retried = deployments::retry_some(app, id, failed_only, only(app, names)?).map_err(refuse)?;
    if json {
        #[derive(Serialize)]
        struct View {
            deployment: i64,
            planned: usize,
            already: usize,
        }
        return output.json(&View { deployment: id.0, planned: retried.planned, already: retried.already });
    }
    output.line(format_args!("deployment {id}: {} planned anew", jobs(retried.planned)))?;
    if retried.already > 0 {
        let text = format!("{} left out: the computer has an open job of package {}", retried.already, retried.package);
        output.line(text)?;
    }
    Ok(())
}
