//! People's own accounts: guessing, one-time codes, recovery codes, sessions. With a clock that the test turns.

use std::net::IpAddr;

use dripfeed::clock::Clock;
use dripfeed::model::UnixTime;
use dripfeed::model::access::Scope;
use dripfeed::service::desk::{Desk, Kind, Refusal};
use dripfeed::service::signin::{self, Guesses, Place, Proof, SignInError, Visitor};
use dripfeed::service::{App, accounts, codes};
use dripfeed::store::audit;

use crate::util::{NOW, TestApp};

const PASSWORD: &str = "correct horse battery";

/// A server with amy (who may everything) and bob (who may look), a moment, and what was guessed.
struct House {
    test: TestApp,
    guesses: Guesses,
    seconds: i64,
}

impl House {
    fn new() -> Self {
        let test = TestApp::new();
        for (name, role) in [("amy", "administrator"), ("bob", "viewer")] {
            accounts::add(&test.app, name, PASSWORD, false, role, Scope::ALL).expect("a user");
        }
        Self { test, guesses: Guesses::default(), seconds: 0 }
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_millis(NOW.millis() + self.seconds * 1000)
    }

    fn app(&self) -> App {
        App { clock: Clock::Fixed(self.now()), ..self.test.app.clone() }
    }

    fn wait(&mut self, seconds: i64) {
        self.seconds += seconds;
    }

    fn sign_in_from(
        &self,
        address: &str,
        name: &str,
        password: &str,
        code: &str,
    ) -> Result<(String, Visitor), SignInError> {
        let place = Place { address: address.parse().expect("an address"), user_agent: String::new() };
        signin::sign_in(&self.app(), &self.guesses, name, password, Some(code), &place)
    }

    fn sign_in(&self, name: &str, code: &str) -> Result<(String, Visitor), SignInError> {
        self.sign_in_from("192.0.2.1", name, PASSWORD, code)
    }

    /// The desk of whoever has this cookie.
    fn desk_of(&self, secret: &str, address: &str) -> Option<Desk> {
        let address: IpAddr = address.parse().expect("an address");
        let visitor = signin::by_cookie(&self.app(), secret, address).expect("a look")?;
        Some(Desk::new(self.app(), visitor.actor))
    }

    fn desk(&self, name: &str) -> Desk {
        let (secret, _) = self.sign_in(name, "").expect("signed in");
        self.desk_of(&secret, "192.0.2.1").expect("a session")
    }

    /// Switches amy's codes on. Gives the authenticator's secret, her desk and her recovery codes.
    fn with_codes(&self) -> (Vec<u8>, Desk, Vec<String>) {
        let (secret, desk) = (codes::new_secret().expect("random numbers"), self.desk("amy"));
        let shown = codes::shown(&secret, self.now());
        let recovery = desk.set_my_codes(&self.guesses, &secret, PASSWORD, &shown).expect("codes are on");
        (secret, desk, recovery)
    }

    /// What the log says was done, the oldest first.
    fn log(&self) -> Vec<(String, String)> {
        let lines = self.test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 1000));
        let lines = lines.expect("the log").into_iter().rev();
        lines.map(|line| (line.action, line.after.unwrap_or_default())).collect()
    }

    fn logged(&self, action: &str) -> Vec<String> {
        self.log().into_iter().filter(|(did, _)| did == action).map(|(_, after)| after).collect()
    }
}

/// The field that a refusal is about.
fn field<T>(refused: Result<T, Refusal>) -> Option<&'static str> {
    let refusal = refused.err().expect("it was refused");
    assert_eq!(refusal.kind, Kind::Invalid, "{refusal}");
    refusal.field
}

fn kind<T>(refused: Result<T, Refusal>) -> Kind {
    refused.err().expect("it was refused").kind
}

#[test]
fn whoever_finds_a_session_cannot_guess_the_password_in_it() {
    let mut house = House::new();
    let (secret, _) = house.sign_in("amy", "").expect("signed in");
    // From an address of their own each time: the account is counted as well.
    for n in 0..5 {
        let desk = house.desk_of(&secret, &format!("198.51.100.{n}")).expect("a session");
        assert_eq!(
            field(desk.change_my_password(&house.guesses, "a wrong password", "another password", None)),
            Some("old")
        );
    }
    let desk = house.desk_of(&secret, "198.51.100.77").expect("a session");
    let right = || desk.change_my_password(&house.guesses, PASSWORD, "another password", None);
    assert_eq!(kind(right()), Kind::Later, "the right one has to wait, too");
    let proof = Proof { password: PASSWORD, code: Some("") };
    assert_eq!(kind(desk.unset_my_codes(&house.guesses, proof)), Kind::Later, "it is the same limit everywhere");
    // All of it is in the log, with the thief's address.
    assert_eq!(house.logged("proof refused").len(), 7);
    let lines = house.test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 1)).expect("the log");
    assert_eq!((lines[0].actor.as_str(), lines[0].peer_address.as_str()), ("amy", "198.51.100.77"));
    // She herself signs in meanwhile, and later the password can be changed.
    house.sign_in("amy", "").expect("signing in is not what was guessed at");
    house.wait(600);
    let desk = house.desk_of(&secret, "192.0.2.1").expect("a session");
    desk.change_my_password(&house.guesses, PASSWORD, "another password", None).expect("changed");
}

