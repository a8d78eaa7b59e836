//! Where a crash test ends the process.
//!
//! `DRIPFEED_CHECKPOINT=name` aborts at the first pass of the checkpoint of that name, `name:3` at the third.
//! `DRIPFEED_CHECKPOINT_LOG=file` appends each name as it is passed, so that a test can enumerate them. Only in builds
//! with debug assertions; elsewhere this is nothing.

/// A boundary between two writes, by name.
#[cfg(not(debug_assertions))]
#[inline]
pub fn checkpoint(_name: &str) {}

/// A boundary between two writes, by name.
#[cfg(debug_assertions)]
pub fn checkpoint(name: &str) {
    testing::pass(name);
}

#[cfg(debug_assertions)]
mod testing {
    use std::collections::HashMap;
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::sync::{LazyLock, Mutex, PoisonError};

    struct Plan {
        end_at: Option<(String, u32)>,
        log: Option<String>,
        passed: Mutex<HashMap<String, u32>>,
    }

    #[expect(clippy::disallowed_methods, reason = "a test talks to its child through the environment")]
    static PLAN: LazyLock<Plan> = LazyLock::new(|| {
        let end_at = std::env::var("DRIPFEED_CHECKPOINT").ok().map(|text| match text.rsplit_once(':') {
            Some((name, count)) if count.parse::<u32>().is_ok() => (name.to_owned(), count.parse().unwrap_or(1)),
            _ => (text, 1),
        });
        let log = std::env::var("DRIPFEED_CHECKPOINT_LOG").ok();
        Plan { end_at, log, passed: Mutex::default() }
    });

    pub(super) fn pass(name: &str) {
        let plan = &*PLAN;
        if plan.end_at.is_none() && plan.log.is_none() {
            return;
        }
        let mut passed = plan.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passed.entry(name.to_owned()).or_default();
        *count += 1;
        if let Some(log) = &plan.log
            && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(log)
        {
            let _ = writeln!(file, "{name}:{count}");
        }
        if plan.end_at.as_ref().is_some_and(|(at, nth)| at == name && nth == count) {
            std::process::abort();
        }
    }
}
