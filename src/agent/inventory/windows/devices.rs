//! VIDEOS, PRINTERS: what the drivers of cards and the print service wrote into the registry.

use windows_registry::{Key, LOCAL_MACHINE};

use super::{Leaves, Section, text};

/// The class of graphics cards; below it a number for each that has a driver.
const CARDS: &str = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}";
const PRINTERS: &str = r"SYSTEM\CurrentControlSet\Control\Print\Printers";

/// Printers that are shared with others, and those of other computers (`PRINTER_ATTRIBUTE_…`).
const SHARED: u32 = 0x8;
const NETWORK: u32 = 0x10;

/// Devices of a kind that are told.
const MANY: usize = 1000;

pub(super) fn sections() -> Vec<Section> {
    let mut sections = below(LOCAL_MACHINE.open(CARDS), card);
    sections.extend(below(LOCAL_MACHINE.open(PRINTERS), printer));
    sections
}

fn below(list: windows_registry::Result<Key>, section: fn(&str, &Key) -> Section) -> Vec<Section> {
    let Ok(list) = list else { return Vec::new() };
    let names: Vec<String> = list.keys().into_iter().flatten().take(MANY).collect();
    // Some of them ("Properties") are the system's alone.
    names.iter().filter_map(|name| Some(section(name, &list.open(name).ok()?))).collect()
}

fn card(_: &str, key: &Key) -> Section {
    let said = |name| text(Some(key), name);
    // A larger number where 32 bits are not enough.
    let bytes = key.get_u64("HardwareInformation.qwMemorySize").ok();
    let bytes = bytes.or_else(|| key.get_u32("HardwareInformation.MemorySize").ok().map(u64::from));
    let name = said("DriverDesc");
    // Without a name it is no card.
    let chipset = if name.is_empty() { String::new() } else { said("HardwareInformation.ChipType") };
    let memory = bytes.map(|bytes| bytes >> 20).filter(|mebibytes| *mebibytes > 0 && !name.is_empty());
    Leaves::of("VIDEOS").with("CHIPSET", chipset).number("MEMORY", memory).with("NAME", name).done()
}

fn printer(name: &str, key: &Key) -> Section {
    let said = |name| text(Some(key), name);
    let attributes = key.get_u32("Attributes").ok();
    let flag = |bit| attributes.map(|attributes| u64::from(attributes & bit != 0));
    Leaves::of("PRINTERS")
        .with("COMMENT", said("Location"))
        .with("DESCRIPTION", said("Description"))
        .with("DRIVER", said("Printer Driver"))
        .with("NAME", name)
        .number("NETWORK", flag(NETWORK))
        .with("PORT", said("Port"))
        .number("SHARED", flag(SHARED))
        .with("SHARENAME", said("Share Name"))
        .done()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sections of what is below a key of the test's own.
    fn told(name: &str, section: fn(&str, &Key) -> Section, fill: impl FnOnce(&Key)) -> Vec<String> {
        let path = format!(r"Software\dripfeed-test-{name}");
        let list = windows_registry::CURRENT_USER.create(&path).expect("a key");
        fill(&list);
        let sections = below(windows_registry::CURRENT_USER.open(&path), section);
        windows_registry::CURRENT_USER.remove_tree(&path).expect("removed");
        let line = |section: Section| {
            let fields = section.fields.into_iter().map(|(name, value)| format!("{name}={value}"));
            fields.collect::<Vec<_>>().join(" ")
        };
        sections.into_iter().map(line).collect()
    }

    #[test]
    fn a_graphics_card_is_what_its_driver_says() {
        let cards = told("cards", card, |list| {
            let card = list.create("0000").expect("a key");
            card.set_string("DriverDesc", "Adapter 5").expect("a value");
            card.set_string("HardwareInformation.ChipType", "Chip").expect("a value");
            card.set_u32("HardwareInformation.MemorySize", 1 << 20).expect("a value");
            card.set_u64("HardwareInformation.qwMemorySize", 8 << 30).expect("a value");
            list.create("Configuration").expect("a key").set_u32("HardwareInformation.MemorySize", 5).expect("a value");
        });
        assert_eq!(cards, ["CHIPSET=Chip MEMORY=8192 NAME=Adapter 5", ""], "what has no name is left out later");
    }

    #[test]
    fn a_printer_has_its_port_and_who_may_use_it() {
        let printers = told("printers", printer, |list| {
            let printer = list.create("Laser (2nd floor)").expect("a key");
            for (name, value) in [("Printer Driver", "PS"), ("Port", "IP_192.0.2.7"), ("Share Name", "laser")] {
                printer.set_string(name, value).expect("a value");
            }
            printer.set_u32("Attributes", 0x848).expect("a value");
        });
        assert_eq!(printers, ["DRIVER=PS NAME=Laser (2nd floor) NETWORK=0 PORT=IP_192.0.2.7 SHARED=1 SHARENAME=laser"]);
    }

    #[test]
    fn without_a_list_there_is_nothing() {
        assert!(below(windows_registry::CURRENT_USER.open(r"Software\dripfeed-absent"), card).is_empty());
    }
}
