//! kill -9, everywhere: afterwards the promises hold. The processes are real, and so are their ends.
//!
//! Builds and withdrawals end at every checkpoint that they pass, the server while hundreds of messages come in, the agent
//! at every kind of checkpoint that it passes against this server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dripfeed::model::{DigestAlgorithm, FragmentCount, Hasher, TreeKey};
use dripfeed::protocol::Info;
use dripfeed::protocol::envelope::{Container, seal};
use dripfeed::service::reconcile;

use crate::util::process::{Ran, Served, Site, run, until};
use crate::util::web::{Answer, Line};
use crate::util::{TestApp, noise, tar_gz};

/// Every checkpoint that a program passes, each with how often it was passed before and this time.
fn passed(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).expect("the program wrote it");
    std::fs::remove_file(log).expect("the log");
    let mut hits: BTreeMap<&str, u32> = BTreeMap::new();
    let all = text.lines().map(|name| {
        let hit = hits.entry(name).or_default();
        *hit += 1;
        format!("{name}:{hit}")
    });
    all.collect()
}

fn log_passes(command: &mut Command, log: &Path) {
    let ran = run(command.env("DRIPFEED_CHECKPOINT_LOG", log));
    assert_eq!(ran.code(), Some(0), "{ran:?}");
}

/// Runs it to that checkpoint, where it ends without a word.
#[track_caller]
fn killed_at(command: &mut Command, checkpoint: &str) {
    let ran: Ran = run(command.env("DRIPFEED_CHECKPOINT", checkpoint));
    assert_eq!(ran.code(), None, "{checkpoint} did not end it: {ran:?}");
}

/// Everything in the tree, as a reader without the database finds it: each package is whole, or this panics.
fn whole_packages(data: &Path) -> BTreeSet<u32> {
    let mut ids = BTreeSet::new();
    for entry in std::fs::read_dir(data.join("download")).expect("the tree") {
        let directory = entry.expect("an entry").path();
        let info = Info::parse(&std::fs::read(directory.join("info")).expect("an info file")).expect("an info file");
        let mut hasher = Hasher::new(DigestAlgorithm::Md5);
        for number in FragmentCount(info.fragments.0).numbers() {
            let key = TreeKey::Fragment { package: info.package, number };
            hasher.update(&std::fs::read(data.join("download").join(key.to_string())).expect("a fragment"));
        }
        assert_eq!(Some(hasher.finish()), info.digest, "{}", directory.display());
        let files = std::fs::read_dir(&directory).expect("a directory").count();
        assert_eq!(files, info.fragments.0 as usize + 1, "{}", directory.display());
        ids.insert(info.package.number());
    }
    ids
}

/// The archive's lines of `package list`: id and state.
fn listed(site: &Site) -> BTreeMap<u32, String> {
    let all = site.json("package list");
    let one = |package: &serde_json::Value| {
        let id = package["id"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("an id");
        (id, package["state"].as_str().expect("a state").to_owned())
    };
    all.as_array().expect("a list").iter().map(one).collect()
}

/// After healing: rows and tree agree, nothing is left over, and every byte is what was built.
fn sound(site: &Site, after: &str) {
    let of = |state: &str| -> BTreeSet<u32> {
        listed(site).into_iter().filter(|(_, of)| of == state).map(|(id, _)| id).collect()
    };
    assert_eq!(of("available"), whole_packages(&site.data()), "after {after}");
    assert_eq!(of("building"), BTreeSet::new(), "after {after}");
    let staging = std::fs::read_dir(site.data().join("staging")).expect("staging");
    let left: Vec<_> = staging
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|n| n != "build.lock" && n != "withdrawn")
        .collect();
    assert!(left.is_empty(), "after {after}: {left:?}");
    let verified = site.json("package verify");
    assert_eq!(verified["problems"], serde_json::json!([]), "after {after}");
}

/// As `serve` does at its start, which one run in this file lets it do.
fn heal(site: &Site) {
    reconcile::run(&TestApp::open(&site.data())).expect("healed");
}

const BUILD: &str = "--name tool --version 1 --os linux --action store --path /opt/tool --fragment-size 64K";

