//! Templates of packages: data, not code. `templates.toml` is part of the program; a test reads all of it.

use std::sync::LazyLock;

use serde::Deserialize;

use super::publish::is_archive_name;
use crate::model::{Action, OsFamily};

/// What a template is built from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
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
    /// The word of the API.
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
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Anything: it follows the command as it is.
    Words,
    /// The name of one package: letters, digits and `.+-_:~=`.
    Name,
    /// Several of them.
    Names,
    /// A GUID in braces.
    Code,
    /// A path; quoted where a shell reads it.
    Path,
}

impl Kind {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Name => "name",
            Self::Names => "names",
            Self::Code => "code",
            Self::Path => "path",
        }
    }
}

/// A field of a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its word in the command.
    pub name: String,
    /// What people read.
    pub label: String,
    /// One sentence.
    #[serde(default)]
    pub help: String,
    /// What may stand in it.
    pub kind: Kind,
    /// What stands in it at first.
    #[serde(default)]
    pub default: String,
    /// Must something stand in it?
    #[serde(default)]
    pub required: bool,
}

/// A template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Its word in addresses.
    pub id: String,
    /// What people read.
    pub title: String,
    /// One sentence.
    pub meaning: String,
    /// For which systems.
    os: Vec<String>,
    /// What it is built from.
    pub needs: Needs,
    /// Ends of the names of files that it is for.
    #[serde(default, rename = "match")]
    pub ends: Vec<String>,
    /// What a typed text is called.
    #[serde(default)]
    pub script: Option<String>,
    /// `launch`, `execute` or `store`.
    pub action: String,
    /// The command, or the path for `store`.
    command: String,
    /// What to know about it.
    #[serde(default)]
    pub notes: String,
    /// Its fields.
    #[serde(default, rename = "field")]
    pub fields: Vec<Field>,
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
        problem: &'static str,
    },
    /// There is no file of the kind.
    #[error("the archive holds no file that ends in {0}: choose another kind, or write the command yourself")]
    NoFile(String),
    /// No file at all.
    #[error("this kind needs a file: upload one first")]
    NoUpload,
    /// The custom template has nothing to fill in.
    #[error("this kind has no command of its own: write one")]
    Custom,
}

/// All of them.
pub fn all() -> &'static [Template] {
    #[derive(Deserialize)]
    struct File {
        template: Vec<Template>,
    }
    static ALL: LazyLock<Vec<Template>> = LazyLock::new(|| {
        let file: Result<File, _> = toml::from_str(include_str!("templates.toml"));
        file.map(|file| file.template).unwrap_or_default()
    });
    &ALL
}

/// The one of that word, if it is for that system.
pub fn find(id: &str, os: OsFamily) -> Option<&'static Template> {
    all().iter().find(|template| template.id == id && template.is_for(os))
}

/// The best guess for a file: its system and the template.
pub fn guess(name: &str) -> Option<(OsFamily, &'static Template)> {
    let name = name.to_ascii_lowercase();
    all().iter().find_map(|template| {
        let fits = template.ends.iter().any(|end| name.ends_with(end.as_str()));
        template.systems().next().filter(|_| fits).map(|os| (os, template))
    })
}

/// A name and a version as a file's name has them: `firefox-esr_128.0.deb` is `firefox-esr` and `128.0`.
pub fn guess_name(file: &str) -> (String, String) {
    let mut stem = file;
    let ends = all().iter().flat_map(|template| &template.ends).map(String::as_str).chain([".zip", ".tar.gz", ".tgz"]);
    for end in ends {
        let at = stem.len().saturating_sub(end.len());
        if at > 0 && stem.is_char_boundary(at) && stem[at..].eq_ignore_ascii_case(end) {
            stem = &stem[..at];
            break;
        }
    }
    let is_break = |c: char| matches!(c, '-' | '_' | ' ');
    let begins_version = |rest: &str| {
        rest.trim_start_matches(['v', 'V']).starts_with(|c: char| c.is_ascii_digit())
            && rest.contains(|c: char| c.is_ascii_digit())
    };
    for (at, _) in stem.char_indices().filter(|(_, c)| is_break(*c)) {
        let rest = &stem[at + 1..];
        if at > 0 && begins_version(rest) {
            let version = rest.split(is_break).next().unwrap_or_default();
            return (stem[..at].to_owned(), version.trim_start_matches(['v', 'V']).to_owned());
        }
    }
    (stem.to_owned(), String::new())
}

impl Template {
    /// Is it for that system?
    pub fn is_for(&self, os: OsFamily) -> bool {
        self.os.iter().any(|word| word == os.as_str())
    }

