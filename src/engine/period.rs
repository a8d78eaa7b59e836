//! Cycles and periods: which cycle it is, when its next turn may begin, and how long each pause is.
//!
//! ```text
//! |-- cycle 1 --|-- cycle 2 --| … |-- cycle n --|                |-- cycle 1 --
//!  turn F turn F  C   C             turn F  C      period latency
//! ```
//!
//! F (fragment latency) follows every turn, C (cycle latency) ends every cycle, empty ones too. Cycles in which nobody
//! has a turn are jumped over by arithmetic: nothing wakes up for them.

use std::time::Duration;

use crate::model::settings::DownloadSettings;
use crate::model::{PackageId, Priority, UnixTime};

/// The pause after the n-th cycle in a row in which nothing worked is at least 2^(n-1) s, up to this.
///
/// Without it, latencies of 0 and a fragment that is not there would be 700 requests a second from every computer.
pub const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);

/// The pause after the n-th period in a row in which more than two thirds of the fragment requests failed is at least
/// [`LONGEST_BACK_OFF`] × 2^(n-1), up to this (ocs-protocol 7.5; the stock Windows agent stops until its next run).
pub const LONGEST_RECESS: Duration = Duration::from_hours(1);

/// The order of turns within a cycle: absolute packages first, then ascending numbers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rank {
    ordinary: bool,
    package: PackageId,
}

impl Rank {
    pub(super) fn new(priority: Priority, package: PackageId) -> Self {
        Self { ordinary: priority != Priority::Absolute, package }
    }

    pub(super) fn is_absolute(self) -> bool {
        !self.ordinary
    }
}

/// What a turn was good for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Effort {
    /// A fragment request, and whether it brought the fragment.
    Fragment(bool),
    /// An execution or a report, and whether it worked.
    Other(bool),
    /// An execution that only found out, for the n-th time, that fragments must be fetched again.
    Lost(u32),
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    tried: u32,
    failed: u32,
}

impl Tally {
    fn count(&mut self, worked: bool) {
        self.tried = self.tried.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(!worked));
    }
}

/// Where in a period the engine is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    cycle: u32,
    /// When the next turn of this cycle may begin.
    opens: UnixTime,
    /// How many cycles there were before, ever: puts cycles that take no time in order.
    ordinal: u64,
    /// Who had the last turn in this cycle.
    cursor: Option<Rank>,
    /// Who has another try in the turn that it had.
    retry: Option<PackageId>,
    in_cycle: Tally,
    /// How often the worst of this cycle's packages has lost fragments.
    lost: u32,
    /// Fragment requests only.
    in_period: Tally,
    bad_cycles: u32,
    bad_periods: u32,
}

impl Pace {
    pub(super) fn new(now: UnixTime) -> Self {
        Self {
            cycle: 1,
            opens: now,
            ordinal: 0,
            cursor: None,
            retry: None,
            in_cycle: Tally::default(),
            lost: 0,
            in_period: Tally::default(),
            bad_cycles: 0,
            bad_periods: 0,
        }
    }

    /// Nobody needs turns any more. The pause of a cycle that somebody had a turn in holds nevertheless.
    pub(super) fn stop(&mut self, settings: &DownloadSettings) {
        if !self.is_unused() {
            self.close(settings);
        }
    }

    /// A first cycle that begins now, or when the last pause is over.
    pub(super) fn restart(&mut self, now: UnixTime) {
        let ordinal = self.ordinal.saturating_add(1);
        let opens = self.opens.max(now);
        *self = Self { ordinal, bad_cycles: self.bad_cycles, bad_periods: self.bad_periods, ..Self::new(opens) };
    }

    pub(super) fn opens(&self) -> UnixTime {
        self.opens
    }

    /// How many cycles there were before.
    pub(super) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    pub(super) fn retry(&self) -> Option<PackageId> {
        self.retry
    }

    /// Earlier cycles are less.
    pub(super) fn order(&self) -> (UnixTime, u64) {
        (self.opens, self.ordinal)
    }

    /// May the package still have a turn in this cycle?
    pub(super) fn has_turn(&self, priority: Priority, rank: Rank, settings: &DownloadSettings) -> bool {
        self.cycle <= length(settings) && priority.is_due(self.cycle) && self.cursor.is_none_or(|cursor| cursor < rank)
    }

    /// A turn begins.
    pub(super) fn take_turn(&mut self, rank: Rank) {
        self.cursor = Some(rank);
        self.retry = None;
    }

    /// An action that counts against the fragment latency has ended.
    pub(super) fn rest(&mut self, now: UnixTime, settings: &DownloadSettings) {
        self.opens = self.opens.max(now.plus(Duration::from_secs(settings.fragment_latency.into())));
    }

