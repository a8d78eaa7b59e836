//! Deployments: look, try on paper, start, try again, take back, put away.
//!
//! An actor who may touch only some computers sees what became of those, deploys to those, and takes back there; what
//! concerns a deployment as a whole is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::assign::{self, Assigned, Bundle, Look, Target, Terms};
use super::super::deployments::{
    self, Act, Among, Cancelled, Changed, DeploymentError, Only, OverTime, Progress, Retried, Summary, TakenOff, Undone,
};
use super::super::why::{self, Why};
use super::{Change, Desk, Refusal, gates};
use crate::model::access::Right;
use crate::model::query::Query;
use crate::model::{DeploymentId, GroupId, JobId, JobOptions, JobState, PackageId, PostCommand, Schedule, UnixTime};
use crate::store::deployments::{DeploymentLine, Wanted};
use crate::store::groups;
use crate::store::progress::{self, Of, OnComputer};

/// Which of a deployment's computers somebody means; all of them by default.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Those that a filter shows.
    pub wanted: progress::Wanted,
    /// Those with these attempts; empty for all.
    pub jobs: Vec<JobId>,
}

impl Chosen {
    /// Attempts that can be named at once.
    pub const MOST: usize = 1000;

    fn only(self, scope: Option<Query>) -> Result<Only, Refusal> {
        if self.jobs.len() > Self::MOST {
            return Err(
                Refusal::invalid("at most 1000 attempts are named at once: use the filter for more").about("jobs")
            );
        }
        let jobs = Some(self.jobs.into_iter().collect::<BTreeSet<_>>()).filter(|jobs| !jobs.is_empty());
        Ok(Only { scope, wanted: self.wanted, jobs, computers: None })
    }

    /// For the audit log, beside what else was asked.
    fn spelled(&self, mut asked: Value) -> Value {
        const NAMED: usize = 50;
        if !self.wanted.states.is_empty() {
            asked["states"] = self.wanted.states.iter().map(|state| state.as_str()).collect();
        }
        for (name, value) in [("code", &self.wanted.code), ("withheld", &self.wanted.withheld)] {
            if let Some(value) = value {
                asked[name] = json!(value);
            }
        }
        if !self.jobs.is_empty() {
            asked["jobs"] = self.jobs.iter().take(NAMED).map(|job| job.0).collect();
        }
        asked
    }
}

impl Desk {
    pub(super) fn scope_of_computers(&self) -> Option<Query> {
        self.actor.scope.computers.clone()
    }

