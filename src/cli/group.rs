//! `dripfeed group …`

use serde::Serialize;

use super::args::{GroupMark, GroupVerb, Place};
use super::context::{administrator, open};
use super::output::{Output, printable, say};
use super::series::that_pause;
use super::{Done, Failure};
use crate::clock;
use crate::model::query::Query;
use crate::model::{Computer, ComputerId};
use crate::service::App;
use crate::service::groups::{self, GroupError, Mark, Refreshed, Summary};
use crate::service::query::AskError;
use crate::service::series::{self, Need};
use crate::store::computers::some;
use crate::store::groups::Reason;

fn failure(error: GroupError) -> Failure {
    match error {
        GroupError::Store(error) | GroupError::Ask(AskError::Store(error)) => Failure::Failed(error.into()),
        other => Failure::Refused(other.into()),
    }
}

pub(super) fn run(place: &Place, verb: GroupVerb, output: &mut Output) -> Done {
    let app = open(place)?.app;
    match verb {
        GroupVerb::Create { name, query, json } => create(&app, &name, query.as_deref(), json, output),
        GroupVerb::List { json } => list(&app, json, output),
        GroupVerb::Show { group, json } => show(&app, &group, json, output),
        GroupVerb::Edit { group, query, dry_run: true, json } => preview(&app, &group, &query, json, output),
        GroupVerb::Edit { group, query, json, .. } => {
            refreshed(&groups::edit(&app, &group, &query).map_err(failure)?, json, output)
        }
        GroupVerb::Describe { group, name, description, json } => {
            describe(&app, &group, name, description, json, output)
        }
        GroupVerb::Add(options) => mark(&app, &options, Mark::Include, output),
        GroupVerb::Exclude(options) => mark(&app, &options, Mark::Exclude, output),
        GroupVerb::Remove(options) => mark(&app, &options, Mark::Remove, output),
        GroupVerb::Refresh { group, json } => {
            refreshed(&groups::refresh(&app, group.as_deref()).map_err(failure)?, json, output)
        }
        GroupVerb::Delete { group, force, json } => delete(&app, &group, force, json, output),
        GroupVerb::Restore { group, json } => restore(&app, &group, json, output),
    }
}

fn computers(n: impl TryInto<u64>) -> String {
    match n.try_into().unwrap_or(u64::MAX) {
        1 => "1 computer".to_owned(),
        n => format!("{n} computers"),
    }
}

/// What became of a group's members, as JSON.
#[derive(Serialize)]
struct RefreshedView<'a> {
    group: &'a str,
    members: usize,
    joined: usize,
    left: usize,
    planned: usize,
}

impl<'a> From<&'a Refreshed> for RefreshedView<'a> {
    fn from(refreshed: &'a Refreshed) -> Self {
        let Refreshed { name, members, joined, left, planned } = refreshed;
        Self { group: name, members: *members, joined: *joined, left: *left, planned: *planned }
    }
}

fn create(app: &App, name: &str, query: Option<&str>, json: bool, output: &mut Output) -> Done {
    let made = groups::create(app, name, query, &administrator()).map_err(failure)?;
    if json {
        return output.json(&RefreshedView::from(&made));
    }
    output.line(format_args!("group \"{}\": {}", printable(&made.name), computers(made.members)))?;
    if query.is_none() {
        say(format_args!("fill it with `dripfeed group add \"{}\" COMPUTER`", printable(&made.name)));
    }
    Ok(())
}

fn describe(
    app: &App,
    group: &str,
    name: Option<String>,
    description: Option<String>,
    json: bool,
    output: &mut Output,
) -> Done {
    let before = groups::summary(app, group).map_err(failure)?.group;
    let (name, description) = (name.unwrap_or(before.name), description.unwrap_or(before.description));
    let after = groups::describe(app, group, &name, &description).map_err(failure)?;
    if json {
        #[derive(Serialize)]
        struct View {
            name: String,
            description: String,
        }
        return output.json(&View { name: after.name, description: after.description });
    }
    output.line(format_args!("group \"{}\": {}", printable(&after.name), printable(&after.description)))
}

