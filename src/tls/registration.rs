//! The registration key: what a fleet's agents and their server have in common, so that a new agent may register.
//!
//! It is never sent: an agent shows that it knows it (HMAC-SHA256), for one computer and one key of its own.

use std::fmt;

use ring::hmac::{HMAC_SHA256, Key, sign, verify};

use super::signing::{bytes, hexadecimal};

/// Bytes of what shows it.
const TAG: usize = 32;

/// A registration key, ready to be used.
pub struct RegistrationKey(Key);

impl RegistrationKey {
    /// From its text.
    pub fn new(text: &str) -> Self {
        Self(Key::new(HMAC_SHA256, text.as_bytes()))
    }

    /// Shows that the key is known, in 64 hexadecimal digits.
    pub fn show(&self, message: &[u8]) -> String {
        hexadecimal(sign(&self.0, message).as_ref())
    }

    /// Was that shown by somebody who knows it? Takes as long for every wrong one.
    pub fn is_shown(&self, message: &[u8], shown: &str) -> bool {
        bytes::<TAG>(shown).is_some_and(|tag| verify(&self.0, message, &tag).is_ok())
    }
}

impl fmt::Debug for RegistrationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistrationKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_knows_the_key_can_show_it() {
        let (key, other) = (RegistrationKey::new("0123456789abcdef"), RegistrationKey::new("0123456789abcdeF"));
        let shown = key.show(b"message");
        assert_eq!(shown.len(), 64);
        assert!(key.is_shown(b"message", &shown));
        assert!(!key.is_shown(b"messagf", &shown));
        assert!(!other.is_shown(b"message", &shown));
        for wrong in ["", "zz", &shown[1..]] {
            assert!(!key.is_shown(b"message", wrong), "{wrong:?}");
        }
        assert_eq!(format!("{key:?}"), "RegistrationKey(…)");
    }
}
