//! "This is what I am": takes an inventory (ocs-protocol 2.2, 3.3, 3.4).
//!
//! Three cases, from cheap to dear: equal to the last to the byte; different in nothing but what changes by itself;
//! changed. The first two are one small write. The last compares with the stored document outside the one writer, and
//! inside writes only the sections that are others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::account::{self, Account};
use super::changes::{self, DUPLICATES, Digests, FACTS, HISTORY, SOFTWARE, Titles};
use super::duplicates;
use super::identity::{self, ProofSeen};
use super::{Answered, App, Peer, ServiceError, discovery, groups};
use crate::model::limits::RequestLimits;
use crate::model::query::{is_section_name, section_key};
use crate::model::settings::SettingsLayer;
use crate::model::{Computer, ComputerId, DeploymentId, DeviceId, DigestAlgorithm, Hasher, UnixTime};
use crate::protocol::proof::Standing;
use crate::protocol::{InventoryReply, InventoryRequest, SectionFacts, sections_of};
use crate::store::computers::Contact;
use crate::store::sections::{Change, StoredSections};
use crate::store::software::Difference;
use crate::store::values::InventoryValue;
use crate::store::{
    Conn, StoreError, computers, deployments, installations, jobs, merges, registry, sections, software, values,
};

/// What a computer without a TAG is filed under; the stock server's word.
pub(super) const NO_TAG: &str = "NA";

/// The section of what Windows agents found in their registry.
const REGISTRY: &str = "REGISTRY";

/// What can be searched of one inventory: a large one of a Windows agent says 1,000 different things.
pub const MOST_VALUES: usize = 4000;
/// And of one field of it. Ports and slots are some dozens.
pub const MOST_OF_A_FIELD: usize = 250;

/// How old the stored document may be while inventories differ in nothing but what changes by itself.
const DOCUMENT_MAY_BE_OLD: i64 = 7 * DAY;
const DAY: i64 = 24 * 3600 * 1000;

/// The smallest part of a document that its agent's compression may leave for us to keep it. Agents come to a tenth; one
/// that only says it compresses would have us store what it pleases.
const WELL_DEFLATED: usize = 4;

/// An inventory's text, and what can be kept of it.
#[derive(Clone, Debug)]
pub struct Document {
    bytes: Vec<u8>,
    /// The zlib stream that it came in: then nobody has to compress it again.
    deflated: Option<Bytes>,
}

impl Document {
    /// One that came as this zlib stream.
    pub fn deflated(bytes: Vec<u8>, stream: Bytes) -> Self {
        let well = stream.len() <= bytes.len() / WELL_DEFLATED;
        Self { bytes, deflated: well.then_some(stream) }
    }

    /// What is stored: as it came, or compressed now.
    fn to_store(&self) -> Bytes {
        self.deflated.clone().unwrap_or_else(|| deflate(&self.bytes).into())
    }
}

impl From<Vec<u8>> for Document {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, deflated: None }
    }
}

/// Stores an inventory: the document as it came, software by number, and the columns that searching needs.
pub async fn take(
    app: &App,
    request: InventoryRequest,
    document: impl Into<Document>,
    peer: Peer,
) -> Result<Answered<InventoryReply>, ServiceError> {
    let (device_id, address) = (request.device_id.clone(), peer.address);
    let taken = store(app, request, document.into(), peer).await;
    identity::told(app, device_id, address, taken).await
}

