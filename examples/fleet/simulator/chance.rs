//! Chance that is the same in every run.

/// `SplitMix64`: small, and good enough to spread a fleet.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// What depends on these numbers and on nothing else.
    pub(crate) fn of(numbers: &[u64]) -> Self {
        let mut chance = Self(0x5851_f42d_4c95_7f2d);
        for number in numbers {
            chance.0 ^= *number;
            chance.0 = chance.next();
        }
        chance
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below that one; zero, if that one is zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(end)) >> 64).unwrap_or_default()
    }
}
