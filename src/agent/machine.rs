//! What the driver asks of the machine it runs on: time, waiting, chance, room. Tests put their own in its place.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::people::{self, NobodyToAsk, People};
use crate::clock::Clock;
use crate::disk;
use crate::model::UnixTime;

/// The machine, or a test's.
pub trait Machine {
    /// The present. It may go back; the driver evens that out.
    fn now(&self) -> UnixTime;
    /// Waits until then, or until the program is told to stop; may return early.
    fn wait(&self, until: UnixTime);
    /// A span from 0 to `below`, by chance.
    fn random(&self, below: Duration) -> Duration;
    /// Bytes that may still be written below `path`.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
    /// The name of this computer, without domain.
    fn host_name(&self) -> String;
    /// Who is asked before a package is executed, where it wants that; nobody, unless said otherwise.
    fn people(&self) -> Box<dyn People> {
        Box::new(NobodyToAsk)
    }
}

/// How the program is told to end, or to read its configuration again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Asked {
    stops: u32,
    reload: bool,
}

/// Shared between the driver and whoever may stop it.
///
/// The first stop lets a running command end; the second ends that too.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<Asked>, Condvar)>);

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop after the present action; asked twice, to stop now.
    pub fn stop(&self) {
        self.asked().stops += 1;
        self.0.1.notify_all();
    }

    /// Asks to read the configuration again.
    pub fn reload(&self) {
        self.asked().reload = true;
        self.0.1.notify_all();
    }

    /// Shall the program end?
    pub fn is_asked(&self) -> bool {
        self.asked().stops > 0
    }

    /// Shall it end without waiting for the command that runs?
    pub fn is_urgent(&self) -> bool {
        self.asked().stops > 1
    }

    /// Shall the configuration be read again? The question is spent by the answer.
    pub fn take_reload(&self) -> bool {
        std::mem::take(&mut self.asked().reload)
    }

    /// Shall the driver come back to its caller, for either reason?
    pub fn is_any(&self) -> bool {
        let asked = self.asked();
        asked.stops > 0 || asked.reload
    }

    /// Waits that long, or until somebody asks for something.
    pub fn wait(&self, span: Duration) {
        let asked = self.asked();
        let _unused = self.0.1.wait_timeout_while(asked, span, |asked| asked.stops == 0 && !asked.reload);
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The real one.
#[derive(Clone, Debug)]
pub struct SystemMachine {
    /// Where the present comes from.
    pub clock: Clock,
    /// What ends a wait.
    pub stop: Stop,
}

impl Machine for SystemMachine {
    fn now(&self) -> UnixTime {
        self.clock.now()
    }

    fn wait(&self, until: UnixTime) {
        // A clock that is set, or a computer that slept, is noticed within a minute.
        self.stop.wait(until.since(self.clock.now()).min(Duration::from_mins(1)));
    }

    fn random(&self, below: Duration) -> Duration {
        let millis = u64::try_from(below.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        // Without entropy all agents would still be spread by their start.
        let number = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()) * 7919);
        Duration::from_millis(number % millis)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        disk::space::free(path)
    }

    fn people(&self) -> Box<dyn People> {
        people::of_this_system()
    }

    #[cfg(unix)]
    fn host_name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    #[cfg(not(unix))]
    fn host_name(&self) -> String {
        crate::config::agent::host_name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_every_wait_at_once_and_a_second_one_is_urgent() {
        let stop = Stop::new();
        let other = stop.clone();
        let waiter = std::thread::spawn(move || other.wait(Duration::from_mins(10)));
        stop.stop();
        waiter.join().expect("the waiter came back");
        assert!(stop.is_asked() && !stop.is_urgent());
        stop.stop();
        assert!(stop.is_urgent());
    }

    #[test]
    fn a_reload_is_answered_once() {
        let stop = Stop::new();
        stop.reload();
        assert!(stop.is_any() && !stop.is_asked());
        assert!(stop.take_reload() && !stop.take_reload());
    }

    #[test]
    fn chance_stays_within_its_bound() {
        let machine = SystemMachine { clock: Clock::System, stop: Stop::new() };
        assert_eq!(machine.random(Duration::ZERO), Duration::ZERO);
        assert!((0..100).all(|_| machine.random(Duration::from_millis(10)) <= Duration::from_millis(10)));
        assert!(!machine.host_name().is_empty());
    }
}
