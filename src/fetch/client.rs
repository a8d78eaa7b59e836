//! The client: one a program, connections kept open between requests.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use rustls::CertificateError;
use ureq::http::{self, Request, Response, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

use super::{FetchError, Proxies, Url, proxy};
use crate::model::UnixTime;
use crate::protocol::proof::{IDENTITY_HEADER, PROOF_HEADER, Proof, Standing, TIME_HEADER};
use crate::tls::client::{TrustedRoots, provider};

/// How many times a fragment may be sent elsewhere before it counts as lost.
const FRAGMENT_REDIRECTS: u32 = 5;
const CHUNK: usize = 64 << 10;

/// Text that is never printed.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

/// User and password for one server. They go nowhere else: not to other hosts, and not in clear where the server's own
/// address asks for TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BasicAuth {
    /// The server that they are for.
    pub server: Url,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// A token that goes to these servers and nowhere else, over TLS only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bearer {
    /// Whom it is for.
    pub servers: Vec<Url>,
    /// The token.
    pub token: Secret,
}

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The only roots that are trusted; without it nothing is fetched over TLS.
    pub ca_file: Option<PathBuf>,
    /// Where a CA file is expected if there is none: for the sentence that says so.
    pub expected_ca_file: Option<PathBuf>,
    /// Check certificates? Without it anybody in between can run commands as root.
    pub verify: bool,
    /// `User-Agent`.
    pub user_agent: String,
    /// The way out; the environment is not asked. A proxy that is spoken to over TLS is checked against the same roots.
    pub proxies: Proxies,
    /// For the server behind a password.
    pub basic_auth: Option<BasicAuth>,
    /// For servers that know us by a token.
    pub bearer: Option<Bearer>,
    /// For name, connection and TLS.
    pub connect_timeout: Duration,
    /// Without a single byte.
    pub read_timeout: Duration,
    /// For one request in all: what trickles would hold up every other package. A fragment goes on where it was.
    pub deadline: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            ca_file: None,
            expected_ca_file: None,
            verify: true,
            user_agent: concat!("dripfeed/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxies: Proxies::default(),
            basic_auth: None,
            bearer: None,
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_mins(2),
            deadline: Duration::from_hours(1),
        }
    }
}

/// Fetches over HTTP and HTTPS, blocking.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    roots: Option<TrustedRoots>,
    expected_ca_file: Option<PathBuf>,
    verify: bool,
    basic_auth: Option<BasicAuth>,
    /// Looked at for whether an address goes through one; the two below are what it goes through.
    proxies: Proxies,
    http_proxy: Option<Proxy>,
    https_proxy: Option<Proxy>,
    bearer: Option<Bearer>,
}

