//! OPTION DOWNLOAD: the agent's pace and the packages that it may fetch (ocs-protocol 4).

use std::collections::HashSet;

use super::xml::{self, Element, Place, XmlError, cut, push_attribute, push_end, push_indent, push_leaf, push_open};
use crate::model::limits::RequestLimits;
use crate::model::settings::DownloadSettings;
use crate::model::{Days, Location, Minutes, PackageId, PostCommand, Schedule};

/// `OPTION` NAME=DOWNLOAD.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DownloadOption {
    /// `PARAM` TYPE=CONF.
    pub settings: DownloadSettings,
    /// `PARAM` TYPE=PACK, each.
    pub offers: Vec<Offer>,
}

/// One package named to an agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// `ID`.
    pub package: PackageId,
    /// `INFO_LOC`.
    pub info_location: Location,
    /// `PACK_LOC`.
    pub fragment_location: Location,
    /// `SCHEDULE`; empty or unreadable is none.
    pub schedule: Option<Schedule>,
    /// `POSTCMD`; empty or `NONE` is none.
    pub post_command: Option<PostCommand>,
    /// `FORCE`.
    pub force: bool,
}

impl DownloadOption {
    /// `OPTION` below `REPLY`: CONF first, with all its attributes; then every package with all of its.
    pub(super) fn push(&self, out: &mut String) {
        push_open(out, 1, "OPTION");
        push_leaf(out, 2, "NAME", "DOWNLOAD");
        push_indent(out, 2);
        out.push_str("<PARAM TYPE=\"CONF\"");
        for (name, value) in conf_attributes(&self.settings) {
            push_attribute(out, name, &value.to_string(), Place::Attribute);
        }
        out.push_str(" />\n");
        self.offers.iter().for_each(|offer| offer.push(out));
        push_end(out, 1, "OPTION");
    }

    /// The option of that name, if the reply has it.
    pub(super) fn read(root: &Element) -> Option<Self> {
        let option = root.children_named("OPTION").find(|option| option.value("NAME") == Some("DOWNLOAD"))?;
        let params = |word| {
            option.children_named("PARAM").filter(move |param| match param.value("TYPE") {
                Some(kind) => kind == word,
                // Windows agents do not look at TYPE but at what else is there.
                None => (word == "PACK") == param.value("ID").is_some(),
            })
        };
        let settings = params("CONF").next().map_or_else(|| read_conf(&Element::default()), read_conf);
        let mut named = HashSet::new();
        let offers = params("PACK").filter_map(Offer::read).filter(|offer| named.insert(offer.package)).collect();
        Some(Self { settings, offers })
    }
}

impl Offer {
    fn push(&self, out: &mut String) {
        push_indent(out, 2);
        out.push_str("<PARAM TYPE=\"PACK\"");
        let mut attribute = |name, value: &str| push_attribute(out, name, value, Place::Attribute);
        attribute("ID", &self.package.to_string());
        attribute("INFO_LOC", self.info_location.as_str());
        attribute("PACK_LOC", self.fragment_location.as_str());
        // Agents read these two and use them for nothing; the stock server always sends them.
        attribute("CERT_PATH", "INSTALL_PATH");
        attribute("CERT_FILE", "INSTALL_PATH/cacert.pem");
        attribute("SCHEDULE", self.schedule.as_ref().map_or("", Schedule::as_str));
        attribute("POSTCMD", self.post_command.as_ref().map_or("", PostCommand::as_str));
        attribute("FORCE", if self.force { "1" } else { "0" });
        out.push_str(" />\n");
    }

    /// `None` if nothing can be fetched: no package id or no usable location.
    fn read(param: &Element) -> Option<Self> {
        let value = |name| param.value(name).map(str::trim).filter(|value| !value.is_empty());
        let info_location: Location = value("INFO_LOC")?.parse().ok()?;
        let fragment_location = match value("PACK_LOC") {
            Some(location) => location.parse().ok()?,
            // The stock server sends a NULL of its database as an empty element; a command needs no fragments.
            None => info_location.clone(),
        };
        Some(Self {
            package: value("ID")?.parse().ok()?,
            info_location,
            fragment_location,
            schedule: value("SCHEDULE").and_then(|schedule| schedule.parse().ok()),
            post_command: value("POSTCMD").filter(|word| *word != "NONE").and_then(|command| command.parse().ok()),
            force: value("FORCE").is_some_and(is_on),
        })
    }
}

/// The parameters of CONF but TYPE, in the order of ocs-protocol 4.1.
fn conf_attributes(settings: &DownloadSettings) -> [(&'static str, u32); 7] {
    [
        ("ON", u32::from(settings.on)),
        ("FRAG_LATENCY", settings.fragment_latency),
        ("CYCLE_LATENCY", settings.cycle_latency),
        ("PERIOD_LATENCY", settings.period_latency),
        ("PERIOD_LENGTH", settings.period_length),
        ("TIMEOUT", settings.timeout.0),
        ("EXECUTION_TIMEOUT", settings.execution_timeout.0),
    ]
}

/// What is missing or no number is what stock agents fall back to (ocs-protocol 4.1). Without ON nothing is
/// downloaded, and without TIMEOUT a package has 30 days: the Unix agent would give it up at once.
fn read_conf(conf: &Element) -> DownloadSettings {
    let number = |name, fallback| conf.value(name).and_then(|text| text.trim().parse().ok()).unwrap_or(fallback);
    DownloadSettings {
        on: conf.value("ON").is_some_and(is_on),
        fragment_latency: number("FRAG_LATENCY", 10),
        cycle_latency: number("CYCLE_LATENCY", 10),
        period_latency: number("PERIOD_LATENCY", 0),
        // A period of no cycles would never do anything.
        period_length: Some(number("PERIOD_LENGTH", 10)).filter(|cycles| *cycles > 0).unwrap_or(10),
        timeout: Days(number("TIMEOUT", 30)),
        execution_timeout: Minutes(number("EXECUTION_TIMEOUT", 120)),
    }
}

/// `1`, or any other number but 0.
pub(super) fn is_on(text: &str) -> bool {
    text.trim().parse::<i64>().is_ok_and(|number| number != 0)
}

/// Why the agent's `config` file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// Not XML that we read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The root is not `CONF`.
    #[error("the root of the file is \"{0}\", not CONF")]
    Root(String),
}

/// `config` in the agent's download directory: the CONF of the last reply, byte for byte as the stock Unix agent writes
/// it (ocs-protocol 7.1).
pub fn conf_to_xml(settings: &DownloadSettings) -> String {
    let mut attributes = conf_attributes(settings);
    attributes.sort_unstable();
    let mut out = String::from("<CONF");
    for (name, value) in attributes {
        push_attribute(&mut out, name, &value.to_string(), Place::Attribute);
    }
    out.push_str(" TYPE=\"CONF\" />\n");
    out
}

/// Reads that file, ours or a stock agent's. What is missing in it is what stock agents fall back to.
pub fn conf_from_xml(document: &[u8]) -> Result<DownloadSettings, ConfError> {
    let root = xml::parse(document, &RequestLimits::DEFAULT)?;
    if root.name != "CONF" {
        return Err(ConfError::Root(cut(&root.name).into_owned()));
    }
    Ok(read_conf(&root))
}
