//! A stream of messages as server-sent events: the body of an answer, for as long as there is something to
//! say and the client may hear it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    channel::Reader,
    options::RETRY_MS,
    session::{Listening, Session},
    visitor::Visitor,
};

pub(crate) const CONTENT_TYPE: &str = "text/event-stream";
/// A line that means nothing: it keeps what lies between from thinking that nobody is there.
const COMMENT: &[u8] = b":\n\n";
/// What stands behind a message.
const END: &[u8] = b"\n\n";
/// A longer message is sent as it is held, not as a copy that nobody counts.
const COPIED_BYTES_MAX: usize = 16 * 1024;

/// The id of a message: its stream, and its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) stream: u64,
    pub(crate) number: u64,
}

impl EventId {
    /// Reads `Last-Event-ID`; nothing for what is no id of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().ok()).flatten()
        };
        let (stream, number) = text.split_once('-')?;
        Some(Self {
            stream: digits(stream)?,
            number: digits(number)?,
        })
    }
}

/// How a stream goes on and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// With the answer that its client waits for.
    WithItsAnswer,
    /// Never by itself: as soon as the server goes away.
    WithTheServer,
}

/// One stream that is sent to a client.
pub(crate) struct EventStream {
    reader: Reader,
    session: Arc<Session>,
    // Keeps the session from being idle.
    _listening: Listening,
    visitor: Visitor,
    /// What is sent before anything else is read.
    first: VecDeque<Bytes>,
    draining: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    session_ended: Pin<Box<WaitForCancellationFutureOwned>>,
    timer: Pin<Box<Sleep>>,
    comment_interval: Duration,
    is_over: bool,
}

impl EventStream {
    pub(crate) fn new(
        reader: Reader,
        session: Arc<Session>,
        visitor: Visitor,
        comment_interval: Duration,
        (ends, draining): (Ends, CancellationToken),
    ) -> Self {
        let opening = session.version.is_primed().then(|| opening(&reader));
        Self {
            first: opening.into_iter().collect(),
            draining: (ends == Ends::WithTheServer).then(|| Box::pin(draining.cancelled_owned())),
            session_ended: Box::pin(session.ended().cancelled_owned()),
            _listening: session.listen(),
            timer: Box::pin(sleep_until(Instant::now() + comment_interval)),
            comment_interval,
            is_over: false,
            reader,
            session,
            visitor,
        }
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(first) = self.first.pop_front() {
            return Poll::Ready(Some(first));
        }
        if self.must_end(context) {
            self.is_over = true;
            return Poll::Ready(None);
        }
        match self.reader.poll_next(context) {
            Poll::Ready(Some((number, message))) => {
                let stream = self.reader.stream();
                let (head, rest) = frame(EventId { stream, number }, message);
                self.first.extend(rest.into_iter().flatten());
                return Poll::Ready(Some(head));
            }
            Poll::Ready(None) => {
                self.is_over = true;
                self.session.streams.was_read(self.reader.stream());
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        if self.timer.as_mut().poll(context).is_ready() {
            // Whoever listens may have lost the right to meanwhile: the comment also is a moment to look.
            if !self.visitor.is_still_welcome() {
                self.is_over = true;
                return Poll::Ready(None);
            }
            let next = Instant::now() + self.comment_interval;
            self.timer.as_mut().reset(next);
            // Registers the timer anew.
            context.waker().wake_by_ref();
            return Poll::Ready(Some(Bytes::from_static(COMMENT)));
        }
        Poll::Pending
    }

    fn must_end(&mut self, context: &mut Context<'_>) -> bool {
        if self.session_ended.as_mut().poll(context).is_ready() {
            return true;
        }
        if self.visitor.poll_changed(context) && !self.visitor.is_still_welcome() {
            return true;
        }
        let draining = self.draining.as_mut();
        draining.is_some_and(|draining| draining.as_mut().poll(context).is_ready())
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = self.get_mut().poll_bytes(context);
        polled.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// When to come back, and an id from which to go on, for a client that loses the stream before its first
/// message.
fn opening(reader: &Reader) -> Bytes {
    let (stream, number) = (reader.stream(), reader.last());
    Bytes::from(format!(
        "retry: {RETRY_MS}\nid: {stream}-{number}\ndata:\n\n"
    ))
}

/// A message, which has no line break: what is sent at once, and what is sent behind it.
fn frame(id: EventId, message: Bytes) -> (Bytes, Option<[Bytes; 2]>) {
    const AROUND_BYTES: usize = 64;
    let EventId { stream, number } = id;
    let head = format!("event: message\nid: {stream}-{number}\ndata: ");
    if message.len() > COPIED_BYTES_MAX {
        return (head.into(), Some([message, Bytes::from_static(END)]));
    }
    let mut frame = Vec::with_capacity(AROUND_BYTES + message.len());
    frame.extend_from_slice(head.as_bytes());
    frame.extend_from_slice(&message);
    frame.extend_from_slice(END);
    (frame.into(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written_and_nothing_else_is() {
        let id = EventId {
            stream: 3,
            number: 14,
        };
        assert_eq!(EventId::parse("3-14"), Some(id));
        let strange = [
            "",
            "-",
            "3",
            "3-",
            "-14",
            "3-14-1",
            "+3-14",
            "3 -14",
            "a-b",
            "3-18446744073709551616",
        ];
        for text in strange {
            assert_eq!(EventId::parse(text), None, "{text:?}");
        }
        let (sent, rest) = frame(id, Bytes::from_static(br#"{"a":1}"#));
        assert_eq!(sent, "event: message\nid: 3-14\ndata: {\"a\":1}\n\n");
        assert!(rest.is_none());
        // A long one is not copied.
        let long = Bytes::from(vec![b'x'; COPIED_BYTES_MAX + 1]);
        let (sent, rest) = frame(id, long.clone());
        assert_eq!(sent, "event: message\nid: 3-14\ndata: ");
        let [message, end] = rest.unwrap();
        assert_eq!((message.as_ptr(), &end[..]), (long.as_ptr(), END));
    }
}
