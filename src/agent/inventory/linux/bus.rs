//! What is plugged in: CONTROLLERS, VIDEOS, SOUNDS and MODEMS on PCI, USBDEVICES.
//!
//! Names come from the list `pci.ids` where the system has one; otherwise numbers have to do.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use super::{Leaves, Machine, Section, clean};

const PCI: &str = "/sys/bus/pci/devices";
const USB: &str = "/sys/bus/usb/devices";
const LISTS: [&str; 3] = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids", "/usr/share/pci.ids"];

/// One device on PCI.
struct Device {
    slot: String,
    vendor: u16,
    model: u16,
    class: u16,
    revision: String,
    driver: String,
}

pub(super) fn pci(machine: &Machine<'_>) -> Vec<Section> {
    let devices: Vec<Device> = machine.names(PCI).into_iter().filter_map(|slot| device(machine, slot)).collect();
    let names = Names::read(machine, &devices);
    let mut sections = Vec::new();
    for device in &devices {
        let (vendor, name) = names.of(device);
        let class = names.class(device.class);
        let controller = Leaves::of("CONTROLLERS")
            .with("DRIVER", &device.driver)
            .with("MANUFACTURER", format!("{vendor} {name}"))
            .with("NAME", format!("{class} [{:04x}]", device.class))
            .with("PCIID", format!("{:04x}:{:04x}", device.vendor, device.model))
            .with("PCISLOT", device.slot.trim_start_matches("0000:"))
            .with("TYPE", &device.revision);
        sections.push(controller.done());
        match device.class {
            0x0300..=0x03ff => {
                sections
                    .push(Leaves::of("VIDEOS").with("CHIPSET", class).with("NAME", format!("{vendor} {name}")).done());
            }
            0x0401 | 0x0403 => {
                let sound =
                    Leaves::of("SOUNDS").with("DESCRIPTION", class).with("MANUFACTURER", vendor).with("NAME", name);
                sections.push(sound.done());
            }
            // "Communication controller: modem".
            0x0703 => {
                let modem = Leaves::of("MODEMS").with("DESCRIPTION", name).with("NAME", class).with("TYPE", "PCI");
                sections.push(modem.done());
            }
            _ => {}
        }
    }
    sections
}

fn device(machine: &Machine<'_>, slot: String) -> Option<Device> {
    let hex = |name: &str| {
        let text = machine.line(&format!("{PCI}/{slot}/{name}"));
        u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
    };
    let revision = hex("revision").filter(|revision| *revision > 0);
    Some(Device {
        vendor: u16::try_from(hex("vendor")?).ok()?,
        model: u16::try_from(hex("device")?).ok()?,
        // The last two digits are the programming interface.
        class: u16::try_from(hex("class")? >> 8).ok()?,
        revision: revision.map(|revision| format!("rev {revision:02x}")).unwrap_or_default(),
        driver: machine.link_name(&format!("{PCI}/{slot}/driver")),
        slot,
    })
}

/// The part of the list that this machine needs.
#[derive(Default)]
struct Names {
    vendors: HashMap<u16, String>,
    devices: HashMap<(u16, u16), String>,
    classes: HashMap<u16, String>,
}

impl Names {
    /// ```text
    /// 8086  Intel Corporation
    /// ⇥0d57  Name of a device
    /// C 02  Network controller
    /// ⇥00  Ethernet controller
    /// ```
    fn read(machine: &Machine<'_>, devices: &[Device]) -> Self {
        let mut names = Self::default();
        let Some(file) = LISTS.iter().find_map(|list| File::open(machine.path(list)).ok()) else { return names };
        let vendors: HashSet<u16> = devices.iter().map(|device| device.vendor).collect();
        let mut vendor = None;
        let mut class = None;
        let mut line = Vec::new();
        let mut reader = BufReader::new(file.take(16 << 20));
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).into_owned();
            line.clear();
            let (indent, entry) = (text.len() - text.trim_start_matches('\t').len(), text.trim());
            let Some((code, name)) = entry.split_once("  ") else { continue };
            let name = || clean(name);
            match (indent, code.strip_prefix("C ")) {
                (0, Some(base)) => {
                    (vendor, class) = (None, u16::from_str_radix(base, 16).ok().filter(|base| *base < 0x100));
                    names.classes.extend(class.map(|base| (base << 8, name())));
                }
                (0, None) => {
                    (vendor, class) = (u16::from_str_radix(code, 16).ok().filter(|id| vendors.contains(id)), None);
                    names.vendors.extend(vendor.map(|vendor| (vendor, name())));
                }
                (1, _) => {
                    let Ok(code) = u16::from_str_radix(code, 16) else { continue };
                    names.devices.extend(vendor.map(|vendor| ((vendor, code), name())));
                    names.classes.extend(class.map(|base| (base << 8 | code & 0xff, name())));
                }
                _ => {}
            }
        }
        names
    }

    fn of(&self, device: &Device) -> (String, String) {
        let name = self.devices.get(&(device.vendor, device.model)).cloned();
        let vendor = self.vendors.get(&device.vendor).cloned();
        (
            vendor.unwrap_or_else(|| format!("Vendor {:04x}", device.vendor)),
            name.unwrap_or_else(|| format!("Device {:04x}", device.model)),
        )
    }

    fn class(&self, class: u16) -> String {
        const BASE: [&str; 18] = [
            "Unclassified device",
            "Mass storage controller",
            "Network controller",
            "Display controller",
            "Multimedia controller",
            "Memory controller",
            "Bridge",
            "Communication controller",
            "Generic system peripheral",
            "Input device controller",
            "Docking station",
            "Processor",
            "Serial bus controller",
            "Wireless controller",
            "Intelligent controller",
            "Satellite communications controller",
            "Encryption controller",
            "Signal processing controller",
        ];
        let listed = self.classes.get(&class).or_else(|| self.classes.get(&(class & 0xff00))).cloned();
        listed.unwrap_or_else(|| BASE.get(usize::from(class >> 8)).copied().unwrap_or("Unassigned class").to_owned())
    }
}

/// Devices, not their interfaces (`1-2:1.0`) and not the hubs that the computer itself is (`usb1`).
pub(super) fn usb(machine: &Machine<'_>) -> Vec<Section> {
    let devices = machine.names(USB).into_iter().filter(|name| !name.contains(':') && !name.starts_with("usb"));
    let section = |name: String| {
        let said = |file: &str| machine.line(&format!("{USB}/{name}/{file}"));
        let kind = match said("bDeviceClass").as_str() {
            "00" => "",
            "02" | "0a" => "Communications",
            "09" => "Hub",
            "e0" => "Wireless",
            "ef" => "Miscellaneous",
            "ff" => "Vendor specific",
            _ => "Other",
        };
        let number = format!("{}:{}", said("idVendor"), said("idProduct"));
        let product = said("product");
        Leaves::of("USBDEVICES")
            .with("DESCRIPTION", if product.is_empty() && number.len() > 1 { number } else { product })
            .with("INTERFACE", said("version"))
            .with("MANUFACTURER", said("manufacturer"))
            .with("SERIAL", said("serial"))
            .with("TYPE", kind)
            .done()
    };
    devices.map(section).collect()
}
