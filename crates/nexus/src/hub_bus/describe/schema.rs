//! The parts that the schemas of tools are made of.

use serde_json::{Map, Value, json};

/// An object with these members; those that are marked have to be there.
pub(super) fn object(members: &[(&str, Value, bool)]) -> Value {
    let properties: Map<String, Value> = members
        .iter()
        .map(|(name, schema, _)| ((*name).to_owned(), schema.clone()))
        .collect();
    let required = members.iter().filter(|(_, _, is_required)| *is_required);
    let required: Vec<&str> = required.map(|(name, ..)| *name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

pub(super) const NEEDED: bool = true;
pub(super) const OPTIONAL: bool = false;

pub(super) fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

/// Said as two schemas: models' providers that know one type at a time can read that.
pub(super) fn or_null(mut schema: Value) -> Value {
    let described = schema
        .as_object_mut()
        .and_then(|schema| schema.remove("description"));
    let mut either = json!({ "anyOf": [schema, { "type": "null" }] });
    if let Some(description) = described {
        either["description"] = description;
    }
    either
}

pub(super) fn list(items: Value, description: &str) -> Value {
    let mut list = json!({ "type": "array", "description": description });
    list["items"] = items;
    list
}

pub(super) fn flag(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

pub(super) fn whole(minimum: u64, maximum: u64, description: &str) -> Value {
    json!({
        "type": "integer",
        "minimum": minimum,
        "maximum": maximum,
        "description": description,
    })
}

pub(super) fn sequence(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 1, "description": description })
}

pub(super) fn time(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}
