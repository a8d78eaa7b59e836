//! `/users`: who may sign in, with which role and for which part of the fleet; `/users/roles`: what roles may do.

use askama::Template;

use super::call::{Call, Page, View, get, post};
use super::shell::Shell;
use super::show::unhex;
use super::toast::Undo;
use crate::model::access::{Right, Rights, Scope};
use crate::service::accounts;
use crate::service::desk::people::{RoleLine, ScopePreview};
use crate::service::desk::{Kind, Refusal};
use crate::store::sessions::{SecretDigest, Session, Token};
use crate::store::users::User;

pub(super) fn pages() -> Vec<Page> {
    let right = Right::EditUsers;
    vec![
        get("/users", right, list),
        get("/users/new", right, new),
        post("/users", right, add),
        post("/users/preview", right, preview),
        get("/users/one/{name}", right, one),
        post("/users/one/{name}/access", right, access),
        post("/users/one/{name}/password", right, password),
        post("/users/one/{name}/profile", right, profile),
        post("/users/one/{name}/codes", right, codes),
        post("/users/one/{name}/disable", right, disable),
        post("/users/one/{name}/enable", right, enable),
        post("/users/one/{name}/delete", right, delete),
        post("/users/sessions/end", right, end_session),
        post("/users/tokens/delete", right, delete_token),
        get("/users/roles", right, roles),
        get("/users/roles/edit", right, edit_role),
        post("/users/roles", right, set_role),
        post("/users/roles/delete", right, delete_role),
    ]
}

#[derive(Template)]
#[template(path = "users.html")]
struct List {
    shell: Shell,
    users: Vec<User>,
    online: Vec<String>,
}

impl List {
    fn is_online(&self, user: &User) -> bool {
        self.online.contains(&user.name)
    }
}

fn list(call: &Call) -> Result<View, Refusal> {
    let online = call.desk().sessions()?.into_iter().map(|session| session.user).collect();
    call.page(&List { shell: call.shell("Users and roles", "/users"), users: call.desk().users()?, online })
}

/// Role and scope in a form, as typed.
struct AccessForm {
    role: String,
    computers: String,
    families: String,
    roles: Vec<RoleLine>,
    preview: Preview,
    error: Option<Refusal>,
}

impl AccessForm {
    fn of(call: &Call, user: Option<&User>, error: Option<Refusal>) -> Result<Self, Refusal> {
        let form = &call.form;
        let (role, computers, families) = match user {
            Some(user) if form.0.is_empty() || error.is_none() => (
                user.role.clone(),
                user.scope.computers.as_ref().map(ToString::to_string).unwrap_or_default(),
                user.scope.families_text().unwrap_or_default(),
            ),
            _ => (
                form.some("role").unwrap_or("viewer").to_owned(),
                form.get("computers").to_owned(),
                form.get("families").to_owned(),
            ),
        };
        Ok(Self {
            preview: Preview::of(call, &computers),
            role,
            computers,
            families,
            roles: call.desk().roles()?,
            error,
        })
    }

    fn error_of(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|error| error.field == Some(field)).map(Refusal::for_people)
    }
}

/// How many computers a scope holds, or why that cannot be told.
#[derive(Template)]
#[template(path = "users-preview.html")]
struct Preview {
    asked: bool,
    found: Option<ScopePreview>,
    problem: Option<String>,
}

impl Preview {
    fn of(call: &Call, computers: &str) -> Self {
        let asked = !computers.trim().is_empty();
        match asked.then(|| call.desk().preview_scope(computers)) {
            None => Self { asked, found: None, problem: None },
            Some(Ok(found)) => Self { asked, found: Some(found), problem: None },
            Some(Err(refusal)) => Self { asked, found: None, problem: Some(refusal.for_people().to_owned()) },
        }
    }
}

fn preview(call: &Call) -> Result<View, Refusal> {
    call.page(&Preview::of(call, call.form.get("computers")))
}

/// The scope that a form says.
pub(super) fn scope(call: &Call) -> Result<Scope, Refusal> {
    let form = &call.form;
    let computers = Scope::parse(form.some("computers"), None);
    let computers = computers.map_err(|error| Refusal::from(error).about("computers"))?.computers;
    let families = Scope::parse(None, form.some("families"));
    let families = families.map_err(|error| Refusal::from(error).about("families"))?.families;
    Ok(Scope { computers, families })
}

#[derive(Template)]
#[template(path = "users-new.html")]
struct New {
    shell: Shell,
    name: String,
    access: AccessForm,
}

impl New {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        Ok(Self {
            shell: call.shell("New user", "/users"),
            name: call.form.get("name").to_owned(),
            access: AccessForm::of(call, None, error)?,
        })
    }
}

