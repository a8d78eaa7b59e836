//! `/groups`.

#![expect(clippy::needless_pass_by_value, reason = "an operation is given what was asked")]

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::{Asked, Nothing, Operation, Page, Paging, limit, operation};
use crate::clock::utc_text;
use crate::model::ComputerId;
use crate::model::access::Right;
use crate::model::query::Query;
use crate::model::settings::SettingKey;
use crate::service::desk::Refusal;
use crate::service::desk::groups::Candidate;
use crate::service::groups::{Mark, Refreshed, Summary};
use crate::service::series::Need;
use crate::store::groups::Member;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(Method::GET, "/groups", "list_groups", "Groups in the order of their names", Right::SeeGroups, list),
        operation(Method::POST, "/groups", "create_group", "Makes a group", Right::EditGroups, create).creates(),
        operation(
            Method::POST,
            "/groups/preview",
            "preview_group",
            "Who would come and go with a query; changes nothing",
            Right::SeeGroups,
            preview,
        ),
        operation(Method::GET, "/groups/{name}", "get_group", "One group", Right::SeeGroups, get),
        operation(
            Method::PATCH,
            "/groups/{name}",
            "describe_group",
            "Gives a group another name, or says what it is for",
            Right::EditGroups,
            describe,
        ),
        operation(Method::PUT, "/groups/{name}", "edit_group", "Gives a group another query", Right::EditGroups, edit),
        operation(Method::DELETE, "/groups/{name}", "delete_group", "Deletes a group", Right::EditGroups, delete),
        operation(
            Method::POST,
            "/groups/{name}/restore",
            "restore_group",
            "Brings a group back that was deleted within a week, with the deployments that ended with it",
            Right::EditGroups,
            restore,
        ),
        operation(
            Method::POST,
            "/groups/{name}/refresh",
            "refresh_group",
            "Asks a group's query again",
            Right::EditGroups,
            refresh,
        ),
        operation(
            Method::GET,
            "/groups/{name}/members",
            "list_group_members",
            "Who has a place in a group, and why",
            Right::SeeGroups,
            members,
        ),
        operation(
            Method::POST,
            "/groups/{name}/members",
            "mark_group_members",
            "Puts computers in by hand, keeps them out, or leaves them to the query",
            Right::EditGroups,
            mark,
        ),
        operation(
            Method::GET,
            "/groups/{name}/settings",
            "list_group_settings",
            "What a group sets, beside what holds without it",
            Right::SeeSettings,
            settings,
        ),
        operation(
            Method::PUT,
            "/groups/{name}/settings/{key}",
            "set_group_setting",
            "Sets what a group says of a setting",
            Right::EditSettings,
            set,
        ),
        operation(
            Method::DELETE,
            "/groups/{name}/settings/{key}",
            "unset_group_setting",
            "Takes back what a group says of a setting",
            Right::EditSettings,
            unset,
        ),
    ]
}

/// A group's name.
#[derive(Deserialize, JsonSchema)]
struct ByName {
    /// The group's name, letters compared without case.
    name: String,
}

/// A group.
#[derive(JsonSchema, Serialize)]
struct GroupView {
    /// Its name.
    name: String,
    /// Whom it is made of; absent for one that is made by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// The query as JSON, in the form that `query` of a request takes, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    query_tree: Option<Value>,
    /// What it is for; may be empty.
    description: String,
    /// How many members it has.
    members: u64,
    /// How many computers are kept out by hand.
    excluded: u64,
    /// Deployments that stand for it, by number.
    standing_deployments: Vec<i64>,
    /// Who made it.
    created_by: String,
    /// When.
    created_at: String,
}

impl From<Summary> for GroupView {
    fn from(summary: Summary) -> Self {
        let group = summary.group;
        Self {
            name: group.name,
            query_tree: group.query.as_deref().and_then(tree),
            query: group.query,
            description: group.description,
            members: summary.members,
            excluded: summary.excluded,
            standing_deployments: summary.deployments.iter().map(|id| id.0).collect(),
            created_by: group.created_by,
            created_at: utc_text(group.created_at),
        }
    }
}

/// A query that was stored is one that can be read.
fn tree(text: &str) -> Option<Value> {
    serde_json::to_value(text.parse::<Query>().ok()?).ok()
}

fn list(asked: Asked<Nothing, Nothing, Nothing>) -> Result<Vec<GroupView>, Refusal> {
    Ok(asked.desk().groups()?.into_iter().map(GroupView::from).collect())
}

fn get(asked: Asked<ByName, Nothing, Nothing>) -> Result<GroupView, Refusal> {
    Ok(asked.desk().group(&asked.path.name)?.into())
}

/// A new group.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    /// Its name.
    name: String,
    /// Whom it is made of; without one it is made by hand.
    query: Option<String>,
}

