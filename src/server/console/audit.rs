//! `/audit`: who changed what, from where, and what was there before.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use serde_json::{Value, json};

use super::super::visit::escaped;
use super::call::{Call, Fields, Page, View, get};
use super::shell::Shell;
use crate::clock;
use crate::model::UnixTime;
use crate::model::access::Right;
use crate::service::desk::{Desk, Refusal};
use crate::store::audit::{Line, Wanted};

/// Rows of a page.
const ROWS: usize = 50;
/// Lines of an export.
const EXPORT: usize = 100_000;

pub(super) fn pages() -> Vec<Page> {
    vec![get("/audit", Right::SeeAudit, list), get("/audit/export", Right::SeeAudit, export)]
}

/// A line with what it changed.
pub(super) struct Change {
    pub(super) line: Line,
    /// Name, before, after.
    pub(super) rows: Vec<Row>,
}

/// One value that a change was about.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    pub(super) differs: bool,
}

impl From<Line> for Change {
    fn from(line: Line) -> Self {
        Self { rows: difference(line.before.as_deref(), line.after.as_deref()), line }
    }
}

/// Two documents value by value.
fn difference(before: Option<&str>, after: Option<&str>) -> Vec<Row> {
    let read = |text: Option<&str>| -> Value {
        text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)))
    };
    let (before, after) = (read(before), read(after));
    let names: BTreeSet<&str> = [&before, &after]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|map| map.keys().map(String::as_str))
        .collect();
    let of = |document: &Value, name: &str| match document {
        Value::Object(map) => map.get(name).and_then(word),
        _ => None,
    };
    let row = |name: &str| {
        let (before, after) = (of(&before, name), of(&after, name));
        Row { name: name.to_owned(), differs: before != after, before, after }
    };
    let mut rows: Vec<Row> = names.into_iter().map(row).collect();
    let bare = |document: &Value| if document.is_object() { None } else { word(document) };
    let (before, after) = (bare(&before), bare(&after));
    if before.is_some() || after.is_some() {
        rows.push(Row { name: String::new(), differs: before != after, before, after });
    }
    rows
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct List {
    shell: Shell,
    lines: Vec<Change>,
    filters: Filters,
    next: Option<String>,
    /// The filters as a query, for exports.
    query: String,
}

/// The filters as typed.
struct Filters {
    actor: String,
    action: String,
    subject: String,
    from: String,
    to: String,
}

impl Filters {
    const NAMES: [&'static str; 5] = ["actor", "action", "subject", "from", "to"];

    fn is_empty(&self) -> bool {
        [&self.actor, &self.action, &self.subject, &self.from, &self.to].iter().all(|text| text.is_empty())
    }
}

fn moment(query: &Fields, name: &'static str) -> Result<Option<UnixTime>, Refusal> {
    let read = |text| {
        clock::parse(text)
            .ok_or_else(|| Refusal::invalid(format!("\"{text}\" is not a day: write 2026-11-20")).about(name))
    };
    query.some(name).map(read).transpose()
}

fn wanted(query: &Fields) -> Result<Wanted, Refusal> {
    Ok(Wanted {
        actor: query.get("actor").to_owned(),
        action: query.get("action").to_owned(),
        subject: query.get("subject").to_owned(),
        from: moment(query, "from")?,
        // A day that is named as the last one belongs to it.
        to: moment(query, "to")?.map(|to| {
            let day = query.get("to").len() <= "2026-11-20".len();
            if day { to.plus(std::time::Duration::from_hours(24)) } else { to }
        }),
        before: query.parse_some::<i64>("before")?,
    })
}

fn list(call: &Call) -> Result<View, Refusal> {
    let query = &call.query;
    let mut lines = call.desk().audit(wanted(query)?, ROWS + 1)?;
    let more = lines.len() > ROWS;
    lines.truncate(ROWS);
    let text = |name: &str| query.get(name).to_owned();
    let filters: Vec<String> = Filters::NAMES
        .iter()
        .filter_map(|name| query.some(name).map(|value| format!("{name}={}", escaped(value))))
        .collect();
    let filters = filters.join("&");
    call.page(&List {
        shell: call.shell("Audit log", "/audit"),
        next: lines.last().filter(|_| more).map(|line| format!("/audit?{filters}&before={}", line.id)),
        lines: lines.into_iter().map(Change::from).collect(),
        filters: Filters {
            actor: text("actor"),
            action: text("action"),
            subject: text("subject"),
            from: text("from"),
            to: text("to"),
        },
        query: filters,
    })
}

fn export(call: &Call) -> Result<View, Refusal> {
    let json = match call.query.get("format") {
        "json" => true,
        "csv" | "" => false,
        other => return Err(Refusal::invalid(format!("\"{other}\" is not a format: csv or json")).about("format")),
    };
    let lines = all(call.desk(), wanted(&call.query)?)?;
    let (kind, name, text) = if json {
        ("application/json", "audit.json", as_json(&lines)?)
    } else {
        ("text/csv; charset=utf-8", "audit.csv", as_csv(&lines))
    };
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let disposition = format!("attachment; filename=\"{name}\"");
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_str(&disposition).map_err(Refusal::failed)?);
    Ok(View::Other(Box::new(response)))
}

