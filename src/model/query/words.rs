//! The words of the language.

use std::time::Duration;

use super::compare_versions;
use crate::model::UnixTime;

/// A test of a program's version.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "fetch", derive(serde::Deserialize, serde::Serialize))]
pub struct VersionTest {
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: String,
}

impl VersionTest {
    /// Does a version pass it?
    pub fn holds(&self, version: &str) -> bool {
        self.operator.holds(compare_versions(version, &self.value))
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[cfg_attr(feature = "fetch", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// How it is written.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// A fact with text.
    Field {
        /// The host name.
        Name = "name",
        /// The wire name.
        DeviceId = "device_id",
        /// The operating system.
        Os = "os",
        /// Its version; compared as versions are.
        OsVersion = "os_version",
        /// The processor's architecture.
        Architecture = "architecture",
        /// The computer's address.
        Ip = "ip",
        /// The address that it was last heard from.
        Peer = "peer",
        /// Who uses it.
        User = "user",
        /// Its serial number.
        Serial = "serial",
        /// Maker and model.
        Model = "model",
        /// The firmware's UUID.
        Uuid = "uuid",
        /// Workgroup or domain.
        Workgroup = "workgroup",
        /// The administrators' TAG.
        Tag = "tag",
        /// The agent's `User-Agent`.
        Agent = "agent",
        /// Hardware address of any of its adapters.
        Mac = "mac",
        /// By what it is known to be itself: `key` or `name`.
        Proven = "proven",
    }
}

words! {
    /// A fact with a time.
    TimeField {
        /// When it was first heard of.
        FirstContact = "first_contact",
        /// When it last said anything.
        LastContact = "last_contact",
        /// When its last inventory came.
        LastInventory = "last_inventory",
    }
}

words! {
    /// How a fact is compared.
    Operator {
        /// Equal.
        Eq = "=",
        /// Not equal: the opposite of [`Operator::Eq`], also for a fact with several values.
        Ne = "!=",
        /// Less.
        Lt = "<",
        /// Less or equal.
        Le = "<=",
        /// Greater.
        Gt = ">",
        /// Greater or equal.
        Ge = ">=",
        /// Has it somewhere.
        Contains = "contains",
        /// Begins with it.
        StartsWith = "starts with",
        /// Ends with it.
        EndsWith = "ends with",
    }
}

words! {
    /// On which side of a moment.
    Side {
        /// At that moment or before; also if it never happened.
        Older = "older than",
        /// After it.
        Newer = "newer than",
    }
}

words! {
    /// What an age is counted in.
    Unit {
        /// 60 seconds.
        Minute = "minute",
        /// 60 minutes.
        Hour = "hour",
        /// 24 hours.
        Day = "day",
        /// 7 days.
        Week = "week",
    }
}

impl Operator {
    /// Does it compare by order?
    pub fn is_order(self) -> bool {
        matches!(self, Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    pub(super) fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
            Self::Ne => order.is_ne(),
            Self::Eq | Self::Contains | Self::StartsWith | Self::EndsWith => order.is_eq(),
        }
    }
}

impl Field {
    /// Is it compared as versions are?
    pub fn is_version(self) -> bool {
        self == Self::OsVersion
    }

    /// What [`Field::Proven`] says of a computer whose agent has, or has not, a key.
    pub fn proven(has_key: bool) -> &'static str {
        if has_key { "key" } else { "name" }
    }

    /// Is it an address?
    pub fn is_address(self) -> bool {
        matches!(self, Self::Ip | Self::Peer)
    }
}

/// A span as it was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "fetch", derive(serde::Deserialize, serde::Serialize))]
pub struct Age {
    /// How many.
    pub count: u32,
    /// Of what.
    pub unit: Unit,
}

impl Age {
    /// As a span.
    pub fn span(self) -> Duration {
        let minutes = match self.unit {
            Unit::Minute => 1,
            Unit::Hour => 60,
            Unit::Day => 24 * 60,
            Unit::Week => 7 * 24 * 60,
        };
        Duration::from_secs(u64::from(self.count) * minutes * 60)
    }

    /// The moment that lies so far before `now`.
    pub fn before(self, now: UnixTime) -> UnixTime {
        let span = i64::try_from(self.span().as_millis()).unwrap_or(i64::MAX);
        UnixTime::from_millis(now.millis().saturating_sub(span))
    }
}
