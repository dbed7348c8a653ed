//! The tools that publish and read events.

use nexus_core::REQUEST_KEY_BYTES_MAX;
use serde_json::{Value, json};

use super::{
    super::read::{LIMIT_MAX, WAIT_MS_MAX},
    Effect,
    schema::{NEEDED, OPTIONAL, flag, list, object, or_null, sequence, text, time, whole},
    tool,
};

/// An event as Nexus writes it everywhere.
fn event() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": text("Its identifier, a UUID."),
            "position": text("Where in the log it is."),
            "seq": sequence("Its number."),
            "topic": text("Its topic."),
            "name": text("Its name."),
            "source": text("Who it is from."),
            "time": time("When it was kept."),
            "payload": { "type": "object", "description": "What it says." },
        },
        "required": ["id", "position", "seq", "topic", "source", "time", "payload"],
    })
}

pub(super) fn publish() -> Value {
    let key = format!(
        "At most {REQUEST_KEY_BYTES_MAX} bytes: sent again with the same key, the event is kept once."
    );
    let input = object(&[
        (
            "event",
            text("The topic or name of the event, `payment.received`."),
            NEEDED,
        ),
        (
            "payload",
            json!({ "type": "object", "description": "What it says." }),
            NEEDED,
        ),
        (
            "key",
            text("Events of one key are worked on in order."),
            OPTIONAL,
        ),
        ("idempotency_key", text(&key), OPTIONAL),
        (
            "correlation_id",
            json!({ "type": "string", "format": "uuid" }),
            OPTIONAL,
        ),
    ]);
    let output = object(&[
        ("id", or_null(text("The identifier of the event.")), NEEDED),
        (
            "position",
            text("Where in the log it is; nexus_read goes on behind it."),
            NEEDED,
        ),
        ("seq", sequence("Its number."), NEEDED),
        ("topic", text("Its topic."), NEEDED),
        ("time", time("When it was kept."), NEEDED),
        (
            "replayed",
            flag("Whether it had been kept before, under the same key."),
            NEEDED,
        ),
    ]);
    let about = (
        "Publish an event",
        "Publishes one event to the log. Returns after it is synced to disk, with its position.",
    );
    tool("nexus_publish", about, Effect::Acts, (input, output))
}

pub(super) fn read() -> Value {
    let wait =
        format!("With `after`: how long to wait for an event, up to {WAIT_MS_MAX} milliseconds.");
    let limit = u64::try_from(LIMIT_MAX).unwrap_or(u64::MAX);
    let input = object(&[
        (
            "patterns",
            list(
                json!({ "type": "string" }),
                "Topics, names or patterns such as `payment.*`; without them everything.",
            ),
            OPTIONAL,
        ),
        (
            "after",
            text(
                "A position: what follows it is read, the oldest first. Without it, the latest events.",
            ),
            OPTIONAL,
        ),
        (
            "limit",
            whole(1, limit, "How many events at most; 50 if not given."),
            OPTIONAL,
        ),
        ("wait_ms", whole(0, WAIT_MS_MAX, &wait), OPTIONAL),
    ]);
    let output = object(&[
        (
            "events",
            list(event(), "The events, the oldest first."),
            NEEDED,
        ),
        ("position", text("Go on behind this."), NEEDED),
        (
            "has_more",
            flag("Whether there is more behind the position already."),
            NEEDED,
        ),
    ]);
    let about = (
        "Read events",
        "Reads events of the log: the latest, or those behind a position, waiting for the next if there \
         is none yet.",
    );
    tool("nexus_read", about, Effect::Reads, (input, output))
}

pub(super) fn topics() -> Value {
    let input = object(&[("prefix", text("Only topics that begin so."), OPTIONAL)]);
    let topic = object(&[
        ("topic", text("The topic."), NEEDED),
        (
            "name",
            text("Its name in capitals, which can be used as well."),
            NEEDED,
        ),
        (
            "may_publish",
            flag("Whether the caller may publish it."),
            NEEDED,
        ),
    ]);
    let output = object(&[("topics", list(topic, "The topics."), NEEDED)]);
    let about = (
        "List topics",
        "Lists the events that there are, and which of them the caller may publish.",
    );
    tool("nexus_topics", about, Effect::Reads, (input, output))
}
