//! Archives from the writers of `tar` and `zip`, good and hostile.

use std::cell::Cell;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::*;
use crate::model::{Digest, DigestAlgorithm, FragmentCount, Hasher};

/// A tar.gz in the making, with whatever paths a test likes.
struct Tar(tar::Builder<GzEncoder<Vec<u8>>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast())))
    }

    fn entry(mut self, kind: EntryType, path: &str, target: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        // Past the writer's own checks: an attacker has another writer.
        let fields = header.as_old_mut();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).expect("a vector takes everything");
        self
    }

    fn file(self, path: &str, mode: u32, content: &str) -> Self {
        self.entry(EntryType::Regular, path, "", mode, content.as_bytes())
    }

    fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, path, "", mode, b"")
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, 0o777, b"")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, 0o644, b"")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().and_then(GzEncoder::finish).expect("a vector takes everything")
    }
}

struct Case {
    root: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("directory");
        fs::create_dir(root.path().join("outside")).expect("directory");
        Self { root }
    }

    fn place(&self) -> PathBuf {
        self.root.path().join("into")
    }

    fn outside(&self) -> PathBuf {
        self.root.path().join("outside")
    }

    fn run(&self, archive: &[u8]) -> Result<(), UnpackError> {
        let size = archive.len() as u64;
        unpack_reader(Cursor::new(archive), size, &self.place(), OsFamily::Linux, &ArchiveLimits::DEFAULT)
    }

    /// Nothing was left, and nothing was written beside the directory.
    fn assert_untouched(&self, what: &str) {
        let names: Vec<_> =
            fs::read_dir(self.root.path()).expect("directory").map(|entry| entry.expect("entry").file_name()).collect();
        assert_eq!(names, ["outside"], "{what}");
        assert_eq!(fs::read_dir(self.outside()).expect("directory").count(), 0, "{what}");
    }

    /// Every name, with its mode and content.
    fn unpacked(&self) -> String {
        let mut lines = Vec::new();
        let mut todo = vec![self.place()];
        while let Some(directory) = todo.pop() {
            for entry in fs::read_dir(&directory).expect("directory") {
                let path = entry.expect("entry").path();
                let metadata = fs::symlink_metadata(&path).expect("metadata");
                let name = path.strip_prefix(self.place()).expect("below").display().to_string();
                let what = if metadata.is_symlink() {
                    format!("-> {}", fs::read_link(&path).expect("link").display())
                } else if metadata.is_dir() {
                    todo.push(path);
                    format!("{:o} directory", metadata.mode() & 0o7777)
                } else {
                    format!("{:o} {}", metadata.mode() & 0o7777, fs::read_to_string(&path).expect("text"))
                };
                lines.push((name, what));
            }
        }
        lines.sort();
        lines.iter().map(|(name, what)| format!("{name}: {what}")).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn an_archive_becomes_a_directory() {
    let archive = Tar::new()
        .directory("./", 0o755)
        .file("./setup.sh", 0o4755, "#!/bin/sh\n")
        .link("first", "lib/real")
        .directory("lib", 0o2750)
        .file("lib/real", 0o640, "data")
        .file("lib/.hidden", 0o400, "dot")
        .hard_link("lib/again", "lib/real")
        .file("deep/down/without/directories", 0o644, "x")
        .directory("locked", 0o500)
        .file("locked/inside", 0o444, "y")
        .link("lib/up", "../setup.sh")
        .bytes();
    let case = Case::new();
    case.run(&archive).expect("unpacked");
    insta::assert_snapshot!(case.unpacked(), @r"
    deep: 755 directory
    deep/down: 755 directory
    deep/down/without: 755 directory
    deep/down/without/directories: 644 x
    first: -> lib/real
    lib: 750 directory
    lib/.hidden: 400 dot
    lib/again: 640 data
    lib/real: 640 data
    lib/up: -> ../setup.sh
    locked: 700 directory
    locked/inside: 444 y
    setup.sh: 755 #!/bin/sh
    ");
    assert_eq!(fs::metadata(case.place()).expect("metadata").mode() & 0o777, 0o700, "others may look in");
}

#[test]
fn a_zip_becomes_a_directory() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    writer.start_file("bin/setup.sh", options).expect("an entry");
    writer.write_all(b"#!").expect("content");
    writer.start_file("read me", options.unix_permissions(0o644)).expect("an entry");
    writer.write_all(&[b'x'; 1000]).expect("content");
    let archive = writer.finish().expect("a directory").into_inner();
    let case = Case::new();
    case.run(&archive).expect("unpacked");
    assert_eq!(fs::read_to_string(case.place().join("bin/setup.sh")).expect("file"), "#!");
    assert_eq!(fs::read(case.place().join("read me")).expect("file").len(), 1000);
    assert_eq!(fs::metadata(case.place().join("bin/setup.sh")).expect("metadata").mode() & 0o777, 0o755);
}

#[test]
fn hostile_archives_leave_nothing_anywhere() {
    let case = Case::new();
    let outside = case.outside().display().to_string();
    let large = "x".repeat(200_000);
    let begun = || Tar::new().file("a/first", 0o644, &large);
    let hostile = [
        ("an absolute path", begun().file(&format!("{outside}/x"), 0o644, "evil")),
        ("a way up", begun().file("../outside/x", 0o644, "evil")),
        ("a way up in the middle", begun().file("a/../../outside/x", 0o644, "evil")),
        ("an absolute link", begun().link("out", &outside).file("out/x", 0o644, "evil")),
        ("a link up", begun().link("out", "../outside").file("out/x", 0o644, "evil")),
        ("a link out of itself", begun().link("a/b", "../../outside")),
        ("a file through a link", begun().link("b", "a").file("b/x", 0o644, "evil")),
        ("a link over a directory", begun().link("a", ".")),
        ("a hard link out", begun().hard_link("x", &format!("{outside}/y"))),
        ("a hard link up", begun().hard_link("x", "../outside/y")),
        ("a hard link to nothing", begun().hard_link("x", "a/absent")),
        ("a hard link to a link", begun().link("l", "a/first").hard_link("x", "l")),
        ("a file twice", begun().file("a/first", 0o644, "other")),
        ("a file below a file", begun().file("a/first/x", 0o644, "evil")),
        ("a device", begun().entry(EntryType::Char, "null", "", 0o666, b"")),
        ("a fifo", begun().entry(EntryType::Fifo, "fifo", "", 0o666, b"")),
    ];
    for (what, archive) in hostile {
        let error = case.run(&archive.bytes()).expect_err(what);
        assert!(matches!(error, UnpackError::Archive(_)), "{what}: {error:?}");
        assert_eq!(error.result_code().as_str(), "ERR_BUILD", "{what}");
        case.assert_untouched(what);
    }
}

#[test]
fn a_damaged_archive_leaves_nothing() {
    let case = Case::new();
    let content = (0..50_000).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    let archive = Tar::new().file("a", 0o644, &content).file("b", 0o644, &content).bytes();
    let mut flipped = archive.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 0x40;
    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("no archive", b"#!/bin/sh\n"),
        ("half", &archive[..archive.len() / 2]),
        ("all but the end", &archive[..archive.len() - 4]),
        ("a wrong check sum", &flipped),
    ] {
        assert_eq!(case.run(bytes).expect_err(what).result_code().as_str(), "ERR_BUILD", "{what}");
        case.assert_untouched(what);
    }
}

