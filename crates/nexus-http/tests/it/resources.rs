//! What the resources of face v1 have in common: strict queries and bodies, pages, versions.

use http::StatusCode;
use nexus_core::Clock;
use nexus_http::{Access, Call, ETag, Form, Reply, Route};
use serde::Deserialize;
use serde_json::{Value, json};

use super::support::{Answer, Running, options, post};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Body {
    name: Option<String>,
    parts: Vec<u32>,
}

fn body_of(body: &Body) -> Reply {
    Reply::json(
        StatusCode::OK,
        &json!({ "name": body.name, "parts": body.parts }),
    )
}

fn routes() -> Vec<Route> {
    let page = |call: Call| async move {
        call.refuse_unknown_query(&["since", "limit", "cursor", "q"])?;
        let since_us = call.query_time_us("since")?;
        let next = call.query("cursor").is_none().then_some("one-2.3~x");
        Ok(Reply::page(&call, &Clock::System, &[since_us], next))
    };
    let places = |call: Call| async move {
        let place = call.place()?;
        let next = place.is_none().then_some("a/b:ä");
        Ok(Reply::page_to(&call, &Clock::System, &place, next))
    };
    let change = |call: Call| async move {
        call.check_if_match(&ETag::of_revision(7))?;
        Ok(Reply::empty(StatusCode::NO_CONTENT).etag(&ETag::of_parts(&[7, 8])))
    };
    let replace = |call: Call| async move {
        call.require_if_match(&ETag::of_revision(7))?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    };
    vec![
        Route::get("/page", Access::Open, page),
        Route::get("/places", Access::Open, places),
        Route::post("/strict", Access::Open, |call: Call| async move {
            Ok(body_of(&call.json()?))
        }),
        Route::post("/lenient", Access::Open, |call: Call| async move {
            Ok(body_of(&call.json_or_default()?))
        }),
        Route::post("/change", Access::Open, change),
        Route::post("/replace", Access::Open, replace),
    ]
    .into_iter()
    .map(|route| route.form(Form::V1))
    .collect()
}

async fn start() -> Running {
    Running::start(routes(), options()).await
}

fn is_problem(answer: &Answer, status: u16, code: &str) -> Value {
    let body = answer.json();
    assert_eq!(
        (answer.status(), &body["code"]),
        (status, &code.into()),
        "{body}"
    );
    body
}

#[tokio::test]
async fn a_page_says_where_the_next_begins() {
    let server = start().await;
    let first = server
        .get("/page?limit=3&cursor=old&q=a%20b&q=%C3%A9", "")
        .await;
    assert_eq!(
        first.json()["meta"],
        json!({ "next_cursor": null, "has_more": false })
    );
    assert_eq!(first.header("link"), None);
    let first = server
        .get("/page?limit=3&q=a%20b&since=2026-11-21T06:00:00Z", "")
        .await;
    let body = first.json();
    assert_eq!(
        body["meta"],
        json!({ "next_cursor": "one-2.3~x", "has_more": true })
    );
    assert_eq!(body["data"], json!([1_795_240_800_000_000_u64]));
    assert_eq!(
        first.header("link"),
        Some("</page?limit=3&q=a%20b&since=2026-11-21T06:00:00Z&cursor=one-2.3~x>; rel=\"next\"")
    );
}

#[tokio::test]
async fn a_place_of_any_kind_is_led_to_and_read_again() {
    let server = start().await;
    let first = server.get("/places", "").await;
    let link = first.header("link").unwrap();
    let path = link.strip_prefix('<').and_then(|link| link.split_once('>'));
    let second = server.get(path.unwrap().0, "").await;
    assert_eq!(second.json()["data"], "a/b:ä");
    assert_eq!(second.json()["meta"]["has_more"], false);
    for cursor in ["=", "a", "_w"] {
        let refused = server.get(&format!("/places?cursor={cursor}"), "").await;
        is_problem(&refused, 400, "invalid-request");
    }
}

#[tokio::test]
async fn a_query_that_is_not_known_is_refused() {
    let server = start().await;
    for path in ["/page?sinc=1", "/page?limit=3&x", "/page?since=now"] {
        is_problem(&server.get(path, "").await, 400, "invalid-request");
    }
    // An offset's `+`, as people write it.
    let answer = server
        .get("/page?since=2026-11-21T07:00:00+01:00", "")
        .await;
    assert_eq!(answer.json()["data"], json!([1_795_240_800_000_000_u64]));
}

#[tokio::test]
async fn a_body_is_read_strictly_and_the_place_of_a_mistake_is_told() {
    let server = start().await;
    for path in ["/strict", "/lenient"] {
        let answer = server
            .ask(&post(path, "", r#"{"name":"a","parts":[1]}"#))
            .await;
        assert_eq!(answer.json(), json!({ "name": "a", "parts": [1] }));
        for (body, code, pointer) in [
            ("{", "malformed-json", None),
            ("{}{}", "malformed-json", None),
            (r#"{"name":"a","name":"b"}"#, "malformed-json", None),
            ("null", "invalid-request", Some("")),
            ("[]", "invalid-request", Some("")),
            (r#"["a",[1]]"#, "invalid-request", Some("")),
            (r#"{"nam":"a"}"#, "invalid-request", Some("/nam")),
            (r#"{"parts":[1,-2]}"#, "invalid-request", Some("/parts/1")),
        ] {
            let problem = is_problem(&server.ask(&post(path, "", body)).await, 400, code);
            let found = problem["errors"][0]["pointer"].as_str();
            assert_eq!(found, pointer, "{path} {body}: {problem}");
        }
    }
    is_problem(
        &server.ask(&post("/strict", "", "")).await,
        400,
        "malformed-json",
    );
    let answer = server.ask(&post("/lenient", "", " ")).await;
    assert_eq!(answer.json(), json!({ "name": null, "parts": [] }));
}

#[tokio::test]
async fn a_change_of_another_version_is_refused() {
    let server = start().await;
    let with = |path: &str, tags: &str| post(path, &format!("if-match: {tags}\r\n"), "");
    for path in ["/change", "/replace"] {
        for tags in ["\"7\"", "*", "\"6\", \"7\""] {
            assert_eq!(server.ask(&with(path, tags)).await.status(), 204, "{tags}");
        }
        for tags in ["\"6\"", "W/\"7\"", "7", "\"6\",\"8\""] {
            is_problem(&server.ask(&with(path, tags)).await, 412, "stale");
        }
    }
    let unsaid = server.ask(&post("/change", "", "")).await;
    assert_eq!(
        (unsaid.status(), unsaid.header("etag")),
        (204, Some("\"7-8\""))
    );
    let unsaid = server.ask(&post("/replace", "", "")).await;
    is_problem(&unsaid, 428, "precondition-required");
}
