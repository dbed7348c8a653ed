//! One connection: reads what its client asks, writes what the log holds for it, and keeps its deadlines.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::Ordering,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::future::BoxFuture;
use nexus_auth::Grant;
use nexus_core::{Recovery, Scope, Start};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::{
    closing::Closing,
    feed::{Feed, Next},
    handle::{Seat, Shared},
    heartbeat::{Beat, Heartbeat, MessageRate},
    inbound::{Inbound, Received},
    outbound::Outbound,
    protocol::{self, Refusal, Request, Subscribed, Unsubscribed},
    selection::Rights,
    subscriptions::Wanted,
};

/// A subscription whose start is being looked up.
struct Starting {
    wanted: Wanted,
    start: BoxFuture<'static, Result<Start, nexus_core::Error>>,
}

struct Connection<S> {
    socket: S,
    seat: Seat,
    grant: Grant,
    inbound: Inbound,
    outbound: Outbound,
    feed: Feed,
    rate: MessageRate,
    heartbeat: Heartbeat,
    starting: Option<Starting>,
    /// A close frame was sent or answered; until when the rest may take.
    closing: Option<Instant>,
    /// The client has said its last.
    client_done: bool,
}

/// Serves a socket after its handshake, until it is closed.
pub(crate) async fn serve<S>(socket: S, seat: Seat, grant: Grant, draining: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let now = Instant::now();
    let shared = seat.edge.0.shared.clone();
    let options = &shared.options;
    let rights = Rights::of(&grant.principal);
    let mut connection = Connection {
        inbound: Inbound::new(options.message_bytes_max),
        outbound: Outbound::default(),
        feed: Feed::new(shared.clone(), seat.signal.clone(), rights),
        rate: MessageRate::new(options.messages_per_second_max, now),
        heartbeat: Heartbeat::new(options.ping, options.pong, now),
        starting: None,
        closing: None,
        client_done: false,
        socket,
        seat,
        grant,
    };
    let mut drained = pin!(draining.cancelled());
    let mut timer = pin!(sleep_until(now));
    poll_fn(|context| connection.poll(context, drained.as_mut(), timer.as_mut())).await;
    let socket = &mut connection.socket;
    // Whatever it says, the socket is dropped.
    let _ = poll_fn(|context| Pin::new(&mut *socket).poll_shutdown(context)).await;
}

/// What a connection did with its chance to run.
enum Step {
    Moved,
    Idle,
    Ended,
}

