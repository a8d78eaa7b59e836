//! `/packages/new`: from a file to a package; `/packages/work`: builds and checks, watched live.

use std::time::Duration;

use askama::Template as _;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::call::{Call, Fields, Page, View, get, post};
use super::shell::Shell;
use super::show;
use crate::model::access::Right;
use crate::model::{
    Action, ByteSize, Done, FragmentCount, Notify, OsFamily, Package, PackageId, Priority, Upload, UploadId,
};
use crate::service::desk::builds::{Content, Description, Preview};
use crate::service::desk::{Kind, Refusal};
use crate::service::looks::Seen;
use crate::service::publish::Fragmenting;
use crate::service::templates::{self, Field, Needs, Template};
use crate::service::works::{Kind as WorkKind, Outcome, StepState, Work};

/// Between two looks at something that goes on.
const TICK: Duration = Duration::from_millis(250);
/// Members that the page shows.
const SHOWN: usize = 200;

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/packages/new", Right::BuildPackages, new),
        post("/packages/new", Right::BuildPackages, build),
        post("/packages/new/preview", Right::BuildPackages, preview),
        get("/packages/new/contents", Right::BuildPackages, contents),
        post("/packages/new/cancel", Right::BuildPackages, cancel),
        get("/packages/work/{work}", Right::SeePackages, work),
        get("/packages/work/{work}/live", Right::SeePackages, work_live),
    ]
}

/// What the package is made of, and as what kind.
struct Draft {
    upload: Option<Upload>,
    /// `upload`, `script` or `nothing`.
    from: &'static str,
    os: OsFamily,
    kind: &'static Template,
    like: Option<Package>,
}

impl Draft {
    /// Reads the choice from a query or a form; `None` if nothing was chosen yet.
    fn of(call: &Call, fields: &Fields) -> Result<Option<Self>, Refusal> {
        let desk = call.desk();
        let like = fields.parse_some::<PackageId>("like")?.map(|id| desk.package(id)).transpose()?;
        let like = like.map(|line| line.package);
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
        let guess = upload.as_ref().and_then(|upload| templates::guess(&upload.name));
        let is_zip = upload.as_ref().is_some_and(|upload| upload.name.to_ascii_lowercase().ends_with(".zip"));
        let guessed = guess.map(|(os, _)| os).or(is_zip.then_some(OsFamily::Windows));
        let os = fields.parse_some::<OsFamily>("os")?.or(like.as_ref().map(|like| like.os)).or(guessed);
        let os = os.unwrap_or(OsFamily::Linux);
        let fits = |kind: &&Template| kinds(os, from).any(|one| one.id == kind.id);
        let kind = match (fields.some("kind"), &like, guess) {
            (Some(id), ..) => templates::find(id, os),
            (None, Some(_), _) => templates::find("custom", os),
            (None, None, Some((_, kind))) => Some(kind),
            _ => None,
        };
        let kind = kind.filter(fits).or_else(|| kinds(os, from).next());
        let kind = kind.ok_or_else(|| Refusal::invalid("there is no such kind").about("kind"))?;
        Ok(Some(Self { upload, from, os, kind, like }))
    }