    /// For which systems.
    pub fn systems(&self) -> impl Iterator<Item = OsFamily> + '_ {
        self.os.iter().filter_map(|word| word.parse().ok())
    }

    /// The file that the command is about: the upload itself, or the first in the archive that fits.
    pub fn file_of<'a>(
        &self,
        upload: &'a str,
        members: impl IntoIterator<Item = &'a str>,
    ) -> Result<String, FillError> {
        if !is_archive_name(upload) || self.ends.is_empty() {
            return Ok(upload.to_owned());
        }
        let mut fitting: Vec<&str> = members
            .into_iter()
            .filter(|path| self.ends.iter().any(|end| path.to_ascii_lowercase().ends_with(end.as_str())))
            .collect();
        // The one that lies highest is the installer; those below are its parts.
        fitting.sort_by_key(|path| (path.matches('/').count(), path.len()));
        fitting.first().map(|path| (*path).to_owned()).ok_or_else(|| FillError::NoFile(self.ends.join(" or ")))
    }

    /// The action with everything filled in: the command exactly as it will run.
    pub fn fill<'a>(
        &self,
        os: OsFamily,
        file: Option<&str>,
        value: impl Fn(&str) -> &'a str,
    ) -> Result<Action, FillError> {
        if self.command.is_empty() {
            return Err(FillError::Custom);
        }
        let mut command = self.command.clone();
        if command.contains("{file}") {
            let file = file.ok_or(FillError::NoUpload)?;
            let file = if os == OsFamily::Windows { file.replace('/', "\\") } else { file.to_owned() };
            command = command.replace("{file}", &quoted(os, "The file's name", &file)?);
        } else if self.needs == Needs::File && file.is_none() {
            return Err(FillError::NoUpload);
        }
        for field in &self.fields {
            let value = value(&field.name).trim();
            if value.is_empty() && field.required {
                return Err(FillError::Missing(field.label.clone()));
            }
            let wrong = |problem| FillError::Field { label: field.label.clone(), problem };
            let is_name = |name: &str| {
                !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || ".+-_:~=".contains(c))
            };
            let text = match field.kind {
                Kind::Words if value.is_empty() => String::new(),
                Kind::Words => format!(" {value}"),
                Kind::Name if is_name(value) => value.to_owned(),
                Kind::Names if value.split_whitespace().all(is_name) => {
                    value.split_whitespace().collect::<Vec<_>>().join(" ")
                }
                Kind::Name | Kind::Names => return Err(wrong("a package's name has letters, digits and .+-_:~= only")),
                Kind::Code => {
                    let inner = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                    if !inner.is_some_and(|inner| {
                        inner.len() == 36 && inner.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
                    }) {
                        return Err(wrong("a product code is a GUID in braces"));
                    }
                    value.to_owned()
                }
                // STORE takes a path as it is; a shell reads the others.
                Kind::Path if self.action == "store" => value.to_owned(),
                Kind::Path => quoted(os, &field.label, value)?,
            };
            command = command.replace(&format!("{{{}}}", field.name), &text);
        }
        Action::from_parts(&self.action, &command).map_err(|_| wrong_text("The command"))
    }
}

fn wrong_text(label: &str) -> FillError {
    FillError::Field { label: label.to_owned(), problem: "it holds characters that the info file cannot carry" }
}

