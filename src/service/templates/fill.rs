//! A template, a file and what was typed become an action, exactly as agents get it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::publish::is_archive_name;
use super::{Field, Kind, Needs, Shell, Template};
use crate::model::{Action, OsFamily};

/// What stands in the fields, by their names.
pub type Values = BTreeMap<String, String>;

/// A script that goes into the package.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Script {
    /// What it is called.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A template with everything filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filled {
    /// What agents do.
    pub action: Action,
    /// The script of a template with a body.
    pub script: Option<Script>,
}

/// Why a template could not be filled in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FillError {
    /// Nothing stands in a field that is needed.
    #[error("{0} is needed here")]
    Missing(String),
    /// Something stands in it that does not belong there.
    #[error("{label}: {problem}")]
    Field {
        /// Which field.
        label: String,
        /// What is wrong.
        problem: String,
    },
    /// A value for a field that there is not.
    #[error("this kind has no field \"{0}\"")]
    Unknown(String),
    /// There is no file of the kind.
    #[error("the archive holds no file that ends in {0}: choose another kind, or write the command yourself")]
    NoFile(String),
    /// No file at all.
    #[error("this kind needs a file: upload one first")]
    NoUpload,
    /// An archive where the file itself is asked for.
    #[error("this kind adds a script to the file, and an archive stays as it is: upload the file itself")]
    Archive,
    /// The custom template has nothing to fill in.
    #[error("this kind has no command of its own: write one")]
    Custom,
}

fn wrong(label: &str, problem: impl Into<String>) -> FillError {
    FillError::Field { label: label.to_owned(), problem: problem.into() }
}

/// Where a value is filled in.
#[derive(Clone, Copy)]
enum Place {
    /// The path of `store`: nobody reads it but the agent.
    Store,
    Command(Shell),
    Body(Shell),
}

impl Field {
    /// Checks what was typed and writes it for a place.
    fn write(&self, value: &str, place: Place) -> Result<String, FillError> {
        let (shell, in_body) = match place {
            Place::Store => return Ok(value.to_owned()),
            Place::Command(shell) => (shell, false),
            Place::Body(shell) => (shell, true),
        };
        let wrong = |problem: &str| wrong(&self.label, problem);
        match self.kind {
            Kind::Words if value.is_empty() => Ok(String::new()),
            Kind::Words => Ok(format!(" {value}")),
            Kind::Names | Kind::List => shell.words(value.split_whitespace()).map_err(wrong),
            // A command has no word where nothing was said; a script's variable has an empty one.
            _ if value.is_empty() && !in_body => Ok(String::new()),
            _ => shell.word(value).map_err(wrong),
        }
    }

    /// Is it of the field's kind? An empty one always is.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Ok(());
        }
        let control = |c: char| c.is_control() && !(self.kind.is_long() && matches!(c, '\n' | '\t'));
        if value.chars().any(control) {
            return Err("it holds control characters".to_owned());
        }
        if value.len() > if self.kind.is_long() { 64 << 10 } else { 4096 } {
            return Err("it is too long".to_owned());
        }
        let fits = |word: &str, others: &str| {
            !word.starts_with(['-', '~']) && word.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
        };
        let sentence = match self.kind {
            Kind::Name if !fits(value, NAME) => "a package's name has letters, digits and .+-_:~= only",
            Kind::Names if !value.split_whitespace().all(|word| fits(word, NAME)) => {
                "a package's name has letters, digits and .+-_:~= only"
            }
            Kind::List if !value.split_whitespace().all(|word| fits(word, LIST)) => {
                "these words have letters, digits and .+-_:~=/@ only"
            }
            Kind::Code if !is_code(value) => "a product code is a GUID in braces",
            Kind::Url if !is_url(value) => {
                "an address begins with its scheme, as https://, and holds no blanks or quotes"
            }
            Kind::Key if !is_key(value) => {
                "a key is the whole text from -----BEGIN PGP PUBLIC KEY BLOCK----- to -----END PGP PUBLIC KEY BLOCK-----"
            }
            Kind::Number => {
                let (least, most) = self.range;
                let number = value.parse::<i64>().ok().filter(|number| (least..=most).contains(number));
                return match number {
                    Some(_) => Ok(()),
                    None => Err(format!("it is a whole number from {least} to {most}")),
                };
            }
            Kind::Choice if !self.options.iter().any(|option| option == value) => {
                return Err(format!("it is one of {}", self.options.join(", ")));
            }
            _ => return Ok(()),
        };
        Err(sentence.to_owned())
    }

    /// What was typed, as it is meant: without the blanks around it, and with lines that end in LF.
    fn meant<'a>(&self, typed: &'a str) -> Cow<'a, str> {
        let text = typed.trim();
        if self.kind.is_long() { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) }
    }
}

const NAME: &str = ".+-_:~=";
const LIST: &str = ".+-_:~=/@";

fn is_code(value: &str) -> bool {
    let inner = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| inner.len() == 36 && inner.chars().all(|c| c.is_ascii_hexdigit() || c == '-'))
}

