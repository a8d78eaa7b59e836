//! Identity by key, the agent's side: what it signs, what it keeps, and what it makes of the server's word.

use std::collections::BTreeSet;

use dripfeed::agent::{ContactError, Regard};
use dripfeed::config::agent::{Hidden, RegistrationSource};
use dripfeed::model::DeviceId;
use dripfeed::protocol::proof::{Proof, registration_message};
use ring::hmac;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::*;

const REGISTRATION_KEY: &str = "0123456789abcdef";
const HOUR: i64 = 3_600_000;

/// Every key that signed what a server was sent.
pub(crate) fn that_signed(server: &Server) -> BTreeSet<String> {
    let world = server.world();
    let proofs = world.headers.iter().filter_map(|headers| headers.get("dripfeed-proof"));
    proofs.map(|proof| Proof::parse(proof).expect("a proof").key).collect()
}

fn bytes(digits: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(digit).collect()
}

/// A message's sender and proof; the signature holds for the bytes that came.
fn signed(asked: &Asked) -> (DeviceId, Proof) {
    let (_, document) = envelope::open(&asked.body, 1 << 20).expect("a container");
    let device_id = match Request::parse(&document, &RequestLimits::DEFAULT).expect("a request") {
        Request::Prolog(prolog) => prolog.device_id,
        Request::Inventory(inventory) => inventory.device_id,
        Request::Download(report) => report.device_id,
        other => panic!("the agent said {other:?}"),
    };
    let proof = Proof::parse(asked.headers.get("dripfeed-proof").expect("a proof")).expect("a proof");
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(&asked.body);
    let message = Proof::message(&device_id, proof.at, &hasher.finish().to_string());
    let key = UnparsedPublicKey::new(&ED25519, bytes(&proof.key));
    key.verify(&message, &bytes(&proof.signature)).expect("the signature holds");
    (device_id, proof)
}

/// Does the proof show the registration key?
fn shows_registration_key(device_id: &DeviceId, proof: &Proof) -> bool {
    let Some(shown) = &proof.registration else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, REGISTRATION_KEY.as_bytes());
    hmac::verify(&key, &registration_message(device_id, &proof.key), &bytes(shown)).expect("it is of this key");
    true
}

/// A server that knows keys: `say` is told sender and proof of each message.
fn keyed(bench: &Bench, mut say: impl FnMut(DeviceId, Proof) -> &'static str + Send + 'static) {
    bench.server.world().judge = Some(Box::new(move |asked| {
        let (device_id, proof) = signed(asked);
        vec![("Dripfeed-Identity", say(device_id, proof).to_owned())]
    }));
}

/// A server whose clock is that many milliseconds ahead, and which goes by it.
fn ahead_by(bench: &Bench, ahead: i64) {
    bench.server.world().judge = Some(Box::new(move |asked| {
        let now = UnixTime::from_millis(START * 1000 + ahead);
        let (_, proof) = signed(asked);
        if proof.is_timely(now) {
            vec![("Dripfeed-Identity", "proven".to_owned())]
        } else {
            vec![("Dripfeed-Identity", "clock".to_owned()), ("Dripfeed-Time", now.millis().to_string())]
        }
    }));
}

fn with_registration_key() -> Bench {
    let mut bench = Bench::new();
    bench.config.registration_key = Some(RegistrationSource::Given(Hidden(REGISTRATION_KEY.to_owned())));
    bench
}

fn standing(bench: &Bench) -> Option<Regard> {
    Status::read(&bench.config).expect("a status").identity.standing
}

/// What a status says of the identity, in words.
fn said(bench: &Bench) -> String {
    let status = Status::read(&bench.config).expect("a status").to_string();
    let line = status.lines().find(|line| line.starts_with("identity")).expect("the line");
    line.split(" (since ").next().expect("its beginning").to_owned()
}

#[test]
fn every_message_is_signed_and_nothing_else_is_and_a_stock_server_changes_nothing() {
    let bench = with_registration_key();
    assert_eq!(said(&bench), "identity      not known before the first contact");
    bench.server.world().decision = Decision::Send;
    bench.server.publish(7, execute("true"), &tar_gz(&[("a", 0o644, "hello")]), 2);
    let messages = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&messages);
    bench.server.fault(move |asked| {
        if asked.method == "POST" {
            let (device_id, proof) = signed(asked);
            assert_eq!(device_id.host(), "ws042");
            // Nobody has taken the key, so each message says that it may be taken.
            assert!(shows_registration_key(&device_id, &proof));
            counted.fetch_add(1, Ordering::Relaxed);
        } else {
            assert!(!asked.headers.contains_key("dripfeed-proof"), "{} is signed", asked.path);
        }
        None
    });
    assert_eq!(bench.once().expect("a run"), Ended::Idle);
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    // Prolog, inventory, report.
    assert_eq!(messages.load(Ordering::Relaxed), 3);
    assert_eq!(said(&bench), "identity      stock server: by name");
}

