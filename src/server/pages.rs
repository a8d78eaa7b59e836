//! What people see: the landing page, the authority's certificate; and that the process lives.

use std::fmt::Write as _;
use std::path::Path;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Listener, Remote, Site, reply};

const STYLE: &str = include_str!("landing.css");
const PAGE: &str = include_str!("landing.html");

/// Nothing but our own style sheet: no script runs here whatever gets into the page.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// `GET /`: on HTTPS the page, on HTTP the way there.
pub(super) async fn landing(
    State(site): State<Site>,
    Extension(listener): Extension<Listener>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
) -> Response {
    let host = asked_host(&headers).unwrap_or_else(|| site.public_name.to_string());
    match listener {
        Listener::Https => {
            let mut response = content("text/html; charset=utf-8", page(&site, &host, local(&remote)).into());
            let headers = response.headers_mut();
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            headers
                .insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
            response
        }
        Listener::Http => {
            let target = match site.addresses.https.port() {
                443 => format!("https://{host}/"),
                port => format!("https://{host}:{port}/"),
            };
            let mut response = reply::text(StatusCode::PERMANENT_REDIRECT, &format!("this page is at {target}"));
            // `asked_host` and the configuration let only letters, digits and `.-_:[]` through.
            if let Ok(value) = HeaderValue::from_str(&target) {
                response.headers_mut().insert(LOCATION, value);
            }
            response
        }
    }
}

/// `GET /style.css`.
pub(super) async fn style() -> Response {
    content("text/css; charset=utf-8", Bytes::from_static(STYLE.as_bytes()))
}

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
    (!local(remote)).then(|| reply::text(StatusCode::FORBIDDEN, "health is told to this machine only (127.0.0.1, ::1)"))
}

fn local(remote: &Remote) -> bool {
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
fn asked_host(headers: &HeaderMap) -> Option<String> {
    let authority: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    let host = authority.host();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    (!host.is_empty() && host.chars().all(plain)).then(|| host.to_owned())
}

/// The landing page; `{{name}}` in its text is replaced, escaped. Directories of this machine are shown on it only.
fn page(site: &Site, host: &str, local: bool) -> String {
    let https = format!("https://{host}:{}", site.addresses.https.port());
    let http = format!("http://{host}:{}", site.addresses.http.port());
    // A relative path would say nothing to a reader.
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let data = if local { whole(&site.data_dir) } else { "its data directory".to_owned() };
    let authority = match site.tls.authority_file() {
        Some(path) if local => whole(&path),
        Some(_) => "in certs/ca.pem of its data directory".to_owned(),
        None => "with whoever issued its own certificate (tls.certificate)".to_owned(),
    };
    let values = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("https", &https),
        ("http", &http),
        ("authority", &authority),
        ("data", &data),
    ];
    let mut page = String::with_capacity(PAGE.len() + 1024);
    let mut rest = PAGE;
    // One pass, so that a value that looks like a name is not replaced again.
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((name, after)) = after.split_once("}}") else { break };
        if let Some((_, value)) = values.iter().find(|(key, _)| *key == name) {
            escape(&mut page, value);
        }
        rest = after;
    }
    page.push_str(rest);
    page
}

fn escape(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing to a String cannot fail.
                let _ = write!(page, "&#{};", u32::from(c));
            }
            c => page.push(c),
        }
    }
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

    #[test]
    fn text_cannot_become_markup() {
        let mut page = String::new();
        escape(&mut page, "<b a=\"x\" b='y'>&");
        assert_eq!(page, "&#60;b a=&#34;x&#34; b=&#39;y&#39;&#62;&#38;");
    }

    #[test]
    fn every_name_on_the_page_has_a_value_and_no_script_is_in_it() {
        let names: Vec<&str> = PAGE.split("{{").skip(1).filter_map(|part| Some(part.split_once("}}")?.0)).collect();
        assert!(!names.is_empty());
        for name in names {
            assert!(["version", "https", "http", "authority", "data"].contains(&name), "{name}");
        }
        for forbidden in ["<script", "style=\"", "onclick", "http-equiv"] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
    }
}
