//! Fills a data directory with computers, for looking at the console with many of them:
//! `cargo run --example fill_computers -- DATA_DIR [COMPUTERS] [TITLES]`
//!
//! Names, systems, users, tags, addresses and serial numbers as a company has them; programs in some versions; a package
//! with a deployment to all; one computer in a hundred has an inventory document and notes, one in fifty is archived. The
//! same numbers are the same fleet. The server must not run.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use dripfeed::clock::Clock;
use dripfeed::model::own_field::FieldKind;
use dripfeed::model::{
    Action, Activation, Deployment, DeviceId, DigestAlgorithm, Hasher, JobOptions, OsFamily, PackageState, Priority,
    UnixTime,
};
use dripfeed::protocol::{ComputerFacts, Network, SoftwareTitle};
use dripfeed::store::computers::Contact;
use dripfeed::store::packages::NewPackage;
use dripfeed::store::sections::{Change, ChangeKind};
use dripfeed::store::{
    Conn, DatabaseUrl, Store, StoreError, activations, computers, deployments, fields, groups, jobs, merges, notes,
    packages, sections, software,
};
use flate2::Compression;
use flate2::write::ZlibEncoder;

/// What one transaction holds.
const CHUNK: u32 = 5000;
const SITES: [&str; 8] = ["par", "lyo", "mrs", "ber", "muc", "lis", "mad", "ams"];
const SYSTEMS: [(&str, &str); 5] = [
    ("Microsoft Windows 11 Pro", "10.0.26100"),
    ("Microsoft Windows 10 Pro", "10.0.19045"),
    ("Debian GNU/Linux 13 (trixie)", "13.1"),
    ("Ubuntu 24.04.2 LTS", "24.04"),
    ("macOS", "15.5"),
];
const PEOPLE: [&str; 10] =
    ["amartins", "bkeller", "cduval", "dsilva", "ewagner", "fmoreau", "gcosta", "hvanberg", "ilopez", "jnovak"];
const MODELS: [&str; 4] =
    ["Dell Inc. Latitude 7450", "LENOVO ThinkPad T14 Gen 5", "HP EliteBook 840 G11", "Apple Mac mini"];
const PROGRAMS: [&str; 24] = [
    "7-Zip",
    "Acrobat Reader",
    "Audacity",
    "Blender",
    "Chrome",
    "Docker Desktop",
    "Firefox",
    "GIMP",
    "Git",
    "Inkscape",
    "KeePassXC",
    "LibreOffice",
    "Node.js",
    "Notepad++",
    "OpenSSH",
    "PostgreSQL",
    "PuTTY",
    "Python",
    "R",
    "Signal",
    "Thunderbird",
    "VLC",
    "Wireshark",
    "Zoom",
];

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let directory = PathBuf::from(words.next().ok_or("name a data directory")?);
    let mut number = |default: u32| -> Result<u32, Box<dyn Error>> {
        words.next().map_or(Ok(default), |word| Ok(word.to_string_lossy().parse()?))
    };
    let (count, titles) = (number(1000)?, number(20)?);
    std::fs::create_dir_all(&directory)?;
    let store = Store::open(&DatabaseUrl::Sqlite(directory.join("dripfeed.db")))?;
    let began = Instant::now();
    let now = Clock::System.now();
    store.write_now(|conn| fields::create(conn, "Cost centre", &FieldKind::Text, "").map(drop))?;
    for first in (0..count).step_by(CHUNK as usize) {
        let end = count.min(first.saturating_add(CHUNK));
        store.write_now(move |conn| (first..end).try_for_each(|n| enrol(conn, n, titles, now)))?;
    }
    for name in ["Paris", "Servers", "Lab"] {
        store.write_now(move |conn| groups::create(conn, name, None, "admin", now).map(drop))?;
    }
    store.write_now(move |conn| deploy(conn, now))?;
    println!("{count} computers with {titles} programs each: {:.1?}", began.elapsed());
    Ok(())
}

