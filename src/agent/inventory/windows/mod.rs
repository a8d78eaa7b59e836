//! The collector for Windows: the registry, the firmware's table, and what the system says of memory, volumes and cards.
//!
//! No WMI: it is slow to start, it breaks, and asking it for `Win32_Product` makes installers repair themselves.

mod accounts;
mod devices;
mod network;
mod plugged;
mod software;
mod system;

use windows_registry::{Key, LOCAL_MACHINE};

use super::{Leaves, Section, architecture, board, smbios};

/// Bits of the sections that this collector fills: HARDWARE, BIOS, MEMORIES, SLOTS, MONITORS, PORTS, STORAGES, DRIVES,
/// NETWORKS, PRINTERS, VIDEOS, SOFTWARES, CPUS, USBDEVICES (ocs-protocol 2.4).
const CHECKSUM: u64 = 1 | 2 | 4 | 8 | 64 | 128 | 256 | 512 | 4096 | 8192 | 32768 | 65536 | 262_144 | 2_097_152;

/// Processors that are looked for.
const PROCESSORS: u32 = 4096;

/// Every section of this computer.
pub(super) fn sections() -> Vec<Section> {
    let table = system::firmware();
    let cpu = Cpu::read();
    let cards = network::cards();
    let (bios, uuid) = smbios::bios(&table);
    let mut sections = vec![hardware(&cpu, &cards, &uuid), bios, cpu.section()];
    sections.extend(smbios::memories(&table));
    sections.extend(board::sections(&table));
    sections.extend(cards.iter().flat_map(network::Card::sections));
    sections.extend(system::drives().iter().map(system::Drive::section));
    sections.extend(devices::sections());
    sections.extend(plugged::sections());
    sections.extend(accounts::sections());
    sections.extend(software::sections());
    // BIOS stays, also empty: stock agents send exactly one.
    sections.retain(|section| section.name == "BIOS" || !section.fields.is_empty());
    sections
}

