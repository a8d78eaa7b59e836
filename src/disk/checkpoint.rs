//! Places where a crash test may end the process.

/// Passes a named place between two writes; see the module's list.
///
/// Ends the process, without a word and without running any destructor, if a crash test asked for this place.
#[inline]
pub fn checkpoint(name: &str) {
    #[cfg(debug_assertions)]
    plan::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod plan {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static PLAN: LazyLock<Plan> = LazyLock::new(Plan::from_environment);

    struct Plan {
        name: String,
        /// How often it is still passed before the end, this time included.
        left: AtomicU32,
        log: Option<PathBuf>,
    }

    impl Plan {
        #[expect(clippy::disallowed_methods, reason = "a switch of debug builds, so not a part of the configuration")]
        fn from_environment() -> Self {
            let wish = std::env::var("DRIPFEED_CHECKPOINT").unwrap_or_default();
            let log = std::env::var("DRIPFEED_CHECKPOINT_LOG").ok().map(PathBuf::from);
            // Names contain colons themselves: only a number behind the last one is a count.
            let counted = wish.rsplit_once(':').and_then(|(name, count)| Some((name, count.parse().ok()?)));
            let (name, count) = counted.unwrap_or((&wish, 1));
            Self { name: name.to_owned(), left: AtomicU32::new(count), log }
        }
    }

    pub(super) fn pass(name: &str) {
        if let Some(path) = &PLAN.log {
            let log = OpenOptions::new().append(true).create(true).open(path);
            log.and_then(|mut log| log.write_all(format!("{name}\n").as_bytes())).expect("the test's log is writable");
        }
        if PLAN.name == name && PLAN.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}
