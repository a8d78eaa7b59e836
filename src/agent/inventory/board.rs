//! SLOTS and PORTS of the board, from the firmware's table (SMBIOS specification, types 9 and 8).

use super::smbios::{Structure, named, structures};
use super::{Leaves, Section};

const PORT: u8 = 8;
const SLOT: u8 = 9;

/// More than any board has.
const MANY: usize = 256;

pub(super) fn sections(table: &[u8]) -> Vec<Section> {
    let found = structures(table).filter_map(|structure| match structure.kind {
        PORT => Some(port(&structure)),
        SLOT => Some(slot(&structure)),
        _ => None,
    });
    found.take(MANY).collect()
}

/// 7.9: 0x04 internal name, 0x05 internal connector, 0x06 external name, 0x07 external connector, 0x08 kind.
fn port(structure: &Structure<'_>) -> Section {
    let connector = |at| named(&CONNECTORS, structure.byte(at));
    let (inside, outside) = (structure.string(0x04), structure.string(0x06));
    Leaves::of("PORTS")
        .with("CAPTION", connector(0x07))
        .with("DESCRIPTION", connector(0x05))
        .with("NAME", if inside.is_empty() { outside } else { inside })
        .with("TYPE", named(&PORTS, structure.byte(0x08)))
        .done()
}

/// 7.10: 0x04 name, 0x05 kind, 0x07 usage, 0x09 id.
fn slot(structure: &Structure<'_>) -> Section {
    let id = u16::from_le_bytes([structure.byte(0x09), structure.byte(0x0a)]);
    Leaves::of("SLOTS")
        .with("DESCRIPTION", slot_kind(structure.byte(0x05)))
        .number("DESIGNATION", Some(u64::from(id)))
        .with("NAME", structure.string(0x04))
        .with("STATUS", named(&[(3, "Available"), (4, "In Use"), (5, "Unavailable")], structure.byte(0x07)))
        .done()
}

/// 7.10.1. PCI Express comes in generations of six: any, ×1, ×2, ×4, ×8, ×16.
fn slot_kind(kind: u8) -> String {
    const WIDTHS: [&str; 6] = ["", " x1", " x2", " x4", " x8", " x16"];
    let generation = |name: &str, first: u8| format!("{name}{}", WIDTHS[usize::from(kind - first)]);
    match kind {
        0x03 => "ISA".to_owned(),
        0x06 => "PCI".to_owned(),
        0x0f => "AGP".to_owned(),
        0x12 => "PCI-X".to_owned(),
        0x14..=0x17 => "M.2".to_owned(),
        0xa5..=0xaa => generation("PCI Express", 0xa5),
        0xab..=0xb0 => generation("PCI Express 2", 0xab),
        0xb1..=0xb6 => generation("PCI Express 3", 0xb1),
        0xb8..=0xbd => generation("PCI Express 4", 0xb8),
        0xbe..=0xc3 => generation("PCI Express 5", 0xbe),
        _ => String::new(),
    }
}

/// 7.9.2.
const CONNECTORS: [(u8, &str); 15] = [
    (0x04, "DB-25 male"),
    (0x05, "DB-25 female"),
    (0x07, "DB-15 female"),
    (0x08, "DB-9 male"),
    (0x09, "DB-9 female"),
    (0x0a, "RJ-11"),
    (0x0b, "RJ-45"),
    (0x0e, "PS/2"),
    (0x0f, "PS/2"),
    (0x12, "Access Bus (USB)"),
    (0x16, "On Board IDE"),
    (0x1b, "Centronics"),
    (0x1f, "Mini Jack (headphones)"),
    (0x22, "SATA/SAS"),
    (0x23, "USB Type-C"),
];

/// 7.9.3.
const PORTS: [(u8, &str); 17] = [
    (0x01, "Parallel Port XT/AT Compatible"),
    (0x02, "Parallel Port PS/2"),
    (0x03, "Parallel Port ECP"),
    (0x04, "Parallel Port EPP"),
    (0x05, "Parallel Port ECP/EPP"),
    (0x06, "Serial Port XT/AT Compatible"),
    (0x07, "Serial Port 16450 Compatible"),
    (0x08, "Serial Port 16550 Compatible"),
    (0x09, "Serial Port 16550A Compatible"),
    (0x0d, "Keyboard Port"),
    (0x0e, "Mouse Port"),
    (0x10, "USB"),
    (0x11, "Firewire (IEEE P1394)"),
    (0x1c, "Video Port"),
    (0x1d, "Audio Port"),
    (0x1e, "Modem Port"),
    (0x1f, "Network Port"),
];
