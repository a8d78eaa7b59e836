//! Reading a tar.gz: ustar, GNU tar, pax and the old format without a name.
//!
//! ```text
//! gzip( [x: pax records] [L: long name] [K: long target] header(512) content padding … 512 zeros, 512 zeros, zeros )
//! ```
//!
//! Extended records may add to a header but not contradict each other; sparse files, several volumes, global names and
//! whatever tar does not define are refused. Both blocks of zeros must be there: without them, an archive that was cut
//! between two entries would look whole.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use tar::Header;

use super::ArchiveError;
use super::path::{Rules, printable};
use super::walk::{Found, Walk, explain};
use crate::model::ByteSize;

const BLOCK: usize = 512;

/// Bytes of one extended record: names and times, no content.
const RECORD: u64 = 1 << 20;

/// From here on a header's octal digits do not hold a size any more.
const OCTAL_END: u64 = 1 << 33;

pub(super) fn walk(archive: impl Read, walk: &mut Walk<'_>) -> Result<(), ArchiveError> {
    let inflated = MultiGzDecoder::new(BufReader::with_capacity(64 << 10, archive));
    let counted = Counted { inner: inflated, rules: walk.rules, read: 0, most: walk.most };
    let mut stream = BufReader::with_capacity(64 << 10, counted);
    let mut extended = Extended::default();
    loop {
        let block = read_block(&mut stream, walk)?;
        if block.iter().all(|byte| *byte == 0) {
            if extended.any() {
                return Err(ArchiveError::Damaged("an extended record belongs to no entry".to_owned()));
            }
            return end(&mut stream, walk);
        }
        let header = Header::from_byte_slice(&block);
        let name = header.path_bytes();
        if let Err(error) = check(header, &name) {
            let first = walk.shown() == 0 && !extended.any() && block[257..262] != *b"ustar";
            return Err(if first {
                ArchiveError::Damaged("what is compressed in it is not a tar".to_owned())
            } else {
                error
            });
        }
        let size = number(&header.as_old().size).ok_or_else(|| damaged("size", &name))?;
        match block[156] {
            kind @ (b'x' | b'g' | b'L' | b'K') => {
                let record = read_record(&mut stream, size, &name)?;
                match kind {
                    b'x' => extended.pax(&record, &name)?,
                    b'g' => Extended::default().global(&record, &name)?,
                    b'L' => set(&mut extended.long_name, long(record, &name)?, &name)?,
                    _ => set(&mut extended.long_target, long(record, &name)?, &name)?,
                }
            }
            kind => {
                let extended = std::mem::take(&mut extended);
                let target = header.link_name_bytes().unwrap_or_default();
                let name = extended.name(&name)?;
                let target = extended.target(&target, name)?;
                let size = extended.size(size, name)?;
                let mode = number(&header.as_old().mode).ok_or_else(|| damaged("mode", name))?;
                entry(&mut stream, kind, name, target, u32::try_from(mode & 0o7777).unwrap_or_default(), size, walk)?;
            }
        }
    }
}

fn entry<R: BufRead>(
    stream: &mut R,
    kind: u8,
    name: &[u8],
    target: &[u8],
    mode: u32,
    size: u64,
    walk: &mut Walk<'_>,
) -> Result<(), ArchiveError> {
    let refuse = |kind| Err(ArchiveError::Kind { entry: printable(name), kind });
    let ambiguous = |problem| Err(ArchiveError::Ambiguous { entry: printable(name), problem });
    let directory_name = name.ends_with(b"/") || name.ends_with(b"/.");
    let found = match kind {
        // The old format knows no directories but by their slash.
        0 if directory_name => Found::Directory { mode },
        b'0' if directory_name => return ambiguous("it is a file by its type and a directory by its name"),
        0 | b'0' => Found::File { mode, size },
        b'1' => Found::HardLink { target },
        b'2' => Found::Link { target },
        b'5' => Found::Directory { mode },
        b'3' => return refuse("a character device"),
        b'4' => return refuse("a block device"),
        b'6' => return refuse("a fifo"),
        b'S' => return refuse("a sparse file (build the archive without --sparse)"),
        b'M' | b'V' | b'D' | b'N' => return refuse("a record of multi-volume or incremental backups"),
        _ => return refuse("of a kind that not every tar knows"),
    };
    if !matches!(found, Found::File { .. }) && size > 0 {
        return ambiguous("it is not a file, but has content");
    }
    walk.entry(name, &found, (&mut *stream).take(size))?;
    let padding = size.next_multiple_of(BLOCK as u64) - size;
    let skipped = io::copy(&mut stream.take(padding), &mut io::sink());
    match skipped.map_err(|error| explain(error, "after the last entry"))? {
        count if count == padding => Ok(()),
        _ => Err(ArchiveError::Truncated(format!("it ends inside \"{}\"", printable(name)))),
    }
}

