//! One computer under two names: known again, merged, taken apart; put away and taken back (ocs-protocol 3.5).
//!
//! The new one survives. Nothing of the old one is deleted: it is archived, and what it gave is written down, so that
//! a merge can be taken back.

use serde::{Deserialize, Serialize};

use super::assign::{AssignError, named};
use super::settings::everyones;
use super::{App, entry, identity, likenesses};
use crate::model::settings::{SettingKey, SettingsLayer};
use crate::model::{Computer, ComputerId, DeploymentId, DeviceId, GroupId, JobId, PackageId, UnixTime};
use crate::store::groups::Reason;
use crate::store::merges::{KnownBy, Merge};
use crate::store::settings::Scope;
use crate::store::{Conn, StoreError, computers, fields, groups, jobs, merges, settings};

/// What makers write where nothing is to be said, in lower case; also a single character over and over.
const MEANINGLESS: [&str; 22] = [
    "0123456789",
    "1234567",
    "12345678",
    "123456789",
    "1234567890",
    "asset-1234567890",
    "chassis serial number",
    "default string",
    "empty",
    "n/a",
    "na",
    "none",
    "not applicable",
    "not available",
    "not specified",
    "o.e.m.",
    "oem",
    "system serial number",
    "sernum0",
    "to be filled by o.e.m.",
    "unknow",
    "unknown",
];

/// Addresses that many computers have: dial-up and tunnel adapters.
const SHARED_MACS: [&str; 8] = [
    "00:05:9a:3c:78:00",
    "00:05:9a:3c:7a:00",
    "00:53:45:00:00:00",
    "33:50:6f:45:30:30",
    "44:45:53:54:00:00",
    "44:45:53:54:42:00",
    "50:50:54:50:30:30",
    "80:00:60:0f:e8:00",
];

/// UUIDs that boards come with when nobody gave them one.
const SHARED_UUIDS: [&str; 2] = ["03000200-0400-0500-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc"];

/// A serial number, model or name by which a computer can be known again.
pub(super) fn telling(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    let mut letters = text.chars().filter(|c| c.is_alphanumeric());
    let Some(first) = letters.next() else { return false };
    letters.any(|c| c != first) && !MEANINGLESS.contains(&text.as_str())
}

/// A MAC in one form; `None` for one by which no computer can be known again.
pub(super) fn telling_mac(mac: &str) -> Option<String> {
    let mac = mac.trim().to_ascii_lowercase().replace('-', ":");
    let bytes: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>().ok()?;
    // Containers' bridges have theirs from their address: the same ones everywhere.
    let shared = SHARED_MACS.contains(&mac.as_str()) || bytes.starts_with(&[0x02, 0x42]);
    let told = bytes.len() == 6 && bytes.iter().any(|byte| *byte != bytes[0]);
    (told && !shared).then_some(mac)
}

pub(super) fn telling_uuid(uuid: &str) -> bool {
    telling(uuid) && !SHARED_UUIDS.contains(&uuid.trim().to_lowercase().as_str())
}

/// The sum of the criteria of `AUTO_DUPLICATE_LVL`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask(pub(super) i64);

impl Mask {
    pub(super) const NAME: i64 = 1;
    pub(super) const SERIAL: i64 = 2;
    pub(super) const MAC: i64 = 4;
    pub(super) const MODEL: i64 = 8;
    pub(super) const UUID: i64 = 16;

    pub(super) fn has(self, bit: i64) -> bool {
        self.0 & bit != 0
    }

    fn in_force(conn: &mut Conn, configured: &SettingsLayer) -> Result<Self, StoreError> {
        Ok(Self(everyones(conn, configured, SettingKey::Duplicates)?))
    }

    /// Its criteria in words.
    pub(super) fn words(self) -> Vec<&'static str> {
        let words = [
            (Self::NAME, "name"),
            (Self::SERIAL, "serial number"),
            (Self::MAC, "MAC address"),
            (Self::MODEL, "model"),
            (Self::UUID, "UUID"),
        ];
        words.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, word)| *word).collect()
    }

    fn sentence(self) -> String {
        format!("the same {}", self.words().join(", "))
    }
}

