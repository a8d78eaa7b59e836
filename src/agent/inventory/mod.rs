//! What this computer is: the sections of an INVENTORY (ocs-protocol 2.4), named and measured as the stock agent does.
//!
//! Facts are read where the kernel and the package manager keep them; a fact that cannot be read is left out, never
//! guessed. Nothing in an unchanged computer's inventory changes by itself but free space, so that a server can tell "the
//! same as yesterday" (no uptime, no load, no time of collection). On systems other than Linux and Windows
//! only what the standard library knows is said.

mod accepted;
#[cfg(any(target_os = "linux", windows))]
mod board;
#[cfg(any(target_os = "linux", windows))]
mod edid;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(windows, all(test, target_os = "linux")))]
mod plugged;
#[cfg(any(target_os = "linux", windows))]
mod smbios;
#[cfg(windows)]
mod windows;

use std::fmt::Write as _;

pub(crate) use self::accepted::Accepted;
#[cfg(not(any(target_os = "linux", windows)))]
use self::fallback as platform;
#[cfg(target_os = "linux")]
use self::linux as platform;
#[cfg(windows)]
use self::windows as platform;
use crate::model::{DeviceId, PackageId};
use crate::protocol::{AccountField, InventoryDocument, Section};

/// Characters of one leaf: the width of the stock server's columns.
const LEAF: usize = 255;

/// Collects the inventory of this computer.
pub(crate) fn collect(device_id: &DeviceId, account: &[AccountField], history: &[PackageId]) -> InventoryDocument {
    InventoryDocument {
        device_id: device_id.clone(),
        sections: platform::sections(),
        history: history.to_vec(),
        account: account.to_vec(),
    }
}

/// The sections of this computer, for a person to read: a paragraph each.
pub(crate) fn as_text() -> String {
    let mut text = String::new();
    for section in platform::sections() {
        let _ = writeln!(text, "{}{}", section.name, if section.fields.is_empty() { " (nothing known)" } else { "" });
        for (leaf, value) in &section.fields {
            let _ = writeln!(text, "  {leaf:<16} {value}");
        }
    }
    text
}

/// The same, for a program: each section is a list of objects, as there may be several of a name.
pub(crate) fn as_json() -> serde_json::Value {
    let mut all = serde_json::Map::new();
    for section in platform::sections() {
        let leaves = section.fields.into_iter().map(|(leaf, value)| (leaf.to_owned(), value.into()));
        let object = serde_json::Value::Object(leaves.collect());
        let list = all.entry(section.name).or_insert_with(|| serde_json::Value::Array(Vec::new()));
        if let Some(list) = list.as_array_mut() {
            list.push(object);
        }
    }
    serde_json::Value::Object(all)
}

/// A section under construction.
struct Leaves {
    name: &'static str,
    fields: Vec<(&'static str, String)>,
}

impl Leaves {
    fn of(name: &'static str) -> Self {
        Self { name, fields: Vec::new() }
    }

    /// Adds a leaf, if there is something to say.
    fn with(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        let value = clean(value.as_ref());
        if !value.is_empty() {
            self.fields.push((name, value));
        }
        self
    }

    /// Adds a number, if it is known.
    fn number(self, name: &'static str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.with(name, value.to_string()),
            None => self,
        }
    }

    fn done(self) -> Section {
        Section { name: self.name, fields: self.fields }
    }
}

/// One line of bounded text without control characters or blanks around it. Firmware holds all kinds of bytes.
fn clean(text: &str) -> String {
    let blank = |c: char| c.is_whitespace() || c.is_control();
    let text = text.trim_matches(blank);
    let end = text.char_indices().nth(LEAF).map_or(text.len(), |(at, _)| at);
    text[..end].trim_end_matches(blank).replace(char::is_control, " ")
}

/// The processor's architecture in the spelling of `uname -m`.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86" => "i686",
        "arm" => "armv7l",
        other => other,
    }
}

/// What the standard library knows of a system without a collector of its own.
#[cfg(any(test, not(any(target_os = "linux", windows))))]
mod fallback {
    use super::{Leaves, Section, architecture};

    /// Bits of HARDWARE and CPUS: the sections that this collector fills.
    const CHECKSUM: u64 = 1 | 262_144;

