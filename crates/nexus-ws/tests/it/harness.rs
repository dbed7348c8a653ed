//! A whole Nexus in memory behind a real server, and clients of it.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use nexus_auth::{Auth, AuthOptions, NodeOptions, Secret, TokenOptions, TokenValue};
use nexus_core::{
    Catalogue, Clock, Log, LogOptions, Memory, NewEvent, Pages, Position, Principal, Random,
    Receipt, Scope,
};
use nexus_http::{Server, ServerOptions};
use nexus_ws::{Edge, WsOptions};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        error::Error,
        http::{HeaderName, HeaderValue, Request},
        protocol::CloseFrame,
    },
};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const NODE_SECRET: &str = "the-secret-of-flowpay-0123456789abcdef";
pub(crate) const ADMIN_TOKEN: &str = "the-token-of-the-operator-0123456789";
pub(crate) const STREAM_TOKEN: &str = "a-token-for-streams-0123456789abcdef";
pub(crate) const PUBLISH_TOKEN: &str = "a-token-that-may-not-read-0123456789";
pub(crate) const MINT_TOKEN: &str = "a-token-that-reads-mints-0123456789";
pub(crate) const ORIGIN: &str = "https://console.example";

pub(crate) struct Hub {
    pub(crate) log: Log,
    pub(crate) auth: Auth,
    pub(crate) edge: Edge,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<()>,
}

pub(crate) fn token(name: &str, value: &str, scopes: &[Scope]) -> TokenOptions {
    TokenOptions {
        name: name.into(),
        value: TokenValue::Plain(Secret::new(value)),
        scopes: scopes.iter().copied().collect(),
        read: None,
        publish: None,
        not_after_us: None,
    }
}

pub(crate) fn auth_options() -> AuthOptions {
    AuthOptions {
        nodes: vec![NodeOptions::new("flowpay").secret(Secret::new(NODE_SECRET))],
        admin_token: Some(Secret::new(ADMIN_TOKEN)),
        tokens: vec![
            token("stream", STREAM_TOKEN, &[Scope::Read]),
            token("writer", PUBLISH_TOKEN, &[Scope::Publish]),
            TokenOptions {
                read: Some(vec!["mint.*".into()]),
                ..token("mints", MINT_TOKEN, &[Scope::Read])
            },
        ],
        ..AuthOptions::default()
    }
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self::with(WsOptions::default(), LogOptions::default()).await
    }

    pub(crate) async fn with(options: WsOptions, log_options: LogOptions) -> Self {
        Self::over(Clock::System, auth_options(), options, log_options).await
    }

    pub(crate) async fn over(
        clock: Clock,
        auth_options: AuthOptions,
        options: WsOptions,
        log_options: LogOptions,
    ) -> Self {
        Self::over_pages(clock, auth_options, options, log_options, |memory| memory).await
    }

    /// The same, with another reading side over the memory.
    pub(crate) async fn over_pages<P: Pages>(
        clock: Clock,
        auth_options: AuthOptions,
        options: WsOptions,
        log_options: LogOptions,
        pages: impl FnOnce(Memory) -> P,
    ) -> Self {
        let random = Random::system();
        let memory = Memory::new(&random);
        let catalogue = Catalogue::known();
        let auth = Auth::new(&auth_options, &catalogue, clock.clone()).unwrap();
        let (log, service) = Log::open(
            memory.clone(),
            pages(memory),
            catalogue,
            log_options,
            clock,
            random,
        )
        .await
        .unwrap();
        tokio::spawn(service.run());
        let edge = Edge::new(log.clone(), auth.clone(), options);
        let server_options = ServerOptions {
            anonymous_rate: None,
            connections_per_address_max: 0,
            allowed_origins: vec![ORIGIN.into()],
            ..ServerOptions::default()
        };
        let address = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(address, edge.routes(), server_options)
            .await
            .unwrap();
        let address = server.local_addr();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone()));
        Self {
            log,
            auth,
            edge,
            address,
            shutdown,
            running,
        }
    }

    /// Publishes as Nexus itself, so that any topic may be.
    pub(crate) async fn publish(&self, name: &str, payload: &str) -> Receipt {
        self.publish_as(&Principal::nexus(), name, payload).await
    }

    pub(crate) async fn publish_as(&self, who: &Principal, name: &str, payload: &str) -> Receipt {
        let event_type = self.log.catalogue().resolve(name).unwrap().event_type;
        let event = NewEvent::new(event_type, payload.to_owned());
        self.log.dispatch(who, event).await.unwrap()
    }

    pub(crate) async fn pay(&self, number: u64) -> Receipt {
        self.publish("payment.received", &payment(number)).await
    }

    pub(crate) async fn connect(&self) -> Client {
        let request = self.request(
            "/ws",
            &[("authorization", &format!("Bearer {ADMIN_TOKEN}"))],
        );
        Client::open(self.address, request, None).await.unwrap()
    }

    /// A client with a small receive buffer, so that it is soon felt when it does not read.
    pub(crate) async fn connect_small(&self) -> Client {
        let request = self.request("/", &[("authorization", &format!("Bearer {ADMIN_TOKEN}"))]);
        Client::open(self.address, request, Some(4_096))
            .await
            .unwrap()
    }

    pub(crate) fn request(&self, target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let url = format!("ws://{}{target}", self.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            request
                .headers_mut()
                .append(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }
}

pub(crate) fn payment(number: u64) -> String {
    format!(r#"{{"transactionId":"tx-{number}","amount":{number},"payerId":"payer-7"}}"#)
}

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) protocol: Option<String>,
}

