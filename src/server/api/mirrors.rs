//! `/mirrors` and `/sites`.

use std::time::Duration;

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, Page, Paging, limit, operation};
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::model::{AddressRange, Location, PackageId};
use crate::protocol::PackageFilter;
use crate::service::desk::Refusal;
use crate::service::desk::mirrors::{MirrorLine, MirrorPage};
use crate::service::mirrors::SILENT_AFTER;
use crate::store::mirrors::Site;

pub(super) fn operations() -> Vec<Operation> {
    let (see, edit) = (Right::SeeMirrors, Right::EditMirrors);
    vec![
        operation(Method::GET, "/mirrors", "list_mirrors", "Mirrors and how they are, by name", see, list),
        // Its answer holds a secret, so it is not kept for an Idempotency-Key: asking again is told 409.
        operation(
            Method::POST,
            "/mirrors",
            "add_mirror",
            "Registers a mirror; the token that it reports with is told only now",
            edit,
            add,
        ),
        operation(Method::GET, "/mirrors/{name}", "get_mirror", "One mirror and what it holds", see, get),
        operation(
            Method::DELETE,
            "/mirrors/{name}",
            "remove_mirror",
            "Forgets a mirror: no computer is sent to it any more",
            edit,
            remove,
        ),
        operation(
            Method::POST,
            "/mirrors/{name}/token",
            "renew_mirror_token",
            "Gives a mirror a new token; the old one is worth nothing from then on",
            edit,
            renew,
        ),
        operation(
            Method::GET,
            "/mirror-key",
            "get_mirror_key",
            "The key that manifests are signed with, for `dripfeed-mirror sync --key`",
            see,
            key,
        ),
        operation(Method::GET, "/sites", "list_sites", "Sites with their addresses and mirrors, by name", see, sites),
        operation(
            Method::POST,
            "/sites",
            "add_site",
            "Makes a site: its computers fetch fragments from its mirrors, and from the server when none has them",
            edit,
            add_site,
        )
        .creates(),
        operation(Method::GET, "/sites/{name}", "get_site", "One site", see, site),
        operation(
            Method::DELETE,
            "/sites/{name}",
            "remove_site",
            "Forgets a site: its computers fetch from the server again",
            edit,
            remove_site,
        ),
    ]
}

/// A name.
#[derive(Deserialize, JsonSchema)]
struct ByName {
    /// Lower-case letters, digits, dots and dashes.
    name: String,
}

/// A mirror.
#[derive(JsonSchema, Serialize)]
struct MirrorView {
    /// Its name.
    name: String,
    /// Where agents fetch fragments from it, without a scheme. `$IP$` is the address that it reports from, `$NAME$` its
    /// name.
    location: String,
    /// `never reported`, `silent`, `unreachable`, `trouble`, `behind` or `fine`.
    health: &'static str,
    /// The generation of its copy.
    generation: u64,
    /// The generation of the server's tree.
    newest_generation: u64,
    /// Bytes that it holds.
    bytes: u64,
    /// When it reported last; absent if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_at: Option<String>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_from: Option<String>,
    /// What it may have: numbers and names of families; absent for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    packages: Option<String>,
    /// So long after its last report it is not offered any more.
    silent_after_seconds: u64,
    /// What was wrong with its last sync; absent if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Since when it answers when the server asks it for a file; absent if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    reached_at: Option<String>,
    /// Since when it does not. It is offered to nobody then, unless `reached_at` is absent: the server may stand where it
    /// cannot reach it, and its computers can.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_at: Option<String>,
    /// How it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_why: Option<String>,
}

impl From<MirrorLine> for MirrorView {
    fn from(MirrorLine { mirror, health, generation }: MirrorLine) -> Self {
        Self {
            location: mirror.location.to_string(),
            health,
            generation: mirror.generation,
            newest_generation: generation,
            bytes: mirror.bytes,
            reported_at: mirror.reported_at.map(utc_text),
            reported_from: mirror.reported_from.map(|address| address.to_string()),
            packages: (!mirror.packages.is_everything()).then(|| mirror.packages.to_string()),
            silent_after_seconds: mirror.silent_after.as_secs(),
            problem: Some(mirror.problem).filter(|text| !text.is_empty()),
            reached_at: mirror.reach.reached_at.map(utc_text),
            lost_at: mirror.reach.lost.as_ref().map(|lost| utc_text(lost.at)),
            lost_why: mirror.reach.lost.map(|lost| lost.why),
            name: mirror.name,
        }
    }
}

/// A mirror and what it holds.
#[derive(JsonSchema, Serialize)]
struct MirrorWhole {
    /// The mirror.
    #[serde(flatten)]
    mirror: MirrorView,
    /// Sites that it is near.
    sites: Vec<String>,
    /// Numbers of the packages that it holds.
    holds: Vec<u32>,
}

/// A page of a list that is small enough to be read whole: names after `after`.
fn page<T, V>(
    all: Vec<T>,
    paging: &Paging,
    name: impl Fn(&T) -> String,
    view: impl Fn(T) -> V,
) -> Result<Page<V>, Refusal> {
    let limit = limit(paging.limit)?;
    let after = paging.after.as_deref();
    let rest = all.into_iter().filter(|one| after.is_none_or(|after| name(one).as_str() > after));
    Ok(Page::cut(rest.take(limit + 1).collect(), limit, &name, view))
}

