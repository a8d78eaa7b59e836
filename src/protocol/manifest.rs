//! What a tree holds, for mirrors (docs/mirrors.md): our own two text files, served over HTTPS only.
//!
//! The manifest names every package with the digest of its listing, so a tree that did not change costs one conditional
//! request, and a changed package one more. The listing names every file of a package with size and SHA-256:
//!
//! ```text
//! dripfeed-manifest 1                      dripfeed-listing 1
//! generation 42                            package 1795164357
//! 1795164357 9f86d081884c7d65…             info 612 2c26b46b68ffc68f…
//! 1795164358 60303ae22b998861…             1 1048576 fcde2b2edba56bf4…
//! end 2                                    2 2000 baa5a0964d3320fb…
//!                                          end 3
//! ```
//!
//! The generation grows with every package that is published or withdrawn. A mirror never goes back to an older one:
//! whoever replays an old manifest cannot bring a withdrawn package back.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::model::{
    Digest, DigestAlgorithm, DigestEncoding, FragmentCount, FragmentNumber, Hasher, PackageId, TreeKey,
};

/// The packages of a tree.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Manifest {
    /// Grows with every change.
    pub generation: u64,
    /// Each package with the SHA-256 of its listing, ascending.
    pub packages: Vec<(PackageId, Digest)>,
}

/// The files of one package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listing {
    /// Whose.
    pub package: PackageId,
    /// Bytes and SHA-256 of the info file.
    pub info: (u64, Digest),
    /// Bytes and SHA-256 of each fragment, in order.
    pub fragments: Vec<(u64, Digest)>,
}

/// Why a manifest or a listing was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ManifestError {
    /// Another file, or of a later version.
    #[error("this is not {0}")]
    Header(&'static str),
    /// A line that is not of its form.
    #[error("line {line} is wrong: \"{text}\"")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What stands there, cut.
        text: String,
    },
    /// It ends too early.
    #[error("it is cut off: its last line is missing")]
    Cut,
}

const MANIFEST: &str = "dripfeed-manifest 1";
const LISTING: &str = "dripfeed-listing 1";

impl Manifest {
    /// The text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{MANIFEST}\ngeneration {}\n", self.generation);
        for (package, digest) in &self.packages {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{package} {digest}");
        }
        let _ = writeln!(text, "end {}", self.packages.len());
        text
    }

    /// Reads it; packages must ascend.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut lines = Lines::new(text, MANIFEST, "a manifest")?;
        let generation = lines.value("generation")?;
        let mut packages: Vec<(PackageId, Digest)> = Vec::new();
        while let Some((line, words)) = lines.entry(packages.len())? {
            let entry = match words.as_slice() {
                [package, digest] => package.parse().ok().zip(sha256(digest)),
                _ => None,
            };
            match entry {
                Some(entry) if packages.last().is_none_or(|last| last.0 < entry.0) => packages.push(entry),
                _ => return Err(lines.wrong(line)),
            }
        }
        Ok(Self { generation, packages })
    }
}

impl Listing {
    /// The text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{LISTING}\npackage {}\ninfo {} {}\n", self.package, self.info.0, self.info.1);
        for (at, (size, digest)) in self.fragments.iter().enumerate() {
            let _ = writeln!(text, "{} {size} {digest}", at + 1);
        }
        let _ = writeln!(text, "end {}", self.fragments.len() + 1);
        text
    }

    /// Reads it; fragments must be numbered from 1 without a gap.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut lines = Lines::new(text, LISTING, "a listing")?;
        let package = lines.value("package")?;
        let mut files: Vec<(u64, Digest)> = Vec::new();
        while let Some((line, words)) = lines.entry(files.len())? {
            let expected = if files.is_empty() { "info".to_owned() } else { files.len().to_string() };
            let file = match words.as_slice() {
                [name, size, digest] if *name == expected => size.parse().ok().zip(sha256(digest)),
                _ => None,
            };
            files.push(file.ok_or_else(|| lines.wrong(line))?);
        }
        if files.is_empty() {
            return Err(ManifestError::Cut);
        }
        let info = files.remove(0);
        Ok(Self { package, info, fragments: files })
    }

    /// What the manifest says of this listing.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        hasher.update(self.to_text().as_bytes());
        hasher.finish()
    }

    /// How many fragments there are.
    pub fn count(&self) -> FragmentCount {
        FragmentCount(u32::try_from(self.fragments.len()).unwrap_or(u32::MAX))
    }

    /// Bytes of the whole package.
    pub fn size(&self) -> u64 {
        self.fragments.iter().fold(self.info.0, |sum, (size, _)| sum.saturating_add(*size))
    }

    /// Bytes and SHA-256 of one file of the package.
    pub fn file(&self, key: TreeKey) -> Option<(u64, Digest)> {
        match key {
            TreeKey::Info { .. } => Some(self.info),
            TreeKey::Fragment { number, .. } => self.fragments.get(number.number() as usize - 1).copied(),
        }
    }

    /// Every file: fragments first, the info file last, because whoever sees it must find the rest.
    pub fn files(&self) -> impl Iterator<Item = (TreeKey, u64, Digest)> {
        let package = self.package;
        let numbered = FragmentNumber::FIRST;
        let fragments = self.fragments.iter().scan(numbered, move |next, (size, digest)| {
            let number = std::mem::replace(next, next.next());
            Some((TreeKey::Fragment { package, number }, *size, *digest))
        });
        fragments.chain([(TreeKey::Info { package }, self.info.0, self.info.1)])
    }
}

