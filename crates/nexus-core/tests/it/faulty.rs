//! A database that fails when it is told to, over a log in memory.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use nexus_core::{
    Backend, Catalogue, Clock, Error, EventPage, EventQuery, Fault, Head, Loaded, Log, LogOptions,
    Memory, Outcome, Pages, Plan, Pruned, Random, ReadError, Seq, Service, Wanted, WriteError,
};
use nexus_testkit::pages::{Meddled, Meddler};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

/// How the next commit goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    pub fault: Fault,
    pub outcome: Outcome,
    /// Whether the plan is in the log all the same.
    pub stored: bool,
}

/// More commits than any test makes.
const COMMITS_MAX: u32 = 1 << 20;

/// The switches of a faulty backend.
#[derive(Clone)]
pub struct Switches {
    pub fail_commit: Arc<Mutex<Option<Failure>>>,
    pub full: Arc<AtomicBool>,
    /// So many connections in a row cannot be had.
    pub fail_reopen: Arc<AtomicUsize>,
    /// Whether events cannot be read.
    pub unreadable: Arc<AtomicBool>,
    /// Each commit takes a permit; none, and it waits.
    pub commits: Arc<Semaphore>,
    /// How many events each commit had.
    pub batches: Arc<Mutex<Vec<usize>>>,
}

pub struct Faulty {
    memory: Memory,
    switches: Switches,
}

fn error(fault: Fault, outcome: Outcome) -> WriteError {
    WriteError {
        fault,
        outcome,
        source: "injected".into(),
    }
}

impl Backend for Faulty {
    async fn begin(&mut self, wanted: &Wanted) -> Result<(Head, Loaded), WriteError> {
        self.memory.begin(wanted).await
    }

    async fn commit(&mut self, plan: &Plan) -> Result<(), WriteError> {
        if let Ok(permit) = self.switches.commits.acquire().await {
            permit.forget();
        }
        if self.switches.full.load(Ordering::SeqCst) {
            return Err(error(Fault::Full, Outcome::NotStored));
        }
        let failure = self.switches.fail_commit.lock().take();
        if let Some(failure) = failure {
            if failure.stored {
                self.memory.commit(plan).await?;
            }
            return Err(error(failure.fault, failure.outcome));
        }
        self.switches.batches.lock().push(plan.events.len());
        self.memory.commit(plan).await
    }

    async fn prune(&mut self, through: Seq) -> Result<Pruned, WriteError> {
        if self.switches.full.load(Ordering::SeqCst) {
            return Err(error(Fault::Full, Outcome::NotStored));
        }
        self.memory.prune(through).await
    }

    async fn reopen(&mut self) -> Result<Head, WriteError> {
        if self.switches.full.load(Ordering::SeqCst) {
            return Err(error(Fault::Full, Outcome::NotStored));
        }
        let one_less = |left: usize| left.checked_sub(1);
        let failing = &self.switches.fail_reopen;
        if failing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok()
        {
            return Err(error(Fault::Transient, Outcome::NotStored));
        }
        self.memory.reopen().await
    }
}

/// The reading side fails too when it is told to.
impl Meddler for Switches {
    async fn events(&self, memory: &Memory, query: &EventQuery) -> Result<EventPage, ReadError> {
        if self.unreadable.load(Ordering::SeqCst) {
            return Err("injected".into());
        }
        memory.events(query).await
    }
}

impl Switches {
    /// Makes every commit wait until the permit is dropped.
    pub async fn hold_commits(&self) -> OwnedSemaphorePermit {
        let free = u32::try_from(self.commits.available_permits()).unwrap_or(COMMITS_MAX);
        self.commits.clone().acquire_many_owned(free).await.unwrap()
    }
}

/// A log over a faulty backend, with its service running.
pub struct Rig {
    pub log: Log,
    pub switches: Switches,
    pub service: JoinHandle<Result<(), nexus_core::Fatal>>,
}

pub async fn rig(options: LogOptions) -> Result<Rig, Error> {
    let random = Random::seeded(7);
    let memory = Memory::new(&random);
    let switches = Switches {
        fail_commit: Arc::default(),
        full: Arc::default(),
        fail_reopen: Arc::default(),
        unreadable: Arc::default(),
        commits: Arc::new(Semaphore::new(COMMITS_MAX as usize)),
        batches: Arc::default(),
    };
    let backend = Faulty {
        memory: memory.clone(),
        switches: switches.clone(),
    };
    let pages = Meddled::new(memory, switches.clone());
    let clock = Clock::manual(1_763_704_800_000_000);
    let (log, service): (Log, Service) =
        Log::open(backend, pages, Catalogue::known(), options, clock, random).await?;
    Ok(Rig {
        log,
        switches,
        service: tokio::spawn(service.run()),
    })
}
