//! Whom to tell how deployments go on, what they were told, and what became of it.

use diesel::prelude::*;

use super::connection::q;
use super::row::{At, limit as rows, millis, text, time};
use super::schema::{webhook_deliveries, webhook_progress, webhooks};
use super::{Conn, StoreError};
use crate::model::{DeploymentId, UnixTime};

/// Attempts that are remembered of each webhook.
const REMEMBERED: i64 = 100;

/// Somebody who is told.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its number.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// Where it is told.
    pub url: String,
    /// What messages are signed with.
    pub secret: String,
    /// Is it told at all?
    pub enabled: bool,
    /// The last event that it was told of.
    pub told_event: i64,
    /// The last deployment whose beginning it was told of.
    pub told_deployment: i64,
    /// Attempts that failed one after the other.
    pub failures: u64,
    /// Before that moment nothing is tried again.
    pub next_attempt: UnixTime,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When something was told last.
    pub last_delivery: Option<UnixTime>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: UnixTime,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = webhooks)]
struct WebhookRow {
    id: i64,
    name: String,
    url: String,
    secret: String,
    enabled: bool,
    told_event: i64,
    told_deployment: i64,
    failures: i64,
    next_attempt: i64,
    last_error: Option<String>,
    last_delivery: Option<i64>,
    created_by: String,
    created_at: i64,
}

impl TryFrom<WebhookRow> for Webhook {
    type Error = StoreError;

    fn try_from(row: WebhookRow) -> Result<Self, StoreError> {
        Ok(Self {
            failures: At("webhooks", row.id).number("failures", row.failures)?,
            id: row.id,
            name: row.name,
            url: row.url,
            secret: row.secret,
            enabled: row.enabled,
            told_event: row.told_event,
            told_deployment: row.told_deployment,
            next_attempt: UnixTime::from_millis(row.next_attempt),
            last_error: row.last_error,
            last_delivery: time(row.last_delivery),
            created_by: row.created_by,
            created_at: UnixTime::from_millis(row.created_at),
        })
    }
}

/// Makes a webhook; its number is given by the database.
pub fn create(conn: &mut Conn, hook: &Webhook) -> Result<i64, StoreError> {
    Ok(q!(conn => diesel::insert_into(webhooks::table)
        .values((
            webhooks::name.eq(text(&hook.name)),
            webhooks::url.eq(text(&hook.url)),
            webhooks::secret.eq(text(&hook.secret)),
            webhooks::enabled.eq(hook.enabled),
            webhooks::told_event.eq(hook.told_event),
            webhooks::told_deployment.eq(hook.told_deployment),
            webhooks::failures.eq(0_i64),
            webhooks::next_attempt.eq(0_i64),
            webhooks::created_by.eq(text(&hook.created_by)),
            webhooks::created_at.eq(hook.created_at.millis()),
        ))
        .returning(webhooks::id)
        .get_result(conn))?)
}

/// All of them, in order of their numbers.
pub fn list(conn: &mut Conn) -> Result<Vec<Webhook>, StoreError> {
    let all: Vec<WebhookRow> =
        q!(conn => webhooks::table.order(webhooks::id).select(WebhookRow::as_select()).load(conn))?;
    all.into_iter().map(Webhook::try_from).collect()
}

/// One of them.
pub fn find(conn: &mut Conn, id: i64) -> Result<Option<Webhook>, StoreError> {
    let query = webhooks::table.find(id);
    q!(conn => query.select(WebhookRow::as_select()).first(conn).optional())?.map(Webhook::try_from).transpose()
}

/// Changes name, address and whether it is told; a fresh start for one that was given up.
pub fn edit(conn: &mut Conn, id: i64, name: &str, url: &str, enabled: bool) -> Result<bool, StoreError> {
    let changed = q!(conn => diesel::update(webhooks::table.find(id))
        .set((
            webhooks::name.eq(text(name)),
            webhooks::url.eq(text(url)),
            webhooks::enabled.eq(enabled),
            webhooks::failures.eq(0_i64),
            webhooks::next_attempt.eq(0_i64),
            webhooks::last_error.eq(None::<String>),
        ))
        .execute(conn))?;
    Ok(changed > 0)
}

