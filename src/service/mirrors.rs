//! What mirrors are told and what they tell: the manifest of the tree, the listings of its packages, their reports; and which
//! of them a computer is sent to.

pub mod probe;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::App;
use crate::disk::PublishedTree;
use crate::model::{
    AddressRange, Digest, DigestAlgorithm, Hasher, Location, PackageId, PackageState, TreeKey, UnixTime,
};
use crate::protocol::{Listing, Manifest, ManifestEntry, MirrorReport, PackageFilter};
use crate::store::mirrors::{Mirror, Nearby, Reach, Site};
use crate::store::{Conn, StoreError, mirrors, packages};

/// Characters of a token: 160 bits.
const TOKEN: usize = 32;
/// So long after its last report a mirror is not offered, unless it was registered with another time.
pub const SILENT_AFTER: Duration = Duration::from_hours(1);

/// Digests of listings, with the names of their packages. A published package never changes, so what was made stays true;
/// asking for the manifest of 10,000 packages costs their fragments once in the life of a server.
#[derive(Clone, Debug, Default)]
pub struct Listings(Arc<Mutex<BTreeMap<PackageId, (Digest, String)>>>);

/// Why a mirror or a site was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Not a name.
    #[error("\"{0}\" is no name: 1 to 64 lower-case letters, digits, dots and dashes, a letter or a digit first")]
    Name(String),
    /// Taken.
    #[error("there is a mirror \"{0}\" already: `dripfeed mirror token {0}` gives it a new token")]
    Exists(String),
    /// Unknown.
    #[error("there is no mirror \"{0}\": `dripfeed mirror list` shows them")]
    Unknown(String),
    /// Taken.
    #[error("there is a site \"{0}\" already: `dripfeed site remove {0}` takes it away first")]
    SiteExists(String),
    /// Unknown.
    #[error("there is no site \"{0}\": `dripfeed site list` shows them")]
    SiteUnknown(String),
    /// Named twice.
    #[error("the mirror \"{0}\" is named twice")]
    Twice(String),
    /// The machine has no randomness.
    #[error("no token can be made: {0}")]
    Token(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Registers a mirror; gives its token, which is shown once and kept as a digest.
pub fn add(
    app: &App,
    name: &str,
    location: Location,
    packages: PackageFilter,
    silent_after: Duration,
) -> Result<String, MirrorError> {
    check_name(name)?;
    let (token, hash) = new_token()?;
    let mirror = Mirror {
        name: name.to_owned(),
        location,
        packages,
        silent_after,
        token_hash: Some(hash),
        created_at: app.clock.now(),
        reported_at: None,
        reported_from: None,
        generation: 0,
        bytes: 0,
        problem: String::new(),
        reach: Reach::default(),
    };
    if app.store.write_now(move |conn| mirrors::create(conn, &mirror))? {
        Ok(token)
    } else {
        Err(MirrorError::Exists(name.to_owned()))
    }
}

/// Gives a mirror another token; the old one is worth nothing from then on.
pub fn renew_token(app: &App, name: &str) -> Result<String, MirrorError> {
    let (token, hash) = new_token()?;
    let owned = name.to_owned();
    if app.store.write_now(move |conn| mirrors::set_token(conn, &owned, &hash))? {
        Ok(token)
    } else {
        Err(MirrorError::Unknown(name.to_owned()))
    }
}

/// Changes where a mirror is, what it may have and how long its silence is borne.
pub fn edit(
    app: &App,
    name: &str,
    location: Location,
    packages: PackageFilter,
    silent_after: Duration,
) -> Result<(), MirrorError> {
    let owned = name.to_owned();
    let known = app.store.write_now(move |conn| mirrors::edit(conn, &owned, &location, &packages, silent_after))?;
    if known { Ok(()) } else { Err(MirrorError::Unknown(name.to_owned())) }
}

/// Forgets a mirror; gives the sites that lost it.
pub fn remove(app: &App, name: &str) -> Result<Vec<String>, MirrorError> {
    let owned = name.to_owned();
    app.store.write_now(move |conn| {
        let sites = mirrors::list_sites(conn)?;
        if !mirrors::remove(conn, &owned)? {
            return Err(MirrorError::Unknown(owned));
        }
        Ok(sites.into_iter().filter(|site| site.mirrors.contains(&owned)).map(|site| site.name).collect())
    })
}

/// Makes a site: addresses, and the mirrors near them in their order.
pub fn add_site(app: &App, name: &str, ranges: Vec<AddressRange>, near: Vec<String>) -> Result<(), MirrorError> {
    check_name(name)?;
    let site = Site { name: name.to_owned(), ranges, mirrors: near, created_at: app.clock.now() };
    app.store.write_now(move |conn| {
        check_mirrors(conn, &site.mirrors)?;
        if mirrors::create_site(conn, &site)? { Ok(()) } else { Err(MirrorError::SiteExists(site.name)) }
    })
}

/// Gives a site other addresses and other mirrors.
pub fn edit_site(app: &App, site: Site) -> Result<(), MirrorError> {
    app.store.write_now(move |conn| {
        check_mirrors(conn, &site.mirrors)?;
        if mirrors::edit_site(conn, &site)? { Ok(()) } else { Err(MirrorError::SiteUnknown(site.name)) }
    })
}

/// Mirrors of a site are there, each once.
fn check_mirrors(conn: &mut Conn, near: &[String]) -> Result<(), MirrorError> {
    for (at, mirror) in near.iter().enumerate() {
        if near[..at].contains(mirror) {
            return Err(MirrorError::Twice(mirror.clone()));
        }
        if mirrors::find(conn, mirror)?.is_none() {
            return Err(MirrorError::Unknown(mirror.clone()));
        }
    }
    Ok(())
}

/// Forgets a site.
pub fn remove_site(app: &App, name: &str) -> Result<(), MirrorError> {
    let owned = name.to_owned();
    if app.store.write_now(move |conn| mirrors::remove_site(conn, &owned))? {
        Ok(())
    } else {
        Err(MirrorError::SiteUnknown(name.to_owned()))
    }
}

/// Whose token that is.
pub async fn authenticate(app: &App, token: &str) -> Result<Option<Mirror>, StoreError> {
    let hash = digest(token);
    app.store.read(move |conn| mirrors::find_by_token(conn, &hash)).await
}

/// Keeps what a mirror said of itself.
pub async fn report(app: &App, mirror: Mirror, said: MirrorReport, from: IpAddr) -> Result<(), StoreError> {
    let now = app.clock.now();
    app.store.write(move |conn| mirrors::report(conn, &mirror.name, &said, from, now)).await
}

/// How a mirror is, in a word that a program would branch on.
pub fn health(mirror: &Mirror, generation: u64, now: UnixTime) -> &'static str {
    match mirror.reported_at {
        None => "never reported",
        Some(_) if !mirror.is_heard(now) => "silent",
        Some(_) if mirror.lost().is_some() => "unreachable",
        Some(_) if !mirror.problem.is_empty() => "trouble",
        Some(_) if mirror.generation < generation => "behind",
        Some(_) => "fine",
    }
}

