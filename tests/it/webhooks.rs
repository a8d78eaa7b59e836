//! Webhooks, told to a real receiver on this machine by a server whose clock the test turns.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dripfeed::clock::Clock;
use dripfeed::fetch::poster::Poster;
use dripfeed::model::access::Scope;
use dripfeed::model::{DeploymentId, PackageId, UnixTime};
use dripfeed::service::approvals::About;
use dripfeed::service::assign::Target;
use dripfeed::service::desk::{Actor, Desk, Kind};
use dripfeed::service::settings::Whose;
use dripfeed::service::webhooks::{self, GIVEN_UP, signature};
use dripfeed::service::{App, accounts, deployments};
use dripfeed::store::webhooks::{Delivery, Webhook};
use serde_json::Value;

use crate::jobs::{active_package, assign_to, offers, say_inventory, say_result};
use crate::util::{NOW, TestApp};

/// What the receiver does with whoever comes.
#[derive(Clone, Copy, Debug)]
enum Mood {
    /// Answers this status.
    Status(u16),
    /// Sends whoever comes to itself.
    Redirect,
    /// Takes the message and never says a word.
    Hang,
    /// Says 200 and then goes on for ever.
    Endless,
    /// Takes one message, and fails from then on.
    Once,
    /// Refuses what is not signed with the secret that it knows.
    Checks,
}

/// A message as it came.
#[derive(Clone, Debug)]
struct Came {
    head: String,
    body: String,
}

impl Came {
    fn header(&self, name: &str) -> &str {
        let found = self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        });
        found.unwrap_or_else(|| panic!("no {name} in {}", self.head)).trim()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn id(&self) -> &str {
        self.header("x-dripfeed-delivery")
    }

    fn is_signed_with(&self, secret: &str) -> bool {
        self.header("x-dripfeed-signature") == signature(secret, self.header("x-dripfeed-timestamp"), &self.body)
    }
}

#[derive(Debug)]
struct State {
    mood: Mood,
    secret: String,
    came: Vec<Came>,
    /// Connections that are kept open without a word.
    hung: Vec<TcpStream>,
}

/// Somebody who is told.
struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = State { mood: Mood::Status(204), secret: String::new(), came: Vec::new(), hung: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        // It ends with the tests' process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream.expect("somebody"), address, &shared));
            }
        });
        Self { address, state }
    }

    fn is(&self, mood: Mood) {
        self.state.lock().expect("no panic").mood = mood;
    }

    fn knows(&self, secret: &str) {
        secret.clone_into(&mut self.state.lock().expect("no panic").secret);
    }

    /// What came since it was asked last.
    fn came(&self) -> Vec<Came> {
        std::mem::take(&mut self.state.lock().expect("no panic").came)
    }

    fn events(&self) -> Vec<String> {
        self.came().iter().map(|came| came.header("x-dripfeed-event").to_owned()).collect()
    }
}

fn answer(stream: TcpStream, here: SocketAddr, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.expect("a length")];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let came = Came { head, body: String::from_utf8(body).expect("text") };
    let mut stream = reader.into_inner();
    let mood = {
        let mut state = state.lock().expect("no panic");
        state.came.push(came.clone());
        match state.mood {
            Mood::Checks if came.is_signed_with(&state.secret) => Mood::Status(204),
            Mood::Checks => Mood::Status(401),
            Mood::Once => {
                state.mood = Mood::Status(500);
                Mood::Status(204)
            }
            other => other,
        }
    };
    // Whoever asked may be gone: that is theirs.
    let _ = match mood {
        Mood::Status(status) => end(&mut stream, &format!("{status} Said")),
        Mood::Redirect => end(&mut stream, &format!("302 Found\r\nLocation: http://{here}/elsewhere")),
        Mood::Hang => {
            state.lock().expect("no panic").hung.push(stream);
            Ok(())
        }
        Mood::Endless => {
            let begun = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            begun.and_then(|()| {
                loop {
                    stream.write_all(b"4\r\nmore\r\n")?;
                }
            })
        }
        Mood::Checks | Mood::Once => unreachable!("decided above"),
    };
}

