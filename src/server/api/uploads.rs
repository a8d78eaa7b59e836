//! `/uploads`: files of any size, piece by piece.
//!
//! A piece is written as it comes: memory is the same for a byte and for a terabyte. The offset that is told is durable.
//! A second piece for the same upload takes over from the first: the first one's connection may be dead for minutes before
//! this server notices, and the client is there.

#![expect(clippy::needless_pass_by_value, reason = "an operation owns what it is asked")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use bytes::BytesMut;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use super::super::Site;
use super::super::body::{BodyError, Patience, Reading};
use super::super::visit::{Visit, blocking};
use super::operation::{Asked, Nothing, Operation, operation};
use super::problem::{problem, refused};
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::model::{Digest, DigestAlgorithm, DigestEncoding, Upload, UploadFile, UploadId};
use crate::service::desk::Refusal;
use crate::service::desk::uploads::UploadRefusal;
use crate::service::uploads::{Running, UploadError, Writing};

/// What clients are told to send at once.
const CHUNK: u64 = 8 << 20;
/// What is collected before it is written.
const BLOCK: usize = 1 << 20;
/// A piece may take as long as it comes at the least rate.
const LONGEST: std::time::Duration = std::time::Duration::from_hours(24);

const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const PIECE: HeaderName = HeaderName::from_static("upload-chunk");
const SHA256: HeaderName = HeaderName::from_static("upload-sha256");

pub(super) fn operations() -> Vec<Operation> {
    let right = Right::BuildPackages;
    vec![
        operation(Method::GET, "/uploads", "list_uploads", "Your uploads, the one that changed last first", right, list),
        operation(Method::POST, "/uploads", "begin_upload", "Begins an upload", right, begin).creates(),
        operation(Method::GET, "/uploads/{id}", "get_upload", "One of your uploads", right, get),
        Operation::stream(
            Method::HEAD,
            "/uploads/{id}",
            "ask_upload",
            "Where to go on: Upload-Offset, Upload-Length, Upload-Chunk, and Upload-Sha256 once it is complete",
            right,
            "",
            on(MethodFilter::HEAD, ask),
        )
        .path_of::<ById>()
        .succeeds_with(StatusCode::NO_CONTENT),
        Operation::stream(
            Method::PATCH,
            "/uploads/{id}",
            "continue_upload",
            "Adds bytes at Upload-Offset; answers the new Upload-Offset when they are durable. 409 tells the offset to go on \
             from. With Upload-Sha256 the last piece is accepted only if the whole file has that digest",
            right,
            "",
            on(MethodFilter::PATCH, go_on),
        )
        .path_of::<ById>()
        .takes("application/octet-stream")
        .succeeds_with(StatusCode::NO_CONTENT),
        operation(Method::DELETE, "/uploads/{id}", "cancel_upload", "Removes an upload with its bytes", right, cancel),
    ]
}

/// An upload's number.
#[derive(Deserialize, JsonSchema)]
struct ById {
    /// As `begin_upload` answered it.
    #[schemars(regex(pattern = "^[0-9a-f]{32}$"))]
    id: String,
}

fn number(text: &str) -> Result<UploadId, Refusal> {
    text.parse().map_err(|_| Refusal::from(UploadError::Unknown))
}

/// A file that shall be uploaded.
#[derive(Deserialize, JsonSchema)]
struct BeginBody {
    /// The file's name; what stands before the last slash is cut off.
    #[schemars(length(min = 1, max = 1000))]
    name: String,
    /// Its bytes.
    #[schemars(range(min = 1))]
    size: u64,
    /// Several files that become one archive: their bytes come one behind the other in this order, and `size` is their sum.
    files: Option<Vec<FileBody>>,
}

/// One of several files.
#[derive(Clone, Deserialize, JsonSchema, Serialize)]
struct FileBody {
    /// Its path in the archive: relative, `/` between its parts.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// Its bytes.
    size: u64,
}

/// An upload.
#[derive(JsonSchema, Serialize)]
struct UploadView {
    /// Its number.
    id: String,
    /// The file's name.
    name: String,
    /// The file's bytes.
    size: u64,
    /// How many of them are durable here.
    offset: u64,
    /// Is all of it there?
    complete: bool,
    /// SHA-256 of the whole file in hexadecimal, once it is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// The files that it holds one behind the other, if it is of several.
    files: Vec<FileBody>,
    /// How much to send at once.
    chunk_bytes: u64,
    /// When it was begun.
    created_at: String,
    /// When bytes last came; 24 hours later it is removed.
    changed_at: String,
}

