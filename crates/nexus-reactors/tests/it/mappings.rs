//! What a node's own webhooks mean.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::Catalogue;
use nexus_reactors::rules::{Mapped, MappingConfig, Mappings, RuleProblem};

use crate::rules_support::TIME_US;

#[derive(serde::Deserialize)]
struct File {
    webhook: Vec<MappingConfig>,
}

fn compile(toml: &str) -> Result<Mappings, Vec<RuleProblem>> {
    let file: File = toml::from_str(toml).unwrap();
    let catalogue = Arc::new(Catalogue::known());
    Mappings::compile("shop", &file.webhook, &catalogue, &|_| None)
}

const SHOP: &str = r#"
    [[webhook]]
    when = "payload.type == 'charge.paid' && payload.data.amount > 0"
    event = "PAYMENT_RECEIVED"
    once = "shop:{{ payload.data.id }}:paid"
    key = "{{ payload.data.order or payload.data.id }}"
    payload = { transactionId = "{{ payload.data.id }}", amount = "{{ payload.data.amount }}", payerId = "{{ payload.data.customer.id }}", note = "{{ payload.data.note }}" }

    [[webhook]]
    when = "payload.type == 'charge.pending'"
    ignore = "unhandled_status"

    [[webhook]]
    when = "payload.type.startsWith('status.')"
    event = "status.update"
"#;

#[test]
fn the_first_mapping_that_fits_says_what_a_webhook_is() {
    let mappings = compile(SHOP).unwrap();
    let apply = |body: &str| mappings.apply(&Bytes::copy_from_slice(body.as_bytes()), TIME_US);
    let paid = r#"{"type":"charge.paid","data":{"id":"ch_1","amount": 100.50 ,"customer":{"id":"c-7"},"order":"o-1"}}"#;
    let Ok(Mapped::Event { event, once }) = apply(paid) else {
        panic!("it is an event")
    };
    assert_eq!(event.event_type.topic.as_str(), "payment.received");
    assert_eq!(once.as_deref(), Some("shop:ch_1:paid"));
    assert_eq!(event.key.as_deref(), Some("o-1"));
    let mut members: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
    assert!(String::from_utf8_lossy(&event.payload).contains(r#""amount":100.50"#));
    assert_eq!(
        members["amount"].take(),
        serde_json::json!(100.5),
        "{members}"
    );
    assert!(members.get("note").is_none());

    let ignored = apply(r#"{"type":"charge.pending"}"#);
    assert!(matches!(ignored, Ok(Mapped::Ignored { reason }) if reason == "unhandled_status"));
    assert!(matches!(apply(r#"{"type":"refund"}"#), Ok(Mapped::Unknown)));
    assert!(matches!(apply("{}"), Ok(Mapped::Unknown)));

    let status = r#"{ "type":"status.up", "n": 1.0 }"#;
    let Ok(Mapped::Event { event, once }) = apply(status) else {
        panic!("it is an event")
    };
    assert_eq!((&event.payload[..], once), (status.as_bytes(), None));
    assert_eq!(event.key, None);

    let error = apply(r#"{"type":"charge.paid","data":{"amount":1}}"#).unwrap_err();
    assert_eq!(error.to_string(), "key cannot be made of this body");
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let problems = compile(
        r#"
        [[webhook]]
        when = "payload.type =="
        event = "no.such"
        payload = { a = "{{ pyload }}" }

        [[webhook]]
        event = "session.connected"
        once = "{{ env.NONE }}"

        [[webhook]]
        ignore = "x"
        event = "status.update"

        [[webhook]]
        ignore = "x"
        key = "y"
        "#,
    )
    .unwrap_err();
    let places: Vec<&str> = problems
        .iter()
        .map(|problem| problem.place.as_str())
        .collect();
    assert_eq!(
        places,
        [
            "[0].when",
            "[0].event",
            "[0].payload.a",
            "[1].event",
            "[1].once",
            "[2]",
            "[3]"
        ]
    );
    let problems = compile("[[webhook]]\nignore = 'a'\n[[webhook]]\nignore = 'b'").unwrap_err();
    assert_eq!(problems[0].place, "[0].when");
}
