//! `/computers`: the list, what is done to many, saved views, exports. One computer is in `computer.rs`.

mod export;
mod form;

use std::fmt::Write as _;

use askama::Template;

use self::form::Row;
use super::super::visit::escaped;
use super::call::{Call, Fields, Page, View, get, post};
use super::shell::Shell;
use super::show::{self, Html, escape};
use super::toast::Undo;
use crate::model::access::Right;
use crate::model::{Computer, UnixTime};
use crate::service::desk::computers::{Asked, Bulk, Chosen, Listed};
use crate::service::desk::{Kind, Refusal};
use crate::store::listing::{Place, Sort};
use crate::store::views;

/// Rows of a page.
const ROWS: usize = 50;
/// The list's name among saved views.
pub(super) const LIST: &str = "computers";

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/computers", Right::SeeComputers, list),
        post("/computers/columns", Right::SeeComputers, columns),
        post("/computers/views", Right::SeeComputers, save_view),
        post("/computers/views/delete", Right::SeeComputers, delete_view),
        get("/computers/export.csv", Right::SeeComputers, export::csv),
        get("/computers/export.json", Right::SeeComputers, export::json),
        post("/computers/selected/{action}", Right::SeeComputers, selected),
    ]
}

/// A column that may be shown: its word, its title.
pub(super) const COLUMNS: [(&str, &str); 16] = [
    ("os", "System"),
    ("os_version", "Version"),
    ("architecture", "Architecture"),
    ("ip", "Address"),
    ("peer", "Heard from"),
    ("user", "User"),
    ("tag", "Tag"),
    ("serial", "Serial number"),
    ("model", "Model"),
    ("uuid", "UUID"),
    ("workgroup", "Workgroup"),
    ("agent", "Agent"),
    ("device_id", "Device id"),
    ("first_contact", "First contact"),
    ("last_inventory", "Last inventory"),
    ("last_contact", "Last contact"),
];
/// Those that are shown unless somebody chose.
const USUAL: &str = "os,ip,user,tag,last_contact";

/// What a column says of a computer, if it is text.
pub(super) fn text<'a>(computer: &'a Computer, column: &str) -> &'a str {
    match column {
        "os" => &computer.os_name,
        "os_version" => &computer.os_version,
        "architecture" => &computer.architecture,
        "ip" => &computer.ip_address,
        "peer" => &computer.peer_address,
        "user" => &computer.user_name,
        "tag" => &computer.tag,
        "serial" => &computer.serial,
        "model" => &computer.model,
        "uuid" => &computer.uuid,
        "workgroup" => &computer.workgroup,
        "agent" => &computer.user_agent,
        "device_id" => computer.device_id.as_str(),
        _ => "",
    }
}

/// What a column says of a computer, if it is a moment.
pub(super) fn moment(computer: &Computer, column: &str) -> Option<UnixTime> {
    match column {
        "first_contact" => Some(computer.first_contact),
        "last_contact" => Some(computer.last_contact),
        "last_inventory" => computer.last_inventory,
        _ => None,
    }
}

/// A column as a cell.
fn cell(computer: &Computer, column: &str) -> Html {
    if column.ends_with("_contact") || column == "last_inventory" {
        return show::time_or(moment(computer, column), "never");
    }
    let text = text(computer, column);
    match column {
        _ if text.is_empty() => Html("<span class=\"faint\">–</span>".to_owned()),
        "tag" => Html(format!("<span class=\"tag\">{}</span>", escape(text))),
        "os" => {
            let icon = computer.os_family().map_or("computer", crate::model::OsFamily::as_str);
            Html(format!("<span class=\"row nowrap\">{}{}</span>", show::icon(icon), escape(text)))
        }
        "serial" | "uuid" | "device_id" | "ip" | "peer" => {
            Html(format!("<span class=\"mono\">{}</span>", escape(text)))
        }
        _ => Html(escape(text)),
    }
}

