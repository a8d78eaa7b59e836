//! People and programs: users, roles, tokens, sessions. Everybody may manage their own password, codes and tokens.

use serde_json::json;

use super::super::accounts::{self, AccountError};
use super::super::approvals;
use super::super::codes;
use super::super::guesses::Guesses;
use super::super::query::{self, AskError};
use super::super::signin::{self, Proof, SignInError};
use super::{Change, Desk, Refusal, Via};
use crate::model::access::{BUILT_IN_ROLES, Right, Rights, Scope};
use crate::model::{UnixTime, is_name};
use crate::store::sessions::{self, SecretDigest, Session, Token};
use crate::store::users::{self, Role, User};
use crate::store::{Conn, StoreError, recovery, search};

/// Tokens of one user.
const MOST_TOKENS: usize = 100;

/// A role with where it comes from.
#[derive(Clone, Debug)]
pub struct RoleLine {
    /// Its name.
    pub name: String,
    /// What it is for; empty for the administrators' own.
    pub meaning: &'static str,
    /// What it may do.
    pub rights: Rights,
    /// Does it come with the program?
    pub built_in: bool,
}

/// What a scope would hold.
#[derive(Clone, Debug)]
pub struct ScopePreview {
    /// How many computers, at most [`ScopePreview::MOST`].
    pub count: usize,
    /// Are there more?
    pub more: bool,
    /// The names of the first of them.
    pub first: Vec<String>,
}

impl ScopePreview {
    /// Counted no further than this.
    pub const MOST: usize = 1000;
}

impl Desk {
    /// The actor's own account.
    pub fn myself(&self) -> Result<User, Refusal> {
        self.user_row(&self.actor.name)
    }

    /// Every user.
    pub fn users(&self) -> Result<Vec<User>, Refusal> {
        Ok(self.reading(Right::EditUsers)?.store.read_now(users::list)?)
    }

    /// One user.
    pub fn user(&self, name: &str) -> Result<User, Refusal> {
        self.allow(Right::EditUsers)?;
        self.user_row(name)
    }

    fn user_row(&self, name: &str) -> Result<User, Refusal> {
        let owned = name.to_owned();
        let found = self.app.store.read_now(move |conn| users::find(conn, &owned))?;
        found.ok_or_else(|| AccountError::Unknown(name.chars().take(64).collect()).into())
    }

    /// Adds a user.
    pub fn add_user(
        &self,
        name: &str,
        password: &str,
        must_change: bool,
        role: &str,
        scope: Scope,
    ) -> Result<(), Refusal> {
        self.may_give(role, &scope)?;
        let change = Change::new("user add", format!("user {name}")).after(access(role, &scope));
        let app = self.changing(Right::EditUsers, change)?;
        Ok(accounts::add(&app, name, password, must_change, role, scope)?)
    }

    /// Gives a user another role and scope. Somebody who can manage users remains.
    pub fn set_access(&self, name: &str, role: &str, scope: Scope) -> Result<(), Refusal> {
        let user = self.user(name)?;
        self.may_touch(&user)?;
        self.may_give(role, &scope)?;
        let change = Change::new("user access", format!("user {name}"))
            .before(access(&user.role, &user.scope))
            .after(access(role, &scope));
        let app = self.changing(Right::EditUsers, change)?;
        let (name, role) = (name.to_owned(), role.to_owned());
        Ok(app.store.write_now(move |conn| -> Result<(), AccountError> {
            if accounts::rights_of(conn, &role)?.is_none() {
                return Err(AccountError::Role(role));
            }
            users::set_access(conn, &name, &role, &scope)?;
            somebody_manages(conn, &name)
        })?)
    }

