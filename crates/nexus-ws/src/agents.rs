//! Sessions of agents over a WebSocket: the events of their topics, what is addressed to them alone, and what
//! they say and do.
//!
//! Connections with the same topics share one group and its bytes; a view says what of it each of them sees.

mod answers;
mod frames;
mod port;
mod protocol;
mod receipt;
mod topics;
mod view;
mod waiting;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use nexus_core::{Coded, Error, From, Kind, Position, Seq, Start};
use nexus_http::Problem;
use serde_json::{Value, json};

pub use self::port::{
    ClaimNamed, Coordinator, Done, SessionAct, SessionConnection, SessionOptions, Standing,
};
pub(crate) use self::{
    frames::write_event,
    view::{Sight, View},
};
use self::{
    protocol::{Request, Since},
    receipt::Receipt,
    topics::resolve,
    waiting::Waiting,
};
use crate::{
    format::Format,
    handle::{Seat, Shared},
    reader::{Next, Reader},
    signal::Notice,
    socket::{Chunk, Closing, Face, Link, Message},
};

/// Whom a frame is from that no session sent.
const NEXUS: &str = "nexus";
/// A connection has one reader.
const READER: u32 = 0;
/// So many ranges in which there is nothing for it are passed at once, before others may run.
const PASSED_MAX: usize = 8;

/// Reads a message for the fuzzer; a refusal has to be an answer that can be sent.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check_message(text: &str) {
    let message = protocol::read(text);
    if let Err(problem) = &message.request {
        let answer = answers::refusal(problem, message.reference.as_deref(), 0);
        assert!(nexus_core::Json::parse(answer.as_bytes()).is_ok());
    }
}

