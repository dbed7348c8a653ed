//! A right that ends or changes reaches the streams that are open.

use std::{ffi::OsString, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use nexus::{
    App, Error as NexusError,
    config::{Config, Mode, Sources},
    environment::Environment,
};
use nexus_auth::{Auth, AuthOptions, Secret, TokenOptions, TokenValue};
use nexus_client::{Error, Item, Publish, Subscription, Transport};
use nexus_core::{Catalogue, Clock, Scope};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};
use tokio_util::sync::CancellationToken;

use super::{TOKEN, client};
use crate::support::{PATIENCE, SECRET};

/// What the promise says.
const REACHES_WITHIN: Duration = Duration::from_secs(5);
const READER: &str = "reader-token-0123456789abcdef0123456789";

/// A Nexus in this process, so that its tokens can be changed while it runs.
struct Running {
    address: SocketAddr,
    auth: Auth,
    stop: CancellationToken,
    running: JoinHandle<Result<(), NexusError>>,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let variables = [
            ("PORT", "0"),
            ("AGENTS_PORT", "0"),
            ("NEXUS_HOST", "127.0.0.1"),
            ("NEXUS_SECRET", SECRET),
            ("NEXUS__LIMITS__ANONYMOUS_REQUESTS_PER_SECOND", "0"),
        ];
        let pairs = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let environment = Environment::new(pairs).in_folder(folder.path());
        let sources = Sources {
            mode: Mode::Serve,
            file: None,
            environment,
        };
        let config = Config::load(sources).unwrap().config;
        let app = App::builder(config).build().await.unwrap();
        let (address, auth) = (app.local_addr(), app.auth().clone());
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.run(stop.clone()));
        Self {
            address,
            auth,
            stop,
            running,
            _folder: folder,
        }
    }

    /// The operator's token, and the reader's if there is to be one.
    fn tokens(&self, reader: Option<TokenOptions>) {
        let options = AuthOptions {
            admin_token: Some(Secret::new(TOKEN)),
            tokens: reader.into_iter().collect(),
            ..AuthOptions::default()
        };
        self.auth.replace(&options, &Catalogue::known()).unwrap();
    }

    async fn stop(self) {
        self.stop.cancel();
        let ended = timeout(PATIENCE, self.running).await;
        ended.expect("it ends").unwrap().unwrap();
    }
}

/// A token that reads everything.
fn reader() -> TokenOptions {
    TokenOptions {
        name: "reader".into(),
        value: TokenValue::Plain(Secret::new(READER)),
        scopes: [Scope::Read].into_iter().collect(),
        read: None,
        publish: None,
        not_after_us: None,
    }
}

/// Not everything: the daemon says something at its start.
const PATTERNS: [&str; 2] = ["proposal.*", "vote.*"];

/// The streams of one token: over each face.
struct Streams {
    v1: Subscription,
    sse: Subscription,
    neo: WebSocketStream<TcpStream>,
}

impl Streams {
    async fn open(address: SocketAddr) -> Self {
        let client = client(address).token(READER).build().unwrap();
        let open = |transport| client.subscribe(PATTERNS).transport(transport).open();
        let (mut v1, mut sse) = (
            open(Transport::WebSocket).unwrap(),
            open(Transport::Sse).unwrap(),
        );
        v1.live().await;
        sse.live().await;
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        let bearer = HeaderValue::try_from(format!("Bearer {READER}")).unwrap();
        request.headers_mut().insert("authorization", bearer);
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut neo, _) = client_async(request, socket).await.unwrap();
        let subscribe = json!({ "action": "subscribe", "events": PATTERNS });
        neo.send(Message::text(subscribe.to_string()))
            .await
            .unwrap();
        let mut streams = Self { v1, sse, neo };
        assert_eq!(streams.neo_frame().await.unwrap()["status"], "subscribed");
        streams
    }

    /// The next frame of the neo face, or the code with which it was closed.
    async fn neo_frame(&mut self) -> Result<Value, u16> {
        loop {
            let message = timeout(PATIENCE, self.neo.next()).await.expect("a frame");
            match message
                .expect("a word of farewell")
                .expect("a word of farewell")
            {
                Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                Message::Close(frame) => return Err(frame.expect("a code").code.into()),
                _ => {}
            }
        }
    }

    /// What each is told at its end, which comes within the time that is promised.
    async fn ends(&mut self) -> (Error, Error, u16) {
        let (v1, sse) = (end(&mut self.v1).await, end(&mut self.sse).await);
        let neo = timeout(REACHES_WITHIN, self.neo_frame()).await;
        let neo = neo.expect("it reaches the neo face").unwrap_err();
        (v1, sse, neo)
    }
}

