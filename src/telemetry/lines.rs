//! Standard error, to which a thread that has much to say writes many lines at a time.
//!
//! A line of the access log is due for each request, and to hand it to the kernel costs as much as a good part of the answer. So
//! a thread that tells us before it waits ([`before_waiting`]) keeps such lines until then: a server that is not busy waits after
//! each answer, and a busy one after a dozen. Every other line goes out at once, and takes with it what the same
//! thread had kept, so that a thread's lines stand in the order of what happened.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// Events that say this are lines of the access log.
pub const ACCESS: &str = "dripfeed::access";

/// Bytes that a thread keeps at most.
const KEPT: usize = 16 << 10;

/// A thread's lines that wait to be written.
struct Kept {
    text: Vec<u8>,
    /// Will this thread call [`before_waiting`]?
    is_announced: bool,
    to: fn(&[u8]),
    /// The last second that a line was written in, and its text.
    second: (i64, String),
}

impl Kept {
    /// The present, as the subscriber writes it: `2026-11-21T18:22:33.012345Z`. Its seconds are put together once.
    #[expect(clippy::disallowed_methods, reason = "nothing depends on what a line says about the time")]
    fn stamp(&mut self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        if self.second.0 != second {
            self.second = (second, Timestamp::from_second(second).unwrap_or_default().to_string());
        }
        self.text.extend_from_slice(self.second.1.trim_end_matches('Z').as_bytes());
        self.text.push(b'.');
        let micros = since.subsec_micros();
        self.text
            .extend([100_000, 10_000, 1000, 100, 10, 1].map(|place| b"0123456789"[(micros / place % 10) as usize]));
        self.text.push(b'Z');
    }

    fn write_out(&mut self) {
        if !self.text.is_empty() {
            (self.to)(&self.text);
            self.text.clear();
        }
    }

    fn ended_line(&mut self) {
        if !self.is_announced || self.text.len() >= KEPT {
            self.write_out();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.write_out();
    }
}

thread_local! {
    static LINES: RefCell<Kept> = const { RefCell::new(Kept { text: Vec::new(), is_announced: false, to: standard_error, second: (-1, String::new()) }) };
}

/// Whoever reads our standard error may be gone: there is nobody left to tell.
fn standard_error(text: &[u8]) {
    let _ = io::stderr().lock().write_all(text);
}

/// Does it with this thread's lines; `None` at the thread's very end, and within itself.
fn with_lines<T>(work: impl FnOnce(&mut Kept) -> T) -> Option<T> {
    LINES.try_with(|lines| lines.try_borrow_mut().ok().map(|mut lines| work(&mut lines))).ok().flatten()
}

/// Writes what this thread has kept. To be called by it each time before it waits for something to do; from the first call on,
/// lines of the access log are kept for the next.
pub fn before_waiting() {
    with_lines(|lines| {
        lines.is_announced = true;
        lines.write_out();
    });
}

/// A line of the access log as the subscriber would write it in plain text, for less: without fields, which have been put
/// into the text. The text has no control characters; its caller has seen to that.
pub fn access(text: fmt::Arguments<'_>) {
    with_lines(|lines| {
        lines.stamp();
        // It does not fail: it is memory.
        let _ = writeln!(lines.text, "  INFO {text}");
        lines.ended_line();
    });
}

/// Where the subscriber's lines go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines;

/// One line on its way, which the subscriber writes in one piece.
#[derive(Clone, Copy, Debug)]
pub(super) enum Line {
    AtOnce,
    Kept,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line::AtOnce
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        if meta.target() == ACCESS { Line::Kept } else { Line::AtOnce }
    }
}

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let taken = with_lines(|lines| {
            lines.text.extend_from_slice(line);
            match self {
                Self::AtOnce => lines.write_out(),
                Self::Kept => lines.ended_line(),
            }
        });
        if taken.is_none() {
            standard_error(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    thread_local! {
        /// What came out in this thread, a piece for each write.
        static OUT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn capture() {
        with_lines(|lines| {
            // At the thread's end it may be gone before the lines are.
            lines.to = |text| {
                let _ = OUT.try_with(|out| out.borrow_mut().push(String::from_utf8_lossy(text).into_owned()));
            };
        });
    }

    /// The pieces since the last call, without the time.
    fn out() -> Vec<Vec<String>> {
        let pieces = OUT.take();
        let line = |line: &str| line.split_once("Z ").map_or(line, |(_, said)| said).trim_start().to_owned();
        pieces.iter().map(|piece| piece.lines().map(line).collect()).collect()
    }

    #[test]
    fn lines_are_kept_until_the_thread_waits_and_no_longer() {
        capture();
        access(format_args!("before the thread has announced itself"));
        assert_eq!(out(), [["INFO before the thread has announced itself"]]);
        before_waiting();
        access(format_args!("one"));
        access(format_args!("two"));
        assert!(out().is_empty());
        before_waiting();
        assert_eq!(out(), [["INFO one", "INFO two"]]);
        before_waiting();
        assert!(out().is_empty(), "nothing is written twice");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        capture();
        before_waiting();
        let long = "x".repeat(1000);
        for _ in 0..17 {
            access(format_args!("{long}"));
        }
        assert_eq!(out().iter().map(Vec::len).collect::<Vec<_>>(), [16]);
    }

    #[test]
    fn any_other_line_goes_out_at_once_behind_what_was_kept() {
        capture();
        before_waiting();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_target(false).with_writer(Lines).finish();
        tracing::subscriber::with_default(subscriber, || {
            access(format_args!("first"));
            tracing::info!(target: ACCESS, "second");
            assert!(out().is_empty());
            tracing::warn!("third");
            assert_eq!(out(), [["INFO first", "INFO second", "WARN third"]]);
        });
    }

    #[test]
    fn a_thread_that_ends_leaves_nothing_unwritten() {
        static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
        let thread = std::thread::spawn(|| {
            with_lines(|lines| lines.to = |text| WRITTEN.lock().expect("sound").extend_from_slice(text));
            before_waiting();
            access(format_args!("the last"));
        });
        thread.join().expect("it ends in order");
        let written = WRITTEN.lock().expect("sound").clone();
        assert!(String::from_utf8(written).expect("text").ends_with("Z  INFO the last\n"));
    }

    #[test]
    fn a_line_looks_as_the_subscribers_do() {
        capture();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_target(false).with_writer(Lines).finish();
        tracing::subscriber::with_default(subscriber, || tracing::info!(target: ACCESS, "GET / 200"));
        access(format_args!("GET / 200"));
        let lines = OUT.take();
        let times: Vec<Timestamp> = lines.iter().map(|line| line[..27].parse().expect("a moment")).collect();
        assert!(times[0] <= times[1] && times[1].duration_since(times[0]).as_secs() < 60, "{times:?}");
        let shapes: Vec<String> = lines.iter().map(|line| line.replace(|c: char| c.is_ascii_digit(), "0")).collect();
        assert_eq!(shapes[0], shapes[1]);
        assert_eq!(shapes[0], "0000-00-00T00:00:00.000000Z  INFO GET / 000\n");
    }
}
