//! Fragments: how an archive is cut.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::str::FromStr;

use super::ByteSize;

/// Why a fragment number, count or size was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidFragment {
    /// Not a decimal number from 1 without leading zero.
    #[error("\"{0}\" is not a fragment number: expected 1, 2, 3 …")]
    Number(String),
    /// More fragments than a task list should have.
    #[error("{fragments} fragments are more than {limit}: use fragments of {suggestion} or larger")]
    TooMany {
        /// How many it would be.
        fragments: u64,
        /// How many are allowed.
        limit: u32,
        /// A size that would do.
        suggestion: ByteSize,
    },
    /// A size of nothing.
    #[error("a fragment needs at least one byte")]
    Empty,
    /// More fragments asked for than there are bytes.
    #[error("{fragments} fragments asked for, but the archive has only {bytes} bytes")]
    MoreThanBytes {
        /// How many were asked for.
        fragments: u32,
        /// How many bytes there are.
        bytes: u64,
    },
}

/// A fragment's number, from 1: the `n` of `<id>-<n>`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FragmentNumber(NonZeroU32);

impl FragmentNumber {
    /// The first one.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Takes a number from 1.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number itself.
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl FromStr for FragmentNumber {
    type Err = InvalidFragment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `parse` also takes "+7" and "007".
        let number = text.parse::<NonZeroU32>().ok().filter(|_| text.starts_with(|c| matches!(c, '1'..='9')));
        number.map(Self).ok_or_else(|| InvalidFragment::Number(text.chars().take(40).collect()))
    }
}

impl fmt::Display for FragmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many fragments a package has (`FRAGS`); 0 is a command without files.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FragmentCount(pub u32);

impl FragmentCount {
    /// A command without files.
    pub const NONE: Self = Self(0);

    /// The numbers 1 to this.
    pub fn numbers(self) -> impl DoubleEndedIterator<Item = FragmentNumber> + ExactSizeIterator {
        // `ExactSizeIterator` is not there for 1..=n.
        (0..self.0).map(|n| FragmentNumber::FIRST.0.saturating_add(n)).map(FragmentNumber)
    }

    /// Is there a fragment of that number?
    pub fn contains(self, number: FragmentNumber) -> bool {
        number.number() <= self.0
    }
}

impl fmt::Display for FragmentCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How an archive of a known length is cut: every fragment has the same size but the last.
///
/// ```
/// # use dripfeed::model::{FragmentPlan, FragmentNumber};
/// let plan = FragmentPlan::by_size(2500, 1000)?;
/// assert_eq!(plan.count().0, 3);
/// assert_eq!(plan.range(FragmentNumber::new(3).unwrap()), Some(2000..2500));
/// # Ok::<(), dripfeed::model::InvalidFragment>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FragmentPlan {
    length: u64,
    size: u64,
    count: FragmentCount,
}

impl FragmentPlan {
    /// More would make task lists that agents rewrite after each fragment needlessly long.
    pub const MAX_FRAGMENTS: u32 = 100_000;

    /// Cuts `length` bytes into fragments of `size` bytes; the last one is shorter.
    pub fn by_size(length: u64, size: u64) -> Result<Self, InvalidFragment> {
        if size == 0 {
            return Err(InvalidFragment::Empty);
        }
        let fragments = length.div_ceil(size);
        match u32::try_from(fragments) {
            Ok(count) if count <= Self::MAX_FRAGMENTS => Ok(Self { length, size, count: FragmentCount(count) }),
            _ => Err(InvalidFragment::TooMany {
                fragments,
                limit: Self::MAX_FRAGMENTS,
                suggestion: ByteSize(length.div_ceil(u64::from(Self::MAX_FRAGMENTS))),
            }),
        }
    }

    /// Cuts `length` bytes into at most `fragments` fragments of equal size.
    ///
    /// The size is rounded up, so a length that does not divide well may need fewer (10 bytes in 4 fragments are 3+3+3+1;
    /// 10 in 6 are five of 2).
    pub fn by_count(length: u64, fragments: u32) -> Result<Self, InvalidFragment> {
        if fragments == 0 {
            return Err(InvalidFragment::Empty);
        }
        if u64::from(fragments) > length.max(1) {
            return Err(InvalidFragment::MoreThanBytes { fragments, bytes: length });
        }
        Self::by_size(length, length.div_ceil(u64::from(fragments)).max(1))
    }

    /// How many fragments there are.
    pub fn count(&self) -> FragmentCount {
        self.count
    }

    /// Bytes of each fragment but the last.
    pub fn fragment_size(&self) -> u64 {
        self.size
    }

    /// Bytes of the whole.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The bytes of one fragment, or `None` if there is no such fragment.
    pub fn range(&self, number: FragmentNumber) -> Option<Range<u64>> {
        if !self.count.contains(number) {
            return None;
        }
        let start = u64::from(number.number() - 1) * self.size;
        Some(start..(start + self.size).min(self.length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edges_of_a_size() {
        for (length, count) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (2000, 2)] {
            assert_eq!(FragmentPlan::by_size(length, 1000).expect("plan").count().0, count, "{length} bytes");
        }
    }

    #[test]
    fn too_many_fragments_offer_a_size_that_works() {
        let error = FragmentPlan::by_size(1 << 40, 1024).expect_err("a thousand million fragments");
        insta::assert_snapshot!(error, @"1073741824 fragments are more than 100000: use fragments of 10.5 MiB or larger");
    }

    proptest! {
        #[test]
        fn fragments_cover_the_archive_without_gap_or_overlap(length in 0_u64..1_000_000, size in 1_u64..70_000) {
            prop_assume!(length / size < 5000);
            let plan = FragmentPlan::by_size(length, size).expect("plan");
            let mut at = 0;
            for number in plan.count().numbers() {
                let range = plan.range(number).expect("in the plan");
                prop_assert_eq!(range.start, at);
                prop_assert!(range.end > range.start);
                at = range.end;
            }
            prop_assert_eq!(at, length);
        }

        #[test]
        fn a_count_is_never_exceeded(length in 1_u64..1_000_000, fragments in 1_u32..500) {
            prop_assume!(u64::from(fragments) <= length);
            let plan = FragmentPlan::by_count(length, fragments).expect("plan");
            prop_assert!(plan.count().0 <= fragments && plan.count().0 > 0);
        }
    }
}
