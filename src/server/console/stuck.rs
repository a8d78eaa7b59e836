//! `/stuck`: jobs of which their computers were told, and nothing followed.

use askama::Template;

use super::super::visit::escaped;
use super::call::{Call, Page, View, get};
use super::shell::Shell;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::store::attention::{Stuck, StuckPlace};

/// Where it is.
pub(super) const ADDRESS: &str = "/stuck";
/// Rows of a page.
const ROWS: usize = 50;

pub(super) fn pages() -> Vec<Page> {
    vec![get(ADDRESS, Right::SeeDeployments, list)]
}

#[derive(Template)]
#[template(path = "stuck.html")]
struct List {
    shell: Shell,
    days: u64,
    rows: Vec<Stuck>,
    next: Option<String>,
    sees_computers: bool,
    sees_packages: bool,
    may_set: bool,
}

impl List {
    #[expect(clippy::unused_self, reason = "templates call methods")]
    fn computer(&self, row: &Stuck) -> String {
        format!("/computers/{}", escaped(&row.device_id))
    }
}

fn list(call: &Call) -> Result<View, Refusal> {
    let desk = call.desk();
    let after = call.query.parse_some::<StuckPlace>("after")?;
    let mut rows = desk.stuck(after, ROWS + 1)?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    call.page(&List {
        shell: call.shell("Stuck", "/"),
        days: desk.stuck_after()?.as_secs() / (24 * 60 * 60),
        next: rows.last().filter(|_| more).map(|last| format!("{ADDRESS}?after={}", last.place())),
        rows,
        sees_computers: desk.may(Right::SeeComputers),
        sees_packages: desk.may(Right::SeePackages),
        may_set: desk.may(Right::SeeSettings),
    })
}
