//! `dripfeed package build`

use std::fs::File;
use std::path::Path;

use serde::Serialize;

use super::args::{Build, Place};
use super::output::{Output, count, warn};
use super::package::{PackageView, duration, pace};
use super::progress::Bar;
use super::{Done, Failure, activate, context};
use crate::model::access::Right;
use crate::model::{Action, ByteSize, Done as DoneMessage, InvalidPackage, Notify, OsFamily, Package, PromptPolicy};
use crate::service::App;
use crate::service::contents::Contents;
use crate::service::publish::{
    self, BuildRequest, Fragmenting, Part, PartBytes, Progress, PublishError, Recipe, Source, is_archive_name,
};
use crate::service::templates::{FillError, Template, Values, own};
use crate::store::packages::NewPackage;
use crate::store::{StoreError, packages, recipes};

/// The version before, with what it was made by.
type Before = (Package, Recipe);

pub(super) fn run(place: &Place, app: &App, options: Build, output: &mut Output) -> Done {
    let (json, activating) = (options.json, activating(place, &options)?);
    let (request, recipe) = request(place, app, options)?;
    let bar = Bar::new("building");
    let document = recipe.to_document();
    let built = publish::build_noted(
        app,
        &request,
        &mut |progress| match progress {
            Progress::Packing(done) => bar.bytes("packing", done),
            Progress::Cutting { done, total } => bar.of("building", done, total),
            Progress::Publishing => bar.say("publishing"),
        },
        move |conn, id| recipes::set(conn, id, &document),
    );
    bar.clear();
    let built = built.map_err(|error: PublishError| {
        if error.is_refusal() { Failure::Refused(error.into()) } else { Failure::Failed(error.into()) }
    })?;
    for warning in &built.warnings {
        warn(warning);
    }
    let package = &built.package;
    let activated = activating.then(|| activate::after_build(place, package.id));
    if json {
        #[derive(Serialize)]
        struct View {
            #[serde(flatten)]
            package: PackageView,
            #[serde(skip_serializing_if = "Option::is_none")]
            activated: Option<bool>,
        }
        let activated = activated.as_ref().map(Result::is_ok);
        output.json(&View { package: PackageView::from(package), activated })?;
    } else {
        output.line(package.id)?;
    }
    output.flush()?;
    match activated {
        Some(Err(failure)) => {
            warn(format_args!("package {} is built, and stays so though it is not activated", package.id));
            return Err(failure);
        }
        _ if json => {}
        activated => next(app, package, activated.is_some())?,
    }
    Ok(())
}

/// What it took, and what to do next.
fn next(app: &App, package: &Package, activated: bool) -> Done {
    if let Some(span) = pace(app, package)? {
        let next = if activated { "activated. Next: dripfeed assign" } else { "Next: dripfeed activate" };
        super::output::say(format_args!(
            "{} in {}; an agent alone needs {} from contact to execution. {next} {}",
            ByteSize(package.size),
            count(package.fragments.0, "fragment"),
            duration(span),
            package.id
        ));
    }
    Ok(())
}

/// Shall it be activated when it is built? The setting is for those who may.
fn activating(place: &Place, options: &Build) -> Result<bool, Failure> {
    let may = place.served.as_ref().is_none_or(|served| served.desk.may(Right::ActivatePackages));
    let (_, config) = context::configure(place, &[])?;
    Ok(options.activate || (config.activate_when_built && may && !options.no_activate))
}

fn refused(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Refused(error.into())
}

fn request(place: &Place, app: &App, options: Build) -> Result<(BuildRequest, Recipe), Failure> {
    if options.action.as_deref() == Some("store") && options.command.is_some() {
        return Err(Failure::refused("--command has no meaning with --action store: give --path"));
    }
    if options.action.as_deref() != Some("store") && options.path.is_some() {
        return Err(Failure::refused("--path belongs to --action store"));
    }
    let before = before(app, &options)?;
    let old = before.as_ref().map(|(package, _)| package);
    let os = options.os.or(old.map(|old| old.os)).ok_or_else(|| Failure::refused("--os is needed"))?;
    let name = options.name.clone().or_else(|| old.map(|old| old.name.clone()));
    let fragmenting = match (options.fragments, options.fragment_size) {
        (Some(count), _) => Some(Fragmenting::Count(count)),
        (None, Some(size)) => Some(Fragmenting::Size(size)),
        (None, None) => before.as_ref().and_then(|(_, recipe)| recipe.fragmenting()),
    };
    let (action, source, recipe) = doing(place, app, &options, os, before.as_ref())?;
    let notify = options.notify_text.map(|text| Notify {
        text,
        countdown_seconds: options.notify_countdown,
        can_abort: options.can_abort,
        can_delay: options.can_delay,
        policy: PromptPolicy {
            max_delays: options.notify_max_delays,
            deadline_hours: options.notify_deadline,
            nobody: options.notify_nobody.unwrap_or_default(),
        },
    });
    let request = BuildRequest {
        package: NewPackage {
            name: name.ok_or_else(|| Failure::refused("--name is needed"))?,
            version: options.version,
            description: options.description.or(old.map(|old| old.description.clone())).unwrap_or_default(),
            os,
            action,
            priority: options.priority.or(old.map(|old| old.priority)).unwrap_or_default(),
            notify: notify.or_else(|| old.and_then(|old| old.notify.clone())),
            done: options.done_text.map(|text| DoneMessage { text }).or_else(|| old.and_then(|old| old.done.clone())),
            exit_codes: options.exit_codes.or_else(|| old.map(|old| old.exit_codes.clone())).unwrap_or_default(),
        },
        source,
        fragmenting: fragmenting.unwrap_or(Fragmenting::DEFAULT),
    };
    Ok((request, recipe.cut(fragmenting)))
}

