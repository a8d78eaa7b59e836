//! `dripfeed registry …`

use serde::Serialize;

use super::args::{Place, RegistryVerb};
use super::computer::find;
use super::context::open;
use super::network::refuse;
use super::output::{Output, printable, say};
use super::{Done, Failure};
use crate::model::{InvalidRegistryQuery, RegistryQuery, RegistryTree};
use crate::service::App;
use crate::service::discovery::{add_registry_query, remove_registry_query};
use crate::store::registry::{self, Finding, RegistryValue};

/// Lines that a list shows at most.
const MOST: usize = 100_000;

pub(super) fn run(place: &Place, verb: RegistryVerb, output: &mut Output) -> Done {
    let app = open(place)?.app;
    match verb {
        RegistryVerb::List { json } => list(&app, json, output),
        RegistryVerb::Add { name, tree, key, value, json } => {
            let query = RegistryQuery::new(&name, tree, &key, &value);
            add(&app, query, json, output)
        }
        RegistryVerb::Remove { name, json } => remove(&app, &name, json, output),
        RegistryVerb::Show { name: Some(name), json, .. } => found_by(&app, &name, json, output),
        RegistryVerb::Show { computer, json, .. } => {
            found_on(&app, computer.as_deref().unwrap_or_default(), json, output)
        }
    }
}

/// A question as JSON.
#[derive(Serialize)]
struct QueryView {
    name: String,
    tree: &'static str,
    key: String,
    value: String,
}

impl From<&RegistryQuery> for QueryView {
    fn from(query: &RegistryQuery) -> Self {
        Self {
            name: query.name().to_owned(),
            tree: RegistryTree::as_str(query.tree()),
            key: query.key().to_owned(),
            value: query.value().to_owned(),
        }
    }
}

fn list(app: &App, json: bool, output: &mut Output) -> Done {
    let queries = app.store.read_now(registry::queries)?;
    if json {
        return output.json(&queries.iter().map(QueryView::from).collect::<Vec<_>>());
    }
    if queries.is_empty() {
        say(r"nothing is asked: `dripfeed registry add NAME --key 'SOFTWARE\Example' --value Version` asks");
        return Ok(());
    }
    let row = |query: &RegistryQuery| {
        [printable(query.name()), query.tree().to_string(), printable(query.key()), printable(query.value())]
    };
    output.table(["NAME", "TREE", "KEY", "VALUE"], &queries.iter().map(row).collect::<Vec<_>>())
}

fn add(app: &App, query: Result<RegistryQuery, InvalidRegistryQuery>, json: bool, output: &mut Output) -> Done {
    let query = query.map_err(|error| Failure::Refused(error.into()))?;
    let view = QueryView::from(&query);
    add_registry_query(app, query).map_err(refuse)?;
    if json {
        return output.json(&view);
    }
    output.line(format_args!(
        "Windows computers are asked for {} at their next contact; `dripfeed registry show {0}` shows what they found",
        printable(&view.name)
    ))
}

fn remove(app: &App, name: &str, json: bool, output: &mut Output) -> Done {
    #[derive(Serialize)]
    struct View<'a> {
        removed: &'a str,
    }
    remove_registry_query(app, name).map_err(refuse)?;
    if json {
        return output.json(&View { removed: name });
    }
    output.line(format_args!(
        "{} is asked no more; what was found goes with each computer's next inventory",
        printable(name)
    ))
}

fn found_by(app: &App, name: &str, json: bool, output: &mut Output) -> Done {
    #[derive(Serialize)]
    struct View {
        computer: String,
        device_id: String,
        name: String,
        value: String,
    }
    let wanted = registry::Wanted { name: name.to_owned(), ..registry::Wanted::default() };
    let findings = app.store.read_now(move |conn| registry::findings(conn, &wanted, MOST))?;
    if json {
        let view = |finding: Finding| View {
            computer: finding.computer_name,
            device_id: finding.device_id,
            name: finding.found.name,
            value: finding.found.value,
        };
        return output.json(&findings.into_iter().map(view).collect::<Vec<_>>());
    }
    if findings.is_empty() {
        say(format_args!(
            "no computer has found anything by \"{}\": only Windows agents look, and tell with their next inventory",
            printable(name)
        ));
        return Ok(());
    }
    let row = |finding: &Finding| {
        [printable(&finding.computer_name), finding.device_id.clone(), printable(&finding.found.value)]
    };
    output.table(["COMPUTER", "DEVICE ID", "VALUE"], &findings.iter().map(row).collect::<Vec<_>>())
}

fn found_on(app: &App, computer: &str, json: bool, output: &mut Output) -> Done {
    #[derive(Serialize)]
    struct View {
        name: String,
        value: String,
    }
    let id = find(app, computer)?.id;
    let values = app.store.read_now(move |conn| registry::values_of(conn, id))?;
    if json {
        let view = |RegistryValue { name, value }| View { name, value };
        return output.json(&values.into_iter().map(view).collect::<Vec<_>>());
    }
    if values.is_empty() {
        say("its inventory has nothing of a registry");
        return Ok(());
    }
    let row = |found: &RegistryValue| [printable(&found.name), printable(&found.value)];
    output.table(["NAME", "VALUE"], &values.iter().map(row).collect::<Vec<_>>())
}
