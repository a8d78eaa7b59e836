//! A ceiling on bytes a second: a bucket that fills at that rate and holds one second's worth. Pure: time is an argument.

use std::time::Duration;

use crate::model::UnixTime;

/// Tells how long to wait after so many bytes, so that the rate holds over any span but for one second's worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bucket {
    /// Bytes a second, at least 1.
    rate: u64,
    /// Thousandths of bytes that are in it; below zero it is owed.
    level: i128,
    at: UnixTime,
}

impl Bucket {
    /// A full bucket for that many bytes a second (at least 1).
    pub fn new(rate: u64, now: UnixTime) -> Self {
        let rate = rate.max(1);
        Self { rate, level: i128::from(rate) * 1000, at: now }
    }

    /// These bytes went by; nothing may follow before the moment that is answered. A clock that goes back neither fills the
    /// bucket nor empties it.
    pub fn take(&mut self, now: UnixTime, bytes: u64) -> UnixTime {
        let rate = i128::from(self.rate);
        let elapsed = i128::from(now.millis()).saturating_sub(i128::from(self.at.millis())).max(0);
        // Bytes a second are thousandths of a byte a millisecond.
        self.level = self.level.saturating_add(elapsed.saturating_mul(rate)).min(rate * 1000);
        self.at = now;
        self.level -= i128::from(bytes) * 1000;
        if self.level >= 0 {
            return now;
        }
        let millis = (-self.level + rate - 1) / rate;
        now.plus(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_is_free_and_then_the_rate_holds() {
        let start = UnixTime::from_seconds(1_000);
        let mut bucket = Bucket::new(1000, start);
        let waits: Vec<i64> =
            [600, 400, 500, 1].map(|bytes| bucket.take(start, bytes).millis() - start.millis()).to_vec();
        assert_eq!(waits, [0, 0, 500, 501]);
        // Idle time is worth one second, however long it was.
        let later = start.plus(Duration::from_hours(5));
        assert_eq!(bucket.take(later, 1000), later);
        assert_eq!(bucket.take(later, 1000), later.plus(Duration::from_secs(1)));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let start = UnixTime::from_seconds(1_000);
        let mut bucket = Bucket::new(100, start);
        bucket.take(start, 100);
        let before = UnixTime::from_seconds(10);
        assert_eq!(bucket.take(before, 100), before.plus(Duration::from_secs(1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whoever_waits_as_told_never_goes_beyond_the_rate(
            rate in 1..2_000_000_u64,
            chunks in proptest::collection::vec((1..100_000_u64, 0..3_000_u64), 1..50),
        ) {
            let start = UnixTime::from_seconds(1_000);
            let (mut bucket, mut now, mut sent) = (Bucket::new(rate, start), start, 0_u64);
            for (bytes, idle) in chunks {
                let until = bucket.take(now, bytes);
                sent += bytes;
                prop_assert!(until >= now);
                now = until;
                // Everything so far, less the second that was free, took as long as the rate says; and not much longer.
                let millis = u64::try_from(now.since(start).as_millis()).expect("short");
                prop_assert!(u128::from(sent) * 1000 <= u128::from(rate) * u128::from(millis + 1000));
                now = now.plus(Duration::from_millis(idle));
            }
        }

        #[test]
        fn nobody_waits_longer_than_the_bytes_are_worth(rate in 1..2_000_000_u64, bytes in 1..1_000_000_u64) {
            let now = UnixTime::from_seconds(1_000);
            let wait = Bucket::new(rate, now).take(now, bytes).since(now);
            prop_assert!(wait.as_millis() <= u128::from(bytes.saturating_sub(rate)) * 1000 / u128::from(rate) + 1);
        }
    }
}
