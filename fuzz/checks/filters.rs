//! What must hold for every filter and every payload. The input is a filter, a NUL, and a payload.

use nexus_core::{Event, Seq, Source, Topic};
use nexus_expr::{FILTER_BYTES_MAX, compile_filter};

/// Panics when something does not hold.
pub(crate) fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == 0);
    let (filter, payload) = match end {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &b"{}"[..]),
    };
    let Ok(text) = std::str::from_utf8(filter) else {
        return;
    };
    let filter = match compile_filter(text) {
        Ok(filter) => filter,
        Err(error) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&error.line), "{error}");
            let line = text.split('\n').nth(error.line - 1).unwrap_or_default();
            assert!(
                (1..=line.chars().count() + 1).contains(&error.column),
                "{error}"
            );
            assert!(!error.message.is_empty());
            return;
        }
    };
    assert!(text.len() <= FILTER_BYTES_MAX);
    assert_eq!(filter.text(), text);
    let event = event(payload);
    let passes = filter.matches(&event);
    assert_eq!(
        filter.matches(&event),
        passes,
        "it depends on the event alone"
    );
    // A comment at the end would swallow the parenthesis. A filter at its limits cannot be turned around.
    let Ok(opposite) = compile_filter(&format!("!({text}\n)")) else {
        return;
    };
    // Both are false when the budget is spent, and only then.
    if opposite.matches(&event) == passes {
        assert!(!passes && payload.len() + text.len() > 200);
    }
}

fn event(payload: &[u8]) -> Event {
    Event {
        seq: Seq::new(1042),
        id: uuid::Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0002),
        topic: Topic::parse("payment.received").expect("a topic"),
        source: Source::parse("node:flowpay").expect("a source"),
        key: Some("payer-7".into()),
        time_us: 1_795_240_800_123_456,
        causes: r#"{"origin_id":"order-9","occurred_at":"2026-11-21T05:59:58Z"}"#.into(),
        payload: payload.to_vec().into(),
    }
}
