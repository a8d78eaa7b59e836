//! The document of the API, made of its operations (`OpenAPI` 3.1).

use http::Method;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::operation::{Does, Operation};
use super::problem::Problem;

/// The document as text.
pub(super) fn document(operations: &[Operation]) -> String {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        // What cannot be read has no ETag that could be another one.
        let is_read = |other: &Operation| {
            other.method == Method::GET && other.path == operation.path && matches!(other.does, Does::Call(_))
        };
        let tagged = matches!(operation.does, Does::Call(_)) && operations.iter().any(is_read);
        let entry = paths.entry(format!("/api/v1{}", operation.path)).or_insert_with(|| json!({}));
        if let Some(entry) = entry.as_object_mut() {
            entry.insert(
                operation.method.as_str().to_lowercase(),
                describe(operation, tagged, &mut generator, &problem),
            );
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "dripfeed",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything that the console does. Lists come in pages: give `next` of one as `after` of the next. \
                Creations may carry an Idempotency-Key; changes may carry If-Match with the ETag of what was read.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of the console: drip_…" },
                "session": { "type": "apiKey", "in": "cookie", "name": super::super::visit::SESSION },
            },
        },
    });
    document.to_string()
}

fn describe(operation: &Operation, tagged: bool, generator: &mut SchemaGenerator, problem: &Schema) -> Value {
    let mut parameters = Vec::new();
    if let Some(schema) = operation.path_schema {
        parameters.extend(named(schema(generator), "path"));
    }
    if let Some(schema) = operation.query_schema {
        parameters.extend(named(schema(generator), "query"));
    }
    let changes = !matches!(operation.method, Method::GET | Method::HEAD);
    if tagged && changes && operation.path_schema.is_some() {
        parameters.push(header("If-Match", "The ETag of what was read: 412 if it has changed since."));
    }
    if operation.success == http::StatusCode::CREATED {
        parameters
            .push(header("Idempotency-Key", "A text of the client's: the same request under it is carried out once."));
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.path.trim_start_matches('/').split('/').next().unwrap_or_default()],
        "parameters": parameters,
        "responses": responses(operation, generator, problem),
    });
    if let Some(right) = operation.right {
        described["x-right"] = right.as_str().into();
    }
    let body = match (&operation.does, operation.body_schema) {
        (Does::Stream { takes: Some(media), .. }, None) => Some(json!({ *media: {} })),
        (_, Some(schema)) => Some(json!({ "application/json": { "schema": schema(generator) } })),
        _ => None,
    };
    if let Some(content) = body {
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    described
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator, problem: &Schema) -> Value {
    let mut all = Map::new();
    let content = match (&operation.does, operation.answer_schema) {
        (_, Some(schema)) => Some(json!({ "application/json": { "schema": schema(generator) } })),
        (Does::Stream { answers, .. }, None) if !answers.is_empty() => Some(json!({ *answers: {} })),
        _ => None,
    };
    let mut done = json!({ "description": "done" });
    if let Some(content) = content {
        done["content"] = content;
    }
    all.insert(operation.success.as_u16().to_string(), done);
    if operation.method == Method::GET {
        all.insert("304".to_owned(), json!({ "description": "as the client has it" }));
    }
    let refusals: [(u16, &str); 12] = [
        (400, "the request cannot be read"),
        (401, "nobody is signed in"),
        (403, "the actor may not"),
        (404, "it is not there, or outside the actor's scope"),
        (405, "the address does not have this method"),
        (409, "what is there stands against it"),
        (412, "it was changed since it was read"),
        (413, "the body is too large"),
        (415, "the body is no JSON document"),
        (422, "the input is wrong"),
        (429, "too early: try again"),
        (500, "the server failed"),
    ];
    for (status, meaning) in refusals {
        let refusal = json!({
            "description": meaning,
            "content": { "application/problem+json": { "schema": problem } },
        });
        all.entry(status.to_string()).or_insert(refusal);
    }
    all.into()
}

/// The properties of an object as parameters.
fn named(schema: Schema, place: &str) -> Vec<Value> {
    let schema = schema.to_value();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            let mut parameter = json!({
                "name": name,
                "in": place,
                "required": place == "path" || required.contains(&name.as_str()),
                "schema": schema,
            });
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameter
        })
        .collect()
}

fn header(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "in": "header",
        "required": false,
        "description": description,
        "schema": { "type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$" },
    })
}
