//! Identity by key (decision 720), through a real server: who may register, who is believed, and who is refused.

use std::fmt::Write as _;

use dripfeed::clock::Clock;
use dripfeed::protocol::envelope::{Container, seal};
use ring::digest::{SHA256, digest};
use ring::hmac::{HMAC_SHA256, Key};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::util::process::{Served, Site, run};
use crate::util::web::Answer;

const WS: &str = "ws042-2024-03-05-09-10-11";
const SECRET: &str = "a-registration-key-of-24";
const CONFIG: &str = "[registration]\nkey = \"a-registration-key-of-24\"\n";
const MINUTE: i64 = 60_000;

/// An agent with a key of its own.
struct Agent {
    device_id: &'static str,
    pair: Ed25519KeyPair,
    /// The registration key that it was given.
    registration: Option<String>,
    /// How far its clock is off, in milliseconds.
    off: i64,
}

impl Agent {
    fn new(device_id: &'static str, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
        Self { device_id, pair, registration: None, off: 0 }
    }

    fn knowing(device_id: &'static str, seed: u8, registration: &str) -> Self {
        Self { registration: Some(registration.to_owned()), ..Self::new(device_id, seed) }
    }

    fn key(&self) -> String {
        hex(self.pair.public_key().as_ref())
    }

    /// The header for a body, as decision 720 writes it.
    fn proof(&self, body: &[u8]) -> String {
        let at = Clock::System.now().millis() + self.off;
        let body = hex(digest(&SHA256, body).as_ref());
        let message = format!("dripfeed-proof 1\n{}\n{at}\n{body}\n", self.device_id);
        let signature = hex(self.pair.sign(message.as_bytes()).as_ref());
        let mut header = format!("v=1; key={}; at={at}; sig={signature}", self.key());
        if let Some(registration) = &self.registration {
            let message = format!("dripfeed-registration 1\n{}\n{}\n", self.device_id, self.key());
            let key = Key::new(HMAC_SHA256, registration.as_bytes());
            let _ = write!(header, "; reg={}", hex(ring::hmac::sign(&key, message.as_bytes()).as_ref()));
        }
        header
    }

    /// Says it with its proof; gives status and standing.
    fn say(&self, served: &Served, body: &[u8]) -> (u16, Option<String>) {
        said(served, body, Some(&self.proof(body)))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn post(served: &Served, body: &[u8], proof: Option<&str>) -> Answer {
    let mut headers = "User-Agent: OCS-NG_unified_unix_agent_v2.10.0\r\n".to_owned();
    if let Some(proof) = proof {
        let _ = write!(headers, "Dripfeed-Proof: {proof}\r\n");
    }
    served.plain().request("POST", "/ocsinventory", &headers, body).expect("an answer")
}

fn header(answer: &Answer, name: &str) -> Option<String> {
    let prefix = format!("{name}: ");
    answer.head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix(&prefix).map(str::to_owned))
}

fn said(served: &Served, body: &[u8], proof: Option<&str>) -> (u16, Option<String>) {
    let answer = post(served, body, proof);
    assert!(answer.status == 200 || answer.is_sentence(), "{}", answer.head);
    (answer.status, header(&answer, "dripfeed-identity"))
}

fn message(query: &str, device_id: &str, content: &str) -> Vec<u8> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><REQUEST><QUERY>{query}</QUERY><DEVICEID>{device_id}</DEVICEID>\
         <CONTENT>{content}</CONTENT></REQUEST>"
    );
    seal(Container::Zlib, &xml)
}

fn prolog(device_id: &str) -> Vec<u8> {
    message("PROLOG", device_id, "")
}

fn inventory(device_id: &str, serial: &str) -> Vec<u8> {
    let name = device_id.split('-').next().expect("a name");
    let content = format!(
        "<HARDWARE><NAME>{name}</NAME><OSNAME>Debian</OSNAME></HARDWARE><BIOS><SSN>{serial}</SSN><SMODEL>OptiPlex 7010</SMODEL></BIOS>\
         <NETWORKS><MACADDR>52:54:00:12:34:56</MACADDR><IPADDRESS>192.0.2.7</IPADDRESS></NETWORKS>"
    );
    message("INVENTORY", device_id, &content)
}

/// Every kind of message by which something of a computer is changed.
fn every(device_id: &str) -> [Vec<u8>; 4] {
    let ip = "<HARDWARE><IPADDR>192.0.2.99</IPADDR></HARDWARE><NETWORKS><MACADDR>52:54:00:12:34:56</MACADDR>\
              <IPADDRESS>192.0.2.99</IPADDRESS><IPMASK>255.255.255.0</IPMASK></NETWORKS>";
    let report = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><REQUEST><QUERY>DOWNLOAD</QUERY><DEVICEID>{device_id}</DEVICEID>\
         <ID>1795170000</ID><ERR>SUCCESS</ERR></REQUEST>"
    );
    [
        prolog(device_id),
        inventory(device_id, "ANOTHER"),
        seal(Container::Zlib, &report),
        message("NOTIFY", device_id, &format!("<TYPE>IP</TYPE>{ip}")),
    ]
}

