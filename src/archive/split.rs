//! Cutting: one pass over the input, constant memory at any size.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::{mem, thread};

use super::pipe::{Block, Pool, join};
use crate::model::{Digest, DigestAlgorithm, FragmentCount, FragmentNumber, FragmentPlan, Hasher};

/// Bytes that two hashers take in turn. The instructions of one digest wait for each other; so near together, the
/// processor fills the gaps with those of the other (a tenth faster than in turns of some KiB).
const TURN: usize = 128;

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
    /// A fragment size of nothing.
    #[error("a fragment needs at least one byte")]
    Empty,
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
///
/// Memory is a few MiB at any size. The first failure ends everything: `input` is not read any further, and a fragment
/// that was begun is dropped as it is. An empty input has no fragment.
///
/// ```
/// # use dripfeed::archive::split;
/// let summary = split(&b"hello world"[..], 4, |_| Ok(std::io::sink()), |_| {})?;
/// assert_eq!(summary.fragments.iter().map(|fragment| fragment.size).collect::<Vec<_>>(), [4, 4, 3]);
/// assert_eq!(summary.md5.to_string(), "5eb63bbbe01eeed093cb22bb8f5acdc3");
/// # Ok::<(), dripfeed::archive::SplitError>(())
/// ```
pub fn split<W: Write + Send>(
    mut input: impl Read,
    fragment_size: u64,
    open: impl FnMut(FragmentNumber) -> io::Result<W> + Send,
    mut progress: impl FnMut(u64),
) -> Result<SplitSummary, SplitError> {
    if fragment_size == 0 {
        return Err(SplitError::Empty);
    }
    let limit = FragmentPlan::MAX_FRAGMENTS;
    let most = fragment_size.saturating_mul(u64::from(limit));
    thread::scope(|scope| {
        let (to_md5, blocks) = channel();
        let md5 = scope.spawn(move || digest(DigestAlgorithm::Md5, blocks));
        let (to_sha256, blocks) = channel();
        let sha256 = scope.spawn(move || digest_twice(fragment_size, blocks));
        let (to_writer, blocks) = channel();
        let writer = scope.spawn(move || write(fragment_size, open, blocks));

        let mut size = 0;
        let mut pool = Pool::new();
        let read = loop {
            match pool.fill(&mut input) {
                Ok(None) => break Ok(()),
                Ok(Some(block)) => {
                    size += block.len() as u64;
                    if size > most {
                        break Err(SplitError::TooMany { limit });
                    }
                    let block = Arc::new(block);
                    // Only the writer ends early, and then it says why.
                    if to_writer.send(Arc::clone(&block)).is_err() {
                        break Ok(());
                    }
                    let _ = to_md5.send(Arc::clone(&block));
                    let _ = to_sha256.send(block);
                    progress(size);
                }
                Err(error) => break Err(SplitError::Read(error)),
            }
        };
        drop((to_md5, to_sha256, to_writer));
        let (md5, (sha256, fragments), written) = (join(md5), join(sha256), join(writer));
        written?;
        read?;
        Ok(SplitSummary { size, md5, sha256, fragments })
    })
}

/// The digest of all blocks.
pub(super) fn digest(algorithm: DigestAlgorithm, blocks: Receiver<Arc<Block>>) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    for block in blocks {
        hasher.update(&block);
    }
    hasher.finish()
}

/// The SHA-256 of the whole and of every fragment.
fn digest_twice(fragment_size: u64, blocks: Receiver<Arc<Block>>) -> (Digest, Vec<SplitFragment>) {
    let mut whole = Hasher::new(DigestAlgorithm::Sha256);
    let mut part = Hasher::new(DigestAlgorithm::Sha256);
    let mut fragments = Vec::new();
    let mut number = FragmentNumber::FIRST;
    let mut size = 0;
    let mut close = |part: &mut Hasher, size: &mut u64| {
        let sha256 = mem::replace(part, Hasher::new(DigestAlgorithm::Sha256)).finish();
        fragments.push(SplitFragment { number, size: mem::take(size), sha256 });
        number = number.next();
    };
    for block in blocks {
        let mut rest = &block[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(up_to(fragment_size - size, rest.len()));
            for chunk in piece.chunks(TURN) {
                whole.update(chunk);
                part.update(chunk);
            }
            size += piece.len() as u64;
            rest = after;
            if size == fragment_size {
                close(&mut part, &mut size);
            }
        }
    }
    if size > 0 {
        close(&mut part, &mut size);
    }
    (whole.finish(), fragments)
}

/// Writes every fragment; the first failure ends it.
fn write<W: Write>(
    fragment_size: u64,
    mut open: impl FnMut(FragmentNumber) -> io::Result<W>,
    blocks: Receiver<Arc<Block>>,
) -> Result<(), SplitError> {
    let mut number = FragmentNumber::FIRST;
    let mut current: Option<(W, u64)> = None;
    for block in blocks {
        let mut rest = &block[..];
        while !rest.is_empty() {
            let failed = |source| SplitError::Write { number, source };
            let (mut output, room) = match current.take() {
                Some(current) => current,
                None => (open(number).map_err(failed)?, fragment_size),
            };
            let (piece, after) = rest.split_at(up_to(room, rest.len()));
            output.write_all(piece).map_err(failed)?;
            rest = after;
            let room = room - piece.len() as u64;
            if room == 0 {
                output.flush().map_err(failed)?;
                number = number.next();
            } else {
                current = Some((output, room));
            }
        }
    }
    if let Some((mut output, _)) = current {
        output.flush().map_err(|source| SplitError::Write { number, source })?;
    }
    Ok(())
}

