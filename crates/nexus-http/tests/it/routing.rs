//! Which route answers, and what else every answer has: methods, paths, CORS, headers.

use http::{Method, StatusCode};
use nexus_http::{Access, Call, Error, Form, Reply, Route, Server, ServerOptions};
use serde_json::json;

use super::support::{Running, get, options, post, routes};

fn show(call: &Call, name: &str) -> Reply {
    let seen = json!({ "path": call.path(), "param": call.param(name), "q": call.query("q") });
    Reply::json(StatusCode::OK, &seen)
}

fn patterns() -> Vec<Route> {
    vec![
        Route::get("/nodes/{node}", Access::Open, |call: Call| async move {
            Ok(show(&call, "node"))
        }),
        Route::get("/nodes/flowpay", Access::Open, |_| async {
            Ok(Reply::json(StatusCode::OK, &"flowpay"))
        }),
        Route::new(Method::DELETE, "/nodes/{node}", Access::Open, |_| async {
            Ok(Reply::empty(StatusCode::NO_CONTENT))
        }),
    ]
}

#[tokio::test]
async fn an_unknown_path_is_404_in_the_form_of_its_face() {
    let mut routes = routes();
    let v1 = Route::get("/api/v1/thing", Access::Open, |_| async {
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    });
    routes.push(v1.form(Form::V1));
    let server = Running::start(routes, options()).await;
    for path in ["/nothing", "/hello/", "/api/v10", "/Hello", "*"] {
        server.get(path, "").await.assert_problem(404, "not-found");
    }
    for path in ["/api/v1", "/api/v1/nothing", "/api/v1//thing"] {
        let answer = server.get(path, "").await;
        assert_eq!(answer.status(), 404);
        let problem = answer.json();
        assert_eq!(problem["success"], false);
        assert_eq!(problem["error"]["code"], "not-found");
        assert_eq!(problem["instance"], path);
        assert_eq!(problem["retryable"], false);
        assert!(problem["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    // The path exists, so its route knows the form.
    let problem = server.ask(&post("/api/v1/thing", "", "")).await.json();
    assert_eq!(problem["error"]["code"], "method-not-allowed");
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_405_with_those_it_takes() {
    let server = Running::start(patterns(), options()).await;
    for (method, path, allow) in [
        ("POST", "/nodes/a", "GET, DELETE, HEAD, OPTIONS"),
        ("PURGE", "/nodes/flowpay", "GET, HEAD, OPTIONS"),
        ("DELETE", "/nodes/flowpay", "GET, HEAD, OPTIONS"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = server.ask(&request).await;
        answer.assert_problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow));
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Running::start(routes(), options()).await;
    let mut client = server.client().await;
    for _ in 0..2 {
        client.send("HEAD /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = client.head().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("content-length"), Some("7"));
    }
    // The connection goes on behind the missing bodies.
    assert_eq!(client.ask(&get("/hello", "")).await.json(), "hello");
}

#[tokio::test]
async fn a_path_is_decoded_once_and_read_in_one_way() {
    let server = Running::start(patterns(), options()).await;
    let seen = [
        ("/nodes/a", "a"),
        ("/nodes/%61", "a"),
        ("/nodes/a%20b", "a b"),
        ("/nodes/%C3%A9", "é"),
        ("/nodes/%2561", "%61"),
        ("/nodes/.hidden", ".hidden"),
        ("/nodes/a..b", "a..b"),
        ("http://elsewhere.example/nodes/a?q=1", "a"),
    ];
    for (path, param) in seen {
        let answer = server.get(path, "").await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.json()["param"], param);
        assert_eq!(answer.json()["path"], format!("/nodes/{param}"));
    }
    assert_eq!(server.get("/nodes/flow%70ay", "").await.json(), "flowpay");
    for path in [
        "//nodes/a",
        "/nodes//a",
        "/nodes/../hello",
        "/nodes/%2e%2e",
        "/nodes/%2e",
        "/nodes/.",
    ] {
        server.get(path, "").await.assert_problem(404, "not-found");
    }
    for path in [
        "/nodes/%00",
        "/nodes/a%2Fb",
        "/nodes/a%5cb",
        "/nodes/%zz",
        "/nodes/%",
        "/nodes/%ff",
        "/nodes/%0a",
    ] {
        server
            .get(path, "")
            .await
            .assert_problem(400, "invalid-request");
    }
    let answer = server.get("/nodes/a?x=1&q=a%26b+c&q=2", "").await;
    assert_eq!(answer.json()["q"], "a&b c");
}

#[tokio::test]
async fn request_ids_are_taken_when_sane_and_made_otherwise() {
    let server = Running::start(routes(), options()).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let lines = format!("x-request-id: mine-1\r\ntraceparent: {trace}\r\n");
    let answer = server.ask(&post("/echo", &lines, "{}")).await;
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    assert_eq!(answer.json()["request_id"], "mine-1");
    assert_eq!(answer.json()["traceparent"], trace);

    let lines = "x-request-id: no good\r\ntraceparent: 00-no-good\r\n";
    let answer = server.ask(&post("/echo", lines, "{}")).await;
    let made = answer.header("x-request-id").unwrap();
    assert_eq!(made.len(), 32);
    assert_eq!(answer.json()["request_id"], made);
    assert!(answer.json()["traceparent"].is_null());
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let server = Running::start(routes(), options()).await;
    for path in ["/hello", "/nothing"] {
        let answer = server.get(path, "").await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_and_others_get_nothing() {
    let listed = ServerOptions {
        allowed_origins: vec![String::from("https://console.example")],
        ..options()
    };
    let server = Running::start(routes(), listed).await;
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /echo HTTP/1.1\r\nhost: hub.example\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\n\
             access-control-request-headers: authorization, x-nexus-signature\r\n\r\n"
        )
    };
    for origin in ["https://console.example", "https://hub.example"] {
        let answer = server.get("/hello", &format!("origin: {origin}\r\n")).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("vary"), Some("origin"));
        let answer = server.ask(&preflight(origin)).await;
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(
            answer.header("access-control-allow-methods"),
            Some("POST, OPTIONS")
        );
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some("authorization, x-nexus-signature")
        );
    }
    let origin = "https://evil.example";
    for request in [
        get("/hello", &format!("origin: {origin}\r\n")),
        preflight(origin),
    ] {
        let answer = server.ask(&request).await;
        assert!(!answer.head.contains("access-control"), "{answer:?}");
    }
    let answer = server
        .ask("OPTIONS /nothing HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    answer.assert_problem(404, "not-found");
}

#[tokio::test]
async fn a_list_of_routes_that_contradicts_itself_is_refused() {
    let route = |path: &str| {
        Route::get(path, Access::Open, |_| async {
            Ok(Reply::empty(StatusCode::NO_CONTENT))
        })
    };
    let bind = |routes| Server::bind(([127, 0, 0, 1], 0).into(), routes, options());
    let twice = bind(vec![route("/a"), route("/a")]).await;
    assert!(matches!(twice, Err(Error::DuplicateRoute { .. })));
    let conflict = bind(vec![route("/{a}"), route("/{b}")]).await;
    assert!(matches!(conflict, Err(Error::Pattern { .. })));

    let server = bind(vec![route("/a")]).await.unwrap();
    let taken = Server::bind(server.local_addr(), vec![], options()).await;
    assert!(matches!(taken, Err(Error::Bind { .. })));
}
