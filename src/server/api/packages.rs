//! `/packages`: look, activate, take back, download; `builds` makes them.

#![expect(clippy::needless_pass_by_value, reason = "an operation owns what it is asked")]

use std::io::{Read as _, Write};

use axum::body::Body;
use axum::extract::{Extension, Path};
use axum::response::Response;
use axum::routing::get as get_route;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::Site;
use super::super::visit::{Visit, blocking};
use super::builds::NotifyBody;
use super::operation::{Asked, Nothing, Operation, Page, limit, operation};
use super::problem::refused;
use crate::archive::SplitFragment;
use crate::clock::utc_text;
use crate::fetch::{Client, ClientOptions};
use crate::model::access::Right;
use crate::model::{Location, OsFamily, PackageId, PackageState, TreeKey};
use crate::service::contents::{FileChange, compare as compare_contents};
use crate::service::desk::Refusal;
use crate::service::desk::packages::{Activating, PackageLine};
use crate::service::series::Need;
use crate::store::packages::{Order, Wanted};

pub(super) fn operations() -> Vec<Operation> {
    use Right::{ActivatePackages, SeePackages, WithdrawPackages};
    let stream = |path, id, summary, answers, handler| {
        Operation::stream(Method::GET, path, id, summary, SeePackages, answers, handler).path_of::<ById>()
    };
    vec![
        operation(Method::GET, "/packages", "list_packages", "Packages, newest first", SeePackages, list),
        operation(Method::GET, "/packages/{id}", "get_package", "One package", SeePackages, get),
        operation(
            Method::DELETE,
            "/packages/{id}",
            "withdraw_package",
            "Takes a package back: nothing is offered any more and open jobs are cancelled",
            WithdrawPackages,
            withdraw,
        ),
        operation(
            Method::POST,
            "/packages/{id}/restoration",
            "restore_package",
            "Undoes a withdrawal while the files are kept; cancelled jobs stay cancelled",
            WithdrawPackages,
            restore,
        ),
        operation(
            Method::DELETE,
            "/packages/{id}/restoration",
            "forget_package",
            "Removes the files of a withdrawn package for good",
            WithdrawPackages,
            forget,
        ),
        operation(
            Method::POST,
            "/packages/{id}/activation",
            "activate_package",
            "Tells agents where to fetch it, after every file was fetched from there and compared",
            ActivatePackages,
            activate,
        )
        .creates(),
        operation(
            Method::DELETE,
            "/packages/{id}/activation",
            "deactivate_package",
            "Ends the activation: nothing is offered any more, open jobs wait",
            ActivatePackages,
            deactivate,
        ),
        operation(
            Method::GET,
            "/packages/{id}/fragments",
            "list_fragments",
            "The fragments with their digests",
            SeePackages,
            fragments,
        ),
        operation(Method::GET, "/packages/{id}/files", "list_files", "The files of the archive", SeePackages, files),
        operation(
            Method::GET,
            "/packages/{id}/comparison/{other}",
            "compare_packages",
            "How two packages differ: definition and files",
            SeePackages,
            comparison,
        ),
        stream(
            "/packages/{id}/info",
            "get_info",
            "The info file as agents read it",
            "application/xml",
            get_route(info),
        ),
        stream(
            "/packages/{id}/download",
            "download_archive",
            "The archive, put together from its fragments",
            "application/octet-stream",
            get_route(download),
        ),
        stream(
            "/packages/{id}/tree",
            "download_tree",
            "Info file and fragments as a tar, as they lie in the tree",
            "application/x-tar",
            get_route(tree),
        ),
    ]
}

/// A package's number.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ById {
    /// The package's number.
    id: u32,
}

impl ById {
    pub(super) fn id(&self) -> Result<PackageId, Refusal> {
        PackageId::new(self.id).ok_or_else(|| Refusal::not_found(format!("there is no package {}", self.id)))
    }
}

