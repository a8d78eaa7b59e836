//! What mirrors are told: the manifest of the tree and the listings of its packages.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::App;
use crate::disk::PublishedTree;
use crate::model::{Digest, DigestAlgorithm, Hasher, PackageId, PackageState, TreeKey};
use crate::protocol::{Listing, Manifest};
use crate::store::{StoreError, packages};

/// Digests of listings. A published package never changes, so one that was made stays true; asking for the manifest of
/// 10,000 packages costs their fragments once in the life of a server.
#[derive(Clone, Debug, Default)]
pub struct Listings(Arc<Mutex<BTreeMap<PackageId, Digest>>>);

/// The number of the tree's present state: it grows with each package that is published or withdrawn.
pub async fn generation(app: &App) -> Result<u64, StoreError> {
    app.store.read(packages::generation).await
}

/// The packages that are available, as mirrors shall have them. Blocks for the packages that are new.
pub fn manifest(app: &App, known: &Listings) -> Result<Manifest, StoreError> {
    let (generation, available) = app.store.read_now(|conn| -> Result<_, StoreError> {
        Ok((packages::generation(conn)?, packages::in_state(conn, PackageState::Available)?))
    })?;
    let mut listed = Vec::with_capacity(available.len());
    for package in available {
        let cached = known.lock().get(&package).copied();
        let digest = match cached {
            Some(digest) => Some(digest),
            None => listing(app, package)?.map(|listing| listing.digest()),
        };
        // One without its files is lost (the start says so): a mirror that still has it shall keep serving it no longer.
        if let Some(digest) = digest {
            known.lock().insert(package, digest);
            listed.push((package, digest));
        }
    }
    Ok(Manifest { generation, packages: listed })
}

impl Listings {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PackageId, Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of an available package; `None` for any other.
pub fn listing(app: &App, package: PackageId) -> Result<Option<Listing>, StoreError> {
    let found = app.store.read_now(move |conn| -> Result<_, StoreError> {
        let available = packages::find(conn, package)?.is_some_and(|it| it.state == PackageState::Available);
        Ok(if available { Some(packages::fragments(conn, package)?) } else { None })
    })?;
    let info = found.as_ref().and_then(|_| info_of(&app.tree, package));
    Ok(found.zip(info).map(|(fragments, info)| Listing {
        package,
        info,
        fragments: fragments.iter().map(|fragment| (fragment.size, fragment.sha256)).collect(),
    }))
}

fn info_of(tree: &PublishedTree, package: PackageId) -> Option<(u64, Digest)> {
    let mut bytes = Vec::new();
    tree.open_file(TreeKey::Info { package }).ok()?.take(4 << 20).read_to_end(&mut bytes).ok()?;
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(&bytes);
    Some((bytes.len() as u64, hasher.finish()))
}
