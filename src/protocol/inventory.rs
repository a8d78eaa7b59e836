//! INVENTORY: what a computer is (ocs-protocol 2.2, 2.4).

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;

use super::ReplyError;
use super::prolog::reply;
use super::xml::{
    Element, Place, Rules, XmlError, parse_with, push_attribute, push_end, push_indent, push_leaf, push_open,
};
use crate::model::limits::RequestLimits;
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
    /// `OLD_DEVICEID`: who this agent was before it took another name.
    pub old_device_id: Option<DeviceId>,
    /// SOFTWARES, each title once.
    pub software: Vec<SoftwareTitle>,
    /// IPDISCOVER/H: what it saw in the network that it was told to look round in; at most [`Discovered::MOST`].
    pub discovered: Vec<Discovered>,
    /// The other sections of ocs-protocol 2.4, sorted by name; not ACCOUNTINFO, DOWNLOAD and what only ever changes.
    pub sections: Vec<SectionFacts>,
}

/// One of SOFTWARES, in as much as titles are told apart by it. Trimmed, at most 255 characters each.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SoftwareTitle {
    /// NAME; never empty.
    pub name: String,
    /// PUBLISHER.
    pub publisher: String,
    /// VERSION.
    pub version: String,
}

/// What an inventory says in all elements of one name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SectionFacts {
    /// `DRIVES` …
    pub name: String,
    /// Each element's leaves and texts, at most 255 characters each, sorted by name; without those that change by
    /// themselves ([`changes_by_itself`]).
    pub entries: Vec<Vec<(String, String)>>,
}

/// Is that leaf of a section another at nearly every inventory, though nothing was done to the computer?
///
/// ```
/// use dripfeed::protocol::changes_by_itself;
///
/// assert!(changes_by_itself("DRIVES", "FREE"));
/// assert!(!changes_by_itself("DRIVES", "TOTAL"));
/// ```
pub fn changes_by_itself(section: &str, field: &str) -> bool {
    match section {
        "HARDWARE" => {
            matches!(
                field,
                // DESCRIPTION is the stock agent's place for the uptime, PROCESSORS the present clock rate.
                "CHECKSUM" | "DATELASTLOGGEDUSER" | "DESCRIPTION" | "ETIME" | "LASTDATE" | "PROCESSORS"
            )
        }
        "DRIVES" => matches!(field, "FREE" | "NUMFILES"),
        "CPUS" => matches!(field, "CURRENT_SPEED" | "SPEED" | "VOLTAGE"),
        "BATTERIES" => matches!(field, "CYCLES" | "ESTIMATEDCHARGEREMAINING" | "STATUS"),
        _ => false,
    }
}

/// Sections that are not compared and not searched: run-time data, and what has a place of its own.
pub const NOT_COMPARED: [&str; 8] =
    ["ACCOUNTINFO", "DOWNLOAD", "IPDISCOVER", "JOURNALLOG", "PROCESS", "PROCESSES", "RUNNINGPROCESSES", "SOFTWARES"];

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
    /// IPSUBNET.
    pub subnet: String,
    /// IPMASK.
    pub mask: String,
}

/// One of IPDISCOVER/H: somebody who answered.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Discovered {
    /// I.
    pub ip_address: String,
    /// M.
    pub mac: String,
    /// N; `-` and nothing say nothing.
    pub name: String,
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
            old_device_id: old_device_id(root, content),
            software: software(content),
            discovered: discovered(content),
            sections: sections(content),
        }
    }
}

/// `OLD_DEVICEID` of the request, else of the content, else of DOWNLOAD/HISTORY, where the stock Unix agent writes it.
fn old_device_id(root: &Element, content: &Element) -> Option<DeviceId> {
    let history = || content.child("DOWNLOAD").and_then(|download| download.child("HISTORY"));
    let named = |element: &Element| element.value("OLD_DEVICEID").and_then(|id| id.trim().parse().ok());
    named(root).or_else(|| named(content)).or_else(|| history().and_then(named))
}

/// Every title once, sorted. One without a name says nothing.
fn software(content: &Element) -> Vec<SoftwareTitle> {
    let title = |section: &Element| {
        let fact = |name| section.value(name).map(column).unwrap_or_default();
        let title = SoftwareTitle { name: fact("NAME"), publisher: fact("PUBLISHER"), version: fact("VERSION") };
        (!title.name.is_empty()).then_some(title)
    };
    let mut titles: Vec<SoftwareTitle> = content.children_named("SOFTWARES").filter_map(title).collect();
    titles.sort_unstable();
    titles.dedup();
    titles
}

