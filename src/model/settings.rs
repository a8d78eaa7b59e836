//! Settings: values with layers (default → global → group → computer), each with its origin (ocs-protocol 3.2, 4.1).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Days, Minutes};

/// Why a setting was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidSetting {
    /// No such key.
    #[error("there is no setting \"{0}\"")]
    Key(String),
    /// Out of bounds, or not a number.
    #[error("{key} cannot be \"{value}\": {meaning}; expected a whole number from {min} to {max} ({unit})")]
    Value {
        /// Which setting.
        key: SettingKey,
        /// What was given.
        value: String,
        /// What the setting means.
        meaning: &'static str,
        /// The smallest value.
        min: i64,
        /// The largest value.
        max: i64,
        /// What it counts.
        unit: &'static str,
    },
}

/// The settings that agents are told, by their stock names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SettingKey {
    /// `DOWNLOAD`: is there deployment at all? On a computer or group its stock name is `DOWNLOAD_SWITCH`.
    Download,
    /// `DOWNLOAD_FRAG_LATENCY`.
    FragmentLatency,
    /// `DOWNLOAD_CYCLE_LATENCY`.
    CycleLatency,
    /// `DOWNLOAD_PERIOD_LATENCY`.
    PeriodLatency,
    /// `DOWNLOAD_PERIOD_LENGTH`.
    PeriodLength,
    /// `DOWNLOAD_TIMEOUT`.
    Timeout,
    /// `DOWNLOAD_EXECUTION_TIMEOUT`.
    ExecutionTimeout,
    /// `FREQUENCY`.
    Frequency,
    /// `PROLOG_FREQ`.
    PrologFrequency,
    /// `INVENTORY_ON_STARTUP`.
    InventoryOnStartup,
    /// `REGISTRY`: the server's alone.
    Registry,
    /// `IPDISCOVER`: how many computers look round in a network; the server's alone. On a computer or group its stock name
    /// is that of [`SettingKey::IpDiscoverSwitch`], too.
    IpDiscover,
    /// `IPDISCOVER_SWITCH`, which the stock server calls `IPDISCOVER` on computers and groups.
    IpDiscoverSwitch,
    /// `IPDISCOVER_LATENCY`.
    IpDiscoverLatency,
    /// `IPDISCOVER_MAX_ALIVE`: the server's alone.
    IpDiscoverMaxAlive,
    /// `AUTO_DUPLICATE_LVL`: agents are not told it, and only the server's layer counts.
    Duplicates,
    /// `STUCK_AFTER`: ours; the server's alone.
    StuckAfter,
    /// `APPROVAL_FROM`: ours; the server's alone.
    ApprovalFrom,
    /// `APPROVAL_COUNT`: ours; the server's alone.
    ApprovalCount,
}

/// What there is to know about a key.
#[derive(Clone, Copy, Debug)]
pub struct SettingInfo {
    /// The stock name.
    pub name: &'static str,
    /// What it counts.
    pub unit: &'static str,
    /// The smallest value.
    pub min: i64,
    /// The largest value.
    pub max: i64,
    /// What holds when nothing is set.
    pub default: i64,
    /// What it does.
    pub meaning: &'static str,
}

impl SettingKey {
    /// Every key.
    pub const ALL: [Self; 19] = [
        Self::Download,
        Self::FragmentLatency,
        Self::CycleLatency,
        Self::PeriodLatency,
        Self::PeriodLength,
        Self::Timeout,
        Self::ExecutionTimeout,
        Self::Frequency,
        Self::PrologFrequency,
        Self::InventoryOnStartup,
        Self::Registry,
        Self::IpDiscover,
        Self::IpDiscoverSwitch,
        Self::IpDiscoverLatency,
        Self::IpDiscoverMaxAlive,
        Self::Duplicates,
        Self::StuckAfter,
        Self::ApprovalFrom,
        Self::ApprovalCount,
    ];

