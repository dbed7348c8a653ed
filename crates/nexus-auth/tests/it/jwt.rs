//! JSON Web Tokens that others made: which count, for how long, and what they let their users do.

use http::HeaderMap;
use nexus_auth::{
    Auth, AuthOptions, Error, JWT_LEEWAY_S, JwkSet, JwtOptions, Secret, TokenOptions, TokenValue,
};
use nexus_core::{Catalogue, Clock, Scope, Topic};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

/// Between the beginning and the end of the vectors' tokens, in microseconds since 1970.
const NOW_US: i64 = 1_795_266_000_000_000;
const ENDS_US: i64 = 1_795_269_600_000_000;
const BEGINS_US: i64 = 1_795_262_400_000_000;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/jwt.json")).unwrap()
}

fn options(vectors: &Value) -> JwtOptions {
    JwtOptions {
        secret: Some(Secret::new(vectors["secret"].as_str().unwrap())),
        issuer: Some("https://id.example".into()),
        audience: Some("nexus".into()),
    }
}

fn open(jwt: JwtOptions, clock: &Clock) -> Auth {
    let options = AuthOptions {
        jwt: Some(jwt),
        ..smallest()
    };
    Auth::new(&options, &Catalogue::known(), clock.clone()).unwrap()
}

fn keys(vectors: &Value) -> JwkSet {
    JwkSet::parse(vectors["jwks"].to_string().as_bytes()).unwrap()
}

/// A token that is signed with the secret of the vectors.
fn signed(header: &Value, claims: &Value) -> String {
    let encode =
        |value: &Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let vectors = vectors();
    let key = vectors["secret"].as_str().unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
    let code = ring::hmac::sign(&key, signed.as_bytes());
    format!(
        "{signed}.{}",
        data_encoding::BASE64URL_NOPAD.encode(code.as_ref())
    )
}

fn hs256(claims: &Value) -> String {
    signed(&json!({ "alg": "HS256" }), claims)
}

#[test]
fn tokens_that_others_signed_are_read_as_they_wrote_them() {
    let vectors = vectors();
    let auth = open(options(&vectors), &Clock::manual(NOW_US));
    auth.set_jwks(keys(&vectors));
    for algorithm in ["HS256", "RS256", "ES256", "EdDSA"] {
        let token = vectors["tokens"][algorithm].as_str().unwrap();
        let grant = auth.grant(token).unwrap();
        assert_eq!(grant.principal.source().as_str(), "user:ana", "{algorithm}");
        assert_eq!(grant.not_after_us, Some(ENDS_US + JWT_LEEWAY_S * 1_000_000));
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        assert!(auth.bearer(&headers).is_ok(), "{algorithm}");
        assert!(auth.renew(&grant).is_ok(), "{algorithm}");
        assert!(!format!("{grant:?}").contains(token));
        // One letter of any part, and it is nobody's.
        for place in [
            token.find('.').unwrap() - 2,
            token.rfind('.').unwrap() - 2,
            token.len() - 3,
        ] {
            let mut bytes = token.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert!(
                matches!(auth.token(&forged), Err(Error::Unauthorized)),
                "{algorithm} {place}"
            );
        }
    }
    let confused = vectors["tokens"]["confused"].as_str().unwrap();
    assert!(auth.token(confused).is_err());
}

#[test]
fn tokens_that_are_not_signed_by_a_key_of_theirs_do_not_count() {
    let vectors = vectors();
    let auth = open(options(&vectors), &Clock::manual(NOW_US));
    let token = |name: &str| vectors["tokens"][name].as_str().unwrap();
    // No keys are known yet.
    assert!(auth.token(token("RS256")).is_err());
    auth.set_jwks(keys(&vectors));
    let claims = token("RS256").split('.').nth(1).unwrap();
    let encode = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let signature = token("HS256").rsplit('.').next().unwrap();
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
    ] {
        for signature in ["", signature] {
            let forged = format!("{}.{claims}.{signature}", encode(header));
            assert!(auth.token(&forged).is_err(), "{header}");
        }
    }
    let long = format!("{}.{}", token("HS256"), "A".repeat(9_000));
    for forged in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        &format!("{}=", token("HS256")),
        &long,
    ] {
        assert!(auth.token(forged).is_err(), "{forged:?}");
    }
    // A key of another name is another key.
    let mut other = vectors["jwks"].clone();
    for key in other["keys"].as_array_mut().unwrap() {
        key["kid"] = json!("another");
    }
    auth.set_jwks(JwkSet::parse(other.to_string().as_bytes()).unwrap());
    assert!(auth.token(token("ES256")).is_err());
    // Without options nothing counts.
    let without = Auth::new(&smallest(), &Catalogue::known(), Clock::manual(NOW_US)).unwrap();
    without.set_jwks(keys(&vectors));
    assert!(without.token(token("HS256")).is_err() && without.token(token("EdDSA")).is_err());
}

