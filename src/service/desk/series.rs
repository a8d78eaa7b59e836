//! Deployments that come again: look, make, change, pause, resume, run now, end.
//!
//! A series acts with the rights of whoever made it, or last changed or resumed it. An actor who may touch only some
//! computers sees and changes only their own: what a series of somebody else's is for is not told.

use serde_json::{Value, json};

use super::super::assign::{Bundle, Target};
use super::super::deployments::{self, DeploymentError, Summary};
use super::super::series::{self, Begun, Need, Repeat, Wish};
use super::deployments::spell;
use super::{Change, Desk, Refusal, Via, gates};
use crate::model::access::{Right, Scope};
use crate::model::gates::Gates;
use crate::model::{Approval, Awaited, ComputerId, DeploymentId, Package, PackageId, PostCommand, UnixTime};
use crate::store::series::{Owner, Run, RunTarget, Series, SeriesId};
use crate::store::{Conn, StoreError, approvals, computers, packages, series as store};

/// Times that are told of what comes.
const UPCOMING: usize = 5;
/// Series that are read at a time.
const PAGE: usize = 100;

/// A series with what people read.
#[derive(Clone, Debug)]
pub struct SeriesLine {
    /// The series.
    pub series: Series,
    /// Its packages, in their order.
    pub packages: Vec<Package>,
    /// What it waits for, if others have to agree first.
    pub awaited: Option<Awaited>,
}

impl SeriesLine {
    fn read(conn: &mut Conn, series: Series) -> Result<Self, StoreError> {
        let found = series.what.packages.iter().map(|id| packages::find(conn, *id));
        let packages = found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let approval = series.approval.map(|id| approvals::find(conn, id)).transpose()?.flatten();
        let awaited = approval.filter(Approval::waits).map(|approval| approval.awaited);
        Ok(Self { awaited: awaited.filter(|_| series.ended_at.is_none()), series, packages })
    }

    /// What it deploys, in words.
    pub fn name(&self) -> String {
        let names: Vec<String> = self.packages.iter().map(|one| format!("{} {}", one.name, one.version)).collect();
        names.join(", ")
    }

    /// For whom, in words.
    pub fn target(&self) -> String {
        match &self.series.what.target {
            RunTarget::All => "all computers".to_owned(),
            RunTarget::Group(name) => format!("group {name}"),
            RunTarget::Where(query) => query.clone(),
            RunTarget::Computers(ids) if ids.len() == 1 => "1 computer".to_owned(),
            RunTarget::Computers(ids) => format!("{} computers", ids.len()),
        }
    }

    /// When, in words: the rule, and the zone if it matters.
    pub fn rule(&self) -> String {
        let when = &self.series.when;
        in_words(&when.rule.to_string(), &when.zone)
    }

    /// Whose rights it acts with.
    pub fn owner(&self) -> &str {
        self.series.owner.user.as_deref().unwrap_or("the server's command line")
    }
}

/// What is changed of a series; what is not said stays.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// The packages.
    pub packages: Option<Vec<PackageId>>,
    /// Is each offered only where the one before it succeeded?
    pub in_order: Option<bool>,
    /// For whom.
    pub target: Option<Target>,
    /// What is done afterwards; nothing if that is what is said.
    pub post_command: Option<Option<PostCommand>>,
    /// When and where the deployments of a run may run.
    pub gates: Option<Gates>,
    /// Are computers woken for each run?
    pub wake: Option<bool>,
    /// When.
    pub repeat: Option<Repeat>,
}

impl Edit {
    /// Is nothing but when it comes changed?
    pub fn is_about_time_alone(&self) -> bool {
        let Self { packages, in_order, target, post_command, gates, wake, repeat: _ } = self;
        packages.is_none()
            && in_order.is_none()
            && target.is_none()
            && post_command.is_none()
            && gates.is_none()
            && wake.is_none()
    }
}

/// A rule with the zone that its times of day are in.
pub fn in_words(rule: &str, zone: &str) -> String {
    if rule.contains(" at ") { format!("{rule} ({zone})") } else { rule.to_owned() }
}

