//! `/fields`, `/computers/import`, `/computers/counts` and `/changes`.

#![expect(clippy::needless_pass_by_value, reason = "what an operation is given is its own")]

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, operation};
use crate::model::access::Right;
use crate::model::own_field::FieldKind;
use crate::service::desk::Refusal;
use crate::service::desk::computers as desk;
use crate::service::fields::{Edit, Summary};
use crate::service::table::{Line, Outcome, Plan, Table};
use crate::store::fields::Field;

pub(super) fn operations() -> Vec<Operation> {
    use Right::{EditComputers as Edit, SeeComputers as See};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    vec![
        operation(GET, "/fields", "list_fields", "The administrators' own fields, in their order", See, list),
        operation(POST, "/fields", "create_field", "Makes a field, behind the others", Edit, create).creates(),
        operation(Method::PUT, "/field-order", "arrange_fields", "Puts the fields into an order", Edit, arrange),
        operation(GET, "/fields/{field}", "get_field", "One field", See, get),
        operation(
            Method::PATCH,
            "/fields/{field}",
            "edit_field",
            "Changes what a field is; refused where computers hold what it then may not",
            Edit,
            edit,
        ),
        operation(
            Method::DELETE,
            "/fields/{field}",
            "delete_field",
            "Deletes a field; what it said can be taken back for a week",
            Edit,
            delete,
        ),
        operation(
            POST,
            "/fields/{field}/restore",
            "restore_field",
            "Takes a field back that was deleted: by its name on the wire, or the last one of that name",
            Edit,
            restore,
        ),
        operation(
            POST,
            "/computers/import",
            "import_computers",
            "Writes tags and fields of many computers out of a table, or says line by line what it would do",
            Edit,
            import,
        ),
        operation(
            GET,
            "/computers/counts",
            "count_computers",
            "How many computers have which tag, system, or value of a field",
            See,
            counts,
        ),
        operation(
            POST,
            "/changes/{change}/undo",
            "undo_change",
            "Takes a change of many computers back, as far as nobody has changed the same since",
            See,
            undo,
        ),
    ]
}

/// A field.
#[derive(JsonSchema, Serialize)]
struct FieldView {
    /// Its number.
    id: i64,
    /// Its name.
    name: String,
    /// What agents call it.
    wire_name: String,
    /// `text`, `number`, `date`, `yes-no` or `list`.
    kind: &'static str,
    /// What one may choose among; empty where everything of the kind may be written.
    choices: Vec<String>,
    /// What new computers have; empty for nothing.
    initial: String,
}

impl From<Field> for FieldView {
    fn from(field: Field) -> Self {
        Self {
            wire_name: field.wire_name(),
            kind: field.kind.word(),
            choices: field.kind.choices().into_iter().map(str::to_owned).collect(),
            id: field.id,
            name: field.name,
            initial: field.initial,
        }
    }
}

/// A field and how much it says.
#[derive(JsonSchema, Serialize)]
struct FieldLine {
    #[serde(flatten)]
    field: FieldView,
    /// Computers with a value in it.
    computers: u64,
}

impl From<Summary> for FieldLine {
    fn from(summary: Summary) -> Self {
        Self { field: summary.field.into(), computers: summary.computers }
    }
}

/// Fields.
#[derive(JsonSchema, Serialize)]
struct FieldsView {
    /// In the administrators' order.
    items: Vec<FieldLine>,
}

fn list(asked: Asked<Nothing, Nothing, Nothing>) -> Result<FieldsView, Refusal> {
    Ok(FieldsView { items: asked.desk().fields()?.into_iter().map(FieldLine::from).collect() })
}

/// What may stand in a field.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum KindWord {
    /// Any text of one line.
    #[default]
    Text,
    /// A number: 42, -7, 3.5.
    Number,
    /// A day: 2026-03-05.
    Date,
    /// `yes` or `no`.
    YesNo,
    /// One of `choices`.
    List,
}

