//! The info file: what a package is, how to check it, what to do with it (ocs-protocol 5).

use std::str::FromStr;

use super::option::is_on;
use super::xml::{Element, Place, Rules, XmlError, cut, parse_with, push_attribute};
use crate::model::limits::RequestLimits;
use crate::model::{
    Action, Digest, DigestAlgorithm, DigestEncoding, Done, ExitCodes, FragmentCount, FragmentPlan, InvalidDigest,
    InvalidPackage, Nobody, Notify, PackageId, Priority, PromptPolicy,
};

/// `PROTO`: how fragments travel. The info file itself is always fetched over HTTPS.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// `HTTP`.
    #[default]
    Http,
    /// `HTTPS`.
    Https,
}

impl Scheme {
    fn wire_name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
        }
    }

    /// For an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// `<DOWNLOAD …/>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Info {
    /// `ID`.
    pub package: PackageId,
    /// `PRI`.
    pub priority: Priority,
    /// `ACT` with `NAME`, `COMMAND` or `PATH`.
    pub action: Action,
    /// `FRAGS`.
    pub fragments: FragmentCount,
    /// `DIGEST`, `DIGEST_ALGO`, `DIGEST_ENCODE`; `None` without fragments. Written as MD5 in Hexa, the only form that
    /// every agent takes.
    pub digest: Option<Digest>,
    /// `PROTO`.
    pub scheme: Scheme,
    /// `NOTIFY_USER` and what belongs to it; `NOTIFY_MAX_DELAYS`, `NOTIFY_DEADLINE` and `NOTIFY_NOBODY` are ours, and
    /// stock agents pass over them.
    pub notify: Option<Notify>,
    /// `NEED_DONE_ACTION` and its text.
    pub done: Option<Done>,
    /// `SHA256`: ours, ignored by stock agents; our agent checks it as well as `DIGEST`.
    pub sha256: Option<Digest>,
    /// `SHA256_FRAGS`: ours, the SHA-256 of each fragment in order, Base64 without padding, 43 characters each. Empty if it
    /// is not said; a fragment that is damaged on its way is then found out only when the whole is put together.
    pub fragment_sha256: Vec<Digest>,
    /// `EXIT_CODES`: ours, ignored by stock agents; what the command means by its exit code, where that is not the usual.
    pub exit_codes: ExitCodes,
}

/// Characters of a SHA-256 in Base64 without padding.
const BASE64_SHA256: usize = 43;