/// What a merge gave to the new computer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Moved {
    jobs: Vec<i64>,
    /// The tag before and after.
    tag: Option<(String, String)>,
    /// Field, value before, value after.
    fields: Vec<(i64, String, String)>,
    settings: Vec<String>,
    installations: Vec<(u32, String)>,
    /// Groups in which the old one was, or from which it was kept, by hand.
    #[serde(default)]
    groups: Vec<i64>,
}

/// The rule in force, as a number to compare with.
pub(super) fn rule(conn: &mut Conn, configured: &SettingsLayer) -> Result<i64, StoreError> {
    Ok(Mask::in_force(conn, configured)?.0)
}

/// Looks for computers that this one was before, and merges them. Called where its inventory was just written; gives how
/// many there were.
pub(super) fn merge_duplicates(
    conn: &mut Conn,
    computer: ComputerId,
    old_device_id: Option<&DeviceId>,
    configured: &SettingsLayer,
    now: UnixTime,
) -> Result<usize, StoreError> {
    let Some(new) = computers::find(conn, computer)? else { return Ok(0) };
    let merged = merge_older(conn, &new, old_device_id, configured, now)?;
    // What the rule left as it is may be told to a person.
    likenesses::refresh(conn, &new, now)?;
    Ok(merged)
}

fn merge_older(
    conn: &mut Conn,
    new: &Computer,
    old_device_id: Option<&DeviceId>,
    configured: &SettingsLayer,
    now: UnixTime,
) -> Result<usize, StoreError> {
    let mut found: Vec<(ComputerId, String)> = Vec::new();
    if let Some(old) = old_device_id
        && *old != new.device_id
        && let Some(old) = computers::find_by_device_id(conn, old)?
        && old.archived_at.is_none()
    {
        found.push((old.id, format!("the agent said that it was {}", old.device_id)));
    }
    let mask = Mask::in_force(conn, configured)?;
    for id in alike(conn, new, mask)? {
        if found.iter().all(|(other, _)| *other != id) {
            found.push((id, mask.sentence()));
        }
    }
    for id in entry::meant(conn, new, mask)? {
        if found.iter().all(|(other, _)| *other != id) {
            found.push((id, "it was written down before it came".to_owned()));
        }
    }
    if found.is_empty() {
        return Ok(0);
    }
    // Two that were merged before and both speak are two: merging them again would go on for ever.
    let known = merges::of_computer(conn, new.id)?;
    found.retain(|(old, _)| known.iter().all(|merge| merge.old != *old && merge.new != *old));
    let mut merged = 0;
    for (old, reason) in &found {
        let Some(old) = computers::find(conn, *old)? else { continue };
        // Facts can be said by anybody; a key cannot.
        if old.agent_key.is_some() && new.agent_key.is_none() {
            identity::keep_apart(conn, &old, new, reason, now)?;
            continue;
        }
        merge_into(conn, &old, new, reason, now)?;
        merged += 1;
    }
    Ok(merged)
}

/// Computers that have everything in common that the mask asks for.
fn alike(conn: &mut Conn, new: &Computer, mask: Mask) -> Result<Vec<ComputerId>, StoreError> {
    let adapters = computers::networks(conn, new.id)?;
    let macs: Vec<(String, &str)> =
        adapters.iter().filter_map(|adapter| Some((telling_mac(&adapter.mac)?, adapter.mac.as_str()))).collect();
    let missing = (mask.has(Mask::NAME) && !telling(&new.name))
        || (mask.has(Mask::SERIAL) && !telling(&new.serial))
        || (mask.has(Mask::MAC) && macs.is_empty())
        || (mask.has(Mask::MODEL) && !telling(&new.model))
        || (mask.has(Mask::UUID) && !telling_uuid(&new.uuid));
    if missing {
        return Ok(Vec::new());
    }
    let mut candidates = if mask.has(Mask::SERIAL) {
        merges::candidates(conn, KnownBy::Serial(&new.serial))?
    } else if mask.has(Mask::UUID) {
        merges::candidates(conn, KnownBy::Uuid(&new.uuid))?
    } else if mask.has(Mask::MAC) {
        let mut all = Vec::new();
        for (_, mac) in &macs {
            all.extend(merges::candidates(conn, KnownBy::Mac(mac))?);
        }
        all
    } else if mask.has(Mask::NAME) {
        merges::candidates(conn, KnownBy::Name(&new.name))?
    } else {
        // Nothing, or the model alone, which is no sign of anything.
        return Ok(Vec::new());
    };
    candidates.sort_unstable();
    candidates.dedup();
    candidates.retain(|id| *id != new.id);
    let mut found = Vec::new();
    for id in candidates {
        let Some(old) = computers::find(conn, id)? else { continue };
        let shares_mac = !mask.has(Mask::MAC) || {
            let theirs = computers::networks(conn, id)?;
            theirs.iter().filter_map(|adapter| telling_mac(&adapter.mac)).any(|mac| macs.iter().any(|(m, _)| *m == mac))
        };
        let same = shares_mac
            && (!mask.has(Mask::NAME) || old.name.to_lowercase() == new.name.to_lowercase())
            && (!mask.has(Mask::SERIAL) || old.serial == new.serial)
            && (!mask.has(Mask::MODEL) || old.model == new.model)
            && (!mask.has(Mask::UUID) || old.uuid == new.uuid);
        if same {
            found.push(id);
        }
    }
    Ok(found)
}

