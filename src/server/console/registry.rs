//! `/registry`: what Windows computers are asked of their registry, and what they found.

use askama::Template;

use super::super::visit::escaped;
use super::call::{Call, Fields, Page, View, get, post};
use super::shell::Shell;
use super::show;
use crate::model::access::Right;
use crate::model::settings::SettingKey;
use crate::model::{ComputerId, RegistryQuery, RegistryTree};
use crate::service::desk::{Desk, Kind, Refusal};
use crate::store::registry::{Finding, Place, Wanted};

/// Findings of a page.
const ROWS: usize = 50;
/// Values that are counted.
const VALUES: usize = 12;

pub(super) fn pages() -> Vec<Page> {
    let (see, edit) = (Right::SeeComputers, Right::EditSettings);
    vec![
        get("/registry", see, list),
        post("/registry", edit, add),
        get("/registry/{name}", see, one),
        post("/registry/{name}", edit, change),
        post("/registry/{name}/delete", edit, delete),
    ]
}

pub(super) fn address(name: &str) -> String {
    format!("/registry/{}", escaped(name))
}

fn may_edit(desk: &Desk) -> bool {
    desk.may(Right::EditSettings) && desk.actor().scope.computers.is_none()
}

/// A question as it was typed.
struct Typed {
    name: String,
    tree: String,
    key: String,
    value: String,
}

impl Typed {
    fn of(form: &Fields) -> Self {
        let text = |name| form.get(name).to_owned();
        Self { name: text("name"), tree: text("tree"), key: text("key"), value: text("value") }
    }

    /// What a new question begins with.
    fn new() -> Self {
        let nothing = String::new;
        Self { name: nothing(), tree: "HKLM".to_owned(), key: nothing(), value: nothing() }
    }

    /// The value that is asked for: all of the key if none is named.
    fn value(&self) -> &str {
        if self.value.is_empty() { RegistryQuery::ALL_VALUES } else { &self.value }
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn trees(&self) -> [RegistryTree; 5] {
        RegistryTree::ALL
    }
}

impl From<&RegistryQuery> for Typed {
    fn from(question: &RegistryQuery) -> Self {
        Self {
            name: question.name().to_owned(),
            tree: question.tree().to_string(),
            key: question.key().to_owned(),
            value: question.value().to_owned(),
        }
    }
}

fn is_input(refusal: &Refusal) -> bool {
    matches!(refusal.kind, Kind::Invalid | Kind::Conflict)
}

#[derive(Template)]
#[template(path = "registry.html")]
struct List {
    shell: Shell,
    questions: Vec<RegistryQuery>,
    /// Are agents asked at all? Nothing is said to whoever may not see settings.
    off: bool,
    may_edit: bool,
    may_see_findings: bool,
    typed: Typed,
    error: Option<Refusal>,
}

impl List {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        let desk = call.desk();
        let off = desk.may(Right::SeeSettings) && desk.setting(SettingKey::Registry)?.explanation.value == 0;
        Ok(Self {
            shell: call.shell("Registry", "/registry"),
            questions: desk.registry_questions()?,
            off,
            may_edit: may_edit(desk),
            may_see_findings: desk.actor().scope.computers.is_none(),
            typed: if error.is_some() { Typed::of(&call.form) } else { Typed::new() },
            error,
        })
    }
}

fn list(call: &Call) -> Result<View, Refusal> {
    call.page(&List::of(call, None)?)
}

fn add(call: &Call) -> Result<View, Refusal> {
    call.desk().allow_all_computers()?;
    let typed = Typed::of(&call.form);
    let question =
        call.form.parse("tree").and_then(|tree| Ok(RegistryQuery::new(&typed.name, tree, &typed.key, typed.value())?));
    match question.and_then(|question| call.desk().add_registry_question(question)) {
        Ok(()) => View::done(address(&typed.name), "Windows computers are asked at their next contact."),
        Err(refusal) if is_input(&refusal) => call.again(&List::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "registry-one.html")]
struct One {
    shell: Shell,
    base: String,
    question: RegistryQuery,
    /// The values that were found most often, with how often.
    values: Vec<(String, u64)>,
    findings: Vec<Finding>,
    next: Option<String>,
    q: String,
    typed: Typed,
    may_edit: bool,
    error: Option<Refusal>,
}

impl One {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        let desk = call.desk();
        // Which questions there are everybody may see, what was found not.
        desk.allow_all_computers()?;
        let question = desk.registry_question(call.path.raw("name"))?;
        let name = question.name().to_owned();
        let q = call.query.get("q").to_owned();
        let after = call.query.some("after").map(place_of).transpose()?;
        let wanted = Wanted { name: name.clone(), part: q.clone(), after };
        let mut findings = desk.registry_findings(wanted, ROWS + 1)?;
        let more = findings.len() > ROWS;
        findings.truncate(ROWS);
        let base = address(&name);
        let next = findings
            .last()
            .filter(|_| more)
            .map(|last| format!("{base}?q={}&after={}", escaped(&q), place_text(&last.place)));
        Ok(Self {
            shell: call.shell(name.clone(), "/registry"),
            base,
            values: desk.registry_distribution(&name, VALUES)?,
            findings,
            next,
            q,
            typed: if error.is_some() { Typed { name, ..Typed::of(&call.form) } } else { Typed::from(&question) },
            may_edit: may_edit(desk),
            question,
            error,
        })
    }

    /// Those that found the value.
    fn with_value(&self, value: &str) -> String {
        format!("{}?q={}", self.base, escaped(value))
    }
}

/// A place as it stands in an address.
fn place_text(place: &Place) -> String {
    format!("{}.{}.{}", place.computer.0, place.position, show::hex(&place.value_key))
}

fn place_of(text: &str) -> Result<Place, Refusal> {
    let read = || {
        let (computer, rest) = text.split_once('.')?;
        let (position, value) = rest.split_once('.')?;
        Some(Place {
            computer: ComputerId(computer.parse().ok()?),
            position: position.parse().ok()?,
            value_key: String::from_utf8(show::unhex(value)?).ok()?,
        })
    };
    read().ok_or_else(|| Refusal::invalid("the list does not go on there").about("after"))
}

fn one(call: &Call) -> Result<View, Refusal> {
    call.page(&One::of(call, None)?)
}

fn change(call: &Call) -> Result<View, Refusal> {
    call.desk().allow_all_computers()?;
    let (name, typed) = (call.path.raw("name"), Typed::of(&call.form));
    let done = call
        .form
        .parse("tree")
        .and_then(|tree| call.desk().edit_registry_question(name, tree, &typed.key, typed.value()));
    match done {
        Ok(()) => View::done(address(name), "Windows computers are asked so at their next contact."),
        Err(refusal) if is_input(&refusal) => call.again(&One::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

fn delete(call: &Call) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    call.desk().remove_registry_question(name)?;
    View::done(
        "/registry",
        format!("{name} is asked no more; what was found goes with each computer's next inventory."),
    )
}
