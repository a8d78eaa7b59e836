//! Numbers that only grow, for whoever watches the server: written without a lock, read as Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a histogram counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Whole things.
    Count,
    /// Observed in microseconds, told in seconds.
    Microseconds,
}

/// How often a value was at most so large, and the sum of all.
#[derive(Debug)]
pub struct Histogram {
    unit: Unit,
    bounds: &'static [u64],
    /// One more than there are bounds: the last is for what is beyond them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// With these upper bounds, which rise.
    pub fn new(unit: Unit, bounds: &'static [u64]) -> Self {
        Self { unit, bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Notes one value.
    pub fn observe(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Appends its lines: cumulative buckets, sum and count. `labels` is empty or `name="value"`, without braces.
    pub fn write(&self, out: &mut String, name: &str, labels: &str) {
        let (comma, braced) = if labels.is_empty() { ("", String::new()) } else { (",", format!("{{{labels}}}")) };
        let mut total = 0;
        for (index, count) in self.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            let bound = self.bounds.get(index).map_or_else(|| "+Inf".to_owned(), |bound| self.told(*bound));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}");
        }
        let sum = self.told(self.sum.load(Ordering::Relaxed));
        let _ = writeln!(out, "{name}_sum{braced} {sum}\n{name}_count{braced} {total}");
    }

    fn told(&self, value: u64) -> String {
        match self.unit {
            Unit::Count => value.to_string(),
            Unit::Microseconds => {
                let text = format!("{}.{:06}", value / 1_000_000, value % 1_000_000);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        }
    }
}

/// Appends what stands before the lines of one name.
pub fn heading(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_a_bound_belongs_to_its_own() {
        let histogram = Histogram::new(Unit::Microseconds, &[500, 1000, 2_500_000]);
        for value in [1, 500, 501, 1000, 2_000_000, 9_000_000] {
            histogram.observe(value);
        }
        let mut out = String::new();
        heading(&mut out, "x_seconds", "histogram", "How long.");
        histogram.write(&mut out, "x_seconds", "kind=\"prolog\"");
        insta::assert_snapshot!(out, @r#"
        # HELP x_seconds How long.
        # TYPE x_seconds histogram
        x_seconds_bucket{kind="prolog",le="0.0005"} 2
        x_seconds_bucket{kind="prolog",le="0.001"} 4
        x_seconds_bucket{kind="prolog",le="2.5"} 5
        x_seconds_bucket{kind="prolog",le="+Inf"} 6
        x_seconds_sum{kind="prolog"} 11.002002
        x_seconds_count{kind="prolog"} 6
        "#);
        assert_eq!(histogram.count(), 6);
    }

    #[test]
    fn a_count_without_labels_has_no_braces() {
        let histogram = Histogram::new(Unit::Count, &[1]);
        histogram.observe(3);
        let mut out = String::new();
        histogram.write(&mut out, "x", "");
        insta::assert_snapshot!(out, @r#"
        x_bucket{le="1"} 0
        x_bucket{le="+Inf"} 1
        x_sum 3
        x_count 1
        "#);
    }
}