async fn store(
    app: &App,
    mut request: InventoryRequest,
    document: Document,
    peer: Peer,
) -> Result<Answered<InventoryReply>, ServiceError> {
    let now = app.clock.now();
    let contact = peer.contact(now);
    if let Some(own) = request.networks.iter().find(|network| network.ip_address == contact.peer_address) {
        request.facts.ip_address.clone_from(&own.ip_address);
    }
    if request.facts.tag.is_empty() {
        NO_TAG.clone_into(&mut request.facts.tag);
    }
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(&document.bytes);
    let sha256 = hasher.finish().as_bytes().to_vec();
    let digests = Digests::of(&request);
    let request = Arc::new(request);
    let mut deflated: Option<Bytes> = None;
    loop {
        let (device_id, configured) = (request.device_id.clone(), app.configured.clone());
        let (known, rule) = app
            .store
            .read(move |conn| -> Result<_, StoreError> {
                Ok((Known::load(conn, &device_id)?, duplicates::rule(conn, &configured)?))
            })
            .await?;
        let digests = digests.clone().with_rule(rule);
        if let Some(known) = &known
            && known.computer.archived_at.is_none()
            && known.says_the_same(&sha256, &digests, now)
        {
            let (id, contact) = (known.computer.id, contact.clone());
            let (said, configured) = (Arc::clone(&request), app.configured.clone());
            let (memo, device_id) = (Arc::clone(app.store.memo()), request.device_id.clone());
            let proof = peer.proof.clone();
            let write = move |conn: &mut Conn| -> Result<Option<Standing>, ServiceError> {
                let admitted = identity::admit_anew(conn, &device_id, proof.as_ref())?;
                admitted.settle(conn, id, &device_id, now)?;
                computers::touch_inventory(conn, id, &contact)?;
                if !discovery::take(conn, id, &said, &configured, now)? {
                    conn.alters_only(&memo, &device_id);
                }
                // Queries may ask for times and for other groups.
                groups::evaluate(conn, id, now)?;
                Ok(admitted.standing())
            };
            let standing = app.store.write(write).await?;
            return Ok(Answered { reply: known.account.reply(&request.account), standing });
        }
        // Before the write: the one writer has better things to do.
        let deflated = deflated.get_or_insert_with(|| document.to_store()).clone();
        let compared = match &known {
            Some(known) => compare(app, known, &request, &digests, now).await?,
            None => Compared::default(),
        };
        let taken = Taken {
            request: Arc::clone(&request),
            digests,
            sha256: sha256.clone(),
            deflated,
            compared,
            compared_with: known.and_then(|known| known.sha256),
            configured: app.configured.clone(),
            contact: contact.clone(),
            proof: peer.proof.clone(),
            now,
        };
        // Another inventory of the same computer may have come in between: then all of it is looked at again.
        if let Some(reply) = app.store.write(move |conn| taken.write(conn)).await? {
            return Ok(reply);
        }
    }
}

/// What is there of a computer.
struct Known {
    computer: Computer,
    sha256: Option<Vec<u8>>,
    sections: Option<StoredSections>,
    account: Account,
}

impl Known {
    fn load(conn: &mut Conn, device_id: &DeviceId) -> Result<Option<Self>, StoreError> {
        let Some(computer) = computers::find_by_device_id(conn, device_id)? else { return Ok(None) };
        Ok(Some(Self {
            sha256: computers::document_sha256(conn, computer.id)?,
            sections: sections::stored(conn, computer.id)?,
            account: Account::load(conn, computer.id, &computer.tag)?,
            computer,
        }))
    }

    fn says_the_same(&self, sha256: &[u8], digests: &Digests, now: UnixTime) -> bool {
        let Some(stored) = &self.sections else { return false };
        let before = Digests::from_text(&stored.digests);
        if self.sha256.as_deref() == Some(sha256) {
            return digests.get(DUPLICATES) == before.get(DUPLICATES);
        }
        let young = now.millis().saturating_sub(stored.stored_at.millis()) < DOCUMENT_MAY_BE_OLD;
        young && digests.clone().with_software_of(&before) == before
    }
}

/// What differs from what is stored of a computer.
#[derive(Default)]
struct Compared {
    /// For people.
    changes: Vec<Change>,
    software: Difference,
    /// What can be searched of the sections.
    values: values::Difference,
}

