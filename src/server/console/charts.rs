//! Charts as SVG: stacked states over time, and a ring.

use std::fmt::Write as _;

use super::show::{Counts, Html, ORDER, number, slug};
use crate::clock;
use crate::model::{JobState, UnixTime};
use crate::service::deployments::{OverTime, SLICES};

/// How many jobs were in which state at the end of each slice: the states in the order of [`ORDER`].
pub(super) fn states_over_time(over_time: &OverTime) -> Vec<[u64; 8]> {
    let mut columns = Vec::new();
    for at in 0..=SLICES {
        let until = |number: i64| number < at || at == SLICES;
        let (mut planned, mut told, mut ended, mut told_and_ended) = (0, 0, 0, 0);
        let mut column = [0_u64; 8];
        for slice in over_time.slices.iter().filter(|slice| until(slice.number)) {
            match slice.state {
                None => planned += slice.jobs,
                Some(JobState::Offered) => told += slice.jobs,
                Some(state) => {
                    ended += slice.jobs;
                    told_and_ended += if slice.was_offered { slice.jobs } else { 0 };
                    if let Some(place) = ORDER.iter().position(|one| *one == state) {
                        column[place] += slice.jobs;
                    }
                }
            }
        }
        let offered = told.max(told_and_ended) - told_and_ended;
        column[3] = offered;
        column[4] = planned.max(ended + offered) - ended - offered;
        columns.push(column);
    }
    columns
}

/// The stacked chart.
pub(super) fn chart(over_time: &OverTime, total: u64) -> Html {
    let columns = states_over_time(over_time);
    let last = columns.last().copied().unwrap_or_default();
    let top = columns.iter().map(|column| column.iter().sum::<u64>()).max().unwrap_or(0).max(1);
    let words: Vec<String> = ORDER
        .iter()
        .zip(last)
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{} {state}", number(count)))
        .collect();
    let mut html = format!(
        "<figure class=\"chart\" role=\"group\" aria-label=\"States over time, of {} computers: now {}\">\
         <ol class=\"chart-y\" aria-hidden=\"true\">",
        number(total),
        words.join(", ")
    );
    let steps: &[u64] = if top >= 4 { &[4, 3, 2, 1, 0] } else { &[1, 0] };
    for step in steps {
        let _ = write!(html, "<li>{}</li>", number(top * step / steps[0]));
    }
    html.push_str(
        "</ol><svg viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <path class=\"rule\" d=\"M0 0H100M0 25H100M0 50H100M0 75H100M0 100H100\"/>",
    );
    // In hundredths of the chart's unit.
    let x = |at: usize| (at as u64).saturating_mul(10_000) / u64::try_from(SLICES).unwrap_or(1);
    let y = |count: u64| 10_000 - count.saturating_mul(10_000) / top;
    let mut below = vec![0_u64; columns.len()];
    for (place, state) in ORDER.iter().enumerate() {
        if columns.iter().all(|column| column[place] == 0) {
            continue;
        }
        let above: Vec<u64> = below.iter().zip(&columns).map(|(below, column)| below + column[place]).collect();
        let mut path = String::new();
        for (at, count) in above.iter().enumerate() {
            let _ = write!(path, "{}{} {}", if at == 0 { "M" } else { "L" }, fixed(x(at)), fixed(y(*count)));
        }
        for (at, count) in below.iter().enumerate().rev() {
            let _ = write!(path, "L{} {}", fixed(x(at)), fixed(y(*count)));
        }
        let _ = write!(html, "<path class=\"area is-{}\" d=\"{path}z\"/>", slug(state.as_str()));
        below = above;
    }
    html.push_str("</svg><ol class=\"chart-x\" aria-hidden=\"true\">");
    for quarter in 0..=4 {
        let moment = over_time.from.millis() + over_time.width * SLICES * quarter / 4;
        let text = clock::local_text(UnixTime::from_millis(moment));
        let day = 24 * 60 * 60 * 1000;
        let short = match over_time.width * SLICES {
            span if span < day / 100 => text.get(11..19),
            span if span < 2 * day => text.get(11..16),
            _ => text.get(5..10),
        };
        let _ = write!(html, "<li>{}</li>", short.unwrap_or_default());
    }
    html.push_str("</ol></figure>");
    Html(html)
}

