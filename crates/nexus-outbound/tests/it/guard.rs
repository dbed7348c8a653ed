//! Calls that must not leave: nothing of them arrives anywhere.

use nexus_core::{Coded, Kind};
use nexus_outbound::{Client, Error, OutboundOptions, Trust};

use crate::support::*;

#[tokio::test]
async fn foreign_addresses_reach_nothing_private() {
    let forbidden = Forbidden::listen();
    forbidden.assert_reachable();
    let port = forbidden.port();
    let client = client();
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://127.0.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f000001:{port}/"),
        format!("http://0x7f.0.0.1:{port}/"),
        format!("http://0177.0.0.1:{port}/"),
        format!("http://127.0.0.1.:{port}/"),
        format!("http://１２７.0.0.1:{port}/"),
        format!("http://%31%32%37.0.0.1:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("http://0:{port}/"),
        format!("http://[::]:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://[::ffff:7f00:1]:{port}/"),
        format!("http://[::127.0.0.1]:{port}/"),
        format!("http://[64:ff9b::127.0.0.1]:{port}/"),
        format!("http://[2002:7f00:1::]:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://LOCALHOST:{port}/"),
        format!("http://user@127.0.0.1:{port}/"),
        format!("http://user:password@localhost:{port}/"),
        format!("http://1.1.1.1@127.0.0.1:{port}/"),
        format!("http:\\\\127.0.0.1:{port}\\"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fd00:ec2::254]/latest/meta-data/".to_owned(),
        "http://100.100.100.200/latest/meta-data/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "http://192.168.0.1/".to_owned(),
        "http://[fe80::1]/".to_owned(),
        "http://255.255.255.255/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("ftp://127.0.0.1:{port}/"),
        format!("gopher://127.0.0.1:{port}/_x"),
        "data:text/plain,x".to_owned(),
    ] {
        let error = client.send(get(&url, Trust::Foreign)).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{url}: {error:?}");
        assert_eq!(
            (error.kind(), error.is_transient()),
            (Kind::Malformed, false)
        );
        forbidden.assert_untouched(&url);
    }
    // Some resolvers do not know this name at all.
    let rooted = format!("http://localhost.:{port}/");
    assert!(client.send(get(&rooted, Trust::Foreign)).await.is_err());
    forbidden.assert_untouched(&rooted);
}

#[tokio::test]
async fn a_refusal_tells_no_secret() {
    let url = "http://ana:hunter2@localhost/hook/hunter2?key=hunter2";
    for trust in [Trust::Foreign, Trust::Configured] {
        let call = get(url, trust);
        assert!(!format!("{call:?}").contains("hunter2"), "{call:?}");
        let error = client().send(call).await.unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    }
    // The library's own errors hold the address; ours must not.
    let call = get(
        "http://127.0.0.1:1/hook/hunter2?key=hunter2",
        Trust::Configured,
    );
    let error = client().send(call).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(
        !format!("{error} {error:?}").contains("hunter2"),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_address_can_be_checked_before_it_is_kept() {
    let client = client();
    let check = |url: &str, trust| client.check(&url.parse().unwrap(), trust).is_ok();
    assert!(check("https://example.com/hook", Trust::Foreign));
    assert!(check("http://1.1.1.1/hook", Trust::Foreign));
    assert!(!check("http://10.0.0.1/hook", Trust::Foreign));
    assert!(check("http://10.0.0.1/hook", Trust::Configured));
    assert!(!check("file:///etc/passwd", Trust::Configured));
    assert!(!check("http://user@example.com/", Trust::Configured));
}

#[tokio::test]
async fn what_the_operator_configured_or_allowed_is_reached() {
    let server = Server::start(Then::Answer("HTTP/1.1 204 No Content\r\n\r\n".into())).await;
    let by_name = format!("http://localhost:{}/", server.address.port());
    let in_range = Client::new(&OutboundOptions {
        allow_cidrs: vec!["127.0.0.0/8".parse().unwrap()],
        ..OutboundOptions::default()
    })
    .unwrap();
    for (client, trust) in [
        (client(), Trust::Configured),
        (dev_client(), Trust::Foreign),
        (in_range, Trust::Foreign),
    ] {
        for url in [&server.url(), &by_name] {
            assert_eq!(
                client.send(get(url, trust)).await.unwrap().status,
                204,
                "{url}"
            );
        }
    }
}

#[tokio::test]
async fn redirects_are_answers() {
    let forbidden = Forbidden::listen();
    for (status, trust) in [
        (301, Trust::Foreign),
        (302, Trust::Configured),
        (307, Trust::Foreign),
        (308, Trust::Configured),
    ] {
        let target = format!("http://127.0.0.1:{}/", forbidden.port());
        let answer =
            format!("HTTP/1.1 {status} Moved\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::start(Then::Answer(answer)).await;
        let answer = dev_client().send(get(&server.url(), trust)).await.unwrap();
        assert_eq!((answer.status, answer.is_success()), (status, false));
        assert_eq!(answer.headers["location"], target.as_str());
        forbidden.assert_untouched("a redirect was followed");
    }
}

#[tokio::test]
async fn a_connection_made_for_one_trust_is_not_used_for_the_other() {
    let server = Server::start(Then::Echo).await;
    let client = dev_client();
    for _ in 0..3 {
        client
            .send(get(&server.url(), Trust::Configured))
            .await
            .unwrap();
    }
    assert_eq!(
        server.connections(),
        1,
        "a connection is kept and used again"
    );
    client
        .send(get(&server.url(), Trust::Foreign))
        .await
        .unwrap();
    assert_eq!(server.connections(), 2);
}

/// Runs another test of this file in a process whose environment names a proxy.
#[test]
fn proxies_of_the_environment_are_not_used() {
    let proxy = Forbidden::listen();
    let address = format!("http://127.0.0.1:{}", proxy.port());
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "guard::redirects_are_answers"]);
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(name, &address);
    }
    command
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env_remove("REQUEST_METHOD");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    proxy.assert_untouched("the proxy was asked");
}