/// Deletes one with what is remembered of it.
pub fn delete(conn: &mut Conn, id: i64) -> Result<bool, StoreError> {
    Ok(q!(conn => diesel::delete(webhooks::table.find(id)).execute(conn))? > 0)
}

/// Up to here it was told everything.
pub fn told(conn: &mut Conn, id: i64, event: i64, deployment: i64) -> Result<(), StoreError> {
    q!(conn => diesel::update(webhooks::table.find(id))
        .set((webhooks::told_event.eq(event), webhooks::told_deployment.eq(deployment)))
        .execute(conn))?;
    Ok(())
}

/// An attempt went well.
pub fn succeeded(conn: &mut Conn, id: i64, at: UnixTime) -> Result<(), StoreError> {
    q!(conn => diesel::update(webhooks::table.find(id))
        .set((
            webhooks::failures.eq(0_i64),
            webhooks::next_attempt.eq(0_i64),
            webhooks::last_error.eq(None::<String>),
            webhooks::last_delivery.eq(at.millis()),
        ))
        .execute(conn))?;
    Ok(())
}

/// An attempt failed: it is tried again at `next`, or no more.
pub fn failed(conn: &mut Conn, id: i64, error: &str, next: Option<UnixTime>) -> Result<(), StoreError> {
    q!(conn => diesel::update(webhooks::table.find(id))
        .set((
            webhooks::failures.eq(webhooks::failures + 1_i64),
            webhooks::next_attempt.eq(millis(next).unwrap_or(0)),
            webhooks::last_error.eq(text(error)),
        ))
        .execute(conn))?;
    // Only ever off: somebody may have switched it off while it was tried.
    if next.is_none() {
        q!(conn => diesel::update(webhooks::table.find(id)).set(webhooks::enabled.eq(false)).execute(conn))?;
    }
    Ok(())
}

/// Messages are signed with another secret from now on.
pub fn set_secret(conn: &mut Conn, id: i64, secret: &str) -> Result<(), StoreError> {
    q!(conn => diesel::update(webhooks::table.find(id)).set(webhooks::secret.eq(text(secret))).execute(conn))?;
    Ok(())
}

/// What a webhook was told of a deployment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// Tenths of its computers that are done.
    pub step: u64,
    /// Failures.
    pub failures: u64,
    /// Was its end told?
    pub ended: bool,
    /// Was it told that others have to agree to it first?
    pub waits: bool,
}

/// What a webhook was told of a deployment, if anything.
pub fn progress(conn: &mut Conn, id: i64, deployment: DeploymentId) -> Result<Option<Told>, StoreError> {
    let query = webhook_progress::table.find((id, deployment.0)).select((
        webhook_progress::step,
        webhook_progress::failures,
        webhook_progress::ended,
        webhook_progress::waits,
    ));
    let found: Option<(i64, i64, bool, bool)> = q!(conn => query.first(conn).optional())?;
    let at = At("webhook_progress", deployment.0);
    found
        .map(|(step, failures, ended, waits)| {
            Ok(Told { step: at.number("step", step)?, failures: at.number("failures", failures)?, ended, waits })
        })
        .transpose()
}

/// Deployments of which a webhook was told a beginning and no end, and whether they waited for others then.
pub fn unended(conn: &mut Conn, id: i64) -> Result<Vec<(DeploymentId, bool)>, StoreError> {
    let found: Vec<(i64, bool)> = q!(conn => webhook_progress::table
        .filter(webhook_progress::webhook_id.eq(id))
        .filter(webhook_progress::ended.eq(false))
        .select((webhook_progress::deployment_id, webhook_progress::waits))
        .load(conn))?;
    Ok(found.into_iter().map(|(id, waits)| (DeploymentId(id), waits)).collect())
}