fn build_line(source: &str) -> Vec<String> {
    format!("package build {source} {BUILD}").split_whitespace().map(str::to_owned).collect()
}

fn build(site: &Site, source: &str) -> u32 {
    site.say(&format!("package build {source} {BUILD}")).ok().trim().parse().expect("an id")
}

#[test]
fn a_build_that_is_killed_anywhere_leaves_whole_packages_and_its_id_is_never_given_again() {
    let site = Site::new();
    let source = site.input("tool.tar.gz", tar_gz(&[("tool", &noise(200_000))]));
    let line = build_line(&source);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let log = site.root().join("log");
    log_passes(&mut site.command(&line), &log);
    let checkpoints = passed(&log);
    assert!(checkpoints.len() >= 12, "{checkpoints:?}");

    let mut given: BTreeSet<u32> = listed(&site).into_keys().collect();
    for checkpoint in &checkpoints {
        killed_at(&mut site.command(&line), checkpoint);
        whole_packages(&site.data());
        // The row of a build that never ended is a given id, too.
        let cut = listed(&site).into_keys().find(|id| !given.contains(id));
        assert!(cut.is_some(), "{checkpoint} left no row");
        given.extend(cut);

        if checkpoint.starts_with("publish:renamed") || checkpoint.starts_with("publish:files-synced") {
            let served = site.serve();
            let word = if checkpoint.contains("renamed") { "marked available" } else { "discarded" };
            served.logged(word, 1);
            served.stop();
        } else {
            heal(&site);
        }
        sound(&site, checkpoint);

        let again = build(&site, &source);
        assert!(given.insert(again), "{checkpoint}: id {again} was given twice");
        sound(&site, checkpoint);
    }
    println!("build: killed at {} checkpoints: {}", checkpoints.len(), checkpoints.join(" "));
}

#[test]
fn a_withdrawal_that_is_killed_anywhere_is_done_or_can_be_done_again() {
    let site = Site::new();
    let source = site.input("tool.tar.gz", tar_gz(&[("tool", &noise(200_000))]));
    let log = site.root().join("log");
    let first = build(&site, &source).to_string();
    log_passes(&mut site.command(&["package", "withdraw", &first]), &log);
    let checkpoints = passed(&log);
    assert!(checkpoints.len() >= 4, "{checkpoints:?}");

    let mut given: BTreeSet<u32> = listed(&site).into_keys().collect();
    for checkpoint in &checkpoints {
        let id = build(&site, &source);
        assert!(given.insert(id), "{checkpoint}: id {id} was given twice");
        killed_at(&mut site.command(&["package", "withdraw", &id.to_string()]), checkpoint);
        whole_packages(&site.data());

        if checkpoint.starts_with("withdraw:noted") {
            let served = site.serve();
            served.logged("was withdrawn: removed from the tree", 1);
            served.stop();
        } else {
            heal(&site);
        }
        sound(&site, checkpoint);
        // Every checkpoint lies behind the commit, so it was withdrawn.
        assert_eq!(listed(&site)[&id], "withdrawn", "{checkpoint}");
        let again = site.say(&format!("package withdraw {id}")).refused();
        assert_eq!(again, format!("package {id} is withdrawn already"));
    }
    let next = build(&site, &source);
    assert!(given.insert(next), "id {next} was given twice");
    sound(&site, "all of it");
    println!("withdraw: killed at {} checkpoints: {}", checkpoints.len(), checkpoints.join(" "));
}

const SETTINGS: &str = "\
[settings]
DOWNLOAD_FRAG_LATENCY = 0
DOWNLOAD_CYCLE_LATENCY = 0
DOWNLOAD_PERIOD_LATENCY = 0
";