    /// Name, unit, bounds, default and meaning.
    #[expect(clippy::too_many_lines, reason = "a table of all that there is")]
    pub fn info(self) -> SettingInfo {
        let info = |name, unit, min, max, default, meaning| SettingInfo { name, unit, min, max, default, meaning };
        match self {
            Self::Download => {
                info("DOWNLOAD", "0 or 1", 0, 1, 1, "whether agents download and execute packages at all")
            }
            Self::FragmentLatency => {
                info("DOWNLOAD_FRAG_LATENCY", "seconds", 0, 86_400, 10, "pause after each fragment")
            }
            Self::CycleLatency => info("DOWNLOAD_CYCLE_LATENCY", "seconds", 0, 86_400, 60, "pause after each cycle"),
            Self::PeriodLatency => info("DOWNLOAD_PERIOD_LATENCY", "seconds", 0, 604_800, 0, "pause after each period"),
            Self::PeriodLength => info("DOWNLOAD_PERIOD_LENGTH", "cycles", 1, 10_000, 10, "cycles in a period"),
            Self::Timeout => info("DOWNLOAD_TIMEOUT", "days", 1, 3650, 30, "when an agent gives a package up"),
            Self::ExecutionTimeout => info(
                "DOWNLOAD_EXECUTION_TIMEOUT",
                "minutes",
                1,
                10_080,
                120,
                "when an agent ends a command that still runs",
            ),
            Self::Frequency => info(
                "FREQUENCY",
                "days",
                -1,
                3650,
                1,
                "how old an inventory may be; 0 asks at every contact, -1 never asks",
            ),
            Self::PrologFrequency => info("PROLOG_FREQ", "hours", 1, 8760, 24, "how often agents check in"),
            Self::InventoryOnStartup => info(
                "INVENTORY_ON_STARTUP",
                "0 or 1",
                0,
                1,
                1,
                "whether Windows agents check in when their service starts",
            ),
            Self::Registry => {
                info("REGISTRY", "0 or 1", 0, 1, 1, "whether Windows agents are asked what `dripfeed registry` lists")
            }
            Self::IpDiscover => info(
                "IPDISCOVER",
                "computers",
                0,
                100,
                0,
                "how many computers of each network look who else is in it; 0 is none",
            ),
            Self::IpDiscoverSwitch => info(
                "IPDISCOVER_SWITCH",
                "0 never, 1 if elected, 2 always",
                0,
                2,
                1,
                "whether a computer looks round in its network",
            ),
            Self::IpDiscoverLatency => info(
                "IPDISCOVER_LATENCY",
                "milliseconds",
                0,
                60_000,
                100,
                "pause between two addresses of a network that is looked round in",
            ),
            Self::IpDiscoverMaxAlive => info(
                "IPDISCOVER_MAX_ALIVE",
                "days",
                1,
                3650,
                7,
                "after how long a silence another computer is elected to look round",
            ),
            Self::Duplicates => info(
                "AUTO_DUPLICATE_LVL",
                "sum of 1 name, 2 serial, 4 MAC, 8 model, 16 UUID",
                0,
                31,
                15,
                "what must all be the same for a new computer to be taken for an old one; 0 merges nothing",
            ),
            Self::StuckAfter => info(
                "STUCK_AFTER",
                "days",
                1,
                365,
                3,
                "when a job of which its computer was told needs a person, if the computer comes and nothing follows",
            ),
            Self::ApprovalFrom => info(
                "APPROVAL_FROM",
                "computers",
                0,
                10_000_000,
                0,
                "from how many computers on a deployment waits until others have approved it; 0 asks nobody",
            ),
            Self::ApprovalCount => info(
                "APPROVAL_COUNT",
                "people",
                1,
                20,
                1,
                "how many others have to approve a deployment that APPROVAL_FROM concerns",
            ),
        }
    }

