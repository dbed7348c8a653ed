//! A storm of disconnects: each client loses its connection again and again, in every way, while events
//! arrive all the time.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use nexus_client::{Start, State, Subscription, Transport};
use nexus_core::Random;
use tokio::{sync::watch, time::timeout};

use super::{
    TOPIC, client, daemon,
    line::{Fault, Line},
    load::{FILTER, Load},
    next_seq,
};
use crate::{
    crash::{is_deep, seed, stop},
    support::PATIENCE,
};

struct Size {
    clients: usize,
    disconnects: usize,
    events_per_second: u64,
    /// The longest time that a connection is left alone.
    calm_ms: u64,
}

/// What a client reads with.
#[derive(Debug, Clone, Copy)]
struct Kind {
    transport: Transport,
    filtered: bool,
    batch: bool,
}

const KINDS: [Kind; 6] = [
    kind(Transport::WebSocket, false, false),
    kind(Transport::WebSocket, true, false),
    kind(Transport::Sse, false, false),
    kind(Transport::Sse, true, false),
    kind(Transport::WebSocket, false, true),
    kind(Transport::WebSocket, true, true),
];

const fn kind(transport: Transport, filtered: bool, batch: bool) -> Kind {
    Kind {
        transport,
        filtered,
        batch,
    }
}

/// Every client gets exactly its events, each once and in order, and is told of no gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_disconnected_again_and_again_gets_each_event_once_in_order() {
    let size = if is_deep() {
        Size {
            clients: 200,
            disconnects: 50,
            events_per_second: 1_000,
            calm_ms: 400,
        }
    } else {
        Size {
            clients: 24,
            disconnects: 6,
            events_per_second: 300,
            calm_ms: 150,
        }
    };
    let daemon = daemon().start();
    let publishing = client(daemon.address()).build().unwrap();
    let random = Random::seeded(seed());
    let (last, ends) = watch::channel(None);
    let (mut readers, mut faults, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..size.clients {
        let kind = KINDS[number % KINDS.len()];
        let line = Arc::new(Line::start(daemon.address()).await);
        let client = client(line.address).random(random.clone()).build().unwrap();
        let subscribe = client.subscribe([TOPIC]).transport(kind.transport);
        let subscribe = subscribe.from(Start::Earliest).batch(kind.batch);
        let subscribe = if kind.filtered {
            subscribe.filter(FILTER)
        } else {
            subscribe
        };
        let stream = subscribe.open().unwrap();
        lines.push(line.clone());
        let storm = Storm {
            line,
            states: stream.states(),
            random: random.clone(),
            calm_ms: size.calm_ms,
        };
        faults.push(tokio::spawn(storm.rage(size.disconnects)));
        readers.push((kind, tokio::spawn(follow(stream, kind, ends.clone()))));
    }
    let started = Instant::now();
    let load = Load::start(&publishing, size.events_per_second);
    let mut made = BTreeMap::<String, usize>::new();
    for faults in faults {
        for fault in faults.await.unwrap() {
            *made.entry(format!("{fault:?}")).or_default() += 1;
        }
    }
    let raged = started.elapsed();
    let published = load.stop().await;
    let ends = (
        published.all.last().copied(),
        published.filtered.last().copied(),
    );
    last.send_replace(Some(ends));
    let mut deliveries = 0;
    for (kind, reader) in readers {
        let seqs = reader.await.unwrap();
        let expected = if kind.filtered {
            &published.filtered
        } else {
            &published.all
        };
        assert!(
            &seqs == expected,
            "{kind:?}: {}",
            difference(&seqs, expected)
        );
        deliveries += seqs.len();
    }
    println!(
        "{} clients lost {} connections {made:?} in {:.1} s; {} events, {deliveries} deliveries, \
         each once and in order, 0 gaps",
        size.clients,
        made.values().sum::<usize>(),
        raged.as_secs_f64(),
        published.all.len(),
    );
    assert_eq!(
        made.values().sum::<usize>(),
        size.clients * size.disconnects
    );
    assert_eq!(made.len(), 3, "every way of breaking was there");
    stop(daemon);
}

/// What breaks one client's connections.
struct Storm {
    line: Arc<Line>,
    states: watch::Receiver<State>,
    random: Random,
    calm_ms: u64,
}

impl Storm {
    /// Breaks so many connections that stood; how each broke.
    async fn rage(mut self, disconnects: usize) -> Vec<Fault> {
        let mut made = Vec::with_capacity(disconnects);
        while made.len() < disconnects {
            let live = self.states.wait_for(|state| *state == State::Live);
            let live = timeout(PATIENCE, live).await;
            live.expect("the client comes back").unwrap();
            // Any moment is as good as any other: this wait chooses one.
            let calm = Duration::from_millis(self.random.number() % self.calm_ms);
            tokio::time::sleep(calm).await;
            let fault = match self.random.number() % 3 {
                0 => Fault::Closed,
                1 => Fault::Reset,
                _ => Fault::HalfOpen,
            };
            if self.line.fault(fault) {
                made.push(fault);
            }
        }
        made
    }
}

/// Reads through the last event of its kind, once that is known.
async fn follow(
    mut stream: Subscription,
    kind: Kind,
    mut ends: watch::Receiver<Option<(Option<u64>, Option<u64>)>>,
) -> Vec<u64> {
    let mut seqs = Vec::new();
    loop {
        let end = *ends.borrow_and_update();
        let end = end.map(|(all, filtered)| if kind.filtered { filtered } else { all });
        if end.is_some_and(|end| end <= seqs.last().copied()) {
            return seqs;
        }
        tokio::select! {
            seq = next_seq(&mut stream) => seqs.push(seq),
            _ = ends.changed(), if end.is_none() => {}
        }
    }
}

/// Where two lists begin to differ.
fn difference(found: &[u64], expected: &[u64]) -> String {
    let at = found
        .iter()
        .zip(expected)
        .position(|(one, other)| one != other);
    let at = at.unwrap_or(found.len().min(expected.len()));
    let window = |list: &[u64]| {
        format!(
            "{:?}",
            list.iter()
                .skip(at.saturating_sub(2))
                .take(6)
                .collect::<Vec<_>>()
        )
    };
    format!(
        "at {at} of {}: {} instead of {}",
        expected.len(),
        window(found),
        window(expected)
    )
}
