//! OPTION REGISTRY and OPTION IPDISCOVER: what the server wants to know besides (ocs-protocol 2.1).

use std::net::Ipv4Addr;

use super::xml::{Element, Place, push_attribute, push_end, push_escaped, push_indent, push_leaf, push_open};
use crate::model::RegistryQuery;

/// `OPTION` NAME=IPDISCOVER: look who else is in this network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IpDiscover {
    /// The network's address, as the agent itself writes it in NETWORKS.
    pub network: Ipv4Addr,
    /// `IPDISC_LAT`: milliseconds between two addresses.
    pub latency: u32,
}

/// `SCAN_TYPE_IPDISCOVER`, which agents from 2.9 on read; others send ARP requests anyhow.
const SCAN_TYPE: &str = "ICMP";
/// `SCAN_ARP_BANDWIDTH`, kilobits per second; read with another scan type only, and always sent by the stock server.
const ARP_BANDWIDTH: &str = "256";

impl IpDiscover {
    pub(super) fn push(self, out: &mut String) {
        push_open(out, 1, "OPTION");
        push_leaf(out, 2, "NAME", "IPDISCOVER");
        push_indent(out, 2);
        out.push_str("<PARAM");
        push_attribute(out, "IPDISC_LAT", &self.latency.to_string(), Place::Attribute);
        push_attribute(out, "SCAN_TYPE_IPDISCOVER", SCAN_TYPE, Place::Attribute);
        push_attribute(out, "SCAN_ARP_BANDWIDTH", ARP_BANDWIDTH, Place::Attribute);
        out.push('>');
        push_escaped(out, &self.network.to_string(), Place::Text);
        out.push_str("</PARAM>\n");
        push_end(out, 1, "OPTION");
    }

    /// `None` without an address. Very old agents are told the latency nowhere; 100 is what the stock server has.
    pub(super) fn read(root: &Element) -> Option<Self> {
        let param = params(root, "IPDISCOVER").next()?;
        Some(Self {
            network: param.text.trim().parse().ok()?,
            latency: param.value("IPDISC_LAT").and_then(|text| text.trim().parse().ok()).unwrap_or(100),
        })
    }
}

/// `OPTION` NAME=REGISTRY below `REPLY`; nothing without questions.
pub(super) fn push_registry(queries: &[RegistryQuery], out: &mut String) {
    if queries.is_empty() {
        return;
    }
    push_open(out, 1, "OPTION");
    push_leaf(out, 2, "NAME", "REGISTRY");
    for query in queries {
        push_indent(out, 2);
        out.push_str("<PARAM");
        push_attribute(out, "NAME", query.name(), Place::Attribute);
        push_attribute(out, "REGTREE", &query.tree().number().to_string(), Place::Attribute);
        push_attribute(out, "REGKEY", query.key(), Place::Attribute);
        out.push('>');
        push_escaped(out, query.value(), Place::Text);
        out.push_str("</PARAM>\n");
    }
    push_end(out, 1, "OPTION");
}

/// Questions that can be asked; others are passed over.
pub(super) fn read_registry(root: &Element) -> Vec<RegistryQuery> {
    let read = |param: &Element| {
        let tree = param.value("REGTREE")?.trim().parse().ok()?;
        RegistryQuery::new(param.value("NAME")?, tree, param.value("REGKEY")?, &param.text).ok()
    };
    params(root, "REGISTRY").filter_map(read).collect()
}

fn params<'a>(root: &'a Element, name: &'a str) -> impl Iterator<Item = &'a Element> {
    let options = root.children_named("OPTION").filter(move |option| option.value("NAME") == Some(name));
    options.flat_map(|option| option.children_named("PARAM"))
}

#[cfg(test)]
mod tests {
    use super::super::xml;
    use super::*;
    use crate::model::RegistryTree;
    use crate::model::limits::RequestLimits;

    #[test]
    fn both_options_are_written_as_agents_read_them() {
        let mut out = String::from("<REPLY>\n");
        let query =
            |name, key, value| RegistryQuery::new(name, RegistryTree::LocalMachine, key, value).expect("a question");
        push_registry(&[query("a & b", r"SOFTWARE\Exa<mple", "*"), query("c", "k", "v \"w\"")], &mut out);
        IpDiscover { network: Ipv4Addr::new(10, 1, 2, 0), latency: 250 }.push(&mut out);
        insta::assert_snapshot!(out, @r#"
        <REPLY>
          <OPTION>
            <NAME>REGISTRY</NAME>
            <PARAM NAME="a &amp; b" REGTREE="2" REGKEY="SOFTWARE\Exa&lt;mple">*</PARAM>
            <PARAM NAME="c" REGTREE="2" REGKEY="k">v "w"</PARAM>
          </OPTION>
          <OPTION>
            <NAME>IPDISCOVER</NAME>
            <PARAM IPDISC_LAT="250" SCAN_TYPE_IPDISCOVER="ICMP" SCAN_ARP_BANDWIDTH="256">10.1.2.0</PARAM>
          </OPTION>
        "#);
    }

    #[test]
    fn what_cannot_be_asked_is_passed_over() {
        let document = "<REPLY><OPTION><NAME>REGISTRY</NAME><PARAM NAME='x' REGTREE='9' REGKEY='k'>v</PARAM>
            <PARAM NAME='y' REGTREE='0' REGKEY='k'/><PARAM NAME='z' REGTREE='0' REGKEY='k'>v</PARAM></OPTION>
            <OPTION><NAME>IPDISCOVER</NAME><PARAM>everywhere</PARAM></OPTION></REPLY>";
        let root = xml::parse(document.as_bytes(), &RequestLimits::DEFAULT).expect("well-formed");
        assert_eq!(read_registry(&root).iter().map(RegistryQuery::name).collect::<Vec<_>>(), ["z"]);
        assert_eq!(IpDiscover::read(&root), None);
    }
}