/// What the address says of a list.
#[derive(Clone)]
pub(super) struct State {
    pub(super) asked: Asked,
    sort: &'static str,
    pub(super) columns: Vec<&'static str>,
    view: Option<i64>,
    /// Columns as the address has them, if it has.
    own_columns: bool,
}

impl State {
    pub(super) fn read(call: &Call, fields: &Fields) -> Result<Self, Refusal> {
        let sort = ["name", "-name", "contact", "-contact"];
        let sort = sort.into_iter().find(|one| *one == fields.get("sort")).unwrap_or("name");
        let order = if sort.ends_with("contact") { Sort::LastContact } else { Sort::Name };
        let after = fields.some("after").map(|text| place(text, order)).transpose()?;
        let own_columns = fields.some("columns").is_some();
        let wanted = match fields.some("columns") {
            Some(columns) => columns.to_owned(),
            None => call.desk().columns(LIST)?.unwrap_or_else(|| USUAL.to_owned()),
        };
        let asked = Asked {
            query: fields.get("q").to_owned(),
            archived: fields.is_on("archived"),
            sort: order,
            descending: sort.starts_with('-'),
            after,
        };
        let columns = COLUMNS.iter().map(|(word, _)| *word).filter(|word| wanted.split(',').any(|one| one == *word));
        Ok(Self { asked, sort, columns: columns.collect(), view: fields.parse_some("view")?, own_columns })
    }

    /// The list's address with another sort or place.
    fn query(&self, sort: &str, after: Option<&str>) -> String {
        let mut parts = Vec::new();
        if !self.asked.query.is_empty() {
            parts.push(format!("q={}", escaped(&self.asked.query)));
        }
        if self.asked.archived {
            parts.push("archived=1".to_owned());
        }
        if sort != "name" {
            parts.push(format!("sort={sort}"));
        }
        if self.own_columns {
            parts.push(format!("columns={}", self.columns.join("%2C")));
        }
        parts.extend(self.view.map(|view| format!("view={view}")));
        parts.extend(after.map(|after| format!("after={}", escaped(after))));
        parts.join("&")
    }

    /// Without place.
    pub(super) fn here(&self) -> String {
        self.query(self.sort, None)
    }

    /// What a view keeps.
    fn kept(&self) -> String {
        let mut kept = Self { view: None, own_columns: true, ..self.clone() };
        kept.asked.after = None;
        kept.here()
    }
}

/// `id.key`: where a page begins.
fn place(text: &str, sort: Sort) -> Result<Place, Refusal> {
    let read = || {
        let (id, key) = text.split_once('.')?;
        let id = crate::model::ComputerId(id.parse().ok()?);
        Some(match sort {
            Sort::Name => Place::Name(key.to_owned(), id),
            Sort::LastContact => Place::LastContact(UnixTime::from_millis(key.parse().ok()?), id),
        })
    };
    read().ok_or_else(|| Refusal::invalid("this list has no such page: begin at its first one").about("after"))
}

/// What [`place`] reads.
pub(in crate::server) fn place_text(place: &Place) -> String {
    match place {
        Place::Name(key, id) => format!("{id}.{key}"),
        Place::LastContact(at, id) => format!("{id}.{}", at.millis()),
    }
}

/// The same for the API.
pub(in crate::server) fn read_place(text: &str, sort: Sort) -> Result<Place, Refusal> {
    place(text, sort)
}

struct Tab {
    address: String,
    title: String,
    count: Option<String>,
    current: bool,
    shared_by: Option<String>,
}

struct Head {
    title: &'static str,
    sort: Option<&'static str>,
    address: String,
}

#[derive(Template)]
#[template(path = "computers.html")]
#[expect(clippy::struct_excessive_bools, reason = "what a template asks")]
struct List {
    shell: Shell,
    state: State,
    rows: Vec<Computer>,
    heads: Vec<Head>,
    tabs: Vec<Tab>,
    own_view: Option<i64>,
    next: Option<String>,
    total: String,
    total_number: u64,
    error: Option<(String, Option<String>)>,
    builder: Vec<Row>,
    simple: bool,
    may_edit: bool,
    may_remove: bool,
    may_group: bool,
    may_deploy: bool,
}

