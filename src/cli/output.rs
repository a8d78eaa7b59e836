//! Where results and complaints go.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::{Done, terminal};
use crate::server::verbs::{Message, Tone};

/// Bytes of results that are kept for somebody elsewhere.
const KEPT: usize = 64 << 20;

/// Standard output, buffered, so that a list of 100,000 lines is not 100,000 system calls.
pub(crate) struct Output {
    out: Sink,
    /// What each line begins with.
    indent: &'static str,
}

/// Where results go.
enum Sink {
    /// To this process's standard output.
    Own(io::BufWriter<io::Stdout>),
    /// To somebody elsewhere, once it is done.
    Kept(Vec<u8>),
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Own(out) => out.write(bytes),
            Self::Kept(kept) if kept.len() + bytes.len() > KEPT => Err(io::Error::other(
                "there are more than 64 MiB of it: ask for less, by the pages of the API, or on the server itself",
            )),
            Self::Kept(kept) => kept.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Own(out) => out.flush(),
            Self::Kept(_) => Ok(()),
        }
    }
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { out: Sink::Own(io::BufWriter::new(io::stdout())), indent: "" }
    }

    /// One that keeps everything, for somebody elsewhere.
    pub(crate) fn keeping() -> Self {
        Self { out: Sink::Kept(Vec::new()), indent: "" }
    }

    /// What was kept.
    pub(crate) fn kept(self) -> String {
        match self.out {
            Sink::Own(_) => String::new(),
            Sink::Kept(kept) => String::from_utf8_lossy(&kept).into_owned(),
        }
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
    tell(Tone::Error, &text);
}

/// Says what the administrator should know though it is no error.
pub(crate) fn warn(text: impl Display) {
    tell(Tone::Warning, &text.to_string());
}

/// What was said elsewhere, said here.
pub(crate) fn repeat(message: &Message) {
    tell(message.tone, &message.text);
}

fn tell(tone: Tone, text: &str) {
    if terminal::keep(tone, text) {
        return;
    }
    let word = match tone {
        Tone::Error => ("\x1b[1;31m", "error:"),
        Tone::Warning => ("\x1b[1;33m", "warning:"),
        Tone::Note => {
            let _ = writeln!(io::stderr(), "{}", shown(text));
            return;
        }
    };
    let (colour, plain) = if io::stderr().is_terminal() { (word.0, "\x1b[0m") } else { ("", "") };
    let _ = writeln!(io::stderr(), "{colour}{}{plain} {}", word.1, shown(text));
}

/// Computers' names and archives' paths are in such sentences, too.
fn shown(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
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
    tell(Tone::Note, &text.to_string());
}
