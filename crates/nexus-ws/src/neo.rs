//! The neo face over a WebSocket: names or patterns, one order, and replays of what came before.

mod feed;
mod protocol;
mod subscriptions;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use nexus_auth::Grant;
use nexus_core::{Position, Recovery, Scope, Start};

use self::{
    feed::{Fed, Feed, LIVE},
    protocol::{Refusal, Request, Subscribed, Unsubscribed},
    subscriptions::Wanted,
};
use crate::{
    handle::{Seat, Shared},
    reader::reason,
    selection::Rights,
    socket::{Closing, Face, Link, Message},
};

/// A subscription whose start is being looked up.
struct Starting {
    wanted: Wanted,
    start: BoxFuture<'static, Result<Start, nexus_core::Error>>,
}

/// Reads a message for the fuzzer; a refusal has to be an answer that can be sent.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check_message(text: &str) {
    if let Err(refusal) = protocol::read(text) {
        assert!(nexus_core::Json::parse(refusal.to_json().as_bytes()).is_ok());
    }
}

/// A connection of the neo face.
pub(crate) struct Neo {
    feed: Feed,
    starting: Option<Starting>,
}

impl Neo {
    pub(crate) fn new(shared: Arc<Shared>, seat: &Seat, grant: &Grant) -> Self {
        let rights = Rights::of(&grant.principal);
        Self {
            feed: Feed::new(shared, seat.signal.clone(), rights),
            starting: None,
        }
    }

    fn ask(&mut self, request: Request, link: &mut Link) {
        match request {
            Request::Subscribe { events, from } => {
                let catalogue = link.shared().log.catalogue();
                let wanted = Wanted::resolve(events, &catalogue, &self.feed.rights);
                match from {
                    None => self.subscribe(wanted, None, link),
                    Some(from) => {
                        let start = link.shared().start(from);
                        self.starting = Some(Starting { wanted, start });
                    }
                }
            }
            Request::Unsubscribe { events } => {
                self.take_back(link);
                self.feed.unsubscribe(&events);
                let answer = Unsubscribed {
                    status: "unsubscribed",
                    events: self.feed.subscriptions.texts(),
                };
                link.outbound.answer(&protocol::json(&answer));
            }
        }
    }

    fn subscribe(&mut self, wanted: Wanted, start: Option<Start>, link: &mut Link) {
        self.take_back(link);
        let valid_events = wanted.valid.clone();
        let invalid_events = wanted.invalid.clone();
        let position = match self.feed.subscribe(wanted, start) {
            Ok(position) => position,
            Err(refusal) => return refuse(refusal, link),
        };
        let answer = Subscribed {
            status: "subscribed",
            events: self.feed.subscriptions.texts(),
            valid_events: &valid_events,
            invalid_events: &invalid_events,
            recovered: start.map(|start| start.recovery == Recovery::Recovered),
            reason: start.and_then(|start| reason(start.recovery)),
            position,
        };
        link.outbound.answer(&protocol::json(&answer));
    }

    /// Takes back what the socket has not taken: after a change it may not be wanted any more.
    fn take_back(&mut self, link: &mut Link) {
        let feed = &mut self.feed;
        let live = |reader| reader == LIVE;
        link.outbound
            .retract(live, |_, position| feed.rewind(position));
    }
}

fn refuse(refusal: Refusal, link: &mut Link) {
    link.outbound.answer(&refusal.to_json());
}

impl Face for Neo {
    /// Finishes a subscription whose start is known now.
    fn poll_work(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let Some(starting) = &mut self.starting else {
            return false;
        };
        let Poll::Ready(start) = starting.start.as_mut().poll(context) else {
            return false;
        };
        let wanted = self.starting.take().map(|starting| starting.wanted);
        match start {
            Ok(start) => self.subscribe(wanted.unwrap_or_default(), Some(start), link),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "a subscription could not be started");
                refuse(Refusal::Unavailable, link);
            }
        }
        true
    }

    fn takes_messages(&self, _: &Link) -> bool {
        self.starting.is_none()
    }

    fn receive(&mut self, message: Message<'_>, link: &mut Link, _: &mut Context<'_>) {
        match message {
            Message::TooFast => refuse(Refusal::TooFast, link),
            Message::TooLarge => refuse(Refusal::TooLarge, link),
            Message::Binary => refuse(Refusal::Malformed, link),
            Message::Text(text) => match protocol::read(text) {
                Ok(request) => self.ask(request, link),
                Err(refusal) => refuse(refusal, link),
            },
        }
    }

    fn fill(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let mut filled = false;
        while link.outbound.wants_events() {
            match self.feed.poll_next(context) {
                Poll::Ready(Fed::Chunk(chunk)) => {
                    link.outbound.push(chunk);
                    filled = true;
                }
                Poll::Ready(Fed::Pruned) => {
                    link.close(Closing::Pruned);
                    return true;
                }
                Poll::Pending => break,
            }
        }
        filled
    }

    /// Replays that were handed over stay: they cannot be read backwards, and a connection may have few.
    fn give_back(&mut self, link: &mut Link) {
        let feed = &mut self.feed;
        let live = |reader| reader == LIVE;
        link.outbound
            .give_back(live, |_, position| feed.rewind(position));
        feed.forget();
    }

    fn granted(&mut self, link: &mut Link) {
        let Some(grant) = &link.grant else {
            return;
        };
        if !grant.principal.scopes().has(Scope::Read) {
            return link.close(Closing::Forbidden);
        }
        let rights = Rights::of(&grant.principal);
        if rights != self.feed.rights {
            self.take_back(link);
            self.feed.restrict(rights);
        }
    }

    fn leave(&mut self, link: &mut Link) -> Option<Position> {
        let mut unsent = None;
        link.outbound.retract(
            |_| true,
            |_, position| unsent = Some(unsent.map_or(position, |unsent| position.min(unsent))),
        );
        let resume = self.feed.resume();
        let resume = unsent.map_or(resume, |unsent| unsent.min(resume));
        self.starting = None;
        self.feed.leave();
        Some(link.shared().log.position(resume))
    }
}
