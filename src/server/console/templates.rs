//! `/templates`: kinds of packages; administrators' own are written, copied, changed and deleted here.

use std::sync::Arc;

use askama::Template as _;
use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use super::call::{Call, Page, View, get, post};
use super::shell::Shell;
use super::toast::Undo;
use crate::model::access::Right;
use crate::service::desk::{Kind as RefusalKind, Refusal};
use crate::service::templates::{Catalogue, DocumentError, Kind, Template};
use crate::store::templates::Saved;

/// What a new document begins with.
const EXAMPLE: &str = include_str!("templates/template-example.toml");

pub(super) fn pages() -> Vec<Page> {
    let (see, edit) = (Right::BuildPackages, Right::EditTemplates);
    vec![
        get("/templates", see, list),
        post("/templates", edit, save),
        post("/templates/preview", see, preview),
        get("/templates/{template}", see, one),
        post("/templates/{template}/delete", edit, delete),
        get("/templates/{template}/document", see, document),
        get("/templates/{template}/edit", edit, ask),
        post("/templates/{template}/restore", edit, restore),
    ]
}

#[derive(askama::Template)]
#[template(path = "templates.html")]
struct List {
    shell: Shell,
    catalogue: Catalogue,
    may_edit: bool,
}

impl List {
    fn of_kind(&self, own: bool) -> Vec<&Template> {
        self.catalogue.all().iter().filter(|template| template.own == own).map(|template| &**template).collect()
    }
}

fn list(call: &Call) -> Result<View, Refusal> {
    call.page(&List {
        shell: call.shell("Templates", "/packages"),
        catalogue: call.desk().templates()?,
        may_edit: call.desk().may(Right::EditTemplates),
    })
}

#[derive(askama::Template)]
#[template(path = "template.html")]
struct One {
    shell: Shell,
    id: String,
    /// Absent when it is deleted, or when this program does not read it any more.
    template: Option<Arc<Template>>,
    document: String,
    versions: Vec<Saved>,
    may_edit: bool,
}

fn id(call: &Call) -> String {
    call.path.get("template").to_owned()
}

fn one(call: &Call) -> Result<View, Refusal> {
    let (desk, id) = (call.desk(), id(call));
    let found = match desk.template(&id) {
        Ok((template, document)) => Some((template, document)),
        Err(refusal) if refusal.kind == RefusalKind::NotFound => None,
        Err(refusal) => return Err(refusal),
    };
    let own = found.as_ref().is_none_or(|(template, _)| template.own);
    let versions = if own { desk.template_versions(&id)? } else { Vec::new() };
    let last = versions.first().map(|saved| saved.document.clone()).unwrap_or_default();
    let (template, document) = found.map_or((None, last), |(template, document)| (Some(template), document));
    call.page(&One {
        shell: call.shell(template.as_ref().map_or_else(|| id.clone(), |template| template.title.clone()), "/packages"),
        id,
        template,
        document,
        versions,
        may_edit: desk.may(Right::EditTemplates),
    })
}

#[derive(askama::Template)]
#[template(path = "template-edit.html")]
struct Edit {
    shell: Shell,
    /// The version that is edited; 0 for a new one.
    began: u32,
    document: String,
    back: String,
    error: Option<Refusal>,
    preview: String,
}

impl Edit {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn kinds(&self) -> [Kind; 12] {
        Kind::ALL
    }
}

/// A new one, an own one, or a copy of one of the program's under a word of its own.
fn ask(call: &Call) -> Result<View, Refusal> {
    let id = id(call);
    let (began, document, back) = if id == "new" {
        (0, EXAMPLE.to_owned(), "/templates".to_owned())
    } else {
        let (template, document) = call.desk().template(&id)?;
        let back = format!("/templates/{id}");
        let copied = || document.replacen(&format!("id = \"{id}\""), &format!("id = \"own-{id}\""), 1);
        if template.own { (template.version, document, back) } else { (0, copied(), back) }
    };
    let preview = preview_html(call, &document)?;
    let shell = call.shell("Edit a template", "/packages");
    call.page(&Edit { shell, began, document, back, error: None, preview })
}

fn save(call: &Call) -> Result<View, Refusal> {
    let (form, document) = (&call.form, lines(call.form.raw("document")));
    let began = form.parse_some::<u32>("began")?.filter(|began| *began > 0);
    match call.desk().save_template(&document, began) {
        Ok(saved) => View::done(
            format!("/templates/{}", saved.id),
            format!("Saved as version {}. Packages that are there do not change.", saved.version),
        ),
        Err(refusal) if matches!(refusal.kind, RefusalKind::Invalid | RefusalKind::Conflict) => {
            let preview = preview_html(call, &document)?;
            call.again(&Edit {
                shell: call.shell("Edit a template", "/packages"),
                began: began.unwrap_or(0),
                document,
                back: "/templates".to_owned(),
                error: Some(refusal),
                preview,
            })
        }
        Err(refusal) => Err(refusal),
    }
}

#[derive(askama::Template)]
#[template(path = "template-preview.html")]
struct Preview {
    read: Result<Template, Vec<DocumentError>>,
}

fn preview_html(call: &Call, document: &str) -> Result<String, Refusal> {
    Preview { read: call.desk().check_template(document)? }.render().map_err(Refusal::failed)
}

fn preview(call: &Call) -> Result<View, Refusal> {
    Ok(View::Html(preview_html(call, &lines(call.form.raw("document")))?))
}

fn delete(call: &Call) -> Result<View, Refusal> {
    let id = id(call);
    call.desk().delete_template(&id)?;
    let undo = Undo::new(format!("/templates/{id}/restore"));
    View::undoable("/templates", format!("Deleted {id}. Packages that it made do not change."), undo)
}

/// A version comes back as the newest one; without a number the last that had a document.
fn restore(call: &Call) -> Result<View, Refusal> {
    let (id, wanted) = (id(call), call.form.parse_some::<u32>("version")?);
    let versions = call.desk().template_versions(&id)?;
    let fits = |saved: &&Saved| !saved.document.is_empty() && wanted.is_none_or(|wanted| saved.version == wanted);
    let found = versions.iter().find(fits);
    let found = found.ok_or_else(|| Refusal::not_found(format!("there is no such version of \"{id}\"")))?;
    let saved = call.desk().save_template(&found.document, None)?;
    View::done(format!("/templates/{id}"), format!("Version {} is back, as version {}.", found.version, saved.version))
}

fn document(call: &Call) -> Result<View, Refusal> {
    let (template, document) = call.desk().template(&id(call))?;
    let mut response = Response::new(Body::from(document));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/toml"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{}.toml\"", template.id)) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    Ok(View::Other(Box::new(response)))
}

/// Browsers send CR LF; documents have what was typed.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::templates::own;

    #[test]
    fn the_example_is_a_template() {
        let read = own::check(EXAMPLE).unwrap_or_else(|errors| panic!("{errors:?}"));
        assert!(read.body.is_some() && read.fields.len() >= 2);
    }
}
