//! A fleet in one process: arrivals, agents, what is counted.
//!
//! An agent is the real messages (`dripfeed::protocol`) and the real engine (`dripfeed::engine`) over real connections. What
//! is left out is the computer: no work directory, no unpacking, no command. The archive's digest is checked.

mod agent;
mod chance;
mod computer;
mod histogram;
mod process;
mod report;
mod wire;

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use dripfeed::fetch::Url;
use dripfeed::model::{InvalidDeviceId, PackageId};
use dripfeed::protocol::envelope::{self, Container};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use agent::Agent;
use chance::Chance;
pub(crate) use report::Report;
use report::Tally;
use wire::Wire;

/// A fleet of agents in one process, to load a server with.
///
/// Latencies of arrivals by the clock (steady, storm) count from the moment at which the request was due, so that a server
/// that stalls cannot hide it; those of clients that wait for one another count from the moment it was sent. Exit code 1
/// if any request failed.
#[derive(Clone, Debug, Parser)]
#[command(name = "fleet")]
pub(crate) struct Options {
    /// The server's address, such as <https://127.0.0.1:8443/ocsinventory>
    #[arg(long)]
    pub(crate) server: Url,
    /// The authority to trust for https://, such as the server's certs/ca.pem
    #[arg(long)]
    ca: Option<PathBuf>,
    /// How many computers
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=999_999))]
    agents: u32,
    /// How often each of them comes
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// No new contact begins after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// What they do: a whole day (prolog, inventory if asked for one, packages, reports), or one message alone
    #[arg(long, value_enum, default_value_t = Errand::Day)]
    what: Errand,
    /// When they come: `steady:RATE` (a second), `storm:SECONDS` (all of a round by chance within that time), `clients:N` (so
    /// many at a time, each as soon as another is done)
    #[arg(long, default_value = "clients:16")]
    arrive: Arrival,
    /// A connection for each request, as stock agents have it, or kept ones
    #[arg(long, value_enum, default_value_t = Connections::New)]
    connections: Connections,
    /// How packages are fetched: the engine's pauses slept, or skipped
    #[arg(long, value_enum, default_value_t = Pace::Virtual)]
    pace: Pace,
    /// Size of an inventory in KiB before it is deflated, `LOW-HIGH`
    #[arg(long, default_value = "100-200")]
    inventory: Span,
    /// The package that `--what report` reports as SUCCESS
    #[arg(long, required_if_eq("what", "report"))]
    package: Option<PackageId>,
    /// Another seed is another fleet, arriving in another order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds that a request may take
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// Agents that are at work at the same time, at most
    #[arg(long, default_value_t = 2000)]
    at_once: u32,
    /// Of `--what prolog`: opens and reads every so manieth answer (status and length are looked at always)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    read_every: u64,
    /// A process of the server, for its CPU and memory with all its descendants; may be repeated
    #[arg(long)]
    server_pid: Vec<u32>,
    /// Prints JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Errand {
    Day,
    Prolog,
    Inventory,
    Report,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Connections {
    New,
    Kept,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Pace {
    Real,
    Virtual,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Arrival {
    Steady(u64),
    Storm(u64),
    Clients(u32),
}

impl FromStr for Arrival {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || format!("\"{text}\" is no arrival: expected steady:RATE, storm:SECONDS or clients:N");
        let (kind, number) = text.split_once(':').ok_or_else(refused)?;
        let number: u32 = number.parse().ok().filter(|number| *number > 0).ok_or_else(refused)?;
        match kind {
            "steady" => Ok(Self::Steady(number.into())),
            "storm" => Ok(Self::Storm(number.into())),
            "clients" => Ok(Self::Clients(number)),
            _ => Err(refused()),
        }
    }
}

/// Bytes from and to.
#[derive(Clone, Copy, Debug)]
struct Span(u64, u64);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || format!("\"{text}\" is no span of KiB: expected such as 100-200");
        let (low, high) = text.split_once('-').ok_or_else(refused)?;
        let bound = |text: &str| text.parse::<u64>().ok().filter(|kib| (1..=8192).contains(kib)).ok_or_else(refused);
        let (low, high) = (bound(low)?, bound(high)?);
        if low > high { Err(refused()) } else { Ok(Self(low << 10, high << 10)) }
    }
}

