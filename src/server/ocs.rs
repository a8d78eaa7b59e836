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
use super::{Remote, Site, identity, reply};
use crate::model::limits::RequestLimits;
use crate::protocol::envelope::{self, Container, EnvelopeError, Opened};
use crate::protocol::proof::Standing;
use crate::protocol::{Request, RequestError, UPDATE_REPLY};
use crate::service::identity::Refused;
use crate::service::inventory::Document;
use crate::service::{self, Answered, Peer, ServiceError};
use crate::store::StoreError;

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
    #[error(transparent)]
    Identity(#[from] Refused),
    #[error("the server cannot take this at the moment; the agent will try again")]
    Store(#[from] StoreError),
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
        proof: None,
    };
    match exchange(&site, peer, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(),
    }
}

async fn exchange(site: &Site, mut peer: Peer, request: HttpRequest) -> Result<Response, Refusal> {
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
    let claim = identity::claimed(&head.headers);
    let Understood { container, document, request, body_sha256 } = understand(body, limits, claim.is_some()).await?;
    peer.proof = claim.zip(body_sha256).and_then(|(claim, digest)| identity::seen(site, claim, &request, &digest));
    // As the stock server: of the prolog alone, and after its form was looked at.
    if matches!(request, Request::Prolog(_)) && !site.user_agents.admits(&peer.user_agent) {
        return Err(Refusal::Stranger);
    }
    let kind = kind(&request);
    let (address, device) = (
        peer.address,
        match &request {
            Request::Prolog(prolog) => Some(site.fetches.mark(&prolog.device_id)),
            _ => None,
        },
    );
    let (mut response, standing) = match answer(site, peer, container, document, request).await {
        Ok(answered) => {
            if let Some(device) = device {
                site.fetches.contact(address, device);
            }
            (answered.reply, answered.standing)
        }
        Err(refusal) => {
            let standing = refusal.standing();
            (refusal.response(), standing)
        }
    };
    identity::say(response.headers_mut(), standing, site.app.clock.now());
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

/// A body that was opened and read.
struct Understood {
    container: Container,
    document: Document,
    request: Request,
    /// Of the body as it was sent, if somebody signed it.
    body_sha256: Option<String>,
}

/// Opens and reads a body; a large one off the workers.
async fn understand(body: Bytes, limits: RequestLimits, with_digest: bool) -> Result<Understood, Refusal> {
    if body.len() < HEAVY {
        return read(body, &limits, with_digest);
    }
    match tokio::task::spawn_blocking(move || read(body, &limits, with_digest)).await {
        Ok(result) => result,
        // A panic goes on where the request's own net catches it. The task is never cancelled.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn read(body: Bytes, limits: &RequestLimits, with_digest: bool) -> Result<Understood, Refusal> {
    let Opened { container, document, is_zlib } = envelope::open_whole(&body, limits.inflated)?;
    let request = Request::parse(&document, limits)?;
    let body_sha256 = with_digest.then(|| identity::digest(&body));
    let document = if is_zlib { Document::deflated(document, body) } else { document.into() };
    Ok(Understood { container, document, request, body_sha256 })
}

async fn answer(
    site: &Site,
    peer: Peer,
    container: Container,
    document: Document,
    request: Request,
) -> Result<Answered<Response>, Refusal> {
    let app = &site.app;
    let known = |standing, reply| Answered { reply, standing };
    let sealed = |xml: String| sealed(site.sealed.seal(container, xml));
    Ok(match request {
        Request::Prolog(prolog) => {
            let answered = service::prolog::answer(app, prolog, peer).await?;
            known(answered.standing, sealed(answered.reply.to_xml()))
        }
        Request::Inventory(inventory) => {
            let answered = service::inventory::take(app, *inventory, document, peer).await?;
            known(answered.standing, sealed(answered.reply.to_xml()))
        }
        Request::Download(report) => known(service::report::take(app, report, peer).await?.standing, taken()),
        Request::Notify(notify) => known(service::notify::take(app, notify, peer).await?.standing, taken()),
        Request::Update => known(None, sealed(UPDATE_REPLY.to_owned())),
        Request::Snmp { .. } => known(None, taken()),
    })
}

/// A reply in the container of its request.
fn sealed(body: Bytes) -> Response {
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

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Refused(refused) => Self::Identity(refused),
            ServiceError::Store(error) => Self::Store(error),
        }
    }
}

impl Refusal {
    /// What the agent is told of its key.
    fn standing(&self) -> Option<Standing> {
        if let Self::Identity(refused) = self { Some(refused.standing()) } else { None }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotPost | Self::Stranger | Self::Envelope(_) | Self::Request(_) | Self::Body(BodyError::Broken) => {
                StatusCode::BAD_REQUEST
            }
            Self::Method | Self::NoDelivery | Self::Identity(_) => StatusCode::FORBIDDEN,
            Self::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn response(self) -> Response {
        let sentence = self.to_string();
        match self {
            Self::Store(error) => {
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
