//! How long a package takes, by the engine's own arithmetic.

use std::time::Duration;

use super::period::length;
use super::{Action, Engine, Event, Stage, TaskInfo, TaskSeed};
use crate::model::settings::DownloadSettings;
use crate::model::{Days, FragmentCount, PackageId, Priority, UnixTime};

/// Why a package can never be executed at that pace.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PaceError {
    /// The priority is larger than the number of cycles.
    #[error(
        "priority {priority} never has a turn in periods of {period_length} cycles: raise DOWNLOAD_PERIOD_LENGTH to \
         {priority} or more, or build with a priority of {period_length} or less"
    )]
    NeverDue {
        /// Of the package.
        priority: Priority,
        /// `DOWNLOAD_PERIOD_LENGTH`.
        period_length: u32,
    },
    /// It would be given up before its last fragment came.
    #[error(
        "{fragments} fragments at priority {priority} need {} ({} turns, {turns} in each period of {period_length} \
         cycles, and such a period takes {}), more than DOWNLOAD_TIMEOUT allows ({}): use larger \
         fragments{}, or raise DOWNLOAD_TIMEOUT",
        spell(*.needed), u64::from(.fragments.0) + 1, spell(*.period), spell(.timeout.span()),
        if .priority.number() > 1 { ", a smaller priority" } else { "" }
    )]
    TooLong {
        /// Of the package.
        fragments: FragmentCount,
        /// Of the package.
        priority: Priority,
        /// From the contact to the execution, if nothing fails and no other package is there.
        needed: Duration,
        /// Turns that the package has in a period.
        turns: u32,
        /// `DOWNLOAD_PERIOD_LENGTH`.
        period_length: u32,
        /// How long a period takes with these turns.
        period: Duration,
        /// `DOWNLOAD_TIMEOUT`.
        timeout: Days,
    },
}

/// How long a package alone takes from the contact that offers it to its execution: pauses only, as if transfers took no
/// time and nothing failed. `None` if its priority is larger than the period is long, so that it never has a turn.
///
/// A real engine is run for it, whatever `settings.on` says; the time-out is not applied and a schedule is left out.
pub fn estimate(settings: &DownloadSettings, info: TaskInfo) -> Option<Duration> {
    let package = PackageId::new(1)?;
    let start = UnixTime::from_millis(0);
    let mut now = start;
    let settings = DownloadSettings { on: true, timeout: Days(u32::MAX), ..*settings };
    let stage = Stage::Fetching {
        info: TaskInfo { not_before: None, ..info },
        missing: info.fragments.numbers().collect(),
        in_vain: false,
    };
    let mut engine = Engine::new(settings, vec![TaskSeed { package, since: start, stage }], start);
    if engine.is_idle() {
        return None;
    }
    loop {
        match engine.poll_action() {
            Some(Action::FetchFragment { package, number }) => {
                engine.handle_event(now, Event::FragmentStored { package, number });
            }
            Some(Action::Execute(_)) => return Some(now.since(start)),
            Some(_) => return None,
            None => {
                now = engine.poll_timeout()?;
                engine.handle_timeout(now);
            }
        }
    }
}

/// Refuses a pace at which a package can never be executed: priority larger than the period is long, or longer than the
/// time-out even if nothing fails. Otherwise tells how long it takes at least.
///
/// ```
/// # use dripfeed::engine::check_pace;
/// # use dripfeed::model::{FragmentCount, Priority, settings::DownloadSettings};
/// let settings = DownloadSettings::default();
/// assert_eq!(check_pace(&settings, Priority::DEFAULT, FragmentCount(3)).unwrap().as_secs(), 1170);
/// assert!(check_pace(&settings, Priority::DEFAULT, FragmentCount(20_000)).is_err());
/// ```
pub fn check_pace(
    settings: &DownloadSettings,
    priority: Priority,
    fragments: FragmentCount,
) -> Result<Duration, PaceError> {
    let period_length = length(settings);
    let turns = priority.turns_in(period_length);
    let info = TaskInfo { priority, fragments, not_before: None };
    let Some(needed) = estimate(settings, info) else {
        return Err(PaceError::NeverDue { priority, period_length });
    };
    if needed <= settings.timeout.span() {
        return Ok(needed);
    }
    let product = |times: u32, seconds: u32| u64::from(times).saturating_mul(seconds.into());
    let seconds = product(period_length, settings.cycle_latency)
        .saturating_add(product(turns, settings.fragment_latency))
        .saturating_add(settings.period_latency.into());
    let period = Duration::from_secs(seconds);
    Err(PaceError::TooLong { fragments, priority, needed, turns, period_length, period, timeout: settings.timeout })
}

