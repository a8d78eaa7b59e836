//! `/me`, `/users`, `/roles`, `/tokens`, `/sessions`.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, operation};
use crate::clock::{self, utc_text};
use crate::model::access::{InvalidAccess, Right, Rights, Scope};
use crate::service::accounts;
use crate::service::desk::Refusal;
use crate::service::desk::people::RoleLine;
use crate::store::sessions::Token;
use crate::store::users::User;

pub(super) fn operations() -> Vec<Operation> {
    let right = Right::EditUsers;
    // What tells a secret does not take an Idempotency-Key: its answer would be kept.
    vec![
        operation(Method::GET, "/me", "get_me", "Whoever asks, and what they may do", None, me),
        operation(Method::GET, "/users", "list_users", "Users, by name", right, list),
        operation(Method::POST, "/users", "add_user", "Adds a user with a one-time password", right, add),
        operation(Method::GET, "/users/{name}", "get_user", "One user", right, get),
        operation(
            Method::PATCH,
            "/users/{name}",
            "change_user",
            "Changes role, scope, full name, mail, or whether a user may sign in",
            right,
            change,
        ),
        operation(Method::DELETE, "/users/{name}", "delete_user", "Deletes a user, sessions and tokens", right, delete),
        operation(
            Method::POST,
            "/users/{name}/password",
            "reset_password",
            "Sets a one-time password and signs the user out",
            right,
            reset,
        ),
        operation(
            Method::DELETE,
            "/users/{name}/codes",
            "remove_codes",
            "Asks a user for one-time codes no more",
            right,
            no_codes,
        ),
        operation(Method::GET, "/roles", "list_roles", "Roles with their rights", right, roles),
        operation(Method::PUT, "/roles/{name}", "set_role", "Makes or changes a role", right, set_role),
        operation(Method::DELETE, "/roles/{name}", "delete_role", "Deletes a role that nobody has", right, delete_role),
        operation(
            Method::GET,
            "/tokens",
            "list_tokens",
            "One's own tokens; everybody's for whoever manages users",
            None,
            tokens,
        ),
        operation(Method::POST, "/tokens", "create_token", "Makes a token of one's own", None, create_token),
        operation(Method::DELETE, "/tokens/{id}", "delete_token", "Takes a token back", None, delete_token),
        operation(
            Method::GET,
            "/sessions",
            "list_sessions",
            "One's own sessions; everybody's for whoever manages users",
            None,
            sessions,
        ),
    ]
}

/// Somebody's name.
#[derive(Deserialize, JsonSchema)]
struct ByName {
    /// The name.
    name: String,
}

/// Something's number.
#[derive(Deserialize, JsonSchema)]
struct ById {
    /// The number.
    id: i64,
}

/// Whoever asks.
#[derive(JsonSchema, Serialize)]
struct MeView {
    /// The user's name.
    name: String,
    /// The token's name, if one was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// What may be done.
    rights: Vec<&'static str>,
    /// The computers that it may be done for, as a query; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    computers: Option<String>,
    /// The families of packages; empty for all.
    families: Vec<String>,
}

fn me(asked: Asked<Nothing, Nothing, Nothing>) -> Result<MeView, Refusal> {
    let actor = asked.desk().actor();
    Ok(MeView {
        name: actor.name.clone(),
        token: actor.token.clone(),
        rights: words(&actor.rights),
        computers: actor.scope.computers.as_ref().map(ToString::to_string),
        families: actor.scope.families.iter().map(ToString::to_string).collect(),
    })
}

fn words(rights: &Rights) -> Vec<&'static str> {
    rights.iter().map(Right::as_str).collect()
}

/// A user.
#[derive(JsonSchema, Serialize)]
struct UserView {
    /// The name to sign in with.
    name: String,
    /// What people call the user; may be empty.
    full_name: String,
    /// Where the user is written to; may be empty.
    mail: String,
    /// The name of a role.
    role: String,
    /// The computers of the scope, as a query; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    computers: Option<String>,
    /// The families of packages of the scope; empty for all.
    families: Vec<String>,
    /// Is the user locked out?
    disabled: bool,
    /// Is the password for one sign-in?
    must_change_password: bool,
    /// Are one-time codes asked for?
    codes: bool,
    /// When the user signed in last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sign_in: Option<String>,
    /// When it was added.
    created_at: String,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            full_name: user.full_name,
            mail: user.mail,
            role: user.role,
            computers: user.scope.computers.as_ref().map(ToString::to_string),
            families: user.scope.families.iter().map(ToString::to_string).collect(),
            disabled: user.disabled_at.is_some(),
            must_change_password: user.must_change_password,
            codes: user.one_time_secret.is_some(),
            last_sign_in: user.last_sign_in.map(utc_text),
            created_at: utc_text(user.created_at),
        }
    }
}

/// All users.
#[derive(JsonSchema, Serialize)]
struct Users {
    /// By name.
    items: Vec<UserView>,
}

