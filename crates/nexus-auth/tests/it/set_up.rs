//! Which secret, which node, which topic, which mode: what the answer is, or why it does not start.

use std::collections::BTreeMap;

use nexus_auth::{AuthOptions, NodeOptions, Secret, TokenOptions, TokenValue};
use nexus_core::{Catalogue, DeclaredEvent, Scope, Topic};

use crate::support::*;

const PATH: Option<&str> = Some("flowpay");

fn permissions(entries: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    entries
        .iter()
        .map(|(node, events)| {
            let events = events.iter().map(|event| (*event).to_owned()).collect();
            ((*node).to_owned(), events)
        })
        .collect()
}

fn environment(id: &str, secret: &str) -> BTreeMap<String, Vec<nexus_auth::LiveSecret>> {
    [(id.to_owned(), vec![Secret::new(secret).into()])].into()
}

/// The known events and one that belongs to `wod-x-pro`.
fn catalogue() -> Catalogue {
    let workout = DeclaredEvent {
        topic: Topic::parse("workout.completed").unwrap(),
        name: None,
        owner: Some("wod-x-pro".into()),
        key: Vec::new(),
        schema: None,
    };
    Catalogue::new(vec![workout], false).unwrap()
}

/// What the HTTP face would answer to one signed event.
fn answer(
    options: &AuthOptions,
    secret: &str,
    named: Option<&str>,
    path: Option<&str>,
    topic: &str,
) -> u16 {
    let catalogue = catalogue();
    let auth = nexus_auth::Auth::new(options, &catalogue, clock()).unwrap();
    let signature = hex(secret, BODY);
    let mut pairs = vec![("x-nexus-signature", signature.as_str())];
    pairs.extend(named.map(|id| ("x-nexus-node", id)));
    let Ok(principal) = verify(&auth, &pairs, path, BODY) else {
        return 401;
    };
    let event_type = catalogue.resolve(topic).unwrap().event_type;
    if principal.may_publish(&event_type.topic, event_type.reserved) {
        200
    } else {
        403
    }
}

/// Set-up, options, secret, `X-Nexus-Node`, node of the path, topic, status.
type Row<'a> = (
    &'a str,
    &'a AuthOptions,
    &'a str,
    Option<&'a str>,
    Option<&'a str>,
    &'a str,
    u16,
);