/// A password that is shown this once.
#[derive(Template)]
#[template(path = "users-password.html")]
struct OneTime {
    shell: Shell,
    name: String,
    password: String,
    is_new: bool,
}

fn new(call: &Call) -> Result<View, Refusal> {
    call.page(&New::of(call, None)?)
}

fn add(call: &Call) -> Result<View, Refusal> {
    let name = call.form.get("name").to_owned();
    let password = accounts::random_password()?;
    let added = scope(call).and_then(|scope| {
        let role = call.form.get("role");
        call.desk().add_user(&name, &password, true, role, scope)
    });
    match added {
        Ok(()) => call.page(&OneTime { shell: call.shell("New user", "/users"), name, password, is_new: true }),
        Err(refusal) if refusal.kind != Kind::Failed => {
            let field = refusal.field.unwrap_or("name");
            call.again(&New::of(call, Some(refusal.about(field)))?)
        }
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "users-one.html")]
struct One {
    shell: Shell,
    user: User,
    is_me: bool,
    access: AccessForm,
    sessions: Vec<Session>,
    tokens: Vec<Token>,
}

impl One {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        let desk = call.desk();
        let user = desk.user(call.path.get("name"))?;
        let mut sessions = desk.sessions()?;
        sessions.retain(|session| session.user == user.name);
        let mut tokens = desk.tokens()?;
        tokens.retain(|token| token.user == user.name);
        Ok(Self {
            shell: call.shell(user.name.clone(), "/users"),
            is_me: user.name == desk.actor().name,
            access: AccessForm::of(call, Some(&user), error)?,
            user,
            sessions,
            tokens,
        })
    }
}

fn one(call: &Call) -> Result<View, Refusal> {
    call.page(&One::of(call, None)?)
}

fn address(name: &str) -> String {
    // A user's name has no letter that an address would escape.
    format!("/users/one/{name}")
}

