//! The collector for Linux: one file a subject, all over one [`Machine`], which in tests is a directory.

mod accounts;
mod bus;
mod cpu;
mod inputs;
mod monitors;
mod network;
mod power;
mod printers;
mod software;
mod storage;
mod system;
mod virtualised;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use self::network::Address;
use self::storage::Space;
use super::{Leaves, Section, board, clean, smbios};

/// Bits of the sections that this collector fills, whether or not there is something in them: a server that sees the
/// bit removes what is gone (ocs-protocol 2.4).
const CHECKSUM: u64 = 1
    | 2
    | 4
    | 8
    | 32
    | 64
    | 128
    | 256
    | 512
    | 1024
    | 2048
    | 4096
    | 8192
    | 16384
    | 32768
    | 65536
    | 131_072
    | 262_144
    | 1_048_576
    | 2_097_152;

/// Bytes of a file in /proc or /sys: `cpuinfo` of a machine with a thousand processors is the largest.
const SMALL: u64 = 4 << 20;

/// The firmware's table, readable by root only, and more bytes than any has; its length field is 32 bits wide.
const FIRMWARE: &str = "/sys/firmware/dmi/tables/DMI";
const FIRMWARE_LIMIT: u64 = 1 << 20;

/// Names of one directory: packages apart, no machine has that many of anything.
const NAMES: usize = 4096;

/// Where facts come from.
struct Machine<'a> {
    /// `/`, or a test's directory.
    root: PathBuf,
    /// What the kernel says about addresses.
    addresses: Vec<Address>,
    /// Asks a file system for its space.
    space: &'a dyn Fn(&Path) -> Option<Space>,
    /// Asks the RPM database.
    rpm: &'a dyn Fn() -> Option<String>,
}

/// Every section of this computer.
pub(super) fn sections() -> Vec<Section> {
    let machine = Machine {
        root: PathBuf::from("/"),
        addresses: network::addresses(),
        space: &storage::space,
        rpm: &software::query_rpm,
    };
    machine.sections()
}

impl Machine<'_> {
    fn sections(&self) -> Vec<Section> {
        let cpus = cpu::read(self);
        let mut sections = vec![system::hardware(self, &cpus), system::bios(self)];
        sections.extend(cpus.iter().map(cpu::Cpu::section));
        let table = self.bytes(FIRMWARE, FIRMWARE_LIMIT);
        sections.extend(smbios::memories(&table));
        sections.extend(board::sections(&table));
        sections.extend(bus::pci(self));
        sections.extend(bus::usb(self));
        sections.extend(monitors::sections(self));
        sections.extend(inputs::sections(self));
        sections.extend(power::batteries(self));
        sections.extend(printers::sections(self));
        sections.extend(virtualised::sections(self));
        sections.extend(network::sections(self));
        sections.extend(storage::storages(self));
        sections.extend(storage::drives(self));
        sections.extend(accounts::users(self));
        sections.extend(accounts::groups(self));
        sections.extend(software::sections(self));
        // BIOS stays, also empty: stock agents send exactly one.
        sections.retain(|section| section.name == "BIOS" || !section.fields.is_empty());
        sections
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's bytes up to a bound; nothing if it cannot be read.
    fn bytes(&self, path: &str, limit: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(self.path(path)) {
            // What was read before an error is still true.
            let _ = file.take(limit).read_to_end(&mut bytes);
        }
        bytes
    }

    /// A file's text; bytes that are no text become U+FFFD.
    fn text(&self, path: &str) -> String {
        String::from_utf8_lossy(&self.bytes(path, SMALL)).into_owned()
    }

    /// The first line of a file, cleaned.
    fn line(&self, path: &str) -> String {
        clean(self.text(path).lines().next().unwrap_or_default())
    }

    /// The number that a file holds.
    fn number(&self, path: &str) -> Option<u64> {
        self.line(path).parse().ok()
    }

    /// The names in a directory, sorted.
    fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else { return Vec::new() };
        let names = entries.flatten().take(NAMES).filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    /// The last component of what a link points to: how /sys says which driver a device has.
    fn link_name(&self, path: &str) -> String {
        let target = fs::read_link(self.path(path)).unwrap_or_default();
        target.file_name().map(|name| clean(&name.to_string_lossy())).unwrap_or_default()
    }

    fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }
}

/// The value of a `key: value` or `key = value` line.
fn value_of<'a>(text: &'a str, key: &str, separator: char) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests;
