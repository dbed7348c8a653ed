//! A WebSocket after its handshake: reads what its client says, writes what its face has for it, and keeps
//! its deadlines. What is said and answered is the face's.

mod chunk;
mod closing;
pub(crate) mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod heartbeat;
mod inbound;
mod outbound;
mod oversize;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::Ordering,
    task::{Context, Poll, ready},
    time::Duration,
};

use nexus_auth::Grant;
use nexus_core::Principal;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

pub(crate) use self::{chunk::Chunk, closing::Closing};
use self::{
    heartbeat::{Beat, Heartbeat, MessageRate},
    inbound::{Inbound, Received},
    outbound::Outbound,
};
use crate::{
    handle::{Seat, Shared},
    signal::Notice,
};

/// A message of a client, or what is left of one.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Text(&'a str),
    /// Only text is spoken here.
    Binary,
    /// It was too long and was skipped.
    TooLarge,
    /// It came too soon after others and was skipped.
    TooFast,
}

/// What clients of one kind are told, and what they may say.
pub(crate) trait Face {
    /// Goes on with what is under way, such as a subscription whose start is looked up. Says whether
    /// anything came of it.
    fn poll_work(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool;

    /// Whether it can take a message now.
    fn takes_messages(&self, link: &Link) -> bool;

    /// Takes a message.
    fn receive(&mut self, message: Message<'_>, link: &mut Link, context: &mut Context<'_>);

    /// Hands over what the log holds, as far ahead of the socket as it may be. Says whether anything was.
    fn fill(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool;

    /// What was handed over and not taken is to be handed over again, because the client takes nothing.
    fn give_back(&mut self, link: &mut Link);

    /// The rules changed, and the client still may: with these rights now.
    fn granted(&mut self, link: &mut Link);

    /// Something else that concerns the face was told to the connection.
    fn noticed(&mut self, notice: Notice, link: &mut Link) {
        let _ = (notice, link);
    }

    /// When [`Face::on_time`] is due, at the latest.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    fn on_time(&mut self, now: Instant, link: &mut Link) {
        let _ = (now, link);
    }

    /// Whether everything that it was asked for is answered: before that a draining server does not end it.
    fn is_settled(&self) -> bool {
        true
    }

    /// The connection ends. What was not sent is taken back, the last is said, nothing more is wanted. Gives
    /// where the client goes on, if it was being sent events.
    fn leave(&mut self, link: &mut Link) -> Option<nexus_core::Position>;
}

/// What a face has of its connection.
pub(crate) struct Link {
    pub(crate) seat: Seat,
    /// Who the client is, once that is known.
    pub(crate) grant: Option<Grant>,
    pub(crate) outbound: Outbound,
    /// Why the connection is to be closed.
    ending: Option<Closing>,
}

impl Link {
    pub(crate) fn shared(&self) -> &Shared {
        &self.seat.edge.0.shared
    }

    /// Has the connection closed as soon as the face is done with what it is doing.
    pub(crate) fn close(&mut self, closing: Closing) {
        self.ending.get_or_insert(closing);
    }

    /// Who the client is and what it may, at this moment; closes the connection if it is nobody any more.
    pub(crate) fn renewed(&mut self) -> Result<Principal, nexus_auth::Error> {
        let grant = self.grant.as_ref().ok_or(nexus_auth::Error::Unauthorized)?;
        match self.shared().auth.renew(grant) {
            Ok(grant) => Ok(grant.principal),
            Err(error) => {
                self.close(Closing::Revoked);
                Err(error)
            }
        }
    }
}

struct Connection<S, F> {
    socket: S,
    face: F,
    link: Link,
    inbound: Inbound,
    rate: MessageRate,
    heartbeat: Heartbeat,
    /// A close frame was sent or answered; until when the rest may take.
    closing: Option<Instant>,
    /// The client has said its last.
    client_done: bool,
    /// What waited was given back, and the socket has taken nothing since.
    gave_back: bool,
    /// How many bytes it was last counted with.
    waiting: usize,
}

/// How a face wants its messages bounded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) message_bytes_max: usize,
    pub(crate) messages_per_second_max: u32,
}