    /// Reads a value within the key's bounds.
    pub fn parse_value(self, text: &str) -> Result<i64, InvalidSetting> {
        let info = self.info();
        text.trim().parse::<i64>().ok().filter(|value| (info.min..=info.max).contains(value)).ok_or_else(|| {
            InvalidSetting::Value {
                key: self,
                value: text.chars().take(40).collect(),
                meaning: info.meaning,
                min: info.min,
                max: info.max,
                unit: info.unit,
            }
        })
    }
}

impl FromStr for SettingKey {
    type Err = InvalidSetting;

    /// Takes the stock names, `DOWNLOAD_SWITCH` for [`SettingKey::Download`] included, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.to_ascii_uppercase();
        if name == "DOWNLOAD_SWITCH" {
            return Ok(Self::Download);
        }
        Self::ALL
            .into_iter()
            .find(|key| key.info().name == name)
            .ok_or_else(|| InvalidSetting::Key(text.chars().take(60).collect()))
    }
}

impl fmt::Display for SettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.info().name)
    }
}

/// What one layer says: only the keys that it sets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SettingsLayer(pub BTreeMap<SettingKey, i64>);

impl SettingsLayer {
    /// What this layer says of a key.
    pub fn value(&self, key: SettingKey) -> Option<i64> {
        self.0.get(&key).copied()
    }
}

/// Which layer an effective value comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Nothing was set.
    Default,
    /// The server's setting.
    Global,
    /// The group at that place of the list given to [`resolve`].
    Group(usize),
    /// The computer's own.
    Computer,
}

/// How old an inventory may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InventoryFrequency {
    /// Asked for at every contact.
    Always,
    /// Asked for when the last one is that old.
    Every(Days),
    /// Never asked for.
    Never,
}

/// What paces the agent's engine: the seven parameters of `CONF`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DownloadSettings {
    /// Is there deployment at all?
    pub on: bool,
    /// Seconds after each fragment.
    pub fragment_latency: u32,
    /// Seconds after each cycle.
    pub cycle_latency: u32,
    /// Seconds after each period.
    pub period_latency: u32,
    /// Cycles in a period.
    pub period_length: u32,
    /// When a package is given up.
    pub timeout: Days,
    /// When a command is ended.
    pub execution_timeout: Minutes,
}

/// Effective values, each with its origin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings(BTreeMap<SettingKey, (i64, Origin)>);

impl Settings {
    /// The effective value of a key.
    pub fn value(&self, key: SettingKey) -> i64 {
        self.0.get(&key).map_or(key.info().default, |(value, _)| *value)
    }

    /// Where it comes from.
    pub fn origin(&self, key: SettingKey) -> Origin {
        self.0.get(&key).map_or(Origin::Default, |(_, origin)| *origin)
    }

    /// The pace.
    pub fn download(&self) -> DownloadSettings {
        let number = |key| u32::try_from(self.value(key)).unwrap_or_default();
        DownloadSettings {
            on: self.value(SettingKey::Download) != 0,
            fragment_latency: number(SettingKey::FragmentLatency),
            cycle_latency: number(SettingKey::CycleLatency),
            period_latency: number(SettingKey::PeriodLatency),
            period_length: number(SettingKey::PeriodLength).max(1),
            timeout: Days(number(SettingKey::Timeout)),
            execution_timeout: Minutes(number(SettingKey::ExecutionTimeout)),
        }
    }

    /// The inventory rule.
    pub fn inventory_frequency(&self) -> InventoryFrequency {
        match self.value(SettingKey::Frequency) {
            0 => InventoryFrequency::Always,
            days if days > 0 => InventoryFrequency::Every(Days(u32::try_from(days).unwrap_or(u32::MAX))),
            _ => InventoryFrequency::Never,
        }
    }

    /// Hours between contacts.
    pub fn prolog_frequency(&self) -> u32 {
        u32::try_from(self.value(SettingKey::PrologFrequency)).unwrap_or(24)
    }

    /// Milliseconds between two addresses that are tried.
    pub fn ip_discover_latency(&self) -> u32 {
        u32::try_from(self.value(SettingKey::IpDiscoverLatency)).unwrap_or(100)
    }

