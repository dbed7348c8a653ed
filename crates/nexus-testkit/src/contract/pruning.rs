//! Promises about retention's cut: what goes, what stays, and who is told.

use nexus_core::{
    Backend, Change, Command, Error, Family, Fence, From, Key, LogOptions, Once, PRUNE_EVENTS_MAX,
    Pages, PatternSet, Principal, Random, Receipt, Recovery, Seq,
};

use super::harness::{Opened, Subject, open, open_with, patterns};

/// A log of batches with these many events each; gives their receipts.
async fn batches<P: Pages>(opened: &Opened<P>, sizes: &[usize]) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for size in sizes {
        opened.clock.advance_us(1_000_000);
        receipts.push(opened.publish(&vec!["test.pruned"; *size]).await);
    }
    receipts
}

/// Whole batches go, the oldest first; what is left is read, found and numbered as before, also after a
/// restart.
pub async fn pruning_removes_whole_batches_from_the_front<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let receipts = batches(&opened, &[3, 3, 3, 3]).await;
    let all = opened.read(PatternSet::everything()).await;
    // In the middle of a batch: the cut is before it.
    assert_eq!(opened.log.prune(Seq::new(8)).await.unwrap(), Seq::new(6));
    assert_eq!(opened.log.pruned_through().await.unwrap(), Seq::new(6));
    assert_eq!(opened.read(PatternSet::everything()).await, all[6..]);
    assert_eq!(opened.read(patterns(&["test.*"])).await, all[6..]);
    assert!(opened.log.event(Seq::new(6)).await.unwrap().is_none());
    assert!(opened.log.event_by_id(all[5].id).await.unwrap().is_none());
    assert_eq!(
        opened.log.event_by_id(all[6].id).await.unwrap(),
        Some(all[6].clone())
    );
    let last_before = |receipt: &Receipt| opened.log.last_before(receipt.time_us);
    assert_eq!(last_before(&receipts[1]).await.unwrap(), Seq::ZERO);
    assert_eq!(last_before(&receipts[2]).await.unwrap(), Seq::new(9));
    // Again, and to a place before the cut: nothing goes, and nothing comes back.
    assert_eq!(opened.log.prune(Seq::new(6)).await.unwrap(), Seq::new(6));
    assert_eq!(opened.log.prune(Seq::new(2)).await.unwrap(), Seq::new(6));
    // The newest batch says where the log ends: it stays.
    let beyond = Seq::new(1_000_000);
    assert_eq!(opened.log.prune(beyond).await.unwrap(), Seq::new(9));
    let head = opened.log.head();
    let clock = opened.close().await;
    let opened = open_with(&subject, clock, LogOptions::default()).await;
    assert_eq!(opened.log.head(), head);
    assert_eq!(opened.log.pruned_through().await.unwrap(), Seq::new(9));
    let receipt = opened.publish(&["test.pruned"]).await;
    assert_eq!(receipt.first, Seq::new(13));
    assert_eq!(opened.log.prune(beyond).await.unwrap(), Seq::new(12));
    opened.close().await;
}

/// An empty log has nothing that could go, nor has one with a single batch.
pub async fn pruning_leaves_the_end_of_the_log<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    assert_eq!(opened.log.prune(Seq::new(1)).await.unwrap(), Seq::ZERO);
    opened.publish(&["test.pruned"; 5]).await;
    assert_eq!(opened.log.prune(Seq::new(5)).await.unwrap(), Seq::ZERO);
    assert_eq!(opened.read(PatternSet::everything()).await.len(), 5);
    opened.close().await;
}

/// Each step is small, ends where a batch does, and says whether there is more to do.
pub async fn pruning_goes_in_small_steps<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let sizes = [600, 300, 200, 1_000, 1, 2, 700, 400, 5];
    let receipts = batches(&opened, &sizes).await;
    let ends: Vec<Seq> = receipts.iter().map(|receipt| receipt.last).collect();
    let clock = opened.close().await;
    let (mut backend, pages) = subject.open(clock, Random::system()).await;
    backend.reopen().await.unwrap();
    let through = ends[7];
    let mut steps = vec![Seq::ZERO];
    loop {
        let step = backend.prune(through).await.unwrap();
        let before = steps[steps.len() - 1];
        assert!(step.through > before, "a step that removes nothing");
        assert!(step.through.get() - before.get() <= PRUNE_EVENTS_MAX);
        assert!(ends.contains(&step.through), "a batch is never cut");
        assert_eq!(pages.pruned_through().await.unwrap(), step.through);
        steps.push(step.through);
        if step.done {
            break;
        }
    }
    // 600 + 300, 200, 1,000, 1 + 2 + 700, 400.
    let expected = [0, 1, 2, 3, 6, 7].map(|n| match n {
        0 => Seq::ZERO,
        n => ends[n],
    });
    assert_eq!(steps, expected);
    let again = backend.prune(through).await.unwrap();
    assert_eq!((again.through, again.done), (through, true));
    backend.close().await;
}

/// What happened only once stays so when its event is gone.
pub async fn a_fact_outlives_its_event<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let fact = |opened: &Opened<S::Pages>| Command {
        events: vec![opened.event("test.fact", "{}")],
        once: Some(Once::fact("flowpay", "tx-1:paid")),
        ..Command::default()
    };
    let first = opened.submit(fact(&opened)).await.unwrap();
    opened.publish(&["test.other"]).await;
    assert_eq!(opened.log.prune(first.last).await.unwrap(), first.last);
    let again = opened.submit(fact(&opened)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(
        (again.first, again.last, again.first_id),
        (first.first, first.last, None),
        "the first answer, as far as retention has left it"
    );
    assert_eq!(opened.log.head().seq, Seq::new(2), "nothing was added");
    opened.close().await;
}

