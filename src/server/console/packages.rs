//! `/packages`: the list and one package.

use askama::Template;

use super::call::{Call, Page, View, get};
use super::shell::Shell;
use super::show::Counts;
use crate::model::PackageId;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::service::desk::packages::PackageLine;

/// Rows of a page.
const ROWS: usize = 50;

pub(super) fn pages() -> Vec<Page> {
    vec![get("/packages", Right::SeePackages, list), get("/packages/{id}", Right::SeePackages, one)]
}

#[derive(Template)]
#[template(path = "packages.html")]
struct List {
    shell: Shell,
    rows: Vec<PackageLine>,
    next: Option<PackageId>,
    may_build: bool,
}

fn list(call: &Call) -> Result<View, Refusal> {
    let before = call.query.parse_some::<PackageId>("after")?;
    let mut rows = call.desk().packages(before, ROWS + 1)?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    call.page(&List {
        shell: call.shell("Packages", "/packages"),
        next: rows.last().filter(|_| more).map(|line| line.package.id),
        rows,
        may_build: call.desk().may(Right::BuildPackages),
    })
}

#[derive(Template)]
#[template(path = "package.html")]
struct One {
    shell: Shell,
    line: PackageLine,
    counts: Counts,
}

fn one(call: &Call) -> Result<View, Refusal> {
    let id = call.path.parse::<PackageId>("id").map_err(|error| Refusal::not_found(error.to_string()))?;
    let line = call.desk().package(id)?;
    let title = format!("{} {}", line.package.name, line.package.version);
    call.page(&One { shell: call.shell(title, "/packages"), counts: Counts(line.counts.clone()), line })
}