/// What became of a group's members.
#[derive(JsonSchema, Serialize)]
struct RefreshedView {
    /// The group.
    name: String,
    /// Members now.
    members: usize,
    /// Computers that became members.
    joined: usize,
    /// Computers that are none any more.
    left: usize,
    /// Jobs that were planned for the new ones.
    planned: usize,
}

impl From<Refreshed> for RefreshedView {
    fn from(refreshed: Refreshed) -> Self {
        let Refreshed { name, members, joined, left, planned } = refreshed;
        Self { name, members, joined, left, planned }
    }
}

fn create(asked: Asked<Nothing, Nothing, NewGroup>) -> Result<RefreshedView, Refusal> {
    Ok(asked.desk().create_group(&asked.body.name, asked.body.query.as_deref())?.into())
}

/// Another query.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewQuery {
    /// Whom the group is made of.
    query: String,
}

fn edit(asked: Asked<ByName, Nothing, NewQuery>) -> Result<Vec<RefreshedView>, Refusal> {
    let all = asked.desk().edit_group(&asked.path.name, &asked.body.query)?;
    Ok(all.into_iter().map(RefreshedView::from).collect())
}

/// What is to be changed about a group itself; what is absent stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DescribeBody {
    /// Another name: 1 to 100 characters. Refused while a query or a scope names the group.
    name: Option<String>,
    /// What it is for: at most 500 characters.
    description: Option<String>,
}

fn describe(asked: Asked<ByName, Nothing, DescribeBody>) -> Result<GroupView, Refusal> {
    // Before anything of the group is read for somebody who may not.
    asked.desk().allow(Right::EditGroups)?;
    asked.desk().allow_all_computers()?;
    let (before, body) = (asked.desk().group(&asked.path.name)?.group, &asked.body);
    let (name, description) = (body.name.as_ref().unwrap_or(&before.name), body.description.as_ref());
    let group = asked.desk().describe_group(&before.name, name, description.unwrap_or(&before.description))?;
    Ok(asked.desk().group(&group.name)?.into())
}

fn refresh(asked: Asked<ByName, Nothing, Nothing>) -> Result<Vec<RefreshedView>, Refusal> {
    Ok(asked.desk().refresh_group(&asked.path.name)?.into_iter().map(RefreshedView::from).collect())
}

/// A query to be tried.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PreviewBody {
    /// The group that would have it; absent for one that is not there yet.
    name: Option<String>,
    /// The query.
    query: String,
}

/// A computer, and what the query looks at.
#[derive(JsonSchema, Serialize)]
struct CandidateView {
    /// Its name.
    name: String,
    /// Its device id.
    device_id: String,
    /// What it says of what the query asks.
    because: String,
}

impl From<Candidate> for CandidateView {
    fn from(one: Candidate) -> Self {
        Self { name: one.computer.name, device_id: one.computer.device_id.to_string(), because: one.because }
    }
}

/// What a query would change.
#[derive(JsonSchema, Serialize)]
struct PreviewView {
    /// The query as it would be kept.
    query: String,
    /// How many computers would become members.
    joins: usize,
    /// The first of them.
    first_joins: Vec<CandidateView>,
    /// How many would be members no more.
    leaves: usize,
    /// The first of them.
    first_leaves: Vec<CandidateView>,
}

fn preview(asked: Asked<Nothing, Nothing, PreviewBody>) -> Result<PreviewView, Refusal> {
    let preview = asked.desk().preview_group(asked.body.name.as_deref(), &asked.body.query)?;
    Ok(PreviewView {
        query: preview.query,
        joins: preview.joins,
        first_joins: preview.first_joins.into_iter().map(CandidateView::from).collect(),
        leaves: preview.leaves,
        first_leaves: preview.first_leaves.into_iter().map(CandidateView::from).collect(),
    })
}

/// What a deletion may end.
#[derive(Deserialize, JsonSchema)]
struct DeleteQuery {
    /// May deployments that stand for the group end? Without it they stand against the deletion.
    #[serde(default)]
    end_deployments: bool,
}

/// What a deletion ended.
#[derive(JsonSchema, Serialize)]
struct DeletedView {
    /// Deployments that ended, by number.
    ended_deployments: Vec<i64>,
    /// Series that are for it and pause at their next run, by number; those that you may see.
    pausing_series: Vec<i64>,
}

fn delete(asked: Asked<ByName, DeleteQuery, Nothing>) -> Result<DeletedView, Refusal> {
    let series = asked.desk().series_that_need(Need::Group(asked.path.name.clone()))?;
    let ended = asked.desk().delete_group(&asked.path.name, asked.query.end_deployments)?;
    Ok(DeletedView {
        ended_deployments: ended.iter().map(|id| id.0).collect(),
        pausing_series: series.iter().map(|line| line.series.id.0).collect(),
    })
}

/// A group that is back.
#[derive(JsonSchema, Serialize)]
struct RestoredView {
    /// The group; who would have become a member meanwhile has joined.
    group: RefreshedView,
    /// Deployments that ended with it and stand for it again, by number.
    standing_deployments: Vec<i64>,
}