/// The second block of zeros, and nothing but zeros after it.
fn end<R: BufRead>(stream: &mut R, walk: &Walk<'_>) -> Result<(), ArchiveError> {
    let second = read_block(stream, walk)?;
    if second.iter().any(|byte| *byte != 0) {
        return Err(ArchiveError::Damaged("something follows a block of zeros, which ends a tar".to_owned()));
    }
    loop {
        let bytes = stream.fill_buf().map_err(|error| explain(error, "after the last entry"))?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::Damaged("something follows the end of the tar".to_owned()));
        }
        let length = bytes.len();
        stream.consume(length);
    }
}

fn read_block(stream: &mut impl Read, walk: &Walk<'_>) -> Result<[u8; BLOCK], ArchiveError> {
    let mut block = [0; BLOCK];
    let place =
        if walk.shown() == 0 { "before its first entry" } else { "before its blocks of zeros, which end a tar" };
    stream.read_exact(&mut block).map_err(|error| explain(error, place))?;
    Ok(block)
}

/// The check sum and the format's name.
fn check(header: &Header, name: &[u8]) -> Result<(), ArchiveError> {
    let block = header.as_bytes();
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = block[148..156].iter().map(|byte| u64::from(*byte)).sum();
    if number(&header.as_old().cksum) != Some(sum - own + 8 * u64::from(b' ')) {
        return Err(damaged("check sum", name));
    }
    match &block[257..265] {
        b"ustar\x0000" | b"ustar  \0" | [0, 0, 0, 0, 0, 0, 0, 0] => Ok(()),
        _ => Err(ArchiveError::Ambiguous { entry: printable(name), problem: "its header names no known tar format" }),
    }
}

fn damaged(field: &str, name: &[u8]) -> ArchiveError {
    ArchiveError::Damaged(format!("the header of \"{}\" has a wrong {field}", printable(name)))
}

/// A number of a header: octal digits, or GNU tar's binary form.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = field {
        let (high, low) = rest.split_at(rest.len().checked_sub(8)?);
        return high.iter().all(|byte| *byte == 0).then(|| low.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_start_matches(' ').trim_end_matches([' ', '\0']);
    match text {
        "" => Some(0),
        text if text.bytes().all(|byte| matches!(byte, b'0'..=b'7')) => u64::from_str_radix(text, 8).ok(),
        _ => None,
    }
}

fn read_record(stream: &mut impl Read, size: u64, name: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    if size > RECORD {
        let what = format!("has an extended record of {}", ByteSize(size));
        return Err(ArchiveError::TooLarge { what, limit: ByteSize(RECORD).to_string() });
    }
    let mut record = Vec::new();
    let padded = size.next_multiple_of(BLOCK as u64);
    stream.take(padded).read_to_end(&mut record).map_err(|error| explain(error, "inside an extended record"))?;
    if (record.len() as u64) < padded {
        return Err(ArchiveError::Truncated(format!("it ends inside \"{}\"", printable(name))));
    }
    record.truncate(usize::try_from(size).expect("at most a MiB"));
    Ok(record)
}

/// What stands before a header and belongs to it.
#[derive(Default)]
struct Extended {
    has_pax: bool,
    pax_name: Option<Vec<u8>>,
    pax_target: Option<Vec<u8>>,
    pax_size: Option<u64>,
    long_name: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
}

impl Extended {
    fn any(&self) -> bool {
        self.has_pax || self.long_name.is_some() || self.long_target.is_some()
    }

