//! Sessions over their WebSocket in a whole Nexus: whom it lets in, what they do, and what it keeps for them.

use std::{net::SocketAddr, time::Duration};

use data_encoding::BASE64;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message, client::IntoClientRequest, error::Error, http::HeaderValue, protocol::CloseFrame,
    },
};

use crate::running::{ADMIN_TOKEN, Answer, READ_TOKEN, Running, ask, request, start};

const PATIENCE: Duration = Duration::from_secs(20);
const OPEN: (&str, &str) = ("NEXUS__AGENTS__AUTH", "open");

/// A connection of a session.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Connects; else the status of the refusal.
    pub(crate) async fn open(
        address: SocketAddr,
        path: &str,
        authorization: Option<&str>,
    ) -> Result<Self, u16> {
        let url = format!("ws://{address}{path}");
        let mut request = url.into_client_request().unwrap();
        if let Some(value) = authorization {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().insert("authorization", value);
        }
        let stream = TcpStream::connect(address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("neither a socket nor an answer: {error}"),
        }
    }

    async fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn message(&mut self) -> Message {
        let message = timeout(PATIENCE, self.0.next()).await;
        message.expect("it comes in time").unwrap().unwrap()
    }

    async fn next(&mut self) -> Value {
        loop {
            match self.message().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next frame of a type; others are passed over.
    pub(crate) async fn next_of(&mut self, event_type: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["event_type"] == event_type {
                return frame;
            }
        }
    }

    /// Says something and gives its answer.
    async fn ask(&mut self, mut frame: Value) -> Value {
        frame["ref"] = json!("asked");
        self.send(&frame).await;
        loop {
            let answer = self.next().await;
            if answer["ref"] == "asked" {
                return answer;
            }
        }
    }

    pub(crate) async fn subscribe(&mut self, topics: &[&str]) {
        let answer = self
            .ask(json!({ "action": "subscribe", "topics": topics }))
            .await;
        assert_eq!(answer["status"], "subscribed", "{answer}");
    }

    pub(crate) async fn closed(mut self) -> CloseFrame {
        loop {
            if let Message::Close(frame) = self.message().await {
                return frame.expect("a reason");
            }
        }
    }
}

