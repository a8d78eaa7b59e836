//! HARDWARE and BIOS: the system as a whole.

use super::cpu::Cpu;
use super::{CHECKSUM, Leaves, Machine, Section, accounts, network, value_of};
use crate::agent::inventory::{architecture, smbios};
use crate::model::{DigestAlgorithm, Hasher};

/// Where firmware's words are.
const DMI: &str = "/sys/class/dmi/id";

pub(super) fn hardware(machine: &Machine<'_>, cpus: &[Cpu]) -> Section {
    let memory = machine.text("/proc/meminfo");
    let mebibytes = |key| {
        let kibibytes = value_of(&memory, key, ':')?.split_whitespace().next()?.parse::<u64>().ok()?;
        Some(kibibytes / 1024)
    };
    let release = machine.text("/etc/os-release");
    let release = if release.is_empty() { machine.text("/usr/lib/os-release") } else { release };
    let said = |key| value_of(&release, key, '=').map(unquote).unwrap_or_default();
    let (name, version) = (said("NAME"), said("VERSION_ID"));
    let name = if name.is_empty() { "Linux".to_owned() } else { name };
    let kernel = machine.line("/proc/sys/kernel/osrelease");
    let first = cpus.first();
    let (host, domain) = name_and_domain(machine);
    Leaves::of("HARDWARE")
        .with("ARCH", architecture())
        .number("CHECKSUM", Some(CHECKSUM))
        .with(
            "DEFAULTGATEWAY",
            network::default_gateway(machine).map(|gateway| gateway.to_string()).unwrap_or_default(),
        )
        // The stock agent adds the uptime, which makes every inventory a new one.
        .with("DESCRIPTION", format!("{}/{kernel}", architecture()).trim_end_matches('/'))
        .with("DNS", name_servers(machine).join("/"))
        .with("IPADDR", network::main_address(machine).map(|address| address.to_string()).unwrap_or_default())
        .number("MEMORY", mebibytes("MemTotal"))
        .with("NAME", host)
        .with("OSCOMMENTS", said("PRETTY_NAME"))
        .with("OSNAME", format!("{name} {version}"))
        .with("OSVERSION", version)
        .number("PROCESSORN", (!cpus.is_empty()).then_some(cpus.len() as u64))
        .number("PROCESSORS", first.and_then(|cpu| cpu.megahertz))
        .with("PROCESSORT", first.map(|cpu| cpu.model.as_str()).unwrap_or_default())
        .number("SWAP", mebibytes("SwapTotal"))
        .with("USERID", accounts::logged_in(machine))
        .with("UUID", uuid(machine))
        .with("VMSYSTEM", virtual_system(machine))
        .with("WORKGROUP", domain)
        .done()
}

pub(super) fn bios(machine: &Machine<'_>) -> Section {
    let said = |name: &str| machine.line(&format!("{DMI}/{name}"));
    // Boards without such firmware describe themselves in a device tree, with a NUL at the end.
    let tree = |name: &str| machine.line(&format!("/proc/device-tree/{name}"));
    let or = |first: String, second: String| if first.is_empty() { second } else { first };
    let chassis = machine.number(&format!("{DMI}/chassis_type")).and_then(|number| u8::try_from(number).ok());
    Leaves::of("BIOS")
        .with("ASSETTAG", said("chassis_asset_tag"))
        .with("BDATE", said("bios_date"))
        .with("BMANUFACTURER", said("bios_vendor"))
        .with("BVERSION", said("bios_version"))
        .with("MMANUFACTURER", said("board_vendor"))
        .with("MMODEL", said("board_name"))
        .with("MSN", said("board_serial"))
        .with("SMANUFACTURER", said("sys_vendor"))
        .with("SMODEL", or(said("product_name"), tree("model")))
        .with("SSN", or(said("product_serial"), tree("serial-number")))
        .with("TYPE", chassis.map(smbios::chassis).unwrap_or_default())
        .done()
}

/// A value of os-release is quoted like a word of the shell.
fn unquote(value: &str) -> String {
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(value);
    let mut characters = inner.chars();
    let mut plain = String::with_capacity(inner.len());
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

/// The host's name, and the domain that it or its resolver names.
fn name_and_domain(machine: &Machine<'_>) -> (String, String) {
    let host = machine.line("/proc/sys/kernel/hostname");
    let host = if host.is_empty() { machine.line("/etc/hostname") } else { host };
    if let Some((name, domain)) = host.split_once('.') {
        return (name.to_owned(), domain.to_owned());
    }
    let resolver = machine.text("/etc/resolv.conf");
    let words = |key| {
        resolver.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(key)).then(|| words.next().unwrap_or_default().trim_end_matches('.').to_owned())
        })
    };
    (host, words("domain").or_else(|| words("search")).unwrap_or_default())
}

fn name_servers(machine: &Machine<'_>) -> Vec<String> {
    let resolver = machine.text("/etc/resolv.conf");
    let servers = resolver.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().map(str::to_owned)).flatten()
    });
    servers.take(3).collect()
}

/// The firmware's UUID, else one made of the machine id, which must not leave the computer as it is (machine-id(5)).
fn uuid(machine: &Machine<'_>) -> String {
    let firmware = machine.line(&format!("{DMI}/product_uuid"));
    if !firmware.is_empty() {
        return firmware.to_uppercase();
    }
    let id = machine.line("/etc/machine-id");
    if id.len() < 16 {
        return String::new();
    }
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(b"dripfeed inventory ");
    hasher.update(id.as_bytes());
    let digest = hasher.finish().to_string().to_uppercase();
    format!("{}-{}-{}-{}-{}", &digest[..8], &digest[8..12], &digest[12..16], &digest[16..20], &digest[20..32])
}

/// What the system runs in, in the stock agent's words.
fn virtual_system(machine: &Machine<'_>) -> String {
    let container = machine.line("/run/systemd/container");
    if !container.is_empty() {
        return container;
    }
    if machine.exists("/.dockerenv") {
        return "docker".to_owned();
    }
    if machine.line("/sys/hypervisor/type") == "xen" {
        return "Xen".to_owned();
    }
    let said = |name: &str| machine.line(&format!("{DMI}/{name}"));
    let firmware = format!("{} {} {}", said("sys_vendor"), said("product_name"), said("bios_vendor"));
    let known = [
        ("VMware", "VMware"),
        ("VirtualBox", "VirtualBox"),
        ("innotek", "VirtualBox"),
        ("Parallels", "Parallels"),
        ("Xen", "Xen"),
        ("Microsoft Corporation Virtual Machine", "Hyper-V"),
        ("KVM", "KVM"),
        ("QEMU", "QEMU"),
        ("Bochs", "QEMU"),
    ];
    if let Some((_, name)) = known.iter().find(|(word, _)| firmware.contains(word)) {
        return (*name).to_owned();
    }
    let processor = machine.text("/proc/cpuinfo");
    let Some(flags) = value_of(&processor, "flags", ':') else { return String::new() };
    if flags.split(' ').any(|flag| flag == "hypervisor") { "Virtual".to_owned() } else { "Physical".to_owned() }
}
