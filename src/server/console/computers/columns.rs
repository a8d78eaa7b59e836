//! The columns of the list: facts of a computer's own row, parts of its inventory, and the administrators' own fields.

use super::super::call::Call;
use super::super::show::{self, Html, escape};
use crate::clock::utc_text;
use crate::model::query::Field as Fact;
use crate::model::{ByteSize, Computer, UnixTime};
use crate::service::desk::Refusal;
use crate::service::desk::computers::details::{Details, Said, Shown};
use crate::store::fields::Field;

/// Where a column's text comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Source {
    Fact,
    Moment,
    Proven,
    Macs,
    Said(Said),
    Own(i64),
}

/// A column that may be shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Column {
    /// Its word in addresses and files.
    pub(super) word: String,
    /// Its title.
    pub(super) title: String,
    source: Source,
}

/// Those that every list has.
const FIXED: [(&str, &str, Source); 22] = [
    ("os", "System", Source::Fact),
    ("os_version", "Version", Source::Fact),
    ("architecture", "Architecture", Source::Fact),
    ("ip", "Address", Source::Fact),
    ("mac", "MAC address", Source::Macs),
    ("peer", "Heard from", Source::Fact),
    ("user", "User", Source::Fact),
    ("tag", "Tag", Source::Fact),
    ("proven", "Identity", Source::Proven),
    ("manufacturer", "Manufacturer", Source::Said(&[("BIOS", "SMANUFACTURER")])),
    ("model", "Model", Source::Fact),
    ("serial", "Serial number", Source::Fact),
    ("memory", "Memory", Source::Said(&[MEMORY])),
    ("cpu", "Processor", Source::Said(&[("HARDWARE", "PROCESSORT"), ("CPUS", "TYPE")])),
    ("bios", "BIOS", Source::Said(&[("BIOS", "BVERSION")])),
    ("uuid", "UUID", Source::Fact),
    ("workgroup", "Workgroup", Source::Fact),
    ("agent", "Agent", Source::Fact),
    ("device_id", "Device id", Source::Fact),
    ("first_contact", "First contact", Source::Moment),
    ("last_inventory", "Last inventory", Source::Moment),
    ("last_contact", "Last contact", Source::Moment),
];
/// In MiB.
const MEMORY: (&str, &str) = ("HARDWARE", "MEMORY");
/// Those that are shown unless somebody chose.
pub(super) const USUAL: &str = "os,ip,user,tag,last_contact";

/// Every column that there is: the fixed ones, and one for each field.
pub(super) fn every(call: &Call) -> Result<Vec<Column>, Refusal> {
    let fixed = FIXED.into_iter();
    let fixed = fixed.map(|(word, title, source)| Column { word: word.to_owned(), title: title.to_owned(), source });
    let own = call.desk().fields()?.into_iter().map(|summary| Column::own(&summary.field));
    Ok(fixed.chain(own).collect())
}

/// What these columns need to know of computers.
pub(super) fn shown(columns: &[Column]) -> Shown {
    let mut shown = Shown::default();
    for column in columns {
        match column.source {
            Source::Own(field) => shown.own.push(field),
            Source::Said(said) => shown.said.push(said),
            Source::Macs => shown.macs = true,
            Source::Fact | Source::Moment | Source::Proven => {}
        }
    }
    shown
}

impl Column {
    fn own(field: &Field) -> Self {
        Self { word: field.wire_name(), title: field.name.clone(), source: Source::Own(field.id) }
    }

    /// Its title in a file: what an import takes for the same column.
    pub(super) fn heading(&self) -> &str {
        if matches!(self.source, Source::Own(_)) { &self.title } else { &self.word }
    }

    pub(super) fn is_moment(&self) -> bool {
        self.source == Source::Moment
    }

    /// Is it one of the administrators' own?
    pub(super) fn is_own(&self) -> bool {
        matches!(self.source, Source::Own(_))
    }

    /// What it says of a computer, as a file has it.
    pub(super) fn text(&self, computer: &Computer, details: &Details) -> String {
        match self.source {
            Source::Fact => fact(computer, &self.word).to_owned(),
            Source::Moment => moment(computer, &self.word).map(utc_text).unwrap_or_default(),
            Source::Proven => Fact::proven(computer.agent_key.is_some()).to_owned(),
            Source::Macs => details.macs(computer.id).join(", "),
            Source::Said(said) => details.said(computer.id, said),
            Source::Own(field) => details.own(computer.id, field).to_owned(),
        }
    }

    /// What it says of a computer, as a cell.
    pub(super) fn cell(&self, computer: &Computer, details: &Details) -> Html {
        if self.is_moment() {
            return show::time_or(moment(computer, &self.word), "never");
        }
        let text = self.text(computer, details);
        match self.word.as_str() {
            "proven" if computer.agent_key.is_some() => show::toned("key", "ok", "lock"),
            "proven" => show::toned("name only", "neutral", "tag"),
            _ if text.is_empty() => Html("<span class=\"faint\">–</span>".to_owned()),
            "tag" => Html(format!("<span class=\"tag\">{}</span>", escape(&text))),
            "os" => {
                let icon = computer.os_family().map_or("computer", crate::model::OsFamily::as_str);
                Html(format!("<span class=\"row nowrap\">{}{}</span>", show::icon(icon), escape(&text)))
            }
            "memory" => Html(format!("<span class=\"nowrap\">{}</span>", escape(&mebibytes(&text)))),
            "mac" => {
                let one = |mac: &String| format!("<span class=\"mono nowrap\">{}</span>", escape(mac));
                Html(details.macs(computer.id).iter().map(one).collect::<Vec<_>>().join(" "))
            }
            "serial" | "uuid" | "device_id" | "ip" | "peer" => {
                Html(format!("<span class=\"mono\">{}</span>", escape(&text)))
            }
            _ => Html(escape(&text)),
        }
    }
}

/// What agents say in MiB, as people read it.
fn mebibytes(text: &str) -> String {
    let bytes = text.parse::<u64>().ok().and_then(|mebibytes| mebibytes.checked_mul(1 << 20));
    bytes.map_or_else(|| text.to_owned(), |bytes| ByteSize(bytes).to_string())
}

/// What a computer's row says, if it is text.
fn fact<'a>(computer: &'a Computer, word: &str) -> &'a str {
    match word {
        "os" => &computer.os_name,
        "os_version" => &computer.os_version,
        "architecture" => &computer.architecture,
        "ip" => &computer.ip_address,
        "peer" => &computer.peer_address,
        "user" => &computer.user_name,
        "tag" => &computer.tag,
        "serial" => &computer.serial,
        "model" => &computer.model,
        "uuid" => &computer.uuid,
        "workgroup" => &computer.workgroup,
        "agent" => &computer.user_agent,
        "device_id" => computer.device_id.as_str(),
        _ => "",
    }
}

fn moment(computer: &Computer, word: &str) -> Option<UnixTime> {
    match word {
        "first_contact" => Some(computer.first_contact),
        "last_contact" => Some(computer.last_contact),
        "last_inventory" => computer.last_inventory,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_size_if_it_is_a_number() {
        assert_eq!(mebibytes("16384"), "16 GiB");
        assert_eq!(mebibytes("much"), "much");
        assert_eq!(mebibytes("99999999999999999999"), "99999999999999999999");
    }
}
