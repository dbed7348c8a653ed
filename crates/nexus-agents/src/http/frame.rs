//! An event as the clients of this face see it.

use nexus_core::{
    Epoch, Event, write_decimal, write_json_string, write_position, write_time, write_uuid,
};

/// Everything of a frame that is not payload or source, rounded up.
const FIXED_BYTES: usize = 256;

/// Who an event came from: the session, or whoever else it was.
fn session_id(event: &Event) -> &str {
    let source = event.source.as_str();
    source.strip_prefix("session:").unwrap_or(source)
}

/// Writes an event as one JSON object:
/// `{"event_id","event_type","session_id","timestamp","payload","seq","position"}`.
pub(crate) fn write_frame(out: &mut Vec<u8>, epoch: Epoch, event: &Event) {
    out.reserve(FIXED_BYTES + event.payload.len());
    out.extend_from_slice(b"{\"event_id\":\"");
    write_uuid(out, event.id);
    // A topic has no character that a string would have to escape.
    out.extend_from_slice(b"\",\"event_type\":\"");
    out.extend_from_slice(event.topic.as_str().as_bytes());
    out.extend_from_slice(b"\",\"session_id\":");
    write_json_string(out, session_id(event));
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