fn fixed(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// The ring. `done` is what stands in the middle.
pub(super) fn donut(counts: &Counts, done: u64) -> Html {
    let total = counts.total().max(1);
    let mut html = format!(
        "<svg viewBox=\"0 0 42 42\" role=\"img\" aria-label=\"{done} per cent done\">\
         <circle cx=\"21\" cy=\"21\" r=\"15.915\"/>"
    );
    let mut before = 0;
    for state in ORDER {
        let count = counts.of(state);
        if count == 0 {
            continue;
        }
        let part = count.saturating_mul(10_000) / total;
        let offset = 12_500_u64.saturating_sub(before) % 10_000;
        let _ = write!(
            html,
            "<circle class=\"is-{}\" cx=\"21\" cy=\"21\" r=\"15.915\" stroke-dasharray=\"{} {}\" \
             stroke-dashoffset=\"{}\"/>",
            slug(state.as_str()),
            fixed(part),
            fixed(10_000 - part.min(10_000)),
            fixed(offset)
        );
        before += part;
    }
    let _ =
        write!(html, "<text x=\"21\" y=\"22\">{done} %</text><text class=\"sub\" x=\"21\" y=\"27\">done</text></svg>");
    Html(html)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::progress::Slice;

    fn slice(number: i64, state: Option<JobState>, was_offered: bool, jobs: u64) -> Slice {
        Slice { number, state, was_offered, jobs }
    }

    fn story() -> OverTime {
        OverTime {
            from: UnixTime::from_seconds(1_795_168_800),
            width: 60_000,
            slices: vec![
                slice(0, None, false, 10),
                slice(4, Some(JobState::Offered), true, 6),
                slice(9, Some(JobState::Succeeded), true, 5),
                slice(9, Some(JobState::AlreadyInstalled), false, 1),
                slice(20, Some(JobState::Failed), true, 1),
            ],
        }
    }

    #[test]
    fn jobs_move_from_state_to_state_and_none_is_lost() {
        let columns = states_over_time(&story());
        let at = |slice: usize| columns[slice];
        assert_eq!(at(0), [0; 8], "before anything");
        assert_eq!(at(1), [0, 0, 0, 0, 10, 0, 0, 0], "all wait");
        assert_eq!(at(5), [0, 0, 0, 6, 4, 0, 0, 0], "six were told");
        assert_eq!(at(10), [5, 1, 0, 1, 3, 0, 0, 0], "one of them had it and was never told");
        assert_eq!(at(48), [5, 1, 0, 0, 3, 0, 1, 0]);
        assert!(columns[1..].iter().all(|column| column.iter().sum::<u64>() == 10));
    }

    #[test]
    fn the_chart_says_its_numbers_in_words() {
        let chart = chart(&story(), 10).0;
        assert!(
            chart.contains("of 10 computers: now 5 succeeded, 1 already installed, 3 pending, 1 failed"),
            "{chart}"
        );
        assert!(chart.contains("area is-already-installed") && !chart.contains("is-expired"));
    }

    #[test]
    fn arcs_of_a_ring_follow_each_other() {
        let counts = Counts(vec![(JobState::Succeeded, 3), (JobState::Failed, 1)]);
        let donut = donut(&counts, 75).0;
        assert!(donut.contains("stroke-dasharray=\"75.00 25.00\" stroke-dashoffset=\"25.00\""), "{donut}");
        assert!(donut.contains("stroke-dasharray=\"25.00 75.00\" stroke-dashoffset=\"50.00\""), "{donut}");
    }
}