fn taken(standing: &str) -> (u16, Option<String>) {
    (200, Some(standing.to_owned()))
}

fn refused(standing: &str) -> (u16, Option<String>) {
    (403, Some(standing.to_owned()))
}

#[test]
fn who_knows_the_registration_key_registers_once_and_nobody_else_has_the_name_from_then_on() {
    let site = Site::new();
    site.configure(CONFIG);
    let served = site.serve();
    let agent = Agent::knowing(WS, 1, SECRET);
    assert_eq!(agent.say(&served, &prolog(WS)), taken("by-name"), "nobody knows it yet");
    assert_eq!(agent.say(&served, &inventory(WS, "A1")), taken("registered"));
    // The first contact fills the memory of contexts, the second is answered from there.
    for _ in 0..3 {
        assert_eq!(agent.say(&served, &prolog(WS)), taken("proven"));
    }
    let quiet = Agent::new(WS, 1);
    assert_eq!(quiet.say(&served, &inventory(WS, "A1")), taken("proven"), "the same inventory");

    let before = site.json("computer show ws042");
    assert_eq!(before["identity"]["proven_by"], "key");
    assert_eq!(before["identity"]["key"], agent.key());
    let thief = Agent::knowing(WS, 2, SECRET);
    for body in every(WS) {
        assert_eq!(said(&served, &body, None), refused("refused"), "without a key");
        assert_eq!(said(&served, &body, Some("v=1; key=nonsense")), refused("refused"), "with what is no proof");
        assert_eq!(thief.say(&served, &body), refused("refused"), "another key, registration key or not");
        let of_another_body = agent.proof(b"another body");
        assert_eq!(said(&served, &body, Some(&of_another_body)), refused("refused"), "a signature of something else");
    }
    let mut after = site.json("computer show ws042");
    let events = std::mem::take(&mut after["events"]);
    let refusals = events.as_array().expect("events").iter().filter(|event| event["what"] == "refused").count();
    assert_eq!(refusals, 1, "told once an hour: {events}");
    let mut before = before;
    before["events"] = serde_json::Value::Null;
    assert_eq!(after, before, "nothing was changed");
    assert_eq!(served.logged("refused a message", 1).matches("refused a message").count(), 1);
    for body in every(WS) {
        assert_eq!(quiet.say(&served, &body), taken("proven"));
    }
    served.stop();
}