    /// How many computers look round in each network.
    pub fn scanners_of_a_network(&self) -> usize {
        usize::try_from(self.value(SettingKey::IpDiscover)).unwrap_or_default()
    }

    /// Whether Windows agents check in when their service starts.
    pub fn inventory_on_startup(&self) -> bool {
        self.value(SettingKey::InventoryOnStartup) != 0
    }
}

impl Default for DownloadSettings {
    fn default() -> Self {
        resolve(&SettingsLayer::default(), &[], &SettingsLayer::default()).download()
    }
}

/// The values in force for a computer.
///
/// - Latencies, lengths and time-outs: the computer's value if it is not 0, else the groups' (the *largest* latency, the
///   *smallest* length or time-out), else the global one, else the default. So 0 can only come from the global setting.
/// - `DOWNLOAD`: a global 0 is final; then a 0 of any group; then the computer's.
/// - `FREQUENCY`: the smallest of computer and groups, else the global one. Unlike the stock server, a global 0 or −1
///   does not hide them (ocs-protocol 13.1, 2).
/// - `PROLOG_FREQ`, `INVENTORY_ON_STARTUP`: the computer's, else the smallest of the groups, else the global one.
/// - `IPDISCOVER_SWITCH`: as `DOWNLOAD`: a 0 of any group is final, and groups can do no more than that.
/// - `IPDISCOVER_LATENCY`: as the other latencies.
/// - `AUTO_DUPLICATE_LVL`, `REGISTRY`, `IPDISCOVER`, `IPDISCOVER_MAX_ALIVE`, `STUCK_AFTER`, `APPROVAL_FROM`, `APPROVAL_COUNT`: the global
///   one.
pub fn resolve(global: &SettingsLayer, groups: &[SettingsLayer], computer: &SettingsLayer) -> Settings {
    let resolved = SettingKey::ALL.into_iter().map(|key| (key, resolve_key(key, global, groups, computer))).collect();
    Settings(resolved)
}

