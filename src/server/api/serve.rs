//! Around every operation: who asks, may they, has it changed meanwhile, was it asked before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, RawPathParams, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::super::body::{self, BodyError};
use super::super::visit::{self, Visit};
use super::super::{Listener, Remote, Site};
use super::openapi;
use super::operation::{Answer, Does, Operation, Raw, Run};
use super::problem::{json_text, problem, refused};
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::store::{StoreError, audit};

/// Bytes of a request's document.
const DOCUMENT: usize = 1 << 20;
/// Characters of an idempotency key.
const KEY: usize = 200;

/// What is known of an operation while it runs.
#[derive(Clone)]
struct Known {
    right: Option<Right>,
    success: StatusCode,
    run: Option<Run>,
    /// Reading what this one changes.
    reading: Option<Run>,
}

/// Edits under an entity tag happen one after the other: between the look and the change nobody else may change it.
static EDITS: Mutex<()> = Mutex::new(());

/// The routes of these operations, and of their document.
pub(super) fn router(operations: Vec<Operation>) -> Router<Site> {
    let document: Arc<str> = openapi::document(&operations).into();
    let reading: BTreeMap<&str, Run> = operations
        .iter()
        .filter_map(|operation| match &operation.does {
            Does::Call(run) if operation.method == Method::GET => Some((operation.path, Arc::clone(run))),
            _ => None,
        })
        .collect();
    let mut router = Router::new();
    let mut paths: BTreeMap<&'static str, MethodRouter<Site>> = BTreeMap::new();
    for operation in operations {
        let known = Known {
            right: operation.right,
            success: operation.success,
            run: match &operation.does {
                Does::Call(run) => Some(Arc::clone(run)),
                Does::Stream { .. } => None,
            },
            reading: reading.get(operation.path).cloned(),
        };
        let filter = MethodFilter::try_from(operation.method.clone()).unwrap_or(MethodFilter::GET);
        let route = match operation.does {
            Does::Call(_) => on(filter, call),
            Does::Stream { handler, .. } => handler.layer(axum::middleware::from_fn(may)),
        };
        let route = route.layer(Extension(known));
        let known = paths.remove(operation.path).unwrap_or_default();
        paths.insert(operation.path, known.merge(route));
    }
    for (path, route) in paths {
        router = router.route(&format!("/api/v1{path}"), route.fallback(wrong_method));
    }
    router
        .route(
            "/api/v1/openapi.json",
            axum::routing::get(move || std::future::ready(json_text(StatusCode::OK, document.to_string()))),
        )
        .route("/api/v1/{*nothing}", axum::routing::any(nothing))
}

/// Goes before every route of the API: HTTPS only, and somebody's.
pub(in crate::server) async fn guard(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    if request.extensions().get::<Listener>() != Some(&Listener::Https) {
        return problem(StatusCode::FORBIDDEN, "the API is told over HTTPS only: tokens are secrets", None);
    }
    if request.uri().path() == "/api/v1/openapi.json" {
        return next.run(request).await;
    }
    let Some(remote) = request.extensions().get::<Remote>().copied() else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the server does not know where this comes from", None);
    };
    match who(&site, remote, request.method(), request.headers()).await {
        Ok(visit) => {
            request.extensions_mut().insert(visit);
            next.run(request).await
        }
        Err(response) => *response,
    }
}

async fn who(site: &Site, remote: Remote, method: &Method, headers: &HeaderMap) -> Result<Visit, Box<Response>> {
    let failed = |error: StoreError| Box::new(refused(&Refusal::from(error)));
    if let Some(found) = visit::by_token(site, remote, headers).await.map_err(failed)? {
        let visit = found.ok_or_else(|| Box::new(unauthorized("this token is not valid, or not any more")))?;
        if visit.visitor.must_change_password {
            let whose = &visit.visitor.actor.name;
            let detail = format!(
                "the owner of this token, {whose}, has a one-time password: sign in with it in the console first"
            );
            return Err(Box::new(problem(StatusCode::FORBIDDEN, &detail, None)));
        }
        return Ok(visit);
    }
    let Some(visit) = visit::by_cookie(site, remote, headers).await.map_err(failed)? else {
        return Err(Box::new(unauthorized("sign in, or send a token: Authorization: Bearer drip_…")));
    };
    if !visit::is_safe(method) && !visit::carries(&visit, visit::header_csrf(headers)) {
        return Err(Box::new(problem(
            StatusCode::FORBIDDEN,
            "the request does not carry the secret of your session's forms (X-CSRF): load the page anew",
            None,
        )));
    }
    if visit.visitor.must_change_password {
        return Err(Box::new(problem(StatusCode::FORBIDDEN, "change your password first, in the console", None)));
    }
    Ok(visit)
}

fn unauthorized(detail: &str) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, detail, None);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"dripfeed\""));
    response
}

async fn nothing() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing at this address: /api/v1/openapi.json tells what there is", None)
}

async fn wrong_method() -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, "this address does not have this method", None)
}

/// One call of a typed operation.
async fn call(
    State(site): State<Site>,
    Extension(known): Extension<Known>,
    Extension(visit): Extension<Visit>,
    path: RawPathParams,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let path: Vec<String> = path.iter().map(|(name, value)| format!("{name}={}", visit::escaped(value))).collect();
    let has_body = !visit::is_safe(&parts.method);
    let body = match body::read(&parts.headers, body, DOCUMENT, site.patience).await {
        Ok(body) => body,
        Err(error @ BodyError::TooLarge { .. }) => {
            return problem(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string(), None);
        }
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string(), None),
    };
    if has_body && !body.is_empty() && !is_json(&parts.headers) {
        return problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is a JSON document: Content-Type: application/json",
            None,
        );
    }
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let raw = Raw { path: path.join("&"), query, body, visit, site };
    let (method, headers) = (parts.method, parts.headers);
    visit::blocking(move || carry_out(&known, &method, &headers, raw)).await
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.ends_with("+json")
}

