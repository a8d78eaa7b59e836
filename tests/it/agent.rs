//! The agent against a server that plays OCS, on 127.0.0.1, in virtual time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dripfeed::agent::{Agent, AgentError, Ended, Machine, Status, Stop};
use dripfeed::config::agent::{AgentConfig, AgentOpts};
use dripfeed::fetch::{Client, ClientOptions, FetchError};
use dripfeed::model::limits::RequestLimits;
use dripfeed::model::settings::DownloadSettings;
use dripfeed::model::{
    Action, Days, DigestAlgorithm, FragmentCount, FragmentNumber, Hasher, Minutes, PackageId, Priority, UnixTime,
};
use dripfeed::protocol::envelope::{self, Container};
use dripfeed::protocol::{Decision, DownloadOption, Info, InventoryReply, Offer, PrologReply, Request, Scheme};
use dripfeed::tls::client::provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

#[path = "agent_crash.rs"]
mod crash;
#[path = "agent_keys.rs"]
mod keys;
#[path = "agent_people.rs"]
mod people;

const START: i64 = 1_795_164_551;

pub(crate) fn id(number: u32) -> PackageId {
    PackageId::new(number).expect("an id")
}

// ------------------------------------------------------------------------------------------------ the playing server

/// A request as it came.
#[derive(Default)]
pub(crate) struct Asked {
    method: String,
    pub(crate) path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    tls: bool,
}

/// What goes back.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Head and body; `Content-Length` is added.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Announces all of the body and sends this many bytes of it.
    Cut(Vec<u8>, usize),
    /// Sends without length and without end.
    Endless,
}

pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer::Full(200, Vec::new(), body.into())
}

pub(crate) fn status(code: u16) -> Answer {
    Answer::Full(code, Vec::new(), b"<html>no</html>".to_vec())
}

pub(crate) type Fault = Box<dyn FnMut(&Asked) -> Option<Answer> + Send>;

/// What a server that knows keys says of a message, in headers.
type Judge = Box<dyn FnMut(&Asked) -> Vec<(&'static str, String)> + Send>;

/// What the server offers, and what it was told.
pub(crate) struct World {
    settings: DownloadSettings,
    prolog_freq: u32,
    decision: Decision,
    offers: Vec<Offer>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Asked first; `None` lets the answer be the usual one.
    fault: Option<Fault>,
    /// Without one it is a stock server.
    judge: Option<Judge>,
    log: Vec<String>,
    reports: Vec<String>,
    inventories: Vec<String>,
    headers: Vec<BTreeMap<String, String>>,
}

pub(crate) struct Server {
    world: Arc<Mutex<World>>,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    over: Arc<AtomicBool>,
    ca: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the two that accept.
        drop((TcpStream::connect(self.http), TcpStream::connect(self.https)));
    }
}

pub(crate) struct Certified {
    pub(crate) ca_pem: String,
    pub(crate) config: Arc<ServerConfig>,
}

/// An authority and a certificate of its own.
pub(crate) fn certified(names: &[&str], expired: bool) -> Certified {
    let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).expect("parameters");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let ca_pem = ca.self_signed(&ca_key).expect("a root").pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut leaf = rcgen::CertificateParams::new(names).expect("parameters");
    if expired {
        leaf.not_before = rcgen::date_time_ymd(2019, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = leaf.signed_by(&key, &issuer).expect("a certificate");
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("a server");
    Certified { ca_pem, config: Arc::new(config) }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&certified(&["127.0.0.1"], false))
    }

    fn with(certified: &Certified) -> Self {
        let world = Arc::new(Mutex::new(World {
            settings: DownloadSettings {
                on: true,
                fragment_latency: 10,
                cycle_latency: 60,
                period_latency: 0,
                period_length: 10,
                timeout: Days(30),
                execution_timeout: Minutes(1),
            },
            prolog_freq: 24,
            decision: Decision::Stop,
            offers: Vec::new(),
            files: BTreeMap::new(),
            fault: None,
            judge: None,
            log: Vec::new(),
            reports: Vec::new(),
            inventories: Vec::new(),
            headers: Vec::new(),
        }));
        let over = Arc::new(AtomicBool::new(false));
        let listen = |tls: Option<Arc<ServerConfig>>| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            let (world, over) = (Arc::clone(&world), Arc::clone(&over));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let (Ok(stream), world, tls) = (stream, Arc::clone(&world), tls.clone()) else { return };
                    stream.set_nodelay(true).expect("a socket");
                    std::thread::spawn(move || {
                        // A client that goes away is its own business.
                        let _ = match tls {
                            None => serve(stream, &world, false),
                            Some(config) => ServerConnection::new(config)
                                .map_err(io::Error::other)
                                .and_then(|connection| serve(StreamOwned::new(connection, stream), &world, true)),
                        };
                    });
                }
            });
            address
        };
        let http = listen(None);
        let https = listen(Some(Arc::clone(&certified.config)));
        Self { world, http, https, over, ca: certified.ca_pem.clone() }
    }

    pub(crate) fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().expect("the world")
    }

    /// No pauses.
    pub(crate) fn hurry(&self) {
        let settings = &mut self.world().settings;
        settings.fragment_latency = 0;
        settings.cycle_latency = 0;
    }

    pub(crate) fn fault(&self, fault: impl FnMut(&Asked) -> Option<Answer> + Send + 'static) {
        self.world().fault = Some(Box::new(fault));
    }

    /// Publishes a package in fragments and offers it.
    pub(crate) fn publish(&self, number: u32, action: Action, archive: &[u8], fragments: usize) -> Info {
        let digest = |algorithm| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(archive);
            (fragments > 0).then(|| hasher.finish())
        };
        let info = Info {
            package: id(number),
            priority: Priority::from_number(5),
            action,
            fragments: FragmentCount(u32::try_from(fragments).expect("few")),
            digest: digest(DigestAlgorithm::Md5),
            scheme: Scheme::Http,
            notify: None,
            done: None,
            sha256: digest(DigestAlgorithm::Sha256),
            fragment_sha256: Vec::new(),
            exit_codes: dripfeed::model::ExitCodes::default(),
        };
        self.put_info(&info);
        if fragments > 0 {
            for (at, bytes) in archive.chunks(archive.len().div_ceil(fragments)).enumerate() {
                self.world().files.insert(format!("/download/{number}/{number}-{}", at + 1), bytes.to_vec());
            }
        }
        self.offer(number);
        info
    }

    pub(crate) fn put_info(&self, info: &Info) {
        self.world().files.insert(format!("/download/{0}/info", info.package), info.to_xml().into_bytes());
    }

    fn offer(&self, number: u32) {
        let offer = Offer {
            package: id(number),
            info_location: format!("{}/download", self.https).parse().expect("a location"),
            fragment_location: format!("{}/download", self.http).parse().expect("a location"),
            more_locations: Vec::new(),
            schedule: None,
            post_command: None,
            force: false,
        };
        self.world().offers.push(offer);
    }

    /// The last offer, changed.
    pub(crate) fn change_offer(&self, change: impl FnOnce(&mut Offer)) {
        change(self.world().offers.last_mut().expect("an offer"));
    }

    pub(crate) fn take_log(&self) -> String {
        std::mem::take(&mut self.world().log).join("\n")
    }

    pub(crate) fn reports(&self) -> Vec<String> {
        self.world().reports.clone()
    }
}

