//! The event log of Windows: that the service started and ended, what became of packages, and errors. Everything else is
//! in `agent.log` only: this log belongs to all programs of the computer, and an administrator watches it.
//!
//! | number | level | what |
//! |---|---|---|
//! | 1 | information | start, end, the result of a package |
//! | 2 | warning | a package that is given up |
//! | 3 | error | what keeps the agent from its work |

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::MILESTONE;

/// Characters of one entry; the system takes 31,839.
const LONGEST: usize = 30_000;

/// How loud an entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Information,
    Warning,
    Error,
}

/// Where entries go.
pub(super) trait Sink {
    /// Writes one; a log that cannot be written to is nobody's business but its own.
    fn put(&self, kind: Kind, text: &str);
}

/// Takes from the log lines what belongs into the event log.
#[derive(Debug)]
pub(super) struct EventLog<S>(pub(super) S);

impl<L: Subscriber, S: Sink + 'static> Layer<L> for EventLog<S> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, L>) {
        let level = *event.metadata().level();
        if level != Level::ERROR && event.metadata().target() != MILESTONE {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let text: String = message.0.chars().filter(|c| *c != '\0').take(LONGEST).collect();
        let kind = match level {
            Level::ERROR => Kind::Error,
            Level::WARN => Kind::Warning,
            _ => Kind::Information,
        };
        self.0.put(kind, &text);
    }
}

/// The sentence of a log line, without its fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(windows)]
pub(super) use system::{Application, register, unregister};

#[cfg(windows)]
mod system {
    #![expect(unsafe_code, reason = "the log is three calls of the system, and there is no safe crate of their size")]

    use std::io;
    use std::ptr;

    use windows_registry::LOCAL_MACHINE;
    use windows_sys::Win32::System::EventLog::{
        DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
        RegisterEventSourceW, ReportEventW,
    };

    use super::{Kind, Sink};

    const SOURCE: &str = "dripfeed-agent";
    const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
    /// A program of every Windows whose messages 1 to 1000 are "whatever was written".
    const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";
    /// Error, warning, information.
    const KINDS: u32 = 1 | 2 | 4;

    /// The log "Application".
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Application;

    impl Sink for Application {
        fn put(&self, kind: Kind, text: &str) {
            // It has no other place to complain: agent.log has the line already.
            let _ = write(kind, text);
        }
    }

    fn write(kind: Kind, text: &str) -> io::Result<()> {
        let utf16 = |text: &str| -> Vec<u16> { text.encode_utf16().chain([0]).collect() };
        let (number, kind) = match kind {
            Kind::Information => (1, EVENTLOG_INFORMATION_TYPE),
            Kind::Warning => (2, EVENTLOG_WARNING_TYPE),
            Kind::Error => (3, EVENTLOG_ERROR_TYPE),
        };
        let (source, text) = (utf16(SOURCE), utf16(text));
        // SAFETY: the name ends with a zero and lives during the call.
        let log = unsafe { RegisterEventSourceW(ptr::null(), source.as_ptr()) };
        if log.is_null() {
            return Err(io::Error::last_os_error());
        }
        let lines = [text.as_ptr()];
        // SAFETY: one text, which ends with a zero and lives during the call; neither a user nor data.
        let written = unsafe { ReportEventW(log, kind, 0, number, ptr::null_mut(), 1, 0, lines.as_ptr(), ptr::null()) };
        let error = io::Error::last_os_error();
        // SAFETY: it was opened above and is not used any more.
        unsafe { DeregisterEventSource(log) };
        if written == 0 { Err(error) } else { Ok(()) }
    }

    /// Tells the system how entries are read.
    pub(in super::super) fn register() -> windows_registry::Result<()> {
        let key = LOCAL_MACHINE.create(format!(r"{SOURCES}\{SOURCE}"))?;
        key.set_expand_string("EventMessageFile", MESSAGES)?;
        key.set_u32("TypesSupported", KINDS)
    }

    /// Entries that were written stay.
    pub(in super::super) fn unregister() -> windows_registry::Result<()> {
        LOCAL_MACHINE.open(SOURCES)?.remove_tree(SOURCE)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_system_takes_an_entry() {
            for kind in [Kind::Information, Kind::Warning, Kind::Error] {
                write(kind, "a test of dripfeed-agent; ä").expect("written");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<(Kind, String)>>>);

    impl Sink for Kept {
        fn put(&self, kind: Kind, text: &str) {
            self.0.lock().expect("not poisoned").push((kind, text.to_owned()));
        }
    }

    #[test]
    fn milestones_and_errors_are_entries_and_the_rest_is_not() {
        let kept = Kept::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(EventLog(kept.clone())), || {
            tracing::info!(target: MILESTONE, { package.id = 7 }, "package {}: {}", 7, "SUCCESS");
            tracing::info!("stored fragment 1");
            tracing::warn!("fragment 2 did not come");
            tracing::warn!(target: MILESTONE, "package 8 is given up");
            tracing::error!(cause = "x", "the disk is\0 full");
            tracing::error!("{}", "x".repeat(40_000));
        });
        let kept = kept.0.lock().expect("not poisoned");
        let short: Vec<(Kind, &str)> = kept.iter().map(|(kind, text)| (*kind, &text[..text.len().min(30)])).collect();
        assert_eq!(
            short,
            [
                (Kind::Information, "package 7: SUCCESS"),
                (Kind::Warning, "package 8 is given up"),
                (Kind::Error, "the disk is full"),
                (Kind::Error, &*"x".repeat(30)),
            ]
        );
        assert_eq!(kept[3].1.len(), LONGEST);
    }
}
