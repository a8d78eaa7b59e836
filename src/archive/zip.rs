//! Reading a ZIP: strictly, so that a reader of its directory and a reader of its members see the same.
//!
//! ```text
//! member: PK34 header, name, extra | data | [PK78 descriptor]      one after the other from byte 0, without a gap
//! directory: PK12 header, name, extra, comment                     one for each member
//! end: [PK66 ZIP64 record, PK67 its locator] PK56 end, comment     to the file's last byte
//! ```

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::ArchiveError;
use super::path::printable;
use super::walk::{Found, Walk, explain};
use crate::model::{ByteSize, OsFamily};

/// A field that refers to the ZIP64 record.
const SEE_ZIP64: u64 = 0xffff_ffff;

/// Memory that the names of a directory may take.
const NAMES: u64 = 256 << 20;

pub(super) fn walk<R: Read + Seek>(mut archive: R, walk: &mut Walk<'_>) -> Result<(), ArchiveError> {
    let end = End::find(&mut archive)?;
    walk.bound_entries(end.members)?;
    archive.seek(SeekFrom::Start(end.directory))?;
    let mut reader = BufReader::with_capacity(64 << 10, archive);
    let mut members = read_directory(&mut reader, &end)?;
    members.sort_by_key(|member| member.offset);

    reader.seek(SeekFrom::Start(0))?;
    let mut at = 0;
    for (index, member) in members.iter().enumerate() {
        if member.offset != at {
            return Err(damaged(if member.offset > at {
                format!("the bytes before \"{}\" belong to no member", member.shown())
            } else {
                format!("\"{}\" overlaps another member", member.shown())
            }));
        }
        let next = members.get(index + 1).map_or(end.directory, |next| next.offset);
        let header = check_local(&mut reader, member)?;
        let data_end = at.saturating_add(header).saturating_add(member.compressed);
        let descriptor = match next.checked_sub(data_end) {
            Some(0) if !member.described_after() => 0,
            Some(length @ (12 | 16 | 20 | 24)) if member.described_after() => length,
            Some(_) => return Err(damaged(format!("the bytes after \"{}\" belong to no member", member.shown()))),
            None => return Err(damaged(format!("\"{}\" overlaps what follows it", member.shown()))),
        };
        show(&mut reader, member, walk)?;
        check_descriptor(&mut reader, member, descriptor)?;
        at = next;
    }
    if at != end.directory {
        return Err(damaged("the bytes before its directory belong to no member".to_owned()));
    }
    Ok(())
}

fn damaged(text: String) -> ArchiveError {
    ArchiveError::Damaged(text)
}

