//! An event that the log takes: only a log makes one, so one is taken from its backend.

use std::sync::Arc;

use nexus_core::{
    Backend, Catalogue, Clock, Command, Head, Loaded, Log, LogOptions, Memory, Plan, Principal,
    Pruned, Random, Seq, Validated, Wanted, WriteError,
};
use parking_lot::Mutex;

/// Keeps what it is given to store.
#[derive(Clone)]
struct Tapped(Memory, Arc<Mutex<Vec<Validated>>>);

impl Backend for Tapped {
    async fn begin(&mut self, wanted: &Wanted) -> Result<(Head, Loaded), WriteError> {
        self.0.begin(wanted).await
    }

    async fn commit(&mut self, plan: &Plan) -> Result<(), WriteError> {
        self.1.lock().extend(plan.events.iter().cloned());
        self.0.commit(plan).await
    }

    async fn reopen(&mut self) -> Result<Head, WriteError> {
        self.0.reopen().await
    }

    async fn prune(&mut self, through: Seq) -> Result<Pruned, WriteError> {
        self.0.prune(through).await
    }
}

/// The event of a command that has one.
pub(super) async fn event_of(command: impl FnOnce(&Catalogue) -> Command) -> Validated {
    let random = Random::seeded(7);
    let tapped = Tapped(Memory::new(&random), Arc::default());
    let (log, service) = Log::open(
        tapped.clone(),
        tapped.0.clone(),
        Catalogue::known(),
        LogOptions::default(),
        Clock::manual(1),
        random,
    )
    .await
    .unwrap();
    tokio::spawn(service.run());
    let command = command(&log.catalogue());
    log.submit(&Principal::nexus(), command).await.unwrap();
    let event = tapped.1.lock().pop();
    event.unwrap()
}
