//! An MCP server over Streamable HTTP: each of its tools does one thing well or badly.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nexus_auth::Secret;
use nexus_hub::{
    ClientCapabilities, Isolation, ServerId, Transport, UpstreamConfig, UpstreamLimits,
};
use nexus_outbound::Trust;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use url::Url;

#[path = "http_fixture/replies.rs"]
mod replies;

pub(crate) use replies::told;
use replies::{answered, event, event_stream, result, status, with_json, with_type};

type Body = BoxBody<Bytes, Infallible>;

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) verb: Method,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn rpc_method(&self) -> &str {
        self.body["method"].as_str().unwrap_or("")
    }

    /// Whether it answers a question of the server.
    pub(crate) fn is_answer(&self) -> bool {
        self.verb == Method::POST && self.body.get("method").is_none()
    }
}

/// The server. Its listener ends with the test's runtime.
#[derive(Default)]
pub(crate) struct HttpFixture {
    pub(crate) connections: AtomicUsize,
    /// Says 400 where it should say 404.
    pub(crate) is_old: AtomicBool,
    /// Says 401 to everything.
    pub(crate) is_locked: AtomicBool,
    /// Says nothing to whoever answers its questions.
    pub(crate) is_deaf: AtomicBool,
    /// Offers no stream of its own.
    pub(crate) is_streamless: AtomicBool,
    /// Speaks the transport of 2024-11-05, and wants messages there.
    pub(crate) endpoint: Mutex<Option<String>>,
    begun: AtomicUsize,
    sessions: Mutex<BTreeSet<String>>,
    seen: Mutex<Vec<Seen>>,
    /// Questions that wait for the client's answer.
    asked: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    /// The streams that clients listen on.
    streams: Mutex<Vec<mpsc::UnboundedSender<Bytes>>>,
    /// What comes behind an event id.
    rest: Mutex<HashMap<String, Bytes>>,
}

