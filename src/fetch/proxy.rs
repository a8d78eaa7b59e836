//! Which way a request goes: through a proxy, or straight.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};

use super::{FetchError, Url};

/// The proxies of a computer, as the environment's `http_proxy`, `https_proxy` and `no_proxy` say it.
///
/// Each is `http://`, `https://` or `socks5://` (also `socks4://`, `socks4a://`) with `[USER:PASSWORD@]HOST[:PORT]`; without a
/// scheme it is `http://`. Debug output hides user and password.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Proxies {
    /// For addresses in clear.
    pub http: Option<String>,
    /// For addresses that ask for TLS.
    pub https: Option<String>,
    /// Who is reached without: hosts, domains (`example.net`, `.example.net`, `*.example.net`: the domain and all below
    /// it), addresses and networks (`10.0.0.0/8`), each with `:PORT` if only that is meant; `*` is everybody. Separated by
    /// commas or blanks.
    pub except: String,
}

impl Proxies {
    /// The same for every address.
    pub fn all(proxy: &str) -> Self {
        Self { http: Some(proxy.to_owned()), https: Some(proxy.to_owned()), except: String::new() }
    }

    /// The proxy for an address.
    pub fn proxy_for(&self, url: &Url) -> Option<&str> {
        let proxy = if url.is_https() { self.https.as_deref() } else { self.http.as_deref() }?;
        (!self.is_excepted(url)).then_some(proxy)
    }

    fn is_excepted(&self, url: &Url) -> bool {
        let host = url.host().trim_end_matches('.');
        let bracketed = url.authority().rsplit_once(']').map_or(url.authority(), |(_, after)| after);
        let given = bracketed.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let port = given.unwrap_or(if url.is_https() { 443 } else { 80 });
        self.except.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            if entry == "*" {
                return true;
            }
            let (name, only) = with_port(entry);
            only.is_none_or(|only| only == port) && (is_in_network(host, name) || is_in_domain(host, name))
        })
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |proxy: &Option<String>| proxy.as_deref().map(without_credentials);
        f.debug_struct("Proxies")
            .field("http", &hidden(&self.http))
            .field("https", &hidden(&self.https))
            .field("except", &self.except)
            .finish()
    }
}

