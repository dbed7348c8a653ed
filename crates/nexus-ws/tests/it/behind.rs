//! Readers that are behind what memory holds, beside those that are near the head.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use nexus_core::{
    Clock, EventPage, EventQuery, Log, LogOptions, Memory, NewEvent, Pages, Principal,
    ProtocolEvent, ReadError, Seq,
};
use nexus_testkit::pages::{Meddled, Meddler};
use nexus_ws::WsOptions;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::harness::{Hub, auth_options};

/// While pages are read the log grows, as often as it is told.
#[derive(Clone)]
struct Growing {
    log: Arc<OnceLock<Log>>,
    times: Arc<AtomicU64>,
}

impl Growing {
    async fn grow(&self) {
        let is_asked = |times: u64| times.checked_sub(1);
        let asked = self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_asked);
        let (Ok(_), Some(log)) = (asked, self.log.get()) else {
            return;
        };
        let idle = log.catalogue().known_type(ProtocolEvent::StatusUpdate);
        let event = NewEvent::new(idle, r#"{"status":"idle"}"#);
        let receipt = log.dispatch(&Principal::nexus(), event).await.unwrap();
        let mut heads = log.head_changes();
        heads.wait_for(|head| *head >= receipt.last).await.unwrap();
    }
}

impl Meddler for Growing {
    async fn events(&self, memory: &Memory, query: &EventQuery) -> Result<EventPage, ReadError> {
        self.grow().await;
        memory.events(query).await
    }
}

#[tokio::test]
async fn who_is_behind_leaves_half_of_the_time_to_the_head_while_the_log_grows() {
    const EVENTS: u64 = 1_100;
    for grows in [0, 2] {
        let times = Arc::new(AtomicU64::new(0));
        let log = Arc::new(OnceLock::new());
        let growing = Growing {
            log: log.clone(),
            times: times.clone(),
        };
        let pages = |memory| Meddled::new(memory, growing);
        let log_options = LogOptions {
            ring_events_max: 4,
            ..LogOptions::default()
        };
        let options = WsOptions::default();
        let hub = Hub::over_pages(Clock::System, auth_options(), options, log_options, pages).await;
        assert!(log.set(hub.log.clone()).is_ok());
        for number in 1..=EVENTS {
            hub.pay(number).await;
        }
        times.store(grows, Ordering::SeqCst);
        let mut client = hub.connect().await;
        client
            .subscribe_from(&["PAYMENT_RECEIVED"], "earliest")
            .await;
        let expected: Vec<u64> = (1..=EVENTS).collect();
        assert_eq!(client.seqs(expected.len()).await, expected);
        assert!(hub.edge.pages() >= grows, "it read from the store");
        // A page that was read is handed out after the rest.
        assert_eq!(hub.edge.rests(), grows);
    }
}

/// Pages are read as long as there are permits; else whoever reads waits.
struct Gate(Arc<Semaphore>);

impl Meddler for Gate {
    async fn events(&self, memory: &Memory, query: &EventQuery) -> Result<EventPage, ReadError> {
        let _permit = self.0.acquire().await?;
        memory.events(query).await
    }
}

/// No frame tells of a gap in the middle of a stream: the connection ends, and who comes back is told of the gap
/// where it is, and of none where there is none.
#[tokio::test]
async fn what_retention_takes_from_one_subscription_the_others_do_not_miss() {
    let gate = Arc::new(Semaphore::new(0));
    let log_options = LogOptions {
        ring_events_max: 4,
        ..LogOptions::default()
    };
    let pages = |memory| Meddled::new(memory, Gate(gate.clone()));
    let options = WsOptions::default();
    let hub = Hub::over_pages(Clock::System, auth_options(), options, log_options, pages).await;
    for number in 1..=20 {
        hub.pay(number).await;
    }
    let failed = r#"{"transactionId":"tx","reason":"r"}"#;
    let mut client = hub.connect_v1().await;
    let old = json!({"id": "old", "patterns": ["payment.received"], "from": "earliest"});
    let old = client.subscribe_with(old).await;
    let new = client.subscribe_v1("new", &["payment.failed"]).await;
    assert_eq!((&old["sub"], &new["sub"]), (&json!(1), &json!(2)));
    // The old one waits for the store; the new one is sent what happens.
    hub.publish("payment.failed", failed).await;
    assert_eq!(client.events_of(2, 1).await, [21]);
    let pruned = hub.log.prune(Seq::new(10)).await.unwrap();
    assert!(pruned > Seq::ZERO);
    gate.add_permits(1);
    let (frame, _) = client.closed().await;
    assert_eq!(u16::from(frame.code), 4010);
    hub.publish("payment.failed", failed).await;
    let mut again = hub.connect_v1().await;
    for (id, from, recovered) in [("old", 0, false), ("new", 21, true)] {
        let from = hub.log.position(Seq::new(from)).to_string();
        let patterns = match id {
            "old" => "payment.received",
            _ => "payment.failed",
        };
        let subscribe = json!({"id": id, "patterns": [patterns], "from": from});
        let answer = again.subscribe_with(subscribe).await;
        assert_eq!(answer["recovered"], recovered, "{answer}");
        let sub = answer["sub"].as_u64().unwrap();
        let first = if recovered { 22 } else { pruned.get() + 1 };
        let last = if recovered { 22 } else { 20 };
        let expected: Vec<u64> = (first..=last).collect();
        assert_eq!(again.events_of(sub, expected.len()).await, expected);
    }
}
