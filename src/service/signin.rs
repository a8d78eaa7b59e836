//! Signing in: people with a password (and a one-time code, if they want it), programs with a token.
//!
//! Secrets are 256 random bits; only their SHA-256 is kept. A session ends after [`SESSION_IDLE`] without a request and
//! after [`SESSION_LIFE`] in any case. Guessing is slowed down by address, and by account once the password is known
//! ([`Guesses`]).

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::App;
use super::accounts::{self, AccountError};
use super::codes::Code;
use super::desk::{Actor, Via};
use super::guesses::Guesser;
use crate::model::UnixTime;
use crate::model::access::Rights;
use crate::store::audit::{self, Entry};
use crate::store::sessions::{self, SecretDigest, Session, Token};
use crate::store::users::User;
use crate::store::{StoreError, recovery, users};

pub use super::guesses::Guesses;

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
    /// Too many wrong ones from there, or for that account.
    #[error("too many attempts: try again in {0} s")]
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
    let here = [Guesser::at(place.address)];
    guesses.count(&here, now).map_err(SignInError::Later)?;
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
    let refuse = |why: &str| refused(app, &entry, "sign in refused", why);
    let right = accounts::verify(app, name, password)?;
    let wanted = name.to_owned();
    let user = app.store.read_now(move |conn| users::find(conn, &wanted))?;
    let Some(user) = user.filter(|user| right && user.disabled_at.is_none()) else {
        refuse("name or password")?;
        return Err(SignInError::Wrong);
    };
    let account = [Guesser::Account(user.name.clone())];
    let code = match &user.one_time_secret {
        None => None,
        Some(secret) => {
            let Some(typed) = code.map(str::trim).filter(|code| !code.is_empty()) else {
                guesses.take_back(&here);
                return Err(SignInError::CodeNeeded);
            };
            if let Err(seconds) = guesses.count(&account, now) {
                refuse("too many one-time codes")?;
                return Err(SignInError::Later(seconds));
            }
            let Some(code) = Code::read(secret, typed, now) else {
                refuse("one-time code")?;
                return Err(SignInError::CodeWrong);
            };
            Some(code)
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
        locked_to: None,
    };
    let (row, owner, mut line) = (session.clone(), user.name.clone(), entry.clone());
    let spent = code.clone();
    let fresh = app.store.write_now(move |conn| -> Result<bool, StoreError> {
        if let Some(code) = &spent
            && !code.consume(conn, &owner)?
        {
            return Ok(false);
        }
        if let Some(Code::Recovery(_)) = spent {
            line.after = Some(format!("{{\"recovery_codes_left\":{}}}", recovery::left(conn, &owner)?));
        }
        sessions::close_expired(conn, now)?;
        sessions::open(conn, &row)?;
        users::set_last_sign_in(conn, &owner, now)?;
        audit::add(conn, &line)?;
        Ok(true)
    })?;
    if !fresh {
        refuse("one-time code used before, or never one")?;
        return Err(SignInError::CodeWrong);
    }
    guesses.take_back(&here);
    if code.is_some() {
        guesses.take_back(&account);
    }
    let visitor = app.store.read_now(move |conn| visitor_of(conn, user, Some(session), Via::Console))?;
    Ok((secret, visitor))
}

/// A refusal in the audit log.
fn refused(app: &App, entry: &Entry, action: &str, why: &str) -> Result<(), StoreError> {
    let entry = Entry {
        action: action.to_owned(),
        after: Some(serde_json::json!({ "why": why }).to_string()),
        ..entry.clone()
    };
    app.store.write_now(move |conn| audit::add(conn, &entry))
}

/// What somebody who is signed in shows once more before their account changes: whoever found their session has neither.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// The password.
    pub password: &'a str,
    /// The authenticator's code or a recovery code, if the account has such. `None` where the password is enough.
    pub code: Option<&'a str>,
}

/// Checks a proof, as slowly as a sign-in, and writes down what was wrong. A code that was right is used up.
///
/// The account is counted beside the address: who has the session of somebody has it behind many addresses, too.
pub fn prove(app: &App, guesses: &Guesses, actor: &Actor, proof: Proof<'_>) -> Result<(), SignInError> {
    let now = app.clock.now();
    let mut who = vec![Guesser::Account(actor.name.clone())];
    who.extend(actor.peer_address.parse().ok().map(Guesser::at));
    let entry = Entry {
        at: now,
        actor: actor.label(),
        via: actor.via.as_str(),
        peer_address: actor.peer_address.clone(),
        action: String::new(),
        subject: format!("user {}", actor.name),
        before: None,
        after: None,
    };
    let refuse = |why: &str| refused(app, &entry, "proof refused", why);
    if let Err(seconds) = guesses.count(&who, now) {
        refuse("too many attempts")?;
        return Err(SignInError::Later(seconds));
    }
    if !accounts::verify(app, &actor.name, proof.password)? {
        refuse("password")?;
        return Err(SignInError::Wrong);
    }
    let name = actor.name.clone();
    let user = app.store.read_now(move |conn| users::find(conn, &name))?;
    let secret = user.as_ref().and_then(|user| user.one_time_secret.as_ref());
    if let (Some(secret), Some(typed)) = (secret, proof.code) {
        let (code, name) = (Code::read(secret, typed.trim(), now), actor.name.clone());
        let right = match code {
            None => false,
            Some(code) => app.store.write_now(move |conn| code.consume(conn, &name))?,
        };
        if !right {
            refuse("one-time code")?;
            return Err(SignInError::CodeWrong);
        }
    }
    guesses.take_back(&who);
    Ok(())
}

/// The same session under a new secret, which nobody who saw the old one knows.
pub fn renewed(session: &Session) -> Result<(String, Session), AccountError> {
    let secret = new_secret()?;
    let session = Session { digest: digest(&secret), ..session.clone() };
    Ok((secret, session))
}

/// Whose cookie this is; `None` if it is nobody's any more.
pub fn by_cookie(app: &App, secret: &str, address: IpAddr) -> Result<Option<Visitor>, StoreError> {
    let (digest, now) = (digest(secret), app.clock.now());
    let mut found = app.store.read_now(move |conn| {
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
    if let Some(visitor) = &mut found {
        // From where it is used, which need not be from where it was opened.
        visitor.actor.peer_address = address.to_canonical().to_string();
    }
    if let Some(Visitor { session: Some(session), .. }) = &found
        && now.millis() - session.seen_at.millis() > TOUCH
    {
        app.store.write_now(move |conn| {
            conn.alters_no_answer();
            sessions::touch(conn, &digest, now)
        })?;
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
        visitor.actor.scope = visitor.actor.scope.within(&token.scope);
        visitor.actor.token = Some(token.name.clone());
        Ok::<_, StoreError>(Some((visitor, token)))
    })?;
    let Some((mut visitor, token)) = found else { return Ok(None) };
    let peer = address.to_canonical().to_string();
    if token.last_used_at.is_none_or(|last| now.millis() - last.millis() > TOUCH) {
        let (id, peer) = (token.id, peer.clone());
        app.store.write_now(move |conn| {
            conn.alters_no_answer();
            sessions::touch_token(conn, id, now, &peer)
        })?;
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
            scope: match session.as_ref().and_then(|session| session.locked_to.as_deref()) {
                Some(locked) => user.scope.narrowed(locked),
                None => user.scope,
            },
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
