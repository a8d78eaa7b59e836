//! One-time codes: what an authenticator shows (RFC 6238), and codes on paper for the day on which it is lost.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::accounts::AccountError;
use crate::model::UnixTime;
use crate::store::sessions::SecretDigest;
use crate::store::{Conn, StoreError, recovery, users};

/// Seconds that a code stands for.
const STEP: i64 = 30;
/// Recovery codes of one account.
pub const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code: 80 bits, so that their digests need no salt and no slow hash.
const RECOVERY_BYTES: usize = 10;

/// A code that was typed and could be right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Code {
    /// The authenticator's, of a step of time.
    Step(i64),
    /// One of the recovery codes.
    Recovery(SecretDigest),
}

impl Code {
    /// Reads what was typed. `None` if it cannot be right.
    pub fn read(secret: &[u8], typed: &str, now: UnixTime) -> Option<Self> {
        one_time_step(secret, typed, now).map(Self::Step).or_else(|| recovery_digest(typed).map(Self::Recovery))
    }

    /// Uses it up. False if it was used before, or never was one.
    pub fn consume(&self, conn: &mut Conn, user: &str) -> Result<bool, StoreError> {
        match self {
            Self::Step(step) => users::use_step(conn, user, *step),
            Self::Recovery(digest) => recovery::consume(conn, user, digest),
        }
    }
}

/// A new secret: 160 bits, as RFC 4226 wants them.
pub fn new_secret() -> Result<Vec<u8>, AccountError> {
    random(20)
}

/// New recovery codes for their owner, and what is kept of them.
pub fn new_recovery_codes() -> Result<(Vec<String>, Vec<SecretDigest>), AccountError> {
    let mut codes = Vec::new();
    for _ in 0..RECOVERY_CODES {
        codes.push(groups_of_four(&base32(&random(RECOVERY_BYTES)?).to_ascii_lowercase(), "-"));
    }
    let digests = codes.iter().filter_map(|code| recovery_digest(code)).collect();
    Ok((codes, digests))
}

fn random(bytes: usize) -> Result<Vec<u8>, AccountError> {
    let mut bytes = vec![0_u8; bytes];
    getrandom::fill(&mut bytes).map_err(|error| AccountError::Hash(error.to_string()))?;
    Ok(bytes)
}

/// However people type it: dashes, blanks and capital letters do not count.
fn recovery_digest(typed: &str) -> Option<SecretDigest> {
    let bare: String = typed.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
    let fits = bare.len() == RECOVERY_BYTES * 8 / 5 && bare.bytes().all(|byte| LETTERS.contains(&byte));
    fits.then(|| Sha256::digest(bare).into())
}

/// Whose step the code is: this one, the one before or the one after, because clocks differ.
pub fn one_time_step(secret: &[u8], code: &str, now: UnixTime) -> Option<i64> {
    let code: u32 =
        Some(code).filter(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    let present = now.millis().div_euclid(1000 * STEP);
    (present - 1..=present + 1).find(|step| one_time_code(secret, *step) == Some(code))
}

/// What an authenticator with this secret shows at that moment.
pub fn shown(secret: &[u8], now: UnixTime) -> String {
    format!("{:06}", one_time_code(secret, now.millis().div_euclid(1000 * STEP)).unwrap_or_default())
}

/// The code of a step: HMAC-SHA-1, cut to six digits (RFC 4226, 5.3).
fn one_time_code(secret: &[u8], step: i64) -> Option<u32> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).ok()?;
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash.last()? & 0xf);
    let word: [u8; 4] = hash.get(at..at + 4)?.try_into().ok()?;
    Some((u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000)
}

/// Base 32 (RFC 4648).
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A secret as authenticators take it: base 32 without padding.
pub fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut block = [0_u8; 8];
        block[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(block);
        let letters = (chunk.len() * 8).div_ceil(5);
        text.extend((0..letters).map(|n| char::from(LETTERS[usize::try_from(bits >> (35 - 5 * n) & 31).unwrap_or(0)])));
    }
    text
}

/// Four letters and four letters, as people copy them.
pub fn groups_of_four(text: &str, between: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1000;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, SHA-1: the last six digits.
        let secret = b"12345678901234567890";
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let now = UnixTime::from_millis(seconds * SECOND);
            assert_eq!(shown(secret, now), code);
            assert_eq!(one_time_step(secret, code, now), Some(seconds / STEP), "{code}");
            for (drift, fits) in [(-2, false), (-1, true), (1, true), (2, false)] {
                let there = UnixTime::from_millis((seconds + drift * STEP) * SECOND);
                let step = fits.then_some(seconds / STEP);
                assert_eq!(one_time_step(secret, code, there), step, "a clock {drift} steps away");
            }
        }
        for wrong in ["", "28708", "2870822", "28708x", "+87082"] {
            assert_eq!(one_time_step(secret, wrong, UnixTime::from_millis(59 * SECOND)), None, "{wrong:?}");
        }
    }

    #[test]
    fn base32_is_that_of_the_standard() {
        for (text, coded) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(text.as_bytes()), coded);
        }
    }

    #[test]
    fn recovery_codes_are_read_however_they_are_typed() {
        let (codes, digests) = new_recovery_codes().expect("random numbers");
        assert_eq!((codes.len(), digests.len()), (RECOVERY_CODES, RECOVERY_CODES));
        for (code, digest) in codes.iter().zip(&digests) {
            assert_eq!(code.len(), 19, "{code}");
            for typed in [code.clone(), code.to_uppercase(), code.replace('-', ""), code.replace('-', " ")] {
                assert_eq!(recovery_digest(&typed), Some(*digest), "{typed}");
            }
        }
        for wrong in ["", "aaaa-aaaa-aaaa-aaa", "aaaa-aaaa-aaaa-aaaaa", "aaaa-aaaa-aaaa-aaa1", "123456"] {
            assert_eq!(recovery_digest(wrong), None, "{wrong:?}");
        }
    }
}
