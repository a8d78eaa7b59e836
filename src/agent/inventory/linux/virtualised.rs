//! VIRTUALMACHINES: what runs, or could run, inside this computer: domains of libvirt, QEMU without it, containers of
//! Docker. Read from what they keep; nobody's daemon is asked, so nothing waits.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Leaves, Machine, Section};
use crate::model::limits::RequestLimits;
use crate::protocol::xml;

const DOMAINS: &str = "/etc/libvirt/qemu";
const RUNNING: &str = "/run/libvirt/qemu";
const CONTAINERS: &str = "/var/lib/docker/containers";

/// Bytes of one definition.
const DEFINITION: u64 = 1 << 20;

/// One machine.
#[derive(Default)]
struct Guest {
    name: String,
    uuid: String,
    status: &'static str,
    subsystem: &'static str,
    kind: String,
    mebibytes: Option<u64>,
    processors: Option<u64>,
}

pub(super) fn sections(machine: &Machine<'_>) -> Vec<Section> {
    let mut guests = libvirt(machine);
    let known: BTreeSet<String> = guests.iter().map(|guest| guest.name.clone()).collect();
    guests.extend(qemu(machine).into_iter().filter(|guest| !known.contains(&guest.name)));
    guests.extend(machine.names(CONTAINERS).into_iter().filter_map(|id| container(machine, &id)));
    guests.into_iter().map(Guest::section).collect()
}

fn libvirt(machine: &Machine<'_>) -> Vec<Guest> {
    let guest = |file: String| {
        file.strip_suffix(".xml")?;
        let document = machine.bytes(&format!("{DOMAINS}/{file}"), DEFINITION);
        let domain = xml::parse(&document, &RequestLimits::DEFAULT).ok()?;
        let name = domain.value("name")?.to_owned();
        let number = |key| domain.value(key)?.trim().parse::<u64>().ok();
        let unit = domain.child("memory").and_then(|memory| memory.value("unit")).unwrap_or("KiB");
        let mebibytes = number("memory").map(|size| match unit {
            "b" | "bytes" => size >> 20,
            "M" | "MiB" => size,
            "G" | "GiB" => size << 10,
            _ => size >> 10,
        });
        let runs = machine.exists(&format!("{RUNNING}/{name}.xml"));
        Some(Guest {
            status: if runs { "running" } else { "shutdown" },
            uuid: domain.value("uuid").unwrap_or_default().to_owned(),
            subsystem: "Libvirt",
            kind: domain.value("type").unwrap_or_default().to_owned(),
            processors: number("vcpu"),
            mebibytes,
            name,
        })
    };
    machine.names(DOMAINS).into_iter().filter_map(guest).collect()
}

/// The emulators that run, by their command lines.
fn qemu(machine: &Machine<'_>) -> Vec<Guest> {
    let processes = machine.names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let guest = |process: String| {
        let line = machine.bytes(&format!("/proc/{process}/cmdline"), 64 << 10);
        let words: Vec<&str> =
            line.split(|byte| *byte == 0).filter_map(|word| std::str::from_utf8(word).ok()).collect();
        let program = words.first()?.rsplit('/').next()?;
        if !(program.starts_with("qemu-system-") || ["qemu", "kvm", "qemu-kvm"].contains(&program)) {
            return None;
        }
        let after = |option: &str| {
            let at = words.iter().position(|word| word.trim_start_matches('-') == option && word.starts_with('-'))?;
            words.get(at + 1).copied()
        };
        let name = after("name")?;
        // `guest=NAME,debug-threads=on`, or `NAME,process=…`.
        let name = name.split(',').next().unwrap_or_default().trim_start_matches("guest=");
        let memory = after("m").map(|memory| memory.split(',').next().unwrap_or_default().trim_start_matches("size="));
        let is_accelerated = words.iter().any(|word| word.contains("kvm"));
        Some(Guest {
            name: name.to_owned(),
            uuid: after("uuid").unwrap_or_default().to_owned(),
            status: "running",
            subsystem: if is_accelerated { "kvm" } else { "qemu" },
            kind: if is_accelerated { "kvm" } else { "qemu" }.to_owned(),
            mebibytes: memory.and_then(mebibytes),
            processors: after("smp").and_then(|smp| smp.split(',').next()?.trim_start_matches("cpus=").parse().ok()),
        })
    };
    processes.filter_map(guest).collect()
}

/// `2048`, `2048M`, `2G`, `2097152k`.
fn mebibytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "m" => Some(number),
        "k" => Some(number >> 10),
        "g" => number.checked_mul(1024),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    name: String,
    #[serde(default)]
    state: State,
    #[serde(default)]
    config: Config,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct State {
    running: bool,
    paused: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    image: String,
}

fn container(machine: &Machine<'_>, id: &str) -> Option<Guest> {
    let document = machine.bytes(&format!("{CONTAINERS}/{id}/config.v2.json"), DEFINITION);
    let container: Container = serde_json::from_slice(&document).ok()?;
    Some(Guest {
        name: container.name.trim_start_matches('/').to_owned(),
        uuid: id.chars().take(12).collect(),
        // Not for how long, as the stock agent tells it: that makes every inventory a new one.
        status: match container.state {
            State { paused: true, .. } => "paused",
            State { running: true, .. } => "running",
            _ => "shutdown",
        },
        subsystem: "Docker Container",
        kind: if container.config.image.is_empty() { "Docker".to_owned() } else { container.config.image },
        ..Guest::default()
    })
}

impl Guest {
    fn section(self) -> Section {
        Leaves::of("VIRTUALMACHINES")
            .number("MEMORY", self.mebibytes)
            .with("NAME", self.name)
            .with("STATUS", self.status)
            .with("SUBSYSTEM", self.subsystem)
            .with("UUID", self.uuid)
            .number("VCPU", self.processors)
            .with("VMTYPE", self.kind)
            .done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_the_emulators_units() {
        let all = ["2048", "2048M", "2G", "2097152k", "2T", "", "G", "99999999999999999999"].map(mebibytes);
        assert_eq!(all, [Some(2048), Some(2048), Some(2048), Some(2048), None, None, None, None]);
    }
}