fn refreshed(all: &[Refreshed], json: bool, output: &mut Output) -> Done {
    if json {
        return output.json(&all.iter().map(RefreshedView::from).collect::<Vec<_>>());
    }
    if all.is_empty() {
        say("no group has a query: `dripfeed group create NAME --where QUERY` makes one");
    }
    for one in all {
        output.line(format_args!(
            "group \"{}\": {}; {} joined, {} left, {} jobs planned",
            printable(&one.name),
            computers(one.members),
            one.joined,
            one.left,
            one.planned
        ))?;
    }
    Ok(())
}

/// A group as JSON.
#[derive(Serialize)]
struct GroupView {
    name: String,
    query: Option<String>,
    /// The query as JSON.
    query_tree: Option<Query>,
    description: String,
    members: u64,
    excluded: u64,
    standing_deployments: Vec<i64>,
    created_by: String,
    created_at: String,
}

impl From<&Summary> for GroupView {
    fn from(summary: &Summary) -> Self {
        let group = summary.group.clone();
        Self {
            name: group.name,
            query_tree: group.query.as_deref().and_then(|text| text.parse().ok()),
            query: group.query,
            description: group.description,
            members: summary.members,
            excluded: summary.excluded,
            standing_deployments: summary.deployments.iter().map(|id| id.0).collect(),
            created_by: group.created_by,
            created_at: clock::utc_text(group.created_at),
        }
    }
}

fn list(app: &App, json: bool, output: &mut Output) -> Done {
    let all = groups::list(app).map_err(failure)?;
    if json {
        return output.json(&all.iter().map(GroupView::from).collect::<Vec<_>>());
    }
    if all.is_empty() {
        say("no groups yet: `dripfeed group create NAME --where QUERY` makes one");
        return Ok(());
    }
    let rows: Vec<[String; 5]> = all
        .iter()
        .map(|one| {
            [
                printable(&one.group.name),
                one.members.to_string(),
                one.excluded.to_string(),
                one.deployments.len().to_string(),
                one.group.query.as_deref().map_or("by hand".to_owned(), printable),
            ]
        })
        .collect();
    output.table(["GROUP", "MEMBERS", "EXCLUDED", "STANDING", "QUERY"], &rows)
}

