//! `dripfeed network …`

use serde::Serialize;

use super::args::{NetworkVerb, Place};
use super::context::open;
use super::output::{Output, printable, say};
use super::{Done, Failure};
use crate::clock::{local_text, utc_text};
use crate::service::App;
use crate::service::discovery::{DiscoveryError, Host, hosts, networks};

pub(super) fn run(place: &Place, verb: NetworkVerb, output: &mut Output) -> Done {
    let app = open(place)?.app;
    match verb {
        NetworkVerb::List { json } => list(&app, json, output),
        NetworkVerb::Show { network, unknown, json } => show(&app, &network, unknown, json, output),
    }
}

pub(super) fn refuse(error: DiscoveryError) -> Failure {
    match error {
        DiscoveryError::Store(_) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    }
}

fn list(app: &App, json: bool, output: &mut Output) -> Done {
    #[derive(Serialize)]
    struct View {
        network: String,
        computers: usize,
        elected: Vec<String>,
        seen: usize,
        unknown: usize,
        last_seen: Option<String>,
    }
    let all = networks(app).map_err(refuse)?;
    if json {
        let view = |it: crate::service::discovery::NetworkSummary| View {
            network: it.network,
            computers: it.computers,
            elected: it.elected,
            seen: it.seen,
            unknown: it.strangers,
            last_seen: it.last_seen.map(utc_text),
        };
        return output.json(&all.into_iter().map(view).collect::<Vec<_>>());
    }
    if all.is_empty() {
        say("no networks yet: they come with inventories");
        return Ok(());
    }
    if all.iter().all(|network| network.seen == 0) {
        say(
            "nobody has looked round yet: `dripfeed setting set IPDISCOVER 2` elects two computers of each network, once \
             they have checked in three times",
        );
    }
    let rows: Vec<[String; 6]> = all
        .iter()
        .map(|it| {
            [
                printable(&it.network),
                it.computers.to_string(),
                it.seen.to_string(),
                it.strangers.to_string(),
                it.last_seen.map_or("-".to_owned(), local_text),
                if it.elected.is_empty() { "-".to_owned() } else { printable(&it.elected.join(", ")) },
            ]
        })
        .collect();
    output.table(["NETWORK", "COMPUTERS", "SEEN", "UNKNOWN", "LAST SEEN", "LOOKS ROUND"], &rows)
}

fn show(app: &App, network: &str, unknown: bool, json: bool, output: &mut Output) -> Done {
    #[derive(Serialize)]
    struct View {
        ip_address: String,
        mac: String,
        name: String,
        known: bool,
        computer: Option<String>,
        first_seen: Option<String>,
        last_seen: Option<String>,
    }
    let mut all = hosts(app, network).map_err(refuse)?;
    all.retain(|host| !unknown || host.computer.is_none());
    if json {
        let view = |host: Host| View {
            ip_address: host.ip_address,
            mac: host.mac,
            name: host.name,
            known: host.computer.is_some(),
            computer: host.computer,
            first_seen: host.seen.map(|(first, _)| utc_text(first)),
            last_seen: host.seen.map(|(_, last)| utc_text(last)),
        };
        return output.json(&all.into_iter().map(view).collect::<Vec<_>>());
    }
    if all.is_empty() {
        say("every address that was seen there belongs to a known computer");
        return Ok(());
    }
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
    let rows: Vec<[String; 5]> = all
        .iter()
        .map(|host| {
            [
                or_dash(&host.ip_address),
                or_dash(&host.mac),
                host.computer.as_deref().map_or("unknown".to_owned(), printable),
                host.seen.map_or("-".to_owned(), |(_, last)| local_text(last)),
                or_dash(&host.name),
            ]
        })
        .collect();
    output.table(["ADDRESS", "MAC", "COMPUTER", "LAST SEEN", "SEEN AS"], &rows)
}
