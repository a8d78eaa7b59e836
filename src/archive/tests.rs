//! Archives that are made here, right and wrong, and what the walk says of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::process::{Command, Stdio};

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};
use proptest::prelude::*;

use super::*;
use crate::model::OsFamily;
use crate::model::limits::ArchiveLimits;

/// Writes down what it is shown.
#[derive(Default)]
struct Listing(String, BTreeMap<String, Vec<u8>>);

impl Visitor for Listing {
    fn entry(&mut self, path: &EntryPath, kind: &EntryKind, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        match kind {
            EntryKind::File { mode, size } => {
                assert_eq!(*size, bytes.len() as u64);
                writeln!(self.0, "{path} {mode:o} {size}")
            }
            EntryKind::Directory { mode } => writeln!(self.0, "{path}/ {mode:o}"),
            EntryKind::Link { target } => writeln!(self.0, "{path} -> {target}"),
            EntryKind::HardLink { target } => writeln!(self.0, "{path} = {target}"),
        }
        .expect("a string");
        self.1.insert(path.to_string(), bytes);
        Ok(())
    }
}

const SMALL: ArchiveLimits =
    ArchiveLimits { entries: 12, path: 200, depth: 5, unpacked_floor: 64 << 10, unpacked_ratio: 100 };

fn list_with(archive: &[u8], os: OsFamily, limits: &ArchiveLimits) -> Result<Listing, ArchiveError> {
    let mut listing = Listing::default();
    let size = archive.len() as u64;
    let (_, summary) = walk(Cursor::new(archive), size, os, limits, &mut listing)?;
    let (_, again) = inspect(Cursor::new(archive), size, os, limits).expect("what can be walked can be inspected");
    assert_eq!(summary, again);
    Ok(listing)
}

fn list(archive: &[u8], os: OsFamily) -> Result<String, ArchiveError> {
    list_with(archive, os, &SMALL).map(|listing| listing.0)
}

/// The sentence that refuses it.
fn refusal(archive: &[u8], os: OsFamily) -> String {
    match list(archive, os) {
        Ok(listing) => panic!("it was taken:\n{listing}"),
        Err(error) => error.to_string(),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Builds any tar, also one that no tool would make.
#[derive(Clone, Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn raw(mut self, kind: u8, name: &str, target: &str, content: &[u8], change: impl Fn(&mut [u8; 512])) -> Self {
        let mut block = [0_u8; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(if kind == b'5' { b"0000755" } else { b"0000644" });
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[156] = kind;
        block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(self, kind: u8, name: &str, target: &str) -> Self {
        self.raw(kind, name, target, b"", |_| {})
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.raw(b'0', name, "", content.as_bytes(), |_| {})
    }

    fn directory(self, name: &str) -> Self {
        self.entry(b'5', name, "")
    }

    fn pax(self, kind: u8, records: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..rest + 9).find(|all| rest + all.to_string().len() == *all).expect("a length");
            writeln!(text, "{length} {key}={value}").expect("a string");
        }
        self.raw(kind, "pax", "", text.as_bytes(), |_| {})
    }

    fn without_end(self) -> Vec<u8> {
        gzip(&self.0)
    }

    fn gz(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        gzip(&self.0)
    }

    fn refused(self) -> String {
        refusal(&self.gz(), OsFamily::Linux)
    }
}

/// One member of a ZIP: what its own header says (`l_…`) and what the directory says may be changed apart.
#[derive(Clone)]
struct Member {
    name: Vec<u8>,
    l_name: Vec<u8>,
    host: u8,
    flags: u16,
    l_flags: u16,
    method: u16,
    l_method: u16,
    data: Vec<u8>,
    crc: u32,
    l_crc: u32,
    size: u32,
    l_size: u32,
    l_compressed: Option<u32>,
    attributes: u32,
    extra: Vec<u8>,
    descriptor: Option<Vec<u8>>,
    before: Vec<u8>,
    offset: Option<u32>,
}

fn member(name: &str, content: &[u8]) -> Member {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("memory");
    let mut sum = Crc::new();
    sum.update(content);
    let size = u32::try_from(content.len()).expect("small");
    let mode = if name.ends_with('/') { 0o040_755 } else { 0o100_644 };
    Member {
        name: name.into(),
        l_name: name.into(),
        host: 3,
        flags: 0,
        l_flags: 0,
        method: 8,
        l_method: 8,
        data: encoder.finish().expect("memory"),
        crc: sum.sum(),
        l_crc: sum.sum(),
        size,
        l_size: size,
        l_compressed: None,
        attributes: mode << 16,
        extra: Vec::new(),
        descriptor: None,
        before: Vec::new(),
        offset: None,
    }
}

fn stored(name: &str, content: &[u8]) -> Member {
    Member { method: 0, l_method: 0, data: content.to_vec(), ..member(name, content) }
}