    /// Writes what people call a user, and where they are written to: one's own, or anybody's for whoever manages users.
    pub fn set_profile(&self, name: &str, full_name: &str, mail: &str) -> Result<(), Refusal> {
        let before = if name == self.actor.name {
            self.in_person()?;
            self.myself()?
        } else {
            let user = self.user(name)?;
            self.may_touch(&user)?;
            user
        };
        let change = Change::new("user profile", format!("user {name}"))
            .before(json!({ "full_name": before.full_name, "mail": before.mail }))
            .after(json!({ "full_name": full_name.trim(), "mail": mail.trim() }));
        accounts::set_profile(&self.recorded(change), name, full_name, mail).map_err(|error| {
            let field = if matches!(error, AccountError::Mail(_)) { "mail" } else { "full_name" };
            Refusal::from(error).about(field)
        })
    }

    /// Locks a user out at once, everywhere, or lets them in again.
    pub fn set_disabled(&self, name: &str, disabled: bool) -> Result<(), Refusal> {
        let user = self.user(name)?;
        self.may_touch(&user)?;
        let now = self.app.clock.now();
        let change = Change::new(if disabled { "user disable" } else { "user enable" }, format!("user {name}"))
            .before(json!({ "disabled": user.disabled_at.is_some() }))
            .after(json!({ "disabled": disabled }));
        let app = self.changing(Right::EditUsers, change)?;
        let name = name.to_owned();
        Ok(app.store.write_now(move |conn| -> Result<(), AccountError> {
            users::set_disabled(conn, &name, disabled.then_some(now))?;
            if disabled {
                sessions::close_all(conn, &name, None)?;
                approvals::forget(conn, &name, now)?;
            }
            somebody_manages(conn, &name)
        })?)
    }

    /// Deletes a user with sessions and tokens.
    pub fn delete_user(&self, name: &str) -> Result<(), Refusal> {
        let user = self.user(name)?;
        self.may_touch(&user)?;
        let change = Change::new("user delete", format!("user {name}")).before(access(&user.role, &user.scope));
        let app = self.changing(Right::EditUsers, change)?;
        let (name, now) = (name.to_owned(), self.app.clock.now());
        Ok(app.store.write_now(move |conn| -> Result<(), AccountError> {
            users::delete(conn, &name)?;
            approvals::forget(conn, &name, now)?;
            somebody_manages(conn, &name)
        })?)
    }

    /// Sets somebody's password for one sign-in, and signs them out.
    pub fn reset_password(&self, name: &str) -> Result<String, Refusal> {
        let password = accounts::random_password()?;
        self.set_password(name, &password, true)?;
        Ok(password)
    }

    /// Sets somebody's password, and signs them out. With `must_change` it is for one sign-in.
    pub fn set_password(&self, name: &str, password: &str, must_change: bool) -> Result<(), Refusal> {
        self.may_touch(&self.user(name)?)?;
        let change = Change::new("user password", format!("user {name}")).after(json!({ "one_time": must_change }));
        let app = self.changing(Right::EditUsers, change)?;
        accounts::set_password(&app, name, password, must_change)?;
        let name = name.to_owned();
        app.store.write_now(move |conn| sessions::close_all(conn, &name, None))?;
        Ok(())
    }

    /// Changes the actor's own password, and signs them out everywhere else. Gives the secret under which the session that
    /// asked goes on: a copy of its cookie ends with the old one.
    pub fn change_my_password(
        &self,
        guesses: &Guesses,
        old: &str,
        new: &str,
        session: Option<&Session>,
    ) -> Result<Option<String>, Refusal> {
        self.in_person()?;
        self.prove(guesses, Proof { password: old, code: None }).map_err(|refusal| match refusal.field {
            Some("password") => Refusal::invalid("the present password is wrong").about("old"),
            _ => refusal,
        })?;
        if old == new {
            return Err(Refusal::invalid("the new password is the old one").about("new"));
        }
        let hash = accounts::hash(new).map_err(|error| Refusal::from(error).about("new"))?;
        let renewed = session.map(signin::renewed).transpose()?;
        let app = self.recorded(Change::new("user password", format!("user {}", self.actor.name)));
        let (name, row) = (self.actor.name.clone(), renewed.as_ref().map(|(_, session)| session.clone()));
        app.store.write_now(move |conn| -> Result<(), StoreError> {
            users::set_password(conn, &name, &hash, false)?;
            sessions::close_all(conn, &name, None)?;
            row.map_or(Ok(()), |row| sessions::open(conn, &row))
        })?;
        Ok(renewed.map(|(secret, _)| secret))
    }

