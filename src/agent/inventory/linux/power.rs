//! BATTERIES: of the computer itself; not of a mouse or a headset.
//!
//! The charge is left out: it would make every inventory a new one.

use super::{Leaves, Machine, Section};

const SUPPLIES: &str = "/sys/class/power_supply";

pub(super) fn batteries(machine: &Machine<'_>) -> Vec<Section> {
    machine.names(SUPPLIES).into_iter().filter_map(|name| battery(machine, &name)).collect()
}

fn battery(machine: &Machine<'_>, name: &str) -> Option<Section> {
    let said = |file: &str| machine.line(&format!("{SUPPLIES}/{name}/{file}"));
    if said("type") != "Battery" || said("scope") == "Device" {
        return None;
    }
    // In millionths: of ampere-hours or of watt-hours, of volts.
    let millionths = |file: &str| said(file).parse::<u64>().ok();
    let volts = millionths("voltage_min_design");
    let milliwatt_hours = millionths("energy_full_design").map(|energy| energy / 1000).or_else(|| {
        let charge = millionths("charge_full_design")?;
        Some(charge / 1000 * (volts? / 1000) / 1000)
    });
    Some(
        Leaves::of("BATTERIES")
            .with("CHEMISTRY", said("technology"))
            .with("CYCLES", said("cycle_count"))
            .with("DESCRIPTION", name)
            .with("DESIGNCAPACITY", milliwatt_hours.map(|energy| format!("{energy} mWh")).unwrap_or_default())
            .with("DESIGNVOLTAGE", volts.map(|volts| format!("{} mV", volts / 1000)).unwrap_or_default())
            .with("MANUFACTURER", said("manufacturer"))
            .with("NAME", said("model_name"))
            .with("SERIALNUMBER", said("serial_number"))
            .done(),
    )
}
