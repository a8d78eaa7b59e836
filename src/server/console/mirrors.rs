//! `/mirrors`: copies of the download tree, how they are and what they hold.

use std::fmt::Write as _;
use std::time::Duration;

use askama::Template;

use super::super::visit::escaped;
use super::call::{Call, Fields, Page, View, get, post};
use super::shell::Shell;
use super::show::{self, Html, count};
use crate::model::access::Right;
use crate::model::{Location, PackageId};
use crate::protocol::PackageFilter;
use crate::service::desk::mirrors::{Holding, MirrorLine, MirrorPackage, MirrorPage, SiteLine};
use crate::service::desk::{Desk, Kind, Refusal};
use crate::service::mirrors::SILENT_AFTER;

/// Packages of a page.
const ROWS: usize = 50;
/// Minutes of a year: what a silence can be borne at most.
const LONGEST: u64 = 527_040;

pub(super) fn pages() -> Vec<Page> {
    let (see, edit) = (Right::SeeMirrors, Right::EditMirrors);
    vec![
        get("/mirrors", see, list),
        post("/mirrors", edit, add),
        get("/mirrors/{name}", see, one),
        post("/mirrors/{name}", edit, change),
        post("/mirrors/{name}/token", edit, renew),
        post("/mirrors/{name}/remove", edit, remove),
    ]
}

pub(super) fn address(name: &str) -> String {
    format!("/mirrors/{}", escaped(name))
}

pub(super) fn may_edit(desk: &Desk) -> bool {
    desk.allow_editing_mirrors().is_ok()
}

/// The health of a mirror as a badge.
pub(super) fn health(word: &str) -> Html {
    let (tone, icon) = match word {
        "fine" => ("ok", "succeeded"),
        "behind" => ("info", "downloading"),
        "trouble" => ("bad", "failed"),
        "silent" => ("warn", "pause"),
        _ => ("neutral", "pending"),
    };
    show::toned(word, tone, icon)
}

/// How far behind the tree a mirror's copy is.
fn distance(line: &MirrorLine) -> String {
    match line.generation.saturating_sub(line.mirror.generation) {
        _ if line.mirror.reported_at.is_none() => "nothing yet".to_owned(),
        0 => "up to date".to_owned(),
        behind => format!("{} behind", count(behind, "change")),
    }
}

/// What a full bar is: leftovers do not make it more than full.
fn full(line: &MirrorLine) -> u64 {
    line.wanted.max(line.held).max(1)
}

/// What is typed on the mirror: it copies this server under the token, and checks with the key that the copy is ours.
fn sync_command(call: &Call, token: &str) -> String {
    let mut text = String::new();
    let mut trust = "";
    if call.site.tls.authority().is_some() {
        trust = " --ca ca.pem";
        // Writing to a String cannot fail.
        let _ = writeln!(text, "curl -k -o ca.pem https://{}/ca.pem", call.host);
    }
    let _ = write!(
        text,
        "export DRIPFEED_MIRROR_TOKEN={token}\n\
         dripfeed-mirror sync --from https://{}/download{trust} --to /srv/dripfeed --key {} --every 10m",
        call.host,
        call.site.signing.public()
    );
    text
}

/// What can be said of a mirror, as it was typed.
struct Typed {
    location: String,
    packages: String,
    minutes: String,
}

impl Typed {
    fn of(form: &Fields) -> Self {
        let text = |name| form.get(name).to_owned();
        Self { location: text("location"), packages: text("packages"), minutes: text("minutes") }
    }

    fn read(form: &Fields) -> Result<(Location, PackageFilter, Duration), Refusal> {
        let minutes: u64 = form.get("minutes").parse().unwrap_or(0);
        if !(1..=LONGEST).contains(&minutes) {
            return Err(Refusal::invalid("a whole number of minutes, from 1 to a year").about("minutes"));
        }
        let packages = form.parse_some("packages")?.unwrap_or_default();
        Ok((form.parse("location")?, packages, Duration::from_secs(60 * minutes)))
    }
}

fn minutes(time: Duration) -> String {
    time.as_secs().div_ceil(60).max(1).to_string()
}

fn is_input(refusal: &Refusal) -> bool {
    matches!(refusal.kind, Kind::Invalid | Kind::Conflict)
}

#[derive(Template)]
#[template(path = "mirrors.html")]
struct List {
    shell: Shell,
    lines: Vec<MirrorLine>,
    may_edit: bool,
    name: String,
    typed: Typed,
    command: String,
    error: Option<Refusal>,
}

impl List {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        let typed = match error {
            Some(_) => Typed::of(&call.form),
            None => Typed { location: String::new(), packages: String::new(), minutes: minutes(SILENT_AFTER) },
        };
        Ok(Self {
            shell: call.shell("Mirrors", "/mirrors"),
            lines: call.desk().mirrors()?,
            may_edit: may_edit(call.desk()),
            name: call.form.get("name").to_owned(),
            typed,
            command: sync_command(call, "TOKEN"),
            error,
        })
    }
}

fn list(call: &Call) -> Result<View, Refusal> {
    call.page(&List::of(call, None)?)
}

