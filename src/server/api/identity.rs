//! `/computers/{computer}/key` and `/expected-computers`.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, operation};
use crate::clock::utc_text;
use crate::model::Computer;
use crate::model::access::Right;
use crate::service::desk::Refusal;

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
            Method::DELETE,
            "/expected-computers/{name}",
            "unexpect_computer",
            "Expects a host name no more",
            Right::EditComputers,
            unexpect,
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

/// Names that are expected.
#[derive(JsonSchema, Serialize)]
struct ExpectedList {
    /// By name.
    items: Vec<ExpectedView>,
}

fn list(asked: Asked<Nothing, Nothing, Nothing>) -> Result<ExpectedList, Refusal> {
    let names = asked.desk().expected_computers()?.into_iter();
    let view =
        |name: crate::store::expected::Expected| ExpectedView { name: name.name, at: utc_text(name.at), by: name.by };
    Ok(ExpectedList { items: names.map(view).collect() })
}

/// A host name.
#[derive(Deserialize, JsonSchema)]
struct ByName {
    /// The host name, letters compared without case.
    name: String,
}

fn expect(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().expect_computer(&asked.path.name)?;
    Ok(Nothing {})
}

fn unexpect(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().unexpect_computer(&asked.path.name)?;
    Ok(Nothing {})
}
