//! `/sites`: which addresses are near which mirrors.

use askama::Template;

use super::super::visit::escaped;
use super::call::{Call, Page, View, get, post};
use super::mirrors::may_edit;
use super::shell::Shell;
use super::show::count;
use crate::model::access::Right;
use crate::model::{AddressRange, InvalidRange};
use crate::service::desk::mirrors::{MirrorLine, SiteLine};
use crate::service::desk::{Kind, Refusal};
use crate::service::sites::Overlap;

/// Ranges of a site that the list shows.
const RANGES: usize = 4;

pub(super) fn pages() -> Vec<Page> {
    let (see, edit) = (Right::SeeMirrors, Right::EditMirrors);
    vec![
        get("/sites", see, list),
        post("/sites", edit, add),
        get("/sites/{name}", see, one),
        post("/sites/{name}/mirrors", edit, arrange),
        post("/sites/{name}/ranges", edit, extend),
        post("/sites/{name}/remove", edit, remove),
    ]
}

pub(super) fn address(name: &str) -> String {
    format!("/sites/{}", escaped(name))
}

/// Where a site's computers are listed.
fn computers_of(line: &SiteLine) -> Option<String> {
    line.query.as_ref().map(|query| format!("/computers?q={}", escaped(query)))
}

/// Why computers with addresses of two ranges belong to the one or the other.
fn explained(overlap: &Overlap) -> String {
    let Overlap { own, other, site, wins } = overlap;
    match (overlap.is_equal(), wins) {
        (true, true) => format!(
            "{own} is a range of {site}, too. Of two that are equal the site that comes first by its name has it: this one."
        ),
        (true, false) => format!(
            "{own} is a range of {site}, too. Of two that are equal the site that comes first by its name has it: {site}."
        ),
        (false, true) => {
            format!("{own} is narrower than {other} of {site}: where both are, computers belong to this site.")
        }
        (false, false) => {
            format!("{other} of {site} is narrower than {own}: where both are, computers belong to {site}.")
        }
    }
}

#[derive(Template)]
#[template(path = "sites.html")]
struct List {
    shell: Shell,
    lines: Vec<SiteLine>,
    elsewhere: Option<u64>,
    mirrors: Vec<MirrorLine>,
    may_edit: bool,
    name: String,
    ranges: String,
    ticked: Vec<String>,
    error: Option<Refusal>,
}

impl List {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        let (lines, elsewhere) = call.desk().site_lines()?;
        Ok(Self {
            shell: call.shell("Sites", "/mirrors"),
            lines,
            elsewhere,
            mirrors: call.desk().mirrors()?,
            may_edit: may_edit(call.desk()),
            name: call.form.get("name").to_owned(),
            ranges: call.form.get("ranges").to_owned(),
            ticked: call.form.all("mirror").map(str::to_owned).collect(),
            error,
        })
    }

    fn is_ticked(&self, name: &str) -> bool {
        self.ticked.iter().any(|one| one == name)
    }
}

fn list(call: &Call) -> Result<View, Refusal> {
    call.page(&List::of(call, None)?)
}

/// Ranges as they are typed: one a line, or with commas between.
fn ranges_of(text: &str) -> Result<Vec<AddressRange>, Refusal> {
    let parts = text.split(['\n', ',']).map(str::trim).filter(|part| !part.is_empty());
    let parse =
        |part: &str| part.parse().map_err(|error: InvalidRange| Refusal::invalid(error.to_string()).about("ranges"));
    parts.map(parse).collect()
}

