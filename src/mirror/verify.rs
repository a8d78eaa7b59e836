//! Is every byte of the copy still the byte that came?

use std::io::Read as _;

use super::local::{Local, LocalError};
use crate::disk::PublishedTree;
use crate::model::{Hasher, PackageId, TreeKey};
use crate::protocol::Listing;

/// What a verification found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verified {
    /// Packages that were read.
    pub packages: usize,
    /// Bytes of the sound ones.
    pub bytes: u64,
    /// Packages that are not what came: taken out of the copy, so that nobody is served them; the next sync brings them
    /// again.
    pub removed: Vec<PackageId>,
}

/// Reads every file again. What is wrong is removed, and the next sync asks for everything that is missing.
pub fn verify(local: &Local, progress: &mut dyn FnMut(PackageId, u64)) -> Result<Verified, LocalError> {
    let mut verified = Verified::default();
    for package in local.tree.list()? {
        verified.packages += 1;
        if let Some(listing) = local.listing(package).filter(|listing| is_proved(&local.tree, listing)) {
            verified.bytes += listing.size();
            progress(package, listing.size());
        } else {
            local.withdraw(package)?;
            verified.removed.push(package);
        }
    }
    if !verified.removed.is_empty() {
        local.forget_last()?;
    }
    Ok(verified)
}

/// Are the files of a package what the listing says?
pub(super) fn is_proved(tree: &PublishedTree, listing: &Listing) -> bool {
    listing.files().all(|(key, size, digest)| {
        let mut hasher = Hasher::new(digest.algorithm());
        read(tree, key, size, &mut hasher) && hasher.finish() == digest
    })
}

fn read(tree: &PublishedTree, key: TreeKey, size: u64, hasher: &mut Hasher) -> bool {
    let Ok(file) = tree.open_file(key) else { return false };
    if file.metadata().map(|metadata| metadata.len()).ok() != Some(size) {
        return false;
    }
    let mut reader = file.take(size);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return true,
            Ok(n) => hasher.update(&buffer[..n]),
            Err(_) => return false,
        }
    }
}