/// What a connection waits for; meanwhile its other messages wait, so that all are done in their order.
enum UnderWay {
    Acting(BoxFuture<'static, Result<Done, Problem>>),
    Replaying(BoxFuture<'static, Result<Start, Error>>),
}

/// A message that is not answered yet.
struct Unanswered {
    reference: Option<Box<str>>,
    under_way: UnderWay,
}

/// A connection of a session.
pub(crate) struct Agents<S: SessionConnection> {
    shared: Arc<Shared>,
    session: S,
    view: View,
    /// Nothing once the connection is closing.
    reader: Option<Reader>,
    receipt: Receipt,
    unanswered: Option<Box<Unanswered>>,
    /// Messages that came meanwhile.
    waiting: Waiting,
}

impl<S: SessionConnection> Agents<S> {
    /// A connection that has still to receive the messages to its session behind a position.
    pub(crate) fn new(shared: Arc<Shared>, seat: &Seat, session: S, start: Start) -> Self {
        let name = seat.signal.session();
        let view = View::new(name.map_or("", |name| name), shared.groups.announced());
        let received = start.position.seq;
        let (signal, selection) = (seat.signal.clone(), view.topics().selection());
        let reader = Reader::new(shared.clone(), signal, selection, received);
        // Nobody told the connection of what changed before the socket was there.
        seat.signal.notify(Notice::Recheck);
        Self {
            shared,
            session,
            view,
            reader: Some(reader),
            receipt: Receipt::new(received),
            unanswered: None,
            waiting: Waiting::default(),
        }
    }

    /// Takes the messages that waited, up to one that has to be waited for.
    fn take_waiting(&mut self, link: &mut Link) {
        while self.unanswered.is_none()
            && let Some(text) = self.waiting.pop()
        {
            self.take(&text, link);
        }
    }

    /// Takes a message.
    fn take(&mut self, text: &str, link: &mut Link) {
        let message = protocol::read(text);
        let reference = message.reference.as_deref();
        let me = self.view.name();
        let served = if message.says_to_be.is_some_and(|name| name != me) {
            let detail = format!("{me} may not act as another session");
            Err(Problem::new(Kind::Forbidden, "not-permitted", detail))
        } else {
            message
                .request
                .and_then(|request| self.serve(request, reference, link))
        };
        if let Err(problem) = served {
            self.refuse(&problem, reference, link);
        }
    }

    fn serve(
        &mut self,
        request: Request,
        reference: Option<&str>,
        link: &mut Link,
    ) -> Result<(), Problem> {
        if !self.holds(link) {
            return Err(nexus_auth::Error::Unauthorized.into());
        }
        match request {
            Request::Subscribe { topics, is_echoed } => {
                self.subscribe(&topics, is_echoed)?;
                self.tell_topics("subscribed", reference, link);
            }
            Request::Unsubscribe { topics } => {
                let patterns = resolve(&topics, &self.shared.log.catalogue())?;
                self.take_back(link);
                self.view.change(|topics| topics.remove(&patterns));
                self.reselect();
                self.tell_topics("unsubscribed", reference, link);
            }
            Request::Replay(since) => {
                self.wait_for(UnderWay::Replaying(self.start(since)), reference);
            }
            Request::Act(act) => {
                if matches!(act, SessionAct::Publish { .. }) {
                    self.view.says();
                }
                self.wait_for(UnderWay::Acting(self.session.act(act)), reference);
            }
        }
        Ok(())
    }

    fn wait_for(&mut self, under_way: UnderWay, reference: Option<&str>) {
        self.unanswered = Some(Box::new(Unanswered {
            reference: reference.map(Box::from),
            under_way,
        }));
    }

    fn subscribe(&mut self, topics: &[String], is_echoed: bool) -> Result<(), Problem> {
        let patterns = resolve(topics, &self.shared.log.catalogue())?;
        let limit = self.shared.options.patterns_max;
        if self.view.topics().count_with(&patterns) > limit {
            return Err(Error::TooMany {
                what: "topics of the connection",
                limit,
            }
            .into());
        }
        let settled = self.settled();
        let since = self.shared.groups.announced().max(settled);
        self.view
            .change(|topics| topics.add(patterns, since, is_echoed));
        self.reselect();
        Ok(())
    }

    /// Reads what the topics now ask for, from where the connection is.
    fn reselect(&mut self) {
        let selection = self.view.topics().selection();
        if let Some(reader) = &mut self.reader
            && **reader.selection() != selection
        {
            reader.reselect(selection, reader.settled());
        }
    }

    /// Where a replay begins.
    fn start(&self, since: Since) -> BoxFuture<'static, Result<Start, Error>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let from = match since {
                Since::From(from) => from,
                Since::Time(time_us) => {
                    let before = shared.log.last_before(time_us.saturating_sub(1)).await?;
                    From::After(shared.log.position(before))
                }
            };
            shared.start(from).await
        })
    }

    /// Sends again what follows a position.
    fn replay(&mut self, start: Start, link: &mut Link) {
        self.take_back(link);
        let from = start.position.seq;
        self.view.replay(from);
        if let Some(reader) = &mut self.reader
            && from < reader.position()
        {
            reader.rewind(from);
        }
    }

    /// Answers the message that is under way, if it is done.
    fn poll_unanswered(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let Some(unanswered) = &mut self.unanswered else {
            return false;
        };
        let done = match &mut unanswered.under_way {
            UnderWay::Acting(did) => match did.as_mut().poll(context) {
                Poll::Ready(did) => {
                    let said = did.as_ref().ok().and_then(|done| done.said);
                    self.view.said(said);
                    did.map(|done| (done.status, done.payload))
                }
                Poll::Pending => return false,
            },
            UnderWay::Replaying(start) => match start.as_mut().poll(context) {
                Poll::Ready(Ok(start)) => {
                    self.replay(start, link);
                    Ok(("replaying", answers::replaying(start)))
                }
                Poll::Ready(Err(error)) => Err(unread(error)),
                Poll::Pending => return false,
            },
        };
        let reference = self.unanswered.take().and_then(|each| each.reference);
        match done {
            Ok((status, payload)) => {
                self.acknowledge(status, &payload, reference.as_deref(), link);
            }
            Err(problem) => self.refuse(&problem, reference.as_deref(), link),
        }
        self.take_waiting(link);
        true
    }

    /// Asks a client that was sent messages whether it received them.
    fn ask_receipt(&mut self, link: &mut Link) -> bool {
        let Some(reader) = &self.reader else {
            return false;
        };
        if link.outbound.has(READER) {
            return false;
        }
        let asks = self.receipt.ask(reader.position());
        if let Some(says) = asks {
            link.outbound.ping(&says);
        }
        asks.is_some()
    }

    fn tell_topics(&self, status: &str, reference: Option<&str>, link: &mut Link) {
        let payload = json!({
            "topics": self.view.topics().names(),
            "position": self.shared.log.position(self.settled()),
        });
        self.acknowledge(status, &payload, reference, link);
    }

    /// Answers who wants answers: by a reference.
    fn acknowledge(&self, status: &str, payload: &Value, reference: Option<&str>, link: &mut Link) {
        if let Some(reference) = reference {
            let now_us = self.shared.log.clock().now_us();
            let answer = answers::acknowledgement(status, reference, payload, now_us);
            link.outbound.answer(&answer);
        }
    }

    fn refuse(&self, problem: &Problem, reference: Option<&str>, link: &mut Link) {
        let now_us = self.shared.log.clock().now_us();
        let answer = answers::refusal(problem, reference, now_us);
        link.outbound.answer(&answer);
    }

    /// Whether the connection may go on; closes it if not.
    fn holds(&self, link: &mut Link) -> bool {
        match self.session.standing() {
            Standing::Holds => return true,
            Standing::Revoked => link.close(Closing::Revoked),
            Standing::SignedOff => link.close(Closing::SignedOff),
        }
        false
    }

    fn take_back(&mut self, link: &mut Link) {
        if let Some(reader) = &mut self.reader {
            link.outbound
                .retract(|_| true, |_, position| reader.rewind(position));
        }
    }

    /// How far the connection is: everything up to here was handed over or is not for it.
    fn settled(&self) -> Seq {
        match &self.reader {
            Some(reader) => reader.settled(),
            None => Seq::ZERO,
        }
    }

    /// Keeps what is known to be received, after the connection is gone.
    fn finish(&mut self) {
        let Some(reader) = self.reader.take() else {
            return;
        };
        let rest = self
            .receipt
            .finish(reader.settled(), &self.shared.log, &self.session);
        // None when the runtime itself ends.
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            runtime.spawn(rest);
        }
    }
}

