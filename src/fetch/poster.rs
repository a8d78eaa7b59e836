//! Telling others: JSON to addresses that administrators name.
//!
//! Such an address is a way into whatever network the server stands in, so by default only public ones are spoken to. The
//! addresses are looked at after the name was looked up, and the very same ones are connected to: a name that changes
//! its mind in between gains nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::Url;
use crate::tls::client::{RootsError, TrustedRoots, provider};

/// For a whole delivery: whoever takes longer is told again later.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Where systems keep the authorities that they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// Why nobody was told.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// Nothing to check certificates against.
    #[error("this machine has no list of authorities: name one with webhooks.ca_file in dripfeed.toml")]
    NoAuthorities,
    /// Somebody said no, or something else.
    #[error("{0} was answered: only 2xx counts, and redirects are not followed")]
    Status(u16),
    /// The way there.
    #[error("{0}")]
    Way(String),
}

/// The address is not a public one.
#[derive(Debug, thiserror::Error)]
#[error("{0} is an address of a private network: webhooks.targets = \"any\" in dripfeed.toml allows such")]
struct Private(IpAddr);

/// Posts JSON, blocking.
#[derive(Debug)]
pub struct Poster {
    agent: Agent,
    has_roots: bool,
    patience: Duration,
}

impl Poster {
    /// With authorities from a file, or the machine's own. `private`: may private addresses be told, too? A whole delivery may
    /// take as long as `patience`.
    pub fn new(ca_file: Option<&Path>, private: bool, patience: Duration) -> Result<Self, RootsError> {
        let known = || BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
        let roots = ca_file.map(Path::to_owned).or_else(known).map(|path| TrustedRoots::read(&path)).transpose()?;
        let certificates: Vec<Certificate<'static>> = roots
            .iter()
            .flat_map(TrustedRoots::certificates)
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(certificates))
            .unversioned_rustls_crypto_provider(provider())
            .build();
        let config: Config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .user_agent(concat!("dripfeed/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(patience))
            .build();
        let resolver = Guarded { inner: DefaultResolver::default(), private };
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        Ok(Self { agent, has_roots: roots.is_some(), patience })
    }

    /// Sends a document with headers. The answer's body is not read.
    pub fn post(&self, url: &Url, headers: &[(&str, &str)], document: &str) -> Result<(), PostError> {
        if url.is_https() && !self.has_roots {
            return Err(PostError::NoAuthorities);
        }
        let mut request = self.agent.post(url.as_str()).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send(document).map_err(|error| PostError::Way(self.sentence(url, &error)))?;
        match response.status().as_u16() {
            200..=299 => Ok(()),
            status => Err(PostError::Status(status)),
        }
    }

    fn sentence(&self, url: &Url, error: &Error) -> String {
        match error {
            Error::Io(error) => match error.get_ref() {
                Some(inner) if inner.is::<Private>() => inner.to_string(),
                _ => format!("{} cannot be reached: {error}", url.authority()),
            },
            Error::HostNotFound => format!("the name \"{}\" is not known", url.host()),
            Error::Timeout(_) => format!("{} did not answer within {} s", url.authority(), self.patience.as_secs()),
            other => format!("{}: {other}", url.authority()),
        }
    }
}

/// Looks names up, and refuses those that lead inside.
#[derive(Debug)]
struct Guarded {
    inner: DefaultResolver,
    private: bool,
}

impl Resolver for Guarded {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        match found.iter().map(std::net::SocketAddr::ip).find(|address| !self.private && !is_public(*address)) {
            Some(address) => Err(Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, Private(address)))),
            None => Ok(found),
        }
    }
}

/// An address that anybody on the Internet could ask.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_4(address),
        IpAddr::V6(address) => is_public_6(address),
    }
}

fn is_public_4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // This network, shared (CGN), protocol assignments, 6to4 relays, benchmarks, reserved.
    let special =
        matches!((a, b, c), (0 | 240..=255, ..) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18 | 19, _));
    !(special
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

fn is_public_6(address: Ipv6Addr) -> bool {
    // Global unicast is 2000::/3; within it documentation, and what carries an IPv4 address (6to4, Teredo), is not.
    let [first, second, ..] = address.segments();
    first & 0xe000 == 0x2000 && first != 0x2002 && !(first == 0x2001 && matches!(second, 0 | 0x0db8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in ["1.1.1.1", "93.184.216.34", "100.63.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            assert!(!is_public(inside.parse().expect("an address")), "{inside}");
        }
    }

    #[test]
    fn a_private_address_is_refused_before_it_is_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("nonblocking");
        let address = listener.local_addr().expect("an address");
        let poster = Poster::new(None, false, PATIENCE).expect("a poster");
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("http://{host}:{}/hook", address.port()).parse().expect("an address");
            let error = poster.post(&url, &[], "{}").expect_err("a private address").to_string();
            assert!(error.contains("private network") && error.contains("webhooks.targets"), "{error}");
        }
        assert_eq!(listener.accept().expect_err("nobody came").kind(), io::ErrorKind::WouldBlock);
    }
}
