//! Who is signed in, and what programs sign in with. Only digests of secrets are kept.

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, millis, text, time};
use super::schema::{sessions, tokens};
use super::{Conn, StoreError};
use crate::model::UnixTime;
use crate::model::access::{Rights, Scope};

/// SHA-256 of a secret.
pub type SecretDigest = [u8; 32];

/// A person who is signed in with a browser.
#[derive(Clone, Debug)]
pub struct Session {
    /// Digest of the cookie's secret.
    pub digest: SecretDigest,
    /// Who.
    pub user: String,
    /// Since when.
    pub created_at: UnixTime,
    /// When something was asked for last, to the minute.
    pub seen_at: UnixTime,
    /// Until when, whatever is asked for.
    pub expires_at: UnixTime,
    /// From where.
    pub peer_address: String,
    /// With what.
    pub user_agent: String,
    /// A query: only the computers that it asks for are shown.
    pub locked_to: Option<String>,
}

/// What a program signs in with.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// Whose it is: it can never do more than they can.
    pub user: String,
    /// What it may do.
    pub rights: Rights,
    /// What that holds for, within its user's own scope.
    pub scope: Scope,
    /// When it was made.
    pub created_at: UnixTime,
    /// Until when; `None` is for ever.
    pub expires_at: Option<UnixTime>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<UnixTime>,
    /// And from where.
    pub last_peer: String,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = sessions)]
struct SessionRow {
    digest: Vec<u8>,
    user_name: String,
    created_at: i64,
    seen_at: i64,
    expires_at: i64,
    peer_address: String,
    user_agent: String,
    locked_to: Option<String>,
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        let digest = row.digest.try_into();
        Ok(Self {
            digest: digest
                .map_err(|_| At("sessions", row.user_name.as_str()).corrupt("the digest has another length"))?,
            user: row.user_name,
            created_at: UnixTime::from_millis(row.created_at),
            seen_at: UnixTime::from_millis(row.seen_at),
            expires_at: UnixTime::from_millis(row.expires_at),
            peer_address: row.peer_address,
            user_agent: row.user_agent,
            locked_to: row.locked_to,
        })
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = tokens)]
struct TokenRow {
    id: i64,
    name: String,
    user_name: String,
    rights: String,
    computers: Option<String>,
    families: Option<String>,
    created_at: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    last_peer: String,
}

impl TryFrom<TokenRow> for Token {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> Result<Self, StoreError> {
        Ok(Self {
            rights: At("tokens", row.id).check(row.rights.parse())?,
            scope: At("tokens", row.id).check(Scope::parse(row.computers.as_deref(), row.families.as_deref()))?,
            id: row.id,
            name: row.name,
            user: row.user_name,
            created_at: UnixTime::from_millis(row.created_at),
            expires_at: time(row.expires_at),
            last_used_at: time(row.last_used_at),
            last_peer: row.last_peer,
        })
    }
}

/// Signs somebody in.
pub fn open(conn: &mut Conn, session: &Session) -> Result<(), StoreError> {
    let row = SessionRow {
        digest: session.digest.to_vec(),
        user_name: text(&session.user).into_owned(),
        created_at: session.created_at.millis(),
        seen_at: session.seen_at.millis(),
        expires_at: session.expires_at.millis(),
        peer_address: text(&session.peer_address).into_owned(),
        user_agent: text(&session.user_agent).into_owned(),
        locked_to: session.locked_to.clone(),
    };
    q!(conn => diesel::insert_into(sessions::table).values(&row).execute(conn))?;
    Ok(())
}

/// One session, expired or not.
pub fn find(conn: &mut Conn, digest: &SecretDigest) -> Result<Option<Session>, StoreError> {
    let query = sessions::table.find(digest.as_slice());
    q!(conn => query.select(SessionRow::as_select()).first(conn).optional())?.map(Session::try_from).transpose()
}

/// Everybody who is signed in, newest first.
pub fn list(conn: &mut Conn, now: UnixTime) -> Result<Vec<Session>, StoreError> {
    let query = sessions::table.filter(sessions::expires_at.gt(now.millis())).order(sessions::created_at.desc());
    let rows: Vec<SessionRow> = q!(conn => query.select(SessionRow::as_select()).load(conn))?;
    rows.into_iter().map(Session::try_from).collect()
}

