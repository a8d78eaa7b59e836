//! Uploads, builds and packages through the API and the console of a running server, and through the desk.

use std::fmt::Write as _;

use dripfeed::model::access::{Right, Rights, Scope};
use dripfeed::model::{Action, DigestAlgorithm, Hasher, OsFamily, PackageState, Priority};
use dripfeed::service::accounts;
use dripfeed::service::desk::builds::{Content, Description};
use dripfeed::service::desk::{Actor, Desk, Kind, Via};
use dripfeed::service::looks::Looks;
use dripfeed::service::publish::Recipe;
use dripfeed::service::works::{Outcome, Works};
use dripfeed::store::audit;
use dripfeed::store::packages::{Order, Wanted};
use serde_json::{Value, json};

use crate::util::process::{Served, Site, until};
use crate::util::web::{Answer, Line};
use crate::util::{TestApp, noise, tar_gz};

const PASSWORD: &str = "a good long password";

pub(crate) fn actor(name: &str, rights: Rights, scope: Scope) -> Actor {
    Actor { name: name.to_owned(), token: None, via: Via::Console, peer_address: String::new(), rights, scope }
}

/// A token of a new user with that role.
pub(crate) fn token(site: &Site, name: &str, role: &str, rights: Rights) -> String {
    std::fs::create_dir_all(site.data()).expect("a directory");
    let app = TestApp::open(&site.data());
    accounts::add(&app, name, PASSWORD, false, role, Scope::ALL).expect("added");
    Desk::new(app, actor(name, rights.clone(), Scope::ALL))
        .create_token("tests", rights, Scope::ALL, None)
        .expect("a token")
        .1
}

/// A program with a token.
pub(crate) struct Program<'a> {
    pub(crate) served: &'a Served,
    pub(crate) token: &'a str,
}

impl Program<'_> {
    fn line(&self) -> Line {
        self.served.secure()
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let headers = format!("Authorization: Bearer {}\r\n{headers}", self.token);
        self.line().request(method, &format!("/api/v1{path}"), &headers, body).expect("an answer")
    }

    pub(crate) fn json(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(method, path, "Content-Type: application/json\r\n", body.as_bytes());
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    pub(crate) fn piece(&self, id: &str, offset: usize, bytes: &[u8], headers: &str) -> Answer {
        let headers = format!("Upload-Offset: {offset}\r\nContent-Type: application/octet-stream\r\n{headers}");
        self.ask("PATCH", &format!("/uploads/{id}"), &headers, bytes)
    }

    fn begin(&self, name: &str, size: usize) -> String {
        let (status, begun) = self.json("POST", "/uploads", &json!({ "name": name, "size": size }));
        assert_eq!((status, &begun["offset"]), (201, &json!(0)), "{begun}");
        begun["id"].as_str().expect("a number").to_owned()
    }

    pub(crate) fn upload(&self, name: &str, bytes: &[u8]) -> String {
        let id = self.begin(name, bytes.len());
        assert_eq!(self.piece(&id, 0, bytes, "").status, 204);
        id
    }

    fn offset(&self, id: &str) -> usize {
        let answer = self.ask("HEAD", &format!("/uploads/{id}"), "", b"");
        assert_eq!(answer.status, 204, "{}", answer.head);
        header(&answer, "upload-offset").parse().expect("a number")
    }
}

pub(crate) fn header(answer: &Answer, name: &str) -> String {
    let lower = answer.head.to_ascii_lowercase();
    let value = lower.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
    value.unwrap_or_else(|| panic!("no {name} in {}", answer.head))
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(bytes);
    hasher.finish().to_string()
}

