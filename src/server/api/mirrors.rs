//! `/mirrors` and `/sites`.

use std::time::Duration;

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, Page, Paging, limit, operation};
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::model::{AddressRange, Location};
use crate::protocol::PackageFilter;
use crate::service::desk::Refusal;
use crate::service::desk::mirrors::{Holding, MirrorLine, MirrorPackage, MirrorPage};
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
            Method::PUT,
            "/mirrors/{name}",
            "edit_mirror",
            "Changes where a mirror is, what it may have and how long its silence is borne",
            edit,
            change,
        ),
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
            Method::PUT,
            "/sites/{name}",
            "edit_site",
            "Gives a site other addresses and mirrors; the order of the mirrors is that of the list",
            edit,
            change_site,
        ),
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
    /// How many packages it holds, those included that go with its next sync.
    packages_held: u64,
    /// How many it should hold.
    packages_wanted: u64,
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
    fn from(MirrorLine { mirror, health, generation, held, wanted }: MirrorLine) -> Self {
        Self {
            location: mirror.location.to_string(),
            health,
            generation: mirror.generation,
            newest_generation: generation,
            packages_held: held,
            packages_wanted: wanted,
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
    /// Numbers of those that it should hold and does not.
    lacks: Vec<u32>,
}

impl From<MirrorPage> for MirrorWhole {
    fn from(MirrorPage { line, sites, packages }: MirrorPage) -> Self {
        let (lacks, holds): (Vec<_>, Vec<_>) = packages.iter().partition(|one| one.holding == Holding::Missing);
        let numbers = |some: Vec<&MirrorPackage>| some.into_iter().map(|one| one.id.number()).collect();
        Self { mirror: line.into(), sites, holds: numbers(holds), lacks: numbers(lacks) }
    }
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
    Ok(asked.desk().mirror(&asked.path.name)?.into())
}

/// What can be changed of a mirror.
#[derive(Deserialize, JsonSchema)]
struct Terms {
    /// Where agents fetch fragments from it, without a scheme: `HOST[:PORT]/PATH`.
    location: String,
    /// What it may have: numbers and names of families with commas between, `*` for any letters; everything if absent.
    packages: Option<String>,
    /// So long after its last report it is not offered any more; an hour if absent.
    #[schemars(range(min = 1, max = 31_622_400))]
    silent_after_seconds: Option<u64>,
}

impl Terms {
    fn read(&self) -> Result<(Location, PackageFilter, Duration), Refusal> {
        let packages = match &self.packages {
            Some(text) => parse(text, "packages")?,
            None => PackageFilter::default(),
        };
        let silent_after = match self.silent_after_seconds {
            None => SILENT_AFTER,
            Some(seconds @ 1..=31_622_400) => Duration::from_secs(seconds),
            Some(_) => return Err(Refusal::invalid("a time from a second to a year").about("silent_after_seconds")),
        };
        Ok((parse(&self.location, "location")?, packages, silent_after))
    }
}

/// A mirror to register.
#[derive(Deserialize, JsonSchema)]
struct NewMirror {
    /// Lower-case letters, digits, dots and dashes.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// The rest.
    #[serde(flatten)]
    terms: Terms,
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
    let (location, packages, silent_after) = asked.body.terms.read()?;
    let token = asked.desk().add_mirror(&asked.body.name, location, packages, silent_after)?;
    Ok(MirrorToken { mirror: asked.body.name.clone(), token })
}

fn change(asked: Asked<ByName, Nothing, Terms>) -> Result<MirrorWhole, Refusal> {
    let (location, packages, silent_after) = asked.body.read()?;
    asked.desk().edit_mirror(&asked.path.name, location, packages, silent_after)?;
    Ok(asked.desk().mirror(&asked.path.name)?.into())
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

/// Addresses and mirrors of a site.
#[derive(Deserialize, JsonSchema)]
struct Extent {
    /// `10.1.0.0/16`, `10.1.2.10-10.1.2.99`, or one address; the narrowest range of all sites wins.
    #[schemars(length(min = 1, max = 1000))]
    ranges: Vec<String>,
    /// Its mirrors, the nearest first.
    #[schemars(length(min = 1, max = 100))]
    mirrors: Vec<String>,
}

impl Extent {
    fn ranges(&self) -> Result<Vec<AddressRange>, Refusal> {
        self.ranges.iter().map(|text| parse::<AddressRange>(text, "ranges")).collect()
    }
}

/// A site to make.
#[derive(Deserialize, JsonSchema)]
struct NewSite {
    /// Lower-case letters, digits, dots and dashes.
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// The rest.
    #[serde(flatten)]
    extent: Extent,
}

fn add_site(asked: Asked<Nothing, Nothing, NewSite>) -> Result<SiteView, Refusal> {
    let NewSite { name, extent } = &asked.body;
    asked.desk().add_site(name, extent.ranges()?, extent.mirrors.clone())?;
    Ok(asked.desk().site(name)?.into())
}

fn change_site(asked: Asked<ByName, Nothing, Extent>) -> Result<SiteView, Refusal> {
    asked.desk().edit_site(&asked.path.name, asked.body.ranges()?, asked.body.mirrors.clone())?;
    Ok(asked.desk().site(&asked.path.name)?.into())
}

fn remove_site(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().remove_site(&asked.path.name)?;
    Ok(Nothing {})
}