impl List {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn cell(&self, computer: &Computer, column: &str) -> Html {
        cell(computer, column)
    }

    fn shows(&self, column: &str) -> bool {
        self.state.columns.contains(&column)
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn title_of(&self, column: &str) -> &'static str {
        COLUMNS.iter().find(|(word, _)| *word == column).map_or("", |(_, title)| title)
    }

    fn place_of(&self) -> String {
        match (&self.state.asked.after, self.rows.len()) {
            (None, 0) => "none".to_owned(),
            (None, rows) => format!("1 to {rows} of {}", self.total),
            (Some(_), rows) => format!("{rows} of {}", self.total),
        }
    }
}

fn list(call: &Call) -> Result<View, Refusal> {
    if call.query.is_on("built") {
        let text = form::compose(&call.query);
        let archived = if call.query.is_on("archived") { "&archived=1" } else { "" };
        return View::to(format!("/computers?q={}{archived}", escaped(&text)));
    }
    let state = State::read(call, &call.query)?;
    let (listed, error) = match call.desk().computers(&state.asked, ROWS) {
        Ok(listed) => (listed, None),
        Err(refusal) if refusal.kind == Kind::Invalid && refusal.field == Some("q") => {
            let none = Listed { rows: Vec::new(), more: false, total: 0, archived: None };
            (none, Some(query_error(&refusal)))
        }
        Err(refusal) => return Err(refusal),
    };
    let desk = call.desk();
    let (builder, simple) = form::rows_of(&state.asked.query);
    let next = listed.rows.last().filter(|_| listed.more);
    let next = next.map(|last| place_text(&Place::of(last, state.asked.sort)));
    let next = next.map(|after| format!("/computers?{}", state.query(state.sort, Some(&after))));
    let sorted = |word: &'static str, title: &'static str| {
        let current = state.sort.trim_start_matches('-') == word;
        let down = state.sort.starts_with('-');
        let to = if current && !down { format!("-{word}") } else { word.to_owned() };
        let sort = current.then_some(if down { "descending" } else { "ascending" });
        Head { title, sort, address: format!("/computers?{}", state.query(&to, None)) }
    };
    let mut heads = vec![sorted("name", "Computer")];
    heads.extend(COLUMNS.iter().filter(|(word, _)| state.columns.contains(word)).map(|(word, title)| match *word {
        "last_contact" => sorted("contact", title),
        _ => Head { title, sort: None, address: String::new() },
    }));
    let views = desk.views(LIST)?;
    let own_view = views.iter().find(|view| Some(view.id) == state.view && view.owner == desk.actor().name);
    let page = List {
        shell: call.shell("Computers", "/computers"),
        own_view: own_view.map(|view| view.id),
        tabs: tabs(&state, &listed, &views, &desk.actor().name),
        total: show::count(listed.total, "computer"),
        total_number: listed.total,
        rows: listed.rows,
        heads,
        next,
        error,
        builder,
        simple,
        may_edit: desk.may(Right::EditComputers),
        may_remove: desk.may(Right::RemoveComputers),
        may_group: desk.may(Right::EditGroups),
        may_deploy: desk.may(Right::Deploy),
        state,
    };
    if page.error.is_some() { call.again(&page) } else { call.page(&page) }
}

/// The sentence, and the lines with the mark below the place.
fn query_error(refusal: &Refusal) -> (String, Option<String>) {
    let text = refusal.for_people().replacen("the query", "The query", 1);
    match text.split_once('\n') {
        Some((sentence, place)) => (sentence.to_owned(), Some(place.to_owned())),
        None => (text, None),
    }
}