#[test]
fn who_may_publish_what() {
    let alone = smallest();
    let in_environment = AuthOptions {
        environment_secrets: environment("flowpay", FLOWPAY),
        ..smallest()
    };
    let owned = with_flowpay();
    let listed = AuthOptions {
        nodes: vec![
            NodeOptions::new("flowpay")
                .secret(Secret::new(FLOWPAY))
                .publish(["MINT_FAILED", "FLOWPAY:PAYMENT_FAILED", "vote.*"]),
        ],
        ..smallest()
    };
    // The file has an entry for the environment's node, and one that the configuration overrides.
    let filed = AuthOptions {
        permissions: permissions(&[("flowpay", &["PAYMENT_RECEIVED", "work.*"])]),
        ..in_environment.clone()
    };
    let overridden = AuthOptions {
        permissions: permissions(&[("flowpay", &["PAYMENT_RECEIVED"])]),
        ..listed.clone()
    };
    let default_listed = AuthOptions {
        permissions: permissions(&[("flowpay", &["payment.*"]), ("default", &["mint.*"])]),
        ..in_environment.clone()
    };
    let default_only = AuthOptions {
        permissions: permissions(&[("default", &["mint.*"])]),
        ..smallest()
    };
    let silenced = AuthOptions {
        nodes: vec![NodeOptions {
            publish: Some(Vec::new()),
            ..NodeOptions::new("flowpay").secret(Secret::new(FLOWPAY))
        }],
        ..smallest()
    };
    let declared_owner = AuthOptions {
        environment_secrets: environment("wod-x-pro", FLOWPAY),
        ..smallest()
    };
    let (flowpay, wod) = (Some("flowpay"), Some("wod-x-pro"));
    let rows: &[Row<'_>] = &[
        // NEXUS_SECRET alone: everything that is not reserved.
        (
            "alone",
            &alone,
            DEFAULT,
            None,
            None,
            "payment.received",
            200,
        ),
        (
            "alone",
            &alone,
            DEFAULT,
            None,
            PATH,
            "payment.received",
            200,
        ),
        ("alone", &alone, DEFAULT, None, None, "help.needed", 200),
        (
            "alone",
            &alone,
            DEFAULT,
            None,
            None,
            "workout.completed",
            200,
        ),
        ("alone", &alone, DEFAULT, None, None, "work.claimed", 403),
        ("alone", &alone, DEFAULT, None, None, "nexus.start", 403),
        (
            "alone",
            &alone,
            "another secret",
            None,
            None,
            "payment.received",
            401,
        ),
        (
            "alone",
            &alone,
            DEFAULT,
            flowpay,
            None,
            "payment.received",
            401,
        ),
        // A secret in the environment makes a node, and takes nothing from the default one.
        (
            "environment",
            &in_environment,
            DEFAULT,
            None,
            None,
            "mint.failed",
            200,
        ),
        (
            "environment",
            &in_environment,
            DEFAULT,
            None,
            PATH,
            "payment.received",
            200,
        ),
        (
            "environment",
            &in_environment,
            FLOWPAY,
            None,
            PATH,
            "payment.received",
            200,
        ),
        (
            "environment",
            &in_environment,
            FLOWPAY,
            flowpay,
            None,
            "payment.failed",
            200,
        ),
        (
            "environment",
            &in_environment,
            FLOWPAY,
            flowpay,
            None,
            "mint.failed",
            403,
        ),
        (
            "environment",
            &in_environment,
            FLOWPAY,
            None,
            None,
            "payment.failed",
            401,
        ),
        // An entry without a list: the topics that it owns; the default node has lost its right.
        (
            "owned",
            &owned,
            FLOWPAY,
            flowpay,
            None,
            "payment.received",
            200,
        ),
        (
            "owned",
            &owned,
            FLOWPAY,
            flowpay,
            None,
            "mint.requested",
            403,
        ),
        ("owned", &owned, FLOWPAY, flowpay, None, "help.needed", 403),
        (
            "owned",
            &owned,
            DEFAULT,
            None,
            None,
            "payment.received",
            403,
        ),
        (
            "owned",
            &owned,
            DEFAULT,
            None,
            PATH,
            "payment.received",
            403,
        ),
        (
            "declared",
            &declared_owner,
            FLOWPAY,
            wod,
            None,
            "workout.completed",
            200,
        ),
        (
            "declared",
            &declared_owner,
            FLOWPAY,
            wod,
            None,
            "payment.received",
            403,
        ),
        // A list is all, in any of the three forms.
        (
            "listed",
            &listed,
            FLOWPAY,
            flowpay,
            None,
            "mint.failed",
            200,
        ),
        (
            "listed",
            &listed,
            FLOWPAY,
            flowpay,
            None,
            "payment.failed",
            200,
        ),
        ("listed", &listed, FLOWPAY, flowpay, None, "vote.cast", 200),
        (
            "listed",
            &listed,
            FLOWPAY,
            flowpay,
            None,
            "payment.received",
            403,
        ),
        (
            "silenced",
            &silenced,
            FLOWPAY,
            flowpay,
            None,
            "payment.received",
            403,
        ),
        // The file: reserved topics stay reserved, whatever matches them.
        (
            "filed",
            &filed,
            FLOWPAY,
            flowpay,
            None,
            "payment.received",
            200,
        ),
        (
            "filed",
            &filed,
            FLOWPAY,
            flowpay,
            None,
            "payment.failed",
            403,
        ),
        ("filed", &filed, FLOWPAY, flowpay, None, "work.claimed", 403),
        (
            "filed",
            &filed,
            DEFAULT,
            None,
            None,
            "payment.received",
            403,
        ),
        (
            "overridden",
            &overridden,
            FLOWPAY,
            flowpay,
            None,
            "payment.received",
            403,
        ),
        (
            "overridden",
            &overridden,
            FLOWPAY,
            flowpay,
            None,
            "mint.failed",
            200,
        ),
        // The default node with an entry like any other.
        (
            "default listed",
            &default_listed,
            DEFAULT,
            None,
            None,
            "mint.failed",
            200,
        ),
        (
            "default listed",
            &default_listed,
            DEFAULT,
            None,
            None,
            "payment.failed",
            403,
        ),
        (
            "default listed",
            &default_listed,
            FLOWPAY,
            flowpay,
            None,
            "payment.failed",
            200,
        ),
        (
            "default only",
            &default_only,
            DEFAULT,
            None,
            None,
            "mint.failed",
            200,
        ),
        (
            "default only",
            &default_only,
            DEFAULT,
            None,
            None,
            "payment.failed",
            403,
        ),
    ];
    for (name, options, secret, named, path, topic, expected) in rows {
        let status = answer(options, secret, *named, *path, topic);
        assert_eq!(
            status, *expected,
            "{name}: {secret} {named:?} {path:?} {topic}"
        );
    }
}

#[test]
fn weak_settings_are_refused_in_production_and_warned_of_elsewhere() {
    let short = AuthOptions {
        default_secrets: vec![Secret::new("test").into()],
        ..AuthOptions::default()
    };
    let exact = AuthOptions {
        default_secrets: vec![Secret::new("x".repeat(32)).into()],
        ..AuthOptions::default()
    };
    let weak_node = AuthOptions {
        nodes: vec![NodeOptions::new("flowpay").secret(Secret::new("short"))],
        ..smallest()
    };
    let weak_admin = AuthOptions {
        admin_token: Some(Secret::new("short")),
        ..smallest()
    };
    let dev = AuthOptions {
        admin_token: Some(Secret::new(DEFAULT)),
        ..smallest()
    };
    for (name, options, refused, warnings) in [
        ("smallest", &smallest(), false, 0),
        ("no secret", &AuthOptions::default(), true, 1),
        ("short", &short, true, 1),
        ("32 characters", &exact, false, 0),
        // The second warning is that the default node may publish nothing any more.
        ("weak node", &weak_node, true, 2),
        ("weak admin", &weak_admin, true, 1),
        ("the secret is the operator's token", &dev, true, 0),
    ] {
        let production = AuthOptions {
            production: true,
            ..options.clone()
        };
        assert_eq!(refusals(&production).len(), usize::from(refused), "{name}");
        assert_eq!(auth(options).warnings().len(), warnings, "{name}");
    }
    let signed_get = AuthOptions {
        production: true,
        signed_get: true,
        ..smallest()
    };
    assert_eq!(auth(&signed_get).warnings().len(), 1);
    assert_eq!(
        auth(&dev).token(DEFAULT).unwrap().source().as_str(),
        "user:admin"
    );
}

