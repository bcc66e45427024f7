//! The shapes of what the API takes and gives, as JSON schema 2020-12.

use super::ask::LIMIT;
use super::ask::MOST;
use super::ask::MOST_SEARCH;
use crate::account::SHORTEST_PASSWORD;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// All of them by name.
pub(super) fn all() -> Value {
    let mut all = Map::new();
    for part in [texts(), users(), sessions(), log(), statistics()] {
        if let Value::Object(members) = part {
            all.extend(members);
        }
    }
    Value::Object(all)
}

/// An object with exactly these members, all of them required.
fn object(members: &Value) -> Value {
    let required: Vec<String> = members
        .as_object()
        .map(|members| members.keys().cloned().collect())
        .unwrap_or_default();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": members })
}

/// An object with these members, of which only some are required.
fn input(required: &[&str], members: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": members })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn or_null(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn list_of(schema: &str) -> Value {
    object(
        &json!({ "items": { "type": "array", "items": reference(schema) }, "next": or_null(&reference("PageToken")) }),
    )
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn texts() -> Value {
    json!({
        "Uuid": { "type": "string", "format": "uuid", "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$" },
        "Time": { "type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"] },
        "PageToken": { "type": "string", "pattern": "^[A-Za-z0-9_-]{22,192}$" },
        "Limit": { "type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT },
        "Search": { "type": "string", "maxLength": MOST_SEARCH, "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]*$" },
        "True": { "type": "string", "enum": ["true"] },
        "Format": { "type": "string", "enum": ["json", "jsonl"] },
        "EventKind": { "type": "string", "pattern": "^[a-z_]{1,40}$" },
        "Username": { "type": "string", "pattern": "^[a-z0-9._@+-]{1,64}$" },
        "Owner": { "type": "string", "maxLength": 254,
            "pattern": "^([a-z0-9._@+-]{1,64}|[a-z][a-z0-9-]{0,31}:[A-Za-z0-9._@+%-]+)$" },
        "Source": { "type": "string", "pattern": "^[a-z][a-z0-9-]{0,31}$" },
        "Group": { "type": "string", "pattern": "^[A-Za-z0-9._:@+-]{1,64}$" },
        "SourceName": { "type": "string", "pattern": "^[a-z][a-z0-9-]{0,31}$" },
        "AppUser": { "anyOf": [
            { "type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]*$" },
            { "type": "integer", "minimum": i64::MIN, "maximum": u64::MAX },
            { "type": "object" },
        ] },
        "BanWho": { "type": "string", "minLength": 1, "maxLength": 254 },
        "UserState": { "type": "string", "enum": ["active", "disabled"] },
        "OpenApi": { "type": "object", "required": ["openapi", "info", "paths"] },
        "Problem": input(&["type", "title", "status", "request_id", "error"], &json!({
            "type": { "type": "string", "pattern": "^urn:portcullis:[a-z-]+$" },
            "title": text(),
            "status": { "type": "integer" },
            "request_id": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
            "error": text(),
            "login_url": text(),
            "problems": { "type": "array", "items": reference("ConfigProblem") },
        })),
        "ConfigProblem": input(&["severity", "key", "message"], &json!({
            "severity": { "type": "string", "enum": ["error", "warning"] },
            "key": text(),
            "message": text(),
            "hint": or_null(&text()),
            "file": or_null(&text()),
            "line": or_null(&count()),
            "column": or_null(&count()),
            "from": or_null(&text()),
        })),
        "Reload": object(&json!({
            "state": { "type": "string", "enum": ["applied"] },
            "pending": { "type": "array", "items": text() },
            "warnings": { "type": "array", "items": reference("ConfigProblem") },
        })),
    })
}

fn users() -> Value {
    let email = json!({ "type": "string", "pattern": "^[^@\\s]+@[^@\\s]+$", "maxLength": 254 });
    let name = json!({ "type": "string", "minLength": 1, "maxLength": 128 });
    let password = json!({ "type": "string", "minLength": SHORTEST_PASSWORD, "maxLength": 1024, "writeOnly": true });
    let groups = json!({ "type": "array", "items": reference("Group"), "maxItems": 64 });
    json!({
        "User": object(&json!({
            "id": reference("Uuid"),
            "username": reference("Username"),
            "email": or_null(&text()),
            "email_verified": { "type": "boolean" },
            "name": or_null(&text()),
            "groups": groups.clone(),
            "state": reference("UserState"),
            "created_at": reference("Time"),
            "app_users": { "type": "object", "propertyNames": reference("SourceName"),
                "additionalProperties": reference("AppUser") },
        })),
        "UserList": list_of("User"),
        "NewUser": input(&["username"], &json!({
            "username": reference("Username"),
            "email": or_null(&email.clone()),
            "name": or_null(&name.clone()),
            "groups": groups.clone(),
            "password": or_null(&password.clone()),
        })),
        "UserChange": input(&[], &json!({
            "email": or_null(&email),
            "name": or_null(&name),
            "groups": groups,
            "state": reference("UserState"),
            "password": password,
            "app_users": { "type": "object", "propertyNames": reference("SourceName"), "maxProperties": 32,
                "additionalProperties": or_null(&reference("AppUser")) },
        })),
    })
}

fn sessions() -> Value {
    json!({
        "Session": object(&json!({
            "public_id": reference("Uuid"),
            "user": text(),
            "user_id": or_null(&reference("Uuid")),
            "source": or_null(&reference("Source")),
            "state": { "type": "string", "enum": ["active", "expired"] },
            "created_at": or_null(&reference("Time")),
            "authenticated_at": or_null(&reference("Time")),
            "last_seen_at": or_null(&reference("Time")),
            "expires_at": reference("Time"),
            "ends_at": reference("Time"),
            "remembered": { "type": "boolean" },
            "methods": { "type": "array", "items": text() },
            "device": or_null(&text()),
            "user_agent": or_null(&text()),
            "first_address": or_null(&text()),
            "last_address": or_null(&text()),
            "data": or_null(&json!({ "type": "object" })),
        })),
        "SessionList": list_of("Session"),
        "SessionChange": input(&["data"], &json!({
            "data": or_null(&json!({ "type": "object",
                "description": "A JSON object of at most 4 KiB, or null to take it away." })),
        })),
        "Ended": input(&["ended"], &json!({
            "ended": count(),
            "sources": { "type": "array", "items": object(&json!({
                "source": text(),
                "state": { "type": "string", "enum": ["ended", "not_allowed"] },
                "ended": count(),
            })) },
        })),
    })
}

fn log() -> Value {
    json!({
        "Event": object(&json!({
            "at": reference("Time"),
            "kind": reference("EventKind"),
            "actor": text(),
            "user": or_null(&reference("Uuid")),
            "username": or_null(&text()),
            "session": or_null(&reference("Uuid")),
            "address": or_null(&text()),
            "reason": or_null(&text()),
            "device": or_null(&text()),
            "successor": or_null(&reference("Uuid")),
            "source": or_null(&text()),
        })),
        "EventList": list_of("Event"),
        "Ban": object(&json!({
            "id": text(),
            "kind": text(),
            "who": text(),
            "user": or_null(&reference("Username")),
            "since": or_null(&reference("Time")),
            "until": reference("Time"),
        })),
        "BanList": list_of("Ban"),
        "Sweep": object(&json!({
            "state": { "type": "string", "enum": ["done", "running", "elsewhere"] },
            "removed": count(),
        })),
    })
}

fn statistics() -> Value {
    let many = |members: Value| json!({ "type": "array", "items": object(&members) });
    let seconds = json!({ "type": "number", "minimum": 0 });
    json!({
        "Statistics": object(&json!({
            "at": reference("Time"),
            "sessions": object(&json!({
                "total": count(), "active": count(), "expired": count(), "created_today": count(), "users": count(),
                "bytes": count(), "bytes_each": or_null(&count()),
            })),
            "users": or_null(&many(json!({ "user": reference("Username"), "sessions": count() }))),
            "log_ins": or_null(&object(&json!({
                "since": reference("Time"),
                "by_day": many(json!({ "day": { "type": "string", "format": "date" }, "succeeded": count(), "failed": count() })),
                "by_hour": { "type": "array", "items": count(), "minItems": 24, "maxItems": 24 },
                "by_network": many(json!({ "network": text(), "log_ins": count() })),
                "by_device": many(json!({ "device": text(), "log_ins": count() })),
                "failures": many(json!({ "reason": text(), "count": count() })),
            }))),
            "sweeps": or_null(&many(json!({ "at": reference("Time"), "took_seconds": seconds.clone(), "removed": count(),
                "by_hand": { "type": "boolean" }, "error": or_null(&text()) }))),
            "instances": or_null(&many(json!({ "id": reference("Uuid"), "host": text(), "address": text(), "version": text(),
                "started_at": reference("Time"), "last_seen_at": reference("Time"), "live": { "type": "boolean" },
                "refuses_cookies_of": { "type": "array", "items": reference("Uuid") } }))),
            "process": object(&json!({
                "lookups": object(&json!({
                    "found": count(), "absent": count(), "unavailable": count(),
                    "median_seconds": or_null(&seconds.clone()), "p99_seconds": or_null(&seconds),
                })),
                "cache": object(&json!({
                    "entries": count(), "hits": count(), "hit_rate": or_null(&json!({ "type": "number", "minimum": 0, "maximum": 1 })),
                })),
            })),
            "store": object(&json!({
                "engine": { "type": "string", "enum": ["postgres", "sqlite"] },
                "schema": or_null(&text()),
                "max_connections": or_null(&count()),
                "call_timeout_seconds": { "type": "number" },
                "prepared_statements": { "type": "boolean" },
            })),
        })),
    })
}
