//! Becoming like the source: new packages first, withdrawn ones last.

use std::io::{self, Read as _, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::local::{Last, Local, LocalError};
use super::plan::{SyncPlan, plan};
use super::source::{Accepted, Part, Pin, SourceError, Sources};
use super::verify::is_proved;
use crate::disk::published::{FragmentWriter, Staged};
use crate::disk::{TreeError, checkpoint};
use crate::model::{FragmentNumber, Hasher, PackageId, TreeKey};
use crate::protocol::{Listing, Manifest, PackageFilter};

/// Why a sync did not come to its end. What was copied is whole and stays; the next sync goes on.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The directory.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// No source could be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The tree in the directory.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Some packages could not be copied.
    #[error("{failed} of {all} packages could not be copied; the first: package {package}: {why}")]
    Packages {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
        /// The first of them.
        package: PackageId,
        /// Why.
        why: String,
    },
}

/// What a sync did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Synced {
    /// The generation that this mirror is at now.
    pub generation: u64,
    /// Packages that came.
    pub fetched: usize,
    /// Packages that were here.
    pub kept: usize,
    /// Packages that went.
    pub withdrawn: usize,
    /// Bytes of files that came.
    pub bytes: u64,
    /// The source had nothing new.
    pub unchanged: bool,
}

/// What is told while a sync runs.
pub trait Watcher: Sync {
    /// A source was passed over for the next.
    fn passed(&self, error: &SourceError);
    /// What will be done.
    fn planned(&self, plan: &SyncPlan);
    /// A package of so many bytes is about to come.
    fn coming(&self, package: PackageId, bytes: u64);
    /// So many bytes more have come.
    fn came(&self, bytes: u64);
}

/// Asks for the manifest; `None` if nothing changed since the last sync that came to its end.
///
/// What is accepted is remembered before anything is done with it: from then on nothing older is.
pub(super) fn look(
    local: &Local,
    sources: &Sources,
    wish: &Wish,
    watcher: &dyn Watcher,
) -> Result<Option<Last>, SyncError> {
    let mut pin = local.pin()?;
    let choice = wish.packages.to_string();
    // Another choice of the same packages is another copy.
    let mut validator = local.last().filter(|last| last.choice == choice).and_then(|last| last.validator);
    if let Some(key) = &wish.trusted
        && pin.key.as_ref() != Some(key)
    {
        // Another tree, in the administrator's words: its generations have nothing to do with ours.
        pin = Pin { key: Some(key.clone()), generation: None };
        validator = None;
    }
    let Some(Accepted { manifest, key, validator }) =
        sources.manifest(&pin, validator.as_deref(), &mut |error| watcher.passed(error))?
    else {
        return Ok(None);
    };
    if pin.generation != Some(manifest.generation) || pin.key.as_deref() != Some(&key) {
        local.store_pin(&key, manifest.generation)?;
        checkpoint("mirror.pinned");
    }
    Ok(Some(Last { manifest, validator, choice }))
}

/// What the copy shall be of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wish {
    /// Which packages; others are neither fetched nor kept.
    pub packages: PackageFilter,
    /// The key that was given by hand; without it the first one that is seen is trusted from then on.
    pub trusted: Option<String>,
}

/// Copies what is new with `jobs` threads, then removes what is gone.
pub fn sync(
    local: &Local,
    sources: &Sources,
    jobs: usize,
    wish: &Wish,
    watcher: &dyn Watcher,
) -> Result<Synced, SyncError> {
    sources.forgive();
    let Some(last) = look(local, sources, wish, watcher)? else {
        let generation = local.last().map_or(0, |last| last.manifest.generation);
        return Ok(Synced { generation, unchanged: true, ..Synced::default() });
    };
    let manifest = &last.manifest;
    let plan = plan(&local.packages()?, manifest, |entry| wish.packages.chooses(entry.package, &entry.name));
    local.tree.clear_staging_but_partial(|package| plan.fetch.binary_search(&package).is_ok())?;
    watcher.planned(&plan);
    let mut synced = Synced { generation: manifest.generation, kept: plan.keep, ..Synced::default() };
    let mut failures = Vec::new();
    for package in &plan.fetch {
        match copy(local, sources, manifest, *package, jobs, watcher) {
            Ok(bytes) => {
                synced.fetched += 1;
                synced.bytes += bytes;
            }
            // The disk is everybody's trouble; a source's may be this package's alone.
            Err(error @ (SyncError::Local(_) | SyncError::Tree(_))) => return Err(error),
            Err(error) => failures.push((*package, error.to_string())),
        }
    }
    for package in &plan.withdraw {
        checkpoint("mirror.withdraw");
        local.withdraw(*package)?;
        synced.withdrawn += 1;
    }
    if let Some((package, why)) = failures.first() {
        let (failed, all) = (failures.len(), plan.fetch.len());
        return Err(SyncError::Packages { failed, all, package: *package, why: why.clone() });
    }
    // Only now: a sync that was cut is done again.
    checkpoint("mirror.done");
    local.store_last(&last)?;
    Ok(synced)
}