impl From<Upload> for UploadView {
    fn from(upload: Upload) -> Self {
        Self {
            complete: upload.is_complete(),
            id: upload.id.to_string(),
            name: upload.name,
            size: upload.size,
            offset: upload.received,
            sha256: upload.sha256.map(|digest| digest.to_string()),
            files: upload.files.into_iter().map(|UploadFile { path, size }| FileBody { path, size }).collect(),
            chunk_bytes: CHUNK,
            created_at: utc_text(upload.created_at),
            changed_at: utc_text(upload.changed_at),
        }
    }
}

/// Somebody's uploads.
#[derive(JsonSchema, Serialize)]
struct UploadList {
    /// The one that changed last first.
    items: Vec<UploadView>,
}

fn list(asked: Asked<Nothing, Nothing, Nothing>) -> Result<UploadList, Refusal> {
    Ok(UploadList { items: asked.desk().uploads()?.into_iter().map(UploadView::from).collect() })
}

fn begin(asked: Asked<Nothing, Nothing, BeginBody>) -> Result<UploadView, Refusal> {
    let files = asked.body.files.unwrap_or_default();
    let files = files.into_iter().map(|FileBody { path, size }| UploadFile { path, size }).collect();
    Ok(asked.visit.desk.begin_upload(&asked.body.name, asked.body.size, files)?.into())
}

fn get(asked: Asked<ById, Nothing, Nothing>) -> Result<UploadView, Refusal> {
    Ok(asked.desk().upload(&number(&asked.path.id)?)?.into())
}

fn cancel(asked: Asked<ById, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    let id = number(&asked.path.id)?;
    asked.desk().cancel_upload(&id)?;
    asked.site.growing.forget(&id);
    Ok(Nothing {})
}

/// Uploads that grow: who writes, and the digest so far.
#[derive(Clone, Default)]
pub(in crate::server) struct Growing(Arc<StdMutex<BTreeMap<UploadId, Arc<Slot>>>>);

#[derive(Default)]
struct Slot {
    /// Grows with each piece that begins.
    newest: watch::Sender<u64>,
    /// Held by the one that writes.
    running: Mutex<Option<Running>>,
}

impl Growing {
    fn slot(&self, id: &UploadId) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody holds and has no digest is as good as new.
        if slots.len() > 1000 {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry(id.clone()).or_default())
    }

    fn forget(&self, id: &UploadId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

async fn ask(State(_): State<Site>, Extension(visit): Extension<Visit>, Path(id): Path<String>) -> Response {
    let found = blocking(move || visit.desk.upload(&number(&id)?)).await;
    match found {
        Ok(upload) => told(StatusCode::NO_CONTENT, &upload),
        Err(refusal) => refused(&refusal),
    }
}

fn told(status: StatusCode, upload: &Upload) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(OFFSET, HeaderValue::from(upload.received));
    headers.insert(LENGTH, HeaderValue::from(upload.size));
    headers.insert(PIECE, HeaderValue::from(CHUNK));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(Ok(sha256)) = upload.sha256.map(|digest| HeaderValue::from_str(&digest.to_string())) {
        headers.insert(SHA256, sha256);
    }
    response
}

