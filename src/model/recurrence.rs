//! When something comes again: rules as people say them, and the arithmetic of the next time.
//!
//! Nothing here knows a clock or a table of time zones: who asks says what the present is, and a [`Zone`] says what it is
//! called there.
//!
//! ```text
//! every hour            every 6 hours
//! every day at 22:00    every 3 days at 22:00
//! every monday at 22:00 every monday, thursday at 22:00
//! every month on day 15 at 06:30    every month on the last day at 06:30
//! ```

use std::fmt;
use std::str::FromStr;

use super::UnixTime;

/// Milliseconds of an hour.
const HOUR: i64 = 3_600_000;

/// The longest pause between two times, in days: for hours and days alike.
const LONGEST: u32 = 366;

/// A moment as it is called somewhere.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Civil {
    /// Days since 1970-01-01.
    pub day: i64,
    /// Minutes since midnight.
    pub minute: u16,
}

/// What moments are called somewhere.
pub trait Zone {
    /// What a moment is called.
    fn civil(&self, moment: UnixTime) -> Civil;

    /// The moment that is called so. A minute that is left out in spring is as much later as was left out; of one that
    /// comes twice in autumn it is the first.
    fn moment(&self, civil: Civil) -> UnixTime;
}

/// Why a rule cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRecurrence {
    /// It is none.
    #[error(
        "\"{0}\" does not say when: expected \"every 6 hours\", \"every 2 days at 22:00\", \"every monday, thursday at 22:00\", \
         \"every month on day 15 at 06:30\" or \"every month on the last day at 06:30\""
    )]
    Unreadable(String),
    /// Never, or hardly ever.
    #[error("a pause of {0} is out of bounds: from 1 hour to {LONGEST} days")]
    Pause(String),
    /// No such day.
    #[error("a month has no day {0}: from 1 to 31, and in a shorter month it is the last one")]
    Day(u32),
}

/// A minute of a day.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// Minutes since midnight.
    pub(super) fn minute(self) -> u16 {
        self.0
    }

    /// So many minutes after midnight; 24:00 is the end of a day.
    pub(super) fn from_minute(minute: u16) -> Self {
        Self(minute)
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        let digits = |part: &str| part.len() <= 2 && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(hour) || !digits(minute) || minute.len() != 2 {
            return None;
        }
        let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
        (hour < 24 && minute < 60).then_some(Self(hour * 60 + minute))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Weekday {
    /// The first one.
    Monday,
    /// The second one.
    Tuesday,
    /// The third one.
    Wednesday,
    /// The fourth one.
    Thursday,
    /// The fifth one.
    Friday,
    /// The sixth one.
    Saturday,
    /// The last one.
    Sunday,
}

impl Weekday {
    /// In their order.
    pub const ALL: [Self; 7] =
        [Self::Monday, Self::Tuesday, Self::Wednesday, Self::Thursday, Self::Friday, Self::Saturday, Self::Sunday];

    /// The word of a rule.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monday => "monday",
            Self::Tuesday => "tuesday",
            Self::Wednesday => "wednesday",
            Self::Thursday => "thursday",
            Self::Friday => "friday",
            Self::Saturday => "saturday",
            Self::Sunday => "sunday",
        }
    }

    /// Its first three letters.
    pub(super) fn short(self) -> &'static str {
        &self.as_str()[..3]
    }

    /// The whole word, or its first three letters.
    pub(super) fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|day| day.as_str() == word || day.short() == word)
    }

    /// Of a day since 1970-01-01, which was a Thursday.
    pub(super) fn of(day: i64) -> Self {
        let place = usize::try_from((day + 3).rem_euclid(7)).unwrap_or_default();
        Self::ALL[place]
    }
}

/// When something comes again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Recurrence {
    /// After so many hours, counted from its beginning; whatever clocks are put to.
    Hours(u32),
    /// After so many days, counted from its beginning.
    Days {
        /// How many.
        every: u32,
        /// When on such a day.
        at: TimeOfDay,
    },
    /// On days of the week.
    Weekly {
        /// Which, in their order, each once.
        on: Vec<Weekday>,
        /// When on such a day.
        at: TimeOfDay,
    },
    /// Once a month.
    Monthly {
        /// From 1 to 31; in a month that has none such, the last one.
        day: u32,
        /// When on that day.
        at: TimeOfDay,
    },
}

