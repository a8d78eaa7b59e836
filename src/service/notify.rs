//! "My addresses changed": the Windows agent's NOTIFY (ocs-protocol 2.5).

use super::{Answered, App, Peer, ServiceError, groups, identity};
use crate::protocol::NotifyRequest;
use crate::store::computers;

/// Takes new addresses of a known computer; adapters that are not named keep theirs.
pub async fn take(app: &App, notify: NotifyRequest, peer: Peer) -> Result<Answered<()>, ServiceError> {
    let contact = peer.contact(app.clock.now());
    let (device_id, address) = (notify.device_id.clone(), peer.address);
    let taken = app
        .store
        .write(move |conn| -> Result<_, ServiceError> {
            let proof = peer.proof.as_ref();
            let Some(computer) = computers::find_by_device_id(conn, &notify.device_id)? else {
                return Ok(Answered { reply: (), standing: identity::unknown(proof) });
            };
            let admitted = identity::admit(conn, &computer.device_id, computer.agent_key.as_ref(), proof)?;
            admitted.settle(conn, computer.id, &computer.device_id, contact.at)?;
            computers::touch(conn, computer.id, &contact)?;
            let mut networks = computers::networks(conn, computer.id)?;
            let mut changed = false;
            for heard in &notify.networks {
                for network in networks.iter_mut().filter(|network| network.mac.eq_ignore_ascii_case(&heard.mac)) {
                    network.ip_address.clone_from(&heard.ip_address);
                    network.mask.clone_from(&heard.mask);
                    network.subnet.clone_from(&heard.subnet);
                    changed = true;
                }
            }
            // Only together with a known adapter, as the stock server does: a name alone proves nothing.
            if changed {
                computers::set_networks(conn, computer.id, &networks)?;
                if let Some(address) = &notify.ip_address {
                    computers::set_ip_address(conn, computer.id, address)?;
                }
            }
            groups::evaluate(conn, computer.id, contact.at)?;
            Ok(Answered { reply: (), standing: admitted.standing() })
        })
        .await;
    identity::told(app, device_id, address, taken).await
}
