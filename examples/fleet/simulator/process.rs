//! What a server costs, as Linux counts it.

use std::fs;
use std::time::Duration;

/// What a process and its descendants have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// The largest resident size each ever had, added up. Processes that share memory count it more than once.
    pub(crate) peak_bytes: u64,
    pub(crate) processes: u32,
}

/// `None` if one of them is not there.
pub(crate) fn usage(pids: &[u32]) -> Option<Usage> {
    let mut all = Vec::new();
    for pid in pids {
        fs::metadata(format!("/proc/{pid}/stat")).ok()?;
        descend(*pid, &mut all);
    }
    let mut usage = Usage::default();
    for pid in all {
        // A child may have ended meanwhile; what it used is in its parent's account then.
        let Some(cpu) = cpu(pid) else { continue };
        usage.cpu += cpu;
        usage.peak_bytes += peak(pid).unwrap_or_default();
        usage.processes += 1;
    }
    Some(usage)
}

/// CPU time of this process, which has the machine in common with the server.
pub(crate) fn own_cpu() -> Duration {
    cpu(std::process::id()).unwrap_or_default()
}

fn descend(pid: u32, all: &mut Vec<u32>) {
    if all.contains(&pid) {
        return;
    }
    all.push(pid);
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
    for thread in threads.flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            descend(child, all);
        }
    }
}

/// User, system, and both of the children that have ended; in ticks, of which Linux tells programs 100 a second.
fn cpu(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
}

fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something_and_one_that_is_not_there_has_no_figures() {
        let mine = usage(&[std::process::id()]).expect("this one");
        assert!(mine.peak_bytes > 100_000 && mine.processes >= 1, "{mine:?}");
        assert!(usage(&[u32::MAX]).is_none());
    }
}
