//! INVENTORY: what a computer is (ocs-protocol 2.2, 2.4).

use super::ReplyError;
use crate::model::{DeviceId, PackageId};

/// `QUERY` INVENTORY: the part that the server reads. The document itself is kept as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InventoryRequest {
    /// Who.
    pub device_id: DeviceId,
    /// What the searchable columns hold.
    pub facts: ComputerFacts,
    /// NETWORKS with an address or a MAC.
    pub networks: Vec<Network>,
    /// DOWNLOAD/HISTORY/PACKAGE; `None` when the block is absent. Ids that are no package ids are left out.
    pub history: Option<Vec<PackageId>>,
    /// ACCOUNTINFO.
    pub account: Vec<AccountField>,
}

/// The facts of HARDWARE and BIOS by which people search. Empty text is "not said".
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ComputerFacts {
    /// HARDWARE/NAME.
    pub name: String,
    /// HARDWARE/OSNAME.
    pub os_name: String,
    /// HARDWARE/OSVERSION.
    pub os_version: String,
    /// HARDWARE/ARCH, else the first CPUS/CPUARCH.
    pub architecture: String,
    /// HARDWARE/IPADDR.
    pub ip_address: String,
    /// HARDWARE/USERID.
    pub user_name: String,
    /// HARDWARE/WORKGROUP.
    pub workgroup: String,
    /// HARDWARE/UUID.
    pub uuid: String,
    /// BIOS/SSN.
    pub serial: String,
    /// BIOS/SMANUFACTURER and SMODEL, with a blank between.
    pub model: String,
    /// ACCOUNTINFO TAG.
    pub tag: String,
}

/// One of NETWORKS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Network {
    /// IPADDRESS.
    pub ip_address: String,
    /// MACADDR, as it came.
    pub mac: String,
}

/// One of ACCOUNTINFO.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountField {
    /// KEYNAME.
    pub key: String,
    /// KEYVALUE.
    pub value: String,
}

/// The inventory that our agent writes: sections of leaves, in the stock agent's form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InventoryDocument {
    /// Who.
    pub device_id: DeviceId,
    /// HARDWARE, BIOS and the others; several of one name are several elements.
    pub sections: Vec<Section>,
    /// DOWNLOAD/HISTORY.
    pub history: Vec<PackageId>,
    /// ACCOUNTINFO.
    pub account: Vec<AccountField>,
}

/// One element of CONTENT with its leaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Section {
    /// `HARDWARE`, `SOFTWARES` …
    pub name: &'static str,
    /// Leaf and text; empty texts are left out.
    pub fields: Vec<(&'static str, String)>,
}

impl InventoryDocument {
    /// The document, sections sorted by name, leaves as they stand.
    pub fn to_xml(&self) -> String {
        todo!()
    }
}

/// The answer to an inventory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InventoryReply {
    /// Nothing to correct.
    NoAccountUpdate,
    /// The server's values; the agent keeps them.
    AccountUpdate(Vec<AccountField>),
}

impl InventoryReply {
    /// The document.
    pub fn to_xml(&self) -> String {
        todo!()
    }

    /// Reads any server's reply.
    pub fn parse(document: &[u8]) -> Result<Self, ReplyError> {
        let _ = document;
        todo!()
    }
}
