//! What the stock Windows agent says, built from the protocol page: unterminated streams, attributes mixed with elements,
//! NOTIFY, the results that only it has. Every reply is looked at with the eyes of both stock agents (ocs-protocol 1.6).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use dripfeed::model::limits::RequestLimits;
use dripfeed::protocol::envelope::{self, Container};
use dripfeed::protocol::xml::{self, Element};
use flate2::{Compress, Compression, FlushCompress};

use crate::util::process::Site;
use crate::util::web::{Answer, Line};

const WINDOWS: &str = "OCS-NG_WINDOWS_AGENT_v2.11.0.1";

/// A zlib stream as that agent writes it: every 32 KiB of input end in a sync flush, and the stream has no end.
fn flushed(text: &str) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::default(), true);
    let mut stream = Vec::with_capacity(text.len() + 1024);
    for chunk in text.as_bytes().chunks(32 << 10) {
        deflate.compress_vec(chunk, &mut stream, FlushCompress::Sync).expect("memory");
    }
    assert!(stream.ends_with(&[0, 0, 0xff, 0xff]), "a sync flush, and no checksum");
    stream
}

/// A request of that agent: its declaration, four blanks a level.
fn request(attributes: &str, inside: &[String]) -> String {
    let mut text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<REQUEST{attributes}>\n");
    for line in inside {
        let _ = writeln!(text, "    {line}");
    }
    text + "</REQUEST>\n"
}

fn device(name: &str) -> String {
    format!("<DEVICEID>{name}-2024-03-05-09-10-11</DEVICEID>")
}

fn prolog(name: &str) -> String {
    request("", &[device(name), "<CONTENT />".to_owned(), "<QUERY>PROLOG</QUERY>".to_owned()])
}

fn report(name: &str, package: &str, code: &str) -> String {
    let attributes = format!(" ID=\"{package}\" ERR=\"{code}\"");
    request(&attributes, &[device(name), "<CONTENT />".to_owned(), "<QUERY>DOWNLOAD</QUERY>".to_owned()])
}

/// An inventory; `more` is what a test is about.
fn inventory(name: &str, more: &str) -> String {
    let content = format!(
        "<CONTENT>
        <HARDWARE><NAME>{name}</NAME><OSNAME>Microsoft Windows 11 Pro</OSNAME><OSVERSION>10.0.22631</OSVERSION>
            <IPADDR>10.1.2.42</IPADDR><USERID>alice</USERID><LASTDATE>2024-03-05</LASTDATE><CHECKSUM>4194303</CHECKSUM></HARDWARE>
        <BIOS SSN=\"SN-{name}\"><SMODEL>Model 7</SMODEL></BIOS>
        <NETWORKS><IPADDRESS>10.1.2.42</IPADDRESS><IPMASK>255.255.255.0</IPMASK><IPSUBNET>10.1.2.0</IPSUBNET>
            <MACADDR>02:00:00:00:00:2A</MACADDR></NETWORKS>
        <SLOTS><NAME>PCI 1</NAME><SHARED>0</SHARED></SLOTS>
        {more}
    </CONTENT>"
    );
    request("", &[content, device(name), "<QUERY>INVENTORY</QUERY>".to_owned()])
}

fn post(line: &mut Line, text: &str) -> Answer {
    let headers = format!(
        "User-Agent: {WINDOWS}\r\nContent-Type: application/x-compressed\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
    );
    line.request("POST", "/ocsinventory", &headers, &flushed(text)).expect("an answer")
}

/// Sends it; both agents must be able to use what comes back. Gives the reply, if there is one.
#[track_caller]
fn say(line: &mut Line, text: &str) -> Option<Element> {
    let answer = post(line, text);
    assert_eq!(answer.status, 200, "{}\nto {text}", answer.text());
    let head = answer.head.to_ascii_lowercase();
    assert!(head.contains("content-length: ") && !head.contains("content-encoding"), "{head}");
    if answer.body.is_empty() {
        return None;
    }
    let (container, document) = envelope::open(&answer.body, 1 << 20).expect("it opens");
    assert_eq!(container, Container::Zlib, "neither agent reads anything else");
    let document = String::from_utf8(document).expect("UTF-8");
    let root = usable(&document).unwrap_or_else(|problem| panic!("{problem}\n{document}"));
    Some(root)
}

