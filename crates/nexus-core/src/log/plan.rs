//! What a batch of requests comes to: the plan that a backend writes, and a verdict for each request.

use std::sync::Arc;

use super::Head;
use crate::{Change, Error, Event, Guard, Key, Once, OnceEntry, Record, Seq, Validated};

/// A request to the log: events, conditions and changes that are kept together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// The events; may be empty.
    pub events: Vec<Validated>,
    /// What happens only once.
    pub once: Option<Once>,
    /// What has to be true.
    pub guards: Vec<Guard>,
    /// What changes with the events.
    pub changes: Vec<Change>,
}

/// What became of one request.
#[derive(Debug)]
pub enum Verdict {
    /// It is kept.
    Stored {
        /// Its events; nothing if it had none.
        range: Option<(Seq, Seq)>,
        /// The revision of the last record that it put; zero if it put none.
        revision: u64,
    },
    /// The same was kept before.
    Replayed {
        /// The events of the first time; nothing if it had none.
        range: Option<(Seq, Seq)>,
    },
    /// It is refused, and nothing of it is kept.
    Refused(Error),
}

/// How one record ends up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordWrite {
    /// It is there, like this.
    Put(Record),
    /// It is gone.
    Delete(Key),
}

/// All that a batch writes, in one transaction.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the log ended.
    pub previous: Head,
    /// Where it ends after the plan; equal to `previous` if there are no events.
    pub head: Head,
    /// The events, numbered from `previous.last + 1` on.
    pub events: Vec<Validated>,
    /// New idempotency keys. A key that had expired is replaced.
    pub once: Vec<OnceEntry>,
    /// How each record that changes ends up; no key twice.
    pub records: Vec<RecordWrite>,
}

impl Plan {
    /// A plan that writes nothing.
    #[must_use]
    pub fn nothing(head: Head) -> Self {
        Self {
            previous: head,
            head,
            events: Vec::new(),
            once: Vec::new(),
            records: Vec::new(),
        }
    }

    /// The first and last number of its events.
    #[must_use]
    pub fn range(&self) -> Option<(Seq, Seq)> {
        (!self.events.is_empty()).then(|| (self.previous.last.next(), self.head.last))
    }

    /// Whether it writes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.once.is_empty() && self.records.is_empty()
    }
}

/// The events of one commit, as readers share them.
#[derive(Debug)]
pub struct Batch {
    /// The first number.
    pub first: Seq,
    /// The last number.
    pub last: Seq,
    /// The events, without gaps.
    pub events: Vec<Arc<Event>>,
}

impl Batch {
    /// The events after a sequence.
    #[must_use]
    pub fn after(&self, seq: Seq) -> &[Arc<Event>] {
        let skipped = seq.get().saturating_sub(self.first.previous().get());
        &self.events[usize::try_from(skipped)
            .unwrap_or(usize::MAX)
            .min(self.events.len())..]
    }
}
