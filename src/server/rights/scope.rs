//! Scope, tried on real objects: whose scope leaves a computer, a package or a deployment out is told that there is none,
//! by every route that names one, and finds it in no list; whose scope holds it is let through.

use std::io::Write as _;

use super::{COOKIE, House, OPERATIONS, PAGES, Request, Response, Rights, Scope, StatusCode, api, console, limited};
use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE};

use crate::model::{Action, ByteSize, ExitCodes, JobOptions, OsFamily, PackageId, Priority};
use crate::protocol::{ComputerFacts, InventoryRequest};
use crate::service::assign::{Target, assign};
use crate::service::publish::{self, BuildRequest, Fragmenting, Source};
use crate::service::{Peer, account, activate, groups, inventory, signin};
use crate::store::packages::NewPackage;
use crate::store::{audit, jobs, notes};

/// What a name of ours looks like in an answer that should not hold it.
const MARKS: [&str; 2] = ["kerguelen", "lab-zq"];

/// Closing a deployment closes it for every computer, also for those outside somebody's scope, so does what says when and
/// where it may run, and what is approved is for many: a limited administrator is told so (403), and nothing else is refused to them
/// that their scope holds.
fn concerns_all(path: &str) -> bool {
    let action = path.strip_prefix("/deployments/{id}/").unwrap_or_default();
    action.starts_with("gates") || ["close", "reopen", "approve", "reject", "release"].contains(&action)
}

/// A computer, a package for it, and its deployment.
struct Objects {
    computer: String,
    package: String,
    other: String,
    deployment: String,
    job: String,
    note: String,
}

impl House {
    /// Makes objects that the scope "tag = lab", "lab-*" holds.
    async fn objects(&self, number: usize) -> Objects {
        let device_id = format!("kerguelen{number}-2024-03-05-09-10-11");
        let request = InventoryRequest {
            device_id: device_id.parse().expect("a device id"),
            facts: ComputerFacts {
                name: format!("kerguelen{number}"),
                os_name: "Debian".to_owned(),
                ..ComputerFacts::default()
            },
            networks: Vec::new(),
            history: None,
            account: Vec::new(),
            old_device_id: None,
            software: Vec::new(),
            discovered: Vec::new(),
            sections: Vec::new(),
        };
        let peer = Peer {
            address: [127, 0, 0, 1].into(),
            user_agent: "OCS-NG_unified_unix_agent_v2.10.0".to_owned(),
            proof: None,
        };
        inventory::take(&self.app, request, number.to_string().into_bytes(), peer).await.expect("a computer");
        account::set_tag(&self.app, &device_id, Some("lab")).expect("a tag");
        let (package, other) = (self.package(&format!("lab-zq{number}")), self.package(&format!("lab-zq{number}b")));
        let here: crate::model::Location = "localhost:8443/download".parse().expect("a location");
        activate::activate(&self.app, package, here.clone(), here, None, &mut |_, _| {}).expect("activated");
        let target = Target::Computers(vec![device_id.clone()]);
        let deployment = assign(&self.app, package, target, JobOptions::default(), "amy").expect("assigned").deployment;
        let job = self.app.store.read_now(move |conn| jobs::list(conn, Some(package), None, None, 1)).expect("jobs");
        let (computer, now) = (job[0].job.computer, self.app.clock.now());
        let note = self.app.store.write_now(move |conn| notes::add(conn, computer, now, "amy", "a note"));
        Objects {
            computer: device_id,
            package: package.to_string(),
            other: other.to_string(),
            deployment: deployment.to_string(),
            job: job[0].job.id.0.to_string(),
            note: note.expect("a note").to_string(),
        }
    }

