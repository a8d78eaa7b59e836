//! Who this computer is to the server: `ocsinv.conf` and `ocsinv.adm`, as the stock agent keeps them (ocs-protocol 3.1,
//! 3.4).
//!
//! ```xml
//! <CONF>
//!   <DEVICEID>ws042-2026-11-20-08-49-11</DEVICEID>
//!   <PROLOG_FREQ>24</PROLOG_FREQ>
//! </CONF>
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::disk;
use crate::model::limits::RequestLimits;
use crate::model::{DeviceId, UnixTime};
use crate::protocol::{AccountField, xml};

/// Why the computer has no name.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file may not be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written, so the next run would be another computer.
    #[error("failed to keep this computer's identity in {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// `ocsinv.conf`: what is in it beside the two elements that we know goes back unchanged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    path: PathBuf,
    /// The name on the wire.
    pub(crate) device_id: DeviceId,
    /// Hours between contacts, as the server last said.
    pub(crate) prolog_freq: Option<u32>,
    others: Vec<(String, String)>,
}

impl Identity {
    /// Reads who this computer is, without deciding anything.
    pub(crate) fn read(state_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = state_dir.join("ocsinv.conf");
        let Some(document) = read_if_there(&path)? else { return Ok(None) };
        // A file that a crash of the stock agent cut short is like none: it makes a new name then, too.
        let Ok(root) = xml::parse(&document, &RequestLimits::DEFAULT) else { return Ok(None) };
        let Some(device_id) = root.value("DEVICEID").and_then(|text| text.trim().parse().ok()) else { return Ok(None) };
        let prolog_freq =
            root.value("PROLOG_FREQ").and_then(|text| text.trim().parse().ok()).filter(|hours| *hours > 0);
        let others = root
            .children
            .iter()
            .filter(|child| child.name != "DEVICEID" && child.name != "PROLOG_FREQ")
            .map(|child| (child.name.clone(), child.text.clone()))
            .collect();
        Ok(Some(Self { path, device_id, prolog_freq, others }))
    }

    /// Reads who this computer is; makes a name at the first run, and when the host's name has changed.
    pub(crate) fn load(state_dir: &Path, host_name: &str, now: UnixTime) -> Result<Self, IdentityError> {
        let host = short_host(host_name);
        let known = Self::read(state_dir)?;
        if let Some(identity) = &known
            && identity.device_id.host() == host
        {
            return Ok(identity.clone());
        }
        let device_id = new_device_id(&host, now, &TimeZone::system());
        let identity = match known {
            Some(known) => {
                tracing::warn!(
                    device.id = %device_id,
                    "the host name changed: {} is {device_id} from now on",
                    known.device_id
                );
                Self { device_id, ..known }
            }
            None => Self { path: state_dir.join("ocsinv.conf"), device_id, prolog_freq: None, others: Vec::new() },
        };
        identity.store()?;
        Ok(identity)
    }

    /// Keeps what the server said about the next contact.
    pub(crate) fn keep_prolog_freq(&mut self, hours: u32) -> Result<(), IdentityError> {
        if self.prolog_freq == Some(hours) {
            return Ok(());
        }
        self.prolog_freq = Some(hours);
        self.store()
    }

    fn store(&self) -> Result<(), IdentityError> {
        let mut text = format!("<CONF>\n  <DEVICEID>{}</DEVICEID>\n", escaped(self.device_id.as_str()));
        if let Some(hours) = self.prolog_freq {
            let _ = writeln!(text, "  <PROLOG_FREQ>{hours}</PROLOG_FREQ>");
        }
        for (name, value) in &self.others {
            let _ = writeln!(text, "  <{name}>{}</{name}>", escaped(value));
        }
        text.push_str("</CONF>\n");
        disk::atomic::write_private(&self.path, text.as_bytes())
            .map_err(|source| IdentityError::Write { path: self.path.clone(), source })
    }
}

/// `ocsinv.adm`: the administrative data that the server last sent.
pub(crate) fn read_account(state_dir: &Path) -> Result<Vec<AccountField>, IdentityError> {
    let Some(document) = read_if_there(&state_dir.join("ocsinv.adm"))? else { return Ok(Vec::new()) };
    let Ok(root) = xml::parse(&document, &RequestLimits::DEFAULT) else { return Ok(Vec::new()) };
    Ok(root
        .children_named("ACCOUNTINFO")
        .filter_map(|field| {
            let key = field.value("KEYNAME")?.trim().to_owned();
            (!key.is_empty())
                .then(|| AccountField { key, value: field.value("KEYVALUE").unwrap_or_default().to_owned() })
        })
        .collect())
}

/// Keeps what the server sent with `ACCOUNT_UPDATE`.
pub(crate) fn keep_account(state_dir: &Path, fields: &[AccountField]) -> Result<(), IdentityError> {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ADM>\n".to_owned();
    for field in fields {
        let _ = write!(
            text,
            "  <ACCOUNTINFO>\n    <KEYNAME>{}</KEYNAME>\n    <KEYVALUE>{}</KEYVALUE>\n  </ACCOUNTINFO>\n",
            escaped(&field.key),
            escaped(&field.value)
        );
    }
    text.push_str("</ADM>\n");
    let path = state_dir.join("ocsinv.adm");
    disk::atomic::write_private(&path, text.as_bytes()).map_err(|source| IdentityError::Write { path, source })
}

