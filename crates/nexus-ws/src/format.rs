//! What the bytes of a segment are: how the clients of each face get an event.

use nexus_core::{
    Epoch, Event, write_cloud_event, write_decimal, write_event, write_event_members,
    write_position, write_uuid,
};

use crate::{agents, socket::frame};

/// How events are written for a group of readers. Part of what makes a group: readers with another format
/// get other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// Text frames of the neo face, named as the client subscribed.
    Neo,
    /// Text frames of face v1, one an event.
    V1 {
        /// The subscription, as the server numbered it.
        sub: u32,
    },
    /// The objects of such frames with a comma behind each: a connection makes messages of them.
    V1Batch {
        /// The subscription, as the server numbered it.
        sub: u32,
    },
    /// Text frames, one CloudEvent each.
    CloudEvents,
    /// Server-sent events.
    Sse,
    /// Text frames for sessions of agents, one an event, and what follows from it.
    Agents,
}

/// What an event is called, and where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming<'a> {
    pub(crate) epoch: Epoch,
    /// The name of the event's type.
    pub(crate) name: &'a str,
    /// The name that the client subscribed, as JSON; nothing = the topic.
    pub(crate) subscribed: Option<&'a str>,
    /// Whether the event itself is wanted, and not only what follows from it.
    pub(crate) is_asked: bool,
}

impl Format {
    /// Appends one event.
    pub(crate) fn write(self, out: &mut Vec<u8>, event: &Event, naming: Naming<'_>) {
        match self {
            Self::Neo => frame::text_with(out, |out| write_neo(out, event, naming)),
            Self::V1 { sub } => frame::text_with(out, |out| write_v1(out, sub, event, naming)),
            Self::V1Batch { sub } => {
                write_v1(out, sub, event, naming);
                out.push(b',');
            }
            Self::CloudEvents => frame::text_with(out, |out| write_cloud_event(out, event)),
            Self::Sse => write_sse(out, event, naming),
            Self::Agents => agents::write_event(out, event, naming),
        }
    }

    /// Whether readers of one group see different events of it, by whom these are addressed to.
    pub(crate) const fn has_addresses(self) -> bool {
        matches!(self, Self::Agents)
    }

    /// How many bytes a segment may have, of so many that are allowed: what is handed to the server to write
    /// cannot be taken back from a client that stands still, and keeps its whole segment in memory.
    pub(crate) fn segment_bytes_max(self, allowed: usize) -> usize {
        const HANDED_BYTES_MAX: usize = 64 << 10;
        match self {
            Self::Sse => allowed.min(HANDED_BYTES_MAX),
            Self::Neo
            | Self::V1 { .. }
            | Self::V1Batch { .. }
            | Self::CloudEvents
            | Self::Agents => allowed,
        }
    }

    /// How many bytes stand behind an event that are not part of a slice that ends there.
    pub(crate) const fn separator_bytes(self) -> usize {
        match self {
            Self::V1Batch { .. } => 1,
            Self::Neo | Self::V1 { .. } | Self::CloudEvents | Self::Sse | Self::Agents => 0,
        }
    }

    /// Whether the bytes become a message only in the connection, so that their slices are bounded.
    pub(crate) const fn is_batch(self) -> bool {
        matches!(self, Self::V1Batch { .. })
    }
}

fn write_neo(out: &mut Vec<u8>, event: &Event, naming: Naming<'_>) {
    out.extend_from_slice(b"{\"event\":");
    match naming.subscribed {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => {
            out.push(b'"');
            out.extend_from_slice(event.topic.as_str().as_bytes());
            out.push(b'"');
        }
    }
    out.extend_from_slice(b",\"payload\":");
    out.extend_from_slice(&event.payload);
    out.extend_from_slice(b",\"timestamp\":");
    let time_ms = event.time_us.div_euclid(1_000);
    write_decimal(out, u64::try_from(time_ms).unwrap_or(0));
    out.extend_from_slice(b",\"event_id\":\"");
    write_uuid(out, event.id);
    out.extend_from_slice(b"\",\"seq\":");
    write_decimal(out, event.seq.get());
    out.extend_from_slice(b",\"position\":\"");
    write_position(out, naming.epoch, event.seq);
    out.extend_from_slice(b"\"}");
}