impl Client {
    /// Reads the CA file and checks the proxy; connects to nothing yet.
    pub fn new(options: &ClientOptions) -> Result<Self, FetchError> {
        let roots = match &options.ca_file {
            Some(path) if options.verify => Some(TrustedRoots::read(path)?),
            _ => None,
        };
        let certificates: Vec<Certificate<'static>> = roots
            .iter()
            .flat_map(TrustedRoots::certificates)
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(certificates))
            .disable_verification(!options.verify)
            .unversioned_rustls_crypto_provider(provider())
            .build();
        let clear = options.proxies.http.as_deref().map(proxy::parse).transpose()?;
        let secure = options.proxies.https.as_deref().map(proxy::parse).transpose()?;
        let agent = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .user_agent(options.user_agent.as_str())
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(options.connect_timeout))
            .timeout_recv_response(Some(options.read_timeout))
            .timeout_per_read(Some(options.read_timeout))
            .timeout_per_write(Some(options.read_timeout))
            .timeout_global(Some(options.deadline))
            .build()
            .into();
        Ok(Self {
            agent,
            roots,
            expected_ca_file: options.expected_ca_file.clone(),
            verify: options.verify,
            basic_auth: options.basic_auth.clone(),
            proxies: options.proxies.clone(),
            http_proxy: clear,
            https_proxy: secure,
            bearer: options.bearer.clone(),
        })
    }

    fn way(&self, url: &Url) -> Option<Proxy> {
        self.proxies.proxy_for(url)?;
        if url.is_https() { self.https_proxy.clone() } else { self.http_proxy.clone() }
    }

    /// Sends a body and returns the reply's, at most `limit` bytes. Anything but 200 is an error; stock servers answer
    /// nothing else (ocs-protocol 1.4).
    pub fn post(&self, url: &Url, content_type: &str, body: &[u8], limit: usize) -> Result<Vec<u8>, FetchError> {
        whole(url, self.send(url, content_type, None, body)?, limit)
    }

    /// The same with a proof of who sends it, and with what the server says of that.
    pub fn post_proven(
        &self,
        url: &Url,
        content_type: &str,
        proof: &Proof,
        body: &[u8],
        limit: usize,
    ) -> Result<Judged, FetchError> {
        let response = self.send(url, content_type, Some(proof), body)?;
        let said = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let standing = said(IDENTITY_HEADER).and_then(Standing::parse);
        let time = said(TIME_HEADER).and_then(|text| text.parse().ok()).map(UnixTime::from_millis);
        Ok(Judged { standing, time, body: whole(url, response, limit) })
    }

    fn send(
        &self,
        url: &Url,
        content_type: &str,
        proof: Option<&Proof>,
        body: &[u8],
    ) -> Result<Response<Body>, FetchError> {
        self.check_roots(url)?;
        let mut request = self
            .agent
            .post(url.as_str())
            .config()
            .proxy(self.way(url))
            .build()
            .header(header::CONTENT_TYPE, content_type)
            .header(header::PRAGMA, "no-cache");
        if let Some(value) = self.authorization(url) {
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(proof) = proof {
            request = request.header(PROOF_HEADER, proof.to_header());
        }
        request.send(body).map_err(|error| self.explain(url, error))
    }

    /// Asks an API: any method, any status with its body, at most `limit` bytes. What has no body is sent without one.
    pub fn ask(
        &self,
        method: &str,
        url: &Url,
        headers: &[(&str, &str)],
        body: &[u8],
        limit: usize,
    ) -> Result<Reply, FetchError> {
        self.check_roots(url)?;
        let mut request = Request::builder().method(method).uri(url.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(value) = self.authorization(url) {
            request = request.header(header::AUTHORIZATION, value);
        }
        let invalid =
            |problem: http::Error| FetchError::Protocol { url: url.to_string(), problem: problem.to_string() };
        let response = if body.is_empty() && matches!(method, "GET" | "HEAD" | "DELETE") {
            let request = self.agent.configure_request(request.body(()).map_err(invalid)?);
            self.agent.run(request.proxy(self.way(url)).build())
        } else {
            let request = self.agent.configure_request(request.body(body).map_err(invalid)?);
            self.agent.run(request.proxy(self.way(url)).build())
        };
        let response = response.map_err(|error| self.explain(url, error))?;
        let status = response.status().as_u16();
        let offset = response.headers().get("upload-offset").and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Reply { status, offset, body: read_whole(url, response, limit)? })
    }

    /// Fetches a small file, at most `limit` bytes. Redirects are refused.
    pub fn get(&self, url: &Url, limit: usize) -> Result<Vec<u8>, FetchError> {
        self.check_roots(url)?;
        let mut request = self.agent.get(url.as_str()).config().proxy(self.way(url)).build();
        if let Some(value) = self.authorization(url) {
            request = request.header(header::AUTHORIZATION, value);
        }
        whole(url, request.call().map_err(|error| self.explain(url, error))?, limit)
    }

    /// Fetches a small file unless it is still the one of that validator (`ETag`); `None` if it is. For mirrors: agents
    /// never ask conditionally.
    pub fn get_if_changed(
        &self,
        url: &Url,
        validator: Option<&str>,
        limit: usize,
    ) -> Result<Option<Validated>, FetchError> {
        self.check_roots(url)?;
        let mut request = self.agent.get(url.as_str()).config().proxy(self.way(url)).build();
        if let Some(value) = self.authorization(url) {
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(validator) = validator {
            request = request.header(header::IF_NONE_MATCH, validator);
        }
        let response = request.call().map_err(|error| self.explain(url, error))?;
        if validator.is_some() && response.status().as_u16() == 304 {
            return Ok(None);
        }
        let validator = response.headers().get(header::ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Some(Validated { bytes: whole(url, response, limit)?, validator }))
    }

    /// Fetches a file into what `open` gives, from byte `offset` on if the source can; at most `limit` bytes in all.
    ///
    /// `open` is told where the bytes really begin: at `offset`, or at 0 when the source sends the whole file. Returns
    /// what `open` gave and the file's length. After an error, what was written is a true beginning of the file.
    pub fn get_to<W: Write>(
        &self,
        url: &Url,
        offset: u64,
        limit: u64,
        open: impl FnOnce(u64) -> io::Result<W>,
    ) -> Result<(W, u64), FetchError> {
        self.check_roots(url)?;
        let mut request =
            self.agent.get(url.as_str()).config().max_redirects(FRAGMENT_REDIRECTS).proxy(self.way(url)).build();
        if let Some(value) = self.authorization(url) {
            request = request.header(header::AUTHORIZATION, value);
        }
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        let response = request.call().map_err(|error| self.explain(url, error))?;
        let start = match response.status().as_u16() {
            200 => 0,
            206 if offset > 0 => {
                let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let begins = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
                if begins != Some(offset) {
                    return Err(FetchError::WrongRange {
                        url: url.to_string(),
                        asked: offset,
                        answer: range.unwrap_or("no Content-Range").chars().take(80).collect(),
                    });
                }
                offset
            }
            // Our beginning is as long as the file or longer: it cannot be continued.
            416 => {
                return Err(FetchError::WrongRange {
                    url: url.to_string(),
                    asked: offset,
                    answer: "416, nothing there".to_owned(),
                });
            }
            _ => return Err(refusal(url, &response)),
        };
        let too_large = || FetchError::TooLarge { url: url.to_string(), limit };
        if response.body().content_length().is_some_and(|length| start.saturating_add(length) > limit) {
            return Err(too_large());
        }
        let kept = |source| FetchError::Sink { url: url.to_string(), source };
        let mut sink = open(start).map_err(kept)?;
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; CHUNK];
        let mut total = start;
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(broken_off(url, total, source)),
            };
            total = total.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            if total > limit {
                return Err(too_large());
            }
            sink.write_all(&buffer[..read]).map_err(kept)?;
        }
        sink.flush().map_err(kept)?;
        Ok((sink, total))
    }

    fn check_roots(&self, url: &Url) -> Result<(), FetchError> {
        if url.is_https() && self.verify && self.roots.is_none() {
            return Err(FetchError::NoCaFile { url: url.to_string(), expected: self.expected_ca_file.clone() });
        }
        Ok(())
    }

    fn authorization(&self, url: &Url) -> Option<String> {
        if let Some(Bearer { servers, token }) = &self.bearer
            && url.is_https()
            && servers.iter().any(|server| server.authority().eq_ignore_ascii_case(url.authority()))
        {
            return Some(format!("Bearer {}", token.0));
        }
        let auth = self.basic_auth.as_ref()?;
        let same_host = url.host().eq_ignore_ascii_case(auth.server.host());
        let secret_stays = url.is_https() || !auth.server.is_https();
        (same_host && secret_stays)
            .then(|| format!("Basic {}", base64(format!("{}:{}", auth.user, auth.password.0).as_bytes())))
    }

    fn explain(&self, url: &Url, error: ureq::Error) -> FetchError {
        let authority = || url.authority().to_owned();
        if let Some(error) = rustls_error(&error) {
            return self.explain_tls(authority(), error);
        }
        if let Some((proxy, way)) = self.proxies.proxy_for(url).zip(self.way(url)) {
            if let Some(problem) = proxy::absence(&way, &error) {
                let proxy = proxy::without_credentials(proxy);
                return FetchError::ProxyAway { proxy, authority: authority(), problem };
            }
            if let Some(problem) = proxy::refusal(&way, &error) {
                return FetchError::ProxyRefused { authority: authority(), problem };
            }
        }
        match error {
            ureq::Error::HostNotFound => FetchError::NameNotFound { host: url.host().to_owned() },
            ureq::Error::ConnectionFailed => FetchError::Refused { authority: authority() },
            ureq::Error::Timeout(phase) => FetchError::Timeout { authority: authority(), phase: phase.to_string() },
            ureq::Error::Io(source) => match source.kind() {
                io::ErrorKind::ConnectionRefused => FetchError::Refused { authority: authority() },
                io::ErrorKind::TimedOut => {
                    FetchError::Timeout { authority: authority(), phase: "connection".to_owned() }
                }
                // The system's resolver has no kind of its own for it.
                _ if source.to_string().starts_with("failed to lookup address") => {
                    FetchError::NameNotFound { host: url.host().to_owned() }
                }
                _ => FetchError::Unreachable { authority: authority(), source },
            },
            // Never with the proxy's address: a password may be part of it.
            ureq::Error::ConnectProxyFailed(problem) => FetchError::ProxyRefused { authority: authority(), problem },
            ureq::Error::Tls(problem) => FetchError::Tls { authority: authority(), problem: problem.to_owned() },
            other => FetchError::Protocol { url: url.to_string(), problem: other.to_string() },
        }
    }

    fn explain_tls(&self, authority: String, error: &rustls::Error) -> FetchError {
        let problem = match error {
            rustls::Error::InvalidCertificate(problem) => problem,
            rustls::Error::InvalidMessage(_) => {
                let problem = "what answers there does not speak TLS: is that the http port?".to_owned();
                return FetchError::Tls { authority, problem };
            }
            other => return FetchError::Tls { authority, problem: other.to_string() },
        };
        match problem {
            // A new authority of the same name, as after a new installation, has another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => FetchError::UnknownCa {
                authority,
                ca: self.roots.as_ref().map_or_else(String::new, |roots| roots.path().display().to_string()),
            },
            CertificateError::NotValidForName => FetchError::WrongName { authority, presented: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = presented.iter().take(8).map(|name| bare_name(name)).collect();
                FetchError::WrongName { authority, presented: names }
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => FetchError::Expired { authority },
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                FetchError::NotYetValid { authority }
            }
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => FetchError::CaAsServer { authority },
            other => FetchError::Tls { authority, problem: other.to_string() },
        }
    }
}

