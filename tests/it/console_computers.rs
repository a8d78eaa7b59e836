//! The console's and the API's computers, asked of a running server.

mod fields;
mod waking;

use dripfeed::model::{DeviceId, UnixTime};
use dripfeed::protocol::ComputerFacts;
use dripfeed::protocol::envelope::{Container, seal};
use dripfeed::store::computers::{self, Contact};
use dripfeed::store::{DatabaseUrl, Store, StoreError};

use crate::util::process::{Served, Site};
use crate::util::web::{Answer, Line};

/// What somebody may write into an inventory.
const MARKUP: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";

/// A server with these computers, each by host name and user, and an administrator who is signed in.
struct Room {
    site: Site,
    served: Served,
    line: Line,
    cookie: String,
    csrf: String,
}

impl Room {
    fn with(wanted: Vec<(String, String)>) -> Self {
        let site = Site::new();
        site.feed(&["user", "add", "ann", "--password-stdin"], b"a sentence to sign in with\n").ok();
        let store = Store::open(&DatabaseUrl::Sqlite(site.data().join("dripfeed.db"))).expect("opens");
        let written = store.write_now(move |conn| -> Result<(), StoreError> {
            for (n, (name, user)) in wanted.into_iter().enumerate() {
                let device: DeviceId = format!("pc-{n:03}-2026-03-05-09-10-11").parse().expect("a device id");
                let facts = ComputerFacts { name, user_name: user, os_name: "Debian 13".to_owned(), ..<_>::default() };
                let at = UnixTime::from_seconds(1_795_000_000);
                let contact = Contact { peer_address: "192.0.2.7".to_owned(), user_agent: String::new(), at };
                computers::take_facts(conn, &device, &facts, &contact)?;
            }
            Ok(())
        });
        written.expect("computers");
        drop(store);
        let served = site.serve();
        let mut line = served.secure();
        let form = b"name=ann&password=a+sentence+to+sign+in+with";
        let answer = line.request("POST", "/sign-in", FORM, form).expect("an answer");
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.head.lines().find_map(|line| {
            line.to_ascii_lowercase().starts_with("set-cookie: ").then(|| line["set-cookie: ".len()..].to_owned())
        });
        let cookie = cookie.expect("a cookie").split(';').next().unwrap_or_default().to_owned();
        let mut room = Self { site, served, line, cookie, csrf: String::new() };
        let page = room.get("/computers").text();
        between(&page, "name=\"csrf\" content=\"", "\"").clone_into(&mut room.csrf);
        room
    }

    fn get(&mut self, path: &str) -> Answer {
        let headers = format!("Cookie: {}\r\n", self.cookie);
        self.line.request("GET", path, &headers, b"").expect("an answer")
    }

    fn post(&mut self, path: &str, form: &str) -> Answer {
        let headers = format!("Cookie: {}\r\n{FORM}", self.cookie);
        let form = format!("csrf={}&{form}", self.csrf);
        self.line.request("POST", path, &headers, form.as_bytes()).expect("an answer")
    }

    fn api(&mut self, method: &str, path: &str, document: &str) -> (u16, serde_json::Value) {
        let headers = format!("Cookie: {}\r\nX-CSRF: {}\r\nContent-Type: application/json\r\n", self.cookie, self.csrf);
        let answer = self.line.request(method, &format!("/api/v1{path}"), &headers, document.as_bytes());
        let answer = answer.expect("an answer");
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const FIRST: &str = "/computers/pc-000-2026-03-05-09-10-11";

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1;
    rest.split_once(after).expect("an end").0
}

fn numbered(count: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("host-{n:03}"), "ann".to_owned())).collect()
}

#[test]
fn names_that_are_hard_to_address_have_pages_behind_their_links() {
    let mut room = Room::with(Vec::new());
    let programs = ["A/B", "50% #1?", "..", "."];
    let software = programs.map(|name| format!("<SOFTWARES><NAME>{name}</NAME></SOFTWARES>")).concat();
    let xml = format!(
        "<REQUEST><CONTENT><HARDWARE><NAME>front</NAME></HARDWARE>{software}</CONTENT>\
         <DEVICEID>a/b#c-2026-01-02-03-04-05</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>"
    );
    assert_eq!(room.served.plain().post(&seal(Container::Zlib, &xml)).status, 200);

    let list = room.get("/computers").text();
    assert!(list.contains("href=\"/computers/a%2Fb%23c-2026-01-02-03-04-05\""), "{list}");
    let answer = room.get("/computers/a%2Fb%23c-2026-01-02-03-04-05/inventory?section=SOFTWARES");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (tab, list) = (answer.text(), room.get("/software").text());
    for (name, address) in [
        ("A/B", "/software/A%2FB"),
        ("50% #1?", "/software/50%25%20%231%3F"),
        ("..", "/software?q=.."),
        (".", "/software?q=."),
    ] {
        let link = format!("<a href=\"{address}\">{name}</a>");
        assert!(list.contains(&link), "{link} in {list}");
        assert!(tab.contains(&link), "{link} in {tab}");
        let answer = room.get(address);
        assert!(answer.status == 200 && answer.text().contains(name), "{address}: {}", answer.text());
    }
}

