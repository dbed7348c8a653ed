//! A hub that listens, and a client that says exactly what a test wants it to.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use nexus_auth::{Auth, AuthOptions, Secret, TokenOptions, TokenValue};
use nexus_core::{Catalogue, Clock, Log, Nexus, Principal, Publish, Random, Scope, Source};
use nexus_http::{Server, ServerOptions};
use nexus_hub::{
    Caller, CatalogueOptions, ClientCapabilities, Hub, HubServer, Isolation, Jobs, JobsOptions,
    PoolOptions, Review, ServerId, Transport, UpstreamConfig, UpstreamLimits, Upstreams,
    mcp::{Door, Mcp, McpOptions},
};
use nexus_outbound::{Client, Opened, OutboundOptions, Outgoing, Trust};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::toy::Toy;

/// The token of an agent, which somebody else gave out.
pub(crate) const AGENT_TOKEN: &str = "a-token-of-an-agent";
/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A hub that listens.
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    pub(crate) toy: Arc<Toy>,
    pub(crate) hub: Hub,
    pub(crate) mcp: Mcp,
    pub(crate) auth: Auth,
    pub(crate) jobs: Jobs,
    client: Client,
    _stop: DropGuard,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// A message of a stream.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// A stream that is read.
pub(crate) struct Stream {
    opened: Opened,
    text: String,
}

/// Tokens: ana and bob act, eve only reads.
pub(crate) fn auth_options() -> AuthOptions {
    let token = |name: &str, scopes: &[Scope]| TokenOptions {
        name: name.to_owned(),
        value: TokenValue::Plain(Secret::new(format!("{name}-{}", "x".repeat(32)))),
        scopes: scopes.iter().copied().collect(),
        read: None,
        publish: None,
        not_after_us: None,
    };
    let acts = [Scope::Read, Scope::Publish];
    AuthOptions {
        tokens: vec![
            token("ana", &acts),
            token("bob", &acts),
            token("eve", &[Scope::Read]),
        ],
        ..AuthOptions::default()
    }
}

pub(crate) async fn log() -> Log {
    Nexus::in_memory().await.unwrap().log().clone()
}

/// A server with its alias as id, for all.
pub(crate) fn server(alias: &str) -> (HubServer, UpstreamConfig) {
    let server = HubServer {
        id: ServerId::new(alias),
        alias: nexus_hub::Alias::parse(alias).unwrap(),
        name: alias.into(),
        owner: None,
        enabled: true,
        calls_per_minute: 0,
        review: Review::Changes,
        overrides: std::collections::BTreeMap::new(),
    };
    let config = UpstreamConfig {
        id: ServerId::new(alias),
        revision: 1,
        transport: Transport::Stdio {
            program: "true".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
        },
        isolation: Isolation::Shared,
        capabilities: ClientCapabilities::all(),
        limits: UpstreamLimits::stdio(),
    };
    (server, config)
}

pub(crate) async fn hub(log: Log) -> Hub {
    let client = Client::new(&OutboundOptions::default()).unwrap();
    let upstreams = Upstreams::new(PoolOptions::default(), client);
    let options = CatalogueOptions {
        debounce: Duration::from_millis(1),
        tool_calls_per_minute: 0,
        user_calls_per_minute: 0,
        ..CatalogueOptions::default()
    };
    let (hub, service) = Hub::open(log, upstreams, options).await.unwrap();
    tokio::spawn(service.run());
    hub
}

impl Endpoint {
    pub(crate) async fn start() -> Self {
        Self::with(McpOptions::default()).await
    }

    pub(crate) async fn with(options: McpOptions) -> Self {
        let log = log().await;
        let hub = hub(log.clone()).await;
        let toy = Toy::new();
        hub.upstreams().put(ServerId::new("toy"), toy.clone());
        let (server, config) = server("toy");
        hub.put_server(server, config).await.unwrap();
        hub.sync(&ServerId::new("toy")).await.unwrap();

        let auth = Auth::new(&auth_options(), &Catalogue::known(), Clock::System).unwrap();
        let others = |token: &str| {
            let scopes = [Scope::Read, Scope::Publish].into_iter().collect();
            let agent = Principal::new(Source::session("agent-7"), Publish::Nothing, scopes);
            (token == AGENT_TOKEN).then_some(agent)
        };
        let door = Door::Tokens {
            auth: auth.clone(),
            others: Some(Arc::new(others)),
        };
        let jobs = Jobs::open(log, hub.clone(), JobsOptions::default());
        let jobs = jobs.await.unwrap();
        let mcp = Mcp::new(hub.clone(), door, options, Random::system()).with_tasks(jobs.clone());
        let stop = CancellationToken::new();
        let address = ([127, 0, 0, 1], 0).into();
        let options = ServerOptions {
            anonymous_rate: None,
            ..ServerOptions::default()
        };
        let listener = Server::bind(address, mcp.routes(), options).await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr())
            .parse()
            .unwrap();
        tokio::spawn(listener.run(stop.clone()));
        tokio::spawn(mcp.clone().run(stop.clone()));
        Self {
            url,
            toy,
            hub,
            mcp,
            auth,
            jobs,
            client: Client::new(&OutboundOptions::default()).unwrap(),
            _stop: stop.drop_guard(),
        }
    }

    /// Somebody as they are to the hub, outside of any session.
    pub(crate) fn caller(&self, user: &str) -> Caller {
        let scopes = [Scope::Read, Scope::Publish].into_iter().collect();
        let principal = Principal::new(Source::user(user), Publish::Nothing, scopes);
        Caller::of(principal)
    }

    /// Sends a request with these headers, beside the usual ones.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Opened {
        let url = self.url.join(path).unwrap();
        let mut call = Outgoing::new(method, url, Trust::Configured);
        call.body = Bytes::copy_from_slice(body.as_bytes());
        let usual = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        for (name, value) in usual.iter().chain(headers) {
            let name: HeaderName = name.parse().unwrap();
            call.headers
                .insert(name, HeaderValue::from_str(value).unwrap());
        }
        self.client.open(call, PATIENCE).await.unwrap()
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        Answer::of(self.send(method, path, headers, body).await).await
    }

    /// Ends every session, as a restart does.
    pub(crate) fn forget_all(&self) {
        self.mcp.end_sessions();
    }

    /// Begins a session for somebody, at the address that has everything.
    pub(crate) async fn begin(&self, user: &str, capabilities: Value) -> Session<'_> {
        self.begin_at(user, "/mcp", "2025-11-25", capabilities)
            .await
    }

    pub(crate) async fn begin_at(
        &self,
        user: &str,
        path: &str,
        version: &str,
        capabilities: Value,
    ) -> Session<'_> {
        let token = format!("Bearer {user}-{}", "x".repeat(32));
        let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" },
        } });
        let headers = [("authorization", token.as_str())];
        let answer = self
            .ask(Method::POST, path, &headers, &hello.to_string())
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let id = answer.headers["mcp-session-id"]
            .to_str()
            .unwrap()
            .to_owned();
        Session {
            endpoint: self,
            path: path.to_owned(),
            token,
            id,
            welcome: answer.body["result"].clone(),
        }
    }
}

