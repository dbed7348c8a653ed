//! A log in memory with a clock that the test owns, and endpoints on it.

use std::{future::Future, sync::Arc, time::Duration};

use nexus_auth::{Vault, VaultKey, VaultKeys};
use nexus_core::{
    Breaker, Catalogue, Causes, Clock, Command, Event, From, Log, LogOptions, Memory, NewEvent,
    PatternSet, Position, Principal, ProtocolEvent, Random,
};
use nexus_outbound::{Client, OutboundOptions};
use nexus_reactors::{Alerts, DeliveryQuery, DeliveryState, Engine, EngineOptions};
use nexus_webhooks::{Created, EndpointInput, Endpoints, EndpointsOptions, Error, Operator, Parts};

/// When tests begin: 2026-11-21T13:00:00Z, in microseconds since 1970.
pub(crate) const NOW_US: i64 = 1_795_266_000_000_000;
pub(crate) const SECOND_US: i64 = 1_000_000;
pub(crate) const DAY_US: i64 = 86_400 * SECOND_US;

/// A log whose clock stands still until the test moves it.
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) clock: Clock,
    vault: Vault,
    client: Client,
}

/// An engine with its endpoints.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) endpoints: Endpoints,
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = Clock::manual(NOW_US);
        let random = Random::seeded(7);
        let memory = Memory::new(&random);
        let (log, service) = Log::open(
            memory.clone(),
            memory,
            Catalogue::known(),
            LogOptions::default(),
            clock.clone(),
            random,
        )
        .await
        .unwrap();
        tokio::spawn(service.run());
        let random = Random::system();
        let keys = VaultKeys::one(VaultKey::generate(&random));
        let vault = Vault::open(log.clone(), keys, random).await.unwrap();
        let options = OutboundOptions {
            allow_loopback: true,
            ..OutboundOptions::default()
        };
        Self {
            log,
            clock,
            vault,
            client: Client::new(&options).unwrap(),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// An engine on the log, with every endpoint that is kept.
    pub(crate) async fn run(&self) -> Running {
        self.run_with(|_, _| {}).await
    }

    /// The same, with other options.
    pub(crate) async fn run_with(
        &self,
        set: impl FnOnce(&mut EngineOptions, &mut EndpointsOptions),
    ) -> Running {
        let mut of_engine = EngineOptions {
            linger: Duration::from_millis(5),
            storage_retry: Duration::from_millis(1),
            drain_timeout: Duration::from_secs(5),
            ..EngineOptions::default()
        };
        let mut options = EndpointsOptions {
            // The engine measures this on its own clock, which no test moves.
            breaker: Breaker {
                open: Duration::from_millis(20),
                ..Breaker::default()
            },
            ..EndpointsOptions::default()
        };
        set(&mut of_engine, &mut options);
        let engine = Engine::start(self.log.clone(), Vec::new(), of_engine, Alerts::none())
            .await
            .unwrap();
        let parts = Parts {
            log: self.log.clone(),
            client: self.client.clone(),
            engine: engine.handle(),
            vault: self.vault.clone(),
        };
        let endpoints = Endpoints::open(parts, options);
        let endpoints = endpoints.await.unwrap();
        tokio::spawn(endpoints.service().run());
        Running { engine, endpoints }
    }

    /// Publishes payments of these transactions, all in one commit, and gives the position of the last.
    pub(crate) async fn pay(&self, transactions: impl IntoIterator<Item = String>) -> Position {
        let events = transactions.into_iter().map(|id| {
            let payload = format!(r#"{{"transactionId":"{id}","amount":12.50,"payerId":"payer"}}"#);
            self.event(ProtocolEvent::PaymentReceived, payload)
        });
        self.publish(events.collect()).await
    }

    /// Publishes events that no endpoint here asks for.
    pub(crate) async fn noise(&self, count: usize) {
        let noise = self.event(
            ProtocolEvent::StatusUpdate,
            r#"{"status":"idle"}"#.to_owned(),
        );
        self.publish(vec![noise; count]).await;
    }

    pub(crate) fn event(&self, event: ProtocolEvent, payload: String) -> NewEvent {
        NewEvent::new(self.log.catalogue().known_type(event), payload)
    }

    async fn publish(&self, events: Vec<NewEvent>) -> Position {
        let command = Command {
            events,
            ..Command::default()
        };
        let receipt = self.log.submit(&Principal::nexus(), command).await.unwrap();
        receipt.position()
    }

    /// Everything of a topic, oldest first.
    pub(crate) async fn all(&self, topic: &str) -> Vec<Arc<Event>> {
        let patterns = PatternSet::parse([topic]).unwrap();
        let (mut cursor, _) = self.log.cursor(From::Earliest, patterns).await.unwrap();
        let mut events = Vec::new();
        while let Some(page) = cursor.try_next().await.unwrap() {
            events.extend(page.events);
        }
        events
    }
}

impl Running {
    /// When the next attempt at the one delivery of an endpoint is due that waits; waits for it.
    pub(crate) async fn next_due_us(&self, id: &str) -> i64 {
        let handle = self.engine.handle();
        let due_us = async || {
            let query = DeliveryQuery {
                target: Some(format!("endpoint-{id}").into()),
                state: DeliveryState::Waiting,
                after: None,
                limit: 10,
            };
            let waiting = handle.deliveries(query).await.unwrap().items;
            waiting.first().and_then(|delivery| delivery.due_us)
        };
        until("it waits", || async { due_us().await.is_some() }).await;
        due_us().await.unwrap()
    }

    pub(crate) async fn create(&self, input: &EndpointInput) -> Result<Created, Error> {
        self.endpoints.create(&operator(), input).await
    }
}

/// Someone who may do everything.
pub(crate) fn operator() -> Operator<'static> {
    static NEXUS: std::sync::LazyLock<Principal> = std::sync::LazyLock::new(Principal::nexus);
    Operator {
        principal: &NEXUS,
        causes: Causes::default(),
    }
}

/// An endpoint for payments at an address.
pub(crate) fn payments_to(url: &str) -> EndpointInput {
    EndpointInput {
        url: Some(url.to_owned()),
        patterns: Some(vec!["payment.*".to_owned()]),
        ..EndpointInput::default()
    }
}

/// Waits for a condition; fails loudly when it does not come.
pub(crate) async fn until<F, R>(what: &str, mut condition: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
