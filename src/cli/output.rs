//! Where results and complaints go.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::{Done, terminal};
pub(crate) use crate::model::number_of as count;
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
        if self.is_terminal() {
            return self.line(escaped(&serde_json::to_string_pretty(value)?));
        }
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)?;
        Ok(())
    }

    /// Bytes as they are; on a terminal as text that does nothing to it.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Done {
        if self.is_terminal() {
            self.out.write_all(harmless(bytes).as_bytes())?;
        } else {
            self.out.write_all(bytes)?;
        }
        Ok(())
    }

    fn is_terminal(&self) -> bool {
        matches!(self.out, Sink::Own(_)) && io::stdout().is_terminal()
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

/// Could it move the cursor, or turn the rest of the line round?
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Text from a computer on a terminal: what could act on it is shown, not done.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if acts(c) { '\u{fffd}' } else { c }).collect()
}

/// A document from a computer on a terminal, with its lines and tabs.
fn harmless(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    text.chars().map(|c| if acts(c) && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// JSON on a terminal: the same document, with what could act on it as escapes. Outside of strings only line feeds do.
fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, c| {
        if acts(c) && c != '\n' {
            // All of them are below U+10000, and writing to a String does not fail.
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
        text
    })
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

#[cfg(test)]
mod tests {
    use super::{escaped, harmless};

    #[test]
    fn what_a_computer_says_does_nothing_to_a_terminal() {
        let said = "<NAME>\u{1b}[31m\u{9b}2J\u{7f}\u{202e}b\u{fc}ro</NAME>\r\n\t<X/>\n";
        assert_eq!(harmless(said.as_bytes()), "<NAME>\u{fffd}[31m\u{fffd}2J\u{fffd}\u{fffd}b\u{fc}ro</NAME>\n\t<X/>\n");
        assert_eq!(harmless(b"b\xfcro"), "b\u{fffd}ro");
        let json = serde_json::to_string_pretty(&[said]).expect("JSON");
        let shown = escaped(&json);
        assert!(shown.contains("\\u001b[31m\\u009b2J\\u007f\\u202eb\u{fc}ro"), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).expect("the same document"), [said]);
    }
}
