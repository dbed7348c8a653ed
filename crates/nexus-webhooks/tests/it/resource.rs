//! `/api/v1/endpoints` on a real server: from its making to its end.

use http::{HeaderMap, Method};
use nexus_auth::{Auth, AuthOptions, Secret, TokenOptions, TokenValue};
use nexus_core::{Catalogue, Scope};
use nexus_http::{Server, ServerOptions};
use nexus_outbound::{Outgoing, Trust};
use nexus_reactors::http::TargetApi;
use nexus_testkit::receiver::Receiver;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Running, World, until};

const OPERATOR: &str = "an-operators-token-of-32-characters";
const READER: &str = "a-readers-token-of-at-least-32-characters";
const BLIND: &str = "an-operator-who-reads-nothing-32-characters";

/// A server with the routes of endpoints.
pub(crate) struct Api {
    root: String,
    client: nexus_outbound::Client,
    shutdown: CancellationToken,
}

/// An answer, understood.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

fn token(name: &str, value: &str, scopes: &[Scope]) -> TokenOptions {
    TokenOptions {
        name: name.to_owned(),
        value: TokenValue::Plain(Secret::new(value)),
        scopes: scopes.iter().copied().collect(),
        read: None,
        publish: None,
        not_after_us: None,
    }
}

impl Api {
    pub(crate) async fn start(world: &World, running: &Running) -> Self {
        let options = AuthOptions {
            default_secrets: vec![Secret::new("a-secret-of-at-least-32-characters").into()],
            admin_token: Some(Secret::new(OPERATOR)),
            tokens: vec![
                token("reader", READER, &[Scope::Read]),
                token("blind", BLIND, &[Scope::Operate]),
            ],
            ..AuthOptions::default()
        };
        let auth = Auth::new(&options, &Catalogue::known(), world.clock.clone()).unwrap();
        let targets = TargetApi::new(running.engine.handle(), auth.clone());
        let routes = nexus_webhooks::http::routes(&running.endpoints, &targets, &auth);
        let address = ([127, 0, 0, 1], 0).into();
        let options = ServerOptions::default();
        let server = Server::bind(address, routes, options).await.unwrap();
        let root = format!("http://{}", server.local_addr());
        let shutdown = CancellationToken::new();
        tokio::spawn(server.run(shutdown.clone()));
        Self {
            root,
            client: world.client().clone(),
            shutdown,
        }
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.ask_with(method, path, body, OPERATOR, None).await
    }

