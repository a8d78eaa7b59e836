//! MEMORIES: the memory slots, from the firmware's table (SMBIOS specification, type 17), readable by root only.
//!
//! ```text
//! structure: type 1 byte, length 1, handle 2, fields up to length; then its strings, each ended by a NUL, and a NUL more
//! type 17:   0x0C size u16, 0x0E form factor, 0x10 locator, 0x11 bank, 0x12 type, 0x15 speed u16, 0x18 serial,
//!            0x1C extended size u32
//! ```

use super::{Leaves, Machine, Section};

const TABLE: &str = "/sys/firmware/dmi/tables/DMI";

/// More than any firmware has; the table's length field is 32 bits wide.
const LIMIT: u64 = 1 << 20;

const MEMORY_DEVICE: u8 = 17;
const END_OF_TABLE: u8 = 127;

pub(super) fn sections(machine: &Machine<'_>) -> Vec<Section> {
    let table = table(machine);
    let devices = structures(&table).filter(|structure| structure.kind == MEMORY_DEVICE);
    devices.zip(1..=1024).map(|(device, number)| device.memory(number)).collect()
}

/// The firmware's table; empty for whoever may not read it.
pub(super) fn table(machine: &Machine<'_>) -> Vec<u8> {
    machine.bytes(TABLE, LIMIT)
}

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

fn named(names: &[(u8, &'static str)], number: u8) -> &'static str {
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

    proptest! {
        #[test]
        fn no_table_makes_the_reader_panic_or_run_on(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let found = structures(&bytes).map(|structure| structure.memory(1)).collect::<Vec<_>>().len();
            prop_assert!(found <= bytes.len() / 4);
        }
    }
}
