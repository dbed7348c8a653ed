//! A proxy that is configured, and what it does not change.

use std::time::Duration;

use nexus_outbound::{Client, Error, OutboundOptions, Trust};

use crate::support::*;

fn through(proxy: &Server) -> OutboundOptions {
    OutboundOptions {
        proxy: Some(
            format!("http://ana:hunter2@{}/", proxy.address)
                .parse()
                .unwrap(),
        ),
        no_proxy: vec![String::from("direct.example")],
        ..OutboundOptions::default()
    }
}

#[tokio::test]
async fn calls_go_through_the_proxy_that_is_configured() {
    let proxy = Server::start(Then::Echo).await;
    let names = Names::always(&["1.1.1.1"]);
    let client = Client::with_resolver(&through(&proxy), names.clone()).unwrap();
    for trust in [Trust::Configured, Trust::Foreign] {
        let answer = client.send(get("http://shop.example/path", trust)).await;
        let asked = String::from_utf8(answer.unwrap().body.to_vec()).unwrap();
        assert!(
            asked.starts_with("GET http://shop.example/path HTTP/1.1\r\n"),
            "{asked}"
        );
        assert!(
            asked.to_lowercase().contains("proxy-authorization: basic"),
            "{asked}"
        );
    }
    // A name that only the proxy knows.
    let client = Client::with_resolver(&through(&proxy), Names::always(&[])).unwrap();
    let answer = client
        .send(get("http://far.example/", Trust::Foreign))
        .await;
    assert_eq!(answer.unwrap().status, 200);
    // Over TLS it is asked for a tunnel, and it is the one that says no.
    let refusing = Then::Answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".into());
    let refusing = Server::start(refusing).await;
    let client = Client::with_resolver(&through(&refusing), Names::always(&[])).unwrap();
    let call = get("https://far.example/", Trust::Foreign);
    let asked = client.send(call).await;
    assert!(matches!(asked, Err(Error::Connect { .. })), "{asked:?}");
    assert_eq!(refusing.connections(), 1);
    let shown = format!("{client:?} {:?}", through(&proxy));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn the_guard_stands_before_the_proxy() {
    let proxy = Server::start(Then::Echo).await;
    let names = Names::always(&["1.1.1.1", "10.0.0.1"]);
    let client = Client::with_resolver(&through(&proxy), names).unwrap();
    for url in [
        "http://127.0.0.1/",
        "http://169.254.169.254/",
        "http://[::1]/",
        "http://localhost/",
        // One private address of two is enough: the proxy chooses.
        "http://shop.example/",
        "https://shop.example/",
    ] {
        let error = client.send(get(url, Trust::Foreign)).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{url}: {error:?}");
    }
    assert_eq!(proxy.connections(), 0);
    // The operator's own addresses are not asked about.
    let own = client
        .send(get("http://shop.example/", Trust::Configured))
        .await;
    assert_eq!((own.unwrap().status, proxy.connections()), (200, 1));
}

#[tokio::test]
async fn what_is_listed_and_this_machine_are_called_past_the_proxy() {
    let proxy = Server::start(Then::Echo).await;
    let server = Server::start(Then::Answer("HTTP/1.1 204 No Content\r\n\r\n".into())).await;
    let names = Names::always(&["127.0.0.1"]);
    let client = Client::with_resolver(&through(&proxy), names).unwrap();
    let port = server.address.port();
    for host in [
        "direct.example",
        "a.direct.example",
        "localhost",
        "127.0.0.1",
    ] {
        let call = get(&format!("http://{host}:{port}/"), Trust::Configured);
        assert_eq!(client.send(call).await.unwrap().status, 204, "{host}");
    }
    assert_eq!(proxy.connections(), 0);
    // Past the proxy the guard connects to what it checked, as without one.
    let call = get(&format!("http://direct.example:{port}/"), Trust::Foreign);
    let error = client.send(call).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_is_gone_is_no_way_around_it() {
    let server = Server::start(Then::Echo).await;
    let gone = OutboundOptions {
        proxy: Some("http://127.0.0.1:1/".parse().unwrap()),
        allow_cidrs: vec!["127.0.0.2/32".parse().unwrap()],
        ..OutboundOptions::default()
    };
    let client = Client::with_resolver(&gone, Names::always(&["127.0.0.2"])).unwrap();
    let mut call = get(
        &format!("http://shop.example:{}/", server.address.port()),
        Trust::Foreign,
    );
    call.timeout = Duration::from_secs(10);
    let error = client.send(call).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert_eq!(server.connections(), 0);
}
