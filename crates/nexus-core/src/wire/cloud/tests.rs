//! CloudEvents in both directions.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{Seq, Topic, iso8601};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn event(source: &str, key: Option<&str>, causes: &Causes) -> Event {
    Event {
        seq: Seq::new(1042),
        id: Uuid::from_u128(7),
        topic: Topic::parse("payment.received").unwrap(),
        source: Source::parse(source).unwrap(),
        key: key.map(Into::into),
        time_us: 1_795_240_800_123_456,
        causes: serde_json::to_vec(causes).unwrap().into(),
        payload: Bytes::from_static(b"{\"amount\": 12.50 }"),
    }
}

fn written(event: &Event) -> Value {
    let mut out = Vec::new();
    write_cloud_event(&mut out, event);
    serde_json::from_slice(&out).unwrap()
}

fn read(text: &str) -> Result<NewEvent, Error> {
    let object = RawObject::parse(text.as_bytes())?.unwrap();
    read_cloud_event(&object, &Catalogue::known())
}

fn pointers(result: Result<NewEvent, Error>) -> Vec<String> {
    match result {
        Err(Error::InvalidEvent { problems }) => problems
            .into_iter()
            .map(|problem| problem.pointer)
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_is_written_as_a_cloud_event() {
    let causes = Causes {
        correlation_id: Some(Uuid::from_u128(1)),
        causation_id: Some(Uuid::from_u128(2)),
        traceparent: Some(TRACE.to_owned()),
        ..Causes::default()
    };
    let event = event("node:flowpay", Some("payer-7"), &causes);
    let expected = json!({
        "specversion": "1.0", "id": event.id, "source": "/nodes/flowpay", "type": "payment.received",
        "subject": "payer-7", "time": iso8601(event.time_us), "datacontenttype": "application/json",
        "sequence": "00000000000000001042", "correlationid": Uuid::from_u128(1), "causationid": Uuid::from_u128(2),
        "traceparent": TRACE, "data": { "amount": 12.50 },
    });
    assert_eq!(written(&event), expected);
}

#[test]
fn what_is_absent_is_left_out_and_sources_are_paths() {
    for (source, path) in [
        ("nexus", "/nexus"),
        ("session:session-5", "/sessions/session-5"),
        ("user:Ana \"B\" é", "/users/Ana%20%22B%22%20%C3%A9"),
        ("reactor:payment-to-mint", "/reactors/payment-to-mint"),
        ("other:thing", "/other:thing"),
    ] {
        let event = written(&event(source, None, &Causes::default()));
        assert_eq!(event["source"], path);
        assert_eq!(event.as_object().unwrap().len(), 9, "{event}");
    }
}

#[test]
fn a_cloud_event_is_read_in_structured_mode() {
    let event = read(&format!(
        r#"{{"specversion":"1.0","id":"tx-1","source":"urn:x","type":"PAYMENT_RECEIVED","subject":"k","time":"2026-11-21T06:00:00Z",
            "datacontenttype":"application/json; charset=utf-8","traceparent":"{TRACE}","sequence":"7","retries":3,"dataschema":null,
            "data":{{"amount": 1.50 }}}}"#
    ))
    .unwrap();
    assert_eq!(event.event_type.topic.as_str(), "payment.received");
    assert_eq!(event.payload, r#"{"amount": 1.50 }"#);
    assert_eq!(event.key.as_deref(), Some("k"));
    let causes = Causes {
        origin_id: Some("tx-1".into()),
        origin_source: Some("urn:x".into()),
        occurred_at: Some("2026-11-21T06:00:00Z".into()),
        traceparent: Some(TRACE.into()),
        ..Causes::default()
    };
    assert_eq!(event.causes, causes);
}

#[test]
fn every_problem_of_a_cloud_event_is_said_with_its_place() {
    for (text, expected) in [
        (
            "{}",
            &["/specversion", "/id", "/source", "/type", "/data"][..],
        ),
        (
            r#"{"specversion":"0.3","id":"","source":"s","type":"t","data":[1]}"#,
            &["/id", "/specversion", "/data"],
        ),
        (
            r#"{"specversion":"1.0","id":"i","source":"s","type":"t","data_base64":"e30=","data":{}}"#,
            &["/data_base64"],
        ),
        (
            r#"{"specversion":"1.0","id":7,"source":"s","type":"t","Bad":"x","list":[],"data":{}}"#,
            &["/id", "/Bad", "/list", "/id"],
        ),
        (
            r#"{"specversion":"1.0","id":"i","source":"s","type":"t","time":"soon","datacontenttype":"text/xml","data":{}}"#,
            &["/time", "/datacontenttype"],
        ),
    ] {
        assert_eq!(pointers(read(text)), expected, "{text}");
    }
    let unknown =
        r#"{"specversion":"1.0","id":"i","source":"s","type":"com.example.thing","data":{}}"#;
    assert!(matches!(read(unknown), Err(Error::UnknownEvent { .. })));
    // A broken trace context is no reason to refuse an event.
    let broken = r#"{"specversion":"1.0","id":"i","source":"s","type":"MINT_FAILED","traceparent":"00-x","data":{}}"#;
    assert_eq!(read(broken).unwrap().causes.traceparent, None);
}

#[test]
fn a_cloud_event_is_read_in_binary_mode() {
    let catalogue = Catalogue::known();
    let required = [
        ("specversion", "1.0"),
        ("id", "a%20%E2%82%AC"),
        ("source", "\"/a\\\"b%25\""),
        ("type", "mint.failed"),
        ("datacontenttype", "application/json"),
    ];
    let event = read_cloud_event_attributes(required, b" {\"error\":\"e\"}\n", &catalogue).unwrap();
    assert_eq!(event.payload, "{\"error\":\"e\"}");
    assert_eq!(event.causes.origin_id.as_deref(), Some("a €"));
    assert_eq!(event.causes.origin_source.as_deref(), Some("/a\"b%"));
    let twice = required.into_iter().chain([("id", "b"), ("time", "%zz")]);
    let result = read_cloud_event_attributes(twice, b"", &catalogue);
    assert_eq!(pointers(result), ["/id", "/time", "/data"]);
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        source in "[^\\p{Cc}]{1,40}", key in prop::option::of("[^\\p{Cc}]{1,40}"), origin in any::<Option<String>>(),
    ) {
        let event = event(&source, key.as_deref(), &Causes { origin_id: origin, ..Causes::default() });
        let read = read(&written(&event).to_string()).unwrap();
        prop_assert_eq!(read.event_type.topic.clone(), event.topic.clone());
        prop_assert_eq!(read.key.as_deref(), key.as_deref());
        prop_assert_eq!(read.causes.origin_id, Some(event.id.to_string()));
        prop_assert_eq!(read.causes.occurred_at, Some(iso8601(event.time_us)));
    }

    #[test]
    fn reading_never_panics(name in "[a-z_]{0,12}", value in r#"[\[\]{}:,"a0-9.\-TZ% \\u]{0,40}"#) {
        let text = format!(r#"{{"specversion":"1.0","id":"i","source":"s","type":"MINT_FAILED","data":{{}},{name:?}:{value}}}"#);
        if let Ok(Some(object)) = RawObject::parse(text.as_bytes()) {
            let _ = read_cloud_event(&object, &Catalogue::known());
        }
        let _ = read_cloud_event_attributes([(name.as_str(), value.as_str())], value.as_bytes(), &Catalogue::known());
    }
}
