//! CPUS: one element a socket.

use super::{Leaves, Machine, Section};
use crate::agent::inventory::architecture;

/// One socket.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    /// The maker's name for it.
    pub(super) model: String,
    /// The highest speed.
    pub(super) megahertz: Option<u64>,
    manufacturer: String,
    cores: Option<u64>,
    logical: u64,
    level_two: String,
    sockets: u64,
    wide: bool,
}

/// Reads /proc/cpuinfo; the blocks of one `physical id` are one socket, all of them where there is no such line.
pub(super) fn read(machine: &Machine<'_>) -> Vec<Cpu> {
    let text = machine.text("/proc/cpuinfo");
    let mut sockets: Vec<(String, Cpu)> = Vec::new();
    for block in text.split("\n\n") {
        let value = |key| super::value_of(block, key, ':').filter(|value| !value.is_empty());
        if value("processor").is_none() {
            continue;
        }
        let physical = value("physical id").unwrap_or_default();
        if let Some((_, cpu)) = sockets.iter_mut().find(|(known, _)| known == physical) {
            cpu.logical += 1;
            continue;
        }
        let arm = || Some(format!("ARM implementer {} part {}", value("CPU implementer")?, value("CPU part")?));
        let model = ["model name", "cpu model", "cpu"].iter().find_map(|key| value(key)).map(str::to_owned);
        let manufacturer = match value("vendor_id").unwrap_or_default() {
            "AuthenticAMD" => "AMD",
            "GenuineIntel" => "Intel",
            other => other,
        };
        let cpu = Cpu {
            model: model.or_else(arm).unwrap_or_default(),
            megahertz: value("cpu MHz").and_then(|text| text.split('.').next()?.parse().ok()),
            manufacturer: manufacturer.to_owned(),
            cores: value("cpu cores").and_then(|text| text.parse().ok()),
            logical: 1,
            wide: cfg!(target_pointer_width = "64")
                || value("flags").is_some_and(|all| all.split(' ').any(|f| f == "lm")),
            ..Cpu::default()
        };
        sockets.push((physical.to_owned(), cpu));
    }
    let count = sockets.len() as u64;
    // What /proc/cpuinfo says is the speed of this moment where the kernel changes it.
    let highest =
        machine.number("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").map(|kilohertz| kilohertz / 1000);
    let level_two = level_two(machine);
    let finish =
        |cpu: Cpu| Cpu { megahertz: highest.or(cpu.megahertz), level_two: level_two.clone(), sockets: count, ..cpu };
    sockets.into_iter().map(|(_, cpu)| finish(cpu)).collect()
}

fn level_two(machine: &Machine<'_>) -> String {
    const CACHE: &str = "/sys/devices/system/cpu/cpu0/cache";
    let indexes = machine.names(CACHE);
    let second = indexes.iter().find(|index| machine.number(&format!("{CACHE}/{index}/level")) == Some(2));
    second.map(|index| machine.line(&format!("{CACHE}/{index}/size"))).unwrap_or_default()
}

impl Cpu {
    /// The element.
    pub(super) fn section(&self) -> Section {
        Leaves::of("CPUS")
            .number("CORES", Some(self.cores.unwrap_or(self.logical)))
            .with("CPUARCH", architecture())
            .number("CURRENT_SPEED", self.megahertz)
            .with("DATA_WIDTH", if self.wide { "64" } else { "32" })
            .with("L2CACHESIZE", &self.level_two)
            .number("LOGICAL_CPUS", Some(self.logical))
            .with("MANUFACTURER", &self.manufacturer)
            .number("NBSOCKET", Some(self.sockets))
            .number("SPEED", self.megahertz)
            .number("THREADS", Some(self.logical))
            .with("TYPE", &self.model)
            .done()
    }
}
