//! The agents' door over real HTTP and HTTPS: the bytes that stock agents sent, and the bytes that nobody should send.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use dripfeed::model::limits::RequestLimits;
use dripfeed::protocol::envelope::{self, Container, seal};
use dripfeed::protocol::xml::{self, Element};
use flate2::Compression;
use flate2::write::ZlibEncoder;

#[cfg(target_os = "linux")]
use crate::util::process::clean;
use crate::util::process::{Served, Site};
use crate::util::web::Answer;

/// What the lab's server was told when most of the exchanges were captured.
const LAB: &str = "\
[settings]
DOWNLOAD_FRAG_LATENCY = 1
DOWNLOAD_CYCLE_LATENCY = 1
DOWNLOAD_PERIOD_LATENCY = 1
DOWNLOAD_TIMEOUT = 7
FREQUENCY = 0
";

/// A captured exchange: what was sent, and how the stock server answered.
struct Exchange {
    name: String,
    date: String,
    request: Vec<u8>,
    status: u16,
    reply: Option<Vec<u8>>,
}

/// Every exchange with a request, in the order in which the lab had them: most replies depend on what was said before.
fn exchanges() -> Vec<Exchange> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/exchanges"));
    let mut all: Vec<Exchange> = Vec::new();
    for entry in fs::read_dir(root).expect("the exchanges") {
        let directory = entry.expect("an entry").path();
        let Ok(head) = fs::read_to_string(directory.join("response.headers.txt")) else { continue };
        let body = |prefix: &str| {
            let mut files = fs::read_dir(&directory).expect("a directory").map(|entry| entry.expect("an entry").path());
            let found =
                files.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
            found.map(|path| fs::read(path).expect("a capture"))
        };
        all.push(Exchange {
            name: directory.file_name().expect("a name").to_string_lossy().into_owned(),
            date: head.lines().find_map(|line| line.strip_prefix("Date: ")).unwrap_or("~").to_owned(),
            // An empty body leaves no file behind.
            request: body("request.body").unwrap_or_default(),
            status: head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"),
            reply: body("response.body"),
        });
    }
    // All of one day. The first inventory comes before the one that says it is known.
    all.sort_by_key(|exchange| (exchange.date.clone(), exchange.name.contains("known"), exchange.name.clone()));
    all
}

/// Where our status is another one, and why.
const OTHER_STATUS: [(&str, u16, &str); 8] = [
    ("download-not-delivered", 200, "the lab's proxy answered 503 to a proper report"),
    ("wire-error-agent-too-new", 200, "the user agent was refused, not the body"),
    ("wire-error-clear-without-declaration", 200, "we take markup without a declaration"),
    ("wire-error-empty-body", 400, "the stock engine dies; the body is to blame"),
    ("wire-error-garbage", 400, "the stock engine dies; the body is to blame"),
    ("wire-error-inventory-bare", 200, "the stock engine's SQL fails on an inventory with nothing in it"),
    ("wire-error-not-well-formed", 400, "the stock engine dies; the body is to blame"),
    ("wire-error-unknown-agent", 200, "the user agent was refused, not the body"),
];

/// Where our reply says something else, offers apart, and why.
const OTHER_REPLY: [(&str, &str); 2] = [
    (
        "inventory-known-no-tag",
        "the very bytes of the first inventory, which are the second time for us: the server then sends what it knows",
    ),
    ("prolog-frequency-minus-1", "the stock server then leaves the settings out, and deployments stop (decision 161)"),
];

