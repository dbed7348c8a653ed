//! The edge's own loop: hears of commits and of changed rights, and tells those whom they concern.

use std::{sync::Arc, time::Duration};

use nexus_core::{Log, Seq};
use tokio::time::MissedTickBehavior;

use crate::handle::Shared;

/// At most about this many events are looked at before others may run.
const EVENTS_AT_ONCE: usize = 4_096;

/// Connections are told the time in so many parts, so that not all are busy with it at once.
const PARTS: u32 = 16;

const PART_MIN: Duration = Duration::from_millis(1);

/// Announces what is committed, for ever; the edge ends it.
pub(crate) async fn announce(shared: Arc<Shared>) {
    let log = &shared.log;
    let mut heads = log.head_changes();
    let mut seen = shared.groups.announced();
    loop {
        let head = *heads.borrow_and_update();
        while seen < head {
            seen = announce_after(&shared, log, seen, head);
            tokio::task::yield_now().await;
        }
        if heads.changed().await.is_err() {
            return;
        }
    }
}

fn announce_after(shared: &Shared, log: &Log, seen: Seq, head: Seq) -> Seq {
    let batches = log.recent_after(seen, EVENTS_AT_ONCE).unwrap_or_default();
    let Some(last) = batches.last() else {
        shared.groups.announce_unseen(head);
        return head;
    };
    for batch in &batches {
        shared.groups.announce(batch);
    }
    last.last
}

/// Has connections ask again whenever the rules change.
pub(crate) async fn recheck(shared: Arc<Shared>) {
    let mut changes = shared.auth.changes();
    while changes.changed().await.is_ok() {
        shared.recheck_all();
    }
}

/// Has connections tell their clients how far they are, each once in a while, as long as the log grows.
pub(crate) async fn tell_positions(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval((shared.options.position_every / PARTS).max(PART_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut told = [shared.groups.announced(); PARTS as usize];
    for part in (0..PARTS).cycle() {
        ticks.tick().await;
        let announced = shared.groups.announced();
        let Some(told) = told.get_mut(part as usize) else {
            continue;
        };
        if std::mem::replace(told, announced) < announced {
            shared.tell_positions(part.into(), PARTS.into());
        }
    }
}
