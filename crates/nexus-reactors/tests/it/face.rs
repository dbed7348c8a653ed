//! The engine's routes on a real server, who asks them, and a reactor whose receiver a test switches on and off.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderMap, HeaderName, Method};
use nexus_auth::{Auth, AuthOptions, Secret, TokenOptions, TokenValue};
use nexus_core::{
    Attempt, Catalogue, Clock, Event, Exchange, Mode, PatternSet, Reaction, Reactor, ReactorError,
    ReactorOptions, Scope, SharedReactor,
};
use nexus_http::{Server, ServerOptions};
use nexus_outbound::{Client, OutboundOptions, Outgoing, Trust};
use nexus_reactors::{Handle, http::TargetApi};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) const OPERATOR: &str = "an-operators-token-of-32-characters";
/// May operate, and read nothing but `mint.*`.
pub(crate) const MINTS_ONLY: &str = "a-token-for-mints-of-32-characters--";
/// May read.
pub(crate) const READER: &str = "a-readers-token-of-32-characters----";

/// Whose tokens there are.
pub(crate) fn auth() -> Auth {
    let token = |name: &str, value: &str, scope, read: Option<&str>| TokenOptions {
        name: name.to_owned(),
        value: TokenValue::Plain(Secret::new(value)),
        scopes: [scope].into_iter().collect(),
        read: read.map(|pattern| vec![pattern.to_owned()]),
        publish: None,
        not_after_us: None,
    };
    let options = AuthOptions {
        default_secrets: vec![Secret::new("a-secret-of-at-least-32-characters").into()],
        admin_token: Some(Secret::new(OPERATOR)),
        tokens: vec![
            token("mints", MINTS_ONLY, Scope::Operate, Some("mint.*")),
            token("reader", READER, Scope::Read, None),
        ],
        ..AuthOptions::default()
    };
    Auth::new(&options, &Catalogue::known(), Clock::System).unwrap()
}

/// A server with the engine's routes.
pub(crate) struct Face {
    root: String,
    client: Client,
    pub(crate) token: Option<&'static str>,
    shutdown: CancellationToken,
}

impl Drop for Face {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answered {
    /// What it says, in a success.
    pub(crate) fn data(&self) -> &Value {
        assert_eq!(self.body["success"], true, "{self:?}");
        &self.body["data"]
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a refusal with this status and code.
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, &self.body["code"]),
            (status, &code.into()),
            "{self:?}"
        );
        assert_eq!(self.body["success"], false, "{self:?}");
    }
}

impl Face {
    pub(crate) async fn new(handle: Handle) -> Self {
        Self::of(TargetApi::new(handle, auth())).await
    }

    pub(crate) async fn of(api: TargetApi) -> Self {
        let routes = nexus_reactors::http::routes(&api);
        let address = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(address, routes, ServerOptions::default())
            .await
            .unwrap();
        let root = format!("http://{}", server.local_addr());
        let shutdown = CancellationToken::new();
        tokio::spawn(server.run(shutdown.clone()));
        Self {
            root,
            client: Client::new(&OutboundOptions::default()).unwrap(),
            token: Some(OPERATOR),
            shutdown,
        }
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let url = format!("{}{path}", self.root).parse().unwrap();
        let mut call = Outgoing::new(method, url, Trust::Configured);
        if let Some(token) = self.token {
            let bearer = format!("Bearer {token}").parse().unwrap();
            call.headers.insert("authorization", bearer);
        }
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            call.headers.insert(name, value.parse().unwrap());
        }
        call.body = body.to_owned().into();
        let answer = self.client.send(call).await.unwrap();
        Answered {
            status: answer.status,
            headers: answer.headers,
            body: serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.ask(Method::GET, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answered {
        self.ask(Method::POST, path, &[], body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answered {
        self.ask(Method::DELETE, path, &[], "").await
    }
}

/// What a receiver got: event, attempt, key, and whether it was a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) seq: u64,
    pub(crate) number: u32,
    pub(crate) key: Arc<str>,
    pub(crate) mode: Mode,
}

/// Sends each payment to a receiver that is up or down, and can be tried without effects.
pub(crate) struct Courier {
    pub(crate) options: ReactorOptions,
    pub(crate) url: &'static str,
    pub(crate) is_up: Arc<AtomicBool>,
    pub(crate) got: Arc<Mutex<Vec<Got>>>,
    pub(crate) rehearses: bool,
}

impl Courier {
    /// A failure is final at once.
    pub(crate) fn new(name: &str) -> Self {
        let on = PatternSet::parse(["payment.received"]).unwrap();
        let mut options = ReactorOptions::new(name, on);
        options.retry.attempts = 1;
        Self {
            options,
            url: "https://shop.example/hook",
            is_up: Arc::default(),
            got: Arc::default(),
            rehearses: true,
        }
    }

    pub(crate) fn up(self) -> Self {
        self.is_up.store(true, Ordering::SeqCst);
        self
    }

    pub(crate) fn shared(self) -> SharedReactor {
        Arc::new(self)
    }
}

impl Reactor for Courier {
    fn options(&self) -> ReactorOptions {
        self.options.clone()
    }

    fn target_url(&self) -> Option<String> {
        Some(self.url.to_owned())
    }

    fn rehearses(&self) -> bool {
        self.rehearses
    }

    async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
        let event: &Event = &attempt.event;
        let mut exchange = Exchange {
            method: "POST".into(),
            url: self.url.into(),
            headers: vec![(
                "idempotency-key".into(),
                attempt.idempotency_key.to_string(),
            )],
            body: event.payload.clone(),
            ..Exchange::default()
        };
        if !attempt.mode.calls_out() {
            attempt.exchange(exchange);
            return Ok(Reaction::nothing());
        }
        let is_up = self.is_up.load(Ordering::SeqCst);
        exchange.status = Some(if is_up { 204 } else { 503 });
        attempt.exchange(exchange);
        if !is_up {
            return Err(ReactorError::retry("answered 503"));
        }
        self.got.lock().push(Got {
            seq: event.seq.get(),
            number: attempt.number,
            key: attempt.idempotency_key.clone(),
            mode: attempt.mode,
        });
        Ok(Reaction::nothing())
    }
}
