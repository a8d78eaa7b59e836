//! `dripfeed token …`

use std::time::Duration;

use serde_json::{Value, json};

use super::Done;
use super::args::{Place, TokenVerb};
use super::context::{desk, open, refused};
use super::output::{Output, printable, say};
use super::user::scope_of;
use crate::clock;
use crate::model::access::Right;
use crate::store::sessions::Token;

pub(super) fn run(place: &Place, verb: TokenVerb, output: &mut Output) -> Done {
    let app = open(place)?.app;
    let now = app.clock.now();
    let desk = desk(place, app);
    match verb {
        TokenVerb::Create { name, user, rights, scope, days, json } => {
            let end = days.map(|days| now.plus(Duration::from_hours(24 * u64::from(days))));
            let made = desk.create_token_for(&user, &name, rights.into_iter().collect(), scope_of(&scope)?, end);
            let (id, secret) = made.map_err(refused)?;
            if json {
                return output.json(&json!({ "id": id, "secret": secret }));
            }
            output.line(secret)
        }
        TokenVerb::List { json } => {
            let all = desk.tokens().map_err(refused)?;
            if json {
                return output.json(&all.iter().map(view).collect::<Vec<Value>>());
            }
            if all.is_empty() {
                say("no tokens: `dripfeed token create NAME --user USER --rights packages.see` makes one");
                return Ok(());
            }
            let moment = |moment: Option<_>| moment.map_or_else(|| "never".to_owned(), clock::local_text);
            let rows: Vec<[String; 6]> = all
                .into_iter()
                .map(|token| {
                    [
                        token.id.to_string(),
                        printable(&token.name),
                        token.user,
                        moment(token.last_used_at),
                        moment(token.expires_at),
                        token.rights.to_string(),
                    ]
                })
                .collect();
            output.table(["ID", "NAME", "USER", "LAST USED", "ENDS", "RIGHTS"], &rows)
        }
        TokenVerb::Delete { id, json } => {
            desk.delete_token(id).map_err(refused)?;
            if json {
                return output.json(&json!({ "id": id }));
            }
            output.line(format_args!("took back token {id}"))
        }
    }
}

fn view(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "user": token.user,
        "rights": token.rights.iter().map(Right::as_str).collect::<Vec<_>>(),
        "computers": token.scope.computers.as_ref().map(ToString::to_string),
        "families": token.scope.families.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "created_at": clock::utc_text(token.created_at),
        "expires_at": token.expires_at.map(clock::utc_text),
        "last_used_at": token.last_used_at.map(clock::utc_text),
    })
}
