//! The server program: listeners, routes, the agents' door, the tree. Floor 4.
//!
//! ```text
//! listen.rs      places and shares, accept loops, TLS handshakes
//!   connection.rs  phases and deadlines of one connection          sendfile.rs  mapped files → socket
//!     middleware.rs  request number, access log, net under panics
//!       router.rs      every route
//!         ocs.rs         POST /ocsinventory            body.rs   bounded request bodies      sealed.rs  packed replies
//!         identity.rs    the agent's key
//!         tree.rs        /download/<key>
//!         manifest.rs    /download/manifest, for mirrors
//!         pages.rs       ca.pem, health                reply.rs  answers of a sentence
//!         events.rs      what is told as it happens
//!         api/           /api/v1 for programs          console/  pages for people      visit.rs  who asks
//!         verbs.rs       what runs the command line's verbs for somebody elsewhere
//!         ready.rs       can it do its work?           meters.rs what it counts, /metrics
//! chores.rs      what is looked at again and again
//!   repeats.rs     runs of series that are due                           waking.rs  computers that are woken
//! ```
//!
//! Handlers call `service` for everything that has a rule; nothing here knows a table.

mod api;
mod body;
mod chores;
mod connection;
mod console;
mod direct;
mod events;
mod fetches;
mod identity;
mod listen;
mod manifest;
mod meters;
mod middleware;
mod ocs;
mod pages;
mod ready;
mod repeats;
mod reply;
#[cfg(test)]
mod rights;
mod router;
mod sealed;
mod sendfile;
mod tree;
pub mod verbs;
mod visit;
mod waking;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use self::api::Growing;
use self::body::Patience;
use self::chores::Hangup;
use self::connection::{Deadlines, Signal, Stage};
use self::fetches::Fetches;
use self::listen::{Door, Places};
use self::meters::{Meters, Readers};
use self::middleware::RequestIds;
use self::ready::Readiness;
use self::sealed::Sealed;
use self::tree::Files;
use crate::config::server::{Certificate, ServerConfig};
use crate::congestion::{NotPaced, Paced};
use crate::fetch::poster::{self, Poster};
use crate::model::UserAgents;
use crate::service::App;
use crate::service::desk::Refusal;
use crate::service::looks::Looks;
use crate::service::mirrors::Listings;
use crate::service::signin::Guesses;
use crate::service::stopped::Stopped;
use crate::service::works::Works;
use crate::tls::registration::RegistrationKey;
use crate::tls::server::{ServerTls, TlsError, machine_names};
use crate::tls::signing::{SigningError, SigningKey};

/// What cut connections are given to notice.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// One of the two listeners.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listener {
    /// Unencrypted: agents and fragments.
    Http,
    /// Encrypted: everything.
    Https,
}

impl Listener {
    /// The option that chooses its address.
    fn option(self) -> &'static str {
        match self {
            Self::Http => "--http (http in dripfeed.toml)",
            Self::Https => "--https (https in dripfeed.toml)",
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
        })
    }
}

/// The addresses that are really listened on: a configured port 0 is a number here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Addresses {
    /// The HTTP listener's.
    pub http: SocketAddr,
    /// The HTTPS listener's.
    pub https: SocketAddr,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address could not be listened on.
    #[error("{}", bind_sentence(*listener, *address, source))]
    Bind {
        /// For which listener.
        listener: Listener,
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The kernel does not pace as `tcp.congestion` asks.
    #[error("tcp.congestion in dripfeed.toml: {0}")]
    Pace(#[from] NotPaced),
    /// No certificate to serve with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No key to sign manifests with.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

fn bind_sentence(listener: Listener, address: SocketAddr, error: &io::Error) -> String {
    let option = listener.option();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the {listener} listener cannot use {address}: another program listens there; end it or choose another address \
             with {option}"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "the {listener} listener may not use {address}: ports below 1024 need a privilege (CAP_NET_BIND_SERVICE); \
             choose a higher port with {option}"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "the {listener} listener cannot use {address}: this machine has no such address; choose another with {option}"
        ),
        _ => format!("the {listener} listener cannot use {address}; choose another address with {option}"),
    }
}

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
struct Remote(SocketAddr);

/// Host and port by which others reach the two listeners.
struct Authorities {
    http: String,
    https: String,
}

/// What handlers have. A clone for each request is one more reference.
#[derive(Clone)]
struct Site(Arc<Shared>);