/// What was refused is said on the user's page.
fn said(call: &Call, done: Result<(), Refusal>, sentence: String) -> Result<View, Refusal> {
    match done {
        Ok(()) => View::done(address(call.path.get("name")), sentence),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict | Kind::Forbidden) => {
            call.again(&One::of(call, Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

fn access(call: &Call) -> Result<View, Refusal> {
    let name = call.path.get("name");
    let done = scope(call).and_then(|scope| call.desk().set_access(name, call.form.get("role"), scope));
    said(call, done, format!("{name} has the role and the scope from their next click on."))
}

fn profile(call: &Call) -> Result<View, Refusal> {
    let name = call.path.get("name");
    let before = call.desk().user(name)?;
    match call.desk().set_profile(name, call.form.get("full_name"), call.form.get("mail")) {
        Ok(()) => {
            let undo = Undo::new(format!("{}/profile", address(name)))
                .with("full_name", before.full_name)
                .with("mail", before.mail);
            View::undoable(address(name), "Name and mail were changed.", undo)
        }
        refused => said(call, refused, String::new()),
    }
}

fn password(call: &Call) -> Result<View, Refusal> {
    let name = call.path.get("name").to_owned();
    match call.desk().reset_password(&name) {
        Ok(password) => {
            call.page(&OneTime { shell: call.shell(name.clone(), "/users"), name, password, is_new: false })
        }
        Err(refusal) => said(call, Err(refusal), String::new()),
    }
}

fn codes(call: &Call) -> Result<View, Refusal> {
    let name = call.path.get("name");
    let done = call.desk().unset_codes(name);
    said(call, done, format!("{name} is not asked for codes any more."))
}

fn disable(call: &Call) -> Result<View, Refusal> {
    let name = call.path.get("name");
    match call.desk().set_disabled(name, true) {
        Ok(()) => View::undoable(
            address(name),
            format!("{name} is locked out, and signed out everywhere."),
            Undo::new(format!("{}/enable", address(name))),
        ),
        refused => said(call, refused, String::new()),
    }
}

fn enable(call: &Call) -> Result<View, Refusal> {
    let name = call.path.get("name");
    let done = call.desk().set_disabled(name, false);
    said(call, done, format!("{name} may sign in again."))
}

fn delete(call: &Call) -> Result<View, Refusal> {
    let name = call.path.get("name");
    match call.desk().delete_user(name) {
        Ok(()) => View::done("/users", format!("{name} was deleted, with their sessions and tokens.")),
        Err(refusal) => said(call, Err(refusal), String::new()),
    }
}

fn end_session(call: &Call) -> Result<View, Refusal> {
    let digest = unhex(call.form.get("session")).and_then(|bytes| SecretDigest::try_from(bytes).ok());
    let digest = digest.ok_or_else(|| Refusal::invalid("say which session").about("session"))?;
    let sessions = call.desk().sessions()?;
    let owner = sessions.iter().find(|session| session.digest == digest).map(|session| session.user.clone());
    call.desk().end_session(digest)?;
    View::done(owner.map_or_else(|| "/users".to_owned(), |name| address(&name)), "The session was ended.")
}

fn delete_token(call: &Call) -> Result<View, Refusal> {
    let id = call.form.parse::<i64>("token")?;
    let owner = call.desk().tokens()?.into_iter().find(|token| token.id == id).map(|token| token.user);
    call.desk().delete_token(id)?;
    View::done(owner.map_or_else(|| "/users".to_owned(), |name| address(&name)), "The token was taken back.")
}

#[derive(Template)]
#[template(path = "users-roles.html")]
struct Roles {
    shell: Shell,
    lines: Vec<RoleLine>,
    users: Vec<User>,
    error: Option<Refusal>,
}

impl Roles {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        let desk = call.desk();
        Ok(Self { shell: call.shell("Roles", "/users"), lines: desk.roles()?, users: desk.users()?, error })
    }

    fn holders(&self, role: &RoleLine) -> u64 {
        self.users.iter().filter(|user| user.role == role.name).count() as u64
    }
}

fn roles(call: &Call) -> Result<View, Refusal> {
    call.page(&Roles::of(call, None)?)
}

#[derive(Template)]
#[template(path = "users-role.html")]
struct EditRole {
    shell: Shell,
    name: String,
    exists: bool,
    rights: Vec<(Right, bool)>,
    error: Option<Refusal>,
}

impl EditRole {
    fn error_of(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|error| error.field == Some(field)).map(Refusal::for_people)
    }
}

fn boxes(call: &Call, ticked: impl Fn(Right) -> bool) -> Vec<(Right, bool)> {
    call.desk().actor().rights.iter().map(|right| (right, ticked(right))).collect()
}

fn edit_role(call: &Call) -> Result<View, Refusal> {
    let name = call.query.get("name");
    let role = call.desk().roles()?.into_iter().find(|role| role.name == name && !role.built_in);
    if !name.is_empty() && role.is_none() {
        return Err(Refusal::not_found(format!("there is no role \"{name}\" that could be changed")));
    }
    // A new role may begin as another one.
    let base = call.query.get("from");
    let base = call.desk().roles()?.into_iter().find(|role| role.name == base);
    let rights = role.as_ref().or(base.as_ref()).map(|role| role.rights.clone()).unwrap_or_default();
    call.page(&EditRole {
        shell: call.shell(if name.is_empty() { "New role" } else { name }, "/users"),
        name: name.to_owned(),
        exists: role.is_some(),
        rights: boxes(call, |right| rights.contains(right)),
        error: None,
    })
}

fn set_role(call: &Call) -> Result<View, Refusal> {
    let form = &call.form;
    let name = form.get("name").to_owned();
    let exists = form.is_on("exists");
    let before = call.desk().roles()?.into_iter().find(|role| role.name == name);
    let done = (|| {
        let rights: Rights = form.all("right").map(str::parse).collect::<Result<_, _>>()?;
        if !exists && call.desk().roles()?.iter().any(|role| role.name == name) {
            return Err(Refusal::conflict(format!("there is a role \"{name}\" already")).about("name"));
        }
        call.desk().set_role(&name, rights)
    })();
    match done {
        Ok(()) => {
            let text = format!("The role {name} holds for everybody who has it, at once.");
            View::undoable("/users/roles", text, role_back(&name, before.as_ref()))
        }
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict | Kind::Forbidden) => {
            call.again(&EditRole {
                shell: call.shell("Role", "/users"),
                rights: boxes(call, |right| form.all("right").any(|word| word == right.as_str())),
                name,
                exists,
                error: Some(refusal),
            })
        }
        Err(refusal) => Err(refusal),
    }
}

/// Makes a role again what it was.
fn role_back(name: &str, before: Option<&RoleLine>) -> Undo {
    let Some(before) = before else { return Undo::new("/users/roles/delete").with("name", name) };
    let undo = Undo::new("/users/roles").with("name", name).with("exists", "1");
    before.rights.iter().fold(undo, |undo, right| undo.with("right", right.as_str()))
}

fn delete_role(call: &Call) -> Result<View, Refusal> {
    let name = call.form.get("name");
    let before = call.desk().roles()?.into_iter().find(|role| role.name == name);
    match call.desk().delete_role(name) {
        Ok(()) => {
            View::undoable("/users/roles", format!("The role {name} was deleted."), role_back(name, before.as_ref()))
        }
        Err(refusal) if refusal.kind == Kind::Conflict => call.again(&Roles::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}
