//! What the environment of this process says: proxies, the service manager, where state is kept.

use std::path::PathBuf;
use std::time::Duration;

use super::Hidden;

/// Where the agent keeps its state when it runs as root.
const SYSTEM_DATA_DIR: &str = "/var/lib/dripfeed-agent";

/// `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in small or in capital letters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EnvironmentProxies {
    /// For addresses in clear.
    pub http: Option<Hidden>,
    /// For addresses that ask for TLS.
    pub https: Option<Hidden>,
    /// Who is reached without.
    pub except: Option<String>,
}

impl EnvironmentProxies {
    /// The environment of this process.
    #[expect(clippy::disallowed_methods, reason = "the environment is read in config/")]
    pub fn of_this_process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    pub(super) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            [name.to_owned(), name.to_uppercase()]
                .iter()
                .find_map(|name| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()))
        };
        let all = get("all_proxy");
        Self {
            http: get("http_proxy").or_else(|| all.clone()).map(Hidden),
            https: get("https_proxy").or(all).map(Hidden),
            except: get("no_proxy"),
        }
    }
}

/// Where a service manager wants to hear from this program (`NOTIFY_SOCKET`), and how often at least (`WATCHDOG_USEC`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServiceManager {
    /// A path, or a name in the abstract space behind an `@`.
    pub socket: Option<std::ffi::OsString>,
    /// It kills the program after so long a silence.
    pub watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The environment of this process.
    #[expect(clippy::disallowed_methods, reason = "the environment is read in config/")]
    pub fn of_this_process() -> Self {
        let is_for_us = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        let micros =
            std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok()).filter(|micros| *micros > 0);
        Self {
            socket: std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()),
            watchdog: micros.filter(|_| is_for_us).map(Duration::from_micros),
        }
    }
}

/// The name of this computer, where the system tells it by the environment only.
#[cfg(not(unix))]
#[expect(clippy::disallowed_methods, reason = "the environment is read in config/")]
pub fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Where state is kept when nothing else is said.
#[expect(clippy::disallowed_methods, reason = "the environment is read in config/")]
pub fn default_data_dir() -> PathBuf {
    #[cfg(unix)]
    if !rustix::process::geteuid().is_root() {
        if let Some(state) = std::env::var_os("XDG_STATE_HOME").filter(|state| !state.is_empty()) {
            return PathBuf::from(state).join("dripfeed-agent");
        }
        if let Ok(home) = std::env::var("HOME") {
            return PathBuf::from(home).join(".local/state/dripfeed-agent");
        }
    }
    if cfg!(windows) {
        let data = std::env::var("ProgramData").unwrap_or_else(|_| r"C:\ProgramData".to_owned());
        return PathBuf::from(data).join("dripfeed-agent");
    }
    PathBuf::from(SYSTEM_DATA_DIR)
}
