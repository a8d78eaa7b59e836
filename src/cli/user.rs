//! `dripfeed user …`

use std::io::Read as _;

use serde::Serialize;
use serde_json::json;

use super::args::{Place, ScopeOptions, UserVerb};
use super::context::{desk, open, open_or_make, refused};
use super::output::Output;
use super::{Done, Failure, terminal};
use crate::clock;
use crate::model::access::Scope;
use crate::service::accounts;
use crate::store::users::User;

pub(super) fn run(place: &Place, verb: UserVerb, output: &mut Output) -> Done {
    let app = if matches!(verb, UserVerb::Add { .. }) { open_or_make(place)? } else { open(place)? }.app;
    let desk = desk(place, app);
    match verb {
        UserVerb::Add { name, role, scope, password_stdin, json } => {
            let (password, one_time) = password(password_stdin)?;
            let scope = scope_of(&scope)?;
            desk.add_user(&name, &password, one_time, &role, scope).map_err(refused)?;
            told(&name, "added", one_time.then_some(&*password), json, output)
        }
        UserVerb::Password { name, password_stdin, json } => {
            let (password, one_time) = password(password_stdin)?;
            desk.set_password(&name, &password, one_time).map_err(refused)?;
            told(&name, "changed the password of", one_time.then_some(&*password), json, output)
        }
        UserVerb::Access { name, role, scope, json } => {
            desk.set_access(&name, &role, scope_of(&scope)?).map_err(refused)?;
            told(&name, "changed the access of", None, json, output)
        }
        UserVerb::Profile { name, full_name, mail, json } => {
            let before = desk.user(&name).map_err(refused)?;
            let full_name = full_name.unwrap_or(before.full_name);
            desk.set_profile(&name, &full_name, &mail.unwrap_or(before.mail)).map_err(refused)?;
            told(&name, "changed the profile of", None, json, output)
        }
        UserVerb::Disable { name, json } => {
            desk.set_disabled(&name, true).map_err(refused)?;
            told(&name, "locked out", None, json, output)
        }
        UserVerb::Enable { name, json } => {
            desk.set_disabled(&name, false).map_err(refused)?;
            told(&name, "let in again:", None, json, output)
        }
        UserVerb::NoCodes { name, json } => {
            desk.unset_codes(&name).map_err(refused)?;
            told(&name, "no codes are asked for from", None, json, output)
        }
        UserVerb::Delete { name, json } => {
            desk.delete_user(&name).map_err(refused)?;
            told(&name, "deleted", None, json, output)
        }
        UserVerb::List { json } => list(desk.users().map_err(refused)?, json, output),
    }
}

/// The scope that options say.
pub(super) fn scope_of(options: &ScopeOptions) -> Result<Scope, Failure> {
    Scope::parse(options.computers.as_deref(), Some(&options.families.join("\n")))
        .map_err(|error| Failure::Refused(error.into()))
}

fn list(all: Vec<User>, json: bool, output: &mut Output) -> Done {
    if json {
        #[derive(Serialize)]
        struct View {
            name: String,
            full_name: String,
            mail: String,
            role: String,
            computers: Option<String>,
            families: Vec<String>,
            disabled: bool,
            must_change_password: bool,
            codes: bool,
            created_at: String,
        }
        let views = all.into_iter().map(|user| View {
            name: user.name,
            full_name: user.full_name,
            mail: user.mail,
            role: user.role,
            computers: user.scope.computers.as_ref().map(ToString::to_string),
            families: user.scope.families.iter().map(ToString::to_string).collect(),
            disabled: user.disabled_at.is_some(),
            must_change_password: user.must_change_password,
            codes: user.one_time_secret.is_some(),
            created_at: clock::utc_text(user.created_at),
        });
        return output.json(&views.collect::<Vec<_>>());
    }
    let rows: Vec<[String; 5]> = all
        .into_iter()
        .map(|user| {
            let state = match (user.disabled_at, user.must_change_password) {
                (Some(_), _) => "disabled",
                (None, true) => "one-time password",
                (None, false) => "active",
            };
            let computers = user.scope.computers.as_ref().map(|query| format!("computers {query}"));
            let families = user.scope.families_text().map(|lines| format!("families {}", lines.replace('\n', ", ")));
            let scope: Vec<String> = computers.into_iter().chain(families).collect();
            let scope = if scope.is_empty() { "everything".to_owned() } else { scope.join("; ") };
            [user.name, user.role, state.to_owned(), clock::local_text(user.created_at), scope]
        })
        .collect();
    output.table(["NAME", "ROLE", "STATE", "ADDED", "SCOPE"], &rows)
}

/// What was given on standard input, or a one-time password of ours.
fn password(from_stdin: bool) -> Result<(String, bool), Failure> {
    if !from_stdin {
        return Ok((accounts::random_password()?, true));
    }
    let mut text = String::new();
    terminal::input().take(4096).read_to_string(&mut text)?;
    Ok((text.trim_end_matches(['\r', '\n']).to_owned(), false))
}

fn told(name: &str, done: &str, one_time: Option<&str>, json: bool, output: &mut Output) -> Done {
    if json {
        let mut view = json!({ "name": name });
        if let Some(password) = one_time {
            view["one_time_password"] = password.into();
        }
        return output.json(&view);
    }
    output.line(format_args!("{done} {name}"))?;
    one_time.map_or(Ok(()), |password| output.line(format_args!("one-time password: {password}")))
}