impl Recurrence {
    /// The first time after `after` of something that begins at `start`; never before that.
    pub fn next(&self, start: UnixTime, after: UnixTime, zone: &impl Zone) -> UnixTime {
        if let Self::Hours(hours) = self {
            let step = i64::from(*hours) * HOUR;
            let gone = (after.millis() - start.millis()).div_euclid(step) + 1;
            return UnixTime::from_millis(start.millis() + gone.max(0) * step);
        }
        let first = zone.civil(start).day;
        // A day before: what is left out in spring may come late, on the next one.
        let mut day = first.max(zone.civil(after).day - 1);
        loop {
            if let Some(minute) = self.minute_of(day, first) {
                let moment = zone.moment(Civil { day, minute });
                if moment > after && moment >= start {
                    return moment;
                }
            }
            day += 1;
        }
    }

    /// The next times, the first of them after `after`.
    pub fn upcoming(&self, start: UnixTime, after: UnixTime, zone: &impl Zone, count: usize) -> Vec<UnixTime> {
        let next = |last: &UnixTime| Some(self.next(start, *last, zone));
        std::iter::successors(next(&after), next).take(count).collect()
    }

    /// The minute at which it comes on a day, if it comes then; `first` is the day of its beginning.
    fn minute_of(&self, day: i64, first: i64) -> Option<u16> {
        let (is_one, at) = match self {
            Self::Hours(_) => return None,
            Self::Days { every, at } => ((day - first).rem_euclid(i64::from(*every)) == 0, at),
            Self::Weekly { on, at } => (on.contains(&Weekday::of(day)), at),
            Self::Monthly { day: wanted, at } => {
                let (year, month, of_month) = date_of(day);
                (of_month == (*wanted).min(days_of(year, month)), at)
            }
        };
        is_one.then_some(at.0)
    }
}

/// Year, month and day of a day since 1970-01-01: years are counted from March, so that the day that may be missing is the
/// last one, and in eras of 400 of them, which all have as many days.
fn date_of(day: i64) -> (i64, u32, u32) {
    const ERA: i64 = 146_097;
    let since = day + 719_468;
    let (era, of_era) = (since.div_euclid(ERA), since.rem_euclid(ERA));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let small = |number: i64| u32::try_from(number).unwrap_or_default();
    (year, small(month), small(of_month))
}

fn days_of(year: i64, month: u32) -> u32 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl FromStr for Recurrence {
    type Err = InvalidRecurrence;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.trim().to_lowercase().replace(',', " ");
        let words: Vec<&str> = lower.split_whitespace().collect();
        let unreadable = || InvalidRecurrence::Unreadable(text.trim().chars().take(80).collect());
        let Some(("every", rest)) = words.split_first().map(|(first, rest)| (*first, rest)) else {
            return Err(unreadable());
        };
        match rest {
            ["hour"] => Ok(Self::Hours(1)),
            [number, "hour" | "hours"] => {
                let hours = number.parse().map_err(|_| unreadable())?;
                within(hours, LONGEST * 24, "hours").map(Self::Hours)
            }
            ["day", "at", at] => Ok(Self::Days { every: 1, at: TimeOfDay::read(at).ok_or_else(unreadable)? }),
            [number, "day" | "days", "at", at] => {
                let every = number.parse().map_err(|_| unreadable())?;
                let at = TimeOfDay::read(at).ok_or_else(unreadable)?;
                Ok(Self::Days { every: within(every, LONGEST, "days")?, at })
            }
            ["month", "on", "the", "last", "day", "at", at] => {
                Ok(Self::Monthly { day: 31, at: TimeOfDay::read(at).ok_or_else(unreadable)? })
            }
            ["month", "on", "day", number, "at", at] => {
                let day = number.parse().map_err(|_| unreadable())?;
                let at = TimeOfDay::read(at).ok_or_else(unreadable)?;
                if (1..=31).contains(&day) { Ok(Self::Monthly { day, at }) } else { Err(InvalidRecurrence::Day(day)) }
            }
            [days @ .., "at", at] if !days.is_empty() => {
                let at = TimeOfDay::read(at).ok_or_else(unreadable)?;
                let named = days.iter().filter(|word| **word != "and").map(|word| Weekday::read(word));
                let mut on = named.collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
                on.sort_unstable();
                on.dedup();
                if on.is_empty() { Err(unreadable()) } else { Ok(Self::Weekly { on, at }) }
            }
            _ => Err(unreadable()),
        }
    }
}

