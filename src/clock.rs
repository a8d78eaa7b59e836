//! The only place that asks what time it is. Floor 2.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::{Offset, TimeZone};

use crate::model::UnixTime;
use crate::model::recurrence::{Civil, Zone};

/// Where the present comes from: the machine, or a test.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// Always the same moment.
    Fixed(UnixTime),
}

impl Clock {
    /// The present.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(self) -> UnixTime {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Fixed(moment) => moment,
        }
    }
}

/// A moment as a schedule writes it: `YYYY/MM/DD HH:MM` in this machine's local time. Its order as text is its order in
/// time, but for the hour that is lived twice in autumn.
pub fn local_minute(moment: UnixTime) -> String {
    local(moment).strftime("%Y/%m/%d %H:%M").to_string()
}

/// A moment for people: `2026-11-20 08:46:04` in this machine's local time.
pub fn local_text(moment: UnixTime) -> String {
    local(moment).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A moment for programs: `2026-11-20T07:46:04Z`.
pub fn utc_text(moment: UnixTime) -> String {
    timestamp(moment).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A moment as people type it: a day (its first moment in this machine's local time), a day with a time, or what
/// [`utc_text`] writes.
pub fn parse(text: &str) -> Option<UnixTime> {
    parse_in(text, &TimeZone::system())
}

fn parse_in(text: &str, zone: &TimeZone) -> Option<UnixTime> {
    let text = text.trim();
    let moment = text
        .parse::<jiff::Timestamp>()
        .ok()
        .or_else(|| Some(text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(zone.clone()).ok()?.timestamp()))
        .or_else(|| Some(text.parse::<jiff::civil::Date>().ok()?.to_zoned(zone.clone()).ok()?.timestamp()))?;
    Some(UnixTime::from_millis(moment.as_millisecond()))
}

/// A time zone that this machine knows.
#[derive(Clone, Debug)]
pub struct NamedZone {
    name: String,
    zone: TimeZone,
}

impl NamedZone {
    /// `UTC`, an offset from it (`+02:00`), or a name that this machine's table of zones has (`Europe/Berlin`).
    pub fn named(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("UTC") {
            return Some(Self { name: "UTC".to_owned(), zone: TimeZone::UTC });
        }
        if let Some(minutes) = offset(text) {
            let zone = TimeZone::fixed(Offset::from_seconds(minutes * 60).ok()?);
            return Some(Self { name: text.to_owned(), zone });
        }
        let zone = TimeZone::get(text).ok()?;
        let name = zone.iana_name()?.to_owned();
        Some(Self { name: if name == "Etc/UTC" { "UTC".to_owned() } else { name }, zone })
    }

    /// The one that this machine's clock shows; UTC if it has no name.
    pub fn of_machine() -> Self {
        let system = TimeZone::system();
        let named = system.iana_name().and_then(Self::named);
        named.unwrap_or_else(|| Self { name: "UTC".to_owned(), zone: TimeZone::UTC })
    }

    /// As it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A moment for people: `2026-11-20 22:00` there.
    pub fn text(&self, moment: UnixTime) -> String {
        timestamp(moment).to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
    }

    /// The same with its day of the week: `Fri 2026-11-20 22:00`.
    pub fn day_text(&self, moment: UnixTime) -> String {
        timestamp(moment).to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M").to_string()
    }

    /// A day, or a day with a time, as they are called there; or what [`utc_text`] writes.
    pub fn parse(&self, text: &str) -> Option<UnixTime> {
        parse_in(text, &self.zone)
    }
}

/// The minutes of `+02:00`.
fn offset(text: &str) -> Option<i32> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let two = |digits: &str| {
        let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<i32>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

impl Zone for NamedZone {
    fn civil(&self, moment: UnixTime) -> Civil {
        let ahead = i64::from(self.zone.to_offset(timestamp(moment)).seconds());
        let local = moment.seconds() + ahead;
        Civil {
            day: local.div_euclid(86_400),
            minute: u16::try_from(local.rem_euclid(86_400) / 60).unwrap_or_default(),
        }
    }

    fn moment(&self, civil: Civil) -> UnixTime {
        let as_utc = UnixTime::from_seconds(civil.day.saturating_mul(86_400) + i64::from(civil.minute) * 60);
        let called = timestamp(as_utc).to_zoned(TimeZone::UTC).datetime();
        // Of two the first; what does not exist is as much later as was left out.
        let found = self.zone.to_ambiguous_timestamp(called).compatible();
        found.map_or(as_utc, |found| UnixTime::from_millis(found.as_millisecond()))
    }
}

fn local(moment: UnixTime) -> jiff::Zoned {
    timestamp(moment).to_zoned(TimeZone::system())
}

fn timestamp(moment: UnixTime) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(moment.millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_named_or_offsets() {
        let zone = |text| NamedZone::named(text).map(|zone| zone.name().to_owned());
        assert_eq!(zone("utc").as_deref(), Some("UTC"));
        assert_eq!(zone("-03:30").as_deref(), Some("-03:30"));
        for wrong in ["", "+2", "+02:60", "+15:00", "Nowhere/Land", "+é:00", "+02:0x"] {
            assert_eq!(zone(wrong), None, "{wrong:?}");
        }
        assert!(
            NamedZone::named(NamedZone::of_machine().name()).is_some(),
            "what the machine is called is known to it"
        );
    }

    #[test]
    fn a_zone_says_what_a_moment_is_called_and_back() {
        let zone = NamedZone::named("+02:00").expect("a zone");
        let moment = UnixTime::from_seconds(1_795_168_800);
        assert_eq!(zone.text(moment), "2026-11-20 12:00");
        assert_eq!(zone.day_text(moment), "Fri 2026-11-20 12:00");
        let civil = zone.civil(moment);
        assert_eq!((civil.day, civil.minute), (20_777, 12 * 60));
        assert_eq!(zone.moment(civil), moment);
        for text in ["2026-11-20 12:00", "2026-11-20T12:00", "2026-11-20T10:00:00Z"] {
            assert_eq!(zone.parse(text), Some(moment), "{text}");
        }
    }
}