impl HttpFixture {
    /// Starts a server; gives it with the configuration that leads to it.
    pub(crate) async fn start() -> (Arc<Self>, UpstreamConfig) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fixture = Arc::new(Self::default());
        let serving = fixture.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let fixture = serving.clone();
                let service = service_fn(move |request| fixture.clone().handle(request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service);
                tokio::spawn(connection);
            }
        });
        let config = UpstreamConfig {
            id: ServerId::new("remote"),
            revision: 1,
            transport: Transport::Http {
                url: format!("http://{address}/mcp").parse::<Url>().unwrap(),
                trust: Trust::Configured,
                headers: vec![(
                    HeaderName::from_static("authorization"),
                    Secret::new(format!("Bearer {}", crate::fixture::KEY)),
                )],
            },
            isolation: Isolation::PerUser,
            capabilities: ClientCapabilities::all(),
            limits: UpstreamLimits::http(),
        };
        (fixture, config)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(crate) fn count(&self, rpc_method: &str) -> usize {
        let seen = self.seen.lock();
        seen.iter()
            .filter(|seen| seen.rpc_method() == rpc_method)
            .count()
    }

    pub(crate) fn listeners(&self) -> usize {
        let mut streams = self.streams.lock();
        streams.retain(|stream| !stream.is_closed());
        streams.len()
    }

    /// Says something on the streams that clients listen on.
    pub(crate) fn say(&self, message: &Value) {
        for stream in &*self.streams.lock() {
            let _ = stream.send(event(message));
        }
    }

    /// Ends the streams that clients listen on.
    pub(crate) fn end_streams(&self) {
        self.streams.lock().clear();
    }

    /// Forgets all sessions, as a server does that was started again.
    pub(crate) fn forget(&self) {
        self.sessions.lock().clear();
        self.end_streams();
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.lock().len()
    }

    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        let body = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok());
        let headers = head.headers.iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned()));
        let seen = Seen {
            verb: head.method,
            path: head.uri.path().to_owned(),
            headers: headers.collect(),
            body: body.unwrap_or(Value::Null),
        };
        self.seen.lock().push(seen.clone());
        if seen.is_answer() && self.is_deaf.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(self.answer(&seen))
    }

    fn answer(self: &Arc<Self>, seen: &Seen) -> Response<Body> {
        if self.is_locked.load(Ordering::SeqCst) {
            let mut response = status(401);
            let challenge = "Bearer resource_metadata=\"https://example.org/.well-known\"";
            let headers = response.headers_mut();
            headers.insert("www-authenticate", challenge.parse().unwrap());
            return response;
        }
        if let Some(endpoint) = &*self.endpoint.lock() {
            return self.answer_as_of_old(seen, endpoint);
        }
        if seen.rpc_method() == "initialize" {
            return self.begin(seen);
        }
        let session = seen.header("mcp-session-id").unwrap_or("");
        if !self.sessions.lock().contains(session) {
            return self.unknown_session();
        }
        match seen.verb {
            Method::POST => self.post(seen),
            Method::GET => self.listen(seen),
            Method::DELETE => {
                self.sessions.lock().remove(session);
                status(200)
            }
            _ => status(405),
        }
    }

    fn answer_as_of_old(&self, seen: &Seen, endpoint: &str) -> Response<Body> {
        match (&seen.verb, seen.path.as_str()) {
            (&Method::GET, "/mcp") => {
                let (sender, response) = event_stream();
                let said = format!(": hello\n\nevent: endpoint\ndata: {endpoint}\n\n");
                let _ = sender.send(said.into());
                self.streams.lock().push(sender);
                response
            }
            (&Method::POST, "/messages") => {
                let given = &seen.body["params"]["arguments"];
                match seen.rpc_method() {
                    "initialize" => self.say(&result(
                        &seen.body,
                        &json!({"protocolVersion": "2024-11-05", "capabilities": {}}),
                    )),
                    "tools/call" => self.say(&result(&seen.body, given)),
                    _ => {}
                }
                status(202)
            }
            _ => status(405),
        }
    }

    fn begin(&self, seen: &Seen) -> Response<Body> {
        let id = format!("s-{}", self.begun.fetch_add(1, Ordering::SeqCst) + 1);
        self.sessions.lock().insert(id.clone());
        let result = json!({
            "protocolVersion": seen.body["params"]["protocolVersion"],
            "capabilities": {"tools": {}, "resources": {"subscribe": true}},
            "serverInfo": {"name": "remote", "version": "1"},
        });
        let mut response = answered(&seen.body, &result);
        response
            .headers_mut()
            .insert("mcp-session-id", id.parse().unwrap());
        response
    }

    fn unknown_session(&self) -> Response<Body> {
        let (code, number) = if self.is_old.load(Ordering::SeqCst) {
            (400, -32_000)
        } else {
            (404, -32_001)
        };
        let error = json!({"code": number, "message": "no such session"});
        with_json(code, &json!({"jsonrpc": "2.0", "id": null, "error": error}))
    }

    fn listen(&self, seen: &Seen) -> Response<Body> {
        if let Some(id) = seen.header("last-event-id")
            && let Some(rest) = self.rest.lock().remove(id)
        {
            let (sender, response) = event_stream();
            let _ = sender.send(rest);
            return response;
        }
        if self.is_streamless.load(Ordering::SeqCst) {
            return status(405);
        }
        let (sender, response) = event_stream();
        self.streams.lock().push(sender);
        response
    }

    fn post(self: &Arc<Self>, seen: &Seen) -> Response<Body> {
        let body = &seen.body;
        if body.get("method").is_none() {
            let asked = body["id"]
                .as_str()
                .and_then(|id| self.asked.lock().remove(id));
            if let Some(asked) = asked {
                let _ = asked.send(body.clone());
            }
            return status(202);
        }
        if body.get("id").is_none() {
            return status(202);
        }
        match seen.rpc_method() {
            "tools/call" => self.call(body),
            _ => answered(body, &json!({})),
        }
    }

    fn call(self: &Arc<Self>, body: &Value) -> Response<Body> {
        let given = &body["params"]["arguments"];
        match body["params"]["name"].as_str().unwrap_or("") {
            "echo" => answered(body, given),
            "stream" => {
                let (sender, response) = event_stream();
                let token = &body["params"]["_meta"]["progressToken"];
                let progress = json!({"progressToken": token, "progress": 1});
                let _ = sender.send(Bytes::from_static(b": hello\n\n"));
                let _ = sender.send(event(&told("notifications/progress", &progress)));
                let log = json!({"level": "info", "data": crate::fixture::KEY});
                let _ = sender.send(event(&told("notifications/message", &log)));
                let _ = sender.send(event(&result(body, given)));
                response
            }
            "ask" => self.ask(body),
            "flood" => {
                let (sender, response) = event_stream();
                for n in 0..given["questions"].as_u64().unwrap() {
                    let id = format!("f-{n}");
                    let ping = json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
                    let _ = sender.send(event(&ping));
                }
                let _ = sender.send(event(&result(body, given)));
                response
            }
            "cut" => {
                let (sender, response) = event_stream();
                let _ = sender.send(Bytes::from_static(b"retry: 5\nid: e-1\ndata:\n\n"));
                let rest = event(&result(body, &json!({"rest": true})));
                self.rest.lock().insert("e-1".to_owned(), rest);
                response
            }
            "cut_for_good" => event_stream().1,
            "hang" => {
                let (sender, response) = event_stream();
                // Kept, so that the stream does not end.
                tokio::spawn(async move { sender.closed().await });
                response
            }
            "big" => {
                let bytes = given["bytes"].as_u64().unwrap();
                // Written by hand: the library would take seconds.
                let text = "x".repeat(usize::try_from(bytes).unwrap());
                let id = &body["id"];
                let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"{text}"}}"#);
                if given["is_streamed"] == true {
                    let (sender, response) = event_stream();
                    let _ = sender.send(format!("data: {text}\n\n").into());
                    response
                } else {
                    with_type(200, "application/json", text.into_bytes())
                }
            }
            "promise" => {
                // Nothing of what it promises ever comes.
                let (sender, mut response) = event_stream();
                self.streams.lock().push(sender);
                let headers = response.headers_mut();
                headers.insert("content-type", "application/json".parse().unwrap());
                headers.insert("content-length", "50000000".parse().unwrap());
                response
            }
            "html" => with_type(200, "text/html", b"<h1>hello</h1>".to_vec()),
            "broken" => with_type(200, "application/json", b"{".to_vec()),
            "stranger" => with_json(200, &result(&json!({"id": 999_999}), &json!({}))),
            "accepted" => status(202),
            "status" => status(u16::try_from(given["status"].as_u64().unwrap()).unwrap()),
            "refuse" => {
                let error = json!({"code": -32_602, "message": "no", "data": {"own": 1}});
                let error = json!({"jsonrpc": "2.0", "id": body["id"], "error": error});
                with_json(400, &error)
            }
            _ => status(500),
        }
    }

    /// Asks the client on the stream of its request, and answers with what it says.
    fn ask(self: &Arc<Self>, body: &Value) -> Response<Body> {
        let (sender, response) = event_stream();
        let (answer, answered) = oneshot::channel();
        let id = format!("h-{}", body["id"]);
        self.asked.lock().insert(id.clone(), answer);
        let question = json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {"own": 1}});
        let _ = sender.send(event(&question));
        let body = body.clone();
        tokio::spawn(async move {
            if let Ok(answer) = answered.await {
                let _ = sender.send(event(&result(&body, &json!({"answer": answer}))));
            }
        });
        response
    }
}