/// The log could not be read. What a client asked for wrongly is told to the client alone.
fn unread(error: Error) -> Problem {
    if matches!(error.kind(), Kind::Internal | Kind::Unavailable) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a replay could not be started"
        );
    }
    error.into()
}

impl<S: SessionConnection> Face for Agents<S> {
    fn poll_work(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let answered = self.poll_unanswered(link, context);
        let asked = self.ask_receipt(link);
        let kept = self.receipt.poll(&self.shared.log, &self.session, context);
        answered | asked | kept
    }

    fn takes_messages(&self, _: &Link) -> bool {
        self.waiting.has_room() && self.view.may_say()
    }

    fn receive(&mut self, message: Message<'_>, link: &mut Link, _: &mut Context<'_>) {
        self.session.heard();
        let problem = match message {
            // Also while something is under way messages are read: answers to pings are among them.
            Message::Text(text) => {
                self.waiting.push(text);
                return self.take_waiting(link);
            }
            Message::Binary => protocol::malformed("a message is a text frame"),
            Message::TooLarge => {
                Problem::new(Kind::TooLarge, "too-large", "the message was skipped")
            }
            Message::TooFast => {
                Problem::new(Kind::Limited, "rate-limited", "the message was skipped")
            }
        };
        self.refuse(&problem, None, link);
    }

    fn fill(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let Some(reader) = &mut self.reader else {
            return false;
        };
        if !link.outbound.has(READER) {
            self.view.passed(reader.position());
        }
        let (mut filled, mut passed) = (false, 0);
        while link.outbound.wants_events() {
            match reader.poll_next_seen(context, &self.view) {
                Poll::Ready(Next::Slice(slice)) => {
                    if self.view.has_message(&slice) {
                        self.receipt.handed_over();
                    }
                    link.outbound
                        .push(Chunk::new(READER, slice, Format::Agents));
                    filled = true;
                }
                Poll::Ready(Next::Passed) => {
                    passed += 1;
                    if passed == PASSED_MAX {
                        context.waker().wake_by_ref();
                        break;
                    }
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
        if let Some(reader) = &mut self.reader {
            link.outbound
                .give_back(|_| true, |_, position| reader.rewind(position));
            reader.forget();
        }
    }

    fn granted(&mut self, link: &mut Link) {
        self.holds(link);
    }

    fn ponged(&mut self, said: &[u8], _: &mut Link) {
        self.session.heard();
        let settled = self.settled();
        self.receipt.ponged(said, settled);
    }

    fn noticed(&mut self, notice: Notice, link: &mut Link) {
        if notice == Notice::Recheck {
            self.holds(link);
        }
    }

    fn is_settled(&self) -> bool {
        self.unanswered.is_none() && self.waiting.is_empty()
    }

    fn leave(&mut self, link: &mut Link) -> Option<Position> {
        self.take_back(link);
        let position = self.shared.log.position(self.settled());
        self.finish();
        Some(position)
    }
}

impl<S: SessionConnection> Drop for Agents<S> {
    fn drop(&mut self) {
        self.finish();
    }
}
