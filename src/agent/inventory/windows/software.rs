//! SOFTWARES: what programs and installers wrote below `Uninstall`, as the stock agent reads it: of 64 and of 32 bits, of
//! the computer and of the users whose registry is loaded.

use std::collections::BTreeSet;

use windows_registry::{Key, LOCAL_MACHINE, USERS};

use super::{Leaves, Section, text};

/// Programs told; a request has room for them (`RequestLimits`).
const PROGRAMS: usize = 100_000;

/// Where they write it.
const PATH: &str = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall";

/// One program, in the order in which programs are told.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Program {
    name: String,
    version: String,
    publisher: String,
    bits: &'static str,
    guid: String,
    folder: String,
    comments: String,
    installed: String,
    bytes: Option<u64>,
}

pub(super) fn sections() -> Vec<Section> {
    let mut programs = BTreeSet::new();
    let mut read = |key: windows_registry::Result<Key>, bits| {
        if let Ok(key) = key {
            programs.extend(below(&key, bits));
        }
    };
    read(LOCAL_MACHINE.options().read().wow64_64().open(PATH), "64");
    read(LOCAL_MACHINE.options().read().wow64_32().open(PATH), "32");
    for user in USERS.keys().into_iter().flatten() {
        // The system's own accounts have nothing, and `…_Classes` belongs to another key.
        if user.starts_with("S-1-5-21-") && !user.ends_with("_Classes") {
            read(USERS.open(format!(r"{user}\{PATH}")), "64");
        }
    }
    programs.iter().take(PROGRAMS).map(Program::section).collect()
}

fn below<'a>(list: &'a Key, bits: &'static str) -> impl Iterator<Item = Program> + 'a {
    let names: Vec<String> = list.keys().into_iter().flatten().take(PROGRAMS).collect();
    names.into_iter().filter_map(move |guid| {
        let key = list.open(&guid).ok()?;
        let said = |name| text(Some(&key), name);
        let program = Program {
            name: said("DisplayName").trim().to_owned(),
            version: said("DisplayVersion"),
            publisher: said("Publisher"),
            bits,
            folder: said("InstallLocation"),
            comments: said("Comments"),
            installed: date(&said("InstallDate")),
            // In KiB.
            bytes: key.get_u32("EstimatedSize").ok().map(|kibibytes| u64::from(kibibytes) << 10),
            guid,
        };
        (!program.name.is_empty()).then_some(program)
    })
}

/// `20240305` as the stock agent says it; anything else (installers write what they like) is left out.
fn date(text: &str) -> String {
    let text = text.trim();
    if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return String::new();
    }
    format!("{}/{}/{}", &text[..4], &text[4..6], &text[6..])
}

impl Program {
    fn section(&self) -> Section {
        Leaves::of("SOFTWARES")
            .with("BITSWIDTH", self.bits)
            .with("COMMENTS", &self.comments)
            .number("FILESIZE", self.bytes)
            .with("FOLDER", &self.folder)
            .with("GUID", &self.guid)
            .with("INSTALLDATE", &self.installed)
            .with("NAME", &self.name)
            .with("PUBLISHER", &self.publisher)
            .with("VERSION", &self.version)
            .done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_installation_is_eight_digits_or_nothing() {
        assert_eq!(date("20240305"), "2024/03/05");
        for other in ["", "3/5/2024", "2024035", "２０２４０３０５"] {
            assert_eq!(date(other), "", "{other}");
        }
    }

    #[test]
    fn a_program_is_told_with_what_its_installer_wrote() {
        const PATH: &str = r"Software\dripfeed-test\Uninstall";
        let list = windows_registry::CURRENT_USER.create(PATH).expect("a key");
        let program = list.create("{ABC}").expect("a key");
        for (name, value) in [("DisplayName", "Tool"), ("DisplayVersion", "1.2"), ("InstallDate", "20240305")] {
            program.set_string(name, value).expect("a value");
        }
        program.set_u32("EstimatedSize", 3).expect("a value");
        list.create("nameless").expect("a key");
        let found: Vec<_> = below(&list, "64").collect();
        windows_registry::CURRENT_USER.remove_tree(r"Software\dripfeed-test").expect("removed");
        assert_eq!(found.len(), 1);
        let fields: Vec<_> =
            found[0].section().fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            fields.join(" "),
            "BITSWIDTH=64 FILESIZE=3072 GUID={ABC} INSTALLDATE=2024/03/05 NAME=Tool VERSION=1.2"
        );
    }
}