fn sha256(text: &str) -> Option<Digest> {
    Digest::parse(DigestAlgorithm::Sha256, DigestEncoding::Hexa, text).ok()
}

/// Lines with their numbers.
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    text: &'a str,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str, header: &str, what: &'static str) -> Result<Self, ManifestError> {
        let mut lines = text.lines().enumerate();
        match lines.next() {
            Some((_, first)) if first == header => Ok(Self { lines, text }),
            _ => Err(ManifestError::Header(what)),
        }
    }

    fn value<T: FromStr>(&mut self, name: &str) -> Result<T, ManifestError> {
        let (line, text) = self.lines.next().ok_or(ManifestError::Cut)?;
        let value = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).ok_or_else(|| self.wrong(line))
    }

    /// The next entry, or the end, which must name their number.
    fn entry(&mut self, count: usize) -> Result<Option<(usize, Vec<&'a str>)>, ManifestError> {
        let (line, text) = self.lines.next().ok_or(ManifestError::Cut)?;
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["end", number] if *number == count.to_string() && self.lines.next().is_none() => Ok(None),
            ["end", ..] => Err(self.wrong(line)),
            _ => Ok(Some((line, words))),
        }
    }

    fn wrong(&self, line: usize) -> ManifestError {
        let text = self.text.lines().nth(line).unwrap_or_default();
        ManifestError::Line { line: line + 1, text: text.chars().take(80).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::from_bytes(DigestAlgorithm::Sha256, &[byte; 32]).expect("32 bytes")
    }

    fn listing() -> Listing {
        Listing {
            package: "7".parse().expect("an id"),
            info: (600, digest(1)),
            fragments: vec![(1000, digest(2)), (5, digest(3))],
        }
    }

    #[test]
    fn both_are_read_as_they_are_written() {
        let manifest = Manifest {
            generation: 42,
            packages: vec![("7".parse().expect("an id"), listing().digest()), ("9".parse().expect("an id"), digest(4))],
        };
        assert_eq!(Manifest::parse(&manifest.to_text()), Ok(manifest));
        assert_eq!(Listing::parse(&listing().to_text()), Ok(listing()));
        assert_eq!(Manifest::parse(&Manifest::default().to_text()), Ok(Manifest::default()));
    }

    #[test]
    fn the_info_file_comes_last() {
        let listing = listing();
        let names: Vec<String> = listing.files().map(|(key, _, _)| key.to_string()).collect();
        assert_eq!(names, ["7/7-1", "7/7-2", "7/info"]);
        assert_eq!(listing.size(), 1605);
    }

    #[test]
    fn what_is_cut_or_changed_is_refused() {
        let text = listing().to_text();
        for (from, to) in [
            ("dripfeed-listing 1", "dripfeed-listing 2"),
            ("package 7", "package 007"),
            ("info 600", "info -1"),
            ("1 1000", "2 1000"),
            ("2 5 ", "3 5 "),
            ("end 3", "end 2"),
            ("end 3\n", ""),
            ("end 3\n", "end 3\nend 3\n"),
            ("0202", "02zz"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Listing::parse(&text.replacen(from, to, 1)).is_err(), "{from} → {to} was taken");
        }
        let manifest = format!("dripfeed-manifest 1\ngeneration 1\n9 {0}\n7 {0}\nend 2\n", digest(1));
        assert!(Manifest::parse(&manifest).is_err(), "packages must ascend");
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(text in "(dripfeed-(manifest|listing) 1\n)?([a-z0-9 ]{0,30}\n){0,6}") {
            let _ = (Manifest::parse(&text), Listing::parse(&text));
        }
    }
}
