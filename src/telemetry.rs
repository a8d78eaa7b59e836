//! Where log lines go, and numbers for whoever watches. Floor 2.
//!
//! Text for people, one JSON object a line for collectors; always to standard error, because standard output belongs to
//! what a command was asked for. Fields have dotted names (`package.id`), units in their names (`duration_us`), and never
//! hold bodies, passwords, tokens or command lines.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "server")]
pub mod measure;

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// For collectors.
    Json,
}

/// Why a form was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected text or json")]
pub struct InvalidLogFormat;

impl FromStr for LogFormat {
    type Err = InvalidLogFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(InvalidLogFormat),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

#[cfg(any(feature = "server", feature = "agent"))]
pub mod lines;

#[cfg(any(feature = "server", feature = "agent"))]
pub use subscriber::{InvalidFilter, LogFilter, are_lines_plain, init};

#[cfg(any(feature = "server", feature = "agent"))]
mod subscriber {
    use std::fmt;
    use std::io::{self, IsTerminal as _};
    use std::str::FromStr;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::util::SubscriberInitExt as _;

    use super::LogFormat;
    use super::lines::Lines;

    /// Which lines are written: a level (`info`), or levels by module (`info,dripfeed::server=debug`).
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub struct LogFilter(String);

    /// Why a filter was refused.
    #[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
    #[error(
        "expected off, error, warn, info, debug or trace, or levels by module such as info,dripfeed::server=debug ({0})"
    )]
    pub struct InvalidFilter(String);

    impl FromStr for LogFilter {
        type Err = InvalidFilter;

        fn from_str(text: &str) -> Result<Self, Self::Err> {
            const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
            let parts: Vec<&str> = text.split(',').map(str::trim).collect();
            // A bare word that is no level would be taken for a module's name and silence everything.
            if let Some(part) = parts.iter().find(|part| !part.contains('=') && !LEVELS.contains(part)) {
                return Err(InvalidFilter(format!("\"{part}\" is no level")));
            }
            let text = parts.join(",");
            EnvFilter::try_new(&text).map_err(|error| InvalidFilter(error.to_string()))?;
            Ok(Self(text))
        }
    }

    impl fmt::Display for LogFilter {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }

    /// Are this process's lines text without colours?
    static PLAIN: AtomicBool = AtomicBool::new(false);

    /// Does a field of a line come out as `name=value` and nothing else? Then who writes a line for each request may put it together
    /// itself, which costs less than a field at a time.
    pub fn are_lines_plain() -> bool {
        PLAIN.load(Ordering::Relaxed)
    }

    /// Sends this process's log lines to standard error. Once a process: a second call changes nothing.
    pub fn init(filter: &LogFilter, format: LogFormat) {
        let filter = EnvFilter::new(&filter.0);
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines);
        let is_coloured = io::stderr().is_terminal();
        // An error means that a test or an embedding program has set up its own.
        let done = match format {
            LogFormat::Text => lines.with_ansi(is_coloured).with_target(false).finish().try_init(),
            LogFormat::Json => {
                lines.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()
            }
        };
        PLAIN.store(done.is_ok() && format == LogFormat::Text && !is_coloured, Ordering::Relaxed);
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_filter_that_would_silence_everything_by_a_slip_is_refused() {
            for right in ["info", "off", "info,dripfeed::server=debug", "warn, hyper=trace"] {
                assert!(right.parse::<LogFilter>().is_ok(), "{right}");
            }
            for wrong in ["", "verbose", "infos", "info,debugg", "dripfeed=loud"] {
                assert!(wrong.parse::<LogFilter>().is_err(), "{wrong}");
            }
        }
    }
}
