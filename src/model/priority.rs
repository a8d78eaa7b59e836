//! The pace of a package.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Why a priority was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a priority: expected a whole number from 0 (first, alone) to 10 (slowest)")]
pub struct InvalidPriority(String);

/// The pace of a package (`PRI`): its turn is in every cycle whose number is a multiple of it.
///
/// Administrators choose 0 to [`Priority::MAX`]; info files from elsewhere may carry any number, which agents honour
/// (ocs-protocol 7.5).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// Served in every cycle; while one is present nothing else is. Wire: 0.
    Absolute,
    /// Served in every n-th cycle.
    Every(NonZeroU32),
}

impl Priority {
    /// The slowest that an administrator can choose.
    pub const MAX: u32 = 10;
    /// What a package has when nothing is said.
    pub const DEFAULT: Self = Self::Every(NonZeroU32::new(5).expect("5 is not 0"));

    /// From the wire's number.
    pub fn from_number(number: u32) -> Self {
        NonZeroU32::new(number).map_or(Self::Absolute, Self::Every)
    }

    /// The wire's number.
    pub fn number(self) -> u32 {
        match self {
            Self::Absolute => 0,
            Self::Every(n) => n.get(),
        }
    }

    /// Has a package of this priority its turn in that cycle (counted from 1)?
    ///
    /// ```
    /// # use dripfeed::model::Priority;
    /// let five = Priority::from_number(5);
    /// assert!(five.is_due(5) && five.is_due(10) && !five.is_due(6));
    /// assert!(Priority::Absolute.is_due(3));
    /// ```
    pub fn is_due(self, cycle: u32) -> bool {
        match self {
            Self::Absolute => true,
            Self::Every(n) => cycle.is_multiple_of(n.get()),
        }
    }

    /// How many turns a period of that many cycles has.
    pub fn turns_in(self, period_length: u32) -> u32 {
        match self {
            Self::Absolute => period_length,
            Self::Every(n) => period_length / n.get(),
        }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromStr for Priority {
    type Err = InvalidPriority;

    /// Takes what an administrator may choose: 0 to [`Priority::MAX`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<u32>() {
            Ok(number) if number <= Self::MAX => Ok(Self::from_number(number)),
            _ => Err(InvalidPriority(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}
