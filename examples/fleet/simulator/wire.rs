//! A client of one's own: HTTP/1.1 over TCP or TLS, on connections that are new or kept, thousands at a time.
//!
//! `fetch::Client` is what agents use, and it blocks: a thread for each of 100,000 computers is not to be had.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dripfeed::fetch::Url;
use dripfeed::tls::client::{TrustedRoots, provider};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// No head of an answer is longer, and no body that an agent asks for is.
const MAX_HEAD: usize = 16 << 10;
const MAX_BODY: u64 = 1 << 30;
/// Client addresses on loopback: a fleet does not come from one, and one has only so many ports.
const SOURCES: u32 = 250;

/// Why there is no answer, or none that is of use.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Trouble {
    /// No connection.
    Connect(io::ErrorKind),
    /// No TLS.
    Handshake(String),
    /// Nothing came in time.
    Timeout,
    /// The connection ended in mid-answer.
    Broken(io::ErrorKind),
    /// No HTTP.
    Unreadable,
    /// Another status than 200.
    Status(u16),
    /// The answer is not what the protocol says.
    Nonsense(&'static str),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(kind) => write!(f, "no connection: {kind}"),
            Self::Handshake(problem) => write!(f, "no TLS: {problem}"),
            Self::Timeout => f.write_str("nothing came in time"),
            Self::Broken(kind) => write!(f, "the connection broke: {kind}"),
            Self::Unreadable => f.write_str("no HTTP"),
            Self::Status(status) => write!(f, "HTTP {status}"),
            Self::Nonsense(what) => f.write_str(what),
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

struct Connection {
    stream: BufReader<Box<dyn Duplex>>,
    is_fresh: bool,
}

/// Scheme and authority.
type Place = (bool, String);

/// The way to all servers.
pub(crate) struct Wire {
    tls: Option<TlsConnector>,
    keep: bool,
    timeout: Duration,
    idle: Mutex<HashMap<Place, Vec<Connection>>>,
    resolved: Mutex<HashMap<String, SocketAddr>>,
}

impl Wire {
    /// `keep`: connections are used again by whoever comes next.
    pub(crate) fn new(ca: Option<&Path>, keep: bool, timeout: Duration) -> Result<Self, Box<dyn std::error::Error>> {
        let tls = ca.map(connector).transpose()?;
        Ok(Self { tls, keep, timeout, idle: Mutex::default(), resolved: Mutex::default() })
    }

    pub(crate) async fn get(&self, who: u32, url: &Url) -> Result<Vec<u8>, Trouble> {
        self.exchange(who, url, "GET", &[]).await
    }

    pub(crate) async fn post(&self, who: u32, url: &Url, body: &[u8]) -> Result<Vec<u8>, Trouble> {
        self.exchange(who, url, "POST", body).await
    }

    async fn exchange(&self, who: u32, url: &Url, method: &str, body: &[u8]) -> Result<Vec<u8>, Trouble> {
        tokio::time::timeout(self.timeout, self.exchange_unbounded(who, url, method, body))
            .await
            .map_err(|_| Trouble::Timeout)?
    }

    async fn exchange_unbounded(&self, who: u32, url: &Url, method: &str, body: &[u8]) -> Result<Vec<u8>, Trouble> {
        let place = (url.is_https(), url.authority().to_owned());
        let mut request = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: OCS-NG_unified_unix_agent_v2.10.0\r\nConnection: {}\r\n",
            if url.path().is_empty() { "/" } else { url.path() },
            place.1,
            if self.keep { "keep-alive" } else { "close" }
        );
        if method == "POST" {
            request.push_str("Content-Type: application/x-compress\r\nContent-Length: ");
            request.push_str(&body.len().to_string());
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let mut message = request.into_bytes();
        message.extend_from_slice(body);
        loop {
            let mut connection = match self.take_idle(&place) {
                Some(connection) => connection,
                None => self.connect(who, url).await?,
            };
            match connection.ask(&message).await {
                Ok(answer) => {
                    if self.keep && answer.is_kept {
                        connection.is_fresh = false;
                        lock(&self.idle).entry(place).or_default().push(connection);
                    }
                    return if answer.status == 200 { Ok(answer.body) } else { Err(Trouble::Status(answer.status)) };
                }
                // The server was about to close it when we sent, as every client of kept connections must expect.
                Err((Trouble::Broken(_), true)) if !connection.is_fresh => {}
                Err((trouble, _)) => return Err(trouble),
            }
        }
    }

    fn take_idle(&self, place: &Place) -> Option<Connection> {
        lock(&self.idle).get_mut(place)?.pop()
    }

    async fn connect(&self, who: u32, url: &Url) -> Result<Connection, Trouble> {
        let address = self.resolve(url).await.map_err(|error| Trouble::Connect(error.kind()))?;
        let stream = self.reach(who, address).await.map_err(|error| Trouble::Connect(error.kind()))?;
        let stream: Box<dyn Duplex> = if url.is_https() {
            let connector = self.tls.as_ref().ok_or_else(|| Trouble::Handshake("no CA file was given".to_owned()))?;
            let name = ServerName::try_from(url.host().to_owned()).map_err(|_| Trouble::Unreadable)?;
            let shaken = connector.connect(name, stream).await;
            Box::new(shaken.map_err(|error| Trouble::Handshake(error.to_string()))?)
        } else {
            Box::new(stream)
        };
        Ok(Connection { stream: BufReader::new(stream), is_fresh: true })
    }

    /// Each computer always comes from the same address. Connections that are kept are all from one, for whoever comes next
    /// takes one that is idle.
    async fn reach(&self, who: u32, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = match address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {
                let number = if self.keep { 0 } else { who % SOURCES };
                let socket = TcpSocket::new_v4()?;
                let source = Ipv4Addr::new(127, 1, 0, u8::try_from(1 + number).unwrap_or(1));
                // On systems whose loopback is one address only, that one it is.
                let _ = socket.bind(SocketAddr::from((source, 0)));
                socket.connect(address).await?
            }
            _ => TcpStream::connect(address).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn resolve(&self, url: &Url) -> io::Result<SocketAddr> {
        if let Some(known) = lock(&self.resolved).get(url.authority()) {
            return Ok(*known);
        }
        let after_host = url.authority().rsplit_once(']').map_or(url.authority(), |(_, rest)| rest);
        let default = if url.is_https() { 443 } else { 80 };
        let port = after_host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(default);
        let all: Vec<SocketAddr> = tokio::net::lookup_host((url.host(), port)).await?.collect();
        // Test servers listen on IPv4's loopback.
        let chosen = all.iter().find(|address| address.is_ipv4()).or(all.first()).copied();
        let chosen = chosen.ok_or(io::ErrorKind::NotFound)?;
        lock(&self.resolved).insert(url.authority().to_owned(), chosen);
        Ok(chosen)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Full handshakes only: what a fleet that was switched off over night makes.
fn connector(ca: &Path) -> Result<TlsConnector, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in TrustedRoots::read(ca)?.certificates() {
        roots.add(certificate.clone())?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

struct Answer {
    status: u16,
    is_kept: bool,
    body: Vec<u8>,
}

/// How the length of a body is told.
enum Framing {
    Length(u64),
    Chunks,
    UntilTheEnd,
}

impl Connection {
    /// With a trouble: did it happen before the first byte of the answer?
    async fn ask(&mut self, message: &[u8]) -> Result<Answer, (Trouble, bool)> {
        let broken = |error: io::Error| Trouble::Broken(error.kind());
        self.stream.write_all(message).await.map_err(|error| (broken(error), true))?;
        self.stream.flush().await.map_err(|error| (broken(error), true))?;
        let head = self.line().await.map_err(|trouble| (trouble, true))?;
        self.rest(&head).await.map_err(|trouble| (trouble, false))
    }

    async fn rest(&mut self, first: &str) -> Result<Answer, Trouble> {
        let broken = |error: io::Error| Trouble::Broken(error.kind());
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
        let status = status.ok_or(Trouble::Unreadable)?;
        let mut framing = Framing::UntilTheEnd;
        let mut is_kept = first.starts_with("HTTP/1.1");
        for _ in 0..100 {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(Trouble::Unreadable)?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                framing = Framing::Length(value.parse().map_err(|_| Trouble::Unreadable)?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Chunks;
            } else if name.eq_ignore_ascii_case("connection") {
                is_kept &= !value.eq_ignore_ascii_case("close");
            }
        }
        let mut body = Vec::new();
        match framing {
            Framing::Length(length) => self.exactly(length, &mut body).await?,
            Framing::Chunks => loop {
                let size = self.line().await?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(|_| Trouble::Unreadable)?;
                self.exactly(size, &mut body).await?;
                if !self.line().await?.is_empty() {
                    return Err(Trouble::Unreadable);
                }
                if size == 0 {
                    break;
                }
            },
            Framing::UntilTheEnd => {
                is_kept = false;
                (&mut self.stream).take(MAX_BODY).read_to_end(&mut body).await.map_err(broken)?;
            }
        }
        Ok(Answer { status, is_kept, body })
    }

    async fn exactly(&mut self, length: u64, body: &mut Vec<u8>) -> Result<(), Trouble> {
        let before = body.len() as u64;
        if before + length > MAX_BODY {
            return Err(Trouble::Nonsense("an answer without an end"));
        }
        body.reserve(usize::try_from(length).unwrap_or_default());
        let read = (&mut self.stream).take(length).read_to_end(body).await;
        match read {
            Ok(_) if body.len() as u64 == before + length => Ok(()),
            Ok(_) => Err(Trouble::Broken(io::ErrorKind::UnexpectedEof)),
            Err(error) => Err(Trouble::Broken(error.kind())),
        }
    }

    /// Without its end.
    async fn line(&mut self) -> Result<String, Trouble> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(MAX_HEAD as u64);
        bounded.read_until(b'\n', &mut line).await.map_err(|error| Trouble::Broken(error.kind()))?;
        if line.pop() != Some(b'\n') {
            let is_too_long = line.len() + 1 >= MAX_HEAD;
            return Err(if is_too_long { Trouble::Unreadable } else { Trouble::Broken(io::ErrorKind::UnexpectedEof) });
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map_err(|_| Trouble::Unreadable)
    }
}
