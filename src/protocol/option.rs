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
    /// `MORE_LOCS`: ours, ignored by stock agents; other places that hold the same fragments, best first, at most
    /// [`Offer::MAX_MORE_LOCATIONS`].
    pub more_locations: Vec<Location>,
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
        for offer in &self.offers {
            offer.push(out);
        }
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
    /// How many places beside `PACK_LOC` are named and read.
    pub const MAX_MORE_LOCATIONS: usize = 8;

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
        if !self.more_locations.is_empty() {
            let named = self.more_locations.iter().take(Self::MAX_MORE_LOCATIONS);
            attribute("MORE_LOCS", &named.map(Location::as_str).collect::<Vec<_>>().join(" "));
        }
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
        // One that cannot be read costs nothing but itself.
        let more = value("MORE_LOCS").unwrap_or_default().split_ascii_whitespace();
        let more_locations = more.filter_map(|text| text.parse().ok()).take(Self::MAX_MORE_LOCATIONS).collect();
        Some(Self {
            package: value("ID")?.parse().ok()?,
            info_location,
            fragment_location,
            more_locations,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(option: &str) -> DownloadOption {
        let document = format!("<REPLY><OPTION><NAME>DOWNLOAD</NAME>{option}</OPTION></REPLY>");
        let root = xml::parse(document.as_bytes(), &RequestLimits::DEFAULT).expect("well-formed");
        DownloadOption::read(&root).expect("the option")
    }

    fn ids(option: &str) -> Vec<u32> {
        read(option).offers.iter().map(|offer| offer.package.number()).collect()
    }

    const FALLBACK: DownloadSettings = DownloadSettings {
        on: false,
        fragment_latency: 10,
        cycle_latency: 10,
        period_latency: 0,
        period_length: 10,
        timeout: Days(30),
        execution_timeout: Minutes(120),
    };

    #[test]
    fn missing_values_are_what_stock_agents_fall_back_to() {
        for conf in [
            "",
            "<PARAM TYPE='CONF' />",
            "<PARAM TYPE='CONF' ON='' FRAG_LATENCY='soon' TIMEOUT='-1' PERIOD_LENGTH='0'><EXECUTION_TIMEOUT /></PARAM>",
        ] {
            assert_eq!(read(conf).settings, FALLBACK, "{conf}");
        }
        assert_eq!(read("<PARAM TYPE='CONF' ON='1' />").settings, DownloadSettings { on: true, ..FALLBACK });
    }

    #[test]
    fn values_may_be_child_elements_and_types_may_be_missing() {
        let option = read(
            "<PARAM><ID>7</ID><INFO_LOC>a/b</INFO_LOC><PACK_LOC>c/d</PACK_LOC><FORCE>1</FORCE></PARAM>
             <PARAM><ON>1</ON><FRAG_LATENCY>3</FRAG_LATENCY></PARAM>",
        );
        assert_eq!(option.settings, DownloadSettings { on: true, fragment_latency: 3, ..FALLBACK });
        assert_eq!(option.offers.len(), 1);
        assert!(option.offers[0].force);
        assert_eq!(option.offers[0].fragment_location.as_str(), "c/d");
    }

    #[test]
    fn broken_packages_are_passed_over_and_the_others_are_not() {
        let locations = "INFO_LOC='a/b' PACK_LOC='c/d'";
        assert_eq!(
            ids(&format!(
                "<PARAM TYPE='PACK' ID='' {locations} />
                 <PARAM TYPE='PACK' ID='x' {locations} />
                 <PARAM TYPE='PACK' FORCE='1' />
                 <PARAM TYPE='PACK' ID='1' PACK_LOC='c/d' />
                 <PARAM TYPE='PACK' ID='2' INFO_LOC='https://a/b' PACK_LOC='c/d' />
                 <PARAM TYPE='PACK' ID='3' INFO_LOC='a/b' PACK_LOC='c d' />
                 <PARAM TYPE='OTHER' ID='4' {locations} />
                 <PARAM TYPE='PACK' ID='5' {locations} />
                 <PARAM TYPE='PACK' ID='5' {locations} FORCE='1' />
                 <PARAM TYPE='PACK' ID='6' INFO_LOC='a/b'><PACK_LOC /></PARAM>"
            )),
            [5, 6]
        );
    }

    #[test]
    fn what_no_agent_can_do_is_left_out_of_an_offer() {
        let offers = read(
            "<PARAM TYPE='PACK' ID='1' INFO_LOC='a' PACK_LOC='a' SCHEDULE='tomorrow' POSTCMD='NONE' FORCE='yes' />
             <PARAM TYPE='PACK' ID='2' INFO_LOC='a' PACK_LOC='a' SCHEDULE='2031/06/30 02:15' POSTCMD='reboot' FORCE='1' />",
        )
        .offers;
        assert_eq!((&offers[0].schedule, &offers[0].post_command, offers[0].force), (&None, &None, false));
        assert_eq!(offers[1].schedule.as_ref().map(Schedule::as_str), Some("2031/06/30 02:15"));
        assert_eq!((&offers[1].post_command, offers[1].force), (&Some(PostCommand::Reboot), true));
    }

    #[test]
    fn more_locations_are_written_when_there_are_some_and_read_as_far_as_they_can_be() {
        let offers = read(
            "<PARAM TYPE='PACK' ID='1' INFO_LOC='a' PACK_LOC='b' MORE_LOCS=' c/d  http://no e:80/f ' />
             <PARAM TYPE='PACK' ID='2' INFO_LOC='a' PACK_LOC='b' MORE_LOCS='1 2 3 4 5 6 7 8 9 10' />
             <PARAM TYPE='PACK' ID='3' INFO_LOC='a' PACK_LOC='b' />",
        )
        .offers;
        let named = |at: usize| offers[at].more_locations.iter().map(Location::as_str).collect::<Vec<_>>().join(",");
        assert_eq!([named(0), named(1), named(2)], ["c/d,e:80/f", "1,2,3,4,5,6,7,8", ""]);
        let mut written = String::new();
        offers[0].push(&mut written);
        assert!(written.contains(" MORE_LOCS=\"c/d e:80/f\" />"), "{written}");
        let mut stock = String::new();
        offers[2].push(&mut stock);
        assert!(stock.ends_with(" FORCE=\"0\" />\n"), "{stock}");
    }

    #[test]
    fn a_configuration_file_is_only_that() {
        let sentence = |document: &[u8]| conf_from_xml(document).expect_err("refused").to_string();
        assert_eq!(sentence(b"<REPLY />"), "the root of the file is \"REPLY\", not CONF");
        assert_eq!(
            sentence(b"<CONF"),
            "not well-formed XML: tag not closed: `>` not found before end of input (at byte 0)"
        );
        assert_eq!(conf_from_xml(b"<CONF />").expect("empty"), FALLBACK);
    }
}
