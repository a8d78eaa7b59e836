//! `GET` and `HEAD` `/download/<id>/<id>-<n>` and `/download/<id>/info`.
//!
//! No answer here carries a validator and none is ever 304: a stock Unix agent that already has a file of that name asks
//! conditionally and takes every answer outside 2xx for a failed fragment, so it would ask for this one for ever.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, FORWARDED, HOST, HeaderName, RANGE, USER_AGENT,
    VIA,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};

use super::{Listener, Remote, Site, reply, sendfile};
use crate::disk::published::PublishedTree;
use crate::model::{ComputerId, TreeKey};
use crate::protocol::range::{Wanted, wanted};
use crate::service::stopped::{self, Fetch};

/// Where the tree is mounted.
pub(super) const MOUNT: &str = "/download/";

/// Files below this are read: a mapping and its later fault cost more than the copy.
const SMALL: u64 = 16 << 10;
/// Bytes handed to the connection at a time, so that "sent" in the log is true to within this.
const FRAME: usize = 1 << 20;
/// Mappings kept open. Each is a file descriptor and address space, no memory of ours.
const KEPT: usize = 1024;

/// What a request wants of the tree, however it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) is_head: bool,
    pub(super) path: &'a str,
    pub(super) range: Option<&'a [u8]>,
}

impl<'a> Wish<'a> {
    /// Of a request with a method that files know.
    pub(super) fn of<B>(request: &'a Request<B>) -> Option<Self> {
        let range = request.headers().get(RANGE).map(HeaderValue::as_bytes);
        Some(Self { is_head: is_head(request.method())?, path: request.uri().path(), range })
    }
}

/// A file, or a part of it, as it is answered.
#[derive(Debug)]
pub(super) struct FileAnswer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) content_length: usize,
    pub(super) content_range: Option<String>,
    /// Empty for HEAD.
    pub(super) body: Bytes,
}

/// The file that is wanted, if nothing has to be waited for and nothing is wrong: so it is with nearly every request there is.
/// Any other is for the router, and if it is for the tree, for [`serve`].
pub(super) fn at_once(site: &Site, listener: Listener, remote: SocketAddr, wish: Wish<'_>) -> Option<FileAnswer> {
    let key = key(wish.path).filter(|key| is_served(*key, listener))?;
    if site.stopped.candidate(remote.ip(), key).is_some() {
        return None;
    }
    published(site, remote, key, wish).ok()
}

/// Answers what [`at_once`] left: what is wrong, and what must be asked of the database.
pub(super) async fn serve(
    State(site): State<Site>,
    Extension(listener): Extension<Listener>,
    Extension(remote): Extension<Remote>,
    request: Request,
) -> Response {
    let Some(wish) = Wish::of(&request) else {
        let mut response = reply::text(StatusCode::METHOD_NOT_ALLOWED, "files are fetched with GET or HEAD");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    };
    let Some(key) = key(wish.path) else {
        return reply::text(
            StatusCode::NOT_FOUND,
            "no such file: expected /download/<id>/info or /download/<id>/<id>-<n>",
        );
    };
    if !is_served(key, listener) {
        return reply::text(
            StatusCode::FORBIDDEN,
            "info files carry the command to run and are served over HTTPS only: ask the HTTPS address for this file",
        );
    }
    // Memory only, and nobody for nearly every fetch: what follows is for agents whose job was cancelled.
    if let Some(computer) = site.stopped.candidate(remote.0.ip(), key)
        && taken_back(&site, computer, remote, key, request.headers()).await
    {
        return reply::text(
            StatusCode::GONE,
            "the package was taken back from this computer: its deployment was cancelled",
        );
    }
    match published(&site, remote.0, key, wish) {
        Ok(answer) => answer.into(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            reply::text(StatusCode::NOT_FOUND, "there is no such file in the tree: withdrawn, or never published")
        }
        Err(error) => {
            tracing::error!(tree.key = %key, "failed to open {key} of the tree: {error}");
            reply::later("the file cannot be read at the moment")
        }
    }
}

/// Is it HEAD, and not GET? `None` for what a file does not know.
fn is_head(method: &Method) -> Option<bool> {
    match *method {
        Method::GET => Some(false),
        Method::HEAD => Some(true),
        _ => None,
    }
}

/// The path as it stands: a key has no character that needs escaping, so an escaped path is no key.
fn key(path: &str) -> Option<TreeKey> {
    path.strip_prefix(MOUNT)?.parse().ok()
}

