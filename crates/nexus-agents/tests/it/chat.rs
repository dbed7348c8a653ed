//! The link to a chat: a real WebSocket, with the test at its other end.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nexus_agents::{
    Availability, Dependency, Pace,
    chat::{Chat, ChatOptions},
};
use nexus_core::{NewEvent, PatternSet, ProtocolEvent};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

use crate::support::{World, session, until};

const DEADLINE: Duration = Duration::from_secs(20);

/// A chat that listens, and the link to it.
struct Link {
    world: World,
    listener: TcpListener,
    dependency: Dependency,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

/// One connection, at the side of the chat.
struct Peer(WebSocketStream<TcpStream>);

impl Link {
    async fn new(topics: &[&str], events_per_minute: u32) -> Self {
        let world = World::new().await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("ws://{}/ws?key=k", listener.local_addr().unwrap());
        let topics = PatternSet::parse(topics.iter().copied()).unwrap();
        let mut options = ChatOptions::new(url.parse().unwrap(), topics);
        options.retry = Duration::from_millis(10);
        let dependency = Dependency::chat(Some("ws://chat".to_owned()));
        let pace = Pace::new(events_per_minute);
        let chat = Chat::new(world.agents.clone(), options, pace, dependency.clone()).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(chat.run(stop.clone()));
        Self {
            world,
            listener,
            dependency,
            stop,
            running,
        }
    }

    async fn peer(&self) -> Peer {
        let (stream, _) = timeout(DEADLINE, self.listener.accept())
            .await
            .unwrap()
            .unwrap();
        Peer(
            timeout(DEADLINE, accept_async(stream))
                .await
                .unwrap()
                .unwrap(),
        )
    }

    async fn say(&self, by: &str, event: ProtocolEvent, payload: Value) {
        let known = self.world.log.catalogue().known_type(event);
        let said = NewEvent::new(known, payload.to_string());
        self.world.agents.publish(&session(by), said).await.unwrap();
    }

