//! What has to be done: pure, so that it can be printed without doing it.

use std::collections::BTreeMap;

use crate::model::{Digest, PackageId};
use crate::protocol::{Manifest, ManifestEntry};

/// What has to be done to be like the source.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SyncPlan {
    /// Not here, or not proved, ascending.
    pub fetch: Vec<PackageId>,
    /// Here and proved.
    pub keep: usize,
    /// Here, but not in the manifest.
    pub withdraw: Vec<PackageId>,
}

/// Compares what is here (each package with the digest of its listing, if it has one) with what the source has.
///
/// `wanted` says which packages this mirror copies at all; others are neither fetched nor kept.
pub fn plan(
    local: &BTreeMap<PackageId, Option<Digest>>,
    manifest: &Manifest,
    wanted: impl Fn(&ManifestEntry) -> bool,
) -> SyncPlan {
    let mut plan = SyncPlan::default();
    let there: BTreeMap<PackageId, Digest> =
        manifest.packages.iter().filter(|entry| wanted(entry)).map(|entry| (entry.package, entry.listing)).collect();
    for (package, digest) in &there {
        if local.get(package) == Some(&Some(*digest)) {
            plan.keep += 1;
        } else {
            plan.fetch.push(*package);
        }
    }
    plan.withdraw = local.keys().copied().filter(|package| !there.contains_key(package)).collect();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DigestAlgorithm;

    #[test]
    fn what_is_proved_is_kept_and_what_is_gone_goes() {
        let digest = |byte| Digest::from_bytes(DigestAlgorithm::Sha256, &[byte; 32]).expect("32 bytes");
        let id = |number| PackageId::new(number).expect("an id");
        let local = BTreeMap::from([(id(1), Some(digest(1))), (id(2), None), (id(3), Some(digest(9))), (id(5), None)]);
        let manifest = Manifest {
            generation: 7,
            packages: (1..=4)
                .map(|n: u8| ManifestEntry { package: id(n.into()), listing: digest(n), name: String::new() })
                .collect(),
        };
        let expected = SyncPlan { fetch: vec![id(2), id(3), id(4)], keep: 1, withdraw: vec![id(5)] };
        assert_eq!(plan(&local, &manifest, |_| true), expected);
        let some = plan(&local, &manifest, |entry| entry.package != id(1) && entry.package != id(4));
        assert_eq!(some, SyncPlan { fetch: vec![id(2), id(3)], keep: 0, withdraw: vec![id(1), id(5)] });
    }
}
