//! The body of an answer as the connection writes it: whole, or a stream for as long as it lasts.

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::{Reply, connection::ConnectionState, reply::StreamBody};

/// The body of an answer.
pub(crate) enum Outgoing {
    Whole(Whole),
    Stream(Streaming),
}

/// A body that is there, in the parts in which it was made. Both go into one write: nothing puts them together.
pub(crate) struct Whole([Bytes; 2]);

/// A stream, and the connection that has no deadline while there is one.
pub(crate) struct Streaming {
    body: StreamBody,
    connection: Arc<ConnectionState>,
}

impl Outgoing {
    pub(crate) fn of(reply: Reply, connection: &Arc<ConnectionState>, is_head: bool) -> Self {
        let make = reply.stream.filter(|_| !is_head);
        let Some(make) = make else {
            return Self::Whole(Whole([reply.beginning, reply.body]));
        };
        connection.progress.stream_begins();
        Self::Stream(Streaming {
            body: make(connection.draining()),
            connection: Arc::clone(connection),
        })
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Poll::Ready(whole.next().map(|part| Ok(Frame::data(part)))),
            Self::Stream(stream) => stream.body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Stream(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(stream) => stream.body.size_hint(),
        }
    }
}

impl Whole {
    fn next(&mut self) -> Option<Bytes> {
        let mut parts = self.0.iter_mut();
        parts.find(|part| !part.is_empty()).map(mem::take)
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|part| part.len() as u64).sum())
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.connection.progress.stream_ends();
    }
}