/// What the lab's server was told at other times; its computer's own settings are ours for all.
fn told(exchange: &str) -> &'static str {
    match exchange {
        "prolog-over-http" | "prolog-force" => {
            "[settings]\nDOWNLOAD_FRAG_LATENCY = 0\nDOWNLOAD_CYCLE_LATENCY = 0\nDOWNLOAD_TIMEOUT = 7\nFREQUENCY = 0\n"
        }
        "prolog-download-off" => {
            "[settings]\nDOWNLOAD = 0\nDOWNLOAD_FRAG_LATENCY = 0\nDOWNLOAD_CYCLE_LATENCY = 0\nDOWNLOAD_TIMEOUT = 7\n\
             FREQUENCY = 0\n"
        }
        "prolog-schedule-postcmd-force-group" => {
            "[settings]\nDOWNLOAD_FRAG_LATENCY = 3\nDOWNLOAD_CYCLE_LATENCY = 4\nDOWNLOAD_PERIOD_LATENCY = 5\n\
             DOWNLOAD_PERIOD_LENGTH = 6\nDOWNLOAD_TIMEOUT = 7\nFREQUENCY = 0\n"
        }
        "prolog-frequency-minus-1" => "[settings]\nFREQUENCY = -1\nPROLOG_FREQ = 2\n",
        "prolog-frequency-not-due" => {
            "[settings]\nDOWNLOAD_FRAG_LATENCY = 7\nDOWNLOAD_CYCLE_LATENCY = 8\nDOWNLOAD_PERIOD_LATENCY = 5\n\
             DOWNLOAD_PERIOD_LENGTH = 9\nDOWNLOAD_TIMEOUT = 7\nFREQUENCY = 1\nPROLOG_FREQ = 2\n"
        }
        "prolog-machine-switch-off" => {
            "[settings]\nDOWNLOAD = 0\nDOWNLOAD_FRAG_LATENCY = 7\nDOWNLOAD_CYCLE_LATENCY = 8\nDOWNLOAD_PERIOD_LATENCY = 5\n\
             DOWNLOAD_PERIOD_LENGTH = 9\nDOWNLOAD_TIMEOUT = 7\nFREQUENCY = 1\nPROLOG_FREQ = 2\n"
        }
        _ => LAB,
    }
}

/// A document without order, and without offers: the lab's packages are not ours. (How offers are written, `wire.rs`
/// compares with the same replies.)
fn canonical(document: &[u8]) -> Element {
    fn sort(element: &mut Element) {
        let is_offer = |child: &Element| child.name == "PARAM" && child.value("TYPE") == Some("PACK");
        element.children.retain(|child| !is_offer(child));
        element.attributes.sort();
        element.children.iter_mut().for_each(sort);
        element.children.sort_by_key(|child| format!("{child:?}"));
        if !element.children.is_empty() {
            element.text.clear();
        }
    }
    let mut root = xml::parse(document, &RequestLimits::DEFAULT).expect("well-formed");
    sort(&mut root);
    root
}

fn opened(body: &[u8]) -> (Container, Vec<u8>) {
    envelope::open(body, 1 << 20).expect("it opens")
}

#[test]
fn captured_requests_are_answered_as_by_the_stock_server_on_both_listeners() {
    for listener in ["HTTP", "HTTPS"] {
        let connect = |served: &Served| if listener == "HTTP" { served.plain() } else { served.secure() };
        let site = Site::new();
        let mut settings = LAB;
        site.configure(settings);
        let mut served = site.serve();
        let mut line = connect(&served);
        // Two computers that the lab had met before, the second with a TAG.
        for (device, tag) in [("labhost-2026-11-20-08-49-01", "NA"), ("labhost-2026-11-20-08-49-24", "FIRST")] {
            let content = format!("<ACCOUNTINFO><KEYNAME>TAG</KEYNAME><KEYVALUE>{tag}</KEYVALUE></ACCOUNTINFO>");
            assert_eq!(line.post(&zlib(&document(device, &content))).status, 200);
        }
        let (mut other_status, mut other_reply) = (BTreeSet::new(), BTreeSet::new());
        let (mut compared, mut empty, mut refused) = (0, 0, 0);
        for exchange in exchanges() {
            let name = exchange.name.as_str();
            if told(name) != settings {
                settings = told(name);
                served.stop();
                site.configure(settings);
                served = site.serve();
                line = connect(&served);
            }
            let answer = line.post(&exchange.request);
            if answer.status != exchange.status {
                other_status.insert((name.to_owned(), answer.status));
            }
            assert!(!answer.head.to_ascii_lowercase().contains("content-encoding"), "{name}: {}", answer.head);
            // Where either refuses there is nothing to compare: pages of Apache's, sentences of ours.
            if answer.status != 200 || exchange.status != 200 {
                assert!(answer.status == 200 || answer.is_sentence(), "{listener} {name}: {}", answer.head);
                refused += 1;
                continue;
            }
            let Some(stock) = &exchange.reply else {
                assert!(answer.body.is_empty(), "{listener} {name}: the stock server says nothing");
                empty += 1;
                continue;
            };
            let ((container, ours), (_, stock)) = (opened(&answer.body), opened(stock));
            assert_eq!(container, opened(&exchange.request).0, "{listener} {name}");
            compared += 1;
            if canonical(&ours) != canonical(&stock) {
                println!("{name}\n{}\n{}", String::from_utf8_lossy(&ours), String::from_utf8_lossy(&stock));
                other_reply.insert(name.to_owned());
            }
        }
        let expected = OTHER_STATUS.iter().map(|(name, status, _)| ((*name).to_owned(), *status)).collect();
        assert_eq!(other_status, expected, "over {listener}");
        assert_eq!(other_reply, OTHER_REPLY.iter().map(|(name, _)| (*name).to_owned()).collect(), "over {listener}");
        assert_eq!((compared, empty, refused), (19, 16, 10), "over {listener}");
        served.stop();
    }
}

