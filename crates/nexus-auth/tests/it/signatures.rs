//! Which headers count as a signature, and that nothing near a right one does.

use data_encoding::{BASE64, HEXLOWER};
use nexus_auth::{AuthOptions, LiveSecret, NodeOptions, Secret};
use nexus_core::{Catalogue, Clock};
use proptest::prelude::*;

use crate::support::*;

const PLAIN: &str = "x-nexus-signature";

#[test]
fn forms_of_a_plain_signature() {
    let auth = auth(&smallest());
    let right = hex(DEFAULT, BODY);
    let wrong = hex("wrong", BODY);
    let accepted = [
        right.clone(),
        right.to_uppercase(),
        format!("sha256={right}"),
        format!(" {right} "),
        format!("{wrong},{right}"),
        format!("{wrong}, sha256={right}"),
        format!("nonsense,,{right}"),
    ];
    for value in &accepted {
        assert!(
            verify(&auth, &[(PLAIN, value)], None, BODY).is_ok(),
            "{value}"
        );
    }
    let refused = [
        String::new(),
        wrong.clone(),
        right[1..].to_owned(),
        format!("{right}0"),
        format!("sha1={right}"),
        format!("{right} {right}"),
        BASE64.encode(&code(DEFAULT.as_bytes(), BODY)),
    ];
    for value in &refused {
        assert!(
            verify(&auth, &[(PLAIN, value)], None, BODY).is_err(),
            "{value}"
        );
    }
    let several = [(PLAIN, wrong.as_str()), (PLAIN, right.as_str())];
    assert!(verify(&auth, &several, None, BODY).is_ok());
    assert!(verify(&auth, &[], None, BODY).is_err());
}

#[test]
fn codes_beyond_the_sixteenth_are_not_looked_at() {
    let auth = auth(&smallest());
    let (right, wrong) = (hex(DEFAULT, BODY), hex("wrong", BODY));
    let after = |count: usize| format!("{}{right}", format!("{wrong},").repeat(count));
    assert!(verify(&auth, &[(PLAIN, &after(15))], None, BODY).is_ok());
    assert!(verify(&auth, &[(PLAIN, &after(16))], None, BODY).is_err());
}

#[test]
fn the_header_of_flowpay_counts_on_its_path_only() {
    let auth = auth(&with_flowpay());
    let signature = hex(FLOWPAY, BODY);
    let pairs = [("x-flowpay-signature", signature.as_str())];
    let on = |path| who(verify(&auth, &pairs, path, BODY));
    assert_eq!(on(Some("flowpay")).as_deref(), Some("node:flowpay"));
    assert_eq!(on(Some("smart-factory")), None);
    assert_eq!(on(None), None);
}

#[test]
fn complete_standard_webhooks_headers_are_the_claim() {
    let auth = auth(&smallest());
    let plain = hex(DEFAULT, BODY);
    let now = NOW_S.to_string();
    let right = standard(DEFAULT.as_bytes(), "msg_1", NOW_S, BODY);
    let wrong = standard(b"wrong", "msg_1", NOW_S, BODY);
    let with = |signature: &str| {
        let pairs = [
            (PLAIN, plain.as_str()),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", &now),
            ("webhook-signature", signature),
        ];
        verify(&auth, &pairs, None, BODY).is_ok()
    };
    assert!(with(&right));
    assert!(!with(&wrong), "a plain signature must not outvote them");
    // An id alone is a request key, not a claim.
    let pairs = [(PLAIN, plain.as_str()), ("webhook-id", "msg_1")];
    assert!(verify(&auth, &pairs, None, BODY).is_ok());
    let pairs = [
        ("webhook-id", "msg_1"),
        ("webhook-signature", right.as_str()),
    ];
    assert!(verify(&auth, &pairs, None, BODY).is_err());
}

