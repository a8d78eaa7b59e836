//! Building: from an upload, a typed text or nothing to a package.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::super::contents::Contents;
use super::super::looks::{Looks, Seen};
use super::super::publish::{self, BuildRequest, Built, Fragmenting, Part, PartBytes, Progress, Recipe, Source};
use super::super::templates::{Script, Template, Values};
use super::super::uploads::{self, UploadError};
use super::super::works::{Activated, Kind as WorkKind, Outcome, Teller, Works};
use super::packages::{Activating, STEPS as ACTIVATION};
use super::{App, Desk, Refusal};
use crate::disk::uploads::Uploads;
use crate::engine::check_pace;
use crate::fetch::Client;
use crate::model::access::Right;
use crate::model::settings::{DownloadSettings, SettingsLayer, resolve};
use crate::model::{
    Action, ByteSize, Done, ExitCodes, FragmentCount, Notify, OsFamily, Package, PackageId, Priority, Upload,
    UploadFile, UploadId,
};
use crate::store::audit::{self, Entry};
use crate::store::packages::{BuiltContent, NewPackage};
use crate::store::{recipes, settings};

/// The steps of a build, as they are watched.
const STEPS: [&str; 3] = ["Pack", "Cut into fragments and read every file", "Make durable and publish"];
/// Bytes of a typed script.
const TEXT: usize = 512 << 10;
/// How long an archive is waited for when a template looks for its file.
const LOOK: Duration = Duration::from_millis(800);

/// What a package is built from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// A command without files.
    Nothing,
    /// An upload of the actor's.
    Upload(UploadId),
    /// One file with this text.
    Text {
        /// What it is called.
        name: String,
        /// What is in it.
        text: String,
    },
    /// An upload of the actor's, and the script that its template adds.
    With(UploadId, Script),
}

impl Content {
    /// The same with the script that a template adds.
    #[must_use]
    pub fn and(self, script: Option<Script>) -> Self {
        match (self, script) {
            (Self::Upload(id) | Self::With(id, _), Some(script)) => Self::With(id, script),
            (Self::Nothing, Some(Script { name, text })) => Self::Text { name, text },
            (content, _) => content,
        }
    }
}

/// A package as a form or a document describes it.
#[derive(Clone, Debug)]
pub struct Description {
    /// The family.
    pub name: String,
    /// The version.
    pub version: String,
    /// Free text.
    pub description: String,
    /// For which system.
    pub os: OsFamily,
    /// What is done with it.
    pub action: Action,
    /// The pace.
    pub priority: Priority,
    /// The question before.
    pub notify: Option<Notify>,
    /// The sentence after.
    pub done: Option<Done>,
    /// What unusual exit codes mean.
    pub exit_codes: ExitCodes,
    /// The content.
    pub content: Content,
    /// How it is cut; `None` for what fits its size.
    pub fragmenting: Option<Fragmenting>,
    /// What it is made by, for the next version.
    pub recipe: Recipe,
}

/// What will come of a description.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The info file as agents will read it; number and digests are filled in by the build.
    pub info: String,
    /// Why the build would be refused.
    pub refusal: Option<String>,
    /// What should be known though it is no error.
    pub warnings: Vec<String>,
    /// Bytes of the archive, if it is an archive already.
    pub size: u64,
    /// How many fragments.
    pub fragments: FragmentCount,
    /// Bytes of each but the last.
    pub fragment_size: u64,
    /// How long a computer needs from contact to execution with the settings in force, or why it never ends.
    pub pace: Result<Duration, String>,
    /// True while the content is still being read.
    pub reading: bool,
}

impl Desk {
    /// What is inside one of the actor's uploads.
    pub fn look(&self, looks: &Looks, id: &UploadId, os: OsFamily, patience: Duration) -> Result<Seen, Refusal> {
        let upload = self.complete(id)?;
        Ok(looks.at(&self.app, &upload, os, patience))
    }

    /// The pace of a package with the server's settings, or why it never ends.
    pub fn pace(&self, priority: Priority, fragments: FragmentCount) -> Result<Result<Duration, String>, Refusal> {
        let settings = download_settings(self.reading(Right::SeePackages)?)?;
        Ok(check_pace(&settings, priority, fragments).map_err(|error| error.to_string()))
    }