/// The demands of both agents on a reply, and of ours: deterministic, nothing empty, nothing twice.
fn usable(document: &str) -> Result<Element, String> {
    let ensure = |holds: bool, problem: &str| if holds { Ok(()) } else { Err(problem.to_owned()) };
    ensure(document.starts_with("<?xml version='1.0' encoding='UTF-8'?>\n<REPLY>\n"), "declaration or root")?;
    ensure(!document.contains("<!"), "a DOCTYPE, a comment or CDATA")?;
    let root = xml::parse(document.as_bytes(), &RequestLimits::DEFAULT).map_err(|error| error.to_string())?;
    ensure(root.attributes.is_empty(), "Windows agents look for elements below the root")?;
    let mut once = BTreeSet::new();
    for child in &root.children {
        if !matches!(child.name.as_str(), "OPTION" | "ACCOUNTINFO") {
            ensure(once.insert(&child.name), "a leaf twice is an array for Unix agents")?;
            ensure(child.children.is_empty() && child.attributes.is_empty(), "a leaf is a leaf")?;
            ensure(!child.text.is_empty() && child.text.trim() == child.text, "padded or empty leaf")?;
        }
    }
    let word = root.value("RESPONSE").ok_or("no RESPONSE: Windows agents fall over it")?;
    if matches!(word, "NO_UPDATE" | "NO_ACCOUNT_UPDATE" | "ACCOUNT_UPDATE") {
        return Ok(root);
    }
    ensure(matches!(word, "SEND" | "STOP"), "Unix agents compare exactly")?;
    let number = |name: &str| root.child(name).and_then(|leaf| leaf.text.parse::<u32>().ok());
    ensure(number("PROLOG_FREQ").is_some_and(|hours| hours > 0), "PROLOG_FREQ")?;
    ensure(number("INVENTORY_ON_STARTUP").is_some_and(|flag| flag < 2), "INVENTORY_ON_STARTUP")?;
    let mut names = Vec::new();
    for option in root.children_named("OPTION") {
        let name = option.child("NAME").map(|leaf| leaf.text.as_str()).unwrap_or_default();
        names.push(name);
        ensure(option.attributes.is_empty(), "OPTION has elements alone")?;
        for param in option.children_named("PARAM") {
            ensure(param.children.is_empty(), "a value of PARAM is an attribute")?;
            let value = |name: &str| param.value(name).unwrap_or_default();
            match name {
                "DOWNLOAD" => ensure(param.text.trim().is_empty() && matches!(value("TYPE"), "CONF" | "PACK"), "TYPE")?,
                "REGISTRY" => {
                    ensure(!value("NAME").is_empty() && !value("REGKEY").is_empty(), "REGISTRY")?;
                    ensure(value("REGTREE").parse::<u8>().is_ok_and(|tree| tree < 5), "REGTREE")?;
                    ensure(!param.text.is_empty(), "the value's name is text")?;
                }
                "IPDISCOVER" => {
                    ensure(param.text.parse::<std::net::Ipv4Addr>().is_ok(), "the network is text")?;
                    ensure(value("IPDISC_LAT").parse::<u32>().is_ok(), "IPDISC_LAT")?;
                }
                other => return Err(format!("no agent knows an option \"{other}\"")),
            }
        }
    }
    let order = ["REGISTRY", "IPDISCOVER", "DOWNLOAD"];
    ensure(order.iter().filter(|name| names.contains(name)).eq(names.iter()), "order of the options")?;
    let download = root.children_named("OPTION").last().ok_or("no OPTION")?;
    let mut params = download.children_named("PARAM");
    let conf = params.next().ok_or("no CONF")?;
    ensure(conf.value("TYPE") == Some("CONF"), "CONF comes first")?;
    for name in
        ["ON", "FRAG_LATENCY", "CYCLE_LATENCY", "PERIOD_LATENCY", "PERIOD_LENGTH", "TIMEOUT", "EXECUTION_TIMEOUT"]
    {
        ensure(conf.value(name).is_some_and(|text| text.parse::<u32>().is_ok()), name)?;
    }
    let mut packages = BTreeSet::new();
    for pack in params {
        ensure(pack.value("TYPE") == Some("PACK"), "one CONF")?;
        let id = pack.value("ID").unwrap_or_default();
        // An empty one makes the Windows agent clean its whole folder; one of another length is found within others.
        ensure(id.len() == 10 && id.bytes().all(|digit| digit.is_ascii_digit()), "ID")?;
        ensure(packages.insert(id), "a package twice")?;
        for name in ["INFO_LOC", "PACK_LOC"] {
            let location = pack.value(name).unwrap_or_default();
            ensure(!location.is_empty() && !location.contains("://"), name)?;
        }
        for name in ["CERT_PATH", "CERT_FILE", "SCHEDULE", "POSTCMD", "FORCE"] {
            ensure(pack.attributes.iter().any(|(key, _)| key == name), name)?;
        }
        ensure(matches!(pack.value("FORCE"), Some("0" | "1")), "FORCE")?;
    }
    Ok(root)
}

