//! Sets of computers, by their numbers.

/// Some of the computers, or all but some. The numbers are sorted, each is there once, and each is a computer's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::store) enum Set {
    Only(Vec<i64>),
    Except(Vec<i64>),
}

impl Set {
    /// Numbers in any order.
    pub(super) fn of(mut numbers: Vec<i64>) -> Self {
        numbers.sort_unstable();
        numbers.dedup();
        Self::Only(numbers)
    }

    pub(super) const fn all() -> Self {
        Self::Except(Vec::new())
    }

    pub(super) const fn none() -> Self {
        Self::Only(Vec::new())
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        matches!(self, Self::Only(numbers) if numbers.is_empty())
    }

    pub(in crate::store) fn contains(&self, number: i64) -> bool {
        match self {
            Self::Only(numbers) => numbers.binary_search(&number).is_ok(),
            Self::Except(numbers) => numbers.binary_search(&number).is_err(),
        }
    }

    /// How many of so many computers.
    pub(in crate::store) fn count(&self, all: usize) -> usize {
        match self {
            Self::Only(numbers) => numbers.len(),
            Self::Except(numbers) => all.saturating_sub(numbers.len()),
        }
    }

    /// All the others.
    pub(in crate::store) fn not(self) -> Self {
        match self {
            Self::Only(numbers) => Self::Except(numbers),
            Self::Except(numbers) => Self::Only(numbers),
        }
    }

    /// Those that are in both.
    pub(in crate::store) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Except(a), Self::Except(b)) => Self::Except(either(&a, &b)),
            (Self::Only(mut some), other) | (other, Self::Only(mut some)) => {
                some.retain(|number| other.contains(*number));
                Self::Only(some)
            }
        }
    }

    /// Those that are in one of them.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(a), Self::Only(b)) => Self::Only(either(&a, &b)),
            (a, b) => a.not().and(b.not()).not(),
        }
    }
}

#[expect(clippy::stable_sort_primitive, reason = "it sees the two sorted runs and merges them")]
fn either(a: &[i64], b: &[i64]) -> Vec<i64> {
    let mut both = [a, b].concat();
    both.sort();
    both.dedup();
    both
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_set() -> impl Strategy<Value = Set> {
        (prop::collection::vec(0..40_i64, 0..30), any::<bool>())
            .prop_map(|(numbers, only)| if only { Set::of(numbers) } else { Set::of(numbers).not() })
    }

    proptest! {
        #[test]
        fn sets_are_combined_as_their_members_are(a in any_set(), b in any_set()) {
            let (both, one) = (a.clone().and(b.clone()), a.clone().or(b.clone()));
            for number in 0..40 {
                prop_assert_eq!(both.contains(number), a.contains(number) && b.contains(number));
                prop_assert_eq!(one.contains(number), a.contains(number) || b.contains(number));
                prop_assert_eq!(a.clone().not().contains(number), !a.contains(number));
            }
            prop_assert_eq!(both.count(40), (0..40).filter(|number| both.contains(*number)).count());
        }
    }
}
