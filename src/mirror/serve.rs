//! The copy over HTTP, where there is no web server: one thread a connection, and nothing but the tree.
//!
//! ```text
//! accept ──► a place? no → 503, closed
//!     thread   head, bounded in bytes and in time ──► request ──► file, range ──► sendfile
//!        ▲──────────────────── kept alive, pipelined ────────────────────┘
//! ```
//!
//! What agents must not be told is not there at all: no validators, hence no 304 (ocs-protocol 13.2). Info files are
//! answered over TLS only, as the server does. A request's path becomes a [`TreeKey`] or nothing, so that no spelling of it
//! leaves the tree.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::congestion::{NotPaced, Paced, Pacing};
use crate::model::TreeKey;
use crate::protocol::range::{Wanted, wanted};
use crate::tls::client::provider;

/// Bytes of a request's head.
const HEAD: usize = 8 << 10;
/// What is sent at a time where the kernel does not send by itself.
const CHUNK: usize = 128 << 10;
/// What a connection's thread needs, TLS included.
const STACK: usize = 256 << 10;

/// What one serving program bears.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Connections at a time; a thread each.
    pub connections: usize,
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// Between two requests of a connection, and until the first.
    pub idle: Duration,
    /// Without a byte that a reader takes.
    pub write: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(15),
            idle: Duration::from_mins(1),
            write: Duration::from_mins(2),
        }
    }
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {source}; is it taken, or below 1024 without the privilege?")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not pace as it was asked.
    #[error("--congestion")]
    Pace(#[from] NotPaced),
    /// Certificate or key.
    #[error("{} cannot be used: {problem}", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// A listener that serves one mirror's directory.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    listener: TcpListener,
    paced: Paced,
    download: PathBuf,
    tls: Option<Arc<ServerConfig>>,
    limits: ServeLimits,
    taken: AtomicUsize,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("download", &self.0.download).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens; with a certificate's and a key's PEM file over TLS.
    pub fn bind(
        address: SocketAddr,
        root: &Path,
        tls: Option<(&Path, &Path)>,
        pacing: &Pacing,
        limits: ServeLimits,
    ) -> Result<Self, ServeError> {
        let tls = tls.map(|(chain, key)| tls_config(chain, key)).transpose()?;
        let listener = TcpListener::bind(address).map_err(|source| ServeError::Bind { address, source })?;
        let paced = pacing.listen(&listener)?;
        let download = root.join("download");
        Ok(Self(Arc::new(Inner { listener, paced, download, tls, limits, taken: AtomicUsize::new(0) })))
    }

    /// Where it really listens: a port 0 is a number here.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.listener.local_addr()
    }

    /// Answers until the process ends.
    pub fn run(&self) -> ! {
        loop {
            match self.0.listener.accept() {
                Ok((socket, _)) => self.admit(socket),
                // Out of descriptors, or a connection that was gone before it was taken: others are being served.
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn admit(&self, socket: TcpStream) {
        let place = Place::take(&self.0);
        let Some(place) = place else {
            refuse(&socket, self.0.tls.is_some());
            return;
        };
        let serve = move || {
            // Whatever ended it, there is nobody to tell: agents ask again.
            let _ = place.0.converse(socket);
        };
        // Without a thread the place is given back with the closure, and the connection closed.
        drop(std::thread::Builder::new().stack_size(STACK).name("connection".to_owned()).spawn(serve));
    }
}

/// One of the connections that may be open at a time.
struct Place(Arc<Inner>);

impl Place {
    fn take(inner: &Arc<Inner>) -> Option<Self> {
        let place = Self(Arc::clone(inner));
        // Dropped, it gives back what it took.
        (inner.taken.fetch_add(1, Ordering::AcqRel) < inner.limits.connections).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Says in clear that there is no place; never waits for the reader.
fn refuse(socket: &TcpStream, tls: bool) {
    if !tls && socket.set_nonblocking(true).is_ok() {
        let _ = (&mut &*socket).write(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 10\r\nConnection: close\r\n\r\n",
        );
    }
}

fn tls_config(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, ServeError> {
    let failed = |path: &Path, problem: String| ServeError::Certificate { path: path.to_owned(), problem };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(chain, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, secret))
        .map_err(|error| failed(chain, error.to_string()))?;
    Ok(Arc::new(config))
}

/// Either kind of connection.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Sends `length` bytes of a file from `offset` on; a file that ends early ends the connection, as its length was told.
    fn send_file(&mut self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Self::Plain(socket) = self {
            return send_by_kernel(socket, file, offset, length);
        }
        let mut file = file;
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        let mut left = length;
        let mut buffer = vec![0; CHUNK];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let n = file.read(&mut buffer[..most])?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.write_all(&buffer[..n])?;
            left -= n as u64;
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn send_by_kernel(socket: &TcpStream, file: &File, offset: u64, length: u64) -> io::Result<()> {
    let (mut offset, end) = (offset, offset.saturating_add(length));
    while offset < end {
        let most = usize::try_from(end - offset).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::sendfile(socket, file, Some(&mut offset), most) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Request<'a> {
    head_only: bool,
    target: &'a str,
    range: Option<&'a str>,
    /// The connection ends with the answer.
    last: bool,
}

/// A refusal: status, reason, sentence.
type Refusal = (u16, &'static str, &'static str);

const BAD: Refusal = (400, "Bad Request", "this is not HTTP/1.1 as it is understood here");
const LARGE: Refusal = (431, "Request Header Fields Too Large", "the head of the request is larger than 8 KiB");
const METHOD: Refusal = (405, "Method Not Allowed", "files are fetched with GET or HEAD");
const SECURE: Refusal = (403, "Forbidden", "info files are served over HTTPS only: they carry the command to run");
const ABSENT: Refusal = (404, "Not Found", "this mirror does not hold that");

/// Reads a head. It is ASCII; whoever smuggles a body in has it refused, so that it is never read as the next request.
fn parse(head: &[u8]) -> Result<Request<'_>, Refusal> {
    let text = std::str::from_utf8(head).ok().filter(|text| text.is_ascii()).ok_or(BAD)?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD);
    };
    let last = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(BAD),
    };
    let mut request = Request { head_only: method == "HEAD", target, range: None, last };
    let mut hosts = 0;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(BAD)?;
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        {
            return Err(BAD);
        }
        let value = value.trim_matches([' ', '\t']);
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(BAD);
        }
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "range" => request.range = Some(value),
            "connection" => {
                request.last |= value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
            }
            "content-length" if value == "0" => {}
            "content-length" | "transfer-encoding" => return Err(BAD),
            _ => {}
        }
    }
    if hosts > 1 || (version == "HTTP/1.1" && hosts == 0) {
        return Err(BAD);
    }
    if !matches!(method, "GET" | "HEAD") {
        return Err(METHOD);
    }
    Ok(request)
}

