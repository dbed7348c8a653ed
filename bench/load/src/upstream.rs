//! The server of tools behind everything that is measured with tools: over HTTP, or over its own input and output.

use std::{
    borrow::Cow,
    convert::Infallible,
    io::{self, BufRead, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use clap::ValueEnum;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::net::TcpListener;

/// The tool that says what it was told.
pub(crate) const TOOL: &str = "echo";
/// A list as long as that of a few large servers together: about 117 kB.
const TOOLS: usize = 100;
const WORDS: &str = "Does something with what it is given, and says how that went. ";
const WORDS_TIMES: usize = 16;
const NO_SUCH_METHOD: i64 = -32_601;
const BAD_PARAMS: i64 = -32_602;
/// What a client is offered that does not say which revision it speaks.
const REVISION: &str = "2025-11-25";
const SESSION: &str = "mcp-session-id";

/// So much says one that says too much.
const HUGE_BYTES: usize = 50_000_000;

/// How a server answers when its tool is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mood {
    /// With what it was told.
    Well,
    /// Never.
    Hangs,
    /// It ends.
    Crashes,
    /// With 50 MB.
    Huge,
    /// With what is no message.
    Garbage,
    /// With what it was told, and from then on it describes another tool otherwise, and says so.
    Changes,
}

/// What a client says. Answers of a client are not asked for, and are ignored like notifications.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Cow<'a, str>,
    #[serde(default)]
    params: Value,
}

/// Serves until it is killed.
pub(crate) async fn over_http(listener: TcpListener, mood: Mood) -> io::Result<()> {
    let server: &'static Server = Box::leak(Box::new(Server::new(mood)));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| server.http(request));
            let connection = http1::Builder::new();
            // Whoever hangs up comes again.
            let _ = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Serves until its input ends, a line a message.
pub(crate) fn over_stdio(mood: Mood) -> io::Result<()> {
    let server = Server::new(mood);
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        match server.reply(line?.as_bytes())? {
            Reply::Nothing | Reply::Never => {}
            Reply::Answer(mut answer) => {
                answer.push(b'\n');
                output.write_all(&answer)?;
                output.flush()?;
            }
        }
    }
    Ok(())
}

/// What comes of a message.
enum Reply {
    /// It asks for nothing.
    Nothing,
    /// It asks in vain.
    Never,
    Answer(Vec<u8>),
}

struct Server {
    mood: Mood,
    /// The list, ready-made.
    tools: Box<RawValue>,
    sessions: AtomicU64,
    /// How often its tool was called.
    calls: AtomicU64,
}

impl Server {
    fn new(mood: Mood) -> Self {
        Self {
            mood,
            tools: tools(),
            sessions: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        }
    }

    async fn http(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        if request.method() != Method::POST {
            return Ok(empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        let begins = !request.headers().contains_key(SESSION);
        let Ok(body) = request.into_body().collect().await else {
            return Ok(empty(StatusCode::BAD_REQUEST));
        };
        let answer = match self.reply(&body.to_bytes()) {
            Ok(Reply::Answer(answer)) => answer,
            Ok(Reply::Nothing) => return Ok(empty(StatusCode::ACCEPTED)),
            Ok(Reply::Never) => std::future::pending().await,
            Err(_) => return Ok(empty(StatusCode::BAD_REQUEST)),
        };
        let mut response = Response::new(Full::new(Bytes::from(answer)));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if begins {
            let session = self.sessions.fetch_add(1, Ordering::Relaxed);
            response.headers_mut().insert(SESSION, session.into());
        }
        Ok(response)
    }

    fn reply(&self, message: &[u8]) -> io::Result<Reply> {
        let said: Said<'_> = serde_json::from_slice(message)?;
        let Some(id) = said.id.filter(|_| !said.method.is_empty()) else {
            return Ok(Reply::Nothing);
        };
        let answer = || answer(id, &self.outcome(&said.method, &said.params));
        if said.method != "tools/call" {
            return Ok(Reply::Answer(answer()?));
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(match self.mood {
            Mood::Well => Reply::Answer(answer()?),
            Mood::Hangs => Reply::Never,
            // What a crash says to whoever waits: nothing.
            Mood::Crashes => std::process::exit(1),
            Mood::Garbage => Reply::Answer(b"]] no message [[".to_vec()),
            Mood::Changes => {
                let told = br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
                Reply::Answer([&answer()?, &b"\n"[..], told].concat())
            }
            // Put together by hand: what it costs to say much is not to be measured.
            Mood::Huge => {
                let mut answer = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#
                )
                .into_bytes();
                let end = br#""}]}}"#;
                answer.reserve_exact(HUGE_BYTES + end.len() + 1);
                answer.resize(answer.len() + HUGE_BYTES, b'x');
                answer.extend_from_slice(end);
                Reply::Answer(answer)
            }
        })
    }

    fn outcome(&self, method: &str, params: &Value) -> Result<Cow<'_, RawValue>, Value> {
        let result = match method {
            "initialize" => json!({
                "protocolVersion": params["protocolVersion"].as_str().unwrap_or(REVISION),
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "bench-upstream", "version": "1" },
            }),
            "ping" => json!({}),
            "tools/list" if self.mood == Mood::Changes => self.changed(),
            "tools/list" => return Ok(Cow::Borrowed(&self.tools)),
            "tools/call" if params["name"] == TOOL => {
                json!({ "content": [{ "type": "text", "text": params["arguments"]["text"] }] })
            }
            "tools/call" => return Err(json!({ "code": BAD_PARAMS, "message": "no such tool" })),
            _ => return Err(json!({ "code": NO_SUCH_METHOD, "message": "no such method" })),
        };
        let raw = serde_json::value::to_raw_value(&result);
        raw.map(Cow::Owned)
            .map_err(|error| json!({ "code": BAD_PARAMS, "message": error.to_string() }))
    }