fn option<'a>(reply: &'a Element, name: &'a str) -> Option<&'a Element> {
    reply.children_named("OPTION").find(|option| option.value("NAME") == Some(name))
}

#[test]
fn the_model_of_the_agents_refuses_what_would_break_them() {
    let whole = "<?xml version='1.0' encoding='UTF-8'?>\n<REPLY>\n<RESPONSE>SEND</RESPONSE><PROLOG_FREQ>24</PROLOG_FREQ>\
        <INVENTORY_ON_STARTUP>1</INVENTORY_ON_STARTUP><OPTION><NAME>DOWNLOAD</NAME>\
        <PARAM TYPE=\"CONF\" ON=\"1\" FRAG_LATENCY=\"1\" CYCLE_LATENCY=\"1\" PERIOD_LATENCY=\"1\" PERIOD_LENGTH=\"1\" \
        TIMEOUT=\"1\" EXECUTION_TIMEOUT=\"1\" /><PARAM TYPE=\"PACK\" ID=\"1709630000\" INFO_LOC=\"a/b\" PACK_LOC=\"a/b\" \
        CERT_PATH=\"x\" CERT_FILE=\"x\" SCHEDULE=\"\" POSTCMD=\"\" FORCE=\"0\" /></OPTION></REPLY>";
    usable(whole).expect("this is one");
    for (part, instead, problem) in [
        ("<RESPONSE>SEND</RESPONSE>", "<RESPONSE></RESPONSE>", "empty leaf"),
        ("<RESPONSE>SEND</RESPONSE>", "<RESPONSE> SEND</RESPONSE>", "padded"),
        ("<RESPONSE>SEND</RESPONSE>", "<RESPONSE>SEND</RESPONSE><RESPONSE>SEND</RESPONSE>", "twice"),
        ("<NAME>DOWNLOAD</NAME>", "", "no agent knows"),
        ("<NAME>DOWNLOAD</NAME>", "<NAME>SOMETHING</NAME>", "no agent knows"),
        ("ID=\"1709630000\" ", "", "ID"),
        ("ID=\"1709630000\"", "ID=\"\"", "ID"),
        ("TYPE=\"PACK\" ", "", "TYPE"),
        ("INFO_LOC=\"a/b\"", "INFO_LOC=\"https://a/b\"", "INFO_LOC"),
        (" TIMEOUT=\"1\" EXEC", " TIMEOUT=\"\" EXEC", "TIMEOUT"),
        ("<REPLY>\n", "<REPLY RESPONSE=\"SEND\">\n", "declaration or root"),
    ] {
        assert!(whole.contains(part), "{part}");
        let error = usable(&whole.replacen(part, instead, 1)).expect_err(instead);
        assert!(error.contains(problem), "{instead}: {error}");
    }
}

