//! Who fetches what: noted where files are served, kept in memory, told on pages (docs/decisions/0762).
//!
//! Between the offer and the result an agent says nothing, but it fetches from us. A fetch has an address and no name; whose
//! it is follows from the check-ins that came from that address. Where several computers share one, or where a mirror or a
//! cache stands between, nothing can be told apart, and nothing is claimed.
//!
//! Serving never waits for this: a lock that somebody holds is passed by, and what was passed by is counted, so that
//! numbers are told as "at least". Memory is bounded; what nobody asked about for long goes first. A restart begins anew.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::{Computer, DeviceId, PackageId, TreeKey, UnixTime};

/// Parts with a lock of their own.
const PARTS: usize = 64;
/// Entries of a part in one of its two generations: 128,000 computers that fetch one package each.
const KEPT: usize = 1000;
/// Fragments of one package that are told apart: 256 bytes for the largest.
const FRAGMENTS: u32 = 2048;
/// Who fetched since then is fetching.
const LATELY: Duration = Duration::from_mins(10);

/// What was fetched by whom.
#[derive(Debug)]
pub(super) struct Fetches {
    hasher: RandomState,
    parts: Vec<Mutex<Part>>,
    passed_by: AtomicU64,
}

#[derive(Debug, Default)]
struct Part {
    who: Generations<IpAddr, Who>,
    fetched: Generations<(IpAddr, PackageId), Fetched>,
}

/// Who checks in from an address.
#[derive(Clone, Copy, Debug)]
struct Who {
    device: u64,
    /// Another one did before.
    is_shared: bool,
}

/// What an address fetched of a package since it fetched the info file.
#[derive(Clone, Debug)]
struct Fetched {
    info_at: Option<UnixTime>,
    last_at: UnixTime,
    fragments: u32,
    /// A bit for each fragment.
    seen: Vec<u64>,
    /// A fragment was beyond those that are told apart.
    is_more: bool,
}

/// What was seen of a computer and a package.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    /// When it fetched the info file.
    pub(super) info_at: Option<UnixTime>,
    /// When it fetched anything last.
    pub(super) last_at: UnixTime,
    /// Different fragments since then.
    pub(super) fragments: u32,
    /// There may be more than that.
    pub(super) is_at_least: bool,
    /// Other computers check in from the same address, so it may have been one of them.
    pub(super) is_shared: bool,
}

/// Who is fetching a package now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Fetching {
    /// Addresses.
    pub(super) addresses: u64,
    /// Fragments that all of them fetched together.
    pub(super) fragments: u64,
}

impl Default for Fetches {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            passed_by: AtomicU64::new(0),
        }
    }
}

impl Fetches {
    /// A file was asked for and is there.
    pub(super) fn note(&self, address: IpAddr, key: TreeKey, now: UnixTime) {
        let address = address.to_canonical();
        self.with(address, |part| {
            let fetched = part.fetched.entry((address, key.package()), || Fetched::new(now));
            fetched.last_at = now;
            match key {
                TreeKey::Info { .. } => *fetched = Fetched { info_at: Some(now), ..Fetched::new(now) },
                TreeKey::Fragment { number, .. } => fetched.add(number.number()),
            }
        });
    }

    /// A computer checked in from there.
    pub(super) fn contact(&self, address: IpAddr, device: u64) {
        let address = address.to_canonical();
        self.with(address, |part| {
            let who = part.who.entry(address, || Who { device, is_shared: false });
            if who.device != device {
                *who = Who { device, is_shared: true };
            }
        });
    }

    /// A device as it is kept here.
    pub(super) fn mark(&self, device: &DeviceId) -> u64 {
        self.hasher.hash_one(device)
    }

    /// What was seen of a computer since a moment; `None` if nothing was, or if nobody knows that it is there.
    pub(super) fn of(&self, computer: &Computer, package: PackageId, since: UnixTime) -> Option<Seen> {
        self.of_device(&computer.device_id, &computer.peer_address, package, since)
    }

    /// The same by wire name and address.
    pub(super) fn of_device(
        &self,
        device: &DeviceId,
        peer_address: &str,
        package: PackageId,
        since: UnixTime,
    ) -> Option<Seen> {
        let address = peer_address.parse::<IpAddr>().ok()?.to_canonical();
        let part = self.part(address).lock().ok()?;
        let who = part.who.get(&address).filter(|who| who.device == self.mark(device) || who.is_shared)?;
        let fetched = part.fetched.get(&(address, package)).filter(|fetched| fetched.last_at >= since)?;
        Some(Seen {
            info_at: fetched.info_at.filter(|at| *at >= since),
            last_at: fetched.last_at,
            fragments: fetched.fragments,
            is_at_least: fetched.is_more || self.passed_by.load(Ordering::Relaxed) > 0,
            is_shared: who.is_shared,
        })
    }

