//! CloudEvents over a WebSocket: each message is one event, both ways.
//!
//! What a client sends is published; what its query asked for is sent to it. The language has no word for an
//! answer, so that is an event too: `nexus.published` when one is kept, `nexus.refused` when it is not.

use std::{
    borrow::Cow,
    sync::Arc,
    task::{Context, Poll},
};

use nexus_core::{
    Command, Position, Principal, RawObject, Receipt, Scope, Start, iso8601, read_cloud_event,
};
use serde::Serialize;

use crate::{
    format::Format,
    handle::{Seat, Shared},
    publishing::{self, Origin, Publishes},
    reader::{Next, Reader, reason},
    selection::{Rights, Selection},
    socket::{Chunk, Closing, Face, Link, Message},
    v1::{Refusal, json, may_connect},
};

/// The subprotocol.
pub(crate) const PROTOCOL: &str = "cloudevents.json";

/// A connection has one reader.
const READER: u32 = 0;
/// An id that is told back has at most this many bytes.
const ID_BYTES_MAX: usize = 255;

/// A connection that speaks CloudEvents.
pub(crate) struct CloudEvents {
    shared: Arc<Shared>,
    origin: Origin,
    reader: Option<Reader>,
    /// That it does not begin where it was asked to, until that is said.
    gap: Option<Gap>,
    /// By the ids that their sender gave.
    publishes: Publishes<Option<String>>,
    /// How many answers there were: part of their ids.
    answers: u64,
}

/// What became of an event that the client sent.
#[derive(Serialize)]
struct Answer<'a, T> {
    specversion: &'static str,
    id: String,
    source: &'static str,
    r#type: &'static str,
    /// The id that the client gave the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: String,
    datacontenttype: &'static str,
    data: T,
}

#[derive(Serialize)]
struct Published {
    position: Position,
    id: Option<uuid::Uuid>,
    replayed: bool,
}

/// The stream does not begin where it was asked to.
#[derive(Serialize)]
struct Gap {
    reason: &'static str,
    position: Position,
}

impl CloudEvents {
    /// A connection that is sent what it wants from where it starts, if it wants anything.
    pub(crate) fn new(
        shared: Arc<Shared>,
        origin: Origin,
        seat: &Seat,
        wanted: Option<(Selection, Start)>,
    ) -> Self {
        let gap = wanted.as_ref().and_then(|(_, start)| {
            Some(Gap {
                reason: reason(start.recovery)?,
                position: start.position,
            })
        });
        let reader = wanted.map(|(selection, start)| {
            let after = start.position.seq;
            Reader::new(shared.clone(), seat.signal.clone(), selection, after)
        });
        Self {
            shared,
            origin,
            reader,
            gap,
            publishes: Publishes::default(),
            answers: 0,
        }
    }

    /// Begins to publish what a message says.
    fn take(&mut self, text: &str, link: &mut Link, context: &mut Context<'_>) {
        let object = match RawObject::parse(text.as_bytes()) {
            Ok(Some(object)) => object,
            Ok(None) => {
                let refusal = Refusal::new("malformed-json", "a message is a JSON object");
                return self.refuse(None, &refusal, link);
            }
            Err(error) => return self.refuse(None, &Refusal::of(&error), link),
        };
        let id = object.text("id").ok().flatten();
        let id = id.filter(|id| id.len() <= ID_BYTES_MAX);
        let id = id.map(Cow::into_owned);
        match self.command(&object, link) {
            Ok((principal, command)) => {
                let log = &self.shared.log;
                self.publishes.begin(log, principal, command, id, context);
            }
            Err(refusal) => self.refuse(id.as_deref(), &refusal, link),
        }
    }

    fn command(
        &self,
        object: &RawObject<'_>,
        link: &mut Link,
    ) -> Result<(Principal, Command), Refusal> {
        let principal = link.renewed();
        let principal = principal.map_err(|error| Refusal::of_auth(&error))?;
        publishing::admit(&self.shared.options, principal.source())?;
        let log = &self.shared.log;
        let event = read_cloud_event(object, &log.catalogue());
        let mut event = event.map_err(|error| Refusal::of(&error))?;
        self.origin.add_to(&mut event.causes);
        let command = publishing::command(log, principal.source(), event, None);
        Ok((principal, command))
    }