/// Results that only a Windows agent has, with what becomes of the job.
const RESULTS: [(&str, &str); 14] = [
    ("SUCCESS", "succeeded"),
    ("SUCCESS_REBOOT_INITIATED", "succeeded"),
    ("SUCCESS_REBOOT_REQUIRED", "succeeded"),
    ("SUCCESS_ALREADY_SETUP", "already installed"),
    ("EXIT_CODE_1603", "failed"),
    ("EXIT_CODE_259", "failed"),
    ("ERR_EXECUTE_NO_EXIT_CODE", "failed"),
    ("ERR_EXECUTE_TIMEOUT", "failed"),
    ("ERR_EXECUTE_TOO_MANY_TRY", "failed"),
    ("ERR_UNZIP", "failed"),
    ("ERR_OUT_OF_SPACE", "failed"),
    ("ERR_ABORTED", "failed"),
    ("ERR_BAD_PARAM", "failed"),
    ("ERR_TIMEOUT", "expired"),
];

#[test]
fn every_result_of_a_windows_agent_is_kept_in_its_words() {
    let site = Site::new();
    let served = site.serve();
    let mut line = served.secure();
    for at in 0..RESULTS.len() {
        // Serial numbers differ, so these are no duplicates.
        say(&mut line, &inventory(&format!("win{at}"), "")).expect("a reply");
    }
    let file = site.input("setup.cmd", "exit 0\r\n");
    let build =
        format!("package build {file} --name tool --version 1 --os windows --action execute --command setup.cmd");
    let id = site.say(&build).ok().trim().to_owned();
    site.say(&format!("activate {id} --no-check")).ok();
    let assign =
        ["assign", id.as_str(), "--all", "--force", "--schedule", "2099/01/31 22:00", "--post-command", "reboot"];
    site.run(&assign).ok();
    for (at, (code, _)) in RESULTS.iter().enumerate() {
        let name = format!("win{at}");
        let reply = say(&mut line, &prolog(&name)).expect("a reply");
        let download = option(&reply, "DOWNLOAD").expect("always");
        let pack = download.children_named("PARAM").nth(1).expect("the package is offered");
        let value = |key: &str| pack.value(key).unwrap_or_default().to_owned();
        assert_eq!(
            [value("ID"), value("SCHEDULE"), value("POSTCMD"), value("FORCE")],
            [id.clone(), "2099/01/31 22:00".to_owned(), "REBOOT".to_owned(), "1".to_owned()]
        );
        for _ in 0..2 {
            // The second time because an answer was lost on its way.
            assert!(say(&mut line, &report(&name, &id, code)).is_none(), "200 and nothing else");
        }
        let reply = say(&mut line, &prolog(&name)).expect("a reply");
        assert_eq!(option(&reply, "DOWNLOAD").expect("always").children_named("PARAM").count(), 1, "offered no more");
    }
    let status = site.json(&format!("status {id}"));
    let jobs = status["jobs"].as_array().expect("jobs");
    assert_eq!(jobs.len(), RESULTS.len());
    for (at, (code, state)) in RESULTS.iter().enumerate() {
        let job = jobs.iter().find(|job| job["computer"] == format!("win{at}")).expect("its job");
        assert_eq!((&job["code"], &job["state"]), (&(*code).into(), &(*state).into()));
    }
    served.stop();
}

