//! `/packages/import`: packages of a stock server, from an upload.

#![expect(clippy::needless_pass_by_value, reason = "an operation is given what was asked")]

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, operation};
use crate::model::access::Right;
use crate::model::{InvalidPackage, OsFamily};
use crate::service::desk::Refusal;
use crate::service::desk::imports::ImportLine;
use crate::service::import::{Imported, read_list};

pub(super) fn operations() -> Vec<Operation> {
    vec![operation(
        Method::POST,
        "/packages/import",
        "import_packages",
        "Imports the packages of a stock server's download directory, which was uploaded as an archive",
        Right::BuildPackages,
        import,
    )]
}

/// What to import.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ImportBody {
    /// The upload: a ZIP or TAR.GZ of the directory that the stock server's agents fetch from.
    upload: String,
    /// Names and systems: lines of number, name and `WINDOWS`, `LINUX` or `MAC` with tabs between, as
    /// `mysql -BNe 'SELECT FILEID, NAME, OSNAME FROM download_available'` prints them.
    #[serde(default)]
    names: String,
    /// What packages are for that nothing else tells of: `linux`, `windows` or `macos`.
    os: Option<String>,
    /// Read and compare everything, and write nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What became of the packages, by number.
#[derive(JsonSchema, Serialize)]
struct ImportedList {
    /// One for each.
    items: Vec<ImportedView>,
}

/// What became of a package.
#[derive(JsonSchema, Serialize)]
struct ImportedView {
    /// Its number on the stock server.
    id: u32,
    /// What it is called here.
    name: String,
    /// `imported`, `known` (it was here before), `possible` (it would be imported) or `refused`.
    outcome: &'static str,
    /// Its number here; absent if it is refused, or would get a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<u32>,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<ImportLine> for ImportedView {
    fn from(line: ImportLine) -> Self {
        let id = line.id.number();
        let (outcome, package, reason) = match line.outcome {
            Ok(Imported::Built(package)) => ("imported", Some(package.id.number()), None),
            Ok(Imported::Known) => ("known", Some(id), None),
            Ok(Imported::Possible(kept)) => ("possible", kept.then_some(id), None),
            Err(reason) => ("refused", None, Some(reason)),
        };
        Self { id, name: line.name, outcome, package, reason }
    }
}

fn import(asked: Asked<Nothing, Nothing, ImportBody>) -> Result<ImportedList, Refusal> {
    let body = &asked.body;
    let wrong = |error: InvalidPackage| Refusal::invalid(error.to_string()).about("os");
    let os = body.os.as_deref().map(str::parse::<OsFamily>).transpose().map_err(wrong)?;
    let described = read_list(&body.names).map_err(|error| Refusal::from(error).about("names"))?;
    let upload = body.upload.parse().map_err(|_| Refusal::not_found("there is no such upload").about("upload"))?;
    let lines = asked.desk().import_packages(&upload, described, os, body.dry_run)?;
    Ok(ImportedList { items: lines.into_iter().map(ImportedView::from).collect() })
}