fn list(asked: Asked<Nothing, Paging, Nothing>) -> Result<Page<MirrorView>, Refusal> {
    page(asked.desk().mirrors()?, &asked.query, |line| line.mirror.name.clone(), MirrorView::from)
}

fn get(asked: Asked<ByName, Nothing, Nothing>) -> Result<MirrorWhole, Refusal> {
    let MirrorPage { line, sites, packages } = asked.desk().mirror(&asked.path.name)?;
    Ok(MirrorWhole { mirror: line.into(), sites, holds: packages.into_iter().map(PackageId::number).collect() })
}

/// A mirror to register.
#[derive(Deserialize, JsonSchema)]
struct NewMirror {
    /// Lower-case letters, digits, dots and dashes.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// Where agents fetch fragments from it, without a scheme: `HOST[:PORT]/PATH`.
    location: String,
    /// What it may have: numbers and names of families with commas between, `*` for any letters; everything if absent.
    packages: Option<String>,
    /// So long after its last report it is not offered any more; an hour if absent.
    #[schemars(range(min = 1, max = 31_622_400))]
    silent_after_seconds: Option<u64>,
}

/// A mirror's token.
#[derive(JsonSchema, Serialize)]
struct MirrorToken {
    /// The mirror.
    mirror: String,
    /// What it reports with. Told only now.
    token: String,
}

fn add(asked: Asked<Nothing, Nothing, NewMirror>) -> Result<MirrorToken, Refusal> {
    let body = &asked.body;
    let location: Location = parse(&body.location, "location")?;
    let packages: PackageFilter = match &body.packages {
        Some(text) => parse(text, "packages")?,
        None => PackageFilter::default(),
    };
    let silent_after = match body.silent_after_seconds {
        None => SILENT_AFTER,
        Some(seconds @ 1..=31_622_400) => Duration::from_secs(seconds),
        Some(_) => return Err(Refusal::invalid("a time from a second to a year").about("silent_after_seconds")),
    };
    let token = asked.desk().add_mirror(&body.name, location, packages, silent_after)?;
    Ok(MirrorToken { mirror: body.name.clone(), token })
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str, field: &'static str) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| Refusal::invalid(error.to_string()).about(field))
}

fn renew(asked: Asked<ByName, Nothing, Nothing>) -> Result<MirrorToken, Refusal> {
    let token = asked.desk().renew_mirror_token(&asked.path.name)?;
    Ok(MirrorToken { mirror: asked.path.name, token })
}

/// What had the mirror.
#[derive(JsonSchema, Serialize)]
struct MirrorRemoved {
    /// Sites that had it.
    sites: Vec<String>,
}

fn remove(asked: Asked<ByName, Nothing, Nothing>) -> Result<MirrorRemoved, Refusal> {
    Ok(MirrorRemoved { sites: asked.desk().remove_mirror(&asked.path.name)? })
}

/// A key.
#[derive(JsonSchema, Serialize)]
struct KeyView {
    /// As `dripfeed-mirror sync --key` takes it.
    key: String,
}

fn key(asked: Asked<Nothing, Nothing, Nothing>) -> Result<KeyView, Refusal> {
    Ok(KeyView { key: asked.site.signing.public() })
}

/// A site.
#[derive(JsonSchema, Serialize)]
struct SiteView {
    /// Its name.
    name: String,
    /// Its addresses.
    ranges: Vec<String>,
    /// Its mirrors, the nearest first.
    mirrors: Vec<String>,
    /// When it was made.
    created_at: String,
}

impl From<Site> for SiteView {
    fn from(site: Site) -> Self {
        Self {
            ranges: site.ranges.iter().map(ToString::to_string).collect(),
            mirrors: site.mirrors,
            created_at: utc_text(site.created_at),
            name: site.name,
        }
    }
}

fn sites(asked: Asked<Nothing, Paging, Nothing>) -> Result<Page<SiteView>, Refusal> {
    page(asked.desk().sites()?, &asked.query, |site| site.name.clone(), SiteView::from)
}

fn site(asked: Asked<ByName, Nothing, Nothing>) -> Result<SiteView, Refusal> {
    Ok(asked.desk().site(&asked.path.name)?.into())
}

/// A site to make.
#[derive(Deserialize, JsonSchema)]
struct NewSite {
    /// Lower-case letters, digits, dots and dashes.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// `10.1.0.0/16`, `10.1.2.10-10.1.2.99`, or one address; the narrowest range of all sites wins.
    #[schemars(length(min = 1, max = 1000))]
    ranges: Vec<String>,
    /// Its mirrors, the nearest first.
    #[schemars(length(min = 1, max = 100))]
    mirrors: Vec<String>,
}

fn add_site(asked: Asked<Nothing, Nothing, NewSite>) -> Result<SiteView, Refusal> {
    let body = &asked.body;
    if !(1..=1000).contains(&body.ranges.len()) {
        return Err(Refusal::invalid("a site has 1 to 1000 ranges of addresses").about("ranges"));
    }
    if !(1..=100).contains(&body.mirrors.len()) {
        return Err(Refusal::invalid("a site has 1 to 100 mirrors").about("mirrors"));
    }
    let ranges = body.ranges.iter().map(|text| parse::<AddressRange>(text, "ranges")).collect::<Result<_, _>>()?;
    asked.desk().add_site(&body.name, ranges, body.mirrors.clone())?;
    Ok(asked.desk().site(&body.name)?.into())
}

fn remove_site(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().remove_site(&asked.path.name)?;
    Ok(Nothing {})
}
