//! How templates write times, sizes, numbers and states.

use std::borrow::Borrow;
use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;

use super::super::fetches::Seen;
use crate::clock;
use crate::model::{ByteSize, FragmentCount, JobState, UnixTime};

/// Markup of our own making: whatever text is in it was escaped by whoever made it.
pub(super) struct Html(pub(super) String);

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Html {}

/// Text as it may stand in markup and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '&' | '<' | '>' | '"' | '\'') {
            // Writing to a String cannot fail.
            let _ = write!(safe, "&#{};", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// An icon of the sprite.
pub(super) fn icon(name: &str) -> Html {
    Html(format!("<svg class=\"icon\" aria-hidden=\"true\"><use href=\"/assets/icons.svg#{}\"/></svg>", escape(name)))
}

/// A moment, as people count: the script writes "5 min ago" over it.
pub(super) fn time(moment: impl Borrow<UnixTime>) -> Html {
    let moment = *moment.borrow();
    let (utc, local) = (clock::utc_text(moment), clock::local_text(moment));
    Html(format!("<time datetime=\"{utc}\" data-relative>{local}</time>"))
}

/// The same for a moment that may never have been.
pub(super) fn time_or(moment: impl Borrow<Option<UnixTime>>, never: &str) -> Html {
    moment.borrow().map_or_else(|| Html(format!("<span class=\"faint\">{}</span>", escape(never))), time)
}

/// A size as people read it: `48.2 MiB`.
pub(super) fn size(bytes: impl Borrow<u64>) -> String {
    ByteSize(*bytes.borrow()).to_string()
}

/// A number with its thousands apart: `4,312`.
pub(super) fn number(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 package`, `4,312 packages`.
pub(super) fn count(number_of: impl Borrow<u64>, thing: &str) -> String {
    let number_of = *number_of.borrow();
    let plural = if number_of == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", number(number_of))
}

/// How many fragments of a package were seen on their way: `12 of 50 fragments fetched`.
pub(super) fn fragments(seen: &Seen, of: FragmentCount) -> String {
    let (least, whose) =
        (if seen.is_at_least { "at least " } else { "" }, if seen.is_shared { " from its address" } else { "" });
    format!("{least}{} of {} fetched{whose}", number(u64::from(seen.fragments)), count(u64::from(of.0), "fragment"))
}

/// A refusal's or a warning's text as a sentence: with a capital letter and a full stop.
pub(super) fn sentence(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let mut letters = text.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What [`hex`] wrote, read again.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len() / 2).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}

/// A state's class and icon: its word, with a dash for a space.
pub(super) fn slug(word: &str) -> String {
    word.replace(' ', "-")
}

/// A badge: icon and word.
pub(super) fn badge(word: &str) -> Html {
    let icon = match word {
        "building" => "clock".to_owned(),
        "available" => "succeeded".to_owned(),
        "withdrawn" => "cancelled".to_owned(),
        word => slug(word),
    };
    toned(word, &slug(word), &icon)
}

/// A badge with a tone and an icon of its own.
pub(super) fn toned(word: &str, tone: &str, icon_name: &str) -> Html {
    Html(format!("<span class=\"badge is-{}\">{}{}</span>", escape(tone), icon(icon_name), escape(word)))
}

/// The order of states in bars and legends: from done to lost.
pub(super) const ORDER: [JobState; 8] = [
    JobState::Succeeded,
    JobState::AlreadyInstalled,
    JobState::Downloading,
    JobState::Offered,
    JobState::Pending,
    JobState::Expired,
    JobState::Failed,
    JobState::Cancelled,
];

/// How many jobs are in which state.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(pub(super) Vec<(JobState, u64)>);

impl Counts {
    /// In one state.
    pub(super) fn of(&self, state: JobState) -> u64 {
        self.0.iter().filter(|(one, _)| *one == state).map(|(_, count)| count).sum()
    }

    /// In all.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The stacked bar.
    pub(super) fn bar(&self) -> Html {
        self.bar_of("bar")
    }

    /// The stacked bar with other classes.
    pub(super) fn bar_of(&self, class: &str) -> Html {
        let total = self.total();
        if total == 0 {
            return Html(format!(
                "<svg class=\"{}\" viewBox=\"0 0 100 1\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"no jobs\"></svg>",
                escape(class)
            ));
        }
        let (mut label, mut rects, mut at) = (Vec::new(), String::new(), 0_u64);
        for state in ORDER {
            let count = self.of(state);
            if count == 0 {
                continue;
            }
            // In hundredths of a per cent; a state that is there is seen.
            let width = (count.saturating_mul(10_000) / total).max(60);
            let _ = write!(
                rects,
                "<rect class=\"is-{}\" x=\"{}.{:02}\" width=\"{}.{:02}\" height=\"1\"/>",
                slug(state.as_str()),
                at / 100,
                at % 100,
                width / 100,
                width % 100
            );
            at += width;
            label.push(format!("{} {}", number(count), state.as_str()));
        }
        Html(format!(
            "<svg class=\"{}\" viewBox=\"0 0 {} 1\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{rects}</svg>",
            escape(class),
            (at.max(10_000)).div_ceil(100),
            label.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (4_312_000, "4,312,000")] {
            assert_eq!(number(value), text);
        }
        assert_eq!((count(1, "package"), count(2, "package")), ("1 package".to_owned(), "2 packages".to_owned()));
    }

    #[test]
    fn hexadecimal_reads_back() {
        assert_eq!(unhex(&hex([0, 1, 0xfe])), Some(vec![0, 1, 0xfe]));
        for wrong in ["0", "0x", "é1", "zz"] {
            assert_eq!(unhex(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<b a=\"x\" b='y'>&"), "&#60;b a=&#34;x&#34; b=&#39;y&#39;&#62;&#38;");
    }

    #[test]
    fn a_state_that_is_there_is_seen_in_the_bar() {
        let counts = Counts(vec![(JobState::Succeeded, 99_999), (JobState::Failed, 1)]);
        let bar = counts.bar().0;
        assert!(bar.contains("is-failed") && bar.contains("99,999 succeeded, 1 failed"), "{bar}");
        assert!(Counts::default().bar().0.contains("no jobs"));
    }
}
