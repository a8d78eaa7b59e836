//! `/software` and `/search`.

#![expect(clippy::needless_pass_by_value, reason = "what an operation is given is its own")]

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, Page, limit, operation};
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::store::software::{Program, TitleCount};

pub(super) fn operations() -> Vec<Operation> {
    const GET: Method = Method::GET;
    vec![
        operation(GET, "/search", "search", "Looks everywhere by name or number", None, search),
        operation(
            GET,
            "/software",
            "list_software",
            "Programs by name, with their installations",
            Right::SeeComputers,
            list,
        ),
        operation(
            GET,
            "/software/{name}",
            "get_software",
            "The versions of a program, with their computers",
            Right::SeeComputers,
            one,
        ),
    ]
}

/// What decides about the list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
struct ListQuery {
    /// Part of a name; all without.
    name: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Entries of a page, from 1 to 1000; 100 if it is not said.
    limit: Option<u32>,
}

/// A program.
#[derive(JsonSchema, Serialize)]
struct ProgramView {
    /// Its name.
    name: String,
    /// Who makes it, as one of its versions says.
    publisher: String,
    /// How many versions there are.
    versions: u64,
    /// On computers that are not archived; one with two versions counts twice.
    installations: u64,
    /// Are there more? A version is counted up to a thousand here; one program's own answer counts all.
    more: bool,
}

fn list(asked: Asked<Nothing, ListQuery, Nothing>) -> Result<Page<ProgramView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let part = asked.query.name.clone().unwrap_or_default();
    let rows = asked.desk().software(&part, asked.query.after.clone(), limit + 1)?;
    let view = |program: Program| ProgramView {
        name: program.name,
        publisher: program.publisher,
        versions: program.titles,
        installations: program.installations,
        more: program.more,
    };
    Ok(Page::cut(rows, limit, |last| last.key.clone(), view))
}

/// A program's name.
#[derive(Deserialize, JsonSchema)]
struct ByName {
    /// The name, letters without case.
    name: String,
}

/// A version of a program.
#[derive(JsonSchema, Serialize)]
struct VersionView {
    /// The version.
    version: String,
    /// Who makes it.
    publisher: String,
    /// Computers that are not archived.
    computers: u64,
}

/// The versions of a program.
#[derive(JsonSchema, Serialize)]
struct VersionsView {
    /// Those that most computers have first.
    items: Vec<VersionView>,
}

fn one(asked: Asked<ByName, Nothing, Nothing>) -> Result<VersionsView, Refusal> {
    let titles = asked.desk().software_versions(&asked.path.name)?;
    let view = |line: TitleCount| VersionView {
        version: line.title.version,
        publisher: line.title.publisher,
        computers: line.computers,
    };
    Ok(VersionsView { items: titles.into_iter().map(view).collect() })
}

/// What is looked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
struct SearchQuery {
    /// A name or a number.
    q: String,
}

/// What was found, at most 10 of a kind.
#[derive(JsonSchema, Serialize)]
struct FoundView {
    /// Computers, archived ones, too.
    computers: Vec<super::computers::ComputerView>,
    /// Numbers of packages.
    packages: Vec<u32>,
    /// Names of groups.
    groups: Vec<String>,
    /// Numbers of deployments.
    deployments: Vec<i64>,
}

fn search(asked: Asked<Nothing, SearchQuery, Nothing>) -> Result<FoundView, Refusal> {
    let found = asked.desk().search(&asked.query.q)?;
    Ok(FoundView {
        computers: found.computers.into_iter().map(Into::into).collect(),
        packages: found.packages.into_iter().map(|package| package.id.number()).collect(),
        groups: found.groups.into_iter().map(|group| group.name).collect(),
        deployments: found.deployments.into_iter().map(|(id, ..)| id.0).collect(),
    })
}
