//! mint-to-notify: tells a node what became of a mint, signed, in the format that live nodes verify.

use std::{sync::Arc, time::Duration};

use nexus_auth::Auth;
use nexus_core::{
    Attempt, Catalogue, Clock, PatternSet, ProtocolEvent, Reaction, Reactor, ReactorError,
    ReactorOptions, SharedReactor,
};
use nexus_outbound::Client;

use crate::{
    nodes::Nodes,
    notify::{Notifier, PATH, Told},
    options::changed,
};

/// How long a receiver may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an attempt may take: the call, and before it a look into the directory.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(17);
const FLOWPAY: &str = "flowpay";
const NEOBOT: &str = "neobot";

/// Tells one node of events. One reactor for each receiver: one that fails does not bother the others.
#[derive(Debug)]
pub struct MintToNotify {
    options: ReactorOptions,
    notifier: Notifier,
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
        let notifier = Notifier {
            receiver: receiver.into(),
            path: PATH.to_owned(),
            names: None,
            timeout: CALL_TIMEOUT,
            client,
            nodes,
            auth,
            catalogue: Arc::new(Catalogue::known()),
            clock,
        };
        Self { options, notifier }
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
}

impl Reactor for MintToNotify {
    fn options(&self) -> ReactorOptions {
        self.options.clone()
    }

    fn target_url(&self) -> Option<String> {
        self.notifier.shown()
    }

    fn rehearses(&self) -> bool {
        true
    }

    async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
        if let Told::Nowhere = self.notifier.tell(&attempt, None, &|_| {}).await? {
            tracing::warn!(
                seq = attempt.event.seq.get(), receiver = %self.notifier.receiver,
                "the receiver has no address: it is not told"
            );
        }
        Ok(Reaction::nothing())
    }
}
