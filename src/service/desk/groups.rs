//! Groups: look, make, edit, mark by hand, settings, delete.
//!
//! A group concerns all computers, so only an actor for all of them makes, edits and deletes one. Computers of a scope
//! can be put in and taken out by whoever has the scope.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::assign::named;
use super::super::groups::{self, GroupError, Mark, Refreshed, Restored, Summary};
use super::super::settings::{self, Changed, OfGroup, Whose};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::query::{Expr, Query};
use crate::model::settings::SettingKey;
use crate::model::{Computer, ComputerId, DeploymentId, number_of};
use crate::store::groups::{self as stored, Group, Member, Reason};
use crate::store::{computers, search};

/// A computer of a preview, and what the query looks at.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The computer.
    pub computer: Computer,
    /// What it says of what the query asks.
    pub because: String,
}

/// What a query would change.
#[derive(Clone, Debug)]
pub struct GroupPreview {
    /// The query as it would be kept.
    pub query: String,
    /// How many computers would become members.
    pub joins: usize,
    /// The first of them.
    pub first_joins: Vec<Candidate>,
    /// How many would be members no more.
    pub leaves: usize,
    /// The first of them.
    pub first_leaves: Vec<Candidate>,
}

/// Computers of a preview that are named.
const NAMED: usize = 20;

impl Desk {
    /// Every group; counted within the actor's scope.
    pub fn groups(&self) -> Result<Vec<Summary>, Refusal> {
        let app = self.reading(Right::SeeGroups)?;
        let mut all = groups::list(app)?;
        if let Some(allowed) = self.allowed()? {
            for summary in &mut all {
                self.count_within(summary, &allowed)?;
            }
        }
        Ok(all)
    }

    fn allowed(&self) -> Result<Option<BTreeSet<ComputerId>>, Refusal> {
        let Some(query) = self.actor.scope.computers.clone() else { return Ok(None) };
        let now = self.app.clock.now();
        Ok(Some(self.app.store.read_now(move |conn| search::ids(conn, &query, now))?))
    }

    fn count_within(&self, summary: &mut Summary, allowed: &BTreeSet<ComputerId>) -> Result<(), Refusal> {
        let id = summary.group.id;
        let reasons = self.app.store.read_now(move |conn| crate::store::groups::reasons(conn, id))?;
        let within = reasons.iter().filter(|(computer, _)| allowed.contains(computer));
        let (members, excluded): (Vec<_>, Vec<_>) = within.partition(|(_, reason)| reason.is_member());
        (summary.members, summary.excluded) = (members.len() as u64, excluded.len() as u64);
        Ok(())
    }

    /// One group.
    pub fn group(&self, name: &str) -> Result<Summary, Refusal> {
        let app = self.reading(Right::SeeGroups)?;
        let mut summary = groups::summary(app, name)?;
        if let Some(allowed) = self.allowed()? {
            self.count_within(&mut summary, &allowed)?;
        }
        Ok(summary)
    }

    /// Who has a place in it and why, in order of their numbers.
    pub fn group_members(&self, name: &str, after: Option<ComputerId>, limit: usize) -> Result<Vec<Member>, Refusal> {
        let app = self.reading(Right::SeeGroups)?;
        Ok(groups::members(app, name, self.actor.scope.computers.clone(), after, limit)?)
    }

    /// Who would come and go with a query; `name` is `None` for a group that is not there yet.
    pub fn preview_group(&self, name: Option<&str>, query: &str) -> Result<GroupPreview, Refusal> {
        let app = self.reading(Right::SeeGroups)?;
        let preview = match name {
            Some(name) => groups::preview(app, name, query)?,
            None => groups::preview_new(app, query)?,
        };
        let query: Query = query.parse().map_err(|error| Refusal::from(super::super::query::AskError::from(error)))?;
        let allowed = self.allowed()?;
        let mine = |mut ids: Vec<ComputerId>| -> Result<(usize, Vec<Candidate>), Refusal> {
            ids.retain(|id| allowed.as_ref().is_none_or(|allowed| allowed.contains(id)));
            let count = ids.len();
            ids.truncate(NAMED);
            let first = self.app.store.read_now(move |conn| computers::some(conn, &ids))?;
            let candidate = |computer: Computer| Candidate { because: because(&query, &computer), computer };
            Ok((count, first.into_iter().map(candidate).collect()))
        };
        let (joins, first_joins) = mine(preview.joins)?;
        let (leaves, first_leaves) = mine(preview.leaves)?;
        Ok(GroupPreview { query: query.to_string(), joins, first_joins, leaves, first_leaves })
    }

