//! Who reads with which durable cursor: one at a time, and the newest wins.

use std::{collections::HashMap, sync::Arc};

use nexus_core::Source;
use parking_lot::Mutex;

use crate::signal::{Notice, Signal};

/// The durable cursors that somebody reads with, over all connections of an edge.
#[derive(Debug, Default)]
pub(crate) struct Consumers(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    holders: HashMap<CursorName, Holder>,
    leases: u64,
}

/// A durable cursor: whose it is, and what they call it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CursorName {
    pub(crate) owner: Source,
    pub(crate) name: Arc<str>,
}

#[derive(Debug)]
struct Holder {
    lease: u64,
    signal: Arc<Signal>,
}

/// The right to read with a durable cursor, until it is dropped or somebody else takes it.
#[derive(Debug)]
pub(crate) struct Lease {
    consumers: Arc<Consumers>,
    pub(crate) cursor: CursorName,
    lease: u64,
}

impl Consumers {
    /// Takes a durable cursor, from whoever has it: they are told.
    pub(crate) fn take(self: &Arc<Self>, cursor: CursorName, signal: Arc<Signal>) -> Lease {
        let mut held = self.0.lock();
        held.leases += 1;
        let lease = held.leases;
        let holder = Holder { lease, signal };
        if let Some(before) = held.holders.insert(cursor.clone(), holder) {
            before.signal.notify(Notice::TakenOver);
        }
        Lease {
            consumers: self.clone(),
            cursor,
            lease,
        }
    }
}

impl Lease {
    /// Whether nobody else took it meanwhile.
    pub(crate) fn is_held(&self) -> bool {
        let held = self.consumers.0.lock();
        let holder = held.holders.get(&self.cursor);
        holder.is_some_and(|holder| holder.lease == self.lease)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.consumers.0.lock();
        let holder = held.holders.get(&self.cursor);
        if holder.is_some_and(|holder| holder.lease == self.lease) {
            held.holders.remove(&self.cursor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_has_it_until_it_goes() {
        let consumers = Arc::new(Consumers::default());
        let cursor = |owner| CursorName {
            owner: Source::node(owner),
            name: "orders".into(),
        };
        let (one, two) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
        let first = consumers.take(cursor("a"), one.clone());
        let other = consumers.take(cursor("b"), one.clone());
        assert!(first.is_held() && !one.take(Notice::TakenOver));
        let second = consumers.take(cursor("a"), two.clone());
        assert!(!first.is_held() && second.is_held() && other.is_held());
        assert!(one.take(Notice::TakenOver) && !two.take(Notice::TakenOver));
        drop(first);
        assert!(second.is_held(), "what is not held is not given up");
        drop(second);
        drop(other);
        assert!(consumers.0.lock().holders.is_empty());
    }
}
