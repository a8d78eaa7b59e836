//! `dripfeed-mirror`: arguments → run → exit code.
//!
//! Exit codes: 0 the copy is like the source (for `verify`: nothing was wrong), 1 it is not, 2 arguments.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::local::{Last, Local, LocalError};
use super::plan::{SyncPlan, plan};
use super::serve::{ServeLimits, Server};
use super::source::{Source, SourceError, Sources};
use super::sync::{Watcher, Wish, look, sync};
use super::verify::{Verified, verify};
use crate::congestion::Pacing;
use crate::fetch::{Bearer, Client, ClientOptions, Secret};
use crate::model::{ByteSize, PackageId, span};
use crate::protocol::PackageFilter;
use crate::tls::signing;

/// Keeps a copy of a dripfeed server's download tree near its computers.
#[derive(Debug, Parser)]
#[command(name = "dripfeed-mirror", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Become like the source; every package appears whole or not at all
    Sync(Sync),
    /// Show what a sync would do
    Plan {
        #[command(flatten)]
        from: From,
    },
    /// Read every file of the copy again; what is wrong is removed and comes again with the next sync
    Verify {
        /// Directory of the mirror
        #[arg(long, value_name = "DIRECTORY")]
        to: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Serve the copy where there is no web server; info files over HTTPS only
    Serve(Serve),
}

#[derive(Args, Clone, Debug)]
struct Sync {
    #[command(flatten)]
    from: From,
    /// Fragments that come at a time
    #[arg(long, value_name = "N", default_value_t = 4)]
    jobs: usize,
    /// Bytes per second at the most, such as 2M
    #[arg(long, value_name = "RATE")]
    limit: Option<ByteSize>,
    /// Read every file of the copy first; what is wrong is removed and comes again
    #[arg(long)]
    verify: bool,
    /// Go on for ever, so long between two syncs: 90s, 10m, 1h, a year at most
    #[arg(long, value_name = "TIME", value_parser = span)]
    every: Option<Duration>,
}

#[derive(Args, Clone, Debug)]
struct Serve {
    /// Directory of the mirror
    #[arg(long, value_name = "DIRECTORY")]
    to: PathBuf,
    /// Address of the HTTP listener [default: 0.0.0.0:8080 unless --https is given]
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Address of the HTTPS listener
    #[arg(long, value_name = "ADDRESS:PORT", requires_all = ["certificate", "private_key"])]
    https: Option<SocketAddr>,
    /// PEM file of the certificate, its authority's behind it
    #[arg(long, value_name = "FILE", requires = "https")]
    certificate: Option<PathBuf>,
    /// PEM file of the certificate's key
    #[arg(long, value_name = "FILE", requires = "https")]
    private_key: Option<PathBuf>,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = ServeLimits::default().connections)]
    connections: usize,
    /// How the kernel paces what is sent: auto (no timers for readers that are near), system (as this machine is set), or a
    /// name such as cubic
    #[arg(long, value_name = "HOW", default_value = "auto")]
    congestion: Pacing,
}

#[derive(Args, Clone, Debug)]
struct From {
    /// Tree of the server: https://HOST:PORT/download. Given several times, the next is asked when one fails
    #[arg(long = "from", value_name = "URL", required = true)]
    servers: Vec<String>,
    /// Directory of the mirror; web servers serve its `download`
    #[arg(long, value_name = "DIRECTORY")]
    to: PathBuf,
    /// PEM file of the authority that signed the server's certificate
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Only these packages: numbers and names of families, * for any letters
    #[arg(long, value_name = "ID|NAME,…")]
    packages: Option<PackageFilter>,
    /// What the server knows this mirror by (dripfeed mirror token NAME); better in the environment
    #[arg(long, value_name = "TOKEN", env = "DRIPFEED_MIRROR_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The key that manifests must be signed with (dripfeed mirror key) [default: the first one that is seen]
    #[arg(long, value_name = "HEX", value_parser = key)]
    key: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl From {
    fn wish(&self) -> Wish {
        Wish { packages: self.packages.clone().unwrap_or_default(), trusted: self.key.clone() }
    }
}

fn key(text: &str) -> Result<String, String> {
    let text = text.trim().to_ascii_lowercase();
    if signing::is_key(&text) {
        return Ok(text);
    }
    Err("expected the 64 hexadecimal digits that `dripfeed mirror key` prints on the server".to_owned())
}

/// Why a command ended early.
enum Failure {
    /// Arguments.
    Refused(anyhow::Error),
    /// The copy is not like the source.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> std::convert::From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Command::Sync(wanted) => run_sync(&wanted),
        Command::Plan { from } => run_plan(&from),
        Command::Verify { to, json } => run_verify(&to, json),
        Command::Serve(serve) => run_serve(&serve),
    };
    let (error, code) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Refused(error)) => (error, 2),
        Err(Failure::Failed(error)) => (error, 1),
    };
    complain(&error);
    ExitCode::from(code)
}

fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "error: {error:#}");
}

fn sources(from: &From, limit: Option<ByteSize>) -> Result<Sources, Failure> {
    let refuse = |error: SourceError| Failure::Refused(error.into());
    let sources: Vec<Source> =
        from.servers.iter().map(|address| Source::new(address).map_err(refuse)).collect::<Result<_, _>>()?;
    let bearer = from.token.as_ref().map(|token| Bearer {
        servers: sources.iter().map(|source| source.url().clone()).collect(),
        token: Secret(token.trim().to_owned()),
    });
    let options = ClientOptions {
        ca_file: from.ca.clone(),
        user_agent: concat!("dripfeed-mirror/", env!("CARGO_PKG_VERSION")).to_owned(),
        bearer,
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_mins(1),
        ..ClientOptions::default()
    };
    let client = Client::new(&options).map_err(|error| Failure::Refused(error.into()))?;
    Ok(Sources::new(client, sources, limit.map(|limit| limit.0)))
}

fn run_sync(wanted: &Sync) -> Result<(), Failure> {
    let sources = sources(&wanted.from, wanted.limit)?;
    match wanted.every {
        Some(every) => sync_for_ever(wanted, &sources, every),
        None => sync_once(wanted, &Local::open(&wanted.from.to)?, &sources),
    }
}

fn sync_once(wanted: &Sync, local: &Local, sources: &Sources) -> Result<(), Failure> {
    let from = &wanted.from;
    if wanted.verify {
        for package in verify_all(local)?.removed {
            let _ = writeln!(io::stderr(), "warning: {package} is not what came: removed, it comes again");
        }
    }
    let screen = Screen::new();
    let synced = sync(local, sources, wanted.jobs, &from.wish(), &screen);
    screen.bar.finish_and_clear();
    if from.token.is_some() {
        let problem = synced.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let told = local
            .report(problem)
            .map_err(anyhow::Error::from)
            .and_then(|report| sources.report(&report, &mut |error| screen.passed(error)).map_err(anyhow::Error::from));
        // The copy is what it is, whether the server could be told or not; after a failure it is seldom there to be told.
        if let Err(error) = told
            && synced.is_ok()
        {
            let _ = writeln!(io::stderr(), "warning: the server was not told of it: {error:#}");
        }
    }
    let synced = synced?;
    let mut out = io::stdout();
    if from.json {
        let value = serde_json::json!({
            "generation": synced.generation, "unchanged": synced.unchanged, "fetched": synced.fetched,
            "kept": synced.kept, "withdrawn": synced.withdrawn, "bytes": synced.bytes,
        });
        writeln!(out, "{value}")?;
    } else if synced.unchanged {
        writeln!(out, "nothing changed since generation {}", synced.generation)?;
    } else {
        writeln!(
            out,
            "generation {}: {} came ({}), {} here already, {} withdrawn",
            synced.generation,
            packages(synced.fetched),
            ByteSize(synced.bytes),
            synced.kept,
            synced.withdrawn
        )?;
    }
    Ok(())
}

fn sync_for_ever(wanted: &Sync, sources: &Sources, every: Duration) -> Result<(), Failure> {
    loop {
        // The directory is let go in between: `verify` may have it.
        let synced = Local::open(&wanted.from.to)
            .map_err(|error| Failure::Failed(error.into()))
            .and_then(|local| sync_once(wanted, &local, sources));
        match synced {
            Ok(()) => {}
            Err(Failure::Refused(error)) => return Err(Failure::Refused(error)),
            // A server that is away comes back; what was copied stays.
            Err(Failure::Failed(error)) => complain(&error),
        }
        // Ended by a signal at any moment: a sync that is cut leaves whole packages only.
        std::thread::sleep(every);
    }
}

fn run_serve(serve: &Serve) -> Result<(), Failure> {
    let refuse = |error: anyhow::Error| Failure::Refused(error);
    if !serve.to.join("download").is_dir() {
        return Err(refuse(anyhow::anyhow!(
            "{} is no mirror: `dripfeed-mirror sync --from URL --to {0}` makes one",
            serve.to.display()
        )));
    }
    let limits = ServeLimits { connections: serve.connections.max(1), ..ServeLimits::default() };
    let http = serve.http.or_else(|| serve.https.is_none().then(|| SocketAddr::from(([0, 0, 0, 0], 8080))));
    let mut servers = Vec::new();
    let mut out = io::stdout();
    if let Some(address) = http {
        let server =
            Server::bind(address, &serve.to, None, &serve.congestion, limits).map_err(|error| refuse(error.into()))?;
        writeln!(out, "serving http://{}/download", server.address()?)?;
        servers.push(server);
    }
    if let (Some(address), Some(certificate), Some(key)) = (serve.https, &serve.certificate, &serve.private_key) {
        let tls = Some((certificate.as_path(), key.as_path()));
        let server =
            Server::bind(address, &serve.to, tls, &serve.congestion, limits).map_err(|error| refuse(error.into()))?;
        writeln!(out, "serving https://{}/download", server.address()?)?;
        servers.push(server);
    }
    out.flush()?;
    let threads: Vec<_> = servers.into_iter().map(|server| std::thread::spawn(move || server.run())).collect();
    for thread in threads {
        // They never end by themselves; a panic has been told by its hook.
        let _ = thread.join();
    }
    Err(Failure::Failed(anyhow::anyhow!("a listener ended")))
}

