//! `dripfeed field …`

use serde_json::{Value, json};

use super::Done;
use super::args::{FieldVerb, Place};
use super::context::{desk, open, refused};
use super::output::{Output, count, printable, say};
use crate::model::own_field::FieldKind;
use crate::service::desk::Refusal;
use crate::service::fields::Edit;
use crate::store::fields::Field;

pub(super) fn run(place: &Place, verb: FieldVerb, output: &mut Output) -> Done {
    let desk = desk(place, open(place)?.app);
    match verb {
        FieldVerb::List { json } => {
            let all = desk.fields().map_err(refused)?;
            if json {
                let view = |one: &crate::service::fields::Summary| {
                    let mut view = view(&one.field);
                    view["computers"] = json!(one.computers);
                    view
                };
                return output.json(&all.iter().map(view).collect::<Vec<Value>>());
            }
            if all.is_empty() {
                say("no fields yet: `dripfeed field add NAME` makes one");
                return Ok(());
            }
            let rows: Vec<[String; 5]> = all
                .iter()
                .map(|one| {
                    let choices = one.field.kind.choices().join(", ");
                    [
                        printable(&one.field.name),
                        one.field.kind.word().to_owned(),
                        printable(&choices),
                        printable(&one.field.initial),
                        one.computers.to_string(),
                    ]
                })
                .collect();
            output.table(["NAME", "KIND", "CHOICES", "NEW COMPUTERS HAVE", "COMPUTERS"], &rows)
        }
        FieldVerb::Add { name, kind, choice, initial, json } => {
            let kind = kind_of(&kind, &choice).map_err(refused)?;
            let made = desk.create_field(&name, kind, &initial).map_err(refused)?;
            told(&made, "every computer has the field", json, output)
        }
        FieldVerb::Edit { field, name, kind, choice, initial, json } => {
            // Choices alone make a list.
            let kind = kind.or_else(|| (!choice.is_empty()).then(|| "list".to_owned()));
            let kind = kind.map(|kind| kind_of(&kind, &choice)).transpose().map_err(refused)?;
            let changed = desk.edit_field(&field, Edit { name, kind, initial }).map_err(refused)?;
            told(&changed, "changed the field", json, output)
        }
        FieldVerb::Arrange { fields, json } => {
            desk.arrange_fields(&fields).map_err(refused)?;
            if json {
                return output.json(&json!({ "fields": fields }));
            }
            output.line("the fields stand in this order")
        }
        FieldVerb::Delete { field, json } => {
            let gone = desk.delete_field(&field).map_err(refused)?;
            if json {
                return output
                    .json(&json!({ "id": gone.field.id, "name": gone.field.name, "computers": gone.computers }));
            }
            output.line(format_args!(
                "deleted the field {0}, with what it said of {1}; `dripfeed field restore {0}` takes it back for a week",
                printable(&gone.field.name),
                count(gone.computers, "computer"),
            ))
        }
        FieldVerb::Restore { field, json } => {
            let back = desk.restore_field(&field).map_err(refused)?;
            told(&back, "took back the field", json, output)
        }
    }
}

fn kind_of(word: &str, choices: &[String]) -> Result<FieldKind, Refusal> {
    FieldKind::new(word, choices).map_err(|error| Refusal::invalid(error.to_string()))
}

fn view(field: &Field) -> Value {
    json!({
        "id": field.id,
        "name": field.name,
        "wire_name": field.wire_name(),
        "kind": field.kind.word(),
        "choices": field.kind.choices(),
        "initial": field.initial,
    })
}

fn told(field: &Field, done: &str, json: bool, output: &mut Output) -> Done {
    if json {
        return output.json(&view(field));
    }
    output.line(format_args!("{done} {} ({})", printable(&field.name), field.kind.word()))
}