    /// What stands in a field at first.
    fn first(&self, name: &str) -> String {
        let field = |field: &Field| (format!("t_{}", field.name) == name).then(|| field.default.clone());
        if let Some(value) = self.kind.fields.iter().find_map(field) {
            return value;
        }
        let (guessed, version) = match &self.upload {
            Some(upload) => templates::guess_name(&upload.name),
            None => (String::new(), String::new()),
        };
        let like = self.like.as_ref();
        let notify = like.and_then(|like| like.notify.as_ref());
        let tick = |on: bool| if on { "1".to_owned() } else { String::new() };
        match name {
            "name" => like.map_or(guessed, |like| like.name.clone()),
            "version" => version,
            "description" => like.map(|like| like.description.clone()).unwrap_or_default(),
            "action" => like.map_or("execute", |like| like.action.as_str()).to_owned(),
            "command" => like.map(|like| like.action.text().to_owned()).unwrap_or_default(),
            "priority" => like.map_or(5, |like| like.priority.number()).to_string(),
            "notify_text" => notify.map(|notify| notify.text.clone()).unwrap_or_default(),
            "notify_countdown" => notify
                .and_then(|notify| notify.countdown_seconds)
                .map(|seconds| seconds.to_string())
                .unwrap_or_default(),
            "can_abort" => tick(notify.is_some_and(|notify| notify.can_abort)),
            "can_delay" => tick(notify.is_some_and(|notify| notify.can_delay)),
            "done_text" => like.and_then(|like| like.done.as_ref()).map(|done| done.text.clone()).unwrap_or_default(),
            "exit_codes" => like.map(|like| like.exit_codes.to_string()).unwrap_or_default(),
            "script" => self.kind.script.clone().unwrap_or_else(|| "script".to_owned()),
            "cut" => "auto".to_owned(),
            _ => String::new(),
        }
    }

    /// The whole description, as the form says it.
    fn description(&self, call: &Call, form: &Fields) -> Result<Description, Refusal> {
        let file = match (&self.upload, self.from) {
            (Some(upload), _) => Some(self.file(call, upload)?),
            (None, "script") => Some(form.get("script").to_owned()),
            _ => None,
        };
        let action = if self.kind.id == "custom" {
            Action::from_parts(form.get("action"), &lines(form.get("command")))
                .map_err(|error| Refusal::invalid(error.to_string()).about("command"))?
        } else {
            let value =
                |name: &str| form.get(FIELDS.iter().find(|(short, _)| *short == name).map_or("", |(_, long)| long));
            self.kind.fill(self.os, file.as_deref(), value).map_err(|error| Refusal::from(error).about("kind"))?
        };
        let content = match (&self.upload, self.from) {
            (Some(upload), _) => Content::Upload(upload.id.clone()),
            (None, "script") => {
                Content::Text { name: form.get("script").to_owned(), text: form.raw("text").to_owned() }
            }
            _ => Content::Nothing,
        };
        let notify = form.some("notify_text").map(|text| -> Result<Notify, Refusal> {
            Ok(Notify {
                text: lines(text),
                countdown_seconds: form.parse_some("notify_countdown")?,
                can_abort: form.is_on("can_abort"),
                can_delay: form.is_on("can_delay"),
            })
        });
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
            notify: notify.transpose()?,
            done: form.some("done_text").map(|text| Done { text: lines(text) }),
            exit_codes: form.parse("exit_codes")?,
            content,
            fragmenting,
        })
    }

    /// The file that the kind's command is about.
    fn file(&self, call: &Call, upload: &Upload) -> Result<String, Refusal> {
        let looked = call.desk().look(&call.site.looks, &upload.id, self.os, Duration::from_millis(800))?;
        let names: Vec<&str> = match &looked {
            Seen::Found(looked) => looked.1.members.iter().map(|member| member.path.as_str()).collect(),
            _ => Vec::new(),
        };
        self.kind.file_of(&upload.name, names).map_err(|error| Refusal::from(error).about("kind"))
    }

    /// The part of the address that says what was chosen so far.
    fn address(&self) -> String {
        let like = self.like.as_ref().map(|like| format!("&like={}", like.id)).unwrap_or_default();
        match &self.upload {
            Some(upload) => format!("upload={}{like}", upload.id),
            None => format!("from={}{like}", self.from),
        }
    }
}

/// The names of templates' fields, and those of the form.
const FIELDS: [(&str, &str); 6] = [
    ("arguments", "t_arguments"),
    ("code", "t_code"),
    ("package", "t_package"),
    ("packages", "t_packages"),
    ("path", "t_path"),
    ("target", "t_target"),
];

