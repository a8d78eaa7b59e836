//! What came of a run: for people a table, for programs JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::json;

use super::histogram::Histogram;
use super::process::Usage;
use super::wire::Trouble;

/// The kinds of requests, in the order of a day.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Prolog,
    Inventory,
    Info,
    Fragment,
    Report,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Prolog => "prolog",
            Self::Inventory => "inventory",
            Self::Info => "info",
            Self::Fragment => "fragment",
            Self::Report => "report",
        }
    }
}

/// What was seen of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) latencies: Histogram,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// What is counted while it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Answered with 200 and understood.
    pub(crate) seen: BTreeMap<Kind, Seen>,
    /// Everything else.
    pub(crate) errors: BTreeMap<(Kind, Trouble), u64>,
    /// Results that the server took.
    pub(crate) results: BTreeMap<String, u64>,
    /// Contacts that were made, whatever came of them.
    pub(crate) contacts: u64,
    /// Agents that had no work left at their end.
    pub(crate) settled: u64,
}

impl Tally {
    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, theirs) in other.seen {
            let mine = self.seen.entry(kind).or_default();
            mine.latencies.merge(&theirs.latencies);
            mine.sent += theirs.sent;
            mine.received += theirs.received;
        }
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
        for (result, count) in other.results {
            *self.results.entry(result).or_default() += count;
        }
        self.contacts += other.contacts;
        self.settled += other.settled;
    }
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
    /// Before and after, when the server's process was named.
    pub(crate) server: Option<(Usage, Usage)>,
    /// CPU of the simulator itself.
    pub(crate) own_cpu: Duration,
    /// What was asked for, in words.
    pub(crate) title: String,
}

impl Report {
    /// Requests that were answered well.
    pub(crate) fn answered(&self) -> u64 {
        self.tally.seen.values().map(|seen| seen.latencies.count()).sum()
    }

    /// Requests that were not.
    pub(crate) fn failed(&self) -> u64 {
        self.tally.errors.values().sum()
    }

    /// CPU of the server for each request that was answered.
    fn cpu_each(&self) -> Option<Duration> {
        let (before, after) = self.server?;
        let requests = self.answered() + self.failed();
        Some(after.cpu.saturating_sub(before.cpu).div_f64(fraction(requests.max(1))))
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        let kinds: serde_json::Map<String, serde_json::Value> = self
            .tally
            .seen
            .iter()
            .map(|(kind, seen)| {
                let micros = |share| micros(seen.latencies.per_mille(share));
                let value = json!({
                    "requests": seen.latencies.count(),
                    "per_second": per_second(seen.latencies.count(), self.took),
                    "p50_us": micros(500),
                    "p99_us": micros(990),
                    "p999_us": micros(999),
                    "max_us": self::micros(seen.latencies.largest()),
                    "sent_bytes": seen.sent,
                    "received_bytes": seen.received,
                });
                (kind.as_str().to_owned(), value)
            })
            .collect();
        let errors: Vec<_> = self
            .tally
            .errors
            .iter()
            .map(|((kind, trouble), count)| {
                json!({ "kind": kind.as_str(), "error": trouble.to_string(), "count": count })
            })
            .collect();
        json!({
            "run": self.title,
            "seconds": self.took.as_secs_f64(),
            "contacts": self.tally.contacts,
            "settled": self.tally.settled,
            "requests": kinds,
            "results": self.tally.results,
            "errors": errors,
            "failed": self.failed(),
            "server": self.server.map(|(before, after)| json!({
                "cpu_seconds": after.cpu.saturating_sub(before.cpu).as_secs_f64(),
                "cpu_us_per_request": self.cpu_each().map(micros),
                "peak_bytes": after.peak_bytes,
                "processes": after.processes,
            })),
            "simulator_cpu_seconds": self.own_cpu.as_secs_f64(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
fn fraction(count: u64) -> f64 {
    count as f64
}

fn per_second(count: u64, took: Duration) -> f64 {
    fraction(count) / took.as_secs_f64().max(1e-9)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {:.1} s, {} contacts", self.title, self.took.as_secs_f64(), self.tally.contacts)?;
        writeln!(
            f,
            "{:10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "", "answered", "a second", "p50", "p99", "p99.9", "max", "MiB/s"
        )?;
        for (kind, seen) in &self.tally.seen {
            let bytes = per_second(seen.sent + seen.received, self.took) / f64::from(1 << 20);
            write!(
                f,
                "{:10} {:>10} {:>10.1}",
                kind.as_str(),
                seen.latencies.count(),
                per_second(seen.latencies.count(), self.took)
            )?;
            for latency in [500, 990, 999].map(|share| seen.latencies.per_mille(share)) {
                write!(f, " {:>10}", shown(latency))?;
            }
            writeln!(f, " {:>10} {bytes:>10.1}", shown(seen.latencies.largest()))?;
        }
        if !self.tally.results.is_empty() {
            let mut line = String::from("results   ");
            for (result, count) in &self.tally.results {
                write!(line, " {count} {result}")?;
            }
            writeln!(f, "{line}")?;
        }
        if let (Some((before, after)), Some(each)) = (self.server, self.cpu_each()) {
            writeln!(
                f,
                "server     {:.2} s CPU, {} a request, at most {} MiB in {} {}",
                after.cpu.saturating_sub(before.cpu).as_secs_f64(),
                shown(each),
                after.peak_bytes >> 20,
                after.processes,
                if after.processes == 1 { "process" } else { "processes" }
            )?;
        }
        writeln!(f, "simulator  {:.2} s CPU", self.own_cpu.as_secs_f64())?;
        for ((kind, trouble), count) in &self.tally.errors {
            writeln!(f, "FAILED     {count} x {}: {trouble}", kind.as_str())?;
        }
        Ok(())
    }
}

/// Three digits are enough.
fn shown(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ 0..1000 => format!("{micros} us"),
        micros @ 1000..1_000_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        micros => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}