fn serve(mut stream: impl Read + Write, world: &Mutex<World>, tls: bool) -> io::Result<()> {
    loop {
        let Some(asked) = read_request(&mut stream, tls)? else { return Ok(()) };
        let answer = answer(&mut world.lock().expect("the world"), &asked);
        match answer {
            Answer::Full(code, headers, body) => {
                let mut head = format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    let _ = write!(head, "{name}: {value}\r\n");
                }
                let message = [format!("{head}\r\n").as_bytes(), &body].concat();
                stream.write_all(&message)?;
                stream.flush()?;
            }
            Answer::Cut(body, bytes) => {
                stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())?;
                stream.write_all(&body[..bytes])?;
                return stream.flush();
            }
            Answer::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                loop {
                    stream.write_all(&[b'x'; 8192])?;
                }
            }
        }
    }
}

fn read_request(stream: &mut impl Read, tls: bool) -> io::Result<Option<Asked>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
        if head == [0x16] {
            // A TLS handshake, at the door for plain text.
            return Ok(Some(Asked { path: "tls".to_owned(), method: "GET".to_owned(), ..Asked::default() }));
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap_or_default().to_owned(), first.next().unwrap_or_default().to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Asked { method, path, headers, body, tls }))
}

fn answer(world: &mut World, asked: &Asked) -> Answer {
    world.headers.push(asked.headers.clone());
    let scheme = if asked.tls { "https" } else { "http" };
    let mut fault = world.fault.take();
    let bad = fault.as_mut().and_then(|fault| fault(asked));
    world.fault = fault;
    if asked.method == "GET" {
        let range = asked.headers.get("range").map(|range| format!(" {range}")).unwrap_or_default();
        world.log.push(format!("GET {scheme} {}{range}", asked.path));
        if let Some(answer) = bad {
            return answer;
        }
        let Some(bytes) = world.files.get(&asked.path) else { return status(404) };
        let start: Option<usize> =
            asked.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        return match start {
            Some(start) if start < bytes.len() => {
                let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                Answer::Full(206, vec![("Content-Range", range)], bytes[start..].to_vec())
            }
            Some(_) => status(416),
            None => ok(bytes.clone()),
        };
    }
    let mut said = world.judge.as_mut().map(|judge| judge(asked)).unwrap_or_default();
    if let Some((_, word)) = said.iter().find(|(_, word)| word == "refused" || word == "clock") {
        world.log.push(format!("403 {word}"));
        return Answer::Full(403, said, b"no".to_vec());
    }
    let (_, document) = envelope::open(&asked.body, 1 << 20).expect("a container");
    let text = String::from_utf8_lossy(&document).into_owned();
    let reply = match Request::parse(&document, &RequestLimits::DEFAULT).expect("a request") {
        Request::Prolog(_) => {
            world.log.push(format!("PROLOG {scheme}"));
            let option = DownloadOption { settings: world.settings, offers: world.offers.clone() };
            PrologReply {
                decision: world.decision.clone(),
                prolog_freq: Some(world.prolog_freq),
                inventory_on_startup: Some(true),
                registry: Vec::new(),
                ip_discover: None,
                download: Some(option),
            }
            .to_xml()
        }
        Request::Inventory(_) => {
            world.log.push(format!("INVENTORY {scheme}"));
            if bad.is_none() {
                world.inventories.push(text);
            }
            InventoryReply::NoAccountUpdate.to_xml()
        }
        Request::Download(report) => {
            world.log.push(format!("REPORT {} {}", report.package.expect("a package"), report.code));
            if bad.is_none() {
                world.reports.push(format!("{} {}", report.package.expect("a package"), report.code));
                world.offers.retain(|offer| Some(offer.package) != report.package);
            }
            String::new()
        }
        other => panic!("the agent said {other:?}"),
    };
    bad.unwrap_or_else(|| {
        let body = if reply.is_empty() { Vec::new() } else { envelope::seal(Container::Zlib, &reply) };
        Answer::Full(200, std::mem::take(&mut said), body)
    })
}

