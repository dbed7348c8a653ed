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
    /// A new record's revision is at least the batch's time, and times never repeat: so a revision is
    /// never used twice for a key, also when the record was deleted in between.
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
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{Epoch, Family, Source, Topic, Validated};

    const WORK: Family = Family::new("work");

    fn event(n: u128) -> Validated {
        let topic = Topic::parse("a.b").unwrap();
        Validated::for_test(
            Uuid::from_u128(n),
            topic,
            Source::nexus(),
            Bytes::from_static(b"{}"),
        )
    }

    fn head() -> Head {
        Head {
            last: Seq::new(10),
            time_us: 1_000,
            ..Head::empty(Epoch::new(1))
        }
    }

    fn claim(key: &Key, due_us: i64) -> Append {
        let mut change = Change::put(key.clone(), "{}");
        if let Change::Put {
            fence, due_us: due, ..
        } = &mut change
        {
            *fence = Fence::Event(0);
            *due = Some(due_us);
        }
        Append {
            events: vec![event(1)],
            guards: vec![Guard::AbsentOrDue(key.clone())],
            changes: vec![change],
            once: None,
        }
    }

    #[test]
    fn numbers_without_gaps_and_refused_requests_leave_no_trace() {
        let refused = Append {
            events: vec![event(1)],
            guards: vec![Guard::LastSeq(Seq::new(99))],
            ..Append::default()
        };
        let stored = |n| Append {
            events: vec![event(n), event(n + 1)],
            ..Append::default()
        };
        let (plan, verdicts) = decide(
            &head(),
            Loaded::default(),
            vec![stored(1), refused, stored(3)],
            2_000,
        );
        assert_eq!(plan.range(), Some((Seq::new(11), Seq::new(14))));
        assert!(matches!(
            verdicts[1],
            Verdict::Refused(Error::Refused { .. })
        ));
        let Verdict::Stored { range, .. } = verdicts[2] else {
            panic!()
        };
        assert_eq!(range, Some((Seq::new(13), Seq::new(14))));
        assert_eq!(plan.events.len(), 4);
    }

    #[test]
    fn time_never_goes_back() {
        let append = Append {
            events: vec![event(1)],
            ..Append::default()
        };
        let (plan, _) = decide(&head(), Loaded::default(), vec![append], 5);
        assert_eq!(plan.head.time_us, 1_001);
    }

    #[test]
    fn one_claim_wins_and_its_token_is_the_events_number() {
        let key = Key::new(WORK, "w");
        let (plan, verdicts) = decide(
            &head(),
            Loaded::default(),
            vec![claim(&key, 5_000), claim(&key, 5_000)],
            2_000,
        );
        assert!(matches!(verdicts[0], Verdict::Stored { .. }));
        let Verdict::Refused(Error::Refused {
            found: Some(found), ..
        }) = &verdicts[1]
        else {
            panic!()
        };
        assert_eq!(found.fence, Some(Seq::new(11)));
        let [RecordWrite::Put(record)] = &plan.records[..] else {
            panic!("{:?}", plan.records)
        };
        assert_eq!(record.fence, Some(Seq::new(11)));
        // Once its time has come it may be taken again, under another number.
        let loaded = Loaded {
            records: [(key.clone(), record.clone())].into(),
            ..Loaded::default()
        };
        let (_, verdicts) = decide(&plan.head, loaded, vec![claim(&key, 9_000)], 5_000);
        assert!(matches!(verdicts[0], Verdict::Stored { .. }));
    }

    #[test]
    fn a_key_is_used_once_also_within_a_batch() {
        let request = |body: u8| Append {
            events: vec![event(1)],
            once: Some(Once::request(&Source::nexus(), "k", [body; 32], 3_000)),
            ..Append::default()
        };
        let (plan, verdicts) = decide(
            &head(),
            Loaded::default(),
            vec![request(1), request(1), request(2)],
            2_000,
        );
        let range = Some((Seq::new(11), Seq::new(11)));
        assert!(matches!(verdicts[1], Verdict::Replayed { range: r } if r == range));
        assert!(matches!(
            verdicts[2],
            Verdict::Refused(Error::IdempotencyMismatch)
        ));
        let once = |plan: &Plan| {
            plan.once
                .iter()
                .map(|entry| (entry.key, entry.clone()))
                .collect()
        };
        let loaded = Loaded {
            once: once(&plan),
            ..Loaded::default()
        };
        let (_, verdicts) = decide(&plan.head, loaded.clone(), vec![request(1)], 2_999);
        assert!(matches!(verdicts[0], Verdict::Replayed { .. }));
        let (_, verdicts) = decide(&plan.head, loaded, vec![request(2)], 3_000);
        assert!(
            matches!(verdicts[0], Verdict::Stored { .. }),
            "an expired key is free"
        );
    }

    #[test]
    fn a_revision_is_never_used_twice() {
        let key = Key::new(WORK, "w");
        let put = Append {
            changes: vec![Change::put(key.clone(), "1")],
            ..Append::default()
        };
        let delete = Append {
            changes: vec![Change::Delete(key.clone())],
            ..Append::default()
        };
        let (plan, verdicts) = decide(
            &head(),
            Loaded::default(),
            vec![put.clone(), put.clone(), delete, put],
            2_000,
        );
        let told = verdicts.iter().map(|verdict| match verdict {
            Verdict::Stored { revision, .. } => *revision,
            _ => panic!("{verdict:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), [2_000, 2_001, 0, 2_002]);
        let [RecordWrite::Put(record)] = &plan.records[..] else {
            panic!()
        };
        assert_eq!(record.revision, 2_002);
        assert_eq!(plan.head, head(), "changes alone do not move the head");
    }

    /// One step of a claim's life, as a stranger might ask for it.
    #[derive(Debug, Clone)]
    enum Step {
        Claim { key: u8, lease_us: i64 },
        Renew { key: u8, token: u64 },
        Complete { key: u8, token: u64 },
        Wait { us: i64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..3_u8, 1..50_i64).prop_map(|(key, lease_us)| Step::Claim { key, lease_us }),
            (0..3_u8, 1..40_u64).prop_map(|(key, token)| Step::Renew { key, token }),
            (0..3_u8, 1..40_u64).prop_map(|(key, token)| Step::Complete { key, token }),
            (1..40_i64).prop_map(|us| Step::Wait { us }),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        /// Against a model of leases: whatever is asked in whatever batches, a token is granted only when
        /// the lease before it ended, and only the newest token completes.
        #[test]
        fn claims_follow_the_model(steps in steps(), batch in 1..5_usize) {
            let mut at = Head::empty(Epoch::new(1));
            let mut loaded = Loaded::default();
            let mut model: HashMap<u8, (u64, i64)> = HashMap::new();
            let mut last = 0_u64;
            let mut now_us = 1_000;
            for steps in steps.chunks(batch) {
                let mut appends = Vec::new();
                let mut expected = Vec::new();
                for step in steps {
                    if let Step::Wait { us } = step {
                        now_us += us;
                    }
                }
                for step in steps {
                    let key = |key: u8| Key::new(WORK, format!("k{key}"));
                    match *step {
                        Step::Wait { .. } => {}
                        Step::Claim { key: k, lease_us } => {
                            let free = model.get(&k).is_none_or(|(_, due)| *due <= now_us);
                            if free {
                                last += 1;
                                model.insert(k, (last, now_us + lease_us));
                            }
                            expected.push(free);
                            appends.push(claim(&key(k), now_us + lease_us));
                        }
                        Step::Renew { key: k, token } => {
                            let mine = model.get(&k).is_some_and(|(t, _)| *t == token);
                            if mine {
                                model.insert(k, (token, now_us + 100));
                            }
                            expected.push(mine);
                            appends.push(Append {
                                guards: vec![Guard::Fence(key(k), Seq::new(token))],
                                changes: vec![Change::Touch { key: key(k), due_us: Some(now_us + 100) }],
                                ..Append::default()
                            });
                        }
                        Step::Complete { key: k, token } => {
                            let mine = model.get(&k).is_some_and(|(t, _)| *t == token);
                            if mine {
                                last += 1;
                                model.remove(&k);
                            }
                            expected.push(mine);
                            appends.push(Append {
                                events: vec![event(1)],
                                guards: vec![Guard::Fence(key(k), Seq::new(token))],
                                changes: vec![Change::Delete(key(k))],
                                ..Append::default()
                            });
                        }
                    }
                }
                let (plan, verdicts) = decide(&at, loaded.clone(), appends, now_us);
                let got: Vec<bool> = verdicts.iter().map(|v| matches!(v, Verdict::Stored { .. })).collect();
                prop_assert_eq!(got, expected);
                prop_assert_eq!(plan.head.last.get(), last);
                at = plan.head;
                for write in plan.records {
                    match write {
                        RecordWrite::Put(record) => { loaded.records.insert(record.key.clone(), record); }
                        RecordWrite::Delete(key) => { loaded.records.remove(&key); }
                    }
                }
            }
        }
    }
}
