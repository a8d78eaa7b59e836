//! Packages of a stock server's download directory become packages of ours.
//!
//! The directory has `<id>/info` and `<id>/<id>-<n>`, and no more: what a package is called and for which system it is
//! stands in the stock server's database. A list of those can be given; what is not in it is guessed or asked for.
//!
//! Each package is built like any other, whole or not at all: its fragments have to be what its info file says, its archive
//! is looked through, and it is cut and described anew. It keeps its number if no package here ever had it, because agents
//! remember numbers. Activating it is another step.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::App;
use super::publish::{self, BuildRequest, Fragmenting, Progress, PublishError, Source};
use crate::archive::{ArchiveError, ArchiveFormat, EntryKind, EntryPath, Visitor, walk};
use crate::clock;
use crate::disk::lock;
use crate::disk::published::Scratch;
use crate::model::{OsFamily, Package, PackageId, TreeKey, UnixTime};
use crate::protocol::{Info, InfoError};
use crate::store::packages::{self, NewPackage};
use crate::store::{Conn, StoreError};

/// Bytes of an info file.
const INFO: u64 = 1 << 20;

/// What the stock server's database says of a package.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// For which system.
    pub os: Option<OsFamily>,
}

/// Why a list of names was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line} of the list is not \"number, name, system\" with tabs between: \"{text}\"")]
pub struct InvalidList {
    line: usize,
    text: String,
}

/// Reads lines of number, name and system (`WINDOWS`, `LINUX`, `MAC`, or nothing) with tabs between: what
/// `mysql -BNe 'SELECT FILEID, NAME, OSNAME FROM download_available'` prints.
pub fn read_list(text: &str) -> Result<BTreeMap<PackageId, Described>, InvalidList> {
    let mut list = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || InvalidList { line: at + 1, text: line.chars().take(80).collect() };
        let mut columns = line.split('\t').map(str::trim);
        let id = columns.next().and_then(|id| id.parse::<PackageId>().ok()).ok_or_else(wrong)?;
        let name = columns.next().filter(|name| !name.is_empty()).ok_or_else(wrong)?.to_owned();
        let os = match columns.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "null" => None,
            "windows" => Some(OsFamily::Windows),
            "linux" => Some(OsFamily::Linux),
            "mac" | "macos" => Some(OsFamily::Macos),
            _ => return Err(wrong()),
        };
        list.insert(id, Described { name, os });
    }
    Ok(list)
}

/// Why a package was not imported. Nothing of it is here then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file is not there or cannot be read.
    #[error("{file}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Its info file is none.
    #[error("{file}")]
    Info {
        /// Which.
        file: TreeKey,
        /// Why.
        source: InfoError,
    },
    /// It is another package's directory.
    #[error("its info file is that of package {0}")]
    Other(PackageId),
    /// Something else lies in its directory.
    #[error("{0} is not a plain file")]
    NoFile(TreeKey),
    /// Nothing says for which system it is.
    #[error("nothing says for which system it is: --os windows, linux or macos, or name it in a list (--names)")]
    System,
    /// A build of it was refused or failed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportError {
    /// Is it the package's fault (and not the disk's or the database's)?
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Publish(error) => error.is_refusal(),
            Self::Store(_) => false,
            _ => true,
        }
    }
}

/// What became of a package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Imported {
    /// It is here now; under another number if its own had been used for something else.
    Built(Box<Package>),
    /// It could be, under its own number or, with `false`, under a new one.
    Possible(bool),
    /// It was here before.
    Known,
}

/// What to import, and what is known of it.
#[derive(Clone, Debug)]
pub struct Import {
    /// The stock server's download directory.
    pub directory: PathBuf,
    /// What its database says.
    pub described: BTreeMap<PackageId, Described>,
    /// For which system a package is that nothing else tells of.
    pub os: Option<OsFamily>,
}

/// The packages that lie in a download directory, by number. Whatever else is there is left out.
pub fn find(directory: &Path) -> io::Result<Vec<PackageId>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<PackageId>().ok());
        if entry.file_type()?.is_dir() {
            found.extend(id);
        }
    }
    found.sort_unstable();
    Ok(found)
}

impl Import {
    /// Imports one package, or with `dry` says what would become of it: everything is read and compared, nothing is written.
    pub fn one(
        &self,
        app: &App,
        id: PackageId,
        dry: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Imported, ImportError> {
        let (info, request) = self.request(id)?;
        let size = size_of(&request.source);
        let known = app.store.read_now(move |conn| known(conn, &info, size))?;
        match known {
            Known::Same => Ok(Imported::Known),
            known if dry => {
                publish::try_build(app, &request, progress)?;
                Ok(Imported::Possible(matches!(known, Known::Free)))
            }
            _ => {
                let built = publish::build_numbered(app, &request, Some(id), progress, |_, _| Ok(()))?;
                Ok(Imported::Built(Box::new(built.package)))
            }
        }
    }

    /// What a package is called.
    pub fn name(&self, id: PackageId) -> String {
        self.described.get(&id).map_or_else(|| format!("package-{id}"), |described| described.name.clone())
    }

    /// What a build of it asks for.
    fn request(&self, id: PackageId) -> Result<(Info, BuildRequest), ImportError> {
        let info = self.info(id)?;
        let paths = self.fragments(&info)?;
        let described = self.described.get(&id).and_then(|described| described.os);
        let os = match described.or(self.os) {
            Some(os) => os,
            None => guess(&info, paths.first())?.ok_or(ImportError::System)?,
        };
        let name = self.name(id);
        let package = NewPackage {
            name,
            // A stock number is the second of the build.
            version: clock::utc_text(UnixTime::from_seconds(i64::from(id))).chars().take(10).collect(),
            description: format!("Imported from another server, where it is package {id}."),
            os,
            action: info.action.clone(),
            priority: info.priority,
            notify: info.notify.clone(),
            done: info.done.clone(),
            exit_codes: info.exit_codes.clone(),
        };
        let (source, fragmenting) = match info.digest {
            Some(digest) => {
                let count = info.fragments.0;
                (Source::Fragments { paths, digest, name: format!("package {id}") }, Fragmenting::Count(count))
            }
            None => (Source::Nothing, Fragmenting::DEFAULT),
        };
        Ok((info, BuildRequest { package, source, fragmenting }))
    }

    fn info(&self, id: PackageId) -> Result<Info, ImportError> {
        let key = TreeKey::Info { package: id };
        let path = self.plain(key)?;
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(INFO).read_to_end(&mut text));
        read.map_err(|source| ImportError::Read { file: key.to_string(), source })?;
        let info = Info::parse(&text).map_err(|source| ImportError::Info { file: key, source })?;
        if info.package == id { Ok(info) } else { Err(ImportError::Other(info.package)) }
    }

