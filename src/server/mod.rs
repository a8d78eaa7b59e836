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
//!         repeats.rs     runs of series that are due                   waking.rs  computers that are woken
//! ```
//!
//! Handlers call `service` for everything that has a rule; nothing here knows a table.

mod api;
mod body;
mod connection;
mod console;
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::api::Growing;
use self::body::Patience;
use self::connection::{Deadlines, Signal, Stage};
use self::fetches::Fetches;
use self::listen::{Door, Places};
use self::meters::{Meters, Readers};
use self::middleware::RequestIds;
use self::ready::Readiness;
use self::sealed::Sealed;
use self::tree::Files;
use crate::config::server::{Certificate, ServerConfig};
use crate::congestion::NotPaced;
use crate::fetch::poster::{self, Poster};
use crate::model::UserAgents;
use crate::service::desk::Refusal;
use crate::service::looks::Looks;
use crate::service::mirrors::Listings;
use crate::service::mirrors::probe::{self, Prober};
use crate::service::signin::Guesses;
use crate::service::stopped::Stopped;
use crate::service::webhooks;
use crate::service::works::Works;
use crate::service::{App, fields as own_fields, groups, mass};
use crate::service::{uploads, wake, withdraw};
use crate::tls::registration::RegistrationKey;
use crate::tls::server::{ServerTls, TlsError, machine_names};
use crate::tls::signing::{SigningError, SigningKey};

/// Between two looks at files that are mapped but no longer published.
const SWEEP: Duration = Duration::from_mins(1);
/// Between two looks for cancelled jobs: so long may an agent go on after its job was cancelled.
const STOPPED: Duration = Duration::from_secs(5);
/// Between two looks for what webhooks are to be told.
const TELL: Duration = Duration::from_secs(5);
/// Between two looks for runs of series that are due.
const REPEAT: Duration = Duration::from_secs(5);
/// Between two looks at which mirrors are to be asked whether they answer, at most.
const PROBE: Duration = Duration::from_secs(5);
/// Between two looks at our own certificate's end.
const RENEWAL: Duration = Duration::from_hours(24);
/// Between two looks for abandoned uploads and withdrawn packages whose time has come.
const EXPIRY: Duration = Duration::from_hours(1);
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
    hangup: Hangup,
}

impl Server {
    /// Opens both listeners, and makes the certificates if there are none.
    ///
    /// Must be called inside a tokio runtime.
    pub fn bind(config: ServerConfig, app: App) -> Result<Self, ServeError> {
        let http = listen::bind(Listener::Http, config.http)?;
        let https = listen::bind(Listener::Https, config.https)?;
        if let Some(congestion) = &config.congestion {
            congestion.pace(&http)?;
            congestion.pace(&https)?;
        }
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
        refresh(&stopped, &app);
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
        Ok(Self { site: Site(Arc::new(shared)), config, http, https, hangup: Hangup::new() })
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
        let Self { site, config, http, https, hangup } = self;
        listen::raise_file_limit(config.limits.connections);
        let (signal, _) = watch::channel(Signal::default());
        let places = Arc::new(Places::new(config.limits.connections, config.limits.connections_per_peer));
        let door = Door {
            listener: Listener::Http,
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
        let secure = Door { listener: Listener::Https, tls: Some(site.tls.clone()), ..door.clone() };
        let loops = [tokio::spawn(listen::accept(door, http)), tokio::spawn(listen::accept(secure, https))];
        tokio::select! {
            () = stop => {}
            never = chores(&site, &config, hangup) => match never {},
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

/// What a server does besides answering: lets go of withdrawn files, renews and reloads its certificate.
async fn chores(site: &Site, config: &ServerConfig, mut hangup: Hangup) -> std::convert::Infallible {
    let mut sweep = interval(SWEEP);
    let mut renewal = interval(RENEWAL);
    let mut cancelled = interval(STOPPED);
    let mut refreshed = interval(config.group_refresh);
    let mut expiry = interval(EXPIRY);
    expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = interval(TELL);
    let telling = Running::default();
    let prober = config.mirror_probe.and_then(|every| prober(every, &site.app));
    let mut asked = interval(config.mirror_probe.unwrap_or(PROBE).min(PROBE));
    let probing = Running::default();
    if config.mirror_probe.is_none() {
        let app = site.app.clone();
        let _ = tokio::task::spawn_blocking(move || forget_probes(&app)).await;
    }
    let mut repeated = interval(REPEAT);
    let repeating = Running::default();
    repeated.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waker = waking::Waker::new(config.waking.clone());
    asked.set_missed_tick_behavior(MissedTickBehavior::Delay);
    told.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    cancelled.set_missed_tick_behavior(MissedTickBehavior::Delay);
    refreshed.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = sweep.tick() => {
                let files = Arc::clone(&site.files);
                // A stat for each kept file: beside the workers.
                let _ = tokio::task::spawn_blocking(move || files.sweep()).await;
            }
            _ = cancelled.tick() => {
                let (stopped, app) = (site.stopped.clone(), site.app.clone());
                let _ = tokio::task::spawn_blocking(move || refresh(&stopped, &app)).await;
            }
            _ = told.tick() => tell(site, &telling),
            _ = repeated.tick() => {
                let app = site.app.clone();
                repeating.start("series", move || repeats::begin(&app));
            }
            () = waker.next() => waker.take(&site.app),
            _ = asked.tick() => if let Some(prober) = &prober { ask_mirrors(site, prober, &probing) },
            _ = refreshed.tick() => {
                let app = site.app.clone();
                let _ = tokio::task::spawn_blocking(move || ask_again(&app)).await;
            }
            _ = expiry.tick() => {
                let app = site.app.clone();
                let _ = tokio::task::spawn_blocking(move || expire(&app)).await;
            }
            _ = renewal.tick() => {
                if let Err(error) = site.tls.renew(&certificate_names(config), site.app.clock.now()) {
                    tracing::error!("the certificate was not renewed: {:#}", anyhow::Error::from(error));
                }
            }
            () = hangup.wait() => match site.tls.reload(site.app.clock.now()) {
                Ok(()) => tracing::info!("the certificate was reloaded"),
                Err(error) => tracing::error!(
                    "the certificate was not reloaded, the present one stays: {:#}",
                    anyhow::Error::from(error)
                ),
            },
        }
    }
}

/// Time alone makes members and ends memberships.
fn ask_again(app: &App) {
    match groups::refresh_timed(app) {
        Ok(refreshed) => {
            for group in refreshed.iter().filter(|group| group.joined + group.left > 0) {
                tracing::info!(
                    group = group.name,
                    "group {}: {} joined, {} left, {} jobs planned",
                    group.name,
                    group.joined,
                    group.left,
                    group.planned
                );
            }
        }
        Err(error) => tracing::error!("groups were not asked again: {:#}", anyhow::Error::from(error)),
    }
}

/// Is a chore that may take long still at work? Others may be slow to answer, and neither the other chores nor the end of the
/// server wait for them.
#[derive(Clone, Default)]
struct Running(Arc<AtomicBool>);

impl Running {
    /// Does it in a thread of its own, unless it is being done.
    fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) {
        if self.0.swap(true, Ordering::AcqRel) {
            return;
        }
        // Dropped with the closure: also when there is no thread, and when the work panics.
        let ended = Ended(self.clone());
        let work = move || {
            let _ended = ended;
            work();
        };
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
            tracing::error!("no thread for {name}: {error}");
        }
    }
}

