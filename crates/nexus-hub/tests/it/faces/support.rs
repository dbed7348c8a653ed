//! A log in memory with a clock that the test owns, a hub on it, and a server with the hub's routes.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method};
use nexus_auth::{Auth, AuthOptions, Secret, TokenOptions, TokenValue, Vault, VaultKey, VaultKeys};
use nexus_core::{
    Catalogue, Clock, Event, From, Log, LogOptions, Memory, PatternSet, Random, Scope,
};
use nexus_http::{Route, Server, ServerOptions};
use nexus_hub::{
    CatalogueOptions, Hub, Jobs, JobsOptions, PoolOptions, Registry, RegistryOptions,
    RegistryParts, Upstreams,
};
use nexus_outbound::{Client, OutboundOptions, Outgoing, Trust};
use serde_json::{Value, json};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::stub::Stub;

/// When tests begin: 2026-11-21T13:00:00Z, in microseconds since 1970.
pub(crate) const NOW_US: i64 = 1_795_266_000_000_000;

pub(crate) const OPERATOR: &str = "an-operators-token-of-32-characters";
pub(crate) const ANA: &str = "the-token-of-ana-with-32-characters";
pub(crate) const BOB: &str = "the-token-of-bob-with-32-characters";
/// May read and nothing else.
pub(crate) const LOOKER: &str = "the-token-of-a-reader-of-32-characters";

/// What outlives a start.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) clock: Clock,
    vault: Vault,
    client: Client,
}

/// A hub that runs, and its faces.
pub(crate) struct Api {
    pub(crate) jobs: Jobs,
    root: String,
    client: Client,
    routes: Vec<Route>,
    shutdown: CancellationToken,
    service: AbortHandle,
}

/// An answer, understood.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// What a start is made of.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) registry: RegistryOptions,
    pub(crate) jobs: JobsOptions,
    pub(crate) auth: AuthOptions,
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = Clock::manual(NOW_US);
        let random = Random::seeded(7);
        let memory = Memory::new(&random);
        let opened = Log::open(
            memory.clone(),
            memory,
            Catalogue::known(),
            LogOptions::default(),
            clock.clone(),
            random,
        );
        let (log, service) = opened.await.unwrap();
        tokio::spawn(service.run());
        Self::on(log, clock).await
    }

    /// A world on a log that is there.
    pub(crate) async fn on(log: Log, clock: Clock) -> Self {
        let random = Random::system();
        let keys = VaultKeys::one(VaultKey::generate(&random));
        let vault = Vault::open(log.clone(), keys, random).await.unwrap();
        let options = OutboundOptions {
            allow_loopback: true,
            answer_bytes_max: 8 << 20,
            ..OutboundOptions::default()
        };
        Self {
            log,
            clock,
            vault,
            client: Client::new(&options).unwrap(),
        }
    }

    pub(crate) async fn start(&self) -> Api {
        self.start_with(|_| ()).await
    }

    pub(crate) async fn start_with(&self, change: impl FnOnce(&mut Options)) -> Api {
        let mut options = Options::default();
        change(&mut options);
        let upstreams = Upstreams::new(PoolOptions::default(), self.client.clone());
        let opened = Hub::open(self.log.clone(), upstreams, CatalogueOptions::default());
        let (hub, service) = opened.await.unwrap();
        let service = tokio::spawn(service.run()).abort_handle();
        let parts = RegistryParts {
            log: self.log.clone(),
            vault: self.vault.clone(),
            client: self.client.clone(),
            hub: hub.clone(),
        };
        let registry = Registry::open(parts, options.registry).await.unwrap();
        let jobs = Jobs::open(self.log.clone(), hub, options.jobs)
            .await
            .unwrap();
        let auth = Auth::new(
            &tokens(options.auth),
            &Catalogue::known(),
            self.clock.clone(),
        );
        let auth = auth.unwrap();
        let routes = nexus_hub::http::routes(&registry, &jobs, &auth);
        let address = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(address, routes.clone(), ServerOptions::default())
            .await
            .unwrap();
        let root = format!("http://{}", server.local_addr());
        let shutdown = CancellationToken::new();
        tokio::spawn(server.run(shutdown.clone()));
        Api {
            jobs,
            root,
            client: self.client.clone(),
            routes,
            shutdown,
            service,
        }
    }

    /// Everything of a topic, oldest first.
    pub(crate) async fn all(&self, topic: &str) -> Vec<Arc<Event>> {
        let patterns = PatternSet::parse([topic]).unwrap();
        let (mut cursor, _) = self.log.cursor(From::Earliest, patterns).await.unwrap();
        let mut events = Vec::new();
        while let Some(page) = cursor.try_next().await.unwrap() {
            events.extend(page.events);
        }
        events
    }
}