/// A word as the system's shell reads it as one.
fn quoted(os: OsFamily, label: &str, word: &str) -> Result<String, FillError> {
    let plain = |c: char| c.is_alphanumeric() || "._-+/\\:=@,~".contains(c);
    if word.chars().all(plain) && !word.is_empty() {
        return Ok(word.to_owned());
    }
    if os != OsFamily::Windows {
        return Ok(format!("'{}'", word.replace('\'', "'\\''")));
    }
    // cmd has no way to write these within a word.
    if word.contains(['"', '%']) {
        return Err(FillError::Field { label: label.to_owned(), problem: "Windows takes neither \" nor % here" });
    }
    Ok(format!("\"{word}\""))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// What somebody might type.
    fn example(field: &Field) -> &'static str {
        match field.kind {
            Kind::Words => "/S",
            Kind::Name => "Mozilla.Firefox",
            Kind::Names => "htop curl",
            Kind::Code => "{90160000-008C-0000-1000-0000000FF1CE}",
            Kind::Path => "/opt/a tool",
        }
    }

    #[test]
    fn every_template_reads_and_fills_to_a_command() {
        let mut told = String::new();
        for template in all() {
            assert!(template.systems().count() == template.os.len(), "{}: an unknown system", template.id);
            assert_eq!(template.script.is_some(), template.needs == Needs::Script, "{}", template.id);
            if template.id == "custom" {
                continue;
            }
            let os = template.systems().next().expect("a system");
            let value = |name: &str| template.fields.iter().find(|field| field.name == name).map_or("", example);
            let action = template.fill(os, Some("my setup.bin"), value).expect("filled");
            assert!(
                !action.text().contains(['{', '}']) || template.id == "msi-remove",
                "{}: {}",
                template.id,
                action.text()
            );
            let _ = writeln!(told, "{}: {} {}", template.id, action.as_str(), action.text());
        }
        insta::assert_snapshot!(told, @r#"
        msi: execute msiexec /i "my setup.bin" /qn /norestart /S
        msi-remove: execute msiexec /x {90160000-008C-0000-1000-0000000FF1CE} /qn /norestart
        exe: execute "my setup.bin" /S
        winget: execute winget install --id Mozilla.Firefox --exact --silent --scope machine --accept-package-agreements --accept-source-agreements --disable-interactivity
        winget-remove: execute winget uninstall --id Mozilla.Firefox --exact --silent --disable-interactivity
        powershell: execute powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "my setup.bin" /S
        batch: execute cmd /c "my setup.bin" /S
        deb: execute DEBIAN_FRONTEND=noninteractive apt-get install -y ./'my setup.bin'
        rpm: execute dnf install -y --nogpgcheck ./'my setup.bin'
        apt-install: execute DEBIAN_FRONTEND=noninteractive apt-get install -y htop curl
        apt-remove: execute DEBIAN_FRONTEND=noninteractive apt-get remove -y htop curl
        dnf-install: execute dnf install -y htop curl
        dnf-remove: execute dnf remove -y htop curl
        script: execute sh ./'my setup.bin' /S
        pkg: execute installer -pkg ./'my setup.bin' -target '/opt/a tool'
        store: store /opt/a tool
        "#);
    }

    #[test]
    fn every_system_has_a_custom_one_and_a_store_one() {
        for os in [OsFamily::Linux, OsFamily::Windows, OsFamily::Macos] {
            assert!(find("custom", os).is_some() && find("store", os).is_some(), "{os}");
        }
        assert!(find("msi", OsFamily::Linux).is_none());
    }

    #[test]
    fn what_a_shell_would_read_otherwise_is_refused_or_quoted() {
        let refused = |id, os, file, text: &'static str| {
            find(id, os).expect("a template").fill(os, Some(file), |_| text).expect_err("refused").to_string()
        };
        insta::assert_snapshot!(refused("apt-install", OsFamily::Linux, "", "htop; reboot"), @"Packages: a package's name has letters, digits and .+-_:~= only");
        insta::assert_snapshot!(refused("apt-install", OsFamily::Linux, "", "--reinstall"), @"Packages: a package's name has letters, digits and .+-_:~= only");
        insta::assert_snapshot!(refused("msi-remove", OsFamily::Windows, "", "{x} & calc"), @"Product code: a product code is a GUID in braces");
        insta::assert_snapshot!(refused("msi", OsFamily::Windows, "a%b.msi", ""), @r#"The file's name: Windows takes neither " nor % here"#);
        let deb = find("deb", OsFamily::Linux).expect("a template");
        let filled = deb.fill(OsFamily::Linux, Some("it's $(id).deb"), |_| "").expect("filled");
        assert!(filled.text().ends_with("./'it'\\''s $(id).deb'"), "{}", filled.text());
    }

    #[test]
    fn a_files_name_says_what_it_is() {
        let kind = |name| guess(name).map(|(os, template)| format!("{os} {}", template.id));
        assert_eq!(kind("Firefox Setup 128.0.MSI").as_deref(), Some("windows msi"));
        assert_eq!(kind("htop_3.2.2_amd64.deb").as_deref(), Some("linux deb"));
        assert_eq!(kind("archive.tar.gz"), None);
        for (file, name, version) in [
            ("htop_3.2.2-2_amd64.deb", "htop", "3.2.2"),
            ("Firefox Setup 128.0esr.msi", "Firefox Setup", "128.0esr"),
            ("tool-v2.tar.gz", "tool", "2"),
            ("7z2301-x64.exe", "7z2301-x64", ""),
            ("setup.exe", "setup", ""),
        ] {
            assert_eq!(guess_name(file), (name.to_owned(), version.to_owned()), "{file}");
        }
    }

    #[test]
    fn the_file_in_an_archive_is_the_one_that_lies_highest() {
        let msi = find("msi", OsFamily::Windows).expect("a template");
        let members = ["parts/extra.msi", "readme.txt", "Office.msi"];
        assert_eq!(msi.file_of("office.zip", members).as_deref(), Ok("Office.msi"));
        assert_eq!(msi.file_of("office.msi", []).as_deref(), Ok("office.msi"));
        assert!(msi.file_of("office.zip", ["readme.txt"]).is_err());
    }
}
