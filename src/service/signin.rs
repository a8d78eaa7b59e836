//! Signing in: people with a password (and a one-time code, if they want it), programs with a token.
//!
//! Secrets are 256 random bits; only their SHA-256 is kept. A session ends after [`SESSION_IDLE`] without a request and
//! after [`SESSION_LIFE`] in any case. Guessing is slowed down by address ([`Guesses`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::App;
use super::accounts::{self, AccountError};
use super::desk::{Actor, Via};
use crate::model::UnixTime;
use crate::model::access::Rights;
use crate::store::audit::{self, Entry};
use crate::store::sessions::{self, SecretDigest, Session, Token};
use crate::store::users::User;
use crate::store::{StoreError, users};

/// A session ends so long after its last request.
pub const SESSION_IDLE: Duration = Duration::from_hours(8);
/// And so long after the sign-in.
pub const SESSION_LIFE: Duration = Duration::from_hours(24 * 7);
/// How often a session's or a token's last use is written down.
const TOUCH: i64 = 60_000;
/// What a token begins with, so that it is known for one wherever it leaks to.
pub const TOKEN_PREFIX: &str = "drip_";

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Name or password; which of them is not told.
    #[error("the name or the password is wrong")]
    Wrong,
    /// The password is right; a code is needed as well.
    #[error("type the six digits that your authenticator shows")]
    CodeNeeded,
    /// The code is wrong or was used before.
    #[error("this code is wrong, or was used already: wait for the next one")]
    CodeWrong,
    /// Too many wrong ones from there.
    #[error("too many attempts from your address: try again in {0} s")]
    Later(u64),
    /// The password could not be checked.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Who, with what they may do. Without any right while the password must be changed.
    pub actor: Actor,
    /// The session, for a person.
    pub session: Option<Session>,
    /// Must the password be changed before anything else?
    pub must_change_password: bool,
}

/// Where somebody is, as far as it can be seen.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address.
    pub address: IpAddr,
    /// The browser, as it calls itself.
    pub user_agent: String,
}

/// Wrong attempts by address. Kept in memory: a restart forgives.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<IpAddr, (u32, UnixTime)>>);

impl Guesses {
    /// Wrong attempts that cost nothing.
    const FREE: u32 = 5;
    /// After so long without an attempt, all is forgotten.
    const FORGET: i64 = 15 * 60 * 1000;
    /// Addresses remembered; above that the oldest are forgotten.
    const ADDRESSES: usize = 10_000;

    /// Seconds that this address has to wait before it may try.
    pub fn wait(&self, address: IpAddr, now: UnixTime) -> Option<u64> {
        let guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, last) = *guesses.get(&network(address))?;
        let over = count.checked_sub(Self::FREE)?;
        let pause = (1_i64 << over.min(9)).saturating_mul(1000);
        let left = last.millis().saturating_add(pause) - now.millis();
        (left > 0).then(|| left.unsigned_abs().div_ceil(1000))
    }

    /// A wrong attempt.
    pub fn wrong(&self, address: IpAddr, now: UnixTime) {
        let mut guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.len() >= Self::ADDRESSES {
            guesses.retain(|_, (_, last)| now.millis() - last.millis() < Self::FORGET);
        }
        if guesses.len() >= Self::ADDRESSES {
            guesses.clear();
        }
        let entry = guesses.entry(network(address)).or_insert((0, now));
        if now.millis() - entry.1.millis() >= Self::FORGET {
            entry.0 = 0;
        }
        *entry = (entry.0.saturating_add(1), now);
    }

    /// A right one.
    pub fn right(&self, address: IpAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&network(address));
    }
}

/// Who has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

