//! A log that outlives the agents on it, and what tests look at.

use std::{sync::Arc, time::Duration};

use nexus_agents::{AgentsOptions, Handle, Profile, Service, SessionId, WorkId};
use nexus_core::{
    Catalogue, Clock, Event, EventQuery, Log, LogOptions, Memory, PatternSet, Random, Seq,
};
use tokio::task::JoinHandle;

/// So long a test waits for what has to happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// Agents on a log, as one process has them.
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) agents: Handle,
    service: JoinHandle<()>,
}

pub(crate) fn session(id: &str) -> SessionId {
    SessionId::parse(id).unwrap()
}

pub(crate) fn work(id: &str) -> WorkId {
    WorkId::parse(id).unwrap()
}

/// What lasts long does so in a test, and what is short is very short.
pub(crate) fn options() -> AgentsOptions {
    AgentsOptions {
        grace: Duration::from_millis(50),
        ..AgentsOptions::default()
    }
}

pub(crate) async fn memory_log(clock: Clock) -> Log {
    let random = Random::seeded(7);
    let memory = Memory::new(&random);
    let opened = Log::open(
        memory.clone(),
        memory,
        Catalogue::known(),
        LogOptions::default(),
        clock,
        random,
    );
    let (log, service) = opened.await.unwrap();
    tokio::spawn(service.run());
    log
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(memory_log(Clock::System).await, options()).await
    }

    pub(crate) async fn over(log: Log, options: AgentsOptions) -> Self {
        let (agents, service) = Service::open(log.clone(), options).await.unwrap();
        Self {
            log,
            agents,
            service: tokio::spawn(service.run()),
        }
    }

    /// Ends the process of the agents at once, and begins another on the same log.
    pub(crate) async fn restart(self, options: AgentsOptions) -> Self {
        self.service.abort();
        let _ = self.service.await;
        Self::over(self.log, options).await
    }

    /// Every event of the patterns, the oldest first.
    pub(crate) async fn events(&self, patterns: &[&str]) -> Vec<Arc<Event>> {
        let patterns = PatternSet::parse(patterns.iter().copied()).unwrap();
        let mut query = EventQuery::page(Seq::ZERO, self.log.stored().seq, patterns);
        let mut events = Vec::new();
        loop {
            let page = self.log.events(&query).await.unwrap();
            events.extend(page.events);
            if page.done {
                return events;
            }
            query.after = page.reached;
        }
    }

    /// The topics of the events of the patterns, the oldest first.
    pub(crate) async fn topics(&self, patterns: &[&str]) -> Vec<String> {
        let events = self.events(patterns).await;
        events.iter().map(|event| event.topic.to_string()).collect()
    }
}

pub(crate) fn able(capabilities: &[&str]) -> Profile {
    Profile {
        capabilities: Some(capabilities.iter().map(|&name| name.into()).collect()),
        ..Profile::default()
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} did not happen");
}
