//! Becoming like the source: new packages first, withdrawn ones last.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::local::{Local, LocalError};
use super::plan::{SyncPlan, plan};
use super::source::{SourceError, Sources};
use super::verify::is_proved;
use crate::disk::{Staged, TreeError, checkpoint};
use crate::model::{PackageId, TreeKey};
use crate::protocol::{Listing, Manifest};

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
pub(super) fn look(
    local: &Local,
    sources: &Sources,
    watcher: &dyn Watcher,
) -> Result<Option<(Manifest, Option<String>)>, SyncError> {
    let last = local.last();
    let ours = last.as_ref().map(|(manifest, _)| manifest.generation);
    let validator = last.as_ref().and_then(|(_, validator)| validator.as_deref());
    Ok(sources.manifest(ours, validator, &mut |error| watcher.passed(error))?)
}

/// Copies what is new with `jobs` threads, then removes what is gone.
pub fn sync(
    local: &Local,
    sources: &Sources,
    jobs: usize,
    wanted: impl Fn(PackageId) -> bool,
    watcher: &dyn Watcher,
) -> Result<Synced, SyncError> {
    let Some((manifest, validator)) = look(local, sources, watcher)? else {
        let generation = local.last().map_or(0, |(manifest, _)| manifest.generation);
        return Ok(Synced { generation, unchanged: true, ..Synced::default() });
    };
    local.tree.clear_staging()?;
    let plan = plan(&local.packages()?, &manifest, &wanted);
    watcher.planned(&plan);
    let mut synced = Synced { generation: manifest.generation, kept: plan.keep, ..Synced::default() };
    let mut failures = Vec::new();
    for package in &plan.fetch {
        match copy(local, sources, &manifest, *package, jobs, watcher) {
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
        local.withdraw(*package)?;
        synced.withdrawn += 1;
    }
    if let Some((package, why)) = failures.first() {
        let (failed, all) = (failures.len(), plan.fetch.len());
        return Err(SyncError::Packages { failed, all, package: *package, why: why.clone() });
    }
    // Only now: a sync that was cut is done again.
    local.store_last(&manifest, validator.as_deref())?;
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
    let Ok(at) = manifest.packages.binary_search_by_key(&package, |(package, _)| *package) else { return Ok(0) };
    let digest = manifest.packages[at].1;
    let listing = sources.listing(package, &digest, &mut |error| watcher.passed(error))?;
    if local.tree.contains(package) {
        if is_proved(&local.tree, &listing) {
            // Somebody copied it by other means, or a crash came between the two writes.
            local.store_listing(&listing)?;
            return Ok(0);
        }
        local.withdraw(package)?;
    }
    watcher.coming(package, listing.size());
    let staged = local.tree.stage(package)?;
    fetch_files(local, sources, &listing, &staged, jobs, watcher)?;
    // Before the package appears: one that is there without its listing would be proved or fetched once more.
    local.store_listing(&listing)?;
    checkpoint("mirror.listed");
    staged.publish()?;
    checkpoint("mirror.published");
    Ok(listing.size())
}

fn fetch_files(
    local: &Local,
    sources: &Sources,
    listing: &Listing,
    staged: &Staged,
    jobs: usize,
    watcher: &dyn Watcher,
) -> Result<(), SyncError> {
    let files: Vec<_> = listing.files().filter(|(key, _, _)| matches!(key, TreeKey::Fragment { .. })).collect();
    let (next, stop, sum) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let failed: Mutex<Option<SyncError>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, files.len().max(1)) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Some((key, size, digest)) = files.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let TreeKey::Fragment { number, .. } = *key else { return };
                    let open = || staged.replace_fragment(number);
                    match sources.file(*key, *size, digest, open, &mut |error| watcher.passed(error)) {
                        Ok(_) => {
                            sum.fetch_add(*size, Ordering::Relaxed);
                            watcher.came(*size);
                        }
                        Err(error) => {
                            stop.store(true, Ordering::Relaxed);
                            let mut first = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            first.get_or_insert(of_disk(local, error));
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        return Err(error);
    }
    let (size, digest) = listing.info;
    let key = TreeKey::Info { package: listing.package };
    let info = sources.file(key, size, &digest, || Ok(Vec::new()), &mut |error| watcher.passed(error))?;
    let text = String::from_utf8(info).map_err(|_| SourceError::Wrong { url: key.to_string() })?;
    staged.write_info(&text)?;
    watcher.came(size);
    Ok(())
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
