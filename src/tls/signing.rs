//! The key that manifests are signed with (Ed25519): made at the server's first start, pinned by mirrors at their first sync.
//!
//! ```text
//! certs/manifest.key   the secret half, 0600: a line that says what it is, and 64 hexadecimal digits
//! ```
//!
//! It is not the certificate's key: that one is renewed, and may be somebody else's; this one is what a mirror knows the
//! tree by, whoever carries the bytes.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::disk::atomic;

const HEADER: &str = "dripfeed-manifest-key 1";
const SEED: usize = 32;
const SIGNATURE: usize = 64;

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The file could not be read or made.
    #[error("failed to read or make {}: manifests for mirrors are signed with it", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error(
        "{} is not a key of ours: restore it from a back-up, or remove it to make a new one, which every mirror must then \
         be given (dripfeed-mirror sync --key)",
        .0.display()
    )]
    Damaged(PathBuf),
}

/// The secret half.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads the key of a directory of certificates; makes it if there is none.
    pub fn ensure(directory: &Path) -> Result<Self, SigningError> {
        let path = directory.join("manifest.key");
        let failed = |source| SigningError::Io { path: path.clone(), source };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut seed = [0_u8; SEED];
                getrandom::fill(&mut seed).map_err(|error| failed(io::Error::other(error.to_string())))?;
                let text = format!("{HEADER}\n{}\n", hexadecimal(&seed));
                std::fs::create_dir_all(directory).map_err(failed)?;
                atomic::write_private(&path, text.as_bytes()).map_err(failed)?;
                text
            }
            Err(error) => return Err(failed(error)),
        };
        let seed = text.strip_prefix(HEADER).and_then(|rest| bytes::<SEED>(rest.trim()));
        let pair = seed.and_then(|seed| Ed25519KeyPair::from_seed_unchecked(&seed).ok());
        pair.map(Self).ok_or(SigningError::Damaged(path))
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
        let directory = tempfile::tempdir().expect("a directory");
        let key = SigningKey::ensure(directory.path()).expect("made");
        let again = SigningKey::ensure(directory.path()).expect("read");
        assert_eq!(key.public(), again.public());
        assert!(is_key(&key.public()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let metadata = std::fs::metadata(directory.path().join("manifest.key")).expect("it is there");
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        }
        atomic::write(&directory.path().join("manifest.key"), b"dripfeed-manifest-key 1\nxyz\n").expect("written");
        assert!(matches!(SigningKey::ensure(directory.path()), Err(SigningError::Damaged(_))));
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
