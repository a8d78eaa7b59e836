//! INPUTS: keyboards and what points; not the lid, the buttons and the speaker, which the kernel lists with them.
//!
//! ```text
//! I: Bus=0003 Vendor=046d Product=c31c Version=0110
//! N: Name="Logitech USB Keyboard"
//! P: Phys=usb-0000:00:14.0-2/input0
//! H: Handlers=sysrq kbd event3 leds
//! ```

use super::{Leaves, Machine, Section};

const DEVICES: &str = "/proc/bus/input/devices";

/// More than any computer has.
const MANY: usize = 256;

pub(super) fn sections(machine: &Machine<'_>) -> Vec<Section> {
    machine.text(DEVICES).split("\n\n").filter_map(device).take(MANY).collect()
}

fn device(paragraph: &str) -> Option<Section> {
    let value = |prefix: &str| paragraph.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_default().trim();
    let handlers: Vec<&str> = value("H: Handlers=").split(' ').collect();
    let phys = value("P: Phys=");
    if phys.contains("button") || !phys.contains("input") {
        return None;
    }
    let kind = if handlers.iter().any(|handler| handler.starts_with("mouse")) {
        "Pointing"
    } else if handlers.contains(&"kbd") {
        "Keyboard"
    } else {
        return None;
    };
    let bus = value("I: Bus=").split(' ').next().unwrap_or_default();
    let interface = match bus {
        "0003" => "USB",
        "0005" => "Bluetooth",
        "0011" => "PS/2",
        "0018" => "I2C",
        _ => "",
    };
    let name = value("N: Name=").trim_matches('"');
    let device = Leaves::of("INPUTS")
        .with("CAPTION", name)
        .with("DESCRIPTION", name)
        .with("INTERFACE", interface)
        .with("TYPE", kind);
    Some(device.done())
}