// --------------------------------------------------------------------------------------------------- the agent's side

/// Time goes by only where the agent waits.
pub(crate) struct Virtual {
    now: Cell<UnixTime>,
    pub(crate) stop: Stop,
    /// Stops the agent when that moment has come.
    pub(crate) ends: Cell<Option<UnixTime>>,
    room: Arc<AtomicU64>,
    waits: Cell<u32>,
}

impl Virtual {
    pub(crate) fn new() -> Self {
        Self {
            now: Cell::new(UnixTime::from_seconds(START)),
            stop: Stop::new(),
            ends: Cell::new(None),
            room: Arc::new(AtomicU64::new(u64::MAX)),
            waits: Cell::new(0),
        }
    }

    pub(crate) fn elapsed(&self) -> i64 {
        self.now.get().seconds() - START
    }
}

impl Machine for Virtual {
    fn now(&self) -> UnixTime {
        self.now.get()
    }

    fn wait(&self, until: UnixTime) {
        self.waits.set(self.waits.get() + 1);
        assert!(self.waits.get() < 100_000, "the agent waits for ever");
        self.now.set(until.max(self.now.get()));
        if self.ends.get().is_some_and(|end| self.now.get() >= end) {
            self.stop.stop();
        }
    }

    fn random(&self, below: Duration) -> Duration {
        below
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.room.load(Ordering::Relaxed))
    }

    fn host_name(&self) -> String {
        "ws042.example.net".to_owned()
    }
}

pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) machine: Virtual,
    pub(crate) home: TempDir,
    pub(crate) config: AgentConfig,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Server::start())
    }

    pub(crate) fn with(server: Server) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let ca = home.path().join("ca.pem");
        put(&ca, server.ca.as_bytes());
        let config = AgentOpts {
            server: Some(format!("https://{}/ocsinventory", server.https)),
            ca: Some(ca),
            data_dir: Some(home.path().join("data")),
            ..AgentOpts::default()
        };
        Self { server, machine: Virtual::new(), config: config.check().expect("a configuration"), home }
    }

    pub(crate) fn agent(&self) -> Agent<'_> {
        Agent::new(&self.config, &self.machine, self.machine.stop.clone()).expect("an agent")
    }

    pub(crate) fn once(&self) -> Result<Ended, AgentError> {
        self.agent().once()
    }

    fn package(&self, number: u32) -> PathBuf {
        self.config.state_dir.join("download").join(number.to_string())
    }

    pub(crate) fn history(&self) -> String {
        fs::read_to_string(self.config.state_dir.join("download/history")).unwrap_or_default()
    }

    /// Addresses and ports by name.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&self.server.https.to_string(), "SECURE")
            .replace(&self.server.http.to_string(), "CLEAR")
            .replace(&self.home.path().display().to_string(), "HOME")
    }

    pub(crate) fn sentence(&self, error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let _ = write!(text, ": {inner}");
            source = inner.source();
        }
        self.plain(&text)
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own files need not be durable")]
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("written");
}

/// A tar.gz of regular files.
pub(crate) fn tar_gz(files: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_cksum();
        builder.append_data(&mut header, path, content.as_bytes()).expect("an entry");
    }
    builder.into_inner().expect("a tar").finish().expect("a gzip")
}

pub(crate) fn execute(command: &str) -> Action {
    Action::Execute { command: command.to_owned() }
}

// -------------------------------------------------------------------------------------------------------- whole stories

#[test]
fn a_package_goes_its_whole_way_at_the_pace_of_the_worked_example() {
    let bench = Bench::new();
    bench.server.publish(1_709_630_000, execute("true"), &tar_gz(&[("readme", 0o644, "hello")]), 3);
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    insta::assert_snapshot!(bench.server.take_log(), @r"
    PROLOG https
    GET https /download/1709630000/info
    GET http /download/1709630000/1709630000-1
    GET http /download/1709630000/1709630000-2
    GET http /download/1709630000/1709630000-3
    REPORT 1709630000 SUCCESS
    ");
    // ocs-protocol 7.4: execution at 1170 s.
    assert_eq!(bench.machine.elapsed(), 1170);
    assert_eq!(bench.history(), "1709630000\n");
    assert!(!bench.package(1_709_630_000).exists());
    let agents: Vec<_> = bench.server.world().headers.iter().map(|headers| headers["user-agent"].clone()).collect();
    assert!(agents.iter().all(|agent| agent == dripfeed::agent::USER_AGENT), "{agents:?}");
    assert!(bench.server.world().headers.iter().all(|headers| !headers.keys().any(|name| name.starts_with("if-"))));
}

#[test]
fn launch_and_store_do_what_they_say() {
    let bench = Bench::new();
    bench.server.hurry();
    let target = bench.home.path().join("opt/tool");
    let script = format!("#!/bin/sh\necho \"$1\" > {}/launched\nexit 3\n", bench.home.path().display());
    let launch = Action::Launch { command: "setup.sh hello".to_owned() };
    bench.server.publish(11, launch, &tar_gz(&[("setup.sh", 0o755, &script)]), 2);
    let store = Action::Store { path: target.display().to_string() };
    bench.server.publish(12, store, &tar_gz(&[("bin/tool", 0o755, "tool"), (".hidden", 0o600, "x")]), 2);
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.reports(), ["11 ERR_EXIT_CODE_3", "12 SUCCESS"]);
    assert_eq!(fs::read_to_string(bench.home.path().join("launched")).expect("run"), "hello\n");
    assert_eq!(fs::read_to_string(target.join("bin/tool")).expect("stored"), "tool");
    assert_eq!(fs::read_to_string(target.join(".hidden")).expect("stored"), "x");
    assert_eq!(bench.history(), "12\n");
}

