//! What is done to many computers of the list: asked first, with their number, and undone where that can be done.

use std::fmt::Write as _;

use askama::Template;

use super::super::super::visit::escaped;
use super::super::call::{Call, View, is_about};
use super::super::fields::input;
use super::super::shell::Shell;
use super::super::show::{self, Html};
use super::super::toast::Undo;
use super::{State, form};
use crate::model::DeviceId;
use crate::model::settings::SettingKey;
use crate::service::desk::computers::{Bulk, BulkDone, Chosen, ManyPreview};
use crate::service::desk::{Kind, Refusal};
use crate::service::settings::of_computers;
use crate::store::fields::Field;

/// Values that a page counts one by one.
const VALUES: usize = 12;
/// Computers that it names.
const NAMED: usize = 20;

/// What the page asks before it does something.
enum Asks {
    /// Nothing more.
    Nothing,
    /// A tag.
    Tag,
    /// A group's name.
    Group(Vec<String>),
    /// The name of a new group, and of which kind.
    NewGroup { dynamic: bool },
    /// Which field.
    Fields(Vec<Field>),
    /// A value for it.
    Field(Field),
    /// Which setting.
    Settings,
    /// A value for it.
    Setting(SettingKey),
    /// Nothing, but it says who can be woken.
    Wake,
    /// The word that destroys.
    Typed,
}

#[derive(Template)]
#[template(path = "computers-selected.html")]
struct Selected {
    shell: Shell,
    action: String,
    title: String,
    lead: &'static str,
    button: String,
    asks: Asks,
    preview: ManyPreview,
    names: Vec<String>,
    ids: Vec<String>,
    state: Option<State>,
    value: String,
    error: Option<Refusal>,
}

impl Selected {
    fn count(&self) -> u64 {
        self.preview.computers as u64
    }

    /// Does pressing the button do it? Else it asks on.
    fn is_last(&self) -> bool {
        !matches!(self.asks, Asks::Fields(_) | Asks::Settings)
    }

    fn wrong(&self, field: &str) -> bool {
        is_about(self.error.as_ref(), field)
    }

    fn input(&self, field: &Field) -> Html {
        input(&field.kind, "value", "value", &self.value)
    }

