//! The console's pages about places, as a browser asks for them: mirrors and sites, networks, the registry of Windows
//! computers; and what of them stands on the first page.

use dripfeed::model::{ComputerId, DeviceId, UnixTime};
use dripfeed::protocol::{ComputerFacts, Discovered, MirrorReport, Network};
use dripfeed::store::computers::{self, Contact};
use dripfeed::store::registry::{self, RegistryValue};
use dripfeed::store::{Conn, DatabaseUrl, Store, StoreError, discovery};

use crate::console_server::{Browser, PASSWORD, between, user};
use crate::util::process::{Served, Site};
use crate::util::web::Answer;

/// What somebody may write where a computer tells of itself.
const MARKUP: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
const AT: UnixTime = UnixTime::from_seconds(1_795_000_000);

/// Nothing that somebody wrote is markup, and it is told all the same.
fn is_text(page: &str) {
    assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{page}");
    assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
}

fn location(answer: &Answer) -> &str {
    let line = answer
        .head
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("location")));
    line.unwrap_or_else(|| panic!("{} {}", answer.head, answer.text())).1
}

/// Follows what a form that was taken answers.
fn done(browser: &Browser<'_>, address: &str, form: &str) -> String {
    let answer = browser.post(address, form);
    assert_eq!(answer.status, 303, "{address}: {}", answer.text());
    browser.get(location(&answer)).text()
}

/// A form that is refused: the sentence is on the page.
fn refused(browser: &Browser<'_>, address: &str, form: &str, sentence: &str) {
    let answer = browser.post(address, form);
    let text = answer.text();
    assert!(answer.status == 422 && text.contains(sentence), "{address} {form}: {} {text}", answer.status);
}

fn write(site: &Site, work: impl FnOnce(&mut Conn) -> Result<(), StoreError> + Send + 'static) {
    let store = Store::open(&DatabaseUrl::Sqlite(site.data().join("dripfeed.db"))).expect("opens");
    store.write_now(work).expect("written");
}

/// A computer that was last heard from there, with an adapter in 10.1.2.0/24.
fn computer(conn: &mut Conn, name: &str, host: u8, peer: &str) -> Result<ComputerId, StoreError> {
    let device: DeviceId = format!("pc-{host}-2026-03-05-09-10-11").parse().expect("a device id");
    let facts = ComputerFacts { name: name.to_owned(), ..<_>::default() };
    let contact = Contact { peer_address: peer.to_owned(), user_agent: String::new(), at: AT };
    let (id, _) = computers::take_facts(conn, &device, &facts, &contact)?;
    let network = Network {
        ip_address: format!("10.1.2.{host}"),
        mac: format!("02:00:00:00:02:{host:02x}"),
        subnet: "10.1.2.0".to_owned(),
        mask: "255.255.255.0".to_owned(),
    };
    computers::set_networks(conn, id, &[network])?;
    Ok(id)
}

fn report(served: &Served, token: &str, said: &MirrorReport) -> u16 {
    let headers = format!("Authorization: Bearer {token}\r\nContent-Type: text/plain\r\n");
    served
        .secure()
        .request("POST", "/download/manifest", &headers, said.to_text().as_bytes())
        .expect("an answer")
        .status
}

