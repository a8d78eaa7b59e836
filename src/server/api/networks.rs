//! `/networks` and `/registry-questions`.

use std::net::Ipv4Addr;

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, Page, Paging, limit, operation};
use crate::clock::utc_text;
use crate::model::access::Right;
use crate::model::{RegistryQuery, RegistryTree};
use crate::service::desk::Refusal;
use crate::service::discovery::{Host, NetworkSummary};
use crate::store::labels::Label;
use crate::store::registry::Wanted;

/// Findings that are told at most.
const FINDINGS: usize = 10_000;

pub(super) fn operations() -> Vec<Operation> {
    let (see, edit) = (Right::SeeComputers, Right::EditSettings);
    vec![
        operation(
            Method::GET,
            "/networks",
            "list_networks",
            "Networks: how many computers are in each, who looks round there, how many were seen",
            see,
            list,
        ),
        operation(
            Method::GET,
            "/networks/{network}",
            "get_network",
            "Who is in a network, and whose the addresses are",
            see,
            get,
        ),
        operation(
            Method::PUT,
            "/networks/{network}",
            "label_network",
            "Says what a network is called, and whether nobody is to look round there",
            edit,
            label,
        ),
        operation(
            Method::GET,
            "/registry-questions",
            "list_registry_questions",
            "What Windows computers are asked",
            see,
            questions,
        ),
        operation(
            Method::POST,
            "/registry-questions",
            "add_registry_question",
            "Asks Windows computers for a value of their registry; they are told at their next contact",
            edit,
            add,
        )
        .creates(),
        operation(
            Method::PUT,
            "/registry-questions/{name}",
            "edit_registry_question",
            "Asks something else under the same name",
            edit,
            change,
        ),
        operation(
            Method::DELETE,
            "/registry-questions/{name}",
            "remove_registry_question",
            "Takes a question back",
            edit,
            remove,
        ),
        operation(
            Method::GET,
            "/registry-questions/{name}/findings",
            "list_registry_findings",
            "What computers found by a question, at most 10,000 of them",
            see,
            findings,
        ),
    ]
}

/// A network.
#[derive(JsonSchema, Serialize)]
struct NetworkView {
    /// Its address.
    network: String,
    /// What administrators call it; may be empty.
    name: String,
    /// Their word to sort networks by; may be empty.
    tag: String,
    /// Is nobody to look round there?
    excluded: bool,
    /// Computers with an adapter in it.
    computers: usize,
    /// Names of those that are elected to look round.
    elected: Vec<String>,
    /// Hosts that were seen there.
    seen: usize,
    /// Those of them that no known computer has.
    unknown: usize,
    /// When anybody was seen there last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
}

impl From<NetworkSummary> for NetworkView {
    fn from(summary: NetworkSummary) -> Self {
        Self {
            network: summary.network,
            name: summary.label.name,
            tag: summary.label.tag,
            excluded: summary.label.excluded,
            computers: summary.computers,
            elected: summary.elected,
            seen: summary.seen,
            unknown: summary.strangers,
            last_seen: summary.last_seen.map(utc_text),
        }
    }
}

fn list(asked: Asked<Nothing, Paging, Nothing>) -> Result<Page<NetworkView>, Refusal> {
    let limit = limit(asked.query.limit)?;
    let after = match asked.query.after.as_deref().map(str::parse::<Ipv4Addr>) {
        Some(Err(_)) => return Err(Refusal::invalid("the list goes on after a network's address").about("after")),
        Some(Ok(address)) => Some(address),
        None => None,
    };
    let rest = asked.desk().networks()?.into_iter();
    let rest = rest.filter(|one| after.is_none_or(|after| one.network.parse::<Ipv4Addr>().is_ok_and(|it| it > after)));
    Ok(Page::cut(rest.take(limit + 1).collect(), limit, |one| one.network.clone(), NetworkView::from))
}

/// A network's address.
#[derive(Deserialize, JsonSchema)]
struct ByNetwork {
    /// As `list_networks` tells it: `192.0.2.0`.
    network: String,
}

/// All of a network.
#[derive(JsonSchema, Serialize)]
struct HostList {
    /// In order of the addresses.
    items: Vec<HostView>,
}

/// A host of a network: an adapter of a known computer, or who was seen.
#[derive(JsonSchema, Serialize)]
struct HostView {
    /// Its address.
    ip_address: String,
    /// Its MAC, in upper case.
    mac: String,
    /// What it was called by who saw it; empty if it was not seen.
    name: String,
    /// The known computer that has the MAC; absent for a stranger.
    #[serde(skip_serializing_if = "Option::is_none")]
    computer: Option<String>,
    /// When it was seen first.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    /// When it was seen last.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
}

fn get(asked: Asked<ByNetwork, Nothing, Nothing>) -> Result<HostList, Refusal> {
    let view = |host: Host| HostView {
        ip_address: host.ip_address,
        mac: host.mac,
        name: host.name,
        computer: host.computer,
        first_seen: host.seen.map(|(first, _)| utc_text(first)),
        last_seen: host.seen.map(|(_, last)| utc_text(last)),
    };
    Ok(HostList { items: asked.desk().network(&asked.path.network)?.into_iter().map(view).collect() })
}