impl KindWord {
    fn with(self, choices: &[String]) -> Result<FieldKind, Refusal> {
        let word = match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Date => "date",
            Self::YesNo => "yes-no",
            Self::List => "list",
        };
        FieldKind::new(word, choices).map_err(|error| Refusal::invalid(error.to_string()).about("choices"))
    }
}

/// A field to make.
#[derive(Deserialize, JsonSchema)]
struct NewField {
    /// 1 to 60 characters on one line.
    name: String,
    /// What may stand in it.
    #[serde(default)]
    kind: KindWord,
    /// Of a list.
    #[serde(default)]
    choices: Vec<String>,
    /// What new computers have.
    #[serde(default)]
    initial: String,
}

fn create(asked: Asked<Nothing, Nothing, NewField>) -> Result<FieldView, Refusal> {
    let NewField { name, kind, choices, initial } = &asked.body;
    Ok(asked.desk().create_field(name, kind.with(choices)?, initial)?.into())
}

/// A field.
#[derive(Deserialize, JsonSchema)]
struct ByField {
    /// Its name, its name on the wire, or its number.
    field: String,
}

fn get(asked: Asked<ByField, Nothing, Nothing>) -> Result<FieldLine, Refusal> {
    Ok(asked.desk().field(&asked.path.field)?.into())
}

/// What is to be another; what is absent stays.
#[derive(Deserialize, JsonSchema)]
struct EditBody {
    /// Another name.
    name: Option<String>,
    /// Another kind; with `choices` for a list.
    kind: Option<KindWord>,
    /// Other choices; the kind is then a list.
    choices: Option<Vec<String>>,
    /// What new computers have.
    initial: Option<String>,
}

fn edit(asked: Asked<ByField, Nothing, EditBody>) -> Result<FieldView, Refusal> {
    let EditBody { name, kind, choices, initial } = &asked.body;
    let kind = match (kind, choices) {
        (None, None) => None,
        (kind, choices) => Some(kind.unwrap_or(KindWord::List).with(choices.as_deref().unwrap_or_default())?),
    };
    let edit = Edit { name: name.clone(), kind, initial: initial.clone() };
    Ok(asked.desk().edit_field(&asked.path.field, edit)?.into())
}

fn delete(asked: Asked<ByField, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().delete_field(&asked.path.field)?;
    Ok(Nothing {})
}

/// An order.
#[derive(Deserialize, JsonSchema)]
struct OrderBody {
    /// Every field once, by name or number.
    fields: Vec<String>,
}

fn arrange(asked: Asked<Nothing, Nothing, OrderBody>) -> Result<Nothing, Refusal> {
    asked.desk().arrange_fields(&asked.body.fields)?;
    Ok(Nothing {})
}

fn restore(asked: Asked<ByField, Nothing, Nothing>) -> Result<FieldView, Refusal> {
    Ok(asked.desk().restore_field(&asked.path.field)?.into())
}

/// A table to take.
#[derive(Deserialize, JsonSchema)]
struct ImportBody {
    /// With commas, semicolons or tabs. The first line names the columns: `name`, `device_id`, `number` or `serial` says
    /// which computer a line is about, `tag` and the names of fields are written.
    csv: String,
    /// Say what would happen, and write nothing.
    #[serde(default)]
    dry_run: bool,
    /// Take values back where cells are empty? Else they stay.
    #[serde(default)]
    clear: bool,
    /// Write the rest where lines are wrong? Else nothing is written.
    #[serde(default)]
    leave_out_wrong: bool,
}

/// What a table does.
#[derive(JsonSchema, Serialize)]
struct ImportView {
    /// Values that change.
    values: usize,
    /// Computers of which some do.
    computers: usize,
    /// Lines that cannot be taken.
    wrong: usize,
    /// Columns that are passed over.
    passed_over: Vec<String>,
    /// Every line that changes something or cannot be taken.
    lines: Vec<LineView>,
    /// The number to take it back by (`/changes/{change}/undo`); absent if nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<i64>,
}

