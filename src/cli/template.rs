//! `dripfeed template …`

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Serialize;

use super::args::{Place, TemplateVerb};
use super::context::{desk, open, refused};
use super::output::{Output, printable};
use super::{Done, Failure};
use crate::model::OsFamily;
use crate::service::publish::Source;
use crate::service::templates::Template;

/// Bytes of a document that are read.
const MOST: u64 = 64 << 10;

pub(super) fn run(place: &Place, verb: TemplateVerb, output: &mut Output) -> Done {
    let desk = desk(place, open(place)?.app);
    match verb {
        TemplateVerb::List { json } => {
            let catalogue = desk.templates().map_err(refused)?;
            let views: Vec<View> = catalogue.all().iter().map(|template| View::from(&**template)).collect();
            list(&views, json, output)
        }
        TemplateVerb::Show { id, version, json } => {
            let document = match version {
                None => desk.template(&id).map_err(refused)?.1,
                Some(version) => {
                    let versions = desk.template_versions(&id).map_err(refused)?;
                    let found =
                        versions.into_iter().find(|saved| saved.version == version && !saved.document.is_empty());
                    let missing = || Failure::refused(format!("\"{id}\" has no document of version {version}"));
                    found.ok_or_else(missing)?.document
                }
            };
            if json {
                return output.json(&serde_json::json!({ "id": id, "document": document }));
            }
            output.bytes(document.as_bytes())
        }
        TemplateVerb::Save { file, check, json } => {
            let document = document(place, &file)?;
            let saved = if check {
                desk.check_template(&document).map_err(refused)?.map_err(|errors| {
                    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    Failure::refused(lines.join("\n"))
                })?
            } else {
                desk.save_template(&document, None).map_err(refused)?
            };
            match (json, check) {
                (true, _) => output.json(&View::from(&saved)),
                (false, true) => output.line(format_args!("{} can be read", saved.id)),
                (false, false) => output.line(format_args!("saved {} as version {}", saved.id, saved.version)),
            }
        }
        TemplateVerb::Delete { id, json } => {
            desk.delete_template(&id).map_err(refused)?;
            if json {
                return output.json(&serde_json::json!({ "id": id, "deleted": true }));
            }
            output.line(format_args!("deleted {}; its versions are kept", printable(&id)))
        }
    }
}

/// A template as JSON.
#[derive(Serialize)]
struct View {
    id: String,
    version: u32,
    own: bool,
    title: String,
    meaning: String,
    os: Vec<&'static str>,
    needs: &'static str,
    fields: Vec<FieldView>,
}

#[derive(Serialize)]
struct FieldView {
    name: String,
    kind: &'static str,
    required: bool,
    default: String,
}

impl From<&Template> for View {
    fn from(template: &Template) -> Self {
        Self {
            id: template.id.clone(),
            version: template.version,
            own: template.own,
            title: template.title.clone(),
            meaning: template.meaning.clone(),
            os: template.systems().map(OsFamily::as_str).collect(),
            needs: template.needs.as_str(),
            fields: template
                .fields
                .iter()
                .map(|field| FieldView {
                    name: field.name.clone(),
                    kind: field.kind.as_str(),
                    required: field.required,
                    default: field.default.clone(),
                })
                .collect(),
        }
    }
}

fn list(views: &[View], json: bool, output: &mut Output) -> Done {
    if json {
        return output.json(&views);
    }
    let rows: Vec<[String; 5]> = views
        .iter()
        .map(|view| {
            let fields: Vec<&str> = view.fields.iter().map(|field| field.name.as_str()).collect();
            [
                printable(&view.id),
                if view.own { view.version.to_string() } else { "-".to_owned() },
                view.os.join(" "),
                if fields.is_empty() { "-".to_owned() } else { fields.join(" ") },
                printable(&view.meaning),
            ]
        })
        .collect();
    output.table(["ID", "VERSION", "FOR", "FIELDS", "MEANING"], &rows)
}

/// What the verb names, or what stands for it on the server.
fn document(place: &Place, file: &Path) -> Result<String, Failure> {
    let unreadable = |error: io::Error| Failure::refused(format!("{} cannot be read: {error}", file.display()));
    let uploaded = place.served.as_ref().map(|served| served.upload.as_ref());
    let mut text = String::new();
    let from = match uploaded {
        Some(Some(Source::Named { path, .. })) => path,
        Some(_) => return Err(Failure::refused("the file was not uploaded")),
        None if file == Path::new("-") => {
            io::stdin().lock().take(MOST + 1).read_to_string(&mut text).map_err(unreadable)?;
            return Ok(text);
        }
        None => file,
    };
    File::open(from).map_err(unreadable)?.take(MOST + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