#[test]
fn the_other_messages_of_a_windows_agent_are_taken() {
    let site = Site::new();
    let served = site.serve();
    let mut line = served.plain();
    // A stranger is asked for its inventory, which is longer than one flush.
    let reply = say(&mut line, &prolog("win")).expect("a reply");
    assert_eq!(reply.value("RESPONSE"), Some("SEND"));
    let titles: String = (0..900).fold(String::new(), |mut text, n| {
        let _ = write!(text, "<SOFTWARES><NAME>Title {n}</NAME><VERSION>{n}.0</VERSION></SOFTWARES>");
        text
    });
    let more = format!(
        "<DOWNLOAD><HISTORY><OLD_DEVICEID>old-2023-01-01-00-00-00</OLD_DEVICEID><PACKAGE ID=\"1709630000\" /></HISTORY></DOWNLOAD>
         <REGISTRY><NAME>Proxy</NAME><REGVALUE>proxy.example:3128</REGVALUE></REGISTRY>
         <REGISTRY NAME=\"All\" REGVALUE=\"one=1\" /><REGISTRY NAME=\"All\" REGVALUE=\"two=2\" />{titles}"
    );
    let text = inventory("win", &more);
    assert!(text.len() > 40 << 10, "two flushes at least");
    let reply = say(&mut line, &text).expect("a reply");
    assert_eq!(reply.value("RESPONSE"), Some("NO_ACCOUNT_UPDATE"));
    // The agent that says nothing of its account the second time is told what the server has.
    assert_eq!(say(&mut line, &text).expect("a reply").value("RESPONSE"), Some("ACCOUNT_UPDATE"));
    assert_eq!(site.json("computer show win --software").as_array().map(Vec::len), Some(900));
    let found = site.json("registry show --computer win");
    assert_eq!(
        found,
        serde_json::json!([
            {"name": "Proxy", "value": "proxy.example:3128"},
            {"name": "All", "value": "one=1"},
            {"name": "All", "value": "two=2"},
        ])
    );
    assert_eq!(site.json("registry show proxy")[0]["computer"], "win");

    let notify = |ip: &str| {
        let lines = [
            device("win"),
            "<CONTENT /><QUERY>NOTIFY</QUERY><TYPE>IP</TYPE>".to_owned(),
            format!("<HARDWARE><NAME>win</NAME><IPADDR>{ip}</IPADDR></HARDWARE>"),
            format!(
                "<IFACE><MAC>02:00:00:00:00:2a</MAC><IP>{ip}</IP><MASK>255.255.0.0</MASK><GW>172.16.0.1</GW>\
                 <SUBNET>172.16.0.0</SUBNET><DHCP /></IFACE>"
            ),
        ];
        request("", &lines)
    };
    assert!(say(&mut line, &notify("172.16.3.4")).is_none(), "200 and nothing else");
    assert_eq!(site.json("computer show win")["ip_address"], "172.16.3.4");
    assert_eq!(site.json("network list")[0]["network"], "172.16.0.0", "the network is another one, too");
    // Its label is not here; nothing of it keeps the agent from going on.
    assert_eq!(line.request("GET", "/ocsinventory/deploy/label", "", b"").expect("an answer").status, 403);
    served.stop();
}

