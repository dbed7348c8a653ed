//! Bodies: how many bytes, of which type, in which coding; and compressed answers.

use http::StatusCode;
use nexus_http::{Access, Reply, Route, ServerOptions};

use super::support::{Running, get, options, post, routes, soon};

fn small_bodies() -> ServerOptions {
    ServerOptions {
        body_bytes_max: 16,
        ..options()
    }
}

fn chunked(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
    )
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_and_one_byte_more_is_not() {
    let server = Running::start(routes(), small_bodies()).await;
    let (full, over) = ("x".repeat(16), "x".repeat(17));
    for request in [post("/echo", "", &full), chunked(&full)] {
        let answer = server.ask(&request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(answer.json()["bytes"], 16);
    }
    for request in [post("/echo", "", &over), chunked(&over)] {
        let mut client = server.client().await;
        let answer = client.ask(&request).await;
        answer.assert_problem(413, "too-large");
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

#[tokio::test]
async fn a_declared_length_is_refused_before_the_body_comes() {
    let server = Running::start(routes(), small_bodies()).await;
    for expect in ["", "expect: 100-continue\r\n"] {
        let head = format!("POST /echo HTTP/1.1\r\nhost: a\r\n{expect}content-length: 17\r\n\r\n");
        server.ask(&head).await.assert_problem(413, "too-large");
    }
}

#[tokio::test]
async fn a_refused_client_that_goes_on_sending_still_reads_why() {
    let server = Running::start(routes(), small_bodies()).await;
    for _ in 0..20 {
        let mut client = server.client().await;
        let answer = client.ask(&post("/echo", "", &"x".repeat(200_000))).await;
        answer.assert_problem(413, "too-large");
    }
}

#[tokio::test]
async fn a_route_has_its_own_limit() {
    let tiny = Route::post("/tiny", Access::Open, |_| async {
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    })
    .body_bytes_max(1);
    let server = Running::start(vec![tiny], options()).await;
    assert_eq!(server.ask(&post("/tiny", "", "1")).await.status(), 204);
    server
        .ask(&post("/tiny", "", "12"))
        .await
        .assert_problem(413, "too-large");
}

#[tokio::test]
async fn a_large_body_comes_whole() {
    let server = Running::start(routes(), options()).await;
    let body = "x".repeat(1 << 20);
    let answer = server.ask(&post("/echo", "", &body)).await;
    assert_eq!(answer.json()["bytes"], 1 << 20);
}

#[tokio::test]
async fn a_client_is_told_to_continue_when_its_body_is_wanted() {
    let server = Running::start(routes(), options()).await;
    let mut client = server.client().await;
    client
        .send("POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 100);
    let answer = client.ask("{}").await;
    assert_eq!(answer.json()["bytes"], 2);
}

#[tokio::test]
async fn types_and_codings_are_checked_where_they_are_stated() {
    let server = Running::start(routes(), options()).await;
    let cases = [
        ("", 200),
        ("content-type: application/json\r\n", 200),
        ("content-type: Application/JSON ; charset=utf-8\r\n", 200),
        ("content-encoding: identity\r\n", 200),
        ("content-type: text/plain\r\n", 415),
        ("content-type: application/jsonp\r\n", 415),
        ("content-type: \r\n", 415),
        ("content-encoding: gzip\r\n", 415),
    ];
    for (lines, status) in cases {
        let answer = server.ask(&post("/echo", lines, "{}")).await;
        assert_eq!(answer.status(), status, "{lines:?}");
        if status == 415 {
            answer.assert_problem(415, "unsupported-media-type");
        }
    }
    // A GET has no body of which it could state the type.
    let answer = server.get("/hello", "content-type: text/plain\r\n").await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_it() {
    const SIZES: [usize; 2] = [1000, 5000];
    let answers = || {
        SIZES.map(|size| {
            Route::get(format!("/{size}"), Access::Open, move |_| async move {
                Ok(Reply::json(StatusCode::OK, &"x".repeat(size)))
            })
        })
    };
    let server = Running::start(answers().into(), options()).await;
    let gzip = "accept-encoding: br;q=0.5, gzip\r\n";

    let answer = server.get("/5000", gzip).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert!(answer.header("vary").unwrap().contains("accept-encoding"));
    assert_eq!(answer.body[..2], [0x1f, 0x8b]);
    assert!(answer.body.len() < 500, "{}", answer.body.len());
    // The last four bytes of gzip are the length of what was compressed: the string and its quotes.
    let length = answer
        .body
        .last_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes));
    assert_eq!(length, Some(5002));

    for (path, lines) in [
        ("/1000", gzip),
        ("/5000", ""),
        ("/5000", "accept-encoding: gzip;q=0\r\n"),
    ] {
        let answer = server.get(path, lines).await;
        assert_eq!(answer.header("content-encoding"), None, "{path} {lines}");
        assert_eq!(
            answer
                .json()
                .as_str()
                .map(|text| format!("/{}", text.len()))
                .as_deref(),
            Some(path)
        );
    }

    let off = ServerOptions {
        compression: false,
        ..options()
    };
    let server = Running::start(answers().into(), off).await;
    let answer = server.ask(&get("/5000", gzip)).await;
    assert_eq!(answer.header("content-encoding"), None);
}

#[tokio::test]
async fn a_body_in_two_parts_is_one_to_its_client() {
    const SIZES: [[usize; 2]; 4] = [[40, 5_000], [0, 10], [10, 0], [100_000, 100_000]];
    let parts = |[one, other]: [usize; 2]| [("a", one), ("b", other)].map(|(c, n)| c.repeat(n));
    let routes = SIZES.map(|sizes| {
        let path = format!("/{}/{}", sizes[0], sizes[1]);
        Route::get(path, Access::Open, move |_| async move {
            let parts = parts(sizes).map(Into::into);
            Ok(Reply::in_parts(StatusCode::OK, "text/plain", parts))
        })
    });
    let server = Running::start(routes.into(), options()).await;
    for sizes in SIZES {
        let path = format!("/{}/{}", sizes[0], sizes[1]);
        let answer = server.get(&path, "").await;
        let whole = parts(sizes).concat();
        assert_eq!(answer.body, whole.as_bytes(), "{path}");
        assert_eq!(
            answer.header("content-length"),
            Some(&*whole.len().to_string())
        );
    }
    let answer = server.get("/40/5000", "accept-encoding: gzip\r\n").await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let length = answer
        .body
        .last_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes));
    assert_eq!(length, Some(5_040));
}

#[tokio::test]
async fn all_bodies_together_are_bounded() {
    bounded(ServerOptions {
        body_bytes_in_flight_max: 1 << 20,
        ..options()
    })
    .await;
}

#[tokio::test]
async fn all_bodies_of_one_address_are_bounded() {
    bounded(ServerOptions {
        body_bytes_per_address_max: 1 << 20,
        ..options()
    })
    .await;
}

async fn bounded(options: ServerOptions) {
    let server = Running::start(routes(), options).await;
    let body = "x".repeat(600_000);
    // One after the other there is room for each.
    for _ in 0..3 {
        assert_eq!(server.ask(&post("/echo", "", &body)).await.status(), 200);
    }
    // One that is still coming holds its bytes.
    let mut held = server.client().await;
    let whole = post("/echo", "", &body);
    let (most, rest) = whole.split_at(whole.len() - 1);
    held.send(most).await;
    let refused = soon(async {
        loop {
            // Until the server has read the first body, there is room for the second.
            let answer = server.ask(&whole).await;
            if answer.status() != 200 {
                return answer;
            }
        }
    })
    .await;
    refused.assert_problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(held.ask(rest).await.json()["bytes"], 600_000);
    assert_eq!(server.ask(&whole).await.status(), 200);
}