/// What there is to compare of the answer to a captured exchange that is no POST.
enum Body {
    /// XML, but for whose file it is and what we add to it ([`OTHER_INFO`]).
    Document(&'static str),
    /// Every byte.
    Bytes(&'static str),
    /// Nothing: the stock server's is a page of Apache's that no agent reads. Ours is a sentence.
    Page,
}

/// The other exchanges: what was asked for, the stock servers' status, and their body.
const FETCHES: [(&str, &str, &str, u16, Body); 6] = [
    ("info-get", "GET", "/download/{command}/info", 200, Body::Document("exchanges/info-get/response.body.xml")),
    ("info-missing", "GET", "/download/1795164409/info", 404, Body::Page),
    ("fragment-get", "GET", "/download/{archive}/{archive}-1", 200, Body::Bytes("packages/launch-pri5/1795164357-1")),
    ("fragment-missing", "GET", "/download/{archive}/{archive}-99", 404, Body::Page),
    ("wire-error-get", "GET", "/ocsinventory", 400, Body::Page),
    ("wire-error-put", "PUT", "/ocsinventory", 403, Body::Page),
];

/// Attributes in which an info file of ours is another than the stock console's, and why.
const OTHER_INFO: [(&str, &str); 3] = [
    ("ID", "the package is ours"),
    ("SHA256", "an addition of ours, which stock agents pass over"),
    ("SHA256_FRAGS", "likewise"),
];

fn captured(path: &str) -> Vec<u8> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire"));
    fs::read(root.join(path)).unwrap_or_else(|error| panic!("tests/wire/{path}: {error}"))
}

fn canonical_info(document: &[u8]) -> Element {
    let mut info = canonical(document);
    info.attributes.retain(|(name, _)| OTHER_INFO.iter().all(|(other, _)| name != other));
    info
}

#[test]
fn every_captured_exchange_is_replayed() {
    // As many as the lab has; one that is added to it has to be added here, too.
    let mut names: BTreeSet<String> = exchanges().into_iter().map(|exchange| exchange.name).collect();
    names.extend(FETCHES.map(|(name, ..)| name.to_owned()));
    assert_eq!(names.len(), 51);

    let site = Site::new();
    let build = |name: &str, priority: &str, rest: &[&str]| {
        let described = ["--name", name, "--version", "1", "--os", "linux", "--priority", priority];
        let id = site.run(&[&["package", "build"], rest, &described].concat()).ok();
        id.trim().to_owned()
    };
    // What the lab's two packages were made of.
    let file = site.input("one.tar.gz", captured("packages/launch-pri5/1795164357-1"));
    let archive = build("one", "5", &[&file, "--action", "launch", "--command", "setup.sh one two"]);
    let command = build("two", "1", &["--action", "execute", "--command", "echo executed >> /srv/ran.log"]);
    let served = site.serve();
    let ask = |method: &str, path: &str| {
        let body: Vec<u8> = if method == "PUT" { zlib(&prolog(DEVICE)) } else { Vec::new() };
        served.secure().request(method, path, "TE: deflate,gzip;q=0.3\r\n", &body).expect("an answer")
    };
    for (name, method, path, status, body) in FETCHES {
        let answer = ask(method, &path.replace("{archive}", &archive).replace("{command}", &command));
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        match body {
            Body::Document(file) => assert_eq!(canonical_info(&answer.body), canonical_info(&captured(file)), "{name}"),
            Body::Bytes(file) => assert_eq!(answer.body, captured(file), "{name}"),
            Body::Page => assert!(answer.is_sentence(), "{name}: {}", answer.head),
        }
    }
    // The fragment's package as well, digest and all.
    let info = ask("GET", &format!("/download/{archive}/info"));
    assert_eq!(canonical_info(&info.body), canonical_info(&captured("packages/launch-pri5/info")));
    served.stop();
}

const DEVICE: &str = "ws042-2026-01-02-03-04-05";

fn prolog(device: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REQUEST><DEVICEID>{device}</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>"
    )
}