#[test]
fn the_list_goes_from_page_to_page_and_answers_queries() {
    let mut room = Room::with(numbered(60));
    let first = room.get("/computers").text();
    assert!(first.contains("host-000") && first.contains("host-049") && !first.contains("host-050"), "{first}");
    assert!(first.contains("1 to 50 of 60 computers"), "{first}");
    let next = between(&first, "rel=\"next\" data-swap=\"list\" href=\"", "\"").replace("&#38;", "&");
    let second = room.get(&next).text();
    assert!(second.contains("host-050") && second.contains("host-059") && !second.contains(">host-049<"), "{second}");
    let asked = room.get("/computers?q=name+%3D+host-007").text();
    assert!(asked.contains("host-007") && asked.contains("1 to 1 of 1 computer"), "{asked}");
    let built = room.get("/computers?built=1&field=name&op=starts+with&value=host-05").head;
    assert!(built.contains("/computers?q=name%20starts%20with%20%27host-05%27"), "{built}");
    let wrong = room.get("/computers?q=name+%3D");
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("The query cannot be used") && wrong.text().contains("class=\"caret\""));
    let found = room.get("/search?q=host-01").text();
    assert!(found.contains("host-019"), "{found}");
    assert!(room.get("/search?q=nothing").text().contains("Nothing is called so"));
    drop(room.served);
}

#[test]
fn a_computer_is_tagged_noted_archived_and_deleted() {
    let mut room = Room::with(numbered(3));
    for tab in ["", "/inventory", "/changes", "/packages", "/settings", "/identity"] {
        assert_eq!(room.get(&format!("{FIRST}{tab}")).status, 200, "{tab}");
    }
    assert_eq!(room.post(&format!("{FIRST}/tag"), "tag=Paris").status, 303);
    assert_eq!(room.post(&format!("{FIRST}/notes"), "note=A+loud+fan.").status, 303);
    let page = room.get(FIRST).text();
    assert!(page.contains("value=\"Paris\"") && page.contains("A loud fan."), "{page}");
    assert_eq!(room.post(&format!("{FIRST}/settings"), "key=PROLOG_FREQ&value=0").status, 422);
    assert_eq!(room.post(&format!("{FIRST}/settings"), "key=PROLOG_FREQ&value=3").status, 303);
    assert_eq!(room.post(&format!("{FIRST}/delete"), "typed=host-000").status, 422, "it is not archived");
    assert_eq!(room.post(&format!("{FIRST}/archive"), "").status, 303);
    assert_eq!(room.post(&format!("{FIRST}/delete"), "typed=host").status, 422);
    assert_eq!(room.post(&format!("{FIRST}/delete"), "typed=host-000").status, 303);
    assert_eq!(room.get(FIRST).status, 404);
    // Many: asked first, and evaluated on the server.
    let asked = room.post("/computers/selected/tag", "all=1&q=").text();
    assert!(asked.contains("Tag 2 computers"), "{asked}");
    assert_eq!(room.post("/computers/selected/tag", "all=1&q=&sure=1&value=lab").status, 303);
    let tagged = room.get("/computers?q=tag+%3D+lab").text();
    assert!(tagged.contains("1 to 2 of 2 computers"), "{tagged}");
    let deploy = room.post("/computers/selected/deploy", "id=pc-001-2026-03-05-09-10-11").head;
    assert!(deploy.contains("/deployments/new?where=device_id%20%3D%20%27pc-001-2026-03-05-09-10-11%27"), "{deploy}");
    drop(room.served);
}

#[test]
fn what_computers_say_is_never_markup() {
    let mut room = Room::with(vec![(MARKUP.to_owned(), MARKUP.to_owned())]);
    let query = "/computers?q=user+contains+script";
    for path in ["/computers", query, FIRST, "/search?q=%3Cscript%3E", &format!("{FIRST}/identity")] {
        let page = room.get(path).text();
        assert!(page.contains("script&#62;alert(1)") || page.contains("script&gt;alert(1)"), "{path}: {page}");
        assert!(!page.contains("<script>alert") && !page.contains("<img"), "{path}: {page}");
    }
    drop(room.served);
}

#[test]
fn a_program_does_what_people_do() {
    let mut room = Room::with(numbered(5));
    let (status, page) = room.api("GET", "/computers?limit=2&sort=-name", "");
    assert_eq!((status, page["items"][0]["name"].as_str()), (200, Some("host-004")), "{page}");
    let next = page["next"].as_str().expect("more").to_owned();
    let (_, page) = room.api("GET", &format!("/computers?limit=2&sort=-name&after={next}"), "");
    assert_eq!(page["items"][0]["name"], "host-002", "{page}");
    assert_eq!(room.api("GET", "/computers?where=name+%3D", "").0, 422);
    assert_eq!(room.api("PUT", "/computers/host-001/tag", "{\"value\": \"lab\"}").0, 204);
    let (_, one) = room.api("GET", "/computers/host-001", "");
    assert_eq!(one["tag"], "lab", "{one}");
    let many = r#"{"where": "tag = lab", "action": "archive"}"#;
    let (status, done) = room.api("POST", "/computers/selected", many);
    assert_eq!((status, &done["changed"]), (200, &serde_json::json!(1)), "{done}");
    assert_eq!(room.api("DELETE", "/computers/host-001", "").0, 204);
    assert_eq!(room.api("GET", "/computers/host-001", "").0, 404);
    assert_eq!(room.api("DELETE", "/computers/host-002", "").0, 409);
    for path in ["inventory", "software", "changes", "packages", "settings"] {
        assert_eq!(room.api("GET", &format!("/computers/host-002/{path}"), "").0, 200, "{path}");
    }
    assert_eq!(room.api("GET", "/software", "").0, 200);
    assert_eq!(room.api("GET", "/search?q=host-003", "").1["computers"][0]["name"], "host-003");
    drop(room.served);
}
