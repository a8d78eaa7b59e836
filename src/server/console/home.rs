//! `/`: what needs a person, what is rolling out, what changed; and how to begin.

use askama::Template;

use super::super::events;
use super::super::visit::escaped;
use super::approvals;
use super::call::{Call, Page, View, get};
use super::deployments::{Row, at, capital, is_fresh};
use super::shell::Shell;
use super::show::{count, sentence, size};
use crate::model::UnixTime;
use crate::model::access::Right;
use crate::service::desk::approvals::Awaiting;
use crate::service::desk::home::{FirstSteps, Home, StandingStill, StuckIn};
use crate::service::desk::mirrors::MirrorLine;
use crate::service::desk::series::SeriesLine;
use crate::service::desk::{Desk, Refusal};
use crate::store::audit::Line;
use crate::tls::server::ServerTls;

/// Less free room than this is told.
const LOW: u64 = 5 << 30;
/// Deployments with jobs that stand still, as many as are shown.
const STUCK: usize = 4;
/// A certificate that ends so soon is told, in days.
const SOON: u64 = 30;

pub(super) fn pages() -> Vec<Page> {
    vec![get("/", None, home), get("/home/live", None, live)]
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    shell: Shell,
    name: String,
    body: String,
    first: Option<FirstSteps>,
    command: String,
    at: i64,
    may_build: bool,
    may_deploy: bool,
}

#[derive(Template)]
#[template(path = "home-now.html")]
#[expect(clippy::struct_excessive_bools, reason = "what a page shows")]
struct Now {
    computers: Option<u64>,
    rows: Vec<Row>,
    more_rolling: bool,
    needs: Vec<Need>,
    lost: u64,
    silent: usize,
    more_silent: bool,
    stuck: StandingStill,
    sees_deployments: bool,
    sees_computers: bool,
    changes: Option<Vec<Line>>,
}

/// Something that a person should look at.
struct Need {
    tone: &'static str,
    icon: &'static str,
    title: String,
    text: String,
    address: String,
}