/// The two largest units that matter: `42 s`, `10 min 20 s`, `3 h 5 min`, `17.9 days`.
fn spell(span: Duration) -> String {
    let seconds = span.as_secs();
    let pair = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        small => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..172_800 => pair(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        // Rounded up: what is more than 30 days must not read "30 days".
        _ => match seconds.div_ceil(8640) {
            tenths if tenths % 10 == 0 => format!("{} days", tenths / 10),
            tenths => format!("{}.{} days", tenths / 10, tenths % 10),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(settings: &DownloadSettings, priority: u32, fragments: u32) -> String {
        match check_pace(settings, Priority::from_number(priority), FragmentCount(fragments)) {
            Ok(needed) => spell(needed),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_pace_that_can_never_finish_is_told_with_the_arithmetic() {
        let default = DownloadSettings::default();
        let short = DownloadSettings { period_length: 5, timeout: Days(1), ..default };
        insta::assert_snapshot!(verdict(&short, 8, 1), @"priority 8 never has a turn in periods of 5 cycles: raise DOWNLOAD_PERIOD_LENGTH to 8 or more, or build with a priority of 5 or less");
        insta::assert_snapshot!(verdict(&default, 5, 12_000), @"12000 fragments at priority 5 need 43.1 days (12001 turns, 2 in each period of 10 cycles, and such a period takes 10 min 20 s), more than DOWNLOAD_TIMEOUT allows (30 days): use larger fragments, a smaller priority, or raise DOWNLOAD_TIMEOUT");
        insta::assert_snapshot!(verdict(&short, 1, 20_000), @"20000 fragments at priority 1 need 16.3 days (20001 turns, 5 in each period of 5 cycles, and such a period takes 5 min 50 s), more than DOWNLOAD_TIMEOUT allows (24 h): use larger fragments, or raise DOWNLOAD_TIMEOUT");
        insta::assert_snapshot!(verdict(&default, 5, 3), @"19 min 30 s");
    }

    #[test]
    fn a_command_without_files_needs_one_turn() {
        assert_eq!(verdict(&DownloadSettings::default(), 0, 0), "0 s");
        assert_eq!(verdict(&DownloadSettings::default(), 1, 0), "0 s");
        assert_eq!(verdict(&DownloadSettings::default(), 10, 0), "9 min");
    }

    #[test]
    fn the_time_out_itself_is_still_in_time() {
        let settings = DownloadSettings {
            fragment_latency: 0,
            cycle_latency: 86_400,
            period_length: 10,
            timeout: Days(1),
            ..DownloadSettings::default()
        };
        assert_eq!(verdict(&settings, 1, 1), "24 h");
        assert!(verdict(&settings, 1, 2).contains("more than DOWNLOAD_TIMEOUT"));
    }

    #[test]
    fn a_hundred_thousand_fragments_are_estimated_in_no_time() {
        let settings = DownloadSettings { timeout: Days(3650), ..DownloadSettings::default() };
        assert_eq!(verdict(&settings, 0, 100_000), "81.1 days");
    }

    #[test]
    fn deployment_switched_off_does_not_hide_the_estimate() {
        let settings = DownloadSettings { on: false, ..DownloadSettings::default() };
        assert_eq!(verdict(&settings, 5, 3), "19 min 30 s");
    }
}
