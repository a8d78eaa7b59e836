//! `/deployments`: the list, one deployment as it goes on, its computers, and what is done to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use askama::Template;

use super::super::events;
use super::super::fetches::{Fetches, Fetching, Seen};
use super::super::visit::escaped;
use super::call::{Call, Fields, Page, View, get, post};
use super::shell::Shell;
use super::show::{Counts, Html, count};
use super::{approvals, charts};
// As templates name them, those of the modules below included.
use super::{deployments, show};
use crate::model::access::Right;
use crate::model::{
    DeploymentId, DeviceId, FragmentCount, GroupId, JobId, JobState, PackageId, PostCommand, ResultCode, UnixTime,
};
use crate::service::approvals::About;
use crate::service::deployments::{Progress, Summary, is_running, is_standing};
use crate::service::desk::{Desk, Refusal};
use crate::service::why::Why;
use crate::store::deployments::{DeploymentLine, Wanted, Which};
use crate::store::progress::{self, OnComputer};
use crate::store::series::Run;

mod again;
pub(super) mod assign;
pub(super) mod change;
mod export;
mod gates;
pub(super) mod jobs;
mod waiting;

/// Rows of a page.
const ROWS: usize = 50;

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/deployments", Right::SeeDeployments, list),
        get("/deployments/live", Right::SeeDeployments, list_live),
        get("/deployments/new", Right::Deploy, assign::form),
        post("/deployments/new", Right::Deploy, assign::form),
        post("/deployments/preview", Right::Deploy, assign::preview),
        post("/deployments", Right::Deploy, assign::start),
        get("/deployments/{id}", Right::SeeDeployments, one),
        get("/deployments/{id}/live", Right::SeeDeployments, one_live),
        get("/deployments/{id}/computers", Right::SeeDeployments, computers),
        get("/deployments/{id}/why/{job}", Right::SeeDeployments, why),
        get("/deployments/{id}/export.csv", Right::SeeDeployments, export::csv),
        get("/deployments/{id}/export.json", Right::SeeDeployments, export::json),
        get("/deployments/{id}/gates", Right::Deploy, gates::form),
        post("/deployments/{id}/gates", Right::Deploy, gates::change),
        post("/deployments/{id}/gates/preview", Right::Deploy, gates::preview),
        post("/deployments/{id}/retry", Right::Deploy, change::retry),
        post("/deployments/{id}/retry/undo", Right::Deploy, change::undo_retry),
        post("/deployments/{id}/cancel", Right::StopDeployments, change::cancel),
        post("/deployments/{id}/cancel/undo", Right::StopDeployments, change::undo_cancel),
        post("/deployments/{id}/take-off", Right::StopDeployments, change::take_off),
        post("/deployments/{id}/close", Right::StopDeployments, change::close),
        post("/deployments/{id}/reopen", Right::StopDeployments, change::reopen),
    ]
}

/// A deployment in a list.
pub(super) struct Row {
    pub(super) summary: Summary,
    pub(super) counts: Counts,
    pub(super) target: String,
    pub(super) done: u64,
}

impl Row {
    pub(super) fn of(summary: Summary, groups: &BTreeMap<GroupId, String>) -> Self {
        let counts = Counts(summary.counts.clone());
        Self { target: target(&summary, groups), done: done(&counts), counts, summary }
    }

    pub(super) fn id(&self) -> DeploymentId {
        self.summary.line.deployment.id
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.summary.line.package_name, self.summary.line.package_version)
    }

    pub(super) fn badge(&self) -> Html {
        stage(&self.summary)
    }

    pub(super) fn lost(&self) -> u64 {
        self.counts.of(JobState::Failed) + self.counts.of(JobState::Expired)
    }
}

/// Whole per cents of those that were not taken back: 100 only when nobody is left.
pub(super) fn done(counts: &Counts) -> u64 {
    let total = counts.total() - counts.of(JobState::Cancelled);
    let there = counts.of(JobState::Succeeded) + counts.of(JobState::AlreadyInstalled);
    there.saturating_mul(100).checked_div(total).unwrap_or(0)
}