#[test]
fn a_reply_with_every_option_is_one_that_both_agents_read() {
    let site = Site::new();
    site.configure("[settings]\nIPDISCOVER = 2\nIPDISCOVER_LATENCY = 150\nFREQUENCY = 0\n");
    let served = site.serve();
    let mut line = served.secure();
    say(&mut line, &inventory("win", "")).expect("a reply");
    site.run(&["registry", "add", "Proxy <&>", "--key", "SOFTWARE\\A & B \"C\"", "--value", "Server"]).ok();
    site.run(&["registry", "add", "All", "--tree", "HKCU", "--key", "Software\\Grüße"]).ok();
    site.run(&["setting", "set", "IPDISCOVER_SWITCH", "2", "--computer", "win"]).ok();
    let file = site.input("setup.cmd", "exit 0\r\n");
    let build =
        format!("package build {file} --name tool --version 1 --os windows --action execute --command setup.cmd");
    let id = site.say(&build).ok().trim().to_owned();
    site.say(&format!("activate {id} --no-check")).ok();
    site.say(&format!("assign {id} --all")).ok();
    // What both demand, `say` has looked at; here is that nothing is missing, and that saying it again says the same.
    let reply = say(&mut line, &prolog("win")).expect("a reply");
    let names: Vec<&str> = reply.children_named("OPTION").filter_map(|option| option.value("NAME")).collect();
    assert_eq!(names, ["REGISTRY", "IPDISCOVER", "DOWNLOAD"]);
    let params = |name: &str| option(&reply, name).expect(name).children_named("PARAM").cloned().collect::<Vec<_>>();
    let mut asked: Vec<[String; 4]> = params("REGISTRY")
        .iter()
        .map(|param| {
            let value = |name: &str| param.value(name).unwrap_or_default().to_owned();
            [value("NAME"), value("REGTREE"), value("REGKEY"), param.text.clone()]
        })
        .collect();
    asked.sort();
    let row = |row: [&str; 4]| row.map(str::to_owned);
    assert_eq!(
        asked,
        [row(["All", "1", "Software\\Grüße", "*"]), row(["Proxy <&>", "2", "SOFTWARE\\A & B \"C\"", "Server"]),]
    );
    let network = params("IPDISCOVER");
    assert_eq!((network[0].text.as_str(), network[0].value("IPDISC_LAT")), ("10.1.2.0", Some("150")));
    assert_eq!(params("DOWNLOAD").len(), 2, "the settings and the package");
    assert_eq!(say(&mut line, &prolog("win")).expect("a reply"), reply, "in the same order");
    served.stop();
}

