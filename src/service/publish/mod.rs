//! Building: an archive and a description become a published package. Taking it back is [`super::withdraw`].
//!
//! Order of writes, so that a crash at any point costs work and never truth: a row in state `building`, the staged
//! tree, size and digests into the row, one rename, the row becomes `available`. [`super::reconcile`] ends what a crash
//! left between any two of them.

mod recipe;
mod script;
mod source;

use std::io::{self, Read};
use std::thread;

use super::App;
use super::contents::{Contents, Looked};
use crate::archive::{
    ArchiveError, ArchiveFormat, PackEntry, PackError, SplitError, SplitSummary, Summary, inspect, pack, split,
};
use crate::disk::{LockError, Staged, TreeError, checkpoint, lock};
use crate::model::{
    Action, ByteSize, Digest, FragmentCount, FragmentPlan, InvalidFragment, InvalidPackage, OsFamily, Package,
    PackageId, PackageState,
};
use crate::protocol::{Info, Scheme};
use crate::store::packages::{BuiltContent, NewPackage};
use crate::store::{StoreError, contents, packages};

pub use recipe::{Recipe, of_package as recipe_of};
use source::{Content, open};
pub use source::{Part, PartBytes, Source, is_archive_name, pack_path};

/// How the archive is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fragmenting {
    /// Fragments of that many bytes.
    Size(ByteSize),
    /// At most that many fragments.
    Count(u32),
}

impl Fragmenting {
    /// Fragments of 1 MiB (DESIGN.md 2).
    pub const DEFAULT: Self = Self::Size(ByteSize(1 << 20));

    /// What fits an archive of that size: 1 MiB up to 64 MiB, then about 64 fragments of up to 32 MiB. Agents pause after
    /// each fragment and fetch a damaged one anew, so neither very many nor very large ones are good.
    pub fn automatic(size: u64) -> Self {
        const MIB: u64 = 1 << 20;
        Self::Size(ByteSize(size.div_ceil(64).div_ceil(MIB).clamp(1, 32) * MIB))
    }

    /// How an archive of that size is cut.
    pub fn plan(self, size: u64) -> Result<FragmentPlan, InvalidFragment> {
        match self {
            Self::Size(fragment) => FragmentPlan::by_size(size, fragment.0),
            Self::Count(count) => FragmentPlan::by_count(size, count),
        }
    }
}

/// What shall be built.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The description.
    pub package: NewPackage,
    /// The content.
    pub source: Source,
    /// How it is cut.
    pub fragmenting: Fragmenting,
}

/// How far a build is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// A directory, a bare file or standard input is being put into one archive; so many bytes so far.
    Packing(u64),
    /// The archive is being cut.
    Cutting {
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Fragments are being made durable.
    Publishing,
}

/// A package that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The package.
    pub package: Package,
    /// What the administrator should know though it is no error.
    pub warnings: Vec<String>,
}

