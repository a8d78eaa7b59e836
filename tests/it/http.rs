//! The listeners as a client sees them: raw sockets, so that every byte is ours.
//!
//! Clients wait for bytes or for the end of a connection, never for a time; a server that failed to act would keep a test
//! until the client's read time-out, which fails it.

mod certificates;
mod connections;
mod files;

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
