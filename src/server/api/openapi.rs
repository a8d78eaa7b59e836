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
    let mut tags: Vec<&str> = Vec::new();
    for operation in operations {
        let area = tag(operation);
        if !tags.contains(&area) {
            tags.push(area);
        }
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
            "description": INFO,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "tags": tags.iter().map(|tag| json!({ "name": tag, "description": meaning(tag) })).collect::<Vec<_>>(),
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

/// What holds for all operations.
const INFO: &str = "Everything that the console does.\n\n\
    **Who asks**: `Authorization: Bearer drip_…`, a token that its owner makes in the console. It holds the rights that it \
    was given, as far as its owner has them, for the computers and packages of the owner's scope.\n\n\
    **Lists** come in pages: give `next` of one as `after` of the next.\n\n\
    **Creations** (201) may carry an `Idempotency-Key`: the same request under the same key is carried out once.\n\n\
    **Changes** may carry `If-Match` with the `ETag` of what was read: 412 if somebody else changed it since.\n\n\
    **Refusals** are `application/problem+json` (RFC 9457); `detail` is a sentence for people, `field` the field that is \
    wrong.";

/// The area of an operation: the first word of its path.
fn tag(operation: &Operation) -> &'static str {
    operation.path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

/// What an area is about; empty for one that nobody described, which a test finds.
fn meaning(tag: &str) -> &'static str {
    match tag {
        "activations" => "Where agents fetch packages.",
        "approvals" => "What waits until others have approved it.",
        "audit" => "What was changed by whom.",
        "builds" | "package-builds" => "Building packages in the background.",
        "computers" => "Computers, their inventories, and what became of packages there.",
        "deployments" => "Packages for computers, and how far they are.",
        "duplicates" => "Computers that look like one.",
        "expected-computers" => "Names whose first agent with a key may register it.",
        "changes" => "Changes of many computers, which can be taken back.",
        "field-order" => "The order of the administrators' own fields.",
        "fields" => "The administrators' own fields of computers.",
        "groups" => "Groups, by hand or by a query.",
        "jobs" => "One package on one computer.",
        "me" | "account" => "Whoever asks: password, codes, tokens, sessions.",
        "mirror-key" => "The key that mirrors check manifests with.",
        "mirrors" => "Servers that keep a copy of the download tree.",
        "networks" => "Networks, and who was seen in them.",
        "notes" => "Notes of administrators.",
        "package-templates" | "templates" => {
            "Kinds of packages, for which the command is known: the program's, and your own."
        }
        "overview" => "What wants attention, at a glance.",
        "packages" => "Packages, from build to withdrawal.",
        "registration-key" => "What new agents show to register a key of their own.",
        "registry-questions" => "What Windows computers are asked of their registry, and what they found.",
        "rights" => "What there is to have a right to.",
        "roles" => "Sets of rights that users are given.",
        "search" => "Everything by a name or a number.",
        "series" => "Deployments that come again, and their runs.",
        "server" => "The server itself.",
        "sessions" => "Who is signed in.",
        "settings" => "What agents are told: pace, time-outs, how often they check in.",
        "sites" => "Which addresses are near which mirrors.",
        "software" => "Software, and who has it.",
        "status" => "How far everything is.",
        "tokens" => "What programs sign in with.",
        "uploads" => "Files on their way to the server, piece by piece.",
        "users" => "Administrators.",
        "verbs" => "The command line's own door; programs use the other areas.",
        "views" => "Saved views of lists.",
        "webhooks" => "Who is told of what happens.",
        "works" => "What goes on in the background.",
        _ => "",
    }
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
        "tags": [tag(operation)],
        "parameters": parameters,
        "responses": responses(operation, generator, problem),
    });
    described["description"] = match operation.right {
        Some(right) => format!("Needs the right `{right}`, to {}.", right.does()).into(),
        None => "For everybody who is signed in.".into(),
    };
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
