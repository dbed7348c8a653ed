//! Promises about records: guards, changes, lists.

use std::sync::Arc;

use nexus_core::{
    Change, Command, Error, Family, Fence, Guard, Key, Once, Pages, PatternSet, Record,
    RecordQuery, RecordsBy,
};

use super::harness::{BEGIN_US, Opened, Subject, open, open_with};

const WORK: Family = Family::new("work");
const OTHER: Family = Family::new("work2");

fn key(name: &str) -> Key {
    Key::new(WORK, name)
}

fn put(key: Key, scope: &str, state: &str, due_us: Option<i64>, fence: Fence) -> Change {
    Change::Put {
        key,
        owner: None,
        scope: scope.into(),
        state: state.into(),
        due_us,
        fence,
        body: "{}".into(),
    }
}

async fn change<P: Pages>(
    opened: &Opened<P>,
    guards: Vec<Guard>,
    changes: Vec<Change>,
) -> Result<(), Error> {
    let command = Command {
        guards,
        changes,
        ..Command::default()
    };
    opened.submit(command).await.map(|_| ())
}

async fn record<P: Pages>(opened: &Opened<P>, name: &str) -> Option<Record> {
    opened.pages.record(&key(name)).await.unwrap()
}

/// Each kind of condition holds and fails where it should, also after a restart.
pub async fn guards_hold_or_refuse<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let claim = Command {
        events: vec![opened.event("test.claimed", "{}")],
        guards: vec![Guard::Absent(key("a"))],
        changes: vec![put(
            key("a"),
            "s",
            "held",
            Some(BEGIN_US + 50),
            Fence::Event(0),
        )],
        ..Command::default()
    };
    let granted = opened.submit(claim.clone()).await.unwrap();
    let refused = opened.submit(claim).await;
    let Err(Error::Refused { found, .. }) = refused else {
        panic!("the second claim is refused, not {refused:?}");
    };
    assert_eq!(found.unwrap().fence, Some(granted.first));
    let clock = opened.close().await;
    let opened = open_with(&subject, clock, Default::default()).await;
    let revision = record(&opened, "a").await.unwrap().revision;
    for (guard, holds) in [
        (Guard::Absent(key("a")), false),
        (Guard::Absent(key("b")), true),
        (Guard::AbsentOrDue(key("a")), false),
        (Guard::AbsentOrDue(key("b")), true),
        (Guard::Revision(key("a"), revision), true),
        (Guard::Revision(key("a"), revision + 1), false),
        (Guard::Revision(key("b"), 0), false),
        (Guard::Fence(key("a"), granted.first), true),
        (Guard::Fence(key("a"), granted.first.next()), false),
        (Guard::LastSeq(granted.last), true),
        (Guard::LastSeq(granted.last.next()), false),
    ] {
        let result = change(&opened, vec![guard.clone()], Vec::new()).await;
        assert_eq!(result.is_ok(), holds, "{guard:?}: {result:?}");
    }
    opened.clock.advance_us(60);
    change(&opened, vec![Guard::AbsentOrDue(key("a"))], Vec::new())
        .await
        .unwrap();
    opened.close().await;
}

/// A request that is refused changes nothing, and the next is kept.
pub async fn a_refused_request_leaves_no_trace<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    for n in 0..3 {
        let refused = Command {
            events: vec![opened.event("test.refused", "{}")],
            once: Some(Once::fact("refused", n.to_string())),
            guards: vec![Guard::Revision(key("x"), 7)],
            changes: vec![put(key("trace"), "", "", None, Fence::Keep)],
        };
        assert!(opened.submit(refused).await.is_err());
        let once = Once::fact("refused", n.to_string());
        assert_eq!(opened.log.once(&once).await.unwrap(), None);
        assert_eq!(record(&opened, "trace").await, None);
        let kept = opened.publish(&["test.kept"]).await;
        assert_eq!(kept.first.get(), n + 1);
    }
    let events = opened.read(PatternSet::everything()).await;
    assert!(
        events
            .iter()
            .all(|event| event.topic.as_str() == "test.kept")
    );
    opened.close().await;
}

/// Put, touch, delete and put again: what is read is what was written last, and no revision comes twice.
pub async fn records_change_in_every_way<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let full = Change::Put {
        key: key("a"),
        owner: Some("session:1".into()),
        scope: "scope \u{0} with a zero".into(),
        state: "held".into(),
        due_us: Some(-5),
        fence: Fence::Keep,
        body: vec![0, 255, 7].into(),
    };
    change(&opened, vec![], vec![full]).await.unwrap();
    let first = record(&opened, "a").await.unwrap();
    assert_eq!(first.owner.as_deref(), Some("session:1"));
    assert_eq!(&*first.scope, "scope \u{0} with a zero");
    assert_eq!(
        (first.due_us, &first.body[..]),
        (Some(-5), &[0, 255, 7][..])
    );
    let touch = Change::Touch {
        key: key("a"),
        due_us: None,
    };
    change(&opened, vec![], vec![touch]).await.unwrap();
    let touched = record(&opened, "a").await.unwrap();
    assert_eq!(
        touched,
        Record {
            due_us: None,
            ..first.clone()
        }
    );
    change(&opened, vec![], vec![Change::Delete(key("a"))])
        .await
        .unwrap();
    assert_eq!(record(&opened, "a").await, None);
    // A clock that stands still must not bring an old revision back.
    opened.publish(&["test.between"]).await;
    change(&opened, vec![], vec![Change::put(key("a"), "again")])
        .await
        .unwrap();
    let again = record(&opened, "a").await.unwrap();
    assert!(again.revision > first.revision);
    let clock = opened.close().await;
    let opened = open_with(&subject, clock, Default::default()).await;
    assert_eq!(record(&opened, "a").await, Some(again));
    opened.close().await;
}

