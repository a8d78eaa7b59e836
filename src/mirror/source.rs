//! Where a mirror copies from: several servers in order, each believed only as far as its bytes are proved.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::fetch::{Client, FetchError, InvalidUrl, Url};
use crate::model::{Digest, Hasher, PackageId, TreeKey};
use crate::protocol::{Listing, Manifest, ManifestError, MirrorReport, SignedManifest};
use crate::tls::signing;

/// Bytes of a manifest or a listing: 100,000 packages, or 100,000 fragments, with room.
const TEXT: usize = 32 << 20;
/// Bytes of the answer to a report.
const ANSWER: usize = 4096;

/// Why a source was passed over.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It could not be asked.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// No address can be made of it.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// It is not HTTPS.
    #[error("{0} is not an https:// address: a mirror must know whom it copies")]
    Insecure(String),
    /// It sent something else.
    #[error("what {url} gives cannot be used")]
    Text {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// It sent other bytes than the manifest says.
    #[error("{url} gives other bytes than the manifest says")]
    Wrong {
        /// What was asked for.
        url: String,
    },
    /// Somebody else signed, or nobody did.
    #[error("the manifest of {url} is not signed by the key that it names: somebody changed it on its way")]
    Signature {
        /// What was asked for.
        url: String,
    },
    /// Another server's tree, or one whose key was lost.
    #[error(
        "the manifest of {url} is signed with the key {theirs}, this mirror knows {ours}: another server answers there; if it \
         is yours and has a new key (dripfeed mirror key), give it with --key"
    )]
    Key {
        /// What was asked for.
        url: String,
        /// The key that signed.
        theirs: String,
        /// The one that is known here.
        ours: String,
    },
    /// Its tree is older than ours.
    #[error("{url} is at generation {theirs}, this mirror at {ours}: a mirror never goes back")]
    Older {
        /// Which.
        url: String,
        /// Its generation.
        theirs: u64,
        /// Ours.
        ours: u64,
    },
    /// Nothing was named.
    #[error("there is no source to copy from")]
    Nobody,
}

/// One server: the address of its tree, `https://HOST[:PORT]/download`.
#[derive(Debug)]
pub struct Source {
    address: String,
    url: Url,
    /// How often it failed since this program was started: those who never did are asked first.
    failures: AtomicU32,
}

impl Source {
    /// Takes an address; only HTTPS proves who answers.
    pub fn new(address: &str) -> Result<Self, SourceError> {
        let address = address.trim_end_matches('/');
        let url: Url = address.parse()?;
        if !url.is_https() {
            return Err(SourceError::Insecure(address.to_owned()));
        }
        Ok(Self { address: address.to_owned(), url, failures: AtomicU32::new(0) })
    }

    /// The address that was given.
    pub fn url(&self) -> &Url {
        &self.url
    }

    fn below(&self, path: &str) -> Result<Url, InvalidUrl> {
        format!("{}/{path}", self.address).parse()
    }
}

/// What a mirror knows of its tree, whatever happens to the rest: it is what every manifest is held against.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pin {
    /// The key that the first manifest was signed with, or that was given by hand.
    pub key: Option<String>,
    /// The latest generation that was accepted.
    pub generation: Option<u64>,
}

/// A manifest that was proved.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The manifest.
    pub manifest: Manifest,
    /// Who signed it.
    pub key: String,
    /// What to ask with next time.
    pub validator: Option<String>,
}

/// What there is of a file already, and where more of it goes.
pub trait Part {
    /// Where bytes go.
    type Sink: Write;
    /// Digests what is there, at most `size` bytes; gives how many there were.
    fn digest(&self, size: u64, hasher: &mut Hasher) -> u64;
    /// Goes on behind so many bytes; nothing else of it stays.
    fn open(&self, offset: u64) -> io::Result<Self::Sink>;
}

/// Servers in the order in which they are asked.
#[expect(missing_debug_implementations, reason = "a client has nothing to print")]
pub struct Sources {
    client: Client,
    servers: Vec<Source>,
    pace: Pace,
}

impl Sources {
    /// `limit` is bytes per second over all threads together.
    pub fn new(client: Client, servers: Vec<Source>, limit: Option<u64>) -> Self {
        Self { client, servers, pace: Pace::new(limit) }
    }