impl Deref for Site {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What all requests share.
struct Shared {
    app: App,
    files: Arc<Files>,
    /// From whom a package was taken back.
    stopped: Stopped,
    /// Who fetches what.
    fetches: Arc<Fetches>,
    /// What agents were told lately.
    sealed: Sealed,
    tls: ServerTls,
    addresses: Addresses,
    patience: Patience,
    public_name: Arc<str>,
    /// Large requests that are read at a time.
    heavy: Arc<Semaphore>,
    data_dir: Arc<Path>,
    listings: Listings,
    /// Wrong passwords by address.
    guesses: Arc<Guesses>,
    user_agents: UserAgents,
    /// What manifests are signed with.
    signing: Arc<SigningKey>,
    /// What new agents register with, if they may.
    registration: Option<Arc<RegistrationKey>>,
    meters: Arc<Meters>,
    /// Who may read them.
    readers: Arc<Readers>,
    readiness: Readiness,
    /// Who runs verbs for somebody elsewhere.
    verbs: OnceLock<Arc<dyn verbs::Verbs>>,
    /// Host and port by which others reach the two listeners.
    authorities: Arc<Authorities>,
    /// Builds and checks that go on in the background.
    works: Works,
    /// Looks into uploads.
    looks: Looks,
    /// Uploads that grow.
    growing: Growing,
    /// Who is told things as they happen.
    audience: events::Audience,
    /// What tells webhooks; or why it cannot.
    poster: Arc<Result<Arc<Poster>, String>>,
    /// May webhooks go to private addresses, too?
    private_webhooks: bool,
    /// Is a package activated at once when it is built, unless somebody says otherwise?
    activate_when_built: bool,
}

impl Shared {
    /// Does the configuration hold a registration key?
    fn has_registration_key(&self) -> bool {
        self.registration.is_some()
    }

