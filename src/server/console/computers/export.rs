//! The list as a file, written while it is read: a thousand computers at a time, however many there are.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use serde_json::{Map, Value};

use super::super::super::visit::blocking;
use super::super::call::{Call, View};
use super::State;
use super::columns::{self, Column};
use crate::service::desk::computers::Asked;
use crate::service::desk::{Desk, Refusal};
use crate::store::listing::Place;

/// Computers that are read together.
const PAGE: usize = 1000;

#[derive(Clone, Copy)]
enum Format {
    Csv,
    Json,
}

pub(super) fn csv(call: &Call) -> Result<View, Refusal> {
    export(call, Format::Csv)
}

pub(super) fn json(call: &Call) -> Result<View, Refusal> {
    export(call, Format::Json)
}

/// Where the export is.
struct Going {
    desk: Desk,
    asked: Asked,
    columns: Vec<Column>,
    begun: bool,
    ended: bool,
}

fn export(call: &Call, format: Format) -> Result<View, Refusal> {
    let state = State::read(call, &call.query)?;
    let mut columns = state.columns;
    if call.query.is_on("every") {
        columns = state.every;
    }
    columns.retain(|column| column.word != "device_id");
    let asked = Asked { after: None, ..state.asked };
    // The first page now: a query that cannot be read is refused, not exported.
    call.desk().computers_after(&asked, 1)?;
    let going = Going { desk: call.desk().clone(), asked, columns, begun: false, ended: false };
    let chunks = stream::unfold(going, move |going| async move {
        if going.ended {
            return None;
        }
        let (going, chunk) = blocking(move || next(going, format)).await;
        Some((chunk, going))
    });
    let mut response = Response::new(Body::from_stream(chunks.boxed()));
    let headers = response.headers_mut();
    let (kind, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"computers.csv\""),
        Format::Json => ("application/json", "attachment; filename=\"computers.json\""),
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(name));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(View::Other(Box::new(response)))
}

/// The next thousand. An error ends the answer in its middle, so that nobody takes half a list for a whole one.
fn next(mut going: Going, format: Format) -> (Going, Result<Bytes, std::io::Error>) {
    let page = going.desk.computers_after(&going.asked, PAGE);
    let page = page.and_then(|page| Ok((going.desk.details(&page, &columns::shown(&going.columns))?, page)));
    let (details, page) = match page {
        Ok(page) => page,
        Err(refusal) => {
            going.ended = true;
            return (going, Err(std::io::Error::other(refusal.to_string())));
        }
    };
    let mut chunk = String::new();
    if !going.begun {
        match format {
            Format::Csv => {
                // Spreadsheets take it for what it is only with this mark.
                chunk.push('\u{feff}');
                let titles = going.columns.iter().map(Column::heading);
                chunk.push_str(&line(["name", "device_id"].into_iter().chain(titles).map(str::to_owned)));
            }
            Format::Json => chunk.push('['),
        }
    }
    for (at, computer) in page.iter().enumerate() {
        match format {
            Format::Csv => {
                let own = [computer.name.clone(), computer.device_id.to_string()];
                let said = going.columns.iter().map(|column| column.text(computer, &details));
                chunk.push_str(&line(own.into_iter().chain(said)));
            }
            Format::Json => {
                chunk.push_str(if going.begun || at > 0 { ",\n" } else { "\n" });
                let mut object = Map::new();
                object.insert("name".to_owned(), Value::from(computer.name.clone()));
                object.insert("device_id".to_owned(), Value::from(computer.device_id.as_str()));
                for column in &going.columns {
                    object.insert(column.heading().to_owned(), Value::from(column.text(computer, &details)));
                }
                chunk.push_str(&Value::Object(object).to_string());
            }
        }
    }
    going.begun = true;
    going.ended = page.len() < PAGE;
    going.asked.after = page.last().map(|last| Place::of(last, going.asked.sort));
    if going.ended && matches!(format, Format::Json) {
        chunk.push_str("\n]\n");
    }
    (going, Ok(Bytes::from(chunk)))
}

/// A line of a CSV file (RFC 4180).
fn line(cells: impl Iterator<Item = String>) -> String {
    let mut line = String::new();
    for cell in cells {
        if !line.is_empty() {
            line.push(',');
        }
        line.push_str(&csv_cell(&cell));
    }
    line.push_str("\r\n");
    line
}

/// A cell in quotes. Spreadsheets run what begins with one of these signs as a formula, whoever wrote it into an
/// inventory: an apostrophe before it makes it text.
pub(in crate::server) fn csv_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%', '＝', '＋', '－', '＠']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, cell) in [
            ("pc-1", "\"pc-1\""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("a,\"b\"\nc", "\"a,\"\"b\"\"\nc\""),
            ("", "\"\""),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
    }
}
