//! `/fields`: the administrators' own fields, and tables of their values.

use askama::Template;

use super::call::{Call, Fields, Page, View, get, is_about, post};
use super::shell::Shell;
use super::show::{self, Html, escape};
use super::toast::Undo;
use crate::model::access::Right;
use crate::model::own_field::FieldKind;
use crate::service::desk::{Desk, Kind, Refusal};
use crate::service::fields::{Edit, Summary};
use crate::service::table::{Line, Outcome, Plan, Table};
use crate::store::fields::Field;

/// Lines of a table that are shown; wrong ones first.
const LINES: usize = 200;

pub(super) fn pages() -> Vec<Page> {
    let (see, edit) = (Right::SeeComputers, Right::EditComputers);
    vec![
        get("/fields", see, list),
        post("/fields", edit, create),
        get("/fields/import", edit, import),
        post("/fields/import", edit, take),
        get("/fields/{id}", see, one),
        post("/fields/{id}", edit, change),
        post("/fields/{id}/delete", edit, delete),
        post("/fields/{id}/restore", edit, restore),
        post("/fields/{id}/move", edit, shift),
    ]
}

/// The control by which a value of a kind is given.
pub(super) fn input(kind: &FieldKind, name: &str, id: &str, value: &str) -> Html {
    let common = format!("id=\"{}\" name=\"{}\"", escape(id), escape(name));
    let choices = kind.choices();
    if !choices.is_empty() {
        let option = |choice: &str, title: &str| {
            let selected = if choice == value { " selected" } else { "" };
            format!("<option value=\"{}\"{selected}>{}</option>", escape(choice), escape(title))
        };
        let all: String = choices.iter().map(|choice| option(choice, choice)).collect();
        return Html(format!("<select {common} class=\"medium\">{}{all}</select>", option("", "–")));
    }
    let how = match kind {
        FieldKind::Date => "type=\"date\" class=\"short\"",
        FieldKind::Number => "inputmode=\"decimal\" class=\"short\" maxlength=\"255\"",
        _ => "class=\"medium\" maxlength=\"255\"",
    };
    Html(format!("<input {common} {how} value=\"{}\">", escape(value)))
}

fn may_edit(desk: &Desk) -> bool {
    desk.may(Right::EditComputers) && desk.actor().scope.computers.is_none()
}

fn address(field: &Field) -> String {
    format!("/fields/{}", field.id)
}

/// The field of the address, as services take it.
fn meant(call: &Call) -> String {
    format!("fields_{}", call.path.get("id"))
}

/// A field as it was typed.
struct Typed {
    name: String,
    kind: String,
    choices: String,
    initial: String,
}

impl Typed {
    fn of(form: &Fields) -> Self {
        Self {
            name: form.get("name").to_owned(),
            kind: form.some("kind").unwrap_or("text").to_owned(),
            choices: form.raw("choices").to_owned(),
            initial: form.get("initial").to_owned(),
        }
    }

    fn kind(&self) -> Result<FieldKind, Refusal> {
        let kind = FieldKind::new(&self.kind, self.choices.lines());
        kind.map_err(|error| Refusal::invalid(error.to_string()).about("choices"))
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn kinds(&self) -> [(&'static str, &'static str); 5] {
        FieldKind::WORDS
    }
}

impl From<&Field> for Typed {
    fn from(field: &Field) -> Self {
        let choices = if let FieldKind::List(choices) = &field.kind { choices.join("\n") } else { String::new() };
        Self { name: field.name.clone(), kind: field.kind.word().to_owned(), choices, initial: field.initial.clone() }
    }
}

#[derive(Template)]
#[template(path = "fields.html")]
struct List {
    shell: Shell,
    fields: Vec<Summary>,
    may_edit: bool,
    may_import: bool,
    typed: Typed,
    error: Option<Refusal>,
}

impl List {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        let desk = call.desk();
        Ok(Self {
            shell: call.shell("Own fields", "/fields"),
            fields: desk.fields()?,
            may_edit: may_edit(desk),
            may_import: desk.may(Right::EditComputers),
            typed: Typed::of(&call.form),
            error,
        })
    }

    fn wrong(&self, field: &str) -> bool {
        is_about(self.error.as_ref(), field)
    }
}

fn is_input(refusal: &Refusal) -> bool {
    matches!(refusal.kind, Kind::Invalid | Kind::Conflict)
}

fn list(call: &Call) -> Result<View, Refusal> {
    call.page(&List::of(call, None)?)
}

fn create(call: &Call) -> Result<View, Refusal> {
    call.desk().allow_all_computers()?;
    let typed = Typed::of(&call.form);
    let made = typed.kind().and_then(|kind| call.desk().create_field(&typed.name, kind, &typed.initial));
    match made {
        Ok(field) => View::undoable(
            "/fields",
            format!("Every computer has the field {} now.", field.name),
            Undo::new(format!("{}/delete", address(&field))),
        ),
        Err(refusal) if is_input(&refusal) => call.again(&List::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "field.html")]
struct One {
    shell: Shell,
    summary: Summary,
    base: String,
    typed: Typed,
    may_edit: bool,
    error: Option<Refusal>,
}

impl One {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        let summary = call.desk().field(&meant(call))?;
        Ok(Self {
            shell: call.shell(summary.field.name.clone(), "/fields"),
            base: address(&summary.field),
            typed: if error.is_some() { Typed::of(&call.form) } else { Typed::from(&summary.field) },
            may_edit: may_edit(call.desk()),
            summary,
            error,
        })
    }

    fn wrong(&self, field: &str) -> bool {
        is_about(self.error.as_ref(), field)
    }
}

