//! A test delivery: one made-up event, sent now, and what came back.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{Attempt, Event, Exchange, Mode, Reactor, ReactorError, Seq, Source, Topic};

use super::Endpoints;
use crate::{Error, delivery::target_name};

/// The topic of the event of a test. It is reserved, so that nobody takes it for a fact.
const TEST_TOPIC: &str = "endpoint.test";

/// What became of a test delivery.
#[derive(Debug)]
pub struct Tested {
    /// Whether the receiver took it.
    pub is_delivered: bool,
    /// Why it did not.
    pub error: Option<String>,
    /// What was sent and answered.
    pub exchange: Exchange,
}

impl Endpoints {
    /// Sends an endpoint an event of the topic `endpoint.test` that is not in the log, signed and guarded as
    /// every other, also when it is disabled. Nothing follows from how it ends.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Broken`].
    pub async fn test(&self, id: &str) -> Result<Tested, Error> {
        let live = self.live(id)?;
        let delivery = self.delivery(&live)?;
        let event = Event {
            seq: Seq::ZERO,
            id: self.0.ids.next(),
            topic: Topic::parse(TEST_TOPIC)?,
            source: Source::nexus(),
            key: None,
            time_us: self.now_us(),
            causes: Bytes::from_static(b"{}"),
            payload: serde_json::json!({ "endpoint": id, "message": "a test of this endpoint" })
                .to_string()
                .into(),
        };
        let target = target_name(id);
        let key: Arc<str> = format!("{target}:{}", event.id).into();
        let attempt = Attempt::new(
            Arc::new(event),
            1,
            key,
            format!("{target}.0").into(),
            Mode::Live,
        );
        let result = delivery.react(attempt.clone()).await;
        let exchange = attempt.take_exchange().unwrap_or_default();
        Ok(Tested {
            is_delivered: result.is_ok(),
            error: result.err().map(|error: ReactorError| error.to_string()),
            exchange,
        })
    }
}