    fn fragments(&self, info: &Info) -> Result<Vec<PathBuf>, ImportError> {
        let numbers = info.fragments.numbers();
        numbers.map(|number| self.plain(TreeKey::Fragment { package: info.package, number })).collect()
    }

    /// Where a file is, which is no link to one that somebody put elsewhere.
    fn plain(&self, key: TreeKey) -> Result<PathBuf, ImportError> {
        let path = self.directory.join(key.package().to_string()).join(key.file_name());
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(path),
            Ok(_) => Err(ImportError::NoFile(key)),
            Err(source) => Err(ImportError::Read { file: key.to_string(), source }),
        }
    }
}

/// A download directory that came in an archive, unpacked into staging for as long as this lives.
#[derive(Debug)]
pub struct Unpacked {
    scratch: Scratch,
    /// No clean-up takes it away meanwhile.
    _building: lock::Held,
}

impl Unpacked {
    /// Where it is.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }
}

/// Unpacks a ZIP or TAR.GZ of a download directory: every `<id>/info` and `<id>/<id>-<n>` in it, wherever it lies. The archive
/// is refused for what an uploaded one is refused for.
pub fn unpack(app: &App, archive: &Path) -> Result<Unpacked, ImportError> {
    let building = lock::shared(&app.tree.build_lock()).map_err(PublishError::from)?;
    let scratch = app.tree.scratch().map_err(PublishError::from)?;
    let read = |source| ImportError::Read { file: "the archive".to_owned(), source };
    let file = File::open(archive).map_err(read)?;
    let size = file.metadata().map_err(read)?.len();
    let mut taking = Taking { scratch: &scratch, twice: None };
    walk(file, size, OsFamily::Linux, &app.archive_limits, &mut taking).map_err(PublishError::from)?;
    if let Some(key) = taking.twice {
        return Err(
            PublishError::Refused(format!("the archive has {key} twice: pack one download directory alone")).into()
        );
    }
    Ok(Unpacked { scratch, _building: building })
}

/// Takes the files of packages.
struct Taking<'a> {
    scratch: &'a Scratch,
    twice: Option<TreeKey>,
}

impl Visitor for Taking<'_> {
    fn entry(&mut self, path: &EntryPath, kind: &EntryKind, content: &mut dyn io::Read) -> Result<(), ArchiveError> {
        let [.., directory, name] = path.components() else { return Ok(()) };
        let (Ok(key), EntryKind::File { .. }) = (format!("{directory}/{name}").parse::<TreeKey>(), kind) else {
            return Ok(());
        };
        match self.scratch.create(directory, name) {
            Ok(mut file) => io::copy(content, &mut file).map(drop)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.twice = Some(key),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn size_of(source: &Source) -> u64 {
    let Source::Fragments { paths, .. } = source else { return 0 };
    paths.iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

/// What a package's number stands for here.
enum Known {
    Free,
    /// The very package, imported before.
    Same,
    Other,
}

fn known(conn: &mut Conn, info: &Info, size: u64) -> Result<Known, StoreError> {
    Ok(match packages::find(conn, info.package)? {
        None => Known::Free,
        Some(found) if is_same(&found, info, size) => Known::Same,
        Some(_) => Known::Other,
    })
}

fn is_same(found: &Package, info: &Info, size: u64) -> bool {
    // An older digest than MD5 is not kept, so it cannot be compared.
    let fits = [found.md5, found.sha256].contains(&info.digest);
    let is_other_kind = info.digest.is_some_and(|digest| {
        [found.md5, found.sha256].iter().flatten().all(|own| own.algorithm() != digest.algorithm())
    });
    found.action == info.action && found.priority == info.priority && found.size == size && (fits || is_other_kind)
}

/// For which system a package is, by what is in it: agents for Windows read ZIP alone, and all others were given TAR.GZ.
fn guess(info: &Info, first: Option<&PathBuf>) -> Result<Option<OsFamily>, ImportError> {
    const WINDOWS: [&str; 7] = [".exe", ".msi", "msiexec", ".bat", "powershell", "wmic ", "cmd /"];
    if let Some(path) = first {
        let mut head = Vec::new();
        let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut head));
        read.map_err(|source| ImportError::Read { file: format!("fragment 1 of package {}", info.package), source })?;
        return Ok(match ArchiveFormat::detect(&head) {
            Some(ArchiveFormat::Zip) => Some(OsFamily::Windows),
            Some(ArchiveFormat::TarGz) => Some(OsFamily::Linux),
            None => None,
        });
    }
    let command = info.action.text().to_lowercase();
    Ok(WINDOWS.iter().any(|part| command.contains(part)).then_some(OsFamily::Windows))
}
