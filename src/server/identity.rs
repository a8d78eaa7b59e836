//! The header by which an agent of ours shows its key: read, and looked at, before a service hears of the message.

use http::{HeaderMap, HeaderValue};

use super::Site;
use crate::model::{DeviceId, DigestAlgorithm, Hasher, UnixTime};
use crate::protocol::Request;
use crate::protocol::proof::{IDENTITY_HEADER, PROOF_HEADER, Proof, Standing, TIME_HEADER, registration_message};
use crate::service::identity::ProofSeen;
use crate::tls::registration::RegistrationKey;
use crate::tls::signing::is_signed;

/// The proof that a request claims to have. What cannot be read is none.
pub(super) fn claimed(headers: &HeaderMap) -> Option<Proof> {
    let mut values = headers.get_all(PROOF_HEADER).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    Proof::parse(value.to_str().ok()?).ok()
}

/// SHA-256 of a body as it was sent, in hexadecimal digits.
pub(super) fn digest(body: &[u8]) -> String {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(body);
    hasher.finish().to_string()
}

/// Looks at a proof for that message.
pub(super) fn seen(site: &Site, proof: Proof, request: &Request, body_sha256: &str) -> Option<ProofSeen> {
    let device_id = match request {
        Request::Prolog(prolog) => &prolog.device_id,
        Request::Inventory(inventory) => &inventory.device_id,
        Request::Download(report) => &report.device_id,
        Request::Notify(notify) => &notify.device_id,
        // Nothing comes of them.
        Request::Update | Request::Snmp { .. } => return None,
    };
    Some(look(proof, device_id, body_sha256, site.app.clock.now(), site.registration.as_deref()))
}

fn look(
    proof: Proof,
    device_id: &DeviceId,
    body_sha256: &str,
    now: UnixTime,
    registration: Option<&RegistrationKey>,
) -> ProofSeen {
    let shown = || {
        let (registration, shown) = registration.zip(proof.registration.as_deref())?;
        Some(registration.is_shown(&registration_message(device_id, &proof.key), shown))
    };
    ProofSeen {
        signed: is_signed(&proof.key, &Proof::message(device_id, proof.at, body_sha256), &proof.signature),
        timely: proof.is_timely(now),
        may_register: shown().unwrap_or(false),
        registration: proof.registration.clone(),
        key: proof.key,
    }
}

/// Says what came of a proof.
pub(super) fn say(headers: &mut HeaderMap, standing: Option<Standing>, now: UnixTime) {
    let Some(standing) = standing else { return };
    headers.insert(IDENTITY_HEADER, HeaderValue::from_static(standing.as_str()));
    if standing == Standing::Clock {
        headers.insert(TIME_HEADER, HeaderValue::from(now.millis()));
    }
}