fn resolve_key(
    key: SettingKey,
    global: &SettingsLayer,
    groups: &[SettingsLayer],
    computer: &SettingsLayer,
) -> (i64, Origin) {
    let own = computer.value(key).map(|value| (value, Origin::Computer));
    let of_groups = || groups.iter().enumerate().filter_map(|(at, layer)| Some((layer.value(key)?, Origin::Group(at))));
    let base = global.value(key).map_or((key.info().default, Origin::Default), |value| (value, Origin::Global));
    let smallest = |values: &mut dyn Iterator<Item = (i64, Origin)>| values.min_by_key(|(value, _)| *value);
    match key {
        SettingKey::Download | SettingKey::IpDiscoverSwitch => {
            if base.0 == 0 {
                return base;
            }
            of_groups().find(|(value, _)| *value == 0).or(own).unwrap_or(base)
        }
        SettingKey::FragmentLatency
        | SettingKey::CycleLatency
        | SettingKey::PeriodLatency
        | SettingKey::IpDiscoverLatency => own
            .filter(|(value, _)| *value != 0)
            .or_else(|| of_groups().filter(|(value, _)| *value != 0).max_by_key(|(value, _)| *value))
            .unwrap_or(base),
        SettingKey::PeriodLength | SettingKey::Timeout | SettingKey::ExecutionTimeout => own
            .filter(|(value, _)| *value != 0)
            .or_else(|| smallest(&mut of_groups().filter(|(value, _)| *value != 0)))
            .unwrap_or(base),
        SettingKey::Frequency => smallest(&mut own.into_iter().chain(of_groups())).unwrap_or(base),
        SettingKey::PrologFrequency | SettingKey::InventoryOnStartup => {
            own.or_else(|| smallest(&mut of_groups())).unwrap_or(base)
        }
        SettingKey::Duplicates
        | SettingKey::Registry
        | SettingKey::IpDiscover
        | SettingKey::IpDiscoverMaxAlive
        | SettingKey::StuckAfter
        | SettingKey::ApprovalFrom
        | SettingKey::ApprovalCount => base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> SettingsLayer {
        let pairs = text.split_whitespace().map(|pair| {
            let (key, value) = pair.split_once('=').expect("key=value");
            (key.parse().expect("a key"), value.parse().expect("a number"))
        });
        SettingsLayer(pairs.collect())
    }

    /// `global | group | group … | computer` → the effective value of a key and its origin.
    fn effective(key: &str, layers: &str) -> String {
        let layers: Vec<SettingsLayer> = layers.split('|').map(layer).collect();
        let (global, rest) = layers.split_first().expect("a global layer");
        let (computer, groups) = rest.split_last().expect("a computer's layer");
        let settings = resolve(global, groups, computer);
        let key = key.parse().expect("a key");
        format!("{} {:?}", settings.value(key), settings.origin(key))
    }

    #[test]
    fn nothing_set_is_what_the_design_says() {
        insta::assert_debug_snapshot!(DownloadSettings::default(), @r"
        DownloadSettings {
            on: true,
            fragment_latency: 10,
            cycle_latency: 60,
            period_latency: 0,
            period_length: 10,
            timeout: Days(
                30,
            ),
            execution_timeout: Minutes(
                120,
            ),
        }
        ");
    }

    #[test]
    fn layers_of_latencies_take_the_largest_group_and_ignore_zero() {
        let key = "DOWNLOAD_FRAG_LATENCY";
        assert_eq!(effective(key, "|"), "10 Default");
        assert_eq!(effective(key, "DOWNLOAD_FRAG_LATENCY=0|"), "0 Global");
        assert_eq!(
            effective(key, "DOWNLOAD_FRAG_LATENCY=5|DOWNLOAD_FRAG_LATENCY=7|DOWNLOAD_FRAG_LATENCY=9|"),
            "9 Group(1)"
        );
        assert_eq!(effective(key, "|DOWNLOAD_FRAG_LATENCY=7|DOWNLOAD_FRAG_LATENCY=3"), "3 Computer");
        assert_eq!(effective(key, "|DOWNLOAD_FRAG_LATENCY=7|DOWNLOAD_FRAG_LATENCY=0"), "7 Group(0)");
    }

    #[test]
    fn layers_of_lengths_and_timeouts_take_the_smallest_group() {
        assert_eq!(effective("DOWNLOAD_TIMEOUT", "|DOWNLOAD_TIMEOUT=7|DOWNLOAD_TIMEOUT=3|"), "3 Group(1)");
        assert_eq!(
            effective("DOWNLOAD_PERIOD_LENGTH", "DOWNLOAD_PERIOD_LENGTH=20|DOWNLOAD_PERIOD_LENGTH=0|"),
            "20 Global"
        );
    }

    #[test]
    fn a_zero_above_switches_deployment_off_for_good() {
        assert_eq!(effective("DOWNLOAD", "DOWNLOAD=0|DOWNLOAD=1|DOWNLOAD=1"), "0 Global");
        assert_eq!(effective("DOWNLOAD", "|DOWNLOAD=0|DOWNLOAD=1"), "0 Group(0)");
        assert_eq!(effective("DOWNLOAD", "|DOWNLOAD=1|DOWNLOAD_SWITCH=0"), "0 Computer");
    }

    #[test]
    fn a_global_never_does_not_hide_what_a_computer_has() {
        assert_eq!(effective("FREQUENCY", "FREQUENCY=-1|FREQUENCY=7|FREQUENCY=3"), "3 Computer");
        assert_eq!(effective("FREQUENCY", "FREQUENCY=0|FREQUENCY=2|"), "2 Group(0)");
    }

    #[test]
    fn a_value_out_of_bounds_gets_a_sentence() {
        let error = SettingKey::PeriodLength.parse_value("0").expect_err("no cycles");
        insta::assert_snapshot!(error, @r#"DOWNLOAD_PERIOD_LENGTH cannot be "0": cycles in a period; expected a whole number from 1 to 10000 (cycles)"#);
    }
}