fn end(stream: &mut TcpStream, status: &str) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
}

/// A server with a package, and a clock of its own.
struct House {
    test: TestApp,
    package: PackageId,
    poster: Poster,
    seconds: i64,
}

const COMPUTERS: [&str; 4] =
    ["a-2024-03-05-09-10-11", "b-2024-03-05-09-10-11", "c-2024-03-05-09-10-11", "d-2024-03-05-09-10-11"];

impl House {
    fn new() -> Self {
        let test = TestApp::new();
        let package = active_package(&test);
        for name in COMPUTERS {
            say_inventory(&test, name, "Debian", &[]);
        }
        accounts::add(&test.app, "amy", "correct horse battery", false, "administrator", Scope::ALL).expect("a user");
        Self { test, package, poster: poster(Duration::from_mins(1)), seconds: 0 }
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_millis(NOW.millis() + self.seconds * 1000)
    }

    fn app(&self) -> App {
        App { clock: Clock::Fixed(self.now()), ..self.test.app.clone() }
    }

    fn desk(&self) -> Desk {
        Desk::new(self.app(), Actor::command_line("amy".to_owned()))
    }

    /// Makes a webhook. Gives its number; the receiver knows the secret.
    fn hook(&self, name: &str, receiver: &Receiver) -> i64 {
        let url = format!("http://{}/hook", receiver.address);
        let (id, secret) = self.desk().add_webhook(name, &url).expect("a webhook");
        receiver.knows(&secret);
        id
    }

    fn deploy(&self) -> DeploymentId {
        let target = Target::Computers(COMPUTERS.iter().map(|&name| name.to_owned()).collect());
        assign_to(&self.test, self.package, target).deployment
    }

    fn result(&self, computer: usize, code: &str) {
        offers(&self.test, COMPUTERS[computer]);
        say_result(&self.test, COMPUTERS[computer], self.package, code);
    }

    fn tell(&self) {
        webhooks::tell(&self.app(), &self.poster).expect("told");
    }

    fn look(&self, id: i64) -> (Webhook, Vec<Delivery>) {
        self.desk().webhook(id).expect("a webhook")
    }

    /// Seconds until it is tried again.
    fn pause(&self, id: i64) -> i64 {
        (self.look(id).0.next_attempt.millis() - self.now().millis()) / 1000
    }
}

fn poster(patience: Duration) -> Poster {
    Poster::new(None, true, patience).expect("a poster")
}