#[test]
fn what_was_done_before_is_said_and_not_done_again_unless_forced() {
    let bench = Bench::new();
    let mark = bench.home.path().join("mark");
    let command = execute(&format!("echo x >> {}", mark.display()));
    bench.server.publish(7, command.clone(), b"", 0);
    bench.once().expect("a run");
    bench.server.publish(7, command.clone(), b"", 0);
    bench.once().expect("a run");
    bench.server.publish(7, command, b"", 0);
    bench.server.change_offer(|offer| offer.force = true);
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS", "7 SUCCESS_ALREADY_SETUP", "7 SUCCESS"]);
    assert_eq!(fs::read_to_string(mark).expect("the mark"), "x\nx\n");
    assert_eq!(bench.history(), "7\n");
}

#[test]
fn an_inventory_is_sent_when_asked_for_with_tag_and_history() {
    let mut bench = Bench::new();
    bench.server.world().decision = Decision::Send;
    bench.config.tag = Some("PARIS".to_owned());
    bench.server.publish(7, execute("true"), b"", 0);
    bench.once().expect("a run");
    bench.once().expect("a run");
    let inventories = bench.server.world().inventories.clone();
    assert_eq!(inventories.len(), 2);
    assert!(inventories[0].contains("<KEYVALUE>PARIS</KEYVALUE>"), "{}", inventories[0]);
    assert!(!inventories[0].contains("PACKAGE ID"), "{}", inventories[0]);
    assert!(inventories[1].contains("<PACKAGE ID=\"7\""), "{}", inventories[1]);
    // Of what changes by itself there is the free space only.
    let checksum = |inventory: &str| {
        let (_, from) = inventory.split_once("<CHECKSUM>").expect("a checksum");
        from.split_once('<').and_then(|(number, _)| number.parse::<u64>().ok()).expect("a number")
    };
    assert_eq!(checksum(&inventories[0]) & 0x4_0003, 0x4_0003);
    assert_eq!(checksum(&inventories[1]) & 0x4_0003, 0, "HARDWARE, BIOS and CPUS were taken and are the same");
}

#[test]
fn an_inventory_that_is_refused_fails_the_contact_but_not_the_packages() {
    let bench = Bench::new();
    bench.server.world().decision = Decision::Send;
    bench.server.publish(7, execute("true"), b"", 0);
    let mut posts = 0;
    bench.server.fault(move |asked| {
        posts += u32::from(asked.method == "POST");
        (asked.method == "POST" && posts == 2).then(|| status(403))
    });
    let error = bench.once().expect_err("no inventory");
    insta::assert_snapshot!(bench.sentence(&error), @"no contact: https://SECURE/ocsinventory was answered 403: forbidden");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn run_makes_contact_as_often_as_the_server_says_and_works_in_between() {
    let bench = Bench::new();
    bench.server.world().prolog_freq = 1;
    bench.server.publish(7, execute("true"), b"", 0);
    bench.machine.ends.set(Some(UnixTime::from_seconds(START + 3 * 3600 + 60)));
    assert_eq!(bench.agent().run().expect("a run"), Ended::Stopped);
    let log = bench.server.take_log();
    assert_eq!(log.matches("PROLOG").count(), 4, "{log}");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn run_backs_off_while_the_server_is_away_and_comes_back() {
    let bench = Bench::new();
    let mut prologs = 0;
    bench.server.fault(move |_| {
        prologs += 1;
        (prologs <= 3).then(|| status(503))
    });
    bench.machine.ends.set(Some(UnixTime::from_seconds(START + 600)));
    assert_eq!(bench.agent().run().expect("a run"), Ended::Stopped);
    let log = bench.server.take_log();
    // At once, after 60, 120 and 240 seconds: the fourth is answered.
    assert_eq!(log.matches("PROLOG").count(), 4, "{log}");
    let status = Status::read(&bench.config).expect("a status");
    assert!(status.last_contact.is_some() && status.last_error.is_none(), "{status:?}");
}

#[test]
fn a_scheduled_package_is_fetched_now_and_executed_then() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "a")]), 1);
    let zone = jiff::tz::TimeZone::system();
    let then = jiff::Timestamp::from_second(START + 6 * 3600).expect("a time").to_zoned(zone);
    let text = then.strftime("%Y/%m/%d %H:%M").to_string();
    bench.server.change_offer(|offer| offer.schedule = Some(text.parse().expect("a schedule")));
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert!((6 * 3600 - 60..6 * 3600 + 900).contains(&bench.machine.elapsed()), "{}", bench.machine.elapsed());
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn once_does_not_wait_past_the_next_contact() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "a")]), 1);
    bench.server.change_offer(|offer| offer.schedule = Some("2031/06/30 02:15".parse().expect("a schedule")));
    assert_eq!(bench.once().expect("a run"), Ended::UntilNextContact);
    let status = Status::read(&bench.config).expect("a status");
    assert_eq!(status.packages.len(), 1);
    assert_eq!((status.packages[0].stage, status.packages[0].present), ("to be executed", 1));
    assert_eq!(status.packages[0].schedule.as_deref(), Some("2031/06/30 02:15"));
}