    /// The manifest of the first source that has a usable one; `None` if it is still the one of that validator.
    ///
    /// Sources that were passed over are told to `passed`.
    pub fn manifest(
        &self,
        pin: &Pin,
        validator: Option<&str>,
        passed: &mut dyn FnMut(&SourceError),
    ) -> Result<Option<Accepted>, SourceError> {
        self.first(passed, |source| {
            let url = source.below("manifest")?;
            let Some(found) = self.client.get_if_changed(&url, validator, TEXT)? else { return Ok(None) };
            let text = String::from_utf8_lossy(&found.bytes);
            accept(&url, &text, pin).map(|(manifest, key)| Some(Accepted { manifest, key, validator: found.validator }))
        })
    }

    /// The listing of a package, proved by the manifest's digest.
    pub fn listing(
        &self,
        package: PackageId,
        digest: &Digest,
        passed: &mut dyn FnMut(&SourceError),
    ) -> Result<Listing, SourceError> {
        self.first(passed, |source| {
            let url = source.below(&format!("manifest/{package}"))?;
            let bytes = self.client.get(&url, TEXT)?;
            let listing = Listing::parse(&String::from_utf8_lossy(&bytes))
                .map_err(|source| SourceError::Text { url: url.to_string(), source })?;
            if listing.package != package || listing.digest() != *digest {
                return Err(SourceError::Wrong { url: url.to_string() });
            }
            Ok(listing)
        })
    }

    /// What is missing of one file of the tree, proved as a whole before this returns; gives the bytes that came.
    ///
    /// What one source sent stays for the next to go on with. A file that is wrong in the end may have a wrong beginning
    /// of somebody else's: it is fetched from its beginning before the source is blamed.
    pub fn file<P: Part>(
        &self,
        key: TreeKey,
        size: u64,
        digest: &Digest,
        part: &P,
        passed: &mut dyn FnMut(&SourceError),
    ) -> Result<u64, SourceError> {
        let mut came = 0;
        self.first(passed, |source| {
            let url = source.below(&key.to_string())?;
            let mut hasher = Hasher::new(digest.algorithm());
            let have = part.digest(size, &mut hasher);
            if have == size && hasher.clone().finish() == *digest {
                return Ok(());
            }
            if have > 0 && have < size {
                match self.rest(&url, have, size, hasher, digest, part) {
                    Ok(bytes) => {
                        came += bytes;
                        return Ok(());
                    }
                    Err(SourceError::Wrong { .. } | SourceError::Fetch(FetchError::WrongRange { .. })) => {}
                    Err(error) => return Err(error),
                }
            }
            came += self.rest(&url, 0, size, Hasher::new(digest.algorithm()), digest, part)?;
            Ok(())
        })?;
        Ok(came)
    }

    fn rest<P: Part>(
        &self,
        url: &Url,
        from: u64,
        size: u64,
        hasher: Hasher,
        digest: &Digest,
        part: &P,
    ) -> Result<u64, SourceError> {
        let (sink, length) = self.client.get_to(url, from, size, |start| {
            let hasher = if start == from { hasher } else { Hasher::new(digest.algorithm()) };
            Ok(Proving { sink: part.open(start)?, hasher, came: 0, pace: &self.pace })
        })?;
        if length != size || sink.hasher.finish() != *digest {
            // Nobody shall go on with it.
            drop(part.open(0));
            return Err(SourceError::Wrong { url: url.to_string() });
        }
        Ok(sink.came)
    }

    /// Tells the first source that takes it how this mirror is.
    pub fn report(&self, report: &MirrorReport, passed: &mut dyn FnMut(&SourceError)) -> Result<(), SourceError> {
        let text = report.to_text();
        self.first(passed, |source| {
            let url = source.below("manifest")?;
            self.client.post(&url, "text/plain; charset=utf-8", text.as_bytes(), ANSWER)?;
            Ok(())
        })
    }

    fn first<T>(
        &self,
        passed: &mut dyn FnMut(&SourceError),
        mut ask: impl FnMut(&Source) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let mut order: Vec<&Source> = self.servers.iter().collect();
        // One that is dead or lies costs a time-out or a file each time: it is asked when nobody else is left. Stable.
        order.sort_by_key(|source| source.failures.load(Ordering::Relaxed) > 0);
        let mut failed: Option<SourceError> = None;
        for source in order {
            if let Some(error) = &failed {
                passed(error);
            }
            match ask(source) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    if !is_ours(&error) {
                        source.failures.fetch_add(1, Ordering::Relaxed);
                    }
                    failed = Some(error);
                }
            }
        }
        Err(failed.unwrap_or(SourceError::Nobody))
    }

    /// Forgets who failed: for the next sync of one program.
    pub fn forgive(&self) {
        for source in &self.servers {
            source.failures.store(0, Ordering::Relaxed);
        }
    }
}

