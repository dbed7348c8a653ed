//! The tools of work that sessions share.

use nexus_agents::{LEASE_S_MAX, LEASE_S_MIN, WORK_ID_CHARS_MAX};
use serde_json::{Value, json};

use super::{
    Effect,
    schema::{NEEDED, OPTIONAL, list, object, sequence, text, time, whole},
    tool,
};

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

pub(super) fn claim() -> Value {
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

pub(super) fn renew() -> Value {
    let about = ("Renew a claim", "Holds a claim for as long again.");
    tool(
        "nexus_renew_work",
        about,
        Effect::ActsOnce,
        (held(), granted()),
    )
}

pub(super) fn release() -> Value {
    let about = (
        "Give work back",
        "Ends a claim, so that others can claim the work.",
    );
    let schemas = (held(), ended("`released`."));
    tool("nexus_release_work", about, Effect::ActsOnce, schemas)
}

pub(super) fn complete() -> Value {
    let about = (
        "Complete work",
        "Says that work is done. Nobody can claim it again until that is forgotten.",
    );
    let schemas = (held(), ended("`completed`."));
    tool("nexus_complete_work", about, Effect::ActsOnce, schemas)
}

pub(super) fn work() -> Value {
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