fn within(number: u32, most: u32, unit: &str) -> Result<u32, InvalidRecurrence> {
    if (1..=most).contains(&number) { Ok(number) } else { Err(InvalidRecurrence::Pause(format!("{number} {unit}"))) }
}

/// As it is read.
impl fmt::Display for Recurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hours(1) => f.write_str("every hour"),
            Self::Hours(hours) => write!(f, "every {hours} hours"),
            Self::Days { every: 1, at } => write!(f, "every day at {at}"),
            Self::Days { every, at } => write!(f, "every {every} days at {at}"),
            Self::Weekly { on, at } => {
                let days: Vec<&str> = on.iter().map(|day| day.as_str()).collect();
                write!(f, "every {} at {at}", days.join(", "))
            }
            Self::Monthly { day: 31, at } => write!(f, "every month on the last day at {at}"),
            Self::Monthly { day, at } => write!(f, "every month on day {day} at {at}"),
        }
    }
}

#[cfg(test)]
pub(super) mod berlin {
    //! A zone to try rules in.

    use super::*;

    /// As in Berlin in 2026: an hour ahead, two from 29 March 01:00 UTC until 25 October 01:00 UTC.
    pub(in crate::model) struct Berlin;

    const SPRING: i64 = 1_774_746_000;
    const AUTUMN: i64 = 1_792_890_000;

    fn ahead(seconds: i64) -> i64 {
        if (SPRING..AUTUMN).contains(&seconds) { 7200 } else { 3600 }
    }

    impl Zone for Berlin {
        fn civil(&self, moment: UnixTime) -> Civil {
            let local = moment.seconds() + ahead(moment.seconds());
            let minute = u16::try_from(local.rem_euclid(86_400) / 60).expect("of a day");
            Civil { day: local.div_euclid(86_400), minute }
        }

        fn moment(&self, civil: Civil) -> UnixTime {
            let local = civil.day * 86_400 + i64::from(civil.minute) * 60;
            // What is left out exists with neither; before the change's hour, the earlier way is right.
            let (early, late) = (local - 7200, local - 3600);
            UnixTime::from_seconds(if ahead(early) == 7200 { early } else { late })
        }
    }

    pub(in crate::model) fn at(text: &str) -> UnixTime {
        let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("a number");
        let (year, month, day) = (number(0..4), number(5..7), number(8..10));
        let is_it = |days: &i64| {
            let date = date_of(*days);
            (date.0, i64::from(date.1), i64::from(date.2)) == (year, month, day)
        };
        let days = (0..200_000).find(is_it).expect("a day");
        UnixTime::from_seconds(days * 86_400 + number(11..13) * 3600 + number(14..16) * 60)
    }

