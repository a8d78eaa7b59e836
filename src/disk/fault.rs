//! Disks that fail because a test wants it.

use std::io;
use std::path::Path;

/// Passes a change that needs room: a file, a directory, a name, more bytes.
///
/// Fails, as on a full disk, if a test asked for that; see the room's page.
#[inline]
pub fn claim_room() -> io::Result<()> {
    #[cfg(debug_assertions)]
    plan::claim_room()?;
    Ok(())
}

/// Passes the removal of something that is there.
#[inline]
pub(super) fn let_go(path: &Path) -> io::Result<()> {
    #[cfg(debug_assertions)]
    plan::let_go(path)?;
    #[cfg(not(debug_assertions))]
    let _ = path;
    Ok(())
}

#[cfg(debug_assertions)]
mod plan {
    use std::fs::OpenOptions;
    use std::io::{self, Write};
    use std::ops::RangeInclusive;
    use std::path::{Path, PathBuf};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static PLAN: LazyLock<Plan> = LazyLock::new(Plan::from_environment);

    struct Plan {
        /// The changes that fail, from the first one on counted from 1.
        full: RangeInclusive<u32>,
        changes: AtomicU32,
        log: Option<PathBuf>,
        stuck: Option<String>,
    }

    impl Plan {
        #[expect(clippy::disallowed_methods, reason = "switches of debug builds, so not a part of the configuration")]
        fn from_environment() -> Self {
            let wish = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
            Self {
                full: wish("DRIPFEED_DISK_FULL").and_then(|text| range(&text)).unwrap_or(RangeInclusive::new(1, 0)),
                changes: AtomicU32::new(0),
                log: wish("DRIPFEED_DISK_LOG").map(PathBuf::from),
                stuck: wish("DRIPFEED_DISK_STUCK"),
            }
        }
    }

    pub(super) fn claim_room() -> io::Result<()> {
        let change = PLAN.changes.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(path) = &PLAN.log {
            let log = OpenOptions::new().append(true).create(true).open(path);
            log.and_then(|mut log| writeln!(log, "{change}")).expect("the test's log is writable");
        }
        if PLAN.full.contains(&change) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// `3-5`, or `3` for that one and all that follow.
    fn range(text: &str) -> Option<RangeInclusive<u32>> {
        match text.split_once('-') {
            Some((first, last)) => Some(first.parse().ok()?..=last.parse().ok()?),
            None => Some(text.parse().ok()?..=u32::MAX),
        }
    }

    pub(super) fn let_go(path: &Path) -> io::Result<()> {
        let is_stuck = PLAN.stuck.as_ref().is_some_and(|stuck| path.to_string_lossy().ends_with(stuck));
        if is_stuck { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}