#[test]
fn deployment_switched_off_leaves_everything_where_it_is() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), b"", 0);
    bench.server.world().settings.on = false;
    bench.server.world().decision = Decision::Stop;
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.reports(), [""; 0]);
    bench.server.world().settings.on = true;
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

// ------------------------------------------------------------------------------------------------------------- failures

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_was() {
    let bench = Bench::new();
    let archive = tar_gz(&[("a", 0o644, &"0123456789".repeat(20))]);
    bench.server.publish(7, execute("true"), &archive, 2);
    let second = bench.server.world().files["/download/7/7-2"].clone();
    let mut cuts = 0;
    bench.server.fault(move |asked| {
        (asked.path.ends_with("7-2") && cuts < 1).then(|| {
            cuts += 1;
            Answer::Cut(second.clone(), 10)
        })
    });
    bench.once().expect("a run");
    let log = bench.server.take_log();
    assert!(log.contains("GET http /download/7/7-2\nGET http /download/7/7-2 bytes=10-\n"), "{log}");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn a_source_without_ranges_sends_the_whole_again() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    let bytes = bench.server.world().files["/download/7/7-1"].clone();
    let mut asked_for = 0;
    bench.server.fault(move |asked| {
        if !asked.path.ends_with("7-1") {
            return None;
        }
        asked_for += 1;
        Some(if asked_for == 1 { Answer::Cut(bytes.clone(), 5) } else { ok(bytes.clone()) })
    });
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn a_beginning_that_is_longer_than_the_file_is_thrown_away() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    let bytes = bench.server.world().files["/download/7/7-1"].clone();
    let mut asked_for = 0;
    bench.server.fault(move |asked| {
        asked_for += u32::from(asked.path.ends_with("7-1"));
        let longer = [bytes.clone(), vec![0; 50]].concat();
        (asked.path.ends_with("7-1") && asked_for == 1).then(|| Answer::Cut(longer, bytes.len() + 20))
    });
    bench.once().expect("a run");
    assert!(bench.server.take_log().contains("bytes="), "a continuation was tried");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn a_missing_or_failing_fragment_is_asked_for_again_in_a_later_turn() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    let mut answers = vec![503, 404, 500, 404];
    bench.server.fault(move |asked| if asked.path.ends_with("7-1") { answers.pop().map(status) } else { None });
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn a_wrong_digest_is_never_executed() {
    let bench = Bench::new();
    let mark = bench.home.path().join("mark");
    bench.server.publish(7, execute(&format!("touch {}", mark.display())), &tar_gz(&[("a", 0o644, "hello")]), 2);
    bench.server.world().files.get_mut("/download/7/7-2").expect("a fragment")[0] ^= 1;
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_BAD_DIGEST"]);
    assert!(!mark.exists());
    assert_eq!(bench.history(), "");
}

/// The info file of a package says what each fragment is.
fn say_each_digest(bench: &Bench, mut info: Info) {
    let package = info.package;
    let sha256 = |number: FragmentNumber| {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        hasher.update(&bench.server.world().files[&format!("/download/{package}/{package}-{number}")]);
        hasher.finish()
    };
    info.fragment_sha256 = info.fragments.numbers().map(sha256).collect();
    bench.server.put_info(&info);
}

#[test]
fn a_fragment_that_is_damaged_on_its_way_is_fetched_again_and_no_other() {
    let bench = Bench::new();
    let info = bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 3);
    say_each_digest(&bench, info);
    let mut spoilt = false;
    bench.server.fault(move |asked| {
        let first = asked.path.ends_with("7-2") && !std::mem::replace(&mut spoilt, true);
        first.then(|| ok(b"not what was built"))
    });
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    let log = bench.server.take_log();
    let count = |name: &str| log.lines().filter(|line| line.contains(name)).count();
    assert_eq!((count("/7-1"), count("/7-2"), count("/7-3")), (1, 2, 1), "{log}");
}

#[test]
fn info_files_that_cannot_be_carried_out_get_their_codes() {
    let bench = Bench::new();
    let bad = |number: u32, text: &str| {
        bench.server.offer(number);
        bench.server.world().files.insert(format!("/download/{number}/info"), text.as_bytes().to_vec());
    };
    bad(1, r#"<DOWNLOAD ID="2" PRI="5" ACT="EXECUTE" FRAGS="0" COMMAND="true" />"#);
    bad(2, r#"<DOWNLOAD ID="2" PRI="5" ACT="DANCE" FRAGS="0" COMMAND="true" />"#);
    bad(3, r#"<DOWNLOAD ID="3" PRI="5" ACT="EXECUTE" FRAGS="0" COMMAND="" />"#);
    bad(
        4,
        r#"<DOWNLOAD ID="4" PRI="5" ACT="EXECUTE" FRAGS="1" COMMAND="x" DIGEST="zz" DIGEST_ALGO="MD5" DIGEST_ENCODE="Hexa" />"#,
    );
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["1 ERR_BAD_ID", "2 ERR_BAD_PARAM", "3 ERR_BAD_PARAM", "4 ERR_BAD_DIGEST"]);
}

#[test]
fn an_info_file_may_fail_some_contacts_before_it_is_reported() {
    let bench = Bench::new();
    bench.server.offer(7);
    for contact in 1..=2 {
        assert_eq!(bench.once().expect("a run"), Ended::Idle, "contact {contact}");
        assert_eq!(bench.server.reports(), [""; 0], "contact {contact}");
    }
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_DOWNLOAD_INFO"]);
}

#[test]
fn too_little_room_is_found_out_before_anything_is_unpacked() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    let room = Arc::clone(&bench.machine.room);
    bench.server.fault(move |asked| {
        if asked.path.ends_with("7-1") {
            room.store(100, Ordering::Relaxed);
        }
        None
    });
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_OUT_OF_SPACE"]);
}

#[test]
fn a_result_that_the_server_does_not_take_is_kept_and_sent_first_next_time() {
    let bench = Bench::new();
    bench.server.publish(7, execute("exit 3"), b"", 0);
    let mut is_away = true;
    bench.server.fault(move |asked| {
        let is_report = envelope::open(&asked.body, 1 << 20).is_ok_and(|(_, xml)| xml.windows(4).any(|w| w == b"ERR="));
        (is_report && std::mem::take(&mut is_away)).then(|| status(503))
    });
    assert_eq!(bench.once().expect("a run"), Ended::ResultsKept);
    assert_eq!(fs::read_to_string(bench.package(7).join("done")).expect("kept"), "ERR_EXIT_CODE_3\n");
    bench.server.take_log();
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.take_log(), "REPORT 7 ERR_EXIT_CODE_3\nPROLOG https");
    assert!(!bench.package(7).exists());
}

