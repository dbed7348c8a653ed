//! The words of the sessions' WebSocket: what is answered. Every frame has the members that a client's loop reads of
//! an event: `event_type`, `session_id`, `payload`, `timestamp`.

use nexus_core::{Recovery, Start, iso8601};
use nexus_http::Problem;
use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::NEXUS;
use crate::reader::reason;

#[derive(Serialize)]
struct Acknowledgement<'a> {
    event_type: &'static str,
    session_id: &'static str,
    status: &'a str,
    r#ref: Option<&'a RawValue>,
    payload: &'a Value,
    timestamp: String,
}

#[derive(Serialize)]
struct Refusal<'a> {
    event_type: &'static str,
    session_id: &'static str,
    #[serde(flatten)]
    details: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#ref: Option<&'a RawValue>,
    payload: &'a Map<String, Value>,
    timestamp: String,
}

/// The answer to what was done.
pub(super) fn acknowledgement(
    status: &str,
    reference: &str,
    payload: &Value,
    now_us: i64,
) -> String {
    json_of(&Acknowledgement {
        event_type: "system.ack",
        session_id: NEXUS,
        status,
        r#ref: raw(reference),
        payload,
        timestamp: iso8601(now_us),
    })
}

/// The answer to what is not done.
pub(super) fn refusal(problem: &Problem, reference: Option<&str>, now_us: i64) -> String {
    let mut details = problem.extra.clone();
    details.insert("code".to_owned(), problem.code.into());
    details.insert("message".to_owned(), problem.detail.as_str().into());
    if let Some(seconds) = problem.retry_after_s {
        details.insert("retry_after".to_owned(), seconds.into());
    }
    json_of(&Refusal {
        event_type: "system.error",
        session_id: NEXUS,
        details: &details,
        r#ref: reference.and_then(raw),
        payload: &details,
        timestamp: iso8601(now_us),
    })
}

/// Where a replay begins.
pub(super) fn replaying(start: Start) -> Value {
    let mut payload = json!({
        "position": start.position,
        "recovered": start.recovery == Recovery::Recovered,
    });
    if let Some(reason) = reason(start.recovery) {
        payload["reason"] = reason.into();
    }
    payload
}

/// A reference as its client wrote it; it was read as JSON before.
fn raw(reference: &str) -> Option<&RawValue> {
    serde_json::from_str(reference).ok()
}

fn json_of(answer: &impl Serialize) -> String {
    // Texts, numbers and values always serialise.
    serde_json::to_string(answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use nexus_core::{Epoch, Kind, Position, Seq};

    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_acknowledgement_tells_what_was_done_to_which_message() {
        let payload = json!({ "work_id": "w" });
        let told = read(&acknowledgement("claimed", "\"r1\"", &payload, 1_000_000));
        assert_eq!(
            told,
            json!({
                "event_type": "system.ack", "session_id": "nexus", "status": "claimed", "ref": "r1",
                "payload": payload, "timestamp": "1970-01-01T00:00:01.000000Z",
            })
        );
    }

    #[test]
    fn a_refusal_tells_everything_that_a_problem_does() {
        let problem = Problem::new(Kind::Limited, "rate-limited", "slowly")
            .retry_after_s(7)
            .with("claimed_by", "other");
        let details = json!({"code": "rate-limited", "message": "slowly", "retry_after": 7, "claimed_by": "other"});
        let told = read(&refusal(&problem, Some("12"), 1_000_000));
        assert_eq!(told["payload"], details);
        for (name, value) in details.as_object().unwrap() {
            assert_eq!(told[name], *value);
        }
        assert_eq!(
            (&told["ref"], &told["event_type"]),
            (&json!(12), &json!("system.error"))
        );
        assert_eq!(told["session_id"], "nexus");
        assert_eq!(read(&refusal(&problem, None, 0)).get("ref"), None);
    }

    #[test]
    fn a_replay_that_cannot_begin_where_it_was_asked_to_says_why() {
        let position = Position {
            epoch: Epoch::new(7),
            seq: Seq::new(9),
        };
        let of = |recovery| replaying(Start { position, recovery });
        let told = of(Recovery::Recovered);
        assert_eq!(told, json!({"position": position, "recovered": true}));
        assert_eq!(of(Recovery::Pruned)["reason"], "pruned");
    }
}
