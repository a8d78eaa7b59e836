//! Deployments that come again: look, make, change, pause, resume, run now, end.
//!
//! A series acts with the rights of whoever made it, or last changed or resumed it. An actor who may touch only some
//! computers sees and changes only their own: what a series of somebody else's is for is not told.

use serde_json::{Value, json};

use super::super::deployments::{self, DeploymentError, Summary};
use super::super::series::{self, Begun, Repeat, Wish};
use super::deployments::spell;
use super::{Change, Desk, Refusal, Via, gates};
use crate::model::access::{Right, Scope};
use crate::model::{ComputerId, DeploymentId, Package, PostCommand, UnixTime};
use crate::store::series::{Owner, Run, RunTarget, Series, SeriesId};
use crate::store::{Conn, StoreError, computers, packages, series as store};

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
}

impl SeriesLine {
    fn read(conn: &mut Conn, series: Series) -> Result<Self, StoreError> {
        let found = series.what.packages.iter().map(|id| packages::find(conn, *id));
        let packages = found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        Ok(Self { series, packages })
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
        let known = self.known_series(id)?;
        self.families_are_mine(&wish.bundle)?;
        let change = Change::new("series change", format!("series {id}")).before(was(&known)).after(asked(wish));
        series::change(&self.changing(Right::Deploy, change)?, id, wish, &self.as_owner())?;
        self.known_series(id)
    }

    /// Changes when a series comes again; it acts with the actor's rights from then on.
    pub fn set_series_time(&self, id: SeriesId, repeat: &Repeat) -> Result<SeriesLine, Refusal> {
        self.allow(Right::Deploy)?;
        let known = self.known_series(id)?;
        let change = Change::new("series change", format!("series {id}"))
            .before(json!({ "rule": known.rule() }))
            .after(json!({ "rule": in_words(&repeat.rule().to_string(), repeat.zone()) }));
        series::set_time(&self.changing(Right::Deploy, change)?, id, repeat, &self.as_owner())?;
        self.known_series(id)
    }

    /// No run begins until it is resumed.
    pub fn pause_series(&self, id: SeriesId) -> Result<(), Refusal> {
        let app = self.changing_series(Right::StopDeployments, "series pause", id)?;
        Ok(series::pause(&app, id)?)
    }

    /// Goes on with one that is paused or has ended; it acts with the actor's rights from then on.
    pub fn resume_series(&self, id: SeriesId) -> Result<(), Refusal> {
        let app = self.changing_series(Right::Deploy, "series resume", id)?;
        Ok(series::resume(&app, id, &self.as_owner())?)
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
    asked
}

/// A series for the audit log.
fn was(line: &SeriesLine) -> Value {
    let series = &line.series;
    json!({
        "target": line.target(),
        "rule": line.rule(),
        "owner": line.owner(),
        "paused": series.paused_at.is_some(),
        "ended": series.ended_at.is_some(),
    })
}