/// Why a build was refused or failed. Nothing of it remains.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The description is wrong.
    #[error(transparent)]
    Package(#[from] InvalidPackage),
    /// The cut is wrong.
    #[error(transparent)]
    Fragment(#[from] InvalidFragment),
    /// A rule of the build.
    #[error("{0}")]
    Refused(String),
    /// The input could not be read.
    #[error("failed to read {path}: {source}")]
    Input {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The content is one that agents must never unpack.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Packing failed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Cutting failed.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The tree could not be written.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The lock that keeps builds and clean-up apart.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PublishError {
    /// Is it the input's fault (and not the disk's or the database's)?
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Package(_) | Self::Fragment(_) | Self::Refused(_) | Self::Input { .. } => true,
            Self::Archive(error) => !matches!(error, ArchiveError::Io(_)),
            Self::Pack(error) => !matches!(error, PackError::Write(_)),
            Self::Split(error) => matches!(error, SplitError::TooMany { .. }),
            Self::Tree(_) | Self::Lock(_) | Self::Store(_) => false,
        }
    }
}

/// Builds a package and publishes its tree. Returns when both are durable.
pub fn build(app: &App, request: &BuildRequest, progress: &mut dyn FnMut(Progress)) -> Result<Built, PublishError> {
    build_noted(app, request, progress, |_, _| Ok(()))
}

/// The same; `note` is written together with the package's row, when its number is known.
pub fn build_noted(
    app: &App,
    request: &BuildRequest,
    progress: &mut dyn FnMut(Progress),
    note: impl Fn(&mut crate::store::Conn, PackageId) -> Result<(), StoreError> + Send + 'static,
) -> Result<Built, PublishError> {
    build_numbered(app, request, None, progress, note)
}

/// The same, under this number if it was never used, else under a new one.
pub(super) fn build_numbered(
    app: &App,
    request: &BuildRequest,
    number: Option<PackageId>,
    progress: &mut dyn FnMut(Progress),
    note: impl Fn(&mut crate::store::Conn, PackageId) -> Result<(), StoreError> + Send + 'static,
) -> Result<Built, PublishError> {
    check(request)?;
    // Shared among builds; `reconcile` takes it alone, so it never takes a running build for a crashed one.
    let _building = lock::shared(&app.tree.build_lock())?;
    let content = open(app, request, progress)?;
    let new = request.package.clone();
    let now = app.clock.now();
    let id = app.store.write_now(move |conn| -> Result<_, StoreError> {
        let id = packages::reserve_number(conn, &new, number, now)?;
        note(conn, id)?;
        Ok(id)
    })?;
    checkpoint("build:reserved");
    let built = cut_and_publish(app, id, request, content.as_ref(), progress);
    if built.is_err() {
        // Nobody has seen it; if this fails too, `reconcile` does it at the next start.
        let _ = app.store.write_now(move |conn| packages::discard(conn, id));
    }
    built
}

/// What can be told without reading the content.
fn check(request: &BuildRequest) -> Result<(), PublishError> {
    let package = &request.package;
    let refuse = |text: String| Err(PublishError::Refused(text));
    for (what, text) in [("name", &package.name), ("version", &package.version)] {
        if text.trim().is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
            return refuse(format!("the {what} must have 1 to 255 bytes and no control characters: --{what}"));
        }
    }
    if package.description.len() > 8192 {
        return refuse("the description is longer than 8192 bytes".to_owned());
    }
    if let Some(notify) = &package.notify {
        notify.check()?;
    }
    if let Some(done) = &package.done {
        done.check()?;
    }
    match (&package.action, &request.source) {
        (Action::Launch { .. } | Action::Store { .. }, Source::Nothing) => {
            return refuse(format!(
                "action {} needs files: give an archive, a directory or a file (only execute works without)",
                package.action.as_str()
            ));
        }
        (Action::Store { path }, _) if !is_absolute(path, package.os) && !path.starts_with("INSTALL_PATH") => {
            return refuse(format!("the path \"{path}\" must be absolute on {}: --path", package.os));
        }
        (Action::Launch { command }, _) => check_launch_name(command, package.os)?,
        _ => {}
    }
    match script::of_request(request).refusal {
        Some(sentence) => refuse(sentence),
        None => Ok(()),
    }
}

fn is_absolute(path: &str, os: OsFamily) -> bool {
    let drive = |path: &str| {
        let mut chars = path.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':')
    };
    match os {
        OsFamily::Windows => drive(path) || path.starts_with("\\\\") || path.starts_with('%'),
        OsFamily::Linux | OsFamily::Macos => path.starts_with('/'),
    }
}

/// The file that a LAUNCH command names: what stands before the first blank.
fn launched_file(command: &str) -> &str {
    let name = command.split_whitespace().next().unwrap_or_default();
    name.strip_prefix("./").unwrap_or(name)
}

/// Stock Unix agents cut the name at the first blank *or dash* before they look for it (ocs-protocol 9, 13.2).
fn check_launch_name(command: &str, os: OsFamily) -> Result<(), PublishError> {
    let file = launched_file(command);
    if os != OsFamily::Windows
        && let Some(dash) = file.find('-')
    {
        let cut = &file[..dash];
        return Err(PublishError::Refused(format!(
            "a stock agent cuts \"{file}\" at the dash and looks for \"{cut}\", so this would end in ERR_EXECUTE: \
             rename the file without a dash, or use --action execute --command './{command}'"
        )));
    }
    Ok(())
}

/// Does everything that a build does before it writes: reads the content, and refuses what a build would refuse.
pub(super) fn try_build(
    app: &App,
    request: &BuildRequest,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), PublishError> {
    check(request)?;
    if let Some(content) = open(app, request, progress)? {
        request.fragmenting.plan(content.size)?;
        let (os, limits) = (request.package.os, &app.archive_limits);
        let (found, _) = Contents::look(content.reader(), content.size, os, limits, &|_| {})?;
        check_content(&request.package, &found, &content.name)?;
    }
    Ok(())
}

