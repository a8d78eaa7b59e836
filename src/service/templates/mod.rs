//! Templates of packages: data, not code. `built-in/*.toml` are part of the program; administrators add their own.

mod document;
mod fill;
mod guess;
mod quote;

pub mod own;

use std::sync::{Arc, LazyLock};

use crate::model::OsFamily;

pub use document::{DocumentError, parse};
pub use fill::{FillError, Filled, Script, Values};
pub use guess::guess_name;
pub use quote::Shell;

/// What a template is built from.
#[derive(Clone, Copy, Debug, serde::Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Needs {
    /// A command without files.
    Nothing,
    /// A file or an archive.
    File,
    /// A file, or a text that is typed.
    Script,
    /// Any of these.
    Anything,
}

impl Needs {
    /// The word of the API and of documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::File => "file",
            Self::Script => "script",
            Self::Anything => "anything",
        }
    }
}

/// What may stand in a field.
#[derive(Clone, Copy, Debug, serde::Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Anything: it follows the command as it is.
    Words,
    /// The name of one package: letters, digits and `.+-_:~=`.
    Name,
    /// Several of them.
    Names,
    /// Several words of letters, digits and `.+-_:~=/@`.
    List,
    /// A GUID in braces.
    Code,
    /// A path.
    Path,
    /// An address with its scheme.
    Url,
    /// One line of text.
    Line,
    /// Text of several lines; in a body only.
    Text,
    /// An armoured public key of PGP; in a body only.
    Key,
    /// A whole number.
    Number,
    /// One of some words.
    Choice,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Words,
        Self::Name,
        Self::Names,
        Self::List,
        Self::Code,
        Self::Path,
        Self::Url,
        Self::Line,
        Self::Text,
        Self::Key,
        Self::Number,
        Self::Choice,
    ];

    /// The word of the API and of documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Name => "name",
            Self::Names => "names",
            Self::List => "list",
            Self::Code => "code",
            Self::Path => "path",
            Self::Url => "url",
            Self::Line => "line",
            Self::Text => "text",
            Self::Key => "key",
            Self::Number => "number",
            Self::Choice => "choice",
        }
    }

    /// What may stand in it, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Words => "Anything; it follows the command as it is, with a blank before it, and is not quoted.",
            Self::Name => "One name: letters, digits and .+-_:~=.",
            Self::Names => "Names with blanks between.",
            Self::List => "Words with blanks between: letters, digits and .+-_:~=/@.",
            Self::Code => "A GUID in braces.",
            Self::Path => "A path.",
            Self::Url => "An address with its scheme.",
            Self::Line => "One line of text.",
            Self::Text => "Text of several lines; in a body only.",
            Self::Key => "An armoured public key of PGP; in a body only.",
            Self::Number => "A whole number, from min to max.",
            Self::Choice => "One of its options.",
        }
    }

    /// Does it take several lines?
    pub fn is_long(self) -> bool {
        matches!(self, Self::Text | Self::Key)
    }
}

/// A field of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Field {
    /// Its word in command and body.
    pub name: String,
    /// What people read.
    pub label: String,
    /// One sentence.
    pub help: String,
    /// What may stand in it.
    pub kind: Kind,
    /// What stands in it at first.
    pub default: String,
    /// Must something stand in it?
    pub required: bool,
    /// The words of a choice.
    pub options: Vec<String>,
    /// The bounds of a number.
    pub range: (i64, i64),
}

/// A template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// Its word in addresses.
    pub id: String,
    /// Grows with each change of an administrator's own; 1 for those of the program.
    pub version: u32,
    /// Is it an administrator's own?
    pub own: bool,
    /// What people read.
    pub title: String,
    /// One sentence.
    pub meaning: String,
    /// For which systems.
    systems: Vec<OsFamily>,
    /// What it is built from.
    pub needs: Needs,
    /// Ends of the names of files that it is for.
    pub ends: Vec<String>,
    /// What a typed text, or the body, is called.
    pub script: Option<String>,
    /// A script that goes into the package.
    pub body: Option<String>,
    /// `launch`, `execute` or `store`.
    pub action: String,
    /// The command, or the path for `store`.
    command: String,
    /// What to know about it.
    pub notes: String,
    /// Its fields.
    pub fields: Vec<Field>,
}

impl Template {
    /// Is it for that system?
    pub fn is_for(&self, os: OsFamily) -> bool {
        self.systems.contains(&os)
    }

