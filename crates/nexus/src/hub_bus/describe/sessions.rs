//! The tool that tells who is there.

use serde_json::{Value, json};

use super::{
    Effect,
    schema::{NEEDED, OPTIONAL, flag, list, object, or_null, text, time},
    tool,
};

pub(super) fn sessions() -> Value {
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