/// Each address once, sorted.
fn discovered(content: &Element) -> Vec<Discovered> {
    let blocks = content.children_named("IPDISCOVER");
    let hosts = blocks.flat_map(|block| block.children_named("H")).filter_map(Discovered::read);
    let mut found: Vec<Discovered> = hosts.take(Discovered::MOST).collect();
    found.sort_unstable();
    found.dedup_by(|a, b| a.ip_address == b.ip_address && a.mac == b.mac);
    found
}

fn sections(content: &Element) -> Vec<SectionFacts> {
    let mut sections: BTreeMap<&str, Vec<Vec<(String, String)>>> = BTreeMap::new();
    for element in content.children.iter().filter(|element| !NOT_COMPARED.contains(&element.name.as_str())) {
        let attributes = element.attributes.iter().map(|(name, text)| (name, text));
        let leaves = element.children.iter().map(|leaf| (&leaf.name, &leaf.text));
        let mut facts: Vec<(String, String)> = attributes
            .chain(leaves)
            .filter(|(name, _)| !changes_by_itself(&element.name, name))
            .map(|(name, text)| (fit(name), column(text)))
            .filter(|(_, text)| !text.is_empty())
            .collect();
        facts.sort_unstable();
        if !facts.is_empty() {
            sections.entry(&element.name).or_default().push(facts);
        }
    }
    sections.into_iter().map(|(name, entries)| SectionFacts { name: fit(name), entries }).collect()
}

/// The sections of an inventory that was taken before, those that are compared: the rest of it is not kept while it is read.
pub fn sections_of(document: &[u8], limits: &RequestLimits) -> Result<Vec<SectionFacts>, XmlError> {
    let compared = |open: &[Element], name: &str| match open {
        [_] => name == "CONTENT",
        [_, _] => !NOT_COMPARED.contains(&name),
        _ => true,
    };
    let root = parse_with(document, limits, &Rules { keep: compared, ..Rules::ALL })?;
    Ok(root.child("CONTENT").map(sections).unwrap_or_default())
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
        let network = Self {
            ip_address: fact("IPADDRESS"),
            mac: fact("MACADDR"),
            subnet: fact("IPSUBNET"),
            mask: fact("IPMASK"),
        };
        let named = !network.ip_address.is_empty() || !network.mac.is_empty();
        named.then_some(network)
    }
}

impl Network {
    /// The network that it is in, as far as somebody could look round there: its address as the agent writes it, and its
    /// mask. `None` for loopback, IPv6 and what is no network.
    pub fn surroundings(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let mask: Ipv4Addr = self.mask.parse().ok()?;
        let own: Ipv4Addr = self.ip_address.parse().ok()?;
        let network: Ipv4Addr = self.subnet.parse().ok()?;
        let usable = !network.is_loopback()
            && !network.is_unspecified()
            && mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() >= 32
            && own.to_bits() & mask.to_bits() == network.to_bits();
        usable.then_some((network, mask))
    }
}

impl Discovered {
    /// As many are read of one inventory: all of a network of a thousand addresses four times over.
    pub const MOST: usize = 4096;

