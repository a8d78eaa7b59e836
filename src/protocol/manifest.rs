//! What a tree holds, for mirrors (docs/mirrors.md): our own two text files, served over HTTPS only.
//!
//! The manifest names every package with the digest of its listing, so a tree that did not change costs one conditional
//! request, and a changed package one more. The listing names every file of a package with size and SHA-256:
//!
//! ```text
//! dripfeed-manifest 1                      dripfeed-listing 1
//! generation 42                            package 1795164357
//! 1795164357 9f86d081884c7d65… Firefox     info 612 2c26b46b68ffc68f…
//! 1795164358 60303ae22b998861… VLC         1 1048576 fcde2b2edba56bf4…
//! end 2                                    2 2000 baa5a0964d3320fb…
//! key 4d5c0e1fd3b06a8d…                    end 3
//! signature 1f0ad9bd62c0a9f1…
//! ```
//!
//! The generation grows with every package that is published or withdrawn. A mirror never goes back to an older one:
//! whoever replays an old manifest cannot bring a withdrawn package back. The signature (Ed25519) is over every byte above
//! its line; the listings are proved by the digests in it, and the files by the listings. So a source can withhold what is
//! new, but it can invent nothing. What computes with keys is not here: [`SignedManifest`] only takes the text apart.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::model::{
    Digest, DigestAlgorithm, DigestEncoding, FragmentCount, FragmentNumber, Hasher, PackageId, TreeKey,
};

/// The packages of a tree.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Manifest {
    /// Grows with every change.
    pub generation: u64,
    /// What is in it, ascending by package.
    pub packages: Vec<ManifestEntry>,
}

/// One package of a tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestEntry {
    /// Which.
    pub package: PackageId,
    /// SHA-256 of its listing.
    pub listing: Digest,
    /// Its family's name, for those who choose by it.
    pub name: String,
}

/// A manifest as it travels: what was signed, and by whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SignedManifest<'a> {
    /// The bytes that the signature is over: everything above its line.
    pub signed: &'a str,
    /// The public key that it names, 64 hexadecimal digits. Naming a key proves nothing.
    pub key: &'a str,
    /// The signature, 128 hexadecimal digits.
    pub signature: &'a str,
}

/// Which packages a mirror copies: `1795164357,firefox*`. Numbers and names of families, `*` for any letters; upper and
/// lower case are one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PackageFilter(Vec<String>);

/// Why a choice of packages was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "\"{0}\" is no choice of packages: numbers and names between commas, * for any letters, such as 1795164357,firefox*"
)]
pub struct InvalidFilter(String);

/// What a mirror says of itself after a sync, to the server that it copies.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MirrorReport {
    /// The generation that it is at.
    pub generation: u64,
    /// Bytes that it holds.
    pub bytes: u64,
    /// What went wrong; empty if nothing did.
    pub problem: String,
    /// What it holds whole and proved, ascending.
    pub packages: Vec<PackageId>,
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
    /// Without a signature's lines at its end.
    #[error("it is not signed: its last two lines are not a key and a signature")]
    Unsigned,
}

const MANIFEST: &str = "dripfeed-manifest 1";
const LISTING: &str = "dripfeed-listing 1";
const REPORT: &str = "dripfeed-mirror-report 1";
/// Letters of a problem that are told.
const PROBLEM: usize = 300;

impl Manifest {
    /// The text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{MANIFEST}\ngeneration {}\n", self.generation);
        for ManifestEntry { package, listing, name } in &self.packages {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{package} {listing} {}", one_line(name));
        }
        let _ = writeln!(text, "end {}", self.packages.len());
        text
    }

    /// Reads it; packages must ascend.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut lines = Lines::new(text, MANIFEST, "a manifest")?;
        let generation = lines.value("generation")?;
        let mut packages: Vec<ManifestEntry> = Vec::new();
        while let Some((line, words)) = lines.entry(packages.len())? {
            let entry = match words.as_slice() {
                [package, digest, name @ ..] => package
                    .parse()
                    .ok()
                    .zip(sha256(digest))
                    .map(|(package, listing)| ManifestEntry { package, listing, name: name.join(" ") }),
                _ => None,
            };
            match entry {
                Some(entry) if packages.last().is_none_or(|last| last.package < entry.package) => packages.push(entry),
                _ => return Err(lines.wrong(line)),
            }
        }
        Ok(Self { generation, packages })
    }

    /// What it says of a package.
    pub fn find(&self, package: PackageId) -> Option<&ManifestEntry> {
        let at = self.packages.binary_search_by_key(&package, |entry| entry.package).ok()?;
        Some(&self.packages[at])
    }

    /// The text to be signed: the manifest, and whose it is.
    pub fn to_sign(&self, key: &str) -> String {
        format!("{}key {key}\n", self.to_text())
    }
}