    fn published(&mut self, id: Option<&str>, receipt: &Receipt, link: &mut Link) {
        let published = Published {
            position: receipt.position(),
            id: receipt.first_id,
            replayed: receipt.replayed,
        };
        self.answer("nexus.published", id, published, link);
    }

    fn refuse(&mut self, id: Option<&str>, refusal: &Refusal, link: &mut Link) {
        self.answer("nexus.refused", id, refusal.details(), link);
    }

    fn answer(
        &mut self,
        r#type: &'static str,
        subject: Option<&str>,
        data: impl Serialize,
        link: &mut Link,
    ) {
        self.answers += 1;
        let answer = Answer {
            specversion: "1.0",
            id: format!("{}-{}", self.origin.request_id, self.answers),
            source: "/nexus",
            r#type,
            subject,
            time: iso8601(self.shared.log.clock().now_us()),
            datacontenttype: "application/json",
            data,
        };
        link.outbound.answer(&json(&answer));
    }

    fn take_back(&mut self, link: &mut Link) {
        let reader = &mut self.reader;
        link.outbound.retract(
            |_| true,
            |_, position| {
                if let Some(reader) = reader {
                    reader.rewind(position);
                }
            },
        );
    }
}

impl Face for CloudEvents {
    fn poll_work(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        if let Some(gap) = self.gap.take() {
            self.answer("nexus.gap", None, gap, link);
            moved = true;
        }
        while let Some((id, published)) = self.publishes.poll_next(context) {
            moved = true;
            match published {
                Ok(receipt) => self.published(id.as_deref(), &receipt, link),
                Err(error) => self.refuse(id.as_deref(), &Refusal::of(&error), link),
            }
        }
        moved
    }

    fn takes_messages(&self, _: &Link) -> bool {
        self.publishes.len() < self.shared.options.publishes_max
    }

    fn receive(&mut self, message: Message<'_>, link: &mut Link, context: &mut Context<'_>) {
        let refusal = match message {
            Message::Text(text) => return self.take(text, link, context),
            Message::Binary => Refusal::new("malformed-json", "a message is a text frame"),
            Message::TooLarge => Refusal::new("too-large", "the message was skipped"),
            Message::TooFast => Refusal::new("rate-limited", "the message was skipped"),
        };
        self.refuse(None, &refusal, link);
    }

    fn fill(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let Some(reader) = &mut self.reader else {
            return false;
        };
        let mut filled = false;
        while link.outbound.wants_events() {
            match reader.poll_next(context) {
                Poll::Ready(Next::Slice(slice)) => {
                    link.outbound
                        .push(Chunk::new(READER, slice, Format::CloudEvents));
                    filled = true;
                }
                Poll::Ready(Next::Passed) => {
                    // Others may run, while much is passed that is not for this reader.
                    context.waker().wake_by_ref();
                    break;
                }
                Poll::Ready(Next::Pruned) => {
                    link.close(Closing::Pruned);
                    return true;
                }
                Poll::Pending => break,
            }
        }
        filled
    }

    fn give_back(&mut self, link: &mut Link) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        link.outbound
            .give_back(|_| true, |_, position| reader.rewind(position));
        reader.forget();
    }

    fn granted(&mut self, link: &mut Link) {
        let Some(grant) = &link.grant else {
            return;
        };
        let scopes = grant.principal.scopes();
        if !may_connect(scopes) || (self.reader.is_some() && !scopes.has(Scope::Read)) {
            return link.close(Closing::Forbidden);
        }
        let rights = Rights::of(&grant.principal);
        self.take_back(link);
        if let Some(reader) = &mut self.reader {
            reader.restrict(&rights);
        }
    }

    fn is_settled(&self) -> bool {
        self.publishes.len() == 0
    }

    fn leave(&mut self, link: &mut Link) -> Option<Position> {
        self.take_back(link);
        let reader = self.reader.take()?;
        Some(reader.settled_position())
    }
}
