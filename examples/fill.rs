//! Fills a data directory with a fleet: computers, their software, packages, and a job of each package on each computer.
//!
//! ```text
//! cargo run --release --example fill -- --data-dir data --computers 100000 --jobs 20 --titles 20
//! dripfeed serve --data-dir data
//! ```
//!
//! Through the same functions that the server and its verbs use. The computers are those of `examples/fleet`, by name; the
//! packages are commands without files, so the jobs stay open for whoever only sends prologs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

#[path = "fleet/simulator/chance.rs"]
mod chance;
#[expect(dead_code, reason = "inventories are the simulator's")]
#[path = "fleet/simulator/computer.rs"]
mod computer;

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use dripfeed::clock::Clock;
use dripfeed::disk::published::PublishedTree;
use dripfeed::model::limits::{ArchiveLimits, RequestLimits};
use dripfeed::model::settings::SettingsLayer;
use dripfeed::model::{Action, JobOptions, Location, OsFamily, PackageId, Priority, UnixTime};
use dripfeed::protocol::{ComputerFacts, SoftwareTitle};
use dripfeed::service::assign::{Target, assign};
use dripfeed::service::publish::{BuildRequest, Fragmenting, Source, build};
use dripfeed::service::{App, activate};
use dripfeed::store::computers::{self, Contact};
use dripfeed::store::packages::NewPackage;
use dripfeed::store::{Conn, DatabaseUrl, Store, StoreError, software};

/// What one transaction holds.
const CHUNK: u32 = 5000;

/// Fills a data directory with a fleet.
#[derive(Debug, Parser)]
#[command(name = "fill")]
struct Options {
    /// The server's directory, which may be empty; the server must not run
    #[arg(long)]
    data_dir: PathBuf,
    /// A PostgreSQL instead of the SQLite in the data directory
    #[arg(long)]
    database: Option<DatabaseUrl>,
    /// How many computers
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=999_999))]
    computers: u32,
    /// Packages, and so open jobs of each computer
    #[arg(long, default_value_t = 20)]
    jobs: u32,
    /// Packages with files besides, activated and assigned to nobody: what a mirror copies
    #[arg(long, default_value_t = 0)]
    published: u32,
    /// Fragments of each of those
    #[arg(long, default_value_t = 100)]
    fragments: u32,
    /// Programs on each computer
    #[arg(long, default_value_t = 20)]
    titles: u32,
    /// Where agents are told to fetch the packages
    #[arg(long, default_value = "localhost:8443/download")]
    location: Location,
    /// The same seed as the simulator's is the same software
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match fill(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fill(options: &Options) -> Result<(), Box<dyn Error>> {
    let directory = &options.data_dir;
    std::fs::create_dir_all(directory)?;
    let url = options.database.clone().unwrap_or_else(|| DatabaseUrl::Sqlite(directory.join("dripfeed.db")));
    let app = App {
        store: Store::open(&url)?,
        tree: PublishedTree::open(&directory.join("download"), &directory.join("staging"))?,
        clock: Clock::System,
        request_limits: RequestLimits::DEFAULT,
        archive_limits: ArchiveLimits::DEFAULT,
        configured: SettingsLayer::default(),
    };
    let began = Instant::now();
    for first in (0..options.computers).step_by(CHUNK as usize) {
        let end = options.computers.min(first + CHUNK);
        let (seed, titles, now) = (options.seed, options.titles, app.clock.now());
        app.store.write_now(move |conn| (first..end).try_for_each(|number| enrol(conn, seed, number, titles, now)))?;
    }
    println!("{} computers with {} programs each: {:.1?}", options.computers, options.titles, began.elapsed());
    let began = Instant::now();
    for number in 0..options.jobs {
        deploy(&app, number, &options.location)?;
    }
    println!("{} packages, a job of each on every computer: {:.1?}", options.jobs, began.elapsed());
    if options.published > 0 {
        let began = Instant::now();
        for number in 0..options.published {
            let text = noise(options.seed, number, options.fragments);
            let source = Source::Text { name: "content.sh".to_owned(), text };
            publish(&app, format!("file {number}"), source, Fragmenting::Count(options.fragments), &options.location)?;
        }
        println!("{} packages of {} fragments: {:.1?}", options.published, options.fragments, began.elapsed());
    }
    Ok(())
}

fn enrol(conn: &mut Conn, seed: u64, number: u32, titles: u32, at: UnixTime) -> Result<(), StoreError> {
    let device = computer::device_id(number).expect("a name and a date");
    let [_, high, middle, low] = number.to_be_bytes();
    let facts = ComputerFacts {
        name: computer::host_name(number),
        os_name: "Debian GNU/Linux 12".to_owned(),
        os_version: "12".to_owned(),
        architecture: "x86_64".to_owned(),
        ip_address: format!("10.{high}.{middle}.{low}"),
        ..ComputerFacts::default()
    };
    let contact = Contact {
        peer_address: "127.0.0.1".to_owned(),
        user_agent: "OCS-NG_unified_unix_agent_v2.10.0".to_owned(),
        at,
    };
    let (id, _) = computers::take_facts(conn, &device, &facts, &contact)?;
    let wanted: Vec<SoftwareTitle> =
        (1..=u64::from(titles)).map(|title| computer::title(seed, title, number)).collect();
    software::set(conn, id, &wanted)?;
    Ok(())
}

fn deploy(app: &App, number: u32, location: &Location) -> Result<(), Box<dyn Error>> {
    let id = publish(app, format!("fill {number}"), Source::Nothing, Fragmenting::DEFAULT, location)?;
    assign(app, id, Target::All, JobOptions::default(), "fill")?;
    Ok(())
}

fn publish(
    app: &App,
    name: String,
    source: Source,
    fragmenting: Fragmenting,
    location: &Location,
) -> Result<PackageId, Box<dyn Error>> {
    let request = BuildRequest {
        package: NewPackage {
            name,
            version: "1".to_owned(),
            description: String::new(),
            os: OsFamily::Linux,
            action: Action::from_parts("execute", "true")?,
            priority: Priority::DEFAULT,
            notify: None,
            done: None,
            exit_codes: dripfeed::model::ExitCodes::default(),
        },
        source,
        fragmenting,
    };
    let id = build(app, &request, &mut |_| {})?.package.id;
    activate::activate(app, id, location.clone(), location.clone(), None, &mut |_, _| {})?;
    Ok(id)
}

/// A script of a kilobyte for each fragment, which shrinks by half at the most.
fn noise(seed: u64, number: u32, fragments: u32) -> String {
    let mut chance = chance::Chance::of(&[seed, u64::from(number)]);
    (0..fragments * 64).fold(String::new(), |mut text, _| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{:016x}", chance.next());
        text
    })
}