    pub(super) fn count(&mut self, effort: Effort) {
        match effort {
            Effort::Fragment(worked) => {
                self.in_cycle.count(worked);
                self.in_period.count(worked);
            }
            Effort::Other(worked) => self.in_cycle.count(worked),
            Effort::Lost(times) => {
                self.in_cycle.count(false);
                self.lost = self.lost.max(times);
            }
        }
    }

    /// Grants one more try in the same turn, after the fragment latency.
    pub(super) fn grant_retry(&mut self, package: PackageId) {
        self.retry = Some(package);
    }

    /// Ends this cycle: the next one opens after the cycle latency, or what failures make of it.
    pub(super) fn close(&mut self, settings: &DownloadSettings) {
        let mut pause = Duration::from_secs(settings.cycle_latency.into());
        let mut least = back_off(self.lost);
        if self.in_cycle.tried > 0 {
            let all_failed = self.in_cycle.failed == self.in_cycle.tried;
            self.bad_cycles = if all_failed { self.bad_cycles.saturating_add(1) } else { 0 };
            least = least.max(back_off(self.bad_cycles));
        }
        if self.cycle >= length(settings) {
            pause += Duration::from_secs(settings.period_latency.into());
            if self.in_period.tried > 0 {
                let bad = u64::from(self.in_period.failed) * 3 > u64::from(self.in_period.tried) * 2;
                self.bad_periods = if bad { self.bad_periods.saturating_add(1) } else { 0 };
                least = least.max(recess(self.bad_periods));
            }
            self.in_period = Tally::default();
            self.cycle = 1;
        } else {
            self.cycle += 1;
        }
        self.opens = self.opens.plus(pause.max(least));
        self.ordinal = self.ordinal.saturating_add(1);
        self.cursor = None;
        self.retry = None;
        self.in_cycle = Tally::default();
        self.lost = 0;
    }

    /// The first cycle from this one on, which nobody has used, with a turn for that priority at or after `ready`.
    pub(super) fn seek(
        mut self,
        priority: Priority,
        ready: Option<UnixTime>,
        settings: &DownloadSettings,
    ) -> Option<Self> {
        // This period; the one in which `ready` lies; the one after it.
        for _ in 0..3 {
            if let Some(found) = self.seek_in_period(priority, ready, settings) {
                return Some(found);
            }
            self.end_period(settings);
            if let Some(ready) = ready {
                self.skip_periods(ready, settings);
            }
        }
        None
    }

    fn seek_in_period(
        mut self,
        priority: Priority,
        ready: Option<UnixTime>,
        settings: &DownloadSettings,
    ) -> Option<Self> {
        let cycle_millis = i64::from(settings.cycle_latency) * 1000;
        let wait = ready.map_or(0, |ready| ready.millis().saturating_sub(self.opens.millis()).max(0));
        let skipped = match (wait, cycle_millis) {
            (0, _) => 0,
            (_, 0) => return None,
            (wait, cycle) => u32::try_from((wait - 1) / cycle + 1).ok()?,
        };
        let first = self.cycle.checked_add(skipped)?;
        let due = match priority {
            Priority::Absolute => first,
            Priority::Every(n) => first.checked_next_multiple_of(n.get())?,
        };
        if due > length(settings) {
            return None;
        }
        self.skip_cycles(due - self.cycle, settings);
        Some(self)
    }

    /// Goes on to the first cycle that opens after `now`; those before it were empty.
    pub(super) fn skip_past(&mut self, now: UnixTime, settings: &DownloadSettings) {
        if self.opens > now {
            return;
        }
        if !self.is_unused() {
            self.close(settings);
        }
        if period_millis(settings) == 0 {
            // Empty cycles take no time at all: one is as good as the next.
            return;
        }
        // The rest of this period; the period in which `now` lies; the one after it.
        for _ in 0..3 {
            if self.opens > now {
                return;
            }
            let lag = now.millis().saturating_sub(self.opens.millis());
            let steps = match i64::from(settings.cycle_latency) * 1000 {
                0 => u32::MAX,
                cycle => u32::try_from((lag / cycle).saturating_add(1)).unwrap_or(u32::MAX),
            };
            if steps <= length(settings).saturating_sub(self.cycle) {
                self.skip_cycles(steps, settings);
                return;
            }
            self.end_period(settings);
            self.skip_periods(now, settings);
        }
    }

    fn is_unused(&self) -> bool {
        self.cursor.is_none() && self.in_cycle.tried == 0
    }