    /// What tells webhooks.
    fn poster(&self) -> Result<Arc<Poster>, Refusal> {
        self.poster.as_ref().as_ref().map(Arc::clone).map_err(|why| Refusal::conflict(why.clone()))
    }
}

/// A server that listens but does not answer yet: its addresses can be told before the first request.
#[expect(missing_debug_implementations, reason = "sockets, tables and keys have nothing to print")]
pub struct Server {
    site: Site,
    config: ServerConfig,
    http: TcpListener,
    https: TcpListener,
    /// Of each.
    paced: (Paced, Paced),
    hangup: Hangup,
}

impl Server {
    /// Opens both listeners, and makes the certificates if there are none.
    ///
    /// Must be called inside a tokio runtime.
    pub fn bind(config: ServerConfig, app: App) -> Result<Self, ServeError> {
        let http = listen::bind(Listener::Http, config.http)?;
        let https = listen::bind(Listener::Https, config.https)?;
        let paced = (config.pacing.listen(&http)?, config.pacing.listen(&https)?);
        let tls = match &config.certificate {
            Certificate::Own { chain, key } => ServerTls::from_files(chain, key, app.clock.now())?,
            Certificate::Issued { directory } => {
                ServerTls::issued(directory, &certificate_names(&config), app.clock.now())?
            }
        };
        let local = |listener, socket: &TcpListener, address| {
            socket.local_addr().map_err(|source| ServeError::Bind { listener, address, source })
        };
        let addresses = Addresses {
            http: local(Listener::Http, &http, config.http)?,
            https: local(Listener::Https, &https, config.https)?,
        };
        let stopped = Stopped::default();
        chores::refresh(&stopped, &app);
        let shared = Shared {
            stopped,
            fetches: Arc::default(),
            sealed: Sealed::default(),
            files: Arc::new(Files::new(app.tree.clone())),
            app,
            tls,
            addresses,
            patience: Patience {
                total: config.timeouts.body,
                grace: config.timeouts.body_grace,
                rate: config.limits.body_rate,
            },
            public_name: in_url(&config.public_name).into(),
            heavy: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(4, |cores| cores.get() * 2))),
            data_dir: config.data_dir.clone().into(),
            listings: Listings::default(),
            guesses: Arc::default(),
            user_agents: config.user_agents,
            poster: Arc::new(
                Poster::new(config.webhooks.ca_file.as_deref(), config.webhooks.private, poster::PATIENCE)
                    .map(Arc::new)
                    .map_err(|error| error.to_string()),
            ),
            private_webhooks: config.webhooks.private,
            signing: Arc::new(SigningKey::ensure(&config.certificates_dir())?),
            registration: config.registration.key().map(|key| Arc::new(RegistrationKey::new(key))),
            meters: Arc::new(Meters::new()),
            readers: Arc::new(Readers::new(&config.metrics)),
            readiness: Readiness::new(config.limits.free_space),
            verbs: OnceLock::new(),
            authorities: Arc::new(Authorities {
                http: config.authority(addresses.http),
                https: config.authority(addresses.https),
            }),
            works: Works::default(),
            activate_when_built: config.activate_when_built,
            looks: Looks::default(),
            growing: Growing::default(),
            audience: events::Audience::default(),
        };
        Ok(Self { site: Site(Arc::new(shared)), config, http, https, paced, hangup: Hangup::new() })
    }

    /// The same server, which has verbs of the command line run for those who ask over the API.
    #[must_use]
    pub fn with_verbs(self, verbs: Arc<dyn verbs::Verbs>) -> Self {
        self.site.verbs.get_or_init(|| verbs);
        self
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.site.addresses
    }

    /// The certificate, to be reloaded from outside.
    pub fn tls(&self) -> ServerTls {
        self.site.tls.clone()
    }

    /// Answers until `stop` is ready, then lets running requests end within `timeouts.stop`.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { site, config, http, https, paced, hangup } = self;
        listen::raise_file_limit(config.limits.connections);
        let (signal, _) = watch::channel(Signal::default());
        let places = Arc::new(Places::new(config.limits.connections, config.limits.connections_per_peer));
        let door = Door {
            listener: Listener::Http,
            paced: paced.0,
            tls: None,
            router: router::router(site.clone()),
            site: site.clone(),
            ids: Arc::new(RequestIds::new()),
            meters: Arc::clone(&site.meters),
            deadlines: Deadlines {
                header: config.timeouts.header,
                idle: config.timeouts.idle,
                write: config.timeouts.write,
            },
            handshake: config.timeouts.handshake,
            places: Arc::clone(&places),
            signal: signal.clone(),
        };
        let secure = Door { listener: Listener::Https, paced: paced.1, tls: Some(site.tls.clone()), ..door.clone() };
        let loops = [tokio::spawn(listen::accept(door, http)), tokio::spawn(listen::accept(secure, https))];
        tokio::select! {
            () = stop => {}
            never = chores::run(&site, &config, hangup) => match never {},
        }
        site.audience.dismiss();
        signal.send_modify(|signal| signal.stage = Stage::Closing);
        for accepting in loops {
            // It ends at the signal; a panic in it has been told by its hook.
            let _ = accepting.await;
        }
        signal.send_modify(|signal| signal.stage = Stage::Draining);
        if timeout(config.timeouts.stop, places.empty()).await.is_err() {
            tracing::warn!("{} connections did not end within timeouts.stop and are cut", places.taken());
            signal.send_modify(|signal| signal.stage = Stage::Cut);
            let _ = timeout(LAST_MOMENT, places.empty()).await;
        }
    }
}

/// Listens, announces where, and answers until `stop` is ready.
pub async fn run(
    config: ServerConfig,
    app: App,
    stop: impl Future<Output = ()>,
    announce: impl FnOnce(Addresses),
) -> Result<(), ServeError> {
    let server = Server::bind(config, app)?;
    announce(server.addresses());
    server.run(stop).await;
    Ok(())
}

/// A host as a URL has it.
fn in_url(name: &str) -> String {
    if name.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() }
}

/// The names and addresses that the server's own certificate stands for.
fn certificate_names(config: &ServerConfig) -> Vec<String> {
    let mut names = machine_names();
    if !names.contains(&config.public_name) {
        names.push(config.public_name.clone());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_had_is_a_sentence_with_the_option() {
        let address: SocketAddr = "127.0.0.1:80".parse().expect("an address");
        let sentence = |kind: io::ErrorKind| {
            ServeError::Bind { listener: Listener::Http, address, source: kind.into() }.to_string()
        };
        insta::assert_snapshot!(sentence(io::ErrorKind::AddrInUse), @"the HTTP listener cannot use 127.0.0.1:80: another program listens there; end it or choose another address with --http (http in dripfeed.toml)");
        insta::assert_snapshot!(sentence(io::ErrorKind::PermissionDenied), @"the HTTP listener may not use 127.0.0.1:80: ports below 1024 need a privilege (CAP_NET_BIND_SERVICE); choose a higher port with --http (http in dripfeed.toml)");
    }
}
