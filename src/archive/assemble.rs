//! Putting together: fragments in, proof out.

use std::io::{self, Read, Write};

use crate::model::{Digest, FragmentCount, FragmentNumber};

/// Something whose bytes matched the info file's digests. Only [`assemble`] makes one, and unpacking takes nothing else.
#[derive(Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Gives the thing away; the proof is spent.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Why fragments did not become an archive.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A fragment is not there.
    #[error("fragment {number} is missing")]
    Missing {
        /// Which.
        number: FragmentNumber,
    },
    /// A fragment could not be read.
    #[error("failed to read fragment {number}")]
    Read {
        /// Which.
        number: FragmentNumber,
        /// Why.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("failed to write the archive")]
    Write(#[source] io::Error),
    /// The bytes are not the ones that were built.
    #[error("the archive's {expected:?} does not match: it is {actual:?}")]
    WrongDigest {
        /// What the info file says.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
}

/// Joins fragments 1 to `count` into `output` and checks every digest on the way.
///
/// `open` gives a fragment's reader; `io::ErrorKind::NotFound` is [`AssembleError::Missing`].
pub fn assemble<R: Read, W: Write>(
    count: FragmentCount,
    expected: &[Digest],
    open: impl FnMut(FragmentNumber) -> io::Result<R>,
    output: W,
) -> Result<Verified<W>, AssembleError> {
    let _ = (count, expected, open, output);
    todo!()
}
