//! What was read about a computer and is still true.
//!
//! Nobody may be answered from a memory that a change has overtaken, whoever made the change. So what is kept here is
//! believed in one place only: inside a write, where nothing can change beside it. There [`Memo::holds`] is exact:
//!
//! - a change of this program makes a number odd, and another odd one if it was odd, and its commit makes it even again,
//!   another one. Who read in between read the state before the change, and an odd number never holds. A write that alters one
//!   computer knows which even number comes, unless somebody else alters it in the same transaction ([`Memo::stamp_after`]). A change that says nothing of itself is one of
//!   everything; one that says `Concern::About` a computer is one of a few computers; `Concern::Nothing` of none;
//! - a change of another program is seen by SQLite's `data_version` at the beginning of the next transaction of our
//!   writer, and makes the number of everything another one;
//! - a commit that fails, and a connection that is opened anew, do the same.
//!
//! PostgreSQL has no such number, so there nothing is kept and nothing asked (docs/decisions/0212).

use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::DeviceId;

/// Numbers that the computers share.
const STRIPES: usize = 4096;
/// Bytes that may be kept: 100,000 computers with 20 open jobs each take less than half of it.
const ROOM: usize = 256 << 20;
/// Bytes that an entry takes beside its value: names, places in tables, what allocations cost.
const ENTRY: usize = 256;

/// What a change may alter of what is read about computers before they are answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Concern {
    All,
    About(usize),
    Nothing,
}

thread_local! {
    static CONCERN: Cell<Concern> = const { Cell::new(Concern::All) };
}

/// What the unit that has just run said of itself; the next one begins with "everything".
pub(super) fn take_concern() -> Concern {
    CONCERN.replace(Concern::All)
}

/// When something was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    all: u64,
    one: u64,
    stripe: usize,
}

/// What is kept of what was read.
pub struct Memo {
    on: bool,
    hasher: RandomState,
    all: AtomicU64,
    stripes: Box<[AtomicU64]>,
    kept: Mutex<Kept>,
    common: Mutex<Option<(u64, Value)>>,
    found: AtomicU64,
    missed: AtomicU64,
}

type Value = Arc<dyn Any + Send + Sync>;

/// Two generations: what was not asked for while the young one filled goes with the old one.
#[derive(Default)]
struct Kept {
    young: HashMap<DeviceId, Entry>,
    old: HashMap<DeviceId, Entry>,
    weight: usize,
}

struct Entry {
    stamp: Stamp,
    value: Value,
    weight: usize,
}

impl Memo {
    pub(super) fn new(on: bool) -> Self {
        Self {
            on,
            hasher: RandomState::new(),
            all: AtomicU64::new(0),
            stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            kept: Mutex::default(),
            common: Mutex::default(),
            found: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }
    }

    /// Is anything kept at all? Not on PostgreSQL.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// To be taken before reading.
    pub fn stamp(&self, device: &DeviceId) -> Stamp {
        let stripe = self.stripe(device);
        Stamp { all: self.all.load(Ordering::SeqCst), one: self.number(stripe).load(Ordering::SeqCst), stripe }
    }

    /// Within a write that alters this computer alone: the stamp of what it leaves behind. It holds from the commit on, unless
    /// something else in the same transaction alters it, too; never if that fails. `None` if nothing can be kept.
    pub fn stamp_after(&self, device: &DeviceId) -> Option<Stamp> {
        let before = self.stamp(device);
        let one = before.one + 2 + before.one % 2;
        (self.on && before.all.is_multiple_of(2)).then_some(Stamp { one, ..before })
    }

    /// Is what was read after this stamp still true? Exact inside a write; outside it is a guess.
    pub fn holds(&self, stamp: &Stamp) -> bool {
        self.on
            && (stamp.all | stamp.one).is_multiple_of(2)
            && stamp.all == self.all.load(Ordering::SeqCst)
            && stamp.one == self.number(stamp.stripe).load(Ordering::SeqCst)
    }

    /// What is kept of a computer, if it may still be true.
    pub fn get<T: Any + Send + Sync>(&self, device: &DeviceId) -> Option<(Stamp, Arc<T>)> {
        if !self.on {
            return None;
        }
        let found = self.lock().find(device).filter(|(stamp, _)| self.holds(stamp));
        let count = if found.is_some() { &self.found } else { &self.missed };
        count.fetch_add(1, Ordering::Relaxed);
        found.and_then(|(stamp, value)| Some((stamp, value.downcast().ok()?)))
    }

