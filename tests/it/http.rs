//! The listeners as a client sees them: raw sockets, so that every byte is ours.
//!
//! Clients wait for bytes or for the end of a connection, never for a time; a server that failed to act would keep a test
//! until the client's read time-out, which fails it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dripfeed::clock::Clock;
use dripfeed::config::server::{ServerConfig, ServerOpts};
use dripfeed::disk::published::PublishedTree;
use dripfeed::model::limits::{ArchiveLimits, RequestLimits};
use dripfeed::model::{JobOptions, Location, UnixTime};
use dripfeed::server::{Addresses, Server};
use dripfeed::service::assign::{Target, assign};
use dripfeed::service::{App, activate, deployments};
use dripfeed::store::{DatabaseUrl, Store, figures};
use dripfeed::tls::server::{ServerTls, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::sync::oneshot;

use crate::jobs::{WS, assign_to, say_inventory};
use crate::util::{TestApp, peer};

/// Long enough for a loaded machine: reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server in this process, with a tree of files that tests write themselves.
struct TestServer {
    directory: tempfile::TempDir,
    addresses: Addresses,
    tls: ServerTls,
    stop: Option<oneshot::Sender<()>>,
    stopped: Option<std::thread::JoinHandle<()>>,
}

impl TestServer {
    fn start(settings: &[(&'static str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), settings)
    }

    fn start_in(directory: tempfile::TempDir, settings: &[(&'static str, &str)]) -> Self {
        let config = config(directory.path(), settings);
        let app = app(&config);
        let (stop, stopping) = oneshot::channel::<()>();
        let (started, starting) = std::sync::mpsc::channel();
        let stopped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let server = Server::bind(config, app).expect("it listens");
                started.send((server.addresses(), server.tls())).expect("the test waits");
                server.run(async { drop(stopping.await) }).await;
            });
        });
        let (addresses, tls) = starting.recv().expect("it started");
        Self { directory, addresses, tls, stop: Some(stop), stopped: Some(stopped) }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.path().join("download").join(key)
    }

    /// Publishes a package of those files, as the tree does it: one rename.
    fn publish(&self, id: u32, files: &[(String, Vec<u8>)]) {
        let staged = self.directory.path().join(format!("staged-{id}"));
        std::fs::create_dir_all(&staged).expect("made");
        for (name, bytes) in files {
            let mut file = std::fs::File::create(staged.join(name)).expect("made");
            file.write_all(bytes).expect("written");
        }
        rename(&staged, &self.path(&id.to_string()));
    }

    fn publish_one(&self, bytes: &[u8]) {
        self.publish(7, &[("7-1".to_owned(), bytes.to_vec()), ("info".to_owned(), b"<DOWNLOAD ID=\"7\"/>\n".to_vec())]);
    }

    /// A file that is larger than everything that sockets hold; it takes no room.
    fn publish_large(&self) -> usize {
        self.publish_one(b"");
        let file = std::fs::File::options().write(true).open(self.path("7/7-1")).expect("a file");
        file.set_len(64 << 20).expect("a sparse file");
        64 << 20
    }

    fn withdraw(&self, id: u32) {
        let trash = self.directory.path().join(format!("trash-{id}"));
        rename(&self.path(&id.to_string()), &trash);
        std::fs::remove_dir_all(trash).expect("removed");
    }

    fn http(&self) -> Client<TcpStream> {
        Client::new(connect(self.addresses.http))
    }

    fn https(&self, version: &'static rustls::SupportedProtocolVersion) -> Client<TlsStream> {
        let authority = std::fs::read(self.directory.path().join("certs/ca.pem")).expect("the authority");
        Client::new(encrypt(connect(self.addresses.https), &authority, "localhost", version).expect("a handshake"))
    }

    fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    fn join(&mut self) {
        self.stopped.take().expect("once").join().expect("it did not panic");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.tell_to_stop();
        if let Some(stopped) = self.stopped.take() {
            let result = stopped.join();
            assert!(result.is_ok() || std::thread::panicking(), "the server panicked");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test plays the tree's part")]
fn rename(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("not the root")).expect("made");
    std::fs::rename(from, to).expect("renamed");
}

fn config(directory: &Path, settings: &[(&'static str, &str)]) -> ServerConfig {
    let data_dir = directory.to_str().expect("text");
    let fixed =
        [("data_dir", data_dir), ("http", "127.0.0.1:0"), ("https", "127.0.0.1:0"), ("public_name", "localhost")];
    // A stop that waited for its deadline would show as a slow test, not as a wrong one.
    let flags: Vec<(&str, String)> =
        fixed.iter().chain(settings).map(|(key, text)| (*key, (*text).to_owned())).collect();
    ServerOpts::gather_from(None, &flags, |_| None).and_then(|opts| opts.check()).expect("a right configuration")
}

fn app(config: &ServerConfig) -> App {
    std::fs::create_dir_all(config.download_dir()).expect("made");
    std::fs::create_dir_all(config.staging_dir()).expect("made");
    App {
        store: Store::open(&config.database).expect("a database"),
        tree: PublishedTree::open(&config.download_dir(), &config.staging_dir()).expect("a tree"),
        clock: Clock::System,
        request_limits: RequestLimits { body: config.limits.request_bytes, ..RequestLimits::DEFAULT },
        archive_limits: ArchiveLimits::DEFAULT,
        configured: dripfeed::model::settings::SettingsLayer::default(),
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

type TlsStream = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn encrypt(
    mut stream: TcpStream,
    authority: &[u8],
    name: &str,
    version: &'static rustls::SupportedProtocolVersion,
) -> Result<TlsStream, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority).expect("a certificate")).expect("an authority");
    // The agent's provider: the certificate must suit it as well as the server's own.
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("known")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a connection");
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
    }
    assert_eq!(connection.protocol_version(), Some(version.version));
    Ok(rustls::StreamOwned::new(connection, stream))
}

struct Client<S>(BufReader<S>);

#[derive(Debug, Eq, PartialEq)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl<S: Read + Write> Client<S> {
    fn new(stream: S) -> Self {
        Self(BufReader::with_capacity(64 << 10, stream))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("sent");
        self.0.get_mut().flush().expect("sent");
    }

    /// Reads one answer; `head` if it has no body whatever its length says.
    fn answer(&mut self, head: bool) -> Answer {
        self.try_answer(head).expect("an answer")
    }

    fn try_answer(&mut self, head: bool) -> std::io::Result<Answer> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let status = lines[0].split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status line");
        let headers: BTreeMap<String, String> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        assert!(!headers.contains_key("transfer-encoding"), "answers are never chunked: {lines:?}");
        let length: usize = match headers.get("content-length") {
            Some(text) => text.parse().expect("a number"),
            None if status == 100 => 0,
            None => panic!("an answer without Content-Length: {lines:?}"),
        };
        let mut body = vec![0; if head { 0 } else { length }];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status, headers, body })
    }

    fn get(&mut self, path: &str, headers: &str) -> Answer {
        self.request("GET", path, headers)
    }

    fn request(&mut self, method: &str, path: &str, headers: &str) -> Answer {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        self.answer(method == "HEAD")
    }

    fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        self.send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len()));
        self.send(body);
        self.answer(false)
    }

    /// True if the server ends the connection without another byte.
    fn is_closed(&mut self) -> bool {
        match self.0.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => {
                assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "still open");
                true
            }
        }
    }
}

