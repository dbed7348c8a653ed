//! The refusal table: every bad input, over every route. Never a 500, always a problem with the right code.

use http::Method;
use nexus::Served;
use nexus_http::Access;

use crate::running::{
    ADMIN_TOKEN, Answer, FLUXX_SECRET, READ_TOKEN, Running, SECRET, ask, request, sign, start,
};

/// A path of the route, with something in the place of its parameters.
fn path(route: &Served) -> String {
    route
        .path
        .replace("{node}", "somebody")
        .replace("{name}", "orders")
        .replace("{number}", "1")
        .replace("{id}", "0193a5c1-7f3e-7c52-9d1e-5b8f0a6c2e11")
}

fn is_post(route: &Served) -> bool {
    route.method == Method::POST
}

/// Whether it is of the face for agents, whose callers have tokens and sign nothing.
fn is_of_agents(route: &Served) -> bool {
    route.path.starts_with("/agents/")
}

/// What the handshake of a WebSocket needs beside a token.
const HANDSHAKE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn headers<'a>(route: &Served, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    // A socket of face v1 opens first and hears then who it is; without an upgrade the same path gives
    // server-sent events, and asks at once.
    let is_v1 = route.path.ends_with("/stream");
    let handshake = if route.access == Access::Stream && !is_v1 {
        &HANDSHAKE[..]
    } else {
        &[]
    };
    handshake
        .iter()
        .copied()
        .chain(more.iter().copied())
        .collect()
}

