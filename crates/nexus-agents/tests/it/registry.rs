//! Registering at a registry: the one of the specification, and the one that is in use.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use nexus_agents::{
    Availability, Dependency, Error,
    registry::{Registry, RegistryOptions},
};
use nexus_http::{Access, Call, Reply, Route, Server, ServerOptions};
use nexus_outbound::{Client, OutboundOptions};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::support::until;

/// How a registry behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As the specification says.
    Specified,
    /// It wants a number as the id, and keeps droplets.
    Droplets,
    /// It refuses everything.
    Closed,
}

#[derive(Debug, Default)]
struct Kept {
    calls: Vec<(String, Value)>,
    droplets: BTreeMap<u64, Value>,
}

/// A registry on a real server.
struct Fake {
    root: Url,
    kept: Arc<Mutex<Kept>>,
    kind: Arc<Mutex<Kind>>,
    shutdown: CancellationToken,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Fake {
    async fn new(kind: Kind) -> Self {
        let kept: Arc<Mutex<Kept>> = Arc::default();
        let kind = Arc::new(Mutex::new(kind));
        let routes = [
            (Method::POST, "/base/register"),
            (Method::POST, "/base/droplets"),
            (Method::GET, "/base/droplets/name/{name}"),
            (Method::PATCH, "/base/droplets/{id}"),
        ];
        let routes = routes.map(|(method, path)| {
            let (kept, kind) = (kept.clone(), kind.clone());
            Route::new(method.clone(), path, Access::Open, move |call: Call| {
                let answer = answer(&mut kept.lock(), *kind.lock(), &method, path, &call);
                async move { Ok(answer) }
            })
        });
        let address = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(address, routes.into(), ServerOptions::default());
        let server = server.await.unwrap();
        let root = format!("http://{}/base/?x=1", server.local_addr());
        let shutdown = CancellationToken::new();
        tokio::spawn(server.run(shutdown.clone()));
        Self {
            root: root.parse().unwrap(),
            kept,
            kind,
            shutdown,
        }
    }

    fn registry(&self, public_url: &str, dependency: &Dependency) -> Registry {
        let mut options = RegistryOptions::new(self.root.clone(), public_url);
        options.retry = Duration::from_millis(20);
        options.again = Duration::from_millis(20);
        let client = Client::new(&OutboundOptions::default()).unwrap();
        Registry::new(client, options, dependency.clone())
    }

    fn calls(&self) -> Vec<String> {
        let kept = self.kept.lock();
        kept.calls.iter().map(|(call, _)| call.clone()).collect()
    }
}

fn answer(kept: &mut Kept, kind: Kind, method: &Method, path: &str, call: &Call) -> Reply {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let path = path.strip_prefix("/base").unwrap();
    kept.calls.push((format!("{method} {path}"), body.clone()));
    let reply = |status, body: &Value| Reply::json(status, body);
    let nothing = || reply(StatusCode::NOT_FOUND, &json!({"detail": "Not Found"}));
    match (kind, path) {
        (Kind::Specified, "/register") => reply(StatusCode::OK, &json!({"success": true})),
        (Kind::Droplets, "/register") => {
            let wrong = json!({"detail": "id must be an integer"});
            reply(StatusCode::UNPROCESSABLE_ENTITY, &wrong)
        }
        (Kind::Droplets, "/droplets") => {
            if kept
                .droplets
                .values()
                .any(|droplet| droplet["name"] == body["name"])
            {
                return reply(StatusCode::CONFLICT, &json!({"detail": "already exists"}));
            }
            let mut droplet = body;
            droplet["id"] = json!(41);
            kept.droplets.insert(41, droplet.clone());
            reply(StatusCode::CREATED, &json!({"droplet": droplet}))
        }
        (Kind::Droplets, "/droplets/name/{name}") => {
            let name = call.param("name").unwrap_or_default();
            let found = kept
                .droplets
                .values()
                .find(|droplet| droplet["name"] == name);
            found.map_or_else(nothing, |found| {
                reply(StatusCode::OK, &json!({"droplet": found}))
            })
        }
        (Kind::Droplets, "/droplets/{id}") => {
            let id = call.param("id").and_then(|id| id.parse().ok()).unwrap_or(0);
            let Some(droplet) = kept.droplets.get_mut(&id) else {
                return nothing();
            };
            droplet["endpoint"] = body["endpoint"].clone();
            reply(StatusCode::OK, &json!({"droplet": droplet}))
        }
        _ => reply(StatusCode::FORBIDDEN, &Value::Null),
    }
}

fn dependency() -> Dependency {
    Dependency::registry(Some("http://registry".to_owned()))
}

#[tokio::test]
async fn it_registers_as_the_specification_says() {
    let fake = Fake::new(Kind::Specified).await;
    let registry = fake.registry("http://localhost:8450", &dependency());
    registry.register().await.unwrap();
    let kept = fake.kept.lock();
    let expected = json!({
        "name": "nexus-event-bus", "id": "nexus-event-bus-001", "url": "http://localhost:8450",
        "version": env!("CARGO_PKG_VERSION"),
        "capabilities": ["event-streaming", "session-coordination"],
    });
    assert_eq!(kept.calls, [("POST /register".to_owned(), expected)]);
}

#[tokio::test]
async fn where_that_is_refused_it_registers_a_droplet_and_then_changes_it() {
    let fake = Fake::new(Kind::Droplets).await;
    fake.registry("http://old:8450", &dependency())
        .register()
        .await
        .unwrap();
    {
        let kept = fake.kept.lock();
        let droplet = &kept.droplets[&41];
        assert_eq!(droplet["name"], "nexus-event-bus");
        assert_eq!(droplet["endpoint"], "http://old:8450");
        assert_eq!(droplet["metadata"]["version"], env!("CARGO_PKG_VERSION"));
    }
    fake.registry("http://new:8450", &dependency())
        .register()
        .await
        .unwrap();
    assert_eq!(
        fake.kept.lock().droplets[&41]["endpoint"],
        "http://new:8450"
    );
    assert_eq!(
        fake.calls(),
        [
            "POST /register",
            "POST /droplets",
            "POST /register",
            "POST /droplets",
            "GET /droplets/name/{name}",
            "PATCH /droplets/{id}",
        ]
    );
}

#[tokio::test]
async fn it_tries_until_it_is_registered_and_again_afterwards() {
    let fake = Fake::new(Kind::Closed).await;
    let dependency = dependency();
    let registry = fake.registry("http://localhost:8450", &dependency);
    let refused = registry.register().await.unwrap_err();
    assert!(
        matches!(refused, Error::Answered { status: 403, .. }),
        "{refused:?}"
    );
    let stop = CancellationToken::new();
    let running = tokio::spawn(registry.run(stop.clone()));
    until("it was refused again and again", async || {
        fake.calls().len() > 6
    })
    .await;
    assert_eq!(dependency.availability(), Availability::Unavailable);
    *fake.kind.lock() = Kind::Specified;
    until("it is registered", async || {
        dependency.availability() == Availability::Available
    })
    .await;
    let calls = fake.calls().len();
    until("it registers again", async || {
        fake.calls().len() > calls + 2
    })
    .await;
    *fake.kind.lock() = Kind::Closed;
    until("it is missed again", async || {
        dependency.availability() == Availability::Unavailable
    })
    .await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_no_end() {
    let mut options = RegistryOptions::new("http://127.0.0.1:9".parse().unwrap(), "http://x");
    options.retry = Duration::from_millis(5);
    let client = Client::new(&OutboundOptions::default()).unwrap();
    let dependency = dependency();
    let registry = Registry::new(client, options, dependency.clone());
    let unreached = registry.register().await.unwrap_err();
    assert!(matches!(unreached, Error::Outside { .. }), "{unreached:?}");
    let stop = CancellationToken::new();
    let running = tokio::spawn(registry.run(stop.clone()));
    tokio::task::yield_now().await;
    assert_eq!(dependency.availability(), Availability::Unavailable);
    stop.cancel();
    running.await.unwrap();
}