    /// Asks the actor for one-time codes from now on. `code` proves that an authenticator has the secret, and is used up by
    /// it. Gives the recovery codes, which nobody can ask for again.
    pub fn set_my_codes(
        &self,
        guesses: &Guesses,
        secret: &[u8],
        password: &str,
        code: &str,
    ) -> Result<Vec<String>, Refusal> {
        self.in_person()?;
        if self.myself()?.one_time_secret.is_some() {
            return Err(Refusal::conflict("you are asked for codes already: switch them off first"));
        }
        let step = codes::one_time_step(secret, code.trim(), self.app.clock.now());
        let step = step
            .ok_or_else(|| Refusal::invalid("this code does not fit: type the one that is shown now").about("code"))?;
        self.prove(guesses, Proof { password, code: None })?;
        let (recovery_codes, digests) = codes::new_recovery_codes()?;
        let app = self.recorded(Change::new("user codes on", format!("user {}", self.actor.name)));
        let (name, secret) = (self.actor.name.clone(), secret.to_vec());
        app.store.write_now(move |conn| -> Result<(), StoreError> {
            users::set_one_time_secret(conn, &name, Some(&secret))?;
            users::use_step(conn, &name, step)?;
            recovery::replace(conn, &name, &digests)
        })?;
        Ok(recovery_codes)
    }

    /// New recovery codes in the place of the actor's old ones.
    pub fn renew_my_recovery_codes(&self, guesses: &Guesses, proof: Proof<'_>) -> Result<Vec<String>, Refusal> {
        self.in_person()?;
        if self.myself()?.one_time_secret.is_none() {
            return Err(Refusal::conflict("you are not asked for codes: switch them on first"));
        }
        self.prove(guesses, proof)?;
        let (recovery_codes, digests) = codes::new_recovery_codes()?;
        let app = self.recorded(Change::new("user recovery codes", format!("user {}", self.actor.name)));
        let name = self.actor.name.clone();
        app.store.write_now(move |conn| recovery::replace(conn, &name, &digests))?;
        Ok(recovery_codes)
    }

    /// How many recovery codes the actor has left.
    pub fn my_recovery_codes_left(&self) -> Result<i64, Refusal> {
        let name = self.actor.name.clone();
        Ok(self.app.store.read_now(move |conn| recovery::left(conn, &name))?)
    }

    /// Asks the actor for no more codes.
    pub fn unset_my_codes(&self, guesses: &Guesses, proof: Proof<'_>) -> Result<(), Refusal> {
        self.in_person()?;
        self.prove(guesses, proof)?;
        self.forget_codes(&self.actor.name)
    }

    /// Asks somebody else for no more codes, who has lost the authenticator.
    pub fn unset_codes(&self, name: &str) -> Result<(), Refusal> {
        if name == self.actor.name && self.actor.via != Via::CommandLine {
            self.in_person()?;
            return Err(Refusal::forbidden(
                "your own codes are switched off in the console, on your account's page, with your password and a code",
            ));
        }
        self.may_touch(&self.user(name)?)?;
        self.forget_codes(name)
    }

    fn forget_codes(&self, name: &str) -> Result<(), Refusal> {
        let app = self.recorded(Change::new("user codes off", format!("user {name}")));
        let name = name.to_owned();
        app.store.write_now(move |conn| -> Result<(), StoreError> {
            users::set_one_time_secret(conn, &name, None)?;
            recovery::replace(conn, &name, &[])
        })?;
        Ok(())
    }

    /// The actor shows once more that they are who they are.
    fn prove(&self, guesses: &Guesses, proof: Proof<'_>) -> Result<(), Refusal> {
        signin::prove(&self.app, guesses, &self.actor, proof).map_err(|error| match error {
            SignInError::Wrong => Refusal::invalid("the password is wrong").about("password"),
            SignInError::CodeNeeded | SignInError::CodeWrong => Refusal::invalid(error.to_string()).about("code"),
            other => other.into(),
        })
    }

