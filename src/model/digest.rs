//! Digests: what proves that bytes are the ones that were built.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// Why a digest was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidDigest {
    /// An algorithm that no agent knows.
    #[error("unknown digest algorithm \"{0}\": expected MD5, SHA1 or SHA256")]
    Algorithm(String),
    /// An encoding that no agent knows.
    #[error("unknown digest encoding \"{0}\": expected Hexa or Base64")]
    Encoding(String),
    /// Text that is not a digest of that algorithm in that encoding.
    #[error("\"{text}\" is not a {algorithm} digest in {encoding}")]
    Text {
        /// The text, cut.
        text: String,
        /// What was expected.
        algorithm: DigestAlgorithm,
        /// How it should be written.
        encoding: DigestEncoding,
    },
}

/// `DIGEST_ALGO`: MD5 is the only one that every stock agent computes (ocs-protocol 5).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DigestAlgorithm {
    /// 16 bytes.
    Md5,
    /// 20 bytes.
    Sha1,
    /// 32 bytes.
    Sha256,
}

impl DigestAlgorithm {
    /// Bytes of a digest.
    pub fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The wire's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }
}

impl FromStr for DigestAlgorithm {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_uppercase().as_str() {
            "MD5" => Ok(Self::Md5),
            "SHA1" | "SHA-1" => Ok(Self::Sha1),
            "SHA256" | "SHA-256" => Ok(Self::Sha256),
            _ => Err(InvalidDigest::Algorithm(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `DIGEST_ENCODE`. Agents look for the word anywhere in the attribute, in any case.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum DigestEncoding {
    /// Lower-case hexadecimal.
    Hexa,
    /// Base64; the Unix agent writes it without padding, the Windows agent with.
    Base64,
}

impl DigestEncoding {
    /// The wire's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hexa => "Hexa",
            Self::Base64 => "Base64",
        }
    }
}

impl FromStr for DigestEncoding {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        if lower.contains("hexa") {
            Ok(Self::Hexa)
        } else if lower.contains("base64") {
            Ok(Self::Base64)
        } else {
            Err(InvalidDigest::Encoding(text.chars().take(40).collect()))
        }
    }
}

impl fmt::Display for DigestEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A digest together with the algorithm that made it. Prints as lower-case hexadecimal.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Digest {
    algorithm: DigestAlgorithm,
    bytes: [u8; 32],
}

impl Digest {
    /// Takes exactly as many bytes as the algorithm makes.
    pub fn from_bytes(algorithm: DigestAlgorithm, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != algorithm.length() {
            return None;
        }
        let mut all = [0; 32];
        all[..bytes.len()].copy_from_slice(bytes);
        Some(Self { algorithm, bytes: all })
    }

    /// Reads a digest liberally: hexadecimal in any case, Base64 with or without padding.
    pub fn parse(algorithm: DigestAlgorithm, encoding: DigestEncoding, text: &str) -> Result<Self, InvalidDigest> {
        let bytes = match encoding {
            DigestEncoding::Hexa => from_hex(text),
            DigestEncoding::Base64 => from_base64(text),
        };
        bytes.and_then(|bytes| Self::from_bytes(algorithm, &bytes)).ok_or_else(|| InvalidDigest::Text {
            text: text.chars().take(80).collect(),
            algorithm,
            encoding,
        })
    }

    /// Base64 without padding.
    pub fn to_base64(&self) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::with_capacity(self.as_bytes().len().div_ceil(3) * 4);
        for chunk in self.as_bytes().chunks(3) {
            let bytes = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
            let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
            for at in 0..=chunk.len() {
                text.push(char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]));
            }
        }
        text
    }

    /// Which algorithm made it.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.length()]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.algorithm)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len());
    let (mut buffer, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        buffer = buffer << 6 | value(byte)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(buffer >> bits & 0xff).ok()?);
            buffer &= (1 << bits) - 1;
        }
    }
    (buffer == 0).then_some(bytes)
}

/// Digests as the bytes go by.
///
/// ```
/// # use dripfeed::model::{DigestAlgorithm, Hasher};
/// let mut hasher = Hasher::new(DigestAlgorithm::Md5);
/// hasher.update(b"hello ");
/// hasher.update(b"world");
/// assert_eq!(hasher.finish().to_string(), "5eb63bbbe01eeed093cb22bb8f5acdc3");
/// ```
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Hasher {
    /// Starts with nothing.
    pub fn new(algorithm: DigestAlgorithm) -> Self {
        Self(match algorithm {
            DigestAlgorithm::Md5 => State::Md5(md5::Md5::new()),
            DigestAlgorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            DigestAlgorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
        })
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Md5(hasher) => hasher.update(bytes),
            State::Sha1(hasher) => hasher.update(bytes),
            State::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all that was taken.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        let algorithm = match self.0 {
            State::Md5(hasher) => {
                bytes[..16].copy_from_slice(&hasher.finalize());
                DigestAlgorithm::Md5
            }
            State::Sha1(hasher) => {
                bytes[..20].copy_from_slice(&hasher.finalize());
                DigestAlgorithm::Sha1
            }
            State::Sha256(hasher) => {
                bytes.copy_from_slice(&hasher.finalize());
                DigestAlgorithm::Sha256
            }
        };
        Digest { algorithm, bytes }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn md5(encoding: DigestEncoding, text: &str) -> Result<String, InvalidDigest> {
        Digest::parse(DigestAlgorithm::Md5, encoding, text).map(|digest| digest.to_string())
    }

    #[test]
    fn every_spelling_of_a_digest_is_read() {
        let hex = "5eb63bbbe01eeed093cb22bb8f5acdc3";
        assert_eq!(md5(DigestEncoding::Hexa, hex).as_deref(), Ok(hex));
        assert_eq!(md5(DigestEncoding::Hexa, &hex.to_uppercase()).as_deref(), Ok(hex));
        assert_eq!(md5(DigestEncoding::Base64, "XrY7u+Ae7tCTyyK7j1rNww==").as_deref(), Ok(hex));
        assert_eq!(md5(DigestEncoding::Base64, "XrY7u+Ae7tCTyyK7j1rNww").as_deref(), Ok(hex));
    }

    #[test]
    fn base64_has_no_padding_and_reads_back() {
        let hex = "5eb63bbbe01eeed093cb22bb8f5acdc3";
        let digest = Digest::parse(DigestAlgorithm::Md5, DigestEncoding::Hexa, hex).expect("a digest");
        assert_eq!(digest.to_base64(), "XrY7u+Ae7tCTyyK7j1rNww");
        for algorithm in [DigestAlgorithm::Md5, DigestAlgorithm::Sha1, DigestAlgorithm::Sha256] {
            let digest = Hasher::new(algorithm).finish();
            assert_eq!(Digest::parse(algorithm, DigestEncoding::Base64, &digest.to_base64()), Ok(digest));
        }
    }

    #[test]
    fn text_that_is_no_digest_is_refused() {
        for wrong in [
            "",
            "5eb63bbbe01eeed093cb22bb8f5acd",
            "zeb63bbbe01eeed093cb22bb8f5acdc3",
            "5eb63bbbe01eeed093cb22bb8f5acdc3aa",
        ] {
            assert!(md5(DigestEncoding::Hexa, wrong).is_err(), "{wrong:?} was taken");
        }
        assert!(md5(DigestEncoding::Base64, "äXrY7u").is_err());
    }
}