/// For whom, in words.
fn target(summary: &Summary, groups: &BTreeMap<GroupId, String>) -> String {
    let deployment = &summary.line.deployment;
    match deployment.group {
        Some(group) => match groups.get(&group) {
            Some(name) => format!("group {name}"),
            None => "a group that is gone".to_owned(),
        },
        None if deployment.all_computers => "all computers".to_owned(),
        None => count(Counts(summary.counts.clone()).total(), "computer"),
    }
}

/// Where it is, as a badge.
fn stage(summary: &Summary) -> Html {
    let deployment = &summary.line.deployment;
    let open = summary.counts.iter().any(|(state, count)| state.is_open() && *count > 0);
    let (word, tone, icon) = match deployment {
        deployment if deployment.closed_at.is_some() => ("closed", "closed", "check"),
        deployment if summary.line.awaits_approval && deployment.cancelled_at.is_none() => {
            ("waits for approval", "withheld", "lock")
        }
        _ if open => ("rolling out", "running", "downloading"),
        deployment if deployment.cancelled_at.is_some() => ("cancelled", "cancelled", "cancelled"),
        _ if is_standing(&summary.line) => ("standing", "scheduled", "clock"),
        _ => ("done", "ok", "succeeded"),
    };
    show::toned(word, tone, icon)
}

#[derive(Template)]
#[template(path = "deployments.html")]
struct List {
    shell: Shell,
    which: &'static str,
    package: Option<PackageId>,
    rows: String,
    live: String,
    may_deploy: bool,
}

#[derive(Template)]
#[template(path = "deployments-rows.html")]
struct ListPart {
    which: &'static str,
    rows: Vec<Row>,
    next: Option<String>,
    may_deploy: bool,
}

struct Asked {
    wanted: Wanted,
    which: &'static str,
}

fn asked(call: &Call) -> Result<Asked, Refusal> {
    let (which, word) = match call.query.get("which") {
        "ended" => (Which::Ended, "ended"),
        "all" => (Which::All, "all"),
        _ => (Which::Running, "running"),
    };
    let before = call.query.parse_some::<i64>("after")?.map(DeploymentId);
    let package = call.query.parse_some::<PackageId>("package")?;
    Ok(Asked { wanted: Wanted { which, package, group: None, before }, which: word })
}

fn rows(desk: &Desk, asked: &Asked) -> Result<String, Refusal> {
    let mut found = desk.deployments(asked.wanted, ROWS + 1)?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let groups = desk.groups_of(&found)?;
    let package = asked.wanted.package.map(|id| format!("&package={id}")).unwrap_or_default();
    let next = found
        .last()
        .filter(|_| more)
        .map(|last| format!("/deployments?which={}{package}&after={}", asked.which, last.line.deployment.id));
    let rows = ListPart {
        which: asked.which,
        rows: found.into_iter().map(|summary| Row::of(summary, &groups)).collect(),
        next,
        may_deploy: desk.may(Right::Deploy),
    };
    rows.render().map_err(Refusal::failed)
}

fn list(call: &Call) -> Result<View, Refusal> {
    let asked = asked(call)?;
    let rows = rows(call.desk(), &asked)?;
    if call.fragment.as_deref() == Some("list") {
        return Ok(View::Html(rows));
    }
    call.page(&List {
        shell: call.shell("Deployments", "/deployments"),
        which: asked.which,
        package: asked.wanted.package,
        rows,
        live: format!("/deployments/live?at={}&{}", at(call), call.query_text),
        may_deploy: call.desk().may(Right::Deploy),
    })
}

fn list_live(call: &Call) -> Result<View, Refusal> {
    let asked = asked(call)?;
    let response =
        events::answer(&call.site, &call.visit, is_fresh(call), move |desk| Ok(vec![("list", rows(desk, &asked)?)]))?;
    Ok(View::Other(Box::new(response)))
}

/// A line of the table of errors.
struct Lost {
    code: ResultCode,
    state: JobState,
    computers: u64,
    meaning: String,
    advice: &'static str,
    address: String,
}

/// The parts of a deployment's page that change.
struct Parts {
    approval: String,
    progress: String,
    errors: String,
    waiting: String,
    gates: String,
    chart: String,
}

