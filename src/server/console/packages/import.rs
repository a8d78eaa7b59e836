//! `/packages/import`: packages of a stock server, from an upload: looked at first, then taken over.

use askama::Template;

use super::super::call::{Call, View};
use super::super::shell::Shell;
use crate::model::access::Right;
use crate::model::{InvalidPackage, OsFamily, Upload, UploadId};
use crate::service::desk::imports::ImportLine;
use crate::service::desk::{Kind, Refusal};
use crate::service::import::{Imported, read_list};

#[derive(Template)]
#[template(path = "packages-import.html")]
struct Page {
    shell: Shell,
    uploads: Vec<Upload>,
    /// The one that is chosen.
    upload: Option<Upload>,
    names: String,
    os: String,
    lines: Vec<ImportLine>,
    is_dry: bool,
    may_activate: bool,
    error: Option<Refusal>,
}

impl Page {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn systems(&self) -> [OsFamily; 3] {
        [OsFamily::Windows, OsFamily::Linux, OsFamily::Macos]
    }

    /// Would anything come of it?
    fn is_worth_it(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.outcome, Ok(Imported::Possible(_))))
    }

    fn error_of(&self, field: &str) -> bool {
        self.error.as_ref().is_some_and(|error| error.field == Some(field))
    }
}

fn page(call: &Call, lines: Vec<ImportLine>, error: Option<Refusal>) -> Result<Page, Refusal> {
    let fields = if call.form.0.is_empty() { &call.query } else { &call.form };
    let uploads = call.desk().uploads()?;
    let chosen = fields.get("upload");
    Ok(Page {
        shell: call.shell("Import packages", "/packages"),
        upload: uploads.iter().find(|upload| upload.id.to_string() == chosen && upload.is_complete()).cloned(),
        uploads,
        names: fields.raw("names").to_owned(),
        os: fields.get("os").to_owned(),
        lines,
        is_dry: !fields.is_on("sure"),
        may_activate: call.desk().may(Right::ActivatePackages),
        error,
    })
}

pub(super) fn ask(call: &Call) -> Result<View, Refusal> {
    call.page(&page(call, Vec::new(), None)?)
}

pub(super) fn import(call: &Call) -> Result<View, Refusal> {
    let form = &call.form;
    let done = (|| {
        let upload: UploadId =
            form.get("upload").parse().map_err(|_| Refusal::invalid("choose an upload").about("upload"))?;
        let wrong = |error: InvalidPackage| Refusal::invalid(error.to_string()).about("os");
        let os = form.some("os").map(str::parse::<OsFamily>).transpose().map_err(wrong)?;
        let described = read_list(form.raw("names")).map_err(|error| Refusal::from(error).about("names"))?;
        call.desk().import_packages(&upload, described, os, !form.is_on("sure"))
    })();
    match done {
        Ok(lines) => call.page(&page(call, lines, None)?),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::NotFound | Kind::Conflict) => {
            call.again(&page(call, Vec::new(), Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}