/// A line of a table.
#[derive(JsonSchema, Serialize)]
struct LineView {
    /// Where it stands, counted from 1.
    line: usize,
    /// What it calls the computer.
    computer: String,
    /// What changes.
    changes: Vec<CellView>,
    /// Why it cannot be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<String>,
}

/// A value that changes.
#[derive(JsonSchema, Serialize)]
struct CellView {
    /// The column.
    column: String,
    /// What is there.
    before: String,
    /// What comes there.
    after: String,
}

fn line_view(line: Line) -> Option<LineView> {
    let (changes, wrong) = match line.outcome {
        Outcome::Same => return None,
        Outcome::Wrong(sentence) => (Vec::new(), Some(sentence)),
        Outcome::Changes(changes) => (changes, None),
    };
    let cell = |(column, before, after)| CellView { column, before, after };
    let changes = changes.into_iter().map(cell).collect();
    Some(LineView { line: line.number, computer: line.computer, changes, wrong })
}

fn import_view(plan: Plan, undo: Option<i64>) -> ImportView {
    ImportView {
        values: plan.values(),
        computers: plan.computers(),
        wrong: plan.wrong(),
        undo,
        passed_over: plan.passed_over,
        lines: plan.lines.into_iter().filter_map(line_view).collect(),
    }
}

fn import(asked: Asked<Nothing, Nothing, ImportBody>) -> Result<ImportView, Refusal> {
    let ImportBody { csv, dry_run, clear, leave_out_wrong } = &asked.body;
    let table = Table { text: csv.clone(), clear: *clear };
    if *dry_run {
        return Ok(import_view(asked.desk().plan_import(&table)?, None));
    }
    let (plan, undo) = asked.desk().import(&table, *leave_out_wrong)?;
    Ok(import_view(plan, undo))
}

/// What is counted.
#[derive(Deserialize, JsonSchema)]
struct CountQuery {
    /// `tag`, `os`, `os_version`, `architecture`, `model`, `workgroup`, `user`, `agent`, `proven`, or a field's name or
    /// number.
    by: String,
    /// Only computers that this query asks for.
    #[serde(default, rename = "where")]
    query: Option<String>,
}

/// Counts.
#[derive(JsonSchema, Serialize)]
struct CountsView {
    /// What is counted.
    by: String,
    /// All computers that were counted.
    total: u64,
    /// The most frequent value first.
    items: Vec<CountView>,
}

/// A value and who says it.
#[derive(JsonSchema, Serialize)]
struct CountView {
    /// The value; empty for nothing.
    value: String,
    /// How many computers.
    computers: u64,
    /// The query that finds them.
    query: String,
}

fn counts(asked: Asked<Nothing, CountQuery, Nothing>) -> Result<CountsView, Refusal> {
    let wanted = desk::Asked { query: asked.query.query.clone().unwrap_or_default(), ..desk::Asked::default() };
    let tally = asked.desk().tally(&wanted, &asked.query.by)?;
    let view = |(value, computers, query)| CountView { value, computers, query };
    Ok(CountsView { by: tally.title, total: tally.total, items: tally.rows.into_iter().map(view).collect() })
}

/// A change of many computers.
#[derive(Deserialize, JsonSchema)]
struct ByChange {
    /// Its number: `undo` of what made it.
    change: i64,
}

/// What was taken back.
#[derive(JsonSchema, Serialize)]
struct UndoneView {
    /// Values that are again what they were.
    changed: usize,
    /// Values that somebody has changed since, or that are out of the scope.
    left: usize,
}

fn undo(asked: Asked<ByChange, Nothing, Nothing>) -> Result<UndoneView, Refusal> {
    let done = asked.desk().undo_many(asked.path.change)?;
    Ok(UndoneView { changed: done.changed, left: done.left })
}
