//! Every way that is known to reach what only this machine can reach: all refused, before a connection.

use nexus_core::{Coded, Kind};
use nexus_outbound::{Client, Error, OutboundOptions, Trust};
use url::Url;

use crate::support::*;

/// Addresses that lead to this machine, however they are written; `PORT` is where somebody listens.
const THIS_MACHINE: [&str; 45] = [
    "http://127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://127.255.255.254:PORT/",
    // Decimal, octal, hexadecimal, and mixed.
    "http://2130706433:PORT/",
    "http://017700000001:PORT/",
    "http://0x7f000001:PORT/",
    "http://0X7F000001:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://0177.0.0.01:PORT/",
    "http://0x7f.0.0.1:PORT/",
    "http://0x7f.1:PORT/",
    "http://127.0x1:PORT/",
    "http://000000000000000000177.0.0.1:PORT/",
    // Dots and digits that are not ASCII, and percent signs.
    "http://127.0.0.1.:PORT/",
    "http://127。0。0。1:PORT/",
    "http://127．0．0．1:PORT/",
    "http://127｡0｡0｡1:PORT/",
    "http://１２７.0.0.1:PORT/",
    "http://①②⑦.⓪.⓪.①:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://127%2E0%2E0%2E1:PORT/",
    // All that this machine listens on.
    "http://0.0.0.0:PORT/",
    "http://0:PORT/",
    "http://[::]:PORT/",
    "http://[0:0:0:0:0:0:0:0]:PORT/",
    // IPv6, and IPv4 within it.
    "http://[::1]:PORT/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[::ffff:0:127.0.0.1]:PORT/",
    "http://[64:ff9b::127.0.0.1]:PORT/",
    "http://[64:ff9b:1::127.0.0.1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[2001:0:808:808::80ff:fffe]:PORT/",
    // Names.
    "http://localhost:PORT/",
    "http://LOCALHOST:PORT/",
    "http://localhost.:PORT/",
    "http://ｌｏｃａｌｈｏｓｔ:PORT/",
    "http://a.b.localhost:PORT/",
    // What looks like another host.
    "http:\\\\127.0.0.1:PORT\\",
    "http:/127.0.0.1:PORT/",
    "http://127.0.0.1:PORT#@example.com/",
];

/// Addresses with a user, which are read as another host by those who read them carelessly.
const WITH_USER: [&str; 5] = [
    "http://user@127.0.0.1:PORT/",
    "http://user:password@localhost:PORT/",
    "http://1.1.1.1@127.0.0.1:PORT/",
    "http://example.com%00@127.0.0.1:PORT/",
    "http://:@127.0.0.1:PORT/",
];

/// What only this machine, its network or its cloud can reach.
const PRIVATE: [&str; 40] = [
    // Metadata services and host agents of clouds.
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://0xA9FEA9FE/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://169.254.170.2/v2/credentials",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://192.0.0.192/latest/",
    "http://168.63.129.16/machine?comp=goalstate",
    // Private networks, and those of carriers.
    "http://10.0.0.1/",
    "http://10.1/",
    "http://167772161/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://192.168.257/",
    "http://100.64.0.1/",
    "http://100.127.255.254/",
    "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456:789a::1]/",
    // Link-local, site-local, multicast, broadcast, reserved.
    "http://169.254.1.1/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://224.0.0.1/",
    "http://239.255.255.250:1900/",
    "http://[ff02::1]/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://198.18.0.1/",
    "http://192.0.2.1/",
    "http://[2001:db8::1]/",
    "http://[5f00::1]/",
    "http://[4000::1]/",
];

/// Not HTTP, or a port that speaks something else.
const OTHER: [&str; 12] = [
    "file:///etc/passwd",
    "ftp://127.0.0.1:PORT/",
    "gopher://127.0.0.1:PORT/_x",
    "dict://127.0.0.1:PORT/stats",
    "data:text/plain,x",
    "unix:/run/docker.sock",
    "http://1.1.1.1:0/",
    "http://example.com:00000/",
    "http://1.1.1.1:25/",
    "http://1.1.1.1:22/",
    "http://1.1.1.1:6667/",
    "https://1.1.1.1:993/",
];

