//! A log over the backend under test, with a clock that the test owns.

use std::{future::Future, sync::Arc, time::Duration};

use nexus_core::{
    Backend, Catalogue, Clock, Command, Event, EventQuery, Fatal, Log, LogOptions, NewEvent, Pages,
    PatternSet, Principal, Random, Receipt, Seq,
};
use tokio::task::JoinHandle;

/// The time at which every test begins, in microseconds since 1970.
pub const BEGIN_US: i64 = 1_763_704_800_000_000;

/// How long a test waits for what takes microseconds.
const ANNOUNCED_MAX: Duration = Duration::from_secs(10);

/// A backend under test.
pub trait Subject: Send + Sync + 'static {
    /// Its writing side.
    type Backend: Backend;
    /// Its reading side.
    type Pages: Pages + Clone;

    /// Opens it. The second time, and each time after that, it is a restart: what was kept is there. What
    /// was opened before is closed by then.
    fn open(
        &self,
        clock: Clock,
        random: Random,
    ) -> impl Future<Output = (Self::Backend, Self::Pages)> + Send;
}

/// A log that is open.
#[derive(Debug)]
pub struct Opened<P> {
    /// The log.
    pub log: Log,
    /// The reading side, without the log before it.
    pub pages: P,
    /// The clock of the log.
    pub clock: Clock,
    service: JoinHandle<Result<(), Fatal>>,
}

/// Opens a log over a subject.
pub async fn open<S: Subject>(subject: &S) -> Opened<S::Pages> {
    open_with(subject, Clock::manual(BEGIN_US), LogOptions::default()).await
}

/// The same with a clock that goes on from elsewhere, and other limits.
pub async fn open_with<S: Subject>(
    subject: &S,
    clock: Clock,
    options: LogOptions,
) -> Opened<S::Pages> {
    let random = Random::system();
    let (backend, pages) = subject.open(clock.clone(), random.clone()).await;
    let catalogue = Catalogue::new(Vec::new(), true).unwrap();
    let (log, service) = Log::open(
        backend,
        pages.clone(),
        catalogue,
        options,
        clock.clone(),
        random,
    )
    .await
    .unwrap();
    Opened {
        log,
        pages,
        clock,
        service: tokio::spawn(service.run()),
    }
}

impl<P: Pages> Opened<P> {
    /// Ends the log cleanly; gives its clock, for the next life.
    pub async fn close(self) -> Clock {
        self.log.close();
        drop(self.log);
        self.service.await.unwrap().unwrap();
        self.clock
    }

    /// An event of a topic.
    pub fn event(&self, topic: &str, payload: &str) -> NewEvent {
        let event_type = self.log.catalogue().resolve(topic).unwrap().event_type;
        NewEvent::new(event_type, payload.to_owned())
    }

    /// Publishes one event for each topic, in one request.
    pub async fn publish(&self, topics: &[&str]) -> Receipt {
        let events = topics.iter().map(|topic| self.event(topic, "{}")).collect();
        let command = Command {
            events,
            ..Command::default()
        };
        self.submit(command).await.unwrap()
    }

    /// Gives a command to the log, as Nexus itself, and waits until readers see what it kept.
    pub async fn submit(&self, command: Command) -> Result<Receipt, nexus_core::Error> {
        let receipt = self.log.submit(&Principal::nexus(), command).await?;
        self.announced(receipt.last).await;
        Ok(receipt)
    }

    /// Waits until readers see an event. It is announced before it is acknowledged, but to another task.
    pub async fn announced(&self, seq: Seq) {
        let mut head = self.log.head_changes();
        let announced = head.wait_for(|head| *head >= seq);
        let announced = tokio::time::timeout(ANNOUNCED_MAX, announced).await;
        announced.expect("what is kept is announced").unwrap();
    }

    /// All events that match, read from the store page by page.
    pub async fn read(&self, patterns: PatternSet) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        let mut after = Seq::ZERO;
        let through = self.log.head().seq;
        while after < through {
            let query = EventQuery::page(after, through, patterns.clone());
            let page = self.pages.events(&query).await.unwrap();
            assert!(page.reached > after, "a page goes on");
            assert_eq!(
                page.done,
                page.reached == through,
                "done is the end of the range"
            );
            after = page.reached;
            events.extend(page.events);
        }
        events
    }
}

/// Patterns as a set.
pub fn patterns(texts: &[&str]) -> PatternSet {
    PatternSet::parse(texts.iter().copied()).unwrap()
}