/// What an API answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `Upload-Offset`, if it was told.
    pub offset: Option<u64>,
    /// The document.
    pub body: Vec<u8>,
}

/// What a server answered to a message with a proof.
#[derive(Debug)]
pub struct Judged {
    /// What it says of the proof; nothing, if it knows none.
    pub standing: Option<Standing>,
    /// Its own time, where it refuses the sender's.
    pub time: Option<UnixTime>,
    /// The body of a 200; anything else is an error.
    pub body: Result<Vec<u8>, FetchError>,
}

/// A small file and what to ask with next time.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its `ETag`, if the server gave one.
    pub validator: Option<String>,
}

fn whole(url: &Url, response: Response<Body>, limit: usize) -> Result<Vec<u8>, FetchError> {
    if response.status().as_u16() != 200 {
        return Err(refusal(url, &response));
    }
    read_whole(url, response, limit)
}

fn read_whole(url: &Url, response: Response<Body>, limit: usize) -> Result<Vec<u8>, FetchError> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let too_large = || FetchError::TooLarge { url: url.to_string(), limit };
    if response.body().content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut reader = response.into_body().into_reader().take(limit.saturating_add(1));
    match reader.read_to_end(&mut bytes) {
        Ok(_) if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit => Err(too_large()),
        Ok(_) => Ok(bytes),
        Err(source) => Err(broken_off(url, u64::try_from(bytes.len()).unwrap_or(u64::MAX), source)),
    }
}