/// A package.
#[derive(JsonSchema, Serialize)]
pub(super) struct PackageView {
    /// Its number, never used again.
    id: u32,
    /// The family: packages of one family are versions of each other.
    name: String,
    /// The version.
    version: String,
    /// Free text.
    description: String,
    /// `linux`, `windows` or `macos`.
    os: &'static str,
    /// `launch`, `execute` or `store`.
    action: &'static str,
    /// The command, or the directory for `store`.
    command: String,
    /// The pace: 0 is at once, 10 the slowest.
    priority: u32,
    /// What people are asked before it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    notify: Option<NotifyBody>,
    /// How many fragments the archive has.
    fragments: u32,
    /// Bytes of the archive.
    size: u64,
    /// MD5 of the archive, which stock agents check.
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
    /// SHA-256 of the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// `building`, `available` or `withdrawn`.
    state: &'static str,
    /// When it was built.
    created_at: String,
    /// Where agents fetch it; absent until it is activated.
    #[serde(skip_serializing_if = "Option::is_none")]
    activation: Option<ActivationView>,
    /// How many jobs are in which state.
    jobs: std::collections::BTreeMap<&'static str, u64>,
}

/// Where agents fetch a package.
#[derive(JsonSchema, Serialize)]
pub(super) struct ActivationView {
    /// The info file, over HTTPS.
    info_location: String,
    /// The fragments.
    fragment_location: String,
    /// When it was activated.
    activated_at: String,
    /// Was every file fetched and compared?
    checked: bool,
}

impl From<PackageLine> for PackageView {
    fn from(line: PackageLine) -> Self {
        let package = line.package;
        Self {
            id: package.id.number(),
            name: package.name,
            version: package.version,
            description: package.description,
            os: package.os.as_str(),
            action: package.action.as_str(),
            command: package.action.text().to_owned(),
            priority: package.priority.number(),
            notify: package.notify.map(NotifyBody::from),
            fragments: package.fragments.0,
            size: package.size,
            md5: package.md5.map(|digest| digest.to_string()),
            sha256: package.sha256.map(|digest| digest.to_string()),
            state: package.state.as_str(),
            created_at: utc_text(package.created_at),
            activation: line.activation.map(|activation| ActivationView {
                info_location: activation.info_location.to_string(),
                fragment_location: activation.fragment_location.to_string(),
                activated_at: utc_text(activation.activated_at),
                checked: activation.checked_at.is_some(),
            }),
            jobs: line.counts.into_iter().map(|(state, count)| (state.as_str(), count)).collect(),
        }
    }
}

/// Which packages are wanted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
struct ListQuery {
    /// Part of name, version or description.
    q: Option<String>,
    /// Exactly this family.
    name: Option<String>,
    /// `linux`, `windows` or `macos`.
    os: Option<String>,
    /// `building`, `available` or `withdrawn`.
    state: Option<String>,
    /// `newest`, `oldest` or `name`.
    sort: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Entries of a page, from 1 to 1000; 100 if it is not said.
    limit: Option<u32>,
}

fn list(asked: Asked<Nothing, ListQuery, Nothing>) -> Result<Page<PackageView>, Refusal> {
    let query = &asked.query;
    let limit = limit(query.limit)?;
    let parsed = |text: &Option<String>, field| {
        text.as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|error: crate::model::InvalidPackage| Refusal::invalid(error.to_string()).about(field))
    };
    let state = query.state.as_deref().map(str::parse::<PackageState>).transpose();
    let state = state.map_err(|error| Refusal::invalid(error.to_string()).about("state"))?;
    let wanted = Wanted {
        text: query.q.clone().unwrap_or_default(),
        name: query.name.clone(),
        os: query
            .os
            .as_deref()
            .map(str::parse::<OsFamily>)
            .transpose()
            .map_err(|error| Refusal::invalid(error.to_string()).about("os"))?,
        states: state.into_iter().collect(),
        order: match query.sort.as_deref().unwrap_or("newest") {
            "newest" => Order::Newest,
            "oldest" => Order::Oldest,
            "name" => Order::Name,
            _ => return Err(Refusal::invalid("packages are sorted by newest, oldest or name").about("sort")),
        },
        after: parsed(&query.after, "after")?,
    };
    let lines = asked.desk().wanted_packages(&wanted, limit + 1)?;
    Ok(Page::cut(lines, limit, |line| line.package.id.to_string(), PackageView::from))
}

