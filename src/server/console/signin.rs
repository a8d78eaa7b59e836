//! Signing in and out: the only pages that nobody has to be signed in for.

use askama::Template;
use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};

use super::super::visit::{self, SESSION, blocking, cookie};
use super::super::{Listener, Remote, Site, body};
use super::serve::{bare, fields, html, redirect, set_cookie, theme, to_https};
use crate::service::desk::Refusal;
use crate::service::signin::{self, SignInError};
use crate::store::sessions;

/// Bytes of the form.
const FORM: usize = 16 << 10;

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignIn {
    theme: Option<&'static str>,
    name: String,
    password: String,
    next: String,
    error: Option<String>,
    code_wanted: bool,
    first_start: bool,
    version: &'static str,
}

pub(super) fn router() -> Router<Site> {
    Router::new().route("/sign-in", get(show).post(submit)).route("/sign-out", axum::routing::post(leave))
}

async fn show(
    State(site): State<Site>,
    Extension(listener): Extension<Listener>,
    Extension(remote): Extension<Remote>,
    request: Request,
) -> Response {
    if listener == Listener::Http {
        return to_https(&site, request.method(), "/sign-in", request.headers());
    }
    let next = fields(request.uri().query().unwrap_or_default()).get("next").to_owned();
    if let Ok(Some(_)) = visit::by_cookie(&site, remote, request.headers()).await {
        return redirect(&own_address(&next), None);
    }
    let page = blank(&site, request.headers(), next).await;
    rendered(StatusCode::OK, &page, request.headers())
}

async fn blank(site: &Site, headers: &HeaderMap, next: String) -> SignIn {
    let app = site.app.clone();
    // Nobody has signed in yet: then the page says where the first password was told.
    let first_start = blocking(move || {
        let users = app.store.read_now(crate::store::users::list);
        users.is_ok_and(|users| users.iter().all(|user| user.last_sign_in.is_none()))
    });
    SignIn {
        theme: theme(headers),
        name: String::new(),
        password: String::new(),
        next,
        error: None,
        code_wanted: false,
        first_start: first_start.await,
        version: env!("CARGO_PKG_VERSION"),
    }
}

async fn submit(
    State(site): State<Site>,
    Extension(listener): Extension<Listener>,
    Extension(remote): Extension<Remote>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if listener == Listener::Http {
        return to_https(&site, &parts.method, "/sign-in", &parts.headers);
    }
    // Another site's form would sign its visitor in as somebody else.
    let site_of_form =
        parts.headers.get("sec-fetch-site").and_then(|value| value.to_str().ok()).unwrap_or("same-origin");
    if !matches!(site_of_form, "same-origin" | "none") {
        return bare(&Refusal::forbidden("sign in with this server's own form"), &parts.headers);
    }
    let form = match body::read(&parts.headers, body, FORM, site.patience).await {
        Ok(bytes) => fields(&String::from_utf8_lossy(&bytes)),
        Err(error) => return bare(&Refusal::invalid(error.to_string()), &parts.headers),
    };
    let place = visit::place(remote, &parts.headers);
    let next = form.get("next").to_owned();
    let (app, guesses) = (site.app.clone(), std::sync::Arc::clone(&site.guesses));
    let (name, password, code) =
        (form.get("name").to_owned(), form.raw("password").to_owned(), form.get("code").to_owned());
    // A password costs 19 MiB and tens of milliseconds: a few at a time.
    let Ok(_turn) = site.heavy.acquire().await else {
        return bare(&Refusal::failed(anyhow::anyhow!("the server is stopping")), &parts.headers);
    };
    let (tried, typed) = ((name.clone(), password.clone()), code.clone());
    let signed_in =
        blocking(move || signin::sign_in(&app, &guesses, &tried.0, &tried.1, Some(typed.as_str()), &place)).await;
    match signed_in {
        Ok((secret, visitor)) => {
            let address =
                if visitor.must_change_password { "/account/password".to_owned() } else { own_address(&next) };
            let mut response = redirect(&address, None);
            set_session(&mut response, &secret);
            response
        }
        Err(error) => {
            let status = match &error {
                SignInError::Later(_) => StatusCode::TOO_MANY_REQUESTS,
                SignInError::Wrong | SignInError::CodeNeeded | SignInError::CodeWrong => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                SignInError::Account(_) | SignInError::Store(_) => {
                    return bare(&Refusal::from(error), &parts.headers);
                }
            };
            let code_wanted = matches!(error, SignInError::CodeNeeded | SignInError::CodeWrong);
            let mut page = blank(&site, &parts.headers, next).await;
            page.name = name;
            page.code_wanted = code_wanted;
            // The form with the code carries the password along: it is asked for once.
            page.password = if code_wanted { password } else { String::new() };
            page.error = (!matches!(error, SignInError::CodeNeeded)).then(|| error.to_string());
            rendered(status, &page, &parts.headers)
        }
    }
}

async fn leave(
    State(site): State<Site>,
    Extension(listener): Extension<Listener>,
    Extension(remote): Extension<Remote>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if listener == Listener::Http {
        return to_https(&site, &parts.method, "/sign-in", &parts.headers);
    }
    if let Ok(Some(visit)) = visit::by_cookie(&site, remote, &parts.headers).await {
        let form = body::read(&parts.headers, body, FORM, site.patience).await.unwrap_or_default();
        let form = fields(&String::from_utf8_lossy(&form));
        if !visit::carries(&visit, Some(form.get("csrf"))) {
            return bare(&Refusal::forbidden("this form does not belong to your session"), &parts.headers);
        }
        if let Some(session) = visit.visitor.session {
            let app = site.app.clone();
            let closed = blocking(move || app.store.write_now(move |conn| sessions::close(conn, &session.digest)));
            if let Err(error) = closed.await {
                return bare(&Refusal::from(error), &parts.headers);
            }
        }
    }
    let mut response = redirect("/sign-in", None);
    if cookie(&parts.headers, SESSION).is_some() {
        set_cookie(&mut response, &format!("{SESSION}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"));
    }
    response
}

/// Gives the browser the secret of its session.
pub(super) fn set_session(response: &mut Response, secret: &str) {
    set_cookie(response, &format!("{SESSION}={secret}; Path=/; Secure; HttpOnly; SameSite=Lax"));
}

/// Only an address of this server: `//elsewhere` and `https://elsewhere` are not.
pub(super) fn own_address(next: &str) -> String {
    let own = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if own { next.to_owned() } else { "/".to_owned() }
}

fn rendered(status: StatusCode, page: &SignIn, headers: &HeaderMap) -> Response {
    match page.render() {
        Ok(text) => html(status, text),
        Err(error) => bare(&Refusal::failed(error), headers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_stays_on_this_server() {
        for (next, address) in [
            ("/packages?x=1", "/packages?x=1"),
            ("", "/"),
            ("//evil.example/", "/"),
            ("https://evil.example/", "/"),
            ("/\\evil.example", "/"),
        ] {
            assert_eq!(own_address(next), address, "{next:?}");
        }
    }
}
