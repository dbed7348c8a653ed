//! One stream of server-sent events, as the body of an answer.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use nexus_auth::Grant;
use nexus_core::{Position, Scope, Seq, Start};
use tokio::{
    task::coop,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    Edge,
    handle::{Seat, Shared},
    reader::{Next, Reader, reason},
    selection::{Rights, Selection},
    signal::Notice,
    socket::Closing,
};

/// A line that means nothing: it keeps what lies between from thinking that nobody is there.
const COMMENT: &[u8] = b":\n\n";
/// After how long a client comes back: from this on …
const RETRY_MS: u64 = 1_000;
/// … and so much later at most. Streams that end together are not to come back together.
const RETRY_SPREAD_MS: u64 = 2_000;
/// The wall clock may be set, so that an expiry is looked at again at least this often.
const EXPIRY_LOOK: Duration = Duration::from_secs(3_600);

/// A reader whose events are the body of an answer.
pub(super) struct EventStream {
    shared: Arc<Shared>,
    // Before the seat, so that the group is left first.
    reader: Reader,
    seat: Seat,
    grant: Grant,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    timer: Pin<Box<Sleep>>,
    /// When something was last handed over.
    sent_at: Instant,
    /// How far the client knows that it is.
    told: Seq,
    /// What is sent before anything else.
    opening: Option<Vec<u8>>,
    ended: bool,
}

impl EventStream {
    pub(super) fn new(
        edge: &Edge,
        grant: Grant,
        selection: Selection,
        start: Start,
        draining: CancellationToken,
    ) -> Self {
        let shared = edge.0.shared.clone();
        let seat = edge.seat();
        // Nobody told the stream of rights that changed since it was let in and before it had a seat.
        seat.signal.notify(Notice::Recheck);
        let after = start.position.seq;
        let signal = seat.signal.clone();
        let now = Instant::now();
        Self {
            reader: Reader::new(shared.clone(), signal, selection, after),
            opening: Some(opening(start, shared.log.clock().now_us())),
            shared,
            seat,
            grant,
            draining: Box::pin(draining.cancelled_owned()),
            timer: Box::pin(sleep_until(now)),
            sent_at: now,
            told: after,
            ended: false,
        }
    }

    /// What is sent next; nothing when the stream is over.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.seat.signal.waker.register(context.waker());
        if let Some(opening) = self.opening.take() {
            return Poll::Ready(Some(opening.into()));
        }
        if let Some(closing) = self.must_close(context) {
            return Poll::Ready(Some(self.end(closing)));
        }
        // Others may run, also while much is sent.
        let budget = ready!(coop::poll_proceed(context));
        let next = self.reader.poll_next(context);
        if next.is_ready() {
            budget.made_progress();
        }
        match next {
            Poll::Ready(Next::Slice(slice)) => {
                self.told = slice.last;
                return Poll::Ready(Some(Bytes::from_owner(slice)));
            }
            Poll::Ready(Next::Passed) => {
                let passed = self.reader.settled().get().saturating_sub(self.told.get());
                if passed >= self.shared.options.position_events {
                    return Poll::Ready(Some(self.tell_position()));
                }
                // A slow filter may have taken its whole turn for it.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Next::Pruned) => {
                return Poll::Ready(Some(self.end(Closing::Pruned)));
            }
            Poll::Pending => {}
        }
        if self.seat.signal.take(Notice::Positions) && self.reader.settled() > self.told {
            return Poll::Ready(Some(self.tell_position()));
        }
        self.poll_comment(context)
    }

    /// Whether the client may not be here any more, or the server goes away.
    fn must_close(&mut self, context: &mut Context<'_>) -> Option<Closing> {
        if self.draining.as_mut().poll(context).is_ready() {
            return Some(Closing::Draining);
        }
        if self
            .grant
            .not_after_us
            .is_some_and(|until_us| self.shared.log.clock().now_us() > until_us)
        {
            return Some(Closing::Expired);
        }
        if !self.seat.signal.take(Notice::Recheck) {
            return None;
        }
        let Ok(grant) = self.shared.auth.renew(&self.grant) else {
            return Some(Closing::Revoked);
        };
        if !grant.principal.scopes().has(Scope::Read) {
            return Some(Closing::Forbidden);
        }
        let rights = Rights::of(&grant.principal);
        if rights != Rights::of(&self.grant.principal) {
            self.reader.restrict(&rights);
        }
        self.grant = grant;
        None
    }

    /// Says why it ends, and from where on the client will miss nothing.
    fn end(&mut self, closing: Closing) -> Bytes {
        self.ended = true;
        let position = self.reader.settled_position();
        let (code, reason) = closing.code_and_reason();
        tracing::debug!(code, reason, %position, "ending an event stream");
        Bytes::from(format!(
            "id: {position}\nevent: end\n\
             data: {{\"type\":\"end\",\"code\":{code},\"reason\":\"{reason}\",\"position\":\"{position}\"}}\n\n"
        ))
    }

    /// An id without an event: it moves on where the client would go on, and wakes nobody.
    fn tell_position(&mut self) -> Bytes {
        let position = self.reader.settled_position();
        self.told = position.seq;
        Bytes::from(id_alone(position))
    }

    /// A comment when nothing else was sent for a while. Also wakes the stream when its token expires.
    fn poll_comment(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if self.sent_at.elapsed() >= self.shared.options.sse_comment {
                return Poll::Ready(Some(Bytes::from_static(COMMENT)));
            }
            let (due, rings) = (self.due(), self.timer.deadline());
            // Moved only when it would ring too late, or has rung: there may be many events before it does.
            if due < rings || rings <= Instant::now() {
                self.timer.as_mut().reset(due);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if let Some(closing) = self.must_close(context) {
                return Poll::Ready(Some(self.end(closing)));
            }
        }
    }

    fn due(&self) -> Instant {
        let comment = self.sent_at + self.shared.options.sse_comment;
        let Some(until_us) = self.grant.not_after_us else {
            return comment;
        };
        let left_us = until_us.saturating_sub(self.shared.log.clock().now_us());
        let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0) + 1);
        comment.min(Instant::now() + left.min(EXPIRY_LOOK))
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let polled = this.poll_bytes(context);
        if let Poll::Ready(Some(_)) = &polled {
            this.sent_at = Instant::now();
        }
        polled.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn id_alone(position: Position) -> String {
    format!("id: {position}\n\n")
}

/// When to come back, where the stream begins, and if that is not where the client wanted to, why.
///
/// A browser that loses the connection before the first event goes on from here, and misses none.
fn opening(start: Start, now_us: i64) -> Vec<u8> {
    let position = start.position;
    let spread_ms = now_us.unsigned_abs() % RETRY_SPREAD_MS;
    let mut text = format!("retry: {}\n{}", RETRY_MS + spread_ms, id_alone(position));
    if let Some(reason) = reason(start.recovery) {
        // As the answer to a subscription over a WebSocket says it.
        text.push_str(&format!(
            "id: {position}\nevent: gap\n\
             data: {{\"type\":\"subscribed\",\"recovered\":false,\"reason\":\"{reason}\",\"position\":\"{position}\"}}\n\n"
        ));
    }
    text.into_bytes()
}
