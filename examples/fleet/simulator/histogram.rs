//! Latencies, counted in buckets that are never wider than a thirty-second of what they hold.

use std::time::Duration;

/// Buckets of an octave.
const STEPS: u64 = 32;

/// How often which latency was seen, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    largest: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(micros);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.largest = self.largest.max(micros);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.largest = self.largest.max(other.largest);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn largest(&self) -> Duration {
        Duration::from_micros(self.largest)
    }

    /// What so many of a thousand do not exceed, rounded up to the end of its bucket; nothing was seen: zero.
    pub(crate) fn per_mille(&self, share: u64) -> Duration {
        let rank = (self.count * share).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(end_of(bucket).min(self.largest));
            }
        }
        Duration::ZERO
    }
}

/// Below 64 every number has its own; from there each octave has 32.
fn bucket_of(micros: u64) -> usize {
    let octave = u64::from((micros | 1).ilog2()).saturating_sub(5);
    usize::try_from(octave * STEPS + (micros >> octave)).unwrap_or(usize::MAX)
}

/// The largest number that falls into it.
fn end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let octave = (bucket / STEPS).saturating_sub(1);
    let start = bucket - octave * STEPS;
    ((start + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_falls_into_a_bucket_that_ends_at_most_a_thirty_second_above_it() {
        let mut last = 0;
        for micros in (0..5000).chain((13..40).map(|bit| (1 << bit) + 12_345)) {
            let bucket = bucket_of(micros);
            assert!(bucket >= last, "{micros}");
            assert!((micros..=micros + micros / 32).contains(&end_of(bucket)), "{micros}: {}", end_of(bucket));
            last = bucket;
        }
    }

    #[test]
    fn shares_are_those_of_a_sorted_list() {
        let (mut low, mut high) = (Histogram::default(), Histogram::default());
        for millis in 1..=1000 {
            (if millis <= 500 { &mut low } else { &mut high }).record(Duration::from_millis(millis));
        }
        low.merge(&high);
        assert_eq!((low.count(), low.largest()), (1000, Duration::from_secs(1)));
        for (share, millis) in [(500, 500), (990, 990), (999, 999), (1000, 1000)] {
            let found = low.per_mille(share);
            let exact = Duration::from_millis(millis);
            assert!(found >= exact && found <= exact + exact / 32, "{share}: {found:?}");
        }
        assert_eq!(Histogram::default().per_mille(990), Duration::ZERO);
    }
}
