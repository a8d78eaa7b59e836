//! `/groups`: the list, a new one, one group with its members, settings and deployments.

use std::fmt::Write as _;

use askama::Template;

use super::super::visit::escaped;
use super::call::{Call, Page, View, get, post};
use super::deployments::Row;
use super::shell::Shell;
use super::show::count;
use super::toast::Undo;
use crate::model::ComputerId;
use crate::model::access::Right;
use crate::model::query::{Expr, Query};
use crate::model::settings::SettingKey;
use crate::service::desk::groups::GroupPreview;
use crate::service::desk::series::SeriesLine;
use crate::service::desk::{Desk, Kind, Refusal};
use crate::service::groups::{Mark, Summary};
use crate::service::series::Need;
use crate::service::settings::OfGroup;
use crate::store::deployments::Wanted;
use crate::store::groups::Member;

/// Rows of a page.
const ROWS: usize = 25;
/// Deployments of a group that are shown.
const DEPLOYMENTS: usize = 20;

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/groups", Right::SeeGroups, list),
        get("/groups/new", Right::EditGroups, form),
        post("/groups/preview", Right::SeeGroups, preview),
        post("/groups", Right::EditGroups, create),
        get("/groups/{name}", Right::SeeGroups, one),
        post("/groups/{name}/query", Right::EditGroups, edit),
        post("/groups/{name}/describe", Right::EditGroups, describe),
        post("/groups/{name}/members", Right::EditGroups, mark),
        post("/groups/{name}/members/back", Right::EditGroups, mark_back),
        post("/groups/{name}/refresh", Right::EditGroups, refresh),
        post("/groups/{name}/settings", Right::EditSettings, set),
        post("/groups/{name}/delete", Right::EditGroups, delete),
        post("/groups/{name}/restore", Right::EditGroups, restore),
    ]
}

fn address(name: &str) -> String {
    format!("/groups/{}", escaped(name))
}

#[derive(Template)]
#[template(path = "groups.html")]
struct List {
    shell: Shell,
    rows: Vec<(String, Summary)>,
    may_edit: bool,
}

fn list(call: &Call) -> Result<View, Refusal> {
    let all = call.desk().groups()?;
    call.page(&List {
        shell: call.shell("Groups", "/groups"),
        rows: all.into_iter().map(|summary| (address(&summary.group.name), summary)).collect(),
        may_edit: may_edit(call.desk()),
    })
}

/// Groups as a whole are for whoever has all computers.
fn may_edit(desk: &Desk) -> bool {
    desk.may(Right::EditGroups) && desk.actor().scope.computers.is_none()
}

#[derive(Template)]
#[template(path = "group-new.html")]
struct New {
    shell: Shell,
    name: String,
    query: String,
    error: Option<Refusal>,
    preview: String,
}

#[derive(Template)]
#[template(path = "group-preview.html")]
struct PreviewPart {
    preview: Option<GroupPreview>,
    sentence: String,
    is_new: bool,
}

/// Who would come and go; what cannot be read yet is said, not refused.
fn preview_of(desk: &Desk, name: Option<&str>, query: &str) -> Result<String, Refusal> {
    let mut part = PreviewPart { preview: None, sentence: String::new(), is_new: name.is_none() };
    if query.is_empty() {
        part.sentence.push_str("Without a query the group is made by hand: you say who is in it.");
    } else {
        match desk.preview_group(name, query) {
            Ok(preview) => part.preview = Some(preview),
            Err(refusal) if refusal.kind == Kind::Failed => return Err(refusal),
            Err(refusal) => part.sentence = format!("{}.", super::deployments::capital(refusal.for_people())),
        }
    }
    part.render().map_err(Refusal::failed)
}

fn new_page(call: &Call, name: &str, query: &str, error: Option<Refusal>) -> Result<New, Refusal> {
    Ok(New {
        shell: call.shell("New group", "/groups"),
        preview: preview_of(call.desk(), None, query)?,
        name: name.to_owned(),
        query: query.to_owned(),
        error,
    })
}

fn form(call: &Call) -> Result<View, Refusal> {
    let query = call.query.some("where").or(call.query.some("q")).unwrap_or_default();
    call.page(&new_page(call, call.query.get("name"), query, None)?)
}

fn preview(call: &Call) -> Result<View, Refusal> {
    let (name, query) = (call.form.some("group"), call.form.get("query"));
    if call.fragment.is_some() {
        return Ok(View::Html(preview_of(call.desk(), name, query)?));
    }
    match name {
        Some(name) => call.page(&group_page(call, name, Some((query.to_owned(), None)))?),
        None => call.page(&new_page(call, call.form.get("name"), query, None)?),
    }
}

fn is_input(refusal: &Refusal) -> bool {
    matches!(refusal.kind, Kind::Invalid | Kind::Conflict)
}

