//! `dripfeed-agent`: arguments → configuration → run → exit code.
//!
//! Exit codes: 0 the contact worked (whatever became of the packages: that is the server's to know), 1 it did not, or
//! the agent could not go on; 2 arguments or configuration.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
#[cfg(windows)]
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format;
#[cfg(windows)]
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use super::driver::chain;
use super::vigil::Vigil;
use super::{
    Agent, AgentError, DiscoverError, Ended, Plan, SafetyError, Status, Stop, SystemMachine, discover, safety,
};
#[cfg(windows)]
use super::{MILESTONE, event_log, log_file::LogFile, service};
use crate::clock::Clock;
use crate::config::agent::{
    AgentConfig, AgentConfigError, AgentOpts, EnvironmentProxies, Hidden, RegistrationSource, ServiceManager,
    default_data_dir,
};

/// Checks in with an OCS Inventory NG or dripfeed server, and carries out the packages that it names.
#[derive(Debug, Parser)]
#[command(
    name = "dripfeed-agent",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 the contact worked (what became of packages is the server's to know), 1 it did not or
results are kept for the next run, 2 arguments or configuration"
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check in once and do everything that follows, until nothing is left (or the next contact is due).
    Once,
    /// Check in for ever, as often as the server says: what a service runs.
    Run,
    /// Show what would be fetched and executed when, and when each package would be through.
    Plan {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// How many cycles are shown step by step.
        #[arg(long, default_value_t = 20, value_name = "N")]
        cycles: u64,
    },
    /// Show what an inventory of this computer tells; nothing is sent, and no server is needed.
    Inventory {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show this computer's identity, its contacts, and how far each package is.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// The agent as a service of Windows.
    #[cfg(windows)]
    Service {
        #[command(subcommand)]
        verb: service::Verb,
    },
}

/// Why nothing is begun.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Config(#[from] AgentConfigError),
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    #[error(transparent)]
    Safety(#[from] SafetyError),
}

#[derive(Clone, Copy, Debug)]
enum HowLong {
    Once,
    ForEver,
}

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
struct Options {
    #[arg(
        help = "The server, as https://HOST:PORT/ocsinventory; a bare HOST means http://HOST/ocsinventory, as for a \
                stock agent",
        long,
        global = true,
        env = "DRIPFEED_AGENT_SERVER",
        hide_env_values = true,
        value_name = "URL"
    )]
    server: Option<String>,
    /// PEM file of the authority that signed the server's certificate; it replaces the system's store.
    #[arg(long, global = true, env = "DRIPFEED_AGENT_CA", hide_env_values = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Where state is kept (a stock agent's directory is taken over) [default: /var/lib/dripfeed-agent].
    #[cfg_attr(windows, doc = " On Windows: %ProgramData%\\dripfeed-agent.")]
    #[arg(long, global = true, env = "DRIPFEED_AGENT_DATA_DIR", hide_env_values = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A file with the same keys: .toml, or a stock agent's key=value [default: /etc/dripfeed-agent/dripfeed-agent.toml].
    #[arg(long, global = true, env = "DRIPFEED_AGENT_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tag of the first inventory.
    #[arg(long, global = true, env = "DRIPFEED_AGENT_TAG", hide_env_values = true)]
    tag: Option<String>,
    #[arg(
        help = "Proxy, as http://HOST:PORT, https://… or socks5://…; \"none\" overrides http_proxy and its like",
        long,
        global = true,
        env = "DRIPFEED_AGENT_PROXY",
        hide_env_values = true,
        value_name = "URL"
    )]
    proxy: Option<String>,
    /// Hosts, .domains and networks that are reached without the proxy, with commas between.
    #[arg(long, global = true, env = "DRIPFEED_AGENT_NO_PROXY", hide_env_values = true, value_name = "LIST")]
    no_proxy: Option<String>,
    /// Ceiling for fragments in bytes a second, such as 512KiB.
    #[arg(long, global = true, env = "DRIPFEED_AGENT_BANDWIDTH", hide_env_values = true, value_name = "RATE")]
    bandwidth: Option<String>,
    /// User of a server behind a password.
    #[arg(long, global = true, env = "DRIPFEED_AGENT_USER", hide_env_values = true)]
    user: Option<String>,
    /// Its password; the environment hides it from other users, an argument does not.
    #[arg(long, global = true, env = "DRIPFEED_AGENT_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    #[arg(
        help = "A file whose only line is the server's registration key; DRIPFEED_AGENT_REGISTRATION_KEY holds the key \
                itself",
        long,
        global = true,
        env = "DRIPFEED_AGENT_REGISTRATION_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    registration_key_file: Option<PathBuf>,
    /// Check no certificate: whoever stands in between can then run commands here. For tests only.
    #[arg(long, global = true)]
    no_verify: bool,
    /// Tell more; -vv tells everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// The same as -v.
    #[arg(long, global = true, conflicts_with = "quiet")]
    debug: bool,
    /// Tell errors only.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Without a terminal: what happens, in words only, as part of the demonstration's story.
    #[arg(long, global = true, hide = true)]
    story: bool,
}