impl<'a> SignedManifest<'a> {
    /// The text as it travels, of what [`Manifest::to_sign`] gave.
    pub fn join(signed: &str, signature: &str) -> String {
        format!("{signed}signature {signature}\n")
    }

    /// Takes it apart; nothing is proved by that.
    pub fn split(text: &'a str) -> Result<Self, ManifestError> {
        let whole = text.strip_suffix('\n').ok_or(ManifestError::Unsigned)?;
        let at = whole.rfind('\n').ok_or(ManifestError::Unsigned)? + 1;
        let signature = whole[at..].strip_prefix("signature ").ok_or(ManifestError::Unsigned)?;
        let signed = &text[..at];
        let above = signed.trim_end_matches('\n');
        let key =
            above[above.rfind('\n').map_or(0, |at| at + 1)..].strip_prefix("key ").ok_or(ManifestError::Unsigned)?;
        let hexadecimal = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !hexadecimal(key, 64) || !hexadecimal(signature, 128) || signed.len() != above.len() + 1 {
            return Err(ManifestError::Unsigned);
        }
        Ok(Self { signed, key, signature })
    }

    /// The manifest in it.
    pub fn manifest(&self) -> Result<Manifest, ManifestError> {
        let end = self.signed.len() - "key \n".len() - self.key.len();
        Manifest::parse(&self.signed[..end])
    }
}

impl PackageFilter {
    /// Is that package chosen? No choice is every package.
    pub fn chooses(&self, package: PackageId, name: &str) -> bool {
        let (number, name) = (package.to_string(), name.to_lowercase());
        self.0.is_empty() || self.0.iter().any(|one| *one == number || fits(one.as_bytes(), name.as_bytes()))
    }

    /// Does it choose everything?
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for PackageFilter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<String> = text.split(',').map(|part| part.trim().to_lowercase()).collect();
        // Empty parts are slips, and a choice of nothing would empty a mirror.
        if text.len() > 4000 || parts.iter().any(|part| part.is_empty() || part.chars().any(char::is_control)) {
            return Err(InvalidFilter(text.chars().take(80).collect()));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for PackageFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join(","))
    }
}

/// Is it what the pattern says? Linear in both: one place to go back to is enough for stars.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

impl MirrorReport {
    /// The text.
    pub fn to_text(&self) -> String {
        let problem: String = one_line(&self.problem).chars().take(PROBLEM).collect();
        let mut text = format!("{REPORT}\ngeneration {}\nbytes {}\nproblem {problem}\n", self.generation, self.bytes);
        for package in &self.packages {
            let _ = writeln!(text, "{package}");
        }
        let _ = writeln!(text, "end {}", self.packages.len());
        text
    }

    /// Reads it; packages must ascend.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut lines = Lines::new(text, REPORT, "a mirror's report")?;
        let (generation, bytes) = (lines.value("generation")?, lines.value("bytes")?);
        let problem: String = lines.value("problem")?;
        let mut packages: Vec<PackageId> = Vec::new();
        while let Some((line, words)) = lines.entry(packages.len())? {
            match words.as_slice() {
                [package] => match package.parse() {
                    Ok(package) if packages.last().is_none_or(|last| *last < package) => packages.push(package),
                    _ => return Err(lines.wrong(line)),
                },
                _ => return Err(lines.wrong(line)),
            }
        }
        Ok(Self { generation, bytes, problem: problem.chars().take(PROBLEM).collect(), packages })
    }
}