fn tabs(state: &State, listed: &Listed, views: &[views::View], own: &str) -> Vec<Tab> {
    let count = |count: Option<u64>| count.map(show::number);
    let present = (!state.asked.archived && state.asked.query.is_empty()).then_some(listed.total);
    let plain = state.view.is_none();
    let mut tabs = vec![
        Tab {
            address: "/computers".to_owned(),
            title: "All".to_owned(),
            count: count(present),
            current: plain && !state.asked.archived,
            shared_by: None,
        },
        Tab {
            address: "/computers?archived=1".to_owned(),
            title: "Archived".to_owned(),
            count: count(listed.archived),
            current: plain && state.asked.archived,
            shared_by: None,
        },
    ];
    tabs.extend(views.iter().map(|view| Tab {
        address: format!("/computers?{}&view={}", view.query, view.id),
        title: view.name.clone(),
        count: None,
        current: state.view == Some(view.id),
        shared_by: (view.owner != own).then(|| view.owner.clone()),
    }));
    tabs
}

fn columns(call: &Call) -> Result<View, Refusal> {
    let chosen: Vec<&str> = COLUMNS
        .iter()
        .map(|(word, _)| *word)
        .filter(|word| call.form.all("column").any(|column| column == *word))
        .collect();
    call.desk().set_columns(LIST, &chosen.join(","))?;
    View::done(back(&call.form), "These columns are shown from now on, wherever you sign in.")
}

/// The list that a form came from.
fn back(form: &Fields) -> String {
    let here: String = form.get("here").chars().filter(char::is_ascii_graphic).collect();
    format!("/computers?{here}")
}

fn save_view(call: &Call) -> Result<View, Refusal> {
    let kept = call.form.get("query");
    let name = call.form.get("name");
    let id = call.desk().save_view(LIST, name, kept, call.form.is_on("shared"))?;
    View::done(format!("/computers?{kept}&view={id}"), format!("Saved as \"{name}\"."))
}

fn delete_view(call: &Call) -> Result<View, Refusal> {
    let view = call.desk().delete_view(call.form.parse("view")?)?;
    let mut undo = Undo::new("/computers/views").with("name", &view.name).with("query", &view.query);
    if view.shared {
        undo = undo.with("shared", "1");
    }
    View::undoable("/computers", format!("The view \"{}\" was deleted.", view.name), undo)
}

#[derive(Template)]
#[template(path = "computers-selected.html")]
struct Selected {
    shell: Shell,
    action: String,
    title: String,
    lead: &'static str,
    button: String,
    count: u64,
    names: Vec<String>,
    ids: Vec<String>,
    state: Option<State>,
    groups: Vec<String>,
    value: String,
    word: &'static str,
    error: Option<Refusal>,
}

/// What the ticks of a list mean.
fn chosen(call: &Call) -> Result<(Chosen, Option<State>), Refusal> {
    if call.form.is_on("all") {
        let state = State::read(call, &call.form)?;
        return Ok((Chosen::All(state.asked.clone()), Some(state)));
    }
    let ids: Vec<String> = call.form.all("id").map(str::to_owned).collect();
    if ids.is_empty() {
        return Err(Refusal::invalid("no computer is ticked: tick some in the list first"));
    }
    Ok((Chosen::Named(ids), None))
}

