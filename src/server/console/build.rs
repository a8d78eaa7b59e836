//! `/packages/new`: from a file, a script or a command to a package.

mod draft;
mod window;

use std::time::Duration;

use askama::Template as _;

use super::super::api::packages::activating_here;
use super::call::{Call, Fields, Page, View, get, post};
use super::shell::Shell;
use super::show;
pub(super) use super::work::span;
use super::work::{event, events};
use crate::model::access::Right;
use crate::model::{Action, Done, FragmentCount, OsFamily, Package, PackageId, Upload, UploadId};
use crate::service::desk::builds::Preview;
use crate::service::desk::{Kind, Refusal};
use crate::service::looks::Seen;
use crate::service::publish::Recipe;
use crate::service::templates::{Catalogue, Template};
use draft::{BOXES, Draft, question};
use window::{Window, windows_of};

/// Members that the page shows.
const SHOWN: usize = 200;

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/packages/new", Right::BuildPackages, new),
        post("/packages/new", Right::BuildPackages, build),
        post("/packages/new/kind", Right::BuildPackages, other_kind),
        post("/packages/new/preview", Right::BuildPackages, preview),
        get("/packages/new/contents", Right::BuildPackages, contents),
        post("/packages/new/cancel", Right::BuildPackages, cancel),
    ]
}

#[derive(askama::Template)]
#[template(path = "build-content.html")]
struct ContentPage {
    shell: Shell,
    uploads: Vec<Upload>,
    like: Option<Package>,
    /// Where the version before goes on without a file: from its script, or from nothing.
    as_before: Option<&'static str>,
}

impl ContentPage {
    fn like_part(&self) -> String {
        self.like.as_ref().map(|like| format!("&like={}", like.id)).unwrap_or_default()
    }
}

/// The content that the version before was made of, where that is no file.
fn as_before(like: &Package, recipe: Option<&Recipe>, catalogue: &Catalogue) -> Option<&'static str> {
    if recipe.is_some_and(|recipe| recipe.script.is_some()) {
        return Some("script");
    }
    let template = recipe.and_then(|recipe| catalogue.named(&recipe.template));
    let without = template.is_some_and(|template| template.takes("nothing") && !template.takes("upload"));
    (without || like.fragments == FragmentCount::NONE).then_some("nothing")
}

#[derive(askama::Template)]
#[template(path = "build.html")]
struct BuildPage {
    shell: Shell,
    draft: Draft,
    form: Option<Fields>,
    error: Option<Refusal>,
    preview: String,
    contents: String,
    reading: bool,
    may_activate: bool,
    activates: bool,
}

impl BuildPage {
    fn of(call: &Call, draft: Draft, form: Option<Fields>, error: Option<Refusal>) -> Result<Self, Refusal> {
        let seen = draft
            .upload
            .as_ref()
            .map(|upload| call.desk().look(&call.site.looks, &upload.id, draft.os, Duration::from_millis(400)));
        let seen = seen.transpose()?;
        let may_activate = call.desk().may(Right::ActivatePackages);
        let mut page = Self {
            shell: call.shell(draft.like.as_ref().map_or("New package", |_| "New version"), "/packages"),
            draft,
            form,
            error,
            preview: String::new(),
            contents: seen.as_ref().map(contents_html).transpose()?.unwrap_or_default(),
            reading: matches!(seen, Some(Seen::Reading(..))),
            may_activate,
            activates: may_activate && call.site.activate_when_built,
        };
        let fields = page.fields();
        page.preview = preview_html(call, &page.draft, &fields)?;
        Ok(page)
    }

    /// Every field as it stands in the form.
    fn fields(&self) -> Fields {
        const NAMES: [&str; 20] = [
            "name",
            "version",
            "description",
            "action",
            "command",
            "priority",
            "notify_text",
            "notify_countdown",
            "can_abort",
            "can_delay",
            "max_delays",
            "deadline_hours",
            "nobody",
            "done_text",
            "exit_codes",
            "script",
            "cut",
            "fragment_size",
            "fragment_count",
            "text",
        ];
        let own = self.draft.kind.fields.iter().map(|field| format!("t_{}", field.name));
        let names = NAMES.iter().map(|name| (*name).to_owned()).chain(own);
        Fields(names.map(|name| (name.clone(), self.value(&name))).collect())
    }

