//! `dripfeed stuck`

use serde_json::{Value, json};

use super::Done;
use super::args::{Place, Stuck as Options};
use super::context::{desk, open, refused};
use super::output::{Output, count, printable, say};
use crate::clock;
use crate::service::desk::Desk;
use crate::store::attention::Stuck;

pub(super) fn run(place: &Place, options: &Options, output: &mut Output) -> Done {
    let desk = desk(place, open(place)?.app);
    let stuck = desk.stuck(None, options.limit).map_err(refused)?;
    if options.json {
        return output.json(&stuck.iter().map(view).collect::<Vec<_>>());
    }
    if stuck.is_empty() {
        return nothing(&desk);
    }
    let row = |one: &Stuck| {
        [
            printable(&one.name),
            printable(&format!("{} {}", one.package_name, one.package_version)),
            one.package.to_string(),
            one.deployment.to_string(),
            clock::local_text(one.moved_at),
            clock::local_text(one.last_contact),
        ]
    };
    let rows: Vec<[String; 6]> = stuck.iter().map(row).collect();
    output.table(["COMPUTER", "PACKAGE", "ID", "DEPLOYMENT", "NOTHING SINCE", "LAST HEARD OF"], &rows)?;
    say("`dripfeed why COMPUTER ID` tells what is known of one");
    Ok(())
}

fn nothing(desk: &Desk) -> Done {
    let days = desk.stuck_after().map_err(refused)?.as_secs() / (24 * 60 * 60);
    say(format_args!(
        "nothing is stuck: wherever a computer was told of a package, something happened within {} (the setting \
         STUCK_AFTER), or the computer is silent",
        count(days, "day")
    ));
    Ok(())
}

fn view(one: &Stuck) -> Value {
    json!({
        "job": one.job.0,
        "deployment": one.deployment.0,
        "package": one.package.number(),
        "package_name": one.package_name,
        "package_version": one.package_version,
        "device_id": one.device_id,
        "name": one.name,
        "moved_at": clock::utc_text(one.moved_at),
        "last_contact": clock::utc_text(one.last_contact),
    })
}