/// `HOST:PORT` as such; an IPv6 address has more colons, and its port only behind brackets.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    if let Some(rest) = entry.strip_prefix('[')
        && let Some((address, after)) = rest.split_once(']')
    {
        return (address, after.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn is_in_domain(host: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('*').unwrap_or(domain);
    let domain = domain.strip_prefix('.').unwrap_or(domain).trim_end_matches('.');
    if domain.is_empty() || !domain.is_ascii() || !host.is_ascii() {
        return false;
    }
    let Some(start) = host.len().checked_sub(domain.len()) else { return false };
    host[start..].eq_ignore_ascii_case(domain) && (start == 0 || host.as_bytes()[start - 1] == b'.')
}

fn is_in_network(host: &str, network: &str) -> bool {
    let (address, bits) = match network.split_once('/') {
        Some((address, bits)) => (address, bits.parse::<u32>().ok()),
        None => (network, Some(128)),
    };
    let (Ok(host), Ok(network), Some(bits)) = (host.parse::<IpAddr>(), address.parse::<IpAddr>(), bits) else {
        return false;
    };
    let same = |host: u128, network: u128, width: u32| {
        let shift = width - bits.min(width);
        host.checked_shr(shift).unwrap_or(0) == network.checked_shr(shift).unwrap_or(0)
    };
    match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => same(host.to_bits().into(), network.to_bits().into(), 32),
        (IpAddr::V6(host), IpAddr::V6(network)) => same(host.to_bits(), network.to_bits(), 128),
        _ => false,
    }
}

/// A proxy's address as it may be printed.
pub fn without_credentials(proxy: &str) -> String {
    let (scheme, rest) = proxy.split_once("://").map_or(("", proxy), |(scheme, rest)| (scheme, rest));
    let end = rest.find('/').unwrap_or(rest.len());
    // A password may hold an @ of its own, and a careless one a slash: the last @ of all counts.
    let rest = rest.rsplit_once('@').map_or_else(|| rest[..end].to_owned(), |(_, host)| format!("…@{host}"));
    if scheme.is_empty() { rest } else { format!("{scheme}://{rest}") }
}

pub(super) fn parse(proxy: &str) -> Result<ureq::Proxy, FetchError> {
    ureq::Proxy::new(proxy).map_err(|_| FetchError::Proxy { proxy: without_credentials(proxy) })
}

/// How the proxy itself does not answer, if that is what went wrong. One that does answer says in words of its own that a
/// server is away.
pub(super) fn absence(proxy: &ureq::Proxy, error: &ureq::Error) -> Option<String> {
    const REFUSED: &str = "connection refused";
    const SILENT: &str = "no answer in time";
    const UNKNOWN: &str = "its name is not known";
    match error {
        ureq::Error::ConnectionFailed => Some(REFUSED.to_owned()),
        ureq::Error::Timeout(ureq::Timeout::Connect) => Some(SILENT.to_owned()),
        ureq::Error::HostNotFound => is_unknown(proxy).then(|| UNKNOWN.to_owned()),
        ureq::Error::Io(source) => match source.kind() {
            io::ErrorKind::ConnectionRefused => Some(REFUSED.to_owned()),
            io::ErrorKind::TimedOut => Some(SILENT.to_owned()),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Some(source.to_string()),
            _ if source.to_string().starts_with("failed to lookup address") => {
                is_unknown(proxy).then(|| UNKNOWN.to_owned())
            }
            _ => None,
        },
        _ => None,
    }
}

/// What a SOCKS proxy says against the way: HTTP proxies say it with an error of their own.
pub(super) fn refusal(proxy: &ureq::Proxy, error: &ureq::Error) -> Option<String> {
    use ureq::ProxyProtocol::{Http, Https};
    match error {
        ureq::Error::Io(source) if !matches!(proxy.protocol(), Http | Https) => {
            let is_said = matches!(source.kind(), io::ErrorKind::Other | io::ErrorKind::PermissionDenied);
            is_said.then(|| source.to_string())
        }
        _ => None,
    }
}

/// Is it the proxy's name that nobody knows? Some kinds of proxy are told an address, so the server's own name is looked up
/// here, too.
fn is_unknown(proxy: &ureq::Proxy) -> bool {
    let host = proxy.host().trim_start_matches('[').trim_end_matches(']');
    !proxy.resolve_target() || (host, proxy.port()).to_socket_addrs().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_excepted_is_reached_straight() {
        let proxies = Proxies {
            except: "localhost, .example.net *.corp,10.0.0.0/8 [::1]:8443,only:8080,fe80::/10".to_owned(),
            ..Proxies::all("http://proxy:3128")
        };
        let way = |url: &str| {
            if proxies.proxy_for(&url.parse().expect("an address")).is_some() { "proxy" } else { "straight" }
        };
        let told: Vec<String> = [
            "http://localhost/x",
            "https://localhost:8443/x",
            "http://mylocalhost/",
            "http://example.net/",
            "http://a.Example.NET/",
            "http://badexample.net/",
            "http://a.corp/",
            "http://10.1.2.3/",
            "http://11.1.2.3/",
            "https://[::1]:8443/",
            "https://[::1]/",
            "http://only:8080/",
            "http://only/",
            "http://[fe80::1]/",
            "http://10.example.org/",
        ]
        .map(|url| format!("{url} {}", way(url)))
        .to_vec();
        insta::assert_snapshot!(told.join("\n"), @r"
        http://localhost/x straight
        https://localhost:8443/x straight
        http://mylocalhost/ proxy
        http://example.net/ straight
        http://a.Example.NET/ straight
        http://badexample.net/ proxy
        http://a.corp/ straight
        http://10.1.2.3/ straight
        http://11.1.2.3/ proxy
        https://[::1]:8443/ straight
        https://[::1]/ proxy
        http://only:8080/ straight
        http://only/ proxy
        http://[fe80::1]/ straight
        http://10.example.org/ proxy
        ");
        let none = Proxies { except: "*".to_owned(), ..Proxies::all("http://proxy") };
        assert_eq!(none.proxy_for(&"http://a/".parse().expect("an address")), None);
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let proxies =
            Proxies { http: Some("http://a".to_owned()), https: Some("socks5://b".to_owned()), except: String::new() };
        assert_eq!(proxies.proxy_for(&"http://x/".parse().expect("an address")), Some("http://a"));
        assert_eq!(proxies.proxy_for(&"https://x/".parse().expect("an address")), Some("socks5://b"));
    }

    #[test]
    fn credentials_are_never_printed() {
        for proxy in [
            "http://user:pass@proxy:3128",
            "user:pass@proxy",
            "socks5://user:p@ss@proxy:1080/",
            "http://u:pa/pass@proxy",
        ] {
            let printed = without_credentials(proxy);
            assert!(printed.contains("proxy") && !printed.contains("pass") && !printed.contains("user"), "{printed}");
            let debug = format!("{:?}", Proxies::all(proxy));
            assert!(!debug.contains("pass") && !debug.contains("ss@"), "{debug}");
        }
        assert_eq!(without_credentials("http://proxy:3128"), "http://proxy:3128");
        let error = parse("::user:pass@::").expect_err("no address").to_string();
        assert!(!error.contains("pass"), "{error}");
    }
}