#[test]
fn a_mirror_is_registered_reports_and_is_taken_away_in_the_browser() {
    let site = Site::new();
    let package = site.package();
    let served = site.serve();
    user(&site, "amy", "administrator");
    let amy = Browser::sign_in(&served, "amy", PASSWORD);

    // Nothing yet: two sentences and what to type.
    let empty = amy.get("/mirrors").text();
    assert!(empty.contains("No mirrors yet") && empty.contains("dripfeed-mirror sync --from https://"), "{empty}");
    assert!(amy.get("/sites").text().contains("register a mirror first"));
    for (form, sentence) in [
        ("name=Paris&location=h%2Fd&minutes=60", "is no name"),
        ("name=paris&location=http%3A%2F%2Fh%2Fd&minutes=60", "carries a scheme"),
        ("name=paris&location=h%2Fd&minutes=0", "from 1 to a year"),
        ("name=paris&location=h%2Fd&minutes=60&packages=%2C", "no choice of packages"),
    ] {
        refused(&amy, "/mirrors", form, sentence);
    }
    let made = amy.post("/mirrors", "name=paris&location=paris.example%2Fdownload&minutes=90");
    assert_eq!(made.status, 200);
    let text = made.text();
    let token =
        between(&text, "<pre id=\"token\" tabindex=\"0\" aria-label=\"The token\"><code>", "</code>").to_owned();
    assert!(text.contains(&format!("export DRIPFEED_MIRROR_TOKEN={token}")), "{text}");
    assert!(!amy.get("/mirrors/paris").text().contains(&token), "it is shown once");
    refused(&amy, "/mirrors", "name=paris&location=h%2Fd&minutes=60", "There is a mirror");
    let page = amy.get("/mirrors/paris").text();
    assert!(page.contains("never reported") && page.contains(&format!("/packages/{package}")), "{page}");

    // It reports with its token what it holds, and what went wrong: text, whatever it is.
    let said = MirrorReport {
        generation: 1,
        bytes: 2048,
        problem: MARKUP.to_owned(),
        packages: vec![package.parse().expect("a number")],
    };
    assert_eq!(report(&served, "wrong", &said), 401);
    assert_eq!(report(&served, &token, &said), 200);
    for address in ["/mirrors", "/mirrors/paris", "/"] {
        is_text(&amy.get(address).text());
    }
    let fine = MirrorReport { problem: String::new(), ..said };
    assert_eq!(report(&served, &token, &fine), 200);
    let page = amy.get("/mirrors/paris").text();
    assert!(page.contains("up to date, 1 of 1") && !page.contains("Nothing is missing"), "{page}");
    assert!(amy.get("/mirrors/paris?show=missing").text().contains("Nothing is missing"));

    // What it may have is changed: it holds one that goes.
    let changed = done(&amy, "/mirrors/paris", "location=paris.example%3A81%2Fd&minutes=5&packages=other*");
    assert!(changed.contains("paris.example:81/d") && changed.contains("1 of 0"), "{changed}");
    assert!(amy.get("/mirrors/paris?show=leaving").text().contains(&package));
    refused(&amy, "/mirrors/paris", "location=&minutes=5", "it has no host");
    assert_eq!(site.json("mirror show paris")["silent_after_seconds"], 300);

    // A new token: the old one is worth nothing.
    let renewed = amy.post("/mirrors/paris/token", "").text();
    let second = between(&renewed, "<pre id=\"token\" tabindex=\"0\" aria-label=\"The token\"><code>", "</code>");
    assert_eq!((report(&served, &token, &fine), report(&served, second, &fine)), (401, 200));
    let log = amy.get("/audit?action=mirror").text();
    assert!(log.contains("mirror token") && log.contains("mirror edit") && !log.contains(second), "{log}");

    // A viewer sees it and is not offered what changes it.
    user(&site, "vic", "viewer");
    let vic = Browser::sign_in(&served, "vic", PASSWORD);
    let page = vic.get("/mirrors/paris");
    assert!(page.status == 200 && !page.text().contains("/mirrors/paris/remove"), "{}", page.text());
    assert_eq!(vic.post("/mirrors/paris/remove", "").status, 403);

    let gone = done(&amy, "/mirrors/paris/remove", "");
    assert!(gone.contains("No mirrors yet"), "{gone}");
    assert_eq!(amy.get("/mirrors/paris").status, 404);
    served.stop();
}

