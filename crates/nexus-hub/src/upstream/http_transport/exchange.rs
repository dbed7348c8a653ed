//! How messages are sent, and streams opened.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use nexus_outbound::Outgoing;
use tracing::debug;

use super::{
    CallError, GOODBYE_TIMEOUT, HeaderMap, HeaderValue, Http, LAST_EVENT_ID, Method, Opened,
    PROTOCOL_VERSION, SESSION_ID, Session,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const EITHER: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

impl Http {
    /// Sends a message, and gives the answer as far as its head.
    pub(super) async fn open_post(
        &self,
        frame: Bytes,
        session: &Session,
    ) -> Result<Opened, CallError> {
        let mut call = self.outgoing(Method::POST, session);
        call.headers.insert(CONTENT_TYPE, JSON);
        call.headers.insert(ACCEPT, EITHER);
        call.body = frame;
        // Whoever waits for the answer gives up earlier.
        self.open(call, self.0.limits.total).await
    }

    /// Opens a stream of the server's messages, behind the last one that was seen.
    pub(super) async fn open_stream(
        &self,
        session: &Session,
        last_event_id: Option<&str>,
        silence: Duration,
    ) -> Result<Opened, CallError> {
        let mut call = self.outgoing(Method::GET, session);
        call.headers.insert(ACCEPT, EVENT_STREAM);
        let last = last_event_id.and_then(|id| HeaderValue::from_str(id).ok());
        if let Some(last) = last {
            call.headers.insert(LAST_EVENT_ID, last);
        }
        self.open(call, silence).await
    }

    /// Tells the server that the session is over.
    pub(super) async fn say_goodbye(&self, id: HeaderValue) {
        let session = Session {
            id: Some(id),
            ..self.session()
        };
        let call = self.outgoing(Method::DELETE, &session);
        let goodbye = tokio::time::timeout(GOODBYE_TIMEOUT, self.open(call, GOODBYE_TIMEOUT));
        // Servers need not offer it.
        match goodbye.await {
            Ok(Ok(opened)) => debug!(status = opened.status, "the session is over"),
            Ok(Err(error)) => debug!(%error, "the server was not told that the session is over"),
            Err(_) => debug!("the server does not answer that the session is over"),
        }
    }

    fn outgoing(&self, method: Method, session: &Session) -> Outgoing {
        let endpoint = self.0.endpoint.as_ref().filter(|_| method == Method::POST);
        let url = endpoint.unwrap_or(&self.0.url).clone();
        let mut call = Outgoing::new(method, url, self.0.trust);
        call.headers = self.0.headers.clone();
        set(&mut call.headers, SESSION_ID, session.id.as_ref());
        set(
            &mut call.headers,
            PROTOCOL_VERSION,
            session.version.as_ref(),
        );
        call
    }

    async fn open(&self, mut call: Outgoing, silence: Duration) -> Result<Opened, CallError> {
        call.timeout = silence;
        let opened = self.0.client.open(call, silence).await;
        opened.map_err(|error| failed(error, silence))
    }
}

/// A configured header does not stand in for one of the protocol.
fn set(headers: &mut HeaderMap, name: http::HeaderName, value: Option<&HeaderValue>) {
    match value {
        Some(value) => {
            headers.insert(name, value.clone());
        }
        None => {
            headers.remove(name);
        }
    }
}

/// What the outgoing client says, in the words of an upstream.
pub(super) fn failed(error: nexus_outbound::Error, limit: Duration) -> CallError {
    use nexus_outbound::Error;

    match error {
        Error::Refused { .. } | Error::Connect { .. } | Error::Setup { .. } => {
            CallError::not_connected(error)
        }
        Error::Timeout { .. } => CallError::Timeout {
            waited: crate::Waited::Idle,
            limit,
        },
        Error::AnswerTooLarge { limit_bytes, .. } => CallError::TooLarge { limit_bytes },
        // The list may grow: whatever else went wrong, the request may have arrived.
        _ => CallError::Gone {
            why: error.to_string(),
        },
    }
}
