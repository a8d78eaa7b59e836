//! `/webhooks`: who is told how deployments go on, and what became of it.

use askama::Template;

use super::call::{Call, Page, View, get, post};
use super::shell::Shell;
use crate::model::access::Right;
use crate::service::desk::{Kind, Refusal};
use crate::service::webhooks::GIVEN_UP;
use crate::store::webhooks::{Delivery, Webhook};

pub(super) fn pages() -> Vec<Page> {
    let right = Right::EditWebhooks;
    vec![
        get("/webhooks", right, list),
        post("/webhooks", right, add),
        get("/webhooks/{id}", right, one),
        post("/webhooks/{id}", right, edit),
        post("/webhooks/{id}/test", right, test),
        post("/webhooks/{id}/again", right, again),
        post("/webhooks/{id}/secret", right, renew),
        post("/webhooks/{id}/delete", right, delete),
    ]
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct List {
    shell: Shell,
    hooks: Vec<Webhook>,
    name: String,
    url: String,
    private: bool,
    error: Option<Refusal>,
}

impl List {
    fn of(call: &Call, error: Option<Refusal>) -> Result<Self, Refusal> {
        Ok(Self {
            shell: call.shell("Webhooks", "/webhooks"),
            hooks: call.desk().webhooks()?,
            name: call.form.get("name").to_owned(),
            url: call.form.get("url").to_owned(),
            private: call.site.private_webhooks,
            error,
        })
    }

    fn error_of(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|error| error.field == Some(field)).map(Refusal::for_people)
    }
}

fn list(call: &Call) -> Result<View, Refusal> {
    call.page(&List::of(call, None)?)
}

fn add(call: &Call) -> Result<View, Refusal> {
    match call.desk().add_webhook(call.form.get("name"), call.form.get("url")) {
        Ok((id, secret)) => call.page(&One { secret: Some(secret), ..One::of(call, id, None)? }),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict) => {
            call.again(&List::of(call, Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct One {
    shell: Shell,
    hook: Webhook,
    deliveries: Vec<Delivery>,
    secret: Option<String>,
    error: Option<Refusal>,
}

impl One {
    fn of(call: &Call, id: i64, error: Option<Refusal>) -> Result<Self, Refusal> {
        let (hook, deliveries) = call.desk().webhook(id)?;
        Ok(Self { shell: call.shell(hook.name.clone(), "/webhooks"), hook, deliveries, secret: None, error })
    }

    fn was_given_up(&self) -> bool {
        !self.hook.enabled && self.hook.failures >= GIVEN_UP
    }

    fn error_of(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|error| error.field == Some(field)).map(Refusal::for_people)
    }
}

fn id(call: &Call) -> Result<i64, Refusal> {
    call.path.get("id").parse().map_err(|_| Refusal::not_found("there is no such webhook"))
}

fn one(call: &Call) -> Result<View, Refusal> {
    call.page(&One::of(call, id(call)?, None)?)
}

fn said(call: &Call, done: Result<String, Refusal>) -> Result<View, Refusal> {
    let id = id(call)?;
    match done {
        Ok(sentence) => View::done(format!("/webhooks/{id}"), sentence),
        Err(refusal) if matches!(refusal.kind, Kind::Invalid | Kind::Conflict) => {
            call.again(&One::of(call, id, Some(refusal))?)
        }
        Err(refusal) => Err(refusal),
    }
}

fn edit(call: &Call) -> Result<View, Refusal> {
    let form = &call.form;
    let done = call.desk().edit_webhook(id(call)?, form.get("name"), form.get("url"), form.is_on("enabled"));
    said(call, done.map(|()| "The webhook was changed.".to_owned()))
}

fn test(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let poster = call.site.poster()?;
    let done = call.desk().test_webhook(id, &poster);
    said(call, done.map(|took| format!("The other side took the test within {took} ms.")))
}

fn again(call: &Call) -> Result<View, Refusal> {
    // There is no attempt 0.
    let (id, delivery) = (id(call)?, call.form.get("delivery").parse().unwrap_or(0));
    let poster = call.site.poster()?;
    let done = call.desk().redeliver(id, delivery, &poster);
    said(call, done.map(|took| format!("The other side took it within {took} ms.")))
}

fn renew(call: &Call) -> Result<View, Refusal> {
    let id = id(call)?;
    let secret = call.desk().renew_webhook_secret(id)?;
    call.page(&One { secret: Some(secret), ..One::of(call, id, None)? })
}

fn delete(call: &Call) -> Result<View, Refusal> {
    call.desk().delete_webhook(id(call)?)?;
    View::done("/webhooks", "The webhook was deleted.")
}
