//! Refusals as `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use crate::service::desk::{Kind, Refusal};

/// Why something was not done.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status again.
    status: u16,
    /// A sentence for people: what is wrong and what to do.
    detail: String,
    /// The field of the request that is wrong, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

/// The status of a kind of refusal.
pub(in crate::server) fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Later => StatusCode::TOO_MANY_REQUESTS,
        Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What went wrong inside is for the log, not for whoever asks.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let status = status(refusal.kind);
    if refusal.kind == Kind::Failed {
        tracing::error!("a request of the API failed: {refusal}");
        return problem(status, "the server could not do this; its log says why", None);
    }
    problem(status, refusal.for_people(), refusal.field)
}

/// A refusal of a status.
pub(super) fn problem(status: StatusCode, detail: &str, field: Option<&'static str>) -> Response {
    let problem = Problem {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or("refused"),
        status: status.as_u16(),
        detail: detail.to_owned(),
        field,
    };
    let mut response = json(status, &problem);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// A document.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => json_text(status, text),
        Err(error) => {
            tracing::error!("an answer of the API could not be written: {error}");
            json_text(StatusCode::INTERNAL_SERVER_ERROR, "{}".to_owned())
        }
    }
}

/// A document that is written already.
pub(super) fn json_text(status: StatusCode, text: String) -> Response {
    let length = text.len();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
