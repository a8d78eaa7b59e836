//! `dripfeed package …`

use std::io::Read as _;

use serde::Serialize;

use super::args::{PackageVerb, Place};
use super::context::{open, open_or_make};
use super::output::{Output, count, printable};
use super::progress::Bar;
use super::series::that_pause;
use super::{Done, Failure};
use crate::clock;
use crate::engine::{TaskInfo, estimate};
use crate::model::settings::{SettingsLayer, resolve};
use crate::model::{Action, ByteSize, JobState, Package, PackageId, TreeKey};
use crate::service::series::{self, Need};
use crate::service::withdraw::{self, WithdrawError};
use crate::service::{App, verify};
use crate::store::{StoreError, activations, jobs, packages};

pub(super) fn run(place: &Place, verb: PackageVerb, output: &mut Output) -> Done {
    let making = matches!(verb, PackageVerb::Build(_) | PackageVerb::Import(_));
    let app = if making { open_or_make(place)? } else { open(place)? }.app;
    match verb {
        PackageVerb::Build(options) => super::build::run(place, &app, *options, output),
        PackageVerb::Import(options) => super::import::run(&app, options, output),
        PackageVerb::List { json } => list(&app, json, output),
        PackageVerb::Show { id, info: true, .. } => show_info(&app, id, output),
        PackageVerb::Show { id, json, .. } => show(&app, id, json, output),
        PackageVerb::Withdraw { id, json } => withdraw(&app, id, json, output),
        PackageVerb::Verify { id, json } => verify_tree(&app, id, json, output),
    }
}

/// A package as JSON.
#[derive(Serialize)]
pub(super) struct PackageView {
    id: u32,
    name: String,
    version: String,
    description: String,
    os: &'static str,
    action: &'static str,
    command: Option<String>,
    path: Option<String>,
    priority: u32,
    size: u64,
    fragments: u32,
    md5: Option<String>,
    sha256: Option<String>,
    state: &'static str,
    created_at: String,
}

impl From<&Package> for PackageView {
    fn from(package: &Package) -> Self {
        let text = package.action.text().to_owned();
        let (command, path) = match package.action {
            Action::Store { .. } => (None, Some(text)),
            Action::Launch { .. } | Action::Execute { .. } => (Some(text), None),
        };
        Self {
            id: package.id.number(),
            name: package.name.clone(),
            version: package.version.clone(),
            description: package.description.clone(),
            os: package.os.as_str(),
            action: package.action.as_str(),
            command,
            path,
            priority: package.priority.number(),
            size: package.size,
            fragments: package.fragments.0,
            md5: package.md5.map(|digest| digest.to_string()),
            sha256: package.sha256.map(|digest| digest.to_string()),
            state: package.state.as_str(),
            created_at: clock::utc_text(package.created_at),
        }
    }
}

/// How long a package takes with the server's settings, if it ever ends.
pub(super) fn pace(app: &App, package: &Package) -> Result<Option<std::time::Duration>, Failure> {
    let set = app.store.read_now(|conn| crate::store::settings::layer(conn, crate::store::settings::Scope::Global))?;
    let settings = resolve(&app.global_layer(set), &[], &SettingsLayer::default()).download();
    let info = TaskInfo { priority: package.priority, fragments: package.fragments, not_before: None };
    Ok(estimate(&settings, info))
}

