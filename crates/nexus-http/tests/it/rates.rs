//! Rate limits: who pays, who does not, and whose address it is.

use http::StatusCode;
use nexus_core::Kind;
use nexus_http::{Access, Call, Problem, Rate, Reply, Route, ServerOptions};

use super::support::{Answer, Client, Running, get, options, routes};

const BURST: u32 = 3;

fn limited() -> ServerOptions {
    ServerOptions {
        anonymous_rate: Rate::new(1, BURST),
        ..options()
    }
}

fn limited_routes() -> Vec<Route> {
    let mut all = routes();
    all.push(
        Route::get("/probe", Access::Open, |_| async {
            Ok(Reply::empty(StatusCode::NO_CONTENT))
        })
        .probe(),
    );
    // As a face does it.
    all.push(Route::get(
        "/signed",
        Access::Signed,
        |call: Call| async move {
            let refuse = || Problem::new(Kind::Unauthenticated, "unauthorized", "no");
            call.identify(|headers| headers.get("x-good").cloned().ok_or_else(refuse))?;
            Ok(Reply::empty(StatusCode::NO_CONTENT))
        },
    ));
    all
}

/// Asks until it is refused, and says how often it was not. The bucket refills while this runs, so the number
/// is at least the burst, and the end comes soon.
async fn until_limited(client: &mut Client, request: &str, status: u16) -> u32 {
    for served in 0..1000 {
        let answer = client.ask(request).await;
        if answer.status() == 429 {
            assert_limited(&answer);
            return served;
        }
        assert_eq!(answer.status(), status);
    }
    panic!("it is not limited");
}

fn assert_limited(answer: &Answer) {
    answer.assert_problem(429, "rate-limited");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn strangers_are_limited_on_open_and_unknown_paths() {
    for (path, status) in [("/hello", 200), ("/nothing", 404)] {
        let server = Running::start(limited_routes(), limited()).await;
        let mut client = server.client().await;
        let served = until_limited(&mut client, &get(path, ""), status).await;
        assert!(served >= BURST, "{served}");
        for _ in 0..100 {
            assert_eq!(client.ask(&get("/probe", "")).await.status(), 204);
        }
    }
}

#[tokio::test]
async fn a_caller_that_is_known_is_not_limited_and_one_that_fails_pays() {
    let server = Running::start(limited_routes(), limited()).await;
    let mut client = server.client().await;
    let good = get("/signed", "x-good: 1\r\n");
    for _ in 0..200 {
        assert_eq!(client.ask(&good).await.status(), 204);
    }
    let served = until_limited(&mut client, &get("/signed", ""), 401).await;
    assert!(served >= BURST, "{served}");
}

#[tokio::test]
async fn everyone_is_limited_by_the_address_rate() {
    let options = ServerOptions {
        address_rate: Rate::new(1, BURST),
        ..options()
    };
    let server = Running::start(limited_routes(), options).await;
    let mut client = server.client().await;
    let served = until_limited(&mut client, &get("/signed", "x-good: 1\r\n"), 204).await;
    assert!(served >= BURST, "{served}");
    assert_eq!(client.ask(&get("/probe", "")).await.status(), 204);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_bucket() {
    let options = ServerOptions {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..limited()
    };
    let server = Running::start(limited_routes(), options).await;
    let mut client = server.client().await;
    let of = |address: &str| get("/hello", &format!("x-forwarded-for: {address}\r\n"));
    until_limited(&mut client, &of("192.0.2.1"), 200).await;
    // What the client itself claims, further left, gives it no new bucket, which would hold the burst.
    let claimed = of("198.51.100.9, 192.0.2.1");
    // The bucket fills while the machine stands still: not each time.
    for tries_left in (0..20).rev() {
        let served = until_limited(&mut client, &claimed, 200).await;
        if served < BURST {
            break;
        }
        assert!(tries_left > 0, "{served}");
    }
    assert_eq!(client.ask(&of("192.0.2.2")).await.status(), 200);
}

#[tokio::test]
async fn without_trust_a_claimed_address_is_nothing() {
    let server = Running::start(limited_routes(), limited()).await;
    let mut client = server.client().await;
    let mut served = 0;
    for host in 0..1000 {
        let lines = format!("x-forwarded-for: 192.0.{}.{}\r\n", host / 250, host % 250);
        match client.ask(&get("/hello", &lines)).await.status() {
            200 => served += 1,
            _ => break,
        }
    }
    assert!(served < 1000);
}