    /// Skips empty cycles of this period.
    fn skip_cycles(&mut self, cycles: u32, settings: &DownloadSettings) {
        self.opens = self.opens.plus(Duration::from_secs(u64::from(settings.cycle_latency) * u64::from(cycles)));
        self.ordinal = self.ordinal.saturating_add(cycles.into());
        self.cycle = self.cycle.saturating_add(cycles);
    }

    /// Skips what is left of this period.
    fn end_period(&mut self, settings: &DownloadSettings) {
        self.skip_cycles(length(settings).saturating_sub(self.cycle), settings);
        self.close(settings);
    }

    /// Skips whole empty periods, so that `time` lies in the one that is left, if it lies ahead.
    fn skip_periods(&mut self, time: UnixTime, settings: &DownloadSettings) {
        let ahead = time.millis().saturating_sub(self.opens.millis());
        if ahead <= 0 {
            return;
        }
        let period = period_millis(settings);
        if period == 0 {
            self.opens = time;
            return;
        }
        let periods = ahead / period;
        self.opens = UnixTime::from_millis(self.opens.millis().saturating_add(periods.saturating_mul(period)));
        let cycles = u64::try_from(periods).unwrap_or(0).saturating_mul(length(settings).into());
        self.ordinal = self.ordinal.saturating_add(cycles);
    }
}

/// Cycles in a period.
pub(super) fn length(settings: &DownloadSettings) -> u32 {
    settings.period_length.max(1)
}

/// How long a period without any turn takes.
fn period_millis(settings: &DownloadSettings) -> i64 {
    i64::from(settings.cycle_latency)
        .saturating_mul(length(settings).into())
        .saturating_add(settings.period_latency.into())
        .saturating_mul(1000)
}

/// The least pause after the n-th failure in a row.
fn back_off(failures: u32) -> Duration {
    doubled(Duration::from_secs(1), failures, LONGEST_BACK_OFF)
}

/// The least pause after the n-th bad period in a row.
fn recess(bad_periods: u32) -> Duration {
    doubled(LONGEST_BACK_OFF, bad_periods, LONGEST_RECESS)
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    if times == 0 {
        return Duration::ZERO;
    }
    first.saturating_mul(1 << (times - 1).min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(cycle: u32, period: u32, length: u32) -> DownloadSettings {
        DownloadSettings {
            cycle_latency: cycle,
            period_latency: period,
            period_length: length,
            ..DownloadSettings::default()
        }
    }

    #[test]
    fn pauses_double_up_to_their_bound() {
        let seconds = |pauses: &dyn Fn(u32) -> Duration| -> Vec<u64> { (0..9).map(|n| pauses(n).as_secs()).collect() };
        assert_eq!(seconds(&back_off), [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(&recess), [0, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(back_off(u32::MAX), LONGEST_BACK_OFF);
    }

    proptest! {
        /// The arithmetic equals walking cycle by cycle.
        #[test]
        fn seeking_equals_walking(
            cycle in 0_u32..20, period in 0_u32..50, length in 1_u32..8, start in 1_u32..8,
            priority in 0_u32..8, ready in proptest::option::of(0_i64..2000),
        ) {
            prop_assume!(cycle + period > 0);
            let (start, priority) = (start.min(length), priority.min(length));
            let settings = settings(cycle, period, length);
            let priority = Priority::from_number(priority);
            let ready = ready.map(UnixTime::from_seconds);
            let mut walked = Pace { cycle: start, ..Pace::new(UnixTime::from_seconds(0)) };
            let found = walked.seek(priority, ready, &settings).expect("priority fits");
            let mut steps = 0;
            while !(priority.is_due(walked.cycle) && ready.is_none_or(|ready| ready <= walked.opens)) {
                walked.close(&settings);
                steps += 1;
                prop_assert!(steps < 20_000);
            }
            prop_assert_eq!((walked.cycle, walked.order()), (found.cycle, found.order()));
        }

        #[test]
        fn skipping_equals_walking(
            cycle in 0_u32..20, period in 0_u32..50, length in 1_u32..8, start in 1_u32..8, now in 0_i64..2000,
        ) {
            prop_assume!(cycle + period > 0);
            let start = start.min(length);
            let settings = settings(cycle, period, length);
            let now = UnixTime::from_seconds(now);
            let mut walked = Pace { cycle: start, ..Pace::new(UnixTime::from_seconds(0)) };
            let mut skipped = walked;
            skipped.skip_past(now, &settings);
            while walked.opens <= now {
                walked.close(&settings);
            }
            prop_assert_eq!((walked.cycle, walked.order()), (skipped.cycle, skipped.order()));
        }
    }
}
