//! Documents of templates: TOML, read into types, with every error at its line.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::fill::places;
use super::{Field, Kind, Needs, Shell, Template};
use crate::model::OsFamily;

/// Bytes of a document.
const MOST: usize = 64 << 10;
/// Fields of a template.
const FIELDS: usize = 40;

/// What is wrong with a document, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct DocumentError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    template: Vec<RawTemplate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTemplate {
    id: Spanned<String>,
    title: Spanned<String>,
    meaning: Spanned<String>,
    os: Spanned<Vec<Spanned<String>>>,
    needs: Needs,
    #[serde(default, rename = "match")]
    ends: Vec<Spanned<String>>,
    script: Option<Spanned<String>>,
    body: Option<Spanned<String>>,
    action: Spanned<String>,
    command: Spanned<String>,
    #[serde(default)]
    notes: String,
    #[serde(default, rename = "field")]
    fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    name: Spanned<String>,
    label: Spanned<String>,
    #[serde(default)]
    help: String,
    kind: Spanned<Kind>,
    default: Option<Spanned<String>>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    options: Vec<Spanned<String>>,
    min: Option<i64>,
    max: Option<i64>,
}

/// Reads a document of templates; every error that can be found at once.
pub fn parse(document: &str) -> Result<Vec<Template>, Vec<DocumentError>> {
    let mut problems = Problems { document, found: Vec::new() };
    if document.len() > MOST {
        problems.add(0..0, "a document of templates has at most 64 KiB");
        return Err(problems.found);
    }
    let file: RawFile = match toml::from_str(document) {
        Ok(file) => file,
        Err(error) => {
            problems.add(error.span().unwrap_or(0..0), error.message());
            return Err(problems.found);
        }
    };
    let templates = file.template.into_iter().map(|raw| problems.read(raw)).collect();
    if problems.found.is_empty() { Ok(templates) } else { Err(problems.found) }
}

/// Reads an administrator's own document: one template, under a word that the program's templates do not have.
pub(super) fn parse_own(document: &str) -> Result<Template, Vec<DocumentError>> {
    let mut templates = parse(document)?;
    let mut problems = Problems { document, found: Vec::new() };
    match (templates.pop(), templates.is_empty()) {
        (Some(template), true) => {
            // "new" is a page of the console.
            if template.id == "new" || super::built_in().iter().any(|known| known.id == template.id) {
                let at = document.find(&format!("\"{}\"", template.id)).unwrap_or(0);
                problems.add(at..at, format!("\"{}\" is a word of the program: choose another id", template.id));
                return Err(problems.found);
            }
            Ok(template)
        }
        (None, _) => {
            problems.add(0..0, "there is no [[template]] in it");
            Err(problems.found)
        }
        _ => {
            let second = document.match_indices("[[template]]").nth(1).map_or(0, |(at, _)| at);
            problems.add(second..second, "a document holds one template: save the others by themselves");
            Err(problems.found)
        }
    }
}

struct Problems<'a> {
    document: &'a str,
    found: Vec<DocumentError>,
}

