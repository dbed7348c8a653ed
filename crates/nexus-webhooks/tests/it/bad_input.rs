//! What is refused, with the place of each mistake.

use http::Method;
use serde_json::{Value, json};

use crate::{resource::Api, support::World};

/// A body that would be taken, with one member changed.
fn with(member: &str, value: Value) -> Value {
    let mut body = json!({ "url": "http://127.0.0.1:8099/hook", "patterns": ["payment.*"] });
    body[member] = value;
    body
}

#[tokio::test]
async fn bad_input_is_refused_with_its_place() {
    let world = World::new().await;
    world.noise(1).await;
    let running = world.run().await;
    let api = Api::start(&world, &running).await;
    let long = "x".repeat(3_000);
    let many: Vec<String> = (0..129).map(|n| format!("a.b{n}")).collect();
    let headers: serde_json::Map<String, Value> =
        (0..17).map(|n| (format!("x-{n}"), json!("1"))).collect();
    let cases = [
        (json!([]), vec![""]),
        (json!({}), vec!["/url", "/patterns"]),
        (with("surprise", json!(1)), vec!["/surprise"]),
        (with("url", json!(7)), vec!["/url"]),
        (with("url", Value::Null), vec!["/url"]),
        (with("url", json!("example.com/hook")), vec!["/url"]),
        (with("url", json!("ftp://example.com/")), vec!["/url"]),
        (with("url", json!("https://u:p@example.com/")), vec!["/url"]),
        (with("url", json!("https://example.com/#a")), vec!["/url"]),
        (with("url", json!("http://10.0.0.7/")), vec!["/url"]),
        (with("url", json!("http://169.254.169.254/")), vec!["/url"]),
        (
            with("url", json!(format!("https://example.com/{long}"))),
            vec!["/url"],
        ),
        (with("patterns", json!([])), vec!["/patterns"]),
        (with("patterns", json!(many)), vec!["/patterns"]),
        (with("patterns", json!("payment.*")), vec!["/patterns"]),
        (
            with("patterns", json!(["payment.*", "NO_SUCH"])),
            vec!["/patterns/1"],
        ),
        (with("filter", json!("payload.amount >")), vec!["/filter"]),
        (with("ordering", json!("some")), vec!["/ordering"]),
        (with("start", json!("yesterday")), vec!["/start"]),
        (with("start", json!("2999-01-01T00:00:00Z")), vec!["/start"]),
        (
            with("retry", json!({ "attempts": 0 })),
            vec!["/retry/attempts"],
        ),
        (
            with("retry", json!({ "attempts": 51 })),
            vec!["/retry/attempts"],
        ),
        (
            with("retry", json!({ "first_ms": 1 })),
            vec!["/retry/first_ms"],
        ),
        (
            with("retry", json!({ "factor": 0.5 })),
            vec!["/retry/factor"],
        ),
        (
            with("retry", json!({ "jitter": 1.5 })),
            vec!["/retry/jitter"],
        ),
        (
            with("retry", json!({ "never": true })),
            vec!["/retry/never"],
        ),
        (
            with("headers", json!({ "Host": "x" })),
            vec!["/headers/Host"],
        ),
        (
            with("headers", json!({ "a/b": "x" })),
            vec!["/headers/a~1b"],
        ),
        (
            with("headers", json!({ "x-a": "a\nb" })),
            vec!["/headers/x-a"],
        ),
        (with("headers", json!(headers)), vec!["/headers"]),
        (with("rate", json!(0)), vec!["/rate"]),
        (with("rate", json!(-1)), vec!["/rate"]),
        (with("rate", json!(1e9)), vec!["/rate"]),
        (with("format", json!("xml")), vec!["/format"]),
        (
            with("description", json!("x".repeat(501))),
            vec!["/description"],
        ),
        (with("enabled", json!("yes")), vec!["/enabled"]),
        (with("concurrency", json!(0)), vec!["/concurrency"]),
        (with("concurrency", json!(65)), vec!["/concurrency"]),
        (with("timeout_ms", json!(999)), vec!["/timeout_ms"]),
        (with("timeout_ms", json!(30_001)), vec!["/timeout_ms"]),
        (
            json!({ "url": "x", "patterns": [], "rate": 0, "retry": { "attempts": 0, "jitter": 2 } }),
            vec![
                "/url",
                "/patterns",
                "/retry/attempts",
                "/retry/jitter",
                "/rate",
            ],
        ),
    ];
    for dry_run in ["", "?dry_run=true"] {
        for (body, expected) in &cases {
            let path = format!("/api/v1/endpoints{dry_run}");
            let answer = api.ask(Method::POST, &path, Some(body.clone())).await;
            assert_eq!(answer.status, 400, "{body}: {}", answer.body);
            assert_eq!(answer.body["code"], "invalid-request", "{body}");
            let errors = answer.body["errors"].as_array().unwrap();
            let pointers: Vec<&str> = errors
                .iter()
                .map(|one| one["pointer"].as_str().unwrap())
                .collect();
            assert_eq!(&pointers, expected, "{body}: {}", answer.body);
            assert!(errors.iter().all(|one| one["detail"].is_string()));
        }
    }
    // A place that the log does not have: never a gap that nobody is told of.
    let head = world.log.head();
    let ahead = format!("{}-{}", head.epoch, head.seq.get() + 1_000);
    for start in ["00000000-1", &ahead] {
        let answer = api
            .ask(
                Method::POST,
                "/api/v1/endpoints",
                Some(with("start", json!(start))),
            )
            .await;
        assert_eq!(answer.status, 410, "{}", answer.body);
    }
    assert!(running.endpoints.list().is_empty(), "nothing was made");

    let made = api
        .ask(
            Method::POST,
            "/api/v1/endpoints",
            Some(with("rate", json!(5))),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["data"]["id"].as_str().unwrap();
    let path = format!("/api/v1/endpoints/{id}");
    for (body, expected) in [
        (json!({ "start": "latest" }), "/start"),
        (json!({ "enabled": true }), "/enabled"),
        (json!({ "url": null }), "/url"),
        (json!({ "patterns": null }), "/patterns"),
        (json!({ "rate": 0 }), "/rate"),
        (
            json!({ "headers": { "webhook-id": "1" } }),
            "/headers/webhook-id",
        ),
    ] {
        let changed = api.ask_with(
            Method::PATCH,
            &path,
            Some(body.clone()),
            "an-operators-token-of-32-characters",
            Some("*"),
        );
        let changed = changed.await;
        assert_eq!(changed.status, 400, "{body}: {}", changed.body);
        assert_eq!(changed.body["errors"][0]["pointer"], expected, "{body}");
    }
    for (method, rest, body, expected) in [
        (
            Method::POST,
            "/secrets",
            Some(json!({ "grace_s": 604_801 })),
            400,
        ),
        (Method::POST, "/secrets", Some(json!({ "grace": 1 })), 400),
        (Method::DELETE, "/secrets/x", None, 404),
        (Method::DELETE, "/secrets/1", None, 409),
        (Method::POST, "/enable", Some(json!({ "now": true })), 400),
        (Method::POST, "/test", Some(json!([])), 400),
        (Method::GET, "?surprise=1", None, 400),
        (Method::GET, "/deliveries?state=lost", None, 400),
        (Method::GET, "/deliveries?cursor=!", None, 400),
        (Method::GET, "/deliveries?limit=0", None, 400),
        (Method::POST, "/replay", Some(json!({})), 400),
        (Method::GET, "/replays/none", None, 404),
    ] {
        let answer = api
            .ask(method.clone(), &format!("{path}{rest}"), body)
            .await;
        assert_eq!(answer.status, expected, "{method} {rest}: {}", answer.body);
    }
    for rest in ["", "/deliveries", "/secrets", "/replays"] {
        let answer = api
            .ask(Method::GET, &format!("/api/v1/endpoints/none{rest}"), None)
            .await;
        assert_eq!(answer.status, 404, "{rest}");
    }
    drop(api);
    running.engine.drain().await;
}
