//! Bearer tokens, signed reads, scopes, and what a reload does to them.

use nexus_auth::{Auth, AuthOptions, Error, NodeOptions, Secret, TokenOptions, TokenValue};
use nexus_core::{Catalogue, Clock, Coded, Kind, Scope, Scopes, Topic, sha256};

use crate::support::*;

const ADMIN: &str = "admin-token-0123456789abcdef0123456789";
const STREAM: &str = "stream-token-0123456789abcdef0123456789";

fn token(name: &str, value: &str, scopes: &[Scope]) -> TokenOptions {
    TokenOptions {
        name: name.into(),
        value: TokenValue::Plain(Secret::new(value)),
        scopes: scopes.iter().copied().collect(),
        read: None,
        publish: None,
        not_after_us: None,
    }
}

fn with_tokens(tokens: Vec<TokenOptions>) -> AuthOptions {
    AuthOptions {
        admin_token: Some(Secret::new(ADMIN)),
        tokens,
        ..with_flowpay()
    }
}

#[test]
fn who_a_token_belongs_to_and_what_it_may() {
    let topic = Topic::parse("payment.received").unwrap();
    let auth = auth(&with_tokens(vec![
        TokenOptions {
            read: Some(vec!["PAYMENT_RECEIVED".into()]),
            ..token("ana", STREAM, &[Scope::Read])
        },
        TokenOptions {
            value: TokenValue::Digest(sha256(b"by-its-digest")),
            publish: Some(vec!["mint.*".into()]),
            ..token("bob", "", &[Scope::Publish])
        },
    ]));
    let admin = auth.token(ADMIN).unwrap();
    assert_eq!(admin.source().as_str(), "user:admin");
    assert!(
        Scope::ALL
            .iter()
            .all(|scope| auth.require(&admin, *scope).is_ok())
    );
    assert!(admin.may_publish(&topic, false) && !admin.may_publish(&topic, true));

    let ana = auth.token(STREAM).unwrap();
    assert_eq!(ana.source().as_str(), "user:ana");
    assert!(ana.readable().matches(&topic) && !ana.may_publish(&topic, false));
    assert!(
        !ana.readable()
            .matches(&Topic::parse("mint.failed").unwrap())
    );
    let refusal = auth.require(&ana, Scope::Operate).unwrap_err();
    assert_eq!(
        (refusal.kind(), refusal.code()),
        (Kind::Forbidden, "not-permitted")
    );

    let bob = auth.token("by-its-digest").unwrap();
    assert!(bob.may_publish(&Topic::parse("mint.failed").unwrap(), false));
    assert!(!bob.may_publish(&topic, false) && bob.readable().is_empty());

    let node = auth.token(FLOWPAY).unwrap();
    assert_eq!(node.source().as_str(), "node:flowpay");
    assert!(auth.require(&node, Scope::Read).is_ok() && node.readable().matches(&topic));
    assert!(
        !node.may_publish(&topic, false),
        "publishing needs a signature"
    );

    for wrong in ["", "x", &STREAM[1..], &format!("{STREAM} ")] {
        assert!(
            matches!(auth.token(wrong), Err(Error::Unauthorized)),
            "{wrong:?}"
        );
    }
}

#[test]
fn the_authorization_header_carries_one_bearer_token() {
    let auth = auth(&smallest());
    for (value, accepted) in [
        (format!("Bearer {DEFAULT}"), true),
        (format!("bearer   {DEFAULT} "), true),
        (format!("Basic {DEFAULT}"), false),
        (DEFAULT.to_owned(), false),
        ("Bearer ".to_owned(), false),
        ("Bearer".to_owned(), false),
    ] {
        let headers = headers(&[("authorization", &value)]);
        assert_eq!(auth.bearer(&headers).is_ok(), accepted, "{value:?}");
        assert_eq!(auth.reader(&headers).is_ok(), accepted, "{value:?}");
    }
    let bearer = format!("Bearer {DEFAULT}");
    let twice = headers(&[("authorization", &bearer), ("authorization", &bearer)]);
    assert!(auth.bearer(&twice).is_err());
    assert!(auth.bearer(&headers(&[])).is_err());
}

