//! `/account`: one's own profile, password, codes, sessions and tokens. And `/theme`, for browsers without script.

use std::fmt::Write as _;
use std::time::Duration;

use askama::Template;
use qrcode::{Color, EcLevel, QrCode};

use super::super::visit::Visit;
use super::call::{Call, Page, View, get, post};
use super::serve::{redirect, set_cookie};
use super::shell::Shell;
use super::show::{Html, hex, unhex};
use super::signin::{own_address, set_session};
use super::toast::{Toast, Undo};
use crate::model::UnixTime;
use crate::model::access::{Right, Rights, Scope};
use crate::service::codes;
use crate::service::desk::{Kind, Refusal};
use crate::service::signin::Proof;
use crate::store::sessions::{SecretDigest, Session, Token};
use crate::store::users::User;

pub(super) fn pages() -> Vec<Page> {
    vec![
        get("/account", None, account),
        get("/account/password", None, password),
        post("/account/password", None, change_password),
        get("/account/codes", None, new_codes),
        post("/account/codes", None, codes_on),
        post("/account/codes/off", None, codes_off),
        post("/account/codes/recovery", None, recovery_codes),
        post("/account/profile", None, profile),
        post("/account/sessions/end", None, end_session),
        post("/account/sessions/end-others", None, end_others),
        get("/account/tokens/new", None, new_token),
        post("/account/tokens", None, create_token),
        post("/account/tokens/delete", None, delete_token),
        post("/theme", None, theme),
    ]
}

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    shell: Shell,
    user: User,
    sessions: Vec<Session>,
    tokens: Vec<Token>,
    here: Option<SecretDigest>,
    recovery_codes_left: i64,
    error: Option<Refusal>,
    now: UnixTime,
}

impl Account {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        let desk = call.desk();
        let user = desk.myself()?;
        let mut tokens = desk.tokens()?;
        tokens.retain(|token| token.user == user.name);
        Ok(Self {
            shell: call.shell("Your account", ""),
            sessions: desk.my_sessions()?,
            recovery_codes_left: desk.my_recovery_codes_left()?,
            tokens,
            user,
            here: here(call),
            error,
            now: call.site.app.clock.now(),
        })
    }

    fn is_here(&self, session: &Session) -> bool {
        self.here.as_ref() == Some(&session.digest)
    }

    fn has_ended(&self, token: &Token) -> bool {
        token.expires_at.is_some_and(|end| end <= self.now)
    }

    fn role_sentence(&self) -> &'static str {
        let found = crate::model::access::BUILT_IN_ROLES.iter().find(|(name, ..)| *name == self.user.role);
        found.map_or("a role of your administrators' own", |(_, meaning, _)| meaning)
    }
}

fn here(call: &Call) -> Option<SecretDigest> {
    call.visit.visitor.session.as_ref().map(|session| session.digest)
}

fn account(call: &Call) -> Result<View, Refusal> {
    call.page(&Account::of(call, None)?)
}