fn path(session: &str) -> String {
    format!("/agents/ws/session/{session}")
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn connect(nexus: &Running, session: &str) -> Socket {
    let socket = Socket::open(nexus.address, &path(session), None).await;
    socket.unwrap_or_else(|status| panic!("{session} is refused: {status}"))
}

async fn call(nexus: &Running, method: &str, path: &str, body: &Value) -> Answer {
    let token = bearer(ADMIN_TOKEN);
    let headers = [
        ("Authorization", token.as_str()),
        ("Content-Type", "application/json"),
    ];
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let path = format!("/agents{path}");
    ask(
        nexus.address,
        &request(method, &path, &headers, text.as_bytes()),
    )
    .await
}

/// Makes a session known; its token.
async fn register(nexus: &Running, session: &str) -> String {
    let body = json!({ "session_id": session, "capabilities": ["rust"] });
    let answer = call(nexus, "POST", "/sessions", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["token"].as_str().unwrap().to_owned()
}

/// Waits until a session is described in a way.
async fn until(nexus: &Running, session: &str, is_so: impl Fn(&Answer) -> bool) {
    let path = format!("/sessions/{session}");
    let waiting = async {
        while !is_so(&call(nexus, "GET", &path, &Value::Null).await) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it is so in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_session_and_operators_connect_as_it() {
    let nexus = start(&[]).await;
    let (mine, other) = (
        register(&nexus, "mine").await,
        register(&nexus, "other").await,
    );
    let basic = |name: &str, token: &str| {
        let encoded = BASE64.encode(format!("{name}:{token}").as_bytes());
        Some(format!("Basic {encoded}"))
    };
    let cases = [
        (Some(bearer(&mine)), Ok(())),
        (basic("mine", &mine), Ok(())),
        (Some(bearer(ADMIN_TOKEN)), Ok(())),
        (basic("mine", ADMIN_TOKEN), Ok(())),
        (basic("mine", READ_TOKEN), Err(403)),
        (None, Err(401)),
        (Some(bearer("a-token-that-nobody-has")), Err(401)),
        (basic("other", &mine), Err(401)),
        (Some(bearer(&other)), Err(403)),
        (basic("other", &other), Err(403)),
        (Some(bearer(READ_TOKEN)), Err(403)),
    ];
    for (authorization, expected) in cases {
        let opened = Socket::open(nexus.address, &path("mine"), authorization.as_deref()).await;
        let opened = opened.map(|_| ());
        assert_eq!(opened, expected, "{authorization:?}");
    }
    let bad = Socket::open(nexus.address, &path("-bad"), Some(&bearer(ADMIN_TOKEN))).await;
    assert_eq!(bad.map(|_| ()), Err(400));
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_says_what_it_is_and_has_eight_connections() {
    let nexus = start(&[OPEN]).await;
    let described = format!("{}?role=Builder&capabilities=rust,python", path("me"));
    let opened = Socket::open(nexus.address, &described, None).await;
    let mut sockets = vec![opened.unwrap_or_else(|status| panic!("{status}"))];
    for _ in 1..8 {
        sockets.push(connect(&nexus, "me").await);
    }
    let ninth = Socket::open(nexus.address, &path("me"), None).await;
    assert_eq!(ninth.map(|_| ()), Err(409));
    let me = call(&nexus, "GET", "/sessions/me", &Value::Null).await;
    assert_eq!(me.body["role"], "Builder");
    assert_eq!(me.body["capabilities"], json!(["rust", "python"]));
    drop(sockets.pop());
    let again = async {
        while Socket::open(nexus.address, &path("me"), None)
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("there is room again");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_claimed_once_and_free_when_its_holder_is_gone() {
    let nexus = start(&[OPEN, ("NEXUS__AGENTS__GRACE_S", "0")]).await;
    let mut holder = connect(&nexus, "holder").await;
    let mut other = connect(&nexus, "other").await;
    other.subscribe(&["work.*", "session.*"]).await;
    let claim = json!({ "action": "claim", "work_id": "w", "work_description": "Deploy" });
    let claimed = holder.ask(claim.clone()).await;
    assert_eq!(claimed["status"], "claimed", "{claimed}");
    let event = other.next_of("work.claimed").await;
    assert_eq!(event["session_id"], "holder");
    assert_eq!(event["seq"], claimed["payload"]["fencing_token"]);
    let refused = other.ask(claim).await;
    assert_eq!(refused["code"], "work-held", "{refused}");
    assert_eq!(refused["payload"]["claimed_by"], "holder");
    assert!(refused["lease_expires_at"].is_string(), "{refused}");
    let said = json!({ "action": "publish", "event_type": "work.claimed", "payload": { "work_item": "w" } });
    let refused = other.ask(said).await;
    assert_eq!(refused["code"], "work-held", "{refused}");
    drop(holder);
    let released = other.next_of("work.released").await;
    assert_eq!(released["payload"]["reason"], "disconnected");
    let gone = other.next_of("session.disconnected").await;
    assert_eq!(gone["payload"]["session_id"], "holder");
    let told = other.next_of("system.notification").await;
    assert_eq!(told["message"], "Session holder disconnected");
    let said =
        json!({ "action": "publish", "event_type": "work.claim", "payload": { "work_id": "w" } });
    let claimed = other.ask(said).await;
    assert_eq!(claimed["status"], "published", "{claimed}");
    // What is told of its own work it gets too.
    let event = other.next_of("work.claimed").await;
    assert_eq!(event["session_id"], "other");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_changes_what_is_known_of_a_session() {
    let nexus = start(&[OPEN]).await;
    let mut me = connect(&nexus, "me").await;
    let publish = |event_type: &str, payload: Value| json!({ "action": "publish", "event_type": event_type, "payload": payload });
    me.ask(publish(
        "status.update",
        json!({ "status": "working", "task": "Build" }),
    ))
    .await;
    me.ask(publish(
        "capability.broadcast",
        json!({ "capabilities": ["go"] }),
    ))
    .await;
    let known = call(&nexus, "GET", "/sessions/me", &Value::Null).await.body;
    assert_eq!(
        (&known["status"], &known["current_work"]),
        (&json!("working"), &json!("Build"))
    );
    assert_eq!(known["capabilities"], json!(["go"]));
    let refused = me.ask(publish("session.connected", json!({}))).await;
    assert_eq!(refused["code"], "not-permitted", "{refused}");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_is_told_to_all_and_offered_to_those_that_fit() {
    let nexus = start(&[OPEN]).await;
    let able = format!("{}?capabilities=python", path("able"));
    let opened = Socket::open(nexus.address, &able, None).await;
    let mut able = opened.unwrap_or_else(|status| panic!("{status}"));
    let mut other = connect(&nexus, "other").await;
    other.subscribe(&["help.*"]).await;
    let body = json!({
        "event_type": "help.needed", "session_id": "asks",
        "payload": { "task": "debug", "capabilities_needed": ["python"] },
    });
    let answer = call(&nexus, "POST", "/events", &body).await;
    assert_eq!(
        answer.body["matches"][0]["session_id"], "able",
        "{answer:?}"
    );
    let needed = other.next().await;
    assert_eq!(
        (&needed["event_type"], &needed["session_id"]),
        (&json!("help.needed"), &json!("asks"))
    );
    let offered = able.next().await;
    assert_eq!(offered["event_type"], "help.offered");
    assert_eq!(offered["payload"]["request"]["task"], "debug");
    // Nobody else is offered it.
    let message = json!({ "event_type": "message.direct", "session_id": "asks", "payload": { "to": "other", "message": "m" } });
    call(&nexus, "POST", "/events", &message).await;
    assert_eq!(other.next().await["event_type"], "message.direct");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_kept_while_a_session_is_away_and_over_a_restart() {
    let nexus = start(&[OPEN, ("NEXUS__AGENTS__GRACE_S", "0")]).await;
    let say = |text: &str| {
        json!({
            "event_type": "message.direct", "session_id": "from",
            "payload": { "to": "me", "message": text },
        })
    };
    drop(connect(&nexus, "me").await);
    until(&nexus, "me", |answer| answer.body["status"] == "inactive").await;
    call(&nexus, "POST", "/events", &say("one")).await;
    let nexus = nexus.restart().await;
    call(&nexus, "POST", "/events", &say("two")).await;
    let mut me = connect(&nexus, "me").await;
    for text in ["one", "two"] {
        assert_eq!(me.next().await["payload"]["message"], text);
    }
    // The answer to the ping behind them says that they were received.
    let Message::Ping(_) = me.message().await else {
        panic!("a ping comes behind the messages");
    };
    let frame = me
        .ask(json!({ "action": "unsubscribe", "topics": [] }))
        .await;
    assert_eq!(frame["status"], "unsubscribed");
    drop(me);
    until(&nexus, "me", |answer| answer.body["status"] == "inactive").await;
    let nexus = nexus.restart().await;
    call(&nexus, "POST", "/events", &say("three")).await;
    let mut me = connect(&nexus, "me").await;
    assert_eq!(me.next().await["payload"]["message"], "three");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_publishes_at_its_pace_over_any_way() {
    let nexus = start(&[OPEN, ("NEXUS__LIMITS__SESSION_EVENTS_PER_MINUTE", "2")]).await;
    let mut me = connect(&nexus, "me").await;
    let payload = json!({ "status": "idle" });
    let body = json!({ "event_type": "status.update", "session_id": "me", "payload": payload });
    assert_eq!(call(&nexus, "POST", "/events", &body).await.status, 200);
    let publish = json!({ "action": "publish", "event_type": "status.update", "payload": payload });
    assert_eq!(me.ask(publish.clone()).await["status"], "published");
    let refused = me.ask(publish).await;
    assert_eq!(refused["code"], "rate-limited", "{refused}");
    assert!(refused["retry_after"].as_u64().unwrap() > 0);
    assert_eq!(call(&nexus, "POST", "/events", &body).await.status, 429);
    // Work is counted by itself: who has said too much can still end what it holds.
    let act = |action: &str| json!({ "action": action, "work_id": "w" });
    assert_eq!(me.ask(act("claim")).await["status"], "claimed");
    assert_eq!(me.ask(act("renew")).await["status"], "renewed");
    assert_eq!(me.ask(act("complete")).await["status"], "completed");
    let refused = me.ask(act("claim")).await;
    assert_eq!(refused["code"], "rate-limited", "{refused}");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_right_ends_is_closed() {
    let nexus = start(&[]).await;
    let open = |session: &'static str, token: String| {
        let address = nexus.address;
        async move {
            let socket = Socket::open(address, &path(session), Some(&bearer(&token))).await;
            socket.unwrap_or_else(|status| panic!("{status}"))
        }
    };
    let first = register(&nexus, "me").await;
    let socket = open("me", first).await;
    let operators = open("me", ADMIN_TOKEN.to_owned()).await;
    let second = register(&nexus, "me").await;
    assert_eq!(u16::from(socket.closed().await.code), 4500);
    let socket = open("me", second).await;
    let gone = call(&nexus, "DELETE", "/sessions/me", &Value::Null).await;
    assert_eq!(gone.status, 204);
    for socket in [socket, operators] {
        assert_eq!(u16::from(socket.closed().await.code), 4510);
    }
    nexus.stop().await;
}

/// While a request is under way that ends slowly, everything else is closed, and sessions still act.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_on_the_shared_port_are_closed_last_too() {
    let nexus = start(&[OPEN]).await;
    let mut me = connect(&nexus, "me").await;
    // A request whose body is on its way keeps the server from ending.
    let mut slow = TcpStream::connect(nexus.address).await.unwrap();
    let claim = json!({ "session_id": "me", "work_id": "w" }).to_string();
    let headers = [("Expect", "100-continue")];
    let whole = request("POST", "/agents/work/claim", &headers, claim.as_bytes());
    let (head, body) = whole.split_at(whole.len() - claim.len());
    slow.write_all(head).await.unwrap();
    let mut go_on = *b"HTTP/1.1 100 Continue\r\n\r\n";
    let is_asked_for = timeout(PATIENCE, slow.read_exact(&mut go_on)).await;
    is_asked_for.expect("the body is asked for").unwrap();
    nexus.tell_to_stop();
    let closing = async {
        while TcpStream::connect(nexus.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closing).await.expect("it stops");
    me.subscribe(&["work.*"]).await;
    slow.write_all(body).await.unwrap();
    let told = me.next_of("work.claimed").await;
    assert_eq!(told["payload"]["work_id"], "w");
    let ((), frame) = tokio::join!(nexus.stop(), me.closed());
    assert_eq!(u16::from(frame.code), 4012, "{frame:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nexus_that_stops_tells_sessions_where_to_go_on() {
    let nexus = start(&[OPEN]).await;
    let mut me = connect(&nexus, "me").await;
    me.subscribe(&["*"]).await;
    nexus.tell_to_stop();
    let frame = me.closed().await;
    assert_eq!(u16::from(frame.code), 4012);
    assert!(frame.reason.contains("resume from"), "{frame:?}");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_the_files_lets_its_session_in_as_long_as_it_stands_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claude_sessions.json");
    let write = |entry: Value| std::fs::write(&file, json!({ "5": entry }).to_string()).unwrap();
    write(json!({ "session_id": "session-5", "role": "Builder", "token": "from-the-files" }));
    let path_of_folder = folder.path().to_str().unwrap();
    let nexus = start(&[("COORDINATION_PATH", path_of_folder)]).await;
    let token = bearer("from-the-files");
    let opening = async {
        loop {
            if let Ok(socket) = Socket::open(nexus.address, &path("session-5"), Some(&token)).await
            {
                return socket;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let socket = timeout(PATIENCE, opening).await.expect("the file is read");
    let known = call(&nexus, "GET", "/sessions/session-5", &Value::Null).await;
    assert_eq!(known.body["role"], "Builder", "{known:?}");
    write(json!({ "session_id": "session-5" }));
    assert_eq!(u16::from(socket.closed().await.code), 4500);
    nexus.stop().await;
}