/// A location and the mirror that it is on; `None` for the activation's own.
pub type Offered = (Location, Option<String>);

/// Where a computer shall fetch a package's fragments: the mirrors near it that hold the package, were heard of lately and
/// answer, in their order, then the activation's own location. Empty if that is a template and there is no such mirror.
pub fn locations(nearby: &Nearby, package: PackageId, activated: &Location, now: UnixTime) -> Vec<Offered> {
    let fit = nearby.mirrors.iter().filter(|(mirror, holds)| holds.contains(&package) && mirror.is_offered(now));
    let mut found: Vec<Offered> = fit
        .filter_map(|(mirror, _)| {
            // A template in the activation speaks of whichever mirror is near.
            let of = if activated.is_template() { activated } else { &mirror.location };
            Some((of.filled(mirror.reported_from, &mirror.name)?, Some(mirror.name.clone())))
        })
        .collect();
    if !activated.is_template() {
        found.push((activated.clone(), None));
    }
    found
}

fn check_name(name: &str) -> Result<(), MirrorError> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = (1..=64).contains(&name.len())
        && name.starts_with(letter)
        && name.chars().all(|c| letter(c) || matches!(c, '.' | '-'));
    if valid { Ok(()) } else { Err(MirrorError::Name(name.chars().take(64).collect())) }
}

fn new_token() -> Result<(String, Digest), MirrorError> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; TOKEN];
    getrandom::fill(&mut bytes).map_err(|error| MirrorError::Token(error.to_string()))?;
    // Five bits of each byte: every letter is as likely as any other.
    let token: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect();
    let hash = digest(&token);
    Ok((token, hash))
}

/// Tokens are random, so a plain digest is as good as a slow one.
fn digest(token: &str) -> Digest {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(token.as_bytes());
    hasher.finish()
}

/// The number of the tree's present state: it grows with each package that is published or withdrawn.
pub async fn generation(app: &App) -> Result<u64, StoreError> {
    app.store.read(packages::generation).await
}

/// The packages that are available, as mirrors shall have them. Blocks for the packages that are new.
pub fn manifest(app: &App, known: &Listings, filter: &PackageFilter) -> Result<Manifest, StoreError> {
    let (generation, available) = app.store.read_now(|conn| -> Result<_, StoreError> {
        Ok((packages::generation(conn)?, packages::in_state(conn, PackageState::Available)?))
    })?;
    let mut listed = Vec::with_capacity(available.len());
    for package in available {
        let cached = known.lock().get(&package).cloned();
        let found = match cached {
            Some(found) => Some(found),
            None => named_listing(app, package)?.map(|(listing, name)| (listing.digest(), name)),
        };
        // One without its files is lost (the start says so): a mirror that still has it shall keep serving it no longer.
        if let Some((listing, name)) = found {
            known.lock().insert(package, (listing, name.clone()));
            if filter.chooses(package, &name) {
                listed.push(ManifestEntry { package, listing, name });
            }
        }
    }
    Ok(Manifest { generation, packages: listed })
}

impl Listings {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PackageId, (Digest, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of an available package; `None` for any other.
pub fn listing(app: &App, package: PackageId) -> Result<Option<Listing>, StoreError> {
    Ok(named_listing(app, package)?.map(|(listing, _)| listing))
}

fn named_listing(app: &App, package: PackageId) -> Result<Option<(Listing, String)>, StoreError> {
    let found = app.store.read_now(move |conn| -> Result<_, StoreError> {
        let Some(found) = packages::find(conn, package)?.filter(|it| it.state == PackageState::Available) else {
            return Ok(None);
        };
        Ok(Some((packages::fragments(conn, package)?, found.name)))
    })?;
    let info = found.as_ref().and_then(|_| info_of(&app.tree, package));
    Ok(found.zip(info).map(|((fragments, name), info)| {
        let fragments = fragments.iter().map(|fragment| (fragment.size, fragment.sha256)).collect();
        (Listing { package, info, fragments }, name)
    }))
}

fn info_of(tree: &PublishedTree, package: PackageId) -> Option<(u64, Digest)> {
    let mut bytes = Vec::new();
    tree.open_file(TreeKey::Info { package }).ok()?.take(4 << 20).read_to_end(&mut bytes).ok()?;
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(&bytes);
    Some((bytes.len() as u64, hasher.finish()))
}
