//! Events at a steady rate, and what became of each.

use std::time::Duration;

use nexus_client::{Client, Pending, Publish};
use serde_json::json;
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::TOPIC;

const TICK: Duration = Duration::from_millis(10);
/// One in so many matches [`FILTER`].
const PARTS: u64 = 4;
/// What the readers with a filter ask for.
pub(super) const FILTER: &str = "payload.part == 0";

/// Publishes until it is stopped.
pub(super) struct Load {
    stop: CancellationToken,
    task: JoinHandle<Published>,
}

/// The numbers of what was published, in order.
pub(super) struct Published {
    pub(super) all: Vec<u64>,
    /// Those that match [`FILTER`].
    pub(super) filtered: Vec<u64>,
}

/// The `n`-th event.
pub(super) fn event(n: u64) -> Publish {
    let payload = json!({ "proposalId": format!("proposal-{n}"), "n": n, "part": n % PARTS });
    Publish::new(TOPIC, &payload)
}

impl Load {
    pub(super) fn start(client: &Client, per_second: u64) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(publish(client.clone(), per_second, stop.clone()));
        Self { stop, task }
    }

    /// Stops, and waits until each event is answered.
    pub(super) async fn stop(self) -> Published {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

async fn publish(client: Client, per_second: u64, stop: CancellationToken) -> Published {
    let publisher = client.publisher();
    let mut ticks = tokio::time::interval(TICK);
    // What a busy machine kept back is caught up.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut pending: Vec<(u64, Pending)> = Vec::new();
    let (mut n, mut owed_thousandths) = (0, 0);
    while !stop.is_cancelled() {
        ticks.tick().await;
        owed_thousandths += per_second * u64::try_from(TICK.as_millis()).unwrap();
        while owed_thousandths >= 1_000 {
            owed_thousandths -= 1_000;
            n += 1;
            pending.push((n, publisher.send(event(n)).await.unwrap()));
        }
    }
    let mut stored = Vec::with_capacity(pending.len());
    for (n, pending) in pending {
        stored.push((pending.await.unwrap().position.seq.get(), n));
    }
    stored.sort_unstable();
    Published {
        all: stored.iter().map(|(seq, _)| *seq).collect(),
        filtered: stored
            .iter()
            .filter(|(_, n)| n % PARTS == 0)
            .map(|(seq, _)| *seq)
            .collect(),
    }
}