fn now(desk: &Desk, home: Home, certificate: Option<Need>) -> Result<String, Refusal> {
    let mut needs: Vec<Need> = certificate.into_iter().collect();
    if let Some(free) = home.free.filter(|free| *free < LOW) {
        needs.push(Need {
            tone: "warn",
            icon: "disk",
            title: format!("Only {} are free for packages", size(free)),
            text: "Withdraw packages that nobody needs any more, or give the server more room.".to_owned(),
            address: "/packages".to_owned(),
        });
    }
    needs.extend(home.awaiting.iter().map(awaiting));
    let lost = home.failures.iter().map(|one| one.computers).sum();
    for one in &home.failures {
        let meaning = one.code.explanation().unwrap_or_else(|| "nobody knows this code".to_owned());
        needs.push(Need {
            tone: "bad",
            icon: "failed",
            title: format!("{}: {}", count(one.computers, "computer"), one.code),
            text: format!("{}. {}.", one.package, capital(&meaning)),
            address: format!("/deployments/{}/computers?code={}", one.deployment, escaped(one.code.as_str())),
        });
    }
    needs.extend(home.stuck.by_deployment.iter().take(STUCK).map(|one| standing_still(one, home.stuck.days)));
    let waiting = home.silent.iter().filter(|one| one.waits).count();
    let quiet = home.silent.len() - waiting;
    let more = if home.more_silent { " or more" } else { "" };
    let examples = |waits: bool| {
        let names = home.silent.iter().filter(|one| one.waits == waits).take(5).map(|one| one.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let address = format!("/computers?q={}", escaped("last_contact older than 7 days"));
    if waiting > 0 {
        needs.push(Need {
            tone: "warn",
            icon: "computer",
            title: format!("{}{more} silent with open jobs", count(waiting as u64, "computer")),
            text: format!("Not heard of for more than 7 days: {}.", examples(true)),
            address: address.clone(),
        });
    }
    if quiet > 0 {
        needs.push(Need {
            tone: "neutral",
            icon: "pause",
            title: format!("{}{more} stopped checking in", count(quiet as u64, "agent")),
            text: format!("Not heard of for more than 7 days, and nothing waits there: {}.", examples(false)),
            address,
        });
    }
    if home.duplicates > 0 {
        needs.push(Need {
            tone: "neutral",
            icon: "merge",
            title: format!("{} of computers that look like one", count(home.duplicates as u64, "pair")),
            text: "They share what one machine alone has: say whether they are one or two.".to_owned(),
            address: super::likenesses::ADDRESS.to_owned(),
        });
    }
    needs.extend(home.mirrors.iter().map(mirror));
    needs.extend(home.paused_series.iter().map(paused));
    let groups = desk.groups_of(&home.rolling)?;
    let part = Now {
        computers: home.computers,
        rows: home.rolling.into_iter().map(|summary| Row::of(summary, &groups)).collect(),
        more_rolling: home.more_rolling,
        needs,
        lost,
        silent: home.silent.len(),
        more_silent: home.more_silent,
        stuck: home.stuck,
        sees_deployments: desk.may(Right::SeeDeployments),
        sees_computers: desk.may(Right::SeeComputers),
        changes: home.changes,
    };
    part.render().map_err(Refusal::failed)
}

/// Computers that were told of a package, and nothing followed.
fn standing_still(one: &StuckIn, days: u64) -> Need {
    let others = one.computers.saturating_sub(one.names.len() as u64);
    let more = if others > 0 { format!(" and {}", count(others, "other")) } else { String::new() };
    Need {
        tone: "warn",
        icon: "clock",
        title: format!("{} stuck with {}", count(one.computers, "computer"), one.package),
        text: format!(
            "Told of it more than {} ago; they come, and nothing follows: {}{more}.",
            count(days, "day"),
            one.names.join(", ")
        ),
        address: super::stuck::ADDRESS.to_owned(),
    }
}

/// Something that others want to deploy to many computers.
fn awaiting(one: &Awaiting) -> Need {
    let (title, text) = approvals::asked(one);
    Need { tone: "info", icon: "lock", title, text, address: approvals::address(one.about) }
}

/// A series that stopped by itself.
fn paused(line: &SeriesLine) -> Need {
    Need {
        tone: "bad",
        icon: "pause",
        title: format!("{} is not deployed again", line.name()),
        text: format!("The series paused: {}", sentence(line.series.problem.as_deref().unwrap_or_default())),
        address: super::series::address(line.series.id),
    }
}

/// A mirror that does not what it is for.
fn mirror(line: &MirrorLine) -> Need {
    let name = &line.mirror.name;
    let (tone, title, text) = match line.health {
        "trouble" => ("bad", format!("The mirror {name} could not sync"), sentence(&line.mirror.problem)),
        "silent" => (
            "warn",
            format!("The mirror {name} was not heard of"),
            "Its computers are sent elsewhere, over longer lines: look whether its sync still runs.".to_owned(),
        ),
        _ => (
            "neutral",
            format!("The mirror {name} has never reported"),
            "It was registered, and nobody has run its first sync: its page has the command.".to_owned(),
        ),
    };
    Need { tone, icon: "mirror", title, text, address: super::mirrors::address(name) }
}

fn certificate(tls: &ServerTls, now: UnixTime) -> Option<Need> {
    let end = tls.ends_at().ok()?;
    let days = end.since(now).as_secs() / (24 * 60 * 60);
    // Our own is renewed by itself before that.
    (days < SOON).then(|| Need {
        tone: if days == 0 { "bad" } else { "warn" },
        icon: "certificate",
        title: if end <= now {
            "The server's certificate has ended".to_owned()
        } else {
            format!("The server's certificate ends in {}", count(days, "day"))
        },
        text: "Agents refuse a server without a certificate that holds: replace it and reload it (SIGHUP).".to_owned(),
        address: "/certificates".to_owned(),
    })
}

fn home(call: &Call) -> Result<View, Refusal> {
    let desk = call.desk();
    let home = desk.home()?;
    let first = home.first_steps.filter(|steps| !steps.are_done());
    let certificate =
        desk.may(Right::SeeSettings).then(|| certificate(&call.site.tls, call.site.app.clock.now())).flatten();
    let ca = if call.site.tls.authority().is_some() {
        format!("curl -k -o ca.pem https://{}/ca.pem\n", call.host)
    } else {
        String::new()
    };
    let trust = if ca.is_empty() { "" } else { " --ca ca.pem" };
    call.page(&HomePage {
        shell: call.shell("Home", "/"),
        name: desk.actor().name.clone(),
        command: format!("{ca}dripfeed-agent once --server https://{}/ocsinventory{trust}", call.host),
        body: now(desk, home, certificate)?,
        first,
        at: at(call),
        may_build: desk.may(Right::BuildPackages),
        may_deploy: desk.may(Right::Deploy),
    })
}

fn live(call: &Call) -> Result<View, Refusal> {
    let (tls, clock) = (call.site.tls.clone(), call.site.app.clock);
    let looks = std::sync::atomic::AtomicU32::new(0);
    let response = events::answer(&call.site, &call.visit, is_fresh(call), move |desk| {
        // It concerns everything: seldom.
        if !looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(5) {
            return Ok(Vec::new());
        }
        let certificate = desk.may(Right::SeeSettings).then(|| certificate(&tls, clock.now())).flatten();
        Ok(vec![("now", now(desk, desk.home()?, certificate)?)])
    })?;
    Ok(View::Other(Box::new(response)))
}
