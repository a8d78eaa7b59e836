//! `POST /ocsinventory`: the one door for agents (ocs-protocol 1 and 2).
//!
//! Whatever the path below it, the `QUERY` decides. An answer is always 200 exactly, in the request's own container, with
//! `Content-Length` and without `Content-Encoding`: the Windows agent takes no other status, neither agent takes another
//! coding. Agents read nothing of a refusal but its status; the sentence is for the person with a packet trace.

use axum::body::Body;
use axum::extract::{Extension, Request as HttpRequest, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, StatusCode};

use super::body::{self, BodyError};
use super::meters::Kind;
use super::{Remote, Site, reply};
use crate::model::limits::RequestLimits;
use crate::protocol::envelope::{self, Container, EnvelopeError};
use crate::protocol::{Request, RequestError, UPDATE_REPLY};
use crate::service::{self, App, Peer, ServiceError};

/// Bytes from which a body is inflated and read beside the workers: it takes milliseconds.
const HEAVY: usize = 32 << 10;
/// Characters of a `User-Agent` that are kept.
const USER_AGENT_LENGTH: usize = 200;

/// Why an agent got no answer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("agents talk to this address with POST")]
    NotPost,
    #[error("files are not delivered here: packages are, below /download")]
    NoDelivery,
    #[error("this method is not allowed here: agents use POST")]
    Method,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("only OCS agents may check in here (agents.user_agents in dripfeed.toml)")]
    Stranger,
    #[error("the server cannot take this at the moment; the agent will try again")]
    Service(#[from] ServiceError),
}

/// Takes one message of an agent.
pub(super) async fn receive(
    State(site): State<Site>,
    Extension(remote): Extension<Remote>,
    request: HttpRequest,
) -> Response {
    let agent = request.headers().get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let peer = Peer {
        address: remote.0.ip().to_canonical(),
        user_agent: agent.unwrap_or_default().chars().take(USER_AGENT_LENGTH).collect(),
    };
    match exchange(&site, peer, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(),
    }
}

async fn exchange(site: &Site, peer: Peer, request: HttpRequest) -> Result<Response, Refusal> {
    match *request.method() {
        Method::POST => {}
        // As the stock server tells them apart. A Windows agent asks for its label there before its first contact.
        Method::GET if delivery(request.uri().path()) => return Err(Refusal::NoDelivery),
        Method::GET => return Err(Refusal::NotPost),
        _ => return Err(Refusal::Method),
    }
    let limits = site.app.request_limits;
    let (head, body) = request.into_parts();
    let body = body::read(&head.headers, body, limits.body, site.patience).await?;
    // Each may hold its inflated document until it is committed: so many at a time, however many come.
    let _turn = if body.len() < HEAVY { None } else { site.heavy.acquire().await.ok() };
    let (container, document, request) = understand(body, limits).await?;
    // As the stock server: of the prolog alone, and after its form was looked at.
    if matches!(request, Request::Prolog(_)) && !site.user_agents.admits(&peer.user_agent) {
        return Err(Refusal::Stranger);
    }
    let kind = kind(&request);
    let mut response = answer(&site.app, peer, container, document, request).await.unwrap_or_else(Refusal::response);
    response.extensions_mut().insert(kind);
    Ok(response)
}

fn kind(request: &Request) -> Kind {
    match request {
        Request::Prolog(_) => Kind::Prolog,
        Request::Inventory(_) => Kind::Inventory,
        Request::Download(_) => Kind::Report,
        Request::Notify(_) => Kind::Notify,
        Request::Update => Kind::Update,
        Request::Snmp { .. } => Kind::Snmp,
    }
}

/// Is it one of the old addresses for files (ocs-protocol 1.1), which the stock server answers 403 when they are off?
fn delivery(path: &str) -> bool {
    path.contains("/deploy/") || path.contains("/update/")
}

/// Opens and reads a body; a large one off the workers.
async fn understand(body: Bytes, limits: RequestLimits) -> Result<(Container, Vec<u8>, Request), Refusal> {
    if body.len() < HEAVY {
        return read(&body, &limits);
    }
    match tokio::task::spawn_blocking(move || read(&body, &limits)).await {
        Ok(result) => result,
        // A panic goes on where the request's own net catches it. The task is never cancelled.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn read(body: &[u8], limits: &RequestLimits) -> Result<(Container, Vec<u8>, Request), Refusal> {
    let (container, document) = envelope::open(body, limits.inflated)?;
    let request = Request::parse(&document, limits)?;
    Ok((container, document, request))
}

async fn answer(
    app: &App,
    peer: Peer,
    container: Container,
    document: Vec<u8>,
    request: Request,
) -> Result<Response, Refusal> {
    match request {
        Request::Prolog(prolog) => {
            let reply = service::prolog::answer(app, prolog, peer).await?;
            Ok(sealed(container, &reply.to_xml()))
        }
        Request::Inventory(inventory) => {
            let reply = service::inventory::take(app, *inventory, document, peer).await?;
            Ok(sealed(container, &reply.to_xml()))
        }
        Request::Download(report) => {
            service::report::take(app, report, peer).await?;
            Ok(taken())
        }
        Request::Notify(notify) => {
            service::notify::take(app, notify, peer).await?;
            Ok(taken())
        }
        Request::Update => Ok(sealed(container, UPDATE_REPLY)),
        Request::Snmp { .. } => Ok(taken()),
    }
}

/// A reply in the container of its request.
fn sealed(container: Container, xml: &str) -> Response {
    let body = envelope::seal(container, xml);
    let length = body.len();
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-compressed"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// 200 without a body: the whole answer to DOWNLOAD, NOTIFY and SNMP.
fn taken() -> Response {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
    response
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotPost | Self::Stranger | Self::Envelope(_) | Self::Request(_) | Self::Body(BodyError::Broken) => {
                StatusCode::BAD_REQUEST
            }
            Self::Method | Self::NoDelivery => StatusCode::FORBIDDEN,
            Self::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Service(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn response(self) -> Response {
        let sentence = self.to_string();
        match self {
            Self::Service(error) => {
                // Stock agents take everything but 200 for "later", so nothing is lost.
                let error = anyhow::Error::from(error);
                tracing::error!("failed to answer an agent: {error:#}");
                reply::later(&sentence)
            }
            Self::Body(_) => {
                // Bytes of this request may still be under way: they must not be read as the next one.
                let mut response = reply::text(self.status(), &sentence);
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                response
            }
            _ => reply::text(self.status(), &sentence),
        }
    }
}