#[test]
fn an_execution_that_was_cut_is_told_and_not_repeated() {
    let bench = Bench::new();
    let mark = bench.home.path().join("mark");
    bench.server.publish(7, execute(&format!("touch {}", mark.display())), b"", 0);
    bench.server.world().settings.on = false;
    bench.once().expect("the offers are known");
    bench.server.world().settings.on = true;
    bench.server.change_offer(|_| {});
    fs::create_dir_all(bench.package(7)).expect("a directory");
    put(&bench.package(7).join("started"), b"1795164551");
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_EXECUTE_INTERRUPTED"]);
    assert!(!mark.exists());
}

#[test]
fn a_post_command_runs_once_after_the_report() {
    let bench = Bench::new();
    let mark = bench.home.path().join("mark");
    bench.server.publish(7, execute("exit 1"), b"", 0);
    let command = format!("echo post >> {}", mark.display());
    bench.server.change_offer(|offer| offer.post_command = Some(command.parse().expect("a command")));
    let mut reports = 0;
    bench.server.fault(move |asked| {
        let is_report = envelope::open(&asked.body, 1 << 20).is_ok_and(|(_, xml)| xml.windows(4).any(|w| w == b"ERR="));
        reports += u32::from(is_report);
        (is_report && reports == 1).then(|| status(503))
    });
    bench.once().expect("a run");
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_EXIT_CODE_1"]);
    assert_eq!(fs::read_to_string(mark).expect("run"), "post\n");
}

#[test]
fn a_result_that_no_disk_takes_is_told_from_memory_and_nothing_is_done_twice() {
    let bench = Bench::new();
    let mark = bench.home.path().join("mark");
    // A file where the package's directory was: not even root can write below it.
    let spoil = "cd ../.. && mv 7 elsewhere && : >7";
    bench.server.publish(7, execute(&format!("echo executed >> {}; {spoil}", mark.display())), b"", 0);
    let post = format!("echo post >> {}", mark.display());
    bench.server.change_offer(|offer| offer.post_command = Some(post.parse().expect("a command")));
    let mut is_away = true;
    bench.server.fault(move |asked| {
        let is_report = envelope::open(&asked.body, 1 << 20).is_ok_and(|(_, xml)| xml.windows(4).any(|w| w == b"ERR="));
        (is_report && std::mem::take(&mut is_away)).then(|| status(503))
    });
    bench.machine.ends.set(Some(UnixTime::from_seconds(START + 3600)));
    assert_eq!(bench.agent().run().expect("a run"), Ended::Stopped);
    assert_eq!(bench.server.reports(), ["7 ERR_DONE_FAILED"], "refused once, and told again");
    assert_eq!(fs::read_to_string(mark).expect("executed"), "executed\n", "once, and without a post-command");
    assert_eq!(bench.history(), "");
}

#[test]
fn a_result_that_cannot_be_read_again_is_told_as_that() {
    let bench = Bench::new();
    bench.server.publish(7, execute("mkdir -p ../done/x"), b"", 0);
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 ERR_DONE_FAILED"]);
    assert!(!bench.package(7).exists());
}

// --------------------------------------------------------------------------------------------- transport, with sentences

