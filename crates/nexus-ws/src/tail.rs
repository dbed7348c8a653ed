//! A small blocking reader of the live edge, for the command line.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use http::{HeaderValue, header};
use tungstenite::{
    Message, WebSocket, client::IntoClientRequest, error::Error as SocketError,
    handshake::HandshakeError,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why events cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TailError {
    /// Nobody answers at the address.
    #[error("{address} does not answer")]
    Unreachable {
        /// The address as it was given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The server does not let the reader in.
    #[error("{address} refused the connection")]
    Refused {
        /// The address as it was given.
        address: String,
        /// What it said.
        source: Box<SocketError>,
    },
    /// The server does not understand what was asked.
    #[error("the server answered: {answer}")]
    NotSubscribed {
        /// Its answer.
        answer: String,
    },
    /// The connection ended.
    #[error("the connection ended{}", reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Ended {
        /// What the server said as it closed.
        reason: Option<String>,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Broken {
        /// Why.
        source: Box<SocketError>,
    },
}

/// Events as they happen, as the frames of the neo face.
pub struct Tail {
    socket: WebSocket<TcpStream>,
}

impl Tail {
    /// Connects to `host:port`, with a token, and subscribes to names or patterns of events.
    ///
    /// # Errors
    /// [`TailError`] says how far it came.
    pub fn connect(
        address: &str,
        token: &str,
        events: &[String],
        from: Option<&str>,
    ) -> Result<Self, TailError> {
        let unreachable = |source| TailError::Unreachable {
            address: address.to_owned(),
            source,
        };
        let refused = |source| TailError::Refused {
            address: address.to_owned(),
            source: Box::new(source),
        };
        let resolved = address
            .to_socket_addrs()
            .and_then(|mut all| {
                all.next()
                    .ok_or_else(|| io::Error::other("the name has no address"))
            })
            .map_err(unreachable)?;
        let stream = TcpStream::connect_timeout(&resolved, CONNECT_TIMEOUT).map_err(unreachable)?;
        let mut request = format!("ws://{address}/ws")
            .into_client_request()
            .map_err(refused)?;
        let bearer = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|error| refused(SocketError::HttpFormat(error.into())))?;
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let (mut socket, _) =
            tungstenite::client(request, stream).map_err(|error| match error {
                HandshakeError::Failure(error) => refused(error),
                HandshakeError::Interrupted(_) => {
                    refused(SocketError::Io(io::ErrorKind::WouldBlock.into()))
                }
            })?;
        let mut subscribe = serde_json::json!({ "action": "subscribe", "events": events });
        if let Some(from) = from {
            subscribe["from"] = from.into();
        }
        socket
            .send(Message::text(subscribe.to_string()))
            .map_err(broken)?;
        let mut tail = Self { socket };
        let answer = tail.next_frame()?;
        let subscribed = serde_json::from_str::<serde_json::Value>(&answer).is_ok_and(|answer| {
            answer["status"] == "subscribed" && answer.get("invalidEvents").is_none()
        });
        if subscribed {
            Ok(tail)
        } else {
            Err(TailError::NotSubscribed { answer })
        }
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// [`TailError::Ended`] or [`TailError::Broken`].
    pub fn next_frame(&mut self) -> Result<String, TailError> {
        loop {
            match self.socket.read().map_err(broken)? {
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Close(frame) => {
                    let reason =
                        frame.map(|frame| format!("{} {}", u16::from(frame.code), frame.reason));
                    return Err(TailError::Ended { reason });
                }
                _ => {}
            }
        }
    }
}

fn broken(source: SocketError) -> TailError {
    match source {
        SocketError::ConnectionClosed | SocketError::AlreadyClosed => {
            TailError::Ended { reason: None }
        }
        source => TailError::Broken {
            source: Box::new(source),
        },
    }
}