fn refusal(url: &Url, response: &Response<Body>) -> FetchError {
    let status = response.status().as_u16();
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    match location {
        Some(location) if (300..400).contains(&status) => {
            FetchError::Redirect { url: url.to_string(), status, location: location.chars().take(200).collect() }
        }
        _ => FetchError::Status { url: url.to_string(), status },
    }
}

fn broken_off(url: &Url, received: u64, source: io::Error) -> FetchError {
    match source.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
        Some(ureq::Error::Timeout(phase)) => {
            FetchError::Timeout { authority: url.authority().to_owned(), phase: phase.to_string() }
        }
        _ => FetchError::Short { url: url.to_string(), received, source },
    }
}

/// rustls reports through `io::Error`, which may be wrapped again.
fn rustls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    fn inside(error: &io::Error) -> Option<&rustls::Error> {
        let inner = error.get_ref()?;
        inner
            .downcast_ref::<rustls::Error>()
            .or_else(|| inner.downcast_ref::<ureq::Error>().and_then(rustls_error))
            .or_else(|| inner.downcast_ref::<io::Error>().and_then(inside))
    }
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => inside(error),
        _ => None,
    }
}

/// rustls prints presented names as `DnsName("host")` and `IpAddress(127.0.0.1)`.
fn bare_name(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    inner.trim_matches('"').to_owned()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().enumerate().fold(0, |group, (at, byte)| group | u32::from(*byte) << (16 - 8 * at));
        for place in 0..4 {
            let index = usize::try_from(group >> (18 - 6 * place) & 63).unwrap_or_default();
            text.push(if place <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_basic_authentication_wants_it() {
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
        assert_eq!(base64(b"Aladdin:open sesame"), "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn a_password_goes_to_its_server_only_and_never_in_clear() {
        let client = |server: &str| {
            let server = server.parse().expect("an address");
            let auth = BasicAuth { server, user: "u".to_owned(), password: Secret("p".to_owned()) };
            Client::new(&ClientOptions { basic_auth: Some(auth), ..ClientOptions::default() }).expect("a client")
        };
        let sent = |client: &Client, url: &str| client.authorization(&url.parse().expect("an address")).is_some();
        let secure = client("https://ocs.example:8443/ocsinventory");
        assert!(sent(&secure, "https://ocs.example/download/1/info"));
        assert!(!sent(&secure, "http://ocs.example/download/1/1-1"));
        assert!(!sent(&secure, "https://mirror.example/download/1/info"));
        assert!(sent(&client("http://ocs.example/ocsinventory"), "http://ocs.example/download/1/1-1"));
        assert!(!format!("{secure:?}").contains("\"p\""));
    }

    #[test]
    fn a_token_goes_to_its_servers_only_and_never_in_clear() {
        let servers = vec!["https://a.example:8443/download".parse().expect("an address")];
        let bearer = Bearer { servers, token: Secret("t".to_owned()) };
        let client =
            Client::new(&ClientOptions { bearer: Some(bearer), ..ClientOptions::default() }).expect("a client");
        let sent = |url: &str| client.authorization(&url.parse().expect("an address"));
        assert_eq!(sent("https://A.example:8443/download/manifest").as_deref(), Some("Bearer t"));
        for elsewhere in ["http://a.example:8443/x", "https://a.example/x", "https://b.example:8443/x"] {
            assert_eq!(sent(elsewhere), None, "{elsewhere}");
        }
        assert!(!format!("{client:?}").contains("\"t\""));
    }

    #[test]
    fn tls_without_a_ca_file_says_where_to_put_one() {
        let options = ClientOptions { expected_ca_file: Some("/etc/ca.pem".into()), ..ClientOptions::default() };
        let client = Client::new(&options).expect("a client");
        let error = client.get(&"https://ocs.example/x".parse().expect("an address"), 10).expect_err("no roots");
        insta::assert_snapshot!(error, @"https://ocs.example/x needs a CA file to check the server against: copy the server's certs/ca.pem to /etc/ca.pem or name it with --ca");
    }

    #[test]
    fn a_proxy_must_be_one() {
        let options = ClientOptions { proxies: Proxies::all("::::"), ..ClientOptions::default() };
        assert!(matches!(Client::new(&options), Err(FetchError::Proxy { .. })));
    }
}