/// What an inventory says of this computer's place: the server's word once it has spoken, before that the one of
/// `--tag`. Saying the latter for ever would make the server correct it at every inventory.
pub(crate) fn account_with_tag(mut fields: Vec<AccountField>, tag: Option<&str>) -> Vec<AccountField> {
    if let Some(tag) = tag
        && !fields.iter().any(|field| field.key == "TAG")
    {
        fields.push(AccountField { key: "TAG".to_owned(), value: tag.to_owned() });
    }
    fields
}

/// Text inside an element or an attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\r' | '\t' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    match fs::read(path) {
        Ok(document) => Ok(Some(document)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Read { path: path.to_owned(), source }),
    }
}

/// Up to the first dot; what no device id may carry is left out.
fn short_host(host_name: &str) -> String {
    let short = host_name.trim().split('.').next().unwrap_or_default();
    let clean: String = short.chars().filter(|c| !c.is_control() && !c.is_whitespace()).take(180).collect();
    let mut end = clean.len().min(200);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    match &clean[..end] {
        "" => "unnamed".to_owned(),
        host => host.to_owned(),
    }
}

fn new_device_id(host: &str, now: UnixTime, zone: &TimeZone) -> DeviceId {
    let local = Timestamp::from_second(now.seconds()).unwrap_or_default().to_zoned(zone.clone());
    let text = format!("{host}-{}", local.strftime("%Y-%m-%d-%H-%M-%S"));
    text.parse().unwrap_or_else(|_| "unnamed-1970-01-01-00-00-00".parse().expect("it is of the form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_795_164_551);

    #[test]
    fn a_name_is_made_once_and_again_when_the_host_is_renamed() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Identity::load(directory.path(), "ws042.example.net", NOW).expect("a name");
        assert_eq!(first.device_id.host(), "ws042");
        let later = NOW.plus(std::time::Duration::from_hours(24));
        assert_eq!(Identity::load(directory.path(), "ws042", later).expect("a name"), first);
        let renamed = Identity::load(directory.path(), "ws043", later).expect("a name");
        assert_eq!(renamed.device_id.host(), "ws043");
        assert_ne!(renamed.device_id, first.device_id);
    }

    #[test]
    fn a_stock_agents_name_is_taken_over_with_all_that_it_keeps() {
        let directory = tempfile::tempdir().expect("a directory");
        let conf = "<CONF>\n  <DEVICEID>labhost-2026-11-20-08-49-11</DEVICEID>\n  <OCSFSERVER>x&amp;y</OCSFSERVER>\n  <PROLOG_FREQ>24</PROLOG_FREQ>\n</CONF>\n";
        disk::atomic::write(&directory.path().join("ocsinv.conf"), conf.as_bytes()).expect("written");
        let mut identity = Identity::load(directory.path(), "labhost", NOW).expect("a name");
        assert_eq!(identity.device_id.as_str(), "labhost-2026-11-20-08-49-11");
        assert_eq!(identity.prolog_freq, Some(24));
        identity.keep_prolog_freq(2).expect("kept");
        let text = fs::read_to_string(directory.path().join("ocsinv.conf")).expect("read");
        insta::assert_snapshot!(text, @r"
        <CONF>
          <DEVICEID>labhost-2026-11-20-08-49-11</DEVICEID>
          <PROLOG_FREQ>2</PROLOG_FREQ>
          <OCSFSERVER>x&amp;y</OCSFSERVER>
        </CONF>
        ");
    }

    #[test]
    fn a_torn_identity_is_like_none() {
        for torn in ["", "<CONF>", "<CONF><DEVICEID>x</DEVICEID></CONF>", "\u{0}\u{1}", "<!DOCTYPE x><CONF/>"] {
            let directory = tempfile::tempdir().expect("a directory");
            disk::atomic::write(&directory.path().join("ocsinv.conf"), torn.as_bytes()).expect("written");
            let identity = Identity::load(directory.path(), "ws042", NOW).expect("a name");
            assert_eq!(identity.device_id.host(), "ws042");
        }
    }

    #[test]
    fn the_time_in_the_name_is_local_and_odd_hosts_are_made_to_fit() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(new_device_id("ws", NOW, &zone).as_str(), "ws-2026-11-20-10-49-11");
        assert_eq!(short_host(" a b\tc.d "), "abc");
        assert_eq!(short_host(""), "unnamed");
        assert!(new_device_id(&short_host(&"ö".repeat(400)), NOW, &zone).as_str().len() <= 255);
    }

    #[test]
    fn a_tag_is_said_until_the_server_has_spoken() {
        let directory = tempfile::tempdir().expect("a directory");
        let before = account_with_tag(read_account(directory.path()).expect("none"), Some("PARIS"));
        assert_eq!(before, [AccountField { key: "TAG".to_owned(), value: "PARIS".to_owned() }]);
        let spoken = [
            AccountField { key: "TAG".to_owned(), value: "R&D <2>".to_owned() },
            AccountField { key: "fields_3".to_owned(), value: String::new() },
        ];
        keep_account(directory.path(), &spoken).expect("kept");
        assert_eq!(account_with_tag(read_account(directory.path()).expect("read"), Some("PARIS")), spoken);
    }
}