    pub(crate) async fn ask_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        token: &str,
        if_match: Option<&str>,
    ) -> Answer {
        let url = format!("{}{path}", self.root).parse().unwrap();
        let mut call = Outgoing::new(method, url, Trust::Configured);
        let bearer = format!("Bearer {token}");
        call.headers
            .insert("authorization", bearer.parse().unwrap());
        if let Some(tag) = if_match {
            call.headers.insert("if-match", tag.parse().unwrap());
        }
        if let Some(body) = body {
            let json = "application/json".parse().unwrap();
            call.headers.insert("content-type", json);
            call.body = body.to_string().into();
        }
        let answer = self.client.send(call).await.unwrap();
        Answer {
            status: answer.status,
            headers: answer.headers,
            body: serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test]
async fn an_endpoint_from_its_making_to_its_end() {
    let world = World::new().await;
    let running = world.run().await;
    let api = Api::start(&world, &running).await;
    let stub = Receiver::agreeable().await;
    let wanted = json!({ "url": stub.hook(), "patterns": ["PAYMENT_RECEIVED"], "rate": 100 });

    let all = "/api/v1/endpoints";
    let dry = api
        .ask(
            Method::POST,
            &format!("{all}?dry_run=true"),
            Some(wanted.clone()),
        )
        .await;
    assert_eq!((dry.status, &dry.body["data"]["events"]), (200, &json!(0)));
    assert_eq!(dry.body["data"]["complete"], true);
    let created = api.ask(Method::POST, all, Some(wanted)).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let data = &created.body["data"];
    let id = data["id"].as_str().unwrap();
    let path = format!("{all}/{id}");
    assert_eq!(created.header("location"), path);
    assert_eq!(created.header("cache-control"), "no-store");
    assert!(data["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(data["patterns"], json!(["payment.received"]));
    assert_eq!(
        (&data["enabled"], &data["state"]),
        (&json!(true), &json!("running"))
    );

    for shown in [
        api.ask(Method::GET, &path, None).await,
        api.ask(Method::GET, &format!("/api/endpoints/{id}"), None)
            .await,
    ] {
        assert_eq!(shown.status, 200);
        assert_eq!(shown.body["data"].get("secret"), None);
        assert_eq!(shown.header("etag"), created.header("etag"));
    }
    let list = api.ask(Method::GET, all, None).await;
    assert_eq!(list.body["data"][0]["id"], id);
    assert_eq!(list.body["meta"]["has_more"], false);
    assert!(!list.body.to_string().contains("whsec_"));

    let patch = |tag| {
        let (api, path) = (&api, path.as_str());
        async move {
            let body = Some(json!({ "rate": null, "ordering": "key" }));
            api.ask_with(Method::PATCH, path, body, OPERATOR, tag).await
        }
    };
    assert_eq!(patch(None).await.status, 428);
    assert_eq!(patch(Some("\"0\"")).await.status, 412);
    let changed = patch(Some(created.header("etag"))).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.body["data"]["rate"], Value::Null);
    assert_eq!(changed.body["data"]["ordering"], "key");
    assert_eq!(patch(Some(created.header("etag"))).await.status, 412);

    world.pay(["tx-1".to_owned()]).await;
    stub.wait(1).await;
    let deliveries = format!("{path}/deliveries");
    until("it is in the log of deliveries", || async {
        let page = api.ask(Method::GET, &deliveries, None).await;
        page.body["data"]
            .as_array()
            .is_some_and(|list| list.len() == 1)
    })
    .await;
    let page = api.ask(Method::GET, &deliveries, None).await;
    let delivered = &page.body["data"][0];
    assert_eq!(
        (&delivered["state"], &delivered["attempts"]),
        (&json!("delivered"), &json!(1))
    );
    assert_eq!(delivered["exchange"]["status"], 200);
    assert!(
        delivered["exchange"]["body"]
            .as_str()
            .unwrap()
            .contains("tx-1")
    );
    assert!(delivered["exchange"]["duration_us"].as_u64().unwrap() > 0);

    let rotated = api
        .ask(
            Method::POST,
            &format!("{path}/secrets"),
            Some(json!({ "grace_s": 60 })),
        )
        .await;
    assert_eq!(rotated.status, 201);
    assert_ne!(
        rotated.body["data"]["secret"],
        created.body["data"]["secret"]
    );
    let secrets = api.ask(Method::GET, &format!("{path}/secrets"), None).await;
    assert_eq!(secrets.body["data"].as_array().unwrap().len(), 2);
    let retired = api
        .ask(Method::DELETE, &format!("{path}/secrets/1"), None)
        .await;
    assert_eq!(retired.status, 204);

    let tested = api.ask(Method::POST, &format!("{path}/test"), None).await;
    assert_eq!(
        (tested.status, &tested.body["data"]["delivered"]),
        (200, &json!(true))
    );
    for (action, state) in [
        ("disable", "paused"),
        ("disable", "paused"),
        ("enable", "running"),
    ] {
        let answer = api
            .ask(Method::POST, &format!("{path}/{action}"), None)
            .await;
        assert_eq!(
            (answer.status, &answer.body["data"]["state"]),
            (200, &json!(state))
        );
    }
    assert_eq!(world.all("endpoint.disabled").await.len(), 1);

    assert_eq!(api.ask(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(api.ask(Method::GET, &path, None).await.status, 404);
    let left = nexus_core::RecordQuery {
        family: nexus_core::Family::new("endpoint"),
        by: nexus_core::RecordsBy::All,
        after_key: None,
        records_max: 10,
    };
    assert_eq!(world.log.records(&left).await.unwrap(), []);
    drop(api);
    running.engine.drain().await;
}

#[tokio::test]
async fn a_replay_is_marked_and_sends_only_if_asked() {
    let world = World::new().await;
    let running = world.run().await;
    let api = Api::start(&world, &running).await;
    let stub = Receiver::agreeable().await;
    let wanted = json!({ "url": stub.hook(), "patterns": ["payment.*"] });
    let created = api
        .ask(Method::POST, "/api/v1/endpoints", Some(wanted))
        .await;
    let id = created.body["data"]["id"].as_str().unwrap();
    let start = created.body["data"]["start"].as_str().unwrap();
    world.pay(["tx-1".to_owned(), "tx-2".to_owned()]).await;
    stub.wait(2).await;
    let path = format!("/api/v1/endpoints/{id}/replay");
    let asked = json!({ "from": start, "outbound": true, "rate_per_second": 1000 });
    let replay = api.ask(Method::POST, &path, Some(asked)).await;
    assert_eq!(replay.status, 202, "{}", replay.body);
    let received = stub.wait(4).await;
    for (nth, one) in received.iter().enumerate() {
        let expected = if nth < 2 { "" } else { "?1" };
        assert_eq!(one.header("nexus-replay"), expected);
    }
    let ids = |range: std::ops::Range<usize>| {
        let mut ids: Vec<String> = received[range]
            .iter()
            .map(|one| one.header("webhook-id").to_owned())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(0..2), ids(2..4), "the same ids");
    let replay = replay.header("location").to_owned();
    assert!(
        replay.starts_with(&format!("/api/v1/endpoints/{id}/replays/")),
        "{replay}"
    );
    until("it is done", || async {
        api.ask(Method::GET, &replay, None).await.body["data"]["state"] == "done"
    })
    .await;
    let rehearsed = api
        .ask(Method::POST, &path, Some(json!({ "from": start })))
        .await;
    let rehearsed = rehearsed.header("location").to_owned();
    until("it is done", || async {
        api.ask(Method::GET, &rehearsed, None).await.body["data"]["state"] == "done"
    })
    .await;
    assert_eq!(stub.received().len(), 4, "outbound is off unless asked for");
    drop(api);
    running.engine.drain().await;
}

#[tokio::test]
async fn only_operators_have_endpoints() {
    let world = World::new().await;
    let running = world.run().await;
    let api = Api::start(&world, &running).await;
    let all = "/api/v1/endpoints";
    let wanted = json!({ "url": "https://example.com/hook", "patterns": [">"] });
    for (token, expected) in [
        ("wrong", 401),
        (READER, 403),
        ("a-secret-of-at-least-32-characters", 403),
    ] {
        for method in [Method::GET, Method::POST] {
            let body = (method == Method::POST).then(|| wanted.clone());
            let answer = api.ask_with(method, all, body, token, None).await;
            assert_eq!(answer.status, expected, "{}", answer.body);
        }
    }
    // Who may not read cannot have it read by an endpoint.
    let answer = api
        .ask_with(Method::POST, all, Some(wanted), BLIND, None)
        .await;
    assert_eq!(answer.status, 403);
    let answer = api.ask_with(Method::GET, all, None, BLIND, None).await;
    assert_eq!(answer.status, 200);
    drop(api);
    running.engine.drain().await;
}
