//! What a subscription asks for.

use std::sync::Arc;

use nexus_core::Position;

use crate::{Client, Error, Start, Subscription, subscription::begin};

/// How a stream comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// A WebSocket.
    #[default]
    WebSocket,
    /// Server-sent events, for places that let no WebSocket through. It cannot acknowledge, so that
    /// durable cursors need a WebSocket.
    Sse,
}

/// Sets up a [`Subscription`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until `open`"]
pub struct Subscribe {
    client: Client,
    pub(crate) asked: Asked,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) patterns: Vec<String>,
    pub(crate) filter: Option<String>,
    /// Nothing when it was not said, which matters to a durable cursor.
    pub(crate) from: Option<Start>,
    pub(crate) durable: Option<Arc<str>>,
    pub(crate) batch: bool,
    pub(crate) transport: Transport,
}

impl Client {
    /// Follows the events of these topics, names or patterns.
    pub fn subscribe<P: Into<String>>(&self, patterns: impl IntoIterator<Item = P>) -> Subscribe {
        Subscribe {
            client: self.clone(),
            asked: Asked {
                patterns: patterns.into_iter().map(Into::into).collect(),
                filter: None,
                from: None,
                durable: None,
                batch: false,
                transport: Transport::WebSocket,
            },
        }
    }
}

impl Subscribe {
    /// Only events for which this expression is true: `payload.amount > 100`.
    pub fn filter(mut self, expression: impl Into<String>) -> Self {
        self.asked.filter = Some(expression.into());
        self
    }

    /// Begins here. Without it, a stream begins with the next event that happens, a durable one where it
    /// was acknowledged.
    pub fn from(mut self, start: Start) -> Self {
        self.asked.from = Some(start);
        self
    }

    /// Begins behind this position, if there is one: what a caller has kept from
    /// [`Subscription::position`].
    pub fn after(self, position: Option<Position>) -> Self {
        match position {
            Some(position) => self.from(Start::After(position)),
            None => self,
        }
    }

    /// Keeps its place at the server, under this name: it goes on where it was acknowledged. `from` counts
    /// only until then. Of two streams with one name the newer takes over.
    pub fn durable(mut self, name: impl Into<Arc<str>>) -> Self {
        self.asked.durable = Some(name.into());
        self
    }

    /// Takes many events in one message, for streams with many events.
    pub fn batch(mut self, batch: bool) -> Self {
        self.asked.batch = batch;
        self
    }

    /// How the stream comes.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.asked.transport = transport;
        self
    }

    /// Begins to connect, in a task of its own. [`Subscription::live`] waits until it is subscribed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it asks for what cannot be, [`Error::Draining`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(self) -> Result<Subscription, Error> {
        let asked = &self.asked;
        if asked.patterns.is_empty() {
            return Err(Error::invalid("the subscription", "it has no pattern"));
        }
        if asked.transport == Transport::Sse {
            if asked.durable.is_some() {
                let why = "a durable one needs a WebSocket: SSE cannot acknowledge";
                return Err(Error::invalid("the subscription", why));
            }
            // A list of patterns is one parameter there.
            if asked.patterns.iter().any(|pattern| pattern.contains(',')) {
                return Err(Error::invalid("the subscription", "a pattern has a comma"));
            }
        }
        self.client.shared.refuse_if_draining()?;
        Ok(begin(&self.client.shared, self.asked))
    }
}
