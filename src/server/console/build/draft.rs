//! What the wizard knows so far: the content, the kind, and the version before.

use std::sync::Arc;

use super::super::call::{Call, Fields};
use crate::model::{
    Action, ByteSize, Done, Notify, OsFamily, Package, PackageId, Priority, PromptPolicy, Upload, UploadId,
};
use crate::service::desk::Refusal;
use crate::service::desk::builds::{Content, Description};
use crate::service::publish::{Fragmenting, Recipe};
use crate::service::templates::{Catalogue, Script, Template, Values, guess_name};

/// The boxes of the form: one that is not ticked is not sent.
pub(super) const BOXES: [&str; 3] = ["can_abort", "can_delay", "activate"];

/// What the package is made of, and as what kind.
pub(super) struct Draft {
    pub(super) upload: Option<Upload>,
    /// `upload`, `script` or `nothing`.
    pub(super) from: &'static str,
    pub(super) os: OsFamily,
    pub(super) kind: Arc<Template>,
    pub(super) catalogue: Catalogue,
    pub(super) like: Option<Package>,
    /// What the version before was made by.
    recipe: Option<Recipe>,
}

impl Draft {
    /// Reads the choice from a query or a form; `None` if nothing was chosen yet.
    pub(super) fn of(call: &Call, fields: &Fields) -> Result<Option<Self>, Refusal> {
        let desk = call.desk();
        let like = fields.parse_some::<PackageId>("like")?.map(|id| desk.package(id)).transpose()?;
        let like = like.map(|line| line.package);
        let recipe = like.as_ref().map(|like| desk.recipe(like.id)).transpose()?.flatten();
        let upload = match fields.some("upload") {
            Some(_) => Some(desk.upload(&fields.parse::<UploadId>("upload")?)?),
            None => None,
        };
        let from = match (fields.get("from"), &upload) {
            (_, Some(_)) => "upload",
            ("script", None) => "script",
            ("nothing", None) => "nothing",
            _ => return Ok(None),
        };
        let catalogue = desk.templates()?;
        let guess = upload.as_ref().and_then(|upload| guess(&catalogue, upload));
        let is_zip = upload.as_ref().is_some_and(|upload| upload.name.to_ascii_lowercase().ends_with(".zip"));
        let guessed = guess.as_ref().map(|(os, _)| *os).or(is_zip.then_some(OsFamily::Windows));
        let os = fields.parse_some::<OsFamily>("os")?.or(like.as_ref().map(|like| like.os)).or(guessed);
        let os = os.unwrap_or(OsFamily::Linux);
        // A kind whose template is gone goes on as the command that it was.
        let before =
            recipe.as_ref().map(|recipe| recipe.template.as_str()).filter(|id| catalogue.find(id, os).is_some());
        let kind = match (fields.some("kind"), &like, guess) {
            (Some(id), ..) => catalogue.find(id, os).cloned(),
            (None, Some(_), _) => catalogue.find(before.unwrap_or("custom"), os).cloned(),
            (None, None, Some((_, kind))) => Some(kind),
            _ => None,
        };
        let kind = kind.filter(|kind| kind.is_for(os) && kind.takes(from));
        let kind = kind.or_else(|| catalogue.kinds(os, from).next().cloned());
        let kind = kind.ok_or_else(|| Refusal::invalid("there is no such kind").about("kind"))?;
        Ok(Some(Self { upload, from, os, kind, catalogue, like, recipe }))
    }

    /// The recipe of the version before, if it was of the same kind.
    fn same_kind(&self) -> Option<&Recipe> {
        self.recipe.as_ref().filter(|recipe| recipe.template == self.kind.id)
    }

    /// What stands in a field at first.
    pub(super) fn first(&self, name: &str) -> String {
        if let Some(field) = self.kind.fields.iter().find(|field| name.strip_prefix("t_") == Some(&field.name)) {
            let before = self.same_kind().map(|recipe| recipe.values.get(&field.name).cloned().unwrap_or_default());
            return before.unwrap_or_else(|| field.default.clone());
        }
        let (guessed, version) = match &self.upload {
            // Files that were chosen together have no name of their own.
            Some(upload) if upload.name == format!("{} files", upload.files.len()) => <_>::default(),
            Some(upload) => guess_name(&upload.name),
            None => (String::new(), String::new()),
        };
        let like = self.like.as_ref();
        let notify = like.and_then(|like| like.notify.as_ref());
        let script = self.recipe.as_ref().and_then(|recipe| recipe.script.as_ref()).filter(|_| self.from == "script");
        let cut = self.recipe.as_ref().and_then(Recipe::fragmenting);
        let some = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        let tick = |on: bool| if on { "1".to_owned() } else { String::new() };
        match name {
            "name" => like.map_or(guessed, |like| like.name.clone()),
            "version" => version,
            "description" => like.map(|like| like.description.clone()).unwrap_or_default(),
            "action" => like.map_or("execute", |like| like.action.as_str()).to_owned(),
            "command" => like.map(|like| like.action.text().to_owned()).unwrap_or_default(),
            "priority" => like.map_or(5, |like| like.priority.number()).to_string(),
            "notify_text" => notify.map(|notify| notify.text.clone()).unwrap_or_default(),
            "notify_countdown" => some(notify.and_then(|notify| notify.countdown_seconds)),
            "can_abort" => tick(notify.is_some_and(|notify| notify.can_abort)),
            "can_delay" => tick(notify.is_some_and(|notify| notify.can_delay)),
            "max_delays" => some(notify.and_then(|notify| notify.policy.max_delays)),
            "deadline_hours" => some(notify.and_then(|notify| notify.policy.deadline_hours)),
            "nobody" => notify.map(|notify| notify.policy.nobody).unwrap_or_default().to_string(),
            "done_text" => like.and_then(|like| like.done.as_ref()).map(|done| done.text.clone()).unwrap_or_default(),
            "exit_codes" => like.map(|like| like.exit_codes.to_string()).unwrap_or_default(),
            "script" => match script {
                Some(script) if self.same_kind().is_some() => script.name.clone(),
                _ => self.kind.script.clone().unwrap_or_else(|| "script".to_owned()),
            },
            "text" => script.map(|script| script.text.clone()).unwrap_or_default(),
            "cut" => match cut {
                Some(Fragmenting::Size(_)) => "size",
                Some(Fragmenting::Count(_)) => "count",
                None => "auto",
            }
            .to_owned(),
            "fragment_size" => match cut {
                Some(Fragmenting::Size(size)) => size.to_string(),
                _ => String::new(),
            },
            "fragment_count" => match cut {
                Some(Fragmenting::Count(count)) => count.to_string(),
                _ => String::new(),
            },
            _ => String::new(),
        }
    }