fn list(asked: Asked<Nothing, Nothing, Nothing>) -> Result<Users, Refusal> {
    Ok(Users { items: asked.desk().users()?.into_iter().map(UserView::from).collect() })
}

fn get(asked: Asked<ByName, Nothing, Nothing>) -> Result<UserView, Refusal> {
    Ok(asked.desk().user(&asked.path.name)?.into())
}

/// A user to add.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// 1 to 64 letters, digits, dots, dashes and underscores.
    name: String,
    /// The name of a role.
    role: String,
    /// A query for the computers of the scope; absent for all.
    computers: Option<String>,
    /// The families of packages of the scope; absent or empty for all. A star at the end stands for anything.
    families: Option<Vec<String>>,
}

/// A password that is told this once.
#[derive(JsonSchema, Serialize)]
struct OneTimePassword {
    /// Whose.
    name: String,
    /// Good for one sign-in.
    one_time_password: String,
}

fn scope(computers: Option<&str>, families: Option<&[String]>) -> Result<Scope, Refusal> {
    let computers = Scope::parse(computers, None).map_err(|error| Refusal::from(error).about("computers"))?.computers;
    let families: Result<_, InvalidAccess> = families.unwrap_or_default().iter().map(|text| text.parse()).collect();
    Ok(Scope { computers, families: families.map_err(|error| Refusal::from(error).about("families"))? })
}

fn add(asked: Asked<Nothing, Nothing, NewUser>) -> Result<OneTimePassword, Refusal> {
    let body = &asked.body;
    let password = accounts::random_password()?;
    let scope = scope(body.computers.as_deref(), body.families.as_deref())?;
    asked.desk().add_user(&body.name, &password, true, &body.role, scope)?;
    Ok(OneTimePassword { name: body.name.clone(), one_time_password: password })
}

/// What is to be changed; what is absent stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    /// The name of a role.
    role: Option<String>,
    /// A query for the computers of the scope; an empty text for all.
    computers: Option<String>,
    /// The families of packages of the scope; empty for all.
    families: Option<Vec<String>>,
    /// What people call the user: at most 100 characters.
    full_name: Option<String>,
    /// Where the user is written to; an empty text for nowhere.
    mail: Option<String>,
    /// Lock the user out, or let them in again.
    disabled: Option<bool>,
}

fn change(asked: Asked<ByName, Nothing, UserChange>) -> Result<UserView, Refusal> {
    let (desk, name, body) = (asked.desk(), &asked.path.name, &asked.body);
    let user = desk.user(name)?;
    if body.role.is_some() || body.computers.is_some() || body.families.is_some() {
        let typed = scope(body.computers.as_deref(), body.families.as_deref())?;
        let scope = Scope {
            computers: if body.computers.is_some() { typed.computers } else { user.scope.computers.clone() },
            families: if body.families.is_some() { typed.families } else { user.scope.families.clone() },
        };
        desk.set_access(name, body.role.as_deref().unwrap_or(&user.role), scope)?;
    }
    if body.full_name.is_some() || body.mail.is_some() {
        let full_name = body.full_name.as_deref().unwrap_or(&user.full_name);
        desk.set_profile(name, full_name, body.mail.as_deref().unwrap_or(&user.mail))?;
    }
    if let Some(disabled) = body.disabled.filter(|disabled| *disabled != user.disabled_at.is_some()) {
        desk.set_disabled(name, disabled)?;
    }
    Ok(desk.user(name)?.into())
}

fn delete(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().delete_user(&asked.path.name)?;
    Ok(Nothing {})
}

fn reset(asked: Asked<ByName, Nothing, Nothing>) -> Result<OneTimePassword, Refusal> {
    let password = asked.desk().reset_password(&asked.path.name)?;
    Ok(OneTimePassword { name: asked.path.name, one_time_password: password })
}

fn no_codes(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().unset_codes(&asked.path.name)?;
    Ok(Nothing {})
}

/// A role.
#[derive(JsonSchema, Serialize)]
struct RoleView {
    /// Its name.
    name: String,
    /// What it is for; empty for the administrators' own.
    meaning: &'static str,
    /// What it may do.
    rights: Vec<&'static str>,
    /// Does it come with the program?
    built_in: bool,
}

impl From<RoleLine> for RoleView {
    fn from(role: RoleLine) -> Self {
        Self { rights: words(&role.rights), name: role.name, meaning: role.meaning, built_in: role.built_in }
    }
}

/// All roles.
#[derive(JsonSchema, Serialize)]
struct Roles {
    /// Those that come with the program first.
    items: Vec<RoleView>,
    /// Every right that there is.
    rights: Vec<RightView>,
}

/// Something that not everybody may do.
#[derive(JsonSchema, Serialize)]
struct RightView {
    /// Its word.
    name: &'static str,
    /// What somebody with it does.
    does: &'static str,
}

