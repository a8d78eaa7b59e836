//! What stock programs really sent and wrote (`tests/wire/`), against our readers and writers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use dripfeed::model::limits::RequestLimits;
use dripfeed::model::settings::DownloadSettings;
use dripfeed::model::{Days, DeviceId, DigestAlgorithm, FragmentCount, Hasher, Minutes, TreeKey};
use dripfeed::protocol::envelope::{self, Container, EnvelopeError};
use dripfeed::protocol::xml::{self, Element};
use dripfeed::protocol::{
    self, Info, InfoError, InventoryDocument, InventoryReply, PrologReply, Request, RequestError, Section,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const LIMITS: RequestLimits = RequestLimits::DEFAULT;

/// What a captured file is, and so which test reads it. Every role is some test's.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Role {
    /// A request's body as it travelled.
    Request,
    /// What it opens to.
    RequestText,
    /// A reply's body as it travelled.
    Reply,
    /// What it opens to.
    ReplyText,
    /// The head of a reply: its status.
    Status,
    /// An info file.
    Info,
    /// A package's only fragment.
    Fragment,
    /// `config` of an agent's download directory.
    Conf,
    /// Other files of an agent's directory.
    AgentState,
    /// Not captured: about the folder.
    About,
}

impl Role {
    const ALL: [Self; 10] = [
        Self::Request,
        Self::RequestText,
        Self::Reply,
        Self::ReplyText,
        Self::Status,
        Self::Info,
        Self::Fragment,
        Self::Conf,
        Self::AgentState,
        Self::About,
    ];

    fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        Some(match parts.as_slice() {
            ["README.md" | ".gitattributes"] => Self::About,
            ["exchanges", "info-get", "response.body.xml"]
            | ["packages", _, "info"]
            | ["agent-state", "download", _, "info"] => Self::Info,
            ["exchanges", _, "request.body.zlib" | "request.body.gz" | "request.body.xml" | "request.body.bin"] => {
                Self::Request
            }
            ["exchanges", _, "request.xml"] => Self::RequestText,
            ["exchanges", _, "response.body.zlib" | "response.body.gz" | "response.body.xml"] => Self::Reply,
            ["exchanges", _, "response.xml"] => Self::ReplyText,
            ["exchanges", _, "response.headers.txt"] => Self::Status,
            ["packages", _, name] if name.contains('-') => Self::Fragment,
            ["agent-state", "download", "config"] => Self::Conf,
            ["agent-state", "ocsinv.conf" | "ocsinv.adm" | "last_state" | "next_timefile"]
            | ["agent-state", "download", "history" | "lock"]
            | ["agent-state", "download", _, "since" | "task" | "task_done"] => Self::AgentState,
            _ => return None,
        })
    }
}