/// Not even addresses: there is no way to ask for them.
const NO_ADDRESS: [&str; 8] = [
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1/",
    "http://256.0.0.1/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.0x100/",
    "http://exam ple.com/",
    "//127.0.0.1/",
];

#[tokio::test]
async fn every_known_trick_is_refused_before_a_connection() {
    let forbidden = Forbidden::listen();
    forbidden.assert_reachable();
    let port = forbidden.port().to_string();
    let client = client();
    let tricks = THIS_MACHINE
        .iter()
        .chain(&WITH_USER)
        .chain(&PRIVATE)
        .chain(&OTHER);
    for trick in tricks {
        let url: Url = trick.replace("PORT", &port).parse().unwrap();
        let error = client.send(get(url.as_str(), Trust::Foreign)).await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{trick}: {error:?}");
        let told = (error.kind(), error.is_transient());
        assert_eq!(told, (Kind::Malformed, false), "{trick}");
        assert!(client.check(&url, Trust::Foreign).is_err(), "{trick}");
        forbidden.assert_untouched(trick);
    }
    for text in NO_ADDRESS {
        assert!(text.parse::<Url>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_name_is_refused_for_what_it_leads_to() {
    let forbidden = Forbidden::listen();
    let port = forbidden.port();
    for address in [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "::",
        "::ffff:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "2002:7f00:1::",
        "169.254.169.254",
        "10.0.0.1",
        "100.64.0.1",
        "192.168.1.1",
        "fd00::1",
        "fe80::1",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let names = Names::always(&[address]);
        let client = Client::with_resolver(&OutboundOptions::default(), names.clone()).unwrap();
        for name in [
            "shop.example",
            "127.0.0.1.nip.example",
            "xn--nxasmq6b.example",
        ] {
            let call = get(&format!("http://{name}:{port}/"), Trust::Foreign);
            let error = client.send(call).await.unwrap_err();
            assert!(
                matches!(error, Error::Refused { .. }),
                "{address}: {error:?}"
            );
            forbidden.assert_untouched(address);
        }
        assert_eq!(names.lookups(), 3, "each name is looked up once");
    }
    // A name that is not known is no refusal: it may be known later.
    let nowhere = Client::with_resolver(&OutboundOptions::default(), Names::always(&[])).unwrap();
    let unknown = nowhere
        .send(get("http://shop.example/", Trust::Foreign))
        .await;
    let unknown = unknown.unwrap_err();
    assert!(matches!(unknown, Error::Connect { .. }), "{unknown:?}");
    assert!(unknown.is_transient());
}

/// One of the addresses of this machine stands for the public internet, the others for what is private.
fn public_is(address: &str) -> OutboundOptions {
    OutboundOptions {
        allow_cidrs: vec![format!("{address}/32").parse().unwrap()],
        ..OutboundOptions::default()
    }
}

#[tokio::test]
async fn a_name_that_changes_its_address_reaches_nothing_private() {
    let forbidden = Forbidden::listen_at("127.0.0.1");
    let port = forbidden.port();
    // The same port, at the one address that counts as public here.
    let close = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
    let server = Server::start_at("127.0.0.2", port, Then::Close(close)).await;
    let url = format!("http://shop.example:{port}/");
    let client = |names: &Names| Client::with_resolver(&public_is("127.0.0.2"), names.clone());

    // Good at the check, bad at the next lookup: there is one lookup for a connection, and it is checked.
    let names = Names::each(&[&["127.0.0.2"], &["127.0.0.1"], &["127.0.0.2"]]);
    let rebound = client(&names).unwrap();
    let send = || rebound.send(get(&url, Trust::Foreign));
    assert_eq!(send().await.unwrap().status, 204);
    assert_eq!(names.lookups(), 1);
    let error = send().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(error.is_transient(), "it may change again");
    assert_eq!(send().await.unwrap().status, 204);
    assert_eq!((names.lookups(), server.connections()), (3, 2));

    // Two answers at once, the private one first or last.
    for both in [["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"]] {
        let names = Names::always(&both);
        let answer = client(&names)
            .unwrap()
            .send(get(&url, Trust::Foreign))
            .await;
        assert_eq!(answer.unwrap().status, 204);
    }
    forbidden.assert_untouched("the private one of two addresses");

    // The public one does not listen: the private one is no way out.
    let names = Names::always(&["127.0.0.3", "127.0.0.1"]);
    let client = Client::with_resolver(&public_is("127.0.0.3"), names).unwrap();
    let error = client.send(get(&url, Trust::Foreign)).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    forbidden.assert_untouched("the way out");
}

#[tokio::test]
async fn each_address_that_is_allowed_is_reached() {
    let none = Then::Answer("HTTP/1.1 204 No Content\r\n\r\n".into());
    let server = Server::start(none).await;
    let port = server.address.port();
    let ranges = |range: &str| OutboundOptions {
        allow_cidrs: vec![range.parse().unwrap()],
        ..OutboundOptions::default()
    };
    let dev = OutboundOptions {
        allow_loopback: true,
        ..OutboundOptions::default()
    };
    let nothing = OutboundOptions::default();
    for (options, trust, urls) in [
        // What the operator wrote, however it is written.
        (
            &nothing,
            Trust::Configured,
            &[
                "127.0.0.1",
                "localhost",
                "2130706433",
                "0x7f.1",
                "[::ffff:127.0.0.1]",
            ][..],
        ),
        (
            &dev,
            Trust::Foreign,
            &["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"],
        ),
        (
            &ranges("127.0.0.0/8"),
            Trust::Foreign,
            &["127.0.0.1", "localhost", "0177.0.0.1"],
        ),
        (
            &ranges("127.0.0.1/32"),
            Trust::Foreign,
            &["127.0.0.1", "2130706433"],
        ),
        (&nothing, Trust::Configured, &["shop.example"]),
        (&dev, Trust::Foreign, &["shop.example", "SHOP.example."]),
    ] {
        let client = Client::with_resolver(options, Names::always(&["127.0.0.1"])).unwrap();
        for host in urls {
            let call = get(&format!("http://{host}:{port}/"), trust);
            assert_eq!(client.send(call).await.unwrap().status, 204, "{host}");
        }
    }
    // Nothing listens there, but the guard lets it out.
    let open = Client::new(&ranges("0.0.0.0/0")).unwrap();
    let closed = Client::new(&nothing).unwrap();
    for (url, is_public) in [
        ("http://1.1.1.1/", true),
        ("https://[2606:4700::1111]/", true),
        ("http://shop.example:8080/", true),
        ("http://10.0.0.1/", false),
    ] {
        let url = url.parse().unwrap();
        assert_eq!(
            closed.check(&url, Trust::Foreign).is_ok(),
            is_public,
            "{url}"
        );
        assert!(open.check(&url, Trust::Foreign).is_ok(), "{url}");
        assert!(closed.check(&url, Trust::Configured).is_ok(), "{url}");
    }
}

#[tokio::test]
async fn a_redirect_to_what_is_private_is_only_an_answer() {
    let forbidden = Forbidden::listen();
    let port = forbidden.port();
    let server_of = |answer: String| Server::start(Then::Answer(answer));
    for status in [301, 302, 303, 307, 308] {
        let to = format!("http://127.0.0.1:{port}/");
        let head = format!("HTTP/1.1 {status} Moved\r\nlocation: {to}\r\ncontent-length: 0\r\n");
        // The other ways that browsers know to go somewhere else.
        let server = server_of(format!(
            "{head}refresh: 0; url={to}\r\nlink: <{to}>\r\n\r\n"
        ))
        .await;
        let options = public_is("127.0.0.2");
        let client = Client::with_resolver(&options, Names::always(&["127.0.0.2"])).unwrap();
        let at_public = Server::forward_from("127.0.0.2", server.address).await;
        let url = format!("http://shop.example:{}/", at_public.port());
        let answer = client.send(get(&url, Trust::Foreign)).await.unwrap();
        assert_eq!((answer.status, answer.is_success()), (status, false));
        forbidden.assert_untouched("a redirect was followed");
    }
}
