//! The agent as a service of Windows: `dripfeed-agent service install|remove|start|stop`.
//!
//! ```text
//! service manager ─ start ─► service run ─► worker: the agent, for ever
//!                 ─ stop  ─► the present action ends, the agent with it; meanwhile "still at it" every few seconds
//!                 ─ shutdown ─► the same, but a command that runs is ended
//! ```

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::Subcommand;
use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceControl, ServiceControlAccept,
    ServiceErrorControl, ServiceExitCode, ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo,
    ServiceStartType, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_service::{Error, service_dispatcher};

use super::{SafetyError, Stop, event_log, safety};
use crate::disk;

/// What the service manager knows it by.
const NAME: &str = "dripfeed-agent";

/// How often the manager is told that the agent is still ending, and what it is promised.
const STILL: Duration = Duration::from_secs(5);
const HINT: Duration = Duration::from_secs(20);

/// How long `start` and `stop` wait for what they asked for.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(200);

/// After a failure: a minute, then ever again ten; forgotten after a day without one.
const RESTARTS: [Duration; 3] = [Duration::from_mins(1), Duration::from_mins(10), Duration::from_mins(10)];
const FORGOTTEN: Duration = Duration::from_hours(24);

#[derive(Clone, Copy, Debug, Eq, PartialEq, Subcommand)]
pub(super) enum Verb {
    /// Register the service, to start with Windows as `LocalSystem`; options given here are its options.
    Install,
    /// Stop and unregister it; what it keeps stays.
    Remove,
    /// Start it and wait until it runs.
    Start,
    /// Stop it and wait until it has ended; a package that is being executed is waited for.
    Stop,
    /// What the service manager starts.
    #[command(hide = true)]
    Run,
}

/// Why a verb was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error("the service manager refuses; is this an administrator's prompt?")]
    Denied,
    #[error("there is no service \"{NAME}\": install it first, with dripfeed-agent service install")]
    Absent,
    #[error("the service \"{NAME}\" is there already: remove it first, with dripfeed-agent service remove")]
    Present,
    #[error("a password or the registration key would stand in the registry for everybody to read: put it into {}", config.display())]
    Password { config: PathBuf },
    #[error(transparent)]
    Safety(#[from] SafetyError),
    #[error("the directory {} cannot be made private", directory.display())]
    Directory { directory: PathBuf, source: io::Error },
    #[error("the service ended right after its start: {} says why", log.display())]
    Ended { log: PathBuf },
    #[error("the service has not come to {wanted} within {} s; it goes on by itself", PATIENCE.as_secs())]
    Slow { wanted: &'static str },
    #[error("only the service manager starts this; use dripfeed-agent run, or dripfeed-agent service start")]
    NotAService,
    #[error("the service manager says no")]
    Manager(#[source] Error),
}

impl From<Error> for ServiceError {
    fn from(error: Error) -> Self {
        const ACCESS_DENIED: i32 = 5;
        const NOT_STARTED_BY_MANAGER: i32 = 1063;
        const DOES_NOT_EXIST: i32 = 1060;
        const MARKED_FOR_DELETE: i32 = 1072;
        const EXISTS: i32 = 1073;
        let code = if let Error::Winapi(cause) = &error { cause.raw_os_error() } else { None };
        match code {
            Some(ACCESS_DENIED) => Self::Denied,
            Some(NOT_STARTED_BY_MANAGER) => Self::NotAService,
            Some(DOES_NOT_EXIST) => Self::Absent,
            Some(EXISTS | MARKED_FOR_DELETE) => Self::Present,
            _ => Self::Manager(error),
        }
    }
}

/// What a verb needs to know.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// The options that the service is started with.
    pub(super) arguments: Vec<OsString>,
    /// Was a password given, or the registration key?
    pub(super) has_password: bool,
    /// Where everything is kept.
    pub(super) data_dir: PathBuf,
}

impl Setup {
    /// Where the service writes what it does.
    pub(super) fn log(&self) -> PathBuf {
        self.data_dir.join("agent.log")
    }
}

/// Does what an administrator asked for; says what was done.
pub(super) fn perform(verb: Verb, setup: &Setup) -> Result<String, ServiceError> {
    match verb {
        Verb::Install => install(setup),
        Verb::Remove => remove(),
        Verb::Start => start(setup),
        Verb::Stop => stop(),
        Verb::Run => Err(ServiceError::NotAService),
    }
}

fn manager(access: ServiceManagerAccess) -> Result<ServiceManager, ServiceError> {
    Ok(ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT | access)?)
}