/// Gives the new computer what was the old one's, archives the old one and keeps it all on record.
fn merge_into(conn: &mut Conn, old: &Computer, new: &Computer, reason: &str, now: UnixTime) -> Result<(), StoreError> {
    let mut moved = Moved { jobs: jobs_to_move(conn, old.id, new.id)?, ..Moved::default() };
    let ids: Vec<JobId> = moved.jobs.iter().copied().map(JobId).collect();
    merges::move_jobs(conn, &ids, old.id, new.id)?;
    // The row may have been given another tag by a merge just now.
    let tag = computers::find(conn, new.id)?.map(|new| new.tag).unwrap_or_default();
    if !old.tag.is_empty() && old.tag != super::inventory::NO_TAG && old.tag != tag {
        fields::set_tag(conn, new.id, &old.tag)?;
        moved.tag = Some((tag, old.tag.clone()));
    }
    let present = fields::of_computer(conn, new.id)?;
    for (field, value) in fields::of_computer(conn, old.id)? {
        let before = present.iter().find(|(other, _)| other.id == field.id).map(|(_, value)| value.clone());
        if before.as_ref() != Some(&value) {
            fields::set(conn, new.id, field.id, &value)?;
            moved.fields.push((field.id, before.unwrap_or_default(), value));
        }
    }
    let own = settings::layer(conn, Scope::Computer(new.id))?;
    for (key, value) in settings::layer(conn, Scope::Computer(old.id))?.0 {
        if own.value(key).is_none() {
            settings::set(conn, Scope::Computer(new.id), key, value)?;
            moved.settings.push(key.to_string());
        }
    }
    let copied = merges::copy_installations(conn, old.id, new.id)?;
    moved.installations = copied.into_iter().map(|(package, via)| (package.number(), via)).collect();
    merges::set_archived(conn, old.id, Some(now))?;
    // What was decided by hand about the old one is decided about the new one, unless it has a word of its own.
    let own = groups::of_computer(conn, new.id)?;
    for (group, reason) in groups::of_computer(conn, old.id)? {
        if reason != Reason::Query && !own.contains_key(&group) {
            groups::set(conn, group, &[new.id], reason, now)?;
            moved.groups.push(group.0);
        }
    }
    super::groups::evaluate(conn, new.id, now)?;
    let notes = serde_json::to_string(&moved).unwrap_or_default();
    merges::record(conn, old.id, new.id, now, reason, &notes)?;
    Ok(())
}

/// What one computer would give to another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Gift {
    /// Jobs, with their results.
    pub jobs: usize,
    /// Its tag, if it has one that the other has not.
    pub tag: Option<String>,
    /// Fields of the administrators' own.
    pub fields: usize,
    /// Settings of its own.
    pub settings: usize,
}

/// What [`merge`] would give; changes nothing.
pub(super) fn gift(conn: &mut Conn, old: &Computer, new: &Computer) -> Result<Gift, StoreError> {
    let tagged = !old.tag.is_empty() && old.tag != super::inventory::NO_TAG && old.tag != new.tag;
    let present = fields::of_computer(conn, new.id)?;
    let differs = |field: i64, value: &str| !present.iter().any(|(own, said)| own.id == field && said == value);
    let own = settings::layer(conn, Scope::Computer(new.id))?;
    let lacking = settings::layer(conn, Scope::Computer(old.id))?.0;
    Ok(Gift {
        jobs: jobs_to_move(conn, old.id, new.id)?.len(),
        tag: tagged.then(|| old.tag.clone()),
        fields: fields::of_computer(conn, old.id)?.iter().filter(|(field, value)| differs(field.id, value)).count(),
        settings: lacking.keys().filter(|key| own.value(**key).is_none()).count(),
    })
}

