//! `/views`: saved views of the list of computers.

#![expect(clippy::needless_pass_by_value, reason = "what an operation is given is its own")]

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Asked, Nothing, Operation, operation};
use crate::model::access::Right;
use crate::service::desk::Refusal;

/// The only list that has views so far.
const LIST: &str = "computers";

pub(super) fn operations() -> Vec<Operation> {
    const SEE: Right = Right::SeeComputers;
    vec![
        operation(Method::GET, "/views", "list_views", "Saved views of the list of computers", SEE, list),
        operation(Method::POST, "/views", "save_view", "Keeps a view; one's own of that name is replaced", SEE, save)
            .creates(),
        operation(Method::DELETE, "/views/{view}", "delete_view", "Forgets one of one's own views", SEE, delete),
    ]
}

/// A saved view.
#[derive(JsonSchema, Serialize)]
struct ViewView {
    /// Its number.
    id: i64,
    /// Whose.
    owner: String,
    /// Its name.
    name: String,
    /// The list's address after the question mark.
    query: String,
    /// Do others see it?
    shared: bool,
}

/// Views.
#[derive(JsonSchema, Serialize)]
struct ViewsView {
    /// One's own, and those that others share.
    items: Vec<ViewView>,
}

fn list(asked: Asked<Nothing, Nothing, Nothing>) -> Result<ViewsView, Refusal> {
    let views = asked.desk().views(LIST)?.into_iter();
    let view = |view: crate::store::views::View| ViewView {
        id: view.id,
        owner: view.owner,
        name: view.name,
        query: view.query,
        shared: view.shared,
    };
    Ok(ViewsView { items: views.map(view).collect() })
}

/// A view to keep.
#[derive(Deserialize, JsonSchema)]
struct ViewBody {
    /// 1 to 60 characters.
    name: String,
    /// The list's address after the question mark: `q=os%20contains%20debian&sort=-contact`.
    query: String,
    /// Do others see it?
    #[serde(default)]
    shared: bool,
}

/// A new view.
#[derive(JsonSchema, Serialize)]
struct NewView {
    /// Its number.
    id: i64,
}

fn save(asked: Asked<Nothing, Nothing, ViewBody>) -> Result<NewView, Refusal> {
    let body = &asked.body;
    Ok(NewView { id: asked.desk().save_view(LIST, &body.name, &body.query, body.shared)? })
}

/// A view's number.
#[derive(Deserialize, JsonSchema)]
struct ByView {
    /// The number.
    view: i64,
}

fn delete(asked: Asked<ByView, Nothing, Nothing>) -> Result<Nothing, Refusal> {
    asked.desk().delete_view(asked.path.view)?;
    Ok(Nothing {})
}
