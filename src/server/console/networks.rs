//! `/networks`: who looks round in which network, and who was seen there.

use std::net::Ipv4Addr;

use askama::Template;

use super::super::visit::escaped;
use super::call::{Call, Page, View, get, post};
use super::shell::Shell;
use crate::model::access::Right;
use crate::model::query::fold;
use crate::model::settings::SettingKey;
use crate::service::desk::{Desk, Kind, Refusal};
use crate::service::discovery::{Host, NetworkSummary};
use crate::service::settings::Whose;
use crate::store::labels::Label;

/// Networks of a page.
const ROWS: usize = 50;
/// Hosts of a page: those of a common network.
const HOSTS: usize = 256;

pub(super) fn pages() -> Vec<Page> {
    let (see, edit) = (Right::SeeComputers, Right::EditSettings);
    vec![
        get("/networks", see, list),
        post("/networks/looking", edit, look),
        get("/networks/{network}", see, one),
        post("/networks/{network}", edit, label),
    ]
}

fn address(network: &str) -> String {
    format!("/networks/{}", escaped(network))
}

fn may_edit(desk: &Desk) -> bool {
    desk.may(Right::EditSettings) && desk.actor().scope.computers.is_none()
}

/// How many computers of a network look round; `None` for whoever may not see settings.
fn places(desk: &Desk) -> Result<Option<i64>, Refusal> {
    if !desk.may(Right::SeeSettings) {
        return Ok(None);
    }
    Ok(Some(desk.setting(SettingKey::IpDiscover)?.explanation.value))
}

#[derive(Template)]
#[template(path = "networks.html")]
struct List {
    shell: Shell,
    rows: Vec<NetworkSummary>,
    /// How many there are, filtered or not.
    all: usize,
    next: Option<String>,
    q: String,
    unknown: bool,
    places: Option<i64>,
    may_edit: bool,
    error: Option<Refusal>,
}

impl List {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        let desk = call.desk();
        let mut rows = desk.networks()?;
        let all = rows.len();
        let (q, unknown) = (call.query.get("q").to_owned(), call.query.is_on("unknown"));
        let part = fold(&q);
        rows.retain(|one| {
            let texts = [&one.network, &one.label.name, &one.label.tag];
            (!unknown || one.strangers > 0) && texts.iter().any(|text| fold(text).contains(&part))
        });
        let after = call.query.parse_some::<Ipv4Addr>("after")?;
        rows.retain(|one| after.is_none_or(|after| one.network.parse::<Ipv4Addr>().is_ok_and(|it| it > after)));
        let more = rows.len() > ROWS;
        rows.truncate(ROWS);
        let tick = if unknown { "&unknown=1" } else { "" };
        let next = rows.last().filter(|_| more);
        Ok(Self {
            shell: call.shell("Networks", "/networks"),
            next: next.map(|last| format!("/networks?q={}{tick}&after={}", escaped(&q), last.network)),
            rows,
            all,
            q,
            unknown,
            places: places(desk)?,
            may_edit: may_edit(desk),
            error,
        })
    }
}

fn list(call: &Call) -> Result<View, Refusal> {
    call.page(&List::of(call, None)?)
}

/// Has so many computers of each network look round; 0 is the switch.
fn look(call: &Call) -> Result<View, Refusal> {
    let value = call.form.get("places");
    match call.desk().change_setting(SettingKey::IpDiscover, Some(value), Whose::Everyone) {
        Ok(changed) if changed.explanation.value == 0 => View::done("/networks", "Nobody looks round any more."),
        Ok(changed) => {
            let computers = super::show::count(changed.explanation.value.unsigned_abs(), "computer");
            View::done(
                "/networks",
                format!("{computers} of each network will look round: elections are held as inventories come."),
            )
        }
        Err(refusal) if refusal.kind == Kind::Invalid => call.again(&List::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "network.html")]
struct One {
    shell: Shell,
    base: String,
    network: NetworkSummary,
    hosts: Vec<Host>,
    /// How many there are, and how many nobody knows.
    counts: [usize; 2],
    next: Option<String>,
    unknown: bool,
    q: String,
    label: Label,
    places: Option<i64>,
    may_edit: bool,
    error: Option<Refusal>,
}

impl One {
    fn of(call: &Call, label: Option<(Label, Refusal)>) -> Result<Self, Refusal> {
        let desk = call.desk();
        let name = call.path.raw("network");
        let network = desk.network_summary(name)?;
        let mut hosts = desk.network(name)?;
        let counts = [hosts.len(), hosts.iter().filter(|host| host.computer.is_none()).count()];
        let (q, unknown) = (call.query.get("q").to_owned(), call.query.is_on("unknown"));
        let part = fold(&q);
        hosts.retain(|host| {
            let texts = [&host.ip_address, &host.mac, &host.name];
            let known = host.computer.as_ref();
            (!unknown || known.is_none()) && texts.into_iter().chain(known).any(|text| fold(text).contains(&part))
        });
        let skipped: usize = call.query.parse_some("from")?.unwrap_or(0);
        let more = hosts.len() > skipped.saturating_add(HOSTS);
        let hosts = hosts.into_iter().skip(skipped).take(HOSTS).collect();
        let base = address(&network.network);
        let tick = if unknown { "&unknown=1" } else { "" };
        let (label, error) = match label {
            Some((typed, refusal)) => (typed, Some(refusal)),
            None => (network.label.clone(), None),
        };
        Ok(Self {
            shell: call.shell(network.network.clone(), "/networks"),
            next: more.then(|| format!("{base}?q={}{tick}&from={}", escaped(&q), skipped + HOSTS)),
            base,
            network,
            hosts,
            counts,
            unknown,
            q,
            label,
            places: places(desk)?,
            may_edit: may_edit(desk),
            error,
        })
    }
}

fn one(call: &Call) -> Result<View, Refusal> {
    call.page(&One::of(call, None)?)
}

fn label(call: &Call) -> Result<View, Refusal> {
    let (network, text) = (call.path.raw("network"), |name| call.form.get(name).to_owned());
    let label = Label { name: text("name"), tag: text("tag"), excluded: call.form.is_on("excluded") };
    match call.desk().label_network(network, label.clone()) {
        Ok(()) => View::done(address(network), "The network was changed."),
        Err(refusal) if refusal.kind == Kind::Invalid => call.again(&One::of(call, Some((label, refusal)))?),
        Err(refusal) => Err(refusal),
    }
}
