//! The engine's routes on a real server.

use http::Method;
use nexus_auth::{Auth, AuthOptions, NodeOptions, Secret};
use nexus_core::{Catalogue, Clock, ReactorError};
use nexus_http::{Server, ServerOptions};
use nexus_outbound::{Client, OutboundOptions, Outgoing, Trust};
use nexus_reactors::http::TargetApi;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::support::{Scripted, World, until};

#[tokio::test]
async fn deliveries_are_told_to_operators_only() {
    let world = World::new().await;
    let reactor = Scripted::new("mint", |_| async {
        Err(ReactorError::final_("answered 404"))
    });
    let engine = world.engine(vec![reactor.shared()]).await;
    let options = AuthOptions {
        default_secrets: vec![Secret::new("a-secret-of-at-least-32-characters").into()],
        admin_token: Some(Secret::new("an-operators-token-of-32-characters")),
        nodes: vec![NodeOptions {
            read: Some(vec!["mint.*".into()]),
            ..NodeOptions::new("mints").secret(Secret::new("a-secret-for-mints-of-32-characters"))
        }],
        signed_get: true,
        ..AuthOptions::default()
    };
    let auth = Auth::new(&options, &Catalogue::known(), Clock::System).unwrap();
    let api = TargetApi::new(engine.handle(), auth.clone());
    let routes = nexus_reactors::http::routes(&api);
    let address = ([127, 0, 0, 1], 0).into();
    let server = Server::bind(address, routes, ServerOptions::default())
        .await
        .unwrap();
    let root = format!("http://{}", server.local_addr());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(server.run(shutdown.clone()));

    for n in 0..3 {
        world.pay(&format!("tx-{n}")).await;
    }
    until("all are given up", || async {
        engine.handle().stats().dead_letters == 3
    })
    .await;

    let client = Client::new(&OutboundOptions::default()).unwrap();
    let get = |path: &str, token: Option<&str>| {
        let url = format!("{root}{path}").parse().unwrap();
        let mut call = Outgoing::new(Method::GET, url, Trust::Configured);
        if let Some(token) = token {
            call.headers
                .insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let client = client.clone();
        async move {
            let answer = client.send(call).await.unwrap();
            (
                answer.status,
                serde_json::from_slice::<Value>(&answer.body).unwrap(),
            )
        }
    };
    let operator = Some("an-operators-token-of-32-characters");
    for prefix in ["", "/api"] {
        let (status, body) = get(&format!("{prefix}/retry/stats"), operator).await;
        assert_eq!(status, 200);
        assert_eq!(
            body.to_string(),
            r#"{"success":true,"stats":{"pending":0,"deadLetters":3,"oldestRetry":null}}"#
                .parse::<Value>()
                .unwrap()
                .to_string()
        );
        let (status, body) = get(&format!("{prefix}/retry/dead-letters?limit=2"), operator).await;
        assert_eq!(status, 200);
        assert_eq!(
            (&body["success"], &body["count"]),
            (&true.into(), &2.into())
        );
        let letter = &body["deadLetters"][0];
        assert_eq!(letter["finalError"], "answered 404");
        assert_eq!(letter["attempts"], 1);
        assert_eq!(letter["type"], "mint");
        assert_eq!(letter["payload"]["payerId"], "payer");
        assert!(letter["failedAt"].as_str().unwrap().ends_with('Z'));
        for (path, token, expected) in [
            ("/retry/stats", None, 401),
            ("/retry/dead-letters", Some("wrong"), 401),
            // A node's secret may read, not operate.
            (
                "/retry/stats",
                Some("a-secret-of-at-least-32-characters"),
                403,
            ),
            ("/retry/dead-letters?limit=x", operator, 400),
            ("/retry/dead-letters?limit=0", operator, 400),
        ] {
            let (status, _) = get(&format!("{prefix}{path}"), token).await;
            assert_eq!(status, expected, "{path}");
        }
    }
    // Live nodes ask with a signature: they see what became of the events that they may read.
    for (node, letters) in [("default", 3), ("mints", 0)] {
        let url = format!("{root}/retry/dead-letters").parse().unwrap();
        let mut call = Outgoing::new(Method::GET, url, Trust::Configured);
        let now_s = Clock::System.now_us() / 1_000_000;
        let signer = auth.signer(node).unwrap();
        call.headers.extend(signer.sign("msg-1", now_s, b""));
        call.headers.insert("x-nexus-node", node.parse().unwrap());
        let answer = client.send(call).await.unwrap();
        assert_eq!(answer.status, 200, "{node}");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["count"], letters, "{node}");
    }
    shutdown.cancel();
    running.await.unwrap();
    engine.drain().await;
}
