//! Around every page: HTTPS, who asks, CSRF, headers, and what refusals look like.

use std::collections::BTreeMap;
use std::time::Instant;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::super::visit::{self, Visit, blocking, cookie, escaped};
use super::super::{Listener, Remote, Site, api, body, pages, reply};
use super::call::{Call, Fields, Page, View};
use super::shell::Shell;
use super::show;
use super::toast::Toast;
use crate::model::access::Right;
use crate::service::desk::{Kind, Refusal};

/// Scripts, styles and connections to ourselves only; nothing inline, nothing framed.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Bytes of a form.
const FORM: usize = 1 << 20;
/// The cookie that carries what was just done to the next page.
const TOAST: &str = "__Host-toast";

#[derive(Clone, Copy)]
struct Known {
    right: Option<Right>,
    run: fn(&Call) -> Result<View, Refusal>,
}

/// The routes of these pages.
pub(super) fn router(pages: Vec<Page>, _site: &Site) -> Router<Site> {
    let mut paths: BTreeMap<&'static str, MethodRouter<Site>> = BTreeMap::new();
    for page in pages {
        let filter = MethodFilter::try_from(page.method.clone()).unwrap_or(MethodFilter::GET);
        let route = on(filter, show).layer(Extension(Known { right: page.right, run: page.run }));
        let known = paths.remove(page.path).unwrap_or_default();
        paths.insert(page.path, known.merge(route));
    }
    let mut router = Router::new();
    for (path, route) in paths {
        router = router.route(path, route);
    }
    router
}

async fn show(
    State(site): State<Site>,
    Extension(known): Extension<Known>,
    Extension(listener): Extension<Listener>,
    Extension(remote): Extension<Remote>,
    path: RawPathParams,
    request: Request,
) -> Response {
    if listener == Listener::Http {
        return to_https(&site, request.method(), request.uri().path(), request.headers());
    }
    let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (parts, body) = request.into_parts();
    let visit = match visit::by_cookie(&site, remote, &parts.headers).await {
        Ok(Some(visit)) => visit,
        Ok(None) => return to_sign_in(&parts),
        Err(error) => return bare(&Refusal::from(error), &parts.headers),
    };
    let form = match form(&site, &parts, body, &visit).await {
        Ok(form) => form,
        Err(refusal) => return bare(&refusal, &parts.headers),
    };
    if visit.visitor.must_change_password && !parts.uri.path().starts_with("/account/password") {
        return redirect("/account/password", None);
    }
    let call = call(site, visit, &parts, Fields(path), form);
    let had_toast = call.toast.is_some();
    let (shown, fragment) = blocking(move || {
        let allowed = known.right.map_or(Ok(()), |right| call.desk().allow(right));
        let shown = match allowed.and_then(|()| (known.run)(&call)) {
            Ok(view @ View::Refused(_)) => Ok((StatusCode::UNPROCESSABLE_ENTITY, view)),
            Ok(view) => Ok((StatusCode::OK, view)),
            Err(refusal) => oops(&call, &refusal),
        };
        (shown, call.fragment.is_some())
    })
    .await;
    let mut response = match shown {
        Ok((status, view)) => respond(status, view),
        Err(refusal) => bare(&refusal, &parts.headers),
    };
    if had_toast && !fragment && response.status() != StatusCode::SEE_OTHER {
        set_cookie(&mut response, &format!("{TOAST}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"));
    }
    response
}

fn call(site: Site, visit: Visit, parts: &Parts, path: Fields, form: Fields) -> Call {
    let headers = &parts.headers;
    let query_text = parts.uri.query().unwrap_or_default().to_owned();
    let host = pages::asked_host(headers).unwrap_or_else(|| site.public_name.to_string());
    let host = match site.addresses.https.port() {
        443 => host,
        port => format!("{host}:{port}"),
    };
    Call {
        visit,
        path,
        query: fields(&query_text),
        query_text,
        form,
        fragment: headers.get("x-fragment").and_then(|value| value.to_str().ok()).map(str::to_owned),
        address: parts.uri.path().to_owned(),
        theme: theme(headers),
        toast: cookie(headers, TOAST).and_then(Toast::read),
        host,
        site,
        started: Instant::now(),
    }
}

/// The theme that somebody chose.
pub(super) fn theme(headers: &HeaderMap) -> Option<&'static str> {
    match cookie(headers, "theme") {
        Some("dark") => Some("dark"),
        Some("light") => Some("light"),
        _ => None,
    }
}