/// An inventory with so many titles: 750 make the size of a real one, 150 KiB.
fn inventory(device: &str, titles: usize) -> Vec<u8> {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REQUEST><CONTENT><HARDWARE><NAME>{device}</NAME>\
         <OSNAME>Debian GNU/Linux</OSNAME></HARDWARE>"
    );
    for title in 0..titles {
        // Most are the same everywhere, some are this computer's own.
        let own = if title.is_multiple_of(50) { device } else { "" };
        let number = format!("{}.{}-{}+deb12u{}", title % 9, title * 7 % 31, title % 4, title % 3);
        let line = format!(
            "<SOFTWARES><NAME>library-{title}{own}</NAME><VERSION>{number}</VERSION><PUBLISHER>The maintainers of it \
             &lt;list-{title}@lists.example.net&gt;</PUBLISHER><FROM>deb</FROM><FILESIZE>{}</FILESIZE>\
             <COMMENTS>shared library number {title}, run-time files</COMMENTS></SOFTWARES>\n",
            title * 977
        );
        xml.push_str(&line);
    }
    write!(xml, "</CONTENT><DEVICEID>{device}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>").expect("a string");
    seal(Container::Zlib, &xml)
}

fn prolog(device: &str) -> Vec<u8> {
    seal(Container::Zlib, &format!("<REQUEST><DEVICEID>{device}</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>"))
}

fn report(device: &str, package: &str, code: &str) -> Vec<u8> {
    let xml = format!("<REQUEST DEVICEID=\"{device}\" ERR=\"{code}\" ID=\"{package}\" QUERY=\"DOWNLOAD\" />");
    seal(Container::Zlib, &xml)
}

/// An agent that comes back until it is answered, wherever the server is by then.
struct Persistent<'a> {
    address: &'a Mutex<SocketAddr>,
    line: Option<Line>,
    /// Answers that never came.
    lost: usize,
}

impl Persistent<'_> {
    fn tell(&mut self, body: &[u8]) -> Answer {
        let mut answer = None;
        until("an answer", || {
            if self.line.is_none() {
                self.line = Line::try_plain(*self.address.lock().expect("no panic")).ok();
            }
            let Some(line) = &mut self.line else { return false };
            answer = line.try_post(body).ok();
            if answer.is_none() {
                self.line = None;
                self.lost += 1;
            }
            answer.is_some()
        });
        answer.expect("it came")
    }
}

/// How many come at once, and with what.
struct Crowd {
    clients: usize,
    /// New computers that each client speaks for.
    computers: usize,
    /// Each computer reports a result of each.
    packages: usize,
    titles: usize,
    kills: usize,
}

impl Crowd {
    const SMALL: Self = Self { clients: 8, computers: 12, packages: 2, titles: 20, kills: 4 };
    /// 2,016 computers with inventories of 150 KiB, 10,080 results: minutes without optimisation.
    const FULL: Self = Self { clients: 32, computers: 63, packages: 5, titles: 750, kills: 6 };

    /// `DRIPFEED_CROWD=full` in the environment chooses the full one, as `.ci/run` does.
    fn chosen() -> Self {
        match std::env::var_os("DRIPFEED_CROWD") {
            Some(full) if full == "full" => Self::FULL,
            None => Self::SMALL,
            Some(other) => panic!("DRIPFEED_CROWD={}: expected full, or nothing", other.display()),
        }
    }
}

