//! Order by key, with a receiver that fails at random.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering as Atomic},
    },
    time::Duration,
};

use nexus_core::{Attempt, Blocked, Command, Ordering, Principal, Reaction, ReactorError};
use parking_lot::Mutex;

use crate::support::{Scripted, World, until};

const KEYS: u64 = 100;
const EVENTS_PER_KEY: u64 = 100;
const EVENTS: u64 = KEYS * EVENTS_PER_KEY;
/// The receiver fails at one call of so many.
const FAILS_ONE_OF: u64 = 5;

/// A number that looks random and is the same each time, whatever runs when.
fn scrambled(seq: u64, attempt: u32) -> u64 {
    let mut bits = seq << 8 | u64::from(attempt);
    for _ in 0..3 {
        bits = (bits ^ (bits >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    bits ^ (bits >> 29)
}

/// Keys take turns: event 1 has key 0, event 2 has key 1 …
fn key_of(seq: u64) -> u64 {
    (seq - 1) % KEYS
}

async fn publish_all(world: &World) {
    for first in (1..=EVENTS).step_by(1_000) {
        let event = |seq: u64| {
            let key = key_of(seq);
            let payload = format!(r#"{{"transactionId":"key-{key}","amount":1,"payerId":"p"}}"#);
            world.payment(payload)
        };
        let command = Command {
            events: (first..first + 1_000).map(event).collect(),
            ..Default::default()
        };
        world
            .log
            .submit(&Principal::nexus(), command)
            .await
            .unwrap();
    }
}

/// What a receiver saw: events that were begun and are not over, and those that succeeded, in order.
#[derive(Default)]
struct Receiver {
    busy: HashSet<u64>,
    done: HashMap<u64, Vec<u64>>,
    failed: u64,
}

impl Receiver {
    fn done(&self) -> usize {
        self.done.values().map(Vec::len).sum()
    }
}

/// A target ordered by key whose calls fail as `fails` says.
fn ordered(
    on_blocked: Blocked,
    fails: impl Fn(&Attempt) -> bool + Send + Sync + 'static,
) -> (Scripted, Arc<Mutex<Receiver>>) {
    let receiver = Arc::new(Mutex::new(Receiver::default()));
    let seen = receiver.clone();
    let mut reactor = Scripted::new("ordered", move |attempt| {
        let (seq, fails) = (attempt.event.seq.get(), fails(&attempt));
        let (key, seen) = (key_of(seq), seen.clone());
        assert!(seen.lock().busy.insert(key), "two of key {key} at once");
        async move {
            // Others run meanwhile.
            for _ in 0..scrambled(seq, 0) % 4 {
                tokio::task::yield_now().await;
            }
            let mut seen = seen.lock();
            seen.busy.remove(&key);
            if fails {
                seen.failed += 1;
                return Err(ReactorError::retry("not now"));
            }
            seen.done.entry(key).or_default().push(seq);
            Ok(Reaction::nothing())
        }
    });
    reactor.options.ordering = Ordering::Key;
    reactor.options.on_blocked = on_blocked;
    reactor.options.concurrency = 32;
    reactor.options.retry.attempts = 1_000_000;
    reactor.options.retry.first = Duration::from_millis(1);
    (reactor, receiver)
}

#[tokio::test]
async fn order_is_kept_by_key_and_no_key_holds_up_another() {
    let world = World::new().await;
    let is_open = Arc::new(AtomicBool::new(false));
    let opened = is_open.clone();
    // The first event of key 7 fails until the switch is on; all others fail at random.
    let (reactor, receiver) = ordered(Blocked::Wait, move |attempt| {
        let seq = attempt.event.seq.get();
        match seq {
            8 => !opened.load(Atomic::SeqCst),
            seq => scrambled(seq, attempt.number).is_multiple_of(FAILS_ONE_OF),
        }
    });
    let engine = world.engine(vec![reactor.shared()]).await;
    publish_all(&world).await;
    let others = (EVENTS - EVENTS_PER_KEY) as usize;
    until("all other keys are done", || async {
        receiver.lock().done() == others
    })
    .await;
    assert!(
        !receiver.lock().done.contains_key(&7),
        "its first one fails"
    );
    let handle = engine.handle();
    let blocked = EVENTS_PER_KEY as usize;
    until("all of the blocked key wait", || async {
        handle.stats().pending == blocked
    })
    .await;
    is_open.store(true, Atomic::SeqCst);
    until("nothing waits", || async {
        handle.stats().pending == 0 && handle.lag()[0].position.get() == EVENTS
    })
    .await;
    engine.drain().await;
    assert!(world.deliveries().await.is_empty());
    let receiver = receiver.lock();
    for key in 0..KEYS {
        let in_order: Vec<u64> = (0..EVENTS_PER_KEY).map(|n| n * KEYS + key + 1).collect();
        assert_eq!(receiver.done[&key], in_order, "key {key}");
    }
    assert!(receiver.failed > EVENTS / FAILS_ONE_OF / 2, "it did fail");
}

#[tokio::test]
async fn parked_events_leave_the_order_of_the_others() {
    let world = World::new().await;
    // Half of the keys fail at random, half never.
    let (reactor, receiver) = ordered(Blocked::Park, |attempt| {
        let seq = attempt.event.seq.get();
        key_of(seq) < KEYS / 2 && scrambled(seq, attempt.number).is_multiple_of(FAILS_ONE_OF)
    });
    let engine = world.engine(vec![reactor.shared()]).await;
    publish_all(&world).await;
    let handle = engine.handle();
    until("each is done or parked", || async {
        let ended = receiver.lock().done() + handle.stats().dead_letters;
        handle.stats().pending == 0 && ended as u64 == EVENTS
    })
    .await;
    engine.drain().await;
    let mut parked: HashMap<u64, Vec<u64>> = HashMap::new();
    for record in world.deliveries().await {
        let body: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
        let seq = body["seq"].as_u64().unwrap();
        assert_eq!(&*record.state, "dead");
        assert_eq!(body["attempts"], 0, "#{seq} was never begun");
        let errors = body["errors"].as_array().unwrap();
        let why = errors.last().unwrap()["error"].as_str().unwrap();
        // It names the one that it is behind, which is an earlier one of its key.
        let behind: u64 = why
            .split_once("ordered/")
            .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next())
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("{why}"));
        assert!(
            behind < seq && key_of(behind) == key_of(seq),
            "#{seq}: {why}"
        );
        parked.entry(key_of(seq)).or_default().push(seq);
    }
    assert!(
        parked.values().map(Vec::len).sum::<usize>() > 0,
        "some were"
    );
    let receiver = receiver.lock();
    for key in 0..KEYS {
        let done = &receiver.done[&key];
        assert!(done.is_sorted_by(|a, b| a < b), "key {key}: {done:?}");
        let parked = parked.remove(&key).unwrap_or_default();
        let mut all: Vec<u64> = done.iter().chain(&parked).copied().collect();
        all.sort_unstable();
        let expected: Vec<u64> = (0..EVENTS_PER_KEY).map(|n| n * KEYS + key + 1).collect();
        assert_eq!(all, expected, "key {key}: each is done or parked, once");
        if key >= KEYS / 2 {
            assert!(parked.is_empty(), "key {key} never failed");
        }
    }
}