/// A disk that is full says nothing about who sent.
fn is_ours(error: &SourceError) -> bool {
    matches!(error, SourceError::Fetch(FetchError::Sink { .. }))
}

/// Proves a manifest: signed by the key that is known (by any, if none is), and not older than what is known.
fn accept(url: &Url, text: &str, pin: &Pin) -> Result<(Manifest, String), SourceError> {
    let of_text = |source| SourceError::Text { url: url.to_string(), source };
    let split = SignedManifest::split(text).map_err(of_text)?;
    if let Some(ours) = &pin.key
        && !ours.eq_ignore_ascii_case(split.key)
    {
        return Err(SourceError::Key { url: url.to_string(), theirs: split.key.to_owned(), ours: ours.clone() });
    }
    if !signing::is_signed(split.key, split.signed.as_bytes(), split.signature) {
        return Err(SourceError::Signature { url: url.to_string() });
    }
    let manifest = split.manifest().map_err(of_text)?;
    match pin.generation {
        Some(ours) if manifest.generation < ours => {
            Err(SourceError::Older { url: url.to_string(), theirs: manifest.generation, ours })
        }
        _ => Ok((manifest, split.key.to_ascii_lowercase())),
    }
}

/// Digests what it hands on, no faster than the pace.
struct Proving<'a, W> {
    sink: W,
    hasher: Hasher,
    came: u64,
    pace: &'a Pace,
}

impl<W: Write> Write for Proving<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.sink.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.came += n as u64;
        self.pace.took(n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// A ceiling on bytes per second that all threads share.
struct Pace {
    limit: Option<u64>,
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    fn new(limit: Option<u64>) -> Self {
        Self { limit: limit.filter(|limit| *limit > 0), free_at: Mutex::new(None) }
    }

    /// Waits until so many bytes more may have come.
    fn took(&self, bytes: usize) {
        let Some(limit) = self.limit else { return };
        let now = Instant::now();
        let wait = {
            let mut free_at = self.free_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // An idle link saves nothing up.
            let from = free_at.filter(|at| *at > now).unwrap_or(now);
            let until = from + span(bytes as u64, limit);
            *free_at = Some(until);
            until - now
        };
        std::thread::sleep(wait);
    }
}

fn span(bytes: u64, per_second: u64) -> Duration {
    Duration::from_nanos(u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(per_second)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::signing::SigningKey;

    fn signed(key: &SigningKey, generation: u64) -> String {
        let text = Manifest { generation, packages: Vec::new() }.to_sign(&key.public());
        SignedManifest::join(&text, &key.sign(text.as_bytes()))
    }

    #[test]
    fn a_manifest_is_held_against_key_and_generation() {
        let directories = [tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another")];
        let [ours, theirs] = directories.each_ref().map(|it| SigningKey::ensure(it.path()).expect("a key"));
        let url: Url = "https://a.example/download/manifest".parse().expect("an address");
        let check = |text: &str, key: Option<&SigningKey>, generation| {
            let pin = Pin { key: key.map(SigningKey::public), generation };
            accept(&url, text, &pin).map(|(manifest, key)| (manifest.generation, key))
        };
        let good = signed(&ours, 7);
        assert_eq!(check(&good, None, None).expect("the first one is believed"), (7, ours.public()));
        assert!(check(&good, Some(&ours), Some(7)).is_ok());
        assert!(matches!(check(&good, Some(&ours), Some(8)), Err(SourceError::Older { theirs: 7, ours: 8, .. })));
        assert!(matches!(check(&good, Some(&theirs), None), Err(SourceError::Key { .. })));
        let changed = good.replace("generation 7", "generation 9");
        assert!(matches!(check(&changed, Some(&ours), None), Err(SourceError::Signature { .. })));
        // Their signature under our name.
        let posing = signed(&theirs, 9).replace(&theirs.public(), &ours.public());
        assert!(matches!(check(&posing, Some(&ours), None), Err(SourceError::Signature { .. })));
        let bare = Manifest::default().to_text();
        assert!(matches!(check(&bare, None, None), Err(SourceError::Text { source: ManifestError::Unsigned, .. })));
    }

    #[test]
    fn a_pace_counts_what_all_took_together() {
        assert_eq!(span(1_000_000, 2_000_000), Duration::from_millis(500));
        assert_eq!(span(u64::MAX, 1), Duration::from_nanos(u64::MAX));
    }
}
