//! A server within the test: it does what its tools are called, and tells what was done with it.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use nexus_hub::{
    About, CallError, Changed, INVALID_PARAMS, METHOD_NOT_FOUND, RESOURCE_NOT_FOUND, Raw, Request,
    RpcError, Upstream,
};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use tokio::sync::{Notify, broadcast};

type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + Send + 'a>>;

/// The server.
pub(crate) struct Toy {
    changes: broadcast::Sender<Changed>,
    /// Lets `wait` go on.
    pub(crate) go: Notify,
    /// Told of when `wait` has begun.
    pub(crate) waiting: Notify,
    /// How often `wait` was given up.
    pub(crate) dropped: Arc<AtomicUsize>,
    /// How often `wait` came to its end.
    pub(crate) done: AtomicUsize,
    /// A tool more, once it is set.
    pub(crate) extra: AtomicUsize,
}

/// Counts a call that is dropped before it is done.
struct GivenUp(Option<Arc<AtomicUsize>>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some(dropped) = &self.0 {
            dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

pub(crate) fn raw(value: &Value) -> Raw {
    to_raw_value(value).unwrap()
}

impl Toy {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            changes: broadcast::channel(16).0,
            go: Notify::new(),
            waiting: Notify::new(),
            dropped: Arc::default(),
            done: AtomicUsize::new(0),
            extra: AtomicUsize::new(0),
        })
    }

    pub(crate) fn say(&self, changed: Changed) {
        let _ = self.changes.send(changed);
    }

    fn tools(&self) -> Value {
        let tool = |name: &str| {
            json!({
                "name": name,
                "description": format!("Does {name}"),
                "inputSchema": { "type": "object" },
                "execution": { "taskSupport": "optional" },
            })
        };
        let mut tools = ["echo", "wait", "talk", "ask"].map(tool).to_vec();
        if self.extra.load(Ordering::SeqCst) > 0 {
            tools.push(tool("more"));
        }
        json!({ "tools": tools })
    }

    async fn call(&self, request: &Request) -> Result<Raw, CallError> {
        let params: Value = serde_json::from_str(request.params.as_ref().unwrap().get()).unwrap();
        let peer = request.peer.as_ref();
        match params["name"].as_str().unwrap() {
            // As it was written, so that the test sees whether it still is.
            "echo" => {
                let text = r#"{"content":[ {"type":"text","text":"é"}],"structuredContent":{"n":1.50},"x-own":true}"#;
                Ok(RawValue::from_string(text.to_owned()).unwrap())
            }
            "talk" => {
                let token = &params["_meta"]["progressToken"];
                for progress in 1..=3 {
                    let told = json!({ "progressToken": token, "progress": progress });
                    peer.unwrap()
                        .notify("notifications/progress", Some(raw(&told)));
                }
                Ok(raw(&json!({ "content": [] })))
            }
            "wait" => {
                let mut given_up = GivenUp(Some(self.dropped.clone()));
                if let Some(peer) = peer {
                    let told = json!({ "level": "info", "data": "begun" });
                    peer.notify("notifications/message", Some(raw(&told)));
                }
                self.waiting.notify_one();
                self.go.notified().await;
                given_up.0 = None;
                self.done.fetch_add(1, Ordering::SeqCst);
                Ok(raw(
                    &json!({ "content": [{ "type": "text", "text": "waited" }] }),
                ))
            }
            "ask" => {
                let question = json!({
                    "mode": "form",
                    "message": "Who are you?",
                    "requestedSchema": { "type": "object", "properties": {} },
                });
                let asked = peer
                    .unwrap()
                    .ask("elicitation/create", Some(raw(&question)))
                    .await;
                let text = match asked {
                    Ok(answer) => answer.get().to_owned(),
                    Err(error) => format!("refused: {}", error.code),
                };
                Ok(raw(
                    &json!({ "content": [{ "type": "text", "text": text }] }),
                ))
            }
            name => Err(CallError::Rpc(RpcError::new(
                INVALID_PARAMS,
                format!("no tool {name}"),
            ))),
        }
    }

    async fn answer(&self, request: Request) -> Result<Raw, CallError> {
        match &*request.method {
            "tools/list" => Ok(raw(&self.tools())),
            "tools/call" => self.call(&request).await,
            "resources/list" => Ok(raw(&json!({ "resources": [
                { "uri": "toy://clock", "name": "Clock", "description": "The time" },
            ] }))),
            "resources/templates/list" => Ok(raw(&json!({ "resourceTemplates": [] }))),
            "resources/read" => {
                let params: Value = serde_json::from_str(request.params.unwrap().get()).unwrap();
                if params["uri"] == "toy://clock" {
                    let clock = json!({ "uri": "toy://clock", "text": "noon" });
                    return Ok(raw(&json!({ "contents": [clock] })));
                }
                let unknown = RpcError::new(RESOURCE_NOT_FOUND, "there is no such resource");
                Err(CallError::Rpc(unknown))
            }
            "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" | "ping" => {
                Ok(raw(&json!({})))
            }
            "prompts/list" => Ok(raw(&json!({ "prompts": [
                { "name": "greet", "description": "Says hello" },
            ] }))),
            method => Err(CallError::Rpc(RpcError::new(METHOD_NOT_FOUND, method))),
        }
    }
}

impl Upstream for Toy {
    fn request(&self, request: Request) -> Answering<'_, Raw> {
        Box::pin(async move {
            let cancel = request.cancel.clone();
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(CallError::Cancelled),
                answer = self.answer(request) => answer,
            }
        })
    }

    fn notify<'a>(&'a self, _: &'a str, _: Option<Raw>) -> Answering<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn about(&self) -> Arc<About> {
        let capabilities = json!({
            "tools": { "listChanged": true },
            "resources": { "subscribe": true, "listChanged": true },
            "prompts": {},
            "logging": {},
        });
        Arc::new(About {
            protocol_version: "2025-11-25".into(),
            capabilities: raw(&capabilities).into(),
            server_info: None,
            instructions: Some("Play with it.".into()),
        })
    }

    fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    fn is_open(&self) -> bool {
        true
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}