impl Client {
    pub(crate) async fn open(
        address: SocketAddr,
        request: Request<()>,
        receive_buffer_bytes: Option<u32>,
    ) -> Result<Self, Error> {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = socket.connect(address).await.unwrap();
        let (socket, response) = client_async(request, stream).await?;
        let protocol = response.headers().get("sec-websocket-protocol");
        let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
        Ok(Self { socket, protocol })
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn message(&mut self) -> Message {
        timeout(PATIENCE, self.socket.next())
            .await
            .expect("a message in time")
            .expect("an open connection")
            .expect("a valid frame")
    }

    /// The next text frame, as JSON.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.message().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Subscribes and gives the answer.
    pub(crate) async fn subscribe(&mut self, events: &[&str]) -> Value {
        self.send(&json!({"action": "subscribe", "events": events}))
            .await;
        self.answer().await
    }

    pub(crate) async fn subscribe_from(&mut self, events: &[&str], from: &str) -> Value {
        self.send(&json!({"action": "subscribe", "events": events, "from": from}))
            .await;
        self.answer().await
    }

    /// The next frame that is no event.
    pub(crate) async fn answer(&mut self) -> Value {
        loop {
            let frame = self.next().await;
            if frame.get("event").is_none() {
                return frame;
            }
        }
    }

    /// The sequence numbers of the next events.
    pub(crate) async fn seqs(&mut self, count: usize) -> Vec<u64> {
        let mut seqs = Vec::with_capacity(count);
        while seqs.len() < count {
            let frame = self.next().await;
            seqs.push(frame["seq"].as_u64().unwrap_or_else(|| panic!("{frame}")));
        }
        seqs
    }

    /// Reads until the close frame; gives it and the last event before it.
    pub(crate) async fn closed(&mut self) -> (CloseFrame, Option<u64>) {
        let mut last = None;
        loop {
            match self.message().await {
                Message::Close(frame) => return (frame.expect("a reason"), last),
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    last = frame["seq"].as_u64().or(last);
                }
                _ => {}
            }
        }
    }
}

/// The position that a close frame tells.
pub(crate) fn resume_position(frame: &CloseFrame) -> Position {
    let position = frame.reason.rsplit(' ').next().unwrap();
    position.parse().unwrap()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
