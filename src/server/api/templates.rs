//! `/templates`: kinds of packages, the program's and administrators' own.

#![expect(clippy::needless_pass_by_value, reason = "an operation owns what it is asked")]

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, operation};
use crate::clock::utc_text;
use crate::model::OsFamily;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::service::templates::{DocumentError, Field, Template};
use crate::store::templates::Saved;

pub(super) fn operations() -> Vec<Operation> {
    let (see, edit) = (Right::BuildPackages, Right::EditTemplates);
    vec![
        operation(
            Method::GET,
            "/templates",
            "list_templates",
            "Kinds of packages that know their command: the program's, and your own behind them",
            see,
            list,
        ),
        operation(
            Method::POST,
            "/templates",
            "save_template",
            "Saves a template of your own under the id that its document names, as its next version",
            edit,
            save,
        ),
        operation(
            Method::POST,
            "/templates/check",
            "check_template",
            "Reads a document and tells every error with its line. Nothing is changed",
            see,
            check,
        ),
        operation(Method::GET, "/templates/{template}", "get_template", "One template with its document", see, get),
        operation(
            Method::GET,
            "/templates/{template}/versions",
            "list_template_versions",
            "Every version of a template of your own, the newest first",
            see,
            versions,
        ),
        operation(
            Method::DELETE,
            "/templates/{template}",
            "delete_template",
            "Takes a template of your own out of the choice; packages that it made are not touched",
            edit,
            delete,
        ),
    ]
}

/// A template's word.
#[derive(Deserialize, JsonSchema)]
struct ById {
    /// The template's id.
    #[schemars(length(min = 1, max = 40))]
    template: String,
}

/// The kinds of packages.
#[derive(JsonSchema, Serialize)]
struct TemplateList {
    /// In the order of the console.
    items: Vec<TemplateView>,
}

/// A kind of package.
#[derive(JsonSchema, Serialize)]
struct TemplateView {
    /// Its word.
    id: String,
    /// Its version; always 1 for the program's.
    version: u32,
    /// Is it one of your own?
    own: bool,
    /// What people read.
    title: String,
    /// One sentence.
    meaning: String,
    /// For which systems.
    os: Vec<&'static str>,
    /// `nothing`, `file`, `script` or `anything`.
    needs: &'static str,
    /// Does it add a script of its own to the package?
    adds_script: bool,
    /// What to know about it.
    notes: String,
    /// Its fields.
    fields: Vec<TemplateField>,
}

/// A field of a kind.
#[derive(JsonSchema, Serialize)]
struct TemplateField {
    /// Its name in `values`.
    name: String,
    /// What people read.
    label: String,
    /// One sentence.
    help: String,
    /// `words`, `name`, `names`, `list`, `code`, `path`, `url`, `line`, `text`, `key`, `number` or `choice`.
    kind: &'static str,
    /// What stands in it at first.
    default: String,
    /// Must it be given?
    required: bool,
    /// The words of a choice.
    options: Vec<String>,
}

impl From<&Template> for TemplateView {
    fn from(template: &Template) -> Self {
        let field = |field: &Field| TemplateField {
            name: field.name.clone(),
            label: field.label.clone(),
            help: field.help.clone(),
            kind: field.kind.as_str(),
            default: field.default.clone(),
            required: field.required,
            options: field.options.clone(),
        };
        Self {
            id: template.id.clone(),
            version: template.version,
            own: template.own,
            title: template.title.clone(),
            meaning: template.meaning.clone(),
            os: template.systems().map(OsFamily::as_str).collect(),
            needs: template.needs.as_str(),
            adds_script: template.body.is_some(),
            notes: template.notes.clone(),
            fields: template.fields.iter().map(field).collect(),
        }
    }
}

fn list(asked: Asked<Nothing, Nothing, Nothing>) -> Result<TemplateList, Refusal> {
    let catalogue = asked.desk().templates()?;
    Ok(TemplateList { items: catalogue.all().iter().map(|template| TemplateView::from(&**template)).collect() })
}

/// A template with its document.
#[derive(JsonSchema, Serialize)]
struct DocumentView {
    /// As it is read.
    #[serde(flatten)]
    template: TemplateView,
    /// The TOML document.
    document: String,
}

fn get(asked: Asked<ById, Nothing, Nothing>) -> Result<DocumentView, Refusal> {
    let (template, document) = asked.desk().template(&asked.path.template)?;
    Ok(DocumentView { template: TemplateView::from(&*template), document })
}

/// A document of a template.
#[derive(Deserialize, JsonSchema)]
struct SaveBody {
    /// TOML with one `[[template]]`, 64 KiB at most.
    document: String,
    /// The version that was edited: if another was saved meanwhile, this is refused.
    version: Option<u32>,
}

fn save(asked: Asked<Nothing, Nothing, SaveBody>) -> Result<TemplateView, Refusal> {
    let saved = asked.desk().save_template(&asked.body.document, asked.body.version)?;
    Ok(TemplateView::from(&saved))
}

/// What a document holds, or what is wrong with it.
#[derive(JsonSchema, Serialize)]
struct CheckView {
    /// The template, if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<TemplateView>,
    /// Every error.
    errors: Vec<ErrorView>,
}

/// An error of a document.
#[derive(JsonSchema, Serialize)]
struct ErrorView {
    /// The line, from 1 on.
    line: usize,
    /// What is wrong there.
    problem: String,
}

fn check(asked: Asked<Nothing, Nothing, SaveBody>) -> Result<CheckView, Refusal> {
    Ok(match asked.desk().check_template(&asked.body.document)? {
        Ok(template) => CheckView { template: Some(TemplateView::from(&template)), errors: Vec::new() },
        Err(errors) => {
            let view = |DocumentError { line, problem }| ErrorView { line, problem };
            CheckView { template: None, errors: errors.into_iter().map(view).collect() }
        }
    })
}

/// Versions of a template.
#[derive(JsonSchema, Serialize)]
struct VersionList {
    /// The newest first.
    items: Vec<VersionView>,
}

/// A version of a template.
#[derive(JsonSchema, Serialize)]
struct VersionView {
    /// From 1 on.
    version: u32,
    /// When it was saved.
    made_at: String,
    /// Who saved it.
    made_by: String,
    /// The document; absent if it was deleted with this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
}

fn versions(asked: Asked<ById, Nothing, Nothing>) -> Result<VersionList, Refusal> {
    let view = |saved: Saved| VersionView {
        version: saved.version,
        made_at: utc_text(saved.made_at),
        made_by: saved.made_by,
        document: Some(saved.document).filter(|document| !document.is_empty()),
    };
    let found = asked.desk().template_versions(&asked.path.template)?;
    Ok(VersionList { items: found.into_iter().map(view).collect() })
}

fn delete(asked: Asked<ById, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().delete_template(&asked.path.template)?;
    Ok(Nothing {})
}