/// Bytes that tell their place and their file.
fn content(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(length.div_ceil(8)).flatten().collect();
    bytes.truncate(length);
    bytes
}

// ---- the tree ----------------------------------------------------------------------------------------------------

#[test]
fn ranges_are_answered_as_a_file_server_answers_them() {
    let server = TestServer::start(&[]);
    let mut report = String::new();
    // Below and above the size from which files are mapped.
    for length in [100, 100_000_usize] {
        let bytes = content(1, length);
        if length > 100 {
            server.withdraw(7);
        }
        server.publish_one(&bytes);
        let mut client = server.http();
        let last = length - 1;
        let table = [
            (String::new(), 200, 0..length),
            ("bytes=0-0".to_owned(), 206, 0..1),
            ("bytes=10-19".to_owned(), 206, 10..20),
            ("bytes=90-".to_owned(), 206, 90..length),
            ("bytes=-10".to_owned(), 206, length - 10..length),
            ("bytes=-1000000".to_owned(), 206, 0..length),
            (format!("bytes={last}-{last}"), 206, last..length),
            ("bytes=50-1000000".to_owned(), 206, 50..length),
            (format!("bytes={length}-"), 416, 0..0),
            ("bytes=-0".to_owned(), 416, 0..0),
            ("bytes=0-1,5-6".to_owned(), 200, 0..length),
            ("bytes=5-4".to_owned(), 200, 0..length),
            ("pages=1-2".to_owned(), 200, 0..length),
        ];
        for (range, status, expected) in table {
            let header = if range.is_empty() { String::new() } else { format!("Range: {range}\r\n") };
            let mut answer = client.get("/download/7/7-1", &header);
            assert_eq!(answer.status, status, "{range}");
            assert!(answer.body == bytes[expected.clone()], "{range}: other bytes");
            assert_eq!(answer.header("accept-ranges"), Some("bytes"));
            let said = match status {
                206 => Some(format!("bytes {}-{}/{length}", expected.start, expected.end - 1)),
                416 => Some(format!("bytes */{length}")),
                _ => None,
            };
            assert_eq!(answer.header("content-range"), said.as_deref(), "{range}");
            let mut head = client.request("HEAD", "/download/7/7-1", &header);
            // A second may have begun between the two.
            let dates = [&mut head, &mut answer].map(|it| it.headers.remove("date").is_some());
            assert_eq!(dates, [true; 2], "{range}");
            assert_eq!((head.status, &head.headers), (answer.status, &answer.headers), "{range}: HEAD differs");
            writeln!(report, "{range} {status}").expect("a string");
        }
    }
    assert_eq!(report.lines().count(), 26);
}

#[test]
fn a_fragment_has_no_validators_and_is_never_304() {
    let server = TestServer::start(&[]);
    server.publish_one(&content(1, 40_000));
    let mut client = server.http();
    for condition in [
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
        "If-None-Match: *\r\n",
        "If-Match: \"nothing\"\r\n",
        "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "If-Range: \"nothing\"\r\n",
    ] {
        let answer = client.get("/download/7/7-1", condition);
        assert_eq!((answer.status, answer.body.len()), (200, 40_000), "{condition}");
        let names: Vec<&str> = answer.headers.keys().map(String::as_str).collect();
        assert_eq!(names, ["accept-ranges", "content-length", "content-type", "date"], "{condition}");
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    }
}

#[test]
fn info_is_told_over_https_only() {
    let server = TestServer::start(&[]);
    server.publish_one(b"fragment");
    let refused = server.http().get("/download/7/info", "");
    assert_eq!(refused.status, 403);
    insta::assert_snapshot!(refused.text(), @"info files carry the command to run and are served over HTTPS only: ask the HTTPS address for this file");
    assert_eq!(server.http().get("/download/8/info", "").status, 403, "HTTP does not even tell whether it exists");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = server.https(version);
        let info = client.get("/download/7/info", "");
        assert_eq!((info.status, info.text().as_str()), (200, "<DOWNLOAD ID=\"7\"/>\n"));
        assert_eq!(info.header("content-type"), Some("application/xml"));
        assert_eq!(client.get("/download/7/7-1", "").text(), "fragment");
    }
}

