//! Who says it: every message to the server is signed with this computer's own key, and what the server says of that is
//! kept.
//!
//! ```text
//! identity.key    the secret half (crate::tls::signing): made once, before the first message; never replaced
//! identity.json   what the server said last, of which name and key, and since when
//! ```
//!
//! A stock server takes no notice of the proof and says nothing of it; nothing else on the wire is changed.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::model::{DeviceId, DigestAlgorithm, Hasher, UnixTime};
use crate::protocol::proof::{Proof, Standing, registration_message};
use crate::tls::registration::RegistrationKey;
use crate::tls::signing::{SigningError, SigningKey};

/// What a server thinks of this computer's name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Regard {
    /// The key shows that the name is this computer's.
    Proven,
    /// It knows the name, and has not taken the key.
    ByName,
    /// It has another key for that name.
    Refused,
    /// It knows no keys: a stock server.
    Stock,
}

impl Regard {
    /// What the answer to a message says that was taken.
    pub(crate) fn of_taken(standing: Option<Standing>) -> Self {
        match standing {
            Some(Standing::Proven | Standing::Registered) => Self::Proven,
            Some(_) => Self::ByName,
            None => Self::Stock,
        }
    }
}

impl fmt::Display for Regard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proven => "proven by key",
            Self::ByName => "by name only: the server has no proof that this agent may register",
            Self::Refused => {
                "refused: this computer has another key at the server: ask the administrator for `dripfeed computer \
                 forget-key`"
            }
            Self::Stock => "stock server: by name",
        })
    }
}

/// What a server said last: `identity.json`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Heard {
    /// Of which name.
    device_id: String,
    /// Of which key: its public half.
    pub(crate) key: String,
    /// What.
    pub(crate) standing: Regard,
    /// Unix seconds.
    pub(crate) since: i64,
}

impl Heard {
    fn path(state: &Path) -> PathBuf {
        state.join("identity.json")
    }

    /// `None`, if the file is not there or not readable: the server says it again.
    pub(crate) fn read(state: &Path) -> Option<Self> {
        fs::read(Self::path(state)).ok().and_then(|text| serde_json::from_slice(&text).ok())
    }

    fn keep(&self, state: &Path) {
        let path = Self::path(state);
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        if let Err(error) = disk::atomic::write_private(&path, &text) {
            tracing::warn!("failed to write {}: {error}", path.display());
        }
    }

    fn is_of(&self, device_id: &DeviceId, key: &str) -> bool {
        self.device_id == device_id.as_str() && self.key == key
    }
}

/// Signs this computer's messages.
pub(crate) struct Prover {
    key: SigningKey,
    public: String,
    registration_key: Option<RegistrationKey>,
    state: PathBuf,
    heard: RefCell<Option<Heard>>,
    /// Is what was heard last still to be told?
    untold: Cell<bool>,
    /// Milliseconds that the server's clock is ahead of this computer's, as it told in this run.
    ahead: Cell<i64>,
}

impl Prover {
    /// Reads the key, or makes it: it is durable before anything is signed with it.
    pub(crate) fn begin(state: &Path, registration_key: Option<RegistrationKey>) -> Result<Self, SigningError> {
        let key = SigningKey::ensure_identity(state)?;
        disk::checkpoint("agent.identity.kept");
        Ok(Self {
            public: key.public(),
            key,
            registration_key,
            state: state.to_owned(),
            heard: RefCell::new(Heard::read(state)),
            untold: Cell::new(false),
            ahead: Cell::new(0),
        })
    }

    /// The proof for a message of that computer, `body` as it is sent.
    pub(crate) fn prove(&self, device_id: &DeviceId, body: &[u8], now: UnixTime) -> Proof {
        let at = UnixTime::from_millis(now.millis().saturating_add(self.ahead.get()));
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        hasher.update(body);
        let message = Proof::message(device_id, at, &hasher.finish().to_string());
        Proof {
            key: self.public.clone(),
            at,
            signature: self.key.sign(&message),
            registration: self.registration(device_id),
        }
    }

    /// That this agent may register, until it has.
    fn registration(&self, device_id: &DeviceId) -> Option<String> {
        let known = self.registration_key.as_ref()?;
        let is_registered = self
            .heard
            .borrow()
            .as_ref()
            .is_some_and(|heard| heard.standing == Regard::Proven && heard.is_of(device_id, &self.public));
        (!is_registered).then(|| known.show(&registration_message(device_id, &self.public)))
    }

    /// Goes by the server's clock for the rest of this run.
    pub(crate) fn go_by(&self, servers: UnixTime, now: UnixTime) {
        let ahead = servers.millis().saturating_sub(now.millis());
        tracing::warn!("this computer's clock and the server's differ by {} s: set it right", (ahead / 1000).abs());
        self.ahead.set(ahead);
    }

    /// Keeps what the server said, where that is new; [`Prover::tell`] tells it. It is worth no stop of the agent if it
    /// cannot be kept.
    pub(crate) fn heard(&self, standing: Regard, device_id: &DeviceId, now: UnixTime) {
        let mut last = self.heard.borrow_mut();
        if last.as_ref().is_some_and(|heard| heard.standing == standing && heard.is_of(device_id, &self.public)) {
            return;
        }
        let heard =
            Heard { device_id: device_id.to_string(), key: self.public.clone(), standing, since: now.seconds() };
        heard.keep(&self.state);
        *last = Some(heard);
        self.untold.set(true);
    }

    /// Tells what the server said last, once. Not before a contact is over: a server takes the key of a computer that it does
    /// not know yet with the inventory, so what it says to the first message is no news.
    pub(crate) fn tell(&self) {
        let Some(standing) = self.heard.borrow().as_ref().map(|heard| heard.standing) else { return };
        if !self.untold.replace(false) {
            return;
        }
        match standing {
            Regard::Proven | Regard::Stock => tracing::info!("identity: {standing}"),
            Regard::ByName | Regard::Refused => tracing::warn!("identity: {standing}"),
        }
    }
}
