//! STORAGES (disks) and DRIVES (file systems on them).

use std::collections::BTreeSet;
use std::path::Path;

use super::{Leaves, Machine, Section};

const BLOCK: &str = "/sys/block";

/// The space of a file system, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    pub(super) total: u64,
    pub(super) free: u64,
}

/// Asks the kernel.
pub(super) fn space(mount_point: &Path) -> Option<Space> {
    let answer = rustix::fs::statvfs(mount_point).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(answer.f_frsize);
    Some(Space { total: bytes(answer.f_blocks), free: bytes(answer.f_bavail) })
}

/// Every disk and CD drive; not what the kernel makes of files, memory or other disks.
pub(super) fn storages(machine: &Machine<'_>) -> Vec<Section> {
    const MADE_UP: [&str; 7] = ["loop", "ram", "zram", "dm-", "md", "nbd", "zd"];
    let disks = machine.names(BLOCK).into_iter();
    disks
        .filter(|disk| !MADE_UP.iter().any(|prefix| disk.starts_with(prefix)))
        .map(|disk| storage(machine, &disk))
        .collect()
}

fn storage(machine: &Machine<'_>, disk: &str) -> Section {
    let said = |name: &str| machine.line(&format!("{BLOCK}/{disk}/{name}"));
    let first = |names: &[&str]| names.iter().map(|name| said(name)).find(|text| !text.is_empty()).unwrap_or_default();
    let kind = if disk.starts_with("sr") {
        "cdrom"
    } else if said("removable") == "1" {
        "removable"
    } else {
        "disk"
    };
    // In sectors of 512 bytes whatever the disk's own are; told in millions of bytes, as the stock agent does.
    let megabytes = said("size").parse::<u64>().ok().map(|sectors| sectors.saturating_mul(512) / 1_000_000);
    let vendor = said("device/vendor");
    Leaves::of("STORAGES")
        .with("DESCRIPTION", machine.link_name(&format!("{BLOCK}/{disk}/device/subsystem")))
        .number("DISKSIZE", megabytes.filter(|size| *size > 0))
        .with("FIRMWARE", first(&["device/firmware_rev", "device/rev"]))
        // Disks on PCI give their bus number here.
        .with("MANUFACTURER", if vendor.starts_with("0x") { String::new() } else { vendor })
        .with("MODEL", first(&["device/model", "device/name"]))
        .with("NAME", disk)
        .with("SERIALNUMBER", first(&["device/serial", "serial"]))
        .with("TYPE", kind)
        .done()
}

/// Local file systems, each once, where it is mounted first. Network file systems are left out: asking one whose server
/// is gone would hold the agent for ever.
pub(super) fn drives(machine: &Machine<'_>) -> Vec<Section> {
    let mounts = machine.text("/proc/self/mounts");
    let mut seen = BTreeSet::new();
    let mut sections = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').map(unescape);
        let (Some(device), Some(mount_point), Some(kind)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let local = (device.starts_with("/dev/") && !device.starts_with("/dev/loop")) || kind == "zfs";
        if !local || !mount_point.starts_with('/') || !seen.insert(device.clone()) {
            continue;
        }
        let space = (machine.space)(&machine.path(&mount_point)).filter(|space| space.total > 0);
        let section = Leaves::of("DRIVES")
            .with("FILESYSTEM", kind)
            .number("FREE", space.map(|space| space.free >> 20))
            .number("TOTAL", space.map(|space| space.total >> 20))
            .with("TYPE", mount_point)
            .with("VOLUMN", device);
        sections.push(section.done());
    }
    sections
}

/// Blanks, tabs, line feeds and backslashes are written as `\040`, `\011`, `\012`, `\134`.
fn unescape(field: &str) -> String {
    let known = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    known.iter().fold(field.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}
