//! `dripfeed serve`

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::args::{Place, Serve};
use super::context::{AddressFile, Context, Missing, authority, configure, open_with};
use super::door::Door;
use super::output::Output;
use super::{Done, Failure};
use crate::disk::atomic;
use crate::disk::{LockError, lock::LockFile};
use crate::model::access::Scope;
use crate::server::{Addresses, Server};
use crate::service::{App, accounts, reconcile};
use crate::store::users;
use crate::telemetry;

/// Whom the first start makes.
const FIRST_ADMINISTRATOR: &str = "admin";

pub(super) fn run(place: &Place, options: &Serve, output: &mut Output) -> Done {
    // Before anybody can know that it runs: whoever reads the greeting may stop it at once.
    let signals = StopSignals::listen()?;
    let running = start(place, options)?;
    running.greet(output)?;
    output.flush()?;
    signals.wait();
    running.stop()
}

/// SIGINT and SIGTERM. They are caught from here on, so that none of them ends the process half way.
pub(super) struct StopSignals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(inside);
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Until one of them has come.
    pub(super) fn wait(self) {
        let Self { runtime, mut terminate, mut interrupt } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        tracing::info!("stopping: running requests may end");
    }
}

/// A server that runs in threads of its own.
pub(super) struct Running {
    /// Host and port of the HTTPS listener, for people and agents.
    pub(super) https: String,
    http: String,
    ca_file: Option<PathBuf>,
    /// Only on the first start.
    password: Option<String>,
    stop: Arc<Notify>,
    thread: JoinHandle<()>,
    addresses_file: PathBuf,
    /// One server a directory.
    _lock: LockFile,
}

/// Opens everything, heals what a crash left, listens.
pub(super) fn start(place: &Place, options: &Serve) -> Result<Running, Failure> {
    let flags: Vec<(&str, String)> = [("http", &options.http), ("https", &options.https)]
        .into_iter()
        .filter_map(|(key, text)| text.clone().map(|text| (key, text)))
        .collect();
    let (opts, config) = configure(place, &flags)?;
    telemetry::init(&config.log.filter, config.log.format);
    let Context { app, config } = open_with(config, Missing::Make)?;
    let lock = LockFile::acquire(&config.data_dir.join("server.lock")).map_err(|error| match error {
        LockError::Held { .. } => anyhow::Error::from(error).context("a server runs in this directory already"),
        LockError::Io { .. } => error.into(),
    })?;
    heal(&app)?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(telemetry::lines::before_waiting)
        .build()?;
    let server = runtime.block_on(async { Server::bind(config.clone(), app.clone()) })?;
    let server = server.with_verbs(Arc::new(Door { opts, config: config.clone() }));
    // Only a start that can greet makes it: nobody would be told the password of one that found its port in use.
    let password = first_administrator(&app)?;
    let addresses = server.addresses();
    let addresses_file = config.addresses_file();
    write_addresses(&addresses_file, addresses)?;

    let stop = Arc::new(Notify::new());
    let stopping = Arc::clone(&stop);
    let ca_file = server.tls().authority_file();
    let thread = std::thread::Builder::new().name("server".to_owned()).spawn(move || {
        runtime.block_on(async move {
            server.run(async move { stopping.notified().await }).await;
        });
    })?;
    Ok(Running {
        https: authority(&config, addresses.https),
        http: authority(&config, addresses.http),
        ca_file,
        password,
        stop,
        thread,
        addresses_file,
        _lock: lock,
    })
}

fn heal(app: &App) -> Done {
    let healed = reconcile::run(app)?;
    for (ids, what) in [
        (&healed.completed, "was published when the last build ended: marked available"),
        (&healed.discarded, "was never finished: discarded"),
        (&healed.removed, "was withdrawn: removed from the tree"),
    ] {
        for id in ids {
            tracing::warn!(package.id = %id, "package {id} {what}");
        }
    }
    for id in &healed.lost {
        tracing::error!(
            package.id = %id,
            "package {id} is gone from the tree: restore it from a back-up, or withdraw it (dripfeed package withdraw {id})"
        );
    }
    Ok(())
}

fn first_administrator(app: &App) -> Result<Option<String>, Failure> {
    if !app.store.read_now(users::list)?.is_empty() {
        return Ok(None);
    }
    let password = accounts::random_password()?;
    accounts::add(app, FIRST_ADMINISTRATOR, &password, true, accounts::ADMINISTRATOR, Scope::ALL)?;
    Ok(Some(password))
}

fn write_addresses(path: &std::path::Path, addresses: Addresses) -> Done {
    let file = AddressFile { http: addresses.http.to_string(), https: addresses.https.to_string() };
    atomic::write(path, &serde_json::to_vec(&file)?)?;
    Ok(())
}

impl Running {
    /// What a person does next.
    fn greet(&self, output: &mut Output) -> Done {
        output.line(format_args!("dripfeed {} is running", env!("CARGO_PKG_VERSION")))?;
        output.line(format_args!("  web page   https://{}/", self.https))?;
        if self.password.is_some() {
            output.line(format_args!("  sign in    {}", self.sign_in()))?;
        }
        output.line(format_args!("  agents     https://{}/ocsinventory", self.https))?;
        output.line(format_args!("             http://{}/ocsinventory", self.http))?;
        let ca = self.ca_file.as_ref().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
        if let Some(ca) = &ca {
            output.line(format_args!("  CA file    {}", ca.display()))?;
        }
        // Two lines: it is often too long for one, and can be copied all the same.
        output.line("\nStart an agent with")?;
        let ca = ca.map_or("THE-AUTHORITYS-CERTIFICATE.pem".to_owned(), |ca| ca.display().to_string());
        output.line(format_args!("  dripfeed-agent once --server https://{}/ocsinventory \\", self.https))?;
        output.line(format_args!("    --ca {ca}"))?;
        output.line("and see it with")?;
        output.line("  dripfeed computer list")
    }

    /// Name and one-time password, or who knows it.
    pub(super) fn sign_in(&self) -> String {
        match &self.password {
            Some(password) => format!("{FIRST_ADMINISTRATOR} with the one-time password {password}"),
            None => format!(
                "{FIRST_ADMINISTRATOR} (dripfeed user password {FIRST_ADMINISTRATOR} makes a new one-time password)"
            ),
        }
    }

    /// Ends it.
    pub(super) fn stop(self) -> Done {
        self.stop.notify_one();
        self.thread.join().map_err(|_| anyhow::anyhow!("the server's thread panicked"))?;
        // Nobody listens there any more.
        atomic::remove_file(&self.addresses_file)?;
        Ok(())
    }
}