/// The file that a target names: `/download/<id>/<file>`, also as a proxy is asked.
fn key(target: &str) -> Option<TreeKey> {
    let path = match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => &rest[rest.find('/')?..],
        None => target,
    };
    let path = path.split('?').next().unwrap_or_default();
    path.strip_prefix("/download/")?.parse().ok()
}

impl Inner {
    fn converse(&self, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        self.paced.accepted(&socket);
        socket.set_write_timeout(Some(self.limits.write))?;
        let mut stream = match &self.tls {
            None => Stream::Plain(socket),
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                Stream::Tls(Box::new(StreamOwned::new(connection, socket)))
            }
        };
        let mut buffer = Vec::with_capacity(1024);
        loop {
            let Some(length) = self.head(&mut stream, &mut buffer)? else { return Ok(()) };
            let last = self.answer(&mut stream, &buffer[..length])?;
            if last {
                return Ok(());
            }
            // What follows is the next request's: pipelined.
            buffer.drain(..length + 4);
        }
    }

    /// Reads until a head is whole; gives its length without the empty line, `None` at the end of the connection.
    fn head(&self, stream: &mut Stream, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let mut deadline = Instant::now() + if buffer.is_empty() { self.limits.idle } else { self.limits.head };
        let mut seen: usize = 0;
        loop {
            // An empty line before a request is a slip that is passed over (RFC 9112 2.2).
            while buffer.starts_with(b"\r\n") {
                buffer.drain(..2);
            }
            let from = seen.min(buffer.len());
            if let Some(at) = buffer[from..].windows(4).position(|window| window == b"\r\n\r\n") {
                if from + at > HEAD {
                    refusal(stream, LARGE, false)?;
                    return Ok(None);
                }
                return Ok(Some(from + at));
            }
            if buffer.len() > HEAD {
                refusal(stream, LARGE, false)?;
                return Ok(None);
            }
            seen = buffer.len().saturating_sub(3);
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return Ok(None);
            };
            stream.socket().set_read_timeout(Some(left))?;
            let mut bytes = [0; 4096];
            let n = match stream.read(&mut bytes) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if n == 0 {
                return Ok(None);
            }
            if buffer.is_empty() {
                // From the first byte on it is a head that is waited for, however slowly its bytes come.
                deadline = Instant::now() + self.limits.head;
            }
            buffer.extend_from_slice(&bytes[..n]);
        }
    }

    /// Answers one request; `true` if the connection ends with it.
    fn answer(&self, stream: &mut Stream, head: &[u8]) -> io::Result<bool> {
        let request = match parse(head) {
            Ok(request) => request,
            Err(problem) => {
                refusal(stream, problem, false)?;
                return Ok(true);
            }
        };
        let refuse = |stream: &mut Stream, problem| refusal(stream, problem, request.head_only).map(|()| true);
        let Some(key) = key(request.target) else { return refuse(stream, ABSENT) };
        if matches!(key, TreeKey::Info { .. }) && self.tls.is_none() {
            return refuse(stream, SECURE);
        }
        let Ok(file) = File::open(self.download.join(key.to_string())) else { return refuse(stream, ABSENT) };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return refuse(stream, ABSENT);
        }
        let whole = metadata.len();
        let range = request.range.filter(|_| !request.head_only).map(str::as_bytes);
        let (status, from, length, told) = match wanted(range, whole) {
            Wanted::Whole => ("200 OK", 0, whole, String::new()),
            Wanted::Part(part) => {
                let told = format!("Content-Range: bytes {}-{}/{whole}\r\n", part.start, part.end - 1);
                ("206 Partial Content", part.start, part.end - part.start, told)
            }
            Wanted::Outside => ("416 Range Not Satisfiable", 0, 0, format!("Content-Range: bytes */{whole}\r\n")),
        };
        let close = if request.last { "Connection: close\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\
             Accept-Ranges: bytes\r\n{told}{close}\r\n"
        );
        stream.write_all(head.as_bytes())?;
        if !request.head_only && length > 0 {
            stream.send_file(&file, from, length)?;
        }
        Ok(request.last)
    }
}

