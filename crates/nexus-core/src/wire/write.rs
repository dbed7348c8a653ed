//! Writes an event as face v1 shows it. The hot path of whoever encodes for many readers.

use super::{
    causes::RawCauses,
    text::{write_decimal, write_json_string, write_position, write_time, write_uuid},
};
use crate::{Epoch, Event};

/// Everything of an event that is not payload, causes, key or name, rounded up.
const FIXED_BYTES: usize = 384;

/// Writes an event as one JSON object: `{"id":…,"position":…,"seq":…, …}`. `name` is what the event is
/// called, as the catalogue has it.
///
/// The payload stands there byte for byte as it was sent, so it may have line breaks between its tokens:
/// a format made of lines has to look for them.
pub fn write_event(out: &mut Vec<u8>, epoch: Epoch, event: &Event, name: &str) {
    out.push(b'{');
    write_event_members(out, epoch, event, name);
    out.push(b'}');
}

/// Writes what stands between the braces of [`write_event`], for a frame that has members of its own.
pub fn write_event_members(out: &mut Vec<u8>, epoch: Epoch, event: &Event, name: &str) {
    out.reserve(FIXED_BYTES + event.payload.len() + event.causes.len());
    out.extend_from_slice(b"\"id\":\"");
    write_uuid(out, event.id);
    out.extend_from_slice(b"\",\"position\":\"");
    write_position(out, epoch, event.seq);
    out.extend_from_slice(b"\",\"seq\":");
    write_decimal(out, event.seq.get());
    // A topic has no character that a string would have to escape.
    out.extend_from_slice(b",\"topic\":\"");
    out.extend_from_slice(event.topic.as_str().as_bytes());
    out.extend_from_slice(b"\",\"name\":");
    write_json_string(out, name);
    out.extend_from_slice(b",\"source\":");
    write_json_string(out, event.source.as_str());
    out.extend_from_slice(b",\"key\":");
    match &event.key {
        Some(key) => write_json_string(out, key),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"time\":\"");
    write_time(out, event.time_us);
    out.extend_from_slice(b"\",\"payload\":");
    out.extend_from_slice(&event.payload);
    let causes = RawCauses::of(&event.causes);
    if !causes.write_correlation(out, b",\"correlation_id\":", event.id) {
        out.extend_from_slice(b",\"correlation_id\":null");
    }
    for (before, value) in [
        (&b",\"causation_id\":"[..], causes.causation_id),
        (b",\"origin_id\":", causes.origin_id),
        (b",\"occurred_at\":", causes.occurred_at),
    ] {
        out.extend_from_slice(before);
        out.extend_from_slice(value.unwrap_or(b"null"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::{Causes, Position, Seq, Source, Topic, iso8601};

    fn event(key: Option<&str>, source: &str, causes: &Causes, payload: &str) -> Event {
        Event {
            seq: Seq::new(1042),
            id: Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001),
            topic: Topic::parse("payment.received").unwrap(),
            source: Source::parse(source).unwrap(),
            key: key.map(Into::into),
            time_us: 1_795_240_800_123_456,
            causes: serde_json::to_vec(causes).unwrap().into(),
            payload: payload.to_owned().into(),
        }
    }

    #[test]
    fn an_event_has_the_members_of_the_contract_in_their_order() {
        let id = Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001);
        let causes = Causes {
            correlation_id: Some(id),
            occurred_at: Some("2026-11-21T07:00:00+01:00".into()),
            ..Causes::default()
        };
        let event = event(
            Some("payer-7"),
            "node:flowpay",
            &causes,
            "{\"amount\": 12.50 }",
        );
        let mut out = Vec::new();
        write_event(
            &mut out,
            Epoch::new(0x7f3a_09c2),
            &event,
            "PAYMENT_RECEIVED",
        );
        let expected = concat!(
            r#"{"id":"01930000-0000-7000-8000-000000000001","position":"7f3a09c2-1042","seq":1042,"#,
            r#""topic":"payment.received","name":"PAYMENT_RECEIVED","source":"node:flowpay","key":"payer-7","#,
            r#""time":"2026-11-21T06:00:00.123456Z","payload":{"amount": 12.50 },"#,
            r#""correlation_id":"01930000-0000-7000-8000-000000000001","causation_id":null,"#,
            r#""origin_id":null,"occurred_at":"2026-11-21T07:00:00+01:00"}"#,
        );
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            epoch: u32, key in any::<Option<String>>(), source in "[^\\p{Cc}]{1,40}", name in any::<String>(),
            origin_id in any::<Option<String>>(), causation in any::<Option<u128>>(), member in any::<String>(),
        ) {
            let causes = Causes { origin_id: origin_id.clone(), causation_id: causation.map(Uuid::from_u128), ..Causes::default() };
            let payload = json!({ "member": member }).to_string();
            let event = event(key.as_deref(), &source, &causes, &payload);
            let mut out = Vec::new();
            write_event(&mut out, Epoch::new(epoch), &event, &name);
            let read: Value = serde_json::from_slice(&out).unwrap();
            let position = Position { epoch: Epoch::new(epoch), seq: event.seq };
            prop_assert_eq!(read, json!({
                "id": event.id, "position": position, "seq": 1042, "topic": "payment.received", "name": name,
                "source": source, "key": key, "time": iso8601(event.time_us), "payload": { "member": member },
                "correlation_id": event.id, "causation_id": causes.causation_id, "origin_id": origin_id, "occurred_at": null,
            }));
        }
    }
}