#[test]
fn an_upload_survives_cut_connections_and_a_killed_server_and_is_proven_whole() {
    let site = Site::new();
    let secret = token(&site, "anna", "deployer", Rights::deployer());
    let other = token(&site, "berta", "deployer", Rights::deployer());
    let bytes = noise(3_000_000);
    let mut served = site.serve();
    let (id, kept) = {
        let program = Program { served: &served, token: &secret };
        let id = program.begin("C:\\temp\\tool.bin", bytes.len());
        let first = program.piece(&id, 0, &bytes[..1_000_000], "");
        assert_eq!((first.status, header(&first, "upload-offset").as_str()), (204, "1000000"));

        // Announced only: whoever is refused may find the door closed before all of it is sent.
        let announced = |offset: usize, length: usize| {
            let mut line = program.line();
            let head = format!(
                "PATCH /api/v1/uploads/{id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nUpload-Offset: {offset}\r\n\
                 Content-Length: {length}\r\n\r\n"
            );
            line.send(head.as_bytes()).expect("sent");
            line.answer().expect("an answer")
        };
        // A piece that does not follow is told where to go on, and changes nothing.
        let gap = announced(1_500_000, 100_000);
        assert_eq!((gap.status, header(&gap, "upload-offset").as_str()), (409, "1000000"), "{}", gap.text());
        let long = announced(1_000_000, 2_000_001);
        assert_eq!(long.status, 413, "{}", long.text());
        assert_eq!(program.offset(&id), 1_000_000);

        // A connection that breaks within a piece: what came is kept.
        let mut line = program.line();
        let head = format!(
            "PATCH /api/v1/uploads/{id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nUpload-Offset: 1000000\r\n\
             Content-Length: 2000000\r\n\r\n"
        );
        line.send(&[head.as_bytes(), &bytes[1_000_000..1_700_000]].concat()).expect("sent");
        drop(line);
        // How much of it came is the network's to say.
        until("the broken piece", || program.offset(&id) > 1_000_000);
        let kept = program.offset(&id);

        // Nobody else's business.
        let stranger = Program { served: &served, token: &other };
        assert_eq!(stranger.json("GET", &format!("/uploads/{id}"), &Value::Null).0, 404);
        assert_eq!(stranger.piece(&id, kept, b"x", "").status, 404);
        (id, kept)
    };
    served.kill();

    let served = site.serve();
    let program = Program { served: &served, token: &secret };
    assert_eq!(program.offset(&id), kept, "what was told is durable");
    let wrong = format!("Upload-Sha256: {}\r\n", "0".repeat(64));
    let damaged = program.piece(&id, kept, &bytes[kept..], &wrong);
    assert_eq!(damaged.status, 422, "{}", damaged.text());
    assert_eq!(program.offset(&id), 0, "a damaged upload begins anew");
    let right = format!("Upload-Sha256: {}\r\n", sha256(&bytes));
    assert_eq!(program.piece(&id, 0, &bytes[..2_000_000], &right).status, 204);
    let last = program.piece(&id, 2_000_000, &bytes[2_000_000..], &right);
    assert_eq!((last.status, header(&last, "upload-sha256")), (204, sha256(&bytes)));
    let (_, upload) = program.json("GET", &format!("/uploads/{id}"), &Value::Null);
    assert_eq!((&upload["name"], &upload["complete"]), (&json!("tool.bin"), &json!(true)));

    assert_eq!(program.ask("DELETE", &format!("/uploads/{id}"), "", b"").status, 204);
    assert_eq!(std::fs::read_dir(site.data().join("staging/uploads")).expect("there").count(), 0);
    served.stop();
}

