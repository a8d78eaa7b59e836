//! `/account`: one's own password. And `/theme`, for browsers without script.

use askama::Template;

use super::super::visit::Visit;
use super::call::{Call, Page, View, get, post};
use super::shell::Shell;
use crate::service::desk::{Kind, Refusal};

pub(super) fn pages() -> Vec<Page> {
    vec![get("/account/password", None, password), post("/account/password", None, change_password)]
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
    let session = visitor.session.as_ref().map(|session| &session.digest);
    match call.desk().change_my_password(form.raw("old"), form.raw("new"), session) {
        Ok(()) => View::done("/", "Your password was changed. You are signed out everywhere else."),
        Err(refusal) if refusal.kind == Kind::Invalid => call.again(&Password::of(call, Some(refusal))),
        Err(refusal) => Err(refusal),
    }
}
