//! What the bus says of itself: its tools with their schemas, its resources.

mod events;
mod schema;
mod sessions;
mod work;

use nexus_hub::Raw;
use serde_json::{Value, json};

use super::{raw, resources::PREFIX};

/// The lists, written once.
pub(super) struct Described {
    pub(super) tools: Raw,
    pub(super) resources: Raw,
    pub(super) templates: Raw,
}

/// What a tool does to the world.
#[derive(Clone, Copy)]
enum Effect {
    /// Nothing.
    Reads,
    /// Something, each time.
    Acts,
    /// Something, once however often it is called.
    ActsOnce,
}

impl Described {
    pub(super) fn new() -> Self {
        let tools = [
            events::publish(),
            events::read(),
            events::topics(),
            work::claim(),
            work::renew(),
            work::release(),
            work::complete(),
            work::work(),
            sessions::sessions(),
        ];
        let everything = json!({
            "uri": format!("{PREFIX}>"),
            "name": "events",
            "title": "All events",
            "description": "The latest events of the log that the caller may read.",
            "mimeType": "application/json",
        });
        let template = json!({
            "uriTemplate": format!("{PREFIX}{{pattern}}"),
            "name": "events-by-pattern",
            "title": "Events that match a pattern",
            "description": "The latest events whose topic matches: `payment.received`, `payment.*`, \
                            `*.failed`, or `>` for all. Subscribe to hear when there are more.",
            "mimeType": "application/json",
        });
        Self {
            tools: raw(&json!({ "tools": tools })),
            resources: raw(&json!({ "resources": [everything] })),
            templates: raw(&json!({ "resourceTemplates": [template] })),
        }
    }
}

fn tool(
    name: &str,
    (title, description): (&str, &str),
    effect: Effect,
    (input, output): (Value, Value),
) -> Value {
    json!({
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": input,
        "outputSchema": output,
        "annotations": {
            "title": title,
            "readOnlyHint": matches!(effect, Effect::Reads),
            "destructiveHint": false,
            "idempotentHint": !matches!(effect, Effect::Acts),
            "openWorldHint": false,
        },
    })
}
