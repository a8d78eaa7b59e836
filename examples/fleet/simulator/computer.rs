//! What a simulated computer says of itself: its name, and an inventory of a size that computers really have.

use dripfeed::model::{DeviceId, InvalidDeviceId, PackageId};
use dripfeed::protocol::{InventoryDocument, Section, SoftwareTitle};

use super::chance::Chance;

/// The name of the computer of that number; `examples/fill.rs` gives the same ones.
pub(crate) fn device_id(number: u32) -> Result<DeviceId, InvalidDeviceId> {
    format!("{}-2026-01-02-03-04-05", host_name(number)).parse()
}

pub(crate) fn host_name(number: u32) -> String {
    format!("fleet{number:06}")
}

/// One of the programs that the fleet has, the same for every computer of a seed but for the version: one computer of
/// sixteen is a release behind.
pub(crate) fn title(seed: u64, number: u64, computer: u32) -> SoftwareTitle {
    let mut chance = Chance::of(&[seed, number]);
    let name = match chance.below(3) {
        0 => format!("lib{}{}-{}", word(&mut chance), word(&mut chance), number),
        1 => format!("{}-{}-{}", word(&mut chance), word(&mut chance), number),
        _ => format!("{}{}", word(&mut chance), number),
    };
    let minor = chance.below(40);
    let patch = chance.below(9) + u64::from(!(u64::from(computer) + number).is_multiple_of(16));
    SoftwareTitle {
        name,
        publisher: format!("{0} maintainers <{0}@example.net>", word(&mut chance)),
        version: format!("{}.{minor}.{patch}-1+deb12u{}", chance.below(9), chance.below(4)),
    }
}

fn word(chance: &mut Chance) -> String {
    const SYLLABLES: [&str; 16] =
        ["ka", "lo", "mi", "ter", "gra", "net", "sys", "pro", "ux", "vid", "son", "par", "qui", "del", "ber", "on"];
    (0..2 + chance.below(2)).filter_map(|_| SYLLABLES.get(usize::try_from(chance.below(16)).ok()?)).copied().collect()
}

/// The inventory that a computer sends in a round, about so many bytes long, in the form and with the sections of an agent
/// on Linux. From one round to the next free space differs, and on every tenth computer the version of one program.
pub(crate) fn inventory(
    seed: u64,
    number: u32,
    round: u32,
    bytes: u64,
    history: &[PackageId],
) -> Result<InventoryDocument, InvalidDeviceId> {
    let mut chance = Chance::of(&[seed, 1, u64::from(number)]);
    let mut sections = hardware(&mut chance, number, round);
    let mut length: u64 = sections.iter().map(length_of).sum();
    let (mut next, mut is_first) = (0, true);
    while length < bytes {
        // A computer has fourteen of fifteen programs.
        next += 1 + u64::from(chance.below(15) == 0);
        let mut title = title(seed, next, number);
        if is_first && number.is_multiple_of(10) && round > 0 {
            title.version = format!("99.{round}-1");
        }
        is_first = false;
        let section = software(&mut Chance::of(&[seed, next]), title);
        length += length_of(&section);
        sections.push(section);
    }
    Ok(InventoryDocument { device_id: device_id(number)?, sections, history: history.to_vec(), account: Vec::new() })
}

/// What an element comes to in the document, indentation included.
fn length_of(section: &Section) -> u64 {
    let leaves: usize = section.fields.iter().map(|(name, text)| 2 * name.len() + text.len() + 12).sum();
    (leaves + 2 * section.name.len() + 15) as u64
}

fn software(chance: &mut Chance, title: SoftwareTitle) -> Section {
    let comments = format!("{} {} for {} ({})", word(chance), word(chance), word(chance), word(chance));
    section(
        "SOFTWARES",
        [
            ("ARCHITECTURE", if chance.below(4) == 0 { "all" } else { "amd64" }.to_owned()),
            ("COMMENTS", comments),
            ("FILESIZE", (chance.below(40_000) * 1024).to_string()),
            ("FROM", "deb".to_owned()),
            ("INSTALLDATE", format!("2026/{:02}/{:02} 00:00:00", 1 + chance.below(12), 1 + chance.below(28))),
            ("NAME", title.name),
            ("PUBLISHER", title.publisher),
            ("VERSION", title.version),
        ],
    )
}

