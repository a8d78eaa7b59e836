//! The directory that a mirror fills.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::source::Pin;
use crate::disk::{LockError, LockFile, PublishedTree, TreeError, atomic};
use crate::model::{Digest, PackageId};
use crate::protocol::{Listing, Manifest, MirrorReport};
use crate::tls::signing;

/// Why the directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Another mirror works on it.
    #[error("another mirror works on this directory")]
    Lock(#[from] LockError),
    /// The tree in it.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What is known of the source cannot be read.
    #[error(
        "{} is damaged: it holds the key and the generation that manifests are held against; remove it to trust the source \
         anew",
        .0.display()
    )]
    Pin(PathBuf),
    /// Anything else.
    #[error("failed to read or write {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The last manifest that was carried out whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Last {
    /// The manifest.
    pub manifest: Manifest,
    /// What to ask with, to be told whether it is still the same.
    pub validator: Option<String>,
    /// Which packages were chosen of it.
    pub choice: String,
}

/// A mirror's directory, locked for as long as this lives.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    /// The copy.
    pub tree: PublishedTree,
    _lock: LockFile,
}

impl Local {
    /// Opens the directory and makes what is missing in it.
    pub fn open(root: &Path) -> Result<Self, LocalError> {
        let made = atomic::create_dir(root).and_then(|()| atomic::create_dir(&root.join("listings")));
        made.map_err(|source| LocalError::Io { path: root.to_owned(), source })?;
        let lock = LockFile::acquire(&root.join("mirror.lock"))?;
        let tree = PublishedTree::open(&root.join("download"), &root.join("staging"))?;
        Ok(Self { root: root.to_owned(), tree, _lock: lock })
    }

    /// The packages that are here, each with the digest of its listing if it has a sound one.
    pub fn packages(&self) -> Result<BTreeMap<PackageId, Option<Digest>>, LocalError> {
        let list = self.tree.list()?;
        Ok(list.into_iter().map(|package| (package, self.listing(package).map(|listing| listing.digest()))).collect())
    }

    /// What was proved about a package; `None` if there is nothing that can be read.
    pub fn listing(&self, package: PackageId) -> Option<Listing> {
        let text = std::fs::read_to_string(self.listing_path(package)).ok()?;
        Listing::parse(&text).ok().filter(|listing| listing.package == package)
    }

    pub(super) fn store_listing(&self, listing: &Listing) -> Result<(), LocalError> {
        let path = self.listing_path(listing.package);
        atomic::write(&path, listing.to_text().as_bytes()).map_err(|source| LocalError::Io { path, source })
    }

    /// Takes a package out of the copy, then forgets what was proved about it.
    pub(super) fn withdraw(&self, package: PackageId) -> Result<(), LocalError> {
        self.tree.withdraw(package)?;
        let path = self.listing_path(package);
        atomic::remove_file(&path).map_err(|source| LocalError::Io { path, source })
    }

    /// What was carried out last.
    pub fn last(&self) -> Option<Last> {
        let text = std::fs::read_to_string(self.root.join("manifest")).ok()?;
        let (validator, rest) = text.split_once('\n')?;
        let (choice, manifest) = rest.split_once('\n')?;
        let validator = validator.strip_prefix("validator ").filter(|validator| !validator.is_empty());
        Some(Last {
            validator: validator.map(str::to_owned),
            choice: choice.strip_prefix("choice ")?.to_owned(),
            manifest: Manifest::parse(manifest).ok()?,
        })
    }

    /// What every manifest is held against. Unlike the last manifest it is never forgotten.
    pub fn pin(&self) -> Result<Pin, LocalError> {
        let path = self.pin_path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Pin::default()),
            Err(source) => return Err(LocalError::Io { path, source }),
        };
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let key = value("key").filter(|key| signing::is_key(key)).map(str::to_owned);
        let generation = value("generation").and_then(|number| number.parse().ok());
        if key.is_none() || generation.is_none() {
            return Err(LocalError::Pin(path));
        }
        Ok(Pin { key, generation })
    }

    pub(super) fn store_pin(&self, key: &str, generation: u64) -> Result<(), LocalError> {
        let path = self.pin_path();
        atomic::write(&path, format!("key {key}\ngeneration {generation}\n").as_bytes())
            .map_err(|source| LocalError::Io { path, source })
    }

    fn pin_path(&self) -> PathBuf {
        self.root.join("pin")
    }

    pub(super) fn store_last(&self, last: &Last) -> Result<(), LocalError> {
        let path = self.root.join("manifest");
        let Last { validator, choice, manifest } = last;
        let validator = validator.as_deref().unwrap_or_default();
        let text = format!("validator {validator}\nchoice {choice}\n{}", manifest.to_text());
        atomic::write(&path, text.as_bytes()).map_err(|source| LocalError::Io { path, source })
    }

    /// The next sync asks unconditionally, because something here was not as it should be.
    pub(super) fn forget_last(&self) -> Result<(), LocalError> {
        let path = self.root.join("manifest");
        atomic::remove_file(&path).map_err(|source| LocalError::Io { path, source })
    }

    /// What is here, for the server that is copied.
    pub fn report(&self, problem: String) -> Result<MirrorReport, LocalError> {
        let mut report = MirrorReport { problem, ..MirrorReport::default() };
        report.generation = self.pin()?.generation.unwrap_or_default();
        for package in self.tree.list()? {
            if let Some(listing) = self.listing(package) {
                report.bytes = report.bytes.saturating_add(listing.size());
                report.packages.push(package);
            }
        }
        Ok(report)
    }

    fn listing_path(&self, package: PackageId) -> PathBuf {
        self.root.join("listings").join(package.to_string())
    }
}