fn write_v1(out: &mut Vec<u8>, sub: u32, event: &Event, naming: Naming<'_>) {
    out.extend_from_slice(b"{\"type\":\"event\",\"sub\":");
    write_decimal(out, u64::from(sub));
    out.push(b',');
    write_event_members(out, naming.epoch, event, naming.name);
    out.push(b'}');
}

fn write_sse(out: &mut Vec<u8>, event: &Event, naming: Naming<'_>) {
    out.extend_from_slice(b"id: ");
    write_position(out, naming.epoch, event.seq);
    out.extend_from_slice(b"\nevent: ");
    out.extend_from_slice(event.topic.as_str().as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let data = out.len();
    write_event(out, naming.epoch, event, naming.name);
    if out[data..].iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        break_lines(out, data);
    }
    out.extend_from_slice(b"\n\n");
}

/// Lines inside the data: JSON has them only between its tokens, where they mean nothing.
fn break_lines(out: &mut Vec<u8>, from: usize) {
    let data = out.split_off(from);
    let lines = data.split(|byte| matches!(byte, b'\n' | b'\r'));
    for (index, line) in lines.enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\ndata: ");
        }
        out.extend_from_slice(line);
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::{Position, Seq, Source, Topic};
    use uuid::Uuid;

    use super::*;

    fn event(payload: &'static str) -> Event {
        Event {
            seq: Seq::new(1042),
            id: Uuid::from_u128(7),
            topic: Topic::parse("payment.received").unwrap(),
            source: Source::nexus(),
            key: None,
            time_us: 1_763_712_000_123_456,
            causes: "{}".into(),
            payload: payload.into(),
        }
    }

    fn written(format: Format, event: &Event) -> String {
        let naming = Naming {
            epoch: Epoch::new(0x7f3a_09c2),
            name: "PAYMENT_RECEIVED",
            subscribed: None,
            is_asked: true,
        };
        let mut out = Vec::new();
        format.write(&mut out, event, naming);
        // The header of a text frame with a length of two bytes.
        let header_bytes = if out[0] == 0x81 { 4 } else { 0 };
        String::from_utf8(out.split_off(header_bytes)).unwrap()
    }

    #[test]
    fn the_neo_face_has_the_members_of_its_contract_in_their_order() {
        let event = event("{\"a\": 1.50 }");
        let position = Position {
            epoch: Epoch::new(0x7f3a_09c2),
            seq: event.seq,
        };
        let expected = format!(
            r#"{{"event":"payment.received","payload":{{"a": 1.50 }},"timestamp":1763712000123,"event_id":"{}","seq":1042,"position":"{position}"}}"#,
            event.id,
        );
        assert_eq!(written(Format::Neo, &event), expected);
    }

    #[test]
    fn face_v1_puts_the_subscription_before_the_event() {
        let event = event("{\"a\": 1.50 }");
        let mut whole = Vec::new();
        write_event(
            &mut whole,
            Epoch::new(0x7f3a_09c2),
            &event,
            "PAYMENT_RECEIVED",
        );
        let whole = String::from_utf8(whole).unwrap();
        let expected = format!("{{\"type\":\"event\",\"sub\":3,{}", &whole[1..]);
        assert_eq!(written(Format::V1 { sub: 3 }, &event), expected);
        let batched = written(Format::V1Batch { sub: 3 }, &event);
        assert_eq!(batched, format!("{expected},"));
    }

    #[test]
    fn server_sent_data_keeps_its_lines() {
        let text = written(Format::Sse, &event("{\n\"a\":\r\n1}"));
        let mut data = String::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
            data.push_str(line);
            data.push('\n');
        }
        let read: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(read["payload"], serde_json::json!({"a": 1}));
        assert!(text.starts_with("id: 7f3a09c2-1042\nevent: payment.received\ndata: {"));
        assert!(text.ends_with("}\n\n"));
        assert!(!text.contains('\r'));
    }
}