/// The smaller one of bytes that fit and bytes that are there.
fn up_to(room: u64, there: usize) -> usize {
    usize::try_from(room).map_or(there, |room| room.min(there))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::super::assemble;
    use super::*;
    use crate::model::FragmentPlan;

    type Fragments = Mutex<Vec<Vec<u8>>>;

    struct Fragment<'a>(&'a Fragments, usize);

    impl Write for Fragment<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("lock")[self.1].extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn split_all(input: impl Read, size: u64) -> Result<(SplitSummary, Vec<Vec<u8>>), SplitError> {
        let fragments = Fragments::default();
        let open = |number: FragmentNumber| {
            let mut all = fragments.lock().expect("lock");
            assert_eq!(all.len() + 1, number.number() as usize, "fragments are opened in order");
            all.push(Vec::new());
            Ok(Fragment(&fragments, all.len() - 1))
        };
        let summary = split(input, size, open, |_| {})?;
        Ok((summary, fragments.into_inner().expect("lock")))
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at * 31 % 251).expect("below 251")).collect()
    }

    #[test]
    fn edges_of_a_fragment() {
        for (length, sizes) in
            [(0, &[][..]), (1, &[1]), (999, &[999]), (1000, &[1000]), (1001, &[1000, 1]), (2000, &[1000, 1000])]
        {
            let input = bytes(length);
            let (summary, fragments) = split_all(&input[..], 1000).expect("split");
            assert_eq!(fragments.concat(), input, "{length} bytes");
            assert_eq!(fragments.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{length} bytes");
            assert_eq!(summary.size, length as u64);
            assert_eq!(summary.count(), FragmentPlan::by_size(length as u64, 1000).expect("plan").count());
            for (fragment, bytes) in summary.fragments.iter().zip(&fragments) {
                let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
                hasher.update(bytes);
                assert_eq!(fragment.sha256, hasher.finish());
                assert_eq!(fragment.size, bytes.len() as u64);
            }
        }
    }

    #[test]
    fn nothing_has_the_digests_of_nothing() {
        let (summary, _) = split_all(io::empty(), 1000).expect("split");
        assert_eq!(summary.md5.to_string(), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(summary.sha256.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_writer_that_fails_stops_an_endless_input() {
        let open = |number: FragmentNumber| match number.number() {
            3 => Err(io::Error::from(io::ErrorKind::StorageFull)),
            _ => Ok(io::sink()),
        };
        let error = split(io::repeat(7), 1 << 20, open, |_| {}).expect_err("the disk is full");
        assert!(matches!(&error, SplitError::Write { number, .. } if number.number() == 3), "{error:?}");
    }

    #[test]
    fn an_input_that_fails_is_told_and_the_threads_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            }
        }
        let input = io::repeat(1).take(3_000_000).chain(Broken);
        let error = split_all(input, 1 << 20).expect_err("the upload broke off");
        insta::assert_snapshot!(error, @"failed to read the input");
    }

    #[test]
    fn an_endless_input_of_tiny_fragments_ends_at_the_limit() {
        let error = split_all(io::repeat(1), 3).expect_err("no end");
        insta::assert_snapshot!(error, @"the input has more than 100000 fragments of that size: choose a larger one");
        assert!(matches!(split_all(io::repeat(1), 0), Err(SplitError::Empty)));
    }

    #[test]
    fn a_slow_writer_bounds_what_is_read_ahead() {
        struct Slow<'a>(&'a AtomicU64, &'a AtomicU64);
        impl Write for Slow<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let written = self.0.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                let read = self.1.load(Ordering::SeqCst);
                assert!(read - written <= 6 << 20, "{} bytes are held in memory", read - written);
                thread::yield_now();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (written, read) = (AtomicU64::new(0), AtomicU64::new(0));
        let open = |_| Ok(Slow(&written, &read));
        let summary = split(io::repeat(1).take(40 << 20), 7 << 20, open, |now| read.store(now, Ordering::SeqCst));
        assert_eq!(summary.expect("split").size, 40 << 20);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn assembling_what_was_split_is_the_identity(length in 0_usize..700_000, size in 100_u64..300_000) {
            let input = bytes(length);
            let (summary, fragments) = split_all(&input[..], size).expect("split");
            let open = |number: FragmentNumber| Ok(&fragments[number.number() as usize - 1][..]);
            let whole = assemble(summary.count(), &[summary.md5, summary.sha256], open, Vec::new()).expect("assemble");
            prop_assert_eq!(whole.into_inner(), input);
        }
    }
}
