//! Calls that must not leave: nothing of them arrives anywhere.

use nexus_outbound::{Error, Trust};

use crate::support::*;

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