impl Options {
    /// The configuration as far as it is here: a server that DNS would have to name is not.
    fn read(&self) -> Result<AgentConfig, AgentConfigError> {
        let mut opts = self.layers()?;
        if opts.server.is_none()
            && let Some(server) = discover::remembered(&opts.data_dir())
        {
            opts.server = Some(server);
        }
        opts.check()
    }

    /// The configuration of an agent that is about to work.
    fn read_for_work(&self) -> Result<AgentConfig, Refusal> {
        if cfg!(windows) {
            // The configuration lies there, too.
            safety::check(&self.data_dir.clone().unwrap_or_else(default_data_dir))?;
        }
        let mut opts = self.layers()?;
        if let Some(file) = self.config.clone().or_else(|| AgentOpts::default_file(self.data_dir.as_deref())) {
            safety::check(&file)?;
        }
        safety::check(&opts.data_dir())?;
        if let Ok(program) = std::env::current_exe() {
            safety::check(&program)?;
        }
        discover::fill_in(&mut opts, discover::system_resolver, getrandom::u32().unwrap_or_default())?;
        Ok(opts.check()?)
    }

    /// The configuration as it is now, if an agent could work with it.
    fn reread(&self, machine: &SystemMachine, stop: &Stop) -> Result<AgentConfig, Box<dyn std::error::Error>> {
        let config = self.read_for_work()?;
        Agent::new(&config, machine, stop.clone())?;
        Ok(config)
    }

    fn layers(&self) -> Result<AgentOpts, AgentConfigError> {
        let file = match &self.config {
            Some(path) => AgentOpts::read(path)?,
            None => AgentOpts::read_default(self.data_dir.as_deref())?,
        };
        let flags = AgentOpts {
            server: self.server.clone(),
            ca: self.ca.clone(),
            data_dir: self.data_dir.clone(),
            tag: self.tag.clone(),
            proxy: self.proxy.clone().map(Hidden),
            no_proxy: self.no_proxy.clone(),
            bandwidth: self.bandwidth.clone(),
            debug: self.debug.then_some(true),
            environment: EnvironmentProxies::of_this_process(),
            user: self.user.clone(),
            password: self.password.clone().map(Hidden),
            registration_key: match &self.registration_key_file {
                Some(_) => None,
                None => RegistrationSource::of_this_process(),
            },
            registration_key_file: self.registration_key_file.clone(),
            verify: self.no_verify.then_some(false),
            ..AgentOpts::default()
        };
        Ok(flags.over(file))
    }

    fn wants_debug(&self) -> bool {
        self.debug || self.layers().is_ok_and(|opts| opts.debug == Some(true))
    }
}

