//! A WebSocket to the server that notices when nobody is there any more.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request, header::SEC_WEBSOCKET_PROTOCOL};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    time::{Instant, error::Elapsed, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, Message, Utf8Bytes,
        client::IntoClientRequest,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::either::Either;
use url::{Host, Url};

use crate::{
    Error,
    client::Shared,
    refusal::{Lost, read_refusal},
    wire::{SUBPROTOCOL, Say},
};

const PATH: &str = "api/v1/stream";
/// The largest message that is read: the server sends at most 256 KiB, or one event.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What is read at once. Without a batch in it a frame has some hundred bytes.
const READ_BUFFER_BYTES: usize = 32 * 1024;
/// What a publisher writes at once.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// How long the closing handshake is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection, encrypted or not.
pub(crate) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// How long silence means nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// After so much of it the other side is asked whether it is there.
    pub(crate) ping_after: Duration,
    /// And after so much more it is not.
    pub(crate) silence_max: Duration,
}

/// A connection that was accepted.
pub(crate) struct Socket {
    stream: WebSocketStream<Stream>,
    /// When the other side was heard the last time.
    heard: Instant,
    /// It was asked since then whether it is there.
    asked: bool,
    ping_after: Duration,
    silence_max: Duration,
}

impl Socket {
    /// Connects and shows who the client is.
    pub(crate) async fn open(shared: &Shared) -> Result<Self, Lost> {
        let after = shared.options.connect_timeout;
        let opened = timeout(after, Self::connect(shared)).await;
        opened.unwrap_or_else(|_| Err(Lost::back(Error::TimedOut { after })))
    }

    async fn connect(shared: &Shared) -> Result<Self, Lost> {
        let url = shared.url(PATH).map_err(Lost::Over)?;
        let stream = dial(shared.tls.as_ref(), &url).await?;
        let request = request(shared, url).map_err(Lost::Over)?;
        let patience = Patience {
            ping_after: shared.options.ping_after,
            silence_max: shared.options.silence_max,
        };
        let mut socket = Self::over(stream, request, MESSAGE_BYTES_MAX, patience).await?;
        if shared.options.token_in_frame
            && let Some(token) = shared.credentials.token()
        {
            let token = token.expose();
            socket.send(Say::Auth { token }.to_text()).await?;
        }
        Ok(socket)
    }

    /// Asks for a WebSocket over a connection.
    pub(crate) async fn over(
        stream: Stream,
        request: Request<()>,
        message_bytes_max: usize,
        patience: Patience,
    ) -> Result<Self, Lost> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let (stream, _) = client_async_with_config(request, stream, Some(config))
            .await
            .map_err(lost)?;
        Ok(Self {
            stream,
            heard: Instant::now(),
            asked: false,
            ping_after: patience.ping_after,
            silence_max: patience.silence_max,
        })
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), Lost> {
        self.write(Message::Text(text.into())).await
    }

    /// As [`Socket::send`], for a frame that others follow at once: [`Socket::flush`] ends them.
    pub(crate) async fn feed(&mut self, text: Utf8Bytes) -> Result<(), Lost> {
        let after = self.silence_max;
        let fed = timeout(after, self.stream.feed(Message::Text(text))).await;
        settle(fed, after)
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Lost> {
        let after = self.silence_max;
        let flushed = timeout(after, self.stream.flush()).await;
        settle(flushed, after)
    }

    async fn write(&mut self, message: Message) -> Result<(), Lost> {
        let after = self.silence_max;
        let sent = timeout(after, self.stream.send(message)).await;
        settle(sent, after)
    }

    /// The next message. Nothing is lost when the future is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Result<Utf8Bytes, Lost> {
        loop {
            let silence = if self.asked {
                self.silence_max
            } else {
                self.ping_after
            };
            let Ok(message) = timeout_at(self.heard + silence, self.stream.next()).await else {
                self.ask().await?;
                continue;
            };
            self.heard = Instant::now();
            self.asked = false;
            match message {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => return Err(self.closed(frame).await),
                Some(Ok(Message::Binary(_))) => {
                    return Err(Lost::Over(Error::unreadable("a binary message")));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(lost(error)),
                None => return Err(lost(tungstenite::Error::ConnectionClosed)),
            }
        }
    }

    /// It was not listened to for a while, so that its silence means nothing.
    pub(crate) fn forgive(&mut self) {
        self.heard = Instant::now();
        self.asked = false;
    }

    /// Says goodbye, and waits a moment for the answer.
    pub(crate) async fn close(mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::default(),
        };
        let closing = async {
            if self.stream.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        // Whoever does not answer is left; the connection ends either way.
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }

    /// Asks whether somebody is there; after that, silence is the end.
    async fn ask(&mut self) -> Result<(), Lost> {
        if self.asked {
            let after = self.silence_max;
            return Err(Lost::back(Error::TimedOut { after }));
        }
        self.asked = true;
        self.write(Message::Ping(Bytes::new())).await
    }

    async fn closed(&mut self, frame: Option<CloseFrame>) -> Lost {
        // The answer to a close frame is sent with the next flush.
        let _ = timeout(CLOSE_TIMEOUT, self.stream.flush()).await;
        match frame {
            Some(frame) => Lost::closed(frame.code.into(), &frame.reason),
            None => Lost::closed(CloseCode::Status.into(), ""),
        }
    }
}