fn hardware(cpu: &Cpu, cards: &[network::Card], uuid: &str) -> Section {
    let version = LOCAL_MACHINE.open(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion").ok();
    let said = |name| text(version.as_ref(), name);
    let build = or(said("CurrentBuildNumber"), said("CurrentBuild"));
    let parameters = LOCAL_MACHINE.open(r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters").ok();
    let (memory, swap) = system::memory().unzip();
    let user = LOCAL_MACHINE.open(r"SOFTWARE\Microsoft\Windows\CurrentVersion\Authentication\LogonUI").ok();
    Leaves::of("HARDWARE")
        .with("ARCH", architecture())
        .number("CHECKSUM", Some(CHECKSUM))
        .with("DEFAULTGATEWAY", network::gateway(cards))
        .with("DESCRIPTION", format!("{}/{}", architecture(), build).trim_end_matches('/'))
        .with("IPADDR", network::main_address(cards))
        .number("MEMORY", memory)
        .with("NAME", crate::config::agent::host_name())
        .with("OSCOMMENTS", or(said("CSDVersion"), said("DisplayVersion")))
        .with("OSNAME", os_name(&said("ProductName"), &build))
        .with("OSVERSION", os_version(version.as_ref(), &build))
        .number("PROCESSORN", Some(1).filter(|_| cpu.logical > 0))
        .number("PROCESSORS", cpu.megahertz)
        .with("PROCESSORT", &cpu.model)
        .number("SWAP", swap)
        .with("USERID", or(text(user.as_ref(), "LastLoggedOnSAMUser"), text(user.as_ref(), "LastLoggedOnUser")))
        .with("UUID", uuid)
        .with("WINCOMPANY", said("RegisteredOrganization"))
        .with("WINOWNER", said("RegisteredOwner"))
        .with("WINPRODID", said("ProductId"))
        .with("WORKGROUP", or(text(parameters.as_ref(), "Domain"), text(parameters.as_ref(), "NV Domain")))
        .done()
}

/// Windows 11 calls itself Windows 10 here; its builds begin with 22000. Servers have names of their own.
fn os_name(product: &str, build: &str) -> String {
    let product = if product.is_empty() { "Windows" } else { product };
    let eleven = build.parse::<u32>().is_ok_and(|build| build >= 22_000);
    let product = if eleven { product.replace("Windows 10", "Windows 11") } else { product.to_owned() };
    if product.starts_with("Microsoft") { product } else { format!("Microsoft {product}") }
}

fn os_version(version: Option<&Key>, build: &str) -> String {
    let number = |name: &str| version.and_then(|key| key.get_u32(name).ok());
    match (number("CurrentMajorVersionNumber"), number("CurrentMinorVersionNumber")) {
        (Some(major), Some(minor)) => format!("{major}.{minor}.{build}"),
        // Before Windows 10.
        _ => [&text(version, "CurrentVersion"), build].join(".").trim_matches('.').to_owned(),
    }
}

fn or(first: String, second: String) -> String {
    if first.is_empty() { second } else { first }
}

/// Text of the system, which ends in a NUL.
fn until_nul(text: &[u16]) -> String {
    String::from_utf16_lossy(text.split(|unit| *unit == 0).next().unwrap_or_default())
}

/// A value as text; nothing if there is none.
fn text(key: Option<&Key>, name: &str) -> String {
    key.and_then(|key| key.get_string(name).ok()).unwrap_or_default()
}

/// The processors, told as one: the registry does not say which sockets they sit in.
#[derive(Debug, Default)]
struct Cpu {
    model: String,
    manufacturer: String,
    megahertz: Option<u64>,
    logical: u64,
}

impl Cpu {
    fn read() -> Self {
        let path = |number| format!(r"HARDWARE\DESCRIPTION\System\CentralProcessor\{number}");
        let logical = (0..PROCESSORS).take_while(|number| LOCAL_MACHINE.open(path(*number)).is_ok()).count() as u64;
        let first = LOCAL_MACHINE.open(path(0)).ok();
        let megahertz = first.as_ref().and_then(|key| key.get_u32("~MHz").ok()).map(u64::from);
        let vendor = text(first.as_ref(), "VendorIdentifier");
        let manufacturer = match vendor.as_str() {
            "GenuineIntel" => "Intel",
            "AuthenticAMD" => "AMD",
            other => other,
        };
        let model = or(text(first.as_ref(), "ProcessorNameString"), text(first.as_ref(), "Identifier"));
        Self { model, manufacturer: manufacturer.to_owned(), megahertz, logical }
    }

    fn section(&self) -> Section {
        Leaves::of("CPUS")
            .with("CPUARCH", architecture())
            .number("CURRENT_SPEED", self.megahertz)
            .number("LOGICAL_CPUS", Some(self.logical).filter(|count| *count > 0))
            .with("MANUFACTURER", &self.manufacturer)
            .number("SPEED", self.megahertz)
            .number("THREADS", Some(self.logical).filter(|count| *count > 0))
            .with("TYPE", &self.model)
            .done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_eleven_is_known_by_its_build() {
        for (product, build, name) in [
            ("Windows 10 Pro", "19045", "Microsoft Windows 10 Pro"),
            ("Windows 10 Pro", "22631", "Microsoft Windows 11 Pro"),
            ("Windows Server 2022 Standard", "20348", "Microsoft Windows Server 2022 Standard"),
            ("Microsoft Windows XP", "2600", "Microsoft Windows XP"),
            ("", "", "Microsoft Windows"),
        ] {
            assert_eq!(os_name(product, build), name);
        }
    }

    #[test]
    fn this_computer_has_a_system_a_processor_memory_and_a_drive() {
        let sections = sections();
        let value = |section: &str, leaf: &str| {
            let section = sections.iter().find(|known| known.name == section);
            section.and_then(|known| known.fields.iter().find(|(name, _)| *name == leaf)).map(|(_, text)| text.clone())
        };
        assert!(value("HARDWARE", "OSNAME").is_some_and(|name| name.starts_with("Microsoft Windows")));
        assert!(
            value("HARDWARE", "MEMORY").is_some_and(|text| text.parse::<u64>().is_ok_and(|mebibytes| mebibytes > 16))
        );
        assert!(value("CPUS", "TYPE").is_some());
        assert_eq!(value("DRIVES", "LETTER").as_deref(), Some("C:/"));
    }
}
