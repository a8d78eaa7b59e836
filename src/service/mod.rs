//! Use cases: rules and transactions, no HTTP, no SQL. Floor 3. (Placeholder: the founder writes this floor.)
#![expect(missing_docs, clippy::todo, clippy::unused_async, clippy::needless_pass_by_value, reason = "placeholder")]

use crate::clock::Clock;
use crate::disk::published::PublishedTree;
use crate::model::limits::{ArchiveLimits, RequestLimits};
use crate::store::{Store, StoreError};

#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "placeholder")]
pub struct App {
    pub store: Store,
    pub tree: PublishedTree,
    pub clock: Clock,
    pub request_limits: RequestLimits,
    pub archive_limits: ArchiveLimits,
}

#[derive(Clone, Debug)]
pub struct Peer {
    pub address: std::net::IpAddr,
    pub user_agent: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub mod prolog {
    use super::{App, Peer, ServiceError};
    use crate::protocol::{PrologReply, PrologRequest};
    pub async fn answer(_: &App, _: PrologRequest, _: Peer) -> Result<PrologReply, ServiceError> {
        Ok(PrologReply {
            decision: crate::protocol::Decision::Send,
            prolog_freq: Some(24),
            inventory_on_startup: None,
            download: None,
        })
    }
}
pub mod inventory {
    use super::{App, Peer, ServiceError};
    use crate::protocol::{InventoryReply, InventoryRequest};
    pub async fn take(_: &App, _: InventoryRequest, _: Vec<u8>, _: Peer) -> Result<InventoryReply, ServiceError> {
        Ok(InventoryReply::NoAccountUpdate)
    }
}
pub mod report {
    use super::{App, Peer, ServiceError};
    use crate::protocol::DownloadReport;
    pub async fn take(_: &App, _: DownloadReport, _: Peer) -> Result<(), ServiceError> {
        Ok(())
    }
}
pub mod notify {
    use super::{App, Peer, ServiceError};
    use crate::protocol::NotifyRequest;
    pub async fn take(_: &App, _: NotifyRequest, _: Peer) -> Result<(), ServiceError> {
        Ok(())
    }
}
