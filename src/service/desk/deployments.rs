//! Deployments: look, try on paper, start, try again, take back, put away.
//!
//! An actor who may touch only some computers sees what became of those, deploys to those, and takes back there; what
//! concerns a deployment as a whole is refused.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::assign::{self, Assigned, Preview, Target};
use super::super::deployments::{self, Cancelled, DeploymentError, Only, OverTime, Progress, Retried, Summary};
use super::super::why::{self, Why};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::query::Query;
use crate::model::{DeploymentId, GroupId, JobId, JobOptions, PackageId, PostCommand, Schedule};
use crate::store::deployments::Wanted;
use crate::store::groups;
use crate::store::progress::{self, OnComputer};

impl Desk {
    fn scope_of_computers(&self) -> Option<Query> {
        self.actor.scope.computers.clone()
    }

    /// Deployments of the actor's scope, newest first, counted there.
    pub fn deployments(&self, wanted: Wanted, limit: usize) -> Result<Vec<Summary>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        let scope = self.actor.scope.clone();
        let shows = move |line: &crate::store::deployments::DeploymentLine| scope.has_family(&line.package_name);
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

    /// Its computers by their newest attempts.
    pub fn deployment_computers(
        &self,
        id: DeploymentId,
        wanted: progress::Wanted,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<OnComputer>, Refusal> {
        self.deployment(id)?;
        Ok(deployments::computers(&self.app, id, wanted, self.scope_of_computers(), after, limit)?)
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

    /// Who would get a package and who would not, and why. Changes nothing.
    pub fn preview_deployment(
        &self,
        package: PackageId,
        target: Target,
        options: &JobOptions,
    ) -> Result<Preview, Refusal> {
        let app = self.reading(Right::Deploy)?;
        self.family_is_mine(package)?;
        Ok(assign::preview(app, package, target, options, self.scope_of_computers())?)
    }

    /// Deploys a package.
    pub fn deploy(&self, package: PackageId, target: Target, options: JobOptions) -> Result<Assigned, Refusal> {
        self.allow(Right::Deploy)?;
        self.family_is_mine(package)?;
        let change = Change::new("assign", format!("package {package}")).after(json!({
            "target": spell(&target),
            "force": options.force,
            "schedule": options.schedule.as_ref().map(Schedule::as_str),
            "post_command": options.post_command.as_ref().map(PostCommand::as_str),
        }));
        let app = self.changing(Right::Deploy, change)?;
        let (by, scope) = (self.actor.name.clone(), self.scope_of_computers());
        Ok(assign::assign_within(&app, package, target, options, &by, scope)?)
    }

    /// Whether a package is of the actor's families, without asking whether the actor may look at packages.
    fn family_is_mine(&self, id: PackageId) -> Result<(), Refusal> {
        let found = self.app.store.read_now(move |conn| crate::store::packages::find(conn, id))?;
        match found {
            Some(package) => self.allow_package(&package),
            None => Err(Refusal::not_found(format!("there is no package {id}"))),
        }
    }

    /// Plans anew what failed or expired: all of it, that of one code, or one computer's.
    pub fn retry_deployment(
        &self,
        id: DeploymentId,
        failed_only: bool,
        code: Option<String>,
        job: Option<JobId>,
    ) -> Result<Retried, Refusal> {
        self.allow(Right::Deploy)?;
        let known = self.known(id)?;
        let change = Change::new("deployment retry", format!("deployment {id}")).before(known).after(json!({
            "failed_only": failed_only,
            "code": code,
            "job": job.map(|job| job.0),
        }));
        let app = self.changing(Right::Deploy, change)?;
        Ok(deployments::retry_some(&app, id, failed_only, Only { scope: self.scope_of_computers(), code, job })?)
    }

    /// Takes back what is open: all of it, what only waits, or one computer's.
    pub fn cancel_deployment(
        &self,
        id: DeploymentId,
        waiting_only: bool,
        job: Option<JobId>,
    ) -> Result<Cancelled, Refusal> {
        self.allow(Right::StopDeployments)?;
        let known = self.known(id)?;
        let change = Change::new("deployment cancel", format!("deployment {id}"))
            .before(known)
            .after(json!({ "waiting_only": waiting_only, "job": job.map(|job| job.0) }));
        let app = self.changing(Right::StopDeployments, change)?;
        let only = Only { scope: self.scope_of_computers(), code: None, job };
        Ok(deployments::cancel_some(&app, id, waiting_only, &self.actor.label(), only)?)
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
    fn known(&self, id: DeploymentId) -> Result<serde_json::Value, Refusal> {
        let progress = deployments::progress(&self.app, id, self.scope_of_computers())?;
        let summary = progress.summary;
        if !self.actor.scope.has_family(&summary.line.package_name) {
            return Err(DeploymentError::Unknown(id).into());
        }
        let counts = summary.counts.iter().map(|(state, count)| (state.as_str().to_owned(), (*count).into()));
        Ok(serde_json::Value::Object(counts.collect()))
    }
}

/// A target for the audit log.
fn spell(target: &Target) -> serde_json::Value {
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