#[test]
fn what_makes_standard_webhooks_headers_ambiguous_is_refused() {
    let auth = auth(&smallest());
    let right = standard(DEFAULT.as_bytes(), "msg_1", NOW_S, BODY);
    let now = NOW_S.to_string();
    let base = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", now.as_str()),
        ("webhook-signature", right.as_str()),
    ];
    assert!(verify(&auth, &base, None, BODY).is_ok());
    for again in &base[..2] {
        let pairs = [&base[..], &[*again]].concat();
        assert!(
            verify(&auth, &pairs, None, BODY).is_err(),
            "{again:?} twice"
        );
    }
    for timestamp in [
        "",
        "-1",
        "+1763712000",
        "1e9",
        "99999999999999999999999",
        "1763712000.5",
    ] {
        let pairs = [base[0], ("webhook-timestamp", timestamp), base[2]];
        assert!(verify(&auth, &pairs, None, BODY).is_err(), "{timestamp:?}");
    }
    // Signed over exactly these, so that only the rule about the timestamp can refuse.
    for (offset_s, accepted) in [(-301, false), (-300, true), (300, true), (301, false)] {
        let then = NOW_S + offset_s;
        let signature = standard(DEFAULT.as_bytes(), "msg_1", then, BODY);
        let then = then.to_string();
        let pairs = [
            base[0],
            ("webhook-timestamp", &then),
            ("webhook-signature", &signature),
        ];
        assert_eq!(
            verify(&auth, &pairs, None, BODY).is_ok(),
            accepted,
            "{offset_s} s"
        );
    }
}

#[test]
fn a_node_is_named_or_looked_for() {
    let options = AuthOptions {
        nodes: vec![
            NodeOptions::new("flowpay").secret(Secret::new(FLOWPAY)),
            NodeOptions {
                signature_only: true,
                ..NodeOptions::new("smart-factory").secret(Secret::new(FACTORY))
            },
            NodeOptions::new("neobot"),
        ],
        ..smallest()
    };
    let auth = auth(&options);
    let large = vec![b'x'; 64 * 1024];
    let larger = vec![b'x'; 64 * 1024 + 1];
    let found = |secret: &str, named: Option<&str>, path: Option<&str>, body: &[u8]| {
        let signature = hex(secret, body);
        let mut pairs = vec![(PLAIN, signature.as_str())];
        pairs.extend(named.map(|id| ("x-nexus-node", id)));
        who(verify(&auth, &pairs, path, body))
    };
    let (default, flowpay, factory) = ("node:default", "node:flowpay", "node:smart-factory");
    for (secret, named, path, body, expected) in [
        (FLOWPAY, Some("flowpay"), None, BODY, Some(flowpay)),
        (
            FLOWPAY,
            Some("flowpay"),
            Some("smart-factory"),
            BODY,
            Some(flowpay),
        ),
        (DEFAULT, Some("flowpay"), None, BODY, None),
        (DEFAULT, Some("flowpay"), Some("flowpay"), BODY, None),
        (DEFAULT, Some("default"), None, BODY, Some(default)),
        (DEFAULT, Some("nobody"), None, BODY, None),
        (DEFAULT, Some("neobot"), None, BODY, None),
        (DEFAULT, Some(""), None, BODY, None),
        (FLOWPAY, None, Some("flowpay"), BODY, Some(flowpay)),
        (DEFAULT, None, Some("flowpay"), BODY, Some(default)),
        (DEFAULT, None, Some("nobody"), BODY, Some(default)),
        (FACTORY, None, Some("flowpay"), BODY, None),
        (FLOWPAY, None, None, BODY, None),
        (FACTORY, None, None, BODY, Some(factory)),
        (FACTORY, None, None, &large, Some(factory)),
        (FACTORY, None, None, &larger, None),
        (DEFAULT, None, None, &larger, Some(default)),
        (FACTORY, Some("smart-factory"), None, &larger, Some(factory)),
    ] {
        let who = found(secret, named, path, body);
        assert_eq!(
            who.as_deref(),
            expected,
            "{secret} {named:?} {path:?} {}",
            body.len()
        );
    }
    let signature = hex(FLOWPAY, BODY);
    let twice = [
        (PLAIN, signature.as_str()),
        ("x-nexus-node", "flowpay"),
        ("x-nexus-node", "flowpay"),
    ];
    assert_eq!(who(verify(&auth, &twice, None, BODY)), None);
}

#[test]
fn a_replaced_secret_counts_until_its_grace_ends() {
    let options = AuthOptions {
        default_secrets: vec![
            LiveSecret {
                secret: Secret::new(FACTORY),
                not_after_us: Some((NOW_S + 60) * 1_000_000),
            },
            Secret::new(DEFAULT).into(),
        ],
        ..AuthOptions::default()
    };
    let clock = Clock::manual(NOW_S * 1_000_000);
    let auth = nexus_auth::Auth::new(&options, &Catalogue::known(), clock.clone()).unwrap();
    let (old, new) = (hex(FACTORY, BODY), hex(DEFAULT, BODY));
    let holds = |code: &str| verify(&auth, &[(PLAIN, code)], None, BODY).is_ok();
    assert!(holds(&old) && holds(&new));
    let signed = auth.signer("default").unwrap().sign("m", NOW_S, BODY);
    assert_eq!(
        signed[0].1,
        new.as_str(),
        "what is sent is signed with the new secret"
    );
    assert!(auth.token(FACTORY).is_ok());
    clock.advance_us(60_000_000);
    assert!(holds(&old));
    clock.advance_us(1);
    assert!(!holds(&old) && holds(&new) && auth.token(FACTORY).is_err());
}

