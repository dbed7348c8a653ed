//! A log in memory, and a reactor that does as a test says.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering as Atomic},
    },
    time::Duration,
};

use nexus_core::{
    Attempt, Backend, Catalogue, Clock, Event, Family, Head, Loaded, Log, LogOptions, Memory,
    NewEvent, PatternSet, Plan, Principal, ProtocolEvent, Pruned, Random, Reaction, Reactor,
    ReactorError, ReactorOptions, Record, RecordQuery, RecordsBy, RetrySchedule, Seq,
    SharedReactor, Wanted, WriteError,
};
use nexus_reactors::{Alerts, Engine, EngineOptions};
use parking_lot::Mutex;

/// A log over a memory that outlives engines; counts its commits.
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) commits: Arc<AtomicU64>,
    pub(crate) faults: Arc<Mutex<Vec<WriteError>>>,
    /// While it is set, there is no space for anything.
    pub(crate) is_full: Arc<AtomicBool>,
}

/// Counts commits, and fails those that a test wants to fail.
struct Watched {
    memory: Memory,
    commits: Arc<AtomicU64>,
    faults: Arc<Mutex<Vec<WriteError>>>,
    is_full: Arc<AtomicBool>,
    /// The head before a commit whose outcome the writer must not learn.
    hidden: Option<Head>,
}

impl Watched {
    fn check_space(&self) -> Result<(), WriteError> {
        if !self.is_full.load(Atomic::SeqCst) {
            return Ok(());
        }
        Err(WriteError {
            outcome: nexus_core::Outcome::NotStored,
            fault: nexus_core::Fault::Full,
            source: "no space".into(),
        })
    }
}

impl Backend for Watched {
    async fn begin(&mut self, wanted: &Wanted) -> Result<(Head, Loaded), WriteError> {
        self.memory.begin(wanted).await
    }

    async fn commit(&mut self, plan: &Plan) -> Result<(), WriteError> {
        self.check_space()?;
        let fault = self.faults.lock().pop();
        match fault {
            // An unknown outcome is stored all the same: the harder of the two to live with.
            Some(error) if error.outcome == nexus_core::Outcome::Unknown => {
                self.memory.commit(plan).await?;
                self.hidden = Some(plan.previous);
                Err(error)
            }
            Some(error) => Err(error),
            None => {
                self.commits.fetch_add(1, Atomic::SeqCst);
                self.memory.commit(plan).await
            }
        }
    }

    async fn prune(&mut self, through: Seq) -> Result<Pruned, WriteError> {
        self.memory.prune(through).await
    }