/// What all agents share.
struct Fleet {
    options: Options,
    wire: Wire,
    tally: Mutex<Tally>,
    /// What each has done, as it tells with its inventory.
    history: Mutex<HashMap<u32, Vec<PackageId>>>,
    /// Inventories made before the clock runs, by round and number.
    ready: HashMap<(u32, u32), Vec<u8>>,
    requests: AtomicU64,
}

/// One contact: of whom, in which round, and when it is due after the start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Contact {
    number: u32,
    round: u32,
    due: Option<Duration>,
}

/// Loads the server and tells what came of it.
pub(crate) fn run(options: &Options) -> Result<Report, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let keep = options.connections == Connections::Kept;
    let wire = Wire::new(options.ca.as_deref(), keep, Duration::from_secs(options.timeout))?;
    let mut fleet = Fleet {
        options: options.clone(),
        wire,
        tally: Mutex::default(),
        history: Mutex::default(),
        ready: HashMap::new(),
        requests: AtomicU64::new(0),
    };
    fleet.prepare()?;
    let usage = || {
        let usage = process::usage(&options.server_pid);
        usage.ok_or_else(|| format!("no such process: {:?}; name running ones with --server-pid", options.server_pid))
    };
    let before = usage()?;
    let own_before = process::own_cpu();
    let began = Instant::now();
    let fleet = Arc::new(fleet);
    runtime.block_on(Arc::clone(&fleet).send(began));
    let took = began.elapsed();
    let own_cpu = process::own_cpu().saturating_sub(own_before);
    let after = usage()?;
    let tally = std::mem::take(&mut *fleet.tally.lock().unwrap_or_else(PoisonError::into_inner));
    let server = (!options.server_pid.is_empty()).then_some((before, after));
    Ok(Report { tally, took, server, own_cpu, title: options.title() })
}

impl Options {
    fn title(&self) -> String {
        let what = self.what.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let arrive = match self.arrive {
            Arrival::Steady(rate) => format!("{rate} a second"),
            Arrival::Storm(seconds) => format!("a storm of {seconds} s"),
            Arrival::Clients(clients) => format!("{clients} clients"),
        };
        let connections = if self.connections == Connections::Kept { "kept" } else { "new" };
        let scheme = if self.server.is_https() { "https" } else { "http" };
        format!("{what} of {} agents, {arrive}, {connections} connections, {scheme}", self.agents)
    }

    /// Who comes when: the same for the same options.
    fn contacts(&self) -> Vec<Contact> {
        let agents = u64::from(self.agents);
        let mut all: Vec<Contact> = Vec::new();
        for round in 0..self.rounds {
            let mut chance = Chance::of(&[self.seed, 2, u64::from(round)]);
            let mut numbers: Vec<u32> = (0..self.agents).collect();
            for last in (1..numbers.len()).rev() {
                let other = usize::try_from(chance.below(last as u64 + 1)).unwrap_or_default();
                numbers.swap(last, other);
            }
            let mut dues: Vec<Option<Duration>> = (0..agents)
                .map(|at| match self.arrive {
                    Arrival::Clients(_) => None,
                    Arrival::Steady(rate) => {
                        Some(Duration::from_micros((u64::from(round) * agents + at) * 1_000_000 / rate))
                    }
                    Arrival::Storm(seconds) => {
                        let within = chance.below(seconds * 1_000_000);
                        Some(Duration::from_micros(u64::from(round) * seconds * 1_000_000 + within))
                    }
                })
                .collect();
            dues.sort_unstable();
            all.extend(numbers.into_iter().zip(dues).map(|(number, due)| Contact { number, round, due }));
        }
        all
    }

    fn inventory_size(&self, number: u32) -> u64 {
        let Span(low, high) = self.inventory;
        low + Chance::of(&[self.seed, 3, u64::from(number)]).below(high - low + 1)
    }
}

