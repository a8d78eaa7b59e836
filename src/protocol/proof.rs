//! How an agent of ours shows that it is the computer that it says it is: a header beside the message of OCS.
//!
//! ```text
//! Dripfeed-Proof: v=1; key=<64 hex>; at=<ms>; sig=<128 hex>[; reg=<64 hex>]
//! ```
//!
//! `key` is the public half (Ed25519) of a pair that the agent made; its secret half never leaves the computer. `sig` signs
//! [`Proof::message`]: the device id, the moment, and the body exactly as it is sent. `reg` shows that the agent knows the
//! registration key without saying it ([`registration_message`] under HMAC-SHA256). A stock server ignores the header; a
//! stock agent sends none. The answer says in `Dripfeed-Identity` what came of it ([`Standing`]).
//!
//! Nothing here computes a signature: this floor has no keys. See decision 0720.

use crate::model::{DeviceId, UnixTime};

/// The header of a request.
pub const PROOF_HEADER: &str = "dripfeed-proof";
/// The header of an answer.
pub const IDENTITY_HEADER: &str = "dripfeed-identity";
/// The header of a refusal for a wrong clock: the server's time in milliseconds since 1970.
pub const TIME_HEADER: &str = "dripfeed-time";
/// How far an agent's clock may be from the server's, in milliseconds, either way. An agent that is told the server's time
/// goes by that and says it again.
pub const CLOCK_TOLERANCE: i64 = 5 * 60 * 1000;
/// Bytes of a header that are read.
const MAX_LENGTH: usize = 512;

/// A claim that has the form of a proof. Whether the signature holds has still to be seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proof {
    /// The public key, 64 hexadecimal digits.
    pub key: String,
    /// When it was signed, by the agent's clock or by the server's as the agent was last told.
    pub at: UnixTime,
    /// The signature, 128 hexadecimal digits.
    pub signature: String,
    /// That the agent knows the registration key: HMAC-SHA256, 64 hexadecimal digits.
    pub registration: Option<String>,
}

/// Why a header is no proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the header Dripfeed-Proof cannot be read")]
pub struct InvalidProof;

impl Proof {
    /// Reads a header. Unknown parts are passed over, for what comes later.
    pub fn parse(text: &str) -> Result<Self, InvalidProof> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidProof);
        }
        let (mut version, mut key, mut at, mut signature, mut registration) = (None, None, None, None, None);
        for part in text.split(';') {
            let (name, value) = part.trim().split_once('=').ok_or(InvalidProof)?;
            let place = match name {
                "v" => &mut version,
                "key" => &mut key,
                "at" => &mut at,
                "sig" => &mut signature,
                "reg" => &mut registration,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(InvalidProof);
            }
        }
        if version != Some("1") {
            return Err(InvalidProof);
        }
        let at = at.and_then(|at| at.parse().ok()).map(UnixTime::from_millis).ok_or(InvalidProof)?;
        Ok(Self {
            key: digits(key, 64)?,
            at,
            signature: digits(signature, 128)?,
            registration: registration.map(|text| digits(Some(text), 64)).transpose()?,
        })
    }

    /// As a header's value.
    pub fn to_header(&self) -> String {
        let mut text = format!("v=1; key={}; at={}; sig={}", self.key, self.at.millis(), self.signature);
        if let Some(registration) = &self.registration {
            text.push_str("; reg=");
            text.push_str(registration);
        }
        text
    }

    /// What is signed for a message of that computer at that moment; `body` as it is sent, `sha256` of it in hexadecimal
    /// digits.
    pub fn message(device_id: &DeviceId, at: UnixTime, body_sha256: &str) -> Vec<u8> {
        format!("dripfeed-proof 1\n{}\n{}\n{body_sha256}\n", device_id.as_str(), at.millis()).into_bytes()
    }

    /// Is the moment near enough to the server's?
    pub fn is_timely(&self, now: UnixTime) -> bool {
        now.millis().abs_diff(self.at.millis()) <= CLOCK_TOLERANCE.unsigned_abs()
    }
}

/// What the registration key is used on (HMAC-SHA256): this key for that computer, and for no other.
pub fn registration_message(device_id: &DeviceId, key: &str) -> Vec<u8> {
    format!("dripfeed-registration 1\n{}\n{key}\n", device_id.as_str()).into_bytes()
}

fn digits(text: Option<&str>, length: usize) -> Result<String, InvalidProof> {
    let text = text.ok_or(InvalidProof)?;
    let is_hexadecimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == length && is_hexadecimal { Ok(text.to_owned()) } else { Err(InvalidProof) }
}

/// What a server that knows keys says of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// The key is this computer's.
    Proven,
    /// The key was taken for this computer just now.
    Registered,
    /// The message was taken, the key was not: nothing shows that the agent may register. It is known by its name.
    ByName,
    /// The message was refused: this computer has another key.
    Refused,
    /// The message was refused: the clock is too far off ([`TIME_HEADER`] tells the server's).
    Clock,
}

impl Standing {
    const ALL: [Self; 5] = [Self::Proven, Self::Registered, Self::ByName, Self::Refused, Self::Clock];

    /// As it stands in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Registered => "registered",
            Self::ByName => "by-name",
            Self::Refused => "refused",
            Self::Clock => "clock",
        }
    }

    /// Reads the header; `None` for what is not known.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(registration: Option<&str>) -> Proof {
        Proof {
            key: "ab".repeat(32),
            at: UnixTime::from_millis(1_795_000_000_123),
            signature: "01".repeat(64),
            registration: registration.map(str::to_owned),
        }
    }

    #[test]
    fn a_header_reads_back() {
        for proof in [proof(None), proof(Some(&"f0".repeat(32)))] {
            assert_eq!(Proof::parse(&proof.to_header()), Ok(proof));
        }
    }

    #[test]
    fn what_comes_later_is_passed_over() {
        let text = format!("{}; algorithm=later", proof(None).to_header());
        assert_eq!(Proof::parse(&text), Ok(proof(None)));
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let good = proof(None).to_header();
        for bad in [
            String::new(),
            "v=1".to_owned(),
            good.replace("v=1", "v=2"),
            good.replace("ab", "AB"),
            good.replace("ab", "a"),
            good.replace("at=1", "at=x1"),
            format!("{good}; at=1"),
            format!("{good}; reg=00"),
            format!("{good}; {}=1", "x".repeat(600)),
        ] {
            assert_eq!(Proof::parse(&bad), Err(InvalidProof), "{bad}");
        }
    }

    #[test]
    fn a_clock_may_be_five_minutes_off() {
        let proof = proof(None);
        for (off, timely) in [(0, true), (300_000, true), (-300_000, true), (300_001, false), (-300_001, false)] {
            assert_eq!(proof.is_timely(UnixTime::from_millis(proof.at.millis() + off)), timely, "{off}");
        }
        assert!(!Proof { at: UnixTime::from_millis(i64::MIN), ..proof }.is_timely(UnixTime::from_millis(i64::MAX)));
    }

    #[test]
    fn what_is_signed_names_computer_moment_and_body() {
        let device_id: DeviceId = "pc-2026-11-20-08-00-00".parse().expect("an id");
        let message = Proof::message(&device_id, UnixTime::from_millis(7), "00ff");
        assert_eq!(message, b"dripfeed-proof 1\npc-2026-11-20-08-00-00\n7\n00ff\n");
        assert_eq!(registration_message(&device_id, "aa"), b"dripfeed-registration 1\npc-2026-11-20-08-00-00\naa\n");
    }
}
