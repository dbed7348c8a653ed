//! A WebSocket to a server that does not speak face v1: texts out, texts in, and asked whether it is there.

use std::{fmt, sync::Arc};

use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use url::Url;

use crate::{
    CONNECT_TIMEOUT, Error, PING_AFTER, SILENCE_MAX,
    refusal::Lost,
    socket::{Patience, Socket, dial},
};

/// The largest message that is read.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// A WebSocket that carries texts, whatever they say.
pub struct TextSocket(Socket);

impl TextSocket {
    /// Connects to a `ws` or `wss` address.
    ///
    /// # Errors
    /// [`Error::Invalid`] when this is no such address, [`Error::Setup`] when TLS cannot be set up,
    /// [`Error::TimedOut`], [`Error::Lost`], and [`Error::Refused`] when the server wants no WebSocket.
    pub async fn connect(url: &Url) -> Result<Self, Error> {
        let after = CONNECT_TIMEOUT;
        let connected = timeout(after, Self::connect_now(url)).await;
        connected.unwrap_or(Err(Error::TimedOut { after }))
    }

    async fn connect_now(url: &Url) -> Result<Self, Error> {
        let tls = match url.scheme() {
            "ws" => None,
            "wss" => Some(Arc::new(nexus_outbound::tls_config().map_err(setup)?)),
            _ => return Err(invalid("only ws and wss are spoken")),
        };
        let request = url.as_str().into_client_request();
        let request = request.map_err(|error| invalid(&error.to_string()))?;
        let stream = dial(tls.as_ref(), url).await.map_err(why)?;
        let patience = Patience {
            ping_after: PING_AFTER,
            silence_max: SILENCE_MAX,
        };
        let socket = Socket::over(stream, request, MESSAGE_BYTES_MAX, patience).await;
        socket.map(Self).map_err(why)
    }

    /// Sends a text.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::TimedOut`]: it may have arrived or not, and nothing more will.
    pub async fn send(&mut self, text: String) -> Result<(), Error> {
        self.0.send(text).await.map_err(why)
    }

    /// The next text. Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Lost`], [`Error::TimedOut`] when the server is not there any more, and
    /// [`Error::Unreadable`] when it sends what is no text.
    pub async fn next(&mut self) -> Result<String, Error> {
        let text = self.0.next().await.map_err(why)?;
        Ok(text.as_str().to_owned())
    }

    /// Says goodbye, and waits a moment for the answer.
    pub async fn close(self) {
        self.0.close().await;
    }
}

impl fmt::Debug for TextSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextSocket").finish_non_exhaustive()
    }
}

fn why(lost: Lost) -> Error {
    match lost {
        Lost::Back { why, .. } | Lost::Over(why) => why,
    }
}

fn invalid(why: &str) -> Error {
    Error::invalid("the address of the server", why)
}

fn setup(error: nexus_outbound::Error) -> Error {
    Error::Setup {
        source: Arc::new(error),
    }
}