/// Info files carry the command to run: not over plain HTTP.
fn is_served(key: TreeKey, listener: Listener) -> bool {
    matches!(key, TreeKey::Fragment { .. }) || listener == Listener::Https
}

/// A file that is published now.
fn published(site: &Site, remote: SocketAddr, key: TreeKey, wish: Wish<'_>) -> io::Result<FileAnswer> {
    let bytes = site.files.open(key)?;
    if !wish.is_head {
        site.fetches.note(remote.ip(), key, site.app.clock.now());
    }
    Ok(FileAnswer::new(key, bytes, wish))
}

/// Asks the database. When it does not answer the file is served: a cancelled job is the smaller harm.
async fn taken_back(site: &Site, computer: ComputerId, remote: Remote, key: TreeKey, headers: &HeaderMap) -> bool {
    const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    if [VIA, FORWARDED, X_FORWARDED_FOR].iter().any(|name| headers.contains_key(name)) {
        return false;
    }
    let said = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (user_agent, host, app) = (said(USER_AGENT), said(HOST), site.app.clone());
    let asked = tokio::task::spawn_blocking(move || {
        let fetch = Fetch { address: remote.0.ip(), key, user_agent: &user_agent, host: &host };
        stopped::is_stopped(&app, computer, fetch)
    });
    match asked.await {
        Ok(Ok(stopped)) => stopped,
        Ok(Err(error)) => {
            tracing::error!(tree.key = %key, "failed to ask whether {key} was taken back, so it is served: {error}");
            false
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl FileAnswer {
    fn new(key: TreeKey, bytes: Bytes, wish: Wish<'_>) -> Self {
        let whole = bytes.len();
        let (status, bytes, content_range) = match wanted(wish.range, whole as u64) {
            Wanted::Whole => (StatusCode::OK, bytes, None),
            Wanted::Part(part) => {
                let text = format!("bytes {}-{}/{whole}", part.start, part.end - 1);
                // The range lies inside a slice of memory, so both ends fit.
                let (start, end) =
                    (usize::try_from(part.start).unwrap_or(whole), usize::try_from(part.end).unwrap_or(whole));
                (StatusCode::PARTIAL_CONTENT, bytes.slice(start..end), Some(text))
            }
            Wanted::Outside => (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new(), Some(format!("bytes */{whole}"))),
        };
        Self {
            status,
            content_type: if matches!(key, TreeKey::Info { .. }) {
                "application/xml"
            } else {
                "application/octet-stream"
            },
            content_length: bytes.len(),
            content_range,
            body: if wish.is_head { Bytes::new() } else { bytes },
        }
    }
}

impl From<FileAnswer> for Response {
    fn from(answer: FileAnswer) -> Self {
        let FileAnswer { status, content_type, content_length, content_range, body } = answer;
        let mut response = Self::new(if body.is_empty() { Body::empty() } else { Body::new(Frames(body)) });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(value) = content_range.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(CONTENT_RANGE, value);
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(content_length));
        response
    }
}

/// A file's bytes, a frame at a time; slices of the mapping, never copies.
struct Frames(Bytes);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.0.len().min(FRAME);
        Poll::Ready(Some(Ok(Frame::data(self.0.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// The published files, with the mappings of those that were asked for lately.
pub(super) struct Files {
    tree: PublishedTree,
    kept: Mutex<Kept>,
}

/// A mapping, and the file that it is a mapping of.
struct Mapped {
    bytes: Bytes,
    identity: Identity,
    used: u64,
}

/// Mappings by key, and the keys by last use.
#[derive(Default)]
struct Kept {
    mapped: HashMap<TreeKey, Mapped>,
    order: BTreeMap<u64, TreeKey>,
    tick: u64,
}

/// Tells files apart. A mapping keeps its inode alive, so no other file can have its number meanwhile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Identity {
    #[cfg(unix)]
    inode: (u64, u64),
    #[cfg(not(unix))]
    modified: Option<std::time::SystemTime>,
    length: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            #[cfg(unix)]
            inode: {
                use std::os::unix::fs::MetadataExt as _;
                (metadata.dev(), metadata.ino())
            },
            #[cfg(not(unix))]
            modified: metadata.modified().ok(),
            length: metadata.len(),
        }
    }
}

impl Files {
    pub(super) fn new(tree: PublishedTree) -> Self {
        Self { tree, kept: Mutex::default() }
    }

    /// The bytes of a file that is published at this moment. The name is looked at each time, so a withdrawn package is
    /// gone with its rename, whatever is kept.
    ///
    /// Blocks for a `stat`, at most an `open` and an `mmap`: microseconds while the directory is in the page cache, which
    /// costs less than handing the work to another thread.
    fn open(&self, key: TreeKey) -> io::Result<Bytes> {
        let path = self.tree.path(key);
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => return Err(io::ErrorKind::NotFound.into()),
            Err(error) => {
                self.forget(key);
                // `<id>` may be a file, or absent with the whole tree: to the caller it is the same.
                let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                return Err(if absent { io::ErrorKind::NotFound.into() } else { error });
            }
        };
        if metadata.len() < SMALL {
            let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
            File::open(&path)?.take(SMALL).read_to_end(&mut bytes)?;
            return Ok(bytes.into());
        }
        if let Some(bytes) = self.lock().find(key, Identity::of(&metadata)) {
            return Ok(bytes);
        }
        let file = File::open(&path)?;
        // Of the open file: the name may have changed hands since.
        let metadata = file.metadata()?;
        let length = usize::try_from(metadata.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let bytes = sendfile::map(file, length)?;
        let evicted =
            self.lock().keep(key, Mapped { bytes: bytes.clone(), identity: Identity::of(&metadata), used: 0 });
        drop(evicted); // unmaps, outside the lock
        Ok(bytes)
    }

    /// Lets go of files that are no longer published, so that their space on the disk comes back.
    pub(super) fn sweep(&self) {
        let kept: Vec<(TreeKey, Identity)> =
            self.lock().mapped.iter().map(|(key, file)| (*key, file.identity)).collect();
        for (key, identity) in kept {
            let published = std::fs::metadata(self.tree.path(key)).is_ok_and(|it| Identity::of(&it) == identity);
            if !published {
                self.forget(key);
            }
        }
    }

    fn forget(&self, key: TreeKey) {
        let gone = self.lock().remove(key);
        drop(gone);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&mut self, key: TreeKey, identity: Identity) -> Option<Bytes> {
        let mapped = self.mapped.get_mut(&key).filter(|mapped| mapped.identity == identity)?;
        self.order.remove(&mapped.used);
        self.tick += 1;
        mapped.used = self.tick;
        self.order.insert(self.tick, key);
        Some(mapped.bytes.clone())
    }

    /// Keeps a mapping; what had to go for it is handed out to be dropped.
    fn keep(&mut self, key: TreeKey, mut mapped: Mapped) -> [Option<Mapped>; 2] {
        let replaced = self.remove(key);
        let oldest = if self.mapped.len() < KEPT { None } else { self.order.values().next().copied() };
        let evicted = oldest.and_then(|oldest| self.remove(oldest));
        self.tick += 1;
        mapped.used = self.tick;
        self.order.insert(self.tick, key);
        self.mapped.insert(key, mapped);
        [replaced, evicted]
    }

    fn remove(&mut self, key: TreeKey) -> Option<Mapped> {
        let mapped = self.mapped.remove(&key)?;
        self.order.remove(&mapped.used);
        Some(mapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> TreeKey {
        format!("7/7-{number}").parse().expect("a key")
    }

    fn mapped(byte: u8) -> Mapped {
        let identity = Identity {
            #[cfg(unix)]
            inode: (1, u64::from(byte)),
            #[cfg(not(unix))]
            modified: None,
            length: 1,
        };
        Mapped { bytes: Bytes::from(vec![byte]), identity, used: 0 }
    }

    #[test]
    fn the_least_recently_used_mapping_goes_first() {
        let mut kept = Kept::default();
        let count = u32::try_from(KEPT).expect("small");
        for number in 1..=count {
            assert!(kept.keep(key(number), mapped(1)).iter().all(Option::is_none));
        }
        let identity = mapped(1).identity;
        assert!(kept.find(key(1), identity).is_some(), "used again, so number 2 is the oldest");
        assert_eq!(kept.keep(key(count + 1), mapped(1)).iter().flatten().count(), 1);
        assert!(kept.find(key(2), identity).is_none());
        assert!(kept.find(key(1), identity).is_some());
        assert_eq!((kept.mapped.len(), kept.order.len()), (KEPT, KEPT));
    }

    #[test]
    fn a_mapping_of_another_file_is_not_found() {
        let mut kept = Kept::default();
        drop(kept.keep(key(1), mapped(1)));
        assert!(kept.find(key(1), mapped(2).identity).is_none());
        drop(kept.keep(key(1), mapped(2)));
        assert_eq!(kept.find(key(1), mapped(2).identity).as_deref(), Some([2_u8].as_slice()));
        assert_eq!((kept.mapped.len(), kept.order.len()), (1, 1));
    }
}