impl Fleet {
    /// Makes the inventories of a run that sends nothing else, so that their making is not in its figures. A day's are made
    /// on the way.
    fn prepare(&mut self) -> Result<(), Box<dyn Error>> {
        /// About a third of a GiB.
        const MOST: u32 = 10_000;
        let options = &self.options;
        if options.what != Errand::Inventory || options.agents.saturating_mul(options.rounds) > MOST {
            return Ok(());
        }
        for round in 0..options.rounds {
            for number in 0..options.agents {
                self.ready.insert((round, number), self.options.sealed_inventory(number, round, &[])?);
            }
        }
        Ok(())
    }

    /// Lets every contact happen, each at its time.
    async fn send(self: Arc<Self>, began: Instant) {
        let contacts = self.options.contacts();
        let end = self.options.seconds.map(|seconds| began + Duration::from_secs(seconds));
        let is_over = move |at: Instant| end.is_some_and(|end| at >= end);
        let mut tasks = JoinSet::new();
        if let Arrival::Clients(clients) = self.options.arrive {
            let next = Arc::new(AtomicU64::new(0));
            let contacts = Arc::new(contacts);
            for _ in 0..clients {
                let (fleet, contacts, next) = (Arc::clone(&self), Arc::clone(&contacts), Arc::clone(&next));
                tasks.spawn(async move {
                    while let Ok(at) = usize::try_from(next.fetch_add(1, Ordering::Relaxed)) {
                        let Some(contact) = contacts.get(at).filter(|_| !is_over(Instant::now())) else { break };
                        Agent::new(&fleet, *contact, Instant::now()).live().await;
                    }
                });
            }
        } else {
            let room = Arc::new(Semaphore::new(self.options.at_once as usize));
            for contact in contacts {
                let due = began + contact.due.unwrap_or_default();
                if is_over(due) {
                    break;
                }
                tokio::time::sleep_until(due.into()).await;
                // While all are at work the next ones wait, and their latency counts on.
                let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
                let fleet = Arc::clone(&self);
                tasks.spawn(async move {
                    Agent::new(&fleet, contact, due).live().await;
                    drop(place);
                });
                while tasks.try_join_next().is_some() {}
            }
        }
        while tasks.join_next().await.is_some() {}
    }
}

impl Options {
    fn sealed_inventory(&self, number: u32, round: u32, history: &[PackageId]) -> Result<Vec<u8>, InvalidDeviceId> {
        let size = self.inventory_size(number);
        let document = computer::inventory(self.seed, number, round, size, history)?;
        Ok(envelope::seal(Container::Zlib, &document.to_xml()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &str) -> Options {
        let words = format!("fleet --server http://127.0.0.1:1/ocsinventory {words}");
        Options::try_parse_from(words.split_whitespace()).expect("options")
    }

    #[test]
    fn every_computer_comes_once_a_round_and_in_order_of_time() {
        for arrive in ["steady:50", "storm:3", "clients:4"] {
            let contacts = options(&format!("--agents 40 --rounds 2 --arrive {arrive}")).contacts();
            assert!(contacts.is_sorted_by_key(|contact| (contact.round, contact.due)), "{arrive}");
            for round in 0..2 {
                let mut numbers: Vec<u32> =
                    contacts.iter().filter(|contact| contact.round == round).map(|contact| contact.number).collect();
                numbers.sort_unstable();
                assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "{arrive}");
            }
        }
    }

    #[test]
    fn a_storm_lies_within_its_time_and_the_same_seed_is_the_same_storm() {
        let storm = |seed| options(&format!("--agents 500 --arrive storm:10 --seed {seed}")).contacts();
        let dues: Vec<Duration> = storm(1).iter().filter_map(|contact| contact.due).collect();
        assert_eq!(dues.len(), 500);
        assert!(dues[499] < Duration::from_secs(10) && dues[499] > Duration::from_secs(9));
        assert_eq!(storm(1), storm(1));
        assert_ne!(storm(1), storm(2));
    }

    #[test]
    fn what_is_no_arrival_and_no_span_is_refused() {
        for words in ["--arrive now", "--arrive steady:0", "--arrive storm:x", "--inventory 5", "--inventory 9-3"] {
            let words = format!("fleet --server http://127.0.0.1:1/o {words}");
            let error = Options::try_parse_from(words.split_whitespace()).expect_err("refused").to_string();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