#[test]
fn every_transport_failure_has_its_sentence() {
    let mut sentences = Vec::new();
    let mut tell = |what: &str, bench: &Bench| {
        let error = bench.once().expect_err(what);
        sentences.push(format!("{what}: {}", bench.sentence(&error)));
    };

    let bench = Bench::new();
    put(&bench.home.path().join("ca.pem"), certified(&["127.0.0.1"], false).ca_pem.as_bytes());
    tell("wrong CA", &bench);

    tell("wrong name", &Bench::with(Server::with(&certified(&["ocs.example.net"], false))));
    tell("expired", &Bench::with(Server::with(&certified(&["127.0.0.1"], true))));

    let mut bench = Bench::new();
    bench.config.ca = None;
    tell("no CA", &bench);

    let mut bench = Bench::new();
    bench.config.server = format!("https://{}/ocsinventory", bench.server.http);
    tell("TLS where there is none", &bench);

    let mut bench = Bench::new();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    bench.config.server = format!("http://{free}/ocsinventory");
    let error = bench.once().expect_err("nobody there");
    sentences.push(format!("refused: {}", bench.sentence(&error).replace(&free.to_string(), "CLOSED")));

    let mut bench = Bench::new();
    // A label of 64 letters is refused without asking any server.
    let host = "x".repeat(64);
    bench.config.server = format!("http://{host}.invalid/ocsinventory");
    let error = bench.once().expect_err("no such host");
    sentences.push(format!("no such name: {}", bench.sentence(&error).replace(&host, "NAME")));

    let mut tell = |what: &str, answer: Answer| {
        let bench = Bench::new();
        bench.server.fault(move |_| Some(answer.clone()));
        let error = bench.once().expect_err(what);
        sentences.push(format!("{what}: {}", bench.sentence(&error)));
    };
    tell("redirect", Answer::Full(302, vec![("Location", "https://elsewhere/".to_owned())], Vec::new()));
    tell("400", status(400));
    tell("500", status(500));
    tell("endless", Answer::Endless);
    tell("short", Answer::Cut(vec![b'x'; 100], 40));
    tell("empty", ok(""));
    tell("a web page", ok("<html><body>Welcome</body></html>"));
    tell("garbage", ok(vec![0x78, 0x9c, 1, 2, 3, 4]));

    insta::assert_snapshot!(sentences.join("\n"), @r#"
    wrong CA: no contact: the certificate of SECURE was not signed by HOME/ca.pem: copy the right server's certs/ca.pem there, or somebody stands in between
    wrong name: no contact: the certificate of SECURE is not for that name but for ocs.example.net: use a name that it carries, or renew it
    expired: no contact: the certificate of SECURE has expired: renew it, or set this computer's clock right
    no CA: no contact: https://SECURE/ocsinventory needs a CA file to check the server against: copy the server's certs/ca.pem to HOME/data/https:__SECURE_ocsinventory/cacert.pem or name it with --ca
    TLS where there is none: no contact: no secure connection to CLEAR: what answers there does not speak TLS: is that the http port?
    refused: no contact: nothing answers at CLOSED (connection refused): is the server running, and is the port right?
    no such name: no contact: the name "NAME.invalid" is not known: check the address, or the computer's DNS
    redirect: no contact: https://SECURE/ocsinventory was answered 302, elsewhere: https://elsewhere/; redirects are not followed here, so use that address itself
    400: no contact: https://SECURE/ocsinventory was answered 400: the server took the request for malformed, or does not know this agent's version
    500: no contact: https://SECURE/ocsinventory was answered 500: the server is in trouble, later again
    endless: no contact: the answer of https://SECURE/ocsinventory is larger than 8 MiB
    short: no contact: the answer of https://SECURE/ocsinventory broke off after 40 bytes: Peer disconnected
    empty: no contact: the answer of https://SECURE/ocsinventory cannot be opened; is that address an OCS or dripfeed server?: the request is empty
    a web page: no contact: the answer of https://SECURE/ocsinventory cannot be read: the answer is not an OCS reply: its root is "html"
    garbage: no contact: the answer of https://SECURE/ocsinventory cannot be opened; is that address an OCS or dripfeed server?: the compressed body is damaged
    "#);
}

#[test]
fn an_info_file_is_not_fetched_from_elsewhere_but_a_fragment_is() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    let moved = format!("http://{}/mirror/7-1", bench.server.http);
    let bytes = bench.server.world().files["/download/7/7-1"].clone();
    bench.server.world().files.insert("/mirror/7-1".to_owned(), bytes);
    bench.server.fault(move |asked| {
        asked.path.ends_with("/7/7-1").then(|| Answer::Full(302, vec![("Location", moved.clone())], Vec::new()))
    });
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);

    let client = Client::new(&ClientOptions { ca_file: bench.config.ca.clone(), ..ClientOptions::default() });
    bench.server.fault(|_| Some(Answer::Full(301, vec![("Location", "https://evil/".to_owned())], Vec::new())));
    let url = format!("https://{}/download/7/info", bench.server.https).parse().expect("an address");
    let error = client.expect("a client").get(&url, 100).expect_err("a redirect");
    assert!(matches!(error, FetchError::Redirect { status: 301, .. }), "{error}");
}

#[test]
fn a_fragment_without_end_is_cut_and_takes_no_room() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    bench.machine.room.store((64 << 20) + 300_000, Ordering::Relaxed);
    let mut endless = 1;
    bench.server.fault(move |asked| {
        (asked.path.ends_with("7-1") && endless > 0).then(|| {
            endless -= 1;
            Answer::Endless
        })
    });
    bench.once().expect("a run");
    assert!(!bench.server.take_log().contains("bytes="), "nothing of it was kept");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

// ------------------------------------------------------------------------------------------------- directories, commands

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            put(&target, &fs::read(entry.path()).expect("a file"));
        }
    }
}