#[test]
fn nothing_but_published_files_can_be_reached() {
    let server = TestServer::start(&[]);
    server.publish_one(b"fragment");
    let mut client = server.https(&rustls::version::TLS13);
    for path in [
        "/download/7/7-2",
        "/download/8/8-1",
        "/download/7/8-1",
        "/download/7/7-01",
        "/download/07/07-1",
        "/download/7/../../dripfeed.db",
        "/download/../certs/ca.key",
        "/download/%2e%2e/certs/ca.key",
        "/download/7%2f7-1",
        "/download/7/7%2D1",
        "/download/7/7-1/",
        "/download//7/7-1",
        "/download/7",
        "/download/7/",
        "/download/",
        "/download",
        "/certs/ca.key",
        "/nothing",
    ] {
        assert_eq!(client.get(path, "").status, 404, "{path}");
    }
    assert_eq!(client.get("/download/7/7-1?x=1", "").status, 200, "a query changes nothing");
}

#[test]
fn files_have_no_other_methods() {
    let server = TestServer::start(&[]);
    server.publish_one(b"fragment");
    let mut client = server.http();
    for method in ["PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let answer = client.request(method, "/download/7/7-1", "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(client.request("DELETE", "/", "").status, 405);
}

#[test]
fn a_withdrawn_package_is_gone_and_a_new_file_of_its_name_is_the_new_one() {
    let server = TestServer::start(&[]);
    let mut client = server.http();
    for round in 1..=3 {
        let bytes = content(round, 50_000);
        server.publish_one(&bytes);
        for _ in 0..2 {
            assert!(client.get("/download/7/7-1", "").body == bytes, "round {round}");
        }
        server.withdraw(7);
        assert_eq!(client.get("/download/7/7-1", "").status, 404, "round {round}");
    }
}

#[test]
fn a_download_that_runs_survives_the_withdrawal() {
    let server = TestServer::start(&[]);
    // More than sockets hold, so that it cannot be through before the withdrawal.
    let bytes = content(3, 24 << 20);
    server.publish_one(&bytes);
    let mut client = server.http();
    client.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!client.0.fill_buf().expect("it has begun").is_empty());
    server.withdraw(7);
    assert_eq!(server.http().get("/download/7/7-1", "").status, 404);
    assert!(client.answer(false).body == bytes);
}

#[test]
fn many_downloads_of_files_that_come_and_go_get_their_own_bytes() {
    const FILES: u32 = 24;
    const READERS: u32 = 6;
    let server = TestServer::start(&[]);
    let length = |n: u32| [20_000, 70_001, 1 << 20, (1 << 20) + 1, 300, 16 << 10, 2_500_000][n as usize % 7];
    let contents: Vec<Vec<u8>> = (0..=FILES).map(|n| content(n, length(n))).collect();
    let contents = &contents;
    let put = |n: u32| server.publish(n, &[(format!("{n}-1"), contents[n as usize].clone())]);
    (1..=FILES).for_each(put);
    let done = AtomicBool::new(false);
    let (mut whole, mut parts) = (0, 0);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let server = &server;
                scope.spawn(move || {
                    let (mut whole, mut parts) = (0, 0);
                    let mut plain = server.http();
                    let mut secure = server.https(&rustls::version::TLS13);
                    for turn in 0..60_u32 {
                        let n = 1 + (turn * 7 + reader * 5) % FILES;
                        let bytes = &contents[n as usize];
                        let start = (turn as usize * 7919) % bytes.len();
                        let range = format!("Range: bytes={start}-\r\n");
                        let header = if turn % 2 == 0 { "" } else { range.as_str() };
                        let path = format!("/download/{n}/{n}-1");
                        let answer = if turn % 5 == 4 { secure.get(&path, header) } else { plain.get(&path, header) };
                        match answer.status {
                            200 => whole += 1,
                            206 => parts += 1,
                            404 => continue,
                            other => panic!("status {other}"),
                        }
                        let right =
                            if answer.status == 200 { answer.body == *bytes } else { answer.body == bytes[start..] };
                        assert!(right, "file {n} from {start}: other bytes");
                    }
                    (whole, parts)
                })
            })
            .collect();
        // Mappings are made and dropped under the readers, so that their addresses are used again.
        let churn = scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n = n % FILES + 1;
                server.withdraw(n);
                put(n);
            }
        });
        for reader in readers {
            let counts = reader.join().expect("a reader's bytes were right");
            whole += counts.0;
            parts += counts.1;
        }
        done.store(true, Ordering::Relaxed);
        churn.join().expect("files come and go");
    });
    assert!(whole > 30 && parts > 30, "{whole} whole, {parts} parts: too few to mean anything");
}