/// Checks that an answer is a problem as the contract writes it, with this status and code.
fn expect(answer: &Answer, what: &str, status: u16, code: &str) {
    assert_eq!(
        (answer.status, answer.code()),
        (status, code),
        "{what}: {answer:#?}"
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{what}"
    );
    let body = &answer.body;
    for member in ["type", "title", "detail", "code", "request_id"] {
        assert!(
            body[member].as_str().is_some_and(|text| !text.is_empty()),
            "{what}: {member} in {body}"
        );
    }
    assert_eq!(body["status"], status, "{what}");
    if body["success"] == false {
        let error = serde_json::json!({ "message": body["detail"], "code": body["code"] });
        assert_eq!(body["error"], error, "{what}");
        assert!(body["retryable"].is_boolean(), "{what}: {body}");
        assert!(body["timestamp"].is_string(), "{what}: {body}");
        assert!(body["instance"].is_string(), "{what}: {body}");
    } else {
        assert_eq!(body["message"], body["detail"], "{what}");
        // The hub's actions say there what went wrong, the others what kind of thing.
        let error = &body["error"];
        assert!(
            error == &body["title"] || error == &body["detail"],
            "{what}"
        );
    }
    assert_eq!(
        answer.header("x-request-id"),
        body["request_id"].as_str(),
        "{what}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_http_refuses_is_refused_on_every_route() {
    let nexus = start(&[]).await;
    assert!(nexus.routes.len() > 20, "{:?}", nexus.routes);
    let many: Vec<(String, String)> = (0..70)
        .map(|n| (format!("X-{n}"), "1".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let large = "x".repeat(17 * 1024);
    for route in &nexus.routes {
        let (method, path) = (route.method.as_str(), path(route));
        let tell = |what: &str| format!("{what}: {method} {path}");
        let send = |request: Vec<u8>| {
            let address = nexus.address;
            async move { ask(address, &request).await }
        };

        // No route takes it.
        let answer = send(request("PUT", &path, &[], b"")).await;
        expect(&answer, &tell("wrong method"), 405, "method-not-allowed");
        assert!(
            answer
                .header("allow")
                .is_some_and(|allow| allow.contains(method)),
            "{answer:?}"
        );

        let unknown = format!("{}/nothing/here", path.trim_end_matches('/'));
        expect(
            &send(request(method, &unknown, &[], b"")).await,
            &tell("unknown path"),
            404,
            "not-found",
        );

        let declared = [("Content-Length", "2000000000")];
        expect(
            &send(request(method, &path, &declared, b"")).await,
            &tell("declared too long"),
            413,
            "too-large",
        );

        expect(
            &send(request(method, &path, &many, b"")).await,
            &tell("too many headers"),
            431,
            "headers-too-large",
        );
        let long = [("X-Large", large.as_str())];
        expect(
            &send(request(method, &path, &long, b"")).await,
            &tell("a long header"),
            431,
            "headers-too-large",
        );

        if is_post(route) {
            let text = [("Content-Type", "text/plain")];
            let answer = send(request(method, &path, &text, b"{}")).await;
            expect(
                &answer,
                &tell("wrong content type"),
                415,
                "unsupported-media-type",
            );
            let gzip = [("Content-Encoding", "gzip")];
            let answer = send(request(method, &path, &gzip, b"{}")).await;
            expect(
                &answer,
                &tell("a coded body"),
                415,
                "unsupported-media-type",
            );
        }
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_on_every_route_that_asks_who_they_are() {
    let nexus = start(&[]).await;
    for route in &nexus.routes {
        let (method, path) = (route.method.as_str(), path(route));
        let body: &[u8] = if is_post(route) { b"{}" } else { b"" };
        let wrong = sign("another-secret-0123456789abcdef01234567", body);
        let other_body = sign(SECRET, b"{\"another\":1}");
        for (what, more) in [
            ("nothing", vec![]),
            (
                "wrong signature",
                vec![("X-Nexus-Signature", wrong.as_str())],
            ),
            (
                "another body's signature",
                vec![("X-Nexus-Signature", other_body.as_str())],
            ),
            ("no hex", vec![("X-Nexus-Signature", "zz")]),
            (
                "unknown node",
                vec![
                    ("X-Nexus-Signature", wrong.as_str()),
                    ("X-Nexus-Node", "nobody"),
                ],
            ),
            ("wrong token", vec![("Authorization", "Bearer wrong")]),
            ("no bearer", vec![("Authorization", "Basic eDp5")]),
        ] {
            let answer = ask(
                nexus.address,
                &request(method, &path, &headers(route, &more), body),
            )
            .await;
            let what = format!("{what}: {method} {path}");
            if route.access == Access::Open {
                assert!(answer.status < 300, "{what}: {answer:?}");
            } else {
                expect(&answer, &what, 401, "unauthorized");
                let detail = "a valid signature or token is required";
                assert!(!answer.body["detail"].as_str().unwrap_or(detail).is_empty());
            }
        }
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cause_of_a_401_is_one_answer() {
    let nexus = start(&[]).await;
    let mut details = std::collections::HashSet::new();
    for headers in [
        vec![],
        vec![("X-Nexus-Signature", "00")],
        vec![("X-Nexus-Signature", "00"), ("X-Nexus-Node", "nobody")],
        vec![("X-Nexus-Signature", "00"), ("X-Nexus-Node", "fluxx-dao")],
    ] {
        let answer = ask(nexus.address, &request("POST", "/events", &headers, b"{}")).await;
        details.insert(answer.body["detail"].as_str().unwrap().to_owned());
    }
    assert_eq!(details.len(), 1, "{details:?}");
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_told_so() {
    let nexus = start(&[]).await;
    for route in nexus
        .routes
        .iter()
        .filter(|route| route.access == Access::Operate)
    {
        let (method, path) = (route.method.as_str(), path(route));
        let body: &[u8] = if is_post(route) { b"{}" } else { b"" };
        let send = |token: &str| {
            let bearer = format!("Bearer {token}");
            let request = request(method, &path, &[("Authorization", &bearer)], body);
            let address = nexus.address;
            async move { ask(address, &request).await }
        };
        let what = format!("{method} {path}");
        expect(&send(READ_TOKEN).await, &what, 403, "not-permitted");
        let answer = send(ADMIN_TOKEN).await;
        if route.method == Method::GET && !route.path.contains('{') {
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
        } else {
            // What it names is not there, or nothing is said of what to do.
            assert!([400, 404].contains(&answer.status), "{what}: {answer:?}");
        }
    }
    for (event, payload) in [
        (
            "PAYMENT_RECEIVED",
            r#"{"transactionId":"t","amount":1,"payerId":"p"}"#,
        ),
        ("work.claimed", r#"{"work_id":"w"}"#),
        ("NEXUS:START", r#"{"version":"1","epoch":"e"}"#),
    ] {
        let body = format!(r#"{{"event":"{event}","payload":{payload}}}"#);
        let signature = sign(FLUXX_SECRET, body.as_bytes());
        let headers = [
            ("X-Nexus-Signature", signature.as_str()),
            ("X-Nexus-Node", "fluxx-dao"),
        ];
        for path in ["/events", "/api/events"] {
            let answer = ask(
                nexus.address,
                &request("POST", path, &headers, body.as_bytes()),
            )
            .await;
            expect(&answer, event, 403, "not-permitted");
        }
    }
    // Reserved for everyone, also for who may publish everything.
    let body = r#"{"event":"work.claimed","payload":{"work_id":"w"}}"#;
    let answer = publish(&nexus, "/events", body.as_bytes()).await;
    expect(&answer, "reserved", 403, "not-permitted");
    nexus.stop().await;
}

async fn publish(nexus: &Running, path: &str, body: &[u8]) -> Answer {
    let signature = sign(SECRET, body);
    ask(
        nexus.address,
        &request("POST", path, &[("X-Nexus-Signature", &signature)], body),
    )
    .await
}

/// What is not JSON, or not as strict as it has to be.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let bodies: Vec<(&str, &[u8])> = vec![
        ("no body", b""),
        ("broken", b"{\"event\":"),
        ("not JSON", b"event=PAYMENT_RECEIVED"),
        ("two values", b"{}{}"),
        (
            "duplicate members",
            br#"{"event":"A","event":"B","payload":{}}"#,
        ),
        (
            "duplicate by escape",
            br#"{"event":"A","\u0065vent":"B","payload":{}}"#,
        ),
        ("invalid UTF-8", b"{\"event\":\"\xff\",\"payload\":{}}"),
        ("lone surrogate", br#"{"event":"\ud800","payload":{}}"#),
        (
            "a BOM",
            b"\xef\xbb\xbf{\"event\":\"PAYMENT_RECEIVED\",\"payload\":{}}",
        ),
        (
            "NUL between",
            b"{\"event\":\"PAYMENT_RECEIVED\",\0\"payload\":{}}",
        ),
    ];
    let bottomless = ("bottomless", "[".repeat(100_000).into_bytes());
    let bodies = bodies.into_iter().map(|(what, body)| (what, body.to_vec()));
    bodies.chain([bottomless]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_bodies_are_refused_on_every_route_that_takes_one() {
    let nexus = start(&[]).await;
    let deep = format!(
        r#"{{"event":"PAYMENT_RECEIVED","payload":{{"a":{}1{}}}}}"#,
        "[".repeat(70),
        "]".repeat(70)
    );
    let many = format!(
        r#"{{"event":"PAYMENT_RECEIVED","payload":{{"x":"{}"}}}}"#,
        "x".repeat(300 * 1024)
    );
    let malformed = malformed();
    let takes_event = |route: &&Served| {
        let is_signed = matches!(route.access, Access::Signed | Access::Publish);
        is_post(route) && is_signed && !is_of_agents(route)
    };
    for route in nexus.routes.iter().filter(takes_event) {
        let path = path(route);
        let is_mapped = !route.path.contains("{node}");
        let is_v1 = path.starts_with("/api/v1");
        for (what, body) in &malformed {
            let answer = publish(&nexus, &path, body).await;
            // A name that is no text is a fault of that member, for a face that names members.
            let code = if is_v1 && *what == "lone surrogate" {
                "invalid-request"
            } else {
                "malformed-json"
            };
            let what = format!("{what}: {path}");
            if is_mapped {
                expect(&answer, &what, 400, code);
            } else {
                expect(&answer, &what, 404, "not-found");
            }
        }
        if !is_mapped {
            continue;
        }
        for body in ["null", "7", "\"text\"", "[]", "[{}]"] {
            expect(
                &publish(&nexus, &path, body.as_bytes()).await,
                &format!("{body}: {path}"),
                400,
                "invalid-request",
            );
        }
        // The whole API says of its envelope that it is wrong; neo only knows names and payloads.
        let unless_v1 = |code| if is_v1 { "invalid-request" } else { code };
        for (body, code) in [
            (
                r#"{"event":"NO_SUCH_EVENT","payload":{}}"#,
                "invalid-event-type",
            ),
            (
                r#"{"event":"PAYMENT_RECEIVED\u0000","payload":{}}"#,
                unless_v1("invalid-event-type"),
            ),
            (
                r#"{"event":7,"payload":{}}"#,
                unless_v1("invalid-event-type"),
            ),
            (
                r#"{"event":"PAYMENT_RECEIVED","payload":[]}"#,
                unless_v1("invalid-payload"),
            ),
            (
                r#"{"event":"PAYMENT_RECEIVED","payload":"{}"}"#,
                unless_v1("invalid-payload"),
            ),
            (
                r#"{"event":"PAYMENT_RECEIVED","payload":{"amount":{}}}"#,
                "invalid-payload",
            ),
            (
                r#"{"event":"PAYMENT_RECEIVED","payload":{"transactionId":"a\u0000","amount":1,"payerId":"p"}}"#,
                "invalid-payload",
            ),
            (
                r#"{"event":"PAYMENT_RECEIVED","payload":{"a":1,"a":2}}"#,
                "malformed-json",
            ),
            (deep.as_str(), "malformed-json"),
        ] {
            let answer = publish(&nexus, &path, body.as_bytes()).await;
            expect(
                &answer,
                &format!("{}: {path}", &body[..body.len().min(90)]),
                400,
                code,
            );
        }
        expect(
            &publish(&nexus, &path, many.as_bytes()).await,
            &path,
            413,
            "too-large",
        );
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_bodies_are_refused_on_every_route_of_operators() {
    let nexus = start(&[]).await;
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let wrong = ["null", "7", "\"text\"", "[]", "[{}]", r#"{"no_such":1}"#];
    let wrong = wrong.map(|body| ("invalid-request", body, body.as_bytes().to_vec()));
    // Where everything may be left out, so may the body.
    let malformed = malformed().into_iter().filter(|(_, body)| !body.is_empty());
    let malformed = malformed.map(|(what, body)| ("malformed-json", what, body));
    let bodies: Vec<_> = wrong.into_iter().chain(malformed).collect();
    // An operator may act as any agent.
    let of_operators = |route: &&Served| {
        is_post(route) && (route.access == Access::Operate || is_of_agents(route))
    };
    for route in nexus.routes.iter().filter(of_operators) {
        let path = path(route);
        for (code, what, body) in &bodies {
            let headers = [("Authorization", bearer.as_str())];
            let answer = ask(nexus.address, &request("POST", &path, &headers, body)).await;
            let what = format!("{what}: {path}");
            if route.path.contains('{') && answer.status == 404 {
                expect(&answer, &what, 404, "not-found");
            } else {
                expect(&answer, &what, 400, code);
            }
        }
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_what_would_be_right() {
    let nexus = start(&[]).await;
    let answer = publish(&nexus, "/events", br#"{"event":"NOPE","payload":{}}"#).await;
    let valid = answer.body["validEvents"].as_array().unwrap();
    assert!(valid.contains(&"PAYMENT_RECEIVED".into()), "{valid:?}");
    let answer = publish(&nexus, "/events", br#"{"event":"PAYMENT_RECEIVED"}"#).await;
    expect(&answer, "no payload", 400, "missing-payload");
    let answer = publish(
        &nexus,
        "/events",
        br#"{"event":"PAYMENT_RECEIVED","payload":{"amount":"much"}}"#,
    )
    .await;
    let pointers: Vec<_> = answer.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["pointer"])
        .collect();
    assert_eq!(pointers, ["/payerId", "/amount", "/transactionId"]);
    for (path, body) in [
        ("/webhook/flowpay", r#"{"orderId":"o","status":"odd"}"#),
        ("/webhook/flowpay", r#"{"amount":1}"#),
        ("/webhook/factory", r#"{"status":"odd"}"#),
        ("/webhook/factory", r#"{"status":"failed","metadata":7}"#),
    ] {
        let answer = publish(&nexus, path, body.as_bytes()).await;
        expect(&answer, body, 400, "invalid-payload");
        assert!(
            answer.body["errors"][0]["pointer"]
                .as_str()
                .is_some_and(|pointer| pointer.starts_with('/'))
        );
    }
    let signature = sign(SECRET, b"{}");
    let headers = [
        ("X-Nexus-Signature", signature.as_str()),
        ("Idempotency-Key", ""),
    ];
    let answer = ask(nexus.address, &request("POST", "/events", &headers, b"{}")).await;
    assert_eq!(answer.status, 400);
    for (query, status) in [
        ("limit=0", 400),
        ("limit=x", 400),
        ("limit=5000", 200),
        ("event=NOPE", 400),
    ] {
        let bearer = format!("Bearer {READ_TOKEN}");
        let path = format!("/events/log?{query}");
        let answer = ask(
            nexus.address,
            &request("GET", &path, &[("Authorization", &bearer)], b""),
        )
        .await;
        assert_eq!(answer.status, status, "{query}: {answer:?}");
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_requests_of_a_stranger_are_refused_and_probes_never() {
    let limits = [
        ("NEXUS__LIMITS__ANONYMOUS_REQUESTS_PER_SECOND", "1"),
        ("NEXUS__LIMITS__ANONYMOUS_BURST", "2"),
    ];
    let nexus = start(&limits).await;
    for route in &nexus.routes {
        let (method, path) = (route.method.as_str(), path(route));
        let body: &[u8] = if is_post(route) { b"{}" } else { b"" };
        let text = request(method, &path, &headers(route, &[]), body);
        let asking = async || ask(nexus.address, &text).await;
        if route.probe {
            for _ in 0..6 {
                assert_eq!(asking().await.status, 200, "{path}");
            }
            continue;
        }
        // Whoever asks slowly enough is never refused, and a busy machine may be slow now and then.
        let mut last = asking().await;
        for _ in 0..1_000 {
            if last.status == 429 {
                break;
            }
            last = asking().await;
        }
        expect(&last, &path, 429, "rate-limited");
        assert!(last.header("retry-after").is_some(), "{last:?}");
    }
    // Who is known is not a stranger.
    let body = br#"{"event":"MINT_FAILED","payload":{"error":"e"}}"#;
    for _ in 0..10 {
        let answer = publish(&nexus, "/events", body).await;
        assert!(matches!(answer.status, 200 | 429), "{answer:?}");
    }
    nexus.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_are_cut_off_on_every_route() {
    // Whoever says nothing at all is told nothing: the first bytes must be there by then.
    let limits = [
        ("NEXUS__LIMITS__HEADER_READ_TIMEOUT_MS", "1500"),
        ("NEXUS__LIMITS__BODY_READ_TIMEOUT_MS", "1500"),
    ];
    let nexus = start(&limits).await;
    let mut asked = tokio::task::JoinSet::new();
    for route in nexus.routes.clone() {
        let address = nexus.address;
        asked.spawn(async move {
            let (method, path) = (route.method.as_str(), path(&route));
            let slow_head = format!("{method} {path} HTTP/1.1\r\nHost: nexus\r\nX-Slow: ");
            expect(
                &ask(address, slow_head.as_bytes()).await,
                &format!("slow head: {path}"),
                408,
                "timeout",
            );
            if is_post(&route) {
                let slow_body = request(method, &path, &[("Content-Length", "100")], b"{");
                expect(
                    &ask(address, &slow_body).await,
                    &format!("slow body: {path}"),
                    408,
                    "timeout",
                );
            }
        });
    }
    while let Some(result) = asked.join_next().await {
        result.unwrap();
    }
    nexus.stop().await;
}