#[test]
fn whatever_a_killed_server_has_answered_with_200_is_found_afterwards() {
    let crowd = Crowd::chosen();
    let site = Site::new();
    site.configure(SETTINGS);
    let mut served = site.serve();
    let packages: Vec<String> = (0..crowd.packages)
        .map(|_| {
            let package = site.package();
            site.say(&format!("activate {package}")).ok();
            site.say(&format!("assign {package} --all")).ok();
            package
        })
        .collect();
    let device = |client: usize, computer: usize| format!("ws{client}x{computer}-2026-01-02-03-04-05");
    let code = |client: usize, computer: usize, package: usize| {
        format!("ERR_EXIT_CODE_{}", (client * crowd.computers + computer) * crowd.packages + package + 1)
    };

    let address = Mutex::new(served.http);
    let answered = AtomicUsize::new(0);
    let total = crowd.clients * crowd.computers * (2 + crowd.packages);
    let lost = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..crowd.clients)
            .map(|client| {
                let (address, answered, packages, crowd, device, code) =
                    (&address, &answered, &packages, &crowd, &device, &code);
                scope.spawn(move || {
                    let mut line = Persistent { address, line: None, lost: 0 };
                    for computer in 0..crowd.computers {
                        let device = device(client, computer);
                        let mut bodies = vec![inventory(&device, crowd.titles), prolog(&device)];
                        bodies.extend(
                            packages.iter().enumerate().map(|(n, id)| report(&device, id, &code(client, computer, n))),
                        );
                        for body in bodies {
                            // While it is up it answers, and with nothing but 200.
                            let answer = line.tell(&body);
                            assert_eq!(answer.status, 200, "{device}: {}", answer.text());
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    line.lost
                })
            })
            .collect();
        for kill in 1..=crowd.kills {
            let enough = kill * total / (crowd.kills + 1);
            // A client that found something wrong has ended, and then the rest is not to be waited for.
            while answered.load(Ordering::Relaxed) < enough
                && !clients.iter().any(std::thread::ScopedJoinHandle::is_finished)
            {
                std::thread::park_timeout(std::time::Duration::from_millis(2));
            }
            served.kill();
            served = site.serve();
            *address.lock().expect("no panic") = served.http;
        }
        clients.into_iter().map(|client| client.join().expect("no panic")).sum::<usize>()
    });
    assert_eq!(answered.load(Ordering::Relaxed), total);

    for (number, package) in packages.iter().enumerate() {
        let status = site.json(&format!("status {package}"));
        let jobs = status["jobs"].as_array().expect("jobs");
        assert_eq!(jobs.len(), crowd.clients * crowd.computers, "a job for each computer that was answered");
        let jobs: BTreeMap<&str, &serde_json::Value> =
            jobs.iter().map(|job| (job["device_id"].as_str().expect("a device id"), job)).collect();
        for (client, computer) in (0..crowd.clients).flat_map(|a| (0..crowd.computers).map(move |b| (a, b))) {
            let (device, code) = (device(client, computer), code(client, computer, number));
            let job = jobs.get(&*device).unwrap_or_else(|| panic!("{device} is lost"));
            assert_eq!((job["code"].as_str(), job["state"].as_str()), (Some(&*code), Some("failed")), "{job}");
            assert!(job["offered_at"].is_string(), "the offer is lost: {job}");
        }
    }
    for client in (0..crowd.clients).step_by(7) {
        let device = device(client, crowd.computers - 1);
        let document = site.say(&format!("computer show {device} --inventory")).ok();
        assert_eq!(document.matches("<SOFTWARES>").count(), crowd.titles, "{device}");
    }
    served.stop();
    println!(
        "server: {total} messages of {} clients answered, killed {} times, {lost} answers lost and asked for again",
        crowd.clients, crowd.kills
    );
}