#[test]
fn a_cancelled_job_is_gone_for_its_agent_and_for_nobody_else() {
    let test = TestApp::new();
    let id = test.package(&content(3, 3000), 1000).id;
    let here: Location = "localhost/download".parse().expect("a location");
    activate::activate(&test.app, id, here.clone(), here, None, &mut |_, _| {}).expect("activated");
    say_inventory(&test, WS, "Debian", &[]);
    let target = || Target::Computers(vec![WS.to_owned()]);
    let deployment = assign_to(&test, id, target()).deployment;
    deployments::cancel(&test.app, deployment, false, "bob").expect("cancelled");

    let server = TestServer::start_in(test.into_directory(), &[]);
    let agent = format!("User-Agent: {}\r\n", peer().user_agent);
    let (info, fragment) = (format!("/download/{id}/info"), format!("/download/{id}/{id}-2"));
    let mut client = server.http();
    let gone = client.get(&fragment, &agent);
    assert_eq!(gone.status, 410);
    insta::assert_snapshot!(gone.text().trim_end(), @"the package was taken back from this computer: its deployment was cancelled");
    assert_eq!(client.request("HEAD", &fragment, &agent).status, 410);
    assert_eq!(server.https(&rustls::version::TLS13).get(&info, &agent).status, 410);
    for others in [
        String::new(),
        "User-Agent: curl/8.5.0\r\n".to_owned(),
        format!("{agent}Via: 1.1 mirror\r\n"),
        format!("{agent}X-Forwarded-For: 192.0.2.7\r\n"),
        format!("{agent}Forwarded: for=192.0.2.7\r\n"),
    ] {
        assert_eq!(client.get(&fragment, &others).status, 200, "{others:?} was refused");
    }
    // Another program plans a new job: the list in memory is old, the answer is not.
    let app = TestApp::open(server.directory.path());
    assign(&app, id, target(), JobOptions::default(), "alice").expect("assigned");
    assert_eq!(client.get(&fragment, &agent).status, 200);
}

// ---- connections -------------------------------------------------------------------------------------------------

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start(&[]);
    let bytes = content(5, 30_000);
    server.publish_one(&bytes);
    let mut client = server.http();
    let one = "GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n";
    client.send(format!(
        "{one}\r\n{one}Range: bytes=5-9\r\n\r\nHEAD /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n{one}\r\n"
    ));
    assert!(client.answer(false).body == bytes);
    assert!(client.answer(false).body == bytes[5..10]);
    assert_eq!(client.answer(true).header("content-length"), Some("30000"));
    assert_eq!(client.answer(false).status, 404);
    assert!(client.answer(false).body == bytes);
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let server = TestServer::start(&[]);
    server.publish_one(b"fragment");
    let mut client = server.http();
    client.send("GET /download/7/7-1 HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer(false).text(), "fragment");
    assert!(client.is_closed());
    let mut client = server.http();
    for _ in 0..2 {
        client.send("GET /download/7/7-1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.answer(false).text(), "fragment");
    }
    let mut client = server.http();
    assert_eq!(client.get("/download/7/7-1", "Connection: close\r\n").status, 200);
    assert!(client.is_closed());
}

#[test]
fn a_slow_head_an_idle_connection_and_a_mute_one_are_closed() {
    let server = TestServer::start(&[("timeouts.header", "1s"), ("timeouts.idle", "1s"), ("timeouts.handshake", "1s")]);
    server.publish_one(b"fragment");
    let mut mute = server.http();
    let mut slow = server.http();
    slow.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x");
    let mut idle = server.http();
    assert_eq!(idle.get("/download/7/7-1", "").status, 200);
    let mut second = server.http();
    assert_eq!(second.get("/download/7/7-1", "").status, 200);
    second.send("GET /down");
    let mut no_handshake = Client::new(connect(server.addresses.https));
    for (name, client) in [
        ("mute", &mut mute),
        ("slow", &mut slow),
        ("idle", &mut idle),
        ("second", &mut second),
        ("no handshake", &mut no_handshake),
    ] {
        assert!(client.is_closed(), "{name}");
    }
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let server = TestServer::start(&[("timeouts.body_grace", "150ms")]);
    let mut client = server.http();
    client.send("POST /ocsinventory HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf");
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.text().as_str()), (408, "the request's body came too slowly\n"));
    assert!(client.is_closed());
}

#[test]
fn a_reader_that_takes_nothing_is_dropped() {
    let server = TestServer::start(&[("timeouts.write", "150ms")]);
    let length = server.publish_large();
    for secure in [false, true] {
        let read = if secure {
            let mut client = server.https(&rustls::version::TLS13);
            client.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
            wait_until_dropped(client.0.get_ref().get_ref());
            to_the_end(&mut client)
        } else {
            let mut client = server.http();
            client.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
            wait_until_dropped(client.0.get_ref());
            to_the_end(&mut client)
        };
        assert!(read < length, "secure {secure}: all of it came");
    }
}

/// Waits, without reading, until the other side has closed.
fn wait_until_dropped(stream: &TcpStream) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut ready = [PollFd::new(stream, PollFlags::RDHUP)];
    let limit = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(poll(&mut ready, Some(&limit)).expect("polled"), 1, "the server kept a reader that takes nothing");
}

fn to_the_end<S: Read + Write>(client: &mut Client<S>) -> usize {
    let mut total = 0;
    loop {
        match client.0.fill_buf().map(<[u8]>::len) {
            Ok(0) | Err(_) => return total,
            Ok(length) => {
                total += length;
                client.0.consume(length);
            }
        }
    }
}

#[test]
fn a_slow_but_steady_reader_is_served_to_the_end() {
    let server = TestServer::start(&[("timeouts.idle", "500ms"), ("timeouts.header", "500ms")]);
    let bytes = content(9, 8 << 20);
    server.publish_one(&bytes);
    let mut client = server.http();
    client.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    // Longer than the idle and header time-outs in sum: an answer under way is neither.
    let mut received = Vec::new();
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        let mut piece = [0; 512];
        client.0.get_mut().read_exact(&mut piece).expect("it goes on");
        received.extend_from_slice(&piece);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let head = received.windows(4).position(|it| it == b"\r\n\r\n").expect("a head") + 4;
    let rest = head + bytes.len() - received.len();
    let mut end = vec![0; rest];
    client.0.get_mut().read_exact(&mut end).expect("the rest");
    received.extend_from_slice(&end);
    assert!(received[head..] == bytes);
}