/// Reads little-endian fields one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (this, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(this)
    }

    fn number(&mut self, length: usize) -> Option<u64> {
        Some(self.bytes(length)?.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn u16(&mut self) -> Option<u64> {
        self.number(2)
    }

    fn u32(&mut self) -> Option<u64> {
        self.number(4)
    }

    fn u64(&mut self) -> Option<u64> {
        self.number(8)
    }
}

/// Where the directory lies.
struct End {
    members: u64,
    directory: u64,
    length: u64,
}

impl End {
    fn find<R: Read + Seek>(archive: &mut R) -> Result<Self, ArchiveError> {
        const RECORD: usize = 22;
        let missing = || ArchiveError::Truncated("its directory, which stands at the end, is missing".to_owned());
        let length = archive.seek(SeekFrom::End(0))?;
        // The record, the longest comment, and the two records of ZIP64 before it.
        let window = length.min(RECORD as u64 + 0xffff + 20 + 56);
        let start = length - window;
        archive.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        archive.take(window).read_to_end(&mut tail)?;
        let place = tail.windows(4).rposition(|bytes| bytes == b"PK\x05\x06").ok_or_else(missing)?;
        let record = tail.get(place..place + RECORD).ok_or_else(missing)?;
        let (disk, members, size, directory, comment) = (|| {
            let mut fields = Fields(&record[4..]);
            let disks = (fields.u16()?, fields.u16()?);
            let members = (fields.u16()?, fields.u16()?);
            Some(((disks, members), members.1, fields.u32()?, fields.u32()?, fields.u16()?))
        })()
        .ok_or_else(missing)?;
        if disk.0 != (0, 0) || disk.1.0 != disk.1.1 {
            return Err(damaged("it is a part of an archive in several files".to_owned()));
        }
        let after = (tail.len() - place - RECORD) as u64;
        if comment > after {
            return Err(ArchiveError::Truncated("its end record is cut off".to_owned()));
        }
        if comment != after {
            return Err(damaged("something follows its end record".to_owned()));
        }
        let mut end = Self { members, directory, length: size };
        let mut records = start + place as u64;
        if let Some(wide) = Self::zip64(&tail[..place], start)? {
            let agrees = |narrow: u64, wide: u64, full: u64| narrow == full || narrow == wide;
            if !agrees(members, wide.0.members, 0xffff)
                || !agrees(size, wide.0.length, SEE_ZIP64)
                || !agrees(directory, wide.0.directory, SEE_ZIP64)
            {
                return Err(damaged("its two end records contradict each other".to_owned()));
            }
            (end, records) = wide;
        } else if members == 0xffff || size == SEE_ZIP64 || directory == SEE_ZIP64 {
            return Err(damaged("its ZIP64 end record is missing".to_owned()));
        }
        match end.directory.checked_add(end.length) {
            Some(at) if at == records => Ok(end),
            _ => Err(damaged("something stands before it or inside it that belongs to no member".to_owned())),
        }
    }

    /// The ZIP64 record and where it starts, if a locator says that there is one.
    fn zip64(before: &[u8], start: u64) -> Result<Option<(Self, u64)>, ArchiveError> {
        let Some(locator) = before.len().checked_sub(20).map(|at| &before[at..]) else { return Ok(None) };
        if !locator.starts_with(b"PK\x06\x07") {
            return Ok(None);
        }
        let wrong = || damaged("its ZIP64 end record is damaged".to_owned());
        let (disk, at, disks) = (|| {
            let mut fields = Fields(&locator[4..]);
            Some((fields.u32()?, fields.u64()?, fields.u32()?))
        })()
        .ok_or_else(wrong)?;
        let place = before.len().checked_sub(76).ok_or_else(wrong)?;
        if disk != 0 || disks > 1 || at != start + place as u64 {
            return Err(wrong());
        }
        let mut fields = Fields(&before[place..place + 56]);
        let end = (|| {
            (fields.bytes(4)? == b"PK\x06\x06" && fields.u64()? == 44).then_some(())?;
            fields.bytes(4)?;
            let disks = (fields.u32()?, fields.u32()?);
            let members = (fields.u64()?, fields.u64()?);
            let (length, directory) = (fields.u64()?, fields.u64()?);
            (disks == (0, 0) && members.0 == members.1).then_some(Self { members: members.0, directory, length })
        })();
        Ok(Some((end.ok_or_else(wrong)?, at)))
    }
}

/// What the directory says of a member.
struct Member {
    name: Box<[u8]>,
    /// The system that made it.
    host: u64,
    flags: u64,
    method: u64,
    crc: u64,
    compressed: u64,
    size: u64,
    attributes: u64,
    offset: u64,
}

impl Member {
    fn shown(&self) -> String {
        printable(&self.name)
    }

    fn described_after(&self) -> bool {
        self.flags & 1 << 3 != 0
    }

    fn ambiguous(&self, problem: &'static str) -> ArchiveError {
        ArchiveError::Ambiguous { entry: self.shown(), problem }
    }
}

/// Bytes of a directory's entry before its name.
const CENTRAL: usize = 46;

/// Bytes of a member's header before its name.
const LOCAL: usize = 30;

fn read_directory(reader: &mut impl BufRead, end: &End) -> Result<Vec<Member>, ArchiveError> {
    let mut reader = reader.take(end.length);
    let mut members = Vec::new();
    let mut names = 0;
    for _ in 0..end.members {
        let mut head = [0; CENTRAL];
        let cut = |error| explain(error, "inside its directory");
        reader.read_exact(&mut head).map_err(cut)?;
        let mut fields = Fields(&head);
        let (mut member, lengths) =
            central_fields(&mut fields).ok_or_else(|| damaged("its directory is unreadable".to_owned()))?;
        let mut rest = vec![0; lengths.iter().sum()];
        reader.read_exact(&mut rest).map_err(cut)?;
        let (name, rest) = rest.split_at(lengths[0]);
        member.name = name.into();
        names += name.len() as u64 + 128;
        if names > NAMES {
            let what = format!("has names that need {} of memory", ByteSize(names));
            return Err(ArchiveError::TooLarge { what, limit: ByteSize(NAMES).to_string() });
        }
        let extra = Extra::parse(&rest[..lengths[1]], &member)?;
        let mut wide = Fields(extra.zip64.unwrap_or_default());
        for field in [&mut member.size, &mut member.compressed, &mut member.offset] {
            if *field == SEE_ZIP64 && extra.zip64.is_some() {
                *field = wide.u64().ok_or_else(|| damaged("a ZIP64 record is too short".to_owned()))?;
            }
        }
        check_member(&member, &extra)?;
        members.push(member);
    }
    if reader.limit() > 0 {
        return Err(damaged("its directory holds more than it says".to_owned()));
    }
    Ok(members)
}

/// The fields of a directory's entry, and the lengths of name, extra and comment.
fn central_fields(fields: &mut Fields<'_>) -> Option<(Member, [usize; 3])> {
    (fields.bytes(4)? == b"PK\x01\x02").then_some(())?;
    let (made_by, _needed) = (fields.u16()?, fields.u16()?);
    let (flags, method) = (fields.u16()?, fields.u16()?);
    let _time = fields.u32()?;
    let (crc, compressed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let lengths = [fields.number(2)?, fields.number(2)?, fields.number(2)?].map(usize::try_from);
    let [Ok(name), Ok(extra), Ok(comment)] = lengths else { return None };
    (fields.u16()? == 0).then_some(())?;
    let _internal = fields.u16()?;
    let (attributes, offset) = (fields.u32()?, fields.u32()?);
    let host = made_by >> 8;
    let member = Member { name: Box::default(), host, flags, method, crc, compressed, size, attributes, offset };
    Some((member, [name, extra, comment]))
}

/// The extra records that change how a member is read.
#[derive(Default)]
struct Extra<'a> {
    zip64: Option<&'a [u8]>,
    unicode_name: Option<&'a [u8]>,
    encrypted: bool,
}

impl<'a> Extra<'a> {
    fn parse(bytes: &'a [u8], member: &Member) -> Result<Self, ArchiveError> {
        let mut extra = Self::default();
        let mut fields = Fields(bytes);
        while !fields.0.is_empty() {
            let record = (|| {
                let (id, length) = (fields.u16()?, fields.u16()?);
                Some((id, fields.bytes(usize::try_from(length).ok()?)?))
            })();
            let (id, content) =
                record.ok_or_else(|| damaged(format!("the extra records of \"{}\" are cut", member.shown())))?;
            let place = match id {
                0x0001 => &mut extra.zip64,
                0x7075 => &mut extra.unicode_name,
                // The records of strong encryption and of AES.
                0x0017 | 0x9901 => {
                    extra.encrypted = true;
                    continue;
                }
                _ => continue,
            };
            if place.replace(content).is_some() {
                return Err(member.ambiguous("it has an extra record twice"));
            }
        }
        Ok(extra)
    }
}

/// What must hold whatever the member's own header says.
fn check_member(member: &Member, extra: &Extra<'_>) -> Result<(), ArchiveError> {
    const ENCRYPTED: u64 = 1 | 1 << 6 | 1 << 13;
    // How hard the compressor tried, a descriptor, a name in UTF-8.
    const KNOWN: u64 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 11;
    if member.flags & ENCRYPTED != 0 || extra.encrypted || member.method == 99 {
        return Err(ArchiveError::Encrypted { entry: member.shown() });
    }
    if member.flags & !KNOWN != 0 {
        return Err(member.ambiguous("it has flags that not every ZIP reader knows"));
    }
    if !matches!(member.method, 0 | 8) {
        return Err(ArchiveError::Method { entry: member.shown(), method: method_name(member.method) });
    }
    if member.method == 0 && member.size != member.compressed {
        return Err(member.ambiguous("it is stored, but its two sizes differ"));
    }
    if let Some(record) = extra.unicode_name {
        // Version, check sum of the name in the header, name.
        if record.get(5..) != Some(&member.name) {
            return Err(member.ambiguous("its Unicode name differs from its name"));
        }
    }
    Ok(())
}

fn method_name(method: u64) -> String {
    let name = match method {
        1..=6 => "an outdated method",
        9 => "Deflate64",
        12 => "bzip2",
        14 => "LZMA",
        20 | 93 => "Zstandard",
        95 => "XZ",
        98 => "PPMd",
        _ => return format!("method {method}"),
    };
    name.to_owned()
}

/// Reads a member's own header, which must repeat what the directory says; returns its length.
fn check_local(reader: &mut impl BufRead, member: &Member) -> Result<u64, ArchiveError> {
    let cut = |error| explain(error, &format!("inside \"{}\"", member.shown()));
    let mut head = [0; LOCAL];
    reader.read_exact(&mut head).map_err(cut)?;
    let mut fields = Fields(&head);
    let parts = (|| {
        (fields.bytes(4)? == b"PK\x03\x04").then_some(())?;
        let _needed = fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _time = fields.u32()?;
        let sums = [fields.u32()?, fields.u32()?, fields.u32()?];
        Some((flags, method, sums, usize::try_from(fields.u16()?).ok()?, usize::try_from(fields.u16()?).ok()?))
    })();
    let (flags, method, [crc, compressed, size], name, extra) =
        parts.ok_or_else(|| damaged(format!("\"{}\" is not where the directory says", member.shown())))?;
    let mut rest = vec![0; name + extra];
    reader.read_exact(&mut rest).map_err(cut)?;
    let (name, extra) = rest.split_at(name);
    if name != &*member.name {
        return Err(member.ambiguous("its own header gives it another name than the directory"));
    }
    if flags != member.flags || method != member.method {
        return Err(member.ambiguous("its own header has another method or other flags than the directory"));
    }
    let records = Extra::parse(extra, member)?;
    if records.encrypted {
        return Err(ArchiveError::Encrypted { entry: member.shown() });
    }
    if records.unicode_name.is_some_and(|record| record.get(5..) != Some(&member.name)) {
        return Err(member.ambiguous("its Unicode name differs from its name"));
    }
    let (mut compressed, mut size) = (compressed, size);
    if let Some(wide) = records.zip64 {
        let mut wide = Fields(wide);
        for field in [&mut size, &mut compressed] {
            if *field == SEE_ZIP64 {
                *field = wide.u64().ok_or_else(|| damaged("a ZIP64 record is too short".to_owned()))?;
            }
        }
    }
    // A header that was written before the data may leave the sums out.
    let agrees = |local: u64, central: u64| local == central || member.described_after() && local == 0;
    if !agrees(crc, member.crc) || !agrees(compressed, member.compressed) || !agrees(size, member.size) {
        return Err(member.ambiguous("its own header has another size or check sum than the directory"));
    }
    Ok((LOCAL + rest.len()) as u64)
}

/// Shows a member to the visitor; leaves the reader behind its data.
fn show(reader: &mut impl BufRead, member: &Member, walk: &mut Walk<'_>) -> Result<(), ArchiveError> {
    const TYPE: u64 = 0o170_000;
    /// Unix and macOS; what others put there is not a mode.
    const UNIX: [u64; 2] = [3, 19];
    let is_unix = UNIX.contains(&member.host);
    let unmarked = member.flags & 1 << 11 == 0 && !member.name.is_ascii();
    if unmarked && (walk.rules.os == OsFamily::Windows || !is_unix) {
        let problem = "it is not marked as UTF-8, so every system reads another name: build the ZIP with UTF-8 names";
        return Err(ArchiveError::Path { entry: member.shown(), problem });
    }
    let refuse = |kind| Err(ArchiveError::Kind { entry: member.shown(), kind });
    let is_directory = member.name.ends_with(b"/");
    let word = member.attributes >> 16;
    let mode = |default| {
        let mode = u32::try_from(word & 0o777).unwrap_or_default();
        if is_unix && word != 0 { mode } else { default }
    };
    let is_link = match word & TYPE {
        0 => false,
        0o100_000 if !is_directory => false,
        0o040_000 if is_directory => false,
        0o100_000 | 0o040_000 => {
            return Err(member.ambiguous("it is a directory by its name or by its mode, but not by both"));
        }
        0o120_000 if !is_directory && is_unix => true,
        0o120_000 => return Err(member.ambiguous("it is a link to some systems only")),
        0o010_000 => return refuse("a fifo"),
        0o020_000 => return refuse("a character device"),
        0o060_000 => return refuse("a block device"),
        0o140_000 => return refuse("a socket"),
        _ => return refuse("of an unknown kind"),
    };
    let mut data = Data::new(reader, member);
    if is_directory {
        if member.size > 0 {
            return Err(member.ambiguous("it is a directory, but has content"));
        }
        // Even nothing may be a few bytes when it is deflated.
        data.finish().map_err(|error| explain(error, &format!("inside \"{}\"", member.shown())))?;
        walk.entry(&member.name, &Found::Directory { mode: mode(0o755) }, io::empty())
    } else if is_link {
        let mut target = Vec::new();
        let longest = walk.rules.limits.path as u64 + 1;
        let read = (&mut data).take(longest).read_to_end(&mut target);
        read.map_err(|error| explain(error, &format!("inside \"{}\"", member.shown())))?;
        if member.size < longest {
            data.finish().map_err(|error| explain(error, &format!("inside \"{}\"", member.shown())))?;
        }
        walk.entry(&member.name, &Found::Link { target: &target }, io::empty())
    } else {
        let found = Found::File { mode: mode(0o644), size: member.size };
        if member.size == 0 {
            data.finish().map_err(|error| explain(error, &format!("inside \"{}\"", member.shown())))?;
        }
        walk.entry(&member.name, &found, data)
    }
}

/// A member's bytes. The read that gives the last one has checked the sum, and that nothing is left over.
struct Data<'a, R: BufRead> {
    source: Source<io::Take<&'a mut R>>,
    member: &'a Member,
    sum: Crc,
    left: u64,
}