    /// What would come of a description. Nothing is changed.
    pub fn preview(&self, description: &Description, looks: &Looks, patience: Duration) -> Result<Preview, Refusal> {
        let app = self.reading(Right::BuildPackages)?;
        let (request, upload) = self.request(description)?;
        let seen = upload.as_ref().map(|upload| looks.at(app, upload, description.os, patience));
        let found = match (&seen, &upload) {
            (Some(Seen::Found(looked)), Some(upload)) => Some((upload.name.as_str(), &looked.0)),
            _ => None,
        };
        let (refusal, warnings) = publish::lint(&request, found);
        let refusal = refusal.map(|error| Refusal::from(error).for_people().to_owned()).or(match &seen {
            Some(Seen::Refused(sentence)) => Some(sentence.clone()),
            _ => None,
        });
        let size = match (&description.content, &upload) {
            (Content::Nothing, _) => 0,
            (Content::Text { text, .. }, _) => text.len().max(1) as u64,
            (Content::Upload(_) | Content::With(..), upload) => upload.as_ref().map_or(0, |upload| upload.size),
        };
        let (fragments, fragment_size, cut) = match request.fragmenting.plan(size) {
            _ if size == 0 => (FragmentCount(0), 0, None),
            Ok(plan) => (plan.count(), plan.fragment_size(), None),
            Err(error) => (FragmentCount(0), 0, Some(error.to_string())),
        };
        let as_it_is = |upload: &&Upload| upload.files.is_empty() && publish::is_archive_name(&upload.name);
        let sha256 = upload.as_ref().filter(as_it_is).and_then(|upload| upload.sha256);
        let built = BuiltContent { size, md5: None, sha256, fragments: Vec::new() };
        let settings = download_settings(app)?;
        let id = PackageId::try_from(app.clock.now().seconds()).ok().or(PackageId::new(1));
        let info = id.map(|id| publish::info_of(&request.package, id, &built, fragments).to_xml()).unwrap_or_default();
        Ok(Preview {
            info,
            refusal: refusal.or(cut),
            warnings,
            size,
            fragments,
            fragment_size,
            pace: check_pace(&settings, description.priority, fragments).map_err(|error| error.to_string()),
            reading: matches!(seen, Some(Seen::Reading(..))),
        })
    }

    /// Fills in a template for a content: what agents do, the content with the script that the template adds, and the recipe.
    pub fn fill(
        &self,
        looks: &Looks,
        template: &Template,
        os: OsFamily,
        content: Content,
        values: &Values,
    ) -> Result<(Action, Content, Recipe), Refusal> {
        let (file, script) = match &content {
            Content::Nothing => (None, None),
            Content::Text { name, text } => {
                (Some(name.clone()), Some(Script { name: name.clone(), text: text.clone() }))
            }
            Content::Upload(id) | Content::With(id, _) => (Some(self.file_for(looks, template, id, os)?), None),
        };
        let filled = template.fill(os, file.as_deref(), values)?;
        let (template, version) = (template.id.clone(), template.version);
        let recipe = Recipe { template, version, values: values.clone(), script, ..Recipe::default() };
        Ok((filled.action, content.and(filled.script), recipe))
    }

    /// The file of an upload that a template's command is about.
    fn file_for(&self, looks: &Looks, template: &Template, id: &UploadId, os: OsFamily) -> Result<String, Refusal> {
        let upload = self.complete(id)?;
        if !upload.files.is_empty() {
            return Ok(template.file_among(upload.files.iter().map(|file| file.path.as_str()))?);
        }
        let looked = publish::is_archive_name(&upload.name).then(|| looks.at(&self.app, &upload, os, LOOK));
        let names: Vec<&str> = match &looked {
            Some(Seen::Found(looked)) => looked.1.members.iter().map(|member| member.path.as_str()).collect(),
            _ => Vec::new(),
        };
        Ok(template.file_of(&upload.name, names)?)
    }

    /// Builds a package and waits for it; with `activating` it is activated then. The package stays if that is refused.
    pub fn build(
        &self,
        description: &Description,
        activating: Option<&Activating>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Built, Activated), Refusal> {
        self.allow(Right::BuildPackages)?;
        self.allow_activating(activating)?;
        let (request, upload) = self.request(description)?;
        let built = self.build_now(&request, &description.recipe, upload.as_ref(), progress)?;
        let id = built.package.id;
        let activated = activating.map_or(Activated::NotAsked, |wanted| {
            let client = wanted.check_with.as_ref().map(Client::new).transpose();
            let done = client.map_err(|error| Refusal::conflict(error.to_string())).and_then(|client| {
                let (info, fragments) = (wanted.info_location.clone(), wanted.fragment_location.clone());
                self.activate(id, info, fragments, client.as_ref(), &mut |_, _| {})
            });
            match done {
                Ok(_) => Activated::Yes,
                Err(refusal) => Activated::Refused(refusal.for_people().to_owned()),
            }
        });
        Ok((built, activated))
    }