fn roles(asked: Asked<Nothing, Nothing, Nothing>) -> Result<Roles, Refusal> {
    Ok(Roles {
        items: asked.desk().roles()?.into_iter().map(RoleView::from).collect(),
        rights: Right::ALL.iter().map(|right| RightView { name: right.as_str(), does: right.does() }).collect(),
    })
}

/// What a role may do.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RoleChange {
    /// Words of rights.
    rights: Vec<String>,
}

fn rights(words: &[String]) -> Result<Rights, Refusal> {
    let rights: Result<Rights, InvalidAccess> = words.iter().map(|word| word.parse()).collect();
    rights.map_err(|error| Refusal::from(error).about("rights"))
}

fn set_role(asked: Asked<ByName, Nothing, RoleChange>) -> Result<Nothing, Refusal> {
    asked.desk().set_role(&asked.path.name, rights(&asked.body.rights)?)?;
    Ok(Nothing {})
}

fn delete_role(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().delete_role(&asked.path.name)?;
    Ok(Nothing {})
}

/// A token without its secret.
#[derive(JsonSchema, Serialize)]
struct TokenView {
    /// Its number.
    id: i64,
    /// What it is for.
    name: String,
    /// Whose it is.
    user: String,
    /// What it may do, at most what its owner may.
    rights: Vec<&'static str>,
    /// The query of the computers that this holds for, within its owner's own scope; absent for all of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    computers: Option<String>,
    /// The families of packages that it holds for, likewise; empty for all of those.
    families: Vec<String>,
    /// When it was made.
    created_at: String,
    /// Until when it holds; absent for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// When it was used last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            user: token.user,
            rights: words(&token.rights),
            computers: token.scope.computers.as_ref().map(ToString::to_string),
            families: token.scope.families.iter().map(ToString::to_string).collect(),
            created_at: utc_text(token.created_at),
            expires_at: token.expires_at.map(utc_text),
            last_used_at: token.last_used_at.map(utc_text),
        }
    }
}

/// Tokens.
#[derive(JsonSchema, Serialize)]
struct Tokens {
    /// In order of their numbers.
    items: Vec<TokenView>,
}

fn tokens(asked: Asked<Nothing, Nothing, Nothing>) -> Result<Tokens, Refusal> {
    Ok(Tokens { items: asked.desk().tokens()?.into_iter().map(TokenView::from).collect() })
}

/// A token to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    /// What it is for: 1 to 60 characters.
    name: String,
    /// Words of rights.
    rights: Vec<String>,
    /// The query of the computers that they hold for, within its owner's own scope; absent or blank for all of those.
    computers: Option<String>,
    /// The families of packages that they hold for, likewise; absent or empty for all of those.
    families: Option<Vec<String>>,
    /// Until when it holds, such as `2027-01-01T00:00:00Z`; absent for ever.
    expires_at: Option<String>,
}

/// A token with its secret, which is told this once.
#[derive(JsonSchema, Serialize)]
struct TokenMade {
    /// Its number.
    id: i64,
    /// What to send as `Authorization: Bearer …`.
    secret: String,
}

fn create_token(asked: Asked<Nothing, Nothing, NewToken>) -> Result<TokenMade, Refusal> {
    let body = &asked.body;
    let moment = |text: &str| {
        clock::parse(text)
            .ok_or_else(|| Refusal::invalid("expires_at is a moment such as 2027-01-01T00:00:00Z").about("expires_at"))
    };
    let expires_at = body.expires_at.as_deref().map(moment).transpose()?;
    let scope = scope(body.computers.as_deref(), body.families.as_deref())?;
    let (id, secret) = asked.desk().create_token(&body.name, rights(&body.rights)?, scope, expires_at)?;
    Ok(TokenMade { id, secret })
}

fn delete_token(asked: Asked<ById, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().delete_token(asked.path.id)?;
    Ok(Nothing {})
}

/// Somebody who is signed in with a browser.
#[derive(JsonSchema, Serialize)]
struct SessionView {
    /// Who.
    user: String,
    /// Since when.
    created_at: String,
    /// When something was asked for last, to the minute.
    seen_at: String,
    /// From where.
    peer_address: String,
    /// With what.
    user_agent: String,
}

/// Sessions.
#[derive(JsonSchema, Serialize)]
struct Sessions {
    /// The newest first.
    items: Vec<SessionView>,
}

fn sessions(asked: Asked<Nothing, Nothing, Nothing>) -> Result<Sessions, Refusal> {
    let view = |session: crate::store::sessions::Session| SessionView {
        user: session.user,
        created_at: utc_text(session.created_at),
        seen_at: utc_text(session.seen_at),
        peer_address: session.peer_address,
        user_agent: session.user_agent,
    };
    Ok(Sessions { items: asked.desk().sessions()?.into_iter().map(view).collect() })
}
