//! Readers that are behind what memory holds, beside those that are near the head.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use nexus_core::{
    Clock, Event, EventPage, EventQuery, Fenced, Key, Log, LogOptions, Memory, NewEvent, OnceEntry,
    OnceKey, Pages, Principal, ProtocolEvent, ReadError, Record, RecordQuery, Seq,
};
use nexus_ws::WsOptions;
use uuid::Uuid;

use crate::harness::{Hub, auth_options};

/// A reading side during whose pages the log grows, as often as it is told.
#[derive(Clone)]
struct Growing {
    memory: Memory,
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

impl Pages for Growing {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, ReadError> {
        self.grow().await;
        self.memory.events(query).await
    }
    async fn event_by_id(&self, id: Uuid) -> Result<Option<Arc<Event>>, ReadError> {
        self.memory.event_by_id(id).await
    }
    async fn records(&self, query: &RecordQuery) -> Result<Vec<Record>, ReadError> {
        self.memory.records(query).await
    }
    async fn record(&self, key: &Key) -> Result<Option<Record>, ReadError> {
        self.memory.record(key).await
    }
    async fn once(&self, key: &OnceKey) -> Result<Option<OnceEntry>, ReadError> {
        self.memory.once(key).await
    }
    async fn pruned_through(&self) -> Result<Seq, ReadError> {
        self.memory.pruned_through().await
    }
    async fn fenced(&self, records_max: usize) -> Result<Vec<Fenced>, ReadError> {
        self.memory.fenced(records_max).await
    }
    async fn used_bytes(&self) -> Result<u64, ReadError> {
        self.memory.used_bytes().await
    }
    async fn last_before(&self, time_us: i64) -> Result<Seq, ReadError> {
        self.memory.last_before(time_us).await
    }
}

#[tokio::test]
async fn who_is_behind_leaves_half_of_the_time_to_the_head_while_the_log_grows() {
    const EVENTS: u64 = 1_100;
    for grows in [0, 2] {
        let times = Arc::new(AtomicU64::new(0));
        let log = Arc::new(OnceLock::new());
        let pages = |memory| Growing {
            memory,
            log: log.clone(),
            times: times.clone(),
        };
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