#[test]
fn every_reason_not_to_start_is_told_at_once() {
    let token = |name: &str, value: &str| TokenOptions {
        name: name.into(),
        value: TokenValue::Plain(Secret::new(value)),
        scopes: [Scope::Read].into_iter().collect(),
        read: Some(vec!["NO_SUCH_READ".into()]),
        publish: None,
        not_after_us: None,
    };
    let options = AuthOptions {
        production: true,
        default_secrets: vec![Secret::new("short").into()],
        nodes: vec![
            NodeOptions::new("flowpay")
                .secret(Secret::new(FLOWPAY))
                .publish(["NO_SUCH_EVENT", "payment.received", "no.such"]),
            NodeOptions::new("smart-factory").secret(Secret::new(FLOWPAY)),
            NodeOptions::new("Bad Id"),
            NodeOptions::new("neobot").secret(Secret::new("whsec_*")),
            NodeOptions::new("neobot"),
        ],
        permissions: permissions(&[("smart-factory", &["NEITHER"])]),
        tokens: vec![
            token("ana", FACTORY),
            token("ana", "a-second-token-0123456789abcdef01234"),
            token("", "a-third-token-0123456789abcdef012345"),
            token("bob", FLOWPAY),
        ],
        ..AuthOptions::default()
    };
    let refusals = refusals(&options).join("\n");
    for expected in [
        "the secret of node default has 5 characters",
        "the permissions of node flowpay name \"NO_SUCH_EVENT\"",
        "the permissions of node flowpay name \"no.such\"",
        "the permissions of node smart-factory name \"NEITHER\"",
        "node flowpay and node smart-factory have the same secret",
        "\"Bad Id\" is no id of a node",
        "the node neobot is configured twice",
        "the permissions of the token ana name \"NO_SUCH_READ\"",
        "the token \"ana\" is configured twice",
        "\"\" is no name of a token",
        "and the token bob have the same secret",
    ] {
        assert!(refusals.contains(expected), "{expected}\nin\n{refusals}");
    }
    assert!(
        !refusals.contains(FLOWPAY) && !refusals.contains("short\n"),
        "secrets are not told"
    );
}

#[test]
fn a_secret_tells_one_node_only() {
    let pair = |one: &str, other: &str| {
        refusals(&AuthOptions {
            nodes: vec![
                NodeOptions::new("a").secret(Secret::new(one)),
                NodeOptions::new("b").secret(Secret::new(other)),
            ],
            ..smallest()
        })
    };
    assert_eq!(pair(FLOWPAY, FACTORY), Vec::<String>::new());
    assert_eq!(pair(FLOWPAY, FLOWPAY).len(), 1);
    assert_eq!(pair(FLOWPAY, DEFAULT).len(), 1, "nor the default node's");
    // Texts that differ, and are one key to HMAC.
    assert_eq!(pair("whsec_YWJj", "abc").len(), 1);
    assert_eq!(pair("abc", "abc\0").len(), 1);
}

#[test]
fn few_nodes_are_found_by_their_signature_alone() {
    let nodes = |count: usize| AuthOptions {
        nodes: (0..count)
            .map(|index| NodeOptions {
                signature_only: true,
                ..NodeOptions::new(format!("node-{index}"))
                    .secret(Secret::new(format!("{index}-{FLOWPAY}")))
            })
            .collect(),
        ..smallest()
    };
    assert!(refusals(&nodes(8)).is_empty());
    assert_eq!(
        refusals(&nodes(9)),
        ["9 nodes are marked `signature_only`: at most 8 may be"]
    );
}

#[test]
fn what_is_known_of_nodes_can_be_asked() {
    let options = AuthOptions {
        nodes: vec![NodeOptions {
            url: Some("https://flowpay.example/".parse().unwrap()),
            names: nexus_core::NameForm::Qualified,
            ..NodeOptions::new("flowpay").secret(Secret::new(FLOWPAY))
        }],
        ..smallest()
    };
    let auth = auth(&options);
    let node = auth.node("flowpay").unwrap();
    assert_eq!(node.url.unwrap().as_str(), "https://flowpay.example/");
    assert_eq!(node.names, nexus_core::NameForm::Qualified);
    assert!(auth.node("nobody").is_none());
    let ids: Vec<_> = auth.nodes().into_iter().map(|node| node.id).collect();
    assert_eq!(ids, ["default".into(), "flowpay".into()]);
}