impl Member {
    fn with(mut self, change: impl Fn(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// As a writer makes it that cannot rewind.
    fn streamed(self, marked: bool) -> Self {
        self.with(|m| {
            (m.flags, m.l_flags) = (m.flags | 8, m.l_flags | 8);
            let mut descriptor = if marked { b"PK\x07\x08".to_vec() } else { Vec::new() };
            for value in [m.crc, u32::try_from(m.data.len()).expect("small"), m.size] {
                descriptor.extend_from_slice(&value.to_le_bytes());
            }
            m.descriptor = Some(descriptor);
            (m.l_crc, m.l_size, m.l_compressed) = (0, 0, Some(0));
        })
    }
}

fn zip_of(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    let put = |out: &mut Vec<u8>, half: &[u16]| half.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
    let put4 = |out: &mut Vec<u8>, word: &[u32]| word.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
    let len = |bytes: &[u8]| u16::try_from(bytes.len()).expect("short");
    for m in members {
        out.extend_from_slice(&m.before);
        let offset = m.offset.unwrap_or(u32::try_from(out.len()).expect("small"));
        let compressed = u32::try_from(m.data.len()).expect("small");
        out.extend_from_slice(b"PK\x03\x04");
        put(&mut out, &[20, m.l_flags, m.l_method, 0, 0x21]);
        put4(&mut out, &[m.l_crc, m.l_compressed.unwrap_or(compressed), m.l_size]);
        put(&mut out, &[len(&m.l_name), 0]);
        out.extend_from_slice(&m.l_name);
        out.extend_from_slice(&m.data);
        out.extend_from_slice(m.descriptor.as_deref().unwrap_or_default());
        directory.extend_from_slice(b"PK\x01\x02\x14");
        directory.push(m.host);
        put(&mut directory, &[20, m.flags, m.method, 0, 0x21]);
        put4(&mut directory, &[m.crc, compressed, m.size]);
        put(&mut directory, &[len(&m.name), len(&m.extra), 0, 0, 0]);
        put4(&mut directory, &[m.attributes, offset]);
        directory.extend_from_slice(&m.name);
        directory.extend_from_slice(&m.extra);
    }
    let start = u32::try_from(out.len()).expect("small");
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(members.len()).expect("few");
    put(&mut out, &[count, count]);
    put4(&mut out, &[u32::try_from(directory.len()).expect("small"), start]);
    put(&mut out, &[0]);
    out
}

fn zip_refused(members: &[Member]) -> String {
    refusal(&zip_of(members), OsFamily::Linux)
}

/// Each case's sentence, below each other.
fn sentences<const N: usize>(cases: [(&str, String); N]) -> String {
    cases.into_iter().fold(String::new(), |all, (case, sentence)| all + case + ": " + &sentence + "\n")
}

#[test]
fn a_tar_is_shown_in_its_order_without_special_bits() {
    let archive = Tar::default()
        .directory("./")
        .directory("./bin/")
        .raw(b'0', "./bin/tool", "", b"#!", |block| block[100..107].copy_from_slice(b"0004755"))
        .file("secret", "x")
        .entry(b'2', "bin/link", "../secret")
        .entry(b'1', "bin/twin", "bin/tool")
        .raw(b'5', "closed", "", b"", |block| block[100..107].copy_from_slice(b"0001000"))
        .gz();
    insta::assert_snapshot!(list(&archive, OsFamily::Linux).expect("right"), @r"
    bin/ 755
    bin/tool 755 2
    secret 644 1
    bin/link -> ../secret
    bin/twin = bin/tool
    closed/ 700
    ");
    let (format, summary) = inspect(Cursor::new(&archive), 0, OsFamily::Linux, &SMALL).expect("right");
    assert_eq!((format, summary.entries, summary.unpacked), (ArchiveFormat::TarGz, 7, 3));
    assert_eq!(summary.files.len(), 3);
    for there in ["secret", "./secret", "bin//tool", "bin/link", "bin/twin"] {
        assert!(summary.contains_file(there), "{there}");
    }
    for absent in ["", ".", "bin", "Secret", "closed", "bin/secret", "bin\\tool"] {
        assert!(!summary.contains_file(absent), "{absent}");
    }
}

#[test]
fn a_command_is_found_by_way_of_links_and_in_any_case_on_windows() {
    let archive =
        Tar::default().directory("v2").file("v2/run", "x").entry(b'2', "now", "v2").entry(b'2', "o", "o").gz();
    let (_, summary) = inspect(Cursor::new(&archive), 0, OsFamily::Linux, &SMALL).expect("right");
    assert!(summary.contains_file("now/run") && !summary.contains_file("now/stop") && !summary.contains_file("o"));
    let archive = zip_of(&[member("Bin/", b""), member("Bin/Setup.exe", b"MZ")]);
    let (_, summary) = inspect(Cursor::new(&archive), 0, OsFamily::Windows, &SMALL).expect("right");
    assert!(summary.contains_file("bin\\SETUP.EXE") && !summary.contains_file("setup.exe"));
}

#[test]
fn tars_of_things_that_packages_do_not_hold() {
    insta::assert_snapshot!(sentences([
        ("absolute", Tar::default().file("/etc/passwd", "x").refused()),
        ("up", Tar::default().file("a/../../b", "x").refused()),
        ("up inside", Tar::default().file("a/../b", "x").refused()),
        ("empty", Tar::default().file("", "x").refused()),
        ("nothing", Tar::default().raw(b'0', ".", "", b"", |_| {}).refused()),
        ("control", Tar::default().file("a\u{1b}[2Jb", "x").refused()),
        ("not UTF-8", Tar::default().raw(b'0', "ab", "", b"", |block| block[1] = 0xff).refused()),
        ("deep", Tar::default().file("1/2/3/4/5/6", "x").refused()),
        ("device", Tar::default().entry(b'4', "disk", "").refused()),
        ("character device", Tar::default().entry(b'3', "tty", "").refused()),
        ("fifo", Tar::default().entry(b'6', "pipe", "").refused()),
        ("sparse", Tar::default().entry(b'S', "holes", "").refused()),
        ("volume", Tar::default().entry(b'V', "label", "").refused()),
        ("unknown", Tar::default().entry(b'Z', "what", "").refused()),
        ("link out", Tar::default().entry(b'2', "a/l", "../../etc").refused()),
        ("link to root", Tar::default().entry(b'2', "l", "/etc").refused()),
        ("link around", Tar::default().directory("p").entry(b'2', "p/up", "..").entry(b'2', "p/evil", "up/../x").refused()),
        ("link to nothing", Tar::default().entry(b'2', "l", "").refused()),
        ("through a link", Tar::default().entry(b'2', "l", "dir").file("l/x", "x").refused()),
        ("link over directory", Tar::default().file("l/x", "x").entry(b'2', "l", "dir").refused()),
        ("hard link to later", Tar::default().entry(b'1', "a", "b").file("b", "x").refused()),
        ("hard link out", Tar::default().entry(b'1', "a", "/etc/shadow").refused()),
        ("hard link to a link", Tar::default().entry(b'2', "l", "x").entry(b'1', "a", "l").refused()),
        ("twice", Tar::default().file("a", "1").file("./a", "1").refused()),
        ("file as directory", Tar::default().file("a", "1").file("a/b", "1").refused()),
        ("directory as file", Tar::default().directory("a").file("a", "1").refused()),
        ("content of a directory", Tar::default().raw(b'5', "a", "", b"x", |_| {}).refused()),
        ("file with slash", Tar::default().file("a/", "").refused()),
    ]), @r#"
    absolute: the path "/etc/passwd" is refused: it is absolute
    up: the path "a/../../b" is refused: it contains ".."
    up inside: the path "a/../b" is refused: it contains ".."
    empty: the path "" is refused: it is empty
    nothing: the path "." is refused: it names nothing
    control: the path "a�[2Jb" is refused: it contains a control character
    not UTF-8: the path "a�" is refused: it is not UTF-8: rename the file, or build the archive on a system that uses UTF-8
    deep: the archive nests "1/2/3/4/5/6" 6 deep, more than the limit of 5 (limit "depth")
    device: "disk" is a block device: a package holds regular files, directories and links that stay inside
    character device: "tty" is a character device: a package holds regular files, directories and links that stay inside
    fifo: "pipe" is a fifo: a package holds regular files, directories and links that stay inside
    sparse: "holes" is a sparse file (build the archive without --sparse): a package holds regular files, directories and links that stay inside
    volume: "label" is a record of multi-volume or incremental backups: a package holds regular files, directories and links that stay inside
    unknown: "what" is of a kind that not every tar knows: a package holds regular files, directories and links that stay inside
    link out: the link "a/l" to "../../etc" is refused: its target lies outside the package
    link to root: the link "l" to "/etc" is refused: its target is absolute: make it relative
    link around: the link "p/evil" to "up/../x" is refused: its target has ".." behind a name: put every ".." in front
    link to nothing: the link "l" to "" is refused: it has no target
    through a link: the path "l/x" is refused: a directory of it is a link, and nothing is written through links
    link over directory: "l" stands twice in the archive, with different content
    hard link to later: the link "a" to "b" is refused: a hard link leads to a file that came before it in the archive, and this one does not
    hard link out: the path "/etc/shadow" is refused: it is absolute
    hard link to a link: the link "a" to "l" is refused: a hard link leads to a file that came before it in the archive, and this one does not
    twice: "a" stands twice in the archive, with different content
    file as directory: the path "a/b" is refused: a directory of it is a file
    directory as file: "a" stands twice in the archive, with different content
    content of a directory: "a" is described in a way that systems understand differently (it is not a file, but has content): build the archive anew
    file with slash: "a/" is described in a way that systems understand differently (it is a file by its type and a directory by its name): build the archive anew
    "#);
}

#[test]
fn tars_that_readers_understand_differently() {
    let long = "x/".repeat(2) + "y";
    insta::assert_snapshot!(sentences([
        ("pax size", Tar::default().pax(b'x', &[("size", "2")]).file("a", "1").refused()),
        ("pax path twice", Tar::default().pax(b'x', &[("path", "a"), ("path", "b")]).file("a", "1").refused()),
        ("pax and GNU name", Tar::default().pax(b'x', &[("path", "b")]).raw(b'L', "L", "", long.as_bytes(), |_| {}).file("a", "1").refused()),
        ("two pax records", Tar::default().pax(b'x', &[("path", "a")]).pax(b'x', &[("path", "a")]).file("a", "1").refused()),
        ("two GNU names", Tar::default().raw(b'L', "L", "", b"a\0", |_| {}).raw(b'L', "L", "", b"b\0", |_| {}).file("a", "1").refused()),
        ("NUL in a name", Tar::default().raw(b'L', "L", "", b"a\0b\0", |_| {}).file("a", "1").refused()),
        ("global path", Tar::default().pax(b'g', &[("path", "a")]).file("b", "1").refused()),
        ("pax sparse", Tar::default().pax(b'x', &[("GNU.sparse.major", "1")]).file("b", "1").refused()),
        ("character set", Tar::default().pax(b'x', &[("hdrcharset", "BINARY")]).file("b", "1").refused()),
        ("pax out", Tar::default().pax(b'x', &[("path", "../x")]).file("b", "1").refused()),
        ("pax cut", Tar::default().raw(b'x', "pax", "", b"99 path=a\n", |_| {}).file("b", "1").refused()),
        ("record without entry", Tar::default().pax(b'x', &[("path", "a")]).refused()),
        ("unknown magic", Tar::default().file("first", "").raw(b'0', "a", "", b"", |block| block[257..262].copy_from_slice(b"vstar")).refused()),
        ("long record", Tar::default().raw(b'x', "pax", "", &vec![b' '; (1 << 20) + 1], |_| {}).refused()),
    ]), @r#"
    pax size: "a" is described in a way that systems understand differently (its extended record has another size than its header): build the archive anew
    pax path twice: "pax" is described in a way that systems understand differently (an extended record says one thing twice): build the archive anew
    pax and GNU name: "a" is described in a way that systems understand differently (its extended records give it two names or targets): build the archive anew
    two pax records: "pax" is described in a way that systems understand differently (it has extended records twice): build the archive anew
    two GNU names: "L" is described in a way that systems understand differently (an extended record says one thing twice): build the archive anew
    NUL in a name: "L" is described in a way that systems understand differently (its long name holds a NUL): build the archive anew
    global path: "pax" is described in a way that systems understand differently (a global record gives every entry the same name or size): build the archive anew
    pax sparse: "pax" is a sparse file (build the archive without --sparse): a package holds regular files, directories and links that stay inside
    character set: "pax" is described in a way that systems understand differently (its names are in another character set than UTF-8): build the archive anew
    pax out: the path "../x" is refused: it contains ".."
    pax cut: the archive is damaged: the header of "pax" has a wrong extended record
    record without entry: the archive is damaged: an extended record belongs to no entry
    unknown magic: "a" is described in a way that systems understand differently (its header names no known tar format): build the archive anew
    long record: the archive has an extended record of 1 MiB, more than the limit of 1 MiB
    "#);
}

#[test]
fn damaged_tars() {
    let right = Tar::default().file("a", "some content").gz();
    let mut wrong_sum = right.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    let mut inflated = Tar::default().file("a", "1");
    inflated.0[0] = b'b';
    let mut after = Tar::default().file("a", "1");
    after.0.extend_from_slice(&[0; 1024]);
    after = after.file("b", "2");
    let mut lone = Tar::default().file("a", "1");
    lone.0.extend_from_slice(&[0; 512]);
    let incompressible: Vec<u8> = (0_u32..200_000).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let cut = Tar::default().raw(b'0', "a", "", &incompressible[..30_000], |_| {}).gz();
    insta::assert_snapshot!(sentences([
        ("no end", refusal(&Tar::default().file("a", "1").without_end(), OsFamily::Linux)),
        ("half an end", refusal(&lone.without_end(), OsFamily::Linux)),
        ("two archives", refusal(&after.without_end(), OsFamily::Linux)),
        ("nothing", refusal(&gzip(b""), OsFamily::Linux)),
        ("cut content", refusal(&cut[..cut.len() / 2], OsFamily::Linux)),
        ("cut gzip", refusal(&right[..right.len() - 1], OsFamily::Linux)),
        ("rubbish after gzip", refusal(&[&right[..], b"rubbish, a lot of it"].concat(), OsFamily::Linux)),
        ("zero after gzip", refusal(&[&right[..], &[0; 100]].concat(), OsFamily::Linux)),
        ("wrong gzip sum", refusal(&wrong_sum, OsFamily::Linux)),
        ("wrong header sum", refusal(&inflated.gz(), OsFamily::Linux)),
        ("size of letters", Tar::default().raw(b'0', "a", "", b"", |block| block[124..128].copy_from_slice(b"zzzz")).refused()),
        ("not an archive", refusal(b"#!/bin/sh", OsFamily::Linux)),
        ("empty", refusal(b"", OsFamily::Linux)),
        ("gzip of text", refusal(&gzip(&[b'a'; 2000]), OsFamily::Linux)),
    ]), @r#"
    no end: the archive is truncated: it ends before its blocks of zeros, which end a tar
    half an end: the archive is truncated: it ends before its blocks of zeros, which end a tar
    two archives: the archive is damaged: something follows the end of the tar
    nothing: the archive is truncated: it ends before its first entry
    cut content: the archive is truncated: it ends inside "a"
    cut gzip: the archive is truncated: it ends after the last entry
    rubbish after gzip: the archive is damaged: invalid gzip header, after the last entry
    zero after gzip: the archive is damaged: invalid gzip header, after the last entry
    wrong gzip sum: the archive is damaged: corrupt gzip stream does not have a matching checksum, after the last entry
    wrong header sum: the archive is damaged: the header of "b" has a wrong check sum
    size of letters: the archive is damaged: the header of "a" has a wrong size
    not an archive: this is neither a ZIP nor a TAR.GZ archive
    empty: this is neither a ZIP nor a TAR.GZ archive
    gzip of text: the archive is damaged: what is compressed in it is not a tar
    "#);
}

#[test]
fn bounds_hold_while_reading() {
    let many = (0..13).fold(Tar::default(), |tar, n| tar.file(&format!("f{n}"), ""));
    let implied = (0..5).fold(Tar::default(), |tar, n| tar.file(&format!("{n}/a/b"), ""));
    let zeros = Tar::default().raw(b'0', "bomb", "", &vec![0; 5 << 20], |_| {});
    let padding = gzip(&[Tar::default().file("a", "1").0, vec![0; 5 << 20]].concat());
    let two = zip_of(&[member("a", &vec![0; 40 << 10]), member("b", &vec![0; 40 << 10])]);
    insta::assert_snapshot!(sentences([
        ("entries", many.refused()),
        ("implied directories", implied.refused()),
        ("bomb", zeros.refused()),
        ("padding", refusal(&padding, OsFamily::Linux)),
        ("zip bomb", refusal(&two, OsFamily::Linux)),
        ("long", Tar::default().raw(b'L', "L", "", "a".repeat(201).as_bytes(), |_| {}).file("a", "").refused()),
        ("zip entries", zip_refused(&(0..13).map(|n| member(&format!("f{n}"), b"")).collect::<Vec<_>>())),
    ]), @r#"
    entries: the archive has at least 13 files and directories, more than the limit of 12 (limit "entries")
    implied directories: the archive has at least 15 files and directories, more than the limit of 12 (limit "entries")
    bomb: the archive unpacks to at least 5 MiB, more than the limit of 505.4 KiB (limits "unpacked_ratio", 100 times its size, and "unpacked_floor", 64 KiB)
    padding: the archive unpacks to at least 512 KiB, more than the limit of 505.5 KiB (limits "unpacked_ratio", 100 times its size, and "unpacked_floor", 64 KiB)
    zip bomb: the archive unpacks to at least 80 KiB, more than the limit of 64 KiB (limits "unpacked_ratio", 100 times its size, and "unpacked_floor", 64 KiB)
    long: the path "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…" is refused: it is too long (limit "path")
    zip entries: the archive has at least 13 files and directories, more than the limit of 12 (limit "entries")
    "#);
}

#[test]
fn names_that_windows_reads_in_its_own_way() {
    let on_windows = |name: &str| refusal(&zip_of(&[member("ok", b""), member(name, b"")]), OsFamily::Windows);
    insta::assert_snapshot!(sentences([
        ("device", on_windows("con")),
        ("device with a suffix", on_windows("a/Lpt1.txt")),
        ("superscript", refusal(&zip_of(&[member("COM².log", b"").with(|m| (m.flags, m.l_flags) = (1 << 11, 1 << 11))]), OsFamily::Windows)),
        ("dot", on_windows("a.")),
        ("blank", on_windows("dir /x")),
        ("drive", on_windows("c:x")),
        ("star", on_windows("a*")),
        ("case", on_windows("OK")),
        ("backslash", on_windows("..\\x")),
        ("link", refusal(&zip_of(&[member("l", b"x").with(|m| m.attributes = 0o120_777 << 16)]), OsFamily::Windows)),
        ("case of a directory", refusal(&zip_of(&[member("A/x", b""), member("a/y", b"")]), OsFamily::Windows)),
        ("sharp s", refusal(&Tar::default().file("straße", "").file("STRASSE", "").gz(), OsFamily::Macos)),
        ("unmarked name", on_windows("größe")),
    ]), @r#"
    device: the path "con" is refused: a name in it is a device of Windows
    device with a suffix: the path "a/Lpt1.txt" is refused: a name in it is a device of Windows
    superscript: the path "COM².log" is refused: a name in it is a device of Windows
    dot: the path "a." is refused: a name in it ends in a dot or a blank, which Windows drops
    blank: the path "dir /x" is refused: a name in it ends in a dot or a blank, which Windows drops
    drive: the path "c:x" is refused: it contains a colon, which Windows takes for a drive or a stream
    star: the path "a*" is refused: it contains a character that Windows does not have in names
    case: the path "OK" is refused: a name in it differs from another one only in case, so the system would mix them up
    backslash: the path "..\x" is refused: it contains a backslash, which some systems take for a separator
    link: the link "l" to "x" is refused: a package for Windows holds no links
    case of a directory: the path "a/y" is refused: a name in it differs from another one only in case, so the system would mix them up
    sharp s: the path "STRASSE" is refused: a name in it differs from another one only in case, so the system would mix them up
    unmarked name: the path "größe" is refused: it is not marked as UTF-8, so every system reads another name: build the ZIP with UTF-8 names
    "#);
    let fine =
        Tar::default().file("con", "").file("a:b", "").file("A:b", "").file("dev\\x2dsda", "").file("a.", "").gz();
    assert!(list(&fine, OsFamily::Linux).is_ok());
    let fine = zip_of(&[member("com10", b""), member("console.txt", b""), member(".a.b", b"")]);
    assert!(list(&fine, OsFamily::Windows).is_ok());
}

#[test]
fn zips_that_agents_cannot_read_or_that_say_two_things() {
    let one = |change: &dyn Fn(&mut Member)| zip_refused(&[member("a", b"content").with(change), member("b", b"")]);
    insta::assert_snapshot!(sentences([
        ("encrypted", one(&|m| (m.flags, m.l_flags) = (1, 1))),
        ("encrypted for one", one(&|m| m.l_flags = 1)),
        ("AES", one(&|m| m.extra = vec![1, 0x99, 0, 0])),
        ("method", one(&|m| (m.method, m.l_method) = (12, 12))),
        ("Deflate64", one(&|m| (m.method, m.l_method) = (9, 9))),
        ("another method", one(&|m| m.l_method = 0)),
        ("another name", one(&|m| m.l_name = b"b".to_vec())),
        ("another size", one(&|m| m.l_size = 6)),
        ("another sum", one(&|m| m.l_crc = 6)),
        ("another length", one(&|m| m.l_compressed = Some(1))),
        ("too small a size", one(&|m| (m.size, m.l_size) = (6, 6))),
        ("too large a size", one(&|m| (m.size, m.l_size) = (8, 8))),
        ("wrong sum", one(&|m| (m.crc, m.l_crc) = (6, 6))),
        ("bad data", one(&|m| m.data = vec![0xff; 9])),
        ("cut data", one(&|m| m.data.truncate(4))),
        ("data after the data", one(&|m| m.data.push(0))),
        ("stored with two sizes", zip_refused(&[stored("a", b"12").with(|m| (m.size, m.l_size) = (1, 1))])),
        ("flags", one(&|m| (m.flags, m.l_flags) = (1 << 5, 1 << 5))),
        ("unicode name", one(&|m| m.extra = b"\x75\x70\x06\0\x01....b".to_vec())),
        ("cut extra", one(&|m| m.extra = vec![1, 0, 9, 0])),
        ("two ZIP64 records", one(&|m| m.extra = vec![1, 0, 0, 0, 1, 0, 0, 0])),
        ("device", one(&|m| m.attributes = 0o020_644 << 16)),
        ("fifo", one(&|m| m.attributes = 0o010_644 << 16)),
        ("socket", one(&|m| m.attributes = 0o140_644 << 16)),
        ("directory by mode", one(&|m| m.attributes = 0o040_755 << 16)),
        ("link for some", one(&|m| (m.attributes, m.host) = (0o120_777 << 16, 0))),
        ("link out", zip_refused(&[member("l", b"../x").with(|m| m.attributes = 0o120_777 << 16)])),
("directory with content", zip_refused(&[member("d/", b"x")])),
        ("backslash", zip_refused(&[member("d\\x", b"x")])),
        ("absolute", zip_refused(&[member("/x", b"x")])),
        ("up", zip_refused(&[member("../x", b"x")])),
        ("twice", zip_refused(&[member("x", b"1"), member("x", b"2")])),
        ("unmarked", zip_refused(&[member("größe", b"1").with(|m| m.host = 0)])),
    ]), @r#"
    encrypted: the archive is encrypted ("a"): agents have no password; build it without one
    encrypted for one: "a" is described in a way that systems understand differently (its own header has another method or other flags than the directory): build the archive anew
    AES: the archive is encrypted ("a"): agents have no password; build it without one
    method: "a" is compressed by bzip2, which agents cannot read: use Deflate
    Deflate64: "a" is compressed by Deflate64, which agents cannot read: use Deflate
    another method: "a" is described in a way that systems understand differently (its own header has another method or other flags than the directory): build the archive anew
    another name: "a" is described in a way that systems understand differently (its own header gives it another name than the directory): build the archive anew
    another size: "a" is described in a way that systems understand differently (its own header has another size or check sum than the directory): build the archive anew
    another sum: "a" is described in a way that systems understand differently (its own header has another size or check sum than the directory): build the archive anew
    another length: "a" is described in a way that systems understand differently (its own header has another size or check sum than the directory): build the archive anew
    too small a size: the archive is damaged: it is larger than its header says, inside "a"
    too large a size: the archive is damaged: it is smaller than its header says, inside "a"
    wrong sum: the archive is damaged: its check sum does not match, inside "a"
    bad data: the archive is damaged: corrupt deflate stream, inside "a"
    cut data: the archive is truncated: it ends inside "a"
    data after the data: the archive is damaged: something follows its data, inside "a"
    stored with two sizes: "a" is described in a way that systems understand differently (it is stored, but its two sizes differ): build the archive anew
    flags: "a" is described in a way that systems understand differently (it has flags that not every ZIP reader knows): build the archive anew
    unicode name: "a" is described in a way that systems understand differently (its Unicode name differs from its name): build the archive anew
    cut extra: the archive is damaged: the extra records of "a" are cut
    two ZIP64 records: "a" is described in a way that systems understand differently (it has an extra record twice): build the archive anew
    device: "a" is a character device: a package holds regular files, directories and links that stay inside
    fifo: "a" is a fifo: a package holds regular files, directories and links that stay inside
    socket: "a" is a socket: a package holds regular files, directories and links that stay inside
    directory by mode: "a" is described in a way that systems understand differently (it is a directory by its name or by its mode, but not by both): build the archive anew
    link for some: "a" is described in a way that systems understand differently (it is a link to some systems only): build the archive anew
    link out: the link "l" to "../x" is refused: its target lies outside the package
    directory with content: "d/" is described in a way that systems understand differently (it is a directory, but has content): build the archive anew
    backslash: the path "d\x" is refused: it contains a backslash, which some systems take for a separator
    absolute: the path "/x" is refused: it is absolute
    up: the path "../x" is refused: it contains ".."
    twice: "x" stands twice in the archive, with different content
    unmarked: the path "größe" is refused: it is not marked as UTF-8, so every system reads another name: build the ZIP with UTF-8 names
    "#);
}

#[test]
fn zips_whose_parts_do_not_fit_together() {
    let two = [member("a", b"content"), member("b", b"more")];
    let right = zip_of(&two);
    assert!(list(&right, OsFamily::Linux).is_ok());
    let raw = |bytes: Vec<u8>| refusal(&bytes, OsFamily::Linux);
    let change = |from_end: usize, value: u8| {
        let mut bytes = right.clone();
        let at = bytes.len() - from_end;
        bytes[at] = value;
        bytes
    };
    insta::assert_snapshot!(sentences([
        ("junk in front", raw([b"PK\x03\x04junk", &right[..]].concat())),
        ("a program in front", raw([b"MZ", &right[..]].concat())),
        ("junk behind", raw([&right[..], b"junk"].concat())),
        ("junk between", zip_refused(&[two[0].clone(), two[1].clone().with(|m| m.before = b"junk".to_vec())])),
        ("overlap", zip_refused(&[two[0].clone(), two[0].clone().with(|m| m.offset = Some(0))])),
        ("hidden member", zip_refused(&[two[0].clone().with(|m| {
            // Shown by readers that go from member to member, unknown to the directory.
            let hidden = zip_of(&[member("hidden", b"x")]);
            m.data.extend_from_slice(&hidden);
        })])),
        ("cut", raw(right[..right.len() - 3].to_vec())),
        ("half", raw(right[..right.len() / 2].to_vec())),
        ("several disks", raw(change(18, 1))),
        ("more members", raw({ let mut bytes = change(12, 3); let at = bytes.len() - 14; bytes[at] = 3; bytes })),
        ("fewer members", raw({ let mut bytes = change(12, 1); let at = bytes.len() - 14; bytes[at] = 1; bytes })),
        ("no ZIP64", raw({ let mut bytes = change(12, 255); for back in [14, 13, 11] { let at = bytes.len() - back; bytes[at] = 255; } bytes })),
        ("comment with another end", raw({ let mut bytes = change(2, 22); bytes.extend_from_slice(b"PK\x05\x06"); bytes.extend_from_slice(&[0; 18]); bytes })),
        ("wrong descriptor", zip_refused(&[two[0].clone().streamed(true).with(|m| m.descriptor.as_mut().expect("one")[5] ^= 1)])),
        ("missing descriptor", zip_refused(&[two[0].clone().streamed(true).with(|m| m.descriptor = None)])),
        ("unannounced descriptor", zip_refused(&[two[0].clone().streamed(true).with(|m| (m.flags, m.l_flags) = (0, 0))])),
    ]), @r#"
    junk in front: the archive is damaged: something stands before it or inside it that belongs to no member
    a program in front: this is neither a ZIP nor a TAR.GZ archive
    junk behind: the archive is damaged: something follows its end record
    junk between: the archive is damaged: the bytes after "a" belong to no member
    overlap: the archive is damaged: "a" overlaps what follows it
    hidden member: the archive is damaged: something follows its data, inside "a"
    cut: the archive is truncated: its directory, which stands at the end, is missing
    half: the archive is truncated: its directory, which stands at the end, is missing
    several disks: the archive is damaged: it is a part of an archive in several files
    more members: the archive is truncated: it ends inside its directory
    fewer members: the archive is damaged: its directory holds more than it says
    no ZIP64: the archive is damaged: its ZIP64 end record is missing
    comment with another end: the archive is damaged: something stands before it or inside it that belongs to no member
    wrong descriptor: "a" is described in a way that systems understand differently (the record after its data has another size or check sum than the directory): build the archive anew
    missing descriptor: the archive is damaged: the bytes after "a" belong to no member
    unannounced descriptor: "a" is described in a way that systems understand differently (its own header has another size or check sum than the directory): build the archive anew
    "#);
}

#[test]
fn zips_of_every_writer_are_read() {
    let archive = zip_of(&[
        member("d/", b""),
        member("d/deflated", b"content").streamed(true),
        member("d/unmarked", b"content").streamed(false),
        stored("stored", b"content"),
        stored("d/empty", b""),
        member("d/link", b"../stored").with(|m| m.attributes = 0o120_777 << 16),
        member("dos", b"x").with(|m| (m.host, m.attributes) = (0, 0x20)),
        member("größe", b"x").with(|m| (m.flags, m.l_flags) = (1 << 11, 1 << 11)),
        member("maß", b"x"),
    ]);
    insta::assert_snapshot!(list(&archive, OsFamily::Linux).expect("right"), @r"
    d/ 755
    d/deflated 644 7
    d/unmarked 644 7
    stored 644 7
    d/empty 644 0
    d/link -> ../stored
    dos 644 1
    größe 644 1
    maß 644 1
    ");
    let mut commented = zip_of(&[member("a", b"x"), member("b", b"x")]);
    let at = commented.len() - 2;
    commented[at] = 5;
    commented.extend_from_slice(b"hello");
    assert!(list(&commented, OsFamily::Windows).is_ok());
    assert_eq!(list(&zip_of(&[]), OsFamily::Windows).expect("empty"), "");
}

#[test]
fn tars_of_every_writer_are_read() {
    let long = format!("dir/{}", "n".repeat(150));
    let archive = Tar::default()
        .pax(b'g', &[("comment", "0123abc")])
        .raw(0, "old", "", b"v7", |block| block[257..265].fill(0))
        .raw(0, "olddir/", "", b"", |block| block[257..265].fill(0))
        .pax(b'x', &[("path", &long), ("mtime", "1.5"), ("size", "3")])
        .file("dir/nnn", "pax")
        .raw(b'L', "././@LongLink", "", format!("{long}2\0").as_bytes(), |_| {})
        .raw(b'0', "dir/nnn", "", b"gnu", |block| block[257..265].copy_from_slice(b"ustar  \0"))
        .raw(b'0', "file", "", b"prefixed", |block| block[345..351].copy_from_slice(b"prefix"))
        .raw(b'0', "binary", "", b"12", |block| {
            block[124..136].fill(0);
            (block[124], block[135]) = (0x80, 2);
        })
        .raw(b'K', "././@LongLink", "", "t/".repeat(80).as_bytes(), |_| {})
        .entry(b'2', "longlink", "t/t")
        .gz();
    insta::assert_snapshot!(list(&archive, OsFamily::Linux).expect("right"), @r"
    old 644 2
    olddir/ 744
    dir/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn 644 3
    dir/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn2 644 3
    prefix/file 644 8
    binary 644 2
    longlink -> t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/
    ");
    let whole = gunzip(&archive);
    let (first, second) = whole.split_at(1500);
    let members = [gzip(first), gzip(second)].concat();
    assert_eq!(list(&members, OsFamily::Linux).expect("gzip in two"), list(&archive, OsFamily::Linux).expect("one"));
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut whole).expect("gzip");
    whole
}

/// Runs a tool; `None`, said aloud, if it is not there.
fn run(program: &str, arguments: &[&str], directory: &std::path::Path) -> Option<Vec<u8>> {
    let output = Command::new(program).args(arguments).current_dir(directory).stdin(Stdio::null()).output();
    match output {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program} {arguments:?}: {errors}");
            Some(output.stdout)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("SKIPPED: there is no {program} here");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn sources() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
    for name in ["setup.sh", "sub/größe.txt", &long] {
        let path = directory.path().join("in").join(name);
        std::fs::create_dir_all(path.parent().expect("in/")).expect("a directory");
        File::create(path).and_then(|mut file| file.write_all(name.as_bytes())).expect("a file");
    }
    directory
}

const WIDE: ArchiveLimits = ArchiveLimits { path: 1024, entries: 1000, ..SMALL };

#[test]
fn real_tars_of_every_format_are_read() {
    let directory = sources();
    for format in ["gnu", "pax", "ustar", "oldgnu"] {
        let format = format!("--format={format}");
        let Some(archive) = run("tar", &["-cz", &format, "-C", "in", "."], directory.path()) else { return };
        let listing = list_with(&archive, OsFamily::Linux, &WIDE).unwrap_or_else(|error| panic!("{format}: {error}"));
        assert_eq!(listing.1["sub/größe.txt"], "sub/größe.txt".as_bytes(), "{format}");
        assert_eq!(listing.1.len(), 5, "{format}");
    }
    let Some(archive) = run("tar", &["-cz", "--format=v7", "-C", "in", "setup.sh", "sub"], directory.path()) else {
        return;
    };
    assert_eq!(list_with(&archive, OsFamily::Linux, &WIDE).expect("v7").1.len(), 3);
}

#[test]
fn real_zips_are_read_and_ours_are_unpacked() {
    let directory = sources();
    if run("zip", &["-q", "-r", "../out.zip", "."], &directory.path().join("in")).is_some() {
        let archive = std::fs::read(directory.path().join("out.zip")).expect("made");
        assert_eq!(list_with(&archive, OsFamily::Linux, &WIDE).expect("zip").1.len(), 5);
        let piped = run("zip", &["-q", "-r", "-", "."], &directory.path().join("in")).expect("still there");
        assert_eq!(list_with(&piped, OsFamily::Linux, &WIDE).expect("zip to a pipe").1.len(), 5);
    }
    let script = "import sys, io, zipfile\n\
                  class Pipe(io.RawIOBase):\n    def writable(s): return True\n    def write(s, b): return sys.stdout.buffer.write(b)\n\
                  z = zipfile.ZipFile(Pipe(), 'w', zipfile.ZIP_DEFLATED)\n\
                  z.writestr('d/', '')\nz.writestr('d/größe', 'x' * 9)\nz.close()\n";
    if let Some(archive) = run("python3", &["-c", script], directory.path()) {
        assert_eq!(list_with(&archive, OsFamily::Windows, &WIDE).expect("zipfile").1["d/größe"], b"xxxxxxxxx");
    }

    let large: Vec<u8> = (0_u32..9 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_be_bytes()[3]).collect();
    let bytes = pack_all(ArchiveFormat::Zip, &[("d", None), ("d/größe", Some(b"content")), ("large", Some(&large))]);
    let path = directory.path().join("ours.zip");
    File::create(&path).and_then(|mut file| file.write_all(&bytes)).expect("a file");
    if run("unzip", &["-q", "ours.zip", "-d", "zip"], directory.path()).is_some() {
        assert_eq!(std::fs::read(directory.path().join("zip/large")).expect("unpacked"), large);
        assert_eq!(std::fs::read(directory.path().join("zip/d/größe")).expect("unpacked"), b"content");
    }
    let bytes =
        pack_all(ArchiveFormat::TarGz, &[("d", None), (&"d/n".repeat(60), Some(b"x")), ("large", Some(&large))]);
    File::create(directory.path().join("ours.tgz")).and_then(|mut file| file.write_all(&bytes)).expect("a file");
    if run("tar", &["-xzf", "ours.tgz"], directory.path()).is_some() {
        assert_eq!(std::fs::read(directory.path().join("large")).expect("unpacked"), large);
        assert_eq!(std::fs::read(directory.path().join("d/n".repeat(60))).expect("unpacked"), b"x");
    }
}

/// Packs directories (`None`) and files; those below a directory "bin" may be executed.
fn pack_all(format: ArchiveFormat, entries: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let entries = entries.iter().map(|(path, content)| {
        let path = (*path).to_owned();
        Ok(match content {
            None => PackEntry::Directory { path },
            Some(content) => {
                let executable = path.starts_with("bin/");
                PackEntry::File { path, executable, size: content.len() as u64, content: *content }
            }
        })
    });
    pack(format, entries, Vec::new()).expect("packed")
}

#[test]
fn packing_twice_gives_the_same_bytes_and_the_modes_stay() {
    for format in [ArchiveFormat::Zip, ArchiveFormat::TarGz] {
        let entries: [(&str, Option<&[u8]>); 4] =
            [("bin", None), ("bin/run", Some(b"#!/bin/sh")), ("empty", Some(b"")), ("text", Some(b"text"))];
        let bytes = pack_all(format, &entries);
        assert_eq!(bytes, pack_all(format, &entries));
        assert_eq!(ArchiveFormat::detect(&bytes), Some(format));
        let listing = list(&bytes, OsFamily::Linux).expect("what we pack we take");
        assert_eq!(listing, "bin/ 755\nbin/run 755 9\nempty 644 0\ntext 644 4\n", "{format:?}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_told() {
    for (size, content) in [(3, &b"1234"[..]), (5, b"1234")] {
        for format in [ArchiveFormat::Zip, ArchiveFormat::TarGz] {
            let entry = PackEntry::File { path: "log".to_owned(), executable: false, size, content };
            let error = pack(format, [Ok(entry)], Vec::new()).expect_err("changed");
            assert_eq!(error.to_string(), "failed to pack \"log\"");
        }
    }
    let link = PackEntry::<&[u8]>::Link { path: "l".to_owned(), target: "x".to_owned() };
    let error = pack(ArchiveFormat::Zip, [Ok(link)], Vec::new()).expect_err("a link");
    insta::assert_snapshot!(error, @r#""l" is a symbolic link, which a ZIP for Windows cannot hold"#);
}

#[test]
fn another_reader_agrees_with_our_zip() {
    let bytes = pack_all(ArchiveFormat::Zip, &[("d", None), ("d/größe", Some(b"content")), ("empty", Some(b""))]);
    let mut archive = ::zip::ZipArchive::new(Cursor::new(bytes)).expect("a ZIP");
    assert_eq!(archive.len(), 3);
    let mut text = String::new();
    archive.by_name("d/größe").expect("there").read_to_string(&mut text).expect("read");
    assert_eq!(text, "content");
}

#[test]
fn a_visitor_that_fails_ends_the_walk_with_its_own_error() {
    struct Full;
    impl Visitor for Full {
        fn entry(&mut self, _: &EntryPath, _: &EntryKind, _: &mut dyn Read) -> Result<(), ArchiveError> {
            Err(io::Error::from(io::ErrorKind::StorageFull).into())
        }
    }
    let archive = Tar::default().file("a", "1").gz();
    let error = walk(Cursor::new(archive), 0, OsFamily::Linux, &SMALL, &mut Full).expect_err("full");
    assert!(matches!(&error, ArchiveError::Io(error) if error.kind() == io::ErrorKind::StorageFull), "{error:?}");
}

#[test]
fn a_visitor_cannot_hide_damage() {
    struct Deaf;
    impl Visitor for Deaf {
        fn entry(&mut self, _: &EntryPath, _: &EntryKind, content: &mut dyn Read) -> Result<(), ArchiveError> {
            let _ = content.read_to_end(&mut Vec::new());
            Ok(())
        }
    }
    let archive = zip_of(&[member("a", b"content").with(|m| (m.crc, m.l_crc) = (1, 1))]);
    let error = walk(Cursor::new(archive), 0, OsFamily::Linux, &SMALL, &mut Deaf).expect_err("damaged");
    insta::assert_snapshot!(error, @r#"the archive is damaged: its check sum does not match, inside "a""#);
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        Tar::default().directory("d").pax(b'x', &[("path", "d/x")]).file("x", "content").entry(b'2', "l", "d").gz(),
        zip_of(&[member("d/", b""), member("d/x", b"content").streamed(true), stored("s", b"12345")]),
        pack_all(ArchiveFormat::Zip, &[("d", None), ("d/x", Some(b"content"))]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_packed_is_listed(files in proptest::collection::btree_map("[a-z]{1,8}", proptest::collection::vec(any::<u8>(), 0..400), 0..8)) {
        for format in [ArchiveFormat::Zip, ArchiveFormat::TarGz] {
            let entries: Vec<(&str, Option<&[u8]>)> = files.iter().map(|(name, content)| (name.as_str(), Some(&content[..]))).collect();
            let listing = list_with(&pack_all(format, &entries), OsFamily::Linux, &SMALL);
            prop_assert_eq!(&listing.expect("ours").1, &files);
        }
    }

    #[test]
    fn no_mutation_panics_and_no_name_leaves(seed in 0_usize..3, inflated in any::<bool>(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        let mut bytes = seeds().swap_remove(seed);
        let gzipped = inflated && seed == 0;
        if gzipped {
            bytes = gunzip(&bytes);
        }
        for (index, value) in &changes {
            let at = index.index(bytes.len());
            bytes[at] = *value;
        }
        if cut.index(4) == 0 {
            let length = cut.index(bytes.len());
            bytes.truncate(length);
        }
        if gzipped {
            bytes = gzip(&bytes);
        }
        for os in [OsFamily::Linux, OsFamily::Windows] {
            if let Ok(listing) = list_with(&bytes, os, &SMALL) {
                for name in listing.1.keys() {
                    prop_assert!(!name.starts_with('/') && !name.split('/').any(|part| part.is_empty() || part == ".."));
                }
            }
        }
    }
}
