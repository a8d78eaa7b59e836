//! Slowing down whoever guesses passwords and codes.
//!
//! Each attempt counts as a wrong one before it is looked at, so that many at once gain nothing; a right one is taken back,
//! and that one only: whoever knows one password, or has one account, cannot wipe out what they guessed before. Kept in
//! memory: a restart forgives.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::UnixTime;

/// Attempts that cost nothing.
const FREE: i64 = 5;
/// After so long one attempt is forgotten, in milliseconds.
const FORGET: i64 = 3 * 60 * 1000;
/// Attempts that are counted; more change nothing.
const MOST: i64 = 20;
/// The longest pause between two attempts is two to this, in seconds.
const LONGEST: i64 = 9;
/// Guessers remembered; above that, those are forgotten that need not wait.
const REMEMBERED: usize = 10_000;

/// What attempts are counted by.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Guesser {
    /// Where somebody is. Who has one IPv6 address has 2^64 of them, and they count as one.
    Network(IpAddr),
    /// Whose secret it is. Only for what comes after a right password or a session: else anybody could lock anybody out.
    Account(String),
}

impl Guesser {
    /// The network of an address.
    pub fn at(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        })
    }
}

/// A bucket that empties by itself: one attempt in [`FORGET`].
#[derive(Clone, Copy, Debug)]
struct Tries {
    empty_at: i64,
    last: i64,
}

impl Tries {
    fn count(self, now: i64) -> i64 {
        (self.empty_at - now).max(0).unsigned_abs().div_ceil(FORGET.unsigned_abs()).cast_signed()
    }

    /// Until when nothing may be tried.
    fn closed_until(self, now: i64) -> Option<i64> {
        let over = self.count(now) - FREE;
        (over >= 0).then(|| self.last + (1_i64 << over.min(LONGEST)) * 1000).filter(|end| *end > now)
    }
}

/// Who tried how often.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<Guesser, Tries>>);

impl Guesses {
    fn all(&self) -> MutexGuard<'_, HashMap<Guesser, Tries>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt; or tells the seconds that it comes too early.
    pub fn count(&self, guessers: &[Guesser], now: UnixTime) -> Result<(), u64> {
        let now = now.millis();
        let mut all = self.all();
        let closed = guessers.iter().filter_map(|guesser| all.get(guesser)?.closed_until(now)).max();
        if let Some(end) = closed {
            return Err((end - now).unsigned_abs().div_ceil(1000));
        }
        if all.len() >= REMEMBERED {
            all.retain(|_, tries| tries.closed_until(now).is_some());
        }
        for guesser in guessers {
            let tries = all.entry(guesser.clone()).or_insert(Tries { empty_at: now, last: now });
            tries.empty_at = (tries.empty_at.max(now) + FORGET).min(now + MOST * FORGET);
            tries.last = now;
        }
        Ok(())
    }

    /// The attempt was right: it does not count.
    pub fn take_back(&self, guessers: &[Guesser]) {
        let mut all = self.all();
        for guesser in guessers {
            if let Some(tries) = all.get_mut(guesser) {
                tries.empty_at -= FORGET;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_millis(seconds * 1000)
    }

    fn network(address: &str) -> [Guesser; 1] {
        [Guesser::at(address.parse().expect("an address"))]
    }

    #[test]
    fn guessing_becomes_slow_and_is_forgotten() {
        let (guesses, here) = (Guesses::default(), network("192.0.2.7"));
        for _ in 0..5 {
            assert_eq!(guesses.count(&here, at(0)), Ok(()));
        }
        assert_eq!(guesses.count(&here, at(0)), Err(1));
        assert_eq!(guesses.count(&network("192.0.2.8"), at(0)), Ok(()));
        let mut now = 0;
        let mut tries = 0;
        while now < 24 * 3600 {
            match guesses.count(&here, at(now)) {
                Ok(()) => tries += 1,
                Err(seconds) => now += i64::try_from(seconds).expect("seconds"),
            }
        }
        assert!((100..600).contains(&tries), "{tries} guesses within a day");
        assert_eq!(guesses.count(&here, at(now + 3600)), Ok(()), "an hour later all is forgotten");
    }

    #[test]
    fn a_right_attempt_takes_back_itself_and_no_other() {
        let (guesses, here) = (Guesses::default(), network("192.0.2.7"));
        for wrong in 1..=5 {
            assert_eq!(guesses.count(&here, at(0)), Ok(()));
            if wrong < 5 {
                assert_eq!(guesses.count(&here, at(0)), Ok(()), "somebody's own password in between");
                guesses.take_back(&here);
            }
        }
        assert_eq!(guesses.count(&here, at(0)), Err(1), "whoever has an account would guess for ever");
    }

    #[test]
    fn right_attempts_never_have_to_wait() {
        let (guesses, here) = (Guesses::default(), network("192.0.2.7"));
        for _ in 0..100 {
            assert_eq!(guesses.count(&here, at(0)), Ok(()));
            guesses.take_back(&here);
        }
    }

    #[test]
    fn a_network_of_ipv6_guesses_as_one() {
        let guesses = Guesses::default();
        for n in 0..5 {
            assert_eq!(guesses.count(&network(&format!("2001:db8::{n:x}")), at(0)), Ok(()));
        }
        assert!(guesses.count(&network("2001:db8::ffff"), at(0)).is_err());
        assert!(guesses.count(&network("2001:db8:0:1::1"), at(0)).is_ok());
    }

    #[test]
    fn an_account_is_counted_wherever_it_is_guessed_from() {
        let guesses = Guesses::default();
        let from = |n: u8| [Guesser::at([192, 0, 2, n].into()), Guesser::Account("amy".to_owned())];
        for n in 0..5 {
            assert_eq!(guesses.count(&from(n), at(0)), Ok(()));
        }
        assert!(guesses.count(&from(77), at(0)).is_err());
        assert!(guesses.count(&network("192.0.2.77"), at(0)).is_ok(), "what was refused does not count elsewhere");
    }
}
