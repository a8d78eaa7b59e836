//! Two trees, and the plan that makes one like the other: `cargo run --example plan_mirror`.
//!
//! Everything here is pure: the listings stand for the files that a server publishes, and the plan is what
//! `dripfeed-mirror plan` prints.

use std::collections::BTreeMap;

use dripfeed::mirror::plan;
use dripfeed::model::{Digest, DigestAlgorithm, Hasher, PackageId};
use dripfeed::protocol::{Listing, Manifest, ManifestEntry};

fn digest(of: &str) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(of.as_bytes());
    hasher.finish()
}

/// A package of two fragments, the second one with that content.
fn listing(package: PackageId, content: &str) -> Listing {
    let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
    Listing {
        package,
        info: (600, digest("info")),
        fragments: vec![(1 << 20, digest("first")), (length, digest(content))],
    }
}

#[expect(clippy::print_stdout, reason = "printing is what it is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ids: Vec<PackageId> = (1_795_164_357..=1_795_164_360).filter_map(PackageId::new).collect();
    // The server has three packages; the mirror has one of them, an old state of another, and one that was withdrawn.
    let there: Vec<Listing> = ids[..3].iter().map(|id| listing(*id, "new")).collect();
    let manifest = Manifest {
        generation: 42,
        packages: there
            .iter()
            .map(|listing| ManifestEntry {
                package: listing.package,
                listing: listing.digest(),
                name: "Example".to_owned(),
            })
            .collect(),
    };
    let here = BTreeMap::from([
        (ids[0], Some(there[0].digest())),
        (ids[1], Some(listing(ids[1], "damaged").digest())),
        (ids[3], None),
    ]);

    println!("The manifest:\n\n{}", manifest.to_text());
    println!("The listing of {}:\n\n{}", ids[1], there[1].to_text());
    let plan = plan(&here, &Manifest::parse(&manifest.to_text())?, |_| true);
    let bytes: u64 = there.iter().filter(|one| plan.fetch.contains(&one.package)).map(Listing::size).sum();
    let names = |ids: &[PackageId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    println!(
        "The plan: keep {}, fetch {} ({bytes} bytes), withdraw {}",
        plan.keep,
        names(&plan.fetch),
        names(&plan.withdraw)
    );
    Ok(())
}
