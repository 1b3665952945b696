//! The gateway file as a JSON Schema (draft 2020-12), made from the table of keys.
//!
//! It says what has the right shape. What it can't say, such as that a name must exist, `check` does.

use super::format::Format;
use super::keys::{KeySpec, Kind, ROOT, TableSpec};
use serde_json::{Map, Value, json};

/// The schema. Editors that know TOML match it against the gateway file and its included files.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = table(&ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("bulkhead gateway file");
    schema
}

fn table(spec: &TableSpec) -> Value {
    let mut properties = Map::new();
    for key in spec.keys {
        properties.insert(key.name.to_owned(), property(key));
    }
    let required: Vec<&str> = spec.keys.iter().filter(|key| key.is_required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": spec.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(key: &KeySpec) -> Value {
    let mut schema = value(&key.kind);
    schema["description"] = json!(key.doc);
    if let Kind::Choice(choices) = key.kind
        && !key.is_required
    {
        schema["default"] = json!(choices[0]);
    }
    schema
}

fn value(kind: &Kind) -> Value {
    match kind {
        Kind::Text(format) => text(*format),
        Kind::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Moment => json!({ "type": "string", "format": "date-time" }),
        Kind::Duration => json!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$" },
        ] }),
        Kind::Ports => json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": 65_535 },
            { "type": "string", "pattern": "^[0-9]{1,5}( *- *[0-9]{1,5})?$" },
        ] }),
        Kind::Choice(choices) => json!({ "enum": choices }),
        Kind::List(item) => {
            let item = value(item);
            json!({ "anyOf": [{ "type": "array", "items": item }, item] })
        }
        Kind::Either(format, spec) => json!({ "anyOf": [text(*format), table(spec)] }),
        Kind::Table(spec) => table(spec),
        Kind::Tables(spec) => json!({ "type": "array", "items": table(spec) }),
        Kind::Named(kind) => json!({ "type": "object", "additionalProperties": value(kind) }),
    }
}

fn text(format: Format) -> Value {
    match format.pattern() {
        Some(pattern) => json!({ "type": "string", "pattern": pattern }),
        None => json!({ "type": "string" }),
    }
}