    fn value(&self, name: &str) -> String {
        match &self.form {
            // A box that is not ticked is not sent.
            Some(form) if form.0.iter().any(|(key, _)| key == name) || BOXES.contains(&name) => {
                form.raw(name).to_owned()
            }
            _ if name == "activate" && self.activates => "1".to_owned(),
            _ => self.draft.first(name),
        }
    }

    /// What was typed for another kind: it comes back with that.
    fn kept(&self) -> Vec<(&str, &str)> {
        let of_kind =
            |name: &str| self.draft.kind.fields.iter().any(|field| name.strip_prefix("t_") == Some(&field.name));
        let custom = self.draft.kind.id == "custom";
        let pairs = self.form.iter().flat_map(|form| &form.0);
        let kept = pairs.filter(|(name, value)| {
            let elsewhere = (name.starts_with("t_") && !of_kind(name))
                || (matches!(name.as_str(), "command" | "action") && !custom);
            elsewhere && !value.is_empty()
        });
        kept.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn is_on(&self, name: &str) -> bool {
        !self.value(name).is_empty()
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.value(name) == value
    }

    fn kinds(&self) -> Vec<&Template> {
        self.draft.catalogue.kinds(self.draft.os, self.draft.from).map(|kind| &**kind).collect()
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn systems(&self) -> [(OsFamily, &'static str); 3] {
        [(OsFamily::Windows, "Windows"), (OsFamily::Linux, "Linux"), (OsFamily::Macos, "macOS")]
    }

    fn error_of(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|error| error.field == Some(field)).map(Refusal::for_people)
    }
}

#[derive(askama::Template)]
#[template(path = "build-preview.html")]
struct PreviewPart {
    action: Option<Action>,
    /// The script that the template adds: what it is called and what is in it.
    script: Option<(String, String)>,
    preview: Option<Preview>,
    refusal: Option<String>,
    os: OsFamily,
    /// What people will see.
    windows: Vec<Window>,
}

impl PreviewPart {
    fn pieces(&self) -> String {
        let Some(preview) = &self.preview else { return String::new() };
        match preview.fragments {
            FragmentCount(0) => "no files, so nothing is fetched but the info file".to_owned(),
            fragments => format!(
                "{} of up to {}",
                show::count(u64::from(fragments.0), "fragment"),
                show::size(preview.fragment_size.min(preview.size))
            ),
        }
    }
}

fn preview_html(call: &Call, draft: &Draft, form: &Fields) -> Result<String, Refusal> {
    let done = form.some("done_text").map(|text| Done { text: text.to_owned() });
    let (os, windows) = (draft.os, windows_of(draft.os, question(form).ok().flatten().as_ref(), done.as_ref()));
    let mut part = PreviewPart { action: None, script: None, preview: None, refusal: None, os, windows };
    match draft.description(call, form) {
        Ok(description) => {
            part.script = draft.added(&description.content);
            match call.desk().preview(&description, &call.site.looks, Duration::from_millis(800)) {
                Ok(preview) => {
                    part.refusal.clone_from(&preview.refusal);
                    part.preview = Some(preview);
                }
                Err(refusal) if refusal.kind == Kind::Failed => return Err(refusal),
                Err(refusal) => part.refusal = Some(refusal.for_people().to_owned()),
            }
            part.action = Some(description.action);
        }
        Err(refusal) => part.refusal = Some(refusal.for_people().to_owned()),
    }
    part.render().map_err(Refusal::failed)
}

#[derive(askama::Template)]
#[template(path = "build-contents.html")]
struct ContentsPart<'a> {
    seen: &'a Seen,
}

impl ContentsPart<'_> {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn shown(&self) -> usize {
        SHOWN
    }
}

fn contents_html(seen: &Seen) -> Result<String, Refusal> {
    ContentsPart { seen }.render().map_err(Refusal::failed)
}

