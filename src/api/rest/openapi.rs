//! The description of the admin API, OpenAPI 3.1, made from the table of its calls and the types that they take.

use hyper::Method;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Operation, ROOT, ROUTES, audit, keys, transfer, usage, users, view};

/// The whole document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, template, operation) in &ROUTES {
        let path = paths.entry(format!("{ROOT}{template}")).or_insert_with(|| json!({}));
        path[method.as_str().to_ascii_lowercase()] = call(template, *operation, method);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "openbin-gateway admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every key of every instance in one place. Not reachable through the proxy's listeners.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["error", "message"],
                    "properties": { "error": { "type": "string" }, "message": { "type": "string" } },
                },
            },
        },
    })
}

fn call(template: &str, operation: Operation, method: &Method) -> Value {
    let About { summary, status, content, query, answer } = about(operation);
    let in_path = template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(query.iter().map(
        |name| json!({ "name": name, "in": "query", "required": false, "schema": { "type": "string" } }),
    ));
    if *method != Method::GET {
        parameters.push(json!({
            "name": "X-Operator", "in": "header", "required": false,
            "description": "Who acts, for the audit chain", "schema": { "type": "string", "maxLength": 64 },
        }));
    }
    let problem = json!({
        "description": "Not done; the message says why",
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let mut call = json!({
        "operationId": format!("{operation:?}"),
        "summary": summary,
        "parameters": parameters,
        "responses": {
            status: { "description": "Done", "content": { "application/json": { "schema": answer } } },
            "default": problem,
        },
    });
    if let Some(schema) = content {
        call["requestBody"] =
            json!({ "required": false, "content": { "application/json": { "schema": schema } } });
    }
    call
}

/// What the document says of one operation.
struct About {
    summary: &'static str,
    status: &'static str,
    content: Option<Value>,
    query: &'static [&'static str],
    answer: Value,
}

fn about(operation: Operation) -> About {
    let object = json!({ "type": "object" });
    let why = || Some(schema::<keys::Why>());
    let told = |summary, answer| About { summary, status: "200", content: None, query: &[], answer };
    match operation {
        Operation::ListKeys => About { query: &keys::PARAMETERS, ..told("Keys, the newest first", listed()) },
        Operation::CreateKey => About {
            status: "201",
            content: Some(schema::<keys::Creation>()),
            ..told("Make a key; it is shown this once", made())
        },
        Operation::FindKeys => {
            About { content: Some(schema::<keys::Search>()), ..told("Keys by key, prefix or id", listed()) }
        }
        Operation::ImportKeys => About {
            content: Some(schema::<transfer::Portion>()),
            ..told("Take over keys from elsewhere", object)
        },
        Operation::ShowKey => told("One key, its use by day, and what is still to be done about it", shown()),
        Operation::ChangeKey => About {
            content: Some(schema::<view::PolicyChange>()),
            ..told("Change what a key may be used for", record())
        },
        Operation::RevokeKey => About { content: why(), ..told("Revoke a key for ever", object) },
        Operation::RotateKey => About {
            status: "201",
            content: Some(schema::<keys::Rotation>()),
            ..told("Replace a key by a new one", made())
        },
        Operation::ShowUsage => {
            About { query: &usage::USAGE_PARAMETERS, ..told("How often keys were used, day by day", used()) }
        }
        Operation::ListBlocked => {
            About { query: &["instance"], ..told("The users who are blocked", blocked()) }
        }
        Operation::ShowUser => told("Whether a user is blocked, and how many keys they have", object),
        Operation::BlockUser => {
            About { content: why(), ..told("Refuse all keys and sessions of a user", object) }
        }
        Operation::UnblockUser => told("Accept a user again", object),
        Operation::RevokeKeysOfUser => About { content: why(), ..told("Revoke all keys of a user", object) },
        Operation::EndSession => {
            About { content: Some(schema::<users::Session>()), ..told("End a session now", object) }
        }
        Operation::ListInstances => told("The instances", object),
        Operation::ListAudit => {
            About { query: &["after", "limit"], ..told("The audit chain, the oldest first", entries()) }
        }
        Operation::VerifyAudit => told("Check the audit chain from end to end", verdict()),
        Operation::Describe => told("This document", object),
    }
}

fn record() -> Value {
    json!({ "type": "object", "properties": { "record": schema::<view::Key>() } })
}

fn made() -> Value {
    json!({ "type": "object", "properties": {
        "key": { "type": "string", "description": "Shown this once" }, "record": schema::<view::Key>(),
    } })
}

fn listed() -> Value {
    json!({ "type": "object", "properties": {
        "keys": { "type": "array", "items": schema::<view::Key>() }, "next": { "type": ["string", "null"] },
        "usage_fresh_within": { "type": "string" },
    } })
}

fn shown() -> Value {
    json!({ "type": "object", "properties": {
        "record": schema::<view::Key>(),
        "days": { "type": "array", "items": schema::<view::DayView>() },
        "errands": { "type": "array", "items": schema::<view::ErrandView>() },
        "usage_fresh_within": { "type": "string" },
    } })
}

fn used() -> Value {
    json!({ "type": "object", "properties": {
        "usage": { "type": "array", "items": schema::<usage::UsageView>() },
        "next": { "type": ["string", "null"] },
        "usage_fresh_within": { "type": "string" },
    } })
}

fn blocked() -> Value {
    let items = schema::<users::BlockedView>();
    json!({ "type": "object", "properties": { "blocked": { "type": "array", "items": items } } })
}

fn entries() -> Value {
    let place = schema::<audit::Place>();
    json!({ "type": "object", "properties": {
        "entries": { "type": "array", "items": schema::<audit::EntryView>() },
        "base": { "description": "The last entry that was removed for its age", "allOf": [place] },
        "head": { "description": "The last entry", "allOf": [place] },
    } })
}

fn verdict() -> Value {
    let place = schema::<audit::Place>();
    json!({ "type": "object", "properties": {
        "whole": { "type": "boolean" },
        "problem": { "type": ["string", "null"] },
        "entries": { "type": "integer", "description": "So many were found whole, from the base on" },
        "base": place, "head": place,
    } })
}

fn schema<T: JsonSchema>() -> Value {
    // Inline, since a reference would be looked for in the document as a whole.
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_described_once() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let described: usize = paths.values().map(|path| path.as_object().map_or(0, Map::len)).sum();
        assert_eq!(described, ROUTES.len());
        let create = &document["paths"][format!("{ROOT}/keys")]["post"];
        assert_eq!(create["operationId"], "CreateKey");
        let content = &create["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(content["required"], json!(["user_id"]));
    }
}
