//! What clients are told of errors, and what they are not.

use http::StatusCode;
use nexus_core::{Coded, Kind, PayloadProblem};
use nexus_http::{Access, Call, Form, Problem, Reply, Route};

use super::support::{Running, get, options, routes};

#[derive(Debug, thiserror::Error)]
#[error("a wrapper")]
struct Wrapped {
    source: nexus_core::Error,
}

impl Coded for Wrapped {
    fn kind(&self) -> Kind {
        self.source.kind()
    }

    fn code(&self) -> &'static str {
        self.source.code()
    }
}

fn unknown_event() -> nexus_core::Error {
    nexus_core::Error::UnknownEvent {
        name: String::from("NOPE"),
        valid: vec![String::from("PAYMENT_RECEIVED")],
    }
}

fn core_error(name: &str) -> Result<Reply, Problem> {
    Err(match name {
        "unknown-event" => unknown_event().into(),
        "wrapped" => Wrapped {
            source: unknown_event(),
        }
        .into(),
        "invalid-payload" => nexus_core::Error::InvalidPayload {
            problems: vec![PayloadProblem {
                pointer: String::from("/amount"),
                detail: String::from("must be a number"),
            }],
        }
        .into(),
        "not-stored" => nexus_core::Error::NotStored {
            source: "s3cret cause".into(),
        }
        .into(),
        "unknown" => nexus_core::Error::OutcomeUnknown.into(),
        "damaged" => nexus_core::Error::Damaged {
            detail: String::from("s3cret detail"),
        }
        .into(),
        "unauthorized" => Problem::new(Kind::Unauthenticated, "unauthorized", "no"),
        "with-member" => Problem::new(Kind::Conflict, "conflict", "busy").with("holder", "a"),
        _ => Problem::not_found(),
    })
}

fn errors() -> Vec<Route> {
    let neo = Route::get("/error/{name}", Access::Open, |call: Call| async move {
        core_error(call.param("name").unwrap_or_default())
    });
    let v1 = neo.at("/api/v1/error/{name}").form(Form::V1);
    vec![neo, v1]
}

#[tokio::test]
async fn errors_are_problems_with_the_members_clients_expect() {
    let server = Running::start(errors(), options()).await;
    let cases = [
        (
            "unknown-event",
            400,
            "invalid-event-type",
            "Invalid event type",
        ),
        ("wrapped", 400, "invalid-event-type", "Invalid event type"),
        ("invalid-payload", 400, "invalid-payload", "Invalid payload"),
        ("not-stored", 503, "unavailable", "Unavailable"),
        ("unknown", 503, "outcome-unknown", "Outcome unknown"),
        ("damaged", 500, "internal", "Internal error"),
        ("unauthorized", 401, "unauthorized", "Unauthorized"),
        ("with-member", 409, "conflict", "Conflict"),
        ("other", 404, "not-found", "Not found"),
    ];
    for (name, status, code, title) in cases {
        let neo = server.get(&format!("/error/{name}"), "").await;
        neo.assert_problem(status, code);
        assert_eq!(neo.json()["title"], title);
        assert_eq!(neo.header("retry-after"), (status == 503).then_some("1"));
        let challenge = (status == 401).then_some("Bearer realm=\"nexus\"");
        assert_eq!(neo.header("www-authenticate"), challenge);
        assert!(!neo.head.contains("s3cret"));
        assert!(
            !String::from_utf8_lossy(&neo.body).contains("s3cret"),
            "{name}"
        );
        match name {
            "unknown-event" | "wrapped" => {
                assert_eq!(neo.json()["validEvents"][0], "PAYMENT_RECEIVED");
            }
            "invalid-payload" => assert_eq!(neo.json()["errors"][0]["pointer"], "/amount"),
            "with-member" => assert_eq!(neo.json()["holder"], "a"),
            _ => {}
        }

        let path = format!("/api/v1/error/{name}");
        let v1 = server.get(&path, "").await.json();
        assert_eq!(v1["status"], status);
        assert_eq!(v1["code"], code);
        assert_eq!(v1["instance"], path);
        assert_eq!(v1["success"], false);
        assert_eq!(v1["error"]["code"], code);
        assert_eq!(v1["error"]["message"], v1["detail"]);
        assert_eq!(v1["retryable"], status == 503);
    }
}

#[tokio::test]
async fn a_panic_is_one_answer_of_500_and_nothing_more() {
    let panics_early = Route::get("/early", Access::Open, |call: Call| {
        assert!(call.query("never").is_some(), "s3cret");
        async { Ok(Reply::empty(StatusCode::NO_CONTENT)) }
    });
    let mut routes = routes();
    routes.push(panics_early);
    let server = Running::start(routes, options()).await;
    let mut client = server.client().await;
    for path in ["/panic", "/early"] {
        let answer = client.ask(&get(path, "")).await;
        answer.assert_problem(500, "internal");
        assert!(!String::from_utf8_lossy(&answer.body).contains("s3cret"));
        // The same connection goes on.
        assert_eq!(client.ask(&get("/hello", "")).await.status(), 200);
    }
}