/// A run and how far it is.
#[derive(Clone, Debug)]
pub struct RunLine {
    /// The run.
    pub run: Run,
    /// Its deployments, those of the actor's scope; in the order of the packages.
    pub deployments: Vec<Summary>,
}

impl Desk {
    fn shows(&self, line: &SeriesLine) -> bool {
        let is_own = line.series.owner.user.as_ref() == Some(&self.actor.name);
        (self.actor.scope.computers.is_none() || is_own)
            && line.packages.iter().all(|package| self.actor.scope.has_family(&package.name))
    }

    /// Series that the actor may see, newest first.
    pub fn all_series(&self, before: Option<SeriesId>, limit: usize) -> Result<Vec<SeriesLine>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        let (mut found, mut before) = (Vec::new(), before);
        while found.len() < limit {
            let page = app.store.read_now(move |conn| -> Result<Vec<SeriesLine>, StoreError> {
                store::list(conn, before, PAGE)?.into_iter().map(|series| SeriesLine::read(conn, series)).collect()
            })?;
            let is_last = page.len() < PAGE;
            before = page.last().map(|line| line.series.id);
            found.extend(page.into_iter().filter(|line| self.shows(line)));
            if is_last {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Series that paused by themselves, newest first.
    pub fn ailing_series(&self, limit: usize) -> Result<Vec<SeriesLine>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        let mut found = app.store.read_now(move |conn| -> Result<Vec<SeriesLine>, StoreError> {
            store::ailing(conn, limit)?.into_iter().map(|series| SeriesLine::read(conn, series)).collect()
        })?;
        found.retain(|line| self.shows(line));
        Ok(found)
    }

    /// One series.
    pub fn series(&self, id: SeriesId) -> Result<SeriesLine, Refusal> {
        self.reading(Right::SeeDeployments)?;
        self.known_series(id)
    }

    /// The same without the right to look: whoever may change one is told what is changed.
    fn known_series(&self, id: SeriesId) -> Result<SeriesLine, Refusal> {
        let found = self.app.store.read_now(move |conn| -> Result<Option<SeriesLine>, StoreError> {
            store::find(conn, id)?.map(|series| SeriesLine::read(conn, series)).transpose()
        })?;
        let seen = found.filter(|line| self.shows(line));
        seen.ok_or_else(|| series::SeriesError::Unknown(id).into())
    }

    /// When it comes next, and after that; also of one that is paused: when it would.
    pub fn upcoming(&self, series: &Series) -> Vec<UnixTime> {
        if series.ended_at.is_some() {
            return Vec::new();
        }
        series::upcoming(&series.when, self.app.clock.now(), UPCOMING)
    }

    /// The next times of what somebody is about to repeat.
    pub fn times_of(&self, repeat: &Repeat) -> Vec<UnixTime> {
        repeat.upcoming(self.app.clock.now(), UPCOMING)
    }

    /// The computers that a series was picked for by hand, by their device ids; those that are gone left out.
    pub fn picked(&self, series: &Series) -> Result<Vec<String>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        let RunTarget::Computers(ids) = series.what.target.clone() else { return Ok(Vec::new()) };
        Ok(app.store.read_now(move |conn| -> Result<_, StoreError> {
            let found = ids.into_iter().map(|id| computers::find(conn, ComputerId(id)));
            let there = found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
            Ok(there.map(|computer| computer.device_id.to_string()).collect())
        })?)
    }

    /// Runs of a series, newest first, with how far they are.
    pub fn series_runs(&self, id: SeriesId, before: Option<i64>, limit: usize) -> Result<Vec<RunLine>, Refusal> {
        self.series(id)?;
        let runs = self.app.store.read_now(move |conn| store::runs(conn, id, before, limit))?;
        runs.into_iter().map(|run| self.run_line(run)).collect()
    }

