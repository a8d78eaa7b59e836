//! `/packages`: building, and what a package was made by.

#![expect(clippy::needless_pass_by_value, reason = "an operation owns what it is asked")]

use std::collections::BTreeMap;

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, operation};
use super::packages::{ById, PackageView, activating_here};
use crate::model::access::Right;
use crate::model::{
    Action, ByteSize, Done, ExitCodes, Nobody, Notify, OsFamily, Package, PackageId, Priority, PromptPolicy, UploadId,
};
use crate::service::desk::builds::{Content, Description};
use crate::service::desk::packages::PackageLine;
use crate::service::desk::{Desk, Refusal};
use crate::service::looks::Looks;
use crate::service::publish::{Fragmenting, Recipe};
use crate::service::templates::{Script, Values};
use crate::service::works::Activated;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Method::POST,
            "/packages",
            "build_package",
            "Builds a package from an upload, a text or nothing, and waits for it; with activate it is activated then",
            Right::BuildPackages,
            build,
        )
        .creates(),
        operation(
            Method::POST,
            "/packages/preview",
            "preview_package",
            "What would come of a build: the info file, warnings, the time that computers need. Nothing is changed",
            Right::BuildPackages,
            preview,
        ),
        operation(
            Method::GET,
            "/packages/{id}/recipe",
            "get_recipe",
            "What a package was made by: template, values, script. A build that is `like` it begins with that",
            Right::SeePackages,
            recipe,
        ),
    ]
}

/// A package to be built.
#[derive(Deserialize, JsonSchema)]
pub(super) struct BuildBody {
    /// The family; needed unless it is like another.
    name: Option<String>,
    /// The version.
    version: String,
    /// A package that everything is taken from that is not said here, but for an uploaded file.
    like: Option<u32>,
    /// Free text.
    description: Option<String>,
    /// `linux`, `windows` or `macos`; needed unless it is like another.
    os: Option<String>,
    /// The number of a complete upload.
    upload: Option<String>,
    /// A typed file instead of an upload.
    script: Option<ScriptBody>,
    /// A kind of `list_templates` that fills in the action; needs `values`.
    template: Option<String>,
    /// The kind's fields.
    values: Option<BTreeMap<String, String>>,
    /// `launch`, `execute` or `store`; without a template.
    action: Option<String>,
    /// The command, or the directory for `store`; without a template.
    command: Option<String>,
    /// The pace: 0 is at once, 10 the slowest; 5 if it is not said.
    priority: Option<u32>,
    /// Bytes of a fragment; what fits the size if it is not said.
    fragment_bytes: Option<u64>,
    /// How many fragments at most, instead.
    fragments: Option<u32>,
    /// A question to whoever sits there before anything runs.
    notify: Option<NotifyBody>,
    /// A sentence afterwards that somebody must confirm.
    done_text: Option<String>,
    /// What unusual exit codes mean to our own agent: `3=success 194=reboot`.
    exit_codes: Option<String>,
    /// Activate it on this server when it is built? As `packages.activate_when_built` says if it is not said. If the check
    /// fails the package stays built.
    activate: Option<bool>,
}

/// A typed file.
#[derive(Deserialize, JsonSchema, Serialize)]
struct ScriptBody {
    /// What it is called.
    name: String,
    /// What is in it.
    text: String,
}

impl From<Script> for ScriptBody {
    fn from(Script { name, text }: Script) -> Self {
        Self { name, text }
    }
}

/// A question before.
#[derive(Deserialize, JsonSchema, Serialize)]
pub(super) struct NotifyBody {
    /// What the person reads.
    text: String,
    /// Seconds until silence means yes; 0 waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    countdown_seconds: Option<u32>,
    /// May the person refuse for good?
    #[serde(default)]
    can_abort: bool,
    /// May the person put it off?
    #[serde(default)]
    can_delay: bool,
    /// How often it may be put off, 1 to 100, by our own agent; without it as often as the person likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_delays: Option<u32>,
    /// Hours from when it is ready, 1 to 8760: then our own agent tells it and does not ask any more, and waits for nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_hours: Option<u32>,
    /// What our own agent does where nobody is logged in: `run` (as if it is not said) or `wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    nobody: Option<String>,
}

impl From<Notify> for NotifyBody {
    fn from(Notify { text, countdown_seconds, can_abort, can_delay, policy }: Notify) -> Self {
        let PromptPolicy { max_delays, deadline_hours, nobody } = policy;
        let nobody = Some(nobody.to_string());
        Self { text, countdown_seconds, can_abort, can_delay, max_delays, deadline_hours, nobody }
    }
}

impl NotifyBody {
    fn meant(&self) -> Result<Notify, Refusal> {
        let nobody = self.nobody.as_deref().map(str::parse::<Nobody>).transpose();
        Ok(Notify {
            text: self.text.clone(),
            countdown_seconds: self.countdown_seconds,
            can_abort: self.can_abort,
            can_delay: self.can_delay,
            policy: PromptPolicy {
                max_delays: self.max_delays,
                deadline_hours: self.deadline_hours,
                nobody: nobody
                    .map_err(|error| Refusal::invalid(error.to_string()).about("nobody"))?
                    .unwrap_or_default(),
            },
        })
    }
}

