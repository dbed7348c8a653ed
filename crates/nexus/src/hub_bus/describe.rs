//! What the bus says of itself: its tools with their schemas, its resources.

use nexus_agents::{LEASE_S_MAX, LEASE_S_MIN, WORK_ID_CHARS_MAX};
use nexus_core::REQUEST_KEY_BYTES_MAX;
use nexus_hub::Raw;
use serde_json::{Map, Value, json};

use super::{
    raw,
    read::{LIMIT_MAX, WAIT_MS_MAX},
    resources::PREFIX,
};

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
            publish(),
            read(),
            topics(),
            claim(),
            renew(),
            release(),
            complete(),
            work(),
            sessions(),
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

/// An object with these members; those that are marked have to be there.
fn object(members: &[(&str, Value, bool)]) -> Value {
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

const NEEDED: bool = true;
const OPTIONAL: bool = false;

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

/// Said as two schemas: models' providers that know one type at a time can read that.
fn or_null(mut schema: Value) -> Value {
    let described = schema
        .as_object_mut()
        .and_then(|schema| schema.remove("description"));
    let mut either = json!({ "anyOf": [schema, { "type": "null" }] });
    if let Some(description) = described {
        either["description"] = description;
    }
    either
}

fn list(items: Value, description: &str) -> Value {
    let mut list = json!({ "type": "array", "description": description });
    list["items"] = items;
    list
}

fn flag(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

fn whole(minimum: u64, maximum: u64, description: &str) -> Value {
    json!({
        "type": "integer",
        "minimum": minimum,
        "maximum": maximum,
        "description": description,
    })
}

fn sequence(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 1, "description": description })
}

fn time(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}

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

fn publish() -> Value {
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

fn read() -> Value {
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

fn topics() -> Value {
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

fn work_id() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": WORK_ID_CHARS_MAX,
        "description": "What the work is called by everybody who could do it.",
    })
}

fn acting() -> Value {
    text("As which session; only operators may name another than themselves.")
}

fn granted() -> Value {
    object(&[
        ("status", text("`claimed` or `renewed`."), NEEDED),
        ("work_id", text("The work."), NEEDED),
        ("description", text("What it is."), NEEDED),
        ("claimed_by", text("The session that holds it."), NEEDED),
        ("claimed_at", time("Since when."), NEEDED),
        (
            "fencing_token",
            sequence("Proves the claim: needed to renew, release and complete it."),
            NEEDED,
        ),
        (
            "lease_expires_at",
            time("Until when, unless it is renewed."),
            NEEDED,
        ),
    ])
}

fn claim() -> Value {
    let lease = "For how many seconds, without being renewed.";
    let input = object(&[
        ("work_id", work_id(), NEEDED),
        ("description", text("What it is, for people."), OPTIONAL),
        (
            "lease_seconds",
            whole(LEASE_S_MIN, LEASE_S_MAX, lease),
            OPTIONAL,
        ),
        ("session_id", acting(), OPTIONAL),
    ]);
    let about = (
        "Claim work",
        "Claims a piece of work, so that nobody else does it at the same time. Refused while another \
         session holds it, or when it is done. A claim that the caller has already is given again.",
    );
    tool(
        "nexus_claim_work",
        about,
        Effect::ActsOnce,
        (input, granted()),
    )
}

fn held() -> Value {
    object(&[
        ("work_id", work_id(), NEEDED),
        (
            "fencing_token",
            sequence("The token that the claim was granted with."),
            NEEDED,
        ),
        ("session_id", acting(), OPTIONAL),
    ])
}

fn ended(status: &str) -> Value {
    object(&[
        ("status", text(status), NEEDED),
        ("work_id", text("The work."), NEEDED),
        ("fencing_token", sequence("The claim that ended."), NEEDED),
    ])
}

fn renew() -> Value {
    let about = ("Renew a claim", "Holds a claim for as long again.");
    tool(
        "nexus_renew_work",
        about,
        Effect::ActsOnce,
        (held(), granted()),
    )
}

fn release() -> Value {
    let about = (
        "Give work back",
        "Ends a claim, so that others can claim the work.",
    );
    let schemas = (held(), ended("`released`."));
    tool("nexus_release_work", about, Effect::ActsOnce, schemas)
}

fn complete() -> Value {
    let about = (
        "Complete work",
        "Says that work is done. Nobody can claim it again until that is forgotten.",
    );
    let schemas = (held(), ended("`completed`."));
    tool("nexus_complete_work", about, Effect::ActsOnce, schemas)
}

fn work() -> Value {
    let input = object(&[(
        "session_id",
        text("Only what this session holds."),
        OPTIONAL,
    )]);
    let output = object(&[(
        "claims",
        list(granted(), "The claims, the oldest first."),
        NEEDED,
    )]);
    let about = (
        "List claimed work",
        "Lists the work that is claimed, and by whom.",
    );
    tool("nexus_work", about, Effect::Reads, (input, output))
}

fn sessions() -> Value {
    let input = object(&[
        (
            "skills",
            list(
                json!({ "type": "string" }),
                "Only sessions that can do one of these, the best match first.",
            ),
            OPTIONAL,
        ),
        (
            "only_available",
            flag("Only those that are free."),
            OPTIONAL,
        ),
        (
            "include_offline",
            flag("Those too that are not connected; not with `skills`."),
            OPTIONAL,
        ),
    ]);
    let session = object(&[
        ("session_id", text("Its name."), NEEDED),
        ("role", text("What it is for."), NEEDED),
        ("goal", or_null(text("What it wants to reach.")), NEEDED),
        (
            "capabilities",
            list(json!({ "type": "string" }), "What it can do."),
            NEEDED,
        ),
        ("is_connected", flag("Whether it is there."), NEEDED),
        (
            "is_available",
            flag("Whether it is there and free."),
            NEEDED,
        ),
        ("status", text("How it is."), NEEDED),
        ("current_work", or_null(text("What it is doing.")), NEEDED),
        ("connected_at", or_null(time("When it last came.")), NEEDED),
        (
            "last_event",
            or_null(time("When it last did something.")),
            NEEDED,
        ),
    ]);
    let output = object(&[("sessions", list(session, "The sessions."), NEEDED)]);
    let about = (
        "List sessions",
        "Lists the sessions of agents: who is there, what they can do and what they are doing.",
    );
    tool("nexus_sessions", about, Effect::Reads, (input, output))
}