impl Problems<'_> {
    fn add(&mut self, at: Range<usize>, problem: impl Into<String>) {
        let before = self.document.get(..at.start).unwrap_or_default();
        self.found.push(DocumentError { line: before.matches('\n').count() + 1, problem: problem.into() });
    }

    /// A text for people: something, on one line.
    fn line(&mut self, text: &Spanned<String>, most: usize, what: &str) {
        let value = text.get_ref();
        if value.trim().is_empty() || value.len() > most || value.chars().any(char::is_control) {
            self.add(text.span(), format!("{what} has 1 to {most} bytes on one line"));
        }
    }

    fn read(&mut self, raw: RawTemplate) -> Template {
        self.line(&raw.title, 80, "a title");
        self.line(&raw.meaning, 300, "a meaning");
        if !is_word(raw.id.get_ref(), "-") {
            self.add(
                raw.id.span(),
                "an id has 1 to 40 lower-case letters, digits and dashes, and begins with a letter",
            );
        }
        if !matches!(raw.action.get_ref().as_str(), "execute" | "launch" | "store") {
            self.add(raw.action.span(), "an action is execute, launch or store");
        }
        let systems = self.systems(&raw.os);
        let fields: Vec<Field> = raw.fields.iter().map(|field| self.field(field)).collect();
        self.names(&raw);
        self.script(&raw, &systems);
        self.places(&raw, &fields);
        for end in &raw.ends {
            let text = end.get_ref();
            if text.is_empty() || *text != text.to_ascii_lowercase() || text.contains(['/', '\\']) {
                self.add(end.span(), "an end of a file's name is in lower case, as .msi");
            }
        }
        Template {
            id: raw.id.into_inner(),
            version: 1,
            own: false,
            title: raw.title.into_inner(),
            meaning: raw.meaning.into_inner(),
            systems,
            needs: raw.needs,
            ends: raw.ends.into_iter().map(Spanned::into_inner).collect(),
            script: raw.script.map(Spanned::into_inner),
            body: raw.body.map(Spanned::into_inner),
            action: raw.action.into_inner(),
            command: raw.command.into_inner(),
            notes: raw.notes,
            fields,
        }
    }

    fn systems(&mut self, os: &Spanned<Vec<Spanned<String>>>) -> Vec<OsFamily> {
        let mut systems = Vec::new();
        for word in os.get_ref() {
            match word.get_ref().parse::<OsFamily>() {
                Ok(system) if systems.contains(&system) => self.add(word.span(), "this system is named twice"),
                Ok(system) => systems.push(system),
                Err(error) => self.add(word.span(), error.to_string()),
            }
        }
        if os.get_ref().is_empty() {
            self.add(os.span(), "it is for no system: name linux, windows or macos");
        }
        systems
    }

    fn field(&mut self, raw: &RawField) -> Field {
        self.line(&raw.label, 80, "a label");
        let field = Field {
            name: raw.name.get_ref().clone(),
            label: raw.label.get_ref().clone(),
            help: raw.help.clone(),
            kind: *raw.kind.get_ref(),
            default: raw.default.as_ref().map(|text| text.get_ref().clone()).unwrap_or_default(),
            required: raw.required,
            options: raw.options.iter().map(|option| option.get_ref().clone()).collect(),
            range: (raw.min.unwrap_or(i64::MIN), raw.max.unwrap_or(i64::MAX)),
        };
        if (field.kind == Kind::Choice) == field.options.is_empty() {
            self.add(raw.kind.span(), "a choice has options, and nothing else has");
        }
        for option in &raw.options {
            self.line(option, 200, "an option");
        }
        if field.kind != Kind::Number && (raw.min.is_some() || raw.max.is_some()) {
            self.add(raw.kind.span(), "only a number has min and max");
        }
        if field.range.0 > field.range.1 {
            self.add(raw.kind.span(), "min is more than max");
        }
        if let Some(default) = &raw.default
            && let Err(problem) = field.check(default.get_ref())
        {
            self.add(default.span(), format!("the default does not fit: {problem}"));
        }
        field
    }

    fn names(&mut self, raw: &RawTemplate) {
        if raw.fields.len() > FIELDS {
            self.add(raw.fields[FIELDS].name.span(), format!("a template has at most {FIELDS} fields"));
        }
        let mut known = BTreeSet::from(["file"]);
        for field in &raw.fields {
            let name = field.name.get_ref().as_str();
            if !is_word(name, "_") {
                self.add(
                    field.name.span(),
                    "a field's name has 1 to 40 lower-case letters, digits and _, and begins with a letter",
                );
            } else if !known.insert(name) {
                self.add(field.name.span(), format!("the name \"{name}\" is taken"));
            }
        }
    }

    fn script(&mut self, raw: &RawTemplate, systems: &[OsFamily]) {
        let typed = raw.needs == Needs::Script;
        match (&raw.script, &raw.body) {
            (Some(name), _) if !is_file_name(name.get_ref()) => {
                self.add(name.span(), "a script's name has 1 to 100 bytes and no path");
            }
            (Some(name), Some(body)) => {
                let shell = Shell::of_script(name.get_ref());
                let fits = |os: &OsFamily| match shell {
                    Some(Shell::Sh) => *os != OsFamily::Windows,
                    Some(_) => *os == OsFamily::Windows,
                    None => false,
                };
                if !systems.iter().all(fits) {
                    self.add(
                        name.span(),
                        "a body is a script .sh for Linux and macOS, or .ps1, .bat or .cmd for Windows",
                    );
                }
                if typed {
                    self.add(body.span(), "where the script is typed there is no body");
                }
            }
            (None, Some(body)) => self.add(body.span(), "a body needs a name: script = \"name.sh\""),
            (Some(name), None) if !typed => self.add(name.span(), "a script without body is for needs = \"script\""),
            (None, None) if typed => self.add(raw.id.span(), "a typed script needs a name: script = \"script.sh\""),
            _ => {}
        }
    }

    /// Every place names a field, and every field has a place.
    fn places(&mut self, raw: &RawTemplate, fields: &[Field]) {
        let command = raw.command.get_ref();
        // Only the program's own "custom" leaves the command to whoever builds.
        if command.trim().is_empty() && raw.id.get_ref() != "custom" {
            self.add(raw.command.span(), "there is no command");
        }
        let file = matches!(raw.needs, Needs::File | Needs::Script | Needs::Anything);
        let in_command: BTreeSet<&str> = places(command, "{", "}").collect();
        let in_body: BTreeSet<&str> = raw.body.iter().flat_map(|body| places(body.get_ref(), "{{", "}}")).collect();
        let unknown = |name: &&str| fields.iter().all(|field| field.name != **name) && !(**name == *"file" && file);
        for name in in_command.iter().filter(|name| unknown(name)) {
            self.add(raw.command.span(), format!("the command names {{{name}}}, which is no field"));
        }
        for name in places(command, "{{", "}}").filter(|name| !unknown(name)) {
            let problem =
                format!("the command says {{{{{name}}}}}: in a command it is {{{name}}}, two braces are for a body");
            self.add(raw.command.span(), problem);
        }
        if let Some(body) = &raw.body {
            for name in in_body.iter().filter(|name| unknown(name)) {
                let at = body.span().start;
                let inside =
                    self.document.get(at..).and_then(|text| text.find(&format!("{{{{{name}}}}}"))).unwrap_or(0);
                self.add(at + inside..at + inside, format!("the body names {{{{{name}}}}}, which is no field"));
            }
        }
        for (field, raw) in fields.iter().zip(&raw.fields) {
            let name = field.name.as_str();
            if !in_command.contains(name) && !in_body.contains(name) {
                self.add(raw.name.span(), format!("the field \"{name}\" is used neither in the command nor in a body"));
            }
            if field.kind.is_long() && in_command.contains(name) {
                self.add(raw.kind.span(), "a text of several lines belongs into a body");
            }
        }
    }
}