/// A package that another is like, with its recipe.
type Before = (Package, Option<Recipe>);

impl BuildBody {
    fn description(&self, desk: &Desk, looks: &Looks) -> Result<Description, Refusal> {
        let invalid = |error: crate::model::InvalidPackage, field| Refusal::invalid(error.to_string()).about(field);
        let before = self.before(desk)?;
        let old = before.as_ref().map(|(package, _)| package);
        let needed =
            |field| Refusal::invalid(format!("{field} is needed, unless it is like another package")).about(field);
        let os: OsFamily = match (&self.os, old) {
            (Some(word), _) => word.parse().map_err(|error| invalid(error, "os"))?,
            (None, old) => old.map(|old| old.os).ok_or_else(|| needed("os"))?,
        };
        let name = self.name.clone().or_else(|| old.map(|old| old.name.clone())).ok_or_else(|| needed("name"))?;
        let (action, content, recipe) = self.doing(desk, looks, os, before.as_ref())?;
        let fragmenting = match (self.fragment_bytes, self.fragments) {
            (Some(_), Some(_)) => {
                return Err(Refusal::invalid("either the size of fragments or their number").about("fragments"));
            }
            (Some(bytes), None) => Some(Fragmenting::Size(ByteSize(bytes))),
            (None, Some(count)) => Some(Fragmenting::Count(count)),
            (None, None) => before.as_ref().and_then(|(_, recipe)| recipe.as_ref()?.fragmenting()),
        };
        let notify = self.notify.as_ref().map(NotifyBody::meant).transpose()?;
        let exit_codes = match (&self.exit_codes, old) {
            (None, Some(old)) => old.exit_codes.clone(),
            (text, _) => text.as_deref().unwrap_or_default().parse::<ExitCodes>().map_err(
                |error: crate::model::InvalidExitCodes| Refusal::invalid(error.to_string()).about("exit_codes"),
            )?,
        };
        let priority = self.priority.map(Priority::from_number).or(old.map(|old| old.priority));
        Ok(Description {
            name,
            version: self.version.clone(),
            description: self.description.clone().or(old.map(|old| old.description.clone())).unwrap_or_default(),
            os,
            action,
            priority: priority.unwrap_or_default(),
            notify: notify.or_else(|| old.and_then(|old| old.notify.clone())),
            done: self.done_text.clone().map(|text| Done { text }).or_else(|| old.and_then(|old| old.done.clone())),
            exit_codes,
            content,
            fragmenting,
            recipe: recipe.cut(fragmenting),
        })
    }

    fn before(&self, desk: &Desk) -> Result<Option<Before>, Refusal> {
        let Some(number) = self.like else { return Ok(None) };
        let unknown = || Refusal::invalid(format!("there is no package {number}")).about("like");
        let id = PackageId::new(number).ok_or_else(unknown)?;
        Ok(Some((desk.package(id)?.package, desk.recipe(id)?)))
    }

    /// What it is made of; a script of the version before if nothing else is said.
    fn content(&self, recipe: Option<&Recipe>) -> Result<Content, Refusal> {
        let typed = |name: &str, text: &str| Content::Text { name: name.to_owned(), text: text.to_owned() };
        match (&self.upload, &self.script) {
            (Some(_), Some(_)) => Err(Refusal::invalid("either an upload or a script, not both").about("script")),
            (Some(id), None) => {
                let id: Result<UploadId, _> = id.parse();
                Ok(Content::Upload(id.map_err(|error| Refusal::invalid(error.to_string()).about("upload"))?))
            }
            (None, Some(script)) => Ok(typed(&script.name, &script.text)),
            (None, None) => Ok(recipe
                .and_then(|recipe| recipe.script.as_ref())
                .map_or(Content::Nothing, |script| typed(&script.name, &script.text))),
        }
    }

