//! A line a package on a terminal: fragments, rate, what it waits for. Nothing anywhere else; there the log tells it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::engine::{Event, Stage, TaskInfo, TaskSeed};
use crate::model::{ByteSize, PackageId};

/// Shows what the driver tells it.
#[derive(Debug, Default)]
pub(crate) struct Progress(Option<RefCell<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    all: MultiProgress,
    packages: BTreeMap<PackageId, Line>,
    pause: Option<ProgressBar>,
}

#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    received: u64,
    since: Instant,
}

impl Progress {
    /// Silent.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// On standard error, if that is a terminal.
    pub(crate) fn on_terminal() -> Self {
        Self(std::io::stderr().is_terminal().then(RefCell::default))
    }

    /// Is anybody looking? Then pauses are counted down.
    pub(crate) fn is_live(&self) -> bool {
        self.0.is_some()
    }

    /// The work directory holds this package.
    pub(crate) fn found(&self, seed: &TaskSeed) {
        let Some(lines) = &self.0 else { return };
        let mut lines = lines.borrow_mut();
        match &seed.stage {
            Stage::NeedsInfo { .. } => lines.message(seed.package, "waits for its info file"),
            Stage::Fetching { info, missing, .. } => {
                let left = u64::try_from(missing.len()).unwrap_or(u64::MAX);
                lines.fragments(seed.package, *info);
                lines.line(seed.package).bar.set_position(u64::from(info.fragments.0).saturating_sub(left));
            }
            Stage::Done { code, .. } => lines.message(seed.package, &format!("{code}, to be reported")),
        }
    }

    /// Bytes of a fragment came.
    pub(crate) fn received(&self, package: PackageId, bytes: usize) {
        let Some(lines) = &self.0 else { return };
        let mut lines = lines.borrow_mut();
        let line = lines.line(package);
        if line.received == 0 {
            line.since = Instant::now();
        }
        line.received = line.received.saturating_add(u64::try_from(bytes).unwrap_or(0));
        let millis = u64::try_from(line.since.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = ByteSize(line.received.saturating_mul(1000) / millis);
        line.bar.set_message(format!("{rate}/s"));
    }

    /// The command runs.
    pub(crate) fn executing(&self, package: PackageId) {
        if let Some(lines) = &self.0 {
            lines.borrow_mut().message(package, "is executed …");
        }
    }

    /// An action was answered.
    pub(crate) fn happened(&self, event: &Event) {
        let Some(lines) = &self.0 else { return };
        let mut lines = lines.borrow_mut();
        match event {
            Event::Offered(_) | Event::Settings(_) | Event::ResultKept(_) | Event::Forgotten(_) => {}
            Event::InfoStored { package, info } => lines.fragments(*package, *info),
            Event::InfoFailed { package, .. } => lines.message(*package, "its info file did not come"),
            Event::FragmentStored { package, .. } => {
                let line = lines.line(*package);
                line.received = 0;
                line.bar.inc(1);
            }
            Event::FragmentFailed { package, number, .. } => {
                lines.message(*package, &format!("fragment {number} did not come, again later"));
            }
            Event::GaveUp { package, code, .. } | Event::Executed { package, code } => {
                lines.message(*package, code.as_str());
            }
            Event::Delayed(package) => lines.message(*package, "was put off"),
            Event::Unattended { package, .. } => lines.message(*package, "waits until somebody is there to be asked"),
            Event::FragmentsLost { package, missing } => {
                lines.message(*package, &format!("{} fragments to be fetched again", missing.len()));
            }
            Event::ReportTaken(package) => {
                let bar = &lines.line(*package).bar;
                bar.finish_with_message(format!("{}, reported", bar.message()));
            }
            Event::ReportRefused(package) => lines.message(*package, "result kept, the server did not take it"),
        }
    }

    /// Nothing happens for that long.
    pub(crate) fn pause(&self, left: Duration) {
        let Some(lines) = &self.0 else { return };
        let mut lines = lines.borrow_mut();
        if left.is_zero() {
            if let Some(bar) = lines.pause.take() {
                bar.finish_and_clear();
            }
            return;
        }
        if lines.pause.is_none() {
            let bar = lines.all.add(ProgressBar::no_length());
            bar.set_style(ProgressStyle::with_template("  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
            lines.pause = Some(bar);
        }
        if let Some(bar) = &lines.pause {
            bar.set_message(format!("next step in {}", spelled(left)));
        }
    }

    /// Leaves the lines as they stand.
    pub(crate) fn finish(&self) {
        if let Some(lines) = &self.0 {
            let lines = lines.borrow();
            for line in lines.packages.values() {
                line.bar.abandon();
            }
            // The last line is left open; what is written next shall not go on with it.
            if !lines.packages.is_empty() && !lines.all.is_hidden() {
                let _ = writeln!(std::io::stderr());
            }
        }
    }
}

impl Lines {
    fn line(&mut self, package: PackageId) -> &mut Line {
        self.packages.entry(package).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(0));
            let template = "{prefix:>10} [{bar:24}] {pos}/{len} fragments  {wide_msg}";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(package.to_string());
            Line { bar, received: 0, since: Instant::now() }
        })
    }