/// Serves a socket after its handshake, until it is closed.
pub(crate) async fn serve<S, F>(
    socket: S,
    face: F,
    bounds: Bounds,
    seat: Seat,
    grant: Option<Grant>,
    draining: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Face,
{
    let now = Instant::now();
    let options = &seat.edge.0.shared.options;
    let mut connection = Connection {
        socket,
        face,
        inbound: Inbound::new(bounds.message_bytes_max),
        rate: MessageRate::new(bounds.messages_per_second_max, now),
        heartbeat: Heartbeat::new(options.ping, options.pong, now),
        link: Link {
            seat,
            grant,
            outbound: Outbound::default(),
            ending: None,
        },
        closing: None,
        client_done: false,
        gave_back: false,
        waiting: 0,
    };
    let mut drained = pin!(draining.cancelled());
    let mut timer = pin!(sleep_until(now));
    poll_fn(|context| connection.poll(context, drained.as_mut(), timer.as_mut())).await;
    let socket = &mut connection.socket;
    // Whatever it says, the socket is dropped.
    let _ = poll_fn(|context| Pin::new(&mut *socket).poll_shutdown(context)).await;
}

impl<S, F> Drop for Connection<S, F> {
    fn drop(&mut self) {
        let metrics = &self.link.shared().metrics;
        metrics.waiting.fetch_sub(self.waiting, Ordering::Relaxed);
    }
}

/// What a connection did with its chance to run.
enum Step {
    Moved,
    Idle,
    Ended,
}

/// The connection is over.
struct Ended;

impl<S: AsyncRead + AsyncWrite + Unpin, F: Face> Connection<S, F> {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut drained: Pin<&mut WaitForCancellationFuture<'_>>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<()> {
        self.link.seat.signal.waker.register(context.waker());
        self.take_notices();
        if self.closing.is_none() && drained.as_mut().poll(context).is_ready() {
            self.link.close(Closing::Draining);
        }
        loop {
            // The runtime's budget for sockets ends what could go on for ever.
            match self.step(context) {
                Step::Moved => continue,
                Step::Ended => return Poll::Ready(()),
                Step::Idle => self.count_waiting(),
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
        let worked = self.closing.is_none() && self.face.poll_work(&mut self.link, context);
        let Ok(read) = self.read(context) else {
            return Step::Ended;
        };
        let may_fill = self.closing.is_none() && !self.gave_back;
        let filled = may_fill && self.face.fill(&mut self.link, context);
        let ended = self.end();
        let wrote = match self.link.outbound.poll_write(&mut self.socket, context) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return Step::Ended,
            Poll::Pending => false,
        };
        self.gave_back &= !wrote;
        if self.closing.is_some() && self.client_done && self.link.outbound.is_empty() {
            return Step::Ended;
        }
        if worked || read || filled || ended || wrote {
            Step::Moved
        } else {
            Step::Idle
        }
    }

    /// Counts what waits for the socket, so that it can be seen what clients cost that do not read.
    fn count_waiting(&mut self) {
        let waiting = self.link.outbound.bytes_held();
        if waiting != self.waiting {
            let metrics = &self.link.shared().metrics;
            metrics.waiting.fetch_add(waiting, Ordering::Relaxed);
            metrics.waiting.fetch_sub(self.waiting, Ordering::Relaxed);
            self.waiting = waiting;
        }
    }

    /// Reads one thing that the client did.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Ended> {
        let is_busy = self.link.ending.is_some() || !self.face.takes_messages(&self.link);
        if self.client_done
            || (self.closing.is_none() && is_busy)
            || !self.link.outbound.takes_answers()
        {
            return Ok(false);
        }
        let control = &mut self.link.outbound.control;
        let received = self.inbound.poll_next(&mut self.socket, context, control);
        if self.closing.is_some() {
            // Nothing may follow the close frame.
            control.clear();
        }
        let Poll::Ready(received) = received else {
            return Ok(false);
        };
        self.receive(received, context)?;
        Ok(true)
    }

    fn receive(&mut self, received: Received, context: &mut Context<'_>) -> Result<(), Ended> {
        let is_closing = self.closing.is_some();
        match received {
            Received::Gone => return Err(Ended),
            Received::Pong => self.heartbeat.pong(),
            Received::Close => {
                self.client_done = true;
                if !is_closing {
                    self.face.leave(&mut self.link);
                    self.link.outbound.close_answered();
                    self.begin_closing();
                }
            }
            Received::Broken(code, reason) => {
                self.inbound.ignore();
                if !is_closing {
                    self.face.leave(&mut self.link);
                }
                self.link.outbound.close(code, reason);
                self.begin_closing();
            }
            _ if is_closing => {}
            Received::TooLarge | Received::Binary | Received::Text(_)
                if !self.rate.take(Instant::now()) =>
            {
                self.tell(Message::TooFast, context);
            }
            Received::TooLarge => self.tell(Message::TooLarge, context),
            Received::Binary => self.tell(Message::Binary, context),
            Received::Text(text) => self.tell(Message::Text(&text), context),
        }
        Ok(())
    }

    fn tell(&mut self, message: Message<'_>, context: &mut Context<'_>) {
        self.face.receive(message, &mut self.link, context);
    }

    /// Looks at what the connection was told.
    fn take_notices(&mut self) {
        if self.closing.is_some() {
            return;
        }
        if self.link.seat.signal.take(Notice::Recheck)
            && let Some(grant) = &self.link.grant
        {
            match self.link.shared().auth.renew(grant) {
                Ok(grant) => {
                    self.link.grant = Some(grant);
                    self.face.granted(&mut self.link);
                }
                Err(_) => self.link.close(Closing::Revoked),
            }
        }
        for notice in [Notice::TakenOver, Notice::Positions] {
            if self.link.seat.signal.take(notice) {
                self.face.noticed(notice, &mut self.link);
            }
        }
    }

    /// Takes leave if that was asked for, and says where to go on.
    fn end(&mut self) -> bool {
        let Some(closing) = self.link.ending else {
            return false;
        };
        let is_hurried = closing != Closing::Draining;
        if self.closing.is_some() || !(is_hurried || self.face.is_settled()) {
            return false;
        }
        let resume = self.face.leave(&mut self.link);
        let (code, reason) = closing.code_and_reason();
        let reason = match resume {
            Some(position) => format!("{reason}; resume from {position}"),
            None => reason.to_owned(),
        };
        tracing::debug!(code, reason, "closing a WebSocket");
        self.link.outbound.close(code, &reason);
        self.begin_closing();
        true
    }

    fn begin_closing(&mut self) {
        let until = Instant::now() + self.link.shared().options.close;
        self.closing.get_or_insert(until);
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
        let options = &self.link.shared().options;
        let stalled = self.link.outbound.blocked_since.map(|since| {
            let patience = if self.gave_back {
                options.write_stall
            } else {
                options.give_back.min(options.write_stall)
            };
            since + patience
        });
        let not_after_us = self
            .link
            .grant
            .as_ref()
            .and_then(|grant| grant.not_after_us);
        let expired = not_after_us.map(|not_after_us| {
            let left_us = not_after_us.saturating_sub(self.link.shared().log.clock().now_us());
            // Looked at again at least every hour: the wall clock may be set.
            let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0) + 1);
            Instant::now() + left.min(Duration::from_secs(3_600))
        });
        let beat = self.heartbeat.due(self.link.outbound.unblocked_at);
        [stalled, expired, self.face.due()]
            .into_iter()
            .flatten()
            .fold(beat, Instant::min)
    }

    /// Does what is due.
    fn on_time(&mut self, now: Instant) -> Result<(), Ended> {
        if let Some(until) = self.closing {
            return if now >= until { Err(Ended) } else { Ok(()) };
        }
        let options = &self.link.shared().options;
        let (give_back, write_stall) = (options.give_back, options.write_stall);
        let now_us = self.link.shared().log.clock().now_us();
        let blocked = self.link.outbound.blocked_since;
        let blocked_for = |patience| blocked.is_some_and(|since| now >= since + patience);
        let not_after_us = self
            .link
            .grant
            .as_ref()
            .and_then(|grant| grant.not_after_us);
        if not_after_us.is_some_and(|not_after_us| now_us > not_after_us) {
            self.link.close(Closing::Expired);
        } else if blocked_for(write_stall) {
            self.link.close(Closing::Stalled);
        } else {
            if !self.gave_back && blocked_for(give_back) {
                self.gave_back = true;
                self.face.give_back(&mut self.link);
            }
            self.face.on_time(now, &mut self.link);
            match self.heartbeat.beat(now, self.link.outbound.unblocked_at) {
                Beat::Nothing => {}
                Beat::Ping => self.link.outbound.ping(),
                Beat::Silent => self.link.close(Closing::Silent),
            }
        }
        Ok(())
    }
}