    /// The action with its content: by a template, by its own words, or as the version before.
    fn doing(
        &self,
        desk: &Desk,
        looks: &Looks,
        os: OsFamily,
        before: Option<&Before>,
    ) -> Result<(Action, Content, Recipe), Refusal> {
        let recipe = before.and_then(|(_, recipe)| recipe.as_ref());
        let content = self.content(recipe)?;
        let by_hand = |action: Action| {
            let script = match &content {
                Content::Text { name, text } => Some(Script { name: name.clone(), text: text.clone() }),
                _ => None,
            };
            (action, content.clone(), Recipe { script, ..Recipe::default() })
        };
        let known = recipe.map(|recipe| recipe.template.as_str()).filter(|id| !matches!(*id, "" | "custom"));
        let (template, values) = match (&self.template, &self.action, before) {
            (Some(id), None, _) => (id.as_str(), self.values.clone()),
            (None, Some(action), _) => {
                let action = Action::from_parts(action, self.command.as_deref().unwrap_or_default());
                let action = action.map_err(|error| Refusal::invalid(error.to_string()).about("command"))?;
                return Ok(by_hand(action));
            }
            (None, None, Some((package, _))) => match known {
                Some(id) => (id, None),
                None => return Ok(by_hand(package.action.clone())),
            },
            _ => return Err(Refusal::invalid("say either a template or an action").about("action")),
        };
        let catalogue = desk.templates()?;
        let unknown = || Refusal::invalid(format!("there is no kind \"{template}\" for {os}")).about("template");
        let found = catalogue.find(template, os).ok_or_else(unknown)?;
        // What is said goes before what was; what the version before had counts for the same kind only.
        let mut filled: Values =
            recipe.filter(|recipe| recipe.template == template).map(|it| it.values.clone()).unwrap_or_default();
        filled.extend(values.or_else(|| self.values.clone()).unwrap_or_default());
        desk.fill(looks, found, os, content, &filled).map_err(|refusal| refusal.about("values"))
    }
}

/// A package that was built.
#[derive(JsonSchema, Serialize)]
struct BuiltView {
    /// It.
    package: PackageView,
    /// What should be known though it is no error.
    warnings: Vec<String>,
    /// Was it activated? Absent if that was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    activated: Option<bool>,
    /// Why it was not; it is built all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_activated: Option<String>,
}

fn build(asked: Asked<Nothing, Nothing, BuildBody>) -> Result<BuiltView, Refusal> {
    let desk = asked.desk();
    let description = asked.body.description(desk, &asked.site.looks)?;
    // The setting is for those who may; who asks for it and may not is refused.
    let wanted = asked.body.activate.unwrap_or(asked.site.activate_when_built && desk.may(Right::ActivatePackages));
    let activating = wanted.then(|| activating_here(&asked.site)).transpose()?;
    let (built, activated) = desk.build(&description, activating.as_ref(), &mut |_| {})?;
    let line = match activated {
        Activated::Yes => desk.package(built.package.id)?,
        _ => PackageLine { package: built.package, activation: None, counts: Vec::new() },
    };
    Ok(BuiltView {
        package: line.into(),
        warnings: built.warnings,
        activated: (activated != Activated::NotAsked).then_some(activated == Activated::Yes),
        not_activated: match activated {
            Activated::Refused(sentence) => Some(sentence),
            _ => None,
        },
    })
}

/// What would come of a build.
#[derive(JsonSchema, Serialize)]
struct PreviewView {
    /// The info file; number and digests are filled in by the build.
    info: String,
    /// The command or the directory, exactly as agents get it.
    command: String,
    /// The script that a template adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<ScriptBody>,
    /// Why the build would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// What should be known though it is no error.
    warnings: Vec<String>,
    /// How many fragments.
    fragments: u32,
    /// Bytes of each but the last.
    fragment_bytes: u64,
    /// Seconds from contact to execution at the server's settings; absent if it never ends, see `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    /// Why it never ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    never: Option<String>,
}

fn preview(asked: Asked<Nothing, Nothing, BuildBody>) -> Result<PreviewView, Refusal> {
    let looks = &asked.site.looks;
    let description = asked.body.description(asked.desk(), looks)?;
    let preview = asked.desk().preview(&description, looks, std::time::Duration::from_secs(10))?;
    let script = match description.content {
        Content::With(_, script) => Some(script),
        Content::Text { name, text } if description.recipe.script.is_none() => Some(Script { name, text }),
        _ => None,
    };
    Ok(PreviewView {
        info: preview.info,
        command: description.action.text().to_owned(),
        script: script.map(ScriptBody::from),
        refusal: preview.refusal,
        warnings: preview.warnings,
        fragments: preview.fragments.0,
        fragment_bytes: preview.fragment_size,
        seconds: preview.pace.as_ref().ok().map(std::time::Duration::as_secs),
        never: preview.pace.err(),
    })
}

/// What a package was made by.
#[derive(JsonSchema, Serialize)]
struct RecipeView {
    /// The kind; absent if the action was written without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    /// The kind's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    template_version: Option<u32>,
    /// What stood in the kind's fields.
    values: Values,
    /// The script that was typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<ScriptBody>,
    /// Bytes of a fragment, if somebody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment_bytes: Option<u64>,
    /// How many fragments at most, if somebody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    fragments: Option<u32>,
}

fn recipe(asked: Asked<ById, Nothing, Nothing>) -> Result<RecipeView, Refusal> {
    // One that was built before recipes were kept was made by nothing that is known.
    let recipe = asked.desk().recipe(asked.path.id()?)?.unwrap_or_default();
    let by_template = !recipe.template.is_empty();
    Ok(RecipeView {
        template_version: by_template.then_some(recipe.version),
        template: by_template.then_some(recipe.template),
        values: recipe.values,
        script: recipe.script.map(ScriptBody::from),
        fragment_bytes: recipe.fragment_bytes,
        fragments: recipe.fragments,
    })
}
