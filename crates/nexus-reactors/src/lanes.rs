//! Which events wait for which: lanes by ordering key, and keys that must not run twice at a time.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

/// What becomes of an event that comes to its lane.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It may run.
    Run,
    /// It waits in memory for the one that runs.
    Behind,
    /// It waits for a delivery: it becomes one itself.
    Blocked,
}

/// The lanes of a target with an order: one for each key that runs, waits or is blocked.
#[derive(Debug, Default)]
pub(crate) struct Lanes(HashMap<Arc<str>, Lane>);

#[derive(Debug, Default)]
struct Lane {
    running: bool,
    behind: VecDeque<u64>,
    deliveries: BTreeSet<u64>,
}

impl Lanes {
    /// A new event comes.
    pub(crate) fn enter(&mut self, key: &Arc<str>, seq: u64) -> Entry {
        let lane = self.0.entry(key.clone()).or_default();
        if !lane.deliveries.is_empty() {
            return Entry::Blocked;
        }
        if lane.running {
            lane.behind.push_back(seq);
            return Entry::Behind;
        }
        lane.running = true;
        Entry::Run
    }

    /// Whether nothing runs or waits under the key.
    pub(crate) fn is_free(&self, key: &str) -> bool {
        !self.0.contains_key(key)
    }

    /// An event has become a delivery. Gives those that waited behind it in memory: they have to
    /// become deliveries too.
    pub(crate) fn block(&mut self, key: &Arc<str>, seq: u64) -> Vec<u64> {
        let lane = self.0.entry(key.clone()).or_default();
        let behind: Vec<u64> = lane.behind.drain(..).collect();
        lane.deliveries.insert(seq);
        lane.deliveries.extend(&behind);
        behind
    }

    /// The delivery that may run next under a key.
    pub(crate) fn head(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.deliveries.first().copied()
    }

    /// The running event of a lane has ended. Gives the event that may run now.
    pub(crate) fn leave(&mut self, key: &str) -> Option<u64> {
        let lane = self.0.get_mut(key)?;
        lane.running = false;
        if let Some(next) = lane.behind.pop_front() {
            lane.running = true;
            return Some(next);
        }
        self.forget_if_idle(key);
        None
    }

    /// A delivery is settled. Gives the delivery that may run now.
    pub(crate) fn unblock(&mut self, key: &str, seq: u64) -> Option<u64> {
        let lane = self.0.get_mut(key)?;
        lane.deliveries.remove(&seq);
        let head = lane.deliveries.first().copied();
        self.forget_if_idle(key);
        head
    }

    fn forget_if_idle(&mut self, key: &str) {
        let idle = self.0.get(key).is_some_and(|lane| {
            !lane.running && lane.behind.is_empty() && lane.deliveries.is_empty()
        });
        if idle {
            self.0.remove(key);
        }
    }
}

/// The `once` keys that are running, each with the events that wait for it.
#[derive(Debug, Default)]
pub(crate) struct OnceKeys(HashMap<Arc<str>, VecDeque<u64>>);

impl OnceKeys {
    /// Takes the key; `false` when it is taken, and the event then waits for it.
    pub(crate) fn enter(&mut self, key: &Arc<str>, seq: u64) -> bool {
        if let Some(waiting) = self.0.get_mut(key) {
            waiting.push_back(seq);
            return false;
        }
        self.0.insert(key.clone(), VecDeque::new());
        true
    }

    /// Gives the key back, to the next event that waits for it if there is one.
    pub(crate) fn leave(&mut self, key: &str) -> Option<u64> {
        let next = self.0.get_mut(key)?.pop_front();
        if next.is_none() {
            self.0.remove(key);
        }
        next
    }

    /// An event no longer waits.
    pub(crate) fn give_up(&mut self, key: &str, seq: u64) {
        if let Some(waiting) = self.0.get_mut(key) {
            waiting.retain(|waiting| *waiting != seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_runs_one_after_the_other() {
        let mut lanes = Lanes::default();
        let key: Arc<str> = "k".into();
        assert_eq!(lanes.enter(&key, 1), Entry::Run);
        assert_eq!(lanes.enter(&key, 2), Entry::Behind);
        assert_eq!(lanes.enter(&"other".into(), 3), Entry::Run);
        assert_eq!(lanes.leave("k"), Some(2));
        assert_eq!(lanes.leave("k"), None);
        assert!(lanes.is_free("k"));
    }

    #[test]
    fn a_failure_blocks_those_behind_it_until_it_is_settled() {
        let mut lanes = Lanes::default();
        let key: Arc<str> = "k".into();
        lanes.enter(&key, 1);
        lanes.enter(&key, 2);
        assert_eq!(lanes.block(&key, 1), [2]);
        assert_eq!(lanes.leave("k"), None);
        assert_eq!(lanes.enter(&key, 3), Entry::Blocked);
        assert!(lanes.block(&key, 3).is_empty());
        assert_eq!(lanes.head("k"), Some(1));
        assert_eq!(lanes.unblock("k", 1), Some(2));
        assert_eq!(lanes.unblock("k", 2), Some(3));
        assert_eq!(lanes.unblock("k", 3), None);
        assert!(lanes.is_free("k"));
    }

    #[test]
    fn a_once_key_goes_from_hand_to_hand() {
        let mut keys = OnceKeys::default();
        let key: Arc<str> = "mint:1".into();
        assert!(keys.enter(&key, 1));
        assert!(!keys.enter(&key, 2));
        assert!(!keys.enter(&key, 3));
        keys.give_up(&key, 2);
        assert_eq!(keys.leave(&key), Some(3));
        assert_eq!(keys.leave(&key), None);
        assert!(keys.enter(&key, 4));
    }
}