/// A connection from another address of this machine, which is another peer.
fn from_another_address(address: SocketAddr) -> Client<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("bound");
    socket.connect(&address.into()).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    Client::new(TcpStream::from(socket))
}

/// A connection with a request under way: the server has said that it waits for the body.
fn busy(server: &TestServer) -> Client<TcpStream> {
    let mut client = server.http();
    client.send("POST /ocsinventory HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer(false).status, 100);
    client
}

#[test]
fn one_address_cannot_take_the_places_of_the_others() {
    let server = TestServer::start(&[("limits.connections", "10"), ("limits.connections_per_peer", "2")]);
    server.publish_one(b"fragment");
    let mut first = busy(&server);
    let mut second = server.http();
    assert_eq!(second.get("/download/7/7-1", "").status, 200);
    let refused = server.http().answer(false);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("60")));
    assert_eq!(refused.text(), "this address has too many connections open already");
    assert_eq!(from_another_address(server.addresses.http).get("/download/7/7-1", "").status, 200);
    assert_eq!(second.get("/download/7/7-1", "").status, 200, "who is in is not disturbed");
    first.send("junk");
    assert_eq!(first.answer(false).status, 400);
}

#[test]
fn beyond_the_cap_newcomers_wait_for_a_request_to_end() {
    let server = TestServer::start(&[("limits.connections", "2"), ("limits.connections_per_peer", "2")]);
    server.publish_one(b"fragment");
    let mut first = busy(&server);
    let _second = busy(&server);
    let mut third = from_another_address(server.addresses.http);
    third.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    third.0.get_ref().set_nonblocking(true).expect("set");
    let too_early = third.try_answer(false).expect_err("no place is free");
    assert_eq!(too_early.kind(), ErrorKind::WouldBlock);
    third.0.get_ref().set_nonblocking(false).expect("set");
    first.send("junk");
    assert_eq!(first.answer(false).status, 400);
    assert_eq!(third.answer(false).text(), "fragment");
    assert!(first.is_closed(), "it gave way as soon as it was idle");
}

#[test]
fn when_every_place_is_taken_an_idle_connection_makes_room() {
    let server = TestServer::start(&[("limits.connections", "2"), ("limits.connections_per_peer", "2")]);
    server.publish_one(b"fragment");
    let mut first = server.http();
    assert_eq!(first.get("/download/7/7-1", "").status, 200);
    let mut second = server.http();
    assert_eq!(second.get("/download/7/7-1", "").status, 200);
    let mut third = from_another_address(server.addresses.http);
    // The idle time-out is longer than the client waits, so one of the two has made room.
    assert_eq!(third.get("/download/7/7-1", "").status, 200);
}

#[test]
fn a_graceful_stop_ends_idle_connections_and_finishes_downloads() {
    let mut server = TestServer::start(&[]);
    let bytes = content(11, 24 << 20);
    server.publish_one(&bytes);
    let mut idle = server.http();
    assert_eq!(idle.get("/nothing", "").status, 404);
    let mut fresh = server.http();
    let mut half = server.http();
    half.send("GET /downl");
    let mut running = server.http();
    running.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!running.0.fill_buf().expect("it has begun").is_empty());
    server.tell_to_stop();
    assert!(idle.is_closed() && fresh.is_closed() && half.is_closed());
    assert!(TcpStream::connect(server.addresses.http).is_err(), "nothing new is accepted");
    let answer = running.answer(false);
    assert!(answer.body == bytes);
    assert!(running.is_closed());
    server.join();
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut server = TestServer::start(&[("timeouts.stop", "150ms")]);
    let length = server.publish_large();
    let mut stuck = server.http();
    stuck.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!stuck.0.fill_buf().expect("it has begun").is_empty());
    server.tell_to_stop();
    server.join();
    assert!(to_the_end(&mut stuck) < length);
}