    /// A list that is another after each call.
    fn changed(&self) -> Value {
        let calls = self.calls.load(Ordering::Relaxed);
        let schema = json!({ "type": "object" });
        json!({ "tools": [
            { "name": TOOL, "description": "Says what it was told", "inputSchema": schema },
            { "name": "shifts", "description": format!("Does it for the {calls}th time"), "inputSchema": schema },
        ] })
    }
}

/// An answer as it is written.
fn answer(id: &RawValue, outcome: &Result<Cow<'_, RawValue>, Value>) -> io::Result<Vec<u8>> {
    let (result, error) = match outcome {
        Ok(result) => (Some(&**result), None),
        Err(error) => (None, Some(error)),
    };
    Ok(serde_json::to_vec(&Answer {
        jsonrpc: "2.0",
        id,
        result,
        error,
    })?)
}

#[derive(serde::Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Value>,
}

fn tools() -> Box<RawValue> {
    let text = json!({ "type": "string", "description": "What is meant" });
    let schema = json!({ "type": "object", "properties": { "text": text }, "required": ["text"] });
    let described = |name: String, about: String| json!({ "name": name, "description": about, "inputSchema": schema });
    let mut tools = vec![described(
        String::from(TOOL),
        String::from("Says what it was told"),
    )];
    for number in 1..TOOLS {
        tools.push(described(
            format!("tool_{number:03}"),
            WORDS.repeat(WORDS_TIMES),
        ));
    }
    // Text, objects and lists are always JSON.
    serde_json::value::to_raw_value(&json!({ "tools": tools })).unwrap_or_default()
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(message: &str) -> Option<Value> {
        match Server::new(Mood::Well).reply(message.as_bytes()).unwrap() {
            Reply::Answer(answer) => Some(serde_json::from_slice(&answer).unwrap()),
            Reply::Nothing | Reply::Never => None,
        }
    }

    #[test]
    fn one_that_changes_says_so_and_lists_another_text_each_time() {
        let server = Server::new(Mood::Changes);
        let ask = |message: &str| match server.reply(message.as_bytes()).unwrap() {
            Reply::Answer(answer) => String::from_utf8(answer).unwrap(),
            Reply::Nothing | Reply::Never => String::new(),
        };
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let before = ask(list);
        assert_eq!(before, ask(list));
        let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"text":"a"}}}"#;
        let told = ask(call);
        assert_eq!(told.lines().count(), 2);
        assert!(told.ends_with(r#""method":"notifications/tools/list_changed"}"#));
        assert_ne!(before, ask(list));
    }

    #[test]
    fn one_that_says_too_much_says_it_as_one_message() {
        let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo"}}"#;
        let huge = Server::new(Mood::Huge).reply(call.as_bytes()).unwrap();
        let Reply::Answer(huge) = huge else {
            panic!("no answer")
        };
        let read: Said<'_> = serde_json::from_slice(&huge).unwrap();
        assert!(read.id.is_some() && huge.len() > HUGE_BYTES);
        let hangs = Server::new(Mood::Hangs).reply(call.as_bytes()).unwrap();
        assert!(matches!(hangs, Reply::Never));
    }

    #[test]
    fn it_says_what_it_was_told_and_what_it_has() {
        let call = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}"#;
        let answer = ask(call).unwrap();
        assert_eq!(answer["id"], "a");
        assert_eq!(answer["result"]["content"][0]["text"], "hello");
        let list = ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).unwrap();
        assert_eq!(list["result"]["tools"].as_array().unwrap().len(), TOOLS);
        assert_eq!(list["result"]["tools"][0]["name"], TOOL);
    }

    #[test]
    fn it_refuses_what_it_has_not_and_leaves_notifications_alone() {
        let answer = ask(r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#).unwrap();
        assert_eq!(answer["error"]["code"], NO_SUCH_METHOD);
        assert_eq!(answer.get("result"), None);
        assert_eq!(
            ask(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
            None
        );
    }
}