    pub(in crate::model) fn written(moment: UnixTime) -> String {
        let (year, month, day) = date_of(moment.seconds().div_euclid(86_400));
        let minute = moment.seconds().rem_euclid(86_400) / 60;
        format!("{year}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::berlin::{Berlin, at, written};
    use super::*;

    /// The next three times of a rule, as UTC has them.
    fn next(rule: &str, start: &str, after: &str) -> String {
        let rule: Recurrence = rule.parse().expect("a rule");
        let times = rule.upcoming(at(start), at(after), &Berlin, 3);
        times.into_iter().map(written).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_next_times_are_those_that_people_mean() {
        let start = "2026-01-05 10:15";
        for (rule, after, expected) in [
            ("every hour", start, "2026-01-05 11:15, 2026-01-05 12:15, 2026-01-05 13:15"),
            ("every 6 hours", "2026-01-05 16:14", "2026-01-05 16:15, 2026-01-05 22:15, 2026-01-06 04:15"),
            ("every day at 22:00", start, "2026-01-05 21:00, 2026-01-06 21:00, 2026-01-07 21:00"),
            ("every day at 22:00", "2026-01-05 21:00", "2026-01-06 21:00, 2026-01-07 21:00, 2026-01-08 21:00"),
            // 10:15 there is 11:15, so it is over for that day.
            ("every 3 days at 11:00", start, "2026-01-08 10:00, 2026-01-11 10:00, 2026-01-14 10:00"),
            ("every monday, thu at 00:30", start, "2026-01-07 23:30, 2026-01-11 23:30, 2026-01-14 23:30"),
            ("every month on day 5 at 12:00", start, "2026-01-05 11:00, 2026-02-05 11:00, 2026-03-05 11:00"),
            ("every month on the last day at 12:00", start, "2026-01-31 11:00, 2026-02-28 11:00, 2026-03-31 10:00"),
            (
                "every month on day 30 at 12:00",
                "2028-01-31 00:00",
                "2028-02-29 11:00, 2028-03-30 11:00, 2028-04-30 11:00",
            ),
        ] {
            assert_eq!(next(rule, start, after), expected, "{rule}");
        }
    }

    #[test]
    fn nothing_comes_before_its_beginning() {
        let after = "2026-01-01 00:00";
        assert_eq!(
            next("every 6 hours", "2026-02-01 08:00", after),
            "2026-02-01 08:00, 2026-02-01 14:00, 2026-02-01 20:00"
        );
        assert_eq!(
            next("every day at 09:00", "2026-02-01 08:01", after),
            "2026-02-02 08:00, 2026-02-03 08:00, 2026-02-04 08:00"
        );
    }

    #[test]
    fn clocks_that_are_put_on_and_back_neither_lose_a_time_nor_double_one() {
        let start = "2026-03-01 00:00";
        // 02:30 does not exist on the 29th: it is an hour later, and once.
        assert_eq!(
            next("every day at 02:30", start, "2026-03-27 12:00"),
            "2026-03-28 01:30, 2026-03-29 01:30, 2026-03-30 00:30"
        );
        // 02:30 comes twice on 25 October: the first one is taken, and it alone.
        assert_eq!(
            next("every day at 02:30", start, "2026-10-23 12:00"),
            "2026-10-24 00:30, 2026-10-25 00:30, 2026-10-26 01:30"
        );
        assert_eq!(
            next("every 12 hours", start, "2026-03-28 13:00"),
            "2026-03-29 00:00, 2026-03-29 12:00, 2026-03-30 00:00"
        );
    }

    #[test]
    fn rules_read_back_and_are_taken_as_people_write_them() {
        for (typed, kept) in [
            ("every hour", "every hour"),
            ("Every 1 hours", "every hour"),
            ("every 48 hours", "every 48 hours"),
            (" every  1 day at 6:05 ", "every day at 06:05"),
            ("every 14 days at 22:00", "every 14 days at 22:00"),
            ("every Fri and Mon, mon at 23:59", "every monday, friday at 23:59"),
            ("every month on day 31 at 00:00", "every month on the last day at 00:00"),
            ("every month on day 1 at 00:00", "every month on day 1 at 00:00"),
        ] {
            let rule: Recurrence = typed.parse().expect(typed);
            assert_eq!(rule.to_string(), kept);
            assert_eq!(kept.parse(), Ok(rule));
        }
    }

    #[test]
    fn what_says_no_time_is_refused_with_what_does() {
        for wrong in [
            "",
            "every",
            "daily",
            "every day",
            "every day at 24:00",
            "every day at 2200",
            "every at 10:00",
            "every and at 10:00",
            "every moonday at 10:00",
            "every -1 hours",
            "every x hours",
            "every month on day x at 10:00",
            "every day at 10:0",
            "every day at +1:00",
            "every 5 minutes",
            "every month at 10:00",
        ] {
            let error = wrong.parse::<Recurrence>().expect_err(wrong);
            assert!(error.to_string().contains("every 2 days at 22:00"), "{error}");
        }
        let refused = |text: &str| text.parse::<Recurrence>().expect_err(text).to_string();
        assert_eq!(refused("every 0 hours"), "a pause of 0 hours is out of bounds: from 1 hour to 366 days");
        assert_eq!(refused("every 367 days at 10:00"), "a pause of 367 days is out of bounds: from 1 hour to 366 days");
        assert!(refused("every month on day 32 at 10:00").starts_with("a month has no day 32"));
    }

    #[test]
    fn days_have_their_dates() {
        assert_eq!((date_of(0), Weekday::of(0)), ((1970, 1, 1), Weekday::Thursday));
        assert_eq!(date_of(-1), (1969, 12, 31));
        assert_eq!((date_of(20_777), Weekday::of(20_777)), ((2026, 11, 20), Weekday::Friday));
        let mut last = date_of(10_000);
        for day in 10_001..40_000 {
            let date = date_of(day);
            let follows = if last.2 < days_of(last.0, last.1) {
                (last.0, last.1, last.2 + 1)
            } else if last.1 < 12 {
                (last.0, last.1 + 1, 1)
            } else {
                (last.0 + 1, 1, 1)
            };
            assert_eq!(date, follows);
            last = date;
        }
    }
}