fn is_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c))
        && rest.starts_with('/')
        && rest.len() > 1
        && rest.chars().all(|c| c.is_ascii_graphic() && !"\"'<>\\^`{|}".contains(c))
}

fn is_key(value: &str) -> bool {
    value.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
        && value.ends_with("\n-----END PGP PUBLIC KEY BLOCK-----")
        && value.matches("-----BEGIN").count() == value.matches("-----END").count()
}

impl Template {
    /// The file that the command is about: the upload itself, or the first in the archive that fits.
    pub fn file_of<'a>(
        &self,
        upload: &'a str,
        members: impl IntoIterator<Item = &'a str>,
    ) -> Result<String, FillError> {
        let is_archive = is_archive_name(upload);
        if is_archive && self.body.is_some() {
            return Err(FillError::Archive);
        }
        if !is_archive || self.ends.is_empty() {
            return Ok(upload.to_owned());
        }
        self.file_among(members)
    }

    /// The one of several files that the command is about.
    pub fn file_among<'a>(&self, members: impl IntoIterator<Item = &'a str>) -> Result<String, FillError> {
        let fits = |path: &&str| {
            let path = path.to_ascii_lowercase();
            self.ends.is_empty() || self.ends.iter().any(|end| path.ends_with(end.as_str()))
        };
        let mut fitting: Vec<&str> = members.into_iter().filter(fits).collect();
        // The one that lies highest is the installer; those below are its parts.
        fitting.sort_by_key(|path| (path.matches('/').count(), path.len()));
        fitting.first().map(|path| (*path).to_owned()).ok_or_else(|| FillError::NoFile(self.ends.join(" or ")))
    }

    /// The action, and the script if there is a body, with everything filled in: what agents get.
    pub fn fill(&self, os: OsFamily, file: Option<&str>, values: &Values) -> Result<Filled, FillError> {
        if self.command.is_empty() {
            return Err(FillError::Custom);
        }
        if let Some(name) = values.keys().find(|name| !self.fields.iter().any(|field| field.name == **name)) {
            return Err(FillError::Unknown(name.clone()));
        }
        if file.is_none() && (self.needs == Needs::File || self.command.contains("{file}")) {
            return Err(FillError::NoUpload);
        }
        let mut meant: BTreeMap<&str, Cow<'_, str>> = BTreeMap::new();
        for field in &self.fields {
            let value = field.meant(values.get(&field.name).map_or("", String::as_str));
            if value.is_empty() && field.required {
                return Err(FillError::Missing(field.label.clone()));
            }
            field.check(&value).map_err(|problem| wrong(&field.label, problem))?;
            meant.insert(&field.name, value);
        }
        let command = match (self.action.as_str(), os) {
            ("store", _) => Place::Store,
            (_, OsFamily::Windows) => Place::Command(Shell::Cmd),
            _ => Place::Command(Shell::Sh),
        };
        let file = file.map(|file| if os == OsFamily::Windows { file.replace('/', "\\") } else { file.to_owned() });
        let write = |name: &str, place: Place| -> Option<Result<String, FillError>> {
            if name == "file" {
                let file = file.as_deref()?;
                return Some(match place {
                    Place::Store => Ok(file.to_owned()),
                    Place::Command(shell) | Place::Body(shell) => {
                        shell.word(file).map_err(|problem| wrong("The file's name", problem))
                    }
                });
            }
            let field = self.fields.iter().find(|field| field.name == name)?;
            Some(field.write(meant.get(name).map_or("", |value| &**value), place))
        };
        let text = substitute(&self.command, "{", "}", |name| write(name, command))?;
        let action = Action::from_parts(&self.action, &text)
            .map_err(|_| wrong("The command", "it holds characters that the info file cannot carry"))?;
        let script = match (&self.script, &self.body) {
            (Some(name), Some(body)) => {
                let shell = Shell::of_script(name).unwrap_or(Shell::Sh);
                let text = substitute(body, "{{", "}}", |name| write(name, Place::Body(shell)))?;
                Some(Script { name: name.clone(), text })
            }
            _ => None,
        };
        Ok(Filled { action, script })
    }
}

/// Fills in what stands between `open` and `close`, in one pass: what was filled in is not looked at again, whatever is in it.
/// What `write` does not know stays.
fn substitute(
    text: &str,
    open: &str,
    close: &str,
    write: impl Fn(&str) -> Option<Result<String, FillError>>,
) -> Result<String, FillError> {
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(open) {
        let inner = &rest[at + open.len()..];
        let word = inner.find(close).and_then(|end| Some((write(&inner[..end])?, end)));
        filled.push_str(&rest[..at]);
        if let Some((written, end)) = word {
            filled.push_str(&written?);
            rest = &inner[end + close.len()..];
        } else {
            filled.push_str(open);
            rest = inner;
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The words between `open` and `close` that look like names of fields.
pub(super) fn places<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(open).filter_map(move |(at, _)| {
        let inner = &text[at + open.len()..];
        let name = &inner[..inner.find(close)?];
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        is_name.then_some(name)
    })
}

#[cfg(test)]
mod tests;
