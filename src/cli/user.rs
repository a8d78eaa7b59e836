//! `dripfeed user …`

use std::io::Read as _;

use serde::Serialize;

use super::args::{Place, UserVerb};
use super::context::{open, open_or_make};
use super::output::Output;
use super::{Done, Failure};
use crate::clock;
use crate::model::access::Scope;
use crate::service::accounts::{self, AccountError};
use crate::store::users;

pub(super) fn run(place: &Place, verb: UserVerb, output: &mut Output) -> Done {
    let app = if matches!(verb, UserVerb::Add { .. }) { open_or_make(place)? } else { open(place)? }.app;
    let refuse = |error: AccountError| match error {
        AccountError::Store(_) | AccountError::Hash(_) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    };
    match verb {
        UserVerb::Add { name, password_stdin } => {
            let (password, one_time) = password(password_stdin)?;
            accounts::add(&app, &name, &password, one_time, accounts::ADMINISTRATOR, Scope::ALL).map_err(refuse)?;
            output.line(format_args!("added {name}"))?;
            tell(one_time, &password, output)
        }
        UserVerb::Password { name, password_stdin } => {
            let (password, one_time) = password(password_stdin)?;
            accounts::set_password(&app, &name, &password, one_time).map_err(refuse)?;
            output.line(format_args!("changed the password of {name}"))?;
            tell(one_time, &password, output)
        }
        UserVerb::List { json } => {
            let all = app.store.read_now(users::list)?;
            if json {
                #[derive(Serialize)]
                struct View {
                    name: String,
                    must_change_password: bool,
                    created_at: String,
                }
                let views = all.into_iter().map(|user| View {
                    name: user.name,
                    must_change_password: user.must_change_password,
                    created_at: clock::utc_text(user.created_at),
                });
                return output.json(&views.collect::<Vec<_>>());
            }
            let rows: Vec<[String; 3]> = all
                .into_iter()
                .map(|user| {
                    let password = if user.must_change_password { "one-time" } else { "set" };
                    [user.name, password.to_owned(), clock::local_text(user.created_at)]
                })
                .collect();
            output.table(["NAME", "PASSWORD", "ADDED"], &rows)
        }
    }
}

/// What was given on standard input, or a one-time password of ours.
fn password(from_stdin: bool) -> Result<(String, bool), Failure> {
    if !from_stdin {
        return Ok((accounts::random_password()?, true));
    }
    let mut text = String::new();
    std::io::stdin().take(4096).read_to_string(&mut text)?;
    Ok((text.trim_end_matches(['\r', '\n']).to_owned(), false))
}

fn tell(one_time: bool, password: &str, output: &mut Output) -> Done {
    if one_time {
        output.line(format_args!("one-time password: {password}"))?;
    }
    Ok(())
}
