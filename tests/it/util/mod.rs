//! What the stories share: an application in a temporary directory, archives made by a builder, agents' messages.

pub(crate) mod process;
pub(crate) mod web;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use dripfeed::clock::Clock;
use dripfeed::disk::published::PublishedTree;
use dripfeed::model::limits::{ArchiveLimits, RequestLimits};
use dripfeed::model::settings::SettingsLayer;
use dripfeed::model::{Action, OsFamily, Package, Priority, UnixTime};
use dripfeed::service::publish::{self, BuildRequest, Built, Fragmenting, PublishError, Source};
use dripfeed::service::{App, Peer};
use dripfeed::store::packages::NewPackage;
use dripfeed::store::{DatabaseUrl, Store};

/// 2026-11-20T10:00:00Z.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_795_168_800);

/// An application over SQLite in a directory of its own; the clock stands still.
pub(crate) struct TestApp {
    pub(crate) app: App,
    directory: tempfile::TempDir,
}

impl TestApp {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let app = Self::open(directory.path());
        Self { app, directory }
    }

    /// A second application over the same files, as after a restart.
    pub(crate) fn reopen(&self) -> App {
        Self::open(self.path())
    }

    pub(crate) fn open(path: &Path) -> App {
        App {
            store: Store::open(&DatabaseUrl::Sqlite(path.join("dripfeed.db"))).expect("a database"),
            tree: PublishedTree::open(&path.join("download"), &path.join("staging")).expect("a tree"),
            clock: Clock::Fixed(NOW),
            request_limits: RequestLimits::DEFAULT,
            archive_limits: ArchiveLimits::DEFAULT,
            configured: SettingsLayer::default(),
        }
    }

    /// Closes the application and hands its files on.
    pub(crate) fn into_directory(self) -> tempfile::TempDir {
        self.directory
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes an input file.
    pub(crate) fn input(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        let mut file = std::fs::File::create(&path).expect("an input file");
        file.write_all(bytes).expect("written");
        path
    }

    pub(crate) fn build(&self, request: &BuildRequest) -> Result<Built, PublishError> {
        publish::build(&self.app, request, &mut |_| {})
    }

    /// A package that stores one file.
    pub(crate) fn package(&self, bytes: &[u8], fragment_size: u64) -> Package {
        let source = Source::Path(self.input("input/tool", bytes));
        let request = BuildRequest {
            fragmenting: Fragmenting::Size(dripfeed::model::ByteSize(fragment_size)),
            ..request(source, "store", "/opt/tool")
        };
        self.build(&request).expect("a package").package
    }

    /// What the tree and the staging area hold, one path a line.
    pub(crate) fn listing(&self) -> String {
        let mut paths = Vec::new();
        for root in ["download", "staging"] {
            list(&self.path().join(root), root, &mut paths);
        }
        paths.sort();
        paths.join("\n")
    }
}

fn list(directory: &Path, name: &str, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a type").is_dir() {
            list(&entry.path(), &name, paths);
        } else if !name.ends_with("/build.lock") {
            let size = entry.metadata().expect("metadata").len();
            paths.push(format!("{name} {size}"));
        }
    }
}

/// A request with everything that a test does not care about.
pub(crate) fn request(source: Source, action: &str, text: &str) -> BuildRequest {
    BuildRequest {
        package: NewPackage {
            name: "tool".to_owned(),
            version: "1.0".to_owned(),
            description: String::new(),
            os: OsFamily::Linux,
            action: Action::from_parts(action, text).expect("an action"),
            priority: Priority::from_number(1),
            notify: None,
            done: None,
            exit_codes: dripfeed::model::ExitCodes::default(),
        },
        source,
        fragmenting: Fragmenting::DEFAULT,
    }
}

/// A tar.gz of these files.
pub(crate) fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, name, *bytes).expect("appended");
    }
    builder.into_inner().expect("a tar").finish().expect("a tar.gz")
}

/// A ZIP of these files.
pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).expect("started");
        writer.write_all(bytes).expect("written");
    }
    writer.finish().expect("a zip").into_inner()
}

/// Bytes that no compressor shrinks, the same each time.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// A stock Unix agent on this machine.
pub(crate) fn peer() -> Peer {
    Peer { address: [127, 0, 0, 1].into(), user_agent: "OCS-NG_unified_unix_agent_v2.10.0".to_owned(), proof: None }
}

/// Runs a future to its end.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