fn tokens(options: AuthOptions) -> AuthOptions {
    let token = |name: &str, value: &str, scopes: &[Scope]| TokenOptions {
        name: name.to_owned(),
        value: TokenValue::Plain(Secret::new(value)),
        scopes: scopes.iter().copied().collect(),
        read: None,
        publish: None,
        not_after_us: None,
    };
    AuthOptions {
        default_secrets: vec![Secret::new("a-secret-of-at-least-32-characters").into()],
        admin_token: Some(Secret::new(OPERATOR)),
        tokens: vec![
            token("ana", ANA, &[Scope::Read, Scope::Publish]),
            token("bob", BOB, &[Scope::Read, Scope::Publish]),
            token("looker", LOOKER, &[Scope::Read]),
        ],
        ..options
    }
}

impl Api {
    pub(crate) fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub(crate) async fn ask(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        self.ask_if(token, method, path, body, "").await
    }

    pub(crate) async fn ask_if(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        if_match: &str,
    ) -> Answer {
        let url = format!("{}{path}", self.root).parse().unwrap();
        let mut call = Outgoing::new(method, url, Trust::Configured);
        let bearer = format!("Bearer {token}");
        call.headers
            .insert("authorization", bearer.parse().unwrap());
        if !if_match.is_empty() {
            call.headers.insert("if-match", if_match.parse().unwrap());
        }
        if let Some(body) = body {
            let json = "application/json".parse().unwrap();
            call.headers.insert("content-type", json);
            call.body = body.to_string().into();
        }
        let answer = self.client.send(call).await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        Answer {
            status: answer.status,
            headers: answer.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    /// One action.
    pub(crate) async fn act(&self, token: &str, body: Value) -> Answer {
        self.ask(token, Method::POST, "/functions/v1/nexus-hub", Some(body))
            .await
    }

    /// A call of a tool over the whole API.
    pub(crate) async fn call(&self, token: &str, tool: &str, arguments: Value) -> Answer {
        let path = format!("/api/v1/tools/{tool}/call");
        let body = json!({ "arguments": arguments });
        self.ask(token, Method::POST, &path, Some(body)).await
    }

    /// A server that is added and whose tools are known, by its id.
    pub(crate) async fn add(
        &self,
        token: &str,
        name: &str,
        stub: &Stub,
        authorization: Option<&str>,
    ) -> String {
        let mut config = json!({ "name": name, "transport": "http", "url": stub.url });
        if let Some(authorization) = authorization {
            config["headers"] = json!({ "Authorization": authorization });
        }
        let added = self
            .act(token, json!({ "action": "add_server", "config": config }))
            .await;
        assert_eq!(added.status, 200, "{}", added.text);
        let id = added.body["server_id"].as_str().unwrap().to_owned();
        let sync = json!({ "action": "sync_tools", "serverId": id });
        let synced = self.act(token, sync).await;
        assert_eq!(synced.body["success"], true, "{}", synced.text);
        id
    }

    /// Waits until a job has a status, and gives it.
    pub(crate) async fn until_job(&self, token: &str, id: &str, status: &str) -> Value {
        let asking = async {
            loop {
                let job = self
                    .ask(token, Method::GET, &format!("/api/v1/jobs/{id}"), None)
                    .await;
                if job.body["data"]["status"] == status {
                    return job.body["data"].clone();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(20), asking).await;
        found.unwrap_or_else(|_| panic!("the job {id} is not {status}"))
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.service.abort();
    }
}