/// What can be said of a build before it is made: the refusal that it would end in, and what the administrator should
/// know. `found` is what is inside the archive, if that is known.
pub fn lint(
    request: &BuildRequest,
    found: Option<(&str, &(ArchiveFormat, Summary))>,
) -> (Option<PublishError>, Vec<String>) {
    let mut warnings = warnings_before(request);
    let mut refusal = check(request).err();
    if let Some((name, found)) = found {
        refusal = refusal.or_else(|| check_content(&request.package, found, name).err());
        warnings.extend(warnings_after(&request.package, found));
    }
    (refusal, warnings)
}

/// What an archive of these files is, without their bytes.
pub fn summary_of<'a>(
    os: OsFamily,
    paths: impl IntoIterator<Item = &'a str>,
    app: &App,
) -> Result<(ArchiveFormat, Summary), PublishError> {
    let entry = |path: &str| PackEntry::File { path: path.to_owned(), executable: true, size: 0, content: io::empty() };
    let archive = pack(ArchiveFormat::for_os(os), paths.into_iter().map(|path| Ok(entry(path))), Vec::new())?;
    let size = archive.len() as u64;
    Ok(inspect(io::Cursor::new(archive), size, os, &app.archive_limits)?)
}

/// The info file of a package; the same for the preview and for the build.
pub fn info_of(new: &NewPackage, id: PackageId, built: &BuiltContent, fragments: FragmentCount) -> Info {
    Info {
        package: id,
        priority: new.priority,
        action: new.action.clone(),
        fragments,
        digest: built.md5,
        scheme: Scheme::Http,
        notify: new.notify.clone(),
        done: new.done.clone(),
        sha256: built.sha256,
        fragment_sha256: listed_digests(built),
        exit_codes: new.exit_codes.clone(),
    }
}