    fn package(&self, name: &str) -> PackageId {
        let file = self.directory.path().join("tool");
        std::fs::File::create(&file).and_then(|mut file| file.write_all(name.as_bytes())).expect("a file");
        let request = BuildRequest {
            package: NewPackage {
                name: name.to_owned(),
                version: "1".to_owned(),
                description: String::new(),
                os: OsFamily::Linux,
                action: Action::from_parts("store", "/opt/tool").expect("an action"),
                priority: Priority::from_number(1),
                notify: None,
                done: None,
                exit_codes: ExitCodes::default(),
            },
            source: Source::Path(file),
            fragmenting: Fragmenting::Size(ByteSize(1000)),
        };
        publish::build(&self.app, &request, &mut |_| {}).expect("a package").package.id
    }

    async fn submit(&self, who: &str, method: &str, address: &str, form: &str) -> Response {
        let form = format!("csrf={}&{form}", signin::form_secret(who));
        let request = Request::builder()
            .method(method)
            .uri(address)
            .header(COOKIE, format!("__Host-dripfeed={who}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("content-length", form.len());
        self.ask(request.body(Body::from(form)).expect("a request")).await
    }

    async fn send(&self, token: &str, method: &str, address: &str, document: &str) -> Response {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{address}"))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .header("content-length", document.len());
        self.ask(request.body(Body::from(document.to_owned())).expect("a request")).await
    }
}

impl Objects {
    /// A route's address with these objects in its braces.
    fn address(&self, path: &str) -> String {
        let of_package = path.starts_with("/packages/");
        let mut address = String::new();
        for part in path.split('/').skip(1) {
            address.push('/');
            address.push_str(match part {
                "{device_id}" | "{computer}" => &self.computer,
                "{package}" => &self.package,
                "{other}" => &self.other,
                "{id}" if of_package => &self.package,
                "{id}" => &self.deployment,
                "{job}" => &self.job,
                "{note}" => &self.note,
                "{key}" => "PROLOG_FREQ",
                "{field}" => "Room",
                part => part,
            });
        }
        address
    }

    /// A form that says enough to get as far as the scope.
    fn form(&self, path: &str) -> String {
        match path.rsplit('/').next().unwrap_or_default() {
            "settings" => "key=PROLOG_FREQ&value=24".to_owned(),
            "tag" => "tag=lab".to_owned(),
            "fields" => "field=Room&value=1".to_owned(),
            "notes" => "note=seen".to_owned(),
            "merge" => format!("into={}", self.computer),
            "delete" => format!("note={}&typed={}", self.note, self.computer.split('-').next().unwrap_or_default()),
            _ => String::new(),
        }
    }

    fn document(&self, method: &str, path: &str) -> String {
        match (method, path.rsplit('/').next().unwrap_or_default()) {
            ("GET" | "DELETE", _) => String::new(),
            (_, "notes") => r#"{"text":"seen"}"#.to_owned(),
            (_, "tag" | "{field}") => r#"{"value":"lab"}"#.to_owned(),
            (_, "{key}") => r#"{"value":24}"#.to_owned(),
            (_, "merge") => format!(r#"{{"into":"{}"}}"#, self.computer),
            _ => "{}".to_owned(),
        }
    }
}

fn names_an_object(path: &str) -> bool {
    ["/computers/{", "/packages/{", "/deployments/{"].iter().any(|beginning| path.starts_with(beginning))
}

fn house() -> House {
    let house = House::new();
    let holds = Scope::parse(Some("tag = lab"), Some("lab-*")).expect("a scope");
    house.user("ian", "administrator", holds, false);
    house
}

#[tokio::test]
async fn what_a_scope_leaves_out_is_not_there_by_any_route() {
    let house = house();
    let objects = house.objects(1).await;
    let token = house.token("sue", Rights::all());
    let mut wrong = Vec::new();
    let mut tried = 0;
    for &(method, path, _) in PAGES.iter().filter(|row| names_an_object(row.1)) {
        let address = objects.address(path);
        let response = match method {
            "GET" => house.browse(Some("sue"), method, &address).await,
            _ => house.submit("sue", method, &address, &objects.form(path)).await,
        };
        if !matches!(response.status(), StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
            wrong.push(format!("{method} {path}: {}", response.status()));
        }
        tried += 1;
    }
    // A token's own scope leaves out as much as its owner's.
    let narrow = house.token_within("amy", Rights::all(), limited());
    for &(method, path, _) in OPERATIONS.iter().filter(|row| names_an_object(row.1)) {
        for token in [&token, &narrow] {
            let response = house.send(token, method, &objects.address(path), &objects.document(method, path)).await;
            if !matches!(response.status(), StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
                wrong.push(format!("{method} /api/v1{path}: {}", response.status()));
            }
        }
        tried += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 70, "only {tried} routes name an object");
    let changed = house.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 10));
    assert!(changed.expect("the log").is_empty(), "something was changed");
}

#[tokio::test]
async fn what_a_scope_holds_is_there_by_every_route() {
    let house = house();
    let token = house.token("ian", Rights::all());
    let mut wrong = Vec::new();
    // New objects for each: some routes delete theirs.
    let mut number = 0;
    let rows = PAGES.iter().map(|row| (row, false)).chain(OPERATIONS.iter().map(|row| (row, true)));
    for (&(method, path, _), is_api) in rows.filter(|(row, _)| names_an_object(row.1)) {
        number += 1;
        let objects = house.objects(number).await;
        let address = objects.address(path);
        let response = match method {
            _ if is_api => house.send(&token, method, &address, &objects.document(method, path)).await,
            "GET" => house.browse(Some("ian"), method, &address).await,
            _ => house.submit("ian", method, &address, &objects.form(path)).await,
        };
        let status = response.status();
        let refused = matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
        if refused != concerns_all(path) || status.is_server_error() {
            wrong.push(format!("{method} {path}: {status}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a page or an operation shows; nothing of a stream, which does not end.
async fn text(response: Response) -> String {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.starts_with("text/event-stream") {
        return String::new();
    }
    let bytes = axum::body::to_bytes(response.into_body(), 16 << 20).await.expect("a body");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn no_list_shows_what_a_scope_leaves_out() {
    let house = house();
    let objects = house.objects(1).await;
    groups::create(&house.app, "crew", None, "amy").expect("a group");
    let (sue, ian) = (house.token("sue", Rights::all()), house.token("ian", Rights::all()));
    let mut shown = Vec::new();
    let paths = console::pages().into_iter().filter(|page| page.method == "GET").map(|page| (page.path, false));
    let operations = api::operations().into_iter().filter(|one| one.method == "GET").map(|one| (one.path, true));
    for (path, is_api) in paths.chain(operations).filter(|(path, _)| !names_an_object(path)) {
        let address = match path {
            "/search" => "/search?q=kerguelen".to_owned(),
            "/packages/compare" => format!("/packages/compare?a={}&b={}", objects.package, objects.other),
            path => path.replace("{name}", "crew").replace("{key}", "PROLOG_FREQ"),
        };
        let of = |who: &'static str, token: String| {
            let (house, address) = (&house, address.clone());
            async move {
                text(if is_api {
                    house.send(&token, "GET", &address, "").await
                } else {
                    house.browse(Some(who), "GET", &address).await
                })
                .await
            }
        };
        // With its number: what was asked for is said again.
        let is_told = |text: String| MARKS.iter().any(|mark| text.to_lowercase().contains(&format!("{mark}1")));
        assert!(!is_told(of("sue", sue.clone()).await), "GET {path} (API: {is_api}) shows sue what is not hers");
        if is_told(of("ian", ian.clone()).await) {
            shown.push((path, is_api));
        }
    }
    for path in ["/computers", "/packages", "/deployments", "/search"] {
        for is_api in [false, true] {
            assert!(shown.contains(&(path, is_api)), "{path} (API: {is_api}) does not show ian what is his: {shown:?}");
        }
    }
}