fn open(access: ServiceAccess) -> Result<Service, ServiceError> {
    Ok(manager(ServiceManagerAccess::empty())?.open_service(NAME, access | ServiceAccess::QUERY_STATUS)?)
}

fn install(setup: &Setup) -> Result<String, ServiceError> {
    if setup.has_password {
        return Err(ServiceError::Password { config: setup.data_dir.join("dripfeed-agent.toml") });
    }
    claim(&setup.data_dir)?;
    let program = std::env::current_exe().map_err(Error::Winapi)?;
    let info = ServiceInfo {
        name: NAME.into(),
        display_name: "dripfeed agent".into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program.clone(),
        launch_arguments: ["service".into(), "run".into()].into_iter().chain(setup.arguments.clone()).collect(),
        dependencies: Vec::new(),
        account_name: None,
        account_password: None,
    };
    let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
    let service = manager(ServiceManagerAccess::CREATE_SERVICE)?.create_service(&info, access)?;
    // What makes it convenient: a system that refuses one of these still has its service.
    let actions = RESTARTS.map(|delay| ServiceAction { action_type: ServiceActionType::Restart, delay });
    let told = [
        service.set_description("Checks in with the inventory server and installs the packages that it names."),
        // The network may come up after the services that start first.
        service.set_delayed_auto_start(true),
        service.update_failure_actions(ServiceFailureActions {
            reset_period: ServiceFailureResetPeriod::After(FORGOTTEN),
            reboot_msg: None,
            command: None,
            actions: Some(actions.to_vec()),
        }),
        service.set_failure_actions_on_non_crash_failures(true),
    ];
    for error in told.into_iter().filter_map(Result::err) {
        tracing::warn!("the service is installed, but not as it should be: {}", super::driver::chain(&error));
    }
    if let Err(error) = event_log::register() {
        tracing::warn!("entries of the event log will not be shown in words: {error}");
    }
    let (program, log) = (program.display(), setup.log());
    Ok(format!("installed \"{NAME}\" ({program}); start it with dripfeed-agent service start; log: {}", log.display()))
}

/// The directory becomes the agent's: nobody else may have made it, nobody else may write there.
fn claim(directory: &Path) -> Result<(), ServiceError> {
    let failed = |source| ServiceError::Directory { directory: directory.to_owned(), source };
    disk::atomic::create_dir_private(directory).map_err(failed)?;
    safety::check(directory)?;
    disk::make_private(directory).map_err(failed)
}

fn remove() -> Result<String, ServiceError> {
    let service = open(ServiceAccess::STOP | ServiceAccess::DELETE)?;
    if service.query_status()?.current_state != ServiceState::Stopped {
        service.stop()?;
        wait_for(&service, ServiceState::Stopped, "its end")?;
    }
    service.delete()?;
    // An older agent did not register there.
    if let Err(error) = event_log::unregister() {
        tracing::debug!("the event log keeps its registration: {error}");
    }
    Ok(format!("removed \"{NAME}\"; what it keeps is still there"))
}

fn start(setup: &Setup) -> Result<String, ServiceError> {
    let service = open(ServiceAccess::START)?;
    if service.query_status()?.current_state == ServiceState::Running {
        return Ok(format!("\"{NAME}\" runs already"));
    }
    service.start::<&str>(&[])?;
    match wait_for(&service, ServiceState::Running, "running")? {
        ServiceState::Running => Ok(format!("started \"{NAME}\"")),
        _ => Err(ServiceError::Ended { log: setup.log() }),
    }
}

