//! What a request leaves in the log: one line, and nothing that is secret.

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex},
};

use http::StatusCode;
use nexus_http::{Access, Call, Problem, Reply, Route};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::set_default,
};

use super::support::{Running, get, options, post};

/// Keeps the lines of this crate as text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("nexus_http")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn a_request_is_one_line_with_its_route_and_without_its_secrets() {
    let lines = Lines::default();
    // The test runs on one thread, and so does its server.
    let _guard = set_default(lines.clone());
    let pattern = Route::post("/nodes/{node}", Access::Open, |_: Call| async {
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    });
    let broken = Route::get("/broken", Access::Open, |_| async {
        Err(Problem::from(nexus_core::Error::NotStored {
            source: "the disk is on fire".into(),
        }))
    });
    let server = Running::start(vec![pattern, broken], options()).await;
    let secrets =
        "authorization: Bearer s3cret\r\nx-nexus-signature: s3cret\r\nx-request-id: mine\r\n";
    server
        .ask(&post("/nodes/a?token=s3cret", secrets, "\"s3cret\""))
        .await;

    let seen = lines.0.lock().unwrap().clone();
    let [line] = &seen[..] else {
        panic!("{seen:?}");
    };
    for part in [
        "DEBUG",
        "request_id=\"mine\"",
        "method=\"POST\"",
        "route=\"/nodes/{node}\"",
        "status=204",
        "duration_us=",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains("s3cret"), "{line}");

    // The cause of a failure is in the log and nowhere else.
    let answer = server
        .ask(&get("/broken", "x-request-id: failed\r\n"))
        .await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("fire"));
    let seen = lines.0.lock().unwrap().clone();
    assert!(
        seen[1].starts_with("ERROR") && seen[1].contains("the disk is on fire"),
        "{seen:?}"
    );
    assert!(seen[1].contains("request_id=\"failed\""), "{seen:?}");
    assert!(
        seen[2].starts_with("INFO") && seen[2].contains("status=503"),
        "{seen:?}"
    );
    assert_eq!(seen.len(), 3);
}
