//! An answer that is read as it comes in.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::HeaderMap;

use crate::{Error, client::interrupted};

/// The head of an answer, and its body piece by piece. Dropping it closes the connection.
pub struct Opened {
    /// The answer's status.
    pub status: u16,
    /// The answer's headers.
    pub headers: HeaderMap,
    target: String,
    response: reqwest::Response,
    silence: Duration,
}

impl Opened {
    pub(crate) fn new(target: String, mut response: reqwest::Response, silence: Duration) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            target,
            response,
            silence,
        }
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The next piece of the body, as large as one read of the socket; nothing at its end.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the other side was silent for too long, [`Error::Interrupted`] when the
    /// connection broke.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let timeout = self.silence;
        tokio::time::timeout(timeout, self.response.chunk())
            .await
            .map_err(|_| Error::Timeout { timeout })?
            .map_err(|error| interrupted(error, &self.target))
    }
}

impl fmt::Debug for Opened {
    /// Leaves out what may be secret: the headers and the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("status", &self.status)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
