//! A managed machine and the name it calls itself on the wire.

use std::fmt;
use std::str::FromStr;

use super::{OsFamily, UnixTime};

/// Why a device id was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("\"{0}\" is not a device id: expected NAME-YYYY-MM-DD-HH-MM-SS")]
pub struct InvalidDeviceId(String);

/// `DEVICEID`: `<host name>-YYYY-MM-DD-HH-MM-SS`, made once by the agent (ocs-protocol 3.1).
///
/// Only the digits' places are checked, as the stock server does; the month may be 99. At most 255 bytes, because that
/// is what the stock console's column holds, and no control characters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeviceId(String);

impl DeviceId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host name in it.
    pub fn host(&self) -> &str {
        &self.0[..self.0.len() - "-YYYY-MM-DD-HH-MM-SS".len()]
    }
}

impl FromStr for DeviceId {
    type Err = InvalidDeviceId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &[u8; 20] = b"-dddd-dd-dd-dd-dd-dd";
        let bytes = text.as_bytes();
        let invalid = || InvalidDeviceId(text.chars().take(80).collect());
        if bytes.len() <= SHAPE.len() || bytes.len() > 255 || text.chars().any(char::is_control) {
            return Err(invalid());
        }
        let tail = &bytes[bytes.len() - SHAPE.len()..];
        let fits = tail.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        });
        if fits { Ok(Self(text.to_owned())) } else { Err(invalid()) }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A computer's number in the store.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ComputerId(pub i64);

impl fmt::Display for ComputerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A group's number in the store.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupId(pub i64);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The public half of the key by which a computer's agent proves who it is (docs/decisions/0720).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentKey {
    /// Ed25519, 64 hexadecimal digits.
    pub key: String,
    /// When it was taken for the computer.
    pub since: UnixTime,
}

impl AgentKey {
    /// The digits that people compare: the first 16.
    pub fn fingerprint(&self) -> &str {
        self.key.get(..16).unwrap_or(&self.key)
    }
}

/// A managed machine, as its last inventory described it. Empty text is "not said".
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Computer {
    /// Its number in the store.
    pub id: ComputerId,
    /// Its name on the wire.
    pub device_id: DeviceId,
    /// `HARDWARE/NAME`.
    pub name: String,
    /// `HARDWARE/OSNAME`.
    pub os_name: String,
    /// `HARDWARE/OSVERSION`.
    pub os_version: String,
    /// `HARDWARE/ARCH`, or what the inventory says of the processor.
    pub architecture: String,
    /// The address that its inventory arrived from if it is one of its own, else `HARDWARE/IPADDR`.
    pub ip_address: String,
    /// The address that its last message arrived from.
    pub peer_address: String,
    /// `HARDWARE/USERID`.
    pub user_name: String,
    /// `BIOS/SSN`.
    pub serial: String,
    /// `BIOS/SMANUFACTURER` and `BIOS/SMODEL`.
    pub model: String,
    /// `HARDWARE/UUID`.
    pub uuid: String,
    /// `HARDWARE/WORKGROUP`.
    pub workgroup: String,
    /// `ACCOUNTINFO` TAG.
    pub tag: String,
    /// The agent's `User-Agent`.
    pub user_agent: String,
    /// When it was first heard of.
    pub first_contact: UnixTime,
    /// When it last said anything.
    pub last_contact: UnixTime,
    /// When its last inventory came.
    pub last_inventory: Option<UnixTime>,
    /// When it was put away, by hand or because another computer is its successor.
    pub archived_at: Option<UnixTime>,
    /// The key that its messages have to be signed with; `None` if it is known by its name alone.
    pub agent_key: Option<AgentKey>,
}

impl Computer {
    /// What its messages are believed for, in a word for programs.
    pub fn proven_by(&self) -> &'static str {
        if self.agent_key.is_some() { "key" } else { "name" }
    }

    /// The family of its operating system, when that can be told.
    pub fn os_family(&self) -> Option<OsFamily> {
        OsFamily::guess(&self.os_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_ends_in_a_time() {
        let id: DeviceId = "ws-042-2024-03-05-09-10-11".parse().expect("a device id");
        assert_eq!(id.host(), "ws-042");
        for wrong in [
            "",
            "-2024-03-05-09-10-11",
            "ws042",
            "ws042-2024-03-05",
            "ws042-2024-03-05-09-10-1x",
            "ws042-2024-03-05-09-10-11 ",
            "a\n-2024-03-05-09-10-11",
            "ws042_2024-03-05-09-10-11",
        ] {
            assert!(wrong.parse::<DeviceId>().is_err(), "{wrong:?} was taken");
        }
        assert!(format!("{}-2024-03-05-09-10-11", "x".repeat(300)).parse::<DeviceId>().is_err());
        assert_eq!("größe-2024-03-05-09-10-11".parse::<DeviceId>().expect("utf-8").host(), "größe");
    }
}