    fn run_line(&self, run: Run) -> Result<RunLine, Refusal> {
        let Some(first) = run.deployment else { return Ok(RunLine { run, deployments: Vec::new() }) };
        let together = deployments::bundle(&self.app, first)?;
        let mut ids: Vec<DeploymentId> = together.iter().map(|line| line.deployment.id).collect();
        if ids.is_empty() {
            ids.push(first);
        }
        let mut summaries = Vec::with_capacity(ids.len());
        for id in ids {
            match self.summary_of(id) {
                Ok(summary) => summaries.push(summary),
                // None of its computers is in the scope.
                Err(DeploymentError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(RunLine { run, deployments: summaries })
    }

    fn summary_of(&self, id: DeploymentId) -> Result<Summary, DeploymentError> {
        match self.scope_of_computers() {
            None => deployments::find(&self.app, id),
            scope => Ok(deployments::progress(&self.app, id, scope)?.summary),
        }
    }

    /// The run that made a deployment, if one did and the actor may see its series.
    pub fn run_of(&self, id: DeploymentId, bundle: Option<DeploymentId>) -> Result<Option<Run>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        let Some(run) = series::run_of(app, id, bundle)? else { return Ok(None) };
        Ok(self.known_series(run.series).is_ok().then_some(run))
    }

    /// As whom a series acts that this actor makes, changes or resumes.
    fn as_owner(&self) -> Owner {
        match self.actor.via {
            Via::CommandLine => Owner { user: None, scope: Scope::ALL },
            _ => Owner { user: Some(self.actor.name.clone()), scope: self.actor.scope.clone() },
        }
    }

    /// Deploys packages again and again. Nothing is deployed before the first time has come.
    pub fn repeat(&self, wish: &Wish) -> Result<SeriesLine, Refusal> {
        self.allow(Right::Deploy)?;
        self.may_wake(&wish.bundle)?;
        self.families_are_mine(&wish.bundle)?;
        let packages: Vec<String> = wish.bundle.packages().iter().map(ToString::to_string).collect();
        let noun = if packages.len() == 1 { "package" } else { "packages" };
        let change = Change::new("series create", format!("{noun} {}", packages.join(" "))).after(asked(wish));
        let app = self.changing(Right::Deploy, change)?;
        let id = series::create(&app, wish, &self.as_owner(), &self.actor.label())?;
        self.known_series(id)
    }

    /// Changes a series; it acts with the actor's rights from then on.
    pub fn change_series(&self, id: SeriesId, wish: &Wish) -> Result<SeriesLine, Refusal> {
        self.allow(Right::Deploy)?;
        self.may_wake(&wish.bundle)?;
        let known = self.known_series(id)?;
        self.families_are_mine(&wish.bundle)?;
        let change = Change::new("series change", format!("series {id}")).before(was(&known)).after(asked(wish));
        series::change(&self.changing(Right::Deploy, change)?, id, wish, &self.as_owner(), &self.actor.label())?;
        self.known_series(id)
    }

    /// Changes some of what a series is, and leaves the rest as it is; it acts with the actor's rights from then on.
    pub fn edit_series(&self, id: SeriesId, edit: Edit) -> Result<SeriesLine, Refusal> {
        self.allow(Right::Deploy)?;
        let Series { what, when, .. } = self.known_series(id)?.series;
        let repeat = edit.repeat.or_else(|| Repeat::of(&when));
        let gone =
            || Refusal::conflict(format!("this server does not know the time zone {} any more: say when", when.zone));
        let bundle = Bundle::new(edit.packages.unwrap_or(what.packages), edit.in_order.unwrap_or(what.in_order))?;
        let wish = Wish {
            bundle: bundle.waking(edit.wake.unwrap_or(what.wake)),
            target: edit.target.unwrap_or_else(|| series::target_of(&what.target)),
            post_command: edit.post_command.unwrap_or(what.post_command),
            gates: edit.gates.unwrap_or(what.gates),
            repeat: repeat.ok_or_else(gone)?,
        };
        self.change_series(id, &wish)
    }

    /// Series that go on until their next run and pause then if this is gone, those that the actor may see.
    pub fn series_that_need(&self, need: Need) -> Result<Vec<SeriesLine>, Refusal> {
        if !self.may(Right::SeeDeployments) {
            return Ok(Vec::new());
        }
        let mut found = self.app.store.read_now(move |conn| -> Result<Vec<SeriesLine>, StoreError> {
            series::that_need(conn, &need)?.into_iter().map(|series| SeriesLine::read(conn, series)).collect()
        })?;
        found.retain(|line| self.shows(line));
        Ok(found)
    }

    /// Changes when a series comes again; it acts with the actor's rights from then on.
    pub fn set_series_time(&self, id: SeriesId, repeat: &Repeat) -> Result<SeriesLine, Refusal> {
        self.allow(Right::Deploy)?;
        let known = self.known_series(id)?;
        self.may_own(&known)?;
        let change = Change::new("series change", format!("series {id}"))
            .before(json!({ "rule": known.rule() }))
            .after(json!({ "rule": in_words(&repeat.rule().to_string(), repeat.zone()) }));
        series::set_time(&self.changing(Right::Deploy, change)?, id, repeat, &self.as_owner(), &self.actor.label())?;
        self.known_series(id)
    }

    /// No run begins until it is resumed.
    pub fn pause_series(&self, id: SeriesId) -> Result<(), Refusal> {
        let app = self.changing_series(Right::StopDeployments, "series pause", id)?;
        Ok(series::pause(&app, id)?)
    }

    /// Goes on with one that is paused or has ended; it acts with the actor's rights from then on.
    /// Gives what it waits for, if others have to agree first.
    pub fn resume_series(&self, id: SeriesId) -> Result<Option<Awaited>, Refusal> {
        self.allow(Right::Deploy)?;
        self.may_own(&self.known_series(id)?)?;
        let app = self.changing_series(Right::Deploy, "series resume", id)?;
        Ok(series::resume(&app, id, &self.as_owner(), &self.actor.label())?)
    }

    /// Begins a run now, with the rights of the series.
    pub fn run_series(&self, id: SeriesId) -> Result<Begun, Refusal> {
        let app = self.changing_series(Right::Deploy, "series run", id)?;
        Ok(series::run_now(&app, id, &self.actor.label())?)
    }

    /// No run begins any more; those that were stay.
    pub fn end_series(&self, id: SeriesId) -> Result<(), Refusal> {
        let app = self.changing_series(Right::StopDeployments, "series end", id)?;
        Ok(series::end(&app, id)?)
    }

    /// Refuses an actor with whose rights a series that wakes computers could not act.
    fn may_own(&self, line: &SeriesLine) -> Result<(), Refusal> {
        if line.series.what.wake { self.allow(Right::WakeComputers) } else { Ok(()) }
    }

    fn changing_series(&self, right: Right, action: &'static str, id: SeriesId) -> Result<super::super::App, Refusal> {
        self.allow(right)?;
        let known = self.known_series(id)?;
        self.changing(right, Change::new(action, format!("series {id}")).before(was(&known)))
    }
}

/// A wish for the audit log.
fn asked(wish: &Wish) -> Value {
    let mut asked = json!({
        "target": spell(&wish.target),
        "rule": in_words(&wish.repeat.rule().to_string(), wish.repeat.zone()),
        "post_command": wish.post_command.as_ref().map(PostCommand::as_str),
    });
    if !wish.gates.is_open_to_all() {
        asked["gates"] = gates::spell(&wish.gates);
    }
    let packages = wish.bundle.packages();
    asked["packages"] = packages.iter().map(|id| id.number()).collect();
    if packages.len() > 1 {
        asked["in_order"] = json!(wish.bundle.in_order());
    }
    if wish.bundle.wakes() {
        asked["wake"] = json!(true);
    }
    asked
}

/// A series for the audit log.
fn was(line: &SeriesLine) -> Value {
    let series = &line.series;
    let what = &series.what;
    json!({
        "packages": what.packages.iter().map(|id| id.number()).collect::<Vec<_>>(),
        "in_order": what.in_order,
        "target": spell(&series::target_of(&what.target)),
        "post_command": what.post_command.as_ref().map(PostCommand::as_str),
        "gates": gates::spell(&what.gates),
        "wake": what.wake,
        "rule": line.rule(),
        "owner": line.owner(),
        "paused": series.paused_at.is_some(),
        "ended": series.ended_at.is_some(),
    })
}