    /// For which systems.
    pub fn systems(&self) -> impl Iterator<Item = OsFamily> + '_ {
        self.systems.iter().copied()
    }

    /// Can it be built from that? `upload`, `script` or `nothing`.
    pub fn takes(&self, from: &str) -> bool {
        match from {
            "nothing" => matches!(self.needs, Needs::Nothing | Needs::Anything),
            "script" => matches!(self.needs, Needs::Script | Needs::Anything),
            _ => matches!(self.needs, Needs::File | Needs::Script | Needs::Anything),
        }
    }

    /// The command as the document writes it.
    pub fn command(&self) -> &str {
        &self.command
    }
}

/// The templates of the program.
pub fn built_in() -> &'static [Arc<Template>] {
    static ALL: LazyLock<Vec<Arc<Template>>> = LazyLock::new(|| {
        let documents = [
            include_str!("built-in/windows.toml"),
            include_str!("built-in/linux.toml"),
            include_str!("built-in/others.toml"),
        ];
        // A test reads all of them.
        documents.into_iter().flat_map(|document| parse(document).unwrap_or_default()).map(Arc::new).collect()
    });
    &ALL
}

/// The templates that somebody can choose from: the program's, and administrators' own behind them.
#[derive(Clone, Debug)]
pub struct Catalogue(Vec<Arc<Template>>);

impl Catalogue {
    /// The program's and these.
    pub fn with(own: impl IntoIterator<Item = Template>) -> Self {
        Self(built_in().iter().cloned().chain(own.into_iter().map(Arc::new)).collect())
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Template>] {
        &self.0
    }

    /// The one of that word.
    pub fn named(&self, id: &str) -> Option<&Arc<Template>> {
        self.0.iter().find(|template| template.id == id)
    }

    /// The same, if it is for that system.
    pub fn find(&self, id: &str, os: OsFamily) -> Option<&Arc<Template>> {
        self.named(id).filter(|template| template.is_for(os))
    }

    /// Those that can be made of something, for a system.
    pub fn kinds<'a>(&'a self, os: OsFamily, from: &'a str) -> impl Iterator<Item = &'a Arc<Template>> {
        self.0.iter().filter(move |template| template.is_for(os) && template.takes(from))
    }

    /// The best guess for a file: its system and the template whose end says most.
    pub fn guess(&self, name: &str) -> Option<(OsFamily, &Arc<Template>)> {
        let name = name.to_ascii_lowercase();
        let fits = |template: &Template| {
            template.ends.iter().filter(|end| name.ends_with(end.as_str())).map(String::len).max().unwrap_or(0)
        };
        // The first of those that fit equally well.
        let best = self.0.iter().rev().max_by_key(|template| fits(template)).filter(|template| fits(template) > 0)?;
        best.systems().next().map(|os| (os, best))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::with([])
    }

    #[test]
    fn the_programs_documents_hold_what_they_should() {
        for document in [
            include_str!("built-in/windows.toml"),
            include_str!("built-in/linux.toml"),
            include_str!("built-in/others.toml"),
        ] {
            let told = |errors: Vec<DocumentError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
            parse(document).map_err(told).expect("the program's own documents have no faults");
        }
        let mut ids: Vec<&str> = built_in().iter().map(|template| template.id.as_str()).collect();
        assert_eq!(ids.len(), 27);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 27, "a word is used twice");
    }

    #[test]
    fn every_system_has_a_custom_one_and_a_store_one_and_something_for_every_content() {
        let all = catalogue();
        for os in [OsFamily::Linux, OsFamily::Windows, OsFamily::Macos] {
            assert!(all.find("custom", os).is_some() && all.find("store", os).is_some(), "{os}");
            for from in ["upload", "script", "nothing"] {
                assert!(all.kinds(os, from).any(|kind| kind.id == "custom"), "{os} {from}");
            }
        }
        assert!(all.find("msi", OsFamily::Linux).is_none());
    }

    #[test]
    fn a_files_name_says_what_it_is() {
        let all = catalogue();
        let kind = |name| all.guess(name).map(|(os, template)| format!("{os} {}", template.id));
        for (name, guessed) in [
            ("Firefox Setup 128.0.MSI", Some("windows msi")),
            ("setup.exe", Some("windows exe")),
            ("dripfeed-agent.exe", Some("windows agent-windows")),
            ("dripfeed-agent", Some("linux agent-linux")),
            ("OCS-Windows-Agent-Setup-x64.exe", Some("windows ocs-agent-windows")),
            ("Extra.pm", Some("linux ocs-plugin")),
            ("htop_3.2.2_amd64.deb", Some("linux deb")),
            ("archive.tar.gz", None),
        ] {
            assert_eq!(kind(name).as_deref(), guessed, "{name}");
        }
    }
}
