//! An MCP server outside, over Streamable HTTP: its tools do what they are called, and it counts its calls.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, header};
use nexus_http::{Access, Call, Problem, Reply, Route, Server, ServerOptions};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A server that can be asked for `/mcp`.
pub(crate) struct Stub {
    pub(crate) url: String,
    state: Arc<State>,
    shutdown: CancellationToken,
}

struct State {
    /// What has to be sent as `Authorization`; nothing: nothing has to.
    token: Mutex<Option<String>>,
    /// The headers of the last request.
    headers: Mutex<HeaderMap>,
    /// The tools that were called, in order.
    calls: Mutex<Vec<String>>,
    /// Whether `wait` goes on.
    is_open: watch::Sender<bool>,
    /// How it wants to be used, and what it says of its first tool.
    words: Mutex<Option<String>>,
}

impl Stub {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(State {
            token: Mutex::default(),
            headers: Mutex::default(),
            calls: Mutex::default(),
            is_open: watch::Sender::new(false),
            words: Mutex::default(),
        });
        let shared = state.clone();
        let route = Route::post("/mcp", Access::Open, move |call: Call| {
            let state = shared.clone();
            async move { Ok::<_, Problem>(state.answer(&call).await) }
        });
        let options = ServerOptions::default();
        let server = Server::bind(([127, 0, 0, 1], 0).into(), vec![route], options);
        let server = server.await.unwrap();
        let url = format!("http://{}/mcp", server.local_addr());
        let shutdown = CancellationToken::new();
        tokio::spawn(server.run(shutdown.clone()));
        Self {
            url,
            state,
            shutdown,
        }
    }

    /// From now on it wants this as `Authorization`.
    pub(crate) fn wants(&self, token: &str) {
        *self.state.token.lock() = Some(token.to_owned());
    }

    /// From now on it says this of itself and of its first tool.
    pub(crate) fn says(&self, words: &str) {
        *self.state.words.lock() = Some(words.to_owned());
    }

    /// Lets every `wait` go on, those to come too.
    pub(crate) fn open(&self) {
        self.state.is_open.send_replace(true);
    }

    /// A header of the last request.
    pub(crate) fn header(&self, name: &str) -> String {
        let headers = self.state.headers.lock();
        let value = headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    }

    /// How often a tool was called.
    pub(crate) fn called(&self, tool: &str) -> usize {
        self.state
            .calls
            .lock()
            .iter()
            .filter(|name| *name == tool)
            .count()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl State {
    async fn answer(&self, call: &Call) -> Reply {
        assert_eq!(call.method, Method::POST);
        *self.headers.lock() = call.headers.clone();
        let sent = call.headers.get(header::AUTHORIZATION);
        let sent = sent.map(|value| value.to_str().unwrap().to_owned());
        let wanted = self.token.lock().clone();
        if wanted.is_some() && wanted != sent {
            return Reply::json(StatusCode::UNAUTHORIZED, &json!({ "error": "credentials" }));
        }
        let message: Value = serde_json::from_slice(&call.body).unwrap();
        if message.get("id").is_none() {
            return Reply::empty(StatusCode::ACCEPTED);
        }
        let params = &message["params"];
        let result = match message["method"].as_str().unwrap() {
            "initialize" => json!({
                "protocolVersion": params["protocolVersion"],
                "capabilities": { "tools": {}, "resources": {}, "prompts": {} },
                "serverInfo": { "name": "stub", "version": "1.0.0" },
                "instructions": self.words.lock().as_deref().unwrap_or("Use it as you like."),
            }),
            "ping" => json!({}),
            "tools/list" => json!({ "tools": tools(self.words.lock().as_deref()) }),
            "resources/list" => json!({ "resources": [{ "uri": "stub://note", "name": "note" }] }),
            "resources/templates/list" => json!({ "resourceTemplates": [] }),
            "resources/read" => json!({ "contents": [{ "uri": params["uri"], "text": "a note" }] }),
            "prompts/list" => json!({ "prompts": [{ "name": "greet" }] }),
            "prompts/get" => json!({ "messages": [{
                "role": "user",
                "content": { "type": "text", "text": format!("greet {}", params["arguments"]["who"]) },
            }] }),
            "tools/call" => {
                let name = params["name"].as_str().unwrap().to_owned();
                self.calls.lock().push(name.clone());
                self.call(&name, &params["arguments"], sent.as_deref())
                    .await
            }
            other => {
                let error = json!({ "code": -32_601, "message": format!("no {other}") });
                let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "error": error });
                return Reply::json(StatusCode::OK, &answer);
            }
        };
        let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        Reply::json(StatusCode::OK, &answer)
    }

    async fn call(&self, tool: &str, arguments: &Value, sent: Option<&str>) -> Value {
        let text = match tool {
            "wait" | "export" => {
                let mut is_open = self.is_open.subscribe();
                is_open.wait_for(|is_open| *is_open).await.unwrap();
                "done".to_owned()
            }
            // A server that tells its callers what it should keep.
            "leak" => format!("you sent {}", sent.unwrap_or("nothing")),
            "large" => "x".repeat(64 * 1024),
            _ => arguments["text"].as_str().unwrap_or_default().to_owned(),
        };
        json!({ "content": [{ "type": "text", "text": text }], "isError": tool == "fail" })
    }
}

fn tools(words: Option<&str>) -> Value {
    let tool = |name: &str| {
        json!({
            "name": name,
            "description": format!("It is called {name}."),
            "inputSchema": { "type": "object", "properties": { "text": { "type": "string" } } },
        })
    };
    let mut export = tool("export");
    export["_meta"] = json!({ "estimatedDuration": "slow" });
    let mut tools: Vec<Value> = ["echo", "wait", "fail", "leak", "large"].map(tool).to_vec();
    if let Some(words) = words {
        tools[0]["description"] = json!(words);
    }
    tools.push(export);
    json!(tools)
}