/// Lists by family, scope and due time, page by page.
pub async fn records_are_listed_in_order<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let mut changes = Vec::new();
    for n in 0..50_i64 {
        let scope = if n % 2 == 0 { "even" } else { "odd" };
        let state = if n % 3 == 0 { "waiting" } else { "done" };
        let due_us = (n % 5 != 0).then_some(1_000 - n * 10);
        let name = format!("{n:02}");
        changes.push(put(key(&name), scope, state, due_us, Fence::Keep));
        changes.push(put(
            Key::new(OTHER, name),
            scope,
            state,
            due_us,
            Fence::Keep,
        ));
    }
    change(&opened, vec![], changes).await.unwrap();
    let names = |keep: &dyn Fn(i64) -> bool| -> Vec<String> {
        (0..50)
            .filter(|n| keep(*n))
            .map(|n| format!("{n:02}"))
            .collect()
    };
    assert_eq!(list(&opened, RecordsBy::All, 7).await, names(&|_| true));
    let even = list(&opened, RecordsBy::Scope("even".into()), 4).await;
    assert_eq!(even, names(&|n| n % 2 == 0));
    assert!(
        list(&opened, RecordsBy::Scope("none".into()), 4)
            .await
            .is_empty()
    );
    let query = |by, records_max| RecordQuery {
        family: WORK,
        by,
        after_key: None,
        records_max,
    };
    let due = RecordsBy::Due("waiting".into(), 800);
    let found = opened
        .pages
        .records(&query(due.clone(), 100))
        .await
        .unwrap();
    let mut expected = names(&|n| n % 3 == 0 && n % 5 != 0 && 1_000 - n * 10 <= 800);
    expected.reverse();
    assert!(
        found
            .iter()
            .map(|record| &*record.key.key)
            .eq(expected.iter())
    );
    let first = opened.pages.records(&query(due, 2)).await.unwrap();
    assert_eq!(*first[1].key.key, expected[1]);
    // Behind each record that was listed follow exactly the others.
    for (n, record) in found.iter().enumerate() {
        let mut behind = query(
            RecordsBy::DueAfter("waiting".into(), record.due_us.unwrap()),
            100,
        );
        behind.after_key = Some(record.key.key.clone());
        let rest = opened.pages.records(&behind).await.unwrap();
        let rest = rest.iter().filter(|record| record.due_us <= Some(800));
        assert!(
            rest.map(|record| &*record.key.key)
                .eq(expected[n + 1..].iter())
        );
    }
    opened.close().await;
}

async fn list<P: Pages>(opened: &Opened<P>, by: RecordsBy, records_max: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut after_key: Option<Arc<str>> = None;
    loop {
        let query = RecordQuery {
            family: WORK,
            by: by.clone(),
            after_key,
            records_max,
        };
        let page = opened.pages.records(&query).await.unwrap();
        assert!(page.len() <= records_max);
        let Some(last) = page.last() else {
            return names;
        };
        after_key = Some(last.key.key.clone());
        names.extend(page.iter().map(|record| record.key.key.to_string()));
    }
}

/// Batches with more records and keys than any statement takes at once.
pub async fn many_records_and_keys_fit_into_one_batch<S: Subject>(subject: S) {
    const COUNT: usize = 700;
    let opened = open(&subject).await;
    let requests = (0..COUNT).map(|n| {
        opened.submit(Command {
            events: vec![opened.event("test.counted", "{}")],
            once: Some(Once::fact("many", n.to_string())),
            guards: vec![Guard::Absent(key(&n.to_string()))],
            changes: vec![put(key(&n.to_string()), "", "", None, Fence::Event(0))],
        })
    });
    let receipts = super::all(requests).await;
    for (n, receipt) in receipts.into_iter().enumerate() {
        let seq = receipt.unwrap().first;
        assert_eq!(
            record(&opened, &n.to_string()).await.unwrap().fence,
            Some(seq)
        );
    }
    let everything = (0..COUNT).map(|n| Change::Delete(key(&n.to_string())));
    change(&opened, vec![], everything.collect()).await.unwrap();
    assert!(list(&opened, RecordsBy::All, 1_000).await.is_empty());
    let again = Command {
        once: Some(Once::fact("many", "699")),
        ..Command::default()
    };
    assert!(opened.submit(again).await.unwrap().replayed);
    opened.close().await;
}