/// Signs a person in. Gives the secret for the cookie, which nobody can ask for again.
pub fn sign_in(
    app: &App,
    guesses: &Guesses,
    name: &str,
    password: &str,
    code: Option<&str>,
    place: &Place,
) -> Result<(String, Visitor), SignInError> {
    let now = app.clock.now();
    if let Some(seconds) = guesses.wait(place.address, now) {
        return Err(SignInError::Later(seconds));
    }
    // Before the password is looked at: many at once would all find the counter low.
    guesses.wrong(place.address, now);
    let peer_address = place.address.to_canonical().to_string();
    let entry = Entry {
        at: now,
        actor: name.chars().take(64).collect(),
        via: Via::Console.as_str(),
        peer_address: peer_address.clone(),
        action: "sign in".to_owned(),
        subject: format!("user {}", name.chars().take(64).collect::<String>()),
        before: None,
        after: None,
    };
    let refuse = |why: &str| {
        let entry = Entry {
            action: "sign in refused".to_owned(),
            after: Some(format!("{{\"why\":\"{why}\"}}")),
            ..entry.clone()
        };
        app.store.write_now(move |conn| audit::add(conn, &entry))
    };
    let right = accounts::verify(app, name, password)?;
    let wanted = name.to_owned();
    let user = app.store.read_now(move |conn| users::find(conn, &wanted))?;
    let Some(user) = user.filter(|user| right && user.disabled_at.is_none()) else {
        refuse("name or password")?;
        return Err(SignInError::Wrong);
    };
    let step = match &user.one_time_secret {
        None => None,
        Some(secret) => {
            let Some(code) = code.map(str::trim).filter(|code| !code.is_empty()) else {
                guesses.right(place.address);
                return Err(SignInError::CodeNeeded);
            };
            let Some(step) = one_time_step(secret, code, now) else {
                refuse("one-time code")?;
                return Err(SignInError::CodeWrong);
            };
            Some(step)
        }
    };
    let secret = new_secret()?;
    let session = Session {
        digest: digest(&secret),
        user: user.name.clone(),
        created_at: now,
        seen_at: now,
        expires_at: UnixTime::from_millis(now.millis().saturating_add(millis(SESSION_LIFE))),
        peer_address,
        user_agent: place.user_agent.chars().filter(|c| !c.is_control()).take(200).collect(),
    };
    let (row, owner, line) = (session.clone(), user.name.clone(), entry.clone());
    let fresh = app.store.write_now(move |conn| -> Result<bool, StoreError> {
        if let Some(step) = step
            && !users::use_step(conn, &owner, step)?
        {
            return Ok(false);
        }
        sessions::close_expired(conn, now)?;
        sessions::open(conn, &row)?;
        users::set_last_sign_in(conn, &owner, now)?;
        audit::add(conn, &line)?;
        Ok(true)
    })?;
    if !fresh {
        refuse("one-time code used before")?;
        return Err(SignInError::CodeWrong);
    }
    guesses.right(place.address);
    let visitor = app.store.read_now(move |conn| visitor_of(conn, user, Some(session), Via::Console))?;
    Ok((secret, visitor))
}

/// Whose cookie this is; `None` if it is nobody's any more.
pub fn by_cookie(app: &App, secret: &str) -> Result<Option<Visitor>, StoreError> {
    let (digest, now) = (digest(secret), app.clock.now());
    let found = app.store.read_now(move |conn| {
        let Some(session) = sessions::find(conn, &digest)? else { return Ok(None) };
        let idle = now.millis() - session.seen_at.millis() > millis(SESSION_IDLE);
        if idle || session.expires_at <= now {
            return Ok(None);
        }
        let Some(user) = users::find(conn, &session.user)?.filter(|user| user.disabled_at.is_none()) else {
            return Ok(None);
        };
        visitor_of(conn, user, Some(session), Via::Console).map(Some)
    })?;
    if let Some(Visitor { session: Some(session), .. }) = &found
        && now.millis() - session.seen_at.millis() > TOUCH
    {
        app.store.write_now(move |conn| sessions::touch(conn, &digest, now))?;
    }
    Ok(found)
}

