//! How a fetch fails: a sentence for people, and for the engine what to do next.

use std::io;
use std::path::PathBuf;

use super::InvalidUrl;
use crate::engine::Failure;
use crate::model::ByteSize;
use crate::tls::client::RootsError;

/// Why nothing usable came.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address itself.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The CA file.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The proxy's address.
    #[error("\"{proxy}\" is not a proxy: expected http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT")]
    Proxy {
        /// What was given.
        proxy: String,
    },
    /// The proxy itself is not there.
    #[error(
        "the proxy {proxy} does not answer ({problem}), so {authority} was not reached: is the proxy running, and is its \
         address right?"
    )]
    ProxyAway {
        /// Its address, without user and password.
        proxy: String,
        /// Host and port that were asked for.
        authority: String,
        /// How it does not.
        problem: String,
    },
    /// The proxy would not go on.
    #[error(
        "the proxy lets nobody through to {authority}: {problem}; check its rules, and user and password in its address"
    )]
    ProxyRefused {
        /// Host and port that were asked for.
        authority: String,
        /// What the client says of it.
        problem: String,
    },
    /// TLS without anything to check it against.
    #[error(
        "{url} needs a CA file to check the server against: copy the server's certs/ca.pem to {} or name it with --ca",
        expected.as_ref().map_or_else(|| "this computer".to_owned(), |path| path.display().to_string())
    )]
    NoCaFile {
        /// What was asked for.
        url: String,
        /// Where it would be looked for.
        expected: Option<PathBuf>,
    },
    /// The name is in no directory.
    #[error("the name \"{host}\" is not known: check the address, or the computer's DNS")]
    NameNotFound {
        /// The host.
        host: String,
    },
    /// The port is closed.
    #[error("nothing answers at {authority} (connection refused): is the server running, and is the port right?")]
    Refused {
        /// Host and port.
        authority: String,
    },
    /// The network says no.
    #[error("{authority} cannot be reached")]
    Unreachable {
        /// Host and port.
        authority: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("{authority} did not answer in time ({phase})")]
    Timeout {
        /// Host and port.
        authority: String,
        /// What was waited for.
        phase: String,
    },
    /// The chain does not end in one of the roots.
    #[error(
        "the certificate of {authority} was not signed by {ca}: copy the right server's certs/ca.pem there, or somebody \
         stands in between"
    )]
    UnknownCa {
        /// Host and port.
        authority: String,
        /// The CA file.
        ca: String,
    },
    /// The certificate is for other names.
    #[error(
        "the certificate of {authority} is not for that name{}: use a name that it carries, or renew it",
        names(presented)
    )]
    WrongName {
        /// Host and port.
        authority: String,
        /// Whose it is, if that was told.
        presented: Vec<String>,
    },
    /// Its time is over.
    #[error("the certificate of {authority} has expired: renew it, or set this computer's clock right")]
    Expired {
        /// Host and port.
        authority: String,
    },
    /// Its time has not come.
    #[error("the certificate of {authority} is not valid yet: set this computer's clock, or the server's, right")]
    NotYetValid {
        /// Host and port.
        authority: String,
    },
    /// A certificate that is an authority itself: what `openssl req -x509` makes.
    #[error(
        "the certificate of {authority} is an authority's own (CA:TRUE), which cannot stand for a server: let that \
         authority sign one for the server"
    )]
    CaAsServer {
        /// Host and port.
        authority: String,
    },
    /// Anything else about TLS.
    #[error("no secure connection to {authority}: {problem}")]
    Tls {
        /// Host and port.
        authority: String,
        /// What rustls says.
        problem: String,
    },
    /// An answer other than 200 (206 for a range).
    #[error("{url} was answered {status}{}", meaning(*status))]
    Status {
        /// What was asked for.
        url: String,
        /// The code.
        status: u16,
    },
    /// "Elsewhere", where no elsewhere is followed.
    #[error(
        "{url} was answered {status}, elsewhere: {location}; redirects are not followed here, so use that address itself"
    )]
    Redirect {
        /// What was asked for.
        url: String,
        /// The code.
        status: u16,
        /// Where to.
        location: String,
    },
    /// More came than may.
    #[error("the answer of {url} is larger than {}", ByteSize(*limit))]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The bound.
        limit: u64,
    },
    /// Less came than was announced.
    #[error("the answer of {url} broke off after {received} bytes")]
    Short {
        /// What was asked for.
        url: String,
        /// How many came.
        received: u64,
        /// Why.
        source: io::Error,
    },
    /// The range that came is not the one that was asked for.
    #[error("{url} was asked for the bytes from {asked} on and sent others: {answer}")]
    WrongRange {
        /// What was asked for.
        url: String,
        /// From where.
        asked: u64,
        /// `Content-Range`.
        answer: String,
    },
    /// Not HTTP.
    #[error("{url} was not answered as HTTP: {problem}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What the client says.
        problem: String,
    },
    /// What came could not be kept here.
    #[error("failed to keep what {url} sent")]
    Sink {
        /// What was asked for.
        url: String,
        /// Why.
        source: io::Error,
    },
}

impl FetchError {
    /// What the engine makes of it.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Status { status: 404 | 410, .. } => Failure::Missing,
            Self::TooLarge { .. } | Self::WrongRange { .. } => Failure::Wrong,
            _ => Failure::Transient,
        }
    }

    /// Is this computer's disk full?
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Sink { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

fn names(presented: &[String]) -> String {
    if presented.is_empty() { String::new() } else { format!(" but for {}", presented.join(", ")) }
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => ": the server took the request for malformed, or does not know this agent's version",
        401 => ": user and password are needed (--user, --password)",
        403 => ": forbidden",
        404 => ": there is no such file",
        407 => ": the proxy wants user and password",
        500..=599 => ": the server is in trouble, later again",
        _ => "",
    }
}
