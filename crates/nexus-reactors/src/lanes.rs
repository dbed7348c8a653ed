//! Which events wait for which: lanes by ordering key, and keys that must not run twice at a time.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
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

/// What may run now that a lane is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// An event that waited in memory.
    Event(u64),
    /// A delivery, when it is due.
    Delivery(u64),
}

/// The lanes of a target with an order: one for each key that runs, waits or is blocked.
#[derive(Debug, Default)]
pub(crate) struct Lanes(HashMap<Arc<str>, Lane>);

#[derive(Debug, Default)]
struct Lane {
    running: bool,
    behind: VecDeque<u64>,
    /// The deliveries, each with whether an attempt at it has failed.
    deliveries: BTreeMap<u64, bool>,
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

    /// An event has become a delivery. Gives those that waited behind it in memory: they cannot stay
    /// there.
    pub(crate) fn block(&mut self, key: &Arc<str>, seq: u64, has_failed: bool) -> Vec<u64> {
        let lane = self.0.entry(key.clone()).or_default();
        lane.deliveries.insert(seq, has_failed);
        lane.behind.drain(..).collect()
    }

    /// The delivery that holds up a key because an attempt at it failed.
    pub(crate) fn failed(&self, key: &str) -> Option<u64> {
        let (seq, has_failed) = self.0.get(key)?.deliveries.first_key_value()?;
        has_failed.then_some(*seq)
    }

    /// The delivery that may run next under a key, if nothing runs.
    pub(crate) fn turn(&self, key: &str) -> Option<u64> {
        let lane = self.0.get(key).filter(|lane| !lane.running)?;
        lane.deliveries.keys().next().copied()
    }

    /// A delivery runs.
    pub(crate) fn begin(&mut self, key: &str) {
        if let Some(lane) = self.0.get_mut(key) {
            lane.running = true;
        }
    }

    /// A delivery is settled.
    pub(crate) fn settle(&mut self, key: &str, seq: u64) {
        if let Some(lane) = self.0.get_mut(key) {
            lane.deliveries.remove(&seq);
        }
    }

    /// What ran under a key has ended. Gives what may run now.
    pub(crate) fn leave(&mut self, key: &str) -> Option<Turn> {
        let lane = self.0.get_mut(key)?;
        lane.running = false;
        if let Some(head) = lane.deliveries.keys().next() {
            return Some(Turn::Delivery(*head));
        }
        if let Some(next) = lane.behind.pop_front() {
            lane.running = true;
            return Some(Turn::Event(next));
        }
        self.0.remove(key);
        None
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
        assert_eq!(lanes.leave("k"), Some(Turn::Event(2)));
        assert_eq!(lanes.leave("k"), None);
        assert!(lanes.is_free("k"));
    }

    #[test]
    fn a_failure_blocks_those_behind_it_until_it_is_settled() {
        let mut lanes = Lanes::default();
        let key: Arc<str> = "k".into();
        lanes.enter(&key, 1);
        lanes.enter(&key, 2);
        assert_eq!(lanes.block(&key, 1, true), [2]);
        assert!(lanes.block(&key, 2, false).is_empty());
        assert_eq!(lanes.failed("k"), Some(1));
        assert_eq!(lanes.turn("k"), None, "the first is still in its lane");
        assert_eq!(lanes.leave("k"), Some(Turn::Delivery(1)));
        assert_eq!(lanes.enter(&key, 3), Entry::Blocked);
        assert!(lanes.block(&key, 3, false).is_empty());
        for seq in 1..=3 {
            assert_eq!(lanes.turn("k"), Some(seq));
            lanes.begin("k");
            assert_eq!(lanes.turn("k"), None, "one at a time");
            lanes.settle("k", seq);
            let next = (seq < 3).then_some(Turn::Delivery(seq + 1));
            assert_eq!(lanes.leave("k"), next);
            assert_eq!(lanes.failed("k"), None);
        }
        assert!(lanes.is_free("k"));
    }

    #[test]
    fn what_comes_back_has_its_turn_when_nothing_runs() {
        let mut lanes = Lanes::default();
        let key: Arc<str> = "k".into();
        lanes.enter(&key, 10);
        lanes.enter(&key, 11);
        assert_eq!(lanes.block(&key, 3, false), [11]);
        lanes.block(&key, 11, false);
        assert_eq!(lanes.turn("k"), None, "the tenth runs");
        assert_eq!(lanes.leave("k"), Some(Turn::Delivery(3)));
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