#[test]
fn a_deployment_is_told_signed_and_in_its_order() {
    let (house, receiver) = (House::new(), Receiver::new());
    receiver.is(Mood::Checks);
    let id = house.hook("chat", &receiver);
    house.tell();
    assert_eq!(receiver.came().len(), 0, "nothing has happened yet");
    let deployment = house.deploy();
    house.tell();
    house.result(0, "SUCCESS");
    house.tell();
    house.result(1, "ERR_EXECUTE");
    house.tell();
    house.tell();
    house.result(2, "SUCCESS");
    house.result(3, "SUCCESS");
    house.tell();
    let came = receiver.came();
    let told: Vec<String> = came
        .iter()
        .map(|came| {
            let told = came.json();
            let about = &told["deployment"];
            assert_eq!((told["id"].as_str(), about["id"].as_i64()), (Some(came.id()), Some(deployment.0)));
            assert!(came.head.starts_with("POST /hook ") && came.header("content-type") == "application/json");
            format!("{} {} {}%", came.header("x-dripfeed-event"), came.id(), about["percent_done"])
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    deployment.started 1-1-deployment.started-0 0%
    deployment.progress 1-1-deployment.progress-20 25%
    deployment.failures 1-1-deployment.failures-1 50%
    deployment.progress 1-1-deployment.progress-50 50%
    deployment.done 1-1-deployment.done-10 100%
    ");
    let (hook, log) = house.look(id);
    assert_eq!((hook.failures, hook.last_error, hook.last_delivery), (0, None, Some(house.now())));
    assert_eq!(log.len(), came.len(), "each was taken at once: the signatures are right");
}

#[test]
fn what_waits_for_approval_is_told_and_so_is_its_end() {
    let (house, receiver) = (House::new(), Receiver::new());
    house.hook("chat", &receiver);
    let key = "APPROVAL_FROM".parse().expect("a key");
    house.desk().change_setting(key, Some("4"), Whose::Everyone).expect("set");
    let deployment = house.deploy();
    house.tell();
    let came = receiver.came();
    let waits: Vec<_> = came
        .iter()
        .map(|came| (came.header("x-dripfeed-event"), came.json()["deployment"]["waits_for_approval"].clone()))
        .collect();
    assert_eq!(waits, [("deployment.started", true.into()), ("deployment.waiting", true.into())]);
    house.tell();
    assert_eq!(receiver.events(), [""; 0], "it waits, and that was told");
    house.desk().approve(About::Deployment(deployment), "").expect("approved");
    house.tell();
    assert_eq!(receiver.events(), ["deployment.approved"]);
    house.tell();
    assert_eq!(receiver.events(), [""; 0]);
    for computer in 0..4 {
        house.result(computer, "SUCCESS");
    }
    house.tell();
    assert_eq!(receiver.events(), ["deployment.done"]);
    let next = house.deploy();
    house.desk().reject(About::Deployment(next), "no").expect("rejected");
    house.tell();
    assert_eq!(receiver.events(), ["deployment.started", "deployment.cancelled"], "it waits no more");
}

#[test]
fn what_is_refused_is_told_again_after_pauses_that_grow_and_in_its_order() {
    let (mut house, receiver) = (House::new(), Receiver::new());
    let id = house.hook("chat", &receiver);
    house.deploy();
    receiver.is(Mood::Status(500));
    let mut pauses = Vec::new();
    for _ in 0..11 {
        house.tell();
        assert_eq!(receiver.events(), ["deployment.started"]);
        let pause = house.pause(id);
        // Not a second earlier.
        house.seconds += pause - 1;
        house.tell();
        assert_eq!(receiver.came().len(), 0, "within the pause");
        house.seconds += 1;
        pauses.push(pause);
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
    let (hook, log) = house.look(id);
    assert_eq!(hook.failures, 11);
    assert!(log.iter().all(|one| one.error.as_deref().is_some_and(|error| error.contains("500 was answered"))));
    // Meanwhile more happened: what was refused comes first, with the id that it had.
    house.result(0, "ERR_EXECUTE");
    receiver.is(Mood::Status(204));
    house.tell();
    let came = receiver.came();
    let ids: Vec<&str> = came.iter().map(Came::id).collect();
    assert_eq!(ids, [&log[0].message_id, "1-1-deployment.failures-1", "1-1-deployment.progress-20"]);
    assert_eq!((house.look(id).0.failures, house.pause(id).is_negative()), (0, true), "all is forgiven");
}

#[test]
fn a_failure_after_a_success_begins_anew() {
    let (mut house, receiver) = (House::new(), Receiver::new());
    let id = house.hook("chat", &receiver);
    house.deploy();
    receiver.is(Mood::Status(503));
    for _ in 0..GIVEN_UP - 1 {
        house.tell();
        house.seconds += house.pause(id);
    }
    assert_eq!(house.look(id).0.failures, GIVEN_UP - 1);
    house.result(0, "SUCCESS");
    // The first message is taken, the second is not: that is one failure, not the last straw.
    receiver.came();
    receiver.is(Mood::Once);
    house.tell();
    assert_eq!(receiver.events(), ["deployment.started", "deployment.progress"]);
    let (hook, _) = house.look(id);
    assert_eq!((hook.enabled, hook.failures, house.pause(id)), (true, 1, 10));
}

#[test]
fn it_is_given_up_after_the_last_attempt_and_says_why() {
    let (mut house, receiver) = (House::new(), Receiver::new());
    let id = house.hook("chat", &receiver);
    house.deploy();
    receiver.is(Mood::Status(410));
    let begun = house.now();
    for attempt in 1..=GIVEN_UP {
        assert!(house.look(id).0.enabled, "before attempt {attempt}");
        house.tell();
        house.seconds += house.pause(id).max(0);
    }
    assert_eq!(receiver.came().len() as u64, GIVEN_UP);
    let days = house.now().since(begun).as_secs_f64() / 86_400.0;
    assert!((1.8..2.2).contains(&days), "two days, not {days}");
    let (hook, _) = house.look(id);
    assert_eq!((hook.enabled, hook.failures), (false, GIVEN_UP));
    assert!(hook.last_error.as_deref().is_some_and(|error| error.contains("410 was answered")), "{hook:?}");
    house.seconds += 86_400;
    house.tell();
    assert_eq!(receiver.came().len(), 0, "it is told nothing any more");
    // Somebody puts that right and switches it on: it is told all that it missed.
    house.result(0, "SUCCESS");
    receiver.is(Mood::Status(200));
    house.desk().edit_webhook(id, "chat", &hook.url, true).expect("switched on");
    house.tell();
    assert_eq!(receiver.events(), ["deployment.started", "deployment.progress"]);
}

#[test]
fn a_redirect_is_not_followed_and_an_endless_answer_is_not_read() {
    let (mut house, receiver) = (House::new(), Receiver::new());
    let id = house.hook("chat", &receiver);
    house.deploy();
    receiver.is(Mood::Redirect);
    house.tell();
    let came = receiver.came();
    assert_eq!(came.len(), 1, "nobody came to /elsewhere: {came:?}");
    let error = house.look(id).0.last_error.expect("an error");
    assert!(error.contains("302 was answered") && error.contains("redirects are not followed"), "{error}");
    house.seconds += 10;
    receiver.is(Mood::Endless);
    house.tell();
    assert_eq!(receiver.events(), ["deployment.started"]);
    let (hook, log) = house.look(id);
    assert_eq!((hook.failures, log[0].error.as_deref()), (0, None), "200 was said; what follows does not matter");
}

#[test]
fn whoever_hangs_holds_up_nobody_else() {
    let mut house = House::new();
    house.poster = poster(Duration::from_secs(1));
    let (slow, quick) = (Receiver::new(), Receiver::new());
    let hanging = [house.hook("one", &slow), house.hook("two", &slow), house.hook("three", &slow)];
    house.hook("chat", &quick);
    slow.is(Mood::Hang);
    house.deploy();
    house.tell();
    assert_eq!(quick.events(), ["deployment.started"]);
    for id in hanging {
        let (hook, log) = house.look(id);
        assert!(
            hook.last_error.as_deref().is_some_and(|error| error.contains("did not answer within 1 s")),
            "{hook:?}"
        );
        assert_eq!((log.len(), house.pause(id)), (1, 10));
    }
    let said =
        |came: &[Came]| came.iter().filter(|came| came.header("x-dripfeed-event") == "deployment.started").count();
    assert_eq!(said(&slow.came()), 3);
}

#[test]
fn somebody_can_have_it_told_again_by_hand() {
    let (mut house, receiver) = (House::new(), Receiver::new());
    receiver.is(Mood::Checks);
    let id = house.hook("chat", &receiver);
    house.deploy();
    house.tell();
    let first = receiver.came().pop().expect("told");
    house.seconds += 3600;
    let delivery = house.look(id).1[0].id;
    house.desk().redeliver(id, delivery, &house.poster).expect("taken again");
    let again = receiver.came().pop().expect("told again");
    assert_eq!((again.id(), &again.body), (first.id(), &first.body), "the same message");
    assert_ne!(again.header("x-dripfeed-timestamp"), first.header("x-dripfeed-timestamp"), "signed now");
    house.tell();
    assert_eq!(receiver.came().len(), 0, "what was told stays told");

    // What fails by hand slows nothing down and is said to whoever pressed the button.
    receiver.is(Mood::Status(500));
    let refusal = house.desk().redeliver(id, delivery, &house.poster).expect_err("refused");
    assert!(refusal.kind == Kind::Conflict && refusal.to_string().contains("500 was answered"), "{refusal}");
    let (hook, log) = house.look(id);
    assert_eq!((hook.failures, hook.enabled, log.len()), (0, true, 3));
    // Another one's attempt is not there, nor one that was forgotten.
    let other = house.hook("mail", &receiver);
    for (hook, delivery) in [(other, delivery), (id, 99)] {
        let refusal = house.desk().redeliver(hook, delivery, &house.poster).expect_err("not there");
        assert_eq!(refusal.kind, Kind::NotFound, "{refusal}");
    }
}

#[test]
fn a_new_secret_signs_from_then_on() {
    let (mut house, receiver) = (House::new(), Receiver::new());
    receiver.is(Mood::Checks);
    let id = house.hook("chat", &receiver);
    let old = receiver.state.lock().expect("no panic").secret.clone();
    house.deploy();
    let fresh = house.desk().renew_webhook_secret(id).expect("a secret");
    assert_ne!(fresh, old);
    house.tell();
    assert!(house.look(id).0.last_error.is_some_and(|error| error.contains("401 was answered")));
    // The other side learns it, and misses nothing.
    receiver.came();
    receiver.knows(&fresh);
    house.seconds += 10;
    house.tell();
    let came = receiver.came();
    assert!(came.len() == 1 && came[0].is_signed_with(&fresh) && !came[0].is_signed_with(&old));
    assert_eq!(house.look(id).0.failures, 0);
}

#[test]
fn what_was_not_told_survives_a_restart_and_what_was_told_is_not_repeated() {
    let (house, receiver) = (House::new(), Receiver::new());
    let id = house.hook("chat", &receiver);
    let deployment = house.deploy();
    house.tell();
    assert_eq!(receiver.events(), ["deployment.started"]);
    receiver.is(Mood::Status(500));
    house.result(0, "SUCCESS");
    house.tell();
    assert_eq!(receiver.events(), ["deployment.progress"]);
    // The next server knows of the failure and of the pause.
    let later = |seconds: i64| App {
        clock: Clock::Fixed(UnixTime::from_millis(NOW.millis() + seconds * 1000)),
        ..house.test.reopen()
    };
    receiver.is(Mood::Status(204));
    webhooks::tell(&later(9), &house.poster).expect("told");
    assert_eq!(receiver.came().len(), 0, "within the pause");
    deployments::cancel(&house.test.app, deployment, false, "amy").expect("cancelled while nobody was told");
    webhooks::tell(&later(10), &house.poster).expect("told");
    assert_eq!(receiver.events(), ["deployment.cancelled"], "where it stands now; a tenth on the way is told no more");
    webhooks::tell(&later(20), &house.poster).expect("told");
    assert_eq!(receiver.came().len(), 0);
    assert_eq!(house.look(id).0.failures, 0);
}

#[test]
fn whoever_is_switched_off_or_deleted_while_it_is_asked_stays_so() {
    let mut house = House::new();
    house.poster = poster(Duration::from_secs(1));
    let receiver = Receiver::new();
    let (off, gone) = (house.hook("off", &receiver), house.hook("gone", &receiver));
    receiver.is(Mood::Hang);
    house.deploy();
    std::thread::scope(|scope| {
        let round = scope.spawn(|| house.tell());
        crate::util::process::until("both messages", || receiver.state.lock().expect("no panic").hung.len() == 2);
        let url = house.look(off).0.url;
        house.desk().edit_webhook(off, "off", &url, false).expect("switched off");
        house.desk().delete_webhook(gone).expect("deleted");
        round.join().expect("told");
    });
    assert!(!house.look(off).0.enabled);
    assert_eq!(house.desk().webhook(gone).expect_err("gone").kind, Kind::NotFound);
}
