//! What the tests of the log have in common: a payment to publish, and waiting for what has to come.

use std::time::{Duration, Instant};

use nexus_core::{
    Error, EventQuery, Log, NewEvent, PatternSet, Principal, ProtocolEvent, Receipt, Seq,
};

pub fn payment(log: &Log, n: usize) -> NewEvent {
    let payload = format!(r#"{{"transactionId":"tx-{n}","amount":1,"payerId":"p"}}"#);
    NewEvent::new(
        log.catalogue().known_type(ProtocolEvent::PaymentReceived),
        payload,
    )
}

pub async fn publish(log: &Log, n: usize) -> Result<Receipt, Error> {
    log.dispatch(&Principal::nexus(), payment(log, n)).await
}

pub async fn stored(log: &Log) -> usize {
    let query = EventQuery::page(
        Seq::ZERO,
        Seq::new(u32::MAX.into()),
        PatternSet::everything(),
    );
    log.events(&query).await.unwrap().events.len()
}

/// Waits for a condition, for at most a minute.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