fn add(call: &Call) -> Result<View, Refusal> {
    call.desk().allow_editing_mirrors()?;
    let name = call.form.get("name");
    let near = call.form.all("mirror").map(str::to_owned).collect();
    let done = ranges_of(call.form.get("ranges")).and_then(|ranges| call.desk().add_site(name, ranges, near));
    match done {
        Ok(()) => View::done(address(name), "The site was made: its computers are told at their next contact."),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict) => {
            call.again(&List::of(call, Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "site.html")]
struct One {
    shell: Shell,
    base: String,
    line: SiteLine,
    /// Its mirrors in their order; the others.
    near: Vec<MirrorLine>,
    others: Vec<MirrorLine>,
    typed: String,
    may_edit: bool,
    error: Option<Refusal>,
}

impl One {
    fn of(call: &Call, name: &str, error: Option<Refusal>) -> Result<Self, Refusal> {
        let desk = call.desk();
        let site = desk.site(name)?;
        let (lines, _) = desk.site_lines()?;
        let line = lines.into_iter().find(|line| line.site.name == site.name);
        let line = line.ok_or_else(|| Refusal::not_found(format!("there is no site \"{name}\"")))?;
        let place = |mirror: &MirrorLine| line.site.mirrors.iter().position(|name| *name == mirror.mirror.name);
        let (mut near, others): (Vec<_>, Vec<_>) = desk.mirrors()?.into_iter().partition(|one| place(one).is_some());
        near.sort_by_key(place);
        Ok(Self {
            shell: call.shell(name, "/mirrors"),
            base: address(name),
            line,
            near,
            others,
            typed: call.form.get("range").to_owned(),
            may_edit: may_edit(desk),
            error,
        })
    }

    /// What a removal concerns.
    fn removal(&self) -> String {
        let whose = match self.line.computers {
            Some(computers) => format!("{} there fetch", count(computers, "computer")),
            None => "Its computers fetch".to_owned(),
        };
        format!(
            "{whose} from another site's mirrors if that has their addresses, else from the server, from their next contact on."
        )
    }
}

fn one(call: &Call) -> Result<View, Refusal> {
    call.page(&One::of(call, call.path.raw("name"), None)?)
}

fn said(call: &Call, done: Result<(), Refusal>) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    match done {
        Ok(()) => View::done(address(name), "The site was changed: its computers are told at their next contact."),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict) => {
            call.again(&One::of(call, name, Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

/// Moves a mirror up or down, takes it out, or puts one at the end.
fn arrange(call: &Call) -> Result<View, Refusal> {
    let mirror = call.form.get("mirror");
    let done = call.desk().change_site(call.path.raw("name"), |site| {
        let at = site.mirrors.iter().position(|name| name == mirror);
        let last = site.mirrors.len().saturating_sub(1);
        match (call.form.get("do"), at) {
            ("add", _) => site.mirrors.push(mirror.to_owned()),
            (_, None) => return Err(Refusal::conflict(format!("the site has no mirror \"{mirror}\" any more"))),
            ("up", Some(at)) => site.mirrors.swap(at, at.saturating_sub(1)),
            ("down", Some(at)) => site.mirrors.swap(at, (at + 1).min(last)),
            ("remove", Some(at)) => drop(site.mirrors.remove(at)),
            _ => return Err(Refusal::invalid("say add, up, down or remove").about("do")),
        }
        Ok(())
    });
    said(call, done)
}

/// Adds ranges, or takes one away.
fn extend(call: &Call) -> Result<View, Refusal> {
    let typed = call.form.get("range");
    let done = call.desk().change_site(call.path.raw("name"), |site| {
        if call.form.get("do") == "remove" {
            site.ranges.retain(|range| range.to_string() != typed);
            return Ok(());
        }
        let new = ranges_of(typed)?;
        if new.is_empty() {
            return Err(Refusal::invalid("type a range of addresses").about("ranges"));
        }
        let (first, last) = (AddressRange::first, AddressRange::last);
        for range in new {
            if !site.ranges.iter().any(|known| (first(known), last(known)) == (first(&range), last(&range))) {
                site.ranges.push(range);
            }
        }
        Ok(())
    });
    said(call, done)
}

fn remove(call: &Call) -> Result<View, Refusal> {
    let name = call.path.raw("name");
    call.desk().remove_site(name)?;
    View::done("/sites", format!("The site {name} was removed."))
}