/// Compares with what is stored, part by part: what has the digest that it had is not looked at, and the stored document is read
/// only for the sections that are others.
async fn compare(
    app: &App,
    known: &Known,
    request: &Arc<InventoryRequest>,
    digests: &Digests,
    now: UnixTime,
) -> Result<Compared, StoreError> {
    let stored = known.sections.as_ref().map(|stored| Digests::from_text(&stored.digests)).unwrap_or_default();
    let digests = digests.clone().with_software_of(&stored);
    let others = digests.others_than(&stored);
    let is_section = |part: &&str| ![FACTS, HISTORY, DUPLICATES, SOFTWARE].contains(part);
    let (of_sections, of_software) = (others.iter().any(is_section), others.contains(SOFTWARE));
    let (computer, wanted) = (known.computer.id, Arc::clone(request));
    let (stored, software, values) = app
        .store
        .read(move |conn| -> Result<_, StoreError> {
            let (mut document, mut software, mut values) = Default::default();
            // An inventory without any software says nothing of it.
            if of_software && !wanted.software.is_empty() {
                software = software::difference(conn, computer, &wanted.software)?;
            }
            if of_sections {
                document = computers::document(conn, computer)?;
                values = values::difference(conn, computer, &searchable(&wanted))?;
            }
            Ok((document, software, values))
        })
        .await?;
    let titles = Titles { gone: software.gone().collect(), come: software.come().collect() };
    let old = stored.and_then(|stored| sections_before(&stored, &app.request_limits));
    let changes = match old {
        // One that cannot be read any more cannot be compared with; it is about to be replaced.
        None => changes::between(&[], &[], |_| false, titles, now),
        Some(old) => changes::between(&old, &request.sections, |part| others.contains(part), titles, now),
    };
    Ok(Compared { changes, software, values })
}

/// The sections of a stored document, if it can be read.
fn sections_before(stored: &[u8], limits: &RequestLimits) -> Option<Vec<SectionFacts>> {
    let mut document = Vec::new();
    ZlibDecoder::new(stored).read_to_end(&mut document).ok()?;
    sections_of(&document, limits).ok()
}

/// What can be searched of the sections: every text once, and first of all which sections there are.
fn searchable(request: &InventoryRequest) -> Vec<InventoryValue> {
    let mut sections: BTreeSet<String> = BTreeSet::new();
    let mut found: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for section in request.sections.iter().filter(|section| is_section_name(&section.name)) {
        sections.insert(section.name.to_ascii_uppercase());
        for (field, text) in section.entries.iter().flatten().filter(|(field, _)| is_section_name(field)) {
            found.entry(section_key(&section.name, field)).or_default().insert(text);
        }
    }
    let values = found.into_iter().flat_map(|((section, field), texts)| {
        texts.into_iter().take(MOST_OF_A_FIELD).map(move |text| InventoryValue {
            section: section.clone(),
            field: field.clone(),
            value: text.to_owned(),
        })
    });
    let present =
        sections.into_iter().map(|section| InventoryValue { section, field: String::new(), value: String::new() });
    present.chain(values).take(MOST_VALUES).collect()
}

/// An inventory that changes something, ready to be written.
struct Taken {
    request: Arc<InventoryRequest>,
    digests: Digests,
    sha256: Vec<u8>,
    deflated: Bytes,
    /// For a computer that is known.
    compared: Compared,
    /// The digest of the document that it was compared with.
    compared_with: Option<Vec<u8>>,
    configured: SettingsLayer,
    contact: Contact,
    proof: Option<ProofSeen>,
    now: UnixTime,
}