    fn allow_activating(&self, activating: Option<&Activating>) -> Result<(), Refusal> {
        activating.map_or(Ok(()), |_| self.allow(Right::ActivatePackages))
    }

    /// Builds a package in the background; gives the number of the work. What can be refused at once is.
    pub fn start_build(
        &self,
        works: &Works,
        looks: &Looks,
        description: &Description,
        activating: Option<Activating>,
    ) -> Result<u64, Refusal> {
        self.allow_activating(activating.as_ref())?;
        let preview = self.preview(description, looks, Duration::from_millis(500))?;
        if let Some(refusal) = preview.refusal {
            return Err(Refusal::invalid(refusal));
        }
        let (request, upload) = self.request(description)?;
        let (desk, recipe) = (self.clone(), description.recipe.clone());
        let title = format!("{} {}", request.package.name, request.package.version);
        let after: &[&str] = if activating.is_some() { &ACTIVATION } else { &[] };
        let begun = works.start(
            &self.actor.name,
            WorkKind::Build,
            title,
            self.app.clock.now(),
            &[&STEPS, after].concat(),
            move |teller: &Teller| {
                let built = desk.build_now(&request, &recipe, upload.as_ref(), &mut |progress| match progress {
                    Progress::Packing(done) => teller.step(0, done, 0),
                    Progress::Cutting { done, total } => teller.step(1, done, total),
                    Progress::Publishing => teller.step(2, 0, 0),
                });
                match built {
                    Ok(Built { package, warnings }) => {
                        let activated = activating
                            .as_ref()
                            .map_or(Activated::NotAsked, |wanted| desk.activated_after(teller, package.id, wanted));
                        Outcome::Done { package: package.id, warnings, activated }
                    }
                    Err(refusal) => Outcome::Failed(refusal.for_people().to_owned()),
                }
            },
        );
        begun.ok_or_else(|| {
            Refusal::new(super::Kind::Later, "too many builds wait already: try again when some are done")
        })
    }

    fn activated_after(&self, teller: &Teller, id: PackageId, wanted: &Activating) -> Activated {
        teller.step(STEPS.len(), 0, 0);
        let done = self.package(id).and_then(|line| self.activation_work(teller, STEPS.len(), &line, wanted));
        match done {
            Ok(()) => Activated::Yes,
            Err(refusal) => Activated::Refused(refusal.for_people().to_owned()),
        }
    }