/// Connects, encrypted where the address says so.
pub(crate) async fn dial(tls: Option<&Arc<ClientConfig>>, url: &Url) -> Result<Stream, Lost> {
    let port = url.port_or_known_default().unwrap_or(80);
    let broken = |error: std::io::Error| Lost::back(Error::lost(error));
    let no_host = || {
        Lost::Over(Error::invalid(
            "the address of the server",
            "it has no host",
        ))
    };
    let (stream, name) = match url.host().ok_or_else(no_host)? {
        Host::Domain(name) => (
            TcpStream::connect((name, port)).await,
            ServerName::try_from(name.to_owned()),
        ),
        Host::Ipv4(ip) => (
            TcpStream::connect((ip, port)).await,
            Ok(ServerName::from(std::net::IpAddr::from(ip))),
        ),
        Host::Ipv6(ip) => (
            TcpStream::connect((ip, port)).await,
            Ok(ServerName::from(std::net::IpAddr::from(ip))),
        ),
    };
    let stream = stream.map_err(broken)?;
    // An acknowledgement of twenty bytes must not wait for more.
    stream.set_nodelay(true).map_err(broken)?;
    let Some(tls) = tls else {
        return Ok(Either::Left(stream));
    };
    let name = name.map_err(|error| {
        Lost::Over(Error::invalid(
            "the address of the server",
            error.to_string(),
        ))
    })?;
    let connector = TlsConnector::from(Arc::clone(tls));
    let stream = connector.connect(name, stream).await.map_err(broken)?;
    Ok(Either::Right(stream))
}

fn request(shared: &Shared, mut url: Url) -> Result<Request<()>, Error> {
    let invalid = |why: String| Error::invalid("the address of the server", why);
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme)
        .map_err(|()| invalid(String::from("it has no WebSocket form")))?;
    let request = url.as_str().into_client_request();
    let mut request = request.map_err(|error| invalid(error.to_string()))?;
    let headers = request.headers_mut();
    headers.insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    if !shared.options.token_in_frame {
        headers.extend(shared.credentials.to_read()?);
    }
    Ok(request)
}

/// What became of something that was written.
fn settle(
    written: Result<Result<(), tungstenite::Error>, Elapsed>,
    after: Duration,
) -> Result<(), Lost> {
    match written {
        Ok(written) => written.map_err(lost),
        Err(_) => Err(Lost::back(Error::TimedOut { after })),
    }
}

/// What the WebSocket library says, in the words of this crate.
fn lost(error: tungstenite::Error) -> Lost {
    match error {
        tungstenite::Error::Http(answer) => {
            let body = answer.body().as_deref().unwrap_or_default();
            Lost::refused(read_refusal(
                answer.status().as_u16(),
                answer.headers(),
                body,
            ))
        }
        error => Lost::back(Error::lost(error)),
    }
}