    /// Who is signed in: everybody for whoever manages users, else the actor.
    pub fn sessions(&self) -> Result<Vec<Session>, Refusal> {
        let now = self.app.clock.now();
        let mut all = self.app.store.read_now(move |conn| sessions::list(conn, now))?;
        if !self.may(Right::EditUsers) {
            all.retain(|session| session.user == self.actor.name);
        }
        Ok(all)
    }

    /// Where the actor is signed in, the newest first.
    pub fn my_sessions(&self) -> Result<Vec<Session>, Refusal> {
        let mut all = self.sessions()?;
        all.retain(|session| session.user == self.actor.name);
        Ok(all)
    }

    /// Ends every session of the actor but one. Gives how many there were.
    pub fn end_my_other_sessions(&self, but: Option<&SecretDigest>) -> Result<usize, Refusal> {
        self.in_person()?;
        let app = self.recorded(Change::new("sign out everywhere else", format!("user {}", self.actor.name)));
        let (name, but) = (self.actor.name.clone(), but.copied());
        Ok(app.store.write_now(move |conn| sessions::close_all(conn, &name, but.as_ref()))?)
    }

    /// Ends a session: one's own, or anybody's for whoever manages users.
    pub fn end_session(&self, digest: SecretDigest) -> Result<(), Refusal> {
        self.in_person()?;
        let found = self.sessions()?.into_iter().find(|session| session.digest == digest);
        let session = found.ok_or_else(|| Refusal::not_found("this session has ended"))?;
        let app = self.recorded(Change::new("sign out", format!("user {}", session.user)));
        app.store.write_now(move |conn| sessions::close(conn, &digest))?;
        Ok(())
    }

    /// Tokens: everybody's for whoever manages users, else the actor's own.
    pub fn tokens(&self) -> Result<Vec<Token>, Refusal> {
        let owner = (!self.may(Right::EditUsers)).then(|| self.actor.name.clone());
        Ok(self.app.store.read_now(move |conn| sessions::list_tokens(conn, owner.as_deref()))?)
    }

    /// Makes a token of the actor's own. Gives its number and its secret, which is shown once.
    pub fn create_token(
        &self,
        name: &str,
        rights: Rights,
        scope: Scope,
        expires_at: Option<UnixTime>,
    ) -> Result<(i64, String), Refusal> {
        self.in_person()?;
        // A token that makes a token gives no more than it has; a person's own scope may change with the person.
        let scope = if self.actor.token.is_some() { scope.within(&self.actor.scope) } else { scope };
        if Scope::parse(None, scope.families_text().as_deref()).is_err() {
            return Err(Refusal::invalid("these families and yours have nothing in common").about("families"));
        }
        self.create_token_of(&self.actor.name, &self.actor.rights, name, (rights, scope), expires_at)
    }

    /// Makes a token of a user's: only on the machine itself, where whoever asks could read the database anyway.
    pub fn create_token_for(
        &self,
        owner: &str,
        name: &str,
        rights: Rights,
        scope: Scope,
        expires_at: Option<UnixTime>,
    ) -> Result<(i64, String), Refusal> {
        if self.actor.via != Via::CommandLine {
            return Err(Refusal::forbidden("a token is made by its owner, or on the server itself"));
        }
        let user = self.user(owner)?;
        let role = user.role.clone();
        let most = self.app.store.read_now(move |conn| accounts::rights_of(conn, &role))?.unwrap_or_default();
        self.create_token_of(&user.name, &most, name, (rights, scope), expires_at)
    }