/// May somebody who came by this visit still look? For what goes on after the request that it was asked with: a session
/// that ended, a user who was disabled or may do less are seen here. Does not keep a session awake.
pub fn is_still(app: &App, visitor: &Visitor) -> Result<bool, StoreError> {
    let (known, now) = (visitor.clone(), app.clock.now());
    app.store.read_now(move |conn| {
        let Some(user) = users::find(conn, &known.actor.name)?.filter(|user| user.disabled_at.is_none()) else {
            return Ok(false);
        };
        let Some(session) = &known.session else { return Ok(user.scope == known.actor.scope) };
        let Some(session) = sessions::find(conn, &session.digest)? else { return Ok(false) };
        let awake = now.millis() - session.seen_at.millis() <= millis(SESSION_IDLE) && session.expires_at > now;
        let present = visitor_of(conn, user, Some(session), Via::Console)?.actor;
        Ok(awake && present.rights == known.actor.rights && present.scope == known.actor.scope)
    })
}

/// Whose token this is; `None` if it is nobody's any more.
pub fn by_token(app: &App, secret: &str, address: IpAddr) -> Result<Option<Visitor>, StoreError> {
    if !secret.starts_with(TOKEN_PREFIX) {
        return Ok(None);
    }
    let (digest, now) = (digest(secret), app.clock.now());
    let found = app.store.read_now(move |conn| {
        let Some(token) = sessions::find_token(conn, &digest)? else { return Ok(None) };
        if token.expires_at.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        let Some(user) = users::find(conn, &token.user)?.filter(|user| user.disabled_at.is_none()) else {
            return Ok(None);
        };
        let mut visitor = visitor_of(conn, user, None, Via::Api)?;
        visitor.actor.rights = visitor.actor.rights.both(&token.rights);
        visitor.actor.token = Some(token.name.clone());
        Ok::<_, StoreError>(Some((visitor, token)))
    })?;
    let Some((mut visitor, token)) = found else { return Ok(None) };
    let peer = address.to_canonical().to_string();
    if token.last_used_at.is_none_or(|last| now.millis() - last.millis() > TOUCH) {
        let (id, peer) = (token.id, peer.clone());
        app.store.write_now(move |conn| sessions::touch_token(conn, id, now, &peer))?;
    }
    visitor.actor.peer_address = peer;
    Ok(Some(visitor))
}

fn visitor_of(
    conn: &mut crate::store::Conn,
    user: User,
    session: Option<Session>,
    via: Via,
) -> Result<Visitor, StoreError> {
    let rights = accounts::rights_of(conn, &user.role)?.unwrap_or_default();
    Ok(Visitor {
        actor: Actor {
            name: user.name,
            token: None,
            via,
            peer_address: session.as_ref().map(|session| session.peer_address.clone()).unwrap_or_default(),
            rights: if user.must_change_password { Rights::default() } else { rights },
            scope: user.scope,
        },
        session,
        must_change_password: user.must_change_password,
    })
}

/// Makes a token for its owner. Gives the secret, which nobody can ask for again.
pub fn new_token(app: &App, token: &Token) -> Result<(i64, String), AccountError> {
    let secret = format!("{TOKEN_PREFIX}{}", new_secret()?);
    let (digest, token) = (digest(&secret), token.clone());
    let id = app.store.write_now(move |conn| sessions::create_token(conn, &token, &digest))?;
    Ok((id, secret))
}

/// What a form of this session must carry, so that no other site's form is taken for ours.
pub fn form_secret(session_secret: &str) -> String {
    hex(&Sha256::digest(format!("form {session_secret}")))
}

fn digest(secret: &str) -> SecretDigest {
    Sha256::digest(secret).into()
}

/// 256 random bits in hexadecimal, for what others are told.
pub fn random_secret() -> Result<String, AccountError> {
    new_secret()
}

fn new_secret() -> Result<String, AccountError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| AccountError::Hash(error.to_string()))?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds that a one-time code stands for (RFC 6238).
const STEP: i64 = 30;