fn run_plan(from: &From) -> Result<(), Failure> {
    let sources = sources(from, None)?;
    let local = Local::open(&from.to)?;
    let (screen, wish) = (Screen::new(), from.wish());
    let found = look(&local, &sources, &wish, &screen);
    screen.bar.finish_and_clear();
    let Some(Last { manifest, .. }) = found? else {
        let mut out = io::stdout();
        if from.json {
            writeln!(out, "{}", serde_json::json!({ "unchanged": true, "fetch": [], "withdraw": [], "bytes": 0 }))?;
        } else {
            writeln!(out, "nothing changed since the last sync")?;
        }
        return Ok(());
    };
    let plan = plan(&local.packages()?, &manifest, |entry| wish.packages.chooses(entry.package, &entry.name));
    let mut bytes = 0;
    for package in &plan.fetch {
        if let Some(entry) = manifest.find(*package) {
            bytes += sources.listing(*package, &entry.listing, &mut |error| screen.passed(error))?.size();
        }
    }
    let mut out = io::stdout();
    if from.json {
        let numbers = |ids: &[PackageId]| ids.iter().map(|id| id.number()).collect::<Vec<_>>();
        let value = serde_json::json!({
            "unchanged": false, "generation": manifest.generation, "fetch": numbers(&plan.fetch), "keep": plan.keep,
            "withdraw": numbers(&plan.withdraw), "bytes": bytes,
        });
        writeln!(out, "{value}")?;
        return Ok(());
    }
    for package in &plan.fetch {
        writeln!(out, "fetch     {package}")?;
    }
    for package in &plan.withdraw {
        writeln!(out, "withdraw  {package}")?;
    }
    writeln!(
        out,
        "generation {}: {} to fetch ({}), {} stay, {} to withdraw",
        manifest.generation,
        plan.fetch.len(),
        ByteSize(bytes),
        plan.keep,
        plan.withdraw.len()
    )?;
    Ok(())
}

fn verify_all(local: &Local) -> Result<Verified, LocalError> {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(style("verifying {binary_bytes} {binary_bytes_per_sec} package {msg}"));
    let verified = verify(local, &mut |package, bytes| {
        bar.set_message(package.to_string());
        bar.inc(bytes);
    });
    bar.finish_and_clear();
    verified
}

fn run_verify(to: &std::path::Path, json: bool) -> Result<(), Failure> {
    if !to.join("download").is_dir() {
        return Err(Failure::Refused(anyhow::anyhow!(
            "{} is no mirror: `dripfeed-mirror sync --from URL --to {0}` makes one",
            to.display()
        )));
    }
    let verified = verify_all(&Local::open(to)?)?;
    let mut out = io::stdout();
    if json {
        let removed: Vec<u32> = verified.removed.iter().map(|id| id.number()).collect();
        let value = serde_json::json!({ "packages": verified.packages, "bytes": verified.bytes, "removed": removed });
        writeln!(out, "{value}")?;
    } else {
        for package in &verified.removed {
            writeln!(out, "{package} is not what came: removed, the next sync brings it again")?;
        }
        writeln!(
            out,
            "{}, {}: {} removed",
            packages(verified.packages),
            ByteSize(verified.bytes),
            verified.removed.len()
        )?;
    }
    if verified.removed.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("the copy was not what came").into()) }
}

/// What a terminal shows while a sync runs; a pipe sees nothing but complaints.
struct Screen {
    bar: ProgressBar,
}

impl Screen {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(style(
            "{bar:32.cyan/dim} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} package {msg}",
        ));
        Self { bar }
    }
}

impl Watcher for Screen {
    fn passed(&self, error: &SourceError) {
        let mut text = format!("warning: passed over: {error}");
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            let _ = write!(text, ": {inner}");
            cause = inner.source();
        }
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    fn planned(&self, _: &SyncPlan) {
        self.bar.set_length(0);
    }

    fn coming(&self, package: PackageId, bytes: u64) {
        self.bar.inc_length(bytes);
        self.bar.set_message(package.to_string());
    }

    fn came(&self, bytes: u64) {
        self.bar.inc(bytes);
    }
}

fn packages(number: usize) -> String {
    if number == 1 { "1 package".to_owned() } else { format!("{number} packages") }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
