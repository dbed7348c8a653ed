//! Events that filters are tried on.

use nexus_core::{Causes, Event, Seq, Source, Topic};
use nexus_expr::compile_filter;
use uuid::Uuid;

/// 2026-11-21T06:00:00.123456Z
pub(crate) const TIME_US: i64 = 1_795_240_800_123_456;

/// An event with this payload.
pub(crate) fn event(payload: impl Into<String>) -> Event {
    let causes = Causes {
        correlation_id: Some(Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001)),
        origin_id: Some("order-9".to_owned()),
        occurred_at: Some("2026-11-21T05:59:58Z".to_owned()),
        ..Causes::default()
    };
    Event {
        seq: Seq::new(1042),
        id: Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0002),
        topic: Topic::parse("payment.received").unwrap(),
        source: Source::parse("node:flowpay").unwrap(),
        key: Some("payer-7".into()),
        time_us: TIME_US,
        causes: serde_json::to_vec(&causes).unwrap().into(),
        payload: payload.into().into(),
    }
}

/// Whether a filter that has to compile lets an event with this payload through.
pub(crate) fn passes(filter: &str, payload: &str) -> bool {
    compile_filter(filter)
        .unwrap_or_else(|error| panic!("{filter}: {error}"))
        .matches(&event(payload))
}