/// Notes that something was asked for.
pub fn touch(conn: &mut Conn, digest: &SecretDigest, at: UnixTime) -> Result<(), StoreError> {
    q!(conn => diesel::update(sessions::table.find(digest.as_slice()))
        .set(sessions::seen_at.eq(at.millis()))
        .execute(conn))?;
    Ok(())
}

/// Locks a session to what a query asks for, or ends that.
pub fn set_lock(conn: &mut Conn, digest: &SecretDigest, query: Option<&str>) -> Result<(), StoreError> {
    let row = sessions::table.find(digest.as_slice());
    q!(conn => diesel::update(row).set(sessions::locked_to.eq(query.map(text))).execute(conn))?;
    Ok(())
}

/// Signs somebody out.
pub fn close(conn: &mut Conn, digest: &SecretDigest) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::delete(sessions::table.find(digest.as_slice())).execute(conn))? > 0)
}

/// Signs a user out everywhere, but for one session.
pub fn close_all(conn: &mut Conn, user: &str, but: Option<&SecretDigest>) -> Result<usize, StoreError> {
    let but = but.map_or(Vec::new(), |digest| digest.to_vec());
    let all = sessions::table.filter(sessions::user_name.eq(text(user))).filter(sessions::digest.ne(but));
    Ok(q!(conn => diesel::delete(all).execute(conn))?)
}

/// Forgets sessions that ended.
pub fn close_expired(conn: &mut Conn, now: UnixTime) -> Result<usize, StoreError> {
    let expired = sessions::table.filter(sessions::expires_at.le(now.millis()));
    Ok(q!(conn => diesel::delete(expired).execute(conn))?)
}

/// Makes a token; the number is given by the database.
pub fn create_token(conn: &mut Conn, token: &Token, digest: &SecretDigest) -> Result<i64, StoreError> {
    Ok(q!(conn => diesel::insert_into(tokens::table)
        .values((
            tokens::name.eq(text(&token.name)),
            tokens::digest.eq(digest.as_slice()),
            tokens::user_name.eq(text(&token.user)),
            tokens::rights.eq(token.rights.to_string()),
            tokens::computers.eq(token.scope.computers.as_ref().map(ToString::to_string)),
            tokens::families.eq(token.scope.families_text()),
            tokens::created_at.eq(token.created_at.millis()),
            tokens::expires_at.eq(millis(token.expires_at)),
            tokens::last_peer.eq(""),
        ))
        .returning(tokens::id)
        .get_result(conn))?)
}

/// One token, expired or not.
pub fn find_token(conn: &mut Conn, digest: &SecretDigest) -> Result<Option<Token>, StoreError> {
    let query = tokens::table.filter(tokens::digest.eq(digest.as_slice()));
    q!(conn => query.select(TokenRow::as_select()).first(conn).optional())?.map(Token::try_from).transpose()
}

/// All tokens, or those of one user, in order of their numbers.
pub fn list_tokens(conn: &mut Conn, user: Option<&str>) -> Result<Vec<Token>, StoreError> {
    let rows: Vec<TokenRow> = q!(conn => tokens::table.order(tokens::id).select(TokenRow::as_select()).load(conn))?;
    let found = rows.into_iter().map(Token::try_from);
    found.filter(|token| token.as_ref().map_or(true, |token| user.is_none_or(|user| token.user == user))).collect()
}

/// Notes that a token was used.
pub fn touch_token(conn: &mut Conn, id: i64, at: UnixTime, peer: &str) -> Result<(), StoreError> {
    q!(conn => diesel::update(tokens::table.find(id))
        .set((tokens::last_used_at.eq(at.millis()), tokens::last_peer.eq(text(peer))))
        .execute(conn))?;
    Ok(())
}

/// Takes a token back. False if there is none of that number.
pub fn delete_token(conn: &mut Conn, id: i64) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::delete(tokens::table.find(id)).execute(conn))? > 0)
}
