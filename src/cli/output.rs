//! Where results and complaints go.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::Done;

/// Standard output, buffered, so that a list of 100,000 lines is not 100,000 system calls.
pub(crate) struct Output {
    out: io::BufWriter<io::Stdout>,
    /// What each line begins with.
    indent: &'static str,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { out: io::BufWriter::new(io::stdout()), indent: "" }
    }

    /// Begins each line from now on with this: a verb that speaks inside another one's story.
    pub(crate) fn indent(&mut self, with: &'static str) {
        self.indent = with;
    }

    /// One line.
    pub(crate) fn line(&mut self, text: impl Display) -> Done {
        writeln!(self.out, "{}{text}", self.indent)?;
        Ok(())
    }

    /// One document.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Done {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)?;
        Ok(())
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Done {
        self.out.write_all(bytes)?;
        Ok(())
    }

    /// A table: columns as wide as their widest cell, the last one as it comes.
    pub(crate) fn table<const N: usize>(&mut self, head: [&str; N], rows: &[[String; N]]) -> Done {
        let mut widths = head.map(|cell| cell.chars().count());
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut write = |cells: [&str; N]| -> Done {
            let mut line = String::new();
            for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
                line.push_str(cell);
                if at + 1 < N {
                    line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
                }
            }
            self.line(line.trim_end())
        };
        write(head)?;
        rows.iter().try_for_each(|row| write(row.each_ref().map(String::as_str)))
    }

    pub(crate) fn flush(&mut self) -> Done {
        self.out.flush()?;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Done {
        self.flush()
    }
}

/// Text from a computer on a terminal: what could move the cursor, or turn the rest of the line round, is shown, not done.
pub(crate) fn printable(text: &str) -> String {
    let acts = |c: char| {
        c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    text.chars().map(|c| if acts(c) { '\u{fffd}' } else { c }).collect()
}

/// A number of things: `1 package`, `2 packages`.
pub(crate) fn count(number: impl TryInto<u64>, thing: &str) -> String {
    match number.try_into() {
        Ok(1) => format!("1 {thing}"),
        Ok(number) => format!("{number} {thing}s"),
        Err(_) => format!("many {thing}s"),
    }
}

/// Says what went wrong, once, with its causes.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    let (red, plain) = if io::stderr().is_terminal() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    // Computers' names and archives' paths are in such sentences, too.
    let text: Vec<String> = text.lines().map(printable).collect();
    let _ = writeln!(io::stderr(), "{red}error:{plain} {}", text.join("\n"));
}

/// Says what the administrator should know though it is no error.
pub(crate) fn warn(text: impl Display) {
    let (yellow, plain) = if io::stderr().is_terminal() { ("\x1b[1;33m", "\x1b[0m") } else { ("", "") };
    let _ = writeln!(io::stderr(), "{yellow}warning:{plain} {}", printable(&text.to_string()));
}

/// Whoever reads us has read enough (`dripfeed status | head`): that is no failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// Says something that is neither result nor warning: what to do next.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
