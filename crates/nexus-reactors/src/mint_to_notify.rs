//! mint-to-notify: tells a node what became of a mint, signed, in the format that live nodes verify.

use std::{sync::Arc, time::Duration};

use ::http::{HeaderValue, Method, header::CONTENT_TYPE};
use bytes::Bytes;
use nexus_auth::Auth;
use nexus_core::{
    Attempt, Catalogue, Clock, Event, NameForm, PatternSet, ProtocolEvent, Reaction, Reactor,
    ReactorError, ReactorOptions, SharedReactor, iso8601_ms,
};
use nexus_outbound::{Client, Outgoing};

use crate::{
    js,
    nodes::{Nodes, below},
    options::changed,
    outgoing,
};

/// How long a receiver may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an attempt may take: the call, and before it a look into the directory.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(17);
const PATH: &str = "api/webhook/nexus";
const FLOWPAY: &str = "flowpay";
const NEOBOT: &str = "neobot";

/// Tells one node of events. One reactor for each receiver: one that fails does not bother the others.
#[derive(Debug)]
pub struct MintToNotify {
    options: ReactorOptions,
    receiver: Arc<str>,
    client: Client,
    nodes: Nodes,
    auth: Auth,
    catalogue: Catalogue,
    clock: Clock,
}

impl MintToNotify {
    /// Tells `receiver` (a node's id) of the events that match; the reactor is named
    /// `mint-to-notify-<receiver>`.
    ///
    /// A receiver without an address is not told anything.
    #[must_use]
    pub fn new(
        receiver: &str,
        on: PatternSet,
        client: Client,
        nodes: Nodes,
        auth: Auth,
        clock: Clock,
    ) -> Self {
        let mut options = ReactorOptions::new(&format!("mint-to-notify-{receiver}"), on);
        options.timeout = ATTEMPT_TIMEOUT;
        Self {
            options,
            receiver: receiver.into(),
            client,
            nodes,
            auth,
            catalogue: Catalogue::known(),
            clock,
        }
    }

    /// Both receivers of the protocol: flowpay hears of `mint.confirmed` and `mint.failed`, neobot of
    /// `mint.confirmed`.
    #[must_use]
    pub fn both(client: &Client, nodes: &Nodes, auth: &Auth, clock: &Clock) -> [Self; 2] {
        let to = |receiver, events: &[ProtocolEvent]| {
            let on = events
                .iter()
                .flat_map(|event| PatternSet::from(*event).iter().cloned().collect::<Vec<_>>())
                .collect();
            Self::new(
                receiver,
                on,
                client.clone(),
                nodes.clone(),
                auth.clone(),
                clock.clone(),
            )
        };
        [
            to(
                FLOWPAY,
                &[ProtocolEvent::MintConfirmed, ProtocolEvent::MintFailed],
            ),
            to(NEOBOT, &[ProtocolEvent::MintConfirmed]),
        ]
    }

    /// The same reactor with other options, such as another retry schedule. Its name and what it runs
    /// for stay.
    #[must_use]
    pub fn with_options(mut self, change: impl FnOnce(&mut ReactorOptions)) -> Self {
        self.options = changed(self.options, change);
        self
    }

    /// For [`Engine::start`](crate::Engine::start).
    #[must_use]
    pub fn shared(self) -> SharedReactor {
        Arc::new(self)
    }

    /// What the receiver is sent: the same bytes at every attempt.
    fn body(&self, event: &Event, names: NameForm) -> Option<String> {
        let name = match self.catalogue.get(&event.topic) {
            Some(event_type) => event_type.name_in(names),
            None => event.topic.as_str(),
        };
        write_neo_event(event, name)
    }
}

/// An event as the receivers of the NEO protocol read it, `{"event","payload","timestamp"}`, under one of
/// its names: byte for byte what JavaScript would write, because they verify what they have parsed and
/// written again. Nothing when the payload cannot be written so.
#[must_use]
pub fn write_neo_event(event: &Event, name: &str) -> Option<String> {
    // Topics and names are plain ASCII without quotation marks.
    let name = js::stringify(&format!("\"{name}\""))?;
    let payload = js::stringify(std::str::from_utf8(&event.payload).ok()?)?;
    let time = iso8601_ms(event.time_us);
    Some(format!(
        r#"{{"event":{name},"payload":{payload},"timestamp":"{time}"}}"#
    ))
}

impl Reactor for MintToNotify {
    fn options(&self) -> ReactorOptions {
        self.options.clone()
    }

    fn target_url(&self) -> Option<String> {
        self.nodes.shown(&self.receiver, PATH)
    }

    fn rehearses(&self) -> bool {
        true
    }

    async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
        let event = &attempt.event;
        let Some(address) = self.nodes.find(&self.receiver).await? else {
            tracing::warn!(
                seq = event.seq.get(), receiver = %self.receiver,
                "the receiver has no address: it is not told"
            );
            return Ok(Reaction::nothing());
        };
        let names = self
            .auth
            .node(&self.receiver)
            .map_or(NameForm::Name, |node| node.names);
        let body = self
            .body(event, names)
            .ok_or_else(|| ReactorError::final_("the payload cannot be sent"))?;
        let signer = self.auth.signer(&self.receiver).ok_or_else(|| {
            ReactorError::final_(format!(
                "there is no secret to sign with for {}",
                self.receiver
            ))
        })?;
        let mut call = Outgoing::new(Method::POST, below(&address.url, PATH), address.trust);
        call.timeout = CALL_TIMEOUT;
        call.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let now_s = self.clock.now_us().div_euclid(1_000_000);
        call.headers
            .extend(signer.sign(&event.id.to_string(), now_s, body.as_bytes()));
        call.body = Bytes::from(body);
        outgoing::call(&self.client, call, &attempt, &self.clock).await?;
        Ok(Reaction::nothing())
    }
}
