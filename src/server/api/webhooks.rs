//! `/webhooks`.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, operation};
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::store::webhooks::{Delivery, Webhook};

pub(super) fn operations() -> Vec<Operation> {
    let right = Right::EditWebhooks;
    vec![
        operation(Method::GET, "/webhooks", "list_webhooks", "Who is told how deployments go on", right, list),
        // Its answer is a secret, so it takes no Idempotency-Key: the answer would be kept.
        operation(Method::POST, "/webhooks", "add_webhook", "Makes a webhook; tells its secret, once", right, add),
        operation(Method::GET, "/webhooks/{id}", "get_webhook", "One webhook with its last attempts", right, get),
        operation(Method::PUT, "/webhooks/{id}", "change_webhook", "Changes a webhook", right, change),
        operation(Method::DELETE, "/webhooks/{id}", "delete_webhook", "Deletes a webhook", right, delete),
        operation(
            Method::POST,
            "/webhooks/{id}/deliveries/{delivery}",
            "redeliver",
            "Tells once more what was told: the same document under the same id, signed anew",
            right,
            redeliver,
        ),
        operation(
            Method::POST,
            "/webhooks/{id}/secret",
            "renew_webhook_secret",
            "Signs with another secret from now on; tells it, once",
            right,
            renew,
        ),
        operation(Method::POST, "/webhooks/{id}/test", "test_webhook", "Sends a test message", right, test),
    ]
}

/// A webhook's number.
#[derive(Deserialize, JsonSchema)]
struct ById {
    /// The number.
    id: i64,
}

/// A webhook without its secret.
#[derive(JsonSchema, Serialize)]
struct WebhookView {
    /// Its number.
    id: i64,
    /// What it is for.
    name: String,
    /// Where it is told.
    url: String,
    /// Is it told at all? False, too, after two days of attempts that failed.
    enabled: bool,
    /// Attempts that failed one after the other.
    failures: u64,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// When something was told last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_delivery: Option<String>,
    /// Who made it.
    created_by: String,
    /// When.
    created_at: String,
}

impl From<Webhook> for WebhookView {
    fn from(hook: Webhook) -> Self {
        Self {
            id: hook.id,
            name: hook.name,
            url: hook.url,
            enabled: hook.enabled,
            failures: hook.failures,
            last_error: hook.last_error,
            last_delivery: hook.last_delivery.map(utc_text),
            created_by: hook.created_by,
            created_at: utc_text(hook.created_at),
        }
    }
}

/// All webhooks.
#[derive(JsonSchema, Serialize)]
struct Webhooks {
    /// In order of their numbers.
    items: Vec<WebhookView>,
}

fn list(asked: Asked<Nothing, Nothing, Nothing>) -> Result<Webhooks, Refusal> {
    Ok(Webhooks { items: asked.desk().webhooks()?.into_iter().map(WebhookView::from).collect() })
}

/// An attempt to tell something.
#[derive(JsonSchema, Serialize)]
struct DeliveryView {
    /// Its number.
    id: i64,
    /// What stays the same when it is told again (`X-Dripfeed-Delivery`).
    message_id: String,
    /// When.
    at: String,
    /// What, such as `deployment.progress`.
    event: String,
    /// Of which deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<i64>,
    /// How long it took.
    milliseconds: i64,
    /// What went wrong, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            at: utc_text(delivery.at()),
            id: delivery.id,
            message_id: delivery.message_id,
            event: delivery.event,
            deployment: delivery.deployment_id,
            milliseconds: delivery.milliseconds,
            error: delivery.error,
        }
    }
}

/// A webhook with its last attempts.
#[derive(JsonSchema, Serialize)]
struct WebhookDetail {
    /// The webhook.
    #[serde(flatten)]
    webhook: WebhookView,
    /// The newest first, at most 100.
    deliveries: Vec<DeliveryView>,
}

fn get(asked: Asked<ById, Nothing, Nothing>) -> Result<WebhookDetail, Refusal> {
    let (hook, deliveries) = asked.desk().webhook(asked.path.id)?;
    Ok(WebhookDetail { webhook: hook.into(), deliveries: deliveries.into_iter().map(DeliveryView::from).collect() })
}

/// A webhook to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewWebhook {
    /// 1 to 60 characters.
    name: String,
    /// `https://HOST[:PORT]/PATH`, without a query.
    url: String,
}

/// A webhook with its secret, which is told this once.
#[derive(JsonSchema, Serialize)]
struct WebhookMade {
    /// Its number.
    id: i64,
    /// What its messages are signed with (HMAC-SHA256).
    secret: String,
}

fn add(asked: Asked<Nothing, Nothing, NewWebhook>) -> Result<WebhookMade, Refusal> {
    let (id, secret) = asked.desk().add_webhook(&asked.body.name, &asked.body.url)?;
    Ok(WebhookMade { id, secret })
}

/// A webhook as it is to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WebhookChange {
    /// 1 to 60 characters.
    name: String,
    /// `https://HOST[:PORT]/PATH`, without a query.
    url: String,
    /// Is it told at all?
    enabled: bool,
}

fn change(asked: Asked<ById, Nothing, WebhookChange>) -> Result<Nothing, Refusal> {
    let body = &asked.body;
    asked.desk().edit_webhook(asked.path.id, &body.name, &body.url, body.enabled)?;
    Ok(Nothing {})
}

fn delete(asked: Asked<ById, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().delete_webhook(asked.path.id)?;
    Ok(Nothing {})
}

/// A webhook's number and an attempt's.
#[derive(Deserialize, JsonSchema)]
struct ByDelivery {
    /// The webhook's number.
    id: i64,
    /// The attempt's number.
    delivery: i64,
}

fn redeliver(asked: Asked<ByDelivery, Nothing, Nothing>) -> Result<Tested, Refusal> {
    let poster = asked.site.poster()?;
    Ok(Tested { milliseconds: asked.desk().redeliver(asked.path.id, asked.path.delivery, &poster)? })
}

/// A secret, which is told this once.
#[derive(JsonSchema, Serialize)]
struct NewSecret {
    /// What messages are signed with from now on (HMAC-SHA256).
    secret: String,
}

fn renew(asked: Asked<ById, Nothing, Nothing>) -> Result<NewSecret, Refusal> {
    Ok(NewSecret { secret: asked.desk().renew_webhook_secret(asked.path.id)? })
}

/// How it went.
#[derive(JsonSchema, Serialize)]
struct Tested {
    /// How long the other side took.
    milliseconds: i64,
}

fn test(asked: Asked<ById, Nothing, Nothing>) -> Result<Tested, Refusal> {
    let poster = asked.site.poster()?;
    Ok(Tested { milliseconds: asked.desk().test_webhook(asked.path.id, &poster)? })
}