#[derive(Template)]
#[template(path = "deployment-progress.html")]
struct ProgressPart {
    done: u64,
    counts: Counts,
    ring: Html,
    base: String,
    states: Vec<(JobState, u64)>,
    withheld: u64,
    fetching: Option<String>,
}

#[derive(Template)]
#[template(path = "deployment-errors.html")]
struct ErrorsPart {
    csrf: Html,
    base: String,
    codes: Vec<Lost>,
    may_retry: bool,
}

#[derive(Template)]
#[template(path = "deployment-gates.html")]
struct GatesPart {
    base: String,
    /// When and where it may run.
    when: String,
    gates: Vec<(String, u64, String)>,
}

pub(super) fn csrf_field(csrf: &str) -> Html {
    // Hexadecimal, so nothing in it is markup.
    Html(format!("<input type=\"hidden\" name=\"csrf\" value=\"{csrf}\">"))
}

/// Who is fetching, in a sentence; nothing if nobody is.
fn spelled(fetching: Fetching, of: FragmentCount) -> Option<String> {
    let Fetching { addresses, fragments } = fetching;
    let each = fragments.saturating_mul(100).checked_div(addresses.saturating_mul(u64::from(of.0)))?;
    Some(format!(
        "{} fetched from this server within ten minutes and {} {} % of the fragments.",
        count(addresses, "computer"),
        if addresses == 1 { "has" } else { "have, on average," },
        each.min(100)
    ))
}

/// Who is fetching the package of a deployment, for whoever may see all of its computers.
fn fetching(desk: &Desk, fetches: &Fetches, progress: &Progress, now: UnixTime) -> Option<Fetching> {
    let package = progress.summary.line.deployment.package;
    desk.actor().scope.computers.is_none().then(|| fetches.fetching(package, now))
}

fn parts(
    desk: &Desk,
    progress: &Progress,
    csrf: &str,
    with_chart: bool,
    (fetches, now): (&Fetches, UnixTime),
) -> Result<Parts, Refusal> {
    let fetching = fetching(desk, fetches, progress, now);
    let summary = &progress.summary;
    let deployment = &summary.line.deployment;
    let base = format!("/deployments/{}", deployment.id);
    let counts = Counts(summary.counts.clone());
    let codes = progress.codes.iter().map(|one| {
        let code = ResultCode::from_wire(&one.code);
        Lost {
            meaning: code
                .explanation()
                .unwrap_or_else(|| "nobody knows this code: the agent's log there says more".into()),
            advice: code.advice().unwrap_or_default(),
            address: format!("{base}/computers?code={}", escaped(code.as_str())),
            state: one.state,
            computers: one.computers,
            code,
        }
    });
    let retryable = deployment.cancelled_at.is_none() && deployment.closed_at.is_none() && desk.may(Right::Deploy);
    let errors =
        ErrorsPart { csrf: csrf_field(csrf), base: base.clone(), codes: codes.collect(), may_retry: retryable };
    let gates = progress.gates.iter().map(|(reason, computers)| {
        (sentence(reason), *computers, format!("{base}/computers?withheld={}", escaped(reason)))
    });
    let whole = desk.actor().scope.computers.is_none();
    let may_change = desk.may(Right::Deploy) && whole && is_running(summary);
    let when = gates::card(&desk.gates(deployment.id)?, may_change.then(|| format!("{base}/gates")))?;
    let gates = GatesPart { base: base.clone(), when, gates: gates.collect() };
    let total = counts.total();
    let chart = match with_chart.then(|| desk.deployment_over_time(summary)).transpose()?.flatten() {
        Some(over_time) if total > 0 => charts::chart(&over_time, total).0,
        _ => String::new(),
    };
    let part = ProgressPart {
        done: done(&counts),
        ring: charts::donut(&counts, done(&counts)),
        states: show::ORDER.iter().map(|state| (*state, counts.of(*state))).filter(|(_, n)| *n > 0).collect(),
        withheld: progress.gates.iter().map(|(_, count)| count).sum(),
        fetching: fetching.filter(|_| is_running(summary)).and_then(|one| spelled(one, summary.line.fragments)),
        base,
        counts,
    };
    let is_over = deployment.cancelled_at.is_some() || deployment.closed_at.is_some();
    let about = About::Deployment(deployment.id);
    Ok(Parts {
        approval: approvals::part(desk, about, deployment.approval, is_over, csrf)?,
        progress: part.render().map_err(Refusal::failed)?,
        errors: errors.render().map_err(Refusal::failed)?,
        waiting: waiting::part(desk, progress, csrf, fetches)?,
        gates: gates.render().map_err(Refusal::failed)?,
        chart: format!("<div id=\"chart\">{chart}</div>"),
    })
}

