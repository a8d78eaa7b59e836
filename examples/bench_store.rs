//! How many contacts of agents the store takes: `cargo run --release --example bench_store -- [COMPUTERS] [JOBS] [SECONDS]`
//!
//! A contact reads what a prolog needs (the computer, two layers of settings, its open jobs) and writes what it leaves
//! (last contact, jobs offered, one event), acknowledged only when it is synced. On SQLite in the working directory, or on
//! the PostgreSQL that `DRIPFEED_TEST_POSTGRES` names.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dripfeed::model::{
    Action, Activation, ComputerId, Deployment, DeviceId, JobId, JobOptions, OsFamily, PackageId, PackageState,
    Priority, UnixTime,
};
use dripfeed::protocol::ComputerFacts;
use dripfeed::store::computers::Contact;
use dripfeed::store::events::{Event, EventKind};
use dripfeed::store::packages::NewPackage;
use dripfeed::store::settings::Scope;
use dripfeed::store::{Conn, Store, StoreError, activations, computers, deployments, events, jobs, packages, settings};

const START: UnixTime = UnixTime::from_seconds(1_800_000_000);

#[expect(clippy::disallowed_methods, reason = "an example has no configuration")]
#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let (computers, jobs, seconds) = (number(0, 1000), number(1, 3), number(2, 4));
    let directory = tempfile::tempdir_in(".")?;
    let url = match std::env::var("DRIPFEED_TEST_POSTGRES") {
        Ok(url) => url.parse()?,
        Err(_) => dripfeed::store::DatabaseUrl::Sqlite(directory.path().join("bench.db")),
    };
    let store = Store::open(&url)?;
    let started = Instant::now();
    let ids = Arc::new(fill(&store, computers, jobs)?);
    println!("{url}: {computers} computers with {jobs} open jobs each, made in {:.1?}", started.elapsed());

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    for (what, writes) in [("reads only", false), ("reads and writes", true)] {
        for clients in [1, 16, 64] {
            let round = Round { store: &store, ids: &ids, clients, writes, time: Duration::from_secs(seconds) };
            println!("{what:16} {clients:3} clients  {}", runtime.block_on(round.run())?);
        }
    }
    Ok(())
}

fn fill(store: &Store, count: u64, jobs_each: u64) -> Result<Vec<DeviceId>, Box<dyn Error>> {
    let names: Vec<DeviceId> =
        (0..count).map(|n| format!("ws-{n}-2024-03-05-09-10-11").parse()).collect::<Result<_, _>>()?;
    for chunk in names.chunks(5000) {
        let chunk = chunk.to_vec();
        store.write_now(move |conn| {
            let facts = ComputerFacts { os_name: "Debian GNU/Linux 12".to_owned(), ..ComputerFacts::default() };
            chunk.iter().try_for_each(|name| computers::take_facts(conn, name, &facts, &contact(START)).map(|_| ()))
        })?;
    }
    for n in 0..jobs_each {
        store.write_now(move |conn| deploy(conn, n))?;
    }
    Ok(names)
}

fn deploy(conn: &mut Conn, n: u64) -> Result<(), StoreError> {
    let new = NewPackage {
        name: format!("package {n}"),
        version: "1.0".to_owned(),
        description: String::new(),
        os: OsFamily::Linux,
        action: Action::Execute { command: "true".to_owned() },
        priority: Priority::DEFAULT,
        notify: None,
        done: None,
        exit_codes: dripfeed::model::ExitCodes::default(),
    };
    let package: PackageId = packages::reserve(conn, &new, START)?;
    packages::set_state(conn, package, PackageState::Available)?;
    let location = "packages.example.net/download";
    activations::set(
        conn,
        &Activation {
            package,
            info_location: location.parse().expect("a location"),
            fragment_location: location.parse().expect("a location"),
            activated_at: START,
            checked_at: None,
        },
    )?;
    let options = JobOptions::default();
    let id = deployments::create(conn, package, true, &options, "bench", START)?;
    let deployment = Deployment {
        id,
        package,
        all_computers: true,
        group: None,
        options,
        created_at: START,
        cancelled_at: None,
        closed_at: None,
        bundle: None,
        approval: None,
    };
    let all: Vec<ComputerId> = computers::all_ids(conn)?;
    jobs::plan(conn, &deployment, &all, START)?;
    Ok(())
}

fn contact(at: UnixTime) -> Contact {
    Contact { peer_address: "192.0.2.7".to_owned(), user_agent: "OCS-NG_unified_unix_agent_v2.9.1".to_owned(), at }
}

/// Clients that send one contact after the other, each of another computer.
struct Round<'a> {
    store: &'a Store,
    ids: &'a Arc<Vec<DeviceId>>,
    clients: usize,
    writes: bool,
    time: Duration,
}

impl Round<'_> {
    async fn run(self) -> Result<String, Box<dyn Error>> {
        let next = Arc::new(AtomicUsize::new(0));
        let started = Instant::now();
        let clients: Vec<_> = (0..self.clients)
            .map(|_| {
                let (store, ids, next) = (self.store.clone(), Arc::clone(self.ids), Arc::clone(&next));
                let (time, writes) = (self.time, self.writes);
                tokio::spawn(async move {
                    let mut took = Vec::new();
                    while started.elapsed() < time {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        let begun = Instant::now();
                        one_contact(&store, ids[n.wrapping_mul(7919) % ids.len()].clone(), n, writes).await?;
                        took.push(begun.elapsed());
                        tokio::task::yield_now().await;
                    }
                    Ok::<_, StoreError>(took)
                })
            })
            .collect();
        let mut took = Vec::new();
        for client in clients {
            took.extend(client.await??);
        }
        let elapsed = started.elapsed();
        took.sort_unstable();
        let rate = f64::from(u32::try_from(took.len())?) / elapsed.as_secs_f64();
        let (middle, slow) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        Ok(format!("{rate:8.0}/s   p50 {middle:>9.2?}   p99 {slow:>9.2?}"))
    }
}

async fn one_contact(store: &Store, name: DeviceId, n: usize, writes: bool) -> Result<(), StoreError> {
    let wire_name = name.as_str().to_owned();
    let (computer, open): (ComputerId, Vec<JobId>) = store
        .read(move |conn| {
            let computer = computers::find_by_device_id(conn, &name)?.ok_or(StoreError::Closed)?;
            settings::layer(conn, Scope::Global)?;
            settings::layer(conn, Scope::Computer(computer.id))?;
            let open = jobs::open_numbers(conn, computer.id)?;
            Ok::<_, StoreError>((computer.id, open.iter().map(|(job, _)| *job).collect()))
        })
        .await?;
    if !writes {
        return Ok(());
    }
    let now = UnixTime::from_millis(START.millis() + i64::try_from(n).unwrap_or_default());
    store
        .write(move |conn| {
            computers::touch(conn, computer, &contact(now))?;
            jobs::mark_offered(conn, &open, now)?;
            let event = Event {
                at: now,
                kind: EventKind::Offered,
                computer: Some(computer),
                device_id: wire_name,
                package: None,
                job: open.first().copied(),
                text: String::new(),
            };
            events::append(conn, &[event])
        })
        .await
}