    fn fragments(&mut self, package: PackageId, info: TaskInfo) {
        let line = self.line(package);
        line.bar.set_length(u64::from(info.fragments.0));
        line.bar.set_message(format!("priority {}", info.priority));
    }

    fn message(&mut self, package: PackageId, message: &str) {
        self.line(package).bar.set_message(message.to_owned());
    }
}

/// `1 h 5 min`, `42 s`.
pub(crate) fn spelled(span: Duration) -> String {
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefMut;

    use super::*;
    use crate::model::{FragmentCount, FragmentNumber, Priority, ResultCode};

    impl Progress {
        fn lines(&self) -> RefMut<'_, Lines> {
            self.0.as_ref().expect("it is live").borrow_mut()
        }
    }

    #[test]
    fn spans_are_spelled_in_two_units_at_most() {
        let spans = [0, 1, 59, 60, 3599, 3600, 86_399, 90_000].map(|seconds| spelled(Duration::from_secs(seconds)));
        insta::assert_snapshot!(spans.join(", "), @"0 s, 1 s, 59 s, 1 min 0 s, 59 min 59 s, 1 h 0 min, 23 h 59 min, 1 d 1 h");
    }

    #[test]
    fn a_packages_line_goes_its_whole_way() {
        // Drawn nowhere: standard error of a test is no terminal, or is hidden by it.
        let progress = Progress(Some(RefCell::default()));
        progress.lines().all.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        let package = PackageId::new(7).expect("an id");
        let number = FragmentNumber::FIRST;
        let info = TaskInfo { priority: Priority::DEFAULT, fragments: FragmentCount(2), not_before: None };
        let seen = |step: &str| {
            let mut lines = progress.lines();
            let bar = &lines.line(package).bar;
            format!("{step}: {}/{} {}", bar.position(), bar.length().unwrap_or(0), bar.message())
        };
        let task = |stage| TaskSeed { package, since: crate::model::UnixTime::default(), stage };
        let mut told = Vec::new();
        progress.found(&task(Stage::NeedsInfo { failed_contacts: 0 }));
        told.push(seen("found"));
        progress.happened(&Event::InfoStored { package, info });
        told.push(seen("info"));
        progress.pause(Duration::from_secs(5));
        progress.pause(Duration::ZERO);
        progress.received(package, 0);
        progress.happened(&Event::FragmentFailed { package, number, failure: crate::engine::Failure::Transient });
        told.push(seen("failed"));
        progress.happened(&Event::FragmentStored { package, number });
        progress.happened(&Event::FragmentStored { package, number: number.next() });
        progress.executing(package);
        told.push(seen("executing"));
        progress.happened(&Event::Executed { package, code: ResultCode::success() });
        progress.happened(&Event::ReportTaken(package));
        told.push(seen("reported"));
        progress.finish();
        insta::assert_snapshot!(told.join("\n"), @r"
        found: 0/0 waits for its info file
        info: 0/2 priority 5
        failed: 0/2 fragment 1 did not come, again later
        executing: 2/2 is executed …
        reported: 2/2 SUCCESS, reported
        ");
    }

    #[test]
    fn without_a_terminal_nothing_is_shown() {
        let progress = Progress::none();
        progress.pause(Duration::from_secs(5));
        progress.received(PackageId::new(7).expect("an id"), 10);
        assert!(!progress.is_live());
    }
}
