//! The JSON Schema of the file, for editors.

use super::keys;
use super::keys::Key;
use super::keys::Kind;
use super::keys::Presence;
use super::keys::Table;
use super::keys::Words;
use super::shape::Shape;
use super::tree;
use super::tree::Node;
use super::tree::Value as TreeValue;
use super::when;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// What durations and references look like.
const DURATION: &str = "^([0-9]+(ms|s|m|h|d)|(env|file):.+|.*\\$\\{.+)$";
const SIZE: &str = "^([0-9]+(B|KiB|MiB|GiB|TiB)|(env|file):.+|.*\\$\\{.+)$";
const REFERENCE: &str = "^(env|file):.|\\$\\{.";

/// JSON Schema (2020-12) of the configuration file. Keys that are not available yet are not in it.
#[must_use]
pub fn schema() -> String {
    let mut schema = table(keys::root());
    if let Value::Object(object) = &mut schema {
        object.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        object.insert("title".to_owned(), json!("Portcullis configuration"));
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            properties.insert(when::NAME.to_owned(), chosen());
        }
    }
    format!("{schema:#}\n")
}

/// Tables by variable and value.
fn chosen() -> Value {
    let keys = json!({ "type": "object" });
    let values = json!({ "type": "object", "additionalProperties": keys });
    json!({
        "type": "object",
        "additionalProperties": values,
        "description": "Keys that come over the others where an environment variable has this value.",
    })
}

fn table(table: &Table) -> Value {
    let available = || table.keys.iter().filter(|key| key.presence != Presence::Later);
    let properties: Map<String, Value> = available().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<_> = available()
        .filter(|key| key.presence == Presence::Required)
        .map(|key| key.name)
        .collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !table.says.is_empty() {
        schema["description"] = json!(table.says);
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = kind(&key.kind);
    if !key.says.is_empty() {
        schema["description"] = json!(key.says);
    }
    if let Some(default) = key.default {
        schema["default"] = json_of(&tree::literal(default));
    }
    schema
}

fn kind(kind_of: &Kind) -> Value {
    match kind_of {
        Kind::One(shape) => text(shape),
        Kind::List(shape) => json!({ "type": "array", "items": text(shape) }),
        Kind::Conditions(_) => json!({
            "type": "object",
            "additionalProperties": { "type": ["string", "integer", "boolean"] },
        }),
        Kind::Pairs(_, values) => json!({ "type": "object", "additionalProperties": text(values) }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Number { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Span { .. } => json!({ "type": "string", "pattern": DURATION }),
        Kind::Size { .. } => json!({ "type": "string", "pattern": SIZE }),
        Kind::Words(words) => word(words),
        Kind::Either(words, inner) => json!({ "anyOf": [word(words), kind(inner)] }),
        Kind::Table(below) => table(below),
        Kind::Tables(below) => json!({ "type": "array", "items": table(below) }),
        Kind::Anything { .. } => json!({}),
    }
}

fn text(shape: &Shape) -> Value {
    match shape.pattern {
        Some(pattern) => json!({ "type": "string", "anyOf": [{ "pattern": pattern }, { "pattern": REFERENCE }] }),
        None => json!({ "type": "string" }),
    }
}

fn word(words: &Words) -> Value {
    json!({ "type": "string", "anyOf": [{ "enum": words.now }, { "pattern": REFERENCE }] })
}

fn json_of(node: &Node) -> Value {
    match &node.value {
        TreeValue::Text(text) => json!(text),
        TreeValue::Number(number) => json!(number),
        TreeValue::Flag(flag) => json!(flag),
        TreeValue::List(items) => items.iter().map(json_of).collect(),
        TreeValue::Table(section) => section
            .entries
            .iter()
            .map(|(name, node)| (name.clone(), json_of(node)))
            .collect(),
        TreeValue::Other(_) | TreeValue::Broken => Value::Null,
    }
}
