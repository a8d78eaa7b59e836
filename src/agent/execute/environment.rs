//! What a package's command sees of the agent's environment: all of it, but for what was said to the agent alone.

use std::ffi::OsStr;
use std::process::Command;

/// What programs are looked for in, when the agent was started without a `PATH`.
#[cfg(unix)]
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a service manager says to the service that it starts (systemd.exec(5), `sd_listen_fds(3)`, `sd_watchdog_enabled(3)`).
///
/// A package that restarts a service passes them on: that service would call itself the agent, take sockets that are not
/// there, or put its own state into the agent's directory.
const OF_THE_SERVICE_MANAGER: [&str; 12] = [
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LOGS_DIRECTORY",
    "MAINPID",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "SYSTEMD_EXEC_PID",
];

/// Leaves out what is the agent's own; what was already set for the command stays.
pub(super) fn prepare(command: &mut Command) {
    let own: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for (name, value) in std::env::vars_os() {
        if is_agents_own(&name, &value) && !own.contains(&name) {
            command.env_remove(name);
        }
    }
    #[cfg(unix)]
    if std::env::var_os("PATH").is_none_or(|path| path.is_empty()) {
        command.env("PATH", DEFAULT_PATH);
    }
}

/// Its settings, which may hold passwords; what its service manager said to it; and a proxy with a password. A proxy
/// without one stays: the package may need the way out as much as the agent does.
fn is_agents_own(name: &OsStr, value: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_uppercase();
    let is_secret_proxy = || name.ends_with("_PROXY") && value.to_string_lossy().contains('@');
    ["DRIPFEED_", "LISTEN_", "WATCHDOG_", "MEMORY_PRESSURE_"].iter().any(|prefix| name.starts_with(prefix))
        || OF_THE_SERVICE_MANAGER.contains(&&*name)
        || is_secret_proxy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(variable: &str) -> bool {
        let (name, value) = variable.split_once('=').expect("a variable");
        is_agents_own(name.as_ref(), value.as_ref())
    }

    #[test]
    fn what_was_said_to_the_agent_alone_is_its_own() {
        for variable in [
            "DRIPFEED_AGENT_PASSWORD=x",
            "NOTIFY_SOCKET=/run/systemd/notify",
            "WATCHDOG_USEC=1",
            "WATCHDOG_PID=1",
            "LISTEN_FDS=1",
            "LISTEN_FDNAMES=a",
            "CREDENTIALS_DIRECTORY=/run/credentials/x",
            "STATE_DIRECTORY=/var/lib/dripfeed-agent",
            "http_proxy=http://user:secret@proxy:3128",
            "HTTPS_PROXY=http://user@proxy",
            "all_proxy=socks5://user:secret@proxy",
        ] {
            assert!(is_own(variable), "{variable}");
        }
    }

    #[test]
    fn what_everybody_sees_stays() {
        for variable in [
            "PATH=/bin",
            "HOME=/root",
            "LANG=C",
            "LISTENER=x",
            "http_proxy=http://proxy:3128",
            "no_proxy=localhost,.example.org",
            "PROXY_USERS=a@b",
        ] {
            assert!(!is_own(variable), "{variable}");
        }
    }
}
