//! Cutting: one pass over the input, constant memory at any size.

use std::io::{self, Read, Write};

use crate::model::{Digest, FragmentCount, FragmentNumber};

/// Why cutting stopped.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The input failed.
    #[error("failed to read the input")]
    Read(#[source] io::Error),
    /// A fragment could not be written.
    #[error("failed to write fragment {number}")]
    Write {
        /// Which.
        number: FragmentNumber,
        /// Why.
        source: io::Error,
    },
    /// More fragments than `FragmentPlan::MAX_FRAGMENTS`.
    #[error("the input has more than {limit} fragments of that size: choose a larger one")]
    TooMany {
        /// The limit.
        limit: u32,
    },
}

/// One fragment that was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SplitFragment {
    /// Which.
    pub number: FragmentNumber,
    /// Its bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// What one pass found out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SplitSummary {
    /// Bytes of the whole.
    pub size: u64,
    /// MD5 of the whole.
    pub md5: Digest,
    /// SHA-256 of the whole.
    pub sha256: Digest,
    /// Every fragment, in order.
    pub fragments: Vec<SplitFragment>,
}

impl SplitSummary {
    /// How many fragments there are.
    pub fn count(&self) -> FragmentCount {
        FragmentCount(u32::try_from(self.fragments.len()).unwrap_or(u32::MAX))
    }
}

/// Cuts `input` into fragments of `fragment_size` bytes. `open` makes the writer of a fragment, `progress` is told the
/// bytes so far. MD5, the two SHA-256 and the writing run beside each other.
pub fn split<W: Write + Send>(
    input: impl Read,
    fragment_size: u64,
    open: impl FnMut(FragmentNumber) -> io::Result<W> + Send,
    progress: impl FnMut(u64),
) -> Result<SplitSummary, SplitError> {
    let _ = (input, fragment_size, open, progress);
    todo!()
}