fn get(asked: Asked<ById, Nothing, Nothing>) -> Result<PackageView, Refusal> {
    Ok(asked.desk().package(asked.path.id()?)?.into())
}

fn withdraw(asked: Asked<ById, Nothing, Nothing>) -> Result<WithdrawnView, Refusal> {
    let id = asked.path.id()?;
    let series = asked.desk().series_that_need(Need::Package(id))?;
    let withdrawn = asked.desk().withdraw(id)?;
    Ok(WithdrawnView {
        pausing_series: series.iter().map(|line| line.series.id.0).collect(),
        cancelled_jobs: withdrawn.cancelled_jobs,
        cancelled_deployments: withdrawn.cancelled_deployments,
    })
}

/// What a withdrawal ended.
#[derive(JsonSchema, Serialize)]
struct WithdrawnView {
    /// Open jobs that were cancelled.
    cancelled_jobs: usize,
    /// Deployments that were cancelled.
    cancelled_deployments: usize,
    /// Series that deploy it and pause at their next run, by number; those that you may see.
    pausing_series: Vec<i64>,
}

fn restore(asked: Asked<ById, Nothing, Nothing>) -> Result<PackageView, Refusal> {
    let id = asked.path.id()?;
    asked.desk().restore(id)?;
    Ok(asked.desk().package(id)?.into())
}

fn forget(asked: Asked<ById, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().forget(asked.path.id()?)?;
    Ok(Nothing {})
}

/// Where agents shall fetch a package.
#[derive(Deserialize, JsonSchema)]
struct ActivateBody {
    /// `host[:port]/path` of the info file, over HTTPS; this server if it is not said.
    info_location: Option<String>,
    /// `host[:port]/path` of the fragments, over HTTP; this server if it is not said.
    fragment_location: Option<String>,
    /// Fetch and compare everything first? True if it is not said.
    check: Option<bool>,
}

fn activate(asked: Asked<ById, Nothing, ActivateBody>) -> Result<PackageView, Refusal> {
    let id = asked.path.id()?;
    let location = |named: &Option<String>, own: &str, field| match named {
        Some(text) => text
            .parse()
            .map_err(|error: crate::model::InvalidLocation| Refusal::invalid(error.to_string()).about(field)),
        None => own_location(own),
    };
    let authorities = &asked.site.authorities;
    let info = location(&asked.body.info_location, &authorities.https, "info_location")?;
    let fragments = location(&asked.body.fragment_location, &authorities.http, "fragment_location")?;
    let client = if asked.body.check.unwrap_or(true) {
        Some(Client::new(&check_options(&asked.site)).map_err(|error| Refusal::conflict(error.to_string()))?)
    } else {
        None
    };
    asked.desk().activate(id, info, fragments, client.as_ref(), &mut |_, _| {})?;
    Ok(asked.desk().package(id)?.into())
}

/// A location on this server.
pub(in crate::server) fn own_location(authority: &str) -> Result<Location, Refusal> {
    format!("{authority}/download").parse().map_err(Refusal::failed)
}

/// An activation on this server, checked.
pub(in crate::server) fn activating_here(site: &Site) -> Result<Activating, Refusal> {
    Ok(Activating {
        info_location: own_location(&site.authorities.https)?,
        fragment_location: own_location(&site.authorities.http)?,
        check_with: Some(check_options(site)),
    })
}

/// As agents of this server fetch.
pub(in crate::server) fn check_options(site: &Site) -> ClientOptions {
    let user_agent = format!("dripfeed/{} activation-check", env!("CARGO_PKG_VERSION"));
    ClientOptions { ca_file: site.tls.authority_file(), user_agent, ..ClientOptions::default() }
}

fn deactivate(asked: Asked<ById, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().deactivate(asked.path.id()?)?;
    Ok(Nothing {})
}

/// The fragments of a package.
#[derive(JsonSchema, Serialize)]
struct FragmentList {
    /// In order.
    items: Vec<FragmentView>,
}

/// A fragment.
#[derive(JsonSchema, Serialize)]
struct FragmentView {
    /// From 1 on.
    number: u32,
    /// Its bytes.
    size: u64,
    /// Its SHA-256.
    sha256: String,
}

