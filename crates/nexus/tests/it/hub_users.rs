//! Users of an identity provider at the hub: whose keys are read, and who they are then.

use data_encoding::BASE64URL_NOPAD;
use http::StatusCode;
use nexus_http::{Access, Call, Problem, Reply, Route, Server, ServerOptions};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::running::{Answer, READ_TOKEN, Running, ask, request, start};

/// The year 2100, in seconds since 1970: nobody waits for the end of these tokens.
const ENDS_S: i64 = 4_102_444_800;

/// An identity provider: a key, and where it is published.
struct Provider {
    key: Ed25519KeyPair,
    url: String,
    shutdown: CancellationToken,
}

impl Provider {
    async fn start() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let x = BASE64URL_NOPAD.encode(key.public_key().as_ref());
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] });
        let route = Route::get("/keys", Access::Open, move |_: Call| {
            let keys = keys.clone();
            async move { Ok::<_, Problem>(Reply::json(StatusCode::OK, &keys)) }
        });
        let address = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(address, vec![route], ServerOptions::default());
        let server = server.await.unwrap();
        let url = format!("http://{}/keys", server.local_addr());
        let shutdown = CancellationToken::new();
        tokio::spawn(server.run(shutdown.clone()));
        Self { key, url, shutdown }
    }

    fn token(&self, claims: &Value) -> String {
        let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let header = json!({ "alg": "EdDSA", "kid": "k" });
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = BASE64URL_NOPAD.encode(self.key.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn act(nexus: &Running, token: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let body = body.to_string();
    let headers = [("Authorization", bearer.as_str()), ("apikey", "ignored")];
    let path = "/functions/v1/nexus-hub";
    ask(
        nexus.address,
        &request("POST", path, &headers, body.as_bytes()),
    )
    .await
}

async fn read(nexus: &Running, token: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    ask(nexus.address, &request("GET", path, &headers, b"")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_an_identity_provider_uses_the_hub_as_themselves() {
    let provider = Provider::start().await;
    let variables = [
        ("JWKS_URL", provider.url.as_str()),
        ("JWT_ISSUER", "https://id.example"),
        ("JWT_AUDIENCE", "nexus"),
    ];
    let nexus = start(&variables).await;
    let claims = |sub: &str| json!({ "sub": sub, "iss": "https://id.example", "aud": "nexus", "exp": ENDS_S });
    let ana = provider.token(&claims("ana"));
    let list = json!({ "action": "list_servers", "userId": "bob" });
    // The keys are read beside everything else: the first answers may come before them.
    let listing = async {
        loop {
            let answer = act(&nexus, &ana, &list).await;
            if answer.status == 200 {
                return answer;
            }
            assert_eq!(answer.status, 401, "{answer:?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    let listed = tokio::time::timeout(patience, listing).await.unwrap();
    let owners = listed.body["servers"].as_array().unwrap().iter();
    assert!(
        owners
            .map(|one| &one["owner"])
            .all(|owner| owner == "system")
    );

    // Without a vault key nothing can be sealed, so that nothing is added; whose it would be is known.
    let config = json!({ "name": "n", "transport": "http", "url": "https://mcp.example.com/" });
    let added = act(
        &nexus,
        &ana,
        &json!({ "action": "add_server", "config": config }),
    )
    .await;
    assert_eq!(
        (added.status, added.code()),
        (409, "vault-closed"),
        "{added:?}"
    );
    // The bus's own tools are there, and do what the token lets its user do.
    let tools = act(
        &nexus,
        &ana,
        &json!({ "action": "list_tools", "q": "publish" }),
    )
    .await;
    assert_eq!(tools.body["tools"][0]["name"], "nexus_publish", "{tools:?}");
    // What belongs to nobody is not read by somebody of whom nothing is said.
    let events = read(&nexus, &ana, "/api/v1/events").await;
    assert_eq!(events.body["data"], json!([]), "{events:?}");
    let mut reads = claims("ana");
    reads["scope"] = json!("nexus:read");
    let events = read(&nexus, &provider.token(&reads), "/api/v1/events").await;
    assert!(
        !events.body["data"].as_array().unwrap().is_empty(),
        "{events:?}"
    );
    for (what, wrong) in [
        ("audience", json!({ "aud": "other" })),
        ("issuer", json!({ "iss": "https://evil.example" })),
        ("end", json!({ "exp": 1 })),
        ("somebody who has a token", json!({ "sub": "reader" })),
        ("an operator", json!({ "sub": "admin" })),
    ] {
        let mut claims = claims("ana");
        claims
            .as_object_mut()
            .unwrap()
            .extend(wrong.as_object().unwrap().clone());
        let answer = act(&nexus, &provider.token(&claims), &list).await;
        assert_eq!(
            (answer.status, answer.code()),
            (401, "unauthorized"),
            "{what}"
        );
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_actions_answer_pages_of_allowed_origins() {
    let nexus = start(&[("ALLOWED_ORIGINS", "https://app.example.org")]).await;
    let preflight = |origin: &'static str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            (
                "Access-Control-Request-Headers",
                "authorization, x-client-info, apikey, content-type",
            ),
        ];
        let request = request("OPTIONS", "/functions/v1/nexus-hub", &headers, b"");
        let address = nexus.address;
        async move { ask(address, &request).await }
    };
    let allowed = preflight("https://app.example.org").await;
    assert_eq!(
        allowed.header("access-control-allow-headers"),
        Some("authorization, x-client-info, apikey, content-type"),
        "{allowed:?}"
    );
    let foreign = preflight("https://evil.example").await;
    assert_eq!(
        foreign.header("access-control-allow-origin"),
        None,
        "{foreign:?}"
    );
    let health = act(&nexus, READ_TOKEN, &json!({ "action": "health" })).await;
    assert_eq!(
        (health.status, &health.body["status"]),
        (200, &json!("healthy"))
    );
    nexus.stop().await;
}