fn carry_out(known: &Known, method: &Method, headers: &HeaderMap, raw: Raw) -> Response {
    let Some(run) = &known.run else { return refused(&Refusal::failed(anyhow::anyhow!("no such operation"))) };
    if let Some(Err(refusal)) = known.right.map(|right| raw.visit.desk.allow(right)) {
        return refused(&refusal);
    }
    if *method == Method::GET {
        return tagged(run(raw), headers);
    }
    if let (Some(wanted), Some(reading)) = (headers.get(IF_MATCH), &known.reading) {
        let _alone = EDITS.lock().unwrap_or_else(PoisonError::into_inner);
        let look = Raw {
            path: raw.path.clone(),
            query: String::new(),
            body: bytes::Bytes::new(),
            visit: raw.visit.clone(),
            site: raw.site.clone(),
        };
        let present = match reading(look) {
            Ok(text) => tag(text.as_deref().unwrap_or_default()),
            Err(refusal) => return refused(&refusal),
        };
        let wanted = wanted.to_str().unwrap_or_default();
        if wanted != "*" && !wanted.split(',').any(|one| one.trim() == present) {
            return problem(
                StatusCode::PRECONDITION_FAILED,
                "somebody changed this since you read it (its ETag is another): read it again",
                None,
            );
        }
        return answered(known.success, run(raw));
    }
    match headers.get("idempotency-key") {
        Some(key) if known.success == StatusCode::CREATED => once(key, run, known.success, raw),
        _ => answered(known.success, run(raw)),
    }
}

/// A creation under a key: the key is claimed in the transaction of the creation itself.
fn once(key: &HeaderValue, run: &Run, success: StatusCode, mut raw: Raw) -> Response {
    let key = match key.to_str() {
        Ok(key) if (1..=KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) => key.to_owned(),
        _ => {
            return problem(StatusCode::BAD_REQUEST, "an Idempotency-Key is 1 to 200 visible characters", None);
        }
    };
    let actor = raw.visit.desk.actor().label();
    let mut hash = Sha256::new();
    for part in [raw.path.as_bytes(), raw.query.as_bytes(), &raw.body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let request: [u8; 32] = hash.finalize().into();
    let store = raw.site.app.store.clone();
    let known = {
        let (actor, key) = (actor.clone(), key.clone());
        store.read_now(move |conn| audit::claimed(conn, &actor, &key))
    };
    match known {
        Err(error) => return refused(&error.into()),
        Ok(Some(claimed)) if claimed.request != request => {
            return problem(
                StatusCode::UNPROCESSABLE_ENTITY,
                "this Idempotency-Key was used for another request: take a new one",
                None,
            );
        }
        Ok(Some(claimed)) => {
            return match claimed.answer.map(|(status, text)| (StatusCode::from_u16(status), text)) {
                Some((Ok(status), text)) => json_text(status, text),
                _ => problem(
                    StatusCode::CONFLICT,
                    "a request with this Idempotency-Key was begun and its answer was lost: look whether it was done",
                    None,
                ),
            };
        }
        Ok(None) => {}
    }
    let now = raw.site.app.clock.now();
    let claim = {
        let (actor, key) = (actor.clone(), key.clone());
        move |conn: &mut crate::store::Conn| {
            // Two at once: the second one finds the key taken, and all that it would have done is undone.
            if audit::claim(conn, &actor, &key, &request, now)? { Ok(()) } else { Err(StoreError::Taken) }
        }
    };
    raw.visit.desk = raw.visit.desk.with_first(claim);
    let answer = run(raw);
    if let Ok(text) = &answer {
        let (status, text) = (success.as_u16(), text.clone().unwrap_or_default());
        if let Err(error) = store.write_now(move |conn| audit::answer(conn, &actor, &key, status, &text)) {
            tracing::warn!("the answer of an idempotent request was not kept: {error}");
        }
    }
    answered(success, answer)
}

fn answered(status: StatusCode, answer: Answer) -> Response {
    match answer {
        Ok(Some(text)) => json_text(status, text),
        Ok(None) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response
        }
        Err(refusal) => refused(&refusal),
    }
}

/// An answer with its entity tag; 304 if the client has it.
fn tagged(answer: Answer, headers: &HeaderMap) -> Response {
    let Ok(Some(text)) = answer else { return answered(StatusCode::OK, answer) };
    let tag = tag(&text);
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut response = if known.split(',').any(|one| one.trim() == tag) {
        answered(StatusCode::NOT_MODIFIED, Ok(None))
    } else {
        json_text(StatusCode::OK, text)
    };
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

fn tag(text: &str) -> String {
    let digest = Sha256::digest(text);
    let hex: String = digest
        .iter()
        .take(12)
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|n| char::from_digit(n.into(), 16).unwrap_or('0'))
        .collect();
    format!("\"{hex}\"")
}

/// Goes before an operation with a handler of its own, as [`carry_out`] asks before the others.
async fn may(
    Extension(known): Extension<Known>,
    Extension(visit): Extension<Visit>,
    request: Request,
    next: Next,
) -> Response {
    match known.right.map_or(Ok(()), |right| visit.desk.allow(right)) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(&refusal),
    }
}

/// The layer with [`guard`] needs the state.
pub(in crate::server) fn guarded(router: Router<Site>, site: &Site) -> Router<Site> {
    router.layer(from_fn_with_state(site.clone(), guard))
}
