//! `GET /download/manifest` and `/download/manifest/<id>`: what mirrors compare themselves with. HTTPS only, because TLS is
//! what proves that it is ours; the files themselves are then proved by it.
//!
//! Unlike the tree, these carry a validator and answer 304: no agent asks for them.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Listener, Site, reply};
use crate::model::PackageId;
use crate::service::mirrors;
use crate::store::StoreError;

/// The packages of the tree.
pub(super) async fn manifest(
    State(site): State<Site>,
    Extension(listener): Extension<Listener>,
    headers: HeaderMap,
) -> Response {
    if listener == Listener::Http {
        return insecure();
    }
    let generation = match mirrors::generation(&site.app).await {
        Ok(generation) => generation,
        Err(error) => return later(&error),
    };
    let validator = format!("\"{generation}\"");
    let asked = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if asked.is_some_and(|asked| asked.split(',').any(|one| one.trim() == validator)) {
        return with_validator(StatusCode::NOT_MODIFIED.into_response(), &validator);
    }
    let made = blocking(move || mirrors::manifest(&site.app, &site.listings)).await;
    match made {
        // Of the manifest itself: the tree may have changed since the question.
        Ok(manifest) => with_validator(text(manifest.to_text()), &format!("\"{}\"", manifest.generation)),
        Err(error) => later(&error),
    }
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