#[test]
fn a_site_is_made_arranged_and_says_who_is_there() {
    let site = Site::new();
    user(&site, "amy", "administrator");
    write(&site, |conn| {
        for (host, peer) in [(1, "10.1.2.1"), (2, "10.1.2.2"), (3, "10.1.7.3"), (4, "192.0.2.4"), (5, "fd00:1::5")] {
            computer(conn, &format!("WS{host}"), host, peer)?;
        }
        Ok(())
    });
    let served = site.serve();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    for name in ["near", "far"] {
        site.say(&format!("mirror add {name} {name}.example/download")).ok();
    }

    refused(&amy, "/sites", "name=paris&ranges=10.1.0.1%2F16&mirror=near", "not the first of its network");
    refused(&amy, "/sites", "name=paris&ranges=10.1.0.0%2F16", "1 to 100 mirrors");
    refused(&amy, "/sites", "name=paris&ranges=&mirror=near", "1 to 1000 ranges");
    let made = done(&amy, "/sites", "name=paris&ranges=10.1.0.0%2F16%0D%0Afd00%3A1%3A%3A%2F64&mirror=far&mirror=near");
    assert!(made.contains("4 computers were last heard from here"), "{made}");
    let lab = done(&amy, "/sites", "name=lab&ranges=10.1.7.0-10.1.7.9&mirror=near");
    assert!(lab.contains("10.1.7.0-10.1.7.9 is narrower than 10.1.0.0/16 of paris"), "{lab}");
    let paris = amy.get("/sites/paris").text();
    assert!(paris.contains("3 computers were last heard from here"), "{paris}");
    assert!(paris.contains("10.1.7.0-10.1.7.9 of lab is narrower than 10.1.0.0/16"), "{paris}");

    // The link lists those that were counted.
    let link = between(&paris, "<a class=\"button\" href=\"/computers?", "\"").to_owned();
    let listed = amy.get(&format!("/computers?{}", link.replace("&#38;", "&"))).text();
    for (name, there) in [("WS1", true), ("WS2", true), ("WS3", false), ("WS4", false), ("WS5", true)] {
        assert_eq!(listed.contains(&format!(">{name}<")), there, "{name}: {listed}");
    }
    let sites = amy.get("/sites").text();
    assert!(sites.contains("1 computer was last heard from at no site"), "{sites}");

    // Order, addresses, and what may not be taken out.
    let order = || site.json("site list")[1]["mirrors"].clone();
    done(&amy, "/sites/paris/mirrors", "mirror=near&do=up");
    assert_eq!(order(), serde_json::json!(["near", "far"]));
    done(&amy, "/sites/paris/mirrors", "mirror=near&do=up");
    done(&amy, "/sites/paris/mirrors", "mirror=near&do=down");
    assert_eq!(order(), serde_json::json!(["far", "near"]));
    done(&amy, "/sites/paris/mirrors", "mirror=far&do=remove");
    refused(&amy, "/sites/paris/mirrors", "mirror=near&do=remove", "1 to 100 mirrors");
    refused(&amy, "/sites/paris/mirrors", "mirror=far&do=down", "no mirror");
    refused(&amy, "/sites/paris/mirrors", "mirror=near&do=add", "named twice");
    refused(&amy, "/sites/paris/ranges", "range=nowhere&do=add", "is no range of addresses");
    let more = done(&amy, "/sites/paris/ranges", "range=192.0.2.0%2F24&do=add");
    assert!(more.contains("4 computers were last heard from here"), "{more}");
    let less = done(&amy, "/sites/paris/ranges", "range=10.1.0.0%2F16&do=remove");
    assert!(less.contains("2 computers were last heard from here") && !less.contains("Where it meets"), "{less}");

    // Taking the mirror away says which sites lose it; then the site goes.
    let page = amy.get("/mirrors/near").text();
    assert!(page.contains("2 sites had it: lab, paris. 3 computers there fetch"), "{page}");
    done(&amy, "/mirrors/near/remove", "");
    assert!(amy.get("/sites/paris").text().contains("Its computers fetch from this server."));
    done(&amy, "/sites/lab/remove", "");
    assert_eq!(amy.get("/sites/lab").status, 404);
    assert!(amy.get("/audit?action=site+edit").text().contains("site paris"));
    served.stop();
}

#[test]
fn networks_are_named_left_out_and_looked_at() {
    let site = Site::new();
    user(&site, "amy", "administrator");
    write(&site, |conn| {
        let reporter = computer(conn, MARKUP, 1, "10.1.2.1")?;
        let seen =
            |ip: &str, mac: &str, name: &str| Discovered { ip_address: ip.into(), mac: mac.into(), name: name.into() };
        let hosts = [seen("10.1.2.1", "02:00:00:00:02:01", "ws1"), seen("10.1.2.9", "02:AA:00:00:00:09", MARKUP)];
        let network = "10.1.2.0".parse().expect("an address");
        discovery::record(conn, network, &hosts.iter().collect::<Vec<_>>(), reporter, AT)?;
        discovery::elect(conn, reporter, network, AT)
    });
    let served = site.serve();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);

    let list = amy.get("/networks").text();
    assert!(list.contains("Switch it on") && list.contains("10.1.2.0"), "{list}");
    is_text(&list);
    assert!(done(&amy, "/networks/looking", "places=2").contains("2 computers of each network look round."));
    assert_eq!(site.json("setting get IPDISCOVER")["value"], 2);
    refused(&amy, "/networks/looking", "places=101", "101");

    let page = amy.get("/networks/10.1.2.0").text();
    is_text(&page);
    assert!(page.contains("/computers/pc-1-2026-03-05-09-10-11"), "{page}");
    let unknown = amy.get("/networks/10.1.2.0?unknown=1").text();
    assert!(unknown.contains("02:AA:00:00:00:09") && !unknown.contains("02:00:00:00:02:01"), "{unknown}");
    assert!(amy.get("/networks/10.1.2.0?q=nobody").text().contains("Nobody fits"));
    assert_eq!(amy.get("/networks/10.9.9.0").status, 404);

    // A name that is markup is text; who is elected is not any more where nobody is to look round.
    let labelled = done(&amy, "/networks/10.1.2.0", "name=%3Cb%3EParis%3C%2Fb%3E&tag=office&excluded=1");
    assert!(labelled.contains("&#60;b&#62;Paris") && labelled.contains("the network is excluded"), "{labelled}");
    assert_eq!(site.json("network list")[0]["elected"], serde_json::json!([]));
    refused(&amy, "/networks/10.1.2.0", &format!("name={}", "x".repeat(61)), "at most 60 characters");
    assert!(amy.get("/networks?q=office").text().contains("10.1.2.0"));
    assert!(amy.get("/networks?q=elsewhere").text().contains("No network fits"));
    assert!(amy.get("/audit?action=network").text().contains("network label"));
    served.stop();
}