/// A span for people: `1170 s` is `19 min 30 s`.
pub(super) fn duration(span: std::time::Duration) -> String {
    let seconds = span.as_secs();
    let (whole, unit, rest, smaller) = match seconds {
        0..60 => (seconds, "s", 0, ""),
        60..3600 => (seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => (seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    };
    if rest == 0 { format!("{whole} {unit}") } else { format!("{whole} {unit} {rest} {smaller}") }
}

const PAGE: usize = 500;

fn list(app: &App, json: bool, output: &mut Output) -> Done {
    let mut all: Vec<Package> = Vec::new();
    loop {
        let before = all.last().map(|package| package.id);
        let page = app.store.read_now(move |conn| packages::list(conn, before, PAGE))?;
        let last = page.len() < PAGE;
        all.extend(page);
        if last {
            break;
        }
    }
    if json {
        return output.json(&all.iter().map(PackageView::from).collect::<Vec<_>>());
    }
    if all.is_empty() {
        super::output::say("no packages yet: dripfeed package build FILE --name … --version … --os … --action …");
        return Ok(());
    }
    let rows: Vec<[String; 9]> = all
        .iter()
        .map(|package| {
            [
                package.id.to_string(),
                printable(&package.name),
                printable(&package.version),
                package.os.to_string(),
                package.action.as_str().to_owned(),
                package.priority.to_string(),
                ByteSize(package.size).to_string(),
                package.fragments.to_string(),
                package.state.as_str().to_owned(),
            ]
        })
        .collect();
    output.table(["ID", "NAME", "VERSION", "OS", "ACTION", "PRI", "SIZE", "FRAGS", "STATE"], &rows)
}

fn unknown(id: PackageId) -> Failure {
    Failure::refused(format!("there is no package {id}: `dripfeed package list` shows them"))
}

fn show(app: &App, id: PackageId, json: bool, output: &mut Output) -> Done {
    let found = app.store.read_now(move |conn| -> Result<_, StoreError> {
        let package = packages::find(conn, id)?;
        Ok((package, activations::find(conn, id)?, jobs::counts(conn, Some(id))?))
    })?;
    let (Some(package), activation, counts) = found else {
        return Err(unknown(id));
    };
    if json {
        #[derive(Serialize)]
        struct Shown {
            #[serde(flatten)]
            package: PackageView,
            info_location: Option<String>,
            fragment_location: Option<String>,
            checked_at: Option<String>,
            jobs: std::collections::BTreeMap<&'static str, u64>,
        }
        return output.json(&Shown {
            package: PackageView::from(&package),
            info_location: activation.as_ref().map(|activation| activation.info_location.to_string()),
            fragment_location: activation.as_ref().map(|activation| activation.fragment_location.to_string()),
            checked_at: activation.as_ref().and_then(|activation| activation.checked_at).map(clock::utc_text),
            jobs: counts.iter().map(|(_, state, count)| (state.as_str(), *count)).collect(),
        });
    }
    let mut fields = vec![
        ("package", format!("{} ({})", package.id, package.state.as_str())),
        ("name", format!("{} {}", printable(&package.name), printable(&package.version))),
        ("for", package.os.to_string()),
        ("action", format!("{} {}", package.action.as_str(), printable(package.action.text()))),
        ("priority", package.priority.to_string()),
        ("content", format!("{} in {}", ByteSize(package.size), count(package.fragments.0, "fragment"))),
        ("built", clock::local_text(package.created_at)),
    ];
    if !package.description.is_empty() {
        fields.push(("description", printable(&package.description)));
    }
    if let (Some(md5), Some(sha256)) = (package.md5, package.sha256) {
        fields.push(("MD5", md5.to_string()));
        fields.push(("SHA-256", sha256.to_string()));
    }
    if let Some(notify) = &package.notify {
        fields.push(("asks first", printable(&notify.text)));
        let limits = notify.limits();
        if !limits.is_empty() {
            fields.push(("asks until", limits.join("; ")));
        }
    }
    if let Some(done) = &package.done {
        fields.push(("says after", printable(&done.text)));
    }
    if !package.exit_codes.is_empty() {
        fields.push(("exit codes", package.exit_codes.to_string()));
    }
    if let Some(span) = pace(app, &package)? {
        fields.push(("pace", format!("{} from contact to execution, alone", duration(span))));
    }
    match &activation {
        Some(activation) => {
            fields.push(("info from", format!("https://{}", activation.info_location)));
            fields.push(("fragments", format!("http://{}", activation.fragment_location)));
            let checked = activation.checked_at.map_or("never".to_owned(), clock::local_text);
            fields.push(("checked", checked));
        }
        None => fields.push(("activated", format!("no: dripfeed activate {id}"))),
    }
    let jobs: Vec<String> = JobState::ALL
        .iter()
        .filter_map(|state| {
            counts.iter().find(|(_, of, _)| of == state).map(|(_, _, count)| format!("{count} {state}"))
        })
        .collect();
    fields.push(("jobs", if jobs.is_empty() { "none".to_owned() } else { jobs.join(", ") }));
    fields.iter().try_for_each(|(name, value)| output.line(format_args!("{name:>12}  {value}")))
}

fn show_info(app: &App, id: PackageId, output: &mut Output) -> Done {
    let mut text = Vec::new();
    match app.tree.open_file(TreeKey::Info { package: id }) {
        Ok(file) => file.take(1 << 20).read_to_end(&mut text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::refused(format!(
                "package {id} has no info file in the tree: it is unknown or withdrawn"
            )));
        }
        Err(error) => return Err(error.into()),
    };
    output.bytes(&text)
}

fn withdraw(app: &App, id: PackageId, json: bool, output: &mut Output) -> Done {
    let withdrawn = withdraw::withdraw(app, id).map_err(|error| match error {
        WithdrawError::Unknown(_) | WithdrawError::Already(_) => Failure::Refused(error.into()),
        WithdrawError::Tree(_) | WithdrawError::Store(_) => Failure::Failed(error.into()),
    })?;
    let series = app.store.read_now(move |conn| series::that_need(conn, &Need::Package(id)))?;
    if json {
        #[derive(Serialize)]
        struct View {
            id: u32,
            cancelled_jobs: usize,
            cancelled_deployments: usize,
            pausing_series: Vec<i64>,
        }
        return output.json(&View {
            id: id.number(),
            cancelled_jobs: withdrawn.cancelled_jobs,
            cancelled_deployments: withdrawn.cancelled_deployments,
            pausing_series: series.iter().map(|one| one.id.0).collect(),
        });
    }
    output.line(format_args!("withdrew package {id}: {} open jobs cancelled", withdrawn.cancelled_jobs))?;
    that_pause(&series, output)
}

fn verify_tree(app: &App, id: Option<PackageId>, json: bool, output: &mut Output) -> Done {
    let chosen = match id {
        Some(id) => {
            let package = app.store.read_now(move |conn| packages::find(conn, id))?;
            let package = package.ok_or_else(|| unknown(id))?;
            if package.state != crate::model::PackageState::Available {
                return Err(Failure::refused(format!("package {id} is {}: it has no tree", package.state.as_str())));
            }
            vec![package]
        }
        None => app.store.read_now(|conn| -> Result<_, StoreError> {
            let ids = packages::in_state(conn, crate::model::PackageState::Available)?;
            let found: Result<Vec<_>, _> = ids.into_iter().map(|id| packages::find(conn, id)).collect();
            Ok(found?.into_iter().flatten().collect::<Vec<_>>())
        })?,
    };
    let total: u64 = chosen.iter().map(|package| package.size).sum();
    let bar = Bar::new("verifying");
    let mut before = 0;
    let mut results = Vec::new();
    for package in &chosen {
        results.push(verify::package(app, package, &mut |done| bar.of("verifying", before + done, total))?);
        before += package.size;
    }
    bar.clear();
    let problems: Vec<&String> = results.iter().flat_map(|result| &result.problems).collect();
    if json {
        #[derive(Serialize)]
        struct View<'a> {
            packages: usize,
            files: usize,
            bytes: u64,
            problems: &'a [&'a String],
        }
        output.json(&View {
            packages: results.len(),
            files: results.iter().map(|result| result.files).sum(),
            bytes: results.iter().map(|result| result.bytes).sum(),
            problems: &problems,
        })?;
    } else {
        for problem in &problems {
            output.line(problem)?;
        }
        let files: usize = results.iter().map(|result| result.files).sum();
        let bytes: u64 = results.iter().map(|result| result.bytes).sum();
        output.line(format_args!(
            "{}, {}, {}: {}",
            count(results.len(), "package"),
            count(files, "file"),
            ByteSize(bytes),
            count(problems.len(), "problem")
        ))?;
    }
    if problems.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("the tree is not what was built").into()) }
}