/// A gate's own words, without what only helps at a terminal.
fn sentence(reason: &str) -> String {
    let text = reason.split(": dripfeed").next().unwrap_or_default();
    let mut letters = text.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}

#[derive(Template)]
#[template(path = "deployment.html")]
struct One {
    shell: Shell,
    head: Head,
    parts: Parts,
    options: Vec<(&'static str, String)>,
    running: bool,
    at: i64,
}

/// The head of a deployment's pages.
#[expect(clippy::struct_excessive_bools, reason = "what a page shows")]
struct Head {
    row: Row,
    base: String,
    total: u64,
    lost: u64,
    /// What waits for its agent.
    pending: u64,
    open: u64,
    may_deploy: bool,
    may_retry: bool,
    may_stop: bool,
    /// May single computers be taken back and off?
    may_take: bool,
    may_close: bool,
    is_closed: bool,
    group: Option<String>,
    /// Those that were made in one act with it, itself among them.
    bundle: Vec<DeploymentLine>,
    /// The run of a series that made it.
    run: Option<Run>,
}

impl Head {
    /// Does each of the bundle wait for the one before it?
    fn in_order(&self) -> bool {
        self.bundle.iter().any(|line| line.deployment.options.follows.is_some())
    }

    fn is_this(&self, line: &DeploymentLine) -> bool {
        line.deployment.id == self.row.id()
    }
}

fn head(call: &Call, progress: &Progress) -> Result<Head, Refusal> {
    let summary = progress.summary.clone();
    let desk = call.desk();
    let groups = desk.groups_of(std::slice::from_ref(&summary))?;
    let deployment = &summary.line.deployment;
    let (id, group) = (deployment.id, deployment.group.and_then(|group| groups.get(&group).cloned()));
    let (cancelled, closed) = (deployment.cancelled_at.is_some(), deployment.closed_at.is_some());
    let run = desk.run_of(id, deployment.bundle)?;
    let row = Row::of(summary, &groups);
    let open: u64 = row.counts.0.iter().filter(|(state, _)| state.is_open()).map(|(_, count)| count).sum();
    Ok(Head {
        base: format!("/deployments/{id}"),
        total: row.counts.total(),
        lost: row.lost(),
        pending: row.counts.of(JobState::Pending),
        open,
        may_deploy: desk.may(Right::Deploy),
        may_retry: desk.may(Right::Deploy) && !cancelled && !closed,
        may_stop: desk.may(Right::StopDeployments) && (open > 0 || is_standing(&row.summary.line)),
        may_take: desk.may(Right::StopDeployments),
        may_close: desk.may(Right::StopDeployments) && desk.actor().scope.computers.is_none(),
        is_closed: closed,
        group,
        bundle: desk.bundle_of(id)?,
        run,
        row,
    })
}

fn id(call: &Call) -> Result<DeploymentId, Refusal> {
    let id = call.path.parse::<i64>("id").map_err(|_| Refusal::not_found("there is no such deployment"))?;
    Ok(DeploymentId(id))
}

fn one(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let progress = call.desk().deployment(id)?;
    let deployment = &progress.summary.line.deployment;
    let options = &deployment.options;
    let mut facts = vec![
        ("Force", if options.force { "yes: also where it was run before" } else { "no" }.to_owned()),
        (
            "Not before",
            options.schedule.as_ref().map_or("at once".to_owned(), |at| format!("{at}, the computer's own time")),
        ),
        (
            "Afterwards",
            match &options.post_command {
                None => "nothing".to_owned(),
                Some(PostCommand::Reboot) => "restart the computer".to_owned(),
                Some(PostCommand::Shutdown) => "turn the computer off".to_owned(),
                Some(PostCommand::Run(command)) => command.clone(),
            },
        ),
        (
            "Comes after",
            match options.follows {
                None => "nothing".to_owned(),
                Some(package) => format!("package {package} has succeeded on the same computer"),
            },
        ),
        (
            "Computers that come later",
            if is_standing(&progress.summary.line) { "get it, too" } else { "do not get it" }.to_owned(),
        ),
    ];
    if let Some(woken) = call.desk().deployment_wakes(id)? {
        facts.push(("Wakes computers", capital(&woken.in_words())));
    }
    let head = head(call, &progress)?;
    let seen = (&*call.site.fetches, call.site.app.clock.now());
    call.page(&One {
        shell: call.shell(head.row.name(), "/deployments"),
        parts: parts(call.desk(), &progress, &call.visit.csrf, true, seen)?,
        options: facts,
        running: is_running(&progress.summary),
        at: at(call),
        head,
    })
}

fn one_live(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    call.desk().deployment(id)?;
    let (csrf, fetches, clock) = (call.visit.csrf.clone(), Arc::clone(&call.site.fetches), call.site.app.clock);
    let looks = std::sync::atomic::AtomicU32::new(0);
    let response = events::answer(&call.site, &call.visit, is_fresh(call), move |desk| {
        // The chart reads every job: seldom.
        let with_chart = looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 15 == 14;
        let progress = desk.deployment(id)?;
        let parts = parts(desk, &progress, &csrf, with_chart, (&fetches, clock.now()))?;
        let mut told = vec![
            ("approval", parts.approval),
            ("progress", parts.progress),
            ("errors", parts.errors),
            ("waiting", parts.waiting),
            ("gates", parts.gates),
        ];
        if with_chart {
            told.push(("chart", parts.chart));
        }
        Ok(told)
    })?;
    Ok(View::Other(Box::new(response)))
}

/// What this server saw a computer fetch since it was told.
fn seen(line: &OnComputer, fetches: &Fetches) -> Option<Seen> {
    let device: DeviceId = line.device_id.parse().ok()?;
    fetches.of_device(&device, &line.peer_address, line.job.package, line.job.offered_at?)
}

/// What a computer's line says about it, with what this server saw it fetch of a package that has so many fragments.
fn reason(line: &OnComputer, fetches: &Fetches, of: FragmentCount) -> String {
    let job = &line.job;
    let seen = seen(line, fetches).filter(|_| job.withheld.is_none());
    match (job.state, seen) {
        (JobState::Offered | JobState::Downloading, Some(seen)) if seen.fragments == 0 => {
            "Told; it fetched the info file.".to_owned()
        }
        (JobState::Offered | JobState::Downloading, Some(seen)) => {
            format!("Under way: {}.", show::fragments(&seen, of))
        }
        _ => said_of(line),
    }
}

/// What a computer's line says about it.
pub(super) fn said_of(line: &OnComputer) -> String {
    let job = &line.job;
    match (&job.result, &job.withheld) {
        (Some(code), _) if job.state == JobState::Cancelled => format!("Taken off, after {code}."),
        (Some(code), _) => match code.explanation() {
            Some(text) => format!("{code}: {text}"),
            None => code.to_string(),
        },
        (None, Some(gate)) => sentence(gate),
        (None, None) => match job.state {
            JobState::Pending => "Has not come since it was planned.".to_owned(),
            JobState::Offered => "Told, and has not reported yet.".to_owned(),
            JobState::Downloading => "Under way.".to_owned(),
            JobState::Cancelled => "Taken back.".to_owned(),
            _ => String::new(),
        },
    }
}

pub(super) fn is_lost(line: &OnComputer) -> bool {
    matches!(line.job.state, JobState::Failed | JobState::Expired)
}

pub(super) fn is_open(line: &OnComputer) -> bool {
    line.job.state.is_open()
}

pub(super) fn address_of(line: &OnComputer) -> String {
    format!("/computers/{}", escaped(&line.device_id))
}

#[derive(Template)]
#[template(path = "deployment-computers.html")]
struct Computers {
    shell: Shell,
    head: Head,
    state: String,
    jobs: String,
}

/// The filter of a list of computers, from its address or from a form.
pub(super) fn wanted(fields: &Fields) -> Result<progress::Wanted, Refusal> {
    let states = match fields.some("state") {
        None => Vec::new(),
        Some("lost") => vec![JobState::Failed, JobState::Expired],
        Some("open") => vec![JobState::Pending, JobState::Offered, JobState::Downloading],
        Some(_) => vec![fields.parse::<JobState>("state")?],
    };
    let withheld = fields.0.iter().any(|(name, _)| name == "withheld");
    Ok(progress::Wanted {
        states,
        code: fields.some("code").map(str::to_owned),
        withheld: withheld.then(|| fields.get("withheld").to_owned()),
    })
}

/// How many computers a filter shows, by the numbers of the deployment's own page.
fn shown(progress: &Progress, wanted: &progress::Wanted) -> u64 {
    let has = |state: JobState| wanted.states.is_empty() || wanted.states.contains(&state);
    match (&wanted.code, &wanted.withheld) {
        (Some(code), _) => {
            let of = progress.codes.iter().filter(|one| one.code == *code && has(one.state));
            of.map(|one| one.computers).sum()
        }
        (None, Some(gate)) => {
            let of = progress.gates.iter().filter(|(reason, _)| gate.is_empty() || reason == gate);
            of.map(|(_, computers)| computers).sum()
        }
        (None, None) => {
            let of = progress.summary.counts.iter().filter(|(state, _)| has(*state));
            of.map(|(_, computers)| computers).sum()
        }
    }
}

/// The filter of a list as its next page's address begins.
pub(super) fn filter_text(call: &Call) -> String {
    let mut text = String::new();
    for (name, value) in call.query.0.iter().filter(|(name, _)| name != "after") {
        let _ = write!(text, "{}={}&", escaped(name), escaped(value));
    }
    text
}

fn computers(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let progress = call.desk().deployment(id)?;
    let wanted = wanted(&call.query)?;
    let after = call.query.parse_some::<i64>("after")?.map(JobId);
    let found = call.desk().deployment_computers(id, wanted.clone(), after, ROWS + 1)?;
    let head = head(call, &progress)?;
    let of = jobs::Of {
        list: format!("{}/computers", head.base),
        acts: head.base.clone(),
        total: shown(&progress, &wanted),
        may_retry: head.may_retry,
        may_take: head.may_take,
        by_deployment: false,
        nobody: "None of this deployment's computers is in this state.",
    };
    let fragments = progress.summary.line.fragments;
    let reason = |line: &OnComputer| reason(line, &call.site.fetches, fragments);
    call.page(&Computers {
        shell: call.shell(format!("{}: computers", head.row.name()), "/deployments"),
        state: call.query.get("state").to_owned(),
        jobs: jobs::list(call, of, wanted, found, ROWS, reason)?,
        head,
    })
}

#[derive(Template)]
#[template(path = "deployment-why.html")]
struct WhyPage {
    shell: Shell,
    head: Head,
    line: OnComputer,
    why: Why,
    sentence: String,
}

fn why(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let job = call.path.parse::<i64>("job").map_err(|_| Refusal::not_found("there is no such job"))?;
    let (line, why) = call.desk().deployment_why(id, JobId(job))?;
    let head = head(call, &call.desk().deployment(id)?)?;
    // What to type at a terminal is a button here.
    let text = why.sentence.split("; to try again: dripfeed").next().unwrap_or_default();
    call.page(&WhyPage {
        shell: call.shell(format!("{} on {}", head.row.name(), line.name), "/deployments"),
        sentence: sentence(text),
        head,
        line,
        why,
    })
}

/// A sentence begins with a capital.
pub(super) fn capital(text: &str) -> String {
    sentence(text)
}

pub(super) fn tab_of(state: &str) -> &'static str {
    if state == "lost" { "lost" } else { "computers" }
}

/// When a page was made, for the address of what it is told from then on.
pub(super) fn at(call: &Call) -> i64 {
    call.site.app.clock.now().millis()
}

/// Was the page that listens made just now? Then it shows what is true, and nothing on it need be put anew.
pub(super) fn is_fresh(call: &Call) -> bool {
    call.query.get("at").parse::<i64>().is_ok_and(|made| (0..5000).contains(&(at(call) - made)))
}
