//! `/computers/{computer}/key`, `/expected-computers` and `/registration-key`.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, Page, Paging, limit, operation};
use crate::clock::utc_text;
use crate::model::Computer;
use crate::model::access::Right;
use crate::service::desk::Refusal;
use crate::store::expected::Expected;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Method::DELETE,
            "/computers/{computer}/key",
            "forget_computer_key",
            "Forgets the key of a computer: it is known by its name again, until an agent registers",
            Right::RemoveComputers,
            forget,
        ),
        operation(
            Method::GET,
            "/expected-computers",
            "list_expected_computers",
            "Names that are expected, by name",
            Right::SeeComputers,
            list,
        ),
        operation(
            Method::PUT,
            "/expected-computers/{name}",
            "expect_computer",
            "Expects a host name: the first agent with a key that comes under it may register that key, once",
            Right::EditComputers,
            expect,
        ),
        operation(
            Method::POST,
            "/expected-computers",
            "expect_computers",
            "Expects many host names at once; tells those that were not expected before",
            Right::EditComputers,
            expect_many,
        ),
        operation(
            Method::DELETE,
            "/expected-computers/{name}",
            "unexpect_computer",
            "Expects a host name no more",
            Right::EditComputers,
            unexpect,
        ),
        operation(
            Method::POST,
            "/computers/{computer}/key/restoration",
            "restore_computer_key",
            "Gives a computer the key back that was forgotten last, unless an agent has registered since",
            Right::RemoveComputers,
            remember,
        ),
        operation(
            Method::GET,
            "/registration-key",
            "get_registration_key",
            "Whether there is a registration key, and who made it when; never the key itself",
            Right::SeeComputers,
            registration,
        ),
        operation(
            Method::POST,
            "/registration-key",
            "renew_registration_key",
            "Makes a registration key in the place of the old one, and tells it this once",
            Right::EditSettings,
            renew,
        ),
        operation(
            Method::DELETE,
            "/registration-key",
            "remove_registration_key",
            "Takes the registration key away that was made here: nobody registers with it any more",
            Right::EditSettings,
            remove,
        ),
    ]
}

/// How sure it is that messages are a computer's own.
#[derive(JsonSchema, Serialize)]
pub(super) struct IdentityView {
    /// `key` if its messages are signed with its own key, `name` if whoever says its name is believed.
    proven_by: &'static str,
    /// The public half of the key (Ed25519), 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// When the key was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

impl From<&Computer> for IdentityView {
    fn from(computer: &Computer) -> Self {
        let (key, since) = computer.agent_key.as_ref().map(|key| (key.key.clone(), utc_text(key.since))).unzip();
        Self { proven_by: computer.proven_by(), key, since }
    }
}

/// A computer's name.
#[derive(Deserialize, JsonSchema)]
struct ByComputer {
    /// The device id, or the host name if it is one computer's alone.
    computer: String,
}

fn forget(asked: Asked<ByComputer, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().forget_key(&asked.path.computer)?;
    Ok(Nothing {})
}

/// A name that is expected.
#[derive(JsonSchema, Serialize)]
struct ExpectedView {
    /// The host name.
    name: String,
    /// Since when.
    at: String,
    /// Who said so.
    by: String,
}

impl From<Expected> for ExpectedView {
    fn from(expected: Expected) -> Self {
        Self { name: expected.name, at: utc_text(expected.at), by: expected.by }
    }
}

fn list(asked: Asked<Nothing, Paging, Nothing>) -> Result<Page<ExpectedView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let found = asked.desk().expected_computers("", asked.query.after.clone(), limit + 1)?;
    Ok(Page::cut(found, limit, |last| last.name.clone(), ExpectedView::from))
}

/// A host name.
#[derive(Deserialize, JsonSchema)]
struct ByName {
    /// The host name, letters compared without case.
    name: String,
}

fn expect(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().expect_computers(std::slice::from_ref(&asked.path.name))?;
    Ok(Nothing {})
}

fn unexpect(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().unexpect_computer(&asked.path.name)?;
    Ok(Nothing {})
}

/// Host names.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct NamesBody {
    /// From 1 to 10,000 host names, letters compared without case.
    names: Vec<String>,
}

/// What is expected now.
#[derive(JsonSchema, Serialize)]
struct AddedView {
    /// The names that were not expected before.
    added: Vec<String>,
}

fn expect_many(asked: Asked<Nothing, Nothing, NamesBody>) -> Result<AddedView, Refusal> {
    Ok(AddedView { added: asked.desk().expect_computers(&asked.body.names)? })
}

fn remember(asked: Asked<ByComputer, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().remember_key(&asked.path.computer)?;
    Ok(Nothing {})
}

/// What agents register with.
#[derive(JsonSchema, Serialize)]
struct RegistrationView {
    /// Does the configuration hold a registration key?
    configured: bool,
    /// When the one was made that the console or this API made; absent if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_at: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
}

fn registration(asked: Asked<Nothing, Nothing, Nothing>) -> Result<RegistrationView, Refusal> {
    let (made_at, made_by) = asked.desk().registration()?.map(|(at, by)| (utc_text(at), by)).unzip();
    Ok(RegistrationView { configured: asked.site.has_registration_key(), made_at, made_by })
}

/// A key that was just made.
#[derive(JsonSchema, Serialize)]
struct RenewedView {
    /// The key: `registration_key` of every agent that is to register. It is told this once.
    key: String,
}

fn renew(asked: Asked<Nothing, Nothing, Nothing>) -> Result<RenewedView, Refusal> {
    Ok(RenewedView { key: asked.desk().renew_registration()? })
}

fn remove(asked: Asked<Nothing, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().remove_registration()?;
    Ok(Nothing {})
}