fn create(call: &Call) -> Result<View, Refusal> {
    let (name, query) = (call.form.get("name"), call.form.some("query"));
    match call.desk().create_group(name, query) {
        Ok(made) => View::done(address(name), format!("The group has {}.", count(made.members as u64, "member"))),
        Err(refusal) if is_input(&refusal) => {
            call.again(&new_page(call, name, query.unwrap_or_default(), Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "group.html")]
#[expect(clippy::struct_excessive_bools, reason = "what a page shows")]
struct One {
    shell: Shell,
    base: String,
    summary: Summary,
    query: String,
    error: Option<Refusal>,
    preview: String,
    members: Vec<Member>,
    next: Option<String>,
    rows: Vec<Row>,
    settings: Vec<OfGroup>,
    /// Series that are for it, and pause at their next run without it.
    series: Vec<SeriesLine>,
    may_edit: bool,
    may_mark: bool,
    may_set: bool,
    may_deploy: bool,
    may_wake: bool,
}

impl One {
    /// Its members, as a search asks for them.
    fn search(&self) -> String {
        let query = Query::try_from(Expr::InGroup(self.summary.group.name.clone()));
        query.map(|query| query.to_string()).unwrap_or_default()
    }

    /// What a deletion concerns.
    fn deletion(&self) -> String {
        let mut text = format!("{} stop being members of it.", count(self.summary.members, "computer"));
        if !self.summary.deployments.is_empty() {
            let standing = count(self.summary.deployments.len() as u64, "standing deployment");
            let _ = write!(text, " {standing} to it end; jobs that are planned stay.");
        }
        text.push_str(&that_pause(&self.series));
        text.push_str(" What the group sets is gone, too. It can be taken back for a week.");
        text
    }
}

/// Which series pause at their next run, in a sentence; empty if none does.
fn that_pause(series: &[SeriesLine]) -> String {
    let names: Vec<String> = series.iter().map(|line| format!("{} ({})", line.series.id, line.name())).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!(" Series {one} pauses at its next run."),
        several => format!(" Series {} pause at their next runs.", several.join(", ")),
    }
}

type Edited = Option<(String, Option<Refusal>)>;

fn group_page(call: &Call, name: &str, edited: Edited) -> Result<One, Refusal> {
    let desk = call.desk();
    let summary = desk.group(name)?;
    let name = summary.group.name.clone();
    let base = address(&name);
    let after = call.query.parse_some::<i64>("after")?.map(ComputerId);
    let mut members = desk.group_members(&name, after, ROWS + 1)?;
    let more = members.len() > ROWS;
    members.truncate(ROWS);
    let next = members.last().filter(|_| more).map(|(last, ..)| format!("{base}?after={}", last.id.0));
    let mut rows = Vec::new();
    if desk.may(Right::SeeDeployments) {
        let wanted = Wanted { group: Some(summary.group.id), ..Wanted::default() };
        let found = desk.deployments(wanted, DEPLOYMENTS)?;
        let groups = desk.groups_of(&found)?;
        rows.extend(found.into_iter().map(|summary| Row::of(summary, &groups)));
    }
    let settings = if desk.may(Right::SeeSettings) { desk.group_settings(&name)? } else { Vec::new() };
    let (preview, query, error) = match edited {
        Some((query, error)) => (preview_of(desk, Some(&name), &query)?, query, error),
        None => (String::from("<div id=\"who\"></div>"), summary.group.query.clone().unwrap_or_default(), None),
    };
    Ok(One {
        shell: call.shell(name, "/groups"),
        base,
        query,
        error,
        preview,
        members,
        next,
        rows,
        settings,
        may_edit: may_edit(desk),
        may_mark: desk.may(Right::EditGroups),
        may_set: desk.may(Right::EditSettings) && desk.actor().scope.computers.is_none(),
        may_deploy: desk.may(Right::Deploy),
        series: desk.series_that_need(Need::Group(summary.group.name.clone()))?,
        may_wake: desk.may(Right::WakeComputers) && desk.may(Right::SeeComputers),
        summary,
    })
}

fn one(call: &Call) -> Result<View, Refusal> {
    call.page(&group_page(call, call.path.raw("name"), None)?)
}

fn describe(call: &Call) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    call.desk().allow_all_computers()?;
    let before = call.desk().group(name)?.group;
    let new_name = call.form.some("name").unwrap_or(&before.name);
    match call.desk().describe_group(name, new_name, call.form.get("description")) {
        Ok(group) => {
            let undo = Undo::new(format!("{}/describe", address(&group.name)))
                .with("name", before.name)
                .with("description", before.description);
            View::undoable(address(&group.name), "Name and description were changed.", undo)
        }
        Err(refusal) if is_input(&refusal) => {
            let query = before.query.unwrap_or_default();
            call.again(&group_page(call, name, Some((query, Some(refusal))))?)
        }
        Err(refusal) => Err(refusal),
    }
}

fn edit(call: &Call) -> Result<View, Refusal> {
    let (name, query) = (call.path.raw("name"), call.form.get("query"));
    call.desk().allow_all_computers()?;
    let before = call.desk().group(name)?.group.query.unwrap_or_default();
    match call.desk().edit_group(name, query) {
        Ok(all) => {
            let own = all.iter().find(|one| one.name.eq_ignore_ascii_case(name)).or(all.first());
            let text = own.map_or_else(String::new, |own| {
                format!("{} joined, {} left; {} planned.", own.joined, own.left, count(own.planned as u64, "job"))
            });
            if before.is_empty() {
                return View::done(address(name), text);
            }
            View::undoable(address(name), text, Undo::new(format!("{}/query", address(name))).with("query", before))
        }
        Err(refusal) if is_input(&refusal) => {
            call.again(&group_page(call, name, Some((query.to_owned(), Some(refusal))))?)
        }
        Err(refusal) => Err(refusal),
    }
}

fn mark(call: &Call) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    let (mark, done) = match call.form.get("mark") {
        "include" => (Mark::Include, "in by hand"),
        "exclude" => (Mark::Exclude, "kept out"),
        "remove" => (Mark::Remove, "left to the query"),
        _ => return Err(Refusal::invalid("say include, exclude or remove").about("mark")),
    };
    let computers: Vec<String> = call
        .form
        .all("computer")
        .flat_map(str::lines)
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    if computers.is_empty() {
        return Err(Refusal::invalid("name a computer").about("computer"));
    }
    let before = call.desk().marks_in_group(name, &computers)?;
    let planned = call.desk().mark_in_group(name, &computers, mark)?;
    let mut text = format!("{} {done}.", count(computers.len() as u64, "computer"));
    if planned > 0 {
        let _ = write!(text, " {} planned.", count(planned as u64, "job"));
    }
    let back = Undo::new(format!("{}/members/back", address(name)));
    let undo = before.into_iter().fold(back, |undo, (computer, mark)| undo.with(word(mark), computer));
    View::undoable(address(name), text, undo)
}

