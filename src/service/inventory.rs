//! "This is what I am": takes an inventory (ocs-protocol 2.2, 3.3, 3.4).

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::{App, Peer, ServiceError, groups};
use crate::model::{Computer, DigestAlgorithm, Hasher};
use crate::protocol::{AccountField, InventoryReply, InventoryRequest};
use crate::store::{Conn, StoreError, computers, deployments, installations, jobs};

/// What a computer without a TAG is filed under; the stock server's word.
const NO_TAG: &str = "NA";

/// Stores an inventory: the document as it came, and the columns that searching needs. One that equals the last to the
/// byte costs a single small write.
pub async fn take(
    app: &App,
    mut request: InventoryRequest,
    document: Vec<u8>,
    peer: Peer,
) -> Result<InventoryReply, ServiceError> {
    let now = app.clock.now();
    let contact = peer.contact(now);
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(&document);
    let sha256 = hasher.finish();

    let device_id = request.device_id.clone();
    let known = app
        .store
        .read(move |conn| -> Result<_, StoreError> {
            let Some(computer) = computers::find_by_device_id(conn, &device_id)? else {
                return Ok(None);
            };
            let stored = computers::document_sha256(conn, computer.id)?;
            Ok(Some((computer, stored)))
        })
        .await?;

    if let Some((computer, Some(stored))) = &known
        && stored == sha256.as_bytes()
    {
        let id = computer.id;
        app.store
            .write(move |conn| -> Result<(), StoreError> {
                computers::touch_inventory(conn, id, &contact)?;
                // Queries may ask for times and for other groups.
                groups::evaluate(conn, id, now)
            })
            .await?;
        return Ok(account_reply(Some(computer), &request.account));
    }

    let reply = account_reply(known.as_ref().map(|(computer, _)| computer), &request.account);
    // Compressed before the write: the one writer has better things to do.
    let deflated = deflate(&document);
    if let Some(own) = request.networks.iter().find(|network| network.ip_address == contact.peer_address) {
        request.facts.ip_address.clone_from(&own.ip_address);
    }
    if request.facts.tag.is_empty() {
        NO_TAG.clone_into(&mut request.facts.tag);
    }
    app.store
        .write(move |conn| -> Result<(), StoreError> {
            let (computer, new) = computers::take_facts(conn, &request.device_id, &request.facts, &contact)?;
            computers::set_networks(conn, computer, &request.networks)?;
            computers::set_document(conn, computer, sha256.as_bytes(), &deflated)?;
            // Without the block, the stock server empties the history; so a reinstalled computer gets its packages again.
            installations::set_reported(conn, computer, request.history.as_deref().unwrap_or_default(), now)?;
            if new {
                join_standing(conn, computer, &request.facts.os_name, now)?;
            }
            groups::evaluate(conn, computer, now)
        })
        .await?;
    Ok(reply)
}

/// Gives a new computer the jobs of every deployment to all computers, those for its system.
fn join_standing(
    conn: &mut Conn,
    computer: crate::model::ComputerId,
    os_name: &str,
    now: crate::model::UnixTime,
) -> Result<(), StoreError> {
    for deployment in deployments::standing(conn)? {
        let package = crate::store::packages::find(conn, deployment.package)?;
        if package.is_some_and(|package| super::prolog::fits(package.os, os_name)) {
            jobs::plan(conn, &deployment, &[computer], now)?;
        }
    }
    Ok(())
}

/// The server's values win once a computer is known: the agent is told them when its own differ (ocs-protocol 2.2).
fn account_reply(known: Option<&Computer>, sent: &[AccountField]) -> InventoryReply {
    let Some(computer) = known else {
        return InventoryReply::NoAccountUpdate;
    };
    let tag = if computer.tag.is_empty() { NO_TAG } else { &computer.tag };
    match sent {
        [only] if only.key == "TAG" && only.value == tag => InventoryReply::NoAccountUpdate,
        _ => InventoryReply::AccountUpdate(vec![AccountField { key: "TAG".to_owned(), value: tag.to_owned() }]),
    }
}

fn deflate(document: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(document.len() / 8), Compression::new(6));
    // Writing to memory does not fail.
    let _ = encoder.write_all(document);
    encoder.finish().unwrap_or_default()
}