#[test]
fn tokens_count_from_their_beginning_to_their_end_for_whom_they_were_made() {
    let vectors = vectors();
    let clock = Clock::manual(BEGINS_US - JWT_LEEWAY_S * 1_000_000 - 1);
    let auth = open(options(&vectors), &clock);
    let token = vectors["tokens"]["HS256"].as_str().unwrap();
    assert!(auth.token(token).is_err());
    clock.advance_us(1);
    let grant = auth.grant(token).unwrap();
    clock.advance_us(ENDS_US + JWT_LEEWAY_S * 1_000_000 - clock.now_us());
    assert!(auth.renew(&grant).is_ok());
    clock.advance_us(1);
    assert!(auth.renew(&grant).is_err() && auth.token(token).is_err());

    let auth = open(options(&vectors), &Clock::manual(NOW_US));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = vectors["claims"].clone();
        change(&mut claims);
        auth.token(&hs256(&claims)).is_ok()
    };
    assert!(with(&|_| ()));
    assert!(with(&|claims| claims["aud"] = json!("nexus")));
    assert!(!with(&|claims| claims["aud"] = json!("other")));
    assert!(!with(&|claims| claims["aud"] = json!(["nexus2"])));
    assert!(!with(&|claims| claims["aud"] = Value::Null));
    assert!(!with(&|claims| claims["iss"] = json!("https://id.example/")));
    assert!(!with(&|claims| claims["iss"] = Value::Null));
    assert!(!with(&|claims| claims["exp"] = Value::Null));
    assert!(!with(&|claims| claims["sub"] = Value::Null));
}

#[test]
fn a_key_that_is_taken_away_ends_what_it_opened() {
    let vectors = vectors();
    let auth = open(options(&vectors), &Clock::manual(NOW_US));
    auth.set_jwks(keys(&vectors));
    let changes = auth.changes();
    let grant = auth
        .grant(vectors["tokens"]["ES256"].as_str().unwrap())
        .unwrap();
    let mut fewer = vectors["jwks"].clone();
    fewer["keys"]
        .as_array_mut()
        .unwrap()
        .retain(|key| key["kid"] != "ec-1");
    auth.set_jwks(JwkSet::parse(fewer.to_string().as_bytes()).unwrap());
    assert!(changes.has_changed().unwrap());
    assert!(auth.renew(&grant).is_err());
    let other = auth
        .grant(vectors["tokens"]["EdDSA"].as_str().unwrap())
        .unwrap();
    assert!(auth.renew(&other).is_ok());
    // So does a rule that it breaks from now on.
    let stricter = AuthOptions {
        jwt: Some(JwtOptions {
            audience: Some("elsewhere".into()),
            ..options(&vectors)
        }),
        ..smallest()
    };
    auth.replace(&stricter, &Catalogue::known()).unwrap();
    assert!(auth.renew(&other).is_err());
}

#[test]
fn a_user_may_what_the_token_says_and_is_never_somebody_with_a_token() {
    let vectors = vectors();
    let options = AuthOptions {
        jwt: Some(options(&vectors)),
        admin_token: Some(Secret::new("admin-token-0123456789abcdef0123456789")),
        tokens: vec![TokenOptions {
            name: "bob".into(),
            value: TokenValue::Plain(Secret::new("bob-token-0123456789abcdef0123456789")),
            scopes: [Scope::Read].into_iter().collect(),
            read: None,
            publish: None,
            not_after_us: None,
        }],
        ..smallest()
    };
    let auth = Auth::new(&options, &Catalogue::known(), Clock::manual(NOW_US)).unwrap();
    let of = |sub: &str, scope: &str| {
        let mut claims = vectors["claims"].clone();
        claims["sub"] = json!(sub);
        claims["scope"] = json!(scope);
        auth.token(&hs256(&claims))
    };
    let payment = Topic::parse("payment.received").unwrap();
    let own = Topic::parse("job.completed").unwrap();
    let ana = of("ana", "openid read admin").unwrap();
    assert!(ana.readable().matches(&own) && !ana.readable().matches(&payment));
    assert!(!ana.may_publish(&payment, false) && auth.require(&ana, Scope::Operate).is_err());
    let ana = of("ana", "nexus:read nexus:publish nexus:operate").unwrap();
    assert!(ana.readable().matches(&payment) && ana.may_publish(&payment, false));
    assert!(
        auth.require(&ana, Scope::Operate).is_ok() && auth.require(&ana, Scope::Admin).is_err()
    );
    for taken in ["admin", "bob"] {
        assert!(of(taken, "").is_err(), "{taken}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_known_is_asked_for() {
    let vectors = vectors();
    let auth = open(options(&vectors), &Clock::manual(NOW_US));
    let wanted = auth.clone();
    let waiting = tokio::spawn(async move { wanted.jwks_wanted().await });
    // What nobody could have signed wants no key.
    assert!(auth.token("not.a.token").is_err());
    assert!(
        auth.token(vectors["tokens"]["confused"].as_str().unwrap())
            .is_err()
    );
    assert!(!waiting.is_finished());
    assert!(
        auth.token(vectors["tokens"]["RS256"].as_str().unwrap())
            .is_err()
    );
    waiting.await.unwrap();
}

proptest! {
    #[test]
    fn whatever_is_changed_of_a_token_it_does_not_count_any_more(
        which in 0_usize..4, place: prop::sample::Index, letter in "[A-Za-z0-9_.=-]",
    ) {
        let vectors = vectors();
        let auth = open(options(&vectors), &Clock::manual(NOW_US));
        auth.set_jwks(keys(&vectors));
        let algorithm = ["HS256", "RS256", "ES256", "EdDSA"][which];
        let token = vectors["tokens"][algorithm].as_str().unwrap();
        let place = place.index(token.len());
        let changed = format!("{}{letter}{}", &token[..place], &token[place + 1..]);
        prop_assert_eq!(auth.token(&changed).is_ok(), changed == token);
        let longer = format!("{}{letter}{}", &token[..place], &token[place..]);
        prop_assert!(auth.token(&longer).is_err());
    }
}
