//! The list of packages, with its counters live.

use askama::Template;

use super::super::call::{Call, View};
use super::super::deployments::{at, csrf_field, is_fresh};
use super::super::shell::Shell;
use super::super::show::{Counts, Html};
use super::ROWS;
use crate::model::access::Right;
use crate::model::{InvalidPackage, JobState, OsFamily, PackageId, PackageState, UnixTime};
use crate::server::events;
use crate::server::visit::escaped;
use crate::service::desk::packages::PackageLine;
use crate::service::desk::{Desk, Refusal};
use crate::store::packages::{Order, Wanted};

/// What administrators count: it waits, it was told, it worked, it did not.
const COUNTERS: [(&str, &str, &[JobState]); 4] = [
    ("waiting", "pending", &[JobState::Pending]),
    ("notified", "offered", &[JobState::Offered, JobState::Downloading]),
    ("success", "succeeded", &[JobState::Succeeded, JobState::AlreadyInstalled]),
    ("error", "failed", &[JobState::Failed, JobState::Expired]),
];

struct Row {
    line: PackageLine,
    counts: Counts,
    /// Until when it can be restored.
    kept: Option<(UnixTime, UnixTime)>,
}

impl Row {
    fn short(&self) -> [(&'static str, &'static str, u64); 4] {
        COUNTERS.map(|(word, tone, states)| (word, tone, states.iter().map(|state| self.counts.of(*state)).sum()))
    }
}

/// What the address of a list says.
#[derive(Clone)]
struct Asked {
    text: String,
    os: Option<OsFamily>,
    state: String,
    sort: String,
    after: Option<PackageId>,
}

impl Asked {
    fn read(call: &Call) -> Result<Self, Refusal> {
        let query = &call.query;
        let asked = Self {
            text: query.get("q").to_owned(),
            os: query.parse_some::<OsFamily>("os")?,
            state: query.get("state").to_owned(),
            sort: query.get("sort").to_owned(),
            after: query.parse_some::<PackageId>("after")?,
        };
        asked.states()?;
        Ok(asked)
    }

    fn states(&self) -> Result<Vec<PackageState>, Refusal> {
        let wrong = |error: InvalidPackage| Refusal::invalid(error.to_string()).about("state");
        match self.state.as_str() {
            "" => Ok(vec![PackageState::Available, PackageState::Building]),
            word => Ok(vec![word.parse().map_err(wrong)?]),
        }
    }

    fn is_bin(&self) -> bool {
        self.state == "withdrawn"
    }

    fn is_filtered(&self) -> bool {
        !self.text.is_empty() || self.os.is_some()
    }

    fn is_sorted(&self, by: &str) -> bool {
        self.sort == by || (self.sort.is_empty() && by == "newest")
    }

    /// The address of the same list with something else.
    fn with(&self, name: &str, value: &str) -> String {
        let mut parts = Vec::new();
        let os = self.os.map(OsFamily::as_str).unwrap_or_default();
        for (key, present) in [("q", self.text.as_str()), ("os", os), ("state", &self.state), ("sort", &self.sort)] {
            let wanted = if key == name { value } else { present };
            if !wanted.is_empty() {
                parts.push(format!("{key}={}", escaped(wanted)));
            }
        }
        if name == "after" {
            parts.push(format!("after={value}"));
        }
        format!("/packages?{}", parts.join("&"))
    }

    /// One page and one more.
    fn find(&self, desk: &Desk) -> Result<Vec<PackageLine>, Refusal> {
        let wanted = Wanted {
            text: self.text.clone(),
            name: None,
            os: self.os,
            states: self.states()?,
            order: match self.sort.as_str() {
                "name" => Order::Name,
                "oldest" => Order::Oldest,
                _ => Order::Newest,
            },
            after: self.after,
        };
        match COUNTERS.iter().find(|(word, ..)| *word == self.sort) {
            Some((_, _, states)) => desk.packages_by_count(&wanted, states, ROWS + 1),
            None => desk.wanted_packages(&wanted, ROWS + 1),
        }
    }
}

#[derive(Template)]
#[template(path = "packages.html")]
struct List {
    shell: Shell,
    asked: Asked,
    rows: String,
    live: String,
    may_build: bool,
}

impl List {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn systems(&self) -> [OsFamily; 3] {
        [OsFamily::Windows, OsFamily::Linux, OsFamily::Macos]
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn counters(&self) -> [&'static str; 4] {
        COUNTERS.map(|(word, ..)| word)
    }
}

#[derive(Template)]
#[template(path = "packages-rows.html")]
struct Table {
    csrf: Html,
    asked: Asked,
    rows: Vec<Row>,
    next: Option<PackageId>,
    may_build: bool,
    may_withdraw: bool,
    /// Whoever sees only some computers is not told how the counters of all of them compare.
    by_count: bool,
}

impl Table {
    /// Is there a box before each row?
    fn ticks(&self) -> bool {
        self.may_withdraw && !self.asked.is_bin()
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn counters(&self) -> [&'static str; 4] {
        COUNTERS.map(|(word, ..)| word)
    }
}

fn rows(desk: &Desk, asked: &Asked, csrf: &str) -> Result<String, Refusal> {
    let mut found = asked.find(desk)?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let next = found.last().filter(|_| more).map(|line| line.package.id);
    let rows = found.into_iter().map(|line| {
        let withdrawn = line.package.state == PackageState::Withdrawn;
        let kept = if withdrawn { desk.withdrawal(line.package.id)? } else { None };
        Ok(Row { counts: Counts(line.counts.clone()), line, kept })
    });
    let part = Table {
        csrf: csrf_field(csrf),
        asked: asked.clone(),
        rows: rows.collect::<Result<_, Refusal>>()?,
        next,
        may_build: desk.may(Right::BuildPackages),
        may_withdraw: desk.may(Right::WithdrawPackages),
        by_count: desk.actor().scope.computers.is_none(),
    };
    part.render().map_err(Refusal::failed)
}

pub(super) fn list(call: &Call) -> Result<View, Refusal> {
    let asked = Asked::read(call)?;
    let rows = rows(call.desk(), &asked, &call.visit.csrf)?;
    if call.fragment.as_deref() == Some("list") {
        return Ok(View::Html(rows));
    }
    call.page(&List {
        shell: call.shell("Packages", "/packages"),
        asked,
        rows,
        live: format!("/packages/live?at={}&{}", at(call), call.query_text),
        may_build: call.desk().may(Right::BuildPackages),
    })
}

pub(super) fn list_live(call: &Call) -> Result<View, Refusal> {
    let (asked, csrf) = (Asked::read(call)?, call.visit.csrf.clone());
    let response = events::answer(&call.site, &call.visit, is_fresh(call), move |desk| {
        Ok(vec![("list", rows(desk, &asked, &csrf)?)])
    })?;
    Ok(View::Other(Box::new(response)))
}