/// Browsers send CR LF; agents get what was meant.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// The kinds that can be made of this, for a system.
fn kinds(os: OsFamily, from: &str) -> impl Iterator<Item = &'static Template> {
    let from = from.to_owned();
    templates::all().iter().filter(move |kind| {
        kind.is_for(os)
            && match from.as_str() {
                "nothing" => matches!(kind.needs, Needs::Nothing | Needs::Anything),
                "script" => matches!(kind.needs, Needs::Script | Needs::Anything),
                _ => matches!(kind.needs, Needs::File | Needs::Script | Needs::Anything),
            }
    })
}

#[derive(askama::Template)]
#[template(path = "build-content.html")]
struct ContentPage {
    shell: Shell,
    uploads: Vec<Upload>,
    like: Option<Package>,
}

impl ContentPage {
    fn like_part(&self) -> String {
        self.like.as_ref().map(|like| format!("&like={}", like.id)).unwrap_or_default()
    }
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
}

impl BuildPage {
    fn of(call: &Call, draft: Draft, form: Option<Fields>, error: Option<Refusal>) -> Result<Self, Refusal> {
        let seen = draft
            .upload
            .as_ref()
            .map(|upload| call.desk().look(&call.site.looks, &upload.id, draft.os, Duration::from_millis(400)));
        let seen = seen.transpose()?;
        let mut page = Self {
            shell: call.shell(draft.like.as_ref().map_or("New package", |_| "New version"), "/packages"),
            draft,
            form,
            error,
            preview: String::new(),
            contents: seen.as_ref().map(contents_html).transpose()?.unwrap_or_default(),
            reading: matches!(seen, Some(Seen::Reading(..))),
        };
        let fields = page.fields();
        page.preview = preview_html(call, &page.draft, &fields)?;
        Ok(page)
    }

    /// Every field as it stands in the form.
    fn fields(&self) -> Fields {
        const NAMES: [&str; 16] = [
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
            "done_text",
            "exit_codes",
            "script",
            "cut",
            "fragment_size",
            "text",
        ];
        let own = self.draft.kind.fields.iter().map(|field| format!("t_{}", field.name));
        let names = NAMES.iter().map(|name| (*name).to_owned()).chain(own);
        Fields(names.map(|name| (name.clone(), self.value(&name))).collect())
    }

    fn value(&self, name: &str) -> String {
        match &self.form {
            Some(form) => form.raw(name).to_owned(),
            None => self.draft.first(name),
        }
    }

    fn is_on(&self, name: &str) -> bool {
        !self.value(name).is_empty()
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.value(name) == value
    }

