//! Use cases: rules and transactions, no HTTP, no SQL. Floor 3.
//!
//! A service takes domain values, never extractors or rows. What the agents' door calls ([`prolog`], [`inventory`],
//! [`report`], [`notify`]) is async and answers after its commit; what an administrator's verb calls ([`publish`], [`withdraw`],
//! [`activate`], [`assign`], [`series`], [`approvals`], [`deployments`], [`gates`], [`groups`], [`query`], [`settings`], [`discovery`], [`why`], [`duplicates`], [`account`],
//! [`accounts`]) may block.

pub mod account;
pub mod accounts;
pub mod activate;
pub mod approvals;
pub mod assign;
pub mod changes;
pub mod codes;
pub mod contents;
pub mod deployments;
pub mod desk;
pub mod discovery;
pub mod duplicates;
pub mod entry;
pub mod fields;
pub mod gates;
pub mod groups;
pub mod guesses;
pub mod identity;
pub mod import;
pub mod inventory;
pub mod likenesses;
pub mod looks;
pub mod mass;
pub mod mirrors;
pub mod notify;
pub mod prolog;
pub mod publish;
pub mod query;
pub mod reconcile;
pub mod registration;
pub mod report;
pub mod series;
pub mod settings;
pub mod signin;
pub mod sites;
pub mod stopped;
pub mod table;
pub mod templates;
pub mod uploads;
pub mod verify;
pub mod wake;
pub mod webhooks;
pub mod why;
pub mod withdraw;
pub mod works;

use std::net::IpAddr;

use crate::clock::Clock;
use crate::disk::published::PublishedTree;
use crate::model::UnixTime;
use crate::model::limits::{ArchiveLimits, RequestLimits};
use crate::model::settings::SettingsLayer;
use crate::protocol::proof::Standing;
use crate::store::computers::Contact;
use crate::store::{Store, StoreError};

/// What a use case needs: built once in a program, cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Intent, results, computers.
    pub store: Store,
    /// The published tree: the truth for bytes.
    pub tree: PublishedTree,
    /// The present.
    pub clock: Clock,
    /// Bounds on what agents send.
    pub request_limits: RequestLimits,
    /// Bounds on what administrators upload.
    pub archive_limits: ArchiveLimits,
    /// What the configuration file sets; the store's global layer lies above it.
    pub configured: SettingsLayer,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl App {
    /// The server's settings: the file's, and above them what was set by hand.
    pub(crate) fn global_layer(&self, set: SettingsLayer) -> SettingsLayer {
        let mut layer = self.configured.clone();
        layer.0.extend(set.0);
        layer
    }
}

/// Who sent a message.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its `User-Agent`, as it came.
    pub user_agent: String,
    /// What its message showed of its key, if it did.
    pub proof: Option<identity::ProofSeen>,
}

impl Peer {
    /// What the store keeps of it. A `User-Agent` is foreign text: cut to what the stock console's column holds,
    /// twice over.
    fn contact(&self, at: UnixTime) -> Contact {
        Contact {
            peer_address: self.address.to_canonical().to_string(),
            user_agent: self.user_agent.chars().filter(|c| !c.is_control()).take(100).collect(),
            at,
        }
    }

    /// Does this agent wait for a SCHEDULE by itself? The stock Unix agent ignores it (ocs-protocol 4.2); the Windows
    /// agent and ours obey.
    fn waits_for_schedule(&self) -> bool {
        !self.user_agent.contains("unified_unix_agent") || self.user_agent.contains("dripfeed")
    }
}

/// What becomes of an agent's message that is taken.
#[derive(Clone, Debug)]
pub struct Answered<T> {
    /// The reply to it.
    pub reply: T,
    /// What it is told of its key; nothing if it showed none.
    pub standing: Option<Standing>,
}

/// Why an agent's message could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It is not shown to be the computer's. 403, and nothing changed.
    #[error(transparent)]
    Refused(#[from] identity::Refused),
    /// The database failed. Agents get a 503 and come back.
    #[error(transparent)]
    Store(#[from] StoreError),
}
