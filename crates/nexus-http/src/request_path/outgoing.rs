//! The body of an answer as the connection writes it: whole, or a stream for as long as it lasts.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use crate::{Reply, connection::ConnectionState, reply::StreamBody};

/// The body of an answer.
pub(crate) enum Outgoing {
    Whole(Full<Bytes>),
    Stream(Streaming),
}

/// A stream, and the connection that has no deadline while there is one.
pub(crate) struct Streaming {
    body: StreamBody,
    connection: Arc<ConnectionState>,
}

impl Outgoing {
    pub(crate) fn of(reply: Reply, connection: &Arc<ConnectionState>, is_head: bool) -> Self {
        let make = reply.stream.filter(|_| !is_head);
        let Some(make) = make else {
            return Self::Whole(Full::new(reply.body));
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
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx),
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

impl Drop for Streaming {
    fn drop(&mut self) {
        self.connection.progress.stream_ends();
    }
}
