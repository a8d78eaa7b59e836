//! Who asks: a browser with a cookie, or a program with a token.
//!
//! A cookie is sent by the browser whoever made the page that asks, so what changes something must also carry the form's
//! secret (`csrf` in a form, `X-CSRF` in a header), which no other site can read. A token is sent by nobody but its owner.

use std::fmt::Write as _;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, Method};

use super::{Remote, Site};
use crate::service::desk::Desk;
use crate::service::signin::{self, Place, Visitor};
use crate::store::StoreError;

/// The session's cookie: bound to this host, HTTPS and the whole path.
pub(super) const SESSION: &str = "__Host-dripfeed";
/// The header that carries the form's secret.
pub(super) const CSRF: &str = "x-csrf";

/// Somebody who asks, with a desk of their own.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// Who.
    pub(super) visitor: Visitor,
    /// What their forms must carry; empty for a program.
    pub(super) csrf: String,
    /// The desk.
    pub(super) desk: Desk,
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Where the request comes from.
pub(super) fn place(remote: Remote, headers: &HeaderMap) -> Place {
    let agent =
        headers.get(http::header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Place { address: remote.0.ip().to_canonical(), user_agent: agent.unwrap_or_default() }
}

/// Whose cookie it is, if it is somebody's.
pub(super) async fn by_cookie(site: &Site, remote: Remote, headers: &HeaderMap) -> Result<Option<Visit>, StoreError> {
    let Some(secret) = cookie(headers, SESSION).map(str::to_owned) else { return Ok(None) };
    let (app, address) = (site.app.clone(), remote.0.ip());
    let found = blocking(move || {
        let visitor = signin::by_cookie(&app, &secret, address)?;
        Ok::<_, StoreError>(visitor.map(|visitor| {
            let desk = Desk::new(app, visitor.actor.clone());
            Visit { visitor, csrf: signin::form_secret(&secret), desk }
        }))
    });
    found.await
}

/// Whose token it is, if one was sent: `None` without, `Some(None)` for one that is nobody's.
pub(super) async fn by_token(
    site: &Site,
    remote: Remote,
    headers: &HeaderMap,
) -> Result<Option<Option<Visit>>, StoreError> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let secret = value.to_str().ok().and_then(|text| text.split_once(' '));
    let Some((_, secret)) = secret.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return Ok(Some(None));
    };
    let (app, secret, address) = (site.app.clone(), secret.trim().to_owned(), remote.0.ip());
    let found = blocking(move || {
        let visitor = signin::by_token(&app, &secret, address)?;
        Ok::<_, StoreError>(visitor.map(|visitor| {
            let desk = Desk::new(app, visitor.actor.clone());
            Visit { visitor, csrf: String::new(), desk }
        }))
    });
    found.await.map(Some)
}

/// Does the request carry the form's secret? Asked only where something changes.
pub(super) fn carries(visit: &Visit, sent: Option<&str>) -> bool {
    // Compared whole: how long it takes tells how much of it fits.
    let sent = sent.unwrap_or_default().as_bytes();
    let own = visit.csrf.as_bytes();
    !own.is_empty() && sent.len() == own.len() && sent.iter().zip(own).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// The header's form secret.
pub(super) fn header_csrf(headers: &HeaderMap) -> Option<&str> {
    headers.get(CSRF).and_then(|value| value.to_str().ok())
}

/// Does a request with this method change nothing?
pub(super) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Runs what blocks (a transaction, a password) beside the workers. A panic goes on in the caller.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A value as a query or a cookie takes it: everything but letters, digits and `-._~` is escaped.
pub(super) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// What [`escaped`] made, read again; `None` for anything else.
pub(super) fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            bytes.push(digit()? << 4 | digit()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