fn selected(call: &Call) -> Result<View, Refusal> {
    let action = call.path.get("action").to_owned();
    let (chosen, state) = chosen(call)?;
    if action == "deploy" {
        return to_deployment(&chosen);
    }
    let value = call.form.get("value").to_owned();
    let bulk = match action.as_str() {
        "tag" => Bulk::Tag(value.clone()),
        "archive" => Bulk::Archive,
        "restore" => Bulk::Restore,
        "delete" => Bulk::Delete,
        "group" => Bulk::Include(value.clone()),
        _ => return Err(Refusal::not_found("there is no such change of computers")),
    };
    let desk = call.desk();
    let mut error = None;
    if call.form.is_on("sure") {
        let typed = !matches!(bulk, Bulk::Delete) || call.form.get("typed") == "delete";
        if typed {
            match desk.change_many(&chosen, &bulk) {
                Ok(done) => {
                    let mut text = format!("{}: {}.", show::count(done.changed as u64, "computer"), past(&bulk));
                    if done.left > 0 {
                        let _ = write!(text, " {} left as they were.", show::number(done.left as u64));
                    }
                    let address = match &bulk {
                        Bulk::Archive | Bulk::Delete => "/computers?archived=1",
                        Bulk::Include(_) | Bulk::Tag(_) | Bulk::Restore => "/computers",
                    };
                    return View::done(address, text);
                }
                Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::NotFound) => error = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        } else {
            error = Some(Refusal::invalid("type the word delete: what is erased does not come back").about("typed"));
        }
    }
    let ids = desk.chosen(&chosen)?;
    let (title, lead, button, word) = words(&bulk, ids.len() as u64);
    let page = Selected {
        shell: call.shell(title.clone(), "/computers"),
        title,
        lead,
        button,
        word,
        count: ids.len() as u64,
        names: ids.iter().take(20).map(ToString::to_string).collect(),
        ids: if state.is_some() { Vec::new() } else { ids.iter().map(ToString::to_string).collect() },
        groups: if action == "group" { desk.names_of_groups()? } else { Vec::new() },
        state,
        value,
        action,
        error,
    };
    if page.error.is_some() { call.again(&page) } else { call.page(&page) }
}

fn words(bulk: &Bulk, count: u64) -> (String, &'static str, String, &'static str) {
    let whom = show::count(count, "computer");
    match bulk {
        Bulk::Tag(_) => (
            format!("Tag {whom}"),
            "The server's tag goes before what agents say: they are told it with their next inventory.",
            format!("Tag {whom}"),
            "tag",
        ),
        Bulk::Archive => (
            format!("Archive {whom}"),
            "They are offered nothing and listed nowhere until they send an inventory or are restored. Nothing is lost.",
            format!("Archive {whom}"),
            "",
        ),
        Bulk::Restore => (
            format!("Restore {whom}"),
            "They are listed again and offered what waits for them.",
            format!("Restore {whom}"),
            "",
        ),
        Bulk::Delete => (
            format!("Delete {whom}"),
            "Their inventories, jobs, notes and settings are erased and do not come back. What was said about packages \
             stays in the event log. One that still has an agent comes back as a new computer.",
            format!("Delete {whom} for good"),
            "",
        ),
        Bulk::Include(_) => (
            format!("Add {whom} to a group"),
            "They are members whatever the group's query says, and get what is deployed to it.",
            format!("Add {whom}"),
            "group",
        ),
    }
}

fn past(bulk: &Bulk) -> String {
    match bulk {
        Bulk::Tag(tag) if tag.is_empty() => "tag taken back".to_owned(),
        Bulk::Tag(tag) => format!("tagged {tag}"),
        Bulk::Archive => "archived, and to be restored from here".to_owned(),
        Bulk::Restore => "restored".to_owned(),
        Bulk::Delete => "deleted".to_owned(),
        Bulk::Include(group) => format!("added to {group}"),
    }
}

/// The page of a new deployment takes a query, so the ticked ones become one.
fn to_deployment(chosen: &Chosen) -> Result<View, Refusal> {
    let text = match chosen {
        Chosen::All(asked) if asked.query.trim().is_empty() => return View::to("/deployments/new?all=1"),
        Chosen::All(asked) => asked.query.trim().to_owned(),
        Chosen::Named(ids) => form::any_of(ids),
    };
    View::to(format!("/deployments/new?where={}", escaped(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back() {
        let id = crate::model::ComputerId(7);
        for (stands, sort) in [
            (Place::Name("a.b ü&=".to_owned(), id), Sort::Name),
            (Place::LastContact(UnixTime::from_millis(12), id), Sort::LastContact),
        ] {
            assert_eq!(place(&place_text(&stands), sort).expect("it was written"), stands);
        }
        for wrong in ["", "7", "x.y", "7.x"] {
            assert!(place(wrong, Sort::LastContact).is_err(), "{wrong:?} was taken");
        }
    }
}