    fn kinds(&self) -> Vec<&'static Template> {
        kinds(self.draft.os, self.draft.from).collect()
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
    preview: Option<Preview>,
    refusal: Option<String>,
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
    let part = match draft.description(call, form) {
        Ok(description) => match call.desk().preview(&description, &call.site.looks, Duration::from_millis(800)) {
            Ok(preview) => PreviewPart {
                action: Some(description.action),
                refusal: preview.refusal.clone(),
                preview: Some(preview),
            },
            Err(refusal) if refusal.kind == Kind::Failed => return Err(refusal),
            Err(refusal) => PreviewPart {
                action: Some(description.action),
                preview: None,
                refusal: Some(refusal.for_people().to_owned()),
            },
        },
        Err(refusal) => PreviewPart { action: None, preview: None, refusal: Some(refusal.for_people().to_owned()) },
    };
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
        return call.page(&ContentPage {
            shell: call.shell(if like.is_some() { "New version" } else { "New package" }, "/packages"),
            uploads: call.desk().uploads()?,
            like: like.map(|line| line.package),
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
    let begun = draft
        .description(call, form)
        .and_then(|description| call.desk().start_build(&call.site.works, &call.site.looks, &description));
    match begun {
        Ok(work) => View::to(format!("/packages/work/{work}")),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Forbidden | Kind::Conflict | Kind::Later) => {
            call.again(&BuildPage::of(call, draft, Some(form.clone()), Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
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

#[derive(askama::Template)]
#[template(path = "work.html")]
struct WorkPage {
    shell: Shell,
    work: Work,
    state: String,
    may_activate: bool,
    may_deploy: bool,
}

impl WorkPage {
    fn is_build(&self) -> bool {
        self.work.kind == WorkKind::Build
    }

    fn runs(&self) -> bool {
        self.work.outcome == Outcome::Running
    }
}

#[derive(askama::Template)]
#[template(path = "work-state.html")]
struct WorkState<'a> {
    work: &'a Work,
}

fn state_html(work: &Work) -> Result<String, Refusal> {
    WorkState { work }.render().map_err(Refusal::failed)
}

fn find(call: &Call) -> Result<Work, Refusal> {
    let found = call.path.get("work").parse().ok().and_then(|id| call.site.works.find(id));
    let mine = |work: &Work| work.owner == call.desk().actor().name;
    found.filter(mine).ok_or_else(|| {
        Refusal::not_found(
            "there is no such work any more: the server was restarted since, look at the list of packages",
        )
    })
}

fn work(call: &Call) -> Result<View, Refusal> {
    let work = find(call)?;
    call.page(&WorkPage {
        shell: call.shell(work.title.clone(), "/packages"),
        state: state_html(&work)?,
        work,
        may_activate: call.desk().may(Right::ActivatePackages),
        may_deploy: call.desk().may(Right::Deploy),
    })
}

fn work_live(call: &Call) -> Result<View, Refusal> {
    let id = find(call)?.id;
    let works = call.site.works.clone();
    let mut told = None;
    Ok(events(move || {
        let work = works.find(id)?;
        if work.outcome != Outcome::Running {
            return Some((event("reload", ""), true));
        }
        if told == Some(work.version) {
            return Some((String::new(), false));
        }
        told = Some(work.version);
        Some((event("work", &state_html(&work).ok()?), false))
    }))
}

/// An event of a stream; its data may have several lines.
fn event(name: &str, data: &str) -> String {
    let mut text = format!("event: {name}\n");
    for line in data.lines() {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    if data.is_empty() {
        text.push_str("data:\n");
    }
    text.push('\n');
    text
}

/// Server-sent events: what `next` gives every quarter of a second, until it says that this was the last.
fn events(next: impl FnMut() -> Option<(String, bool)> + Send + 'static) -> View {
    let body = futures_util::stream::unfold((next, 0_u32, false), |(mut next, ticks, last)| async move {
        if last {
            return None;
        }
        if ticks > 0 {
            tokio::time::sleep(TICK).await;
        }
        let (mut text, last) = next()?;
        // A comment now and then: a client that is gone is noticed.
        if text.is_empty() && ticks % 60 == 0 {
            text.push_str(": still here\n\n");
        }
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), (next, ticks.wrapping_add(1), last)))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    View::Other(Box::new(response))
}

/// A span as people read it: `19 min 30 s`.
pub(super) fn span(span: impl std::borrow::Borrow<Duration>) -> String {
    let seconds = span.borrow().as_secs();
    let pair = |large: u64, unit: &str, small: u64, smaller: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {smaller}"),
    };
    match seconds {
        0 => "less than a minute".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => pair(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_template_has_a_place_in_the_form() {
        for kind in templates::all() {
            for field in &kind.fields {
                let known = FIELDS.iter().any(|(short, long)| *short == field.name && *long == format!("t_{short}"));
                assert!(known, "{}: {}", kind.id, field.name);
            }
        }
    }

    #[test]
    fn every_content_has_kinds_on_every_system() {
        for os in [OsFamily::Linux, OsFamily::Windows, OsFamily::Macos] {
            for from in ["upload", "script", "nothing"] {
                assert!(kinds(os, from).any(|kind| kind.id == "custom"), "{os} {from}");
            }
        }
    }

    #[test]
    fn what_takes_no_time_is_said_in_words() {
        for (seconds, text) in [(0, "less than a minute"), (59, "59 s"), (1170, "19 min 30 s"), (7200, "2 h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn an_event_of_several_lines_is_one_event() {
        assert_eq!(event("work", "<p>\na</p>"), "event: work\ndata: <p>\ndata: a</p>\n\n");
        assert_eq!(event("reload", ""), "event: reload\ndata:\n\n");
    }
}
