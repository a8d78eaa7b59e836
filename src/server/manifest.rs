//! `GET /download/manifest` and `/download/manifest/<id>`: what mirrors compare themselves with. HTTPS only, because TLS is
//! what proves that it is ours to who asks for the first time; from then on its signature does. The files themselves are
//! proved by it. Who comes with a mirror's token is given what that mirror may have, and may report with `POST`.
//!
//! Unlike the tree, these carry a validator and answer 304: no agent asks for them.

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Listener, Remote, Site, body, reply};
use crate::model::{DigestAlgorithm, Hasher, PackageId};
use crate::protocol::{MirrorReport, PackageFilter, SignedManifest};
use crate::service::mirrors;
use crate::store::StoreError;
use crate::store::mirrors::Mirror;

/// Bytes of a report: 300,000 packages.
const REPORT: usize = 4 << 20;

/// The packages of the tree.
pub(super) async fn manifest(
    State(site): State<Site>,
    Extension(listener): Extension<Listener>,
    headers: HeaderMap,
) -> Response {
    if listener == Listener::Http {
        return insecure();
    }
    let filter = match whose(&site, &headers).await {
        Ok(mirror) => mirror.map(|mirror| mirror.packages).unwrap_or_default(),
        Err(refusal) => return refusal,
    };
    let generation = match mirrors::generation(&site.app).await {
        Ok(generation) => generation,
        Err(error) => return later(&error),
    };
    let validator = validator(generation, &filter);
    let asked = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if asked.is_some_and(|asked| asked.split(',').any(|one| one.trim() == validator)) {
        return with_validator(StatusCode::NOT_MODIFIED.into_response(), &validator);
    }
    let (shared, chosen) = (site.clone(), filter.clone());
    let made = blocking(move || mirrors::manifest(&shared.app, &shared.listings, &chosen)).await;
    match made {
        // Of the manifest itself: the tree may have changed since the question.
        Ok(manifest) => {
            let signed = manifest.to_sign(&site.signing.public());
            let body = SignedManifest::join(&signed, &site.signing.sign(signed.as_bytes()));
            with_validator(text(body), &self::validator(manifest.generation, &filter))
        }
        Err(error) => later(&error),
    }
}

/// What a mirror says of itself after a sync.
pub(super) async fn report(
    State(site): State<Site>,
    Extension(listener): Extension<Listener>,
    Extension(remote): Extension<Remote>,
    request: Request,
) -> Response {
    if listener == Listener::Http {
        return insecure();
    }
    let (head, body) = request.into_parts();
    let mirror = match whose(&site, &head.headers).await {
        Ok(Some(mirror)) => mirror,
        Ok(None) => return unknown(),
        Err(refusal) => return refusal,
    };
    let Ok(bytes) = body::read(&head.headers, body, REPORT, site.patience).await else {
        let mut response =
            reply::text(StatusCode::BAD_REQUEST, "the report did not come whole, too slowly, or is larger than 4 MiB");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    };
    match MirrorReport::parse(&String::from_utf8_lossy(&bytes)) {
        Ok(said) => match mirrors::report(&site.app, mirror, said, remote.0.ip().to_canonical()).await {
            Ok(()) => text("taken\n".to_owned()),
            Err(error) => later(&error),
        },
        Err(error) => reply::text(StatusCode::BAD_REQUEST, &format!("what came is no report: {error}")),
    }
}

/// The mirror whose token came; `None` if none came.
async fn whose(site: &Site, headers: &HeaderMap) -> Result<Option<Mirror>, Response> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Err(unknown()) };
    match mirrors::authenticate(&site.app, token).await {
        Ok(Some(mirror)) => Ok(Some(mirror)),
        Ok(None) => Err(unknown()),
        Err(error) => Err(later(&error)),
    }
}

fn unknown() -> Response {
    let mut response = reply::text(
        StatusCode::UNAUTHORIZED,
        "no mirror has that token: `dripfeed mirror token NAME` on the server makes a new one",
    );
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Another choice of packages is another manifest, whatever the tree's generation.
fn validator(generation: u64, filter: &PackageFilter) -> String {
    if filter.is_everything() {
        return format!("\"{generation}\"");
    }
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    hasher.update(filter.to_string().as_bytes());
    let digest = hasher.finish().to_string();
    format!("\"{generation}-{}\"", &digest[..16])
}

/// The files of one package.
pub(super) async fn listing(
    State(site): State<Site>,
    Extension(listener): Extension<Listener>,
    Path(package): Path<String>,
) -> Response {
    if listener == Listener::Http {
        return insecure();
    }
    let absent =
        || reply::text(StatusCode::NOT_FOUND, "there is no such package in the tree: withdrawn, or never published");
    let Ok(package) = package.parse::<PackageId>() else { return absent() };
    match blocking(move || mirrors::listing(&site.app, package)).await {
        Ok(Some(listing)) => text(listing.to_text()),
        Ok(None) => absent(),
        Err(error) => later(&error),
    }
}

/// Runs what reads many rows or files beside the workers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    // A panic in there is one here, and answered 500.
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(StoreError::Closed),
    }
}

fn text(body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn with_validator(mut response: Response, validator: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(validator) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

fn insecure() -> Response {
    reply::text(StatusCode::FORBIDDEN, "manifests are served over HTTPS only: a mirror must know whom it copies")
}

fn later(error: &StoreError) -> Response {
    tracing::error!("failed to make the manifest: {error}");
    reply::later("the manifest cannot be made at the moment")
}
