//! `dripfeed computer expect`, `expected`, `unexpect`, `forget-key`, `remember-key` and `registration-key`.

use serde::Serialize;
use serde_json::json;

use super::context::{administrator, refused};
use super::output::{Output, printable, say};
use super::{Done, Failure};
use crate::clock;
use crate::model::Computer;
use crate::service::App;
use crate::service::assign::AssignError;
use crate::service::desk::Desk;
use crate::service::identity::{self, IdentityError};
use crate::store::expected;

/// How sure it is that messages are a computer's own, as JSON.
#[derive(Serialize)]
pub(super) struct IdentityView {
    proven_by: &'static str,
    key: Option<String>,
    since: Option<String>,
}

impl From<&Computer> for IdentityView {
    fn from(computer: &Computer) -> Self {
        let key = computer.agent_key.as_ref();
        Self {
            proven_by: computer.proven_by(),
            key: key.map(|key| key.key.clone()),
            since: key.map(|key| clock::utc_text(key.since)),
        }
    }
}

/// The same for people.
pub(super) fn sentence(computer: &Computer) -> String {
    match &computer.agent_key {
        Some(key) => format!("proven by its key {} since {}", key.fingerprint(), clock::local_text(key.since)),
        None => "by its name: whoever says it is believed".to_owned(),
    }
}

fn refuse(error: IdentityError) -> Failure {
    match error {
        IdentityError::Store(_) | IdentityError::Named(AssignError::Store(_)) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    }
}

pub(super) fn expect(app: &App, names: &[String], json: bool, output: &mut Output) -> Done {
    let added = identity::expect(app, names, &administrator()).map_err(refuse)?;
    if json {
        #[derive(Serialize)]
        struct View {
            added: Vec<String>,
        }
        return output.json(&View { added });
    }
    if added.is_empty() {
        say("these names are expected already: `dripfeed computer expected` lists them all");
        return Ok(());
    }
    let names: Vec<String> = added.iter().map(|name| printable(name)).collect();
    output.line(format_args!(
        "expecting {}: the first agent with a key under each name may register it",
        names.join(", ")
    ))
}

pub(super) fn expected(app: &App, json: bool, output: &mut Output) -> Done {
    let all = app.store.read_now(expected::list)?;
    if json {
        #[derive(Serialize)]
        struct View {
            name: String,
            at: String,
            by: String,
        }
        let view = |name: expected::Expected| View { name: name.name, at: clock::utc_text(name.at), by: name.by };
        return output.json(&all.into_iter().map(view).collect::<Vec<_>>());
    }
    if all.is_empty() {
        say("no name is expected: `dripfeed computer expect NAME` lets its agent register");
        return Ok(());
    }
    let rows: Vec<[String; 3]> =
        all.iter().map(|name| [printable(&name.name), clock::local_text(name.at), printable(&name.by)]).collect();
    output.table(["NAME", "SINCE", "BY"], &rows)
}

pub(super) fn unexpect(app: &App, name: &str, json: bool, output: &mut Output) -> Done {
    identity::unexpect(app, name).map_err(refuse)?;
    if json {
        #[derive(Serialize)]
        struct View<'a> {
            removed: &'a str,
        }
        return output.json(&View { removed: name.trim() });
    }
    output.line(format_args!("{} is not expected any more", printable(name.trim())))
}

pub(super) fn forget_key(desk: &Desk, computer: &str, json: bool, output: &mut Output) -> Done {
    let computer = desk.forget_key(computer).map_err(refused)?;
    if json {
        #[derive(Serialize)]
        struct View {
            device_id: String,
            forgotten: Option<String>,
        }
        let forgotten = computer.agent_key.map(|key| key.key);
        return output.json(&View { device_id: computer.device_id.to_string(), forgotten });
    }
    output.line(format_args!(
        "{} ({}) is known by its name again, until an agent registers",
        printable(&computer.name),
        printable(computer.device_id.as_str())
    ))
}

pub(super) fn remember_key(desk: &Desk, computer: &str, json: bool, output: &mut Output) -> Done {
    let computer = desk.remember_key(computer).map_err(refused)?;
    if json {
        return output.json(&json!({ "device_id": computer.device_id.as_str() }));
    }
    output.line(format_args!(
        "{} ({}) is known by its key again",
        printable(&computer.name),
        printable(computer.device_id.as_str())
    ))
}

pub(super) fn registration_key(desk: &Desk, (renew, remove): (bool, bool), json: bool, output: &mut Output) -> Done {
    if renew {
        let key = desk.renew_registration().map_err(refused)?;
        if json {
            return output.json(&json!({ "key": key }));
        }
        say("registration_key of every agent that is to register; it is not shown again:");
        return output.line(key);
    }
    if remove {
        desk.remove_registration().map_err(refused)?;
        if json {
            return output.json(&json!({ "removed": true }));
        }
        return output.line("the registration key that was made here is gone");
    }
    let made = desk.registration().map_err(refused)?;
    if json {
        let (at, by) = made.map(|(at, by)| (clock::utc_text(at), by)).unzip();
        return output.json(&json!({ "made_at": at, "made_by": by }));
    }
    if let Some((at, by)) = made {
        return output.line(format_args!("made {} by {}", clock::local_text(at), printable(&by)));
    }
    say("none was made here: `dripfeed computer registration-key --renew` makes one");
    Ok(())
}