fn zlib(text: &str) -> Vec<u8> {
    seal(Container::Zlib, text)
}

/// Deflated, but without the last block and the checksum, as the Windows agent sends.
fn unterminated(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.flush()).expect("memory");
    encoder.get_ref().clone()
}

#[test]
fn a_stream_that_is_not_ended_is_taken_as_windows_agents_send_it() {
    let site = Site::new();
    let served = site.serve();
    let body = unterminated(&prolog(DEVICE));
    assert_ne!(body, zlib(&prolog(DEVICE)));
    for mut line in [served.plain(), served.secure()] {
        let answer = line.post(&body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (container, reply) = opened(&answer.body);
        assert_eq!(container, Container::Zlib);
        assert!(String::from_utf8_lossy(&reply).contains("<RESPONSE>SEND</RESPONSE>"));
    }
    served.stop();
}

#[test]
fn what_no_agent_should_send_gets_a_status_and_a_sentence() {
    let site = Site::new();
    let served = site.serve();
    let wrong_device = |device: &str| zlib(&prolog(device));
    let bomb = {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        let blank = vec![b' '; 1 << 20];
        (0..80).try_for_each(|_| encoder.write_all(&blank)).expect("memory");
        encoder.finish().expect("memory")
    };
    let bodies: [(&str, Vec<u8>); 12] = [
        ("nothing", Vec::new()),
        ("garbage", vec![0xde, 0xad, 0xbe, 0xef]),
        ("text", b"hello".to_vec()),
        ("a page", b"<html><body>hello</body></html>".to_vec()),
        ("a DOCTYPE", zlib(&prolog(DEVICE).replace("<REQUEST>", "<!DOCTYPE r [<!ENTITY x \"y\">]><REQUEST>"))),
        ("half a document", zlib(&prolog(DEVICE)[..90])),
        ("a deflate bomb", bomb),
        ("no device id", zlib("<REQUEST><QUERY>PROLOG</QUERY></REQUEST>")),
        ("a device id of another form", wrong_device("stranger")),
        ("a device id that climbs", wrong_device("../../etc/passwd-2026-01-02-03-04")),
        ("a device id of 300 KiB", wrong_device(&format!("{}-2026-01-02-03-04-05", "x".repeat(300 << 10)))),
        ("elements without end", zlib(&format!("<REQUEST>{}", "<A>".repeat(100_000)))),
    ];
    let mut story = String::new();
    let mut tell = |what: &str, answer: &Answer| {
        write!(story, "{what}: {} {}", answer.status, answer.text()).expect("a string");
    };
    for (what, body) in &bodies {
        tell(what, &served.plain().post(body));
    }
    // A body that is announced larger than allowed is not even asked for.
    let mut line = served.plain();
    line.send(b"POST /ocsinventory HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99000000\r\n\r\n")
        .expect("sent");
    tell("99 MB, announced", &line.answer().expect("an answer"));
    let mut line = served.plain();
    tell("17 MiB, sent", &line.post(&vec![b'x'; 17 << 20]));
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        tell(method, &served.plain().request(method, "/ocsinventory", "", b"").expect("an answer"));
    }
    insta::assert_snapshot!(story, @r#"
    nothing: 400 the request is empty
    garbage: 400 the body is neither zlib nor gzip nor XML
    text: 400 the body is neither zlib nor gzip nor XML
    a page: 400 the request has no QUERY
    a DOCTYPE: 400 the document has a DOCTYPE, which is never accepted
    half a document: 400 not well-formed XML: tag not closed: `>` not found before end of input (at byte 83)
    a deflate bomb: 400 the body inflates to more than 67108864 bytes
    no device id: 400 the request has no DEVICEID
    a device id of another form: 400 "stranger" is not a device id: expected NAME-YYYY-MM-DD-HH-MM-SS
    a device id that climbs: 400 "../../etc/passwd-2026-01-02-03-04" is not a device id: expected NAME-YYYY-MM-DD-HH-MM-SS
    a device id of 300 KiB: 400 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is not a device id: expected NAME-YYYY-MM-DD-HH-MM-SS
    elements without end: 400 the document has more than 16 levels of elements
    99 MB, announced: 413 the request's body is larger than 16777216 bytes
    17 MiB, sent: 413 the request's body is larger than 16777216 bytes
    GET: 400 agents talk to this address with POST
    PUT: 403 this method is not allowed here: agents use POST
    DELETE: 403 this method is not allowed here: agents use POST
    PATCH: 403 this method is not allowed here: agents use POST
    "#);
    // It is none the worse for it.
    assert_eq!(served.plain().post(&zlib(&prolog(DEVICE))).status, 200);
    assert!(!served.log().contains("panicked"), "{}", served.log());
    served.stop();
}

/// The most memory that the server has ever had, in KiB.
#[cfg(target_os = "linux")]
fn peak(served: &Served) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", served.pid().as_raw_nonzero())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// What is sent to make a server grow or stall. Each body is made while it is sent.
#[cfg(target_os = "linux")]
/// The first piece, the one that is repeated, and how often.
type Pieces = (Vec<u8>, Vec<u8>, usize);

#[test]
fn hostile_bodies_are_answered_within_bounds_while_inventories_are_taken() {
    use flate2::{Compress, FlushCompress};

    let site = Site::new();
    let served = site.serve();
    let inventory = |n: usize| {
        let device = format!("ws{n}-2026-01-02-03-04-05");
        zlib(&document(&device, &format!("<HARDWARE><NAME>ws{n}</NAME></HARDWARE><BIOS><SSN>S{n}</SSN></BIOS>")))
    };
    assert_eq!(served.plain().post(&inventory(0)).status, 200);

    let zeros = {
        let mut deflater = Compress::new(Compression::best(), true);
        let mut block = || {
            let mut packed = Vec::with_capacity(1 << 16);
            deflater.compress_vec(&vec![0; 1 << 20], &mut packed, FlushCompress::Full).expect("room enough");
            packed
        };
        (block(), block())
    };
    let entities: String = (1..10).fold(String::new(), |mut text, n| {
        let _ = write!(text, "<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10));
        text
    });
    let laughs = format!(
        "<?xml version='1.0'?><!DOCTYPE l [<!ENTITY l0 'lol'>{entities}]><REQUEST><QUERY>&l9;</QUERY></REQUEST>"
    );
    let attributes = |distinct: bool| {
        let more = (0..800_000).fold(String::new(), |mut text, n| {
            let _ = if distinct { write!(text, " a{n}=''") } else { write!(text, " again=''") };
            text
        });
        format!("<REQUEST{more}/>")
    };
    let whole = |text: &str| (zlib(text), Vec::new(), 0);
    let long = "x".repeat(12 << 20);
    let bodies: [(&str, Pieces); 9] = [
        ("10 GB of zeros", (zeros.0, zeros.1, 10 * 1024 - 1)),
        ("a billion laughs", whole(&laughs)),
        ("800,000 attributes", whole(&attributes(true))),
        ("800,000 times one attribute", whole(&attributes(false))),
        ("deep nesting", whole(&"<a>".repeat(4_000_000))),
        ("deep nesting of DEVICEID", whole(&prolog(&"<DEVICEID>".repeat(100_000)))),
        ("a DEVICEID of 12 MiB", whole(&prolog(&format!("{long}-2026-01-02-03-04-05")))),
        ("comments without end", whole(&format!("<REQUEST>{}", "<!-- ".repeat(1_000_000)))),
        ("references without end", whole(&format!("<REQUEST>{}", "&#x".repeat(4_000_000)))),
    ];
    let before = peak(&served);
    let mut story = String::new();
    for (at, (what, (first, again, times))) in bodies.iter().enumerate() {
        let mut line = served.plain();
        let length = first.len() + again.len() * times;
        assert!(length < 16 << 20, "{what}: {length} bytes would not be read at all");
        let head = format!("POST /ocsinventory HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        line.send(head.as_bytes()).and_then(|()| line.send(first)).expect("sent");
        // In between, others are answered.
        assert_eq!(served.secure().post(&inventory(at + 1)).status, 200, "{what}");
        for _ in 0..*times {
            line.send(again).expect("sent");
        }
        let answer = line.answer().expect("an answer");
        let text: String = answer.text().trim_end().chars().take(120).collect();
        writeln!(story, "{what}: {} {text}", answer.status).expect("a string");
    }
    insta::assert_snapshot!(story, @r#"
    10 GB of zeros: 400 the body inflates to more than 67108864 bytes
    a billion laughs: 400 the document has a DOCTYPE, which is never accepted
    800,000 attributes: 400 the document has more than 256 attributes in one element
    800,000 times one attribute: 400 not well-formed XML: in <REQUEST>: position 17: duplicated attribute, previous declaration at position 8 (at byte 0)
    deep nesting: 400 the document has more than 16 levels of elements
    deep nesting of DEVICEID: 400 the document has more than 16 levels of elements
    a DEVICEID of 12 MiB: 400 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is not a device id: expected NAME-YYY
    comments without end: 400 not well-formed XML: comment not closed: `-->` not found before end of input (at byte 9)
    references without end: 400 not well-formed XML: entity or character reference not closed: `;` not found before end of input (at byte 9)
    "#);
    // The body and what it inflates to at its bound, twice because of how vectors grow, and room for the allocator.
    let grown = (peak(&served) - before) / 1024;
    println!("the server's peak grew by {grown} MiB");
    assert!(grown < 16 + 2 * 64 + 64, "{grown} MiB");
    let computers = site.json("computer list");
    assert_eq!(computers.as_array().map(Vec::len), Some(bodies.len() + 1), "nothing that was answered 200 is lost");
    assert!(!served.log().contains("panicked"), "{}", served.log());
    served.stop();
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let site = Site::new();
    let served = site.serve();
    for mut line in [served.plain(), served.secure()] {
        let body = zlib(&prolog(DEVICE));
        let head = format!(
            "POST /ocsinventory HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        line.send(head.as_bytes()).expect("sent");
        assert_eq!(line.answer().expect("an interim answer").status, 100);
        line.send(&body).expect("sent");
        assert_eq!(line.answer().expect("an answer").status, 200);
    }
    served.stop();
}

/// Lets no file of that process grow, or takes the bound away.
#[cfg(target_os = "linux")]
fn bound_files(served: &Served, bytes: Option<u64>) {
    use rustix::process::{Resource, Rlimit, prlimit};

    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(served.pid()), Resource::Fsize, limit).expect("a limit");
}

#[cfg(target_os = "linux")]
#[test]
fn a_store_that_cannot_write_is_503_and_one_line_and_heals_by_itself() {
    let site = Site::new();
    // A write beyond the bound is an error and not a signal.
    let mut command = clean("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" serve --http 127.0.0.1:0 --https 127.0.0.1:0"])
        .arg(env!("CARGO_BIN_EXE_dripfeed"))
        .env("DRIPFEED_DATA_DIR", site.data())
        .current_dir(site.root());
    let served = Served::start(command, &site.data());
    let mut line = served.plain();
    let inventory = |n: u32| zlib(&document(DEVICE, &format!("<HARDWARE><NAME>ws{n}</NAME></HARDWARE>")));
    assert_eq!(line.post(&inventory(1)).status, 200);

    bound_files(&served, Some(0));
    let answer = line.post(&inventory(2));
    assert_eq!(answer.status, 503, "{}", answer.text());
    insta::assert_snapshot!(answer.text().trim_end(), @"the server cannot take this at the moment; the agent will try again");
    assert!(answer.head.to_ascii_lowercase().contains("retry-after: "), "{}", answer.head);
    // Reading goes on: an unknown computer's prolog writes nothing.
    assert_eq!(line.post(&zlib(&prolog("other-2026-01-02-03-04-05"))).status, 200);
    let log = served.logged("failed to answer an agent", 1);
    assert_eq!(log.matches("failed to answer an agent").count(), 1, "{log}");
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");

    bound_files(&served, None);
    assert_eq!(line.post(&inventory(3)).status, 200);
    assert_eq!(site.json("computer list")[0]["name"], "ws3");
    served.stop();
}

#[test]
fn an_info_file_is_not_for_plain_http_and_a_withdrawn_package_is_gone() {
    let site = Site::new();
    let served = site.serve();
    let id = site.package();
    let (info, fragment) = (format!("/download/{id}/info"), format!("/download/{id}/{id}-1"));
    let refused = served.plain().get(&info);
    assert_eq!(refused.status, 403);
    insta::assert_snapshot!(refused.text().trim_end(), @"info files carry the command to run and are served over HTTPS only: ask the HTTPS address for this file");
    assert_eq!(served.secure().get(&info).status, 200);
    for mut line in [served.plain(), served.secure()] {
        assert_eq!(line.get(&fragment).status, 200);
    }
    site.say(&format!("package withdraw {id}")).ok();
    for (mut line, path) in [
        (served.plain(), &fragment),
        (served.secure(), &fragment),
        (served.secure(), &info),
        (served.secure(), &fragment),
    ] {
        assert_eq!(line.get(path).status, 404, "{path}");
    }
    served.stop();
}

fn document(device: &str, content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REQUEST><CONTENT>{content}</CONTENT><DEVICEID>{device}</DEVICEID>\
         <QUERY>INVENTORY</QUERY></REQUEST>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text that some program, somewhere, would take for something else.
const HOSTILE: [&str; 9] = [
    "'; DROP TABLE computers; --",
    "<script>alert(1)</script>",
    "$(touch pwned) `touch pwned` | touch pwned",
    "red\u{1b}[31m\u{1b}]0;title\u{7}text",
    "\u{202e}txt.exe\u{202c} reversed",
    "👩‍👩‍👧 größe 日本語",
    "%s%n{0}{{7*7}}${jndi:ldap://x}",
    "\"quoted\" \\back\\slash 'single'",
    "../../../../etc/passwd",
];

#[test]
fn hostile_values_come_back_unchanged_and_move_no_terminal() {
    let site = Site::new();
    let served = site.serve();
    let mut line = served.secure();
    let fields: [(&str, &str); 11] = [
        ("name", "HARDWARE/NAME"),
        ("os", "HARDWARE/OSNAME"),
        ("os_version", "HARDWARE/OSVERSION"),
        ("architecture", "HARDWARE/ARCH"),
        ("ip_address", "HARDWARE/IPADDR"),
        ("user", "HARDWARE/USERID"),
        ("workgroup", "HARDWARE/WORKGROUP"),
        ("uuid", "HARDWARE/UUID"),
        ("serial", "BIOS/SSN"),
        ("model", "BIOS/SMODEL"),
        ("tag", "TAG"),
    ];
    for (at, hostile) in HOSTILE.iter().enumerate() {
        let value = escaped(hostile);
        let section = |name: &str| -> String {
            let leaf = |(_, path): &(&str, &str)| {
                path.strip_prefix(name)?.strip_prefix('/').map(|leaf| format!("<{leaf}>{value}</{leaf}>"))
            };
            format!("<{name}>{}</{name}>", fields.iter().filter_map(leaf).collect::<String>())
        };
        let content = format!(
            "{}{}<NETWORKS><IPADDRESS>{value}</IPADDRESS><MACADDR>{value}</MACADDR></NETWORKS>\
             <ACCOUNTINFO><KEYNAME>TAG</KEYNAME><KEYVALUE>{value}</KEYVALUE></ACCOUNTINFO>\
             <SOFTWARES><NAME>{value}</NAME><COMMENTS>{value}</COMMENTS></SOFTWARES>",
            section("HARDWARE"),
            section("BIOS")
        );
        let device = format!("ws{at}-2026-01-02-03-04-05");
        let document = document(&device, &content);
        let answer = line.post(&zlib(&document));
        assert_eq!(answer.status, 200, "{hostile:?}: {}", answer.text());

        // XML knows no control characters, so the columns have what stands for them; the document has them all.
        let column = hostile.replace(|c: char| c.is_control(), "\u{fffd}");
        let shown = site.json(&format!("computer show {device}"));
        for (key, _) in &fields {
            assert_eq!(shown[*key].as_str(), Some(&*column), "{key}");
        }
        assert_eq!(shown["networks"][0]["ip_address"].as_str(), Some(&*column));
        assert_eq!(shown["networks"][0]["mac"].as_str(), Some(&*column));
        let kept = site.say(&format!("computer show {device} --inventory")).ok();
        assert_eq!(kept, document, "{hostile:?}");
        // What a section says is found by it, and by nothing that it would mean to a database.
        let quoted = column.replace('\\', "\\\\").replace('\'', "\\'");
        let found = site.run(&["computer", "list", "--json", "--where", &format!("section BIOS.SMODEL = '{quoted}'")]);
        let found: serde_json::Value = serde_json::from_str(&found.ok()).expect("JSON");
        assert_eq!((found.as_array().map(Vec::len), found[0]["device_id"].as_str()), (Some(1), Some(&*device)));
    }
    // For people: every verb that shows them, and a sentence that names them.
    let mut texts = vec![site.say("computer list").ok(), served.log()];
    for at in 0..HOSTILE.len() {
        texts.push(site.say(&format!("computer show ws{at}-2026-01-02-03-04-05")).ok());
    }
    let (name, os) = (escaped(HOSTILE[3]), "Microsoft Windows \u{1b}[2J\u{202e}11");
    let content = format!("<HARDWARE><NAME>{name}</NAME><OSNAME>{os}</OSNAME></HARDWARE>");
    let turned = "ws\u{202e}9-2026-01-02-03-04-05";
    assert_eq!(line.post(&zlib(&document(turned, &content))).status, 200);
    texts.push(site.say("computer list").ok());
    texts.push(site.say(&format!("computer show {turned}")).ok());
    let id = site.package();
    texts.push(site.run(&["assign", &id, "--computer", turned]).refused());
    assert!(texts.last().is_some_and(|text| text.contains("Microsoft Windows")), "{texts:?}");
    for text in &texts {
        let mover = text.chars().find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{202a}'..='\u{202e}'));
        assert_eq!(mover, None, "{text:?}");
    }
    assert_eq!(site.json("computer list").as_array().map(Vec::len), Some(HOSTILE.len() + 1));
    assert!(!site.root().join("pwned").exists() && !site.data().join("pwned").exists());
    served.stop();
}

#[test]
fn an_inventory_in_latin_1_is_read_as_it_was_meant_and_kept_as_it_came() {
    let site = Site::new();
    let served = site.serve();
    let text = document(DEVICE, "<HARDWARE><NAME>Zo\u{e9}</NAME><USERID>M\u{fc}ller</USERID></HARDWARE>")
        .replace("UTF-8", "ISO-8859-1");
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&latin).expect("memory");
    let answer = served.plain().post(&encoder.finish().expect("memory"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = site.json(&format!("computer show {DEVICE}"));
    assert_eq!((shown["name"].as_str(), shown["user"].as_str()), (Some("Zoé"), Some("Müller")));
    let kept = site.command(&["computer", "show", DEVICE, "--inventory"]).output().expect("it runs");
    assert_eq!(kept.stdout, latin);
    served.stop();
}

/// The table that tests above compare with is worth its lines only while each of them is met.
#[test]
fn every_difference_has_its_reason() {
    let reasons: BTreeMap<&str, &str> = OTHER_REPLY.into_iter().collect();
    assert_eq!(reasons.len(), OTHER_REPLY.len());
    assert!(reasons.values().all(|reason| !reason.is_empty()));
}
