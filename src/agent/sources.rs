//! Where fragments come from: several places, the one that fails is left alone for a while, and is named.
//!
//! One request a turn, whatever failed before: fail-over never asks for more than one source would have been asked for
//! (the engine's latencies hold between any two requests). A place that did not answer rests as a whole; one that lacks a
//! package, or gave wrong bytes for it, rests for that package only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::engine::Failure;
use crate::model::{Location, PackageId, UnixTime};

/// The first rest of a place that did not answer, and the longest; it doubles with each failure in a row.
const AWAY: [Duration; 2] = [Duration::from_mins(1), Duration::from_hours(1)];
/// The same for a place that lacks a package or has other bytes: that does not mend itself within minutes.
const USELESS: [Duration; 2] = [Duration::from_hours(1), Duration::from_hours(24)];
/// Remembered at most; the one whose failure is longest ago is forgotten first.
const MAX_SOURCES: usize = 64;

/// What is known of one source.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Health {
    /// In a row.
    pub(crate) failures: u32,
    /// Why it failed last.
    pub(crate) last_error: String,
    /// When, Unix seconds.
    pub(crate) failed_at: i64,
    /// Not asked before, if there is another: Unix seconds.
    pub(crate) rests_until: i64,
}

/// The sources that ever failed: `sources.json`. Losing it costs a request to a source that is down.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Sources(BTreeMap<String, Health>);

impl Sources {
    fn path(state: &Path) -> PathBuf {
        state.join("sources.json")
    }

    /// What is known; nothing, if the file is not there or not readable.
    pub(crate) fn read(state: &Path) -> Self {
        fs::read(Self::path(state)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn keep(&self, state: &Path) {
        let path = Self::path(state);
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        if let Err(error) = disk::atomic::write_private(&path, &text) {
            tracing::warn!("failed to write {}: {error}", path.display());
        }
    }

    /// Every source that failed, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Health)> {
        self.0.iter().map(|(name, health)| (name.as_str(), health))
    }

    /// The first in the server's order that does not rest; if all do, the one whose rest ends first.
    pub(crate) fn choose<'a>(
        &self,
        package: PackageId,
        first: &'a Location,
        more: &'a [Location],
        now: UnixTime,
    ) -> &'a Location {
        let mut best = (self.rests_until(first, package), first);
        if best.0 > now.seconds() {
            for location in more {
                let until = self.rests_until(location, package);
                if until <= now.seconds() {
                    return location;
                }
                if until < best.0 {
                    best = (until, location);
                }
            }
        }
        best.1
    }

    fn rests_until(&self, location: &Location, package: PackageId) -> i64 {
        let of = |name: &str| self.0.get(name).map_or(0, |health| health.rests_until);
        of(location.as_str()).max(of(&within(location, package)))
    }

    /// It failed; it rests a span that doubles, by chance half of it, so that a fleet does not come back together.
    pub(crate) fn failed(
        &mut self,
        state: &Path,
        from: (&Location, PackageId),
        failure: Failure,
        why: &str,
        now: UnixTime,
        random: impl FnOnce(Duration) -> Duration,
    ) {
        let (location, package) = from;
        let (name, [first, longest]) = match failure {
            Failure::Transient => (location.as_str().to_owned(), AWAY),
            Failure::Missing | Failure::Wrong => (within(location, package), USELESS),
        };
        let health = self.0.entry(name).or_default();
        health.failures = health.failures.saturating_add(1);
        let doubled = first.saturating_mul(1_u32.checked_shl(health.failures - 1).unwrap_or(u32::MAX));
        let span = doubled.min(longest);
        why.chars().take(300).collect::<String>().clone_into(&mut health.last_error);
        health.failed_at = now.seconds();
        health.rests_until = now.plus(span / 2 + random(span / 2)).seconds();
        while self.0.len() > MAX_SOURCES {
            let Some(oldest) = self.0.iter().min_by_key(|(_, health)| health.failed_at).map(|(name, _)| name.clone())
            else {
                break;
            };
            self.0.remove(&oldest);
        }
        self.keep(state);
    }

    /// It gave what it was asked for: it rests no more. What it did before stays known.
    pub(crate) fn worked(&mut self, state: &Path, from: (&Location, PackageId)) {
        let (location, package) = from;
        let mut changed = false;
        for name in [location.as_str().to_owned(), within(location, package)] {
            if let Some(health) = self.0.get_mut(&name)
                && health.failures > 0
            {
                (health.failures, health.rests_until) = (0, 0);
                changed = true;
            }
        }
        if changed {
            self.keep(state);
        }
    }
}

/// How a source is called where only one package of it is meant.
fn within(location: &Location, package: PackageId) -> String {
    format!("{location}/{package}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_795_164_551);

    fn id(number: u32) -> PackageId {
        PackageId::new(number).expect("an id")
    }

    fn places() -> [Location; 3] {
        ["near/download", "far/download", "last/download"].map(|text| text.parse().expect("a location"))
    }

    #[test]
    fn a_source_that_fails_rests_twice_as_long_each_time_and_the_next_one_is_asked() {
        let home = tempfile::tempdir().expect("a directory");
        let [near, far, last] = places();
        let more = [far.clone(), last.clone()];
        let mut sources = Sources::default();
        let mut rests = Vec::new();
        for _ in 0..9 {
            sources.failed(home.path(), (&near, id(7)), Failure::Transient, "away", NOW, |half| half);
            rests.push(sources.rests_until(&near, id(7)) - NOW.seconds());
        }
        assert_eq!(rests, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        assert_eq!(sources.choose(id(7), &near, &more, NOW), &far);
        assert_eq!(sources.choose(id(8), &near, &more, NOW), &far, "it is away for every package");
        sources.failed(home.path(), (&far, id(7)), Failure::Missing, "404", NOW, |half| half);
        assert_eq!(sources.choose(id(7), &near, &more, NOW), &last);
        assert_eq!(sources.choose(id(8), &near, &more, NOW), &far, "it lacks that package only");
        sources.failed(home.path(), (&last, id(7)), Failure::Wrong, "wrong bytes", NOW, |half| half / 2);
        assert_eq!(sources.choose(id(7), &near, &more, NOW), &last, "all rest: the one that is ready first");
        assert_eq!(sources.choose(id(7), &near, &more, NOW.plus(Duration::from_hours(1))), &near);
        assert_eq!(Sources::read(home.path()), sources);
        sources.worked(home.path(), (&near, id(7)));
        assert_eq!(sources.choose(id(7), &near, &more, NOW), &near);
        let (_, health) = sources.iter().find(|(name, _)| *name == "near/download").expect("still known");
        assert_eq!((health.failures, health.last_error.as_str()), (0, "away"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_torn_file_is_none() {
        let home = tempfile::tempdir().expect("a directory");
        let mut sources = Sources::default();
        for number in 0..100_u32 {
            let place: Location = format!("host{number}/d").parse().expect("a location");
            let now = NOW.plus(Duration::from_secs(number.into()));
            sources.failed(home.path(), (&place, id(7)), Failure::Transient, &"x".repeat(5000), now, |half| half);
        }
        assert_eq!(sources.iter().count(), MAX_SOURCES);
        assert!(sources.iter().all(|(name, health)| name != "host0/d" && health.last_error.len() == 300));
        disk::atomic::write(&home.path().join("sources.json"), b"{\"a\":").expect("written");
        assert_eq!(Sources::read(home.path()), Sources::default());
    }
}
