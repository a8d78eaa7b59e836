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

mod crash;
mod disk;
mod failures;
mod keys;
mod people;
mod program;
mod stories;
mod transport;

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

    /// The program itself, once and in real time, with switches of debug builds in its environment.
    fn program_once(&self, data: &Path, switches: &[(&str, &str)]) -> Output {
        let ca = self.config.ca.as_ref().expect("a CA").display().to_string();
        // Without the core file that an abort may leave.
        Command::new("/bin/sh")
            .args(["-c", "ulimit -c 0; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_dripfeed-agent")])
            .args(["-q", "once", "--server", &self.config.server, "--ca", &ca, "--data-dir"])
            .arg(data)
            .envs(switches.iter().copied())
            .output()
            .expect("the program")
    }

    /// What the program logs, once and in real time, with these variables in its environment.
    fn logged(&self, environment: &[(&str, &str)]) -> String {
        let ca = self.config.ca.as_ref().expect("a CA").display().to_string();
        let data = self.home.path().join("data").display().to_string();
        let output = Command::new(env!("CARGO_BIN_EXE_dripfeed-agent"))
            .args(["once", "--server", &self.config.server, "--ca", &ca, "--data-dir", &data])
            .env_clear()
            .env("HOME", "/nonexistent")
            .envs(environment.iter().copied())
            .output()
            .expect("the program");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        log
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

/// The program with nothing around it.
fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dripfeed-agent"))
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .output()
        .expect("the program")
}

pub(crate) fn execute(command: &str) -> Action {
    Action::Execute { command: command.to_owned() }
}