/// Every file below `tests/wire`, by its path there.
fn all() -> BTreeMap<String, Vec<u8>> {
    fn walk(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(directory).expect("tests/wire can be read") {
            let entry = entry.expect("an entry");
            let path = format!("{prefix}{}", entry.file_name().to_str().expect("a name in UTF-8"));
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{path}/"), files);
            } else {
                files.insert(path, fs::read(entry.path()).expect("a captured file"));
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire")), "", &mut files);
    files
}

fn files(role: Role) -> impl Iterator<Item = (String, Vec<u8>)> {
    let files: Vec<_> = all().into_iter().filter(|(path, _)| Role::of(path) == Some(role)).collect();
    assert!(!files.is_empty(), "no file is a {role:?}");
    files.into_iter()
}

fn file(path: &str) -> Vec<u8> {
    all().remove(path).unwrap_or_else(|| panic!("tests/wire/{path} is missing"))
}

/// The folder that a file is in: the name of an exchange or of a package.
fn folder(path: &str) -> &str {
    path.rsplit('/').nth(1).expect("a folder")
}

fn inflated(body: &[u8]) -> Vec<u8> {
    envelope::open(body, LIMITS.inflated).expect("it opens").1
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

fn read(body: &[u8]) -> Result<(Container, Request), Refused> {
    let (container, document) = envelope::open(body, LIMITS.inflated)?;
    Ok((container, Request::parse(&document, &LIMITS)?))
}

/// A document without what has no meaning: the order of elements and attributes, and white space around elements.
fn canonical(document: &[u8]) -> Element {
    fn sort(element: &mut Element) {
        element.attributes.sort();
        element.children.iter_mut().for_each(sort);
        element.children.sort_by_key(|child| format!("{child:?}"));
        if !element.children.is_empty() {
            element.text.clear();
        }
    }
    let mut root = xml::parse(document, &LIMITS).expect("well-formed");
    sort(&mut root);
    root
}

fn name_of(container: Container) -> &'static str {
    match container {
        Container::Zlib => "zlib",
        Container::Gzip => "gzip",
        Container::Plain => "plain",
    }
}

fn summary(request: &Request) -> String {
    match request {
        Request::Prolog(prolog) => format!("PROLOG {}", prolog.device_id),
        Request::Download(report) => {
            let package = report.package.map_or("-".to_owned(), |package| package.to_string());
            format!("DOWNLOAD {} {package} {}", report.device_id, report.code)
        }
        Request::Notify(notify) => format!("NOTIFY {} {:?} {:?}", notify.device_id, notify.ip_address, notify.networks),
        Request::Update => "UPDATE".to_owned(),
        Request::Snmp { device_id } => format!("SNMP {device_id}"),
        Request::Inventory(inventory) => {
            let history = inventory.history.as_ref().map(|packages| packages.iter().map(|id| id.number()).collect());
            format!(
                "INVENTORY {} of {:?}, {} adapters, history {:?}, account {:?}",
                inventory.device_id,
                inventory.facts.name,
                inventory.networks.len(),
                history.unwrap_or_else(|| vec![0]),
                inventory.account.iter().map(|field| (&*field.key, &*field.value)).collect::<Vec<_>>()
            )
        }
    }
}

#[test]
fn every_captured_file_is_read_by_a_test() {
    let roles: BTreeSet<Role> = all()
        .keys()
        .map(|path| Role::of(path).unwrap_or_else(|| panic!("no test reads tests/wire/{path}: give it a role")))
        .collect();
    assert!(roles.iter().eq(BTreeSet::from(Role::ALL).iter()), "some role has no file: {roles:?}");
    // The tests name a role in full; its definition does not.
    let unread = |role: &&Role| **role != Role::About && !include_str!("wire.rs").contains(&format!("Role::{role:?}"));
    assert_eq!(Role::ALL.iter().filter(unread).collect::<Vec<_>>(), Vec::<&Role>::new());
}

#[test]
fn every_captured_request_is_understood() {
    let lines: String = files(Role::Request).fold(String::new(), |mut lines, (path, body)| {
        let verdict = match read(&body) {
            Ok((container, request)) => format!("{} {}", name_of(container), summary(&request)),
            Err(refused) => format!("400: {refused}"),
        };
        writeln!(lines, "{}: {verdict}", folder(&path)).expect("a String");
        lines
    });
    insta::assert_snapshot!(lines, @r#"
    download-err-bad-digest: zlib DOWNLOAD labhost-2026-11-20-08-47-15 1795164408 ERR_BAD_DIGEST
    download-err-bad-id: zlib DOWNLOAD labhost-2026-11-20-08-47-15 1795164423 ERR_BAD_ID
    download-err-build: zlib DOWNLOAD labhost-2026-11-20-08-47-15 1795164419 ERR_BUILD
    download-err-download-info: zlib DOWNLOAD labhost-2026-11-20-08-47-15 1795164409 ERR_DOWNLOAD_INFO
    download-err-execute: zlib DOWNLOAD labhost-2026-11-20-08-47-15 1795164411 ERR_EXECUTE
    download-err-timeout: zlib DOWNLOAD labhost-2026-11-20-08-48-12 1795164490 ERR_TIMEOUT
    download-not-delivered: zlib DOWNLOAD labhost-2026-11-20-08-48-47 1795164526 SUCCESS_3
    download-success-0: zlib DOWNLOAD labhost-2026-11-20-08-46-04 1795164362 SUCCESS_0
    download-success-3: zlib DOWNLOAD labhost-2026-11-20-08-46-04 1795164358 SUCCESS_3
    download-success-already-setup: zlib DOWNLOAD labhost-2026-11-20-08-48-36 1795164514 SUCCESS_ALREADY_SETUP
    download-success-empty-suffix: zlib DOWNLOAD labhost-2026-11-20-08-48-47 1795164526 SUCCESS_
    download-success: zlib DOWNLOAD labhost-2026-11-20-08-46-04 1795164359 SUCCESS
    inventory-account-update: zlib INVENTORY labhost-2026-11-20-08-49-24 of "labhost", 4 adapters, history [], account []
    inventory-known-no-tag: zlib INVENTORY labhost-2026-11-20-08-46-04 of "labhost", 4 adapters, history [], account []
    inventory-new-machine: zlib INVENTORY labhost-2026-11-20-08-46-04 of "labhost", 4 adapters, history [], account []
    inventory-with-history: zlib INVENTORY labhost-2026-11-20-08-46-04 of "labhost", 4 adapters, history [1795164362, 1795164359, 1795164360, 1795164358, 1795164363, 1795164361, 1795164357], account [("TAG", "NA")]
    inventory-with-tag: zlib INVENTORY labhost-2026-11-20-08-49-22 of "labhost", 4 adapters, history [], account [("TAG", "FIRST")]
    prolog-download-off: zlib PROLOG labhost-2026-11-20-08-48-23
    prolog-force: zlib PROLOG labhost-2026-11-20-08-48-36
    prolog-frequency-minus-1: zlib PROLOG labhost-2026-11-20-08-49-01
    prolog-frequency-not-due: zlib PROLOG labhost-2026-11-20-08-49-01
    prolog-machine-switch-off: zlib PROLOG labhost-2026-11-20-08-49-01
    prolog-new-machine: zlib PROLOG labhost-2026-11-20-08-46-04
    prolog-nothing-left: zlib PROLOG labhost-2026-11-20-08-46-04
    prolog-over-http: zlib PROLOG labhost-2026-11-20-08-48-18
    prolog-schedule-postcmd-force-group: zlib PROLOG labhost-2026-11-20-08-49-01
    prolog-seven-packages: zlib PROLOG labhost-2026-11-20-08-46-04
    wire-download-as-elements: zlib DOWNLOAD labhost-2026-11-20-08-49-39 1795164580 SUCCESS
    wire-download-unknown-device: zlib DOWNLOAD stranger-2020-01-02-03-04-05 1795164580 ERR_X
    wire-download-unknown-package: zlib DOWNLOAD labhost-2026-11-20-08-49-39 1 SUCCESS
    wire-download-without-err: zlib DOWNLOAD labhost-2026-11-20-08-49-39 1795164580 UNKNOWN_CODE
    wire-error-agent-too-new: zlib PROLOG labhost-2026-11-20-08-49-39
    wire-error-bad-deviceid: 400: "stranger" is not a device id: expected NAME-YYYY-MM-DD-HH-MM-SS
    wire-error-clear-without-declaration: plain PROLOG labhost-2026-11-20-08-49-39
    wire-error-garbage: 400: the body is neither zlib nor gzip nor XML
    wire-error-inventory-bare: zlib INVENTORY bare-2020-01-02-03-04-05 of "bare", 0 adapters, history [0], account []
    wire-error-not-well-formed: 400: not well-formed XML: the document ends inside <REQUEST> (at byte 30)
    wire-error-unknown-agent: zlib PROLOG labhost-2026-11-20-08-49-39
    wire-error-unknown-query: 400: unknown QUERY "DANCE"
    wire-notify: zlib NOTIFY labhost-2026-11-20-08-49-39 None []
    wire-prolog-as-attributes: zlib PROLOG labhost-2026-11-20-08-49-39
    wire-prolog-clear-xml: plain PROLOG labhost-2026-11-20-08-49-39
    wire-prolog-gzip: gzip PROLOG labhost-2026-11-20-08-49-39
    wire-update: zlib UPDATE
    "#);
}

/// Where our answer differs from the stock server's, and why.
const OTHER_STATUS: [(&str, &str); 5] = [
    ("download-not-delivered", "the lab's proxy answered 503 to a proper report"),
    ("wire-error-agent-too-new", "the user agent was refused, not the body"),
    ("wire-error-unknown-agent", "the user agent was refused, not the body"),
    ("wire-error-clear-without-declaration", "we take markup without a declaration"),
    ("wire-error-inventory-bare", "the stock engine's SQL fails on an inventory with nothing in it"),
];

#[test]
fn requests_are_refused_where_the_stock_server_refuses_them() {
    let bodies: BTreeMap<String, Vec<u8>> =
        files(Role::Request).map(|(path, body)| (folder(&path).to_owned(), body)).collect();
    let mut differing = BTreeSet::new();
    for (path, head) in files(Role::Status) {
        let head = String::from_utf8(head).expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).expect("a status");
        // An empty body leaves no file behind.
        let body = bodies.get(folder(&path)).cloned().unwrap_or_default();
        if read(&body).is_ok() != (status == 200) {
            differing.insert(folder(&path).to_owned());
        }
    }
    assert_eq!(differing, OTHER_STATUS.iter().map(|(exchange, _)| (*exchange).to_owned()).collect());
}

#[test]
fn bodies_open_to_the_text_beside_them() {
    for (bodies, texts) in [(Role::Request, Role::RequestText), (Role::Reply, Role::ReplyText)] {
        let bodies: BTreeMap<String, Vec<u8>> =
            files(bodies).map(|(path, body)| (folder(&path).to_owned(), body)).collect();
        for (path, text) in files(texts) {
            let body = bodies.get(folder(&path)).unwrap_or_else(|| panic!("{path} has no body beside it"));
            assert_eq!(inflated(body), text, "{path}");
        }
    }
}

#[test]
fn a_stock_reply_travels_as_its_request_did() {
    let requests: BTreeMap<String, Vec<u8>> =
        files(Role::Request).map(|(path, body)| (folder(&path).to_owned(), body)).collect();
    for (path, reply) in files(Role::Reply) {
        let container = |body: &[u8]| Container::of(body).expect("a container");
        assert_eq!(container(&reply), container(&requests[folder(&path)]), "{path}");
    }
}

#[test]
fn our_writers_say_what_the_stock_server_said() {
    for (path, body) in files(Role::Reply) {
        let stock = inflated(&body);
        let ours = match folder(&path).split_once('-').expect("a name with a dash") {
            ("inventory", _) => InventoryReply::parse(&stock).expect(&path).to_xml(),
            ("wire", "update") => protocol::UPDATE_REPLY.to_owned(),
            _ => PrologReply::parse(&stock).expect(&path).to_xml(),
        };
        assert_eq!(canonical(ours.as_bytes()), canonical(&stock), "{path}");
    }
}

#[test]
fn a_reply_with_everything_is_read_whatever_its_order() {
    let reply = PrologReply::parse(&file("exchanges/prolog-frequency-not-due/response.xml")).expect("a reply");
    insta::assert_snapshot!(reply.to_xml(), @r#"
    <?xml version='1.0' encoding='UTF-8'?>
    <REPLY>
      <RESPONSE>STOP</RESPONSE>
      <PROLOG_FREQ>2</PROLOG_FREQ>
      <INVENTORY_ON_STARTUP>1</INVENTORY_ON_STARTUP>
      <OPTION>
        <NAME>DOWNLOAD</NAME>
        <PARAM TYPE="CONF" ON="1" FRAG_LATENCY="7" CYCLE_LATENCY="8" PERIOD_LATENCY="5" PERIOD_LENGTH="9" TIMEOUT="7" EXECUTION_TIMEOUT="120" />
        <PARAM TYPE="PACK" ID="1795164538" INFO_LOC="localhost:28744/download" PACK_LOC="localhost:28781/download" CERT_PATH="INSTALL_PATH" CERT_FILE="INSTALL_PATH/cacert.pem" SCHEDULE="2031/06/30 02:15" POSTCMD="REBOOT" FORCE="1" />
        <PARAM TYPE="PACK" ID="1795164539" INFO_LOC="localhost:28744/download" PACK_LOC="localhost:28781/download" CERT_PATH="INSTALL_PATH" CERT_FILE="INSTALL_PATH/cacert.pem" SCHEDULE="" POSTCMD="" FORCE="0" />
        <PARAM TYPE="PACK" ID="1795164540" INFO_LOC="localhost:28744/download" PACK_LOC="localhost:28781/download" CERT_PATH="INSTALL_PATH" CERT_FILE="INSTALL_PATH/cacert.pem" SCHEDULE="" POSTCMD="" FORCE="0" />
      </OPTION>
    </REPLY>
    "#);
}

#[test]
fn an_account_update_is_read() {
    let reply = InventoryReply::parse(&file("exchanges/inventory-account-update/response.xml")).expect("a reply");
    let InventoryReply::AccountUpdate(fields) = reply else { panic!("no update: {reply:?}") };
    assert_eq!(fields.iter().map(|field| (&*field.key, &*field.value)).collect::<Vec<_>>(), [("TAG", "FIRST")]);
}

#[test]
fn prologs_and_reports_are_written_byte_for_byte_as_the_stock_agent_does() {
    let mut written = 0;
    for (path, stock) in files(Role::RequestText) {
        // What the lab's own client sent has no stock form.
        if folder(&path).starts_with("wire-") {
            continue;
        }
        let ours = match Request::parse(&stock, &LIMITS).expect(&path) {
            Request::Prolog(prolog) => prolog.to_xml(),
            Request::Download(report) => report.to_xml(),
            _ => continue,
        };
        assert_eq!(ours.as_bytes(), stock, "{path}");
        written += 1;
    }
    assert_eq!(written, 22, "ten prologs and twelve reports were captured from the agent");
}

/// An inventory as our agent would have collected it. Names leak: they are constants everywhere else.
fn document(stock: &[u8]) -> InventoryDocument {
    let constant = |name: &str| -> &'static str { name.to_owned().leak() };
    let Request::Inventory(request) = Request::parse(stock, &LIMITS).expect("an inventory") else { panic!() };
    let root = xml::parse(stock, &LIMITS).expect("well-formed");
    let content = root.child("CONTENT").expect("content");
    let sections = content.children.iter().filter(|section| !matches!(&*section.name, "ACCOUNTINFO" | "DOWNLOAD"));
    let section = |section: &Element| Section {
        name: constant(&section.name),
        fields: section.children.iter().map(|leaf| (constant(&leaf.name), leaf.text.clone())).collect(),
    };
    InventoryDocument {
        device_id: request.device_id.clone(),
        sections: sections.map(section).collect(),
        history: request.history.clone().unwrap_or_default(),
        account: request.account.clone(),
    }
}

#[test]
fn inventories_are_written_as_the_stock_agent_does_but_for_empty_leaves() {
    let inventories = files(Role::RequestText).filter(|(path, _)| folder(path).starts_with("inventory-"));
    for (path, stock) in inventories {
        let stock = String::from_utf8(stock).expect("UTF-8");
        // The stock agent writes leaves without a text, sections without leaves on one line, and an empty line at the end.
        let expected: String = stock
            .trim_end()
            .split_inclusive('\n')
            .filter(|line| !(line.starts_with("      <") && line.contains("></")))
            .map(|line| line.replace("    <STORAGES></STORAGES>\n", "    <STORAGES>\n    </STORAGES>\n"))
            .collect();
        assert!(expected.len() > 9000, "{path}: nothing left");
        assert_eq!(document(stock.as_bytes()).to_xml(), expected + "\n", "{path}");
    }
}

#[test]
fn an_inventory_says_what_people_search_by() {
    let request = Request::parse(&file("exchanges/inventory-with-history/request.xml"), &LIMITS);
    let Ok(Request::Inventory(inventory)) = request else { panic!("{request:?}") };
    insta::assert_debug_snapshot!((&inventory.facts, &inventory.networks), @r#"
    (
        ComputerFacts {
            name: "labhost",
            os_name: "Debian GNU/Linux 12",
            os_version: "12",
            architecture: "x86_64",
            ip_address: "192.0.2.2",
            user_name: "",
            workgroup: "lab.example",
            uuid: "",
            serial: "",
            model: "",
            tag: "NA",
        },
        [
            Network {
                ip_address: "",
                mac: "ee:8f:b0:8b:64:26",
                subnet: "",
                mask: "",
            },
            Network {
                ip_address: "",
                mac: "4a:9f:5a:67:ae:21",
                subnet: "",
                mask: "",
            },
            Network {
                ip_address: "192.0.2.2",
                mac: "02:fc:00:00:00:01",
                subnet: "192.0.2.0",
                mask: "255.255.255.0",
            },
            Network {
                ip_address: "fe80::fc:ff:fe00:1",
                mac: "02:fc:00:00:00:01",
                subnet: "fe80::",
                mask: "ffff:ffff:ffff:ffff::",
            },
        ],
    )
    "#);
}

#[test]
fn info_files_are_written_again_byte_for_byte() {
    for (path, stock) in files(Role::Info) {
        if folder(&path) == "bad-html-notify" {
            continue;
        }
        let stock = String::from_utf8(stock).expect("UTF-8");
        // The stock console escapes nothing, which no Unix agent can read.
        let expected = if folder(&path) == "bad-ampersand" { stock.replace("&&", "&amp;&amp;") } else { stock.clone() };
        let info = Info::parse(stock.as_bytes()).expect(&path);
        assert_eq!(info.to_xml(), expected, "{path}");
        assert_eq!(Info::parse(expected.as_bytes()).expect(&path), info, "{path}");
    }
}

#[test]
fn a_command_with_raw_ampersands_is_the_command_that_was_meant() {
    let info = Info::parse(&file("packages/bad-ampersand/info")).expect("an info file");
    assert_eq!(info.action.text(), "true && true");
}

#[test]
fn markup_in_a_notification_is_refused_with_its_place() {
    let error = Info::parse(&file("packages/bad-html-notify/info")).expect_err("not XML");
    let InfoError::Xml(cause) = &error else { panic!("{error:?}") };
    insta::assert_snapshot!(format!("{error}: {cause}"), @r#"the info file cannot be read: not well-formed XML: attribute NOTIFY_TEXT of <DOWNLOAD> holds a raw "<", which must be written &lt; (at byte 39)"#);
}

#[test]
fn the_digest_of_an_info_file_is_that_of_its_fragment() {
    for (path, fragment) in files(Role::Fragment) {
        let package = folder(&path);
        let info = Info::parse(&file(&format!("packages/{package}/info"))).expect(package);
        assert_eq!(info.fragments, FragmentCount(1), "{path}");
        assert_eq!(path, format!("packages/{package}/{}-1", info.package), "{path}");
        let mut hasher = Hasher::new(DigestAlgorithm::Md5);
        hasher.update(&fragment);
        assert_eq!(info.digest, Some(hasher.finish()), "{path}");
    }
}

#[test]
fn the_agents_configuration_file_is_read_and_written_byte_for_byte() {
    for (path, stock) in files(Role::Conf) {
        let settings = protocol::conf_from_xml(&stock).expect(&path);
        let expected = DownloadSettings {
            on: true,
            fragment_latency: 1,
            cycle_latency: 0,
            period_latency: 0,
            period_length: 10,
            timeout: Days(7),
            execution_timeout: Minutes(120),
        };
        assert_eq!(settings, expected);
        assert_eq!(protocol::conf_to_xml(&settings).as_bytes(), stock, "{path}");
    }
}

#[test]
fn a_stock_agents_directory_can_be_taken_over() {
    for (path, content) in files(Role::AgentState) {
        let lines: Vec<&str> = std::str::from_utf8(&content).expect("text").lines().collect();
        match path.rsplit('/').next().expect("a name") {
            "ocsinv.conf" => {
                let conf = xml::parse(&content, &LIMITS).expect("XML");
                let id: DeviceId = conf.value("DEVICEID").expect("a device id").parse().expect("of its form");
                assert_eq!((id.host(), conf.value("PROLOG_FREQ")), ("labhost", Some("24")));
            }
            "ocsinv.adm" => {
                let account = xml::parse(&content, &LIMITS).expect("XML");
                let field = account.child("ACCOUNTINFO").expect("a field");
                assert_eq!((field.value("KEYNAME"), field.value("KEYVALUE")), (Some("TAG"), Some("NA")));
            }
            "since" => assert!(lines[0].parse::<i64>().expect("seconds") > 1_795_000_000),
            "task" => {
                let package = folder(&path);
                let missing = lines.iter().filter(|line| !line.is_empty()).map(|name| format!("{package}/{name}"));
                let keys: Vec<TreeKey> = missing.map(|path| path.parse().expect("a fragment's path")).collect();
                assert_eq!(keys.len(), 3, "three of six had come");
            }
            // Not ours to read: our agent keeps its own state beside them (`tests/it/agent.rs` takes the whole directory over).
            "last_state" | "next_timefile" => {}
            // A number of a process that has ended locks nothing.
            "lock" => assert!(lines[0].parse::<u32>().is_ok(), "a process"),
            // Flags, and a history before the first success.
            "task_done" | "history" => assert_eq!(lines, [""; 0]),
            other => panic!("nobody reads {other}"),
        }
    }
}

#[test]
fn captured_bytes_that_were_damaged_never_break_a_reader() {
    let bodies: Vec<Vec<u8>> = [Role::Request, Role::Reply, Role::Info, Role::Conf]
        .into_iter()
        .flat_map(files)
        .map(|(_, body)| body)
        .collect();
    let damage = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    let body = prop::sample::select(bodies);
    let config = ProptestConfig {
        cases: 96,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_261_120),
        ..ProptestConfig::default()
    };
    proptest!(config, |(mut body in body, open_first: bool, damages in prop::collection::vec(damage, 1..6))| {
        if open_first && let Ok((_, document)) = envelope::open(&body, LIMITS.inflated) {
            body = document;
        }
        for (at, to, byte, kind) in damages {
            if body.is_empty() {
                break;
            }
            let (at, to) = (at.index(body.len()), to.index(body.len()));
            match kind {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => body.truncate(at.max(1)),
                _ => body.copy_within(at.min(to)..at.max(to), 0),
            }
        }
        let document = envelope::open(&body, 1 << 20).map_or(body, |(_, document)| document);
        prop_assert!(document.len() <= 1 << 20);
        if let Ok(Request::Download(report)) = Request::parse(&document, &LIMITS) {
            prop_assert!(Request::parse(report.to_xml().as_bytes(), &LIMITS).is_ok());
        }
        // Whatever was understood can be said again and is understood the same.
        if let Ok(reply) = PrologReply::parse(&document) {
            prop_assert_eq!(PrologReply::parse(reply.to_xml().as_bytes()).ok(), Some(reply));
        }
        if let Ok(reply) = InventoryReply::parse(&document) {
            prop_assert_eq!(InventoryReply::parse(reply.to_xml().as_bytes()).ok(), Some(reply));
        }
        if let Ok(info) = Info::parse(&document) {
            prop_assert_eq!(Info::parse(info.to_xml().as_bytes()).ok(), Some(info));
        }
        if let Ok(settings) = protocol::conf_from_xml(&document) {
            prop_assert_eq!(protocol::conf_from_xml(protocol::conf_to_xml(&settings).as_bytes()).ok(), Some(settings));
        }
    });
}
