//! Writes an event as agents see it: over their WebSocket and in their history.

use super::text::{write_decimal, write_json_string, write_position, write_time, write_uuid};
use crate::{Epoch, Event};

/// Everything of an event that is not payload or source, rounded up.
const FIXED_BYTES: usize = 256;

/// Writes an event as one JSON object for agents:
/// `{"event_id","event_type","session_id","timestamp","payload","seq","position"}`.
///
/// `session_id` is the session that it came from; of an event that no session sent it is the source.
pub fn write_agent_event(out: &mut Vec<u8>, epoch: Epoch, event: &Event) {
    out.reserve(FIXED_BYTES + event.payload.len());
    out.extend_from_slice(b"{\"event_id\":\"");
    write_uuid(out, event.id);
    // A topic has no character that a string would have to escape.
    out.extend_from_slice(b"\",\"event_type\":\"");
    out.extend_from_slice(event.topic.as_str().as_bytes());
    out.extend_from_slice(b"\",\"session_id\":");
    let source = event.source.as_str();
    write_json_string(out, source.strip_prefix("session:").unwrap_or(source));
    out.extend_from_slice(b",\"timestamp\":\"");
    write_time(out, event.time_us);
    out.extend_from_slice(b"\",\"payload\":");
    out.extend_from_slice(&event.payload);
    out.extend_from_slice(b",\"seq\":");
    write_decimal(out, event.seq.get());
    out.extend_from_slice(b",\"position\":\"");
    write_position(out, epoch, event.seq);
    out.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{Seq, Source, Topic};

    #[test]
    fn an_event_has_the_members_of_the_contract_in_their_order() {
        let mut event = Event {
            seq: Seq::new(1042),
            id: Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001),
            topic: Topic::parse("help.needed").unwrap(),
            source: Source::session("session-5"),
            key: None,
            time_us: 1_795_240_800_123_456,
            causes: "{}".into(),
            payload: "{\"task\": \"debug\" }".into(),
        };
        let written = |event: &Event| {
            let mut out = Vec::new();
            write_agent_event(&mut out, Epoch::new(0x7f3a_09c2), event);
            String::from_utf8(out).unwrap()
        };
        let expected = |session: &str| {
            format!(
                "{{\"event_id\":\"01930000-0000-7000-8000-000000000001\",\"event_type\":\"help.needed\",\
                 \"session_id\":{session},\"timestamp\":\"2026-11-21T06:00:00.123456Z\",\
                 \"payload\":{{\"task\": \"debug\" }},\"seq\":1042,\"position\":\"7f3a09c2-1042\"}}"
            )
        };
        assert_eq!(written(&event), expected("\"session-5\""));
        event.source = Source::node("a\"b");
        assert_eq!(written(&event), expected("\"node:a\\\"b\""));
    }
}