#[cfg(windows)]
impl Options {
    /// What a service is to be started with; never a password.
    ///
    /// The directory is always named: a service's environment is another one.
    fn arguments(&self, data_dir: &Path) -> Vec<OsString> {
        let texts = [
            ("--server", &self.server),
            ("--tag", &self.tag),
            ("--proxy", &self.proxy),
            ("--no-proxy", &self.no_proxy),
            ("--bandwidth", &self.bandwidth),
            ("--user", &self.user),
        ];
        let paths = [
            ("--ca", &self.ca),
            ("--data-dir", &Some(data_dir.to_owned())),
            ("--config", &self.config),
            ("--registration-key-file", &self.registration_key_file),
        ];
        let texts = texts.into_iter().filter_map(|(name, value)| Some((name, OsString::from(value.clone()?))));
        // The service starts elsewhere.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path).into_os_string();
        let paths = paths.into_iter().filter_map(|(name, value)| Some((name, absolute(value.clone()?))));
        let valued = texts.chain(paths).flat_map(|(name, value)| [OsString::from(name), value]);
        let flags = [("--no-verify", self.no_verify), ("--debug", self.debug), ("--quiet", self.quiet)];
        let flags = flags.into_iter().filter(|(_, given)| *given).map(|(name, _)| OsString::from(name));
        valued.chain(flags).chain((0..self.verbose).map(|_| OsString::from("-v"))).collect()
    }
}

/// Runs the program; `arguments` begins with its name. `dripfeed demo` calls it in a child process.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    #[cfg(windows)]
    if let Command::Service { verb } = cli.command {
        return as_service(verb, cli.options);
    }
    let is_live = io::stderr().is_terminal() && cli.options.verbose == 0 && !cli.options.debug && !cli.options.quiet;
    start_log(&cli.options, is_live);
    match cli.command {
        Command::Once => agent_with_signals(&cli.options, is_live, HowLong::Once),
        Command::Run => agent_with_signals(&cli.options, is_live, HowLong::ForEver),
        Command::Status { json } => show(&cli.options, json, Status::read),
        Command::Inventory { json } => inventory(json),
        Command::Plan { json, cycles } => {
            let now = Clock::System.now();
            show(&cli.options, json, |config| Plan::read(config, now, cycles))
        }
        #[cfg(windows)]
        Command::Service { .. } => ExitCode::SUCCESS,
    }
}