/// What could be taken for another line is blanks.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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

    fn entry(package: &str, listing: Digest, name: &str) -> ManifestEntry {
        ManifestEntry { package: package.parse().expect("an id"), listing, name: name.to_owned() }
    }

    #[test]
    fn both_are_read_as_they_are_written() {
        let manifest = Manifest {
            generation: 42,
            packages: vec![entry("7", listing().digest(), "Mozilla  Firefox"), entry("9", digest(4), "")],
        };
        assert_eq!(Manifest::parse(&manifest.to_text()), Ok(manifest));
        assert_eq!(Listing::parse(&listing().to_text()), Ok(listing()));
        assert_eq!(Manifest::parse(&Manifest::default().to_text()), Ok(Manifest::default()));
    }

    #[test]
    fn a_signed_manifest_comes_apart_where_it_was_joined() {
        let manifest = Manifest { generation: 42, packages: vec![entry("7", digest(1), "key 1")] };
        let (key, signature) = ("a".repeat(64), "b".repeat(128));
        let signed = manifest.to_sign(&key);
        let text = SignedManifest::join(&signed, &signature);
        let split = SignedManifest::split(&text).expect("it is whole");
        assert_eq!((split.signed, split.key, split.signature), (&*signed, &*key, &*signature));
        assert_eq!(split.manifest(), Ok(manifest.clone()));
        for wrong in [
            manifest.to_text(),
            signed.clone(),
            text.trim_end().to_owned(),
            text.replace("\nkey ", "\nlock "),
            text.replace("signature b", "signature z"),
            text.replace("signature b", "signature "),
            text.replace("\nsignature", "\n\nsignature"),
            String::new(),
            "\n".to_owned(),
        ] {
            assert_eq!(SignedManifest::split(&wrong), Err(ManifestError::Unsigned), "{wrong}");
        }
    }

    #[test]
    fn packages_are_chosen_by_number_or_by_name() {
        let chooses = |filter: &str, number: u32, name: &str| {
            filter.parse::<PackageFilter>().expect(filter).chooses(PackageId::new(number).expect("an id"), name)
        };
        assert!(PackageFilter::default().chooses(PackageId::new(1).expect("an id"), ""));
        for (filter, chosen) in [
            ("7", true),
            ("77", false),
            ("firefox", true),
            ("FIRE*", true),
            ("*fox", true),
            ("*r*f*", true),
            ("fire", false),
            ("vlc, f*x", true),
            ("*", true),
            ("f**x", true),
            ("*foxy", false),
        ] {
            assert_eq!(chooses(filter, 7, "Firefox"), chosen, "{filter}");
        }
        for wrong in ["", ",", "a,,b", "a,"] {
            assert!(wrong.parse::<PackageFilter>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_report_is_read_as_it_is_written() {
        let report = MirrorReport {
            generation: 9,
            bytes: 12,
            problem: String::new(),
            packages: vec![PackageId::new(3).expect("an id"), PackageId::new(5).expect("an id")],
        };
        assert_eq!(MirrorReport::parse(&report.to_text()), Ok(report.clone()));
        let troubled = MirrorReport { problem: "two\nlines".to_owned(), ..report.clone() };
        assert_eq!(MirrorReport::parse(&troubled.to_text()).expect("it is one").problem, "two lines");
        for (from, to) in [("3\n5", "5\n3"), ("end 2", "end 3"), ("end 2\n", ""), ("bytes 12", "bytes -1")] {
            assert!(MirrorReport::parse(&report.to_text().replacen(from, to, 1)).is_err(), "{from} → {to} was taken");
        }
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
        let manifest = format!("dripfeed-manifest 1\ngeneration 1\n9 {0} a\n7 {0} b\nend 2\n", digest(1));
        assert!(Manifest::parse(&manifest).is_err(), "packages must ascend");
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(text in "(dripfeed-(manifest|listing|mirror-report) 1\n)?([a-z0-9 ]{0,30}\n){0,6}") {
            let _ = (Manifest::parse(&text), Listing::parse(&text), MirrorReport::parse(&text));
            let _ = SignedManifest::split(&text).map(|split| split.manifest());
        }
    }
}