    async fn reopen(&mut self) -> Result<Head, WriteError> {
        self.check_space()?;
        match self.hidden.take() {
            Some(head) => Ok(head),
            None => self.memory.reopen().await,
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_clock(Clock::System).await
    }

    pub(crate) async fn with_clock(clock: Clock) -> Self {
        let random = Random::seeded(7);
        let memory = Memory::new(&random);
        let commits = Arc::new(AtomicU64::new(0));
        let faults = Arc::new(Mutex::default());
        let is_full = Arc::new(AtomicBool::new(false));
        let watched = Watched {
            memory: memory.clone(),
            commits: commits.clone(),
            faults: faults.clone(),
            is_full: is_full.clone(),
            hidden: None,
        };
        let (log, service) = Log::open(
            watched,
            memory,
            Catalogue::known(),
            LogOptions::default(),
            clock,
            random,
        )
        .await
        .unwrap();
        tokio::spawn(service.run());
        Self {
            log,
            commits,
            faults,
            is_full,
        }
    }

    pub(crate) async fn engine(&self, reactors: Vec<SharedReactor>) -> Engine {
        self.engine_with(reactors, options()).await
    }

    pub(crate) async fn engine_with(
        &self,
        reactors: Vec<SharedReactor>,
        options: EngineOptions,
    ) -> Engine {
        Engine::start(self.log.clone(), reactors, options, Alerts::none())
            .await
            .unwrap()
    }

    pub(crate) fn payment(&self, payload: String) -> NewEvent {
        NewEvent::new(
            self.log
                .catalogue()
                .known_type(ProtocolEvent::PaymentReceived),
            payload,
        )
    }

    /// Publishes a payment of this transaction.
    pub(crate) async fn pay(&self, transaction: &str) -> Seq {
        let payload =
            format!(r#"{{"transactionId":"{transaction}","amount":1,"payerId":"payer"}}"#);
        self.publish(self.payment(payload)).await
    }

    pub(crate) async fn publish(&self, event: NewEvent) -> Seq {
        self.log
            .dispatch(&Principal::nexus(), event)
            .await
            .unwrap()
            .first
    }

    /// Publishes something that nobody here reacts to.
    pub(crate) async fn noise(&self, count: usize) {
        let noise = self.log.catalogue().known_type(ProtocolEvent::StatusUpdate);
        let events = vec![NewEvent::new(noise, r#"{"status":"idle"}"#); count];
        let command = nexus_core::Command {
            events,
            ..Default::default()
        };
        self.log.submit(&Principal::nexus(), command).await.unwrap();
    }

    pub(crate) async fn all(&self) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        let (mut cursor, _) = self
            .log
            .cursor(nexus_core::From::Earliest, PatternSet::everything())
            .await
            .unwrap();
        while let Some(page) = cursor.try_next().await.unwrap() {
            events.extend(page.events);
        }
        events
    }

    /// How many events with this topic are in the log.
    pub(crate) async fn count(&self, topic: &str) -> usize {
        self.all()
            .await
            .iter()
            .filter(|event| event.topic.as_str() == topic)
            .count()
    }

    pub(crate) async fn deliveries(&self) -> Vec<Record> {
        let query = RecordQuery {
            family: Family::new("delivery"),
            by: RecordsBy::All,
            after_key: None,
            records_max: 100_000,
        };
        self.log.records(&query).await.unwrap()
    }

    pub(crate) async fn cursor(&self, reactor: &str) -> serde_json::Value {
        let key = nexus_core::Key::new(Family::new("cursor"), format!("reactor:{reactor}"));
        let record = self.log.record(&key).await.unwrap().unwrap();
        serde_json::from_slice(&record.body).unwrap()
    }
}

/// Short times.
pub(crate) fn options() -> EngineOptions {
    EngineOptions {
        linger: Duration::from_millis(5),
        slow_attempt: Duration::from_millis(20),
        position_every: Duration::from_millis(100),
        storage_retry: Duration::from_millis(1),
        drain_timeout: Duration::from_secs(5),
        ..EngineOptions::default()
    }
}

/// Waits for a condition; fails loudly when it does not come.
pub(crate) async fn until<F, R>(what: &str, mut condition: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

type Act = Pin<Box<dyn Future<Output = Result<Reaction, ReactorError>> + Send>>;

/// A reactor on payments that does as it is told, and notes what it ran for.
pub(crate) struct Scripted {
    pub(crate) options: ReactorOptions,
    pub(crate) once: bool,
    pub(crate) rehearses: bool,
    pub(crate) ran: Arc<Mutex<Vec<(u64, u32)>>>,
    pub(crate) act: Box<dyn Fn(Attempt) -> Act + Send + Sync>,
}

impl Scripted {
    pub(crate) fn new<F, R>(name: &str, act: F) -> Self
    where
        F: Fn(Attempt) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reaction, ReactorError>> + Send + 'static,
    {
        let mut options =
            ReactorOptions::new(name, PatternSet::parse(["payment.received"]).unwrap());
        options.retry = RetrySchedule {
            first: Duration::from_millis(2),
            factor: 1.0,
            ..RetrySchedule::default()
        };
        Self {
            options,
            once: false,
            rehearses: true,
            ran: Arc::default(),
            act: Box::new(move |attempt| Box::pin(act(attempt))),
        }
    }

    /// The attempts that were begun: event and number of the attempt.
    pub(crate) fn ran(&self) -> Arc<Mutex<Vec<(u64, u32)>>> {
        self.ran.clone()
    }

    pub(crate) fn shared(self) -> SharedReactor {
        Arc::new(self)
    }
}

impl Reactor for Scripted {
    fn options(&self) -> ReactorOptions {
        self.options.clone()
    }

    fn once(&self, event: &Event) -> Option<String> {
        self.once
            .then(|| format!("mint:{}", event.key.as_deref().unwrap_or_default()))
    }

    fn rehearses(&self) -> bool {
        self.rehearses
    }

    async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
        self.ran
            .lock()
            .push((attempt.event.seq.get(), attempt.number));
        (self.act)(attempt).await
    }
}

/// What payment-to-mint would emit.
pub(crate) fn mint(log: &Log) -> NewEvent {
    NewEvent::new(
        log.catalogue().known_type(ProtocolEvent::MintRequested),
        r#"{"address":"payer"}"#,
    )
}

/// How often each event ran.
pub(crate) fn runs(ran: &Mutex<Vec<(u64, u32)>>) -> HashMap<u64, usize> {
    let mut runs = HashMap::new();
    for (seq, _) in &*ran.lock() {
        *runs.entry(*seq).or_default() += 1;
    }
    runs
}