#[test]
fn an_archive_that_inflates_too_far_leaves_nothing() {
    let case = Case::new();
    let archive = Tar::new().file("a", 0o644, "small").file("b", 0o644, &"0".repeat(2 << 20)).bytes();
    let limits = ArchiveLimits { unpacked_floor: 1 << 20, unpacked_ratio: 2, ..ArchiveLimits::DEFAULT };
    let size = archive.len() as u64;
    let error = unpack_reader(Cursor::new(archive), size, &case.place(), OsFamily::Linux, &limits);
    assert_eq!(error.expect_err("too large").result_code().as_str(), "ERR_BUILD");
    case.assert_untouched("a bomb");
}

#[test]
fn what_stands_in_the_directory_is_removed_first_and_not_followed() {
    let case = Case::new();
    fs::create_dir_all(case.place().join("old/deep")).expect("directory");
    File::create(case.place().join("old/deep/file")).expect("file");
    symlink(case.outside(), case.place().join("lib")).expect("link");
    symlink(case.outside().join("x"), case.place().join("setup.sh")).expect("link");
    let kept = case.outside().join("kept");
    File::create(&kept).expect("file");
    case.run(&Tar::new().file("lib/a", 0o644, "1").file("setup.sh", 0o755, "2").bytes()).expect("unpacked");
    assert_eq!(case.unpacked(), "lib: 755 directory\nlib/a: 644 1\nsetup.sh: 755 2");
    assert_eq!(fs::read_dir(case.outside()).expect("directory").count(), 1);
    assert!(kept.is_file());
}

#[test]
fn a_directory_that_is_a_link_is_refused() {
    let case = Case::new();
    symlink(case.outside(), case.place()).expect("link");
    File::create(case.outside().join("kept")).expect("file");
    let error = case.run(&Tar::new().file("a", 0o644, "1").bytes()).expect_err("a link");
    assert_eq!(error.result_code().as_str(), "ERR_UNZIP");
    assert!(case.outside().join("kept").is_file() && !case.outside().join("a").exists());
}

