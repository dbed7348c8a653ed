//! The deliveries of a target that wait, by when they are due.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A delivery that waits.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// When the next attempt is due, in microseconds since 1970.
    pub(crate) due_us: i64,
    /// When it became a delivery, in microseconds since 1970.
    pub(crate) created_us: i64,
    /// The ordering key that it blocks.
    pub(crate) key: Option<Arc<str>>,
    /// What happens only once.
    pub(crate) once: Option<Arc<str>>,
    /// Whether it may have ended a process: such deliveries run one at a time.
    pub(crate) is_suspect: bool,
}

/// All deliveries that wait or run again; the timetable holds those whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    entries: BTreeMap<u64, Entry>,
    due: BTreeSet<(i64, u64)>,
    due_suspects: BTreeSet<(i64, u64)>,
}

impl Waiting {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When the oldest became a delivery.
    pub(crate) fn oldest_us(&self) -> Option<i64> {
        self.entries.values().next().map(|entry| entry.created_us)
    }

    /// The delivery of an event.
    pub(crate) fn get(&self, seq: u64) -> Option<&Entry> {
        self.entries.get(&seq)
    }

    /// Adds a delivery, or changes it. It is not on the timetable before [`Waiting::arm`].
    pub(crate) fn put(&mut self, seq: u64, entry: Entry) {
        self.disarm(seq);
        self.entries.insert(seq, entry);
    }

    /// Puts a delivery on the timetable: its turn has come.
    pub(crate) fn arm(&mut self, seq: u64) {
        if let Some(entry) = self.entries.get(&seq) {
            let table = if entry.is_suspect {
                &mut self.due_suspects
            } else {
                &mut self.due
            };
            table.insert((entry.due_us, seq));
        }
    }

    /// Takes a delivery off the timetable: it is not its turn any more.
    pub(crate) fn disarm(&mut self, seq: u64) {
        if let Some(entry) = self.entries.get(&seq) {
            self.due.remove(&(entry.due_us, seq));
            self.due_suspects.remove(&(entry.due_us, seq));
        }
    }

    /// The delivery is settled.
    pub(crate) fn remove(&mut self, seq: u64) -> Option<Entry> {
        self.disarm(seq);
        self.entries.remove(&seq)
    }

    /// Takes what is due off the timetable, earliest first; suspects only if none is running.
    pub(crate) fn pop_due(&mut self, now_us: i64, with_suspects: bool) -> Option<u64> {
        let tables = [
            Some(&mut self.due),
            with_suspects.then_some(&mut self.due_suspects),
        ];
        let table = tables
            .into_iter()
            .flatten()
            .filter(|table| table.first().is_some_and(|(due_us, _)| *due_us <= now_us))
            .min_by_key(|table| table.first().copied())?;
        table.pop_first().map(|(_, seq)| seq)
    }

    /// When something is due next.
    pub(crate) fn next_due_us(&self, with_suspects: bool) -> Option<i64> {
        let suspect = self.due_suspects.first().filter(|_| with_suspects);
        self.due
            .first()
            .into_iter()
            .chain(suspect)
            .map(|(due_us, _)| *due_us)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(due_us: i64, is_suspect: bool) -> Entry {
        Entry {
            due_us,
            created_us: due_us,
            key: None,
            once: None,
            is_suspect,
        }
    }

    #[test]
    fn gives_what_is_due_earliest_first() {
        let mut waiting = Waiting::default();
        for (seq, due_us) in [(1, 30), (2, 10), (3, 20)] {
            waiting.put(seq, entry(due_us, false));
            waiting.arm(seq);
        }
        waiting.put(4, entry(5, false));
        assert_eq!(
            waiting.next_due_us(true),
            Some(10),
            "what is not armed is not due"
        );
        assert_eq!(waiting.pop_due(9, true), None);
        assert_eq!(waiting.pop_due(25, true), Some(2));
        assert_eq!(waiting.pop_due(25, true), Some(3));
        assert_eq!(waiting.pop_due(25, true), None);
        assert_eq!(waiting.len(), 4);
        assert_eq!(waiting.oldest_us(), Some(30));
    }

    #[test]
    fn suspects_wait_for_each_other() {
        let mut waiting = Waiting::default();
        waiting.put(1, entry(10, true));
        waiting.arm(1);
        assert_eq!(waiting.pop_due(10, false), None);
        assert_eq!(waiting.next_due_us(false), None);
        assert_eq!(waiting.pop_due(10, true), Some(1));
        assert!(waiting.remove(1).is_some());
        assert_eq!(waiting.len(), 0);
    }
}