/// Why an info file was refused.
#[derive(Debug, thiserror::Error)]
pub enum InfoError {
    /// Not XML, even with stray ampersands repaired.
    #[error("the info file cannot be read")]
    Xml(#[from] XmlError),
    /// The root is not `DOWNLOAD`.
    #[error("the info file's root is \"{0}\", not DOWNLOAD")]
    Root(String),
    /// An attribute that must be there is not, or is not of its form.
    #[error("attribute {attribute} of the info file is missing or wrong: \"{value}\"")]
    Attribute {
        /// Which.
        attribute: &'static str,
        /// What stood there.
        value: String,
    },
    /// No command or path, or an unknown action: the agent reports `ERR_BAD_PARAM`.
    #[error(transparent)]
    Action(#[from] InvalidPackage),
    /// A digest that cannot be checked: the agent reports `ERR_BAD_DIGEST`.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

impl Info {
    /// The file, in the stock console's order of attributes, escaped once, on one line.
    ///
    /// Byte for byte what the stock console writes, but for what it forgets to escape: `&` and `<`, and line feeds and
    /// tabs, which a reader would turn into blanks.
    pub fn to_xml(&self) -> String {
        let flag = |on| if on { "1" } else { "0" };
        let digest = self.digest.map(|digest| digest.to_string()).unwrap_or_default();
        let algorithm = self.digest.map_or(DigestAlgorithm::Md5, |digest| digest.algorithm());
        let notify = self.notify.as_ref();
        let countdown = notify.and_then(|notify| notify.countdown_seconds).map(|seconds| seconds.to_string());

        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DOWNLOAD");
        let mut attribute = |name, value: &str| push_attribute(&mut out, name, value, Place::InfoAttribute);
        attribute("ID", &self.package.to_string());
        attribute("PRI", &self.priority.to_string());
        attribute("ACT", self.action.wire_name());
        attribute("DIGEST", &digest);
        attribute("PROTO", self.scheme.wire_name());
        attribute("FRAGS", &self.fragments.to_string());
        attribute("DIGEST_ALGO", algorithm.as_str());
        attribute("DIGEST_ENCODE", DigestEncoding::Hexa.as_str());
        attribute(attribute_of(&self.action), self.action.text());
        attribute("NOTIFY_USER", flag(notify.is_some()));
        attribute("NOTIFY_TEXT", notify.map_or("", |notify| &notify.text));
        attribute("NOTIFY_COUNTDOWN", &countdown.unwrap_or_default());
        attribute("NOTIFY_CAN_ABORT", flag(notify.is_some_and(|notify| notify.can_abort)));
        attribute("NOTIFY_CAN_DELAY", flag(notify.is_some_and(|notify| notify.can_delay)));
        attribute("NEED_DONE_ACTION", flag(self.done.is_some()));
        attribute("NEED_DONE_ACTION_TEXT", self.done.as_ref().map_or("", |done| &done.text));
        // Nobody uses it; the Windows agent reads it.
        attribute("GARDEFOU", "rien");
        if let Some(sha256) = self.sha256 {
            attribute("SHA256", &sha256.to_string());
        }
        if !self.fragment_sha256.is_empty() {
            let list: String = self.fragment_sha256.iter().map(Digest::to_base64).collect();
            attribute("SHA256_FRAGS", &list);
        }
        if !self.exit_codes.is_empty() {
            attribute("EXIT_CODES", &self.exit_codes.to_string());
        }
        let policy = notify.map(|notify| notify.policy).unwrap_or_default();
        if let Some(number) = policy.max_delays {
            attribute("NOTIFY_MAX_DELAYS", &number.to_string());
        }
        if let Some(hours) = policy.deadline_hours {
            attribute("NOTIFY_DEADLINE", &hours.to_string());
        }
        if policy.nobody != Nobody::Run {
            attribute("NOTIFY_NOBODY", policy.nobody.as_str());
        }
        out.push_str(" />\n");
        out
    }

    /// Reads any console's info file; a raw `&` is tolerated.
    ///
    /// Without `PRI` a package is slow (10), without `FRAGS` it is a command.
    pub fn parse(document: &[u8]) -> Result<Self, InfoError> {
        let root = parse_with(document, &RequestLimits::DEFAULT, &Rules { raw_ampersands: true, ..Rules::ALL })?;
        if root.name != "DOWNLOAD" {
            return Err(InfoError::Root(cut(&root.name).into_owned()));
        }
        let fragments = FragmentCount(number(&root, "FRAGS", 0)?);
        if fragments.0 > FragmentPlan::MAX_FRAGMENTS {
            return Err(wrong(&root, "FRAGS"));
        }
        let word = root.value("ACT").unwrap_or_default().to_ascii_lowercase();
        let text = match word.as_str() {
            "launch" => root.value("NAME"),
            "execute" => root.value("COMMAND"),
            _ => root.value("PATH"),
        };
        let flag = |name| root.value(name).is_some_and(is_on);
        let text_of = |name| root.value(name).unwrap_or_default().to_owned();
        Ok(Self {
            package: required(&root, "ID")?,
            priority: Priority::from_number(number(&root, "PRI", 10)?),
            action: Action::from_parts(&word, text.unwrap_or_default())?,
            fragments,
            digest: if fragments == FragmentCount::NONE { None } else { Some(digest(&root)?) },
            scheme: match root.value("PROTO").map(str::trim) {
                None | Some("") => Scheme::Http,
                Some(word) if word.eq_ignore_ascii_case("http") => Scheme::Http,
                Some(word) if word.eq_ignore_ascii_case("https") => Scheme::Https,
                Some(_) => return Err(wrong(&root, "PROTO")),
            },
            notify: flag("NOTIFY_USER").then(|| Notify {
                text: text_of("NOTIFY_TEXT"),
                countdown_seconds: root.value("NOTIFY_COUNTDOWN").and_then(|text| text.trim().parse().ok()),
                can_abort: flag("NOTIFY_CAN_ABORT"),
                can_delay: flag("NOTIFY_CAN_DELAY"),
                policy: policy(&root),
            }),
            done: flag("NEED_DONE_ACTION").then(|| Done { text: text_of("NEED_DONE_ACTION_TEXT") }),
            sha256: match root.value("SHA256").map(str::trim) {
                None | Some("") => None,
                Some(text) => Some(Digest::parse(DigestAlgorithm::Sha256, DigestEncoding::Hexa, text)?),
            },
            fragment_sha256: fragment_digests(&root, fragments)?,
            exit_codes: match root.value("EXIT_CODES") {
                None => ExitCodes::default(),
                // A list that nobody can read must not turn a failure into a success, nor the other way round.
                Some(list) => list.parse().map_err(|_| wrong(&root, "EXIT_CODES"))?,
            },
        })
    }
}

/// What cannot be read is what a stock agent does.
fn policy(root: &Element) -> PromptPolicy {
    let number = |name| root.value(name).and_then(|text| text.trim().parse().ok());
    PromptPolicy {
        max_delays: number("NOTIFY_MAX_DELAYS"),
        deadline_hours: number("NOTIFY_DEADLINE"),
        nobody: root.value("NOTIFY_NOBODY").and_then(|word| word.trim().parse().ok()).unwrap_or_default(),
    }
}

fn attribute_of(action: &Action) -> &'static str {
    match action {
        Action::Launch { .. } => "NAME",
        Action::Execute { .. } => "COMMAND",
        Action::Store { .. } => "PATH",
    }
}

fn digest(root: &Element) -> Result<Digest, InvalidDigest> {
    let value = |name| root.value(name).unwrap_or_default().trim();
    Digest::parse(value("DIGEST_ALGO").parse()?, value("DIGEST_ENCODE").parse()?, value("DIGEST"))
}

fn fragment_digests(root: &Element, fragments: FragmentCount) -> Result<Vec<Digest>, InfoError> {
    let list = root.value("SHA256_FRAGS").unwrap_or_default().trim();
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let pieces = list.as_bytes().chunks(BASE64_SHA256).map(|piece| std::str::from_utf8(piece).unwrap_or_default());
    let digests = pieces.map(|piece| Digest::parse(DigestAlgorithm::Sha256, DigestEncoding::Base64, piece));
    let digests = digests.collect::<Result<Vec<_>, _>>()?;
    if digests.len() == fragments.0 as usize { Ok(digests) } else { Err(wrong(root, "SHA256_FRAGS")) }
}

fn number(root: &Element, attribute: &'static str, missing: u32) -> Result<u32, InfoError> {
    match root.value(attribute).map(str::trim) {
        None | Some("") => Ok(missing),
        Some(text) => text.parse().map_err(|_| wrong(root, attribute)),
    }
}

fn required<T: FromStr>(root: &Element, attribute: &'static str) -> Result<T, InfoError> {
    root.value(attribute).and_then(|text| text.trim().parse().ok()).ok_or_else(|| wrong(root, attribute))
}

fn wrong(root: &Element, attribute: &'static str) -> InfoError {
    InfoError::Attribute { attribute, value: cut(root.value(attribute).unwrap_or_default()).into_owned() }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    const INFO: &str = r#"<DOWNLOAD ID="7" PRI="5" ACT="EXECUTE" DIGEST="" PROTO="HTTP" FRAGS="0" COMMAND="true" />"#;

    fn read(document: &str) -> Result<Info, InfoError> {
        Info::parse(document.as_bytes())
    }

    /// The sentence that a change of the smallest info file is refused with.
    fn refusal(from: &str, to: &str) -> String {
        assert!(INFO.contains(from), "{from} does not stand there");
        let error = read(&INFO.replace(from, to)).expect_err("refused");
        error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
    }

    #[test]
    fn what_is_missing_has_its_default() {
        let info = read(r#"<DOWNLOAD ID="7" ACT="EXECUTE" COMMAND="true" />"#).expect("an info file");
        let expected = Info {
            package: "7".parse().expect("an id"),
            priority: Priority::from_number(10),
            action: Action::Execute { command: "true".to_owned() },
            fragments: FragmentCount::NONE,
            digest: None,
            scheme: Scheme::Http,
            notify: None,
            done: None,
            sha256: None,
            fragment_sha256: Vec::new(),
            exit_codes: ExitCodes::default(),
        };
        assert_eq!(info, expected);
        let blank =
            r#"<DOWNLOAD ID="7" PRI="" FRAGS=" " PROTO="" ACT="EXECUTE" COMMAND="true" NOTIFY_USER="" SHA256="" />"#;
        assert_eq!(read(blank).expect("an info file"), expected);
    }

    #[test]
    fn elements_are_as_good_as_attributes() {
        let info = read("<DOWNLOAD><ID>7</ID><PRI>0</PRI><ACT>STORE</ACT><PATH>/opt</PATH></DOWNLOAD>");
        assert_eq!(info.expect("an info file").priority, Priority::Absolute);
    }

    #[test]
    fn every_encoding_of_a_digest_is_read_and_hexa_is_written() {
        for (algorithm, encoding, digest) in [
            ("MD5", "Hexa", "5EB63BBBE01EEED093CB22BB8F5ACDC3"),
            ("MD5", "Base64", "XrY7u+Ae7tCTyyK7j1rNww"),
            ("MD5", "Base64", "XrY7u+Ae7tCTyyK7j1rNww=="),
        ] {
            let document = format!(
                r#"<DOWNLOAD ID="7" ACT="STORE" PATH="/opt" FRAGS="1" DIGEST_ALGO="{algorithm}" DIGEST_ENCODE="{encoding}" DIGEST="{digest}" />"#
            );
            let written = read(&document).expect("an info file").to_xml();
            assert!(written.contains(r#" DIGEST="5eb63bbbe01eeed093cb22bb8f5acdc3" "#), "{written}");
            assert!(written.contains(r#" DIGEST_ALGO="MD5" DIGEST_ENCODE="Hexa" "#), "{written}");
        }
    }

    #[test]
    fn our_own_digest_comes_last() {
        let mut info = read(INFO).expect("an info file");
        info.sha256 = Digest::from_bytes(DigestAlgorithm::Sha256, &[0xab; 32]);
        let written = info.to_xml();
        assert!(written.ends_with(&format!(" GARDEFOU=\"rien\" SHA256=\"{}\" />\n", "ab".repeat(32))), "{written}");
        assert_eq!(read(&written).expect("an info file"), info);
    }

    #[test]
    fn digests_of_fragments_are_one_for_each_or_none_at_all() {
        let mut info = read(INFO).expect("an info file");
        let digest = |byte| Digest::from_bytes(DigestAlgorithm::Sha256, &[byte; 32]).expect("32 bytes");
        info.fragments = FragmentCount(2);
        info.digest = Digest::from_bytes(DigestAlgorithm::Md5, &[1; 16]);
        info.fragment_sha256 = vec![digest(7), digest(0xff)];
        let written = info.to_xml();
        assert_eq!(read(&written).expect("an info file"), info);
        for wrong in
            [written.replace("FRAGS=\"2\"", "FRAGS=\"3\""), written.replace("SHA256_FRAGS=\"", "SHA256_FRAGS=\"AA")]
        {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn exit_codes_are_written_only_where_they_are_unusual() {
        let mut info = read(INFO).expect("an info file");
        assert!(!info.to_xml().contains("EXIT_CODES"));
        info.exit_codes = "194=reboot 3=success".parse().expect("a list");
        let written = info.to_xml();
        assert!(written.ends_with(" EXIT_CODES=\"3=success 194=reboot\" />\n"), "{written}");
        assert_eq!(read(&written).expect("an info file"), info);
        assert!(read(&written.replace("=reboot", "=fine")).is_err());
    }

    #[test]
    fn how_far_a_question_may_be_put_off_comes_last_and_only_if_it_is_said() {
        let mut info = read(INFO).expect("an info file");
        info.notify = Some(Notify { text: "now?".to_owned(), can_delay: true, ..Notify::default() });
        let stock = info.to_xml();
        assert!(stock.ends_with(" GARDEFOU=\"rien\" />\n"), "{stock}");
        let policy = PromptPolicy { max_delays: Some(3), deadline_hours: Some(72), nobody: Nobody::Wait };
        info.notify = info.notify.map(|notify| Notify { policy, ..notify });
        let written = info.to_xml();
        let ours = " NOTIFY_MAX_DELAYS=\"3\" NOTIFY_DEADLINE=\"72\" NOTIFY_NOBODY=\"wait\"";
        assert_eq!(written, stock.replace(" />", &format!("{ours} />")));
        assert_eq!(read(&written).expect("an info file"), info);
        // A stock agent's behaviour is what remains of words that nobody knows.
        let unknown = written.replace("=\"3\"", "=\"-1\"").replace("=\"72\"", "=\"soon\"").replace("wait", "hide");
        let read = read(&unknown).expect("an info file").notify.expect("a question");
        assert!(!read.policy.is_some(), "{read:?}");
    }

    #[test]
    fn text_of_several_lines_survives() {
        let mut info = read(INFO).expect("an info file");
        info.action = Action::Execute { command: "if [ 1 -lt 2 ]; then\n\techo \"<&>\"\nfi".to_owned() };
        info.done = Some(Done { text: "<b>Fertig</b>\r\n".to_owned() });
        let written = info.to_xml();
        assert!(
            written.contains(r#"COMMAND="if [ 1 -lt 2 ]; then&#10;&#9;echo &quot;&lt;&amp;>&quot;&#10;fi""#),
            "{written}"
        );
        assert_eq!(read(&written).expect("an info file"), info);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let changes = [
            ("DOWNLOAD", "CONF"),
            (" ID=\"7\"", ""),
            ("ID=\"7\"", "ID=\"007\""),
            ("PRI=\"5\"", "PRI=\"fast\""),
            ("FRAGS=\"0\"", "FRAGS=\"-1\""),
            ("FRAGS=\"0\"", "FRAGS=\"4000000000\""),
            ("FRAGS=\"0\"", "FRAGS=\"1\""),
            ("FRAGS=\"0\"", "FRAGS=\"1\" DIGEST_ALGO=\"SHA3\" DIGEST_ENCODE=\"Hexa\""),
            ("FRAGS=\"0\"", "FRAGS=\"1\" DIGEST_ALGO=\"MD5\" DIGEST_ENCODE=\"UU\""),
            ("FRAGS=\"0\"", "FRAGS=\"1\" DIGEST_ALGO=\"MD5\" DIGEST_ENCODE=\"Hexa\""),
            ("PROTO=\"HTTP\"", "PROTO=\"FTP\""),
            ("COMMAND=\"true\"", ""),
            ("EXECUTE", "DANCE"),
            ("EXECUTE", "LAUNCH"),
            ("PRI", "SHA256=\"ab\" PRI"),
            (" />", ""),
            ("\"true\"", "\"a < b\""),
        ];
        let sentences: Vec<String> =
            changes.iter().map(|(from, to)| format!("{to:?}: {}", refusal(from, to))).collect();
        insta::assert_snapshot!(sentences.join("\n"), @r#"
        "CONF": the info file's root is "CONF", not DOWNLOAD
        "": attribute ID of the info file is missing or wrong: ""
        "ID=\"007\"": attribute ID of the info file is missing or wrong: "007"
        "PRI=\"fast\"": attribute PRI of the info file is missing or wrong: "fast"
        "FRAGS=\"-1\"": attribute FRAGS of the info file is missing or wrong: "-1"
        "FRAGS=\"4000000000\"": attribute FRAGS of the info file is missing or wrong: "4000000000"
        "FRAGS=\"1\"": unknown digest algorithm "": expected MD5, SHA1 or SHA256
        "FRAGS=\"1\" DIGEST_ALGO=\"SHA3\" DIGEST_ENCODE=\"Hexa\"": unknown digest algorithm "SHA3": expected MD5, SHA1 or SHA256
        "FRAGS=\"1\" DIGEST_ALGO=\"MD5\" DIGEST_ENCODE=\"UU\"": unknown digest encoding "UU": expected Hexa or Base64
        "FRAGS=\"1\" DIGEST_ALGO=\"MD5\" DIGEST_ENCODE=\"Hexa\"": "" is not a MD5 digest in Hexa
        "PROTO=\"FTP\"": attribute PROTO of the info file is missing or wrong: "FTP"
        "": action execute needs a command to run: --command 'apt-get -y install htop'
        "DANCE": "dance" is not an action: expected launch, execute or store
        "LAUNCH": action launch needs a file of the archive to run: --command 'setup.sh --quiet'
        "SHA256=\"ab\" PRI": "ab" is not a SHA256 digest in Hexa
        "": the info file cannot be read: not well-formed XML: tag not closed: `>` not found before end of input (at byte 0)
        "\"a < b\"": the info file cannot be read: not well-formed XML: attribute COMMAND of <DOWNLOAD> holds a raw "<", which must be written &lt; (at byte 0)
        "#);
    }
}