#[test]
fn a_new_password_ends_every_session_and_every_copy_of_ones_own() {
    let house = House::new();
    let (here, visitor) = house.sign_in("amy", "").expect("signed in");
    let (elsewhere, _) = house.sign_in_from("198.51.100.1", "amy", PASSWORD, "").expect("signed in");
    let (bob, _) = house.sign_in("bob", "").expect("signed in");
    let desk = house.desk_of(&here, "192.0.2.1").expect("a session");
    let session = visitor.session.expect("a session");
    // What is refused ends nothing.
    assert_eq!(field(desk.change_my_password(&house.guesses, PASSWORD, PASSWORD, Some(&session))), Some("new"));
    assert_eq!(field(desk.change_my_password(&house.guesses, PASSWORD, "short", Some(&session))), Some("new"));
    assert!(house.desk_of(&elsewhere, "192.0.2.1").is_some());

    let renewed = desk.change_my_password(&house.guesses, PASSWORD, "another password", Some(&session));
    let renewed = renewed.expect("changed").expect("a session that goes on");
    assert_ne!(renewed, here);
    assert!(house.desk_of(&renewed, "192.0.2.1").is_some());
    assert!(house.desk_of(&here, "192.0.2.1").is_none(), "a stolen copy of the cookie is worth nothing any more");
    assert!(house.desk_of(&elsewhere, "192.0.2.1").is_none());
    assert!(house.desk_of(&bob, "192.0.2.1").is_some(), "others stay signed in");
    assert!(matches!(house.sign_in("amy", ""), Err(SignInError::Wrong)));
    assert_eq!(house.logged("user password").len(), 1);
}

#[test]
fn codes_are_switched_on_by_a_code_and_the_password() {
    let mut house = House::new();
    let (secret, desk) = (codes::new_secret().expect("random numbers"), house.desk("amy"));
    let shown = codes::shown(&secret, house.now());
    assert_eq!(field(desk.set_my_codes(&house.guesses, &secret, PASSWORD, "123")), Some("code"));
    assert_eq!(field(desk.set_my_codes(&house.guesses, &secret, "a wrong password", &shown)), Some("password"));
    house.sign_in("amy", "").expect("without a code, for nothing was switched on");

    let recovery = desk.set_my_codes(&house.guesses, &secret, PASSWORD, &shown).expect("on");
    assert_eq!(recovery.len(), codes::RECOVERY_CODES);
    assert!(matches!(house.sign_in("amy", ""), Err(SignInError::CodeNeeded)));
    assert!(matches!(house.sign_in("amy", &shown), Err(SignInError::CodeWrong)), "that code is used up");
    // Whoever found the session does not put their own authenticator in the place of hers.
    let other = codes::new_secret().expect("random numbers");
    house.wait(30);
    let theirs = codes::shown(&other, house.now());
    let desk = Desk::new(house.app(), desk.actor().clone());
    assert_eq!(kind(desk.set_my_codes(&house.guesses, &other, PASSWORD, &theirs)), Kind::Conflict);
    house.sign_in("amy", &codes::shown(&secret, house.now())).expect("hers counts");
    assert_eq!(house.logged("user codes on").len(), 1);
}

#[test]
fn a_code_signs_in_once_and_may_be_a_step_away() {
    let mut house = House::new();
    let (secret, ..) = house.with_codes();
    house.wait(300);
    let at =
        |house: &House, drift: i64| codes::shown(&secret, UnixTime::from_millis(house.now().millis() + drift * 30_000));
    for (drift, right) in [(-2, false), (2, false), (-1, true), (-1, false), (0, true), (1, true), (0, false)] {
        let code = at(&house, drift);
        let signed_in = house.sign_in("amy", &code);
        assert_eq!(signed_in.is_ok(), right, "{drift}: {:?}", signed_in.err());
    }
    // Also not once more through the form that switches them off.
    house.wait(300);
    let code = at(&house, 0);
    let (cookie, _) = house.sign_in("amy", &code).expect("signed in");
    let desk = house.desk_of(&cookie, "192.0.2.1").expect("a session");
    let proof = Proof { password: PASSWORD, code: Some(&code) };
    assert_eq!(field(desk.unset_my_codes(&house.guesses, proof)), Some("code"));
}

