//! `/series`: deployments that come again.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::approvals::ApprovalView;
use super::deployments::{DeploymentView, GatesView, NewDeployment};
use super::operation::{Asked, Nothing, Operation, Page, Paging, limit, operation};
use crate::clock::utc_text;
use crate::model::PackageId;
use crate::model::access::Right;
use crate::service::desk::series::{RunLine, SeriesLine};
use crate::service::desk::{Desk, Refusal};
use crate::service::series::{Repeat, SeriesError, Wish};
use crate::store::series::{RunTarget, SeriesId};

pub(super) fn operations() -> Vec<Operation> {
    let (see, deploy, stop) = (Right::SeeDeployments, Right::Deploy, Right::StopDeployments);
    vec![
        operation(Method::GET, "/series", "list_series", "Deployments that come again, newest first", see, list),
        operation(
            Method::POST,
            "/series",
            "create_series",
            "Deploys packages again and again; the first run comes with its first time",
            deploy,
            create,
        )
        .creates(),
        operation(Method::GET, "/series/{id}", "get_series", "One series with its next times", see, get),
        operation(
            Method::PUT,
            "/series/{id}",
            "change_series",
            "Changes what a series deploys, for whom and when; it acts with your rights from then on",
            deploy,
            change,
        ),
        operation(
            Method::DELETE,
            "/series/{id}",
            "end_series",
            "Ends a series: no run begins any more; its runs stay, and it can be resumed",
            stop,
            end,
        ),
        operation(
            Method::POST,
            "/series/{id}/pause",
            "pause_series",
            "No run begins until the series is resumed",
            stop,
            pause,
        ),
        operation(
            Method::POST,
            "/series/{id}/resume",
            "resume_series",
            "Goes on with a series that is paused or has ended; it acts with your rights from then on",
            deploy,
            resume,
        ),
        operation(
            Method::POST,
            "/series/{id}/run",
            "run_series",
            "Begins a run now; the next time stays as it is",
            deploy,
            run,
        ),
        operation(Method::GET, "/series/{id}/runs", "list_series_runs", "Runs of a series, newest first", see, runs),
    ]
}

/// A series' number.
#[derive(Deserialize, JsonSchema)]
struct ById {
    /// The series' number.
    id: i64,
}

/// A series.
#[derive(JsonSchema, Serialize)]
struct SeriesView {
    /// Its number.
    id: i64,
    /// What it deploys, in words: names and versions.
    name: String,
    /// The packages' numbers, in their order.
    packages: Vec<u32>,
    /// Is each offered to a computer only where the one before it succeeded?
    in_order: bool,
    /// For whom: `all`, `group`, `where` or `computers`. Each run finds out anew who that is; `computers` stay the same.
    target: &'static str,
    /// The group of `group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// The query of `where`.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#where: Option<String>,
    /// The numbers of `computers`.
    selected: Vec<i64>,
    /// What is done afterwards: `REBOOT`, `SHUTDOWN` or a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    post_command: Option<String>,
    /// When and where the deployments of a run may run; absent for at any time and anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    gates: Option<GatesView>,
    /// Are computers woken for each run?
    wake: bool,
    /// When it comes again: `every monday at 22:00`.
    repeat: String,
    /// The time zone that this is meant in.
    time_zone: String,
    /// Not before that.
    starts_at: String,
    /// `active`, `paused` or `ended`.
    stage: &'static str,
    /// Why it paused by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The next times; of one that is paused, those that it would have. None of one that has ended.
    next: Vec<String>,
    /// How many runs there were.
    runs: i64,
    /// With whose rights it acts; absent for the command line on the server's own machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// Who made it.
    created_by: String,
    /// When.
    created_at: String,
    /// Who was asked to approve it and what they said; absent for one that reaches too few computers, and in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalView>,
}

/// One series with what others said of it.
fn whole(desk: &Desk, line: SeriesLine) -> Result<SeriesView, Refusal> {
    let id = line.series.approval.filter(|_| desk.may(Right::SeeDeployments));
    let approval = id.map(|id| desk.approval_of(Some(id))).transpose()?.flatten();
    Ok(SeriesView { approval: approval.map(ApprovalView::from), ..view(desk, line) })
}

fn view(desk: &Desk, line: SeriesLine) -> SeriesView {
    let (name, next) = (line.name(), desk.upcoming(&line.series));
    let series = line.series;
    let gates = desk.gates_now(series.what.gates).if_any();
    let (target, mut group, mut query, mut selected) = ("computers", None, None, Vec::new());
    let target = match series.what.target {
        RunTarget::All => "all",
        RunTarget::Group(name) => {
            group = Some(name);
            "group"
        }
        RunTarget::Where(text) => {
            query = Some(text);
            "where"
        }
        RunTarget::Computers(ids) => {
            selected = ids;
            target
        }
    };
    SeriesView {
        id: series.id.0,
        name,
        packages: series.what.packages.iter().copied().map(PackageId::number).collect(),
        in_order: series.what.in_order,
        target,
        group,
        r#where: query,
        selected,
        post_command: series.what.post_command.as_ref().map(|command| command.as_str().to_owned()),
        gates: gates.map(GatesView::from),
        wake: series.what.wake,
        repeat: series.when.rule.to_string(),
        time_zone: series.when.zone,
        starts_at: utc_text(series.when.starts_at),
        stage: match (series.ended_at, series.paused_at) {
            (Some(_), _) => "ended",
            (None, Some(_)) => "paused",
            (None, None) => "active",
        },
        problem: series.problem,
        next: next.into_iter().map(utc_text).collect(),
        runs: series.runs,
        owner: series.owner.user,
        created_by: series.created_by,
        created_at: utc_text(series.created_at),
        approval: None,
    }
}