/// Every row of ocs-protocol 1.4 with our answer. Where it is another one than the stock server's, the reason is there.
#[test]
fn every_row_of_the_table_of_status_codes() {
    let site = Site::new();
    site.configure("[agents]\nuser_agents = \"known\"\n");
    let served = site.serve();
    let mut line = served.plain();
    assert_eq!(post(&mut line, &inventory("win", "")).status, 200);
    let query = |query: &str, inside: &str| request("", &[device("win"), format!("<QUERY>{query}</QUERY>{inside}")]);
    let anonymous = |query: &str| request("", &[format!("<QUERY>{query}</QUERY>")]);
    let mut rows = String::new();
    let mut row = |what: &str, answer: Answer| {
        let reply = envelope::open(&answer.body, 1 << 20).map_or_else(
            |_| if answer.status == 200 { String::new() } else { answer.text() },
            |(_, document)| {
                let root = xml::parse(&document, &RequestLimits::DEFAULT).expect("well-formed");
                root.value("RESPONSE").unwrap_or_default().to_owned()
            },
        );
        let _ = writeln!(rows, "{what}: {} {}", answer.status, reply.trim_end());
    };
    row("PROLOG", post(&mut line, &prolog("win")));
    row("PROLOG of a stranger", post(&mut line, &prolog("stranger")));
    row("INVENTORY", post(&mut line, &inventory("win", "")));
    row("DOWNLOAD, unknown package", post(&mut line, &report("win", "1", "SUCCESS")));
    row("DOWNLOAD, unknown computer", post(&mut line, &report("stranger", "1709630000", "SUCCESS")));
    row("NOTIFY of a stranger", post(&mut line, &prolog("stranger").replace("PROLOG", "NOTIFY")));
    row("SNMP", post(&mut line, &query("SNMP", "<CONTENT><PRINTERS><A>1</A></PRINTERS></CONTENT>")));
    row("UPDATE", post(&mut line, &query("UPDATE", "<PLATFORM>WINDOWS</PLATFORM><AGENT>1</AGENT>")));
    row("UPDATE without a name", post(&mut line, &anonymous("UPDATE")));
    for name in ["PROLOG", "INVENTORY", "DOWNLOAD", "NOTIFY", "SNMP"] {
        row(&format!("{name} without DEVICEID"), post(&mut line, &anonymous(name)));
    }
    row("ill-formed DEVICEID", post(&mut line, &prolog("win").replace("-09-10-11", "")));
    row("no QUERY", post(&mut line, &request("", &[device("win")])));
    row("FILE", post(&mut line, &query("FILE", "")));
    row("SYSTEM", post(&mut line, &query("SYSTEM", "")));
    row("padded QUERY", post(&mut line, &query(" PROLOG ", "")));
    let with = |line: &mut Line, agent: &str, body: &[u8]| {
        line.request("POST", "/ocsinventory/below", &format!("User-Agent: {agent}\r\n"), body).expect("an answer")
    };
    row("PROLOG, refused User-Agent", with(&mut line, "curl/8.0", &flushed(&prolog("win"))));
    row("DOWNLOAD, that User-Agent", with(&mut line, "curl/8.0", &flushed(&report("win", "1", "SUCCESS"))));
    row("empty body", with(&mut line, WINDOWS, b""));
    row("undecodable body", with(&mut line, WINDOWS, b"\x78\x9c\xff\xff"));
    row("not well-formed", post(&mut line, "<REQUEST><QUERY>PROLOG"));
    row("a DOCTYPE", post(&mut line, &prolog("win").replace("<REQUEST>", "<!DOCTYPE REQUEST><REQUEST>")));
    for (method, path) in [
        ("GET", "/ocsinventory"),
        ("GET", "/ocsinventory/anything"),
        ("GET", "/ocsinventory/deploy/label"),
        ("GET", "/ocsinventory/update/windows/agent/4062"),
        ("PUT", "/ocsinventory"),
        ("OPTIONS", "/ocsinventory"),
    ] {
        row(&format!("{method} {path}"), served.plain().request(method, path, "", b"").expect("an answer"));
    }
    insta::assert_snapshot!(rows, @r#"
    PROLOG: 200 STOP
    PROLOG of a stranger: 200 SEND
    INVENTORY: 200 ACCOUNT_UPDATE
    DOWNLOAD, unknown package: 200 
    DOWNLOAD, unknown computer: 200 
    NOTIFY of a stranger: 200 
    SNMP: 200 
    UPDATE: 200 NO_UPDATE
    UPDATE without a name: 200 NO_UPDATE
    PROLOG without DEVICEID: 400 the request has no DEVICEID
    INVENTORY without DEVICEID: 400 the request has no DEVICEID
    DOWNLOAD without DEVICEID: 400 the request has no DEVICEID
    NOTIFY without DEVICEID: 400 the request has no DEVICEID
    SNMP without DEVICEID: 400 the request has no DEVICEID
    ill-formed DEVICEID: 400 "win-2024-03-05" is not a device id: expected NAME-YYYY-MM-DD-HH-MM-SS
    no QUERY: 400 the request has no QUERY
    FILE: 400 unknown QUERY "FILE"
    SYSTEM: 400 unknown QUERY "SYSTEM"
    padded QUERY: 400 unknown QUERY " PROLOG "
    PROLOG, refused User-Agent: 400 only OCS agents may check in here (agents.user_agents in dripfeed.toml)
    DOWNLOAD, that User-Agent: 200 
    empty body: 400 the request is empty
    undecodable body: 400 the compressed body is damaged
    not well-formed: 400 not well-formed XML: the document ends inside <QUERY> (at byte 22)
    a DOCTYPE: 400 the document has a DOCTYPE, which is never accepted
    GET /ocsinventory: 400 agents talk to this address with POST
    GET /ocsinventory/anything: 400 agents talk to this address with POST
    GET /ocsinventory/deploy/label: 403 files are not delivered here: packages are, below /download
    GET /ocsinventory/update/windows/agent/4062: 403 files are not delivered here: packages are, below /download
    PUT /ocsinventory: 403 this method is not allowed here: agents use POST
    OPTIONS /ocsinventory: 403 this method is not allowed here: agents use POST
    "#);
    served.stop();
}
