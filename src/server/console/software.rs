//! `/software`: the dictionary.

use askama::Template;

use super::super::visit::escaped;
use super::call::{Call, Page, View, get};
use super::shell::Shell;
use crate::model::access::Right;
use crate::model::is_addressable;
use crate::service::desk::Refusal;
use crate::store::software::{Program, TitleCount};

/// Rows of a page.
const ROWS: usize = 50;

pub(super) fn pages() -> Vec<Page> {
    vec![get("/software", Right::SeeComputers, list), get("/software/{name}", Right::SeeComputers, one)]
}

#[derive(Template)]
#[template(path = "software.html")]
struct List {
    shell: Shell,
    q: String,
    rows: Vec<Program>,
    next: Option<String>,
}

fn list(call: &Call) -> Result<View, Refusal> {
    let q = call.query.get("q").to_owned();
    let mut rows = call.desk().software(&q, call.query.some("after").map(str::to_owned), ROWS + 1)?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let next = rows.last().filter(|_| more);
    let next = next.map(|last| format!("/software?q={}&after={}", escaped(&q), escaped(&last.key)));
    call.page(&List { shell: call.shell("Software", "/software"), q, rows, next })
}

#[derive(Template)]
#[template(path = "software-one.html")]
struct One {
    shell: Shell,
    name: String,
    titles: Vec<TitleCount>,
    total: u64,
}

fn one(call: &Call) -> Result<View, Refusal> {
    let titles = call.desk().software_versions(call.path.raw("name"))?;
    let name = titles.first().map(|line| line.title.name.clone()).unwrap_or_default();
    let total = titles.iter().map(|line| line.computers).sum();
    call.page(&One { shell: call.shell(name.clone(), "/software"), name, titles, total })
}

/// The page of a program; of one that no address can hold, the list in which it stands.
pub(super) fn address(name: &str) -> String {
    if is_addressable(name) {
        return format!("/software/{}", escaped(name));
    }
    format!("/software?q={}", escaped(name))
}

fn quoted(text: &str) -> String {
    // A control character cannot be asked for; the list then says so.
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The list of computers that have it, in a version or any.
fn computers_with(name: &str, version: &str) -> String {
    let mut query = format!("has software {}", quoted(name));
    if !version.is_empty() {
        query.push_str(" = ");
        query.push_str(&quoted(version));
    }
    format!("/computers?q={}", escaped(&query))
}

/// The list of those that do not.
fn computers_without(name: &str) -> String {
    format!("/computers?q={}", escaped(&format!("not has software {}", quoted(name))))
}
