//! What a service manager is told: ready, alive, reloading, stopping (`sd_notify`, one datagram each).
//!
//! Alive is said by a thread of its own, but only as long as the driver keeps its word: before each step it says how long
//! that may take at most. A driver that hangs is found out, one that fetches or runs a command for an hour is not killed.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::agent::ServiceManager;

/// Tells a service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vigil(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    manager: ServiceManager,
    promise: Mutex<Promise>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug)]
struct Promise {
    until: Instant,
    over: bool,
}

impl Vigil {
    /// Begins to say that the program is alive, if somebody wants to hear it. On Windows nobody listens in this way.
    pub(crate) fn begin(manager: ServiceManager) -> Self {
        if cfg!(not(unix)) || manager.socket.is_none() {
            return Self(None);
        }
        let promise = Promise { until: Instant::now() + START_UP, over: false };
        let shared = Arc::new(Shared { manager, promise: Mutex::new(promise), changed: Condvar::new() });
        if let Some(longest) = shared.manager.watchdog {
            let keeper = Arc::clone(&shared);
            // Twice as often as is asked for, as its manual says.
            let started =
                std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || keeper.keep(longest / 2));
            if let Err(error) = started {
                tracing::warn!("the service manager will not hear that the agent is alive: {error}");
            }
        }
        Self(Some(shared))
    }

    /// The next step takes no longer than that.
    pub(crate) fn allow(&self, span: Duration) {
        if let Some(shared) = &self.0 {
            // Beyond a month it is for ever as well.
            shared.promise().until = Instant::now() + span.min(Duration::from_hours(720));
        }
    }

    /// The work directory is locked, the configuration is read.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// The configuration is read again.
    pub(crate) fn reloading(&self) {
        self.tell("RELOADING=1\nSTATUS=reading the configuration again");
    }

    /// No more work is begun.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=ending");
    }

    /// One that nobody hears, but that keeps what it was promised.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        let promise = Promise { until: Instant::now(), over: false };
        let manager = ServiceManager::default();
        Self(Some(Arc::new(Shared { manager, promise: Mutex::new(promise), changed: Condvar::new() })))
    }

    /// How long the present step may still take.
    #[cfg(test)]
    pub(crate) fn promised(&self) -> Duration {
        self.0
            .as_ref()
            .map_or(Duration::ZERO, |shared| shared.promise().until.saturating_duration_since(Instant::now()))
    }

    fn tell(&self, message: &str) {
        if let Some(shared) = &self.0 {
            shared.tell(message);
        }
    }
}

/// Until the first promise.
const START_UP: Duration = Duration::from_mins(5);

impl Shared {
    fn promise(&self) -> MutexGuard<'_, Promise> {
        self.promise.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, message: &str) {
        let Some(socket) = &self.manager.socket else { return };
        // A manager that does not listen is no reason to stop.
        if let Err(error) = send(socket, message.as_bytes()) {
            tracing::debug!("the service manager was not told {message:?}: {error}");
        }
    }

    fn keep(&self, every: Duration) {
        let mut promise = self.promise();
        while !promise.over {
            if Instant::now() < promise.until {
                drop(promise);
                self.tell("WATCHDOG=1");
                promise = self.promise();
            }
            promise = self
                .changed
                .wait_timeout_while(promise, every, |promise| !promise.over)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    #[cfg(all(test, unix))]
    fn end(&self) {
        self.promise().over = true;
        self.changed.notify_all();
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(unix)]
fn send(socket: &std::ffi::OsStr, message: &[u8]) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let address = match socket.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(socket)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "NOTIFY_SOCKET is neither a path nor an @name")),
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(Duration::from_secs(5)))?;
    sender.send_to_addr(message, &address).map(|_| ())
}

#[cfg(not(unix))]
fn send(_: &std::ffi::OsStr, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    fn heard(listener: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        listener.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let length = listener.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).replace('\n', "; ")
    }

    #[test]
    fn a_manager_hears_on_a_path_and_in_the_abstract_space() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("notify");
        let name = format!("dripfeed-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listeners = [
            (path.clone().into_os_string(), UnixDatagram::bind(&path).expect("a socket")),
            (format!("@{name}").into(), UnixDatagram::bind_addr(&abstract_address).expect("a socket")),
        ];
        for (socket, listener) in listeners {
            let vigil = Vigil::begin(ServiceManager { socket: Some(socket), watchdog: None });
            vigil.ready("as a\nnew line");
            vigil.reloading();
            vigil.stopping();
            let told: Vec<String> = (0..3).map(|_| heard(&listener)).collect();
            assert_eq!(
                told,
                [
                    "READY=1; STATUS=as a new line",
                    "RELOADING=1; STATUS=reading the configuration again",
                    "STOPPING=1; STATUS=ending"
                ]
            );
        }
    }

    #[test]
    fn a_driver_that_keeps_its_word_is_alive_and_one_that_does_not_is_silent() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("notify");
        let listener = UnixDatagram::bind(&path).expect("a socket");
        let manager = ServiceManager { socket: Some(path.into_os_string()), watchdog: Some(Duration::from_millis(4)) };
        let vigil = Vigil::begin(manager);
        assert_eq!([heard(&listener), heard(&listener)], ["WATCHDOG=1", "WATCHDOG=1"]);
        vigil.allow(Duration::ZERO);
        // What is under way arrives; then there is silence for many times the interval.
        listener.set_read_timeout(Some(Duration::from_millis(60))).expect("a socket");
        let mut bytes = [0; 64];
        let late = (0..100).take_while(|_| listener.recv(&mut bytes).is_ok()).count();
        assert!(late < 100, "it goes on for ever");
        vigil.allow(Duration::from_mins(1));
        assert_eq!(heard(&listener), "WATCHDOG=1");
        vigil.0.as_ref().expect("there is one").end();
    }

    #[test]
    fn without_a_manager_nothing_is_told_and_a_deaf_one_does_no_harm() {
        Vigil::begin(ServiceManager::default()).ready("x");
        for socket in ["/nonexistent/socket", "relative", "@"] {
            Vigil::begin(ServiceManager { socket: Some(socket.into()), watchdog: None }).stopping();
        }
    }
}