#[test]
fn whoever_knows_the_password_cannot_guess_the_code() {
    let mut house = House::new();
    let (secret, ..) = house.with_codes();
    house.wait(3600);
    let wrong = || if codes::shown(&secret, house.now()) == "000000" { "999999" } else { "000000" };
    let mut slowed = None;
    for n in 0..10 {
        // In between the password alone, which is right: it takes back nothing but itself.
        let address = format!("198.51.100.{n}");
        assert!(matches!(house.sign_in_from(&address, "amy", PASSWORD, ""), Err(SignInError::CodeNeeded)));
        match house.sign_in_from(&address, "amy", PASSWORD, wrong()) {
            Err(SignInError::Later(_)) => slowed = slowed.or(Some(n)),
            other => assert!(matches!(other, Err(SignInError::CodeWrong)), "{:?}", other.err()),
        }
    }
    assert_eq!(slowed, Some(5), "five codes, from wherever");
    assert!(house.logged("sign in refused").iter().any(|after| after.contains("too many one-time codes")));
    house.sign_in("bob", "").expect("it is amy's account that is slow");
}

#[test]
fn a_recovery_code_stands_in_for_the_authenticator_once() {
    let mut house = House::new();
    let (secret, _, recovery) = house.with_codes();
    let wrong = "aaaa-aaaa-aaaa-aaaa";
    assert!(matches!(house.sign_in("amy", wrong), Err(SignInError::CodeWrong)));
    for (n, code) in recovery.iter().enumerate() {
        house.sign_in("amy", code).unwrap_or_else(|error| panic!("{n}: {error}"));
        assert!(matches!(house.sign_in("amy", code), Err(SignInError::CodeWrong)), "{n} once more");
        house.wait(600);
    }
    let told = house.logged("sign in");
    assert_eq!(told.last().map(String::as_str), Some(r#"{"recovery_codes_left":0}"#), "{told:?}");
    // The authenticator still counts, and makes new ones; the old ones stay used up.
    let (cookie, _) = house.sign_in("amy", &codes::shown(&secret, house.now())).expect("signed in");
    house.wait(60);
    let desk = house.desk_of(&cookie, "192.0.2.1").expect("a session");
    let code = codes::shown(&secret, house.now());
    for (password, code, about) in [("a wrong password", code.as_str(), "password"), (PASSWORD, wrong, "code")] {
        let proof = Proof { password, code: Some(code) };
        assert_eq!(field(desk.renew_my_recovery_codes(&house.guesses, proof)), Some(about));
    }
    let proof = Proof { password: PASSWORD, code: Some(&code) };
    let fresh = desk.renew_my_recovery_codes(&house.guesses, proof).expect("new ones");
    assert!(fresh.iter().all(|code| !recovery.contains(code)));
    house.sign_in("amy", &fresh[0]).expect("a new one");
    assert!(matches!(house.sign_in("amy", &recovery[0]), Err(SignInError::CodeWrong)));
    // No secret of them is in the log.
    let log = format!("{:?}", house.log());
    assert!(fresh.iter().chain(&recovery).all(|code| !log.contains(code.as_str())), "{log}");
}

#[test]
fn codes_are_switched_off_by_password_and_code_or_by_who_manages_users() {
    let mut house = House::new();
    let (secret, desk, recovery) = house.with_codes();
    house.wait(60);
    let code = codes::shown(&secret, house.now());
    let desk = Desk::new(house.app(), desk.actor().clone());
    for (password, code, about) in [("a wrong password", code.as_str(), "password"), (PASSWORD, "", "code")] {
        let proof = Proof { password, code: Some(code) };
        assert_eq!(field(desk.unset_my_codes(&house.guesses, proof)), Some(about));
    }
    // An administrator's session is no way around: one's own codes need the proof.
    assert_eq!(kind(desk.unset_codes("amy")), Kind::Forbidden);
    assert!(matches!(house.sign_in("amy", ""), Err(SignInError::CodeNeeded)));
    desk.unset_my_codes(&house.guesses, Proof { password: PASSWORD, code: Some(&recovery[3]) }).expect("off");
    house.sign_in("amy", "").expect("the password is enough now");
    assert_eq!(house.logged("user codes off").len(), 1);

    // Bob lost his telephone: amy helps, and that is written down.
    let secret = codes::new_secret().expect("random numbers");
    let bob = house.desk("bob");
    let shown = codes::shown(&secret, house.now());
    let recovery = bob.set_my_codes(&house.guesses, &secret, PASSWORD, &shown).expect("on");
    assert!(matches!(house.sign_in("bob", ""), Err(SignInError::CodeNeeded)));
    assert_eq!(kind(bob.unset_codes("amy")), Kind::Forbidden);
    desk.unset_codes("bob").expect("off");
    house.sign_in("bob", "").expect("the password is enough now");
    let lines =
        house.test.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 20)).expect("the log");
    let line = lines.iter().find(|line| line.action == "user codes off").expect("a line");
    assert_eq!((line.actor.as_str(), line.subject.as_str()), ("amy", "user bob"));
    // His old recovery codes went with them.
    let secret = codes::new_secret().expect("random numbers");
    let shown = codes::shown(&secret, house.now());
    bob.set_my_codes(&house.guesses, &secret, PASSWORD, &shown).expect("on again");
    assert!(matches!(house.sign_in("bob", &recovery[0]), Err(SignInError::CodeWrong)));
}