fn profile(call: &Call) -> Result<View, Refusal> {
    let me = call.desk().myself()?;
    match call.desk().set_profile(&me.name, call.form.get("full_name"), call.form.get("mail")) {
        Ok(()) => {
            let undo = Undo::new("/account/profile").with("full_name", me.full_name).with("mail", me.mail);
            View::undoable("/account", "Your name and mail were changed.", undo)
        }
        Err(refusal) if refusal.kind == Kind::Invalid => call.again(&Account::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

fn end_session(call: &Call) -> Result<View, Refusal> {
    let digest = unhex(call.form.get("session")).and_then(|bytes| SecretDigest::try_from(bytes).ok());
    let digest = digest.ok_or_else(|| Refusal::invalid("say which session").about("session"))?;
    // Here only one's own are ended; others' are on their user's page.
    if !call.desk().my_sessions()?.iter().any(|session| session.digest == digest) {
        return Err(Refusal::not_found("this session has ended"));
    }
    call.desk().end_session(digest)?;
    View::done("/account#sessions", "That browser was signed out.")
}

fn end_others(call: &Call) -> Result<View, Refusal> {
    let ended = call.desk().end_my_other_sessions(here(call).as_ref())?;
    let sentence = match ended {
        0 => "You are signed in nowhere else.".to_owned(),
        1 => "The other browser was signed out.".to_owned(),
        n => format!("{n} other browsers were signed out."),
    };
    View::done("/account#sessions", sentence)
}

#[derive(Template)]
#[template(path = "password.html")]
struct Password {
    shell: Shell,
    must: bool,
    error: Option<Refusal>,
}

impl Password {
    fn of(call: &Call, error: Option<Refusal>) -> Self {
        Self { shell: call.shell("Your password", ""), must: call.visit.visitor.must_change_password, error }
    }

    fn error_of(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|error| error.field == Some(field)).map(Refusal::for_people)
    }
}

fn password(call: &Call) -> Result<View, Refusal> {
    call.page(&Password::of(call, None))
}

fn change_password(call: &Call) -> Result<View, Refusal> {
    let form = &call.form;
    if form.raw("new") != form.raw("again") {
        let refusal = Refusal::invalid("this is not what you typed above").about("again");
        return call.again(&Password::of(call, Some(refusal)));
    }
    let Visit { visitor, .. } = &call.visit;
    let session = visitor.session.as_ref();
    match call.desk().change_my_password(&call.site.guesses, form.raw("old"), form.raw("new"), session) {
        Ok(secret) => {
            let toast = Toast::new("Your password was changed. You are signed out everywhere else.");
            let mut response = redirect("/", Some(&toast));
            if let Some(secret) = secret {
                set_session(&mut response, &secret);
            }
            Ok(View::Other(Box::new(response)))
        }
        Err(refusal) if refusal.kind == Kind::Invalid => call.again(&Password::of(call, Some(refusal))),
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "account-codes.html")]
struct Codes {
    shell: Shell,
    /// In hexadecimal, for the form to bring back.
    secret: String,
    /// As it is typed into an authenticator.
    typed: String,
    picture: Html,
    error: Option<Refusal>,
}

impl Codes {
    fn of(call: &Call, secret: &[u8], error: Option<Refusal>) -> Result<Self, Refusal> {
        let typed = codes::base32(secret);
        let name = &call.desk().actor().name;
        let host = call.host.split(':').next().unwrap_or("dripfeed");
        let address =
            format!("otpauth://totp/dripfeed:{name}%40{host}?secret={typed}&issuer=dripfeed&digits=6&period=30");
        Ok(Self {
            shell: call.shell("One-time codes", ""),
            secret: hex(secret),
            typed: codes::groups_of_four(&typed, " "),
            picture: picture(&address)?,
            error,
        })
    }

    fn error_of(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|error| error.field == Some(field)).map(Refusal::for_people)
    }
}

/// A QR code as a picture of our own making: black on white in both themes, for cameras.
fn picture(text: &str) -> Result<Html, Refusal> {
    const QUIET: usize = 4;
    let code = QrCode::with_error_correction_level(text, EcLevel::M).map_err(Refusal::failed)?;
    let width = code.width();
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            // Writing to a String cannot fail.
            let _ = write!(path, "M{} {}h1v1h-1z", at % width + QUIET, at / width + QUIET);
        }
    }
    let side = width + 2 * QUIET;
    Ok(Html(format!(
        "<svg width=\"220\" height=\"220\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\" role=\"img\" \
         aria-label=\"The secret as a QR code; it stands below as text, too\"><path fill=\"#fff\" \
         d=\"M0 0h{side}v{side}H0z\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
    )))
}

fn new_codes(call: &Call) -> Result<View, Refusal> {
    let secret = codes::new_secret()?;
    call.page(&Codes::of(call, &secret, None)?)
}