    /// Makes a group: with a query, or by hand without one.
    pub fn create_group(&self, name: &str, query: Option<&str>) -> Result<Refreshed, Refusal> {
        self.allow(Right::EditGroups)?;
        self.allow_all_computers()?;
        let change = Change::new("group create", format!("group {name}")).after(json!({ "query": query }));
        let app = self.changing(Right::EditGroups, change)?;
        Ok(groups::create(&app, name, query, &self.actor.name)?)
    }

    /// Gives a group another query.
    pub fn edit_group(&self, name: &str, query: &str) -> Result<Vec<Refreshed>, Refusal> {
        self.allow(Right::EditGroups)?;
        self.allow_all_computers()?;
        let before = groups::summary(&self.app, name)?;
        let change = Change::new("group edit", format!("group {}", before.group.name))
            .before(json!({ "query": before.group.query }))
            .after(json!({ "query": query }));
        Ok(groups::edit(&self.changing(Right::EditGroups, change)?, name, query)?)
    }

    /// Asks a group's query again.
    pub fn refresh_group(&self, name: &str) -> Result<Vec<Refreshed>, Refusal> {
        self.allow(Right::EditGroups)?;
        self.allow_all_computers()?;
        let change = Change::new("group refresh", format!("group {name}"));
        Ok(groups::refresh(&self.changing(Right::EditGroups, change)?, Some(name))?)
    }

    /// Gives a group another name, or says what it is for.
    pub fn describe_group(&self, name: &str, new_name: &str, description: &str) -> Result<Group, Refusal> {
        self.allow(Right::EditGroups)?;
        self.allow_all_computers()?;
        let before = groups::summary(&self.app, name)?.group;
        let change = Change::new("group describe", format!("group {}", before.name))
            .before(json!({ "name": before.name, "description": before.description }))
            .after(json!({ "name": new_name, "description": description }));
        let app = self.changing(Right::EditGroups, change)?;
        groups::describe(&app, name, new_name, description).map_err(|error| match error {
            GroupError::Name(_) | GroupError::Exists(_) | GroupError::Named { .. } => {
                Refusal::from(error).about("name")
            }
            GroupError::Description(_) => Refusal::from(error).about("description"),
            other => other.into(),
        })
    }

    /// What has been decided by hand about these computers in a group: what undoes a [`Desk::mark_in_group`].
    pub fn marks_in_group(&self, name: &str, computers: &[String]) -> Result<Vec<(String, Mark)>, Refusal> {
        let app = self.reading(Right::SeeGroups)?;
        let (name, computers) = (name.to_owned(), computers.to_vec());
        Ok(app.store.read_now(move |conn| -> Result<_, GroupError> {
            let group = groups::find(conn, &name)?;
            let mut marks = Vec::new();
            for text in &computers {
                let computer = named(conn, text).map_err(GroupError::Computer)?;
                let mark = match stored::of_computer(conn, computer.id)?.get(&group.id) {
                    Some(Reason::Included) => Mark::Include,
                    Some(Reason::Excluded) => Mark::Exclude,
                    Some(Reason::Query) | None => Mark::Remove,
                };
                marks.push((computer.device_id.to_string(), mark));
            }
            Ok(marks)
        })?)
    }

