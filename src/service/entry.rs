//! Computers that a person writes down before their agents come: packages can be assigned to them, and the agent that comes
//! first under what was written down takes it all over.

use std::fmt::Write as _;

use super::App;
use super::duplicates::{Mask, telling, telling_mac, telling_uuid};
use super::identity::{IdentityError, host_name};
use crate::clock;
use crate::model::{Computer, ComputerId, DeviceId, UnixTime};
use crate::protocol::Network;
use crate::store::entered::{self, Entry};
use crate::store::merges::{self, KnownBy};
use crate::store::{Conn, StoreError, computers};

/// Computers that are written down with one request.
pub const MOST: u32 = 1000;
/// What stands for the number in a pattern.
const NUMBER: char = '#';

/// Computers that differ by a number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pattern {
    /// How many.
    pub count: u32,
    /// The first one's number.
    pub first: u32,
    /// The host name; `#` stands for the number, `###` for three digits of it.
    pub name: String,
    /// The serial number, likewise; empty if nobody knows it.
    pub serial: String,
    /// The MAC address of the first one, the others' are counted up; empty if nobody knows it.
    pub mac: String,
    /// The tag of all.
    pub tag: String,
}

/// Why nothing was written down.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// None, or too many.
    #[error("{0} computers cannot be written down at once: expected 1 to {MOST}")]
    Count(u32),
    /// They would all be named the same.
    #[error("\"{0}\" names {1} computers the same: put # where their number belongs, or ### for three digits of it")]
    SameName(String, u32),
    /// They would all have one serial number.
    #[error("\"{0}\" would be the serial number of {1} computers: put # where their number belongs, or leave it empty")]
    SameSerial(String, u32),
    /// It is nobody's.
    #[error("\"{0}\" says nothing of a computer: makers write it where there is no serial number")]
    Serial(String),
    /// Not an address, or one that many have.
    #[error("\"{0}\" is not a MAC address of one computer: expected six bytes such as 52:54:00:12:34:56")]
    Mac(String),
    /// Not a host name.
    #[error(transparent)]
    Name(#[from] IdentityError),
    /// It is there.
    #[error("there is a computer named \"{0}\" already")]
    Exists(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is written down of one computer.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Line {
    entry: Entry,
    mac: Option<String>,
}

impl Pattern {
    fn lines(&self) -> Result<Vec<Line>, EntryError> {
        if self.count == 0 || self.count > MOST {
            return Err(EntryError::Count(self.count));
        }
        let (name, serial) = (self.name.trim(), self.serial.trim());
        if self.count > 1 && !name.contains(NUMBER) {
            return Err(EntryError::SameName(name.to_owned(), self.count));
        }
        if self.count > 1 && !serial.is_empty() && !serial.contains(NUMBER) {
            return Err(EntryError::SameSerial(serial.to_owned(), self.count));
        }
        (0..self.count).map(|at| self.line(name, serial, at)).collect()
    }

    fn line(&self, name: &str, serial: &str, at: u32) -> Result<Line, EntryError> {
        let number = self.first.saturating_add(at);
        let (name, serial) = (host_name(&numbered(name, number))?, numbered(serial, number));
        if !serial.is_empty() && !telling(&serial) {
            return Err(EntryError::Serial(serial));
        }
        let mac = match self.mac.trim() {
            "" => None,
            mac => Some(counted_up(mac, at).ok_or_else(|| EntryError::Mac(mac.chars().take(40).collect()))?),
        };
        Ok(Line { entry: Entry { name, serial, tag: self.tag.trim().to_owned() }, mac })
    }
}

/// A pattern with a number in the place of each row of `#`.
fn numbered(pattern: &str, number: u32) -> String {
    let (mut text, mut width) = (String::new(), 0);
    for c in pattern.chars().map(Some).chain([None]) {
        if c == Some(NUMBER) {
            width += 1;
            continue;
        }
        if width > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{number:0width$}");
            width = 0;
        }
        text.extend(c);
    }
    text
}

/// A MAC address so many after another, in the form in which addresses are compared.
fn counted_up(mac: &str, at: u32) -> Option<String> {
    let digits: String = telling_mac(mac)?.chars().filter(char::is_ascii_hexdigit).collect();
    let number =
        u64::from_str_radix(&digits, 16).ok()?.checked_add(u64::from(at)).filter(|number| *number < 1 << 48)?;
    let bytes: Vec<String> = number.to_be_bytes()[2..].iter().map(|byte| format!("{byte:02x}")).collect();
    telling_mac(&bytes.join(":"))
}

/// Writes computers down, all of them or none. Gives their device ids.
pub fn add(app: &App, pattern: &Pattern, by: &str) -> Result<Vec<DeviceId>, EntryError> {
    let (lines, by, now) = (pattern.lines()?, by.to_owned(), app.clock.now());
    app.store.write_now(move |conn| lines.iter().map(|line| add_one(conn, line, &by, now)).collect())
}

fn add_one(conn: &mut Conn, line: &Line, by: &str, now: UnixTime) -> Result<DeviceId, EntryError> {
    let name = &line.entry.name;
    let exists = || EntryError::Exists(name.clone());
    if !merges::candidates(conn, KnownBy::Name(name))?.is_empty() {
        return Err(exists());
    }
    let device_id = device_id(name, now).ok_or_else(|| IdentityError::NotAName(name.clone()))?;
    let id = entered::add(conn, &device_id, &line.entry, now, by)?.ok_or_else(exists)?;
    if let Some(mac) = &line.mac {
        computers::set_networks(conn, id, &[Network { mac: mac.clone(), ..Network::default() }])?;
    }
    super::groups::evaluate(conn, id, now)?;
    Ok(device_id)
}

/// As an agent makes it: the host name and the moment.
fn device_id(name: &str, now: UnixTime) -> Option<DeviceId> {
    let moment = clock::utc_text(now);
    let digits: Vec<&str> = moment.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    format!("{name}-{}", digits.join("-")).parse().ok()
}

/// Computers that were written down and can only be this one: whatever was written of them is so, as far as the rule asks
/// for it.
pub(super) fn meant(conn: &mut Conn, new: &Computer, mask: Mask) -> Result<Vec<ComputerId>, StoreError> {
    if mask.0 == 0 || !entered::any(conn)? {
        return Ok(Vec::new());
    }
    // It is here now.
    entered::came(conn, new.id)?;
    let adapters = computers::networks(conn, new.id)?;
    let macs: Vec<String> = adapters.iter().filter_map(|adapter| telling_mac(&adapter.mac)).collect();
    let mut candidates = merges::candidates(conn, KnownBy::Name(&new.name))?;
    if telling(&new.serial) {
        candidates.extend(merges::candidates(conn, KnownBy::Serial(&new.serial))?);
    }
    for mac in &macs {
        candidates.extend(merges::candidates(conn, KnownBy::Mac(mac))?);
    }
    candidates.sort_unstable();
    candidates.dedup();
    candidates.retain(|id| *id != new.id);
    let mut meant = Vec::new();
    for id in entered::among(conn, &candidates)? {
        let Some(written) = computers::find(conn, id)? else { continue };
        let written_macs = computers::networks(conn, id)?;
        let written_mac = written_macs.iter().find_map(|adapter| telling_mac(&adapter.mac));
        if is_meant(&written, written_mac.as_deref(), new, &macs, mask) {
            meant.push(id);
        }
    }
    Ok(meant)
}

fn is_meant(written: &Computer, mac: Option<&str>, new: &Computer, macs: &[String], mask: Mask) -> bool {
    // Each fact that was written: is it so? What nobody wrote says nothing.
    let facts = [
        (Mask::NAME, Some(written.name.eq_ignore_ascii_case(&new.name))),
        (Mask::SERIAL, telling(&written.serial).then(|| written.serial == new.serial)),
        (Mask::MAC, mac.map(|mac| macs.iter().any(|other| other == mac))),
        (Mask::UUID, telling_uuid(&written.uuid).then(|| written.uuid == new.uuid)),
    ];
    let said: Vec<bool> = facts.iter().filter(|(bit, _)| mask.has(*bit)).filter_map(|(_, is_so)| *is_so).collect();
    !said.is_empty() && said.iter().all(|is_so| *is_so)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(count: u32, name: &str, serial: &str, mac: &str) -> Pattern {
        let text = str::to_owned;
        Pattern { count, first: 8, name: text(name), serial: text(serial), mac: text(mac), tag: String::new() }
    }

    #[test]
    fn a_pattern_is_counted_up() {
        let lines = pattern(3, "ws-###", "SN#A", "52:54:00:00:00:FE").lines().expect("three");
        let said: Vec<String> =
            lines.iter().map(|line| format!("{} {} {:?}", line.entry.name, line.entry.serial, line.mac)).collect();
        assert_eq!(
            said,
            [
                "ws-008 SN8A Some(\"52:54:00:00:00:fe\")",
                "ws-009 SN9A Some(\"52:54:00:00:00:ff\")",
                "ws-010 SN10A Some(\"52:54:00:00:01:00\")"
            ]
        );
        assert_eq!(pattern(1, "desk", "", "").lines().expect("one").len(), 1);
    }

    #[test]
    fn a_pattern_that_cannot_be_meant_gets_a_sentence() {
        for (wrong, part) in [
            (pattern(0, "ws-#", "", ""), "1 to 1000"),
            (pattern(1001, "ws-#", "", ""), "1 to 1000"),
            (pattern(2, "ws", "", ""), "names 2 computers the same"),
            (pattern(2, "ws-#", "ABC", ""), "serial number of 2"),
            (pattern(1, "ws", "To be filled by O.E.M.", ""), "says nothing"),
            (pattern(1, "a b", "", ""), "not a host name"),
            (pattern(1, "ws", "", "52:54"), "not a MAC address"),
            (pattern(3, "ws-#", "", "ff:ff:ff:ff:ff:fe"), "not a MAC address"),
        ] {
            let sentence = wrong.lines().expect_err("refused").to_string();
            assert!(sentence.contains(part), "{sentence}");
        }
    }

    #[test]
    fn a_device_id_is_made_of_name_and_moment() {
        let id = device_id("ws-1", UnixTime::from_seconds(1_795_168_800)).expect("one");
        assert_eq!(id.as_str(), "ws-1-2026-11-20-10-00-00");
    }
}