#[test]
fn a_port_in_use_is_a_sentence() {
    let server = TestServer::start(&[]);
    let directory = tempfile::tempdir().expect("a directory");
    let taken = server.addresses.https.to_string();
    let config = config(directory.path(), &[("https", &taken)]);
    let app = app(&config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = runtime.block_on(async { Server::bind(config, app).err() }).expect("refused");
    assert_eq!(
        error.to_string(),
        format!(
            "the HTTPS listener cannot use {taken}: another program listens there; end it or choose another address with \
             --https (https in dripfeed.toml)"
        )
    );
}

// ---- agents ------------------------------------------------------------------------------------------------------

#[test]
fn what_is_no_agents_request_is_400_or_403_with_a_sentence() {
    let server = TestServer::start(&[]);
    let mut client = server.http();
    let garbage: Vec<u8> = content(1, 200);
    let doctype = b"<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e \"e\">]><REQUEST><QUERY>PROLOG</QUERY></REQUEST>";
    let bad_deflate: Vec<u8> = [&[0x78, 0x9c][..], &[0xff; 100]].concat();
    let cases: [(&str, &[u8]); 7] = [
        ("empty", b""),
        ("garbage", &garbage),
        ("doctype", doctype),
        ("bad deflate", &bad_deflate),
        ("not well-formed", b"<?xml version=\"1.0\"?><REQUEST><QUERY>PROLOG"),
        ("no query", b"<?xml version=\"1.0\"?><REQUEST><DEVICEID>pc-2026-01-01-00-00-00</DEVICEID></REQUEST>"),
        ("bad id", b"<?xml version=\"1.0\"?><REQUEST><DEVICEID>pc</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>"),
    ];
    for (name, body) in cases {
        let answer = client.post("/ocsinventory", body);
        assert_eq!(answer.status, 400, "{name}");
        assert!(answer.text().len() > 10, "{name} has a sentence");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{name}");
    }
    assert_eq!(client.get("/ocsinventory", "").status, 400);
    assert_eq!(client.request("PUT", "/ocsinventory", "").status, 403);
    assert_eq!(client.request("HEAD", "/ocsinventory/below", "").status, 403);
}

#[test]
fn a_body_above_the_limit_is_413_and_the_client_reads_it() {
    let server = TestServer::start(&[("limits.request_bytes", "64 KiB")]);
    let answer = server.http().post("/ocsinventory", &content(1, 1 << 20));
    assert_eq!((answer.status, answer.text().as_str()), (413, "the request's body is larger than 65536 bytes\n"));
    // Told before it is sent, if the client asks.
    let mut polite = server.http();
    polite.send("POST /ocsinventory HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(polite.answer(false).status, 413);
    // Without a length it shows while it comes.
    let mut chunked = server.http();
    chunked.send("POST /ocsinventory HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        chunked.send(format!("8000\r\n{}\r\n", "x".repeat(0x8000)));
    }
    chunked.send("0\r\n\r\n");
    assert_eq!(chunked.answer(false).status, 413);
}

#[test]
fn an_update_is_never_there_and_the_answer_comes_in_the_requests_container() {
    let server = TestServer::start(&[]);
    let request =
        b"<?xml version=\"1.0\"?><REQUEST><DEVICEID>pc-2026-01-01-00-00-00</DEVICEID><QUERY>UPDATE</QUERY></REQUEST>";
    let mut client = server.http();
    let answer = client.post("/ocsinventory/anything/below", request);
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("<RESPONSE>NO_UPDATE</RESPONSE>"), "{}", answer.text());
    let names: Vec<&str> = answer.headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["cache-control", "content-length", "content-type", "date"]);
    assert_eq!(answer.header("content-type"), Some("application/x-compressed"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    // Chunked, with an "expect": our server takes what the stock one refuses.
    client.send("POST /ocsinventory HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer(false).status, 100);
    client.send(format!("{:x}\r\n{}\r\n0\r\n\r\n", request.len(), String::from_utf8_lossy(request)));
    assert_eq!(client.answer(false).status, 200);
}

// ---- people ------------------------------------------------------------------------------------------------------

#[test]
fn http_leads_people_to_https() {
    let server = TestServer::start(&[]);
    let port = server.addresses.https.port();
    let answer = server.http().get("/", "");
    assert_eq!((answer.status, answer.header("location")), (308, Some(format!("https://localhost:{port}/").as_str())));
    let mut client = server.http();
    client.send("GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n");
    assert_eq!(client.answer(false).header("location"), Some(format!("https://[2001:db8::1]:{port}/").as_str()));
    let mut lost = Client::new(connect(server.addresses.https));
    lost.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = lost.answer(false);
    assert_eq!((answer.status, answer.text().as_str()), (400, "this is the HTTPS address: ask it with https:\n"));
}

#[test]
fn the_console_is_for_whoever_is_signed_in_and_runs_no_script_but_its_own() {
    let server = TestServer::start(&[]);
    let mut client = server.https(&rustls::version::TLS13);
    for (page, sign_in) in [("/", "/sign-in"), ("/packages?after=7", "/sign-in?next=%2Fpackages%3Fafter%3D7")] {
        let answer = client.get(page, "");
        assert_eq!((answer.status, answer.header("location")), (303, Some(sign_in)));
    }
    let page = client.get("/sign-in", "");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert!(page.text().contains(env!("CARGO_PKG_VERSION")) && !page.text().contains("{{"));
    for (asset, kind) in [
        ("/assets/console.css", "text/css; charset=utf-8"),
        ("/assets/console.js", "text/javascript; charset=utf-8"),
        ("/assets/icons.svg", "image/svg+xml"),
    ] {
        assert_eq!(client.get(asset, "").header("content-type"), Some(kind), "{asset}");
    }
    let plain = server.http().get("/packages", "");
    let target = format!("https://localhost:{}/packages", server.addresses.https.port());
    assert_eq!((plain.status, plain.header("location")), (308, Some(target.as_str())));
}

#[test]
fn the_authority_is_given_to_everybody_and_its_key_to_nobody() {
    let server = TestServer::start(&[]);
    let on_disk = std::fs::read(server.directory.path().join("certs/ca.pem")).expect("the authority");
    assert!(server.http().get("/ca.pem", "").body == on_disk);
    assert!(server.https(&rustls::version::TLS12).get("/ca.pem", "").body == on_disk);
    assert!(!String::from_utf8_lossy(&on_disk).contains("PRIVATE"));
    #[cfg(unix)]
    for key in ["certs/ca.key", "certs/server.key"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(server.directory.path().join(key)).expect("a key").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn health_is_told_to_this_machine() {
    let server = TestServer::start(&[]);
    let mut client = server.http();
    assert_eq!(client.get("/healthz", "").text(), "alive\n");
    let answer = client.get("/readyz", "");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ready\n"));
    rename(&server.directory.path().join("download"), &server.directory.path().join("elsewhere"));
    let answer = client.get("/readyz", "");
    assert_eq!(answer.status, 503);
    assert!(answer.text().starts_with("not ready: the tree "), "{}", answer.text());
}

#[test]
fn a_server_that_cannot_do_its_work_says_in_a_sentence_why() {
    let server = TestServer::start(&[]);
    let mut client = server.http();
    let away = server.directory.path().join("elsewhere");
    rename(&server.directory.path().join("staging"), &away);
    let answer = client.get("/readyz", "");
    assert_eq!(answer.status, 503);
    assert!(answer.text().starts_with("not ready: packages cannot be built in "), "{}", answer.text());
    rename(&away, &server.directory.path().join("staging"));
    assert_eq!(client.get("/readyz", "").text(), "ready\n", "it is ready again by itself");
    assert_eq!(std::fs::read_dir(server.directory.path().join("staging")).expect("staging").count(), 0);

    let full = TestServer::start(&[("limits.free_space", "1000000 GiB")]);
    let answer = full.http().get("/readyz", "");
    assert_eq!(answer.status, 503);
    let text = answer.text();
    assert!(text.starts_with("not ready: only ") && text.contains("limits.free_space asks for"), "{text}");
}

#[test]
fn looking_whether_the_database_can_be_written_does_not_make_it_grow() {
    let server = TestServer::start(&[]);
    let database = DatabaseUrl::Sqlite(server.directory.path().join("dripfeed.db"));
    let store = Store::open(&database).expect("a database");
    let size = || std::fs::metadata(server.directory.path().join("dripfeed.db")).expect("a file").len();
    let before = size();
    for at in 0..200 {
        let at = UnixTime::from_millis(at);
        store.write_now(move |conn| figures::can_write(conn, at)).expect("written");
    }
    assert_eq!(size(), before);
    assert_eq!(server.http().get("/readyz", "").text(), "ready\n");
}

#[test]
fn a_reader_that_is_slower_than_the_sockets_steps_is_not_dropped() {
    use rustix::net::sockopt::set_socket_recv_buffer_size;
    let server = TestServer::start(&[("timeouts.write", "1s")]);
    let length = server.publish_large();
    let mut client = server.http();
    // Little at our end, so that what waits lies at theirs.
    set_socket_recv_buffer_size(client.0.get_ref(), 32 << 10).expect("a small buffer");
    client.send("GET /download/7/7-1 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut read = 0;
    let started = std::time::Instant::now();
    let mut piece = vec![0; 8 << 10];
    while started.elapsed() < Duration::from_secs(3) {
        client.0.get_mut().read_exact(&mut piece).expect("it goes on");
        read += piece.len();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(read < length / 4, "{read} of {length}: that was not slow");
    let rest = to_the_end_of(&mut client, length - read);
    assert!(read + rest >= length, "{read} + {rest} of {length}");
}

fn to_the_end_of<S: Read + Write>(client: &mut Client<S>, wanted: usize) -> usize {
    let mut total = 0;
    while total < wanted {
        let length = client.0.fill_buf().expect("it goes on").len();
        assert!(length > 0, "closed after {total} of {wanted}");
        total += length;
        client.0.consume(length);
    }
    total
}

#[test]
fn the_numbers_say_what_was_asked_and_how_it_ended() {
    let server = TestServer::start(&[]);
    server.publish_one(&content(3, 40_000));
    let mut client = server.http();
    assert_eq!(client.get("/download/7/7-1", "").status, 200);
    assert_eq!(client.get("/download/7/7-9", "").status, 404);
    assert_eq!(client.get("/download/7/info", "").status, 403);
    client.send("POST /ocsinventory HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nhalf");
    assert_eq!(client.answer(false).status, 400);
    let answer = client.get("/metrics", "");
    assert_eq!(answer.status, 200);
    let text = answer.text();
    for line in [
        "dripfeed_requests_total{kind=\"fragment\",outcome=\"answered\"} 1",
        "dripfeed_requests_total{kind=\"fragment\",outcome=\"refused\"} 1",
        "dripfeed_requests_total{kind=\"info\",outcome=\"refused\"} 1",
        "dripfeed_requests_total{kind=\"unread\",outcome=\"refused\"} 1",
        "dripfeed_requests_total{kind=\"prolog\",outcome=\"answered\"} 0",
        "dripfeed_request_duration_seconds_count{kind=\"fragment\"} 2",
        "dripfeed_connections{listener=\"http\"} 1",
        "dripfeed_connections{listener=\"https\"} 0",
        "dripfeed_computers 0",
        "dripfeed_jobs{state=\"pending\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}:\n{text}");
    }
    let bytes = text.lines().find_map(|line| line.strip_prefix("dripfeed_tree_sent_bytes_total{listener=\"http\"} "));
    let bytes: u64 = bytes.expect("a line").parse().expect("a number");
    assert!((40_000..42_000).contains(&bytes), "{bytes}");
    // Every name is documented, has a type, and every line is a name, labels and a number.
    let documented = include_str!("../../docs/operations.md");
    for line in text.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            let name = of.split(' ').next().expect("a name");
            assert!(documented.contains(&format!("`{name}`")), "docs/operations.md says nothing about {name}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').expect("two words");
            assert!(name.starts_with("dripfeed_") && value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

// ---- certificates ------------------------------------------------------------------------------------------------

fn now() -> UnixTime {
    Clock::System.now()
}

fn certificate_pair(names: &[&str], now: UnixTime) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    ensure(directory.path(), &names, now).expect("issued");
    directory
}

fn copy(from: &Path, to: &Path, files: &[&str]) {
    for file in files {
        std::fs::copy(from.join(file), to.join(file)).expect("copied");
    }
}

#[test]
fn an_own_certificate_is_reloaded_and_a_bad_one_is_not() {
    let first = certificate_pair(&["localhost"], now());
    let second = certificate_pair(&["localhost"], now());
    let expired = certificate_pair(&["localhost"], UnixTime::from_seconds(1_000_000_000));
    let shown = tempfile::tempdir().expect("a directory");
    copy(first.path(), shown.path(), &["server.crt", "server.key"]);
    let (chain, key) = (shown.path().join("server.crt"), shown.path().join("server.key"));
    let settings = [("tls.certificate", chain.to_str().expect("text")), ("tls.key", key.to_str().expect("text"))];
    let server = TestServer::start(&settings);
    let trusts = |authority: &Path| {
        let pem = std::fs::read(authority.join("ca.pem")).expect("an authority");
        encrypt(connect(server.addresses.https), &pem, "localhost", &rustls::version::TLS13).is_ok()
    };
    assert!(trusts(first.path()) && !trusts(second.path()));
    assert_eq!(server.http().get("/ca.pem", "").status, 404);

    copy(second.path(), shown.path(), &["server.crt"]);
    let error = server.tls.reload(now()).expect_err("key and certificate differ");
    assert_eq!(
        error.to_string(),
        format!(
            "the key {} does not belong to the certificate {}: the first certificate in the file must be the server's",
            key.display(),
            chain.display()
        )
    );
    copy(expired.path(), shown.path(), &["server.crt", "server.key"]);
    let error = server.tls.reload(now()).expect_err("its time is over");
    assert_eq!(
        error.to_string(),
        format!("the certificate {} has expired: agents refuse it; replace it and send SIGHUP", chain.display())
    );
    std::fs::File::create(&chain).expect("emptied");
    let error = server.tls.reload(now()).expect_err("empty");
    assert!(error.to_string().ends_with("holds no certificate: expected PEM with BEGIN CERTIFICATE"), "{error}");
    assert!(trusts(first.path()), "the old one stayed through all that");

    copy(second.path(), shown.path(), &["server.crt", "server.key"]);
    server.tls.reload(now()).expect("good files");
    assert!(trusts(second.path()) && !trusts(first.path()));
}

#[test]
fn certificates_are_made_once_and_hold_for_every_name() {
    let directory =
        certificate_pair(&["host.example.net", "192.0.2.1", "2001:db8::1", "localhost", "127.0.0.1"], now());
    let before = files(directory.path());
    let names: Vec<String> =
        ["localhost", "127.0.0.1", "host.example.net"].iter().map(|name| (*name).to_owned()).collect();
    ensure(directory.path(), &names, now()).expect("kept");
    assert!(files(directory.path()) == before, "a second start keeps all four files");

    let server = TestServer::start(&[]);
    let authority = std::fs::read(server.directory.path().join("certs/ca.pem")).expect("the authority");
    for name in ["localhost", "127.0.0.1", "::1"] {
        let result = encrypt(connect(server.addresses.https), &authority, name, &rustls::version::TLS13);
        assert!(result.is_ok(), "{name}: {:?}", result.err());
    }
    let stranger = encrypt(connect(server.addresses.https), &authority, "stranger.example", &rustls::version::TLS13);
    assert!(stranger.is_err());
}

fn files(directory: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let read = |name| (name, std::fs::read(directory.join(name)).expect("a file"));
    ["ca.pem", "ca.key", "server.crt", "server.key"].into_iter().map(read).collect()
}

#[test]
fn a_certificate_is_renewed_before_its_end_and_for_a_new_name_with_the_same_keys() {
    let names = vec!["localhost".to_owned()];
    let directory = certificate_pair(&["localhost"], now());
    let day = Duration::from_hours(24);
    let made = files(directory.path());
    ensure(directory.path(), &names, now().plus(day * 699)).expect("kept");
    assert!(files(directory.path()) == made, "31 days are left");
    ensure(directory.path(), &names, now().plus(day * 701)).expect("renewed");
    let renewed = files(directory.path());
    assert!(renewed["server.crt"] != made["server.crt"]);
    ensure(directory.path(), &["localhost".to_owned(), "new.example".to_owned()], now().plus(day * 702))
        .expect("renewed");
    let wider = files(directory.path());
    assert!(wider["server.crt"] != renewed["server.crt"]);
    for same in ["ca.pem", "ca.key", "server.key"] {
        assert!(wider[same] == made[same], "{same}");
    }
}

#[test]
fn what_a_crash_left_of_the_certificates_is_completed() {
    let names = vec!["localhost".to_owned()];
    for missing in
        [vec!["server.crt"], vec!["server.key"], vec!["server.crt", "server.key"], vec!["ca.pem", "server.crt"]]
    {
        let directory = certificate_pair(&["localhost"], now());
        for file in &missing {
            std::fs::remove_file(directory.path().join(file)).expect("removed");
        }
        ensure(directory.path(), &names, now()).expect("completed");
        assert_eq!(files(directory.path()).len(), 4, "{missing:?}");
    }
}

#[test]
fn an_authority_made_again_from_its_key_is_trusted_by_those_who_have_the_old_certificate() {
    let directory = tempfile::tempdir().expect("a directory");
    let certs = directory.path().join("certs");
    ensure(&certs, &["localhost".to_owned()], now()).expect("made");
    let old = std::fs::read(certs.join("ca.pem")).expect("the authority");
    std::fs::remove_file(certs.join("ca.pem")).expect("removed");
    let server = TestServer::start_in(directory, &[]);
    let result = encrypt(connect(server.addresses.https), &old, "localhost", &rustls::version::TLS12);
    assert!(result.is_ok(), "{:?}", result.err());
}

#[test]
fn an_authority_without_its_key_serves_on_but_issues_nothing() {
    let directory = certificate_pair(&["localhost"], now());
    std::fs::remove_file(directory.path().join("ca.key")).expect("removed");
    ensure(directory.path(), &["localhost".to_owned()], now()).expect("the certificate is still good");
    let error = ensure(directory.path(), &["new.example".to_owned()], now()).expect_err("cannot issue");
    assert!(error.to_string().contains("ca.key is missing, so no certificate can be issued"), "{error}");
    let other = certificate_pair(&["localhost"], now());
    copy(other.path(), directory.path(), &["ca.key"]);
    let error = ensure(directory.path(), &["localhost".to_owned()], now()).expect_err("another key");
    assert!(error.to_string().contains("does not belong to the certificate"), "{error}");
}
