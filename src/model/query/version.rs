//! Versions, compared as people read them.

use std::cmp::Ordering;

/// One part of a version. The order of the variants is the order of versions: `1.0~rc1` < `1.0` < `1.0a` < `1.0.1`.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Part {
    /// `~`: before the end.
    Before,
    End,
    Letters(String),
    /// Digits without leading zeros: the longer one is the larger one.
    Number(usize, String),
}

/// Compares two versions: runs of digits as numbers of any size, runs of letters without case, everything else only
/// separates. What is longer is later, save after `~`.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (parts(a).into_iter(), parts(b).into_iter());
    loop {
        match (a.next().unwrap_or(Part::End), b.next().unwrap_or(Part::End)) {
            (Part::End, Part::End) => return Ordering::Equal,
            (a, b) if a == b => {}
            (a, b) => return a.cmp(&b),
        }
    }
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let run = |inside: fn(char) -> bool| rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let length = if first.is_ascii_digit() {
            let length = run(|c| c.is_ascii_digit());
            let digits = rest[..length].trim_start_matches('0');
            parts.push(Part::Number(digits.len(), digits.to_owned()));
            length
        } else if first.is_alphabetic() {
            let length = run(char::is_alphabetic);
            parts.push(Part::Letters(rest[..length].to_lowercase()));
            length
        } else {
            if first == '~' {
                parts.push(Part::Before);
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    parts
}
