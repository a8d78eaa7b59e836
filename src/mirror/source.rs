//! Where a mirror copies from: several servers in order, each believed only as far as its bytes are proved.

use std::io::{self, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::fetch::{Client, FetchError, InvalidUrl, Url};
use crate::model::{Digest, Hasher, PackageId, TreeKey};
use crate::protocol::{Listing, Manifest, ManifestError};

/// Bytes of a manifest or a listing: 100,000 packages, or 100,000 fragments, with room.
const TEXT: usize = 32 << 20;

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
}

/// One server: the address of its tree, `https://HOST[:PORT]/download`.
#[derive(Clone, Debug)]
pub struct Source(String);

impl Source {
    /// Takes an address; only HTTPS proves who answers.
    pub fn new(address: &str) -> Result<Self, SourceError> {
        let address = address.trim_end_matches('/');
        let url: Url = address.parse()?;
        if !url.is_https() {
            return Err(SourceError::Insecure(address.to_owned()));
        }
        Ok(Self(address.to_owned()))
    }

    fn url(&self, path: &str) -> Result<Url, InvalidUrl> {
        format!("{}/{path}", self.0).parse()
    }
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
        ours: Option<u64>,
        validator: Option<&str>,
        passed: &mut dyn FnMut(&SourceError),
    ) -> Result<Option<(Manifest, Option<String>)>, SourceError> {
        self.first(passed, |source| {
            let url = source.url("manifest")?;
            let Some(found) = self.client.get_if_changed(&url, validator, TEXT)? else { return Ok(None) };
            let manifest = Manifest::parse(&String::from_utf8_lossy(&found.bytes))
                .map_err(|source| SourceError::Text { url: url.to_string(), source })?;
            match ours {
                Some(ours) if manifest.generation < ours => {
                    Err(SourceError::Older { url: url.to_string(), theirs: manifest.generation, ours })
                }
                _ => Ok(Some((manifest, found.validator))),
            }
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
            let url = source.url(&format!("manifest/{package}"))?;
            let bytes = self.client.get(&url, TEXT)?;
            let listing = Listing::parse(&String::from_utf8_lossy(&bytes))
                .map_err(|source| SourceError::Text { url: url.to_string(), source })?;
            if listing.package != package || listing.digest() != *digest {
                return Err(SourceError::Wrong { url: url.to_string() });
            }
            Ok(listing)
        })
    }

    /// One file of the tree into what `open` makes, proved before this returns; each source gets a new one.
    pub fn file<W: Write>(
        &self,
        key: TreeKey,
        size: u64,
        digest: &Digest,
        mut open: impl FnMut() -> io::Result<W>,
        passed: &mut dyn FnMut(&SourceError),
    ) -> Result<W, SourceError> {
        self.first(passed, |source| {
            let url = source.url(&key.to_string())?;
            let hasher = Hasher::new(digest.algorithm());
            let (sink, length) =
                self.client.get_to(&url, 0, size, |_| Ok(Proving { sink: open()?, hasher, pace: &self.pace }))?;
            if length != size || sink.hasher.finish() != *digest {
                return Err(SourceError::Wrong { url: url.to_string() });
            }
            Ok(sink.sink)
        })
    }

    fn first<T>(
        &self,
        passed: &mut dyn FnMut(&SourceError),
        mut ask: impl FnMut(&Source) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let mut failed: Option<SourceError> = None;
        for source in &self.servers {
            if let Some(error) = &failed {
                passed(error);
            }
            match ask(source) {
                Ok(value) => return Ok(value),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| SourceError::Insecure(String::new())))
    }
}

/// Digests what it hands on, no faster than the pace.
struct Proving<'a, W> {
    sink: W,
    hasher: Hasher,
    pace: &'a Pace,
}

impl<W: Write> Write for Proving<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.sink.write(bytes)?;
        self.hasher.update(&bytes[..n]);
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