    /// The most frequent values that are there.
    fn present(&self) -> &[(String, usize)] {
        &self.preview.present[..self.preview.present.len().min(VALUES)]
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn keys(&self) -> Vec<SettingKey> {
        of_computers().collect()
    }
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

pub(super) fn selected(call: &Call) -> Result<View, Refusal> {
    let action = call.path.get("action").to_owned();
    let (chosen, state) = chosen(call)?;
    match action.as_str() {
        "deploy" => return to_deployment(&chosen),
        "lock" => return lock(call, &chosen),
        "new-group" => return new_group(call, &chosen, state),
        "field" if call.form.some("field").is_none() => return which_field(call, &chosen, state),
        "setting" if call.form.some("key").is_none() => {
            let text = ("Set a setting of", "Agents are told at their next contact. Which one?", "Go on".to_owned());
            return ask(call, &chosen, state, text, Asks::Settings, None);
        }
        _ => {}
    }
    let bulk = bulk(call, &action)?;
    let mut error = None;
    if call.form.is_on("sure") {
        if matches!(bulk, Bulk::Delete) && call.form.get("typed") != "delete" {
            error = Some(Refusal::invalid("type the word delete: what is erased does not come back").about("typed"));
        } else {
            match call.desk().change_many(&chosen, &bulk) {
                Ok(done) => return done_with(&bulk, &done, state.as_ref()),
                Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::NotFound) => error = Some(refusal),
                Err(refusal) => return Err(refusal),
            }
        }
    }
    let asks = match &bulk {
        Bulk::Tag(_) => Asks::Tag,
        Bulk::Field { field, .. } => Asks::Field(call.desk().field(field)?.field),
        Bulk::Setting { key, .. } => Asks::Setting(*key),
        Bulk::Delete => Asks::Typed,
        Bulk::Include(_) => Asks::Group(call.desk().names_of_groups()?),
        Bulk::Wake => Asks::Wake,
        Bulk::Archive | Bulk::Restore => Asks::Nothing,
    };
    let (verb, lead, end) = words(&bulk, &asks);
    ask(call, &chosen, state, (verb, lead, end), asks, error)
}

fn bulk(call: &Call, action: &str) -> Result<Bulk, Refusal> {
    let value = call.form.get("value").to_owned();
    Ok(match action {
        "tag" => Bulk::Tag(value),
        "field" => Bulk::Field { field: call.form.get("field").to_owned(), value },
        "setting" => {
            // Blank is nothing of their own.
            Bulk::Setting { key: call.form.parse("key")?, value: Some(value).filter(|value| !value.is_empty()) }
        }
        "archive" => Bulk::Archive,
        "restore" => Bulk::Restore,
        "delete" => Bulk::Delete,
        "group" => Bulk::Include(value),
        "wake" => Bulk::Wake,
        _ => return Err(Refusal::not_found("there is no such change of computers")),
    })
}

/// The page that asks: the verb with the number of computers, what it means, and the button's words.
fn ask(
    call: &Call,
    chosen: &Chosen,
    state: Option<State>,
    (verb, lead, button): (&'static str, &'static str, String),
    asks: Asks,
    error: Option<Refusal>,
) -> Result<View, Refusal> {
    let desk = call.desk();
    let preview = match &asks {
        Asks::Tag => desk.preview_many(chosen, &Bulk::Tag(String::new()))?,
        Asks::Field(field) => {
            desk.preview_many(chosen, &Bulk::Field { field: field.wire_name(), value: String::new() })?
        }
        Asks::Wake => desk.preview_many(chosen, &Bulk::Wake)?,
        Asks::Setting(key) => desk.preview_many(chosen, &Bulk::Setting { key: *key, value: None })?,
        _ => ManyPreview { computers: desk.chosen(chosen)?.len(), ..ManyPreview::default() },
    };
    let ids = match chosen {
        Chosen::Named(_) => desk.chosen(chosen)?,
        Chosen::All(_) => desk.first_chosen(chosen, NAMED)?,
    };
    let title = format!("{verb} {}", show::count(preview.computers as u64, "computer"));
    let page = Selected {
        shell: call.shell(title.clone(), "/computers"),
        action: call.path.get("action").to_owned(),
        title,
        lead,
        button,
        asks,
        names: ids.iter().take(NAMED).map(ToString::to_string).collect(),
        ids: if state.is_some() { Vec::new() } else { ids.iter().map(ToString::to_string).collect() },
        preview,
        state,
        value: call.form.get("value").to_owned(),
        error,
    };
    if page.error.is_some() { call.again(&page) } else { call.page(&page) }
}

fn which_field(call: &Call, chosen: &Chosen, state: Option<State>) -> Result<View, Refusal> {
    let fields = call.desk().fields()?.into_iter().map(|summary| summary.field).collect();
    let text = ("Write a field of", "One value for all of them. Which field?", "Go on".to_owned());
    ask(call, chosen, state, text, Asks::Fields(fields), None)
}

fn words(bulk: &Bulk, asks: &Asks) -> (&'static str, &'static str, String) {
    match (bulk, asks) {
        (Bulk::Tag(_), _) => (
            "Tag",
            "The server's tag goes before what agents say: they are told it with their next inventory.",
            "Tag them".to_owned(),
        ),
        (Bulk::Field { .. }, Asks::Field(field)) => (
            "Write a field of",
            "All of them get this value; agents are told it with their next inventory. It can be undone.",
            format!("Write {}", field.name),
        ),
        (Bulk::Field { .. }, _) => ("Write a field of", "", "Write it".to_owned()),
        (Bulk::Setting { key, .. }, _) => (
            "Set a setting of",
            "A value of their own goes before those of their groups and of the server, as the setting's page explains. \
             Agents are told at their next contact. It can be undone.",
            format!("Set {}", key.info().name),
        ),
        (Bulk::Archive, _) => (
            "Archive",
            "They are offered nothing and listed nowhere until they send an inventory or are restored. Nothing is lost.",
            "Archive them".to_owned(),
        ),
        (Bulk::Restore, _) => {
            ("Restore", "They are listed again and offered what waits for them.", "Restore them".to_owned())
        }
        (Bulk::Delete, _) => (
            "Delete",
            "Their inventories, jobs, notes and settings are erased and do not come back. What was said about packages \
             stays in the event log. One that still has an agent comes back as a new computer.",
            "Delete them for good".to_owned(),
        ),
        (Bulk::Wake, _) => (
            "Wake",
            "A magic packet is sent to the network cards of each, some computers a second, so that not all of them start at \
             once. Those that are on are not disturbed. Each computer's page says whether it came.",
            "Wake them".to_owned(),
        ),
        (Bulk::Include(_), _) => (
            "Add to a group:",
            "They are members whatever the group's query says, and get what is deployed to it.",
            "Add them".to_owned(),
        ),
    }
}

/// Where it goes on, with a sentence and, where there is one, the way back.
fn done_with(bulk: &Bulk, done: &BulkDone, state: Option<&State>) -> Result<View, Refusal> {
    let mut text = format!("{}: {}.", show::count(done.changed as u64, "computer"), past(bulk));
    if done.left > 0 {
        let _ = write!(text, " {} left as they were.", show::number(done.left as u64));
    }
    if done.unable > 0 {
        text.push_str(&unable(done));
    }
    let address = match (bulk, state) {
        (Bulk::Archive | Bulk::Delete, _) => "/computers?archived=1".to_owned(),
        (Bulk::Tag(_) | Bulk::Field { .. } | Bulk::Setting { .. } | Bulk::Wake, Some(state)) => {
            format!("/computers?{}", state.here())
        }
        _ => "/computers".to_owned(),
    };
    match done.undo {
        Some(id) => View::undoable(address, text, Undo::new(format!("/changes/{id}/undo"))),
        None => View::done(address, text),
    }
}

/// Who could not be woken, by name.
fn unable(done: &BulkDone) -> String {
    const NAMED: usize = 5;
    let names: Vec<&str> = done.named.iter().take(NAMED).map(DeviceId::host).collect();
    let more = if done.unable > NAMED { ", …" } else { "" };
    let count = show::count(done.unable as u64, "computer");
    format!(" {count} cannot be woken, because no MAC address of a card is known: {}{more}.", names.join(", "))
}

fn past(bulk: &Bulk) -> String {
    match bulk {
        Bulk::Tag(tag) if tag.is_empty() => "tag taken back".to_owned(),
        Bulk::Tag(tag) => format!("tagged {tag}"),
        Bulk::Field { value, .. } if value.is_empty() => "value taken back".to_owned(),
        Bulk::Field { value, .. } => format!("{value} was written"),
        Bulk::Setting { key, value: Some(value) } => format!("{} is {value} there", key.info().name),
        Bulk::Setting { key, value: None } => format!("{} is not their own any more", key.info().name),
        Bulk::Archive => "archived, and to be restored from here".to_owned(),
        Bulk::Restore => "restored".to_owned(),
        Bulk::Delete => "deleted".to_owned(),
        Bulk::Include(group) => format!("added to {group}"),
        Bulk::Wake => "woken, one after the other".to_owned(),
    }
}

/// Takes a change of many back.
pub(super) fn undo(call: &Call) -> Result<View, Refusal> {
    let id = call.path.parse::<i64>("id").map_err(|_| Refusal::not_found("there is no such change"))?;
    let done = call.desk().undo_many(id)?;
    let mut text = format!("Taken back: {}.", show::count(done.changed as u64, "value"));
    if done.left > 0 {
        let _ = write!(text, " {} stay: they were changed since.", show::number(done.left as u64));
    }
    View::done("/computers", text)
}

/// The page of a new deployment takes a query, so the ticked ones become one.
fn to_deployment(chosen: &Chosen) -> Result<View, Refusal> {
    let text = match chosen {
        Chosen::All(asked) if asked.query.trim().is_empty() => return View::to("/deployments/new?all=1"),
        chosen => query_of(chosen),
    };
    View::to(format!("/deployments/new?where={}", escaped(&text)))
}

/// A query for those who are meant.
fn query_of(chosen: &Chosen) -> String {
    match chosen {
        Chosen::All(asked) => asked.query.trim().to_owned(),
        Chosen::Named(ids) => form::any_of(ids),
    }
}

/// Shows only these, everywhere, until somebody ends it.
fn lock(call: &Call, chosen: &Chosen) -> Result<View, Refusal> {
    let session = call.visit.visitor.session.as_ref();
    let session = session.ok_or_else(|| Refusal::invalid("only a session of the console can be locked"))?;
    // Whoever is ticked has to be there for the actor.
    call.desk().first_chosen(chosen, 1)?;
    call.desk().lock_session(session, &query_of(chosen))?;
    View::done("/computers", "Only these computers are shown from now on, on every page.")
}

/// Ends that.
pub(super) fn unlock(call: &Call) -> Result<View, Refusal> {
    if let Some(session) = &call.visit.visitor.session {
        call.desk().unlock_session(session)?;
    }
    View::done("/computers", "Every computer is shown again.")
}

/// A group of them: of the query, or of those who are found now.
fn new_group(call: &Call, chosen: &Chosen, state: Option<State>) -> Result<View, Refusal> {
    let desk = call.desk();
    let can_ask = matches!(chosen, Chosen::All(asked) if !asked.query.trim().is_empty() && !asked.archived);
    let mut error = None;
    if call.form.is_on("sure") {
        let dynamic = can_ask && call.form.get("kind") != "static";
        match desk.group_of(call.form.get("value"), chosen, dynamic) {
            Ok(made) => {
                let text = format!("{} has {}.", made.name, show::count(made.members as u64, "member"));
                return View::done(format!("/groups/{}", escaped(&made.name)), text);
            }
            Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict) => error = Some(refusal),
            Err(refusal) => return Err(refusal),
        }
    }
    let lead = "A group gets deployments and settings of its own, and whoever joins it later gets them, too.";
    let text = ("Make a group of", lead, "Make the group".to_owned());
    ask(call, chosen, state, text, Asks::NewGroup { dynamic: can_ask }, error)
}