/// The connection is over.
struct Ended;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut drained: Pin<&mut WaitForCancellationFuture<'_>>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<()> {
        self.seat.signal.waker.register(context.waker());
        if self.seat.signal.recheck.swap(false, Ordering::SeqCst) {
            self.recheck();
        }
        if self.closing.is_none() && drained.as_mut().poll(context).is_ready() {
            self.close(Closing::Draining);
        }
        loop {
            // The runtime's budget for sockets ends what could go on for ever.
            match self.step(context) {
                Step::Moved => continue,
                Step::Ended => return Poll::Ready(()),
                Step::Idle => {}
            }
            ready!(self.poll_timer(context, timer.as_mut()));
            if self.on_time(Instant::now()).is_err() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.due());
        }
    }

    /// Does what can be done now.
    fn step(&mut self, context: &mut Context<'_>) -> Step {
        let started = self.poll_starting(context);
        let Ok(read) = self.read(context) else {
            return Step::Ended;
        };
        let filled = self.fill(context);
        let wrote = match self.outbound.poll_write(&mut self.socket, context) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return Step::Ended,
            Poll::Pending => false,
        };
        if self.closing.is_some() && self.client_done && self.outbound.is_empty() {
            return Step::Ended;
        }
        if started || read || filled || wrote {
            Step::Moved
        } else {
            Step::Idle
        }
    }

    /// Reads one thing that the client did.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Ended> {
        if self.client_done || self.starting.is_some() || !self.outbound.takes_answers() {
            return Ok(false);
        }
        let control = &mut self.outbound.control;
        let received = self.inbound.poll_next(&mut self.socket, context, control);
        if self.closing.is_some() {
            // Nothing may follow the close frame.
            control.clear();
        }
        let Poll::Ready(received) = received else {
            return Ok(false);
        };
        self.receive(received)?;
        Ok(true)
    }

    fn receive(&mut self, received: Received) -> Result<(), Ended> {
        let is_closing = self.closing.is_some();
        match received {
            Received::Gone => return Err(Ended),
            Received::Pong => self.heartbeat.pong(),
            Received::Close => {
                self.client_done = true;
                if !is_closing {
                    self.outbound.retract_all();
                    self.outbound.close_answered();
                    self.begin_closing();
                }
            }
            Received::Broken(code, reason) => {
                self.inbound.ignore();
                self.outbound.retract_all();
                self.outbound.close(code, reason);
                self.begin_closing();
            }
            _ if is_closing => {}
            Received::TooLarge | Received::Binary | Received::Text(_)
                if !self.rate.take(Instant::now()) =>
            {
                self.refuse(Refusal::TooFast);
            }
            Received::TooLarge => self.refuse(Refusal::TooLarge),
            Received::Binary => self.refuse(Refusal::Malformed),
            Received::Text(text) => match protocol::read(&text) {
                Ok(request) => self.ask(request),
                Err(refusal) => self.refuse(refusal),
            },
        }
        Ok(())
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.outbound.answer(&refusal.to_json());
    }

    fn ask(&mut self, request: Request) {
        match request {
            Request::Subscribe { events, from } => {
                let catalogue = self.shared().log.catalogue();
                let wanted = Wanted::resolve(events, &catalogue, &self.feed.rights);
                match from {
                    None => self.subscribe(wanted, None),
                    Some(from) => {
                        let start = self.feed.start(from);
                        self.starting = Some(Starting { wanted, start });
                    }
                }
            }
            Request::Unsubscribe { events } => {
                self.take_back();
                self.feed.unsubscribe(&events);
                let answer = Unsubscribed {
                    status: "unsubscribed",
                    events: self.feed.subscriptions.texts(),
                };
                let answer = protocol::json(&answer);
                self.outbound.answer(&answer);
            }
        }
    }

    /// Finishes a subscription whose start is known now.
    fn poll_starting(&mut self, context: &mut Context<'_>) -> bool {
        let Some(starting) = &mut self.starting else {
            return false;
        };
        let Poll::Ready(start) = starting.start.as_mut().poll(context) else {
            return false;
        };
        let wanted = self.starting.take().map(|starting| starting.wanted);
        match start {
            Ok(start) => self.subscribe(wanted.unwrap_or_default(), Some(start)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "a subscription could not be started");
                self.refuse(Refusal::Unavailable);
            }
        }
        true
    }

    fn subscribe(&mut self, wanted: Wanted, start: Option<Start>) {
        self.take_back();
        let valid_events = wanted.valid.clone();
        let invalid_events = wanted.invalid.clone();
        let position = match self.feed.subscribe(wanted, start) {
            Ok(position) => position,
            Err(refusal) => return self.refuse(refusal),
        };
        let answer = Subscribed {
            status: "subscribed",
            events: self.feed.subscriptions.texts(),
            valid_events: &valid_events,
            invalid_events: &invalid_events,
            recovered: start.map(|start| start.recovery == Recovery::Recovered),
            reason: start.and_then(|start| protocol::reason(start.recovery)),
            position,
        };
        let answer = protocol::json(&answer);
        self.outbound.answer(&answer);
    }

    /// Takes back what the socket has not taken: after a change it may not be wanted any more.
    fn take_back(&mut self) {
        if let Some(position) = self.outbound.retract_live() {
            self.feed.rewind(position);
        }
    }

    /// Hands over what the log holds, as far ahead of the socket as it may be.
    fn fill(&mut self, context: &mut Context<'_>) -> bool {
        let mut filled = false;
        while self.outbound.wants_events() {
            match self.feed.poll_next(context) {
                Poll::Ready(Next::Chunk(chunk)) => {
                    self.outbound.push(chunk);
                    filled = true;
                }
                Poll::Ready(Next::Pruned) => {
                    self.close(Closing::Pruned);
                    return true;
                }
                Poll::Pending => break,
            }
        }
        filled
    }

    /// Asks again whether the client may read, because the rules changed.
    fn recheck(&mut self) {
        let grant = match self.shared().auth.renew(&self.grant) {
            Ok(grant) => grant,
            Err(_) => return self.close(Closing::Revoked),
        };
        if !grant.principal.scopes().has(Scope::Read) {
            return self.close(Closing::Forbidden);
        }
        let rights = Rights::of(&grant.principal);
        self.grant = grant;
        if rights != self.feed.rights {
            self.take_back();
            self.feed.restrict(rights);
        }
    }

    /// Takes leave, and says where to go on.
    fn close(&mut self, closing: Closing) {
        if self.closing.is_some() {
            return;
        }
        let unsent = self.outbound.retract_all();
        let resume = self.feed.resume();
        let resume = unsent.map_or(resume, |unsent| unsent.min(resume));
        let position = self.shared().log.position(resume);
        let (code, reason) = closing.code_and_reason();
        tracing::debug!(code, reason, %position, "closing a WebSocket");
        let reason = format!("{reason}; resume from {position}");
        self.outbound.close(code, &reason);
        self.begin_closing();
    }

    fn begin_closing(&mut self) {
        let until = Instant::now() + self.shared().options.close;
        self.closing.get_or_insert(until);
        self.starting = None;
        self.feed.leave();
    }

    fn shared(&self) -> &Shared {
        &self.seat.edge.0.shared
    }

    /// Ready when something is due.
    fn poll_timer(&self, context: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        // Moved only when it would ring too late: most deadlines are met, and then it rings for nothing.
        let due = self.due();
        if due < timer.deadline() {
            timer.as_mut().reset(due);
        }
        timer.poll(context)
    }

    fn due(&self) -> Instant {
        if let Some(until) = self.closing {
            return until;
        }
        let options = &self.shared().options;
        let stalled = self
            .outbound
            .blocked_since
            .map(|since| since + options.write_stall);
        let expired = self.grant.not_after_us.map(|not_after_us| {
            let left_us = not_after_us.saturating_sub(self.shared().log.clock().now_us());
            // Looked at again at least every hour: the wall clock may be set.
            let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0) + 1);
            Instant::now() + left.min(Duration::from_secs(3_600))
        });
        let beat = self.heartbeat.due(self.outbound.unblocked_at);
        [stalled, expired]
            .into_iter()
            .flatten()
            .fold(beat, Instant::min)
    }

    /// Does what is due.
    fn on_time(&mut self, now: Instant) -> Result<(), Ended> {
        if let Some(until) = self.closing {
            return if now >= until { Err(Ended) } else { Ok(()) };
        }
        let options = &self.shared().options;
        let write_stall = options.write_stall;
        let expires_us = self.grant.not_after_us;
        if expires_us.is_some_and(|expires_us| self.shared().log.clock().now_us() > expires_us) {
            self.close(Closing::Expired);
        } else if self
            .outbound
            .blocked_since
            .is_some_and(|since| now >= since + write_stall)
        {
            self.close(Closing::Stalled);
        } else {
            match self.heartbeat.beat(now, self.outbound.unblocked_at) {
                Beat::Nothing => {}
                Beat::Ping => self.outbound.ping(),
                Beat::Silent => self.close(Closing::Silent),
            }
        }
        Ok(())
    }
}