#[test]
fn registry_questions_are_asked_changed_and_their_findings_searched() {
    let site = Site::new();
    user(&site, "amy", "administrator");
    write(&site, |conn| {
        for host in 1..=60_u8 {
            let id = computer(conn, &format!("WS{host:02}"), host, "10.1.2.1")?;
            let value = if host == 60 { MARKUP.to_owned() } else { format!("Proxy-{}:80", host % 2) };
            registry::set_values(conn, id, &[RegistryValue { name: "Proxy".to_owned(), value }])?;
        }
        Ok(())
    });
    let served = site.serve();
    let amy = Browser::sign_in(&served, "amy", PASSWORD);

    assert!(amy.get("/registry").text().contains("Nothing is asked yet"));
    refused(&amy, "/registry", "name=Proxy&tree=HKLM&key=HKLM%5CSOFTWARE", "begins with a tree");
    refused(&amy, "/registry", "name=Proxy&tree=HKXX&key=SOFTWARE", "no registry tree");
    done(&amy, "/registry", "name=Proxy&tree=HKCU&key=Software%5CExample&value=ProxyServer");
    refused(&amy, "/registry", "name=proxy&tree=HKCU&key=Software", "There is a question");

    // In order of the values, a page after the other, all of them once.
    let first = amy.get("/registry/Proxy").text();
    is_text(&first);
    assert!(first.contains(">30</td>") && first.contains(">29</td>"), "how often each was found: {first}");
    let next = between(&first, "rel=\"next\" data-swap=\"list\" href=\"", "\"").replace("&#38;", "&");
    let second = amy.get(&next).text();
    let names = |page: &str| (1..=60).filter(|host| page.contains(&format!(">WS{host:02}</a>"))).collect::<Vec<u8>>();
    let mut all = [names(&first), names(&second)].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=60).collect::<Vec<u8>>());
    assert_eq!(amy.get("/registry/Proxy?after=1.2").status, 422);
    let some = amy.get("/registry/Proxy?q=PROXY-1").text();
    assert_eq!(names(&some), (1..=60).filter(|host| host % 2 == 1).collect::<Vec<u8>>());
    assert!(amy.get("/registry/Proxy?q=%25").text().contains("No value fits"), "a per cent sign is one");

    // From the computer to the question and back.
    let own = amy.get("/computers/pc-7-2026-03-05-09-10-11").text();
    assert!(own.contains("href=\"/registry/Proxy\"") && own.contains("Proxy-1:80"), "{own}");

    let changed = done(&amy, "/registry/Proxy", "tree=HKLM&key=SOFTWARE%5COther&value=");
    assert!(changed.contains("HKLM\\SOFTWARE\\Other") && changed.contains("all of the key"), "{changed}");
    refused(&amy, "/registry/Proxy", "tree=HKLM&key=", "cannot be");
    done(&amy, "/registry/Proxy/delete", "");
    assert_eq!(amy.get("/registry/Proxy").status, 404);
    let own = amy.get("/computers/pc-7-2026-03-05-09-10-11").text();
    assert!(!own.contains("href=\"/registry/Proxy\"") && own.contains("Proxy-1:80"), "{own}");
    served.stop();
}
