//! Doing what a package says: launch, execute, store (ocs-protocol 9, with the choices of 7.5).
//!
//! | action | what is done | result |
//! |---|---|---|
//! | LAUNCH | a file of the archive is made executable and run in the archive's directory | its exit code |
//! | EXECUTE | the shell runs the command in the archive's directory | its exit code |
//! | STORE | everything in the archive is copied to the path | `SUCCESS`, or why not |
//!
//! Exit code 0 is `SUCCESS`, 1641, 3010 and 3011 are a success that wants a restart, any other n is `ERR_EXIT_CODE_n`; a program that a signal ended says `ERR_EXIT_CODE_<128 + signal>`,
//! as shells do, and is never a success. What runs too long is ended with everything that it started.
//!
//! Commands run as whoever runs the agent, without standard input; what they print goes to a file, bounded. They see
//! the agent's [`environment`] without what was said to the agent alone, a `PATH`, `DRIPFEED_PACKAGE_ID` and
//! `DRIPFEED_ACTION`.

mod capture;
mod environment;
#[cfg(windows)]
mod job;
mod post;
mod store;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
mod words;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tracing::{debug, warn};

use self::capture::Capture;
pub(crate) use self::post::run_post_command;
#[cfg(unix)]
use self::unix as system;
#[cfg(windows)]
use self::windows as system;
use super::beneath::is_out_of_space;
use crate::model::{Action, PackageId, ResultCode};

/// Between the request to end and the end by force: databases and package managers close their files in it.
const GRACE: Duration = Duration::from_secs(10);

/// One action to be done.
#[derive(Debug)]
pub(crate) struct ExecuteRequest<'a> {
    /// What to do.
    pub(crate) action: &'a Action,
    /// For which package.
    pub(crate) package: PackageId,
    /// The unpacked archive; empty for a command without files.
    pub(crate) directory: &'a Path,
    /// What `INSTALL_PATH` in commands and paths stands for.
    pub(crate) install_path: &'a Path,
    /// How long a command may run.
    pub(crate) timeout: Duration,
    /// Where its output goes: the first and the last 64 KiB.
    pub(crate) output: &'a Path,
}

/// Why an action was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    /// Nothing to run, or a quote that does not end.
    #[error("the command \"{command}\" is empty or has a quote that does not end")]
    NoCommand {
        /// As the package has it.
        command: String,
    },
    /// A path that depends on where the agent happens to stand.
    #[error("the path \"{path}\" is not absolute")]
    RelativePath {
        /// As the package has it.
        path: String,
    },
    /// `INSTALL_PATH` is used and cannot be put into text.
    #[error("the install path {} is not UTF-8 and cannot stand in a command", install_path.display())]
    InstallPath {
        /// The path.
        install_path: PathBuf,
    },
    /// The file to launch is not in the archive.
    #[error("\"{name}\" is not a file of the package")]
    NotInPackage {
        /// The first word of the command.
        name: String,
    },
    /// The command could not be started or waited for.
    #[error("failed to run \"{command}\"")]
    Start {
        /// What was to be run.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A file could not be stored.
    #[error("failed to store {}", path.display())]
    Store {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was started, and how it ended is not known.
    #[error("the system does not tell how \"{command}\" ended")]
    NoExitCode {
        /// What was run.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It ran too long and was ended with all that it had started.
    #[error("\"{command}\" ran longer than {} s and was ended", timeout.as_secs())]
    TimedOut {
        /// What was run.
        command: String,
        /// How long it was given.
        timeout: Duration,
    },
    /// The agent was told to stop meanwhile.
    #[error("\"{command}\" was ended because the agent stops")]
    Stopped {
        /// What was run.
        command: String,
    },
    /// A post command ended with a failure.
    #[error("\"{command}\" ended with {code}")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        code: ResultCode,
    },
}

impl ExecuteError {
    /// What the server is told.
    pub(crate) fn result_code(&self) -> ResultCode {
        match self {
            Self::NoCommand { .. } | Self::RelativePath { .. } | Self::InstallPath { .. } => {
                ResultCode::error("BAD_PARAM")
            }
            Self::Store { source, .. } if is_out_of_space(source) => ResultCode::error("OUT_OF_SPACE"),
            Self::NotInPackage { .. } | Self::Start { .. } | Self::Store { .. } => ResultCode::error("EXECUTE"),
            Self::NoExitCode { .. } => ResultCode::error("EXECUTE_NO_EXIT_CODE"),
            Self::TimedOut { .. } => ResultCode::error("EXECUTE_TIMEOUT"),
            Self::Stopped { .. } => ResultCode::error("EXECUTE_INTERRUPTED"),
            Self::Failed { code, .. } => code.clone(),
        }
    }
}

/// How a command ended.
#[derive(Debug)]
enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It was ended after the time-out.
    TimedOut,
    /// It was ended because the agent stops.
    Stopped,
    /// It was started, and the system does not tell what became of it.
    Untold(io::Error),
}

/// Runs commands: the system, or a test's.
trait Supervisor {
    /// Runs a command to its end, or ends it. An error means that nothing was started.
    fn supervise(
        &self,
        command: Command,
        until: Until,
        patience: Patience,
        stop: &dyn Fn() -> bool,
        capture: &mut Capture,
    ) -> io::Result<Ending>;
}

/// This computer.
struct ThisSystem;

impl Supervisor for ThisSystem {
    fn supervise(
        &self,
        command: Command,
        until: Until,
        patience: Patience,
        stop: &dyn Fn() -> bool,
        capture: &mut Capture,
    ) -> io::Result<Ending> {
        system::supervise(command, until, patience, stop, capture)
    }
}

