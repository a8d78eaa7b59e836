//! INVENTORY: what a computer is (ocs-protocol 2.2, 2.4).

use std::collections::HashSet;

use super::ReplyError;
use super::prolog::reply;
use super::xml::{Element, Place, push_attribute, push_end, push_indent, push_leaf, push_open};
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
///
/// Trimmed, and at most 255 characters each, which is what the stock server's columns hold.
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

impl InventoryRequest {
    pub(super) fn read(device_id: DeviceId, root: &Element) -> Self {
        let nothing = Element::default();
        let content = root.child("CONTENT").unwrap_or(&nothing);
        let account: Vec<AccountField> = content.children_named("ACCOUNTINFO").filter_map(AccountField::read).collect();
        let account: Vec<AccountField> = account
            .into_iter()
            .map(|AccountField { key, value }| AccountField { key: fit(&key), value: fit(&value) })
            .collect();
        Self {
            device_id,
            facts: ComputerFacts::read(content, &account),
            networks: content.children_named("NETWORKS").filter_map(Network::read).collect(),
            history: content.child("DOWNLOAD").and_then(|download| download.child("HISTORY")).map(history),
            account,
        }
    }
}

/// Every package once, in the order of the document.
fn history(history: &Element) -> Vec<PackageId> {
    let mut seen = HashSet::new();
    let packages = history.children_named("PACKAGE").filter_map(|package| package.value("ID")?.trim().parse().ok());
    packages.filter(|package| seen.insert(*package)).collect()
}

impl ComputerFacts {
    fn read(content: &Element, account: &[AccountField]) -> Self {
        let fact = |section, name| {
            content.child(section).and_then(|section| section.value(name)).map(column).unwrap_or_default()
        };
        let processor = || content.children_named("CPUS").find_map(|cpu| cpu.value("CPUARCH")).map(column);
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let model = format!("{} {}", fact("BIOS", "SMANUFACTURER"), fact("BIOS", "SMODEL"));
        Self {
            name: fact("HARDWARE", "NAME"),
            os_name: fact("HARDWARE", "OSNAME"),
            os_version: fact("HARDWARE", "OSVERSION"),
            architecture: said(fact("HARDWARE", "ARCH")).or_else(processor).unwrap_or_default(),
            ip_address: fact("HARDWARE", "IPADDR"),
            user_name: fact("HARDWARE", "USERID"),
            workgroup: fact("HARDWARE", "WORKGROUP"),
            uuid: fact("HARDWARE", "UUID"),
            serial: fact("BIOS", "SSN"),
            model: column(&model),
            tag: account.iter().find(|field| field.key == "TAG").map(|field| column(&field.value)).unwrap_or_default(),
        }
    }
}

impl Network {
    fn read(section: &Element) -> Option<Self> {
        let fact = |name| section.value(name).map(column).unwrap_or_default();
        let network = Self { ip_address: fact("IPADDRESS"), mac: fact("MACADDR") };
        (network != Self::default()).then_some(network)
    }
}

impl AccountField {
    fn read(section: &Element) -> Option<Self> {
        let key = section.value("KEYNAME").filter(|key| !key.is_empty())?.to_owned();
        Some(Self { key, value: section.verbatim("KEYVALUE").unwrap_or_default().to_owned() })
    }

    fn push(&self, out: &mut String, depth: usize) {
        push_open(out, depth, "ACCOUNTINFO");
        push_leaf(out, depth + 1, "KEYNAME", &self.key);
        push_leaf(out, depth + 1, "KEYVALUE", &self.value);
        push_end(out, depth, "ACCOUNTINFO");
    }
}

/// A text as a searchable column holds it.
pub(super) fn column(text: &str) -> String {
    fit(text.trim())
}

/// The first 255 characters: what the stock server's columns hold.
fn fit(text: &str) -> String {
    text.chars().take(255).collect()
}

impl InventoryDocument {
    /// The document, sections sorted by name, leaves as they stand.
    pub fn to_xml(&self) -> String {
        /// What stands in CONTENT under one name.
        enum Part<'a> {
            Section(&'a Section),
            Account(&'a AccountField),
            History(&'a [PackageId]),
        }
        let sections = self.sections.iter().map(|section| (section.name, Part::Section(section)));
        let account = self.account.iter().map(|field| ("ACCOUNTINFO", Part::Account(field)));
        let history = [("DOWNLOAD", Part::History(&self.history))];
        let mut parts: Vec<(&str, Part<'_>)> = sections.chain(account).chain(history).collect();
        parts.sort_by_key(|(name, _)| *name);

        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REQUEST>\n");
        push_open(&mut out, 1, "CONTENT");
        for (name, part) in parts {
            match part {
                Part::Account(field) => field.push(&mut out, 2),
                Part::Section(section) => {
                    push_open(&mut out, 2, name);
                    for (field, text) in section.fields.iter().filter(|(_, text)| !text.is_empty()) {
                        push_leaf(&mut out, 3, field, text);
                    }
                    push_end(&mut out, 2, name);
                }
                Part::History(packages) => {
                    push_open(&mut out, 2, name);
                    push_open(&mut out, 3, "HISTORY");
                    for package in packages {
                        push_indent(&mut out, 4);
                        out.push_str("<PACKAGE");
                        push_attribute(&mut out, "ID", &package.to_string(), Place::Attribute);
                        out.push_str(" />\n");
                    }
                    push_end(&mut out, 3, "HISTORY");
                    push_end(&mut out, 2, name);
                }
            }
        }
        push_end(&mut out, 1, "CONTENT");
        push_leaf(&mut out, 1, "DEVICEID", self.device_id.as_str());
        push_leaf(&mut out, 1, "QUERY", "INVENTORY");
        out.push_str("</REQUEST>\n");
        out
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
        let (word, fields) = match self {
            Self::NoAccountUpdate => ("NO_ACCOUNT_UPDATE", [].as_slice()),
            Self::AccountUpdate(fields) => (ACCOUNT_UPDATE, fields.as_slice()),
        };
        let mut out = String::from("<?xml version='1.0' encoding='UTF-8'?>\n<REPLY>\n");
        push_leaf(&mut out, 1, "RESPONSE", word);
        fields.iter().for_each(|field| field.push(&mut out, 1));
        out.push_str("</REPLY>\n");
        out
    }

    /// Reads any server's reply. Any other answer than `ACCOUNT_UPDATE` leaves the agent's values as they are.
    pub fn parse(document: &[u8]) -> Result<Self, ReplyError> {
        let root = reply(document)?;
        if root.value("RESPONSE") != Some(ACCOUNT_UPDATE) {
            return Ok(Self::NoAccountUpdate);
        }
        Ok(Self::AccountUpdate(root.children_named("ACCOUNTINFO").filter_map(AccountField::read).collect()))
    }
}

const ACCOUNT_UPDATE: &str = "ACCOUNT_UPDATE";