/// The work's end.
struct Ended(Running);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

/// Tells webhooks; what was not told is told after the next start.
fn tell(site: &Site, telling: &Running) {
    let Ok(poster) = site.poster() else { return };
    let app = site.app.clone();
    telling.start("webhooks", move || {
        if let Err(error) = webhooks::tell(&app, &poster) {
            tracing::error!("webhooks were not told: {:#}", anyhow::Error::from(error));
        }
    });
}

/// What asks mirrors whether they answer.
fn prober(every: Duration, app: &App) -> Option<Arc<Prober>> {
    match Prober::new(every) {
        Ok(prober) => Some(Arc::new(prober)),
        Err(error) => {
            tracing::error!("mirrors are not asked whether they answer: {:#}", anyhow::Error::from(error));
            forget_probes(app);
            None
        }
    }
}

/// Asks the mirrors whose turn it is.
fn ask_mirrors(site: &Site, prober: &Arc<Prober>, probing: &Running) {
    let (app, prober) = (site.app.clone(), Arc::clone(prober));
    probing.start("mirrors", move || {
        if let Err(error) = prober.round(&app, Instant::now()) {
            tracing::error!("mirrors were not asked whether they answer: {:#}", anyhow::Error::from(error));
        }
    });
}

/// Nobody asks mirrors any more, so nobody would find that a lost one is back.
fn forget_probes(app: &App) {
    if let Err(error) = probe::forget(app) {
        tracing::error!("what is known of lost mirrors was not forgotten: {:#}", anyhow::Error::from(error));
    }
}

/// What is known stays when the database does not answer.
fn refresh(stopped: &Stopped, app: &App) {
    if let Err(error) = stopped.refresh(app) {
        tracing::error!("failed to look for cancelled jobs: {:#}", anyhow::Error::from(error));
    }
}

/// Removes what nobody came back for.
fn expire(app: &App) {
    match uploads::expire(app) {
        Ok(0) => {}
        Ok(count) => tracing::info!("{count} abandoned uploads were removed"),
        Err(error) => tracing::error!("failed to remove abandoned uploads: {:#}", anyhow::Error::from(error)),
    }
    match withdraw::forget_old(app) {
        Ok(0) => {}
        Ok(count) => tracing::info!("the files of {count} withdrawn packages were removed: their time was over"),
        Err(error) => tracing::error!("failed to remove withdrawn packages: {:#}", anyhow::Error::from(error)),
    }
    match own_fields::forget_old(app).and_then(|fields| Ok((fields, mass::forget_old(app)?))) {
        Ok((0, 0)) => {}
        Ok((fields, changes)) => {
            tracing::info!("{fields} deleted fields and {changes} changes of many computers cannot be undone any more");
        }
        Err(error) => tracing::error!("failed to forget what cannot be undone: {:#}", anyhow::Error::from(error)),
    }
    if let Err(error) = wake::forget_old(app) {
        tracing::error!("failed to forget who was woken long ago: {:#}", anyhow::Error::from(error));
    }
}

/// SIGHUP, where there is one. Caught from here on: before that it would end the process.
struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    fn new() -> Self {
        Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
                .inspect_err(|error| tracing::warn!("SIGHUP will not reload the certificate: {error}"))
                .ok(),
        }
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
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