/// A computer of a group as JSON.
#[derive(Serialize)]
struct MemberView {
    name: String,
    device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

fn show(app: &App, name: &str, json: bool, output: &mut Output) -> Done {
    let (summary, members) = groups::show(app, name).map_err(failure)?;
    if json {
        #[derive(Serialize)]
        struct Shown {
            #[serde(flatten)]
            group: GroupView,
            computers: Vec<MemberView>,
        }
        let view = |(computer, reason, since): (Computer, Reason, _)| MemberView {
            name: computer.name,
            device_id: computer.device_id.to_string(),
            reason: Some(reason.as_str()),
            since: Some(clock::utc_text(since)),
        };
        return output
            .json(&Shown { group: GroupView::from(&summary), computers: members.into_iter().map(view).collect() });
    }
    let group = &summary.group;
    output.line(format_args!("   group  {}", printable(&group.name)))?;
    output.line(format_args!("   query  {}", group.query.as_deref().map_or("none".to_owned(), printable)))?;
    output.line(format_args!(
        "    made  {} by {}",
        clock::local_text(group.created_at),
        printable(&group.created_by)
    ))?;
    output.line(format_args!(" members  {}", summary.members))?;
    if !summary.deployments.is_empty() {
        let numbers: Vec<String> = summary.deployments.iter().map(ToString::to_string).collect();
        output.line(format_args!("standing  deployments {}", numbers.join(", ")))?;
    }
    if members.is_empty() {
        say("nobody is in it");
        return Ok(());
    }
    let rows: Vec<[String; 4]> = members
        .iter()
        .map(|(computer, reason, since)| {
            [
                printable(&computer.name),
                reason.as_str().to_owned(),
                clock::local_text(*since),
                computer.device_id.to_string(),
            ]
        })
        .collect();
    output.line("")?;
    output.table(["NAME", "REASON", "SINCE", "DEVICE ID"], &rows)
}

fn preview(app: &App, name: &str, query: &str, json: bool, output: &mut Output) -> Done {
    let preview = groups::preview(app, name, query).map_err(failure)?;
    let named = |ids: Vec<ComputerId>| app.store.read_now(move |conn| some(conn, &ids));
    let joins = named(preview.joins).map_err(|error| failure(error.into()))?;
    let leaves = named(preview.leaves).map_err(|error| failure(error.into()))?;
    if json {
        #[derive(Serialize)]
        struct View {
            joins: Vec<MemberView>,
            leaves: Vec<MemberView>,
        }
        let view = |computer: &Computer| MemberView {
            name: computer.name.clone(),
            device_id: computer.device_id.to_string(),
            reason: None,
            since: None,
        };
        return output
            .json(&View { joins: joins.iter().map(view).collect(), leaves: leaves.iter().map(view).collect() });
    }
    for (sign, changed) in [("+", &joins), ("-", &leaves)] {
        for computer in changed {
            output.line(format_args!("{sign} {}  {}", printable(&computer.name), computer.device_id))?;
        }
    }
    say(format_args!("{} would join and {} would leave; nothing was changed", computers(joins.len()), leaves.len()));
    Ok(())
}

fn mark(app: &App, options: &GroupMark, mark: Mark, output: &mut Output) -> Done {
    let planned = groups::mark(app, &options.group, &options.computers, mark).map_err(failure)?;
    if options.json {
        #[derive(Serialize)]
        struct View<'a> {
            group: &'a str,
            computers: &'a [String],
            planned: usize,
        }
        return output.json(&View { group: &options.group, computers: &options.computers, planned });
    }
    let what = match mark {
        Mark::Include => "added to",
        Mark::Exclude => "excluded from",
        Mark::Remove => "left to the query of",
    };
    output.line(format_args!(
        "{} {what} group \"{}\"; {planned} jobs planned",
        computers(options.computers.len()),
        printable(&options.group)
    ))
}

fn delete(app: &App, name: &str, force: bool, json: bool, output: &mut Output) -> Done {
    let need = Need::Group(name.to_owned());
    let series = app.store.read_now(move |conn| series::that_need(conn, &need))?;
    let ended = groups::delete(app, name, force).map_err(failure)?;
    if json {
        #[derive(Serialize)]
        struct View<'a> {
            deleted: &'a str,
            ended_deployments: Vec<i64>,
            pausing_series: Vec<i64>,
        }
        return output.json(&View {
            deleted: name,
            ended_deployments: ended.iter().map(|id| id.0).collect(),
            pausing_series: series.iter().map(|one| one.id.0).collect(),
        });
    }
    output.line(format_args!(
        "deleted group \"{}\"; for a week `dripfeed group restore` brings it back",
        printable(name)
    ))?;
    for id in ended {
        output.line(format_args!("deployment {id} ended: jobs that are planned stay"))?;
    }
    that_pause(&series, output)
}

fn restore(app: &App, name: &str, json: bool, output: &mut Output) -> Done {
    let back = groups::restore(app, name).map_err(failure)?;
    if json {
        #[derive(Serialize)]
        struct View<'a> {
            #[serde(flatten)]
            group: RefreshedView<'a>,
            standing_deployments: Vec<i64>,
        }
        let standing_deployments = back.deployments.iter().map(|id| id.0).collect();
        return output.json(&View { group: RefreshedView::from(&back.group), standing_deployments });
    }
    output.line(format_args!(
        "group \"{}\" is back: {}, {} jobs planned",
        printable(&back.group.name),
        computers(back.group.members),
        back.group.planned
    ))?;
    for id in back.deployments {
        output.line(format_args!("deployment {id} stands for it again"))?;
    }
    Ok(())
}