    /// Takes `LENGTH KEY=VALUE\n` …; times, owners and comments are not ours.
    fn pax(&mut self, mut record: &[u8], name: &[u8]) -> Result<(), ArchiveError> {
        let ambiguous = |problem| ArchiveError::Ambiguous { entry: printable(name), problem };
        if std::mem::replace(&mut self.has_pax, true) {
            return Err(ambiguous("it has extended records twice"));
        }
        while !record.is_empty() {
            let (key, value, rest) = pax_record(record).ok_or_else(|| damaged("extended record", name))?;
            record = rest;
            match key {
                b"path" => set(&mut self.pax_name, value.to_vec(), name)?,
                b"linkpath" => set(&mut self.pax_target, value.to_vec(), name)?,
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    set(&mut self.pax_size, size.ok_or_else(|| damaged("extended size", name))?, name)?;
                }
                b"hdrcharset" if value != b"ISO-IR 10646 2000 UTF-8" => {
                    return Err(ambiguous("its names are in another character set than UTF-8"));
                }
                b"SCHILY.realsize" | b"SUN.holesdata" => return Err(sparse(name)),
                key if key.starts_with(b"GNU.sparse.") => return Err(sparse(name)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Records for all entries may hold comments and times, but nothing that would change an entry.
    fn global(mut self, record: &[u8], name: &[u8]) -> Result<(), ArchiveError> {
        self.pax(record, name)?;
        if self.pax_name.is_some() || self.pax_target.is_some() || self.pax_size.is_some() {
            let problem = "a global record gives every entry the same name or size";
            return Err(ArchiveError::Ambiguous { entry: printable(name), problem });
        }
        Ok(())
    }

    fn name<'a>(&'a self, header: &'a [u8]) -> Result<&'a [u8], ArchiveError> {
        one(self.pax_name.as_deref(), self.long_name.as_deref(), header, header)
    }

    fn target<'a>(&'a self, header: &'a [u8], name: &[u8]) -> Result<&'a [u8], ArchiveError> {
        one(self.pax_target.as_deref(), self.long_target.as_deref(), header, name)
    }

    /// An extended size stands beside the same size in the header, unless that cannot hold it.
    fn size(&self, header: u64, name: &[u8]) -> Result<u64, ArchiveError> {
        match self.pax_size {
            Some(size) if size != header && size < OCTAL_END => {
                let problem = "its extended record has another size than its header";
                Err(ArchiveError::Ambiguous { entry: printable(name), problem })
            }
            Some(size) => Ok(size),
            None => Ok(header),
        }
    }
}

fn sparse(name: &[u8]) -> ArchiveError {
    ArchiveError::Kind { entry: printable(name), kind: "a sparse file (build the archive without --sparse)" }
}

/// The text that counts: that of an extended record if there is one, and two of them must be equal.
fn one<'a>(
    pax: Option<&'a [u8]>,
    gnu: Option<&'a [u8]>,
    header: &'a [u8],
    name: &[u8],
) -> Result<&'a [u8], ArchiveError> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(ArchiveError::Ambiguous {
            entry: printable(name),
            problem: "its extended records give it two names or targets",
        }),
        (Some(text), _) | (None, Some(text)) => Ok(text),
        (None, None) => Ok(header),
    }
}

fn set<T>(place: &mut Option<T>, value: T, name: &[u8]) -> Result<(), ArchiveError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => {
            Err(ArchiveError::Ambiguous { entry: printable(name), problem: "an extended record says one thing twice" })
        }
    }
}

/// A GNU long name: ends in one NUL and has no other.
fn long(mut record: Vec<u8>, name: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    if record.last() == Some(&0) {
        record.pop();
    }
    if record.contains(&0) {
        return Err(ArchiveError::Ambiguous { entry: printable(name), problem: "its long name holds a NUL" });
    }
    Ok(record)
}

/// Key, value and what follows.
fn pax_record(record: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = record.iter().take(8).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&record[..blank]).ok()?.parse().ok()?;
    let (this, rest) = record.split_at_checked(length)?;
    let text = this.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    Some((&text[..equals], &text[equals + 1..], rest))
}

/// Counts what is inflated, headers and padding too: the bound holds for what is read, not for what is declared.
struct Counted<'a, R> {
    inner: R,
    rules: Rules<'a>,
    read: u64,
    most: u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read += count as u64;
        if self.read > self.most {
            Err(io::Error::other(self.rules.too_large(self.most, self.read)))
        } else {
            Ok(count)
        }
    }
}