fn hardware(chance: &mut Chance, number: u32, round: u32) -> Vec<Section> {
    let [_, high, middle, low] = number.to_be_bytes();
    let address = format!("10.{high}.{middle}.{low}");
    let mac = |card: u8| format!("52:54:{card:02x}:{high:02x}:{middle:02x}:{low:02x}");
    let serial = format!("SN{:012X}", chance.next() >> 16);
    let free = 40_000 + chance.below(90_000) - u64::from(round) % 1000;
    let mut sections = vec![
        section(
            "HARDWARE",
            [
                ("CHECKSUM", "131071".to_owned()),
                ("DEFAULTGATEWAY", format!("10.{high}.{middle}.1")),
                ("DESCRIPTION", "x86_64/00-00-00 01:12:25".to_owned()),
                ("DNS", "10.0.0.53".to_owned()),
                ("IPADDR", address.clone()),
                ("MEMORY", (4096 << chance.below(4)).to_string()),
                ("NAME", host_name(number)),
                ("OSCOMMENTS", "#1 SMP PREEMPT_DYNAMIC Debian 6.1".to_owned()),
                ("OSNAME", "Debian GNU/Linux 12".to_owned()),
                ("OSVERSION", "12".to_owned()),
                ("PROCESSORN", "1".to_owned()),
                ("PROCESSORS", "2400".to_owned()),
                ("PROCESSORT", "Core of the eighth generation".to_owned()),
                ("SWAP", "4096".to_owned()),
                ("USERID", format!("user{}", number % 977)),
                ("UUID", format!("{:08x}-0000-4000-8000-{:012x}", chance.next() >> 32, chance.next() >> 16)),
                ("WORKGROUP", "example.net".to_owned()),
            ],
        ),
        section(
            "BIOS",
            [
                ("ASSETTAG", String::new()),
                ("BDATE", "03/14/2024".to_owned()),
                ("BMANUFACTURER", "Example Firmware".to_owned()),
                ("BVERSION", "1.22".to_owned()),
                ("SMANUFACTURER", "Example Computers".to_owned()),
                ("SMODEL", format!("Model {}", 1 + chance.below(12))),
                ("SSN", serial),
                ("TYPE", "Desktop".to_owned()),
            ],
        ),
        section(
            "CPUS",
            [
                ("CORES", "4".to_owned()),
                ("CPUARCH", "x86_64".to_owned()),
                ("DATA_WIDTH", "64".to_owned()),
                ("L2CACHESIZE", "2 MiB".to_owned()),
                ("LOGICAL_CPUS", "8".to_owned()),
                ("MANUFACTURER", "Example".to_owned()),
                ("SPEED", "2400".to_owned()),
                ("THREADS", "2".to_owned()),
                ("TYPE", "Core of the eighth generation".to_owned()),
            ],
        ),
    ];
    sections.extend((0..12).map(|slot| {
        section(
            "CONTROLLERS",
            [
                ("MANUFACTURER", format!("Example Devices {}", word(chance))),
                ("NAME", format!("Bridge [06{slot:02}]")),
                ("PCIID", format!("8086:{:04x}", chance.below(65_536))),
                ("PCISLOT", format!("00:{slot:02x}.0")),
                ("TYPE", format!("{} {}", word(chance), word(chance))),
            ],
        )
    }));
    sections.extend([("/", "ext4", free), ("/home", "ext4", free * 3)].map(|(path, kind, free)| {
        section(
            "DRIVES",
            [
                ("FILESYSTEM", kind.to_owned()),
                ("FREE", free.to_string()),
                ("TOTAL", "480000".to_owned()),
                ("TYPE", path.to_owned()),
                ("VOLUMN", format!("/dev/nvme0n1p{}", path.len())),
            ],
        )
    }));
    sections.extend((0..2).map(|card| {
        section(
            "NETWORKS",
            [
                ("DESCRIPTION", format!("enp{card}s31f6")),
                ("IPADDRESS", if card == 0 { address.clone() } else { String::new() }),
                ("IPMASK", "255.255.255.0".to_owned()),
                ("MACADDR", mac(card)),
                ("MTU", "1500".to_owned()),
                ("SPEED", "1 Gbps".to_owned()),
                ("STATUS", if card == 0 { "Up" } else { "Down" }.to_owned()),
                ("TYPE", "ethernet".to_owned()),
            ],
        )
    }));
    sections
}

fn section<const N: usize>(name: &'static str, fields: [(&'static str, String); N]) -> Section {
    Section { name, fields: fields.into() }
}

#[cfg(test)]
mod tests {
    use dripfeed::model::limits::RequestLimits;
    use dripfeed::protocol::Request;

    use super::*;

    #[test]
    fn an_inventory_is_as_long_as_was_asked_and_the_server_reads_it() {
        for (number, bytes) in [(0, 100 << 10), (77, 150 << 10), (123_456, 200 << 10)] {
            let text = inventory(1, number, 0, bytes, &[]).expect("an inventory").to_xml();
            let length = text.len() as u64;
            assert!((bytes..bytes + bytes / 20).contains(&length), "{length} for {bytes}");
            let Ok(Request::Inventory(request)) = Request::parse(text.as_bytes(), &RequestLimits::DEFAULT) else {
                panic!("no inventory");
            };
            assert_eq!(request.facts.name, host_name(number));
            assert!(request.software.len() > 200, "{}", request.software.len());
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_fleet_and_a_round_changes_little() {
        let text = |seed, number, round| inventory(seed, number, round, 20 << 10, &[]).expect("one").to_xml();
        let differing = |one: &str, other: &str| one.lines().zip(other.lines()).filter(|(a, b)| a != b).count();
        assert_eq!(text(1, 7, 0), text(1, 7, 0));
        assert_ne!(text(1, 7, 0), text(2, 7, 0));
        assert_eq!(differing(&text(1, 7, 0), &text(1, 7, 1)), 2, "free space");
        assert_eq!(differing(&text(1, 20, 0), &text(1, 20, 1)), 3, "and a version");
    }
}