/// A sentence; the connection ends with it.
fn refusal(stream: &mut Stream, (status, reason, sentence): Refusal, head_only: bool) -> io::Result<()> {
    let allow = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let body = if head_only { String::new() } else { format!("{sentence}\n") };
    stream.write_all(
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n{body}",
            sentence.len() + 1
        )
        .as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server(limits: ServeLimits) -> (tempfile::TempDir, SocketAddr) {
        let root = tempfile::tempdir().expect("a directory");
        let package = root.path().join("download/1795164357");
        std::fs::create_dir_all(&package).expect("made");
        for (name, bytes) in [("info", "<DOWNLOAD/>".to_owned()), ("1795164357-1", "0123456789".repeat(3000))] {
            crate::disk::atomic::write(&package.join(name), bytes.as_bytes()).expect("written");
        }
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(any, root.path(), None, &Pacing::default(), limits).expect("it listens");
        let address = server.address().expect("an address");
        std::thread::spawn(move || server.run());
        (root, address)
    }

    /// Sends all, ends its side, and reads all.
    fn exchange(address: SocketAddr, request: &[u8]) -> String {
        let mut socket = TcpStream::connect(address).expect("connected");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        // It may have been refused before the last byte was sent.
        let _ = socket.write_all(request);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    const FRAGMENT: &str = "GET /download/1795164357/1795164357-1 HTTP/1.1\r\nHost: m\r\n";

    #[test]
    fn files_ranges_and_heads_come_one_after_the_other_on_one_connection() {
        let (_root, address) = server(ServeLimits::default());
        let requests = format!(
            "{FRAGMENT}\r\n{FRAGMENT}Range: bytes=5-7\r\n\r\n{}\r\n{FRAGMENT}Range: bytes=40000-\r\n\r\n{FRAGMENT}Range: \
             bytes=-2\r\nConnection: close\r\n\r\n",
            FRAGMENT.replace("GET", "HEAD"),
        );
        let answer = exchange(address, requests.as_bytes());
        let whole = format!("Accept-Ranges: bytes\r\n\r\n{}HTTP/1.1 206", "0123456789".repeat(3000));
        assert!(answer.contains(&whole), "the whole file comes first");
        let rest = &answer[answer.find("HTTP/1.1 206").expect("a part")..];
        insta::assert_snapshot!(rest.replace('\r', ""), @r"
        HTTP/1.1 206 Partial Content
        Content-Type: application/octet-stream
        Content-Length: 3
        Accept-Ranges: bytes
        Content-Range: bytes 5-7/30000

        567HTTP/1.1 200 OK
        Content-Type: application/octet-stream
        Content-Length: 30000
        Accept-Ranges: bytes

        HTTP/1.1 416 Range Not Satisfiable
        Content-Type: application/octet-stream
        Content-Length: 0
        Accept-Ranges: bytes
        Content-Range: bytes */30000

        HTTP/1.1 206 Partial Content
        Content-Type: application/octet-stream
        Content-Length: 2
        Accept-Ranges: bytes
        Content-Range: bytes 29998-29999/30000
        Connection: close

        89
        ");
        assert!(!answer.contains("ETag") && !answer.contains("Last-Modified"), "agents must never be told 304");
    }

    #[test]
    fn what_is_not_a_fetch_of_a_file_is_refused() {
        let (_root, address) = server(ServeLimits::default());
        let status = |request: &str| exchange(address, request.as_bytes()).chars().take(12).collect::<String>();
        let with = |extra: &str| status(&format!("{FRAGMENT}{extra}\r\n\r\n"));
        assert_eq!(status(&FRAGMENT.replace("/1795164357-1", "/info").replace("\r\n", "\r\n\r\n")[..0]), "");
        assert_eq!(status("GET /download/1795164357/info HTTP/1.1\r\nHost: m\r\n\r\n"), "HTTP/1.1 403");
        for target in [
            "/",
            "/download/",
            "/download/1795164357",
            "/download/1795164357/../1795164357/info",
            "/download/1795164357/%69nfo",
            "/download//1795164357/1795164357-1",
            "/download/1795164357/1795164357-2",
            "/etc/passwd",
            "*",
        ] {
            assert_eq!(status(&format!("GET {target} HTTP/1.1\r\nHost: m\r\n\r\n")), "HTTP/1.1 404", "{target}");
        }
        assert_eq!(status("POST /download/1795164357/1795164357-1 HTTP/1.1\r\nHost: m\r\n\r\n"), "HTTP/1.1 405");
        assert_eq!(with("If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT"), "HTTP/1.1 200");
        for extra in
            ["Content-Length: 5", "Transfer-Encoding: chunked", "Host: again", "no colon", " folded: x", "a b: c"]
        {
            assert_eq!(with(extra), "HTTP/1.1 400", "{extra}");
        }
        for line in ["GET  / HTTP/1.1", "GET / HTTP/2.0", "GET /", "", "\u{0}\u{1}\u{2}", "GET /é HTTP/1.1"] {
            assert_eq!(status(&format!("x{line}\r\n\r\n")), "HTTP/1.1 400", "{line:?}");
        }
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 400", "without a host");
        assert_eq!(with(&format!("X: {}", "y".repeat(HEAD))), "HTTP/1.1 431");
        assert_eq!(status(&"y".repeat(HEAD + 10)), "HTTP/1.1 431");
        assert_eq!(status("GET http://m/download/1795164357/1795164357-1 HTTP/1.0\r\n\r\n"), "HTTP/1.1 200");
    }

    #[test]
    fn slow_heads_and_idle_connections_are_ended_and_places_are_counted() {
        let limits = ServeLimits {
            connections: 1,
            head: Duration::from_millis(100),
            // Long enough to be there while the next one asks, also on a busy machine.
            idle: Duration::from_secs(2),
            ..ServeLimits::default()
        };
        let (_root, address) = server(limits);
        let mut idle = TcpStream::connect(address).expect("connected");
        let refused = exchange(address, format!("{FRAGMENT}\r\n").as_bytes());
        assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 503"), "{refused}");
        let mut rest = Vec::new();
        idle.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        idle.read_to_end(&mut rest).expect("it is ended, not reset");
        assert!(rest.is_empty());
        // A place is free again when the thread that had it has come to its end.
        let until = Instant::now() + Duration::from_secs(20);
        let comes = |what: &dyn Fn() -> bool| {
            while !what() {
                assert!(Instant::now() < until, "the place was not given back");
            }
        };
        comes(&|| exchange(address, format!("{FRAGMENT}\r\n").as_bytes()).starts_with("HTTP/1.1 200"));
        // Who comes too early is refused with a word, and a slow head is ended without one.
        comes(&|| {
            let mut slow = TcpStream::connect(address).expect("connected");
            slow.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
            let _ = slow.write_all(b"GET /down");
            slow.read(&mut [0; 10]).is_ok_and(|bytes| bytes == 0)
        });
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(head in proptest::collection::vec(any::<u8>(), 0..200), text in "[A-Z]{3,4} /?[a-z0-9/%.-]{0,30} HTTP/1.[01]\r\n[a-zA-Z:, =0-9-]{0,30}") {
            let _ = parse(&head);
            if let Ok(request) = parse(text.as_bytes()) {
                let _ = key(request.target);
            }
        }
    }
}