    /// Deployments of the actor's scope, newest first, counted there.
    pub fn deployments(&self, wanted: Wanted, limit: usize) -> Result<Vec<Summary>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        let scope = self.actor.scope.clone();
        let shows = move |line: &DeploymentLine| scope.has_family(&line.package_name);
        Ok(deployments::page(app, wanted, self.scope_of_computers(), shows, limit)?)
    }

    /// The names of the groups that some deployments are for.
    pub fn groups_of(&self, summaries: &[Summary]) -> Result<BTreeMap<GroupId, String>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        let ids: Vec<GroupId> = summaries.iter().filter_map(|summary| summary.line.deployment.group).collect();
        Ok(app.store.read_now(move |conn| groups::names(conn, &ids))?)
    }

    /// How one goes on.
    pub fn deployment(&self, id: DeploymentId) -> Result<Progress, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        let progress = deployments::progress(app, id, self.scope_of_computers())?;
        if self.actor.scope.has_family(&progress.summary.line.package_name) {
            return Ok(progress);
        }
        Err(DeploymentError::Unknown(id).into())
    }

    /// What one is, without how it goes on; of its computers nothing is told.
    pub fn deployment_line(&self, id: DeploymentId) -> Result<DeploymentLine, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        let found = app.store.read_now(move |conn| crate::store::deployments::find(conn, id))?;
        let seen = found.filter(|line| self.actor.scope.has_family(&line.package_name));
        seen.ok_or_else(|| DeploymentError::Unknown(id).into())
    }

    /// Its computers by their newest attempts.
    pub fn deployment_computers(
        &self,
        id: DeploymentId,
        wanted: progress::Wanted,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<OnComputer>, Refusal> {
        self.deployment(id)?;
        Ok(deployments::computers(&self.app, Of::Deployment(id), wanted, self.scope_of_computers(), after, limit)?)
    }

    /// The first computers that are not there yet, in the order of their jobs. Only somebody who was shown the deployment has
    /// its progress.
    pub fn not_there_yet(&self, progress: &Progress, limit: usize) -> Result<Vec<OnComputer>, Refusal> {
        const OPEN: [JobState; 3] = [JobState::Pending, JobState::Offered, JobState::Downloading];
        const LOST: [JobState; 2] = [JobState::Failed, JobState::Expired];
        let app = self.reading(Right::SeeDeployments)?;
        let summary = &progress.summary;
        let of = Of::Deployment(summary.line.deployment.id);
        let mut first = Vec::new();
        // Those that are open and those that ended have an index each: together they would read whoever is there, too.
        for states in [&OPEN[..], &LOST] {
            if summary.counts.iter().any(|(state, count)| states.contains(state) && *count > 0) {
                let wanted = progress::Wanted { states: states.to_vec(), ..progress::Wanted::default() };
                first.extend(deployments::computers(app, of, wanted, self.scope_of_computers(), None, limit)?);
            }
        }
        first.sort_unstable_by_key(|line| line.job.id);
        first.truncate(limit);
        Ok(first)
    }

    /// What happened when; `None` for an actor who sees only some of its computers.
    pub fn deployment_over_time(&self, summary: &Summary) -> Result<Option<OverTime>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        if self.actor.scope.computers.is_some() {
            return Ok(None);
        }
        Ok(Some(deployments::over_time(app, summary)?))
    }

    /// Why a package is where it is on the computer of one attempt.
    pub fn deployment_why(&self, id: DeploymentId, job: JobId) -> Result<(OnComputer, Why), Refusal> {
        let package = self.deployment(id)?.summary.line.deployment.package;
        let found = self.app.store.read_now(move |conn| progress::find(conn, id, job))?;
        let missing = || Refusal::not_found(format!("deployment {id} has no job {job}"));
        let line = found.ok_or_else(missing)?;
        if !self.sees_computer(line.job.computer)? {
            return Err(missing());
        }
        let why = why::why(&self.app, &line.device_id, package)?;
        Ok((line, why))
    }

    /// The deployments that were made in one act with this one, those of the actor's families; none for one alone.
    pub fn bundle_of(&self, id: DeploymentId) -> Result<Vec<DeploymentLine>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        let mut lines = deployments::bundle(app, id)?;
        lines.retain(|line| self.actor.scope.has_family(&line.package_name));
        Ok(lines)
    }

    /// Who would get which package and who would not, and why. Changes nothing.
    pub fn preview_deployment(&self, bundle: &Bundle, target: Target, options: &JobOptions) -> Result<Look, Refusal> {
        let app = self.reading(Right::Deploy)?;
        self.families_are_mine(bundle)?;
        Ok(assign::preview(app, bundle, target, options, self.scope_of_computers())?)
    }

    /// Deploys packages, in one act.
    pub fn deploy(&self, bundle: &Bundle, target: Target, terms: impl Into<Terms>) -> Result<Vec<Assigned>, Refusal> {
        let terms = terms.into();
        let options = &terms.options;
        self.allow(Right::Deploy)?;
        self.may_wake(bundle)?;
        self.families_are_mine(bundle)?;
        let packages: Vec<String> = bundle.packages().iter().map(ToString::to_string).collect();
        let noun = if packages.len() == 1 { "package" } else { "packages" };
        let mut asked = json!({
            "target": spell(&target),
            "force": options.force,
            "schedule": options.schedule.as_ref().map(Schedule::as_str),
            "post_command": options.post_command.as_ref().map(PostCommand::as_str),
        });
        if packages.len() > 1 {
            asked["in_order"] = json!(bundle.in_order());
        }
        if !terms.gates.is_open_to_all() {
            asked["gates"] = gates::spell(&terms.gates);
        }
        if bundle.wakes() {
            asked["wake"] = json!(true);
        }
        let change = Change::new("assign", format!("{noun} {}", packages.join(" "))).after(asked);
        let app = self.changing(Right::Deploy, change)?;
        let (by, scope) = (self.actor.name.clone(), self.scope_of_computers());
        Ok(assign::assign_bundle(&app, bundle, target, terms, &by, scope)?)
    }

    /// Refuses an actor who may deploy, but not wake.
    pub(super) fn may_wake(&self, bundle: &Bundle) -> Result<(), Refusal> {
        if bundle.wakes() { self.allow(Right::WakeComputers) } else { Ok(()) }
    }

    pub(super) fn families_are_mine(&self, bundle: &Bundle) -> Result<(), Refusal> {
        bundle.packages().iter().try_for_each(|package| self.family_is_mine(*package))
    }

    /// Whether a package is of the actor's families, without asking whether the actor may look at packages.
    fn family_is_mine(&self, id: PackageId) -> Result<(), Refusal> {
        let found = self.app.store.read_now(move |conn| crate::store::packages::find(conn, id))?;
        match found {
            Some(package) => self.allow_package(&package),
            None => Err(Refusal::not_found(format!("there is no package {id}"))),
        }
    }

    /// Plans anew what failed or expired: all of it, what a filter shows, or some attempts.
    pub fn retry_deployment(&self, id: DeploymentId, failed_only: bool, chosen: Chosen) -> Result<Retried, Refusal> {
        self.allow(Right::Deploy)?;
        let known = self.known(id)?;
        let change = Change::new("deployment retry", format!("deployment {id}"))
            .before(known)
            .after(chosen.spelled(json!({ "failed_only": failed_only })));
        let app = self.changing(Right::Deploy, change)?;
        Ok(deployments::retry_some(&app, id, failed_only, chosen.only(self.scope_of_computers())?)?)
    }

    /// Takes back what is open: all of it, what only waits, what a filter shows, or some attempts.
    pub fn cancel_deployment(
        &self,
        id: DeploymentId,
        waiting_only: bool,
        chosen: Chosen,
    ) -> Result<Cancelled, Refusal> {
        self.allow(Right::StopDeployments)?;
        let known = self.known(id)?;
        let change = Change::new("deployment cancel", format!("deployment {id}"))
            .before(known)
            .after(chosen.spelled(json!({ "waiting_only": waiting_only })));
        let app = self.changing(Right::StopDeployments, change)?;
        let only = chosen.only(self.scope_of_computers())?;
        Ok(deployments::cancel_some(&app, id, waiting_only, &self.actor.label(), only)?)
    }

    /// Takes back a deployment and those that were made in one act with it, as far as they are of the actor's families.
    pub fn cancel_bundle(&self, id: DeploymentId) -> Result<Cancelled, Refusal> {
        self.allow(Right::StopDeployments)?;
        let known = self.known(id)?;
        let change =
            Change::new("deployment cancel", format!("deployment {id}")).before(known).after(json!({ "bundle": true }));
        let app = self.changing(Right::StopDeployments, change)?;
        let scope = self.actor.scope.clone();
        let shows = move |line: &DeploymentLine| scope.has_family(&line.package_name);
        Ok(deployments::cancel_bundle(&app, id, &self.actor.label(), self.scope_of_computers(), shows)?)
    }

    /// Takes computers off a deployment: those that a filter shows, or those with some attempts.
    pub fn take_off_deployment(&self, id: DeploymentId, chosen: Chosen) -> Result<TakenOff, Refusal> {
        self.allow(Right::StopDeployments)?;
        let known = self.known(id)?;
        let change = Change::new("deployment take-off", format!("deployment {id}"))
            .before(known)
            .after(chosen.spelled(json!({})));
        let app = self.changing(Right::StopDeployments, change)?;
        let only = chosen.only(self.scope_of_computers())?;
        Ok(deployments::take_off(&app, id, &self.actor.label(), only)?)
    }

    /// Undoes what was taken back or taken off at that moment; with `bundle`, in the whole bundle.
    pub fn undo_cancel(&self, id: DeploymentId, at: UnixTime, bundle: bool) -> Result<Undone, Refusal> {
        self.allow(Right::StopDeployments)?;
        let known = self.known(id)?;
        let mut ids = vec![id];
        if bundle {
            let mut lines = deployments::bundle(&self.app, id)?;
            lines.retain(|line| self.actor.scope.has_family(&line.package_name));
            ids.extend(lines.iter().map(|line| line.deployment.id));
        }
        let change = Change::new("deployment cancel undo", format!("deployment {id}")).before(known);
        let app = self.changing(Right::StopDeployments, change)?;
        let (label, scope) = (self.actor.label(), self.scope_of_computers());
        Ok(deployments::undo_cancel(&app, Among::Deployments(ids), at, &label, scope)?)
    }

    /// Undoes a retry that was made at that moment.
    pub fn undo_retry(&self, id: DeploymentId, at: UnixTime) -> Result<Undone, Refusal> {
        self.allow(Right::Deploy)?;
        let known = self.known(id)?;
        let change = Change::new("deployment retry undo", format!("deployment {id}")).before(known);
        let app = self.changing(Right::Deploy, change)?;
        Ok(deployments::undo_retry(&app, Among::Deployments(vec![id]), at, self.scope_of_computers())?)
    }

    /// Does something to these jobs of a computer, those that its page shows.
    pub fn change_jobs(&self, name: &str, chosen: &[JobId], act: Act) -> Result<Changed, Refusal> {
        let right = right_of(act);
        self.allow(right)?;
        let (computer, lines) = self.computer_packages(name)?;
        let shown: BTreeSet<JobId> = lines.iter().filter_map(|line| line.job.as_ref()).map(|job| job.id).collect();
        let chosen: BTreeSet<JobId> = chosen.iter().copied().filter(|job| shown.contains(job)).collect();
        if chosen.is_empty() {
            return Err(Refusal::invalid("no package is ticked: tick some in the list first"));
        }
        let change = Change::new(words_of(act), format!("computer {}", computer.device_id))
            .after(json!({ "jobs": chosen.iter().map(|job| job.0).collect::<Vec<_>>() }));
        let app = self.changing(right, change)?;
        Ok(deployments::on_computer(&app, computer.id, chosen, act, &self.actor.label())?)
    }

    /// Undoes what was done to a computer's jobs at that moment.
    pub fn undo_jobs(&self, name: &str, at: UnixTime, act: Act) -> Result<Undone, Refusal> {
        let right = right_of(act);
        self.allow(right)?;
        let computer = self.computer(name)?;
        let change = Change::new("job undo", format!("computer {}", computer.device_id));
        let app = self.changing(right, change)?;
        let among = Among::Computer(computer.id);
        Ok(match act {
            Act::Retry => deployments::undo_retry(&app, among, at, None)?,
            Act::Cancel | Act::TakeOff => deployments::undo_cancel(&app, among, at, &self.actor.label(), None)?,
        })
    }

    /// The newest attempts of all deployments of a package.
    pub fn package_computers(
        &self,
        id: PackageId,
        wanted: progress::Wanted,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<OnComputer>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        self.family_is_mine(id)?;
        Ok(deployments::computers(app, Of::Package(id), wanted, self.scope_of_computers(), after, limit)?)
    }

    /// What failed with a package, by code, the most frequent first.
    pub fn package_codes(&self, id: PackageId) -> Result<Vec<(JobState, String, u64)>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        self.family_is_mine(id)?;
        Ok(deployments::codes_of_package(app, id, self.scope_of_computers())?)
    }

    /// Does something to jobs of a package in all of its deployments.
    pub fn change_package_jobs(&self, id: PackageId, chosen: Chosen, act: Act) -> Result<Changed, Refusal> {
        let right = right_of(act);
        self.allow(right)?;
        self.family_is_mine(id)?;
        let change = Change::new(words_of(act), format!("package {id}")).after(chosen.spelled(json!({})));
        let app = self.changing(right, change)?;
        let only = chosen.only(self.scope_of_computers())?;
        Ok(deployments::on_package(&app, id, only, act, &self.actor.label())?)
    }

    /// Undoes what was done to jobs of a package at that moment.
    pub fn undo_package_jobs(&self, id: PackageId, at: UnixTime, act: Act) -> Result<Undone, Refusal> {
        let right = right_of(act);
        self.allow(right)?;
        self.family_is_mine(id)?;
        let app = self.changing(right, Change::new("job undo", format!("package {id}")))?;
        let (label, scope) = (self.actor.label(), self.scope_of_computers());
        Ok(match act {
            Act::Retry => deployments::undo_retry(&app, Among::Package(id), at, scope)?,
            Act::Cancel | Act::TakeOff => deployments::undo_cancel(&app, Among::Package(id), at, &label, scope)?,
        })
    }

    /// Puts a deployment away; its results stay. Gives how many jobs go on to their end.
    pub fn close_deployment(&self, id: DeploymentId) -> Result<u64, Refusal> {
        self.allow(Right::StopDeployments)?;
        let known = self.known(id)?;
        self.allow_all_computers()?;
        let change =
            Change::new("deployment close", format!("deployment {id}")).before(known).after(json!({ "closed": true }));
        Ok(deployments::close(&self.changing(Right::StopDeployments, change)?, id)?)
    }

    /// Takes a deployment out again.
    pub fn reopen_deployment(&self, id: DeploymentId) -> Result<(), Refusal> {
        self.allow(Right::StopDeployments)?;
        let known = self.known(id)?;
        self.allow_all_computers()?;
        let change = Change::new("deployment reopen", format!("deployment {id}"))
            .before(known)
            .after(json!({ "closed": false }));
        Ok(deployments::reopen(&self.changing(Right::StopDeployments, change)?, id)?)
    }

    /// How a deployment stands, for the audit log; refuses one that the actor does not see.
    pub(super) fn known(&self, id: DeploymentId) -> Result<Value, Refusal> {
        let progress = deployments::progress(&self.app, id, self.scope_of_computers())?;
        let summary = progress.summary;
        if !self.actor.scope.has_family(&summary.line.package_name) {
            return Err(DeploymentError::Unknown(id).into());
        }
        let counts = summary.counts.iter().map(|(state, count)| (state.as_str().to_owned(), (*count).into()));
        Ok(Value::Object(counts.collect()))
    }
}

/// The right that something needs.
fn right_of(act: Act) -> Right {
    if act == Act::Retry { Right::Deploy } else { Right::StopDeployments }
}

/// As the audit log names it.
fn words_of(act: Act) -> &'static str {
    match act {
        Act::Cancel => "job cancel",
        Act::Retry => "job retry",
        Act::TakeOff => "job take-off",
    }
}

/// A target for the audit log.
pub(super) fn spell(target: &Target) -> Value {
    const NAMED: usize = 50;
    match target {
        Target::All => json!("all computers"),
        Target::Group(name) => json!({ "group": name }),
        Target::Where(query) => json!({ "where": query }),
        Target::Computers(names) => {
            json!({ "count": names.len(), "computers": names.iter().take(NAMED).collect::<Vec<_>>() })
        }
        Target::Selected(ids) => {
            json!({ "count": ids.len(), "numbers": ids.iter().take(NAMED).map(|id| id.0).collect::<Vec<_>>() })
        }
    }
}
