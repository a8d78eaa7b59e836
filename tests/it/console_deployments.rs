//! Deployments, groups and the first page as a browser and a program see them: through the real server.

#![expect(clippy::similar_names, reason = "`test` and `text` are told apart by who reads tests")]

mod series;

use std::io::ErrorKind;
use std::sync::Arc;

use dripfeed::config::server::{ServerConfig, ServerOpts};
use dripfeed::model::access::{Right, Scope};
use dripfeed::model::{DeploymentId, JobOptions, PackageId};
use dripfeed::server::{Addresses, Server};
use dripfeed::service::assign::{Target, preview};
use dripfeed::service::deployments::Act;
use dripfeed::service::desk::deployments::Chosen;
use dripfeed::service::desk::{Actor, Desk, Kind, Via};
use dripfeed::service::signin::{Guesses, Place, form_secret, new_token, sign_in};
use dripfeed::service::{accounts, deployments};
use dripfeed::store::audit;
use dripfeed::store::deployments::{Wanted, Which};
use dripfeed::store::progress;
use dripfeed::store::sessions::Token;
use tokio::sync::oneshot;

use crate::jobs::{WS, active_package, assign_to, offers, say_inventory, say_result};
use crate::util::web::{Answer, Line, trusting};
use crate::util::{NOW, TestApp};

pub(crate) const A: &str = "a-2024-03-05-09-10-11";
const B: &str = "b-2024-03-05-09-10-11";
const C: &str = "c-2024-03-05-09-10-11";

fn actor(scope: Scope, rights: impl IntoIterator<Item = Right>) -> Actor {
    Actor {
        name: "mia".to_owned(),
        token: None,
        via: Via::Console,
        peer_address: "192.0.2.7".to_owned(),
        rights: rights.into_iter().collect(),
        scope,
    }
}

fn desk(test: &TestApp) -> Desk {
    Desk::new(test.app.clone(), actor(Scope::ALL, Right::ALL.iter().copied()))
}

fn scoped(test: &TestApp, computers: &str) -> Desk {
    let scope = Scope::parse(Some(computers), None).expect("a scope");
    Desk::new(test.app.clone(), actor(scope, Right::ALL.iter().copied()))
}

/// A package that three computers got: one did it, one failed, one was not told yet.
pub(crate) fn story(test: &TestApp) -> (PackageId, DeploymentId) {
    let id = active_package(test);
    for device in [A, B, C] {
        say_inventory(test, device, "Debian", &[]);
    }
    let deployment = assign_to(test, id, Target::All).deployment;
    offers(test, A);
    say_result(test, A, id, "SUCCESS");
    offers(test, B);
    say_result(test, B, id, "ERR_EXIT_CODE_1603");
    (id, deployment)
}

#[test]
fn a_packages_counters_and_deployments_are_those_of_the_scope() {
    let test = TestApp::new();
    let (id, deployment) = story(&test);
    let seen = |computers: Option<&str>| {
        let computers = computers.map(|query| query.parse().expect("a query"));
        let desk = Desk::new(test.app.clone(), actor(Scope { computers, ..Scope::ALL }, Right::ALL.iter().copied()));
        let line = desk.package(id).expect("seen");
        assert_eq!(desk.packages(None, 10).expect("listed")[0].counts, line.counts, "the list says the same");
        let (_, deployments) = desk.beside(&line.package).expect("seen");
        let counts: Vec<_> = line.counts.iter().map(|(state, count)| (state.as_str(), *count)).collect();
        (counts, deployments.iter().map(|line| line.deployment.id).collect::<Vec<_>>())
    };
    assert_eq!(seen(None), (vec![("pending", 1), ("succeeded", 1), ("failed", 1)], vec![deployment]));
    assert_eq!(seen(Some(&format!("device_id = {B}"))), (vec![("failed", 1)], vec![deployment]));
    assert_eq!(seen(Some("tag = nowhere")), (vec![], vec![]));
}

fn numbers(part: &dripfeed::service::assign::Part) -> (usize, Vec<&str>) {
    (part.count, part.first.iter().map(|computer| computer.name.as_str()).collect())
}

