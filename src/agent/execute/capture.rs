//! What a command printed, bounded: its beginning says what it is, its end says why it failed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::disk;

/// Bytes kept of the beginning, and of the end.
const KEPT: usize = 64 << 10;

/// The first and the last 64 KiB of an output of any length.
#[derive(Debug, Default)]
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Capture {
    /// Takes more output.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(KEPT - self.head.len()));
        self.head.extend_from_slice(first);
        // More at once than is kept at all: only its end counts.
        let skipped = rest.len().saturating_sub(KEPT);
        let rest = &rest[skipped..];
        let surplus = (self.tail.len() + rest.len()).saturating_sub(KEPT);
        self.tail.drain(..surplus);
        self.tail.extend(rest);
        self.left_out += (skipped + surplus) as u64;
    }

    /// Writes what was kept, with a line where something was left out.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        disk::claim_room()?;
        let mut file = File::create(path)?;
        disk::checkpoint("agent.output.created");
        self.write_to(&mut file)?;
        disk::checkpoint("agent.output.written");
        Ok(())
    }

    fn write_to(&self, output: &mut impl Write) -> io::Result<()> {
        output.write_all(&self.head)?;
        if self.left_out > 0 {
            write!(output, "\n[… {} bytes left out …]\n", self.left_out)?;
        }
        let (front, back) = self.tail.as_slices();
        output.write_all(front)?;
        output.write_all(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[&[u8]]) -> Vec<u8> {
        let mut capture = Capture::default();
        for piece in pieces {
            capture.push(piece);
        }
        let mut output = Vec::new();
        capture.write_to(&mut output).expect("a vector takes everything");
        output
    }

    #[test]
    fn up_to_twice_the_bound_nothing_is_left_out() {
        let bytes: Vec<u8> = (0..2 * KEPT).map(|n| u8::try_from(n % 251).expect("small")).collect();
        assert_eq!(kept(&[&bytes]), bytes);
        assert_eq!(kept(&bytes.chunks(777).collect::<Vec<_>>()), bytes);
        assert_eq!(kept(&[]), b"");
    }

    #[test]
    fn of_more_the_beginning_and_the_end_are_kept() {
        for chunk in [1000, KEPT, 5 * KEPT] {
            let bytes: Vec<u8> = (0..5 * KEPT).map(|n| u8::try_from(n % 251).expect("small")).collect();
            let output = kept(&bytes.chunks(chunk).collect::<Vec<_>>());
            assert!(output.starts_with(&bytes[..KEPT]), "chunks of {chunk}");
            assert!(output.ends_with(&bytes[4 * KEPT..]), "chunks of {chunk}");
            let middle = String::from_utf8_lossy(&output[KEPT..output.len() - KEPT]).into_owned();
            assert_eq!(middle, format!("\n[… {} bytes left out …]\n", 3 * KEPT), "chunks of {chunk}");
        }
    }
}
