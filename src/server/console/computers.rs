//! `/computers`: the list, what is done to many, saved views, exports. One computer is in `computer.rs`.

mod columns;
mod counts;
mod export;
mod form;
mod selected;

use askama::Template;

use self::columns::{Column, USUAL};
use self::form::Builder;
use super::super::visit::escaped;
use super::call::{Call, Fields, Page, View, get, post};
use super::shell::Shell;
use super::show::{self, Html};
use super::toast::Undo;
use crate::model::access::Right;
use crate::model::{Computer, UnixTime};
use crate::service::desk::computers::details::Details;
use crate::service::desk::computers::{Asked, Listed};
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
        get("/computers/counts", Right::SeeComputers, counts::counts),
        get("/computers/export.csv", Right::SeeComputers, export::csv),
        get("/computers/export.json", Right::SeeComputers, export::json),
        post("/computers/selected/{action}", Right::SeeComputers, selected::selected),
        post("/changes/{id}/undo", Right::SeeComputers, selected::undo),
        post("/unlock", None, selected::unlock),
    ]
}

/// What the address says of a list.
#[derive(Clone)]
struct State {
    asked: Asked,
    sort: &'static str,
    /// Every column that there is.
    every: Vec<Column>,
    /// Those that are shown.
    columns: Vec<Column>,
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
        let every = columns::every(call)?;
        let columns = every.iter().filter(|column| wanted.split(',').any(|one| one == column.word)).cloned().collect();
        Ok(Self { asked, sort, every, columns, view: fields.parse_some("view")?, own_columns })
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
            let words: Vec<&str> = self.columns.iter().map(|column| column.word.as_str()).collect();
            parts.push(format!("columns={}", words.join("%2C")));
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
    title: String,
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
    details: Details,
    heads: Vec<Head>,
    tabs: Vec<Tab>,
    own_view: Option<i64>,
    next: Option<String>,
    total: String,
    total_number: u64,
    error: Option<(String, Option<String>)>,
    builder: Builder,
    may_edit: bool,
    may_set: bool,
    may_wake: bool,
    may_remove: bool,
    may_group: bool,
    may_deploy: bool,
}

impl List {
    fn cell(&self, computer: &Computer, column: &Column) -> Html {
        column.cell(computer, &self.details)
    }

    fn shows(&self, column: &Column) -> bool {
        self.state.columns.contains(column)
    }

    /// Is there a search that found somebody?
    fn has_result(&self) -> bool {
        !self.state.asked.query.trim().is_empty() && !self.state.asked.archived && self.total_number > 0
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
    let state = State::read(call, &call.query)?;
    let names = || state.every.iter().filter(|column| column.is_own()).map(|column| column.title.clone());
    let built = call.query.is_on("built").then(|| Builder::typed(&call.query, names()));
    if let Some(built) = built.as_ref().filter(|built| built.is_right()) {
        let archived = if call.query.is_on("archived") { "&archived=1" } else { "" };
        return View::to(format!("/computers?q={}{archived}", escaped(&built.text())));
    }
    let (listed, error) = match call.desk().computers(&state.asked, ROWS) {
        Ok(listed) => (listed, None),
        Err(refusal) if refusal.kind == Kind::Invalid && refusal.field == Some("q") => {
            let none = Listed { rows: Vec::new(), more: false, total: 0, archived: None };
            (none, Some(query_error(&refusal)))
        }
        Err(refusal) => return Err(refusal),
    };
    let desk = call.desk();
    let builder = built.unwrap_or_else(|| Builder::of(&state.asked.query, names()));
    let details = desk.details(&listed.rows, &columns::shown(&state.columns))?;
    let next = listed.rows.last().filter(|_| listed.more);
    let next = next.map(|last| place_text(&Place::of(last, state.asked.sort)));
    let next = next.map(|after| format!("/computers?{}", state.query(state.sort, Some(&after))));
    let sorted = |word: &'static str, title: &str| {
        let current = state.sort.trim_start_matches('-') == word;
        let down = state.sort.starts_with('-');
        let to = if current && !down { format!("-{word}") } else { word.to_owned() };
        let sort = current.then_some(if down { "descending" } else { "ascending" });
        Head { title: title.to_owned(), sort, address: format!("/computers?{}", state.query(&to, None)) }
    };
    let mut heads = vec![sorted("name", "Computer")];
    heads.extend(state.columns.iter().map(|column| match column.word.as_str() {
        "last_contact" => sorted("contact", &column.title),
        _ => Head { title: column.title.clone(), sort: None, address: String::new() },
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
        details,
        heads,
        next,
        error,
        builder,
        may_edit: desk.may(Right::EditComputers),
        may_set: desk.may(Right::EditSettings),
        may_wake: desk.may(Right::WakeComputers),
        may_remove: desk.may(Right::RemoveComputers),
        may_group: desk.may(Right::EditGroups),
        may_deploy: desk.may(Right::Deploy),
        state,
    };
    if page.error.is_some() || !page.builder.is_right() { call.again(&page) } else { call.page(&page) }
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
    let every = columns::every(call)?;
    let ticked = every.iter().map(|column| column.word.as_str());
    let ticked: Vec<&str> = ticked.filter(|word| call.form.all("column").any(|column| column == *word)).collect();
    call.desk().set_columns(LIST, &ticked.join(","))?;
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