#[test]
fn the_key_is_made_once_and_a_damaged_one_is_never_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.once().expect("a run");
    let path = bench.config.state_dir.join("identity.key");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    let made = fs::read(&path).expect("a key");
    bench.once().expect("another run");
    assert_eq!(fs::read(&path).expect("a key"), made);
    let keys = that_signed(&bench.server);
    assert_eq!(keys.len(), 1, "{keys:?}");
    let status = serde_json::to_value(Status::read(&bench.config).expect("a status")).expect("JSON");
    assert_eq!(status["identity"]["key"].as_str(), keys.first().map(String::as_str));
    assert_eq!(status["identity"]["standing"], "stock");

    put(&path, &made[..40]);
    bench.server.take_log();
    let error = bench.once().expect_err("a damaged key");
    insta::assert_snapshot!(bench.sentence(&error), @"HOME/data/https:__SECURE_ocsinventory/identity.key is not a key of ours: restore it from a back-up, or remove it to make a new one, which the server takes only after its administrator has said `dripfeed computer forget-key`");
    assert_eq!(fs::read(&path).expect("it is there"), &made[..40]);
    assert_eq!(bench.server.take_log(), "", "nothing is sent without the key");
}

#[test]
fn the_registration_key_is_shown_until_the_server_has_taken_the_key() {
    let bench = with_registration_key();
    bench.server.world().decision = Decision::Send;
    let shown = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&shown);
    let mut count = 0;
    keyed(&bench, move |device_id, proof| {
        noted.lock().expect("notes").push(shows_registration_key(&device_id, &proof));
        count += 1;
        ["by-name", "registered", "proven", "proven", "by-name", "registered"][count - 1]
    });
    let seen = || std::mem::take(&mut *shown.lock().expect("notes"));
    bench.once().expect("it registers");
    assert_eq!(seen(), [true, true]);
    assert_eq!(said(&bench), "identity      proven by key");
    bench.once().expect("it is proven");
    assert_eq!(seen(), [false, false]);
    // The administrator had the server forget the key: it registers again.
    bench.once().expect("it registers again");
    assert_eq!(seen(), [false, true]);
    assert_eq!(standing(&bench), Some(Regard::Proven));
}

#[test]
fn a_first_contact_tells_what_came_of_it_and_not_what_the_first_word_was() {
    let told = |answers: &'static [&'static str], decision| {
        let bench = Bench::new();
        bench.server.world().decision = decision;
        let mut answers = answers.iter();
        keyed(&bench, move |_, _| answers.next().expect("another answer"));
        let log = bench.logged(&[("DRIPFEED_REGISTRATION_KEY", REGISTRATION_KEY)]);
        let of_identity = log.lines().filter_map(|line| Some((line, line.find("identity: ")?)));
        // Without the time, and with the level.
        let told = of_identity.map(|(line, at)| line[at - 5..].trim().to_owned());
        told.collect::<Vec<_>>().join("\n")
    };
    // The server takes the key with the inventory that it asks for.
    assert_eq!(told(&["by-name", "registered"], Decision::Send), "INFO identity: proven by key");
    let by_name = "WARN identity: by name only: the server has no proof that this agent may register";
    assert_eq!(told(&["by-name", "by-name"], Decision::Send), by_name);
    assert_eq!(told(&["by-name"], Decision::Stop), by_name);
}

#[test]
fn without_a_registration_key_the_computer_is_known_by_its_name() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), b"", 0);
    keyed(&bench, |_, proof| {
        assert_eq!(proof.registration, None);
        "by-name"
    });
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    let expected = "identity      by name only: the server has no proof that this agent may register";
    assert_eq!(said(&bench), expected);
}

