//! How long groups take: `cargo run --release --example bench_groups -- [COMPUTERS]`
//!
//! Fills a database (SQLite in the working directory, or the PostgreSQL that `DRIPFEED_TEST_POSTGRES` names), makes groups
//! of several kinds of queries, refreshes each when nothing changed, and evaluates all of them for single computers.

use std::error::Error;
use std::time::Instant;

use dripfeed::clock::Clock;
use dripfeed::disk::published::PublishedTree;
use dripfeed::model::limits::{ArchiveLimits, RequestLimits};
use dripfeed::model::settings::SettingsLayer;
use dripfeed::model::{ComputerId, UnixTime};
use dripfeed::protocol::ComputerFacts;
use dripfeed::service::{App, groups};
use dripfeed::store::computers::{self, Contact};
use dripfeed::store::{Store, StoreError};

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

const QUERIES: [(&str, &str); 5] = [
    ("half", "os contains debian"),
    ("few", "tag = site7 and name starts with ws-1"),
    ("network", "ip in 10.0.0.0/9"),
    ("versions", "os_version >= 12.5"),
    ("nested", "in group half and not in group few"),
];

#[expect(clippy::disallowed_methods, reason = "an example has no configuration")]
#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let count: u32 = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    let directory = tempfile::tempdir_in(".")?;
    let url = match std::env::var("DRIPFEED_TEST_POSTGRES") {
        Ok(url) => url.parse()?,
        Err(_) => dripfeed::store::DatabaseUrl::Sqlite(directory.path().join("bench.db")),
    };
    let app = App {
        store: Store::open(&url)?,
        tree: PublishedTree::open(&directory.path().join("download"), &directory.path().join("staging"))?,
        clock: Clock::Fixed(NOW),
        request_limits: RequestLimits::DEFAULT,
        archive_limits: ArchiveLimits::DEFAULT,
        configured: SettingsLayer::default(),
    };
    let started = Instant::now();
    fill(&app.store, count)?;
    println!("{url}: {count} computers, made in {:.1?}", started.elapsed());
    for (name, query) in QUERIES {
        let started = Instant::now();
        let made = groups::create(&app, name, Some(query), "bench")?;
        println!("create {name:9} {:>7} members {:>9.0?}  {query}", made.members, started.elapsed());
    }
    for (name, _) in QUERIES.into_iter().filter(|(name, _)| *name == "network" || *name == "versions") {
        let started = Instant::now();
        groups::refresh(&app, Some(name))?;
        println!("refresh {name:9} {:>9.0?}", started.elapsed());
    }
    let started = Instant::now();
    groups::refresh(&app, None)?;
    println!("refresh all five  {:>9.0?}", started.elapsed());
    let started = Instant::now();
    let rounds = 1000;
    app.store.write_now(move |conn| (1..=rounds).try_for_each(|id| groups::evaluate(conn, ComputerId(id), NOW)))?;
    println!("evaluate one computer for all five {:>9.0?}", started.elapsed() / u32::try_from(rounds)?);
    Ok(())
}

fn fill(store: &Store, count: u32) -> Result<(), Box<dyn Error>> {
    for from in (0..count).step_by(5000) {
        store.write_now(move |conn| {
            for n in from..count.min(from + 5000) {
                let facts = ComputerFacts {
                    name: format!("ws-{n}"),
                    os_name: ["Debian GNU/Linux", "Microsoft Windows 11"][n as usize % 2].to_owned(),
                    os_version: format!("12.{}", n % 12),
                    ip_address: std::net::Ipv4Addr::from_bits(0x0a00_0000 + n * 150).to_string(),
                    tag: format!("site{}", n % 50),
                    ..ComputerFacts::default()
                };
                let contact = Contact { peer_address: String::new(), user_agent: String::new(), at: NOW };
                let device_id = format!("ws-{n}-2024-03-05-09-10-11").parse().map_err(|_| StoreError::Closed)?;
                computers::take_facts(conn, &device_id, &facts, &contact)?;
            }
            Ok::<(), StoreError>(())
        })?;
    }
    Ok(())
}