    pub(super) fn sections() -> Vec<Section> {
        let name = ["COMPUTERNAME", "HOSTNAME"].iter().find_map(std::env::var_os).unwrap_or_default();
        let os = if cfg!(target_os = "macos") { "macOS" } else { std::env::consts::OS };
        let user = ["USERNAME", "USER"].iter().find_map(std::env::var_os).unwrap_or_default();
        let processors = std::thread::available_parallelism().ok().map(|count| count.get() as u64);
        let hardware = Leaves::of("HARDWARE")
            .number("CHECKSUM", Some(CHECKSUM))
            .with("NAME", name.to_string_lossy())
            .with("OSNAME", os)
            .with("ARCH", architecture())
            .with("USERID", user.to_string_lossy());
        let cpu = Leaves::of("CPUS").with("CPUARCH", architecture()).number("LOGICAL_CPUS", processors);
        vec![hardware.done(), cpu.done()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory() -> InventoryDocument {
        let device_id: DeviceId = "ws042-2024-03-05-09-10-11".parse().expect("a device id");
        let account = [AccountField { key: "TAG".to_owned(), value: "PARIS & <co>".to_owned() }];
        collect(&device_id, &account, &[PackageId::new(1_709_630_000).expect("an id")])
    }

    #[test]
    fn this_computer_is_described_in_well_formed_xml() {
        let inventory = inventory();
        let element =
            crate::protocol::xml::parse(inventory.to_xml().as_bytes(), &crate::model::limits::RequestLimits::DEFAULT)
                .expect("XML");
        assert_eq!(element.value("DEVICEID"), Some("ws042-2024-03-05-09-10-11"));
        let content = element.child("CONTENT").expect("CONTENT");
        let hardware: Vec<_> = content.children_named("HARDWARE").collect();
        assert_eq!(hardware.len(), 1, "a second HARDWARE breaks the stock server");
        assert!(content.children_named("BIOS").count() <= 1);
        for leaf in ["NAME", "OSNAME", "CHECKSUM"] {
            assert!(hardware[0].value(leaf).is_some_and(|text| !text.is_empty()), "no {leaf}");
        }
        assert_eq!(content.child("ACCOUNTINFO").and_then(|account| account.value("KEYVALUE")), Some("PARIS & <co>"));
        let history = content.child("DOWNLOAD").and_then(|download| download.child("HISTORY")).expect("HISTORY");
        assert_eq!(history.child("PACKAGE").and_then(|package| package.value("ID")), Some("1709630000"));
    }

    #[test]
    fn leaves_are_bounded_and_unpadded() {
        for section in inventory().sections {
            for (name, text) in section.fields {
                assert!(text.chars().count() <= LEAF, "{}/{name}", section.name);
                assert!(!text.is_empty() && text.trim() == text, "{}/{name}: {text:?}", section.name);
                assert!(!text.chars().any(char::is_control), "{}/{name}: {text:?}", section.name);
            }
        }
    }

    #[test]
    fn two_inventories_of_an_unchanged_computer_differ_in_free_space_only() {
        let without_free = |document: InventoryDocument| {
            let mut sections = document.sections;
            for section in &mut sections {
                section.fields.retain(|(name, _)| *name != "FREE");
            }
            sections
        };
        assert_eq!(without_free(inventory()), without_free(inventory()));
    }

    #[test]
    fn people_and_programs_read_the_same() {
        let (text, json) = (as_text(), as_json());
        let hardware = json["HARDWARE"].as_array().expect("a list");
        assert_eq!(hardware.len(), 1);
        let name = hardware[0]["NAME"].as_str().expect("a name");
        assert!(text.contains("HARDWARE\n") && text.lines().any(|line| line.ends_with(&format!(" {name}"))), "{text}");
        assert_eq!(text.matches("\nCPUS\n").count(), json["CPUS"].as_array().map_or(0, Vec::len));
    }

    #[test]
    fn the_fallback_says_what_it_knows() {
        let sections = fallback::sections();
        assert_eq!(sections.iter().map(|section| section.name).collect::<Vec<_>>(), ["HARDWARE", "CPUS"]);
    }

    #[test]
    fn text_of_firmware_is_cleaned() {
        assert_eq!(clean("  a\u{0}b\r\n"), "a b");
        assert_eq!(clean(&"ü".repeat(300)).chars().count(), 255);
        assert_eq!(clean(&format!("{} b", "a".repeat(254))), "a".repeat(254));
    }
}
