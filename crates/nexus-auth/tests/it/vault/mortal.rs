//! A database whose process dies after so many commits, over a log in memory that outlives it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use nexus_core::{
    Backend, Catalogue, Clock, Fault, Head, Loaded, Log, LogOptions, Memory, Outcome, Plan, Pruned,
    Random, Seq, Wanted, WriteError,
};

/// What outlives the processes that write to it.
#[derive(Clone)]
pub(super) struct Disk(Memory);

struct Mortal {
    memory: Memory,
    /// How many commits there will still be.
    left: Arc<AtomicUsize>,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self(Memory::new(&Random::system()))
    }

    /// The log of a process that dies after so many commits.
    pub(super) async fn open(&self, commits: usize) -> Log {
        let backend = Mortal {
            memory: self.0.clone(),
            left: Arc::new(AtomicUsize::new(commits)),
        };
        let (log, service) = Log::open(
            backend,
            self.0.clone(),
            Catalogue::known(),
            LogOptions::default(),
            Clock::System,
            Random::system(),
        )
        .await
        .unwrap();
        tokio::spawn(service.run());
        log
    }
}

impl Backend for Mortal {
    async fn begin(&mut self, wanted: &Wanted) -> Result<(Head, Loaded), WriteError> {
        self.memory.begin(wanted).await
    }

    async fn commit(&mut self, plan: &Plan) -> Result<(), WriteError> {
        let one_less = |left: usize| left.checked_sub(1);
        let left = &self.left;
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => self.memory.commit(plan).await,
            Err(_) => Err(WriteError {
                outcome: Outcome::NotStored,
                fault: Fault::Fatal,
                source: "the process was killed".into(),
            }),
        }
    }

    async fn reopen(&mut self) -> Result<Head, WriteError> {
        self.memory.reopen().await
    }

    async fn prune(&mut self, through: Seq) -> Result<Pruned, WriteError> {
        self.memory.prune(through).await
    }
}
