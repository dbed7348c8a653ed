//! The edge's own loop: hears of commits and of changed rights, and tells those whom they concern.

use std::sync::Arc;

use nexus_core::{Log, Seq};

use crate::handle::Shared;

/// At most about this many events are looked at before others may run.
const EVENTS_AT_ONCE: usize = 4_096;

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