/// A session of a test.
pub(crate) struct Session<'a> {
    endpoint: &'a Endpoint,
    path: String,
    token: String,
    pub(crate) id: String,
    pub(crate) welcome: Value,
}

impl Session<'_> {
    fn headers(&self) -> [(&str, &str); 2] {
        [("authorization", &self.token), ("mcp-session-id", &self.id)]
    }

    pub(crate) async fn send(&self, method: Method, more: &[(&str, &str)], body: &str) -> Opened {
        let headers = [&self.headers()[..], more].concat();
        self.endpoint.send(method, &self.path, &headers, body).await
    }

    pub(crate) async fn ask_raw(&self, more: &[(&str, &str)], body: &str) -> Answer {
        Answer::of(self.send(Method::POST, more, body).await).await
    }

    /// The answer to a request about which nothing else is said. On a machine that stands still it is a stream.
    pub(crate) async fn ask(&self, id: u64, method: &str, params: Value) -> Value {
        let request = request(id, method, params);
        let answer = self.ask_raw(&[], &request).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body = match &answer.body {
            Value::String(stream) => {
                let mut told = stream
                    .lines()
                    .filter_map(|line| line.strip_prefix("data: "));
                let told = told.next_back().expect("a stream ends with the answer");
                serde_json::from_str(told).unwrap()
            }
            _ => answer.body,
        };
        assert_eq!(body["id"], id, "{body}");
        body
    }

    /// The stream that answers a request.
    pub(crate) async fn stream(&self, id: u64, method: &str, params: Value) -> Stream {
        let request = request(id, method, params);
        Stream::of(self.send(Method::POST, &[], &request).await)
    }

    /// The stream of what is told beside answers, or behind an event.
    pub(crate) async fn listen(&self, last: Option<&str>) -> Stream {
        let last = last.map(|last| ("last-event-id", last));
        let more: Vec<_> = last
            .into_iter()
            .chain([("accept", "text/event-stream")])
            .collect();
        Stream::of(self.send(Method::GET, &more, "").await)
    }

    /// Says something that has no answer.
    pub(crate) async fn tell(&self, message: Value) {
        let answer = self.ask_raw(&[], &message.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }

    pub(crate) async fn end(&self) -> u16 {
        self.send(Method::DELETE, &[], "").await.status
    }
}

pub(crate) fn request(id: u64, method: &str, params: Value) -> String {
    let mut request = json!({ "jsonrpc": "2.0", "id": id, "method": method });
    request["params"] = params;
    request.to_string()
}

impl Answer {
    pub(crate) async fn of(mut opened: Opened) -> Self {
        let mut body = Vec::new();
        while let Some(piece) = opened.chunk().await.unwrap() {
            body.extend_from_slice(&piece);
        }
        let text = String::from_utf8(body).unwrap();
        Self {
            status: opened.status,
            headers: opened.headers.clone(),
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }
}

impl Stream {
    pub(crate) fn of(opened: Opened) -> Self {
        assert_eq!(opened.status, 200);
        assert_eq!(opened.headers["content-type"], "text/event-stream");
        let text = String::new();
        Self { opened, text }
    }

    /// The next message; nothing when the stream is over. What has no message is passed over.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.next_block().await?;
            if !event.data.is_null() {
                return Some(event);
            }
        }
    }

    /// The next event, also one without a message.
    pub(crate) async fn next_block(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut event = Event {
                    id: String::new(),
                    data: Value::Null,
                };
                for line in block.lines() {
                    if let Some(id) = line.strip_prefix("id: ") {
                        event.id = id.to_owned();
                    } else if let Some(data) = line.strip_prefix("data: ") {
                        event.data = serde_json::from_str(data).unwrap();
                    }
                }
                self.text = rest.to_owned();
                if !event.id.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let piece = tokio::time::timeout(PATIENCE, self.opened.chunk()).await;
            let piece = piece.expect("a stream that must say something says nothing");
            let piece = piece.ok().flatten()?;
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}
