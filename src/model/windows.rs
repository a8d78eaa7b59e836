//! Windows of a week: when something may happen, as people write it, and the arithmetic of the next change.
//!
//! ```text
//! mon-fri 20:00-06:00            from Monday 20:00 until Tuesday 06:00, … from Friday 20:00 until Saturday 06:00
//! !sat, daily 22:00-24:00        every day from 22:00 until midnight, but not on Saturdays
//! ```
//!
//! The first window that holds the present decides: open, or closed if it has an exclamation mark. What none of them holds is
//! closed. A window holds its first minute and not the one that it ends with; one that ends before it begins goes on into the
//! next day and belongs to the day on which it begins. Nothing here knows a clock or a table of time zones ([`Zone`]).

use std::fmt;
use std::str::FromStr;

use super::UnixTime;
use super::recurrence::{Civil, TimeOfDay, Weekday, Zone};

/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;
/// Minutes of an hour: so far clocks are put back.
const HOUR: i64 = 60;
/// How far clocks are put on, in minutes: none that is in use is put further.
const CLOCK_CHANGE: i64 = 120;

/// Why windows were refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidWindows {
    /// There is none.
    #[error("there is no window: expected such as \"mon-fri 20:00-06:00\" or \"!sat, daily 22:00-24:00\"")]
    Empty,
    /// It is none.
    #[error(
        "\"{0}\" is no window: expected days and times such as \"mon-fri 20:00-06:00\", \"daily 22:00-24:00\" or \"!sat\", \
         with commas between windows"
    )]
    Unreadable(String),
    /// It holds nothing.
    #[error("\"{0}\" ends when it begins: a whole day is written 00:00-24:00, or as the day alone")]
    Nothing(String),
    /// More than anybody reads.
    #[error("{0} windows are too many: at most {most}", most = Windows::MOST)]
    TooMany(usize),
}

/// One of them.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Window {
    /// With an exclamation mark.
    is_closed: bool,
    days: Days,
    from: u16,
    /// Up to 24:00; before `from` on the next day.
    until: u16,
}

impl Window {
    fn holds(&self, at: Civil) -> bool {
        let is_on = |day: i64| self.days.has(Weekday::of(day));
        if self.from < self.until {
            return is_on(at.day) && (self.from..self.until).contains(&at.minute);
        }
        (is_on(at.day) && at.minute >= self.from) || (is_on(at.day - 1) && at.minute < self.until)
    }
}

/// Days of the week in a row, which may go over its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Days {
    Daily,
    From(Weekday, Weekday),
}

impl Days {
    fn read(word: &str) -> Option<Self> {
        if word == "daily" {
            return Some(Self::Daily);
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some(Self::From(Weekday::read(first)?, Weekday::read(last)?))
    }

    fn has(self, day: Weekday) -> bool {
        match self {
            Self::Daily => true,
            Self::From(first, last) if first <= last => (first..=last).contains(&day),
            Self::From(first, last) => day >= first || day <= last,
        }
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daily => f.write_str("daily"),
            Self::From(first, last) if first == last => f.write_str(first.short()),
            Self::From(first, last) => write!(f, "{}-{}", first.short(), last.short()),
        }
    }
}

/// Windows of a week, in their order; at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Windows(Vec<Window>);

impl Windows {
    /// Windows that one list holds.
    pub const MOST: usize = 50;

    /// Is it open then?
    pub fn is_open(&self, at: Civil) -> bool {
        self.0.iter().find(|window| window.holds(at)).is_some_and(|window| !window.is_closed)
    }

    /// Does every one of them only close? Then it is never open.
    pub fn is_never_open(&self) -> bool {
        self.0.iter().all(|window| window.is_closed)
    }