    /// Who is fetching a package now. Looks at everything that is kept.
    pub(super) fn fetching(&self, package: PackageId, now: UnixTime) -> Fetching {
        let mut all = Fetching::default();
        for part in self.parts.iter().filter_map(|part| part.lock().ok()) {
            let of = part.fetched.iter().filter(|((_, of), _)| *of == package);
            for fetched in of.map(|(_, fetched)| fetched).filter(|one| now.since(one.last_at) < LATELY) {
                all.addresses += 1;
                all.fragments += u64::from(fetched.fragments);
            }
        }
        all
    }

    fn part(&self, address: IpAddr) -> &Mutex<Part> {
        let at = usize::try_from(self.hasher.hash_one(address) % PARTS as u64).unwrap_or(0);
        &self.parts[at]
    }

    fn with(&self, address: IpAddr, note: impl FnOnce(&mut Part)) {
        match self.part(address).try_lock() {
            Ok(mut part) => note(&mut part),
            Err(_) => {
                self.passed_by.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Fetched {
    fn new(now: UnixTime) -> Self {
        Self { info_at: None, last_at: now, fragments: 0, seen: Vec::new(), is_more: false }
    }

    fn add(&mut self, number: u32) {
        if number >= FRAGMENTS {
            self.is_more = true;
            return;
        }
        let (word, bit) = (number as usize / 64, 1_u64 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.fragments += 1;
        }
    }
}

/// What was not asked for while the young generation filled goes with the old one.
#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash, V> Generations<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        if self.young.len() >= KEPT && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_else(new))
    }

    fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.young.iter().chain(&self.old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_seconds(1_795_168_800 + seconds)
    }

    fn device(name: &str) -> DeviceId {
        format!("{name}-2026-01-02-03-04-05").parse().expect("a device id")
    }

    fn key(text: &str) -> TreeKey {
        text.parse().expect("a key")
    }

    fn seen(fetches: &Fetches, name: &str, since: i64) -> Option<Seen> {
        fetches.of_device(&device(name), "192.0.2.7", key("7/info").package(), at(since))
    }

    /// One computer that checked in and fetched the info file and three fragments, one of them twice.
    fn story() -> Fetches {
        let fetches = Fetches::default();
        fetches.contact(NEAR, fetches.mark(&device("a")));
        for (when, file) in [(1, "7/info"), (2, "7/7-1"), (3, "7/7-3"), (4, "7/7-3"), (5, "7/7-70")] {
            fetches.note(NEAR, key(file), at(when));
        }
        fetches
    }

    #[test]
    fn what_a_computer_fetches_is_told_of_it_alone() {
        let fetches = story();
        let expected =
            Seen { info_at: Some(at(1)), last_at: at(5), fragments: 3, is_at_least: false, is_shared: false };
        assert_eq!(seen(&fetches, "a", 0), Some(expected));
        assert_eq!(seen(&fetches, "b", 0), None, "nobody saw it check in from there");
        assert_eq!(seen(&fetches, "a", 6), None, "that was an earlier attempt");
        assert_eq!(seen(&fetches, "a", 3).and_then(|seen| seen.info_at), None, "so was the info file");
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().expect("an address");
        fetches.note(mapped, key("7/7-4"), at(6));
        assert_eq!(seen(&fetches, "a", 0).map(|seen| seen.fragments), Some(4), "one address in two spellings");
        assert_eq!(fetches.fetching(key("7/info").package(), at(7)), Fetching { addresses: 1, fragments: 4 });
        assert_eq!(fetches.fetching(key("7/info").package(), at(700)), Fetching::default());
    }

    #[test]
    fn an_address_of_several_computers_is_said_to_be_one() {
        let fetches = story();
        fetches.contact(NEAR, fetches.mark(&device("b")));
        assert_eq!(["a", "b"].map(|name| seen(&fetches, name, 0).map(|seen| seen.is_shared)), [Some(true); 2]);
    }

    #[test]
    fn a_new_info_file_begins_anew() {
        let fetches = story();
        fetches.note(NEAR, key("7/info"), at(9));
        fetches.note(NEAR, key("7/7-1"), at(10));
        assert_eq!(seen(&fetches, "a", 0).map(|seen| (seen.info_at, seen.fragments)), Some((Some(at(9)), 1)));
    }

    #[test]
    fn what_was_passed_by_or_is_too_much_makes_it_at_least() {
        let fetches = story();
        fetches.note(NEAR, key("7/7-2048"), at(6));
        assert_eq!(seen(&fetches, "a", 0).map(|seen| (seen.fragments, seen.is_at_least)), Some((3, true)));
        let fetches = story();
        let held = fetches.part(NEAR).lock().expect("nobody panicked");
        fetches.note(NEAR, key("7/7-9"), at(6));
        drop(held);
        assert_eq!(seen(&fetches, "a", 0).map(|seen| (seen.fragments, seen.is_at_least)), Some((3, true)));
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let mut kept: Generations<u32, u32> = Generations::default();
        for number in 0..10 * u32::try_from(KEPT).expect("small") {
            *kept.entry(number, || 0) += 1;
            *kept.entry(0, || 0) += 1;
        }
        assert!(kept.iter().count() <= 2 * KEPT);
        assert!(kept.get(&0).is_some_and(|uses| *uses > 10) && kept.get(&1).is_none());
    }
}
