//! An operation of the API: what it takes, what it gives, what right it needs, and what it does.
//!
//! Path, query, body and answer are types; their schemas become the document, so the document cannot say anything else
//! than the code does.

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::routing::MethodRouter;
use http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::Site;
use super::super::visit::Visit;
use crate::model::access::Right;
use crate::service::desk::{Desk, Refusal};

/// No path, no query, no body, or no answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub(super) struct Nothing {}

/// What an operation is given.
pub(super) struct Asked<P, Q, B> {
    /// The parts of the path in braces.
    pub(super) path: P,
    /// What follows the question mark.
    pub(super) query: Q,
    /// The document.
    pub(super) body: B,
    /// Who asks.
    pub(super) visit: Visit,
    /// The server.
    pub(super) site: Site,
}

impl<P, Q, B> Asked<P, Q, B> {
    /// The desk of whoever asks.
    pub(super) fn desk(&self) -> &Desk {
        &self.visit.desk
    }
}

/// A page of a list: `next` is what to ask `after` for the rest.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct Page<T> {
    /// The entries.
    pub(super) items: Vec<T>,
    /// The value of `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// Cuts a list that was read with one entry more than `limit`. `key` is what the next page begins after.
    pub(super) fn cut<U>(mut all: Vec<U>, limit: usize, key: impl Fn(&U) -> String, view: impl Fn(U) -> T) -> Self {
        let more = all.len() > limit;
        all.truncate(limit);
        let next = all.last().filter(|_| more).map(key);
        Self { items: all.into_iter().map(view).collect(), next }
    }
}

/// What decides about a list's page.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Paging {
    /// `next` of the page before.
    pub(super) after: Option<String>,
    /// Entries of a page, from 1 to 1000; 100 if it is not said.
    pub(super) limit: Option<u32>,
}

/// A limit as a list takes it.
pub(super) fn limit(asked: Option<u32>) -> Result<usize, Refusal> {
    match asked.unwrap_or(100) {
        limit @ 1..=1000 => Ok(limit as usize),
        _ => Err(Refusal::invalid("a page holds 1 to 1000 entries").about("limit")),
    }
}

/// The answer to a call before it is written: its document, if it has one.
pub(super) type Answer = Result<Option<String>, Refusal>;

/// What runs: path, query and body come as text and are read by the operation's own types.
pub(super) type Run = Arc<dyn Fn(Raw) -> Answer + Send + Sync>;

/// A call before its parts are read.
pub(super) struct Raw {
    /// Path parameters, written as a query.
    pub(super) path: String,
    /// The query's text.
    pub(super) query: String,
    /// The body.
    pub(super) body: bytes::Bytes,
    /// Who asks.
    pub(super) visit: Visit,
    /// The server.
    pub(super) site: Site,
}

type Describe = fn(&mut SchemaGenerator) -> Schema;

/// An operation.
pub(in crate::server) struct Operation {
    /// GET, POST, PUT, PATCH, DELETE.
    pub(in crate::server) method: Method,
    /// Below `/api/v1`, parameters in braces.
    pub(in crate::server) path: &'static str,
    /// Its name in the document: `list_packages`.
    pub(super) id: &'static str,
    /// One line.
    pub(super) summary: &'static str,
    /// The right that it needs; `None` for what everybody who is signed in may.
    pub(in crate::server) right: Option<Right>,
    /// The status of success.
    pub(super) success: StatusCode,
    pub(super) path_schema: Option<Describe>,
    pub(super) query_schema: Option<Describe>,
    pub(super) body_schema: Option<Describe>,
    pub(super) answer_schema: Option<Describe>,
    pub(super) does: Does,
}

/// How an operation is carried out.
#[expect(clippy::large_enum_variant, reason = "a hundred of them, made once")]
pub(super) enum Does {
    /// By a function of types.
    Call(Run),
    /// By a handler of its own, for what is no document: uploads, downloads, streams. It asks for rights by itself
    /// through its desk; who asks was looked at before.
    Stream {
        /// The handler.
        handler: MethodRouter<Site>,
        /// The media type of its answer.
        answers: &'static str,
        /// The media type of what it takes, if it takes something.
        takes: Option<&'static str>,
    },
}

