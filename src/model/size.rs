//! Sizes as people write them.

use std::fmt;
use std::str::FromStr;

/// Why a size was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a size: expected bytes, or a number with K, M, G or T (powers of 1024), such as 512K or 1.5M")]
pub struct InvalidByteSize(String);

/// A number of bytes that prints with a unit: `1.5 MiB`.
///
/// ```
/// # use dripfeed::model::ByteSize;
/// assert_eq!("1M".parse::<ByteSize>()?.0, 1 << 20);
/// assert_eq!("1.5 KiB".parse::<ByteSize>()?.0, 1536);
/// assert_eq!(ByteSize(1536).to_string(), "1.5 KiB");
/// # Ok::<(), dripfeed::model::InvalidByteSize>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(pub u64);

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidByteSize(text.chars().take(40).collect());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let power = match unit.trim().to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KB" | "KIB" => 1,
            "M" | "MB" | "MIB" => 2,
            "G" | "GB" | "GIB" => 3,
            "T" | "TB" | "TIB" => 4,
            _ => return Err(invalid()),
        };
        let unit = 1_u64 << (10 * power);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole = whole.parse::<u64>().map_err(|_| invalid())?.checked_mul(unit).ok_or_else(invalid)?;
        let part = match fraction {
            "" if number.ends_with('.') => return Err(invalid()),
            "" => 0,
            digits if power == 0 || digits.len() > 6 => return Err(invalid()),
            digits => {
                let value = digits.parse::<u64>().map_err(|_| invalid())?;
                let scale = u32::try_from(digits.len()).map_err(|_| invalid())?;
                u64::try_from(u128::from(value) * u128::from(unit) / 10_u128.pow(scale)).map_err(|_| invalid())?
            }
        };
        whole.checked_add(part).map(Self).ok_or_else(invalid)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut power = 0;
        while power + 1 < UNITS.len() && self.0 >> (10 * (power + 1)) > 0 {
            power += 1;
        }
        let unit = 1_u64 << (10 * power);
        let tenths = (u128::from(self.0) * 10 + u128::from(unit) / 2) / u128::from(unit);
        let text = match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole} {}", UNITS[power]),
            (whole, tenth) => format!("{whole}.{tenth} {}", UNITS[power]),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_one_digit_after_the_point_at_most() {
        let texts: Vec<String> = [0, 1, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, 5 << 40]
            .into_iter()
            .map(|n| ByteSize(n).to_string())
            .collect();
        insta::assert_snapshot!(texts.join(", "), @"0 B, 1 B, 1023 B, 1 KiB, 1.5 KiB, 1 MiB, 1024 MiB, 5 TiB");
    }

    #[test]
    fn refuses_what_is_not_a_size() {
        for wrong in ["", "M", "-1", "1.5", "1..5M", "1.M", "1X", "99999999999999T", "1,5M"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong:?} was taken");
        }
    }
}