/// Cuts, inspects at the same time, writes the info file, publishes.
fn cut_and_publish(
    app: &App,
    id: PackageId,
    request: &BuildRequest,
    content: Option<&Content>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Built, PublishError> {
    let new = &request.package;
    let staged = app.tree.stage(id)?;
    checkpoint("build:staged");
    let mut warnings = warnings_before(request);
    let (contents, built) = match content {
        None => (None, BuiltContent { size: 0, md5: None, sha256: None, fragments: Vec::new() }),
        Some(content) => {
            let plan = request.fragmenting.plan(content.size)?;
            let ((found, contents), cut) = inspect_and_cut(app, new.os, content, &plan, &staged, progress)?;
            check_content(new, &found, &content.name)?;
            warnings.extend(warnings_after(new, &found));
            let built =
                BuiltContent { size: cut.size, md5: Some(cut.md5), sha256: Some(cut.sha256), fragments: cut.fragments };
            (Some(contents.to_document()), built)
        }
    };
    progress(Progress::Publishing);
    let fragments = FragmentCount(u32::try_from(built.fragments.len()).unwrap_or(u32::MAX));
    let info = info_of(new, id, &built, fragments);
    staged.write_info(&info.to_xml())?;
    app.store.write_now(move |conn| -> Result<(), StoreError> {
        packages::set_content(conn, id, &built)?;
        contents.map_or(Ok(()), |document| contents::set(conn, id, &document))
    })?;
    checkpoint("build:content-noted");
    staged.publish()?;
    let package = app.store.write_now(move |conn| -> Result<_, StoreError> {
        packages::set_state(conn, id, PackageState::Available)?;
        packages::find(conn, id)
    })?;
    checkpoint("build:available");
    let package =
        package.ok_or_else(|| PublishError::Refused(format!("package {id} was removed while it was built")))?;
    Ok(Built { package, warnings })
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Digests of fragments for the info file, as long as it stays a small one: agents read it whole.
fn listed_digests(built: &BuiltContent) -> Vec<Digest> {
    const MOST: usize = 8192;
    if built.fragments.len() > MOST {
        return Vec::new();
    }
    built.fragments.iter().map(|fragment| fragment.sha256).collect()
}

/// One pass each, side by side: what is inside, and fragments with their digests.
fn inspect_and_cut(
    app: &App,
    os: OsFamily,
    content: &Content,
    plan: &FragmentPlan,
    staged: &Staged,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Looked, SplitSummary), PublishError> {
    let total = content.size;
    thread::scope(|scope| {
        let limits = &app.archive_limits;
        let looking = scope.spawn(move || Contents::look(content.reader(), total, os, limits, &|_| {}));
        let cut = split(
            content.reader().take(total),
            plan.fragment_size(),
            |number| {
                checkpoint("build:fragment");
                staged.create_fragment(number)
            },
            |done| progress(Progress::Cutting { done, total }),
        );
        let found = looking.join().map_err(|_| io::Error::other("the inspection of the archive panicked"));
        // What is wrong with the content says more than what went wrong with cutting it.
        let found = found.map_err(ArchiveError::from)??;
        let cut = cut.map_err(|error| match error {
            // A full disk has a sentence of its own.
            SplitError::Write { source, .. } if is_full(&source) => TreeError::of(app.tree.staging(), source).into(),
            other => PublishError::from(other),
        })?;
        if cut.size != total {
            return Err(PublishError::Refused(format!("{} changed while it was read: build it again", content.name)));
        }
        Ok((found, cut))
    })
}

/// What the content has to hold for the description to work.
fn check_content(new: &NewPackage, (format, found): &(ArchiveFormat, Summary), name: &str) -> Result<(), PublishError> {
    let refuse = |text: String| Err(PublishError::Refused(text));
    if new.os == OsFamily::Windows && *format == ArchiveFormat::TarGz {
        return refuse(format!("{name} is a TAR.GZ, but Windows agents read ZIP only: pack it as a ZIP"));
    }
    if new.os != OsFamily::Windows && *format == ArchiveFormat::Zip && found.entries == 1 {
        return refuse(format!(
            "{name} is a ZIP with a single member, which stock Unix agents unpack to nothing (ERR_EXECUTE): \
             pack it as a TAR.GZ, or give the file itself"
        ));
    }
    if found.files.is_empty() && !matches!(new.action, Action::Execute { .. }) {
        return refuse(format!("{name} holds no files: action {} would have nothing to do", new.action.as_str()));
    }
    if let Action::Launch { command } = &new.action {
        let file = launched_file(command);
        let file = if new.os == OsFamily::Windows { file.replace('\\', "/") } else { file.to_owned() };
        let file = file.trim_matches('"');
        if !found.contains_file(file) {
            let names: Vec<String> = found.files.iter().take(5).map(|(path, _)| path.to_string()).collect();
            let more = if found.files.len() > names.len() { ", …" } else { "" };
            return refuse(format!(
                "the archive has no file \"{file}\" to launch (it has {}{more}): --command must begin with a file of the archive; \
                 for any other command use --action execute",
                names.join(", ")
            ));
        }
    }
    Ok(())
}

fn warnings_before(request: &BuildRequest) -> Vec<String> {
    let mut warnings = script::of_request(request).warnings;
    let package = &request.package;
    if package.notify.as_ref().is_some_and(|notify| notify.policy.is_some()) {
        warnings.push(
            "only dripfeed's own agent counts delays, knows the deadline and waits for somebody; the stock Windows agent asks \
             without limits"
                .to_owned(),
        );
    }
    if package.os != OsFamily::Windows {
        if package.notify.is_some() || package.done.is_some() {
            warnings.push("stock Unix agents show no messages and run the package at once".to_owned());
        }
        if let Action::Store { path } = &package.action
            && path.contains(char::is_whitespace)
        {
            warnings.push(format!("stock Unix agents cannot store to a path with a blank (\"{path}\"): ERR_EXECUTE"));
        }
    }
    warnings
}

fn warnings_after(new: &NewPackage, (_, found): &(ArchiveFormat, Summary)) -> Vec<String> {
    let mut warnings = Vec::new();
    if new.os != OsFamily::Windows && matches!(new.action, Action::Store { .. }) {
        let hidden =
            found.files.iter().filter(|(path, _)| path.components().first().is_some_and(|part| part.starts_with('.')));
        let hidden = hidden.count();
        if hidden > 0 {
            warnings.push(format!(
                "stock Unix agents do not copy files whose name begins with a dot ({hidden} at the top)"
            ));
        }
    }
    warnings
}