#[test]
fn a_look_says_who_gets_it_and_who_does_not_and_plans_nothing() {
    let test = TestApp::new();
    let id = active_package(&test);
    say_inventory(&test, A, "Debian", &[]);
    say_inventory(&test, B, "Debian", &[id]);
    say_inventory(&test, C, "Microsoft Windows 11 Pro", &[]);
    say_inventory(&test, WS, "Debian", &[]);
    assign_to(&test, id, Target::Computers(vec![WS.to_owned()]));
    let look = |options: &JobOptions| preview(&test.app, &id.into(), Target::All, options, None).expect("a preview");
    let looked = look(&JobOptions::default());
    let one = &looked.packages[0];
    assert_eq!(numbers(&one.gets), (1, vec!["a"]));
    assert_eq!(numbers(&one.has_it), (1, vec!["b"]));
    assert_eq!(numbers(&one.other_system), (1, vec!["c"]));
    assert_eq!(numbers(&one.already), (1, vec!["ws042"]));
    assert!(looked.standing && !one.not_activated && !looked.is_off && one.pace.as_secs() > 0);
    let fates: Vec<String> =
        looked.computers.iter().map(|(computer, fates)| format!("{} {}", computer.name, fates[0].as_str())).collect();
    assert_eq!(
        fates,
        ["a gets it", "b ran it before", "c runs another system", "ws042 has an open job of it"],
        "computer by computer"
    );
    let forced = JobOptions { force: true, ..JobOptions::default() };
    assert_eq!(numbers(&look(&forced).packages[0].gets), (2, vec!["a", "b"]), "force goes before the history");
    let known = test.app.store.read_now(|conn| dripfeed::store::deployments::list(conn, None, 10)).expect("read");
    assert_eq!(known.len(), 1, "only the real one is there");
    // The real one plans what the look promised: those that get it and those whose job ends at once.
    let assigned = assign_to(&test, id, Target::All);
    assert_eq!((assigned.planned, assigned.already, assigned.other_system), (2, 1, 1));
}

