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
    Backend, Blocked, Catalogue, Clock, From, Head, Loaded, Log, LogOptions, NewEvent, Ordering,
    PatternSet, Plan, Principal, ProtocolEvent, Pruned, Random, Reaction, ReactorError, Seq,
    SharedReactor, Wanted, WriteError,
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

/// A storage that is gone for its process right after a number of commits.
struct Mortal<B> {
    storage: B,
    end: End,
}

/// How many commits are left; nothing where there is no end.
struct End(Option<Arc<AtomicU32>>);

impl End {
    /// Nothing happens any more once the end has come.
    async fn live(&self) {
        if let Some(left) = &self.0
            && left.load(Atomic::SeqCst) == 0
        {
            std::future::pending::<()>().await;
        }
    }
}

impl<B: Backend> Backend for Mortal<B> {
    async fn begin(&mut self, wanted: &Wanted) -> Result<(Head, Loaded), WriteError> {
        self.end.live().await;
        self.storage.begin(wanted).await
    }

    async fn commit(&mut self, plan: &Plan) -> Result<(), WriteError> {
        self.end.live().await;
        self.storage.commit(plan).await?;
        if let Some(left) = self.end.0.as_ref().filter(|_| !plan.is_empty()) {
            left.fetch_sub(1, Atomic::SeqCst);
        }
        self.end.live().await;
        Ok(())
    }

    async fn reopen(&mut self) -> Result<Head, WriteError> {
        self.storage.reopen().await
    }

    async fn prune(&mut self, through: Seq) -> Result<Pruned, WriteError> {
        self.end.live().await;
        self.storage.prune(through).await
    }

    async fn maintain(&mut self) -> Result<(), WriteError> {
        self.end.live().await;
        self.storage.maintain().await
    }

    async fn close(&mut self) {
        self.storage.close().await;
    }
}

impl Life {
    async fn begin(path: &Path) -> Self {
        Self::until_commit(path, None).await
    }

    /// A life whose storage ends after so many commits.
    async fn until_commit(path: &Path, left: Option<Arc<AtomicU32>>) -> Self {
        let random = Random::system();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
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
        let storage = Mortal {
            storage: backend,
            end: End(left),
        };
        let (log, service) = Log::open(
            storage,
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
    async fn kill(self, engine: Option<Engine>) {
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
    life.kill(Some(engine)).await;
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
    life.kill(Some(engine)).await;
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

/// Runs until a commit of this life is kept, of which nobody is told, and ends there; whether it came.
async fn run_until_commit(
    path: &Path,
    outside: &Arc<Mutex<Outside>>,
    ordering: Ordering,
    commit: u32,
) -> bool {
    let left = Arc::new(AtomicU32::new(commit));
    let life = Life::until_commit(path, Some(left.clone())).await;
    let reactor = reactor(&life.log, outside, ordering);
    // Whoever waits for the storage waits for ever.
    let (engine, is_over) = {
        let working = async {
            let engine = start(&life, reactor, Failpoints::default()).await;
            let is_over = || async { left.load(Atomic::SeqCst) == 0 };
            until("the commit is kept, or all is done", || async {
                is_over().await || is_settled(&engine, &life.log)
            })
            .await;
            (Some(engine), is_over().await)
        };
        let starting = until("it has begun", || async { left.load(Atomic::SeqCst) == 0 });
        tokio::select! {
            done = working => done,
            () = starting => (None, true),
        }
    };
    life.kill(engine).await;
    is_over
}

/// No place in the code is named here: whatever the engine keeps in two commits that belongs into one is
/// found between them.
async fn killed_after_every_commit(ordering: Ordering) {
    let mut commits = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nexus.db");
        let life = Life::begin(&path).await;
        publish(&life.log).await;
        life.log.close();
        life.service.await.unwrap();
        let outside = Arc::default();
        let was_reached = run_until_commit(&path, &outside, ordering, commits + 1).await;
        let what = format!("{ordering:?}, commit {}", commits + 1);
        judge(&path, &outside, ordering, &what).await;
        if !was_reached {
            break;
        }
        commits += 1;
        assert!(commits < 1_000, "it never comes to an end");
    }
    assert!(commits > 5, "it was killed after {commits} commits only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_any_commit_nothing_is_done_twice_and_nothing_is_missing() {
    killed_after_every_commit(Ordering::None).await;
    killed_after_every_commit(Ordering::All).await;
}
