//! `last_state`: what the server has taken last, a digest a section, in the stock agent's form (ocs-protocol 3.3).
//!
//! ```text
//! <LAST_STATE>
//!   <BIOS>1CchTMwb1AeFb+Wg2Scn0A</BIOS>
//!   …
//! </LAST_STATE>
//! ```
//!
//! `CHECKSUM` has a bit for each section that differs from it; without the file, or with another agent's, every section
//! does. It is written after the server has answered, so a lost answer costs one inventory more, never one less.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::disk;
use crate::model::limits::RequestLimits;
use crate::model::{DigestAlgorithm, Hasher};
use crate::protocol::{InventoryDocument, Section, xml};

/// Bytes of the file; a stock agent's has about 1 KiB.
const MAX_FILE: u64 = 64 << 10;

/// The sections that have a bit, with it (ocs-protocol 2.4).
pub(super) const BITS: [(&str, u64); 21] = [
    ("BATTERIES", 1_048_576),
    ("BIOS", 2),
    ("CONTROLLERS", 32),
    ("CPUS", 262_144),
    ("DRIVES", 512),
    ("HARDWARE", 1),
    ("INPUTS", 1024),
    ("MEMORIES", 4),
    ("MODEMS", 2048),
    ("MONITORS", 64),
    ("NETWORKS", 4096),
    ("PORTS", 128),
    ("PRINTERS", 8192),
    ("REGISTRY", 16),
    ("SLOTS", 8),
    ("SOFTWARES", 65536),
    ("SOUNDS", 16384),
    ("STORAGES", 256),
    ("USBDEVICES", 2_097_152),
    ("VIDEOS", 32768),
    ("VIRTUALMACHINES", 131_072),
];

/// The digest of every section that has a bit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Accepted(BTreeMap<&'static str, String>);

impl Accepted {
    /// Gives the document the bits of what differs from what the server has, and says what it will have.
    pub(crate) fn mark(document: &mut InventoryDocument, state: &Path) -> Self {
        let new = Self::of(&document.sections);
        let old = read(state);
        let differs = |name: &str| old.get(name) != new.0.get(name);
        let bits = BITS.iter().filter(|(name, _)| differs(name)).map(|(_, bit)| bit).sum::<u64>();
        for section in document.sections.iter_mut().filter(|section| section.name == "HARDWARE") {
            for (_, value) in section.fields.iter_mut().filter(|(leaf, _)| *leaf == "CHECKSUM") {
                *value = bits.to_string();
            }
        }
        new
    }

    fn of(sections: &[Section]) -> Self {
        let digest = |name: &str| {
            let mut hasher = Hasher::new(DigestAlgorithm::Md5);
            for section in sections.iter().filter(|section| section.name == name) {
                for (leaf, text) in section.fields.iter().filter(|(leaf, _)| *leaf != "CHECKSUM") {
                    // No leaf and no text holds a NUL.
                    for part in [leaf.as_bytes(), &[0], text.as_bytes(), &[0]] {
                        hasher.update(part);
                    }
                }
                hasher.update(&[0]);
            }
            hasher.finish().to_base64()
        };
        Self(BITS.iter().map(|(name, _)| (*name, digest(name))).collect())
    }

    /// The server has taken it.
    pub(crate) fn keep(&self, state: &Path) -> io::Result<()> {
        let mut text = String::from("<LAST_STATE>\n");
        for (name, digest) in &self.0 {
            let _ = writeln!(text, "  <{name}>{digest}</{name}>");
        }
        text.push_str("</LAST_STATE>\n");
        disk::atomic::write_private(&state.join("last_state"), text.as_bytes())
    }
}

/// Nothing, if there is no such file or it cannot be read: then everything has changed.
fn read(state: &Path) -> BTreeMap<&'static str, String> {
    let mut bytes = Vec::new();
    let opened = File::open(state.join("last_state"));
    if opened.and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)).is_err() {
        return BTreeMap::new();
    }
    let Ok(root) = xml::parse(&bytes, &RequestLimits::DEFAULT) else { return BTreeMap::new() };
    BITS.iter().filter_map(|(name, _)| Some((*name, root.value(name)?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = 0x3f_ffff & !524_288;

    fn section(name: &'static str, leaf: &'static str, text: &str) -> Section {
        Section { name, fields: vec![(leaf, text.to_owned())] }
    }

    fn document() -> InventoryDocument {
        let hardware =
            Section { name: "HARDWARE", fields: vec![("CHECKSUM", "0".to_owned()), ("NAME", "ws042".to_owned())] };
        InventoryDocument {
            device_id: "ws042-2024-03-05-09-10-11".parse().expect("a device id"),
            sections: vec![hardware, section("SOFTWARES", "NAME", "a"), section("SOFTWARES", "NAME", "b")],
            history: Vec::new(),
            account: Vec::new(),
        }
    }

    fn checksum(document: &InventoryDocument) -> u64 {
        document.sections[0].fields[0].1.parse().expect("a number")
    }

    #[test]
    fn every_section_has_changed_until_the_server_has_taken_one_inventory() {
        let state = tempfile::tempdir().expect("a directory");
        let mut first = document();
        let accepted = Accepted::mark(&mut first, state.path());
        assert_eq!(checksum(&first), ALL);
        Accepted::mark(&mut first, state.path());
        assert_eq!(checksum(&first), ALL, "the server has not taken it");
        accepted.keep(state.path()).expect("kept");
        let mut again = document();
        assert_eq!(Accepted::mark(&mut again, state.path()), accepted);
        assert_eq!(checksum(&again), 0);
    }

    #[test]
    fn only_what_differs_has_its_bit_also_what_is_gone() {
        let state = tempfile::tempdir().expect("a directory");
        Accepted::mark(&mut document(), state.path()).keep(state.path()).expect("kept");
        let mut changed = document();
        changed.sections.push(section("PRINTERS", "NAME", "Laser"));
        Accepted::mark(&mut changed, state.path());
        assert_eq!(checksum(&changed), 8192);
        let mut gone = document();
        gone.sections.truncate(1);
        Accepted::mark(&mut gone, state.path());
        assert_eq!(checksum(&gone), 65536);
        // The same words, divided otherwise.
        let mut moved = document();
        moved.sections.truncate(1);
        let fields = vec![("NAME", "a".to_owned()), ("NAME", "b".to_owned())];
        moved.sections.push(Section { name: "SOFTWARES", fields });
        Accepted::mark(&mut moved, state.path());
        assert_eq!(checksum(&moved), 65536);
    }

    #[test]
    fn a_state_that_is_torn_or_another_agents_is_like_none() {
        let stock = include_bytes!("../../../tests/wire/agent-state/last_state");
        for content in [stock.as_slice(), b"", b"<LAST_STATE><BIOS>", b"\xff\xfe", b"<OTHER />"] {
            let state = tempfile::tempdir().expect("a directory");
            disk::atomic::write(&state.path().join("last_state"), content).expect("written");
            let mut changed = document();
            changed.sections.push(section("BIOS", "SSN", "1"));
            Accepted::mark(&mut changed, state.path());
            let unchanged = ALL & !checksum(&changed);
            // An empty section has the same digest nowhere but in an own file.
            assert_eq!(unchanged & (1 | 2 | 65536), 0, "{}", String::from_utf8_lossy(content));
        }
    }
}
