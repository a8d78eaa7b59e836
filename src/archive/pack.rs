//! Packing: a directory or a bare file becomes an archive, the same bytes each time.

use std::io::{self, Read, Write};
use std::mem;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc, GzBuilder};
use tar::{EntryType, Header};

use super::ArchiveFormat;

/// Something to be packed. The caller gives entries sorted by path, directories before what is in them.
pub enum PackEntry<R> {
    /// A directory.
    Directory {
        /// Relative, `/` between components.
        path: String,
    },
    /// A file.
    File {
        /// Relative, `/` between components.
        path: String,
        /// May it be executed?
        executable: bool,
        /// Its bytes.
        size: u64,
        /// Where they come from.
        content: R,
    },
    /// A symbolic link.
    Link {
        /// Relative, `/` between components.
        path: String,
        /// Relative.
        target: String,
    },
}

/// Why packing stopped.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file could not be read, or changed its size on the way.
    #[error("failed to pack \"{path}\"")]
    Entry {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// What is to be packed could not be listed.
    #[error("failed to list what is to be packed")]
    List(#[source] io::Error),
    /// The archive could not be written.
    #[error("failed to write the archive")]
    Write(#[source] io::Error),
    /// A ZIP for Windows has no links.
    #[error("\"{path}\" is a symbolic link, which a ZIP for Windows cannot hold")]
    Link {
        /// Which.
        path: String,
    },
}

/// Packs entries reproducibly: no times, no owners, modes 0644 or 0755. The same entries give the same bytes.
///
/// A ZIP's times are 1980-01-01, the first that it can hold. Neither format has an upper bound on a file's size (ZIP64,
/// GNU tar's large numbers). Whether the paths are fit for a package is [`super::inspect`]'s to say.
pub fn pack<R: Read, W: Write>(
    format: ArchiveFormat,
    entries: impl IntoIterator<Item = io::Result<PackEntry<R>>>,
    output: W,
) -> Result<W, PackError> {
    match format {
        ArchiveFormat::TarGz => tar_gz(entries, output),
        ArchiveFormat::Zip => {
            let mut zip = ZipWriter::new(output);
            for entry in entries {
                match entry.map_err(PackError::List)? {
                    PackEntry::Directory { path } => zip.directory(&path)?,
                    PackEntry::File { path, executable, size, content } => {
                        zip.file(&path, executable, Exact::new(content, size))?;
                    }
                    PackEntry::Link { path, .. } => return Err(PackError::Link { path }),
                }
            }
            zip.finish()
        }
    }
}

const READ: usize = 128 << 10;

/// A file's content, which must have the size that was said before it.
struct Exact<R> {
    content: R,
    size: u64,
    left: u64,
}

impl<R: Read> Exact<R> {
    fn new(content: R, size: u64) -> Self {
        Self { content, size, left: size }
    }

    /// Hands everything to `take`, which fails for the output's reasons.
    fn each(&mut self, path: &str, mut take: impl FnMut(&[u8]) -> Result<(), PackError>) -> Result<(), PackError> {
        let failed = |source| PackError::Entry { path: path.to_owned(), source };
        let mut buffer = vec![0; READ];
        loop {
            let count = match self.content.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            self.left = match self.left.checked_sub(count as u64) {
                Some(0) if count == 0 => return Ok(()),
                Some(left) if count > 0 => left,
                _ => {
                    let text = format!("it had {} bytes and changed while it was read", self.size);
                    return Err(failed(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
            };
            take(&buffer[..count])?;
        }
    }
}

fn tar_gz<R: Read, W: Write>(
    entries: impl IntoIterator<Item = io::Result<PackEntry<R>>>,
    output: W,
) -> Result<W, PackError> {
    let mut output = GzBuilder::new().mtime(0).write(output, Compression::default());
    for entry in entries {
        match entry.map_err(PackError::List)? {
            PackEntry::Directory { path } => {
                tar_header(&mut output, EntryType::Directory, &format!("{path}/"), "", 0o755, 0)?;
            }
            PackEntry::Link { path, target } => {
                tar_header(&mut output, EntryType::Symlink, &path, &target, 0o777, 0)?;
            }
            PackEntry::File { path, executable, size, content } => {
                tar_header(&mut output, EntryType::Regular, &path, "", mode(executable), size)?;
                Exact::new(content, size).each(&path, |bytes| output.write_all(bytes).map_err(PackError::Write))?;
                pad(&mut output, size)?;
            }
        }
    }
    output.write_all(&[0; 2 * BLOCK]).map_err(PackError::Write)?;
    output.finish().map_err(PackError::Write)
}

const BLOCK: usize = 512;

/// GNU tar's format: GNU tar, bsdtar and busybox read its long names and large sizes alike.
fn tar_header(
    output: &mut impl Write,
    kind: EntryType,
    path: &str,
    target: &str,
    mode: u32,
    size: u64,
) -> Result<(), PackError> {
    let mut header = Header::new_gnu();
    for (text, kind) in [(target, EntryType::GNULongLink), (path, EntryType::GNULongName)] {
        if text.len() > 100 {
            let mut long = Header::new_gnu();
            put(&mut long.as_old_mut().name, "././@LongLink");
            let length = text.len() as u64 + 1;
            finish_header(output, long, kind, 0o644, length)?;
            output.write_all(text.as_bytes()).and_then(|()| output.write_all(&[0])).map_err(PackError::Write)?;
            pad(output, length)?;
        }
    }
    put(&mut header.as_old_mut().name, path);
    put(&mut header.as_old_mut().linkname, target);
    finish_header(output, header, kind, mode, size)
}

/// As much of the text as the field holds.
fn put(field: &mut [u8; 100], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

fn finish_header(
    output: &mut impl Write,
    mut header: Header,
    kind: EntryType,
    mode: u32,
    size: u64,
) -> Result<(), PackError> {
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    output.write_all(header.as_bytes()).map_err(PackError::Write)
}

/// Fills the last block.
fn pad(output: &mut impl Write, size: u64) -> Result<(), PackError> {
    let over = usize::try_from(size % BLOCK as u64).expect("below 512");
    if over == 0 { Ok(()) } else { output.write_all(&[0; BLOCK][over..]).map_err(PackError::Write) }
}

fn mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

/// Compressed bytes that are held back until their number and check sum are known.
///
/// A file that stays below gets a complete header, which every reader understands. A larger one is followed by a data
/// descriptor, because the output cannot be rewound.
const HELD: usize = 8 << 20;

/// A field of 32 bits that says "see the ZIP64 record".
const SEE_ZIP64: u32 = u32::MAX;

/// 1980-01-01 00:00, the first time that a ZIP can hold: time, then date.
const ZIP_TIME: [u16; 2] = [0, 0x21];

/// Writes a ZIP without seeking.
struct ZipWriter<W> {
    output: W,
    at: u64,
    members: u64,
    directory: Vec<u8>,
}

/// What both headers of a member say.
struct ZipMember<'a> {
    name: &'a [u8],
    mode: u32,
    deflated: bool,
    described_after: bool,
    crc: u32,
    compressed: u64,
    size: u64,
    offset: u64,
}

impl ZipMember<'_> {
    /// The fields that stand in both headers, from "version needed" to "extra length".
    fn common(&self, zip64: bool, extra: u16) -> Vec<u8> {
        // Bit 11: the name is UTF-8. Bit 3: sums and sizes follow the data.
        let flags = 1 << 11 | u16::from(self.described_after) << 3;
        let known =
            |value: u64| if zip64 { SEE_ZIP64 } else { u32::try_from(value).expect("zip64 is set above 4 GiB") };
        let mut bytes = Vec::with_capacity(26);
        for value in [if zip64 { 45 } else { 20 }, flags, if self.deflated { 8 } else { 0 }, ZIP_TIME[0], ZIP_TIME[1]] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        for value in [self.crc, known(self.compressed), known(self.size)] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let length = u16::try_from(self.name.len()).expect("checked before");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&extra.to_le_bytes());
        bytes
    }

    fn local(&self, zip64: bool) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.extend(self.common(zip64, if zip64 { 20 } else { 0 }));
        bytes.extend_from_slice(self.name);
        if zip64 {
            bytes.extend(zip64_extra(&[self.size, self.compressed]));
        }
        bytes
    }

    fn central(&self, zip64: bool) -> Vec<u8> {
        // Made by a Unix system, so that the upper half of the attributes is a mode.
        let mut bytes = b"PK\x01\x02\x2d\x03".to_vec();
        let far = self.offset >= u64::from(SEE_ZIP64);
        let mut beyond = if zip64 { vec![self.size, self.compressed] } else { Vec::new() };
        if far {
            beyond.push(self.offset);
        }
        let extra = if beyond.is_empty() { Vec::new() } else { zip64_extra(&beyond) };
        bytes.extend(self.common(zip64, u16::try_from(extra.len()).expect("28 at most")));
        // No comment, first disk, no internal attributes.
        bytes.extend_from_slice(&[0; 6]);
        let dos = if self.mode & 0o040_000 == 0 { 0 } else { 0x10 };
        bytes.extend_from_slice(&(self.mode << 16 | dos).to_le_bytes());
        let offset = if far { SEE_ZIP64 } else { u32::try_from(self.offset).expect("not far") };
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(self.name);
        bytes.extend(extra);
        bytes
    }
}

fn zip64_extra(values: &[u64]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(&u16::try_from(values.len() * 8).expect("24 at most").to_le_bytes());
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes
}

impl<W: Write> ZipWriter<W> {
    fn new(output: W) -> Self {
        Self { output, at: 0, members: 0, directory: Vec::new() }
    }

    fn directory(&mut self, path: &str) -> Result<(), PackError> {
        let name = format!("{path}/");
        let member = ZipMember {
            name: name_of(&name)?,
            mode: 0o040_755,
            deflated: false,
            described_after: false,
            crc: 0,
            compressed: 0,
            size: 0,
            offset: self.at,
        };
        self.put(&member.local(false))?;
        self.enter(&member, false);
        Ok(())
    }

    fn file<R: Read>(&mut self, path: &str, executable: bool, mut content: Exact<R>) -> Result<(), PackError> {
        let mut member = ZipMember {
            name: name_of(path)?,
            mode: 0o100_000 | mode(executable),
            deflated: content.size > 0,
            described_after: false,
            crc: 0,
            compressed: 0,
            size: content.size,
            offset: self.at,
        };
        // Deflate adds five bytes to each 16 KiB at worst.
        let zip64 = content.size + content.size / 1024 >= u64::from(SEE_ZIP64);
        let mut sum = Crc::new();
        let mut deflater = DeflateEncoder::new(Vec::new(), Compression::default());
        if member.deflated {
            content.each(path, |bytes| {
                sum.update(bytes);
                deflater.write_all(bytes).map_err(PackError::Write)?;
                if deflater.get_ref().len() > HELD {
                    if !member.described_after {
                        member.described_after = true;
                        let (size, compressed) = (mem::take(&mut member.size), mem::take(&mut member.compressed));
                        self.put(&member.local(zip64))?;
                        (member.size, member.compressed) = (size, compressed);
                    }
                    let ready = mem::take(deflater.get_mut());
                    member.compressed += ready.len() as u64;
                    self.put(&ready)?;
                }
                Ok(())
            })?;
            let rest = deflater.finish().map_err(PackError::Write)?;
            member.compressed += rest.len() as u64;
            member.crc = sum.sum();
            if !member.described_after {
                self.put(&member.local(zip64))?;
            }
            self.put(&rest)?;
            if member.described_after {
                self.put(&descriptor(&member, zip64))?;
            }
        } else {
            content.each(path, |_| Ok(()))?;
            self.put(&member.local(false))?;
        }
        self.enter(&member, zip64);
        Ok(())
    }

    fn finish(mut self) -> Result<W, PackError> {
        let (start, size) = (self.at, self.directory.len() as u64);
        let directory = mem::take(&mut self.directory);
        self.put(&directory)?;
        let end = self.at;
        if self.members >= 0xffff || start >= u64::from(SEE_ZIP64) || size >= u64::from(SEE_ZIP64) {
            let mut bytes = b"PK\x06\x06".to_vec();
            bytes.extend_from_slice(&44_u64.to_le_bytes());
            bytes.extend_from_slice(&[45, 3, 45, 0]);
            bytes.extend_from_slice(&[0; 8]);
            for value in [self.members, self.members, size, start] {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
            bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
            bytes.extend_from_slice(&end.to_le_bytes());
            bytes.extend_from_slice(&1_u32.to_le_bytes());
            self.put(&bytes)?;
        }
        let mut bytes = b"PK\x05\x06\0\0\0\0".to_vec();
        let members = u16::try_from(self.members).unwrap_or(u16::MAX).to_le_bytes();
        bytes.extend_from_slice(&members);
        bytes.extend_from_slice(&members);
        bytes.extend_from_slice(&u32::try_from(size).unwrap_or(SEE_ZIP64).to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(start).unwrap_or(SEE_ZIP64).to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        self.put(&bytes)?;
        self.output.flush().map_err(PackError::Write)?;
        Ok(self.output)
    }

    fn enter(&mut self, member: &ZipMember<'_>, zip64: bool) {
        self.members += 1;
        self.directory.extend(member.central(zip64));
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.output.write_all(bytes).map_err(PackError::Write)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// What follows the data of a member whose header could not know it.
fn descriptor(member: &ZipMember<'_>, zip64: bool) -> Vec<u8> {
    let mut bytes = b"PK\x07\x08".to_vec();
    bytes.extend_from_slice(&member.crc.to_le_bytes());
    for value in [member.compressed, member.size] {
        let all = value.to_le_bytes();
        bytes.extend_from_slice(if zip64 { &all } else { &all[..4] });
    }
    bytes
}

fn name_of(name: &str) -> Result<&[u8], PackError> {
    if name.len() > usize::from(u16::MAX) {
        let source = io::Error::new(io::ErrorKind::InvalidFilename, "its path is longer than a ZIP can hold");
        return Err(PackError::Entry { path: name.chars().take(120).collect(), source });
    }
    Ok(name.as_bytes())
}