    /// What the version before was made by and is not any more, for people.
    pub(super) fn note(&self) -> Option<String> {
        let recipe = self.recipe.as_ref().filter(|recipe| !recipe.template.is_empty())?;
        match self.catalogue.named(&recipe.template) {
            None => Some(format!(
                "The template \"{}\", which the version before was made by, is not there any more: this goes on with its command.",
                recipe.template
            )),
            Some(known) if known.version > recipe.version && known.id == self.kind.id => Some(format!(
                "The version before was made by version {} of this template, and now it is version {}.",
                recipe.version, known.version
            )),
            Some(_) => None,
        }
    }

    /// The whole description, as the form says it.
    pub(super) fn description(&self, call: &Call, form: &Fields) -> Result<Description, Refusal> {
        let content = match (&self.upload, self.from) {
            (Some(upload), _) => Content::Upload(upload.id.clone()),
            (None, "script") => {
                Content::Text { name: form.get("script").to_owned(), text: form.raw("text").to_owned() }
            }
            _ => Content::Nothing,
        };
        let (action, content, recipe) = if self.kind.id == "custom" {
            let action = Action::from_parts(form.get("action"), &lines(form.get("command")))
                .map_err(|error| Refusal::invalid(error.to_string()).about("command"))?;
            let script = match &content {
                Content::Text { name, text } => Some(Script { name: name.clone(), text: text.clone() }),
                _ => None,
            };
            let recipe =
                Recipe { template: self.kind.id.clone(), version: self.kind.version, script, ..<_>::default() };
            (action, content, recipe)
        } else {
            let value = |name: &String| (name.clone(), form.raw(&format!("t_{name}")).to_owned());
            let values: Values = self.kind.fields.iter().map(|field| value(&field.name)).collect();
            let filled = call.desk().fill(&call.site.looks, &self.kind, self.os, content, &values);
            filled.map_err(|refusal| refusal.about("kind"))?
        };
        let notify = question(form)?;
        if let Some(notify) = &notify {
            notify.check().map_err(|error| Refusal::invalid(error.to_string()).about("notify_text"))?;
        }
        let fragmenting = match form.get("cut") {
            "size" => Some(Fragmenting::Size(form.parse::<ByteSize>("fragment_size")?)),
            "count" => Some(Fragmenting::Count(form.parse::<u32>("fragment_count")?)),
            _ => None,
        };
        Ok(Description {
            name: form.get("name").to_owned(),
            version: form.get("version").to_owned(),
            description: lines(form.get("description")),
            os: self.os,
            action,
            priority: form.parse::<Priority>("priority")?,
            notify,
            done: form.some("done_text").map(|text| Done { text: lines(text) }),
            exit_codes: form.parse("exit_codes")?,
            content,
            fragmenting,
            recipe: recipe.cut(fragmenting),
        })
    }

    /// The script that the template adds, if it does.
    pub(super) fn added(&self, content: &Content) -> Option<(String, String)> {
        self.kind.body.as_ref()?;
        match content {
            Content::Text { name, text } => Some((name.clone(), text.clone())),
            Content::With(_, script) => Some((script.name.clone(), script.text.clone())),
            Content::Nothing | Content::Upload(_) => None,
        }
    }
}

/// What the form asks people before the package runs. A box that is not ticked takes its limit with it.
pub(super) fn question(form: &Fields) -> Result<Option<Notify>, Refusal> {
    let Some(text) = form.some("notify_text") else { return Ok(None) };
    let can_delay = form.is_on("can_delay");
    Ok(Some(Notify {
        text: lines(text),
        countdown_seconds: form.parse_some("notify_countdown")?,
        can_abort: form.is_on("can_abort"),
        can_delay,
        policy: PromptPolicy {
            max_delays: if can_delay { form.parse_some("max_delays")? } else { None },
            deadline_hours: form.parse_some("deadline_hours")?,
            nobody: form.parse_some("nobody")?.unwrap_or_default(),
        },
    }))
}

/// The best guess for an upload: by its name, or by what is among its files.
fn guess(catalogue: &Catalogue, upload: &Upload) -> Option<(OsFamily, Arc<Template>)> {
    let names = upload.files.iter().map(|file| file.path.as_str());
    let mut names = names.chain(upload.files.is_empty().then_some(upload.name.as_str()));
    names.find_map(|name| catalogue.guess(name).map(|(os, kind)| (os, Arc::clone(kind))))
}

/// Browsers send CR LF; agents get what was meant.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}