#[test]
fn a_wrong_clock_is_put_right_once_and_remembered() {
    for ahead in [-HOUR, 7 * HOUR] {
        let bench = Bench::new();
        bench.server.publish(7, execute("true"), b"", 0);
        ahead_by(&bench, ahead);
        bench.once().expect("a run");
        insta::allow_duplicates!(insta::assert_snapshot!(bench.server.take_log(), @r"
        403 clock
        PROLOG https
        GET https /download/7/info
        REPORT 7 SUCCESS
        "));
        assert_eq!(standing(&bench), Some(Regard::Proven));
    }
}

#[test]
fn a_server_that_finds_its_own_time_wrong_is_not_asked_for_ever() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), b"", 0);
    bench.server.world().judge = Some(Box::new(|asked| {
        signed(asked);
        vec![("Dripfeed-Identity", "clock".to_owned()), ("Dripfeed-Time", "0".to_owned())]
    }));
    let error = bench.once().expect_err("no contact");
    assert_eq!(bench.server.take_log(), "403 clock\n403 clock");
    insta::assert_snapshot!(bench.sentence(&error), @"no contact: https://SECURE/ocsinventory finds this computer's clock wrong, and its own time as well: set the clocks of both right");
    // Without a time there is nothing to go by.
    bench.server.world().judge = Some(Box::new(|_| vec![("Dripfeed-Identity", "clock".to_owned())]));
    bench.once().expect_err("no contact");
    assert_eq!(bench.server.take_log(), "403 clock");
    assert_eq!(standing(&bench), None);
}

#[test]
fn a_refused_computer_executes_nothing_new_and_asks_again_at_its_usual_time() {
    let mut bench = Bench::new();
    bench.server.world().prolog_freq = 2;
    keyed(&bench, |_, _| "registered");
    bench.once().expect("a first contact");
    bench.server.publish(7, execute("true"), b"", 0);
    bench.server.take_log();
    keyed(&bench, |_, _| "refused");
    let error = bench.once().expect_err("no contact");
    assert!(matches!(error, AgentError::Contact(ContactError::Refused { .. })), "{error:?}");
    let sentence = bench.sentence(&error);
    assert!(sentence.contains("has another key there") && sentence.contains("forget-key"), "{sentence}");
    insta::assert_snapshot!(said(&bench), @"identity      refused: this computer has another key at the server: ask the administrator for `dripfeed computer forget-key`");

    bench.server.take_log();

    // As a service: the next times are one frequency apart, not a minute.
    bench.machine.ends.set(Some(UnixTime::from_seconds(START + 5 * 3600)));
    assert_eq!(bench.agent().run().expect("a run"), Ended::Stopped);
    let log = bench.server.take_log();
    assert!(log.lines().all(|line| line == "403 refused"), "{log}");
    assert_eq!(log.lines().count(), 3, "at the start, and after two and four hours");
    assert!(bench.server.reports().is_empty());

    // Another process, after the administrator.
    bench.machine = Virtual::new();
    keyed(&bench, |_, _| "registered");
    bench.once().expect("a contact");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
    assert_eq!(said(&bench), "identity      proven by key");
}

#[test]
fn a_result_that_is_refused_is_kept() {
    let bench = Bench::new();
    bench.server.publish(7, execute("true"), b"", 0);
    let mut count = 0;
    keyed(&bench, move |_, _| {
        count += 1;
        if count == 1 { "proven" } else { "refused" }
    });
    assert_eq!(bench.once().expect("a run"), Ended::ResultsKept);
    assert_eq!(standing(&bench), Some(Regard::Refused));
    keyed(&bench, |_, _| "proven");
    bench.once().expect("a run");
    assert_eq!(bench.server.reports(), ["7 SUCCESS"]);
}

#[test]
fn a_registration_key_that_cannot_be_read_is_refused_before_anything_is_said() {
    let home = tempfile::tempdir().expect("a directory");
    let (data, file) = (home.path().display().to_string(), home.path().join("registration.key").display().to_string());
    let once = ["--data-dir", &data, "--server", "http://127.0.0.1:1/ocsinventory", "--registration-key-file", &file];
    let output = program(&[&["once"], &once[..]].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("registration.key cannot be read"), "{told}");
    // Whoever only looks need not be able to read it.
    assert_eq!(program(&[&["status"], &once[..]].concat()).status.code(), Some(0));
    // It is no argument: everybody would see it.
    assert_eq!(program(&["once", "--registration-key", REGISTRATION_KEY]).status.code(), Some(2));
    put(Path::new(&file), format!("{REGISTRATION_KEY}\n").as_bytes());
    let output = program(&[&["once"], &once[..]].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("nothing answers"), "{told}");
    assert!(!told.contains(REGISTRATION_KEY));
}
