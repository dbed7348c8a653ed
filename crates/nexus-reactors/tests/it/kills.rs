//! Killed at every point between reading an event and storing what became of it, over a log on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering as Atomic},
    },
    time::Duration,
};

use nexus_core::{
    Blocked, Catalogue, Clock, From, Log, LogOptions, NewEvent, Ordering, PatternSet, Principal,
    ProtocolEvent, Random, Reaction, ReactorError, SharedReactor,
};
use nexus_reactors::{Alerts, Engine, EngineOptions, Failpoint, Failpoints};
use nexus_store::{Sqlite, SqliteOptions};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{Scripted, mint, until};

/// How many payments there are. Each second one fails at first; two of three have a `once` key.
const PAYMENTS: u64 = 9;
/// Each point is the end at so many of its turns.
const TURNS: u32 = 4;

/// One life of the process.
struct Life {
    log: Log,
    service: JoinHandle<()>,
}

impl Life {
    async fn begin(path: &Path) -> Self {
        let random = Random::system();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        // The connections of the life before are closed by threads of their own.
        let (backend, pages) = loop {
            let mut options = SqliteOptions::new(path);
            options.ballast_bytes = 0;
            match Sqlite::open(options, Clock::System, random.clone()).await {
                Ok(opened) => break opened,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let (log, service) = Log::open(
            backend,
            pages,
            Catalogue::known(),
            LogOptions::default(),
            Clock::System,
            random,
        )
        .await
        .unwrap();
        let service = tokio::spawn(async move {
            // How it ends is seen in the log.
            let _ = service.run().await;
        });
        Self { log, service }
    }

    /// Ends as a process does that is killed: nothing more happens.
    async fn kill(self, engine: Engine) {
        drop(engine);
        self.service.abort();
        let _ = self.service.await;
    }
}

/// What the outside saw, over all lives.
#[derive(Default)]
struct Outside {
    /// The keys that each event was called with.
    keys: BTreeMap<u64, BTreeSet<Arc<str>>>,
    /// The calls for an event whose success was in the log.
    too_late: Vec<u64>,
    failed: BTreeSet<u64>,
}

/// The events that were minted, by the payment that caused it.
async fn minted(log: &Log) -> Vec<Uuid> {
    let mint = PatternSet::parse(["mint.requested"]).unwrap();
    let (mut cursor, _) = log.cursor(From::Earliest, mint).await.unwrap();
    let mut causes = Vec::new();
    while let Some(page) = cursor.try_next().await.unwrap() {
        causes.extend(
            page.events
                .iter()
                .filter_map(|event| event.causes().causation_id),
        );
    }
    causes
}

fn reactor(log: &Log, outside: &Arc<Mutex<Outside>>, ordering: Ordering) -> SharedReactor {
    let (log, outside) = (log.clone(), outside.clone());
    let mut reactor = Scripted::new("mint", move |attempt| {
        let (log, outside) = (log.clone(), outside.clone());
        async move {
            let seq = attempt.event.seq.get();
            let is_done = minted(&log).await.contains(&attempt.event.id);
            let fails = {
                let mut outside = outside.lock();
                let key = attempt.idempotency_key.clone();
                outside.keys.entry(seq).or_default().insert(key);
                if is_done {
                    outside.too_late.push(seq);
                }
                seq % 2 == 0 && outside.failed.insert(seq)
            };
            if fails {
                return Err(ReactorError::retry("down"));
            }
            Ok(Reaction::emit(mint(&log)))
        }
    });
    reactor.once = true;
    reactor.options.ordering = ordering;
    reactor.options.on_blocked = Blocked::Wait;
    reactor.options.keeps_outcomes = true;
    reactor.options.concurrency = 3;
    reactor.options.begin = Some(From::Earliest);
    reactor.shared()
}

fn options(failpoints: Failpoints) -> EngineOptions {
    EngineOptions {
        failpoints,
        window: 4,
        ..crate::support::options()
    }
}

async fn start(life: &Life, reactor: SharedReactor, failpoints: Failpoints) -> Engine {
    Engine::start(
        life.log.clone(),
        vec![reactor],
        options(failpoints),
        Alerts::none(),
    )
    .await
    .unwrap()
}

async fn publish(log: &Log) {
    for n in 0..PAYMENTS {
        let payment = log.catalogue().known_type(ProtocolEvent::PaymentReceived);
        let payload = format!(r#"{{"transactionId":"tx-{n}","amount":1,"payerId":"payer"}}"#);
        let event = NewEvent::new(payment, payload);
        log.dispatch(&Principal::nexus(), event).await.unwrap();
    }
}

/// Whether everything is done, and nothing waits.
fn is_settled(engine: &Engine, log: &Log) -> bool {
    let target = engine.handle().target("mint").unwrap();
    target.lag == 0 && target.waiting == 0 && target.running == 0 && log.head().seq.get() > 0
}

/// Runs until a point is reached for the n-th time, and ends there; whether it was reached.
async fn run_until(
    path: &Path,
    outside: &Arc<Mutex<Outside>>,
    ordering: Ordering,
    point: Failpoint,
    turn: u32,
) -> bool {
    let life = Life::begin(path).await;
    let reached = Arc::new(AtomicU32::new(0));
    let counted = reached.clone();
    // Once the end has come, whoever comes to any point comes too late.
    let failpoints = Failpoints::new(move |at| {
        let before = counted.load(Atomic::SeqCst);
        before >= turn || (at == point && counted.fetch_add(1, Atomic::SeqCst) + 1 >= turn)
    });
    let reactor = reactor(&life.log, outside, ordering);
    let engine = start(&life, reactor, failpoints).await;
    until("the point is reached, or all is done", || async {
        reached.load(Atomic::SeqCst) >= turn || is_settled(&engine, &life.log)
    })
    .await;
    let was_reached = reached.load(Atomic::SeqCst) >= turn;
    life.kill(engine).await;
    was_reached
}

/// What has to be true when all lives are over.
async fn judge(path: &Path, outside: &Arc<Mutex<Outside>>, ordering: Ordering, what: &str) {
    let life = Life::begin(path).await;
    let reactor = reactor(&life.log, outside, ordering);
    let engine = start(&life, reactor, Failpoints::default()).await;
    until("all is done", || async { is_settled(&engine, &life.log) }).await;
    let causes = minted(&life.log).await;
    let distinct: BTreeSet<_> = causes.iter().collect();
    assert_eq!(
        causes.len() as u64,
        PAYMENTS,
        "{what}: each effect in the log"
    );
    assert_eq!(distinct.len() as u64, PAYMENTS, "{what}: once");
    assert_eq!(engine.handle().target("mint").unwrap().dead, 0, "{what}");
    let outcomes = engine.handle().outcomes("mint", None, 1_000).await.unwrap();
    let ended: BTreeSet<_> = outcomes.items.iter().map(|outcome| outcome.seq).collect();
    assert_eq!(
        outcomes.items.len() as u64,
        PAYMENTS,
        "{what}: one outcome for each"
    );
    assert_eq!(ended.len() as u64, PAYMENTS, "{what}");
    {
        let outside = outside.lock();
        assert_eq!(outside.keys.len() as u64, PAYMENTS, "{what}: each called");
        for (seq, keys) in &outside.keys {
            assert_eq!(keys.len(), 1, "{what}: event {seq} with one key");
        }
        assert_eq!(
            outside.too_late, [0_u64; 0],
            "{what}: none after its success"
        );
    }
    life.kill(engine).await;
}

async fn killed_everywhere(ordering: Ordering) {
    let mut reached = BTreeMap::new();
    for point in Failpoint::ALL {
        for turn in 1..=TURNS {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("nexus.db");
            let life = Life::begin(&path).await;
            publish(&life.log).await;
            life.log.close();
            life.service.await.unwrap();
            let outside = Arc::default();
            let was_reached = run_until(&path, &outside, ordering, point, turn).await;
            *reached.entry(format!("{point:?}")).or_insert(0) += u32::from(was_reached);
            let what = format!("{ordering:?}, {point:?} for the {turn}. time");
            judge(&path, &outside, ordering, &what).await;
        }
    }
    assert_eq!(reached.len(), Failpoint::ALL.len());
    assert!(
        reached.values().all(|times| *times > 0),
        "a point was never reached: {reached:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_point_each_effect_is_there_once_and_no_call_follows_its_success() {
    killed_everywhere(Ordering::None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_when_all_events_wait_for_each_other() {
    killed_everywhere(Ordering::All).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twice_while_it_recovers_it_still_recovers() {
    for point in Failpoint::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nexus.db");
        let life = Life::begin(&path).await;
        publish(&life.log).await;
        life.log.close();
        life.service.await.unwrap();
        let outside = Arc::default();
        for _ in 0..2 {
            run_until(&path, &outside, Ordering::Key, point, 1).await;
        }
        judge(&path, &outside, Ordering::Key, &format!("{point:?} twice")).await;
    }
}