#[test]
fn an_agent_that_is_killed_anywhere_executes_at_most_once_and_its_status_is_right() {
    let site = Site::new();
    site.configure(SETTINGS);
    let served = site.serve();
    let once = |site: &Site, served: &Served| run(&mut site.agent(served, &["once"]));
    assert_eq!(once(&site, &served).code(), Some(0));
    let device = site.json("computer list")[0]["device_id"].as_str().expect("a computer").to_owned();

    // A package whose command says that it ran.
    let assigned = |name: &str| {
        let ran = site.root().join(format!("ran-{name}"));
        let script = format!("#!/bin/sh\necho ran >> '{}'\n", ran.display());
        let archive = tar_gz(&[("setup.sh", script.as_bytes()), ("data", &noise(100_000))]);
        let source = site.input("setup.tar.gz", archive);
        let line = "--version 1 --os linux --action launch --command setup.sh --priority 1 --fragment-size 48K";
        let id = site.say(&format!("package build {source} --name {name} {line}")).ok().trim().to_owned();
        site.say(&format!("activate {id} --no-check")).ok();
        site.say(&format!("assign {id} --computer {device}")).ok();
        (id, ran)
    };
    let runs = |ran: &Path| std::fs::read_to_string(ran).map_or(0, |text| text.lines().count());
    let outcome = |id: &str| {
        let job = site.json(&format!("status {id}"))["jobs"][0].clone();
        (job["state"].as_str().expect("a state").to_owned(), job["code"].as_str().unwrap_or("-").to_owned())
    };

    let log = site.root().join("log");
    let (id, ran) = assigned("whole");
    log_passes(&mut site.agent(&served, &["once"]), &log);
    assert_eq!((runs(&ran), outcome(&id)), (1, ("succeeded".to_owned(), "SUCCESS".to_owned())));
    let mut kinds = BTreeSet::new();
    let points: Vec<String> = passed(&log)
        .into_iter()
        .filter(|point| {
            // What was just spawned goes on without its agent: whether it is seen "before" is a matter of luck.
            point.starts_with("agent.")
                && !point.starts_with("agent.execute.spawned")
                && kinds.insert(point.rsplit_once(':').map(|(name, _)| name.to_owned()))
        })
        .collect();
    assert!(points.len() >= 10, "{points:?}");

    let mut story = String::new();
    for point in &points {
        let (id, ran) = assigned(&point.replace([':', '.'], "_"));
        killed_at(&mut site.agent(&served, &["once"]), point);
        let before = runs(&ran);
        let again = once(&site, &served);
        assert_eq!(again.code(), Some(0), "{point}: {again:?}");
        let (state, code) = outcome(&id);
        assert!(runs(&ran) <= 1, "{point}: it ran twice");
        assert_eq!(state == "succeeded", code == "SUCCESS", "{point}: {state} {code}");
        assert!(state != "succeeded" || runs(&ran) == 1, "{point}: {code}, but it did not run");
        let name = point.rsplit_once(':').map_or(&**point, |(name, _)| name);
        writeln!(story, "{name}: ran {before} + {}, {state} {code}", runs(&ran) - before).expect("a string");
    }
    served.stop();
    insta::assert_snapshot!(story, @r"
    agent.identity.kept: ran 0 + 1, succeeded SUCCESS
    agent.message.sending: ran 0 + 1, succeeded SUCCESS
    agent.message.answered: ran 0 + 1, succeeded SUCCESS
    agent.settings.stored: ran 0 + 1, succeeded SUCCESS
    agent.offer.created: ran 0 + 1, succeeded SUCCESS
    agent.offer.stored: ran 0 + 1, succeeded SUCCESS
    agent.info.asking: ran 0 + 1, succeeded SUCCESS
    agent.info.came: ran 0 + 1, succeeded SUCCESS
    agent.info.stored: ran 0 + 1, succeeded SUCCESS
    agent.task.stored: ran 0 + 1, succeeded SUCCESS
    agent.fragment.asking: ran 0 + 1, succeeded SUCCESS
    agent.fragment.written: ran 0 + 1, succeeded SUCCESS
    agent.fragment.synced: ran 0 + 1, succeeded SUCCESS
    agent.fragment.stored: ran 0 + 1, succeeded SUCCESS
    agent.fragment.listed: ran 0 + 1, succeeded SUCCESS
    agent.execute.assembling: ran 0 + 1, succeeded SUCCESS
    agent.execute.assembled: ran 0 + 1, succeeded SUCCESS
    agent.unpack.written: ran 0 + 1, succeeded SUCCESS
    agent.execute.unpacked: ran 0 + 1, succeeded SUCCESS
    agent.execute.journalled: ran 0 + 0, failed ERR_EXECUTE_INTERRUPTED
    agent.output.created: ran 1 + 0, failed ERR_EXECUTE_INTERRUPTED
    agent.output.written: ran 1 + 0, failed ERR_EXECUTE_INTERRUPTED
    agent.execute.ran: ran 1 + 0, failed ERR_EXECUTE_INTERRUPTED
    agent.result.stored: ran 1 + 0, succeeded SUCCESS
    agent.history.stored: ran 1 + 0, succeeded SUCCESS
    agent.report.sending: ran 1 + 0, succeeded SUCCESS
    agent.report.sent: ran 1 + 0, succeeded SUCCESS
    agent.forget.renamed: ran 1 + 0, succeeded SUCCESS
    agent.forget.removed: ran 1 + 0, succeeded SUCCESS
    ");
    println!("agent: killed at {} checkpoints end to end", points.len());
}