/// The field of the form that takes a mark back.
fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Include => "include",
        Mark::Exclude => "exclude",
        Mark::Remove => "remove",
    }
}

/// Puts places back as they were. Jobs that were planned meanwhile stay: they are taken back where they are seen.
fn mark_back(call: &Call) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    for mark in [Mark::Include, Mark::Exclude, Mark::Remove] {
        let computers: Vec<String> = call.form.all(word(mark)).map(str::to_owned).collect();
        if !computers.is_empty() {
            call.desk().mark_in_group(name, &computers, mark)?;
        }
    }
    View::done(address(name), "As it was before; jobs that were planned stay.")
}

fn refresh(call: &Call) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    let all = call.desk().refresh_group(name)?;
    let (joined, left) = all.iter().fold((0, 0), |sum, one| (sum.0 + one.joined, sum.1 + one.left));
    View::done(address(name), format!("Asked again: {joined} joined, {left} left."))
}

fn set(call: &Call) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    let key = call.form.parse::<SettingKey>("key")?;
    let value = call.form.some("value").filter(|_| !call.form.is_on("unset"));
    let changed = call.desk().set_group_setting(name, key, value)?;
    let undo = Undo::new(format!("{}/settings", address(name))).with("key", key.info().name);
    let undo = match changed.before {
        Some(before) => undo.with("value", before.to_string()),
        None => undo.with("unset", "1"),
    };
    let mut text = match value {
        Some(value) => format!("{} is {value} for this group.", key.info().name),
        None => format!("The group says nothing of {} any more.", key.info().name),
    };
    for warning in changed.warnings {
        let _ = write!(text, " {}.", super::deployments::capital(&warning));
    }
    View::undoable(format!("{}#settings", address(name)), text, undo)
}

fn delete(call: &Call) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    let series = call.desk().series_that_need(Need::Group(name.to_owned()))?;
    let ended = call.desk().delete_group(name, true)?;
    let mut text = "The group was deleted.".to_owned();
    if !ended.is_empty() {
        let _ = write!(text, " {} ended.", count(ended.len() as u64, "deployment"));
    }
    text.push_str(&that_pause(&series));
    View::undoable("/groups", text, Undo::new(format!("{}/restore", address(name))))
}

fn restore(call: &Call) -> Result<View, Refusal> {
    let back = call.desk().restore_group(call.path.raw("name"))?;
    let mut text = format!("The group is back, with {}.", count(back.group.members as u64, "member"));
    if !back.deployments.is_empty() {
        let _ = write!(text, " {} for it again.", stand(back.deployments.len()));
    }
    if back.group.planned > 0 {
        let _ = write!(text, " {} planned.", count(back.group.planned as u64, "job"));
    }
    View::done(address(&back.group.name), text)
}

fn stand(deployments: usize) -> String {
    if deployments == 1 { "1 deployment stands".to_owned() } else { format!("{deployments} deployments stand") }
}
