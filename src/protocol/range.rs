//! One range of a file, as RFC 9110 section 14 has it.

use std::ops::Range;

/// What a request asks of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// All of it: there is no `Range`, or one that a server may ignore (several ranges, another unit, not understood).
    Whole,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// Nothing that the file has: 416.
    Outside,
}

/// Reads the value of `Range` for a file of that length.
///
/// Several ranges get the whole file: no agent asks for them, and a multipart answer is the classic way to make a server
/// send far more than was asked.
pub fn wanted(header: Option<&[u8]>, length: u64) -> Wanted {
    let Some((first, last)) = header.and_then(|value| std::str::from_utf8(value).ok()).and_then(split) else {
        return Wanted::Whole;
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Wanted::Whole,
    };
    if range.is_empty() { Wanted::Outside } else { Wanted::Part(range) }
}

/// The two sides of the dash of a single range in bytes.
fn split(value: &str) -> Option<(&str, &str)> {
    let (unit, range) = value.split_once('=')?;
    let range = range.trim_matches([' ', '\t']);
    if !unit.trim_matches([' ', '\t']).eq_ignore_ascii_case("bytes") || range.contains(',') {
        return None;
    }
    range.split_once('-')
}

/// Digits only; what no `u64` holds is past every end.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn single_ranges_are_served_and_everything_else_is_the_whole_file() {
        let table: &[(&str, Wanted)] = &[
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=0-9", Wanted::Part(0..10)),
            ("bytes=2-", Wanted::Part(2..10)),
            ("bytes=2-100", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-100", Wanted::Part(0..10)),
            ("BYTES = 1-2 ", Wanted::Part(1..3)),
            ("bytes=9-9", Wanted::Part(9..10)),
            ("bytes=0-99999999999999999999999", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Outside),
            ("bytes=10-20", Wanted::Outside),
            ("bytes=-0", Wanted::Outside),
            ("bytes=99999999999999999999999-", Wanted::Outside),
            ("bytes=3-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=1--2", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("1-2", Wanted::Whole),
            ("", Wanted::Whole),
        ];
        for (value, expected) in table {
            assert_eq!(wanted(Some(value.as_bytes()), 10), *expected, "{value:?}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
        assert_eq!(wanted(Some(b"bytes=\xff-1"), 10), Wanted::Whole);
        assert_eq!(wanted(Some(b"bytes=0-"), 0), Wanted::Outside, "an empty file has no first byte");
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_leaves_the_file(value in "bytes=[0-9]{0,20}-[0-9]{0,20}", length in 0_u64..1 << 40) {
            if let Wanted::Part(range) = wanted(Some(value.as_bytes()), length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
