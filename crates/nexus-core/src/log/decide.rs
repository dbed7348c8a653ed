//! What becomes of each request of a batch: a pure function over the state that the batch names.

use std::collections::HashMap;

use super::{
    Head, Loaded,
    plan::{Append, Plan, RecordWrite, Verdict},
};
use crate::{
    Change, Error, Fence, Guard, Key, Once, OnceEntry, OnceKey, OnceOf, Record, Seq, batch_hash,
};

/// Folds the requests in order over the loaded state: a later request sees the outcome of an earlier one.
///
/// Gives what to write, and a verdict for each request in the same order. A refused request leaves no
/// trace in the plan. `now_us` is the present time; the batch's own time is later than every batch's
/// before it, also when the clock goes back.
#[must_use]
pub fn decide(
    head: &Head,
    loaded: Loaded,
    appends: Vec<Append>,
    now_us: i64,
) -> (Plan, Vec<Verdict>) {
    let mut plan = Plan::nothing(*head);
    plan.head.time_us = now_us.max(head.time_us + 1);
    let mut state = State::new(loaded, plan.head.time_us);
    let mut verdicts = Vec::with_capacity(appends.len());
    for append in appends {
        verdicts.push(fold(&mut plan, &mut state, append, now_us));
    }
    if plan.events.is_empty() {
        plan.head = *head;
    } else {
        let leaves = plan.events.iter().map(|event| &event.leaf);
        plan.head.hash = batch_hash(
            &head.hash,
            head.last.next(),
            plan.head.last,
            plan.head.time_us,
            leaves,
        );
    }
    plan.once = state.new_once.into_values().collect();
    plan.records = state
        .slots
        .into_iter()
        .filter(|(_, slot)| slot.changed)
        .map(|(key, slot)| {
            slot.record
                .map_or(RecordWrite::Delete(key), RecordWrite::Put)
        })
        .collect();
    (plan, verdicts)
}

/// The state as the requests so far have left it.
struct State {
    slots: HashMap<Key, Slot>,
    once: HashMap<OnceKey, OnceEntry>,
    new_once: HashMap<OnceKey, OnceEntry>,
    /// A new record's revision is at least the batch's time. Batches take longer than a microsecond, so a
    /// revision is not used twice for a key, also when the record was deleted in between.
    revision_floor: u64,
}

struct Slot {
    record: Option<Record>,
    revision: u64,
    changed: bool,
}

impl State {
    fn new(loaded: Loaded, time_us: i64) -> Self {
        let slots = loaded
            .records
            .into_iter()
            .map(|(key, record)| {
                (
                    key,
                    Slot {
                        revision: record.revision,
                        record: Some(record),
                        changed: false,
                    },
                )
            })
            .collect();
        let revision_floor = u64::try_from(time_us).unwrap_or(0);
        Self {
            slots,
            once: loaded.once,
            new_once: HashMap::new(),
            revision_floor,
        }
    }

    fn record(&self, key: &Key) -> Option<&Record> {
        self.slots.get(key)?.record.as_ref()
    }

    fn used(&self, key: &OnceKey, now_us: i64) -> Option<&OnceEntry> {
        let entry = self.new_once.get(key).or_else(|| self.once.get(key))?;
        entry
            .expires_us
            .is_none_or(|expires_us| expires_us > now_us)
            .then_some(entry)
    }

    fn slot(&mut self, key: &Key) -> &mut Slot {
        self.slots.entry(key.clone()).or_insert(Slot {
            record: None,
            revision: 0,
            changed: false,
        })
    }

    /// Makes a change; gives the revision of the record if it was put.
    fn apply(&mut self, change: Change, first: Seq) -> Option<u64> {
        let floor = self.revision_floor;
        let slot = self.slot(change.key());
        match change {
            Change::Put {
                key,
                owner,
                scope,
                state,
                due_us,
                fence,
                body,
            } => {
                let fence = match fence {
                    Fence::Keep => slot.record.as_ref().and_then(|record| record.fence),
                    Fence::Event(n) => Some(first.plus(n as u64)),
                };
                slot.revision = floor.max(slot.revision + 1);
                let revision = slot.revision;
                slot.record = Some(Record {
                    key,
                    owner,
                    scope,
                    state,
                    due_us,
                    revision,
                    fence,
                    body,
                });
                slot.changed = true;
                Some(revision)
            }
            Change::Touch { due_us, .. } => {
                if let Some(record) = &mut slot.record {
                    record.due_us = due_us;
                    slot.changed = true;
                }
                None
            }
            Change::Delete(_) => {
                slot.changed |= slot.record.take().is_some();
                None
            }
        }
    }
}

fn fold(plan: &mut Plan, state: &mut State, append: Append, now_us: i64) -> Verdict {
    let Append {
        events,
        once,
        guards,
        changes,
    } = append;
    if let Some(verdict) = once.as_ref().and_then(|once| replayed(state, once, now_us)) {
        return verdict;
    }
    if let Some(guard) = guards
        .into_iter()
        .find(|guard| !holds(guard, plan.head.last, state, now_us))
    {
        let found = guard
            .key()
            .and_then(|key| state.record(key))
            .cloned()
            .map(Box::new);
        return Verdict::Refused(Error::Refused { guard, found });
    }
    let first = plan.head.last.next();
    let range = (!events.is_empty()).then(|| (first, plan.head.last.plus(events.len() as u64)));
    if let Some((_, last)) = range {
        plan.head.last = last;
    }
    plan.events.extend(events);
    let revisions = changes
        .into_iter()
        .filter_map(|change| state.apply(change, first));
    let revision = revisions.last().unwrap_or_default();
    if let Some(once) = once {
        let (fingerprint, expires_us) = match once.of {
            OnceOf::Fact => (None, None),
            OnceOf::Request {
                fingerprint,
                expires_us,
            } => (Some(fingerprint), Some(expires_us)),
        };
        let key = once.stored_key();
        state.new_once.insert(
            key,
            OnceEntry {
                key,
                fingerprint,
                range,
                expires_us,
            },
        );
    }
    Verdict::Stored { range, revision }
}

/// What a request comes to whose key was used before.
fn replayed(state: &State, once: &Once, now_us: i64) -> Option<Verdict> {
    let entry = state.used(&once.stored_key(), now_us)?;
    let same = match &once.of {
        OnceOf::Fact => true,
        OnceOf::Request { fingerprint, .. } => entry.fingerprint.as_ref() == Some(fingerprint),
    };
    Some(if same {
        Verdict::Replayed { range: entry.range }
    } else {
        Verdict::Refused(Error::IdempotencyMismatch)
    })
}

fn holds(guard: &Guard, last: Seq, state: &State, now_us: i64) -> bool {
    match guard {
        Guard::LastSeq(seq) => *seq == last,
        Guard::Absent(key) => state.record(key).is_none(),
        Guard::AbsentOrDue(key) => state
            .record(key)
            .is_none_or(|record| record.due_us.is_some_and(|due_us| due_us <= now_us)),
        Guard::Revision(key, revision) => state
            .record(key)
            .is_some_and(|record| record.revision == *revision),
        Guard::Fence(key, seq) => state
            .record(key)
            .is_some_and(|record| record.fence == Some(*seq)),
    }
}

#[cfg(test)]
mod tests;
