//! Administrators and the roles of their own making.

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, millis, text, time};
use super::schema::{roles, users};
use super::{Conn, StoreError};
use crate::model::UnixTime;
use crate::model::access::{Rights, Scope};

/// A local user.
#[derive(Clone, Debug)]
pub struct User {
    /// The name to sign in with.
    pub name: String,
    /// Argon2id, in PHC form.
    pub password_hash: String,
    /// Must the password be changed at the first sign-in?
    pub must_change_password: bool,
    /// What people call the user; may be empty.
    pub full_name: String,
    /// Where the user is written to; may be empty.
    pub mail: String,
    /// The name of a role.
    pub role: String,
    /// What the role holds for.
    pub scope: Scope,
    /// The secret of one-time codes, if they are asked for.
    pub one_time_secret: Option<Vec<u8>>,
    /// The last step of time whose code was used: a code is good for one sign-in.
    pub one_time_step: i64,
    /// Since when nobody can sign in as this user.
    pub disabled_at: Option<UnixTime>,
    /// When the user signed in last.
    pub last_sign_in: Option<UnixTime>,
    /// When it was made.
    pub created_at: UnixTime,
}

/// A role of the administrators' own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
    /// When it was made.
    pub created_at: UnixTime,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
struct UserRow {
    name: String,
    password_hash: String,
    must_change_password: bool,
    full_name: String,
    mail: String,
    role: String,
    computers: Option<String>,
    families: Option<String>,
    one_time_secret: Option<Vec<u8>>,
    one_time_step: i64,
    disabled_at: Option<i64>,
    last_sign_in: Option<i64>,
    created_at: i64,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        let scope = Scope::parse(row.computers.as_deref(), row.families.as_deref());
        let scope = At("users", row.name.as_str()).check(scope)?;
        Ok(Self {
            name: row.name,
            password_hash: row.password_hash,
            must_change_password: row.must_change_password,
            full_name: row.full_name,
            mail: row.mail,
            role: row.role,
            scope,
            one_time_secret: row.one_time_secret,
            one_time_step: row.one_time_step,
            disabled_at: time(row.disabled_at),
            last_sign_in: time(row.last_sign_in),
            created_at: UnixTime::from_millis(row.created_at),
        })
    }
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = roles)]
struct RoleRow {
    name: String,
    rights: String,
    created_at: i64,
}

/// Inserts a user. False if the name is taken.
pub fn create(conn: &mut Conn, user: &User) -> Result<bool, StoreError> {
    let row = UserRow {
        name: text(&user.name).into_owned(),
        password_hash: user.password_hash.clone(),
        must_change_password: user.must_change_password,
        full_name: text(&user.full_name).into_owned(),
        mail: text(&user.mail).into_owned(),
        role: text(&user.role).into_owned(),
        computers: user.scope.computers.as_ref().map(ToString::to_string),
        families: user.scope.families_text(),
        one_time_secret: user.one_time_secret.clone(),
        one_time_step: user.one_time_step,
        disabled_at: millis(user.disabled_at),
        last_sign_in: millis(user.last_sign_in),
        created_at: user.created_at.millis(),
    };
    Ok(q!(conn => diesel::insert_into(users::table).values(&row).on_conflict_do_nothing().execute(conn))? > 0)
}

/// Changes a password. False if there is no such user.
pub fn set_password(conn: &mut Conn, name: &str, password_hash: &str, must_change: bool) -> Result<bool, StoreError> {
    let changed = q!(conn => diesel::update(users::table.find(text(name)))
        .set((users::password_hash.eq(password_hash), users::must_change_password.eq(must_change)))
        .execute(conn))?;
    Ok(changed > 0)
}

/// Writes what people call a user, and where they are written to. False if there is no such user.
pub fn set_profile(conn: &mut Conn, name: &str, full_name: &str, mail: &str) -> Result<bool, StoreError> {
    let changed = q!(conn => diesel::update(users::table.find(text(name)))
        .set((users::full_name.eq(text(full_name)), users::mail.eq(text(mail))))
        .execute(conn))?;
    Ok(changed > 0)
}