/// Copies one package; gives the bytes that came.
fn copy(
    local: &Local,
    sources: &Sources,
    manifest: &Manifest,
    package: PackageId,
    jobs: usize,
    watcher: &dyn Watcher,
) -> Result<u64, SyncError> {
    let Some(entry) = manifest.find(package) else { return Ok(0) };
    let listing = sources.listing(package, &entry.listing, &mut |error| watcher.passed(error))?;
    if local.tree.contains(package) {
        if is_proved(&local.tree, &listing) {
            // Somebody copied it by other means, or a crash came between the two writes.
            local.store_listing(&listing)?;
            return Ok(0);
        }
        local.withdraw(package)?;
    }
    watcher.coming(package, listing.size());
    let staged = local.tree.resume(package)?;
    checkpoint("mirror.begun");
    let bytes = fetch_files(local, sources, &listing, &staged, jobs, watcher)?;
    // Before the package appears: one that is there without its listing would be proved or fetched once more.
    local.store_listing(&listing)?;
    checkpoint("mirror.listed");
    staged.publish()?;
    checkpoint("mirror.published");
    Ok(bytes)
}

/// Fetches what is missing; gives the bytes that came.
fn fetch_files(
    local: &Local,
    sources: &Sources,
    listing: &Listing,
    staged: &Staged,
    jobs: usize,
    watcher: &dyn Watcher,
) -> Result<u64, SyncError> {
    let files: Vec<_> = listing.files().filter(|(key, _, _)| matches!(key, TreeKey::Fragment { .. })).collect();
    let (next, stop, sum) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let failed: Mutex<Option<SyncError>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, files.len().max(1)) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Some((key, size, digest)) = files.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let TreeKey::Fragment { number, .. } = *key else { return };
                    let part = StagedPart { staged, number };
                    match sources.file(*key, *size, digest, &part, &mut |error| watcher.passed(error)) {
                        Ok(came) => {
                            staged.have(number);
                            sum.fetch_add(came, Ordering::Relaxed);
                            watcher.came(*size);
                        }
                        Err(error) => {
                            stop.store(true, Ordering::Relaxed);
                            let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
                            first.get_or_insert(of_disk(local, error));
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let (size, digest) = listing.info;
    let key = TreeKey::Info { package: listing.package };
    let memory = Memory::default();
    let came = sources.file(key, size, &digest, &&memory, &mut |error| watcher.passed(error))?;
    let info = memory.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8(info).map_err(|_| SourceError::Wrong { url: key.to_string() })?;
    staged.write_info(&text)?;
    watcher.came(size);
    Ok(sum.into_inner() + came)
}

/// A fragment that is being put together in staging.
struct StagedPart<'a> {
    staged: &'a Staged,
    number: FragmentNumber,
}

impl Part for StagedPart<'_> {
    type Sink = Checked;

    fn digest(&self, size: u64, hasher: &mut Hasher) -> u64 {
        let Ok(file) = self.staged.open_fragment(self.number) else { return 0 };
        let mut reader = file.take(size);
        let mut buffer = vec![0; 256 << 10];
        let mut total = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return total,
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    total += n as u64;
                }
                // Unreadable is as good as absent; the digest will say so.
                Err(_) => return 0,
            }
        }
    }

    fn open(&self, offset: u64) -> io::Result<Checked> {
        Ok(Checked(self.staged.continue_fragment(self.number, offset)?))
    }
}

/// A fragment's file, at each write of which a crash test may end the process.
struct Checked(FragmentWriter);

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.0.write(bytes)?;
        checkpoint("mirror.wrote");
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A small file, which is not begun before it is whole.
#[derive(Default)]
struct Memory(Mutex<Vec<u8>>);

impl<'a> Part for &'a Memory {
    type Sink = MemoryWriter<'a>;

    fn digest(&self, _: u64, _: &mut Hasher) -> u64 {
        0
    }

    fn open(&self, _: u64) -> io::Result<MemoryWriter<'a>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(MemoryWriter(self))
    }
}

struct MemoryWriter<'a>(&'a Memory);

impl Write for MemoryWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk that is full is not the source's fault.
fn of_disk(local: &Local, error: SourceError) -> SyncError {
    match error {
        SourceError::Fetch(error) if error.is_out_of_space() => {
            TreeError::of(local.tree.staging(), io::Error::from(io::ErrorKind::StorageFull)).into()
        }
        other => other.into(),
    }
}