/// Numbers that look like chance, the same every time.
fn mixed(n: u32, salt: u32) -> usize {
    let mixed =
        (u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(salt).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    usize::try_from(mixed >> 40).unwrap_or_default()
}

fn pick<T: Copy>(from: &[T], n: u32, salt: u32) -> T {
    from[mixed(n, salt) % from.len()]
}

fn enrol(conn: &mut Conn, n: u32, titles: u32, now: UnixTime) -> Result<(), StoreError> {
    let name = format!("{}-{}-{n:05}", pick(&SITES, n, 1), pick(&["ws", "nb", "srv", "lab"], n, 2));
    let (os_name, os_version) = pick(&SYSTEMS, n, 3);
    let device: DeviceId = format!("{name}-2026-03-05-09-10-11").parse().expect("a name and a date");
    let address = format!("10.{}.{}.{}", mixed(n, 1) % 8, n / 250 % 250, n % 250 + 1);
    let facts = ComputerFacts {
        name,
        os_name: os_name.to_owned(),
        os_version: os_version.to_owned(),
        architecture: "x86_64".to_owned(),
        ip_address: address.clone(),
        user_name: pick(&PEOPLE, n, 4).to_owned(),
        serial: format!("SN{:08X}", mixed(n, 5) * 7919 + n as usize),
        model: pick(&MODELS, n, 6).to_owned(),
        tag: pick(&["office", "lab", "field", "NA"], n, 7).to_owned(),
        ..ComputerFacts::default()
    };
    let minutes = i64::try_from(mixed(n, 8) % (60 * 24 * 40)).unwrap_or_default();
    let contact = Contact {
        peer_address: address.clone(),
        user_agent: "OCS-NG_unified_unix_agent_v2.10.4".to_owned(),
        at: UnixTime::from_millis(now.millis() - minutes * 60_000),
    };
    let (id, _) = computers::take_facts(conn, &device, &facts, &contact)?;
    let mac = format!("52:54:00:{:02x}:{:02x}:{:02x}", n >> 16 & 255, n >> 8 & 255, n & 255);
    computers::set_networks(conn, id, &[Network { ip_address: address, mac, ..Network::default() }])?;
    let wanted: Vec<SoftwareTitle> = (0..titles)
        .map(|title| SoftwareTitle {
            name: match PROGRAMS.get(title as usize) {
                Some(program) => (*program).to_owned(),
                None => format!("Tool {title:03}"),
            },
            publisher: "Example".to_owned(),
            version: format!("{}.{}", title % 9 + 1, mixed(n, 100 + title) % 6),
        })
        .collect();
    software::set(conn, id, &wanted)?;
    if n.is_multiple_of(100) {
        let document = document(&facts, n);
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        hasher.update(document.as_bytes());
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(document.as_bytes()).expect("memory takes it");
        let deflated = encoder.finish().expect("memory takes it");
        computers::set_document(conn, id, hasher.finish().as_bytes(), &deflated)?;
        notes::add(conn, id, contact.at, "admin", "The battery was replaced under warranty.")?;
        let change = |section: &str, kind, item: &str, field: &str, old: &str, new: &str| Change {
            at: contact.at,
            section: section.to_owned(),
            kind,
            item: item.to_owned(),
            field: field.to_owned(),
            old: old.to_owned(),
            new: new.to_owned(),
        };
        let changes = [
            change("MEMORIES", ChangeKind::Added, "DIMM 2", "", "", ""),
            change("SOFTWARES", ChangeKind::Changed, "Firefox", "VERSION", "139.0", "140.0"),
            change("SOFTWARES", ChangeKind::Removed, "Old VPN client", "VERSION", "5.1", ""),
        ];
        sections::add_changes(conn, id, &changes, 200, UnixTime::from_seconds(0))?;
    }
    if n % 50 == 49 {
        merges::set_archived(conn, id, Some(now))?;
    }
    Ok(())
}

fn document(facts: &ComputerFacts, n: u32) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REQUEST><CONTENT><HARDWARE><NAME>{}</NAME><OSNAME>{}</OSNAME>\
         <MEMORY>16384</MEMORY><PROCESSORT>Intel Core Ultra 7 155U</PROCESSORT></HARDWARE><BIOS><SSN>{}</SSN>\
         <SMODEL>{}</SMODEL><BDATE>03/12/2026</BDATE></BIOS>",
        facts.name, facts.os_name, facts.serial, facts.model
    );
    for disk in 0..3 {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "<DRIVES><VOLUMN>/dev/nvme0n1p{disk}</VOLUMN><TYPE>/mnt/{disk}</TYPE><FILESYSTEM>ext4</FILESYSTEM>\
             <TOTAL>{}</TOTAL><FREE>{}</FREE></DRIVES>",
            512_000,
            100_000 + n
        );
    }
    for process in 0..300 {
        let _ = write!(text, "<RUNNINGPROCESSES><CMD>process {process}</CMD><PID>{process}</PID></RUNNINGPROCESSES>");
    }
    text.push_str("</CONTENT></REQUEST>");
    text
}

/// A package for Linux, open on every computer.
fn deploy(conn: &mut Conn, now: UnixTime) -> Result<(), StoreError> {
    let new = NewPackage {
        name: "Corporate root certificates".to_owned(),
        version: "12".to_owned(),
        description: String::new(),
        os: OsFamily::Linux,
        action: Action::Execute { command: "true".to_owned() },
        priority: Priority::DEFAULT,
        notify: None,
        done: None,
        exit_codes: dripfeed::model::ExitCodes::default(),
    };
    let package = packages::reserve(conn, &new, now)?;
    packages::set_state(conn, package, PackageState::Available)?;
    let location = "packages.example.net/download";
    activations::set(
        conn,
        &Activation {
            package,
            info_location: location.parse().expect("a location"),
            fragment_location: location.parse().expect("a location"),
            activated_at: now,
            checked_at: None,
        },
    )?;
    let options = JobOptions::default();
    let id = deployments::create(conn, package, true, &options, "admin", now)?;
    let deployment = Deployment {
        id,
        package,
        all_computers: true,
        group: None,
        options,
        created_at: now,
        cancelled_at: None,
        closed_at: None,
        bundle: None,
        approval: None,
    };
    let all = computers::all_ids(conn)?;
    jobs::plan(conn, &deployment, &all, now)?;
    Ok(())
}