    async fn broadcast(&self, by: &str, message: &str) {
        let payload = json!({ "message": message });
        self.say(by, ProtocolEvent::MessageBroadcast, payload).await;
    }
}

impl Peer {
    async fn heard(&mut self) -> Value {
        loop {
            match timeout(DEADLINE, self.0.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap()
            {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("no frame: {other:?}"),
            }
        }
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }
}

#[tokio::test]
async fn events_are_told_to_the_chat_and_what_it_says_is_published() {
    let link = Link::new(&["message.*", "help.*"], 0).await;
    let mut peer = link.peer().await;
    link.broadcast("session-5", "hello").await;
    let frame = peer.heard().await;
    assert_eq!(frame["event_type"], "message.broadcast");
    assert_eq!(
        (&frame["session_id"], &frame["payload"]["message"]),
        (&json!("session-5"), &json!("hello"))
    );
    assert!(frame["position"].is_string() && frame["event_id"].is_string());
    peer.say(r#"{"type":"publish","event_type":"help.needed","payload":{"task":"t","n":1.10}}"#)
        .await;
    peer.say(r#"{"message":"from \u0061 human","user":"ana"}"#)
        .await;
    // Not for us, or what we said ourselves.
    for text in [r#"{"type":"ping"}"#, "[1]", "\"x\"", "7"] {
        peer.say(text).await;
    }
    until("it is published", async || {
        link.world.topics(&["help.needed", "message.*"]).await.len() == 3
    })
    .await;
    let events = link.world.events(&["help.needed", "message.*"]).await;
    for event in &events[1..] {
        assert_eq!(event.source, session("unified-chat").source());
    }
    assert_eq!(&events[1].payload[..], br#"{"task":"t","n":1.10}"#);
    let message: Value = serde_json::from_slice(&events[2].payload).unwrap();
    assert_eq!(message, json!({"message": "from a human"}));
    // What the chat said is not told to it again.
    link.broadcast("session-5", "next").await;
    assert_eq!(peer.heard().await["payload"]["message"], "next");
    assert_eq!(link.dependency.availability(), Availability::Available);
}

#[tokio::test]
async fn the_chat_is_told_why_something_is_not_published() {
    let link = Link::new(&["message.*"], 2).await;
    let mut peer = link.peer().await;
    for (text, code) in [
        ("{", "malformed-json"),
        (r#"{"type":"publish"}"#, "invalid-request"),
        (
            r#"{"type":"publish","event_type":"session.connected","payload":{}}"#,
            "not-permitted",
        ),
        (r#"{"message":7}"#, "invalid-payload"),
        (r#"{"message":"too often"}"#, "rate-limited"),
    ] {
        peer.say(text).await;
        let frame = peer.heard().await;
        assert_eq!(frame["event_type"], "system.error", "{text}");
        assert_eq!(
            (&frame["code"], &frame["payload"]["code"]),
            (&json!(code), &json!(code)),
            "{frame}"
        );
    }
    assert!(link.world.topics(&["*"]).await.is_empty());
}

#[tokio::test]
async fn the_chat_claims_work_as_sessions_do() {
    let link = Link::new(&["work.*"], 0).await;
    let mut peer = link.peer().await;
    let claim = r#"{"type":"publish","event_type":"work.claim","payload":{"work_id":"w"}}"#;
    peer.say(claim).await;
    until("it has the work", async || {
        let claims = link.world.agents.claims(Some(&session("unified-chat")));
        claims.len() == 1
    })
    .await;
    let item = crate::support::work("other");
    let agents = &link.world.agents;
    agents
        .claim(&session("session-5"), &item, "d", None)
        .await
        .unwrap();
    assert_eq!(peer.heard().await["payload"]["work_id"], "other");
    peer.say(r#"{"type":"publish","event_type":"work.claim","payload":{"work_item":"other"}}"#)
        .await;
    assert_eq!(peer.heard().await["code"], "work-held");
}

#[tokio::test]
async fn a_direct_message_is_told_only_if_it_is_to_the_chat() {
    let link = Link::new(&["message.*"], 0).await;
    let mut peer = link.peer().await;
    for to in ["session-7", "unified-chat"] {
        let payload = json!({"to": to, "message": to});
        link.say("session-5", ProtocolEvent::MessageDirect, payload)
            .await;
    }
    assert_eq!(peer.heard().await["payload"]["to"], "unified-chat");
}

#[tokio::test]
async fn what_happens_while_the_chat_is_away_is_told_when_it_is_back() {
    let link = Link::new(&["message.*"], 0).await;
    let mut peer = link.peer().await;
    link.broadcast("session-5", "one").await;
    assert_eq!(peer.heard().await["payload"]["message"], "one");
    drop(peer);
    until("it is missed", async || {
        link.dependency.availability() == Availability::Unavailable
    })
    .await;
    link.broadcast("session-5", "two").await;
    let mut peer = link.peer().await;
    assert_eq!(peer.heard().await["payload"]["message"], "two");
    link.stop.cancel();
    let closed = timeout(DEADLINE, peer.0.next()).await.unwrap();
    assert!(matches!(closed, Some(Ok(Message::Close(_)))), "{closed:?}");
    drop(peer);
    link.running.await.unwrap();
    assert_eq!(link.dependency.availability(), Availability::Unavailable);
}

#[tokio::test]
async fn a_chat_that_takes_nothing_does_not_hold_up_the_end() {
    let link = Link::new(&["message.broadcast"], 0).await;
    let _reads_nothing = link.peer().await;
    // More than the system takes for a socket that nobody reads.
    let long = "x".repeat(100_000);
    for _ in 0..150 {
        link.broadcast("ann", &long).await;
    }
    link.stop.cancel();
    // Sooner than the chat would be given up for its silence.
    let ended = timeout(Duration::from_secs(15), link.running).await;
    ended.expect("it ends").unwrap();
}