    /// Builds, and writes the recipe and the audit line with the package's number in the transaction that takes the number.
    fn build_now(
        &self,
        request: &BuildRequest,
        recipe: &Recipe,
        upload: Option<&Upload>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Built, Refusal> {
        let entry = self.entry("package build", request, upload);
        let built = publish::build_noted(&self.app, request, progress, {
            let (entry, document) = (entry.clone(), recipe.to_document());
            move |conn, id| {
                recipes::set(conn, id, &document)?;
                audit::add(conn, &Entry { subject: format!("package {id}"), ..entry.clone() })
            }
        });
        match built {
            Ok(built) => {
                if let Some(upload) = upload {
                    // It is in the package now. If this fails, it goes when it expires.
                    let _ = uploads::remove(&self.app, &upload.id);
                }
                Ok(built)
            }
            Err(error) => {
                let refusal = Refusal::from(error);
                let failed = Entry {
                    action: "package build failed".to_owned(),
                    after: Some(json!({ "why": refusal.to_string() }).to_string()),
                    ..entry
                };
                // What it was refused for is the answer, also when the log cannot be written.
                let _ = self.app.store.write_now(move |conn| audit::add(conn, &failed));
                Err(refusal)
            }
        }
    }

    fn entry(&self, action: &str, request: &BuildRequest, upload: Option<&Upload>) -> Entry {
        let package = &request.package;
        Entry {
            at: self.app.clock.now(),
            actor: self.actor.label(),
            via: self.actor.via.as_str(),
            peer_address: self.actor.peer_address.clone(),
            action: action.to_owned(),
            subject: format!("package {} {}", package.name, package.version),
            before: None,
            after: Some(
                json!({
                    "name": package.name,
                    "version": package.version,
                    "os": package.os.as_str(),
                    "action": package.action.as_str(),
                    "command": package.action.text(),
                    "priority": package.priority.number(),
                    "upload": upload.map(|upload| &upload.name),
                })
                .to_string(),
            ),
        }
    }

    /// What the build is asked for.
    fn request(&self, description: &Description) -> Result<(BuildRequest, Option<Upload>), Refusal> {
        if !self.actor.scope.has_family(&description.name) && !description.name.is_empty() {
            let families: Vec<String> = self.actor.scope.families.iter().map(ToString::to_string).collect();
            return Err(Refusal::forbidden(format!(
                "{} may build packages of these families only: {}",
                self.actor.label(),
                families.join(", ")
            ))
            .about("name"));
        }
        let (source, upload) = match &description.content {
            Content::Nothing => (Source::Nothing, None),
            Content::Text { name, text } if text.trim().is_empty() => {
                return Err(
                    Refusal::invalid(format!("the script {name} is empty: type it, or upload one")).about("text")
                );
            }
            Content::Text { text, .. } if text.len() > TEXT => {
                return Err(Refusal::invalid(format!(
                    "a typed script has at most {}: upload it as a file",
                    ByteSize(TEXT as u64)
                ))
                .about("text"));
            }
            Content::Text { name, text } => {
                if name.is_empty() || name.contains(['/', '\\']) || name.contains(char::is_control) || name.len() > 200
                {
                    return Err(Refusal::invalid("a script's name has no path in it").about("script"));
                }
                (Source::Text { name: name.clone(), text: text.clone() }, None)
            }
            Content::Upload(id) => {
                let (upload, source) = self.uploaded(id)?;
                (source, Some(upload))
            }
            Content::With(id, script) => {
                let upload = self.complete(id)?;
                let (name, mut parts) = (upload.name.clone(), self.parts(&upload));
                parts.push(Part { path: script.name.clone(), bytes: PartBytes::Text(script.text.clone()) });
                (Source::Several { name, parts }, Some(upload))
            }
        };
        let size = upload.as_ref().map_or(0, |upload| upload.size);
        let request = BuildRequest {
            package: NewPackage {
                name: description.name.trim().to_owned(),
                version: description.version.trim().to_owned(),
                description: description.description.clone(),
                os: description.os,
                action: description.action.clone(),
                priority: description.priority,
                notify: description.notify.clone(),
                done: description.done.clone(),
                exit_codes: description.exit_codes.clone(),
            },
            source,
            fragmenting: description.fragmenting.unwrap_or_else(|| Fragmenting::automatic(size)),
        };
        Ok((request, upload))
    }

    /// One of the actor's uploads, complete, and how a build takes it.
    pub fn uploaded(&self, id: &UploadId) -> Result<(Upload, Source), Refusal> {
        let upload = self.complete(id)?;
        let name = upload.name.clone();
        let source = if upload.files.is_empty() {
            Source::Named { path: Uploads::of(&self.app.tree).path(id), name }
        } else {
            Source::Several { name, parts: self.parts(&upload) }
        };
        Ok((upload, source))
    }

    /// The files of an upload: they lie in it one behind the other.
    fn parts(&self, upload: &Upload) -> Vec<Part> {
        let file = Uploads::of(&self.app.tree).path(&upload.id);
        if upload.files.is_empty() {
            let bytes = PartBytes::Piece { file, from: 0, size: upload.size };
            return vec![Part { path: upload.name.clone(), bytes }];
        }
        let mut from = 0;
        let part = |one: &UploadFile| {
            let bytes = PartBytes::Piece { file: file.clone(), from, size: one.size };
            from += one.size;
            Part { path: one.path.clone(), bytes }
        };
        upload.files.iter().map(part).collect()
    }

    /// What a package was made by, if that was kept.
    pub fn recipe(&self, id: PackageId) -> Result<Option<Recipe>, Refusal> {
        self.package(id)?;
        Ok(publish::recipe_of(&self.app, id)?)
    }

    /// Where one of the actor's uploads is, complete.
    pub(super) fn uploaded_file(&self, id: &UploadId) -> Result<PathBuf, Refusal> {
        self.complete(id)?;
        Ok(Uploads::of(&self.app.tree).path(id))
    }

    fn complete(&self, id: &UploadId) -> Result<Upload, Refusal> {
        let upload = self.upload(id)?;
        if upload.is_complete() { Ok(upload) } else { Err(UploadError::Incomplete(upload.name).into()) }
    }
}

/// The pace that computers without settings of their own are told.
fn download_settings(app: &App) -> Result<DownloadSettings, Refusal> {
    let set = app.store.read_now(|conn| settings::layer(conn, settings::Scope::Global))?;
    Ok(resolve(&app.global_layer(set), &[], &SettingsLayer::default()).download())
}

/// Two versions of something, side by side.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The older one.
    pub old: Package,
    /// The newer one.
    pub new: Package,
    /// What was listed of each, if it was.
    pub contents: (Option<Contents>, Option<Contents>),
}