#[test]
fn whoever_has_some_computers_deploys_to_them_sees_them_and_takes_back_there() {
    let test = TestApp::new();
    let (id, everybody) = story(&test);
    let mine = scoped(&test, "name = b or name = c");
    let looked = mine.preview_deployment(&id.into(), Target::All, &JobOptions::default()).expect("a preview");
    let one = &looked.packages[0];
    assert_eq!((one.gets.count, one.already.count, looked.out_of_scope, looked.standing), (1, 1, 1, false));
    let progress = mine.deployment(everybody).expect("some of it is theirs");
    let words: Vec<String> = progress.summary.counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    assert_eq!(words, ["1 pending", "1 failed"], "the one that succeeded is not theirs");
    let lines = mine.deployment_computers(everybody, progress::Wanted::default(), None, 10).expect("a list");
    assert_eq!(lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(mine.close_deployment(everybody).expect_err("it concerns all").kind, Kind::Forbidden);
    let cancelled = mine.cancel_deployment(everybody, false, Chosen::default()).expect("there");
    assert_eq!((cancelled.jobs, cancelled.was_standing), (1, false));
    let known = desk(&test).deployment(everybody).expect("it is there").summary;
    assert!(deployments::is_running(&known), "for the others it goes on");
    let own = mine.deploy(&id.into(), Target::All, &JobOptions::default()).expect("to their computers");
    assert_eq!(own[0].planned, 2);
    let elsewhere = scoped(&test, "name = nobody");
    assert_eq!(elsewhere.deployment(everybody).expect_err("not theirs").kind, Kind::NotFound);
    assert!(elsewhere.deployments(Wanted::default(), 10).expect("a list").is_empty());
    let named = elsewhere.deploy(&id.into(), Target::Computers(vec![A.to_owned()]), &JobOptions::default());
    assert_eq!(named.expect_err("not theirs").kind, Kind::NotFound);
    let family = Scope::parse(None, Some("office*")).expect("a scope");
    let other = Desk::new(test.app.clone(), actor(family, Right::ALL.iter().copied()));
    assert_eq!(other.deployment(everybody).expect_err("another family").kind, Kind::NotFound);
    assert_eq!(
        other.deploy(&id.into(), Target::All, &JobOptions::default()).expect_err("another").kind,
        Kind::NotFound
    );
}

#[test]
fn nothing_is_changed_without_the_right_and_every_change_leaves_a_line() {
    let test = TestApp::new();
    let (id, deployment) = story(&test);
    let viewer = Desk::new(test.app.clone(), actor(Scope::ALL, dripfeed::model::access::Rights::viewer().iter()));
    let refusals = [
        viewer.deploy(&id.into(), Target::All, &JobOptions::default()).err(),
        viewer.retry_deployment(deployment, false, Chosen::default()).err(),
        viewer.cancel_deployment(deployment, true, Chosen::default()).err(),
        viewer.cancel_bundle(deployment).err(),
        viewer.take_off_deployment(deployment, Chosen::default()).err(),
        viewer.undo_cancel(deployment, NOW, false).err(),
        viewer.undo_retry(deployment, NOW).err(),
        viewer.change_jobs(A, &[], Act::TakeOff).err(),
        viewer.undo_jobs(A, NOW, Act::Retry).err(),
        viewer.close_deployment(deployment).err(),
        viewer.reopen_deployment(deployment).err(),
        viewer.create_group("g", None).err(),
        viewer.mark_in_group("g", &[A.to_owned()], dripfeed::service::groups::Mark::Include).err(),
        viewer.delete_group("g", true).err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.expect("refused").kind, Kind::Forbidden);
    }
    let desk = desk(&test);
    let of_code = |code: &str| Chosen {
        wanted: progress::Wanted { code: Some(code.to_owned()), ..progress::Wanted::default() },
        ..Chosen::default()
    };
    let none = desk.retry_deployment(deployment, false, of_code("ERR_BUILD")).expect_err("none");
    assert_eq!(none.kind, Kind::Conflict);
    assert_eq!(desk.retry_deployment(deployment, false, of_code("ERR_EXIT_CODE_1603")).expect("one").planned, 1);
    desk.create_group("paris", Some("name = a")).expect("made");
    desk.edit_group("paris", "name = b").expect("edited");
    assert_eq!(desk.close_deployment(deployment).expect("closed"), 2);
    let lines = test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 20)).expect("read");
    let text: Vec<String> = lines
        .iter()
        .map(|line| {
            let value = |value: &Option<String>| value.clone().unwrap_or_default();
            format!("{} {} {} {} {}", line.actor, line.action, line.subject, value(&line.before), value(&line.after))
        })
        .collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    mia deployment close deployment 1 {"pending":2,"succeeded":1} {"closed":true}
    mia group edit group paris {"query":"name = 'a'"} {"query":"name = b"}
    mia group create group paris  {"query":"name = a"}
    mia deployment retry deployment 1 {"failed":1,"pending":1,"succeeded":1} {"code":"ERR_EXIT_CODE_1603","failed_only":false}
    "#);
}

#[test]
fn a_closed_deployment_takes_nobody_more_and_keeps_what_came_of_it() {
    let test = TestApp::new();
    let (_, deployment) = story(&test);
    let desk = desk(&test);
    let running = Wanted { which: Which::Running, ..Wanted::default() };
    let ended = Wanted { which: Which::Ended, ..Wanted::default() };
    assert_eq!(desk.deployments(running, 10).expect("a list").len(), 1);
    assert!(!desk.home().expect("a page").failures.is_empty());
    desk.close_deployment(deployment).expect("closed");
    say_inventory(&test, "late-2024-03-05-09-10-11", "Debian", &[]);
    let kept = desk.deployment(deployment).expect("kept");
    assert_eq!(kept.summary.counts.iter().map(|(_, count)| count).sum::<u64>(), 3, "the late one is not in it");
    assert_eq!(kept.codes.len(), 1);
    assert!(desk.home().expect("a page").failures.is_empty(), "nobody needs to look any more");
    assert_eq!(desk.deployments(running, 10).expect("a list").len(), 0);
    assert_eq!(desk.deployments(ended, 10).expect("a list").len(), 1);
    assert_eq!(desk.close_deployment(deployment).expect_err("twice").kind, Kind::Conflict);
    desk.reopen_deployment(deployment).expect("open again");
    assert_eq!(desk.deployments(running, 10).expect("a list").len(), 1);
}

