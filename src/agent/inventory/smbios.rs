//! What the firmware says of a computer, in its own table (SMBIOS specification): MEMORIES everywhere, BIOS where the system
//! does not take the table apart itself.
//!
//! ```text
//! structure: type 1 byte, length 1, handle 2, fields up to length; then its strings, each ended by a NUL, and a NUL more
//! type 17:   0x0C size u16, 0x0E form factor, 0x10 locator, 0x11 bank, 0x12 type, 0x15 speed u16, 0x18 serial,
//!            0x1C extended size u32
//! ```

use super::{Leaves, Section};

const MEMORY_DEVICE: u8 = 17;
const END_OF_TABLE: u8 = 127;

/// The memory slots.
pub(super) fn memories(table: &[u8]) -> Vec<Section> {
    let devices = structures(table).filter(|structure| structure.kind == MEMORY_DEVICE);
    devices.zip(1..=1024).map(|(device, number)| device.memory(number)).collect()
}

/// BIOS, and the computer's UUID.
#[cfg(any(windows, test))]
pub(super) fn bios(table: &[u8]) -> (Section, String) {
    const NOBODY: Structure<'_> = Structure { kind: 0, fields: &[], strings: Vec::new() };
    let first = |kind| structures(table).find(|structure| structure.kind == kind).unwrap_or(NOBODY);
    let (firmware, system, board, case) = (first(0), first(1), first(2), first(3));
    let section = Leaves::of("BIOS")
        .with("ASSETTAG", case.string(0x08))
        .with("BDATE", firmware.string(0x08))
        .with("BMANUFACTURER", firmware.string(0x04))
        .with("BVERSION", firmware.string(0x05))
        .with("MMANUFACTURER", board.string(0x04))
        .with("MMODEL", board.string(0x05))
        .with("MSN", board.string(0x07))
        .with("SMANUFACTURER", system.string(0x04))
        .with("SMODEL", system.string(0x05))
        .with("SSN", system.string(0x07))
        // The highest bit tells of a lock.
        .with("TYPE", chassis(case.byte(0x05) & 0x7f))
        .done();
    (section, system.uuid())
}

/// Chassis types, 7.4.1; nothing for a number that nobody has defined.
pub(super) fn chassis(number: u8) -> &'static str {
    CHASSIS.get(usize::from(number)).copied().unwrap_or_default()
}

const CHASSIS: [&str; 37] = [
    "",
    "Other",
    "Unknown",
    "Desktop",
    "Low Profile Desktop",
    "Pizza Box",
    "Mini Tower",
    "Tower",
    "Portable",
    "Laptop",
    "Notebook",
    "Hand Held",
    "Docking Station",
    "All in One",
    "Sub Notebook",
    "Space-saving",
    "Lunch Box",
    "Main Server Chassis",
    "Expansion Chassis",
    "Sub Chassis",
    "Bus Expansion Chassis",
    "Peripheral Chassis",
    "RAID Chassis",
    "Rack Mount Chassis",
    "Sealed-case PC",
    "Multi-system",
    "CompactPCI",
    "AdvancedTCA",
    "Blade",
    "Blade Enclosing",
    "Tablet",
    "Convertible",
    "Detachable",
    "IoT Gateway",
    "Embedded PC",
    "Mini PC",
    "Stick PC",
];

/// One structure of the table.
pub(super) struct Structure<'a> {
    pub(super) kind: u8,
    fields: &'a [u8],
    strings: Vec<&'a [u8]>,
}

/// The structures of a table, up to the first one that does not fit.
pub(super) fn structures(mut table: &[u8]) -> impl Iterator<Item = Structure<'_>> {
    std::iter::from_fn(move || {
        let (kind, length) = (*table.first()?, usize::from(*table.get(1)?));
        if length < 4 || kind == END_OF_TABLE {
            return None;
        }
        let (fields, rest) = table.split_at_checked(length)?;
        let end = rest.windows(2).position(|pair| pair == [0, 0])?;
        let strings = rest[..end].split(|byte| *byte == 0).collect();
        table = &rest[end + 2..];
        Some(Structure { kind, fields, strings })
    })
}

