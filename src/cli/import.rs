//! `dripfeed package import`

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::Import as Options;
use super::output::{Output, count, printable, say};
use super::progress::Bar;
use super::{Done, Failure};
use crate::model::PackageId;
use crate::service::App;
use crate::service::import::{Import, ImportError, Imported, find, read_list};
use crate::service::publish::Progress;

/// What became of a package, as JSON.
#[derive(Serialize)]
struct View {
    /// Its number on the stock server.
    id: u32,
    outcome: &'static str,
    /// Its number here.
    package: Option<u32>,
    name: Option<String>,
    os: Option<&'static str>,
    reason: Option<String>,
}

pub(super) fn run(app: &App, options: Options, output: &mut Output) -> Done {
    let shown = options.directory.display().to_string();
    let read = |what: &str, error: std::io::Error| Failure::refused(format!("{what}: {error}"));
    let described = match &options.names {
        None => BTreeMap::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| read(&path.display().to_string(), error))?;
            read_list(&text).map_err(|error| Failure::Refused(error.into()))?
        }
    };
    let mut ids = find(&options.directory).map_err(|error| read(&shown, error))?;
    if !options.ids.is_empty() {
        if let Some(missing) = options.ids.iter().find(|id| !ids.contains(id)) {
            return Err(Failure::refused(format!("{shown} has no package {missing}")));
        }
        ids.retain(|id| options.ids.contains(id));
    }
    if ids.is_empty() {
        return Err(Failure::refused(format!(
            "{shown} has no packages: name the directory that a stock server's agents fetch from, which has a directory \
             for each package"
        )));
    }
    let import = Import { directory: options.directory, described, os: options.os };
    let mut views = Vec::new();
    for id in ids {
        let view = one(app, &import, id, options.dry_run)?;
        if !options.json {
            output.line(sentence(&view))?;
        }
        views.push(view);
    }
    let refused = views.iter().filter(|view| view.outcome == "refused").count();
    if options.json {
        output.json(&views)?;
    } else if views.iter().any(|view| view.outcome == "imported") {
        say("next, for each: dripfeed activate ID");
    }
    match refused {
        0 => Ok(()),
        refused => {
            let refused = u32::try_from(refused).unwrap_or(u32::MAX);
            Err(Failure::refused(format!("{} refused; the others are as told", count(refused, "package"))))
        }
    }
}

fn one(app: &App, import: &Import, id: PackageId, dry: bool) -> Result<View, Failure> {
    let bar = Bar::new("importing");
    let done = import.one(app, id, dry, &mut |progress| match progress {
        Progress::Packing(done) => bar.bytes("reading", done),
        Progress::Cutting { done, total } => bar.of("importing", done, total),
        Progress::Publishing => bar.say("publishing"),
    });
    bar.clear();
    let view = View { id: id.number(), outcome: "known", package: None, name: None, os: None, reason: None };
    Ok(match done {
        Ok(Imported::Known) => View { package: Some(id.number()), ..view },
        Ok(Imported::Possible(kept)) => View { outcome: "possible", package: kept.then_some(id.number()), ..view },
        Ok(Imported::Built(package)) => View {
            outcome: "imported",
            package: Some(package.id.number()),
            os: Some(package.os.as_str()),
            name: Some(format!("{} {}", package.name, package.version)),
            ..view
        },
        Err(error) if error.is_refusal() => View { outcome: "refused", reason: Some(whole(error)), ..view },
        // What is wrong here stays wrong for the next one.
        Err(error) => return Err(Failure::Failed(error.into())),
    })
}

/// A sentence with its causes.
fn whole(error: ImportError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

fn sentence(view: &View) -> String {
    let id = view.id;
    match (view.outcome, view.package) {
        ("known", _) => format!("{id}: is here already"),
        ("possible", Some(_)) => format!("{id}: would be imported"),
        ("possible", None) => {
            format!("{id}: would be imported under a new number, because its own is another package's here")
        }
        ("imported", Some(package)) => {
            let (name, os) = (printable(view.name.as_deref().unwrap_or_default()), view.os.unwrap_or_default());
            let number = if package == id {
                String::new()
            } else {
                format!(" as {package}, because {id} is another package's here")
            };
            format!("{id}: imported{number}: {name} for {os}")
        }
        _ => format!("{id}: refused: {}", printable(view.reason.as_deref().unwrap_or_default())),
    }
}