    /// When it next opens, if it is closed, or closes, if it is open; `None` if it never does.
    pub fn next_change(&self, now: UnixTime, zone: &impl Zone) -> Option<UnixTime> {
        let today = zone.civil(now);
        let is_open = self.is_open(today);
        let is_other = |moment: UnixTime| moment > now && self.is_open(zone.civil(moment)) != is_open;
        // A week, and a day before and after: windows go on overnight, and clocks are put on and back.
        (today.day - 1..=today.day + 8).find_map(|day| {
            let changes = self.edges().filter_map(|minute| first_of(Civil { day, minute }, zone, &is_other));
            changes.min()
        })
    }

    /// The minutes of a day at which a window begins or ends.
    fn edges(&self) -> impl Iterator<Item = u16> {
        self.0.iter().flat_map(|window| [window.from, window.until]).chain([0]).filter(|minute| *minute < DAY)
    }
}

/// The first moment that is as wanted, of those at which clocks show that. Where they are put on beyond it, or back over it,
/// a change may come with that: minute by minute around it.
fn first_of(civil: Civil, zone: &impl Zone, is_wanted: &impl Fn(UnixTime) -> bool) -> Option<UnixTime> {
    let moment = zone.moment(civil);
    let after = |minutes: i64| UnixTime::from_millis(moment.millis() + minutes * MINUTE);
    let around = if zone.civil(moment) != civil {
        -CLOCK_CHANGE..=0
    } else if zone.civil(after(HOUR)) == civil {
        0..=HOUR
    } else {
        0..=0
    };
    around.map(after).find(|moment| is_wanted(*moment))
}

impl FromStr for Windows {
    type Err = InvalidWindows;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let items = || text.split([',', ';', '\n']).map(str::trim).filter(|item| !item.is_empty());
        match items().count() {
            0 => Err(InvalidWindows::Empty),
            several if several > Self::MOST => Err(InvalidWindows::TooMany(several)),
            _ => Ok(Self(items().map(window).collect::<Result<_, _>>()?)),
        }
    }
}

/// `[!][days] [from-until]`, of which one of the two may be missing.
fn window(item: &str) -> Result<Window, InvalidWindows> {
    let shown = || item.chars().take(60).collect::<String>();
    let unreadable = || InvalidWindows::Unreadable(shown());
    let lower = item.to_lowercase();
    let (is_closed, rest) = match lower.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, lower.as_str()),
    };
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (days, times) = match words.as_slice() {
        [days, times] => (Days::read(days), span(times)),
        [times] if times.contains(':') => (Some(Days::Daily), span(times)),
        [days] => (Days::read(days), Some((0, DAY))),
        _ => (None, None),
    };
    let (days, (from, until)) = days.zip(times).ok_or_else(unreadable)?;
    if from == until {
        return Err(InvalidWindows::Nothing(shown()));
    }
    Ok(Window { is_closed, days, from, until })
}

/// The minutes of `20:00-06:00`. Only an end may be 24:00, and 00:00 as an end is the same.
fn span(text: &str) -> Option<(u16, u16)> {
    let (from, until) = text.split_once('-')?;
    let until = if until == "24:00" { DAY } else { TimeOfDay::read(until)?.minute() };
    Some((TimeOfDay::read(from)?.minute(), until))
}