/// Remembers what a webhook was told of a deployment.
pub fn set_progress(conn: &mut Conn, id: i64, deployment: DeploymentId, told: Told) -> Result<(), StoreError> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (step, failures) = (number(told.step), number(told.failures));
    q!(conn => diesel::insert_into(webhook_progress::table)
        .values((
            webhook_progress::webhook_id.eq(id),
            webhook_progress::deployment_id.eq(deployment.0),
            webhook_progress::step.eq(step),
            webhook_progress::failures.eq(failures),
            webhook_progress::ended.eq(told.ended),
            webhook_progress::waits.eq(told.waits),
        ))
        .on_conflict((webhook_progress::webhook_id, webhook_progress::deployment_id))
        .do_update()
        .set((
            webhook_progress::step.eq(step),
            webhook_progress::failures.eq(failures),
            webhook_progress::ended.eq(told.ended),
            webhook_progress::waits.eq(told.waits),
        ))
        .execute(conn))?;
    Ok(())
}

/// An attempt to tell something.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = webhook_deliveries)]
pub struct Delivery {
    /// Its number, given by the database.
    pub id: i64,
    /// When, in milliseconds of [`UnixTime`].
    pub at: i64,
    /// What: `deployment.progress`.
    pub event: String,
    /// Of which deployment.
    pub deployment_id: Option<i64>,
    /// How long it took.
    pub milliseconds: i64,
    /// What went wrong, if it did.
    pub error: Option<String>,
    /// What stays the same when it is told again.
    pub message_id: String,
    /// What was told, as it was signed.
    pub document: String,
}

impl Delivery {
    /// When.
    pub fn at(&self) -> UnixTime {
        UnixTime::from_millis(self.at)
    }
}

/// Remembers an attempt, and forgets the oldest ones.
pub fn add_delivery(conn: &mut Conn, id: i64, delivery: &Delivery) -> Result<(), StoreError> {
    q!(conn => diesel::insert_into(webhook_deliveries::table)
        .values((
            webhook_deliveries::webhook_id.eq(id),
            webhook_deliveries::at.eq(delivery.at),
            webhook_deliveries::event.eq(&delivery.event),
            webhook_deliveries::deployment_id.eq(delivery.deployment_id),
            webhook_deliveries::milliseconds.eq(delivery.milliseconds),
            webhook_deliveries::error.eq(delivery.error.as_deref().map(text)),
            webhook_deliveries::message_id.eq(&delivery.message_id),
            webhook_deliveries::document.eq(text(&delivery.document)),
        ))
        .execute(conn))?;
    let oldest: Option<i64> = q!(conn => webhook_deliveries::table
        .filter(webhook_deliveries::webhook_id.eq(id))
        .order(webhook_deliveries::id.desc())
        .offset(REMEMBERED)
        .select(webhook_deliveries::id)
        .first(conn)
        .optional())?;
    if let Some(oldest) = oldest {
        let old = webhook_deliveries::table
            .filter(webhook_deliveries::webhook_id.eq(id))
            .filter(webhook_deliveries::id.le(oldest));
        q!(conn => diesel::delete(old).execute(conn))?;
    }
    Ok(())
}

/// The last attempts of a webhook, newest first.
pub fn deliveries(conn: &mut Conn, id: i64, limit: usize) -> Result<Vec<Delivery>, StoreError> {
    let query = webhook_deliveries::table
        .filter(webhook_deliveries::webhook_id.eq(id))
        .order(webhook_deliveries::id.desc())
        .limit(rows(limit));
    Ok(q!(conn => query.select(Delivery::as_select()).load(conn))?)
}

/// One of the attempts that are remembered of a webhook.
pub fn delivery(conn: &mut Conn, id: i64, delivery: i64) -> Result<Option<Delivery>, StoreError> {
    let query = webhook_deliveries::table.find(delivery).filter(webhook_deliveries::webhook_id.eq(id));
    Ok(q!(conn => query.select(Delivery::as_select()).first(conn).optional())?)
}
