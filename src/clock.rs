//! The only place that asks what time it is. Floor 2.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::UnixTime;

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
    let text = text.trim();
    let zone = jiff::tz::TimeZone::system();
    let moment = text
        .parse::<jiff::Timestamp>()
        .ok()
        .or_else(|| Some(text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(zone.clone()).ok()?.timestamp()))
        .or_else(|| Some(text.parse::<jiff::civil::Date>().ok()?.to_zoned(zone).ok()?.timestamp()))?;
    Some(UnixTime::from_millis(moment.as_millisecond()))
}

fn local(moment: UnixTime) -> jiff::Zoned {
    timestamp(moment).to_zoned(jiff::tz::TimeZone::system())
}

fn timestamp(moment: UnixTime) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(moment.millis()).unwrap_or_default()
}