/// As it is read.
impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, window) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let mark = if window.is_closed { "!" } else { "" };
            let (from, until) = (TimeOfDay::from_minute(window.from), TimeOfDay::from_minute(window.until));
            write!(f, "{comma}{mark}{} {from}-{until}", window.days)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::recurrence::berlin::{Berlin, at, written};
    use super::*;

    fn windows(text: &str) -> Windows {
        text.parse().expect(text)
    }

    /// Is it open when clocks in Berlin show that? Times are UTC's.
    fn is_open(text: &str, moment: &str) -> bool {
        windows(text).is_open(Berlin.civil(at(moment)))
    }

    #[test]
    fn the_first_window_that_holds_the_present_decides() {
        // 2026-01-05 is a Monday; Berlin is an hour ahead.
        for (text, moment, expected) in [
            ("mon-fri 20:00-06:00", "2026-01-05 18:59", false),
            ("mon-fri 20:00-06:00", "2026-01-05 19:00", true),
            ("mon-fri 20:00-06:00", "2026-01-06 04:59", true),
            ("mon-fri 20:00-06:00", "2026-01-06 05:00", false),
            // Saturday 05:59 is still Friday's; Monday 05:59 would be Sunday's.
            ("mon-fri 20:00-06:00", "2026-01-10 04:59", true),
            ("mon-fri 20:00-06:00", "2026-01-10 19:00", false),
            ("mon-fri 20:00-06:00", "2026-01-12 04:59", false),
            ("mon-fri 20:00-06:00, !sat 00:00-24:00", "2026-01-10 04:59", true),
            ("!sat 00:00-24:00, mon-fri 20:00-06:00", "2026-01-10 04:59", false),
            ("!sat, daily 22:00-24:00", "2026-01-10 22:30", false),
            ("!sat, daily 22:00-24:00", "2026-01-11 22:59", true),
            ("!sat, daily 22:00-24:00", "2026-01-11 23:00", false),
            ("22:00-00:00", "2026-01-11 22:59", true),
            ("fri-mon", "2026-01-11 12:00", true),
            ("fri-mon", "2026-01-13 12:00", false),
            ("!daily 08:00-16:00", "2026-01-11 20:00", false),
            ("!12:00-13:00, 08:00-16:00", "2026-01-11 11:30", false),
            ("!12:00-13:00, 08:00-16:00", "2026-01-11 12:00", true),
        ] {
            assert_eq!(is_open(text, moment), expected, "{text} at {moment}");
        }
    }

    /// The next change of windows in Berlin, in UTC.
    fn change(text: &str, now: &str) -> String {
        windows(text).next_change(at(now), &Berlin).map_or("never".to_owned(), written)
    }

    #[test]
    fn the_next_change_is_known() {
        for (text, now, expected) in [
            ("mon-fri 20:00-06:00", "2026-01-05 12:00", "2026-01-05 19:00"),
            ("mon-fri 20:00-06:00", "2026-01-05 19:00", "2026-01-06 05:00"),
            ("mon-fri 20:00-06:00", "2026-01-10 05:00", "2026-01-12 19:00"),
            ("sun 10:00-11:00", "2026-01-11 10:00", "2026-01-18 09:00"),
            ("sun 10:00-11:00", "2026-01-11 09:30", "2026-01-11 10:00"),
            // Two that follow one another are one; so are those of two days.
            ("mon 10:00-11:00, mon 11:00-12:00", "2026-01-05 09:30", "2026-01-05 11:00"),
            ("mon, tue", "2026-01-05 12:00", "2026-01-06 23:00"),
            ("daily", "2026-01-05 12:00", "never"),
            ("!sat", "2026-01-05 12:00", "never"),
            ("!sat, daily", "2026-01-05 12:00", "2026-01-09 23:00"),
        ] {
            assert_eq!(change(text, now), expected, "{text} at {now}");
        }
    }

    #[test]
    fn clocks_that_are_put_on_and_back_move_no_window() {
        // On 29 March clocks show 03:00 after 01:59: what would begin at 02:30 begins with that.
        assert_eq!(change("daily 02:30-05:00", "2026-03-28 23:30"), "2026-03-29 01:00");
        assert_eq!(change("daily 02:30-05:00", "2026-03-29 01:10"), "2026-03-29 03:00");
        // What lies in the hour that is left out does not come that day.
        assert_eq!(change("daily 02:15-02:45", "2026-03-28 12:00"), "2026-03-30 00:15");
        assert_eq!(change("daily 20:00-06:00", "2026-03-28 20:00"), "2026-03-29 04:00");
        // On 25 October 02:00 to 03:00 comes twice, and so does what lies in it.
        assert_eq!(change("daily 02:15-02:45", "2026-10-24 12:00"), "2026-10-25 00:15");
        assert_eq!(change("daily 02:15-02:45", "2026-10-25 00:20"), "2026-10-25 00:45");
        assert_eq!(change("daily 02:15-02:45", "2026-10-25 00:50"), "2026-10-25 01:15");
        assert_eq!(change("daily 20:00-06:00", "2026-10-24 20:00"), "2026-10-25 05:00");
        assert_eq!(change("daily 02:30-05:00", "2026-10-25 00:40"), "2026-10-25 01:00", "it is 02:00 again");
    }

    #[test]
    fn windows_read_back_and_are_taken_as_people_write_them() {
        for (typed, kept) in [
            ("mon-fri 20:00-06:00, !sat 00:00-24:00", "mon-fri 20:00-06:00, !sat 00:00-24:00"),
            ("Monday-Friday 8:00-9:30\n!Sat", "mon-fri 08:00-09:30, !sat 00:00-24:00"),
            ("20:00-24:00;", "daily 20:00-24:00"),
            (" ! sun  22:00-04:00 ,", "!sun 22:00-04:00"),
        ] {
            let read = windows(typed);
            assert_eq!(read.to_string(), kept);
            assert_eq!(kept.parse(), Ok(read));
        }
    }

    #[test]
    fn what_is_no_window_is_refused_with_what_is() {
        for wrong in [
            "mon 25:00-26:00",
            "mon 24:00-06:00",
            "moonday 10:00-11:00",
            "mon 10:00",
            "mon-fri 10:00-11:00-12:00",
            "10-11",
            "!",
            "!!mon",
            "mon tue 10:00-11:00",
            "mon-tue-wed",
            "mon 10:00-11:00 UTC",
            "mon 1é:00-11:00",
        ] {
            let error = wrong.parse::<Windows>().expect_err(wrong).to_string();
            assert!(error.contains("mon-fri 20:00-06:00"), "{error}");
        }
        for empty in ["", " , \n"] {
            assert_eq!(empty.parse::<Windows>(), Err(InvalidWindows::Empty));
        }
        let nothing = "mon 08:00-08:00".parse::<Windows>().expect_err("nothing").to_string();
        assert!(nothing.contains("00:00-24:00"), "{nothing}");
        assert_eq!("mon,".repeat(51).parse::<Windows>(), Err(InvalidWindows::TooMany(51)));
        assert!(windows("!sat, !sun").is_never_open() && !windows("!sat, sun").is_never_open());
    }

    proptest! {
        /// The next change is one, and nothing changes before it: minute by minute, over both changes of the clocks.
        #[test]
        fn nothing_changes_before_the_next_change(
            start in prop_oneof![1_774_600_000_i64..1_774_800_000, 1_792_700_000_i64..1_793_000_000],
            from in 0_u16..48, until in 0_u16..48, hole in 0_u16..48, day in 0_usize..7,
        ) {
            prop_assume!(from != until);
            let time = |half: u16| format!("{:02}:{:02}", half / 2, half % 2 * 30);
            let (from, until, hole) = (time(from), time(until), time(hole));
            let word = Weekday::ALL[day].short();
            let text = format!("!{word} {hole}-24:00, {word} {from}-{until}, daily {from}-{until}");
            let (read, now) = (windows(&text), UnixTime::from_seconds(start));
            let is_open = |moment| read.is_open(Berlin.civil(moment));
            let Some(change) = read.next_change(now, &Berlin) else { return Ok(()) };
            prop_assert!(change > now && is_open(change) != is_open(now), "{text}");
            let mut moment = UnixTime::from_seconds(start - start % 60 + 60);
            while moment < change {
                prop_assert_eq!(is_open(moment), is_open(now), "{} at {}", text, written(moment));
                moment = UnixTime::from_seconds(moment.seconds() + 60);
            }
        }
    }
}