#[test]
fn a_registration_key_that_is_made_here_holds_until_it_is_renewed() {
    let site = Site::new();
    site.configure(CONFIG);
    let served = site.serve();
    assert_eq!(site.json("computer registration-key")["made_at"], serde_json::Value::Null);
    let renew = || site.json("computer registration-key --renew")["key"].as_str().expect("a key").to_owned();
    let first = renew();
    let ids = ["ws1", "ws2", "ws3", "ws4"]
        .map(|name| -> &'static str { Box::leak(format!("{name}-2024-03-05-09-10-11").into_boxed_str()) });
    // No two have anything in common.
    let comes = |at: usize, key: &str| {
        let agent = Agent::knowing(ids[at], u8::try_from(at).expect("few") + 1, key);
        let body = inventory(ids[at], &format!("SERIAL{at}"));
        (agent.say(&served, &body), agent)
    };
    let (standing, proven) = comes(0, &first);
    assert_eq!(standing, taken("registered"));
    let second = renew();
    assert_eq!(comes(1, &first).0, taken("by-name"), "the old one stopped");
    assert_eq!(comes(1, &second).0, taken("registered"));
    assert_eq!(comes(2, SECRET).0, taken("registered"), "that of the configuration goes on counting");
    assert_eq!(proven.say(&served, &prolog(ids[0])), taken("proven"), "who has registered does not notice");
    site.say("computer registration-key --remove").ok();
    site.say("computer registration-key --remove").refused();
    assert_eq!(comes(3, &second).0, taken("by-name"));

    // A key that was forgotten is given back, but none that nobody forgot.
    site.say("computer remember-key ws1").refused();
    site.say("computer forget-key ws1").ok();
    assert_eq!(proven.say(&served, &prolog(ids[0])), taken("by-name"));
    site.say("computer remember-key ws1").ok();
    assert_eq!(proven.say(&served, &prolog(ids[0])), taken("proven"));
    site.say("computer remember-key ws1").refused();
    served.stop();
}

#[test]
fn our_agent_registers_and_whoever_copies_its_name_is_refused() {
    let site = Site::new();
    site.configure(CONFIG);
    let served = site.serve();
    let standing = |words: &mut std::process::Command| -> String {
        let told: serde_json::Value = serde_json::from_str(&run(words).ok()).expect("JSON");
        told["identity"]["standing"].as_str().unwrap_or_default().to_owned()
    };
    let known = |site: &Site| site.json("computer list")[0]["identity"]["proven_by"].clone();
    // Without the registration key it is a computer like any other; with it, it is proven from then on.
    run(&mut site.agent(&served, &["-q", "once"])).ok();
    assert_eq!(standing(&mut site.agent(&served, &["status", "--json"])), "by-name");
    assert_eq!(known(&site), "name");
    run(site.agent(&served, &["-q", "once"]).env("DRIPFEED_AGENT_REGISTRATION_KEY", SECRET)).ok();
    assert_eq!(known(&site), "key");
    run(&mut site.agent(&served, &["-q", "once"])).ok();
    assert_eq!(standing(&mut site.agent(&served, &["status", "--json"])), "proven");
    // A copy of the name without the key, even with the registration key: refused, and told why.
    let (own, thief) = (site.root().join("agent"), site.root().join("thief"));
    let state = std::fs::read_dir(&own).expect("its directory").map(|entry| entry.expect("an entry").path());
    let state = state.into_iter().find(|path| path.join("ocsinv.conf").is_file()).expect("what it knows of its server");
    let copied = thief.join(state.strip_prefix(&own).expect("below it"));
    std::fs::create_dir_all(&copied).expect("made");
    std::fs::copy(state.join("ocsinv.conf"), copied.join("ocsinv.conf")).expect("copied");
    let copy = |args: &[&str]| {
        let mut command = site.agent(&served, args);
        command.env("DRIPFEED_AGENT_DATA_DIR", &thief).env("DRIPFEED_AGENT_REGISTRATION_KEY", SECRET);
        command
    };
    let said = run(&mut copy(&["-q", "once"]));
    assert!(said.code() == Some(1) && said.err.contains("forget-key"), "{said:?}");
    assert_eq!(standing(&mut copy(&["status", "--json"])), "refused");
    run(&mut site.agent(&served, &["-q", "once"])).ok();
    served.stop();
}

#[test]
fn an_expected_name_is_used_up_by_the_first_who_registers() {
    let site = Site::new();
    let served = site.serve();
    site.say("computer expect WS042 ws043").ok();
    assert!(site.say("computer expect ws042").ok().is_empty(), "it is expected already");
    let agent = Agent::new(WS, 1);
    assert_eq!(agent.say(&served, &inventory(WS, "A1")), taken("registered"));
    let names = site.json("computer expected");
    let names: Vec<&str> = names.as_array().expect("names").iter().filter_map(|name| name["name"].as_str()).collect();
    assert_eq!(names, ["ws043"]);
    // Another computer of the same name: it is taken, its key is not.
    let second = "ws042-2025-01-01-00-00-00";
    assert_eq!(Agent::new(second, 2).say(&served, &inventory(second, "B2")), taken("by-name"));
    site.say("computer unexpect ws043").ok();
    assert!(site.say("computer unexpect ws043").refused().contains("not expected"));
    assert!(site.run(&["computer", "expect", "two words"]).refused().contains("host name"));
    served.stop();
}

#[test]
fn a_known_computer_registers_with_any_message_and_a_wrong_key_leaves_it_by_its_name() {
    let site = Site::new();
    site.configure(CONFIG);
    let served = site.serve();
    assert_eq!(said(&served, &inventory(WS, "A1"), None), (200, None), "a stock agent is told nothing");
    assert_eq!(Agent::new(WS, 1).say(&served, &prolog(WS)), taken("by-name"));
    assert_eq!(Agent::knowing(WS, 1, "another-registration-key").say(&served, &prolog(WS)), taken("by-name"));
    let forged = Agent::knowing(WS, 1, SECRET).proof(b"another body");
    assert_eq!(said(&served, &prolog(WS), Some(&forged)), taken("by-name"), "nothing is signed");
    assert_eq!(site.json("computer show ws042")["identity"]["proven_by"], "name");
    assert_eq!(Agent::knowing(WS, 1, SECRET).say(&served, &prolog(WS)), taken("registered"));
    assert_eq!(Agent::new(WS, 1).say(&served, &prolog(WS)), taken("proven"));
    assert_eq!(said(&served, &prolog(WS), None), refused("refused"), "its agent was a stock one before");

    site.say("computer forget-key ws042").ok();
    assert!(site.say("computer forget-key ws042").refused().contains("no key"));
    assert_eq!(said(&served, &prolog(WS), None), (200, None), "by its name again");
    assert_eq!(Agent::knowing(WS, 2, SECRET).say(&served, &prolog(WS)), taken("registered"), "with a new key");
    let told = site.json("computer show ws042");
    let texts: Vec<&str> =
        told["events"].as_array().expect("events").iter().rev().filter_map(|e| e["text"].as_str()).collect();
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert_eq!(texts[0], "its key was taken: it knew the registration key");
    assert!(texts[1].contains("without a key"), "{texts:?}");
    assert!(texts[2].starts_with("its key was forgotten by "), "{texts:?}");
    served.stop();
}

#[test]
fn what_was_signed_at_another_time_is_refused_with_the_servers_time() {
    let site = Site::new();
    site.configure(CONFIG);
    let served = site.serve();
    for off in [-6 * MINUTE, 6 * MINUTE] {
        let agent = Agent { off, ..Agent::knowing(WS, 1, SECRET) };
        let body = inventory(WS, "A1");
        let answer = post(&served, &body, Some(&agent.proof(&body)));
        assert_eq!((answer.status, header(&answer, "dripfeed-identity").as_deref()), (403, Some("clock")));
        let time: i64 = header(&answer, "dripfeed-time").expect("the time").parse().expect("milliseconds");
        assert!(Clock::System.now().millis().abs_diff(time) < 300_000, "{time}");
    }
    assert_eq!(site.json("computer list"), serde_json::json!([]), "nothing was taken");
    let agent = Agent { off: 4 * MINUTE, ..Agent::knowing(WS, 1, SECRET) };
    assert_eq!(agent.say(&served, &inventory(WS, "A1")), taken("registered"), "near enough");
    // Whoever recorded a message has until then, and it says the same again.
    let late = Agent { off: -6 * MINUTE, ..Agent::new(WS, 1) };
    for body in every(WS) {
        assert_eq!(late.say(&served, &body), refused("clock"));
    }
    served.stop();
}

#[test]
fn a_computer_that_was_put_away_keeps_its_key() {
    let site = Site::new();
    site.configure(CONFIG);
    let served = site.serve();
    let agent = Agent::knowing(WS, 1, SECRET);
    assert_eq!(agent.say(&served, &inventory(WS, "A1")), taken("registered"));
    site.say("computer archive ws042").ok();
    for body in every(WS) {
        assert_eq!(said(&served, &body, None), refused("refused"));
    }
    assert_eq!(agent.say(&served, &prolog(WS)), taken("proven"));
    assert_eq!(agent.say(&served, &inventory(WS, "A1")), taken("proven"));
    assert_eq!(site.json("computer list").as_array().map(Vec::len), Some(1), "it is back");
    served.stop();
}

#[test]
fn nobody_takes_over_from_a_proven_computer_by_looking_like_it() {
    let site = Site::new();
    site.configure(CONFIG);
    let served = site.serve();
    let agent = Agent::knowing(WS, 1, SECRET);
    assert_eq!(agent.say(&served, &inventory(WS, "A1")), taken("registered"));
    let look_alike = "ws042-2025-01-01-00-00-00";
    assert_eq!(said(&served, &inventory(look_alike, "A1"), None), (200, None));
    assert_eq!(site.json("computer list").as_array().map(Vec::len), Some(2), "they are left two");
    let told = site.json(&format!("computer show {look_alike}"));
    assert!(told["events"][0]["text"].as_str().expect("a text").contains("not merged with ws042"), "{told}");
    site.say(&format!("computer merge {WS} {look_alike}")).ok();
    site.say(&format!("computer unmerge {look_alike}")).ok();
    site.say(&format!("computer archive {look_alike}")).ok();
    // With a key it is the same machine, installed anew.
    let again = "ws042-2026-01-01-00-00-00";
    assert_eq!(Agent::knowing(again, 3, SECRET).say(&served, &inventory(again, "A1")), taken("registered"));
    let left = site.json("computer list");
    assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(left[0]["device_id"], again);
    served.stop();
}

#[test]
fn the_registration_key_is_printed_nowhere_and_not_too_short() {
    let site = Site::new();
    site.configure(CONFIG);
    let served = site.serve();
    let told = [site.say("check-config --print").ok(), served.log(), served.greeting()].concat();
    assert!(told.contains("registration.key"), "{told}");
    assert!(!told.contains(SECRET), "{told}");
    served.stop();
    site.configure("[registration]\nkey = \"too-short\"\n");
    let refused = site.say("check-config").refused();
    assert!(refused.contains("16") && !refused.contains("too-short"), "{refused}");
}
