//! A WebSocket after its handshake: reads what its client says, writes what its face has for it, and keeps
//! its deadlines. What is said and answered is the face's.

mod chunk;
mod closing;
mod face;
pub(crate) mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod heartbeat;
mod inbound;
mod outbound;
mod oversize;
#[cfg(test)]
mod tests;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::Ordering,
    task::{Context, Poll, ready},
    time::Duration,
};

use nexus_auth::Grant;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

pub(crate) use self::{
    chunk::Chunk,
    closing::Closing,
    face::{Bounds, Face, Link, Message},
};
use self::{
    heartbeat::{Beat, Heartbeat, MessageRate},
    inbound::{Inbound, Received},
};
use crate::{handle::Seat, signal::Notice};

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
        inbound: Inbound::new(bounds.message_bytes_max, bounds.first_message_bytes_max),
        rate: MessageRate::new(bounds.messages_per_second_max, now),
        heartbeat: Heartbeat::new(bounds.ping, options.pong, now),
        link: Link::new(seat, grant),
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
            Received::Pong(said) => {
                self.heartbeat.pong();
                self.face.ponged(&said, &mut self.link);
            }
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
        if self.link.seat.signal.take(Notice::Recheck) {
            self.recheck();
        }
        for notice in [Notice::TakenOver, Notice::Positions] {
            if self.link.seat.signal.take(notice) {
                self.face.noticed(notice, &mut self.link);
            }
        }
    }

    /// Looks whether the client may still be here.
    fn recheck(&mut self) {
        let Some(grant) = &self.link.grant else {
            return self.face.noticed(Notice::Recheck, &mut self.link);
        };
        match self.link.shared().auth.renew(grant) {
            Ok(grant) => {
                self.link.grant = Some(grant);
                self.face.granted(&mut self.link);
            }
            Err(_) => self.link.close(self.link.loss()),
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
        self.inbound.begin_closing();
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
                Beat::Ping => self.link.outbound.ping(b""),
                Beat::Silent => self.link.close(Closing::Silent),
            }
        }
        Ok(())
    }
}
