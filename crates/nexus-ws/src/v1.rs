//! Face v1 over a WebSocket: subscriptions with a reader each, publishing, acknowledging.

mod acknowledging;
mod answers;
mod consumers;
mod protocol;
mod refusal;
mod subscribing;
mod subscriptions;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use nexus_core::{Error, Position, Scope, Seq, read_event};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use self::{
    answers::Answer,
    protocol::{Publish, Request},
    subscribing::Starting,
    subscriptions::Subscriptions,
};
pub(crate) use self::{
    answers::json,
    consumers::Consumers,
    refusal::{About, Refusal},
};
use crate::{
    handle::Shared,
    publishing::{self, Origin, Publishes},
    selection::Rights,
    signal::Notice,
    socket::{Closing, Face, Link, Message},
};

/// The subprotocol.
pub(crate) const PROTOCOL: &str = "nexus.v1.json";

/// Reads a message for the fuzzer; a refusal has to be an answer that can be sent.
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::expect_used, reason = "what does not hold ends it")]
pub(crate) fn check_message(text: &str) {
    if let Err(refusal) = protocol::read(text) {
        let answer = refusal.to_json();
        let answer = nexus_core::RawObject::parse(answer.as_bytes()).expect("it is JSON");
        let answer = answer.expect("it is an object");
        assert_eq!(
            answer.get("ref").is_some(),
            matches!(refusal.about, About::Ref(_))
        );
    }
    if let Ok(Request::Subscribe(subscribe)) = protocol::read(text) {
        assert!(!subscribe.id.is_empty() && !subscribe.patterns.is_empty());
    }
}

/// A connection of face v1.
pub(crate) struct V1 {
    shared: Arc<Shared>,
    origin: Origin,
    state: State,
    /// What the client may read, once it is known.
    rights: Option<Rights>,
    subscriptions: Subscriptions,
    starting: Option<Box<Starting>>,
    publishes: Publishes<Box<str>>,
}

enum State {
    /// It has still to say who it is.
    Stranger(Stranger),
    /// It is about to be greeted.
    Greeting(BoxFuture<'static, Result<Seq, Error>>),
    Open,
}

/// A place among the sockets that did not say who they are, until when it may be kept.
pub(crate) struct Stranger {
    pub(crate) _place: OwnedSemaphorePermit,
    pub(crate) until: Instant,
}

impl V1 {
    /// A connection; `stranger` if it has still to say who it is.
    pub(crate) fn new(
        shared: Arc<Shared>,
        origin: Origin,
        rights: Option<Rights>,
        stranger: Option<Stranger>,
    ) -> Self {
        let state = match stranger {
            Some(stranger) => State::Stranger(stranger),
            None => greeting(&shared),
        };
        Self {
            shared,
            origin,
            state,
            rights,
            subscriptions: Subscriptions::default(),
            starting: None,
            publishes: Publishes::default(),
        }
    }

    fn authenticate(&mut self, request: Request<'_>, link: &mut Link) {
        let Request::Auth { token } = request else {
            let refusal = Refusal::new("unauthorized", "the first message must be auth");
            link.outbound.answer(&refusal.to_json());
            return link.close(Closing::BadToken);
        };
        match self.shared.auth.grant(token.expose()) {
            Ok(grant) if may_connect(grant.principal.scopes()) => {
                self.rights = Some(Rights::of(&grant.principal));
                link.grant = Some(grant);
                self.state = greeting(&self.shared);
            }
            Ok(_) => link.close(Closing::Forbidden),
            Err(_) => link.close(Closing::BadToken),
        }
    }

    fn serve(
        &mut self,
        request: Request<'_>,
        link: &mut Link,
        context: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        match request {
            Request::Auth { .. } => {
                let refusal = Refusal::new("conflict", "the connection is authenticated already");
                return Err(refusal);
            }
            Request::Subscribe(subscribe) => {
                let about = About::Id(subscribe.id.clone());
                let starting = self.begin(subscribe, link);
                self.starting = Some(Box::new(starting.map_err(|refusal| refusal.about(about))?));
            }
            Request::Publish(publish) => {
                let about = About::Ref(publish.reference.clone());
                let begun = self.publish(publish, link, context);
                begun.map_err(|refusal| refusal.about(about))?;
            }
            Request::Ack { id, position } => {
                let acknowledged = self.acknowledge(&id, position);
                acknowledged.map_err(|refusal| refusal.about(About::Id(id)))?;
            }
            Request::Unsubscribe { id } => {
                if !self.subscriptions.remove(&id, link) {
                    return Err(no_subscription().about(About::Id(id)));
                }
                let answer = Answer::Unsubscribed { id: &id };
                link.outbound.answer(&answer.to_json());
            }
            Request::Ping { reference } => {
                let head = self.shared.log.head().seq.get();
                let answer = Answer::pong(reference.as_deref(), head);
                link.outbound.answer(&answer.to_json());
            }
        }
        Ok(())
    }

    fn publish(
        &mut self,
        publish: Publish<'_>,
        link: &mut Link,
        context: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let principal = link.renewed().map_err(|error| Refusal::of_auth(&error))?;
        publishing::admit(&self.shared.options, principal.source())?;
        let catalogue = self.shared.log.catalogue();
        let refused = |error: Error| Refusal::of(&error);
        let mut event = read_event(&publish.event, &catalogue).map_err(refused)?;
        self.origin.add_to(&mut event.causes);
        let key = publish.idempotency_key.as_deref();
        let log = &self.shared.log;
        let command = publishing::command(log, principal.source(), event, key);
        self.publishes
            .begin(log, principal, command, publish.reference, context);
        Ok(())
    }

