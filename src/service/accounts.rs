//! Administrators and their passwords.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash};

use super::App;
use crate::model::access::{BUILT_IN_ROLES, Rights, Scope};
use crate::model::is_name;
use crate::store::users::User;
use crate::store::{Conn, StoreError, users};

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Too short.
    #[error("the password has {0} characters: at least 10 are needed")]
    Short(usize),
    /// Not a name.
    #[error(
        "\"{0}\" is not a user name: 1 to 64 letters, digits, dots, dashes and underscores, and not \".\" or \"..\""
    )]
    Name(String),
    /// Taken.
    #[error("there is a user \"{0}\" already: `dripfeed user password {0}` changes the password")]
    Exists(String),
    /// Unknown.
    #[error("there is no user \"{0}\": `dripfeed user list` shows them")]
    Unknown(String),
    /// No such role.
    #[error(
        "there is no role \"{0}\": administrator, deployer and viewer come with the program, `dripfeed role list` shows all"
    )]
    Role(String),
    /// No name of a person.
    #[error("a full name has at most 100 characters, and no control characters")]
    FullName,
    /// No address.
    #[error("\"{0}\" is not a mail address: expected somebody@example.net, or nothing")]
    Mail(String),
    /// Nobody could manage users any more.
    #[error("\"{0}\" is the last one who can manage users: give somebody else that right first")]
    Last(String),
    /// Hashing failed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The role of whoever was given none.
pub const ADMINISTRATOR: &str = "administrator";

/// Adds a user. With `must_change`, the password is for the first sign-in only.
pub fn add(
    app: &App,
    name: &str,
    password: &str,
    must_change: bool,
    role: &str,
    scope: Scope,
) -> Result<(), AccountError> {
    let named = role.to_owned();
    if app.store.read_now(move |conn| rights_of(conn, &named))?.is_none() {
        return Err(AccountError::Role(role.chars().take(64).collect()));
    }
    let valid = is_name(name, 64) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if !valid {
        return Err(AccountError::Name(name.chars().take(64).collect()));
    }
    let user = User {
        name: name.to_owned(),
        password_hash: hash(password)?,
        must_change_password: must_change,
        full_name: String::new(),
        mail: String::new(),
        role: role.to_owned(),
        scope,
        one_time_secret: None,
        one_time_step: 0,
        disabled_at: None,
        last_sign_in: None,
        created_at: app.clock.now(),
    };
    if app.store.write_now(move |conn| users::create(conn, &user))? {
        Ok(())
    } else {
        Err(AccountError::Exists(name.to_owned()))
    }
}

/// Writes what people call a user, and where they are written to; both may be empty.
pub fn set_profile(app: &App, name: &str, full_name: &str, mail: &str) -> Result<(), AccountError> {
    let (full_name, mail) = (full_name.trim().to_owned(), mail.trim().to_owned());
    if full_name.chars().count() > 100 || full_name.chars().any(char::is_control) {
        return Err(AccountError::FullName);
    }
    if !mail.is_empty() && !is_mail(&mail) {
        return Err(AccountError::Mail(mail.chars().take(80).collect()));
    }
    let owned = name.to_owned();
    if app.store.write_now(move |conn| users::set_profile(conn, &owned, &full_name, &mail))? {
        return Ok(());
    }
    Err(AccountError::Unknown(name.to_owned()))
}

/// As much as can be said of an address without writing to it.
fn is_mail(text: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';');
    let parts = text.split_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    parts.is_some() && text.len() <= 254 && !text.contains(odd)
}

/// Changes a password. With `must_change`, it is for one sign-in only.
pub fn set_password(app: &App, name: &str, password: &str, must_change: bool) -> Result<(), AccountError> {
    let (owned, hash) = (name.to_owned(), hash(password)?);
    if app.store.write_now(move |conn| users::set_password(conn, &owned, &hash, must_change))? {
        Ok(())
    } else {
        Err(AccountError::Unknown(name.to_owned()))
    }
}

/// What a role may do: one that comes with the program, or one of the administrators' own.
pub fn rights_of(conn: &mut Conn, role: &str) -> Result<Option<Rights>, StoreError> {
    match BUILT_IN_ROLES.iter().find(|(name, ..)| *name == role) {
        Some((_, _, rights)) => Ok(Some(rights())),
        None => Ok(users::find_role(conn, role)?.map(|role| role.rights)),
    }
}

/// Is this the user's password? Takes the same time for a user that does not exist.
pub fn verify(app: &App, name: &str, password: &str) -> Result<bool, AccountError> {
    // Argon2id of nothing anybody types.
    const NOBODY: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let owned = name.to_owned();
    let user = app.store.read_now(move |conn| users::find(conn, &owned))?;
    let stored = user.as_ref().map_or(NOBODY, |user| user.password_hash.as_str());
    let stored = PasswordHash::new(stored).map_err(|error| AccountError::Hash(error.to_string()))?;
    let fits = Argon2::default().verify_password(password.as_bytes(), &stored).is_ok();
    Ok(fits && user.is_some())
}

/// A password that a person can type from a terminal: four groups of five, 100 bits.
pub fn random_password() -> Result<String, AccountError> {
    // Without letters and digits that look alike.
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789A";
    let mut bytes = [0_u8; 20];
    getrandom::fill(&mut bytes).map_err(|error| AccountError::Hash(error.to_string()))?;
    let letters: Vec<char> = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    Ok(letters.chunks(5).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-"))
}

/// Argon2id of a password that is long enough.
pub(super) fn hash(password: &str) -> Result<String, AccountError> {
    let characters = password.chars().count();
    if characters < 10 {
        return Err(AccountError::Short(characters));
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| AccountError::Hash(error.to_string()))
}