async fn go_on(
    State(site): State<Site>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let piece = match Piece::of(&id, &headers) {
        Ok(piece) => piece,
        Err(response) => return *response,
    };
    // A task of its own: what came before a connection broke is kept, and the handler of a broken one is dropped.
    match tokio::spawn(take(site, visit, piece, body)).await {
        Ok(response) => response,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// What a request says about its piece.
struct Piece {
    id: UploadId,
    offset: u64,
    length: Option<u64>,
    sha256: Option<Digest>,
}

impl Piece {
    fn of(id: &str, headers: &HeaderMap) -> Result<Self, Box<Response>> {
        let text =
            |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim().to_owned());
        let wrong = |sentence: &str| Box::new(problem(StatusCode::UNPROCESSABLE_ENTITY, sentence, None));
        let id = number(id).map_err(|refusal| Box::new(refused(&refusal)))?;
        let offset = text(&OFFSET).and_then(|text| text.parse().ok());
        let offset = offset.ok_or_else(|| wrong("Upload-Offset is missing: the number of the piece's first byte"))?;
        let length = text(&CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let sha256 = text(&SHA256).map(|text| Digest::parse(DigestAlgorithm::Sha256, DigestEncoding::Hexa, &text));
        let sha256 = sha256.transpose().map_err(|_| wrong("Upload-Sha256 is a SHA-256 in 64 hexadecimal digits"))?;
        Ok(Self { id, offset, length, sha256 })
    }
}

async fn take(site: Site, visit: Visit, piece: Piece, body: Body) -> Response {
    let slot = site.growing.slot(&piece.id);
    let mut mine = 0;
    slot.newest.send_modify(|newest| {
        *newest += 1;
        mine = *newest;
    });
    let mut newest = slot.newest.subscribe();
    // Whoever writes before us sees that and stops.
    let mut running = slot.running.lock().await;
    let (desk, id, offset, known) = (visit.desk.clone(), piece.id.clone(), piece.offset, running.take());
    let opened = blocking(move || {
        let writing = desk.open_upload(&id, offset, known)?;
        Ok::<_, UploadRefusal>(writing)
    });
    let writing = match opened.await {
        Ok(writing) => writing,
        Err(refusal) => return turned_down(refusal),
    };
    if piece.length.is_some_and(|length| length > writing.room()) {
        let (upload, known) = writing.end();
        *running = known;
        return turned_down(UploadError::TooLong { size: upload.size }.into());
    }
    let mut reading = Reading::new(body, Patience { total: LONGEST, ..site.patience });
    let (writing, ended) = fill(writing, &mut reading, piece.sha256, &mut newest, mine).await;
    let Some(writing) = writing else { return refused(&Refusal::failed(anyhow::anyhow!("the piece was lost"))) };
    let (upload, known) = writing.end();
    *running = known;
    drop(running);
    if upload.is_complete() {
        site.growing.forget(&upload.id);
    }
    match ended {
        Ok(()) => told(StatusCode::NO_CONTENT, &upload),
        Err(Ended::Refused(refusal)) => turned_down(refusal),
        Err(Ended::Overtaken) => {
            problem(StatusCode::CONFLICT, "another piece of this upload came meanwhile: ask for the offset", None)
        }
        Err(Ended::Body(error)) => {
            let status =
                if matches!(error, BodyError::TooSlow) { StatusCode::REQUEST_TIMEOUT } else { StatusCode::BAD_REQUEST };
            problem(status, &error.to_string(), None)
        }
    }
}

enum Ended {
    Overtaken,
    Refused(UploadRefusal),
    Body(BodyError),
}

/// Writes a piece as it comes. What came before it broke is saved.
async fn fill(
    writing: Writing,
    reading: &mut Reading,
    sha256: Option<Digest>,
    newest: &mut watch::Receiver<u64>,
    mine: u64,
) -> (Option<Writing>, Result<(), Ended>) {
    let mut writing = Some(writing);
    let mut block = BytesMut::with_capacity(BLOCK);
    let ended = loop {
        // Only the waiting is cut short, never a write: two must not write to one file.
        let frame = tokio::select! {
            biased;
            _ = newest.wait_for(|newest| *newest != mine) => break Err(Ended::Overtaken),
            frame = reading.next() => frame,
        };
        match frame {
            Ok(Some(bytes)) => {
                block.extend_from_slice(&bytes);
                if block.len() >= BLOCK
                    && let Err(error) = write(&mut writing, block.split()).await
                {
                    break Err(Ended::Refused(error.into()));
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(Ended::Body(error)),
        }
    };
    if matches!(ended, Err(Ended::Refused(_))) {
        return (writing, ended);
    }
    if let Err(error) = write(&mut writing, block.split()).await {
        return (writing, Err(Ended::Refused(error.into())));
    }
    // The digest counts for the piece that the client meant to be the last, so not for a torn one.
    let expected = sha256.filter(|_| ended.is_ok());
    let saved = on_disk(&mut writing, move |writing| writing.save(expected)).await;
    match saved {
        Ok(()) => (writing, ended),
        Err(error) => (writing, Err(Ended::Refused(error.into()))),
    }
}

async fn write(writing: &mut Option<Writing>, block: BytesMut) -> Result<(), UploadError> {
    if block.is_empty() {
        return Ok(());
    }
    on_disk(writing, move |writing| writing.write(&block)).await
}

/// The disk blocks: beside the workers.
async fn on_disk(
    writing: &mut Option<Writing>,
    work: impl FnOnce(&mut Writing) -> Result<(), UploadError> + Send + 'static,
) -> Result<(), UploadError> {
    let Some(mut taken) = writing.take() else { return Err(UploadError::Unknown) };
    let (back, result) = blocking(move || {
        let result = work(&mut taken);
        (taken, result)
    })
    .await;
    *writing = Some(back);
    result
}

fn turned_down(refusal: UploadRefusal) -> Response {
    match refusal {
        UploadRefusal::Offset { received, refusal } => {
            let mut response = refused(&refusal);
            response.headers_mut().insert(OFFSET, HeaderValue::from(received));
            response
        }
        UploadRefusal::TooLong(refusal) => problem(StatusCode::PAYLOAD_TOO_LARGE, refusal.for_people(), None),
        UploadRefusal::Other(refusal) => refused(&refusal),
    }
}
