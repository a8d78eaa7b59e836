//! Keys that things are signed with (Ed25519), each made once where it is first needed, and never again.
//!
//! ```text
//! certs/manifest.key   the server's, for manifests: mirrors pin it at their first sync
//! identity.key         an agent's, in its state directory, for its messages: the server pins it when it registers
//! ```
//!
//! A file holds the secret half, 0600: a line that says what it is, and 64 hexadecimal digits. It is not the
//! certificate's key: that one is renewed, and may be somebody else's; this one is what others know us by, whoever carries
//! the bytes. So a damaged file is never replaced: a new key is a stranger to them.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::disk::atomic;

/// Where a key is kept, and what it is for.
struct KeyFile {
    name: &'static str,
    header: &'static str,
    /// Ends the sentence about a file that cannot be read.
    purpose: &'static str,
    /// What a new key costs.
    renewal: &'static str,
}

const MANIFEST: KeyFile = KeyFile {
    name: "manifest.key",
    header: "dripfeed-manifest-key 1",
    purpose: "manifests for mirrors are signed with it",
    renewal: "which every mirror must then be given (dripfeed-mirror sync --key)",
};

const IDENTITY: KeyFile = KeyFile {
    name: "identity.key",
    header: "dripfeed-identity-key 1",
    purpose: "this computer shows with it who it is",
    renewal: "which the server takes only after its administrator has said `dripfeed computer forget-key`",
};

const SEED: usize = 32;
const SIGNATURE: usize = 64;

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The file could not be read or made.
    #[error("failed to read or make {}: {purpose}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What it is for.
        purpose: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error(
        "{} is not a key of ours: restore it from a back-up, or remove it to make a new one, {renewal}",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What a new one costs.
        renewal: &'static str,
    },
}

/// The secret half.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads the key for manifests in a directory of certificates; makes it if there is none.
    pub fn ensure(directory: &Path) -> Result<Self, SigningError> {
        Self::ensure_in(directory, &MANIFEST)
    }

    /// Reads the key of this computer in an agent's state directory; makes it if there is none.
    pub fn ensure_identity(directory: &Path) -> Result<Self, SigningError> {
        Self::ensure_in(directory, &IDENTITY)
    }

    fn ensure_in(directory: &Path, file: &KeyFile) -> Result<Self, SigningError> {
        let path = directory.join(file.name);
        let failed = |source| SigningError::Io { path: path.clone(), purpose: file.purpose, source };
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut seed = [0_u8; SEED];
                getrandom::fill(&mut seed).map_err(|error| failed(io::Error::other(error.to_string())))?;
                let text = format!("{}\n{}\n", file.header, hexadecimal(&seed));
                std::fs::create_dir_all(directory).map_err(failed)?;
                atomic::write_private(&path, text.as_bytes()).map_err(failed)?;
                text
            }
            Err(error) => return Err(failed(error)),
        };
        let seed = text.strip_prefix(file.header).and_then(|rest| bytes::<SEED>(rest.trim()));
        let pair = seed.and_then(|seed| Ed25519KeyPair::from_seed_unchecked(&seed).ok());
        pair.map(Self).ok_or(SigningError::Damaged { path, renewal: file.renewal })
    }

    /// The public half, 64 hexadecimal digits.
    pub fn public(&self) -> String {
        hexadecimal(self.0.public_key().as_ref())
    }

    /// A signature, 128 hexadecimal digits.
    pub fn sign(&self, message: &[u8]) -> String {
        hexadecimal(self.0.sign(message).as_ref())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public()).finish()
    }
}

/// Did the owner of that key sign that message? What is not hexadecimal or of another length is no signature.
pub fn is_signed(key: &str, message: &[u8], signature: &str) -> bool {
    let (Some(key), Some(signature)) = (bytes::<SEED>(key), bytes::<SIGNATURE>(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, key).verify(message, &signature).is_ok()
}

/// Is it the text of a public key?
pub fn is_key(text: &str) -> bool {
    bytes::<SEED>(text).is_some()
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        for file in [&MANIFEST, &IDENTITY] {
            let directory = tempfile::tempdir().expect("a directory");
            let key = SigningKey::ensure_in(directory.path(), file).expect("made");
            let again = SigningKey::ensure_in(directory.path(), file).expect("read");
            assert_eq!(key.public(), again.public());
            assert!(is_key(&key.public()));
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                let metadata = std::fs::metadata(directory.path().join(file.name)).expect("it is there");
                assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
            }
        }
    }

    #[test]
    fn a_damaged_key_is_a_sentence_and_is_not_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("identity.key");
        // Nothing, a part of one, another kind of key, and what is no text.
        let foreign = format!("dripfeed-manifest-key 1\n{}\n", "00".repeat(SEED));
        for damaged in [b"".as_slice(), b"dripfeed-identity-key 1\nxyz\n", foreign.as_bytes(), b"\xff\xfe"] {
            atomic::write(&path, damaged).expect("written");
            let error = SigningKey::ensure_identity(directory.path()).expect_err("no key");
            assert!(matches!(error, SigningError::Damaged { .. }), "{error:?}");
            assert!(error.to_string().contains("dripfeed computer forget-key"), "{error}");
            assert_eq!(std::fs::read(&path).expect("it is there"), damaged);
        }
    }

    #[test]
    fn only_the_owner_of_the_key_can_have_signed_it() {
        let (one, other) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
        let one = SigningKey::ensure(one.path()).expect("made");
        let other = SigningKey::ensure(other.path()).expect("made");
        let signature = one.sign(b"message");
        assert!(is_signed(&one.public(), b"message", &signature));
        assert!(!is_signed(&one.public(), b"messagf", &signature));
        assert!(!is_signed(&other.public(), b"message", &signature));
        assert!(!is_signed(&one.public(), b"message", &other.sign(b"message")));
        for wrong in ["", "zz", &signature[1..], &format!("é{}", &signature[2..])] {
            assert!(!is_signed(&one.public(), b"message", wrong), "{wrong:?} was taken");
        }
    }
}