    fn acknowledge(&mut self, id: &str, position: Position) -> Result<(), Refusal> {
        let subscription = self.subscriptions.get(id).ok_or_else(no_subscription)?;
        let Some(durable) = &mut subscription.durable else {
            let message = "the subscription has no durable cursor";
            return Err(Refusal::new("invalid-request", message));
        };
        // Not only what was sent here: who comes back acknowledges what an earlier connection brought.
        let head = self.shared.log.head();
        if position.epoch != head.epoch || position.seq > head.seq {
            let message = format!("{position} is not in the log, which is at {head}");
            return Err(Refusal::new("unknown-position", message));
        }
        durable.acknowledging.acknowledge(position);
        Ok(())
    }

    /// Says hello when the oldest event is known.
    fn greet(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let State::Greeting(pruned) = &mut self.state else {
            return false;
        };
        let Poll::Ready(pruned) = pruned.as_mut().poll(context) else {
            return false;
        };
        let head = self.shared.log.head();
        let earliest = pruned.ok().map(|pruned| pruned.next().get());
        let answer = Answer::hello(head.epoch, head.seq.get(), earliest);
        link.outbound.answer(&answer.to_json());
        self.state = State::Open;
        true
    }
}

fn greeting(shared: &Shared) -> State {
    let log = shared.log.clone();
    State::Greeting(Box::pin(async move { log.pruned_through().await }))
}

fn no_subscription() -> Refusal {
    Refusal::new("not-found", "there is no subscription with this id")
}

/// Whether somebody with these scopes has a use for the connection.
pub(crate) fn may_connect(scopes: nexus_core::Scopes) -> bool {
    scopes.has(Scope::Read) || scopes.has(Scope::Publish)
}

impl Face for V1 {
    fn poll_work(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let mut moved = self.greet(link, context) | self.poll_starting(link, context);
        while let Some((reference, published)) = self.publishes.poll_next(context) {
            moved = true;
            let answer = match &published {
                Ok(receipt) => Answer::published(&reference, receipt).to_json(),
                Err(error) => Refusal::of(error).about(About::Ref(reference)).to_json(),
            };
            link.outbound.answer(&answer);
        }
        let log = &self.shared.log;
        while let Some((id, written)) = self.subscriptions.poll_acknowledging(log, context) {
            moved = true;
            let answer = match written {
                Ok(position) => Answer::Acked { id: &id, position }.to_json(),
                Err(refusal) => refusal.about(About::Id(id)).to_json(),
            };
            link.outbound.answer(&answer);
        }
        moved
    }

    fn takes_messages(&self, _: &Link) -> bool {
        let is_greeting = matches!(self.state, State::Greeting(_));
        let publishes_max = self.shared.options.publishes_max;
        !is_greeting && self.starting.is_none() && self.publishes.len() < publishes_max
    }

    fn receive(&mut self, message: Message<'_>, link: &mut Link, context: &mut Context<'_>) {
        let request = match message {
            Message::Text(text) => protocol::read(text),
            Message::Binary => {
                let refusal = Refusal::new("malformed-json", "a message is a text frame");
                Err(refusal)
            }
            Message::TooLarge => Err(Refusal::new("too-large", "the message was skipped")),
            Message::TooFast => Err(Refusal::new("rate-limited", "the message was skipped")),
        };
        let served = match (request, &self.state) {
            (Ok(request), State::Stranger(_)) => return self.authenticate(request, link),
            (Err(refusal), State::Stranger(_)) => {
                link.close(Closing::BadToken);
                Err(refusal)
            }
            (Ok(request), _) => self.serve(request, link, context),
            (Err(refusal), _) => Err(refusal),
        };
        if let Err(refusal) = served {
            link.outbound.answer(&refusal.to_json());
        }
    }

    fn fill(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        self.subscriptions.fill(link, context)
    }

    fn give_back(&mut self, link: &mut Link) {
        self.subscriptions.give_back(link);
    }

    fn granted(&mut self, link: &mut Link) {
        let Some(grant) = &link.grant else {
            return;
        };
        let scopes = grant.principal.scopes();
        let reads = !self.subscriptions.is_empty() || self.starting.is_some();
        if !may_connect(scopes) || (reads && !scopes.has(Scope::Read)) {
            return link.close(Closing::Forbidden);
        }
        let rights = Rights::of(&grant.principal);
        if self.rights.as_ref() != Some(&rights) {
            self.subscriptions.restrict(&rights, link);
            self.rights = Some(rights);
        }
    }

    fn noticed(&mut self, notice: Notice, link: &mut Link) {
        match notice {
            Notice::Recheck => {}
            Notice::Positions => self.subscriptions.tell(1, link),
            Notice::TakenOver => {
                let mut leases = self.subscriptions.iter().filter_map(|subscription| {
                    let durable = subscription.durable.as_ref()?;
                    Some(&durable.lease)
                });
                let starting = self.starting.as_ref().and_then(|starting| starting.lease());
                if leases.any(|lease| !lease.is_held())
                    || starting.is_some_and(|lease| !lease.is_held())
                {
                    link.close(Closing::TakenOver);
                }
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Stranger(stranger) => Some(stranger.until),
            State::Greeting(_) | State::Open => None,
        }
    }

    fn on_time(&mut self, now: Instant, link: &mut Link) {
        if let State::Stranger(stranger) = &self.state
            && now >= stranger.until
        {
            link.close(Closing::BadToken);
        }
    }

    fn is_settled(&self) -> bool {
        self.publishes.len() == 0 && self.subscriptions.is_acknowledged()
    }

    fn leave(&mut self, link: &mut Link) -> Option<Position> {
        self.starting = None;
        self.subscriptions.leave(link)
    }
}