fn restore(asked: Asked<ByName, Nothing, Nothing>) -> Result<RestoredView, Refusal> {
    let back = asked.desk().restore_group(&asked.path.name)?;
    Ok(RestoredView {
        group: back.group.into(),
        standing_deployments: back.deployments.iter().map(|id| id.0).collect(),
    })
}

/// A computer that has a place in a group.
#[derive(JsonSchema, Serialize)]
struct MemberView {
    /// The computer's number.
    computer: i64,
    /// Its name.
    name: String,
    /// Its device id.
    device_id: String,
    /// `query`, `included` or `excluded`; who is excluded is no member.
    reason: &'static str,
    /// Since when.
    since: String,
}

impl From<Member> for MemberView {
    fn from((computer, reason, since): Member) -> Self {
        Self {
            computer: computer.id.0,
            name: computer.name,
            device_id: computer.device_id.to_string(),
            reason: reason.as_str(),
            since: utc_text(since),
        }
    }
}

fn members(asked: Asked<ByName, Paging, Nothing>) -> Result<Page<MemberView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let after = asked.query.after.as_deref().map(str::parse::<i64>).transpose();
    let after = after.map_err(|_| Refusal::invalid("this is not the \"next\" of a page").about("after"))?;
    let found = asked.desk().group_members(&asked.path.name, after.map(ComputerId), limit + 1)?;
    Ok(Page::cut(found, limit, |(computer, ..)| computer.id.0.to_string(), MemberView::from))
}

/// What is done by hand.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum MarkView {
    /// They are members, whatever the query says.
    Include,
    /// They are none, whatever the query says.
    Exclude,
    /// The query alone says it.
    Remove,
}

/// Which computers, and what is done to their places.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MarkBody {
    /// Host names or device ids.
    #[schemars(length(max = 10_000))]
    computers: Vec<String>,
    /// What is done.
    mark: MarkView,
}

/// What followed.
#[derive(JsonSchema, Serialize)]
struct MarkedView {
    /// Jobs that were planned.
    planned: usize,
}

fn mark(asked: Asked<ByName, Nothing, MarkBody>) -> Result<MarkedView, Refusal> {
    let mark = match asked.body.mark {
        MarkView::Include => Mark::Include,
        MarkView::Exclude => Mark::Exclude,
        MarkView::Remove => Mark::Remove,
    };
    Ok(MarkedView { planned: asked.desk().mark_in_group(&asked.path.name, &asked.body.computers, mark)? })
}

/// A setting of a group.
#[derive(JsonSchema, Serialize)]
struct SettingView {
    /// Its key.
    key: &'static str,
    /// What it means.
    meaning: &'static str,
    /// Its unit.
    unit: &'static str,
    /// The smallest value.
    min: i64,
    /// The largest value.
    max: i64,
    /// What the group says; absent if nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<i64>,
    /// What holds where no group says anything.
    without: i64,
    /// Where that comes from.
    without_origin: String,
}

fn settings(asked: Asked<ByName, Nothing, Nothing>) -> Result<Vec<SettingView>, Refusal> {
    let all = asked.desk().group_settings(&asked.path.name)?;
    let view = |one: crate::service::settings::OfGroup| {
        let info = one.server.key.info();
        SettingView {
            key: info.name,
            meaning: info.meaning,
            unit: info.unit,
            min: info.min,
            max: info.max,
            value: one.own,
            without: one.server.value,
            without_origin: one.server.origin().to_string(),
        }
    };
    Ok(all.into_iter().map(view).collect())
}

/// A setting of a group.
#[derive(Deserialize, JsonSchema)]
struct ByKey {
    /// The group's name.
    name: String,
    /// The setting's key.
    key: String,
}

impl ByKey {
    fn key(&self) -> Result<SettingKey, Refusal> {
        self.key.parse().map_err(|error: crate::model::settings::InvalidSetting| Refusal::not_found(error.to_string()))
    }
}

/// A value.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SetBody {
    /// In the setting's unit, within its bounds.
    value: i64,
}

/// What a change did.
#[derive(JsonSchema, Serialize)]
struct ChangedView {
    /// What the group said before.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<i64>,
    /// Open jobs that suffer, in sentences.
    warnings: Vec<String>,
}

fn set(asked: Asked<ByKey, Nothing, SetBody>) -> Result<ChangedView, Refusal> {
    let value = asked.body.value.to_string();
    let changed = asked.desk().set_group_setting(&asked.path.name, asked.path.key()?, Some(&value))?;
    Ok(ChangedView { before: changed.before, warnings: changed.warnings })
}

fn unset(asked: Asked<ByKey, Nothing, Nothing>) -> Result<ChangedView, Refusal> {
    let changed = asked.desk().set_group_setting(&asked.path.name, asked.path.key()?, None)?;
    Ok(ChangedView { before: changed.before, warnings: changed.warnings })
}