fn all(desk: &Desk, mut wanted: Wanted) -> Result<Vec<Line>, Refusal> {
    const PAGE: usize = 1000;
    let mut lines = Vec::new();
    loop {
        let page = desk.audit(wanted.clone(), PAGE)?;
        let last = page.len() < PAGE;
        wanted.before = page.last().map(|line| line.id);
        lines.extend(page);
        if last || lines.len() >= EXPORT {
            return Ok(lines);
        }
    }
}

fn as_json(lines: &[Line]) -> Result<String, Refusal> {
    let document = |text: &Option<String>| -> Value {
        text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    };
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "id": line.id,
                "at": clock::utc_text(line.at()),
                "actor": line.actor,
                "via": line.via,
                "peer_address": line.peer_address,
                "action": line.action,
                "subject": line.subject,
                "before": document(&line.before),
                "after": document(&line.after),
            })
        })
        .collect();
    serde_json::to_string_pretty(&lines).map_err(Refusal::failed)
}

fn as_csv(lines: &[Line]) -> String {
    let mut text = String::from("id,at,actor,via,peer_address,action,subject,before,after\r\n");
    for line in lines {
        let cells = [
            line.id.to_string(),
            clock::utc_text(line.at()),
            line.actor.clone(),
            line.via.clone(),
            line.peer_address.clone(),
            line.action.clone(),
            line.subject.clone(),
            line.before.clone().unwrap_or_default(),
            line.after.clone().unwrap_or_default(),
        ];
        let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
        // Writing to a String cannot fail.
        let _ = write!(text, "{}\r\n", cells.join(","));
    }
    text
}

/// A cell (RFC 4180). What a spreadsheet would take for a formula is made text by an apostrophe.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_value_by_value() {
        let rows =
            difference(Some(r#"{"role":"viewer","computers":null}"#), Some(r#"{"role":"deployer","computers":null}"#));
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows.iter().find(|row| row.name == "role"),
            Some(&Row {
                name: "role".to_owned(),
                before: Some("viewer".to_owned()),
                after: Some("deployer".to_owned()),
                differs: true
            })
        );
        assert!(rows.iter().any(|row| row.name == "computers" && !row.differs));
        assert_eq!(difference(None, None), []);
        let bare = difference(Some("null"), Some("not JSON <b>"));
        assert_eq!(bare.first().and_then(|row| row.after.as_deref()), Some("not JSON <b>"));
    }

    #[test]
    fn a_cell_is_never_a_formula() {
        for (text, written) in [
            ("plain", "plain"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("", ""),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