#[test]
fn a_preview_of_a_group_says_who_comes_and_goes_and_why() {
    let test = TestApp::new();
    for device in [A, B, C] {
        say_inventory(&test, device, "Debian", &[]);
    }
    let desk = desk(&test);
    desk.create_group("letters", Some("name = a or name = b")).expect("made");
    let preview = desk.preview_group(Some("letters"), "name = b or name = c").expect("a preview");
    let lines = |all: &[dripfeed::service::desk::groups::Candidate]| -> Vec<String> {
        all.iter().map(|one| format!("{} ({})", one.computer.name, one.because)).collect()
    };
    assert_eq!((preview.joins, lines(&preview.first_joins)), (1, vec!["c (name: c)".to_owned()]));
    assert_eq!((preview.leaves, lines(&preview.first_leaves)), (1, vec!["a (name: a)".to_owned()]));
    assert_eq!(desk.group("LETTERS").expect("there").members, 2, "nothing was changed");
    assert_eq!(desk.preview_group(None, "name = ").expect_err("no query").kind, Kind::Invalid);
    let mine = scoped(&test, "name = c");
    assert_eq!(mine.group("letters").expect("there").members, 0);
    assert_eq!(mine.preview_group(Some("letters"), "name = a or name = c").expect("a preview").leaves, 0);
    let outside = mine.mark_in_group("letters", &[A.to_owned()], dripfeed::service::groups::Mark::Exclude);
    assert_eq!(outside.expect_err("not theirs").kind, Kind::NotFound);
    mine.mark_in_group("letters", &[C.to_owned()], dripfeed::service::groups::Mark::Include).expect("theirs");
    assert_eq!(mine.edit_group("letters", "name = c").expect_err("of all").kind, Kind::Forbidden);
}