/// What administrators say of a network.
#[derive(Deserialize, JsonSchema)]
struct NewLabel {
    /// What they call it; nothing if absent.
    #[schemars(length(max = 60))]
    name: Option<String>,
    /// A word to sort networks by; none if absent.
    #[schemars(length(max = 60))]
    tag: Option<String>,
    /// Nobody is to look round there; somebody may if absent.
    excluded: Option<bool>,
}

fn label(asked: Asked<ByNetwork, Nothing, NewLabel>) -> Result<NetworkView, Refusal> {
    let NewLabel { name, tag, excluded } = &asked.body;
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_owned();
    let label = Label { name: text(name), tag: text(tag), excluded: excluded.unwrap_or_default() };
    asked.desk().label_network(&asked.path.network, label)?;
    Ok(asked.desk().network_summary(&asked.path.network)?.into())
}

/// What Windows computers are asked.
#[derive(JsonSchema, Serialize)]
struct QuestionList {
    /// By name.
    items: Vec<QuestionView>,
}

/// A question to the registry of Windows computers.
#[derive(JsonSchema, Serialize)]
struct QuestionView {
    /// What it is called.
    name: String,
    /// `HKCR`, `HKCU`, `HKLM`, `HKU` or `HKCC`.
    tree: &'static str,
    /// The key below it.
    key: String,
    /// The value's name; `*` is all of the key.
    value: String,
}

impl From<&RegistryQuery> for QuestionView {
    fn from(question: &RegistryQuery) -> Self {
        Self {
            name: question.name().to_owned(),
            tree: RegistryTree::as_str(question.tree()),
            key: question.key().to_owned(),
            value: question.value().to_owned(),
        }
    }
}

fn questions(asked: Asked<Nothing, Nothing, Nothing>) -> Result<QuestionList, Refusal> {
    Ok(QuestionList { items: asked.desk().registry_questions()?.iter().map(QuestionView::from).collect() })
}

/// A question to ask.
#[derive(Deserialize, JsonSchema)]
struct NewQuestion {
    /// What it shall be called.
    #[schemars(length(min = 1))]
    name: String,
    /// `HKCR`, `HKCU`, `HKLM`, `HKU` or `HKCC`; `HKLM` if absent.
    tree: Option<String>,
    /// The key below it: `SOFTWARE\Example`.
    key: String,
    /// The value's name; `*`, which is all of the key, if absent.
    value: Option<String>,
}

fn add(asked: Asked<Nothing, Nothing, NewQuestion>) -> Result<QuestionView, Refusal> {
    let NewQuestion { name, tree, key, value } = &asked.body;
    let question = RegistryQuery::new(name, tree_of(tree.as_deref())?, key, value.as_deref().unwrap_or("*"))?;
    let view = QuestionView::from(&question);
    asked.desk().add_registry_question(question)?;
    Ok(view)
}

fn tree_of(text: Option<&str>) -> Result<RegistryTree, Refusal> {
    text.unwrap_or("HKLM")
        .parse()
        .map_err(|_| Refusal::invalid("a tree is HKCR, HKCU, HKLM, HKU or HKCC").about("tree"))
}

/// What to ask instead.
#[derive(Deserialize, JsonSchema)]
struct Instead {
    /// `HKCR`, `HKCU`, `HKLM`, `HKU` or `HKCC`; `HKLM` if absent.
    tree: Option<String>,
    /// The key below it: `SOFTWARE\Example`.
    key: String,
    /// The value's name; `*`, which is all of the key, if absent.
    value: Option<String>,
}

fn change(asked: Asked<ByName, Nothing, Instead>) -> Result<QuestionView, Refusal> {
    let (name, Instead { tree, key, value }) = (&asked.path.name, &asked.body);
    let tree = tree_of(tree.as_deref())?;
    asked.desk().edit_registry_question(name, tree, key, value.as_deref().unwrap_or("*"))?;
    Ok(QuestionView::from(&asked.desk().registry_question(name)?))
}

/// A question's name.
#[derive(Deserialize, JsonSchema)]
struct ByName {
    /// What it is called, in any case.
    name: String,
}

fn remove(asked: Asked<ByName, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().remove_registry_question(&asked.path.name)?;
    Ok(Nothing {})
}

/// What was found.
#[derive(JsonSchema, Serialize)]
struct FindingList {
    /// By computer.
    items: Vec<FindingView>,
}

/// What a computer found.
#[derive(JsonSchema, Serialize)]
struct FindingView {
    /// The computer's host name.
    computer: String,
    /// Its device id.
    device_id: String,
    /// The value.
    value: String,
}

fn findings(asked: Asked<ByName, Nothing, Nothing>) -> Result<FindingList, Refusal> {
    let wanted = Wanted { name: asked.path.name.clone(), ..Wanted::default() };
    let found = asked.desk().registry_findings(wanted, FINDINGS)?;
    let items = found.into_iter().map(|finding| FindingView {
        computer: finding.computer_name,
        device_id: finding.device_id,
        value: finding.found.value,
    });
    Ok(FindingList { items: items.collect() })
}
