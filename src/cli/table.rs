//! `dripfeed computer import/undo/count`: values out of a table, back again, and counted.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use super::args::Place;
use super::context::{desk, refused};
use super::output::{Output, count as number_of, printable, say};
use super::{Done, Failure};
use crate::service::App;
use crate::service::desk::computers::Asked;
use crate::service::publish::Source;
use crate::service::table::{Line, Outcome, Plan, Table};

/// Bytes of a table.
const LARGEST: u64 = 64 << 20;

/// How a table is taken.
#[expect(clippy::struct_excessive_bools, reason = "options of a verb")]
pub(super) struct How {
    pub(super) dry_run: bool,
    pub(super) clear: bool,
    pub(super) leave_out_wrong: bool,
    pub(super) json: bool,
}

pub(super) fn import(place: &Place, app: App, file: &Path, how: &How, output: &mut Output) -> Done {
    let table = Table { text: text_of(place, file)?, clear: how.clear };
    let desk = desk(place, app);
    let (plan, undo) = if how.dry_run {
        (desk.plan_import(&table).map_err(refused)?, None)
    } else {
        desk.import(&table, how.leave_out_wrong).map_err(refused)?
    };
    if how.json {
        return output.json(&view(&plan, undo));
    }
    let rows: Vec<[String; 3]> = plan.lines.iter().filter_map(row).collect();
    if !rows.is_empty() {
        output.table(["LINE", "COMPUTER", "WHAT"], &rows)?;
    }
    let whom = number_of(plan.computers() as u64, "computer");
    let what = number_of(plan.values() as u64, "value");
    match (how.dry_run, undo) {
        (true, _) => output.line(format_args!("{what} of {whom} would change; nothing was written")),
        (false, Some(id)) => {
            output.line(format_args!("wrote {what} of {whom}; `dripfeed computer undo {id}` takes it back for a week"))
        }
        (false, None) => output.line("nothing was written: everything is so already"),
    }
}

/// The table's text: of the file, or of what was uploaded in its place.
fn text_of(place: &Place, file: &Path) -> Result<String, Failure> {
    let uploaded = place.served.as_ref().map(|served| served.upload.clone());
    let path = match uploaded {
        Some(Some(Source::Named { path, .. })) => path,
        Some(_) => return Err(Failure::refused("the table was not uploaded")),
        None => file.to_owned(),
    };
    let opened = std::fs::File::open(&path)
        .map_err(|error| Failure::refused(format!("the table {} cannot be read: {error}", file.display())))?;
    let mut bytes = Vec::new();
    opened.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::refused("the table has more than 64 MiB: divide it"));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::refused(format!("the table {} is not UTF-8: save it as such", file.display())))
}

/// A line as people read it; those that are so already say nothing.
fn row(line: &Line) -> Option<[String; 3]> {
    let what = match &line.outcome {
        Outcome::Same => return None,
        Outcome::Wrong(sentence) => format!("wrong: {}", printable(sentence)),
        Outcome::Changes(changes) => {
            let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { printable(text) };
            let change = |(column, before, after): &(String, String, String)| {
                format!("{}: {} -> {}", printable(column), shown(before), shown(after))
            };
            changes.iter().map(change).collect::<Vec<_>>().join("; ")
        }
    };
    Some([line.number.to_string(), printable(&line.computer), what])
}

fn view(plan: &Plan, undo: Option<i64>) -> Value {
    let line = |line: &Line| match &line.outcome {
        Outcome::Same => None,
        Outcome::Wrong(sentence) => Some(json!({ "line": line.number, "computer": line.computer, "wrong": sentence })),
        Outcome::Changes(changes) => {
            let change = |(column, before, after): &(String, String, String)| json!({ "column": column, "before": before, "after": after });
            let changes: Vec<Value> = changes.iter().map(change).collect();
            Some(json!({ "line": line.number, "computer": line.computer, "changes": changes }))
        }
    };
    json!({
        "values": plan.values(),
        "computers": plan.computers(),
        "wrong": plan.wrong(),
        "passed_over": plan.passed_over,
        "lines": plan.lines.iter().filter_map(line).collect::<Vec<Value>>(),
        "undo": undo,
    })
}

pub(super) fn undo(place: &Place, app: App, change: i64, json: bool, output: &mut Output) -> Done {
    let done = desk(place, app).undo_many(change).map_err(refused)?;
    if json {
        return output.json(&json!({ "changed": done.changed, "left": done.left }));
    }
    let kept = match done.left {
        0 => String::new(),
        1 => "; 1 stays, because it was changed since".to_owned(),
        left => format!("; {left} stay, because they were changed since"),
    };
    output.line(format_args!("took back {}{kept}", number_of(done.changed, "value")))
}

pub(super) fn count(place: &Place, app: App, by: &str, query: Option<&str>, json: bool, output: &mut Output) -> Done {
    let asked = Asked { query: query.unwrap_or_default().to_owned(), ..Asked::default() };
    let tally = desk(place, app).tally(&asked, by).map_err(refused)?;
    if json {
        let view = |(value, computers, query): &(String, u64, String)| json!({ "value": value, "computers": computers, "query": query });
        let items: Vec<Value> = tally.rows.iter().map(view).collect();
        return output.json(&json!({ "by": tally.title, "total": tally.total, "items": items }));
    }
    if tally.rows.is_empty() {
        say("no computer matches: `dripfeed computer list` shows them all");
        return Ok(());
    }
    let row = |(value, computers, _): &(String, u64, String)| {
        [computers.to_string(), if value.is_empty() { "-".to_owned() } else { printable(value) }]
    };
    output.table(["COMPUTERS", "VALUE"], &tally.rows.iter().map(row).collect::<Vec<_>>())
}