#[test]
fn a_get_is_signed_over_the_empty_body_where_that_is_allowed() {
    let blind = NodeOptions {
        read: Some(Vec::new()),
        ..NodeOptions::new("smart-factory").secret(Secret::new(FACTORY))
    };
    let mut options = with_flowpay();
    options.nodes.push(blind);
    options.signed_get = true;
    let open = auth(&options);
    let closed = auth(&AuthOptions {
        signed_get: false,
        ..options
    });
    let signed = |secret: &str, node: &str, body: &[u8]| {
        headers(&[
            ("x-nexus-signature", &hex(secret, body)),
            ("x-nexus-node", node),
        ])
    };
    let right = signed(FLOWPAY, "flowpay", b"");
    let reader = open.reader(&right).unwrap();
    assert_eq!(reader.source().as_str(), "node:flowpay");
    assert!(open.require(&reader, Scope::Read).is_ok());
    assert!(!reader.may_publish(&Topic::parse("payment.received").unwrap(), false));
    assert!(closed.reader(&right).is_err());
    assert!(open.reader(&signed(FLOWPAY, "flowpay", b"x")).is_err());
    assert!(
        open.reader(&signed(FACTORY, "smart-factory", b"")).is_err(),
        "it may not read"
    );
    assert!(open.token(FACTORY).is_err(), "it may not read");
    let grant = open.reader_grant(&right).unwrap();
    assert!(open.renew(&grant).is_ok() && closed.renew(&grant).is_err());
    // A wrong token is not made good by a signature.
    let mut both = right.clone();
    both.insert("authorization", "Bearer wrong".parse().unwrap());
    assert!(open.reader(&both).is_err());
}

#[test]
fn a_stream_notices_that_its_token_ended() {
    let clock = Clock::manual(NOW_S * 1_000_000);
    let expiring = TokenOptions {
        not_after_us: Some((NOW_S + 10) * 1_000_000),
        ..token("ana", STREAM, &[Scope::Read])
    };
    let options = with_tokens(vec![expiring]);
    let auth = Auth::new(&options, &Catalogue::known(), clock.clone()).unwrap();
    let changes = auth.changes();
    let grant = auth.grant(STREAM).unwrap();
    assert_eq!(grant.not_after_us, Some((NOW_S + 10) * 1_000_000));
    assert!(!format!("{grant:?}").contains(STREAM));
    clock.advance_us(10_000_000);
    assert!(auth.renew(&grant).is_ok());
    clock.advance_us(1);
    assert!(auth.renew(&grant).is_err() && auth.token(STREAM).is_err());

    // Prolonged by a reload: the same grant holds again, with the rights of now.
    let operate = with_tokens(vec![token("ana", STREAM, &[Scope::Read, Scope::Operate])]);
    auth.replace(&operate, &Catalogue::known()).unwrap();
    assert!(changes.has_changed().unwrap());
    let renewed = auth.clone().renew(&grant).unwrap();
    assert!(renewed.principal.scopes().has(Scope::Operate) && renewed.not_after_us.is_none());

    // Taken away.
    auth.replace(&with_tokens(Vec::new()), &Catalogue::known())
        .unwrap();
    assert!(auth.renew(&grant).is_err());
    assert_eq!(*changes.borrow(), 2);
}

#[test]
fn a_reload_that_is_refused_changes_nothing() {
    let auth = auth(&smallest());
    let changes = auth.changes();
    let broken = AuthOptions {
        production: true,
        ..AuthOptions::default()
    };
    assert_eq!(
        auth.replace(&broken, &Catalogue::known())
            .unwrap_err()
            .len(),
        1
    );
    assert!(!changes.has_changed().unwrap());
    assert!(auth.token(DEFAULT).is_ok());
}

#[test]
fn digests_are_read_as_hexadecimal() {
    let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015AD";
    let Ok(TokenValue::Digest(digest)) = TokenValue::digest(text) else {
        panic!("it is a digest")
    };
    assert_eq!(digest, sha256(b"abc"));
    for wrong in [
        "",
        "ab",
        &text[1..],
        &format!("{text}00"),
        &text.replace('b', "g"),
    ] {
        assert!(
            matches!(TokenValue::digest(wrong), Err(Error::DigestInvalid)),
            "{wrong:?}"
        );
    }
    assert_eq!(Scopes::NONE, token("x", "y", &[]).scopes);
}
