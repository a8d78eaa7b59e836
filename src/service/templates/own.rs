//! Administrators' own templates: documents that are kept version by version.
//!
//! A version is never changed: a package says which template of which version it was made by, and what that was can be read
//! for ever. Deleting one adds a version without a document, so that the next save goes on behind it.

use super::super::App;
use super::document::parse_own;
use super::{Catalogue, DocumentError, Template, built_in};
use crate::store::templates::{self, Saved};
use crate::store::{Conn, StoreError};

/// Templates of administrators' own.
const MOST: usize = 200;

/// Why a template was not saved or deleted.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// The document is wrong: every error with its line.
    #[error("{}", told(.0))]
    Document(Vec<DocumentError>),
    /// No such template.
    #[error("there is no template \"{0}\" of your own")]
    Unknown(String),
    /// It belongs to the program.
    #[error("\"{0}\" is a template of the program: copy it under another id, and change the copy")]
    BuiltIn(String),
    /// Too many.
    #[error("there are {MOST} templates of your own already: delete some first")]
    TooMany,
    /// Somebody else saved it meanwhile.
    #[error(
        "version {now} of \"{id}\" was saved meanwhile, and this began with version {began}: look at that one first"
    )]
    Changed {
        /// Which template.
        id: String,
        /// The version that was edited.
        began: u32,
        /// The version that is there.
        now: u32,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn told(errors: &[DocumentError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A version that was saved, read; `None` for a document that this program reads no more.
fn read(saved: &Saved) -> Option<Template> {
    let template = parse_own(&saved.document).ok()?;
    Some(Template { version: saved.version, own: true, ..template })
}

/// Everything that can be chosen from.
pub fn catalogue(app: &App) -> Result<Catalogue, StoreError> {
    let saved = app.store.read_now(|conn| templates::current(conn, MOST))?;
    Ok(Catalogue::with(saved.iter().filter_map(read)))
}

/// The newest version of each of administrators' own, in order of their words.
pub fn list(app: &App) -> Result<Vec<Saved>, StoreError> {
    app.store.read_now(|conn| templates::current(conn, MOST))
}

/// All versions of one, the newest first.
pub fn versions(app: &App, id: &str) -> Result<Vec<Saved>, StoreError> {
    let id = id.to_owned();
    app.store.read_now(move |conn| templates::versions(conn, &id, MOST))
}

/// What is wrong with a document, or what it holds.
pub fn check(document: &str) -> Result<Template, Vec<DocumentError>> {
    parse_own(document)
}

/// Saves a document under the word that it names. `began` is the version that was edited; without it nobody asks whether
/// somebody else was quicker.
pub fn save(app: &App, document: &str, began: Option<u32>, by: &str) -> Result<Template, OwnError> {
    let template = parse_own(document).map_err(OwnError::Document)?;
    let (id, document, by, now) = (template.id.clone(), document.to_owned(), by.to_owned(), app.clock.now());
    let version = app.store.write_now(move |conn: &mut Conn| {
        let last = templates::last(conn, &id)?;
        if let (Some(began), Some(last)) = (began, &last)
            && last.version != began
        {
            return Err(OwnError::Changed { id, began, now: last.version });
        }
        let is_new = last.as_ref().is_none_or(|last| last.document.is_empty());
        if is_new && templates::current(conn, MOST)?.len() >= MOST {
            return Err(OwnError::TooMany);
        }
        let version = last.map_or(1, |last| last.version + 1);
        templates::add(conn, &Saved { id, version, document, made_at: now, made_by: by })?;
        Ok(version)
    })?;
    Ok(Template { version, own: true, ..template })
}

/// Takes a template out of the choice; its versions stay, and packages that were made by it are not touched.
pub fn delete(app: &App, id: &str, by: &str) -> Result<(), OwnError> {
    if built_in().iter().any(|template| template.id == id) {
        return Err(OwnError::BuiltIn(id.to_owned()));
    }
    let (id, by, now) = (id.to_owned(), by.to_owned(), app.clock.now());
    app.store.write_now(move |conn: &mut Conn| {
        let last = templates::last(conn, &id)?.filter(|last| !last.document.is_empty());
        let last = last.ok_or_else(|| OwnError::Unknown(id.clone()))?;
        let gone = Saved { id, version: last.version + 1, document: String::new(), made_at: now, made_by: by };
        Ok(templates::add(conn, &gone)?)
    })
}

/// The document of a template of the program, by itself: what a copy begins with.
pub fn source(id: &str) -> Option<String> {
    let documents = [
        include_str!("built-in/windows.toml"),
        include_str!("built-in/linux.toml"),
        include_str!("built-in/others.toml"),
    ];
    let head = format!("[[template]]\nid = \"{id}\"\n");
    documents.into_iter().find_map(|document| {
        let text = &document[document.find(&head)?..];
        let end = text[1..].find("\n[[template]]\n").map_or(text.len(), |end| end + 2);
        Some(text[..end].trim_end().to_owned() + "\n")
    })
}

#[cfg(test)]
mod tests {
    use super::super::document::parse;
    use super::*;

    #[test]
    fn a_copy_of_a_template_of_the_program_reads_as_that() {
        for template in built_in() {
            let source = source(&template.id).expect("a document");
            let read = parse(&source).unwrap_or_else(|errors| panic!("{}: {}", template.id, told(&errors)));
            assert_eq!(read, [(**template).clone()]);
        }
        assert_eq!(source("none"), None);
    }
}
