//! Style, script and icons: part of the program, kept by browsers until it is another one.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

use super::super::Site;

const FILES: [(&str, &str, &str); 3] = [
    ("/assets/console.css", "text/css; charset=utf-8", include_str!("assets/console.css")),
    ("/assets/console.js", "text/javascript; charset=utf-8", include_str!("assets/console.js")),
    ("/assets/icons.svg", "image/svg+xml", include_str!("assets/icons.svg")),
];

/// Their routes. They are the same for everybody, signed in or not.
pub(super) fn router() -> Router<Site> {
    let mut router = Router::new();
    for (path, kind, text) in FILES {
        let digest = Sha256::digest(text);
        let tag: String = digest.iter().take(8).map(|byte| char::from(b'a' + byte % 26)).collect();
        let tag = format!("\"{tag}-{}\"", text.len());
        router =
            router.route(path, get(move |headers: HeaderMap| std::future::ready(file(kind, text, &tag, &headers))));
    }
    router
}

fn file(kind: &'static str, text: &'static str, tag: &str, headers: &HeaderMap) -> Response {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()) == Some(tag);
    let body = if known { Bytes::new() } else { Bytes::from_static(text.as_bytes()) };
    let length = body.len();
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}
