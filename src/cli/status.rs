//! `dripfeed status`

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::{Place, Status};
use super::context::open;
use super::output::{Output, printable, say};
use super::{Done, Failure};
use crate::clock;
use crate::model::{ComputerId, JobId, JobState, PackageId};
use crate::service::App;
use crate::service::assign::{AssignError, named};
use crate::store::jobs::JobLine;
use crate::store::{StoreError, jobs, packages};

/// A job as JSON.
#[derive(Serialize)]
pub(super) struct JobView {
    job: i64,
    deployment: i64,
    package: u32,
    package_name: String,
    package_version: String,
    computer: String,
    device_id: String,
    state: &'static str,
    code: Option<String>,
    explanation: Option<String>,
    withheld: Option<String>,
    created_at: String,
    offered_at: Option<String>,
    finished_at: Option<String>,
    updated_at: String,
}

impl From<&JobLine> for JobView {
    fn from(line: &JobLine) -> Self {
        let job = &line.job;
        Self {
            job: job.id.0,
            deployment: job.deployment.0,
            package: job.package.number(),
            package_name: line.package_name.clone(),
            package_version: line.package_version.clone(),
            computer: line.computer_name.clone(),
            device_id: line.device_id.clone(),
            state: job.state.as_str(),
            code: job.result.as_ref().map(ToString::to_string),
            explanation: job.result.as_ref().and_then(crate::model::ResultCode::explanation),
            withheld: job.withheld.clone(),
            created_at: clock::utc_text(job.created_at),
            offered_at: job.offered_at.map(clock::utc_text),
            finished_at: job.finished_at.map(clock::utc_text),
            updated_at: clock::utc_text(job.updated_at),
        }
    }
}

/// Counts of one package.
#[derive(Serialize)]
struct PackageCounts {
    package: u32,
    name: String,
    version: String,
    jobs: BTreeMap<&'static str, u64>,
}

/// All of it as JSON.
#[derive(Serialize)]
struct StatusView {
    packages: Vec<PackageCounts>,
    jobs: Vec<JobView>,
}

/// More lines than that help nobody who has not said what they are after.
const LINES_UNASKED: u64 = 200;
const PAGE: usize = 1000;

pub(super) fn run(place: &Place, options: &Status, output: &mut Output) -> Done {
    let app = open(place)?.app;
    let package = options.id;
    if let Some(id) = package
        && app.store.read_now(move |conn| packages::find(conn, id))?.is_none()
    {
        return Err(Failure::refused(format!("there is no package {id}: `dripfeed package list` shows them")));
    }
    let computer = match &options.computer {
        None => None,
        Some(text) => {
            let text = text.clone();
            let found = app.store.read_now(move |conn| named(conn, &text));
            Some(found.map_err(|error: AssignError| Failure::Refused(error.into()))?.id)
        }
    };
    if options.json {
        let counts = counts(&app, package, computer)?;
        let mut views = Vec::new();
        each_job(&app, package, computer, |line| {
            views.push(JobView::from(line));
            Ok(())
        })?;
        return output.json(&StatusView { packages: counts, jobs: views });
    }
    text(&app, package, computer, output)
}

fn text(app: &App, package: Option<PackageId>, computer: Option<ComputerId>, output: &mut Output) -> Done {
    let counts = counts(app, package, computer)?;
    if counts.is_empty() {
        say("nothing is assigned yet: dripfeed assign ID --computer NAME");
        return Ok(());
    }
    let shown: Vec<JobState> = JobState::ALL
        .into_iter()
        .filter(|state| counts.iter().any(|package| package.jobs.contains_key(state.as_str())))
        .collect();
    for package in &counts {
        let parts: Vec<String> = shown
            .iter()
            .filter_map(|state| package.jobs.get(state.as_str()).map(|count| format!("{count} {state}")))
            .collect();
        output.line(format_args!(
            "{} {} {}: {}",
            package.package,
            printable(&package.name),
            printable(&package.version),
            parts.join(", ")
        ))?;
    }
    let total: u64 = counts.iter().flat_map(|package| package.jobs.values()).sum();
    if package.is_none() && computer.is_none() && total > LINES_UNASKED {
        say(format_args!("{total} jobs: name a package or a --computer to see them"));
        return Ok(());
    }
    output.line("")?;
    let mut rows = Vec::new();
    each_job(app, package, computer, |line| {
        let job = &line.job;
        let since = job.finished_at.or(job.offered_at).unwrap_or(job.created_at);
        let detail = match (&job.result, &job.withheld) {
            (Some(code), _) => code.explanation().unwrap_or_default(),
            (None, Some(reason)) => reason.clone(),
            (None, None) if job.state == JobState::Pending => "waits for the agent's next contact".to_owned(),
            (None, None) => String::new(),
        };
        rows.push([
            printable(&line.computer_name),
            job.package.to_string(),
            job.state.to_string(),
            job.result.as_ref().map_or("-".to_owned(), |code| printable(code.as_str())),
            clock::local_text(since),
            printable(&detail),
        ]);
        Ok(())
    })?;
    output.table(["COMPUTER", "PACKAGE", "STATE", "CODE", "SINCE", "WHY"], &rows)
}

fn each_job(
    app: &App,
    package: Option<PackageId>,
    computer: Option<ComputerId>,
    mut show: impl FnMut(&JobLine) -> Done,
) -> Done {
    let mut after: Option<JobId> = None;
    loop {
        let page = app.store.read_now(move |conn| jobs::list(conn, package, computer, after, PAGE))?;
        page.iter().try_for_each(&mut show)?;
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.job.id),
            _ => return Ok(()),
        }
    }
}

fn counts(app: &App, package: Option<PackageId>, computer: Option<ComputerId>) -> Result<Vec<PackageCounts>, Failure> {
    let mut by_package: BTreeMap<PackageId, BTreeMap<&'static str, u64>> = BTreeMap::new();
    if computer.is_some() {
        each_job(app, package, computer, |line| {
            *by_package.entry(line.job.package).or_default().entry(line.job.state.as_str()).or_default() += 1;
            Ok(())
        })?;
    } else {
        for (package, state, count) in app.store.read_now(move |conn| jobs::counts(conn, package))? {
            by_package.entry(package).or_default().insert(state.as_str(), count);
        }
    }
    let ids: Vec<PackageId> = by_package.keys().copied().collect();
    let names = app.store.read_now(move |conn| -> Result<BTreeMap<_, _>, StoreError> {
        let mut names = BTreeMap::new();
        for id in ids {
            if let Some(package) = packages::find(conn, id)? {
                names.insert(id, (package.name, package.version));
            }
        }
        Ok(names)
    })?;
    let views = by_package.into_iter().map(|(id, jobs)| {
        let (name, version) = names.get(&id).cloned().unwrap_or_default();
        PackageCounts { package: id.number(), name, version, jobs }
    });
    Ok(views.collect())
}