    /// `None` without an IPv4 address or without a MAC: of such a one nothing could be said.
    fn read(host: &Element) -> Option<Self> {
        let fact = |name| host.value(name).map(column).unwrap_or_default();
        let address: Ipv4Addr = fact("I").parse().ok()?;
        let mac = fact("M").to_ascii_uppercase().replace('-', ":");
        let digits = mac.bytes().filter(u8::is_ascii_hexdigit).count();
        let usable = mac.len() == 17 && digits == 12 && mac != "00:00:00:00:00:00";
        let name = Some(fact("N")).filter(|name| name != "-").unwrap_or_default();
        usable.then(|| Self { ip_address: address.to_string(), mac, name })
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
    const WIDTH: usize = 255;
    // Nearly every text is shorter, in bytes already.
    let end = if text.len() <= WIDTH { None } else { text.char_indices().nth(WIDTH) };
    text[..end.map_or(text.len(), |(end, _)| end)].to_owned()
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
        for field in fields {
            field.push(&mut out, 1);
        }
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

#[cfg(test)]
mod tests {
    use super::super::Request;
    use super::*;

    #[test]
    fn a_text_is_cut_after_255_characters_however_many_bytes_they_have() {
        for letter in ["a", "é", "漢", "🦀"] {
            for length in [0, 64, 254, 255, 256, 1000] {
                let cut = fit(&letter.repeat(length));
                assert_eq!(cut, letter.repeat(length.min(255)), "{length} of {letter}");
            }
        }
    }

    fn document(content: &str) -> String {
        format!("<REQUEST><QUERY>INVENTORY</QUERY><DEVICEID>pc-2024-03-05-09-10-11</DEVICEID>{content}</REQUEST>")
    }

    fn read(content: &str) -> InventoryRequest {
        match Request::parse(document(content).as_bytes(), &RequestLimits::DEFAULT) {
            Ok(Request::Inventory(inventory)) => *inventory,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_sections_of_a_stored_inventory_are_those_that_were_read() {
        let content = "<CONTENT><HARDWARE NAME='pc'><UUID>1</UUID></HARDWARE><SOFTWARES><NAME>vim</NAME></SOFTWARES>\
                       <PROCESSES><NAME>init</NAME></PROCESSES><BIOS><SSN>7</SSN></BIOS></CONTENT>";
        let found = sections_of(document(content).as_bytes(), &RequestLimits::DEFAULT).expect("well-formed");
        assert_eq!(found, read(content).sections);
        assert_eq!(found.iter().map(|section| section.name.as_str()).collect::<Vec<_>>(), ["BIOS", "HARDWARE"]);
        assert!(sections_of(b"<REQUEST>", &RequestLimits::DEFAULT).is_err());
    }

    #[test]
    fn an_inventory_of_nothing_is_one() {
        for content in ["", "<CONTENT/>", "<CONTENT><HARDWARE/><BIOS></BIOS><NETWORKS/><DOWNLOAD/></CONTENT>"] {
            let inventory = read(content);
            assert_eq!(inventory.facts, ComputerFacts::default(), "{content}");
            assert_eq!((inventory.networks, inventory.history, inventory.account), (vec![], None, vec![]), "{content}");
        }
    }

    #[test]
    fn facts_are_trimmed_and_fit_their_columns() {
        let long = "x".repeat(300);
        let facts = read(&format!(
            "<CONTENT><HARDWARE><NAME> pc </NAME><USERID>{long}</USERID><ARCH/></HARDWARE>
             <BIOS><SMODEL>Model 7</SMODEL><SSN>&#65;1 </SSN></BIOS>
             <CPUS><TYPE>x</TYPE></CPUS><CPUS><CPUARCH>arm64</CPUARCH></CPUS>
             <ACCOUNTINFO><KEYNAME>TAG</KEYNAME><KEYVALUE> Paris</KEYVALUE></ACCOUNTINFO></CONTENT>"
        ))
        .facts;
        assert_eq!((&*facts.name, facts.user_name.len(), &*facts.model), ("pc", 255, "Model 7"));
        assert_eq!((&*facts.serial, &*facts.architecture, &*facts.tag), ("A1", "arm64", "Paris"));
    }

    #[test]
    fn account_values_are_kept_as_they_are() {
        let account = read(
            "<CONTENT><ACCOUNTINFO KEYNAME='A' KEYVALUE=' 1 '/><ACCOUNTINFO><KEYNAME>B</KEYNAME><KEYVALUE/></ACCOUNTINFO>
             <ACCOUNTINFO><KEYNAME/><KEYVALUE>lost</KEYVALUE></ACCOUNTINFO></CONTENT>",
        )
        .account;
        let fields: Vec<(&str, &str)> = account.iter().map(|field| (&*field.key, &*field.value)).collect();
        assert_eq!(fields, [("A", " 1 "), ("B", "")]);
    }

    #[test]
    fn a_history_names_each_package_once_and_only_packages() {
        let history = read(
            "<CONTENT><DOWNLOAD><HISTORY><OLD_DEVICEID>x</OLD_DEVICEID><PACKAGE ID='7'/><PACKAGE ID='x'/><PACKAGE/>
             <PACKAGE><ID>8</ID></PACKAGE><PACKAGE ID='7'/><PACKAGE ID=''/></HISTORY></DOWNLOAD></CONTENT>",
        )
        .history;
        let ids: Option<Vec<u32>> = history.map(|packages| packages.iter().map(|id| id.number()).collect());
        assert_eq!(ids, Some(vec![7, 8]));
        assert_eq!(read("<CONTENT><DOWNLOAD><HISTORY/></DOWNLOAD></CONTENT>").history, Some(vec![]));
    }

    #[test]
    fn only_the_exact_word_changes_an_agents_account() {
        let reply = |word: &str| {
            let document = format!(
                "<REPLY><RESPONSE>{word}</RESPONSE><ACCOUNTINFO><KEYNAME>TAG</KEYNAME><KEYVALUE/></ACCOUNTINFO></REPLY>"
            );
            InventoryReply::parse(document.as_bytes()).expect("a reply")
        };
        let field = AccountField { key: "TAG".to_owned(), value: String::new() };
        assert_eq!(reply("ACCOUNT_UPDATE"), InventoryReply::AccountUpdate(vec![field]));
        assert_eq!(reply("NO_ACCOUNT_UPDATE"), InventoryReply::NoAccountUpdate);
        assert_eq!(reply("BAD_CONTENT"), InventoryReply::NoAccountUpdate);
    }
}
