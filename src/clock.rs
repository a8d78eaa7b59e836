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