impl Taken {
    /// `None` if the stored inventory is not the one that this was compared with.
    fn write(self, conn: &mut Conn) -> Result<Option<Answered<InventoryReply>>, ServiceError> {
        let (request, now) = (&*self.request, self.now);
        let admitted = identity::admit_anew(conn, &request.device_id, self.proof.as_ref())?;
        let (computer, new) = computers::take_facts(conn, &request.device_id, &request.facts, &self.contact)?;
        if !new && computers::document_sha256(conn, computer)? != self.compared_with {
            return Ok(None);
        }
        admitted.settle(conn, computer, &request.device_id, now)?;
        let standing = admitted.standing();
        let stored =
            sections::stored(conn, computer)?.unwrap_or(StoredSections { digests: String::new(), stored_at: now });
        let before = Digests::from_text(&stored.digests);
        let digests = self.digests.with_software_of(&before);
        let differs = |part: &str| new || before.get(part) != digests.get(part);
        // Compared with the rows: the agent may have told of other addresses in between.
        computers::set_networks(conn, computer, &request.networks)?;
        if differs(SOFTWARE) && !request.software.is_empty() {
            let all = new.then(|| Difference::all(&request.software));
            software::apply(conn, computer, all.as_ref().unwrap_or(&self.compared.software))?;
        }
        let all = new.then(|| values::Difference::all(&searchable(request)));
        values::apply(conn, computer, all.as_ref().unwrap_or(&self.compared.values))?;
        if differs(REGISTRY) {
            registry::set_values(conn, computer, &discovery::registry_values(request))?;
        }
        if differs(HISTORY) {
            // Without the block, the stock server empties the history; so a reinstalled computer gets its packages
            // again.
            installations::set_reported(conn, computer, request.history.as_deref().unwrap_or_default(), now)?;
        }
        computers::set_document(conn, computer, &self.sha256, &self.deflated)?;
        sections::set_stored(conn, computer, &StoredSections { digests: digests.to_text(), stored_at: now })?;
        if !self.compared.changes.is_empty() {
            let oldest = UnixTime::from_millis(now.millis() - changes::CHANGES_KEPT_DAYS * DAY);
            sections::add_changes(conn, computer, &self.compared.changes, changes::MOST_CHANGES, oldest)?;
        }
        if new {
            account::take_first(conn, computer, &request.account)?;
        }
        let back = merges::set_archived(conn, computer, None)?;
        let mut merged = 0;
        let seen_anew = new || back || request.old_device_id.is_some();
        if seen_anew || [FACTS, "NETWORKS", DUPLICATES].into_iter().any(differs) {
            let old = request.old_device_id.as_ref();
            merged = duplicates::merge_duplicates(conn, computer, old, &self.configured, now)?;
        }
        if new {
            join_standing(conn, computer, &request.facts.os_name, now)?;
        }
        discovery::take(conn, computer, request, &self.configured, now)?;
        groups::evaluate(conn, computer, now)?;
        if new && merged == 0 {
            return Ok(Some(Answered { reply: InventoryReply::NoAccountUpdate, standing }));
        }
        let tag = computers::find(conn, computer)?.map(|computer| computer.tag).unwrap_or_default();
        let reply = Account::load(conn, computer, &tag)?.reply(&request.account);
        Ok(Some(Answered { reply, standing }))
    }
}

/// Gives a new computer the jobs of every deployment to all computers, those for its system; not those of which it has
/// a job from the computer that it was before.
fn join_standing(conn: &mut Conn, computer: ComputerId, os_name: &str, now: UnixTime) -> Result<(), StoreError> {
    let had: Vec<DeploymentId> =
        duplicates::jobs_of(conn, computer)?.into_iter().map(|(_, deployment)| deployment).collect();
    for deployment in deployments::standing(conn)?.into_iter().filter(|standing| !had.contains(&standing.id)) {
        let package = crate::store::packages::find(conn, deployment.package)?;
        if package.is_some_and(|package| super::prolog::fits(package.os, os_name)) {
            jobs::plan(conn, &deployment, &[computer], now)?;
        }
    }
    Ok(())
}

fn deflate(document: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(document.len() / 8), Compression::new(6));
    // Writing to memory does not fail.
    let _ = encoder.write_all(document);
    encoder.finish().unwrap_or_default()
}
