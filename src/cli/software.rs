//! `dripfeed software …`

use serde::Serialize;

use super::Done;
use super::args::{Place, SoftwareVerb};
use super::computer::find;
use super::context::open;
use super::output::{Output, printable, say};
use crate::protocol::SoftwareTitle;
use crate::service::App;
use crate::store::software;

/// Lines that a list shows at most.
const MOST: usize = 100_000;

pub(super) fn run(place: &Place, verb: SoftwareVerb, output: &mut Output) -> Done {
    let app = open(place)?.app;
    match verb {
        SoftwareVerb::List { name, json } => list(&app, name.as_deref().unwrap_or_default(), json, output),
        SoftwareVerb::Show { name, json } => show(&app, &name, json, output),
    }
}

/// A title as JSON.
#[derive(Serialize)]
struct TitleView {
    name: String,
    publisher: String,
    version: String,
}

impl From<SoftwareTitle> for TitleView {
    fn from(SoftwareTitle { name, publisher, version }: SoftwareTitle) -> Self {
        Self { name, publisher, version }
    }
}

fn list(app: &App, part: &str, json: bool, output: &mut Output) -> Done {
    #[derive(Serialize)]
    struct View {
        #[serde(flatten)]
        title: TitleView,
        computers: u64,
    }
    let wanted = part.to_owned();
    let titles = app.store.read_now(move |conn| software::list(conn, &wanted, MOST))?;
    if json {
        let view = |line: software::TitleCount| View { title: line.title.into(), computers: line.computers };
        return output.json(&titles.into_iter().map(view).collect::<Vec<_>>());
    }
    if titles.is_empty() {
        say(if part.is_empty() {
            "no software yet: it comes with inventories".to_owned()
        } else {
            format!("no software has \"{}\" in its name: `dripfeed software list` shows all", printable(part))
        });
        return Ok(());
    }
    let rows: Vec<[String; 4]> = titles
        .iter()
        .map(|line| {
            let SoftwareTitle { name, publisher, version } = &line.title;
            [line.computers.to_string(), printable(name), printable(version), printable(publisher)]
        })
        .collect();
    output.table(["COMPUTERS", "NAME", "VERSION", "PUBLISHER"], &rows)
}

fn show(app: &App, name: &str, json: bool, output: &mut Output) -> Done {
    #[derive(Serialize)]
    struct View {
        #[serde(flatten)]
        title: TitleView,
        computer: String,
        device_id: String,
    }
    let wanted = name.to_owned();
    let found = app.store.read_now(move |conn| software::named(conn, &wanted, MOST))?;
    if json {
        let view = |line: software::TitleOn| View {
            title: line.title.into(),
            computer: line.computer_name,
            device_id: line.device_id,
        };
        return output.json(&found.into_iter().map(view).collect::<Vec<_>>());
    }
    if found.is_empty() {
        say(format_args!(
            "no computer has \"{}\": `dripfeed software list --name TEXT` finds names by a part of them",
            printable(name)
        ));
        return Ok(());
    }
    let rows: Vec<[String; 4]> = found
        .iter()
        .map(|line| {
            [
                printable(&line.title.version),
                printable(&line.computer_name),
                line.device_id.clone(),
                printable(&line.title.publisher),
            ]
        })
        .collect();
    output.table(["VERSION", "COMPUTER", "DEVICE ID", "PUBLISHER"], &rows)
}

/// What one computer has.
pub(super) fn of_computer(app: &App, text: &str, json: bool, output: &mut Output) -> Done {
    let id = find(app, text)?.id;
    let titles = app.store.read_now(move |conn| software::of_computer(conn, id))?;
    if json {
        return output.json(&titles.into_iter().map(TitleView::from).collect::<Vec<_>>());
    }
    if titles.is_empty() {
        say("its inventory names no software");
        return Ok(());
    }
    let rows: Vec<[String; 3]> = titles
        .iter()
        .map(|title| [printable(&title.name), printable(&title.version), printable(&title.publisher)])
        .collect();
    output.table(["NAME", "VERSION", "PUBLISHER"], &rows)
}