fn fragments(asked: Asked<ById, Nothing, Nothing>) -> Result<FragmentList, Refusal> {
    let found = asked.desk().fragments(asked.path.id()?)?;
    let view = |fragment: SplitFragment| FragmentView {
        number: fragment.number.number(),
        size: fragment.size,
        sha256: fragment.sha256.to_string(),
    };
    Ok(FragmentList { items: found.into_iter().map(view).collect() })
}

/// The files of an archive.
#[derive(JsonSchema, Serialize)]
struct FileList {
    /// Were they listed? Not for packages without files.
    listed: bool,
    /// In the archive's order.
    items: Vec<FileView>,
    /// How many more there are.
    omitted: u64,
}

/// A file of an archive.
#[derive(JsonSchema, Serialize)]
struct FileView {
    /// Its path.
    path: String,
    /// Its bytes.
    size: u64,
    /// Its SHA-256; absent for a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

fn files(asked: Asked<ById, Nothing, Nothing>) -> Result<FileList, Refusal> {
    let Some(contents) = asked.desk().contents(asked.path.id()?)? else {
        return Ok(FileList { listed: false, items: Vec::new(), omitted: 0 });
    };
    let items = contents.members.into_iter().map(|member| FileView {
        sha256: Some(member.sha256).filter(|digest| !digest.is_empty()),
        path: member.path,
        size: member.size,
        link: member.link,
    });
    Ok(FileList { listed: true, items: items.collect(), omitted: contents.omitted })
}

/// Two packages.
#[derive(Deserialize, JsonSchema)]
struct ByTwo {
    /// One package's number.
    id: u32,
    /// The other's.
    other: u32,
}

/// How two packages differ; the older one is the first.
#[derive(JsonSchema, Serialize)]
struct ComparisonView {
    /// The older one.
    old: PackageView,
    /// The newer one.
    new: PackageView,
    /// Were the files of both listed, so that they could be compared?
    files_compared: bool,
    /// Files that only the newer one has.
    added: Vec<String>,
    /// Files that only the older one has.
    removed: Vec<String>,
    /// Files with other bytes.
    changed: Vec<String>,
}

fn comparison(asked: Asked<ByTwo, Nothing, Nothing>) -> Result<ComparisonView, Refusal> {
    let found = asked.desk().compare(ById { id: asked.path.id }.id()?, ById { id: asked.path.other }.id()?)?;
    let files = match &found.contents {
        (Some(old), Some(new)) => Some(compare_contents(old, new)),
        _ => None,
    };
    let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for change in files.iter().flatten() {
        match change {
            FileChange::Added(member) => added.push(member.path.clone()),
            FileChange::Removed(member) => removed.push(member.path.clone()),
            FileChange::Changed(member, _) => changed.push(member.path.clone()),
        }
    }
    let view = |package| PackageLine { package, activation: None, counts: Vec::new() }.into();
    Ok(ComparisonView {
        files_compared: files.is_some(),
        old: view(found.old),
        new: view(found.new),
        added,
        removed,
        changed,
    })
}

/// The number in an address.
fn package_id(text: &str) -> Result<PackageId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("there is no such package"))
}

async fn info(Extension(visit): Extension<Visit>, Path(id): Path<String>) -> Response {
    let text = blocking(move || visit.desk.info(package_id(&id)?)).await;
    match text {
        Ok(text) => {
            let length = text.len() as u64;
            answer(Body::from(text), "application/xml", length, None)
        }
        Err(refusal) => refused(&refusal),
    }
}

/// What is sent from a thread that reads: a few blocks ahead of the socket, never more.
struct Outlet {
    sender: tokio::sync::mpsc::Sender<std::io::Result<Bytes>>,
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent = self.sender.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A body that `write` fills. An error cuts it, so that the client sees that it is not whole.
fn streamed(write: impl FnOnce(&mut Outlet) -> std::io::Result<()> + Send + 'static) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let mut outlet = Outlet { sender };
        if let Err(error) = write(&mut outlet)
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            tracing::error!("a download was cut: {error}");
            let _ = outlet.sender.blocking_send(Err(error));
        }
    });
    Body::from_stream(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|block| (block, receiver))
    }))
}

