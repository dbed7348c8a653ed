//! Sessions of agents over their WebSocket, with somebody simple who coordinates them.

#[path = "agents/acting.rs"]
mod acting;
#[path = "agents/addressed.rs"]
mod addressed;
#[path = "agents/coordinator.rs"]
mod coordinator;
#[path = "agents/ending.rs"]
mod ending;
#[path = "agents/entering.rs"]
mod entering;
#[path = "agents/topics.rs"]
mod topics;

use std::{net::SocketAddr, sync::Arc};

use nexus_core::{LogOptions, Principal, Publish, Receipt, Scopes, Source};
use nexus_http::{Server, ServerOptions};
use nexus_ws::{SessionOptions, WsOptions};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{
    client::IntoClientRequest, error::Error, http::HeaderValue, http::Request,
};
use tokio_util::sync::CancellationToken;

use self::coordinator::{Sessions, Shared};
use crate::harness::{Client, Hub};

/// A log, and sessions that can connect.
struct Bus {
    hub: Hub,
    sessions: Arc<Shared>,
    address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Bus {
    async fn start() -> Self {
        Self::with(WsOptions::default(), SessionOptions::default()).await
    }

    async fn with(options: WsOptions, session_options: SessionOptions) -> Self {
        let hub = Hub::with(options, LogOptions::default()).await;
        let sessions = Arc::new(Shared::new(hub.log.clone()));
        let coordinator = Sessions(sessions.clone());
        let routes = hub.edge.session_routes(coordinator, session_options);
        let server_options = ServerOptions {
            anonymous_rate: None,
            connections_per_address_max: 0,
            ..ServerOptions::default()
        };
        let address = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(address, routes, server_options).await.unwrap();
        let address = server.local_addr();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone()));
        Self {
            hub,
            sessions,
            address,
            shutdown,
            running,
        }
    }

    fn request(&self, session: &str) -> Request<()> {
        let url = format!("ws://{}/ws/session/{session}", self.address);
        url.into_client_request().unwrap()
    }

    async fn connect(&self, session: &str) -> Client {
        self.open(self.request(session)).await.unwrap()
    }

    async fn open(&self, request: Request<()>) -> Result<Client, Error> {
        Client::open(self.address, request, None).await
    }

    /// A connection that subscribed to these topics.
    async fn subscribed(&self, session: &str, topics: &[&str]) -> Client {
        let mut client = self.connect(session).await;
        client.topics(topics).await;
        client
    }

    /// Publishes as a session that is not here.
    async fn say(&self, session: &str, event_type: &str, payload: &Value) -> Receipt {
        let source = Source::session(session);
        let principal = Principal::new(source, Publish::Anything, Scopes::NONE);
        let text = payload.to_string();
        self.hub.publish_as(&principal, event_type, &text).await
    }

    async fn message(&self, from: &str, to: &str, message: &str) -> Receipt {
        let payload = json!({ "to": to, "message": message });
        self.say(from, "message.direct", &payload).await
    }

    async fn status(&self, session: &str) -> Receipt {
        let payload = json!({ "status": "idle" });
        self.say(session, "status.update", &payload).await
    }

    /// Nothing waits for these connections of a session: what is said to it now comes next.
    async fn is_quiet(&self, session: &str, clients: &mut [&mut Client]) {
        let said = self.message("whoever", session, "quiet").await;
        for client in clients {
            let frame = client.next().await;
            assert_eq!(frame["seq"], said.first.get(), "{frame}");
        }
    }

    /// As Nexus tells that a session came.
    async fn came(&self, session: &str) -> Receipt {
        let payload = json!({ "session_id": session });
        self.say(session, "session.connected", &payload).await
    }
}

impl Client {
    /// Says something and gives its answer, which has to be the next frame.
    async fn ask(&mut self, mut frame: Value) -> Value {
        frame["ref"] = json!("asked");
        self.send(&frame).await;
        let answer = self.next().await;
        assert_eq!(answer["ref"], "asked", "{answer}");
        answer
    }

    async fn topics(&mut self, topics: &[&str]) -> Value {
        let answer = self
            .ask(json!({ "action": "subscribe", "topics": topics }))
            .await;
        assert_eq!(answer["status"], "subscribed", "{answer}");
        answer
    }

    /// The code of the refusal that answers a frame.
    async fn code(&mut self, frame: Value) -> String {
        let answer = self.ask(frame).await;
        assert_eq!(answer["event_type"], "system.error", "{answer}");
        assert_eq!(answer["code"], answer["payload"]["code"], "{answer}");
        answer["code"].as_str().unwrap().to_owned()
    }

    /// The types of the next frames.
    async fn types(&mut self, count: usize) -> Vec<String> {
        let mut types = Vec::with_capacity(count);
        for _ in 0..count {
            let frame = self.next().await;
            types.push(frame["event_type"].as_str().unwrap().to_owned());
        }
        types
    }
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap()
}
