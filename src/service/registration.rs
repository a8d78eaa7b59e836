//! The registration key that administrators make here, beside the one that a configuration may hold.
//!
//! Whoever shows one of the two may register. It is looked at inside the write of the message that shows it, so the key
//! that was just renewed is the one that counts, for every process on the database.

use super::App;
use super::identity::{IdentityError, ProofSeen};
use crate::model::DeviceId;
use crate::protocol::proof::registration_message;
use crate::store::registration::{self, Made};
use crate::store::{Conn, StoreError};
use crate::tls::registration::RegistrationKey;

/// Does a message show the key that was made here?
pub(super) fn is_shown(conn: &mut Conn, device_id: &DeviceId, proof: &ProofSeen) -> Result<bool, StoreError> {
    let Some(shown) = &proof.registration else { return Ok(false) };
    let made = registration::find(conn)?;
    let message = registration_message(device_id, &proof.key);
    Ok(made.is_some_and(|made| RegistrationKey::new(&made.key).is_shown(&message, shown)))
}

/// Puts a key in the place of the old one. Computers that have registered do not notice.
pub fn renew(app: &App, key: &str, by: &str) -> Result<(), StoreError> {
    let made = Made { key: key.to_owned(), at: app.clock.now(), by: by.to_owned() };
    app.store.write_now(move |conn| registration::set(conn, &made))
}

/// Takes the key away: nobody registers with it any more.
pub fn remove(app: &App) -> Result<(), IdentityError> {
    app.store.write_now(|conn| if registration::remove(conn)? { Ok(()) } else { Err(IdentityError::NoRegistrationKey) })
}