fn codes_on(call: &Call) -> Result<View, Refusal> {
    let secret = unhex(call.form.get("secret")).filter(|secret| secret.len() == 20);
    let Some(secret) = secret else { return View::to("/account/codes") };
    let done = call.desk().set_my_codes(&call.site.guesses, &secret, call.form.raw("password"), call.form.get("code"));
    match done {
        Ok(codes) => call.page(&RecoveryCodes::of(call, codes)),
        Err(refusal) if refusal.kind == Kind::Invalid => call.again(&Codes::of(call, &secret, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "account-recovery.html")]
struct RecoveryCodes {
    shell: Shell,
    codes: Vec<String>,
}

impl RecoveryCodes {
    fn of(call: &Call, codes: Vec<String>) -> Self {
        Self { shell: call.shell("Recovery codes", ""), codes }
    }
}

fn proof(call: &Call) -> Proof<'_> {
    Proof { password: call.form.raw("password"), code: Some(call.form.get("code")) }
}

fn recovery_codes(call: &Call) -> Result<View, Refusal> {
    match call.desk().renew_my_recovery_codes(&call.site.guesses, proof(call)) {
        Ok(codes) => call.page(&RecoveryCodes::of(call, codes)),
        Err(refusal) if refusal.kind == Kind::Invalid => call.again(&Account::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

fn codes_off(call: &Call) -> Result<View, Refusal> {
    match call.desk().unset_my_codes(&call.site.guesses, proof(call)) {
        Ok(()) => View::done("/account", "You are not asked for codes any more."),
        Err(refusal) if refusal.kind == Kind::Invalid => call.again(&Account::of(call, Some(refusal))?),
        Err(refusal) => Err(refusal),
    }
}

/// A right as a box.
struct RightBox {
    right: Right,
    ticked: bool,
}

#[derive(Template)]
#[template(path = "account-token.html")]
struct NewToken {
    shell: Shell,
    name: String,
    days: String,
    computers: String,
    families: String,
    rights: Vec<RightBox>,
    error: Option<Refusal>,
}

impl NewToken {
    fn of(call: &Call, error: Option<Refusal>) -> Self {
        let form = &call.form;
        let own = &call.desk().actor().rights;
        let days = form.some("days").unwrap_or(if form.0.is_empty() { "90" } else { "" });
        Self {
            shell: call.shell("New token", ""),
            name: form.get("name").to_owned(),
            days: days.to_owned(),
            computers: form.get("computers").to_owned(),
            families: form.get("families").to_owned(),
            rights: own
                .iter()
                .map(|right| RightBox { right, ticked: form.all("right").any(|word| word == right.as_str()) })
                .collect(),
            error,
        }
    }

    fn error_of(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|error| error.field == Some(field)).map(Refusal::for_people)
    }
}

#[derive(Template)]
#[template(path = "account-token-made.html")]
struct TokenMade {
    shell: Shell,
    name: String,
    secret: String,
    expires_at: Option<UnixTime>,
    rights: Rights,
    scope: Scope,
    host: String,
}

fn new_token(call: &Call) -> Result<View, Refusal> {
    call.page(&NewToken::of(call, None))
}

/// Days from now, as a form says them; blank is for ever.
pub(super) fn expiry(text: &str, now: UnixTime) -> Result<Option<UnixTime>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<u64>() {
        Ok(days @ 1..=3650) => Ok(Some(now.plus(Duration::from_hours(24 * days)))),
        _ => Err(Refusal::invalid("a token ends after 1 to 3650 days, or never").about("days")),
    }
}

fn create_token(call: &Call) -> Result<View, Refusal> {
    let form = &call.form;
    let made = (|| {
        let rights: Rights = form.all("right").map(str::parse).collect::<Result<_, _>>()?;
        if rights.iter().next().is_none() {
            return Err(Refusal::invalid("tick at least one thing that the token may do").about("rights"));
        }
        let expires_at = expiry(form.get("days"), call.site.app.clock.now())?;
        let scope = super::users::scope(call)?;
        let (_, secret) = call.desk().create_token(form.get("name"), rights.clone(), scope.clone(), expires_at)?;
        Ok(TokenMade {
            shell: call.shell("New token", ""),
            name: form.get("name").to_owned(),
            secret,
            expires_at,
            rights,
            scope,
            host: call.host.clone(),
        })
    })();
    match made {
        Ok(page) => call.page(&page),
        Err(refusal) if refusal.field.is_some() => call.again(&NewToken::of(call, Some(refusal))),
        Err(refusal) => Err(refusal),
    }
}

fn delete_token(call: &Call) -> Result<View, Refusal> {
    let id = call.form.parse::<i64>("token")?;
    call.desk().delete_token(id)?;
    View::done("/account#tokens", "The token was taken back. Programs that use it are refused from now on.")
}

fn theme(call: &Call) -> Result<View, Refusal> {
    let next = if call.theme == Some("dark") { "light" } else { "dark" };
    let mut response = redirect(&own_address(call.form.get("next")), None);
    // The script writes it, too, so it is not hidden from it.
    set_cookie(&mut response, &format!("theme={next}; Path=/; Secure; SameSite=Lax; Max-Age=31536000"));
    Ok(View::Other(Box::new(response)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_code_is_a_picture_without_style() {
        let Html(svg) = picture("otpauth://totp/dripfeed:amy?secret=ABCDEFGH").expect("a picture");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>") && !svg.contains("style"), "{svg}");
        assert!(svg.matches("h1v1").count() > 100, "{svg}");
    }

    #[test]
    fn a_token_ends_within_ten_years_or_never() {
        let now = UnixTime::from_millis(0);
        assert_eq!(expiry("", now).expect("never"), None);
        assert_eq!(expiry("1", now).expect("a day"), Some(UnixTime::from_millis(86_400_000)));
        for wrong in ["0", "-1", "x", "3651", "1.5"] {
            assert_eq!(expiry(wrong, now).expect_err(wrong).field, Some("days"));
        }
    }
}
