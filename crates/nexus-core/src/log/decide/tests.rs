//! Decisions, one by one and against a model of leases.

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