fn is_word(text: &str, others: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || others.contains(c))
}

fn is_file_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && !matches!(text, "." | "..")
        && !text.contains(|c: char| matches!(c, '/' | '\\') || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[template]]
id = "printer"
title = "Add a printer"
meaning = "Adds a printer of the house."
os = ["linux"]
needs = "nothing"
script = "printer.sh"
action = "execute"
command = 'sh ./printer.sh'
body = '''
lpadmin -p {{name}} -v {{address}} -E
'''
[[template.field]]
name = "name"
label = "Name"
kind = "name"
required = true
[[template.field]]
name = "address"
label = "Address"
kind = "url"
"#;

    fn errors(document: &str) -> String {
        let errors = parse_own(document).expect_err("refused");
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_document_is_read_into_types() {
        let template = parse_own(GOOD).unwrap_or_else(|errors| panic!("{errors:?}"));
        assert_eq!((template.id.as_str(), template.fields.len(), template.needs), ("printer", 2, Needs::Nothing));
    }

    #[test]
    fn every_error_is_told_with_its_line() {
        let replaced = |from: &str, to: &str| {
            assert!(GOOD.contains(from), "{from}");
            errors(&GOOD.replacen(from, to, 1))
        };
        insta::assert_snapshot!(replaced("os = [\"linux\"]", "os = [\"beos\", \"linux\", \"linux\"]"), @r#"
        line 6: "beos" is not an operating system: expected linux, windows or macos
        line 6: this system is named twice
        "#);
        insta::assert_snapshot!(replaced("{{name}}", "{{nme}}"), @r#"
        line 12: the body names {{nme}}, which is no field
        line 15: the field "name" is used neither in the command nor in a body
        "#);
        insta::assert_snapshot!(replaced("./printer.sh'", "./printer.sh {x}'"), @"line 10: the command names {x}, which is no field");
        insta::assert_snapshot!(replaced("./printer.sh'", "./printer.sh {{name}}'"), @"line 10: the command says {{name}}: in a command it is {name}, two braces are for a body");
        insta::assert_snapshot!(replaced("\"printer\"", "\"msi\""), @r#"line 3: "msi" is a word of the program: choose another id"#);
        insta::assert_snapshot!(replaced("\"execute\"", "\"explode\""), @"line 9: an action is execute, launch or store");
        insta::assert_snapshot!(replaced("script = \"printer.sh\"", "script = \"printer.pl\""), @"line 8: a body is a script .sh for Linux and macOS, or .ps1, .bat or .cmd for Windows");
        insta::assert_snapshot!(replaced("kind = \"url\"", "kind = \"url\"\ndefault = \"no address\""), @"line 23: the default does not fit: an address begins with its scheme, as https://, and holds no blanks or quotes");
        insta::assert_snapshot!(replaced("kind = \"url\"", "kind = \"number\"\nmin = 5\nmax = 1"), @"line 22: min is more than max");
        insta::assert_snapshot!(replaced("name = \"address\"", "name = \"name\""), @r#"
        line 20: the name "name" is taken
        line 12: the body names {{address}}, which is no field
        "#);
        insta::assert_snapshot!(replaced("kind = \"url\"", "kind = \"choice\""), @"line 22: a choice has options, and nothing else has");
        assert!(replaced("kind = \"url\"", "kind = \"uri\"").starts_with("line 22: unknown variant `uri`"));
        assert!(replaced("title = ", "titel = ").starts_with("line 4: unknown field `titel`"));
        assert!(errors("[[template]]\nid = ").starts_with("line 2: "));
        assert_eq!(errors("template = []"), "line 1: there is no [[template]] in it");
        assert!(errors(&format!("{GOOD}{}", GOOD.replace("printer", "other"))).contains("one template"));
    }
}
