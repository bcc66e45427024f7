//! The `OpenAPI` 3.1 document of the API, made from the table that routes it.

use super::endpoint::ALWAYS;
use super::endpoint::Act;
use super::endpoint::ENDPOINTS;
use super::endpoint::Operation;
use super::endpoint::VALUES;
use super::schema;
use http::StatusCode;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// What callers prove who they are with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proof<'a> {
    /// The token of programs.
    Token,
    /// The session cookie of this name.
    Session(&'a str),
}

/// The document; `base` is where the API lives on its origin: `/api` on the admin listener.
pub(super) fn document(base: &str, proof: Proof<'_>) -> Value {
    let (proof, described) = match proof {
        Proof::Token => ("token", json!({ "type": "http", "scheme": "bearer" })),
        Proof::Session(cookie) => ("session", json!({ "type": "apiKey", "in": "cookie", "name": cookie })),
    };
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
        "security": [{ proof: [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { proof: described },
            "headers": headers(),
            "schemas": schema::all(),
        },
    })
}

/// What answers carry besides their body.
fn headers() -> Value {
    let seconds = json!({ "type": "string", "pattern": "^[1-9][0-9]*$" });
    json!({
        "RequestId": { "required": true, "description": "The same as in the log.",
            "schema": { "type": "string", "pattern": "^[0-9a-f]{32}$" } },
        "NotKept": { "required": true, "schema": { "type": "string", "enum": ["no-store"] } },
        "RetryAfter": { "required": true, "description": "Seconds.", "schema": seconds },
        "Place": { "required": true, "description": "Where it is from now on.", "schema": { "type": "string" } },
        "NextPage": { "description": "Of `format=jsonl`: the next page as `rel=\"next\"` (RFC 8288).",
            "schema": { "type": "string" } },
    })
}

/// The headers of an answer with this status.
fn headers_of(operation: &Operation, status: StatusCode) -> Value {
    let header = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    let mut headers = json!({ "X-Request-Id": header("RequestId"), "Cache-Control": header("NotKept") });
    match status {
        StatusCode::CREATED => headers["Location"] = header("Place"),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            headers["Retry-After"] = header("RetryAfter");
        }
        StatusCode::OK if operation.act == Act::ListEvents => headers["Link"] = header("NextPage"),
        _ => {}
    }
    headers
}

/// What can be done with what a successful answer names: operations by id, and where their values come from.
fn links_of(operation: &Operation) -> Value {
    let (from, value, targets): (&str, &str, &[Act]) = match operation.act {
        Act::AddUser => ("$response.body#/id", "id", OF_A_USER),
        Act::ListUsers => ("$response.body#/items/0/id", "id", OF_A_USER),
        Act::ListSessions | Act::ListSessionsOfUser => ("$response.body#/items/0/public_id", "id", OF_A_SESSION),
        Act::ListBans => ("$response.body#/items/0/id", "who", &[Act::LiftBan]),
        _ => return Value::Null,
    };
    let link = |target: &Act| {
        let id = id_of(*target);
        (id.clone(), json!({ "operationId": id, "parameters": { value: from } }))
    };
    Value::Object(targets.iter().map(link).collect())
}

const OF_A_USER: &[Act] = &[Act::ShowUser, Act::ChangeUser, Act::ListSessionsOfUser, Act::DeleteUser];
const OF_A_SESSION: &[Act] = &[Act::ShowSession, Act::ChangeSession, Act::EndSession];

fn describe(operation: &Operation) -> Value {
    let mut described = Map::new();
    described.insert("operationId".into(), id_of(operation.act).into());
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
    let mut success = json!({
        "description": operation.success.canonical_reason().unwrap_or_default(),
        "headers": headers_of(operation, operation.success),
    });
    let links = links_of(operation);
    if !links.is_null() {
        success["links"] = links;
    }
    if let Some(answer) = operation.answer {
        let mut content = json!({ "application/json": { "schema": reference(answer) } });
        if operation.query.iter().any(|parameter| parameter.name == "format") {
            content["application/x-ndjson"] = json!({ "schema": { "type": "string" } });
        }
        success["content"] = content;
    }
    responses.insert(operation.success.as_str().into(), success);
    for status in ALWAYS.iter().chain(operation.refusals) {
        responses.insert(status.as_str().into(), refusal(operation, *status));
    }
    described.insert("responses".into(), Value::Object(responses));
    Value::Object(described)
}

fn refusal(operation: &Operation, status: StatusCode) -> Value {
    json!({
        "description": status.canonical_reason().unwrap_or_default(),
        "headers": headers_of(operation, status),
        "content": { "application/problem+json": { "schema": reference("Problem") } },
    })
}

/// `ListUsers` as `listUsers`.
fn id_of(act: Act) -> String {
    let name = format!("{act:?}");
    name[..1].to_ascii_lowercase() + &name[1..]
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

#[cfg(test)]
mod tests {
    use super::Proof;
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
        let document = document("/api", Proof::Token);
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for kind in ["schemas", "headers"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                let reference = format!("#/components/{kind}/{name}");
                assert!(found.contains(&reference), "{name} is not used");
            }
        }
    }
}