impl Structure<'_> {
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.fields.get(at).copied().unwrap_or(0)
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.byte(at), self.byte(at + 1)])
    }

    /// Strings are numbered from 1; 0 is none.
    pub(super) fn string(&self, at: usize) -> String {
        let number = usize::from(self.byte(at));
        let string = number.checked_sub(1).and_then(|index| self.strings.get(index)).copied().unwrap_or_default();
        String::from_utf8_lossy(string).into_owned()
    }

    /// 7.2.1: the first three parts are little-endian. All bits alike mean that there is none.
    #[cfg(any(windows, test))]
    fn uuid(&self) -> String {
        let Some(b) = self.fields.get(0x08..0x18) else { return String::new() };
        if b.iter().all(|byte| *byte == 0) || b.iter().all(|byte| *byte == 0xff) {
            return String::new();
        }
        let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        order.iter().enumerate().fold(String::with_capacity(36), |text, (at, index)| {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            format!("{text}{dash}{:02X}", b[*index])
        })
    }

    fn memory(&self, number: u64) -> Section {
        // In MiB; the highest bit says KiB, all bits but that one say "look at the extended size".
        let mebibytes = match self.word(0x0c) {
            0 | 0xffff => None,
            0x7fff => Some(u64::from(self.word(0x1c)) | u64::from(self.word(0x1e) & 0x7fff) << 16),
            size if size & 0x8000 != 0 => Some(u64::from(size & 0x7fff) / 1024),
            size => Some(u64::from(size)),
        };
        let form = named(&FORM_FACTORS, self.byte(0x0e));
        let kind = named(&TYPES, self.byte(0x12));
        let speed = Some(self.word(0x15)).filter(|speed| !matches!(speed, 0 | 0xffff)).map(u64::from);
        Leaves::of("MEMORIES")
            // Stock agents say 0 for an empty slot, and so the slot is counted.
            .number("CAPACITY", Some(mebibytes.unwrap_or(0)))
            .with("CAPTION", self.string(0x10))
            .with("DESCRIPTION", if form.is_empty() { self.string(0x11) } else { form.to_owned() })
            .number("NUMSLOTS", Some(number))
            .with("SERIALNUMBER", self.string(0x18))
            .number("SPEED", speed)
            .with("TYPE", kind)
            .done()
    }
}

/// What a number of the specification stands for; nothing for one that is not known here.
pub(super) fn named(names: &[(u8, &'static str)], number: u8) -> &'static str {
    names.iter().find(|(known, _)| *known == number).map_or("", |(_, name)| name)
}

/// 7.18.1.
const FORM_FACTORS: [(u8, &str); 9] = [
    (3, "SIMM"),
    (4, "SIP"),
    (5, "Chip"),
    (6, "DIP"),
    (9, "DIMM"),
    (11, "Row of chips"),
    (12, "RIMM"),
    (13, "SODIMM"),
    (16, "Die"),
];

/// 7.18.2.
const TYPES: [(u8, &str); 15] = [
    (3, "DRAM"),
    (7, "RAM"),
    (15, "SDRAM"),
    (18, "DDR"),
    (19, "DDR2"),
    (20, "DDR2 FB-DIMM"),
    (24, "DDR3"),
    (26, "DDR4"),
    (27, "LPDDR"),
    (28, "LPDDR2"),
    (29, "LPDDR3"),
    (30, "LPDDR4"),
    (32, "HBM"),
    (34, "DDR5"),
    (35, "LPDDR5"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_firmware_names_the_computer() {
        let mut table = vec![1, 27, 1, 0, 1, 2, 0, 3];
        table.extend(0..16);
        table.extend([6, 0, 0]);
        table.extend(b"Maker\0Model\0Serial\0\0");
        table.extend([3, 9, 2, 0, 0, 0x8a, 0, 0, 1]);
        table.extend(b"Tag\0\0");
        let (section, uuid) = bios(&table);
        assert_eq!(uuid, "03020100-0504-0706-0809-0A0B0C0D0E0F");
        let fields: Vec<_> = section.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(fields.join(" "), "ASSETTAG=Tag SMANUFACTURER=Maker SMODEL=Model SSN=Serial TYPE=Notebook");
        assert_eq!(bios(&[]).1, "");
        assert!(bios(&[]).0.fields.is_empty());
    }

    proptest! {
        #[test]
        fn no_table_makes_the_reader_panic_or_run_on(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            bios(&bytes);
            let found = structures(&bytes).map(|structure| structure.memory(1)).collect::<Vec<_>>().len();
            prop_assert!(found <= bytes.len() / 4);
        }
    }
}