#[test]
fn a_directory_that_cannot_be_made_is_this_computers_fault() {
    let case = Case::new();
    let archive = Tar::new().file("a", 0o644, "1").bytes();
    let into = case.root.path().join("absent/into");
    let error = unpack_reader(Cursor::new(archive), 100, &into, OsFamily::Linux, &ArchiveLimits::DEFAULT);
    let error = error.expect_err("no parent");
    assert_eq!(error.result_code().as_str(), "ERR_UNZIP");
    assert!(error.to_string().starts_with("failed to prepare the directory /"), "{error}");
}

#[test]
fn a_link_planted_while_unpacking_is_not_followed() {
    /// Does what another user could do, before each entry is written.
    struct Attacked<'a> {
        inner: TreeWriter,
        plant: &'a dyn Fn(),
    }
    impl Visitor for Attacked<'_> {
        fn entry(&mut self, path: &EntryPath, kind: &EntryKind, content: &mut dyn Read) -> Result<(), ArchiveError> {
            (self.plant)();
            self.inner.entry(path, kind, content)
        }
    }
    let directories = Tar::new().directory("lib", 0o755).directory("lib/sub", 0o755);
    let archive = directories.file("lib/sub/a", 0o644, "1").file("b", 0o644, "2").bytes();
    let size = archive.len() as u64;
    for (planted, target) in [("lib", "."), ("lib/sub", "."), ("lib/sub/a", "file"), ("b", "file")] {
        let case = Case::new();
        let root = open_empty(&case.place()).expect("a directory");
        let done = Cell::new(false);
        let plant = || {
            let path = case.place().join(planted);
            if !done.get() && path.parent().is_some_and(Path::is_dir) {
                symlink(case.outside().join(target), path).expect("planted");
                done.set(true);
            }
        };
        let mut attacked = Attacked { inner: TreeWriter::new(root), plant: &plant };
        let walked =
            archive::walk(Cursor::new(&archive), size, OsFamily::Linux, &ArchiveLimits::DEFAULT, &mut attacked);
        assert!(done.get() && walked.is_err(), "{planted}");
        let failed = attacked.inner.failed.expect("our failure");
        assert_eq!(failed.result_code().as_str(), "ERR_UNZIP", "{planted}");
        assert_eq!(fs::read_dir(case.outside()).expect("directory").count(), 0, "{planted}");
    }
}

#[test]
fn an_empty_archive_is_an_empty_directory() {
    let case = Case::new();
    case.run(&Tar::new().bytes()).expect("unpacked");
    assert_eq!(case.unpacked(), "");
    assert!(case.place().is_dir());
}

#[test]
fn proof_is_all_that_the_door_takes() {
    let archive = Tar::new().file("setup.sh", 0o755, "#!").bytes();
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(&archive);
    let digest: Digest = hasher.finish();
    let file = tempfile::tempfile().expect("a file");
    let verified = archive::assemble(FragmentCount(1), &[digest], |_| Ok(archive.as_slice()), file).expect("verified");
    let case = Case::new();
    unpack(verified, archive.len() as u64, &case.place(), OsFamily::Linux, &ArchiveLimits::DEFAULT).expect("unpacked");
    assert_eq!(case.unpacked(), "setup.sh: 755 #!");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_apart_when_a_file_is_written() {
    let mut full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let Err(Stop::Write(source)) = copy(&mut &b"x"[..], &mut full, &mut [0; 16]) else { panic!("/dev/full took it") };
    let error = UnpackError::Write { entry: "x".to_owned(), source };
    assert_eq!(error.result_code().as_str(), "ERR_OUT_OF_SPACE");
}

/// The whole way, in a process of its own that may write files of 4 KiB only.
#[test]
fn a_disk_that_fills_up_on_the_way_leaves_nothing() {
    const PLACE: &str = "UNPACK_WITHOUT_SPACE";
    let name = "agent::unpack::tests::a_disk_that_fills_up_on_the_way_leaves_nothing";
    let archive = || Tar::new().file("small", 0o644, "fits").file("large", 0o644, &"x".repeat(100_000)).bytes();
    if let Some(into) = std::env::var_os(PLACE) {
        let archive = archive();
        let size = archive.len() as u64;
        let result =
            unpack_reader(Cursor::new(archive), size, Path::new(&into), OsFamily::Linux, &ArchiveLimits::DEFAULT);
        assert_eq!(result.expect_err("100 KB do not fit").result_code().as_str(), "ERR_OUT_OF_SPACE");
        assert!(!Path::new(&into).exists());
        return;
    }
    let case = Case::new();
    let output = Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().expect("this program"))
        .arg(name)
        .env(PLACE, case.place())
        .output()
        .expect("the shell");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    case.assert_untouched("no space");
}