fn schema<T: JsonSchema + 'static>() -> Option<Describe> {
    (TypeId::of::<T>() != TypeId::of::<Nothing>()).then_some(SchemaGenerator::subschema_for::<T>)
}

fn inline<T: JsonSchema + 'static>() -> Option<Describe> {
    (TypeId::of::<T>() != TypeId::of::<Nothing>()).then_some(|generator| T::json_schema(generator))
}

/// Begins an operation.
pub(super) fn operation<P, Q, B, R>(
    method: Method,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    right: impl Into<Option<Right>>,
    run: fn(Asked<P, Q, B>) -> Result<R, Refusal>,
) -> Operation
where
    P: DeserializeOwned + JsonSchema + 'static,
    Q: DeserializeOwned + JsonSchema + 'static,
    B: DeserializeOwned + JsonSchema + 'static,
    R: Serialize + JsonSchema + 'static,
{
    let silent = TypeId::of::<R>() == TypeId::of::<Nothing>();
    let success = if silent { StatusCode::NO_CONTENT } else { StatusCode::OK };
    let types = PhantomData::<fn(P, Q, B) -> R>;
    let does = Does::Call(Arc::new(move |raw: Raw| {
        let _ = types;
        let path = if TypeId::of::<P>() == TypeId::of::<Nothing>() { "" } else { raw.path.as_str() };
        let path = read_query(path)
            .map_err(|error| Refusal::not_found(format!("there is nothing at this address: {error}")))?;
        let query = if TypeId::of::<Q>() == TypeId::of::<Nothing>() { "" } else { raw.query.as_str() };
        let query = read_query(query)?;
        let body = if TypeId::of::<B>() == TypeId::of::<Nothing>() { b"{}" } else { &raw.body[..] };
        let body = serde_json::from_slice(body)
            .map_err(|error| Refusal::invalid(format!("the document in the request cannot be read: {error}")))?;
        let answer = run(Asked { path, query, body, visit: raw.visit, site: raw.site })?;
        if silent { Ok(None) } else { Ok(Some(serde_json::to_string(&answer).map_err(Refusal::failed)?)) }
    }));
    Operation {
        method,
        path,
        id,
        summary,
        right: right.into(),
        success,
        path_schema: inline::<P>(),
        query_schema: inline::<Q>(),
        body_schema: schema::<B>(),
        answer_schema: schema::<R>(),
        does,
    }
}

impl Operation {
    /// It makes something new: 201.
    #[must_use]
    pub(super) fn creates(mut self) -> Self {
        self.success = StatusCode::CREATED;
        self
    }

    /// An operation with a handler of its own.
    pub(super) fn stream(
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        right: impl Into<Option<Right>>,
        answers: &'static str,
        handler: MethodRouter<Site>,
    ) -> Self {
        Self {
            method,
            path,
            id,
            summary,
            right: right.into(),
            success: StatusCode::OK,
            path_schema: None,
            query_schema: None,
            body_schema: None,
            answer_schema: None,
            does: Does::Stream { handler, answers, takes: None },
        }
    }

    /// The status of success, if it is another.
    #[must_use]
    pub(super) fn succeeds_with(mut self, status: StatusCode) -> Self {
        self.success = status;
        self
    }

    /// What a streamed operation takes.
    #[must_use]
    pub(super) fn takes(mut self, media: &'static str) -> Self {
        if let Does::Stream { takes, .. } = &mut self.does {
            *takes = Some(media);
        }
        self
    }

    /// The parameters of a streamed operation's path.
    #[must_use]
    pub(super) fn path_of<P: JsonSchema + 'static>(mut self) -> Self {
        self.path_schema = inline::<P>();
        self
    }
}

fn read_query<Q: DeserializeOwned>(query: &str) -> Result<Q, Refusal> {
    let uri: http::Uri = format!("/?{query}")
        .parse()
        .map_err(|error| Refusal::invalid(format!("the part after the question mark cannot be read: {error}")))?;
    axum::extract::Query::<Q>::try_from_uri(&uri)
        .map(|query| query.0)
        .map_err(|error| Refusal::invalid(error.body_text()))
}