fn stop() -> Result<String, ServiceError> {
    let service = open(ServiceAccess::STOP)?;
    if service.query_status()?.current_state == ServiceState::Stopped {
        return Ok(format!("\"{NAME}\" does not run"));
    }
    service.stop()?;
    wait_for(&service, ServiceState::Stopped, "its end")?;
    Ok(format!("stopped \"{NAME}\""))
}

/// Waits for a state, or for the end; says which it was.
fn wait_for(service: &Service, state: ServiceState, wanted: &'static str) -> Result<ServiceState, ServiceError> {
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        let now = service.query_status()?.current_state;
        if now == state || now == ServiceState::Stopped {
            return Ok(now);
        }
        std::thread::sleep(LOOK);
    }
    Err(ServiceError::Slow { wanted })
}

/// The agent itself, as the service's worker calls it: until it is told to stop. Says whether all was well.
type Work = Box<dyn Fn(&Stop) -> bool + Send + Sync>;

/// The manager's call carries nothing, so what it is about is left here.
static WORK: OnceLock<Work> = OnceLock::new();

/// Runs `work` as the service; returns when it has ended.
pub(super) fn run(work: Work) -> Result<(), ServiceError> {
    let _ = WORK.set(work);
    Ok(service_dispatcher::start(NAME, entry)?)
}

windows_service::define_windows_service!(entry, serve);

/// What ends the wait of the service.
enum Heard {
    Stop,
    Ended(bool),
}

fn serve(_arguments: Vec<OsString>) {
    let Some(work) = WORK.get() else { return };
    let stop = Stop::new();
    let (sender, heard) = channel();
    let (asked, to_worker) = (sender.clone(), stop.clone());
    let handler = move |control| match control {
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        ServiceControl::Stop => {
            to_worker.stop();
            let _ = asked.send(Heard::Stop);
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Shutdown => {
            // Nothing waits for a command now: better ended and told as cut by us than by the power.
            to_worker.stop();
            to_worker.stop();
            let _ = asked.send(Heard::Stop);
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::ParamChange => {
            to_worker.reload();
            ServiceControlHandlerResult::NoError
        }
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let status = match service_control_handler::register(NAME, handler) {
        Ok(status) => status,
        Err(error) => {
            tracing::error!("the service manager does not listen: {}", super::driver::chain(&error));
            return;
        }
    };
    let tell = |state, checkpoint, is_well| {
        let running = state == ServiceState::Running;
        let accepted = ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN | ServiceControlAccept::PARAM_CHANGE;
        let told = status.set_service_status(ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted: if running { accepted } else { ServiceControlAccept::empty() },
            exit_code: if is_well { ServiceExitCode::NO_ERROR } else { ServiceExitCode::ServiceSpecific(1) },
            checkpoint,
            wait_hint: if state == ServiceState::StopPending { HINT } else { Duration::ZERO },
            process_id: None,
        });
        if let Err(error) = told {
            tracing::warn!("the service manager was not told: {}", super::driver::chain(&error));
        }
    };
    tell(ServiceState::Running, 0, true);
    let worker = std::thread::Builder::new().name("agent".to_owned()).spawn(move || {
        let _ = sender.send(Heard::Ended(work(&stop)));
    });
    let mut is_well = worker.is_ok();
    let mut checkpoint = 0;
    while worker.is_ok() {
        let next = if checkpoint == 0 {
            heard.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            heard.recv_timeout(STILL)
        };
        match next {
            Ok(Heard::Ended(well)) => {
                is_well = well;
                break;
            }
            Err(RecvTimeoutError::Disconnected) => {
                is_well = false;
                break;
            }
            Ok(Heard::Stop) | Err(RecvTimeoutError::Timeout) => {
                checkpoint += 1;
                tell(ServiceState::StopPending, checkpoint, true);
            }
        }
    }
    tell(ServiceState::Stopped, 0, is_well);
}
