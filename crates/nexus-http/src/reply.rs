//! What a handler answers with.

use std::{convert::Infallible, fmt, future::Future, pin::Pin};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::{body::Body, upgrade::Upgraded};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Runs on the socket of an upgraded connection.
pub(crate) type UpgradeTask =
    Box<dyn FnOnce(Upgraded, CancellationToken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The body of an answer that is written as long as it lasts. Erased, because handlers stream many types.
pub(crate) type StreamBody = Pin<Box<dyn Body<Data = Bytes, Error = Infallible> + Send>>;
/// Makes such a body; the token is cancelled when draining begins.
pub(crate) type MakeStream = Box<dyn FnOnce(CancellationToken) -> StreamBody + Send>;

/// An answer: a status, headers and a body (whole, or a stream), or an upgrade.
pub struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Goes before the body.
    pub(crate) beginning: Bytes,
    pub(crate) body: Bytes,
    pub(crate) stream: Option<MakeStream>,
    pub(crate) upgrade: Option<UpgradeTask>,
}

impl Reply {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            // Room for what the request path adds, so that the map never grows.
            headers: HeaderMap::with_capacity(14),
            beginning: Bytes::new(),
            body: Bytes::new(),
            stream: None,
            upgrade: None,
        }
    }

    /// A JSON answer.
    ///
    /// A value that cannot be written as JSON (a map with keys that are not strings, a number that is not
    /// finite behind a custom serialiser) is a fault of the caller: it is logged and answered with 500.
    #[must_use]
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::typed(status, JSON, Bytes::from(body)),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written as JSON");
                Self::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// An answer with a body that is already written.
    #[must_use]
    pub fn bytes(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        Self::typed(status, HeaderValue::from_static(content_type), body)
    }

    /// The same with a body in two parts, which are sent one behind the other: what many are answered is not
    /// copied for each of them.
    #[must_use]
    pub fn in_parts(
        status: StatusCode,
        content_type: &'static str,
        [beginning, body]: [Bytes; 2],
    ) -> Self {
        let mut reply = Self::bytes(status, content_type, body);
        reply.beginning = beginning;
        reply
    }

    fn typed(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Self {
        let mut reply = Self::empty(status);
        reply.headers.insert(header::CONTENT_TYPE, content_type);
        reply.body = body;
        reply
    }

    /// An answer whose body is written as it comes, for as long as it lasts.
    ///
    /// `make` gets a token that is cancelled when draining begins; the body should end soon after, and is
    /// cut off at the end of the drain timeout. It is not called for HEAD. While the body is pending, the
    /// connection has no deadline; a client that takes nothing of it for the write timeout is let go, and
    /// the body is dropped. Of what a slow client does not take, hyper holds one buffer (64 KiB) and one
    /// piece of the body more; only then the body is not asked any further. It is never compressed.
    #[must_use]
    pub fn stream<F, B>(status: StatusCode, content_type: &'static str, make: F) -> Self
    where
        F: FnOnce(CancellationToken) -> B + Send + 'static,
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let mut reply = Self::bytes(status, content_type, Bytes::new());
        reply.stream = Some(Box::new(move |draining| Box::pin(make(draining))));
        reply
    }

    /// A 101 with these headers.
    ///
    /// `task` gets the socket after the answer is written, and a token that is cancelled when draining
    /// begins. The server waits for the task when it drains, at most for its drain timeout.
    #[must_use]
    pub fn upgrade<F, R>(headers: HeaderMap, task: F) -> Self
    where
        F: FnOnce(Upgraded, CancellationToken) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self {
            status: StatusCode::SWITCHING_PROTOCOLS,
            headers,
            beginning: Bytes::new(),
            body: Bytes::new(),
            stream: None,
            upgrade: Some(Box::new(move |socket, draining| {
                Box::pin(task(socket, draining))
            })),
        }
    }

    /// Sets a header, instead of one of the same name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// How long the body is, in bytes.
    pub(crate) fn body_bytes(&self) -> usize {
        self.beginning.len() + self.body.len()
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("body_bytes", &self.body_bytes())
            .field("is_stream", &self.stream.is_some())
            .finish_non_exhaustive()
    }
}
