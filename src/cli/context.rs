//! What every verb needs: the configuration, checked, and the application over its data directory.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::args::Place;
use super::{Failure, terminal};
use crate::clock::Clock;
use crate::config::server::{Certificate, ConfigError, ServerConfig, ServerOpts};
use crate::disk::published::PublishedTree;
use crate::model::limits::{ArchiveLimits, RequestLimits};
use crate::service::App;
use crate::service::desk::{Actor, Desk, Kind, Refusal, Via};
use crate::service::publish::Source;
use crate::store::audit::{self, Entry};
use crate::store::{DatabaseUrl, Store};

/// The configuration and the application.
pub(super) struct Context {
    pub(super) app: App,
    pub(super) config: ServerConfig,
}

/// The addresses in use, as `addresses.json` tells them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct AddressFile {
    pub(super) http: String,
    pub(super) https: String,
}

/// May a verb make what is not there?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Missing {
    /// It may: `serve`, and verbs that make the first thing.
    Make,
    /// It may not: a mistyped directory would look like an empty server.
    Refuse,
}

/// What a server that runs a verb for somebody elsewhere has open already.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// Its first change takes the line of the audit log along.
    pub(super) app: App,
    /// Theirs, for verbs that are the same in the console.
    pub(super) desk: Desk,
    /// What stands for the file that the verb names.
    pub(super) upload: Option<Source>,
    pub(super) opts: ServerOpts,
    pub(super) config: ServerConfig,
}

/// Collects and checks the configuration.
pub(super) fn configure(place: &Place, flags: &[(&str, String)]) -> Result<(ServerOpts, ServerConfig), Failure> {
    if let Some(served) = &place.served {
        return Ok((served.opts.clone(), served.config.clone()));
    }
    let mut flags = flags.to_vec();
    if let Some(directory) = &place.data_dir {
        flags.push(("data_dir", directory.display().to_string()));
    }
    let refuse = |error: ConfigError| Failure::Refused(error.into());
    let opts = ServerOpts::gather(place.config.as_deref(), &flags).map_err(refuse)?;
    let config = opts.check().map_err(refuse)?;
    Ok((opts, config))
}

/// Opens what a verb works on.
pub(super) fn open(place: &Place) -> Result<Context, Failure> {
    open_place(place, Missing::Refuse)
}

/// The same for a verb that may be the first one in a directory.
pub(super) fn open_or_make(place: &Place) -> Result<Context, Failure> {
    open_place(place, Missing::Make)
}

fn open_place(place: &Place, missing: Missing) -> Result<Context, Failure> {
    let (_, config) = configure(place, &[])?;
    open_typed(place, config, missing)
}

/// The same with a configuration that was read before. What the verb changes has its line in the audit log.
pub(super) fn open_typed(place: &Place, config: ServerConfig, missing: Missing) -> Result<Context, Failure> {
    if let Some(served) = &place.served {
        return Ok(Context { app: served.app.clone(), config });
    }
    let Context { mut app, config } = open_with(config, missing)?;
    if let Some(typed) = &place.typed {
        let entry = Entry {
            at: app.clock.now(),
            actor: administrator(),
            via: Via::CommandLine.as_str(),
            peer_address: String::new(),
            action: typed.words.clone(),
            subject: typed.given.clone(),
            before: None,
            after: None,
        };
        app.store = app.store.with_first(move |conn| audit::add(conn, &entry));
    }
    Ok(Context { app, config })
}

/// The administrators' desk, or that of whoever is elsewhere, for verbs that are the same in the console: it writes its own
/// lines.
pub(super) fn desk(place: &Place, app: App) -> Desk {
    match &place.served {
        Some(served) => served.desk.clone(),
        None => Desk::new(app, Actor::command_line(administrator())),
    }
}

/// A desk's refusal as an exit code.
pub(super) fn refused(refusal: Refusal) -> Failure {
    match refusal.kind {
        Kind::Failed | Kind::Later => Failure::Failed(refusal.into()),
        _ => Failure::Refused(refusal.into()),
    }
}

/// The same without a line in the audit log: the server's own doing.
pub(super) fn open_with(config: ServerConfig, missing: Missing) -> Result<Context, Failure> {
    if missing == Missing::Refuse
        && let DatabaseUrl::Sqlite(path) = &config.database
        && !path.exists()
    {
        return Err(Failure::refused(format!(
            "there is no server in {}: start one with `dripfeed serve`, or name its directory with --data-dir",
            config.data_dir.display()
        )));
    }
    std::fs::create_dir_all(&config.data_dir).map_err(|error| {
        Failure::refused(format!("the data directory {} cannot be made: {error}", config.data_dir.display()))
    })?;
    let store = Store::open(&config.database)?;
    let tree = PublishedTree::open(&config.download_dir(), &config.staging_dir())?;
    let app = App {
        store,
        tree,
        clock: Clock::System,
        request_limits: RequestLimits { body: config.limits.request_bytes, ..RequestLimits::DEFAULT },
        archive_limits: ArchiveLimits::DEFAULT,
        configured: config.settings.clone(),
    };
    Ok(Context { app, config })
}

impl Context {
    /// How agents reach a listener: by the public name, or by the very address if it is bound to one.
    pub(super) fn authority(
        &self,
        pick: impl Fn(&AddressFile) -> &str,
        configured: std::net::SocketAddr,
    ) -> Result<String, Failure> {
        let address = match self.addresses() {
            Some(file) => pick(&file).parse().unwrap_or(configured),
            None => configured,
        };
        if address.port() == 0 {
            return Err(Failure::refused(
                "the server picks a free port at its start and does not run: start it, or name --info-location and \
                 --fragment-location",
            ));
        }
        Ok(authority(&self.config, address))
    }

    fn addresses(&self) -> Option<AddressFile> {
        let text = std::fs::read_to_string(self.config.addresses_file()).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The authority that agents of this server trust, if the certificate is ours.
    pub(super) fn ca_file(&self) -> Option<PathBuf> {
        match &self.config.certificate {
            Certificate::Issued { directory } => Some(directory.join("ca.pem")),
            Certificate::Own { .. } => None,
        }
    }
}

/// Host and port by which a bound address is reached from elsewhere.
pub(super) fn authority(config: &ServerConfig, bound: std::net::SocketAddr) -> String {
    config.authority(bound)
}

/// Who acts: the account that runs the verb, or whoever has it run from elsewhere.
pub(super) fn administrator() -> String {
    terminal::actor().or_else(crate::config::server::account_name).unwrap_or_else(|| "command line".to_owned())
}