fn add(call: &Call) -> Result<View, Refusal> {
    call.desk().allow_editing_mirrors()?;
    let name = call.form.get("name");
    let done = Typed::read(&call.form)
        .and_then(|(location, packages, silent)| call.desk().add_mirror(name, location, packages, silent));
    match done {
        Ok(token) => with_token(call, name, &token),
        Err(refusal) if is_input(&refusal) => call.again(&List::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "mirror.html")]
struct One {
    shell: Shell,
    base: String,
    line: MirrorLine,
    sites: Vec<SiteLine>,
    /// Missing, held, on its way out.
    counts: [u64; 3],
    shown: Holding,
    rows: Vec<MirrorPackage>,
    next: Option<PackageId>,
    may_edit: bool,
    may_see_packages: bool,
    typed: Typed,
    command: String,
    token: Option<String>,
    error: Option<Refusal>,
}

impl One {
    fn of(call: &Call, name: &str, error: Option<Refusal>) -> Result<Self, Refusal> {
        let desk = call.desk();
        let MirrorPage { line, packages, .. } = desk.mirror(name)?;
        let (sites, _) = desk.site_lines()?;
        let of = |holding| packages.iter().filter(|package| package.holding == holding).count() as u64;
        let counts = [of(Holding::Missing), of(Holding::Held), of(Holding::Leftover)];
        let shown = match call.query.get("show") {
            "missing" => Holding::Missing,
            "held" => Holding::Held,
            "leaving" => Holding::Leftover,
            _ if counts[0] > 0 => Holding::Missing,
            _ => Holding::Held,
        };
        let before = call.query.parse_some::<PackageId>("before")?;
        let rest = packages.into_iter().rev().filter(|package| package.holding == shown);
        let mut rows: Vec<_> =
            rest.filter(|package| before.is_none_or(|before| package.id < before)).take(ROWS + 1).collect();
        let more = rows.len() > ROWS;
        rows.truncate(ROWS);
        let mirror = &line.mirror;
        let typed = match error {
            Some(_) => Typed::of(&call.form),
            None => Typed {
                location: mirror.location.to_string(),
                packages: mirror.packages.to_string(),
                minutes: minutes(mirror.silent_after),
            },
        };
        Ok(Self {
            shell: call.shell(name, "/mirrors"),
            base: address(name),
            sites: sites.into_iter().filter(|one| one.site.mirrors.contains(&mirror.name)).collect(),
            counts,
            shown,
            next: rows.last().filter(|_| more).map(|last| last.id),
            rows,
            may_edit: may_edit(desk),
            may_see_packages: desk.may(Right::SeePackages),
            typed,
            command: sync_command(call, "TOKEN"),
            token: None,
            error,
            line,
        })
    }

    /// The three lists: word of the address, title, how many.
    fn lists(&self) -> [(&'static str, &'static str, u64, bool); 3] {
        let [missing, held, leaving] = self.counts;
        [
            ("missing", "Missing", missing, self.shown == Holding::Missing),
            ("held", "Held", held, self.shown == Holding::Held),
            ("leaving", "Leaving", leaving, self.shown == Holding::Leftover),
        ]
    }

    fn shown_word(&self) -> &'static str {
        self.lists().into_iter().find(|(.., current)| *current).map_or("held", |(word, ..)| word)
    }

    /// Which of a site's mirrors it is.
    fn place(&self, one: &SiteLine) -> String {
        match one.site.mirrors.first() {
            Some(first) if *first != self.line.mirror.name => format!("after {first}"),
            _ => "the nearest".to_owned(),
        }
    }

    /// What a removal concerns.
    fn removal(&self) -> String {
        let mut text = match self.sites.as_slice() {
            [] => "No site has it, so no computer is sent to it.".to_owned(),
            sites => {
                let names: Vec<&str> = sites.iter().map(|one| one.site.name.as_str()).collect();
                let mut text = format!("{} had it: {}.", count(sites.len() as u64, "site"), names.join(", "));
                let computers: Option<u64> = sites.iter().map(|one| one.computers).sum();
                if let Some(computers) = computers {
                    let _ = write!(text, " {} there fetch", count(computers, "computer"));
                } else {
                    text.push_str(" Their computers fetch");
                }
                text.push_str(" from the next mirror, or from the server, from their next contact on.");
                text
            }
        };
        text.push_str(" Its token is worth nothing any more. The files on the mirror stay until you delete them.");
        text
    }
}

fn one(call: &Call) -> Result<View, Refusal> {
    call.page(&One::of(call, call.path.raw("name"), None)?)
}

fn change(call: &Call) -> Result<View, Refusal> {
    call.desk().allow_editing_mirrors()?;
    let name = call.path.raw("name");
    let done = Typed::read(&call.form)
        .and_then(|(location, packages, silent)| call.desk().edit_mirror(name, location, packages, silent));
    match done {
        Ok(()) => View::done(address(name), "The mirror was changed: computers are told at their next contact."),
        Err(refusal) if is_input(&refusal) => call.again(&One::of(call, name, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

/// The mirror's page with its token, this once.
fn with_token(call: &Call, name: &str, token: &str) -> Result<View, Refusal> {
    let page = One::of(call, name, None)?;
    call.page(&One { command: sync_command(call, token), token: Some(token.to_owned()), ..page })
}

fn renew(call: &Call) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    let token = call.desk().renew_mirror_token(name)?;
    with_token(call, name, &token)
}

fn remove(call: &Call) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    let sites = call.desk().remove_mirror(name)?;
    let mut text = format!("The mirror {name} was removed.");
    if !sites.is_empty() {
        let _ = write!(text, " {} went on without it: {}.", count(sites.len() as u64, "site"), sites.join(", "));
    }
    View::done("/mirrors", text)
}