#[test]
fn an_answer_is_signed_with_the_receivers_secret() {
    let auth = auth(&with_flowpay());
    let code_for = |node| {
        auth.signer(node).unwrap().sign("m", NOW_S, BODY)[0]
            .1
            .clone()
    };
    assert_eq!(code_for("flowpay"), hex(FLOWPAY, BODY).as_str());
    assert_eq!(code_for("neobot"), hex(DEFAULT, BODY).as_str());
    assert!(
        crate::support::auth(&AuthOptions::default())
            .signer("flowpay")
            .is_none()
    );
    // An id that no receiver could verify is not sent as one.
    let signer = auth.signer("flowpay").unwrap();
    for id in ["", "a.b", "a b", "a\nb", "é"] {
        assert_eq!(signer.sign(id, NOW_S, BODY).len(), 1, "{id:?}");
    }
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// Two spellings of one signature: the case of hexadecimal digits does not count.
fn same_hex(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

proptest! {
    #[test]
    fn any_one_flipped_bit_is_refused(body in prop::collection::vec(any::<u8>(), 1..64)) {
        let auth = auth(&smallest());
        let now = NOW_S.to_string();
        let plain = |text: &[u8], body: &[u8]| {
            let Ok(value) = http::HeaderValue::from_bytes(text) else { return false };
            let headers = [(nexus_auth::SIGNATURE_HEADER, value)].into_iter().collect();
            let request = nexus_auth::SignedRequest { headers: &headers, body, path_node: None };
            auth.verify(&request).is_ok()
        };
        let standard_headers = headers(&[("webhook-id", "m_1"), ("webhook-timestamp", &now)]);
        let signed = |text: &[u8], body: &[u8]| {
            let Ok(value) = http::HeaderValue::from_bytes(text) else { return false };
            let mut headers = standard_headers.clone();
            headers.insert(nexus_auth::WEBHOOK_SIGNATURE_HEADER, value);
            let request = nexus_auth::SignedRequest { headers: &headers, body, path_node: None };
            auth.verify(&request).is_ok()
        };
        let right = code(DEFAULT.as_bytes(), &body);
        let hex_text = HEXLOWER.encode(&right).into_bytes();
        let standard_text = standard(DEFAULT.as_bytes(), "m_1", NOW_S, &body).into_bytes();
        prop_assert!(plain(&hex_text, &body) && signed(&standard_text, &body));

        for bit in 0..body.len() * 8 {
            let other = flipped(&body, bit);
            prop_assert!(!plain(&hex_text, &other) && !signed(&standard_text, &other), "{bit}");
        }
        for bit in 0..right.len() * 8 {
            let other = HEXLOWER.encode(&flipped(&right, bit));
            prop_assert!(!plain(other.as_bytes(), &body), "{bit}");
        }
        for bit in 0..hex_text.len() * 8 {
            let other = flipped(&hex_text, bit);
            prop_assert!(same_hex(&hex_text, &other) || !plain(&other, &body), "{bit}");
        }
        for bit in 0..standard_text.len() * 8 {
            prop_assert!(!signed(&flipped(&standard_text, bit), &body), "{bit}");
        }
    }

    #[test]
    fn any_headers_are_answered_without_a_panic(
        values in prop::collection::vec((0_usize..6, prop::collection::vec(any::<u8>(), 0..80)), 0..8),
        body in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let names = [
            "x-nexus-signature", "x-nexus-node", "webhook-id", "webhook-timestamp",
            "webhook-signature", "authorization",
        ];
        let mut headers = http::HeaderMap::new();
        for (name, value) in values {
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                headers.append(names[name], value);
            }
        }
        let auth = auth(&AuthOptions { signed_get: true, ..with_flowpay() });
        let request = nexus_auth::SignedRequest { headers: &headers, body: &body, path_node: None };
        prop_assert!(auth.verify(&request).is_err());
        prop_assert!(auth.bearer(&headers).is_err());
        prop_assert!(auth.reader(&headers).is_err());
    }
}