fn one(call: &Call) -> Result<View, Refusal> {
    call.page(&One::of(call, None)?)
}

fn change(call: &Call) -> Result<View, Refusal> {
    call.desk().allow_all_computers()?;
    let typed = Typed::of(&call.form);
    let changed = typed.kind().and_then(|kind| {
        let edit = Edit { name: Some(typed.name.clone()), kind: Some(kind), initial: Some(typed.initial.clone()) };
        call.desk().edit_field(&meant(call), edit)
    });
    match changed {
        Ok(field) => View::done("/fields", format!("{} was saved.", field.name)),
        Err(refusal) if is_input(&refusal) => call.again(&One::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

fn delete(call: &Call) -> Result<View, Refusal> {
    match call.desk().delete_field(&meant(call)) {
        Ok(gone) => {
            let whom = show::count(gone.computers, "computer");
            let text =
                format!("{} was deleted, with what it said of {whom}. That is kept for a week.", gone.field.name);
            View::undoable("/fields", text, Undo::new(format!("{}/restore", address(&gone.field))))
        }
        Err(refusal) if is_input(&refusal) => call.again(&List::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

fn restore(call: &Call) -> Result<View, Refusal> {
    call.desk().allow_all_computers()?;
    match call.desk().restore_field(&meant(call)) {
        Ok(field) => View::done("/fields", format!("{} is back, with what it said.", field.name)),
        Err(refusal) if is_input(&refusal) => call.again(&List::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

/// One place up or down.
fn shift(call: &Call) -> Result<View, Refusal> {
    call.desk().allow_all_computers()?;
    let mut order: Vec<String> = call.desk().fields()?.iter().map(|one| one.field.wire_name()).collect();
    let wanted = meant(call);
    let at = order.iter().position(|name| *name == wanted);
    let at = at.ok_or_else(|| Refusal::not_found("there is no such field"))?;
    let to = if call.form.get("to") == "up" { at.saturating_sub(1) } else { (at + 1).min(order.len() - 1) };
    order.swap(at, to);
    call.desk().arrange_fields(&order)?;
    View::to("/fields")
}

#[derive(Template)]
#[template(path = "fields-import.html")]
struct Import {
    shell: Shell,
    fields: Vec<Summary>,
    csv: String,
    clear: bool,
    plan: Option<Plan>,
    error: Option<Refusal>,
}

impl Import {
    fn of(call: &Call, plan: Option<Plan>, error: Option<Refusal>) -> Result<Self, Refusal> {
        Ok(Self {
            shell: call.shell("Import values", "/fields"),
            fields: call.desk().fields()?,
            csv: call.form.raw("csv").to_owned(),
            clear: call.form.is_on("clear"),
            plan,
            error,
        })
    }
}

/// The lines that matter most: wrong ones, then those that change something.
fn first_lines(plan: &Plan) -> Vec<&Line> {
    let of = |wanted: fn(&Outcome) -> bool| plan.lines.iter().filter(move |line| wanted(&line.outcome));
    let wrong = of(|outcome| matches!(outcome, Outcome::Wrong(_)));
    let changes = of(|outcome| matches!(outcome, Outcome::Changes(_)));
    let same = of(|outcome| matches!(outcome, Outcome::Same));
    wrong.chain(changes).chain(same).take(LINES).collect()
}

fn import(call: &Call) -> Result<View, Refusal> {
    call.page(&Import::of(call, None, None)?)
}

fn take(call: &Call) -> Result<View, Refusal> {
    let table = Table { text: call.form.raw("csv").to_owned(), clear: call.form.is_on("clear") };
    if call.form.get("do") != "import" {
        return match call.desk().plan_import(&table) {
            Ok(plan) => call.page(&Import::of(call, Some(plan), None)?),
            Err(refusal) if is_input(&refusal) => call.again(&Import::of(call, None, Some(refusal))?),
            Err(refusal) => Err(refusal),
        };
    }
    match call.desk().import(&table, call.form.is_on("leave_out")) {
        Ok((plan, undo)) => {
            let text = format!(
                "{} of {} were written.",
                show::count(plan.values() as u64, "value"),
                show::count(plan.computers() as u64, "computer")
            );
            match undo {
                Some(id) => View::undoable("/computers", text, Undo::new(format!("/changes/{id}/undo"))),
                None => View::done("/computers", "Nothing was written: everything is so already."),
            }
        }
        Err(refusal) if is_input(&refusal) => {
            let plan = call.desk().plan_import(&table).ok();
            call.again(&Import::of(call, plan, Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_fits_its_kind_and_holds_no_markup() {
        let list = FieldKind::new("list", ["<b>", "x"]).expect("a list");
        let html = input(&list, "value", "v", "<b>").0;
        assert!(html.contains("<option value=\"&#60;b&#62;\" selected>&#60;b&#62;</option>"), "{html}");
        assert!(input(&FieldKind::YesNo, "value", "v", "").0.contains("<option value=\"yes\">"));
        assert!(input(&FieldKind::Date, "value", "v", "2026-03-05").0.contains("type=\"date\""));
        let text = input(&FieldKind::Text, "value", "v", "\"><script>").0;
        assert!(!text.contains("<script>"), "{text}");
    }
}