/// Gives a user a role and a scope. False if there is no such user.
pub fn set_access(conn: &mut Conn, name: &str, role: &str, scope: &Scope) -> Result<bool, StoreError> {
    let computers = scope.computers.as_ref().map(ToString::to_string);
    let changed = q!(conn => diesel::update(users::table.find(text(name)))
        .set((
            users::role.eq(text(role)),
            users::computers.eq(computers.as_deref()),
            users::families.eq(scope.families_text()),
        ))
        .execute(conn))?;
    Ok(changed > 0)
}

/// Locks a user out, or lets them in again. False if there is no such user.
pub fn set_disabled(conn: &mut Conn, name: &str, since: Option<UnixTime>) -> Result<bool, StoreError> {
    let changed = q!(conn => diesel::update(users::table.find(text(name)))
        .set(users::disabled_at.eq(millis(since)))
        .execute(conn))?;
    Ok(changed > 0)
}

/// Sets or takes away the secret of one-time codes. False if there is no such user.
pub fn set_one_time_secret(conn: &mut Conn, name: &str, secret: Option<&[u8]>) -> Result<bool, StoreError> {
    let changed = q!(conn => diesel::update(users::table.find(text(name)))
        .set((users::one_time_secret.eq(secret), users::one_time_step.eq(0)))
        .execute(conn))?;
    Ok(changed > 0)
}

/// Uses up a step of one-time codes. False if it, or a later one, was used before.
pub fn use_step(conn: &mut Conn, name: &str, step: i64) -> Result<bool, StoreError> {
    let user = users::table.find(text(name)).filter(users::one_time_step.lt(step));
    Ok(q!(conn => diesel::update(user).set(users::one_time_step.eq(step)).execute(conn))? > 0)
}

/// Notes a sign-in.
pub fn set_last_sign_in(conn: &mut Conn, name: &str, at: UnixTime) -> Result<(), StoreError> {
    q!(conn => diesel::update(users::table.find(text(name)))
        .set(users::last_sign_in.eq(at.millis()))
        .execute(conn))?;
    Ok(())
}

/// Deletes a user with sessions and tokens. False if there is no such user.
pub fn delete(conn: &mut Conn, name: &str) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::delete(users::table.find(text(name))).execute(conn))? > 0)
}

/// One user.
pub fn find(conn: &mut Conn, name: &str) -> Result<Option<User>, StoreError> {
    let query = users::table.find(text(name));
    q!(conn => query.select(UserRow::as_select()).first(conn).optional())?.map(User::try_from).transpose()
}

/// Every user, by name.
pub fn list(conn: &mut Conn) -> Result<Vec<User>, StoreError> {
    let query = users::table;
    let rows: Vec<UserRow> = q!(conn => query.select(UserRow::as_select()).load(conn))?;
    let mut found = rows.into_iter().map(User::try_from).collect::<Result<Vec<_>, _>>()?;
    // Here, because the two databases do not agree on an order of letters.
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Makes or changes a role.
pub fn set_role(conn: &mut Conn, role: &Role) -> Result<(), StoreError> {
    let row = RoleRow {
        name: text(&role.name).into_owned(),
        rights: role.rights.to_string(),
        created_at: role.created_at.millis(),
    };
    q!(conn => diesel::insert_into(roles::table)
        .values(&row)
        .on_conflict(roles::name)
        .do_update()
        .set(roles::rights.eq(&row.rights))
        .execute(conn))?;
    Ok(())
}

/// Deletes a role. False if there is none of that name.
pub fn delete_role(conn: &mut Conn, name: &str) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::delete(roles::table.find(text(name))).execute(conn))? > 0)
}

/// One role of the administrators' own.
pub fn find_role(conn: &mut Conn, name: &str) -> Result<Option<Role>, StoreError> {
    let query = roles::table.find(text(name));
    q!(conn => query.select(RoleRow::as_select()).first(conn).optional())?.map(role).transpose()
}

/// All of them, by name.
pub fn list_roles(conn: &mut Conn) -> Result<Vec<Role>, StoreError> {
    let rows: Vec<RoleRow> = q!(conn => roles::table.select(RoleRow::as_select()).load(conn))?;
    let mut found = rows.into_iter().map(role).collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn role(row: RoleRow) -> Result<Role, StoreError> {
    let rights = At("roles", row.name.as_str()).check(row.rights.parse())?;
    Ok(Role { name: row.name, rights, created_at: UnixTime::from_millis(row.created_at) })
}
