//! Approvals: who is asked, and what they say.
//!
//! What waits reaches many computers, so whoever decides may be limited to none of them; their families count as ever.

use serde_json::json;

use super::super::approvals::{self, About, ApprovalError, Decided, Record, Word};
use super::super::series::SeriesError;
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::{ApprovalId, Package};
use crate::service::deployments::DeploymentError;
use crate::store::deployments::DeploymentLine;
use crate::store::{Conn, StoreError, approvals as rows, deployments, packages, series};

/// Something that waits for an approval.
#[derive(Clone, Debug)]
pub struct Awaiting {
    /// What.
    pub about: About,
    /// Its packages, in words.
    pub name: String,
    /// Who was asked, and what they said.
    pub record: Record,
}

/// What an approval is about.
struct Subject {
    about: About,
    /// Families and versions.
    packages: Vec<(String, String)>,
    approval: Option<ApprovalId>,
}

impl Subject {
    fn read(conn: &mut Conn, about: About) -> Result<Option<Self>, StoreError> {
        match about {
            About::Deployment(id) => {
                let Some(line) = deployments::find(conn, id)? else { return Ok(None) };
                let approval = line.deployment.approval;
                let lines = match line.deployment.bundle {
                    Some(bundle) => deployments::of_bundle(conn, bundle)?,
                    None => vec![line],
                };
                let called = |line: DeploymentLine| (line.package_name, line.package_version);
                Ok(Some(Self { about, packages: lines.into_iter().map(called).collect(), approval }))
            }
            About::Series(id) => {
                let Some(found) = series::find(conn, id)? else { return Ok(None) };
                let read = found.what.packages.iter().map(|id| packages::find(conn, *id));
                let there = read.collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
                let called = |package: Package| (package.name, package.version);
                Ok(Some(Self { about, packages: there.map(called).collect(), approval: found.approval }))
            }
        }
    }

    fn name(&self) -> String {
        let names: Vec<String> = self.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
        names.join(", ")
    }
}

fn unknown(about: About) -> Refusal {
    match about {
        About::Deployment(id) => ApprovalError::from(DeploymentError::Unknown(id)).into(),
        About::Series(id) => ApprovalError::from(SeriesError::Unknown(id)).into(),
    }
}

impl Desk {
    /// Who was asked about it and what they said; nothing for what reaches too few computers.
    pub fn approval_of(&self, approval: Option<ApprovalId>) -> Result<Option<Record>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        Ok(approvals::record(app, approval)?)
    }

    /// May the actor approve what this tells of, or reject it?
    pub fn may_decide(&self, record: &Record) -> bool {
        self.may(Right::Approve)
            && self.actor.scope.computers.is_none()
            && record.approval.waits()
            && record.approval.awaited.asked_by != self.actor.name
    }

    /// The same of an actor who has not approved it yet.
    pub fn may_approve(&self, record: &Record) -> bool {
        self.may_decide(record) && !record.has_approved(&self.actor.name)
    }

    /// May the actor let it go, because nobody is asked any more?
    pub fn may_release(&self, record: &Record) -> Result<bool, Refusal> {
        if !self.may(Right::EditSettings) || self.actor.scope.computers.is_some() || !record.approval.waits() {
            return Ok(false);
        }
        let configured = self.app.configured.clone();
        Ok(self.app.store.read_now(move |conn| approvals::rule(conn, &configured))?.is_none())
    }

    /// What waits for this actor: not what the actor made or has approved.
    pub fn awaiting_me(&self, limit: usize) -> Result<Vec<Awaiting>, Refusal> {
        if !self.may(Right::Approve) || !self.may(Right::SeeDeployments) {
            return Ok(Vec::new());
        }
        let mut all = self.awaiting(limit)?;
        all.retain(|one| self.may_approve(&one.record));
        Ok(all)
    }

    /// What waits for an approval, series first, newest first, as far as the actor may see it.
    pub fn awaiting(&self, limit: usize) -> Result<Vec<Awaiting>, Refusal> {
        let app = self.reading(Right::SeeDeployments)?;
        if self.actor.scope.computers.is_some() {
            return Ok(Vec::new());
        }
        let found = app.store.read_now(move |conn| -> Result<Vec<_>, StoreError> {
            let mut abouts: Vec<About> = rows::waiting_series(conn, limit)?.into_iter().map(About::Series).collect();
            abouts.extend(rows::waiting_deployments(conn, limit)?.into_iter().map(About::Deployment));
            let mut all = Vec::new();
            for about in abouts {
                let Some(subject) = Subject::read(conn, about)? else { continue };
                let Some(id) = subject.approval else { continue };
                let Some(approval) = rows::find(conn, id)? else { continue };
                all.push((subject, Record { approval, votes: rows::votes(conn, id)? }));
            }
            Ok(all)
        })?;
        let mine = found.into_iter().filter(|(subject, _)| self.has_families(subject));
        let line =
            |(subject, record): (Subject, Record)| Awaiting { about: subject.about, name: subject.name(), record };
        Ok(mine.map(line).take(limit).collect())
    }

    fn has_families(&self, subject: &Subject) -> bool {
        subject.packages.iter().all(|(family, _)| self.actor.scope.has_family(family))
    }

    /// Agrees to what somebody else wants to deploy.
    pub fn approve(&self, about: About, reason: &str) -> Result<Decided, Refusal> {
        self.decides(about, Right::Approve, "approve", reason, approvals::approve)
    }

    /// Refuses it: a deployment is cancelled, a series ends.
    pub fn reject(&self, about: About, reason: &str) -> Result<Decided, Refusal> {
        self.decides(about, Right::Approve, "reject", reason, approvals::reject)
    }

    /// Lets go what still waits when nobody is asked any more: whoever may switch that off may do so.
    pub fn release(&self, about: About, reason: &str) -> Result<Decided, Refusal> {
        self.decides(about, Right::EditSettings, "release", reason, approvals::release)
    }

    fn decides(
        &self,
        about: About,
        right: Right,
        verb: &'static str,
        reason: &str,
        decide: fn(&super::super::App, About, Word) -> Result<Decided, ApprovalError>,
    ) -> Result<Decided, Refusal> {
        self.allow(right)?;
        let subject = self.app.store.read_now(move |conn| Subject::read(conn, about))?;
        let subject = subject.filter(|subject| self.has_families(subject)).ok_or_else(|| unknown(about))?;
        self.allow_all_computers()?;
        let before = approvals::record(&self.app, subject.approval)?;
        let change = Change::new(action(about, verb), about.to_string())
            .before(before.map_or_else(|| json!({}), |record| json!({ "approvals": record.approval.awaited.given })))
            .after(json!({ "name": subject.name(), "reason": reason.trim() }));
        let app = self.changing(right, change)?;
        let word = Word { account: self.actor.name.clone(), via: self.actor.via.as_str(), reason: reason.to_owned() };
        Ok(decide(&app, about, word)?)
    }
}

/// In words of the command line.
fn action(about: About, verb: &str) -> &'static str {
    match (about, verb) {
        (About::Deployment(_), "approve") => "deployment approve",
        (About::Deployment(_), "reject") => "deployment reject",
        (About::Deployment(_), _) => "deployment release",
        (About::Series(_), "approve") => "series approve",
        (About::Series(_), "reject") => "series reject",
        (About::Series(_), _) => "series release",
    }
}
