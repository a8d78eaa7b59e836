//! Putting together: fragments in, proof out.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use super::pipe::{Block, Pool, join};
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
    /// No digest at all was asked for.
    #[error("the archive has no digest to be checked by, so it is not used")]
    Unproven,
}

/// Joins fragments 1 to `count` into `output` and checks every digest on the way.
///
/// `open` gives a fragment's reader; `io::ErrorKind::NotFound` is [`AssembleError::Missing`]. Each digest is computed on
/// its own thread beside the reading and writing; memory is a few MiB at any size. Without any digest there can be no
/// proof, so an empty `expected` is [`AssembleError::Unproven`].
pub fn assemble<R: Read, W: Write>(
    count: FragmentCount,
    expected: &[Digest],
    mut open: impl FnMut(FragmentNumber) -> io::Result<R>,
    mut output: W,
) -> Result<Verified<W>, AssembleError> {
    if expected.is_empty() {
        return Err(AssembleError::Unproven);
    }
    let actual = thread::scope(|scope| {
        let (inlets, hashers): (Vec<_>, Vec<_>) = expected
            .iter()
            .map(|digest| {
                let (inlet, blocks) = channel();
                let algorithm = digest.algorithm();
                (inlet, scope.spawn(move || super::split::digest(algorithm, blocks)))
            })
            .unzip();
        let mut pool = Pool::new();
        let joined = join_fragments(count, &mut open, &mut output, &mut pool, |block| {
            // A hasher ends only when its inlet does.
            for inlet in &inlets {
                let _ = inlet.send(Arc::clone(block));
            }
        });
        drop(inlets);
        let actual: Vec<Digest> = hashers.into_iter().map(join).collect();
        joined.map(|()| actual)
    })?;
    match expected.iter().zip(actual).find(|(expected, actual)| **expected != *actual) {
        Some((&expected, actual)) => Err(AssembleError::WrongDigest { expected, actual }),
        None => Ok(Verified(output)),
    }
}

fn join_fragments<R: Read, W: Write>(
    count: FragmentCount,
    open: &mut impl FnMut(FragmentNumber) -> io::Result<R>,
    output: &mut W,
    pool: &mut Pool,
    mut taken: impl FnMut(&Arc<Block>),
) -> Result<(), AssembleError> {
    for number in count.numbers() {
        let mut fragment = open(number).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => AssembleError::Missing { number },
            _ => AssembleError::Read { number, source },
        })?;
        while let Some(block) = pool.fill(&mut fragment).map_err(|source| AssembleError::Read { number, source })? {
            let block = Arc::new(block);
            taken(&block);
            output.write_all(&block).map_err(AssembleError::Write)?;
        }
    }
    output.flush().map_err(AssembleError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DigestAlgorithm, Hasher};

    fn digest(algorithm: DigestAlgorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    fn join_two(first: &[u8], second: Option<&[u8]>, expected: &[Digest]) -> Result<Vec<u8>, AssembleError> {
        let open = |number: FragmentNumber| match (number.number(), second) {
            (1, _) => Ok(first),
            (2, Some(second)) => Ok(second),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        assemble(FragmentCount(2), expected, open, Vec::new()).map(Verified::into_inner)
    }

    #[test]
    fn every_digest_must_match() {
        let right = digest(DigestAlgorithm::Md5, b"hello world");
        let sha1 = digest(DigestAlgorithm::Sha1, b"hello world");
        let wrong = digest(DigestAlgorithm::Sha256, b"hello");
        assert_eq!(join_two(b"hello ", Some(b"world"), &[right, sha1]).expect("both match"), b"hello world");
        let error = join_two(b"hello ", Some(b"world"), &[right, wrong]).expect_err("one does not");
        insta::assert_snapshot!(error, @"the archive's SHA256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 does not match: it is SHA256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
    }

    #[test]
    fn nothing_is_proven_without_a_digest() {
        let error = join_two(b"hello ", Some(b"world"), &[]).expect_err("no digest");
        insta::assert_snapshot!(error, @"the archive has no digest to be checked by, so it is not used");
    }

    #[test]
    fn a_missing_fragment_is_named() {
        let md5 = digest(DigestAlgorithm::Md5, b"hello ");
        let error = join_two(b"hello ", None, &[md5]).expect_err("no second fragment");
        insta::assert_snapshot!(error, @"fragment 2 is missing");
    }

    #[test]
    fn a_full_disk_is_told_without_waiting_for_the_rest() {
        #[derive(Debug)]
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let md5 = digest(DigestAlgorithm::Md5, b"");
        let error = assemble(FragmentCount(1), &[md5], |_| Ok(io::repeat(0)), Full).expect_err("full");
        assert!(matches!(error, AssembleError::Write(_)), "{error:?}");
    }
}