fn before(app: &App, options: &Build) -> Result<Option<Before>, Failure> {
    let Some(id) = options.like else { return Ok(None) };
    let found = app.store.read_now(move |conn| -> Result<_, StoreError> { packages::find(conn, id) })?;
    let package = found
        .ok_or_else(|| Failure::refused(format!("there is no package {id}: `dripfeed package list` shows them")))?;
    Ok(Some((package, publish::recipe_of(app, id)?.unwrap_or_default())))
}

/// What is packed: as it was named, or the script of the version before.
fn source(place: &Place, options: &Build, before: Option<&Before>) -> Result<Source, Failure> {
    let uploaded = place.served.as_ref().map(|served| served.upload.clone());
    match (&options.source, uploaded) {
        (None, _) => Ok(match before.and_then(|(_, recipe)| recipe.script.clone()) {
            Some(script) => Source::Text { name: script.name, text: script.text },
            None => Source::Nothing,
        }),
        (Some(_), Some(Some(upload))) => Ok(upload),
        (Some(_), Some(None)) => Err(Failure::refused("the file was not uploaded")),
        (Some(path), None) if path == Path::new("-") => Ok(Source::Stdin),
        (Some(path), None) => Ok(Source::Path(path.clone())),
    }
}

/// The action with its content: by its own words, by a template, or as the version before.
fn doing(
    place: &Place,
    app: &App,
    options: &Build,
    os: OsFamily,
    before: Option<&Before>,
) -> Result<(Action, Source, Recipe), Failure> {
    let source = source(place, options, before)?;
    let script = before.and_then(|(_, recipe)| recipe.script.clone()).filter(|_| options.source.is_none());
    let text = options.command.as_deref().or(options.path.as_deref()).unwrap_or_default();
    let known = before.map(|(_, recipe)| recipe.template.as_str()).filter(|id| !matches!(*id, "" | "custom"));
    let template = match (&options.action, options.template.as_deref().or(known), before) {
        (Some(action), ..) => {
            let action = Action::from_parts(action, text).map_err(|error: InvalidPackage| refused(error))?;
            return Ok((action, source, Recipe { script, ..Recipe::default() }));
        }
        (None, Some(id), _) => id,
        (None, None, Some((package, _))) => {
            return Ok((package.action.clone(), source, Recipe { script, ..Recipe::default() }));
        }
        (None, None, None) => return Err(Failure::refused("--action or --template is needed")),
    };
    let catalogue = own::catalogue(app)?;
    let template = catalogue.find(template, os).ok_or_else(|| {
        Failure::refused(format!("there is no template \"{template}\" for {os}: `dripfeed template list` shows them"))
    })?;
    let mut values: Values = before
        .filter(|(_, recipe)| recipe.template == template.id)
        .map(|(_, recipe)| recipe.values.clone())
        .unwrap_or_default();
    values.extend(options.set.iter().cloned());
    let file = file_of(app, template, os, &source)?;
    let filled = template.fill(os, file.as_deref(), &values).map_err(refused)?;
    let source = match filled.script {
        None => source,
        Some(added) => with(source, Part { path: added.name, bytes: PartBytes::Text(added.text) })?,
    };
    let (id, version) = (template.id.clone(), template.version);
    Ok((filled.action, source, Recipe { template: id, version, values, script, ..Recipe::default() }))
}

/// The file that a template's command is about.
fn file_of(app: &App, template: &Template, os: OsFamily, source: &Source) -> Result<Option<String>, Failure> {
    let (path, name) = match source {
        Source::Nothing => return Ok(None),
        Source::Stdin => {
            return Err(Failure::refused(
                "a template looks for its file, and standard input has none: name an archive",
            ));
        }
        Source::Text { name, .. } | Source::Fragments { name, .. } => return Ok(Some(name.clone())),
        Source::Several { parts, .. } => {
            return template.file_among(parts.iter().map(|part| part.path.as_str())).map(Some).map_err(refused);
        }
        Source::Named { path, name } => (path, name.clone()),
        Source::Path(path) => {
            (path, path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
        }
    };
    let unreadable = |error: std::io::Error| Failure::refused(format!("{} cannot be read: {error}", path.display()));
    let found: Result<String, FillError> = if path.is_dir() {
        // The one that a command is about lies at the top.
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            names.push(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
        }
        template.file_among(names.iter().map(String::as_str))
    } else if is_archive_name(&name) {
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let looked = Contents::look(file, size, os, &app.archive_limits, &|_| {});
        let (_, contents) = looked.map_err(refused)?;
        template.file_of(&name, contents.members.iter().map(|member| member.path.as_str()))
    } else {
        template.file_of(&name, [])
    };
    found.map(Some).map_err(refused)
}

/// A content with the script that a template adds.
fn with(source: Source, added: Part) -> Result<Source, Failure> {
    let one = |file: std::path::PathBuf, name: String, added: Part| -> Result<Source, Failure> {
        let metadata = std::fs::metadata(&file);
        let size =
            metadata.map_err(|error| Failure::refused(format!("{} cannot be read: {error}", file.display())))?.len();
        let part = Part { path: name.clone(), bytes: PartBytes::Piece { file, from: 0, size } };
        Ok(Source::Several { name, parts: vec![part, added] })
    };
    match source {
        Source::Named { path, name } => one(path, name, added),
        Source::Path(path) if path.is_file() => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            one(path, name, added)
        }
        Source::Several { name, mut parts } => {
            parts.push(added);
            Ok(Source::Several { name, parts })
        }
        Source::Nothing => Ok(Source::Several { name: added.path.clone(), parts: vec![added] }),
        _ => Err(Failure::refused("this template adds a script to one file: name the file itself")),
    }
}
