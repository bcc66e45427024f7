//! The `OpenAPI` 3.1 document of the API, made from the table that routes it.

use super::endpoint::ALWAYS;
use super::endpoint::ENDPOINTS;
use super::endpoint::Operation;
use super::endpoint::VALUES;
use super::schema;
use http::StatusCode;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// The document; `base` is where the API lives on its origin: `/api` on the admin listener.
#[must_use]
pub fn document(base: &str) -> Value {
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let mut item = Map::new();
        for (value, schema) in VALUES.into_iter().filter(|(value, _)| endpoint.path.contains(value)) {
            let schema = reference(schema);
            let name = value.trim_matches(['{', '}']);
            item.insert(
                "parameters".into(),
                json!([{ "name": name, "in": "path", "required": true, "schema": schema }]),
            );
        }
        for operation in endpoint.operations {
            item.insert(
                operation.method.method().as_str().to_ascii_lowercase(),
                describe(operation),
            );
        }
        paths.insert(endpoint.path.to_owned(), Value::Object(item));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Users, sessions, statistics and the audit log of an authentication gateway. Under the portal's \
                            prefix, members of the administrators' group use it with their session; what changes something \
                            needs a log-in of the last 15 minutes there.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": base }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schema::all(),
        },
    })
}

fn describe(operation: &Operation) -> Value {
    let mut described = Map::new();
    described.insert("operationId".into(), id_of(operation).into());
    described.insert("summary".into(), operation.summary.into());
    let parameters: Vec<Value> = operation
        .query
        .iter()
        .map(|parameter| {
            json!({ "name": parameter.name, "in": "query", "description": parameter.says,
                "schema": reference(parameter.schema) })
        })
        .collect();
    if !parameters.is_empty() {
        described.insert("parameters".into(), parameters.into());
    }
    if let Some(body) = operation.body {
        let content = json!({ "application/json": { "schema": reference(body) } });
        described.insert("requestBody".into(), json!({ "required": true, "content": content }));
    }
    let mut responses = Map::new();
    let mut success = json!({ "description": operation.success.canonical_reason().unwrap_or_default() });
    if let Some(answer) = operation.answer {
        let mut content = json!({ "application/json": { "schema": reference(answer) } });
        if operation.query.iter().any(|parameter| parameter.name == "format") {
            content["application/x-ndjson"] = json!({ "schema": { "type": "string" } });
        }
        success["content"] = content;
    }
    responses.insert(operation.success.as_str().into(), success);
    for status in ALWAYS.iter().chain(operation.refusals) {
        responses.insert(status.as_str().into(), refusal(*status));
    }
    described.insert("responses".into(), Value::Object(responses));
    Value::Object(described)
}

fn refusal(status: StatusCode) -> Value {
    json!({
        "description": status.canonical_reason().unwrap_or_default(),
        "content": { "application/problem+json": { "schema": reference("Problem") } },
    })
}

/// `ListUsers` as `listUsers`.
fn id_of(operation: &Operation) -> String {
    let name = format!("{:?}", operation.act);
    name[..1].to_ascii_lowercase() + &name[1..]
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

#[cfg(test)]
mod tests {
    use super::document;
    use serde_json::Value;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    found.push(reference.clone());
                }
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn what_the_document_refers_to_is_in_it_and_the_other_way_round() {
        let document = document("/api");
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            let reference = format!("#/components/schemas/{name}");
            assert!(found.contains(&reference), "{name} is not used");
        }
    }
}