fn copy(file: std::fs::File, size: u64, outlet: &mut Outlet) -> std::io::Result<()> {
    let mut file = file.take(size);
    let mut buffer = vec![0; 256 << 10];
    let mut left = size;
    while left > 0 {
        match file.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => {
                outlet.write_all(&buffer[..n])?;
                left -= n as u64;
            }
        }
    }
    Ok(())
}

async fn download(Extension(visit): Extension<Visit>, Path(id): Path<String>) -> Response {
    let found = blocking(move || {
        let desk = visit.desk;
        let package = desk.package(package_id(&id)?)?.package;
        let fragments = desk.fragments(package.id)?;
        let Some(first) = fragments.first() else {
            return Err(Refusal::not_found("this package has no files: it is a command alone"));
        };
        // One that is gone is told now, not in the middle.
        let mut head = [0; 4];
        let mut file = desk.file(TreeKey::Fragment { package: package.id, number: first.number })?;
        let _ = file.read(&mut head).map_err(Refusal::failed)?;
        let end = if head.starts_with(b"PK") { "zip" } else { "tar.gz" };
        Ok((desk, package, fragments, end))
    });
    let (desk, package, fragments, end) = match found.await {
        Ok(found) => found,
        Err(refusal) => return refused(&refusal),
    };
    let (size, id) = (package.size, package.id);
    let name = format!("{}-{}.{end}", package.name, package.version);
    let body = streamed(move |outlet| {
        for fragment in fragments {
            let file = desk.file(TreeKey::Fragment { package: id, number: fragment.number });
            copy(file.map_err(std::io::Error::other)?, fragment.size, outlet)?;
        }
        Ok(())
    });
    answer(body, "application/octet-stream", size, Some(&name))
}

async fn tree(Extension(visit): Extension<Visit>, Path(id): Path<String>) -> Response {
    let found = blocking(move || {
        let desk = visit.desk;
        let package = desk.package(package_id(&id)?)?.package;
        let info = desk.info(package.id)?;
        let fragments = desk.fragments(package.id)?;
        Ok::<_, Refusal>((desk, package, info, fragments))
    });
    let (desk, package, info, fragments) = match found.await {
        Ok(found) => found,
        Err(refusal) => return refused(&refusal),
    };
    let padded = |size: u64| 512 + size.div_ceil(512) * 512;
    let length = padded(info.len() as u64) + fragments.iter().map(|it| padded(it.size)).sum::<u64>() + 1024;
    let name = format!("{}.tar", package.id);
    let body = streamed(move |outlet| {
        let id = package.id;
        let stamp = u64::try_from(package.created_at.seconds()).unwrap_or(0);
        entry(outlet, &format!("{id}/info"), info.len() as u64, stamp)?;
        outlet.write_all(info.as_bytes())?;
        pad(outlet, info.len() as u64)?;
        for fragment in fragments {
            let key = TreeKey::Fragment { package: id, number: fragment.number };
            entry(outlet, &format!("{id}/{}", key.file_name()), fragment.size, stamp)?;
            copy(desk.file(key).map_err(std::io::Error::other)?, fragment.size, outlet)?;
            pad(outlet, fragment.size)?;
        }
        outlet.write_all(&[0; 1024])
    });
    answer(body, "application/x-tar", length, Some(&name))
}

fn entry(outlet: &mut Outlet, path: &str, size: u64, stamp: u64) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(stamp);
    header.set_cksum();
    outlet.write_all(header.as_bytes())
}

fn pad(outlet: &mut Outlet, size: u64) -> std::io::Result<()> {
    let rest = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
    outlet.write_all(&[0; 512][..rest])
}

fn answer(body: Body, kind: &'static str, length: u64, name: Option<&str>) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(name) = name {
        // Names are anybody's text: what is not plain becomes an underscore here and is escaped in the second form.
        let plain: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-+ ".contains(c) { c } else { '_' }).collect();
        let value =
            format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", super::super::visit::escaped(name));
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(CONTENT_DISPOSITION, value);
        }
    }
    response
}