    /// What is kept of all computers together, if it is what was kept under this stamp: then it is as true as what is read after
    /// the stamp, for nothing but single computers has changed between.
    pub fn common<T: Any + Send + Sync>(&self, stamp: &Stamp) -> Option<Arc<T>> {
        let kept = self.common.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, value) = kept.as_ref()?;
        if *all == stamp.all { Arc::clone(value).downcast().ok() } else { None }
    }

    /// Keeps what was read of all computers together after this stamp.
    pub fn keep_common<T: Any + Send + Sync>(&self, stamp: &Stamp, value: &Arc<T>) {
        if self.on && stamp.all.is_multiple_of(2) {
            let before = {
                let mut kept = self.common.lock().unwrap_or_else(PoisonError::into_inner);
                kept.replace((stamp.all, Arc::<T>::clone(value)))
            };
            drop(before); // outside the lock
        }
    }

    /// Keeps what was read after this stamp, so many bytes.
    pub fn keep<T: Any + Send + Sync>(&self, device: &DeviceId, stamp: Stamp, value: &Arc<T>, bytes: usize) {
        if self.on {
            let weight = bytes + ENTRY;
            let dropped = self.lock().keep(device, Entry { stamp, value: Arc::<T>::clone(value), weight });
            drop(dropped); // outside the lock
        }
    }

    /// How often something was found, and not.
    pub fn uses(&self) -> (u64, u64) {
        (self.found.load(Ordering::Relaxed), self.missed.load(Ordering::Relaxed))
    }

    /// The running write alters nothing that is read about any other computer.
    pub(super) fn about(&self, device: &DeviceId) {
        CONCERN.set(Concern::About(self.stripe(device)));
    }

    /// The running write alters nothing that anybody is answered by.
    pub(super) fn about_nothing() {
        CONCERN.set(Concern::Nothing);
    }

    /// A change was made and is not committed.
    pub(super) fn changed(&self, concern: Concern) {
        if let Some(number) = self.concerned(concern) {
            // One of the store's threads writes, so nothing comes between the two.
            let now = number.load(Ordering::SeqCst);
            number.store(now + 1 + now % 2, Ordering::SeqCst);
        }
    }

    /// It is committed now, or undone.
    pub(super) fn settled(&self, concern: Concern) {
        if let Some(number) = self.concerned(concern) {
            // Two changes of one transaction may have one number: the second finds it even already.
            let now = number.load(Ordering::SeqCst);
            number.store(now + now % 2, Ordering::SeqCst);
        }
    }

    /// Something else may be true since.
    pub(super) fn forget_all(&self) {
        self.all.fetch_add(2, Ordering::SeqCst);
    }

    fn concerned(&self, concern: Concern) -> Option<&AtomicU64> {
        match concern {
            Concern::All => Some(&self.all),
            Concern::About(stripe) => Some(self.number(stripe)),
            Concern::Nothing => None,
        }
    }

    fn stripe(&self, device: &DeviceId) -> usize {
        usize::try_from(self.hasher.hash_one(device) % STRIPES as u64).unwrap_or(0)
    }

    fn number(&self, stripe: usize) -> &AtomicU64 {
        &self.stripes[stripe % STRIPES]
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&mut self, device: &DeviceId) -> Option<(Stamp, Value)> {
        if let Some(entry) = self.young.get(device) {
            return Some((entry.stamp, Arc::clone(&entry.value)));
        }
        let (device, entry) = self.old.remove_entry(device)?;
        let found = (entry.stamp, Arc::clone(&entry.value));
        drop(self.keep(&device, entry));
        Some(found)
    }

    /// Gives what had to go.
    fn keep(&mut self, device: &DeviceId, entry: Entry) -> HashMap<DeviceId, Entry> {
        let mut gone = HashMap::new();
        if self.weight + entry.weight > ROOM / 2 {
            gone = mem::replace(&mut self.old, mem::take(&mut self.young));
            self.weight = 0;
        }
        self.weight += entry.weight;
        if let Some(before) = self.young.insert(device.clone(), entry) {
            self.weight -= before.weight;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: usize) -> DeviceId {
        format!("ws{number:06}-2026-01-02-03-04-05").parse().expect("a device id")
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let memo = Memo::new(true);
        let stamp = memo.stamp(&device(0));
        let each = ROOM / 1000;
        for number in 0..2000 {
            memo.keep(&device(number), memo.stamp(&device(number)), &Arc::new(number), each - ENTRY);
            assert!(memo.get::<usize>(&device(0)).is_some(), "used all the time, gone after {number}");
        }
        let kept = memo.lock();
        assert!(kept.young.len() + kept.old.len() <= 1000, "{} + {}", kept.young.len(), kept.old.len());
        assert!(!kept.young.contains_key(&device(1)) && !kept.old.contains_key(&device(1)));
        drop(kept);
        assert!(memo.holds(&stamp));
    }

    #[test]
    fn a_change_about_one_computer_leaves_the_others() {
        let memo = Memo::new(true);
        let one = device(1);
        let other = (2..100).map(device).find(|it| memo.stripe(it) != memo.stripe(&one)).expect("another stripe");
        let stamps = [memo.stamp(&one), memo.stamp(&other)];
        let hold = || stamps.map(|stamp| memo.holds(&stamp));
        let whole = |concern| {
            memo.changed(concern);
            memo.settled(concern);
        };
        whole(Concern::Nothing);
        assert_eq!(hold(), [true, true]);
        whole(Concern::About(memo.stripe(&one)));
        assert_eq!(hold(), [false, true]);
        whole(Concern::All);
        assert_eq!(hold(), [false, false]);
    }

    #[test]
    fn what_was_read_beside_a_change_that_is_not_committed_never_holds() {
        for everything in [true, false] {
            let memo = Memo::new(true);
            let concern = if everything { Concern::All } else { Concern::About(memo.stripe(&device(1))) };
            memo.changed(concern);
            let beside = memo.stamp(&device(1));
            assert!(!memo.holds(&beside));
            memo.changed(concern);
            memo.settled(concern);
            memo.settled(concern);
            assert!(!memo.holds(&beside));
            assert!(memo.holds(&memo.stamp(&device(1))), "afterwards it may be read again");
        }
    }

    #[test]
    fn what_a_write_leaves_behind_holds_from_its_commit_on() {
        let memo = Memo::new(true);
        let one = || Concern::About(memo.stripe(&device(1)));
        let begin = || {
            let after = memo.stamp_after(&device(1)).expect("a stamp");
            memo.changed(one());
            after
        };
        let mine = begin();
        assert!(!memo.holds(&mine), "not yet");
        memo.settled(one());
        assert!(memo.holds(&mine));
        // Two in one transaction: what the second leaves behind is what there is.
        let (first, second) = (begin(), begin());
        memo.settled(one());
        memo.settled(one());
        assert_eq!((memo.holds(&mine), memo.holds(&first), memo.holds(&second)), (false, false, true));
        // Beside a change of everything.
        let mine = begin();
        memo.changed(Concern::All);
        memo.settled(one());
        memo.settled(Concern::All);
        assert!(!memo.holds(&mine));
        memo.changed(Concern::All);
        assert!(memo.stamp_after(&device(1)).is_none());
        memo.settled(Concern::All);
        // A commit that fails.
        let mine = begin();
        memo.settled(one());
        memo.forget_all();
        assert!(!memo.holds(&mine));
        assert!(Memo::new(false).stamp_after(&device(1)).is_none());
    }

    #[test]
    fn what_all_have_in_common_outlives_changes_of_single_computers_only() {
        let memo = Memo::new(true);
        let whole = |concern| {
            memo.changed(concern);
            let beside = memo.stamp(&device(1));
            memo.keep_common(&beside, &Arc::new("beside a change"));
            memo.settled(concern);
        };
        let before = memo.stamp(&device(1));
        memo.keep_common(&before, &Arc::new(1));
        assert_eq!(memo.common::<i32>(&before).as_deref(), Some(&1));
        memo.changed(Concern::About(memo.stripe(&device(1))));
        memo.settled(Concern::About(memo.stripe(&device(1))));
        assert_eq!(memo.common::<i32>(&memo.stamp(&device(1))).as_deref(), Some(&1));
        whole(Concern::All);
        let after = memo.stamp(&device(1));
        assert!(memo.common::<i32>(&after).is_none() && memo.common::<&str>(&after).is_none());
        // Whoever read before the change may still keep it, for nobody.
        memo.keep_common(&before, &Arc::new(2));
        assert!(memo.common::<i32>(&after).is_none());
    }

    #[test]
    fn where_it_is_off_nothing_holds() {
        let memo = Memo::new(false);
        let stamp = memo.stamp(&device(1));
        memo.keep(&device(1), stamp, &Arc::new(1), 1);
        memo.keep_common(&stamp, &Arc::new(1));
        assert!(memo.get::<i32>(&device(1)).is_none() && !memo.holds(&stamp) && memo.common::<i32>(&stamp).is_none());
    }
}