/// Whose end is the command's end. Unix has daemons, which outlive it in either case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Until {
    /// That of the process that was started.
    Leader,
    /// That of everything it started: installers for Windows unpack themselves, start what they unpacked and end
    /// (ocs-protocol 9).
    Everything,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
struct Patience {
    timeout: Duration,
    grace: Duration,
}

/// Does the action and says how it went. Never panics; at the time-out, or when `stop` says so, everything that the
/// command started is ended.
pub(crate) fn run(request: &ExecuteRequest<'_>, stop: &dyn Fn() -> bool) -> ResultCode {
    run_by(&ThisSystem, request, GRACE, stop)
}

fn run_by(
    supervisor: &dyn Supervisor,
    request: &ExecuteRequest<'_>,
    grace: Duration,
    stop: &dyn Fn() -> bool,
) -> ResultCode {
    let package = request.package;
    match perform(supervisor, request, grace, stop) {
        Ok(code) => code,
        Err(error) => {
            let code = error.result_code();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            warn!(package.id = %package, %code, cause, "package {package} failed: {error}");
            code
        }
    }
}

fn perform(
    supervisor: &dyn Supervisor,
    request: &ExecuteRequest<'_>,
    grace: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<ResultCode, ExecuteError> {
    let text = substitute(request.action.text(), request.install_path)?;
    let command = match request.action {
        Action::Store { .. } => {
            #[cfg(windows)]
            let text = words::expand(&text, |name| std::env::var_os(name)?.into_string().ok());
            let path = store_path(&text)?;
            store::store(request.directory, &path, request.package, stop)?;
            return Ok(ResultCode::success());
        }
        Action::Launch { .. } => launch(&text, request.directory)?,
        Action::Execute { .. } if text.trim().is_empty() => return Err(ExecuteError::NoCommand { command: text }),
        Action::Execute { .. } => system::shell(&text),
    };
    let patience = Patience { timeout: request.timeout, grace };
    let until = if matches!(request.action, Action::Launch { .. }) { Until::Everything } else { Until::Leader };
    let mut command = Prepared { command, text, until };
    command.command.env("DRIPFEED_PACKAGE_ID", request.package.to_string());
    command.command.env("DRIPFEED_ACTION", request.action.wire_name());
    let mut capture = Capture::default();
    let result = command.run(supervisor, request.directory, patience, stop, &mut capture);
    // Above all what ran too long is asked what it was doing.
    if let Err(error) = capture.write(request.output) {
        warn!(package.id = %request.package, %error, "failed to keep the output of package {}", request.package);
    }
    result
}

/// A command and how it is named to people.
struct Prepared {
    command: Command,
    text: String,
    until: Until,
}

impl Prepared {
    fn run(
        mut self,
        supervisor: &dyn Supervisor,
        directory: &Path,
        patience: Patience,
        stop: &dyn Fn() -> bool,
        capture: &mut Capture,
    ) -> Result<ResultCode, ExecuteError> {
        environment::prepare(&mut self.command);
        self.command.current_dir(directory).stdin(Stdio::null());
        let command = words::shorten(&self.text);
        debug!("running \"{command}\"");
        match supervisor.supervise(self.command, self.until, patience, stop, capture) {
            Ok(Ending::Exited(status)) => Ok(system::result_code(status)),
            Ok(Ending::TimedOut) => Err(ExecuteError::TimedOut { command, timeout: patience.timeout }),
            Ok(Ending::Stopped) => Err(ExecuteError::Stopped { command }),
            Ok(Ending::Untold(source)) => Err(ExecuteError::NoExitCode { command, source }),
            Err(source) => Err(ExecuteError::Start { command, source }),
        }
    }
}

/// Puts the agent's install path where the package says `INSTALL_PATH`, as stock agents do.
fn substitute(text: &str, install_path: &Path) -> Result<String, ExecuteError> {
    const WORD: &str = "INSTALL_PATH";
    if !text.contains(WORD) {
        return Ok(text.to_owned());
    }
    let path =
        install_path.to_str().ok_or_else(|| ExecuteError::InstallPath { install_path: install_path.to_owned() })?;
    Ok(text.replace(WORD, path))
}

fn store_path(text: &str) -> Result<PathBuf, ExecuteError> {
    let path = PathBuf::from(text.trim());
    // Relative to what? The stock Unix agent's answer is "to the unpacked archive, which is removed afterwards".
    if path.is_absolute() { Ok(path) } else { Err(ExecuteError::RelativePath { path: words::shorten(text) }) }
}

/// The command of a LAUNCH: its first word is a file of the package.
fn launch(text: &str, directory: &Path) -> Result<Command, ExecuteError> {
    let (name, arguments) = words::first_word(text)
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| ExecuteError::NoCommand { command: words::shorten(text) })?;
    let not_in_package = || ExecuteError::NotInPackage { name: words::shorten(&name) };
    let relative = inside(&name).ok_or_else(not_in_package)?;
    // A link of the package may stand for the program, but what runs must be the package's.
    let root = directory.canonicalize().map_err(|_| not_in_package())?;
    let program = root.join(&relative).canonicalize().map_err(|_| not_in_package())?;
    if !program.starts_with(&root) || !program.is_file() {
        return Err(not_in_package());
    }
    system::make_executable(&program)
        .map_err(|source| ExecuteError::Start { command: words::shorten(text), source })?;
    Ok(system::launch(&relative, arguments))
}

/// A name as a path below the package, or `None` if it leaves it.
fn inside(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (path.components().next().is_some()).then_some(path)
}

#[cfg(all(test, unix))]
mod tests;
