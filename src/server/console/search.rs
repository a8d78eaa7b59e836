//! `/search`: one field for everything.

use askama::Template;

use super::super::visit::escaped;
use super::call::{Call, Page, View, get};
use super::computer::address;
use super::shell::Shell;
use super::show;
use crate::model::UnixTime;
use crate::service::desk::Refusal;
use crate::service::desk::search::Found;

pub(super) fn pages() -> Vec<Page> {
    vec![get("/search", None, search)]
}

struct Hit {
    address: String,
    title: String,
    text: String,
    at: Option<UnixTime>,
}

struct Section {
    title: &'static str,
    icon: &'static str,
    hits: Vec<Hit>,
    more: Option<String>,
    more_title: &'static str,
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    shell: Shell,
    q: String,
    found: Vec<Section>,
    /// Computers that have it somewhere.
    parts: String,
}

fn search(call: &Call) -> Result<View, Refusal> {
    let q: String = call.query.get("q").chars().filter(|c| !c.is_control()).take(200).collect();
    let found = call.desk().search(&q)?;
    let value = format!("'{}'", q.replace('\\', "\\\\").replace('\'', "\\'"));
    let parts: Vec<String> =
        ["name", "user", "model", "ip", "serial"].iter().map(|field| format!("{field} contains {value}")).collect();
    call.page(&SearchPage {
        shell: call.shell("Search", ""),
        parts: format!("/computers?q={}", escaped(&parts.join(" or "))),
        found: sections(found, &q),
        q,
    })
}

fn sections(found: Found, q: &str) -> Vec<Section> {
    let computers = found.computers.into_iter().map(|computer| {
        let facts = [&computer.os_name, &computer.user_name, &computer.ip_address, &computer.serial, &computer.tag];
        let facts: Vec<&str> = facts.into_iter().map(String::as_str).filter(|fact| !fact.is_empty()).collect();
        let archived = if computer.archived_at.is_some() { " (archived)" } else { "" };
        Hit {
            address: address(&computer),
            title: format!(
                "{}{archived}",
                if computer.name.is_empty() { computer.device_id.host() } else { &computer.name }
            ),
            text: facts.join(", "),
            at: Some(computer.last_contact),
        }
    });
    let packages = found.packages.into_iter().map(|package| Hit {
        address: format!("/packages/{}", package.id),
        title: format!("{} {}", package.name, package.version),
        text: format!("{}, {}, {}", package.id, package.os.as_str(), package.state.as_str()),
        at: Some(package.created_at),
    });
    let groups = found.groups.into_iter().map(|group| Hit {
        address: format!("/groups/{}", escaped(&group.name)),
        text: group.query.unwrap_or_else(|| "made by hand".to_owned()),
        title: group.name,
        at: None,
    });
    let deployments = found.deployments.into_iter().map(|(id, package, at)| Hit {
        address: format!("/deployments/{id}"),
        title: format!("Deployment {id}"),
        text: format!("of package {package}"),
        at: Some(at),
    });
    let matching = found.matching.map(|count| Hit {
        address: format!("/computers?q={}", escaped(q)),
        title: "Computers that match this query".to_owned(),
        text: show::count(count, "computer"),
        at: None,
    });
    let section = |title, icon, hits: Vec<Hit>| Section { title, icon, hits, more: None, more_title: "" };
    let mut sections = vec![
        section("Query", "filter", matching.into_iter().collect()),
        section("Computers", "computer", computers.collect()),
        section("Packages", "package", packages.collect()),
        section("Groups", "group", groups.collect()),
        section("Deployments", "deployment", deployments.collect()),
    ];
    if let Some(computers) = sections.get_mut(1).filter(|section| section.hits.len() >= Found::MOST) {
        let begins = format!("name starts with '{}'", q.replace('\\', "\\\\").replace('\'', "\\'"));
        computers.more = Some(format!("/computers?q={}", escaped(&begins)));
        computers.more_title = "All whose name begins so";
    }
    sections.retain(|section| !section.hits.is_empty());
    sections
}