async fn form(site: &Site, parts: &Parts, body: Body, visit: &Visit) -> Result<Fields, Refusal> {
    if visit::is_safe(&parts.method) {
        return Ok(Fields::default());
    }
    let bytes = body::read(&parts.headers, body, FORM, site.patience)
        .await
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Refusal::invalid("the form is not UTF-8"))?;
    let form = fields(text);
    let sent = visit::header_csrf(&parts.headers)
        .or_else(|| form.0.iter().find(|(name, _)| name == "csrf").map(|(_, value)| value.as_str()));
    if !visit::carries(visit, sent) {
        return Err(Refusal::forbidden(
            "this form does not belong to your session, so nothing was changed: load the page anew and send it again",
        ));
    }
    Ok(form)
}

/// `a=1&b=2` as names with values.
pub(super) fn fields(text: &str) -> Fields {
    let uri = format!("/?{text}").parse::<http::Uri>();
    let pairs = uri.ok().and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
    Fields(pairs.map(|pairs| pairs.0).unwrap_or_default())
}

fn respond(status: StatusCode, view: View) -> Response {
    match view {
        View::Html(text) | View::Refused(text) => html(status, text),
        View::To { address, toast } => redirect(&address, toast.as_ref()),
        View::Other(response) => *response,
    }
}

/// A page with the headers that keep it to itself.
pub(super) fn html(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), microphone=(), geolocation=()"),
    );
    response
}

/// On to another page of ours.
pub(super) fn redirect(address: &str, toast: Option<&Toast>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(LOCATION, HeaderValue::from_str(address).unwrap_or(HeaderValue::from_static("/")));
    if let Some(toast) = toast {
        set_cookie(
            &mut response,
            &format!("{TOAST}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60", toast.written()),
        );
    }
    response
}

/// Adds a cookie.
pub(super) fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

fn to_sign_in(parts: &Parts) -> Response {
    if parts.headers.contains_key("x-fragment") || !visit::is_safe(&parts.method) {
        return reply::text(StatusCode::UNAUTHORIZED, "your session has ended: sign in again");
    }
    let wanted = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    match wanted {
        "/" => redirect("/sign-in", None),
        wanted => redirect(&format!("/sign-in?next={}", escaped(wanted)), None),
    }
}

/// On HTTP: the way to HTTPS.
pub(super) fn to_https(site: &Site, method: &Method, path: &str, headers: &HeaderMap) -> Response {
    if !visit::is_safe(method) {
        return reply::text(StatusCode::FORBIDDEN, "the console is at HTTPS only");
    }
    let host = pages::asked_host(headers).unwrap_or_else(|| site.public_name.to_string());
    let target = match site.addresses.https.port() {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    let mut response = reply::text(StatusCode::PERMANENT_REDIRECT, &format!("this page is at {target}"));
    if let Ok(value) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

#[derive(Template)]
#[template(path = "oops.html")]
struct Oops {
    shell: Shell,
    number: u16,
    title: &'static str,
    sentence: String,
}

/// A refusal within the frame.
fn oops(call: &Call, refusal: &Refusal) -> Result<(StatusCode, View), Refusal> {
    let status = api::status(refusal.kind);
    if refusal.kind == Kind::Failed {
        tracing::error!("a page of the console failed: {refusal}");
    }
    let page = Oops {
        shell: call.shell(title(refusal.kind), ""),
        number: status.as_u16(),
        title: title(refusal.kind),
        sentence: sentence(refusal),
    };
    let View::Html(text) = call.page(&page)? else { return Err(Refusal::failed(anyhow::anyhow!("no page"))) };
    Ok((status, View::Html(text)))
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Forbidden => "You may not do this",
        Kind::NotFound => "There is nothing here",
        Kind::Invalid => "Something in it is wrong",
        Kind::Conflict => "This cannot be done now",
        Kind::Later => "Try again in a moment",
        Kind::Failed => "The server could not do this",
    }
}

fn sentence(refusal: &Refusal) -> String {
    if refusal.kind == Kind::Failed {
        return "Nothing is wrong with what you asked. The server's log says why it failed.".to_owned();
    }
    show::sentence(refusal.for_people())
}

#[derive(Template)]
#[template(path = "bare.html")]
struct Bare {
    theme: Option<&'static str>,
    number: u16,
    title: &'static str,
    sentence: String,
}

/// A refusal without the frame: nobody is known, or even that failed.
pub(super) fn bare(refusal: &Refusal, headers: &HeaderMap) -> Response {
    if refusal.kind == Kind::Failed {
        tracing::error!("a page of the console failed: {refusal}");
    }
    let status = api::status(refusal.kind);
    let page = Bare {
        theme: theme(headers),
        number: status.as_u16(),
        title: title(refusal.kind),
        sentence: sentence(refusal),
    };
    match page.render() {
        Ok(text) => html(status, text),
        Err(_) => reply::text(status, &sentence(refusal)),
    }
}