/// A new secret of one-time codes: 160 bits, as RFC 4226 wants them.
pub fn new_one_time_secret() -> Result<Vec<u8>, AccountError> {
    let mut bytes = vec![0_u8; 20];
    getrandom::fill(&mut bytes).map_err(|error| AccountError::Hash(error.to_string()))?;
    Ok(bytes)
}

/// Whose step the code is: this one, the one before or the one after, because clocks differ.
pub fn one_time_step(secret: &[u8], code: &str, now: UnixTime) -> Option<i64> {
    let code: u32 =
        Some(code).filter(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    let present = now.millis().div_euclid(1000 * STEP);
    (present - 1..=present + 1).find(|step| one_time_code(secret, *step) == Some(code))
}

/// The code of a step: HMAC-SHA-1, cut to six digits (RFC 4226, 5.3).
fn one_time_code(secret: &[u8], step: i64) -> Option<u32> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).ok()?;
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash.last()? & 0xf);
    let word: [u8; 4] = hash.get(at..at + 4)?.try_into().ok()?;
    Some((u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000)
}

/// A secret as authenticators take it: base 32 without padding (RFC 4648).
pub fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut block = [0_u8; 8];
        block[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(block);
        let letters = (chunk.len() * 8).div_ceil(5);
        text.extend((0..letters).map(|n| char::from(LETTERS[usize::try_from(bits >> (35 - 5 * n) & 31).unwrap_or(0)])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1000;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, SHA-1: the last six digits.
        let secret = b"12345678901234567890";
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let now = UnixTime::from_millis(seconds * SECOND);
            assert_eq!(one_time_step(secret, code, now), Some(seconds / STEP), "{code}");
            let soon = UnixTime::from_millis((seconds + STEP) * SECOND);
            assert_eq!(one_time_step(secret, code, soon), Some(seconds / STEP), "a clock half a minute ahead");
            let late = UnixTime::from_millis((seconds + 3 * STEP) * SECOND);
            assert_eq!(one_time_step(secret, code, late), None, "an old code");
        }
        for wrong in ["", "28708", "2870822", "28708x", "+87082"] {
            assert_eq!(one_time_step(secret, wrong, UnixTime::from_millis(59 * SECOND)), None, "{wrong:?}");
        }
    }

    #[test]
    fn base32_is_that_of_the_standard() {
        for (text, coded) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(text.as_bytes()), coded);
        }
    }

    #[test]
    fn guessing_becomes_slow_and_is_forgotten() {
        let guesses = Guesses::default();
        let here: IpAddr = "192.0.2.7".parse().expect("an address");
        let at = |seconds: i64| UnixTime::from_millis(seconds * SECOND);
        for _ in 0..5 {
            assert_eq!(guesses.wait(here, at(0)), None);
            guesses.wrong(here, at(0));
        }
        assert_eq!(guesses.wait(here, at(0)), Some(1));
        for _ in 0..20 {
            guesses.wrong(here, at(0));
        }
        assert_eq!(guesses.wait(here, at(0)), Some(512), "the pause has an upper end");
        assert_eq!(guesses.wait("192.0.2.8".parse().expect("an address"), at(0)), None);
        assert_eq!(guesses.wait(here, at(600)), None);
        guesses.right(here);
        assert_eq!(guesses.wait(here, at(0)), None);
    }

    #[test]
    fn a_network_of_ipv6_guesses_as_one() {
        let guesses = Guesses::default();
        for n in 0..12 {
            guesses.wrong(format!("2001:db8::{n:x}").parse().expect("an address"), UnixTime::from_millis(0));
        }
        let other: IpAddr = "2001:db8::ffff".parse().expect("an address");
        assert!(guesses.wait(other, UnixTime::from_millis(0)).is_some());
        assert!(guesses.wait("2001:db8:0:1::1".parse().expect("an address"), UnixTime::from_millis(0)).is_none());
    }
}
