//! What an inventory costs: `cargo run --release --example bench_inventory -- [COMPUTERS] [TITLES]`
//!
//! Computers send their first inventory, the very same again, one in which only free space is another, and one with one
//! title of another version. On SQLite in the working directory, or on the PostgreSQL that `DRIPFEED_TEST_POSTGRES` names.

use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use dripfeed::clock::Clock;
use dripfeed::disk::published::PublishedTree;
use dripfeed::model::UnixTime;
use dripfeed::model::limits::{ArchiveLimits, RequestLimits};
use dripfeed::model::settings::SettingsLayer;
use dripfeed::protocol::{Request, SoftwareTitle};
use dripfeed::service::{App, Peer, inventory};
use dripfeed::store::{DatabaseUrl, Store, software};

#[expect(clippy::disallowed_methods, reason = "an example has no configuration")]
#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let (computers, titles) = (number(0, 50), number(1, 2000));
    let directory = tempfile::tempdir_in(".")?;
    let path = directory.path();
    let url = match std::env::var("DRIPFEED_TEST_POSTGRES") {
        Ok(url) => url.parse()?,
        Err(_) => DatabaseUrl::Sqlite(path.join("bench.db")),
    };
    let app = App {
        store: Store::open(&url)?,
        tree: PublishedTree::open(&path.join("download"), &path.join("staging"))?,
        clock: Clock::Fixed(UnixTime::from_seconds(1_800_000_000)),
        request_limits: RequestLimits::DEFAULT,
        archive_limits: ArchiveLimits::DEFAULT,
        configured: SettingsLayer::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{url}: {computers} computers with {titles} titles each, {} bytes", document(0, titles, 60, 0).len());
    for (what, free, changed) in
        [("first", 60, 0), ("the same", 60, 0), ("other free space", 59, 0), ("one title changed", 59, 1)]
    {
        let mut took = Vec::new();
        for computer in 0..computers {
            let text = document(computer, titles, free, changed);
            let begun = Instant::now();
            let Request::Inventory(request) = Request::parse(text.as_bytes(), &RequestLimits::DEFAULT)? else {
                return Err("no inventory".into());
            };
            let parsed = begun.elapsed();
            let peer = Peer { address: [192, 0, 2, 7].into(), user_agent: "bench".to_owned(), proof: None };
            runtime.block_on(inventory::take(&app, *request, text.into_bytes(), peer))?;
            took.push((begun.elapsed(), parsed));
        }
        println!("{what:18} {}", line(took));
    }
    // The part that holds up the one writer, alone.
    let mut took = Vec::new();
    for computer in 0..computers {
        let wanted = software(titles, 2 + computer);
        let id = dripfeed::model::ComputerId(i64::try_from(computer)? + 1);
        let difference = app.store.read_now(move |conn| software::difference(conn, id, &wanted))?;
        let spent = app.store.write_now(move |conn| {
            let begun = Instant::now();
            software::apply(conn, id, &difference)?;
            Ok::<_, dripfeed::store::StoreError>(begun.elapsed())
        })?;
        took.push((spent, Duration::ZERO));
    }
    println!("{:18} {}", "one title, closure", line(took));
    if let DatabaseUrl::Sqlite(file) = &url {
        app.store.backup(&path.join("compact.db"))?;
        println!("{} KiB in {}", std::fs::metadata(path.join("compact.db"))?.len() >> 10, file.display());
    }
    Ok(())
}

/// Most titles are on every computer; the first is of a version of its own.
fn software(titles: usize, changed: usize) -> Vec<SoftwareTitle> {
    (0..titles)
        .map(|n| SoftwareTitle {
            name: format!("library-for-everything-{n}"),
            publisher: "Example Maintainers <maintainers@example.net>".to_owned(),
            version: if n == 0 { format!("1.{changed}") } else { format!("2.{n}-1+deb12u3") },
        })
        .collect()
}

fn document(computer: usize, titles: usize, free: u32, changed: usize) -> String {
    let mut text = format!(
        "<REQUEST><QUERY>INVENTORY</QUERY><DEVICEID>ws{computer}-2024-03-05-09-10-11</DEVICEID><CONTENT>\
         <HARDWARE><NAME>ws{computer}</NAME><OSNAME>Debian GNU/Linux 12</OSNAME></HARDWARE>\
         <BIOS><SSN>S{computer}</SSN><SMODEL>Model 7</SMODEL></BIOS>\
         <NETWORKS><IPADDRESS>10.0.0.7</IPADDRESS><MACADDR>52:54:00:00:{:02x}:{:02x}</MACADDR></NETWORKS>\
         <DRIVES><TYPE>/</TYPE><TOTAL>100</TOTAL><FREE>{free}</FREE></DRIVES>\n",
        computer / 256 % 256,
        computer % 256
    );
    for SoftwareTitle { name, publisher, version } in software(titles, changed) {
        // Writing to a String does not fail; the other leaves are there to be passed over.
        let _ = writeln!(
            text,
            "<SOFTWARES><NAME>{name}</NAME><VERSION>{version}</VERSION><PUBLISHER>{}</PUBLISHER><FOLDER>/usr</FOLDER>\
             <COMMENTS>a library that does everything</COMMENTS><FILESIZE>123456</FILESIZE><FROM>deb</FROM>\
             <INSTALLDATE>2026/11/20</INSTALLDATE></SOFTWARES>",
            publisher.replace('<', "&lt;").replace('>', "&gt;")
        );
    }
    text.push_str("</CONTENT></REQUEST>");
    text
}

fn line(mut took: Vec<(Duration, Duration)>) -> String {
    took.sort_unstable();
    let (middle, parsed) = took[took.len() / 2];
    let slow = took[took.len() * 99 / 100].0;
    format!("p50 {middle:>9.2?} (reading {parsed:.2?})   p99 {slow:>9.2?}")
}