/// A reader never passes over what is gone without being told: neither one that comes back, nor one that
/// was reading.
pub async fn whoever_is_overtaken_by_pruning_is_told<S: Subject>(subject: S) {
    let options = LogOptions {
        ring_events_max: 1,
        ..LogOptions::default()
    };
    let clock = nexus_core::Clock::manual(super::harness::BEGIN_US);
    let opened = open_with(&subject, clock, options).await;
    let receipts = batches(&opened, &[2, 2, 2, 2]).await;
    let everything = PatternSet::everything;
    let at = |receipt: &Receipt| From::After(receipt.position());
    let cursor = opened.log.cursor(at(&receipts[0]), everything()).await;
    let (mut reading, _) = cursor.unwrap();
    let cursor = opened.log.cursor(at(&receipts[1]), everything()).await;
    let (mut spared, _) = cursor.unwrap();
    assert_eq!(opened.log.pruned_since(Seq::ZERO).await.unwrap(), None);
    opened.log.prune(receipts[1].last).await.unwrap();
    assert_eq!(
        opened.log.pruned_since(Seq::new(3)).await.unwrap(),
        Some(Seq::new(4))
    );
    assert_eq!(opened.log.pruned_since(Seq::new(4)).await.unwrap(), None);
    let told = reading.try_next().await;
    let cut = receipts[1].position();
    assert!(
        matches!(&told, Err(Error::Pruned { through }) if *through == cut),
        "{told:?}"
    );
    // It goes on behind the cut, as does the one that was there already.
    for cursor in [&mut reading, &mut spared] {
        let page = cursor.try_next().await.unwrap().unwrap();
        assert_eq!(page.events[0].seq, Seq::new(5));
    }
    let (_, start) = opened
        .log
        .cursor(at(&receipts[0]), everything())
        .await
        .unwrap();
    assert_eq!((start.position, start.recovery), (cut, Recovery::Pruned));
    let (_, start) = opened
        .log
        .cursor(From::Earliest, everything())
        .await
        .unwrap();
    assert_eq!((start.position, start.recovery), (cut, Recovery::Recovered));
    opened.close().await;
}

/// While old events go, new ones come: each is kept, and read by whoever reads at the head.
pub async fn the_log_grows_while_it_is_pruned<S: Subject>(subject: S) {
    const BATCHES: u64 = 300;
    let opened = open(&subject).await;
    opened.publish(&["test.old"; 500]).await;
    let log = opened.log.clone();
    let mut head = log.head_changes();
    let pruner = tokio::spawn(async move {
        let mut pruned = Seq::ZERO;
        while let Ok(head) = head.wait_for(|head| *head > pruned).await.map(|head| *head) {
            let now = log.prune(head).await.unwrap();
            assert!(now >= pruned && now < log.stored().seq);
            pruned = now;
            if head.get() >= 500 + BATCHES * 3 {
                return pruned;
            }
            // Until there is a batch more.
            tokio::task::yield_now().await;
        }
        pruned
    });
    let mut cursor = opened.log.live_cursor(PatternSet::everything());
    for _ in 0..BATCHES {
        let command = Command {
            events: vec![opened.event("test.new", "{}"); 3],
            ..Command::default()
        };
        let receipt = opened.log.submit(&Principal::nexus(), command).await;
        receipt.unwrap();
    }
    let mut seen = Seq::new(500);
    while seen.get() < 500 + BATCHES * 3 {
        let page = cursor.next().await.unwrap();
        for event in page.events {
            assert_eq!(event.seq, seen.next());
            seen = event.seq;
        }
    }
    let pruned = pruner.await.unwrap();
    assert_eq!(pruned, Seq::new(500 + BATCHES * 3 - 3), "all but the last");
    opened.close().await;
}

/// Records that hold on to an event are found by it, and the space of what is gone is free.
pub async fn what_holds_the_log_and_its_size_are_known<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    assert_eq!(opened.pages.fenced(10).await.unwrap(), []);
    for name in ["c", "a", "b"] {
        let mut claim = Change::put(Key::new(Family::new("claim"), name), "{}");
        if let Change::Put { fence, .. } = &mut claim {
            *fence = Fence::Event(0);
        }
        let unfenced = Change::put(Key::new(Family::new("thing"), name), "{}");
        let command = Command {
            events: vec![opened.event("test.claimed", "{}")],
            changes: vec![claim, unfenced],
            ..Command::default()
        };
        opened.submit(command).await.unwrap();
    }
    let fenced = opened.pages.fenced(2).await.unwrap();
    let found: Vec<_> = fenced
        .iter()
        .map(|record| (&*record.family, &*record.key, record.fence.get()))
        .collect();
    assert_eq!(found, [("claim", "c", 1), ("claim", "a", 2)]);
    let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(10_000));
    for _ in 0..10 {
        let command = Command {
            events: vec![opened.event("test.large", &payload); 20],
            ..Command::default()
        };
        opened.submit(command).await.unwrap();
    }
    let before = opened.pages.used_bytes().await.unwrap();
    assert!(before > 2_000_000, "{before}");
    opened.log.prune(opened.log.head().seq).await.unwrap();
    let after = opened.pages.used_bytes().await.unwrap();
    assert!(after < before - 1_700_000, "{before} before, {after} after");
    opened.close().await;
}