#[test]
fn a_stock_agents_directory_is_taken_over_where_it_was_killed() {
    struct Lab(Virtual);
    impl Machine for Lab {
        fn now(&self) -> UnixTime {
            self.0.now()
        }
        fn wait(&self, until: UnixTime) {
            self.0.wait(until);
        }
        fn random(&self, below: Duration) -> Duration {
            below
        }
        fn free_space(&self, _path: &Path) -> io::Result<u64> {
            Ok(u64::MAX)
        }
        fn host_name(&self) -> String {
            "labhost".to_owned()
        }
    }
    let bench = Bench::new();
    let stock = bench.home.path().join("stock");
    copy_tree(Path::new("tests/wire/agent-state"), &stock);
    for number in 1..=3 {
        put(&stock.join(format!("download/1795164550/1795164550-{number}")), b"came before");
    }
    for number in 1..=6 {
        let path = format!("/download/1795164550/1795164550-{number}");
        bench.server.world().files.insert(path, b"comes now".to_vec());
    }
    bench.server.offer(1_795_164_550);
    let mut opts =
        AgentOpts { server: Some(bench.config.server.clone()), ca: bench.config.ca.clone(), ..AgentOpts::default() };
    opts.data_dir = Some(stock.clone());
    let config = opts.check().expect("a configuration");
    assert!(!stock.join("identity.key").exists());
    let before = Status::read(&config).expect("a status");
    assert_eq!(before.device_id.as_deref(), Some("labhost-2026-11-20-08-49-11"));
    assert_eq!(
        (before.packages[0].stage, before.packages[0].present, before.packages[0].fragments),
        ("downloading", 3, 6)
    );

    let machine = Lab(Virtual::new());
    let agent = Agent::new(&config, &machine, Stop::new()).expect("an agent");
    agent.once().expect("a run");
    assert!(stock.join("identity.key").exists());
    // The captured digest is not of these bytes; what matters is what was asked for.
    insta::assert_snapshot!(bench.server.take_log(), @r"
    PROLOG https
    GET http /download/1795164550/1795164550-4
    GET http /download/1795164550/1795164550-5
    GET http /download/1795164550/1795164550-6
    REPORT 1795164550 ERR_BAD_DIGEST
    ");
}

#[test]
fn a_second_agent_is_told_who_is_there() {
    let bench = Bench::new();
    bench.once().expect("a run");
    let lock =
        dripfeed::disk::lock::LockFile::acquire(&bench.config.state_dir.join("download/lock")).expect("the lock");
    let error = bench.once().expect_err("the lock is held");
    let sentence = bench.sentence(&error);
    assert!(sentence.contains("another agent works on HOME"), "{sentence}");
    assert!(sentence.contains(&std::process::id().to_string()), "{sentence}");
    drop(lock);
    bench.once().expect("the lock is free");
}

#[test]
fn nobody_else_may_look_into_the_work_directory() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 1);
    bench.server.change_offer(|offer| offer.schedule = Some("2031/06/30 02:15".parse().expect("a schedule")));
    bench.once().expect("a run");
    let mut seen = 0;
    let mut look = vec![bench.config.state_dir.clone()];
    while let Some(path) = look.pop() {
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        // The lock holds a process number only, and is in a closed directory.
        let mode = if path.ends_with("lock") { 0 } else { metadata.permissions().mode() & 0o077 };
        assert_eq!(mode, 0, "{} is open to others", path.display());
        seen += 1;
        if metadata.is_dir() {
            look.extend(fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
        }
    }
    assert!(seen >= 10, "only {seen} files");
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dripfeed-agent"))
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .output()
        .expect("the program")
}

#[test]
fn the_program_says_what_is_wrong_and_exits_accordingly() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().display().to_string();
    let told = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = text.lines().last().unwrap_or_default().replace(&data, "HOME");
        (output.status.code(), last)
    };
    let output = program(&["once", "--data-dir", &data]);
    assert_eq!(told(&output).0, Some(2));
    assert!(told(&output).1.starts_with("dripfeed-agent: no server is named"), "{:?}", told(&output));
    let output = program(&["once", "--data-dir", &data, "--server", "ftp://x"]);
    assert_eq!(told(&output).0, Some(2));
    let output = program(&["dance"]);
    assert_eq!(told(&output).0, Some(2));
    let output = program(&["once", "--data-dir", &data, "--server", "https://127.0.0.1:1/x", "--ca", "/nonexistent"]);
    assert_eq!(told(&output).0, Some(2), "{:?}", told(&output));
    let output = program(&["once", "--data-dir", &data, "--server", "http://127.0.0.1:1/ocsinventory"]);
    let (code, sentence) = told(&output);
    assert_eq!(code, Some(1));
    assert!(sentence.contains("nothing answers at 127.0.0.1:1"), "{sentence}");
    let output = program(&["status", "--json", "--data-dir", &data, "--server", "http://127.0.0.1:1/ocsinventory"]);
    assert_eq!(output.status.code(), Some(0));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(status["last_error"].as_str().is_some_and(|error| error.contains("nothing answers")), "{status}");
    assert!(status["device_id"].is_string() && status["packages"].as_array().is_some_and(Vec::is_empty), "{status}");
    assert_eq!(program(&["--help"]).status.code(), Some(0));
}

#[test]
fn the_program_does_a_package_over_tls_in_real_time() {
    let bench = Bench::new();
    bench.server.hurry();
    let mark = bench.home.path().join("mark");
    bench.server.publish(7, execute(&format!("touch {}", mark.display())), &tar_gz(&[("a", 0o644, "hello")]), 3);
    let ca = bench.config.ca.as_ref().expect("a CA").display().to_string();
    let data = bench.home.path().join("data").display().to_string();
    let output = program(&["once", "--server", &bench.config.server, "--ca", &ca, "--data-dir", &data]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    assert!(mark.exists());
    assert!(log.contains("stored fragment 3 of 3 of package 7"), "{log}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_service_ends_cleanly_when_it_is_told_to() {
    let bench = Bench::new();
    let ca = bench.config.ca.as_ref().expect("a CA").display().to_string();
    let data = bench.home.path().join("data").display().to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_dripfeed-agent"))
        .args(["-q", "run", "--server", &bench.config.server, "--ca", &ca, "--data-dir", &data])
        .spawn()
        .expect("the program");
    while bench.server.world().log.is_empty() {
        assert!(child.try_wait().expect("a state").is_none(), "it ended before its first contact");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("told to read its configuration");
    while bench.server.world().log.len() < 2 {
        assert!(child.try_wait().expect("a state").is_none(), "it ended instead of reading its configuration");
        std::thread::yield_now();
    }
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told to stop");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}