enum Source<R: BufRead> {
    Stored(R),
    Deflated(DeflateDecoder<R>),
}

impl<'a, R: BufRead> Data<'a, R> {
    fn new(reader: &'a mut R, member: &'a Member) -> Self {
        let raw = reader.take(member.compressed);
        let source = if member.method == 0 { Source::Stored(raw) } else { Source::Deflated(DeflateDecoder::new(raw)) };
        Self { source, member, sum: Crc::new(), left: member.size }
    }

    fn finish(&mut self) -> io::Result<()> {
        let wrong = |text| Err(io::Error::new(io::ErrorKind::InvalidData, text));
        let (more, unread) = match &mut self.source {
            Source::Stored(raw) => (0, raw.limit()),
            Source::Deflated(inflater) => (inflater.read(&mut [0])?, inflater.get_ref().limit()),
        };
        if more > 0 {
            return wrong("it is larger than its header says");
        }
        if unread > 0 {
            return wrong("something follows its data");
        }
        if u64::from(self.sum.sum()) != self.member.crc {
            return wrong("its check sum does not match");
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..wanted];
        let count = match &mut self.source {
            Source::Stored(raw) => raw.read(buffer)?,
            Source::Deflated(inflater) => inflater.read(buffer)?,
        };
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is smaller than its header says"));
        }
        self.sum.update(&buffer[..count]);
        self.left -= count as u64;
        if self.left == 0 {
            self.finish()?;
        }
        Ok(count)
    }
}

/// The record after the data, of which there are four forms.
fn check_descriptor(reader: &mut impl Read, member: &Member, length: u64) -> Result<(), ArchiveError> {
    let mut record = Vec::new();
    reader.take(length).read_to_end(&mut record).map_err(|error| explain(error, "after a member"))?;
    let mut fields = Fields(&record);
    let said = match length {
        0 => return Ok(()),
        12 | 20 => Some(()),
        _ => fields.bytes(4).filter(|mark| *mark == b"PK\x07\x08").map(drop),
    };
    let width = if length >= 20 { 8 } else { 4 };
    let said = said.and_then(|()| Some([fields.number(4)?, fields.number(width)?, fields.number(width)?]));
    if said == Some([member.crc, member.compressed, member.size]) {
        Ok(())
    } else {
        Err(member.ambiguous("the record after its data has another size or check sum than the directory"))
    }
}