/// What is deployed again and again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewSeries {
    /// What, for whom, how. `force` is not asked for: each run runs it again. `schedule` is one moment, so it is refused.
    deployment: NewDeployment,
    /// When it comes again: `every 6 hours`, `every 2 days at 22:00`, `every monday, thursday at 22:00`,
    /// `every month on day 15 at 06:30` or `every month on the last day at 06:30`.
    repeat: String,
    /// The time zone that this is meant in: a name such as `Europe/Berlin`, an offset such as `+02:00`, or `UTC`; this
    /// server's if it is not said.
    time_zone: Option<String>,
    /// Not before that: a day, or a day with a time, in that zone; or a moment such as `2027-01-31T21:00:00Z`.
    starts_at: Option<String>,
}

impl NewSeries {
    fn wish(&self) -> Result<Wish, Refusal> {
        let options = self.deployment.options()?;
        if options.schedule.is_some() {
            return Err(Refusal::invalid(
                "a schedule is one moment, and this comes again: say with repeat when it does",
            )
            .about("schedule"));
        }
        Ok(Wish {
            bundle: self.deployment.bundle()?,
            target: self.deployment.target()?,
            post_command: options.post_command,
            gates: self.deployment.gates()?,
            repeat: Repeat::read(&self.repeat, self.time_zone.as_deref(), self.starts_at.as_deref()).map_err(about)?,
        })
    }
}

/// Which field is wrong.
fn about(error: SeriesError) -> Refusal {
    let field = match error {
        SeriesError::Rule(_) => Some("repeat"),
        SeriesError::Zone(_) => Some("time_zone"),
        SeriesError::Beginning(_) => Some("starts_at"),
        _ => None,
    };
    let refusal = Refusal::from(error);
    match field {
        Some(field) => refusal.about(field),
        None => refusal,
    }
}

fn list(asked: Asked<Nothing, Paging, Nothing>) -> Result<Page<SeriesView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let before = before(asked.query.after.as_deref())?.map(SeriesId);
    let found = asked.desk().all_series(before, limit + 1)?;
    Ok(Page::cut(found, limit, |line| line.series.id.to_string(), |line| view(asked.desk(), line)))
}

fn before(text: Option<&str>) -> Result<Option<i64>, Refusal> {
    let wrong = |_| Refusal::invalid("this is not the \"next\" of a page").about("after");
    text.map(str::parse::<i64>).transpose().map_err(wrong)
}

fn create(asked: Asked<Nothing, Nothing, NewSeries>) -> Result<SeriesView, Refusal> {
    let line = asked.desk().repeat(&asked.body.wish()?)?;
    whole(asked.desk(), line)
}

fn get(asked: Asked<ById, Nothing, Nothing>) -> Result<SeriesView, Refusal> {
    let line = asked.desk().series(SeriesId(asked.path.id))?;
    whole(asked.desk(), line)
}

fn change(asked: Asked<ById, Nothing, NewSeries>) -> Result<SeriesView, Refusal> {
    let line = asked.desk().change_series(SeriesId(asked.path.id), &asked.body.wish()?)?;
    whole(asked.desk(), line)
}

fn end(asked: Asked<ById, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().end_series(SeriesId(asked.path.id))?;
    Ok(Nothing {})
}

fn pause(asked: Asked<ById, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().pause_series(SeriesId(asked.path.id))?;
    Ok(Nothing {})
}

fn resume(asked: Asked<ById, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().resume_series(SeriesId(asked.path.id))?;
    Ok(Nothing {})
}

/// A run that began.
#[derive(JsonSchema, Serialize)]
struct BegunView {
    /// Its number in the series.
    run: i64,
    /// Its deployments, in the order of the packages; none if nobody was meant.
    deployments: Vec<i64>,
    /// Jobs that are new.
    planned: usize,
    /// Open jobs of the run before that gave way.
    gave_way: usize,
}

fn run(asked: Asked<ById, Nothing, Nothing>) -> Result<BegunView, Refusal> {
    let begun = asked.desk().run_series(SeriesId(asked.path.id))?;
    Ok(BegunView {
        run: begun.run,
        deployments: begun.made.iter().map(|one| one.deployment.0).collect(),
        planned: begun.made.iter().map(|one| one.planned).sum(),
        gave_way: begun.gave_way,
    })
}

/// A run of a series.
#[derive(JsonSchema, Serialize)]
struct RunView {
    /// Its number: the first has 1.
    run: i64,
    /// When it was to begin; absent for one that somebody began by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    /// When it began.
    started_at: String,
    /// Who or what began it.
    started_by: String,
    /// Its deployments, in the order of the packages; none if nobody was meant.
    deployments: Vec<DeploymentView>,
}

impl From<RunLine> for RunView {
    fn from(line: RunLine) -> Self {
        Self {
            run: line.run.number,
            due_at: line.run.due_at.map(utc_text),
            started_at: utc_text(line.run.started_at),
            started_by: line.run.started_by,
            deployments: line.deployments.into_iter().map(DeploymentView::from).collect(),
        }
    }
}

fn runs(asked: Asked<ById, Paging, Nothing>) -> Result<Page<RunView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let before = before(asked.query.after.as_deref())?;
    let found = asked.desk().series_runs(SeriesId(asked.path.id), before, limit + 1)?;
    Ok(Page::cut(found, limit, |line| line.run.number.to_string(), RunView::from))
}
