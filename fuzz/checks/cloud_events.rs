//! What must hold for every text that is read as an event or a CloudEvent.

use nexus_core::{
    Catalogue, Causes, Coded, Event, Json, NewEvent, RawObject, Seq, Source, read_cloud_event,
    read_cloud_event_attributes, read_event, write_cloud_event,
};

/// Panics when something does not hold.
pub(crate) fn check(input: &[u8]) {
    let catalogue = Catalogue::known();
    if let Ok(Some(object)) = RawObject::parse(input) {
        for read in [
            read_event(&object, &catalogue),
            read_cloud_event(&object, &catalogue),
        ] {
            match read {
                Ok(event) => check_event(event, &catalogue),
                Err(error) => assert!(!error.code().is_empty()),
            }
        }
    }
    check_attributes(input, &catalogue);
}

/// The same bytes as a head and a body: lines with a name, a colon and a value, an empty line, the data.
fn check_attributes(input: &[u8], catalogue: &Catalogue) {
    let end = input.windows(2).position(|two| two == b"\n\n");
    let (head, data) = match end {
        Some(end) => (&input[..end], &input[end + 2..]),
        None => (input, &b""[..]),
    };
    let Ok(head) = std::str::from_utf8(head) else {
        return;
    };
    let headers = head.lines().filter_map(|line| line.split_once(':'));
    if let Ok(event) = read_cloud_event_attributes(headers, data, catalogue) {
        check_event(event, catalogue);
    }
}

/// What was read can be kept, written as a CloudEvent, and is read as the same again.
fn check_event(new: NewEvent, catalogue: &Catalogue) {
    let payload = Json::parse(&new.payload);
    let Ok(Json::Object(_)) = payload else {
        // What is too deep or holds a member twice is refused when the event is checked.
        return;
    };
    assert_eq!(
        catalogue
            .get(&new.event_type.topic)
            .map(|known| &known.topic),
        Some(&new.event_type.topic)
    );
    let event = Event {
        seq: Seq::new(1),
        id: uuid::Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0002),
        topic: new.event_type.topic.clone(),
        source: Source::parse("node:flowpay").expect("a source"),
        key: new.key.clone(),
        time_us: 1_795_240_800_123_456,
        causes: serde_json::to_vec(&new.causes).expect("texts").into(),
        payload: new.payload.clone(),
    };
    let causes = Causes {
        correlation_id: Some(event.id),
        ..new.causes.clone()
    };
    assert_eq!(event.causes(), causes, "it began a chain");
    let mut written = Vec::new();
    write_cloud_event(&mut written, &event);
    let object = RawObject::parse(&written)
        .expect("it is JSON")
        .expect("it is an object");
    let again = read_cloud_event(&object, catalogue).expect("it is a CloudEvent");
    assert_eq!(again.event_type.topic, new.event_type.topic);
    assert_eq!(
        again.payload, new.payload,
        "the payload is the sender's text"
    );
    assert_eq!(again.key, new.key.filter(|key| !key.is_empty()));
    assert_eq!(again.causes.traceparent, new.causes.traceparent);
}