async fn end(stream: &mut Subscription) -> Error {
    let end = timeout(REACHES_WITHIN, stream.next()).await;
    match end.expect("it reaches the stream") {
        Some(Err(error)) => error,
        other => panic!("no end: {other:?}"),
    }
}

fn close_code(error: &Error) -> u16 {
    match error {
        Error::Closed { code, .. } => *code,
        other => panic!("not closed: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_taken_away_ends_its_streams() {
    let nexus = Running::start().await;
    nexus.tokens(Some(reader()));
    let mut streams = Streams::open(nexus.address).await;
    nexus.tokens(None);
    let (v1, sse, neo) = streams.ends().await;
    assert_eq!((close_code(&v1), close_code(&sse), neo), (4500, 4500, 4500));

    nexus.tokens(Some(reader()));
    let mut streams = Streams::open(nexus.address).await;
    nexus.tokens(Some(TokenOptions {
        scopes: [Scope::Publish].into_iter().collect(),
        ..reader()
    }));
    let (v1, sse, neo) = streams.ends().await;
    assert_eq!((close_code(&v1), close_code(&sse), neo), (4503, 4503, 4503));
    drop(streams);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_ends_its_streams() {
    // Enough to open them all, on a machine that is busy.
    const LEFT: Duration = Duration::from_secs(4);
    let nexus = Running::start().await;
    let end = Instant::now() + LEFT;
    let left_us = i64::try_from(LEFT.as_micros()).unwrap();
    nexus.tokens(Some(TokenOptions {
        not_after_us: Some(Clock::System.now_us() + left_us),
        ..reader()
    }));
    let mut streams = Streams::open(nexus.address).await;
    tokio::time::sleep_until(end).await;
    let (v1, sse, neo) = streams.ends().await;
    // The client comes back, as it is told to, and then nobody knows the token.
    for error in [v1, sse] {
        let Error::Refused(refusal) = error else {
            panic!("{error:?}")
        };
        assert_eq!(refusal.status, Some(401));
    }
    assert_eq!(neo, 4005);
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_may_read_less_gets_less_at_once() {
    let nexus = Running::start().await;
    nexus.tokens(Some(reader()));
    let mut streams = Streams::open(nexus.address).await;
    let operator = client(nexus.address).build().unwrap();
    let proposal = || Publish::new("proposal.created", &json!({ "proposalId": "p" }));
    let vote = || {
        Publish::new(
            "vote.cast",
            &json!({ "proposalId": "p", "voterId": "v", "decision": "for" }),
        )
    };
    let expect = async |streams: &mut Streams, events: [Publish; 2], expected: &[&str]| {
        for event in events {
            operator.publish(event).await.unwrap();
        }
        for topic in expected {
            for stream in [&mut streams.v1, &mut streams.sse] {
                let next = timeout(PATIENCE, stream.next()).await.expect("an event");
                assert!(
                    matches!(&next, Some(Ok(Item::Event(event))) if event.topic == *topic),
                    "{topic}: {next:?}"
                );
            }
            assert_eq!(streams.neo_frame().await.unwrap()["event"], *topic);
        }
    };
    expect(
        &mut streams,
        [vote(), proposal()],
        &["vote.cast", "proposal.created"],
    )
    .await;
    nexus.tokens(Some(TokenOptions {
        read: Some(vec!["proposal.*".into()]),
        ..reader()
    }));
    // What is stored from now on is not told any more; the streams go on.
    expect(&mut streams, [vote(), proposal()], &["proposal.created"]).await;
    nexus.tokens(Some(reader()));
    expect(
        &mut streams,
        [proposal(), vote()],
        &["proposal.created", "vote.cast"],
    )
    .await;
    drop(streams);
    nexus.stop().await;
}