    /// Puts computers in by hand, keeps them out, or leaves them to the query. Gives how many jobs were planned.
    pub fn mark_in_group(&self, name: &str, computers: &[String], mark: Mark) -> Result<usize, Refusal> {
        self.allow(Right::EditGroups)?;
        for text in computers {
            let owned = text.clone();
            let computer = self.app.store.read_now(move |conn| named(conn, &owned))?;
            self.allow_computer(&computer)?;
        }
        let action = match mark {
            Mark::Include => "group add",
            Mark::Exclude => "group exclude",
            Mark::Remove => "group remove",
        };
        let change = Change::new(action, format!("group {name}")).after(json!({ "computers": computers }));
        Ok(groups::mark(&self.changing(Right::EditGroups, change)?, name, computers, mark)?)
    }

    /// Deletes a group. Deployments that stand for it end, which has to be wanted; gives their numbers.
    pub fn delete_group(&self, name: &str, end_deployments: bool) -> Result<Vec<DeploymentId>, Refusal> {
        self.allow(Right::EditGroups)?;
        self.allow_all_computers()?;
        let before = groups::summary(&self.app, name)?;
        let change = Change::new("group delete", format!("group {}", before.group.name))
            .before(json!({ "query": before.group.query, "members": before.members }));
        match groups::delete(&self.changing(Right::EditGroups, change)?, name, end_deployments) {
            Err(GroupError::Standing { name, deployments }) => Err(Refusal::conflict(format!(
                "group \"{name}\" has {}, which would end: say that this may be",
                number_of(deployments.len(), "standing deployment")
            ))),
            other => Ok(other?),
        }
    }

    /// Brings a group back that was deleted within a week, with the deployments that ended with it.
    pub fn restore_group(&self, name: &str) -> Result<Restored, Refusal> {
        self.allow(Right::EditGroups)?;
        self.allow_all_computers()?;
        let change = Change::new("group restore", format!("group {name}"));
        Ok(groups::restore(&self.changing(Right::EditGroups, change)?, name)?)
    }

    /// What a group sets, beside what holds without it.
    pub fn group_settings(&self, name: &str) -> Result<Vec<OfGroup>, Refusal> {
        self.allow(Right::SeeGroups)?;
        let app = self.reading(Right::SeeSettings)?;
        Ok(settings::of_group(app, name)?)
    }

    /// Sets what a group says of a setting, or takes it back.
    pub fn set_group_setting(&self, name: &str, key: SettingKey, value: Option<&str>) -> Result<Changed, Refusal> {
        self.allow(Right::EditSettings)?;
        self.allow_all_computers()?;
        let all = settings::of_group(&self.app, name)?;
        let before = all.iter().find(|one| one.server.key == key).and_then(|one| one.own);
        let action = if value.is_some() { "setting set" } else { "setting unset" };
        let change = Change::new(action, format!("group {name}"))
            .before(json!({ key.info().name: before }))
            .after(json!({ key.info().name: value }));
        let app = self.changing(Right::EditSettings, change)?;
        let whose = Whose::Group(name.to_owned());
        Ok(match value {
            Some(value) => settings::set(&app, key, value, whose)?,
            None => settings::unset(&app, key, whose)?,
        })
    }
}

/// What a computer says of what a query asks.
fn because(query: &Query, computer: &Computer) -> String {
    let mut said: Vec<String> = Vec::new();
    query.visit(&mut |expr| {
        let one = match expr {
            Expr::Compare { field, .. } | Expr::Between { field, .. } => {
                let value = field.of(computer);
                value.map(|value| format!("{}: {}", field.as_str(), if value.is_empty() { "nothing" } else { value }))
            }
            Expr::Moment { field, .. } => {
                let said = field.of(computer).map_or("never".to_owned(), crate::clock::local_text);
                Some(format!("{}: {said}", field.as_str().replace('_', " ")))
            }
            Expr::InNetwork { .. } => Some(format!("ip: {}", computer.ip_address)),
            _ => None,
        };
        said.extend(one.filter(|one| !said.contains(one)));
    });
    said.join(", ")
}
