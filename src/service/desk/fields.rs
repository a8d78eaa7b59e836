//! The administrators' own fields, and what tables say of computers.
//!
//! A field is every computer's, so only an actor for all of them makes, changes and deletes one; values are written by
//! whoever has the computers.

use serde_json::{Value, json};

use super::super::fields::{self, Edit, Summary};
use super::super::table::{self, Plan, Table};
use super::{Change, Desk, Refusal};
use crate::model::access::Right;
use crate::model::own_field::FieldKind;
use crate::store::fields::Field;

fn view(field: &Field) -> Value {
    json!({
        "name": field.name,
        "kind": field.kind.word(),
        "choices": field.kind.choices(),
        "initial": field.initial,
    })
}

impl Desk {
    /// Every field in its order.
    pub fn fields(&self) -> Result<Vec<Summary>, Refusal> {
        Ok(fields::list(self.reading(Right::SeeComputers)?)?)
    }

    /// One field, by its name or number.
    pub fn field(&self, field: &str) -> Result<Summary, Refusal> {
        Ok(fields::find(self.reading(Right::SeeComputers)?, field)?)
    }

    /// Asked before anything is looked for: whether there is such a field comes after.
    fn allow_fields(&self) -> Result<(), Refusal> {
        self.allow(Right::EditComputers)?;
        self.allow_all_computers()
    }

    fn changing_fields(&self, change: Change) -> Result<super::super::App, Refusal> {
        self.allow_fields()?;
        self.changing(Right::EditComputers, change)
    }

    /// Makes a field, behind the others.
    pub fn create_field(&self, name: &str, kind: FieldKind, initial: &str) -> Result<Field, Refusal> {
        let wanted = Field { id: 0, name: name.trim().to_owned(), kind: kind.clone(), initial: initial.to_owned() };
        let change = Change::new("field add", format!("field {}", wanted.name)).after(view(&wanted));
        fields::create(&self.changing_fields(change)?, name, kind, initial).map_err(about)
    }

    /// Changes what a field is.
    pub fn edit_field(&self, field: &str, edit: Edit) -> Result<Field, Refusal> {
        self.allow_fields()?;
        let before = self.field(field)?.field;
        let wanted = Field {
            name: edit.name.clone().unwrap_or_else(|| before.name.clone()),
            kind: edit.kind.clone().unwrap_or_else(|| before.kind.clone()),
            initial: edit.initial.clone().unwrap_or_else(|| before.initial.clone()),
            ..before.clone()
        };
        let change =
            Change::new("field edit", format!("field {}", before.name)).before(view(&before)).after(view(&wanted));
        Ok(fields::edit(&self.changing_fields(change)?, &before.wire_name(), edit).map_err(about)?.1)
    }

    /// Puts the fields into an order.
    pub fn arrange_fields(&self, order: &[String]) -> Result<(), Refusal> {
        self.allow_fields()?;
        let names = |fields: Vec<Summary>| fields.into_iter().map(|one| one.field.name).collect::<Vec<_>>();
        let change = Change::new("field arrange", "fields").before(json!(names(self.fields()?))).after(json!(order));
        fields::arrange(&self.changing_fields(change)?, order).map_err(about)
    }

    /// Deletes a field; what it said can be taken back for a week.
    pub fn delete_field(&self, field: &str) -> Result<Summary, Refusal> {
        self.allow_fields()?;
        let known = self.field(field)?;
        let change = Change::new("field delete", format!("field {}", known.field.name))
            .before(json!({ "field": view(&known.field), "computers": known.computers }));
        fields::delete(&self.changing_fields(change)?, &known.field.wire_name()).map_err(about)
    }

    /// Takes a field back that was deleted, with everything it said.
    pub fn restore_field(&self, field: &str) -> Result<Field, Refusal> {
        let change = Change::new("field restore", format!("field {field}"));
        fields::restore(&self.changing_fields(change)?, field).map_err(about)
    }

    /// What a table would change, line by line.
    pub fn plan_import(&self, table: &Table) -> Result<Plan, Refusal> {
        let app = self.reading(Right::SeeComputers)?;
        self.allow(Right::EditComputers)?;
        table::plan(app, table, self.actor.scope.computers.clone()).map_err(|error| Refusal::from(error).about("csv"))
    }

    /// Writes what a table says, in one write. Gives what was done, and the number to take it back by.
    pub fn import(&self, table: &Table, leave_out_wrong: bool) -> Result<(Plan, Option<i64>), Refusal> {
        self.allow(Right::SeeComputers)?;
        let lines = table.text.lines().count().saturating_sub(1);
        let change = Change::new("computer import", format!("{lines} lines"))
            .after(json!({ "empty_cells_clear": table.clear, "wrong_lines_left_out": leave_out_wrong }));
        let app = self.changing(Right::EditComputers, change)?;
        let scope = self.actor.scope.computers.clone();
        table::import(&app, table, scope, leave_out_wrong, &self.actor.label())
            .map_err(|error| Refusal::from(error).about("csv"))
    }
}

/// Which part of a form was wrong.
fn about(error: fields::OwnFieldError) -> Refusal {
    use fields::OwnFieldError as Error;
    let field = match &error {
        Error::Name(_) | Error::Reserved(_) | Error::Exists(_) => Some("name"),
        Error::Kind(_) => Some("choices"),
        Error::Values { .. } => Some("kind"),
        Error::Initial(_) => Some("initial"),
        Error::Order(_) => Some("order"),
        _ => None,
    };
    let refusal = Refusal::from(error);
    match field {
        Some(field) => refusal.about(field),
        None => refusal,
    }
}