/// `service install` and its like speak to the person who typed them; `service run` is spoken to by the system alone.
#[cfg(windows)]
fn as_service(verb: service::Verb, options: Options) -> ExitCode {
    let data_dir = options.data_dir.clone().unwrap_or_else(default_data_dir);
    let has_password = options.password.is_some()
        || options.proxy.as_ref().is_some_and(|proxy| proxy.contains('@'))
        || RegistrationSource::of_this_process().is_some();
    let setup = service::Setup { arguments: options.arguments(&data_dir), has_password, data_dir };
    if verb != service::Verb::Run {
        start_log(&options, false);
        return match service::perform(verb, &setup) {
            Ok(done) => {
                let _ = writeln!(io::stdout().lock(), "{done}");
                ExitCode::SUCCESS
            }
            Err(error) => refuse(&error),
        };
    }
    let opened = crate::disk::atomic::create_dir_private(&setup.data_dir).and_then(|()| LogFile::open(&setup.log()));
    match opened {
        Ok(file) => log_into(&options, file),
        // Nobody hears it, and the agent does its work nevertheless.
        Err(_) => start_log(&options, false),
    }
    let work = move |stop: &Stop| {
        tracing::info!(target: MILESTONE, "the service starts: dripfeed-agent {}", env!("CARGO_PKG_VERSION"));
        let ended = agent(&options, false, HowLong::ForEver, stop);
        if let Err(early) = &ended {
            // Nobody reads the standard error of a service.
            tracing::error!("{}", early.sentence());
        }
        tracing::info!(target: MILESTONE, "the service ends");
        ended.is_ok_and(|code| code == ExitCode::SUCCESS)
    };
    match service::run(Box::new(work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

#[cfg(windows)]
fn log_into(options: &Options, file: LogFile) {
    let lines = tracing_subscriber::fmt().with_env_filter(filter(options, false)).with_target(false).with_ansi(false);
    let lines = lines.with_writer(std::sync::Mutex::new(file)).finish();
    let _ = lines.with(event_log::EventLog(event_log::Application)).try_init();
}

fn inventory(json: bool) -> ExitCode {
    let text = if json {
        serde_json::to_string_pretty(&super::inventory::as_json()).unwrap_or_default() + "\n"
    } else {
        super::inventory::as_text()
    };
    // A reader that goes away (`inventory | head`) has seen enough.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Something that is only looked at.
fn show<T: Serialize + Display>(
    options: &Options,
    json: bool,
    read: impl FnOnce(&AgentConfig) -> Result<T, AgentError>,
) -> ExitCode {
    let config = match options.read() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let shown = match read(&config) {
        Ok(shown) => shown,
        Err(error) => return fail(&error),
    };
    let text = if json { serde_json::to_string_pretty(&shown).unwrap_or_default() + "\n" } else { shown.to_string() };
    // A reader that goes away (`status | head`) has seen enough.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn agent_with_signals(options: &Options, is_live: bool, how_long: HowLong) -> ExitCode {
    let stop = Stop::new();
    if let Err(error) = listen_to_signals(&stop) {
        tracing::warn!("signals are not heard: {error}");
    }
    agent(options, is_live, how_long, &stop).unwrap_or_else(|early| early.say())
}

fn agent(options: &Options, is_live: bool, how_long: HowLong, stop: &Stop) -> Result<ExitCode, Early> {
    let vigil = match how_long {
        HowLong::ForEver => Vigil::begin(ServiceManager::of_this_process()),
        HowLong::Once => Vigil::default(),
    };
    let ended = until_the_end(options, is_live, how_long, stop, &vigil);
    vigil.stopping();
    ended
}

/// Why the agent ended before its time.
enum Early {
    /// Arguments, configuration, or who may write to them.
    Refused(Box<dyn std::error::Error>),
    /// It could not go on.
    Failed(Box<dyn std::error::Error>),
}

impl Early {
    fn say(&self) -> ExitCode {
        match self {
            Self::Refused(error) => refuse(error.as_ref()),
            Self::Failed(error) => fail(error.as_ref()),
        }
    }

    #[cfg(windows)]
    fn sentence(&self) -> String {
        match self {
            Self::Refused(error) | Self::Failed(error) => chain(error.as_ref()),
        }
    }
}

fn until_the_end(
    options: &Options,
    is_live: bool,
    how_long: HowLong,
    stop: &Stop,
    vigil: &Vigil,
) -> Result<ExitCode, Early> {
    let machine = SystemMachine { clock: Clock::System, stop: stop.clone() };
    let mut config = options.read_for_work().map_err(|error| Early::Refused(Box::new(error)))?;
    let mut is_again = false;
    loop {
        tell(&config);
        let agent = match Agent::new(&config, &machine, stop.clone()) {
            Ok(agent) if is_live => agent.with_progress().with_vigil(vigil.clone()),
            Ok(agent) => agent.with_vigil(vigil.clone()),
            // The CA file, the proxy: named in the configuration, so its fault.
            Err(error) => return Err(Early::Refused(Box::new(error))),
        };
        let mut agent = if is_again { agent.after_reload() } else { agent };
        let next = loop {
            let ended = match how_long {
                HowLong::Once => agent.once(),
                HowLong::ForEver => agent.run(),
            };
            match ended {
                Ok(Ended::Reload) => vigil.reloading(),
                Ok(ended) => return Ok(finish(ended)),
                Err(error) => return Err(Early::Failed(Box::new(error))),
            }
            match options.reread(&machine, stop) {
                Ok(next) => break next,
                // A slip of the pen must not silence the computer.
                Err(error) => {
                    tracing::error!(
                        "the configuration is refused, and the one before it goes on: {}",
                        chain(error.as_ref())
                    );
                    agent = agent.after_reload();
                }
            }
        };
        tracing::info!("the configuration is read again");
        drop(agent);
        config = next;
        is_again = true;
    }
}

fn finish(ended: Ended) -> ExitCode {
    match ended {
        Ended::Idle | Ended::Stopped | Ended::Reload => ExitCode::SUCCESS,
        Ended::UntilNextContact => {
            tracing::info!("what is left waits for a later run: dripfeed-agent status shows it");
            ExitCode::SUCCESS
        }
        Ended::ResultsKept => {
            tracing::error!("the server has not taken every result; they are kept, and sent at the next run");
            ExitCode::FAILURE
        }
    }
}

fn tell(config: &AgentConfig) {
    if let Some(assumed) = config.assumed {
        tracing::warn!("the server's address was completed to {} (added: {assumed})", config.server);
    }
    if !config.passed_over.is_empty() {
        tracing::warn!("these keys of the configuration file are not taken: {}", config.passed_over.join(", "));
    }
    if !config.verify {
        tracing::error!(
            "certificates are NOT checked: whoever stands between this computer and the server can run commands here"
        );
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    say(error);
    ExitCode::from(2)
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    say(error);
    ExitCode::FAILURE
}

fn say(error: &dyn std::error::Error) {
    let _ = writeln!(io::stderr().lock(), "dripfeed-agent: {}", chain(error));
}

/// Log lines go to standard error: to people with `-v`, to the journal of a service, and only what is wrong beside
/// progress lines. `RUST_LOG` refines it.
fn start_log(options: &Options, is_live: bool) {
    let lines = tracing_subscriber::fmt().with_env_filter(filter(options, is_live)).with_target(false);
    // In `dripfeed demo` another log may have been started already.
    let _ = if options.story {
        // To standard output, where the story is told; the values stand in the text as well.
        let words = format::debug_fn(|line, field, value| match field.name() {
            "message" => write!(line, "   agent      {value:?}"),
            _ => Ok(()),
        });
        lines.with_ansi(false).without_time().with_level(false).fmt_fields(words).with_writer(io::stdout).try_init()
    } else {
        lines.with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).try_init()
    };
}

fn filter(options: &Options, is_live: bool) -> EnvFilter {
    let level = match (options.quiet, is_live, options.verbose) {
        (true, ..) => "error",
        (_, true, _) => "warn",
        (_, _, 0) if !options.wants_debug() => "info",
        (_, _, 0 | 1) => "debug",
        _ => "trace",
    };
    EnvFilter::builder()
        .with_default_directive(format!("dripfeed={level}").parse().unwrap_or_default())
        .from_env_lossy()
}

/// Ctrl+C and its like ask to stop; a second one is urgent.
#[cfg(windows)]
fn listen_to_signals(stop: &Stop) -> io::Result<()> {
    super::signals::listen(stop)
}

#[cfg(unix)]
fn listen_to_signals(stop: &Stop) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let stop = stop.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                stop.reload();
            } else {
                stop.stop();
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_win_over_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("agent.toml");
        crate::disk::atomic::write(&file, b"server = \"https://file/ocsinventory\"\ntag = \"file\"\n")
            .expect("written");
        let arguments = ["dripfeed-agent", "once", "--tag", "flag", "--config"].map(OsString::from);
        let cli = Cli::try_parse_from(arguments.into_iter().chain([file.into_os_string()])).expect("arguments");
        let config = cli.options.read().expect("a configuration");
        assert_eq!(config.server, "https://file/ocsinventory");
        assert_eq!(config.tag.as_deref(), Some("flag"));
        assert!(config.verify);
    }
}