#[test]
fn what_cannot_be_an_upload_is_refused_with_a_sentence() {
    let site = Site::new();
    let secret = token(&site, "anna", "deployer", Rights::deployer());
    let viewer = token(&site, "vera", "viewer", Rights::viewer());
    let served = site.serve();
    let program = Program { served: &served, token: &secret };
    let mut story = String::new();
    for body in [
        json!({ "name": "", "size": 1 }),
        json!({ "name": "a", "size": 0 }),
        json!({ "name": "..", "size": 1 }),
        json!({ "name": "a\u{7}b", "size": 1 }),
    ] {
        let (status, problem) = program.json("POST", "/uploads", &body);
        writeln!(story, "{status} {} {}", problem["field"], problem["detail"]).expect("a string");
    }
    let (status, problem) = program.json("POST", "/uploads", &json!({ "name": "huge", "size": u64::MAX / 2 }));
    assert_eq!((status, &problem["field"]), (422, &json!("size")));
    assert!(problem["detail"].as_str().is_some_and(|it| it.contains("free some space there first")), "{problem}");
    let (status, problem) =
        Program { served: &served, token: &viewer }.json("POST", "/uploads", &json!({ "name": "a", "size": 1 }));
    writeln!(story, "{status} {}", problem["detail"]).expect("a string");
    let missing = program.ask("PATCH", &format!("/uploads/{}", "0".repeat(32)), "", b"x");
    writeln!(story, "{}", missing.status).expect("a string");
    insta::assert_snapshot!(story, @r#"
    422 "name" "\"\" is no name of a file: 1 to 200 bytes, without / and \\ and control characters"
    422 "size" "the file is empty: there is nothing to build from"
    422 "name" "\"..\" is no name of a file: 1 to 200 bytes, without / and \\ and control characters"
    422 "name" "\"ab\" is no name of a file: 1 to 200 bytes, without / and \\ and control characters"
    403 "vera (token tests) may not build packages: that needs the right packages.build, which somebody who manages users can give"
    422
    "#);
    served.stop();
}

#[test]
fn a_package_goes_the_whole_way_through_the_api() {
    let site = Site::new();
    let secret = token(&site, "anna", "administrator", Rights::all());
    let served = site.serve();
    let program = Program { served: &served, token: &secret };
    let archive = tar_gz(&[("install.sh", b"#!/bin/sh\nexit 0\n"), ("share/data", &noise(200_000))]);
    let upload = program.upload("tool-2.1.tar.gz", &archive);
    let body = json!({
        "name": "tool", "version": "2.1", "os": "linux", "upload": upload,
        "action": "execute", "command": "sh ./install.sh", "fragment_bytes": 65536,
    });
    let (status, preview) = program.json("POST", "/packages/preview", &body);
    assert_eq!((status, &preview["refusal"]), (200, &Value::Null), "{preview}");
    assert!(preview["info"].as_str().is_some_and(|info| info.contains("COMMAND=\"sh ./install.sh\"")), "{preview}");
    assert_eq!(preview["fragments"], json!(archive.len().div_ceil(65536)));

    // Asked twice under one key, built once.
    let keyed = "Content-Type: application/json\r\nIdempotency-Key: one\r\n";
    let built = program.ask("POST", "/packages", keyed, body.to_string().as_bytes());
    assert_eq!(built.status, 201, "{}", built.text());
    let again = program.ask("POST", "/packages", keyed, body.to_string().as_bytes());
    assert_eq!((again.status, again.text()), (201, built.text()));
    let package: Value = serde_json::from_slice(&built.body).expect("JSON");
    let id = package["package"]["id"].as_u64().expect("an id");
    assert_eq!(package["package"]["sha256"], json!(sha256(&archive)));
    assert_eq!(program.json("GET", "/uploads", &Value::Null).1["items"], json!([]), "the upload is in the package now");

    let at = |rest: &str| format!("/packages/{id}{rest}");
    let (status, active) = program.json("POST", &at("/activation"), &json!({}));
    assert_eq!((status, &active["activation"]["checked"]), (201, &json!(true)), "{active}");
    assert_eq!(program.ask("GET", &at("/download"), "", b"").body, archive);
    let tree = program.ask("GET", &at("/tree"), "", b"");
    let mut tar = tar::Archive::new(&tree.body[..]);
    let names: Vec<String> = tar
        .entries()
        .expect("a tar")
        .map(|entry| entry.expect("an entry").path().expect("a path").display().to_string())
        .collect();
    assert_eq!(names.first(), Some(&format!("{id}/info")));
    assert_eq!(names.len(), 1 + archive.len().div_ceil(65536));
    let (_, files) = program.json("GET", &at("/files"), &Value::Null);
    assert_eq!(files["items"][0]["path"], json!("install.sh"));
    assert_eq!(files["items"][0]["sha256"], json!(sha256(b"#!/bin/sh\nexit 0\n")));
    let info = program.ask("GET", &at("/info"), "", b"").text();
    assert!(info.contains(&format!("ID=\"{id}\"")), "{info}");

    // Taken back, looked at in the recycle bin, brought back with its activation.
    assert_eq!(program.json("DELETE", &at(""), &Value::Null).0, 200);
    assert_eq!(served.secure().get(&format!("/download/{id}/info")).status, 404);
    assert_eq!(program.ask("GET", &at("/download"), "", b"").body, archive, "the recycle bin can be read");
    let (_, bin) = program.json("GET", "/packages?state=withdrawn", &Value::Null);
    assert_eq!(bin["items"][0]["id"], json!(id));
    let (status, restored) = program.json("POST", &at("/restoration"), &Value::Null);
    assert_eq!((status, &restored["state"]), (200, &json!("available")), "{restored}");
    assert_eq!(restored["activation"]["checked"], json!(true));
    assert_eq!(served.secure().get(&format!("/download/{id}/info")).status, 200);
    assert_eq!(program.json("POST", &at("/restoration"), &Value::Null).0, 409, "it is not withdrawn");

    // And for good.
    assert_eq!(program.json("DELETE", &at("/activation"), &Value::Null).0, 204);
    assert_eq!(program.json("DELETE", &at(""), &Value::Null).0, 200);
    assert_eq!(program.json("DELETE", &at("/restoration"), &Value::Null).0, 204);
    let (status, gone) = program.json("POST", &at("/restoration"), &Value::Null);
    assert_eq!(status, 409);
    insta::assert_snapshot!(gone["detail"].as_str().unwrap_or_default().replace(&id.to_string(), "ID"), @"the files of package ID are not kept any more: build it anew");
    served.stop();
}

#[test]
fn versions_are_compared_by_definition_and_files() {
    let site = Site::new();
    let secret = token(&site, "anna", "deployer", Rights::deployer());
    let served = site.serve();
    let program = Program { served: &served, token: &secret };
    let build = |version: &str, files: &[(&str, &[u8])]| {
        let upload = program.upload("tool.tar.gz", &tar_gz(files));
        let body = json!({ "name": "tool", "version": version, "os": "linux", "upload": upload,
            "template": "store", "values": { "path": "/opt/tool" } });
        let (status, built) = program.json("POST", "/packages", &body);
        assert_eq!(status, 201, "{built}");
        built["package"]["id"].as_u64().expect("an id")
    };
    let old = build("1", &[("a", b"1"), ("b", b"2")]);
    let new = build("2", &[("a", b"9"), ("c", b"3")]);
    let (_, told) = program.json("GET", &format!("/packages/{new}/comparison/{old}"), &Value::Null);
    let files = (&told["added"], &told["removed"], &told["changed"]);
    assert_eq!(files, (&json!(["c"]), &json!(["b"]), &json!(["a"])));
    assert_eq!((&told["old"]["version"], &told["new"]["version"]), (&json!("1"), &json!("2")));
    served.stop();
}

/// A browser that is signed in.
pub(crate) struct Browser {
    line: Line,
    cookie: String,
    csrf: String,
}

impl Browser {
    pub(crate) fn new(served: &Served, name: &str) -> Self {
        let mut line = served.secure();
        let form = format!("name={name}&password={}&next=%2F", PASSWORD.replace(' ', "+"));
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let answer = line.request("POST", "/sign-in", headers, form.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.head.lines().find_map(|line| line.split_once("__Host-dripfeed=")).expect("a cookie").1;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let mut browser = Self { line, cookie, csrf: String::new() };
        let page = browser.get("/packages").text();
        let csrf = page.split("name=\"csrf\" content=\"").nth(1).and_then(|it| it.split('"').next());
        csrf.unwrap_or_default().clone_into(&mut browser.csrf);
        browser
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        let headers = format!("Cookie: __Host-dripfeed={}\r\n", self.cookie);
        self.line.request("GET", path, &headers, b"").expect("an answer")
    }

    pub(crate) fn post(&mut self, path: &str, form: &str) -> Answer {
        let headers =
            format!("Cookie: __Host-dripfeed={}\r\nContent-Type: application/x-www-form-urlencoded\r\n", self.cookie);
        let form = format!("{form}&csrf={}", self.csrf);
        self.line.request("POST", path, &headers, form.as_bytes()).expect("an answer")
    }
}

#[test]
fn a_package_is_built_activated_and_withdrawn_in_the_console() {
    let site = Site::new();
    token(&site, "anna", "administrator", Rights::all());
    token(&site, "vera", "viewer", Rights::viewer());
    let served = site.serve();
    let mut anna = Browser::new(&served, "anna");
    let empty = anna.get("/packages").text();
    assert!(empty.contains("No packages yet"), "{empty}");
    for page in ["/packages/new", "/packages/new?from=script", "/packages/new?from=nothing&os=windows&kind=winget"] {
        assert_eq!(anna.get(page).status, 200, "{page}");
    }

    // A refused form comes back with what was typed and what is wrong.
    let wrong = anna.post(
        "/packages/new",
        "from=nothing&os=linux&kind=apt-install&name=htop&version=1&priority=5&t_packages=htop%3B+reboot",
    );
    assert_eq!(wrong.status, 422);
    let text = wrong.text();
    assert!(text.contains("htop; reboot") && text.contains("It was not built."), "{text}");

    let form =
        "from=script&os=linux&kind=script&name=%3Cb%3Ehello&version=1&priority=5&script=script.sh&text=exit+0&cut=auto";
    let preview = anna.post("/packages/new/preview", form).text();
    assert!(preview.contains("sh ./script.sh") && preview.contains("id=\"preview\""), "{preview}");
    let begun = anna.post("/packages/new", form);
    assert_eq!(begun.status, 303, "{}", begun.text());
    let work = header(&begun, "location");
    let mut page = String::new();
    until("the build", || {
        page = anna.get(&work).text();
        page.contains("Activate it")
    });
    assert!(page.contains("&#60;b&#62;hello") && !page.contains("<b>hello"), "a name is text: {page}");
    let id: String = page
        .split("/packages/")
        .filter_map(|rest| rest.split('/').next())
        .find(|id| id.len() == 10)
        .expect("an id")
        .to_owned();

    let form = anna.get(&format!("/packages/{id}/activate")).text();
    let value = |name: &str| {
        form.split(&format!("name=\"{name}\" value=\""))
            .nth(1)
            .and_then(|it| it.split('"').next())
            .expect("a value")
            .to_owned()
    };
    let form = format!(
        "info_location={}&fragment_location={}&check=1",
        value("info_location").replace('/', "%2F"),
        value("fragment_location").replace('/', "%2F")
    );
    let work = header(&anna.post(&format!("/packages/{id}/activate"), &form), "location");
    until("the activation", || anna.get(&work).text().contains("Agents can fetch package"));
    for tab in ["", "?tab=info", "?tab=files", "?tab=fragments", "?tab=versions", "?tab=deployments", "?tab=audit"] {
        let page = anna.get(&format!("/packages/{id}{tab}"));
        assert_eq!(page.status, 200, "{tab}");
    }
    assert!(anna.get(&format!("/packages/{id}?tab=audit")).text().contains("package build"));

    // Who may only look sees no button and is refused behind it.
    let mut vera = Browser::new(&served, "vera");
    assert!(!vera.get(&format!("/packages/{id}")).text().contains("Withdraw"));
    for (path, status) in [("/packages/new", 403), (work.as_str(), 404)] {
        assert_eq!(vera.get(path).status, status, "{path}");
    }
    assert_eq!(vera.post(&format!("/packages/{id}/withdraw"), "").status, 403);

    assert_eq!(anna.get(&format!("/packages/{id}/withdraw")).status, 200);
    let asked = anna.post("/packages/withdraw", &format!("id={id}"));
    assert!(asked.text().contains("will be cancelled"), "{}", asked.text());
    assert_eq!(anna.post("/packages/withdraw", &format!("id={id}&sure=1")).status, 303);
    assert!(anna.get("/packages?state=withdrawn").text().contains(&id));
    assert_eq!(anna.post(&format!("/packages/{id}/restore"), "").status, 303);
    assert!(anna.get("/packages").text().contains(&id));
    served.stop();
}

pub(crate) fn description(name: &str, version: &str) -> Description {
    Description {
        name: name.to_owned(),
        version: version.to_owned(),
        description: String::new(),
        os: OsFamily::Linux,
        action: Action::from_parts("execute", "true").expect("an action"),
        priority: Priority::from_number(5),
        notify: None,
        done: None,
        exit_codes: dripfeed::model::ExitCodes::default(),
        content: Content::Nothing,
        fragmenting: None,
        recipe: Recipe::default(),
    }
}

#[test]
fn rights_and_scope_hold_for_builds_and_the_audit_log_tells_of_them() {
    let test = TestApp::new();
    let scope = Scope::parse(None, Some("tool*")).expect("a scope");
    let anna = Desk::new(test.app.clone(), actor("anna", Rights::deployer(), scope));
    let built = anna.build(&description("toolbox", "1"), None, &mut |_| {}).expect("built").0.package;
    let outside = anna.build(&description("office", "1"), None, &mut |_| {}).expect_err("out of scope");
    assert_eq!((outside.kind, outside.field), (Kind::Forbidden, Some("name")));
    let vera = Desk::new(test.app.clone(), actor("vera", Rights::viewer(), Scope::ALL));
    let refused = vera.build(&description("toolbox", "2"), None, &mut |_| {}).expect_err("no right");
    assert_eq!(refused.kind, Kind::Forbidden);
    assert_eq!(vera.withdraw(built.id).expect_err("no right").kind, Kind::Forbidden);
    assert_eq!(vera.restore(built.id).expect_err("no right").kind, Kind::Forbidden);
    let elsewhere = Scope::parse(None, Some("office")).expect("a scope");
    let otto = Desk::new(test.app.clone(), actor("otto", Rights::all(), elsewhere));
    for kind in [
        otto.restore(built.id).map(drop).expect_err("out of scope").kind,
        otto.info(built.id).map(drop).expect_err("out of scope").kind,
        otto.contents(built.id).map(drop).expect_err("out of scope").kind,
        otto.forget(built.id).expect_err("out of scope").kind,
        otto.audit_of_package(built.id).map(drop).expect_err("out of scope").kind,
    ] {
        assert_eq!(kind, Kind::NotFound);
    }
    assert_eq!(otto.wanted_packages(&Wanted::default(), 10).expect("listed").len(), 0);

    anna.withdraw(built.id).expect("withdrawn");
    let restored = anna.restore(built.id).expect("restored");
    assert_eq!(restored.state, PackageState::Available);
    let id = built.id;
    let lines = test.app.store.read_now(move |conn| audit::of_subject(conn, &format!("package {id}"), None, 10));
    let told: Vec<String> = lines
        .expect("read")
        .into_iter()
        .map(|line| format!("{} {} {}", line.actor, line.action, line.after.unwrap_or_default()))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    anna package restore {"state":"available"}
    anna package withdraw {"state":"withdrawn"}
    anna package build {"action":"execute","command":"true","name":"toolbox","os":"linux","priority":5,"upload":null,"version":"1"}
    "#);
}

#[test]
fn a_build_in_the_background_says_why_it_failed() {
    let test = TestApp::new();
    let desk = Desk::new(test.app.clone(), actor("anna", Rights::deployer(), Scope::ALL));
    let (works, looks) = (Works::default(), Looks::default());
    // What can be told at once is refused at once.
    let store =
        Description { action: Action::from_parts("store", "/opt").expect("an action"), ..description("tool", "1") };
    let refused = desk.start_build(&works, &looks, &store, None).expect_err("nothing to store");
    insta::assert_snapshot!(refused, @"action store needs files: give an archive, a directory or a file (only execute works without)");

    // An upload that is no archive, though its name says so.
    let upload = desk.begin_upload("tool.tar.gz", 4, Vec::new()).expect("begun");
    let mut writing = desk.open_upload(&upload.id, 0, None).expect("opened");
    writing.write(b"oops").and_then(|()| writing.save(None)).expect("written");
    let broken = Description { content: Content::Upload(upload.id.clone()), ..description("tool", "1") };
    let refused = desk.start_build(&works, &looks, &broken, None).expect_err("no archive");
    insta::assert_snapshot!(refused, @"this is neither a ZIP nor a TAR.GZ archive");
    let direct = desk.build(&broken, None, &mut |_| {}).expect_err("no archive");
    assert_eq!(direct.kind, Kind::Invalid);
    assert!(desk.upload(&upload.id).is_ok(), "what failed can be tried again");

    let work = desk.start_build(&works, &looks, &description("tool", "1"), None).expect("begun");
    let mut outcome = Outcome::Running;
    until("the build", || {
        outcome = works.find(work).expect("known").outcome;
        outcome != Outcome::Running
    });
    assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
}

#[test]
fn packages_are_listed_in_every_order_page_by_page() {
    let test = TestApp::new();
    let desk = Desk::new(test.app.clone(), actor("anna", Rights::deployer(), Scope::ALL));
    assert!(desk.may(Right::BuildPackages));
    for (name, version) in [("b", "1"), ("a", "2"), ("c", "3"), ("a", "4")] {
        desk.build(&description(name, version), None, &mut |_| {}).expect("built");
    }
    for (order, expected) in [(Order::Newest, "4 3 2 1"), (Order::Oldest, "1 2 3 4"), (Order::Name, "2 4 1 3")] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let wanted = Wanted { order, after, ..Wanted::default() };
            let page = desk.wanted_packages(&wanted, 3).expect("listed");
            after = page.last().map(|line| line.package.id);
            if page.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(|line| line.package.version));
        }
        assert_eq!(found.join(" "), expected, "{order:?}");
    }
    let wanted = Wanted { text: "A".to_owned(), ..Wanted::default() };
    assert_eq!(desk.wanted_packages(&wanted, 10).expect("listed").len(), 2, "letters without case");
    let none = Wanted { text: "%".to_owned(), ..Wanted::default() };
    assert_eq!(desk.wanted_packages(&none, 10).expect("listed").len(), 0, "a sign is a sign");
}