/// Every job but the open ones of packages of which the new computer has an open job itself; those stay where they are.
fn jobs_to_move(conn: &mut Conn, old: ComputerId, new: ComputerId) -> Result<Vec<i64>, StoreError> {
    let blocked = of_the_same_packages(conn, old, new)?;
    let all = jobs_of(conn, old)?;
    Ok(all.into_iter().map(|(job, _)| job).filter(|job| !blocked.contains(job)).map(|job| job.0).collect())
}

/// The open jobs of a computer of packages of which the other one has an open job, too.
fn of_the_same_packages(conn: &mut Conn, of: ComputerId, other: ComputerId) -> Result<Vec<JobId>, StoreError> {
    let taken: Vec<PackageId> = jobs::open_numbers(conn, other)?.into_iter().map(|(_, package)| package).collect();
    let own = jobs::open_numbers(conn, of)?;
    Ok(own.into_iter().filter(|(_, package)| taken.contains(package)).map(|(job, _)| job).collect())
}

/// Every job of a computer with its deployment.
pub(super) fn jobs_of(conn: &mut Conn, computer: ComputerId) -> Result<Vec<(JobId, DeploymentId)>, StoreError> {
    const PAGE: usize = 1000;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = jobs::list(conn, None, Some(computer), after, PAGE)?;
        after = page.last().map(|line| line.job.id);
        all.extend(page.iter().map(|line| (line.job.id, line.job.deployment)));
        if page.len() < PAGE {
            return Ok(all);
        }
    }
}

