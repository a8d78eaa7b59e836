//! The document of the API: it is valid, complete, and what docs/api.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use crate::documents::agree;
use crate::util::process::Site;

/// The document, as a server tells it to anybody.
fn document() -> Value {
    let site = Site::new();
    let served = site.serve();
    let answer = served.secure().get("/api/v1/openapi.json");
    assert_eq!(answer.status, 200);
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// Path, method and operation, in the order of the document.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let found = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").iter();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    });
    found.collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Every `$ref` below a value.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(all) => {
            found.extend(all.get("$ref").and_then(Value::as_str));
            all.values().for_each(|value| references(value, found));
        }
        Value::Array(all) => all.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_a_valid_description_in_openapi_3_1() {
    let document = document();
    assert_eq!(text(&document, "openapi"), "3.1.0");
    for key in ["title", "version", "description"] {
        assert!(!text(&document["info"], key).is_empty(), "info.{key}");
    }

    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "only {} references were seen", found.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads out of the document"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }

    let tags: BTreeMap<&str, &str> = document["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .map(|tag| (text(tag, "name"), text(tag, "description")))
        .collect();
    for (tag, description) in &tags {
        assert!(!description.is_empty(), "the tag {tag} is not described: see meaning() in openapi.rs");
    }

    let (mut ids, mut used) = (BTreeSet::new(), BTreeSet::new());
    let schemes = document["components"]["securitySchemes"].as_object().expect("schemes");
    for scheme in document["security"].as_array().expect("security") {
        assert!(scheme.as_object().expect("a scheme").keys().all(|name| schemes.contains_key(name)), "{scheme}");
    }
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        assert!(path.starts_with("/api/v1/"), "{place}");
        assert!(["get", "head", "post", "put", "patch", "delete"].contains(&method), "{place}");
        let id = text(operation, "operationId");
        assert!(!id.is_empty() && id.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{place}: {id:?}");
        assert!(ids.insert(id.to_owned()), "{place}: another operation is called {id}, too");
        assert!(!text(operation, "summary").is_empty() && !text(operation, "description").is_empty(), "{place}");
        let tag = operation["tags"][0].as_str().expect("a tag");
        assert!(tags.contains_key(tag), "{place}: {tag} is no tag");
        used.insert(tag);

        let named: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let parameters = operation["parameters"].as_array().expect("parameters");
        let mut declared = BTreeSet::new();
        let mut all = BTreeSet::new();
        for parameter in parameters {
            let (name, place_of) = (text(parameter, "name"), text(parameter, "in"));
            assert!(["path", "query", "header"].contains(&place_of), "{place}: {parameter}");
            assert!(all.insert((name, place_of)), "{place}: {name} is declared twice");
            assert!(
                parameter["schema"].is_object() || parameter["schema"].is_boolean(),
                "{place}: {name} has no schema"
            );
            assert!(!text(parameter, "description").is_empty(), "{place}: {name} is not described");
            if place_of == "path" {
                assert_eq!(parameter["required"], Value::Bool(true), "{place}: {name}");
                declared.insert(name);
            }
        }
        assert_eq!(declared, named, "{place}: parameters of the path");

        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{place}: it never succeeds");
        for (status, response) in responses {
            assert!(status.len() == 3 && status.parse::<u16>().is_ok(), "{place}: {status}");
            assert!(!text(response, "description").is_empty(), "{place}: {status} is not described");
        }
        if let Some(body) = operation.get("requestBody") {
            assert!(body["content"].as_object().is_some_and(|content| !content.is_empty()), "{place}: an empty body");
            assert!(method != "get" && method != "delete", "{place}: a body");
        }
    }
    assert_eq!(used, tags.keys().copied().collect(), "a tag without operations");
}

#[test]
fn the_reference_of_the_api_is_what_the_document_says() {
    let document = document();
    let mut text_of = include_str!("../../docs/api-head.md").to_owned();
    let mut tags: BTreeMap<&str, Vec<(&str, &str, &Value)>> = BTreeMap::new();
    for (path, method, operation) in operations(&document) {
        tags.entry(operation["tags"][0].as_str().expect("a tag")).or_default().push((path, method, operation));
    }
    let meaning: BTreeMap<&str, &str> = document["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .map(|tag| (text(tag, "name"), text(tag, "description")))
        .collect();
    text_of.push_str("\n# Operations\n\n`/api/v1/openapi.json` describes what each takes and gives.\n");
    for (tag, operations) in tags {
        let _ = write!(text_of, "\n## {tag}\n\n{}\n\n| operation | | right |\n|---|---|---|\n", meaning[tag]);
        for (path, method, operation) in &operations {
            let right = operation["x-right"].as_str().map_or("–".to_owned(), |right| format!("`{right}`"));
            let summary = text(operation, "summary");
            let _ = writeln!(text_of, "| `{} {path}` | {summary} | {right} |", method.to_uppercase());
        }
        let first = operations.iter().find(|(_, method, _)| *method == "get").or_else(|| operations.first());
        let (path, method, operation) = first.expect("an operation");
        let _ = write!(text_of, "\n```sh\n{}\n```\n", curl(&document, path, method, operation));
    }
    agree("docs/api.md", &text_of);
}

/// How a shell asks.
fn curl(document: &Value, path: &str, method: &str, operation: &Value) -> String {
    let mut line = "curl --cacert ca.pem -H \"Authorization: Bearer $DRIPFEED_TOKEN\"".to_owned();
    if method != "get" {
        let _ = write!(line, " -X {}", method.to_uppercase());
    }
    if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
        let _ = write!(line, " \\\n  -H 'Content-Type: application/json' -d '{}'", example(document, schema));
    }
    let filled: String = path
        .split(['{', '}'])
        .enumerate()
        .fold(String::new(), |all, (at, part)| all + &if at % 2 == 1 { part.to_uppercase() } else { part.to_owned() });
    let _ = write!(line, " \\\n  https://dripfeed.example:8443{filled}");
    line
}

/// A document with what must be in it.
fn example(document: &Value, schema: &Value) -> Value {
    if let Some(pointer) = text(schema, "$ref").strip_prefix('#') {
        return example(document, document.pointer(pointer).expect("it leads somewhere"));
    }
    if let Some(example) = schema.pointer("/examples/0").or_else(|| schema.get("example")) {
        return example.clone();
    }
    match text(schema, "type") {
        "object" => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|name| (name.to_owned(), example(document, &schema["properties"][name]))).collect()
        }
        "array" => Value::Array(vec![example(document, &schema["items"])]),
        "integer" | "number" => 1.into(),
        "boolean" => true.into(),
        _ => "…".into(),
    }
}