    fn create_token_of(
        &self,
        owner: &str,
        most: &Rights,
        name: &str,
        (rights, scope): (Rights, Scope),
        expires_at: Option<UnixTime>,
    ) -> Result<(i64, String), Refusal> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > 60 || name.contains(char::is_control) {
            return Err(
                Refusal::invalid("the name of a token is 1 to 60 characters that say what it is for").about("name")
            );
        }
        if let Some(right) = rights.exceed(most) {
            return Err(Refusal::forbidden(format!("a token cannot hold {right}, which its owner does not have"))
                .about("rights"));
        }
        let now = self.app.clock.now();
        if expires_at.is_some_and(|end| end <= now) {
            return Err(Refusal::invalid("the token would have ended already").about("expires"));
        }
        let wanted = owner.to_owned();
        let present = self.app.store.read_now(move |conn| sessions::list_tokens(conn, Some(&wanted)))?;
        if present.len() >= MOST_TOKENS {
            return Err(Refusal::conflict(format!("there are {MOST_TOKENS} tokens already: take some back first")));
        }
        let change = Change::new("token create", format!("token {name} of {owner}")).after(json!({
            "rights": rights.to_string(),
            "computers": scope.computers.as_ref().map(ToString::to_string),
            "families": scope.families_text(),
            "expires_at": expires_at.map(crate::clock::utc_text),
        }));
        let token = Token {
            id: 0,
            name: name.to_owned(),
            user: owner.to_owned(),
            rights,
            scope,
            created_at: now,
            expires_at,
            last_used_at: None,
            last_peer: String::new(),
        };
        Ok(signin::new_token(&self.recorded(change), &token)?)
    }

    /// Takes a token back at once.
    pub fn delete_token(&self, id: i64) -> Result<(), Refusal> {
        self.in_person()?;
        let found = self.tokens()?.into_iter().find(|token| token.id == id);
        let token = found.ok_or_else(|| Refusal::not_found(format!("there is no token {id}")))?;
        let app = self.recorded(Change::new("token delete", format!("token {} of {}", token.name, token.user)));
        app.store.write_now(move |conn| sessions::delete_token(conn, id))?;
        Ok(())
    }

    /// The computers that a scope would hold, as far as it is quickly told.
    pub fn preview_scope(&self, computers: &str) -> Result<ScopePreview, Refusal> {
        let app = self.reading(Right::EditUsers)?;
        let (computers, now) = (computers.to_owned(), app.clock.now());
        let found = app.store.read_now(move |conn| -> Result<Vec<String>, AskError> {
            let query = query::read(conn, &computers)?;
            let found = search::computers(conn, &query, now, None, ScopePreview::MOST + 1)?;
            Ok(found.into_iter().map(|computer| computer.name).collect())
        })?;
        Ok(ScopePreview {
            count: found.len().min(ScopePreview::MOST),
            more: found.len() > ScopePreview::MOST,
            first: found.into_iter().take(5).collect(),
        })
    }

    /// Every role.
    pub fn roles(&self) -> Result<Vec<RoleLine>, Refusal> {
        let own = self.reading(Right::EditUsers)?.store.read_now(users::list_roles)?;
        let built_in = BUILT_IN_ROLES.iter().map(|(name, meaning, rights)| RoleLine {
            name: (*name).to_owned(),
            meaning,
            rights: rights(),
            built_in: true,
        });
        let own =
            own.into_iter().map(|role| RoleLine { name: role.name, meaning: "", rights: role.rights, built_in: false });
        Ok(built_in.chain(own).collect())
    }

    /// Makes or changes a role.
    pub fn set_role(&self, name: &str, rights: Rights) -> Result<(), Refusal> {
        if !is_name(name, 60) {
            return Err(
                Refusal::invalid("the name of a role is 1 to 60 characters, and not \".\" or \"..\"").about("name")
            );
        }
        if BUILT_IN_ROLES.iter().any(|(built_in, ..)| *built_in == name) {
            return Err(Refusal::conflict(format!("the role {name} comes with the program and stays as it is")));
        }
        if let Some(right) = rights.exceed(&self.actor.rights) {
            return Err(Refusal::forbidden(format!("you cannot give {right}, which you do not have")).about("rights"));
        }
        let before = self.roles()?.into_iter().find(|role| role.name == name);
        if let Some(right) = before.as_ref().and_then(|role| role.rights.exceed(&self.actor.rights)) {
            return Err(Refusal::forbidden(format!("the role {name} holds {right}, which you do not have")));
        }
        let change = Change::new("role set", format!("role {name}"))
            .before(before.map_or(json!(null), |role| json!({ "rights": role.rights.to_string() })))
            .after(json!({ "rights": rights.to_string() }));
        let app = self.changing(Right::EditUsers, change)?;
        let role = Role { name: name.to_owned(), rights, created_at: app.clock.now() };
        Ok(app.store.write_now(move |conn| -> Result<(), AccountError> {
            users::set_role(conn, &role)?;
            somebody_manages(conn, &role.name)
        })?)
    }

    /// Deletes a role that nobody has.
    pub fn delete_role(&self, name: &str) -> Result<(), Refusal> {
        let holders: Vec<String> =
            self.users()?.into_iter().filter(|user| user.role == name).map(|user| user.name).collect();
        if !holders.is_empty() {
            return Err(Refusal::conflict(format!(
                "the role {name} is that of {}: give them another first",
                holders.join(", ")
            )));
        }
        let app = self.changing(Right::EditUsers, Change::new("role delete", format!("role {name}")))?;
        let owned = name.to_owned();
        let unknown = Refusal::not_found(format!("there is no role \"{name}\" that could be deleted"));
        let deleted = app.store.write_now(move |conn| -> Result<(), Option<StoreError>> {
            if users::delete_role(conn, &owned)? { Ok(()) } else { Err(None) }
        });
        deleted.map_err(|error| error.map_or(unknown, Refusal::from))
    }

    /// What concerns a person's own account is not for a token: whoever found one would keep it for ever. A token that
    /// may manage users may.
    fn in_person(&self) -> Result<(), Refusal> {
        if self.actor.token.is_none() || self.may(Right::EditUsers) {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "{} is a token without the right {}: passwords, sessions and tokens are their owner's own business",
            self.actor.label(),
            Right::EditUsers
        )))
    }

    /// Nobody changes the account of somebody who may more than they: with its password they would be that somebody.
    fn may_touch(&self, user: &User) -> Result<(), Refusal> {
        self.allow(Right::EditUsers)?;
        let role = user.role.clone();
        let rights = self.app.store.read_now(move |conn| accounts::rights_of(conn, &role))?.unwrap_or_default();
        if let Some(right) = rights.exceed(&self.actor.rights) {
            return Err(Refusal::forbidden(format!("{} may {}, and you may not", user.name, right.does())));
        }
        if self.actor.scope.is_limited() && user.scope != self.actor.scope {
            return Err(Refusal::forbidden(format!("the scope of {} is not yours", user.name)));
        }
        Ok(())
    }

    /// Nobody gives more than they have: neither rights nor scope.
    fn may_give(&self, role: &str, scope: &Scope) -> Result<(), Refusal> {
        self.allow(Right::EditUsers)?;
        let owned = role.to_owned();
        let rights = self.app.store.read_now(move |conn| accounts::rights_of(conn, &owned))?;
        let rights = rights.ok_or_else(|| Refusal::from(AccountError::Role(role.to_owned())).about("role"))?;
        if let Some(right) = rights.exceed(&self.actor.rights) {
            return Err(Refusal::forbidden(format!("you cannot give {right}, which you do not have")).about("role"));
        }
        if self.actor.scope.is_limited() && *scope != self.actor.scope {
            return Err(Refusal::forbidden("you can give your own scope only").about("computers"));
        }
        Ok(())
    }
}

/// Somebody must be able to manage users, or nobody can ever again.
fn somebody_manages(conn: &mut Conn, changed: &str) -> Result<(), AccountError> {
    for user in users::list(conn)?.into_iter().filter(|user| user.disabled_at.is_none()) {
        let rights = accounts::rights_of(conn, &user.role)?.unwrap_or_default();
        if rights.contains(Right::EditUsers) && !user.scope.is_limited() {
            return Ok(());
        }
    }
    Err(AccountError::Last(changed.to_owned()))
}

fn access(role: &str, scope: &Scope) -> serde_json::Value {
    json!({
        "role": role,
        "computers": scope.computers.as_ref().map(ToString::to_string),
        "families": scope.families_text(),
    })
}