/// A server over the files of a story.
pub(crate) struct Served {
    addresses: Addresses,
    trust: Arc<rustls::ClientConfig>,
    cookie: String,
    csrf: String,
    token: String,
    stop: Option<oneshot::Sender<()>>,
    stopped: Option<std::thread::JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Served {
    pub(crate) fn start(test: TestApp) -> Self {
        accounts::add(&test.app, "mia", "correct horse battery", false, "administrator", Scope::ALL).expect("a user");
        let app = dripfeed::service::App { clock: dripfeed::clock::Clock::System, ..test.app.clone() };
        let place = Place { address: [127, 0, 0, 1].into(), user_agent: String::new() };
        let (secret, _) =
            sign_in(&app, &Guesses::default(), "mia", "correct horse battery", None, &place).expect("signed in");
        let token = Token {
            id: 0,
            name: "test".to_owned(),
            user: "mia".to_owned(),
            rights: Right::ALL.iter().copied().collect(),
            scope: Scope::ALL,
            created_at: NOW,
            expires_at: None,
            last_used_at: None,
            last_peer: String::new(),
        };
        let (_, token) = new_token(&app, &token).expect("a token");
        let directory = test.into_directory();
        let config = config(directory.path());
        let (stop, stopping) = oneshot::channel::<()>();
        let (started, starting) = std::sync::mpsc::channel();
        let stopped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let server = Server::bind(config, app).expect("it listens");
                started.send((server.addresses(), server.tls())).expect("the test waits");
                server.run(async { drop(stopping.await) }).await;
            });
        });
        let (addresses, tls) = starting.recv().expect("it started");
        Self {
            addresses,
            trust: trusting(&tls.authority().expect("our own")),
            csrf: form_secret(&secret),
            cookie: format!("Cookie: __Host-dripfeed={secret}\r\n"),
            token: format!("Authorization: Bearer {token}\r\n"),
            stop: Some(stop),
            stopped: Some(stopped),
            _directory: directory,
        }
    }

    fn line(&self) -> Line {
        Line::secure(self.addresses.https, &self.trust).expect("a connection")
    }

    pub(crate) fn page(&self, path: &str) -> Answer {
        self.line().request("GET", path, &self.cookie, b"").expect("an answer")
    }

    pub(crate) fn post(&self, path: &str, form: &str) -> Answer {
        let form = format!("csrf={}&{form}", self.csrf);
        let headers = format!("{}Content-Type: application/x-www-form-urlencoded\r\n", self.cookie);
        self.line().request("POST", path, &headers, form.as_bytes()).expect("an answer")
    }

    pub(crate) fn api(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let headers = format!("{}Content-Type: application/json\r\n", self.token);
        let path = format!("/api/v1{path}");
        let answer = self.line().request(method, &path, &headers, body.as_bytes()).expect("an answer");
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(stopped) = self.stopped.take() {
            assert!(stopped.join().is_ok() || std::thread::panicking(), "the server panicked");
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

fn config(directory: &std::path::Path) -> ServerConfig {
    let data_dir = directory.to_str().expect("text");
    let flags: Vec<(&str, String)> =
        [("data_dir", data_dir), ("http", "127.0.0.1:0"), ("https", "127.0.0.1:0"), ("public_name", "localhost")]
            .map(|(key, text)| (key, text.to_owned()))
            .to_vec();
    ServerOpts::gather_from(None, &flags, |_| None).and_then(|opts| opts.check()).expect("a right configuration")
}

#[test]
fn the_pages_tell_the_story_and_no_name_becomes_markup() {
    let test = TestApp::new();
    let (package, deployment) = story(&test);
    desk(&test).create_group("<i>&\"x\"", Some("name = a")).expect("made");
    let served = Served::start(test);
    let one = format!("/deployments/{deployment}");
    for (path, wanted) in [
        ("/".to_owned(), "1 computer: ERR_EXIT_CODE_1603"),
        ("/deployments".to_owned(), "rolling out"),
        ("/deployments?which=ended".to_owned(), "Nothing here yet"),
        (one.clone(), "33 % done"),
        (one.clone(), "The Windows installer failed"),
        (format!("{one}/computers?state=lost"), "ERR_EXIT_CODE_1603"),
        (format!("{one}/computers?state=expired"), "No computers here"),
        (format!("{one}/why/2"), "What this rests on"),
        ("/deployments/new?all=1".to_owned(), "Choose a package"),
        (format!("/deployments/new?package={package}&where=name%20%3D%20c"), "with an open job of it"),
        ("/groups".to_owned(), "&#60;i&#62;"),
        ("/groups/%3Ci%3E%26%22x%22".to_owned(), "by the query"),
        ("/groups/new?where=name%20%3D%20b".to_owned(), "1 computer would be in it"),
    ] {
        let answer = served.page(&path);
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.text();
        assert!(text.contains(wanted), "{path} lacks {wanted:?}:\n{text}");
        assert!(!text.contains("<i>&"), "{path}");
    }
    assert_eq!(served.page("/deployments/99").status, 404);
    assert_eq!(served.page("/deployments/x").status, 404);
    assert_eq!(served.page(&format!("{one}/why/99")).status, 404);
}

#[test]
fn forms_retry_cancel_and_close_and_a_wrong_one_comes_back() {
    let test = TestApp::new();
    let (package, deployment) = story(&test);
    let app = test.app.clone();
    let served = Served::start(test);
    let one = format!("/deployments/{deployment}");
    assert_eq!(served.post(&format!("{one}/retry"), "code=ERR_EXIT_CODE_1603").status, 303);
    let counts = |app: &dripfeed::service::App| -> Vec<String> {
        let summary = deployments::find(app, deployment).expect("found");
        summary.counts.iter().map(|(state, count)| format!("{count} {state}")).collect()
    };
    assert_eq!(counts(&app), ["2 pending", "1 succeeded"]);
    assert_eq!(served.post(&format!("{one}/cancel"), "waiting=1").status, 303);
    assert_eq!(counts(&app), ["1 succeeded", "2 cancelled"]);
    assert_eq!(served.post(&format!("{one}/cancel"), "").status, 409, "nothing is left to cancel");
    assert_eq!(served.post(&format!("{one}/close"), "").status, 303);
    let wrong = served.post("/deployments", &format!("package={package}&who=where&where=tag"));
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("value=\"tag\""), "what was typed is kept");
    let form = format!("package={package}&who=computers&computers=b%0D%0Ac");
    let part = served.post("/deployments/preview", &form);
    assert!(part.text().contains("2 computers would get it"), "{}", part.text());
    let started = served.post("/deployments", &form);
    assert_eq!(started.status, 303);
    assert!(started.head.contains("/deployments/2"), "{}", started.head);
    let forged = served.line().request("POST", &format!("{one}/reopen"), &served.cookie, b"csrf=wrong");
    assert_eq!(forged.expect("an answer").status, 403);
}

/// When the newest change of a job was made: an undo names it.
fn last_change(app: &dripfeed::service::App, deployment: DeploymentId) -> i64 {
    let last = app.store.read_now(move |conn| dripfeed::store::jobs::last_change(conn, deployment));
    last.expect("read").expect("a job").millis()
}

#[test]
fn rows_are_changed_by_ticks_by_the_filter_and_one_by_one_and_put_back() {
    let test = TestApp::new();
    let (package, deployment) = story(&test);
    let app = test.app.clone();
    let served = Served::start(test);
    let one = format!("/deployments/{deployment}");
    let counts = || -> String {
        let summary = deployments::find(&app, deployment).expect("found");
        let words: Vec<String> = summary.counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        words.join(", ")
    };
    let post = |path: &str, form: &str| served.post(path, form).status;
    let undo = |what: &str| {
        let at = last_change(&app, deployment);
        assert_eq!(post(&format!("{one}/{what}/undo"), &format!("at={at}")), 303, "{what}");
        assert_eq!(counts(), "1 pending, 1 succeeded, 1 failed", "as before: {what}");
    };
    assert!(served.page(&format!("{one}/computers?state=lost")).text().contains("Select all that the filter shows: 1"));
    let none = served.post(&format!("{one}/take-off"), "list=1");
    assert!(none.text().contains("No computer is ticked"), "{}", none.text());
    assert_eq!(post(&format!("{one}/take-off"), "list=1&all=1&state=lost"), 303);
    assert_eq!(counts(), "1 pending, 1 succeeded, 1 cancelled");
    undo("cancel");
    assert_eq!(post(&format!("{one}/cancel"), "list=1&job=1&job=3"), 303);
    assert_eq!(counts(), "1 succeeded, 1 failed, 1 cancelled", "of the ticked ones, what is open");
    undo("cancel");
    assert_eq!(post(&format!("{one}/retry"), "list=1&only=2&job=1"), 303);
    assert_eq!(counts(), "2 pending, 1 succeeded");
    undo("retry");
    assert_eq!(post(&format!("{one}/cancel"), "list=1&all=1"), 303);
    let line = deployments::find(&app, deployment).expect("found").line;
    assert!(line.deployment.cancelled_at.is_none(), "a list of computers decides nothing about those to come");
    undo("cancel");
    // The same in the other two lists.
    let of_package = format!("/packages/{package}");
    let page = served.page(&format!("{of_package}/computers?state=lost")).text();
    assert!(page.contains("ERR_EXIT_CODE_1603") && page.contains("Take off"), "{page}");
    assert!(served.page(&of_package).text().contains("The Windows installer failed"), "the code's sentence");
    assert_eq!(post(&format!("{of_package}/jobs/take-off"), "list=1&all=1&code=ERR_EXIT_CODE_1603"), 303);
    assert_eq!(counts(), "1 pending, 1 succeeded, 1 cancelled");
    let at = last_change(&app, deployment);
    assert_eq!(post(&format!("{of_package}/jobs/cancel/undo"), &format!("at={at}")), 303);
    let of_computer = format!("/computers/{B}");
    assert!(served.page(&format!("{of_computer}/packages")).text().contains("Take off"));
    assert_eq!(post(&format!("{of_computer}/jobs/retry"), "job=2"), 303);
    assert_eq!(counts(), "2 pending, 1 succeeded");
    let at = last_change(&app, deployment);
    assert_eq!(post(&format!("{of_computer}/jobs/retry/undo"), &format!("at={at}")), 303);
    assert_eq!(counts(), "1 pending, 1 succeeded, 1 failed");
    assert_eq!(post(&format!("{of_computer}/jobs/cancel"), "job=1"), 422, "the job of another computer");
    for sort in ["waiting", "notified", "success", "error", "name", "oldest"] {
        assert!(served.page(&format!("/packages?sort={sort}")).text().contains("tool 1.0"), "{sort}");
    }
}

#[test]
fn several_packages_are_chosen_ordered_looked_at_and_taken_back_in_one_form() {
    let test = TestApp::new();
    let (first, _) = story(&test);
    let second = active_package(&test);
    let app = test.app.clone();
    let served = Served::start(test);
    let chosen = format!("package={first}&package={second}&in_order=1&who=computers&computers=a%0D%0Ac&force=1");
    let page = served.post("/deployments/new", &format!("{chosen}&add=1")).text();
    assert_eq!(page.matches("name=\"package\"").count(), 3, "another list");
    let page = served.post("/deployments/new", &format!("{chosen}&drop=1")).text();
    assert_eq!(page.matches("name=\"package\"").count(), 1, "one less");
    let page = served.post("/deployments/new", &format!("{chosen}&up=1")).text();
    let at = |id: PackageId| page.find(&format!("value=\"{id}\" selected")).expect("chosen");
    assert!(at(second) < at(first), "one place up");
    let look = served.post("/deployments/preview", &chosen).text();
    for wanted in [
        "2 packages for 2 computers",
        "has an open job of it",
        "Only where the one before it succeeded",
        "Deploy 2 packages",
    ] {
        assert!(look.contains(wanted), "the look lacks {wanted:?}:\n{look}");
    }
    let started = served.post("/deployments", &chosen);
    assert!(started.head.contains("/deployments/2"), "{}", started.head);
    let of = |id: i64| deployments::find(&app, DeploymentId(id)).expect("found").line.deployment;
    assert_eq!((of(2).bundle, of(3).bundle), (Some(DeploymentId(2)), Some(DeploymentId(2))));
    assert_eq!((of(2).options.follows, of(3).options.follows), (None, Some(first)));
    assert!(served.page("/deployments/3").text().contains("one after the other"));
    assert_eq!(served.post("/deployments/2/cancel", "bundle=1").status, 303);
    assert!(of(2).cancelled_at.is_some() && of(3).cancelled_at.is_some());
    let at = of(3).cancelled_at.expect("cancelled").millis();
    assert_eq!(served.post("/deployments/2/cancel/undo", &format!("at={at}&bundle=1")).status, 303);
    assert!(of(2).cancelled_at.is_none() && of(3).cancelled_at.is_none());
    let twice = served.post("/deployments", &format!("package={first}&package={first}&who=all"));
    assert!(twice.status == 422 && twice.text().contains("is named twice"));
    let body = format!(r#"{{"packages":[{first},{second}],"in_order":true,"computers":["a"]}}"#);
    let (status, look) = served.api("POST", "/deployments/preview", &body);
    assert_eq!((status, &look["then"][0]["package"]), (200, &serde_json::json!(second.number())));
    assert_eq!(look["computers"][0]["packages"].as_array().map(Vec::len), Some(2));
    let (status, made) = served.api("POST", "/deployments", &body);
    assert_eq!((status, &made["deployment"], &made["then"][0]["deployment"]), (201, &4.into(), &5.into()), "{made}");
    let (_, seen) = served.api("GET", "/deployments/5", "");
    assert_eq!((&seen["bundle"], &seen["follows"]), (&4.into(), &first.number().into()));
    let (status, back) = served.api("POST", "/deployments/5/cancel", r#"{"bundle":true}"#);
    assert_eq!(status, 200, "{back}");
    let undo = format!(r#"{{"at":{},"bundle":true}}"#, back["at"]);
    assert_eq!(served.api("POST", "/deployments/5/cancel/undo", &undo).0, 200);
    assert_eq!(served.api("POST", "/deployments/5/cancel/undo", &undo).0, 409, "once");
}

#[test]
fn a_program_deploys_looks_and_takes_back() {
    let test = TestApp::new();
    let (package, deployment) = story(&test);
    let served = Served::start(test);
    let (status, list) = served.api("GET", "/deployments?which=running", "");
    assert_eq!((status, &list["items"][0]["computers"]["failed"]), (200, &serde_json::json!(1)));
    let (_, one) = served.api("GET", &format!("/deployments/{deployment}"), "");
    assert_eq!(one["errors"][0]["code"], "ERR_EXIT_CODE_1603");
    assert!(one["errors"][0]["advice"].is_string(), "{one}");
    let (status, problem) = served.api("POST", "/deployments", &format!("{{\"package\":{package}}}"));
    assert_eq!(status, 422, "{problem}");
    let body = format!("{{\"package\":{package},\"where\":\"name = a\",\"force\":true}}");
    let (status, looked) = served.api("POST", "/deployments/preview", &body);
    assert_eq!((status, &looked["gets"]["count"]), (200, &serde_json::json!(1)), "{looked}");
    let (status, made) = served.api("POST", "/deployments", &body);
    assert_eq!((status, &made["planned"]), (201, &serde_json::json!(1)), "{made}");
    let (_, page) = served.api("GET", &format!("/deployments/{deployment}/computers?limit=2"), "");
    let next = page["next"].as_str().expect("there is more");
    let (_, rest) = served.api("GET", &format!("/deployments/{deployment}/computers?limit=2&after={next}"), "");
    assert_eq!((page["items"].as_array().map(Vec::len), rest["items"].as_array().map(Vec::len)), (Some(2), Some(1)));
    let (status, _) = served.api("POST", &format!("/deployments/{deployment}/close"), "");
    assert_eq!(status, 200);
    let (status, _) = served.api("POST", &format!("/deployments/{deployment}/reopen"), "");
    assert_eq!(status, 204);
    let (_, overview) = served.api("GET", "/overview", "");
    assert_eq!((&overview["computers"], overview["certificate_ends_at"].is_string()), (&serde_json::json!(3), true));
    assert_eq!(served.api("POST", "/groups", "{\"name\":\"g\",\"query\":\"name = a\"}").0, 201);
    assert_eq!(served.api("PUT", "/groups/g/settings/DOWNLOAD_TIMEOUT", "{\"value\":7}").0, 200);
    let (_, settings) = served.api("GET", "/groups/g/settings", "");
    let timeout = settings.as_array().and_then(|all| all.iter().find(|one| one["key"] == "DOWNLOAD_TIMEOUT"));
    assert_eq!(timeout.map(|one| &one["value"]), Some(&serde_json::json!(7)), "{settings}");
    assert_eq!(served.api("DELETE", "/groups/g", "").0, 200);
    assert_eq!(served.api("GET", "/groups/g", "").0, 404);
}

#[test]
fn an_open_page_is_told_what_happens_until_the_session_ends() {
    let test = TestApp::new();
    let (_, deployment) = story(&test);
    let own = TestApp::open(test.path());
    let served = Served::start(test);
    let path = format!("/deployments/{deployment}/live");
    let mut line = served.line();
    line.send(format!("GET {path} HTTP/1.1\r\nHost: server\r\n{}\r\n", served.cookie).as_bytes()).expect("sent");
    let mut until = |wanted: &str| -> String {
        let mut text = String::new();
        while !text.contains(wanted) {
            match line.read_line(&mut text) {
                Ok(0) => panic!("it ended before {wanted:?}: {text}"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => panic!("it ended before {wanted:?}: {text}"),
                Err(error) => panic!("{error} before {wanted:?}: {text}"),
            }
        }
        text
    };
    let head = until("33 % done");
    assert!(head.contains("text/event-stream") && head.contains("event: progress"), "{head}");
    until("event: waiting");
    let waiting = until("</table>");
    assert!(waiting.contains(">b</a>") && waiting.contains(">c</a>") && !waiting.contains(">a</a>"), "{waiting}");
    desk_of(own.clone()).cancel_deployment(deployment, true, Chosen::default()).expect("cancelled");
    until("50 % done");
    until("event: waiting");
    let waiting = until("</table>");
    assert!(waiting.contains(">b</a>") && !waiting.contains(">c</a>"), "{waiting}");
    own.store.write_now(|conn| dripfeed::store::sessions::close_all(conn, "mia", None).map(drop)).expect("signed out");
    until("event: reload");
}

fn desk_of(app: dripfeed::service::App) -> Desk {
    Desk::new(app, actor(Scope::ALL, Right::ALL.iter().copied()))
}

#[test]
fn the_server_stops_while_somebody_looks() {
    let test = TestApp::new();
    let (_, deployment) = story(&test);
    let mut served = Served::start(test);
    let mut line = served.line();
    let request = format!("GET /deployments/{deployment}/live HTTP/1.1\r\nHost: server\r\n{}\r\n", served.cookie);
    line.send(request.as_bytes()).expect("sent");
    let mut text = String::new();
    while !text.contains("event: progress") {
        assert!(line.read_line(&mut text).expect("it answers") > 0, "{text}");
    }
    // A stop that waited for the page would take as long as timeouts.stop.
    let begun = std::time::Instant::now();
    served.stop();
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}