fn new(call: &Call) -> Result<View, Refusal> {
    let Some(draft) = Draft::of(call, &call.query)? else {
        let like = call.query.parse_some::<PackageId>("like")?.map(|id| call.desk().package(id)).transpose()?;
        let like = like.map(|line| line.package);
        let catalogue = call.desk().templates()?;
        let recipe = like.as_ref().map(|like| call.desk().recipe(like.id)).transpose()?.flatten();
        let as_before = like.as_ref().and_then(|like| as_before(like, recipe.as_ref(), &catalogue));
        return call.page(&ContentPage {
            shell: call.shell(if like.is_some() { "New version" } else { "New package" }, "/packages"),
            uploads: call.desk().uploads()?,
            like,
            as_before,
        });
    };
    if draft.upload.as_ref().is_some_and(|upload| !upload.is_complete()) {
        return Err(Refusal::conflict("this upload is not complete yet: choose the same file again and it goes on"));
    }
    call.page(&BuildPage::of(call, draft, None, None)?)
}

fn build(call: &Call) -> Result<View, Refusal> {
    let form = &call.form;
    let Some(draft) = Draft::of(call, form)? else { return View::to("/packages/new") };
    let begun = (|| {
        let description = draft.description(call, form)?;
        let activating = form.is_on("activate").then(|| activating_here(&call.site)).transpose()?;
        call.desk().start_build(&call.site.works, &call.site.looks, &description, activating)
    })();
    match begun {
        Ok(work) => View::to(format!("/packages/work/{work}")),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Forbidden | Kind::Conflict | Kind::Later) => {
            call.again(&BuildPage::of(call, draft, Some(form.clone()), Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

/// The same description as another kind, or for another system: what was typed stays where the new kind asks for it.
fn other_kind(call: &Call) -> Result<View, Refusal> {
    let Some(draft) = Draft::of(call, &call.form)? else { return View::to("/packages/new") };
    let before = Draft::of(call, &was(&call.form))?;
    // What stood there untouched was the old kind's, and the new one has its own.
    let untouched = |name: &str, value: &str| before.as_ref().is_some_and(|before| before.first(name) == value);
    let typed = call.form.0.iter().filter(|(name, value)| BOXES.contains(&name.as_str()) || !untouched(name, value));
    let mut form = Fields(typed.cloned().collect());
    // Whoever goes on by hand goes on from the command that the kind has filled in.
    if draft.kind.id == "custom"
        && form.some("command").is_none()
        && let Some(filled) = before.and_then(|before| before.description(call, &call.form).ok())
    {
        form.0.push(("action".to_owned(), filled.action.as_str().to_owned()));
        form.0.push(("command".to_owned(), filled.action.text().to_owned()));
    }
    call.page(&BuildPage::of(call, draft, Some(form), None)?)
}

/// The form as it was before another kind or system was chosen.
fn was(form: &Fields) -> Fields {
    let kept = form.0.iter().filter(|(name, _)| name != "kind" && name != "os");
    let mut fields: Vec<(String, String)> = kept.cloned().collect();
    for (name, former) in [("kind", "was_kind"), ("os", "was_os")] {
        fields.push((name.to_owned(), form.get(former).to_owned()));
    }
    Fields(fields)
}

fn preview(call: &Call) -> Result<View, Refusal> {
    let Some(draft) = Draft::of(call, &call.form)? else { return View::to("/packages/new") };
    Ok(View::Html(preview_html(call, &draft, &call.form)?))
}

fn cancel(call: &Call) -> Result<View, Refusal> {
    call.desk().cancel_upload(&call.form.parse::<UploadId>("upload")?)?;
    View::done("/packages/new", "The upload was removed.")
}

/// The content's list while it is being made.
fn contents(call: &Call) -> Result<View, Refusal> {
    let (id, os) = (call.query.parse::<UploadId>("upload")?, call.query.parse::<OsFamily>("os")?);
    let upload = call.desk().upload(&id)?;
    let (app, looks) = (call.site.app.clone(), call.site.looks.clone());
    Ok(events(move || {
        let seen = looks.at(&app, &upload, os, Duration::ZERO);
        let html = contents_html(&seen).ok()?;
        Some((event("contents", &html), !matches!(seen, Seen::Reading(..))))
    }))
}
