//! Whom to tell how deployments go on.

use serde_json::json;

use super::super::signin;
use super::super::webhooks::{self as sender, DeliveryError, Message};
use super::{Change, Desk, Refusal};
use crate::fetch::Url;
use crate::fetch::poster::Poster;
use crate::model::UnixTime;
use crate::model::access::Right;
use crate::store::webhooks::{self, Delivery, Webhook};
use crate::store::{StoreError, deployments, events};

/// Webhooks of one server.
const MOST: usize = 50;

impl Desk {
    /// All webhooks. They hear of every deployment, so they are for whoever may see all.
    pub fn webhooks(&self) -> Result<Vec<Webhook>, Refusal> {
        self.allow_all_computers()?;
        Ok(self.reading(Right::EditWebhooks)?.store.read_now(webhooks::list)?)
    }

    /// One of them with its last attempts.
    pub fn webhook(&self, id: i64) -> Result<(Webhook, Vec<Delivery>), Refusal> {
        self.allow_all_computers()?;
        let app = self.reading(Right::EditWebhooks)?;
        let found = app.store.read_now(move |conn| -> Result<_, StoreError> {
            let Some(hook) = webhooks::find(conn, id)? else { return Ok(None) };
            Ok(Some((hook, webhooks::deliveries(conn, id, 100)?)))
        })?;
        found.ok_or_else(|| Refusal::not_found(format!("there is no webhook {id}")))
    }

    /// Makes a webhook, which is told what happens from now on. Gives its number and the secret that signs.
    pub fn add_webhook(&self, name: &str, url: &str) -> Result<(i64, String), Refusal> {
        let present = self.webhooks()?.len();
        let url = checked(name, url)?;
        if present >= MOST {
            return Err(Refusal::conflict(format!("there are {MOST} webhooks already: delete one first")));
        }
        let name = name.trim().to_owned();
        let secret = signin::random_secret()?;
        let change = Change::new("webhook add", format!("webhook {name}")).after(json!({ "url": url.as_str() }));
        let app = self.changing(Right::EditWebhooks, change)?;
        let (created_by, created_at, kept) = (self.actor.name.clone(), app.clock.now(), secret.clone());
        let id = app.store.write_now(move |conn| -> Result<i64, StoreError> {
            let newest = deployments::list(conn, None, 1)?;
            let hook = Webhook {
                id: 0,
                name,
                url: url.as_str().to_owned(),
                secret: kept,
                enabled: true,
                told_event: events::last(conn)?,
                told_deployment: newest.first().map_or(0, |line| line.deployment.id.0),
                failures: 0,
                next_attempt: UnixTime::from_millis(0),
                last_error: None,
                last_delivery: None,
                created_by,
                created_at,
            };
            webhooks::create(conn, &hook)
        })?;
        Ok((id, secret))
    }

    /// Changes a webhook; one that was given up is tried again.
    pub fn edit_webhook(&self, id: i64, name: &str, url: &str, enabled: bool) -> Result<(), Refusal> {
        let (before, _) = self.webhook(id)?;
        let url = checked(name, url)?;
        let name = name.trim().to_owned();
        let change = Change::new("webhook edit", format!("webhook {}", before.name))
            .before(json!({ "name": before.name, "url": before.url, "enabled": before.enabled }))
            .after(json!({ "name": name, "url": url.as_str(), "enabled": enabled }));
        let app = self.changing(Right::EditWebhooks, change)?;
        app.store.write_now(move |conn| webhooks::edit(conn, id, &name, url.as_str(), enabled))?;
        Ok(())
    }

    /// Deletes a webhook with what is remembered of it.
    pub fn delete_webhook(&self, id: i64) -> Result<(), Refusal> {
        let (before, _) = self.webhook(id)?;
        let change =
            Change::new("webhook delete", format!("webhook {}", before.name)).before(json!({ "url": before.url }));
        let app = self.changing(Right::EditWebhooks, change)?;
        app.store.write_now(move |conn| webhooks::delete(conn, id))?;
        Ok(())
    }

    /// Signs messages with another secret from now on. Gives it. What the other side refuses until it knows the secret is
    /// told again.
    pub fn renew_webhook_secret(&self, id: i64) -> Result<String, Refusal> {
        let (hook, _) = self.webhook(id)?;
        let secret = signin::random_secret()?;
        let app =
            self.changing(Right::EditWebhooks, Change::new("webhook secret", format!("webhook {}", hook.name)))?;
        let kept = secret.clone();
        app.store.write_now(move |conn| webhooks::set_secret(conn, id, &kept))?;
        Ok(secret)
    }

    /// Tells a webhook once more what it was told before. Gives the milliseconds that it took.
    pub fn redeliver(&self, id: i64, delivery: i64, poster: &Poster) -> Result<i64, Refusal> {
        let (hook, _) = self.webhook(id)?;
        let before = self.app.store.read_now(move |conn| webhooks::delivery(conn, id, delivery))?;
        let before = before
            .ok_or_else(|| Refusal::not_found("this attempt is not remembered any more: only the last hundred are"))?;
        let change = Change::new("webhook again", format!("webhook {}", hook.name))
            .after(json!({ "event": before.event, "id": before.message_id }));
        let app = self.changing(Right::EditWebhooks, change)?;
        sender::redeliver(&app, poster, &hook, &before).map_err(Refusal::from)
    }

    /// Tells a webhook that it is a test. Gives the milliseconds that it took.
    pub fn test_webhook(&self, id: i64, poster: &Poster) -> Result<i64, Refusal> {
        let (hook, _) = self.webhook(id)?;
        let app = self.changing(Right::EditWebhooks, Change::new("webhook test", format!("webhook {}", hook.name)))?;
        let message = Message::test(app.clock.now());
        sender::deliver(&app, poster, &hook, &message).map_err(Refusal::from)
    }
}

impl From<DeliveryError> for Refusal {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Refused(why) => Self::conflict(why),
            DeliveryError::Store(error) => error.into(),
        }
    }
}

fn checked(name: &str, url: &str) -> Result<Url, Refusal> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 60 || name.contains(char::is_control) {
        return Err(Refusal::invalid("the name of a webhook is 1 to 60 characters").about("name"));
    }
    url.trim().parse().map_err(|error: crate::fetch::InvalidUrl| Refusal::invalid(error.to_string()).about("url"))
}
