//! Servers to connect to, and what is asked of them.

use std::{
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::BoxFuture;
use nexus_auth::Secret;
use nexus_hub::{
    CallError, ClientCapabilities, Isolation, Peer, PoolOptions, Raw, Request, RpcError, Scope,
    ServerId, Transport, Upstream, UpstreamConfig, UpstreamLimits, Upstreams,
};
use nexus_outbound::{Client, OutboundOptions};
use parking_lot::Mutex;
use serde_json::{Value, json, value::RawValue};
use tokio::time::Instant;

/// How long anything may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The interpreter itself: what is found in `PATH` may be a script that starts it.
pub(crate) fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let out = Command::new("python3")
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .expect("these tests need python3");
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    })
}

pub(crate) fn options() -> PoolOptions {
    let path = std::env::var("PATH").unwrap();
    PoolOptions {
        environment: vec![("PATH".to_owned(), path)],
        ..PoolOptions::default()
    }
}

pub(crate) fn pool_with(options: PoolOptions) -> Upstreams {
    let outbound = OutboundOptions {
        allow_loopback: true,
        ..OutboundOptions::default()
    };
    Upstreams::new(options, Client::new(&outbound).unwrap())
}

pub(crate) fn pool() -> Upstreams {
    pool_with(options())
}

/// The fixture server as a child process.
pub(crate) fn stdio(switches: &[&str]) -> UpstreamConfig {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/server.py");
    let fixed = ["-S", script];
    let args = fixed.iter().chain(switches);
    UpstreamConfig {
        id: ServerId::new("fixture"),
        revision: 1,
        transport: Transport::Stdio {
            program: python().to_owned(),
            args: args.map(ToString::to_string).collect(),
            env: vec![
                ("API_KEY".to_owned(), Secret::new(KEY)),
                ("PYTHONCOERCECLOCALE".to_owned(), Secret::new("0")),
            ],
        },
        isolation: Isolation::PerUser,
        capabilities: ClientCapabilities::all(),
        limits: UpstreamLimits::stdio(),
    }
}

/// A connection that stays when its pool is gone.
pub(crate) async fn connected(config: &UpstreamConfig) -> Arc<dyn Upstream> {
    pool().get(config, &scope("ana")).await.unwrap()
}

/// A connection to the fixture server.
pub(crate) async fn fixture() -> Arc<dyn Upstream> {
    connected(&stdio(&[])).await
}

/// The secret that the fixture is given.
pub(crate) const KEY: &str = "key-0123456789abcdef";

pub(crate) fn scope(user: &str) -> Scope {
    Scope {
        user: user.into(),
        session: None,
    }
}

pub(crate) fn raw(text: &str) -> Raw {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// A call of one of the fixture's tools.
pub(crate) fn call(tool: &str, arguments: &Value) -> Request {
    let params = json!({"name": tool, "arguments": arguments});
    request("tools/call", &params)
}

pub(crate) fn request(method: &str, params: &Value) -> Request {
    let deadline = Instant::now() + PATIENCE;
    Request::new(method, Some(raw(&params.to_string())), deadline)
}

/// Asks, and reads the result.
pub(crate) async fn ask(upstream: &Arc<dyn Upstream>, request: Request) -> Value {
    let result = upstream.request(request).await.unwrap();
    serde_json::from_str(result.get()).unwrap()
}

/// Asks, and wants it to fail.
pub(crate) async fn refused(upstream: &Arc<dyn Upstream>, request: Request) -> CallError {
    match upstream.request(request).await {
        Err(error) => error,
        Ok(result) => panic!("it gave {}", result.get()),
    }
}

pub(crate) fn done() -> Value {
    json!({"content": [{"type": "text", "text": "done"}], "isError": false})
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client that remembers what it was told, and answers each question in the same way.
pub(crate) struct Caller {
    told: Mutex<Vec<(String, Value)>>,
    asked: Mutex<Vec<(String, Value)>>,
    capabilities: ClientCapabilities,
    answer: Option<&'static str>,
}

impl Caller {
    /// One that can do everything.
    pub(crate) fn able(answer: &'static str) -> Arc<Self> {
        Arc::new(Self {
            told: Mutex::default(),
            asked: Mutex::default(),
            capabilities: ClientCapabilities::all(),
            answer: Some(answer),
        })
    }

    /// One that never answers.
    pub(crate) fn silent() -> Arc<Self> {
        Arc::new(Self {
            told: Mutex::default(),
            asked: Mutex::default(),
            capabilities: ClientCapabilities::all(),
            answer: None,
        })
    }

    /// One that can be told things, and asked nothing.
    pub(crate) fn plain() -> Arc<Self> {
        Arc::new(Self {
            told: Mutex::default(),
            asked: Mutex::default(),
            capabilities: ClientCapabilities::none(),
            answer: Some("{}"),
        })
    }

    pub(crate) fn told(&self) -> Vec<(String, Value)> {
        self.told.lock().clone()
    }

    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().clone()
    }
}

fn value(params: Option<Raw>) -> Value {
    params.map_or(Value::Null, |params| {
        serde_json::from_str(params.get()).unwrap()
    })
}

impl Peer for Caller {
    fn notify(&self, method: &str, params: Option<Raw>) {
        self.told.lock().push((method.to_owned(), value(params)));
    }

    fn ask(&self, method: &str, params: Option<Raw>) -> BoxFuture<'_, Result<Raw, RpcError>> {
        self.asked.lock().push((method.to_owned(), value(params)));
        Box::pin(async {
            match self.answer {
                Some(answer) => Ok(raw(answer)),
                None => std::future::pending().await,
            }
        })
    }

    fn capabilities(&self) -> &ClientCapabilities {
        &self.capabilities
    }
}