/// Why a computer could not be merged, taken apart, put away or taken back.
#[derive(Debug, thiserror::Error)]
pub enum DuplicateError {
    /// Not one computer of that name.
    #[error(transparent)]
    Named(#[from] AssignError),
    /// One computer was named twice.
    #[error("both names are those of {0}: a merge needs two computers")]
    Same(DeviceId),
    /// It is put away already.
    #[error("{0} is archived: `dripfeed computer restore {0}` takes it back first")]
    Archived(DeviceId),
    /// It is not put away.
    #[error("{0} is not archived, so there is nothing to restore")]
    NotArchived(DeviceId),
    /// Nothing to take back.
    #[error("{0} has no merge that could be taken back: `dripfeed computer show {0}` lists them")]
    NoMerge(DeviceId),
    /// The notes of a merge cannot be read.
    #[error("the record of the merge of {0} is damaged, so it cannot be taken back")]
    Damaged(DeviceId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Merges by hand: `new` takes what was `old`'s.
pub fn merge(app: &App, old: &str, new: &str, by: &str) -> Result<(Computer, Computer), DuplicateError> {
    let (old, new, now) = (old.to_owned(), new.to_owned(), app.clock.now());
    let reason = format!("by hand ({by})");
    app.store.write_now(move |conn| {
        let (old, new) = (named(conn, &old)?, named(conn, &new)?);
        if old.id == new.id {
            return Err(DuplicateError::Same(old.device_id));
        }
        if let Some(away) = [&old, &new].into_iter().find(|computer| computer.archived_at.is_some()) {
            return Err(DuplicateError::Archived(away.device_id.clone()));
        }
        merge_into(conn, &old, &new, &reason, now)?;
        Ok((old, new))
    })
}

/// Takes the newest merge back that a computer had a part in: the old one is there again with what it gave. Gives both.
pub fn unmerge(app: &App, computer: &str) -> Result<(Computer, Computer), DuplicateError> {
    let (name, now) = (computer.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let computer = named(conn, &name)?;
        let nothing = || DuplicateError::NoMerge(computer.device_id.clone());
        let known = merges::of_computer(conn, computer.id)?;
        let merge = known.into_iter().find(|merge| merge.undone_at.is_none()).ok_or_else(nothing)?;
        let old = computers::find(conn, merge.old)?.ok_or_else(nothing)?;
        let new = computers::find(conn, merge.new)?.ok_or_else(nothing)?;
        take_apart(conn, &merge, &new, now).map_err(|error| match error {
            Apart::Damaged => DuplicateError::Damaged(new.device_id.clone()),
            Apart::Store(error) => error.into(),
        })?;
        Ok((old, new))
    })
}

enum Apart {
    Damaged,
    Store(StoreError),
}

impl From<StoreError> for Apart {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What was changed by hand since the merge stays as it is.
fn take_apart(conn: &mut Conn, merge: &Merge, new: &Computer, now: UnixTime) -> Result<(), Apart> {
    let moved: Moved = serde_json::from_str(&merge.moved).map_err(|_| Apart::Damaged)?;
    // A package may have got an open job on the old one by now: those stay with the new one.
    let blocked = of_the_same_packages(conn, merge.new, merge.old)?;
    let back: Vec<JobId> = moved.jobs.into_iter().map(JobId).filter(|job| !blocked.contains(job)).collect();
    merges::move_jobs(conn, &back, merge.new, merge.old)?;
    if let Some((before, after)) = moved.tag
        && new.tag == after
    {
        fields::set_tag(conn, merge.new, &before)?;
    }
    let present = fields::of_computer(conn, merge.new)?;
    for (field, before, after) in moved.fields {
        if present.iter().any(|(other, value)| other.id == field && *value == after) {
            fields::set(conn, merge.new, field, &before)?;
        }
    }
    for key in moved.settings.iter().filter_map(|key| key.parse().ok()) {
        settings::unset(conn, Scope::Computer(merge.new), key)?;
    }
    let copied: Vec<(PackageId, String)> = moved
        .installations
        .into_iter()
        .filter_map(|(package, via)| Some((PackageId::try_from(i64::from(package)).ok()?, via)))
        .collect();
    merges::remove_installations(conn, merge.new, &copied)?;
    for group in moved.groups.into_iter().map(GroupId) {
        groups::unset(conn, group, &[merge.new])?;
    }
    merges::set_archived(conn, merge.old, None)?;
    merges::set_undone(conn, merge.id, now)?;
    for computer in [merge.old, merge.new] {
        super::groups::evaluate(conn, computer, now)?;
    }
    Ok(())
}

/// Puts a computer away: it is offered nothing and listed nowhere, until it sends an inventory or is taken back.
pub fn archive(app: &App, computer: &str) -> Result<Computer, DuplicateError> {
    let (name, now) = (computer.to_owned(), app.clock.now());
    app.store.write_now(move |conn| {
        let computer = named(conn, &name)?;
        if !merges::set_archived(conn, computer.id, Some(now))? {
            return Err(DuplicateError::Archived(computer.device_id));
        }
        Ok(computer)
    })
}

/// Takes a computer back that was put away.
pub fn restore(app: &App, computer: &str) -> Result<Computer, DuplicateError> {
    let name = computer.to_owned();
    app.store.write_now(move |conn| {
        let computer = named(conn, &name)?;
        if !merges::set_archived(conn, computer.id, None)? {
            return Err(DuplicateError::NotArchived(computer.device_id));
        }
        Ok(computer)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makers_leave_empty_tells_nothing() {
        for text in ["", "  ", "0", "0000000", "xxxx", "...", "To be filled by O.E.M.", " N/A ", "System Serial Number"]
        {
            assert!(!telling(text), "{text:?}");
        }
        for text in ["ABC123", "5CG0123ABC", "10"] {
            assert!(telling(text), "{text:?}");
        }
        for mac in ["", "00:00:00:00:00:00", "FF:FF:FF:FF:FF:FF", "02:42:ac:11:00:02", "00:53:45:00:00:00", "1:2", "x"]
        {
            assert_eq!(telling_mac(mac), None, "{mac:?}");
        }
        assert_eq!(telling_mac("52-54-00-12-34-AB").as_deref(), Some("52:54:00:12:34:ab"));
        assert!(!telling_uuid("00000000-0000-0000-0000-000000000000"));
        assert!(!telling_uuid("03000200-0400-0500-0006-000700080009"));
        assert!(telling_uuid("4c4c4544-0043-4410-8052-b4c04f503032"));
    }
}
