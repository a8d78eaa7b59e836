//! What the server works with: every value checked, nothing that can fail.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::congestion::Pacing;
use crate::model::settings::SettingsLayer;
use crate::model::{AddressRange, ByteSize, UserAgents};
use crate::store::DatabaseUrl;
use crate::telemetry::{LogFilter, LogFormat};

/// The configuration, checked.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Everything that this server keeps is below it.
    pub data_dir: PathBuf,
    /// Where the database is.
    pub database: DatabaseUrl,
    /// Address of the HTTP listener; port 0 is "any".
    pub http: SocketAddr,
    /// Address of the HTTPS listener; port 0 is "any".
    pub https: SocketAddr,
    /// By what agents reach this server: a host name or an address, without port.
    pub public_name: String,
    /// Did somebody say so, or is it this machine's own name?
    pub public_name_is_set: bool,
    /// What agents are told, as far as the configuration says it.
    pub settings: SettingsLayer,
    /// Which programs may check in.
    pub user_agents: UserAgents,
    /// How often groups that depend on the time are asked again.
    pub group_refresh: Duration,
    /// Is a package activated at once when it is built, unless somebody says otherwise?
    pub activate_when_built: bool,
    /// Where webhooks may go.
    pub webhooks: Webhooks,
    /// About how often each mirror is asked whether it answers; `None` is never.
    pub mirror_probe: Option<Duration>,
    /// How computers are woken.
    pub waking: Waking,
    /// Who may read the numbers, besides this machine.
    pub metrics: Metrics,
    /// What new agents register with.
    pub registration: Registration,
    /// What the HTTPS listener shows.
    pub certificate: Certificate,
    /// How the kernel paces what is sent.
    pub pacing: Pacing,
    /// Bounds on what comes in.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What is logged, and how.
    pub log: Log,
}

impl ServerConfig {
    /// Host and port by which a bound address is reached from elsewhere.
    pub fn authority(&self, bound: SocketAddr) -> String {
        let host = if self.public_name_is_set || bound.ip().is_unspecified() {
            self.public_name.clone()
        } else {
            bound.ip().to_string()
        };
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", bound.port()),
            _ => format!("{host}:{}", bound.port()),
        }
    }

    /// The published tree.
    pub fn download_dir(&self) -> PathBuf {
        self.data_dir.join("download")
    }

    /// Where keys and certificates of our own making are.
    pub fn certificates_dir(&self) -> PathBuf {
        self.data_dir.join("certs")
    }

    /// Half-built packages.
    pub fn staging_dir(&self) -> PathBuf {
        self.data_dir.join("staging")
    }

    /// Where the addresses in use are told to other programs.
    pub fn addresses_file(&self) -> PathBuf {
        self.data_dir.join("addresses.json")
    }
}

/// Whose certificate the HTTPS listener shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Certificate {
    /// The administrator's.
    Own {
        /// PEM file: the certificate, then its chain.
        chain: PathBuf,
        /// PEM file: its private key.
        key: PathBuf,
    },
    /// One from this server's own authority.
    Issued {
        /// Where authority, certificate and keys are kept.
        directory: PathBuf,
    },
}

/// Where webhooks may go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Webhooks {
    /// To private and loopback addresses, too?
    pub private: bool,
    /// The authorities that are trusted; the machine's own list without it.
    pub ca_file: Option<PathBuf>,
}

/// How computers are woken over the network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waking {
    /// Computers in a second, 1 or more.
    pub per_second: usize,
    /// UDP ports, one or more.
    pub ports: Vec<u16>,
    /// How often each packet is sent, 1 or more.
    pub repeats: u32,
    /// Into networks with public addresses, too?
    pub any_network: bool,
}

/// Who may read the numbers besides this machine: whoever is what all that is set asks for, and nobody if nothing is.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Metrics {
    /// From where; empty for anywhere.
    pub peers: Vec<AddressRange>,
    /// With what.
    pub token: Option<String>,
}

/// Without the token.
impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// What agents show to register their keys, if they may.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Registration(pub(super) Option<String>);

impl Registration {
    /// The registration key.
    pub fn key(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// Without the key.
impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.0.as_ref().map(|_| "…")).finish()
    }
}

/// Bounds on what comes in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: u32,
    /// Connections at a time of one address.
    pub connections_per_peer: u32,
    /// Bytes of a request's body as it travels.
    pub request_bytes: usize,
    /// Bytes per second that a body must come with.
    pub body_rate: u64,
    /// Bytes that a server that is ready has left on its disks.
    pub free_space: ByteSize,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// A request's head.
    pub header: Duration,
    /// A request's body.
    pub body: Duration,
    /// A request's body before its rate counts.
    pub body_grace: Duration,
    /// Nothing, between two requests.
    pub idle: Duration,
    /// A reader that takes nothing.
    pub write: Duration,
    /// A TLS handshake.
    pub handshake: Duration,
    /// Running requests when the server stops.
    pub stop: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// Which lines.
    pub filter: LogFilter,
    /// In which form.
    pub format: LogFormat,
}
