//! What is told to whoever asks: the authority's certificate, that the process lives, and that there is nothing else.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Remote, Site, reply};

/// `GET /ca.pem`: what agents install as `cacert.pem`. A certificate is public.
pub(super) async fn authority(State(site): State<Site>) -> Response {
    match site.tls.authority() {
        Some(pem) => content("application/x-pem-file", pem.into()),
        None => reply::text(
            StatusCode::NOT_FOUND,
            "this server uses a certificate of your own (tls.certificate): agents need the certificate of the authority \
             that issued it, which this server does not have",
        ),
    }
}

/// `GET /healthz`: the process answers.
pub(super) async fn alive(Extension(remote): Extension<Remote>) -> Response {
    if let Some(refusal) = from_elsewhere(&remote) {
        return refusal;
    }
    reply::text(StatusCode::OK, "alive")
}

/// Any other address.
pub(super) async fn nothing() -> Response {
    reply::text(StatusCode::NOT_FOUND, "there is nothing at this address")
}

/// A method that a page does not have.
pub(super) async fn wrong_method() -> Response {
    let mut response = reply::text(StatusCode::METHOD_NOT_ALLOWED, "this address is read with GET");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// The refusal for who asks from another machine.
pub(super) fn from_elsewhere(remote: &Remote) -> Option<Response> {
    (!is_local(remote))
        .then(|| reply::text(StatusCode::FORBIDDEN, "health is told to this machine only (127.0.0.1, ::1)"))
}

/// Does this machine itself ask?
pub(super) fn is_local(remote: &Remote) -> bool {
    remote.0.ip().to_canonical().is_loopback()
}

fn content(kind: &'static str, bytes: Bytes) -> Response {
    let length = bytes.len();
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The name by which the caller reached us, without its port, if it is one that can be written into a page or a header.
pub(super) fn asked_host(headers: &HeaderMap) -> Option<String> {
    let authority: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    let host = authority.host();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    (!host.is_empty() && host.chars().all(plain)).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(value).expect("a header"));
        asked_host(&headers)
    }

    #[test]
    fn only_a_plain_host_is_repeated() {
        assert_eq!(host("deploy.example.net:8080").as_deref(), Some("deploy.example.net"));
        assert_eq!(host("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(host("[2001:db8::1]:8080").as_deref(), Some("[2001:db8::1]"));
        for wrong in ["", "a b", "evil/", "<script>", "x\"y", "user@"] {
            assert_eq!(host(wrong), None, "{wrong:?}");
        }
        assert_eq!(host("user@real.example").as_deref(), Some("real.example"));
    }
}
